"""Random tables for tests: calendars near changes of the clock, and columns of all kinds in three libraries."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

import elman

WINDOW = 4
ZONES = {  # and a day on which the clock changes there
    None: "2024-03-31",
    "UTC": "2024-02-29",
    "Etc/GMT+5": "2024-12-31",
    "Europe/Berlin": "2024-03-31",
    "Europe/London": "2023-10-29",
    "America/New_York": "2024-11-03",
    "America/St_Johns": "2024-03-10",
    "America/Sao_Paulo": "2018-11-04",  # at midnight
    "America/Santiago": "2023-09-03",  # at midnight
    "Africa/Cairo": "2023-04-28",  # at midnight
    "Asia/Beirut": "2022-03-27",  # at midnight
    "Asia/Kolkata": "2024-06-01",
    "Asia/Kathmandu": "2024-06-01",
    "Australia/Lord_Howe": "2024-10-06",  # by half an hour
    "Pacific/Chatham": "2024-04-07",
}
SHORT = ["s", "5s", "min", "15min", "30min", "h", "2h", "6h"]  # the same time everywhere
DAYS = ["D", "2D", "W-SUN", "W-WED", "2W-SAT", "MS", "ME", "QS", "QE-NOV", "2MS", "YS", "YE", "YE-JUN"]  # of a calendar
UNITS = ["s", "ms", "us", "ns"]


def forecaster(horizon, **settings):
    fixed = {"window": WINDOW, "hidden": 2, "epochs": 1, "patience": None, "random_state": 0, "validation_fraction": 0}
    return elman.Forecaster(horizon, **{**fixed, **settings})


def in_zone(naive, zone):
    """Wall time in a zone; an hour that does not exist is moved on, of one that comes twice it is the first."""
    gap = pd.Timedelta(minutes=30 if zone == "Australia/Lord_Howe" else 60)
    return naive.tz_localize(zone, ambiguous=np.ones(len(naive), bool), nonexistent=gap) if zone else naive


def calendar(rng, count, short=SHORT, days=DAYS):
    """Stamps in equal steps, often near a change of the clock, and the name of the step."""
    zone = list(ZONES)[rng.integers(len(ZONES))]
    day = pd.Timestamp(ZONES[zone])
    freq = str(rng.choice([*short, *days]))
    if freq in short:
        step = pd.Timedelta(pd.tseries.frequencies.to_offset(freq))
        start = in_zone(pd.DatetimeIndex([day + pd.Timedelta(hours=12)]), zone)[0]
        start -= step * int(rng.integers(count + 6)) + pd.Timedelta(minutes=int(rng.integers(2)) * 7)
        stamps = start + step * np.arange(count)
    else:
        hours = pd.Timedelta(minutes=int(rng.choice([0, 0, 0, 30, 150, 720])))
        first = day - pd.Timedelta(days=int(rng.integers(count + 6)))
        stamps = in_zone(pd.date_range(first, periods=count, freq=freq) + hours, zone)
    return pd.DatetimeIndex(stamps).as_unit(str(rng.choice(UNITS))), freq


def values_of(rng, count):
    return rng.integers(-80, 800, count) / 8


def zone_of(stamps):
    return None if stamps.tz is None else str(stamps.tz)


# One column of stamps in three libraries, and back to counts.


def stamps_in(library, stamps):
    if library == "pandas":
        return pd.Series(stamps)
    if library == "pandas of Arrow":
        return pd.Series(stamps).astype(pd.ArrowDtype(pa.timestamp(stamps.unit, zone_of(stamps))))
    if library == "objects":
        return pd.Series([stamp.to_pydatetime(warn=False) for stamp in stamps], dtype=object)
    if library == "Arrow":
        return pa.array(stamps.asi8, pa.timestamp(stamps.unit, zone_of(stamps)))
    unit = "ms" if stamps.unit == "s" else stamps.unit
    column = pl.Series("", stamps.as_unit(unit).asi8).cast(pl.Datetime(unit, None if stamps.tz is None else "UTC"))
    return column if stamps.tz is None else column.dt.convert_time_zone(zone_of(stamps))


def check_stamps(found, want, library):
    """The stamps are those wanted, of the type of the column that was given."""
    given = stamps_in(library, want)
    if library in ("Arrow",):
        assert found.type == given.type
        assert found.to_pylist() == given.to_pylist()
    elif library == "objects":
        assert [str(stamp) for stamp in found] == [str(stamp) for stamp in given]
    else:
        assert found.dtype == given.dtype
        assert found.to_list() == given.to_list()


def table_in(library, columns):
    if library == "polars":
        return pl.DataFrame(columns)
    if library == "Arrow":
        return pa.table(columns)
    return pd.DataFrame(columns)


LIBRARIES = ["pandas", "pandas of Arrow", "objects", "polars", "Arrow"]


def one_series(rng, stamps, values):
    """The series in one of its forms, what to say of it, and how to take stamps and numbers off its forecasts."""
    form = str(rng.choice(["series", "frame", *LIBRARIES]))
    if form in ("series", "frame"):
        index = stamps if rng.integers(2) else pd.DatetimeIndex(list(stamps)).as_unit(stamps.unit)
        series = pd.Series(values, index=index, name="y")
        table = series if form == "series" else series.to_frame()
        return form, table, {}, lambda found: (found.index, found if form == "series" else found["y"])
    columns = {"when": stamps_in(form, stamps), "y": values}
    if rng.integers(2):
        columns = dict(reversed(columns.items()))
    return form, table_in(form, columns), {"time": "when"}, lambda found: (found["when"], found["y"])


# Columns of all kinds.


def column_in(library, kind, entries):
    if kind == "stamps":
        return stamps_in(library, entries)
    if kind == "category":
        if library == "polars":
            return pl.Series(entries, dtype=pl.Categorical)
        return pd.Series(entries, dtype="category") if library == "pandas" else pa.array(entries).dictionary_encode()
    if kind == "decimal":
        decimals = [Decimal(f"{x:.3f}") for x in entries]
        if library == "polars":
            return pl.Series(decimals, dtype=pl.Decimal(12, 3))
        return pd.Series(decimals, dtype=object) if library == "pandas" else pa.array(decimals, pa.decimal128(12, 3))
    if kind == "nullable" and library == "pandas":
        return pd.Series(entries, dtype="Int64")
    return entries


def table_of(library, columns):
    """A table of columns by name, each (kind, entries)."""
    return table_in(library, {name: column_in(library, *column) for name, column in columns.items()})


def shuffled(rng, columns, by=None):
    """The columns and the rows in another order; series come as before, because networks are trained in their order."""
    order = rng.permutation(len(next(iter(columns.values()))[1]))
    if by is not None:
        names = columns[by][1]
        heads = [next(row for row in order if names[row] == name) for name in dict.fromkeys(names.tolist())]
        order = np.r_[heads, [row for row in order if row not in heads]].astype(int)
    return {str(name): (columns[name][0], columns[name][1][order]) for name in rng.permutation(list(columns))}


def draw_columns(rng, count):
    """Some columns of all kinds by name, and the numbers that a network reads of them, (count, columns)."""
    kinds = {
        "number": lambda: values_of(rng, count),
        "whole": lambda: rng.integers(-9, 9, count),
        "nullable": lambda: rng.integers(-9, 9, count),
        "decimal": lambda: values_of(rng, count),
        "truth": lambda: rng.random(count) < 0.5,
        "category": lambda: rng.choice(["ash", "beech", "yew"], count),
    }
    chosen = rng.choice(list(kinds), int(rng.integers(1, 5)), replace=False)
    columns = {f"{kind} column": (kind, kinds[kind]()) for kind in map(str, chosen)}
    return columns, numbers_of(columns)


def numbers_of(columns, categories=None):
    """A category is one column of 0 and 1 per category."""
    read = []
    for kind, entries in columns.values():
        own = np.unique(entries) if categories is None else categories
        read += [entries == c for c in own] if kind == "category" else [entries]
    return np.stack([np.asarray(part, np.float64) for part in read], 1)
