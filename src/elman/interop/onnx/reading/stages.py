"""The layers that a graph turns out to be, as far as a value of it has come.

Each value that flows through the network stands after a `Stage`: a layer, and the stages that it reads. Nothing is
changed once made, so a graph may branch and join as it likes. Where two branches are what one layer computes, such as
the two directions of a bidirectional layer, they become that layer; elsewhere a layer joins them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from elman.checks import Array
from elman.interop.arrays import from_arrays
from elman.interop.chain import dense
from elman.interop.onnx.reading.sizes import Length
from elman.layers import LAYERS, Bidirectional, Layer, Recurrent, Scale

#: The kind of what stands for the cell state of an LSTM, which no layer can read.
CELL_STATE = "cell state"

#: The kind of what stands for a number that was set in the padding, which no layer ever sees.
PADDING = "padding"


#: The kind of what takes some of the features: a part of a layer before it, or else a product with 0 and 1.
PICK = "pick"

#: The kinds of steps on the way to a mean over time with weights: these, and what they are multiplied by.
WEIGHTS, WEIGHTED = "weights of steps", "weighted steps"

POOLS = ("LastStep", "LastSteps", "MeanOverTime", "MaxOverTime")

#: Layers of which a part of the features is a layer with fewer columns.
LINEAR = ("Conv1d", "Dense")


class Axis:
    """One axis of the network: of time, of the batch, of features, or of directions, and how long it is.

    An input's axes have no role until an operator tells it. Of the axis of time a graph may take the "last steps",
    each sequence to its own end where `lengths` names an input, of a time with zeros, as many as `zeros` says before
    and after it.
    """

    def __init__(self, length: Length, role: str = "", lengths: str = "", zeros: tuple[int, int] = (0, 0)) -> None:
        self.length = length
        self._role = role
        self._same: Axis | None = None
        self.lengths = lengths
        self.zeros = zeros

    def _told(self) -> Axis:
        axis = self
        while axis._same is not None:
            axis = axis._same
        return axis

    @property
    def role(self) -> str:
        """What it is, "" where nothing has told that yet."""
        return self._told()._role

    @role.setter
    def role(self, role: str) -> None:
        self._told()._role = role

    def unite(self, other: Axis) -> bool:
        """Tells that both are of one kind; False where they are not."""
        mine, its = self._told(), other._told()
        if mine._role and its._role and mine._role != its._role:
            return False
        if mine is not its:
            mine._role, its._same = mine._role or its._role, mine
        return True

    def __repr__(self) -> str:
        return f"the {self.role or 'axis'} of length {self.length}"


_WITH_WEIGHTS = ("Attention", "BatchNorm", "Conv1d", "Dense", "Embedding", "LayerNorm")


@dataclass(frozen=True, eq=False)
class Part:
    """What a layer is to be: its class in `LAYERS`, its config, and its arrays."""

    kind: str
    config: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)
    lengths: str = ""  #: the input that says how long each sequence is, where the operator reads one
    single: Axis | None = None  #: the axis of time, of one step, whose only step it takes

    def build(self, dtype: np.dtype[Any]) -> Layer:
        """The layer. What an operator leaves out of its arrays is 0, or 1 for a gain."""
        if self.kind == PICK:
            W = np.zeros((self.config["width"], len(self.config["columns"])), dtype)
            W[self.config["columns"], np.arange(W.shape[1])] = 1
            return dense(W)
        if self.kind == "Scale":  # each feature times a number of its own, plus one
            scale, shift = (self.arrays[name].astype(np.float64) for name in ("scale", "shift"))
            return Scale(len(scale), -shift / scale, scale) if scale.all() else dense(*_diagonal(self.arrays))
        layer = LAYERS[self.kind]
        config = {**self.config, "dtype": str(dtype)} if self.kind in _WITH_WEIGHTS else self.config
        arrays = dict(self.arrays)
        if self.kind in LINEAR:
            arrays.setdefault("b", np.zeros(self.config["output_size"], dtype))
        if self.kind == "Attention":  # by a score that the memory has as its last feature, or by a product
            size = self.config["memory_size"]
            scores = np.eye(size, dtype=dtype)[:, -1:]
            arrays = {"Wq": np.zeros((size, 1), dtype), "Wm": scores, "b": np.ones(1, dtype), **arrays}
        if self.kind in ("BatchNorm", "LayerNorm"):
            size = self.config["size"]
            arrays = {"gain": np.ones(size, dtype), "bias": np.zeros(size, dtype), **arrays}
        return layer.from_parameters(config, arrays)

    @property
    def size(self) -> int:
        """How many numbers its layer will hold, about."""
        if self.kind == "Scale" and not self.arrays["scale"].all():
            return len(self.arrays["scale"]) ** 2
        if self.kind == PICK:
            return int(self.config["width"]) * len(self.config["columns"])
        return sum(array.size for array in self.arrays.values())

    @property
    def title(self) -> str:
        """Its class, and "both" where it is one for both directions."""
        return self.kind + " both" * bool(self.config.get("bidirectional"))


def _diagonal(arrays: Mapping[str, Array]) -> tuple[Array, Array]:
    """The dense layer that multiplies some features by 0."""
    return np.diag(arrays["scale"]), arrays["shift"]


@dataclass(frozen=True)
class Given:
    """A state before the first step that is an input of the graph: which one, from which of its rows on, its axes."""

    name: str
    start: int
    directions: int
    roles: tuple[str, ...]  # of the axes of the input: "direction", "batch", "hidden"


@dataclass(frozen=True, eq=False)
class RecurrentPart(Part):
    """A recurrent layer: `kind` is its cell, `config` the options of the cell, the arrays are those of ONNX.

    `learned` are the states before the first step where they are constant, name -> (directions, hidden), and `given`
    where they are inputs. `second` are the options of the second direction, where it has others.
    """

    learned: Mapping[str, Array] = field(default_factory=dict)
    given: Mapping[str, Given] = field(default_factory=dict)
    second: Mapping[str, Any] | None = None
    start: Stage | None = None  #: the recurrent layer from whose last state it starts

    @property
    def directions(self) -> int:
        """1 or 2."""
        return len(self.arrays["W"])

    def build(self, dtype: np.dtype[Any]) -> Layer:
        if self.second is not None:
            first, second = (self.direction(i).build(dtype) for i in range(2))
            assert isinstance(first, Recurrent)
            assert isinstance(second, Recurrent)
            return Bidirectional(first, second)
        layer = from_arrays(self.kind, self.arrays, "onnx", **self.config)
        if not self.learned:
            return layer
        starts = {
            f"{state}0{suffix}": array[d]
            for state, array in self.learned.items()
            for d, suffix in enumerate(layer.directions)
        }
        return type(layer).from_parameters({**layer.config, "learned_state": True}, {**layer.parameters, **starts})

    def direction(self, index: int) -> RecurrentPart:
        """One of its directions alone."""
        arrays, learned = (
            {name: array[index : index + 1] for name, array in group.items()} for group in (self.arrays, self.learned)
        )
        config = self.second if index and self.second is not None else self.config
        return replace(self, config=config, arrays=arrays, learned=learned, second=None)

    def with_reverse(self, other: Part) -> RecurrentPart | None:
        """The bidirectional layer of two of one kind and size; None where they differ."""
        if not isinstance(other, RecurrentPart) or self.start is not None or _options(self) != _options(other):
            return None
        arrays, learned = (
            {name: np.concatenate([array, its[name]]) for name, array in mine.items()}
            for mine, its in ((self.arrays, other.arrays), (self.learned, other.learned))
        )
        return replace(
            self, arrays=arrays, learned=learned, second=None if self.config == other.config else other.config
        )


def _options(part: RecurrentPart) -> list[Any]:
    shapes = [{name: array.shape for name, array in group.items()} for group in (part.arrays, part.learned)]
    return [part.kind, part.lengths, part.given, part.start, *shapes]


@dataclass(frozen=True, eq=False)
class Stage:
    """A layer, and the stage that it reads, or stages; neither where it is an input of the graph.

    `axes` are those of the input, or the axes of features that the layer gives; None where it leaves them as they are.
    """

    parent: Stage | None
    part: Part | None
    place: str
    axes: tuple[Axis, ...] | None = None
    state: str = ""  #: "h" or "c": the state of the recurrent layer before, as its operator gives it; "tokens": an
    #: input of whole numbers
    name: str = ""  #: of the input of the graph
    others: tuple[Stage, ...] = ()  #: that it reads beside the first
    root: Stage = field(init=False, repr=False)  #: the input in which the chain begins
    depth: int = field(init=False, repr=False)  #: how many layers it stands after
    pooled: bool = field(init=False, repr=False)  #: whether it is one vector per sequence, as a layer has made it
    _giver: Stage = field(init=False, repr=False)  # the last stage with axes of its own; both found once, not by a walk

    def __post_init__(self) -> None:
        """Takes over from the stage before what stays the same after it."""
        object.__setattr__(self, "root", self if self.parent is None else self.parent.root)
        object.__setattr__(self, "depth", max((stage.depth + 1 for stage in self.parents), default=0))
        over_time = self.part is not None and self.part.kind in (*POOLS, "Attention")
        every = bool(self.parents) and all(stage.pooled for stage in self.parents)
        object.__setattr__(
            self, "pooled", over_time or (every and self.part is not None and self.part.kind != "Repeat")
        )
        has_axes = self.parent is None or self.axes is not None
        object.__setattr__(self, "_giver", self if has_axes or self.parent is None else self.parent._giver)

    @property
    def features(self) -> tuple[Axis, ...]:
        """The axes that elman has as one axis of features, in its order."""
        axes = self._giver.axes or ()
        if self._giver.parent is not None:
            return axes
        return tuple(axis for axis in axes if axis.role == "features")

    def then(self, part: Part, place: str, features: tuple[Axis, ...] | None = None, state: str = "") -> Stage:
        """The stage after one more layer."""
        own = self.part
        if part.kind == "Reverse" and own is not None and (own.kind, own.lengths) == ("Reverse", part.lengths):
            assert self.parent is not None
            return self.parent  # twice backwards is forwards
        return Stage(self, part, place, features, state)

    def with_part(self, **changes: Any) -> Stage:
        """The stage with its own layer changed."""
        assert self.part is not None
        return replace(self, part=replace(self.part, **changes))

    @property
    def parents(self) -> tuple[Stage, ...]:
        """All stages that it reads."""
        return () if self.parent is None else (self.parent, *self.others)

    def tail(self, count: int) -> tuple[Stage, list[Part]]:
        """The stage `count` layers before this one, and those layers; none where there are not as many."""
        stage = self
        parts: list[Part] = []
        for _ in range(count):
            if stage.parent is None or stage.part is None or stage.others:
                return self, []
            parts.insert(0, stage.part)
            stage = stage.parent
        return stage, parts


#: What may stand after a bidirectional layer, and after its directions by themselves, which are [forward] and
#: [Reverse, reverse]; by their titles.
_DIRECTIONS: tuple[tuple[list[str], list[str], list[str]], ...] = (
    ([], [], ["Reverse"]),
    (["LastStep both"], ["LastStep"], ["LastStep"]),
    (["LastStep"], ["LastStep"], ["Reverse", "LastStep"]),
    (["Reverse", "LastStep"], ["Reverse", "LastStep"], ["LastStep"]),
)


def half(stage: Stage, index: int) -> Stage | None:
    """One direction of a bidirectional layer, perhaps of its last step; None where there are no two."""
    for both, *ends in _DIRECTIONS:
        before, parts = stage.tail(len(both) + 1)
        if not parts or not isinstance(parts[0], RecurrentPart) or parts[0].start is not None:
            continue
        if parts[0].directions == 2 and titles(parts[1:]) == both:
            lengths = parts[0].lengths
            if index:
                before = before.then(Part("Reverse", lengths=lengths), stage.place)
            before = before.then(parts[0].direction(index), stage.place, stage.features[1:])
            for title in ends[index]:
                before = before.then(Part(title, lengths=lengths), stage.place)
            return before
    return None


def joined(forward: Stage, reverse: Stage, features: tuple[Axis, ...], take: Callable[[int], None]) -> Stage | None:
    """The bidirectional layer of which two stages are the directions; None where they are not.

    `take` asks for the memory of its weights, in bytes.
    """
    for both, *ends in _DIRECTIONS:
        (start, first), (other, second) = (
            stage.tail(len(end) + 1) for stage, end in zip((forward, reverse), ends, strict=True)
        )
        if not first or not second or [titles(first[1:]), titles(second[1:])] != ends:
            continue
        take(16 * first[0].size)
        part = first[0].with_reverse(second[0]) if isinstance(first[0], RecurrentPart) else None
        turned = other.then(Part("Reverse", lengths=first[0].lengths), forward.place)
        if part is not None and part.directions == 2 and _are_same(start, turned):
            start = start.then(part, forward.place, features)
            for title in both:
                config = {"bidirectional": True} if title.endswith("both") else {}
                start = start.then(Part(title.split()[0], config, lengths=part.lengths), forward.place)
            return start
    return None


def joined_halves(forward: Stage, reverse: Stage, features: tuple[Axis, ...]) -> Stage | None:
    """What two halves of the features of one stage are together: that stage, or its last step of both directions."""
    for count in (1, 2):
        (start, first), (other, second) = forward.tail(count), reverse.tail(2 * count - 1)
        if start is other and first and second and [titles(first), titles(second)] == _HALVES[count]:
            both = np.concatenate([parts[0].config["columns"] for parts in (first, second)])
            if not np.array_equal(both, np.arange(first[0].config["width"])) or len(both) % 2:
                return None
            part = Part("LastStep", {"bidirectional": True}, lengths=first[-1].lengths)
            return start if count == 1 else start.then(part, forward.place, features)
    return None


_HALVES = {1: [[PICK], [PICK]], 2: [[PICK, "LastStep"], [PICK, "Reverse", "LastStep"]]}


def titles(parts: list[Part]) -> list[str]:
    """The titles of layers."""
    return [part.title for part in parts]


def _are_same(one: Stage, other: Stage) -> bool:
    """Whether two stages are one, or the same one turned backwards."""
    parts = [stage.part for stage in (one, other) if stage.part is not None]
    return one is other or (one.parent is other.parent and titles(parts) == ["Reverse", "Reverse"])
