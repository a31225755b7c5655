"""Layers that treat every step by itself: dense, embedding, dropout, activations, constant maps, merged directions.

They work on packed rows (N, features), so they never see padding, and serve sequences and vectors alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from elman import checks, engine
from elman.cells.activations import ACTIVATIONS, OVER_FEATURES, Activation, as_activation, name_of
from elman.cells.cell import Arrays
from elman.cells.functions import CURVES, softmax
from elman.checks import Array
from elman.layers.layer import Gradients, Layer, Noise, State
from elman.sequences import Sequences


class Pointwise(Layer):
    """The base of layers of which `step` says all that they compute, and x and y are all that `run_back` needs."""

    def run(self, x: Sequences, state: State, rng: Noise, keep: bool) -> tuple[Sequences, None, Any]:
        y, _ = self.step(x.values, ())
        return x.with_values(y), None, (x.values, y) if keep else None


class Dense(Layer):
    """y = act(x W + b) at every step, or of every vector.

    Parameters `W` (input, output), drawn by Glorot, and `b` (output,), 0. `activation` is a name of the table or an
    `elman.Activation`. `dtype` and `seed` as in `elman.Recurrent`.

    x (batch, time, input) gives y (batch, time, output), vectors (batch, input) give (batch, output).
    Raises `ValueError` for a size under 1 or an unknown activation.

    >>> import numpy as np, elman
    >>> y, _ = elman.Dense(3, 2, seed=0)(np.ones((4, 7, 3)))
    >>> y.shape
    (4, 7, 2)
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        activation: str | Activation = "identity",
        dtype: Any = "float32",
        seed: int | None = None,
    ) -> None:
        super().__init__(seed, input_size=input_size, output_size=output_size, activation=activation, dtype=dtype)

    def setup(self, input_size: int, output_size: int, activation: Any, dtype: Any) -> None:
        self.input_size = checks.size("input_size", input_size)
        self.output_size = checks.size("output_size", output_size)
        self.activation = as_activation(activation)
        self.dtype = checks.float_dtype(dtype)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"W": (self.input_size or 0, self.output_size or 0), "b": (self.output_size or 0,)}

    def run(self, x: Sequences, state: State, rng: Noise, keep: bool) -> tuple[Sequences, None, Any]:
        rows = np.ascontiguousarray(x.values, self.dtype)
        y, _ = self.step(rows, ())
        return x.with_values(y), None, (rows, self._parameters["W"].copy(), y) if keep else None

    def step(self, x: Array, state: Arrays) -> tuple[Array, Arrays]:
        return Dense.ready(self)(x), ()

    def ready(self) -> Callable[[Array], Array]:
        return engine.pack_dense(self._parameters["W"], self._parameters["b"], self.activation)

    def _alone(self, kept: Any, rows: slice, b: int) -> Any:
        x, W, y = kept
        return x[rows], W, y[rows]

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[Array, None, Gradients]:
        x, W, y = kept
        dx, dW, db = engine.dense_derivative(x, W, y, np.ascontiguousarray(dy, self.dtype), self.activation)
        return dx, None, {"W": dW, "b": db}


class Embedding(Pointwise):
    """A vector of its own for every token: y = W[x].

    Tokens are whole numbers from 0 to `count` - 1: x is (batch, time), one sequence (time,), or a list of (time_i,).
    Parameter `W` (count, size), standard normal. `dtype` and `seed` as in `elman.Recurrent`. y is (batch,
    time, size). Raises `ValueError` for a size under 1, and in a call for a token that is none, with its place.

    >>> import elman
    >>> y, _ = elman.Embedding(65, 8, seed=0)([[5, 64, 0], [1, 2, 3]])
    >>> y.shape
    (2, 3, 8)
    """

    def __init__(self, count: int, size: int, dtype: Any = "float32", seed: int | None = None) -> None:
        super().__init__(seed, count=count, size=size, dtype=dtype)

    def setup(self, count: int, size: int, dtype: Any) -> None:
        self.count = self.tokens = checks.size("count", count)
        self.size = self.output_size = checks.size("size", size)
        self.dtype = checks.float_dtype(dtype)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"W": (self.count, self.size)}

    def draw(self, rng: np.random.Generator) -> None:
        self._parameters["W"][...] = rng.standard_normal(self._parameters["W"].shape)

    def step(self, x: Array, state: Arrays) -> tuple[Array, Arrays]:
        return self._parameters["W"][x], ()

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[None, None, Gradients]:
        dW, tokens = np.zeros_like(self._parameters["W"]), kept[0]
        # A token that comes twice counts twice: the rows are sorted by token, and those of each summed.
        order = tokens.argsort(kind="stable")
        tokens = tokens[order]
        first = np.flatnonzero(np.diff(tokens, prepend=-1))
        dW[tokens[first]] = np.add.reduceat(dy[order], first, axis=0)
        return None, None, {"W": dW}


