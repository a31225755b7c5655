"""The time of the rows of a table, in every kind in which tables hold it, as arrays of NumPy; and back in that kind.

instants and dates   datetime64, in UTC where there is a time zone, else as written
durations            timedelta64
periods              their ordinal numbers
whole numbers        int64
text                 ISO 8601 in one format, as instants or dates
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, Literal

import narwhals as nw
import numpy as np

from elman.checks import Array, DtypeError, is_whole
from elman.tables.frames import Level, emptied, is_category, library, like
from elman.tables.iso import Iso, offset
from elman.tables.places import has, show
from elman.tables.zones import zone_name

Kind = Literal["instant", "date", "period", "duration", "number", "text"]

_WHOLE = (nw.Int8, nw.Int16, nw.Int32, nw.Int64, nw.UInt8, nw.UInt16, nw.UInt32, nw.UInt64)
_MUST = "dates, times, periods, durations, whole numbers, or text in ISO 8601 (2024-01-31, 2024-01-31T09:30)"


@dataclass(frozen=True, eq=False)
class Stamps:
    """The time of rows, (rows,)."""

    values: Array
    zone: tzinfo | None = None
    stated: Any = None  #: a frequency that the data itself states, else None
    kind: Kind = "instant"
    column: Any = None  #: a column of the kind that came, without rows
    entry: Any = None  #: the first of entries that are objects: a date of Python, a text in its format

    @classmethod
    def read(cls, name: str, label: Hashable, column: nw.Series[Any], stated: Any = None) -> Stamps:
        """The stamps of a column of the table `name`.

        Raises `ValueError` or `DtypeError`, naming the row, where there is none, or none of the kind and time zone of
        the rows before it, or text in another format.
        """
        called = f"{label if isinstance(label, Level) else f'the column {label!r}'} of {name}"
        missing = np.asarray(column.is_null().to_numpy(), bool)
        if missing.any():
            row = int(missing.argmax())
            raise ValueError(f"{called} must hold a stamp in every row. Got none at row {row}.")
        kind = time_kind(column)
        if kind is None:
            native, entries = column.to_native(), column.head(1).to_list()
            dtype = native.type if has(native, "type") else native.dtype
            got = f"{show(entries[0])} at row 0, in a column of dtype {dtype}" if entries else "no rows"
            raise DtypeError(f"{called} must hold {_MUST}. Got {got}.")
        column = _without_categories(column)
        native = column.to_native()
        found = cls(np.empty(0), stated=stated, kind=kind, column=emptied(native))
        if _is_object(column):
            return found._of_entries(called, column.to_list())
        if kind == "period":
            return replace(found, values=native.astype("int64").to_numpy(), stated=native.dtype.freq)
        if kind == "number":
            return replace(found, values=_whole(called, column.to_numpy()))
        if kind == "date":
            return replace(found, values=column.to_numpy().astype("M8[D]"))
        unit, zone = _unit_and_zone(called, native)
        counts = native.astype("int64").to_numpy() if has(native, "iloc") else column.cast(nw.Int64).to_numpy()
        return replace(found, values=counts.astype(f"{'m' if kind == 'duration' else 'M'}8[{unit}]"), zone=zone)

    def _of_entries(self, called: str, entries: list[Any]) -> Stamps:
        """The stamps of a column of Python's objects, or of text."""
        kind = self.kind
        kinds = {type(entry): _entry_kind(entry) for entry in entries}
        if set(kinds.values()) != {kind}:
            row = next(i for i, entry in enumerate(entries) if kinds[type(entry)] != kind)
            got = f"{show(entries[row])} at row {row} after {show(entries[0])} at row 0"
            raise DtypeError(f"{called} must hold entries of one kind. Got {got}.")
        if kind == "text":
            iso = Iso.read(called, entries[0])
            return replace(self, values=iso.parse(called, entries), zone=iso.zone, entry=str(entries[0]))
        zones = [entry.tzinfo for entry in entries] if kind == "instant" else [None]
        distinct = {id(zone): zone for zone in zones}  # pytz has many objects for one
        names = {i: "no time zone" if zone is None else zone_name(zone) for i, zone in distinct.items()}
        if len(set(names.values())) > 1:
            row = next(i for i, zone in enumerate(zones) if names[id(zone)] != names[id(zones[0])])
            told = [f"{show(str(entries[i]))} at row {i} ({names[id(zones[i])]})" for i in (row, 0)]
            raise ValueError(f"{called} must have one time zone. Got {told[0]} after {told[1]}.")
        values = _values(kind, entries)
        values = _whole(called, values) if kind == "number" else values
        stated = entries[0].freq if kind == "period" else self.stated
        if kind == "period" and any(entry.freq != stated for entry in entries):
            row = next(i for i, entry in enumerate(entries) if entry.freq != stated)
            raise ValueError(f"{called} must have one frequency. Got {entries[row].freqstr} at row {row}.")
        return replace(self, values=values, zone=zones[0], stated=stated, entry=entries[0])

    def empty(self) -> Stamps:
        """The kind of the stamps, without values."""
        return replace(self, values=self.values[:0])

    def native(self, values: Array) -> Any:
        """Stamps as a column of the library and kind that came; `values` are like those of `values`."""
        if self.entry is not None:
            return like(self.column, self._entries(values))
        if self.kind == "period":
            home = library(self.column)
            return home.Series(home.PeriodIndex.from_ordinals(values, freq=self.stated))
        dtype = self.column.type if has(self.column, "type") else self.column.dtype
        if self.kind == "number" and not _fits(values, nw.from_native(self.column, series_only=True).to_numpy().dtype):
            return like(self.column, values)
        if has(self.column, "iloc"):
            column = like(self.column, values)
            column = column if self.zone is None else column.dt.tz_localize("UTC").dt.tz_convert(self.zone)
            return column.astype(dtype)
        if self.kind == "date" and str(dtype) != "date64[ms]":
            counts = values.astype("M8[D]").astype(np.int32)
        else:
            counts = (values.astype("M8[ms]") if self.kind == "date" else values).astype(np.int64)
        return like(self.column, counts).cast(dtype)

    def _entries(self, values: Array) -> list[Any]:
        """Stamps as Python's objects like the first entry, or as text in its format."""
        kind = type(self.entry)
        if self.kind == "text":
            return Iso.read("", self.entry).write(values)
        if self.kind == "period":
            return [kind(ordinal=int(value), freq=self.stated) for value in values]
        if has(kind, "asm8"):  # a Timestamp or Timedelta of pandas
            stamps = [kind(value) for value in values]
            if self.zone is not None:
                stamps = [stamp.tz_localize("UTC").tz_convert(self.zone) for stamp in stamps]
            return stamps
        unit = {"instant": "M8[us]", "date": "M8[D]", "duration": "m8[us]"}.get(self.kind, "i8")
        stamps = values.astype(unit).tolist()
        if self.zone is not None:
            stamps = [stamp.replace(tzinfo=UTC).astimezone(self.zone) for stamp in stamps]
        return stamps

    def like(self, other: Stamps, name: str) -> Array:
        """The values (rows,), of the table `name`, as the other stamps have theirs: of their kind and unit.

        Raises `ValueError` where they are of another kind, or only one of both has a time zone.
        """
        dated = {"instant", "date", "text"}
        same = self.kind == other.kind or {self.kind, other.kind} <= dated
        same &= self.kind != "period" or self.stated == other.stated
        if not same or (self.zone is None) != (other.zone is None):
            must = f"{name} must have stamps {'like' if same else 'of the kind of'} the series, {_told(other)}"
            raise ValueError(f"{must}. Got {_told(self)}.")
        values = self.values.astype(other.values.dtype)
        wrong = values.astype(self.values.dtype) != self.values
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(
                f"{name} must have stamps in the unit of the series, {np.datetime_data(values.dtype)[0]}. "
                f"Got {self.values[row]} at row {row}."
            )
        return values


