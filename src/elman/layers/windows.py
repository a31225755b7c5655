"""Windows over the steps of sequences: what a convolution and the pools over a few steps look at.

A window of `width` steps that are `dilation` apart moves on by `stride`. With L steps in a sequence, s the stride and
span = (width - 1) dilation + 1, steps of nothing are set before and after it:

    "valid"          none                                          floor((L - span) / s) + 1 windows
    "causal"         span - 1 before                               ceil(L / s)
    "same"           as many as ceil(L / s) windows need, half of them before, the odd one after (ONNX's SAME_UPPER)
    (left, right)    so many                                       floor((L + left + right - span) / s) + 1
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from elman import checks
from elman.cells.cell import Arrays
from elman.checks import Array, ShapeError
from elman.layers.layer import Noise, State
from elman.layers.pooling import Pooling
from elman.sequences import Layout, Sequences

Padding = str | tuple[int, int]
PADDINGS = ("same", "valid", "causal")


def read_padding(value: Any, most: int | None = None) -> Padding:
    """One of the names, or a pair of numbers, each at most `most` where that is given."""
    if not isinstance(value, (list, tuple)):
        return checks.choice("padding", value, PADDINGS)
    limit = checks.MOST_STEPS if most is None else most
    must = f"padding must be a pair of whole numbers from 0 to {limit}"
    if len(value) != 2 or not all(checks.is_whole(part) and 0 <= part <= limit for part in value):
        raise ValueError(f"{must}, or one of {', '.join(map(repr, PADDINGS))}. Got {checks.show(value)}.")
    return int(value[0]), int(value[1])


class Taps(NamedTuple):
    """The steps under each window of a batch."""

    layout: Layout  # of what the windows give
    sequences: Array  # (M,): the sequence of each window
    steps: Array  # (M, width): of that sequence, below 0 or after its end where there is nothing


class Windows(NamedTuple):
    """How windows lie."""

    width: int
    stride: int
    dilation: int
    padding: Padding

    @property
    def span(self) -> int:
        """How many steps lie from the first to the last of a window."""
        return (self.width - 1) * self.dilation + 1

    @property
    def pointwise(self) -> bool:
        """Whether each step is a window by itself."""
        return self.causal and self.width == 1

    @property
    def causal(self) -> bool:
        """Whether there is a window for each step, of that step and of those before it."""
        sides = ("causal", (self.span - 1, 0), *[(0, 0), "valid", "same"][: 3 * (self.width == 1)])
        return self.stride == 1 and self.padding in sides

    @property
    def keeps_lengths(self) -> bool:
        """Whether there are as many windows as steps."""
        named = self.padding in ("same", "causal") or sum(self._sides()) == self.span - 1
        return self.stride == 1 and named

    def _sides(self) -> tuple[int, int]:
        """Before and after, where that is the same for all lengths."""
        named = {"valid": (0, 0), "causal": (self.span - 1, 0)}
        return named[self.padding] if isinstance(self.padding, str) else self.padding

    def counts(self, lengths: Array) -> Array:
        """How many windows there are over so many steps; refuses sequences that are too short, by their place."""
        if self.padding == "same":
            return -(-lengths // self.stride)
        least = self.span - sum(self._sides())
        if (lengths < least).any():
            i = int((lengths < least).argmax())
            raise ShapeError(f"sequence {i} must have at least {least} steps. Got {lengths[i]}.")
        return (lengths - least) // self.stride + 1

    def taps(self, x: Sequences) -> Taps:
        """The steps under each window."""
        lengths = x.lengths
        counts = self.counts(lengths)
        if self.padding == "same":
            before = np.maximum((counts - 1) * self.stride + self.span - lengths, 0) // 2
        else:
            before = np.full_like(lengths, self._sides()[0])
        layout = x.layout
        if not self.keeps_lengths:
            form = layout.form
            time = int(self.counts(np.array([layout.time]))[0]) if form == "array" else 0
            layout = Layout.of(form, counts, time)
        sequences = np.repeat(np.arange(len(lengths)), counts)
        windows = np.arange(len(sequences)) - np.repeat(np.cumsum(counts) - counts, counts)
        first = windows * self.stride - before[sequences]
        return Taps(layout, sequences, first[:, None] + np.arange(self.width) * self.dilation)


class _PoolOverWindows(Pooling):
    """A layer of one number for each feature of a window."""

    def __init__(self, width: int, stride: int | None = None, padding: Padding = "valid") -> None:
        super().__init__(width=width, stride=stride, padding=padding)

    def setup(self, width: int, stride: int | None = None, padding: Any = "valid") -> None:
        self.width = checks.size("width", width, checks.MOST_STEPS)
        self.stride = None if stride is None else checks.size("stride", stride, checks.MOST_STEPS)
        self.padding = read_padding(padding, self.width - 1)  # each window has a step
        self._windows = Windows(self.width, self.stride or self.width, 1, self.padding)
        self.needs_whole_sequences = not self._windows.pointwise
        self.changes_steps = not self._windows.keeps_lengths

    def run(self, x: Sequences, state: State, rng: Noise, keep: bool) -> tuple[Sequences, None, Any]:
        taps = self._windows.taps(x)
        lengths, starts = x.lengths[taps.sequences][:, None], x.layout.starts
        assert starts is not None
        real = (taps.steps >= 0) & (taps.steps < lengths)
        # What stands before or after a sequence has the row of its nearest step, which is in the window too.
        rows = starts[taps.sequences][:, None] + np.clip(taps.steps, 0, lengths - 1)  # (M, width)
        y, kept = self._pool(x.values, rows, real)
        return Sequences(y, taps.layout), None, (x.values.shape, kept) if keep else None

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

    def _pool(self, values: Array, rows: Array, real: Array) -> tuple[Array, Any]:
        best = values[rows].argmax(1)  # (M, features)
        rows = np.take_along_axis(rows, best, axis=1)
        return np.take_along_axis(values, rows, axis=0), rows

    def _spread(self, dx: Array, kept: Any, dy: Array) -> None:
        places = kept, np.arange(dy.shape[1])
        if self._windows.stride < self._windows.width:  # windows share steps
            np.add.at(dx, places, dy)
        else:
            dx[places] = dy


class AveragePool1d(_PoolOverWindows):
    """The mean of each feature over windows of `width` steps, of which those around a sequence do not count.

    Arguments and errors as in `elman.MaxPool1d`. All steps of a sequence together: `elman.MeanOverTime`.

    >>> import elman
    >>> elman.AveragePool1d(2)([[[1.0], [4.0], [3.0], [2.0], [9.0]]])[0].tolist()
    [[[2.5], [2.5]]]
    >>> elman.AveragePool1d(2, padding="same")([[[1.0], [4.0], [3.0], [2.0], [9.0]]])[0].tolist()
    [[[2.5], [2.5], [9.0]]]
    """

    def _pool(self, values: Array, rows: Array, real: Array) -> tuple[Array, Any]:
        weights = real.astype(values.dtype)  # (M, width)
        counts = weights.sum(1, keepdims=True)
        sums = np.zeros((len(rows), values.shape[1]), values.dtype)
        for k in range(rows.shape[1]):  # step after step, whatever the number of windows
            sums += np.where(real[:, k, None], values[rows[:, k]], 0)
        return sums / counts, (rows, weights / counts)

    def _spread(self, dx: Array, kept: Any, dy: Array) -> None:
        rows, shares = kept
        for k in range(rows.shape[1]):  # at one place of all windows no step is twice
            real = shares[:, k] > 0
            dx[rows[real, k]] += dy[real] * shares[real, k, None]
