"""Time zones: instants (UTC) and the time on the wall of a place, whole arrays at once.

A zone is anything with `utcoffset` and `fromutc`: of zoneinfo, pytz, dateutil or `datetime.timezone`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo

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
    """Whether `wall` does not exist and `utc` is an instant to which calendars move it: 03:00, 03:30 or 01:59."""
    early, late = _both(wall, zone)
    exists = (local(early, zone) == wall) | (local(late, zone) == wall)
    return np.asarray(~exists & (late <= utc) & (utc <= early))


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
    """The offsets (rows,) from UTC, timedelta64: looked up for each day, and on days with a change by its second."""
    unit = utc.dtype.str.replace("M", "m")
    fixed = zone.utcoffset(None)
    if fixed is not None or not len(utc):
        return np.full(len(utc), np.timedelta64(fixed or timedelta(0)).astype(unit))
    days, inverse = np.unique(utc.astype("M8[D]").astype(np.int64), return_inverse=True)
    edges = np.union1d(days, days + 1)
    known = np.array([_offset(int(edge) * _DAY, zone) for edge in edges], "m8[s]")
    before, after = known[np.searchsorted(edges, days)], known[np.searchsorted(edges, days + 1)]
    offsets = before[inverse]
    for d in np.flatnonzero(before != after):
        on = np.flatnonzero(inverse == d)
        change = _change(int(days[d]) * _DAY, zone)
        offsets[on] = np.where(utc[on] < np.datetime64(change, "s"), before[d], after[d])
    return offsets.astype(unit)


def _offset(second: int, zone: tzinfo) -> timedelta:
    """The offset from UTC at a second since 1970."""
    try:
        instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
        return instant.astimezone(zone).utcoffset() or timedelta(0)
    except (OverflowError, ValueError):
        raise ValueError(
            "stamps in a time zone must lie between the years 1 and 9999. "
            f"Got one in {np.datetime64(second, 's').astype('M8[Y]')}."
        ) from None


def _change(start: int, zone: tzinfo) -> int:
    """The second at which the offset changes, on the day that begins at the second `start`."""
    first, low, high = _offset(start, zone), start, start + _DAY
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(middle, zone) == first else (low, middle)
    return high
