"""Layers for directions of time: sequences backwards, and the two directions of a layer made one."""

from __future__ import annotations

from typing import Any

import numpy as np

from elman import checks
from elman.cells.cell import Arrays
from elman.checks import Array
from elman.layers.layer import Gradients, Layer, Noise, State
from elman.sequences import Sequences


class Reverse(Layer):
    """Each sequence backwards in time: its last real step first. Padding stays behind.

    [Reverse, LSTM] is what Keras calls ``go_backwards``; [Reverse, LSTM, Reverse] is the direction "reverse" of ONNX,
    and the second direction of a bidirectional layer (Schuster and Paliwal 1997).

    >>> import numpy as np, elman
    >>> elman.Reverse()(np.arange(6.0).reshape(2, 3, 1), lengths=[3, 2])[0].tolist()
    [[[2.0], [1.0], [0.0]], [[4.0], [3.0], [0.0]]]
    """

    needs_whole_sequences = True

    def __init__(self) -> None:
        super().__init__()

    def run(self, x: Sequences, state: State, rng: Noise, keep: bool) -> tuple[Sequences, None, Any]:
        lengths = x.lengths
        ends = np.cumsum(lengths)
        # Row i of a sequence comes from its row (first + last) - i.
        rows = np.repeat(2 * ends - lengths - 1, lengths) - np.arange(len(x.values))
        return x.with_values(x.values[rows]), None, rows

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[Array, None, Gradients]:
        return dy[kept], None, {}


class MergeDirections(Layer):
    """One value from both directions of a bidirectional layer: (..., 2 features) to (..., features).

    y = a + b for `mode` "sum", a b for "mul", (a + b) / 2 for "ave", where a is the first half of the features,
    forward in time, and b the second. These are the ``merge_mode`` of Keras's ``Bidirectional``. Raises
    `ValueError` for another mode, `ShapeError` for an odd number of features.

    >>> import numpy as np, elman
    >>> net = elman.Network([elman.GRU(3, 5, bidirectional=True, seed=0), elman.MergeDirections("sum")])
    >>> net(np.ones((2, 7, 3)))[0].shape
    (2, 7, 5)
    >>> elman.MergeDirections("mul")([[1.0, 2.0, 3.0, 4.0]])[0].tolist()
    [[3.0, 8.0]]
    """

    narrowing = 2

    def __init__(self, mode: str) -> None:
        super().__init__(mode=mode)

    def setup(self, mode: str) -> None:
        self.mode = checks.choice("mode", mode, ("sum", "mul", "ave"))

    def run(self, x: Sequences, state: State, rng: Noise, keep: bool) -> tuple[Sequences, None, Any]:
        return x.with_values(self.step(x.values, ())[0]), None, halves(x.values) if keep else None

    def step(self, x: Array, state: Arrays) -> tuple[Array, Arrays]:
        a, b = halves(x)
        if self.mode == "mul":
            return a * b, ()
        y = a + b
        if self.mode == "ave":
            y *= 0.5
        return y, ()

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[Array, None, Gradients]:
        a, b = kept
        if self.mode == "mul":
            da, db = dy * b, dy * a
        else:
            da = db = dy if self.mode == "sum" else dy * dy.dtype.type(0.5)
        return np.concatenate([da, db], axis=-1), None, {}


def halves(values: Array) -> tuple[Array, Array]:
    """The features of the forward direction and those of the reverse one, (..., features / 2) each."""
    width = values.shape[-1]
    if width % 2:
        raise checks.ShapeError(
            f"x must have an even number of features, half of them for each direction. Got {width} features."
        )
    return values[..., : width // 2], values[..., width // 2 :]
