"""Options are one truth: fixed when a layer is made, and what is computed, shown, saved and streamed; `replace`."""

from __future__ import annotations

import copy
import inspect
import json
import pickle

import numpy as np
import pytest

import elman
from elman.layers import LAYERS
from test_gradients import LEAKY

ELU = elman.Activation("elu", alpha=0.3)
RECURRENT = {
    "input_size": 3,
    "hidden_size": 6,
    "bidirectional": True,
    "dtype": "float64",
    "recurrent_dropout": 0.25,
    "zoneout": 0.5,
    "learned_state": True,
}
LSTM_OPTIONS = {
    "peepholes": True,
    "coupled": True,
    "projection": 2,
    "clip": 0.5,
    "cell_clip": 0.25,
    "activations": {"g": ELU},
}


def fading_step(x, state, weights, mask=None):
    (h,), (Wx, Wh) = state, weights
    n = np.tanh(x @ Wx + (h if mask is None else h * mask) @ Wh)
    return (0.5 * h + 0.5 * n,), {"n": n}


def fading_step_derivative(x, state, weights, kept, dnext, mask=None):
    (h,), (Wx, Wh), (dh,), m = state, weights, dnext, 1 if mask is None else mask
    da = 0.5 * dh * (1 - kept["n"] ** 2)
    return da @ Wx.T, (0.5 * dh + m * (da @ Wh.T),), (x.T @ da, (m * h).T @ da)


FADING = elman.Cell(
    "fading",
    {"Wx": ("input", "hidden"), "Wh": ("hidden", "hidden")},
    ("h",),
    fading_step,
    fading_step_derivative,
    takes_mask=True,
)

#: Every class: how one is made, with sizes that all differ, and another value for every option.
KINDS = {
    "Activate": ({"activation": "tanh"}, {"activation": "softmax"}),
    "Attention": (
        {"query_size": 4, "memory_size": 3, "units": 5},
        {"query_size": 3, "memory_size": 6, "units": 2, "kind": "additive", "scaled": False, "dtype": "float64"},
    ),
    "AveragePool1d": ({"width": 2}, {"width": 3, "stride": 1, "padding": "same"}),
    "BatchNorm": ({"size": 4}, {"size": 3, "momentum": 0.5, "epsilon": 0.5, "dtype": "float64"}),
    "Conv1d": (
        {"input_size": 4, "output_size": 5, "width": 3},
        {"input_size": 3, "output_size": 6, "width": 2, "stride": 2, "dilation": 2, "padding": (1, 2)}
        | {"activation": ELU, "dtype": "float64"},
    ),
    "Bidirectional": (
        {"forward": elman.LSTM(4, 5, seed=3), "backward": elman.GRU(4, 5, seed=4)},
        {"first": elman.RNN(4, 5, seed=5), "second": elman.GRU(4, 3, learned_state=True, seed=6), "merge": "mean"},
    ),
    "Dense": (
        {"input_size": 4, "output_size": 5},
        {"input_size": 3, "output_size": 6, "activation": ELU, "dtype": "float64"},
    ),
    "Dropout": ({"rate": 0.5}, {"rate": 0.25, "per_sequence": True}),
    "Embedding": ({"count": 7, "size": 4}, {"count": 8, "size": 3, "dtype": "float64"}),
    "GRU": (
        {"input_size": 4, "hidden_size": 5},
        {**RECURRENT, "reset_after": False, "clip": 0.5, "activations": {"r": ELU}},
    ),
    "LSTM": ({"input_size": 4, "hidden_size": 5}, {**RECURRENT, "layer_norm": True, **LSTM_OPTIONS}),
    "LastStep": ({}, {"bidirectional": True}),
    "LastSteps": ({"input_size": 4, "count": 2}, {"input_size": 3, "count": 3}),
    "LayerNorm": ({"size": 4}, {"size": 3, "epsilon": 0.5, "dtype": "float64"}),
    "Masking": ({}, {"value": 0.5}),
    "MaxOverTime": ({}, {}),
    "MaxPool1d": ({"width": 2}, {"width": 3, "stride": 1, "padding": (0, 1)}),
    "MeanOverTime": ({}, {}),
    "MergeDirections": ({"mode": "sum"}, {"mode": "mul"}),
    "RNN": ({"input_size": 4, "hidden_size": 5}, {**RECURRENT, "activation": ELU, "clip": 0.25}),
    "Recurrent": ({"cell": FADING, "input_size": 4, "hidden_size": 5}, {**RECURRENT, "cell": LEAKY}),
    "Repeat": ({"count": 2}, {"count": 3}),
    "Reverse": ({}, {}),
    "Scale": ({"size": 4, "shift": 0.5, "factor": 2.0}, {"size": 3, "shift": 0.25, "factor": -1.5}),
}
OPTIONS = [(kind, option) for kind, (_, others) in KINDS.items() for option in others]
STARTING = {"seed", "initializer", "forget_bias"}  # how weights start is no option: a layer holds the weights


