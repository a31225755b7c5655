"""`from_keras` and `to_keras` against Keras itself: random models, states, masks, and everything read wrongly once."""

from __future__ import annotations

import itertools
import json
import logging
import os
from dataclasses import replace

import numpy as np
import pytest

import elman
from elman.interop import CONVENTIONS
from elman.interop.keras.reader import from_keras
from elman.interop.keras.writer import to_keras

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore:.*mask:UserWarning"),  # nested models: it says that they lose it; they do not
    pytest.mark.filterwarnings("ignore:.*masked steps must stand last:UserWarning"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # torch and numpy
]
os.environ["KERAS_BACKEND"] = "torch"
keras = pytest.importorskip("keras")
pytest.importorskip("torch").set_num_threads(1)
logging.getLogger("absl").setLevel(logging.ERROR)  # that .h5 is a legacy format

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
OUTER = ["tanh", "relu", "linear", "softsign", "hard_sigmoid", "elu", "sigmoid", "softplus", "leaky_relu"]
GATES = ["sigmoid", "hard_sigmoid", "sparse_sigmoid"]
FEATURES = 3


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def shuffled(model, rng):
    """The model with every weight drawn anew, biases and gains too."""
    for weight in model.weights:
        weight.assign(rng.standard_normal(weight.shape) * 0.5)
    return model


def recurrent(rng, dtype, sequences):
    """A random recurrent layer, and whether it turns the order of the steps."""
    kinds = [keras.layers.SimpleRNN, keras.layers.LSTM, keras.layers.GRU]
    kind = kinds[rng.integers(3)]
    turns = bool(rng.random() < 0.25)
    options = {
        "activation": str(rng.choice(OUTER)) if rng.random() < 0.5 else "tanh",
        "use_bias": bool(rng.random() < 0.8),
        "return_sequences": sequences,
        "go_backwards": turns,
        "dropout": float(rng.choice([0.0, 0.3])),
        "recurrent_dropout": float(rng.choice([0.0, 0.2])),
        "dtype": dtype,
    }
    if kind is not kinds[0]:
        options["recurrent_activation"] = str(rng.choice(GATES))
    if kind is kinds[2]:
        options["reset_after"] = bool(rng.random() < 0.5)
    units = int(rng.integers(1, 6))
    if rng.random() < 0.2:
        cell = {"SimpleRNN": "SimpleRNNCell", "LSTM": "LSTMCell", "GRU": "GRUCell"}[kind.__name__]
        of_layer = {key: options.pop(key) for key in ("return_sequences", "go_backwards")}
        cells = [getattr(keras.layers, cell)(units + i, **options) for i in range(rng.integers(1, 3))]
        stack = keras.layers.StackedRNNCells(cells, dtype=dtype) if len(cells) > 1 else cells[0]
        return keras.layers.RNN(stack, **of_layer, dtype=dtype), turns
    if rng.random() < 0.6:
        return kind(units, **options), turns
    mode = str(rng.choice(["concat", "sum", "mul", "ave"]))
    other = kind(units, **{**options, "go_backwards": False}) if turns else None
    wrapper = keras.layers.Bidirectional(kind(units, **options), merge_mode=mode, backward_layer=other, dtype=dtype)
    return wrapper, turns


def pointwise(rng, dtype):
    layers = keras.layers
    return rng.choice(
        [
            lambda: layers.Dense(4, activation=str(rng.choice(OUTER)), dtype=dtype),
            lambda: layers.Dense(2, use_bias=False, activation=layers.LeakyReLU(0.1, dtype=dtype), dtype=dtype),
            lambda: layers.TimeDistributed(layers.Dense(3, activation="softmax", dtype=dtype), dtype=dtype),
            lambda: layers.TimeDistributed(layers.LayerNormalization(dtype=dtype), dtype=dtype),
            lambda: layers.LayerNormalization(epsilon=0.01, scale=bool(rng.random() < 0.5), dtype=dtype),
            lambda: layers.LayerNormalization(center=False, scale=False, dtype=dtype),
            lambda: layers.Dropout(0.3, dtype=dtype),
            lambda: layers.SpatialDropout1D(0.3, dtype=dtype),
            lambda: layers.GaussianNoise(0.3, dtype=dtype),
            lambda: layers.Activation(str(rng.choice(OUTER)), dtype=dtype),
            lambda: layers.ReLU(threshold=0.2, dtype=dtype),
            lambda: layers.ELU(0.7, dtype=dtype),
        ]
    )()


