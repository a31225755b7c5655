"""Mean and deviation of features, for numbers of any size.

    m = sum w x / sum w        s = sqrt(sum w (x - m)^2 / sum w)        over the rows x with weights w

Both are taken of (x - lowest) / 2^e, where 2^e is just over the range of x, so that no square overflows or vanishes and
few digits are lost. A feature is constant where its values are equal, or differ by the rounding of such numbers alone.
"""

from __future__ import annotations

import numpy as np

from elman.checks import Array
from elman.estimators.extra import StandardScaler

_ROUNDING = 4 * np.finfo(np.float64).eps  # a difference of so much, in units of the largest value, says nothing


def moments(rows: Array, weight: Array | None = None, size: Array | None = None) -> tuple[Array, Array, Array]:
    """Mean, scale and whether it is constant, (features,) each, of rows (N, features).

    The scale is the deviation; of a constant feature it is 1, or the rounding of its values where that is more.
    `weight` (N,) counts each row. `size` (features,) is that of numbers of which the rows are differences.
    """
    rows = np.asarray(rows, np.float64)
    if weight is not None:
        rows, weight = rows[weight > 0], weight[weight > 0] / weight.max()
    low, high = rows.min(axis=0), rows.max(axis=0)
    exponent = np.frexp(high - low)[1]
    unit = np.ldexp(rows - low, -exponent)  # from 0 to 1
    mean = _mean(unit, weight)
    deviation = np.ldexp(np.sqrt(_mean(np.square(unit - mean), weight)), exponent)
    noise = _ROUNDING * (np.maximum(np.abs(low), np.abs(high)) if size is None else size)
    noise = np.where(low == high, 0, noise)
    constant = (high - low <= noise) | (deviation == 0)
    return low + np.ldexp(mean, exponent), np.where(constant, np.maximum(1, noise), deviation), constant


def _mean(rows: Array, weight: Array | None) -> Array:
    return rows.mean(axis=0) if weight is None else np.average(rows, axis=0, weights=weight)


def standard_scaler(rows: Array, weight: Array | None = None, *, own: bool = False) -> StandardScaler:
    """scikit-learn's scaler with the `moments` of these rows; with `own` the scale of a constant is its own size."""
    scaler = StandardScaler()
    scaler.mean_, scaler.scale_, constant = moments(rows, weight)
    scaler.scale_ = np.where(own & constant & (scaler.mean_ != 0), np.abs(scaler.mean_), scaler.scale_)
    scaler.var_ = np.where(constant, 0.0, np.square(scaler.scale_))
    scaler.n_features_in_, scaler.n_samples_seen_ = rows.shape[1], len(rows)
    return scaler