ARGUMENTS = {"first": "forward", "second": "backward"}  # options by other names


def new(kind, /, **options):
    """A layer with weights that are all different."""
    options = {ARGUMENTS.get(name, name): value for name, value in options.items()}
    made = {**KINDS[kind][0], **options}
    copies = {name: value.replace() if isinstance(value, elman.Layer) else value for name, value in made.items()}
    layer = LAYERS[kind](**copies)
    rng = np.random.default_rng(len(kind))
    for array in layer.parameters.values():
        array[...] = rng.normal(size=array.shape)
    return layer


def inputs(layer, dtype="float32"):
    rng = np.random.default_rng(5)
    if isinstance(layer, elman.Attention):
        return {
            "query": rng.normal(size=(2, 6, layer.query_size)),
            "memory": rng.normal(size=(2, 7, layer.memory_size)),
        }
    if layer.takes_tokens:
        return rng.integers(0, layer.count, (2, 6))
    x = rng.normal(size=(2, 6, layer.input_size or 4)).astype(dtype)
    x[0, 2] = 0.5  # for a Masking
    x = x[:, 0] if layer.takes_vectors else x
    return x


def network(layer):
    """A network of one layer."""
    return elman.Network([layer] if layer.reads == 1 else {"0": (layer, "query", "memory")})


def facts(layer):
    """What is shown, what is computed, and with which gradients."""
    x, runs = inputs(layer), copy.deepcopy(layer if layer.reads == 1 else network(layer))  # training moves statistics
    y, state, tape = runs.forward(x, rng=np.random.default_rng(3))
    dx, _, gradients = runs.backward(tape, np.ones_like(y))
    plain, _ = runs(x)
    return repr(layer), json.dumps(layer.config, default=repr), [y, plain, state, dx, gradients, dict(layer.parameters)]


def assert_same(a, b):
    assert a[:2] == b[:2]
    np.testing.assert_equal(a[2], b[2])


def test_every_class_and_every_option_is_tried_here():
    assert {*KINDS, "Network", "Add", "Concatenate", "Multiply"} == set(LAYERS)  # the last three have no options
    for kind, (_, others) in KINDS.items():
        assert set(inspect.signature(LAYERS[kind]).parameters) - STARTING == {ARGUMENTS.get(o, o) for o in others}


@pytest.mark.parametrize(("kind", "option"), OPTIONS)
def test_an_option_cannot_be_assigned_or_deleted(kind, option):
    layer, value = new(kind), KINDS[kind][1][option]
    before = facts(layer)
    words = rf"{option} of {kind} cannot be assigned; layer\.replace\({option}=\.\.\.\) gives a new layer\. Got"
    for _ in range(2):
        with pytest.raises(AttributeError, match=words):
            setattr(layer, option, value)
        with pytest.raises(AttributeError, match=f"{option} of {kind} cannot be deleted"):
            delattr(layer, option)
        with pytest.raises(TypeError, match=r"layer\.replace"):
            layer.config[option] = value
    assert_same(facts(layer), before)


