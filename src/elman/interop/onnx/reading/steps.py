"""Which steps and which features of a stage positions are."""

from __future__ import annotations

import itertools

import numpy as np

from elman.checks import Array, FormatError
from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.parts import LINEAR, PICK, Part, RecurrentPart
from elman.interop.onnx.reading.positions import Axis, Flow, Group, Stage


def varies(values: Array, valid: Array, d: int) -> bool:
    """Whether values change along an axis."""
    if values.shape[d] < 2:
        return False
    head, tail = (np.take(values, range(a, values.shape[d] - 1 + a), d) for a in (0, 1))
    both = np.take(valid, range(values.shape[d] - 1), d) & np.take(valid, range(1, values.shape[d]), d)
    return bool((both & (head != tail)).any())


def turned_steps(flow: Flow, ids: Array, stage: Stage, lengths: str) -> Array:
    """Positions in the shape of a stage, with the real steps of each sequence in reverse."""
    time = stage.time
    if time is None or time.length == 1:
        return ids
    at = stage.axes.index(time)
    if not lengths:
        return np.flip(ids, at)
    n, steps = flow.lengths[lengths], np.arange(time.length)
    turned = np.where(steps < n[:, None], n[:, None] - 1 - steps, steps)  # (batch, time)
    if at == 0:
        turned = turned.T
    return np.take_along_axis(ids, turned[(...,) + (None,) * (ids.ndim - 2)], at)


def direction_of(flow: Flow, stage: Stage, index: int) -> Stage:
    """One direction of a bidirectional layer alone, the second over reversed steps."""
    part, before = stage.part, stage.reads[0]
    assert isinstance(part, RecurrentPart)
    if index:
        before = flow.then(before, Part("Reverse", lengths=part.lengths), stage.place, key=("Reverse", part.lengths))
    return flow.then(before, part.direction(index), stage.place, part.hidden, key=("direction", stage, index))


