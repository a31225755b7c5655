"""Operators on each number by itself: curves, and sums, products, quotients and powers with known numbers."""

from __future__ import annotations

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
from elman.interop.onnx.reading.positions import UNKNOWN, Signal, Unknown, signal_of
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
            fill = found.fill
            return found.signal(flow.then(found.stage, part, node.place), UNKNOWN if fill is None else change(fill))
    ids = flow.mapped(x.ids, change)
    for stage in sources:
        own = (x.ids >= stage.first) & (x.ids < stage.first + stage.size)
        ids[own] += flow.then(stage, part, node.place).first - stage.first
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
    x, known = (b, a) if isinstance(a, np.ndarray) else (a, b)
    numbers = floats(node, known)
    if node.op == "Pow" and x is a:
        return _power(node, x, numbers)
    if node.op == "Pow" or (node.op == "Div" and x is b):
        raise node.refused("the operator", "a sum, a product, a power or a quotient by known numbers", node.op)
    return _with_numbers(node, signal_of(node, x), numbers, turned=node.op == "Sub" and x is b)


def _settled(value: Any) -> Any:
    """Constants alone among positions as the array that they are."""
    if isinstance(value, Signal) and value.ids.size and (value.ids < 0).all():
        return value.flow.constants(value.ids)
    return value


def _with_numbers(node: Node, x: Signal, numbers: Array, turned: bool) -> Signal:
    """A signal and known numbers: those of a mask, one for all, or one for each feature."""
    wide = [axis - numbers.ndim for axis, length in enumerate(numbers.shape) if length > 1]
    if node.op in ("Mul", "Div"):
        mean = _mean(node, x, numbers)
        if mean is not None:
            return mean
    masked = _masked(node, x, numbers, turned)
    if masked is not None:
        return masked
    if not numbers.size or (numbers == numbers.flat[0]).all():
        wide = []
    if len(wide) > 1 or numbers.ndim > x.ids.ndim:
        raise node.refused("its numbers", "one number, or one for each feature", f"{numbers.shape}")
    with np.errstate(all="ignore"):
        scale, shift = {
            "Add": (None, numbers),
            "Sub": (-np.ones_like(numbers), numbers) if turned else (None, -numbers),
            "Mul": (numbers, None),
            "Div": (1 / numbers, None),
        }[node.op]
    if not wide:
        one = [float(each.flat[0]) if each is not None else none for each, none in ((scale, 1.0), (shift, 0.0))]
        return scaled(node, x, *one)
    return _with_vectors(node, x, wide[0], scale, shift)


def _with_vectors(node: Node, x: Signal, axis: int, scale: Array | None, shift: Array | None) -> Signal:
    some = scale if scale is not None else shift
    assert some is not None
    width = some.shape[axis]
    ids = x.ids
    if ids.shape[axis] == 1:
        node.take(8 * ids.size * width)
        ids = np.broadcast_to(ids, [width if i == axis % ids.ndim else n for i, n in enumerate(ids.shape)])
    if ids.shape[axis] != width:
        raise node.refused("its numbers", f"one number, or one for each feature of {ids.shape}", f"{some.shape}")
    found = view(node, x.moved(ids), axis % ids.ndim, spread=True)
    given = {"scale": scale, "shift": shift}
    arrays = {name: _vector(array) for name, array in given.items() if array is not None}
    stage = found.flow.then(found.stage, Part("Scale", {}, arrays), node.place)
    return found.signal(stage, 0 if found.fill == 0 and shift is None else UNKNOWN)


def _vector(array: Array) -> Array:
    return array.ravel().astype(array.dtype if array.dtype.kind == "f" else np.float32)


def _masked(node: Node, x: Signal, numbers: Array, turned: bool) -> Signal | None:
    """A product with 0 and 1, or a sum with 0 and what is far below, which set constants and leave the rest."""
    if node.op in ("Mul", "Div"):
        gone, kept, code = numbers == 0, numbers == 1, 0.0
        if node.op == "Div":
            gone = np.zeros_like(gone)
    else:
        sign = -1 if node.op == "Sub" else 1
        gone, kept, code = sign * numbers <= FAR_BELOW, numbers == 0, -np.inf
        if turned or (gone.all() and numbers.size):
            return None
    if not (gone | kept).all():
        return None
    node.take(8 * max(x.ids.size, numbers.size))
    shape = np.broadcast_shapes(x.shape, numbers.shape)
    ids = np.broadcast_to(x.ids, shape)
    return x.moved(np.where(np.broadcast_to(gone, shape), x.flow.code(code), ids) if gone.any() else ids)


def _mean(node: Node, x: Signal, numbers: Array) -> Signal | None:
    """A sum over time divided by how many steps it is of."""
    flow = x.flow
    total = flow.stage_of(x.ids)
    if total is None or total.kind != SUM or total.part is None:
        return None
    with np.errstate(all="ignore"):
        counts = numbers if node.op == "Div" else 1 / np.asarray(numbers, np.float64)
    name = total.part.lengths
    steps = flow.lengths[name] if name else np.full(1, total.part.config["steps"])
    shape = np.broadcast_shapes(x.shape, counts.shape)
    places = np.unravel_index(np.broadcast_to(x.ids, shape) - total.first, total.shape)
    batch = places[0] if len(steps) > 1 and len(total.axes) > 1 else np.zeros(shape, np.int64)
    if not np.allclose(np.broadcast_to(counts, shape), steps[batch], rtol=1e-6):
        must = (
            f"a sum over time, and {'the lengths of its sequences, (batch, 1)' if name else 'how many steps it is of'}"
        )
        raise node.refused("its inputs", must, "others")
    mean = Part("MeanOverTime", lengths=name)
    stage = flow.add(mean, total.reads, node.place, total.axes, key=("mean", name))
    return x.moved(np.broadcast_to(x.ids, shape) - total.first + stage.first)


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


def where(node: Node, condition: Any, a: Any, b: Any) -> Any:
    """One or the other, as known truths say."""
    if not isinstance(condition, np.ndarray):
        raise node.refused("its condition", "known, or made of lengths", f"what comes from {condition.place}")
    signals = [value for value in (a, b) if isinstance(value, Signal)]
    flow = signals[0].flow
    both = [value.ids if isinstance(value, Signal) else flow.codes(node, floats(node, value)) for value in (a, b)]
    node.take(8 * int(np.prod(np.broadcast_shapes(condition.shape, *(each.shape for each in both)))))
    return replace(signals[0], ids=np.where(condition, *both))
