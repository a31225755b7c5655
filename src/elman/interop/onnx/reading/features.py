"""What axes are: where features stand, by themselves or beside those of other signals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from elman.checks import Array
from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.signals import LAST_STEPS, SPREAD, Group, Signal
from elman.interop.onnx.reading.sizes import product
from elman.interop.onnx.reading.stages import PICK, Axis, Part


def take_role(node: Node, axis: Axis, role: str) -> None:
    """Tells what an axis of an input is, or refuses another role than it has."""
    if axis.role not in ("", role):
        raise node.refused("an axis of its input", f"that of the {role}", f"that of the {axis.role}")
    axis.role = role


def time_axis(node: Node, x: Signal, position: int) -> Axis | None:
    """The axis of time at a position, which it becomes where it has no role yet; None where another is there."""
    group = x.axes[position]
    if len(group) != 1 or group[0].role not in ("", "time"):
        return None
    if any(axis.role == "time" for other in x.axes for axis in other if axis is not group[0]):
        return None
    group[0].role = "time"
    return group[0]


def whole(node: Node, x: Signal, position: int = -1) -> tuple[Signal, int]:
    """The signal with all its features, and nothing else, in one axis, the last; and how many they are.

    A signal without an axis of features has one of them at each step, wherever its model has an axis of length 1.
    """
    if x.cut is not None or not x.axes:
        raise node.refused("its input", "the whole input of the network", "a part of it, cut along its first axis")
    position %= len(x.axes)
    group = x.axes[position]
    if not x.stage.features and group and all(axis.role for axis in group[:-1]):
        take_role(node, group[-1], "features")
    features = x.stage.features
    if not features and not group:
        return x, 1
    width = product(axis.length for axis in features)
    if features and isinstance(width, int) and group[: len(features)] == features:
        x, width = _steps_within(node, x, position, width)
        group, features = x.axes[position], x.stage.features
    others = group[: len(group) - len(features)]
    if not features or group[len(others) :] != features or not isinstance(width, int):
        what = "the last axis" if position == len(x.axes) - 1 else f"the axis {position}"
        raise node.refused(f"{what} of its input", "all the features, of a known number", f"{list(group) or 1}")
    x = x.moved([*x.axes[:position], features, *x.axes[position + 1 :]])
    for axis in reversed(others):
        x, width = _unjoined(node, x, position, axis, width)
    return x, width


def _unjoined(node: Node, x: Signal, position: int, axis: Axis, width: int) -> tuple[Signal, int]:
    """The signal without an axis that was joined with the features: steps side by side, or a batch of one."""
    if axis.role in ("time", LAST_STEPS) and isinstance(axis.length, int):
        if axis.length == 1 and axis.role == "time":
            return x.after(x.stage.then(Part("LastStep", single=axis), node.place)), width
        part = Part("LastSteps", {"input_size": width, "count": axis.length}, lengths=axis.lengths)
        features = (Axis(width * axis.length, "features"),)
        axes = [*x.axes[:position], features, *x.axes[position + 1 :]]
        return x.after(x.stage.then(part, node.place, features), axes), width * axis.length
    if axis.length != 1:
        raise node.refused("an axis of its input", "of features alone", f"them joined with {axis!r}")
    return x, width


def _steps_within(node: Node, x: Signal, position: int, width: int) -> tuple[Signal, int]:
    """The signal in which all steps of each feature stood side by side, put in the order of elman: step by step."""
    group, features = x.axes[position], x.stage.features
    rest = group[len(features) :]
    if len(rest) != 1 or rest[0].role not in ("", "time") or not isinstance(rest[0].length, int):
        return x, width
    take_role(node, rest[0], "time")
    count = rest[0].length
    x, _ = _unjoined(node, x.moved([*x.axes[:position], features, *x.axes[position + 1 :]]), position, rest[0], width)
    if count == 1:
        return x, width
    return picked(node, x, position, np.arange(width * count).reshape(count, width).T.ravel()), width * count


def picked(node: Node, x: Signal, position: int, columns: Array) -> Signal:
    """Some of the features, in any order, perhaps several times."""
    x, width = whole(node, x, position)
    node.take(8 * len(columns))
    stage, part = x.stage, x.stage.part
    if part is not None and part.kind == PICK and stage.parent is not None:
        columns, width, stage = part.config["columns"][columns], part.config["width"], stage.parent
    features: Group = (Axis(len(columns), "features"),)
    axes = [*x.axes[:position], features, *x.axes[position + 1 :]]
    return x.after(stage.then(Part(PICK, {"columns": columns, "width": width}), node.place, features), axes)


def without(node: Node, x: Signal, position: int) -> Signal:
    """The signal without an axis of length 1. A single step is the last one."""
    stage = x.stage
    for axis in x.axes[position]:
        if axis.role == "time":
            stage = stage.then(Part("LastStep", single=axis), node.place)
    axes = [group for i, group in enumerate(x.axes) if i != position]
    return x.moved(axes) if stage is x.stage else x.after(stage, axes)


def aligned(node: Node, signals: Sequence[Signal]) -> tuple[list[Group], int]:
    """The axes that signals have in common, from the last to the first, and where the features are among them.

    What has length 1 in one of them stands at each step of the others, or is one feature beside all.
    """
    rank = max(len(signal.axes) for signal in signals)
    found: list[Group] = []
    place = None
    for position in range(-1, -rank - 1, -1):
        groups = [s.axes[position] if position >= -len(s.axes) else () for s in signals]
        spread = [len(group) == 1 and group[0].role == SPREAD for group in groups]
        steps = [product(axis.length for axis in group) for group in groups if group]
        if not all(spread) and all(length == steps[0] for length in steps[1:]):  # so a vector stands beside steps
            groups = [() if is_spread else group for group, is_spread in zip(groups, spread, strict=True)]
        if any(group and group == s.stage.features for group, s in zip(groups, signals, strict=True)):
            place = position
            for group, signal in zip(groups, signals, strict=True):
                if group and not signal.stage.features:
                    take_role(node, group[-1], "features")
                if group != signal.stage.features:
                    raise node.refused("its inputs", "features beside features", f"{list(group)} beside them")
            found.append(next(group for group in groups if group))
            continue
        known = [group for group in groups if group]
        first = known[0] if known else ()
        for group in known[1:]:
            if len(group) != len(first) or not all(a.unite(b) for a, b in zip(first, group, strict=True)):
                raise node.refused("its inputs", "of the same axes", f"{list(first)} beside {list(group)}")
        roles = {axis.role for axis in first}
        if len(known) < len(groups) and known and roles == {""} and rank > 1:
            roles = {"time"} if time_axis(node, signals[groups.index(first)], position) else roles
        if len(known) < len(groups) and known and roles != {"time"}:
            raise node.refused("its inputs", "of the same axes", f"{list(first)} beside an axis of length 1")
        found.append(first)
    axes = found[::-1]
    if place is None and any(signal.stage.features for signal in signals):
        raise node.refused("its inputs", "with features in the same axis", "them in different ones")
    if place is None:  # of inputs whose axes nothing has told: the one length that is known, or the last
        ints = [i for i, group in enumerate(axes) if group and isinstance(group[-1].length, int)]
        place = (ints[0] if len(ints) == 1 else rank - 1) - rank
        for signal in signals:
            for axis in signal.axes[place][-1:]:
                take_role(node, axis, "features")
    return axes, place
