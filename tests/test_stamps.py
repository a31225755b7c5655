"""Time stamps in every kind in which tables hold them: read, and written back in that kind."""

from __future__ import annotations

import datetime as dt
import pickle
from zoneinfo import ZoneInfo

import numpy as np
import pytest

pytest.importorskip("narwhals")
pytest.importorskip("pandas")
pytest.importorskip("polars")
pytest.importorskip("pyarrow")

import pandas as pd
import polars as pl
import pyarrow as pa

from elman.checks import DtypeError
from elman.tables.frames import Frame, Level
from elman.tables.stamps import Stamps, time_kind

ZONES = [None, "Europe/Berlin", "America/New_York", "Etc/GMT+5", "Asia/Kolkata", "US/Eastern", "UTC"]


def read(table, label="day"):
    frame = Frame.read("the table", table)
    return Stamps.read("the table", label, frame.column(label), frame.stated(label))


def check(stamps, values, zone, native):
    """The stamps hold these values, and give back the column that came."""
    assert stamps.values.dtype.kind == values.dtype.kind
    np.testing.assert_array_equal(stamps.values, values)
    moment = dt.datetime(2024, 7, 1, 12)
    offset = None if stamps.zone is None else stamps.zone.utcoffset(moment)
    assert offset == (None if zone is None else ZoneInfo(zone).utcoffset(moment))
    kept = pickle.loads(pickle.dumps(stamps.empty()))
    assert kept.values.shape == (0,)
    back = kept.native(stamps.values)
    assert type(back) is type(native)
    if isinstance(native, pl.Series):
        assert back.dtype == native.dtype
        assert back.to_list() == native.to_list()
    elif isinstance(native, pd.Series):
        pd.testing.assert_series_equal(back, native.rename(None), check_freq=False)
    else:
        assert back.equals(native)


@pytest.mark.parametrize("seed", range(60))
def test_instants_of_every_zone_and_unit_in_every_library(seed):
    rng = np.random.default_rng(seed)
    zone, unit = ZONES[seed % len(ZONES)], rng.choice(["s", "ms", "us", "ns"])
    seconds = np.sort(rng.choice(np.arange(1.6e9, 1.8e9, 60), int(rng.integers(1, 9)), replace=False)).astype(np.int64)
    utc = seconds.astype("M8[s]").astype(f"M8[{unit}]")
    wide = pd.Series(utc) if zone is None else pd.Series(utc).dt.tz_localize("UTC").dt.tz_convert(zone)
    check(read(pd.DataFrame({"day": wide})), utc, zone, wide)
    arrow = pa.chunked_array([pa.array(utc.astype(np.int64)).cast(pa.timestamp(unit, zone))])
    check(read(pa.table({"day": arrow})), utc, zone, arrow)
    in_arrow = pd.Series(arrow.to_pandas(types_mapper=None)).astype(pd.ArrowDtype(arrow.type))
    check(read(pd.DataFrame({"day": in_arrow})), utc, zone, in_arrow)
    if unit != "s":
        polars = pl.Series(utc.astype(np.int64)).cast(pl.Datetime(str(unit), zone))
        check(read(pl.DataFrame({"day": polars})), utc, zone, polars)


def objects(values):
    return pd.Series(values, dtype=object)


