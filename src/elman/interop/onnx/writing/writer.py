"""Networks as ONNX models: `to_onnx`.

A model is one graph of opset 17 and IR version 8, which ONNX Runtime runs from 1.12 on. The layers are written by
`elman.interop.onnx.writing.layers` and `elman.interop.onnx.writing.recurrent`.
"""

from __future__ import annotations

import functools
import json
import os
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from elman import checks
from elman.checks import FormatError, ShapeError
from elman.files import replace as replace_file
from elman.interop.chain import Fitted, as_layer, dtype_of, input_widths, nodes_of, row_of, sequence_inputs
from elman.interop.onnx.writing.layers import ANY_ORDER, OVER_TIME, WRITERS, Writer
from elman.interop.onnx.writing.nodes import Graph, Steps, Value
from elman.interop.onnx.writing.recurrent import recurrent
from elman.interop.onnx.writing.time import ordered, without_padding
from elman.layers import Dropout, Layer, Recurrent, Reverse
from elman.layers.nesting import Flat
from elman.network import Network
from elman.saving import describe_config

if TYPE_CHECKING:
    import onnx

OPSET = 17
IR_VERSION = 8
#: A protobuf message holds 2 GiB at most, and names take some of it.
MAX_BYTES = 2**31 - 2**20


def to_onnx(
    net: Layer | Fitted,
    path: str | os.PathLike[str],
    *,
    states: bool = False,
    lengths: bool = False,
    vectors: Collection[str] | None = None,
) -> None:
    """Writes a network as an ONNX model that ONNX Runtime runs, for any batch and any number of steps.

    Parameters
    ----------
    net
        An `elman.Network`, a layer, or a fitted estimator, whose `to_network` is written.
    path
        The file, replaced whole or not at all.
    states
        Makes the states of recurrent layers inputs and outputs: "state_0_h" before the first step and
        "next_state_0_h" after the last, for an LSTM "state_0_c" and "next_state_0_c" too, where 0 counts the
        layers with states: the two cells of an `elman.Bidirectional`, where they differ, and causal convolutions,
        "state_0_x", too. Each is (directions, batch, width). So a stream goes on, with calls of one step or of many.
        The states of a layer with `learned_state` may be left out at the start.
    lengths
        Adds the input "lengths" (batch,), int32: how many steps of each sequence are real. Padding may hold
        anything, is 0 in y, and counts in no pool and no state. Where several inputs are sequences whose lengths may
        differ, there is one for each, "lengths_NAME".
    vectors
        The names of the inputs that are one vector per sequence, (batch, features). Left out, those of several that no
        layer over time reads, beside one that is read so.

    The model's input is "x" (batch, time, features), or tokens (batch, time), int64, before an `elman.Embedding`; its
    output is "y" (batch, time, features), or (batch, features) after a pool. Both are of the dtype of the network.
    Inputs, and outputs by name, have the names that they have in the network.

    What acts in training alone (dropout) is left out. The operators RNN, LSTM and GRU are written for float64 too, as
    ONNX has them, but ONNX Runtime computes them, and most activations, in float32 only. The same network gives the
    same bytes.

    Raises
    ------
    FormatError
        For what ONNX has no operator for: projection, cell_clip, layer_norm, zoneout, cells of one's own, different
        activations where the operator has one, `elman.Masking`; and for a model of 2 GB or more.
    ShapeError
        For a layer over time after a pool.
    MissingExtraError
        Without the package onnx.

    Source: https://onnx.ai/onnx/operators, opset 17, measured on ONNX Runtime.

    >>> import elman, onnx, tempfile
    >>> from elman.interop.onnx.writing.writer import to_onnx
    >>> net = elman.Network([elman.LSTM(3, 8, seed=0), elman.Dense(8, 2, seed=1)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_onnx(net, folder + "/net.onnx", states=True)
    ...     graph = onnx.load(folder + "/net.onnx").graph
    >>> [value.name for value in graph.input]
    ['x', 'state_0_h', 'state_0_c']
    >>> [value.name for value in graph.output]
    ['y', 'next_state_0_h', 'next_state_0_c']
    >>> [node.op_type for node in graph.node]
    ['Transpose', 'LSTM', 'Squeeze', 'MatMul', 'Add', 'Transpose']
    """
    net = as_layer(net)
    states, lengths = checks.flag("states", states), checks.flag("lengths", lengths)
    names = net.inputs if isinstance(net, Network) else ("x",)
    if vectors is not None:
        if not isinstance(vectors, (list, tuple, set, frozenset)):
            raise TypeError(f"vectors must be a list of names of inputs. Got {checks.show(vectors)}.")
        vectors = [checks.choice("a name in vectors", name, names) for name in vectors]
        if len({*vectors}) == len(names):
            raise ValueError(f"vectors must leave an input that is a sequence. Got {checks.show(vectors)}.")
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise checks.missing_extra("to_onnx", "onnx") from None
    graph = _graph(net, states, lengths, vectors)
    size = sum(array.nbytes for array in graph.constants.values())
    if size > MAX_BYTES:
        raise FormatError(f"the model must hold under 2 GB of weights, all that an ONNX file can. Got {size:,} bytes.")
    replace_file(path, _model(graph, net).SerializeToString(deterministic=True))


