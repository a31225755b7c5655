"""Time zones: instants (UTC) and the time on the wall of a place, whole arrays at once.

A zone is anything with `utcoffset` and `fromutc`: of zoneinfo, pytz, dateutil or `datetime.timezone`.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache

import numpy as np

from elman.checks import Array

_DAY = 86_400


def local(utc: Array, zone: tzinfo) -> Array:
    """The time on the wall, (rows,) datetime64, at the instants `utc` (rows,)."""
    return np.asarray(utc + _offsets(utc, zone))


def instants(wall: Array, zone: tzinfo) -> Array:
    """The instants (rows,) at which the clocks show `wall` (rows,).

    A time that does not exist, as clocks go forward, is moved on by as much as they are: 02:30 becomes 03:30. Of one
    that comes twice it is the first.
    """
    early, late = _both(wall, zone)
    if (early == late).all():
        return early
    return np.asarray(np.where((local(early, zone) != wall) & (local(late, zone) == wall), late, early))


def moved(wall: Array, utc: Array, zone: tzinfo) -> Array:
    """Whether `wall` does not exist and `utc` is an instant to which calendars move it.

    Of 02:30 these are 03:30 and 01:30, by as much as the clocks are moved, and 03:00 and the last unit before it.
    """
    early, late = _both(wall, zone)
    missing = (local(early, zone) != wall) & (local(late, zone) != wall)
    if not missing.any():
        return missing
    starts, _ = _changes(early, zone)
    change = starts[np.searchsorted(starts, early.astype("M8[s]"), side="right") - 1].astype(utc.dtype)
    return np.asarray(missing & ((utc == early) | (utc == late) | (utc == change) | (utc + 1 == change)))


def zone_name(zone: tzinfo) -> str:
    """The name of a zone: "Europe/Berlin", "UTC", "UTC+05:30"."""
    name = getattr(zone, "key", None) or getattr(zone, "zone", None)
    if name:
        return str(name)
    offset = zone.utcoffset(None)
    if offset is None:  # dateutil names the file from which it read the zone
        return str(getattr(zone, "_filename", None) or zone).rpartition("zoneinfo/")[2]
    return timezone(offset).tzname(None) if offset else "UTC"


def _both(wall: Array, zone: tzinfo) -> tuple[Array, Array]:
    """The instants of `wall` by the offset of the day before, and by that of the day after."""
    day = np.timedelta64(1, "D")
    return wall - _offsets(wall - day, zone), wall - _offsets(wall + day, zone)


def _offsets(utc: Array, zone: tzinfo) -> Array:
    """The offsets (rows,) from UTC, timedelta64 in the unit of `utc`."""
    unit = utc.dtype.str.replace("M", "m")
    fixed = zone.utcoffset(None)
    if fixed is not None or not len(utc):
        return np.full(len(utc), np.timedelta64(fixed or timedelta(0)).astype(unit))
    starts, offsets = _changes(utc, zone)
    return np.asarray(offsets[np.searchsorted(starts, utc.astype("M8[s]"), side="right") - 1].astype(unit))


def _changes(utc: Array, zone: tzinfo) -> tuple[Array, Array]:
    """The instants (changes,) from which another offset holds, in the years of `utc`, and the offsets."""
    low, high = (int(end.astype("M8[Y]").astype(np.int64)) + 1970 for end in (utc.min(), utc.max()))
    if low < 2 or high > 9998:  # Python's own dates go one year further, which leaves room for every offset
        raise ValueError(f"stamps with a time zone must lie in the years 2 to 9998. Got {low} to {high}.")
    starts, offsets = zip(*(_year(_Same(zone), year) for year in range(low, high + 1)), strict=True)
    return np.concatenate(starts), np.concatenate(offsets)


class _Same:
    """A zone as a key: zones of dateutil have no hash, and none is equal to another in all its changes."""

    def __init__(self, zone: tzinfo) -> None:
        self.zone = zone

    def __hash__(self) -> int:
        return id(self.zone)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.zone is other.zone


@lru_cache(4096)
def _year(same: _Same, year: int) -> tuple[Array, Array]:
    """The instants of a year from which the offset is another, and the offsets: looked up for each day."""
    first = datetime(year, 1, 1, tzinfo=UTC)
    changes = {first: _offset(first, same.zone)}
    for day in range((datetime(year + 1, 1, 1, tzinfo=UTC) - first).days):
        start = first + timedelta(day)
        before, after = next(reversed(changes.values())), _offset(start + timedelta(1), same.zone)
        if before != after:
            changes[_change(start, before, same.zone)] = after
    starts = [instant.replace(tzinfo=None) for instant in changes]
    return np.array(starts, "M8[s]"), np.array(list(changes.values()), "m8[s]")


def _offset(instant: datetime, zone: tzinfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta(0)


def _change(start: datetime, before: timedelta, zone: tzinfo) -> datetime:
    """The second at which the offset is no longer `before`, on the day that begins at `start`."""
    second = bisect_left(range(_DAY), True, key=lambda i: _offset(start + timedelta(seconds=i), zone) != before)
    return start + timedelta(seconds=second)