def time_kind(column: nw.Series[Any]) -> Kind | None:
    """Which kind of time a column holds, as its dtype or its first entry tells; None where it holds none."""
    if is_category(column):
        column = _without_categories(column.drop_nulls().head(1))
    dtype, native = column.dtype, column.to_native()
    if dtype in _WHOLE:
        return "number"
    if dtype == nw.Date or str(getattr(native, "type", "")) == "date64[ms]":
        return "date"
    own = getattr(native, "dtype", None)
    kind = getattr(own, "kind", "") if has(native, "iloc") else ""
    if isinstance(dtype, nw.Datetime) or kind == "M":
        return "instant"
    if isinstance(dtype, nw.Duration) or kind == "m":
        return "duration"
    if type(own).__name__ == "PeriodDtype":
        return "period"
    if not _is_object(column):
        return None
    first = column.drop_nulls().head(1).to_list()
    kind = _entry_kind(first[0]) if first else None
    return None if kind == "text" and not Iso.fits(first[0]) else kind


def is_dated(column: nw.Series[Any]) -> bool:
    """Whether a column holds time that no other numbers are: dates, periods, durations, text in ISO 8601."""
    return time_kind(column) not in (None, "number")


def _without_categories(column: nw.Series[Any]) -> nw.Series[Any]:
    """A column of what its categories are, for the stamps of a forecast are none of them."""
    if not is_category(column):
        return column
    native = column.to_native()
    if has(native, "cat") and has(native.cat, "categories"):  # pandas
        return nw.from_native(native.astype(native.cat.categories.dtype), series_only=True)
    if has(native, "type"):  # Arrow
        return nw.from_native(native.cast(native.type.value_type), series_only=True)
    return column.cast(nw.String)


