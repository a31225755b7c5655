"""What stands out in a trace, in sentences: gradients that vanish or explode, units that cannot move; what helps."""

from __future__ import annotations

import numpy as np

from elman.checks import Array
from elman.insight.page.one import One

SMALL, LARGE = 1e-5, 1e3  #: a gradient this many times the last one vanishes, explodes
OFTEN = 0.9  #: a share of the steps


def of(one: One, hangs: tuple[Array, Array] | str) -> list[str]:
    """The sentences for one sequence."""
    found = [] if isinstance(hangs, str) else [flow(hangs[0][-1])]
    found += stuck(one)
    if not any(part.has_gradients for part in one.parts):
        found.append(
            "This trace has no gradients. Give elman.trace a dy, the gradient of a loss by the output, to see them."
        )
    return found


def flow(row: Array) -> str:
    """How the gradient fares on its way back, from what the last output owes to the input at each step."""
    most, ratio = float(row.max()), float(row[0] / (row[-1] or row.max() or 1))
    if most == 0:
        return "No gradient comes back from the last output to the input: what stands after the recurrence is stuck."
    said = f"The gradient that reaches step 0 is {ratio:.1g} of that of the last step"
    if ratio < SMALL:
        return (
            f"{said}: it vanishes. What happened there cannot be learned from this output. An LSTM or a GRU, a forget "
            "bias of 1 or more, orthogonal recurrent weights or shorter sequences keep more of it."
        )
    if not ratio < LARGE:  # NaN too
        return (
            f"{said}: it explodes. Clip it (clip_norm of fit), take a smaller learning rate or smaller recurrent "
            "weights, or truncate."
        )
    return f"{said}: it neither vanishes nor explodes."


def stuck(one: One) -> list[str]:
    """Units of each gate that cannot move nearly always."""
    found = []
    for name, shares in one.trace.saturation().items():
        units = np.flatnonzero(shares > OFTEN)
        if len(units):
            listed = ", ".join(map(str, units[:5])) + (", ..." if len(units) > 5 else "")
            found.append(
                f"{name}: {len(units)} of {len(shares)} units stand where their activation is flat in more than "
                f"{OFTEN:.0%} of the steps (units {listed}): they hardly learn. Inputs scaled to about 1, smaller "
                "weights or a smaller learning rate keep them moving."
            )
    return found
