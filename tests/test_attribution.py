"""Attributions hold to the sum that is promised, to closed forms and to backward; Hessian products to differences."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest

import elman
from central import central_gradient
from drawn_graphs import Drawn, padded
from elman.insight import attributing
from test_graphs import leaves

METHODS = ("integrated_gradients", "gradient_x_input")


def network(outputs=3, **options):
    layers = [elman.LSTM(2, 5, dtype="float64", seed=1), elman.LastStep()]
    net = elman.Network([*layers, elman.Dense(5, outputs, dtype="float64", seed=2, **options)])
    rng = np.random.default_rng(3)
    for array in net.parameters.values():
        array[...] = rng.standard_normal(array.shape)
    return net


def sums(shares):
    """The shares of each sequence together, over all inputs."""
    if isinstance(shares, dict):
        return sum(sums(part) for part in shares.values())
    return np.array([part.sum() for part in shares])


def without_tokens(x, net):
    """The same inputs with 0 in the place of features; tokens stay."""
    if isinstance(x, dict):
        return {name: without_tokens(part, net) for name, part in x.items()}
    return [part if part.dtype.kind == "i" else np.zeros_like(part) for part in x]


@pytest.mark.parametrize("seed", range(30))
def test_shares_of_random_graphs_sum_to_the_difference(seed):
    drawn = Drawn(seed, states=seed % 2 == 1)
    net = drawn.network()
    x = drawn.inputs_of(net)
    rng = np.random.default_rng(seed)
    y = net(x)[0]
    named = isinstance(y, dict)
    name = str(rng.choice(list(y))) if named else None
    out = y[name] if named else y
    place = int(rng.integers(out[0].shape[-1]))
    target = {name: place} if named else place
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of kinks, by pools over the largest
        shares = elman.attribution(net, x, target, steps=100)
    before = net.replace()
    for node, layer in zip(before.names, before.layers, strict=True):
        if isinstance(layer, elman.Embedding):
            before.parameters[f"{node}.W"][...] = 0
    low = before(without_tokens(x, net))[0]
    low = low[name] if named else low
    wanted = np.array([(a[-1] - b[-1] if a.ndim == 2 else a - b)[place] for a, b in zip(out, low, strict=True)])
    differences = {id(part): part.difference for part in (shares.values() if isinstance(shares, dict) else [shares])}
    for difference in differences.values():
        np.testing.assert_allclose(difference, wanted, atol=1e-10)
    size = sum(np.abs(part).sum() for part in leaves(shares)) + 1e-9
    assert np.abs(sums(shares) - wanted).max() < 0.02 * size
    for got, given in zip(leaves(shares), leaves(x), strict=True):
        assert got.shape == given.shape


@pytest.mark.parametrize("method", METHODS)
def test_of_a_linear_network_each_share_is_its_product(method):
    net = elman.Network([elman.Dense(3, 4, dtype="float64", seed=0), elman.MeanOverTime(), elman.Dense(4, 2, seed=1,
                         dtype="float64")])  # fmt: skip
    x = np.random.default_rng(0).standard_normal((2, 5, 3))
    W = net.layers[0].W @ net.layers[2].W
    for place in (0, 1):
        shares = elman.attribution(net, x, place, method, steps=3)
        np.testing.assert_allclose(shares, x * W[:, place] / 5, atol=1e-14)
    base = np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(elman.attribution(net, x, 1, method, base), (x - base) * W[:, 1] / 5, atol=1e-14)
    np.testing.assert_allclose(elman.attribution(net, x, 1, method, 2.5), (x - 2.5) * W[:, 1] / 5, atol=1e-14)
    whole = np.random.default_rng(1).standard_normal(x.shape)
    np.testing.assert_allclose(elman.attribution(net, x, 1, method, whole), (x - whole) * W[:, 1] / 5, atol=1e-14)


def test_shares_are_those_of_gradients_along_the_path():
    """The integral by the midpoint rule over 2,000 calls of `backward`."""
    net, x = network(), np.random.default_rng(4).standard_normal((2, 4, 2))
    base = np.array([0.3, -0.2])
    dy = np.zeros((2, 3))
    dy[:, 1] = 1
    total = 0
    for a in (np.arange(2000) + 0.5) / 2000:
        y, _, tape = net.forward(base + a * (x - base))
        total = total + net.backward(tape, dy)[0] / 2000
    np.testing.assert_allclose(elman.attribution(net, x, 1, baseline=base), (x - base) * total, atol=1e-6)
    y, _, tape = net.forward(x)
    wanted = (x - base) * net.backward(tape, dy)[0]
    np.testing.assert_allclose(elman.attribution(net, x, 1, "gradient_x_input", base), wanted, atol=1e-14)


def test_a_feature_that_nothing_reads_has_no_share():
    net = network()
    net.layers[0].Wx[1] = 0
    shares = elman.attribution(net, np.random.default_rng(5).standard_normal((3, 6, 2)), 0)
    assert np.abs(shares[..., 1]).max() == 0
    assert np.abs(shares[..., 0]).min() > 0


def test_every_form_gives_the_same(monkeypatch):
    net, rng = network(), np.random.default_rng(6)
    x = [rng.standard_normal((n, 2)) for n in (4, 1, 7, 3)]
    listed = elman.attribution(net, x, 2)
    assert isinstance(listed, list)
    assert [part.shape for part in listed] == [part.shape for part in x]
    np.testing.assert_allclose(sums(listed), listed.difference, rtol=1e-8)
    array = elman.attribution(net, padded(x), 2, lengths=[4, 1, 7, 3])
    assert array.shape == (4, 7, 2)
    for row, part, one in zip(array, listed, x, strict=True):
        np.testing.assert_allclose(row[: len(part)], part, rtol=1e-12)
        assert not row[len(part) :].any()
        single = elman.attribution(net, one, 2)
        np.testing.assert_allclose(single, part, rtol=1e-10)
        assert single.difference.shape == ()
    monkeypatch.setattr(attributing, "_ROWS", 5)  # a few sequences at a time
    for part, other in zip(elman.attribution(net, x, 2), listed, strict=True):
        np.testing.assert_allclose(part, other, rtol=1e-12)


def test_targets():
    rng = np.random.default_rng(7)
    steps = elman.Network([elman.GRU(2, 4, dtype="float64", seed=0), elman.Dense(4, 3, dtype="float64", seed=1)])
    x = [rng.standard_normal((n, 2)) for n in (5, 3)]
    y, low = steps(x)[0], steps([0 * part for part in x])[0]
    for target, wanted in (
        (1, [a[-1, 1] - b[-1, 1] for a, b in zip(y, low, strict=True)]),
        ((0, 2), [a[0, 2] - b[0, 2] for a, b in zip(y, low, strict=True)]),
        ((-3, 0), [a[-3, 0] - b[-3, 0] for a, b in zip(y, low, strict=True)]),
        (np.array([2, 0]), [y[0][-1, 2] - low[0][-1, 2], y[1][-1, 0] - low[1][-1, 0]]),
        ((1, [0, 1]), [y[0][1, 0] - low[0][1, 0], y[1][1, 1] - low[1][1, 1]]),
        (None, [(a[-1] - b[-1])[a[-1].argmax()] for a, b in zip(y, low, strict=True)]),
        ((1, None), [(a[1] - b[1])[a[1].argmax()] for a, b in zip(y, low, strict=True)]),
    ):
        shares = elman.attribution(steps, x, target)
        np.testing.assert_allclose(shares.difference, wanted, atol=1e-12)
        np.testing.assert_allclose(sums(shares), wanted, rtol=1e-7, atol=1e-9)
        assert shares.target is target
    early = elman.attribution(steps, x, (0, 2))
    assert not early[0][1:].any()  # what comes after counts nothing
    one = network(outputs=1)
    np.testing.assert_equal(elman.attribution(one, x), elman.attribution(one, x, 0))


def test_tokens():
    rng = np.random.default_rng(8)
    rest = network()
    net = elman.Network([elman.Embedding(6, 2, dtype="float64", seed=4), *rest.layers])
    x = rng.integers(0, 6, (3, 5))
    W = net.layers[0].W
    for method in METHODS:
        for base in (0, 0.3, W[2]):
            shares = elman.attribution(net, x, 1, method, base)
            assert shares.shape == (3, 5)
            np.testing.assert_allclose(shares, elman.attribution(rest, W[x], 1, method, base).sum(2), atol=1e-13)
    nested = elman.Network([elman.Network([net.layers[0], net.layers[1]]), *net.layers[2:]])
    np.testing.assert_allclose(elman.attribution(nested, x, 1), elman.attribution(net, x, 1), atol=1e-13)
    twice = elman.Network({
        "a": (elman.Embedding(6, 2, dtype="float64", seed=1), "words"),
        "b": (elman.Embedding(6, 3, dtype="float64", seed=2), "words"),
        "ab": (elman.Concatenate(), "a", "b"),
        "h": elman.Bidirectional(elman.GRU(5, 2, dtype="float64", seed=3), elman.LSTM(5, 3, dtype="float64", seed=4)),
    })  # fmt: skip
    lists = [row[:n] for row, n in zip(x, (5, 2, 3), strict=True)]
    shares = elman.attribution(twice, lists, (0, 4))
    np.testing.assert_allclose(sums(shares), shares.difference, rtol=1e-7)
    assert [part.shape for part in shares] == [(5,), (2,), (3,)]
    alone = elman.attribution(net.layers[0], x, (1, 0))  # a value of a vector is all its own
    np.testing.assert_allclose(alone, (np.arange(5) == 1) * W[x[:, 1], :1], atol=1e-14)


def test_what_comes_out_is_an_array():
    x = np.random.default_rng(9).standard_normal((2, 4, 2)).astype(np.float32)
    shares = elman.attribution(network().astype("float32"), x, 0)
    assert type(shares.values) is np.ndarray
    assert shares.dtype == np.float64
    assert type(shares + 1) is np.ndarray
    assert isinstance(shares.sum(), float)
    assert np.array_equal(np.asarray(shares), shares.values)
    assert copy.deepcopy(shares).difference is not None
    assert shares[0].difference is None
    assert np.array_equal(pickle.loads(pickle.dumps(shares)), shares)
    np.testing.assert_allclose(shares.values.sum((1, 2)), shares.difference, rtol=1e-7)


def test_several_inputs():
    net = elman.Network({
        "h": (elman.GRU(2, 3, dtype="float64", seed=0), "series"),
        "both": (elman.Concatenate(), "h", "place"),
        "y": elman.Dense(5, 2, "tanh", dtype="float64", seed=1),
    })  # fmt: skip
    rng = np.random.default_rng(10)
    x = {"series": rng.standard_normal((3, 4, 2)), "place": rng.standard_normal((3, 2))}
    shares = elman.attribution(net, x, 1, baseline={"place": [1.0, 2.0]})
    low = net({"series": 0 * x["series"], "place": np.tile([1.0, 2.0], (3, 1))})[0]
    wanted = net(x)[0][:, -1, 1] - low[:, -1, 1]
    np.testing.assert_allclose(shares["series"].sum((1, 2)) + shares["place"].sum(1), wanted, rtol=1e-8)
    assert shares["place"].shape == (3, 2)


def test_a_sum_that_misses_is_told(monkeypatch):
    net = elman.Network([elman.Dense(1, 1, "relu", dtype="float64", seed=0), elman.MaxOverTime()])
    net.layers[0].W, net.layers[0].b = [[1.0]], [-0.83]
    x = np.array([[[1.0], [-1.0]]])
    monkeypatch.setattr(attributing, "_HALVINGS", 0)
    with pytest.warns(UserWarning, match=r"shares of sequence 0 must sum to F\(x\) - F\(baseline\), 0.17. Got"):
        elman.attribution(net, x, steps=2)
    monkeypatch.undo()
    shares = elman.attribution(net, x)  # the kink is found
    np.testing.assert_allclose(shares, [[[0.17], [0.0]]], atol=1e-4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"net": "lstm"}, "net must be a network or a layer; .*to_network.*Got 'lstm'"),
        ({"method": "gradient"}, "method must be one of 'integrated_gradients', 'gradient_x_input'. Got 'gradient'"),
        ({"target": 3}, "target must be from 0 to 2. Got 3 for sequence 0"),
        ({"target": -1}, "target must be from 0 to 2. Got -1"),
        ({"target": [0, 5]}, "target must be from 0 to 2. Got 5 for sequence 1"),
        ({"target": [0, 1, 2]}, r"target must have shape \(2,\). Got \(3,\)"),
        ({"target": (0, 1)}, "target must be a place alone.*step 0"),
        ({"target": (0, 1, 2)}, "target must be a place, or a pair"),
        ({"target": 1.5}, "target must hold integers"),
        ({"baseline": [1.0, 2.0, 3.0]}, r"baseline must have shape \(2,\). Got \(3,\)"),
        ({"baseline": np.nan}, "baseline must be a number. Got nan"),
        ({"baseline": {"y": 0}}, "a name in baseline must be one of 'x'"),
        ({"baseline": np.zeros((2, 3, 2))}, r"baseline must have shape \(2, 4, 2\). Got \(2, 3, 2\)"),
        ({"x": np.full((2, 4, 2), np.inf)}, "x must be finite. Got inf"),
        ({"x": np.zeros((2, 4, 3))}, r"x must have shape \(batch, time, 2\)"),
        ({"tolerance": 0}, "tolerance must be a number over 0"),
        ({"steps": 0}, "steps must be a whole number from 1 up"),
        ({"net": elman.Network([elman.Masking(), elman.GRU(2, 3, seed=0)])}, "net must not drop steps"),
    ],
)  # fmt: skip
def test_refused(change, words):
    arguments = {"net": network(), "x": np.random.default_rng(0).standard_normal((2, 4, 2)), "target": 0, **change}
    with pytest.raises((ValueError, TypeError), match=words):
        elman.attribution(**arguments)


def test_outputs_that_are_not_finite_are_told():
    net = network()
    net.layers[-1].b[1] = np.inf
    with pytest.raises(ValueError, match=r"net must give finite outputs. Got inf and inf for sequence 0"):
        elman.attribution(net, np.ones((1, 2, 2)), 1)
    flat = network()  # so large that its differences are rounding alone
    flat.layers[-1].b[:] = 1e8
    flat.layers[-1].W[:] *= 1e-4
    assert elman.attribution(flat, np.ones((2, 3, 2)), 1).shape == (2, 3, 2)


def test_outputs_by_name_are_asked_for_by_name():
    nodes = {"a": (elman.GRU(2, 3, seed=0), "x"), "b": elman.Dense(3, 2, seed=1)}
    net = elman.Network(nodes, outputs=("a", "b"))
    x = np.ones((1, 3, 2))
    with pytest.raises(ValueError, match="target must be a mapping of one output, 'a', 'b', to what is asked of it"):
        elman.attribution(net, x, 0)
    with pytest.raises(ValueError, match="the output of target must be one of 'a', 'b'"):
        elman.attribution(net, x, {"c": 0})
    with pytest.raises(ValueError, match=r"the step of target must be from -3 to 2, for sequence 0. Got 3"):
        elman.attribution(net, x, {"b": (3, 0)})


def test_shares_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(15)
    array = elman.attribution(network(), rng.standard_normal((3, 6, 2)), 0)
    listed = elman.attribution(network(), [rng.standard_normal((n, 2)) for n in (4, 7)], 0)
    single = elman.attribution(network(), rng.standard_normal((6, 2)), 0)
    words = elman.attribution(
        elman.Network([elman.Embedding(9, 2, seed=0), *network().astype("float32").layers]), [[1]], 0
    )
    for i, (shares, more) in enumerate(
        [(array, {"sequence": 2}), (listed, {"sequence": -1, "text": "abcdefg"}), (single, {}), (words, {"text": "a"})]
    ):
        path = tmp_path / f"{i}.png"
        shares.plot(path=path, **more)
        assert path.read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ValueError, match=r"sequence must be a whole number from -2 to 1. Got 2"):
        listed.plot(sequence=2)
    with pytest.raises(ValueError, match=r"sequence must be a whole number from -3 to 2. Got 'a'"):
        array.plot(sequence="a")


# Products of the Hessian


def hessian_cases():
    rng = np.random.default_rng(11)
    x = rng.standard_normal((3, 4, 2))
    lists = [rng.standard_normal((n, 2)) for n in (4, 1, 6)]
    steps = elman.Network([elman.GRU(2, 3, seed=0), elman.Dense(3, 2, "tanh", seed=1)])
    yield "classes", network(), "cross_entropy", x, np.array([0, 2, 1]), {}
    yield "steps of lists", steps, "squared_error", lists, [rng.standard_normal((len(part), 2)) for part in lists], {}
    weights = {"lengths": [4, 2, 3], "sample_weight": np.array([1.0, 0.5, 2.0])}
    yield "padded", steps, "squared_error", x, rng.standard_normal((3, 4, 2)), weights
    plain = elman.Network([elman.LSTM(2, 2, layer_norm=True, seed=2), elman.BatchNorm(2), elman.MeanOverTime()])
    yield "layer norm", plain, "squared_error", x, rng.standard_normal((3, 2)), {}
    two = elman.Network({"a": (elman.RNN(2, 2, seed=0), "x"), "b": elman.Dense(2, 3, seed=1)}, outputs=("a", "b"))
    labels = {"a": rng.standard_normal((3, 4, 2)), "b": rng.integers(0, 3, (3, 4))}
    yield "outputs", two, {"a": "squared_error", "b": "cross_entropy"}, x, labels, {}


@pytest.mark.parametrize("case", [*hessian_cases()], ids=lambda case: case[0])
def test_hessian_products(case):
    _, net, loss, x, y, more = case
    rng = np.random.default_rng(12)
    u, v = ({name: rng.standard_normal(a.shape) for name, a in net.parameters.items()} for _ in range(2))
    before = {name: array.copy() for name, array in net.parameters.items()}
    Hv = elman.hessian_product(net, loss, x, y, v, **more)
    np.testing.assert_equal(elman.hessian_product(net, loss, x, y, v, **more), Hv)
    np.testing.assert_equal(dict(net.parameters), before)
    assert all(Hv[name].shape == a.shape and Hv[name].dtype == np.float64 for name, a in before.items())
    Hu = elman.hessian_product(net, loss, x, y, u, **more)
    dot = lambda a, b: sum((a[name] * b[name]).sum() for name in a)  # noqa: E731
    size = np.sqrt(dot(Hv, Hv) * dot(u, u))
    assert abs(dot(u, Hv) - dot(v, Hu)) < 1e-8 * size
    wide = net.astype("float64")  # each entry: a difference along v of a difference of the loss

    def mean_loss(t):
        for name, array in wide.parameters.items():
            array[...] = before[name] + t * v[name]
        return lambda: loss_of(wide, loss, x, y, more)

    for name in list(before)[:2]:
        slopes = []
        for t in (1e-4, -1e-4):
            value = mean_loss(t)
            slopes.append(central_gradient(value, wide.parameters[name]))
        wanted = (slopes[0] - slopes[1]) / 2e-4
        np.testing.assert_allclose(Hv[name], wanted, atol=2e-6 * (1 + np.abs(wanted).max()))


def loss_of(net, loss, x, y, more):
    """The weighted mean of `elman.fit`, by a run of no epoch's length: from the parts of the library."""
    from elman.training.examples import read_examples, read_losses

    more = dict(more)
    data = read_examples(net, x, y, more.pop("lengths", None), read_losses(net, loss), **more)
    found = net.run(data.x, None, None, keep=False)[0]
    pairs = zip(found.named.values(), data.targets, strict=True)
    return sum(target.measure(output, backward=False)[0] / target.total for output, target in pairs)


