"""What the columns of a table hold, kept by fit: numbers, truth values, or categories; and tables as numbers by it.

A column of text categories becomes one column of 0 and 1 per category; categories that are numbers are numbers.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import narwhals as nw
import numpy as np

from elman.checks import Array, DtypeError
from elman.tables.frames import Frame, entries_of, first_entry, is_category, library
from elman.tables.places import Where, few, has, is_missing, is_number, real_numbers, show, words

MOST_CATEGORIES = 1000  #: of a column

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
    def read(cls, frames: Sequence[Frame], labels: Sequence[Hashable] | None = None, where: Where = _ROW) -> Columns:
        """The columns of frames that hold the same ones, in any order; or those of these `labels`.

        `where` is the place of a row in words, for the error of a column that holds something else.
        """
        plain = tuple(Column(label, "number") for label in (frames[0].labels if labels is None else labels))
        columns = cls(tuple(replace(column, kind="nothing") for column in plain), labels is not None)
        for frame in frames:
            is_plain = _plain(frame, columns.order(frame))
            if columns.columns is plain and is_plain.all():
                continue  # most frames, quickly
            found = [
                number if quick else _look(frame, number.label, where)
                for number, quick in zip(plain, is_plain, strict=True)
            ]
            both = zip(columns.columns, found, strict=True)
            each = tuple(_both(frame, before, now, where) for before, now in both)
            columns = replace(columns, columns=plain if each == plain else each)
        settled = (replace(column, kind="number") if column.kind == "nothing" else column for column in columns.columns)
        return replace(columns, columns=tuple(settled))

    @cached_property
    def labels(self) -> tuple[Hashable, ...]:
        """Of the columns, in order."""
        return tuple(column.label for column in self.columns)

    @property
    def names(self) -> tuple[Hashable, ...]:
        """One per column of numbers: the label, and for a category "label=category"."""
        return tuple(name for column in self.columns for name in column.names)

    def renamed(self, labels: Sequence[Hashable]) -> Columns:
        """The same columns under other labels."""
        pairs = zip(self.columns, labels, strict=True)
        return replace(self, columns=tuple(replace(column, label=label) for column, label in pairs))

    @property
    def of_categories(self) -> Array:
        """Which columns of numbers (width,) are those of a category."""
        return np.array([column.kind == "category" for column in self.columns for _ in column.names], bool)

    def chosen(self, kept: Array) -> Columns:
        """Without the categories whose columns of numbers are not among those `kept` (width,)."""
        ends = np.cumsum([len(column.names) for column in self.columns])
        columns = []
        for column, own in zip(self.columns, np.split(kept, ends[:-1]), strict=True):
            left = tuple(category for category, stays in zip(column.categories, own, strict=False) if stays)
            columns.append(replace(column, categories=left))
        return replace(self, columns=tuple(columns))

    @property
    def width(self) -> int:
        """How many columns of numbers there are."""
        return len(self.names)

    def order(self, frame: Frame) -> Array:
        """The places (columns,) of the columns in a later frame; one that lacks some, or has others, is refused.

        The place of a chosen column that is none of the frame, a level of its index perhaps, is -1.
        """
        if frame.labels == self.labels:
            return np.arange(len(self.columns))
        places, known = {label: i for i, label in enumerate(frame.labels)}, set(self.labels)
        if self.some:
            return np.array([places.get(label, -1) for label in self.labels], np.int64)
        missing = [label for label in self.labels if label not in places]
        unknown = [label for label in frame.labels if label not in known]
        told = [f"lacks {few(missing)}"] * bool(missing) + [f"has {few(unknown)} too"] * bool(unknown)
        if told:
            must = f"{frame.title} must have the columns {few(self.labels)}"
            raise ValueError(f"{must}. Got {few(frame.labels)}: it {' and '.join(told)}.")
        return np.array([places[label] for label in self.labels], np.int64)

    def numbers(self, frame: Frame, where: Where = _ROW) -> Array:
        """The columns of a frame (rows, width) in float64, NaN where a value is missing, whatever their order in it.

        Raises `DtypeError` where a column holds something else than in fit, and `ValueError` for a category that fit
        did not see, with its place.
        """
        places = self.order(frame)
        plain = _plain(frame, places) & np.array([column.kind != "category" for column in self.columns], bool)
        if plain.all():
            return frame.numbers(places)
        widths = np.array([len(column.names) for column in self.columns])
        starts = np.cumsum(widths) - widths
        out = np.empty((frame.rows, self.width))
        if plain.any():
            out[:, starts[plain]] = frame.numbers(places[plain])
        for i in np.flatnonzero(~plain):
            encode = _as_categories if self.columns[i].kind == "category" else _as_numbers
            out[:, starts[i] : starts[i] + widths[i]] = encode(frame, self.columns[i], where)
        return out

    def describe(self) -> str:
        """The columns in words: those of numbers first."""
        plain = [column.label for column in self.columns if column.kind == "number"]
        rest = [column.describe() for column in self.columns if column.kind != "number"]
        return "; ".join(few(part, write=str, between=by) for part, by in ((plain, ", "), (rest, "; ")) if part)


def codes(column: nw.Series[Any]) -> tuple[Array, list[Any]]:
    """The entries of a column of categories, and which of them stands in each row (rows,); -1 where there is none."""
    native = column.to_native()
    if has(native, "cat") and has(native.cat, "codes"):  # pandas
        return native.cat.codes.to_numpy().astype(np.int64), list(native.cat.categories)
    if has(native, "unify_dictionaries") and native.num_chunks:  # Arrow
        chunks = native.unify_dictionaries().chunks
        parts = [chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False) for chunk in chunks]
        return np.concatenate(parts).astype(np.int64), chunks[0].dictionary.to_pylist()
    numbers: dict[Any, int] = {}
    rows = [-1 if entry is None else numbers.setdefault(entry, len(numbers)) for entry in column.to_list()]
    return np.array(rows, np.int64), list(numbers)


def _plain(frame: Frame, places: Array) -> Array:
    """Which columns are plain numbers; one that is none of the frame is not."""
    return np.append(frame.plain, False)[places]


def _look(frame: Frame, label: Hashable, where: Where) -> Column:
    """What a column holds; what is neither a number nor a truth value nor a category is refused."""
    column = frame.column(label)
    if column.dtype.is_numeric() or column.dtype == nw.Boolean:
        return Column(label, "truth" if column.dtype == nw.Boolean else "number")
    rows, entries = codes(column) if is_category(column) else (None, entries_of(column))
    places = range(len(entries)) if rows is None else np.unique(rows[rows >= 0])
    used = [(place, entry) for place in places if not is_missing(entry := entries[place])]
    if rows is not None and used and all(isinstance(entry, str) for _, entry in used):
        return _category(frame, label, {entry for _, entry in used})
    wrong = next(((place, entry) for place, entry in used if not is_number(entry)), None)
    if wrong is not None:
        place, entry = wrong
        raise _refused(frame, column, label, entry, where((place if rows is None else int((rows == place).argmax()),)))
    truth = all(isinstance(entry, (bool, np.bool_)) for _, entry in used)
    return Column(label, "nothing" if not used else "truth" if truth else "number")


def _category(frame: Frame, label: Hashable, categories: set[str]) -> Column:
    if len(categories) > MOST_CATEGORIES:
        raise ValueError(
            f"{frame.title} must have at most {MOST_CATEGORIES:,} categories in {frame.called(label)}: "
            f"each becomes a column. Got {len(categories):,}."
        )
    return Column(label, "category", tuple(sorted(categories)))


def _both(frame: Frame, before: Column, found: Column, where: Where) -> Column:
    """What a column holds in the frames before and in this one."""
    if "nothing" in (before.kind, found.kind):
        return before if found.kind == "nothing" else found
    if (before.kind == "category") != (found.kind == "category"):
        raise _changed(frame, before, where)
    if before.kind == "category":
        return _category(frame, before.label, {*before.categories, *found.categories})
    return before if before.kind == found.kind else replace(before, kind="number")


def _as_numbers(frame: Frame, column: Column, where: Where) -> Array:
    """A column of numbers or truth values (rows, 1)."""
    series = frame.column(column.label)
    if series.dtype.is_numeric() or series.dtype == nw.Boolean:
        array = series.to_numpy()
        if array.dtype.kind not in "biuf":  # decimals, or truth values some of which are missing
            array = series.cast(nw.Float64).fill_null(float("nan")).to_numpy()
    elif _look(frame, column.label, where).kind == "category":
        raise _changed(frame, column, where)
    elif is_category(series):
        rows, entries = codes(series)
        numbers = [float(entry) if is_number(entry) else np.nan for entry in entries]  # text stands in no row
        array = np.array([*numbers, np.nan])[rows]
    else:
        array = real_numbers(frame.called(column.label), entries_of(series), where)
    return np.asarray(array, np.float64)[:, None]


def _as_categories(frame: Frame, column: Column, where: Where) -> Array:
    """A column of categories (rows, categories): 1 for the one that stands in the row, NaN where none does."""
    series = frame.column(column.label)
    rows, entries = codes(series) if is_category(series) else (np.arange(frame.rows), series.to_list())
    places = {category: i for i, category in enumerate(column.categories)}
    found = [places.get(e, -2) if isinstance(e, str) else -1 if is_missing(e) else -2 for e in entries]
    at = np.array([*found, -1], np.int64)[rows]
    if (at == -2).any():
        row = int((at == -2).argmax())
        raise ValueError(
            f"{frame.title} must hold categories that fit saw in {frame.called(column.label)}: "
            f"{few(column.categories)}. Got {show(entries[rows[row]])} at {where((row,))}."
        )
    array = np.zeros((frame.rows, len(column.categories)))
    array[at >= 0, at[at >= 0]] = 1
    array[at < 0] = np.nan
    return array


def _changed(frame: Frame, before: Column, where: Where) -> DtypeError:
    """The error of a column that holds something else than before."""
    must = f"categories: {few(before.categories)}" if before.kind == "category" else "numbers"
    return DtypeError(
        f"{frame.title} must hold {must} in {frame.called(before.label)}, as before. "
        f"Got {first_entry(frame.column(before.label), where)}."
    )


def _refused(frame: Frame, column: nw.Series[Any], label: Hashable, entry: Any, place: str) -> DtypeError:
    ways = {"pandas": 'astype("category")', "polars": "cast(pl.Categorical)", "pyarrow": "dictionary_encode()"}
    way = ways.get(library(frame.native).__name__, "a cast")
    hint = f"; {way} makes categories of text" if isinstance(entry, str) and not is_category(column) else ""
    return DtypeError(
        f"{frame.title} must hold numbers, truth values or categories in {frame.called(label)}. "
        f"Got {show(entry)} at {place}{hint}."
    )
