"""Which steps and which features of a stage positions are: beside what layers would make of the stage."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from elman.checks import Array, FormatError
from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.parts import LINEAR, PICK, Part, RecurrentPart
from elman.interop.onnx.reading.positions import Axis, Flow, Group, Stage, varies


def turned_steps(ids: Array, n: Array) -> Array:
    """Positions (batch, time, features) with the first n steps of each sequence in reverse."""
    steps = np.arange(ids.shape[1])
    return np.take_along_axis(ids, np.where(steps < n[:, None], n[:, None] - 1 - steps, steps)[..., None], 1)


def renumbered(ids: Array, stage: Stage, numbers: Array) -> Array:
    """Positions of a stage with other numbers, (batch, time, features), in their place."""
    table = np.empty(max(stage.size, 1), np.int64)
    table[stage.by_time().ravel() - stage.first] = numbers.ravel()
    return np.where(ids < 0, ids, table[np.maximum(ids - stage.first, 0)])


def direction_of(flow: Flow, stage: Stage, index: int) -> Stage:
    """One direction of a bidirectional layer alone, the second over reversed steps."""
    part, before = stage.part, stage.reads[0]
    assert isinstance(part, RecurrentPart)
    before = flow.reverse(before, part.lengths, stage.place) if index else before
    return flow.then(before, part.direction(index), stage.place, part.hidden, key=("direction", stage, index))


class Run:
    """Positions of one stage (and constants): (axes longer than 1..., features)."""

    def __init__(self, node: Node, flow: Flow, ids: Array, stage: Stage) -> None:
        self.node, self.flow, self.ids, self.stage = node, flow, ids, stage
        self.valid = ids >= 0
        self.places = flow.places(ids, stage)
        self.along = [{d for d in range(ids.ndim) if varies(each, self.valid, d)} for each in self.places]

    def refused(self, must: str, got: str) -> FormatError:
        """The error of what is no output of a layer."""
        return self.node.refused("what it takes", must, f"{got} of {self.stage.place}")

    def found(self) -> tuple[Stage, list[Group]]:
        """The stage, and what each axis before the features holds."""
        ids, axes, last = self.ids, self.stage.axes, self.ids.ndim - 1
        merged = self._merged(last)
        if merged is not None:
            return merged
        self._tell_features(last)
        groups: list[Group] = [None] * last
        odd = []
        for j in (j for j, axis in enumerate(axes) if axis.role != "features" and axis.length > 1):
            (d, *more) = self.along[j] or {last}
            fits = not more and d != last and ids.shape[d] == axes[j].length and groups[d] is None
            in_order = np.moveaxis(self.places[j], d, -1) == np.arange(ids.shape[d])
            if fits and (in_order | ~np.moveaxis(self.valid, d, -1)).all():
                groups[d] = (axes[j],)
            else:
                odd.append(axes[j])
        if odd and not self.valid.all() and not self.along[axes.index(odd[0])]:
            raise self.refused("real steps of each sequence", "steps in the padding,")
        if len(odd) > 1 or (last > 2 and odd):
            must = "whole sequences of a batch, or a step of each, as (batch, time, features)"
            raise self.refused(must, f"{ids.shape} of {[*axes]}")
        if odd:
            self.stage.tell_time(self.node, odd[0])
        times = [axis.length for axis in self.stage.lead if axis.role == "time"]
        if len(times) == 1 and times[0] > 1 and last < 3:
            return self._steps(groups, bool(odd))
        held = [axis for group in groups for axis in group or ()]
        shape = [1 if group is None else group[0].length for group in groups]
        whole = np.broadcast_to(self.stage.laid(held).reshape(*shape, -1), (*ids.shape[:-1], self.stage.width))
        columns = self._columns(ids, whole, strict=False)
        if columns is None:
            raise self.refused("the same features of each step", "others")
        return self._picked(self.stage, columns), groups

    def _merged(self, last: int) -> tuple[Stage, list[Group]] | None:
        """Where one axis of the tensor holds two of the stage: what it is with them apart."""
        axes, shape = self.stage.axes, self.ids.shape
        for d in range(last):
            held = [j for j in range(len(axes)) if self.along[j] == {d} and axes[j].role != "features"]
            lines = {j: np.moveaxis(self.places[j], d, 0).reshape(shape[d], -1)[:, 0] for j in held}
            held.sort(key=lambda j: -int((lines[j] != lines[j][0]).argmax()))  # by how late they change
            lengths = [axes[j].length for j in held]
            if len(held) < 2 or int(np.prod(lengths)) != shape[d]:
                continue
            apart = Run(self.node, self.flow, self.ids.reshape(*shape[:d], *lengths, *shape[d + 1 :]), self.stage)
            stage, groups = apart.found()
            joined: list[Axis] = []
            for group in groups[d : d + len(held)]:
                if group is None:
                    raise self.refused("one axis of the network in each place", f"{[*axes]} as one")
                joined += group
            return stage, [*groups[:d], tuple(joined), *groups[d + len(held) :]]
        return None

    def _tell_features(self, last: int) -> None:
        """Of an input, which axes are features: those that stand along the last axis alone, or one of length 1."""
        stage = self.stage
        if stage.tokens or (stage.features and stage.part is not None):
            return
        alone = [axis for axis, d in zip(stage.axes, self.along, strict=True) if not axis.role and d == {last}]
        known = [axis for axis in alone if not axis.name] or alone
        for axis in known if len(stage.axes) - len(known) > 1 else known[-1:]:  # (batch, steps, features), flattened
            axis.take(self.node, "features")
        if stage.features:
            return
        ones = [axis for axis in stage.axes if axis.length == 1 and not axis.role and self.ids.shape[-1] == 1]
        picked = [  # one feature of several
            axis
            for axis, along in zip(stage.axes, self.along, strict=True)
            if not along and not axis.role and (not axis.name or axis is stage.axes[-1])
        ]
        for axis in (ones or (picked if len(stage.axes) > 2 else []))[-1:]:
            axis.take(self.node, "features")

    # Steps of time.

    def _steps(self, groups: list[Group], odd: bool) -> tuple[Stage, list[Group]]:
        """What takes steps of time, all as they are or some."""
        stage, time = self.stage, self.stage.time
        at = next((d for d, group in enumerate(groups) if group == (None if odd else (time,))), None)
        ids = self.ids[..., None, :] if at is None else np.moveaxis(self.ids, at, -2)
        ids = ids.reshape(-1, *ids.shape[-2:])  # (batch or 1, steps, features)
        t = self.places[stage.axes.index(time)] if time is not None else self.ids
        is_spread = odd and at is not None and not varies(self.ids, self.valid, at)
        ids = ids[:, 0] if at is None or is_spread else ids
        width = ids.shape[-1]
        row = t.reshape(-1, width)[self.valid.reshape(-1, width).sum(1).argmax()]
        pieces = [0, *(np.flatnonzero(np.diff(row)) + 1).tolist(), ids.shape[-1]]
        alone = self._piece(ids)
        found = [alone] if alone is not None else [self._piece(ids[..., a:b]) for a, b in itertools.pairwise(pieces)]
        stages = [each for each in found if each is not None]
        if len(stages) < len(found) or any(each.lead != stages[0].lead for each in stages):
            took = f"{ids.shape[1]} steps" if ids.ndim == 3 else f"step {row[0]}" if len(pieces) == 2 else "steps"
            must = "all of an axis, its first or last step of time, or one of two directions"
            raise self.refused(must, f"{took} of {time}, or another order,")
        if len(stages) > 1:
            stages = [self.flow.beside(stages, self.node.place, stages[0].lead)]
        if at is not None and not is_spread and stages[0].time is not None:
            groups = [(stages[0].time,) if d == at else group for d, group in enumerate(groups)]
        return stages[0], groups

    def _piece(self, ids: Array) -> Stage | None:
        """The stage of positions (batch, steps, features), or of one vector of each sequence (batch, features)."""
        for stage, whole, parts in self._candidates(ids):
            columns = self._columns(ids, whole, strict=ids.ndim == 2)
            if columns is None:
                continue
            some = len(columns) < whole.shape[-1]
            if some and stage.part is not None and stage.part.kind in LINEAR:
                stage, columns = self._picked(stage, columns), np.arange(len(columns))
            for part, width in parts:
                key = (part.kind, part.lengths, *part.config.values())
                add = self.flow.then if part.kind == "Reverse" else self.flow.pooled
                stage = add(stage, part, self.node.place, width, key=key)
            return self._picked(stage, columns)
        return None

    def _candidates(self, ids: Array) -> Iterator[tuple[Stage, Array, Sequence[tuple[Part, int]]]]:
        """What layers make of the stage: positions (batch, [steps,] features), and the layers with their widths."""
        stage, flow, part = self.stage, self.flow, self.stage.part
        x = stage.by_time()
        ends = {name: flow.ends(name, x) for name in ("", *flow.lengths) if len(flow.ends(name, x)) == len(x)}
        bases = []
        if isinstance(part, RecurrentPart) and part.directions == 2 and part.start is None:
            h, n = part.hidden, ends[part.lengths]
            if ids.shape[-1] <= h:
                halves = x[..., :h], turned_steps(x[..., h:], n)
                bases = [(direction_of(flow, stage, i), half) for i, half in enumerate(halves)]
        name = stage.lengths or next((k for k in ends if k), "")  # by which the first step is the last of the reversed
        for base, y in [*bases, (stage, x)]:
            width, last = y.shape[-1], np.arange(len(y))
            for end, n in ends.items():
                turned = (Part("Reverse", lengths=end), width)
                if ids.ndim == 3:
                    yield base, y, ()
                    yield base, turned_steps(y, n), [turned]
                    continue
                yield base, y[last, n - 1], [(Part("LastStep", lengths=end), width)]
                if end == name:
                    yield base, y[:, 0], [turned, (Part("LastStep", lengths=end), width)]
                    both = np.concatenate([y[last, n - 1, : width // 2], y[:, 0, width // 2 :]], 1)
                    yield base, both, [(Part("LastStep", {"bidirectional": True}, lengths=end), width)]
                count = ids.shape[-1] // width
                if ids.shape[-1] % width or count < 2 or count > y.shape[1]:
                    continue
                steps = n[:, None] - count + np.arange(count)
                for before, z in ([], y), ([turned], turned_steps(y, n)):
                    some = np.where((steps >= 0)[..., None], z[last[:, None], steps], flow.code(0.0))
                    several = Part("LastSteps", {"input_size": width, "count": count}, lengths=end)
                    yield base, some.reshape(len(y), -1), [*before, (several, count * width)]

    # Features.

    @staticmethod
    def _columns(ids: Array, whole: Array, *, strict: bool) -> Array | None:
        """Which features of `whole` these are; None where they are others. Constants fit all unless `strict`."""
        if ids.shape[:-1] != whole.shape[:-1]:
            return None
        some, full = ids.reshape(-1, ids.shape[-1]), whole.reshape(-1, whole.shape[-1])
        row = int((some >= 0).sum(1).argmax())
        order = np.argsort(full[row], kind="stable")
        columns = order[np.searchsorted(full[row], some[row], sorter=order).clip(max=len(order) - 1)]
        fits = some == full[:, columns]
        return columns if (fits if strict else fits | (some < 0)).all() else None

    def _picked(self, stage: Stage, columns: Array) -> Stage:
        """Some of the features."""
        part, place, key = stage.part, self.node.place, (stage, columns.tobytes())
        if np.array_equal(columns, np.arange(stage.width)):
            return stage
        if part is not None and part.kind in LINEAR:
            self.node.take(sum(array.nbytes for array in part.arrays.values()) * len(columns) // stage.width)
            axes = (*stage.lead, Axis(len(columns), "features"))
            return self.flow.add(part.columns(columns), stage.reads, place, axes, key)
        picked = Part(PICK, {"columns": columns, "width": stage.width})
        return self.flow.then(stage, picked, place, len(columns), key=key)