def dropout_rate(name: str, value: Any, at_one: str = "nothing is left") -> float:
    """A probability from 0 to under 1; `at_one` says what would be at 1."""
    rate = checks.number(name, value, 0, 1)
    if rate == 1:
        raise ValueError(f"{name} must be under 1, or {at_one}. Got {checks.show(value)}.")
    return rate


def dropout_mask(rng: np.random.Generator, rate: float, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """0 with probability `rate`, else 1 / (1 - rate), so that the mean is 1."""
    return np.multiply(~happens(rng, rate, shape), dtype.type(1 / (1 - rate)), dtype=dtype)


def happens(rng: np.random.Generator, rate: float, shape: tuple[int, ...]) -> Array:
    """True with probability `rate`, to within 2^-32: twice as fast as drawing a float for each."""
    count = math.prod(shape)
    halves = rng.integers(0, 2**64, -(-count // 2), np.uint64).view(np.uint32)[:count]
    return np.asarray(halves.reshape(shape) < np.uint32(rate * 2**32))


class Dropout(Layer):
    """Sets each value to 0 with probability `rate` and scales the others by 1 / (1 - rate).

    It acts only where `forward` is given a generator, as `fit` does; elsewhere y = x. Source: Srivastava et al.
    2014, section 4, with the scaling moved from use to training. With `per_sequence` each sequence of a batch has one
    mask, the same at all its steps (Gal and Ghahramani 2016, section 4.1); vectors have one each, as without it.
    Under truncated backpropagation a sequence is what one window holds.
    Raises `ValueError` for a rate that is not from 0 to under 1.

    >>> import numpy as np, elman
    >>> layer = elman.Dropout(0.5)
    >>> layer(np.ones((1, 2, 3)))[0].tolist()
    [[[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]]
    >>> layer.forward(np.ones((1, 2, 3)), rng=np.random.default_rng(0))[0].tolist()
    [[[2.0, 2.0, 2.0], [0.0, 0.0, 0.0]]]
    """

    def __init__(self, rate: float, *, per_sequence: bool = False) -> None:
        super().__init__(rate=rate, per_sequence=per_sequence)

    def setup(self, rate: float, per_sequence: bool = False) -> None:
        self.rate = dropout_rate("rate", rate)
        self.per_sequence = checks.flag("per_sequence", per_sequence)

    def run(self, x: Sequences, state: State, rng: Noise, keep: bool) -> tuple[Sequences, None, Any]:
        if rng is None or self.rate == 0:
            return x, None, None
        count = x.layout.count if self.per_sequence else len(x.values)
        scale = dropout_mask(rng, self.rate, (count, x.values.shape[1]), x.values.dtype)
        if self.per_sequence:
            scale = scale.repeat(x.layout.rows, axis=0)
        return x.with_values(x.values * scale), None, scale

    def step(self, x: Array, state: Arrays) -> tuple[Array, Arrays]:
        return x, ()

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[Array | None, None, Gradients]:
        return dy if kept is None else dy * kept, None, {}


def softmax_derivative(y: Array, dy: Array) -> Array:
    """The gradient by x, from the output y and its gradient: dx_i = y_i (dy_i - sum_j dy_j y_j)."""
    return np.asarray(y * (dy - (dy * y).sum(-1, keepdims=True)))


def log_softmax(x: Array) -> Array:
    """y_i = x_i - log(sum_j exp(x_j)), with the largest x taken off first so that nothing overflows."""
    x = x - x.max(-1, keepdims=True)
    return np.asarray(x - np.log(np.exp(x).sum(-1, keepdims=True)))


def log_softmax_derivative(y: Array, dy: Array) -> Array:
    """The gradient by x, from the output y and its gradient: dx_i = dy_i - exp(y_i) sum_j dy_j."""
    return np.asarray(dy - np.exp(y) * dy.sum(-1, keepdims=True))


#: Those that look at all features of a step together: the function, and the gradient by x from y and dy.
_FUNCTIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array, Array], Array]]] = {
    "softmax": (softmax, softmax_derivative),
    "log_softmax": (log_softmax, log_softmax_derivative),
}


