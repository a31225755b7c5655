"""Operators over windows of time, (batch, features, time): convolutions and pools; and batch normalization."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from elman.checks import Array
from elman.interop.chain import grouped
from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.known import floats
from elman.interop.onnx.reading.linear import dense
from elman.interop.onnx.reading.parts import Part
from elman.interop.onnx.reading.positions import Axis, ShortError, Signal, signal_of
from elman.interop.onnx.reading.views import View, view

_SHORT = {"SAME_UPPER": "same", "VALID": "valid"}
_BY_AXIS = ("dilations", "kernel_shape", "strides")  # attributes with a number for each axis


def conv(node: Node, x: Any, W: Any, B: Any = None) -> Signal:
    """A convolution over time; of one vector a product."""
    x, kernel = signal_of(node, x), floats(node, W)
    if kernel.ndim != 3 or x.ids.ndim != 3:
        raise node.refused("its input", "(batch, features, time), over one axis", f"{x.shape}")
    count, group = len(kernel), node.attributes["group"]
    if group < 1 or count % group or kernel.shape[1] * group != x.shape[1]:
        got = f"group {group}, and weights {kernel.shape} for {x.shape[1]} features"
        raise node.refused("its weights", "of all features, or of those of each group", got)
    bias = {} if B is None else {"b": floats(node, B)}
    if any(array.shape != (count,) for array in bias.values()):
        raise node.refused("its bias", f"({count},)", f"{bias['b'].shape}")
    node.take(kernel.nbytes * group)
    weights = grouped(kernel.transpose(2, 1, 0), x.shape[1])
    dilation = (node.attributes["dilations"] or [1])[0]
    if x.shape[2] == 1 and kernel.shape[2] == 1 and not any(node.attributes["pads"] or ()):
        return dense(node, x, weights[0], bias.get("b"), 1)
    found, options = _windows(node, x, kernel.shape[2], dilation, 0.0)
    config = {
        "input_size": x.shape[1],
        "output_size": count,
        "activation": "identity",
        "dilation": dilation,
        **options["config"],
    }
    part = Part("Conv1d", config, {"W": weights, **bias}, options["lengths"])
    return _over_windows(node, found, part, count, options["count"])


def pool(node: Node, x: Any) -> Signal:
    """The largest value, or the mean, of windows."""
    x = signal_of(node, x)
    more = {key: node.attributes.get(key) for key in ("ceil_mode", "storage_order")}
    if any(more.values()) or any(d != 1 for d in node.attributes.get("dilations") or []) or len(node.outputs) > 1:
        raise node.refused("its attributes", "without ceil_mode, storage_order, dilations, and its indices", "some")
    if x.ids.ndim != 3 or len(node.attributes["kernel_shape"]) != 1:
        raise node.refused("its input", "(batch, features, time), over one axis", f"{x.shape}")
    fill = -np.inf if node.op == "MaxPool" else None
    found, options = _windows(node, x, node.attributes["kernel_shape"][0], 1, fill)
    if node.attributes.get("count_include_pad") and options["config"]["padding"] != "valid":
        raise node.refused("the attribute 'count_include_pad'", "0, as what is set around is no step", "1")
    kind = {"MaxPool": "MaxPool1d"}.get(node.op, "AveragePool1d")
    part = Part(kind, options["config"], lengths=options["lengths"])
    return _over_windows(node, found, part, found.stage.width, options["count"])


def _over_windows(node: Node, found: View, part: Part, width: int, count: int) -> Signal:
    """What flows after a layer over windows, of which there are `count`."""
    old = found.axis(node, 2)
    new = Axis(count, "time")
    lead = tuple(new if axis is old else axis for axis in found.stage.lead)
    if old is None or (part.lengths == "" and found.codes is not None):
        raise node.refused("its last axis", "that of time", f"{found.groups}")
    stage = found.flow.add(part, (found.stage,), node.place, (*lead, Axis(width, "features")))
    groups = tuple((new,) if group == (old,) else group for group in found.groups)
    lengths = tuple(count if group == (new,) else n for group, n in zip(groups, found.lengths, strict=True))
    return replace(found, groups=groups, lengths=lengths).signal(stage)


def _windows(node: Node, x: Signal, width: int, dilation: int, fill: float | None) -> tuple[View, dict[str, Any]]:
    """What is read, with width, stride and padding as elman has them; how many windows; and who says how long it is."""
    stride, span = (node.attributes["strides"] or [1])[0], (width - 1) * dilation
    left, right, ids = _around(x, fill)
    if x.shape[2] == 1 or not ids.shape[2]:
        found = view(node, x, 1)
        time = found.stage.time or next((axis for axis in found.stage.lead if axis.length == 1 and not axis.role), None)
    else:
        found = view(node, x.moved(ids), 1)
        time = found.axis(node, 2)
    if time is None:
        raise node.refused("its last axis", "that of time", "of length 1")
    time.take(node, "time")
    for axis in found.stage.lead:
        if axis is not time:
            axis.take(node, "batch")
    if found.axis(node, 2) is None:  # time of one step
        found = replace(found, groups=(found.groups[0], (time,)))
    auto, pads = node.attributes["auto_pad"], node.attributes["pads"] or [0, 0]
    padding: Any = None
    if auto == "SAME_LOWER" and stride == 1:
        pads = [span - span // 2, span // 2]
    elif auto in _SHORT and (left, right) == (0, 0):
        padding = _SHORT[auto]
    elif auto != "NOTSET" or min(pads) < 0 or len(pads) != 2:
        raise node.refused("its padding", "SAME_UPPER, VALID, or two numbers from 0 up", f"{auto}, {pads}")
    if padding is None:
        left, right = left + pads[0], right + pads[1]
        named: dict[tuple[int, int], str] = {}
        if stride == 1:
            named = {(span // 2, span - span // 2): "same", (span, 0): "causal"}
        named[0, 0] = "valid"
        padding = named.get((left, right), (left, right))
    around = span if padding == "causal" or (padding == "same" and stride == 1) else left + right
    count = -(-time.length // stride) if padding == "same" else (time.length + around - span - 1) // stride + 1
    if count < 1 or (count < 4 and time.length in found.flow.open):
        raise ShortError(node, time.length, span + 4 * stride)
    lengths = found.padded_by
    if found.codes is not None and found.fill != fill:
        raise node.refused("the number in the padding", f"{fill}", f"{found.fill}")
    if lengths and not (stride == 1 and around == span):
        raise node.refused("what it takes over time", "as many windows as steps, where lengths are an input", "fewer")
    return found, {
        "config": {"width": width, "stride": stride, "padding": padding},
        "count": count,
        "lengths": lengths,
    }


def _around(x: Signal, fill: float | None) -> tuple[int, int, Array]:
    """How many constants stand before and after all steps, and what is between them."""
    if fill is None or (x.ids >= 0).all():
        return 0, 0, x.ids
    is_fill = (x.ids < 0) & (x.flow.constants(x.ids) == fill)
    ends = is_fill.all((0, 1))
    steps = np.flatnonzero(~ends)
    if not len(steps):
        return 0, 0, x.ids
    left, right = int(steps[0]), len(ends) - 1 - int(steps[-1])
    if fill == 0 and left == 0 and right and (is_fill.all(1).sum() > right * len(is_fill)):
        right = 0  # after the end of each sequence
    if fill != 0 and (left or right):
        return 0, 0, x.ids
    return left, right, x.ids[..., left : len(ends) - right]


def batch_norm(node: Node, x: Any, *given: Any) -> Signal:
    """With the running mean and variance."""
    x = signal_of(node, x)
    found = view(node, x, 1)
    width = found.stage.width
    names = ("gain", "bias", "mean", "variance")
    arrays = {name: floats(node, value) for name, value in zip(names, given, strict=True)}
    if node.attributes.get("training_mode") or any(array.shape != (width,) for array in arrays.values()):
        got = f"{[array.shape for array in arrays.values()]}, training_mode {node.attributes.get('training_mode')}"
        raise node.refused("its statistics", f"({width},), and training_mode 0", got)
    momentum = round(1 - node.attributes["momentum"], 9)
    config = {"size": width, "momentum": momentum, "epsilon": node.attributes["epsilon"]}
    return found.signal(found.flow.then(found.stage, Part("BatchNorm", config, arrays), node.place))


def over_one_axis(handler: Callable[..., Signal]) -> Callable[..., Signal]:
    """The handler, also where time has an axis of length 1 beside it, as TensorFlow writes convolutions over time."""

    def run(node: Node, x: Any, *rest: Any) -> Signal:
        x, wide = signal_of(node, x), [*rest]
        kernel = floats(node, rest[0]).shape[2:] if rest else tuple(node.attributes["kernel_shape"])
        pads = node.attributes["pads"] or [0] * 4
        gone = [i for i in range(len(kernel)) if (kernel[i], x.shape[2 + i : 3 + i]) == (1, (1,))]
        if x.ids.ndim != 4 or len(kernel) != 2 or not gone or len(pads) != 4 or pads[gone[0]] or pads[gone[0] + 2]:
            return handler(node, x, *rest)
        (one, *_), kept = gone, 1 - gone[0]
        changed = {key: [value[kept]] for key, value in node.attributes.items() if key in _BY_AXIS and value}
        node = replace(node, attributes={**node.attributes, **changed, "pads": [pads[kept], pads[kept + 2]]})
        if rest:
            wide[0] = floats(node, rest[0]).squeeze(2 + one)
        found = handler(node, x.moved(x.ids.squeeze(2 + one)), *wide)
        return found.moved(np.expand_dims(found.ids, 2 + one))

    return run