def random_model(rng, dtype):
    """Layers in a row, how they are joined, and what is masked. A mask is in place for a part of them."""
    masked, tokens = bool(rng.random() < 0.5), bool(rng.random() < 0.3)
    layers = [keras.layers.Embedding(7, FEATURES, mask_zero=masked, dtype=dtype)] if tokens else []
    if masked and not tokens:
        layers = [keras.layers.Masking(0.25, dtype=dtype)]
    turned = False
    for last in [False] * int(rng.integers(0, 3)) + [True]:
        layers += [pointwise(rng, dtype) for _ in range(rng.integers(0, 2))]
        layer, turns = recurrent(rng, dtype, sequences=not last or bool(rng.random() < 0.5))
        stacked = len(getattr(getattr(layer, "cell", None), "cells", "")) > 1
        while masked and turns and (stacked or not last):  # refused: Keras would hand on the mask in the old order
            layer, turns = recurrent(rng, dtype, sequences=not last)
        turned ^= turns
        layers.append(layer)
    if getattr(layers[-1], "return_sequences", False):
        layers += [pointwise(rng, dtype) for _ in range(rng.integers(0, 2))]
        if rng.random() < 0.5 and not (masked and turned):
            pools = [keras.layers.GlobalAveragePooling1D, keras.layers.GlobalMaxPooling1D]
            layers.append(pools[0 if masked else rng.integers(2)](dtype=dtype))
    else:
        layers.append(keras.layers.Dense(2, activation=str(rng.choice(["softmax", "linear"])), dtype=dtype))
    shape = (None,) if tokens else (None, FEATURES)
    source = keras.Input(shape, dtype="int32" if tokens else dtype)
    return join(rng, source, layers), masked, tokens, turned


def join(rng, source, layers):
    """The same layers as a Sequential model, a functional one, or with a nested one in the middle."""
    form = rng.integers(3)
    if form == 2 and len(layers) > 2:
        layers = [layers[0], keras.Sequential(layers[1:-1]), layers[-1]]
    if form == 0:
        return keras.Sequential([source, *layers])
    y = source
    for layer in layers:
        y = layer(y)
    return keras.Model(source, y)


def example(rng, masked, tokens, dtype):
    """A batch, and which of its steps are real: no mask leaves a sequence without any."""
    batch, time = int(rng.integers(2, 5)), int(rng.integers(4, 8))
    real = np.ones((batch, time), bool)
    if masked:
        real = rng.random((batch, time)) < 0.6
        real[:, rng.integers(time)] = True
    if tokens:
        return np.where(real, rng.integers(1, 7, (batch, time)), 0 if masked else 2).astype("int32"), real
    x = rng.standard_normal((batch, time, FEATURES)).astype(dtype)
    x[~real] = 0.25
    return x, real


def given(model, rng, folder):
    """The model as one of the sources that are read."""
    suffix = rng.choice([".keras", ".h5", "live"])
    if suffix == "live":
        return model
    path = str(folder / f"model{suffix}")
    model.save(path)
    return path


@pytest.fixture(autouse=True)
def double(monkeypatch):
    """Lets Keras compute float64 layers in float64, as it does with TensorFlow; with PyTorch it rounds to float32."""
    from keras.src.backend.common import dtypes

    monkeypatch.setitem(dtypes.BIT64_TO_BIT32_DTYPE, "float64", "float64")


