"""What streams need of a network: its weights made ready for steps, once for all streams that it gives."""

from __future__ import annotations

import copy
import functools
import itertools
import uuid
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from elman import checks
from elman.cells.cell import Arrays
from elman.cells.stepping import Packed, PlainPacked
from elman.checks import Array, ShapeError
from elman.layers import Dropout, LastStep, Layer
from elman.layers.nesting import Flat, LastState, computes_otherwise, every_layer, flat_nodes, place_of

if TYPE_CHECKING:
    from elman.network import Network

#: The packed networks in use, by their key: streams that come out of pickles share them too.
_in_use: weakref.WeakValueDictionary[bytes, PackedNetwork] = weakref.WeakValueDictionary()


class PackedNetwork:
    """A network as it was at one moment, with its weights packed. It never changes."""

    def __init__(self, net: Network, key: bytes | None = None) -> None:
        self.net = copy.deepcopy(net)
        for array in self.net.weights.values():
            array.setflags(write=False)
        inputs = len(self.net.inputs)
        check_steps(flat_nodes(self.net)[0], inputs)
        self.stepped = self.net.in_stream()  # with states for what pools have seen
        nodes, outputs = flat_nodes(self.stepped)
        for inside in every_layer(self.net):
            if inside.layers:
                check_own(inside)
        # Values in a row as a stream has them: the inputs, then what each layer gives that changes a step.
        places, numbers = list(range(inputs)), itertools.count(inputs)
        # Of each such layer the function of rows, None for one with states, and what it reads, None for the value
        # right before, and which of its states are values after its own; of those with states what makes their
        # steppers, and the first states, (1, width) each.
        self.rows: list[tuple[Callable[[Any], Array] | None, tuple[int, ...] | None, list[int]]] = []
        self.ready: list[Packed] = []
        self.first: list[Arrays] = []
        for node in nodes:
            layer, reads = node.layer, tuple([places[j] for j in node.reads])
            if not _changes_steps(layer):
                places.append(reads[0])
                continue
            places.append(next(numbers))
            if isinstance(layer, LastState):
                self.rows[-1][2].append(layer.index)
                continue
            # A step of one's own is run in the place of what it extends.
            own = place_of(layer, "ready") > place_of(layer, "step")
            made = Layer.ready(layer) if own else layer.ready()
            self.rows.append((None if layer.stateful else made, None if reads == (places[-1] - 1,) else reads, []))
            if layer.stateful:
                self.ready.append(made)
                self.first.append(layer.first_state(1))
        self.by_steps = any(states for *_, states in self.rows)  # a chunk has the last states of its end alone
        names = [self.net.graph.values[inputs + i] for i in self.net.graph.outputs]
        self.outputs = dict(zip(names, [places[j] for j in outputs], strict=True))
        self.begins_at_0 = not any(array.any() for state in self.first for array in state)
        self._made_of = _facts(net)
        self._key = key or uuid.uuid4().bytes
        _in_use[self._key] = self

    def fits(self, net: Network) -> bool:
        """Whether the network is still the same: its layers, their options, and every bit of its weights."""
        if self._made_of != _facts(net):
            return False
        mine = self.net.weights
        return all(np.array_equal(_bits(array), _bits(mine[name])) for name, array in net.weights.items())

    def __deepcopy__(self, memo: Any) -> PackedNetwork:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _shared, (self._key, self.net)


def _shared(key: bytes, net: Network) -> PackedNetwork:
    """The packed network of a pickle: the one that is here already, where it is in use."""
    return _in_use.get(key) or PackedNetwork(net, key)


def _facts(net: Network) -> list[Any]:
    """What a network is made of beside its weights."""
    return [net.config, *map(type, every_layer(net))]


def _bits(array: Array) -> Array:
    return array.view(f"u{array.itemsize}")


