"""Peepholes, coupled gates, projection, clipping, activations: what the cells compute, and their exact gradients."""

from __future__ import annotations

import itertools
import math
import pickle

import numpy as np
import pytest

import elman
from elman import Activation, engine
from elman.cells import CELLS
from elman.cells.gates import Bounded
from test_gradients import LEAKY, check_recurrent, random_parameters
from test_regularization import check_gradients

F64 = {"dtype": "float64"}
I, H = 3, 5
ACTS = {"i": "hard_sigmoid", "g": "softsign", "o": Activation("scaled_tanh", alpha=1.3, beta=0.7), "c": "softplus"}
LSTM_OPTIONS = {
    "peepholes": {"peepholes": True},
    "coupled": {"coupled": True},
    "projection": {"projection": 2},
    "clip": {"clip": 0.6},
    "cell_clip": {"cell_clip": 0.4},
    "activations": {"activations": ACTS},
}
PAIRS = [{**LSTM_OPTIONS[a], **LSTM_OPTIONS[b]} for a, b in itertools.combinations(LSTM_OPTIONS, 2)]
ALL = {key: value for options in LSTM_OPTIONS.values() for key, value in options.items()}
WIDER = {"projection": 7, "peepholes": True, "activations": {"f": "softsign", "c": "identity"}}
LSTMS = [*LSTM_OPTIONS.values(), *PAIRS, ALL, WIDER]
GRU_ACTS = {"r": "softplus", "z": "hard_sigmoid", "n": Activation("scaled_tanh", alpha=1.3, beta=0.7)}
GRUS = [
    {"reset_after": form, **options}
    for form in (True, False)
    for options in ({"clip": 0.5}, {"activations": GRU_ACTS}, {"clip": 0.7, "activations": GRU_ACTS})
]
RNNS = [{"clip": 0.4}, {"activation": Activation("elu", alpha=0.4), "clip": 0.7}, {"activation": "affine", "clip": 0.3}]
EVERY = [
    *((elman.LSTM, options) for options in LSTMS),
    *((elman.GRU, options) for options in GRUS),
    *((elman.RNN, options) for options in RNNS),
]
SOME = [(elman.LSTM, ALL), (elman.LSTM, WIDER), (elman.GRU, GRUS[2]), (elman.GRU, GRUS[5]), (elman.RNN, RNNS[1])]


def named(value):
    return value.__name__ if isinstance(value, type) else "-".join(value)


def each(cases):
    return pytest.mark.parametrize(("make", "options"), cases, ids=named)


def smooth(options):
    """Whether the cell has no kinks, so that differences may take wide steps."""
    kinked = "hard_sigmoid" in options.get("activations", {}).values() or options.get("activations") is GRU_ACTS
    return not kinked and not {"clip", "cell_clip"} & set(options)


# The equations, unit by unit and in plain Python, sharing nothing with the library.


def sigmoid(a):
    return 1 / (1 + math.exp(-a))


FUNCTIONS = {
    "sigmoid": sigmoid,
    "tanh": math.tanh,
    "identity": lambda a: a,
    "softsign": lambda a: a / (1 + abs(a)),
    "softplus": lambda a: math.log(1 + math.exp(a)),
    "hard_sigmoid": lambda a: max(0.0, min(1.0, 0.2 * a + 0.5)),
    "affine": lambda a: a,
}


def function(chosen, default):
    if chosen is None:
        return FUNCTIONS[default]
    if isinstance(chosen, str):
        return FUNCTIONS[chosen]
    if chosen.name == "elu":
        return lambda a: a if a >= 0 else chosen.parameters["alpha"] * (math.exp(a) - 1)
    return lambda a: chosen.parameters["alpha"] * math.tanh(chosen.parameters["beta"] * a)


def bound(a, limit):
    return a if limit is None else max(-limit, min(limit, a))


def sums(p, x, h, unit, block):
    """x W + h U + b of one unit of one gate."""
    column = block * H + unit
    return (
        sum(x[k] * p["Wx"][k, column] for k in range(len(x)))
        + sum(h[k] * p["Wh"][k, column] for k in range(len(h)))
        + p["b"][column]
    )


