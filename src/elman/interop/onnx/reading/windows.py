"""Operators over windows of time, (batch, features, time): convolutions and pools; and batch normalization."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from elman.interop.onnx.reading.axes import Handler
from elman.interop.onnx.reading.branches import floats
from elman.interop.onnx.reading.features import take_role, time_axis, whole
from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.operators import dense
from elman.interop.onnx.reading.padding import padding_of
from elman.interop.onnx.reading.signals import WITH_ZEROS, Constant, Group, Signal, signal_of
from elman.interop.onnx.reading.sizes import Size
from elman.interop.onnx.reading.stages import Axis, Part

_SHORT = {"SAME_UPPER": "same", "VALID": "valid"}


def conv(node: Node, x: Any, W: Any, B: Any = None) -> Signal:
    """A convolution over time; of one vector a product."""
    x, kernel = signal_of(node, x), floats(node, W)
    if kernel.ndim != 3 or len(x.axes) != 3:
        raise node.refused("its input", "(batch, features, time), over one axis", f"{tuple(x.lengths)}")
    x, width = whole(node, x, 1)
    if node.attributes["group"] != 1 or kernel.shape[1] != width:
        got = f"group {node.attributes['group']}, and weights {kernel.shape} for {width} features"
        raise node.refused("what it computes", "of all features together: group 1", got)
    bias = {} if B is None else {"b": floats(node, B)}
    if any(array.shape != kernel.shape[:1] for array in bias.values()):
        raise node.refused("its bias", f"({len(kernel)},)", f"{bias['b'].shape}")
    dilation = (node.attributes["dilations"] or [1])[0]
    if not x.axes[2] and kernel.shape[2] == 1:
        return dense(node, x, kernel[:, :, 0].T, bias.get("b"), 1)
    options, time, lengths = _windows(node, x, kernel.shape[2], dilation)
    node.take(kernel.nbytes)
    features: Group = (Axis(len(kernel), "features"),)
    config = {
        "input_size": width,
        "output_size": len(kernel),
        "activation": "identity",
        "dilation": dilation,
        **options,
    }
    part = Part("Conv1d", config, {"W": kernel.transpose(2, 1, 0), **bias}, lengths)
    return x.after(x.stage.then(part, node.place, features), (x.axes[0], features, time))


def pool(node: Node, x: Any) -> Signal:
    """The largest value, or the mean, of windows."""
    x, _ = whole(node, signal_of(node, x), 1)
    more = {key: node.attributes.get(key) for key in ("ceil_mode", "storage_order")}
    if any(more.values()) or any(d != 1 for d in node.attributes.get("dilations") or []) or len(node.outputs) > 1:
        raise node.refused("its attributes", "without ceil_mode, storage_order, dilations, and its indices", "some")
    if len(x.axes) != 3 or len(node.attributes["kernel_shape"]) != 1:
        raise node.refused("its input", "(batch, features, time), over one axis", f"{tuple(x.lengths)}")
    config, time, lengths = _windows(node, x, node.attributes["kernel_shape"][0], 1)
    if node.attributes.get("count_include_pad") and config["padding"] != "valid":
        raise node.refused("the attribute 'count_include_pad'", "0, as what is set around is no step", "1")
    if any(axis.role == WITH_ZEROS for axis in x.axes[2]):
        raise node.refused("its input", "without zeros around the steps, which would be steps", "with them")
    part = Part({"MaxPool": "MaxPool1d"}.get(node.op, "AveragePool1d"), config, lengths=lengths)
    return x.after(x.stage.then(part, node.place), (*x.axes[:2], time))


def _windows(node: Node, x: Signal, width: int, dilation: int) -> tuple[dict[str, Any], Group, str]:
    """Width, stride and padding as elman has them; the axis of time that comes out; and who says how long it is."""
    stride, span = (node.attributes["strides"] or [1])[0], (width - 1) * dilation
    (axis,) = x.axes[2] if len(x.axes[2]) == 1 else (None,)
    left, right = axis.zeros if axis is not None and axis.role == WITH_ZEROS else (0, 0)
    if axis is None or not (left or right or time_axis(node, x, 2)):
        raise node.refused("its last axis", "that of time", f"{list(x.axes[2]) or 1}")
    for other in x.axes[0]:
        take_role(node, other, "batch")
    auto = node.attributes["auto_pad"]
    pads = node.attributes["pads"] or [0, 0]
    if auto == "SAME_LOWER" and stride == 1:
        pads = [span - span // 2, span // 2]
    elif auto in _SHORT and (left, right) == (0, 0):
        padding: Any = _SHORT[auto]
    elif auto != "NOTSET" or min(pads) < 0 or len(pads) != 2:
        raise node.refused("its padding", "SAME_UPPER, VALID, or two numbers from 0 up", f"{auto}, {pads}")
    if auto not in _SHORT:
        left, right = left + pads[0], right + pads[1]
        named: dict[tuple[int, int], str] = {}
        if stride == 1:
            named = {(span // 2, span - span // 2): "same", (span, 0): "causal"}
        named[0, 0] = "valid"
        padding = named.get((left, right), (left, right))
    around = span if padding in ("same", "causal") else 0 if padding == "valid" else left + right
    free = axis.length - sum(axis.zeros) + around - span  # windows of stride 1
    time = free if stride == 1 else (free - 1) // stride + 1 if isinstance(free, int) else None
    if isinstance(time, int) and time < 1:
        raise node.refused("its windows", f"within the {axis.length} steps", f"a width of {span + 1}")
    found: Group = (Axis(Size.named(f"steps of {node.outputs[0]}") if time is None else time, "time"),)
    lengths = padding_of(node, x)
    keeps = stride == 1 and around == span
    if lengths and not keeps:
        raise node.refused("what it takes over time", "as many windows as steps, where lengths are an input", "fewer")
    return {"width": width, "stride": stride, "padding": padding}, found, lengths


def batch_norm(node: Node, x: Any, *given: Any) -> Signal:
    """With the running mean and variance."""
    x, width = whole(node, signal_of(node, x), 1)
    names = ("gain", "bias", "mean", "variance")
    arrays = {name: floats(node, value) for name, value in zip(names, given, strict=True)}
    if node.attributes.get("training_mode") or any(array.shape != (width,) for array in arrays.values()):
        got = f"{[array.shape for array in arrays.values()]}, training_mode {node.attributes.get('training_mode')}"
        raise node.refused("its statistics", f"({width},), and training_mode 0", got)
    momentum = round(1 - node.attributes["momentum"], 9)
    config = {"size": width, "momentum": momentum, "epsilon": node.attributes["epsilon"]}
    return x.after(x.stage.then(Part("BatchNorm", config, arrays), node.place))


def _over_one_axis(handler: Handler) -> Handler:
    """The handler, also where time has an axis of length 1 beside it, as TensorFlow writes convolutions over time."""

    def run(node: Node, x: Any, *rest: Any) -> Signal:
        x, wide = signal_of(node, x), [*rest]
        kernel = floats(node, rest[0]).shape[2:] if rest else tuple(node.attributes["kernel_shape"])
        pads = node.attributes["pads"] or [0] * 4
        gone = [i for i in range(len(kernel)) if (kernel[i], x.axes[2 + i : 3 + i]) == (1, ((),))]
        if len(x.axes) != 4 or len(kernel) != 2 or not gone or len(pads) != 4 or pads[gone[0]] or pads[gone[0] + 2]:
            return handler(node, x, *rest)
        (one, *_), kept = gone, 1 - gone[0]
        changed = {key: [value[kept]] for key, value in node.attributes.items() if key in _BY_AXIS and value}
        node = replace(node, attributes={**node.attributes, **changed, "pads": [pads[kept], pads[kept + 2]]})
        if rest:
            wide[0] = Constant(floats(node, rest[0]).squeeze(2 + one))
        found = handler(node, x.moved([*x.axes[: 2 + one], *x.axes[3 + one :]]), *wide)
        return found.moved([*found.axes[: 2 + one], (), *found.axes[2 + one :]])

    return run


_BY_AXIS = ("dilations", "kernel_shape", "strides")  # attributes with a number for each axis

WINDOWS = {
    **dict.fromkeys(("AveragePool", "MaxPool"), _over_one_axis(pool)),
    "BatchNormalization": batch_norm,
    "Conv": _over_one_axis(conv),
}
