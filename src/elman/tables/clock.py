"""Time stamps in equal steps: how long a step is, where one is missing, and which stamps follow.

A clock is a line (of days, hours, months, business days; see `lines`) and the zone by which it is read. The commonest
step of all series is the clock; each series has a phase of its own, the commonest rest of its stamps on the line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import Any

import numpy as np

from elman.checks import Array
from elman.checks import show as show_value
from elman.tables.frequency import read_frequency, within
from elman.tables.lines import Business, Even, Line, Months
from elman.tables.places import counted
from elman.tables.rows import Rows, fine, show_stamp
from elman.tables.stamps import Stamps
from elman.tables.zones import instants, local, moved, zone_name

_DAY = np.timedelta64(1, "D")
_ADVERBS = {
    "1 day": "daily", "7 days": "weekly", "1 hour": "hourly", "1 business day": "in business days",
    "1 month": "monthly", "3 months": "quarterly", "12 months": "yearly",
}  # fmt: skip


@dataclass(frozen=True)
class Clock:
    """Equal steps of time."""

    line: Line
    stamps: Stamps = field(compare=False)  #: the kind of its stamps, without values
    unit: Even | Months | Business | None = None  #: the length of the periods that it numbers

    @property
    def zone(self) -> tzinfo | None:
        """The time zone in which days and months are counted, or None where the stamps have none."""
        return self.stamps.zone

    @classmethod
    def read(
        cls,
        stamps: Stamps,
        groups: Sequence[Array],
        frequency: Any = None,
        gaps: bool = False,
        name: Callable[[int], str] = lambda i: "the table",
        label: str = "the time",
    ) -> tuple[Clock, list[Timeline]]:
        """The clock of all series and where each stands on it.

        `groups` holds the rows of each series in the order of time; `frequency` is a stated step or the clock of an
        earlier table; with `gaps` steps may be missing; `name` and `label` are for messages.

        Raises `ValueError`, naming series, row and stamp, where stamps are missing, repeated, out of order, off the
        clock, or where steps are missing without `gaps` or more of them than there are rows.
        """
        if isinstance(frequency, Clock):
            stamps.like(frequency.stamps, label)  # refuses stamps of another kind
        period = getattr(stamps.stated, "base", None)  # numbers of periods of two months count months
        unit = next(iter(_or_none(period)), None) if stamps.kind == "period" else None
        plain = cls(Even(1), stamps.empty(), unit if isinstance(unit, (Even, Months, Business)) else None)
        rows = Rows(stamps, groups, name, label)
        tried: list[tuple[Clock, Array, Array, Array]] = []
        for candidate in _candidates(rows, plain, stamps.stated, frequency):
            tried.append((candidate, *_try(candidate, rows)))
            if tried[-1][-1].all():
                break
        clock, numbers, phases, keeps = max(tried, key=lambda found: found[-1].sum())  # of several the first
        _check_odd(rows, clock, keeps, frequency)
        _check_gaps(rows, clock, numbers, gaps, frequency)
        return clock, _timelines(rows, clock, stamps.values, numbers, phases)

    def describe(self) -> str:
        """The step in words: "1 day", "15 minutes", "1 month", "1 business day"."""
        if self.unit is None or not isinstance(self.line, Even):
            return self.line.words()
        if isinstance(self.unit, Even):
            return Even(self.unit.size * self.line.size).words()
        return replace(self.unit, count=self.unit.count * self.line.size).words()

    def adverb(self) -> str:
        """How often there is a step: "daily", "hourly", "every 15 minutes", "in business days"."""
        step = self.describe()
        often = _ADVERBS.get(step, f"every {step.removeprefix('1 ')}").replace("every step", "in steps")
        return "in equal steps" if self.stamps.kind == "number" else often

    def show(self, stamp: Any) -> str:
        """A stamp in words, in the time of its zone; the date alone where it is midnight."""
        return show_stamp(stamp, self.stamps)

    def stand(self, utc: Array, phases: Array, on_line: Array | None = None) -> tuple[Array, Array]:
        """The number (rows,) of the step at or before each stamp, and whether the stamp is that of the step.

        `phases` (rows,) are those of their series. A stamp that does not exist may stand where calendars move it to.
        """
        on_line = self.on_line(utc) if on_line is None else on_line
        whole, _ = self.line.split(on_line)
        number = whole - (self.line.join(whole, phases, on_line.dtype) > on_line)
        at = self.line.join(number, phases, on_line.dtype)
        on = at == on_line
        if self.zone is not None and self.line.wall and not on.all():
            for back in (0, 1):  # moved on, or back to before the stamp of its step
                off = np.flatnonzero(~on)
                at = self.line.join(number[off] + back, phases[off], on_line.dtype)
                on[off] = moved(at, utc[off], self.zone)
                number[off] += back * on[off]
        return number, on & self.line.fits(on_line)

    def on_line(self, utc: Array) -> Array:
        """Stamps as the line takes them: by the time on the wall, or by the instant."""
        utc = fine(utc)
        return utc if self.zone is None or not self.line.wall else local(utc, self.zone)

    def at(self, numbers: Array, phase: int, dtype: Any) -> Array:
        """The stamps (count,) of steps by their numbers, for a series of this phase."""
        work = fine(np.empty(0, dtype)).dtype
        rests = np.full(len(numbers), phase)
        found = self.line.join(numbers, rests, work)
        late = work.kind == "M" and (found.astype("M8[Y]") > np.datetime64("9999", "Y")).any()
        if late or (self.line.split(found)[0] != numbers).any():
            raise ValueError(self.line.end(np.dtype(dtype)))
        if self.zone is not None and self.line.wall:
            found = instants(found, self.zone)
        return found.astype(dtype)


@dataclass(frozen=True, eq=False)
class Timeline:
    """One series on a clock."""

    clock: Clock
    positions: Array  #: (rows,) int64, the step at which each row stands, ascending from 0
    first: Any  #: the stamp of the first row
    last: Any  #: that of the last
    start: int  #: the number of the first step on the clock's line
    phase: int  #: the rest of the stamps of this series on the line
    dtype: Any  #: of the stamps

    def at(self, positions: Array) -> Array:
        """The stamps (count,) of steps, by their positions; instants in UTC where there is a zone."""
        return self.clock.at(self.start + np.asarray(positions, np.int64), self.phase, self.dtype)

    def show(self, position: int) -> str:
        """The stamp of a step in words."""
        return self.clock.show(self.at(np.array([position]))[0])

    def following(self, count: int) -> Array:
        """The `count` stamps after the last."""
        found = self.at(self.positions[-1] + np.arange(1, count + 1))
        if (np.append(np.asarray(self.last, self.dtype), found)[:-1] < found).all():
            return found
        if self.clock.zone is None:  # so large that they begin again
            raise ValueError(self.clock.line.end(self.dtype))
        raise ValueError(f"stamps must exist in {zone_name(self.clock.zone)}. Got a day that it left out.")

    def locate(self, stamps: Array) -> tuple[Array, Array]:
        """The position (rows,) of the step at or before each of other stamps, and whether it stands on that step."""
        phases = np.full(len(stamps), self.phase)
        numbers, on = self.clock.stand(fine(np.asarray(stamps)), phases)
        return numbers - self.start, on


def _timelines(rows: Rows, clock: Clock, values: Array, numbers: Array, phases: Array) -> list[Timeline]:
    found = []
    for first, end, phase in zip(rows.firsts, [*rows.firsts[1:], len(numbers)], phases, strict=True):
        own, ends = numbers[first:end], values[rows.rows[[first, end - 1]]]
        found.append(Timeline(clock, own - own[0], ends[0], ends[1], int(own[0]), int(phase), values.dtype))
    return found


def _candidates(rows: Rows, plain: Clock, stated: Any, frequency: Any) -> Iterator[Clock]:
    """The clocks that it may be, the likelier first."""
    if isinstance(frequency, Clock):
        yield replace(frequency, stamps=plain.stamps)  # days are those of its own zone
    elif frequency is not None:
        yield from (_stated(rows, plain, line) for line in read_frequency(frequency))
    else:
        if stated is not None and plain.stamps.kind != "period":
            yield from (_stated(rows, plain, line) for line in _or_none(stated))
        yield from (replace(plain, line=line) for line in _guess(rows, plain))


def _stated(rows: Rows, plain: Clock, line: Line) -> Clock:
    """A clock of these stamps on a line that is stated, for periods in the time that one takes."""
    if plain.stamps.kind == "period" and not (isinstance(line, Even) and isinstance(line.size, int)):
        count = within(line, plain.unit) if plain.unit else None
        if count is None:
            raise ValueError(f"freq must be a multiple of the periods of {rows.label}. Got {line.words()}.")
        line = Even(count)
    if rows.utc.dtype.kind != "M" and not isinstance(line, Even):
        raise ValueError(f"freq must be a step of fixed size, as {rows.label} holds no dates. Got {line.words()}.")
    return replace(plain, line=line)


def _guess(rows: Rows, plain: Clock) -> Iterator[Line]:
    """Lines with the commonest step: of months or days by the time on the wall, else by the instant."""
    if not rows.same.any():
        raise ValueError(f"{rows.label} must have two stamps at least; freq= states the step of one. Got one.")
    step = rows.commonest(rows.utc)
    if rows.utc.dtype.kind != "M":
        yield Even(int(step) if rows.utc.dtype.kind == "i" else step)
        return
    wall = replace(plain, line=Even(_DAY, wall=True)).on_line(rows.utc)
    walled = rows.commonest(wall)
    months = wall.astype("M8[M]")
    count = int(rows.commonest(months.astype(np.int64)))
    if count > 0:
        ends = bool((wall.astype("M8[D]") + 1 == (months + 1).astype("M8[D]")).all())
        yield from (Months(count, at_end=ends), Months(count, at_end=not ends))
    lines = [Even(walled, wall=True)] if walled > 0 * _DAY else []  # clocks may go back by a step
    yield from [*lines, Even(step)] if not walled % _DAY else [Even(step), *lines]


def _try(clock: Clock, rows: Rows) -> tuple[Array, Array, Array]:
    """The number (rows,) of each stamp's step on a clock, the phases (series,), and which stamps keep to it."""
    on_line = clock.on_line(rows.utc)
    phases = rows.phases(clock.line.split(on_line)[1], clock.line.shortens)
    numbers, keeps = clock.stand(rows.utc, phases[rows.series], on_line)
    keeps[1:] &= ~rows.same | (np.diff(numbers) > 0)
    return numbers, phases, keeps


