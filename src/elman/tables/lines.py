"""Lines: the grids on which time stamps may stand. Each numbers its points and says how far a stamp is from one.

A line splits stamps into a whole number, that of the point at or before each, and a rest; and joins them again. The
rest is one number for all stamps of a series that keeps to the line: its phase. A new line is a class of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from elman.checks import Array
from elman.tables.places import counted

_UNITS: dict[str, Any] = {
    "day": "D", "hour": "h", "minute": "m", "second": "s", "millisecond": "ms", "microsecond": "us", "nanosecond": "ns",
}  # fmt: skip
_MOST = 1_000_000  #: steps that an offset of pandas is followed


class Line:
    """A grid; `wall` tells whether stamps with a zone stand on it by the time on the wall, not by the instant."""

    wall: bool
    count: int = 1  #: of what `word` says
    word: ClassVar[str] = "step"
    shortens: ClassVar[bool] = False  #: whether a rest is less where it finds no room, as the 31st in a month of 30

    def split(self, stamps: Array) -> tuple[Array, Array]:
        """The whole numbers and the rests (rows,) int64 of stamps (rows,)."""
        raise NotImplementedError

    def join(self, whole: Array, rest: Array, dtype: Any) -> Array:
        """The stamps (rows,) of whole numbers and rests."""
        raise NotImplementedError

    def fits(self, stamps: Array) -> Array:
        """Whether stamps (rows,) stand where the name of the step says: on Mondays, at the ends of months."""
        return np.ones(len(stamps), bool)

    def words(self) -> str:
        """The step in words."""
        return counted(self.count, self.word)

    def end(self, dtype: Any) -> str:
        """What must hold where stamps of a dtype go no further, and what was got."""
        must = f"stamps must lie within the range of {dtype}, up to the year 9999"
        return f"{must}. Got steps of {self.words()} beyond it."


@dataclass(frozen=True)
class Even(Line):
    """Steps of one size: a timedelta64, or a whole number for numbered steps."""

    size: Any
    wall: bool = False
    weekday: int | None = None  # Monday is 0

    def split(self, stamps: Array) -> tuple[Array, Array]:
        whole, rest = np.divmod(stamps.astype(np.int64), self._counts(stamps.dtype))
        return whole, rest

    def join(self, whole: Array, rest: Array, dtype: Any) -> Array:
        return np.asarray((whole * self._counts(dtype) + rest).astype(dtype))

    def fits(self, stamps: Array) -> Array:
        if self.weekday is None:
            return super().fits(stamps)
        return np.asarray((_days(stamps).astype(np.int64) + 3) % 7 == self.weekday)  # 1970 began on a Thursday

    def words(self) -> str:
        if not isinstance(self.size, np.timedelta64):
            return str(self.size)
        word, unit = next((w, u) for w, u in _UNITS.items() if not self.size % np.timedelta64(1, u))
        return counted(int(self.size // np.timedelta64(1, unit)), word)

    def _counts(self, dtype: Any) -> int:
        """The size in the unit of the stamps."""
        if dtype.kind == "i" or not isinstance(self.size, np.timedelta64):
            if (dtype.kind == "i") == isinstance(self.size, np.timedelta64):
                held = "whole numbers" if dtype.kind == "i" else "dates or durations"
                raise ValueError(f"freq must be a step of {held}, as the stamps are. Got {self.words()}.")
            return int(self.size)
        size = self.size.astype(f"m8[{np.datetime_data(dtype)[0]}]")
        if size != self.size:
            unit = next(word for word, unit in _UNITS.items() if unit == np.datetime_data(dtype)[0])
            raise ValueError(f"freq must be whole {unit}s, as the stamps are. Got {self.words()}.")
        return int(size.astype(np.int64))


@dataclass(frozen=True)
class Months(Line):
    """Steps of whole months; a day that a month does not have is its last one."""

    count: int
    at_end: bool = False  # counted from the end of the month, so that ends stay ends
    edge: bool = False  # on the first day of the month alone, or on the last
    word: ClassVar[str] = "month"
    shortens: ClassVar[bool] = True
    month: tuple[int, int] | None = None  # a month of the year, 0 is January, and every how many months one is as good
    wall: bool = True

    def split(self, stamps: Array) -> tuple[Array, Array]:
        months = stamps.astype("M8[M]")
        offset = (stamps - (months + int(self.at_end)).astype(stamps.dtype)).astype(np.int64)
        whole, turn = np.divmod(months.astype(np.int64), self.count)
        return whole, offset * self.count + turn

    def join(self, whole: Array, rest: Array, dtype: Any) -> Array:
        offset, turn = np.divmod(rest, self.count)
        months = (whole * self.count + turn).astype("M8[M]")
        if not self.at_end:
            length = (_days(months + 1) - _days(months)).astype(np.int64)
            offset = offset - _day(dtype) * (offset // _day(dtype) - length + 1).clip(0)
        return np.asarray((months + int(self.at_end)).astype(dtype) + offset.astype(_size(dtype)))

    def fits(self, stamps: Array) -> Array:
        days, months = _days(stamps), stamps.astype("M8[M]")
        fits = np.ones(len(stamps), bool)
        if self.edge:
            fits = days == ((months + 1).astype("M8[D]") - 1 if self.at_end else months.astype("M8[D]"))
        if self.month is not None:
            fits &= (months.astype(np.int64) - self.month[0]) % self.month[1] == 0
        return np.asarray(fits)


@dataclass(frozen=True)
class Business(Line):
    """Steps of days that are worked on."""

    count: int = 1
    word: ClassVar[str] = "business day"
    weekmask: str = "1111100"
    holidays: tuple[np.datetime64, ...] = ()
    wall: bool = True

    def split(self, stamps: Array) -> tuple[Array, Array]:
        calendar, zero = self._calendar()
        days = np.busday_offset(_days(stamps), 0, roll="backward", busdaycal=calendar)
        whole, turn = np.divmod(np.busday_count(zero, days, busdaycal=calendar), self.count)
        rest = (stamps - days.astype(stamps.dtype)).astype(np.int64)
        return whole, turn * _day(stamps.dtype) + rest

    def join(self, whole: Array, rest: Array, dtype: Any) -> Array:
        calendar, zero = self._calendar()
        turn, rest = np.divmod(rest, _day(dtype))
        days = np.busday_offset(zero, whole * self.count + turn, busdaycal=calendar)
        return np.asarray(days.astype(dtype) + rest.astype(_size(dtype)))

    def fits(self, stamps: Array) -> Array:
        return np.asarray(np.is_busday(_days(stamps), busdaycal=self._calendar()[0]))

    def _calendar(self) -> tuple[np.busdaycalendar, np.datetime64]:
        """NumPy's calendar, which cannot be copied or pickled, and the day that has number 0."""
        calendar = np.busdaycalendar(self.weekmask, list(self.holidays))
        return calendar, np.busday_offset("1970-01-01", 0, roll="forward", busdaycal=calendar)


