"""Layer normalization that a graph writes out in steps, as exporters did before ONNX had an operator for it.

(x - mean) / sqrt(variance + epsilon) gain + bias, or, as TensorFlow has it,
x s + (bias - mean s) with s = gain / sqrt(variance + epsilon)
"""

from __future__ import annotations

from typing import Any

from elman.checks import Array
from elman.interop.onnx.reading.branches import floats
from elman.interop.onnx.reading.features import whole
from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.signals import Constant, Signal, Statistic, Value
from elman.interop.onnx.reading.stages import Part

#: The operator and what comes in, and what comes out of it. Inputs of Add and Mul may come in either order.
_STEPS = {
    ("Neg", "mean"): "-mean",
    ("Sub", "x", "mean"): "centered",
    ("Pow", "centered", "numbers"): "squared",
    ("Mul", "centered", "centered"): "squared",
    ("ReduceMean", "squared"): "variance",
    ("Add", "variance", "numbers"): "variance",  # and epsilon
    ("Sqrt", "variance"): "deviation",
    ("Reciprocal", "deviation"): "inverse",
    ("Div", "numbers", "deviation"): "inverse",
    ("Mul", "inverse", "numbers"): "inverse",  # and the gain
    ("Mul", "x", "inverse"): "x inverse",
    ("Mul", "mean", "inverse"): "mean inverse",
    ("Mul", "-mean", "inverse"): "offset",
    ("Sub", "numbers", "mean inverse"): "offset",  # and the bias
    ("Add", "offset", "numbers"): "offset",  # and the bias
    ("Div", "centered", "deviation"): "normal",
    ("Mul", "centered", "inverse"): "normal",
    ("Add", "x inverse", "offset"): "normal",
    ("Sub", "x inverse", "mean inverse"): "normal",
}

#: The number that a step must have, where it is neither epsilon nor one a feature.
_NUMBERS = {("Pow", "squared"): 2, ("Div", "inverse"): 1}


def mean_of_features(node: Node, x: Signal) -> Statistic:
    """The first step."""
    whole(node, x)
    return Statistic("mean", x)


def statistic(node: Node, *values: Any) -> Value:
    """The next step, and the layer where it is the last one."""
    found = [value for value in values if isinstance(value, Statistic)]
    if not found:
        raise node.refused("its input", "a step of a layer normalization", "another value")
    of = found[0].signal
    op = "ReduceMean" if node.op == "GlobalAveragePool" else node.op
    kinds = [_kind(value, of) for value in values]
    backwards = kinds[::-1] if op in ("Add", "Mul") else kinds
    kind = _STEPS.get((op, *kinds)) or _STEPS.get((op, *backwards))
    numbers = next((floats(node, value) for value in values if isinstance(value, Constant)), None)
    wanted = _NUMBERS.get((op, str(kind)))
    gains = {id(value.gain): value.gain for value in found if value.gain is not None}
    is_apart = kind == "normal" and op in ("Add", "Sub") and len({id(value.gain) for value in found}) > 1
    if kind is None or is_apart or (numbers is not None and wanted is not None and (numbers != wanted).any()):
        must = "a step of a layer normalization, as its other inputs are"
        raise node.refused("what it computes", must, f"{node.op} of {' and '.join(kinds)}")
    return _next(node, kind, op, of, found, numbers, next(iter(gains.values()), None))


def _next(
    node: Node, kind: str, op: str, of: Signal, found: list[Statistic], numbers: Array | None, gain: Array | None
) -> Value:
    epsilon = max(value.epsilon for value in found)
    bias = next((value.bias for value in found if value.bias is not None), None)
    if numbers is not None and kind == "variance":
        if numbers.size != 1 or epsilon:
            raise node.refused("its epsilon", "one number, added once", f"{numbers.shape}")
        epsilon = float(numbers.item())
    elif numbers is not None and kind in ("inverse", "offset") and op != "Div":
        if (gain if kind == "inverse" else bias) is not None:
            raise node.refused("what it computes", "a gain, and then a bias, once", node.op)
        gain, bias = (numbers, bias) if kind == "inverse" else (gain, numbers)
    if kind != "normal":
        return Statistic(kind, of, epsilon, gain, bias)
    x, width = whole(node, of)
    arrays = {name: array for name, array in (("gain", gain), ("bias", bias)) if array is not None}
    for name, array in arrays.items():
        if array.shape[-1:] != (width,) or array.size != width:
            raise node.refused(f"its {name}", f"{width} numbers", f"{array.shape}")
    arrays = {name: array.ravel() for name, array in arrays.items()}
    return x.after(x.stage.then(Part("LayerNorm", {"size": width, "epsilon": epsilon}, arrays), node.place))


def _kind(value: Any, of: Signal) -> str:
    if isinstance(value, Statistic):
        return value.kind if value.signal is of else "that of another signal"
    if isinstance(value, Constant):
        return "numbers"
    return "x" if value is of else "another value"
