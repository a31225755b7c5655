"""Values of a graph: constants, and what flows through the network, whose axes each operator moves.

An axis of a tensor is a product of axes of the network: () is an axis of length 1, (batch, time) what a Reshape makes
of two axes. Reshape may regroup them but never change their order; Transpose changes their order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from elman.checks import Array
from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.sizes import Length, Size, product
from elman.interop.onnx.reading.stages import Axis, Stage

Group: TypeAlias = tuple[Axis, ...]

#: Roles of axes that are made of that of time, and the role of those of which a layer has changed what was set there.
LAST_STEPS, WITH_ZEROS, LOST = "last steps", "time with zeros", "time with zeros, and then a layer"
#: The role of an axis along which one vector per sequence stands at each step.
SPREAD = "steps, all the same"
MADE_OF_TIME = (LAST_STEPS, WITH_ZEROS)


@dataclass(frozen=True, eq=False)
class Constant:
    """An array that is known. Along the axes in `spread` it has length 1 here, and the one given there in the model."""

    array: Array
    spread: Mapping[int, Size] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Signal:
    """What flows through the network: the stage it stands after, and its axes as the model has them.

    `cut` is where it begins in an input that was cut along its first axis; `shared` whether others read it too.
    """

    stage: Stage
    axes: tuple[Group, ...]
    cut: int | None = None
    shared: bool = False

    @property
    def lengths(self) -> list[Length]:
        """The shape of the tensor."""
        return [product(axis.length for axis in group) for group in self.axes]

    def after(self, stage: Stage, axes: Sequence[Group] | None = None) -> Signal:
        """What stands after another stage. Of an axis with zeros that a layer has changed nothing more is known."""
        found = self.axes if axes is None else tuple(axes)
        if stage is not self.stage and any(axis.role in MADE_OF_TIME for group in found for axis in group):
            lost = {axis: Axis(axis.length, LOST) for group in found for axis in group if axis.role in MADE_OF_TIME}
            found = tuple(tuple(lost.get(axis, axis) for axis in group) for group in found)
        return Signal(stage, found, shared=self.shared and stage is self.stage)

    def moved(self, axes: Sequence[Group]) -> Signal:
        """The same values with their axes elsewhere."""
        return replace(self, axes=tuple(axes))

    def position(self, axis: Axis) -> int | None:
        """Which axis of the tensor an axis of the network is, by itself."""
        return next((i for i, group in enumerate(self.axes) if group == (axis,)), None)

    @property
    def signals(self) -> tuple[Signal, ...]:
        """Itself, as `StackedStates` have those of several layers."""
        return (self,)


@dataclass(frozen=True, eq=False)
class StackedStates:
    """States of several layers, one after another along an axis, the first in ``h_n`` of PyTorch."""

    signals: tuple[Signal, ...]
    axis: int = 0


@dataclass(frozen=True, eq=False)
class Lengths:
    """The input that says how many steps of each sequence are real, with a number added, or several along axis 1.

    (batch,), (batch, numbers) or (batch, numbers, 1).
    """

    name: str
    added: tuple[int, ...] = (0,)
    axes: int = 1


@dataclass(frozen=True, eq=False)
class Steps:
    """The numbers of the steps of time, from 0 on."""

    length: Length


@dataclass(frozen=True, eq=False)
class ValidSteps:
    """Whether each step is a real one: by which input of lengths, of how many steps, and what its axes are.

    An axis is "batch", "time", or "" where it is of length 1.
    """

    name: str
    length: Length
    roles: tuple[str, ...] = ("batch", "time")


@dataclass(frozen=True, eq=False)
class MaskedSum:
    """A sum over the real steps: what it is once divided by the lengths, and the input that has them."""

    mean: Signal
    lengths: str


@dataclass(frozen=True, eq=False)
class Question:
    """What follows from inputs of the model that are no part of the network, as a sampling rate is."""

    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Statistic:
    """A step on the way to a layer normalization that a graph writes out: what it is, and of which signal.

    `gain` and `bias` are what it was multiplied by already, and what was added then.
    """

    kind: str
    signal: Signal
    epsilon: float = 0.0
    gain: Array | None = None
    bias: Array | None = None


Value: TypeAlias = Constant | Signal | StackedStates | Lengths | Steps | ValidSteps | MaskedSum | Question | Statistic

_OTHERS = {
    Constant: "a constant",
    StackedStates: "states of several layers",
    Lengths: "the lengths of sequences",
    Steps: "the numbers of steps",
    ValidSteps: "which steps are real",
    MaskedSum: "a sum over time",
    Question: "a comparison",
}


def signal_of(node: Node, value: Any) -> Signal:
    """What flows through the network, or the words for what is there instead."""
    if isinstance(value, Signal):
        return value
    got = (
        "none"
        if value is None
        else _OTHERS.get(type(value), "a part of a layer normalization that is used elsewhere too")
    )
    raise node.refused("an input", "the output of a layer, or the input of the network", got)


def regrouped(axes: Sequence[Group], target: Sequence[Any], *, zero_copies: bool = True) -> list[Group] | None:
    """The groups that a Reshape to `target` makes; None where it would cut an axis.

    `target` may hold -1 once, and 0 for the length that the input has there.
    """
    lengths = [product(axis.length for axis in group) for group in axes]
    wanted = [lengths[i] if _is(t, 0) and zero_copies and i < len(lengths) else t for i, t in enumerate(target)]
    left = deque(axis for group in axes for axis in group)
    open_at = next((i for i, t in enumerate(wanted) if _is(t, -1)), len(wanted))
    front = [_take(left, t, back=False) for t in wanted[:open_at]]
    after = [_take(left, t, back=True) for t in wanted[:open_at:-1]]
    groups = [*front, *([tuple(left)] if open_at < len(wanted) else []), *after[::-1]]
    if open_at == len(wanted) and left:
        if not groups or any(not _is(axis.length, 1) for axis in left):
            return None
        groups[-1] = (*(groups[-1] or ()), *left)
    return None if any(group is None for group in groups) else [group for group in groups if group is not None]


def _take(left: deque[Axis], length: Any, *, back: bool) -> Group | None:
    """Axes from one end of `left` that have `length` together."""
    ends = [-1, 0] if back else [0, -1]
    group: list[Axis] = []
    if _is(length, 1):
        return (left.pop() if back else left.popleft(),) if left and _is(left[ends[0]].length, 1) else ()
    so_far: Any = 1
    while so_far != length:
        if not left:
            return None
        axis = left.pop() if back else left.popleft()
        if not group and isinstance(axis.length, Size) and isinstance(length, int):
            return (axis,)  # an exporter wrote the length that its example had
        group.insert(0 if back else len(group), axis)
        so_far = so_far * axis.length
    return tuple(group)


def _is(length: Any, number: int) -> bool:
    return isinstance(length, int) and length == number
