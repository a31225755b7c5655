"""`elman.gradient_check`: every gradient beside differences.

The difference (L(w + s) - L(w - s)) / 2 s of a number L is the derivative but for an error of the order s^2, and for
rounding of the order 1e-16 L / s. Where the two do not agree, other steps s are tried: a kink within a step, such as
that of relu, spoils large steps alone, and what bends sharply is judged better by small ones. Right at a kink there is
no derivative: what lies between the slopes on both sides is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from elman import checks
from elman.cells import Cell
from elman.checks import Array
from elman.insight import problems
from elman.insight.problems import Problem, Quantity
from elman.insight.suspects import lines
from elman.insight.trees import leaves, mapped
from elman.layers import Directed, Layer, Recurrent
from elman.layers.nesting import placed_layers
from elman.network import Network
from elman.training import Loss

_STEP, _OTHERS = 1e-5, (1e-4, 1e-6, 1e-7)
_TOLERANCE = 1e-6  #: of the largest entry; what is right agrees to about 1e-9
_ROUNDING = 8 * float(np.finfo(np.float64).eps)  #: of a sum, for each unit of the sizes of its terms
_MOST = 3000  #: entries that are looked at in one problem


class Row(NamedTuple):
    """One gradient: its relative error, where that is largest, and whether it passes."""

    name: str
    error: float
    place: str
    passed: bool


@dataclass(frozen=True)
class GradientReport:
    """What `elman.gradient_check` found: `rows`, one per gradient, and `passed`. Printed, it is a table."""

    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    columns: Mapping[str, int] = field(default_factory=dict, repr=False)  #: where each is worst, along its last axis

    @property
    def passed(self) -> bool:
        """Whether every gradient agrees."""
        return all(row.passed for row in self.rows)

    def __str__(self) -> str:
        wide = max((len(row.name) for row in self.rows), default=0)
        lines = []
        for row in self.rows:
            where = f"{'' if row.passed else 'wrong, '}at {row.place}" if row.place else ""
            lines.append(f"  {row.name:<{wide}}  {row.error:7.0e}  {where}".rstrip())
        others = "" if self.passed else "other "
        last = [f"every {others}gradient agrees"] if any(row.passed for row in self.rows) else []
        return "\n".join([f"{self.title}: relative error beside differences", *lines, *last, *self.notes])

    __repr__ = __str__


def gradient_check(what: Cell | Layer | Loss, x: Any = None, y: Any = None, *, seed: int = 0) -> GradientReport:
    """Compares the derivative of a cell, a layer, a network or a loss with differences.

    Parameters
    ----------
    what
        An `elman.Cell`, a layer or a network, graphs too, or an `elman.Loss`, of the library or of your own. Layers
        are copied to float64. The copy is checked with its weights, and with others that are drawn: through time, from
        a state that is given and from its own, and as in training where that differs, with the same dropout in every
        run. Each cell is checked by its two functions, a single step, before.
    x
        Input in any form that `what` takes; ragged sequences are drawn from `seed` where it is left out. For a loss the
        prediction, (rows, values).
    y
        The target of a loss; drawn where it is left out.
    seed
        The same seed draws the same numbers.

    Returns
    -------
    report
        `rows`, each (name, error, place, passed): "dx", "dh", "dWh", in a network "1.dWh"; the error is relative to the
        largest entry of the gradient, and passes up to 1e-6. `passed` is whether all do. In large arrays some entries
        are drawn, and all of them are tried together in one direction. Printed, it also names the lines of the
        derivative of a cell that all wrong gradients come of, and no right one.

    Raises `TypeError` for what is none of these, `ShapeError` where x does not fit or none can be drawn, or where a
    function of a cell of your own returns another shape, `ValueError` where a result is not finite.

    >>> import elman
    >>> elman.gradient_check(elman.GRU(3, 4, seed=0)).passed
    True
    """
    checks.seed("seed", seed)
    if isinstance(what, (Cell, Layer)) and y is not None:
        raise TypeError(f"y must be left out but for a loss. Got {checks.describe(y)}.")
    if isinstance(what, Loss):
        if (x is None) != (y is None):
            raise TypeError(f"x and y must be given together for a loss. Got {checks.describe(x if y is None else y)}.")
        return _judged(repr(what), _of_loss(what, x, y, seed), seed)
    if isinstance(what, Cell):
        hidden = 5 if what.projection == 4 else 4
        layer: Layer = Recurrent(what, 3, hidden, dtype="float64", seed=seed)
    elif isinstance(what, Layer):
        layer = what.astype("float64")
        if layer.reads != 1:  # it stands in a network
            layer = Network({"y": (layer, *(f"input_{i}" for i in range(layer.reads or 2)))})
    else:
        must = "what must be an elman.Cell, a layer, a network or an elman.Loss"
        raise TypeError(f"{must}. Got {checks.describe(what)}.")
    title = repr(what) if isinstance(what, Cell) or not layer.layers else "Network"
    for place, one in placed_layers(layer) if isinstance(layer, Network) else [("", layer)]:
        for part in one.directions.values() if isinstance(one, Directed) else ():
            of = "" if isinstance(what, Cell) else f" of {title}{f', node {place}' * bool(place)}"
            report = _judged(f"one step of {part.cell!r}{of}", _of_cell(part, seed), seed)
            if not report.passed:  # through time one wrong gradient makes all before it wrong
                wrong = {row.name: report.columns[row.name] for row in report.rows if not row.passed}
                right = [row.name for row in report.rows if row.passed]
                own = [part.parameters[name] for name in part.cell.weights]
                return replace(report, notes=(*report.notes, *lines(part.cell, own, part.hidden_size, wrong, right)))
    return _judged(title, _of_layer(layer, x, seed), seed)


# The problems of each kind, one after another: layers change between them.


def _of_cell(layer: Recurrent, seed: int) -> Iterator[Problem]:
    cell, rng = layer.cell, np.random.default_rng(seed)
    for scale in (0.0, 0.6, 1.5, 4.0):
        own: list[Array] = [problems.without_zeros(layer.parameters[name], rng) for name in cell.weights]
        drawn = [np.asarray(rng.normal(size=w.shape) * scale) if scale else w for w in own]
        masked = cell.takes_mask and scale == 0.6
        yield problems.of_cell(cell, drawn, layer.input_size or 0, layer.hidden_size, rng, masked)


def _of_layer(layer: Layer, x: Any, seed: int) -> Iterator[Problem]:
    rng = np.random.default_rng(seed)
    given = problems.drawn_input(layer, rng) if x is None else problems.read_input(layer, x)
    for array in layer.parameters.values():
        array[...] = problems.without_zeros(array, rng)
    _, end = layer(given)
    yield problems.of_layer(layer, given, problems.drawn_state(layer, end, rng), None, rng)
    problems.draw_weights(layer, rng)
    moved = mapped(lambda part: part + 0.1 * rng.normal(size=part.shape) if part.dtype.kind == "f" else part, given)
    trained, _, _ = layer.forward(moved, rng=rng)  # running statistics begin to move
    yield problems.of_layer(layer, moved, None, None, rng)
    pairs = zip(leaves(trained), leaves(layer(moved)[0]), strict=True)
    if not all(np.array_equal(a, b) for a, b in pairs):
        yield problems.of_layer(layer, moved, problems.drawn_state(layer, end, rng), seed, rng)


def _of_loss(loss: Loss, x: Any, y: Any, seed: int) -> Iterator[Problem]:
    rng = np.random.default_rng(seed)
    if x is not None:
        yield problems.of_loss(loss, problems.read_prediction(loss, x), y)
        return
    for _ in range(3):
        yield problems.of_loss(loss, *problems.drawn_rows(loss, rng))


# One problem.


def _judged(title: str, kind: Iterator[Problem], seed: int) -> GradientReport:
    """The worst row of each gradient over all problems."""
    rows: dict[str, Row] = {}
    columns: dict[str, int] = {}
    notes: dict[str, None] = {}
    rng = np.random.default_rng(seed)
    for problem in kind:
        value, size = problem.value()
        if not np.isfinite(value):
            raise ValueError("what comes out must be finite to be differentiated. Got NaN or infinity.")
        if problem.value()[0] != value:
            raise ValueError("two runs of the same numbers must give the same. Got others in the second.")
        exact = problem.gradients()
        most = max(50, _MOST // max(1, len(problem.quantities)))
        for quantity in problem.quantities:
            differences = _Differences(problem, quantity, size)
            row, column = differences.row(leaves(exact.get(quantity.name)), most, rng, notes)
            worst = rows.get(row.name)
            if worst is None or (worst.passed and not (row.passed and row.error <= worst.error)):
                rows[row.name], columns[row.name] = row, column
    return GradientReport(title, tuple(rows.values()), tuple(notes), columns)


@dataclass(frozen=True)
class _Differences:
    """The gradient by one quantity beside differences."""

    problem: Problem
    quantity: Quantity
    size: float  # of the terms of the number

    def row(self, exact: list[Array], most: int, rng: np.random.Generator, notes: dict[str, None]) -> tuple[Row, int]:
        """The row of the gradient, and where along its last axis it is worst."""
        name, arrays = self.quantity.name, self.quantity.arrays
        shapes, found = ([array.shape for array in parts] for parts in (arrays, exact))
        if found != shapes or any(array.dtype.kind != "f" for array in exact):
            i = next((i for i, (a, b) in enumerate(zip(found, shapes, strict=False)) if a != b), 0)
            got = f"an array of shape {found[i]}, {exact[i].dtype}, and not {shapes[i]}" if i < len(found) else "None"
            return Row(name, np.nan, f"every place: it is {got}", False), 0
        ends = np.cumsum([array.size for array in arrays])
        total = int(ends[-1]) if arrays else 0
        chosen = np.arange(total) if total <= most else np.sort(rng.choice(total, most, replace=False))
        if total > most:
            notes[f"of more than {most} numbers {most} are looked at, and all together in one direction"] = None
        places = []
        for flat in chosen:
            i = int(np.searchsorted(ends, flat, side="right"))
            places.append((i, tuple(map(int, np.unravel_index(flat - (ends[i] - arrays[i].size), shapes[i])))))
        claimed = np.array([exact[i][at] for i, at in places])
        slopes = np.array([self.slope(self.along(i, at), _STEP) for i, at in places])
        sizes = np.abs([*slopes, *claimed[np.isfinite(claimed)]])
        scale = max(sizes.max(initial=0.0), self.rounding(_STEP) / _TOLERANCE) or 1.0
        errors = np.abs(claimed - slopes)
        order = np.where(np.isnan(errors), np.inf, errors)
        while len(order) and not order.max() <= _TOLERANCE * scale:  # the largest first: one that stays is enough
            worst = int(order.argmax())
            errors[worst] = self.looked_at_again(
                self.along(*places[worst]), claimed[worst], errors[worst], scale, notes
            )
            if not errors[worst] <= _TOLERANCE * scale:
                break
            order[worst] = errors[worst]
        else:
            worst = int(order.argmax()) if len(order) else 0
        error, place = (errors[worst] / scale, self.quantity.place(*places[worst])) if places else (0.0, "")
        if total > most and error <= _TOLERANCE:
            ways = [rng.normal(size=shape) for shape in shapes]
            along = sum(float((a * b).sum()) for a, b in zip(exact, ways, strict=True))
            wrong = abs(along - self.slope(self.together(ways), _STEP))
            if not wrong <= _TOLERANCE * max(scale, abs(along)):
                wrong = self.looked_at_again(self.together(ways), along, wrong, max(scale, abs(along)), notes)
            if not wrong / max(scale, abs(along)) <= _TOLERANCE:
                error, place = wrong / max(scale, abs(along)), "a place that was not looked at by itself"
        column = places[worst][1][-1] if places and places[worst][1] else 0
        return Row(name, float(error), place, bool(error <= _TOLERANCE)), column

    def rounding(self, step: float) -> float:
        """How far a slope may be off because the number is rounded."""
        return _ROUNDING * self.size / step

    def along(self, i: int, at: tuple[int, ...]) -> Callable[[float], float]:
        """The number as a function of one entry, from where it is."""
        array = self.quantity.arrays[i]

        def moved(by: float) -> float:
            here = array[at]
            array[at] = here + by
            try:
                return self.problem.value()[0]
            finally:
                array[at] = here

        return moved

    def together(self, ways: list[Array]) -> Callable[[float], float]:
        """The number as a function of all entries, along a direction."""

        def moved(by: float) -> float:
            before = [array.copy() for array in self.quantity.arrays]
            for array, way in zip(self.quantity.arrays, ways, strict=True):
                array += by * way
            try:
                return self.problem.value()[0]
            finally:
                for array, old in zip(self.quantity.arrays, before, strict=True):
                    array[...] = old

        return moved

    def slope(self, moved: Callable[[float], float], step: float) -> float:
        return (moved(step) - moved(-step)) / (2 * step)

    def looked_at_again(
        self, moved: Callable[[float], float], claimed: float, error: float, scale: float, notes: dict[str, None]
    ) -> float:
        """The error by the step that suits the entry best; 0 where it stands at a kink, and between both slopes."""
        for step in _OTHERS:
            other = abs(claimed - self.slope(moved, step))
            if other <= _TOLERANCE * scale + self.rounding(step):
                return min(other, _TOLERANCE * scale)
        here = moved(0.0)
        sides = [sorted([(here - moved(-step)) / step, (moved(step) - here) / step]) for step in (1e-6, 1e-7)]
        jumps = [high - low for low, high in sides]
        near = 1e-4 * scale
        if (
            min(jumps) > 100 * near
            and abs(jumps[0] - jumps[1]) < near
            and sides[1][0] - near <= claimed <= sides[1][1] + near
        ):
            notes["at a kink any slope between those on both sides is taken"] = None
            return 0.0
        return error
