"""`from_onnx` reads the operators RNN, LSTM and GRU whole: the tests of ONNX itself, and ONNX Runtime beside it."""

from __future__ import annotations

import importlib
import itertools
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
import onnx.backend.test.case.node as node_cases

import elman
from elman.checks import FormatError
from elman.interop import CONVENTIONS
from elman.interop.onnx.reading import recurrence as onnx_recurrence
from elman.interop.onnx.reading.reader import from_onnx, read_onnx
from onnx_models import GATES, Parts, random_arguments, random_model, recurrent, session


def node_tests():
    """The 18 tests of these operators in the `onnx` package, by name."""
    for name in ("rnn", "lstm", "gru"):
        importlib.import_module(f"onnx.backend.test.case.node.{name}")
    cases = {case.name: case for case in node_cases._NodeTestCases if case.model.graph.node[0].op_type in GATES}
    assert len(cases) == 18
    return cases


NODE_TESTS = node_tests()


@pytest.mark.parametrize("name", NODE_TESTS)
def test_the_node_tests_of_onnx(name):
    model = NODE_TESTS[name].model
    ((inputs, outputs),) = NODE_TESTS[name].data_sets
    given = {info.name: np.asarray(array) for info, array in zip(model.graph.input, inputs, strict=True)}
    reading = read_onnx(model, {key: array for key, array in given.items() if key in ("W", "R", "B", "P")})
    batch_first = any(attribute.name == "layout" and attribute.i for attribute in model.graph.node[0].attribute)
    arguments = {"x": given["X"] if batch_first else given["X"].swapaxes(0, 1)}
    if "initial_h" in given:
        arguments |= {"state": [(given["initial_h"][0], given["initial_c"][0])], "lengths": given["sequence_lens"]}
    for key, array in reading.feed(**arguments).items():
        np.testing.assert_array_equal(array, given[key])
    for _ in range(2):
        found = reading.results(*reading.network(**arguments))
        for info, want in zip(model.graph.output, outputs, strict=True):
            np.testing.assert_allclose(found[info.name], want, rtol=1e-5, atol=1e-6)
            assert found[info.name].shape == want.shape


def differences(model, seed, read=read_onnx):
    """The largest differences of the network from ONNX Runtime, by output, over two batches."""
    reading, runtime, rng = read(model), session(model), np.random.default_rng(seed)
    largest = {}
    for batch, time in ((3, 6), (2, 4)):
        arguments = random_arguments(reading, rng, batch, time)
        want = runtime.run(None, reading.feed(**arguments))
        got = reading.results(*reading.network(**arguments))
        for (name, array), other in zip(got.items(), want, strict=True):
            if reading.lengths and array.ndim == 3 and array.shape[:2] == (time, batch):  # y; ours is 0 in padding
                other = other * (np.arange(time)[:, None] < arguments["lengths"])[..., None]
            assert array.shape == other.shape
            difference = (np.abs(array - other) / np.maximum(1, np.abs(other))).max()
            largest[name] = max(largest.get(name, 0), difference)
    return largest


@pytest.mark.parametrize("seed", range(150))
def test_random_models_beside_onnx_runtime(seed):
    found = differences(random_model(seed), seed)
    assert max(found.values()) < 1e-5, found


def test_the_random_models_have_every_attribute():
    seen = set()
    for seed in range(150):
        for node in random_model(seed).graph.node:
            for attribute in node.attribute:
                if node.op_type in GATES:
                    seen.add((node.op_type, attribute.name, attribute.s.decode() or attribute.i))
    for op in GATES:
        assert {(op, "direction", name) for name in ("forward", "reverse", "bidirectional")} <= seen
        assert {name for kind, name, _ in seen if kind == op} >= {"clip", "activations", "activation_alpha"}
    assert {("LSTM", "input_forget", 1), ("LSTM", "input_forget", 0)} <= seen
    assert {("GRU", "linear_before_reset", 1), ("GRU", "linear_before_reset", 0)} <= seen


@pytest.mark.parametrize("seed", range(0, 150, 3))
def test_layout_1_is_the_same_with_the_batch_first(seed):
    """ONNX Runtime does not run layout 1; its model is that of layout 0 with other axes."""
    rng = np.random.default_rng(seed)
    first, second = read_onnx(random_model(seed)), read_onnx(random_model(seed, layout=1))
    assert repr(first.network) == repr(second.network)
    for name, array in first.network.parameters.items():
        np.testing.assert_array_equal(array, second.network.parameters[name])
    arguments = random_arguments(first, rng, 3, 5)
    y, state = first.network(**arguments)
    one, other = first.results(y, state), second.results(y, state)
    for array, swapped in zip(one.values(), other.values(), strict=True):
        np.testing.assert_array_equal(swapped, array.swapaxes(0, 1))
    feeds = first.feed(**arguments), second.feed(**arguments)
    for name, array in feeds[0].items():
        np.testing.assert_array_equal(feeds[1][name], array if array.ndim == 1 else array.swapaxes(0, 1))


