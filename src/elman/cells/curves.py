"""Activation functions whose derivative is taken from x, as y does not tell it: each is a layer, `elman.Activate`.

gelu and swish fall and rise again, so that one y stands for two x; erf, selu and sqrt act outside of cells alone.
Each function has its derivative beneath. All are finite for every finite input, but sqrt under 0, which is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from elman.checks import Array

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # Klambauer et al. 2017, equation 14
_TANH_SCALE, _TANH_CUBE = math.sqrt(2 / math.pi), 0.044715
_FAR = 30.0  # where the normal distribution is 0 or 1 in float64


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
    return x * _sigmoid(x)


def swish_derivative(x: Array) -> Array:
    s = _sigmoid(x)
    return np.asarray(s + x * s * (1 - s))


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))  # at most 1: nothing can overflow
    return np.asarray(np.where(x >= 0, 1, e) / (1 + e))


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
