"""Operators on each number by itself: curves, and sums, products, quotients and powers with known numbers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from elman.cells.activations import Activation
from elman.checks import Array, FormatError
from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.joining import joined
from elman.interop.onnx.reading.known import floats, number, run
from elman.interop.onnx.reading.normalization import Statistic, statistic
from elman.interop.onnx.reading.parts import AFFINE, SUM, Part
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
    a, b = (_settled(value) for value in (a, b))
    if isinstance(a, Statistic) or isinstance(b, Statistic):
        return statistic(node, a, b)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return run(node, a, b)
    if isinstance(a, Unknown) or isinstance(b, Unknown):
        names = tuple(name for value in (a, b) if isinstance(value, Unknown) for name in value.names)
        return Unknown(names)
    if isinstance(a, Signal) and isinstance(b, Signal):
        if node.op in ("Div", "Pow"):
            raise node.refused("its inputs", "one known: no layer divides one signal by another", f"{node.op} of two")
        if node.op == "Sub":
            b = scaled(node, b, -1)
        return joined(node, "Multiply" if node.op == "Mul" else "Add", a, b)
    x, k = signal_of(node, b if isinstance(a, np.ndarray) else a), floats(node, a if isinstance(a, np.ndarray) else b)
    if node.op == "Pow" and isinstance(a, Signal):
        return _power(node, x, k)
    if node.op == "Pow" or (node.op == "Div" and isinstance(b, Signal)):
        raise node.refused("the operator", "a sum, a product, a power or a quotient by known numbers", node.op)
    with np.errstate(all="ignore"):
        if node.op in ("Mul", "Div"):
            return _product(node, x, k if node.op == "Mul" else 1 / k, k if node.op == "Div" else 1 / k)
    if node.op == "Sub" and isinstance(b, Signal):
        x = scaled(node, x, -1)
    return _sum(node, x, -k if node.op == "Sub" and isinstance(a, Signal) else k)


def _settled(value: Any) -> Any:
    """Constants alone among positions as the array that they are."""
    if isinstance(value, Signal) and value.ids.size and (value.ids < 0).all():
        return value.flow.constants(value.ids)
    return value


def _sum(node: Node, x: Signal, k: Array) -> Signal:
    """With what is far below, where a mask says so, or with numbers."""
    far = k <= FAR_BELOW
    if (far | (k == 0)).all() and not (far.all() and k.size):
        return _set(node, x, far, -np.inf)
    return _by_features(node, x, "shift", k)


def _product(node: Node, x: Signal, k: Array, counts: Array) -> Signal:
    """A mean, where x is a sum over time; with 0 and 1, as a mask has them; or with numbers."""
    total = x.flow.stage_of(x.ids)
    if total is not None and total.kind == SUM:
        return _mean(node, x, total, counts)
    if ((k == 0) | (k == 1)).all():
        return _set(node, x, k == 0, 0.0)
    return _by_features(node, x, "scale", k)


def _set(node: Node, x: Signal, gone: Array, number: float) -> Signal:
    """The signal with a number in some places."""
    node.take(8 * max(x.ids.size, gone.size))
    ids, gone = np.broadcast_arrays(x.ids, gone)
    return x.moved(np.where(gone, x.flow.code(number), ids) if gone.any() else ids)


def _by_features(node: Node, x: Signal, name: str, k: Array) -> Signal:
    """Times one number or plus one, or with one for each feature."""
    wide = [axis - k.ndim for axis, length in enumerate(k.shape) if length > 1]
    if not k.size or (k == k.flat[0]).all():
        one = float(k.flat[0]) if k.size else 0.0
        return scaled(node, x, one) if name == "scale" else scaled(node, x, 1, one)
    if len(wide) > 1 or k.ndim > x.ids.ndim or x.shape[wide[0]] not in (1, k.shape[wide[0]]):
        raise node.refused("its numbers", f"one number, or one for each feature of {x.shape}", f"{k.shape}")
    node.take(8 * x.ids.size * k.size)
    ids, _ = np.broadcast_arrays(x.ids, k)
    found = view(node, x.moved(ids), wide[0] % ids.ndim, spread=True)
    vector = k.ravel().astype(k.dtype if k.dtype.kind == "f" else np.float32)
    fill = 0 if found.fill == 0 and name == "scale" else UNKNOWN
    return found.then(node, Part("Scale", {}, {name: vector}), fill=fill)


def _mean(node: Node, x: Signal, total: Stage, counts: Array) -> Signal:
    """A sum over time divided by how many steps it is of."""
    assert total.part is not None
    flow, name = x.flow, total.part.lengths
    steps = flow.lengths[name] if name else np.full(1, total.part.config["steps"])
    ids, counts = np.broadcast_arrays(x.ids, counts)
    batch = flow.places(ids, total)[0] if name and len(total.axes) > 1 else np.zeros(ids.shape, np.int64)
    if not np.allclose(counts, steps[batch], rtol=1e-6):
        must = (
            f"a sum over time, and {'the lengths of its sequences, (batch, 1)' if name else 'how many steps it is of'}"
        )
        raise node.refused("its inputs", must, "others")
    stage = flow.add(Part("MeanOverTime", lengths=name), total.reads, node.place, total.axes, key=("mean", name))
    return x.moved(ids - total.first + stage.first)


def _power(node: Node, x: Signal, array: Array) -> Signal:
    """Powers as products, and the square root."""
    power = float(array.item()) if array.size == 1 else 0.0
    if power == 0.5:
        return activated(node, x, "sqrt")
    if not (power.is_integer() and 1 <= power <= 8):
        raise node.refused("its power", "a whole number from 1 to 8, or 1/2", f"{array.ravel()[:4].tolist()}")
    return x if power == 1 else joined(node, "Multiply", *[x] * int(power))


def clip(node: Node, x: Any, low: Any = None, high: Any = None) -> Any:
    """Between two numbers, or over the lower: a relu or a hard sigmoid, moved and stretched."""
    x = signal_of(node, x)
    given = [
        node.attributes.get(name) if value is None else number(node, value)
        for name, value in (("min", low), ("max", high))
    ]
    bottom, top = (None if value is None or abs(value) > 1e38 else float(value) for value in given)
    if bottom is None or (top is not None and top <= bottom):
        raise node.refused("its bounds", "a lower one, or two with the upper over it", f"{given}")
    if top is None:
        return scaled(node, activated(node, scaled(node, x, 1, -bottom), Activation("relu")), 1, bottom)
    wide = top - bottom
    y = activated(node, x, Activation("hard_sigmoid", alpha=1 / wide, beta=-bottom / wide))
    return scaled(node, scaled(node, y, wide), 1, bottom)


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
    sign = 1 if node.op == "Max" else -1  # min(x, k) = -max(-x, -k)
    y = clip(replace(node, attributes={}), scaled(node, signals[0], sign), np.asarray(sign * numbers[0]))
    return scaled(node, y, sign)


def where(node: Node, condition: Any, a: Any, b: Any) -> Any:
    """One or the other, as known truths say."""
    if not isinstance(condition, np.ndarray):
        raise node.refused("its condition", "known, or made of lengths", f"what comes from {condition.place}")
    signals = [value for value in (a, b) if isinstance(value, Signal)]
    flow = signals[0].flow
    both = [value.ids if isinstance(value, Signal) else flow.codes(node, floats(node, value)) for value in (a, b)]
    node.take(8 * int(np.prod(np.broadcast_shapes(condition.shape, *(each.shape for each in both)))))
    return replace(signals[0], ids=np.where(condition, *both))
