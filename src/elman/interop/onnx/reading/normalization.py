"""Batch normalization; and layer normalization that a graph writes out: a mean over the features, and what follows it.

The steps are run on drawn rows. Once the result is (x - mean) / sqrt(variance + epsilon), times a gain, plus a bias,
for some numbers, it is the layer with these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from elman.checks import Array
from elman.interop.onnx.reading.graph import Node, as_meant
from elman.interop.onnx.reading.known import axis_of, floats, run
from elman.interop.onnx.reading.parts import Part
from elman.interop.onnx.reading.positions import Signal, signal_of
from elman.interop.onnx.reading.views import view

_ROWS = 8

#: The operators that can be steps of it.
STEPS = {
    *("Add", "Div", "GlobalAveragePool", "Mul", "Neg", "Pow", "Reciprocal", "ReduceMean", "ReduceSum", "Sqrt", "Sub"),
    "Sum",
}


@dataclass(frozen=True, eq=False)
class Statistic:
    """A step on the way to a normalization of the last axis of `x`: of the drawn rows, and what it is of them."""

    x: Signal
    rows: Array
    values: Array
    epsilons: tuple[float, ...] = (0.0,)
    dtype: Any = np.float32
    place: str = "a step of a layer normalization that is used elsewhere too"


def mean_of_features(node: Node, x: Signal) -> Statistic:
    """The mean of the last axis, with which a normalization begins."""
    shape = (*(min(n, 2) for n in x.shape[:-2]), _ROWS, x.shape[-1])  # so that a mean over other axes is seen
    node.take(16 * math.prod(shape))
    rows = np.random.default_rng(0).standard_normal(shape)
    return Statistic(x, rows, rows.mean(-1, keepdims=bool(node.attributes.get("keepdims", 1))))


def statistic(node: Node, *given: Any) -> Statistic | Signal:
    """The next step, or the normalization."""
    first = next(value for value in given if isinstance(value, Statistic))
    values, epsilons, dtype = [], [*first.epsilons], first.dtype
    for value in given:
        if isinstance(value, Signal):
            value = Statistic(value, first.rows, first.rows)
        if isinstance(value, Statistic):
            if not np.array_equal(value.x.ids, first.x.ids):
                raise node.refused("a step of a layer normalization", "of one signal", "of two")
            epsilons += value.epsilons
            value = value.values
        elif isinstance(value, np.ndarray):
            if value.size == 1 and node.op in ("Add", "Sum"):
                epsilons.append(float(value.item()))
            if value.dtype.kind == "f":
                dtype, value = np.result_type(dtype, value.dtype), value.astype(np.float64)
        values.append(value)
    found = replace(first, values=run(node, *values), epsilons=tuple(dict.fromkeys(epsilons)), dtype=dtype)
    return _normalized(node, found) or found


def _normalized(node: Node, found: Statistic) -> Signal | None:
    rows, values = (array.reshape(-1, array.shape[-1]) if array.ndim else array for array in (found.rows, found.values))
    if rows.shape != values.shape or rows.shape[-1] < 2:
        return None
    centered = rows - rows.mean(-1, keepdims=True)
    for epsilon in found.epsilons:
        z = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + epsilon)
        around, mean = z - z.mean(0), values.mean(0)
        gain = (around * (values - mean)).sum(0) / (around**2).sum(0)
        bias = mean - gain * z.mean(0)
        if np.abs(gain * z + bias - values).max() > 1e-9 * max(1.0, float(np.abs(values).max())):
            continue
        arrays = {"gain": gain.astype(found.dtype), "bias": (bias + 0.0).astype(found.dtype)}
        arrays = {name: array for name, array in arrays.items() if np.abs(array - (name == "gain")).max() > 1e-12}
        return _layer_norm(node, found.x, arrays, as_meant(epsilon))
    return None


def _layer_norm(node: Node, x: Signal, arrays: dict[str, Array], epsilon: float) -> Signal:
    return view(node, x, x.ids.ndim - 1).then(
        node, Part("LayerNorm", {"size": x.shape[-1], "epsilon": epsilon}, arrays)
    )


def layer_norm(node: Node, x: Any, *given: Any) -> Signal:
    """The operator that is one."""
    x = signal_of(node, x)
    if axis_of(node, node.attributes["axis"], x.ids.ndim) != x.ids.ndim - 1:
        raise node.refused("the attribute 'axis'", "that of the features, the last", f"{node.attributes['axis']}")
    arrays = {
        name: floats(node, value) for name, value in zip(("gain", "bias"), given, strict=False) if value is not None
    }
    return _layer_norm(node, x, arrays, node.attributes["epsilon"])


def batch_norm(node: Node, x: Any, *given: Any) -> Signal:
    """With the running mean and variance."""
    x = signal_of(node, x)
    names = ("gain", "bias", "mean", "variance")
    arrays = {name: floats(node, value) for name, value in zip(names, given, strict=True)}
    if node.attributes.get("training_mode"):
        raise node.refused("the attribute 'training_mode'", "0", "1")
    found, momentum = view(node, x, 1), round(1 - node.attributes["momentum"], 9)
    config = {"size": found.stage.width, "momentum": momentum, "epsilon": node.attributes["epsilon"]}
    return found.then(node, Part("BatchNorm", config, arrays))
