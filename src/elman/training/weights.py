"""How much each target counts: masks, weights of samples and weights of classes, as one number per packed row.

The loss of a batch is the weighted mean, sum of w L / sum of w, so that weights all doubled change nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array
from elman.sequences import Layout, place
from elman.training.losses import Loss


def read_mask(mask: Any, layout: Layout) -> Array:
    """Booleans, one per target in the form of y, as packed rows (N,)."""
    return layout.pack("mask", mask, functools.partial(_read, checks.boolean_array))


def read_sample_weight(weight: Any, layout: Layout) -> Array:
    """Numbers from 0 up, one per example (B,) or one per target in the form of y, as packed rows (N,) in float64."""
    if layout.lengths is not None and layout.form != "single" and not (layout.form == "list" and _nested(weight)):
        array = checks.real_array("sample_weight", weight)
        checks.shape("sample_weight", array, *[layout.outer_shape] * (layout.form == "array"), (layout.count,))
        if array.ndim == 1:
            return np.repeat(_from_zero(array, layout.as_vectors()), layout.lengths)
    return _from_zero(layout.pack("sample_weight", weight, functools.partial(_read, checks.real_array)), layout)


def _from_zero(weights: Array, layout: Layout) -> Array:
    """Weights in float64; refuses one that is none, with its place."""
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(f"sample_weight must hold numbers from 0 up. Got {weights[row]} at {place((row,), layout)}.")
    return weights.astype(np.float64)


def read_class_weight(value: Any, labels: Array, counts: Array | None, loss: Loss, width: int) -> Array:
    """The weight of the class of each row (N,), in float64.

    `value` is a mapping class -> weight (1 for a class that is not named), or "balanced": a class with n of the N
    rows that count, of K classes, weighs N / (K n), as in King and Zeng 2001.
    """
    if not loss.integers or loss.whole_sequences:
        must = f"class_weight must be left out where targets are numbers or of whole sequences, as of {loss!r}"
        raise ValueError(f"{must}. Got {checks.show(value)}.")
    weights = np.ones(width)
    if isinstance(value, str):
        checks.choice("class_weight", value, ["balanced"])
        seen = np.bincount(labels if counts is None else labels[counts], minlength=width)
        weights = seen.sum() / (np.count_nonzero(seen) * np.maximum(seen, 1.0))
    elif isinstance(value, Mapping):
        for label, weight in value.items():
            if isinstance(label, bool) or not isinstance(label, (int, np.integer)) or not 0 <= label < width:
                raise ValueError(f"class_weight must name classes from 0 to {width - 1}. Got {checks.show(label)}.")
            weights[label] = checks.number(f"class_weight[{label}]", weight, 0)
    else:
        raise TypeError(f"class_weight must be 'balanced' or a mapping class -> weight. Got {checks.describe(value)}.")
    return np.asarray(weights[labels])


def _nested(value: Any) -> bool:
    """Whether a value is a list of arrays, one per sequence, rather than one number per sequence."""
    return isinstance(value, (list, tuple)) and any(np.ndim(part) > 0 for part in value)


def _read(read: Callable[[str, Any], Array], name: str, value: Any, shape: tuple[int, ...]) -> Array:
    array = read(name, value)
    checks.shape(name, array, shape)
    return array
