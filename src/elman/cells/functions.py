"""Functions of numbers, each with its derivative beneath. Every one is finite for every finite input, but sqrt under 0.

The derivative is taken from the output: with ``y = tanh(x)``, ``tanh_derivative(y)`` is ``1 - y**2``, so a network
needs to keep only what it has computed anyway. In `CURVES` it is taken from x, as y does not tell it: gelu and swish
fall and rise again, so that one y stands for two x; erf, selu and sqrt act outside of cells alone.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # Klambauer et al. 2017, equation 14
_TANH_SCALE, _TANH_CUBE = math.sqrt(2 / math.pi), 0.044715
_FAR = 30.0  # where the normal distribution is 0 or 1 in float64


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


def erf(x: Array) -> Array:
    """The error function, y = 2 / sqrt(pi) integral of exp(-t^2) from 0 to x. Slow: NumPy has none."""
    return _each(math.erf, x)


def erf_derivative(x: Array) -> Array:
    near = x.clip(-_FAR, _FAR)
    return np.asarray(2 / math.sqrt(math.pi) * np.exp(-near * near))


def gelu(x: Array) -> Array:
    """y = x P(X <= x) for a standard normal X (Hendrycks and Gimpel 2016). Slow as `erf` is."""
    return x * _normal(x)


def gelu_derivative(x: Array) -> Array:
    near = x.clip(-_FAR, _FAR)
    return np.asarray(_normal(x) + near * np.exp(-near * near / 2) / math.sqrt(2 * math.pi))


def gelu_tanh(x: Array) -> Array:
    """y = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, the approximation of `gelu` in section 2 of its paper."""
    near = x.clip(-_FAR, _FAR)
    return np.asarray(x * (0.5 + 0.5 * np.tanh(_TANH_SCALE * (near + _TANH_CUBE * near**3))))


def gelu_tanh_derivative(x: Array) -> Array:
    near = x.clip(-_FAR, _FAR)
    t = np.tanh(_TANH_SCALE * (near + _TANH_CUBE * near**3))
    slope = _TANH_SCALE * (1 + 3 * _TANH_CUBE * near * near)
    return np.asarray(0.5 * (1 + t) + 0.5 * near * (1 - t * t) * slope)


def hard_swish(x: Array) -> Array:
    """y = x max(0, min(1, x / 6 + 1/2)) (Howard et al. 2019, section 5.2)."""
    return np.asarray(x * np.clip(x / 6 + 0.5, 0, 1))


def hard_swish_derivative(x: Array) -> Array:
    return np.where(x <= -3, 0, np.where(x >= 3, 1, x / 3 + x.dtype.type(0.5)))


def selu(x: Array) -> Array:
    """y = 1.0507 x where x >= 0, 1.0507 1.6733 (exp(x) - 1) elsewhere (Klambauer et al. 2017)."""
    return np.asarray(_SELU_SCALE * np.where(x >= 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0))))


def selu_derivative(x: Array) -> Array:
    return np.asarray(_SELU_SCALE * np.where(x >= 0, 1, _SELU_ALPHA * np.exp(np.minimum(x, 0))), x.dtype)


def sqrt(x: Array) -> Array:
    """y = sqrt(x)."""
    with np.errstate(invalid="ignore"):
        return np.sqrt(x)


def sqrt_derivative(x: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(0.5 / np.sqrt(x))


def swish(x: Array) -> Array:
    """y = x / (1 + exp(-x)), also called SiLU (Ramachandran et al. 2017)."""
    return np.asarray(x * sigmoid(x))


def swish_derivative(x: Array) -> Array:
    s = sigmoid(x)
    return np.asarray(s + x * s * (1 - s))


def _normal(x: Array) -> Array:
    """P(X <= x), without the loss of digits of 1 + erf(x)."""
    return np.asarray(0.5 * _each(math.erfc, -x * x.dtype.type(math.sqrt(0.5))), x.dtype)


def _each(function: Callable[[float], float], x: Array) -> Array:
    return np.asarray(np.frompyfunc(function, 1, 1)(x)).astype(x.dtype)


#: Name -> the function, and its derivative at x.
CURVES: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "erf": (erf, erf_derivative),
    "gelu": (gelu, gelu_derivative),
    "gelu_tanh": (gelu_tanh, gelu_tanh_derivative),
    "hard_swish": (hard_swish, hard_swish_derivative),
    "selu": (selu, selu_derivative),
    "sqrt": (sqrt, sqrt_derivative),
    "swish": (swish, swish_derivative),
}
