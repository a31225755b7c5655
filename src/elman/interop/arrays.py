"""Arrays of any convention to a layer, and back.

Both sides are described alike, as blocks (see `elman.interop.slots`). To convert is to take the arrays of one side
apart, to change a few blocks, and to put them together as the other side has it (`_converted`). What is not there is
0; a block that the other side has no place for must be 0, or the conversion is refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from elman import checks
from elman.cells import CELLS, Cell
from elman.cells.cell import REVERSE
from elman.checks import Array, FormatError
from elman.interop.chain import check_states, nodes_of
from elman.interop.convention import Convention
from elman.interop.conventions import CONVENTIONS
from elman.interop.slots import Blocks, Slot, cell_slots, convention_slots, sizes
from elman.layers import LAYERS, Bidirectional, Recurrent


def from_arrays(cell: str | Cell, arrays: Mapping[str, Any], convention: str | Convention, **options: Any) -> Recurrent:
    """A layer from the weights of another system.

    Parameters
    ----------
    cell
        "lstm", "gru" or "rnn", or an `elman.Cell`.
    arrays
        Name -> array, all that the convention names and no others. They are copied. Where the second direction is
        among them, the layer is bidirectional.
    convention
        A name of the table, see `elman.interop.CONVENTIONS`, or an `elman.Convention`.
    options
        Those of the cell, which arrays do not tell: `activation` of "rnn", `reset_after` of "gru", `peepholes`,
        `coupled`, `projection` of "lstm" and so on, see `elman.RNN`, `elman.GRU` and `elman.LSTM`.

    Returns
    -------
    layer
        An `elman.LSTM`, `elman.GRU` or `elman.RNN`, or an `elman.Recurrent` for a cell of one's own; float32 where
        all arrays are, else float64. Two biases that only ever act as a sum are added.

    Raises
    ------
    ShapeError
        Where a shape does not fit.
    FormatError
        Where arrays are missing or unknown, or hold what the cell cannot.
    ValueError
        For an unknown cell or convention, or gates that are not those of the cell.

    Source: the code of each system, named in `elman.interop.conventions`.

    >>> import numpy as np
    >>> from elman.interop import from_arrays
    >>> rng = np.random.default_rng(0)
    >>> kernel, bias = rng.standard_normal((3 + 5, 4 * 5)), np.zeros(4 * 5)
    >>> from_arrays("lstm", {"kernel": kernel, "bias": bias}, "tf1").b[5:10]
    array([1., 1., 1., 1., 1.])
    """
    rule = _convention(convention)
    given = _numbers(arrays)
    made = _cell(cell, rule, given, options)
    slots = convention_slots(rule, made)
    named = _named(rule, slots, given)
    _check_names(rule, made, named, given)
    named = {name: slot for name, slot in named.items() if name in given}
    both, lead = any(name + rule.reverse in given for name in named), tuple[int, ...]()
    if rule.direction_axis:
        both = 2 in [len(given[name]) for name, slot in named.items() if given[name].ndim == len(slot.axes) + 1]
        lead = (1 + both,)
    dtype = checks.common_dtype(*given.values())
    given = {name: _in_form(named[name], array, len(lead)).astype(dtype) for name, array in given.items()}
    size = sizes(named, given, lead)
    parameters: dict[str, Array] = {}
    for direction, suffix in enumerate(("", REVERSE)[: 1 + both]):
        names = {slot.name + rule.reverse * direction * (not lead): slot for slot in slots}
        there = [(slot, given[name]) for name, slot in names.items() if name in given]
        own = [(slot, array[direction] if lead else array) for slot, array in there]
        arrays = _converted(own, cell_slots(made), made, rule, size, f"the cell {made.name!r}")
        parameters |= {name + suffix: array for name, array in arrays.items()}
    config = {"input_size": int(size[0]), "hidden_size": int(size[1]), "bidirectional": both, "dtype": str(dtype)}
    if isinstance(cell, Cell):
        return Recurrent.from_parameters({"cell": cell, **config}, parameters)
    kind: Any = LAYERS[cell.upper()]
    return kind.from_parameters({**made.options, **config}, parameters)


def to_arrays(layer: Recurrent | Bidirectional, convention: str | Convention) -> dict[str, Array]:
    """The weights of a recurrent layer, as another system keeps them.

    Parameters
    ----------
    layer
        An `elman.LSTM`, `elman.GRU`, `elman.RNN` or `elman.Recurrent`, or an `elman.Bidirectional` of two equal ones.
    convention
        A name of the table, see `elman.interop.CONVENTIONS`, or an `elman.Convention`.

    Returns
    -------
    arrays
        Name -> new array, contiguous, of the dtype of the layer. Of two biases that the system adds, the first is
        the sum and the second 0, but for what stands inside a reset product (`bn`). Options of the cell (an
        activation, a bound, the reset form) are in no array; they are in ``layer.config``.

    Dropout acts in training alone, so a layer with `recurrent_dropout` is written like one without.

    Raises `FormatError` for what the convention cannot hold, a learned state, zoneout or layer normalization among
    it; `TypeError` for what is no recurrent layer.

    >>> import elman
    >>> from elman.interop import to_arrays
    >>> arrays = to_arrays(elman.GRU(3, 5, bidirectional=True, seed=0), "onnx")
    >>> {name: array.shape for name, array in arrays.items()}
    {'W': (2, 15, 3), 'R': (2, 15, 5), 'B': (2, 30)}
    """
    if isinstance(layer, Bidirectional):
        _, (first, *more), _ = nodes_of(layer)
        if not more and isinstance(first.layer, Recurrent):
            layer = first.layer  # two equal layers are one of both directions
    if not isinstance(layer, Recurrent):
        raise TypeError(f"layer must be a recurrent layer. Got {checks.describe(layer)}.")
    rule = _convention(convention)
    check_states(layer, f"the convention {rule.name!r}")
    slots = [slot for slot in convention_slots(rule, layer.cell) if slot.written]
    size = np.array([layer.input_size or 0, layer.hidden_size, 1])
    parts = []
    for part in layer.directions.values():
        own = [(slot, part.parameters[slot.name]) for slot in cell_slots(layer.cell)]
        parts.append(_converted(own, slots, layer.cell, rule, size, f"the convention {rule.name!r}", back=True))
    if rule.direction_axis:
        return {slot.name: np.stack([part[slot.name] for part in parts]) for slot in slots}
    return {name + rule.reverse * d: array for d, part in enumerate(parts) for name, array in part.items()}


# What is asked for.


def _convention(value: str | Convention) -> Convention:
    if isinstance(value, Convention):
        return value
    return CONVENTIONS[checks.choice("convention", value, CONVENTIONS)]


def _numbers(arrays: Mapping[str, Any]) -> dict[str, Array]:
    """The arrays in float32 or float64, refused where that would change a number."""
    numbers = {}
    for name, value in checks.mapping("arrays", arrays, "of names to arrays").items():
        original = checks.number_array(name, value)
        numbers[name] = checks.real_array(name, original)
        wide = original.dtype.kind in "iu" or original.dtype.itemsize > 8
        if wide and not (numbers[name].astype(original.dtype) == original).all():
            raise FormatError(f"{name} must hold numbers that float64 can hold. Got an array of {original.dtype}.")
    return numbers


def _cell(cell: str | Cell, rule: Convention, given: Mapping[str, Array], options: dict[str, Any]) -> Cell:
    if isinstance(cell, Cell):
        if options:
            raise TypeError(f"options must be left out with a Cell, which has its own. Got {', '.join(options)}.")
        return cell
    make: Any = CELLS[checks.choice("cell", cell, CELLS)]
    known = inspect.signature(make).parameters
    for option in options:
        if option not in known:
            raise TypeError(f"options of {cell!r} must be {' or '.join(known) or 'none'}. Got {checks.show(option)}.")
    if "reset_after" in known and "reset_after" not in options:
        options = {**options, "reset_after": _tell_reset_after(make, rule, given, options)}
    made: Cell = make(**options)
    return made


def _tell_reset_after(make: Any, rule: Convention, given: Mapping[str, Array], options: dict[str, Any]) -> bool:
    """The reset form that the arrays tell by their names and axes, or else the one assumed for the convention."""
    if rule.reset_after is not None:
        return rule.reset_after
    fitting = []
    for form in (True, False):
        named = _named(rule, convention_slots(rule, make(**options, reset_after=form)), given)
        axes = {name: len(slot.axes) + rule.direction_axis for name, slot in named.items()}
        if not any(_misfits(named, given)) and all(array.ndim == axes[name] for name, array in given.items()):
            fitting.append(form)
    return fitting[0] if len(fitting) == 1 else rule.assumed_reset_after


def _in_form(slot: Slot, array: Array, lead: int) -> Array:
    """One row or one column where the convention has a vector is that vector."""
    one = array.ndim == lead + 2 and 1 in array.shape[lead:]
    return array.reshape(*array.shape[:lead], -1) if one and len(slot.axes) == 1 else array


# Names and directions.


def _named(rule: Convention, slots: list[Slot], given: Mapping[str, Array]) -> dict[str, Slot]:
    """Every name that may be given, and its slot; those of a second direction where one of them is given."""
    both = not rule.direction_axis and any(slot.name + rule.reverse in given for slot in slots)
    return {slot.name + suffix: slot for suffix in ("", rule.reverse)[: 1 + both] for slot in slots}


def _misfits(named: Mapping[str, Slot], given: Mapping[str, Array]) -> tuple[list[str], list[str]]:
    """The names that are missing, and those that are unknown."""
    some_biases = any(name in given for name, slot in named.items() if slot.is_bias)
    needed = [name for name, slot in named.items() if slot.needed or (slot.is_bias and some_biases)]
    return [name for name in needed if name not in given], [name for name in given if name not in named]


def _check_names(rule: Convention, cell: Cell, named: Mapping[str, Slot], given: Mapping[str, Array]) -> None:
    missing, unknown = _misfits(named, given)
    if missing or unknown:
        wanted = ", ".join(name for name, slot in named.items() if slot.written)
        details = [f"{', '.join(missing)} missing"] * bool(missing) + [f"{', '.join(unknown)} unknown"] * bool(unknown)
        raise FormatError(
            f"arrays must be {wanted}, those of the cell {cell.name!r} in the convention {rule.name!r}. "
            f"Got {', '.join(given) or 'none'}: {' and '.join(details)}."
        )


# Between the two sides.

_NO_PLACE = {
    "b": "the bias{gate} must be 0 for {target}, which has none",
    "bh": "the bias inside the recurrent product{gate} must be 0 for {target}, which has no bias there",
    "other": "{name} must be 0 for {target}, which has nothing like it",
}


def _converted(
    given: list[tuple[Slot, Array]],
    wanted: list[Slot],
    cell: Cell,
    rule: Convention,
    size: Array,
    target: str,
    back: bool = False,
) -> dict[str, Array]:
    """The arrays of a convention, of one direction, as those of the cell; with `back` those of the cell as the rule's.

    `target` is what errors call the side that cannot hold something.
    """
    dtype = given[0][1].dtype
    blocks: Blocks = {("b", gate): np.zeros((1, size[1]), dtype) for gate in cell.gates or ("",)}
    for slot, array in given:
        blocks |= slot.read(array, size)
    for kind, gate in list(blocks):
        if kind != "other" and gate and gate not in cell.gates:
            del blocks[kind, gate]  # of an idle gate
        elif kind != "other" and gate == "z" and rule.update == "new":  # 1 - sigmoid(a) = sigmoid(-a)
            blocks[kind, gate] = -blocks[kind, gate]
    if rule.forget_offset and "f" in cell.gates:
        blocks["b", "f"] = blocks["b", "f"] + dtype.type(-rule.forget_offset if back else rule.forget_offset)
    for kind, gate in list(blocks):
        if kind == "bh" and gate not in cell.inner_biases.values():
            b, bh = blocks["b", gate], blocks.pop((kind, gate))
            with np.errstate(over="ignore", invalid="ignore"):  # infinity, and NaN of two infinities, are taken
                blocks["b", gate] = np.where(bh == 0, b, b + bh)  # -0 + 0 is 0: not the bits of b
    arrays = {slot.name: slot.write(blocks, size, dtype) for slot in wanted}
    for (kind, name), block in blocks.items():
        wrong = block[block != 0]
        if wrong.size:
            gate = f" of the gate {name}" if name else ""
            raise FormatError(f"{_NO_PLACE[kind].format(gate=gate, name=name, target=target)}. Got {wrong[0]}.")
    return arrays