DAYS = [dt.date(2024, 1, 31), dt.date(2024, 2, 29), dt.date(2024, 3, 31)]
BERLIN = ZoneInfo("Europe/Berlin")
TIMES = [dt.datetime(2024, 3, 31, hour, 30) for hour in (0, 1, 4)]
AWARE = [time.replace(tzinfo=BERLIN) for time in TIMES]
UTC = np.array(["2024-03-30T23:30", "2024-03-31T00:30", "2024-03-31T02:30"], "M8[s]")
MONTHS = pd.period_range("2024-01", periods=3, freq="M")
WEEKS = pd.period_range("2024-01-01", periods=2, freq="W-TUE")
FIRSTS = np.array(["2024-01-01", "2025-01-01"], "M8[D]")
KINDS = {
    "dates of polars": (pl.Series(DAYS), "date", np.array(DAYS, "M8[D]"), None),
    "date32": (pa.chunked_array([pa.array(DAYS)]), "date", np.array(DAYS, "M8[D]"), None),
    "date64": (pa.chunked_array([pa.array(DAYS, pa.date64())]), "date", np.array(DAYS, "M8[D]"), None),
    "dates of Python": (objects(DAYS), "date", np.array(DAYS, "M8[D]"), None),
    "dates of Arrow in pandas": (
        pd.Series(DAYS, dtype=pd.ArrowDtype(pa.date32())), "date", np.array(DAYS, "M8[D]"), None,
    ),
    "datetimes of Python": (objects(TIMES), "instant", np.array(TIMES, "M8[us]"), None),
    "aware datetimes of Python": (objects(AWARE), "instant", UTC, "Europe/Berlin"),
    "timestamps of pandas": (objects(list(map(pd.Timestamp, AWARE))), "instant", UTC, "Europe/Berlin"),
    "timestamps without a zone": (objects(list(map(pd.Timestamp, TIMES))), "instant", np.array(TIMES, "M8[us]"), None),
    "months": (pd.Series(MONTHS), "period", np.arange(648, 651), None),
    "months as objects": (objects(list(MONTHS)), "period", np.arange(648, 651), None),
    "weeks": (pd.Series(WEEKS), "period", np.array([2818, 2819]), None),
    "timedelta64": (pd.Series(pd.to_timedelta([0, 90], unit="s")), "duration", np.array([0, 90], "m8[s]"), None),
    "durations of polars": (pl.Series([dt.timedelta(0), dt.timedelta(1)]), "duration", np.array([0, 1], "m8[D]"), None),
    "durations of Arrow": (pa.chunked_array([pa.array([dt.timedelta(1)])]), "duration", np.array([1], "m8[D]"), None),
    "durations of Python": (objects([dt.timedelta(1)]), "duration", np.array([1], "m8[D]"), None),
    "durations as objects of pandas": (objects([pd.Timedelta("1h")]), "duration", np.array([1], "m8[h]"), None),
    "whole numbers": (pd.Series([3, 5], dtype="int16"), "number", np.array([3, 5]), None),
    "nullable": (pd.Series([3, 5], dtype="Int64"), "number", np.array([3, 5]), None),
    "of polars": (pl.Series([3, 5], dtype=pl.UInt32), "number", np.array([3, 5]), None),
    "of Arrow": (pa.chunked_array([pa.array([3, 5], pa.int8())]), "number", np.array([3, 5]), None),
    "numbers as objects": (objects([3, 5]), "number", np.array([3, 5]), None),
    "text in pandas": (pd.Series(["2024-01-31", "2024-02-29"]), "text", np.array(DAYS[:2], "M8[D]"), None),
    "text in polars": (pl.Series(["2024-01", "2025-01"]), "text", FIRSTS, None),
    "text in Arrow": (pa.chunked_array([["2024"], ["2025"]]), "text", FIRSTS, None),
    "text with Z": (pl.Series(["2024-03-30T23:30Z", "2024-03-31T00:30Z"]), "text", UTC[:2], "UTC"),
    "text of India": (pl.Series(["2024-03-31 05:00:00.00+05:30"]), "text", UTC[:1], "Asia/Kolkata"),
}  # fmt: skip


@pytest.mark.parametrize(("column", "kind", "values", "zone"), KINDS.values(), ids=KINDS)
def test_kinds_of_time(column, kind, values, zone):
    table = {pd.Series: pd.DataFrame, pl.Series: pl.DataFrame}.get(type(column), pa.table)({"day": column})
    stamps = read(table)
    assert stamps.kind == kind
    assert time_kind(Frame.read("the table", table).column("day")) == kind
    check(stamps, values, zone, column)
    if kind == "period":
        assert stamps.stated == (column.iloc[0].freq)


