"""ONNX models as networks of this library: a walk through the graph, in which each operator is one function.

Each value of the graph is known, an array, or flows through the network, positions (`positions`). Operators on known
arrays are computed, and those that move elements are run on positions too, by the reference implementation of ONNX
(`known`); what a tensor is, is seen when a layer reads it (`views`). Lengths that the model leaves open are small
numbers here; the model is read again with others, and both must give the same network. `assembly` makes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from elman import checks
from elman.checks import Array
from elman.interop.onnx.reading.assembly import Assembly
from elman.interop.onnx.reading.correspondence import End, Reading, States
from elman.interop.onnx.reading.files import TYPES, ModelFile, read_model
from elman.interop.onnx.reading.graph import Graph
from elman.interop.onnx.reading.parts import CELL_STATE, Part, RecurrentPart
from elman.interop.onnx.reading.positions import Signal, Stage, varies
from elman.interop.onnx.reading.recurrence import last_states
from elman.interop.onnx.reading.trace import Sizes, Trace, trace
from elman.interop.onnx.reading.views import feature_position, feature_positions, view
from elman.network import Network

if TYPE_CHECKING:
    import os

    from onnx import ModelProto


def from_onnx(
    source: str | os.PathLike[str] | bytes | ModelProto,
    weights: Mapping[str, Any] | None = None,
    *,
    given: Mapping[str, Any] | None = None,
) -> Network:
    """The network of an ONNX model: a list of layers where they stand in a row, or else a graph of them.

    Parameters
    ----------
    source
        A path, the content of a file, or an `onnx.ModelProto`. Data outside the file is read from the folder of the
        model alone.
    weights
        Name -> array, for inputs of the graph that are weights.
    given
        Name -> value, for inputs that choose what the model does, as in ``given={"sr": 16000}``: of an operator If, the
        branch that follows is read, and nothing else of it.

    Returns
    -------
    net
        An `elman.Network`, float64 where the weights are, else float32 (float16 is converted, exactly). Its inputs are
        batch first, (batch, time, features), whatever order the model has. ``net(x)`` gives the outputs, batch first,
        and the states of the recurrent layers in order, whether the model has them as outputs or not. Initial states
        that are inputs of the model are the argument `state`, those that are constant are learned states, and an input
        with the lengths of sequences is the argument `lengths`, which all layers that read a sequence to its end must
        heed, or none where it is `given`; what a model gives after the end of a sequence is 0 here. Where the outputs
        are states alone, such as ``Y_h``, y is that of the last layer.

    Inputs and outputs of a graph have the names of the model. Nodes hold no dot, do not end in ``_reverse`` and have
    names of their own: an output "a.b" is "a_b" here, "y_reverse" is "y_reverse_", and "x" beside an input "x" "x_2".

    Operators of ONNX from version 7 on: RNN, LSTM and GRU with all their attributes; matrix products, convolutions and
    pools over time, normalization, embeddings, activations, dropout; sums, products and features side by side; whatever
    moves axes, takes a last step, a direction or features, or computes with shapes.

    Raises `FormatError`, naming file, node and operator, for what is damaged, claims more than it holds, reaches out
    of its folder, or is no network of layers; `FileNotFoundError`, and `MissingExtraError` where `onnx` is not
    installed. Nothing of a model is executed.

    Source: the operators of ONNX, https://onnx.ai/onnx/operators.

    >>> import numpy as np, onnx
    >>> from elman.interop.onnx.reading.reader import from_onnx
    >>> node = onnx.helper.make_node("GRU", ["x", "W", "R"], ["y", "h"], linear_before_reset=1, hidden_size=5)
    >>> x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ("time", "batch", 3))
    >>> weights = {"W": np.ones((1, 15, 3), np.float32), "R": np.ones((1, 15, 5), np.float32)}
    >>> inputs = [x, *(onnx.helper.make_tensor_value_info(name, 1, w.shape) for name, w in weights.items())]
    >>> y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    >>> model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", inputs, [y]))
    >>> from_onnx(model, weights)
    Network of 1 layers, 140 parameters, float32
      0  GRU(input_size=3, hidden_size=5, reset_after=True, bidirectional=False) 140
    """
    return read_onnx(source, weights, given=given).network


def read_onnx(
    source: str | os.PathLike[str] | bytes | ModelProto,
    weights: Mapping[str, Any] | None = None,
    *,
    given: Mapping[str, Any] | None = None,
) -> Reading:
    """The network of a model as `from_onnx` gives it, and how its arrays correspond to those of the model."""
    file = read_model(source)
    weights = checks.mapping("weights", {} if weights is None else weights, "of names of inputs to arrays")
    constants = {name: checks.real_array(f"weights[{checks.show(name)}]", value) for name, value in weights.items()}
    constants |= _given(file, checks.mapping("given", {} if given is None else given, "of names of inputs to values"))
    unknown = sorted(set(constants) - {info.name for info in file.model.graph.input})
    if unknown:
        place = "weights" if set(unknown) <= set(weights) else "given"
        raise file.refused(place, "named like inputs of the graph", ", ".join(unknown))
    graph = Graph(file, constants)
    sizes = Sizes(file.model)
    outputs = trace(graph, sizes, partial(_Outputs, file))
    if sizes.grow(outputs.flow):
        outputs.assembly.check_same(trace(graph, sizes, partial(_Outputs, file)).assembly)
    network = outputs.assembly.network()
    return Reading(network, outputs.assembly, outputs.found(), outputs.traced.masks)


def _given(file: ModelFile, given: Mapping[str, Any]) -> dict[str, Array]:
    """Values of inputs in the types that the model has for them."""
    types = {info.name: TYPES.get(info.type.tensor_type.elem_type, "") for info in file.model.graph.input}
    found = {}
    for name, value in given.items():
        array = np.asarray(value)
        if array.dtype.kind not in "biuf" or array.size > 2**16:
            raise file.refused(f"given[{checks.show(name)}]", "a number or a few", checks.describe(value))
        found[name] = array.astype(types.get(name) or array.dtype)
    return found


class _Outputs:
    """The outputs of a graph: those that are last states of layers, and the ends of the network."""

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

    def found(self) -> dict[str, End | States]:
        """What each output is, once the network is made."""
        self._check_starts()
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
        return {
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
