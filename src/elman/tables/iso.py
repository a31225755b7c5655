"""Time stamps as text: ISO 8601, one format for a whole column, read and written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, timedelta, timezone, tzinfo
from typing import Any

import numpy as np

from elman.checks import Array
from elman.tables.places import show

_FORMAT = re.compile(
    r"(?P<date>(?:1[89]|2[01])\d\d|\d{4}-\d\d(?:-\d\d)?)"  # a number of four digits is a year from 1800 to 2199
    r"(?:(?<=-\d\d-\d\d)(?P<sep>[T ])\d\d:\d\d(?P<seconds>:\d\d(?:\.(?P<rest>\d{1,9}))?)?"
    r"(?P<zone>Z|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)?)?",
    re.ASCII,
)
_MUST = "text in ISO 8601, such as 2024-01-31 or 2024-01-31T09:30:00+01:00, all in one format"


@dataclass(frozen=True)
class Iso:
    """The format of one stamp."""

    text: str  #: a stamp in the format
    unit: str  #: the unit of NumPy that writes it
    end: int  #: where its time zone begins
    separator: str
    zone: tzinfo | None

    @staticmethod
    def fits(text: str) -> bool:
        """Whether a text is a stamp."""
        return _FORMAT.fullmatch(text) is not None

    @classmethod
    def read(cls, called: str, text: str) -> Iso:
        """The format of a text, which must be a stamp."""
        match = _FORMAT.fullmatch(text)
        if match is None:
            raise ValueError(f"{called} must hold {_MUST}. Got {show(text)} at row 0.")
        unit = {4: "Y", 7: "M", 10: "D"}[len(match["date"])]
        if match["sep"]:
            unit = "m" if not match["seconds"] else ("s", "ms", "us", "ns")[-(-len(match["rest"] or "") // 3)]
        zone = match["zone"]
        return cls(text, unit, len(text) - len(zone or ""), match["sep"] or "", offset(zone) if zone else None)

    def parse(self, called: str, texts: list[Any]) -> Array:
        """The stamps (rows,) of texts in this format, in UTC where they have an offset."""
        own = np.array([self.text]).view(np.uint32)
        same = set(map(len, texts)) == {len(own)}
        array = np.array(texts if same else [], np.str_)
        if same:
            letters = array.view(np.uint32).reshape(len(texts), -1)
            digits = np.isin(np.arange(len(own)), [i for i in range(self.end) if self.text[i].isdigit()])
            same = bool(((letters == own) | (digits & (letters >= ord("0")) & (letters <= ord("9")))).all())
        if not same:
            row = next(i for i, text in enumerate(texts) if not self._is_like(text))
            raise ValueError(
                f"{called} must hold {_MUST}. Got {show(texts[row])} at row {row} after {show(self.text)}."
            )
        plain = array.astype(f"U{self.end}")
        try:
            stamps = plain.astype(f"M8[{self.unit}]")
        except ValueError:
            row = next(i for i, text in enumerate(plain) if not _is_date(text))
            raise ValueError(f"{called} must hold dates that exist. Got {show(texts[row])} at row {row}.") from None
        stamps = stamps.astype("M8[D]" if self.unit in "YMD" else "M8[s]" if self.unit == "m" else stamps.dtype)
        if self.unit == "ns" and (stamps.astype("M8[Y]") != plain.astype("U4").astype("M8[Y]")).any():
            raise ValueError(f"{called} must lie from 1678 to 2262 in nanoseconds. Got {show(min(texts))}.")
        return stamps if self.zone is None else stamps - np.timedelta64(self._shift())

    def _is_like(self, text: str) -> bool:
        """Whether a text has the format."""
        mine = re.sub(r"\d", "0", self.text[: self.end]) + self.text[self.end :]
        return self.fits(text) and re.sub(r"\d", "0", text[: self.end]) + text[self.end :] == mine

    def write(self, stamps: Array) -> list[str]:
        """Stamps (count,) as texts."""
        local: Any = stamps if self.zone is None else stamps + np.timedelta64(self._shift())
        texts = np.datetime_as_string(local, unit=self.unit)  # type: ignore[call-overload]  # a unit as text
        return [str(text)[: self.end].replace("T", self.separator) + self.text[self.end :] for text in texts]

    def _shift(self) -> timedelta:
        """How far the clocks of the time zone are ahead of UTC."""
        return (self.zone.utcoffset(None) if self.zone else None) or timedelta()


def offset(text: str) -> tzinfo:
    """The time zone of "Z", "+01:00", "+0100" or "+01"."""
    if text == "Z":
        return UTC
    size = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]) if len(text) > 3 else 0)
    return timezone(-size if text[0] == "-" else size)


def _is_date(text: Any) -> bool:
    try:
        np.datetime64(text)
    except ValueError:
        return False
    return True
