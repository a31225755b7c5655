"""Activation functions, each with its derivative beneath.

A derivative is taken from the output: with ``y = tanh(x)``, ``tanh_derivative(y)`` is ``1 - y**2``, so a network
needs to keep only what it has computed anyway. Every function is finite for every finite input.

The table `ACTIVATIONS` holds the list of ONNX (operators RNN, GRU and LSTM, attribute ``activations``) and the
identity, with ONNX's definitions and default parameters.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from elman import checks
from elman.cells.curves import CURVES
from elman.checks import Array
from elman.options import ReadOnly


def _of_reals(function: Callable[..., Any]) -> Callable[..., Any]:
    """Converts lists and integers to floating point and refuses what is not real, before `function` runs."""

    name = function.__code__.co_varnames[0]

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if args:
            return function(checks.real_array(name, args[0]), *args[1:], **kwargs)
        if name in kwargs:
            kwargs[name] = checks.real_array(name, kwargs[name])
        return function(**kwargs)

    return checked


@_of_reals
def identity(x: Array) -> Array:
    """y = x.

    >>> identity(3.0).item()
    3.0
    """
    return x.copy()


def identity_derivative(y: Array) -> Array:
    return np.ones_like(y)


@_of_reals
def sigmoid(x: Array) -> Array:
    """The logistic function, y = 1 / (1 + exp(-x)), of any array; y has the shape of x.

    >>> sigmoid([-1000.0, 0.0, 1000.0])
    array([0. , 0.5, 1. ])
    """
    e = np.exp(-np.abs(x))  # at most 1: nothing can overflow
    return np.where(x >= 0, 1, e) / (1 + e)


@_of_reals
def sigmoid_derivative(y: Array) -> Array:
    """dy/dx = y (1 - y), from the output y.

    >>> sigmoid_derivative(sigmoid(0.0)).item()
    0.25
    """
    return y * (1 - y)


@_of_reals
def tanh(x: Array) -> Array:
    """The hyperbolic tangent of any array.

    >>> tanh([-1000.0, 0.0]).tolist()
    [-1.0, 0.0]
    """
    return np.tanh(x)


@_of_reals
def tanh_derivative(y: Array) -> Array:
    """dy/dx = 1 - y^2, from the output y.

    >>> tanh_derivative(tanh(0.0)).item()
    1.0
    """
    return 1 - y * y


@_of_reals
def relu(x: Array) -> Array:
    """y = max(x, 0).

    >>> relu([-2.0, 3.0]).tolist()
    [0.0, 3.0]
    """
    return np.maximum(x, 0)


@_of_reals
def relu_derivative(y: Array) -> Array:
    """dy/dx = 1 where y > 0, else 0.

    >>> relu_derivative([0.0, 3.0]).tolist()
    [0.0, 1.0]
    """
    return (y > 0).astype(y.dtype)


@_of_reals
def leaky_relu(x: Array, alpha: float = 0.01) -> Array:
    """y = x where x >= 0, alpha x elsewhere."""
    return np.where(x >= 0, x, alpha * x)


def leaky_relu_derivative(y: Array, alpha: float = 0.01) -> Array:
    return np.where(y >= 0, 1, y.dtype.type(alpha))


@_of_reals
def thresholded_relu(x: Array, alpha: float = 1.0) -> Array:
    """y = x where x > alpha, else 0."""
    return np.where((x > alpha) | np.isnan(x), x, 0)


def thresholded_relu_derivative(y: Array, alpha: float = 1.0) -> Array:
    return (y != 0).astype(y.dtype)


@_of_reals
def elu(x: Array, alpha: float = 1.0) -> Array:
    """y = x where x >= 0, alpha (exp(x) - 1) elsewhere."""
    return np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0)))


def elu_derivative(y: Array, alpha: float = 1.0) -> Array:
    return np.where(y >= 0, 1, y + y.dtype.type(alpha))


@_of_reals
def softsign(x: Array) -> Array:
    """y = x / (1 + |x|)."""
    return x / (1 + np.abs(x))


def softsign_derivative(y: Array) -> Array:
    return (1 - np.abs(y)) ** 2


@_of_reals
def softplus(x: Array) -> Array:
    """y = log(1 + exp(x))."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def softplus_derivative(y: Array) -> Array:
    return -np.expm1(-y)  # 1 - exp(-y) = sigmoid(x)