@pytest.mark.parametrize(("kind", "option"), OPTIONS)
def test_a_replaced_option_is_what_a_new_layer_computes(kind, option, tmp_path):
    layer, value = new(kind), KINDS[kind][1][option]
    before = facts(layer)
    for _ in range(2):
        made = layer.replace(**{option: value}, seed=2)
        fresh = new(kind, **{option: value})
        assert (repr(made), made.config) == (repr(fresh), fresh.config)
        assert list(made.parameters) == list(fresh.parameters)
        for name, array in made.parameters.items():
            old = layer.parameters.get(name)
            if old is not None and old.shape == array.shape:
                np.testing.assert_array_equal(array, old)
                assert not np.shares_memory(array, old)
            fresh.parameters[name][...] = array
        assert_same(facts(made), facts(fresh))
        assert_same(facts(layer), before)
    assert layer.replace(**{option: value}, seed=2).config == made.config
    np.testing.assert_equal(dict(layer.replace(**{option: value}, seed=2).parameters), dict(made.parameters))
    net = network(made)
    net.save(tmp_path / "net.safetensors")
    again = elman.load(tmp_path / "net.safetensors", cells={"leaky": LEAKY, "fading": FADING})
    assert again.config == net.config
    assert_same(facts(again.layers[0]), facts(made))
    if not made.needs_whole_sequences:
        streams = [elman.Network([each]).stream(2).run(inputs(made)) for each in (made, fresh)]
        np.testing.assert_array_equal(*streams)


@pytest.mark.parametrize(("kind", "option"), OPTIONS)
def test_an_option_can_be_read(kind, option):
    layer = new(kind, **{option: KINDS[kind][1][option]} if (kind, option) != ("LSTM", "layer_norm") else {})
    value = getattr(layer, option)
    assert option in dir(layer)
    default = inspect.signature(LAYERS[kind]).parameters[ARGUMENTS.get(option, option)].default
    written = layer.config.get(option, default)
    if isinstance(value, elman.Layer):
        value = {"type": type(value).__name__, **value.config}
    as_config = value.to_config() if isinstance(value, elman.Activation) else value
    assert as_config == written if option != "dtype" else str(value) == written


@pytest.mark.parametrize("kind", KINDS)
def test_what_follows_from_options_is_fixed_too(kind):
    layer = new(kind)
    before = facts(layer)
    for name in (
        "config",
        "parameters",
        "dtype",
        "input_size",
        "output_size",
        "stateful",
        "needs_whole_sequences",
        "layers",
    ):
        with pytest.raises(AttributeError, match=r"cannot be assigned; layer\.replace"):
            setattr(layer, name, None)
    for typo in ("actvation", "Wxx", "rates", "layer"):
        with pytest.raises(AttributeError, match=f"{kind} has no attribute '{typo}'.*replace"):
            setattr(layer, typo, 1)
        with pytest.raises(AttributeError, match=f"{kind} has no attribute '{typo}'"):
            getattr(layer, typo)
    with pytest.raises(ValueError, match=r"options.*Got 'actvation'"):
        layer.replace(actvation="relu")
    assert_same(facts(layer), before)


def test_the_nearest_option_is_named():
    with pytest.raises(AttributeError, match="Did you mean 'activation'"):
        new("Dense").actvation = "relu"
    with pytest.raises(
        ValueError, match=r"options of LSTM must be among input_size.*Got 'peephole'\. Did you mean 'peep"
    ):
        new("LSTM").replace(peephole=True)
    with pytest.raises(ValueError, match=r"Reverse must have no options\. Got 'mode'"):
        elman.Reverse().replace(mode="sum")
    with pytest.raises(ValueError, match="rate must be"):
        new("Dropout").replace(rate=2)


