"""What `elman.gradient_check` differentiates: one number, a sum of all that comes out times numbers drawn at random.

A `Problem` has the arrays that the number depends on, which are changed in place to take differences, and the gradients
by them. There are three kinds: one step of a cell by its two functions, a layer or a network through time, and a loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman import checks
from elman.cells import Cell
from elman.cells.calling import advance, go_back
from elman.cells.cell import REVERSE
from elman.checks import Array, ShapeError
from elman.insight.trees import Tree, leaves, mapped
from elman.layers import Directed, Layer
from elman.network import Network
from elman.training import Loss

_LENGTHS = ((4, 2, 3), (9, 7, 8), (33, 29, 31))  #: of sequences that are drawn; the later ones where more are needed
_TRIES = 150  #: of widths, for inputs that do not tell theirs


@dataclass(frozen=True)
class Quantity:
    """One thing that the number depends on."""

    name: str  # of its gradient
    arrays: list[Array]
    place: Callable[[int, tuple[int, ...]], str]  # of an entry of one of them, in words


@dataclass(frozen=True)
class Problem:
    quantities: list[Quantity]
    outcome: Callable[[], tuple[Tree, Tree]]  # what comes out, and what it is multiplied by
    gradients: Callable[[], Mapping[str, Tree]]

    def value(self) -> tuple[float, float]:
        """The number, and the sum of the sizes of its terms, which tells how far it is rounded."""
        terms = [a * b for a, b in zip(*map(leaves, self.outcome()), strict=True)]
        return sum(float(part.sum()) for part in terms), sum(float(np.abs(part).sum()) for part in terms)


def _has_parts(found: Any, like: Any) -> bool:
    """Whether there are as many parts, and in those that are tuples as many again."""
    if not isinstance(like, tuple):
        return True
    same = isinstance(found, (tuple, list)) and len(found) == len(like)
    return same and all(map(_has_parts, found, like))


def drawn_like(rng: np.random.Generator, tree: Tree) -> Tree:
    return mapped(lambda array: rng.normal(size=array.shape), tree)


def of_cell(
    cell: Cell, weights: Sequence[Array], input_size: int, hidden: int, rng: np.random.Generator, masked: bool
) -> Problem:
    """One step of three examples, by the two functions of the cell."""
    x, state = rng.normal(size=(3, input_size)), tuple([rng.normal(size=(3, n)) for n in cell.widths(hidden)])
    weights, dnext = tuple(weights), drawn_like(rng, state)
    mask = ((rng.random(state[0].shape) < 0.7) / 0.7,) if masked else ()

    def step() -> Any:
        own = mapped(np.copy, (x, state, weights))  # the cell is given what it cannot write into
        return own, *advance(cell, own[0], own[1], own[2], mask, keep=True)

    def gradients() -> dict[str, Tree]:
        own, _, kept = step()
        given = (*own, kept, mapped(np.copy, dnext), mask)
        try:
            dx, dstate, dweights = go_back(cell, *given)
        except (checks.DtypeError, ShapeError):  # of one gradient: the table says so, and of the others what they are
            found = cell.step_derivative(*given[:-1], *mask)
            if not (isinstance(found, tuple) and _has_parts(found[:3], (x, state, weights))):
                raise
            dx, dstate, dweights = found[:3]  # more may follow, by name
        return dict(zip(names, (dx, *dstate, *dweights), strict=True))

    quantities = [Quantity("dx", [x], lambda _, at: _counted(("example", "input"), at))]
    for name, array in zip(cell.states, state, strict=True):
        quantities.append(Quantity(f"d{name}", [array], lambda _, at: _counted(("example", "unit"), at)))
    for name, array in zip(cell.weights, weights, strict=True):
        quantities.append(Quantity(f"d{name}", [array], _of_weight(cell, name, hidden)))
    names = [quantity.name for quantity in quantities]
    return Problem(quantities, lambda: (step()[1], dnext), gradients)


def of_layer(layer: Layer, x: Tree, state: Tree, noise: int | None, rng: np.random.Generator) -> Problem:
    """A layer or a network through time; with `noise` as in training, always with the same random numbers."""

    def run() -> Any:
        before = {name: array.copy() for name, array in layer.buffers.items()}
        found = layer.forward(x, state, rng=None if noise is None else np.random.default_rng(noise))
        for name, array in before.items():  # running statistics have moved
            layer.buffers[name][...] = array
        return found

    y, end, _ = run()
    dy, dend = drawn_like(rng, y), drawn_like(rng, end)

    def gradients() -> dict[str, Tree]:
        try:
            dx, dstate, dweights = layer.backward(run()[2], dy, dend)
        except KeyError as error:
            if error.args[0] not in layer.parameters:
                raise
            must = "run_back must give the gradient of every parameter"
            raise ValueError(f"{must}. Got none of {checks.show(error.args[0])}.") from error
        found: dict[str, Tree] = {_gradient_of(name): array for name, array in dweights.items()}
        found |= {f"d{name}": part for name, part in _inputs(layer, dx).items()}
        return found | dict(_named_states(layer, dstate))

    quantities = [
        Quantity(f"d{name}", leaves(part), _of_input(part))
        for name, part in _inputs(layer, x).items()
        if leaves(part)[0].dtype.kind == "f"  # not tokens
    ]
    for name, array in _named_states(layer, state):
        quantities.append(Quantity(name, leaves(array), lambda _, at: _counted(("direction", "sequence", "unit"), at)))
    for name, array in layer.parameters.items():
        quantities.append(Quantity(_gradient_of(name), [array], _of_parameter(layer, name)))
    return Problem(quantities, lambda: (run()[:2], (dy, dend)), gradients)


def of_loss(loss: Loss, prediction: Tree, target: Any) -> Problem:
    """The sum of the rows of a loss, and the gradient by the prediction."""
    if loss.whole_sequences:
        rows: Any = lambda: loss.rows(mapped(np.copy, prediction), target)  # noqa: E731
        derivative: Any = lambda: loss.rows_derivative(mapped(np.copy, prediction), target)  # noqa: E731
    else:
        rows = lambda: loss(prediction.copy(), target)  # noqa: E731
        derivative = lambda: loss.derivative(prediction.copy(), target)  # noqa: E731
    quantity = Quantity("dprediction", leaves(prediction), _of_input(prediction))
    return Problem(
        [quantity], lambda: ((found := rows()), np.ones(np.shape(found))), lambda: {"dprediction": derivative()}
    )


# What is given, or drawn.


def _copies(name: str, value: Any, tokens: int | None = None) -> Tree:
    """What a user gives, an array or a list of one per sequence, to be changed: tokens as they are, else in float64."""
    number = checks.number_array if tokens is None else checks.whole_numbers
    sequences = isinstance(value, (list, tuple)) and checks.rank(value[0] if value else 0) + (tokens is not None) > 1
    arrays = [number(f"{name}[{i}]", part) for i, part in enumerate(value)] if sequences else number(name, value)
    return mapped(lambda array: np.array(array, np.float64 if tokens is None else None), arrays)


def read_input(layer: Layer, x: Tree) -> Tree:
    """What a user gives a layer or a network."""
    if not isinstance(layer, Network) or len(layer.inputs) == 1:
        return _copies("x", x, layer.tokens)
    given = checks.mapping("x", x, f"of {checks.listed(layer.inputs)} to their values")
    counts = {name: count for name, _, count in layer.takes}
    return {name: _copies(name, part, counts.get(name)) for name, part in given.items()}


def read_prediction(loss: Loss, x: Any) -> Tree:
    """What a user gives a loss."""
    return _copies("x", x) if loss.whole_sequences else _copies("x", checks.number_array("x", x))


def drawn_input(layer: Layer, rng: np.random.Generator) -> Tree:
    """Ragged sequences, tokens or vectors that a layer or a network takes; with means that are not 0."""
    if isinstance(layer, Network):
        takes, vectors = layer.takes, layer.graph.vectors()
    else:
        takes, vectors = (("x", layer.input_size, layer.tokens),), [layer.takes_vectors]
    error: ShapeError | None = None
    for lengths in _LENGTHS:
        for attempt in range(_TRIES):
            parts, same = {}, (4, *range(1, 17))[attempt % 17]
            for (name, width, tokens), vector in zip(takes, vectors, strict=True):
                some = same if attempt < 17 else int(rng.integers(1, 9))
                shape = () if tokens is not None else (width or some,)
                draw = (lambda s, n=tokens: rng.integers(0, n, s)) if tokens is not None else _reals(rng)
                parts[name] = draw((len(lengths), *shape)) if vector else [draw((n, *shape)) for n in lengths]
            x = parts if len(takes) > 1 else parts[takes[0][0]]
            try:
                layer(x)
            except ShapeError as refused:
                error = refused
            else:
                return x
    raise ShapeError(f"x must be given: none that was drawn is taken. Got: {error}")


def _reals(rng: np.random.Generator) -> Callable[[Any], Array]:
    return lambda shape: 0.3 + 1.2 * rng.normal(size=shape)


def drawn_state(layer: Layer, end: Tree, rng: np.random.Generator) -> Tree:
    """A state in the form of what a run ended in; None for a node that starts from another."""
    if not isinstance(layer, Network):
        return drawn_like(rng, end)
    inside = [(one, start) for one, start in zip(layer.layers, layer.graph.starts, strict=True) if one.stateful]
    return [
        None if start else drawn_state(one, part, rng) for (one, start), part in zip(inside, end, strict=True)
    ] or None


def without_zeros(weight: Array, rng: np.random.Generator) -> Array:
    """A weight with small numbers in place of 0, where a product of it may stand right at a kink for all examples."""
    return np.where(weight == 0, 0.01 * rng.normal(size=weight.shape), weight)


def draw_weights(layer: Layer, rng: np.random.Generator) -> None:
    """Other weights for a layer, none of them 0: what stands beside a 0 cannot be seen."""
    for array in layer.parameters.values():
        array[...] = rng.normal(size=array.shape) / np.sqrt(max(4, array.shape[0]) if array.ndim > 1 else 4)


def drawn_rows(loss: Loss, rng: np.random.Generator) -> tuple[Tree, Any]:
    """A prediction and a target that a loss takes."""
    for width in (3, 1, 2, *range(4, 33)):
        try:
            loss.check_width(width)
        except ValueError:
            continue
        break
    else:
        raise ShapeError(f"x and y must be given: no prediction that was drawn is taken. Got {checks.show(loss)}.")
    low, high = loss.bounds(width) or (-np.inf, np.inf)

    def target(*outer: int) -> Array:
        tail = [n if isinstance(n, int) else 2 for n in loss.tails(width)[-1]]
        if loss.integers:
            least, most = (int(low), int(high)) if np.isfinite((low, high)).all() else (0, width - 1)
            return rng.integers(least, most + 1, size=(*outer, *tail))
        if np.isfinite((low, high)).all():
            return rng.uniform(low, high, size=(*outer, *tail))
        return np.clip(rng.normal(size=(*outer, *tail)), low, high)

    if not loss.whole_sequences:
        return rng.normal(size=(5, width)), target(5)
    lengths = _LENGTHS[1]
    found = [target(n) if loss.targets_by_step else np.atleast_1d(target()) for n in lengths]
    return [rng.normal(size=(n, width)) for n in lengths], found


# Names and places.


def _gradient_of(name: str) -> str:
    """Of the parameter "1.Wh": "1.dWh"."""
    node, dot, own = name.rpartition(".")
    return f"{node}{dot}d{own}"


def _inputs(layer: Layer, x: Tree) -> dict[str, Tree]:
    several = isinstance(layer, Network) and len(layer.inputs) > 1
    return dict(x) if several and isinstance(x, Mapping) else {"x": x}


def _named_states(layer: Layer, state: Tree, path: str = "") -> Iterator[tuple[str, Array]]:
    """The arrays of a state by the names of their gradients."""
    if isinstance(layer, Network):
        inside = [pair for pair in zip(layer.names, layer.layers, strict=True) if pair[1].stateful]
        for (name, one), part in zip(inside, state or [None] * len(inside), strict=True):
            yield from _named_states(one, part, f"{path}{name}.")
    else:  # one array for both directions, where these are alike
        yield from zip((f"{path}d{name}" for name in layer.states()), leaves(state), strict=False)


def _counted(axes: Sequence[str], at: tuple[int, ...]) -> str:
    return ", ".join(f"{axis} {i}" for axis, i in zip(axes[len(axes) - len(at) :], at, strict=True))


def _of_input(part: Tree) -> Callable[[int, tuple[int, ...]], str]:
    """Where an entry of an input stands; a list has one array per sequence."""
    if isinstance(part, (list, tuple)):
        return lambda i, at: f"sequence {i}, {_counted(('step', 'feature'), at)}"
    if checks.rank(part) == 3:
        return lambda _, at: _counted(("sequence", "step", "feature"), at)
    return lambda _, at: _counted(("row", "feature"), at)


def _of_parameter(layer: Layer, name: str) -> Callable[[int, tuple[int, ...]], str]:
    node, _, rest = name.partition(".")
    if rest and isinstance(layer, Network):
        return _of_parameter(layer.layers[layer.names.index(node)], rest)
    end = REVERSE if name.endswith(REVERSE) else ""
    if isinstance(layer, Directed) and end in layer.directions:
        part = layer.directions[end]
        return _of_weight(part.cell, name.removesuffix(end), part.hidden_size)
    return lambda _, at: f"[{', '.join(map(str, at))}]"


def _of_weight(cell: Cell, name: str, hidden: int) -> Callable[[int, tuple[int, ...]], str]:
    """Where an entry of a weight of a cell stands: "gate f, unit 3 from unit 1"."""
    axes = cell.weights.get(name, ("hidden",))  # a learned state

    def word(axis: str, i: int) -> str:
        if axis == "gates" and len(cell.gates) > 1:
            return f"gate {cell.gates[i // hidden]}, unit {i % hidden}"
        return f"{ {'input': 'input', 'projection': 'projected unit'}.get(axis, 'unit') } {i}"

    return lambda _, at: " from ".join(reversed([word(axis, i) for axis, i in zip(axes, at, strict=True)]))
