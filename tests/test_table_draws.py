"""Random tables, held against calendars that pandas computes: stamps that follow, gaps, odd rows, kinds of stamps.

Each draw is a test with its seed. Networks are as small as can be: what counts is that the same data gives the same
numbers and the same stamps in every form.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pandas")
pytest.importorskip("polars")
pytest.importorskip("pyarrow")

import pandas as pd

from drawn_tables import calendar, check_stamps, forecaster, in_zone, one_series, table_in, values_of


@pytest.mark.parametrize("seed", range(200))
def test_stamps_that_follow_are_those_of_the_calendar(seed):
    rng = np.random.default_rng(seed)
    horizon, count = int(rng.integers(1, 6)), int(rng.integers(16, 40))
    stamps, _ = calendar(rng, count + horizon)
    values = values_of(rng, count)
    form, table, said, taken = one_series(rng, stamps[:count], values)
    found, numbers = taken(forecaster(horizon).fit(table, **said).predict())
    check_stamps(found, stamps[count:], "pandas" if form in ("series", "frame") else form)
    np.testing.assert_array_equal(np.asarray(numbers), forecaster(horizon).fit(values).predict())


@pytest.mark.parametrize("seed", range(80))
def test_gaps_are_refused_or_filled(seed):
    rng = np.random.default_rng(1000 + seed)
    horizon, count = int(rng.integers(1, 4)), int(rng.integers(24, 40))
    stamps, _ = calendar(rng, count + horizon)
    values = values_of(rng, count)
    begin, long = int(rng.integers(3, count - 8)), int(rng.integers(1, 5))
    kept = np.delete(np.arange(count), np.arange(begin, begin + long))
    values[np.setdiff1d(np.arange(count), kept)] = np.nan
    form, table, said, taken = one_series(rng, stamps[:count][kept], values[kept])
    with pytest.raises(ValueError, match="equal steps") as caught:
        forecaster(horizon).fit(table, **said)
    assert "fill=" in str(caught.value)
    assert stamps[begin + long].strftime("%Y-%m-%d") in str(caught.value)
    fill = str(rng.choice(["forward", "interpolate"]))
    model = forecaster(horizon, fill=fill).fit(table, **said)
    assert "1 gap of " in model.read_as
    found, numbers = taken(model.predict())
    check_stamps(found, stamps[count:], "pandas" if form in ("series", "frame") else form)
    np.testing.assert_array_equal(np.asarray(numbers), forecaster(horizon, fill=fill).fit(values).predict())


@pytest.mark.parametrize("seed", range(80))
def test_an_odd_row_is_named(seed):
    rng = np.random.default_rng(2000 + seed)
    count = int(rng.integers(24, 40))
    stamps, freq = calendar(rng, count)
    stamps = stamps.as_unit("ms")
    at = int(rng.integers(1, count - 1))
    early = pd.Timedelta(milliseconds=300) if freq in ("s", "5s") else pd.Timedelta(seconds=int(rng.integers(1, 50)))
    moved = list(stamps)
    if rng.integers(2):
        moved[at] += early
    else:
        moved.insert(at + 1, moved[at] + early)
        at += 1
    odd = pd.DatetimeIndex(moved).as_unit("ms")
    _, table, said, _ = one_series(rng, odd, values_of(rng, len(odd)))
    fill = [None, "forward", "interpolate"][rng.integers(3)]
    with pytest.raises(ValueError, match=re.escape(odd[at].strftime("%Y-%m-%d"))) as caught:
        forecaster(2, fill=fill).fit(table, **said)
    assert re.search(rf"\b{at}\b", str(caught.value))


# Kinds of an index that are no stamps.


def periods(rng, count):
    freq = str(rng.choice(["M", "Q", "Q-FEB", "W", "D", "h", "Y", "15min", "s"]))
    return pd.period_range("2021-03-05", periods=count, freq=freq)


def durations(rng, count):
    return pd.to_timedelta(
        int(rng.integers(1, 90)) * np.arange(count) + 7, unit=str(rng.choice(["s", "min", "h", "D"]))
    )


def dates(rng, count):
    return pd.Index(
        [s.date() for s in pd.date_range("2023-12-01", periods=count, freq=str(rng.choice(["D", "W", "ME"])))]
    )


def text(rng, count):
    freq, pattern = [
        ("D", "%Y-%m-%d"), ("MS", "%Y-%m"), ("YS", "%Y"), ("h", "%Y-%m-%d %H:%M"), ("15min", "%Y-%m-%dT%H:%M:%S"),
        ("h", "%Y-%m-%dT%H:%M:%SZ"), ("h", "%Y-%m-%dT%H:%M:%S+05:30"), ("W", "%Y-%m-%d"), ("ME", "%Y-%m-%d"),
    ][rng.integers(9)]  # fmt: skip
    return pd.date_range("1990-02-27", periods=count, freq=freq).strftime(pattern)


@pytest.mark.parametrize("seed", range(60))
def test_an_index_of_another_kind_goes_on_in_its_kind(seed):
    rng = np.random.default_rng(3000 + seed)
    kind = [periods, durations, dates, text][seed % 4]
    horizon, count = int(rng.integers(1, 5)), int(rng.integers(16, 30))
    index = kind(rng, count + horizon)
    values = values_of(rng, count)
    if rng.integers(2):
        found = forecaster(horizon).fit(pd.Series(values, index=index[:count])).predict()
        stamps, numbers = found.index, found.to_numpy()
    else:
        table = pd.DataFrame({"y": values, "when": index[:count]})
        found = forecaster(horizon).fit(table, time="when").predict()
        stamps, numbers = found["when"], found["y"].to_numpy()
    assert list(stamps) == list(index[count:])
    assert [type(stamp) for stamp in stamps] == [type(stamp) for stamp in index[count:]]
    np.testing.assert_array_equal(numbers, forecaster(horizon).fit(values).predict())
    with pytest.raises(ValueError, match="equal steps"):
        forecaster(horizon).fit(pd.Series(values, index=index[:count]).drop(index[9:11]))


@pytest.mark.parametrize("seed", range(20))
def test_whole_numbers_as_time(seed):
    rng = np.random.default_rng(3500 + seed)
    count, step = int(rng.integers(16, 30)), int(rng.integers(1, 9))
    numbers = int(rng.integers(-99, 2000)) + step * np.arange(count + 3)
    library = str(rng.choice(["pandas", "polars", "Arrow"]))
    order = rng.permutation(count)
    values = values_of(rng, count)
    table = table_in(library, {"t": numbers[:count][order], "y": values[order]})
    found = forecaster(3).fit(table, time="t").predict()
    assert np.asarray(found["t"]).tolist() == numbers[count:].tolist()
    np.testing.assert_array_equal(np.asarray(found["y"]), forecaster(3).fit(values).predict())


# Business days and trading calendars.


@pytest.mark.parametrize("seed", range(60))
def test_stated_steps(seed):
    rng = np.random.default_rng(4000 + seed)
    horizon, count = int(rng.integers(1, 6)), int(rng.integers(20, 40))
    start = pd.Timestamp("2024-05-20") + pd.Timedelta(days=int(rng.integers(30)))
    closed = ["2024-06-14", "2024-07-04", "2024-08-01"]
    offset, freq = [
        (pd.offsets.BDay(), "B"),
        (pd.offsets.BDay(), pd.offsets.BDay()),
        (pd.offsets.CustomBusinessDay(holidays=closed), np.busdaycalendar(holidays=closed)),
        (pd.offsets.CustomBusinessDay(holidays=closed), pd.offsets.CustomBusinessDay(holidays=closed)),
        (pd.offsets.CustomBusinessDay(weekmask="Sun Mon Tue Wed Thu"), np.busdaycalendar("1111001")),
        (pd.offsets.CustomBusinessDay(holidays=closed), None),  # the days themselves
        (pd.offsets.BMonthEnd(), pd.offsets.BMonthEnd()),
        (pd.offsets.Day(), "D"),
        (pd.offsets.Week(weekday=2), "W-WED"),
        (pd.offsets.MonthEnd(), "ME"),
        (pd.offsets.Minute(15), "15min"),
        (pd.offsets.Hour(), pd.Timedelta(hours=1)),
    ][seed % 12]
    zone = [None, "Europe/Berlin", "America/Sao_Paulo"][rng.integers(3)]
    naive = pd.date_range(start, periods=count + horizon + 3, freq=offset)
    stamps = in_zone(naive, zone)
    freq = stamps if freq is None else freq
    stamps = stamps[: count + horizon]
    values = values_of(rng, count)
    form, table, said, taken = one_series(rng, pd.DatetimeIndex(list(stamps[:count])).as_unit("us"), values)
    model = forecaster(horizon, freq=freq).fit(table, **said)
    found, numbers = taken(model.predict())
    check_stamps(found, stamps[count:].as_unit("us"), "pandas" if form in ("series", "frame") else form)
    np.testing.assert_array_equal(np.asarray(numbers), forecaster(horizon).fit(values).predict())
