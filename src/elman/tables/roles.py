"""Which column of a table is what: target, time, id, and the columns beside the target.

Levels of an index of pandas count as columns. What nobody names is found where the table is plain about it: a level of
dates is the time, the levels beside it are the id; every column that is left is forecast. Columns of dates or of names
of series that would be lost are refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import narwhals as nw

from elman.checks import ShapeError
from elman.tables.frames import Frame, is_category
from elman.tables.places import few, show
from elman.tables.stamps import is_dated, time_kind

Label: TypeAlias = Hashable


@dataclass(frozen=True)
class Roles:
    """Labels of columns, or of levels of the index."""

    target: tuple[Label, ...] = ()  #: none: all columns that have no other role
    time: Label | None = None
    id: tuple[Label, ...] = ()
    exogenous: tuple[Label, ...] = ()
    past: tuple[Label, ...] = ()
    unread: tuple[Label, ...] = ()  #: columns without a role

    @classmethod
    def read(cls, name: str, frame: Frame, given: dict[str, Any], beside: bool = False) -> Roles:
        """The roles that the user gives, and those that the table is plain about, all checked.

        `given` holds what the user said of target, time, id, exogenous and past: a label, a list of labels, or None. A
        table that stands `beside` the series may hold names that are no id.
        """
        said: dict[str, Any] = {role: _labels(name, frame, role, value) for role, value in given.items()}
        if len(said["time"]) > 1:
            raise ValueError(f"time must be one column. Got {few(said['time'])}.")
        roles = _with_levels(name, frame, cls(**{**said, "time": next(iter(said["time"]), None)}))
        taken = [*roles.exogenous, *roles.past, *roles.id, *(() if roles.time is None else (roles.time,))]
        left = tuple(label for label in frame.labels if label not in {*taken, *roles.target})
        _check_left(name, frame, roles, left, beside)
        if not roles.target:
            roles, left = replace(roles, target=left), ()
        if both := [label for label, count in Counter([*taken, *roles.target]).items() if count > 1]:
            raise ValueError(f"each column must have one role. Got two for {few(both)}.")
        if not roles.target:
            raise ShapeError(f"target must be a column of {name}. Got none among {few(frame.labels)}.")
        return replace(roles, unread=left)

    def check_time(self, name: str, before: Roles) -> None:
        """Refuses a time where the series before have none, and none where they have one."""
        if (self.time is None) != (before.time is None):
            must = "no time, as the series have none" if before.time is None else "a time, as the series have"
            raise ValueError(f"{name} must have {must}. Got {'none' if self.time is None else show(self.time)}.")


def _labels(name: str, frame: Frame, role: str, given: Any) -> tuple[Label, ...]:
    """One column, several, or none; every one must exist."""
    if given is None:
        return ()
    known = set(frame.known)
    many = isinstance(given, list) or (isinstance(given, tuple) and given not in known)
    labels = tuple(given) if many else (given,)
    if (
        isinstance(given, (bytes, dict, set, float, bool))
        or not labels
        or not all(_is_label(label) for label in labels)
    ):
        table = ", or a table" if role in ("exogenous", "past") else ""
        raise TypeError(f"{role} must be the name of a column of {name}, or a list of names{table}. Got {show(given)}.")
    for label in labels:
        if label not in known:
            raise ShapeError(f"{name} must have the column {show(label)}. Got {few(frame.known)}.")
    return labels


def _is_label(label: Any) -> bool:
    try:
        hash(label)
    except TypeError:
        return False
    return not hasattr(label, "shape") or getattr(label, "shape", None) == ()


def lone_time(frame: Frame) -> Label | None:
    """The one column or level that holds dates, periods or durations: in a table that must have a time it is that."""
    dated = [label for label in frame.known if not frame.is_plain(label) and is_dated(frame.column(label))]
    return dated[0] if len(dated) == 1 else None


def _with_levels(name: str, frame: Frame, roles: Roles) -> Roles:
    """The roles with those of the levels of the index that nobody named."""
    said = {roles.time, *roles.id, *roles.exogenous, *roles.past, *roles.target}
    free = [level for level in frame.levels if level not in said]
    if not free:
        return roles
    kinds, several = {level: time_kind(frame.column(level)) for level in free}, len(frame.levels) > 1
    if roles.time is None:
        times = [level for level in free if kinds[level] not in (None, "number")]
        numbers = [level for level in free if kinds[level] == "number"]
        if not times and several and len(numbers) == 1:
            times = numbers  # steps that are numbered within each series
        if len(times) > 1:
            raise ValueError(f"time must name the level of the index that is the time. Got {few(times)}.")
        roles = replace(roles, time=next(iter(times), None))
        free = [level for level in free if level not in times]
    names = [level for level in free if kinds[level] != "number" or roles.time is None]
    wrong = [level for level in names if kinds[level] not in (None, "number")]
    if wrong or (names and (roles.id or not several or roles.time is None)):
        raise ValueError(_refused_index(name, frame, roles, (wrong or names)[0]))
    # Else they name the series or number them; in one level, and beside an id, they number rows that were chosen.
    return replace(roles, id=tuple(names or free)) if several and not roles.id else roles


def _refused_index(name: str, frame: Frame, roles: Roles, level: Label) -> str:
    got = f"{', '.join(map(str, frame.column(level).head(3).to_list()))}, ..."
    if roles.time is not None and time_kind(frame.column(level)):
        must = f"{name} must have one time. Got {show(roles.time)}, and in the index"
        return f"{must} {got} reset_index(drop=True) drops that."
    return (
        f"the index of {name} must hold dates, times, periods, durations or text in ISO 8601, or be 0 to n - 1; or "
        f"time= and id= name its levels. Got {got} reset_index() makes it a column, reset_index(drop=True) drops it."
    )


def _check_left(name: str, frame: Frame, roles: Roles, left: tuple[Label, ...], beside: bool) -> None:
    """Refuses columns without a role that say when a row was, or which series it belongs to."""
    for label in left if roles.time is None or not roles.id else ():
        if frame.is_plain(label):
            continue
        column = frame.column(label)
        if roles.time is None and is_dated(column):
            must = f"time must be given where {name} has a column of dates"
            raise ValueError(f"{must}. Got none, and column {show(label)}.")
        if roles.id or beside or time_kind(column) is not None or not holds_names(column):
            continue
        if 1 < column.n_unique() <= len(column) / 2:
            raise ValueError(
                f"id must be given where a column may name the series: id={show(label)}, or leave the column out. Got "
                f"none, and {show(label)} with {column.n_unique()} different entries in {len(column)} rows."
            )


def holds_names(column: Any) -> bool:
    """Whether a column holds text, or categories of text."""
    text = column.dtype in (nw.String, nw.Object) or is_category(column)
    first = column.drop_nulls().head(1).to_list() if text else []
    return bool(first) and isinstance(first[0], str)
