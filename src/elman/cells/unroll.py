"""A cell through time, forward and backward: any cell, any lengths, either direction.

The batch is packed (see `elman.sequences`): values (N, I) with the steps of all sequences one after another. At
recurrent step t only the sequences that still have a step t are touched, so an ended sequence costs nothing and
its state stays that of its own last step. The reverse direction walks each sequence from its own end.

Backpropagation through time: Werbos 1990, "Backpropagation Through Time: What It Does and How to Do It".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.cells.cell import Arrays, Cell, Kept
from elman.checks import Array


@dataclass(frozen=True)
class TapeStep:
    """One recurrent step of a batch, as the backward pass needs it."""

    alive: Array  # (A,) the sequences that have this step
    rows: Array  # (A,) where their step stands in the packed arrays
    state: Arrays  # (A, H) each, before the step
    kept: Kept  # by name, (A, ...) each, what the cell kept


@dataclass(frozen=True)
class Tape:
    """What `unroll` hands to `unroll_derivative`: a value of its own, that no later change of weights touches."""

    cell: Cell
    weights: Arrays
    values: Array  # (N, I)
    steps: list[TapeStep]


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
) -> tuple[Arrays, Tape | None]:
    """Runs `cell` over a packed batch, and writes its outputs into `out`.

    values (N, I), lengths (B,), state (B, H) each or None for 0, out (N, H). Returns the state of each sequence
    after its own last step, (B, H) each, and with `keep` the tape.
    """
    state = _start(cell, state, (len(lengths), out.shape[1]), out.dtype)
    steps = []
    for alive, rows in walk(lengths, reverse):
        before = tuple(s[alive] for s in state)
        after, kept = cell.step(values[rows], before, weights)
        for s, new in zip(state, after, strict=True):
            s[alive] = new
        out[rows] = after[0]
        if keep:
            steps.append(TapeStep(alive, rows, before, kept))
    tape = Tape(cell, tuple(w.copy() for w in weights), values, steps) if keep else None
    return state, tape


def _start(cell: Cell, state: Arrays | None, shape: tuple[int, int], dtype: Any) -> Arrays:
    """States that may be written into."""
    return tuple(np.zeros(shape, dtype) if state is None else state[i].copy() for i in range(len(cell.states)))


def unroll_derivative(tape: Tape, dy: Array | None, dstate: Arrays | None) -> tuple[Array, Arrays, Arrays]:
    """Backpropagation through time over the steps of a tape.

    dy (N, H), the gradient of every output, and dstate (B, H) each, that of every final state; None for 0. Returns
    dvalues (N, I), the gradient of every initial state, (B, H) each, and that of every weight.
    """
    first = tape.steps[0].state[0]  # at the first step every sequence is alive
    dstate = _start(tape.cell, dstate, (first.shape[0], first.shape[1]), first.dtype)
    dvalues = np.empty_like(tape.values)
    dweights = tuple(np.zeros_like(w) for w in tape.weights)
    for step in reversed(tape.steps):
        dnext = tuple(d[step.alive] for d in dstate)
        if dy is not None:
            dnext = (dnext[0] + dy[step.rows], *dnext[1:])
        dx, dbefore, parts = tape.cell.step_derivative(
            tape.values[step.rows], step.state, tape.weights, step.kept, dnext
        )
        dvalues[step.rows] = dx
        for d, new in zip(dstate, dbefore, strict=True):
            d[step.alive] = new
        for total, part in zip(dweights, parts, strict=True):
            total += part
    return dvalues, dstate, dweights
