"""Jacobians, Lyapunov exponents and fixed points, held to closed forms, differences, JAX, and maps that are known."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

import elman

FLIP_FLOP = Path(__file__).parent / "golden" / "flip_flop" / "net.safetensors"


def henon():
    """h' = 1 - a h^2 + c, c' = b h (Hénon 1976), as a cell of one's own."""

    def step(x, state, weights):
        (h, c), (a, b) = state, weights
        return (1 - a * h * h + c + 0 * x, b * h), {}

    def step_derivative(x, state, weights, kept, dnext):
        (h, _), (a, b), (dh, dc) = state, weights, dnext
        return 0 * dh, (-2 * a * h * dh + b * dc, dh), (-(dh * h * h).sum(0), (dc * h).sum(0))

    cell = elman.Cell("henon", {"a": ("hidden",), "b": ("hidden",)}, ("h", "c"), step, step_derivative)
    layer = elman.Recurrent(cell, 1, 1, dtype="float64", seed=0)
    layer.a, layer.b = [1.4], [0.3]
    return layer


def logistic(r):
    def step(x, state, weights):
        (h,), (a,) = state, weights
        return (a * h * (1 - h) + 0 * x,), {}

    def step_derivative(x, state, weights, kept, dnext):
        (h,), (a,), (dh,) = state, weights, dnext
        return 0 * dh, (a * (1 - 2 * h) * dh,), ((dh * h * (1 - h)).sum(0),)

    layer = elman.Recurrent(elman.Cell("logistic", {"a": ("hidden",)}, ("h",), step, step_derivative), 1, 1, seed=0)
    layer.a = [r]
    return layer


LAYERS = {
    "rnn": lambda o: elman.RNN(3, 4, **o),
    "rnn sigmoid": lambda o: elman.RNN(3, 4, activation="sigmoid", zoneout=0.3, **o),
    "gru": lambda o: elman.GRU(3, 4, learned_state=True, **o),
    "gru reset before": lambda o: elman.GRU(3, 4, reset_after=False, recurrent_dropout=0.5, **o),
    "lstm": lambda o: elman.LSTM(3, 4, **o),
    "peepholes": lambda o: elman.LSTM(3, 4, peepholes=True, zoneout=(0.2, 0.4), **o),
    "coupled": lambda o: elman.LSTM(3, 4, coupled=True, **o),
    "projection": lambda o: elman.LSTM(3, 4, projection=2, learned_state=True, **o),
    "layer norm": lambda o: elman.LSTM(3, 4, layer_norm=True, **o),
    "chain": lambda o: elman.Network([
        elman.Dense(3, 5, activation="tanh", **o), elman.GRU(5, 2, **o), elman.Dropout(0.5), elman.LSTM(2, 3, **o),
        elman.LayerNorm(3, dtype="float64"), elman.Dense(3, 2, **o),
    ]),
    "convolution": lambda o: elman.Network([elman.Conv1d(3, 2, 3, padding="causal", **o), elman.RNN(2, 4, **o)]),
    "classifier": lambda o: elman.Network([elman.GRU(3, 4, **o), elman.MaxOverTime(), elman.Dense(4, 2, **o)]),
    "graph": lambda o: elman.Network({
        "a": (elman.GRU(3, 2, **o), "x"), "b": (elman.LSTM(3, 3, **o), "x"), "ab": (elman.Concatenate(), "a", "b"),
        "in": (elman.Network([elman.RNN(5, 2, **o), elman.Dense(2, 2, **o)]), "ab"), "y": (elman.Add(), "in", "a"),
    }),
    "outputs": lambda o: elman.Network(
        {"a": (elman.GRU(3, 2, **o), "x"), "b": (elman.RNN(2, 3, **o), "a")}, outputs=("a", "b")
    ),
}  # fmt: skip


def made(name):
    layer = LAYERS[name]({"dtype": "float64", "seed": 3})
    rng = np.random.default_rng(4)
    for array in layer.parameters.values():
        array[...] = 0.7 * rng.standard_normal(array.shape)
    return layer


def flat(state):
    if isinstance(state, np.ndarray):
        return state
    return np.concatenate([flat(part) for part in state], axis=-1)


def moved(state, step):
    """The state plus the next numbers of `step`, in the form of the state."""
    if isinstance(state, np.ndarray):
        return state + np.array([next(step) for _ in range(state.shape[-1])])
    return type(state)([moved(part, step) for part in state])


