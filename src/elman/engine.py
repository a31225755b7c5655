"""The one switch: whether the plain equations or a compiled kernel runs a cell through time.

Nothing else in the library knows which one ran. Today the plain equations run everywhere.
"""

from __future__ import annotations

from elman.cells.cell import Arrays, Cell
from elman.cells.unroll import Tape, unroll, unroll_derivative
from elman.checks import Array


def forward(
    cell: Cell,
    weights: Arrays,
    values: Array,
    lengths: Array,
    state: Arrays,
    *,
    reverse: bool = False,
    keep: bool = True,
) -> tuple[Array, Arrays, Tape | None]:
    """A cell over a packed batch; shapes as in `elman.cells.unroll.unroll`."""
    return unroll(cell, weights, values, lengths, state, reverse=reverse, keep=keep)


def backward(tape: Tape, dy: Array | None, dstate: Arrays) -> tuple[Array, Arrays, Arrays]:
    """The gradients of a forward pass; shapes as in `elman.cells.unroll.unroll_derivative`."""
    return unroll_derivative(tape, dy, dstate)
