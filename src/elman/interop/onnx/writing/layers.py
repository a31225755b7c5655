"""Each layer as operators of ONNX, opset 17: a table of functions, one a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from elman.interop.onnx.writing.activations import activate
from elman.interop.onnx.writing.nodes import Graph, Value, attribute
from elman.interop.onnx.writing.time import (
    first_step,
    last_step,
    last_steps,
    lengths64,
    real_steps,
    reverse,
    sequence_axis,
    without_padding,
)
from elman.layers import (
    Activate,
    Dense,
    Dropout,
    Embedding,
    LastStep,
    LastSteps,
    Layer,
    LayerNorm,
    MaxOverTime,
    MeanOverTime,
    MergeDirections,
    Reverse,
)

#: Takes the graph, the layer and what comes in, and gives what goes out.
Writer: TypeAlias = Callable[[Graph, Any, Value], Value]


def _dense(graph: Graph, layer: Dense, x: Value) -> Value:
    W, b = (graph.weight(name, array) for name, array in layer.parameters.items())
    is_vector = x.time_axis is None  # Gemm takes matrices alone
    y = graph.add("Gemm", x.name, W, b) if is_vector else graph.add("Add", graph.add("MatMul", x.name, W), b)
    return x.at(activate(graph, y, layer.activation))


def _embedding(graph: Graph, layer: Embedding, x: Value) -> Value:
    tokens = x.name
    if graph.lengths:  # padding may hold what is no token
        tokens = graph.add("Where", real_steps(graph), tokens, graph.integer(0))
    return x.at(graph.add("Gather", graph.weight("W", layer.parameters["W"]), tokens))


def _layer_norm(graph: Graph, layer: LayerNorm, x: Value) -> Value:
    gain, bias = (graph.weight(name, array) for name, array in layer.parameters.items())
    epsilon = attribute("epsilon", layer.epsilon, layer.dtype)
    return x.at(graph.add("LayerNormalization", x.name, gain, bias, axis=-1, epsilon=epsilon))


def _merge_directions(graph: Graph, layer: MergeDirections, x: Value) -> Value:
    y = graph.add("Mul" if layer.mode == "mul" else "Add", *_halves(graph, x))
    return x.at(graph.add("Mul", y, graph.number(0.5)) if layer.mode == "ave" else y)


def _halves(graph: Graph, x: Value) -> tuple[str, str]:
    """The features of the forward direction and those of the reverse one."""
    both = f"{graph.scope}/forward", f"{graph.scope}/reverse"
    graph.add_many("Split", [x.name], both, axis=-1)
    return both


def _last_step(graph: Graph, layer: LastStep, x: Value) -> Value:
    sequence_axis(graph, x)
    both = layer.bidirectional
    if x.last and x.directions == 1 + both:
        if both:  # (2, batch, hidden)
            y = graph.add("Reshape", graph.add("Transpose", x.last, perm=[1, 0, 2]), graph.integers(0, -1))
        else:  # (1, batch, hidden)
            y = graph.add("Squeeze", x.last, graph.integers(0))
    elif both:
        forward, backward = _halves(graph, x)
        y = graph.add("Concat", last_step(graph, x.at(forward)), first_step(graph, x.at(backward)), axis=-1)
    else:
        y = last_step(graph, x)
    return Value(y, None)


def _mean_over_time(graph: Graph, layer: MeanOverTime, x: Value) -> Value:
    axis = sequence_axis(graph, x)
    if not graph.lengths:
        return Value(graph.add("ReduceMean", x.name, axes=[axis], keepdims=0), None)
    total = graph.add("ReduceSum", without_padding(graph, x, 0).name, graph.integers(axis), keepdims=0)
    counts = graph.add("CastLike", graph.add("Unsqueeze", lengths64(graph), graph.integers(1)), total)
    return Value(graph.add("Div", total, counts), None)


def _max_over_time(graph: Graph, layer: MaxOverTime, x: Value) -> Value:
    axis = sequence_axis(graph, x)
    return Value(graph.add("ReduceMax", without_padding(graph, x, -float("inf")).name, axes=[axis], keepdims=0), None)


#: The layers that are not recurrent.
WRITERS: dict[type[Layer], Writer] = {
    Activate: lambda graph, layer, x: x.at(activate(graph, x.name, layer.activation)),
    Dense: _dense,
    Dropout: lambda graph, layer, x: x,  # it acts in training alone
    Embedding: _embedding,
    LastStep: _last_step,
    LastSteps: lambda graph, layer, x: Value(last_steps(graph, x, layer.count), None),
    LayerNorm: _layer_norm,
    MaxOverTime: _max_over_time,
    MeanOverTime: _mean_over_time,
    MergeDirections: _merge_directions,
    Reverse: lambda graph, layer, x: reverse(graph, x),
}