def random_state(layer, rng, *outer):
    x = rng.standard_normal((*outer, 2, layer.input_size))
    return layer(x)[1]


def differences(layer, x, state):
    """ds'/ds and ds'/dx by central differences of whole calls, for one sequence."""
    size, h = flat(state).shape[-1], 1e-5

    def after(x, state):
        return flat(layer(x[None], state)[1])

    def slope(function):
        return (8 * (function(h) - function(-h)) - (function(2 * h) - function(-2 * h))) / (12 * h)

    by_state = [slope(lambda d, row=row: after(x, moved(state, iter(d * row)))) for row in np.eye(size)]
    by_input = [slope(lambda d, row=row: after(x + d * row, state)) for row in np.eye(len(x))]
    return np.stack(by_state, axis=1), np.stack(by_input, axis=1)


@pytest.mark.parametrize("name", LAYERS)
def test_jacobians_are_those_of_differences(name):
    layer = made(name)
    rng = np.random.default_rng(5)
    x = rng.standard_normal((3, 3))
    state = random_state(layer, rng, 3)
    by_state, by_input = elman.dynamics.jacobian(layer, x, state)
    again = elman.dynamics.jacobian(layer, x, state)
    assert np.array_equal(by_state, again[0])
    assert np.array_equal(by_input, again[1])
    for b in range(3):
        own = _one(state, b)
        wanted = differences(layer, x[b], own)
        single = elman.dynamics.jacobian(layer, x[b], own)
        for got, alone, want in zip((by_state[b], by_input[b]), single, wanted, strict=True):
            assert np.abs(got - want).max() < 1e-7
            np.testing.assert_allclose(alone, got, rtol=1e-12, atol=1e-14)
    assert np.abs(by_state).max() > 0.01
    first = elman.dynamics.jacobian(layer, x)[0]  # from the state before the first step
    np.testing.assert_allclose(first[1], differences(layer, x[1], _start(layer))[0], atol=1e-7)


def _one(state, b):
    return state[b] if isinstance(state, np.ndarray) else type(state)([_one(part, b) for part in state])


def _start(layer):
    """The state before the first step of one sequence, as what is said of `learned_state` has it."""
    if layer.layers:
        return [_start(part) for part in layer.layers if part.stateful]
    learned = [layer.parameters.get(f"{name}0", np.zeros(width)) for name, width in layer.states().items()]
    return learned[0] if len(learned) == 1 else tuple(learned)


