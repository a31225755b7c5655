"""Series in the forms in which people have them, as one panel of arrays; and forecasts back in those forms.

A panel holds S series. Series i has V variables, K columns that are known ahead and P that are known up to the present
only, all of the same steps:

    values[i] (time_i, V)      known[i] (time_i, K)      past[i] (time_i, P)

NaN stands where there is no value. Gaps are filled where values are used, as they looked before the step in question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array, ShapeError
from elman.tables.frames import Frame, is_table
from elman.tables.places import Where, check_finite, is_collection, real_numbers, show, words

FILLS = ("forward", "interpolate")


class DataForm:
    """How the user handles series: what an error calls them, and how forecasts go back."""

    many: bool  #: many series, as a list or by an id
    single: bool  #: one variable, whose axis the user leaves out

    def name(self, i: int) -> str:
        """Series i in an error."""
        raise NotImplementedError

    def place(self, role: str, step: int, column: int, i: int = 0) -> str:
        """Where a value of series i stands in an error; `role` is "target", "exogenous" or "past"."""
        raise NotImplementedError

    def variable(self, i: int, v: int) -> str:
        """Variable v of series i in an error."""
        column = self.place("target", 0, v, i).partition(", ")[2]
        return f"{column} of {self.name(i)}" if column else self.name(i)

    def write(self, forecasts: Sequence[Array], levels: tuple[float, ...] = ()) -> Any:
        """The forecasts of each series, (horizon, V), or (horizon, V, Q) for Q `levels`, in the user's form."""
        raise NotImplementedError

    def ended(self) -> DataForm:
        """The form without what tells the rows that were read: as much as is needed to go on from their end."""
        return self

    def span(self, counts: Sequence[int]) -> tuple[Array, Array]:
        """Where series of so many steps begin on the clock of all, and how many steps that has; both (series,).

        Series without a clock in common begin at 0 and have their own steps.
        """
        return np.zeros(len(counts), np.int64), np.array(counts, np.int64)

    def check_ahead(self, horizon: int) -> None:
        """Refuses series whose clock has no stamps so many steps ahead: a calendar that ends."""

    def arrays(self, parts: Sequence[Array], axis: int) -> Any:
        """One array per series, as a list where there are many; `axis` is that of the variables."""
        parts = [part.take(0, axis) if self.single else part for part in parts]
        return list(parts) if self.many else parts[0]


@dataclass(frozen=True)
class ArrayForm(DataForm):
    """Arrays: one series (time,), variables of one clock (time, V), or a list of such."""

    many: bool
    single: bool

    def name(self, i: int) -> str:
        return f"series[{i}]" if self.many else "series"

    def place(self, role: str, step: int, column: int, i: int = 0) -> str:
        return f"step {step}" if role == "target" and self.single else f"step {step}, column {column}"

    def write(self, forecasts: Sequence[Array], levels: tuple[float, ...] = ()) -> Any:
        return self.arrays(forecasts, 1)


@dataclass(frozen=True)
class Filled:
    """Columns (time, C) whose gaps are filled as `fill` says; NaN stays before the first value of each.

    That a gap ends in a value is known from that value on. Before, the last value was carried on.
    """

    values: Array  #: as the whole columns show them
    carried: Array  #: the last value carried on
    last: Array | None  #: (time, C), the step of the last value, -1 before the first; None where the two are the same

    @classmethod
    def read(cls, columns: Array, fill: str | None) -> Filled:
        """From columns with NaN."""
        missing = np.isnan(columns)
        if not missing.any():
            return cls(columns, columns, None)
        rows = np.arange(len(columns))
        last = np.maximum.accumulate(np.where(missing, -1, rows[:, None]), axis=0)
        carried = np.where(last < 0, np.nan, np.take_along_axis(columns, np.maximum(last, 0), axis=0))
        if fill != "interpolate":
            return cls(carried, carried, None)
        values = carried.copy()
        for c in np.flatnonzero(missing.any(axis=0)):
            gaps, known = rows[missing[:, c] & (last[:, c] >= 0)], rows[~missing[:, c]]
            if len(gaps):
                values[gaps, c] = np.interp(gaps, known, columns[known, c])
        return cls(values, carried, last)

    def log(self) -> Filled:
        """The logarithm of all."""
        return Filled(np.log(self.values), np.log(self.carried), self.last)

    def open(self, ends: Array) -> Array:
        """Whether the step before each of `ends` (n,) stands in a gap that no value has ended yet, in any column."""
        if self.last is None:
            return np.zeros(len(ends), bool)
        last = self.last[ends - 1]
        return np.asarray(((last >= 0) & (last < ends[:, None] - 1)).any(axis=1))

    def seen(self, steps: Array, ends: Array) -> Array:
        """Values (..., C) at `steps` (...), as known before the steps `ends`, which broadcast to them."""
        if self.last is None:
            return self.values[steps]
        return np.where(steps[..., None] > self.last[ends - 1], self.carried[steps], self.values[steps])


def first_values(columns: Array) -> Array:
    """The step of the first value of each column (C,); how many there are where there is none."""
    if len(columns) and not np.isnan(columns[0]).any():
        return np.zeros(columns.shape[1], np.int64)
    present = np.vstack([~np.isnan(columns), np.ones((1, columns.shape[1]), bool)])
    return present.argmax(axis=0)


