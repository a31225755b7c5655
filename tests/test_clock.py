"""Clocks of time stamps: the steps that are read, the stamps that follow, and what is refused."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from elman.tables.clock import Clock

pd = pytest.importorskip("pandas")
BERLIN = "Europe/Berlin"


@dataclass(frozen=True)
class Given:
    """The time of a table's rows, as the border to frames hands it on."""

    values: Any
    zone: Any = None
    stated: Any = None
    kind: str = "instant"


def given(index, stated=None):
    """The time of an index of pandas."""
    if isinstance(index, pd.PeriodIndex):
        return Given(index.asi8, None, index.freq, "period")
    zone = getattr(index, "tz", None)
    values = (index if zone is None else index.tz_convert("UTC").tz_localize(None)).to_numpy()
    kind = {"M": "instant", "m": "duration"}.get(values.dtype.kind, "number")
    return Given(values, zone, stated, kind)


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
        (HOURS[[0, 2, 1]], {}, "must ascend. Got 2024-01-01 01:00 at row 2 after 2024-01-01 02:00 at row 1"),
        (DAYS[[0, 1, 1]].where([True, False, True]), {}, "must be given for every row. Got none at row 1"),
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
