"""Products with known weights, of each step and over windows of time; rows of a known table; and pools."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from elman.checks import Array
from elman.interop.chain import grouped
from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.known import floats
from elman.interop.onnx.reading.parts import PICK, Part
from elman.interop.onnx.reading.pointwise import arithmetic
from elman.interop.onnx.reading.positions import Axis, ShortError, Signal, signal_of
from elman.interop.onnx.reading.views import View, view

_BY_AXIS = ("dilations", "kernel_shape", "strides")  # attributes with a number for each axis


def dense(node: Node, x: Signal, W: Array, position: int = -1) -> Signal:
    """A product of the features and W (input, output)."""
    position %= x.ids.ndim
    width = x.shape[position]
    if W.ndim != 2 or W.dtype.kind != "f" or W.shape[0] != width:
        raise node.refused("its weights", f"({width}, output) floats", f"{W.shape} of {W.dtype}")
    found = view(node, x, position)
    stage, part = found.stage, found.stage.part
    if part is not None and part.kind == PICK:  # what takes some features goes into the weights
        node.take(part.config["width"] * W.shape[1] * W.itemsize)
        wide = np.zeros((part.config["width"], W.shape[1]), W.dtype)
        np.add.at(wide, part.config["columns"], W)
        stage, W = stage.reads[0], wide
    config = {"input_size": len(W), "output_size": W.shape[1], "activation": "identity"}
    return found.signal(found.flow.then(stage, Part("Dense", config, {"W": W}), node.place, W.shape[1]))


def gemm(node: Node, x: Any, W: Any, C: Any = None) -> Any:
    """A product of rows, and a sum."""
    x, matrix = signal_of(node, x), floats(node, W)
    if x.ids.ndim != 2:
        raise node.refused("its first input", "(rows, features)", f"{x.shape}")
    x = x.moved(x.ids.T) if node.attributes["transA"] else x
    alpha, beta = (matrix.dtype.type(node.attributes[name]) for name in ("alpha", "beta"))
    node.take(matrix.nbytes)
    y = dense(node, x, (matrix.T if node.attributes["transB"] else matrix) * alpha)
    if C is None or not beta:
        return y
    return arithmetic(replace(node, op="Add"), y, np.broadcast_to(floats(node, C) * beta, y.shape))


def embedding(node: Node, table: Array, tokens: Signal) -> Signal:
    """Rows of a known table by the tokens of an input."""
    if table.ndim != 2 or table.dtype.kind != "f" or node.attributes["axis"] not in (0, -2):
        raise node.refused("its table", "(tokens, features) floats, and its axis 0", f"{table.shape} of {table.dtype}")
    if not all(stage.tokens for stage in tokens.flow.sources(tokens.ids)):
        raise node.refused("its indices", "an input of the graph, of integers", f"what comes from {tokens.place}")
    found = view(node, tokens, None)
    part = Part("Embedding", {"count": table.shape[0], "size": table.shape[1]}, {"W": table})
    stage = found.flow.then(found.stage, part, node.place, table.shape[1])
    return replace(found, position=tokens.ids.ndim).signal(stage)


# Windows of time, (batch, features, time).


def windows(node: Node, x: Any, W: Any = None, B: Any = None) -> Signal:
    """A convolution over time, or the largest value, or the mean, of windows.

    Time may have an axis of length 1 beside it, as TensorFlow writes convolutions over time.
    """
    x, kernel = signal_of(node, x), None if W is None else floats(node, W)
    widths = tuple(node.attributes["kernel_shape"]) if kernel is None else kernel.shape[2:]
    pads = node.attributes["pads"] or [0] * 2 * len(widths)
    if min([*widths, *(each for key in _BY_AXIS for each in node.attributes.get(key) or ())], default=1) < 1:
        raise node.refused("its windows", "1 step wide and apart at least", "less")
    for i in range(2 if (x.ids.ndim, len(widths), len(pads)) == (4, 2, 4) else 0):
        if widths[i] == x.shape[2 + i] == 1 and not any(pads[i::2]):
            one = {key: [value[1 - i]] for key, value in node.attributes.items() if key in _BY_AXIS and value}
            node = replace(node, attributes={**node.attributes, **one, "pads": pads[1 - i :: 2]})
            found = windows(node, x.moved(x.ids.squeeze(2 + i)), None if kernel is None else kernel.squeeze(2 + i), B)
            return found.moved(np.expand_dims(found.ids, 2 + i))
    if x.ids.ndim != 3 or len(widths) != 1:
        raise node.refused("its input", "(batch, features, time), over one axis", f"{x.shape}")
    if kernel is None:
        return _over_windows(node, x, _pool(node, widths[0]), -np.inf if node.op == "MaxPool" else None)
    part = _convolution(node, x, kernel)
    if x.shape[2] == widths[0] == 1 and not any(pads):  # of one vector
        y = dense(node, x, part.arrays["W"][0], 1)
    else:
        y = _over_windows(node, x, part, 0.0)
    return y if B is None else arithmetic(replace(node, op="Add"), y, floats(node, B).reshape(len(kernel), 1))


def _convolution(node: Node, x: Signal, kernel: Array) -> Part:
    count, group, width = len(kernel), node.attributes["group"], kernel.shape[2]
    if group < 1 or count % group or kernel.shape[1] * group != x.shape[1]:
        got = f"group {group}, and weights {kernel.shape} for {x.shape[1]} features"
        raise node.refused("its weights", "of all features, or of those of each group", got)
    node.take(kernel.nbytes * group)
    config = {"input_size": x.shape[1], "output_size": count, "activation": "identity"}
    config |= {"width": width, "dilation": (node.attributes["dilations"] or [1])[0]}
    return Part("Conv1d", config, {"W": grouped(kernel.transpose(2, 1, 0), x.shape[1])})


def _pool(node: Node, width: int) -> Part:
    more = [node.attributes.get(key) for key in ("ceil_mode", "storage_order")]
    if any(more) or any(d != 1 for d in node.attributes.get("dilations") or []) or len(node.outputs) > 1:
        raise node.refused("its attributes", "without ceil_mode, storage_order, dilations, and its indices", "some")
    return Part(f"{node.op}1d", {"width": width})


def _over_windows(node: Node, x: Signal, part: Part, fill: float | None) -> Signal:
    """What flows after a layer over windows, with stride and padding as elman has them.

    `fill` is what may stand in the padding of sequences, None where nothing may.
    """
    stride, span = (node.attributes["strides"] or [1])[0], (part.config["width"] - 1) * part.config.get("dilation", 1)
    left, right = _zeros_around(x) if fill == 0 else (0, 0)
    found, time = _steps(node, x.moved(x.ids[..., left : x.shape[2] - right]))
    auto, half = node.attributes["auto_pad"], span // 2
    ways = {"NOTSET": node.attributes["pads"] or [0, 0], "VALID": [0, 0]}
    ways |= {"SAME_UPPER": [half, span - half], "SAME_LOWER": [span - half, half]}
    pads, is_ceiled = ways.get(auto, []), auto.startswith("SAME") and stride > 1
    if len(pads) != 2 or min(pads) < 0 or (is_ceiled and (auto == "SAME_LOWER" or left or right)):
        raise node.refused("its padding", "SAME_UPPER, VALID, or two numbers from 0 up", f"{auto}, {pads}")
    left, right = left + pads[0], right + pads[1]
    count = -(-time.length // stride) if is_ceiled else (time.length + left + right - span - 1) // stride + 1
    if count < 1 or (count < 4 and time.length in found.flow.open):
        raise ShortError(node, time.length, span + 4 * stride)
    named = {(half, span - half): "same", (span, 0): "causal"} if stride == 1 else {}
    padding = "same" if is_ceiled else {**named, (0, 0): "valid"}.get((left, right), (left, right))
    if node.attributes.get("count_include_pad") and padding != "valid":
        raise node.refused("the attribute 'count_include_pad'", "0, as what is set around is no step", "1")
    if found.fill not in (None, fill):
        raise node.refused("the number in the padding", f"{fill}", f"{found.fill}")
    if found.padded_by and (stride > 1 or left + right != span):
        raise node.refused("what it takes over time", "as many windows as steps, where lengths are an input", "fewer")
    part = replace(part, config={**part.config, "stride": stride, "padding": padding}, lengths=found.padded_by)
    new, width = Axis(count, "time"), part.config.get("output_size", found.stage.width)
    lead = tuple(new if axis is time else axis for axis in found.stage.lead)
    stage = found.flow.add(part, (found.stage,), node.place, (*lead, Axis(width, "features")))
    return replace(found, groups=(found.groups[0], (new,)), lengths=(found.lengths[0], count)).signal(stage)


def _steps(node: Node, x: Signal) -> tuple[View, Axis]:
    """What is read, and its axis of time, which may be one step that no tensor shows."""
    found = view(node, x, 1)
    loose = [found.stage.time, *(axis for axis in found.stage.lead if axis.length == 1 and not axis.role)]
    time = found.axis(node, 2) or next(filter(None, loose), None)
    if time is None or found.stage.pooled:
        raise node.refused("its last axis", "that of time", "one vector of each sequence")
    found.stage.tell_time(node, time)
    return replace(found, groups=(found.groups[0], (time,))), time


def _zeros_around(x: Signal) -> tuple[int, int]:
    """How many zeros a model has set before and after all steps."""
    is_zero = (x.ids < 0) & (x.flow.constants(x.ids) == 0)
    steps = np.flatnonzero(~is_zero.all((0, 1)))
    if not len(steps):
        return 0, 0
    left, right = int(steps[0]), x.shape[2] - 1 - int(steps[-1])
    in_padding = left == 0 and is_zero.all(1).sum() > right * len(is_zero)  # after the end of each sequence
    return left, 0 if in_padding else right
