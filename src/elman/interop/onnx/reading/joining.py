"""Signals joined number by number: a sum or a product, of both directions of a layer, or of any layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.parts import PAIRS, WEIGHTED, WEIGHTS, Part, RecurrentPart
from elman.interop.onnx.reading.positions import UNKNOWN, Axis, Signal, Stage
from elman.interop.onnx.reading.views import axis_over, check_weights, feature_position, met, view


def joined(node: Node, kind: str, *signals: Signal) -> Signal:
    """Signals of one shape, or that are repeated along axes of length 1, as a layer that joins them."""
    shapes = [signal.shape for signal in signals]
    weights = [signal for signal in signals if all(s.kind == WEIGHTS for s in signal.flow.sources(signal.ids))]
    if weights:
        return _weighted(node, kind, weights[0], [signal for signal in signals if signal is not weights[0]])
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        if len({each[:-1] for each in shapes}) == 1:
            ends = " and ".join(str(each[-1]) for each in shapes)
            raise node.refused("its inputs", "of as many features", ends) from None
        raise
    node.take(8 * int(np.prod(shape)))
    wide = [signal.moved(np.broadcast_to(signal.ids, shape)) for signal in signals]
    position = _position(wide)
    both = _merged_directions(node, kind, wide, position) if len(wide) == 2 else None
    if both is not None:
        return both
    views = [view(node, signal, position, spread=True) for signal in wide]
    groups = met(node, [each.groups for each in views])
    stages = [each.stage for each in views]
    for each in views:  # a vector stands beside each step, never beside each sequence
        for group in (met_at for met_at, own in zip(groups, each.groups, strict=True) if own is None):
            for axis in group or ():
                axis.take(node, "time")
    crossed = [{d for d, group in enumerate(each.groups) if group is None} for each in views]
    if len(views) == 2 and crossed[0] - crossed[1] and crossed[1] - crossed[0]:
        groups = [  # the axes of the second are others, also where both are of one sequence
            tuple(Axis(axis.length, axis.role) for axis in group) if group and d in crossed[0] else group
            for d, group in enumerate(groups)
        ]
        lead = tuple(axis for group in groups for axis in group or ())
        of = [
            1 if d in crossed[0] else 0 if d in crossed[1] else None
            for d, group in enumerate(groups)
            for _ in group or ()
        ]
        part = Part(PAIRS, {"of": of})
    else:
        part = Part(kind)
        lead = next(
            (each.stage for each in views if None not in each.groups), max(stages, key=lambda each: len(each.axes))
        ).lead
    stage = wide[0].flow.add(part, stages, node.place, (*lead, Axis(stages[0].width, "features")))
    codes = [each.codes for each in views if each.codes is not None]
    fills = [each.fill for each in views]
    fill = 0.0 if kind == "Multiply" and 0.0 in fills else sum(UNKNOWN if each is None else each for each in fills)
    found = replace(views[0], stage=stage, groups=tuple(groups), codes=np.minimum.reduce(codes) if codes else None)
    return found.signal(stage, fill)


def _position(signals: list[Signal]) -> int | None:
    """Along which axis the features of signals of one shape stand."""
    known = [signal for signal in signals if any(stage.width > 1 for stage in signal.flow.sources(signal.ids))]
    places = [feature_position(signal) for signal in known or signals]
    return next((place for place in places if place is not None), None)


def _merged_directions(node: Node, kind: str, signals: list[Signal], position: int | None) -> Signal | None:
    """Both directions of a layer made one by a sum or a product; None where the signals are no directions."""
    flow = signals[0].flow
    owners = {stage for signal in signals for stage in flow.sources(signal.ids)}
    part = next(iter(owners)).part if len(owners) == 1 else None
    if position is None or not isinstance(part, RecurrentPart) or part.directions != 2:
        return None
    for pair in (signals, signals[::-1]):
        both = signals[0].moved(np.concatenate([signal.ids for signal in pair], position))
        same = (signals[0].ids == signals[1].ids) & (signals[0].ids >= 0)
        if both.shape[position] != 2 * part.hidden or same.any():
            return None
        found = view(node, both, position, spread=True)
        if found.stage.width == 2 * part.hidden and _has_both(found.stage):
            mode = {"Add": "sum", "Multiply": "mul"}[kind]
            stage = flow.then(found.stage, Part("MergeDirections", {"mode": mode}), node.place, part.hidden)
            return found.signal(stage, 0.0 if found.fill == 0 else UNKNOWN)
    return None


def _has_both(stage: Stage) -> bool:
    """Whether the features are those of two directions."""
    if stage.kind == "LastStep":
        stage = stage.reads[0]
    return isinstance(stage.part, RecurrentPart) and stage.part.directions == 2


def _weighted(node: Node, kind: str, weights: Signal, others: list[Signal]) -> Signal:
    """Each step times its weight."""
    x = others[0] if len(others) == 1 else weights
    position = feature_position(x)
    fits = kind == "Multiply" and x is not weights and position is not None and weights.ids.ndim == x.ids.ndim
    if not fits or position is None or weights.shape[position] != 1:
        shapes = " and ".join(str(signal.shape) for signal in (weights, *others))
        raise node.refused("its inputs", "steps, and one weight for each", shapes)
    found, (p, *_) = view(node, x, position), weights.flow.sources(weights.ids)
    check_weights(node, weights, p)
    for d, group in enumerate(found.groups):
        over = axis_over(weights, d + (d >= position))
        for axis in group or ():
            if over is not None and axis.length > 1:
                axis.unite(node, p.axes[over])
    return found.signal(found.flow.add(Part(WEIGHTED), [found.stage, p], node.place, found.stage.axes), 0.0)
