"""A pool that keeps several steps: the last ones of each sequence, side by side in one vector."""

from __future__ import annotations

from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array, ShapeError
from elman.layers.pooling import _Pool


class LastSteps(_Pool):
    """The last `count` real steps of each sequence, one after another in one vector (batch, count x features).

    A network that reads on through a horizon, over which some inputs are known ahead, forecasts from these steps.
    Raises `ShapeError` where a sequence is shorter than `count`. For a single step see `elman.LastStep`.

    >>> import numpy as np, elman
    >>> from elman.layers import LastSteps
    >>> LastSteps(2, count=2)(np.arange(12.0).reshape(2, 3, 2))[0].tolist()
    [[2.0, 3.0, 4.0, 5.0], [8.0, 9.0, 10.0, 11.0]]
    """

    def __init__(self, input_size: int, count: int, dtype: Any = "float32") -> None:
        super(_Pool, self).__init__(input_size=input_size, count=count, dtype=str(checks.float_dtype(dtype)))

    def _setup(self, *, input_size: int, count: int, dtype: Any) -> None:  # type: ignore[override]
        self.input_size = checks.size("input_size", input_size)
        self.count = checks.size("count", count)
        self.output_size = self.input_size * self.count
        self.dtype = checks.float_dtype(dtype)

    def _pool(self, values: Array, lengths: Array) -> tuple[Array, Any]:
        if lengths.min() < self.count:
            short = int(lengths.argmin())
            raise ShapeError(
                f"each sequence must have at least {self.count} steps. Got {lengths[short]} in sequence {short}."
            )
        steps = np.cumsum(lengths)[:, None] - np.arange(self.count, 0, -1)  # (B, count)
        return values[steps].reshape(len(lengths), -1), steps

    def _spread(self, dx: Array, kept: Any, dy: Array) -> None:
        dx[kept] = dy.reshape(*kept.shape, -1)