@pytest.mark.parametrize("seed", range(1, 150, 5))
def test_double_models_are_float64_networks(seed):
    """ONNX Runtime runs float alone: the float64 network computes what it runs in float32, with all its digits."""
    single, double = random_model(seed), read_onnx(random_model(seed, dtype=np.float64))
    assert double.network.dtype == np.float64
    assert any((array != array.astype(np.float32)).any() for array in double.network.parameters.values())

    def read(model):
        reading = read_onnx(model)
        reading.network = double.network
        return reading

    assert max(differences(single, seed, read).values()) < 1e-5


def test_float16_is_converted_exactly():
    model = random_model(4)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            array = onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float16), tensor.name))
    net = from_onnx(model)
    assert net.dtype == np.float32
    assert all((array == array.astype(np.float16)).all() for name, array in net.parameters.items() if "W" in name)


def one_operator(seed=0, op="LSTM", x=("time", "batch", 3), states="none", **options):
    """A model of one operator; its outputs are all of the operator."""
    parts = Parts(np.random.default_rng(seed))
    parts.inputs["x"] = (np.float32, x)
    if options.get("lengths"):
        parts.inputs[options["lengths"]] = (np.int32, ("batch",))
    outputs, _, _ = recurrent(parts, "x", 3, op, states=states, **options)
    parts.outputs += outputs
    return parts.model(opset=14)


# Each of these is a mistake that a reader could make. Where none of the others fails, the comparison could not see it.

WRONG = {
    **{f"LSTM {''.join(o)}": ("lstm", "gates", "".join(o)) for o in itertools.permutations("iofg")},
    **{f"GRU {''.join(o)}": ("gru", "gates", "".join(o)) for o in itertools.permutations("zrn")},
    **{f"peepholes {''.join(o)}": ("lstm", "peephole_gates", "".join(o)) for o in itertools.permutations("iof")},
}
RIGHT = ("LSTM iofg", "GRU zrn", "peepholes iof")


@pytest.mark.parametrize("name", WRONG)
def test_every_wrong_order_of_gates_is_seen(name, monkeypatch):
    cell, option, order = WRONG[name]
    rule = CONVENTIONS["onnx"]
    if option == "gates":
        rule = replace(rule, gates={**rule.gates, cell: order})
    else:
        rule = replace(rule, by_cell={**rule.by_cell, cell: {**rule.by_cell[cell], option: order}})
    monkeypatch.setitem(CONVENTIONS, "onnx", rule)
    options = {"peepholes": True} if cell == "lstm" else {"linear_before_reset": 1}
    found = max(differences(one_operator(2, cell.upper(), states="input", **options), 0).values())
    assert found < 1e-5 if name in RIGHT else found > 0.01


@pytest.mark.parametrize("bias", ["both outside", "both inside", "swapped"])
def test_a_wrong_split_of_the_biases_is_seen(bias):
    """The recurrent bias of the candidate of a GRU is inside the reset product with linear_before_reset alone."""
    model = one_operator(2, "GRU", states="input", linear_before_reset=1)
    right = read_onnx(model)
    layer = right.network.layers[0]
    hidden = layer.hidden_size
    outside, inside = layer.b[2 * hidden :].copy(), layer.bn.copy()

    def read(model):
        moved = {
            "both outside": (outside + inside, 0),
            "both inside": (0, outside + inside),
            "swapped": (inside, outside),
        }
        layer.b[2 * hidden :], layer.bn[...] = moved[bias]
        return right

    assert max(differences(model, 0).values()) < 1e-5
    assert max(differences(model, 0, read).values()) > 0.01


