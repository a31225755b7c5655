"""Networks as ONNX models: `to_onnx`.

A model is one graph of opset 17 and IR version 8, which ONNX Runtime runs from 1.12 on. The layers are written by
`elman.interop.onnx.writing.layers` and `elman.interop.onnx.writing.recurrent`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from elman import checks
from elman.checks import FormatError
from elman.files import replace
from elman.interop.chain import dtype_of, layers_of
from elman.interop.onnx.writing.layers import WRITERS
from elman.interop.onnx.writing.nodes import Graph, Node, Port, Value
from elman.interop.onnx.writing.recurrent import recurrent
from elman.interop.onnx.writing.time import ordered, without_padding
from elman.layers import Dropout, Layer, Recurrent, Reverse
from elman.saving import describe_config

if TYPE_CHECKING:
    import onnx

OPSET = 17
IR_VERSION = 8
#: A protobuf message holds 2 GiB at most, and names take some of it.
MAX_BYTES = 2**31 - 2**20


def to_onnx(net: Layer, path: str | os.PathLike[str], *, states: bool = False, lengths: bool = False) -> None:
    """Writes a network as an ONNX model that ONNX Runtime runs, for any batch and any number of steps.

    Parameters
    ----------
    net
        An `elman.Network` or a layer.
    path
        The file, replaced whole or not at all.
    states
        Makes the states of recurrent layers inputs and outputs: "state_0_h" before the first step and
        "next_state_0_h" after the last, for an LSTM "state_0_c" and "next_state_0_c" too, where 0 counts the
        recurrent layers. Each is (directions, batch, hidden). So a stream goes on, with calls of one step or of many.
        The states of a layer with `learned_state` may be left out at the start.
    lengths
        Adds the input "lengths" (batch,), int32: how many steps of each sequence are real. Padding may hold
        anything, is 0 in y, and counts in no pool and no state.

    The model's input is "x" (batch, time, features), or tokens (batch, time), int64, before an `elman.Embedding`; its
    output is "y" (batch, time, features), or (batch, features) behind a pool. Both are of the dtype of the network.

    What acts in training alone (dropout) is left out. The operators RNN, LSTM and GRU are written for float64 too, as
    ONNX has them, but ONNX Runtime computes them, and most activations, in float32 only. The same network gives the
    same bytes.

    Raises
    ------
    FormatError
        For what ONNX has no operator for: projection, cell_clip, layer_norm, zoneout, cells of one's own, different
        activations where the operator has one, `elman.Masking`; and for a model of 2 GB or more.
    ShapeError
        For a layer over time behind a pool.
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
    checks.flag("states", states)
    checks.flag("lengths", lengths)
    layers = layers_of(net)
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise checks.missing_extra("to_onnx", "onnx") from None
    graph = _graph(net, layers, states, lengths)
    size = sum(array.nbytes for array in graph.constants.values())
    if size > MAX_BYTES:
        raise FormatError(f"the model must hold under 2 GB of weights, all that an ONNX file can. Got {size:,} bytes.")
    replace(path, _model(graph, net).SerializeToString(deterministic=True))


def _graph(net: Layer, layers: list[Layer], states: bool, lengths: bool) -> Graph:
    """The network as records."""
    graph = Graph(dtype_of(net), lengths)
    graph.inputs.append(_input(net))
    if lengths:
        graph.inputs.append(Port("lengths", np.dtype(np.int32), ["batch"], "how many steps of each sequence are real"))
    x, place = Value("x", 1), 0
    for i, layer, backwards in _plan(layers):
        graph.scope = f"{i}.{type(layer).__name__}"
        if isinstance(layer, Recurrent):
            x = recurrent(graph, layer, x, place if states else None, backwards=backwards)
            place += 1
        elif type(layer) in WRITERS:
            x = WRITERS[type(layer)](graph, layer, x)
        else:
            raise FormatError(f"layer {graph.scope} must be one that ONNX has operators for. Got {checks.show(layer)}.")
    graph.scope = "y"
    if x.time_axis is not None:
        x = without_padding(graph, ordered(graph, x, 1), 0)
    if x.name == "x":
        x = x.at(graph.add("Identity", "x"))
    graph.rename(x.name, "y")
    graph.outputs.insert(0, _output(net, x))
    graph.prune()
    return graph


def _plan(layers: list[Layer]) -> Iterator[tuple[int, Layer, bool]]:
    """The place of each layer and the layer; True for one that is written between two `Reverse`, as one operator."""
    kept = [(i, layer) for i, layer in enumerate(layers) if not isinstance(layer, Dropout)]
    at = 0
    while at < len(kept):
        i, layer = kept[at]
        three = [inner for _, inner in kept[at : at + 3]]
        turned = len(three) == 3 and isinstance(three[0], Reverse) and isinstance(three[2], Reverse)
        if turned and isinstance(three[1], Recurrent) and not three[1].bidirectional:
            yield *kept[at + 1], True
            at += 3
        else:
            yield i, layer, False
            at += 1


def _input(net: Layer) -> Port:
    if net.takes_tokens:
        return Port("x", np.dtype(np.int64), ["batch", "time"], "tokens, (batch, time)")
    return Port("x", dtype_of(net), ["batch", "time", net.input_size or "features"], "(batch, time, features)")


def _output(net: Layer, y: Value) -> Port:
    if y.time_axis is None:
        return Port("y", dtype_of(net), ["batch", net.output_size], "(batch, features)")
    return Port("y", dtype_of(net), ["batch", "time", net.output_size], "(batch, time, features)")


def _model(graph: Graph, net: Layer) -> onnx.ModelProto:
    """The records as a message."""
    from onnx import helper, numpy_helper

    def port(value: Port) -> Any:
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        return helper.make_tensor_value_info(value.name, kind, value.shape, value.doc)

    def node(value: Node) -> Any:
        return helper.make_node(value.op, value.inputs, value.outputs, name=value.name, **value.attributes)

    message = helper.make_graph(
        [node(value) for value in graph.nodes],
        "elman",
        [port(value) for value in graph.inputs],
        [port(value) for value in graph.outputs],
        [numpy_helper.from_array(array, name) for name, array in graph.constants.items()],
    )
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
