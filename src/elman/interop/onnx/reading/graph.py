"""The graph of an ONNX model: its nodes in the order in which they can run, each checked against its operator's text.

What an operator may have, attributes with their types and defaults, and how many inputs and outputs, is read from the
schemas of the `onnx` package, for the version of the operators that the model names.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

import numpy as np

from elman.checks import Array, FormatError
from elman.interop.files import refused
from elman.interop.onnx.reading.files import ModelFile
from elman.interop.onnx.reading.sizes import Length, Size

if TYPE_CHECKING:
    from onnx import AttributeProto, NodeProto, ValueInfoProto

OLDEST = 7  #: the first version of the operators that is read
_DOMAINS = ("", "ai.onnx")
MAX_AXES = 8

#: Why some operators are not read.
_REASONS = dict.fromkeys(
    ("Loop", "Scan"), ": the exporter wrote the steps of a layer out, where RNN, LSTM or GRU would be read"
) | {
    "If": ": a switch, two graphs of which a value of the run chooses one, as a sampling rate does. Export the model "
    "for one case, or take the graph of that case out of the file with the onnx package (attributes then_branch and "
    "else_branch of the node)"
}


@dataclass(frozen=True)
class Node:
    """One node: its operator, the names of its inputs and outputs ("" for one left out), and all its attributes."""

    op: str
    place: str  # what errors call it
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]  # defaults filled in; None where there is none
    opset: int
    file: ModelFile

    def refused(self, place: str, must: str, got: str) -> FormatError:
        """The error of something at this node."""
        return refused(self.file.name, f"{self.place}: {place}" if place else self.place, must, got)

    def take(self, count: int) -> None:
        """Asks for the memory of a result of `count` bytes."""
        self.file.allowance.take(count, f"the memory of {self.place}")


@dataclass(frozen=True)
class Input:
    """An input of the graph."""

    name: str
    lengths: tuple[Length, ...]
    type: int  # of its elements, by the number of ONNX


@dataclass
class Graph:
    """A graph whose names and order are sound: only what its outputs need, each node after those it reads."""

    file: ModelFile
    nodes: list[Node]
    inputs: dict[str, Input]
    outputs: list[str]
    constants: dict[str, Array] = field(default_factory=dict)

    @classmethod
    def read(cls, file: ModelFile, weights: Mapping[str, Array], known: Collection[str]) -> Graph:
        """The graph of a model; `weights` are constants that take the place of inputs, `known` operators' names."""
        graph = file.model.graph
        opset = _opset(file)
        if file.model.functions:
            names = ", ".join(function.name for function in file.model.functions[:3])
            raise file.refused("the model", "without functions of its own", f"{len(file.model.functions)}: {names}")
        if graph.sparse_initializer:
            raise file.refused("the graph", "without sparse tensors", f"{len(graph.sparse_initializer)}")
        protos = _order(file, set(weights))
        for proto in protos:
            if proto.domain in _DOMAINS and proto.op_type not in known:
                got = f"{proto.op_type}{_REASONS.get(proto.op_type, '')}"
                raise file.refused(f"the operator of {_place(proto)}", "one that is read as layers in a row", got)
        needed = {name for proto in protos for name in proto.input} | {output.name for output in graph.output}
        constants = {
            tensor.name: file.tensor(tensor, f"the tensor {tensor.name!r}")
            for tensor in graph.initializer
            if tensor.name in needed and tensor.name not in weights
        }
        taken = set(constants) | set(weights)
        inputs = {info.name: _input(file, info) for info in graph.input if info.name in needed - taken}
        nodes = [_node(file, proto, opset) for proto in protos]
        return cls(file, nodes, inputs, [output.name for output in graph.output], {**constants, **weights})


def _opset(file: ModelFile) -> int:
    from onnx.defs import onnx_opset_version

    versions = [entry.version for entry in file.model.opset_import if entry.domain in _DOMAINS]
    newest = onnx_opset_version()
    if len(versions) != 1 or not OLDEST <= versions[0] <= newest:
        got = " and ".join(map(str, versions)) or "none"
        raise file.refused("the version of the operators", f"from {OLDEST} to {newest}, those known here", got)
    return versions[0]


def _order(file: ModelFile, given: set[str]) -> list[NodeProto]:
    """The nodes that the outputs need, each behind those it reads."""
    graph = file.model.graph
    makers = _makers(file)
    free = given | {info.name for info in graph.input} | {tensor.name for tensor in graph.initializer} | {""}
    reads: dict[int, set[int]] = {}
    wanted = [(output.name, "the outputs") for output in graph.output]
    while wanted:
        name, reader = wanted.pop()
        index = makers.get(name)
        if index is None:
            if name not in free:
                must = "made by a node, or be an input or a tensor"
                raise file.refused(f"the value {name!r}, which is read by {reader},", must, "none of that name")
        elif index not in reads:
            proto = graph.node[index]
            reads[index] = {makers[name] for name in proto.input if name in makers}
            wanted += [(name, _place(proto)) for name in proto.input]
    try:
        return [graph.node[index] for index in TopologicalSorter(reads).static_order()]
    except CycleError as error:
        circle = " -> ".join(_place(graph.node[index]) for index in error.args[1][:4])
        raise file.refused("the graph", "without circles", circle) from None


