"""What flows through the network, as positions.

Each element of a tensor is a number: the place of an element in the output of a layer or in an input (a `Stage`), or,
under 0, a constant. Operators that move elements are run on these numbers as they stand, whatever they do; what the
result is, such as the last step of each sequence or one of two directions, is seen from the numbers when a layer reads
it (`elman.interop.onnx.reading.views`). Lengths that a model leaves open are small numbers here, see `reader`.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from elman.checks import Array
from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.parts import POOLS, Part

#: The number that is under no other: a constant of which nothing is known, as what a layer makes of padding.
UNKNOWN = math.nan


def varies(values: Array, valid: Array, d: int) -> bool:
    """Whether values change along an axis."""
    n = values.shape[d]
    changes = np.diff(values, axis=d) != 0
    return bool((changes & np.take(valid, range(1, n), d) & np.take(valid, range(n - 1), d)).any())


class Axis:
    """One axis of the network: of the batch, of time or of features. Those of inputs have no role until one is told."""

    def __init__(self, length: int, role: str = "", name: str = "") -> None:
        self.length, self.name = length, name
        self._role = role
        self._same: Axis | None = None

    def _told(self) -> Axis:
        axis = self
        while axis._same is not None:
            axis = axis._same
        return axis

    @property
    def role(self) -> str:
        """What it is, "" where nothing has told that yet."""
        return self._told()._role

    def take(self, node: Node, role: str) -> None:
        """Tells what it is, or refuses another role than it has."""
        if self.role not in ("", role):
            raise node.refused("an axis of its input", f"that of the {role}", f"that of the {self.role}")
        self.tell(role)

    def tell(self, role: str) -> None:
        """Tells what it is."""
        self._told()._role = role

    def unite(self, node: Node, other: Axis) -> None:
        """Tells that both are of one kind."""
        mine, its = self._told(), other._told()
        if mine is not its:
            mine.take(node, its._role or mine._role)
            its._same = mine

    def __repr__(self) -> str:
        return f"the {self.role or 'axis'} of length {self.length}"


#: What an axis of a tensor holds: axes of the network; None where the same stands at each place of it.
Group: TypeAlias = tuple[Axis, ...] | None


@dataclass(frozen=True, eq=False)
class Stage:
    """An input of the graph, or a layer and the stages that it reads.

    The axes of a layer are the batch and time, in either order and as far as it has them, and then its features.
    """

    part: Part | None
    reads: tuple[Stage, ...]
    place: str
    axes: tuple[Axis, ...]
    first: int  #: the number of its first element
    name: str = ""  #: of an input
    tokens: bool = False  #: whether it is an input of whole numbers
    lengths: str = field(init=False)  #: the input that says how long its sequences are, as far as a layer read one
    pooled: bool = field(init=False)  #: whether it is one vector per sequence, as a layer has made it

    def __post_init__(self) -> None:
        own = self.part.lengths if self.part is not None else ""
        found = own or next((stage.lengths for stage in self.reads if stage.lengths), "")
        object.__setattr__(self, "lengths", found)
        every = bool(self.reads) and all(stage.pooled for stage in self.reads) and self.kind != "Repeat"
        object.__setattr__(self, "pooled", every or self.kind in POOLS)

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of its axes."""
        return tuple(axis.length for axis in self.axes)

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    @property
    def features(self) -> tuple[Axis, ...]:
        """The axes that elman has as one axis of features, in its order."""
        return tuple(axis for axis in self.axes if axis.role == "features")

    @property
    def width(self) -> int:
        """How many features it has."""
        return math.prod(axis.length for axis in self.features)

    @property
    def lead(self) -> tuple[Axis, ...]:
        """The axes before the features."""
        return tuple(axis for axis in self.axes if axis.role != "features")

    @property
    def time(self) -> Axis | None:
        """The axis of time."""
        return next((axis for axis in self.axes if axis.role == "time"), None)

    @property
    def kind(self) -> str:
        """The kind of its layer, "" for an input."""
        return "" if self.part is None else self.part.kind

    def ids(self) -> Array:
        """The numbers of its elements, in its own shape."""
        return np.arange(self.first, self.first + self.size).reshape(self.shape)

    def holds(self, ids: Array) -> Array:
        """Which positions are those of its elements."""
        return (ids >= self.first) & (ids < self.first + self.size)

    def tell_time(self, node: Node, time: Axis) -> None:
        """Tells that one of its axes is that of time, and the other that of the batch."""
        for axis in self.lead:
            axis.take(node, "time" if axis is time else "batch")

    def laid(self, lead: Sequence[Axis]) -> Array:
        """These as (axes of `lead`..., those left of length 1..., features)."""
        order = [*lead, *(axis for axis in self.lead if axis not in lead), *self.features]
        ids = self.ids().transpose([self.axes.index(axis) for axis in order])
        return ids.reshape(*ids.shape[: len(self.lead)], self.width)

    def by_time(self) -> Array:
        """These as (batch or 1, steps or 1, features)."""
        time = [axis for axis in self.lead if axis.role == "time"]
        ids = self.laid([*(axis for axis in self.lead if axis not in time), *time])
        return ids.reshape(-1, *(axis.length for axis in time or [Axis(1)]), self.width)


