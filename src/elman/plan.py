"""What streams need of a network: its weights made ready for steps, once for all streams that it gives."""

from __future__ import annotations

import copy
import uuid
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from elman import checks
from elman.checks import Array, ShapeError
from elman.layers import Dropout, LastStep, Layer, Recurrent
from elman.layers.nesting import computes_otherwise, every_layer, flat_layers, placed_layers

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
        ready = [_ready(layer) for layer in self.layers]
        # What makes the steppers of those with states, and the functions of those without.
        self.packed = [one if layer.stateful else None for one, layer in zip(ready, self.layers, strict=True)]
        self.rows = [None if layer.stateful else one for one, layer in zip(ready, self.layers, strict=True)]
        self.first = [layer.first_state(1) if layer.stateful else () for layer in self.layers]
        self.begins_at_0 = not any(array.any() for state in self.first for array in state)
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


def _ready(layer: Layer) -> Any:
    """What a stream runs of a layer; a step of one's own is run in the place of what it extends."""
    return layer.ready() if _place(layer, "ready") <= _place(layer, "step") else Layer.ready(layer)


def _place(layer: Layer, *names: str) -> int:
    """How far from the layer's own class the nearest one is that has one of these methods."""
    return next(i for i, kind in enumerate(type(layer).__mro__) if not {*names}.isdisjoint(vars(kind)))


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
    """Refuses a layer of one's own that computes whole sequences by a `run` that its steps would not follow."""
    if _place(layer, "run") < _place(layer, "step", "ready", "stream"):
        raise ShapeError(
            f"a layer in a stream must say what it computes of a step, by `step`, where it has a `run` of its own. "
            f"Got {checks.show(layer)}."
        )


def _changes_steps(layer: Layer) -> bool:
    """Not `Dropout` and `LastStep`, nor layers that extend them without functions of their own."""
    return not isinstance(layer, (Dropout, LastStep)) or computes_otherwise(layer)
