"""Recurrent dropout, zoneout, learned states, dropout by sequence: what they compute, and their exact gradients."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import elman
from central import central_gradient, relative_error
from elman import engine
from elman.layers.pointwise import dropout_mask
from test_gradients import LEAKY, random_parameters, random_state

TOLERANCE = 1e-7
F64 = {"dtype": "float64"}
CELLS = {
    "rnn": lambda i, h, **o: elman.RNN(i, h, **o),
    "lstm": lambda i, h, **o: elman.LSTM(i, h, **o),
    "lstm layer norm": lambda i, h, **o: elman.LSTM(i, h, layer_norm=True, **o),
    "gru after": lambda i, h, **o: elman.GRU(i, h, **o),
    "gru before": lambda i, h, **o: elman.GRU(i, h, reset_after=False, **o),
    "leaky": lambda i, h, **o: elman.Recurrent(LEAKY, i, h, **o),
}
TAKE_MASKS = [name for name in CELLS if name != "leaky"]
OPTIONS = {
    "recurrent dropout": {"recurrent_dropout": 0.4},
    "zoneout": {"zoneout": 0.3},
    "learned state": {"learned_state": True},
    "all": {"recurrent_dropout": 0.3, "zoneout": 0.2, "learned_state": True, "bidirectional": True},
}
EVERY = [(c, name) for c in CELLS for name in OPTIONS if c in TAKE_MASKS or "recurrent_dropout" not in OPTIONS[name]]


def dropped(seed):
    """A generator that draws the same at each call, or none."""
    return None if seed is None else np.random.default_rng(seed)


def check_gradients(layer, lengths, seed, given):
    """Inputs, initial states and every parameter of a ragged batch against differences; backward runs twice."""
    rng = np.random.default_rng(21)
    random_parameters(layer, rng)
    x = [rng.normal(size=(n, layer.input_size)) for n in lengths]
    state = random_state(layer, len(lengths), rng) if given else None
    states = state if isinstance(state, tuple) else (state,) if given else ()
    dend = random_state(layer, len(lengths), rng)
    dends = dend if isinstance(dend, tuple) else (dend,)
    dy = [rng.normal(size=(n, layer.output_size)) for n in lengths]

    def loss():
        y, end, _ = layer.forward(x, state, rng=dropped(seed))
        ends = end if isinstance(end, tuple) else (end,)
        return float(sum((a * b).sum() for a, b in zip((*y, *ends), (*dy, *dends), strict=True)))

    _, _, tape = layer.forward(x, state, rng=dropped(seed))
    layer.forward(x, state, rng=np.random.default_rng(99))  # another draw leaves the tape alone
    wanted = [central_gradient(loss, array) for array in (*x, *states)]
    wanted_of = {name: central_gradient(loss, array) for name, array in layer.parameters.items()}
    pickled = tape if layer.cell.name == "masked" else pickle.loads(pickle.dumps(tape))
    for taken in (tape, pickled):
        dx, dstart, gradients = layer.backward(taken, dy, dend)
        dstarts = dstart if isinstance(dstart, tuple) else (dstart,)
        for exact, want in zip((*dx, *(dstarts if given else ())), wanted, strict=True):
            assert relative_error(exact, want) < TOLERANCE
        assert list(gradients) == list(layer.parameters)
        for name, want in wanted_of.items():
            assert relative_error(gradients[name], want) < TOLERANCE, name
            if given and name.removesuffix("_reverse") in ("h0", "c0"):
                assert (gradients[name] == 0).all()


@pytest.mark.parametrize(("cell", "name"), EVERY)
def test_gradients_in_training(cell, name):
    hidden = 4 if "norm" in cell else 3  # of few units the variance may be near 0, and differences are poor there
    lengths = [2, 1] if name == "all" else [3, 1]
    check_gradients(CELLS[cell](2, hidden, **OPTIONS[name], **F64), lengths, seed=5, given=False)


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_with_given_states(cell):
    options = OPTIONS["all"] if cell in TAKE_MASKS else {"zoneout": 0.2, "learned_state": True}
    check_gradients(CELLS[cell](3, 2, **options, **F64), [1, 3], seed=6, given=True)


@pytest.mark.parametrize("cell", ["lstm", "gru before", "lstm layer norm"])
def test_gradients_of_the_expectation(cell):
    check_gradients(CELLS[cell](3, 2, zoneout=0.4, learned_state=True, **F64), [2, 3], seed=None, given=False)


@pytest.mark.parametrize("seed", [8, None])
def test_gradients_with_a_rate_for_each_state(seed):
    check_gradients(elman.LSTM(2, 3, zoneout=(0.05, 0.5), **F64), [3, 2], seed, given=True)


def test_a_cell_of_a_user_may_take_masks():
    """A unit that keeps 0.8 of h as it is, beside tanh(x W + (m h) U)."""

    def step(x, state, weights, mask=None):
        (h,), (W, U) = state, weights
        n = np.tanh(x @ W + (h if mask is None else h * mask) @ U)
        return (0.8 * h + 0.2 * n,), {"n": n}

    def step_derivative(x, state, weights, kept, dnext, mask=None):
        (h,), (W, U), (dh,) = state, weights, dnext
        mask = np.ones_like(h) if mask is None else mask
        da = 0.2 * dh * (1 - kept["n"] ** 2)
        return da @ W.T, (0.8 * dh + (da @ U.T) * mask,), (x.T @ da, (h * mask).T @ da)

    cell = elman.Cell("masked", LEAKY.weights, ("h",), step, step_derivative, takes_mask=True)
    check_gradients(elman.Recurrent(cell, 2, 3, recurrent_dropout=0.4, zoneout=0.2, **F64), [3, 2], 5, given=True)


def powers(lengths, rate=0.5, hidden=64, **options):
    """An RNN that does nothing but let its mask act: from h = 1, h after t steps is the mask to the power t."""
    layer = elman.RNN(1, hidden, "identity", recurrent_dropout=rate, bidirectional=True, **options, **F64)
    for suffix in ("", "_reverse"):
        layer.parameters["Wx" + suffix][...] = 0
        layer.parameters["Wh" + suffix][...] = np.eye(hidden)
    x = [np.ones((n, 1)) for n in lengths]
    y, _, _ = layer.forward(x, np.ones((2, len(lengths), hidden)), rng=np.random.default_rng(3))
    return [part[:, :hidden] for part in y], [part[::-1, hidden:] for part in y]


def test_one_mask_a_sequence_the_same_at_every_step():
    forward, backward = powers([5, 2, 7])
    masks = [part[0] for part in (*forward, *backward)]
    for part, mask in zip((*forward, *backward), masks, strict=True):
        assert set(np.unique(mask)) == {0.0, 2.0}
        for t, row in enumerate(part):
            np.testing.assert_array_equal(row, mask ** (t + 1))
    for i, mask in enumerate(masks):  # of each sequence and each direction its own
        assert all((mask != other).any() for other in masks[:i])


def test_a_mask_is_drawn_with_its_rate_and_scaled_to_keep_the_mean():
    (part,), _ = powers([1], rate=0.2, hidden=400)
    assert set(np.unique(part)) == {0.0, 1 / 0.8}
    assert abs((part == 0).mean() - 0.2) < 0.08  # four standard deviations


@pytest.mark.parametrize("cell", TAKE_MASKS)
def test_without_a_generator_recurrent_dropout_does_nothing(cell):
    x = np.random.default_rng(0).normal(size=(3, 5, 2))
    for seed in (1, 2):
        plain, masked = (CELLS[cell](2, 4, seed=seed, **o) for o in ({}, {"recurrent_dropout": 0.5}))
        want = plain(x)[0]
        np.testing.assert_array_equal(masked(x)[0], want)
        np.testing.assert_array_equal(masked.forward(x)[0], want)
        assert (masked.forward(x, rng=np.random.default_rng(0))[0] != want)[:, 1:].any()


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


@pytest.mark.parametrize("reset_after", [True, False])
def test_gru_masks_h_in_its_products_and_nowhere_else(reset_after):
    """Against the equations written out for one sequence, gate by gate."""
    rng = np.random.default_rng(4)
    layer = elman.GRU(2, 5, reset_after, recurrent_dropout=0.5, **F64)
    random_parameters(layer, rng)
    x, h0 = rng.normal(size=(4, 2)), rng.normal(size=5)
    got, _, _ = layer.forward(x, h0, rng=np.random.default_rng(8))
    m = dropout_mask(np.random.default_rng(8), 0.5, (1, 5), np.dtype(np.float64))[0]
    assert 0 < (m == 0).sum() < 5
    W, U, b = (np.split(layer.parameters[name], 3, axis=-1) for name in ("Wx", "Wh", "b"))
    h = h0
    for t in range(4):
        r = sigmoid(x[t] @ W[0] + (m * h) @ U[0] + b[0])
        z = sigmoid(x[t] @ W[1] + (m * h) @ U[1] + b[1])
        inner = r * ((m * h) @ U[2] + layer.bn) if reset_after else (r * m * h) @ U[2]
        h = z * h + (1 - z) * np.tanh(x[t] @ W[2] + b[2] + inner)
        np.testing.assert_allclose(got[t], h, rtol=1e-12)


def counting(rates, **options):
    """An RNN whose new state is the number of its step."""
    layer = elman.RNN(1, 300, "identity", zoneout=rates, **options, **F64)
    for name, array in layer.parameters.items():
        array[...] = 1 if name.startswith("Wx") else 0
    return layer


def test_zoneout_keeps_some_units_at_each_step():
    layer = counting(0.3)
    x = np.arange(1.0, 41).reshape(1, 40, 1)
    (y,), _, _ = layer.forward(x, rng=np.random.default_rng(0))
    before = np.vstack([np.zeros(300), y[:-1]])
    now = np.broadcast_to(x[0], y.shape)
    kept = y == before
    assert (kept | (y == now)).all()
    assert abs(kept.mean() - 0.3) < 0.02
    assert (kept[0] != kept[1]).any()  # drawn anew
    (again,), _, _ = layer.forward(x, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(again, y)


def test_zoneout_gives_its_expectation_after_training():
    y, end = counting(0.25)(np.arange(1.0, 6).reshape(1, 5, 1))
    h = 0.0
    for t in range(5):
        h = 0.25 * h + 0.75 * (t + 1)
        np.testing.assert_allclose(y[0, t], h, rtol=1e-14)
    np.testing.assert_array_equal(end[0], y[0, -1])


def test_zoneout_of_an_lstm_takes_its_own_rate_for_each_state():
    """Krueger et al. 2017, section 3: h' comes of the new cell state, before that is zoned out."""
    rng = np.random.default_rng(2)
    layer = elman.LSTM(2, 3, zoneout=(0.1, 0.6), **F64)
    random_parameters(layer, rng)
    x, h, c = rng.normal(size=(4, 2)), rng.normal(size=3), rng.normal(size=3)
    y, (h_end, c_end) = layer(x, (h, c))
    for t in range(4):
        h_new, c_new = elman.lstm_step(x[t], h, c, layer.Wx, layer.Wh, layer.b)
        h, c = 0.1 * h + 0.9 * h_new, 0.6 * c + 0.4 * c_new
        np.testing.assert_allclose(y[t], h, rtol=1e-12)
    np.testing.assert_allclose(h_end, h, rtol=1e-12)
    np.testing.assert_allclose(c_end, c, rtol=1e-12)


