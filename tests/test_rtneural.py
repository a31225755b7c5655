"""RTNeural's JSON: its own models and their outputs, round trips to the bit, and what is refused."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

import elman
from elman import from_rtneural, to_rtneural
from golden_facts import facts
from test_gradients import LEAKY

MODELS = facts("rtneural_models")
SINE = 10 * np.sin(0.1 * np.pi * np.arange(30))[:, None]


def written(tmp_path, model):
    path = tmp_path / "model.json"
    path.write_text(json.dumps(model))
    return path


def error_of(net, expected):
    return float(np.abs(net(SINE)[0][:, 0] - np.array(expected)).max())


@pytest.mark.parametrize("name", MODELS)
def test_models_of_rtneural_compute_what_its_tests_expect(tmp_path, name):
    net = from_rtneural(written(tmp_path, MODELS[name]["model"]))
    assert net.dtype == np.float32
    assert error_of(net, MODELS[name]["expected"]) < 3e-7
    assert error_of(net, MODELS[name]["expected"]) < 3e-7  # nothing stays between calls


def changed(model, change):
    """The model with its first layer's arrays changed."""
    model = json.loads(json.dumps(model))
    arrays = [np.array(array) for array in model["layers"][0]["weights"]]
    model["layers"][0]["weights"] = [array.tolist() for array in change(*arrays)]
    return model


def in_order(order):
    def change(*arrays):
        return [np.concatenate([np.split(a, len(order), axis=-1)[g] for g in order], axis=-1) for a in arrays]

    return change


@pytest.mark.parametrize(("name", "gates"), [("lstm_1d", 4), ("gru_1d", 3)])
def test_every_other_order_of_gates_gives_other_outputs(tmp_path, name, gates):
    orders = list(itertools.permutations(range(gates)))
    for order in orders:
        net = from_rtneural(written(tmp_path, changed(MODELS[name]["model"], in_order(order))))
        assert (error_of(net, MODELS[name]["expected"]) < 1e-3) == (order == tuple(range(gates)))


def test_the_biases_of_the_gru_and_the_sense_of_its_update_gate_matter(tmp_path):
    def biases_swapped(kernel, recurrent, bias):
        return kernel, recurrent, bias[::-1]

    def update_negated(kernel, recurrent, bias):
        kernel[:, :8], recurrent[:, :8], bias[:, :8] = -kernel[:, :8], -recurrent[:, :8], -bias[:, :8]
        return kernel, recurrent, bias

    fact = MODELS["gru_1d"]
    for change in (biases_swapped, update_negated):
        assert error_of(from_rtneural(written(tmp_path, changed(fact["model"], change))), fact["expected"]) > 1e-3
    net = from_rtneural(written(tmp_path, fact["model"]))
    gru = net.layers[0]
    before = elman.GRU(1, 8, reset_after=False)
    before.Wx, before.Wh, before.b = gru.Wx, gru.Wh, gru.b + np.r_[np.zeros(16), gru.bn]
    assert error_of(elman.Network([before, *net.layers[1:]]), fact["expected"]) > 1e-3