def _makers(file: ModelFile) -> dict[str, int]:
    """Output -> the node that makes it."""
    graph = file.model.graph
    taken = {tensor.name for tensor in graph.initializer} | {info.name for info in graph.input}
    makers: dict[str, int] = {}
    for index, proto in enumerate(graph.node):
        for name in proto.output:
            if name in makers or (name and name in taken):
                raise file.refused(f"the output {name!r} of {_place(proto)}", "made once", "it twice")
            if name:
                makers[name] = index
    return makers


def _place(proto: NodeProto) -> str:
    name = proto.name or next(iter(proto.output), "")
    return f"the node {name!r} ({proto.op_type})"


def _input(file: ModelFile, info: ValueInfoProto) -> Input:
    tensor = info.type.tensor_type
    place = f"the input {info.name!r}"
    if not info.type.HasField("tensor_type") or not tensor.HasField("shape"):
        raise file.refused(place, "a tensor with a known number of axes", "none")
    if len(tensor.shape.dim) > MAX_AXES:
        raise file.refused(place, f"of at most {MAX_AXES} axes", f"{len(tensor.shape.dim)}")
    lengths: list[Length] = []
    for axis, dim in enumerate(tensor.shape.dim):
        if dim.HasField("dim_value") and dim.dim_value > 0:
            lengths.append(dim.dim_value)
        else:
            lengths.append(Size.named(dim.dim_param or f"{info.name}[{axis}]"))
    return Input(info.name, tuple(lengths), tensor.elem_type)


def _node(file: ModelFile, proto: NodeProto, opset: int) -> Node:
    from onnx.defs import OpSchema, SchemaError, get_schema

    place = _place(proto)
    if proto.domain not in _DOMAINS:
        raise file.refused(f"the operator of {place}", "one of ONNX itself", f"one of the domain {proto.domain!r}")
    try:
        schema = get_schema(proto.op_type, opset, "")
    except SchemaError:
        raise file.refused(f"the operator of {place}", f"one of ONNX, version {opset}", proto.op_type) from None
    for what, count, low, high in (
        ("inputs", len(proto.input), schema.min_input, schema.max_input),
        ("outputs", len(proto.output), schema.min_output, schema.max_output),
    ):
        if not low <= count <= high:
            raise file.refused(f"the number of {what} of {place}", f"from {low} to {high}", f"{count}")
    for i, name in enumerate(proto.input):
        formal = schema.inputs[min(i, len(schema.inputs) - 1)]  # the last may stand for many
        if not name and formal.option != OpSchema.FormalParameterOption.Optional:
            raise file.refused(f"the input {formal.name!r} of {place}", "given", "none")
    attributes: dict[str, Any] = {}
    for name, known in schema.attributes.items():
        default = known.default_value
        attributes[name] = _attribute(file, default, place) if default.name else None
    for attribute in proto.attribute:
        where = f"the attribute {attribute.name!r} of {place}"
        if attribute.name not in schema.attributes or attribute.ref_attr_name:
            raise file.refused(where, f"one of {', '.join(attributes) or 'none'}", "another")
        wanted: Any = schema.attributes[attribute.name].type
        wanted = wanted.value
        if attribute.type != wanted:
            raise file.refused(where, f"of type {wanted} of ONNX", f"type {attribute.type}")
        attributes[attribute.name] = _attribute(file, attribute, place)
    missing = [name for name, known in schema.attributes.items() if known.required and attributes[name] is None]
    if missing:
        raise file.refused(f"the attribute {missing[0]!r} of {place}", "given", "none")
    return Node(proto.op_type, place, tuple(proto.input), tuple(proto.output), attributes, opset, file)


def _attribute(file: ModelFile, attribute: AttributeProto, place: str) -> Any:
    """The value of an attribute, text decoded, a tensor as an array."""
    where = f"the attribute {attribute.name!r} of {place}"
    plain = {1: "f", 2: "i", 6: "floats", 7: "ints"}
    if attribute.type in plain:
        value = getattr(attribute, plain[attribute.type])
        if attribute.type in (1, 6):
            return [_as_meant(number) for number in value] if attribute.type == 6 else _as_meant(value)
        return list(value) if attribute.type > 2 else value
    try:
        if attribute.type == 3:
            return attribute.s.decode()
        if attribute.type == 8:
            return [text.decode() for text in attribute.strings]
    except UnicodeDecodeError as error:
        raise file.refused(where, "text", f"an error: {error}") from None
    if attribute.type == 4:
        return file.tensor(attribute.t, where)
    raise file.refused(where, "numbers, text or a tensor", "a graph or a value of another kind")


def _as_meant(number: float) -> float:
    """The shortest decimal of a float32: 0.1 where the nearest float32 to it was written.

    The same number in float32. In float64 it is what the exporter was given, before ONNX, whose attributes are float32,
    rounded it.
    """
    return float(str(np.float32(number)))
