"""Clocks of time stamps: the steps that are read, the stamps that follow, and what is refused."""

import datetime as dt
import pickle
import zoneinfo
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("narwhals")
pytest.importorskip("pandas")

import narwhals as nw
import pandas as pd

from elman.tables.clock import Clock
from elman.tables.stamps import Stamps
from elman.tables.zones import instants, local, zone_name

BERLIN = "Europe/Berlin"


def given(index, stated=None):
    """The time of an index of pandas, as the border to frames reads it."""
    return Stamps.read("the table", "time", nw.from_native(index.to_series(), series_only=True), stated)


def read(index, frequency=None, gaps=False, stated=None):
    clock, timelines = Clock.read(given(index, stated), [np.arange(len(index))], frequency, gaps)
    return clock, timelines[0]


def native(values, like):
    """Stamps as an index of pandas in the zone, or of the kind, of another."""
    if isinstance(like, pd.PeriodIndex):
        return pd.PeriodIndex.from_ordinals(values, freq=like.freq)
    zone = getattr(like, "tz", None)
    return pd.Index(values) if zone is None else pd.DatetimeIndex(values).tz_localize("UTC").tz_convert(zone)


def follows(index, count, **options):
    """Both the stamps that a clock gives after all but the last `count`, and those last ones."""
    past, ahead = index[:-count], index[-count:]
    _, timeline = read(past, **options)
    return native(timeline.following(count), index), ahead


DAYS = pd.date_range("2024-01-01", periods=40)
HOURS = pd.date_range("2024-01-01", periods=240, freq="h")


# Stamps that follow.


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "America/New_York", "US/Eastern", "Etc/GMT+5", "UTC", "Asia/Kolkata"]
)
@pytest.mark.parametrize("freq", ["D", "h", "15min", "W", "MS", "ME", "QE", "YS"])
def test_the_steps_of_every_zone_go_on_over_a_change_of_clocks(freq, zone):
    for start in ("2024-03-05", "2024-10-01 08:00"):
        index = pd.date_range(start, periods={"h": 900, "15min": 3000}.get(freq, 40), freq=freq, tz=zone)
        for ahead in (len(index) - 10, 12, 3):
            found, right = follows(index, ahead)
            assert found.equals(right.as_unit(found.unit))


def test_an_hour_that_does_not_exist_is_moved_and_the_days_after_it_are_not():
    index = pd.date_range("2024-10-10 02:30", periods=165).tz_localize(BERLIN, ambiguous=np.ones(165, bool))
    clock, timeline = read(index)
    shown = [clock.show(stamp) for stamp in timeline.following(8)]
    assert shown[5:] == ["2025-03-29 02:30", "2025-03-30 03:30", "2025-03-31 02:30"]


def test_calendars_move_an_hour_that_does_not_exist_in_several_ways():
    for way in ("shift_forward", "shift_backward", pd.Timedelta(hours=1), pd.Timedelta(hours=-1)):
        index = pd.date_range("2024-03-20 02:30", periods=30).tz_localize(BERLIN, nonexistent=way)
        found, right = follows(index, 5)
        assert found.equals(right)
        odd = index.to_series().reset_index(drop=True)
        odd[11] += pd.Timedelta(minutes=7)
        with pytest.raises(ValueError, match=r"of 1 day here. Got 2024-03-31 0\d:\d\d(:\d\d.9*)? at row 11 after"):
            read(pd.DatetimeIndex(odd))


def test_series_of_one_panel_may_start_on_different_sides_of_a_change():
    short = pd.date_range("2023-12-01", "2024-02-10", tz=BERLIN)
    long = pd.date_range("2023-09-01", "2024-02-10", tz=BERLIN)
    for parts in ((short, long), (long, short)):
        both = parts[0].append(parts[1])
        groups = [np.arange(len(parts[0])), np.arange(len(parts[0]), len(both))]
        clock, timelines = Clock.read(given(both), groups)
        assert (clock.describe(), clock.adverb()) == ("1 day", "daily")
        for timeline, part in zip(timelines, parts, strict=True):
            assert native(timeline.following(3), both).equals(pd.date_range("2024-02-11", periods=3, tz=BERLIN))
            np.testing.assert_array_equal(timeline.positions, np.arange(len(part)))


