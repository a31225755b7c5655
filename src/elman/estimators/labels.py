"""Labels of any kind as indices into the sorted classes, as scikit-learn has them."""

from __future__ import annotations

from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array
from elman.estimators.extra import check_classification_targets, compute_class_weight


def encode(labels: Array, weight: Array | None = None) -> tuple[Array, Array]:
    """The sorted classes, and for each label (N,) its index among them.

    At least two classes there must be, among the labels whose `weight` (N,) is over 0.
    """
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        at = int((~np.isfinite(labels)).argmax())
        raise ValueError(f"y must hold labels, strings or numbers. Got {labels[at]} at index {at}.")
    kinds = sorted({_kind(label) for label in labels.tolist()}) if labels.dtype == object else []
    if len(kinds) > 1:
        raise TypeError(f"y must hold labels of one kind, all strings or all numbers. Got {' and '.join(kinds)}.")
    check_classification_targets(labels)
    classes, codes = np.unique(labels, return_inverse=True)
    present = np.unique(codes if weight is None else codes[weight > 0])
    if len(present) < 2:
        behind = "" if weight is None else " with a weight over 0"
        raise ValueError(f"y must hold at least 2 classes{behind}. Got 1 class, {classes[present[0]].item()!r}.")
    return classes, codes


def weigh(class_weight: Any, classes: Array, labels: Array) -> Array | None:
    """The weight (N,) of each label that `class_weight`, "balanced" or {class: weight}, asks for."""
    if class_weight is None:
        return None
    if isinstance(class_weight, str):
        checks.choice("class_weight", class_weight, ["balanced"])
    elif not isinstance(class_weight, dict):
        raise TypeError(
            f"class_weight must be 'balanced', a dict {{class: weight}} or None. Got {checks.show(class_weight)}."
        )
    weights = compute_class_weight(class_weight, classes=classes, y=labels).astype(np.float64)
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError(f"class_weight must hold finite weights from 0 up. Got {checks.show(class_weight)}.")
    return weights[np.searchsorted(classes, labels)]


def product(weight: Array | None, other: Array | None) -> Array | None:
    """Two weights of each label as one; None where neither is given."""
    if weight is None or other is None:
        return other if weight is None else weight
    return weight * other


def _kind(label: Any) -> str:
    """The kind of a label, in a word."""
    kinds = ((str, "strings"), ((int, float, np.number, np.bool_), "numbers"))
    return next((word for types, word in kinds if isinstance(label, types)), type(label).__name__)