def test_the_mean_of_many_draws_is_the_expectation():
    x = np.arange(1.0, 6).reshape(1, 5, 1)
    layer, rng = counting(0.4), np.random.default_rng(1)
    mean = np.mean([layer.forward(x, rng=rng)[0].mean(axis=2) for _ in range(60)], axis=0)
    np.testing.assert_allclose(mean, layer(x)[0].mean(axis=2), atol=0.06)  # of 18,000 units; exact, as it is linear


def every_option(dtype="float64"):
    o = {"dtype": dtype}
    net = elman.Network(
        [
            elman.LSTM(3, 5, seed=0, recurrent_dropout=0.3, zoneout=(0.1, 0.2), learned_state=True, **o),
            elman.Dropout(0.5, per_sequence=True),
            elman.GRU(5, 4, seed=1, recurrent_dropout=0.2, learned_state=True, **o),
            elman.LSTM(4, 3, seed=2, layer_norm=True, zoneout=0.3, **o),
            elman.Network([elman.Recurrent(LEAKY, 3, 6, seed=3, zoneout=0.2, learned_state=True, **o)]),
            elman.Dense(6, 2, seed=4, **o),
        ]
    )
    random_parameters(net, np.random.default_rng(5))
    return net


def test_streams_equal_the_batch():
    net, x = every_option(), np.random.default_rng(0).normal(size=(4, 7, 3))
    whole, end = net(x)
    one, many = net.stream(), net.stream(4)
    for _ in range(2):
        np.testing.assert_allclose([one.step(row) for row in x[2]], whole[2], rtol=1e-12)
        np.testing.assert_allclose(np.stack([many.step(x[:, t]) for t in range(7)], axis=1), whole, rtol=1e-12)
        for a, b in zip(many.state[0], end[0], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
        one.reset()
        many.reset()
    chunks = net.stream(4)
    np.testing.assert_allclose(np.concatenate([chunks.run(x[:, :3]), chunks.run(x[:, 3:])], 1), whole, rtol=1e-12)
    twin = pickle.loads(pickle.dumps(elman.Network(net.layers[:4]).stream()))
    np.testing.assert_allclose(twin.step(x[0, 0]), elman.Network(net.layers[:4])(x[0, :1])[0][0], rtol=1e-12)


def test_streams_start_and_are_reset_to_learned_states():
    net = elman.Network([elman.LSTM(2, 3, learned_state=True, seed=0), elman.GRU(3, 4, seed=1)])
    random_parameters(net, np.random.default_rng(0))
    layer = net.layers[0]
    stream = net.stream(3)
    for _ in range(2):
        (h, c), g = stream.state
        np.testing.assert_array_equal(h, np.tile(layer.h0, (3, 1)))
        np.testing.assert_array_equal(c, np.tile(layer.c0, (3, 1)))
        assert (g == 0).all()
        stream.step(np.ones((3, 2)))
        stream.state = [None, None]
    stream.step(np.ones((3, 2)))
    stream.reset([1])
    (h, c), g = stream.state
    np.testing.assert_array_equal(h[1], layer.h0)
    np.testing.assert_array_equal(c[1], layer.c0)
    assert (g[1] == 0).all()
    assert (h[0] != layer.h0).all()
    assert (g[0] != 0).all()


@pytest.mark.parametrize("cell", CELLS)
def test_a_learned_state_is_used_where_none_is_given(cell):
    layer = CELLS[cell](2, 3, learned_state=True, bidirectional=True, seed=0)
    names = [name for name in layer.parameters if name.removesuffix("_reverse") in ("h0", "c0")]
    assert len(names) == 2 * len(layer.cell.states)
    assert all((layer.parameters[name] == 0).all() for name in names)
    plain = CELLS[cell](2, 3, bidirectional=True, seed=0)
    x = [np.ones((4, 2)), np.ones((2, 2))]
    for got, want in zip(layer(x)[0], plain(x)[0], strict=True):
        np.testing.assert_array_equal(got, want)
    random_parameters(layer, np.random.default_rng(0))
    states = [
        np.stack([np.tile(layer.parameters[f"{name}0{suffix}"], (2, 1)) for suffix in ("", "_reverse")])
        for name in layer.cell.states
    ]
    given = layer(x, tuple(states) if len(states) > 1 else states[0])
    for got, want in zip(layer(x)[0], given[0], strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_option_is_saved(tmp_path, dtype):
    net = every_option(dtype)
    net.save(tmp_path / "net")
    again = elman.load(tmp_path / "net", cells={"leaky": LEAKY})
    assert again.config == net.config
    assert repr(again) == repr(net)
    assert list(again.parameters) == list(net.parameters)
    x = np.random.default_rng(0).normal(size=(4, 6, 3))
    np.testing.assert_array_equal(again(x)[0], net(x)[0])
    for _ in range(2):
        draws = [n.forward(x, rng=np.random.default_rng(1))[0] for n in (net, again)]
        np.testing.assert_array_equal(*draws)
        assert (draws[0] != net(x)[0]).any()


def test_options_left_at_their_defaults_are_not_written():
    for layer in (elman.LSTM(2, 3), elman.GRU(2, 3), elman.RNN(2, 3), elman.Recurrent(LEAKY, 2, 3), elman.Dropout(0.1)):
        options = {"recurrent_dropout", "zoneout", "learned_state", "layer_norm", "per_sequence"}
        options |= {"peepholes", "coupled", "projection", "clip", "cell_clip", "activations"}
        assert not options & set(layer.config)
    layer = elman.LSTM(2, 3, zoneout=(0.0, np.float32(0.5)), recurrent_dropout=np.float64(0.25))
    assert layer.config["zoneout"] == (0.0, 0.5)
    assert type(layer.config["recurrent_dropout"]) is float


def test_padding_is_never_read():
    net, rng = every_option(), np.random.default_rng(3)
    lengths = [4, 1, 6]
    x = [rng.normal(size=(n, 3)) for n in lengths]
    dy = [rng.normal(size=(n, 2)) for n in lengths]
    padded, dpadded = np.full((3, 8, 3), np.nan), np.full((3, 8, 2), np.nan)
    for i, n in enumerate(lengths):
        padded[i, :n], dpadded[i, :n] = x[i], dy[i]
    want, _, tape = net.forward(x, rng=np.random.default_rng(0))
    y, _, padded_tape = net.forward(padded, lengths=lengths, rng=np.random.default_rng(0))
    dx, _, gradients = net.backward(tape, dy)
    dx_padded, _, gradients_padded = net.backward(padded_tape, dpadded)
    for i, n in enumerate(lengths):
        np.testing.assert_array_equal(y[i, :n], want[i])
        np.testing.assert_array_equal(dx_padded[i, :n], dx[i])
        assert (y[i, n:] == 0).all()
        assert (dx_padded[i, n:] == 0).all()
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(gradients_padded[name], gradient)


def test_dropout_by_sequence():
    layer = elman.Dropout(0.5, per_sequence=True)
    x = [np.ones((n, 40)) for n in (3, 1, 5)]
    y, _, tape = layer.forward(x, rng=np.random.default_rng(0))
    masks = [part[0] for part in y]
    for part, mask in zip(y, masks, strict=True):
        assert set(np.unique(mask)) == {0.0, 2.0}
        np.testing.assert_array_equal(part, np.tile(mask, (len(part), 1)))
    assert (masks[0] != masks[1]).any()
    assert (masks[0] != masks[2]).any()
    dy = [np.random.default_rng(1).normal(size=part.shape) for part in y]
    for _ in range(2):
        dx, _, _ = layer.backward(tape, dy)
        for part, mask, d in zip(dx, masks, dy, strict=True):
            np.testing.assert_array_equal(part, mask * d)
    np.testing.assert_array_equal(layer(x[0][None])[0], x[0][None])


def test_dropout_by_sequence_of_vectors_is_dropout():
    x = np.random.default_rng(0).normal(size=(4, 5, 3))
    last = elman.LastStep()
    results = [
        elman.Network([last, elman.Dropout(0.5, per_sequence=p)]).forward(x, rng=np.random.default_rng(1))[0]
        for p in (False, True)
    ]
    np.testing.assert_array_equal(*results)
    assert (results[0] == 0).any()


def test_fit_trains_with_every_option():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 6, 3))
    y = x.cumsum(axis=1)[..., :2]
    runs = []
    for _ in range(2):
        net = every_option()
        before = {name: array.copy() for name, array in net.parameters.items()}
        history = elman.fit(net, x, y, "squared_error", elman.Adam(0.01), epochs=4, batch_size=8, progress=False)
        assert all((net.parameters[name] != array).any() for name, array in before.items())
        runs.append(list(history.loss))
    assert runs[0] == runs[1]
    assert runs[0][-1] < runs[0][0]


