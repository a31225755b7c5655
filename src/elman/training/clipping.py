"""Gradients kept within bounds, against explosion over many steps. Inputs are never modified."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from elman import checks
from elman.checks import Array
from elman.training.optimizers import check_arrays


def global_norm(gradients: Mapping[str, Array]) -> float:
    """The Euclidean norm of all gradients (name -> array) together, computed in float64.

    >>> global_norm({"W": np.array([[3.0]]), "b": np.array([4.0])})
    5.0
    """
    arrays = list(gradients.values())
    with np.errstate(over="ignore"):
        wide = (g.astype(np.float64) for g in arrays)  # whole, which is faster than piece by piece within np.square
        norm = math.sqrt(sum(float(np.multiply(g, g, out=g).sum()) for g in wide))
    if norm != math.inf:
        return norm
    largest = max(float(np.abs(g).max(initial=0)) for g in arrays)
    if not math.isfinite(largest):
        return largest
    return largest * math.sqrt(sum(float(np.square(g / largest).sum()) for g in arrays))  # the squares did not fit


def clip_by_norm(gradients: Mapping[str, Array], limit: float) -> tuple[dict[str, Array], float]:
    """Scales all gradients together where their norm is over `limit`: g <- g limit / norm.

    Returns new arrays by name, and the norm before clipping. The direction stays as it is. Gradients whose norm is
    not finite come back as they are, for the caller to see. Raises `ValueError` where `limit` is not over 0.
    Source: Pascanu, Mikolov, Bengio 2013, algorithm 1.

    >>> clipped, norm = clip_by_norm({"W": np.array([3.0, 4.0])}, 1.0)
    >>> clipped["W"].round(4).tolist(), norm
    ([0.6, 0.8], 5.0)
    """
    limit = checks.number("limit", limit, 0, open_low=True)
    check_arrays("gradients", gradients)
    norm = global_norm(gradients)
    scale = limit / norm if limit < norm < math.inf else 1.0
    return {name: g * scale for name, g in gradients.items()}, norm


def clip_by_value(gradients: Mapping[str, Array], limit: float) -> dict[str, Array]:
    """Each number of each gradient moved into -limit to limit; new arrays by name.

    Unlike `clip_by_norm` it turns the direction. Raises `ValueError` where `limit` is not over 0. Source: Graves
    2013, "Generating Sequences With Recurrent Neural Networks", section 2.1.

    >>> clip_by_value({"W": np.array([3.0, -0.5])}, 1.0)["W"].tolist()
    [1.0, -0.5]
    """
    limit = checks.number("limit", limit, 0, open_low=True)
    check_arrays("gradients", gradients)
    return {name: np.clip(g, -limit, limit) for name, g in gradients.items()}