class Run:
    """Positions of one stage (and constants): (axes longer than 1..., features)."""

    def __init__(self, node: Node, flow: Flow, ids: Array, stage: Stage) -> None:
        self.node, self.flow, self.ids, self.stage = node, flow, ids, stage
        self.valid = ids >= 0
        self.places = np.unravel_index(np.where(self.valid, ids - stage.first, 0), stage.shape) if stage.axes else ()
        self.along = [
            {d for d in range(ids.ndim) if axis.length > 1 and varies(self.places[j], self.valid, d)}
            for j, axis in enumerate(stage.axes)
        ]

    def refused(self, must: str, got: str) -> FormatError:
        """The error of what is no output of a layer."""
        return self.node.refused("what it takes", must, got)

    def found(self) -> tuple[Stage, list[Group]]:
        """The stage, and what each axis before the features holds."""
        ids, stage = self.ids, self.stage
        last = ids.ndim - 1
        merged = self._merged(last)
        if merged is not None:
            return merged
        self._tell_features(last)
        lead = [j for j, axis in enumerate(stage.axes) if axis.role != "features" and axis.length > 1]
        groups: list[Group] = [None] * last
        odd = []
        for j in lead:
            (d, *more) = self.along[j] or {last}
            steps = np.arange(ids.shape[d]).reshape([-1 if i == d else 1 for i in range(ids.ndim)])
            fits = not more and d != last and ids.shape[d] == stage.axes[j].length and groups[d] is None
            if fits and (~self.valid | (self.places[j] == steps)).all():
                groups[d] = (stage.axes[j],)
            else:
                odd.append(j)
        if odd and not self.valid.all() and not any(self.along[j] for j in odd):
            raise self.refused("real steps of each sequence", f"steps in the padding, of {stage.place}")
        if len(odd) > 1 or (last > 2 and odd):
            must = "whole sequences of a batch, or a step of each, as (batch, time, features)"
            raise self.refused(must, f"{ids.shape} of {[*stage.axes]} of {stage.place}")
        if not odd:
            return self._columns(stage, self._column_of(), False), groups
        time = stage.axes[odd[0]]
        time.take(self.node, "time")
        for j in lead:
            if j != odd[0]:
                stage.axes[j].take(self.node, "batch")
        return self._steps(odd[0], time, groups, last)

    def _merged(self, last: int) -> tuple[Stage, list[Group]] | None:
        """Where one axis of the tensor holds two of the stage: what it is with them apart."""
        for d in range(last):
            held = [j for j in range(len(self.along)) if self.along[j] == {d} and self.stage.axes[j].role != "features"]
            if len(held) < 2:
                continue
            held.sort(key=lambda j: -self._first_change(j, d))
            lengths = [self.stage.axes[j].length for j in held]
            if int(np.prod(lengths)) != self.ids.shape[d]:
                continue
            shape = self.ids.shape
            apart = Run(self.node, self.flow, self.ids.reshape(*shape[:d], *lengths, *shape[d + 1 :]), self.stage)
            stage, groups = apart.found()
            joined: list[Axis] = []
            for group in groups[d : d + len(held)]:
                if group is None:
                    raise self.refused("one axis of the network in each place", f"{[*self.stage.axes]} as one")
                joined += group
            return stage, [*groups[:d], tuple(joined), *groups[d + len(held) :]]
        return None

    def _first_change(self, j: int, d: int) -> int:
        """After how many places along an axis of the tensor an axis of the stage first changes."""
        line = np.moveaxis(self.places[j], d, 0).reshape(self.ids.shape[d], -1)[:, 0]
        return int((line != line[0]).argmax())

    def _tell_features(self, last: int) -> None:
        """Of an input, which axes are features: those that stand along the last axis alone, or one of length 1."""
        stage = self.stage
        if stage.tokens or (stage.features and stage.part is not None):
            return
        alone = [j for j, axis in enumerate(stage.axes) if not axis.role and self.along[j] == {last}]
        known = [j for j in alone if not stage.axes[j].name] or alone
        for j in known if len(stage.axes) - len(known) > 1 else known[-1:]:  # (batch, steps, features), flattened
            stage.axes[j].take(self.node, "features")
        ones = [axis for axis in stage.axes if axis.length == 1 and not axis.role]
        if not stage.features and ones and (self.ids.shape[-1] == 1):
            ones[-1].take(self.node, "features")

    def _column_of(self) -> Array:
        """Which feature of the stage each is, (steps..., features), counted over all axes of features."""
        stage = self.stage
        found = np.zeros(self.ids.shape, np.int64)
        for j, axis in enumerate(stage.axes):
            if axis.role == "features":
                found = found * axis.length + self.places[j]
        flat = found.reshape(-1, found.shape[-1])
        valid = self.valid.reshape(flat.shape)
        columns = flat[valid.argmax(0), np.arange(flat.shape[1])]
        if (valid & (flat != columns)).any():
            raise self.refused("the same features of each step", f"others, of {stage.place}")
        return columns

    # Steps of time.

    def _steps(self, j: int, time: Axis, groups: list[Group], last: int) -> tuple[Stage, list[Group]]:
        """What takes some steps of time."""
        at = next((d for d in range(last) if groups[d] is None), None)  # the axis of the steps it takes
        shown = [
            each[..., None, :] if at is None else np.moveaxis(each, at, -2) for each in (self.places[j], self.valid)
        ]
        t, valid = (each.reshape(-1, *each.shape[-2:]) for each in shown)  # (batch or 1, steps, features)
        stage = self.stage
        if at is None:
            whole = self._several_steps(t, valid, time) or self._last_of_both(t, valid, time)
            if whole is not None:
                return whole, groups
        columns = self._column_of()
        changes = [i for i in range(1, t.shape[-1]) if _differ(t, valid, i)]
        bounds = [0, *changes, t.shape[-1]]
        found = []
        for a, b in itertools.pairwise(bounds):
            found.append(self._run_of_steps(t[..., a], valid[..., a], columns[a:b], at is not None))
        if len(found) == 1:
            (stage, is_spread) = found[0]
        else:
            if len({is_spread for _, is_spread in found}) > 1 or any(
                stage.lead != found[0][0].lead for stage, _ in found
            ):
                raise self.refused("the same steps for all features", f"others, of {stage.place}")
            is_spread = found[0][1]
            axes = (*found[0][0].lead, Axis(sum(stage.width for stage, _ in found), "features"))
            stage = self.flow.add(Part("Concatenate"), [stage for stage, _ in found], self.node.place, axes)
        if at is not None and not is_spread:
            new = stage.time
            assert new is not None
            groups = [(new,) if d == at else group for d, group in enumerate(groups)]
        return stage, groups

    def _run_of_steps(self, t: Array, valid: Array, columns: Array, has_steps: bool) -> tuple[Stage, bool]:
        """Some features at some steps: the stage, and whether it is one vector for all of them."""
        stage = self.stage
        part, time = stage.part, stage.time
        assert time is not None
        if isinstance(part, RecurrentPart) and part.directions == 2 and part.start is None:
            index = int(columns[0]) // part.hidden
            if (columns // part.hidden == index).all():
                stage, columns = direction_of(self.flow, stage, index), columns - index * part.hidden
                if index:
                    t = self._turned(t, valid, time, part.lengths)
        elif part is not None and part.kind in LINEAR and len(columns) < stage.width:
            stage, columns = self._columns(stage, columns, True), np.arange(len(columns))
        is_spread = has_steps and not varies(t, valid, 1)
        if has_steps and not is_spread:
            stage = self._whole(stage, t, valid, time)
        else:
            stage = self._one_step(stage, t[:, 0], valid[:, 0], time)
        return self._columns(stage, columns, False), is_spread

    def _turned(self, t: Array, valid: Array, time: Axis, lengths: str) -> Array:
        if not lengths:
            return np.where(valid, time.length - 1 - t, 0)
        n = self.flow.lengths[lengths][:, None]
        return np.where(valid & (t < n), n - 1 - t, t)

    def _whole(self, stage: Stage, t: Array, valid: Array, time: Axis) -> Stage:
        """All steps as they are, or reversed."""
        steps, n = np.arange(t.shape[1]), time.length
        if t.shape[1] == n:
            if (~valid | (t == steps)).all():
                return stage
            if (~valid | (t == n - 1 - steps)).all():
                return self.flow.then(stage, Part("Reverse"), self.node.place, key=("Reverse", ""))
            for name, lengths in self.flow.lengths.items():
                if len(lengths) == len(t) and (~valid | (t == self._turned(steps[None], valid, time, name))).all():
                    return self.flow.then(stage, Part("Reverse", lengths=name), self.node.place, key=("Reverse", name))
        must = "all of an axis, its first or last step of time, or one of two directions"
        got = f"{t.shape[1]} steps of {time}" if t.shape[1] < n else f"{time} in another order"
        raise self.refused(must, f"{got}, of {stage.place}")

    def _one_step(self, stage: Stage, t: Array, valid: Array, time: Axis) -> Stage:
        """The last step, that at the end of each sequence, or the first."""
        ends = {"": np.full(1, time.length), **self.flow.lengths}
        place, then = self.node.place, self.flow.then
        for name, n in ends.items():
            if len(n) in (1, len(t)) and valid.all() and (t == n - 1).all():
                return self.flow.pooled(stage, Part("LastStep", lengths=name), place, key=("LastStep", name))
        if valid.all() and (t == 0).all():
            name = self._end_name()
            turned = then(stage, Part("Reverse", lengths=name), place, key=("Reverse", name))
            return self.flow.pooled(turned, Part("LastStep", lengths=name), place, key=("LastStep", name))
        must = "all of an axis, its first or last step of time, or one of two directions"
        got = f"step {int(t[0])} of {time}" if valid.all() else "a step in the padding"
        raise self.refused(must, f"{got}, of {stage.place}")

    def _several_steps(self, t: Array, valid: Array, time: Axis) -> Stage | None:
        """The last steps side by side, or the first, which are the last of the reversed; zeros before the first."""
        t, valid, place, flow = t[:, 0], valid[:, 0], self.node.place, self.flow
        zeros = self.ids[~self.valid]
        if zeros.size and (flow.constants(zeros) != 0).any():
            return None
        ends = {"": np.full(1, time.length), **flow.lengths}
        for name, n in ends.items():
            for turned in (False, True):
                if len(n) not in (1, len(t)) or (turned and name != self._end_name()):
                    continue
                rows = np.where(valid, -1 - t if turned else t - n[:, None], -(2**40))
                before = rows.max(0)  # how far from the end each feature is
                count, width = -int(before.min()), self.stage.width
                if not 2 <= count <= time.length or (valid & (rows != before)).any():
                    continue
                columns = (count + before) * width + self._column_of()
                if ((n[:, None] + before < 0) != ~valid).any() or len({*columns.tolist()}) != count * width:
                    continue
                stage = self.stage
                if turned:
                    stage = flow.then(stage, Part("Reverse", lengths=name), place, key=("Reverse", name))
                part = Part("LastSteps", {"input_size": width, "count": count}, lengths=name)
                stage = flow.pooled(stage, part, place, count * width, key=("LastSteps", count, name))
                return self._columns(stage, columns, False)
        return None

    def _end_name(self) -> str:
        """The input of lengths by which a first step is the last of the reversed."""
        return self.stage.lengths or next(iter(self.flow.lengths), "")

    def _last_of_both(self, t: Array, valid: Array, time: Axis) -> Stage | None:
        """The last state of both directions: the last step of one half of the features, the first of the other."""
        stage, columns, t = self.stage, self._column_of(), t[:, 0]
        if not valid.all() or stage.width % 2 or not np.array_equal(columns, np.arange(stage.width)):
            return None
        n = self.flow.lengths[stage.lengths][:, None] if stage.lengths else time.length
        if (t != np.where(columns < stage.width // 2, n - 1, 0)).any() or time.length == 1:
            return None
        last = Part("LastStep", {"bidirectional": True}, lengths=stage.lengths)
        return self.flow.pooled(stage, last, self.node.place, key=("LastStep", "both"))

    # Features.

    def _columns(self, stage: Stage, columns: Array, in_layer: bool) -> Stage:
        """Some of the features."""
        part = stage.part
        if np.array_equal(columns, np.arange(stage.width)):
            return stage
        if isinstance(part, RecurrentPart) and part.directions == 2 and part.start is None and not in_layer:
            index = int(columns[0]) // part.hidden
            if np.array_equal(columns, np.arange(part.hidden) + index * part.hidden):
                one = direction_of(self.flow, stage, index)
                if index:
                    turn = Part("Reverse", lengths=part.lengths)
                    one = self.flow.then(one, turn, stage.place, key=("Reverse", part.lengths))
                return one
        place, key = self.node.place, (stage, columns.tobytes())
        if part is not None and part.kind in LINEAR:
            self.node.take(sum(array.nbytes for array in part.arrays.values()) * len(columns) // stage.width)
            axes = (*stage.lead, Axis(len(columns), "features"))
            return self.flow.add(part.columns(columns), stage.reads, place, axes, key)
        picked = Part(PICK, {"columns": columns, "width": stage.width})
        return self.flow.then(stage, picked, place, len(columns), key=key)


def _differ(t: Array, valid: Array, i: int) -> bool:
    """Whether a feature is at other steps than the one before it."""
    return bool(((t[..., i] != t[..., i - 1]) & valid[..., i]).any() or (valid[..., i] != valid[..., i - 1]).any())
