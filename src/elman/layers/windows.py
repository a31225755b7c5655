"""Windows over the steps of sequences, of a convolution and of the pools over a few steps; the convolution.

A window of `width` steps that are `dilation` apart moves on by `stride`. With L steps in a sequence, s the stride and
span = (width - 1) dilation + 1, steps of nothing are set before and after it:

    "valid"          none                                          floor((L - span) / s) + 1 windows
    "causal"         span - 1 before                               ceil(L / s)
    "same"           as many as ceil(L / s) windows need, half of them before, the odd one after (ONNX's SAME_UPPER)
    (left, right)    so many                                       floor((L + left + right - span) / s) + 1

With W (width, input, output) a convolution gives of window m, which begins at step t (below 0 in what stands before):

    y_m = act(sum_k x_{t + k dilation} W_k + b)          0 where there is no step
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from elman import checks, engine
from elman.cells import stepping
from elman.cells.activations import Activation, as_activation
from elman.cells.cell import Arrays
from elman.checks import Array, ShapeError
from elman.layers.layer import Gradients, Layer, Noise, State
from elman.sequences import Layout, Sequences, step_numbers

_MOST_KEPT = 1 << 26  # numbers of a stream's state
BLOCK = 1 << 22  #: so many numbers of windows are written out at once
Padding = str | tuple[int, int]
PADDINGS = ("same", "valid", "causal")


def read_padding(value: Any, most: int = checks.MOST_STEPS) -> Padding:
    """One of the names, or a pair of numbers, each at most `most`."""
    if not isinstance(value, (list, tuple)):
        return checks.choice("padding", value, PADDINGS)
    must = f"padding must be a pair of whole numbers from 0 to {most}"
    if len(value) != 2 or not all(checks.is_whole(part) and 0 <= part <= most for part in value):
        raise ValueError(f"{must}, or one of {', '.join(map(repr, PADDINGS))}. Got {checks.show(value)}.")
    return int(value[0]), int(value[1])


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
    def causal(self) -> bool:
        """Whether there is a window for each step, of that step and of those before it."""
        return self.stride == 1 and self._sides == (self.span - 1, 0)

    @property
    def keeps_lengths(self) -> bool:
        """Whether there are as many windows as steps."""
        return self.stride == 1 and sum(self._sides) == self.span - 1

    @property
    def _sides(self) -> tuple[int, int]:
        """How much is set before and after; of "same" with a stride, where that depends on the length, the most."""
        around = self.span - 1
        named = {"valid": (0, 0), "causal": (around, 0), "same": (around // 2, around - around // 2)}
        return named[self.padding] if isinstance(self.padding, str) else self.padding

    def counts(self, lengths: Array) -> Array:
        """How many windows there are over so many steps; refuses sequences that are too short, by their place."""
        if self.padding == "same":
            return -(-lengths // self.stride)
        least = self.span - sum(self._sides)
        if (lengths < least).any():
            i = int((lengths < least).argmax())
            raise ShapeError(f"sequence {i} must have at least {least} steps. Got {lengths[i]}.")
        return (lengths - least) // self.stride + 1

    def taps(self, x: Sequences) -> tuple[Layout, Array, Array]:
        """The layout of what the windows give, the sequence of each, (M,), and the steps under it, (M, width).

        A step is one of that sequence, or below 0 or after its end, where there is nothing.
        """
        lengths, layout = x.lengths, x.layout
        counts = self.counts(lengths)
        if self.padding == "same":
            before = np.maximum((counts - 1) * self.stride + self.span - lengths, 0) // 2
        else:
            before = np.full_like(lengths, self._sides[0])
        if not self.keeps_lengths:
            form = layout.form
            time = int(self.counts(np.array([layout.time]))[0]) if form == "array" else 0
            layout = Layout.of(form, counts, time)
        sequences = np.repeat(np.arange(len(lengths)), counts)
        windows = step_numbers(counts)
        first = windows * self.stride - before[sequences]
        return layout, sequences, first[:, None] + np.arange(self.width) * self.dilation


def rows_of(x: Sequences, sequences: Array, steps: Array) -> Array:
    """Where steps of sequences stand among the rows of x, -1 for what is before or after them."""
    lengths, starts = x.lengths[sequences][:, None], x.layout.starts
    assert starts is not None
    return np.where((steps < 0) | (steps >= lengths), -1, starts[sequences][:, None] + steps)


class Conv1d(Layer):
    """Each output step is an activation of a product with `width` input steps (LeCun et al. 1989).

    Parameters `W` (width, input, output), drawn by Glorot with width x input and width x output connections, and `b`
    (output,), 0. Nothing is flipped: a cross-correlation, as in PyTorch, Keras and ONNX. `stride` is how far one window
    stands from the next, `dilation` how far apart its steps are. `padding` says what stands around each sequence, of
    whatever length it is:

    "same"
        0 before and after, so that ceil(time / stride) steps come out; ONNX's SAME_UPPER, TensorFlow's "same".
    "causal"
        0 before, so that a step sees none after it; as many steps come out.
    "valid"
        nothing. A sequence must fill a window, (width - 1) dilation + 1 steps; a shorter one is refused by its place.
    (left, right)
        so many steps of 0, as PyTorch and ONNX have them.

    With stride 1, "causal" goes step by step in a stream, and keeps its last (width - 1) dilation inputs: its state,
    (batch, (width - 1) dilation input), the oldest first, 0 before the first step. Other paddings have no state; they
    and strides need whole sequences, but for a width of 1. `activation`, `dtype` and `seed` as in `elman.Dense`.
    Raises `ValueError` for a size under 1 or an unknown padding or activation.

    >>> import numpy as np, elman
    >>> layer = elman.Conv1d(3, 8, 5, stride=2, seed=0)
    >>> layer(np.ones((4, 7, 3)))[0].shape
    (4, 4, 8)
    >>> layer = elman.Conv1d(1, 1, 2, padding="causal", dtype="float64")
    >>> layer.W = [[[-1.0]], [[1.0]]]
    >>> y, state = layer([[[3.0], [5.0], [4.0]]])
    >>> y.tolist(), state.tolist()
    ([[[3.0], [2.0], [-1.0]]], [[4.0]])
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        width: int,
        stride: int = 1,
        dilation: int = 1,
        padding: Padding = "same",
        activation: str | Activation = "identity",
        dtype: Any = "float32",
        seed: int | None = None,
    ) -> None:
        options: dict[str, Any] = {"stride": stride, "dilation": dilation, "padding": padding}
        options |= {"input_size": input_size, "output_size": output_size, "width": width}
        super().__init__(seed, **options, activation=activation, dtype=dtype)

    def setup(
        self,
        input_size: int,
        output_size: int,
        width: int,
        stride: int = 1,
        dilation: int = 1,
        padding: Any = "same",
        activation: Any = "identity",
        *,
        dtype: Any,
    ) -> None:
        self.input_size = checks.size("input_size", input_size)
        self.output_size = checks.size("output_size", output_size)
        self.width = checks.size("width", width)
        self.stride = checks.size("stride", stride, checks.MOST_STEPS)
        self.dilation = checks.size("dilation", dilation, checks.MOST_STEPS)
        self.padding = read_padding(padding)
        self.activation = as_activation(activation)
        self.dtype = checks.float_dtype(dtype)
        self._windows = Windows(self.width, self.stride, self.dilation, self.padding)
        kept = (self._windows.span - 1) * self.input_size
        if kept > _MOST_KEPT:
            must = f"(width - 1) dilation input_size must be at most {_MOST_KEPT}, as a stream keeps so many numbers"
            raise ValueError(f"{must}. Got {kept}.")
        self._kept = kept if self._windows.causal else 0
        self.needs_whole_sequences = not self._windows.causal
        self.changes_steps = not self._windows.keeps_lengths

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"W": (self.width, self.input_size or 0, self.output_size or 0), "b": (self.output_size or 0,)}

    def states(self) -> dict[str, int]:
        return {"x": self._kept} if self._kept else {}

    def run(self, x: Sequences, state: State, rng: Noise, keep: bool) -> tuple[Sequences, State, Any]:
        layout, sequences, steps = self._windows.taps(x)
        count = self._windows.span - 1 if self.stateful else 0  # steps that the state of a sequence holds
        batch, size = x.layout.count, x.values.shape[1]
        before = [part.reshape(-1, size) for part in state or self.first_state(batch)]
        # The steps of all sequences, those of their states, and at last one of 0 for what there is not.
        rows = np.concatenate([x.values, *before, np.zeros((1, size), self.dtype)])
        under = _under(x, sequences, steps, count)  # (M, width)
        last = _under(x, np.arange(batch), x.lengths[:, None] + np.arange(-count, 0), count) if count else None
        product = Conv1d._product(self)
        parts = [product(rows[some].reshape(len(some), -1)) for some in _blocks(under, size)]
        y = parts[0] if len(parts) == 1 else np.concatenate(parts)  # (M, output)
        end = None if last is None else (rows[last].reshape(batch, -1),)
        kept = (rows, len(x.values), under, last, self._parameters["W"].copy(), y) if keep else None
        return Sequences(y, layout), end, kept

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[Array, State, Gradients]:
        rows, real, under, last, W, y = kept
        dy, size = np.ascontiguousarray(dy, self.dtype), W.shape[1]
        drows, dW, db, first = np.zeros_like(rows), np.zeros_like(W), np.zeros_like(W[0, 0]), 0
        for some in _blocks(under, size):
            part, windows = slice(first, first + len(some)), rows[some].reshape(len(some), -1)
            flat = W.reshape(-1, W.shape[2])
            dwindows, *dweights = engine.dense_derivative(windows, flat, y[part], dy[part], self.activation)
            for k in range(len(W)):  # among the windows no step is twice at one place, but for that of 0
                drows[some[:, k]] += dwindows[:, k * size : (k + 1) * size]
            first, dW, db = part.stop, dW + dweights[0].reshape(W.shape), db + dweights[1]
        if last is not None and dstate is not None:
            drows[last] += dstate[0].reshape(*last.shape, size)
        dstart = None if last is None else (drows[real:-1].reshape(len(last), -1),)
        return drows[:real], dstart, {"W": dW, "b": db}

    def step(self, x: Array, state: Arrays) -> tuple[Array, Arrays]:
        ready = Conv1d.ready(self)
        return ready.step(x, state) if self.stateful else (ready(x), ())

    def ready(self) -> Any:
        product = Conv1d._product(self)
        if not self.stateful:
            return product

        def chunk(x: Array, state: Arrays) -> tuple[Array, Arrays]:
            batch, time, size = x.shape
            steps = np.concatenate([state[0].reshape(batch, -1, size), x], axis=1)
            under = np.arange(time)[:, None] + np.arange(self.width) * self.dilation
            return product(steps.take(under, axis=1).reshape(batch, time, -1)), (steps[:, time:].reshape(batch, -1),)

        def step(x: Array, state: Arrays) -> tuple[Array, Arrays]:
            steps = np.concatenate([state[0], x], axis=1).reshape(len(x), span, -1)
            return product(steps[:, :: self.dilation].reshape(len(x), -1)), (steps[:, 1:].reshape(len(x), -1),)

        span, widths = self._windows.span, tuple(self._states.values())
        return stepping.PlainPacked(step, self.input_size or 0, self.output_size or 0, widths, self.dtype, chunk)

    def _product(self) -> Callable[[Array], Array]:
        """The activation of the product with windows (..., width x input)."""
        W = self._parameters["W"]
        return engine.pack_dense(W.reshape(-1, W.shape[2]), self._parameters["b"], self.activation)


def _blocks(under: Array, size: int) -> list[Array]:
    """Windows in parts, of which each takes little memory where its steps are written out."""
    count = max(1, BLOCK // (under.shape[1] * size))
    return [under[i : i + count] for i in range(0, len(under), count)]


def _under(x: Sequences, sequences: Array, steps: Array, count: int) -> Array:
    """Where steps of sequences stand: among the rows of x, or of `count` rows of the state of each after them."""
    rows = rows_of(x, sequences, steps)
    if count == 0:
        return rows
    return np.where(steps < 0, (len(x.values) + (sequences + 1) * count)[:, None] + steps, rows)
