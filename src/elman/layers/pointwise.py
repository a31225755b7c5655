"""Layers that treat every step by itself: dense, embedding, dropout, layer normalization.

They work on packed rows (N, features), so they never see padding, and serve sequences and vectors alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from elman import checks, engine
from elman.cells.activations import Activation, as_activation
from elman.cells.cell import Arrays
from elman.cells.lstm_layer_norm import normalize, normalize_derivative
from elman.checks import Array
from elman.initializers import glorot
from elman.layers import noise
from elman.layers.layer import Gradients, Layer, Noise, State
from elman.sequences import Sequences


class Dense(Layer):
    """y = act(x W + b) at every step, or of every vector.

    Parameters `W` (input, output), drawn by Glorot, and `b` (output,), 0. `activation` is a name of the table or an
    `elman.Activation`. `dtype` and `seed` as in `elman.Recurrent`.

    >>> import numpy as np, elman
    >>> y, _ = elman.Dense(3, 2, seed=0)(np.ones((4, 7, 3)))
    >>> y.shape
    (4, 7, 2)
    """

    activation: Activation
    dtype: np.dtype[Any]

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

    def draw(self, rng: np.random.Generator) -> None:
        self._parameters["W"][...] = glorot(rng, self._parameters["W"].shape)
        self._parameters["b"][...] = 0

    def run(self, x: Sequences, state: State, rng: Noise, keep: bool) -> tuple[Sequences, None, Any]:
        rows = np.ascontiguousarray(x.values, self.dtype)
        y, _ = self.step(rows, ())  # (N, output)
        return x.with_values(y), None, (rows, self._parameters["W"].copy(), y) if keep else None

    def step(self, x: Array, state: Arrays) -> tuple[Array, Arrays]:
        return Dense.ready(self)(x), ()

    def ready(self) -> Callable[[Array], Array]:
        return engine.pack_dense(self._parameters["W"], self._parameters["b"], self.activation)

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[Array, None, Gradients]:
        x, W, y = kept
        dx, dW, db = engine.dense_derivative(x, W, y, np.ascontiguousarray(dy, self.dtype), self.activation)
        return dx, None, {"W": dW, "b": db}


class Embedding(Layer):
    """A vector of its own for every token: y = W[x].

    Tokens are whole numbers from 0 to `count` - 1: x is (batch, time), one sequence (time,), or a list of (time_i,).
    Parameter `W` (count, size), standard normal. `dtype` and `seed` as in `elman.Recurrent`.

    >>> import elman
    >>> y, _ = elman.Embedding(65, 8, seed=0)([[5, 64, 0], [1, 2, 3]])
    >>> y.shape
    (2, 3, 8)
    """

    dtype: np.dtype[Any]

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

    def run(self, x: Sequences, state: State, rng: Noise, keep: bool) -> tuple[Sequences, None, Any]:
        return x.with_values(self.step(x.values, ())[0]), None, x.values

    def step(self, x: Array, state: Arrays) -> tuple[Array, Arrays]:
        return self._parameters["W"][x], ()

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[None, None, Gradients]:
        dW = np.zeros_like(self._parameters["W"])
        # A token that comes twice counts twice: the rows are sorted by token, and those of each summed.
        order = kept.argsort(kind="stable")
        tokens = kept[order]
        first = np.flatnonzero(np.diff(tokens, prepend=-1))
        dW[tokens[first]] = np.add.reduceat(dy[order], first, axis=0)
        return None, None, {"W": dW}


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
        self.rate = noise.dropout_rate("rate", rate)
        self.per_sequence = checks.flag("per_sequence", per_sequence)

    def run(self, x: Sequences, state: State, rng: Noise, keep: bool) -> tuple[Sequences, None, Any]:
        if rng is None or self.rate == 0:
            return x, None, None
        repeated = self.per_sequence and x.layout.lengths is not None
        rows, width = x.values.shape
        scale = noise.dropout_mask(rng, self.rate, (x.layout.count if repeated else rows, width), x.values.dtype)
        if repeated:
            scale = scale.repeat(x.lengths, axis=0)
        return x.with_values(x.values * scale), None, scale

    def step(self, x: Array, state: Arrays) -> tuple[Array, Arrays]:
        return x, ()

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[Array | None, None, Gradients]:
        return dy if kept is None else dy * kept, None, {}


class LayerNorm(Layer):
    """y = gain (x - mean) / sqrt(variance + epsilon) + bias, over the features of each step.

    Parameters `gain` (size,), 1, and `bias` (size,), 0. Source: Ba, Kiros, Hinton 2016, equation 4. PyTorch calls
    them weight and bias and has the same epsilon; Keras calls them gamma and beta and has 1e-3.

    >>> import elman
    >>> elman.LayerNorm(2)([[1.0, 3.0]])[0].round(3).tolist()
    [[-1.0, 1.0]]
    """

    dtype: np.dtype[Any]

    def __init__(self, size: int, epsilon: float = 1e-5, dtype: Any = "float32") -> None:
        super().__init__(size=size, epsilon=epsilon, dtype=dtype)

    def setup(self, size: int, epsilon: float, dtype: Any) -> None:
        self.size = self.input_size = self.output_size = checks.size("size", size)
        self.epsilon = checks.number("epsilon", epsilon, 0, open_low=True)
        self.dtype = checks.float_dtype(dtype)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"gain": (self.size,), "bias": (self.size,)}

    def draw(self, rng: np.random.Generator) -> None:
        self._parameters["gain"][...] = 1
        self._parameters["bias"][...] = 0

    def run(self, x: Sequences, state: State, rng: Noise, keep: bool) -> tuple[Sequences, None, Any]:
        normal, scale = normalize(x.values, self.epsilon)
        gain = self._parameters["gain"]
        y = gain * normal + self._parameters["bias"]
        return x.with_values(y), None, (normal, scale, gain.copy()) if keep else None

    def step(self, x: Array, state: Arrays) -> tuple[Array, Arrays]:
        return self._parameters["gain"] * normalize(x, self.epsilon)[0] + self._parameters["bias"], ()

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[Array, None, Gradients]:
        normal, scale, gain = kept
        dx = normalize_derivative(normal, scale, dy * gain)
        return dx, None, {"gain": (dy * normal).sum(0), "bias": dy.sum(0)}