def test_what_runs():
    compiled = engine.compiled(elman.LSTM(1, 1).cell)
    assert engine.compiled(elman.LSTM(1, 1, recurrent_dropout=0.5).cell) == compiled
    assert not engine.compiled(elman.LSTM(1, 1, layer_norm=True).cell)
    assert engine.compiled(elman.LSTM(1, 1, zoneout=0.5).cell) == compiled


@pytest.mark.parametrize("make", [elman.RNN, elman.GRU, elman.LSTM])
def test_bad_rates_are_refused(make):
    for name in ("recurrent_dropout", "zoneout"):
        for wrong in (-0.1, 1.5, np.nan, "0.5", True, None):
            with pytest.raises(ValueError, match=f"{name} must be a number"):
                make(2, 3, **{name: wrong})
        with pytest.raises(ValueError, match=f"{name} must be under 1"):
            make(2, 3, **{name: 1})
    with pytest.raises(ValueError, match=r"zoneout must be a number, or a tuple of \d, \(h.*\)\. Got 3 numbers\."):
        make(2, 3, zoneout=(0.1, 0.1, 0.1))
    with pytest.raises(TypeError, match="learned_state must be True or False"):
        make(2, 3, learned_state=1)


def test_other_bad_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"c of zoneout must be a number from 0 up to 1\. Got 2\."):
        elman.LSTM(2, 3, zoneout=(0.1, 2))
    with pytest.raises(ValueError, match="recurrent_dropout must be 0 for a cell that takes no mask"):
        elman.Recurrent(LEAKY, 2, 3, recurrent_dropout=0.1)
    with pytest.raises(TypeError, match="layer_norm must be True or False"):
        elman.LSTM(2, 3, layer_norm="yes")
    with pytest.raises(TypeError, match="per_sequence must be True or False"):
        elman.Dropout(0.1, per_sequence=1)
    odd = elman.Cell("odd", {"h0": ("input", "hidden")}, ("h",), LEAKY.step, LEAKY.step_derivative)
    with pytest.raises(ValueError, match="a learned state must have a name of its own"):
        elman.Recurrent(odd, 2, 3, learned_state=True)


