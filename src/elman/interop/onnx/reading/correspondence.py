"""How the arrays of a network correspond to those of the ONNX model that it was read from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from elman.checks import Array
from elman.interop.onnx.reading.assembly import Assembly
from elman.interop.onnx.reading.files import ModelFile
from elman.interop.onnx.reading.parts import CELL_STATE, Part, RecurrentPart
from elman.interop.onnx.reading.positions import Axis, Signal, Stage, varies
from elman.interop.onnx.reading.recurrence import last_states
from elman.interop.onnx.reading.trace import Trace
from elman.interop.onnx.reading.views import View, feature_position, feature_positions, view
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


class Reading:
    """A network, and what of the model it is: the outputs are the ends of the network, or last states of its layers."""

    network: Network
    outputs: Mapping[str, End | States]

    def __init__(self, file: ModelFile, traced: Trace) -> None:
        self.file, self.traced, self.flow = file, traced, traced.flow
        self.states: dict[str, tuple[Signal, list[Stage]]] = {}
        self.views: dict[str, End] = {}
        for name, value in traced.outputs.items():
            if not isinstance(value, Signal) or not value.ids.size:
                got = getattr(value, "place", "") or "a value that no layer makes"
                raise file.refused(f"the output {name!r}", "one of a layer", got)
            owners = self._owners(value)
            if owners:
                self.states[name] = value, owners
            else:
                self.views[name] = self._view(name, value)
        self.assembly = self._assembly()

    def _owners(self, value: Signal) -> list[Stage]:
        """The layers whose last states, whole ones, a value is made of; none where it is something else."""
        owners = []
        for stage in self.flow.sources(value.ids):
            owner = stage.reads[0] if stage.kind == CELL_STATE else stage
            if not isinstance(owner.part, RecurrentPart):
                return []
            own = stage.ids() if stage is not owner else last_states(self.flow, stage)
            mine = value.ids[stage.holds(value.ids)]
            if not np.array_equal(np.sort(own.ravel()), np.sort(mine)):
                return []
            owners.append(owner)
        d = feature_position(value)
        row = value.ids if d is None else np.moveaxis(value.ids, d, -1).reshape(-1, value.shape[d])[0]
        side_by_side = len(self.flow.sources(row)) > 1
        return [] if side_by_side or (value.ids < 0).any() else owners

    def _view(self, name: str, value: Signal) -> End:
        node = self.traced.nodes[name]
        dims = feature_positions(value)
        lengths = tuple(value.shape[d] for d in dims)
        position = dims[0] if dims else None
        if len(dims) > 1:  # directions and features apart
            ids = np.moveaxis(value.ids, dims, range(-len(dims), 0))
            value = value.moved(ids.reshape(*ids.shape[: -len(dims)], -1))
            position = value.ids.ndim - 1
        found = view(node, value, position)
        if found.fill not in (None, 0.0) and not np.isnan(found.fill or 0.0):
            raise self.file.refused(f"the number in the padding of the output {name!r}", "0", f"{found.fill}")
        held = [axis for group in found.groups for axis in group or ()]
        loose = [axis for axis in found.stage.lead if axis not in held]
        if found.stage.time in loose and found.lengths.count(1) < len(loose):  # a step that was taken out of time
            stage = self.flow.pooled(found.stage, Part("LastStep", lengths=found.stage.lengths), node.place)
            found = replace(found, stage=stage, codes=None)
        return End(found, tuple(dims), lengths)

    def _assembly(self) -> Assembly:
        """The network of the ends, and of layers of which the last states alone go out."""
        ends = [(name, found.view.stage) for name, found in self.views.items()]
        owners = [(name, stage) for name, (_, stages) in self.states.items() for stage in stages]
        places = {stage.place for _, stage in owners}
        for name, stage in sorted(owners, key=lambda pair: -pair[1].first):
            reached = Assembly(self.file, ends, places, self.flow.lengths).stages
            made = [each.place for each in reached if isinstance(each.part, RecurrentPart)]
            given = [each for each in self.flow.sources(self.states[name][0].ids) if each.kind != CELL_STATE]
            if stage.place not in made and stage in given:
                ends.append((name, self._last(stage)))
        if not ends:
            raise self.file.refused(
                "an output of the graph", "that of a layer", "cell states alone" if self.states else "none"
            )
        assembly = Assembly(self.file, ends, places, self.flow.lengths)
        for name, stage in owners:
            if stage not in assembly.stages:
                must = "a state of a layer of the network, of all its directions"
                raise self.file.refused(f"the output {name!r}", must, f"one of {stage.place}")
        return assembly

    def _last(self, stage: Stage) -> Stage:
        """The stage that gives the last h of a layer."""
        ids = last_states(self.flow, stage)
        node = next(node for node in self.traced.nodes.values() if node.place == stage.place)
        return view(node, Signal(self.flow, ids.reshape(len(ids), -1)), 1).stage

    def finish(self) -> None:
        """Makes the network, and tells what each output is."""
        self.network = self.assembly.network()
        self._check_starts()
        self._tell_roles()
        every = []
        for stage, part in self.assembly.recurrent:
            if part is not None:
                cells = [each.ids() for each in self.flow.stages if each.kind == CELL_STATE and each.reads[0] is stage]
                hidden = last_states(self.flow, stage)  # of one direction of another layer no output is the cell state
                states = hidden, *(cells or [np.full_like(hidden, -1)])[: part.kind == "lstm"]
                every += [ids.reshape(len(states[0]), -1) for ids in states]
        most = max(map(len, every), default=0)  # layers of other inputs may have fewer sequences
        rows = [np.pad(ids, ((0, most - len(ids)), (0, 0)), constant_values=-1) for ids in every]
        known = np.concatenate(rows, 1) if rows else np.empty((0, 0), np.int64)
        self.outputs = {
            name: self.views.get(name) or self._states(name, self.states[name][0], known)
            for name in self.traced.outputs
        }

    def _states(self, name: str, value: Signal, known: Array) -> States:
        """Which column of all states, (batch, columns), each number of an output is."""
        order = np.argsort(known, axis=None)
        places = order[np.searchsorted(known.ravel(), value.ids, sorter=order)]
        batch, columns = np.divmod(places, known.shape[1])
        along = [d for d in range(value.ids.ndim) if varies(batch, value.ids >= 0, d)]
        if not along:
            return States(columns, None)
        columns, batch = np.moveaxis(columns, along[0], 0), np.moveaxis(batch, along[0], -1)
        if len(along) > 1 or (columns != columns[:1]).any() or (batch != np.arange(batch.shape[-1])).any():
            raise self.file.refused(f"the output {name!r}", "states with the batch along one axis", "others")
        return States(columns[0], along[0])

    def _check_starts(self) -> None:
        """Refuses states that go into the network elsewhere than elman has them."""
        seen: set[tuple[str, int]] = set()
        roots = {root.name for root in self.assembly.roots}
        for stage, part in self.assembly.recurrent:
            for given in part.given.values() if part is not None else ():
                taken = {(given.name, int(place)) for place in given.places.ravel()}
                if taken & seen or given.name in roots:
                    must = "a state of one layer of the network, of all its directions"
                    raise self.file.refused(f"the input {given.name!r}", must, f"one of {stage.place}")
                seen |= taken

    def _tell_roles(self) -> None:
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
                    raise self.file.refused(f"the axes of the input {stage.name!r}", must, got)

    # Arrays of the network, and of the model.

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
        roles = self.traced.masks.get(self.lengths)
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