def check_steps(nodes: list[Flat], inputs: int) -> None:
    """Refuses layers that cannot go step by step, and those over time where a step has become the whole.

    Where a sequence stands beside the last step of one, the steps before it would have to know it.
    """
    # Of each value: "steps", "last" where a pool gave it, None for an input that may be one vector per sequence.
    kinds: list[str | None] = [None] * inputs
    origins: list[int | None] = list(range(inputs))  # the input of which a value is made step by step
    for node in nodes:
        origin = origins[node.reads[0]] if len(node.reads) == 1 else None
        over_time = node.layer.stateful or node.layer.pools
        if over_time and origin is not None:
            kinds[origin] = "steps"
        origins.append(None if over_time else origin)
    for node in nodes:
        layer, got = node.layer, checks.show(node.layer) if node.place.isdecimal() else f"node {node.place!r}"
        read = {kinds[j] for j in node.reads} - {None}
        if layer.needs_whole_sequences:
            raise ShapeError(f"a stream must have layers that go forward step by step. Got {got}.")
        if node.start is not None:
            what = "a last state" if isinstance(node.start, int) else "values"
            raise ShapeError(f"a stream must have nodes that start by themselves. Got {got}, from {what}.")
        if _changes_steps(layer):
            check_own(layer)
        if len(read) > 1:
            raise ShapeError(f"a stream must have no node that reads a sequence and its last step. Got {got}.")
        if "last" in read and (layer.stateful or layer.pools):
            raise ShapeError(f"a layer over time must be given sequences. Got {got} after a pool.")
        made = "last" if layer.pools else "steps" if layer.stateful else None
        kinds.append(made or next(iter(read), None))


def check_own(layer: Layer) -> None:
    """Refuses a layer of one's own that computes whole sequences by a `run` that its steps would not follow."""
    follows = place_of(layer, "run", "_pool") >= place_of(layer, "step", "ready", "stream", "in_stream")
    if computes_otherwise(layer) and not follows:
        must = "a layer in a stream must say what it computes of a step, by `step`, where it has a `run` of its own"
        raise ShapeError(f"{must}. Got {checks.show(layer)}.")


def _changes_steps(layer: Layer) -> bool:
    """Not `Dropout` and `LastStep`, nor layers that extend them without functions of their own."""
    return not isinstance(layer, (Dropout, LastStep)) or computes_otherwise(layer)


@functools.cache
def axes(outer: int, middle: int) -> tuple[str, ...]:
    """The names of the axes of x, for the place of a value."""
    return (*("row",) * outer, *("step",) * middle, "feature")


def last_values(width: int, dtype: Any, single: bool) -> PlainPacked:
    """What puts the last value of a feature in the place of a missing one, for one sequence or a batch of them.

    Its state is the last value of each feature, (batch, features), NaN where there was none.
    """

    def filled(x: Array, last: Array, middle: int) -> Array:
        """x (B, T, I) from the values before it on."""
        with_last = np.concatenate([last[:, None], x], axis=1)
        seen = np.where(np.isnan(with_last), 0, np.arange(with_last.shape[1])[:, None])
        found = np.take_along_axis(with_last, np.maximum.accumulate(seen, axis=1), axis=1)[:, 1:]
        missing = np.isnan(found)
        if missing.any():
            row, step, feature = checks.first(missing)
            index = ([] if single else [row]) + [step] * middle + [feature]
            where = checks.place("x", tuple(index), axes(not single, middle))
            raise ValueError(f"x must have a value of each feature before one is missing. Got NaN at {where}.")
        return found

    def one(x: Array, state: Arrays) -> tuple[Array, Arrays]:
        y = filled(x[:, None], state[0], 0)[:, 0]
        return y, (y,)

    def many(x: Array, state: Arrays) -> tuple[Array, Arrays]:
        y = filled(x, state[0], 1)
        return np.ascontiguousarray(y), (y[:, -1],)

    return PlainPacked(one, width, width, (width,), dtype, many)