class Flow:
    """All stages so far, the constants among the positions, and the lengths of the sequences of this trace."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.lengths: dict[str, Array] = {}  #: of each input of lengths
        self.open: dict[int, str] = {}  #: the names of axes that the model leaves open, by their lengths here
        self._firsts: list[int] = []
        self._end = 0
        self._numbers: list[float] = []
        self._codes: dict[float, int] = {}
        self._made: dict[Any, Stage] = {}

    def add(
        self, part: Part | None, reads: Sequence[Stage], place: str, axes: Sequence[Axis], key: Any = None, **more: Any
    ) -> Stage:
        """A new stage; made once for each `key`, for the first stage that it reads."""
        if key is not None and (reads[0], key) in self._made:
            return self._made[reads[0], key]
        stage = Stage(part, tuple(reads), place, tuple(axes), self._end, **more)
        self._firsts.append(self._end)
        self.stages.append(stage)
        self._end += max(stage.size, 1)
        if key is not None:
            self._made[reads[0], key] = stage
        return stage

    def then(self, stage: Stage, part: Part, place: str, width: int | None = None, *, key: Any = None) -> Stage:
        """The stage after one more layer that keeps the batch and time."""
        axes = stage.axes if width is None else (*stage.lead, Axis(width, "features"))
        return self.add(part, (stage,), place, axes, key)

    def pooled(self, stage: Stage, part: Part, place: str, width: int | None = None, *, key: Any = None) -> Stage:
        """The stage after a layer that makes one vector of each sequence."""
        lead = tuple(axis for axis in stage.lead if axis is not stage.time)
        return self.add(part, (stage,), place, (*lead, Axis(width or stage.width, "features")), key)

    def reverse(self, stage: Stage, lengths: str, place: str) -> Stage:
        """The stage with the steps of each sequence in reverse."""
        return self.then(stage, Part("Reverse", lengths=lengths), place, key=("Reverse", lengths))

    def beside(self, stages: Sequence[Stage], place: str, lead: Sequence[Axis]) -> Stage:
        """The features of several stages side by side, at the axes of `lead`."""
        axes = (*lead, Axis(sum(stage.width for stage in stages), "features"))
        return self.add(Part("Concatenate"), stages, place, axes)

    def places(self, ids: Array, stage: Stage) -> tuple[Array, ...]:
        """Where positions stand along each axis of a stage; 0 where they are those of others."""
        return np.unravel_index(np.where(stage.holds(ids), ids - stage.first, 0), stage.shape) if stage.axes else ()

    def ends(self, name: str, ids: Array) -> Array:
        """How many steps each sequence of (batch, steps, ...) has, all or as an input of lengths says."""
        return self.lengths[name] if name else np.full(len(ids), ids.shape[1])

    def stage_of(self, ids: Array) -> Stage | None:
        """The one stage whose elements these are; None where there are several, or constants."""
        if not ids.size:
            return None
        low, high = int(ids.min()), int(ids.max())
        if low < 0:
            return None
        at = bisect.bisect_right(self._firsts, low) - 1
        return self.stages[at] if high < self.stages[at].first + max(self.stages[at].size, 1) else None

    def sources(self, ids: Array) -> tuple[Stage, ...]:
        """All stages whose elements are among these."""
        alone = self.stage_of(ids)
        if alone is not None:
            return (alone,)
        at = np.unique(np.searchsorted(self._firsts, ids[ids >= 0], side="right") - 1)
        return tuple(self.stages[i] for i in at)

    def code(self, number: float) -> int:
        """The number under 0 that stands for a constant."""
        key = float(number)
        key = UNKNOWN if math.isnan(key) else key
        if key not in self._codes:
            self._numbers.append(key)
            self._codes[key] = -len(self._numbers)
        return self._codes[key]

    def codes(self, node: Node, array: Array) -> Array:
        """Known numbers as constants among positions."""
        numbers, where = np.unique(np.asarray(array, np.float64), return_inverse=True)
        if len(numbers) > 4096:
            raise node.refused(
                "its inputs", "the outputs of layers, or a few numbers beside them", f"{len(numbers)} numbers"
            )
        return np.array([self.code(each) for each in numbers], np.int64)[where].reshape(np.shape(array))

    def number(self, code: int) -> float:
        """The constant of a code."""
        return self._numbers[-1 - code]

    def constants(self, ids: Array) -> Array:
        """The numbers of codes, NaN where there is no constant."""
        numbers = np.array([*self._numbers[::-1], UNKNOWN])  # codes from -n to -1, and what is no code
        return numbers[np.where(ids < 0, ids + len(self._numbers), len(self._numbers))]


@dataclass(frozen=True, eq=False)
class Signal:
    """What flows through the network: the positions of the elements of a tensor."""

    flow: Flow
    ids: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor."""
        return self.ids.shape

    @property
    def place(self) -> str:
        """Where it comes from."""
        return " and ".join(stage.place for stage in self.flow.sources(self.ids)[:2]) or "constants"

    def moved(self, ids: Array) -> Signal:
        """Other positions."""
        return replace(self, ids=ids)


@dataclass(frozen=True, eq=False)
class Unknown:
    """What follows from inputs of the model that are no part of the network, as a sampling rate is."""

    names: tuple[str, ...]
    place: str = "an input that is no part of the network"


class ShortError(Exception):
    """More steps are needed than there are: an open number of steps is to be larger here, or else it is refused."""

    def __init__(self, node: Node, steps: int, needed: int) -> None:
        super().__init__(steps, needed)
        self.node, self.steps, self.needed = node, steps, needed


def signal_of(node: Node, value: Any) -> Signal:
    """What flows through the network, or the words for what is there instead."""
    if isinstance(value, Signal):
        return value
    got = "none" if value is None else "known values alone" if isinstance(value, np.ndarray) else value.place
    raise node.refused("an input", "the output of a layer, or the input of the network", got)
