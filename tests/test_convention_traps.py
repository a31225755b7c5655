"""The traps of the peers' layouts, each sprung on purpose, against the numbers that the peers themselves compute.

A trap that no test can see is one that a reader may fall into. So the arrays of ONNX Runtime, PyTorch and Keras are
broken here in every way in which they are known to be misread (gate blocks in any other order, the two biases split or
joined the wrong way, the other reset form, the other sense of the update gate, peepholes or directions exchanged), and
what the layer then computes must be far from what the peer computes, while the arrays as they are come close.
`tests/test_conventions.py` does the same for every row of the table against equations written out by hand.
"""

from __future__ import annotations

import functools
import os
import warnings
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
import onnxruntime
from onnx import helper, numpy_helper

from elman.checks import FormatError
from elman.interop import CONVENTIONS, from_arrays

B, T, I, H = 3, 5, 4, 6
GATES = {"rnn": 1, "lstm": 4, "gru": 3}
FAR = 1e-2  # what a sprung trap changes at least


@dataclass(frozen=True)
class Model:
    """A layer of a peer: its arrays, where they keep gates, and what it computes."""

    convention: str
    cell: str
    options: dict[str, Any]
    arrays: dict[str, np.ndarray]
    y: np.ndarray  # (B, T, directions * H)
    axes: dict[str, int]  # of the gates in each array
    update: int  # the place of the update gate
    close: float

    def differs(self, arrays, **change):
        """How far what a layer of these arrays computes is from what the peer computes."""
        convention = change.pop("convention", self.convention)
        layer = from_arrays(self.cell, arrays, convention, **{**self.options, **change})
        y, _ = layer(INPUT.astype(layer.dtype), self.states(layer))
        assert y.shape == self.y.shape
        return np.abs(y - self.y).max()

    def states(self, layer):
        parts = tuple(s[: len(layer.directions)] if layer.bidirectional else s[0] for s in STATES)
        return parts if self.cell == "lstm" else parts[0]

    def reordered(self, order, names):
        """The arrays with the gate blocks of some of them in another order."""
        arrays = dict(self.arrays)
        for name in names:
            blocks = np.split(arrays[name], arrays[name].shape[self.axes[name]] // H, axis=self.axes[name])
            groups = range(0, len(blocks), len(order))  # two where one array keeps two biases
            arrays[name] = np.concatenate([blocks[at + g] for at in groups for g in order], axis=self.axes[name])
        return arrays

    def negated(self, gate):
        """The arrays with one gate negated: 1 - sigmoid(a) = sigmoid(-a)."""
        arrays = {name: array.copy() for name, array in self.arrays.items()}
        for name, axis in self.axes.items():
            blocks = np.split(arrays[name], arrays[name].shape[axis] // H, axis=axis)  # views
            for block in blocks[gate :: GATES[self.cell]]:
                block *= -1
        return arrays


_rng = np.random.default_rng(5)
INPUT = _rng.standard_normal((B, T, I)).astype(np.float32)
STATES = _rng.standard_normal((2, 2, B, H)).astype(np.float32)  # h and c, both directions


def onnx_model(cell, *, bidirectional=False, **options):
    """The operator with random weights, and what ONNX Runtime computes with it."""
    rng, directions, gates = np.random.default_rng(7), 1 + bidirectional, GATES[cell]
    shapes = {"W": (gates * H, I), "R": (gates * H, H), "B": (2 * gates * H,)}
    shapes |= {"P": (3 * H,)} if options.get("peepholes") else {}
    arrays = {name: rng.standard_normal((directions, *shape)).astype(np.float32) for name, shape in shapes.items()}
    attributes = {"hidden_size": H, "direction": "bidirectional" if bidirectional else "forward"}
    attributes |= {"linear_before_reset": 1} if options.get("reset_after") else {}
    states = {name: STATES[i, :directions] for i, name in enumerate(("h0", "c0")[: 1 + (cell == "lstm")])}
    inputs = ["x", "W", "R", "B", "", *states, *(["P"] if "P" in arrays else [])]
    node = helper.make_node(cell.upper(), inputs, ["y"], **attributes)
    feeds = {"x": INPUT.transpose(1, 0, 2), **states}
    graph = helper.make_graph(
        [node],
        "trap",
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, array.shape) for name, array in feeds.items()],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    y = session.run(None, feeds)[0].transpose(2, 0, 1, 3).reshape(B, T, -1)
    return Model("onnx", cell, options, arrays, y, dict.fromkeys(("W", "R", "B"), 1), 0, 1e-5)


def torch_model(cell, *, bidirectional=False, **options):
    """PyTorch's layer with random weights."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(7)
    make = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[cell]
    layer = make(I, H, batch_first=True, bidirectional=bidirectional, dtype=torch.float64)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    states = [torch.tensor(s[: 1 + bidirectional], dtype=torch.float64) for s in STATES]
    with torch.no_grad():
        y, _ = layer(torch.tensor(INPUT, dtype=torch.float64), tuple(states) if cell == "lstm" else states[0])
    arrays = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    return Model("pytorch", cell, options, arrays, y.numpy(), dict.fromkeys(arrays, 0), 1, 1e-10)


def keras_model(cell, **options):
    """Keras's layer with random weights. On PyTorch, Keras 3.15 multiplies matrices of float64 in float32."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    make = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}[cell]
    layer = make(H, return_sequences=True, dtype="float64", **options)
    layer.build((None, T, I))
    rng = np.random.default_rng(7)
    arrays = {weight.name: rng.standard_normal(weight.shape) for weight in layer.weights}
    layer.set_weights(list(arrays.values()))
    states = [s[0].astype(np.float64) for s in STATES[: 1 + (cell == "lstm")]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # how Keras makes an array of a tensor of PyTorch
        y = keras.ops.convert_to_numpy(layer(INPUT.astype(np.float64), initial_state=states))
    return Model("keras", cell, options, arrays, y, dict.fromkeys(arrays, -1), 0, 1e-5)


MARKS: dict[Any, Any] = {onnx_model: (), torch_model: pytest.mark.peer, keras_model: pytest.mark.peer}
AFTER, BEFORE = {"reset_after": True}, {"reset_after": False}
BOTH_WAYS = {"bidirectional": True}

RNNS = [(make, "rnn", {}) for make in MARKS]
LSTMS = [(make, "lstm", {}) for make in MARKS]
GRUS_AFTER = [(onnx_model, "gru", AFTER), (torch_model, "gru", {}), (keras_model, "gru", AFTER)]
GRUS_BEFORE = [(onnx_model, "gru", BEFORE), (keras_model, "gru", BEFORE)]
TWO_WAYS = [(onnx_model, "lstm", BOTH_WAYS), (torch_model, "lstm", BOTH_WAYS), (torch_model, "gru", BOTH_WAYS)]
PEEPHOLES = [(onnx_model, "lstm", {"peepholes": True})]


def peers(cases):
    """Each case is a maker, a cell and options; those of PyTorch and Keras need their packages."""
    found = []
    for make, cell, options in cases:
        name = "-".join([make.__name__.removesuffix("_model"), cell, *(f"{k}={v}" for k, v in options.items())])
        found.append(pytest.param(functools.partial(make, cell, **options), id=name, marks=MARKS[make]))
    return pytest.mark.parametrize("make", found)


@peers(RNNS + LSTMS + GRUS_AFTER + GRUS_BEFORE + TWO_WAYS + PEEPHOLES)
def test_as_they_are_the_arrays_compute_what_the_peer_does(make):
    model = make()
    for _ in range(2):
        assert model.differs(model.arrays) < model.close


@peers(LSTMS + GRUS_AFTER + GRUS_BEFORE + TWO_WAYS)
def test_every_wrong_order_of_gates_is_far(make):
    model = make()
    right, *wrong = permutations(range(GATES[model.cell]))
    assert model.differs(model.reordered(right, model.axes)) < model.close
    assert len(wrong) == {"lstm": 23, "gru": 5}[model.cell]
    for order in wrong:
        assert model.differs(model.reordered(order, model.axes)) > FAR, order
        for name in model.axes:  # also where one array alone is misread
            assert model.differs(model.reordered(order, [name])) > FAR, (order, name)


@peers(PEEPHOLES)
def test_every_wrong_order_of_peepholes_is_far(make):
    model = make()
    blocks = np.split(model.arrays["P"], 3, axis=1)
    right, *wrong = permutations(range(3))
    assert len(wrong) == 5
    for order in (right, *wrong):
        differs = model.differs({**model.arrays, "P": np.concatenate([blocks[i] for i in order], axis=1)})
        assert differs < model.close if order == right else differs > FAR, order


@peers(GRUS_AFTER + GRUS_BEFORE)
def test_the_other_sense_of_the_update_gate_is_far(make):
    model = make()
    negated = model.negated(model.update)
    assert model.differs(negated) > FAR
    other = replace(CONVENTIONS[model.convention], update="new")
    assert model.differs(model.arrays, convention=other) > FAR
    assert model.differs(negated, convention=other) < model.close  # both wrongs are the same one
    for gate in {0, 1, 2} - {model.update}:
        assert model.differs(model.negated(gate), convention=other) > FAR


@peers(GRUS_AFTER + GRUS_BEFORE)
def test_the_other_reset_form_is_far(make):
    model = make()
    form = not model.options.get("reset_after", True)
    arrays, convention = dict(model.arrays), CONVENTIONS[model.convention]
    if model.convention == "keras":  # whose bias has another shape in each form
        arrays["bias"] = np.stack([arrays["bias"], 0 * arrays["bias"]]) if form else arrays["bias"].sum(0)
    if convention.reset_after is not None:
        with pytest.raises(FormatError, match=r"reset_after must be True for the convention 'pytorch'"):
            model.differs(arrays, reset_after=form)
        convention = replace(convention, reset_after=None)
    assert model.differs(arrays, convention=convention, reset_after=form) > FAR


def bias_rows(model):
    """The biases of a model, (2, ..., gates, H): those of the input and those of the recurrent product."""
    if model.convention == "pytorch":
        return np.stack([model.arrays[name].reshape(-1, H) for name in ("bias_ih_l0", "bias_hh_l0")])
    rows = model.arrays["B" if model.convention == "onnx" else "bias"].reshape(2, -1, H)
    return rows.copy()


def with_biases(model, rows):
    """The arrays with other biases."""
    if model.convention == "pytorch":
        return {**model.arrays, "bias_ih_l0": rows[0].ravel(), "bias_hh_l0": rows[1].ravel()}
    name = "B" if model.convention == "onnx" else "bias"
    return {**model.arrays, name: np.ascontiguousarray(rows).reshape(model.arrays[name].shape)}


TWO_BIASES = [*RNNS[:2], *LSTMS[:2], *GRUS_AFTER, GRUS_BEFORE[0]]  # Keras has two for one form of the GRU alone


@peers(TWO_BIASES)
def test_one_of_the_two_biases_left_out_is_far(make):
    model, none = make(), np.zeros((GATES[make.args[0]], H))
    first, second = bias_rows(model)
    assert model.differs(with_biases(model, np.stack([first, second]))) < model.close
    assert model.differs(with_biases(model, np.stack([first, none]))) > FAR
    assert model.differs(with_biases(model, np.stack([none, second]))) > FAR


@peers(TWO_BIASES)
def test_two_biases_exchanged_or_added_are_far_where_they_are_more_than_a_sum(make):
    """Only the one inside the reset product is: for all others the numbers must not change."""
    model = make()
    first, second = bias_rows(model)
    inside = model.cell == "gru" and model.options.get("reset_after", True)
    for rows in ([second, first], [first + second, 0 * first], [0 * first, first + second]):
        differs = model.differs(with_biases(model, np.stack(rows)))
        assert differs > FAR if inside else differs < model.close


@peers([case for case in TWO_BIASES if case[0] is not torch_model and case[1] != "rnn"])
def test_two_biases_that_are_split_gate_by_gate_are_far(make):
    """One array of both, misread as b, b of the first gate, then of the second."""
    model = make()
    rows = bias_rows(model)
    gates = rows.shape[1]
    assert model.differs(with_biases(model, rows.reshape(gates, 2, H).swapaxes(0, 1))) > FAR


@peers(TWO_WAYS)
def test_directions_exchanged_are_far(make):
    model = make()
    if model.convention == "onnx":
        arrays = {name: array[::-1] for name, array in model.arrays.items()}
    else:
        suffix = "_reverse"
        arrays = {n.removesuffix(suffix) if n.endswith(suffix) else n + suffix: a for n, a in model.arrays.items()}
    assert model.differs(arrays) > FAR


@peers(RNNS + LSTMS + GRUS_AFTER + GRUS_BEFORE)
def test_recurrent_weights_transposed_are_far(make):
    """Those of one gate are square, so that no shape tells."""
    model = make()
    name = {"onnx": "R", "pytorch": "weight_hh_l0", "keras": "recurrent_kernel"}[model.convention]
    axis = model.axes[name]
    blocks = np.split(model.arrays[name], GATES[model.cell], axis=axis)
    turned = np.concatenate([block.swapaxes(-1, -2) for block in blocks], axis=axis)
    assert model.differs({**model.arrays, name: turned}) > FAR
