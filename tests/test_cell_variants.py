"""Peepholes, coupled gates, projection, clipping, activations: what the cells compute, and their exact gradients."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import elman
from elman import Activation
from elman.cells.activations import Bounded
from test_gradients import check_recurrent, random_parameters
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


NEUTRAL = [
    (elman.LSTM, {"peepholes": True}),
    (elman.LSTM, {"projection": H}),
    (elman.LSTM, {"clip": 1e30}),
    (elman.LSTM, {"cell_clip": 1e30, "activations": {"g": Activation("scaled_tanh")}}),
    (elman.GRU, {"clip": 1e30}),
    (elman.GRU, {"clip": 1e30, "reset_after": False}),
    (elman.RNN, {"clip": 1e30}),
]


@each(NEUTRAL)
def test_options_that_change_nothing_give_the_plain_cell(make, options):
    """In training too: masks and zones act in the same places."""
    shared = {"recurrent_dropout": 0.4, "zoneout": 0.2, "bidirectional": True, **F64}
    plain = make(I, H, **{key: value for key, value in options.items() if key == "reset_after"}, **shared)
    layer = make(I, H, **options, **shared)
    random_parameters(plain, np.random.default_rng(0))
    for name, array in layer.parameters.items():
        array[...] = plain.parameters[name] if name in plain.parameters else np.eye(H) if "Wp" in name else 0
    x = [np.random.default_rng(1).normal(size=(n, I)) for n in (5, 2)]
    for seed in (2, 3):
        runs = [which.forward(x, rng=np.random.default_rng(seed)) for which in (plain, layer)]
        results = [which.backward(tape, y, end) for which, (y, end, tape) in zip((plain, layer), runs, strict=True)]
        for want, got in zip(*(run[0] for run in runs), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-12)
        for want, got in zip(*(result[0] for result in results), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
        for name, want in results[0][2].items():
            np.testing.assert_allclose(results[1][2][name], want, rtol=1e-10, atol=1e-12)


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
