"""Layers that change which steps there are, or their order: fewer, repeated, backwards."""

from __future__ import annotations

from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array, ShapeError
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


class Repeat(Layer):
    """A vector per sequence at each of `count` steps: (batch, features) becomes (batch, count, features).

    It stands after a pool, as between an encoder and a decoder (Keras's ``RepeatVector``). Alone, or first in a
    network, it takes vectors (batch, features), or one (features,). Raises `ShapeError` for sequences. To set a vector
    beside the steps of a sequence, see `elman.Concatenate`.

    >>> import elman
    >>> net = elman.Network([elman.GRU(3, 5, seed=0), elman.LastStep(), elman.Repeat(4), elman.GRU(5, 2, seed=1)])
    >>> net([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])[0].shape
    (1, 4, 2)
    """

    needs_whole_sequences = True
    changes_steps = True
    takes_vectors = True

    def __init__(self, count: int) -> None:
        super().__init__(count=count)

    def setup(self, count: int) -> None:
        self.count = checks.size("count", count, checks.MOST_STEPS)

    def run(self, x: Sequences, state: State, rng: Noise, keep: bool) -> tuple[Sequences, None, Any]:
        if x.layout.lengths is not None:
            raise ShapeError("Repeat must be given one vector per sequence, as after a pool. Got sequences.")
        layout = Layout.of(x.layout.form, np.full(len(x.values), self.count), self.count)
        return Sequences(x.values.repeat(self.count, axis=0), layout), None, None

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[Array, None, Gradients]:
        return dy.reshape(-1, self.count, dy.shape[1]).sum(1), None, {}


class Reverse(Layer):
    """Each sequence backwards in time: its last real step first. Padding stays last.

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