def _graph(net: Layer, states: bool, lengths: bool, vectors: Collection[str] | None) -> Graph:
    """The network as a graph of operators."""
    network, nodes, outputs = nodes_of(net, states=True)
    for name in (*network.inputs, *(node.place for node in nodes)):
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise FormatError(f"names must be text that UTF-8 can hold. Got {name!r}.")
    graph = Graph(dtype_of(net), states, lengths)
    values = _inputs(graph, network, vectors)
    first, turned = len(values), _turned(nodes, len(values), outputs)
    for i, node in enumerate(nodes):
        layer, read = node.layer, [values[j] for j in node.reads]
        graph.enter(f"{node.place}.{type(layer).__name__}")
        if not isinstance(layer, ANY_ORDER):
            read = [ordered(graph, x, 1) if x.time_axis == 2 else x for x in read]
        graph.begin = values[first + node.start].states if isinstance(node.start, int) else ()
        if isinstance(node.start, tuple):
            graph.begin = _made(graph, layer, [values[j] for j in node.start])
        if isinstance(layer, OVER_TIME) and read[-1].is_vector:
            raise ShapeError(f"layer {graph.scope} must be given sequences. Got vectors, one per example.")
        write = turned.get(i) or row_of(WRITERS, layer)
        if write is None:
            raise FormatError(f"layer {graph.scope} must be one that ONNX has operators for. Got {checks.show(layer)}.")
        values.append(write(graph, layer, *read))
    _give(graph, network, [values[j] for j in outputs])
    _unite(graph, [x.steps.key for x in values[:first] if not x.is_vector])
    graph.prune()
    _check_names(graph)
    return graph


def _made(graph: Graph, layer: Any, given: list[Value]) -> tuple[str, ...]:
    """The first states of a layer, (directions, batch, hidden) each, from vectors that others make."""
    if not all(x.is_vector for x in given):
        raise ShapeError(f"layer {graph.scope} must start from one vector per sequence, see `vectors`. Got sequences.")
    names, count = [graph.unsqueeze(x.name, 0) for x in given], len(layer.cell.states)
    each = [names[s::count] for s in range(count)]
    return tuple([part[0] if len(part) == 1 else graph.add("Concat", *part, axis=0) for part in each])


def _turned(nodes: list[Flat], first: int, outputs: list[int]) -> dict[int, Writer]:
    """The nodes of a layer of one direction between two `Reverse`, which are written as one operator."""
    readers: dict[int, list[int]] = {}
    through = list(range(first))  # each value, or what it is where dropout is taken out
    for i, node in enumerate(nodes):
        dropped = isinstance(node.layer, Dropout)
        through.append(through[node.reads[0]] if dropped else first + i)
        for j in [] if dropped else node.reads:
            readers.setdefault(through[j], []).append(i)
    gone = {through[j] for j in outputs} | {first + node.start for node in nodes if isinstance(node.start, int)}
    after = {j - first: each[0] for j, each in readers.items() if len(each) == 1 and j not in gone}
    found: dict[int, Writer] = {}
    for i, node in enumerate(nodes):
        inside = after.get(i, i)
        last, layer = after.get(inside, inside), nodes[inside].layer
        around = isinstance(node.layer, Reverse) and isinstance(nodes[last].layer, Reverse)
        if around and isinstance(layer, Recurrent) and not layer.bidirectional and i not in found:
            as_it_is = WRITERS[Dropout]
            found |= {i: as_it_is, inside: functools.partial(recurrent, backwards=True), last: as_it_is}
    return found


