"""The arrays of a cell and of a convention, described alike.

A `Slot` is one array: a grid of blocks, one block of width H for each gate, and one row of blocks for x, for h, or
for a bias. A block is called by what it is to the cell, whatever array it stands in:

    ("x", g) (I, H)   input weights of the gate g         ("b", g)  (1, H)  its bias
    ("h", g) (H, H)   recurrent weights                   ("bh", g) (1, H)  its bias inside the recurrent product
    ("projection", "") (H, P)                             ("peephole", g) (1, H)

With a projection P is a number of the cell, and recurrent weights are (P, H). A slot without a grid is an array that
is taken whole, as the block ("other", name).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
Length: TypeAlias = tuple[int, int, int]  # a, b, c of a length a I + b H + c

_INPUT, _HIDDEN, _ONE = (1, 0, 0), (0, 1, 0), (0, 0, 1)


@dataclass(frozen=True)
class Slot:
    """One array of one direction."""

    name: str
    axes: tuple[Length, ...]
    grid: tuple[tuple[Key, ...], ...] = ()  # as rows (x @ W) have it
    heights: tuple[Length, ...] = ()  # of the rows of the grid
    width: Length = _HIDDEN  # of a block
    transposed: bool = False
    needed: bool = True  # it must be among what is read
    written: bool = True

    @property
    def is_bias(self) -> bool:
        """Whether it keeps biases."""
        return bool(self.grid) and self.grid[0][0][0] in ("b", "bh")

    def read(self, array: Array, inputs: int, hidden: int) -> Blocks:
        """The blocks of an array, as views of it."""
        if not self.grid:
            return {("other", self.name): array}
        whole = array.T if self.transposed else np.atleast_2d(array)
        rows = np.split(whole, np.cumsum([_count(height, inputs, hidden) for height in self.heights])[:-1])
        blocks: Blocks = {}
        for keys, row in zip(self.grid, rows, strict=True):
            blocks |= zip(keys, np.split(row, len(keys), axis=1), strict=True)
        return blocks

    def write(self, blocks: Blocks, inputs: int, hidden: int, dtype: Any) -> Array:
        """The array of its blocks, which are taken out of `blocks`; 0 where there is none."""
        shape = tuple(_count(axis, inputs, hidden) for axis in self.axes)
        if not self.grid:
            return np.array(blocks.pop(("other", self.name), np.zeros(shape)), dtype, order="C")
        width = _count(self.width, inputs, hidden)
        zeros = np.zeros((1, width), dtype)
        rows = [
            [np.broadcast_to(blocks.pop(key, zeros), (_count(height, inputs, hidden), width)) for key in keys]
            for keys, height in zip(self.grid, self.heights, strict=True)
        ]
        whole = np.concatenate([np.concatenate(row, axis=1) for row in rows])
        return np.array((whole.T if self.transposed else whole).reshape(shape), dtype, order="C")


def _count(length: Length, inputs: int, hidden: int) -> int:
    a, b, c = length
    return a * inputs + b * hidden + c


def _grid_slot(
    cell: Cell, name: str, grid: list[list[Key]], *, transposed: bool = False, vector: bool = False, **flags: bool
) -> Slot:
    state = _HIDDEN if cell.projection is None else (0, 0, cell.projection)
    rows = tuple(tuple(row) for row in grid)
    heights = tuple({"x": _INPUT, "h": state, "projection": _HIDDEN}.get(row[0][0], _ONE) for row in rows)
    block = state if rows[0][0][0] == "projection" else _HIDDEN
    height = _summed(heights)
    width = _summed([block] * len(rows[0]))
    axes = (width,) if vector and len(rows) == 1 else (width, height) if transposed else (height, width)
    return Slot(name, axes, rows, heights, block, transposed, **flags)


def _summed(lengths: Sequence[Length]) -> Length:
    a, b, c = (sum(part) for part in zip(*lengths, strict=True))
    return a, b, c


def cell_slots(cell: Cell) -> list[Slot]:
    """The arrays of a cell, known by their axes; what is neither weights of x or h nor a bias is taken whole."""
    gates = cell.gates or ("",)
    wide = "gates" if cell.gates else "hidden"
    state = "hidden" if cell.projection is None else "projection"
    kinds: dict[tuple[str, ...], list[Key]] = {
        ("input", wide): [("x", gate) for gate in gates],
        (state, wide): [("h", gate) for gate in gates],
    }
    if cell.gates:  # without gates, a vector may be anything
        kinds["gates",] = [("b", gate) for gate in gates]
    if cell.projection is not None:
        kinds["hidden", "projection"] = [("projection", "")]
    vectors = {name: ("bh", gate) for name, gate in cell.inner_biases.items()}
    vectors |= {name: ("peephole", gate) for name, gate in cell.peepholes.items()}
    lengths: dict[str, Length] = {"input": _INPUT, "hidden": _HIDDEN, "gates": (0, len(cell.gates), 0)}
    lengths["projection"] = (0, 0, cell.projection or 0)
    slots = []
    for name, axes in cell.weights.items():
        keys = kinds.pop(tuple(axes), None)  # a second array of the same axes must be something else
        if keys is None and name in vectors and tuple(axes) == ("hidden",):
            keys = [vectors[name]]
        if keys is not None:
            slots.append(_grid_slot(cell, name, [keys], vector=len(axes) == 1))
        else:
            slots.append(Slot(name, tuple(lengths[axis] for axis in axes)))
    return slots


def convention_slots(rule: Convention, cell: Cell) -> list[Slot]:
    """The arrays of a convention for a cell, under their names for the first direction."""
    own = cell_slots(cell)
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


def _rule_slots(rule: Convention, cell: Cell) -> Iterator[Slot]:
    """The arrays of a convention whose fields are filled in for the cell, in the order in which it writes them."""
    yield from _weight_slots(rule, cell)
    yield from _bias_slots(rule, cell)
    if cell.peepholes and rule.peepholes is not None:
        gates = tuple(rule.peephole_gates or ())
        for group in [(gate,) for gate in gates] if "{gate}" in rule.peepholes else [gates]:
            grid = [[("peephole", gate) for gate in group]]
            yield _grid_slot(cell, _named(rule, rule.peepholes, group), grid, **_form(rule))
    if cell.projection is not None and rule.projection is not None:
        grid = [[("projection", "")]]
        yield _grid_slot(cell, _named(rule, rule.projection), grid, transposed=rule.orientation == "columns")
    for zeros, needed in ((rule.zeros, True), (rule.optional_zeros, False)):
        for name, length in zeros.items():
            if not cell.peepholes or name != rule.peepholes:  # else it is among the arrays already
                yield Slot(name, ((0, length, 0),), needed=needed, written=needed)


def _weight_slots(rule: Convention, cell: Cell) -> Iterator[Slot]:
    for name, kinds in zip(rule.weights, [rule.stacked] if rule.stacked else ["x", "h"], strict=True):
        for group in _groups(rule):
            grid = [[(kind, gate) for gate in group] for kind in kinds]
            yield _grid_slot(cell, _named(rule, name, group), grid, transposed=rule.orientation == "columns")


def _bias_slots(rule: Convention, cell: Cell) -> Iterator[Slot]:
    needed = not rule.bias_optional
    for name, lines in _bias_lines(rule, cell):
        for group in _groups(rule):
            grid = [[(kind, gate) for kind in line for gate in group] for line in lines]
            yield _grid_slot(cell, _named(rule, name, group), grid, needed=needed, **_form(rule))
    if rule.inner_bias is not None:
        for gate in cell.inner_biases.values():
            name = _named(rule, rule.inner_bias, (gate,))
            yield _grid_slot(cell, name, [[("bh", gate)]], needed=needed, **_form(rule))


def _groups(rule: Convention) -> list[tuple[str, ...]]:
    """The gates that share an array."""
    gates = tuple(rule.gates or ("",))
    if not rule.per_gate:
        return [gates]
    return [(gate,) for gate in gates] if isinstance(rule.per_gate, bool) else [tuple(g) for g in rule.per_gate]


def _named(rule: Convention, name: str, group: tuple[str, ...] = ()) -> str:
    """The name of the array of a group of gates."""
    label = rule.gate_labels.get("".join(group), "".join(group))
    return name.replace("{gate}", label).replace("{layer}", str(rule.layer))


def _form(rule: Convention) -> dict[str, bool]:
    """The form of biases."""
    return {"transposed": rule.bias_shape == "column", "vector": rule.bias_shape == "vector"}


def _bias_lines(rule: Convention, cell: Cell) -> list[tuple[str, list[list[str]]]]:
    """For each array of biases its name, and the kinds of bias in each of its rows."""
    names = rule.bias_arrays
    count = rule.biases if rule.biases != "inner" else 2 if cell.inner_biases else 1
    if count != 2:
        return [(name, [["b"]]) for name in names[:count]]
    if rule.two_biases == "arrays":
        return [(names[0], [["b"]]), (names[1], [["bh"]])]
    return [(names[0], [["b", "bh"]] if rule.two_biases == "joined" else [["b"], ["bh"]])]


def sizes(named: Mapping[str, Slot], given: Mapping[str, Array], lead: tuple[int, ...]) -> tuple[int, int]:
    """I and H, on which most of the arrays agree; refuses those that do not.

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
    return inputs, hidden


def _input_sizes(slot: Slot, shape: tuple[int, ...], hidden: int | None) -> list[int]:
    """I as an array tells it, or as it would if it were transposed, so that the error can say what it must be."""
    if hidden is None:
        return []
    for lengths in (shape, shape[::-1]):
        pairs = list(zip(slot.axes, lengths, strict=True))
        if all(n == b * hidden + c for (a, b, c), n in pairs if a == 0):
            return [n - b * hidden - c for (a, b, c), n in pairs if a and n > b * hidden + c]
    return []


def _length(axis: Length, inputs: int | None, hidden: int | None) -> int | str:
    """A length as a number where the sizes are known, else in words."""
    a, b, c = axis
    if (inputs is not None or not a) and (hidden is not None or not b):
        return a * (inputs or 0) + b * (hidden or 0) + c
    words = ["input"] * bool(a) + [f"{b} hidden" if b > 1 else "hidden"] * bool(b) + [str(c)] * bool(c)
    return " + ".join(words)