@dataclass(frozen=True)
class Panel:
    """S series in float64, NaN where there is no value, and how gaps are filled."""

    values: list[Array]
    known: list[Array]
    past: list[Array]
    form: DataForm
    fill: str | None = None

    @property
    def widths(self) -> tuple[int, int, int]:
        """V, K, P."""
        return self.values[0].shape[1], self.known[0].shape[1], self.past[0].shape[1]

    def begins(self, i: int) -> Array:
        """The step (V,) from which each variable of series i has a value, and all columns beside it."""
        beside = [first_values(part).max(initial=0) for part in (self.known[i], self.past[i])]
        return np.maximum(first_values(self.values[i]), max(beside))

    def cut(self, ends: Sequence[int], steps: int | None = None) -> Panel:
        """Of each series what stands before its end; or the last `steps` of that, and what fills gaps in them."""
        starts = [0 if steps is None else self._reach(i, max(0, end - steps)) for i, end in enumerate(ends)]
        slices = [slice(start, end) for start, end in zip(starts, ends, strict=True)]

        def part(arrays: list[Array]) -> list[Array]:
            return [array[rows].copy() for array, rows in zip(arrays, slices, strict=True)]

        return replace(self, values=part(self.values), known=part(self.known), past=part(self.past))

    def _reach(self, i: int, start: int) -> int:
        """The latest step up to `start` from which every column of series i has had a value."""
        back = [first_values(part[i][start::-1]) for part in (self.values, self.known, self.past)]
        return start - max(int(own[own <= start].max(initial=0)) for own in back)


def read_arrays(series: Any, exogenous: Any = None, past: Any = None, fill: str | None = None) -> Panel:
    """A panel from arrays; see `elman.Forecaster.fit` for their shapes."""
    if not is_collection(series):
        raise TypeError(
            "series must be one series (time,), variables of one clock (time, variables), a list of such, or a table. "
            f"Got {show(series)}."
        )
    many = isinstance(series, (list, tuple)) and any(is_collection(part) for part in series)
    parts = list(series) if many else [series]
    values: list[Array] = []
    single = True
    for i, part in enumerate(parts):
        name = f"series[{i}]" if many else "series"
        array = real_numbers(name, part, words("step", "column"))
        if i == 0:
            single = array.ndim == 1
        if array.ndim == 1:
            array = array[:, None]
        elif array.ndim != 2 or not array.shape[1]:
            raise ShapeError(f"{name} must have shape (time,) or (time, variables). Got {array.shape}.")
        if values and array.shape[1] != values[0].shape[1]:
            raise ShapeError(
                f"{name} must have {values[0].shape[1]} variables, as series[0] has. Got {array.shape[1]}."
            )
        values.append(array)
    counts, gaps = [len(part) for part in values], Gaps(fill, many or values[0].shape[1] > 1)
    return Panel(
        [gaps.read(f"series[{i}]" if many else "series", part) for i, part in enumerate(values)],
        read_columns("exogenous", exogenous, counts, many, gaps),
        read_columns("past", past, counts, many, gaps),
        ArrayForm(many, single),
        fill,
    )


def read_columns(name: str, given: Any, counts: Sequence[int], many: bool, gaps: Gaps) -> list[Array]:
    """Columns beside series of `counts` steps, (time_i, columns) each; no columns where none are given."""
    if given is None:
        return [np.empty((count, 0)) for count in counts]
    if many and (not isinstance(given, (list, tuple)) or len(given) != len(counts)):
        raise ShapeError(
            f"{name} must be a list of {len(counts)} arrays, one per series. Got {checks.describe(given)}."
        )
    parts: list[Array] = []
    for i, (part, count) in enumerate(zip(given if many else [given], counts, strict=True)):
        label = f"{name}[{i}]" if many else name
        _check_no_names(label, part)
        array = real_numbers(label, part, words("step", "column"))
        array = array[:, None] if array.ndim == 1 else array
        width = parts[0].shape[1] if parts else "columns"
        checks.shape(label, array, (count, width))
        parts.append(gaps.read(label, array))
    return parts


def _check_no_names(name: str, part: Any) -> None:
    """Refuses a table beside arrays that says which column is which, or when: there is nothing to hold it against."""
    if not is_table(part):
        return
    frame = Frame.read(name, part)
    if len(frame.labels) > 1 or frame.levels:
        must = f"{name} must be an array where series is one: its columns and its index would not be read"
        raise TypeError(f"{must}. Got {checks.describe(part)}; a table of the series is joined with it.")


@dataclass(frozen=True)
class Gaps:
    """Where values may be missing."""

    fill: str | None  #: None: nowhere but before the first value of a late start
    late: bool = False  #: whether series may start late, as those of a panel do, without a fill too
    some: bool = True  #: whether each column must hold a value

    def read(self, name: str, array: Array, where: Where | None = None) -> Array:
        """A float64 copy (time, columns) with NaN where a value is missing, refused by its place where none may be."""
        array = np.array(array, np.float64)
        where = where or words(*("step", "column")[: min(2, array.shape[1])])
        missing = np.isnan(array)
        if not missing.any():
            check_finite(name, array, where)
            return array
        if self.fill is not None:
            masked = missing
        else:
            masked = missing & self.late & (np.arange(len(array))[:, None] < first_values(array))
        hint = '; fill="forward" or "interpolate" fills gaps, and leaves out what stands before the first value'
        check_finite(name, np.where(masked, 0, array), where, hint)
        if self.some and (nothing := missing.all(axis=0)).any():
            raise ValueError(f"{name} must hold values. Got NaN alone from {where((0, int(nothing.argmax())))} on.")
        return array
