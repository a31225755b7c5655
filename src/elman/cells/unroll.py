"""A cell through time, forward and backward: any cell, any lengths, either direction.

The batch is packed (see `elman.sequences`): values (N, I) with the steps of all sequences one after another. At
recurrent step t only the sequences that still have a step t are touched, so an ended sequence costs nothing and
its state stays that of its own last step. The reverse direction walks each sequence from its own end.

Backpropagation through time: Werbos 1990, "Backpropagation Through Time: What It Does and How to Do It".

Two things may act on the states besides the cell:

    mask   as h, one row per sequence: multiplies h where it enters the products (recurrent dropout; Gal and
           Ghahramani 2016, section 4.1)
    zones  one per state, (N, H) or one number: s' = z s + (1 - z) s_new (zoneout; Krueger et al. 2017, section 3)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from elman.cells.calling import Zones, advance, go_back, lock, locked, look_back
from elman.cells.cell import Arrays, Cell, Kept
from elman.checks import Array


@dataclass(frozen=True)
class TapeStep:
    """One recurrent step of a batch, as the backward pass needs it."""

    alive: Array  # (A,) the sequences that have this step
    rows: Array  # (A,) where their step stands in the packed arrays
    state: Arrays  # (A, H) each, before the step
    kept: Kept  # by name, (A, ...) each, what the cell kept
    mask: tuple[Array, ...]  # (A, H), or none
    zones: Zones | None


@dataclass(frozen=True)
class PlainTape:
    """What `unroll` hands to `unroll_derivative`: a value of its own, that no later change of weights touches."""

    cell: Cell
    weights: Arrays
    values: Array  # (N, I)
    steps: list[TapeStep]
    end: Arrays  # (B, H) each, after the last step of each sequence


#: Sees a step of the way back: the gradients by the states after it, by those before zoneout, and those by name.
Watch: TypeAlias = Callable[[TapeStep, Arrays, Arrays, Kept], None]


def walk(lengths: Array, reverse: bool = False) -> Iterator[tuple[Array, Array]]:
    """For each recurrent step: the sequences that have it, and where it stands in the packed arrays."""
    starts = np.cumsum(lengths) - lengths
    for t in range(int(lengths.max())):
        alive = np.flatnonzero(lengths > t)
        yield alive, starts[alive] + (lengths[alive] - 1 - t if reverse else t)


def unroll(
    cell: Cell,
    weights: Arrays,
    values: Array,
    lengths: Array,
    state: Arrays | None,
    out: Array,
    *,
    reverse: bool = False,
    keep: bool = True,
    mask: Array | None = None,
    zones: Zones | None = None,
) -> tuple[Arrays, PlainTape | None]:
    """Runs `cell` over a packed batch, and writes its outputs into `out`.

    values (N, I), lengths (B,), state (B, H) each or None for 0, out (N, H). Returns the state of each sequence
    after its own last step, (B, H) each, and with `keep` the tape. With a projection h and out are P wide.
    """
    if state is None:
        by_axes = dict(zip(cell.weights.values(), weights, strict=True))
        hidden = out.shape[1] if cell.projection is None else len(by_axes["hidden", "projection"])
        state = tuple(np.zeros((len(lengths), width), out.dtype) for width in cell.widths(hidden))
    else:
        state = tuple(s.copy() for s in state)
    weights = locked(weights)
    steps = []
    for alive, rows in walk(lengths, reverse):
        before = _of(state, alive)
        masks = () if mask is None else (mask[alive],)
        acting = None if zones is None else tuple(z[rows] if isinstance(z, np.ndarray) else z for z in zones)
        after, kept = advance(cell, values[rows], before, weights, masks, acting, keep)
        state = _into(state, alive, after)
        out[rows] = after[0]
        if keep:
            steps.append(TapeStep(alive, rows, before, kept, masks, acting))
    tape = PlainTape(cell, tuple(w.copy() for w in weights), values, steps, state) if keep else None
    return tuple(s.copy() for s in state), tape  # the tape keeps the others


def _of(states: Arrays, alive: Array) -> Arrays:
    """The rows of the sequences that have a step; not copied where all have."""
    return states if len(alive) == len(states[0]) else tuple(s[alive] for s in states)


def _into(states: Arrays, alive: Array, new: Arrays) -> Arrays:
    """The states with new rows. Those given are never written into: a tape may keep them."""
    if len(alive) == len(states[0]):
        return new
    states = tuple(s.copy() for s in states)
    for s, rows in zip(states, new, strict=True):
        s[alive] = rows
    return states


def unroll_derivative(
    tape: PlainTape, dy: Array | None, dstate: Arrays | None, watch: Watch | None = None
) -> tuple[Array, Arrays, Arrays]:
    """Backpropagation through time over the steps of a tape.

    dy (N, H), the gradient of every output, and dstate (B, H) each, that of every final state; None for 0. Returns
    dvalues (N, I), the gradient of every initial state, (B, H) each, and that of every weight.
    """
    first = tape.steps[0].state  # at the first step every sequence is alive
    dstate = tuple(np.zeros_like(s) if dstate is None else dstate[i].copy() for i, s in enumerate(first))
    dvalues = np.empty_like(tape.values)
    dweights = tuple(np.zeros_like(w) for w in tape.weights)
    weights = locked(tape.weights)
    if first[0].flags.writeable:  # a tape that comes out of a pickle
        for step in tape.steps:
            for array in (*step.state, *step.kept.values()):
                lock(array, False)
    for step in reversed(tape.steps):
        dnext = _of(dstate, step.alive)
        if dy is not None:
            dnext = (dnext[0] + dy[step.rows], *dnext[1:])
        dafter = dnext
        if step.zones is not None:
            past = tuple(z * d for z, d in zip(step.zones, dnext, strict=True))  # passes the step by
            dnext = tuple((1 - z) * d for z, d in zip(step.zones, dnext, strict=True))
        x = tape.values[step.rows]
        if watch is None:
            dx, dbefore, parts = go_back(tape.cell, x, step.state, weights, step.kept, dnext, step.mask)
        else:
            dx, dbefore, parts, by_name = look_back(tape.cell, x, step.state, weights, step.kept, dnext, step.mask)
            watch(step, dafter, dnext, by_name)
        if step.zones is not None:
            dbefore = tuple(a + b for a, b in zip(past, dbefore, strict=True))
        dvalues[step.rows] = dx
        dstate = _into(dstate, step.alive, dbefore)
        for total, part in zip(dweights, parts, strict=True):
            total += part
    return dvalues, tuple(d.copy() for d in dstate), dweights
