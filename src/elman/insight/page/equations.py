"""The lines of a step and of its derivative, as `explain` reads them from the functions of the cell, for arithmetic.js.

A line is an expression, its symbols, and how it is written with numbers: text, and between it places of `leaves`, whose
value is filled in. In expressions ``"dh⁺"`` is "dh" at the next step of the walk, and "above h" what the gradient of h
has from outside of the recurrence.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np

from elman.cells import Cell
from elman.checks import Array
from elman.insight.arithmetic import TEXT, Shown, written
from elman.insight.passes import Pass
from elman.insight.walks import TracedLayer
from elman.insight.worked import follow_derivative, follow_step

Lines: TypeAlias = "list[dict[str, Any]]"
_DIGITS = 6  # of constants
_SIGNS = {"subtract": " \N{MINUS SIGN} ", "multiply": " · "}
_STYLE = TEXT._replace(
    sign=lambda kind, numbers: (
        _SIGNS[kind] if kind in _SIGNS and (numbers or kind != "multiply") else TEXT.sign(kind, False)
    ),
    power=lambda a, b, numbers: f"{a}²" if b == "2" else f"{a}^{b}",
)


def lines(one: TracedLayer, steps: int, units: Array, gradients: bool) -> tuple[Lines, Lines]:
    """Those forward and backward, constants for some units; none of what cannot be followed."""
    dnext = tuple(np.ones((1, width), one.layer.dtype) for width in one.cell.widths(one.layer.hidden_size))
    there = _lines(one, steps, units, lambda step: follow_step(one, step))
    if not gradients:
        return there, []
    back = _lines(one, steps, units, lambda step: follow_derivative(one, step, dnext))
    arriving = [
        _line(f"d{name}'", ("add", ("name", f"above {name}"), ("name", f"d{name}⁺")))
        for name in one.cell.states
        if any(line["name"] == f"d{name}" for line in back)
    ]
    return there, arriving + back


def held_names(one: TracedLayer, arrays: Collection[str], backward: Lines) -> tuple[dict[str, str], dict[str, str]]:
    """Names in lines -> the arrays that hold them, and the states whose gradients in lines no array holds."""
    states, known = [*one.cell.states], {line["name"] for line in backward}
    found = {f"{d}{state}'": f"{d}{state}" for state in states for d in ("", "d")}
    found |= {name: name for name in arrays if name not in found.values()}
    # The gradient of a state that a step adds to is held with what it adds.
    added = [state for state in states if state not in one.zoned and f"d{state}'_all" in known]
    found |= {f"d{state}'_all": f"d{state}" for state in added}
    return found, {f"d{state}'": state for state in added}


def blocks(cell: Cell) -> dict[str, tuple[str, list[int]]]:
    """The names of weights in lines, "Wh", "Wh_f", "Wh_rz" -> the weight and the places of the gates that are meant."""
    found = {name: (name, [0]) for name in cell.weights}
    for name in (name for name, axes in cell.weights.items() if "gates" in axes):
        found[name] = name, [*range(len(cell.gates))]
        for first, end in combinations(range(len(cell.gates) + 1), 2):
            found[f"{name}_{''.join(cell.gates[first:end])}"] = name, [*range(first, end)]
    return found


def _lines(one: TracedLayer, steps: int, units: Array, follow: Callable[[int], Pass]) -> Lines:
    """What is the same for the first unit at the first step and for the last at the last holds for all."""
    hidden, found = one.layer.hidden_size, []
    for step, unit in ((0, 0), (steps - 1, hidden - 1)):
        followed = follow(step)  # without the gradients of weights and of the input
        followed.roots = [root for root in followed.roots if root[2] is None]
        found.append({each.name: _of_units(each.shown, units, hidden) for each in followed.part(unit).equations})
    same = {name: shown for name, shown in found[0].items() if found[1].get(name, shown) == shown}
    return [_line(name, shown) for name, shown in same.items() if shown[0] != "number"]


def _of_units(shown: Any, units: Array, hidden: int) -> Any:
    """An expression alone, without what it is worth at a step, with the constants of some units."""
    if not isinstance(shown, tuple):
        return shown
    if shown[0] == "worth":
        return _of_units(shown[1], units, hidden)
    if shown[0] != "number":
        return tuple([_of_units(part, units, hidden) for part in shown])
    constants = np.ravel(shown[1]).astype(np.float64)
    if len(constants) == 1:
        return ("number", float(constants[0]))
    return ("number", constants[units].tolist()) if len(constants) == hidden else ("call", "constants")


def _line(name: str, shown: Shown) -> dict[str, Any]:
    leaves: list[Shown] = []

    def marked(part: Any) -> Any:
        if not isinstance(part, tuple) or (part[0] == "number" and not isinstance(part[1], list)):
            return part
        if part[0] in ("name", "matmul", "number"):
            leaves.append(part)
            return ("name", f"\0{len(leaves) - 1}\0")
        return (part[0], *map(marked, part[1:]))

    several = shown[:2] == ("call", "concatenate")  # a vector of all gates is no line of a unit
    numbers = [] if several else written(marked(shown), _STYLE, _DIGITS, True).split("\0")
    named = [{"shown": leaf, "symbols": written(leaf, _STYLE, _DIGITS)} for leaf in leaves]
    return {
        "name": name,
        "shown": shown,
        "symbols": written(shown, _STYLE, _DIGITS),
        "numbers": numbers,
        "leaves": named,
    }
