"""Padding in ONNX graphs: which steps of each sequence are real, computed from the input that says how many.

    steps = Range(0, time, 1)        real = Less(steps, lengths)        y = Where(real, x, 0)

So `to_onnx` writes it. A sum of y over time, divided by the lengths, is the mean over the real steps, and with -inf in
place of 0 the maximum is that of the real steps. No layer of elman sees padding, so that what is set there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from elman.interop.onnx.reading.axes import Handler
from elman.interop.onnx.reading.features import take_role, time_axis
from elman.interop.onnx.reading.folding import new_axes, permutation
from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.signals import Constant, Lengths, MaskedSum, Signal, Steps, ValidSteps, signal_of
from elman.interop.onnx.reading.stages import PADDING, Part

#: What must stand in the padding of what is reduced over time.
_FILLS = {"Conv": 0.0, "MaxPool": -np.inf, "ReduceMax": -np.inf, "ReduceSum": 0.0}


def padding_of(node: Node, x: Signal) -> str:
    """The input of lengths by which the padding of what is reduced over time was set; "" where there is none."""
    part = x.stage.part
    if part is not None and part.kind == PADDING and part.config["fill"] == _FILLS.get(node.op):
        return part.lengths
    if node.op == "ReduceSum" or (part is not None and part.kind == PADDING):
        must = "the mean of all steps, or a sum over 0 or a maximum over -inf in the padding"
        raise node.refused("what it takes over time", must, f"{node.op} of {x.stage.place}")
    return ""


def _less(node: Node, steps: Any, lengths: Any) -> ValidSteps:
    if not isinstance(steps, Steps) or not _is_column(lengths):
        raise node.refused("its inputs", "the numbers of the steps, and the lengths of sequences, (batch, 1)", "others")
    return ValidSteps(lengths.name, steps.length)


def _is_column(value: Any) -> bool:
    return isinstance(value, Lengths) and (value.added, value.axes) == ((0,), 2)


def _roles(node: Node, value: Any) -> tuple[str, ...]:
    if not isinstance(value, ValidSteps):
        raise node.refused("its input", "which steps are real", "their numbers, or a sum of them")
    return value.roles


def _unsqueeze(node: Node, real: Any, axes: Any = None) -> ValidSteps:
    roles = _roles(node, real)
    new = new_axes(node, axes, len(roles))
    old, rank = iter(roles), len(roles) + len(new)
    return replace(real, roles=tuple("" if axis in new else next(old) for axis in range(rank)))


def _transpose(node: Node, real: Any) -> ValidSteps:
    roles = _roles(node, real)
    return replace(real, roles=tuple(roles[axis] for axis in permutation(node, len(roles))))


def _where(node: Node, real: Any, x: Any, instead: Any) -> Signal:
    """A signal with a number in its padding."""
    x, roles = signal_of(node, x), _roles(node, real)
    if not isinstance(instead, Constant) or instead.array.size != 1:
        raise node.refused("its third input", "one known number", "another value")
    _check_axes(node, x, roles, real.length)
    if x.stage.state == "tokens":
        return x  # none of the padding is ever looked at
    fill = float(instead.array.item())
    return x.after(x.stage.then(Part(PADDING, {"fill": fill}, lengths=real.name), node.place))


def _check_axes(node: Node, x: Signal, roles: Sequence[str], steps: Any) -> None:
    batch, time = roles.index("batch"), roles.index("time")
    if len(roles) != len(x.axes) or x.lengths[time] != steps or time_axis(node, x, time) is None:
        must = f"sequences, of {len(roles)} axes, with {steps} steps along the axis {time}"
        raise node.refused("its second input", must, f"{tuple(x.lengths)}")
    for axis in x.axes[batch]:
        take_role(node, axis, "batch")


def _mean(node: Node, total: Any, lengths: Any) -> Signal:
    """A sum over time divided by the lengths."""
    if not isinstance(total, MaskedSum) or not _is_column(lengths) or lengths.name != total.lengths:
        raise node.refused("its inputs", "a sum over time, and the lengths of its sequences, (batch, 1)", "others")
    return total.mean


def _like(node: Node, lengths: Any, total: Any) -> Lengths:
    if not isinstance(lengths, Lengths) or not isinstance(total, MaskedSum):
        raise node.refused("its inputs", "lengths, and a sum over time", "others")
    return lengths


#: The operators by which `Steps`, `ValidSteps` and `MaskedSum` go on.
PADDING_OPERATORS: dict[str, Handler] = {
    "CastLike": _like,
    "Div": _mean,
    "Less": _less,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
