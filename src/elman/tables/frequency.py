"""A stated step, `freq=`, in every form in which it may be written, as the lines it may mean."""

from __future__ import annotations

import copyreg
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import narwhals as nw
import numpy as np

from elman.checks import is_whole, show
from elman.tables.lines import Business, Even, Line, Listed, Months, Offset
from elman.tables.stamps import Stamps

FORMS = (
    'a step such as "15min", "h", "D", "W-MON", "MS", "ME", "QS", "YE" or "B", a timedelta, a whole number for '
    "numbered steps, np.busdaycalendar, an offset such as pd.offsets.BMonthEnd(), or the list of all stamps"
)
# NumPy's calendars cannot be copied or pickled, and an estimator that has one as `freq` could not be cloned or kept.
copyreg.pickle(np.busdaycalendar, lambda own: (np.busdaycalendar, (own.weekmask.astype(int).tolist(), own.holidays)))

_WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_SIZES: dict[str, Any] = {
    "ns": "ns", "N": "ns", "us": "us", "U": "us", "ms": "ms", "L": "ms", "s": "s", "S": "s",
    "min": "m", "T": "m", "h": "h", "H": "h", "D": "D", "d": "D", "W": "W", "w": "W",
}  # fmt: skip
_IN_MONTHS = {  # months, and whether at their end
    "MS": (1, False), "ME": (1, True), "M": (1, True), "QS": (3, False), "QE": (3, True), "Q": (3, True),
    "YS": (12, False), "AS": (12, False), "YE": (12, True), "Y": (12, True), "A": (12, True),
}  # fmt: skip


def read_frequency(freq: Any) -> tuple[Line, ...]:
    """The lines that a stated step may mean, the likelier first.

    Days and longer steps go by the calendar of the time zone, shorter ones by the instant. A name without an anchor
    ("W", "QS") takes the weekday, or the month, that the data has.
    """
    found: tuple[Line, ...] | None = None
    if isinstance(freq, str):
        found = _from_name(freq)
    elif isinstance(freq, (timedelta, np.timedelta64)):
        nanoseconds = getattr(freq, "to_timedelta64", None)  # of pandas
        found = _from_size(nanoseconds() if nanoseconds else np.timedelta64(freq))
    elif is_whole(freq):
        found = (Even(int(freq)),) if freq > 0 else None
    elif isinstance(freq, np.busdaycalendar):
        found = (_business(freq, 1),)
    elif hasattr(freq, "rollforward"):
        found = _from_offset(freq)
    elif isinstance(freq, Iterable) and not isinstance(freq, (bytes, dict)):
        found = _from_list(freq)
    if not found:
        raise ValueError(f"freq must be {FORMS}. Got {show(freq)}.")
    return found


def within(step: Any, unit: Any) -> int | None:
    """How many units, the length of a period, a step is; None where it is no whole number of them."""
    size, anchor = {Even: ("size", "weekday"), Months: ("count", "month")}.get(type(step), ("count", "word"))
    if type(step) is not type(unit) or getattr(step, anchor) not in (None, getattr(unit, anchor)):
        return None
    own, other = getattr(step, size), getattr(unit, size)
    return int(own // other) if type(own) is type(other) and not own % other else None


def _from_name(name: str) -> tuple[Line, ...] | None:
    match = re.fullmatch(r"(\d{0,9})\s*([A-Za-z]+?)(?:-([A-Za-z]{3}))?", name.strip())
    count = int(match[1] or 1) if match else 0
    if not match or count == 0:
        return None
    base, anchor = match[2], (match[3] or "").upper()
    if base in ("W", "w") and anchor in _WEEKDAYS:
        return (Even(count * np.timedelta64(7, "D"), wall=True, weekday=_WEEKDAYS.index(anchor)),)
    if base in _IN_MONTHS and (not anchor or (anchor in _MONTHS and base[0] != "M")):
        months, end = _IN_MONTHS[base]
        month = (_MONTHS.index(anchor), months) if anchor else None
        return (Months(months * count, end, edge=True, month=month),)
    if anchor:
        return None
    if base in ("B", "b", "C"):
        return (Business(count),)
    if base in _SIZES:
        size = np.timedelta64(count, _SIZES[base])
        in_days = _SIZES[base] in "DW"
        return Even(size, wall=in_days), Even(size, wall=not in_days)
    return None


def _from_size(size: np.timedelta64) -> tuple[Line, ...] | None:
    unit = np.datetime_data(size.dtype)[0]
    if np.isnat(size) or size <= np.timedelta64(0) or unit == "generic":
        return None
    if unit in ("Y", "M"):
        return (Months(int(size.astype("m8[M]").astype(np.int64))),)
    in_days = not size % np.timedelta64(1, "D")
    return Even(size, wall=in_days), Even(size, wall=not in_days)


def _from_offset(offset: Any) -> tuple[Line, ...] | None:
    """What an offset of pandas means, by its name where that is one of ours, else by its own arithmetic."""
    name = str(getattr(offset, "freqstr", type(offset).__name__))
    if getattr(offset, "n", 1) < 1:
        return None
    calendar = getattr(offset, "calendar", None)
    if isinstance(calendar, np.busdaycalendar) and re.fullmatch(r"\d*C", name):
        return (_business(calendar, offset.n),)
    return _from_name(name) or (Offset(offset, name),)


def _business(calendar: np.busdaycalendar, count: int) -> Business:
    mask = "".join("01"[int(worked)] for worked in calendar.weekmask)
    return Business(int(count), mask, tuple(calendar.holidays))


def _from_list(stamps: Any) -> tuple[Line, ...] | None:
    """A calendar of stamps: dates of any kind, by the instant where they have a zone."""
    column = nw.from_native(getattr(stamps, "to_series", lambda: stamps)(), pass_through=True, series_only=True)
    if isinstance(column, nw.Series):
        read = Stamps.read("freq", column.name, column)
        points, wall = read.values, read.zone is None
    else:
        given = list(np.asarray(stamps)) if isinstance(stamps, np.ndarray) else list(stamps)
        aware = {getattr(stamp, "tzinfo", None) is not None for stamp in given}
        if len(aware) != 1 or not all(isinstance(stamp, (date, str, np.datetime64)) for stamp in given):
            return None
        try:
            points, wall = np.array([_instant(stamp) for stamp in given], "M8[us]"), aware == {False}
        except ValueError:
            return None
    if points.dtype.kind != "M" or len(points) == 0 or np.isnat(points).any():
        return None
    return (Listed(np.unique(points), wall),)


def _instant(stamp: Any) -> Any:
    if isinstance(stamp, datetime) and stamp.tzinfo is not None:
        return stamp.astimezone(UTC).replace(tzinfo=None)
    return stamp
