"""The operators RNN, LSTM and GRU of ONNX, with all their attributes, as recurrent layers.

Sources: the text of the operators (opset 22); where it is silent, ONNX Runtime 1.32, measured: alpha and beta are read
by those functions alone that have them, and Affine and ScaledTanh have no defaults.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from elman.cells.activations import ACTIVATIONS, Activation
from elman.checks import Array
from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.known import floats
from elman.interop.onnx.reading.parts import CELL_STATE, Given, Part, RecurrentPart
from elman.interop.onnx.reading.positions import Axis, Flow, Signal, Stage, signal_of
from elman.interop.onnx.reading.steps import direction_of, renumbered, turned_steps
from elman.interop.onnx.reading.views import View, view

#: For each operator its gates, the states of its cell, the gates that each of its functions serves (c is what the
#: cell state goes through), and its functions where none are named.
_OPERATORS: dict[str, tuple[int, tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "RNN": (1, ("h",), ("h",), ("tanh",)),
    "GRU": (3, ("h",), ("rz", "n"), ("sigmoid", "tanh")),
    "LSTM": (4, ("h", "c"), ("ifo", "g", "c"), ("sigmoid", "tanh", "tanh")),
}

_FUNCTIONS = {name.replace("_", ""): name for name in ACTIVATIONS}
_NO_DEFAULTS = ("affine", "scaled_tanh")  # their alpha and beta must be given


def recurrent(
    node: Node,
    x: Any,
    W: Any,
    R: Any,
    B: Any = None,
    lengths: Any = None,
    first_h: Any = None,
    first_c: Any = None,
    P: Any = None,
) -> tuple[Signal, ...]:
    """Y, Y_h and, for an LSTM, Y_c."""
    gates, states, _, _ = _OPERATORS[node.op]
    signal = signal_of(node, x)
    lead = ("batch", "time") if node.attributes.get("layout") else ("time", "batch")
    if signal.ids.ndim != 3:
        raise node.refused("its input X", f"({lead[0]}, {lead[1]}, features)", f"{signal.shape}")
    directions = _directions(node)
    arrays = {
        name: _weights(node, name, value) for name, value in zip("WRBP", (W, R, B, P), strict=True) if value is not None
    }
    hidden = _check_shapes(node, arrays, directions, gates, signal.shape[2])
    found = _read(node, signal, lead)
    name = lengths_of(node, signal.flow, lengths, signal.shape[lead.index("time")])
    starts = {
        state: _start(node, state, value, directions, hidden)
        for state, value in zip(states, (first_h, first_c), strict=False)
    }
    learned = {state: start for state, start in starts.items() if isinstance(start, np.ndarray)}
    begins = [start for start in starts.values() if isinstance(start, Stage)]
    if begins and (len(begins) < len(starts) or any(start is not begins[0] for start in begins)):
        raise node.refused("its initial states", "all those of one layer, where one is", "others")
    if learned:  # the others start at 0
        learned = {state: learned.get(state, np.zeros((directions, hidden), np.float32)) for state in states}
        if any(isinstance(start, Given) for start in starts.values()):
            raise node.refused("its initial states", "all constant, or all inputs of the graph", "one of each")
    options = _options(node, directions, "P" in arrays)
    part = RecurrentPart(
        node.op.lower(),
        options[0],
        arrays,
        name,
        learned=learned,
        start=begins[0] if begins else None,
        second=options[1] if options[-1] != options[0] else None,
        given={state: start for state, start in starts.items() if isinstance(start, Given)},
    )
    return _outputs(node, found, part, lead)


# What flows in and out.


def _read(node: Node, x: Signal, lead: tuple[str, str]) -> View:
    """What the operator reads, with the roles of its axes; an axis of length 1 may be none of the network."""
    found = view(node, x, 2)
    loose = [axis for axis in found.stage.lead if not any(axis in (group or ()) for group in found.groups)]
    for role in sorted(lead):
        group = found.groups[lead.index(role)] or ()
        if len(group) > 1:
            raise node.refused(f"the axis of {role} of its input X", "one axis of the network", f"{[*group]}")
        free = [axis for axis in loose if axis.role in ("", role)] if not group else []
        for axis in group or free[:1]:
            axis.take(node, role)
    if found.stage.time is None and found.stage.pooled:  # one vector is a sequence of one step
        stage = found.stage
        axes = (*stage.lead, Axis(1, "time"), Axis(stage.width, "features"))
        repeated = found.flow.add(Part("Repeat", {"count": 1}), (stage,), node.place, axes, key="one step")
        found = View(found.flow, repeated, found.groups, found.lengths, found.position, found.codes)
    return found


def _outputs(node: Node, found: View, part: RecurrentPart, lead: tuple[str, str]) -> tuple[Signal, ...]:
    flow, before = found.flow, found.stage
    backwards = node.attributes["direction"] == "reverse"
    if backwards:
        turn = Part("Reverse", lengths=part.lengths)
        before = flow.then(before, turn, node.place, key=("Reverse", part.lengths))
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


def lengths_of(node: Node, flow: Flow, value: Any, steps: int) -> str:
    """The input that says how many steps of each sequence are real; "" where all are."""
    if value is None:
        return ""
    if isinstance(value, np.ndarray):
        for name, n in flow.lengths.items():
            if np.array_equal(value, n):
                return name
        if (value == steps).all():
            return ""
    must = f"an input of the graph, which becomes `lengths`, or {steps}, all steps, for every sequence"
    got = f"{value.ravel()[:4].tolist()}" if isinstance(value, np.ndarray) else "a value that the graph computes"
    raise node.refused("its lengths", must, got)


# Weights and states.


def _directions(node: Node) -> int:
    found = {"forward": 1, "reverse": 1, "bidirectional": 2}.get(node.attributes["direction"])
    if found is None:
        raise node.refused(
            "the attribute 'direction'", "forward, reverse or bidirectional", node.attributes["direction"]
        )
    return found


def _weights(node: Node, name: str, value: Any) -> Array:
    inputs = [stage.name for stage in value.flow.sources(value.ids) if stage.name] if isinstance(value, Signal) else []
    if inputs:
        must = f"known: give it to from_onnx, weights={{{inputs[0]!r}: array}}"
        raise node.refused(f"its input {name}", must, "an input of the graph")
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        raise node.refused(f"its input {name}", "known floats", "a value of another kind")
    return value


def _check_shapes(node: Node, arrays: dict[str, Array], directions: int, gates: int, width: int) -> int:
    """The number of hidden units, on which all arrays agree."""
    given = node.attributes["hidden_size"]
    hidden = arrays["R"].shape[-1] if given is None and arrays["R"].ndim else given
    if hidden is None:
        raise node.refused("the shape of its input R", "(directions, gates, hidden)", f"{arrays['R'].shape}")
    wide = gates * hidden
    wanted = {
        "W": (directions, wide, width),
        "R": (directions, wide, hidden),
        "B": (directions, 2 * wide),
        "P": (directions, 3 * hidden),
    }
    for name, array in arrays.items():
        if array.shape != wanted[name]:
            raise node.refused(f"the shape of its input {name}", f"{wanted[name]}", f"{array.shape}")
    return int(hidden)


def _start(node: Node, state: str, value: Any, directions: int, hidden: int) -> Array | Given | Stage | None:
    """The state before the first step: None for 0, an array (directions, hidden), an input of the graph, or a layer."""
    if value is None:
        return None
    place = f"its input initial_{state}"
    order = (1, 0, 2) if node.attributes.get("layout") else (0, 1, 2)  # directions, batch, hidden
    if isinstance(value, np.ndarray):
        array = floats(node, value)
        if not array.any():
            return None
        rows = array.transpose(order) if array.ndim == 3 else array
        if array.ndim != 3 or (rows.shape[0], rows.shape[2]) != (directions, hidden):
            raise node.refused(f"the shape of {place}", f"({directions}, batch, {hidden})", f"{rows.shape}")
        if not (rows == rows[:, :1]).all():
            raise node.refused(place, "the same for each sequence, or an input of the graph", "rows that differ")
        return np.array(rows[:, 0])
    signal = signal_of(node, value)
    ids = signal.ids.transpose(order) if signal.ids.ndim == 3 else signal.ids
    sources = signal.flow.sources(ids)
    if ids.ndim != 3 or (ids.shape[0], ids.shape[2]) != (directions, hidden):
        raise node.refused(f"the shape of {place}", f"({directions}, batch, {hidden})", f"{signal.shape}")
    if len(sources) == 1 and (ids >= 0).all():
        (stage,) = sources
        found = _given(stage, ids) if stage.part is None else _handed_on(signal.flow, node, state, stage, ids)
        if found is not None:
            return found
    must = f"known, an input of the graph of 3 axes, or the last {state} of another {node.op}, of all its directions"
    raise node.refused(place, must, f"what comes from {signal.place}")


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


def _handed_on(flow: Flow, node: Node, state: str, stage: Stage, ids: Array) -> Stage | None:
    """The layer whose last state it is, perhaps one direction of it."""
    owner = stage.reads[0] if stage.kind == CELL_STATE else stage
    part = owner.part
    if not isinstance(part, RecurrentPart) or part.kind != node.op.lower() or (state == "c") != (stage is not owner):
        return None
    whole = stage.ids().reshape(-1, part.directions, part.hidden) if state == "c" else last_states(flow, owner)
    if np.array_equal(whole.transpose(1, 0, 2), ids):
        return owner
    for index in range(part.directions if part.start is None else 0):
        if np.array_equal(whole[:, index : index + 1].transpose(1, 0, 2), ids):
            return direction_of(flow, owner, index)
    return None


# Options of the cell.


def _options(node: Node, directions: int, peepholes: bool) -> list[dict[str, Any]]:
    """The options of the cell of each direction."""
    options: dict[str, Any] = {}
    if node.attributes["clip"] is not None:
        options["clip"] = node.attributes["clip"]
    if peepholes:
        options["peepholes"] = True
    if node.attributes.get("input_forget"):
        options["coupled"] = True
    if node.op == "GRU":
        options["reset_after"] = bool(node.attributes.get("linear_before_reset"))
    each, count = _activations(node, directions), len(_OPERATORS[node.op][3])
    return [{**options, **_chosen(node, each[i : i + count], options)} for i in range(0, len(each), count)]


def _chosen(node: Node, activations: list[Activation], options: dict[str, Any]) -> dict[str, Any]:
    if node.op == "RNN":
        return {"activation": activations[0].to_config()}
    chosen = zip(_OPERATORS[node.op][2], activations, strict=True)
    by_gate = {gate: activation for gates, activation in chosen for gate in gates}
    if options.get("coupled"):
        del by_gate["f"]
    return {} if activations == [Activation(name) for name in _OPERATORS[node.op][3]] else {"activations": by_gate}


def _activations(node: Node, directions: int) -> list[Activation]:
    """The functions of the operator, with their alpha and beta, one direction after the other."""
    defaults = _OPERATORS[node.op][3]
    names = node.attributes["activations"]
    names = list(defaults) * directions if names is None else names
    if names == ["Tanh", "Tanh"] and node.op == "RNN":  # the default, whatever the number of directions
        names = names[:directions]
    if len(names) != len(defaults) * directions:
        must = f"{len(defaults) * directions}, {len(defaults)} for each direction"
        raise node.refused("the attribute 'activations'", must, f"{len(names)}: {', '.join(names)}")
    left = {key: list(node.attributes[f"activation_{key}"] or []) for key in ("alpha", "beta")}
    found = []
    for name in names:
        own = _FUNCTIONS.get(name.lower().replace("_", ""), "identity")
        if own == "identity":
            raise node.refused("the attribute 'activations'", f"of {', '.join(list(_FUNCTIONS)[1:])}", repr(name))
        given = {key: left[key].pop(0) for key in ACTIVATIONS[own].defaults if left[key]}
        if own in _NO_DEFAULTS and len(given) < 2:
            raise node.refused(
                "its attributes", f"activation_alpha and activation_beta for {name}", "none or one of them"
            )
        found.append(Activation(own, **given))
    for key, values in left.items():
        if values:
            must = f"as many as functions that have {key}"
            raise node.refused(f"the attribute 'activation_{key}'", must, f"{len(values)} more: {values[:4]}")
    return found