@pytest.mark.parametrize("change", [
    lambda config: config.update(rate=1), lambda config: config.clear(), lambda config: config.popitem(),
    lambda config: config.pop("type"), lambda config: config.setdefault("a", 1), lambda config: config.__ior__({}),
    lambda config: config.__delitem__("type"), lambda config: config.__setitem__("activations", {}),
])  # fmt: skip
def test_a_config_cannot_be_changed_at_any_depth(change):
    net = elman.Network([elman.Network([new("LSTM", activations={"g": ELU, "i": "relu"})])])
    before = copy.deepcopy(net.config)
    assert isinstance(net.config["layers"][0]["layers"], tuple)
    inner = net.config["layers"][0]["layers"][0]
    for part in (net.config, inner, inner["activations"], inner["activations"]["g"], net.layers[0].layers[0].config):
        with pytest.raises(TypeError, match="options cannot be changed in place"):
            change(part)
    assert net.config == before


def test_what_is_handed_in_and_changed_later_changes_nothing():
    chosen, layers = {"g": "relu"}, [new("LSTM")]
    layer, net = new("LSTM", activations=chosen), elman.Network(layers)
    chosen["g"] = "tanh"
    layers.append(new("Dense"))
    assert layer.config["activations"] == {"g": "relu"}
    assert len(net.layers) == 1
    weights, options = {"Wx": ["input", "hidden"], "Wh": ("hidden", "hidden")}, {"leak": [0.5]}
    cell = elman.Cell("mine", weights, ("h",), LEAKY.step, LEAKY.step_derivative, options=options)
    weights["b"], options["leak"][0] = ("hidden",), 0.25
    assert list(cell.weights) == ["Wx", "Wh"]
    assert cell.options == {"leak": (0.5,)}
    for part in (cell.weights, cell.options, cell.starts, cell.peepholes, cell.inner_biases):
        with pytest.raises(TypeError):
            part["b"] = ("hidden",)
    with pytest.raises(AttributeError):
        cell.options = {}


def test_an_activation_is_a_value():
    layer = new("Dense", activation=ELU)
    for name, value in {"name": "tanh", "parameters": {}, "alpha": 1.0}.items():
        with pytest.raises(AttributeError, match="cannot be assigned"):
            setattr(layer.activation, name, value)
    with pytest.raises(AttributeError, match="must keep"):
        del layer.activation.name
    with pytest.raises(TypeError):
        layer.activation.parameters["alpha"] = 1.0
    assert pickle.loads(pickle.dumps(ELU)) == copy.deepcopy(ELU) == ELU


