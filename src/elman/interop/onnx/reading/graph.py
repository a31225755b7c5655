"""The graph of an ONNX model: what makes each value, each node checked against the text of its operator.

What an operator may have, attributes with their types and defaults, and how many inputs and outputs, is read from the
schemas of the `onnx` package, for the version of the operators that the model names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from elman.checks import Array, FormatError
from elman.interop.files import refused
from elman.interop.onnx.reading.files import ModelFile

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, NodeProto, ValueInfoProto

OLDEST = 7  #: the first version of the operators that is read
_DOMAINS = ("", "ai.onnx")
MAX_AXES = 8

#: Why some operators are not read.
_WRITTEN_OUT = ": the exporter wrote the steps of a layer out, where RNN, LSTM or GRU would be read"
_QUANTIZED = ": it computes with numbers of 8 bits, as a quantizer leaves it, where the file before that would be read"
#: By operator.
REASONS = {
    **dict.fromkeys(("Loop", "Scan"), _WRITTEN_OUT),
    **dict.fromkeys(("ConvInteger", "DynamicQuantizeLinear", "DynamicQuantizeLSTM", "MatMulInteger"), _QUANTIZED),
    **dict.fromkeys(("DequantizeLinear", "QLinearConv", "QLinearMatMul", "QuantizeLinear"), _QUANTIZED),
}
SWITCH = (
    ": a switch, two graphs of which a value of the run chooses one, as a sampling rate does. Give the value to "
    "from_onnx, as in given={{{}: 16000}}"
)


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
    proto: NodeProto

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
    lengths: tuple[int | str, ...]  # of its axes; a name where the model leaves one open
    type: int  # of its elements, by the number of ONNX


class Graph:
    """A graph: what makes each value, looked at when it is needed. Nodes that no output needs may be anything."""

    def __init__(self, file: ModelFile, given: Mapping[str, Array]) -> None:
        """`given` are constants that take the place of inputs."""
        self.file = file
        self.opset = _opset(file)
        graph = file.model.graph
        if file.model.functions:
            names = ", ".join(function.name for function in file.model.functions[:3])
            raise file.refused("the model", "without functions of its own", f"{len(file.model.functions)}: {names}")
        self.makers: dict[str, Any] = {info.name: info for info in graph.input}
        self._take(graph)
        self.makers |= given
        self.given = given
        self._chosen: dict[str, Any] = {}  # what makes each value that a switch has changed, before it
        self.reads_masks = False  # inputs called masks, that are not of booleans, as masks
        self.outputs = [output.name for output in graph.output]

    def _take(self, graph: GraphProto) -> None:
        """The nodes and tensors of a graph, or of the branch of a switch."""
        if graph.sparse_initializer:
            raise self.file.refused("the graph", "without sparse tensors", f"{len(graph.sparse_initializer)}")
        self.makers |= {tensor.name: tensor for tensor in graph.initializer}  # also defaults of inputs
        for proto in graph.node:
            for name in proto.output:
                if name in self.makers:
                    raise self.file.refused(f"the output {name!r} of {place_of(proto)}", "made once", "it twice")
                if name:
                    self.makers[name] = proto

    def choose(self, proto: NodeProto, condition: bool) -> None:
        """Puts the branch of a switch in its place; names that it shares with others are changed."""
        name = ("else_branch", "then_branch")[condition]
        branch = next((attribute.g for attribute in proto.attribute if attribute.name == name), None)
        if branch is None or len(branch.output) != len(proto.output):
            raise self.file.refused(f"the attribute {name!r} of {place_of(proto)}", "a graph of its outputs", "none")
        own = {tensor.name for tensor in branch.initializer} | {name for node in branch.node for name in node.output}
        if not own.isdisjoint(self.makers):
            branch = _renamed(branch, {name: f"{name} of {proto.output[0]}" for name in own if name})
        before = dict(self.makers)
        self._take(branch)
        self.makers |= {name: output.name for name, output in zip(proto.output, branch.output, strict=True)}
        for name, maker in self.makers.items():
            if maker is not before.get(name):
                self._chosen.setdefault(name, before.get(name))

    def forget(self) -> None:
        """Takes the branches of switches out again, for another trace that may take others."""
        for name, maker in self._chosen.items():
            self.makers.pop(name)
            if maker is not None:
                self.makers[name] = maker
        self._chosen = {}

    def readers(self) -> Counter[str]:
        """How often each value is read; what a branch of a switch reads counts as read for ever."""
        found: Counter[str] = Counter(self.outputs)
        nodes = {id(maker): maker for maker in self.makers.values() if hasattr(maker, "op_type")}
        found.update(maker for maker in self.makers.values() if isinstance(maker, str))
        for node in nodes.values():
            found.update(node.input)
            inside = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
            while inside:
                graph = inside.pop()
                for each in graph.node:
                    found.update(dict.fromkeys(each.input, 2**40))
                    inside += [attribute.g for attribute in each.attribute if attribute.HasField("g")]
                found.update(dict.fromkeys((output.name for output in graph.output), 2**40))
        return found

    def inputs_of(self, name: str) -> list[str]:
        """The inputs of the graph from whose elements a value follows, not from their shapes alone."""
        waiting, seen, found = [name], set(), []
        while waiting:
            each = waiting.pop()
            maker = self.makers.get(each)
            if each in seen or maker is None or isinstance(maker, np.ndarray) or hasattr(maker, "raw_data"):
                continue
            seen.add(each)
            if isinstance(maker, str):
                waiting.append(maker)
            elif not hasattr(maker, "op_type"):
                found.append(each)
            elif maker.op_type not in ("Shape", "Size"):
                waiting += maker.input
        return found

    def is_mask(self, info: Input, kind: str) -> bool:
        """Whether an input of (batch, time) says which steps are real: of booleans, or so called and read as one."""
        two = len([length for length in info.lengths if length != 1]) == 2
        return two and (kind == "bool" or (self.reads_masks and kind != "" and "mask" in str(info.name).lower()))

    def has_masks(self) -> bool:
        """Makes inputs that are called masks be read as such; False where there are none, or they are already."""
        if self.reads_masks or not any("mask" in str(info.name).lower() for info in self.file.model.graph.input):
            return False
        self.reads_masks = True
        return True

    def stand_in(self, name: str) -> Node:
        """What errors name where no node makes an output."""
        from onnx import NodeProto

        return Node("Identity", f"the output {name!r}", (), (name,), {}, self.opset, self.file, NodeProto())

    def input(self, info: ValueInfoProto) -> Input:
        """An input of the graph, checked."""
        return _input(self.file, info)

    def node(self, proto: NodeProto, known: Collection[str]) -> Node:
        """A node, checked; `known` are the operators that are read."""
        op, reason = proto.op_type, REASONS.get(proto.op_type, "")
        if proto.domain not in _DOMAINS:
            got = f"one of the domain {proto.domain!r}, {op}{reason}"
            raise self.file.refused(f"the operator of {place_of(proto)}", "one of ONNX itself", got)
        if op not in known:
            raise self.file.refused(f"the operator of {place_of(proto)}", "one that is read", f"{op}{reason}")
        return _node(self.file, proto, self.opset)


def _renamed(branch: GraphProto, names: Mapping[str, str]) -> GraphProto:
    """A copy of a graph in which some values have other names, in graphs within it too."""
    copy = type(branch)()
    copy.CopyFrom(branch)
    graphs = [copy]
    while graphs:
        graph = graphs.pop()
        for named in (*graph.initializer, *graph.output):
            named.name = names.get(named.name, named.name)
        for node in graph.node:
            for group in (node.input, node.output):
                group[:] = [names.get(name, name) for name in group]
            graphs += [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return copy


def _opset(file: ModelFile) -> int:
    from onnx.defs import onnx_opset_version

    versions = [entry.version for entry in file.model.opset_import if entry.domain in _DOMAINS]
    newest = onnx_opset_version()
    if len(versions) != 1 or not OLDEST <= versions[0] <= newest:
        got = " and ".join(map(str, versions)) or "none"
        raise file.refused("the version of the operators", f"from {OLDEST} to {newest}, those known here", got)
    return versions[0]


def place_of(proto: NodeProto) -> str:
    """What errors call a node."""
    name = proto.name or next(iter(proto.output), "")
    return f"the node {name!r} ({proto.op_type})"


def _input(file: ModelFile, info: ValueInfoProto) -> Input:
    tensor = info.type.tensor_type
    place = f"the input {info.name!r}"
    if not info.type.HasField("tensor_type") or not tensor.HasField("shape"):
        raise file.refused(place, "a tensor with a known number of axes", "none")
    if len(tensor.shape.dim) > MAX_AXES:
        raise file.refused(place, f"of at most {MAX_AXES} axes", f"{len(tensor.shape.dim)}")
    lengths: list[int | str] = []
    for axis, dim in enumerate(tensor.shape.dim):
        if dim.HasField("dim_value") and dim.dim_value > 0:
            lengths.append(dim.dim_value)
        else:
            lengths.append(str(dim.dim_param or f"{info.name}[{axis}]"))  # bytes where it is no text
    return Input(info.name, tuple(lengths), tensor.elem_type)


def _node(file: ModelFile, proto: NodeProto, opset: int) -> Node:
    from onnx.defs import OpSchema, SchemaError, get_schema

    place = place_of(proto)
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
    return Node(proto.op_type, place, tuple(proto.input), tuple(proto.output), attributes, opset, file, proto)


def _attribute(file: ModelFile, attribute: AttributeProto, place: str) -> Any:
    """The value of an attribute, text decoded, a tensor as an array."""
    where = f"the attribute {attribute.name!r} of {place}"
    plain = {1: "f", 2: "i", 6: "floats", 7: "ints"}
    if attribute.type in plain:
        value = getattr(attribute, plain[attribute.type])
        if attribute.type in (1, 6):
            return [as_meant(number) for number in value] if attribute.type == 6 else as_meant(value)
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
    if attribute.type == 5:
        return attribute.g  # the branch of a switch
    raise file.refused(where, "numbers, text or a tensor", "a value of another kind")


def as_meant(number: float) -> float:
    """The shortest decimal of a float32: 0.1 where the nearest float32 to it was written.

    The same number in float32. In float64 it is what the exporter was given, before ONNX, whose attributes are float32,
    rounded it.
    """
    return float(str(np.float32(number)))