def _inputs(graph: Graph, net: Network, vectors: Collection[str] | None) -> list[Value]:
    """The inputs of the model, and those of lengths; `vectors` names those without an axis of time."""
    over_time = sequence_inputs(net) if vectors is None else {name for name in net.inputs if name not in vectors}
    values = []
    for (name, _, tokens), width in zip(net.takes, input_widths(net), strict=True):
        key = "" if len(over_time) == 1 else f"_{name}"
        steps = Steps(name, f"lengths{key}" * graph.lengths, key)
        values.append(Value(name, 1, steps) if name in over_time else Value(name))
        if tokens is not None:
            graph.inputs.append(_port(graph, values[-1], [], "tokens, ", np.int64))
        else:
            wide = width or ("features" if len(net.inputs) == 1 else f"features_{name}")
            graph.inputs.append(_port(graph, values[-1], [wide]))
    for steps in [x.steps for x in values if not x.is_vector and graph.lengths]:
        what = f" of {steps.source}" * bool(steps.key)
        doc = f"how many steps of each sequence{what} are real"
        graph.inputs.append(graph.port(steps.lengths, ["batch"], doc, np.int32))
    return values


def _port(graph: Graph, x: Value, features: list[int | str | None], what: str = "", dtype: Any = None) -> Any:
    shape = ["batch", *([] if x.is_vector else [f"time{x.steps.key}"]), *features]
    words = ["batch", *([] if x.is_vector else ["time"]), *["features" for _ in features]]
    return graph.port(x.name, shape, f"{what}({', '.join(words)}{',' * (len(words) == 1)})", dtype)


def _give(graph: Graph, net: Network, values: list[Value]) -> None:
    """The outputs of the model, before those of states."""
    widths = net.graph.widths(input_widths(net))[1]
    ends = [net.graph.values[len(net.inputs) + i] for i in net.graph.outputs]
    names = [name if net.graph.named or "y" in net.inputs else "y" for name in ends]
    for at, (name, x) in enumerate(zip(names, values, strict=True)):
        graph.scope = "y" if name == "y" else f"{name}.y"
        if not x.is_vector:
            x = without_padding(graph, ordered(graph, x, 1), 0)
        if x.name in net.inputs or x.name in [value.name for value in values[:at]]:
            x = x.at(graph.add("Identity", x.name))
        values[at] = x
    for name, x in zip(names, values, strict=True):
        graph.rename(x.name, name)
    given = zip(names, values, net.graph.outputs, strict=True)
    graph.outputs[:0] = [_port(graph, replace(x, name=name), [widths[i]]) for name, x, i in given]


def _unite(graph: Graph, keys: list[str]) -> None:
    """Takes one input of lengths for all sequences, where they must have the same."""
    groups = [{key} for key in keys]
    for pair in graph.together:
        if {*pair} <= {*keys}:
            met = [group for group in groups if group & {*pair}]
            groups = [group for group in groups if group not in met] + [set().union(*met)]
    if len(groups) != 1 or len(keys) == 1:
        return
    for key in keys:
        graph.rename(f"lengths{key}", "lengths")
    ports: dict[str, Any] = {}
    for port in graph.inputs:
        if any(port.name == f"lengths{key}" for key in keys):
            port.name, port.doc_string = "lengths", "how many steps of each sequence are real"
        ports.setdefault(port.name, port)
    graph.inputs = list(ports.values())
    for port in graph.inputs + graph.outputs:
        for size in port.type.tensor_type.shape.dim:
            if size.dim_param in [f"time{key}" for key in keys]:
                size.dim_param = "time"


def _check_names(graph: Graph) -> None:
    """Refuses names that stand for two values."""
    names = [port.name for port in graph.inputs]
    names += [name for node in graph.nodes for name in node.output if name]
    # A learned state is both: what an input is where it is left out.
    names += [name for name in graph.constants if not name.startswith("state_")]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise FormatError(f"the names of inputs and outputs must be none that the model has besides. Got {twice!r}.")


def _model(graph: Graph, net: Layer) -> onnx.ModelProto:
    """The graph as a message."""
    from onnx import helper, numpy_helper

    constants = [numpy_helper.from_array(array, name) for name, array in graph.constants.items()]
    message = helper.make_graph(graph.nodes, "elman", graph.inputs, graph.outputs, constants)
    model = helper.make_model(
        message,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="elman",
        producer_version=version("elman"),
        doc_string=repr(net),
    )
    # For people and tools that ask what the network was; the graph alone says what it computes.
    helper.set_model_props(model, {"network": json.dumps(describe_config(net))})
    return model