@pytest.mark.parametrize("seed", range(130))
def test_random_models(seed, tmp_path):
    rng = np.random.default_rng(seed)
    dtype = ["float32", "float64"][seed % 2]
    model, masked, tokens, turned = random_model(rng, dtype)
    shuffled(model, rng)
    x, real = example(rng, masked, tokens, dtype)
    net = from_keras(given(model, rng, tmp_path))
    want, (y, _), (again, _) = numbers(model(x)), net(x), net(x)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, again)
    if want.ndim == 3 and masked:
        order = real[:, ::-1] if turned else real
        want, y = want[order], y[np.arange(real.shape[1]) < real.sum(1)[:, None]]
    np.testing.assert_allclose(y, want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    assert np.isfinite(want).all()
    and_back(net, model, x, tmp_path)


def and_back(net, model, x, folder):
    """elman -> Keras -> elman: the same network to the last bit; Keras computes the same in between."""
    to_keras(net, folder / "back.keras")
    opened = keras.saving.load_model(folder / "back.keras")
    tolerance = TOLERANCE[str(net.dtype)]
    np.testing.assert_allclose(numbers(opened(x)), numbers(model(x)), rtol=tolerance, atol=tolerance)
    same = from_keras(folder / "back.keras")
    assert same.config == net.config
    for name, array in net.parameters.items():
        np.testing.assert_array_equal(same.parameters[name], array)


KINDS = [
    ("SimpleRNN", {"activation": "tanh"}),
    ("SimpleRNN", {"activation": "softplus"}),
    ("LSTM", {}),
    ("LSTM", {"activation": "softsign", "recurrent_activation": "hard_sigmoid"}),
    ("GRU", {"reset_after": True}),
    ("GRU", {"reset_after": False}),
    ("GRU", {"reset_after": True, "activation": "relu", "recurrent_activation": "hard_sigmoid"}),
]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_initial_and_final_states(kind, options, bidirectional, dtype):
    """The states of Keras and those here, in every step and at the end; the chain uses the outputs alone."""
    rng = np.random.default_rng(3)
    layer = getattr(keras.layers, kind)(5, return_sequences=True, return_state=True, dtype=dtype, **options)
    layer = keras.layers.Bidirectional(layer, dtype=dtype) if bidirectional else layer
    source = keras.Input((None, 4), dtype=dtype)
    model = shuffled(keras.Model(source, layer(source)[0]), rng)
    net = from_keras(model)
    count = 2 if kind == "LSTM" else 1
    x = rng.standard_normal((3, 6, 4)).astype(dtype)
    states = [rng.standard_normal((3, 5)).astype(dtype) for _ in range(count * (1 + bidirectional))]
    want, *ends = (numbers(part) for part in layer(x, initial_state=states))
    # Keras: h and c forwards, then h and c backwards. Here: both directions of h, then of c.
    parts = [np.stack(states[i::count]) if bidirectional else states[i] for i in range(count)]
    y, (end,) = net(x, [tuple(parts) if count == 2 else parts[0]])
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    np.testing.assert_allclose(y, want, **tolerance)
    for i, part in enumerate(end if count == 2 else (end,)):
        np.testing.assert_allclose(part, np.stack(ends[i::count]) if bidirectional else ends[i], **tolerance)


# Everything read wrongly once: each of these tests shows that the comparison above would see it.


def difference(kind, options, change=lambda net: None):
    """The largest difference between Keras and the network, which `change` may spoil, or give another one for."""
    rng = np.random.default_rng(4)
    model = keras.Sequential([keras.Input((None, 4), dtype="float64"), layer_of(kind, options)])
    shuffled(model, rng)
    net = from_keras(model)
    net = change(net) or net
    x = rng.standard_normal((3, 6, 4))
    return abs(net(x)[0] - numbers(model(x))).max()


def layer_of(kind, options):
    return getattr(keras.layers, kind)(5, return_sequences=True, dtype="float64", **options)


@pytest.mark.parametrize(("kind", "cell", "order"), [("LSTM", "lstm", "ifgo"), ("GRU", "gru", "zrn")])
def test_every_wrong_order_of_gates_is_seen(kind, cell, order, monkeypatch):
    right = CONVENTIONS["keras"]
    for gates in itertools.permutations(order):
        monkeypatch.setitem(CONVENTIONS, "keras", replace(right, gates={**right.gates, cell: "".join(gates)}))
        wrong = "".join(gates) != order
        assert (difference(kind, {}) > 1e-3) == wrong, gates


def test_the_other_sense_of_the_update_gate_is_seen(monkeypatch):
    monkeypatch.setitem(CONVENTIONS, "keras", replace(CONVENTIONS["keras"], update="new"))
    for form in (True, False):
        assert difference("GRU", {"reset_after": form}) > 1e-3


def test_a_wrong_split_of_biases_is_seen():
    def swap(net):
        layer = net.layers[0]
        layer.b[10:], layer.bn[...] = layer.bn.copy(), layer.b[10:].copy()

    def drop(net):
        net.layers[0].bn[...] = 0

    assert difference("GRU", {"reset_after": True}) < 1e-10
    assert difference("GRU", {"reset_after": True}, swap) > 1e-3
    assert difference("GRU", {"reset_after": True}, drop) > 1e-3


def test_the_other_reset_form_is_seen():
    def other(net):
        return net.replace(layers=[net.layers[0].replace(reset_after=False)])

    assert difference("GRU", {"reset_after": True, "use_bias": False}) < 1e-10
    assert difference("GRU", {"reset_after": True, "use_bias": False}, other) > 1e-3


def test_swapped_directions_are_seen():
    rng = np.random.default_rng(5)
    both = keras.layers.Bidirectional(layer_of("LSTM", {}), dtype="float64")
    model = shuffled(keras.Sequential([keras.Input((None, 4), dtype="float64"), both]), rng)
    x, layer = rng.standard_normal((3, 6, 4)), from_keras(model).layers[0]
    forward = ("Wx", "Wh", "b")
    swapped = {name: layer.parameters[f"{name}_reverse"] for name in forward}
    swapped |= {f"{name}_reverse": layer.parameters[name] for name in forward}
    wrong = elman.LSTM.from_parameters(layer.config, swapped)
    assert abs(layer(x)[0] - numbers(model(x))).max() < 1e-10
    assert abs(wrong(x)[0] - numbers(model(x))).max() > 1e-3


# What one test each is worth.


@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave"])
@pytest.mark.parametrize("sequences", [True, False])
def test_two_outputs_merged_by_another_layer(mode, sequences):
    merge = {"concat": "Concatenate", "sum": "Add", "mul": "Multiply", "ave": "Average"}[mode]
    rng = np.random.default_rng(6)
    source = keras.Input((None, 4))
    both = keras.layers.Bidirectional(keras.layers.GRU(5, return_sequences=sequences), merge_mode=None)(source)
    model = shuffled(keras.Model(source, getattr(keras.layers, merge)()(both)), rng)
    x = rng.standard_normal((3, 6, 4)).astype("float32")
    np.testing.assert_allclose(from_keras(model)(x)[0], numbers(model(x)), rtol=1e-5, atol=1e-5)


def test_a_description_in_any_order():
    """The layers of a functional model are listed as it pleases the file; the graph says how they follow."""
    rng = np.random.default_rng(7)
    source = keras.Input((None, 4))
    y = keras.layers.Dense(3)(keras.layers.LSTM(5)(keras.layers.LSTM(2, return_sequences=True)(source)))
    model = shuffled(keras.Model(source, y), rng)
    turned = json.loads(model.to_json())
    turned["config"]["layers"].reverse()
    x = rng.standard_normal((3, 6, 4)).astype("float32")

    class Model:
        name, layers = "turned", model.layers

        def to_json(self):
            return json.dumps(turned)

        def get_weights(self):
            return model.get_weights()

    np.testing.assert_allclose(from_keras(Model())(x)[0], numbers(model(x)), rtol=1e-5, atol=1e-5)


def test_weights_alone_for_a_network_of_the_same_layers(tmp_path):
    rng = np.random.default_rng(8)
    layers = [keras.layers.Bidirectional(keras.layers.GRU(5)), keras.layers.Dense(2), keras.layers.Dense(3)]
    model = shuffled(keras.Sequential([keras.Input((None, 4)), *layers]), rng)
    model.save_weights(tmp_path / "model.weights.h5")
    net = elman.Network(
        [elman.GRU(4, 5, bidirectional=True), elman.LastStep(bidirectional=True), elman.Dense(10, 2), elman.Dense(2, 3)]
    )
    x = rng.standard_normal((3, 6, 4)).astype("float32")
    before = net(x)[0]
    filled = from_keras(tmp_path / "model.weights.h5", like=net)
    np.testing.assert_allclose(filled(x)[0], numbers(model(x)), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(net(x)[0], before)
    other = elman.Network([elman.GRU(4, 5), elman.Dense(5, 2)])
    with pytest.raises(elman.FormatError, match="gru"):
        from_keras(tmp_path / "model.weights.h5", like=other)


def test_a_stateful_layer_goes_on_from_the_state_that_is_handed_on():
    rng = np.random.default_rng(9)
    layer = keras.layers.LSTM(5, return_sequences=True, stateful=True)
    model = shuffled(keras.Sequential([keras.Input((4, 3), batch_size=2), layer]), rng)
    x = rng.standard_normal((2, 8, 3)).astype("float32")
    net = from_keras(model)
    first, second = numbers(model(x[:, :4])), numbers(model(x[:, 4:]))
    y, state = net(x[:, :4])
    np.testing.assert_allclose(y, first, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(net(x[:, 4:], state)[0], second, rtol=1e-5, atol=1e-5)


# What is refused, each with its reason.

L = keras.layers


def masked(x):
    """Steps that are left out, as a layer uses the mask."""
    return L.GRU(4, return_sequences=True)(L.Masking()(x))


REFUSED = {
    "a layer of its own": (lambda x: L.SeparableConv1D(2, 3)(x), "SeparableConv1D"),
    "code": (lambda x: L.Lambda(lambda v: v * 2, output_shape=(None, 4))(x), "Lambda"),
    "an activation": (lambda x: L.Dense(2, activation="mish")(x), "mish"),
    "gates over features": (lambda x: L.LSTM(2, activation="softmax")(x), "softmax"),
    "groups": (lambda x: L.Conv1D(2, 3, groups=2)(x), "groups must be 1"),
    "scores": (lambda x: L.Attention()([x, x], return_attention_scores=True)[0], "return_attention_scores"),
    "a key of another mask": (lambda x: L.Attention()([x, masked(x), x]), "key must have the mask"),
    "steps side by side": (lambda x: L.Concatenate(axis=1)([x, x]), "axis must be -1"),
    "one mask of two": (lambda x: L.Add()([masked(x), x]), "values of one mask"),
    "one mask of two side by side": (lambda x: L.GRU(2)(L.Concatenate()([masked(x), x])), "values of one mask"),
    "a convolution over a mask": (lambda x: L.Conv1D(2, 3)(masked(x)), "after masked steps"),
    "zeros that no layer skips": (lambda x: L.Conv1D(2, 3)(L.Masking(0.5)(x)), "mask_value must be 0"),
    "half precision": (lambda x: L.LSTM(2, dtype="mixed_float16")(x), "mixed_float16"),
    "two dtypes": (lambda x: L.Dense(2, dtype="float64")(L.LSTM(2)(x)), "float32, as that of"),
    "a maximum": (lambda x: L.ReLU(max_value=6.0)(x), "max_value"),
    "another axis": (lambda x: L.Softmax(axis=1)(x), "axis must be -1"),
    "a masked maximum": (lambda x: L.GlobalMaxPooling1D()(masked(x)), "after masked steps"),
    "a softmax that a mask changes": (lambda x: L.TimeDistributed(L.Softmax())(L.Masking()(x)), "after masked steps"),
    "two masks": (lambda x: L.LSTM(2)(L.Masking(1.0)(masked(x))), "only mask"),
    "backwards over a mask": (
        lambda x: L.LSTM(2)(L.LSTM(2, return_sequences=True, go_backwards=True)(L.Masking()(x))),
        "goes backwards",
    ),
    "zeros for a mask": (lambda x: L.LSTM(2, zero_output_for_mask=True)(L.Masking()(x)), "zero_output_for_mask"),
    "zeros of an unrolled layer": (
        lambda x: L.Bidirectional(
            L.GRU(2, return_sequences=True, unroll=True, zero_output_for_mask=True), merge_mode="sum"
        )(L.Masking()(x)),
        "where unroll goes backwards",
    ),
    "a normalization of its own": (lambda x: L.GroupNormalization(2)(x), "GroupNormalization"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_reason(name, tmp_path):
    build, reason = REFUSED[name]
    source = keras.Input((6, 4))
    model = keras.Model(source, build(source))
    model.save(tmp_path / "model.keras")
    for given in (model, tmp_path / "model.keras"):
        with pytest.raises(elman.FormatError, match=reason) as error:
            from_keras(given)
        assert "model.keras" in str(error.value) or "the Keras model" in str(error.value)


def test_shared_weights_are_refused():
    one, shared = keras.Input((6, 4)), L.Dense(4)
    with pytest.raises(elman.FormatError, match="used once"):
        from_keras(keras.Model(one, shared(shared(one))))