def test_weights_are_live_and_no_array_takes_the_place_of_another():
    layer = new("LSTM")
    net = elman.Network([elman.Network([layer]), new("Dense", input_size=5)])
    x, stream = inputs(net), net.stream(2)
    y = net(x)[0]
    for parameters in (net.parameters, layer.parameters):
        with pytest.raises(TypeError, match="written into"):
            parameters[next(iter(parameters))] = np.ones(3)
    with pytest.raises(AttributeError, match="cannot be deleted"):
        del layer.Wx
    np.testing.assert_array_equal(net(x)[0], y)
    net.parameters["0.0.Wx"][...] += 1
    assert np.shares_memory(net.parameters["0.0.Wx"], layer.Wx)
    layer.b = np.zeros(20)
    np.testing.assert_array_equal(net.parameters["0.0.b"], np.zeros(20))
    assert (net(x)[0] != y).any()
    np.testing.assert_allclose(net.stream(2).run(x), net(x)[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(stream.run(x), y, rtol=1e-5, atol=1e-6)  # an older stream keeps its weights


def test_the_layers_of_a_network_cannot_be_changed():
    net = elman.Network([new("GRU"), new("Dense", input_size=5)])
    other = elman.Dense(5, 2, "tanh", seed=4)
    with pytest.raises(AttributeError, match=r"layers of Network cannot be assigned; net\.replace\(layers="):
        net.layers = [other]
    with pytest.raises(TypeError):
        net.layers[1] = other
    with pytest.raises(AttributeError, match="has no attribute 'layer'"):
        net.layer = 1
    made = net.replace(layers=[net.layers[0], other])
    assert made.layers[1].config == other.config
    np.testing.assert_array_equal(made.layers[1].W, other.W)
    assert not np.shares_memory(made.layers[1].W, other.W)
    assert not np.shares_memory(made.layers[0].Wx, net.layers[0].Wx)
    with pytest.raises(ValueError, match=r"options of Network must be among layers, outputs\. Got 'layer'"):
        net.replace(layer=[])
    with pytest.raises(elman.ShapeError):
        net.replace(layers=[net.layers[0], elman.Dense(4, 2)])
    for wrong in (["a"], "a", other, 3, [None]):
        with pytest.raises(TypeError, match="must be a"):
            net.replace(layers=wrong)


class Named(elman.Network):
    """A network of one's own, with a constructor of its own."""

    def __init__(self, size):
        super().__init__([elman.GRU(size, size, seed=0), elman.Dropout(0.5)])
        self._name = "named"


def test_a_network_of_ones_own():
    net = Named(4)
    for twin in (net.replace(), net.astype("float32"), copy.copy(net), pickle.loads(pickle.dumps(net))):
        assert (type(twin), twin._name, twin.config) == (Named, "named", net.config)
        np.testing.assert_array_equal(twin(inputs(net))[0], net(inputs(net))[0])
        assert not np.shares_memory(twin.layers[0].Wx, net.layers[0].Wx)
    assert net.astype("float64").layers[0].dtype == np.float64


class Leaky(elman.Recurrent):
    """A layer of one's own: a constructor of its own, and something that it keeps."""

    def __init__(self, size, **options):
        super().__init__(FADING, size, size, **options)
        self._told = size


def test_a_subclass_with_a_constructor_of_its_own():
    layer = Leaky(4, seed=0)
    x = inputs(layer)
    made = layer.replace(zoneout=0.5)
    assert (type(made), made._told, made.zoneout) == (Leaky, 4, 0.5)
    assert (made(x)[0] != layer(x)[0]).any()
    assert layer.astype("float64").Wx.dtype == np.float64
    for twin in (copy.copy(layer), copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), layer.replace()):
        assert twin._told == 4
        np.testing.assert_array_equal(twin(x)[0], layer(x)[0])
    with pytest.raises(AttributeError, match="replace"):
        layer.cell = LEAKY
    with pytest.raises(AttributeError, match=r"its options cell.*replace"):
        layer.told = 4
    for twin in (copy.copy(layer), copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin.config["cell"] is twin.cell


@pytest.mark.parametrize("twin", [
    copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value)), lambda value: value.replace(),
], ids=["copy", "deepcopy", "pickle", "replace"])  # fmt: skip
@pytest.mark.parametrize("kind", [*KINDS, "Network"])
def test_copies_are_equal_and_independent(kind, twin):
    layer = elman.Network([elman.Network([new("GRU")]), new("Dense", input_size=5)]) if kind == "Network" else new(kind)
    before = facts(layer)
    other = twin(layer)
    assert_same(facts(other), before)
    for name, array in other.parameters.items():
        assert not np.shares_memory(array, layer.parameters[name])
        array += 1
    assert_same(facts(layer), before)
    if kind == "Network":
        np.testing.assert_array_equal(other.layers[0].layers[0].Wx, other.parameters["0.0.Wx"])
        assert np.shares_memory(other.layers[1].W, other.parameters["1.W"])
    if layer.parameters:
        assert (facts(other)[2][1] != before[2][1]).any()
