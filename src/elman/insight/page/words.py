"""What stands out in a trace, in sentences: gradients that vanish or explode, units that cannot move; what helps."""

from __future__ import annotations

import numpy as np

from elman.checks import Array
from elman.insight.page.one import One

SMALL, LARGE = 1e-5, 1e3  #: a gradient this many times the largest vanishes; this many times the last explodes
FAINT = 1e-3  #: what is left of the largest gradient where it no longer teaches
OFTEN = 0.9  #: a share of the steps


def of(one: One, hangs: tuple[Array, Array] | str) -> list[str]:
    """The sentences for one sequence."""
    found = (
        [] if isinstance(hangs, str) else [flow(hangs[0][-1], {gate for part in one.parts for gate in part.cell.gates})]
    )
    found += stuck(one)
    if not any(part.has_gradients for part in one.parts):
        found.append("This trace has no gradients. Give elman.trace a dy, the gradient of a loss by the output.")
    return found


def flow(row: Array, gates: set[str]) -> str:
    """How the gradient fares on its way back, from what the last output owes to the input at each step."""
    most = float(row.max())
    if most == 0:
        return "No gradient comes back from the last output to the input: what stands after the recurrence is stuck."
    ratio = float(row[0] / (row[-1] or most))
    said = f"The gradient that reaches step 0 is {ratio:.1g} times that of the last step"
    if not ratio < LARGE:  # NaN too
        return (
            f"{said}: it explodes. Clip it (clip_norm of fit), take a smaller learning rate or smaller recurrent "
            "weights, or truncate."
        )
    if row[0] > SMALL * most:
        return f"{said}: it neither vanishes nor explodes."
    reach = len(row) - int(np.flatnonzero(row > FAINT * most)[0])
    helps = [*(["an LSTM or a GRU"] if len(gates) < 2 else []), *(["a larger forget bias"] if "f" in gates else [])]
    helps += ["orthogonal recurrent weights", "shorter sequences"]
    return (
        f"{said}: it vanishes. The last output learns from the last {reach} steps. To reach further back: "
        f"{', '.join(helps[:-1])} or {helps[-1]}."
    )


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
