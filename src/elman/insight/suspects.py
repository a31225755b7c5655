"""Which lines of a derivative to look at: those that all wrong gradients come of, and no right one."""

from __future__ import annotations

import linecache
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from elman.cells import Cell
from elman.checks import Array
from elman.insight.following import Term, code_of, follow
from elman.insight.problems import drawn_like
from elman.insight.trees import mapped


def lines(
    cell: Cell, weights: Sequence[Array], hidden: int, wrong: Mapping[str, int], right: Collection[str]
) -> list[str]:
    """The lines in words. `wrong` are names of gradients, each with the column where it is worst."""
    rng = np.random.default_rng(0)
    sizes = dict(zip(cell.weights, (w.shape for w in weights), strict=True))
    inputs = next((sizes[name][axes.index("input")] for name, axes in cell.weights.items() if "input" in axes), 1)
    x, state = rng.normal(size=(1, inputs)), tuple([rng.normal(size=(1, width)) for width in cell.widths(hidden)])
    code = code_of(cell.step_derivative)
    try:
        kept = cell.step(x, state, tuple(weights))[1]
        given = mapped(Term, (x, state, tuple(weights), kept, drawn_like(rng, state)))
        dx, dstate, dweights = follow(cell.step_derivative, *given)[0][:3]
        names = ("x", *cell.states, *cell.weights)
        terms = {f"d{name}": one for name, one in zip(names, (dx, *dstate, *dweights), strict=True)}
        behind = [_behind(terms[name], column) for name, column in wrong.items()]
        others = {order for name in right for order in _behind(terms[name], None)}
    except Exception:  # a function of a user's own may do anything
        return []
    common = set.intersection(*map(set, behind)) - others or set().union(*behind) - others
    at = {order: n for each in behind for order, n in each.items()}
    found = []
    for n in sorted({at[order] for order in common} - {0}):
        file = f"{code.co_filename}, " * os.path.exists(code.co_filename)
        found.append(f"see {file}line {n}: {linecache.getline(code.co_filename, n).strip()}".removesuffix(": "))
    return found


def _behind(term: Any, column: int | None) -> dict[int, int]:
    """All terms that one comes of, `order` -> line; of one column alone, where operations tell columns apart."""
    found: dict[int, int] = {}
    left = [(term, column)]
    while left:
        one, k = left.pop()
        if not isinstance(one, Term) or one.operation == "given":
            continue
        width = one.value.shape[-1] if one.value.ndim else 1
        if one.operation == "concatenate" and k is not None:
            for part in one.parts:
                if k < part.shape[-1]:
                    left.append((part, k))
                    break
                k -= part.shape[-1]
            continue
        found[one.order] = one.line
        for i, part in enumerate(one.parts):
            own = k
            if one.operation == "slice" and k is not None:
                own = k + one.start
            elif one.operation == "matmul":
                own = k if i == 1 else None
            elif one.operation == "transpose" or (isinstance(part, Term) and part.shape[-1:] not in ((1,), (width,))):
                own = None
            left.append((part, own))
    return found
