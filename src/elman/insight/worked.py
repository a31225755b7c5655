"""`elman.explain`: one step of a cell as a worked exercise, first the symbols, then the numbers.

What is shown is read from the cell's own functions, see `elman.insight.following`: each variable is an equation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from elman import checks
from elman.cells.calling import go_back
from elman.cells.cell import Arrays
from elman.insight.arithmetic import WorkedStep
from elman.insight.following import Term
from elman.insight.passes import Pass, values
from elman.insight.tracing import trace
from elman.insight.walks import TracedLayer
from elman.layers import Directed, Layer
from elman.network import Network
from elman.sequences import Layout


def explain(
    layer: Layer,
    x: Any,
    state: Any = None,
    step: int = 0,
    unit: int | None = 0,
    digits: int = 4,
    backward: bool = False,
    dstate: Any = None,
    *,
    node: str | None = None,
    products: bool = False,
) -> WorkedStep:
    """The arithmetic of one step of a recurrent layer, symbols and then numbers.

    Parameters
    ----------
    layer
        A recurrent layer, with a cell of your own too, or a network; see `node`.
    x, state
        As the layer or the network takes them. Of several sequences the first one is shown.
    step
        Which step of the sequence, from 0. Its state is that of all steps before; those of a second direction come
        from the end of the sequence.
    unit
        Which hidden unit, from 0, those of a second direction after those of the first; None shows all.
    digits
        How many digits of each number are written.
    backward
        Also shows the derivative of the step: the gradient of everything in it.
    dstate
        The gradient by the state after the step, in the form of the state of one sequence; ones if it is left out.
    node
        The recurrent layer of a network, by name; may be left out where there is one.
    products
        Writes each term of the products with weights on a line of its own.

    Returns
    -------
    WorkedStep
        Printed it is text, in a notebook it is set in MathML. `lines` are those of the text, `values` the numbers by
        name, for ``unit=None`` a list of one dictionary per unit.

    The numbers come from the equations in the dtype of the layer; dropout does not act. What a cell of one's own does
    in a way that cannot be followed, as in a loop over single numbers, is left out: what it keeps is shown by name.

    Raises `ValueError` for a step, a unit or a node that is not there, and `TypeError` for a layer that is not
    recurrent.

    >>> import elman
    >>> layer = elman.RNN(2, 1, dtype="float64", seed=0)
    >>> layer.Wx, layer.Wh, layer.b = [[0.5], [-0.2]], [[0.9]], [0.1]
    >>> print(elman.explain(layer, [[1.0, 2.0], [3.0, 1.0]], step=1))
    RNN, step 1 of sequence 0, unit 0
    <BLANKLINE>
    x = [3, 1]
    h = [0.1974]
    <BLANKLINE>
    a_h = x Wx + h Wh + b
        = 1.3 + 0.1776 + 0.1
        = 1.578
    h' = tanh(a_h)
       = tanh(1.578)
       = 0.9182
    """
    if not isinstance(layer, (Directed, Network)):
        raise TypeError(f"layer must be a recurrent layer or a network. Got {checks.describe(layer)}.")
    checks.flag("backward", backward)
    checks.flag("products", products)
    checks.size("digits", digits, 17)
    if dstate is not None and not backward:
        raise ValueError(f"dstate must be left out without backward=True. Got {checks.describe(dstate)}.")
    walked = trace(layer, x, state).layers
    place = _place(walked, node)
    ways = [one for one in walked.values() if one.place == place]
    sizes = [one.layer.hidden_size for one in ways]
    if unit is not None and not (checks.is_whole(unit) and 0 <= unit < sum(sizes)):
        rest = f", from {sizes[0]} up those of the second direction" if len(ways) > 1 else ""
        raise ValueError(f"unit must be from 0 to {sum(sizes) - 1}{rest}, or None for all. Got {checks.show(unit)}.")
    units = [(one, j) for one, size in zip(ways, sizes, strict=True) for j in range(size)]
    chosen = units if unit is None else [units[unit]]
    back = _gradients(layer, place, dstate) if backward else {}
    shown: dict[str, list[Pass]] = {}
    for one in dict.fromkeys(one for one, _ in chosen):
        shown[one.name] = [
            follow_step(one, step),
            *(follow_derivative(one, step, d) for end, d in back.items() if end == one.end),
        ]
    parts = [shown[one.name][i].part(j) for i in range(1 + backward) for one, j in chosen]
    return WorkedStep(parts, digits, products, len(chosen) if unit is None else None)


def _place(walked: Mapping[str, TracedLayer], node: str | None) -> str:
    """The node to look at."""
    places = [*dict.fromkeys(one.place for one in walked.values())]
    if not places:
        raise TypeError("layer must be a recurrent layer, or a network with one. Got a network without any.")
    if node is None and len(places) > 1:
        raise ValueError(f"node must name one of the recurrent layers, {checks.listed(places)}. Got None.")
    if node is not None and places == [""]:
        raise ValueError(f"node must be left out for a layer alone. Got {checks.show(node)}.")
    return places[0] if node is None else checks.choice("node", node, places)


def _gradients(layer: Layer, place: str, dstate: Any) -> dict[str, Arrays]:
    """The gradients by the states after the step, (1, width) each, of each direction."""
    for name in place.split(".") if place else ():
        layer = layer.layers[layer.names.index(name)]
    assert isinstance(layer, Directed)
    packed = layer.pack_state("dstate", dstate, Layout.of("single", np.ones(1, np.int64), 1))
    widths = layer.states().values()
    rows = [np.ones((1, width), layer.dtype) for width in widths] if packed is None else [*packed]
    found = {}
    for end, part in layer.directions.items():
        found[end] = tuple(rows[: len(part.cell.states)])
        rows = rows[len(part.cell.states) :]
    return found


def _begun(one: TracedLayer, step: int, of: str = "") -> tuple[Pass, dict[str, Term]]:
    """What a function of the cell is given at a step, a batch of one."""
    name = f"{type(one.layer).__name__}{f' {one.place!r}' * bool(one.place)}"
    way = ", from the end to the start" * one.reverse
    shown = Pass(f"{of}{name}, step {step} of sequence 0{way}", one.cell, one.layer.hidden_size)
    read = {name: row[None] for name, row in one.step(step).items()}
    return shown, {name: shown.given(name, array) for name, array in (*read.items(), *one.weights.items())}


def _new_names(one: TracedLayer) -> dict[str, str]:
    """What the states that the cell gives are called: c', before zoneout c_new."""
    return {name: f"{name}_new" if name in one.zoned else f"{name}'" for name in one.cell.states}