@_of_reals
def hard_sigmoid(x: Array, alpha: float = 0.2, beta: float = 0.5) -> Array:
    """y = max(0, min(1, alpha x + beta)). Keras 3 has alpha = 1/6."""
    return np.clip(alpha * x + beta, 0, 1)


def hard_sigmoid_derivative(y: Array, alpha: float = 0.2, beta: float = 0.5) -> Array:
    return np.where((y > 0) & (y < 1), y.dtype.type(alpha), 0)


@_of_reals
def affine(x: Array, alpha: float = 1.0, beta: float = 0.0) -> Array:
    """y = alpha x + beta."""
    return alpha * x + beta


def affine_derivative(y: Array, alpha: float = 1.0, beta: float = 0.0) -> Array:
    return np.full_like(y, alpha)


@_of_reals
def scaled_tanh(x: Array, alpha: float = 1.0, beta: float = 1.0) -> Array:
    """y = alpha tanh(beta x)."""
    return alpha * np.tanh(beta * x)


def scaled_tanh_derivative(y: Array, alpha: float = 1.0, beta: float = 1.0) -> Array:
    return beta * (alpha - y * y / alpha)


@_of_reals
def softmax(x: Array, axis: int = -1) -> Array:
    """y_i = exp(x_i) / sum_j exp(x_j) along `axis`, with the largest x taken off first so that nothing overflows.

    >>> softmax([1e4, 1e4 + 1]).round(4).tolist()
    [0.2689, 0.7311]
    """
    axis = checks.axis("axis", axis, x)
    if x.size == 0:
        raise checks.ShapeError(f"x must hold at least one number. Got {x.shape}.")
    with np.errstate(invalid="ignore"):  # infinity - infinity is NaN, as it must be
        e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


@_of_reals
def softmax_jacobian(y: Array, axis: int = -1) -> Array:
    """dy_i/dx_j = y_i ((i == j) - y_j), from the output y.

    For y (..., n) the result is (..., n, n). With another `axis`, that axis is moved to the end first.

    >>> softmax_jacobian([0.25, 0.75]).tolist()
    [[0.1875, -0.1875], [-0.1875, 0.1875]]
    """
    y = np.moveaxis(y, checks.axis("axis", axis, y), -1)
    return y[..., :, None] * (np.eye(y.shape[-1], dtype=y.dtype) - y[..., None, :])


@dataclass(frozen=True)
class _Definition:
    function: Callable[..., Array]
    derivative: Callable[..., Array]
    defaults: dict[str, float] = field(default_factory=dict)


ACTIVATIONS: dict[str, _Definition] = {
    "identity": _Definition(identity, identity_derivative),
    "relu": _Definition(relu, relu_derivative),
    "tanh": _Definition(tanh, tanh_derivative),
    "sigmoid": _Definition(sigmoid, sigmoid_derivative),
    "affine": _Definition(affine, affine_derivative, {"alpha": 1.0, "beta": 0.0}),
    "leaky_relu": _Definition(leaky_relu, leaky_relu_derivative, {"alpha": 0.01}),
    "thresholded_relu": _Definition(thresholded_relu, thresholded_relu_derivative, {"alpha": 1.0}),
    "scaled_tanh": _Definition(scaled_tanh, scaled_tanh_derivative, {"alpha": 1.0, "beta": 1.0}),
    "hard_sigmoid": _Definition(hard_sigmoid, hard_sigmoid_derivative, {"alpha": 0.2, "beta": 0.5}),
    "elu": _Definition(elu, elu_derivative, {"alpha": 1.0}),
    "softsign": _Definition(softsign, softsign_derivative),
    "softplus": _Definition(softplus, softplus_derivative),
}


#: Those that act over the features of a step together; each is a layer, see `elman.Activate`.
OVER_FEATURES = ("softmax", "log_softmax")