def lstm_by_hand(
    p, x, h, c, peepholes=False, coupled=False, projection=None, clip=None, cell_clip=None, activations=None
):
    acts = activations or {}
    order = "igo" if coupled else "ifgo"
    out, c_next = [], []
    for u in range(H):
        a = {gate: sums(p, x, h, u, order.index(gate)) for gate in order}
        if peepholes:
            a["i"] += p["pi"][u] * c[u]
            if not coupled:
                a["f"] += p["pf"][u] * c[u]
        i = function(acts.get("i"), "sigmoid")(bound(a["i"], clip))
        f = 1 - i if coupled else function(acts.get("f"), "sigmoid")(bound(a["f"], clip))
        g = function(acts.get("g"), "tanh")(bound(a["g"], clip))
        new = bound(f * c[u] + i * g, cell_clip)
        if peepholes:
            a["o"] += p["po"][u] * new
        o = function(acts.get("o"), "sigmoid")(bound(a["o"], clip))
        out.append(o * function(acts.get("c"), "tanh")(new))
        c_next.append(new)
    if projection is not None:
        out = [sum(out[u] * p["Wp"][u, k] for u in range(H)) for k in range(projection)]
    return out, c_next


def gru_by_hand(p, x, h, reset_after, clip=None, activations=None):
    acts = activations or {}
    act_r, act_z, act_n = (function(acts.get(g), d) for g, d in (("r", "sigmoid"), ("z", "sigmoid"), ("n", "tanh")))
    r = [act_r(bound(sums(p, x, h, u, 0), clip)) for u in range(H)]
    z = [act_z(bound(sums(p, x, h, u, 1), clip)) for u in range(H)]
    new = []
    for u in range(H):
        if reset_after:
            inner = r[u] * (sum(h[k] * p["Wh"][k, 2 * H + u] for k in range(H)) + p["bn"][u])
        else:
            inner = sum(r[k] * h[k] * p["Wh"][k, 2 * H + u] for k in range(H))
        n = act_n(bound(sums(p, x, [], u, 2) + inner, clip))
        new.append((1 - z[u]) * n + z[u] * h[u])
    return new


def rnn_by_hand(p, x, h, activation="tanh", clip=None):
    return [function(activation, "tanh")(bound(sums(p, x, h, u, 0), clip)) for u in range(H)]


def by_hand(layer, options, x, state):
    """The outputs (T, P or H) and the last state of one sequence."""
    y = []
    for row in x:
        if isinstance(layer, elman.LSTM):
            state = lstm_by_hand(layer.parameters, row, *state, **options)
        elif isinstance(layer, elman.GRU):
            state = (gru_by_hand(layer.parameters, row, *state, **options),)
        else:
            state = (rnn_by_hand(layer.parameters, row, *state, **options),)
        y.append(state[0])
    return y, state


@each(EVERY)
def test_equations(make, options):
    rng = np.random.default_rng(0)
    layer = make(I, H, **options, **F64)
    random_parameters(layer, rng)
    x = rng.normal(size=(2, 6, I))
    state = tuple(rng.normal(size=(2, width)) for width in layer.cell.widths(H))
    for _ in range(2):
        y, end = layer(x, state if len(state) > 1 else state[0])
        for b in range(2):
            want, last = by_hand(layer, options, x[b], [s[b] for s in state])
            np.testing.assert_allclose(y[b], want, rtol=1e-11, atol=1e-13)
            for got, s in zip(end if len(state) > 1 else (end,), last, strict=True):
                np.testing.assert_allclose(got[b], s, rtol=1e-11, atol=1e-13)


@each(EVERY)
def test_every_option_tells_in_the_outputs(make, options):
    """The equations without one of the options are far from those with it."""
    rng = np.random.default_rng(1)
    layer = make(I, H, **options, **F64)
    random_parameters(layer, rng)
    x, state = rng.normal(size=(7, I)), [rng.normal(size=width) for width in layer.cell.widths(H)]
    y, _ = layer(x, tuple(state) if len(state) > 1 else state[0])
    for name in set(options) - {"projection", "reset_after", "coupled"}:  # those change the shapes of weights
        without = {key: value for key, value in options.items() if key != name}
        if options.get("activation") == "affine" and name == "activation":
            without["activation"] = "tanh"
        want, _ = by_hand(layer, without, x, state)
        assert np.abs(y - np.array(want)).max() > 1e-3, name