def _is_object(column: nw.Series[Any]) -> bool:
    return column.dtype in (nw.Object, nw.String)


def _entry_kind(entry: Any) -> Kind | None:
    if isinstance(entry, str):
        return "text"
    if isinstance(entry, datetime):
        return "instant"
    if isinstance(entry, date):
        return "date"
    if isinstance(entry, timedelta):
        return "duration"
    if has(entry, "ordinal") and has(entry, "freqstr"):
        return "period"
    return "number" if is_whole(entry) else None


def _values(kind: Kind, entries: list[Any]) -> Array:
    """Entries of one kind as an array, instants in UTC where they have a zone."""
    if kind == "period":
        return np.array([entry.ordinal for entry in entries], np.int64)
    if all(has(kind, "asm8") for kind in set(map(type, entries))):  # of pandas
        return np.array([entry.asm8 for entry in entries])
    if kind == "instant" and entries[0].tzinfo is not None:
        entries = [entry.astimezone(UTC).replace(tzinfo=None) for entry in entries]
    dtypes = {"instant": "M8[us]", "date": "M8[D]", "duration": "m8[us]"}
    return np.array(entries, dtypes.get(kind))


def _unit_and_zone(called: str, native: Any) -> tuple[str, tzinfo | None]:
    """The unit and the time zone of a column of instants or durations, asked of its own library.

    narwhals does not read every name of a zone, and pandas has zones without a name.
    """
    dtype = native.type if has(native, "type") else native.dtype
    dtype = getattr(dtype, "pyarrow_dtype", dtype)
    unit = getattr(dtype, "unit", None) or getattr(dtype, "time_unit", None) or np.datetime_data(dtype)[0]
    zone = getattr(dtype, "tz", None) or getattr(dtype, "time_zone", None)
    return str(unit), named_zone(called, zone) if isinstance(zone, str) else zone


def named_zone(called: str, name: str) -> tzinfo:
    """The time zone of a name, "Europe/Berlin", or of an offset, "+01:00"."""
    from zoneinfo import ZoneInfo

    try:
        return offset(name) if name[:1] in ("+", "-") else ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(
            f"{called} must be in a time zone that Python knows; on Windows the package tzdata has them. Got {name!r}."
        ) from None


def _whole(called: str, values: Array) -> Array:
    limits = np.iinfo(np.int64)
    wrong = (values < limits.min) | (values > limits.max) if values.dtype.kind in "uO" else np.zeros(0, bool)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(f"{called} must hold whole numbers up to {limits.max}. Got {values[row]} at row {row}.")
    return values.astype(np.int64)


def _fits(values: Array, dtype: Any) -> bool:
    """Whether whole numbers can be of a dtype."""
    limits = np.iinfo(dtype)
    return not values.size or (int(values.min()) >= limits.min and int(values.max()) <= limits.max)


def _told(stamps: Stamps) -> str:
    """The kind of stamps in words."""
    kind = {"instant": "times", "text": "times", "number": "whole numbers"}.get(stamps.kind, f"{stamps.kind}s")
    zone = f" in {zone_name(stamps.zone)}" if stamps.zone is not None else ""
    dated = stamps.kind in ("instant", "date", "text") and stamps.zone is None
    stated = f" of {getattr(stamps.stated, 'freqstr', stamps.stated)}" if stamps.kind == "period" else ""
    return f"{kind}{zone}{' without a time zone' if dated else ''}{stated}"
