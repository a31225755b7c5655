"""Values that are missing in the input of a stream: refused with their place, or the last value carried on."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from elman import checks
from elman.cells.cell import Arrays
from elman.cells.stepping import PlainStepper
from elman.checks import Array


@functools.cache
def axes(outer: int, middle: int) -> tuple[str, ...]:
    """The names of the axes of x, for the place of a value."""
    return (*("row",) * outer, *("step",) * middle, "feature")


def refuse_missing(x: Array, names: tuple[str, ...], name: str = "x") -> None:
    """Raises `ValueError` for the first NaN of x."""
    missing = np.isnan(x)
    if missing.any():
        at = checks.place(name, checks.first(missing), names)
        raise ValueError(f"{name} must hold no NaN, with missing='raise'. Got one at {at}.")


class LastValues(PlainStepper):
    """Puts the last value of a feature in the place of a missing one.

    Its state is the last value of each feature, (batch, features); NaN where there was none.
    """

    def __init__(self, batch: int | None, width: int, dtype: Any) -> None:
        self._outer = () if batch is None else (batch,)
        self._state = (np.full((batch or 1, width), np.nan, dtype),)

    @staticmethod
    def first(width: int, dtype: Any) -> Arrays:
        """The state before any value was seen."""
        return (np.full((1, width), np.nan, dtype),)

    def step(self, x: Array, out: Array | None = None) -> Array:
        """x (I,) or (B, I) with its missing values filled."""
        filled = self._filled(x.reshape(self._state[0].shape)[:, None], axes(len(self._outer), 0))[:, 0]
        self._state = (filled,)
        return np.array(filled).reshape(x.shape)

    def run(self, x: Array) -> Array:
        """x (T, I) or (B, T, I) with its missing values filled."""
        rows = x.reshape(len(self._state[0]), -1, x.shape[-1])
        filled = self._filled(rows, axes(len(self._outer), 1))
        self._state = (filled[:, -1].copy(),)
        return filled.reshape(x.shape)

    def _filled(self, x: Array, names: tuple[str, ...]) -> Array:
        """x (B, T, I) filled, from the values before it on."""
        with_last = np.concatenate([self._state[0][:, None], x], axis=1)
        seen = np.where(np.isnan(with_last), 0, np.arange(with_last.shape[1])[:, None])
        filled = np.take_along_axis(with_last, np.maximum.accumulate(seen, axis=1), axis=1)[:, 1:]
        missing = np.isnan(filled)
        if missing.any():
            shape = [n for n, name in zip(x.shape, ("row", "step", "feature"), strict=True) if name in names]
            where = checks.place("x", checks.first(missing.reshape(shape)), names)
            raise ValueError(f"x must have a value of each feature before one is missing. Got NaN at {where}.")
        return np.ascontiguousarray(filled)
