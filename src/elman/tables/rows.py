"""The stamps of a table's rows, one series after the other: their order, their commonest step, their words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from elman.checks import Array
from elman.tables.lines import Even
from elman.tables.stamps import Stamps
from elman.tables.zones import instants, local


class Rows:
    """The rows of all series, each in the order of time."""

    def __init__(self, stamps: Stamps, groups: Sequence[Array], name: Callable[[int], str], label: str) -> None:
        self.stamps, self.name, self.label = stamps, name, label
        self.rows = np.concatenate(groups) if len(groups) else np.empty(0, np.int64)
        lengths = np.array([len(rows) for rows in groups], np.int64)
        self.series = np.repeat(np.arange(len(groups)), lengths)
        self.firsts = np.cumsum(lengths) - lengths  # where each series begins
        self.utc = fine(np.asarray(stamps.values)[self.rows])
        self.same = self.series[1:] == self.series[:-1]  # whether the next row is of the same series
        self._check()

    def _check(self) -> None:
        """Refuses stamps that are repeated or not in order."""
        if not len(self.utc):
            raise ValueError(f"{self.label} must be given for one row at least. Got no rows.")
        wrong = self.same & (np.diff(self.utc).astype(np.int64) <= 0)
        if not wrong.any():
            return
        at = int(wrong.argmax()) + 1
        if self.utc[at] != self.utc[at - 1]:
            raise ValueError(f"{self.where(at)} must ascend. Got {self.stamp(at)} after {self.stamp(at - 1)}.")
        hint = "; where clocks went back, give the time zone (pandas: tz_localize), or UTC" if self.naive(at) else ""
        if len(self.firsts) == 1 and 4 * wrong.sum() > len(self.utc):
            hint = "; id= tells series apart where there are several"
        first, second = sorted((self.rows[at - 1], self.rows[at]))
        raise ValueError(
            f"{self.where(at)} must ascend, each stamp once. "
            f"Got {show_stamp(self.utc[at], self.stamps)} at row {first} and again at row {second}{hint}."
        )

    def commonest(self, values: Array) -> Any:
        """The commonest difference between neighbors; of several the smallest."""
        found, counts = np.unique(np.diff(values)[self.same], return_counts=True)
        return found[counts.argmax()]

    def phases(self, rests: Array, largest: bool) -> Array:
        """The commonest rest (series,) of each series; of several the largest, or the first that comes."""
        phases = rests[self.firsts]
        if (rests == phases[self.series]).all():
            return phases
        order = np.lexsort((rests, self.series))
        series, rests = self.series[order], rests[order]
        begins = np.flatnonzero(np.r_[True, (np.diff(series) != 0) | (np.diff(rests) != 0)])
        counts = np.diff(np.r_[begins, len(rests)])
        size = rests[begins] if largest else -order[begins]
        last = np.lexsort((size, counts, series[begins]))  # by series, then by how often
        phases[series[begins][last]] = rests[begins][last]  # the last one written stays
        return phases

    def stamp(self, at: int) -> str:
        """A stamp in words, with its row of the table."""
        return f"{show_stamp(self.utc[at], self.stamps)} at row {self.rows[at]}"

    def naive(self, at: int) -> bool:
        """Whether a stamp is a time of day without a zone, which clocks that are changed may leave out or repeat."""
        dated = self.utc.dtype.kind == "M" and self.stamps.zone is None
        return bool(dated and self.utc[at] != self.utc[at].astype("M8[D]"))

    def where(self, at: int) -> str:
        return f"{self.label} of {self.name(int(self.series[at]))}"


def fine(stamps: Array) -> Array:
    """Stamps in a unit that is not longer than a day; whole numbers as int64."""
    if stamps.dtype.kind in "iu":
        return stamps.astype(np.int64)
    unit = np.datetime_data(stamps.dtype)[0]
    return stamps.astype(f"{stamps.dtype.kind}8[D]") if unit in ("Y", "M", "W") else stamps


def show_stamp(stamp: Any, stamps: Stamps) -> str:
    """One of `stamps` in words, in the time of its zone; the date alone where it is midnight."""
    if stamps.kind == "duration":
        return Even(stamp).words()
    if stamps.kind == "number":
        return str(stamp)
    if stamps.kind in ("period", "text"):
        return str(next(iter(stamps.native(np.array([stamp])))))
    utc = np.array([stamp])
    wall = utc if stamps.zone is None else local(utc, stamps.zone)
    text = str(np.datetime_as_string(wall[0], "auto")).replace("T", " ")
    again = stamps.zone is not None and (instants(wall, stamps.zone) != utc).any()
    return f"{text} (the second of two)" if again else text