BY_INSTANT = ["s", "15min", "30min", "h", "2h", "6h", "12h", "7min", "90s"]
BY_WALL = ["D", "2D", "7D", "W", "W-WED", "2W", "MS", "ME", "2MS", "3ME", "QS", "QE-FEB", "YS", "YE-JUN", "YE"]
ZONES = [None, "Europe/Berlin", "America/New_York", "America/Santiago", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"]
ZONES += ["Africa/Cairo", "Asia/Beirut", "Etc/GMT+5", "Pacific/Auckland", "America/St_Johns", "Atlantic/Azores"]


def calendar(rng, count):
    """The stamps of a random calendar of pandas, with its name, and whether a change of clocks may move them."""
    zone, walled = ZONES[rng.integers(len(ZONES))], rng.random() < 0.6
    walled &= zone != "Australia/Lord_Howe"  # where pandas moves what does not exist by an hour, not by the half
    freq = str(rng.choice(BY_WALL if walled else BY_INSTANT))
    start = pd.Timestamp("1950-01-01") + pd.Timedelta(minutes=int(rng.integers(90 * 525_960)))
    start = start.normalize() if walled and rng.random() < 0.5 else start
    options = {"periods": count, "freq": freq, "unit": str(rng.choice(["s", "ms", "us", "ns"]))}
    first = np.ones(count, bool)
    if zone is None:
        return pd.date_range(start, **options), freq, walled
    if walled:
        index = pd.date_range(start, **options).tz_localize(zone, ambiguous=first, nonexistent="shift_forward")
        return index, freq, walled
    return pd.date_range(start.tz_localize(zone, ambiguous=True, nonexistent="shift_forward"), **options), freq, walled


def check_ahead(found, right, walled):
    """Stamps are those of the calendar; where it says 03:00 for an hour that does not exist they may say 03:30."""
    assert found.dtype == right.dtype
    later = found.tz_localize(None) - right.tz_localize(None)
    assert (later >= pd.Timedelta(0)).all()
    assert (later < pd.Timedelta(hours=1 if walled else 0) + pd.Timedelta(1)).all()
    assert (later > pd.Timedelta(0)).mean() <= 0.5


@pytest.mark.parametrize("seed", range(12))
def test_calendars_of_pandas(seed):
    """Panels with gaps, late starts and rows in any order go on as date_range does; an odd row is named."""
    for draw in range(50):
        rng = np.random.default_rng([seed, draw])
        past, ahead, share = int(rng.integers(30, 90)), 12, rng.choice([0, 0.1, 0.2])
        index, freq, walled = calendar(rng, past + ahead)
        parts = [np.arange(int(rng.integers(past // 3)), past) for _ in range(rng.integers(1, 4))]
        parts = [part[(rng.random(len(part)) >= share) | (part == part[0]) | (part == past - 1)] for part in parts]
        order = rng.permutation(sum(map(len, parts)))
        table = index[np.concatenate(parts)[order]]
        groups = np.split(np.argsort(order), np.cumsum([len(part) for part in parts])[:-1])
        stated = freq if rng.random() < 0.3 else None
        clock, timelines = Clock.read(given(table), groups, stated, bool(share))
        for timeline, part in zip(timelines, parts, strict=True):
            np.testing.assert_array_equal(timeline.positions, part - part[0])
            check_ahead(native(timeline.following(ahead), index), index[past:], walled)
            check_ahead(native(timeline.at(timeline.positions), index), index[part], walled)
            positions, on = timeline.locate(given(index[past:]).values)
            np.testing.assert_array_equal(positions, np.arange(past, past + ahead) - part[0])
            assert on.all()
        if freq != "s":
            odd = given(table).values.copy()
            row = int(rng.integers(len(odd)))
            odd[row] += np.timedelta64(7, "s")
            with pytest.raises(ValueError, match=f"Got .* at row {row}( after .*)?(; freq=.*)?.$"):
                Clock.read(replace(given(table), values=odd), groups, stated, True)


def test_every_zone_shows_the_time_of_pandas():
    """A random half of a thousand instants each; and back, for those times that exist once or twice."""
    rng = np.random.default_rng(0)
    names = ["Europe/Berlin", "Asia/Kathmandu", "Africa/Casablanca", "Pacific/Apia", "America/Sao_Paulo", "Asia/Tehran"]
    for zone in map(zoneinfo.ZoneInfo, names):
        for unit in ("s", "ms", "us", "ns"):
            utc = rng.integers(-(10**9), 2 * 10**9, 500).astype("M8[s]").astype(f"M8[{unit}]")
            index = pd.DatetimeIndex(utc)
            wall = local(utc, zone)
            np.testing.assert_array_equal(wall, index.tz_localize("UTC").tz_convert(zone).tz_localize(None))
            back = pd.DatetimeIndex(wall).tz_localize(zone, ambiguous=np.ones(500, bool)).tz_convert("UTC")
            np.testing.assert_array_equal(instants(wall, zone), back.tz_localize(None))


def test_zones_of_other_libraries_and_their_names():
    tz = pytest.importorskip("dateutil.tz")
    berlin, half = tz.gettz(BERLIN), dt.timezone(dt.timedelta(hours=5, minutes=30))
    index = pd.date_range("2024-03-01", periods=34)
    for zone, name in [(berlin, BERLIN), (zoneinfo.ZoneInfo(BERLIN), BERLIN), (half, "UTC+05:30"), (dt.UTC, "UTC")]:
        found, right = follows(index.tz_localize(zone), 4)
        assert found.equals(right)
        assert zone_name(zone) == name


# Stated steps.

HOLIDAYS = ["2024-01-01", "2024-01-15", "2024-05-27"]


@pytest.mark.parametrize("zone", [None, BERLIN])
@pytest.mark.parametrize(
    "offset",
    [
        pd.offsets.BusinessDay(),
        pd.offsets.BusinessDay(2),
        pd.offsets.CustomBusinessDay(holidays=HOLIDAYS),
        pd.offsets.CustomBusinessDay(weekmask="Sun Mon Tue Wed Thu"),
        pd.offsets.BusinessMonthEnd(),
        pd.offsets.CustomBusinessMonthBegin(holidays=HOLIDAYS),
        pd.offsets.BQuarterEnd(),
        pd.offsets.SemiMonthEnd(),
        pd.offsets.WeekOfMonth(week=1, weekday=2),
        pd.offsets.BusinessHour(),
        pd.offsets.FY5253(weekday=5, startingMonth=1),
        pd.offsets.DateOffset(days=3),
        pd.offsets.QuarterBegin(2, startingMonth=2),
        pd.offsets.Hour(3),
    ],
    ids=str,
)
def test_offsets_of_pandas_stated_by_the_user_or_by_the_index(offset, zone):
    index = pd.date_range("2024-01-01", periods=40, freq=offset, tz=zone)
    for options in ({"frequency": offset}, {"stated": offset}):
        found, right = follows(index, 15, **options)
        assert found.equals(right)
        found, right = follows(index.delete([5, 6, 11]), 15, gaps=True, **options)
        assert found.equals(right)
    clock, timeline = read(index[:25], offset)
    again, later = pickle.loads(pickle.dumps((clock, timeline)))
    np.testing.assert_array_equal(later.following(15), timeline.following(15))
    earlier = pd.date_range("2023-01-01", periods=40, freq=offset, tz=zone)
    if "days=3" not in str(offset):  # which may stand on any day
        for part in (earlier, index):
            _, other = read(part[3:9], again)  # the clock of fit reads an earlier table, and another one
            assert native(other.following(15), index).equals(part[9:24])


@pytest.mark.parametrize(
    ("freq", "words"),
    [
        ("D", "1 day"), ("d", "1 day"), ("2W", "14 days"), ("W-SUN", "7 days"), ("w", "7 days"), ("3h", "3 hours"),
        ("H", "1 hour"), ("T", "1 minute"), ("15min", "15 minutes"), ("S", "1 second"), ("250ms", "250 milliseconds"),
        ("L", "1 millisecond"), ("us", "1 microsecond"), ("N", "1 nanosecond"), ("B", "1 business day"),
        ("M", "1 month"), ("2MS", "2 months"), ("Q", "3 months"), ("QE-NOV", "3 months"), ("A", "12 months"),
        ("YS-APR", "12 months"), ("AS", "12 months"), (dt.timedelta(hours=36), "36 hours"),
        (np.timedelta64(1, "M"), "1 month"), (pd.Timedelta("1h 30min"), "90 minutes"),
        (np.busdaycalendar(), "1 business day"),
    ],
)  # fmt: skip
def test_names_of_steps(freq, words):
    day = {"M": "06-30", "Q": "06-30", "QE-NOV": "11-30", "A": "06-30", "W-SUN": "06-30"}.get(str(freq), "04-01")
    clock, timeline = read(pd.DatetimeIndex([f"2024-{day}"], dtype="M8[ns]"), freq)
    assert clock.describe() == words
    assert len(timeline.following(3)) == 3


_REFUSED = [0, -1, True, 1.5, "", "fortnightly", "0D", "-1D", "BME", "MS-JAN", "D-MON", "W-XYZ"]


@pytest.mark.parametrize("freq", [*_REFUSED, [], ["x"], [1, 2], {}, dt.time(), np.timedelta64("NaT"), pd.NaT])
def test_steps_that_are_refused(freq):
    with pytest.raises(ValueError, match="freq must be "):
        read(DAYS, freq)


def test_a_step_states_where_it_stands():
    """W-MON, MS and the others are refused where the stamps stand elsewhere; without an anchor any will do."""
    for freq, wrong in [("W-MON", "2024-01-02"), ("MS", "2024-01-02"), ("ME", "2024-01-30"), ("QS-FEB", "2024-01-01")]:
        with pytest.raises(ValueError, match=f"must keep to freq='{freq}'. Got {wrong} at row 0"):
            read(pd.DatetimeIndex([wrong]), freq)
    for freq in ("W", "QS", "YS", "D"):
        read(pd.DatetimeIndex(["2024-05-01"]), freq)
    with pytest.raises(ValueError, match=r"freq='B'. Got 2024-01-06 at row 5 after 2024-01-05 at row 4, and"):
        read(DAYS, "B")


@pytest.mark.parametrize("zone", [None, BERLIN])
def test_a_trading_calendar_is_a_list_of_days(zone):
    pl = pytest.importorskip("polars")
    days = pd.bdate_range("2024-01-02", periods=60, tz=zone)
    days = days.delete([8, 30])
    forms = [days, list(days), days.to_series(), days.to_pydatetime(), pl.Series(days)]
    for form in [*forms, *([] if zone else [days.to_numpy(), days.strftime("%Y-%m-%d").tolist(), days.date])]:
        found, right = follows(days, 20, frequency=form)
        assert found.equals(right.as_unit(found.unit))
    evening = days + pd.Timedelta(hours=17)
    if zone is None:
        found, right = follows(evening, 20, frequency=days)
        assert found.equals(right)
        with pytest.raises(ValueError, match=r"list every stamp, .* Got none after 2024-03-25"):
            read(days, days)[1].following(5)
        with pytest.raises(ValueError, match=r"1 step missing; fill="):
            read(days.delete(7), days)
    later = days.append(days[-1:] + pd.Timedelta(hours=5))
    with pytest.raises(ValueError, match=r"must keep to freq=.* 05:00 at row 58 after 2024-03-25 at row 57"):
        read(later, days)
    positions, on = read(days[:50], days)[1].locate(given(later).values)
    np.testing.assert_array_equal(positions, [*range(58), 57])
    np.testing.assert_array_equal(on, [True] * 58 + [False])


def test_months_keep_their_day_or_their_end():
    few = pd.DatetimeIndex(["2024-01-01", "2024-02-01", "2024-03-01", "2024-03-15", "2024-04-01"])
    with pytest.raises(ValueError, match=r"equal steps, of 1 month here. Got 2024-03-15 at row 3"):
        read(few)
    for start in ("2024-01-29", "2024-01-30", "2024-01-31", "2024-02-29 08:00", "2024-01-15", "2023-08-31 23:59:59"):
        index = pd.DatetimeIndex([pd.Timestamp(start) + pd.DateOffset(months=k) for k in range(20)])
        if start[8:10] == "29" and start[5:7] == "02":  # 29 February, then ends of months
            index = index[:1].append(index[1:] + pd.offsets.MonthEnd(0))
        found, right = follows(index, 12)
        assert found.equals(right), start
    for given_ends, last in [
        (["2023-01-31", "2023-02-28"], "2023-03-31"),
        (["2024-04-30", "2024-06-30"], "2024-08-31"),
    ]:
        assert str(read(pd.DatetimeIndex(given_ends))[1].following(1)[0])[:10] == last


# Clocks of other kinds of stamps.


@pytest.mark.parametrize("freq", ["M", "D", "h", "W", "W-WED", "Q", "Y", "2M", "15min"])
def test_periods(freq):
    index = pd.period_range("2021-01-01", periods=30, freq=freq)
    for options in ({}, {"frequency": freq}):
        found, right = follows(index, 6, **options)
        assert found.equals(right)
    with pytest.raises(ValueError, match=f"Got {index[20]} at row 10 after {index[9]} at row 9, 10 steps missing"):
        read(index.delete(range(10, 20)))
    with pytest.raises(ValueError, match=r"freq must be a multiple of the periods of the time. Got 7 seconds"):
        read(index, "7s")
    with pytest.raises(ValueError, match="freq must be a multiple of the periods of the time"):
        read(index, {"W": "W-TUE", "Q": "Q-FEB", "Y": "A-MAY"}.get(freq, "us"))
    clock, _ = read(index[::3])
    assert clock.describe() == {"M": "3 months", "Q": "9 months", "Y": "36 months", "2M": "6 months"}.get(
        freq, {"D": "3 days", "h": "3 hours", "15min": "45 minutes"}.get(freq, "21 days")
    )


def test_text_is_shown_as_it_was_written():
    for entries, step in [(["2024-01", "2024-02", "2024-04"], "1 month"), (["2021", "2022", "2024"], "12 months")]:
        with pytest.raises(
            ValueError, match=f"of {step} here. Got {entries[2]} at row 2 after {entries[1]} at row 1, 1"
        ):
            read(pd.Index(entries))


def test_durations_and_numbers():
    hours = pd.to_timedelta(np.arange(30) * 3, unit="h")
    found, right = follows(hours, 5)
    assert found.equals(right.as_unit(found.unit))
    clock, timeline = read(pd.Index(np.arange(4, 60, 2)))
    assert (clock.describe(), clock.adverb()) == ("2", "in equal steps")
    np.testing.assert_array_equal(timeline.following(3), [60, 62, 64])
    np.testing.assert_array_equal(read(pd.Index([7]), 5)[1].following(2), [12, 17])
    with pytest.raises(ValueError, match=r"equal steps, of 2 here. Got 9 at row 2 after 6 at row 1"):
        read(pd.Index([4, 6, 9, 10, 12]))
    for index, freq in [(hours, "MS"), (hours, "B"), (pd.Index([1, 2]), "ME"), (pd.Index([1, 2]), "h"), (hours, 2)]:
        with pytest.raises(ValueError, match=r"freq must be a step of"):
            read(index, freq)


def test_stamps_outside_the_range_of_their_dtype_are_refused():
    for freq in ("D", "MS", "B", "h"):
        last = pd.date_range(end="2262-04-01", periods=20, freq=freq, unit="ns")
        with pytest.raises(ValueError, match=r"must lie within the range of datetime64\[ns\], up to .* Got steps of"):
            read(last, freq)[1].following(2000)
    for index in (
        pd.date_range("9999-12-01", periods=20, unit="s"),
        pd.Index([dt.date(9999, 11, k) for k in (1, 2, 3)]),
    ):
        with pytest.raises(ValueError, match=r"up to the year 9999. Got steps of 1 day beyond it"):
            read(index)[1].following(200)
    with pytest.raises(ValueError, match=r"stamps with a time zone must lie in the years 2 to 9998. Got 9999"):
        read(pd.date_range("9999-03-01", periods=20, tz=BERLIN, unit="s"))
    with pytest.raises(ValueError, match=r"stamps must exist in Pacific/Apia"):
        read(pd.date_range("2011-12-20", periods=10, tz="Pacific/Apia"))[1].following(3)
    with pytest.raises(ValueError, match=r"freq must be whole days, as the stamps are. Got 1 hour"):
        read(pd.Index([dt.date(2024, 1, 1)]), "h")


# The clock of an earlier table.


def test_a_later_table_is_read_by_the_clock_of_fit():
    clock, _ = read(DAYS)
    sparse = DAYS[::2] + pd.Timedelta(days=100)
    assert read(sparse)[0].describe() == "2 days"
    with pytest.raises(ValueError, match=r"equal steps, of 1 day here. .* 1 step missing; fill=.*fills gaps.$"):
        read(sparse, clock)
    with pytest.raises(
        ValueError,
        match=r"must go on in steps of 1 day, as those before. Got 2024-01-01 12:00 at row 1 after .*, and 9 more",
    ):
        read(pd.date_range("2024-01-01", periods=20, freq="12h"), clock)
    other = (DAYS + pd.Timedelta(days=50)).as_unit("ns")
    _, timeline = read(other, clock)
    assert timeline.following(1).dtype == "M8[ns]"
    for index in (DAYS.tz_localize(BERLIN), DAYS.to_period("D"), pd.RangeIndex(9)):
        with pytest.raises(ValueError, match=r"must have stamps"):
            read(index, clock)


def test_steps_of_hours_that_are_even_on_the_wall_alone():
    for hours in ((0, 6, 12, 18), (8, 20)):
        days = pd.date_range("2024-03-20", periods=30)
        wall = pd.DatetimeIndex([day + pd.Timedelta(hours=hour) for day in days for hour in hours])
        index = wall.tz_localize(BERLIN)
        found, right = follows(index, 12)
        assert found.equals(right)
    twice = pd.DatetimeIndex(["2024-10-27 00:00", "2024-10-27 01:00"], tz="UTC").tz_convert(BERLIN)
    assert [str(stamp.time()) for stamp in twice] == ["02:00:00", "02:00:00"]
    assert read(twice)[0].describe() == "1 hour"
    by_instant = pd.date_range("2024-03-20", periods=60, freq="24h", tz=BERLIN)
    for freq in (None, "24h", "D", dt.timedelta(days=1)):
        found, right = follows(by_instant, 12, frequency=freq)
        assert found.equals(right)
    found, right = follows(index, 12, frequency="12h")  # at 8 and at 20
    assert found.equals(right)


def test_both_stamps_of_an_hour_that_comes_twice_are_not_one_step():
    index = pd.date_range("2024-10-20 02:30", periods=20).tz_localize(BERLIN, ambiguous=np.ones(20, bool))
    twice = index.insert(8, index[7] + pd.Timedelta(hours=1))
    with pytest.raises(
        ValueError, match=r"Got 2024-10-27 02:30 \(the second of two\) at row 8 after 2024-10-27 02:30 at"
    ):
        read(twice)
    found, right = follows(index, 5)
    assert found.equals(right)
    found, _ = follows(twice.delete(7), 5)  # the second of both alone is as good
    assert found.equals(right)


# Refusals.


@pytest.mark.parametrize(
    ("index", "options", "message"),
    [
        (HOURS.insert(101, pd.Timestamp("2024-01-05 04:01")), {}, "of 1 hour here. Got 2024-01-05 04:01 at row 101"),
        (HOURS.insert(101, pd.Timestamp("2024-01-05 04:01")), {"gaps": True}, "Got 2024-01-05 04:01 at row 101 after"),
        (DAYS.delete(range(10, 20)), {}, "Got 2024-01-21 at row 10 after 2024-01-10 at row 9, 10 steps missing; fill="),
        (DAYS.delete(range(8, 35)), {"gaps": True}, "fill must not invent more rows than there are. Got 13 rows"),
        (DAYS[DAYS.day_of_week < 5], {}, 'missing; fill=.*freq="B" counts business days'),
        (DAYS[[0, 1, 1, 2]], {}, "each stamp once. Got 2024-01-02 at row 1 and again at row 2.$"),
        (HOURS[[0, 1, 1, 2]], {}, "Got 2024-01-01 01:00 at row 1 and again at row 2; where clocks went back"),
        (HOURS[[0, 1, 2, 4, 5]], {}, "Got 2024-01-01 04:00 at row 3 .* 1 step missing; .*went forward"),
        (HOURS[[0, 2, 1]], {}, "must ascend. Got 2024-01-01 01:00 at row 2 after 2024-01-01 02:00 at row 1"),
        (DAYS[:1], {}, "must have two stamps at least; freq= states the step"),
        (DAYS[[1, 8, 15]], {"frequency": "W-MON"}, "must keep to freq='W-MON'. Got 2024-01-02 at row 0"),
        (DAYS, {"frequency": 2}, "freq must be a step of dates or durations, as the stamps are. Got 2"),
        (DAYS, {"frequency": "fortnightly"}, "freq must be a step such as .*Got 'fortnightly'"),
        (DAYS, {"frequency": list(DAYS[3:])}, "must keep to freq="),
    ],
)  # fmt: skip
def test_what_is_refused(index, options, message):
    with pytest.raises(ValueError, match=message):
        read(index, **options)
