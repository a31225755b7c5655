"""`elman.trace` beside loops by hand: every number to 1e-12, every gradient to 1e-7 of central differences."""

from __future__ import annotations

import numpy as np
import pytest

import elman
from elman import engine
from hand_loops import run

I, H, B, T = 3, 4, 3, 5
LENGTHS = [5, 2, 4]
LAYERS = {
    "rnn": (elman.RNN, {}),
    "rnn relu": (elman.RNN, {"activation": "relu"}),
    "rnn clip": (elman.RNN, {"clip": 0.6}),
    "gru": (elman.GRU, {}),
    "gru before": (elman.GRU, {"reset_after": False}),
    "gru variant": (elman.GRU, {"activations": {"z": "softsign", "n": "relu"}, "clip": 1.1}),
    "gru before variant": (elman.GRU, {"reset_after": False, "activations": {"n": "softsign"}}),
    "lstm": (elman.LSTM, {}),
    "lstm norm": (elman.LSTM, {"layer_norm": True}),
    "lstm peepholes": (elman.LSTM, {"peepholes": True}),
    "lstm coupled": (elman.LSTM, {"coupled": True, "peepholes": True}),
    "lstm projection": (elman.LSTM, {"projection": 2, "cell_clip": 0.5}),
    "lstm variant": (elman.LSTM, {"activations": {"g": "relu", "c": "softsign"}, "clip": 0.9, "cell_clip": 0.7}),
}
AROUND = {
    "": {},
    "zoneout": {"zoneout": 0.2},
    "learned": {"learned_state": True},
    "dropped": {"recurrent_dropout": 0.3, "zoneout": 0.15},
}


@pytest.fixture(params=["kernels", "plain"], autouse=True)
def backend(request, monkeypatch):
    monkeypatch.setattr(engine, "_plain", request.param == "plain" or elman.backend() == "plain equations")


def made(kind, seed=0, **more):
    cls, options = LAYERS[kind]
    layer = cls(I, H, dtype="float64", seed=seed, **options, **more)
    rng = np.random.default_rng(seed + 1)
    for array in layer.parameters.values():
        array[...] = rng.normal(size=array.shape) * 0.7
    return layer


def data(layer, seed=0):
    """x, lengths, a first state for each direction and state, dy, dstate."""
    rng = np.random.default_rng(seed + 7)
    x = rng.normal(size=(B, T, I))
    y, state = layer(x)
    single = not isinstance(state, tuple)
    states = [rng.normal(size=s.shape) * 0.5 for s in ([state] if single else state)]
    dends = [rng.normal(size=s.shape) for s in states]
    form = (lambda parts: parts[0]) if single else tuple
    return x, form(states), rng.normal(size=y.shape), form(dends)


def by_hand(layer, t, x, state, poke=None):
    """Every number of a padded batch by loops, name -> (B, T, ...), y, last states; `poke` is added to one number."""
    found, ys, ends = {}, [], []
    states = state if isinstance(state, tuple) else (state,)
    both = layer.bidirectional
    for d, end in enumerate(layer.directions):
        walk = t.layers[end]
        ys.append(np.zeros((B, T, layer.directions[end].states()["h"])))
        ends.append([])
        for b, length in enumerate(LENGTHS):

            def see(name, step, value, b=b, end=end):
                if poke is not None and poke[0] == (name + end, b, step):
                    value = value + poke[1]
                full = found.setdefault(name + end, np.zeros((B, T, *np.shape(value))))
                full[b, step] = value
                return value

            masks = (
                walk.values("mask").reshape(-1, ys[d].shape[-1])[sum(LENGTHS[:b])] if "mask" in walk.names() else None
            )
            zones = None
            if any(layer.zone_rates):
                rows = slice(sum(LENGTHS[:b]), sum(LENGTHS[: b + 1]))
                zoned = [f"zone_{s}" in walk.names() for s in layer.cell.states]
                zones = [
                    walk.values(f"zone_{s}")[rows] if z else 0.0 for s, z in zip(layer.cell.states, zoned, strict=True)
                ]
            first = tuple(s[d, b] if both else s[b] for s in states)
            y, last = run(layer, x[b, :length], first, see, bool(d), end, masks, zones)
            ys[d][b, :length] = y
            ends[d].append(last)
    last = [np.stack([[one[i] for one in ends[d]] for d in range(len(ends))]) for i in range(len(states))]
    return found, np.concatenate(ys, -1), last if both else [s[0] for s in last]


def loss(y, last, dy, dstate):
    return (y * dy).sum() + sum(
        (a * b).sum() for a, b in zip(last, dstate if isinstance(dstate, tuple) else (dstate,), strict=True)
    )


@pytest.mark.parametrize("both", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("kind", LAYERS)
def test_every_number_and_every_gradient(kind, around, both):
    layer = made(kind, seed=len(kind) + 10 * both, bidirectional=both, **AROUND[around])
    x, state, dy, dstate = data(layer)
    real = np.arange(T) < np.array(LENGTHS)[:, None]
    dy = np.where(real[..., None], dy, 0)
    x[~real] = np.nan
    for _ in range(2):
        rng = np.random.default_rng(3) if around == "dropped" else None
        t = elman.trace(layer, x, state, LENGTHS, dy, dstate, rng=rng)
        found, y, last = by_hand(layer, t, x, state)
        np.testing.assert_allclose(t.y, y, rtol=0, atol=1e-12)
        for name, want in found.items():
            np.testing.assert_allclose(t[name], want, rtol=0, atol=1e-12, err_msg=name)
        for name in {n for n in t.names if n.startswith("d") and n[1:] in t.names} - {"dy", "dx"}:
            assert not t[name][~real].any()
    picks = np.random.default_rng(0)
    for name in found:
        b = int(picks.integers(B))
        s = int(picks.integers(LENGTHS[b]))
        got, e = t[f"d{name}"][b, s], 1e-6
        want = np.zeros_like(got)
        for u in range(len(want)):
            at = [by_hand(layer, t, x, state, ((name, b, s), e * sign * np.eye(len(want))[u])) for sign in (1, -1)]
            want[u] = (loss(*at[0][1:], dy, dstate) - loss(*at[1][1:], dy, dstate)) / (2 * e)
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7, err_msg=f"d{name} at {b}, {s}")
    rng = np.random.default_rng(3) if around == "dropped" else None
    _, _, tape = layer.forward(x, state, LENGTHS, rng=rng)
    dx, dstart, gradients = layer.backward(tape, dy, dstate)
    np.testing.assert_array_equal(t["dx"], dx)
    for name, gradient in gradients.items():
        share = t[f"d{name}"]
        assert share.shape == (T, *gradient.shape)
        np.testing.assert_allclose(share.sum(0), gradient, rtol=1e-12, atol=1e-12, err_msg=name)
