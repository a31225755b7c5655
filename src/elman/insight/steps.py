"""All steps of a tape at once, packed, whatever ran the cell: a compiled kernel or the plain equations.

Packed as in `elman.sequences`: N steps of all sequences, one row each.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from elman.cells import Cell
from elman.cells.calling import Zones, locked, look
from elman.cells.cell import Arrays, Kept
from elman.cells.unroll import PlainTape, TapeStep, walk
from elman.checks import Array
from elman.kernels import KernelTape, tape_by_name


@dataclass(frozen=True)
class Steps:
    """What a tape tells of every step."""

    cell: Cell
    weights: Arrays
    values: Array  # (N, I)
    lengths: Array  # (B,)
    reverse: bool
    first: Arrays | None  # the states before the first step, (B, width) each; None for 0
    after: Arrays  # the states after each step, and after zoneout, (N, width) each
    kept: Mapping[str, Array]  # what the tape kept by name, (N, ...) each
    masks: tuple[Array, ...]  # (B, width), or none
    zones: Zones | None  # one per state: (N, width), (1, width) or a number
    plain: PlainTape | None = None  # the tape itself, where the plain equations ran

    @functools.cached_property
    def before(self) -> Arrays:
        """The states before each step."""
        return moved(self.after, self.first, self.lengths, self.reverse)

    @functools.cached_property
    def mask(self) -> tuple[Array, ...]:
        """The mask at each step, (N, width), or none."""
        return tuple(mask.repeat(self.lengths, axis=0) for mask in self.masks)

    def look(self, count: int | None = None) -> tuple[Arrays, Kept, Kept]:
        """The states before zoneout, what a step keeps, and what has a name besides; of the first rows, or of all."""
        weights, count, block = locked(self.weights), count or len(self.values), max(len(self.lengths), 8)
        found = []
        for i in range(0, count, block):  # of about a step: BLAS would share out larger products, at a cost of its own
            at = slice(i, min(i + block, count))
            before, mask = (tuple(part[at] for part in parts) for parts in (self.before, self.mask))
            found.append(look(self.cell, self.values[at], before, weights, mask))
        states = tuple(np.concatenate(parts) for parts in zip(*(each[0] for each in found), strict=True))
        return states, _joined([each[1] for each in found]), _joined([each[2] for each in found])

    def tape(self, kept: Kept, reverse: bool) -> PlainTape:
        """The tape of the plain equations from all that a step keeps, its steps in the order of a direction."""
        if self.plain is not None and reverse == self.reverse:
            return self.plain
        order = list(walk(self.lengths, reverse))
        rows = np.concatenate([rows for _, rows in order])
        # The rows of each step are brought together once, so that those of one step are views.
        before, mask = (tuple(part[rows] for part in parts) for parts in (self.before, self.mask))
        together = {name: part[rows] for name, part in kept.items()}
        zones = tuple(z[rows] if isinstance(z, np.ndarray) and len(z) > 1 else z for z in self.zones or ())
        steps, end = [], 0
        for alive, own in order:
            at, end = slice(end, end + len(own)), end + len(own)
            state, masks = (tuple(part[at] for part in parts) for parts in (before, mask))
            of = {name: part[at] for name, part in together.items()}
            acting = tuple(z[at] if isinstance(z, np.ndarray) and len(z) > 1 else z for z in zones) or None
            steps.append(TapeStep(alive, own, state, of, masks, acting))
        return PlainTape(self.cell, self.weights, self.values, steps, ())


def steps_of(tape: PlainTape | KernelTape) -> Steps:
    """All steps of a tape. Nothing of a kernel's tape is copied, or computed, before it is asked for."""
    if isinstance(tape, KernelTape):
        kept = tape_by_name(tape)
        after = tuple(kept.pop(state) for state in tape.cell.states)
        masks = () if tape.mask is None else (tape.mask,)
        given = (tape.cell, tape.weights, tape.values, tape.lengths, tape.reverse, tape.state)
        return Steps(*given, after, kept, masks, tape.zones)
    steps = tape.steps
    rows = np.concatenate([step.rows for step in steps])

    def packed(parts: list[Array]) -> Array:
        return packed_rows(parts, rows)

    lengths = np.bincount(np.concatenate([step.alive for step in steps]))
    before = tuple(packed([*parts]) for parts in zip(*(step.state for step in steps), strict=True))
    names = [name for name in steps[0].kept if all(name in step.kept for step in steps)]
    kept = {name: packed([step.kept[name] for step in steps]) for name in names}
    acting = zip(*(step.zones or () for step in steps), strict=True)
    zones = tuple(packed([*parts]) if isinstance(parts[0], np.ndarray) else parts[0] for parts in acting)
    first = steps[0]
    reverse = bool((first.rows != lengths.cumsum() - lengths).any())
    after = moved(before, tape.end, lengths, not reverse)  # what one step left, the next one found
    given = (tape.cell, tape.weights, tape.values, lengths, reverse, first.state)
    return Steps(*given, after, kept, first.mask, zones or None, tape)


def _joined(parts: list[Kept]) -> Kept:
    """The rows of all parts, of the names that all have."""
    names = [name for name in parts[0] if all(name in part for part in parts)]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def moved(states: Arrays, first: Arrays | None, lengths: Array, reverse: bool) -> Arrays:
    """States one step later in a direction, those of `first` (B, width), or 0, at the first step of each sequence."""
    found = tuple(np.roll(state, -1 if reverse else 1, axis=0) for state in states)
    begin = lengths.cumsum() - (1 if reverse else lengths)
    for i, state in enumerate(found):
        state[begin] = 0 if first is None else first[i]
    return found


def packed_rows(parts: list[Array], rows: Array) -> Array:
    """The rows of all steps, one step after another, in their places."""
    together = np.concatenate(parts)
    found = np.empty_like(together)
    found[rows] = together
    return found
