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

FILLS = ("forward", "interpolate")


class Form:
    """How the user handles series: what an error calls them, and how forecasts go back."""

    many: bool  #: many series, as a list or by an id
    single: bool  #: one variable, whose axis the user leaves out

    def name(self, i: int) -> str:
        """Series i in an error."""
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
    many = isinstance(series, (list, tuple)) and any(np.ndim(part) > 0 for part in series)
    parts = list(series) if many else [series]
    form = ArrayForm(many, np.ndim(parts[0]) == 1)
    values: list[Array] = []
    for i, part in enumerate(parts):
        array = checks.real_array(form.name(i), part)
        if array.ndim == 1:
            array = array[:, None]
        elif array.ndim != 2:
            raise ShapeError(f"{form.name(i)} must have shape (time,) or (time, variables). Got {array.shape}.")
        if values and array.shape[1] != values[0].shape[1]:
            raise ShapeError(
                f"{form.name(i)} must have {values[0].shape[1]} variables, as {form.name(0)} has. Got {array.shape[1]}."
            )
        values.append(without_gaps(form.name(i), array, fill))
    counts = [len(part) for part in values]
    return Panel(
        values,
        read_columns("exogenous", exogenous, counts, many, fill),
        read_columns("past", past, counts, many, fill),
        form,
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
        array = checks.real_array(label, part)
        array = array[:, None] if array.ndim == 1 else array
        width = parts[0].shape[1] if parts else "columns"
        checks.shape(label, array, (count, width))
        parts.append(without_gaps(label, array, fill))
    return parts


def without_gaps(name: str, array: Array, fill: str | None, columns: Sequence[str] | None = None) -> Array:
    """A float64 copy (time, columns) in which NaN is filled, or refused with its place."""
    array = np.array(array, np.float64)
    if np.isfinite(array).all():
        return array
    filled = array if fill is None else _filled(array, fill)
    wrong = np.argwhere(~np.isfinite(filled))
    if len(wrong):
        step, column = (int(i) for i in wrong[0])
        where = f"column {columns[column]!r}" if columns is not None else f"column {column}"
        place = f"step {step}" if array.shape[1] == 1 and columns is None else f"step {step}, {where}"
        hint = '; fill="forward" or "interpolate" fills gaps' if fill is None and np.isnan(array[step, column]) else ""
        raise ValueError(f"{name} must be finite. Got {array[step, column]} at {place}{hint}.")
    return filled


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
