"""What a file holds of pandas, polars and Arrow: time zones, dates, steps, dtypes, tables and columns without rows.

A row is what `elman.estimators.values.Kind` says: which values, how one is written, how it is read. The dtype of a
column is told by its name where that tells all of it, else by its parts.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta, timezone, tzinfo
from importlib import import_module
from typing import Any

import numpy as np

from elman.checks import FormatError, MissingExtraError, show
from elman.tables.places import has
from elman.tables.zones import zone_name

Row = tuple[Callable[[Any], bool], Callable[[Any, Any, str], Any], Callable[[Any, Any], Any]]


#: The libraries that are imported for what a file names.
_LIBRARIES = (
    *("dateutil.tz", "pandas", "pandas.api.types", "pandas.tseries.offsets", "polars", "pyarrow", "pytz", "zoneinfo"),
)


def _module(name: str) -> Any:
    if name not in _LIBRARIES:
        raise FormatError(f"a library must be one of {', '.join(_LIBRARIES)}. Got {show(name)}.")
    try:
        return import_module(name)
    except ImportError:
        raise MissingExtraError(f"{name} must be installed to load what was fitted with it. Got none.") from None


def _is(module: str, *names: str) -> Callable[[Any], bool]:
    """Whether a value is of one of these classes of a library."""
    return lambda value: (
        type(value).__name__ in names and type(value).__module__.partition(".")[0].lstrip("_") == module
    )


def _refuse(value: Any, place: str) -> FormatError:
    return FormatError(f"{place} must be of a kind that a file can hold. Got {type(value).__name__}: {show(value)}.")


# Time zones.


def _write_zone(writer: Any, zone: tzinfo, place: str) -> Any:
    home = type(zone).__module__.partition(".")[0]
    if type(zone) is timezone:
        return [home, writer.write(zone.__getinitargs__(), place)]  # type: ignore[attr-defined]  # for pickles
    told: list[Any] = [home, zone_name(zone)]
    if home == "pytz" and getattr(zone, "zone", None) is None:
        told = [home, int((zone.utcoffset(None) or timedelta()).total_seconds()) // 60]
    try:
        again = _read_zone(None, told)
    except (KeyError, ValueError, OSError):
        again = None
    if again is None or zone_name(again) != zone_name(zone):
        raise _refuse(zone, place)
    return told


def _read_zone(reader: Any, held: Any) -> Any:
    home, name = held
    if home == "datetime":
        return timezone(*reader.read(name))
    if home == "pytz":
        return _module("pytz").timezone(name) if isinstance(name, str) else _module("pytz").FixedOffset(name)
    if home == "dateutil":
        zones = _module("dateutil.tz")
        return zones.UTC if name == "UTC" else zones.gettz(name)
    return _module("zoneinfo").ZoneInfo(name)


ZONES: dict[str, Row] = {"zone": (lambda value: isinstance(value, tzinfo), _write_zone, _read_zone)}


# Dates and steps of pandas and NumPy.


def _write_offset(writer: Any, offset: Any, place: str) -> Any:
    told = [type(offset).__name__, offset.n, offset.normalize]
    try:
        same = _offset(told, offset.kwds) == offset
    except (AttributeError, TypeError, ValueError):
        same = False
    if not same:
        raise _refuse(offset, place)
    return [*told, writer.write(dict(offset.kwds), place)]


def _read_offset(reader: Any, held: Any) -> Any:
    return _offset(held[:3], reader.read(held[3]))


def _offset(told: list[Any], options: dict[str, Any]) -> Any:
    """A step of pandas, as `pd.offsets.BMonthEnd()`, made of its class and its options."""
    name, n, normalize = told
    kind = getattr(_module("pandas.tseries.offsets"), name)
    if not issubclass(kind, _module("pandas").tseries.offsets.BaseOffset):
        raise FormatError(f"an offset must be one of pandas. Got {name}.")
    return kind(n, normalize, **options)


def _stamp(kind: str) -> Row:
    """A Timestamp or Timedelta of pandas."""

    def read(reader: Any, held: Any) -> Any:
        value, zone = map(reader.read, held)
        stamp = getattr(_module("pandas"), kind)(value)
        return stamp if zone is None else stamp.tz_localize("UTC").tz_convert(zone)

    return (
        _is("pandas", kind),
        lambda writer, value, place: [
            writer.write(value.asm8, place),
            writer.write(getattr(value, "tzinfo", None), place),
        ],
        read,
    )


# Dtypes, columns and tables.

#: Dtypes of which a name tells not all: their library, their parts, and what makes one of these.
_PARTS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "ArrowDtype": ("pandas", ("pyarrow_dtype",), "ArrowDtype"),
    "CategoricalDtype": ("pandas", ("categories", "ordered"), "CategoricalDtype"),
    "DatetimeTZDtype": ("pandas", ("unit", "tz"), "DatetimeTZDtype"),
    "StringDtype": ("pandas", ("storage", "na_value"), "StringDtype"),
    "Datetime": ("polars", ("time_unit", "time_zone"), "Datetime"),
    "Decimal": ("polars", ("precision", "scale"), "Decimal"),
    "Duration": ("polars", ("time_unit",), "Duration"),
    "Enum": ("polars", ("categories",), "Enum"),
    "Decimal128Type": ("pyarrow", ("precision", "scale"), "decimal128"),
    "Decimal256Type": ("pyarrow", ("precision", "scale"), "decimal256"),
    "FixedSizeBinaryType": ("pyarrow", ("byte_width",), "binary"),
    "DictionaryType": ("pyarrow", ("index_type", "value_type", "ordered"), "dictionary"),
    "TimestampType": ("pyarrow", ("unit", "tz"), "timestamp"),
}


def _home(value: Any) -> str:
    """The library of a dtype, a column or a table."""
    return type(value).__module__.partition(".")[0]


def _is_dtype(value: Any) -> bool:
    return _home(value) in ("pandas", "polars", "pyarrow") and any(
        base.__name__ in ("ExtensionDtype", "DataType", "DataTypeClass") for base in type(value).__mro__
    )


def _write_dtype(writer: Any, dtype: Any, place: str) -> Any:
    home, kind = _home(dtype), type(dtype).__name__
    if kind in _PARTS:
        parts = [getattr(dtype, name) for name in _PARTS[kind][1]]
        return [kind, *writer.each([part.to_list() if _home(part) == "polars" else part for part in parts], place)]
    try:
        same = _named(home, str(dtype)) == dtype
    except (TypeError, ValueError, AttributeError, NotImplementedError):
        same = False
    if not same:
        raise _refuse(dtype, place)
    return [home, str(dtype)]


def _read_dtype(reader: Any, held: Any) -> Any:
    kind, *parts = held
    if kind not in _PARTS:
        return _named(kind, *parts)
    home, _, make = _PARTS[kind]
    return getattr(_module(home), make)(*map(reader.read, parts))


def _named(home: str, name: str) -> Any:
    """A dtype of a name."""
    if home == "pandas":
        return _module("pandas.api.types").pandas_dtype(name)
    if home != "polars":
        return _module("pyarrow").type_for_alias(name)
    kind = getattr(_module(home), name)
    if not issubclass(kind, _module(home).DataType):
        raise FormatError(f"a dtype must be one of polars. Got {name}.")
    return kind()


def _write_index(writer: Any, index: Any, place: str) -> Any:
    dated = index.dtype.kind in "mM" and type(index.dtype).__name__ != "PeriodDtype"
    parts = [index.tolist(), index.dtype, index.name, getattr(index, "freq", None) if dated else None]
    return writer.each(parts, place)


def _read_index(reader: Any, held: Any) -> Any:
    values, dtype, name, freq = map(reader.read, held)
    index = _module("pandas").Index(values, dtype=dtype, name=name, tupleize_cols=False)
    if freq is not None:
        index.freq = freq
    return index


def _empty(home: str, dtype: Any) -> Any:
    """A column without rows."""
    if home == "pyarrow":
        return _module(home).chunked_array([], type=dtype)
    return _module(home).Series([], dtype=dtype)


def _dtype(column: Any) -> Any:
    return column.type if has(column, "type") else column.dtype


def _write_table(writer: Any, table: Any, place: str) -> Any:
    home = _home(table)
    if home != "pandas":
        names = list(table.columns if home == "polars" else table.column_names)
        dtypes = [_dtype(table.get_column(name) if home == "polars" else table.column(name)) for name in names]
        return [home, names, writer.each(dtypes, place)]
    header, index = table.columns, table.index
    levels = [index.get_level_values(i) for i in range(index.nlevels)]
    parts = [header.tolist(), list(table.dtypes), header.nlevels, list(header.names), list(index.names)]
    kinds = None if type(index).__name__ == "RangeIndex" else [level.dtype for level in levels]
    return [home, *writer.each([*parts, kinds], place)]


def _read_table(reader: Any, held: Any) -> Any:
    home, labels, dtypes, *more = held[:1] + [reader.read(part) for part in held[1:]]
    if home != "pandas":
        columns = [_empty(home, dtype) for dtype in dtypes]
        table = dict(zip(labels, columns, strict=True))
        return _module("polars").DataFrame(table) if home == "polars" else _module(home).table(table)
    pandas, (levels, names, of_index, kinds) = _module("pandas"), more
    table = pandas.DataFrame({i: _empty(home, dtype) for i, dtype in enumerate(dtypes)})
    if levels > 1:
        table.columns = pandas.MultiIndex.from_arrays(list(zip(*labels, strict=True)) or [()] * levels, names=names)
    else:
        table.columns = pandas.Index(labels, name=names[0], tupleize_cols=False)
    made = [pandas.Index([], dtype=dtype) for dtype in kinds or ()]
    if len(made) > 1:
        table.index = pandas.MultiIndex.from_arrays(made, names=of_index)
    else:
        table.index = pandas.Index(made[0] if made else range(0), name=of_index[0])
    return table


def _is_empty(*names: str) -> Callable[[Any], bool]:
    return lambda value: (
        _home(value) in ("pandas", "polars", "pyarrow") and type(value).__name__ in names and not len(value)
    )


NATIVES: dict[str, Row] = {
    "Timestamp": _stamp("Timestamp"),
    "Timedelta": _stamp("Timedelta"),
    "Period": (
        _is("pandas", "Period"),
        lambda writer, value, place: [value.ordinal, _write_offset(writer, value.freq, place)],
        lambda reader, held: _module("pandas").Period(ordinal=held[0], freq=_read_offset(reader, held[1])),
    ),
    "Interval": (
        _is("pandas", "Interval"),
        lambda writer, value, place: writer.each([value.left, value.right, value.closed], place),
        lambda reader, held: _module("pandas").Interval(*map(reader.read, held)),
    ),
    "NA": (_is("pandas", "NAType"), lambda *_: None, lambda *_: _module("pandas").NA),
    "offset": (lambda value: has(value, "rollforward"), _write_offset, _read_offset),
    "calendar": (
        lambda value: isinstance(value, np.busdaycalendar),
        lambda writer, value, place: [value.weekmask.tolist(), writer.write(value.holidays, place)],
        lambda reader, held: np.busdaycalendar(held[0], reader.read(held[1])),
    ),
    "type": (_is_dtype, _write_dtype, _read_dtype),
    "index": (lambda value: has(value, "inferred_type") and _home(value) == "pandas", _write_index, _read_index),
    "table": (_is_empty("DataFrame", "Table"), _write_table, _read_table),
    "column": (
        _is_empty("Series", "ChunkedArray"),
        lambda writer, value, place: [_home(value), writer.write(_dtype(value), place)],
        lambda reader, held: _empty(held[0], reader.read(held[1])),
    ),
}
