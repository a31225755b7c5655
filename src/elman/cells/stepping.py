"""A cell one step at a time: what every stream of steps promises, and the one that runs on the plain equations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from elman.cells.cell import Arrays
from elman.checks import Array


class Stepper(Protocol):
    """The state of one sequence, or of a batch of them side by side, advanced one step at a time.

    What the compiled steppers and the plain ones keep alike, so that a stream need not know which it has:

    - `step` and `run` take arrays of one kind: of the class `np.ndarray` itself, in the dtype of the layer, aligned,
      and of exactly the shape. `out` is the same and writable. For all else they return `NotImplemented`, and nothing
      has changed: whoever called may convert, and call again.
    - An exception out of `step` or `run`, whatever it is and whenever it comes, leaves the state as it was before the
      call, or as it is after the whole of it: what they change, they change at once and last.
    - Outputs have the dtype of the layer. Neither they nor the arrays of `state` share memory with the state.
    - One thread at a time uses a stepper. Where two calls meet, one is refused, and harms nothing.
    """

    def step(self, x: Array, out: Array | None = None) -> Any:
        """y (H,) of x (I,) for one sequence, y (B, H) of x (B, I) for a batch; written to `out` where it is given."""

    def run(self, x: Array) -> Any:
        """y (T, H) of x (T, I), or y (B, T, H) of x (B, T, I): the numbers and the state of as many steps."""

    def state(self, rows: Array | None = None) -> Arrays:
        """The states, (B, H) each, or those of some rows (int64 indices), (rows, H) each."""

    def set_state(self, *state: Array, rows: Array | None = None) -> None:
        """Takes over states as `state` gives them; one row (1, H) stands for every row. No more is touched."""

    def assign(self, other: Any, /) -> None:
        """Takes over the state of another stepper of the same layer and batch."""


class Packed(Protocol):
    """A layer with its weights, shared by any number of streams."""

    def stream(self, batch: int | None = None, /) -> Stepper:
        """A stepper in the state 0: of one sequence, or with an axis for a batch of so many."""


def two_at_once() -> RuntimeError:
    """The error of two calls of one stepper or stream that met."""
    return RuntimeError("a stream must be used by one thread at a time. Got two calls at once.")


@dataclass(frozen=True)
class PlainPacked:
    """What streams without a kernel share: ``step(x, state) -> y, next_state`` for x (B, I), and what it takes."""

    step: Callable[[Array, Arrays], tuple[Array, Arrays]]
    input_size: int
    output_size: int
    widths: tuple[int, ...]  # of the states
    dtype: np.dtype[Any] | None  # of x and y; None: that of each x, with states of any
    chunk: Callable[[Array, Arrays], tuple[Array, Arrays]] | None = None  # the same of many steps, x (B, T, I)

    def stream(self, batch: int | None = None) -> PlainStepper:
        return PlainStepper(self, batch)


class PlainStepper:
    """A `Stepper` on the plain equations."""

    def __init__(self, packed: PlainPacked, batch: int | None) -> None:
        self._packed = packed
        self._outer = () if batch is None else (batch,)
        self._dtypes = (np.float32, np.float64) if packed.dtype is None else (packed.dtype,)
        self._x_shape, self._y_shape = (*self._outer, packed.input_size), (*self._outer, packed.output_size)
        # Replaced as a whole by every change, also where arrays are written into: so another call can tell.
        self._state = tuple([np.zeros((batch or 1, w), packed.dtype or np.float64) for w in packed.widths])

    def step(self, x: Array, out: Array | None = None) -> Any:
        if not self._takes(x, self._x_shape) or (out is not None and not self._takes(out, self._y_shape, True)):
            return NotImplemented
        before = self._state
        # A view: the step locks what it is given, and the caller's array stays as it is.
        y, after = self._next(x[:] if self._outer else x[None], before)
        y = y if self._outer else y[0]
        if out is None:
            out = y.astype(x.dtype)
        else:
            out[...] = y
        self._commit(before, after)
        return out

    def run(self, x: Array) -> Any:
        steps = x.shape[-2] if isinstance(x, np.ndarray) and x.ndim > 1 else 0
        if not self._takes(x, (*self._outer, steps, self._packed.input_size)):
            return NotImplemented
        before = after = self._state
        rows = x if self._outer else x[None]
        if self._packed.chunk is not None:
            y, after = self._packed.chunk(rows, before)
        else:
            y = np.empty((len(rows), steps, self._packed.output_size), x.dtype)
            for t in range(steps):
                y[:, t], after = self._next(rows[:, t], after)
        self._commit(before, after)
        return y if self._outer else y[0]

    def state(self, rows: Array | None = None) -> Arrays:
        return tuple([np.array(s if rows is None else s[rows]) for s in self._state])

    def set_state(self, *state: Array, rows: Array | None = None) -> None:
        if rows is None:
            self._state = tuple(
                # In the order of C, in which whole sequences have them: BLAS sums in another order for another.
                [np.array(np.broadcast_to(n, s.shape), order="C") for s, n in zip(self._state, state, strict=True)]
            )
            return
        for s, new in zip(self._state, state, strict=True):
            s.setflags(write=True)  # a step locks what it is given
            s[rows] = new
        self._state = (*self._state,)

    def assign(self, other: PlainStepper, /) -> None:
        self._state = other.state()

    def _takes(self, array: Any, shape: tuple[int, ...], writable: bool = False) -> bool:
        if type(array) is not np.ndarray or array.shape != shape or array.dtype not in self._dtypes:
            return False
        return array.flags.carray if writable else array.flags.aligned

    def _next(self, x: Array, state: Arrays) -> tuple[Array, Arrays]:
        return self._packed.step(x if x.flags.c_contiguous else np.ascontiguousarray(x), state)

    def _commit(self, before: Arrays, after: Arrays) -> None:
        own = tuple([s.copy() for s in after])  # whatever the cell keeps of them
        if self._state is not before:
            raise two_at_once()
        self._state = own
