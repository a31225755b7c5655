"""The table of the operators that can stand in a network, and those that are layers by themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from elman.cells.activations import ACTIVATIONS, Activation
from elman.cells.functions import CURVES
from elman.interop.onnx.reading.attention import attended, context, scores, weights
from elman.interop.onnx.reading.files import TYPES
from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.joining import joined
from elman.interop.onnx.reading.known import axis_of, floats, integers, number, run
from elman.interop.onnx.reading.linear import dense, embedding, gemm, windows
from elman.interop.onnx.reading.normalization import Statistic, batch_norm, layer_norm, mean_of_features
from elman.interop.onnx.reading.parts import SUM, WEIGHTED, WEIGHTS, Part
from elman.interop.onnx.reading.pointwise import activated, arithmetic, clip, mapped, scaled, several, where
from elman.interop.onnx.reading.positions import ShortError, Signal, Unknown, signal_of
from elman.interop.onnx.reading.recurrence import recurrent
from elman.interop.onnx.reading.views import axis_over, feature_positions, view

Handler: TypeAlias = Callable[..., Any]


# Every step by itself.


def _matmul(node: Node, a: Any, b: Any) -> Signal:
    if isinstance(a, np.ndarray):  # of (output, input) and features in the axis before the last
        return dense(node, signal_of(node, b), floats(node, a).T, -2)
    if not (isinstance(a, Signal) and isinstance(b, Signal)):
        W = floats(node, b)
        y = dense(node, signal_of(node, a), W if W.ndim != 1 else W[:, None])
        return y if W.ndim != 1 else y.moved(y.ids[..., 0])
    for p, x, turned in ((a, b, False), (b, a, True)):
        if all(stage.kind == WEIGHTS for stage in p.flow.sources(p.ids)):
            return context(node, p, x, turned)
    return scores(node, a, b)


#: The activations, by the names of their operators without capitals; and the attributes that these must have.
_NAMES = {name.replace("_", ""): name for name in (*ACTIVATIONS, *CURVES)}
_FIXED = {"Selu": {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}, "Swish": {"alpha": 1.0}}


def _activation(node: Node, x: Any) -> Signal:
    name = _NAMES[node.op.lower()]
    for key, value in _FIXED.get(node.op, {}).items():
        if abs(node.attributes[key] - value) > 1e-6:
            raise node.refused(f"the attribute {key!r}", f"{value:.7}", f"{node.attributes[key]}")
    if name in CURVES:
        return activated(node, x, "gelu_tanh" if node.attributes.get("approximate", "none") != "none" else name)
    return activated(node, x, Activation(name, **{key: node.attributes[key] for key in ACTIVATIONS[name].defaults}))


def _over_features(name: str) -> Handler:
    def handler(node: Node, x: Any) -> Signal:
        x = signal_of(node, x)
        d = axis_of(node, node.attributes["axis"], max(x.ids.ndim, 1))
        after = int(np.prod(x.shape[d + 1 :]))
        over = weights(node, x, d) if name == "softmax" and (node.opset >= 13 or after == 1) else None
        if over is not None:
            return over
        if d != x.ids.ndim - 1 and (after != 1 or axis_over(x, d) is not None):
            raise node.refused("the attribute 'axis'", "that of the features, the last", f"{node.attributes['axis']}")
        return view(node, x, d).then(node, Part("Activate", {"activation": name}))

    return handler


def _dropout(node: Node, x: Any, ratio: Any = None, training: Any = None) -> Signal:
    x = signal_of(node, x)
    if training is not None and number(node, training):
        raise node.refused("its training mode", "off", "on")
    rate = node.attributes.get("ratio", 0.5 if ratio is None else number(node, ratio))
    return mapped(node, x, Part("Dropout", {"rate": float(rate)}), lambda value: value) if rate else x


def _cast(node: Node, x: Any, _: Any = None) -> Any:
    if not isinstance(x, Signal) or node.op == "CastLike":
        return x
    name = TYPES.get(node.attributes["to"], "")
    is_tokens = all(stage.tokens for stage in x.flow.sources(x.ids))
    if not name.startswith("float") and not (is_tokens and "int" in name):
        raise node.refused("the attribute 'to'", "a type of floats", name or f"{node.attributes['to']}")
    return x


def _question(node: Node, *values: Any) -> Any:
    """What follows from inputs that are whole numbers. No token is under 0, as an `Embedding` takes none that are."""
    names: list[str] = []
    for value in values:
        sources = value.flow.sources(value.ids) if isinstance(value, Signal) else ()
        if isinstance(value, Unknown):
            names += value.names
        elif sources and all(stage.tokens for stage in sources):
            names += [stage.name for stage in sources]
        elif not isinstance(value, np.ndarray):
            raise node.refused("its inputs", "known, or inputs of the graph that are whole numbers", "others")
    x, *limit = values
    if node.op == "Less" and isinstance(x, Signal) and isinstance(limit[0], np.ndarray) and not limit[0].any():
        return np.zeros(x.shape, bool)
    return Unknown(tuple(dict.fromkeys(names)))


def _prelu(node: Node, x: Any, slopes: Any) -> Signal:
    slope = floats(node, slopes)
    if slope.size != 1 and not (slope == slope.flat[0]).all():
        raise node.refused("its slope", "one number", f"{slope.shape}")
    return activated(node, x, Activation("leaky_relu", alpha=float(slope.flat[0])))


# All steps together.

#: Of time, the layer of each operator, and what must stand in the padding.
_OVER_TIME: dict[str, tuple[str, float]] = {
    "ReduceMean": ("MeanOverTime", np.nan),
    "GlobalAveragePool": ("MeanOverTime", np.nan),
    "ReduceSum": (SUM, 0.0),
    "ReduceMax": ("MaxOverTime", -np.inf),
    "GlobalMaxPool": ("MaxOverTime", -np.inf),
}
_LOWEST = -1e8  # what stands in the padding of a maximum, where it is not -inf
_JOINS = {"ReduceMean": "Add", "ReduceSum": "Add", "ReduceProd": "Multiply"}  # both directions


def _reduce(node: Node, x: Any, axes: Any = None) -> Any:
    """The mean, the largest value, the sum or the product over one axis."""
    x = signal_of(node, x)
    given = [*range(2, x.ids.ndim)] if node.op.startswith("Global") else integers(node, "axes", axes)
    if not given and node.attributes.get("noop_with_empty_axes"):
        return x
    gone = {axis_of(node, axis, x.ids.ndim) for axis in given or range(x.ids.ndim)}
    wide = [axis for axis in gone if x.shape[axis] != 1]
    if len(wide) > 1:
        raise node.refused("its axes", "one: of time or of directions", f"{sorted(gone)}")
    x = _reduced(node, x, wide[0]) if wide else x
    if node.attributes.get("keepdims", 1) or isinstance(x, Statistic):
        return x
    return x.moved(x.ids.reshape([n for axis, n in enumerate(x.shape) if axis not in gone]))


def _reduced(node: Node, x: Signal, axis: int) -> Any:
    """The signal with one axis of length 1 in the place of all."""
    places = feature_positions(x)
    if node.op.startswith("Global") and not any(stage.features for stage in x.flow.sources(x.ids)):
        places = [1]
    if places[-1:] == [axis] == [x.ids.ndim - 1] and node.op in ("ReduceMean", "GlobalAveragePool"):
        return mean_of_features(node, x)
    if axis in places[:-1] and x.shape[axis] == 2 and node.op in _JOINS:
        y = joined(node, _JOINS[node.op], *(x.moved(np.take(x.ids, [i], axis)) for i in (0, 1)))
        return scaled(node, y, 0.5) if node.op == "ReduceMean" else y
    reads = node.op in _OVER_TIME and axis not in places
    found = view(node, x, places[-1] if places else None) if reads else None
    time = None if found is None else found.axis(node, axis)
    if found is None or time is None:
        raise node.refused("its axis", "that of time, or of directions", f"axis {axis}, of {x.shape}")
    found.stage.tell_time(node, time)
    kind, fill = _OVER_TIME[node.op]
    low = found.fill
    if low is not None and low != fill and not (fill < 0 and low <= _LOWEST):
        must = "the mean of all steps, or a sum over 0 or a maximum over -inf in the padding"
        raise node.refused("what it takes over time", must, f"{node.op} over {low}")
    stage = found.stage
    if stage.kind == WEIGHTED and node.op == "ReduceSum":
        made = attended(node, x.flow, stage.reads[1], stage.reads[0], time)
    else:
        part = Part(kind, {"steps": time.length} if kind == SUM else {}, lengths=found.padded_by)
        made = x.flow.pooled(stage, part, node.place)
    return found.without(time).signal(made)


OPERATORS: dict[str, Handler] = {
    **dict.fromkeys(("Add", "Div", "Mul", "Pow", "Sub"), arithmetic),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), recurrent),
    **dict.fromkeys(
        ("GlobalAveragePool", "GlobalMaxPool", "ReduceMax", "ReduceMean", "ReduceProd", "ReduceSum"), _reduce
    ),
    **dict.fromkeys(("Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Selu"), _activation),
    **dict.fromkeys(("Sigmoid", "Softplus", "Softsign", "Sqrt", "Swish", "Tanh", "ThresholdedRelu"), _activation),
    **dict.fromkeys(("Max", "Mean", "Min", "Sum"), several),
    **dict.fromkeys(("And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or"), _question),
    **dict.fromkeys(("AveragePool", "Conv", "MaxPool"), windows),
    **dict.fromkeys(("Cast", "CastLike"), _cast),
    **dict.fromkeys(("Shape", "Size"), lambda node, x: run(node, np.broadcast_to(0.0, signal_of(node, x).shape))),
    "BatchNormalization": batch_norm,
    "Clip": clip,
    "Dropout": _dropout,
    "Gemm": gemm,
    "If": _question,  # never run: its branch is read in its place
    "LayerNormalization": layer_norm,
    "LogSoftmax": _over_features("log_softmax"),
    "MatMul": _matmul,
    "Neg": lambda node, x: scaled(node, signal_of(node, x), -1),
    "PRelu": _prelu,
    "Reciprocal": lambda node, x: arithmetic(replace(node, op="Div"), np.ones(()), x),
    "Softmax": _over_features("softmax"),
    "Where": where,
}


def moved(node: Node, *values: Any) -> Any:
    """An operator that moves elements, on positions; constants among them are codes."""
    flow = next(value.flow for value in values if isinstance(value, Signal))
    if node.op == "Gather" and isinstance(values[0], np.ndarray):
        return embedding(node, values[0], signal_of(node, values[1]))
    if node.op == "Pad" and node.attributes["mode"] != "constant":
        raise node.refused("its padding", "constant", f"of the kind {node.attributes['mode']!r}")
    arrays: list[Any] = []
    for i, value in enumerate(values):
        if value is not None and not isinstance(value, (Signal, np.ndarray)):
            raise node.refused("its inputs", "known, or the outputs of layers", f"what comes from {value.place}")
        if isinstance(value, Signal) and i and node.op != "Concat":
            raise node.refused("where it moves elements", "known", f"what comes from {value.place}")
        if isinstance(value, np.ndarray) and (node.op == "Concat" or (node.op == "Pad" and i == 2)):
            value = flow.codes(node, value)
        arrays.append(value.ids if isinstance(value, Signal) else value)
    if node.op == "Pad":
        if len(arrays) == 1:  # in versions before 11 its numbers are attributes
            arrays += [np.array(node.attributes["pads"]), np.array(flow.code(node.attributes["value"]))]
            node = replace(node, opset=13, proto=type(node.proto)(op_type="Pad"))
        elif len(arrays) == 2 or arrays[2] is None:
            arrays = [*arrays[:2], np.array(flow.code(0.0)), *arrays[3:]]
    if node.op == "ReverseSequence" and arrays[1].shape != arrays[0].shape[node.attributes["batch_axis"] :][:1]:
        raise node.refused("its lengths", "as many as sequences", f"{arrays[1].shape} for {arrays[0].shape}")
    if node.op == "Slice" and isinstance(values[0], Signal):
        _check_ends(node, values[0], *arrays[1:4])
    found = run(node, *arrays)
    one, *more = (Signal(flow, ids) for ids in (found if isinstance(found, tuple) else (found,)) if ids is not None)
    return (one, *more) if more else one


def _check_ends(node: Node, x: Signal, starts: Any = None, ends: Any = None, axes: Any = None) -> None:
    """Asks for more steps where a slice ends after all of an open number of them, as [:100] does."""
    bounds = [integers(node, name, value) or [] for name, value in (("starts", starts), ("ends", ends))]
    for i, axis in enumerate(integers(node, "axes", axes) or range(len(bounds[0]))):
        length = x.shape[axis_of(node, axis, x.ids.ndim)]
        needed = max((abs(each[i]) for each in bounds if i < len(each) and abs(each[i]) < 2**31 - 1), default=0)
        if needed > length and length in x.flow.open:
            raise ShortError(node, length, needed + 1)
