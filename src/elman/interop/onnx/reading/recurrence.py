"""The operators RNN, LSTM and GRU of ONNX, with all their attributes, as recurrent layers.

Sources: the text of the operators (opset 22); where it is silent, ONNX Runtime 1.32, measured: alpha and beta are read
by those functions alone that have them, and Affine and ScaledTanh have no defaults.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from elman.cells.activations import ACTIVATIONS, Activation
from elman.checks import Array
from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.known import floats
from elman.interop.onnx.reading.parts import AFFINE, CELL_STATE, Given, Part, RecurrentPart
from elman.interop.onnx.reading.positions import Axis, Flow, Signal, Stage, signal_of
from elman.interop.onnx.reading.steps import direction_of, renumbered, turned_steps
from elman.interop.onnx.reading.views import View, view

#: For each operator its gates, the states of its cell, the gates that each of its functions serves (c is what the
#: cell state goes through), and its functions where none are named.
_OPERATORS: dict[str, tuple[int, tuple[str, ...], tuple[str, ...], list[str]]] = {
    "RNN": (1, ("h",), ("h",), ["tanh"]),
    "GRU": (3, ("h",), ("rz", "n"), ["sigmoid", "tanh"]),
    "LSTM": (4, ("h", "c"), ("ifo", "g", "c"), ["sigmoid", "tanh", "tanh"]),
}
_DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
_FUNCTIONS = {name.replace("_", ""): name for name in ACTIVATIONS if name != "identity"}
_NO_DEFAULTS = ("affine", "scaled_tanh")  # their alpha and beta must be given


def recurrent(node: Node, x: Any, W: Any, R: Any, *more: Any) -> tuple[Signal, ...]:
    """Y, Y_h and, for an LSTM, Y_c."""
    B, lengths, first_h, first_c, P = (*more, *[None] * 5)[:5]
    signal = signal_of(node, x)
    lead = ("batch", "time") if node.attributes.get("layout") else ("time", "batch")
    if signal.ids.ndim != 3:
        raise node.refused("its input X", f"({lead[0]}, {lead[1]}, features)", f"{signal.shape}")
    arrays = _weights(node, signal.shape[2], {"W": W, "R": R, "B": B, "P": P})
    found = _read(node, signal, lead)
    name = _lengths(node, signal.flow, lengths, signal.shape[lead.index("time")])
    options, *others = _options(node, arrays)
    second = next((other for other in others if other != options), None)
    part = RecurrentPart(node.op.lower(), options, arrays, name, second=second)
    return _outputs(node, found, _started(node, part, first_h, first_c), lead)


# What flows in and out.


def _read(node: Node, x: Signal, lead: tuple[str, str]) -> View:
    """What the operator reads, with the roles of its axes; an axis of length 1 may be none of the network."""
    found = view(node, x, 2)
    stage, groups = found.stage, [group or () for group in found.groups]
    loose = [axis for axis in stage.lead if axis not in groups[0] + groups[1]]
    for role in sorted(lead):
        group = groups[lead.index(role)]
        if len(group) > 1:
            raise node.refused(f"the axis of {role} of its input X", "one axis of the network", f"{[*group]}")
        for axis in group or [axis for axis in loose if axis.role in ("", role)][:1]:
            axis.take(node, role)
    if stage.time is None and stage.pooled:  # one vector is a sequence of one step
        axes = (*stage.lead, Axis(1, "time"), Axis(stage.width, "features"))
        repeated = found.flow.add(Part("Repeat", {"count": 1}), (stage,), node.place, axes, key="one step")
        found = replace(found, stage=repeated)
    return found


def _outputs(node: Node, found: View, part: RecurrentPart, lead: tuple[str, str]) -> tuple[Signal, ...]:
    flow, before = found.flow, found.stage
    backwards = node.attributes["direction"] == "reverse"
    if backwards:
        before = flow.then(before, Part("Reverse", lengths=part.lengths), node.place, key=("Reverse", part.lengths))
    both, hidden = part.directions, part.hidden
    stage = flow.then(before, part, node.place, both * hidden)
    y = found.lay(stage)
    if backwards:
        numbers = stage.by_time()
        y = renumbered(y, stage, turned_steps(numbers, flow.ends(part.lengths, numbers)))
    y = y.reshape(*y.shape[:2], both, hidden)
    if part.lengths:
        padding = np.arange(y.shape[lead.index("time")]) >= flow.lengths[part.lengths][:, None]
        y = np.where((padding if lead[0] == "batch" else padding.T)[..., None, None], flow.code(0.0), y)
    batch = tuple(axis for axis in stage.lead if axis is not stage.time)
    cell = flow.add(Part(CELL_STATE), (stage,), node.place, (*batch, Axis(both * hidden, "features")))
    states = [last_states(flow, stage), cell.ids().reshape(-1, both, hidden)]
    if lead[0] == "time":
        y, states = y.transpose(0, 2, 1, 3), [state.transpose(1, 0, 2) for state in states]
    return tuple(Signal(flow, each) for each in (y, *states))


def last_states(flow: Flow, stage: Stage) -> Array:
    """The positions of the last h of a layer, (batch, directions, hidden)."""
    part, ids = stage.part, stage.by_time()
    assert isinstance(part, RecurrentPart)
    n = flow.ends(part.lengths, ids)
    ids = ids.reshape(*ids.shape[:2], part.directions, part.hidden)
    return np.concatenate([ids[np.arange(len(ids)), n - 1, :1], ids[:, 0, 1:]], 1)


def _lengths(node: Node, flow: Flow, value: Any, steps: int) -> str:
    """The input that says how many steps of each sequence are real; "" where all are."""
    known = value if isinstance(value, np.ndarray) else np.empty(0)
    names = [name for name, n in flow.lengths.items() if np.array_equal(known, n)]
    if names or value is None or (known.size and (known == steps).all()):
        return next(iter(names), "")
    must = f"an input of the graph, which becomes `lengths`, or {steps}, all steps, for every sequence"
    got = f"{known.ravel()[:4].tolist()}" if known is value else "a value that the graph computes"
    raise node.refused("its lengths", must, got)


# Weights and states.


def _weights(node: Node, width: int, given: dict[str, Any]) -> dict[str, Array]:
    """Those of W, R, B and P that there are, of shapes that agree."""
    arrays = {name: value for name, value in given.items() if value is not None}
    for name, value in arrays.items():
        sources = value.flow.sources(value.ids) if isinstance(value, Signal) else ()
        for stage in sources:
            if stage.name:
                must = f"known: give it to from_onnx, weights={{{stage.name!r}: array}}"
                raise node.refused(f"its input {name}", must, "an input of the graph")
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            raise node.refused(f"its input {name}", "known floats", "a value of another kind")
    directions, hidden = _DIRECTIONS.get(node.attributes["direction"]), node.attributes["hidden_size"]
    if directions is None:
        must = "forward, reverse or bidirectional"
        raise node.refused("the attribute 'direction'", must, node.attributes["direction"])
    if arrays["R"].ndim != 3:
        raise node.refused("the shape of its input R", "(directions, gates, hidden)", f"{arrays['R'].shape}")
    hidden = arrays["R"].shape[2] if hidden is None else hidden
    wide = _OPERATORS[node.op][0] * hidden
    shapes = {"W": (wide, width), "R": (wide, hidden), "B": (2 * wide,), "P": (3 * hidden,)}
    for name, array in arrays.items():
        if array.shape != (directions, *shapes[name]):
            raise node.refused(f"the shape of its input {name}", f"{(directions, *shapes[name])}", f"{array.shape}")
    return arrays


def _started(node: Node, part: RecurrentPart, *values: Any) -> RecurrentPart:
    """The layer with its states before the first step."""
    states = _OPERATORS[node.op][1]
    every = [(state, _start(node, part, state, value)) for state, value in zip(states, values, strict=False)]
    found: dict[str, Any] = {state: start for state, start in every if start is not None}  # the others are 0
    kinds = {type(start) for start in found.values()}
    of_several = kinds == {Stage} and [*map(found.get, states)] != [found.get("h")] * len(states)
    if len(kinds) > 1 or Signal in kinds or of_several:
        return replace(part, begins=_made(node, part, values[: len(states)]))
    if kinds == {Given}:
        return replace(part, given=found)
    if kinds == {Stage}:
        return replace(part, start=found["h"])
    none = np.zeros((part.directions, part.hidden), part.arrays["R"].dtype)
    learned = {f"{state}0": np.asarray(found.get(state, none), none.dtype) for state in states if found}
    return replace(part, arrays={**part.arrays, **learned})


def _made(node: Node, part: RecurrentPart, values: Sequence[Any]) -> tuple[Stage, ...]:
    """The vectors from which a layer starts, of each direction one for each state."""
    found: dict[tuple[int, int], Stage] = {}
    for s, value in enumerate(values):
        for d, ids in enumerate(_rows(node, value.ids) if isinstance(value, Signal) else ()):
            seen = view(node, value.moved(ids), 1)
            if seen.stage.time is not None or seen.codes is not None:
                raise node.refused("its initial states", "one vector of each sequence", f"steps of {seen.stage.place}")
            for axis in seen.groups[0] or ():
                axis.take(node, "batch")
            found[d, s] = seen.stage
    one, flow = next((stage, value.flow) for stage in found.values() for value in values if isinstance(value, Signal))
    for s, value in enumerate(values):  # constants, as a vector times 0 and plus them
        for d in range(0 if isinstance(value, Signal) else part.directions):
            row = np.zeros((1, part.hidden)) if value is None else _rows(node, value)[d]
            array = np.broadcast_to(row[0], part.hidden).astype(part.arrays["R"].dtype)
            constant = Part("Scale", arrays={"scale": np.zeros_like(array), "shift": array})
            alike = Part(AFFINE, {"scale": 0.0, "shift": float(array[0])})
            found[d, s] = flow.then(one, alike if (array == array[0]).all() else constant, node.place)
    return tuple([found[d, s] for d in range(part.directions) for s in range(len(values))])


def _rows(node: Node, array: Array) -> Array:
    """A state as (directions, batch, hidden)."""
    return array.transpose((1, 0, 2) if node.attributes.get("layout") else (0, 1, 2)) if array.ndim == 3 else array


def _start(node: Node, part: RecurrentPart, state: str, value: Any) -> Array | Given | Stage | Signal | None:
    """The state before the first step: None for 0, an array (directions, hidden), an input of the graph, a layer, or
    what layers make."""
    if value is None or (isinstance(value, np.ndarray) and not floats(node, value).any()):
        return None
    place = f"its input initial_{state}"
    array = value if isinstance(value, np.ndarray) else signal_of(node, value).ids
    rows = _rows(node, array)
    if array.ndim != 3 or (rows.shape[0], rows.shape[2]) != (part.directions, part.hidden):
        raise node.refused(f"the shape of {place}", f"({part.directions}, batch, {part.hidden})", f"{rows.shape}")
    if array is value:
        if not (rows == rows[:, :1]).all():
            raise node.refused(place, "the same for each sequence, or an input of the graph", "rows that differ")
        return np.array(rows[:, 0])
    stage = value.flow.stage_of(rows)
    if stage is not None:
        found = _given(stage, rows) if stage.part is None else _handed_on(value.flow, part, state, stage, rows)
        if found is not None:
            return found
    if (rows < 0).all():
        raise node.refused(place, "known, an input of the graph, or what layers make", f"what comes from {value.place}")
    return value.moved(array)


def _given(stage: Stage, ids: Array) -> Given | None:
    """A state (directions, batch, hidden) that is an input, or a part of one."""
    places = np.unravel_index(ids - stage.first, stage.shape)
    along = [j for j, each in enumerate(places) if (each != each[:, :1]).any()]
    if len(along) > 1 or (along and (places[along[0]] != np.arange(ids.shape[1])[:, None]).any()):
        return None
    others = [j for j in range(len(stage.axes)) if j not in along]
    shape = tuple(stage.axes[j].length for j in others)
    rows = np.ravel_multi_index([places[j][:, 0] for j in others], shape)
    return Given(stage.name, stage.shape, rows, along[0] if along else None)


def _handed_on(flow: Flow, reader: RecurrentPart, state: str, stage: Stage, ids: Array) -> Stage | None:
    """The layer whose last state it is, perhaps one direction of it."""
    owner = stage.reads[0] if stage.kind == CELL_STATE else stage
    part = owner.part
    if not isinstance(part, RecurrentPart) or part.kind != reader.kind or (state == "c") != (stage is not owner):
        return None
    states = stage.ids().reshape(-1, part.directions, part.hidden) if state == "c" else last_states(flow, owner)
    states = states.transpose(1, 0, 2)
    if np.array_equal(states, ids):
        return owner
    alone = [i for i, one in enumerate(states) if np.array_equal(one[None], ids)]
    return direction_of(flow, owner, alone[0]) if alone and part.start is None else None


# Options of the cell.


def _options(node: Node, arrays: dict[str, Array]) -> list[dict[str, Any]]:
    """The options of the cell, one direction after the other."""
    _, _, served, defaults = _OPERATORS[node.op]
    names, count = node.attributes["activations"], len(defaults) * len(arrays["W"])
    if names is None or (names == ["Tanh", "Tanh"] and node.op == "RNN"):  # the default, of any number of directions
        names = defaults * len(arrays["W"])
    if len(names) != count:
        must = f"{count}, {len(defaults)} for each direction"
        raise node.refused("the attribute 'activations'", must, f"{len(names)}: {', '.join(names)}")
    options = {"clip": node.attributes["clip"]}
    if node.op == "LSTM":
        options |= {"peepholes": "P" in arrays, "coupled": bool(node.attributes["input_forget"])}
    if node.op == "GRU":
        options["reset_after"] = bool(node.attributes["linear_before_reset"])
    left = {key: list(node.attributes[f"activation_{key}"] or []) for key in ("alpha", "beta")}
    found: list[dict[str, Any]] = []
    for i in range(0, count, len(defaults)):
        by_gate: dict[str, Activation] = {}
        for gates, name in zip(served, names[i : i + len(defaults)], strict=True):
            by_gate |= dict.fromkeys(gates, _activation(node, name, left))
        if options.get("coupled"):
            del by_gate["f"]
        found.append(options | ({"activation": by_gate["h"]} if node.op == "RNN" else {"activations": by_gate}))
    for key, values in left.items():
        if values:
            must = f"as many as functions that have {key}"
            raise node.refused(f"the attribute 'activation_{key}'", must, f"{len(values)} more: {values[:4]}")
    return found


def _activation(node: Node, name: str, left: dict[str, list[float]]) -> Activation:
    """A function of the operator, with the next alpha and beta where it has them."""
    own = _FUNCTIONS.get(name.lower().replace("_", ""))
    if own is None:
        raise node.refused("the attribute 'activations'", f"of {', '.join(_FUNCTIONS)}", repr(name))
    given = {key: left[key].pop(0) for key in ACTIVATIONS[own].defaults if left[key]}
    if own in _NO_DEFAULTS and len(given) < 2:
        must = f"activation_alpha and activation_beta for {name}"
        raise node.refused("its attributes", must, "none or one of them")
    return Activation(own, **given)