def test_jacobians_are_those_of_jax():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy
    lstm = made("lstm")
    gru = elman.GRU(3, 4, dtype="float64", seed=1)
    rng = np.random.default_rng(6)

    def lstm_step(s, x):
        h, c = s[:4], s[4:]
        i, f, g, o = jnp.split(x @ lstm.Wx + h @ lstm.Wh + lstm.b, 4)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jnp.concatenate([jax.nn.sigmoid(o) * jnp.tanh(c), c])

    def gru_step(h, x):
        (xr, xz, xn), (hr, hz, hn) = (jnp.split(a, 3) for a in (x @ gru.Wx + gru.b, h @ gru.Wh))
        by = dict(zip(gru.cell.gates, ((xr, hr), (xz, hz), (xn, hn)), strict=True))
        r, z = (jax.nn.sigmoid(sum(by[gate])) for gate in "rz")
        return z * h + (1 - z) * jnp.tanh(by["n"][0] + r * (by["n"][1] + gru.bn))

    for layer, step, size in ((lstm, lstm_step, 8), (gru, gru_step, 4)):
        x, s = rng.standard_normal(3), rng.standard_normal(size)
        state = (s[:4], s[4:]) if layer is lstm else s
        wanted = jax.jacrev(step, argnums=(0, 1))(s, x)
        for got, want in zip(elman.dynamics.jacobian(layer, x, state), wanted, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


def test_closed_forms_of_a_linear_network():
    rng = np.random.default_rng(7)
    layer = elman.RNN(2, 5, activation="identity", dtype="float64", seed=0)
    layer.Wh = 0.3 * rng.standard_normal((5, 5))
    layer.b = rng.standard_normal(5)
    x, h = rng.standard_normal(2), rng.standard_normal((7, 5))
    by_state, by_input = elman.dynamics.jacobian(layer, x, h[0])
    np.testing.assert_allclose(by_state, layer.Wh.T, atol=1e-14)
    np.testing.assert_allclose(by_input, layer.Wx.T, atol=1e-14)
    found = elman.dynamics.fixed_points(layer, x, h)
    point = np.linalg.solve(np.eye(5) - layer.Wh.T, x @ layer.Wx + layer.b)
    np.testing.assert_allclose(found.points, point[None], atol=1e-8)
    sizes = np.sort(np.abs(np.linalg.eigvals(layer.Wh)))[::-1]
    np.testing.assert_allclose(np.abs(found.eigenvalues[0]), sizes, rtol=1e-9)
    assert found.counts.tolist() == [7]
    assert found.lost == 0
    assert found.stable.tolist() == [bool(sizes[0] < 1)]


def test_exponents_of_a_diagonal_and_of_a_turning_network():
    layer = elman.RNN(1, 4, activation="identity", dtype="float64", seed=0)
    layer.Wh = np.diag([0.2, 1.5, 0.9, 0.5])
    x = np.random.default_rng(0).standard_normal((300, 1))
    wanted = np.log([1.5, 0.9, 0.5, 0.2])
    np.testing.assert_allclose(elman.dynamics.lyapunov(layer, x, skip=100), wanted, atol=1e-9)
    np.testing.assert_allclose(elman.dynamics.lyapunov(layer, x, 2, skip=100), wanted[:2], atol=1e-9)
    turn = elman.RNN(1, 2, activation="identity", dtype="float64", seed=0)
    turn.Wh = 0.8 * np.array([[np.cos(1), np.sin(1)], [-np.sin(1), np.cos(1)]])
    np.testing.assert_allclose(elman.dynamics.lyapunov(turn, x), [np.log(0.8)] * 2, rtol=1e-12)
    turn.Wh = [[0.5, 0.0], [0.0, 0.0]]
    np.testing.assert_allclose(elman.dynamics.lyapunov(turn, x), [np.log(0.5), -np.inf], rtol=0.02)


def test_exponents_of_known_maps():
    """log 2 of the logistic map at 4; 0.419 and log 0.3 together of Hénon's (Sprott 2003, table A.3)."""
    x = np.zeros((8000, 1))
    got = elman.dynamics.lyapunov(logistic(4.0), x, state=np.array([0.3]))
    np.testing.assert_allclose(got, [np.log(2)], rtol=0.03)
    got = elman.dynamics.lyapunov(henon(), x, state=(np.array([0.1]), np.array([0.1])), skip=100)
    np.testing.assert_allclose(got, [0.41922, np.log(0.3) - 0.41922], rtol=0.03)
    np.testing.assert_allclose(got.sum(), np.log(0.3), rtol=1e-9)
    period = elman.dynamics.lyapunov(logistic(3.2), x[:2000], state=np.array([0.3]), skip=500)
    a, b = (4.2 + np.array([1, -1]) * np.sqrt(4.2 * 0.2)) / 6.4  # the two points that it goes between
    np.testing.assert_allclose(period, [np.log(abs(3.2 * (1 - 2 * a) * 3.2 * (1 - 2 * b))) / 2], rtol=1e-5)


def test_exponents_of_a_batch_are_those_of_each_sequence():
    rng = np.random.default_rng(8)
    for layer in (made("lstm"), made("chain"), elman.GRU(3, 4, seed=2)):
        x = rng.standard_normal((3, 50, 3))
        state = random_state(layer, rng, 3)
        both = elman.dynamics.lyapunov(layer, x, state=state, skip=5)
        assert np.array_equal(both, elman.dynamics.lyapunov(layer, x, state=state, skip=5))
        for b in range(3):
            alone = elman.dynamics.lyapunov(layer, x[b], state=_one(state, b), skip=5)
            np.testing.assert_allclose(alone, both[b], rtol=1e-6, atol=1e-8)
            assert (np.diff(alone) <= 0).all()
        some = elman.dynamics.lyapunov(layer, x[0], 2, _one(state, 0), skip=5)
        assert some.shape == (2,)


def test_exponents_are_those_of_the_product_of_jacobians():
    """Over a few steps, where a product can be formed: its singular values are those of the directions together."""
    layer, rng = made("gru"), np.random.default_rng(9)
    x, h = rng.standard_normal((4, 3)), rng.standard_normal(4)
    product, state = np.eye(4), h
    for one in x:
        product = elman.dynamics.jacobian(layer, one, state)[0] @ product
        state = layer(one[None], state)[1]
    got = elman.dynamics.lyapunov(layer, x, state=h)
    np.testing.assert_allclose(got.sum(), np.log(abs(np.linalg.det(product))) / 4, rtol=1e-9)


def test_fixed_points_of_henon():
    b, a = 0.3, 1.4
    layer = henon()
    grid = np.random.default_rng(1).uniform(-2, 2, (40, 1))
    found = elman.dynamics.fixed_points(layer, [0.0], (grid, grid[::-1]))
    h = np.sort((b - 1 + np.array([-1, 1]) * np.sqrt((1 - b) ** 2 + 4 * a)) / (2 * a))
    order = np.argsort(found.points[:, 0])
    np.testing.assert_allclose(found.points[order], np.stack([h, b * h], axis=1), atol=1e-8)
    assert not found.stable.any()
    for value, eigenvalues in zip(h, found.eigenvalues[order], strict=True):
        roots = -a * value + np.array([-1, 1]) * np.sqrt((a * value) ** 2 + b)
        np.testing.assert_allclose(np.sort(eigenvalues.real), np.sort(roots), rtol=1e-7)
    back = layer(np.zeros((2, 1, 1)), found.states)[1]  # the points in the form of the state
    np.testing.assert_allclose(np.concatenate(back, axis=1), found.points, atol=1e-8)
    assert repr(found) == "FixedPoints(2, 0 of them stable, from 40 starts)"


def test_the_flip_flop_has_eight_stable_points():
    """Sussillo and Barak 2013, section 4.1; the network is that of golden/flip_flop/make.py."""
    net, rng = elman.load(FLIP_FLOP), np.random.default_rng(0)
    x = rng.choice([-1.0, 1.0], (32, 60, 3)) * (rng.random((32, 60, 3)) < 0.15)
    begin = time.perf_counter()
    visited = net.layers[0](x)[0][:, 5::5].reshape(-1, 16)
    starts = np.concatenate([visited, visited + rng.normal(0, 0.2, visited.shape)])
    found = elman.dynamics.fixed_points(net.layers[0], np.zeros(3), starts)
    assert time.perf_counter() - begin < 5 or elman.backend() == "plain equations"
    assert found.stable.sum() == 8
    bits = net.layers[1](found.points[found.stable])[0]
    assert {tuple(row) for row in np.sign(bits).tolist()} == {
        (a, b, c) for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)
    }
    assert np.abs(bits).min() > 0.9
    assert len(found) > 8  # and saddles between them
    assert (np.abs(found.eigenvalues[~found.stable]).max(1) > 1).all()
    assert found.counts.sum() + found.lost == len(starts)
    own = elman.dynamics.fixed_points(net, np.zeros(3), [starts.astype(np.float32)])  # the whole network
    assert own.stable.sum() == 8
    assert [part.shape for part in own.states] == [(len(own), 16)]


