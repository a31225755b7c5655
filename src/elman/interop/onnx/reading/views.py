"""What positions are: the output of a layer as it stands, or some of its steps, directions or features.

A layer reads (batch, time, features) or (batch, features). `view` finds, from the numbers alone, which stage gives what
a tensor has there, and adds the layers that it takes: the last step, a reversal, one direction of two, some features,
several signals side by side.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from elman.checks import Array
from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.parts import SCORES, UNFINISHED, WEIGHTS, Part, RecurrentPart
from elman.interop.onnx.reading.positions import UNKNOWN, Axis, Flow, Group, ShortError, Signal, Stage, varies
from elman.interop.onnx.reading.steps import Run, renumbered, turned_steps


@dataclass(frozen=True, eq=False)
class View:
    """A stage as a tensor has it.

    `groups` are the axes of the stage that each axis of the tensor holds, but for that of the features, at `position`;
    None where one vector stands at each place of it. `codes` are the constants in the padding, 0 elsewhere.
    """

    flow: Flow
    stage: Stage
    groups: tuple[Group, ...]
    lengths: tuple[int, ...]  # of those axes
    position: int | None
    codes: Array | None = None

    def lay(self, stage: Stage, fill: float = UNKNOWN) -> Array:
        """The positions of a stage with the same axes but for its features, as the tensor has them."""
        shape = [1 if group is None else int(np.prod([axis.length for axis in group])) for group in self.groups]
        ids = stage.laid([axis for group in self.groups for axis in group or ()]).reshape(*shape, stage.width)
        ids = np.broadcast_to(ids, (*self.lengths, stage.width))
        if self.codes is not None:
            ids = np.where(self.codes[..., None] < 0, self.flow.code(fill), ids)
        return ids[..., 0] if self.position is None else np.moveaxis(ids, -1, self.position)

    def then(self, node: Node, part: Part, width: int | None = None, fill: float = UNKNOWN) -> Signal:
        """What flows after one more layer that keeps the batch and time."""
        return self.signal(self.flow.then(self.stage, part, node.place, width), fill)

    def signal(self, stage: Stage, fill: float = UNKNOWN) -> Signal:
        """What flows after a layer that stands after this view."""
        return Signal(self.flow, self.lay(stage, fill))

    def without(self, axis: Axis) -> View:
        """The view with length 1 in the place of one axis."""
        groups = tuple(() if group == (axis,) else group for group in self.groups)
        lengths = tuple(1 if group == (axis,) else n for group, n in zip(self.groups, self.lengths, strict=True))
        return replace(self, groups=groups, lengths=lengths, codes=None)

    @property
    def fill(self) -> float | None:
        """The constant in the padding, None where there is none."""
        if self.codes is None:
            return None
        found = {self.flow.number(int(code)) for code in np.unique(self.codes[self.codes < 0])}
        return found.pop() if len(found) == 1 else UNKNOWN

    @property
    def padded_by(self) -> str:
        """The input of lengths that says where the padding is, "" where there is none."""
        return "" if self.codes is None else padding_of(self.flow, np.less(self.codes, 0))

    def axis(self, node: Node, position: int) -> Axis | None:
        """The one axis of the stage at an axis of the tensor; None where that has length 1."""
        group = self.groups[position - (self.position is not None and position > self.position)]
        if group is None or len(group) > 1:
            raise node.refused(
                f"the axis {position} of its input", "one axis of the network", "several, or a repeated one"
            )
        return group[0] if group else None


def feature_positions(x: Signal) -> list[int]:
    """Along which axes of a tensor its features stand: none where they are one, and have no axis."""
    sources = x.flow.sources(x.ids)
    for stage in sources:
        known = [j for j, axis in enumerate(stage.axes) if axis.role == "features" and axis.length > 1]
        if not known:
            continue
        own, places = stage.holds(x.ids), x.flow.places(x.ids, stage)
        found = [d for d in range(x.ids.ndim) if any(varies(places[j], own, d) for j in known)]
        if found:
            return found
    if len(sources) > 1:  # one feature of each
        owners = np.searchsorted([stage.first for stage in sources], x.ids, side="right")
        apart = [d for d in range(x.ids.ndim) if varies(owners, x.ids >= 0, d)]
        if apart:
            return apart
    ones = [d for d, length in enumerate(x.shape) if length == 1]
    held = [axis_over(x, d) for d in range(x.ids.ndim)]
    if len(sources) == 1 and not sources[0].features:
        fixed = [d for d, j in enumerate(held) if j is not None and not sources[0].axes[j].name]
        if len(fixed) == 1:  # the one length that is known
            return fixed
    if not ones and len(sources) == 1 and held.count(None) == 1:  # one feature, several times
        return [held.index(None)]
    if ones or not x.ids.ndim or all(stage.features for stage in sources):
        return ones[-1:]
    return [x.ids.ndim - 1]


def feature_position(x: Signal) -> int | None:
    """The last of them."""
    positions = feature_positions(x)
    return positions[-1] if positions else None


def axis_over(x: Signal, d: int) -> int | None:
    """Which axis of the one stage of a tensor stands along d, batch or time; None where another does, or of several."""
    sources = x.flow.sources(x.ids)
    if len(sources) != 1:
        return None
    axes, places = sources[0].axes, x.flow.places(x.ids, sources[0])
    found = (j for j, axis in enumerate(axes) if axis.role != "features" and varies(places[j], x.ids >= 0, d))
    return next(found, None)


def view(node: Node, x: Signal, position: int | None, *, spread: bool = False) -> View:
    """What a tensor is, whose features stand along `position`; None where they are one, and have no axis.

    With `spread` it may be one vector for many steps, which a layer that joins signals sets beside each.
    """
    flow = x.flow
    ids = x.ids[..., None] if position is None else np.moveaxis(x.ids, position, -1)
    lengths = ids.shape[:-1]
    wide = [d for d, length in enumerate(lengths) if length != 1]
    core = ids.reshape([lengths[d] for d in wide] + [ids.shape[-1]])
    parts = [Run(node, flow, each, stage).found() for each, stage in _runs(node, flow, core)]
    codes = _padding(node, flow, core, [stage for stage, _ in parts])
    stage, groups = parts[0]
    if len(parts) > 1:
        groups = met(node, [groups for _, groups in parts])
        full = next((stage for stage, held in parts if None not in held), stage)
        stage = flow.beside([stage for stage, _ in parts], node.place, full.lead)
    every: list[Group] = [()] * len(lengths)
    for d, group in zip(wide, groups, strict=True):
        every[d] = group
    wide_axes = [axis for axis in stage.axes if axis.length != 1]
    if position is not None and not stage.features and len(wide_axes) > 2:  # features are beside all three of them
        raise node.refused("its input", "(batch, time, features)", f"{x.shape}, of 1 feature")
    found = View(flow, stage, tuple(every), lengths, position, None if codes is None else codes.reshape(lengths))
    return found if spread or None not in every else _repeated(node, found)


def _repeated(node: Node, found: View) -> View:
    """The view with a vector that stands at each of a known number of steps as a layer of its own."""
    (at, *more) = [d for d, group in enumerate(found.groups) if group is None]
    count, stage = found.lengths[at], found.stage
    if more or count in found.flow.open or stage.time is not None or len(stage.lead) > 1:
        must = "a sequence, or one vector for each at a known number of steps"
        raise node.refused("its input", must, f"the same at each of {found.flow.open.get(count, count)!r} steps")
    for axis in stage.lead:
        axis.take(node, "batch")
    time = Axis(count, "time")
    axes = (*stage.lead, time, Axis(stage.width, "features"))
    repeated = found.flow.add(Part("Repeat", {"count": count}), (stage,), node.place, axes)
    groups = tuple((time,) if group is None else group for group in found.groups)
    return replace(found, stage=repeated, groups=groups)


def padding_of(flow: Flow, codes: Array) -> str:
    """The input of lengths after whose steps constants stand, in any order of two axes; "" where there is none."""
    kept = codes
    for d in reversed(range(codes.ndim)):  # axes along which it is the same
        if (kept == kept.take([0], d)).all():
            kept = kept.take(0, d)
    for name, n in flow.lengths.items():
        for at in range(kept.ndim):
            turned = np.moveaxis(kept, at, 0)
            fits = kept.ndim == 2 and len(n) == len(turned)
            if fits and (turned == (np.arange(turned.shape[1]) >= n[:, None])).all():
                return name
    return ""


def check_weights(node: Node, p: Signal, weighting: Stage) -> None:
    """Refuses weights of steps of which others are 0 than those after the end of each sequence."""
    gone = p.ids < 0
    if gone.any() and weighting.part is not None and padding_of(p.flow, gone) != weighting.part.lengths:
        raise node.refused("its weights", "a softmax over time as it is", "one of which some are set to 0")


#: Positions whose last axis is that of the features, and the one stage whose elements they are.
_Run: TypeAlias = tuple[Array, Stage]


def _runs(node: Node, flow: Flow, ids: Array) -> list[_Run]:
    """Parts of the features, each of one stage; constants are of the stage beside them."""
    if not ids.size or (ids < 0).all():
        raise node.refused("its input", "the output of a layer, or the input of the network", "constants alone")
    sources = flow.sources(ids)
    for stage in sources:
        if stage.kind in (SCORES, WEIGHTS):
            what, must = UNFINISHED[stage.kind]
            raise node.refused(f"{what} of {stage.place}", must, "one that is used elsewhere")
    if flow.stage_of(ids) is not None:
        return [(ids, sources[0])]
    owners = []
    for column in ids.reshape(-1, ids.shape[-1]).T:
        stages = flow.sources(column)
        if len(stages) != 1:
            if not stages and flow.constants(column).any() == 0:  # zeros before the first step
                steps = max(axis.length for stage in sources for axis in stage.lead)
                raise ShortError(node, steps, 2 * steps)
            got = " and ".join(stage.place for stage in stages[:2]) or "constants among features"
            raise node.refused("its input", "of one layer at each step", got)
        owners.append(stages[0])
    begins = [i for i, owner in enumerate(owners) if not i or owner is not owners[i - 1]]
    runs = [(ids[..., a:b], owners[a]) for a, b in itertools.pairwise([*begins, len(owners)])]
    return _two_directions(node, flow, runs) if len(runs) == 2 else runs


def _padding(node: Node, flow: Flow, ids: Array, stages: Sequence[Stage]) -> Array | None:
    """The constants in the padding of positions, 0 elsewhere; None where there are none."""
    constant = ids < 0
    if not constant.any():
        return None
    if any(stage.kind == "LastSteps" for stage in stages) and ids.ndim == 2:
        return None  # zeros before the first step, as the layer has them
    somewhere: Array = np.any(constant, -1)
    if not padding_of(flow, somewhere):
        number = flow.number(int(ids[constant][0]))
        raise node.refused("its input", "constant in the padding alone", f"{number} elsewhere")
    low, high = (np.where(constant, ids, other) for other in (0, -(2**62)))
    same = constant.all(-1) & (low.min(-1) == high.max(-1))
    return np.where(somewhere, np.where(same, low.min(-1), flow.code(UNKNOWN)), 0)


def _two_directions(node: Node, flow: Flow, runs: list[_Run]) -> list[_Run]:
    """Two layers, one over reversed steps, as the one bidirectional layer that they are."""
    for order in (1, -1):
        (ahead, one), (back, other) = runs[::order]
        turned = other.reads[0] if other.reads else None
        a, b = one.part, other.part
        if not (isinstance(a, RecurrentPart) and isinstance(b, RecurrentPart)) or turned is None or a.start or a.begins:
            continue
        if turned.kind != "Reverse" or turned.reads[0] is not one.reads[0] or turned.part is None:
            continue
        both = a.with_reverse(b) if turned.part.lengths == a.lengths and one.lead == other.lead else None
        if both is None:
            continue
        node.take(16 * a.size)
        stage = flow.then(one.reads[0], both, one.place, 2 * a.hidden, key=("both", one, other))
        numbers = stage.by_time()
        turned_numbers = turned_steps(numbers[..., a.hidden :], flow.ends(a.lengths, numbers))
        joined = [
            renumbered(ahead, one, numbers[..., : a.hidden]),
            renumbered(back, other, turned_numbers),
        ]
        return [(np.concatenate(joined[::order], -1), stage)]
    return runs


def met(node: Node, every: Sequence[Sequence[Group]]) -> list[Group]:
    """The groups of signals that meet, whose axes become of one kind."""
    found = list(every[0])
    for groups in every[1:]:
        for d, group in enumerate(groups):
            mine = found[d]
            if mine is None:
                found[d] = group
            elif group is not None:
                if [axis.length for axis in mine] != [axis.length for axis in group]:
                    raise node.refused("its inputs", "with the same axes in each place", f"{mine} and {group}")
                for one, other in zip(mine, group, strict=True):
                    one.unite(node, other)
    return found
