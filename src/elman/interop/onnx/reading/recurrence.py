"""The operators RNN, LSTM and GRU of ONNX, with all their attributes, as recurrent layers.

Sources: the text of the operators (opset 22); where it is silent, ONNX Runtime 1.32, measured: alpha and beta are read
by those functions alone that have them, and Affine and ScaledTanh have no defaults.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from elman.cells.activations import ACTIVATIONS, Activation
from elman.checks import Array
from elman.interop.onnx.reading.features import take_role, whole
from elman.interop.onnx.reading.folding import in_memory
from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.signals import Constant, Group, Lengths, Signal, signal_of
from elman.interop.onnx.reading.sizes import Size, product
from elman.interop.onnx.reading.stages import CELL_STATE, Axis, Given, Part, RecurrentPart, Stage

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
    signal, width = whole(node, signal_of(node, x))
    signal, lead = _lead(node, signal)
    directions = _directions(node)
    arrays = {
        name: _weights(node, name, value) for name, value in zip("WRBP", (W, R, B, P), strict=True) if value is not None
    }
    hidden = _check_shapes(node, arrays, directions, gates, width)
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
        lengths_of(node, lengths, signal.axes[lead.index("time")]),
        learned=learned,
        start=begins[0] if begins else None,
        second=options[1] if options[-1] != options[0] else None,
        given={state: start for state, start in starts.items() if isinstance(start, Given)},
    )
    return _outputs(node, signal, part, lead, hidden)


# What flows in and out.


def _lead(node: Node, x: Signal) -> tuple[Signal, tuple[str, str]]:
    """The roles of the two axes before the features; () stands for one sequence, or for one step."""
    lead = ("batch", "time") if node.attributes.get("layout") else ("time", "batch")
    if len(x.axes) != 3:
        raise node.refused("its input X", f"({lead[0]}, {lead[1]}, features)", f"{tuple(x.lengths)}")
    time = lead.index("time")
    stage = _of_one_step(x.stage) if not x.axes[time] else None
    if stage is not None:  # a step that was taken out of time, and is put back
        x = Signal(stage[0], tuple((stage[1],) if i == time else group for i, group in enumerate(x.axes)))
    for group, role in zip(x.axes, lead, strict=False):
        if len(group) > 1:
            raise node.refused(f"the axis of {role} of its input X", "one axis of the network", f"{list(group)}")
        for axis in group:
            take_role(node, axis, role)
    if not x.axes[time] and x.stage.pooled:
        raise node.refused("its input X", "a sequence", "one vector per sequence, from a layer before")
    return x, lead


def _of_one_step(stage: Stage) -> tuple[Stage, Axis] | None:
    """The stage without the taking of a single step out of its axis of time, and that axis."""
    later: list[Stage] = []
    while stage.parent is not None and not stage.others and stage.part is not None and stage.part.kind in _POINTWISE:
        later.append(stage)
        stage = stage.parent
    if stage.parent is None or stage.part is None or stage.part.single is None:
        return None
    found, axis = stage.parent, stage.part.single
    for one in reversed(later):
        found = replace(one, parent=found)
    return found, axis


_POINTWISE = ("Activate", "BatchNorm", "Dense", "Dropout", "LayerNorm", "Scale")


def _outputs(node: Node, x: Signal, part: RecurrentPart, lead: tuple[str, str], hidden: int) -> tuple[Signal, ...]:
    features: Group = (Axis(hidden, "features"),)
    both: Group = (Axis(2, "direction"),) if part.directions == 2 else ()
    turn = Part("Reverse", lengths=part.lengths)
    backwards = node.attributes["direction"] == "reverse"
    stage = x.stage.then(turn, node.place) if backwards else x.stage
    stage = stage.then(part, node.place, both + features)
    axes: list[Group] = [*x.axes[:2], features]
    axes.insert(2 if lead[0] == "batch" else 1, both)
    batch = x.axes[lead.index("batch")]
    state_axes: list[Group] = [batch, both, features] if lead[0] == "batch" else [both, batch, features]
    last = Part("LastStep", {"bidirectional": True} if both else {}, lengths=part.lengths)
    h = stage.then(last, node.place, state="h")
    c = stage.then(Part(CELL_STATE), node.place, state="c")
    y = stage.then(turn, node.place) if backwards else stage
    return x.after(y, axes), x.after(h, state_axes), x.after(c, state_axes)


def lengths_of(node: Node, value: Any, time: Group) -> str:
    """The input that says how many steps of each sequence are real; "" where all are."""
    if value is None:
        return ""
    if isinstance(value, Lengths) and (value.added, value.axes) == ((0,), 1):
        return value.name
    steps = product(axis.length for axis in time)
    if isinstance(value, Constant):
        node.take(value.array.size * 8)
        if all(length == steps for length in value.array.ravel().tolist()):
            return ""
    must = f"an input of the graph, which becomes `lengths`, or {steps}, all steps, for every sequence"
    got = f"{value.array.ravel()[:4].tolist()}" if isinstance(value, Constant) else "a value that the graph computes"
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
    if isinstance(value, Signal) and value.stage.parent is None:
        must = f"known: give it to from_onnx, weights={{{value.stage.name!r}: array}}"
        raise node.refused(f"its input {name}", must, "an input of the graph")
    if not isinstance(value, Constant) or value.spread or value.array.dtype.kind != "f":
        raise node.refused(f"its input {name}", "known floats", "a value of another kind")
    return in_memory(node, value.array)


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
    if isinstance(value, Constant):
        array = in_memory(node, value.array)
        if not array.any():
            return None
        rows = array.transpose(order) if array.ndim == 3 else array
        if array.ndim != 3 or (rows.shape[0], rows.shape[2]) != (directions, hidden):
            raise node.refused(f"the shape of {place}", f"({directions}, batch, {hidden})", f"{rows.shape}")
        if not (rows == rows[:, :1]).all():
            raise node.refused(place, "the same for each sequence, or an input of the graph", "rows that differ")
        return np.array(rows[:, 0])
    signal = signal_of(node, value)
    lengths = [signal.lengths[axis] for axis in order] if len(signal.axes) == 3 else []
    before = signal.stage.parent
    is_last = signal.stage.state == state and before is not None and isinstance(before.part, RecurrentPart)
    if not lengths or ((before is not None or signal.stage.state) and not is_last):
        must = f"known, an input of the graph of 3 axes, or the last {state} of another layer"
        raise node.refused(place, must, f"what comes from {signal.stage.place}")
    if lengths[0] != directions or not (lengths[2] == hidden or isinstance(lengths[2], Size)):
        raise node.refused(f"the shape of {place}", f"({directions}, batch, {hidden})", f"{tuple(lengths)}")
    if before is not None:
        assert isinstance(before.part, RecurrentPart)
        laid = [axis for group in (signal.axes[i] for i in order) for axis in group if axis.role != "batch"]
        if before.part.kind != node.op.lower() or laid != [*before.features]:
            must = f"the last {state} of another {node.op}, (directions, batch, hidden)"
            raise node.refused(place, must, f"{tuple(signal.lengths)} of {signal.stage.place}")
        return before
    by_axis = {
        axis: role
        for position, role in zip(order, ("direction", "batch", "hidden"), strict=True)
        for axis in signal.axes[position]
    }
    roles = tuple(by_axis.get(axis, "direction") for axis in signal.stage.axes or ())
    return Given(signal.stage.name, signal.cut or 0, directions, roles)


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
