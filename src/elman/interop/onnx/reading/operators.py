"""Operators that are layers, and the table of all that can stand in a network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from elman.cells.activations import ACTIVATIONS, Activation
from elman.checks import Array
from elman.interop.onnx.reading.arithmetic import arithmetic, scaled
from elman.interop.onnx.reading.attention import context, context_of, is_weights, weights
from elman.interop.onnx.reading.axes import AXES, Handler, gather
from elman.interop.onnx.reading.branches import concat, floats, question
from elman.interop.onnx.reading.features import time_axis, whole
from elman.interop.onnx.reading.files import TYPES
from elman.interop.onnx.reading.folding import axis_of, integers
from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.normalization import mean_of_features, statistic
from elman.interop.onnx.reading.padding import padding_of
from elman.interop.onnx.reading.recurrence import lengths_of, recurrent
from elman.interop.onnx.reading.signals import (
    LAST_STEPS,
    Constant,
    Group,
    Lengths,
    MaskedSum,
    Signal,
    StackedStates,
    Statistic,
    ValidSteps,
    Value,
    signal_of,
)
from elman.interop.onnx.reading.stages import LINEAR, PICK, WEIGHTED, Axis, Part


def _one_more(node: Node, x: Signal, part: Part, features: Group | None = None, position: int = -1) -> Signal:
    """The signal after one more layer, whose features stand where those before stood."""
    axes = [*x.axes]
    if features is not None:
        axes[position] = features
    return x.after(x.stage.then(part, node.place, features), axes)


# Every step by itself.


def dense(node: Node, x: Signal, W: Array, b: Array | None, position: int = -1) -> Signal:
    """A product of the features and W (input, output)."""
    x, width = whole(node, x, position)
    if W.ndim != 2 or W.dtype.kind != "f" or W.shape[0] != width:
        raise node.refused("its weights", f"({width}, output) floats", f"{W.shape} of {W.dtype}")
    stage, part = x.stage, x.stage.part
    if part is not None and part.kind == PICK and stage.parent is not None and not x.shared:
        before = stage.parent.part
        if before is None or before.kind not in LINEAR:  # what takes some features goes into the weights
            node.take(part.config["width"] * W.shape[1] * W.itemsize)
            wide = np.zeros((part.config["width"], W.shape[1]), W.dtype)
            np.add.at(wide, part.config["columns"], W)
            x, W, width = Signal(stage.parent, x.axes), wide, len(wide)
    config = {"input_size": width, "output_size": W.shape[1], "activation": "identity"}
    part = Part("Dense", config, {"W": W} if b is None else {"W": W, "b": b})
    return _one_more(node, x, part, (Axis(W.shape[1], "features"),), position)


def _matmul(node: Node, a: Any, b: Any) -> Signal:
    if isinstance(a, Constant):  # of (output, input) and features in the axis before the last
        return dense(node, signal_of(node, b), floats(node, a).T, None, -2)
    if isinstance(a, Signal) and isinstance(b, Signal) and (is_weights(a) or is_weights(b)):
        return context(node, a, b)
    return dense(node, signal_of(node, a), floats(node, b), None)


def _gemm(node: Node, x: Any, W: Any, C: Any = None) -> Signal:
    x = signal_of(node, x)
    if node.attributes["transA"] or len(x.axes) != 2:
        raise node.refused("its first input", "(rows, features), not transposed", f"{tuple(x.lengths)}")
    matrix = floats(node, W)
    if node.attributes["transB"]:
        matrix = matrix.T
    if node.attributes["alpha"] != 1:
        node.take(matrix.nbytes)
        matrix = matrix * matrix.dtype.type(node.attributes["alpha"])
    if C is None or not node.attributes["beta"]:
        return dense(node, x, matrix, None)
    bias = floats(node, C)
    width = matrix.shape[-1]
    if bias.size not in (1, width) or bias.size != (bias.shape[-1] if bias.ndim else 1):
        raise node.refused("its third input", f"one number, or ({width},)", f"{bias.shape}")
    if node.attributes["beta"] != 1:
        bias = bias * bias.dtype.type(node.attributes["beta"])
    return dense(node, x, matrix, bias.ravel() if bias.size == width else bias.ravel().repeat(width))


def _gather(node: Node, data: Any, indices: Any) -> Signal:
    """A row of an axis of a signal, or rows of a known table by the tokens of the input."""
    if not isinstance(data, Constant):
        return gather(node, data if isinstance(data, StackedStates) else signal_of(node, data), indices)
    tokens, W = signal_of(node, indices), data.array
    if W.ndim != 2 or W.dtype.kind != "f" or data.spread or node.attributes["axis"] not in (0, -2):
        raise node.refused("its table", "(tokens, features) floats, and its axis 0", f"{W.shape} of {W.dtype}")
    if tokens.stage.parent is not None or tokens.stage.state != "tokens" or tokens.cut is not None:
        raise node.refused("its indices", "an input of the graph, of integers", f"what comes from {tokens.stage.place}")
    features = (Axis(W.shape[1], "features"),)
    part = Part("Embedding", {"count": W.shape[0], "size": W.shape[1]}, {"W": W})
    return tokens.after(tokens.stage.then(part, node.place, features), (*tokens.axes, features))


def _activated(node: Node, x: Signal, activation: Activation | str) -> Signal:
    """In the layer before, where it has a place for it that is free."""
    config = activation if isinstance(activation, str) else activation.to_config()
    part = None if x.shared or isinstance(activation, str) else x.stage.part
    if part is not None and part.kind in LINEAR and part.config["activation"] == "identity":
        return x.after(x.stage.with_part(config={**part.config, "activation": config}))
    return _one_more(node, x, Part("Activate", {"activation": config}))


def _activation(name: str) -> Handler:
    def handler(node: Node, x: Any) -> Signal:
        x = signal_of(node, x)
        return _activated(
            node, x, Activation(name, **{key: node.attributes[key] for key in ACTIVATIONS[name].defaults})
        )

    return handler


#: Operators that are functions of `elman.Activate`, with the attributes that they must have, if at all.
_CURVES: dict[str, tuple[str, dict[str, float]]] = {
    "Erf": ("erf", {}),
    "HardSwish": ("hard_swish", {}),
    "Selu": ("selu", {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}),
    "Swish": ("swish", {"alpha": 1.0}),
}


def _curve(node: Node, x: Any) -> Signal:
    name, needed = _CURVES[node.op]
    for key, value in needed.items():
        if abs(node.attributes[key] - value) > 1e-6:
            raise node.refused(f"the attribute {key!r}", f"{value:.7}", f"{node.attributes[key]}")
    return _activated(node, signal_of(node, x), name)


def _gelu(node: Node, x: Any) -> Signal:
    return _activated(node, signal_of(node, x), {"none": "gelu"}.get(node.attributes["approximate"], "gelu_tanh"))


def _root(node: Node, x: Any) -> Value:
    return statistic(node, x) if isinstance(x, Statistic) else _activated(node, signal_of(node, x), "sqrt")


def _negative(node: Node, x: Any) -> Value:
    return statistic(node, x) if isinstance(x, Statistic) else scaled(node, signal_of(node, x), -np.ones(()), None)


def _clip(node: Node, x: Any, low: Any = None, high: Any = None) -> Value:
    """Between two numbers, or over the lower: a relu or a hard sigmoid, moved and stretched."""
    if isinstance(x, Lengths):
        return x  # none is under 1, as each sequence has a step
    x = signal_of(node, x)
    given = [
        node.attributes.get(name) if value is None else _known(node, value)
        for name, value in (("min", low), ("max", high))
    ]
    bottom, top = (None if value is None or abs(value) > 1e38 else float(value) for value in given)
    if bottom is None or (top is not None and top <= bottom):
        raise node.refused("its bounds", "a lower one, or two with the upper over it", f"{given}")
    if top is None:
        y = _activated(node, scaled(node, x, None, np.array(-bottom)), Activation("relu"))
        return scaled(node, y, None, np.array(bottom))
    wide = top - bottom
    y = _activated(node, x, Activation("hard_sigmoid", alpha=1 / wide, beta=-bottom / wide))
    return scaled(node, scaled(node, y, np.array(wide), None), None, np.array(bottom))


def _over_features(name: str) -> Handler:
    def handler(node: Node, x: Any) -> Signal:
        over_steps = weights(node, signal_of(node, x)) if name == "softmax" else None
        if over_steps is not None:
            return over_steps
        x, _ = whole(node, _along_last_axis(node, x))
        return _one_more(node, x, Part("Activate", {"activation": name}))

    return handler


def _along_last_axis(node: Node, x: Any) -> Signal:
    x = signal_of(node, x)
    axis = node.attributes["axis"]
    if axis_of(node, axis, len(x.axes)) != len(x.axes) - 1:
        raise node.refused("the attribute 'axis'", "that of the features, the last", f"{axis}")
    return x


def _layer_norm(node: Node, x: Any, gain: Any, bias: Any = None) -> Signal:
    x, width = whole(node, _along_last_axis(node, x))
    arrays = {"gain": floats(node, gain)} | ({} if bias is None else {"bias": floats(node, bias)})
    for name, array in arrays.items():
        if array.shape != (width,):
            raise node.refused(f"its {name}", f"({width},)", f"{array.shape}")
    return _one_more(node, x, Part("LayerNorm", {"size": width, "epsilon": float(node.attributes["epsilon"])}, arrays))


def _dropout(node: Node, x: Any, ratio: Any = None, training: Any = None) -> Signal:
    x = signal_of(node, x)
    if training is not None and _known(node, training):
        raise node.refused("its training mode", "off", "on")
    rate = node.attributes.get("ratio", 0.5 if ratio is None else _known(node, ratio))
    return _one_more(node, x, Part("Dropout", {"rate": float(rate)})) if rate else x


def _known(node: Node, value: Any) -> Any:
    """One known number, or True or False."""
    if not isinstance(value, Constant) or value.array.size != 1:
        raise node.refused("one of its inputs", "one known value", "another")
    return value.array.item()


def _cast(node: Node, x: Any) -> Value:
    if isinstance(x, (StackedStates, Lengths, Statistic, ValidSteps)):
        return x
    x = signal_of(node, x)
    name = TYPES[node.attributes["to"]][0] if node.attributes["to"] in TYPES else ""
    is_tokens = x.stage.parent is None and x.stage.state == "tokens"
    if not name.startswith("float") and not (is_tokens and "int" in name):
        raise node.refused("the attribute 'to'", "a type of floats", name or f"{node.attributes['to']}")
    return x


def _less(node: Node, x: Any, limit: Any) -> Value:
    """Whether tokens are under 0, as Keras asks: they never are, as an `Embedding` takes none that are."""
    tokens = isinstance(x, Signal) and x.stage.state == "tokens" and x.axes and isinstance(limit, Constant)
    return Constant(np.zeros((), bool)) if tokens and not floats(node, limit).any() else question(node, x, limit)


# All steps together.

#: The operator, what its axis is, and the layer.
_REDUCED: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {
    ("ReduceMean", "time"): ("MeanOverTime", {}),
    ("ReduceSum", "time"): ("MeanOverTime", {}),  # once it is divided by the lengths
    ("GlobalAveragePool", "time"): ("MeanOverTime", {}),
    ("ReduceMax", "time"): ("MaxOverTime", {}),
    ("GlobalMaxPool", "time"): ("MaxOverTime", {}),
    ("ReduceMean", "direction"): ("MergeDirections", {"mode": "ave"}),
    ("ReduceSum", "direction"): ("MergeDirections", {"mode": "sum"}),
    ("ReduceProd", "direction"): ("MergeDirections", {"mode": "mul"}),
}


def _reduce(node: Node, x: Any, axes: Any = None) -> Value:
    """The mean, the largest value, the sum or the product over one axis."""
    if isinstance(x, Statistic):
        return statistic(node, x)
    x = signal_of(node, x)
    rank = len(x.axes)
    given = integers(node, "axes", axes)
    gone = {axis_of(node, axis, rank) for axis in given} if given else set(range(rank))
    keep = bool(node.attributes["keepdims"])
    for axis in sorted((axis for axis in gone if not x.axes[axis]), reverse=True):  # of length 1: nothing to reduce
        if not keep:
            x = x.moved([group for i, group in enumerate(x.axes) if i != axis])
            gone = {i - (i > axis) for i in gone - {axis}}
        gone -= {axis}
    if not gone and rank:
        return x
    if len(gone) != 1:
        raise node.refused("its axes", "one: of time or of directions", f"{sorted(gone)}")
    (axis,) = gone
    is_last = axis == rank - 1 and node.op == "ReduceMean" and keep
    if is_last and (x.axes[axis] == x.stage.features or not any(a.role for a in x.axes[axis])):
        return mean_of_features(node, x)
    return _reduced(node, x, axis, keep)


def _pool(node: Node, x: Any) -> Value:
    if isinstance(x, Statistic):
        return statistic(node, x)
    x = signal_of(node, x)
    if len(x.axes) != 3:
        raise node.refused("its input", "(batch, features, time)", f"{tuple(x.lengths)}")
    if node.op == "GlobalAveragePool" and x.axes[2] == x.stage.features:  # so tf2onnx writes a mean of the last axis
        return mean_of_features(node, x)
    if not x.axes[2]:
        return x
    x, _ = whole(node, x, 1)
    return _reduced(node, x, 2, True)


def _reduced(node: Node, x: Signal, axis: int, keep: bool) -> Signal | MaskedSum:
    group, features = x.axes[axis], x.stage.features
    is_direction = len(group) == 1 and group[0].role == "direction"
    role = "direction" if is_direction else "time" if time_axis(node, x, axis) is not None else ""
    if (node.op, role) not in _REDUCED:
        raise node.refused("its axis", "that of time, or of directions", f"axis {axis}, of {list(group) or 1}")
    kind, config = _REDUCED[node.op, role]
    if x.stage.part is not None and (x.stage.part.kind, node.op) == (WEIGHTED, "ReduceSum"):
        return context_of(node, x, axis, keep)
    lengths = padding_of(node, x) if role == "time" else ""
    stage = x.stage.then(Part(kind, config, lengths=lengths), node.place, features[1:] if is_direction else None)
    found = x.after(stage, [*x.axes[:axis], *([()] if keep else []), *x.axes[axis + 1 :]])
    return MaskedSum(found, lengths) if (node.op, role) == ("ReduceSum", "time") else found


def _reverse_sequence(node: Node, x: Any, lengths: Any) -> Signal:
    x = signal_of(node, x)
    rank = len(x.axes)
    time, batch = (axis_of(node, node.attributes[f"{name}_axis"], rank) for name in ("time", "batch"))
    if time_axis(node, x, time) is None or time == batch:
        raise node.refused("the attribute 'time_axis'", "the axis of time", f"{time}, of {list(x.axes[time]) or 1}")
    return _one_more(node, x, Part("Reverse", lengths=lengths_of(node, lengths, x.axes[time])))


def _gather_nd(node: Node, x: Any, steps: Any) -> Signal:
    """The last real step of each sequence, the one at its length less 1; or its last steps."""
    x = signal_of(node, x)
    must = "the length of each sequence less 1, of (batch, time, features)"
    if not isinstance(steps, Lengths) or node.attributes.get("batch_dims") != 1 or len(x.axes) < 3:
        raise node.refused("its indices", must, "others")
    zeros, after = x.axes[1][0].zeros if len(x.axes[1]) == 1 else (0, 0)
    if zeros and not after and (steps.added, steps.axes) == (tuple(range(zeros)), 3):
        return x.moved([x.axes[0], (Axis(zeros, LAST_STEPS, steps.name),), *x.axes[2:]])
    if (steps.added, steps.axes) != ((-1,), 2) or time_axis(node, x, 1) is None:
        raise node.refused("its indices", must, f"the length and {steps.added[:4]}")
    return x.after(x.stage.then(Part("LastStep", lengths=steps.name), node.place), [x.axes[0], *x.axes[2:]])


def _unsqueeze(node: Node, x: Any, axes: Any = None) -> Value:
    if isinstance(x, Lengths) and integers(node, "axes", axes) in ([x.axes], [-1]):
        return replace(x, axes=x.axes + 1)
    return AXES["Unsqueeze"](node, x, axes)


def _gather_elements(node: Node, x: Any, steps: Any) -> Signal:
    """The last real step of each sequence, as PyTorch gathers it by (batch, 1, features) of the length less 1."""
    x = signal_of(node, x)
    fits = isinstance(steps, Lengths) and (steps.added, steps.axes) == ((-1,), 3) and len(x.axes) == 3
    if not fits or node.attributes["axis"] not in (1, -2) or time_axis(node, x, 1) is None:
        raise node.refused(
            "its indices", "the length of each sequence less 1, along time of (batch, time, features)", "others"
        )
    return x.after(x.stage.then(Part("LastStep", lengths=steps.name), node.place), [x.axes[0], (), x.axes[2]])


def _laid_out(node: Node, x: Any, shape: Any) -> Value:
    """Reshape and Expand, also of lengths: (batch, 1, ...), or the same number beside itself."""
    if not isinstance(x, Lengths):
        return AXES[node.op](node, x, shape)
    target = integers(node, "shape", shape) or []
    if len(target) < (1 if node.op == "Reshape" else x.axes) or (
        node.op == "Reshape" and target[1:] != [1] * (len(target) - 1)
    ):
        raise node.refused("its shape", "that of lengths, with axes of 1 after that of the batch", f"{target}")
    return replace(x, axes=len(target))


OPERATORS: dict[str, Handler] = {
    **AXES,
    **dict.fromkeys(("Expand", "Reshape"), _laid_out),
    **dict.fromkeys(("Add", "Div", "Mul", "Pow", "Sub"), arithmetic),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), recurrent),
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceProd", "ReduceSum"), _reduce),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _pool),
    **dict.fromkeys(_CURVES, _curve),
    **dict.fromkeys(("And", "Equal", "Greater", "GreaterOrEqual", "LessOrEqual", "Not", "Or"), question),
    "Cast": _cast,
    "Clip": _clip,
    "Concat": concat,
    "Dropout": _dropout,
    "Elu": _activation("elu"),
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "HardSigmoid": _activation("hard_sigmoid"),
    "If": question,  # never run: its branch is read in its place
    "LayerNormalization": _layer_norm,
    "LeakyRelu": _activation("leaky_relu"),
    "Less": _less,
    "LogSoftmax": _over_features("log_softmax"),
    "MatMul": _matmul,
    "Neg": _negative,
    "Reciprocal": statistic,
    "Relu": _activation("relu"),
    "ReverseSequence": _reverse_sequence,
    "Sigmoid": _activation("sigmoid"),
    "Softmax": _over_features("softmax"),
    "Softplus": _activation("softplus"),
    "Softsign": _activation("softsign"),
    "Sqrt": _root,
    "Tanh": _activation("tanh"),
    "ThresholdedRelu": _activation("thresholded_relu"),
    "Unsqueeze": _unsqueeze,
}
