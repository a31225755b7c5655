"""How the arrays of a network correspond to those of the ONNX model that it was read from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.checks import Array
from elman.interop.onnx.reading.assembly import Assembly
from elman.interop.onnx.reading.signals import Group, Signal, StackedStates
from elman.interop.onnx.reading.sizes import product
from elman.interop.onnx.reading.stages import RecurrentPart
from elman.network import Network

_LEAD = ("batch", "time")


@dataclass(frozen=True, eq=False)
class Reading:
    """A network, and what of the model it is: how its layers were put together, and the outputs by name."""

    network: Network
    assembly: Assembly
    outputs: Mapping[str, Signal | StackedStates]

    def __post_init__(self) -> None:
        """Gives axes of inputs that no operator told apart the roles that are left: features last, batch first."""
        tokens = dict(zip(self.network.inputs, self.network.graph.tokens(), strict=True))
        for stage in self.assembly.roots:
            axes = stage.axes or ()
            roles = {axis.role for axis in axes}
            open_axes = [axis for axis in axes if not axis.role]
            if open_axes and "features" not in roles and tokens.get(stage.name, tokens.get("x")) is None:
                known = [axis for axis in open_axes if isinstance(axis.length, int)]
                last = known[0] if len(known) == 1 else open_axes[-1]
                open_axes.remove(last)
                last.role = "features"
            open_axes.sort(key=lambda axis: "batch" not in str(axis.length))
            for axis, role in zip(open_axes, (role for role in _LEAD if role not in roles), strict=False):
                axis.role = role

    @property
    def lengths(self) -> str:
        """The name of the input with the lengths of sequences, "" where there is none."""
        stages = self.assembly.stages
        return next((stage.part.lengths for stage in stages if stage.part and stage.part.lengths), "")

    def feed(self, x: Any, state: Any = None, lengths: Any = None) -> dict[str, Array]:
        """The inputs of the model for arguments of the network: x (batch, time, features), or tokens (batch, time).

        Without an axis of time where the model has none.
        """
        found = {}
        for stage in self.assembly.roots:
            array = x[stage.name] if isinstance(x, Mapping) else x
            axes = stage.axes or ()
            features = tuple(axis for axis in axes if axis.role == "features")
            lead = _LEAD[: array.ndim - (stage.state != "tokens")]
            found[stage.name] = _laid_out(array, lead, [(axis,) for axis in axes], features)
        if self.lengths and lengths is not None:
            found[self.lengths] = np.asarray(lengths)
        rows: dict[str, dict[int, Array]] = {}
        along: dict[str, int] = {}  # the axis in which an input has the states of several layers
        for (_, part), entry in zip(self.assembly.recurrent, state or [], strict=False):
            for name, given in (part.given if part is not None and entry is not None else {}).items():
                assert part is not None
                array = _state(entry, name, part)  # (batch, directions, hidden)
                whole = {"batch": array.shape[0], "direction": array.shape[1], "hidden": array.shape[2]}
                order = [("batch", "direction", "hidden").index(role) for role in dict.fromkeys(given.roles)]
                rest = [axis for axis in range(3) if axis not in order]
                shape = [whole[role] for role in given.roles]
                along[given.name] = given.roles.index("direction") if "direction" in given.roles else 0
                if given.roles.count("direction") > 1:  # an axis of states before that of directions
                    shape[along[given.name]] = 1
                rows.setdefault(given.name, {})[given.start] = array.transpose(*order, *rest).reshape(shape)
        parts = {name: [by_start[i] for i in sorted(by_start)] for name, by_start in rows.items()}
        return found | {name: np.concatenate(arrays, along[name]) for name, arrays in parts.items()}

    def results(self, y: Any, state: Any) -> dict[str, Array]:
        """The outputs of the model, from those of the network: y batch first, and its states."""
        named = self.network.graph.named
        ends = [y[name] for name in self.network.config["outputs"]] if named else [y]
        made = dict(zip((name for name, _ in self.assembly.ends), ends, strict=True))
        found = {}
        for name, value in self.outputs.items():
            if isinstance(value, Signal) and name in made:
                lead = _LEAD[: made[name].ndim - 1]
                found[name] = _laid_out(made[name], lead, value.axes, value.stage.features)
            else:
                signals = value.signals
                axis = value.axis if isinstance(value, StackedStates) else 0
                found[name] = np.concatenate([self._last(signal, state) for signal in signals], axis)
        return found

    def _last(self, signal: Signal, state: Any) -> Array:
        """The last state of a layer, as the model has it."""
        for (place, part), entry in zip(self.assembly.recurrent, state, strict=True):
            if place == signal.stage.place and part is not None:
                array = _state(entry, signal.stage.state, part)
                return _laid_out(array.reshape(len(array), -1), _LEAD[:1], signal.axes, signal.stage.features)
        raise AssertionError


def _state(entry: Any, name: str, part: RecurrentPart) -> Array:
    """One state of a layer, (batch, directions, hidden)."""
    array = np.asarray(entry[name == "c"] if isinstance(entry, (tuple, list)) else entry)
    return array.reshape(part.directions, *array.shape[-2:]).transpose(1, 0, 2)


def _laid_out(array: Array, lead: Sequence[str], groups: Sequence[Group], features: Group) -> Array:
    """An array whose axes are `lead` and all features, with its axes as the groups of a tensor have them."""
    widths = [axis.length for axis in features] if len(features) > 1 else list(array.shape[len(lead) :])
    array = array.reshape(*array.shape[: len(lead)], *widths)
    names: list[Any] = [*lead, *(features or ("one",) * (array.ndim - len(lead)))]
    names = names[: array.ndim]
    flat = [axis.role if axis.role in _LEAD else axis for group in groups for axis in group]
    sizes = dict(zip(names, array.shape, strict=True))
    order = [names.index(name) for name in flat if name in sizes]
    order += [i for i in range(len(names)) if i not in order]  # axes of length 1 that the tensor does not have
    shape = [product(sizes.get(axis.role if axis.role in _LEAD else axis, 1) for axis in group) for group in groups]
    return array.transpose(order).reshape(shape)
