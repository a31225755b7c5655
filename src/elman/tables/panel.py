"""Series in the forms in which people have them, as one panel of arrays; and forecasts back in those forms.

A panel holds S series. Series i has V variables, K columns that are known ahead and P that are known up to the present
only, all of the same steps:

    values[i] (time_i, V)      known[i] (time_i, K)      past[i] (time_i, P)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array, ShapeError
from elman.tables.places import Where, check_finite, is_collection, real_numbers, show, words

FILLS = ("forward", "interpolate")


class Form:
    """How the user handles series: what an error calls them, and how forecasts go back."""

    many: bool  #: many series, as a list or by an id
    single: bool  #: one variable, whose axis the user leaves out

    def name(self, i: int) -> str:
        """Series i in an error."""
        raise NotImplementedError

    def place(self, role: str, step: int, column: int) -> str:
        """Where a value stands in an error; `role` is "target", "exogenous" or "past"."""
        raise NotImplementedError

    def write(self, forecasts: Sequence[Array], levels: tuple[float, ...] = ()) -> Any:
        """The forecasts of each series, (horizon, V), or (horizon, V, Q) for Q `levels`, in the user's form."""
        raise NotImplementedError

    def arrays(self, parts: Sequence[Array], axis: int) -> Any:
        """One array a series, as a list where there are many; `axis` is that of the variables."""
        parts = [part.take(0, axis) if self.single else part for part in parts]
        return list(parts) if self.many else parts[0]


@dataclass(frozen=True)
class ArrayForm(Form):
    """Arrays: one series (time,), variables of one clock (time, V), or a list of such."""

    many: bool
    single: bool

    def name(self, i: int) -> str:
        return f"series[{i}]" if self.many else "series"

    def place(self, role: str, step: int, column: int) -> str:
        return f"step {step}" if role == "target" and self.single else f"step {step}, column {column}"

    def write(self, forecasts: Sequence[Array], levels: tuple[float, ...] = ()) -> Any:
        return self.arrays(forecasts, 1)


@dataclass(frozen=True)
class Panel:
    """S series, in float64, without gaps."""

    values: list[Array]
    known: list[Array]
    past: list[Array]
    form: Form

    @property
    def widths(self) -> tuple[int, int, int]:
        """V, K, P."""
        return self.values[0].shape[1], self.known[0].shape[1], self.past[0].shape[1]

    def cut(self, ends: Sequence[int], steps: int | None = None) -> Panel:
        """Of each series what stands before its end, or the last `steps` of that."""
        starts = [0 if steps is None else max(0, end - steps) for end in ends]
        slices = [slice(start, end) for start, end in zip(starts, ends, strict=True)]

        def part(arrays: list[Array]) -> list[Array]:
            return [array[rows].copy() for array, rows in zip(arrays, slices, strict=True)]

        return replace(self, values=part(self.values), known=part(self.known), past=part(self.past))


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
        values.append(without_gaps(name, array, fill))
    counts = [len(part) for part in values]
    return Panel(
        values,
        read_columns("exogenous", exogenous, counts, many, fill),
        read_columns("past", past, counts, many, fill),
        ArrayForm(many, single),
    )


def read_columns(name: str, given: Any, counts: Sequence[int], many: bool, fill: str | None = None) -> list[Array]:
    """Columns beside series of `counts` steps, (time_i, columns) each; no columns where none are given."""
    if given is None:
        return [np.empty((count, 0)) for count in counts]
    if many and (not isinstance(given, (list, tuple)) or len(given) != len(counts)):
        raise ShapeError(f"{name} must be a list of {len(counts)} arrays, one a series. Got {checks.describe(given)}.")
    parts: list[Array] = []
    for i, (part, count) in enumerate(zip(given if many else [given], counts, strict=True)):
        label = f"{name}[{i}]" if many else name
        array = real_numbers(label, part, words("step", "column"))
        array = array[:, None] if array.ndim == 1 else array
        width = parts[0].shape[1] if parts else "columns"
        checks.shape(label, array, (count, width))
        parts.append(without_gaps(label, array, fill))
    return parts


def without_gaps(name: str, array: Array, fill: str | None, where: Where | None = None) -> Array:
    """A float64 copy (time, columns) in which NaN is filled, or refused with its place."""
    array = np.array(array, np.float64)
    if fill is not None:
        array = _filled(array, fill)
    hint = '; fill="forward" or "interpolate" fills gaps' if fill is None else ", before the first value"
    check_finite(name, array, where or words(*("step", "column")[: min(2, array.shape[1])]), hint)
    return array


def _filled(array: Array, fill: str) -> Array:
    """NaN replaced by the value before, or by the line between its neighbors; what has none before it stays."""
    filled = array.copy()
    for column in filled.T:
        rows = np.arange(len(column))
        known = rows[~np.isnan(column)]
        if len(known) == 0:
            continue
        gaps = np.isnan(column) & (rows > known[0])
        if fill == "forward":
            column[gaps] = column[known[np.searchsorted(known, rows[gaps]) - 1]]
        else:
            column[gaps] = np.interp(rows[gaps], known, column[known])
    return filled
