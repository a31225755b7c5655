"""Attention held to its equations written out, to itself alone, and to PyTorch and Keras."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

import elman
from elman.layers import joining

KINDS = [(kind, units, scaled) for kind in ("dot", "additive") for units in (None, 5) for scaled in (None, False)]


def drawn(kind="dot", units=None, scaled=None, seed=0, dtype="float64"):
    """A network of attention with random weights, and both inputs, of lengths that differ."""
    rng = np.random.default_rng(seed)
    sizes = (4, 4) if units is None else (3, 4)
    net = elman.Network({"context": (elman.Attention(*sizes, units, kind, scaled, dtype=dtype), "query", "memory")})
    for array in net.parameters.values():
        array[...] = rng.standard_normal(array.shape)
    query = [rng.standard_normal((n, sizes[0])).astype(dtype) for n in (2, 7, 1)]
    memory = [rng.standard_normal((n, sizes[1])).astype(dtype) for n in (3, 1, 6)]
    return net, {"query": query, "memory": memory}


def context(layer, q, m):
    """The equations, one pair at a time."""
    a, k = (q @ layer.Wq + layer.b, m @ layer.Wm) if layer.units else (q, m)
    rows = []
    for i in range(len(q)):
        if layer.kind == "additive":
            s = np.array([layer.v @ np.tanh(a[i] + step) for step in k])
        else:
            s = np.array([a[i] @ step for step in k]) / (1 if layer.scaled is False else np.sqrt(k.shape[1]))
        p = np.exp(s) / np.exp(s).sum()
        rows.append(p @ m)
    return np.array(rows)


@pytest.mark.parametrize(("kind", "units", "scaled"), KINDS)
def test_the_equations(kind, units, scaled):
    net, x = drawn(kind, units, scaled)
    for _ in range(2):
        y, state = net(x)
        for got, q, m in zip(y, x["query"], x["memory"], strict=True):
            np.testing.assert_allclose(got, context(net.layers[0], q, m), rtol=0, atol=1e-13)
    assert state == []
    vectors = np.stack([part[0] for part in x["query"]])
    got, _ = net({"query": vectors, "memory": x["memory"]})
    assert got.shape == (3, 4)
    np.testing.assert_array_equal(got, [part[0] for part in y])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("kind", "units", "scaled"), KINDS)
def test_a_batch_has_the_bits_of_each_sequence_alone(kind, units, scaled, dtype):
    net, x = drawn(kind, units, scaled, seed=1, dtype=dtype)
    y, _, tape = net.forward(x)
    dx, _, _ = net.backward(tape, y)
    for i in range(3):
        alone, _, twin = net.forward({name: [part[i]] for name, part in x.items()})
        each, _, _ = net.backward(twin, alone)
        bound = 30 * np.finfo(dtype).eps if elman.backend() == "plain equations" else 0  # there to rounding
        for a, b in ((alone[0], y[i]), *((each[name][0], dx[name][i]) for name in x)):
            np.testing.assert_allclose(a, b, rtol=0, atol=bound)


def test_blocks_of_queries_change_nothing(monkeypatch):
    net, x = drawn("additive", 5)
    y, _, tape = net.forward(x)
    dx, _, gradients = net.backward(tape, y)
    monkeypatch.setattr(joining, "_BLOCK", 40)
    z, _, tape = net.forward(x)
    dz, _, others = net.backward(tape, y)
    for a, b in zip([*y, *dx["query"], *dx["memory"]], [*z, *dz["query"], *dz["memory"]], strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-13)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, others[name], rtol=0, atol=1e-13)


def test_large_scores_stay_finite():
    net, x = drawn(dtype="float32")
    y, _, tape = net.forward({name: [1e4 * part for part in parts] for name, parts in x.items()})
    dx, _, _ = net.backward(tape, y)
    assert all(np.isfinite(part).all() for part in [*y, *dx["query"], *dx["memory"]])


def test_attention_without_parameters_has_no_dtype_of_its_own():
    layer = elman.Attention(4, 4)
    assert (layer.dtype, dict(layer.parameters), dict(layer.config)) == (None, {}, {"query_size": 4, "memory_size": 4})
    net = elman.Network({
        "a": (elman.GRU(3, 4, dtype="float64", seed=0), "x"),
        "b": (elman.Attention(4, 4), "a", "a"),
    })  # fmt: skip
    assert net(np.ones((2, 5, 3)))[0].dtype == np.float64
    assert layer.replace(units=3).dtype == np.float32
    assert elman.Attention(4, 4, dtype="float64").dtype == np.float64
    assert elman.Attention(4, 4, kind="additive").dtype == np.float32


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((3, 4), r"query_size and memory_size must be equal where units is left out\. Got 3 and 4"),
        ((3, 4, None, "additive"), "must be equal"),
        ((3, 3, None, "additive", True), r"scaled must be left out for additive attention.*Got True"),
        ((3, 3, None, "product"), r"kind must be one of 'dot', 'additive'\. Got 'product'"),
        ((3, 3, 0), "units must be"),
        ((3, 3, None, "dot", 1), "scaled must be"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, words):
    with pytest.raises((ValueError, TypeError), match=words):
        elman.Attention(*arguments)


def test_what_it_cannot_read_is_refused_by_its_node():
    layer = elman.Attention(3, 4, units=2)
    with pytest.raises(elman.ShapeError, match=r"node 'y', Attention, must take 4 features.*input_size 3"):
        elman.Network({"a": (elman.GRU(2, 4), "x"), "y": (layer, "a", "a")})
    with pytest.raises(elman.ShapeError, match=r"node 'y', Attention, must read a memory of 4 features\. Got 5"):
        elman.Network({"a": (elman.GRU(2, 3), "x"), "b": (elman.GRU(2, 5), "x"), "y": (layer, "a", "b")})
    with pytest.raises(ValueError, match=r"node 'y', Attention, must read 2 values\. Got 1"):
        elman.Network({"y": (layer, "x")})
    with pytest.raises(elman.ShapeError, match="Attention must stand in a network"):
        layer(np.ones((2, 5, 3)))
    net = elman.Network({"y": (layer, "query", "memory")})
    query, memory = np.ones((2, 5, 3)), np.ones((2, 6, 4))
    with pytest.raises(elman.ShapeError, match=r"node 'y', Attention, .*must be given sequences"):
        net({"query": query, "memory": memory[:, 0]})
    with pytest.raises(elman.ShapeError, match=r"memory must hold 2 sequences, as query does\. Got 3"):
        net({"query": query, "memory": np.ones((3, 6, 4))})
    with pytest.raises(elman.ShapeError, match=r"a stream must have layers that go forward.*Got node 'y'"):
        net.stream()


def test_nothing_in_padding_is_read_and_pickles_compute_the_same():
    net, x = drawn("additive", 5)
    arrays = {name: np.full((3, 9, parts[0].shape[1]), np.nan) for name, parts in x.items()}
    lengths = {name: [len(part) for part in parts] for name, parts in x.items()}
    for name, parts in x.items():
        for row, part in zip(arrays[name], parts, strict=True):
            row[: len(part)] = part
    for same in (net, pickle.loads(pickle.dumps(net))):
        y, _, tape = same.forward(arrays, lengths=lengths)
        dx, _, gradients = same.backward(tape, np.where(y == 0, np.nan, y))
        assert all(np.isfinite(array).all() for array in gradients.values())
        for got, part in zip(y, net(x)[0], strict=True):
            np.testing.assert_array_equal(got[: len(part)], part)
            assert not got[len(part) :].any()
        assert {name: part.shape for name, part in dx.items()} == {"query": (3, 9, 3), "memory": (3, 9, 4)}


def test_it_learns_to_look_at_the_step_that_is_asked_for():
    rng = np.random.default_rng(2)
    memory = [rng.standard_normal((n, 4)) for n in rng.integers(3, 8, 64)]
    places = [int(rng.integers(len(part))) for part in memory]
    query = np.stack([part[place, :2] for part, place in zip(memory, places, strict=True)])
    target = np.stack([part[place, 2:3] for part, place in zip(memory, places, strict=True)])
    net = elman.Network({
        "look": (elman.Attention(2, 4, units=8, kind="additive", seed=0), "query", "memory"),
        "out": elman.Dense(4, 1, seed=1),
    })  # fmt: skip
    x = {"query": query, "memory": memory}
    history = elman.fit(net, x, target, loss="squared_error", optimizer=elman.Adam(0.03), epochs=60, progress=False)
    assert history.loss[-1] < 0.3 * history.loss[0]


@pytest.mark.peer
@pytest.mark.parametrize("scaled", [None, False])
def test_the_dot_product_is_that_of_pytorch(scaled):
    torch = pytest.importorskip("torch")
    net, x = drawn("dot", None, scaled, seed=3)
    y, _, tape = net.forward(x)
    dy = [np.random.default_rng(4).standard_normal(part.shape) for part in y]
    dx, _, _ = net.backward(tape, dy)
    for i in range(3):
        q, m = (torch.tensor(x[name][i][None], requires_grad=True) for name in ("query", "memory"))
        scale = 1.0 if scaled is False else None
        c = torch.nn.functional.scaled_dot_product_attention(q, m, m, scale=scale)
        c.backward(torch.tensor(dy[i][None]))
        for a, b in ((y[i], c.detach()), (dx["query"][i], q.grad), (dx["memory"][i], m.grad)):
            np.testing.assert_allclose(a, b[0].numpy(), rtol=0, atol=1e-12)


@pytest.mark.peer
def test_one_head_of_pytorchs_attention_is_units_and_a_dense_layer():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.MultiheadAttention(4, 1, batch_first=True, dtype=torch.float64)
    torch.nn.init.normal_(module.in_proj_bias)
    torch.nn.init.normal_(module.out_proj.bias)
    Wq, Wk, Wv = module.in_proj_weight.detach().numpy().reshape(3, 4, 4).transpose(0, 2, 1)
    bq, _, bv = module.in_proj_bias.detach().numpy().reshape(3, 4)
    layer = elman.Attention(4, 4, units=4, dtype="float64")
    layer.Wq, layer.Wm, layer.b = Wq, Wk, bq
    dense = elman.Dense(4, 4, dtype="float64")
    Wo = module.out_proj.weight.detach().numpy().T
    dense.W, dense.b = Wv @ Wo, bv @ Wo + module.out_proj.bias.detach().numpy()
    net = elman.Network({"context": (layer, "query", "memory"), "out": dense})
    rng = np.random.default_rng(0)
    q, m = rng.standard_normal((3, 5, 4)), rng.standard_normal((3, 6, 4))
    theirs, _ = module(torch.tensor(q), torch.tensor(m), torch.tensor(m))
    np.testing.assert_allclose(net({"query": q, "memory": m})[0], theirs.detach().numpy(), rtol=0, atol=1e-12)


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # torch and numpy
def test_the_layers_of_keras():
    pytest.importorskip("torch")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    rng = np.random.default_rng(0)
    q, m = (rng.standard_normal((3, n, 4)).astype("f4") for n in (5, 6))
    lengths = np.array([6, 2, 4])
    mask = np.arange(6) < lengths[:, None]
    own = [elman.Attention(4, 4, scaled=False), elman.Attention(4, 4, kind="additive", seed=0)]
    theirs = [keras.layers.Attention(), keras.layers.AdditiveAttention()]
    theirs[1].build([(3, 5, 4), (3, 6, 4)])
    theirs[1].set_weights([own[1].v])
    for mine, peer in zip(own, theirs, strict=True):
        y, _ = elman.Network({"y": (mine, "q", "m")})({"q": q, "m": m}, lengths={"m": lengths})
        expected = peer([q, m], mask=[None, mask])
        np.testing.assert_allclose(y, keras.ops.convert_to_numpy(expected), rtol=0, atol=1e-5)