class Activate(Pointwise):
    """y = act(x), at every step or of every vector.

    `activation` is a name of the table or an `elman.Activation`, one of the two that act over the features of a step
    together, "softmax" and "log_softmax" (Bridle 1990), or one whose derivative is taken from x: "gelu", "gelu_tanh",
    "swish" (SiLU), "hard_swish", "selu", "erf", "sqrt". A `Dense` has its activation built in; this layer is for the
    others. Raises `ValueError` for an activation that is none of these.

    >>> import elman
    >>> elman.Activate("relu")([[-1.0, 2.0]])[0].tolist()
    [[0.0, 2.0]]
    >>> elman.Activate("softmax")([[0.0, 0.0, 0.0, 0.0]])[0].tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """

    activation: Activation | str  #: a name alone for those that are no `Activation`

    def __init__(self, activation: str | Activation) -> None:
        super().__init__(activation=activation)

    def setup(self, activation: Any) -> None:
        activation = name_of(activation)
        if isinstance(activation, str):
            activation = checks.choice("activation", activation, [*ACTIVATIONS, *OVER_FEATURES, *CURVES])
        by_name = isinstance(activation, str) and activation not in ACTIVATIONS
        self.activation = activation if by_name else as_activation(activation)

    def step(self, x: Array, state: Arrays) -> tuple[Array, Arrays]:
        if isinstance(self.activation, str):
            return (CURVES.get(self.activation) or _FUNCTIONS[self.activation])[0](x), ()
        return engine.activate(x, self.activation), ()

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[Array, None, Gradients]:
        x, y = kept
        if not isinstance(self.activation, str):
            return dy * self.activation.derivative(y), None, {}
        if self.activation in CURVES:
            return dy * CURVES[self.activation][1](x), None, {}
        return _FUNCTIONS[self.activation][1](y, dy), None, {}


class Scale(Pointwise):
    """y = (x - shift) factor, at every step or of every vector: what a scaler has measured, as a layer.

    `shift` and `factor` are numbers for all features, or one for each of the `size` features. They are options, which
    are not trained: a standard scaler's mean and 1 / its deviation, Keras's ``Normalization`` and ``Rescaling``. Raises
    `ValueError` or `ShapeError` for what is no finite number or not one for each feature.

    >>> import elman
    >>> elman.Scale(2, shift=[1.0, 10.0], factor=0.5)([[3.0, 8.0]])[0].tolist()
    [[1.0, -1.0]]
    """

    def __init__(self, size: int, shift: Any, factor: Any) -> None:
        super().__init__(size=size, shift=shift, factor=factor)

    def setup(self, size: int, shift: Any, factor: Any) -> None:
        self.size = self.input_size = self.output_size = checks.size("size", size)
        self.shift = self._constant("shift", shift)
        self.factor = self._constant("factor", factor)

    def _constant(self, name: str, value: Any) -> float | tuple[float, ...]:
        """A number, or as many as there are features, as floats of Python, which files hold exactly."""
        if checks.rank(value) == 0:
            return checks.number(name, value.item() if isinstance(value, np.ndarray) else value)
        array = checks.real_array(name, value, np.float64)
        checks.shape(name, array, (self.size,))
        if not np.isfinite(array).all():
            i = int((~np.isfinite(array)).argmax())
            raise ValueError(f"{name} must hold finite numbers. Got {array[i]} at feature {i}.")
        return tuple(array.tolist())

    def step(self, x: Array, state: Arrays) -> tuple[Array, Arrays]:
        shift, factor = np.asarray(self.shift, x.dtype), np.asarray(self.factor, x.dtype)
        return (x - shift) * factor, ()

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[Array, None, Gradients]:
        return dy * np.asarray(self.factor, dy.dtype), None, {}


class MergeDirections(Pointwise):
    """One value from both directions of a bidirectional layer: (..., 2 features) to (..., features).

    y = a + b for `mode` "sum", a b for "mul", (a + b) / 2 for "ave", where a is the first half of the features,
    forward in time, and b the second: ``merge_mode`` of Keras's ``Bidirectional``, where other layers stand between.
    Right after both directions ``elman.Bidirectional(..., merge=...)`` says the same. Raises `ValueError` for another
    mode, `ShapeError` for an odd number of features.

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
        self.mode = checks.choice("mode", mode, MODES)

    def step(self, x: Array, state: Arrays) -> tuple[Array, Arrays]:
        return merged(MODES[self.mode], *halves(x)), ()

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[Array, None, Gradients]:
        return np.concatenate(merged_derivative(MODES[self.mode], halves(kept[0]), dy), axis=-1), None, {}


MODES = {"sum": "sum", "mul": "multiply", "ave": "mean"}  #: of `MergeDirections` -> what `Bidirectional` calls it


def merged(how: str, a: Array, b: Array) -> Array:
    """a + b for "sum", (a + b) / 2 for "mean", a b for "multiply"."""
    if how == "multiply":
        return a * b
    y = a + b
    if how == "mean":
        y *= 0.5
    return y


def merged_derivative(how: str, both: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    """The gradients by both that were merged."""
    if how == "multiply":
        a, b = both
        return dy * b, dy * a
    dy = dy if how == "sum" else dy * dy.dtype.type(0.5)
    return dy, dy


def halves(values: Array) -> tuple[Array, Array]:
    """The features of the forward direction and those of the reverse one, (..., features / 2) each."""
    width = values.shape[-1]
    if width % 2:
        must = "x must have an even number of features, half of them for each direction"
        raise checks.ShapeError(f"{must}. Got {width} features.")
    return values[..., : width // 2], values[..., width // 2 :]
