"""A cell one step at a time, by the plain equations: the state of one stream, or of a batch of them.

It has the methods of the compiled stream, so that the engine can give either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.cells.calling import Zones, advance
from elman.cells.cell import Arrays, Cell
from elman.checks import Array


@dataclass(frozen=True)
class Packed:
    """A cell with its weights, shared by any number of streams."""

    cell: Cell
    weights: Arrays
    hidden_size: int
    dtype: np.dtype[Any]
    zones: Zones | None = None  # the rates of zoneout: a stream gives its expectation

    def stream(self, batch: int) -> Stepper:
        """A stream of `batch` rows in the state 0."""
        return Stepper(self, batch)


class Stepper:
    """A state that walks."""

    def __init__(self, packed: Packed, batch: int) -> None:
        self.packed = packed
        self.batch = batch
        self._state: Arrays = ()
        self.reset()

    def step(self, x: Array, out: Array | None = None) -> Array:
        """y (H,) of x (I,), or y (B, H) of x (B, I)."""
        packed, rows = self.packed, np.atleast_2d(x).view()
        after, _ = advance(packed.cell, rows, self._state, packed.weights, zones=packed.zones)
        self._state = tuple([s.copy() for s in after])  # its own, whatever the cell keeps
        y = self._state[0].reshape(*x.shape[:-1], -1)
        if out is None:
            return y.copy()
        out[...] = y
        return out

    def run(self, x: Array) -> Array:
        """y (T, H) of x (T, I), or y (B, T, H) of x (B, T, I)."""
        return np.stack([self.step(x[..., t, :]) for t in range(x.shape[-2])], axis=-2)

    def state(self) -> Arrays:
        """The states, (B, H) each, copied."""
        return tuple(s.copy() for s in self._state)

    def set_state(self, *state: Array) -> None:
        """Takes over states (B, H)."""
        self._state = tuple(s.copy() for s in state)

    def reset(self) -> None:
        """The state 0."""
        widths = self.packed.cell.widths(self.packed.hidden_size)
        self._state = tuple(np.zeros((self.batch, width), self.packed.dtype) for width in widths)

    def copy(self) -> Stepper:
        """A stream of the same weights that goes on from the same state."""
        twin = Stepper(self.packed, self.batch)
        twin.set_state(*self._state)
        return twin