@pytest.mark.parametrize("seed", range(60))
def test_text_is_read_as_numpy_reads_it_and_written_in_its_format(seed):
    rng = np.random.default_rng(seed)
    unit = rng.choice(["Y", "M", "D", "m", "s", "ms", "us", "ns"])
    count = int(rng.integers(1, 9))
    stamps = (rng.integers(-2_000_000_000, 4_000_000_000, count).astype("M8[s]")).astype(f"M8[{unit}]")
    texts = np.datetime_as_string(stamps, unit=unit)
    offset, shift = [("", 0), ("Z", 0), ("+05:30", 330), ("-0800", -480), ("+01", 60)][int(rng.integers(5))]
    if unit in "YMD":
        offset, shift = "", 0
    texts = [text.replace("T", rng.choice([" ", "T"]) if count == 1 else " ") + offset for text in texts.tolist()]
    for column in (pd.Series(texts), pl.Series(texts), pa.chunked_array([texts]), objects(texts)):
        table = {pd.Series: pd.DataFrame, pl.Series: pl.DataFrame}.get(type(column), pa.table)({"day": column})
        read_stamps = read(table)
        np.testing.assert_array_equal(read_stamps.values, stamps - np.timedelta64(shift, "m"))
        assert (read_stamps.zone is None) == (offset == "")
        check(read_stamps, read_stamps.values, None, column) if offset == "" else None
        assert list(Frame.read("x", read_stamps.native(read_stamps.values)).column("value").to_list()) == texts


FORMAT = "must hold text in ISO 8601, .* all in one format. Got "
WRONG = {
    "none": ([TIMES[0], None], ValueError, "must hold a stamp in every row. Got none at row 1."),
    "NaT": ([TIMES[0], pd.NaT], ValueError, "must hold a stamp in every row. Got none at row 1."),
    "zones": ([AWARE[0], AWARE[1].astimezone(dt.UTC)], ValueError, "must have one time zone. Got .* row 1 .UTC. after"),
    "naive beside aware": ([AWARE[0], TIMES[1]], ValueError, "must have one time zone. Got .* at row 1 .no time zone."),
    "kinds": ([TIMES[0], "2024-01-01"], DtypeError, "must hold entries of one kind. Got '2024-01-01' at row 1 after"),
    "dates beside times": ([DAYS[0], TIMES[0]], DtypeError, "must hold entries of one kind. Got .* at row 1 after"),
    "two formats": (["2024-01-31", "31/01/2024"], ValueError, FORMAT + "'31/01/2024' at row 1 after '2024-01-31'"),
    "lengths": (["2024-01-31", "2024-02"], ValueError, FORMAT + "'2024-02' at row 1 after '2024-01-31'"),
    "T beside a space": (["2024-01-31T00:00", "2024-01-31 00:00"], ValueError, FORMAT + ".* at row 1"),
    "offsets": (["2024-01-31T00:00+01:00", "2024-01-31T00:00+02:00"], ValueError, FORMAT + ".* at row 1"),
    "a long one": (["2024-01-31", "x" * 10**6], ValueError, FORMAT + "'x.*at row 1 after '2024-01-31'"),
    "no offset": (["2024-01-31T00:00+25:00"], DtypeError, "must hold .* at row 0"),
    "another format": (["31/01/2024", "01/02/2024"], DtypeError, "must hold .* ISO 8601 .* Got '31/01/2024' at row 0"),
    "no dates": (["2024-02-28", "2024-02-30"], ValueError, "must hold dates that exist. Got '2024-02-30' at row 1"),
    "no year": (["1066", "1067"], DtypeError, "must hold .* Got '1066' at row 0"),
    "other digits": (["\u0662024-01-01"], DtypeError, "must hold .* at row 0"),
    "too large": ([3, 2**70], ValueError, f"must hold whole numbers up to {2**63 - 1}. Got {2**70} at row 1"),
    "floats": ([0.5, 1.5], DtypeError, "must hold dates, times, .* Got 0.5 at row 0"),
    "truth": ([True, False], DtypeError, "must hold dates, times, .* Got True at row 0"),
    "lists": ([[1], [2]], DtypeError, r"must hold dates, times, .* Got \[1\] at row 0"),
    "beyond ns": (["1066-10-14T09:00:00.000000001"], ValueError, "must lie from 1678 to 2262"),
}  # fmt: skip


