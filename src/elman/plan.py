"""What streams need of a network: its weights made ready for steps, once for all streams that it gives."""

from __future__ import annotations

import copy
import uuid
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from elman import checks
from elman.cells.cell import Arrays
from elman.checks import Array, ShapeError
from elman.layers import Dropout, LastStep, Layer, Recurrent
from elman.layers.layer import computes_otherwise, every_layer, flat_layers, placed_layers

if TYPE_CHECKING:
    from elman.network import Network

#: The plans in use, by their key: streams that come out of pickles share them too.
_plans: weakref.WeakValueDictionary[bytes, Plan] = weakref.WeakValueDictionary()


class Plan:
    """A network as it was at one moment, with its weights packed. It never changes."""

    def __init__(self, net: Network, key: bytes | None = None) -> None:
        self.net = copy.deepcopy(net)
        for array in self.net.parameters.values():
            array.setflags(write=False)
        every = flat_layers(self.net)
        check_steps(every)
        for inside in every_layer(self.net):
            if inside.layers:
                check_own(inside)
        self.layers = [layer for layer in every if _changes_steps(layer)]
        self.packed = [layer._pack() if isinstance(layer, Recurrent) else None for layer in self.layers]
        self.rows = [layer._ready() for layer in self.layers]  # of those without a state
        self.first = [_first_state(layer) if isinstance(layer, Recurrent) else () for layer in self.layers]
        self._made_of = _facts(net)
        self._key = key or uuid.uuid4().bytes
        _plans[self._key] = self

    def fits(self, net: Network) -> bool:
        """Whether the network is still the same: its layers, their options, and every bit of its weights."""
        if self._made_of != _facts(net):
            return False
        mine = self.net.parameters
        return all(np.array_equal(_bits(array), _bits(mine[name])) for name, array in net.parameters.items())

    def __deepcopy__(self, memo: Any) -> Plan:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _plan, (self._key, self.net)


def _plan(key: bytes, net: Network) -> Plan:
    """The plan of a pickle: the one that is here already, where it is in use."""
    return _plans.get(key) or Plan(net, key)


def _facts(net: Network) -> list[Any]:
    """What a network is made of beside its weights."""
    return [(place, type(layer), layer.config) for place, layer in placed_layers(net)]


def _bits(array: Array) -> Array:
    return array.view(f"u{array.itemsize}")


def _first_state(layer: Recurrent) -> Arrays:
    """The state before the first step, 0 or the learned one, (1, width) each."""
    learned = layer._first_state(0, 1)
    return learned or tuple([np.zeros((1, width), layer.dtype) for width in layer._widths])


def check_steps(layers: list[Layer]) -> None:
    """Refuses layers that cannot go step by step, and those over time where a step has become the whole."""
    for i, layer in enumerate(layers):
        if layer.needs_whole_sequences:
            raise ShapeError(f"a stream must have layers that go forward step by step. Got {checks.show(layer)}.")
        if _changes_steps(layer):
            check_own(layer)
        pooled = any(isinstance(before, LastStep) for before in layers[:i])
        if pooled and isinstance(layer, (Recurrent, LastStep)):
            raise ShapeError(f"a layer over time must be given sequences. Got {checks.show(layer)} behind a LastStep.")


def check_own(layer: Layer) -> None:
    """Refuses a layer of one's own that computes whole sequences by a `_run` that its steps would not follow."""

    def place(*names: str) -> int:
        return next(i for i, kind in enumerate(type(layer).__mro__) if not {*names}.isdisjoint(vars(kind)))

    if place("_run") < place("_rows", "_ready", "_pack", "stream"):
        raise ShapeError(
            f"a layer in a stream must say what it computes of a step, by _rows, where it has a _run of its own. "
            f"Got {checks.show(layer)}."
        )


def _changes_steps(layer: Layer) -> bool:
    """Not `Dropout` and `LastStep`, nor layers that extend them without functions of their own."""
    return not isinstance(layer, (Dropout, LastStep)) or computes_otherwise(layer)
