"""Columns that are no features: ids and times that a network would learn from, and tables whose rows are steps.

In sequences, an id is a column that is constant inside every sequence and differs between them; a time is one that
counts up in equal steps inside every sequence. Where steps are the rows of one long table, an id stands in blocks of
equal whole numbers, and a time counts up in equal steps over the rows, or again and again from a lower number.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from elman.checks import Array

_EVIDENCE = 4  #: steps that must repeat a value, or go on as the two before: fewer do so by chance
_ID = "is constant in every sequence and differs between them, as an id"
_TIME = "counts up in equal steps in every sequence, as a time"


def warn_of_ids_and_times(parts: list[Array], names: Sequence[str], judged: Array | None = None) -> None:
    """Warns of columns of sequences (time_i, columns) that look like ids and times, among those that are `judged`.

    One column alone is data, whatever it looks like.
    """
    if parts[0].shape[1] == 1:
        return
    ids = np.ones(parts[0].shape[1], bool) if judged is None else judged.copy()
    times = ids.copy()
    for part in parts:
        maybe = np.flatnonzero(ids | times)
        if not len(maybe):
            return
        rows = part[:, maybe].astype(np.float64)
        ids[maybe] &= (rows == rows[0]).all(axis=0)
        times[maybe] &= _counts_up(rows, _rounding(part[:, maybe]))
    lengths = np.array([len(part) for part in parts])
    first = np.stack([part[0] for part in parts])
    ids &= (first != first[0]).any(axis=0) & ((lengths - 1).sum() >= _EVIDENCE)
    times &= np.maximum(lengths - 2, 0).sum() >= _EVIDENCE
    facts = [f"{name} {_ID}" for name, found in zip(names, ids, strict=True) if found]
    facts += [f"{name} {_TIME}" for name, found in zip(names, times, strict=True) if found]
    if facts:
        more = f"; and {len(facts) - 3} more" if len(facts) > 3 else ""
        warnings.warn(
            f"X: {'; '.join(facts[:3])}{more}. Training takes it as a feature; leave it out where it is none.",
            UserWarning,
            stacklevel=5,
        )


def steps_as_rows(values: Array) -> tuple[Array, Array]:
    """Which columns of a table (rows, columns) look like ids and like times of steps that stand in its rows."""
    if len(values) < _EVIDENCE:
        return np.zeros(values.shape[1], bool), np.zeros(values.shape[1], bool)
    rows = np.asarray(values, np.float64)
    changes = np.diff(rows, axis=0)
    blocks = 1 + (changes != 0).sum(axis=0)
    ids = (blocks >= 2) & (blocks <= len(rows) / 2) & (rows == np.floor(rows)).all(axis=0)
    ids[ids] &= [len(np.unique(rows[:, j])) == blocks[j] for j in np.flatnonzero(ids)]
    again = changes < 0
    like_first = np.abs(changes - changes[0]) <= _rounding(values)
    times = (changes[0] > 0) & (again | like_first).all(axis=0) & (again.sum(axis=0) <= len(rows) / 3)
    return ids, times


def _counts_up(rows: Array, rounding: float | Array) -> Array:
    """Which columns go up by one and the same step."""
    steps = np.diff(rows, axis=0)
    if not len(steps):
        return np.ones(rows.shape[1], bool)
    return (steps[0] > 0) & (np.abs(steps - steps[0]) <= rounding).all(axis=0)


def _rounding(values: Array) -> float | Array:
    """By how much steps may differ that were equal before they were rounded to these numbers."""
    if values.dtype.kind != "f":
        return 0.0
    return 4 * float(np.finfo(values.dtype).eps) * np.abs(values).max(axis=0)
