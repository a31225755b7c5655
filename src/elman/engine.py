"""The one switch: whether the plain equations or a compiled kernel runs a cell through time, or a dense layer.

Nothing else in the library knows which one ran. A kernel runs dense layers and every cell that names one; the plain
equations run the others, and everything where no kernels are built or the environment variable ELMAN_PLAIN is set.
"""

from __future__ import annotations

import functools
import math
import os
import warnings
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from elman import checks, kernels
from elman.cells import dense, unroll
from elman.cells.activations import Activation
from elman.cells.cell import Arrays, Cell
from elman.checks import Array

Tape: TypeAlias = unroll.PlainTape | kernels.KernelTape

WITHOUT_KERNELS = (
    "elman has no compiled part here: the plain equations run, ten to a hundred times slower. "
    "A wheel for this system, or a C++ compiler while it is installed, brings the kernels. "
    "ELMAN_PLAIN=1 chooses the equations without these words."
)

_asked_for_plain = os.environ.get("ELMAN_PLAIN", "") not in ("", "0")
_MOST_THREADS = 1024
_plain = kernels.native is None or _asked_for_plain
if _plain and not _asked_for_plain:
    warnings.warn(WITHOUT_KERNELS, RuntimeWarning, stacklevel=2)


def set_threads(count: int) -> None:
    """How many threads the kernels may use in one call, in this process; results do not depend on it.

    Small work stays on one thread. The count starts as the environment variable ELMAN_NUM_THREADS says, else
    OMP_NUM_THREADS, which joblib sets for its workers, else as the number of processors that this process may use.
    Where the system gives no more threads, fewer are used. Raises `ValueError` for what is no whole number from 1 to
    1024.

    >>> import elman
    >>> before = elman.get_threads()
    >>> elman.set_threads(1)
    >>> elman.get_threads()
    1
    >>> elman.set_threads(before)
    """
    global _threads
    if checks.size("count", count) > _MOST_THREADS:
        raise ValueError(f"count must be at most {_MOST_THREADS}. Got {checks.show(count)}.")
    _threads = count
    if kernels.native is not None:
        kernels.native.set_threads(_threads)


def get_threads() -> int:
    """How many threads the kernels may use in one call.

    >>> import elman
    >>> elman.get_threads() >= 1
    True
    """
    return _threads


def backend() -> str:
    """What runs the cells: the compiled kernels with their instruction set, or the plain equations.

    >>> import elman
    >>> elman.backend().split(",")[0] in ("compiled kernels", "plain equations")
    True
    """
    if _plain:
        return "plain equations"
    return f"compiled kernels, {kernels.native.isa}"


def _first_threads() -> int:
    if own := os.environ.get("ELMAN_NUM_THREADS", ""):
        count = _read_count(own)
        if count is None or count > _MOST_THREADS:
            must = f"ELMAN_NUM_THREADS must be a whole number from 1 to {_MOST_THREADS}"
            raise ValueError(f"{must}. Got {checks.show(own)}.")
        return count
    # joblib says in OMP_NUM_THREADS how many threads each of its workers may use, in the other how many all of them.
    count = _read_count(os.environ.get("OMP_NUM_THREADS", "").split(",")[0])
    if count is None:
        count = min(_processors(), _read_count(os.environ.get("LOKY_MAX_CPU_COUNT", "")) or _MOST_THREADS)
    return min(count, _MOST_THREADS)


def _read_count(text: str) -> int | None:
    """The whole number from 1 up that a text holds, or None."""
    text = text.strip()
    return (int(text) or None) if text.isdecimal() and len(text) < 20 else None


def _processors() -> int:
    """The processors that this process may use: those of its affinity, no more than its control group may have."""
    if hasattr(os, "process_cpu_count"):
        count = os.process_cpu_count() or 1
    else:
        count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
        return min(count, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError, ZeroDivisionError):  # no control groups here, or no limit: "max"
        return count


_threads = 1
set_threads(_first_threads())


def compiled(cell: Cell) -> bool:
    """Whether a kernel runs this cell; the plain equations, that run the others, are several times slower."""
    return cell.kernel is not None and not _plain


def runner(cell: Cell) -> str:
    """What runs this cell here: "compiled kernel" or "plain equations".

    >>> from elman.cells.lstm import lstm_cell
    >>> runner(lstm_cell(layer_norm=True))
    'plain equations'
    """
    return "compiled kernel" if compiled(cell) else "plain equations"


def forward(cell: Cell) -> Callable[..., tuple[Arrays, Tape | None]]:
    """What runs a cell over a packed batch: called as `elman.cells.unroll.unroll` is, with the cell first."""
    return kernels.run if compiled(cell) else unroll.unroll


pack = kernels.pack  #: a compiled cell and its weights made ready for streams; see `elman.cells.stepping`


def backward(tape: Tape, dy: Array | None, dstate: Arrays | None) -> tuple[Array, Arrays, Arrays]:
    """The gradients of a forward pass; shapes as in `elman.cells.unroll.unroll_derivative`."""
    if isinstance(tape, kernels.KernelTape):
        return kernels.run_derivative(tape, dy, dstate)
    return unroll.unroll_derivative(tape, dy, dstate)


def alone(tape: Tape, rows: slice, b: int) -> Tape | None:
    """The tape of one sequence of a batch, which has these rows; None where it cannot be told apart."""
    return tape.alone(rows, b) if isinstance(tape, kernels.KernelTape) else None


def pack_dense(W: Array, b: Array, activation: Activation) -> Callable[[Array], Array]:
    """A dense layer made ready, its weights copied: gives y (..., O) of x (..., I), of up to three axes.

    A row of y has the same bits whatever rows stand beside it, and whatever the number of threads, also those of BLAS.
    """
    if _plain:
        return functools.partial(dense.dense, W=W.copy(), b=b.copy(), activation=activation)
    return kernels.pack_dense(W, b, activation)


def dense_derivative(x: Array, W: Array, y: Array, dy: Array, activation: Activation) -> tuple[Array, Array, Array]:
    """The gradients by x (N, I), W and b, from the output y (N, O) and its gradient."""
    return (dense.dense_derivative if _plain else kernels.dense_derivative)(x, W, y, dy, activation)


def activate(x: Array, activation: Activation) -> Array:
    """An activation of every element, in the bits that it has in `pack_dense`."""
    return np.asarray(activation(x)) if _plain else kernels.activate(x, activation)


def product(x: Array, W: Array) -> Array:
    """x W, each row as `pack_dense` has it: what `x @ W` gives depends on the threads of BLAS."""
    return pack_dense(W, np.zeros(W.shape[1], W.dtype), _IDENTITY)(x)


_IDENTITY = Activation("identity")
