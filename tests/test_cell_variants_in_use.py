"""The variants of the cells in use: streams, files, training, what layers say, how weights start, what is refused."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from safetensors.numpy import save_file

import elman
from elman import Activation, engine
from elman.cells import CELLS
from test_cell_variants import ALL, EVERY, F64, GRUS, LSTM_OPTIONS, SOME, H, I, each
from test_gradients import LEAKY, check_recurrent, random_parameters


@each(SOME)
def test_streams_equal_the_batch(make, options):
    layer = make(I, H, zoneout=0.2, learned_state=True, seed=0, **options, **F64)
    net = elman.Network([layer, elman.Dense(layer.output_size, 2, seed=1, **F64)])
    random_parameters(net, np.random.default_rng(5))
    x = np.random.default_rng(6).normal(size=(4, 7, I))
    whole, (end,) = net(x)
    one, many = net.stream(), pickle.loads(pickle.dumps(net.stream(4)))
    for _ in range(2):
        np.testing.assert_allclose([one.step(row) for row in x[2]], whole[2], rtol=1e-12)
        np.testing.assert_allclose(np.stack([many.step(x[:, t]) for t in range(7)], axis=1), whole, rtol=1e-12)
        for got, want in zip(many.state[0], end, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-12)
        one.reset()
        many.reset([0, 1])
        many.reset([2, 3])
    alone = elman.Network([layer]).stream()
    out = np.empty(layer.output_size)
    np.testing.assert_array_equal(alone.copy().step(x[0, 0]), alone.step(x[0, 0], out=out))
    np.testing.assert_array_equal(alone.state[0][0] if make is elman.LSTM else alone.state[0], out)


@each(SOME)
def test_saved_and_pickled(tmp_path, make, options):
    layer = make(I, H, bidirectional=True, learned_state=True, seed=0, **options)
    custom = elman.Recurrent(layer.cell, layer.output_size, 4, seed=1)
    net = elman.Network([layer, custom])
    random_parameters(net, np.random.default_rng(5))
    x = np.random.default_rng(6).normal(size=(2, 4, I))
    net.save(tmp_path / "net")
    for again in (elman.load(tmp_path / "net"), pickle.loads(pickle.dumps(net))):
        assert repr(again) == repr(net)
        assert again.config == net.config
        assert list(again.parameters) == list(net.parameters)
        np.testing.assert_array_equal(again(x)[0], net(x)[0])
        y, _, tape = net.forward(x)
        for got, want in zip(again.backward(tape, y)[2].values(), net.backward(tape, y)[2].values(), strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("description", "make"),
    [
        ({"type": "RNN", "input_size": 2, "hidden_size": 3, "activation": "relu"}, lambda: elman.RNN(2, 3, "relu")),
        ({"type": "GRU", "input_size": 2, "hidden_size": 3, "reset_after": False}, lambda: elman.GRU(2, 3, False)),
        ({"type": "LSTM", "input_size": 2, "hidden_size": 3}, lambda: elman.LSTM(2, 3)),
        (
            {"type": "LSTM", "input_size": 2, "hidden_size": 3, "layer_norm": True},
            lambda: elman.LSTM(2, 3, layer_norm=True),
        ),
    ],
    ids=str,
)
def test_files_from_before_the_options_load(tmp_path, description, make):
    layer = make()
    description = {**description, "bidirectional": False, "dtype": "float32"}
    tensors = {f"0.{name}": array for name, array in layer.parameters.items()}
    header = json.dumps({"version": 1, "network": {"layers": [description]}})
    save_file(tensors, tmp_path / "old", metadata={"elman": header})
    net = elman.load(tmp_path / "old")
    assert net.layers[0].config == layer.config
    x = np.random.default_rng(0).normal(size=(2, 4, 2))
    np.testing.assert_array_equal(net(x)[0], layer(x)[0])


@pytest.mark.parametrize("truncate", [None, 3])
def test_fit_trains_every_variant(truncate):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 7, I))
    y = x.cumsum(axis=1)[..., :2]
    losses = []
    for _ in range(2):
        layers = [
            elman.LSTM(I, 6, seed=0, recurrent_dropout=0.1, zoneout=0.1, **{**ALL, "projection": 4}, **F64),
            elman.GRU(4, 5, seed=1, **GRUS[2], **F64),
            elman.RNN(5, 4, seed=2, clip=2.0, **F64),
            elman.Dense(4, 2, seed=3, **F64),
        ]
        net = elman.Network(layers)
        before = {name: array.copy() for name, array in net.parameters.items()}
        options = {"epochs": 4, "batch_size": 6, "truncate": truncate, "progress": False}
        history = elman.fit(net, x, y, "squared_error", elman.Adam(0.01), **options)
        assert all((net.parameters[name] != array).any() for name, array in before.items())
        losses.append(list(history.loss))
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0]


def test_a_tape_of_an_equal_layer():
    """A copy of a layer takes the tapes of the first, whatever its cell: two of the same options are equal."""
    for make, options in SOME:
        layer = elman.Recurrent(make(I, H, **options).cell, I, H, seed=0, **F64)
        copied = elman.Recurrent.from_parameters(
            {**layer.config, "cell": CELLS[layer.cell.name](**layer.cell.options)}, layer.parameters
        )
        y, _, tape = layer.forward(np.ones((2, 3, I)))
        for got, want in zip(copied.backward(tape, y)[2].values(), layer.backward(tape, y)[2].values(), strict=True):
            np.testing.assert_array_equal(got, want)


def test_what_a_layer_says():
    layer = elman.LSTM(I, H, seed=0, projection=np.int64(2), clip=3, activations={"c": "relu", "i": Activation("tanh")})
    chosen = "projection=2, clip=3.0, activations={'i': 'tanh', 'c': 'relu'}"
    assert repr(layer) == f"LSTM(input_size=3, hidden_size=5, {chosen}, bidirectional=False, dtype='float32')"
    assert dict(layer.cell.options) == {"projection": 2, "clip": 3.0, "activations": {"i": "tanh", "c": "relu"}}
    assert layer.output_size == 2
    assert elman.GRU(I, H, clip=2).config["clip"] == 2.0
    assert elman.RNN(I, H, clip=2).config["clip"] == 2.0
    hard = Activation("hard_sigmoid", alpha=np.float32(0.25))
    assert dict(CELLS["gru"](activations={"n": "tanh", "z": hard}).options) == {
        "reset_after": True,
        "activations": {"z": {"name": "hard_sigmoid", "alpha": 0.25, "beta": 0.5}},
    }


def test_options_at_their_defaults_are_the_plain_cell():
    plain = {"peepholes": False, "coupled": False, "projection": None, "clip": None, "cell_clip": None}
    defaults = {"i": "sigmoid", "f": "sigmoid", "g": "tanh", "o": Activation("sigmoid"), "c": "tanh"}
    for activations in (None, {}, defaults):
        cell = CELLS["lstm"](**plain, activations=activations)
        assert cell == CELLS["lstm"]()
        assert dict(cell.options) == {}
    gru = CELLS["gru"](clip=None, activations={"r": "sigmoid", "z": "sigmoid", "n": "tanh"})
    assert gru == CELLS["gru"]()
    assert dict(gru.options) == {"reset_after": True}
    assert CELLS["rnn"](clip=None) == CELLS["rnn"]()


@each(EVERY)
def test_what_runs(make, options):
    layer = make(I, H, **options)
    said = engine.runner(layer.cell)
    assert said in ("compiled kernel", "plain equations")
    assert (said == "compiled kernel") == engine.compiled(layer.cell)
    plain_equations = engine.backend() == "plain equations"
    assert engine.runner(make(I, H).cell) == ("plain equations" if plain_equations else "compiled kernel")


def test_how_weights_start():
    for initializer in ("glorot", "orthogonal", "uniform"):
        layer = elman.LSTM(
            I, 6, bidirectional=True, peepholes=True, projection=4, seed=0, initializer=initializer, **F64
        )
        for suffix in ("", "_reverse"):
            p = {name.removesuffix("_reverse"): a for name, a in layer.parameters.items() if name.endswith(suffix)}
            assert (p["b"][6:12] == 1).all()
            for name in ("pi", "pf", "po"):
                assert p[name].any() == (initializer == "uniform")
            if initializer == "uniform":  # PyTorch's bound for all of them is 1/sqrt(hidden)
                assert max(np.abs(a).max() for name, a in p.items() if name != "b") <= 1 / np.sqrt(6)
                assert np.abs(p["Wp"]).max() > 0.9 / np.sqrt(6)
                continue
            for block in np.split(p["Wh"], 4, axis=1):
                np.testing.assert_allclose(block @ block.T, np.eye(4), atol=1e-12)
            orthonormal = np.allclose(p["Wp"].T @ p["Wp"], np.eye(4))
            assert orthonormal == (initializer == "orthogonal")
            assert np.abs(p["Wp"]).max() <= (1 if orthonormal else np.sqrt(6 / 10))
    plain, peeping = elman.LSTM(I, H, seed=0), elman.LSTM(I, H, peepholes=True, seed=0)
    np.testing.assert_array_equal(plain.Wh, peeping.Wh)
    coupled = elman.LSTM(I, H, coupled=True, seed=0, forget_bias=3.0)
    assert coupled.b.shape == (3 * H,)
    assert not coupled.b.any()
    assert list(elman.LSTM(I, H, coupled=True, peepholes=True).parameters) == ["Wx", "Wh", "b", "pi", "po"]


def test_a_cell_of_a_user_may_project():
    """h' = tanh(x W + h U + s) V, s' = 0.5 s: the state s is as wide as the hidden units, h as the projection."""

    def step(x, state, weights):
        (h, s), (W, U, V) = state, weights
        n = np.tanh(x @ W + h @ U + s)
        return (n @ V, 0.5 * s), {"n": n}

    def step_derivative(x, state, weights, kept, dnext):
        (h, _), (W, U, V), (dh, ds) = state, weights, dnext
        da = (dh @ V.T) * (1 - kept["n"] ** 2)
        return da @ W.T, (da @ U.T, da + 0.5 * ds), (x.T @ da, h.T @ da, kept["n"].T @ dh)

    weights = {"W": ("input", "hidden"), "U": ("projection", "hidden"), "V": ("hidden", "projection")}
    cell = elman.Cell("projected", weights, ("h", "s"), step, step_derivative, projection=2)
    assert cell.widths(5) == (2, 5)
    layer = elman.Recurrent(cell, I, H, bidirectional=True, **F64)
    assert layer.output_size == 4
    rng = np.random.default_rng(0)
    check_recurrent(layer, rng, [3, 1])
    y, (h, s) = layer([np.ones((3, I)), np.ones((1, I))])
    assert ([part.shape for part in y], h.shape, s.shape) == ([(3, 4), (1, 4)], (2, 2, 2), (2, 2, 5))


class TestRefused:
    @pytest.mark.parametrize("name", ["clip", "cell_clip"])
    @pytest.mark.parametrize("wrong", [0, -1.0, np.nan, np.inf, "1", True])
    def test_bounds(self, name, wrong):
        for make in (elman.LSTM, elman.GRU, elman.RNN) if name == "clip" else (elman.LSTM,):
            with pytest.raises(ValueError, match=rf"{name} must be a number over 0\. Got"):
                make(I, H, **{name: wrong})

    @pytest.mark.parametrize("wrong", [0, -2, 2.0, True, "2"])
    def test_projections(self, wrong):
        with pytest.raises(ValueError, match=r"projection must be a whole number from 1 up\. Got"):
            elman.LSTM(I, H, projection=wrong)

    @pytest.mark.parametrize("name", ["peepholes", "coupled"])
    def test_flags(self, name):
        with pytest.raises(TypeError, match=rf"{name} must be True or False\. Got 1\."):
            elman.LSTM(I, H, **{name: 1})

    def test_activations(self):
        with pytest.raises(ValueError, match=r"a gate of activations must be one of 'i', 'f', 'g', 'o', 'c'. Got 'n'"):
            elman.LSTM(I, H, activations={"n": "tanh"})
        with pytest.raises(ValueError, match=r"a gate of activations must be one of 'i', 'g', 'o', 'c'. Got 'f'"):
            elman.LSTM(I, H, coupled=True, activations={"f": "sigmoid"})
        with pytest.raises(ValueError, match=r"a gate of activations must be one of 'r', 'z', 'n'. Got 'h'"):
            elman.GRU(I, H, activations={"h": "tanh"})
        with pytest.raises(ValueError, match=r"activation must be one of .* Got 'tahn'\. Did you mean 'tanh'\?"):
            elman.GRU(I, H, activations={"n": "tahn"})
        for make in (elman.LSTM, elman.GRU):
            with pytest.raises(TypeError, match=r"activations must be a mapping of gates to activations.* Got 'tanh'"):
                make(I, H, activations="tanh")

    @each([(elman.LSTM, options) for options in LSTM_OPTIONS.values()])
    def test_layer_norm_with_others(self, make, options):
        with pytest.raises(ValueError, match=rf"layer_norm must be False together with {next(iter(options))}\. Got"):
            make(I, H, layer_norm=True, **options)

    def test_states_of_another_width(self):
        layer = elman.LSTM(I, H, projection=2)
        x, h, c = np.ones((4, 6, I)), np.ones((4, 2)), np.ones((4, H))
        layer(x, (h, c))
        with pytest.raises(elman.ShapeError, match=r"h of state must have shape \(4, 2\)\. Got \(4, 5\)\."):
            layer(x, (c, c))
        with pytest.raises(elman.ShapeError, match=r"c of state must have shape \(4, 5\)\. Got \(4, 2\)\."):
            layer(x, (h, h))

    def test_cells_of_one_s_own(self):
        weights = {"W": ("input", "projection")}
        with pytest.raises(
            ValueError, match=r"an axis of W of the cell 'mine' must be one of 'input', 'hidden', 'gates'\. Got"
        ):
            elman.Cell("mine", weights, ("h",), LEAKY.step, LEAKY.step_derivative)
        with pytest.raises(ValueError, match=r"'mine' must have a weight with the axes \('hidden', 'projection'\)"):
            elman.Cell("mine", weights, ("h",), LEAKY.step, LEAKY.step_derivative, projection=2)
        with pytest.raises(ValueError, match=r"projection of the cell 'mine' must be a whole number from 1 up\. Got 0"):
            elman.Cell("mine", weights, ("h",), LEAKY.step, LEAKY.step_derivative, projection=0)

    def test_files(self, tmp_path):
        net = elman.Network([elman.LSTM(I, H, peepholes=True, projection=2, seed=0)])
        wrongs = {"projection": 0, "clip": -1, "activations": 5, "peepholes": "yes"}
        for name, wrong in wrongs.items():
            description = {"version": 1, "network": {"layers": [{**net.config["layers"][0], name: wrong}]}}
            save_file(dict(net.parameters), tmp_path / "net", metadata={"elman": json.dumps(description)})
            with pytest.raises(elman.FormatError, match=rf"net' cannot be loaded: .*{name}"):
                elman.load(tmp_path / "net")
