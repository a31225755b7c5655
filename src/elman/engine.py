"""The one switch: whether the plain equations or a compiled kernel runs a cell through time.

Nothing else in the library knows which one ran. A kernel runs every cell that names one; the plain equations run the
others, all cells where no kernels are built, and all cells where the environment variable ELMAN_PLAIN is set.
"""

from __future__ import annotations

import os
from typing import TypeAlias

from elman import kernels
from elman.cells import unroll
from elman.cells.cell import Arrays, Cell
from elman.checks import Array

Tape: TypeAlias = unroll.Tape | kernels.Tape

_plain = kernels.native is None or os.environ.get("ELMAN_PLAIN", "") not in ("", "0")


def compiled(cell: Cell) -> bool:
    """Whether a kernel runs this cell."""
    return cell.kernel is not None and not _plain


def forward(
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
    """A cell over a packed batch, its outputs into `out`; shapes as in `elman.cells.unroll.unroll`."""
    if compiled(cell):
        return kernels.run(cell, weights, values, lengths, state, reverse, keep, out)
    return unroll.unroll(cell, weights, values, lengths, state, out, reverse=reverse, keep=keep)


def backward(tape: Tape, dy: Array | None, dstate: Arrays | None) -> tuple[Array, Arrays, Arrays]:
    """The gradients of a forward pass; shapes as in `elman.cells.unroll.unroll_derivative`."""
    if isinstance(tape, kernels.Tape):
        return kernels.run_derivative(tape, dy, dstate)
    return unroll.unroll_derivative(tape, dy, dstate)