def test_hessian_product_of_a_closed_form():
    """L = mean of (x W + b - y)^2: the Hessian is 2 / N of the sum of (x, 1)(x, 1)^T, and knows nothing of y."""
    rng = np.random.default_rng(13)
    net = elman.Dense(3, 1, seed=0)
    x, y = rng.standard_normal((5, 4, 3)), rng.standard_normal((5, 4, 1))
    rows = np.concatenate([x.reshape(-1, 3), np.ones((20, 1))], axis=1)
    v = rng.standard_normal(4)
    got = elman.hessian_product(net, "squared_error", x, y, {"W": v[:3, None], "b": v[3:]})
    np.testing.assert_allclose(np.concatenate([got["W"][:, 0], got["b"]]), 2 * rows.T @ rows @ v / 20, rtol=1e-10)
    scaled = elman.hessian_product(net, "squared_error", x, y, {"W": 1e6 * v[:3, None], "b": 1e6 * v[3:]})
    np.testing.assert_allclose(scaled["W"], 1e6 * got["W"], rtol=1e-10)
    assert not any(part.any() for part in elman.hessian_product(net, "squared_error", x, y, {}).values())


@pytest.mark.peer
@pytest.mark.parametrize("kind", [elman.LSTM, elman.GRU])
def test_hessian_products_are_those_of_torch(kind):
    torch = pytest.importorskip("torch")
    net = elman.Network([kind(2, 4, dtype="float64", seed=0), elman.Dense(4, 3, dtype="float64", seed=1)])
    module = elman.to_torch(net).double()
    rng = np.random.default_rng(14)
    x, y = rng.standard_normal((3, 5, 2)), rng.standard_normal((3, 5, 3))
    v = {name: rng.standard_normal(a.shape) for name, a in net.parameters.items()}
    twin = net.replace()
    for name, array in twin.parameters.items():
        array[...] = v[name]
    vectors = [p.detach() for p in elman.to_torch(twin).double().parameters()]
    parameters = [p for p in module.parameters() if p.requires_grad]
    out = module(torch.from_numpy(x))
    out = out[0] if isinstance(out, tuple) else out
    loss = ((out - torch.from_numpy(y)) ** 2).mean()
    slopes = torch.autograd.grad(loss, parameters, create_graph=True)
    products = torch.autograd.grad(sum((s * w).sum() for s, w in zip(slopes, vectors, strict=True)), parameters)
    ours = elman.hessian_product(net, "squared_error", x, y, v)
    for name, array in twin.parameters.items():
        array[...] = ours[name]
    wanted = [p.detach().numpy() for p in elman.to_torch(twin).double().parameters()]
    for got, want, p in zip(products, wanted, module.named_parameters(), strict=True):
        own = slice(-len(want) // 3, None) if kind is elman.GRU else slice(0, 0)  # else it is one with the other bias
        part = own if "bias_hh" in p[0] else slice(None)
        np.testing.assert_allclose(got.numpy()[part], want[part], rtol=1e-8, atol=1e-10, err_msg=p[0])


@pytest.mark.parametrize(
    ("v", "words"),
    [
        ({"0.Wq": np.zeros((2, 2))}, "a name in v must be one of '0.Wx'"),
        ({"0.Wh": np.zeros((2, 2))}, r"v\['0.Wh'\] must have shape \(5, 20\). Got \(2, 2\)"),
        ({"2.b": [np.nan, 0.0, 0.0]}, "v must be finite. Got nan"),
        ([1.0], "v must be a mapping of names of parameters to arrays"),
    ],
)
def test_vectors_are_checked(v, words):
    with pytest.raises((ValueError, TypeError), match=words):
        elman.hessian_product(network(), "cross_entropy", np.ones((2, 3, 2)), [0, 1], v)


def test_hessian_product_is_of_a_network():
    with pytest.raises(TypeError, match=r"net must be a network or a layer. Got 'lstm'"):
        elman.hessian_product("lstm", "cross_entropy", np.ones((2, 3, 2)), [0, 1], {})
