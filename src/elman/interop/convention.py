"""What a convention is: where a system keeps the weights of a recurrent cell, said as data.

`elman.interop.conventions` is the table of those of known systems; `elman.interop.arrays` reads and writes what they
describe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, Literal, TypeAlias

from elman import checks
from elman.cells.cell import Cell
from elman.checks import FormatError

Order: TypeAlias = str | Sequence[str]

_CHOICES = {
    "orientation": ("rows", "columns"),
    "stacked": ("xh", "hx"),
    "two_biases": ("arrays", "joined", "rows"),
    "bias_shape": ("vector", "row", "column"),
    "update": ("old", "new"),
}


@dataclass(frozen=True)
class Convention:
    """Where a system keeps the weights of a recurrent cell. The defaults describe this library's own arrays, but
    for `bn`.

    I inputs, H hidden units, G gates. Gates are called by the names of the `elman.Cell`: i, f, g, o for the LSTM (g
    the candidate), r, z, n for the GRU (n the candidate, z the update gate), h for the simple network. Every field
    can differ for one cell, see `by_cell`.

    Parameters
    ----------
    name
        What errors call it.
    orientation
        "rows": x @ W, input weights (I, G·H), recurrent weights (H, G·H). "columns": W @ x, each transposed.
    gates
        The order of the gate blocks, such as "ifgo"; a mapping of cell name to order says which cells there are;
        None takes any cell in its own order.
    stacked
        None: input and recurrent weights in two arrays. "xh", "hx": in one array, over [x; h] or over [h; x].
    per_gate
        True: one array per gate. A sequence such as ("rz", "n"): one array for each of these groups of gates, and
        `gates` is not used. `{gate}` in a name stands for the gate or the group.
    gate_labels
        What `{gate}` is to become, where it is not the name of the gate: {"g": "c"}.
    weight_names
        Two names, or one where `stacked`. ("Wx", "Wh") or ("W",), followed by `{gate}` with `per_gate`.
    biases
        0: none. 1: one per gate. 2: one added to the input product and one to the recurrent product. "inner": 2 for a
        cell with a bias inside its recurrent product (the GRU with reset_after), 1 for others.
    two_biases
        How two are kept: "arrays", two of them; "joined", one array, first all of the input; "rows", one (2, G·H).
    bias_names
        One name, or two for two arrays. ("b",) or ("bx", "bh"), followed by `{gate}` with `per_gate`.
    bias_shape
        "vector" (n,), "row" (1, n), "column" (n, 1).
    bias_optional
        Whether the biases may be left out of what is read, all together; they are then 0.
    inner_bias
        With one bias: the name of the array that keeps the bias inside the recurrent product (`bn`), (H,). `{gate}`
        stands for its gate. None: there is no such bias, and a layer whose `bn` is not 0 is refused.
    peepholes
        The name of the array that keeps the peepholes, in the shape of biases; with `{gate}` one array per gate. None:
        there are none.
    peephole_gates
        The order of the peepholes in one array, such as "iof"; None for the order of the cell.
    projection
        The name of the array that keeps the projection of an LSTM, (H, P) as rows have it. None: there is none.
    idle_gates
        Whether a cell may have fewer gates than `gates`, as an LSTM with coupled gates has no f. The blocks of the
        others are there all the same: never read, and written as 0.
    update
        What the update gate, the gate z, multiplies: "old", h' = (1 - z) n + z h, as here; "new",
        h' = z n + (1 - z) h, which is the same with all weights and biases of z negated, exactly.
    forget_offset
        What the other system adds to the bias of the forget gate, the gate f, while it runs. Added when its arrays
        are read, subtracted when they are written: each once rounded where the result needs more digits.
    reset_after
        The reset form of the GRU that this convention keeps; None where both. It is then an option of
        `from_arrays`, and, where the arrays do not tell it, `assumed_reset_after`.
    assumed_reset_after
        See `reset_after`.
    reverse
        The suffix of the second direction of a bidirectional layer.
    direction_axis
        Whether directions are instead a first axis of every array, 1 or 2 long.
    zeros, optional_zeros
        Further arrays of the system, name -> length in H, which no cell here has: read where they are all 0,
        refused otherwise. `zeros` are written and must be there.
    layer
        What `{layer}` in a name stands for; see `for_layer`.
    by_cell
        Cell name -> the fields that differ for it.

    Raises `ValueError` where fields contradict each other.

    Example
    -------
    A notebook with one array per gate, W @ [h; x], whose candidate is called c:

    >>> import numpy as np
    >>> from elman.interop import Convention, from_arrays, to_arrays
    >>> mine = Convention("mine", orientation="columns", stacked="hx", per_gate=True, gate_labels={"g": "c"})
    >>> rng = np.random.default_rng(0)
    >>> arrays = {f"W{g}": rng.standard_normal((5, 8)) for g in "ifco"} | {f"b{g}": np.zeros(5) for g in "ifco"}
    >>> layer = from_arrays("lstm", arrays, mine)
    >>> layer
    LSTM(input_size=3, hidden_size=5, bidirectional=False, dtype='float64')
    >>> np.array_equal(to_arrays(layer, mine)["Wc"], arrays["Wc"])
    True
    """

    name: str = "custom"
    _: KW_ONLY
    orientation: Literal["rows", "columns"] = "rows"
    gates: Order | Mapping[str, Order] | None = None
    stacked: Literal["xh", "hx"] | None = None
    per_gate: bool | Sequence[Order] = False
    gate_labels: Mapping[str, str] = field(default_factory=dict)
    weight_names: Sequence[str] | None = None
    biases: Literal[0, 1, 2, "inner"] = 1
    two_biases: Literal["arrays", "joined", "rows"] = "arrays"
    bias_names: Sequence[str] | None = None
    bias_shape: Literal["vector", "row", "column"] = "vector"
    bias_optional: bool = False
    inner_bias: str | None = None
    peepholes: str | None = None
    peephole_gates: Order | None = None
    projection: str | None = None
    idle_gates: bool = False
    update: Literal["old", "new"] = "old"
    forget_offset: float = 0.0
    reset_after: bool | None = None
    assumed_reset_after: bool = True
    reverse: str = "_reverse"
    direction_axis: bool = False
    zeros: Mapping[str, int] = field(default_factory=dict)
    optional_zeros: Mapping[str, int] = field(default_factory=dict)
    layer: int = 0
    by_cell: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __repr__(self) -> str:
        plain = Convention(self.name)
        own = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "_"}
        told = [f"{name}={value!r}" for name, value in own.items() if value != getattr(plain, name)]
        return f"Convention({', '.join([repr(self.name), *told])})"

    def __post_init__(self) -> None:
        for name, options in _CHOICES.items():
            if getattr(self, name) is not None or name != "stacked":
                checks.choice(name, getattr(self, name), options)
        if type(self.biases) not in (int, str) or self.biases not in (0, 1, 2, "inner"):
            raise ValueError(f"biases must be 0, 1, 2 or 'inner'. Got {checks.show(self.biases)}.")
        checks.number("forget_offset", self.forget_offset)
        if self.reset_after is not None and not isinstance(self.reset_after, bool):
            raise ValueError(f"reset_after must be True, False or None. Got {checks.show(self.reset_after)}.")
        for name in ("bias_optional", "idle_gates", "assumed_reset_after", "direction_axis"):
            checks.flag(name, getattr(self, name))
        for name in ("name", "inner_bias", "peepholes", "projection"):
            if getattr(self, name) is not None or name == "name":
                checks.text(name, getattr(self, name))
        if not isinstance(self.layer, int) or self.layer < 0:
            raise ValueError(f"layer must be a whole number from 0 up. Got {checks.show(self.layer)}.")
        if self.inner_bias is not None and self.biases != 1:
            raise ValueError(f"inner_bias must be left out unless biases is 1. Got biases={self.biases!r}.")
        if not isinstance(self.reverse, str) or not (self.reverse or self.direction_axis):
            raise ValueError(f"reverse must be a suffix of at least one letter. Got {checks.show(self.reverse)}.")
        self._check_gates()
        self._check_names("weight_names", self.weights, 1 if self.stacked else 2)
        self._check_names("bias_names", self.bias_arrays, len(self._default_biases))
        for name in ("zeros", "optional_zeros"):
            for key, length in checks.mapping(name, getattr(self, name), "of names to lengths in H").items():
                checks.size(f"{name}[{checks.show(key)}]", length)
        for cell, fields in checks.mapping("by_cell", self.by_cell, "of the names of cells to fields").items():
            fields = checks.mapping(f"by_cell[{cell!r}]", fields, "of fields to their values")
            for name in fields:
                checks.choice(f"a field of by_cell[{cell!r}]", name, self.__dataclass_fields__)
            replace(self, **{"by_cell": {}, **fields})

    def _check_gates(self) -> None:
        orders = self.gates.values() if isinstance(self.gates, Mapping) else [self.gates]
        for name, given in (("gates", orders), ("peephole_gates", [self.peephole_gates])):
            for order in given:
                if order is not None and not _is_order(order):
                    raise TypeError(f"{name} must be an order of gates, such as 'ifgo'. Got {checks.show(order)}.")
        grouped = isinstance(self.per_gate, (list, tuple)) and all(map(_is_order, self.per_gate))
        if not isinstance(self.per_gate, bool) and not grouped:
            must = "per_gate must be True, False, or a sequence of groups of gates"
            raise TypeError(f"{must}. Got {checks.show(self.per_gate)}.")
        for gate, label in checks.mapping("gate_labels", self.gate_labels, "of gates to what they are called").items():
            checks.text(f"gate_labels[{checks.show(gate)}]", label)

    def _check_names(self, field_name: str, names: Sequence[str], count: int) -> None:
        if not _is_order(names) or isinstance(names, str) or len(names) != count:
            stated = getattr(self, field_name)
            raise ValueError(f"{field_name} must be a sequence of length {count}. Got {checks.show(stated)}.")
        for name in names:
            if ("{gate}" in name) != bool(self.per_gate):
                rule = "must hold '{gate}'" if self.per_gate else "must not hold '{gate}' without per_gate"
                raise ValueError(f"every name of {field_name} {rule}. Got {checks.show(name)}.")

    @property
    def weights(self) -> Sequence[str]:
        """The names of the arrays of weights: input and recurrent, or one where they are stacked."""
        names = ("W",) if self.stacked else ("Wx", "Wh")
        return self._by_gate(names) if self.weight_names is None else self.weight_names

    @property
    def bias_arrays(self) -> Sequence[str]:
        """The names of the arrays of biases."""
        return self._by_gate(self._default_biases) if self.bias_names is None else self.bias_names

    @property
    def _default_biases(self) -> tuple[str, ...]:
        two = self.biases in (2, "inner") and self.two_biases == "arrays"
        return () if self.biases == 0 else ("bx", "bh") if two else ("b",)

    def _by_gate(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name + "{gate}" * bool(self.per_gate) for name in names)

    def for_layer(self, layer: int) -> Convention:
        """The same convention for another layer of a stack, as counted by the other system, from 0.

        >>> from elman.interop import CONVENTIONS
        >>> CONVENTIONS["pytorch"].for_layer(1).layer
        1
        """
        return replace(self, layer=layer)

    def for_cell(self, cell: Cell) -> Convention:
        """The convention for one cell: `by_cell` filled in, `gates` the order of its gates.

        Raises `FormatError` for a cell that the convention does not have, also for one without some of its gates
        unless it has `idle_gates`, and `ValueError` for an order that is no permutation of the gates of the cell.
        """
        if not isinstance(cell, Cell):
            raise TypeError(f"cell must be an elman.Cell. Got {checks.show(cell)}.")
        convention = replace(self, by_cell={}, **self.by_cell.get(cell.name, {}))
        order = convention.gates
        if isinstance(order, Mapping):
            if cell.name not in order:
                known = ", ".join(map(repr, order))
                must = f"the cell must be one of {known}, which the convention {self.name!r} has"
                raise FormatError(f"{must}. Got {cell.name!r}.")
            order = order[cell.name]
        groups = [] if isinstance(convention.per_gate, bool) else [tuple(group) for group in convention.per_gate]
        order = tuple(g for group in groups for g in group) if groups else cell.gates if order is None else order
        peeping = tuple(cell.peepholes.values())
        peepholes = convention.peephole_gates or peeping if peeping else ()
        return replace(
            convention,
            gates=convention._ordered("gates", order, cell.gates, cell),
            peephole_gates=convention._ordered("peephole_gates", peepholes, peeping, cell) or None,
            per_gate=groups or convention.per_gate,
        )

    def _ordered(self, what: str, order: Order, gates: tuple[str, ...], cell: Cell) -> tuple[str, ...]:
        """An order of the gates of a cell, with those it does not have where the convention keeps their blocks."""
        order = tuple(order)
        spare = set(order) - set(gates)
        if set(gates) < set(order) and not self.idle_gates:
            raise FormatError(
                f"the cell {cell.name!r} must have the gates {', '.join(order)} for the convention {self.name!r}. "
                f"Got {', '.join(gates)}."
            )
        if sorted(order) != sorted((*gates, *spare)) or (spare and not self.idle_gates):
            raise ValueError(
                f"{what} of the convention {self.name!r} must be {', '.join(gates) or 'none'}, those of the cell "
                f"{cell.name!r}, in any order. Got {', '.join(order) or 'none'}."
            )
        return order


def _is_order(value: Any) -> bool:
    """A text of letters, or a sequence of texts."""
    return isinstance(value, str) or (isinstance(value, (list, tuple)) and all(isinstance(part, str) for part in value))
