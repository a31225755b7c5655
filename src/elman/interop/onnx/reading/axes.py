"""Operators that move, cut and join the axes of what flows through the network.

Most change nothing but how a tensor is laid out. Those that take steps out of time, or a direction out of two, are
layers: `LastStep`, `Reverse`, one direction by itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from elman.interop.onnx.reading.features import picked, time_axis, whole, without
from elman.interop.onnx.reading.folding import (
    axis_of,
    cut_shape,
    integers,
    new_axes,
    numbers,
    permutation,
    slices,
    split_bounds,
)
from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.signals import (
    LAST_STEPS,
    SPREAD,
    WITH_ZEROS,
    Constant,
    Group,
    Signal,
    StackedStates,
    Value,
    regrouped,
    signal_of,
)
from elman.interop.onnx.reading.sizes import Size, product, shape_array
from elman.interop.onnx.reading.stages import Axis, Part, half

Handler: TypeAlias = Callable[..., Any]

_FAR = 2**30  # past the end of any axis, as exporters write it


# Parts of an axis.


def section(node: Node, x: Signal, position: int, start: Any, end: Any) -> Signal:
    """Some rows of an axis: all, one step of time, one direction, or the states of one layer in an input."""
    group = x.axes[position]
    length = product(axis.length for axis in group)
    first, last = _bound(start, length), _bound(end, length)
    if first == 0 and last == length:
        return x
    found = _direction(x, position, first, last) or _rows(x, position, first, last)
    if found is None and not x.stage.features and len(group) == 1 and group[0].role == "" and isinstance(length, int):
        others = [axis for other in x.axes for axis in other if axis is not group[0]]
        if others and not any(isinstance(axis.length, int) for axis in others):  # the one length that is known
            group[0].role = "features"
    if found is None and group and group == x.stage.features and isinstance(first, int) and isinstance(last, int):
        found = picked(node, x, position, np.arange(first, last))
    zeros = x.axes[position][0].zeros if len(group) == 1 else (0, 0)
    if zeros[0] and not zeros[1] and last == length and last - first == zeros[0]:
        return x.moved([*x.axes[:position], (Axis(zeros[0], LAST_STEPS),), *x.axes[position + 1 :]])
    if found is None and last - first == 1 and time_axis(node, x, position) is not None:
        found = _step(node, x, position, is_first=first == 0, is_last=last == length)
    if found is None:
        must = "all of an axis, its first or last step of time, or one of two directions"
        raise node.refused("what it takes", must, f"{first} to {last} of {list(group) or 1}")
    return found


def _bound(value: Any, length: Any) -> Any:
    if not isinstance(value, int):
        return value
    if value >= _FAR or (isinstance(length, int) and value > length):
        return length
    if value < 0:
        value = length + value
        return max(value, 0) if isinstance(value, int) else value
    return value


def _direction(x: Signal, position: int, first: Any, last: Any) -> Signal | None:
    """One of two directions, from an axis of theirs or from one of all the features."""
    group, features = x.axes[position], x.stage.features
    if len(features) != 2 or group not in (features, features[:1]):
        return None
    width = 1 if group == features[:1] else features[1].length
    index = {(0, width): 0, (width, width * 2): 1}.get((first, last))
    stage = None if index is None else half(x.stage, index)
    if stage is None:
        return None
    rest: Group = () if group == features[:1] else features[1:]
    return x.after(stage, [*x.axes[:position], rest, *x.axes[position + 1 :]])


def _rows(x: Signal, position: int, first: Any, last: Any) -> Signal | None:
    """Rows of the first axis of an input that no layer has read: states of several layers after one another."""
    if x.stage.parent is not None or position or not (isinstance(first, int) and isinstance(last, int)):
        return None
    if any(axis.role for axis in x.axes[0]) or len(x.axes) < 3:
        return None
    rest: Group = () if last - first == 1 else (Axis(last - first),)
    return Signal(x.stage, (rest, *x.axes[1:]), (x.cut or 0) + first)


def _step(node: Node, x: Signal, position: int, *, is_first: bool, is_last: bool) -> Signal | None:
    stage = x.stage
    if not is_last and is_first:
        stage = stage.then(Part("Reverse"), node.place)
    elif not is_last:
        return None
    return x.after(stage.then(Part("LastStep"), node.place), [*x.axes[:position], (), *x.axes[position + 1 :]])


# Operators.


def _each(handler: Handler) -> Handler:
    """The handler, also for each signal of a pile."""

    def on_each(node: Node, x: Value, *rest: Any) -> Value:
        if isinstance(x, StackedStates):
            layers = Axis(Size.named("layers"))  # stands for the axis of the layers, to see where it goes
            first = x.signals[0]
            marked = first.moved([*first.axes[: x.axis], (layers,), *first.axes[x.axis + 1 :]])
            axis = handler(node, marked, *rest).position(layers)
            if axis is None:
                raise node.refused("its input", "of one layer, where axes are joined or cut", "states of several")
            return StackedStates(tuple(handler(node, signal, *rest) for signal in x.signals), axis)
        return handler(node, signal_of(node, x), *rest)

    return on_each


def _transpose(node: Node, x: Signal) -> Signal:
    return x.moved([x.axes[axis] for axis in permutation(node, len(x.axes))])


def _squeeze(node: Node, x: Signal, axes: Any = None) -> Signal:
    given = integers(node, "axes", axes)
    rank, lengths = len(x.axes), x.lengths
    ones = [axis for axis, length in enumerate(lengths) if isinstance(length, int) and length == 1]
    gone = {axis_of(node, axis, rank) for axis in given} if given is not None else set(ones)
    for axis in sorted(gone, reverse=True):
        if axis not in ones:
            raise node.refused("an axis that it removes", "of length 1", f"axis {axis} of length {lengths[axis]}")
        x = without(node, x, axis)
    return x


def _unsqueeze(node: Node, x: Signal, axes: Any = None) -> Signal:
    new = new_axes(node, axes, len(x.axes))
    old = iter(x.axes)
    return x.moved([() if axis in new else next(old) for axis in range(len(x.axes) + len(new))])


def _reshape(node: Node, x: Any, shape: Any) -> Value:
    target = integers(node, "shape", shape) or []
    if isinstance(x, StackedStates):  # (layers directions, ...) to (layers, directions, ...)
        _along_first(node, x)
        if not target or target[0] != len(x.signals):
            raise node.refused("its shape", f"of {len(x.signals)} layers first", f"{target}")
        each = Constant(shape_array([1, *target[1:]]))
        return StackedStates(tuple(signal_of(node, _reshape(node, signal, each)) for signal in x.signals))
    x = signal_of(node, x)
    groups = regrouped(x.axes, target, zero_copies=not node.attributes.get("allowzero"))
    if groups is None:
        raise node.refused("its shape", f"one that keeps or joins the axes {tuple(x.lengths)}", f"{tuple(target)}")
    return _side_by_side(node, x.moved(groups))


def _flatten(node: Node, x: Signal) -> Signal:
    rank, axis = len(x.axes), node.attributes["axis"]
    axis = rank if axis == rank else axis_of(node, axis, rank)
    groups = [tuple(a for group in part for a in group) for part in (x.axes[:axis], x.axes[axis:])]
    return _side_by_side(node, x.moved(groups))


def _side_by_side(node: Node, x: Signal) -> Signal:
    """The signal; after a layer of their own where its last steps are joined with the features."""
    last = x.axes[-1] if x.axes else ()
    return whole(node, x)[0] if len(last) > 1 and last[0].role == LAST_STEPS else x


def _expand(node: Node, x: Signal, shape: Any) -> Signal:
    target, lengths = integers(node, "shape", shape) or [], x.lengths
    padded = [1] * (len(lengths) - len(target)) + target
    return _stretched(node, x, [1 if n == length else n for n, length in zip(padded, lengths, strict=False)], target)


def _tile(node: Node, x: Signal, repeats: Any) -> Signal:
    counts = integers(node, "repeats", repeats) or []
    return _stretched(node, x, counts, counts)


def _stretched(node: Node, x: Signal, counts: Sequence[Any], given: Sequence[Any]) -> Signal:
    """Each axis so many times as long: all once, or a vector per sequence at each of some steps."""
    long = [axis for axis, count in enumerate(counts) if not isinstance(count, int) or count != 1]
    if len(counts) == len(x.axes) and not long:
        return x
    count = counts[long[0]] if len(long) == 1 else None
    roles = {axis.role for group in x.axes for axis in group}
    if (
        len(counts) != len(x.axes)
        or not isinstance(count, (int, Size))
        or x.axes[long[0]]
        or "time" in roles
        or len(counts) != 3
    ):
        must = f"{tuple(x.lengths)}, as it comes in, or a vector per sequence at each of some steps"
        raise node.refused("its shape", must, f"{tuple(given)}")
    role = "time" if isinstance(count, int) else SPREAD
    axes = [*x.axes[: long[0]], (Axis(count, role),), *x.axes[long[0] + 1 :]]
    if role == SPREAD:
        return x.moved(axes)
    return x.after(x.stage.then(Part("Repeat", {"count": count}), node.place), axes)


def _shape(node: Node, x: Any) -> Constant:
    return Constant(cut_shape(node, shape_array(signal_of(node, x).lengths)))


def _slice(node: Node, x: Signal | StackedStates, *rest: Any) -> Value:
    if isinstance(x, StackedStates):
        return _slice_of_states(node, x, *rest)
    for axis, start, end, step in slices(node, len(x.axes), *rest):
        if step == 1:
            x = section(node, x, axis, start, end)
        elif (step, start) == (-1, -1) and end <= -_FAR and time_axis(node, x, axis) is not None:
            x = x.after(x.stage.then(Part("Reverse"), node.place))
        else:
            raise node.refused("its step", "1, or -1 through all of time", f"{step} from {start} to {end}")
    return x


def _slice_of_states(node: Node, x: StackedStates, *rest: Any) -> Value:
    """States of some of the layers, all directions of each."""
    _along_first(node, x)
    ends = [0, *itertools.accumulate(product(a.length for a in signal.axes[0]) for signal in x.signals)]
    cuts = slices(node, len(x.signals[0].axes), *rest)
    (axis, start, end, step), *more = cuts or [(0, 0, ends[-1], 1)]
    first, last = _bound(start, ends[-1]), _bound(end, ends[-1])
    if axis or more or step != 1 or first not in ends or last not in ends or first >= last:
        raise node.refused("what it takes", "states of whole layers, along axis 0", f"{first} to {last} of {ends[-1]}")
    found = x.signals[ends.index(first) : ends.index(last)]
    return found[0] if len(found) == 1 else StackedStates(found)


def gather(node: Node, x: Any, indices: Any) -> Signal:
    """One row of an axis."""
    if not isinstance(indices, Constant) or indices.array.size != 1 or indices.array.ndim > 1:
        raise node.refused("its indices", "one known number", "others")
    (index,) = indices.array.ravel().tolist()
    axis = axis_of(node, node.attributes["axis"], len((x.signals[0] if isinstance(x, StackedStates) else x).axes))
    if isinstance(x, StackedStates):
        x, index = _from_states(node, x, axis, index)
    x = section(node, x, axis, index, _FAR if index == -1 else index + 1)
    return x if indices.array.ndim else x.moved([group for i, group in enumerate(x.axes) if i != axis])


def _along_first(node: Node, x: StackedStates) -> None:
    if x.axis:
        raise node.refused("its input", "states of several layers along axis 0", f"them along axis {x.axis}")


def _from_states(node: Node, x: StackedStates, axis: int, index: Any) -> tuple[Signal, int]:
    """The signal of a pile that has the row `index`, and which of its own rows it is."""
    _along_first(node, x)
    rows = [(signal, row) for signal in x.signals for row in range(product(a.length for a in signal.axes[0]))]
    if axis or not isinstance(index, int) or not -len(rows) <= index < len(rows):
        raise node.refused("its index", f"one of {len(rows)} along axis 0", f"{index} along axis {axis}")
    return rows[index]


def _split(node: Node, x: Signal, sizes: Any = None) -> tuple[Signal, ...]:
    axis = axis_of(node, node.attributes["axis"], len(x.axes))
    length = x.lengths[axis]
    if not isinstance(length, int):
        raise node.refused("its axis", "of known length", f"{length}")
    bounds = split_bounds(node, length, sizes)
    return tuple(section(node, x, axis, start, end) for start, end in itertools.pairwise(bounds))


def _pad(node: Node, x: Signal, pads: Any, value: Any = None, axes: Any = None) -> Signal:
    """Zeros around time: for a convolution, or before the first step, where the last steps are taken then."""
    rank = len(x.axes)
    given = numbers(node, "pads", pads)
    named = integers(node, "axes", axes)
    order = list(range(rank)) if named is None else [axis_of(node, axis, rank) for axis in named]
    added = {axis: sides for axis, *sides in zip(order, given, given[len(order) :], strict=False) if any(sides)}
    fill = value.array.item() if isinstance(value, Constant) else node.attributes.get("value")
    mode = node.attributes["mode"]
    if not added:
        return x
    (position, sides), *more = added.items()
    axis = time_axis(node, x, position) if not more and min(sides) >= 0 else None
    if axis is None or fill or mode != "constant":
        what = f"{given} of {fill or 0}" if mode == "constant" else f"{given} of the kind {mode!r}, which no layer does"
        raise node.refused("what it adds", "zeros around the steps of time", what)
    padded = Axis(axis.length + sum(sides), WITH_ZEROS, zeros=(sides[0], sides[1]))
    return x.moved([*x.axes[:position], (padded,), *x.axes[position + 1 :]])


AXES: dict[str, Handler] = {
    "Expand": _each(_expand),
    "Flatten": _each(_flatten),
    "Identity": lambda node, x: x,
    "Pad": lambda node, x, *rest: _pad(node, signal_of(node, x), *rest),
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": lambda node, x, *rest: _slice(node, x if isinstance(x, StackedStates) else signal_of(node, x), *rest),
    "Split": lambda node, x, *rest: _split(node, signal_of(node, x), *rest),
    "Squeeze": _each(_squeeze),
    "Tile": _each(_tile),
    "Transpose": _each(_transpose),
    "Unsqueeze": _each(_unsqueeze),
}
