"""The variants of the cells against ONNX Runtime: its operators RNN, GRU and LSTM, with random weights."""

from __future__ import annotations

import numpy as np
import pytest

import elman
from elman import Activation
from elman.interop import to_arrays

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

B, T, I, H = 3, 6, 4, 5

NAMES = {"tanh": "Tanh", "relu": "Relu", "hard_sigmoid": "HardSigmoid", "softsign": "Softsign"}
NAMES |= {"softplus": "Softplus", "elu": "Elu"}
SLOPED = Activation("hard_sigmoid", alpha=0.3, beta=0.4)


def session(kind, layer, **attributes):
    """ONNX Runtime over one operator with the weights of a layer."""
    arrays = to_arrays(layer, "onnx")
    states = ["h0", "c0"][: len(layer.cell.states)]
    inputs = ["X", "W", "R", "B", "", *states, *(["P"] if "P" in arrays else [])]
    outputs = ["Y", "Y_h", "Y_c"][: 1 + len(states)]
    direction = "bidirectional" if layer.bidirectional else "forward"
    node = onnx.helper.make_node(kind, inputs, outputs, hidden_size=H, direction=direction, **attributes)
    shapes = {"X": (T, B, I), **dict.fromkeys(states, (len(layer.directions), B, H))}
    graph = onnx.helper.make_graph(
        [node],
        "one operator",
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def chosen(*activations, directions):
    """The attributes of ONNX for activations in its order of the gates."""
    made = [Activation(a) if isinstance(a, str) else a for a in activations] * directions
    numbers = {"alpha": "activation_alpha", "beta": "activation_beta"}
    attributes = {"activations": [NAMES[a.name] for a in made]}
    attributes |= {
        attribute: [a.parameters[number] for a in made if number in a.parameters]
        for number, attribute in numbers.items()
        if any(number in a.parameters for a in made)
    }
    return attributes


def compare(kind, layer, seed, **attributes):
    rng = np.random.default_rng(seed)
    for array in layer.parameters.values():  # small: with a negative z of a GRU rounding doubles with every step
        array[...] = rng.normal(scale=0.5, size=array.shape)
    ours = session(kind, layer, **attributes)
    for _ in range(2):
        x = rng.normal(size=(T, B, I)).astype(np.float32)
        states = [rng.normal(size=(len(layer.directions), B, H)).astype(np.float32) for _ in layer.cell.states]
        want = ours.run(None, {"X": x, **dict(zip(("h0", "c0"), states, strict=False))})
        own = [s if layer.bidirectional else s[0] for s in states]
        y, end = layer(x.transpose(1, 0, 2), tuple(own) if len(own) > 1 else own[0])
        ends = end if isinstance(end, tuple) else (end,)
        np.testing.assert_allclose(y, want[0].transpose(2, 0, 1, 3).reshape(B, T, -1), rtol=1e-5, atol=1e-5)
        for got, state in zip(ends, want[1:], strict=True):
            np.testing.assert_allclose(got.reshape(state.shape), state, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize("peepholes", [False, True])
@pytest.mark.parametrize("activations", [None, ("softsign", "relu", "tanh"), (SLOPED, "tanh", "softsign")])
def test_lstm(peepholes, coupled, clip, activations, bidirectional):
    options = {"peepholes": peepholes, "coupled": coupled, "clip": clip}
    attributes = {"input_forget": int(coupled)} | ({} if clip is None else {"clip": clip})
    if activations:
        f, g, h = activations  # ONNX: of i, o and f; of the candidate; of the cell state on its way out
        gates = {"i": f, "o": f, "g": g, "c": h} | ({} if coupled else {"f": f})
        options["activations"] = gates
        attributes |= chosen(f, g, h, directions=1 + bidirectional)
    compare("LSTM", elman.LSTM(I, H, bidirectional=bidirectional, **options), 1, **attributes)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("reset_after", [False, True])
@pytest.mark.parametrize("activations", [None, ("softsign", "relu"), (SLOPED, "softsign")])
def test_gru(reset_after, clip, activations, bidirectional):
    options, attributes = {"clip": clip}, {"linear_before_reset": int(reset_after)}
    if clip is not None:
        attributes["clip"] = clip
    if activations:
        f, g = activations
        options["activations"] = {"r": f, "z": f, "n": g}
        attributes |= chosen(f, g, directions=1 + bidirectional)
    compare("GRU", elman.GRU(I, H, reset_after, bidirectional, **options), 2, **attributes)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("activation", ["tanh", "relu", "softplus", SLOPED, Activation("elu", alpha=0.4)], ids=repr)
def test_rnn(activation, bidirectional):
    attributes = {"clip": 0.7, **chosen(activation, directions=1 + bidirectional)}
    compare("RNN", elman.RNN(I, H, activation, bidirectional, clip=0.7), 3, **attributes)
