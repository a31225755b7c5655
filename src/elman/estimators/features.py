"""Columns that are no features: ids and times that a network would learn from, and tables whose rows are steps.

In sequences, an id is a column that is constant inside every sequence and differs between them, in three values or
more, or in two of two sequences; a time is one that holds numbers of equal distance inside every sequence. Where steps
are the rows of one long table, an id stands in blocks of equal whole numbers, and a time counts up in equal steps over
the rows, or again and again from a lower one.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from string import ascii_lowercase
from typing import Any

import numpy as np

from elman.checks import Array, ShapeError
from elman.tables.columns import Columns
from elman.tables.frames import Frame, is_table
from elman.tables.long import tables_of
from elman.tables.panel import Panel
from elman.tables.places import few, has, show
from elman.tables.stamps import Stamps, time_kind

_EVIDENCE = 4  #: steps that must repeat a value, or go on as the two before: fewer do so by chance


def warn_of_ids_and_times(parts: list[Array], names: Sequence[str]) -> None:
    """Warns of columns of sequences (time_i, columns) that look like ids and times."""
    if facts := _ids_and_times(parts, names, "sequence"):
        _warn(f"X: {few(facts, 3, str, '; ')}. Training takes it as a feature; leave it out where it is none.")


def warn_of_variables(panel: Panel) -> None:
    """Warns of variables that look like ids and times, in tables of which nobody said what is forecast."""
    form = next(iter(tables_of(panel.form)), None)
    if form is None or form.said["target"] is not None or (form.timelines and form is panel.form):
        return
    names = [form.frame.called(label) for label in form.roles.target]
    facts = _ids_and_times(panel.values, names, "series", times=not form.timelines)
    if form is panel.form and not form.roles.id:
        ids, _ = steps_as_rows(panel.values[0])
        facts += [f"{names[j]} stands in blocks, as an id" for j in map(int, np.flatnonzero(ids))]
    if 0 < len(facts) < len(names):
        told = few(facts, 3, str, "; ")
        _warn(f"series: {told}. It is forecast like the others; id=, time= or target= says what it is.", 4)


def _ids_and_times(parts: list[Array], names: Sequence[str], word: str, times: bool = True) -> list[str]:
    """The columns of sequences (time_i, columns) that look like ids, and those that look like times, in words.

    Columns of one name stand for the categories of one column. One column alone is data, whatever it looks like. So is
    a fact that is true or false of each of more than two sequences.
    """
    if len(set(names)) == 1:
        return []
    constant, even, ordered = np.ones((3, len(names)), bool)
    for part in parts:
        maybe = np.flatnonzero(constant | even)
        if not len(maybe):
            return []
        rows = part[:, maybe].astype(np.float64)
        constant[maybe] &= (rows == rows[0]).all(axis=0)
        even[maybe] &= _counts(rows)
        ordered[maybe] &= (np.diff(rows, axis=0) > 0).all(axis=0)
    lengths = np.array([len(part) for part in parts])
    first = np.stack([part[0] for part in parts])
    places: dict[str, list[int]] = {}
    for j, name in enumerate(names):
        places.setdefault(name, []).append(j)
    ids, least = [], min(3, max(2, len(parts)))
    if (lengths - 1).sum() >= _EVIDENCE:
        same = [name for name, own in places.items() if constant[own].all()]
        ids = [name for name in same if len(np.unique(first[:, places[name]], axis=0)) >= least]
    even &= times and np.maximum(lengths - 2, 0).sum() >= _EVIDENCE
    facts = [f"{name} is constant in every {word} and differs between them, as an id" for name in ids]
    facts += [
        f"{names[j]} counts up in equal steps in every {word}, as a time{'' if ordered[j] else ', but out of order'}"
        for j in map(int, np.flatnonzero(even))
    ]
    return facts


def ask_about_rows(frame: Frame | None, columns: Columns | None, values: Array) -> None:
    """Refuses a table (rows, columns) in which something tells that its rows are steps, not sequences.

    In an array, which has no names, it takes an id and a time, and it is a warning.
    """
    ids, times = steps_as_rows(values)
    if (ids | times).all():  # then there are no features
        ids, times = np.zeros_like(ids), np.zeros_like(times)
    if frame is None or columns is None:
        if ids.any() and times.any():
            _warn(
                f"X: column {int(ids.argmax())} looks like an id, column {int(times.argmax())} like a time, of steps "
                "that stand in rows. Each row is taken as a sequence; of steps pass a list of sequences, y for each.",
                depth=7,
            )
        return
    doubts = [f"{frame.called(level)} holds {_TOLD[kind]}" for level, kind in _times(frame).items()]
    if len(frame.levels) > 1:
        doubts.append("the index has several levels")
    if len(frame.levels) == 1 and isinstance(frame.levels[0], str) and not frame.native.index.is_unique:
        doubts.append(f"{frame.called(frame.levels[0])} holds ids that come again")
    kinds = {column.label: column.kind for column in columns.columns}
    doubts += [f"{frame.called(label)} holds categories" for label, kind in kinds.items() if kind == "category"]
    if not doubts:
        doubts += [f"{frame.called(columns.labels[int(j)])} looks like an id" for j in np.flatnonzero(ids)]
        doubts += [f"{frame.called(columns.labels[int(j)])} looks like a time" for j in np.flatnonzero(times)]
    words = [label for label in columns.labels if isinstance(label, str) and not any(map(str.isdigit, label))]
    if not doubts and words and "".join(words).lower() != ascii_lowercase[: len(columns.labels)]:
        doubts.append(f"{frame.called(words[0])} is not named like a step, by a number or a date")
    if doubts:
        raise ShapeError(
            f"X must be a table whose rows are sequences of one feature and whose columns are their steps. Got a table "
            f"in which {' and '.join(doubts[:3])}. {QUESTION}"
        )


#: Of a table whose rows may be sequences or steps.
QUESTION = (
    "What is a row? A sequence: pass X.to_numpy(). A step: pass a list of sequences, as "
    '[g.drop(columns="id") for _, g in X.groupby("id")], and y for each of them.'
)
_TOLD = {"instant": "times", "date": "dates", "period": "periods", "duration": "durations", "text": "dates"}


def _times(frame: Frame) -> dict[Hashable, str]:
    """The levels of the index of a frame that hold time, and of what kind; whole numbers may be anything."""
    found = {}
    for level in frame.levels:
        column = frame.column(level)
        kind = time_kind(column)
        if kind in _TOLD and (kind != "text" or "-" in str(column.head(1).to_list()[0])):  # else names of rows
            found[level] = str(kind)
    return found


def check_order(frame: Frame) -> None:
    """Refuses a sequence whose index tells that its steps do not stand in the order of time."""
    for level in _times(frame):
        column = frame.column(level)
        values = Stamps.read(frame.title, level, column).values
        if (back := values[1:] < values[:-1]).any():
            row = int(back.argmax()) + 1
            raise ValueError(
                f"{frame.title} must stand in the order of time. Got {show(column[row])} at step {row} of "
                f"{frame.called(level)}, after {show(column[row - 1])}; sort_index() sorts it."
            )


def check_rows(name: str, value: Any, indexes: Any) -> None:
    """Refuses a column or table of pandas whose index tells another order of rows than that of X.

    `indexes` is the index of X, or a list of those of its sequences for a list of columns.
    """
    if isinstance(indexes, list):
        for i, (part, index) in enumerate(zip(value, indexes, strict=False) if isinstance(value, list) else ()):
            check_rows(f"{name}[{i}]", part, index)
        return
    other = value.index if indexes is not None and is_table(value) and has(value, "iloc") else None
    if other is None or indexes.equals(other) or len(indexes) != len(other):
        return
    row = next((i for i, (here, there) in enumerate(zip(indexes, other, strict=True)) if here != there), None)
    if row is None:
        return
    if all(has(index, "to_period", "to_timestamp") for index in (indexes, other)) or set(indexes) == set(other):
        raise ValueError(
            f"{name} must have the index of X where it has one. Got {show(other[row])} for {show(indexes[row])} at row "
            f"{row}; {name}.to_numpy() takes its rows as they stand."
        )


def steps_as_rows(values: Array) -> tuple[Array, Array]:
    """Which columns of a table (rows, columns) look like ids and like times of steps that stand in its rows."""
    if len(values) < _EVIDENCE:
        return np.zeros(values.shape[1], bool), np.zeros(values.shape[1], bool)
    rows = np.asarray(values, np.float64)
    changes = np.diff(rows, axis=0)
    blocks = 1 + (changes != 0).sum(axis=0)
    ids = (blocks >= 2) & (blocks <= len(rows) / 2) & (rows == np.floor(rows)).all(axis=0)
    for j in np.flatnonzero(ids):  # each value in one block
        ids[j] = len(np.unique(rows[:, j])) == blocks[j]
    again = changes < 0
    like_first = np.abs(changes - changes[0]) <= _rounding(rows, changes[0])
    times = (changes[0] > 0) & (again | like_first).all(axis=0) & (again.sum(axis=0) <= len(rows) / 3)
    ids &= (blocks > 2) | times.any()  # two blocks alone may be any fact of sorted rows
    return ids, times


def _counts(rows: Array) -> Array:
    """Which columns hold numbers of equal distance, in any order but that from the highest down."""
    if len(rows) == 1:
        return np.ones(rows.shape[1], bool)
    steps = np.diff(np.sort(rows, axis=0), axis=0)
    down = (np.diff(rows, axis=0) < 0).all(axis=0)
    return ~down & (steps[0] > 0) & (np.abs(steps - steps[0]) <= _rounding(rows, steps[0])).all(axis=0)


def _rounding(rows: Array, step: Array) -> Array:
    """By how much steps may differ that were equal before they were rounded, to float32 where it holds the numbers."""
    with np.errstate(over="ignore"):
        single = (rows == rows.astype(np.float32)).all(axis=0)
    eps = np.where(single, np.finfo(np.float32).eps, np.finfo(np.float64).eps)
    return np.asarray(np.minimum(4 * eps * np.abs(rows).max(axis=0), step / 100))


def _warn(words: str, depth: int = 6) -> None:
    """A warning where the user called `fit`, so many calls up."""
    warnings.warn(words, UserWarning, stacklevel=depth)
