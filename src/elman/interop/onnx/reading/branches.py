"""Where two branches of a graph meet: the two directions of a bidirectional layer, or states of several layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from elman.checks import Array
from elman.interop.onnx.reading.folding import axis_of, in_memory
from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.signals import Constant, Pile, Signal, Value, signal_of
from elman.interop.onnx.reading.stages import Axis, Part, joined, joined_halves


def concat(node: Node, *values: Any) -> Value:
    """Both directions side by side, or states one behind another."""
    signals = [signal_of(node, value) for value in values]
    axis = axis_of(node, node.attributes["axis"], len(signals[0].axes))
    if len(signals) == 1:
        return signals[0]
    if axis == 0 and all(signal.stage.state for signal in signals):
        return Pile(tuple(signals))
    found = _side_by_side(node, signals, axis) if len(signals) == 2 else None
    if found is None:
        raise node.refused(
            "its inputs", "the two directions of one bidirectional layer, forward first", branches(signals)
        )
    return found


def merged(node: Node, a: Signal, b: Signal, mode: str) -> Signal:
    """Both directions made one by a sum or a product."""
    axis = len(a.axes) - 1
    both = _side_by_side(node, [a, b], axis) or _side_by_side(node, [b, a], axis) if a.axes else None
    if both is None or a.axes[-1] != a.stage.features:
        raise node.refused("its inputs", "one known, or the two directions of a bidirectional layer", branches([a, b]))
    return a.behind(both.stage.then(Part("MergeDirections", {"mode": mode}), node.place, a.stage.features))


def branches(signals: Sequence[Signal]) -> str:
    """Where branches end, in words."""
    return "branches, which are no layers in a row, from " + " and ".join(signal.stage.place for signal in signals[:3])


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
    return one.behind(stage, [*one.axes[:axis], joins, *one.axes[axis + 1 :]])


def floats(node: Node, value: Any) -> Array:
    """The numbers of a constant."""
    if not isinstance(value, Constant) or value.array.dtype.kind not in "iuf":
        got = branches([value]) if isinstance(value, Signal) else "a value of another kind"
        raise node.refused("one of its inputs", "known numbers", got)
    return in_memory(node, value.array)
