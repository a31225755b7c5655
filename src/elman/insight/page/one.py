"""One sequence of a trace: its arrays by layer and direction, without padding."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array, ShapeError
from elman.insight.tracing import Trace
from elman.insight.trees import mapped


@dataclass(frozen=True)
class Part:
    """One direction of a recurrent layer; arrays (time, width) by their names without node and direction."""

    traced: Any  # an entry of `Trace.layers`
    rows: slice  # those of its sequence among the packed ones
    arrays: Mapping[str, Array]
    initial: Mapping[str, Array]  # state -> (width,), that before the first step of the walk

    @property
    def name(self) -> str:
        return (self.traced.place or type(self.traced.layer).__name__) + (" reverse" if self.traced.reverse else "")

    @property
    def cell(self) -> Any:
        return self.traced.cell

    @property
    def time(self) -> int:
        return self.rows.stop - self.rows.start

    @functools.cached_property
    def read(self) -> Array:
        """(time, features)."""
        return np.asarray(self.traced.values("x")[self.rows])

    @property
    def width(self) -> int:
        return max(array.shape[1] for array in self.arrays.values())

    def is_gradient(self, name: str) -> bool:
        """Whether an array is the gradient of another."""
        return name.startswith("d") and name[1:] in self.arrays

    @property
    def has_gradients(self) -> bool:
        return any(map(self.is_gradient, self.arrays))

    def arriving(self, state: str) -> Array:
        """(time, width): what comes to a state after a step from all that is after it, without the step itself."""
        return np.asarray(self.traced.gradient(f"{state}'")[self.rows])

    def before(self, span: slice) -> dict[str, Array]:
        """The states that come into the first step of `span` on the walk of this direction."""
        at = span.stop if self.traced.reverse else span.start - 1
        outside = not 0 <= at < self.time
        return {name: self.initial[name] if outside else self.arrays[name][at] for name in self.cell.states}


class One:
    """The i-th sequence of a trace."""

    def __init__(self, trace: Any, i: Any, name: str = "t") -> None:
        if not isinstance(trace, Trace):
            raise TypeError(f"{name} must be a trace, as elman.trace gives it. Got {checks.show(trace)}.")
        if not trace.layers:
            raise ValueError("a page must show a network with a recurrent layer. Got one without.")
        self.trace, layout = trace, next(iter(trace.layers.values())).layout
        if not checks.is_whole(i) or not 0 <= i < layout.count:
            raise ValueError(f"sequence must be a whole number from 0 to {layout.count - 1}. Got {checks.show(i)}.")
        self.i, self.single = int(i), layout.form == "single"

    def named(self, name: str) -> Array:
        """What a name of the trace stands for in this sequence, without padding; all of what belongs to no sequence."""
        layout, rows = self.trace.numbers(name)
        if layout is None:
            return np.asarray(rows())
        own = rows()[layout.of_one(self.i)]
        return np.asarray(own[0] if layout.lengths is None else own)

    @functools.cached_property
    def x(self) -> Array | None:
        """The input, where it is one that has a row for each step of the recurrent layers."""
        if isinstance(self.trace.x, Mapping) or self.trace.lengths is None:
            return None
        x = self.named(self.trace.names[0])
        return x if len(x) == self.time else None

    @functools.cached_property
    def y(self) -> Array | None:
        """(steps, width), or (width,) of a network that gives one vector per sequence; None where it fits no step."""
        if isinstance(self.trace.y, Mapping):
            return None
        y = np.asarray(self.trace.y if self.single else self.trace.y[self.i])
        if self.trace.lengths is not None and y.ndim > 1:  # without padding
            y = y[: int(self.trace.lengths[self.i])]
        return y if y.ndim == 1 or len(y) == self.time else None

    @property
    def time(self) -> int:
        return self.every[0].time

    @property
    def parts(self) -> list[Part]:
        """The directions of the recurrent layers that go over the same steps as the first, in order."""
        return [part for part in self.every if part.time == self.time]

    @functools.cached_property
    def every(self) -> list[Part]:
        """Those of all recurrent layers."""
        found = []
        for traced in self.trace.layers.values():
            rows = traced.layout.of_one(self.i)
            first = traced.step(rows.stop - rows.start - 1 if traced.reverse else 0, self.i)
            before = {name: first[name] for name in traced.cell.states}
            found.append(Part(traced, rows, _arrays(traced, rows, self.trace.gradients is not None), before))
        return found

    @property
    def state(self) -> Any:
        """The states of the network before the first step, as it takes them for one sequence."""
        return mapped(lambda part: part if self.single else part[..., self.i, :], self.trace.start)


def _arrays(traced: Any, rows: slice, gradients: bool) -> dict[str, Array]:
    """Numbers per unit and step: states, gates and what is inside them; of a cell of one's own all it has."""
    found: dict[str, Array] = {}
    widths = {traced.layer.hidden_size, *traced.cell.widths(traced.layer.hidden_size)}  # else it is of no unit
    known = {*traced.cell.states, *traced.cell.gates, *(f"a_{gate}" for gate in traced.cell.gates)}
    ways = [("", traced.names(), traced.values)]
    ways += [("d", traced.gradient_names(), traced.gradient)] * gradients
    for d, names, compute in ways:
        for name in names:
            array = compute(name)[rows] if name in known or not traced.cell.kernel else None
            if array is not None and array.ndim == 2 and array.shape[1] in widths:
                found.setdefault(d + name, array)
    return found


def read_text(text: Any, steps: int) -> list[str] | None:
    """One text per step, from one string (its characters) or a list; None for none."""
    if text is None:
        return None
    given = list(text) if isinstance(text, (str, list, tuple)) else None
    if given is None or not all(isinstance(entry, str) for entry in given):
        raise TypeError(f"text must be one string, or a list of one string per step. Got {checks.describe(text)}.")
    if len(given) != steps:
        raise ShapeError(f"text must have {steps} characters or entries, one per step. Got {len(given)}.")
    return given


def read_names(name: str, given: Any, count: int, of: str) -> list[str]:
    """A name for each of `count` things, from any row of such."""
    try:
        names = None if isinstance(given, (str, bytes, Mapping, AbstractSet)) else [str(one) for one in given]
    except TypeError:
        names = None
    if names is None:
        raise TypeError(f"{name} must be a list of names. Got {checks.describe(given)}.")
    if len(names) != count:
        raise ShapeError(f"{name} must have {count} names, one per {of}. Got {len(names)}.")
    return names
