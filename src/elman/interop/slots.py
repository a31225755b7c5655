"""The arrays of a cell and of a convention, described alike.

A `Slot` is one array: a grid of blocks, one block of width H for each gate, and one row of blocks for x, for h, or
for a bias. A block is called by what it is to the cell, whatever array it stands in:

    ("x", g) (I, H)   input weights of the gate g         ("b", g)  (1, H)  its bias
    ("h", g) (H, H)   recurrent weights                   ("bh", g) (1, H)  its bias inside the recurrent product
    ("projection", "") (H, P)                             ("peephole", g) (1, H)

With a projection P is a number of the cell, and recurrent weights are (P, H). A slot without a grid is an array that
is taken whole, as the block ("other", name). A length a I + b H + c is the vector (a, b, c), and sizes are (I, H, 1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from elman import checks
from elman.cells.cell import Cell
from elman.checks import Array, FormatError, ShapeError
from elman.interop.convention import Convention
from elman.interop.conventions import CONVENTIONS

Key: TypeAlias = tuple[str, str]
Blocks: TypeAlias = dict[Key, Array]

_INPUT, _HIDDEN, _ONE = np.eye(3, dtype=int)


@dataclass(frozen=True)
class Slot:
    """One array of one direction."""

    name: str
    axes: tuple[Array, ...]  # lengths
    grid: Sequence[Sequence[Key]] = ()  # as rows (x @ W) have it
    heights: tuple[Array, ...] = ()  # of the rows of the grid
    transposed: bool = False
    needed: bool = True  # it must be among what is read
    written: bool = True

    @property
    def is_bias(self) -> bool:
        """Whether it keeps biases."""
        return bool(self.grid) and self.grid[0][0][0] in ("b", "bh")

    def read(self, array: Array, size: Array) -> Blocks:
        """The blocks of an array, as views of it."""
        if not self.grid:
            return {("other", self.name): array}
        whole = array.T if self.transposed else np.atleast_2d(array)
        rows = np.split(whole, np.cumsum([height @ size for height in self.heights])[:-1])
        blocks: Blocks = {}
        for keys, row in zip(self.grid, rows, strict=True):
            blocks |= zip(keys, np.split(row, len(keys), axis=1), strict=True)
        return blocks

    def write(self, blocks: Blocks, size: Array, dtype: Any) -> Array:
        """The array of its blocks, which are taken out of `blocks`; 0 where there is none."""
        shape = [axis @ size for axis in self.axes]
        if not self.grid:
            return np.array(blocks.pop(("other", self.name), np.zeros(shape)), dtype, order="C")
        width = int(shape[0] if self.transposed or len(shape) == 1 else shape[1]) // len(self.grid[0])
        zeros = np.zeros((1, width), dtype)
        rows = [
            [np.broadcast_to(blocks.pop(key, zeros), (int(height @ size), width)) for key in keys]
            for keys, height in zip(self.grid, self.heights, strict=True)
        ]
        whole = np.block(rows)
        return np.array((whole.T if self.transposed else whole).reshape(shape), dtype, order="C")


def _grid_slot(
    cell: Cell, name: str, grid: list[list[Key]], *, transposed: bool = False, vector: bool = False, **flags: bool
) -> Slot:
    state = _HIDDEN if cell.projection is None else cell.projection * _ONE
    heights = tuple({"x": _INPUT, "h": state, "projection": _HIDDEN}.get(row[0][0], _ONE) for row in grid)
    block = state if grid[0][0][0] == "projection" else _HIDDEN
    height, width = sum(heights, 0 * _ONE), len(grid[0]) * block
    axes = (width,) if vector and len(grid) == 1 else (width, height) if transposed else (height, width)
    return Slot(name, axes, grid, heights, transposed, **flags)


def cell_slots(cell: Cell) -> list[Slot]:
    """The arrays of a cell, known by their axes; what is neither weights of x or h nor a bias is taken whole."""
    gates = cell.gates or ("",)
    wide = "gates" if cell.gates else "hidden"
    kinds: dict[tuple[str, ...], str] = {
        ("input", wide): "x",
        ("hidden" if cell.projection is None else "projection", wide): "h",
    }
    if cell.gates:  # without gates, a vector may be anything
        kinds["gates",] = "b"
    known = {axes: [(kind, gate) for gate in gates] for axes, kind in kinds.items()}
    if cell.projection is not None:
        known["hidden", "projection"] = [("projection", "")]
    vectors = {name: ("bh", gate) for name, gate in cell.inner_biases.items()}
    vectors |= {name: ("peephole", gate) for name, gate in cell.peepholes.items()}
    lengths = {"input": _INPUT, "hidden": _HIDDEN, "gates": len(cell.gates) * _HIDDEN}
    lengths["projection"] = (cell.projection or 0) * _ONE
    slots = []
    for name, axes in cell.weights.items():
        # A second array of the same axes must be something else.
        keys = known.pop(tuple(axes), None) or ([vectors[name]] if name in vectors else None)
        if keys is not None:
            slots.append(_grid_slot(cell, name, [keys], vector=len(axes) == 1))
        else:
            slots.append(Slot(name, tuple(lengths[axis] for axis in axes)))
    return slots


def convention_slots(rule: Convention, cell: Cell) -> list[Slot]:
    """The arrays of a convention for a cell, under their names for the first direction."""
    own, form = cell_slots(cell), cell.options.get("reset_after")
    if rule.reset_after is not None and form not in (None, rule.reset_after):
        must = f"reset_after must be {rule.reset_after} for the convention {rule.name!r}, which has no other form"
        raise FormatError(f"{must}. Got {form}.")
    if rule == CONVENTIONS["elman"]:
        return own
    for slot in own:
        if not slot.grid:
            raise FormatError(
                f"a cell must have weights of x, weights of h and biases alone to fit the convention {rule.name!r}. "
                f"Got {slot.name} {tuple(cell.weights[slot.name])} of the cell {cell.name!r}."
            )
    slots = list(_rule_slots(rule.for_cell(cell), cell))
    places = {key[0] for slot in slots for row in slot.grid for key in row}
    for slot in own:
        kind = slot.grid[0][0][0]
        if kind in ("peephole", "projection") and kind not in places:
            raise FormatError(
                f"a cell must have no {kind} to fit the convention {rule.name!r}, which has no array for it. "
                f"Got {slot.name} of the cell {cell.name!r}."
            )
    for name, count in Counter(slot.name for slot in slots).items():
        if count > 1:
            raise ValueError(
                f"every array of the convention {rule.name!r} must have its own name. Got {checks.show(name)} twice."
            )
    return slots


#: How two biases are kept: for each array the kinds of bias in each of its rows.
_TWO = {"arrays": [[["b"]], [["bh"]]], "joined": [[["b", "bh"]]], "rows": [[["b"], ["bh"]]]}


def _rule_slots(rule: Convention, cell: Cell) -> Iterator[Slot]:
    """The arrays of a convention whose fields are filled in for the cell, in the order in which it writes them."""

    def slots(name: str, groups: Sequence[Sequence[str]], lines: list[list[str]], **form: bool) -> Iterator[Slot]:
        for group in groups:
            label = rule.gate_labels.get("".join(group), "".join(group))
            grid = [[(kind, gate) for kind in line for gate in group] for line in lines]
            yield _grid_slot(cell, name.replace("{gate}", label).replace("{layer}", str(rule.layer)), grid, **form)

    def alone(gates: Iterable[str]) -> list[tuple[str, ...]]:
        return [(gate,) for gate in gates]

    gates = tuple(rule.gates or ("",))
    groups: Any = [gates] if not rule.per_gate else alone(gates) if isinstance(rule.per_gate, bool) else rule.per_gate
    columns, needed = rule.orientation == "columns", not rule.bias_optional
    form = {"transposed": rule.bias_shape == "column", "vector": rule.bias_shape == "vector"}
    for name, kinds in zip(rule.weights, [rule.stacked] if rule.stacked else ["x", "h"], strict=True):
        yield from slots(name, groups, [[kind] for kind in kinds], transposed=columns)
    two = rule.biases == 2 or (rule.biases == "inner" and cell.inner_biases)
    for name, lines in zip(rule.bias_arrays, _TWO[rule.two_biases] if two else [[["b"]]], strict=False):
        yield from slots(name, groups, lines, needed=needed, **form)
    if rule.inner_bias is not None:
        yield from slots(rule.inner_bias, alone(cell.inner_biases.values()), [["bh"]], needed=needed, **form)
    if cell.peepholes and rule.peepholes is not None:
        order = tuple(rule.peephole_gates or ())
        each = alone(order) if "{gate}" in rule.peepholes else [order]
        yield from slots(rule.peepholes, each, [["peephole"]], **form)
    if cell.projection is not None and rule.projection is not None:
        yield from slots(rule.projection, alone([""]), [["projection"]], transposed=columns)
    for zeros, there in ((rule.zeros, True), (rule.optional_zeros, False)):
        for name, length in zeros.items():
            if not cell.peepholes or name != rule.peepholes:  # else it is among the arrays already
                yield Slot(name, (length * _HIDDEN,), needed=there, written=there)


def sizes(named: Mapping[str, Slot], given: Mapping[str, Array], lead: tuple[int, ...]) -> Array:
    """(I, H, 1), on which most of the arrays agree; refuses those that do not.

    `named` are the slots of the arrays `given`, and `lead` is the length of the axis of directions, if there is one.
    """
    shapes = [
        (slot, given[name].shape[len(lead) :])
        for name, slot in named.items()
        if given[name].ndim == len(slot.axes) + len(lead)
    ]
    # Vectors vote first: of two sizes with equal votes the first counts, and a vector cannot be transposed.
    votes = Counter(
        (n - c) // b
        for slot, shape in sorted(shapes, key=lambda entry: len(entry[0].axes))
        for (a, b, c), n in zip(slot.axes, shape, strict=True)
        if a == 0 and b > 0 and n > c and (n - c) % b == 0
    )
    hidden = votes.most_common(1)[0][0] if votes else None
    widths = Counter(width for slot, shape in shapes for width in _input_sizes(slot, shape, hidden))
    inputs = widths.most_common(1)[0][0] if widths else None
    for name, slot in named.items():
        checks.shape(name, given[name], (*lead, *(_length(axis, inputs, hidden) for axis in slot.axes)))
    if inputs is None or hidden is None:  # every array fits the words, yet none tells a size: one of them is 0
        shapes_given = ", ".join(f"{name} {given[name].shape}" for name in named)
        raise ShapeError(f"arrays must have at least one input and one hidden unit. Got {shapes_given}.")
    return np.array([inputs, hidden, 1])


def _input_sizes(slot: Slot, shape: tuple[int, ...], hidden: int | None) -> list[int]:
    """I as an array tells it, or as it would if it were transposed, so that the error can say what it must be."""
    if hidden is None:
        return []
    for lengths in (shape, shape[::-1]):
        pairs = list(zip(slot.axes, lengths, strict=True))
        if all(n == b * hidden + c for (a, b, c), n in pairs if a == 0):
            return [n - b * hidden - c for (a, b, c), n in pairs if a and n > b * hidden + c]
    return []


def _length(axis: Array, inputs: int | None, hidden: int | None) -> int | str:
    """A length as a number where the sizes are known, else in words."""
    a, b, c = axis.tolist()
    if (inputs is not None or not a) and (hidden is not None or not b):
        return a * int(inputs or 0) + b * int(hidden or 0) + c
    words = ["input"] * bool(a) + [f"{b} hidden" if b > 1 else "hidden"] * bool(b) + [str(c)] * bool(c)
    return " + ".join(words)
