"""Batch normalization: each feature by its mean and variance over the rows of a batch.

In training, over the N real rows of a batch (steps, or vectors), biased:

    mean = sum x / N        variance = sum (x - mean)^2 / N
    n = (x - mean) / sqrt(variance + epsilon)
    y = gain n + bias
    dx = gain (dy - mean(dy) - n mean(dy n)) / sqrt(variance + epsilon)

Elsewhere mean and variance are the running ones, which are constants: dx = gain dy / sqrt(variance + epsilon).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from elman import checks
from elman.cells.cell import Arrays
from elman.checks import Array, ShapeError
from elman.layers.layer import Gradients, Layer, Noise, Seen, State
from elman.sequences import Sequences


class BatchNorm(Layer):
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

    dtype: np.dtype[Any]

    def __init__(self, size: int, momentum: float = 0.1, epsilon: float = 1e-5, dtype: Any = "float32") -> None:
        super().__init__(size=size, momentum=momentum, epsilon=epsilon, dtype=dtype)

    def setup(self, size: int, momentum: float, epsilon: float, dtype: Any) -> None:
        self.size = self.input_size = self.output_size = checks.size("size", size)
        self.momentum = checks.number("momentum", momentum, 0, 1)
        self.epsilon = checks.number("epsilon", epsilon, 0, open_low=True)
        self.dtype = checks.float_dtype(dtype)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"gain": (self.size,), "bias": (self.size,)}

    def buffer_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"mean": (self.size,), "variance": (self.size,)}

    def draw(self, rng: np.random.Generator) -> None:
        for name, array in self.weights.items():
            array[...] = name in ("gain", "variance")

    def run(self, x: Sequences, state: State, rng: Noise, keep: bool) -> tuple[Sequences, None, Any]:
        mean, variance, count = self._buffers["mean"], self._buffers["variance"], 0
        if rng is not None:
            count = len(x.values)
            if count < 2:
                raise ShapeError("a batch must have at least 2 rows to be normalized in training. Got 1.")
            mean = x.values.mean(0, np.float64).astype(self.dtype)
            variance = np.square(x.values - mean).mean(0, np.float64).astype(self.dtype)
        normal, scale = self._normal(x.values, mean, variance)
        gain = self._parameters["gain"]
        y = gain * normal + self._parameters["bias"]
        return x.with_values(y), None, (normal, scale, gain.copy(), mean, variance, count) if keep else None

    def _normal(self, x: Array, mean: Array, variance: Array) -> tuple[Array, Array]:
        scale = 1 / np.sqrt(variance + self.epsilon)
        return (x - mean) * scale, scale

    def step(self, x: Array, state: Arrays) -> tuple[Array, Arrays]:
        normal, _ = self._normal(x, *self._buffers.values())
        return self._parameters["gain"] * normal + self._parameters["bias"], ()

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[Array, None, Gradients]:
        normal, scale, gain, *_, count = kept
        dnormal = dy * gain
        dx = dnormal
        if count:
            dx = dnormal - dnormal.mean(0) - normal * (dnormal * normal).mean(0)
        return dx * scale, None, {"gain": (dy * normal).sum(0), "bias": dy.sum(0)}

    def seen(self, kept: Any) -> list[Seen]:
        *_, mean, variance, count = kept
        if not count:
            return []
        sample = (variance.astype(np.float64) * (count / (count - 1))).astype(self.dtype)
        return [
            Seen(array, value, self.momentum)
            for array, value in zip(self._buffers.values(), (mean, sample), strict=True)
        ]