def stack(dtype, seed=0):
    rng = np.random.default_rng(seed)
    net = elman.Network(
        [
            elman.Dense(3, 4, "elu", dtype=dtype),
            elman.LSTM(4, 5, dtype=dtype),
            elman.Dropout(0.5),
            elman.Network([elman.GRU(5, 7, dtype=dtype), elman.Activate("relu")]),
            elman.Dense(7, 6, "tanh", dtype=dtype),
            elman.Dense(6, 2, "sigmoid", dtype=dtype),
            elman.Dense(2, 4, dtype=dtype),
            elman.Activate("softmax"),
        ]
    )
    for array in net.parameters.values():
        array[...] = rng.normal(size=array.shape)
    return net


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_out_and_in_again_are_the_same_bits(tmp_path, dtype):
    net, path = stack(dtype), tmp_path / "net.json"
    to_rtneural(net, path)
    again = from_rtneural(path)
    assert again.dtype == np.dtype(dtype)
    assert [type(layer) for layer in again.layers if not isinstance(layer, elman.Dropout)] == [
        elman.Dense, elman.LSTM, elman.GRU, elman.Activate, elman.Dense, elman.Dense, elman.Dense, elman.Activate
    ]  # fmt: skip
    for (_, a), (_, b) in zip(net.parameters.items(), again.parameters.items(), strict=True):
        np.testing.assert_array_equal(a, b)
    x = np.random.default_rng(1).normal(size=(2, 9, 3))
    np.testing.assert_array_equal(again(x)[0], net(x)[0])
    before = path.read_bytes()
    to_rtneural(again, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_number_comes_back_to_the_bit(tmp_path, dtype):
    info = np.finfo(dtype)
    numbers = [info.max, -info.max, info.tiny, info.smallest_subnormal, 0.1, 1 / 3, -0.0, 16777217.0, np.pi * 1e30]
    layer = elman.Dense(1, len(numbers), dtype=dtype)
    layer.W = [numbers]
    to_rtneural(layer, tmp_path / "net.json")
    assert from_rtneural(tmp_path / "net.json").layers[0].W.tobytes() == layer.W.tobytes()


def test_what_the_file_says_is_what_rtneural_reads(tmp_path):
    to_rtneural(stack("float32"), tmp_path / "net.json")
    model = json.loads((tmp_path / "net.json").read_text())
    assert model["in_shape"] == [None, None, 3]
    assert [(e["type"], e["activation"], e["shape"][-1], len(e["weights"])) for e in model["layers"]] == [
        ("dense", "elu", 4, 2),
        ("lstm", "tanh", 5, 3),
        ("gru", "tanh", 7, 3),
        ("activation", "relu", 7, 0),
        ("dense", "tanh", 6, 2),
        ("dense", "sigmoid", 2, 2),
        ("dense", "", 4, 2),
        ("activation", "softmax", 4, 0),
    ]
    assert np.shape(model["layers"][2]["weights"][2]) == (2, 21)
    assert set(model) == {"in_shape", "layers"}


def dense(W=((1.0, 2.0),), b=(0.5, 0.25), activation="", kind="dense", size=2):
    return {"type": kind, "activation": activation, "shape": [None, None, size], "weights": [W, b]}


def conv(**more):
    entry = {"type": "conv1d", "activation": "tanh", "shape": [None, None, 2], "kernel_size": [2], "dilation": [3]}
    return {**entry, "groups": 1, "weights": [[[[1.0, 2.0]], [[3.0, 4.0]]], [0.5, 0.25]], **more}


def norm(**more):
    return {"type": "batchnorm", "shape": [None, None, 1], "epsilon": 1e-3, "weights": [[1.0]] * 4, **more}


def one(layer, **more):
    return {"in_shape": [None, None, 1], "layers": [layer], **more}


def test_variants_of_dense(tmp_path):
    x = np.array([[[2.0]]])
    for model, expected in (
        (one(dense(kind="time-distributed-dense")), [2.5, 4.25]),
        (one({**dense(), "weights": [[[1.0, 2.0]]]}), [2.0, 4.0]),
        (one(dense(W=[[1, 2]], b=[0, 1])), [2.0, 5.0]),
        (one(dense(activation="softmax", W=[[0.0, 0.0]], b=[1.0, 1.0])), [0.5, 0.5]),
        (one(dense(W=[[float("nan"), 1.0]])), [np.nan, 2.25]),
    ):
        np.testing.assert_array_equal(from_rtneural(written(tmp_path, model))(x)[0][0, 0], np.float32(expected))


LSTM = MODELS["lstm_1d"]["model"]["layers"][0]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ([], "it must be JSON of RTNeural"),
        ({"in_shape": [1]}, "it must be JSON of RTNeural"),
        ({"layers": []}, "in_shape must be a list .* Got None"),
        ({"in_shape": [None, 0], "layers": []}, "in_shape must be a list"),
        ({"in_shape": [None, 2, 3, 4], "layers": []}, "in_shape must be a list"),
        (one(7), r"layer 0 must be an object with a type. Got 7"),
        (one(dense(kind="conv2d")), r"layer 0 \(conv2d\) must be one of dense, .* Got 'conv2d', a convolution"),
        (one(dense(kind="prelu")), r"the weights of layer 0 \(prelu\) must be a list of 1 array\. Got"),
        (one({**dense(kind="prelu"), "weights": [[[1.0, 2.0]]]}), "must be 1 or 1 finite slopes. Got 2"),
        (one({**dense(kind="prelu"), "weights": [[[float("nan")]]]}), "must be 1 or 1 finite slopes. Got 1"),
        (one(norm(weights=[[1.0]] * 3)), r"the weights of layer 0 \(batchnorm\) must be a list of 4 or 2 arrays"),
        (one(norm(weights=[[1.0, 2.0]] * 4)), r"the weights of layer 0 \(batchnorm\) must be of shape \(1,\) each"),
        (one(norm(epsilon="1")), r"layer 0 \(batchnorm\): epsilon must be"),
        (one(norm(epsilon=None)), r"layer 0 \(batchnorm\): epsilon must be"),
        (one(conv(dilation=0)), r"dilation of layer 0 \(conv1d\) must be a whole number from 1 up. Got 0"),
        (one(conv(dilation=10**30)), r"the dilation of layer 0 \(conv1d\) must be so small that"),
        (
            {
                "in_shape": [10**9],
                "in_skip": 1,
                "layers": [{"type": "activation", "activation": "tanh", "shape": [10**9]}],
            },
            "the features that come in must be at most 1,048,576. Got 1,000,000,000",
        ),
        (
            {
                "in_shape": [2**14],
                "layers": [{**conv(groups=2**14), "kernel_size": 1, "shape": [2**14], "weights": [[[[1.0] * 2**14]]]}],
            },
            r"layer 0 \(conv1d\): a convolution in groups must be one over all features of at most 134,217,728",
        ),
        (one(conv(kernel_size=[3])), r"must be of shape \(3, 1 in 1 groups, output\). Got \(2, 1, 2\)"),
        (one(conv(kernel_size=None)), "kernel_size of layer 0"),
        (one(conv(groups=2)), r"must be of shape \(2, 1 in 2 groups, output\)"),
        (one(conv(groups=1.0)), "groups of layer 0"),
        (one(conv(strides=[2])), "the stride of layer 0"),
        (one(conv(activation="gelu")), r"the activation of layer 0 \(conv1d\) must be one of tanh"),
        (one({**conv(), "shape": [10**9]}), r"the shape of layer 0 \(conv1d\) must be \[..., 2\]"),
        (one(dense(kind="mystery")), "Got 'mystery'."),
        (one(dense(activation="gelu")), r"the activation of layer 0 \(dense\) must be one of tanh"),
        (one(dense(activation=3)), "the activation of layer 0"),
        (one({**LSTM, "activation": "relu"}), r"the activation of layer 0 \(lstm\) must be tanh"),
        (one(dense(W=[[1.0, 2.0], [3.0, 4.0]])), r"must be of shape \(1, output\). Got \(2, 2\)"),
        (one(dense(W=[[1.0, 2.0], [3.0]])), "array 0 of layer 0 .* nested lists of numbers"),
        (one(dense(W=[["1", "2"]])), "nested lists of numbers"),
        (one(dense(W=[[10**30, 2]])), "nested lists of numbers"),
        (one(dense(W=[[]])), r"of shape \(1, output\)"),
        (one(dense(b=[1.0])), r"the bias of layer 0 \(dense\) must be of shape \(2,\). Got \(1,\)"),
        (one(dense(size=10**9)), r"the shape of layer 0 \(dense\) must be \[..., 2\]"),
        (one({**dense(), "weights": None}), "the weights of layer 0"),
        (one({**LSTM, "weights": LSTM["weights"][:1]}), "the weights of layer 0"),
        (one({**LSTM, "weights": [LSTM["weights"][0], LSTM["weights"][0], LSTM["weights"][2]]}), "recurrent_kernel"),
        ({**one(LSTM), "in_shape": [2]}, "must be made for 2 features, as come in. Got 1"),
        (one(LSTM, in_skip=2), "in_skip must be 0 or 1. Got 2"),
        (one(LSTM, in_skip=True), "in_skip must be 0 or 1. Got True"),
        (one(LSTM, dtype="float16"), "dtype must be 'float32' or 'float64'"),
        ({"in_shape": [1], "layers": []}, "at least one layer"),
        ({"in_shape": [1], "layers": [LSTM, LSTM]}, "made for 8 features"),
    ],
)
def test_files_that_are_refused(tmp_path, model, words):
    path = written(tmp_path, model)
    with pytest.raises(elman.FormatError, match=words) as error:
        from_rtneural(path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b"[" * 100_000, b'{"layers": [1e', b"null"])
