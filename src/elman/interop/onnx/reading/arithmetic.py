"""Sums and products: of known numbers, of two directions, and steps of a layer normalization."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from elman.cells.activations import Activation
from elman.checks import Array
from elman.interop.onnx.reading.attention import is_weights, weighted
from elman.interop.onnx.reading.branches import floats, merged, together
from elman.interop.onnx.reading.features import whole
from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.normalization import statistic
from elman.interop.onnx.reading.signals import Constant, Lengths, Signal, Statistic, Value, signal_of
from elman.interop.onnx.reading.sizes import product
from elman.interop.onnx.reading.stages import Part, Stage

#: Where a layer keeps a factor and a term for each feature, where its operator leaves them out.
_PLACES = {"Conv1d": {"shift": "b"}, "Dense": {"shift": "b"}, "LayerNorm": {"scale": "gain", "shift": "bias"}}


def arithmetic(node: Node, a: Any, b: Any) -> Value:
    """Add, Sub, Mul, Div and Pow."""
    if isinstance(a, Statistic) or isinstance(b, Statistic):
        return statistic(node, a, b)
    if isinstance(a, Lengths) or isinstance(b, Lengths):
        return _length(node, a, b)
    if isinstance(a, Signal) and isinstance(b, Signal) and node.op == "Mul" and (is_weights(a) or is_weights(b)):
        return weighted(node, a, b)
    if isinstance(a, Signal) and isinstance(b, Signal):
        return _of_signals(node, a, b)
    x, known = (b, a) if isinstance(a, Constant) else (a, b)
    x, array = signal_of(node, x), floats(node, known)
    if node.op == "Pow" and x is a:
        return _power(node, x, array)
    if node.op == "Pow" or (node.op == "Div" and x is b):
        raise node.refused("the operator", "a sum, a product, a power or a quotient by known numbers", node.op)
    if node.op == "Mul" and x.stage.root.state == "tokens" and not array.any():
        return Constant(np.zeros((), np.int64))  # whatever the tokens are
    if node.op in ("Mul", "Div"):
        with np.errstate(all="ignore"):
            return scaled(node, x, array if node.op == "Mul" else np.asarray(1 / array), None)
    if node.op == "Sub":
        return scaled(node, x, None, -array) if x is a else scaled(node, x, -np.ones((), array.dtype), array)
    return scaled(node, x, None, array)


def _of_signals(node: Node, a: Signal, b: Signal) -> Value:
    mode = {"Add": "sum", "Mul": "mul"}.get(node.op)
    both = None if mode is None else merged(node, a, b, mode)
    if both is not None:
        return both
    if node.op in ("Div", "Pow"):
        raise node.refused("its inputs", "one known: no layer divides one signal by another", f"{node.op} of two")
    if node.op == "Sub":
        b = scaled(node, b, -np.ones((), np.float32), None)
    return together(node, "Multiply" if node.op == "Mul" else "Add", a, b)


def _power(node: Node, x: Signal, array: Array) -> Value:
    """x^2, x^3 as products, and the square root."""
    power = float(array.item()) if array.size == 1 else 0.0
    if power == 0.5:
        return x.after(x.stage.then(Part("Activate", {"activation": "sqrt"}), node.place))
    if not (power.is_integer() and 1 <= power <= 8):
        raise node.refused("its power", "a whole number from 1 to 8, or 1/2", f"{array.ravel()[:4].tolist()}")
    return x if power == 1 else together(node, "Multiply", *[x] * int(power))


def scaled(node: Node, x: Signal, scale: Array | None, shift: Array | None) -> Signal:
    """scale x + shift, each one number or one a feature: in the layer before where it has a place for them."""
    arrays = {name: array for name, array in (("scale", scale), ("shift", shift)) if array is not None}
    position = -1
    for name, array in arrays.items():
        wide = [axis - array.ndim for axis, length in enumerate(array.shape) if length > 1]
        if array.ndim > len(x.axes) or len(wide) > 1:
            raise node.refused(f"its {name}", "one number, or one for each feature", f"{array.shape}")
        position = wide[0] if wide else position
    part = x.stage.part
    if part is not None and len(arrays) == 1 and not x.shared:
        ((name, array),) = arrays.items()
        own = _PLACES.get(part.kind, {}).get(name)
        free = own not in part.arrays and (name == "shift" or not part.arrays)
        if own is not None and free and part.config.get("activation", "identity") == "identity":
            if array.size > 1:
                x, _ = whole(node, x, position)
            vector = np.broadcast_to(array.ravel(), product(axis.length for axis in x.stage.features))
            vector = vector.astype(next((known.dtype for known in part.arrays.values()), vector.dtype), copy=False)
            return x.after(x.stage.with_part(arrays={**part.arrays, own: vector}))
    if (scale is None or (scale == 1).all()) and (shift is None or (shift == 0).all()):
        return x
    if all(array.size == 1 for array in arrays.values()):
        return _scaled_by_numbers(node, x, {name: float(array.item()) for name, array in arrays.items()})
    x, width = whole(node, x, position)
    node.take(8 * width * len(arrays))
    vectors = {name: np.broadcast_to(array.ravel(), width) for name, array in arrays.items()}
    return x.after(_scaled_by_vectors(node, x, vectors))


def _scaled_by_numbers(node: Node, x: Signal, given: dict[str, float]) -> Signal:
    part = None if x.shared else x.stage.part
    if part is not None and part.kind == "MergeDirections" and part.config["mode"] == "sum" and given == {"scale": 0.5}:
        return x.after(x.stage.with_part(config={"mode": "ave"}))
    if part is not None and part.kind == "Activate" and list(given) == ["shift"]:
        before = part.config["activation"]
        if isinstance(before, dict) and before["name"] == "affine" and before["beta"] == 0:
            return x.after(x.stage.with_part(config={"activation": {**before, "beta": given["shift"]}}))
    activation = Activation("affine", alpha=given.get("scale", 1.0), beta=given.get("shift", 0.0))
    return x.after(x.stage.then(Part("Activate", {"activation": activation.to_config()}), node.place))


def _scaled_by_vectors(node: Node, x: Signal, given: dict[str, Array]) -> Stage:
    stage = x.stage
    some = next(iter(given.values()))
    scale, shift = given.get("scale", np.ones_like(some)), given.get("shift", np.zeros_like(some))
    if stage.part is not None and stage.part.kind == "Scale" and not x.shared:
        before = stage.part.arrays
        return stage.with_part(arrays={"scale": before["scale"] * scale, "shift": before["shift"] * scale + shift})
    return stage.then(Part("Scale", {}, {"scale": scale, "shift": shift}), node.place)


_MOST_STEPS = 2**16  # that stand side by side


def _length(node: Node, a: Any, b: Any) -> Lengths:
    """Lengths and known numbers more or less."""
    numbers = floats(node, b).astype(np.int64)
    fits = (
        isinstance(a, Lengths)
        and a.added == (0,)
        and (numbers.size == 1 or numbers.ndim < a.axes)
        and numbers.size <= _MOST_STEPS
    )
    if not fits or node.op not in ("Add", "Sub"):
        raise node.refused("its inputs", "lengths (batch,), or (batch, 1) and several known numbers", node.op)
    return replace(a, added=tuple((numbers if node.op == "Add" else -numbers).ravel().tolist()))
