"""What stands out in a trace, in sentences: gradients that vanish or explode, units that cannot move, and what helps."""

from __future__ import annotations

from typing import Any

import numpy as np

from elman.checks import Array
from elman.insight.page.one import One

SMALL, LARGE = 1e-5, 1e3  #: a gradient this many times the last one vanishes, explodes
STUCK, OFTEN = 0.05, 0.9  #: a gate this near to its bound in this share of the steps cannot move


def of(one: One, hangs: tuple[Array, Array] | str) -> list[str]:
    """The sentences for one sequence."""
    found = [] if isinstance(hangs, str) else [flow(hangs[0][-1])]
    found += [sentence for part in one.parts for sentence in stuck(part)]
    if not any(part.has_gradients for part in one.parts):
        found.append("This trace has no gradients. Give elman.trace a dy, the gradient of a loss by the output, to see them.")
    return found


def flow(row: Array) -> str:
    """How the gradient fares on its way back, from what the last output owes to the input at each step."""
    last, first = float(row[-1]), float(row[0])
    if len(row) < 2 or not np.isfinite(row).all():
        return "The gradient is not finite: clip it (clip_norm of fit), and begin with smaller weights."
    most = float(row.max())
    if most == 0:
        return "No gradient comes back from the last output to the input: what stands after the recurrence is stuck."
    ratio = first / (last or most)
    said = f"The gradient that reaches step 0 is {ratio:.1g} of that of the last step"
    if ratio < SMALL:
        return (
            f"{said}: it vanishes. What happened there cannot be learned from this output. An LSTM or a GRU, a forget "
            "bias of 1 or more, orthogonal recurrent weights or shorter sequences keep more of it."
        )
    if ratio > LARGE:
        return (
            f"{said}: it explodes. Clip it (clip_norm of fit), take a smaller learning rate or smaller recurrent "
            "weights, or truncate."
        )
    return f"{said}: it neither vanishes nor explodes."


def stuck(part: Any) -> list[str]:
    """Units of each gate that stand at a bound of their activation nearly always."""
    found = []
    for gate in part.cell.gates:
        array = part.arrays.get(gate)
        if array is None:
            continue
        low, high = float(array.min()), float(array.max())
        if low < -1.0001 or high > 1.0001:
            continue  # no bounds: an activation such as relu
        bounded = array >= 0 if low >= 0 else np.ones(array.shape, bool)
        at_bound = (np.abs(array) > 1 - STUCK) | (bounded & (array < STUCK) if low >= 0 else False)
        units = np.flatnonzero(at_bound.mean(0) > OFTEN)
        if len(units):
            listed = ", ".join(map(str, units[:5])) + (", ..." if len(units) > 5 else "")
            found.append(
                f"Layer {part.name}: {len(units)} of {array.shape[1]} units of {gate} stand at a bound of their "
                f"activation in more than {OFTEN:.0%} of the steps (units {listed}): they hardly learn. Inputs scaled to "
                "about 1, smaller weights or a smaller learning rate keep them moving."
            )
    return found
