"""Random ONNX models of recurrent operators, with what may stand around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
FUNCTIONS = {"RNN": 1, "GRU": 2, "LSTM": 3}

#: Functions that no state grows under, and those that it may grow under, with their alpha and beta.
BOUNDED = [
    ("Tanh", None, None), ("Sigmoid", None, None), ("Softsign", None, None), ("HardSigmoid", None, None),
    ("HardSigmoid", 0.3, 0.4), ("ScaledTanh", 0.8, 1.2),
]  # fmt: skip
UNBOUNDED = [
    ("Relu", None, None), ("Affine", 0.6, 0.1), ("LeakyRelu", None, None), ("LeakyRelu", 0.2, None),
    ("ThresholdedRelu", 0.3, None), ("Elu", None, None), ("Elu", 0.5, None), ("Softplus", None, None),
]  # fmt: skip


@dataclass
class Parts:
    """A graph as it grows: nodes, tensors, inputs with the arrays that are fed, and the names of outputs."""

    rng: np.random.Generator
    dtype: Any = np.float32
    nodes: list[Any] = field(default_factory=list)
    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    inputs: dict[str, tuple[Any, tuple[Any, ...]]] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)

    def tensor(self, name, array):
        self.tensors[name] = np.asarray(array)
        return name

    def weights(self, name, *shape, scale=0.5):
        return self.tensor(name, (scale * self.rng.standard_normal(shape)).astype(self.dtype))

    def add(self, op, *inputs, count=1, **attributes):
        names = [f"{op}{len(self.nodes)}_{i}" for i in range(count)]
        self.nodes.append(helper.make_node(op, inputs, names, f"node{len(self.nodes)}", **attributes))
        return names if count > 1 else names[0]

    def integers(self, *values):
        return self.tensor(f"integers{len(self.tensors)}", np.array(values, np.int64))

    def model(self, opset=17):
        kind = helper.np_dtype_to_tensor_dtype
        graph = helper.make_graph(
            self.nodes,
            "graph",
            [helper.make_tensor_value_info(n, kind(np.dtype(d)), s) for n, (d, s) in self.inputs.items()],
            [helper.make_tensor_value_info(name, kind(np.dtype(self.dtype)), None) for name in self.outputs],
            [numpy_helper.from_array(array, name) for name, array in self.tensors.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def functions(rng, op, directions, *, bounded):
    """Attributes of random functions, equal in both directions."""
    gates = [BOUNDED[rng.integers(len(BOUNDED))] for _ in range(FUNCTIONS[op])]
    if not bounded and op != "GRU":
        gates[-1 if op == "RNN" else 1] = UNBOUNDED[rng.integers(len(UNBOUNDED))]
    found = {"activations": [name for name, _, _ in gates] * directions}
    for key, place in (("activation_alpha", 1), ("activation_beta", 2)):
        # alpha and beta are read in order: a function that is to keep its default must stand behind those with one
        values = [gate[place] if gate[place] is not None else _default(gate[0], key) for gate in gates]
        values = [value for value in values if value is not None] * directions
        if values:
            found[key] = values
    return found


def _default(name, key):
    return {"HardSigmoid": {"activation_alpha": 0.2, "activation_beta": 0.5}, "LeakyRelu": {"activation_alpha": 0.01},
            "Elu": {"activation_alpha": 1.0}}.get(name, {}).get(key)  # fmt: skip


def recurrent(parts, x, width, op, *, lengths="", states="none", place=0, layout=0, **options):
    """One operator with random weights: the names of Y, Y_h and, for an LSTM, Y_c; and its hidden units."""
    rng, hidden = parts.rng, int(parts.rng.integers(2, 6))
    attributes = {"hidden_size": hidden} | {key: value for key, value in options.items() if key != "peepholes"}
    directions = 1 + (options.get("direction") == "bidirectional")
    if layout:
        attributes["layout"] = layout
    wide = GATES[op] * hidden
    inputs = [
        x,
        parts.weights(f"W{place}", directions, wide, width),
        parts.weights(f"R{place}", directions, wide, hidden),
        parts.weights(f"B{place}", directions, 2 * wide) if rng.integers(4) else "",
        lengths,
    ]
    names = ["h", "c"] if op == "LSTM" else ["h"]
    shape = (directions, "batch", hidden)
    inputs += [_initial(parts, f"{name}{place}", states, shape, layout) for name in names]
    if options.get("peepholes"):
        inputs.append(parts.weights(f"P{place}", directions, 3 * hidden))
    while inputs[-1] == "":
        inputs.pop()
    return parts.add(op, *inputs, count=1 + len(names), **attributes), hidden, directions


def _initial(parts, name, states, shape, layout):
    """A state before the first step: none, zeros that the graph makes, a constant row, or an input."""
    order = (1, 0, 2) if layout else (0, 1, 2)
    directions, batch, hidden = shape
    if states == "input":
        parts.inputs[name] = (parts.dtype, tuple(shape[axis] for axis in order))
        return name
    if states == "none":
        return ""
    if states == "zeros":
        sizes = parts.add("Gather", parts.add("Shape", "x"), parts.integers(0 if layout else 1), axis=0)
        parts_of = [parts.integers(directions), sizes, parts.integers(hidden)]
        return parts.add("ConstantOfShape", parts.add("Concat", *(parts_of[axis] for axis in order), axis=0),
                         value=numpy_helper.from_array(np.zeros(1, parts.dtype)))  # fmt: skip
    row = parts.weights(f"{name}row", *(1 if shape[axis] == "batch" else shape[axis] for axis in order))
    sizes = parts.add("Gather", parts.add("Shape", "x"), parts.integers(0 if layout else 1), axis=0)
    one = [parts.integers(1), sizes, parts.integers(1)]
    return parts.add("Expand", row, parts.add("Concat", *(one[axis] for axis in order), axis=0))


def random_options(rng, op):
    """Random attributes of an operator, all that it has but direction and layout."""
    options = {}
    if rng.integers(2):
        options["clip"] = float(rng.choice([0.4, 0.9]))
    if rng.integers(3) and op == "GRU":
        options["linear_before_reset"] = int(rng.integers(2))
    if op == "LSTM":
        options |= {"input_forget": int(rng.integers(2)), "peepholes": bool(rng.integers(2))}
    options["direction"] = direction = ["forward", "reverse", "bidirectional"][rng.integers(3)]
    if rng.integers(2):
        options |= functions(rng, op, 1 + (direction == "bidirectional"), bounded=bool(rng.integers(2)))
    return options


def random_model(seed, *, layout=0, dtype=np.float32):
    """One or two recurrent operators, joined as exporters do, and a dense layer at times: y and all states go out."""
    rng = np.random.default_rng(seed)
    parts = Parts(rng, dtype)
    width = int(rng.integers(1, 5))
    parts.inputs["x"] = (dtype, ("batch", "time", width) if layout else ("time", "batch", width))
    lengths = "lengths" if not rng.integers(3) else ""
    if lengths:
        parts.inputs[lengths] = (np.int32, ("batch",))
    states = ["none", "zeros", "constant", "input"][rng.integers(4)]
    x = "x"
    for place in range(1 + int(rng.integers(2))):
        op = ["RNN", "GRU", "LSTM"][(seed + place) % 3]
        options = random_options(rng, op)
        outputs, hidden, directions = recurrent(
            parts, x, width, op, lengths=lengths, states=states, place=place, layout=layout, **options
        )
        x, width = _joined(parts, outputs[0], layout, directions), hidden * directions
        parts.outputs += outputs[1:]
    if rng.integers(2):
        x = parts.add("MatMul", x, parts.weights("V", width, 3))
        x = parts.add("Add", x, parts.weights("b", 3))
    parts.outputs.insert(0, x)
    return parts.model(opset=int(rng.integers(14, 23)))


def _joined(parts, y, layout, directions):
    """(time, directions, batch, hidden), or with layout 1 (batch, time, directions, hidden), as three axes."""
    if directions == 1:
        return parts.add("Squeeze", y, parts.integers(2 if layout else 1))
    if not layout:
        y = parts.add("Transpose", y, perm=[0, 2, 1, 3])
    return parts.add("Reshape", y, parts.integers(0, 0, -1))


def session(model):
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = 4
    content = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])


def random_arguments(reading, rng, batch, time, dtype=np.float32):
    """Arguments of a network, also states and lengths where its model has them as inputs."""
    net = reading.network
    arguments = {"x": rng.standard_normal((batch, time, net.input_size or 3)).astype(dtype)}
    if reading.lengths:
        arguments["lengths"] = rng.integers(1, time + 1, batch).astype(np.int32)
    if any(getattr(stage.part, "given", None) for stage in reading.assembly.stages):
        arguments["state"] = [random_state(layer, batch, rng, dtype) for layer in net.layers if layer.stateful]
    return arguments


def random_state(layer, batch, rng, dtype):
    """States of a recurrent layer, drawn."""
    first = getattr(layer, "first", layer)
    shape = (2, batch, first.hidden_size) if layer.bidirectional else (batch, first.hidden_size)
    arrays = tuple(rng.standard_normal(shape).astype(dtype) for _ in first.cell.states)
    return arrays if len(arrays) > 1 else arrays[0]


__all__ = [
    "GATES",
    "Parts",
    "TensorProto",
    "helper",
    "onnx",
    "random_arguments",
    "random_model",
    "random_state",
    "recurrent",
    "session",
]
