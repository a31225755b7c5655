"""A pool that keeps several steps: the last ones of each sequence, side by side in one vector."""

from __future__ import annotations

from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array
from elman.layers.pooling import _Pool


class LastSteps(_Pool):
    """The last `count` real steps of each sequence, one after another in one vector (batch, count x features).

    A network that reads on through a horizon, over which some inputs are known ahead, forecasts from these steps.
    Where a sequence is shorter, zeros stand before its steps. For a single step see `elman.LastStep`.

    >>> import numpy as np, elman
    >>> from elman.layers import LastSteps
    >>> LastSteps(2, count=2)(np.arange(12.0).reshape(2, 3, 2))[0].tolist()
    [[2.0, 3.0, 4.0, 5.0], [8.0, 9.0, 10.0, 11.0]]
    """

    def __init__(self, input_size: int, count: int) -> None:
        super().__init__(input_size=input_size, count=count)

    def _setup(self, input_size: int, count: int) -> None:
        self.input_size = checks.size("input_size", input_size)
        self.count = checks.size("count", count)
        self.output_size = self.input_size * self.count

    def _pool(self, values: Array, lengths: Array) -> tuple[Array, Any]:
        back = np.arange(self.count, 0, -1)
        real = back <= lengths[:, None]  # (B, count)
        steps = np.where(real, np.cumsum(lengths)[:, None] - back, 0)
        y = values[steps] * real[..., None].astype(values.dtype)
        return y.reshape(len(lengths), -1), (steps[real], real)

    def _spread(self, dx: Array, kept: Any, dy: Array) -> None:
        steps, real = kept
        dx[steps] = dy.reshape(*real.shape, -1)[real]
