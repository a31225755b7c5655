"""Time stamps in equal steps: how long a step is, where one is missing, and which stamps follow.

A step is a fixed size (an hour, a week, 1 for numbered steps) or a number of whole months, counted from the start or
from the end of a month; 31 January and 28 February are one such step apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from elman.checks import Array


@dataclass(frozen=True)
class Clock:
    """Equal steps of time."""

    step: int  #: in the unit of the stamps, or in months
    months: str = ""  #: "" for a fixed size, "start" or "end" of the month from which stamps are counted

    @classmethod
    def read(cls, name: str, stamps: Array, gaps: bool = False) -> Clock:
        """The clock of stamps (time,), dates or whole numbers, that ascend.

        Raises `ValueError`, naming the first wrong stamp, where they are out of order, repeated, or not in equal
        steps; with `gaps` steps may be missing.
        """
        if len(stamps) < 2:
            raise ValueError(f"{name} must have at least two stamps. Got {len(stamps)}.")
        missing = np.isnat(stamps) if stamps.dtype.kind == "M" else np.zeros(len(stamps), bool)
        if missing.any():
            raise ValueError(f"{name} must be given for every row. Got none at step {int(missing.argmax())}.")
        counts = stamps.astype(np.int64)
        wrong = np.diff(counts) <= 0
        if wrong.any():
            at = int(wrong.argmax()) + 1
            what = "the same again" if counts[at] == counts[at - 1] else "an earlier one"
            raise ValueError(f"{name} must ascend. Got {what}, {stamps[at]}, at step {at}.")
        clock = cls._guess(stamps)
        positions = clock.positions(stamps)
        steps = np.diff(positions)
        wrong = (steps != np.floor(steps)) if gaps else (steps != 1)
        if wrong.any():
            at = int(wrong.argmax()) + 1
            hint = "" if gaps else '; fill="forward" or "interpolate" fills gaps'
            raise ValueError(
                f"{name} must go on in equal steps, of {clock.describe(stamps)} here. "
                f"Got {stamps[at]} after {stamps[at - 1]}, at step {at}{hint}."
            )
        return clock

    @classmethod
    def _guess(cls, stamps: Array) -> Clock:
        """The smallest step between neighbors; one of months where the stamps keep their place in the month."""
        steps = np.diff(stamps.astype(np.int64))
        if stamps.dtype.kind == "M" and steps.min() != steps.max():
            for months in ("start", "end"):
                whole, rest = _in_months(stamps, months)
                if (rest == rest[0]).all() and (np.diff(whole) > 0).all():
                    return cls(int(np.diff(whole).min()), months)
        return cls(int(steps.min()))

    def positions(self, stamps: Array) -> Array:
        """How many steps (time,) each stamp is after the first; whole numbers where they keep to the clock."""
        counts = _in_months(stamps, self.months)[0] if self.months else stamps.astype(np.int64)
        return (counts - counts[0]) / self.step

    def following(self, last: Array, count: int) -> Array:
        """The `count` stamps after `last`, an array of one stamp (1,)."""
        ahead = np.arange(1, count + 1)
        if not self.months:
            return np.asarray(last + (ahead * self.step).astype(last.dtype.str.replace("M", "m")))
        whole, rest = _in_months(last, self.months)
        months = (whole + ahead * self.step).astype("M8[M]")
        return np.asarray((months + (self.months == "end")).astype(last.dtype) + rest)

    def describe(self, stamps: Array) -> str:
        """The step in words."""
        if self.months:
            return f"{self.step} month{'s' * (self.step > 1)}"
        if stamps.dtype.kind != "M":
            return str(self.step)
        size = np.array(self.step).astype(stamps.dtype.str.replace("M", "m"))
        for word in ("day", "hour", "minute", "second"):
            count = float(size / np.array(1).astype("m8[D]" if word == "day" else f"m8[{word[0]}]"))
            if count == int(count):
                return f"{int(count)} {word}{'s' * (count > 1)}"
        return str(size)


def _in_months(stamps: Array, months: str) -> tuple[Array, Array]:
    """The month of each stamp, a number, and its distance from the month's start, or from that of the next."""
    whole = stamps.astype("M8[M]")
    edge = (whole + (months == "end")).astype(stamps.dtype)
    return whole.astype(np.int64), stamps - edge
