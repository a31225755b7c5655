"""What the columns of a table hold, kept by fit: numbers, truth values, or categories; and tables as numbers by it.

A column of text categories becomes one column of 0 and 1 per category; categories that are numbers are numbers.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import narwhals as nw
import numpy as np

from elman.checks import Array, DtypeError
from elman.tables.frames import Frame, few
from elman.tables.places import Where, is_missing, is_number, real_numbers, show, words

Kind = Literal["number", "truth", "category", "nothing"]  #: nothing: all values are missing

_ROW = words("row")


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    label: Hashable
    kind: Kind
    categories: tuple[str, ...] = ()  #: in order

    @property
    def names(self) -> tuple[Hashable, ...]:
        """Of the columns of numbers that it becomes."""
        if self.kind != "category":
            return (self.label,)
        return tuple(f"{self.label}={category}" for category in self.categories)

    def describe(self) -> str:
        """Its label and what it holds, numbers aside."""
        held = f"{len(self.categories)} categories" if self.kind == "category" else "truth"
        return f"{self.label}" if self.kind == "number" else f"{self.label} ({held})"


@dataclass(frozen=True)
class Columns:
    """The columns that an estimator uses, in order."""

    columns: tuple[Column, ...]
    some: bool = False  #: whether tables have other columns too, of which these are chosen

    @classmethod
    def read(
        cls, name: str, frames: Sequence[Frame], labels: Sequence[Hashable] | None = None, where: Where = _ROW
    ) -> Columns:
        """The columns of frames that hold the same ones, in any order; or those of these `labels`.

        `name` is what errors call them, name[i] where there are many; `where` is the place of a row in words, for the
        error of a column that holds something else.
        """
        plain = tuple(Column(label, "number") for label in (frames[0].labels if labels is None else labels))
        columns = cls(tuple(replace(column, kind="nothing") for column in plain), labels is not None)
        for i, frame in enumerate(frames):
            called = name if len(frames) == 1 else f"{name}[{i}]"
            is_plain = columns.order(called, frame) is not None and frame.plain
            if is_plain and columns.columns is plain:
                continue  # most frames, quickly
            seen = plain if is_plain else [_look(called, frame, column.label, where) for column in columns.columns]
            both = zip(columns.columns, seen, strict=True)
            each = tuple(_both(called, frame, before, found, where) for before, found in both)
            columns = replace(columns, columns=plain if each == plain else each)
        settled = (replace(column, kind="number") if column.kind == "nothing" else column for column in columns.columns)
        return replace(columns, columns=tuple(settled))

    @property
    def labels(self) -> tuple[Hashable, ...]:
        """Of the columns, in order."""
        return tuple(column.label for column in self.columns)

    @property
    def names(self) -> tuple[Hashable, ...]:
        """One per column of numbers: the label, and for a category "label=category"."""
        return tuple(name for column in self.columns for name in column.names)

    @property
    def width(self) -> int:
        """How many columns of numbers there are."""
        return len(self.names)

    def order(self, name: str, frame: Frame) -> list[int] | None:
        """Where the columns stand in a later frame; a frame that lacks some, or has others, is refused.

        Of chosen columns None where they do not all stand among those of the frame: some may be levels of its index.
        """
        if frame.labels == self.labels:
            return list(range(len(self.columns)))
        places, known = {label: i for i, label in enumerate(frame.labels)}, set(self.labels)
        if self.some:
            return [places[label] for label in self.labels] if known <= places.keys() else None
        missing = [label for label in self.labels if label not in places]
        unknown = [label for label in frame.labels if label not in known]
        if missing or unknown:
            lacks = [f"lacks {few(missing)}"] if missing else []
            has_too = [f"has {few(unknown)}, which fit did not see"] if unknown else []
            raise ValueError(
                f"{name} must have the columns {few(self.labels)}. "
                f"Got {few(frame.labels)}: it {' and '.join(lacks + has_too)}."
            )
        return [places[label] for label in self.labels]

    def numbers(self, name: str, frame: Frame, where: Where = _ROW) -> Array:
        """The columns of a frame (rows, width) in float64, NaN where a value is missing, whatever their order in it.

        Raises `DtypeError` where a column holds something else than in fit, and `ValueError` for a category that fit
        did not see, with its place.
        """
        places = self.order(name, frame)
        if places is not None and frame.plain and all(column.kind != "category" for column in self.columns):
            array = frame.numbers()
            return array if places == list(range(array.shape[1])) else array[:, places]
        out = np.empty((frame.rows, self.width))
        at = 0
        for column in self.columns:
            encode = _as_categories if column.kind == "category" else _as_numbers
            out[:, at : at + len(column.names)] = encode(name, frame, column, where)
            at += len(column.names)
        return out

    def describe(self) -> str:
        """The columns in words: those of numbers first."""
        plain = [column.label for column in self.columns if column.kind == "number"]
        rest = [column.describe() for column in self.columns if column.kind != "number"]
        told = ", ".join(map(str, plain[:5])) + (f" and {len(plain) - 5} more" if len(plain) > 5 else "")
        return "; ".join([*([told] if plain else []), *rest[:5], *([f"{len(rest) - 5} more"] if len(rest) > 5 else [])])


def codes(column: nw.Series[Any]) -> tuple[Array, list[Any]]:
    """The entries of a column, each once, and which of them stands in each row (rows,); -1 where there is none."""
    native = column.to_native()
    if hasattr(native, "cat") and hasattr(native.cat, "codes"):  # pandas
        return native.cat.codes.to_numpy().astype(np.int64), list(native.cat.categories)
    numbers: dict[Any, int] = {}
    rows = [-1 if is_missing(entry) else numbers.setdefault(entry, len(numbers)) for entry in column.to_list()]
    return np.array(rows, np.int64), list(numbers)


def _is_category(column: nw.Series[Any]) -> bool:
    return isinstance(column.dtype, (nw.Categorical, nw.Enum))


def _look(name: str, frame: Frame, label: Hashable, where: Where) -> Column:
    """What a column holds; what is neither a number nor a truth value nor a category is refused."""
    column = frame.column(label)
    if column.dtype.is_numeric() or column.dtype == nw.Boolean:
        return Column(label, "truth" if column.dtype == nw.Boolean else "number")
    if _is_category(column):
        rows, entries = codes(column)
        used = [entries[code] for code in np.unique(rows[rows >= 0])]
        if used and all(isinstance(entry, str) for entry in used):
            return Column(label, "category", tuple(sorted(set(used))))
        kind = _kind(used)
        if kind is None:
            wrong = next(i for i, entry in enumerate(entries) if not is_number(entry))
            raise _refused(name, frame, label, entries[wrong], where((int((rows == wrong).argmax()),)))
        return Column(label, kind)
    entries = _objects(column)
    kind = _kind(entry for entry in entries if not is_missing(entry))
    if kind is None:
        row = next(i for i, entry in enumerate(entries) if not is_missing(entry) and not is_number(entry))
        raise _refused(name, frame, label, entries[row], where((row,)))
    return Column(label, kind)


def _objects(column: nw.Series[Any]) -> Any:
    """The entries of a column whose dtype does not tell that they are numbers."""
    array = column.to_numpy() if column.dtype == nw.Unknown else None  # sparse columns of pandas, say
    return column.to_list() if array is None or array.ndim != 1 or array.dtype.kind not in "biuf" else array


def _kind(entries: Iterable[Any]) -> Kind | None:
    """Of entries none of which is missing: None where one is no number."""
    entries = list(entries)
    if not entries:
        return "nothing"
    if all(isinstance(entry, (bool, np.bool_)) for entry in entries):
        return "truth"
    return "number" if all(map(is_number, entries)) else None


def _both(name: str, frame: Frame, before: Column, found: Column, where: Where) -> Column:
    """What a column holds in the frames before and in this one."""
    if "nothing" in (before.kind, found.kind):
        return before if found.kind == "nothing" else found
    if (before.kind == "category") != (found.kind == "category"):
        raise _changed(name, frame, before, where)
    if before.kind == "category":
        return replace(before, categories=tuple(sorted({*before.categories, *found.categories})))
    return before if before.kind == found.kind else replace(before, kind="number")


def _as_numbers(name: str, frame: Frame, column: Column, where: Where) -> Array:
    """A column of numbers or truth values (rows, 1)."""
    if _look(name, frame, column.label, where).kind == "category":
        raise _changed(name, frame, column, where)
    series = frame.column(column.label)
    if _is_category(series):
        rows, entries = codes(series)
        return np.array([*map(float, entries), np.nan])[rows][:, None]  # the last where there is none
    if series.dtype.is_numeric() or series.dtype == nw.Boolean:
        array = series.to_numpy()
        if array.dtype.kind not in "biuf":  # decimals, or truth values some of which are missing
            array = series.cast(nw.Float64).fill_null(float("nan")).to_numpy()
    else:
        array = real_numbers(frame.called(column.label), np.asarray(_objects(series)), where)
    return np.asarray(array, np.float64)[:, None]


def _as_categories(name: str, frame: Frame, column: Column, where: Where) -> Array:
    """A column of categories (rows, categories): 1 for the one that stands in the row, NaN where none does."""
    series = frame.column(column.label)
    rows, entries = codes(series) if _is_category(series) else (np.arange(frame.rows), series.to_list())
    places = {category: i for i, category in enumerate(column.categories)}
    found = [places.get(e, -2) if isinstance(e, str) else -1 if is_missing(e) else -2 for e in entries]
    at = np.array([*found, -1], np.int64)[rows]
    if (at == -2).any():
        row = int((at == -2).argmax())
        raise ValueError(
            f"{name} must hold categories that fit saw in {frame.called(column.label)}: "
            f"{few(column.categories)}. Got {show(entries[rows[row]])} at {where((row,))}."
        )
    array = np.zeros((frame.rows, len(column.categories)))
    array[at >= 0, at[at >= 0]] = 1
    array[at < 0] = np.nan
    return array


def _changed(name: str, frame: Frame, before: Column, where: Where) -> DtypeError:
    """The error of a column that holds something else than before."""
    series = frame.column(before.label)
    row = int(np.argmin(np.asarray(series.is_null().to_numpy(), bool)))
    must = f"categories: {few(before.categories)}" if before.kind == "category" else "numbers"
    return DtypeError(
        f"{name} must hold {must} in {frame.called(before.label)}, as before. "
        f"Got {show(series.to_list()[row])} at {where((row,))}."
    )


def _refused(name: str, frame: Frame, label: Hashable, entry: Any, place: str) -> DtypeError:
    ways = {"pandas": 'astype("category")', "polars": "cast(pl.Categorical)", "pyarrow": "dictionary_encode()"}
    way = ways.get(frame.backend.__name__, "a cast")
    hint = f"; {way} makes categories of text" if isinstance(entry, str) else ""
    return DtypeError(
        f"{name} must hold numbers, truth values or categories in {frame.called(label)}. "
        f"Got {show(entry)} at {place}{hint}."
    )