def _check_odd(rows: Rows, clock: Clock, keeps: Array, frequency: Any) -> None:
    """Refuses stamps off the clock, naming the first."""
    if keeps.all():
        return
    at, count, step = int(keeps.argmin()), int((~keeps).sum()), clock.describe()
    must, hint = f"go on in equal steps, of {step} here", "; freq= states another step"
    if frequency is not None:
        must, hint = f"keep to freq={show_value(frequency)}", ""
    if isinstance(frequency, Clock):
        must = f"go on in steps of {step}, as those before"
    before = f" after {rows.stamp(at - 1)}" if at and rows.same[at - 1] else ""
    others = f", and {counted(count - 1, 'more row')} off the clock" if count > 1 else ""
    raise ValueError(f"{rows.where(at)} must {must}. Got {rows.stamp(at)}{before}{others}{hint}.")


def _check_gaps(rows: Rows, clock: Clock, numbers: Array, gaps: bool, frequency: Any) -> None:
    """Refuses missing steps, or with `gaps` so many of them that most values would be invented."""
    missing = np.where(rows.same, np.diff(numbers) - 1, 0)
    if not missing.any():
        return
    at = int((missing > 0).argmax()) + 1
    hint = "" if isinstance(frequency, Clock) else _hint(rows, clock, at, frequency is not None)
    if not gaps:
        raise ValueError(
            f"{rows.where(at)} must go on in equal steps, of {clock.describe()} here. "
            f"Got {rows.stamp(at)} after {rows.stamp(at - 1)}, {counted(int(missing[at - 1]), 'step')} missing"
            f'; fill="forward" or "interpolate" fills gaps{hint}.'
        )
    invented = np.bincount(rows.series[1:], missing, len(rows.firsts)).astype(np.int64)
    given = np.bincount(rows.series, minlength=len(rows.firsts))
    if (invented > given).any():
        i = int((invented > given).argmax())
        raise ValueError(
            f"fill must not invent more rows than there are. Got {counted(int(given[i]), 'row')} of {rows.name(i)}, "
            f"and {counted(int(invented[i]), 'step')} of {clock.describe()} missing between them{hint}."
        )


def _hint(rows: Rows, clock: Clock, at: int, stated: bool) -> str:
    """What may be meant where there is a gap before a row, of a clock that is found or `stated`."""
    line, days = clock.line, clock.on_line(rows.utc)
    if isinstance(line, Business):
        return "; np.busdaycalendar or a list of all days as freq= leaves out holidays"
    if line.wall and line.words() == "1 day" and np.is_busday(days.astype("M8[D]")).all():
        return '; freq="B" counts business days, np.busdaycalendar or a list of days those of a calendar'
    if rows.naive(at) and isinstance(line, Even) and days[at] - days[at - 1] - line.size == np.timedelta64(1, "h"):
        return "; where clocks went forward, give the time zone (pandas: tz_localize), or UTC"
    return "" if stated else "; freq= states another step"


def _or_none(stated: Any) -> tuple[Line, ...]:
    """The lines of a step that the data itself states, where it is one of ours."""
    try:
        return read_frequency(stated)
    except ValueError:
        return ()
