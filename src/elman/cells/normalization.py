"""Normalization of rows, with its derivative beneath (Ba, Kiros, Hinton 2016, equation 3).

LN(a) = (a - mean(a)) / sqrt(variance(a) + epsilon)        over the last axis
"""

from __future__ import annotations

import numpy as np

from elman.checks import Array


def normalize(a: Array, epsilon: float) -> tuple[Array, Array]:
    """Rows with mean 0 and variance 1, and what they were multiplied by, (..., 1)."""
    centered = a - a.mean(-1, keepdims=True)
    scale = 1 / np.sqrt((centered * centered).mean(-1, keepdims=True) + epsilon)
    return centered * scale, scale


def normalize_derivative(normal: Array, scale: Array, dnormal: Array) -> Array:
    """The gradient by a, from what `normalize` returned and the gradient of its rows."""
    return scale * (dnormal - dnormal.mean(-1, keepdims=True) - normal * (dnormal * normal).mean(-1, keepdims=True))