def test_points_under_inputs_of_their_own_and_under_tokens():
    layer = elman.RNN(1, 1, dtype="float64", seed=0)
    layer.Wx, layer.Wh = [[1.0]], [[0.5]]
    found = elman.dynamics.fixed_points(layer, [[0.0], [0.3], [0.0], [-0.3]], np.full((4, 1), 0.1))
    assert found.counts.tolist() == [2, 1, 1]
    np.testing.assert_allclose(np.tanh(np.array([[0.0], [0.3], [-0.3]]) + 0.5 * found.points), found.points, atol=1e-9)
    net = elman.Network([elman.Embedding(5, 2, dtype="float64", seed=0), elman.GRU(2, 3, dtype="float64", seed=1)])
    found = elman.dynamics.fixed_points(net, 3, [np.zeros((1, 3))])
    np.testing.assert_allclose(net([[3]], found.states)[1][0], found.points, atol=1e-9)
    by_state, by_input = elman.dynamics.jacobian(net, 3, [found.points[0]])
    assert by_state.shape == (3, 3)
    assert by_input is None
    np.testing.assert_allclose(np.sort(np.abs(np.linalg.eigvals(by_state))), np.sort(np.abs(found.eigenvalues[0])))
    assert elman.dynamics.lyapunov(net, [3] * 200)[0] == pytest.approx(
        np.log(np.abs(found.eigenvalues[0, 0])), rel=0.05
    )


def test_layers_of_which_no_state_is_given_start_from_their_own():
    net = made("graph")
    state = random_state(net, np.random.default_rng(1))
    some = [state[0], None, state[2]]
    whole = [state[0], tuple(np.zeros(3) for _ in range(2)), state[2]]
    for got, want in zip(*(elman.dynamics.jacobian(net, np.ones(3), s) for s in (some, whole)), strict=True):
        assert np.array_equal(got, want)
    assert np.array_equal(*(elman.dynamics.jacobian(net, np.ones(3), s)[0] for s in (None, [None, None, None])))


