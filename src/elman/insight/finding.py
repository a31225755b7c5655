"""`elman.find_convention`: which layout of weights explains what a model gave elsewhere. Every layout is tried."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from elman import checks
from elman.cells import CELLS, Cell
from elman.checks import Array, ShapeError
from elman.interop import CONVENTIONS, Convention, from_arrays

_NEAR, _SAME = 1e-3, 1e-6  #: of the largest number of y: what may be rounded differently, and what cannot be told apart


def find_convention(
    cell: str | Cell, arrays: Mapping[str, Any], x: Any, y: Any, state: Any = None, **options: Any
) -> list[str | Convention]:
    """The layouts under which these arrays turn x into y.

    Parameters
    ----------
    cell
        "lstm", "gru" or "rnn", or an `elman.Cell`.
    arrays
        Name -> array, as another system has them.
    x
        The input that the system was given, in the form that layers take; it is best drawn at random.
    y
        What it gave: the outputs (batch, time, hidden) or (time, hidden), a list of them for a list of sequences, or
        the last state, (batch, hidden) or (hidden,), a tuple (h, c) for an LSTM.
    state
        The state before the first step, 0 if left out.
    options
        Those of the cell, as in `elman.from_arrays`.

    Returns
    -------
    conventions
        What `elman.from_arrays` takes, the best first: names of `elman.CONVENTIONS`; where none of them fits,
        `elman.Convention` values for the names of these arrays, of any order of gates, orientation and biases that they
        can have. Empty where nothing fits. Several that fit compute the same here: weights that are all alike, or 0,
        tell no order of gates. What fits agrees with y to 0.001 of its largest number, and as well as the best.

    Raises `ShapeError` where y is neither an output nor a last state for this x.

    >>> import numpy as np, elman
    >>> layer, x = elman.LSTM(3, 4, seed=0), np.random.default_rng(0).normal(size=(2, 5, 3))
    >>> arrays = elman.to_arrays(layer, "keras")
    >>> elman.find_convention("lstm", arrays, x, layer(x)[0])
    ['keras']
    """
    made = cell if isinstance(cell, Cell) else CELLS[checks.choice("cell", cell, CELLS)](**options)
    given = {
        name: checks.number_array(name, value)
        for name, value in checks.mapping("arrays", arrays, "of names to arrays").items()
    }
    goal = _Goal(x, y, state)

    def made_by(rule: Convention) -> Any:
        try:
            return from_arrays(cell, given, rule, **options)
        except ValueError:  # the arrays are not those of this layout
            return None

    table = CONVENTIONS.values()
    for rules in (table, _variants(given), _layouts(made, given, lambda rule: made_by(rule) is not None)):
        found = [(goal.error(layer), rule) for rule in rules if (layer := made_by(rule)) is not None]
        best = min([error for error, _ in found], default=np.inf)
        near = [rule for error, rule in found if error <= min(_NEAR, 10 * best + _SAME)]
        if near and rules is table:
            return [rule.name for rule in near]
        if near:  # one for each of the layers that they make
            different: dict[Any, str | Convention] = {_bits(made_by(rule)): rule for rule in reversed(near)}
            return [*different.values()][::-1]
    goal.check()
    return []


def _bits(layer: Any) -> tuple[bytes, ...]:
    return tuple([array.tobytes() for array in layer.parameters.values()])


class _Goal:
    """What a model gave, and how far a layer is from it."""

    def __init__(self, x: Any, y: Any, state: Any) -> None:
        self.x, self.y, self.state = x, y, state
        self.parts = [checks.number_array("y", part) for part in (y if isinstance(y, (list, tuple)) else [y])]
        self.size = max(float(np.abs(part).max(initial=0.0)) for part in self.parts) if self.parts else 0.0
        if not np.isfinite(self.size):
            raise ValueError("y must be finite. Got NaN or infinity.")
        self.shapes: dict[str, None] = {}  # that y could have
        self.refused: ShapeError | None = None
        self.compared = False

    def error(self, layer: Any) -> float:
        """The largest difference, relative to the largest number of y; infinite where y is nothing that it gives."""
        try:
            outputs, end = layer(self.x, self.state)
        except ShapeError as error:
            self.refused = error
            return np.inf
        forms = [outputs if isinstance(outputs, list) else [outputs], [*end] if isinstance(end, tuple) else [end]]
        if isinstance(end, tuple):
            forms.append([end[0]])
        least = np.inf
        for form in forms:
            self.shapes[" and ".join(str(part.shape) for part in form)] = None
            if [part.shape for part in form] == [part.shape for part in self.parts]:
                self.compared = True
                far = max(float(np.abs(a - b).max(initial=0.0)) for a, b in zip(form, self.parts, strict=True))
                least = min(least, far / (self.size or 1.0))
        return least

    def check(self) -> None:
        """Refuses what no layer could take or give, whatever its layout."""
        if not self.compared and self.shapes:
            raise ShapeError(f"y must have shape {' or '.join(self.shapes)}. Got {checks.describe(self.y)}.")
        if not self.compared and self.refused is not None:
            raise self.refused


# Layouts that are no name of the table.


def _variants(arrays: Mapping[str, Array]) -> Iterator[Convention]:
    """Conventions of the table for other layers of a stack, and with the reset form that they do not assume."""
    numbers = {int(number) for name in arrays for number in re.findall(r"\d{1,3}", name)}
    for rule in CONVENTIONS.values():
        forms = [None, True, False] if rule.reset_after is None else [rule.reset_after]
        for layer, form in itertools.product(sorted({rule.layer, *numbers}), forms):
            yield replace(rule, layer=layer, reset_after=form)


def _layouts(cell: Cell, arrays: Mapping[str, Array], fits: Callable[[Convention], bool]) -> Iterator[Convention]:
    """Every convention for arrays of these names: what each is, orientations, biases, then orders of gates.

    `fits` says whether arrays have the shapes of a convention, on which the order has no bearing.
    """
    offsets = (0.0, 1.0) if "f" in cell.gates else (0.0,)
    updates: Any = ("old", "new") if "z" in cell.gates else ("old",)
    forms = (True, False) if "reset_after" in cell.options else (None,)
    for reverse, own in _directions(list(arrays)):
        for names, labels in _namings(own, len(cell.gates)):
            parts = ({**a, **b} for a, rest in _weights(names) for b in _biases(rest))
            for part, orientation, form in itertools.product(parts, ("rows", "columns"), forms):
                fields = {**part, "orientation": orientation, "reset_after": form, "reverse": reverse}
                fields |= {"per_gate": bool(labels), **_order(cell, labels, cell.gates)}
                try:
                    rule = Convention(**fields)
                except ValueError:  # a name with a gate in it, or without, where it cannot be
                    continue
                for order in itertools.permutations(cell.gates) if fits(rule) else ():
                    for update, offset in itertools.product(updates, offsets):
                        yield replace(rule, **_order(cell, labels, order), update=update, forget_offset=offset)


def _order(cell: Cell, labels: tuple[str, ...], order: tuple[str, ...]) -> dict[str, Any]:
    """The order of the gates in an array, or which of the labels each one has."""
    return (
        {"gate_labels": dict(zip(order, labels, strict=True))} if labels else {"gates": order if cell.gates else None}
    )


def _directions(names: list[str]) -> Iterator[tuple[str, list[str]]]:
    """The end of the names of a second direction, and the names of the first."""
    yield "_reverse", names
    ends = {b.removeprefix(a) for a in names for b in names if b != a and b.startswith(a)}
    for end in sorted(ends - {""}):
        first = [name for name in names if not name.endswith(end)]
        if sorted(names) == sorted([*first, *(name + end for name in first)]):
            yield end, first


def _namings(names: list[str], gates: int) -> Iterator[tuple[list[str], tuple[str, ...]]]:
    """The names as they are, and where they differ in a label for each gate one for all gates, with the labels."""
    yield names, ()
    labels: dict[str, dict[str, str]] = defaultdict(dict)
    for name in names:
        for i, j in itertools.combinations(range(len(name) + 1), 2):
            labels[f"{name[:i]}{{gate}}{name[j:]}"][name[i:j]] = name
    sets: dict[frozenset[str], list[str]] = defaultdict(list)
    for pattern, found in labels.items():
        if len(found) == gates > 1:
            sets[frozenset(found)].append(pattern)
    seen = set()
    for words, patterns in sorted(sets.items(), key=lambda pair: sum(map(len, pair[0]))):
        for chosen in (patterns, *itertools.combinations(patterns, 2)):
            covered = [labels[pattern][label] for pattern in chosen for label in words]
            rest = [name for name in names if name not in covered]
            if len(covered) == len({*covered}) and len(rest) <= 1 and frozenset(covered) not in seen:
                seen.add(frozenset(covered))
                yield [*chosen, *rest], tuple(sorted(words))


def _weights(names: list[str]) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Which names are weights, two or one in which both are stacked, and the names that are left."""
    for stacked, count in ((None, 2), ("xh", 1), ("hx", 1)):
        for chosen in itertools.permutations(names, count):
            yield {"stacked": stacked, "weight_names": chosen}, [name for name in names if name not in chosen]


def _biases(names: list[str]) -> Iterator[dict[str, Any]]:
    """What the names that are left can be."""
    if not names:
        yield {"biases": 0, "bias_names": ()}
    if len(names) == 1:
        yield {"biases": 1, "bias_names": names}
        yield from ({"biases": 2, "two_biases": kept, "bias_names": names} for kept in ("rows", "joined"))
    if len(names) == 2:
        for a, b in itertools.permutations(names):
            yield {"biases": 2, "bias_names": (a, b)}
            yield {"biases": 1, "bias_names": (a,), "inner_bias": b}
