"""The cross-entropy of probabilities, and its derivative beneath; the loss of logits is in `losses.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array


def cross_entropy(y: Any, y_pred: Any, axis: int = -1) -> Any:
    """L = -sum_k y_k log(y_pred_k), from probabilities.

    `y` and `y_pred` are arrays of one shape; `y` is one-hot, or holds probabilities. The result lacks `axis`. The
    logarithm of 0 is taken as that of the smallest normal number of the dtype, so L is finite: at most 708.4 in
    float64 and 87.3 in float32 for a one-hot y. float64, unless both are float32. To train from integer labels
    and logits, `CrossEntropy` is exact where this saturates.

    Raises `ShapeError` where the shapes differ, `ValueError` where a number is no probability, or those along `axis`
    do not sum to 1 to within 0.001. Source: Goodfellow, Bengio, Courville 2016, section 3.13.

    >>> cross_entropy([[1, 0], [0, 1]], [[0.5, 0.5], [1.0, 0.0]]).round(4).tolist()
    [0.6931, 708.3964]
    """
    y, y_pred = _probabilities(y, y_pred)
    axis = checks.axis("axis", axis, y_pred)
    for name, array in (("y", y), ("y_pred", y_pred)):
        total = array.sum(axis=axis, dtype=np.float64)
        wrong = np.abs(total - 1) > _ROUNDING
        if wrong.any():
            raise ValueError(
                f"{name} must sum to 1 along axis {axis}. Got a sum of {total[wrong][0]:.6g}.{_OTHER_LOSS}"
            )
    return -(y * np.log(np.maximum(y_pred, np.finfo(y_pred.dtype).tiny))).sum(axis=axis)


def cross_entropy_derivative(y: Any, y_pred: Any) -> Any:
    """dL/dy_pred = -y / y_pred, in the shape of y_pred.

    Under the smallest normal number it is the slope at that number: finite, and not lost.

    >>> cross_entropy_derivative([1, 0], [0.5, 0.5]).tolist()
    [-2.0, 0.0]
    """
    y, y_pred = _probabilities(y, y_pred)
    return 0 - y / np.maximum(y_pred, np.finfo(y_pred.dtype).tiny)  # "0 -" rather than a sign: no negative zeros


_ROUNDING = 1e-3  #: how far a sum of probabilities may be from 1
_OTHER_LOSS = " The loss of logits and whole labels is elman.CrossEntropy()."


def _probabilities(y: Any, y_pred: Any) -> tuple[Array, Array]:
    y_pred = checks.real_array("y_pred", y_pred)
    if y_pred.ndim == 0:
        raise checks.ShapeError("y_pred must have shape (..., classes). Got ().")
    y = checks.real_array("y", y)
    if y.shape != y_pred.shape:
        raise checks.ShapeError(f"y must have shape {y_pred.shape}. Got {y.shape}.{_OTHER_LOSS}")
    for name, array in (("y", y), ("y_pred", y_pred)):
        wrong = ~((array >= -1e-6) & (array <= 1 + _ROUNDING))
        if wrong.any():
            where = checks.place(name, checks.first(wrong))
            raise ValueError(
                f"{name} must hold probabilities, from 0 to 1. Got {array[wrong][0]} at {where}.{_OTHER_LOSS}"
            )
    dtype = checks.common_dtype(y, y_pred)
    return y.astype(dtype, copy=False), y_pred.astype(dtype, copy=False)