@pytest.mark.parametrize("convention", ["pytorch", "keras", "elman"])
def test_conventions_refuse_what_they_cannot_hold(convention):
    with pytest.raises(elman.FormatError, match="learned_state must be False"):
        elman.to_arrays(elman.LSTM(2, 3, learned_state=True), convention)
    with pytest.raises(elman.FormatError, match=r"zoneout must be 0 .*Got 0\.1"):
        elman.to_arrays(elman.GRU(2, 3, zoneout=0.1), convention)
    plain, masked = elman.LSTM(2, 3, seed=0), elman.LSTM(2, 3, seed=0, recurrent_dropout=0.5)
    for name, array in elman.to_arrays(plain, convention).items():
        np.testing.assert_array_equal(elman.to_arrays(masked, convention)[name], array)


def test_layer_norm_goes_out_in_no_convention_but_its_own():
    layer = elman.LSTM(2, 3, layer_norm=True, seed=0)
    with pytest.raises(elman.FormatError, match=r"biases alone to fit the convention 'pytorch'\. Got gain_x"):
        elman.to_arrays(layer, "pytorch")
    again = elman.from_arrays("lstm", elman.to_arrays(layer, "elman"), "elman", layer_norm=True)
    x = np.ones((2, 4, 2), np.float32)
    np.testing.assert_array_equal(again(x)[0], layer(x)[0])