#: Why some are layers of their own: what an activation must do, and what they do.
_APART = {
    **dict.fromkeys(OVER_FEATURES, ("act on each number by itself", "acts over the features together")),
    **dict.fromkeys(CURVES, ("have a derivative that y tells", "needs x for it, or is of no use in a cell")),
}

# Where the sign or size of alpha decides whether the derivative can be told from y alone.
_POSITIVE_SLOPE = {"leaky_relu", "elu", "scaled_tanh"}


class Activation:
    """An activation of the table by name, with its parameters where it has any.

    `name` is one of identity, relu, tanh, sigmoid, affine, leaky_relu, thresholded_relu, scaled_tanh,
    hard_sigmoid, elu, softsign, softplus. Called, it gives y; `derivative(y)` gives dy/dx. Layers take a name or
    an `Activation`. The derivative is taken from y, so alpha of leaky_relu, elu and scaled_tanh must be over 0.
    An activation is a value: neither its name nor its parameters can be assigned.

    >>> leaky = Activation("leaky_relu", alpha=0.1)
    >>> leaky([-2.0, 2.0]).tolist(), leaky
    ([-0.2, 2.0], Activation('leaky_relu', alpha=0.1))
    """

    name: str
    parameters: Mapping[str, float]

    def __init__(self, name: str, **parameters: float) -> None:
        near = checks.nearest(name, (*ACTIVATIONS, *_APART))
        if near in _APART:
            got = checks.show(name) if name == near else f"{checks.show(name)}, perhaps {near!r}"
            must, does = _APART[near]
            raise ValueError(
                f"activation must {must}. Got {got}, which {does}: it is a layer of its own, elman.Activate({near!r})."
            )
        checks.choice("activation", name, ACTIVATIONS)
        definition = ACTIVATIONS[name]
        for key, value in parameters.items():
            checks.choice(f"a parameter of {name}", key, definition.defaults)
            checks.number(key, value)
        if name in _POSITIVE_SLOPE:
            checks.number("alpha", parameters.get("alpha", 1.0), 0, open_low=True)
        chosen = ReadOnly({**definition.defaults, **{key: float(value) for key, value in parameters.items()}})
        self.__dict__.update(name=name, parameters=chosen)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name} of an Activation cannot be assigned; make another. Got {checks.show(value)}.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"an Activation must keep its name and parameters. Got the deletion of {name!r}.")

    def __call__(self, x: Any) -> Any:
        return ACTIVATIONS[self.name].function(x, **self.parameters)

    def derivative(self, y: Any) -> Any:
        """dy/dx from the output y."""
        return ACTIVATIONS[self.name].derivative(checks.real_array("y", y), **self.parameters)

    @property
    def slopes(self) -> tuple[float, float]:
        """alpha and beta, 0 where there is none."""
        return self.parameters.get("alpha", 0.0), self.parameters.get("beta", 0.0)

    def to_config(self) -> str | dict[str, Any]:
        """The activation as JSON: its name, or a dictionary where parameters differ from the defaults."""
        if self.parameters == ACTIVATIONS[self.name].defaults:
            return self.name
        return {"name": self.name, **self.parameters}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Activation) and (self.name, self.parameters) == (other.name, other.parameters)

    def __hash__(self) -> int:
        return hash((self.name, *self.parameters.values()))

    def __repr__(self) -> str:
        return f"Activation({', '.join([repr(self.name), *(f'{k}={v!r}' for k, v in self.parameters.items())])})"


def as_activation(value: Any) -> Activation:
    """An `Activation` from a name, from what `to_config` wrote, from a function of the table, or from itself.

    >>> as_activation(tanh), as_activation(np.tanh)
    (Activation('tanh'), Activation('tanh'))
    """
    if isinstance(value, Activation):
        return value
    if isinstance(value, dict) and isinstance(value.get("name"), str) and all(isinstance(key, str) for key in value):
        return Activation(**value)
    return Activation(name_of(value))


def name_of(value: Any) -> Any:
    """The name of a function of the table, such as `elman.tanh`, or of NumPy's tanh; anything else as it is."""
    named = {softmax: "softmax", np.tanh: "tanh"} | {entry.function: name for name, entry in ACTIVATIONS.items()}
    return named.get(value, value) if callable(value) and isinstance(value, Hashable) else value
