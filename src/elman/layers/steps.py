"""Layers that change which steps there are: some of them, in another order, or one for many.

With packed rows, sequence b owns the rows from starts[b] on, so each is one operation over row ranges.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from elman import checks
from elman.cells.cell import Arrays
from elman.checks import Array, ShapeError
from elman.layers.layer import Gradients, Layer, Noise, State
from elman.layers.pointwise import halves
from elman.layers.windows import Padding, Windows, read_padding, rows_of
from elman.sequences import Layout, Sequences


class _OfRows(Layer):
    """The base of layers of which each row comes from some rows of x: `run` keeps the shape of these, and more."""

    _pool: Callable[..., tuple[Array, Any]]  #: from the rows of x those of y, and what `_spread` needs

    def __init__(self) -> None:
        super().__init__()

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[Array, None, Gradients]:
        if kept is None:  # y is x
            return dy, None, {}
        shape, inner = kept
        dx = np.zeros(shape, dy.dtype)
        self._spread(dx, inner, dy)
        return dx, None, {}

    def _spread(self, dx: Array, kept: Any, dy: Array) -> None:
        """Adds the gradients of y to those of x, which are 0; here where y is values of x, each taken once at most."""
        dx[kept] = dy


class Reverse(_OfRows):
    """Each sequence backwards in time: its last real step first. Padding stays last.

    [Reverse, LSTM] is what Keras calls ``go_backwards``; [Reverse, LSTM, Reverse] is the direction "reverse" of ONNX,
    and the second direction of a bidirectional layer (Schuster and Paliwal 1997).

    >>> import numpy as np, elman
    >>> elman.Reverse()(np.arange(6.0).reshape(2, 3, 1), lengths=[3, 2])[0].tolist()
    [[[2.0], [1.0], [0.0]], [[4.0], [3.0], [0.0]]]
    """

    needs_whole_sequences = True

    def run(self, x: Sequences, state: State, rng: Noise, keep: bool) -> tuple[Sequences, None, Any]:
        lengths = x.lengths
        ends = np.cumsum(lengths)
        # Row i of a sequence comes from its row (first + last) - i.
        rows = np.repeat(2 * ends - lengths - 1, lengths) - np.arange(len(x.values))
        return x.with_values(x.values[rows]), None, (x.values.shape, rows)


class Masking(_OfRows):
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
        Layer.__init__(self, value=value)

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
            must = f"sequence {empty} must have a step with a feature other than {self.value:g}, which is masked"
            raise ValueError(f"{must}. Got none among its steps, {lengths[empty]} of them.")
        layout = Layout.of(x.layout.form, counts, x.layout.time)
        return Sequences(x.values[remain], layout), None, (x.values.shape, remain)


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


class _Pool(_OfRows):
    """A layer from (batch, time, features) to (batch, features)."""

    pools = True

    def run(self, x: Sequences, state: State, rng: Noise, keep: bool) -> tuple[Sequences, None, Any]:
        y, kept = self._pool(x.values, x.lengths)
        return Sequences(y, x.layout.as_vectors()), None, (x.values.shape, kept)

    def _running(self, width: int | None, **states: int) -> Layer:
        """It as a stream has it, with states: at each step what a sequence that ends there gives."""
        if width is None:
            raise ShapeError("must read a known number of features in a stream. Got any.")
        layer = self.replace()
        vars(layer).update(input_size=width, output_size=width, stateful=True, _states=states)
        return layer


class LastStep(_Pool):
    """The last real step of each sequence.

    After a bidirectional layer this is one step of both directions, of which the reverse one has read nothing but
    that step. `bidirectional=True` takes what each direction computed last: the first half of the features from the
    last step, the second half from the first step (Keras's ``return_sequences=False``, ONNX's ``Y_h``).

    In a stream `LastStep()` gives at each step the output of a sequence that ends there. x (batch, time, features)
    gives y (batch, features).

    >>> import numpy as np, elman
    >>> elman.LastStep()(np.arange(12.0).reshape(2, 3, 2), lengths=[3, 1])[0].tolist()
    [[4.0, 5.0], [6.0, 7.0]]
    >>> elman.LastStep(bidirectional=True)(np.arange(12.0).reshape(2, 3, 2), lengths=[3, 1])[0].tolist()
    [[4.0, 1.0], [6.0, 7.0]]
    """

    def __init__(self, *, bidirectional: bool = False) -> None:
        Layer.__init__(self, bidirectional=bidirectional)

    def setup(self, bidirectional: bool = False) -> None:
        self.bidirectional = self.needs_whole_sequences = checks.flag("bidirectional", bidirectional)

    def _pool(self, values: Array, lengths: Array) -> tuple[Array, Any]:
        last: Any = np.cumsum(lengths) - 1
        if self.bidirectional:
            features, width = np.arange(values.shape[1]), halves(values)[0].shape[1]
            last = np.where(features < width, last[:, None], (last + 1 - lengths)[:, None]), features
        return values[last], last


class LastSteps(_Pool):
    """The last `count` real steps of each sequence, one after another in one vector (batch, count x features).

    A network that reads on through a horizon, over which some inputs are known ahead, forecasts from these steps.
    Where a sequence is shorter, zeros stand before its steps. For a single step see `elman.LastStep`.

    >>> import numpy as np, elman
    >>> from elman.layers import LastSteps
    >>> LastSteps(2, count=2)(np.arange(12.0).reshape(2, 3, 2))[0].tolist()
    [[2.0, 3.0, 4.0, 5.0], [8.0, 9.0, 10.0, 11.0]]
    """

    needs_whole_sequences = True

    def __init__(self, input_size: int, count: int) -> None:
        Layer.__init__(self, input_size=input_size, count=count)

    def setup(self, input_size: int, count: int) -> None:
        self.input_size = checks.size("input_size", input_size)
        self.count = checks.size("count", count, checks.MOST_STEPS)
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


class MeanOverTime(_Pool):
    """The mean over the real steps of each sequence.

    In a stream it gives at each step the mean so far, and keeps the pair (sum, count) as a state. x (batch, time,
    features) gives y (batch, features).

    >>> import numpy as np, elman
    >>> elman.MeanOverTime()(np.arange(12.0).reshape(2, 3, 2), lengths=[3, 1])[0].tolist()
    [[2.0, 3.0], [6.0, 7.0]]
    """

    def _pool(self, values: Array, lengths: Array) -> tuple[Array, Any]:
        # Step after step, as a stream adds them: over a single feature NumPy's sum goes in another order.
        one = values.shape[1] == 1
        parts = np.split(values, np.cumsum(lengths)[:-1])
        sums = np.stack([np.add.accumulate(part)[-1] if one else np.add.reduce(part) for part in parts])
        return sums / lengths[:, None].astype(values.dtype), lengths

    def _spread(self, dx: Array, kept: Any, dy: Array) -> None:
        dx[...] = np.repeat(dy / kept[:, None].astype(dy.dtype), kept, axis=0)

    def in_stream(self, width: int | None) -> Layer:
        return self._running(width, sum=width or 0, count=1)

    def step(self, x: Array, state: Arrays) -> tuple[Array, Arrays]:
        sums, count = state[0].astype(x.dtype) + x, state[1] + 1
        return sums / count.astype(x.dtype), (sums, count)


class MaxOverTime(_Pool):
    """The largest value of each feature over the real steps; where two are equal, the first takes the gradient.

    In a stream it gives at each step the largest so far, and keeps it as a state. x (batch, time, features) gives y
    (batch, features).

    >>> import numpy as np, elman
    >>> elman.MaxOverTime()(np.arange(12.0).reshape(2, 3, 2), lengths=[3, 1])[0].tolist()
    [[4.0, 5.0], [6.0, 7.0]]
    """

    def _pool(self, values: Array, lengths: Array) -> tuple[Array, Any]:
        ends = np.cumsum(lengths)
        ranges = zip(ends - lengths, ends, strict=True)
        best = np.stack([start + values[start:end].argmax(0) for start, end in ranges])  # (B, features)
        places = best, np.arange(values.shape[1])
        return values[places], places

    def in_stream(self, width: int | None) -> Layer:
        return self._running(width, max=width or 0)

    def first_state(self, count: int) -> Arrays:
        return tuple([np.full((count, width), -np.inf) for width in self._states.values()])

    def step(self, x: Array, state: Arrays) -> tuple[Array, Arrays]:
        (largest,) = state
        y = np.where((x > largest) | (np.isnan(x) & ~np.isnan(largest)), x, largest.astype(x.dtype))
        return y, (y,)


class _PoolOverWindows(_OfRows):
    """A layer of one number for each feature of a window."""

    def __init__(self, width: int, stride: int | None = None, padding: Padding = "valid") -> None:
        Layer.__init__(self, width=width, stride=stride, padding=padding)

    def setup(self, width: int, stride: int | None = None, padding: Any = "valid") -> None:
        self.width = checks.size("width", width, checks.MOST_STEPS)
        self.stride = None if stride is None else checks.size("stride", stride, checks.MOST_STEPS)
        self.padding = read_padding(padding, self.width - 1)  # each window has a step
        self._windows = Windows(self.width, self.stride or self.width, 1, self.padding)
        self.needs_whole_sequences = self.width > 1 or not self._windows.causal
        self.changes_steps = not self._windows.keeps_lengths

    def run(self, x: Sequences, state: State, rng: Noise, keep: bool) -> tuple[Sequences, None, Any]:
        layout, sequences, steps = self._windows.taps(x)
        y, kept = self._pool(x.values, rows_of(x, sequences, steps))
        return Sequences(y, layout), None, (x.values.shape, kept) if keep else None

    def step(self, x: Array, state: Arrays) -> tuple[Array, Arrays]:
        return x, ()  # of width and stride 1


class MaxPool1d(_PoolOverWindows):
    """The largest value of each feature in windows of `width` steps; where two are equal, the first takes the gradient.

    `stride` is how far one window stands from the next, `width` if left out. `padding` as in `elman.Conv1d`; what
    stands around a sequence is never the largest. In a pair each number is under `width`. Raises `ShapeError`, by its
    place, for a sequence that fills no window. All steps of a sequence together: `elman.MaxOverTime`.

    >>> import elman
    >>> elman.MaxPool1d(2)([[[1.0], [4.0], [3.0], [2.0], [9.0]]])[0].tolist()
    [[[4.0], [3.0]]]
    >>> elman.MaxPool1d(2, padding="same")([[[1.0], [4.0], [3.0], [2.0], [9.0]]])[0].tolist()
    [[[4.0], [3.0], [9.0]]]
    """

    def _pool(self, values: Array, rows: Array) -> tuple[Array, Any]:
        around = rows < 0  # (M, width)
        if around.any():  # it counts as the first step that is in the window, and so is never before it
            rows = np.where(around, np.where(around, len(values), rows).min(1, keepdims=True), rows)
        best = values[rows].argmax(1)  # (M, features)
        places = np.take_along_axis(rows, best, axis=1), np.arange(values.shape[1])
        return values[places], places

    def _spread(self, dx: Array, kept: Any, dy: Array) -> None:
        if self._windows.stride < self._windows.width:  # windows share steps
            np.add.at(dx, kept, dy)
        else:
            dx[kept] = dy


class AveragePool1d(_PoolOverWindows):
    """The mean of each feature over windows of `width` steps, of which those around a sequence do not count.

    Arguments and errors as in `elman.MaxPool1d`. All steps of a sequence together: `elman.MeanOverTime`.

    >>> import elman
    >>> elman.AveragePool1d(2)([[[1.0], [4.0], [3.0], [2.0], [9.0]]])[0].tolist()
    [[[2.5], [2.5]]]
    >>> elman.AveragePool1d(2, padding="same")([[[1.0], [4.0], [3.0], [2.0], [9.0]]])[0].tolist()
    [[[2.5], [2.5], [9.0]]]
    """

    def _pool(self, values: Array, rows: Array) -> tuple[Array, Any]:
        counts = (rows >= 0).sum(1, keepdims=True).astype(values.dtype)  # (M, 1)
        sums = np.zeros((len(rows), values.shape[1]), values.dtype)
        for k in range(rows.shape[1]):  # step after step, whatever the number of windows
            sums += np.where(rows[:, k, None] < 0, 0, values[rows[:, k]])
        return sums / counts, (rows, 1 / counts)

    def _spread(self, dx: Array, kept: Any, dy: Array) -> None:
        rows, shares = kept
        for k in range(rows.shape[1]):  # at one place of all windows no step is twice
            real = rows[:, k] >= 0
            dx[rows[real, k]] += dy[real] * shares[real]
