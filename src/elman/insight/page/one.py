"""One sequence of a trace: its arrays by layer and direction, without padding."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman import checks
from elman.cells.cell import REVERSE
from elman.checks import Array
from elman.network import Network


@dataclass(frozen=True)
class Part:
    """One direction of a recurrent layer; arrays (time, width) by their names without node and direction."""

    node: str
    suffix: str
    layer: Any
    arrays: Mapping[str, Array]
    input: Array | None  # (time, features)
    initial: Mapping[str, Array]

    @property
    def name(self) -> str:
        return (self.node or type(self.layer).__name__) + (" reverse" if self.suffix else "")

    @property
    def cell(self) -> Any:
        return self.layer.cell

    @property
    def time(self) -> int:
        return len(self.arrays[self.cell.states[0]])

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
        at = span.stop if self.suffix else span.start - 1
        outside = not 0 <= at < self.time
        return {name: self.initial[name] if outside else self.arrays[name][at] for name in self.cell.states}


class One:
    """The i-th sequence of a trace."""

    def __init__(self, trace: Any, i: Any) -> None:
        self.trace = trace
        first = trace[trace.names[0]]
        self.single = not isinstance(first, list) and first.ndim == 2
        count = 1 if self.single else len(first)
        if isinstance(i, bool) or not isinstance(i, (int, np.integer)) or not 0 <= i < count:
            raise ValueError(f"sequence must be a whole number from 0 to {count - 1}. Got {checks.show(i)}.")
        self.i = int(i)

    def of(self, value: Any) -> Array:
        """What belongs to this sequence, of a value in the form of x or y; without padding."""
        own = np.asarray(value if self.single and not isinstance(value, list) else value[self.i])
        lengths = self.trace.lengths
        if lengths is None or self.single:
            return own
        return own[: int(lengths[self.i])] if own.ndim == 2 or own.dtype.kind in "iu" else own

    @functools.cached_property
    def x(self) -> Array:
        if isinstance(self.trace.x, Mapping):
            raise ValueError("a page must show a network with one input. Got one with several.")
        return self.of(self.trace.x)

    @functools.cached_property
    def y(self) -> Array | None:
        """(steps, width), or (width,) of a network that gives one vector per sequence."""
        y = self.trace.y
        if isinstance(y, Mapping):
            return None
        own: Array = np.asarray(y if self.single and not isinstance(y, list) else y[self.i])
        steps = int(self.trace.lengths[self.i]) if self.trace.lengths is not None and not self.single else None
        return own[:steps] if own.ndim == 2 and steps is not None else own

    @functools.cached_property
    def state(self) -> Any:
        """The states before the first step."""
        return self.trace.state if self.single else self._state(self.trace.state)

    def _state(self, state: Any) -> Any:
        if state is None:
            return None
        if isinstance(state, (list, tuple)):
            return type(state)(self._state(part) for part in state)
        return np.asarray(state)[..., self.i, :]

    @functools.cached_property
    def parts(self) -> list[Part]:
        """The directions of the recurrent layers, in order."""
        found = []
        inputs, begins = self._inputs(), self._begins()
        for node, layer in self.trace.layers.items():
            for suffix in layer.directions:
                arrays = self._arrays(f"{node}." if node else "", suffix, layer.cell)
                if any(name not in arrays for name in layer.cell.states):
                    continue
                found.append(Part(node, suffix, layer, arrays, inputs.get(node), begins[node + suffix]))
        return found

    def _arrays(self, prefix: str, suffix: str, cell: Any) -> dict[str, Array]:
        """All of one direction that has a number per unit and step."""
        found = {}
        for name in self.trace.names:
            if not name.startswith(prefix) or name.endswith(REVERSE) != bool(suffix):
                continue
            short = name[len(prefix) : len(name) - len(suffix)]
            if "." in short or short.removeprefix("d") in cell.weights:
                continue
            array = self.of(self.trace[name])
            if array.ndim == 2:
                found[short] = array
        return found

    def _inputs(self) -> dict[str, Array]:
        """What each recurrent layer reads, (time, features)."""
        net = self.trace.net
        if not isinstance(net, Network):
            return {"": self.x}
        values = (*net.inputs, *net.names)
        reads = {
            name: values[places[0]]
            for name, places in zip(net.names, net.graph.reads, strict=True)
            if name in self.trace.layers
        }
        inner = [name for name in dict.fromkeys(reads.values()) if name in net.names]
        given: dict[str, Any] = {name: self.x for name in net.inputs}
        if inner:
            outputs = [*inner, *(net.names[i] for i in net.graph.outputs if net.names[i] not in inner)]
            whole = Network(list(net.layers), outputs) if net.graph.is_list else net.replace(outputs=outputs)
            given |= whole(self.x, self.state)[0]
        found = {node: np.asarray(given[read]) for node, read in reads.items()}
        return {node: array for node, array in found.items() if array.ndim == 2}

    def _begins(self) -> dict[str, dict[str, Array]]:
        """By node and direction the states before the first step: those given, learned ones, or 0."""
        found = {}
        net = self.trace.net
        layers = self.trace.layers
        entries: dict[str, Any] = {}
        if self.state is not None:
            stateful = [name for name, layer in zip(net.names, net.layers, strict=True) if layer.stateful] if isinstance(net, Network) else [""]
            entries = dict(zip(stateful, self.state if isinstance(net, Network) else [self.state], strict=True))
        for node, layer in layers.items():
            given = entries.get(node)
            states = layer.cell.states
            for d, suffix in enumerate(layer.directions):
                own: dict[str, Array] = {}
                for k, (name, width) in enumerate(zip(states, layer.cell.widths(layer.hidden_size), strict=True)):
                    if given is not None:
                        array = np.asarray(given if len(states) == 1 else given[k])
                        own[name] = array[d] if layer.bidirectional else array
                    else:
                        own[name] = layer.parameters.get(f"{name}0{suffix}", np.zeros(width))
                found[node + suffix] = own
        return found
