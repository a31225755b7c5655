"""Means over time with weights that a softmax over the steps gives: attention, by scores of one number per step.

    p = Softmax(scores, axis=time)        y = ReduceSum(Mul(p, x), axis=time), or MatMul(p, x)

The scores may come from any layers. They stand beside x as one more feature of the memory of an `elman.Attention`,
unless they are a product of x alone.
"""

from __future__ import annotations

import numpy as np

from elman.interop.onnx.reading.features import whole
from elman.interop.onnx.reading.folding import axis_of
from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.signals import Signal
from elman.interop.onnx.reading.sizes import product
from elman.interop.onnx.reading.stages import PADDING, PICK, WEIGHTED, WEIGHTS, Axis, Part, Stage

_FAR_BELOW = -1e4  # under which no score of a step counts


def weights(node: Node, x: Signal) -> Signal | None:
    """A softmax over time of one number per step; None where it is over something else."""
    if not x.axes:
        return None
    position = axis_of(node, node.attributes["axis"], len(x.axes))
    after = product(axis.length for group in x.axes[position + 1 :] for axis in group)
    is_time = len(x.axes[position]) == 1 and x.axes[position][0].role == "time"
    width = product(axis.length for axis in x.stage.features)
    if not is_time or width != 1 or x.stage.parent is None or (node.opset < 13 and after != 1):
        return None
    return x.after(x.stage.then(Part(WEIGHTS), node.place))


def is_weights(x: Signal) -> bool:
    """Whether it is a softmax over time."""
    return x.stage.part is not None and x.stage.part.kind == WEIGHTS


def weighted(node: Node, a: Signal, b: Signal) -> Signal:
    """Each step times its weight, of which the sum is to be taken."""
    p, x = (a, b) if is_weights(a) else (b, a)
    fits = len(p.axes) == len(x.axes) and all(
        mine == its or (its == x.stage.features and product(axis.length for axis in mine) == 1)
        for mine, its in zip(p.axes, x.axes, strict=True)
    )
    if not fits or is_weights(x):
        raise node.refused("its inputs", "steps, and one weight for each", f"{tuple(a.lengths)}, {tuple(b.lengths)}")
    return x.after(Stage(x.stage, Part(WEIGHTED), node.place, x.stage.features, others=(p.stage,)), x.axes)


def context_of(node: Node, x: Signal, axis: int, keep: bool) -> Signal:
    """The sum over time of weighted steps."""
    memory, p = x.stage.parents
    axes = [*x.axes[:axis], *([()] if keep else []), *x.axes[axis + 1 :]]
    return _mean(node, Signal(memory, x.axes), p, axes)


def context(node: Node, a: Signal, b: Signal) -> Signal:
    """A product of weights (batch, 1, time) and steps (batch, time, features), or of both transposed."""
    p, x, turned = (a, b, False) if is_weights(a) else (b, a, True)
    time, one = (-2, -1) if turned else (-1, -2)
    fits = len(p.axes) == len(x.axes) == 3 and p.axes[0] == x.axes[0] and p.axes[time] == x.axes[one]
    is_one = fits and product(axis.length for axis in p.axes[one]) == 1
    if not is_one or x.axes[time] != x.stage.features or is_weights(x):
        must = "the weights of steps (batch, 1, time), and steps (batch, time, features)"
        raise node.refused("its inputs", must, f"{tuple(a.lengths)} and {tuple(b.lengths)}")
    return _mean(node, x, p.stage, [x.axes[0], x.stage.features, ()] if turned else [x.axes[0], (), x.stage.features])


def _mean(node: Node, x: Signal, p: Stage, axes: list[tuple[Axis, ...]]) -> Signal:
    score, memory = p.parent, x.stage
    assert score is not None
    lengths = ""
    if score.part is not None and score.part.kind == PADDING and score.parent is not None:
        if score.part.config["fill"] > _FAR_BELOW:
            raise node.refused("the scores in the padding", f"under {_FAR_BELOW}", f"{score.part.config['fill']}")
        lengths, score = score.part.lengths, score.parent
    _, width = whole(node, x, next(i for i, group in enumerate(x.axes) if group == memory.features))
    node.take(8 * (width + 1) ** 2)
    arrays = {}
    part = score.part
    if part is not None and part.kind == "Dense" and score.parent is memory and _is_linear(part):
        arrays, size, both = {"Wm": part.arrays["W"]}, width, memory  # the bias is the same for all steps
    else:
        size = width + 1
        both = Stage(memory, Part("Concatenate"), node.place, (Axis(size, "features"),), others=(score,))
    query = both.then(Part("LastStep", lengths=lengths), node.place)
    config = {"query_size": size, "memory_size": size, "units": 1, "scaled": False}
    features = memory.features if size == width else (Axis(size, "features"),)
    stage = Stage(query, Part("Attention", config, arrays, lengths), node.place, features, others=(both,))
    if size > width:
        columns = {"columns": np.arange(width), "width": size}
        stage = stage.then(Part(PICK, columns), node.place, memory.features)
    return x.after(stage, axes)


def _is_linear(part: Part) -> bool:
    return part.config.get("activation") == "identity"