#: The operator, its attributes, and what a mistaken reader makes of the options.
MISTAKES = {
    "reset form": ("GRU", {}, lambda options: options | {"reset_after": True}),
    "not coupled": ("LSTM", {"input_forget": 1}, lambda options: options | {"coupled": False}),
    "no clip": ("LSTM", {"clip": 0.3}, lambda options: {}),
    "clip of GRU": ("GRU", {"clip": 0.3}, lambda options: {"reset_after": False}),
    "default functions": ("LSTM", {"activations": ["Softsign", "Tanh", "Tanh"]}, lambda options: {}),
    "functions of g and c": (
        "LSTM",
        {"activations": ["Sigmoid", "Tanh", "Softsign"]},
        lambda options: {"activations": {"g": "softsign", "c": "tanh"}},
    ),
    "functions of z and n": (
        "GRU",
        {"activations": ["Sigmoid", "Softsign"]},
        lambda options: {"reset_after": False, "activations": {"z": "softsign", "n": "sigmoid"}},
    ),
    "alpha": (
        "RNN",
        {"activations": ["LeakyRelu"], "activation_alpha": [0.4]},
        lambda options: {"activation": "leaky_relu"},
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistaken_options_are_seen(mistake, monkeypatch):
    op, attributes, mistaken = MISTAKES[mistake]
    model, given = one_operator(3, op, states="constant", **attributes), onnx_recurrence._options
    assert max(differences(model, 0).values()) < 1e-5
    monkeypatch.setattr(onnx_recurrence, "_options", lambda *arguments: [mistaken(each) for each in given(*arguments)])
    assert max(differences(model, 0).values()) > 0.01


def test_a_wrong_sense_of_the_update_gate_is_seen(monkeypatch):
    model = one_operator(3, "GRU", states="constant")
    assert max(differences(model, 0).values()) < 1e-5
    monkeypatch.setitem(CONVENTIONS, "onnx", replace(CONVENTIONS["onnx"], update="new"))
    assert max(differences(model, 0).values()) > 0.01


def test_a_wrong_direction_and_lost_states_are_seen(monkeypatch):
    model = one_operator(3, "LSTM", states="constant", direction="reverse")
    forward = one_operator(3, "LSTM", states="constant")
    assert max(differences(model, 0).values()) < 1e-5
    assert max(differences(model, 0, lambda _: read_onnx(forward)).values()) > 0.01
    monkeypatch.setattr(onnx_recurrence, "_start", lambda *arguments: None)
    assert max(differences(model, 0).values()) > 0.01


# What operators may leave out or name otherwise.


@pytest.mark.parametrize("op", GATES)
def test_hidden_size_may_be_left_out(op):
    model = one_operator(1, op)
    net = from_onnx(model)
    (node,) = model.graph.node
    kept = [attribute for attribute in node.attribute if attribute.name != "hidden_size"]
    del node.attribute[:]
    node.attribute.extend(kept)
    assert repr(from_onnx(model)) == repr(net)


def test_states_alone_are_outputs_of_the_last_step():
    model = one_operator(1, "GRU", direction="bidirectional")
    del model.graph.output[0]
    reading = read_onnx(model)
    x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)
    assert [type(layer).__name__ for layer in reading.network.layers] == ["GRU", "LastStep"]
    y, (h,) = reading.network(x)
    np.testing.assert_array_equal(y, np.concatenate([h[0], h[1]], axis=1))
    (want,) = session(model).run(None, reading.feed(x))
    np.testing.assert_allclose(reading.results(y, [h])[model.graph.output[0].name], want, atol=1e-6)


def test_constant_states_are_learned_ones_and_zeros_are_none():
    net = from_onnx(one_operator(1, "LSTM", states="constant", direction="bidirectional"))
    assert [name for name in net.layers[0].parameters if "0" in name] == ["h0", "c0", "h0_reverse", "c0_reverse"]
    assert net.layers[0].h0.all()
    assert not from_onnx(one_operator(1, "LSTM", states="zeros")).layers[0].learned_state


def test_zeros_of_one_state_beside_a_constant_of_the_other():
    model = one_operator(1, "LSTM", states="constant")
    model.graph.node[-1].input[6] = ""
    net = from_onnx(model)
    assert net.layers[0].h0.all()
    assert not net.layers[0].c0.any()
    assert max(differences(model, 0).values()) < 1e-5


@pytest.mark.parametrize("opset", range(7, 25))
def test_every_version_of_the_operators(opset):
    model = one_operator(1, "GRU", direction="reverse", linear_before_reset=1)
    model.opset_import[0].version = opset
    want = from_onnx(one_operator(1, "GRU", direction="reverse", linear_before_reset=1))
    for name, array in from_onnx(model).parameters.items():
        np.testing.assert_array_equal(array, want.parameters[name])


def test_functions_read_alpha_and_beta_in_order():
    names = ["HardSigmoid", "Tanh", "ScaledTanh"]
    model = one_operator(1, "LSTM", activations=names, activation_alpha=[0.3, 0.7], activation_beta=[0.4, 1.1])
    chosen = from_onnx(model).layers[0].config["activations"]
    assert chosen["i"] == {"name": "hard_sigmoid", "alpha": 0.3, "beta": 0.4}
    assert chosen["c"] == {"name": "scaled_tanh", "alpha": 0.7, "beta": 1.1}
    assert max(differences(model, 0).values()) < 1e-5
    model = one_operator(1, "RNN", activations=["LeakyRelu"])
    assert from_onnx(model).layers[0].config["activation"] == "leaky_relu"  # 0.01, its default in both


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"activations": ["Sigmoid", "Tanh"]}, "3, 3 for each direction. Got 2: Sigmoid, Tanh"),
        ({"activations": ["Sigmoid", "Sine", "Tanh"]}, "Got 'Sine'"),
        ({"activations": ["Affine", "Tanh", "Tanh"]}, "activation_alpha and activation_beta for Affine"),
        ({"activations": ["Elu", "Tanh", "Tanh"], "activation_alpha": [1.0, 2.0]}, "1 more: .2.0."),
        ({"activations": ["Elu", "Tanh", "Tanh"], "activation_alpha": [-1.0]}, "alpha must be a number over 0"),
        ({"clip": -1.0}, "clip must be"),
        ({"direction": "sideways"}, "forward, reverse or bidirectional. Got sideways"),
    ],
)
def test_attributes_that_are_refused(options, words):
    with pytest.raises(FormatError, match=r"the model: the node 'node0' \(LSTM\).*" + words):
        from_onnx(one_operator(0, "LSTM", **options))


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_both_directions_may_have_functions_of_their_own(op):
    names = {"LSTM": ["HardSigmoid", "Tanh", "Softsign"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Relu"]}[op]
    names = [*names, *{"LSTM": ["Sigmoid", "Softsign", "Tanh"], "GRU": ["Sigmoid", "Softsign"], "RNN": ["Tanh"]}[op]]
    model = one_operator(1, op, direction="bidirectional", states="input", activations=names)
    assert max(differences(model, 0).values()) < 1e-5
    assert isinstance(from_onnx(model).layers[0], elman.Bidirectional)


def test_both_directions_may_have_the_same_functions():
    names = ["HardSigmoid", "Tanh", "Softsign"] * 2
    model = one_operator(
        1, "LSTM", direction="bidirectional", activations=names, activation_alpha=[0.3] * 2, activation_beta=[0.4] * 2
    )
    assert max(differences(model, 0).values()) < 1e-5


def change(model, name, array):
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, name))
    return model


