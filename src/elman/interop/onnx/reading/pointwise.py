"""Operators on each number by itself: curves, and sums, products, quotients and powers with known numbers."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from elman.cells.activations import Activation
from elman.checks import Array, FormatError
from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.joining import joined
from elman.interop.onnx.reading.known import floats, number, run
from elman.interop.onnx.reading.parts import AFFINE, LINEAR, SUM, Part
from elman.interop.onnx.reading.positions import UNKNOWN, Signal, Stage, Unknown, signal_of
from elman.interop.onnx.reading.views import feature_position, view
from elman.layers import Activate

#: Under which no score of a step counts.
FAR_BELOW = -1e4


def mapped(node: Node, x: Signal, part: Part, change: Callable[[float], float]) -> Signal:
    """A layer on each number by itself; `change` is what it makes of constants.

    Where some steps or features alone are read, they are taken first.
    """
    flow = x.flow
    sources = flow.sources(x.ids)
    if len(sources) != 1 or sources[0].size != x.ids.size:
        try:
            found = view(node, x, feature_position(x), spread=True)
        except FormatError:
            pass  # the layer stands before what takes it apart, such as states of several layers
        else:
            return found.then(node, part, fill=UNKNOWN if found.fill is None else change(found.fill))
    ids, constant = x.ids.copy(), x.ids < 0
    codes, at = np.unique(ids[constant], return_inverse=True)
    ids[constant] = np.array([flow.code(change(flow.number(int(code)))) for code in codes], np.int64)[at]
    for stage in sources:
        ids[stage.holds(x.ids)] += flow.then(stage, part, node.place).first - stage.first
    return x.moved(ids)


def activated(node: Node, x: Any, activation: Activation | str) -> Signal:
    """An activation, by itself or with its numbers."""
    config = activation if isinstance(activation, str) else activation.to_config()

    def change(value: float) -> float:
        y, _ = Activate(activation)(np.full((1, 1), value))
        return float(y[0, 0])

    return mapped(node, signal_of(node, x), Part("Activate", {"activation": config}), change)


def scaled(node: Node, x: Signal, scale: float = 1.0, shift: float = 0.0) -> Signal:
    """Each number times one, plus one."""
    if (scale, shift) == (1, 0):
        return x
    part = Part(AFFINE, {"scale": float(scale), "shift": float(shift)})
    return mapped(node, x, part, lambda value: scale * value + shift)


def arithmetic(node: Node, a: Any, b: Any) -> Any:
    """Add, Sub, Mul, Div and Pow."""
    names = tuple(name for value in (a, b) if isinstance(value, Unknown) for name in value.names)
    if names:
        return Unknown(names)
    dtype = next((value.dtype for value in (a, b) if isinstance(value, np.ndarray)), np.dtype(np.float64))
    a, b = (value if isinstance(value, np.ndarray) else _settled(signal_of(node, value), dtype) for value in (a, b))
    signals = [value for value in (a, b) if isinstance(value, Signal)]
    if not signals:
        return run(node, a, b)
    if node.op in ("Div", "Pow") and isinstance(b, Signal):
        raise node.refused("its divisor or exponent", "known: no layer divides by what another gives", b.place)
    with np.errstate(all="ignore"):
        if node.op == "Sub":
            b = scaled(node, b, -1) if isinstance(b, Signal) else np.asarray(-floats(node, b))
        elif node.op == "Div":
            b = np.asarray(1 / floats(node, b))
    if len(signals) == 2:
        return joined(node, "Multiply" if node.op == "Mul" else "Add", a, b)
    x, k = (a, floats(node, b)) if isinstance(a, Signal) else (b, floats(node, a))
    x = _repeated(node, x, k)
    if node.op == "Pow":
        return _power(node, x, k)
    return _product(node, x, k) if node.op in ("Mul", "Div") else _sum(node, x, k)


def _settled(value: Signal, dtype: np.dtype[Any]) -> Signal | Array:
    """Constants alone among positions as the array that they are, in the dtype of what stands beside them."""
    return value.flow.constants(value.ids).astype(dtype) if value.ids.size and (value.ids < 0).all() else value


def _repeated(node: Node, x: Signal, k: Array) -> Signal:
    """The signal in the shape that it has beside an array."""
    ids, _ = np.broadcast_arrays(x.ids, k)
    node.take(8 * (ids.size - x.ids.size))
    return x.moved(ids)


def _sum(node: Node, x: Signal, k: Array) -> Signal:
    """With what is far below, where a mask says so, or with numbers."""
    far = k <= FAR_BELOW
    if (far | (k == 0)).all() and not (far.all() and k.size):
        return _set(x, far, -np.inf)
    return _by_features(node, x, "shift", k)


def _product(node: Node, x: Signal, k: Array) -> Signal:
    """A mean, where x is a sum over time; with 0 and 1, as a mask has them; or with numbers."""
    total = x.flow.stage_of(x.ids)
    if total is not None and total.kind == SUM:
        return _mean(node, x, total, k)
    if ((k == 0) | (k == 1)).all():
        return _set(x, k == 0, 0.0)
    return _by_features(node, x, "scale", k)


def _set(x: Signal, gone: Array, number: float) -> Signal:
    """The signal with a number in some places."""
    return x.moved(np.where(gone, x.flow.code(number), x.ids)) if gone.any() else x


def _by_features(node: Node, x: Signal, name: str, k: Array) -> Signal:
    """Times one number or plus one, or with one for each feature."""
    biased = _with_bias(x, k) if name == "shift" else None
    if biased is not None:
        return biased
    wide = [axis - k.ndim for axis, length in enumerate(k.shape) if length > 1]
    if not k.size or (k == k.flat[0]).all():
        one = float(k.flat[0]) if k.size else 0.0
        return scaled(node, x, one) if name == "scale" else scaled(node, x, 1, one)
    if len(wide) > 1:
        raise node.refused("its numbers", f"one number, or one for each feature of {x.shape}", f"{k.shape}")
    found = view(node, x, wide[0] % x.ids.ndim, spread=True)
    vector = k.ravel().astype(k.dtype if k.dtype.kind == "f" else np.float32)
    fill = 0 if found.fill == 0 and name == "scale" else UNKNOWN
    return found.then(node, Part("Scale", {}, {name: vector}), fill=fill)


def _with_bias(x: Signal, k: Array) -> Signal | None:
    """The product of which k is the bias; None where it is none, or has one."""
    stage, *others = x.flow.sources(x.ids)
    part, features = stage.part, x.flow.places(x.ids, stage)[-1]
    if others or part is None or part.kind not in LINEAR or "b" in part.arrays:
        return None
    gone, numbers = x.ids < 0, np.broadcast_to(k, x.shape)
    bias = np.zeros(stage.width, part.arrays["W"].dtype)
    bias[features[~gone]] = numbers[~gone]
    if not (gone | (bias[features] == numbers)).all():
        return None
    made = x.flow.add(replace(part, arrays={**part.arrays, "b": bias}), stage.reads, stage.place, stage.axes)
    return x.moved(np.where(gone, x.flow.code(UNKNOWN), x.ids - stage.first + made.first))


def _mean(node: Node, x: Signal, total: Stage, k: Array) -> Signal:
    """A sum over time divided by how many steps it is of."""
    assert total.part is not None
    flow, name = x.flow, total.part.lengths
    steps = flow.lengths[name] if name else np.full(1, total.part.config["steps"])
    batch = flow.places(x.ids, total)[0] if name and len(total.axes) > 1 else np.zeros(x.shape, np.int64)
    if not np.allclose(k * steps[batch], 1, rtol=1e-6, atol=0):
        of = "the lengths of its sequences, (batch, 1)" if name else "how many steps it is of"
        raise node.refused("its inputs", f"a sum over time, and {of}", "others")
    stage = flow.add(Part("MeanOverTime", lengths=name), total.reads, node.place, total.axes, key=("mean", name))
    return x.moved(x.ids - total.first + stage.first)


def _power(node: Node, x: Signal, array: Array) -> Signal:
    """Powers as products, and the square root."""
    power = float(array.item()) if array.size == 1 else 0.0
    if power == 0.5:
        return activated(node, x, "sqrt")
    if not (power.is_integer() and 1 <= power <= 8):
        raise node.refused("its power", "a whole number from 1 to 8, or 1/2", f"{array.ravel()[:4].tolist()}")
    return x if power == 1 else joined(node, "Multiply", *[x] * int(power))


def clip(node: Node, x: Any, *bounds: Any) -> Any:
    """Over a number, under one, or between two: a relu or a hard sigmoid, moved and stretched."""
    x = signal_of(node, x)
    given = [
        node.attributes.get(name) if value is None else number(node, value)
        for name, value in itertools.zip_longest(("min", "max"), bounds)
    ]
    low, high = (None if value is None or abs(value) > 1e38 else float(value) for value in given)
    if low is not None and high is not None:
        wide = high - low
        if wide <= 0:
            raise node.refused("its bounds", "the upper over the lower", f"{given}")
        y = activated(node, x, Activation("hard_sigmoid", alpha=1 / wide, beta=-low / wide))
        return scaled(node, scaled(node, y, wide), 1, low)
    sign, bound = (1.0, low) if high is None else (-1.0, high)  # min(x, k) = -max(-x, -k)
    if bound is None:
        return x
    above = activated(node, scaled(node, x, sign, -sign * bound), Activation("relu"))
    return scaled(node, above, sign, bound)


def several(node: Node, *values: Any) -> Any:
    """Sum and Mean of any number of values; Max and Min of one and a number."""
    if node.op in ("Sum", "Mean"):
        total = functools.reduce(functools.partial(arithmetic, replace(node, op="Add")), values)
        count = np.array([len(values)], np.float32)
        return total if node.op == "Sum" else arithmetic(replace(node, op="Div"), total, count)
    signals = [value for value in values if isinstance(value, Signal)]
    numbers = [value for value in values if isinstance(value, np.ndarray) and value.size == 1]
    if len(signals) != 1 or len(values) != 2 or not numbers:
        raise node.refused("its inputs", "one output of a layer and one known number", f"{len(values)} values")
    return clip(node, _repeated(node, signals[0], numbers[0]), *[None] * (node.op == "Min"), *numbers)


def where(node: Node, condition: Any, a: Any, b: Any) -> Any:
    """One or the other, as known truths say."""
    if not isinstance(condition, np.ndarray):
        raise node.refused("its condition", "known, or made of lengths", f"what comes from {condition.place}")
    signals = [value for value in (a, b) if isinstance(value, Signal)]
    flow = signals[0].flow
    both = [value.ids if isinstance(value, Signal) else flow.codes(node, floats(node, value)) for value in (a, b)]
    node.take(8 * int(np.prod(np.broadcast_shapes(condition.shape, *(each.shape for each in both)))))
    return replace(signals[0], ids=np.where(condition, *both))
