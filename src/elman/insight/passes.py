"""A function of a cell that was followed, read as equations of one unit.

Symbols have no index. All are those of one unit, but for what is multiplied by a weight, which are whole vectors, and
for the weight, which is the column of that unit, or the row where it is transposed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from elman import checks
from elman.cells import Cell
from elman.cells.cell import Given
from elman.checks import Array
from elman.insight.arithmetic import KINDS, Equation, Part, Shown
from elman.insight.following import Term, follow
from elman.insight.trees import leaves, mapped

_SAME = {"concatenate", "same", "slice"}  # operations that only move numbers


class Pass:
    """A function of a cell that was followed: its terms by name, from which the equations of a unit are read."""

    def __init__(self, title: str, cell: Cell, hidden: int) -> None:
        self.title, self.cell, self.hidden = title, cell, hidden
        self.leaves: dict[int, str] = {}  # what is given, by the order of its term
        self.names: dict[int, str] = {}  # what is computed
        self.roots: list[tuple[str, Term, tuple[str, ...] | None]] = []  # what is shown, and the axes of a weight

    def given(self, label: str, value: Array) -> Term:
        term = Term(value)
        self.leaves[term.order] = label
        return term

    def follow(self, function: Any, *terms: Any) -> tuple[Any, dict[int, tuple[str, bool]]]:
        """What the function returns, as terms; those that are only made of a value where it cannot be followed."""
        plain = (function.whole if isinstance(function, Given) else function)(*values(terms))
        try:
            found, names = follow(function, *terms)
            if all(np.allclose(a, b, equal_nan=True) for a, b in zip(leaves(plain), leaves(found), strict=True)):
                return _as_terms(found), names
            why = "it gave other numbers"
        except Exception as error:  # a function of a user's own may do anything
            why = f"{type(error).__name__}: {error}"
        self.title += f" (what is computed could not be followed, as {checks.shorten(why)})"
        return _as_terms(plain), {}

    def call(self, *labels: Mapping[str, Term]) -> None:
        """Names terms that have none yet."""
        for label, term in (pair for each in labels for pair in each.items()):
            if term.order not in self.leaves:
                self.names.setdefault(term.order, label)

    def call_rest(self, names: Mapping[int, tuple[str, bool]]) -> None:
        """The names of variables for the terms that are left; where another term has it, with a number."""
        taken = {*self.leaves.values(), *self.names.values()}
        for order, (name, in_dict) in sorted(names.items()):
            if order not in self.names and not (in_dict and name in taken):
                label = next(one for one in (name, *(f"{name}_{i}" for i in range(2, 99))) if one not in taken)
                taken.add(label)
                self.names[order] = label

    def part(self, j: int) -> Part:
        """The equations of one unit, in the order in which the function computes."""
        self.read: dict[str, Any] = {}
        self.left: dict[tuple[int, int], Term] = {}  # elements with a name that are yet to be shown
        self.whole: dict[int, Term] = {}  # vectors
        found: dict[tuple[int, str], tuple[int, Equation]] = {}
        for label, term, axes in self.roots:
            for name, k in self._places(label, term, axes, j):
                found[term.order, name] = k, self._equation(name, term, k, axes)
        while self.left:
            (order, k), term = self.left.popitem()
            name = str(self._label(term, k))
            if (order, name) not in found:
                found[order, name] = k, self._equation(name, term, k, None)
        while self.whole:
            order, term = self.whole.popitem()
            if order not in {order for order, _ in found}:
                name, value = self.names[order], term.value.reshape(-1)
                found[order, name] = 0, Equation(name, self._inside(term), value, whole=True)
        equations = [found[key][1] for key in sorted(found, key=lambda key: (key[0], found[key][0]))]
        known = [name for name in self.leaves.values() if name not in self.cell.weights]
        given = {name: self.read[name] for name in known if name in self.read}
        return Part(f"{self.title}, unit {j}", given, equations)

    def _places(self, label: str, term: Term, axes: tuple[str, ...] | None, j: int) -> list[tuple[str, int]]:
        """The names and places of what a unit has of a root."""
        if axes is not None and axes[-1] == "gates" and len(self.cell.gates) > 1:
            return [(f"{label}_{gate}", i * self.hidden + j) for i, gate in enumerate(self.cell.gates)]
        count = term.value.shape[0 if axes == ("hidden", "projection") else -1]
        return [(label, j)] if axes == ("input",) or j < count else []

    def _equation(self, name: str, term: Term, k: int, axes: tuple[str, ...] | None) -> Equation:
        if axes == ("input",):  # a whole vector, which belongs to no unit
            return Equation(name, self._inside(term), term.value.reshape(-1), whole=True)
        term, k = self._moved(term, k, name)
        if axes is not None and len(axes) == 2:  # of a weight: a column, or a row of a projection
            return self._outer(name, term, k, axes)
        return Equation(name, self._element(term, k, name), _number(term, k))

    def _outer(self, name: str, term: Term, k: int, axes: tuple[str, ...]) -> Equation:
        """The gradient of a weight at one unit, a vector times a number."""
        of_row = axes == ("hidden", "projection")
        value = term.value[k] if of_row else term.value[:, k]
        left, right = term.parts if term.operation == "matmul" else (None, None)
        if not (isinstance(left, Term) and left.operation == "transpose" and isinstance(right, Term)):
            return Equation(name, self._inside(term) if term.parts else ("number", value), value, whole=True)
        (left,) = left.parts
        if of_row:
            row = ("worth", self._vector(right), right.value.reshape(-1))
            return Equation(name, ("matmul", ("worth", self._element(left, k), _number(left, k)), row), value)
        column = ("worth", ("transpose", self._vector(left)), left.value.reshape(-1))
        return Equation(name, ("matmul", column, ("worth", self._element(right, k), _number(right, k))), value)

    def _label(self, term: Term, k: int) -> str | None:
        """The name of an element of a term; with its gate where the term is as wide as all gates."""
        name = self.leaves.get(term.order) or self.names.get(term.order)
        gates, width = self.cell.gates, term.value.shape[-1] if term.value.ndim else 1
        by_gate = name is not None and len(gates) > 1 and width == len(gates) * self.hidden
        return f"{name}_{gates[k // self.hidden]}" if by_gate else name

    def _moved(self, term: Term, k: int, but: str = "") -> tuple[Term, int]:
        """Where an element comes from, past what only moves numbers, up to the first that has a name but `but`."""
        while term.operation in _SAME:
            if self._label(term, k) not in (None, but) and term.value.shape[-1] <= self.hidden:
                break
            if term.operation == "concatenate":
                for part in term.parts:
                    if k < part.shape[-1]:
                        break
                    k -= part.shape[-1]
            else:
                (part,) = term.parts
                k += term.start
            if not isinstance(part, Term):
                break
            term = part
        return term, k

    def _element(self, term: Any, k: int, top: str = "") -> Shown:
        """One number, or the name it has; `top` is the name of what is being computed, which is taken apart."""
        if not isinstance(term, Term):
            return ("number", float(np.reshape(term, -1)[k if np.size(term) > 1 else 0]))
        k = k if term.value.ndim and term.value.shape[-1] > 1 else 0
        term, k = self._moved(term, k, top)
        label, number = self._label(term, k), _number(term, k)
        if label and label != top:
            if term.order not in self.leaves:
                self.left[term.order, k] = term
            elif term.value.ndim < 2 or len(term.value) == 1:
                self.read.setdefault(label, number)
            return ("worth", ("name", label), number)
        if term.operation == "matmul" and isinstance(term.parts[0], Term) and isinstance(term.parts[1], Term):
            left = ("worth", self._vector(term.parts[0]), term.parts[0].value.reshape(-1))
            right = ("worth", self._column(term.parts[1], k), term.parts[1].value[:, k])
            return ("worth", ("matmul", left, right), number)
        if not term.parts:
            return ("number", number)
        shapes = [np.shape(part) for part in term.parts]
        if any(shape and shape[-1] not in (1, term.value.shape[-1]) for shape in shapes):
            return ("worth", self._operation(term, self._vector), number)
        return self._operation(term, lambda part: self._element(part, k))

    def _operation(self, term: Term, part: Any) -> Shown:
        kind = {"true_divide": "divide", "square": "power"}.get(term.operation, term.operation)
        parts = [part(one) for one in term.parts]
        if term.operation == "square":
            parts.append(("number", 2))
        if kind == "multiply" and term.parts[0] is term.parts[1]:
            kind, parts = "power", [parts[0], ("number", 2)]
        if kind == "matmul":
            parts[1] = self._column(term.parts[1], None)
        return (kind, *parts) if kind in KINDS else ("call", kind, *parts)

    def _vector(self, term: Any) -> Shown:
        """The name of a whole vector, or what it is made of."""
        if not isinstance(term, Term):
            return ("number", np.reshape(term, -1)) if np.ndim(term) else ("number", float(term))
        name = self.leaves.get(term.order) or self.names.get(term.order)
        if term.order in self.leaves and (term.value.ndim < 2 or len(term.value) == 1):
            self.read[self.leaves[term.order]] = term.value.reshape(-1)
        if name:
            if term.order in self.names:
                self.whole[term.order] = term
            return ("name", name)
        return self._inside(term)

    def _inside(self, term: Term) -> Shown:
        """What a whole vector is made of."""
        if not term.parts:
            return ("number", term.value.reshape(-1))
        if term.operation == "same":
            return self._vector(term.parts[0])
        if term.operation == "slice":  # a block of what has one for each gate: the symbols are those of any unit
            kept = self.left, self.read
            self.left, self.read = {}, {}
            shown = self._element(term.parts[0], term.start)
            self.left, self.read = kept
            return shown
        return self._operation(term, self._vector)

    def _column(self, term: Any, k: int | None) -> Shown:
        """The name of a weight in a product: of the column k, or of all of it."""
        shape, turned, begin = np.shape(term), False, 0
        while isinstance(term, Term) and term.operation in ("transpose", "slice", "same"):
            turned, begin, term = turned ^ (term.operation == "transpose"), begin + term.start, term.parts[0]
        width = shape[0 if turned else -1]
        shown = self._vector(term)
        if isinstance(term, Term) and self._label(term, 0) != shown[1]:  # a block per gate
            if not turned and k is not None:
                shown = ("name", self._label(term, begin + k))
            elif width < term.value.shape[-1] and width % self.hidden == 0:
                gates = self.cell.gates[begin // self.hidden : (begin + width) // self.hidden]
                shown = ("name", f"{shown[1]}_{''.join(gates)}")
        return ("transpose", shown) if turned else shown


def _as_terms(tree: Any) -> Any:
    """Arrays that came without a history as terms without one."""
    if isinstance(tree, dict):
        return {name: _as_terms(part) for name, part in tree.items()}
    if isinstance(tree, (tuple, list)):
        return tuple([_as_terms(part) for part in tree])
    return tree if isinstance(tree, Term) else Term(np.asarray(tree), "made")


def _number(term: Term, k: int) -> Any:
    """One number of a row."""
    row = term.value.reshape(-1)
    return row[k if len(row) > 1 else 0]


def values(part: Any) -> Any:
    """Copies of what terms hold."""
    return mapped(lambda term: np.array(term, copy=True), part)
