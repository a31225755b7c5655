"""The graph of an ONNX model: what makes each value, each node checked against the text of its operator.

What an operator may have, attributes with their types and defaults, and how many inputs and outputs, is read from the
schemas of the `onnx` package, for the version of the operators that the model names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from elman.checks import Array, FormatError
from elman.interop.files import refused
from elman.interop.onnx.reading.files import ModelFile

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, ValueInfoProto

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
    proto: Any = None

    def refused(self, place: str, must: str, got: str) -> FormatError:
        """The error of something at this node."""
        return refused(self.file.name, f"{self.place}: {place}" if place else self.place, must, got)

    def take(self, count: int) -> None:
        """Asks for the memory of a result of `count` bytes."""
        self.file.take(count, f"the memory of {self.place}")


class Graph:
    """A graph: what makes each value, looked at when it is needed. Nodes that no output needs may be anything."""

    def __init__(self, file: ModelFile, given: Mapping[str, Array]) -> None:
        """`given` are constants that take the place of inputs."""
        from onnx.defs import onnx_opset_version

        self.file, self.given = file, given
        graph, functions = file.model.graph, file.model.functions
        versions = [entry.version for entry in file.model.opset_import if entry.domain in _DOMAINS]
        newest = onnx_opset_version()
        if len(versions) != 1 or not OLDEST <= versions[0] <= newest:
            got = " and ".join(map(str, versions)) or "none"
            raise file.refused("the version of the operators", f"from {OLDEST} to {newest}, those known here", got)
        (self.opset,) = versions
        if functions:
            names = ", ".join(function.name for function in functions[:3])
            raise file.refused("the model", "without functions of its own", f"{len(functions)}: {names}")
        self.makers: dict[str, Any] = {info.name: info for info in graph.input}
        self.known = dict(given)  # arrays in the place of inputs, and tensors once they are read
        self.outputs = [output.name for output in graph.output]
        self.reads_masks = False  # inputs called masks, that are not of booleans, as masks
        self.readers = Counter(self.outputs)  # how often each value is read, in all branches
        for each in _with_branches(graph):
            self.readers.update(name for node in each.node for name in node.input)
            self.readers.update(output.name for output in each.output if each is not graph)
        self._nodes: dict[int, Node] = {}
        self._take(graph)
        self._whole = self.makers  # without branches of switches

    def _take(self, graph: GraphProto) -> None:
        """The nodes and tensors of a graph, or of the branch of a switch."""
        if graph.sparse_initializer:
            raise self.file.refused("the graph", "without sparse tensors", f"{len(graph.sparse_initializer)}")
        self.makers |= {tensor.name: tensor for tensor in graph.initializer if tensor.name not in self.known}
        for proto in graph.node:
            for name in proto.output:
                if name in self.makers:
                    raise self.file.refused(f"the output {name!r} of {place_of(proto)}", "made once", "it twice")
                if name:
                    self.makers[name] = proto

    def choose(self, node: Node, condition: bool) -> None:
        """Puts the branch of a switch in its place; names that it shares with others are changed."""
        name = ("else_branch", "then_branch")[condition]
        branch = node.attributes[name]
        if len(branch.output) != len(node.outputs):
            got = f"one of {len(branch.output)}"
            raise self.file.refused(f"the attribute {name!r} of {node.place}", "a graph of its outputs", got)
        own = {tensor.name for tensor in branch.initializer} | {name for each in branch.node for name in each.output}
        if not own.isdisjoint(self.makers):
            branch = _renamed(branch, {name: f"{name} of {node.outputs[0]}" for name in own if name})
        self._take(branch)
        for name, output in zip(node.outputs, branch.output, strict=True):
            self.makers[name] = type(node.proto)(op_type="Identity", input=[output.name], output=[name])

    def forget(self) -> None:
        """Takes the branches of switches out again, for another trace that may take others."""
        self.makers = dict(self._whole)
        self.known = {name: array for name, array in self.known.items() if name in self.makers}

    def nodes(self) -> list[Node]:
        """All nodes that were looked at."""
        return [*self._nodes.values()]

    def inputs_of(self, name: str) -> list[str]:
        """The inputs of the graph from whose elements a value follows, not from their shapes alone."""
        waiting, seen, found = [name], set(self.known), []
        while waiting:
            each = waiting.pop()
            maker: Any = None if each in seen else self.makers.get(each)
            seen.add(each)
            if hasattr(maker, "type"):
                found.append(each)
            elif hasattr(maker, "op_type") and maker.op_type not in ("Shape", "Size"):
                waiting += maker.input
        return found

    def lengths(self, info: ValueInfoProto) -> tuple[int | str, ...]:
        """The lengths of the axes of an input; a name where the model leaves one open."""
        tensor = info.type.tensor_type
        if not tensor.HasField("shape") or len(tensor.shape.dim) > MAX_AXES:
            got = f"{len(tensor.shape.dim)} axes" if tensor.HasField("shape") else "none"
            must = f"a tensor with a known number of axes, at most {MAX_AXES}"
            raise self.file.refused(f"the input {info.name!r}", must, got)
        return tuple(
            dim.dim_value if dim.dim_value > 0 else str(dim.dim_param or f"{info.name}[{axis}]")  # it may be bytes
            for axis, dim in enumerate(tensor.shape.dim)
        )

    def node(self, proto: NodeProto, known: Collection[str]) -> Node:
        """A node, checked; `known` are the operators that are read."""
        if id(proto) in self._nodes:
            return self._nodes[id(proto)]
        place, op, reason = place_of(proto), proto.op_type, REASONS.get(proto.op_type, "")
        if proto.domain not in _DOMAINS:
            got = f"one of the domain {proto.domain!r}, {op}{reason}"
            raise self.file.refused(f"the operator of {place}", "one of ONNX itself", got)
        if op not in known:
            raise self.file.refused(f"the operator of {place}", "one that is read", f"{op}{reason}")
        attributes = _attributes(self.file, proto, self.opset)
        node = Node(op, place, tuple(proto.input), tuple(proto.output), attributes, self.opset, self.file, proto)
        return self._nodes.setdefault(id(proto), node)


def _with_branches(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph, and all graphs within it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _with_branches(attribute.g)


def _renamed(branch: GraphProto, names: Mapping[str, str]) -> GraphProto:
    """A copy of a graph in which some values have other names, in graphs within it too."""
    copy = type(branch)()
    copy.CopyFrom(branch)
    for graph in _with_branches(copy):
        for named in (*graph.initializer, *graph.output):
            named.name = names.get(named.name, named.name)
        for node in graph.node:
            for group in (node.input, node.output):
                group[:] = [names.get(name, name) for name in group]
    return copy


def place_of(proto: NodeProto) -> str:
    """What errors call a node."""
    name = proto.name or next(iter(proto.output), "")
    return f"the node {name!r} ({proto.op_type})"


def _attributes(file: ModelFile, proto: NodeProto, opset: int) -> dict[str, Any]:
    """All attributes of a node, which is checked: text decoded, tensors as arrays, None where there is no default."""
    from onnx import GraphProto, TensorProto, checker, helper
    from onnx.defs import get_schema

    place = place_of(proto)
    bare = type(proto)()  # tensors and graphs are checked where they are read
    bare.CopyFrom(proto)
    bare.domain = ""
    for attribute in bare.attribute:
        if attribute.HasField("t"):
            attribute.t.CopyFrom(TensorProto(name="t", data_type=1, dims=[0]))
        if attribute.HasField("g"):
            attribute.g.CopyFrom(GraphProto(name="g"))
    context = type(checker.DEFAULT_CONTEXT)()
    context.ir_version, context.opset_imports = checker.DEFAULT_CONTEXT.ir_version, {"": opset}
    try:
        checker.check_node(bare, context)
    except (checker.ValidationError, ValueError) as error:
        raise file.refused(place, f"as operators of version {opset} are", f"an error: {error}") from None
    schema = get_schema(proto.op_type, opset, "")
    if "" in proto.input and schema.max_input > len(schema.inputs):  # any number of inputs
        raise file.refused(f"each input of {place}", "given", "one without a name")
    found = {name: known.default_value for name, known in schema.attributes.items()}
    found |= {attribute.name: attribute for attribute in proto.attribute}
    values: dict[str, Any] = {}
    for name, attribute in found.items():
        where = f"the attribute {name!r} of {place}"
        try:
            values[name] = _plain(helper.get_attribute_value(attribute)) if attribute.name else None
        except ValueError as error:  # no text, or a reference to an attribute of a function
            raise file.refused(where, "text, numbers or a tensor", f"an error: {error}") from None
        if isinstance(values[name], TensorProto):
            values[name] = file.tensor(values[name], where)
    return values


def _plain(value: Any) -> Any:
    """With text decoded, and floats as they were meant."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return as_meant(value)
    return value.decode() if isinstance(value, bytes) else value


def as_meant(number: float) -> float:
    """The shortest decimal of a float32: 0.1 where the nearest float32 to it was written.

    The same number in float32. In float64 it is what the exporter was given, before ONNX, whose attributes are float32,
    rounded it.
    """
    return float(str(np.float32(number)))
