"""RNN, LSTM and GRU as the operators of ONNX (opset 14), with their states and learned states."""

from __future__ import annotations

from typing import Any

import numpy as np

from elman.cells import CELLS
from elman.interop.arrays import to_arrays
from elman.interop.chain import check_holds, shared_activation
from elman.interop.onnx.writing.activations import recurrent_attributes
from elman.interop.onnx.writing.nodes import Graph, Value, attribute
from elman.interop.onnx.writing.time import batch_size, ordered
from elman.layers import Recurrent

#: The options of a layer that the operators have.
_OPTIONS = {
    "gru": ("reset_after", "clip", "activations", "learned_state"),
    "lstm": ("peepholes", "coupled", "clip", "activations", "learned_state"),
    "rnn": ("activation", "clip", "learned_state"),
}

#: For each function of an operator the gates that share it. Its defaults are those of the cells.
_FUNCTIONS = {"gru": ("rz", "n"), "lstm": ("ifo", "g", "c"), "rnn": ("h",)}


def recurrent(graph: Graph, layer: Recurrent, x: Value, *, backwards: bool = False) -> Value:
    """The layer as one operator; `backwards` runs its only direction from the end of each sequence."""
    cell = layer.cell.name
    check_holds(layer, "ONNX", _OPTIONS.get(cell, ()))
    arrays = to_arrays(layer.replace(learned_state=False), "onnx")  # states are inputs of the operator
    place, graph.stateful = graph.stateful, graph.stateful + 1
    inputs = [
        ordered(graph, x, 0).name,
        *(graph.weight(name, arrays[name]) for name in "WRB"),
        x.steps.lengths,
        *(graph.begin or _first_states(graph, layer, place)),
    ]
    if "P" in arrays:
        inputs.append(graph.weight("P", arrays["P"]))
    y, *last = (f"{graph.scope}/{name}" for name in ("Y", *(f"Y_{state}" for state in layer.cell.states)))
    if graph.states:
        last = [f"next_state_{place}_{state}" for state in layer.cell.states]
        graph.outputs += [_port(graph, layer, name, "after the last step") for name in last]
    graph.add_many(cell.upper(), inputs, [y, *last], **_attributes(layer, backwards))
    if not layer.bidirectional:  # (time, 1, batch, hidden)
        steps = graph.squeeze(y, 1)
    else:  # (time, 2, batch, hidden)
        steps = graph.add("Reshape", graph.add("Transpose", y, perm=[0, 2, 1, 3]), graph.integers(0, 0, -1))
    return Value(steps, 0, x.steps, tuple(last), "" if backwards else last[0], len(layer.directions))


def _first_states(graph: Graph, layer: Recurrent, place: int) -> list[str]:
    """The names of the states before the first step, (directions, batch, hidden); "" stands for 0."""
    found = []
    for state in layer.cell.states:
        name = ""
        if graph.states:
            name = f"state_{place}_{state}"
            graph.inputs.append(_port(graph, layer, name, "before the first step"))
        if layer.learned_state:
            learned = np.stack([part.parameters[f"{state}0"] for part in layer.directions.values()])[:, None]
            if name:  # what the model starts with where the input is left out; it may be given for one sequence or all
                graph.constants[name] = np.ascontiguousarray(learned)
            sizes = graph.integers(len(layer.directions)), batch_size(graph), graph.integers(layer.hidden_size)
            name = graph.add("Expand", name or graph.weight(f"{state}0", learned), graph.add("Concat", *sizes, axis=0))
        found.append(name)
    return found


def _port(graph: Graph, layer: Recurrent, name: str, when: str) -> Any:
    learned = layer.learned_state and not name.startswith("next")
    shape = (len(layer.directions), None if learned else "batch", layer.hidden_size)
    doc = f"{name.split('_')[-1]} of {graph.scope} {when}, (directions, batch, hidden)"
    return graph.port(name, shape, doc + "; the learned state where it is left out" * learned)


def _attributes(layer: Recurrent, backwards: bool) -> dict[str, Any]:
    options = layer.cell.options
    found: dict[str, Any] = {"hidden_size": layer.hidden_size}
    direction = "reverse" if backwards else ("forward", "bidirectional")[layer.bidirectional]
    if direction != "forward":
        found["direction"] = direction
    if options.get("reset_after"):
        found["linear_before_reset"] = 1
    if options.get("coupled"):
        found["input_forget"] = 1
    if "clip" in options:
        found["clip"] = attribute("clip", options["clip"], layer.dtype)
    functions = [shared_activation(layer, gates, "ONNX") for gates in _FUNCTIONS[layer.cell.name]]
    if layer.cell.activations.items() - CELLS[layer.cell.name]().activations.items():
        found |= recurrent_attributes(functions, len(layer.directions), layer.dtype)
    return found
