"""Labels of any kind as indices into the sorted classes, as scikit-learn has them."""

from __future__ import annotations

from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array, ShapeError
from elman.estimators.extra import check_classification_targets, column_or_1d, compute_class_weight
from elman.tables.frames import to_numpy
from elman.tables.places import Where, entries, is_collection, is_missing, is_number, show


def read(y: Any, count: int) -> Array:
    """One label per sequence, (count,)."""
    y = to_numpy(y)
    if not is_collection(y):
        raise ShapeError(f"y must hold a label for each of {count} sequences. Got {show(y)}.")
    labels = entries("y", y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = column_or_1d(labels, warn=True)
    if labels.ndim != 1:
        raise ShapeError(
            f"y must have shape ({count},), one label per sequence. Got {labels.shape}.{one_hot('y', labels)}"
        )
    check_count(labels, count)
    return labels


def one_hot(name: str, labels: Array) -> str:
    """What to do of rows that hold one 1 each."""
    is_so = labels.ndim == 2 and labels.dtype.kind in "biuf" and (labels.sum(1) == 1).all()
    return f" Of one-hot rows pass {name}.argmax(axis=1)." if is_so else ""


def check_count(y: Any, count: int) -> None:
    """Refuses a y that has not one entry per sequence."""
    if len(y) != count:
        raise ShapeError(f"y must hold {count} entries, one per sequence of X. Got {len(y)}.")


_KINDS = {**dict.fromkeys("biuf", "numbers"), "U": "strings", "S": "bytes", "M": "dates", "m": "durations"}


def check(labels: Array, where: Where, like: Array | None = None) -> Array:
    """Labels (N,), none of which is missing, or of another kind than the first, or than the classes of fit."""
    missing, kinds = _facts(labels)
    if missing.any():
        index = checks.first(missing)
        each = "step" if "step" in where(index) else "sequence"
        raise ValueError(f"y must have a label for every {each}. Got {show(labels[index])} at {where(index)}.")
    if kinds[0] not in ("strings", "numbers"):
        raise TypeError(f"y must hold labels, strings or numbers. Got {show(labels[0])} at {where((0,))}.")
    if (wrong := kinds != kinds[0]).any():
        index = checks.first(wrong)
        raise TypeError(
            f"y must hold labels of one kind, all strings or all numbers. Got {show(labels[0])} at {where((0,))} and "
            f"{show(labels[index])} at {where(index)}."
        )
    if labels.dtype == object and kinds[0] == "numbers":
        labels = np.asarray(labels.tolist())
        if labels.dtype == object:  # whole numbers of more than 64 bits
            index = checks.first(np.abs(labels) >= 2**63)
            raise ValueError(
                f"y must hold classes, numbers of 64 bits at most. Got {show(labels[index])} at {where(index)}."
            )
    if labels.dtype.kind == "f":
        _check_whole(labels, where)
    if like is not None and kinds[0] != (want := _facts(like)[1][0]):
        raise TypeError(f"y must hold {want}, as in fit. Got {show(labels[0])} at {where((0,))}.")
    return labels


def _check_whole(labels: Array, where: Where) -> None:
    """Floats name classes where they are whole numbers."""
    if not np.isfinite(labels).all():
        index = checks.first(~np.isfinite(labels))
        raise ValueError(f"y must hold labels, strings or numbers. Got {labels[index]} at {where(index)}.")
    wrong = (labels != np.floor(labels)) | (np.abs(labels) > 2.0**53)
    if wrong.any():
        index = checks.first(wrong)
        raise ValueError(
            f"y must hold classes, not continuous numbers, which SequenceRegressor learns. Got {labels[index]} at "
            f"{where(index)}."
        )


def _facts(labels: Array) -> tuple[Array, Array]:
    """Which labels are missing, and the kind of each, in a word."""
    if labels.dtype == object:
        return np.array([is_missing(label) for label in labels]), np.array([_kind(label) for label in labels], object)
    kind = labels.dtype.kind
    missing = np.isnan(labels) if kind == "f" else np.isnat(labels) if kind in "Mm" else np.zeros(len(labels), bool)
    return missing, np.full(len(labels), _KINDS.get(kind, str(labels.dtype)))


def _kind(label: Any) -> str:
    return "strings" if isinstance(label, str) else "numbers" if is_number(label) else type(label).__name__


def encode(labels: Array, where: Where, weight: Array | None = None) -> tuple[Array, Array]:
    """The sorted classes, and for each label (N,) its index among them.

    At least two classes there must be, among the labels whose `weight` (N,) is over 0.
    """
    labels = check(labels, where)
    check_classification_targets(labels)
    classes, codes = np.unique(labels, return_inverse=True)
    present = np.unique(codes if weight is None else codes[weight > 0])
    if len(present) < 2:
        after = "" if weight is None else " with a weight over 0"
        raise ValueError(f"y must hold at least 2 classes{after}. Got 1 class, {classes[present[0]].item()!r}.")
    return classes, codes


def weigh(class_weight: Any, classes: Array, labels: Array) -> Array | None:
    """The weight (N,) of each label that `class_weight`, "balanced" or {class: weight}, asks for."""
    if class_weight is None:
        return None
    if isinstance(class_weight, str):
        checks.choice("class_weight", class_weight, ["balanced"])
    elif not isinstance(class_weight, dict):
        raise TypeError(f"class_weight must be 'balanced', a dict {{class: weight}} or None. Got {show(class_weight)}.")
    else:
        known = set(classes.tolist())
        for label, value in class_weight.items():
            if label not in known and not known <= set(class_weight):  # a fold of the data may lack a class
                raise ValueError(f"class_weight must name classes of y. Got {show(label)}, which y does not hold.")
            if not is_number(value) or not 0 <= value < np.inf:
                raise ValueError(
                    f"class_weight must hold finite weights from 0 up. Got {show(value)} for {show(label)}."
                )
    weights = compute_class_weight(class_weight, classes=classes, y=labels).astype(np.float64)
    return weights[np.searchsorted(classes, labels)]


def product(weight: Array | None, other: Array | None) -> Array | None:
    """Two weights of each label as one; None where neither is given."""
    if weight is None or other is None:
        return other if weight is None else weight
    return weight * other