def follow_step(one: TracedLayer, step: int) -> Pass:
    """The step of a direction, followed."""
    cell, (shown, g) = one.cell, _begun(one, step)
    state = [g[name] for name in cell.states]
    (after, kept, *more), names = shown.follow(
        cell.step, g["x"], tuple(state), tuple([g[name] for name in cell.weights])
    )
    rates, new_names = one.layer.zone_rates or (0,) * len(state), _new_names(one)
    for name, old, new, rate in zip(cell.states, state, after, rates, strict=True):
        shown.call({new_names[name]: new})
        shown.roots.append((f"{name}'", rate * old + (1 - rate) * new if rate else new, None))
    shown.call({new_names.get(name, name): term for name, term in kept.items()}, *more)
    shown.roots += [(shown.names[term.order], term, None) for term in kept.values() if term.operation == "made"]
    shown.call_rest(names)
    return shown


def follow_derivative(one: TracedLayer, step: int, dnext: Arrays) -> Pass:
    """Its derivative, with gradients by the states after the step."""
    cell, (shown, g) = one.cell, _begun(one, step, "derivative of ")
    state, weights = (tuple([g[name] for name in names]) for names in (cell.states, cell.weights))
    found = cell.step(*values((g["x"], state, weights)))[1]
    new_names = _new_names(one)
    kept = {name: shown.given(new_names.get(name, name), array) for name, array in found.items()}
    arrived = [shown.given(f"d{name}'", array) for name, array in zip(cell.states, dnext, strict=True)]
    rates = one.layer.zone_rates or (0,) * len(state)
    inner = [(1 - rate) * d if rate else d for d, rate in zip(arrived, rates, strict=True)]
    shown.call({f"d{name}_new": d for name, d in zip(cell.states, inner, strict=True)})
    go_back(cell, *values((g["x"], state, weights, kept, tuple(inner))))  # refuses in words what is no gradient
    (dx, dstate, dweights, *more), names = shown.follow(
        cell.step_derivative, g["x"], state, weights, kept, tuple(inner)
    )
    for name, d, past, rate in zip(cell.states, dstate, arrived, rates, strict=True):
        shown.roots.append((f"d{name}", d + rate * past if rate else d, None))
        shown.call({f"d{name}": shown.roots[-1][1]})
    shown.roots += [(f"d{name}", d, axes) for (name, axes), d in zip(cell.weights.items(), dweights, strict=True)]
    shown.roots.append(("dx", dx, ("input",)))
    shown.call({label: term for label, term, _ in shown.roots})
    for by_name in more:
        inside = {f"d{new_names[name]}_all" if name in new_names else f"d{name}": d for name, d in by_name.items()}
        shown.call(inside)
        shown.roots += [(label, d, None) for label, d in inside.items() if shown.names.get(d.order) == label]
    shown.call_rest(names)
    return shown
