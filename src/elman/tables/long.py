"""Tables of pandas, Polars, Arrow and others, read and written by narwhals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import narwhals as nw
import numpy as np

from elman.checks import Array, DtypeError, ShapeError
from elman.tables.frames import different_columns
from elman.tables.old_clock import Clock
from elman.tables.panel import Form, Gaps, Panel
from elman.tables.places import Where, has, real_numbers, show, words

INDEX = "__index__"  # the column into which an index of dates is put


@dataclass(frozen=True)
class Roles:
    """Which column of a table is what."""

    target: tuple[str, ...] = ()  #: none: all columns that have no other role
    time: str | None = None
    id: str | None = None
    exogenous: tuple[str, ...] = ()
    past: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stamps:
    """The time of a series: its step, its last stamp (1,), and the time zone in which that is."""

    clock: Clock
    last: Array
    zone: str | None
    utc: bool


@dataclass(frozen=True)
class TableForm(Form):
    """A table; forecasts become one of the same kind, with the stamps that follow."""

    roles: Roles
    backend: Any
    labels: tuple[Any, ...]  # of the series, as the id column has them
    stamps: tuple[Stamps, ...]  # one a series, none where there is no time
    time_dtype: Any
    column: bool = False  # a single column, as a Series
    index_name: str | None = None

    @property
    def many(self) -> bool:  # type: ignore[override]  # read only
        return self.roles.id is not None

    @property
    def single(self) -> bool:  # type: ignore[override]  # read only
        return len(self.roles.target) == 1

    def name(self, i: int) -> str:
        return f"series {self.labels[i]!r}" if self.many else "the table"

    def place(self, role: str, step: int, column: int) -> str:
        return f"step {step}, column {getattr(self.roles, role)[column]!r}"

    def following(self, i: int, count: int) -> Array:
        """The stamps after the end of series i."""
        return self.stamps[i].clock.following(self.stamps[i].last, count)

    def write(self, forecasts: Sequence[Array], levels: tuple[float, ...] = ()) -> Any:
        count = len(forecasts[0])
        columns: dict[str, Any] = {}
        told = [i for i, part in enumerate(forecasts) if not np.isnan(part).all()]  # else the series is too short
        forecasts = [forecasts[i] for i in told]
        if self.roles.id is not None:
            labels = [self.labels[i] for i in told for _ in range(count)]
            columns[self.roles.id] = nw.new_series(self.roles.id, labels, backend=self.backend)
        if self.roles.time is not None:
            stamps = np.concatenate([self.following(i, count) for i in told])
            columns[self.roles.time] = self._time_column(stamps)
        values = np.concatenate(forecasts)  # (S horizon, V), or with a last axis of levels
        for v, target in enumerate(self.roles.target):
            names = {f"{target}_{level:g}": values[:, v, q] for q, level in enumerate(levels)} or {target: values[:, v]}
            for name, column in names.items():
                columns[name] = nw.new_series(name, np.ascontiguousarray(column), backend=self.backend)
        frames = [column.to_frame() for column in columns.values()]
        native = nw.to_native(nw.concat(frames, how="horizontal"))  # from_dict would lose a time zone of pandas
        if self.roles.time == INDEX:
            native = native.set_index(INDEX).rename_axis(self.index_name)
        if self.column and not levels:
            native = native[self.roles.target[0]]
        return native

    def _time_column(self, stamps: Array) -> nw.Series[Any]:
        name, first = str(self.roles.time), self.stamps[0]
        if first.zone is None:
            return nw.new_series(name, stamps, self.time_dtype, backend=self.backend)
        column = nw.new_series(name, stamps, backend=self.backend)
        if first.utc:
            return column.dt.replace_time_zone("UTC").dt.convert_time_zone(first.zone)
        return column.dt.replace_time_zone(first.zone)


def is_table(value: Any) -> bool:
    """Whether narwhals could read it: a data frame, or one column of one."""
    if isinstance(value, (np.ndarray, list, tuple)):
        return False
    if has(value, "columns", "column_names"):
        return True
    if not has(value, "to_frame"):
        return False
    return isinstance(nw.from_native(value, pass_through=True, allow_series=True), nw.Series)  # an index is none


def as_frame(table: Any) -> tuple[nw.DataFrame[Any], bool, str | None]:
    """The table for narwhals, whether it was a single column, and the name of its index of dates, if it has one."""
    column = hasattr(table, "to_frame") and not hasattr(table, "columns")
    if column:
        table = table.to_frame(table.name or "value") if hasattr(table, "index") else table.to_frame()
    index_name = None
    if hasattr(table, "index") and getattr(getattr(table.index, "dtype", None), "kind", "") == "M":
        index_name = table.index.name
        table = table.rename_axis(INDEX).reset_index()
    try:
        with different_columns("the table", table):
            return nw.from_native(table, eager_only=True), column, index_name
    except TypeError:
        raise TypeError(f"series must be arrays, or a table that narwhals reads. Got {show(type(table))}.") from None


def read_table(table: Any, roles: Roles, fill: str | None) -> Panel:
    """A panel from a table; rows of one series stand in the order of time."""
    frame, column, index_name = as_frame(table)
    roles = _resolve(frame, roles)
    groups, labels = _groups(frame, roles)
    numbers = {name: _numbers(frame, name) for name in (*roles.target, *roles.exogenous, *roles.past)}
    stamps, zone, local = _times(frame, roles)
    form = TableForm(
        roles=roles, backend=frame.implementation, labels=labels, stamps=(), column=column, index_name=index_name,
        time_dtype=None if roles.time is None else frame[roles.time].dtype,
    )  # fmt: skip
    parts: tuple[list[Array], ...] = ([], [], [])
    clocks, gaps = [], Gaps(fill, form.many or len(roles.target) > 1)
    for i, rows in enumerate(groups):
        at, length = np.arange(len(rows)), len(rows)
        if stamps is not None:
            clock, place = _clock(form, i, (stamps[rows], local[rows]), fill is not None)
            at, length = place, int(place[-1]) + 1
            clocks.append(replace(clock, zone=zone))
        for part, role in zip(parts, ("target", "exogenous", "past"), strict=True):
            names = getattr(roles, role)
            columns = np.full((length, len(names)), np.nan)
            columns[at] = np.stack([numbers[name][rows] for name in names], 1) if names else 0
            part.append(gaps.read(form.name(i), columns, _where(form, role, at, rows, stamps)))
    values, known, past = parts
    return Panel(values, known, past, replace(form, stamps=tuple(clocks)), fill)


def _where(form: TableForm, role: str, at: Array, rows: Array, stamps: Any) -> Where:
    """The place of a value in words: its step and column, and the row of the table and the stamp where there is one."""

    def where(index: tuple[int, ...]) -> str:
        step, column = index
        own = int(np.searchsorted(at, step))
        told = [f"row {rows[own]}"] if at[own] == step and rows[own] != step else []
        told += [_stamp(stamps[rows[own]])] if at[own] == step and stamps is not None else []
        told += ["no row"] if at[own] != step else []
        return form.place(role, step, column) + (f" ({', '.join(told)})" if told else "")

    return where


def _stamp(stamp: Any) -> str:
    return str(np.datetime_as_string(stamp, "auto")) if isinstance(stamp, np.datetime64) else str(stamp)


def read_future(table: Any, form: TableForm, horizon: int, fill: str | None) -> list[Array]:
    """The columns known ahead, (horizon, K) a series, from a table of the steps after the end."""
    roles = replace(form.roles, target=form.roles.exogenous, exogenous=(), past=())
    frame, _, _ = as_frame(table)
    _resolve(frame, roles)
    groups, labels = _groups(frame, roles)
    numbers = {name: _numbers(frame, name) for name in roles.target}
    stamps, _, local = _times(frame, roles)
    parts = []
    for i, label in enumerate(form.labels):
        if label not in labels:
            raise ValueError(f"future must hold every series. Got no rows of {form.name(i)}.")
        rows = groups[labels.index(label)][:horizon]
        if len(rows) < horizon:
            raise ShapeError(f"future must hold {horizon} steps of {form.name(i)}. Got {len(rows)}.")
        if stamps is not None:
            got = (stamps if form.stamps[i].utc else local)[rows]
            wrong = got != form.following(i, horizon)
            if wrong.any():
                at = int(wrong.argmax())
                want = form.following(i, horizon)[at]
                raise ValueError(f"future must go on where {form.name(i)} ends, at {want}. Got {got[at]} at row {at}.")
        columns = np.stack([numbers[name][rows] for name in roles.target], 1)
        where = _where(form, "exogenous", np.arange(horizon), rows, stamps)
        parts.append(Gaps(fill, some=False).read(f"future of {form.name(i)}", columns, where))
    return parts


def _resolve(frame: nw.DataFrame[Any], roles: Roles) -> Roles:
    """The roles with the columns they leave open; every one must exist."""
    for name in frame.columns:
        if not isinstance(name, str):
            raise TypeError(f"the columns of the table must be named by text. Got {show(name)}.")
    if roles.time is None and INDEX in frame.columns:
        roles = replace(roles, time=INDEX)
    taken = {*roles.exogenous, *roles.past, roles.time, roles.id}
    if not roles.target:
        left = tuple(name for name in frame.columns if name not in taken)
        roles = replace(roles, target=left)
        if not left:
            raise ShapeError(f"target must be a column of the table. Got none among {list(frame.columns)}.")
    named = [*roles.target, *(name for name in taken if name is not None)]
    for name in named:
        if name not in frame.columns:
            raise ShapeError(f"the table must have the column {name!r}. Got {', '.join(frame.columns)}.")
    both = taken & set(roles.target)
    if both or len(named) != len(set(named)):
        raise ValueError(f"each column must have one role. Got two for {', '.join(sorted(map(str, both)))}.")
    if len(frame) == 0:
        raise ShapeError("the table must have rows. Got none.")
    return roles


def _groups(frame: nw.DataFrame[Any], roles: Roles) -> tuple[list[Array], tuple[Any, ...]]:
    """The rows of each series, and the labels of the series in the order in which they first come."""
    if roles.id is None:
        return [np.arange(len(frame))], ("",)
    column = frame[roles.id]
    if column.null_count():
        raise ValueError(f"the column {roles.id!r} must name a series in every row. Got {column.null_count()} nulls.")
    numbers: dict[Any, int] = {}
    codes = np.array([numbers.setdefault(label, len(numbers)) for label in column.to_list()])
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.cumsum(np.bincount(codes))[:-1]), tuple(numbers)


def _numbers(frame: nw.DataFrame[Any], name: str) -> Array:
    column = frame.get_column(name)
    if column.dtype.is_numeric() or column.dtype == nw.Boolean:
        return np.asarray(column.cast(nw.Float64).fill_null(float("nan")).to_numpy(), np.float64)
    if column.dtype in (nw.Object, nw.String, nw.Unknown):
        return real_numbers(f"the column {name!r}", column.to_numpy().astype(object), words("row"))
    raise DtypeError(f"the column {name!r} must hold real numbers. Got {column.dtype}.")


def _times(frame: nw.DataFrame[Any], roles: Roles) -> tuple[Any, str | None, Any]:
    """The stamps (rows,) in UTC, the time zone they were in, and the stamps in that zone; None without a time."""
    if roles.time is None:
        return None, None, None
    column = frame[roles.time]
    if column.dtype.is_integer():
        return column.to_numpy(), None, column.to_numpy()
    if isinstance(column.dtype, nw.Datetime) and column.dtype.time_zone is not None:
        utc = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        local = column.dt.replace_time_zone(None)
        return _dates(utc), column.dtype.time_zone, _dates(local)
    if column.dtype in (nw.Datetime, nw.Date) or isinstance(column.dtype, nw.Datetime):
        stamps = _dates(column)
        return stamps, None, stamps
    raise DtypeError(f"the column {roles.time!r} must hold dates or whole numbers. Got {column.dtype}.")


def _dates(column: nw.Series[Any]) -> Array:
    """Dates as datetime64; Arrow's and pandas' objects of type date as days."""
    array = column.to_numpy()
    return np.asarray(array if array.dtype.kind == "M" else array.astype("M8[D]"))


def _clock(form: TableForm, i: int, both: tuple[Array, Array], gaps: bool) -> tuple[Stamps, Array]:
    """The clock of series i and the step at which each row stands; days of a time zone may have 23 or 25 hours."""
    name = f"the time of {form.name(i)}"
    errors = []
    for stamps, utc in zip(both, (True, False), strict=True):
        try:
            clock = Clock.read(name, stamps, gaps)
        except ValueError as error:
            errors.append(error)
            continue
        return Stamps(clock, stamps[-1:], None, utc), clock.positions(stamps).astype(np.int64)
    raise errors[0]
