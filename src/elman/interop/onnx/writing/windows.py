"""Convolutions and pools over windows as operators of ONNX, which want (batch, features, time).

What stands after the end of a sequence is taken out before a window sees it, where it could.
"""

from __future__ import annotations

from typing import Any

from elman.interop.onnx.writing.activations import activate
from elman.interop.onnx.writing.nodes import Graph, Steps, Value
from elman.interop.onnx.writing.time import last_steps, lengths64, ordered, without_padding
from elman.layers import AveragePool1d, Conv1d, MaxPool1d
from elman.layers.windows import Windows


def convolution(graph: Graph, layer: Conv1d, x: Value) -> Value:
    weights = graph.weight("W", layer.parameters["W"].transpose(2, 1, 0)), graph.weight("b", layer.parameters["b"])
    windows = Windows(layer.width, layer.stride, layer.dilation, layer.padding)
    steps, seen = x.steps, windows
    states: tuple[str, ...] = ()
    if layer.stateful:
        x, states, seen = _continued(graph, layer, x, windows)

    name, attributes = _windowed(graph, x, seen, 0)
    attributes |= {"dilations": [layer.dilation]} if layer.dilation > 1 else {}
    y = graph.add("Conv", name, *weights, **attributes)
    return Value(activate(graph, y, layer.activation), 2, _fewer(graph, steps, windows, y), states)


def _continued(graph: Graph, layer: Conv1d, x: Value, windows: Windows) -> tuple[Value, tuple[str, ...], Windows]:
    """What a causal convolution sees after its last inputs, and those after it; 0 comes from the operator."""
    place, count = graph.stateful, windows.span - 1
    graph.stateful += 1
    shape = (1, "batch", count * (layer.input_size or 0))
    x, before = ordered(graph, x, 1), graph.begin
    if graph.states and not before:
        before = (f"state_{place}_x",)
        doc = f"the last {count} inputs of {graph.scope} before the first step, the oldest first"
        graph.inputs.append(graph.port(before[0], shape, doc))
    past = ""
    if before:
        sizes = graph.integers(0, count, layer.input_size or 0)
        past = graph.add("Reshape", graph.squeeze(before[0], 0), sizes)
    last = f"next_state_{place}_x" if graph.states else f"{graph.scope}/X"
    steps = last_steps(graph, x, count, past)
    graph.add_many("Unsqueeze", [steps, graph.integers(0)], [last])
    if graph.states:
        graph.outputs.append(graph.port(last, shape, f"the last inputs of {graph.scope} after the last step"))
    if not before:
        return x, (last,), windows
    return x.at(graph.add("Concat", past, x.name, axis=1)), (last,), windows._replace(padding="valid")


def max_pool(graph: Graph, layer: MaxPool1d, x: Value) -> Value:
    windows = _windows(layer)
    name, attributes = _windowed(graph, x, windows, -float("inf"))
    y = graph.add("MaxPool", name, **attributes)
    return Value(y, 2, _fewer(graph, x.steps, windows, y))


def average_pool(graph: Graph, layer: AveragePool1d, x: Value) -> Value:
    windows = _windows(layer)

    def pooled(x: Value, **more: int) -> str:
        name, attributes = _windowed(graph, x, windows, 0)
        return graph.add("AveragePool", name, **attributes, **more)

    if not x.steps.lengths or not _reaches_past_the_end(windows):
        y = pooled(x)
    else:  # the operator counts what stands after a sequence: means are divided by those of 1 at each real step
        sizes = graph.add("Shape", ordered(graph, x, 1).name, start=0, end=2)
        ones = graph.add("Expand", graph.number(1), graph.add("Concat", sizes, graph.integers(1), axis=0))
        counted = [pooled(each, count_include_pad=1) for each in (x, Value(ones, 1, x.steps))]
        y = graph.add("Div", *counted)
    return Value(y, 2, _fewer(graph, x.steps, windows, y))


def _windows(layer: MaxPool1d | AveragePool1d) -> Windows:
    return Windows(layer.width, layer.stride or layer.width, 1, layer.padding)


def _reaches_past_the_end(windows: Windows) -> bool:
    """Whether a window may hold what stands after the end of a sequence."""
    return windows.padding == "same" or (isinstance(windows.padding, tuple) and windows.padding[1] > 0)


def _windowed(graph: Graph, x: Value, windows: Windows, nothing: float) -> tuple[str, dict[str, Any]]:
    """What an operator over windows reads, with `nothing` where there is no step, and its attributes."""
    if _reaches_past_the_end(windows):
        x = without_padding(graph, x, nothing)
    attributes: dict[str, Any] = {"kernel_shape": [windows.width], "strides": [windows.stride]}
    around = windows.span - 1
    pads = {"same": (around // 2, around - around // 2), "causal": (around, 0), "valid": (0, 0)}
    if windows.padding != "same" or windows.stride == 1 or windows.span < 3:
        sides = pads[windows.padding] if isinstance(windows.padding, str) else windows.padding
        attributes |= {"pads": [*sides]} if any(sides) else {}
    elif x.steps.lengths or windows.dilation > 1 or windows.stride > windows.span:
        x = _moved(graph, x, windows, nothing)
    else:
        attributes["auto_pad"] = "SAME_UPPER"
    return ordered(graph, x, 2).name, attributes


def _moved(graph: Graph, x: Value, windows: Windows, nothing: float) -> Value:
    """Sequences with what "same" sets around each of them: how much that is depends on its length."""
    x, steps, span, stride = ordered(graph, x, 1), x.steps, windows.span, windows.stride
    time = graph.add("Shape", x.name, start=1, end=2)
    lengths = lengths64(graph, steps) if steps.lengths else time
    count = _quotient(graph, lengths, stride - 1, stride)
    needed = graph.add("Mul", graph.add("Sub", count, graph.integers(1)), graph.integers(stride))
    needed = graph.add("Sub", graph.add("Add", needed, graph.integers(span)), lengths)
    before = graph.add("Div", graph.add("Max", needed, graph.integers(0)), graph.integers(2))
    last = graph.add("Squeeze", graph.add("Add", time, graph.integers(span - 1)))
    places = graph.add("Range", graph.integer(0), last, graph.integer(1))
    first = graph.unsqueeze(graph.add("Sub", graph.integers(span), before), 1)
    rows = graph.add("Add", first, places)  # (batch, time), or (1, time)
    padded = graph.add("Pad", x.name, graph.integers(0, span, 0, 0, span, 0), graph.number(nothing))
    if steps.lengths:
        return x.at(graph.add("GatherND", padded, graph.unsqueeze(rows, 2), batch_dims=1))
    return x.at(graph.add("Gather", padded, graph.squeeze(rows, 0), axis=1))


def _fewer(graph: Graph, steps: Steps, windows: Windows, y: str) -> Steps:
    """The steps of what comes out, where there are not as many as before."""
    if windows.keeps_lengths:
        return steps
    key, lengths = f"/{graph.scope}", ""
    if steps.lengths:
        sides = windows.padding if isinstance(windows.padding, tuple) else (0, 0)
        least = windows.span - sum(sides) if windows.padding not in ("same", "causal") else 1
        count = _quotient(graph, lengths64(graph, steps), windows.stride - least, windows.stride)
        lengths = graph.add("Cast", graph.shared(f"lengths{key}", lambda: count), to=6)  # 6 is INT32
    return Steps(y, lengths, key, axis=2)


def _quotient(graph: Graph, number: str, more: int, by: int) -> str:
    """(number + more) / by, rounded down."""
    return graph.add("Div", graph.add("Add", number, graph.integers(more)), graph.integers(by))
