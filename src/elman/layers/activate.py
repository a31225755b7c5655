"""An activation as a layer of its own: those of the table, those that need x for their derivative, and softmax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from elman import checks, engine
from elman.cells.activations import ACTIVATIONS, OVER_FEATURES, Activation, as_activation, name_of, softmax
from elman.cells.cell import Arrays
from elman.cells.curves import CURVES
from elman.checks import Array
from elman.layers.layer import Gradients, Layer, Noise, State
from elman.sequences import Sequences


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


class Activate(Layer):
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

    def run(self, x: Sequences, state: State, rng: Noise, keep: bool) -> tuple[Sequences, None, Any]:
        y, _ = self.step(x.values, ())
        return x.with_values(y), None, (x.values if self.activation in CURVES else y) if keep else None

    def step(self, x: Array, state: Arrays) -> tuple[Array, Arrays]:
        if isinstance(self.activation, str):
            return (CURVES.get(self.activation) or _FUNCTIONS[self.activation])[0](x), ()
        return engine.activate(x, self.activation), ()

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[Array, None, Gradients]:
        if not isinstance(self.activation, str):
            return dy * self.activation.derivative(kept), None, {}
        if self.activation in CURVES:
            return dy * CURVES[self.activation][1](kept), None, {}
        return _FUNCTIONS[self.activation][1](kept, dy), None, {}
