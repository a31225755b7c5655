"""Attention: a softmax over time, and the mean of a memory by these weights.

    p = Softmax(scores, axis=time)        y = MatMul(p, memory), or ReduceSum(Mul(p, memory), axis=time)

The scores are a product of queries and keys, v . tanh(q + k), or those that layers give for each step.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from elman.checks import Array
from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.parts import AFFINE, PAIRS, PICK, SCORES, WEIGHTS, Part
from elman.interop.onnx.reading.pointwise import FAR_BELOW
from elman.interop.onnx.reading.positions import Axis, Flow, Signal, Stage
from elman.interop.onnx.reading.views import axis_over, check_weights, met, padding_of, view


def scores(node: Node, a: Signal, b: Signal) -> Signal:
    """The product of queries (batch, queries, size) and keys (batch, size, steps), or the other way round."""
    if a.ids.ndim != 3 or b.ids.ndim != 3 or a.shape[-1] != b.shape[-2]:
        raise node.refused(
            "its inputs", "one known, or (batch, queries, size) and (batch, size, steps)", f"{a.shape} and {b.shape}"
        )
    one, other = view(node, a, 2), view(node, b, 1)
    met(node, [one.groups[:1], other.groups[:1]])
    lead = [group for group in (one.groups[0], one.groups[1], other.groups[1]) if group]
    if any(len(group) != 1 for group in lead):
        raise node.refused("its inputs", "of one axis of the network in each place", f"{a.shape} and {b.shape}")
    stage = one.flow.add(Part(SCORES), (one.stage, other.stage), node.place, [group[0] for group in lead])
    return Signal(one.flow, stage.ids().reshape(a.shape[0], a.shape[1], b.shape[2]))


def weights(node: Node, x: Signal, d: int) -> Signal | None:
    """A softmax over the steps of a memory; None where it is over features."""
    j, sources = axis_over(x, d), x.flow.sources(x.ids)
    stage = sources[0]
    if j is None or stage.part is None or (stage.kind != SCORES and stage.width != 1):
        return None
    axis = stage.axes[j]
    gone, name = x.ids < 0, ""
    if gone.any():
        highest = x.flow.constants(x.ids[gone]).max()
        if not highest <= FAR_BELOW:
            raise node.refused("the scores in the padding", f"under {FAR_BELOW}", f"{highest}")
        name = padding_of(x.flow, gone) if (gone != gone.take([0], d)).any() else ""
        if not name:
            raise node.refused("the scores that it leaves out", "those after the end of each sequence", "others")
    if stage.kind != SCORES and len(stage.lead) < 3:
        axis.take(node, "time")
    made = x.flow.add(Part(WEIGHTS, {"over": j}, lengths=name), (stage,), node.place, stage.axes)
    return x.moved(np.where(gone, x.flow.code(0.0), x.ids - stage.first + made.first))


def context(node: Node, p: Signal, x: Signal, turned: bool) -> Signal:
    """The product of weights (batch, queries, steps) and a memory (batch, steps, features), or both transposed."""
    if p.ids.ndim != 3 or x.ids.ndim != 3 or p.shape[1 if turned else 2] != x.shape[2 if turned else 1]:
        raise node.refused(
            "its inputs", "weights (batch, queries, steps) and (batch, steps, features)", f"{p.shape} and {x.shape}"
        )
    (weighting,) = p.flow.sources(p.ids)
    check_weights(node, p, weighting)
    memory = view(node, x, 1 if turned else 2)
    axis = memory.axis(node, 2 if turned else 1)
    over = None if weighting.part is None else weighting.part.config["over"]
    if axis is None or over is None or axis_over(p, 1 if turned else 2) not in (over, None):
        raise node.refused("its inputs", "weights, and the steps of a memory", f"{p.shape} and {x.shape}")
    axis.take(node, "time")
    axis.unite(node, weighting.axes[over])
    stage = attended(node, p.flow, weighting, memory.stage, axis)
    shape = (x.shape[0], p.shape[2 if turned else 1], memory.stage.width)
    ids = stage.ids().reshape(shape)
    return Signal(p.flow, ids.transpose(0, 2, 1) if turned else ids)


def attended(node: Node, flow: Flow, weighting: Stage, memory: Stage, time: Axis) -> Stage:
    """The layer of weights and their memory: axes (batch, queries, features), those that it has."""
    part = weighting.part
    assert part is not None
    score, factor = weighting.reads[0], 1.0
    while score.part is not None and score.kind == AFFINE:  # a shift is the same for all steps
        factor *= score.part.config["scale"]
        score = score.reads[0]
    place, width = node.place, memory.width
    alone = score if factor == 1 else weighting.reads[0], (), None  # one score for each step, whatever the query
    query, key, queries, v = _form(score, part.config["over"]) or (None, *alone)
    batch = [axis for axis in memory.lead if axis is not time]
    node.take(8 * (width + key.width) ** 2)
    arrays, value = _by_keys(flow, place, key, memory)
    if query is None:
        query = flow.pooled(value, Part("LastStep", lengths=part.lengths), place)
        arrays = {"Wm": np.eye(1, dtype=np.int8), **arrays}
        arrays |= {"Wq": np.zeros((query.width, 1), np.int8), "b": np.ones(1, np.int8)}
    elif v is not None:
        arrays["v"] = v * v.dtype.type(factor)
    else:
        arrays |= {"b": np.zeros_like(arrays["b"])} if arrays else {}  # it adds the same to all scores of a query
        query = query if factor == 1 else flow.then(query, Part(AFFINE, {"scale": factor, "shift": 0.0}), place)
    config: dict[str, Any] = {"query_size": query.width, "memory_size": value.width}
    config |= {"scaled": False} if v is None else {"kind": "additive"}
    if "Wm" in arrays:
        config["units"] = units = arrays["Wm"].shape[1]
        arrays = {"Wq": np.eye(query.width, units, dtype=np.int8), **arrays}
    axes = (*batch, *queries, Axis(value.width, "features"))
    stage = flow.add(Part("Attention", config, arrays, part.lengths), (query, value), place, axes)
    below = _linear(memory)
    if value is memory:
        return stage
    if below is not None and below[2] is value:  # the mean of products is the product of the mean
        config = {"input_size": value.width, "output_size": width, "activation": "identity"}
        return flow.then(stage, Part("Dense", config, {"W": below[0], "b": below[1]}), place, width)
    picked = Part(PICK, {"columns": np.arange(width), "width": stage.width})
    return flow.then(stage, picked, place, width)


def _form(score: Stage, over: int) -> tuple[Stage, Stage, tuple[Axis, ...], Array | None] | None:
    """Queries, keys, the axes of the queries, and v where scores are v . tanh(q + k); None where they are others."""
    if score.kind == SCORES:
        query, key = score.reads
        if over == len(score.axes) - 1 and len(key.lead) > 1:
            return query, key, score.axes[1:over], None
        return key, query, score.axes[over + 1 :], None
    own = _linear(score) if score.width == 1 else None
    curve = own[2] if own is not None else score
    if own is None or curve.part is None or curve.part.config.get("activation") != "tanh":
        return None
    pairs = curve.reads[0]
    if pairs.part is None or pairs.kind != PAIRS:
        return None
    of = pairs.part.config["of"]  # which of both each axis is of
    queries = tuple(axis for axis, one in zip(score.axes, of, strict=False) if one == 1 - of[over])
    return pairs.reads[1 - of[over]], pairs.reads[of[over]], queries, own[0][:, 0]


def _by_keys(flow: Flow, place: str, key: Stage, memory: Stage) -> tuple[dict[str, Array], Stage]:
    """Arrays of an attention by keys, and the memory that it reads."""
    own, below = _linear(key), _linear(memory)
    for value in (memory, *([below[2]] if below is not None else [])):
        if own is not None and own[2] is value:
            return {"Wm": own[0], "b": own[1]}, value
        if key is value:
            return {}, value
    both = flow.beside((memory, key), place, memory.lead)
    chosen = np.zeros((both.width, key.width), np.int8)
    chosen[memory.width :] = np.eye(key.width)
    return {"Wm": chosen, "b": np.zeros(key.width, np.int8)}, both


def _linear(stage: Stage) -> tuple[Array, Array, Stage] | None:
    """Weights, bias and what is read, of a product; None where it is another layer."""
    part = stage.part
    if part is None or part.kind != "Dense" or part.config["activation"] != "identity":
        return None
    none = np.zeros(stage.width, np.int8)
    return part.arrays["W"], part.arrays.get("b", none), stage.reads[0]