@dataclass(frozen=True, eq=False)
class Listed(Line):
    """A list of all stamps there are, as the sessions of an exchange; (count,) datetime64 that ascend."""

    stamps: Array
    wall: bool = True

    def split(self, stamps: Array) -> tuple[Array, Array]:
        points = self.stamps.astype(stamps.dtype)
        whole = np.searchsorted(points, stamps, side="right") - 1
        return whole, (stamps - points[whole.clip(0)]).astype(np.int64)

    def join(self, whole: Array, rest: Array, dtype: Any) -> Array:
        return np.asarray(self.stamps.astype(dtype)[whole.clip(0, len(self.stamps) - 1)] + rest.astype(_size(dtype)))

    def fits(self, stamps: Array) -> Array:
        return np.asarray(self.split(stamps)[0] >= 0)

    def words(self) -> str:
        return "1 step of the given calendar"

    def end(self, dtype: Any) -> str:
        last = np.datetime_as_string(self.stamps[-1], "auto")
        return f"freq must list every stamp, those to come too. Got none after {last}."


@dataclass(frozen=True, eq=False)
class Offset(Line):
    """Steps of an offset of pandas, by its own arithmetic: `rollforward`, and sums with dates."""

    offset: Any
    name: str
    wall: bool = True
    _after: list[Any] = field(default_factory=list, repr=False)  # its points from number 0 on, as they are needed
    _before: list[Any] = field(default_factory=list, repr=False)  # those before number 0, the latest first

    def split(self, stamps: Array) -> tuple[Array, Array]:
        if not self._after:
            self._after.append(_plain(self.offset.rollforward(_days(stamps).min().item())))
        first = self._before[-1] if self._before else self._after[0]
        while first > stamps.min():
            first = self._add(self._before, first, -1)
        while self._after[-1] <= stamps.max():
            self._add(self._after, self._after[-1], 1)
        points = self._points(stamps.dtype)
        whole = np.searchsorted(points, stamps, side="right") - 1
        return whole - len(self._before), (stamps - points[whole]).astype(np.int64)

    def join(self, whole: Array, rest: Array, dtype: Any) -> Array:
        while len(whole) and len(self._after) <= whole.max():
            self._add(self._after, self._after[-1], 1)
        points = self._points(dtype)[(whole + len(self._before)).clip(0)]
        return np.asarray(points + rest.astype(_size(dtype)))

    def words(self) -> str:
        return f"1 step of {self.name}"

    def _points(self, dtype: Any) -> Array:
        return np.array([*reversed(self._before), *self._after]).astype(dtype)

    def _add(self, points: list[Any], last: Any, sign: int) -> Any:
        """Adds the point after the last one, or before it, and returns it."""
        found = _plain(last.item() + sign * self.offset)
        if (found - last) * sign <= np.timedelta64(0) or len(points) > _MOST:
            must = f"freq must go forward in time, in at most {_MOST:,} steps"
            raise ValueError(f"{must}. Got {self.name} from {self._after[0]} to {found}.")
        points.append(found)
        return found


def _plain(stamp: Any) -> np.datetime64:
    """A stamp of pandas, in microseconds."""
    return np.datetime64(stamp.replace(tzinfo=None), "us")


def _days(stamps: Array) -> Array:
    return stamps.astype("M8[D]")


def _size(dtype: Any) -> str:
    """The dtype of differences of datetime64."""
    return str(np.dtype(dtype).str.replace("M", "m"))


def _day(dtype: Any) -> int:
    """A day in the unit of a datetime64."""
    return int(np.timedelta64(1, "D").astype(_size(dtype)).astype(np.int64))
