"""Each layer as operators of ONNX, opset 17: a table of functions, one per layer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from elman.checks import ShapeError
from elman.interop.onnx.writing.activations import activate
from elman.interop.onnx.writing.nodes import Graph, Steps, Value, attribute
from elman.interop.onnx.writing.recurrent import recurrent
from elman.interop.onnx.writing.time import (
    batch_size,
    beside,
    last_step,
    last_steps,
    lengths64,
    ordered,
    real_steps,
    reverse,
    without_padding,
)
from elman.interop.onnx.writing.windows import average_pool, convolution, max_pool
from elman.layers import (
    Activate,
    Add,
    Attention,
    AveragePool1d,
    BatchNorm,
    Concatenate,
    Conv1d,
    Dense,
    Dropout,
    Embedding,
    LastStep,
    LastSteps,
    Layer,
    LayerNorm,
    MaxOverTime,
    MaxPool1d,
    MeanOverTime,
    MergeDirections,
    Multiply,
    Recurrent,
    Repeat,
    Reverse,
    Scale,
)
from elman.layers.nesting import LastState

#: Takes the graph, the layer and what it reads, and gives what goes out.
Writer: TypeAlias = Callable[..., Value]


def _dense(graph: Graph, layer: Dense, x: Value) -> Value:
    W, b = (graph.weight(name, array) for name, array in layer.parameters.items())
    # Gemm takes matrices alone.
    y = graph.add("Gemm", x.name, W, b) if x.is_vector else graph.add("Add", graph.add("MatMul", x.name, W), b)
    return x.at(activate(graph, y, layer.activation))


def _embedding(graph: Graph, layer: Embedding, x: Value) -> Value:
    tokens = x.name
    if x.steps.lengths:  # padding may hold what is no token
        tokens = graph.add("Where", real_steps(graph, x.steps), tokens, graph.integer(0))
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
    both = layer.bidirectional
    if x.last and x.directions == 1 + both:
        if both:  # (2, batch, hidden)
            y = graph.add("Reshape", graph.add("Transpose", x.last, perm=[1, 0, 2]), graph.integers(0, -1))
        else:  # (1, batch, hidden)
            y = graph.squeeze(x.last, 0)
    elif both:
        forward, backward = _halves(graph, x)
        last = last_step(graph, x.at(forward))
        y = graph.add("Concat", last, graph.add("Gather", backward, graph.integer(0), axis=x.time_axis), axis=-1)
    else:
        y = last_step(graph, x)
    return Value(y)


def _mean_over_time(graph: Graph, layer: MeanOverTime, x: Value) -> Value:
    if not x.steps.lengths:
        return Value(graph.add("ReduceMean", x.name, axes=[x.time_axis], keepdims=0))
    total = graph.add("ReduceSum", without_padding(graph, x, 0).name, graph.integers(x.time_axis), keepdims=0)
    counts = graph.add("CastLike", graph.unsqueeze(lengths64(graph, x.steps), 1), total)
    return Value(graph.add("Div", total, counts))


def _max_over_time(graph: Graph, layer: MaxOverTime, x: Value) -> Value:
    name = without_padding(graph, x, -float("inf")).name
    return Value(graph.add("ReduceMax", name, axes=[x.time_axis], keepdims=0))


def _joined(op: str) -> Writer:
    """The values joined one by one, two at a time."""

    def write(graph: Graph, layer: Layer, *values: Value) -> Value:
        first, *others = beside(graph, values)
        return first.at(functools.reduce(lambda a, b: graph.add(op, a, b), [x.name for x in others], first.name))

    return write


def _concatenate(graph: Graph, layer: Concatenate, *values: Value) -> Value:
    parts = beside(graph, values, spread=True)
    return parts[0].at(graph.add("Concat", *(x.name for x in parts), axis=-1))


def _attention(graph: Graph, layer: Attention, query: Value, memory: Value) -> Value:
    weights = {name: graph.weight(name, array) for name, array in layer.parameters.items()}
    memory, alone = without_padding(graph, ordered(graph, memory, 1), 0), query.is_vector
    a, k = graph.unsqueeze(query.name, 1) if alone else ordered(graph, query, 1).name, memory.name
    if layer.units is not None:
        a = graph.add("Add", graph.add("MatMul", a, weights["Wq"]), weights["b"])
        k = graph.add("MatMul", k, weights["Wm"])
    if layer.factor != 1:
        a = graph.add("Mul", a, graph.weight("factor", np.array(layer.factor)))
    if layer.kind == "dot":
        scores = graph.add("MatMul", a, graph.add("Transpose", k, perm=[0, 2, 1]))
    else:
        pairs = graph.add("Add", graph.unsqueeze(a, 2), graph.unsqueeze(k, 1))
        scores = graph.add("MatMul", graph.add("Tanh", pairs), weights["v"])
    if memory.steps.lengths:
        real = graph.unsqueeze(real_steps(graph, memory.steps), 1)
        scores = graph.add("Where", real, scores, graph.number(-float("inf")))
    y = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), memory.name)
    return Value(graph.squeeze(y, 1)) if alone else Value(y, 1, query.steps)


def _batch_norm(graph: Graph, layer: BatchNorm, x: Value) -> Value:
    weights = [graph.weight(name, layer.weights[name]) for name in ("gain", "bias", "mean", "variance")]
    x = x if x.is_vector else ordered(graph, x, 2)  # features on the second axis
    epsilon = attribute("epsilon", layer.epsilon, layer.dtype)
    return x.at(graph.add("BatchNormalization", x.name, *weights, epsilon=epsilon))


def _scale(graph: Graph, layer: Scale, x: Value) -> Value:
    shifted = graph.add("Sub", x.name, graph.weight("shift", np.array(layer.shift)))
    return x.at(graph.add("Mul", shifted, graph.weight("factor", np.array(layer.factor))))


def _repeat(graph: Graph, layer: Repeat, x: Value) -> Value:
    if not x.is_vector:
        raise ShapeError(f"layer {graph.scope} must be given one vector per sequence. Got sequences.")
    y = graph.unsqueeze(x.name, 1)
    y, lengths = graph.add("Expand", y, graph.integers(1, layer.count, 1)), ""
    if graph.lengths:
        lengths = graph.add("Cast", graph.add("Expand", graph.integers(layer.count), batch_size(graph)), to=6)
    return Value(y, 1, Steps(y, lengths, f"/{graph.scope}"))


def _last_state(graph: Graph, layer: LastState, x: Value) -> Value:
    direction, state = divmod(layer.index, len(x.states))
    return Value(graph.add("Gather", x.states[state], graph.integer(direction), axis=0))


#: The layers of elman that ONNX has operators for.
WRITERS: dict[type[Layer], Writer] = {
    Activate: lambda graph, layer, x: x.at(activate(graph, x.name, layer.activation)),
    Add: _joined("Add"),
    Attention: _attention,
    AveragePool1d: average_pool,
    BatchNorm: _batch_norm,
    Concatenate: _concatenate,
    Conv1d: convolution,
    Dense: _dense,
    Dropout: lambda graph, layer, x: x,  # it acts in training alone
    Embedding: _embedding,
    LastState: _last_state,
    LastStep: _last_step,
    LastSteps: lambda graph, layer, x: Value(last_steps(graph, x, layer.count)),
    LayerNorm: _layer_norm,
    MaxOverTime: _max_over_time,
    MaxPool1d: max_pool,
    MeanOverTime: _mean_over_time,
    MergeDirections: _merge_directions,
    Multiply: _joined("Mul"),
    Recurrent: recurrent,
    Repeat: _repeat,
    Reverse: lambda graph, layer, x: reverse(graph, x),
    Scale: _scale,
}

#: Those that the last value which they read must be sequences of.
OVER_TIME = (
    *(Attention, AveragePool1d, Conv1d, LastStep, LastSteps, MaxOverTime, MaxPool1d, MeanOverTime, Recurrent, Reverse),
)

#: Those that take time on any axis. The others take features last.
ANY_ORDER = (AveragePool1d, BatchNorm, Conv1d, MaxPool1d, Recurrent)
