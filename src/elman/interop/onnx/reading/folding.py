"""Operators on arrays that are known: what exporters leave in a graph to be computed of weights and shapes.

An array that was made as long as a length that only a running model knows has length 1 along that axis here (its axis
is `spread`): all that is ever made so are equal rows, such as states before the first step.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from elman.checks import Array
from elman.interop.onnx.reading.files import TYPES
from elman.interop.onnx.reading.graph import MAX_AXES, Node
from elman.interop.onnx.reading.signals import Constant, Steps
from elman.interop.onnx.reading.sizes import Size, shape_array, simplified

Fold: TypeAlias = Callable[..., "Constant | Steps | tuple[Constant, ...]"]


def integers(node: Node, name: str, value: Any) -> list[Any] | None:
    """What old versions of an operator have as an attribute and new ones as an input; None where it is left out."""
    if node.attributes.get(name) is not None:
        found = node.attributes[name]
        return list(found) if isinstance(found, list) else [found]
    if value is None:
        return None
    if not isinstance(value, Constant) or value.spread or value.array.dtype.kind not in "iuO":
        raise node.refused(f"the input {name}", "known integers", "a value of another kind")
    node.take(value.array.size * 8)
    return [item if isinstance(item, Size) else int(item) for item in value.array.ravel().tolist()]


def numbers(node: Node, name: str, value: Any) -> list[int]:
    """The same where every one must be a plain number."""
    found = integers(node, name, value) or []
    for item in found:
        if isinstance(item, Size):
            raise node.refused(f"the input {name}", "known integers", f"{item}")
    return found


def in_memory(node: Node, array: Array) -> Array:
    """The array, whose memory is asked for where it has rows that are there once alone."""
    if 0 in array.strides:
        node.take(array.nbytes)
    return array


def axis_of(node: Node, axis: int, rank: int) -> int:
    """An axis counted from the front."""
    if not isinstance(axis, int) or not -rank <= axis < rank:
        raise node.refused("an axis", f"from {-rank} to {rank - 1}", f"{axis}")
    return axis % rank


def slices(node: Node, rank: int, *values: Any) -> list[tuple[int, Any, Any, int]]:
    """What a Slice takes: axis, start, end and step."""
    starts, ends, axes, steps = (
        integers(node, name, value)
        for name, value in zip(("starts", "ends", "axes", "steps"), (*values, None, None, None, None), strict=False)
    )
    starts, ends = starts or [], ends or []
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise node.refused("its starts, ends, axes and steps", "as many, and no step 0", f"{starts, ends, axes, steps}")
    return [(axis_of(node, a, rank), s, e, d) for a, s, e, d in zip(axes, starts, ends, steps, strict=True)]


def plain(node: Node, *values: Constant) -> list[Array]:
    """The arrays of constants that are whole."""
    for value in values:
        if value.spread:
            raise node.refused("an input", "known", "a constant of a length that is not")
    return [value.array for value in values]


def _elementwise(function: Any) -> Fold:
    def fold(node: Node, *values: Constant) -> Constant:
        arrays = [value.array for value in values]
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
        node.take(math.prod(shape) * 8)
        spread = {axis - value.array.ndim + len(shape): size for value in values for axis, size in value.spread.items()}
        with np.errstate(all="ignore"):
            result = np.asarray(function(*arrays))
        kind = np.result_type(*arrays)
        if result.dtype.kind in "fiu" and kind.kind in "fiu":
            result = result.astype(kind)
        return Constant(simplified(result), {axis: size for axis, size in spread.items() if shape[axis] == 1})

    return fold


def _divide(a: Array, b: Array) -> Array:
    if a.dtype == object or b.dtype == object:
        return np.asarray(np.frompyfunc(lambda x, y: x // y, 2, 1)(a, b))
    if a.dtype.kind in "iu" and b.dtype.kind in "iu":
        if not b.all():
            raise ValueError("integers must be divided by numbers other than 0. Got 0.")
        return np.asarray(np.trunc(np.true_divide(a, b)))
    return np.asarray(np.true_divide(a, b))


def _equal(a: Array, b: Array) -> Array:
    """Whether lengths are equal; one that is not known is never 0 or less."""

    def same(x: Any, y: Any) -> bool:
        unknown = [value for value in (x, y) if isinstance(value, Size)]
        known = [value for value in (x, y) if not isinstance(value, Size)]
        if unknown and x != y and not (known and known[0] < 1 and min(unknown[0].terms.values()) > 0):
            raise ValueError(f"{x} and {y} must be known to be equal or not. Got lengths that a model tells.")
        return bool(x == y)

    if object in (a.dtype, b.dtype):
        return np.asarray(np.frompyfunc(same, 2, 1)(a, b)).astype(bool)
    return np.asarray(a == b)


def _cast(node: Node, value: Constant) -> Constant:
    to = node.attributes["to"]
    if to not in TYPES:
        raise node.refused("the attribute 'to'", "a type of floats, integers or booleans", f"{to}")
    if value.array.dtype == object:  # of lengths: as they are
        return value
    node.take(value.array.size * 8)
    with np.errstate(all="ignore"):
        return Constant(value.array.astype(TYPES[to][0]), value.spread)


def _transpose(node: Node, value: Constant) -> Constant:
    perm = permutation(node, value.array.ndim)
    return Constant(value.array.transpose(perm), {perm.index(axis): size for axis, size in value.spread.items()})


def permutation(node: Node, rank: int) -> list[int]:
    """The order of axes that a Transpose makes."""
    perm = node.attributes["perm"]
    perm = list(range(rank))[::-1] if perm is None else perm
    if sorted(perm) != list(range(rank)):
        raise node.refused("the attribute 'perm'", f"an order of {rank} axes", f"{perm}")
    return perm


def _squeeze(node: Node, value: Constant, axes: Constant | None = None) -> Constant:
    rank = value.array.ndim
    given = integers(node, "axes", axes)
    ones = {axis for axis, length in enumerate(value.array.shape) if length == 1 and axis not in value.spread}
    gone = {axis_of(node, a, rank) for a in given} if given is not None else ones
    kept = [axis for axis in range(rank) if axis not in gone]
    array = np.squeeze(value.array, tuple(gone))
    return Constant(array, {kept.index(axis): size for axis, size in value.spread.items() if axis in kept})


def _unsqueeze(node: Node, value: Constant, axes: Constant | None = None) -> Constant:
    rank = value.array.ndim
    new = new_axes(node, axes, rank)
    old = [axis for axis in range(rank + len(new)) if axis not in new]
    return Constant(np.expand_dims(value.array, tuple(new)), {old[axis]: size for axis, size in value.spread.items()})


def new_axes(node: Node, axes: Any, rank: int) -> set[int]:
    """Where an Unsqueeze puts axes of length 1."""
    given = numbers(node, "axes", axes)
    new = {axis_of(node, axis, rank + len(given)) for axis in given}
    if len(new) != len(given) or rank + len(new) > MAX_AXES:
        raise node.refused("its axes", f"different ones, {MAX_AXES} with all others at most", f"{given}")
    return new


def _reshape(node: Node, value: Constant, shape: Constant) -> Constant:
    (array,) = plain(node, value)
    target = numbers(node, "shape", shape)
    if not node.attributes.get("allowzero"):
        target = [array.shape[i] if n == 0 and i < array.ndim else n for i, n in enumerate(target)]
    node.take(array.size * 8)  # a reshaped view may have to be copied
    return Constant(array.reshape(target))


def _concat(node: Node, *values: Constant) -> Constant:
    axis = axis_of(node, node.attributes["axis"], values[0].array.ndim)
    spread = values[0].spread
    if any(value.spread != spread for value in values) or axis in spread:
        raise node.refused("its inputs", "of known lengths where they are joined", "others")
    node.take(sum(value.array.size for value in values) * 8)
    return Constant(simplified(np.concatenate([value.array for value in values], axis)), spread)


def _slice(node: Node, value: Constant, *rest: Constant | None) -> Constant:
    cuts: list[slice] = [slice(None)] * value.array.ndim
    for axis, start, end, step in slices(node, value.array.ndim, *rest):
        if axis in value.spread or isinstance(start, Size) or isinstance(end, Size):
            raise node.refused("its axes", "of known lengths", f"axis {axis} from {start} to {end}")
        length = value.array.shape[axis]
        stop: int | None = end
        if step < 0 and end < -length:
            stop = None  # to the very beginning
        cuts[axis] = slice(start, stop, step)
    return Constant(simplified(value.array[tuple(cuts)]), value.spread)


def _gather(node: Node, value: Constant, indices: Constant) -> Constant:
    (wanted,) = plain(node, indices)
    axis = axis_of(node, node.attributes["axis"], value.array.ndim)
    if axis in value.spread or wanted.dtype.kind not in "iu":
        raise node.refused("its indices", "integers along an axis of known length", f"{wanted.dtype}")
    node.take(value.array.size // max(value.array.shape[axis], 1) * max(wanted.size, 1) * 8)
    spread = {a if a < axis else a - 1 + wanted.ndim: size for a, size in value.spread.items()}
    return Constant(simplified(np.asarray(np.take(value.array, wanted.astype(np.int64), axis))), spread)


def _split(node: Node, value: Constant, sizes: Constant | None = None) -> tuple[Constant, ...]:
    axis = axis_of(node, node.attributes["axis"], value.array.ndim)
    if axis in value.spread:
        raise node.refused("its axis", "of known length", f"axis {axis}")
    bounds = split_bounds(node, value.array.shape[axis], sizes)
    return tuple(Constant(simplified(part), value.spread) for part in np.split(value.array, bounds[1:-1], axis))


def split_bounds(node: Node, length: int, sizes: Any) -> list[int]:
    """Where the parts of a Split begin and end."""
    given = numbers(node, "split", sizes)
    count = len(node.outputs)
    if not given:
        each = -(-length // count)
        given = [max(min(each, length - i * each), 0) for i in range(count)]
    if len(given) != count or sum(given) != length or min(given) < 0:
        raise node.refused("its parts", f"{count} with {length} rows together", f"{given}")
    return [sum(given[:i]) for i in range(count + 1)]


def _expand(node: Node, value: Constant, shape: Constant) -> Constant:
    return stretched(value, integers(node, "shape", shape) or [])


def _constant_of_shape(node: Node, shape: Constant) -> Constant:
    given = node.attributes["value"]
    fill = np.zeros(1, np.float32) if given is None else given
    return stretched(Constant(fill.reshape(())), integers(node, "input", shape) or [])


def stretched(value: Constant, shape: Sequence[Any]) -> Constant:
    """The constant with each of its rows as often as the shape says, taking no memory for it."""
    known = [1 if isinstance(length, Size) else length for length in shape]
    lead = len(known) - value.array.ndim
    spread = {axis + max(lead, 0): size for axis, size in value.spread.items()}
    spread |= {axis + max(-lead, 0): length for axis, length in enumerate(shape) if isinstance(length, Size)}
    whole = np.broadcast_shapes(value.array.shape, tuple(known))
    return Constant(
        np.broadcast_to(value.array, whole), {axis: size for axis, size in spread.items() if whole[axis] == 1}
    )


def _tile(node: Node, value: Constant, repeats: Constant) -> Constant:
    counts = integers(node, "repeats", repeats) or []
    if len(counts) != value.array.ndim:
        raise node.refused("its repeats", f"{value.array.ndim}, one an axis", f"{len(counts)}")
    spread = {axis: count for axis, count in enumerate(counts) if isinstance(count, Size)}
    known = [1 if isinstance(count, Size) else count for count in counts]
    if any(value.array.shape[axis] != 1 for axis in spread):
        raise node.refused("its repeats", "known along an axis of several rows", f"{counts}")
    node.take(math.prod(known) * max(value.array.size, 1) * 8)
    return Constant(np.tile(value.array, known), {**value.spread, **spread})


def _shape(node: Node, value: Constant) -> Constant:
    lengths = [value.spread.get(axis, length) for axis, length in enumerate(value.array.shape)]
    return Constant(cut_shape(node, shape_array(lengths)))


def cut_shape(node: Node, shape: Array) -> Array:
    """The part of a shape that a Shape gives; its attributes say from which axis to which."""
    start, end = node.attributes.get("start") or 0, node.attributes.get("end")
    return simplified(shape[start : len(shape) if end is None else end])


def _range(node: Node, start: Constant, limit: Constant, step: Constant) -> Constant | Steps:
    first, last, by = (array.item() for array in plain(node, start, limit, step))
    if (first, by) == (0, 1) and isinstance(last, Size):
        return Steps(last)
    if any(isinstance(value, Size) for value in (first, last, by)) or by == 0:
        raise node.refused("its limits", "known numbers, and its step not 0", f"{first}, {last}, {by}")
    node.take(max(math.ceil((last - first) / by), 0) * 8)
    return Constant(np.arange(first, last, by, dtype=start.array.dtype))


def _reduce_product(node: Node, value: Constant, axes: Constant | None = None) -> Constant:
    (array,) = plain(node, value)
    given = integers(node, "axes", axes)
    if given is None and node.attributes.get("noop_with_empty_axes"):
        return value
    keep = bool(node.attributes["keepdims"])
    gone = tuple(axis_of(node, a, array.ndim) for a in given) if given else None
    return Constant(simplified(np.asarray(np.prod(array, axis=gone, keepdims=keep))))


def _matmul(node: Node, a: Constant, b: Constant) -> Constant:
    left, right = plain(node, a, b)
    node.take(
        left.size
        // max(left.shape[-1], 1)
        * (right.size // max(right.shape[-2] if right.ndim > 1 else right.size, 1))
        * 8
    )
    with np.errstate(all="ignore"):
        return Constant(np.asarray(left @ right))


def _constant(node: Node) -> Constant:
    given = {name: value for name, value in node.attributes.items() if value is not None}
    name, value = next(iter(given.items())) if len(given) == 1 else ("", None)
    if name not in ("value", "value_int", "value_ints", "value_float", "value_floats"):
        raise node.refused("", "of numbers, by one attribute", ", ".join(given) or "none")
    return Constant(
        value if isinstance(value, np.ndarray) else np.array(value, np.float32 if "float" in name else np.int64)
    )


def _plainly(function: Any) -> Fold:
    """Of arrays in which no length is open."""

    def fold(node: Node, *values: Constant) -> Constant:
        arrays = plain(node, *values)
        if any(array.dtype == object for array in arrays):
            raise node.refused("its inputs", "known", "lengths that a model tells")
        node.take(8 * math.prod(np.broadcast_shapes(*(array.shape for array in arrays))))
        with np.errstate(all="ignore"):
            return Constant(np.asarray(functools.reduce(function, arrays) if len(arrays) > 1 else function(arrays[0])))

    return fold


def _quantized(node: Node, x: Constant, scale: Constant, zero: Constant | None = None) -> Constant:
    """Between floats and small whole numbers, one scale for all or one along an axis."""
    array, by, *rest = plain(node, x, scale, *[value for value in (zero,) if value is not None])
    if node.attributes.get("block_size") or by.ndim > 1 or array.dtype == object:
        raise node.refused("its scale", "one number, or one along an axis", f"{by.shape}")
    shape = [1] * array.ndim
    if by.ndim and by.size > 1:
        shape[axis_of(node, node.attributes.get("axis") or 0, array.ndim)] = by.size
    by, node_zero = by.reshape(shape), rest[0].reshape(shape) if rest else np.zeros(shape, np.uint8)
    node.take(array.size * 8)
    if node.op == "DequantizeLinear":
        return Constant(((array.astype(np.int64) - node_zero.astype(np.int64)) * by).astype(by.dtype))
    ends, wide = np.iinfo(node_zero.dtype), np.rint(array / by) + node_zero
    return Constant(np.clip(wide, ends.min, ends.max).astype(node_zero.dtype))


FOLDS: dict[str, Fold] = {
    **{name: _plainly(getattr(np, name.lower())) for name in ("Abs", "Ceil", "Exp", "Floor", "Greater", "Less", "Log")},
    "GreaterOrEqual": _plainly(np.greater_equal),
    "LessOrEqual": _plainly(np.less_equal),
    "Max": _plainly(np.maximum),
    "Min": _plainly(np.minimum),
    "Or": _plainly(np.logical_or),
    "Sum": _plainly(np.add),
    "DequantizeLinear": _quantized,
    "QuantizeLinear": _quantized,
    "Reciprocal": _plainly(np.reciprocal),
    "Add": _elementwise(np.add),
    "And": _elementwise(np.logical_and),
    "Cast": _cast,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Div": _elementwise(_divide),
    "Equal": _elementwise(_equal),
    "Expand": _expand,
    "Gather": _gather,
    "Identity": lambda node, value: value,
    "MatMul": _matmul,
    "Mul": _elementwise(np.multiply),
    "Neg": _elementwise(np.negative),
    "Not": _elementwise(np.logical_not),
    "Pow": _elementwise(np.power),
    "Range": _range,
    "ReduceProd": _reduce_product,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Split": _split,
    "Sqrt": _elementwise(np.sqrt),
    "Squeeze": _squeeze,
    "Sub": _elementwise(np.subtract),
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _elementwise(np.where),
}
