"""A layer that drops steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array
from elman.layers.layer import Gradients, Layer, Noise, State
from elman.sequences import Layout, Sequences


class Masking(Layer):
    """Drops every step whose features all equal `value`; the layers after it never see it.

    What remains of each sequence moves together: y is a list of shorter sequences for a list, a shorter sequence for
    a single one, and for an array an array of the same shape with 0 after the remaining steps. Keras's ``Masking``
    skips the same steps, but leaves their places in its outputs.

    Raises `ValueError` for a sequence of which no step would remain.

    >>> import numpy as np, elman
    >>> layer = elman.Masking(-1.0)
    >>> layer([[0.0, 2.0], [-1.0, -1.0], [3.0, -1.0]])[0].tolist()
    [[0.0, 2.0], [3.0, -1.0]]
    >>> layer([[[5.0], [-1.0], [6.0]], [[-1.0], [-1.0], [7.0]]])[0].tolist()
    [[[5.0], [6.0], [0.0]], [[7.0], [0.0], [0.0]]]
    """

    needs_whole_sequences = True
    drops_steps = True

    def __init__(self, value: float = 0.0) -> None:
        super().__init__(value=value)

    def setup(self, value: float) -> None:
        self.value = checks.number("value", value)

    def run(self, x: Sequences, state: State, rng: Noise, keep: bool) -> tuple[Sequences, None, Any]:
        lengths = x.lengths
        remain = (x.values != x.values.dtype.type(self.value)).any(-1)  # (N,)
        if remain.all():
            return x, None, None
        counts = np.add.reduceat(remain, np.cumsum(lengths) - lengths, dtype=np.int64)
        if not counts.all():
            empty = int(counts.argmin())
            raise ValueError(
                f"sequence {empty} must have a step with a feature other than {self.value:g}, which is masked. "
                f"Got none among its steps, {lengths[empty]} of them."
            )
        return Sequences(x.values[remain], Layout.of(x.layout.form, counts, x.layout.time)), None, remain

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[Array | None, None, Gradients]:
        if kept is None:
            return dy, None, {}
        dx = np.zeros((len(kept), dy.shape[1]), dy.dtype)
        dx[kept] = dy
        return dx, None, {}