@pytest.mark.parametrize(("values", "error", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_time_is_refused_in_words(values, error, message):
    with pytest.raises(error, match=f"the column 'day' of the table {message}"):
        read(pd.DataFrame({"day": objects(values)}))


def test_categories_are_read_as_what_they_are_and_written_plain():
    dates = pa.chunked_array([pa.array(DAYS)])
    for column, plain in (
        (pd.Series(["2024-01-31", "2024-02-29"], dtype="category"), pd.Series(["2024-01-31", "2024-02-29"])),
        (pd.Series(np.array(DAYS, "M8[s]")).astype("category"), pd.Series(np.array(DAYS, "M8[s]"))),
        (pl.Series(["2024-01", "2024-02"]).cast(pl.Categorical), pl.Series(["2024-01", "2024-02"])),
        (dates.dictionary_encode(), dates),
    ):
        make = {pd.Series: pd.DataFrame, pl.Series: pl.DataFrame}.get(type(column), pa.table)
        stamps = read(make({"day": column}))
        assert stamps.kind == read(make({"day": plain})).kind
        check(stamps, read(make({"day": plain})).values, None, plain)


def test_columns_of_other_kinds_tell_their_dtype():
    categories = pd.Series(["north", "south"], dtype="category")
    for table, dtype in ((pd.DataFrame({"day": categories}), "category"), (pl.DataFrame({"day": [0.5]}), "Float64")):
        with pytest.raises(DtypeError, match=f"must hold dates, .* at row 0, in a column of dtype {dtype}"):
            read(table)


def test_the_index_is_named_in_errors():
    table = pd.DataFrame({"y": [1.0, 2.0]}, index=["31/01/2024", "01/02/2024"])
    with pytest.raises(DtypeError, match=r"the index of the table must hold dates"):
        read(table, Level(0, 1))


def test_other_stamps_like_those_of_the_series():
    own = read(pd.DataFrame({"day": pd.Series(np.array(DAYS, "M8[us]"))}))
    for column in (pl.Series(DAYS), pl.Series([f"{day}" for day in DAYS]), pl.Series(np.array(DAYS, "M8[ns]"))):
        values = read(pl.DataFrame({"day": column})).like(own.empty(), "future")
        assert values.dtype == "M8[us]"
        np.testing.assert_array_equal(values, own.values)
    days = read(pl.DataFrame({"day": DAYS}))
    hours = read(pl.DataFrame({"day": [dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, 9)]}))
    with pytest.raises(ValueError, match=r"future must have stamps in the unit of the series, D. Got 2024-01-01T09:00"):
        hours.like(days, "future")
    aware = read(pd.DataFrame({"day": pd.date_range("2024-01-01", periods=2, tz="Europe/Berlin")}))
    with pytest.raises(ValueError, match=r"like the series, times in Europe/Berlin. Got times without a time zone"):
        hours.like(aware, "future")
    months = read(pd.DataFrame({"day": pd.period_range("2024-01", periods=2, freq="M")}))
    with pytest.raises(ValueError, match=r"of the kind of the series, periods of ME?. Got whole numbers"):
        read(pl.DataFrame({"day": [1, 2]})).like(months, "future")
    with pytest.raises(ValueError, match=r"periods of ME?. Got periods of D."):
        read(pd.DataFrame({"day": pd.period_range("2024-01", periods=2, freq="D")})).like(months, "future")


def test_what_tells_no_time():
    for values in ([0.5], ["north"], [True], [[1]], [None]):
        for frame in (pd.DataFrame, pl.DataFrame):
            assert time_kind(Frame.read("x", frame({"x": values})).column("x")) is None