def test_files_that_are_no_json(tmp_path, content):
    (tmp_path / "net.json").write_bytes(content)
    with pytest.raises(elman.FormatError, match="it must be JSON"):
        from_rtneural(tmp_path / "net.json")
    with pytest.raises(FileNotFoundError):
        from_rtneural(tmp_path / "none.json")


def nan_dense():
    layer = elman.Dense(2, 1)
    layer.b = [np.nan]
    return layer


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: elman.RNN(2, 3), "must be an LSTM or a GRU"),
        (lambda: elman.LSTM(2, 3, bidirectional=True), "in one direction"),
        (lambda: elman.GRU(2, 3, reset_after=False), "reset_after=True"),
        (lambda: elman.LSTM(2, 3, layer_norm=True), "layer_norm must be left out for RTNeural"),
        (lambda: elman.LSTM(2, 3, zoneout=0.1), "zoneout must be 0"),
        (lambda: elman.GRU(2, 3, learned_state=True), "learned_state must be False"),
        (lambda: elman.Recurrent(LEAKY, 2, 3), "a built-in one for RTNeural"),
        (lambda: elman.LayerNorm(3), "must be an LSTM, GRU, Dense, Conv1d, BatchNorm or Activate"),
        (lambda: elman.Network([elman.Embedding(4, 2), elman.LSTM(2, 3)]), "layer 0, Embedding, must be"),
        (lambda: elman.Network([elman.LSTM(2, 3), elman.LastStep()]), "layer 1, LastStep, must be"),
        (lambda: elman.Dense(2, 3, "softsign"), "an activation of tanh"),
        (lambda: elman.Dense(2, 3, elman.Activation("elu", alpha=0.5)), "an activation of tanh"),
        (lambda: elman.Activate("relu"), "knows its input features"),
        (nan_dense, "finite weights"),
        (lambda: elman.Conv1d(2, 3, 4), "must have padding 'causal' and stride 1 for RTNeural.* Got 'same' and 1"),
        (lambda: elman.Conv1d(2, 3, 4, stride=2, padding="causal"), "Got 'causal' and 2"),
    ],
)
def test_networks_that_are_refused(tmp_path, make, words):
    with pytest.raises(elman.FormatError, match=words):
        to_rtneural(make(), tmp_path / "net.json")
    assert not list(tmp_path.iterdir())
