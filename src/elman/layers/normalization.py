"""Normalization: of each step over its features, or of each feature over the rows of a batch.

y = gain n + bias, where n is x with mean 0 and variance 1. Of a batch in training, over its N real rows (steps, or
vectors), biased:

    mean = sum x / N        variance = sum (x - mean)^2 / N
    n = (x - mean) / sqrt(variance + epsilon)
    dx = gain (dy - mean(dy) - n mean(dy n)) / sqrt(variance + epsilon)

Elsewhere mean and variance are the running ones, which are constants: dx = gain dy / sqrt(variance + epsilon).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from elman import checks
from elman.cells.cell import Arrays
from elman.cells.lstm_layer_norm import normalize, normalize_derivative
from elman.checks import Array, ShapeError
from elman.layers.layer import Gradients, Layer, Noise, Seen, State
from elman.sequences import Sequences


class _Normalization(Layer):
    """y = gain n + bias; a subclass says n and its derivative."""

    dtype: np.dtype[Any]

    def setup(self, size: int, epsilon: float, dtype: Any) -> None:
        self.size = self.input_size = self.output_size = checks.size("size", size)
        self.epsilon = checks.number("epsilon", epsilon, 0, open_low=True)
        self.dtype = checks.float_dtype(dtype)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"gain": (self.size,), "bias": (self.size,)}

    def draw(self, rng: np.random.Generator) -> None:
        for name, array in self.weights.items():
            array[...] = name in ("gain", "variance")

    def _normal(self, x: Array, rng: Noise) -> tuple[Array, Any]:
        """n, and what `_normal_derivative` needs beside it."""
        raise NotImplementedError

    def _normal_derivative(self, normal: Array, kept: Any, dnormal: Array) -> Array:
        raise NotImplementedError

    def run(self, x: Sequences, state: State, rng: Noise, keep: bool) -> tuple[Sequences, None, Any]:
        normal, kept = self._normal(x.values, rng)
        gain = self._parameters["gain"]
        y = gain * normal + self._parameters["bias"]
        return x.with_values(y), None, (normal, gain.copy(), kept) if keep else None

    def step(self, x: Array, state: Arrays) -> tuple[Array, Arrays]:
        return self._parameters["gain"] * self._normal(x, None)[0] + self._parameters["bias"], ()

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[Array, None, Gradients]:
        normal, gain, more = kept
        dx = self._normal_derivative(normal, more, dy * gain)
        return dx, None, {"gain": (dy * normal).sum(0), "bias": dy.sum(0)}


class LayerNorm(_Normalization):
    """y = gain (x - mean) / sqrt(variance + epsilon) + bias, over the features of each step.

    Parameters `gain` (size,), 1, and `bias` (size,), 0. Source: Ba, Kiros, Hinton 2016, equation 4. PyTorch calls
    them weight and bias and has the same epsilon; Keras calls them gamma and beta and has 1e-3.
    y has the shape of x, (batch, time, size) or (batch, size). Raises `ValueError` for a size under 1 or an epsilon
    that is not over 0.

    >>> import elman
    >>> elman.LayerNorm(2)([[1.0, 3.0]])[0].round(3).tolist()
    [[-1.0, 1.0]]
    """

    def __init__(self, size: int, epsilon: float = 1e-5, dtype: Any = "float32") -> None:
        super().__init__(size=size, epsilon=epsilon, dtype=dtype)

    def _normal(self, x: Array, rng: Noise) -> tuple[Array, Any]:
        return normalize(x, self.epsilon)

    def _normal_derivative(self, normal: Array, kept: Any, dnormal: Array) -> Array:
        return normalize_derivative(normal, kept, dnormal)


class BatchNorm(_Normalization):
    """y = gain (x - mean) / sqrt(variance + epsilon) + bias, each feature over all real steps of a batch.

    Where `forward` is given a generator, as `fit` does, mean and variance are those of the batch, and the running ones
    move towards them: running += momentum (batch - running), with the variance of a sample, sum / (N - 1). Elsewhere
    the running ones are used, so that a sequence has the same outputs whatever stands beside it. They are `buffers`,
    `mean` (size,), 0, and `variance` (size,), 1: saved with the network, not trained. Padding counts nowhere.

    Parameters `gain` (size,), 1, and `bias` (size,), 0. Source: Ioffe and Szegedy 2015, algorithm 1, with the running
    statistics of PyTorch, which calls the parameters weight and bias; Keras calls them gamma and beta, its momentum is
    1 - this one, and its epsilon 1e-3. Raises `ShapeError` for a batch of one row in training, as `fit` does
    before its first update.

    >>> import numpy as np, elman
    >>> layer = elman.BatchNorm(1, momentum=0.5, dtype="float64")
    >>> y, _, _ = layer.forward([[[1.0], [3.0]]], rng=np.random.default_rng(0))
    >>> y.round(2).tolist(), layer.mean.tolist(), layer.variance.tolist()
    ([[[-1.0], [1.0]]], [1.0], [1.5])
    >>> layer([[[1.0], [3.0]]])[0].round(2).tolist()
    [[[0.0], [1.63]]]
    """

    def __init__(self, size: int, momentum: float = 0.1, epsilon: float = 1e-5, dtype: Any = "float32") -> None:
        super().__init__(size=size, momentum=momentum, epsilon=epsilon, dtype=dtype)

    def setup(self, size: int, momentum: float, epsilon: float, dtype: Any) -> None:  # type: ignore[override]
        super().setup(size, epsilon, dtype)
        self.momentum = checks.number("momentum", momentum, 0, 1)

    def buffer_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"mean": (self.size,), "variance": (self.size,)}

    def _normal(self, x: Array, rng: Noise) -> tuple[Array, Any]:
        mean, variance, count = *self._buffers.values(), 0
        if rng is not None:
            count = len(x)
            if count < 2:
                raise ShapeError("a batch must have at least 2 rows to be normalized in training. Got 1.")
            mean = x.mean(0, np.float64).astype(self.dtype)
            variance = np.square(x - mean).mean(0, np.float64).astype(self.dtype)
        scale = 1 / np.sqrt(variance + self.epsilon)
        return (x - mean) * scale, (scale, mean, variance, count)

    def _normal_derivative(self, normal: Array, kept: Any, dnormal: Array) -> Array:
        scale, *_, count = kept
        if count:
            dnormal = dnormal - dnormal.mean(0) - normal * (dnormal * normal).mean(0)
        return dnormal * scale

    def seen(self, kept: Any) -> list[Seen]:
        _, mean, variance, count = kept[-1]
        if not count:
            return []
        sample = (variance.astype(np.float64) * (count / (count - 1))).astype(self.dtype)
        pairs = zip(self._buffers.values(), (mean, sample), strict=True)
        return [Seen(array, value, self.momentum) for array, value in pairs]
