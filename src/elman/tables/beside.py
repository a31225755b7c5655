"""Columns that came as a table of their own, on the steps of the series: joined on time, and on the id if it is there.

They are columns beside the series, or the rows of the future after their ends.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from elman.checks import Array, ShapeError
from elman.tables.columns import Columns
from elman.tables.frames import Frame, Level
from elman.tables.long import TableForm, opened, series_of
from elman.tables.panel import Gaps
from elman.tables.places import Where, few
from elman.tables.roles import Label, Roles, lone_time
from elman.tables.stamps import Stamps


def read_beside(
    form: TableForm, frame: Frame, columns: Columns | None, gaps: Gaps, ahead: int | None = None,
    others: Sequence[Frame] = (),
) -> tuple[list[Array], Columns, int]:  # fmt: skip
    """Columns of another table on the steps of each series, or on the `ahead` steps after their ends.

    The rows are joined by time, and by the id where the other table has it; else they are those of every series. Also
    returns what the columns hold, here or in `others`, and how many rows stand on none of these steps.
    """
    name, frame = frame.title, opened(frame, form.said["time"], None if columns is None else form)
    roles = _roles(form, frame, None if columns is None or frame.single else list(columns.labels))
    if columns is None:
        columns = Columns.read([frame, *([] if frame.single else others)], roles.target)
    if frame.single:
        if len(columns.columns) != 1:
            raise ShapeError(f"{name} must have the columns {few(columns.labels)}. Got one column.")
        columns = columns.renamed(roles.target)
    numbers = columns.numbers(frame)
    groups, labels = series_of(frame, roles)
    stamps = None
    if roles.time is not None and form.stamps is not None:
        stamps = Stamps.read(name, roles.time, frame.column(roles.time)).like(form.stamps, name)
    parts, extra, numbered = [], 0, {label: i for i, label in enumerate(labels)}
    for i, label in enumerate(form.labels):
        if roles.id and label not in numbered:
            raise ValueError(f"{name} must hold every series. Got no rows of {form.name(i)}.")
        rows = groups[numbered[label] if roles.id else 0]
        if stamps is None:
            part, more = _by_rows(form, name, i, numbers[rows], ahead)
        else:
            part, more = _by_time(form, name, i, numbers[rows], stamps[rows], ahead)
        parts.append(gaps.read(f"{name} of {form.name(i)}", part, _place(form, columns, i, ahead)))
        extra += more
    return parts, columns, extra


def _roles(form: TableForm, frame: Frame, target: list[Label] | None) -> Roles:
    """The roles of its columns: time and id are those of the series where it has columns of their names."""
    known = set(frame.known)
    named = (label for label in (form.said["time"], form.roles.time) if not isinstance(label, Level))
    time = next((label for label in named if label in known), None)
    if time is None and form.roles.time is not None:
        time = lone_time(frame)
    ids = [label for label in form.roles.id if label in known] or None
    said = {"target": target, "time": time, "id": ids, "exogenous": None, "past": None}
    roles = Roles.read(frame.title, frame, said, beside=True)
    roles.check_time(frame.title, form.roles)
    if roles.id and len(roles.id) != len(form.roles.id):
        must = f"{frame.title} must have the id of the series, {few(form.roles.id)}"
        raise ValueError(f"{must}. Got {few(roles.id)}.")
    return roles


def _by_rows(form: TableForm, name: str, i: int, numbers: Array, ahead: int | None) -> tuple[Array, int]:
    count = ahead if ahead is not None else len(form.rows[i])
    if len(numbers) < count or (ahead is None and len(numbers) > count):
        raise ShapeError(f"{name} must hold {count} steps of {form.name(i)}. Got {len(numbers)}.")
    return numbers[:count], len(numbers) - count


def _by_time(form: TableForm, name: str, i: int, numbers: Array, stamps: Array, ahead: int | None) -> tuple[Array, int]:
    timeline = form.timelines[i]
    last = int(timeline.positions[-1])
    first, count = (0, last + 1) if ahead is None else (last + 1, ahead)
    positions, on = timeline.locate(stamps)
    at = positions - first
    inside = (at >= 0) & (at < count)
    wrong = inside & ~on
    if wrong.any():
        raise ValueError(
            f"{name} must have the stamps of {form.name(i)}, in steps of {timeline.clock.describe()}. Got "
            f"{timeline.clock.show(stamps[wrong.argmax()])}."
        )
    at, rows = at[inside], np.flatnonzero(inside)
    where, counts = np.unique(at, return_counts=True)
    if (counts > 1).any():
        must = f"{name} must have one row per step of {form.name(i)}"
        raise ValueError(f"{must}. Got {timeline.show(where[counts.argmax()] + first)} twice.")
    if not len(where) and ahead is None:
        start, end = (timeline.clock.show(stamp) for stamp in (timeline.first, timeline.last))
        raise ShapeError(f"{name} must have rows from {start} to {end}, as {form.name(i)}. Got none there.")
    if len(where) < count and ahead is not None:
        missing = np.setdiff1d(np.arange(count), where)[0]
        must = f"{name} must go on where {form.name(i)} ends, at {timeline.show(first)}, and hold {count} steps"
        raise ShapeError(f"{must}. Got {len(where)} of them, and none at {timeline.show(first + missing)}.")
    part = np.full((count, numbers.shape[1]), np.nan)
    part[at] = numbers[rows]
    return part, len(stamps) - len(rows)


def _place(form: TableForm, columns: Columns, i: int, ahead: int | None) -> Where:
    """The place of an entry beside series i, or `ahead` of it, in words."""

    def where(index: tuple[int, ...]) -> str:
        at = f"step {index[0]}, column {columns.names[index[1]]!r}"
        if not form.timelines:
            return at
        timeline = form.timelines[i]
        return f"{at} ({timeline.show(index[0] + (0 if ahead is None else int(timeline.positions[-1]) + 1))})"

    return where
