"""The compiled kernels: any packed batch through time, for the cells that have one.

The C++ files of this folder are built into `elman.kernels._native`, once for each instruction set; the best one that
the processor has is chosen when this module is imported, or the one that the environment variable ELMAN_ISA names
("baseline", "avx2", "avx512"). A cell says in its `kernel` which one runs it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from elman.cells.activations import Activation
from elman.cells.calling import Zones
from elman.cells.cell import Arrays, Cell
from elman.cells.stepping import Packed
from elman.checks import Array

try:
    import elman.kernels._native as native
except ModuleNotFoundError:  # a source folder where nothing was built: the plain equations run
    native = None  # type: ignore[assignment]

__all__ = [
    "KernelTape",
    "activate",
    "dense_derivative",
    "native",
    "pack",
    "pack_dense",
    "run",
    "run_derivative",
    "tape_by_name",
]


class KernelTape(NamedTuple):
    """What `run` hands to `run_derivative`."""

    cell: Cell
    weights: Arrays
    values: Array  # (N, I)
    lengths: Array  # (B,)
    reverse: bool
    state: Arrays | None  # (B, H) each, before the first step
    y: Array  # (N, H)
    gates: Array | None  # (N, G*H) after their activations; the RNN needs none
    inner: Array | None  # (N, H): the cell state of the LSTM, h Wh_n + bn of the GRU with the reset after
    before_zoneout: Array | None = None  # (N, H), with zoneout: c before it for the LSTM, h before it for the RNN
    mask: Array | None = None  # (B, H), of recurrent dropout
    zones: Arrays | None = None  # (N, H) or (1, H) each, of zoneout

    def alone(self, rows: slice, b: int) -> KernelTape:
        """That of sequence b, which has these rows."""
        of_steps = ("values", "y", "gates", "inner", "before_zoneout")
        arrays: dict[str, Any] = {
            name: None if getattr(self, name) is None else getattr(self, name)[rows] for name in of_steps
        }
        state = self.state and tuple([s[b : b + 1] for s in self.state])
        zones = self.zones and tuple([z[rows] if len(z) == len(self.values) else z for z in self.zones])
        mask = None if self.mask is None else self.mask[b : b + 1]
        return self._replace(lengths=self.lengths[b : b + 1], state=state, mask=mask, zones=zones, **arrays)


def run(
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
) -> tuple[Arrays, KernelTape | None]:
    """Runs a cell over a packed batch into `out` (N, H); shapes as in `elman.cells.unroll.unroll`."""
    if keep:
        weights = tuple([w.copy() for w in weights])  # a tape is a value
    kind, options = _kind_and_options(cell.kernel)
    values = _rows(values)
    gates, inner, before_zoneout = _tape_arrays(cell, out, zones is not None) if keep else (None, None, None)
    zone_rows = _zone_rows(zones, out.shape[1], out.dtype)
    _, h, c = native.forward(
        kind,
        values,
        lengths,
        reverse,
        *_weight_arguments(weights),
        *_state_pair(state),
        out,
        gates,
        inner,
        before_zoneout,
        mask,
        *_state_pair(zone_rows),
        options,
    )
    end = (h,) if c is None else (h, c)
    tape = (cell, weights, values, lengths, reverse, state, out, gates, inner, before_zoneout, mask, zone_rows)
    return end, KernelTape(*tape) if keep else None


#: For each kernel the widths of `gates`, `inner` and, with zoneout, `before_zoneout` in hidden units.
_TAPE_WIDTHS = {
    "rnn": (0, 0, 1),
    "lstm": (4, 1, 1),
    "lstm_general": (4, 1, 1),
    "lstm_coupled": (3, 1, 1),
    "gru": (3, 1, 0),
    "gru_general": (3, 1, 0),
    "gru_reset_before": (3, 0, 0),
    "gru_reset_before_general": (3, 0, 0),
}


def _tape_arrays(cell: Cell, y: Array, zoned: bool) -> list[Array | None]:
    """The arrays `gates`, `inner` and `before_zoneout` of a tape, in one piece of memory.

    One piece, because an allocator that gives memory back to the system once twice its largest piece is free, as
    that of glibc does, would else take a tape's pages anew in every step of a training.
    """
    gates, inner, before_zoneout = _TAPE_WIDTHS[cell.kernel[0]]  # type: ignore[index]
    widths = (gates, inner, before_zoneout * zoned)
    rows, hidden = y.shape
    memory = np.empty(rows * hidden * sum(widths), y.dtype)
    arrays: list[Array | None] = []
    begin = 0
    for width in widths:
        end = begin + rows * hidden * width
        arrays.append(memory[begin:end].reshape(rows, -1) if width else None)
        begin = end
    return arrays


def _zone_rows(zones: Zones | None, hidden: int, dtype: np.dtype[Any]) -> Arrays | None:
    """Zones as rows: one row where one number stands for all."""
    if zones is None:
        return None
    return tuple([z if isinstance(z, np.ndarray) else np.full((1, hidden), z, dtype) for z in zones])


def run_derivative(tape: KernelTape, dy: Array | None, dstate: Arrays | None) -> tuple[Array, Arrays, Arrays]:
    """The gradients of `run`; shapes as in `elman.cells.unroll.unroll_derivative`."""
    kind, options = _kind_and_options(tape.cell.kernel)
    dx, dh0, dc0, dWx, dWh, db, dvectors = native.backward(
        kind,
        tape.values,
        tape.lengths,
        tape.reverse,
        *_weight_arguments(tape.weights),
        *_state_pair(tape.state),
        tape.y,
        tape.gates,
        tape.inner,
        tape.before_zoneout,
        None if dy is None else _rows(dy),
        *_state_pair(dstate),
        None,
        tape.mask,
        *_state_pair(tape.zones),
        options,
    )
    beside = _split_vectors(dvectors, len(tape.weights) - 3)
    return dx, (dh0,) if dc0 is None else (dh0, dc0), (dWx, dWh, db, *beside)


def tape_by_name(tape: KernelTape) -> dict[str, Array]:
    """What a tape kept of each step by name, (N, H) each, without a copy: the states after it, and the gates."""
    cell, inner = tape.cell, {} if tape.inner is None else {"c" if "c" in tape.cell.states else "m": tape.inner}
    gates = () if tape.gates is None else zip(cell.gates, np.split(tape.gates, len(cell.gates), 1), strict=True)
    return {"h": tape.y, **dict(gates), **inner}


def pack(cell: Cell, weights: Arrays, zones: Zones | None = None) -> Packed:
    """Weights packed for streams; see `elman.cells.stepping`."""
    kind, options = _kind_and_options(cell.kernel)
    zone_rows = _zone_rows(zones, weights[1].shape[0], weights[1].dtype)
    packed: Packed = native.pack(kind, *_weight_arguments(weights), *_state_pair(zone_rows), options)
    return packed


def pack_dense(W: Array, b: Array, activation: Activation) -> Callable[[Array], Array]:
    """A dense layer with its weights packed: y (..., O) of x (..., I), of up to three axes."""
    return native.pack_dense(W, b, *_non_default_options(activation))


def dense_derivative(x: Array, W: Array, y: Array, dy: Array, activation: Activation) -> tuple[Array, Array, Array]:
    """The gradients of a dense layer; see `elman.cells.dense.dense_derivative`."""
    return native.dense_backward(_rows(x), W, _rows(y), _rows(dy), *_non_default_options(activation))


def activate(x: Array, activation: Activation) -> Array:
    """An activation alone, in the bits that a dense layer gives it."""
    y: Array = native.activate(np.ascontiguousarray(x).reshape(-1), *_non_default_options(activation))
    return y.reshape(x.shape)


def _non_default_options(activation: Activation) -> tuple[Any, float, float]:
    return getattr(native.Activation, activation.name), *activation.slopes


def _rows(array: Array) -> Array:
    """The array itself where its rows are packed, whatever lies between them, else a copy."""
    return array if array.strides[1] == array.itemsize else np.ascontiguousarray(array)


def _weight_arguments(weights: Arrays) -> tuple[Array | None, ...]:
    """Wx, Wh, b, and in one array the vectors (H,) beside them: bn of the GRU, the peepholes of the LSTM."""
    if len(weights) > 4:
        return (*weights[:3], np.concatenate(weights[3:]))
    return weights if len(weights) == 4 else (*weights, None)


def _split_vectors(vectors: Any, count: int) -> Arrays:
    """The vectors beside Wx, Wh and b, each by itself, from the one array that the kernels know."""
    if count == 0:
        return ()
    return (vectors,) if count == 1 else tuple(vectors.reshape(count, -1))


def _state_pair(state: Arrays | None) -> tuple[Array | None, Array | None]:
    """h, and c where there is one."""
    if state is None:
        return None, None
    return state[0], state[1] if len(state) > 1 else None


@functools.cache
def _kind_and_options(kernel: Any) -> tuple[Any, Any]:
    """What a cell's `kernel` names: the kind, and its options."""
    return _read_kernel(*kernel)


def _read_kernel(
    kind: str,
    activations: tuple[tuple[str, float, float], ...] = (),
    clip: float | None = None,
    cell_clip: float | None = None,
) -> tuple[Any, Any]:
    """The same; the activations, each with alpha and beta, stand in the order of the gates, then that of c'."""
    acts = [(getattr(native.Activation, name), alpha, beta) for name, alpha, beta in activations]
    bounds = (math.inf if bound is None else bound for bound in (clip, cell_clip))
    return getattr(native.Kind, kind), native.Options(acts, *bounds)
