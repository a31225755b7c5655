"""One sequence of a trace: its arrays by layer and direction, without padding."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman import checks
from elman.cells.cell import REVERSE
from elman.checks import Array, ShapeError
from elman.network import Network


@dataclass(frozen=True)
class Part:
    """One direction of a recurrent layer; arrays (time, width) by their names without node and direction."""

    traced: Any  # an entry of `Trace.layers`
    arrays: Mapping[str, Array]
    read: Array  # (time, features)
    initial: Mapping[str, Array]  # state -> (width,), that before the first step of the walk

    @property
    def name(self) -> str:
        return (self.traced.place or type(self.traced.layer).__name__) + (" reverse" if self.traced.reverse else "")

    @property
    def cell(self) -> Any:
        return self.traced.cell

    @property
    def time(self) -> int:
        return len(self.read)

    @property
    def width(self) -> int:
        return max(array.shape[1] for array in self.arrays.values())

    def is_gradient(self, name: str) -> bool:
        """Whether an array is the gradient of another."""
        return name.startswith("d") and name[1:] in self.arrays

    @property
    def has_gradients(self) -> bool:
        return any(map(self.is_gradient, self.arrays))

    def before(self, span: slice) -> dict[str, Array]:
        """The states that come into the first step of `span` on the walk of this direction."""
        at = span.stop if self.traced.reverse else span.start - 1
        outside = not 0 <= at < self.time
        return {name: self.initial[name] if outside else self.arrays[name][at] for name in self.cell.states}


class One:
    """The i-th sequence of a trace."""

    def __init__(self, trace: Any, i: Any) -> None:
        if not trace.layers:
            raise ValueError("a page must show a network with a recurrent layer. Got one without.")
        self.trace, layout = trace, next(iter(trace.layers.values())).layout
        if isinstance(i, bool) or not isinstance(i, (int, np.integer)) or not 0 <= i < layout.count:
            raise ValueError(f"sequence must be a whole number from 0 to {layout.count - 1}. Got {checks.show(i)}.")
        self.i, self.single = int(i), layout.form == "single"

    def of(self, value: Any) -> Array:
        """What belongs to this sequence, of a value in the form of x or y, without padding; of vectors, its vector."""
        own = np.asarray(value if self.single else value[self.i])
        lengths = self.trace.lengths
        vector = own.ndim == 1 and own.dtype.kind == "f"
        return own if lengths is None or vector else own[: int(lengths[self.i])]

    @functools.cached_property
    def x(self) -> Array:
        if isinstance(self.trace.x, Mapping):
            raise ValueError("a page must show a network with one input. Got one with several.")
        return self.of(self.trace.x)

    @functools.cached_property
    def y(self) -> Array | None:
        """(steps, width), or (width,) of a network that gives one vector per sequence."""
        return None if isinstance(self.trace.y, Mapping) else self.of(self.trace.y)

    @functools.cached_property
    def parts(self) -> list[Part]:
        """The directions of the recurrent layers, in order."""
        found = []
        for traced in self.trace.layers.values():
            prefix = f"{traced.place}." if traced.place else ""
            arrays = self._arrays(prefix, traced)
            if all(name in arrays for name in traced.cell.states):
                read = self.of(self.trace[f"{prefix}x" if f"{prefix}x" in self.trace else "x"])
                first = traced.step(len(read) - 1 if traced.reverse else 0, self.i)
                found.append(Part(traced, arrays, read, {name: first[name] for name in traced.cell.states}))
        return found

    def _arrays(self, prefix: str, traced: Any) -> dict[str, Array]:
        """Numbers per unit and step: states, gates and what is inside them; of a cell of one's own all it has."""
        found, cell = {}, traced.cell
        known = {*cell.states, *cell.gates, *(f"a_{gate}" for gate in cell.gates)}
        for name in self.trace.names:
            if not name.startswith(prefix) or name.endswith(REVERSE) != traced.reverse:
                continue
            short = name.removeprefix(prefix).removesuffix(traced.end)
            of = short.removeprefix("d")
            if "." in short or of in (*traced.layer.parameters, "x", "y") or (cell.kernel and of not in known):
                continue
            array = self.of(self.trace[name])
            if array.ndim == 2 and len(array) == len(self.x):
                found[short] = array
        return found

    @functools.cached_property
    def state(self) -> Any:
        """The states of the network before the first step, as it takes them for one sequence."""
        net = self.trace.net
        if not isinstance(net, Network):
            return self._begin("", net)
        nodes = zip(net.names, net.layers, net.graph.starts, strict=True)
        return [
            None if start is not None else self._begin(name, layer) for name, layer, start in nodes if layer.stateful
        ]

    def _begin(self, node: str, layer: Any) -> Any:
        parts = [part.initial for part in self.parts if part.traced.place == node]
        if not parts:
            return None
        both = (
            [np.stack([part[name] for part in parts]) for name in parts[0]] if len(parts) > 1 else [*parts[0].values()]
        )
        return both[0] if len(both) == 1 else tuple(both)


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
