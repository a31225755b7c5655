"""How the arrays of a network correspond to those of the ONNX model that it was read from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.checks import Array
from elman.interop.onnx.reading.assembly import Assembly
from elman.interop.onnx.reading.parts import RecurrentPart
from elman.interop.onnx.reading.positions import Axis
from elman.interop.onnx.reading.views import View
from elman.network import Network

_LEAD = ("batch", "time")


@dataclass(frozen=True, eq=False)
class States:
    """An output that is made of last states: which column of all of them each number is, and where the batch stands.

    The columns are those of all states of the network, one after another, (batch, columns) together.
    """

    columns: Array
    batch: int | None


@dataclass(frozen=True, eq=False)
class End:
    """An output that is one of the network: what it is, its axes of features, and their lengths."""

    view: View
    dims: tuple[int, ...]
    lengths: tuple[int, ...]

    def laid(self, array: Array) -> Array:
        """The output of the model, of that of the network, batch first."""
        groups = [group or () for group in self.view.groups]
        features = self.view.stage.features
        if self.view.position is not None:  # an axis of length 1, where another was told to be that of the features
            held = any(axis in features for group in groups for axis in group)
            groups.insert(self.view.position, () if held else features)
        found = _laid_out(array, _LEAD[: array.ndim - 1], groups, features)
        if len(self.dims) < 2:
            return found
        return np.moveaxis(found.reshape(*found.shape[:-1], *self.lengths), range(-len(self.dims), 0), self.dims)


@dataclass(frozen=True, eq=False)
class Reading:
    """A network, and what of the model it is: how its layers were put together, and the outputs by name."""

    network: Network
    assembly: Assembly
    outputs: Mapping[str, End | States]
    masks: Mapping[str, list[str]]

    def __post_init__(self) -> None:
        """Gives axes of inputs that no operator told apart the roles that are left: features last, batch first."""
        tokens = dict(zip(self.network.inputs, self.network.graph.tokens(), strict=True))
        for stage in self.assembly.roots:
            left = [axis for axis in stage.axes if not axis.role]
            if left and not stage.features and tokens.get(stage.name, tokens.get("x")) is None:
                known = [axis for axis in left if not axis.name]
                (known if len(known) == 1 else left)[-1].tell("features")
            left = sorted((axis for axis in left if not axis.role), key=lambda axis: "batch" not in axis.name)
            roles = [role for role in _LEAD if role not in [axis.role for axis in stage.axes]]
            for axis, role in zip(left, roles, strict=False):
                axis.tell(role)
            wide = [axis.role for axis in stage.axes if axis.length != 1]
            for role in _LEAD:
                if wide.count(role) > 1:
                    must, got = "one of the batch, one of time, and features", f"two of the {role}"
                    raise self.assembly.file.refused(f"the axes of the input {stage.name!r}", must, got)

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
            lead = _LEAD[: array.ndim - (not stage.tokens)]
            found[stage.name] = _laid_out(array, lead, [(axis,) for axis in stage.axes], stage.features)
        if self.lengths and lengths is not None:
            found[self.lengths] = self._mask(np.asarray(lengths), x)
        for (_, part), entry in zip(self.assembly.recurrent, state or [], strict=False):
            for name, given in (part.given if part is not None and entry is not None else {}).items():
                assert part is not None
                array = _state(entry, name, part)  # (batch, directions, hidden)
                if given.name not in found:
                    shape = [len(array) if j == given.batch else n for j, n in enumerate(given.shape)]
                    found[given.name] = np.zeros(shape, array.dtype)
                whole = found[given.name]
                rows = whole[None] if given.batch is None else np.moveaxis(whole, given.batch, 0)
                index: Any = (slice(None), *np.unravel_index(given.places, rows.shape[1:]))
                rows[index] = array
        return found

    def _mask(self, lengths: Array, x: Any) -> Array:
        """The lengths of sequences, or, where the model has a mask in their place, which steps are real."""
        roles = self.masks.get(self.lengths)
        if roles is None:
            return lengths
        array = next(iter(x.values())) if isinstance(x, Mapping) else x
        mask = np.arange(array.shape[1]) < lengths[:, None]
        return mask.reshape([{"one": 1, "batch": len(mask), "time": mask.shape[1]}[role] for role in roles])

    def results(self, y: Any, state: Any) -> dict[str, Array]:
        """The outputs of the model, from those of the network: y batch first, and its states."""
        named = self.network.graph.named
        ends = [y[name] for name in self.network.config["outputs"]] if named else [y]
        made = dict(zip((name for name, _ in self.assembly.ends), ends, strict=True))
        found = {}
        for name, output in self.outputs.items():
            if isinstance(output, End):
                found[name] = output.laid(made[name])
            else:
                columns = self._columns(state)[:, output.columns]
                found[name] = columns[0] if output.batch is None else np.moveaxis(columns, 0, output.batch)
        return found

    def _columns(self, state: Any) -> Array:
        """All states, (batch, columns)."""
        arrays = []
        for (_, part), entry in zip(self.assembly.recurrent, state, strict=True):
            if part is not None:
                names = "hc" if part.kind == "lstm" else "h"
                arrays += [_state(entry, name, part) for name in names]
        return np.concatenate([array.reshape(len(array), -1) for array in arrays], 1)


def _state(entry: Any, name: str, part: RecurrentPart) -> Array:
    """One state of a layer, (batch, directions, hidden)."""
    array = np.asarray(entry[name == "c"] if isinstance(entry, (tuple, list)) else entry)
    return array.reshape(part.directions, *array.shape[-2:]).transpose(1, 0, 2)


def _laid_out(array: Array, lead: Sequence[str], groups: Sequence[Sequence[Axis]], features: Sequence[Axis]) -> Array:
    """An array whose axes are `lead` and all features, with its axes as the groups of a tensor have them."""
    widths = [axis.length for axis in features] if len(features) > 1 else list(array.shape[len(lead) :])
    array = array.reshape(*array.shape[: len(lead)], *widths)
    names: list[Any] = [*lead, *(features or ("one",) * (array.ndim - len(lead)))]
    names = names[: array.ndim]
    held = [axis for group in groups for axis in group]  # one of length 1 may have the role of another
    twice = [axis for axis in held if axis.length == 1 and [one.role for one in held].count(axis.role) > 1]
    named = [[axis.role if axis.role in _LEAD else axis for axis in group if axis not in twice] for group in groups]
    sizes = dict(zip(names, array.shape, strict=True))
    order = [names.index(name) for group in named for name in group if name in sizes]
    order += [i for i in range(len(names)) if i not in order]  # axes of length 1 that the tensor does not have
    shape = [math.prod(sizes.get(name, 1) for name in group) for group in named]
    if math.prod(shape) != array.size:
        raise ValueError(f"x must fill {tuple(shape)}, as the model has its axes of length 1. Got {array.shape}.")
    return array.transpose(order).reshape(shape)