@pytest.mark.parametrize("name", ["W0", "R0", "B0"])
def test_wrong_shapes(name):
    model = one_operator(2, "GRU")
    array = next(onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name == name)
    with pytest.raises(FormatError, match=rf"the shape of its input {name[0]} must be .* Got"):
        from_onnx(change(model, name, array[:, :-1]))


def test_weights_that_are_not_known():
    model = one_operator(3, "GRU")
    (tensor,) = (t for t in model.graph.initializer if t.name == "R0")
    array = onnx.numpy_helper.to_array(tensor)
    model.graph.initializer.remove(tensor)
    model.graph.input.append(onnx.helper.make_tensor_value_info("R0", 1, array.shape))
    with pytest.raises(FormatError, match=r"weights=\{'R0': array\}. Got an input"):
        from_onnx(model)
    assert repr(from_onnx(model, {"R0": array})) == repr(from_onnx(one_operator(3, "GRU")))
    with pytest.raises(FormatError, match=r"weights must be named like inputs of the graph\. Got Q"):
        from_onnx(model, {"Q": array})
    with pytest.raises(elman.DtypeError, match=r"weights\['R0'\] must hold real numbers"):
        from_onnx(model, {"R0": array * 1j})


@pytest.mark.parametrize(("lengths", "is_good"), [([4, 4], True), ([4, 3], False)])
def test_lengths_that_are_constant_must_be_all_steps(lengths, is_good):
    model = one_operator(1, "GRU", x=(4, 2, 3), lengths="lengths")
    assert read_onnx(model).lengths == "lengths"
    del model.graph.input[1]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(lengths, np.int32), "lengths"))
    if is_good:
        assert not read_onnx(model).lengths
    else:
        with pytest.raises(FormatError, match=r"its lengths must be .* 4, all steps, .* Got \[4, 3\]"):
            from_onnx(model)


def test_states_that_differ_by_row_are_refused():
    model = one_operator(1, "GRU", states="constant", x=("time", 2, 3))
    names = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    row = names["h0row"]
    rows = np.concatenate([row, 2 * row], axis=1)
    model.graph.initializer.append(onnx.numpy_helper.from_array(rows, "rows"))
    model.graph.node[-1].input[5] = "rows"
    with pytest.raises(FormatError, match=r"initial_h must be the same for each sequence, .* Got rows that differ"):
        from_onnx(model)
