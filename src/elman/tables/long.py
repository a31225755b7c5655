"""Tables of series: one row per time step, and per series where there are many.

    frame ── roles ──► rows of each series, in the order of time ── clock ──► values on equal steps, NaN where none is

Columns known ahead in a table of their own, and the rows of the future, are put on the same steps.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from elman.checks import Array, DtypeError, ShapeError
from elman.tables.clock import Clock, Timeline
from elman.tables.columns import Columns
from elman.tables.frames import Frame, entries_of, first_entry
from elman.tables.panel import DataForm, Gaps, Panel
from elman.tables.places import Where, is_missing, show, words
from elman.tables.roles import Label, Roles, holds_names, lone_time
from elman.tables.stamps import Stamps, time_kind

BESIDE = ("exogenous", "past")  # the roles of columns beside the target


@dataclass(frozen=True)
class TableForm(DataForm):
    """A table; forecasts become one of the same kind, with the stamps that follow."""

    frame: Frame  # without rows
    said: dict[str, Any]  # the roles as the user gave them
    roles: Roles
    labels: tuple[tuple[Any, ...], ...]  # of the series, one entry per column of the id
    columns: dict[str, Columns]  # of the target, exogenous and past
    stamps: Stamps | None  # without values
    clock: Clock | None
    timelines: tuple[Timeline, ...]  # one per series, none where there is no time
    rows: tuple[Array, ...]  # of each series, in the order of time
    called: str
    unsorted: bool  # whether rows had to be put in the order of time
    joined: tuple[str, ...] = ()  # roles whose columns came as a table of their own
    extra: int = 0  # rows of such tables that stand on no step of the series

    @property
    def many(self) -> bool:  # type: ignore[override]  # read only
        return bool(self.roles.id)

    @property
    def single(self) -> bool:  # type: ignore[override]  # read only
        return len(self.roles.target) == 1

    def name(self, i: int) -> str:
        return f"series {self.label(i)}" if self.many else self.called

    def label(self, i: int) -> str:
        """The id of series i in words."""
        label = self.labels[i]
        return show(label[0] if len(label) == 1 else label)

    def place(self, role: str, step: int, column: int, i: int = 0) -> str:
        at = f"step {step}, column {self.columns[role].names[column]!r}"
        told = []
        rows, positions = self.rows[i], self.timelines[i].positions if self.timelines else np.arange(len(self.rows[i]))
        own = int(np.searchsorted(positions, step))
        row = int(rows[own]) if own < len(rows) and positions[own] == step else None
        told += ["no row"] if row is None else [f"row {row}"] if row != step else []
        if self.timelines:
            told.append(self.timelines[i].show(step))
        return at + (f" ({', '.join(told)})" if told else "")

    def where(self, role: str, i: int) -> Where:
        """The place of an entry of the columns of series i."""
        return lambda index: self.place(role, index[0], index[1], i)

    def variable(self, i: int, v: int) -> str:
        return f"column {self.columns['target'].names[v]!r} of {self.name(i)}"

    def ended(self) -> TableForm:
        timelines = tuple(replace(timeline, positions=timeline.positions[-1:]) for timeline in self.timelines)
        return replace(self, timelines=timelines, rows=tuple(rows[-1:] for rows in self.rows))

    def span(self, counts: Sequence[int]) -> tuple[Array, Array]:
        return _span(self.timelines, counts) if self.timelines else super().span(counts)

    def check_ahead(self, horizon: int) -> None:
        for timeline in self.timelines:
            timeline.following(horizon)

    def write(self, forecasts: Sequence[Array], levels: tuple[float, ...] = ()) -> Any:
        count = len(forecasts[0])
        chosen = [i for i, part in enumerate(forecasts) if not np.isnan(part).all()]  # else the series is too short
        chosen = chosen or list(range(len(forecasts)))
        columns: dict[Label, Any] = {}
        for k, label in enumerate(self.roles.id):
            columns[label] = [self.labels[i][k] for i in chosen for _ in range(count)]
        if self.roles.time is not None and self.stamps is not None:
            stamps = np.concatenate([self.timelines[i].following(count) for i in chosen])
            columns[self.roles.time] = self.stamps.native(stamps)
        values = np.concatenate([forecasts[i] for i in chosen])  # (S horizon, V), or with a last axis of levels
        for v, target in enumerate(self.roles.target):
            names = {_with_level(target, level): values[:, v, q] for q, level in enumerate(levels)}
            columns |= names or {target: values[:, v]}
        index = tuple(level for level in self.frame.levels if level in columns)
        return self.frame.write(columns, index, single=self.frame.single and not levels)


@dataclass(frozen=True)
class TablesForm(DataForm):
    """A list of tables, one per series; forecasts become a list of such."""

    forms: tuple[TableForm, ...]
    many = True

    @property
    def single(self) -> bool:  # type: ignore[override]  # read only
        return self.forms[0].single

    def name(self, i: int) -> str:
        return self.forms[i].name(0)

    def variable(self, i: int, v: int) -> str:
        return self.forms[i].variable(0, v)

    def place(self, role: str, step: int, column: int, i: int = 0) -> str:
        return self.forms[i].place(role, step, column)

    def ended(self) -> TablesForm:
        return replace(self, forms=tuple(form.ended() for form in self.forms))

    def span(self, counts: Sequence[int]) -> tuple[Array, Array]:
        timelines = [timeline for form in self.forms for timeline in form.timelines]
        return _span(timelines, counts) if timelines else super().span(counts)

    def check_ahead(self, horizon: int) -> None:
        for form in self.forms:
            form.check_ahead(horizon)

    def write(self, forecasts: Sequence[Array], levels: tuple[float, ...] = ()) -> Any:
        return [form.write([part], levels) for form, part in zip(self.forms, forecasts, strict=True)]


def tables_of(form: DataForm) -> tuple[TableForm, ...]:
    """The tables of a form; none where it is one of arrays."""
    return form.forms if isinstance(form, TablesForm) else (form,) if isinstance(form, TableForm) else ()


def _span(timelines: Sequence[Timeline], counts: Sequence[int]) -> tuple[Array, Array]:
    """Where series begin on the clock of all, and how many steps it has."""
    starts = np.array([timeline.start for timeline in timelines], np.int64)
    begins = starts - starts.min()
    return begins, np.full(len(counts), (begins + np.array(counts)).max())


def _with_level(label: Label, level: float) -> Label:
    """The name of a column of quantiles; of columns of two levels the last one tells."""
    if isinstance(label, tuple) and label:
        return (*label[:-1], f"{label[-1]}_{level:g}")
    return f"{label}_{level:g}"


def read_table(
    name: str, table: Any, said: dict[str, Any], freq: Any, gaps: Gaps, like: TableForm | None = None,
    others: Sequence[Frame] = (),
) -> Panel:  # fmt: skip
    """A panel from a table; of the form `like`, that of an earlier table, come its clock, columns and categories.

    The columns beside the target have the categories of `others`, too: the tables of a list that follow.
    """
    frame = opened(Frame.read(name, table), said["time"] if like is None else like.said["time"], like)
    roles, columns = _as_said(name, frame, said, others) if like is None else _as_before(name, frame, like)
    groups, labels = series_of(frame, roles)
    form = TableForm(
        frame=frame.empty(), said=said if like is None else like.said, roles=roles, labels=labels, columns=columns,
        stamps=None, clock=None, timelines=(), rows=tuple(groups), called=name, unsorted=False,
    )  # fmt: skip
    if roles.time is not None:
        form = _on_clock(name, frame, form, freq if like is None else like.clock, gaps.fill is not None)
    elif freq is not None:
        raise ValueError(f"freq must be left out where {name} has no time. Got {show(freq)}.")
    gaps = replace(gaps, late=gaps.late or form.many or len(roles.target) > 1)
    parts = {role: _on_steps(frame, form, role, gaps) for role in columns}
    return Panel(parts["target"], parts["exogenous"], parts["past"], form, gaps.fill)


def opened(frame: Frame, time: Hashable, like: TableForm | None) -> Frame:
    """A frame with the index that the user named as the time, and without one that goes on from that of `like`."""
    if not frame.rows:
        raise ShapeError(f"{frame.title} must have rows. Got none.")
    frame = frame.with_index(time)
    return frame if like is None or like.roles.time is not None or like.frame.levels else frame.part()


def _as_said(
    name: str, frame: Frame, said: dict[str, Any], others: Sequence[Frame]
) -> tuple[Roles, dict[str, Columns]]:
    """The roles that the user gives, and what the columns hold."""
    roles = Roles.read(name, frame, said)
    for label in roles.target:
        if not frame.is_plain(label) and holds_names(column := frame.column(label)) and time_kind(column) != "number":
            got = f"{first_entry(column, words('row'))} in {frame.called(label)}"
            hint = "" if frame.single or said["target"] is not None else "; target= names the columns to forecast"
            raise DtypeError(f"target must be numbers. Got {got}{hint}.")
    columns = {role: Columns.read([frame, *others], getattr(roles, role)) for role in BESIDE}
    return roles, {"target": Columns.read([frame], roles.target), **columns}


def _as_before(name: str, frame: Frame, like: TableForm) -> tuple[Roles, dict[str, Columns]]:
    """The roles and columns of an earlier table; an index, and a Series, may have another name."""
    free = frame.single and like.frame.single
    said = {**like.said, "target": None if free else list(like.roles.target)}
    if said["time"] is None and like.stamps is not None and like.stamps.kind != "number":
        said["time"] = lone_time(frame)
    roles = Roles.read(name, frame, said)
    roles.check_time(name, like.roles)
    columns = {role: Columns((), some=True) if role in like.joined else like.columns[role] for role in like.columns}
    if free:
        columns["target"] = columns["target"].renamed(roles.target)
    return roles, columns


def _on_clock(name: str, frame: Frame, form: TableForm, freq: Any, gaps: bool) -> TableForm:
    """The form with the time of its rows."""
    label = form.roles.time
    stamps = Stamps.read(name, label, frame.column(label), frame.stated(label))
    orders = [np.argsort(stamps.values[rows], kind="stable") for rows in form.rows]
    groups = [rows[order] for rows, order in zip(form.rows, orders, strict=True)]
    unsorted = any((np.diff(order) < 0).any() for order in orders)
    clock, timelines = Clock.read(stamps, groups, freq, gaps, form.name)
    return replace(
        form, stamps=stamps.empty(), clock=clock, timelines=tuple(timelines), rows=tuple(groups), unsorted=unsorted
    )


def series_of(frame: Frame, roles: Roles) -> tuple[list[Array], tuple[tuple[Any, ...], ...]]:
    """The rows of each series, and the labels of the series in the order in which they first come."""
    if not roles.id:
        return [np.arange(frame.rows)], ((),)
    parts = []
    for label in roles.id:
        entries = entries_of(frame.column(label))
        kinds: dict[type, int] = {}
        for row, entry in enumerate(entries):
            if is_missing(entry):
                must = f"{frame.called(label)} must name a series in every row"
                raise ValueError(f"{must}. Got {show(entry)} at row {row}.")
            kinds.setdefault(type(entry.item() if isinstance(entry, np.generic) else entry), row)
        if len(kinds) > 1:
            first, other = list(kinds.values())[:2]
            raise TypeError(
                f"{frame.called(label)} must name the series by entries of one kind. Got {show(entries[first])} at row "
                f"{first} and {show(entries[other])} at row {other}."
            )
        if not isinstance(entries[0], Hashable):
            must = f"{frame.called(label)} must name the series by text, numbers or dates"
            raise TypeError(f"{must}. Got {show(entries[0])} at row 0.")
        parts.append(entries)
    numbers: dict[tuple[Any, ...], int] = {}
    codes = np.array([numbers.setdefault(label, len(numbers)) for label in zip(*parts, strict=True)])
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.cumsum(np.bincount(codes))[:-1]), tuple(numbers)


def _on_steps(frame: Frame, form: TableForm, role: str, gaps: Gaps) -> list[Array]:
    """Columns of the table on the steps of each series, (time_i, width); NaN where there is no row."""
    numbers = form.columns[role].numbers(frame)
    parts = []
    for i, rows in enumerate(form.rows):
        part = numbers[rows]
        if form.timelines:
            positions = form.timelines[i].positions
            part = np.full((int(positions[-1]) + 1, numbers.shape[1]), np.nan)
            part[positions] = numbers[rows]
        parts.append(gaps.read(form.name(i), part, form.where(role, i)))
    return parts
