"""Layers that are constants: an affine map of the features, a vector at each of so many steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from elman import checks
from elman.cells.cell import Arrays
from elman.checks import Array, ShapeError
from elman.layers.layer import Gradients, Layer, Noise, State
from elman.sequences import Layout, Sequences


class Scale(Layer):
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

    def run(self, x: Sequences, state: State, rng: Noise, keep: bool) -> tuple[Sequences, None, Any]:
        return x.with_values(self.step(x.values, ())[0]), None, None

    def step(self, x: Array, state: Arrays) -> tuple[Array, Arrays]:
        shift, factor = np.asarray(self.shift, x.dtype), np.asarray(self.factor, x.dtype)
        return (x - shift) * factor, ()

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[Array, None, Gradients]:
        return dy * np.asarray(self.factor, dy.dtype), None, {}


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