def test_float32_layers_are_computed_in_float64():
    layer = elman.LSTM(3, 4, seed=5)
    x = np.random.default_rng(3).standard_normal(3)
    by_state, _ = elman.dynamics.jacobian(layer, x)
    assert by_state.dtype == np.float64
    assert np.array_equal(by_state, elman.dynamics.jacobian(layer.astype("float64"), x)[0])
    assert layer.dtype == np.float32


def refusals():
    one = elman.GRU(3, 4, seed=0)
    both = elman.GRU(3, 4, bidirectional=True, seed=0)
    steps = {"jacobian": np.zeros(3), "lyapunov": np.zeros((5, 3)), "fixed_points": np.zeros(3)}
    several = elman.Network({"a": (elman.GRU(3, 4, seed=0), "left"), "b": (elman.Concatenate(), "a", "right")})
    for name, x in steps.items():
        rest = (np.zeros((1, 4)),) if name == "fixed_points" else ()
        yield name, (both, x, *rest), "must go step by step, in one direction. Got GRU"
        yield name, (elman.Network([one, elman.Reverse()]), x, *rest), "must go step by step, in one direction. Got Rev"
        yield name, (elman.Dense(3, 4, seed=0), x, *rest), "must have a state that goes from step to step. Got Dense"
        yield name, ("gru", x, *rest), "layer must be a recurrent layer or a network. Got 'gru'"
        yield name, (one, x[..., :2], *rest), "x must have shape .*3.*. Got"
        yield name, (one, x + np.nan, *rest), "x must be finite. Got nan"
        yield name, (several, x, *rest), r"layer must read one input. Got \(left, right\)"
    yield "jacobian", (one, np.zeros(3), np.zeros(5)), r"state must have shape \(4,\). Got \(5,\)"
    yield "jacobian", (one, np.zeros((2, 3)), np.zeros((3, 4))), r"state must have shape \(2, 4\)"
    yield "jacobian", (one, np.zeros(3), np.full(4, np.inf)), "state must be finite. Got inf"
    yield "lyapunov", (one, [np.zeros((4, 3)), np.zeros((5, 3))]), "x must have shape .*. Got a list of 2 sequences"
    yield "lyapunov", (one, np.zeros((5, 3)), 5), "count must be a whole number up to 4. Got 5"
    yield "lyapunov", (one, np.zeros((5, 3)), 0), "count must be a whole number from 1 up. Got 0"
    yield "fixed_points", (one, np.zeros(3), np.zeros((0, 4))), "states must hold at least one start"
    yield "fixed_points", (one, np.zeros(3), None), "states must hold starts"
    yield "fixed_points", (one, np.zeros((2, 3)), np.zeros((3, 4))), "x must hold one input, or 3 as states does. Got 2"
    yield (
        "fixed_points",
        (elman.LSTM(3, 4, seed=0), np.zeros(3), np.zeros((3, 4))),
        "states must be a tuple of 2 arrays",
    )


@pytest.mark.parametrize(("name", "arguments", "words"), [*refusals()])
def test_refused_in_words(name, arguments, words):
    with pytest.raises((ValueError, TypeError), match=words):
        getattr(elman.dynamics, name)(*arguments)


def test_options_are_checked():
    one = elman.GRU(1, 2, seed=0)
    with pytest.raises(ValueError, match="skip must be a whole number up to 4"):
        elman.dynamics.lyapunov(one, np.zeros((5, 1)), skip=5)
    for name, value in (("tolerance", 0), ("distance", -1), ("iterations", 0)):
        with pytest.raises(ValueError, match=f"{name} must be a"):
            elman.dynamics.fixed_points(one, [0.0], np.zeros((1, 2)), **{name: value})
    grows = elman.RNN(1, 1, activation="identity", dtype="float64", seed=0)
    grows.Wh, grows.b = [[1.0]], [1.0]
    with pytest.warns(UserWarning, match="no start of 2 came to a fixed point"):
        found = elman.dynamics.fixed_points(grows, [0.0], np.zeros((2, 1)))
    assert len(found) == 0
    assert found.points.shape == found.eigenvalues.shape == (0, 1)
    assert found.lost == 2
    grows.Wh = [[1e200]]
    with pytest.raises(ValueError, match="x must keep the state finite"):
        elman.dynamics.lyapunov(grows, np.zeros((5, 1)))
