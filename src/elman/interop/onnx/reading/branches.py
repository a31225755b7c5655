"""Where branches of a graph meet: the two directions of a bidirectional layer, states of several layers, or a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from elman.checks import Array
from elman.interop.onnx.reading.features import aligned, picked
from elman.interop.onnx.reading.folding import axis_of, in_memory
from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.signals import (
    Constant,
    Group,
    Lengths,
    Question,
    Signal,
    StackedStates,
    Value,
    signal_of,
)
from elman.interop.onnx.reading.sizes import product
from elman.interop.onnx.reading.stages import Axis, Part, Stage, joined, joined_halves


def concat(node: Node, *values: Any) -> Value:
    """Both directions, or features of several signals side by side; or states one after another."""
    if any(isinstance(value, StackedStates) and not value.axis for value in values) and node.attributes["axis"] == 0:
        values = tuple(
            each
            for value in values
            for each in (value.signals if isinstance(value, StackedStates) and not value.axis else (value,))
        )
    signals = [signal_of(node, value) for value in values]
    axis = axis_of(node, node.attributes["axis"], len(signals[0].axes))
    if len(signals) == 1:
        return signals[0]
    if axis == 0 and all(signal.stage.state for signal in signals):
        return StackedStates(tuple(signals))
    return (_side_by_side(node, signals, axis) if len(signals) == 2 else None) or _concatenated(node, signals, axis)


def _concatenated(node: Node, signals: list[Signal], axis: int) -> Signal:
    rank = len(signals[0].axes)
    for signal in signals:  # of an input, features are what is joined; elsewhere they know their place
        free = [a for a in signal.axes[axis] if not a.role] if len(signal.axes) == rank else []
        if free and not signal.stage.features:
            free[-1].role = "features"
    axes, place = aligned(node, signals)
    if rank + place != axis:
        raise node.refused("the attribute 'axis'", "that of the features", f"{axis}, of {list(axes[axis]) or 1}")
    width = sum(product(a.length for a in signal.stage.features) for signal in signals)
    return _met(node, "Concatenate", signals, axes, place, (Axis(width, "features"),))


def together(node: Node, kind: str, *signals: Signal) -> Signal:
    """Signals joined number by number; one feature stands beside each of the others."""
    first = signals[0]
    if all((other.axes, other.stage.features) == (first.axes, first.stage.features) for other in signals):
        others = tuple(signal.stage for signal in signals[1:])
        return Signal(Stage(first.stage, Part(kind), node.place, others=others), first.axes)
    axes, place = aligned(node, signals)
    widths = [product(axis.length for axis in signal.stage.features) for signal in signals]
    if not all(isinstance(width, int) for width in widths):
        raise node.refused("its inputs", "of a known number of features", " and ".join(map(str, widths)))
    spread = [
        signal if width == max(widths) else picked(node, signal, place, np.zeros(max(widths), np.int64))
        for signal, width in zip(signals, widths, strict=True)
        if width in (1, max(widths))
    ]
    if len(spread) < len(signals):
        raise node.refused("its inputs", "of as many features", " and ".join(map(str, widths)))
    features = next(
        signal.stage.features for signal, width in zip(signals, widths, strict=True) if width == max(widths)
    )
    return _met(node, kind, spread, axes, place, features)


def _met(node: Node, kind: str, signals: Sequence[Signal], axes: list[Group], place: int, features: Group) -> Signal:
    first, *rest = (signal.stage for signal in signals)
    stage = Stage(first, Part(kind), node.place, features, others=tuple(rest))
    axes[place] = features
    return Signal(stage, tuple(axes))


def merged(node: Node, a: Signal, b: Signal, mode: str) -> Signal | None:
    """Both directions of a layer made one by a sum or a product; None where the signals are no directions."""
    axis = len(a.axes) - 1
    both = _side_by_side(node, [a, b], axis) or _side_by_side(node, [b, a], axis) if a.axes else None
    if both is None or a.axes[-1] != a.stage.features:
        return None
    return a.after(both.stage.then(Part("MergeDirections", {"mode": mode}), node.place, a.stage.features))


def _side_by_side(node: Node, signals: list[Signal], axis: int) -> Signal | None:
    one, two = signals
    if len(one.axes) != len(two.axes):
        return None
    both = Axis(2, "direction")
    mine, its = one.stage.features, two.stage.features
    features = (both, *mine)
    stage = joined(one.stage, two.stage, features, node.take) or joined_halves(one.stage, two.stage, features)
    alike = all(a == b or (a == mine and b == its) for a, b in zip(one.axes, two.axes, strict=True))
    joins = {mine: features, (): (both,)}.get(one.axes[axis])
    if stage is None or not alike or joins is None:
        return None
    return one.after(stage, [*one.axes[:axis], joins, *one.axes[axis + 1 :]])


def floats(node: Node, value: Any) -> Array:
    """The numbers of a constant."""
    if not isinstance(value, Constant) or value.array.dtype.kind not in "iuf":
        got = f"what comes from {value.stage.place}" if isinstance(value, Signal) else "a value of another kind"
        raise node.refused("one of its inputs", "known numbers", got)
    return in_memory(node, value.array)


def question(node: Node, *values: Any) -> Question:
    """What follows from inputs that are one whole number, or from another question."""
    names: list[str] = []
    for value in values:
        if isinstance(value, Question):
            names += value.names
        elif isinstance(value, Lengths):
            names.append(value.name)
        elif isinstance(value, Signal) and value.stage.parent is None and value.stage.state == "tokens":
            names.append(value.stage.name)
        elif not isinstance(value, Constant):
            raise node.refused("its inputs", "known, or inputs of the graph that are whole numbers", "others")
    return Question(tuple(dict.fromkeys(names)))