@pytest.mark.parametrize("bidirectional", [False, True])
@each(EVERY)
def test_gradients(make, options, bidirectional):
    layer = make(2, 3, bidirectional=bidirectional, **options, **F64)
    check_recurrent(layer, np.random.default_rng(2), [3, 1], smooth=smooth(options))


@each(SOME)
def test_gradients_with_masks_zones_and_learned_states(make, options):
    smoothly = {key: value for key, value in options.items() if key not in ("clip", "cell_clip")}
    if "activations" in options:
        smoothly["activations"] = {
            next(iter(options["activations"])): "softsign",
            list(options["activations"])[-1]: "affine",
        }
    for given in (False, True):
        layer = make(
            2, 3, recurrent_dropout=0.4, zoneout=0.3, learned_state=True, bidirectional=given, **smoothly, **F64
        )
        check_gradients(layer, [2, 3], seed=5, given=given)


def test_through_what_is_bounded_no_gradient_flows():
    act = Bounded(Activation("tanh"), 0.5)
    a = np.array([-2.0, -0.5, -0.3, 0.0, 0.4999, 0.5, 3.0, np.inf, -np.inf])
    y = act(a)
    np.testing.assert_array_equal(y, np.tanh(np.clip(a, -0.5, 0.5)))
    inside = np.abs(a) < 0.5
    np.testing.assert_array_equal(act.derivative(y), np.where(inside, 1 - y**2, 0))
    assert np.isnan(act(np.array([np.nan])))
    single = Bounded(Activation("tanh"), 1e300)(a.astype(np.float32))  # a bound that float32 cannot hold
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single, np.tanh(a.astype(np.float32)))


@each(SOME)
def test_float32_is_the_same_cell(make, options):
    layers = [make(I, H, dtype=dtype, bidirectional=True, **options) for dtype in ("float64", "float32")]
    for layer in layers:
        random_parameters(layer, np.random.default_rng(4))
    x = np.random.default_rng(3).normal(size=(2, 9, I))
    want, got = (layer.forward(x) for layer in layers)
    assert got[0].dtype == np.float32
    np.testing.assert_allclose(got[0], want[0], atol=1e-5)
    _, _, gradients = layers[1].backward(got[2], np.ones_like(got[0]))
    assert {g.dtype for g in gradients.values()} == {np.dtype(np.float32)}
    for name, gradient in layers[0].backward(want[2], np.ones_like(want[0]))[2].items():
        np.testing.assert_allclose(gradients[name], gradient, atol=1e-4 * np.abs(gradient).max())


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
        with pytest.raises(ValueError, match=r"an axis of W must be one of 'input', 'hidden', 'gates'\. Got"):
            elman.Cell("mine", weights, ("h",), LEAKY.step, LEAKY.step_derivative)
        with pytest.raises(ValueError, match=r"'mine' must have a weight with the axes \('hidden', 'projection'\)"):
            elman.Cell("mine", weights, ("h",), LEAKY.step, LEAKY.step_derivative, projection=2)
        with pytest.raises(ValueError, match=r"projection must be a whole number from 1 up\. Got 0"):
            elman.Cell("mine", weights, ("h",), LEAKY.step, LEAKY.step_derivative, projection=0)

    def test_files(self, tmp_path):
        net = elman.Network([elman.LSTM(I, H, peepholes=True, projection=2, seed=0)])
        wrongs = {"projection": 0, "clip": -1, "activations": 5, "peepholes": "yes"}
        for name, wrong in wrongs.items():
            net.config["layers"][0][name] = wrong
            net.save(tmp_path / "net")
            with pytest.raises(elman.FormatError, match="net' cannot be loaded"):
                elman.load(tmp_path / "net")
            net.config["layers"][0].pop(name)
