"""How the arrays of a network correspond to those of the ONNX model that it was read from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.checks import Array
from elman.interop.onnx.reading.signals import Group, Pile, Signal
from elman.interop.onnx.reading.sizes import product
from elman.interop.onnx.reading.stages import Axis, RecurrentPart, Stage
from elman.network import Network

_LEAD = ("batch", "time")


@dataclass(frozen=True, eq=False)
class Reading:
    """A network, and what of the model it is: the end of the chain, the outputs by name, the stages on the way."""

    network: Network
    chain: Signal
    outputs: Mapping[str, Signal | Pile]
    stages: Sequence[Stage]

    def __post_init__(self) -> None:
        """Gives axes of the input that no operator told apart the roles that are left: features last, batch first."""
        roles = {axis.role for axis in self._axes}
        open_axes = [axis for axis in self._axes if not axis.role]
        if open_axes and "features" not in roles and not self.network.takes_tokens:
            open_axes.pop().role = "features"
        for axis, role in zip(open_axes, (role for role in _LEAD if role not in roles), strict=False):
            axis.role = role

    @property
    def _axes(self) -> tuple[Axis, ...]:
        return self.stages[0].axes or ()

    @property
    def lengths(self) -> str:
        """The name of the input with the lengths of sequences, "" where there is none."""
        return next((stage.part.lengths for stage in self.stages if stage.part and stage.part.lengths), "")

    def feed(self, x: Array, state: Any = None, lengths: Any = None) -> dict[str, Array]:
        """The inputs of the model for arguments of the network: x (batch, time, features), or tokens (batch, time).

        Without an axis of time where the model has none.
        """
        features = tuple(axis for axis in self._axes if axis.role == "features")
        lead = _LEAD[: x.ndim - len(features)]
        found = {self.stages[0].name: _laid_out(x, lead, [(axis,) for axis in self._axes], features)}
        if self.lengths and lengths is not None:
            found[self.lengths] = np.asarray(lengths)
        rows: dict[str, list[Array]] = {}
        for (_, part), entry in zip(self._recurrent(), state or [], strict=False):
            for name, given in part.given.items():
                array = _state(entry, name, part)  # (batch, directions, hidden)
                whole = {"batch": array.shape[0], "direction": array.shape[1], "hidden": array.shape[2]}
                order = [("batch", "direction", "hidden").index(role) for role in given.roles]
                rest = [axis for axis in range(3) if axis not in order]
                shape = [whole[role] for role in given.roles]
                rows.setdefault(given.name, []).append(array.transpose(*order, *rest).reshape(shape))
        return found | {name: np.concatenate(arrays) for name, arrays in rows.items()}

    def results(self, y: Array, state: Any) -> dict[str, Array]:
        """The outputs of the model, from those of the network: y batch first, and its states."""
        found = {}
        for name, value in self.outputs.items():
            signals = value.signals if isinstance(value, Pile) else (value,)
            found[name] = np.concatenate([self._result(signal, y, state) for signal in signals])
        return found

    def _result(self, signal: Signal, y: Array, state: Any) -> Array:
        if signal.stage is self.chain.stage:
            return _laid_out(y, _LEAD if y.ndim == 3 else _LEAD[:1], signal.axes, signal.stage.features)
        for (place, part), entry in zip(self._recurrent(), state, strict=True):
            if place == signal.stage.place:
                array = _state(entry, signal.stage.state, part)
                return _laid_out(array.reshape(len(array), -1), _LEAD[:1], signal.axes, signal.stage.features)
        raise AssertionError

    def _recurrent(self) -> list[tuple[str, RecurrentPart]]:
        return [(stage.place, stage.part) for stage in self.stages if isinstance(stage.part, RecurrentPart)]


def _state(entry: Any, name: str, part: RecurrentPart) -> Array:
    """One state of a layer, (batch, directions, hidden)."""
    array = np.asarray(entry[name == "c"] if isinstance(entry, (tuple, list)) else entry)
    return array.reshape(part.directions, *array.shape[-2:]).transpose(1, 0, 2)


def _laid_out(array: Array, lead: Sequence[str], groups: Sequence[Group], features: Group) -> Array:
    """An array whose axes are `lead` and all features, with its axes as the groups of a tensor have them."""
    widths = [axis.length for axis in features] if len(features) > 1 else list(array.shape[len(lead) :])
    array = array.reshape(*array.shape[: len(lead)], *widths)
    names: list[Any] = [*lead, *(features if array.ndim > len(lead) else ())]
    flat = [axis.role if axis.role in _LEAD else axis for group in groups for axis in group]
    sizes = dict(zip(names, array.shape, strict=True))
    order = [names.index(name) for name in flat if name in sizes]
    order += [i for i in range(len(names)) if i not in order]  # axes of length 1 that the tensor does not have
    shape = [product(sizes.get(axis.role if axis.role in _LEAD else axis, 1) for axis in group) for group in groups]
    return array.transpose(order).reshape(shape)
