"""Convolutions, pools over windows, constants and repeats: gradients, lengths, paddings, PyTorch, streams, files."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import elman
from central import central_gradient, relative_error

PADDINGS = ("same", "valid", "causal", (2, 0), (1, 3))


def drawn(seed, dtype="float64", kinds=("conv", "max", "average", "scale")):
    """A random layer for 3 features."""
    rng = np.random.default_rng(seed)
    kind = kinds[seed % len(kinds)]
    width, stride, dilation = (int(n) for n in rng.integers(1, 4, 3))
    padding = PADDINGS[rng.integers(len(PADDINGS))]
    if kind == "scale":
        return rng, elman.Scale(3, rng.normal(size=3), float(rng.normal()))
    if kind != "conv":
        padding = tuple(min(n, width - 1) for n in padding) if isinstance(padding, tuple) else padding
        return rng, {"max": elman.MaxPool1d, "average": elman.AveragePool1d}[kind](width, stride, padding)
    activation = elman.Activation("elu", alpha=0.4) if seed % 2 else "tanh"
    layer = elman.Conv1d(3, 4, width, stride, dilation, padding, activation, dtype, seed=seed)
    layer.b = rng.normal(size=4)
    return rng, layer


def random_like(rng, value):
    return [rng.normal(size=part.shape) for part in value]


def random_state(rng, layer, count):
    return rng.normal(size=(count, *layer.first_state(1)[0].shape[1:])) if layer.stateful else None


@pytest.mark.parametrize("seed", range(60))
def test_gradients(seed):
    rng, layer = drawn(seed)
    x = [rng.normal(size=(n, 3)) for n in (9, 7, 12)]
    state = random_state(rng, layer, 3)
    y, end, tape = layer.forward(x, state)
    dy, dend = random_like(rng, y), None if end is None else rng.normal(size=end.shape)

    def loss():
        out, last = layer(x, state)
        total = sum(float((a * b).sum()) for a, b in zip(out, dy, strict=True))
        return total + (0 if last is None else float((last * dend).sum()))

    for _ in range(2):
        dx, dstart, gradients = layer.backward(tape, dy, dend)
    pairs = [*zip(x, dx, strict=True), *((layer.parameters[name], g) for name, g in gradients.items())]
    pairs += [] if state is None else [(state, dstart)]
    for array, exact in pairs:
        assert relative_error(exact, central_gradient(loss, array)) < 1e-7


@pytest.mark.parametrize("seed", range(40))
def test_ragged_is_alone_and_padding_is_not_read(seed):
    rng, layer = drawn(seed)
    lengths = np.array([9, 7, 12])
    x = np.full((3, 14, 3), np.nan)
    for row, n in zip(x, lengths, strict=True):
        row[:n] = rng.normal(size=(n, 3))
    state = random_state(rng, layer, 3)
    given = x.copy()
    y, end, tape = layer.forward(x, state, lengths)
    dx, dstart, gradients = layer.backward(tape, np.ones_like(y))
    np.testing.assert_array_equal(x, given)
    assert y.shape[1] == layer(rng.normal(size=(1, 14, 3)))[0].shape[1]
    summed = dict.fromkeys(gradients, 0)
    for i, n in enumerate(lengths):
        alone, last, tape = layer.forward(x[i : i + 1, :n], None if state is None else state[i : i + 1])
        np.testing.assert_array_equal(y[i, : alone.shape[1]], alone[0])
        assert not y[i, alone.shape[1] :].any()
        d, dstate, own = layer.backward(tape, np.ones_like(alone))
        np.testing.assert_allclose(dx[i, :n], d[0], atol=1e-12)
        assert not dx[i, n:].any()
        if state is not None:
            np.testing.assert_array_equal(end[i], last[0])
            np.testing.assert_allclose(dstart[i], dstate[0], atol=1e-12)
        summed = {name: summed[name] + own[name] for name in own}
    for name, g in gradients.items():
        np.testing.assert_allclose(g, summed[name], atol=1e-12)


def test_windows_in_blocks(monkeypatch):
    """Long sequences go in parts: the same bits out, the same gradients."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(3, 50, 3))
    for options in ({"padding": "causal"}, {"stride": 2}):
        layer = elman.Conv1d(3, 4, 5, activation="tanh", dtype="float64", seed=0, **options)
        found = []
        for block in (1 << 22, 60):
            monkeypatch.setattr("elman.layers.windows.BLOCK", block)
            y, _, tape = layer.forward(x)
            found.append((y, *layer.backward(tape, np.cos(y))))
        np.testing.assert_array_equal(found[0][0], found[1][0])
        np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-12)
        for name, gradient in found[0][3].items():
            np.testing.assert_allclose(gradient, found[1][3][name], atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_causal_convolution_streams(dtype):
    rng = np.random.default_rng(3)
    conv = elman.Conv1d(3, 4, 3, dilation=2, padding="causal", activation="tanh", dtype=dtype, seed=0)
    layers = [conv, elman.GRU(4, 5, seed=1, dtype=dtype), elman.Conv1d(5, 2, 1, seed=2, dtype=dtype)]
    net = elman.Network(layers)
    x = rng.normal(size=(2, 11, 3))
    y, end = net(x)
    first, state = net(x[:, :1])
    for a, b in ((1, 4), (4, 11)):
        part, state = net(x[:, a:b], state)
        first = np.concatenate([first, part], axis=1)
    np.testing.assert_array_equal(first, y)
    for stream, run in ((net.stream(2), True), (net.stream(2), False)):
        z = stream.run(x) if run else np.stack([stream.step(x[:, t]) for t in range(11)], axis=1)
        np.testing.assert_array_equal(z, y)
        for a, b, c in zip(stream.state, state, end, strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(a, c)
    alone = net.stream()
    np.testing.assert_array_equal(np.stack([alone.step(row) for row in x[0]]), net(x[0])[0])
    assert state[0].shape == (2, 4 * 3)


def test_what_cannot_stream_names_the_node():
    for layer in (
        elman.Conv1d(3, 3, 2),
        elman.Conv1d(3, 3, 2, padding="valid"),
        elman.Conv1d(3, 3, 1, stride=2, padding="causal"),
        elman.MaxPool1d(2, 1, "causal"),
        elman.AveragePool1d(2),
    ):
        net = elman.Network({"a": elman.RNN(3, 3), "b": layer})
        with pytest.raises(elman.ShapeError, match=r"step by step\. Got node 'b'"):
            net.stream()


@pytest.mark.parametrize("seed", range(12))
def test_files(seed, tmp_path):
    rng, layer = drawn(seed, dtype=("float32", "float64")[seed % 2])
    net = elman.Network([layer, elman.LastStep(), elman.Repeat(3)])
    x = [rng.normal(size=(n, 3)).astype(layer.dtype) for n in (9, 12)]
    net.save(tmp_path / "net.safetensors")
    same = elman.load(tmp_path / "net.safetensors")
    assert same.config == net.config
    for a, b in zip(net(x)[0], same(x)[0], strict=True):
        np.testing.assert_array_equal(a, b)


def test_too_short_sequences_are_refused_by_their_place():
    x = [np.ones((n, 3)) for n in (7, 5, 9, 4)]
    with pytest.raises(elman.ShapeError, match=r"sequence 3 must have at least 5 steps. Got 4\."):
        elman.Conv1d(3, 4, 3, dilation=2, padding="valid")(x)
    with pytest.raises(elman.ShapeError, match=r"sequence 3 must have at least 5 steps. Got 4\."):
        elman.MaxPool1d(6, 1, (1, 0))(x)
    net = elman.Network([elman.Conv1d(3, 4, 5, padding="valid"), elman.MeanOverTime()])
    with pytest.raises(elman.ShapeError, match=r"sequence 3 must have at least 5 steps. Got 4\."):
        elman.fit(net, x, np.ones((4, 4)), loss="squared_error")


@pytest.mark.parametrize("form", ["list", "array"])
def test_targets_of_a_network_that_strides(form):
    """One target a step that comes out; the loss is that of the same numbers written out."""
    rng = np.random.default_rng(0)
    lengths = np.array([7, 12, 9, 5])
    x = rng.normal(size=(4, 12, 3))
    net = elman.Network([elman.Conv1d(3, 4, 3, stride=2, seed=0), elman.Dense(4, 2, seed=1)])
    y = rng.normal(size=(4, 6, 2))
    parts = [row[: -(-n // 2)] for row, n in zip(y, lengths, strict=True)]
    p = [net(row[:n])[0] for row, n in zip(x, lengths, strict=True)]
    mean = np.mean(np.concatenate([((a - b) ** 2).mean(1) for a, b in zip(p, parts, strict=True)]))
    sgd = elman.SGD(1e-9)
    if form == "list":
        x, y, lengths = [row[:n] for row, n in zip(x, lengths, strict=True)], parts, None
    history = elman.fit(
        net, x, y, lengths=lengths, loss="squared_error", optimizer=sgd, epochs=1, batch_size=4, progress=False
    )
    assert history.loss[0] == pytest.approx(mean, rel=1e-5) or history.loss[0] == pytest.approx(mean / 2, rel=1e-5)
    with pytest.raises(elman.ShapeError, match="as the network gives one output per step"):
        elman.fit(net, np.ones((4, 12, 3)), np.ones((4, 12, 2)), loss="squared_error")


def test_scale_is_exact_and_repeat_repeats():
    shift = np.array([0.1, 1 / 3, 1e300])
    layer = elman.Scale(3, shift, 2.0)
    assert layer.shift == tuple(shift.tolist())
    assert layer.factor == 2.0
    np.testing.assert_array_equal(layer([[1.0, 2.0, 3.0]])[0], (np.array([[1.0, 2.0, 3.0]]) - shift) * 2)
    assert elman.Scale(3, 0, 1)(np.ones((2, 4, 3), np.float32))[0].dtype == np.float32
    vectors = np.arange(6.0).reshape(2, 3)
    y, _, tape = elman.Repeat(4).forward(vectors)
    np.testing.assert_array_equal(y, vectors[:, None].repeat(4, axis=1))
    np.testing.assert_array_equal(elman.Repeat(4).backward(tape, np.ones_like(y))[0], np.full((2, 3), 4.0))
    np.testing.assert_array_equal(elman.Repeat(4)(vectors[0])[0], np.tile(vectors[0], (4, 1)))
    net = elman.Network([elman.RNN(3, 2), elman.Repeat(4)])
    with pytest.raises(elman.ShapeError, match="Repeat must be given one vector per sequence"):
        net(np.ones((2, 5, 3)))


def test_training_from_vectors():
    """What Repeat reads has no steps; the fit is that of vectors which are repeated before."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(7, 4, 2))
    losses = []
    for first, given in (([elman.Repeat(4)], x), ([], x[:, None].repeat(4, axis=1))):
        net = elman.Network([*first, elman.GRU(3, 2, seed=0)])
        options = {"loss": "squared_error", "epochs": 3, "batch_size": 3, "seed": 1, "progress": False}
        losses.append(elman.fit(net, given, y, validation=(given, y), **options).loss)
    np.testing.assert_array_equal(*losses)
    net = elman.Network({"a": elman.Repeat(2), "b": (elman.Repeat(2), "other"), "c": (elman.Concatenate(), "a", "b")})
    both = {"x": np.ones((5, 3)), "other": np.zeros((5, 2))}
    assert net(both)[0].shape == (5, 2, 5)
    assert net({"x": np.ones(3), "other": np.zeros(2)})[0].shape == (2, 5)


def test_layers_between_vectors_and_repeat():
    """An input that is repeated further on has no steps, whatever treats each step by itself before."""
    rng = np.random.default_rng(3)
    dense, norm, decoder = elman.Dense(3, 4, "tanh", seed=0), elman.LayerNorm(4), elman.GRU(4, 2, seed=1)
    x, tokens = rng.normal(size=(5, 3)), np.array([1, 4, 0, 2, 2])
    table = elman.Embedding(5, 4, seed=2)
    joined = elman.Network({"d": (dense, "x"), "n": (elman.Add(), "d", "b"), "r": elman.Repeat(6), "y": decoder})
    want = decoder((dense(x)[0] + 1.0)[:, None].repeat(6, axis=1))[0]
    np.testing.assert_array_equal(joined({"x": x, "b": np.ones((5, 4))})[0], want)
    for first, given in (([dense, norm], x), ([dense, elman.Activate("relu")], x), ([table], tokens)):
        net, rows = elman.Network([*first, elman.Repeat(6), decoder]), given
        for layer in first:
            rows = layer(rows)[0]
        for _ in range(2):
            np.testing.assert_array_equal(net(given)[0], decoder(rows[:, None].repeat(6, axis=1))[0])
        np.testing.assert_array_equal(net(given[2])[0], net(given)[0][2])
    for nodes in ([elman.RNN(3, 3, seed=0), elman.Repeat(2)], [elman.Conv1d(3, 3, 2), elman.Repeat(2)]):
        with pytest.raises(elman.ShapeError, match="Repeat must be given one vector per sequence"):
            elman.Network(nodes)(np.ones((2, 5, 3)))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: elman.Conv1d(3, 4, 0), "width must be a whole number from 1 up"),
        (lambda: elman.Conv1d(3, 4, 2, stride=0), "stride must be a whole number from 1 up"),
        (lambda: elman.Conv1d(3, 4, 2, padding="full"), "padding must be one of 'same', 'valid', 'causal'"),
        (lambda: elman.Conv1d(3, 4, 2, padding=(1, -1)), "padding must be a pair of whole numbers from 0 to"),
        (lambda: elman.MaxPool1d(2, padding=(2, 0)), "padding must be a pair of whole numbers from 0 to 1"),
        (lambda: elman.Scale(2, [1.0, np.nan], 1), "shift must hold finite numbers"),
        (lambda: elman.Scale(2, 0, [1.0]), "factor must have shape"),
    ],
)
def test_refused_options(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.peer
@pytest.mark.parametrize("seed", range(20))
def test_torch(seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    width, stride, dilation = (int(n) for n in rng.integers(1, 5, 3))
    pad = int(rng.integers(0, 4))
    layer = elman.Conv1d(3, 4, width, stride, dilation, (pad, pad), dtype="float64", seed=seed)
    layer.b = rng.normal(size=4)
    x = rng.normal(size=(2, 14, 3))
    inputs = torch.tensor(x.swapaxes(1, 2), requires_grad=True)
    W = torch.tensor(layer.W.transpose(2, 1, 0), requires_grad=True)
    b = torch.tensor(layer.b, requires_grad=True)
    expected = torch.nn.functional.conv1d(inputs, W, b, stride, pad, dilation)
    y, _, tape = layer.forward(x)
    np.testing.assert_allclose(y, expected.detach().numpy().swapaxes(1, 2), atol=1e-12)
    dy = rng.normal(size=y.shape)
    expected.backward(torch.tensor(dy.swapaxes(1, 2)))
    dx, _, gradients = layer.backward(tape, dy)
    np.testing.assert_allclose(dx, inputs.grad.numpy().swapaxes(1, 2), atol=1e-12)
    np.testing.assert_allclose(gradients["W"], W.grad.numpy().transpose(2, 1, 0), atol=1e-12)
    np.testing.assert_allclose(gradients["b"], b.grad.numpy(), atol=1e-12)
    pad = min(pad, width // 2)
    functional = torch.nn.functional
    for pool, theirs in (
        (elman.MaxPool1d, lambda a: functional.max_pool1d(a, width, stride, pad)),
        (elman.AveragePool1d, lambda a: functional.avg_pool1d(a, width, stride, pad, count_include_pad=False)),
    ):
        inputs = torch.tensor(x.swapaxes(1, 2), requires_grad=True)
        expected = theirs(inputs)
        y, _, tape = pool(width, stride, (pad, pad)).forward(x)
        np.testing.assert_allclose(y, expected.detach().numpy().swapaxes(1, 2), atol=1e-12)
        dy = rng.normal(size=y.shape)
        expected.backward(torch.tensor(dy.swapaxes(1, 2)))
        dx, _, _ = pool(width, stride, (pad, pad)).backward(tape, dy)
        np.testing.assert_allclose(dx, inputs.grad.numpy().swapaxes(1, 2), atol=1e-12)


def pooled(dtype):
    """Pools over time behind layers with states, one in a nested network; a vector goes on from there."""
    inside = elman.Network([elman.MeanOverTime(), elman.Dense(4, 1, "tanh", dtype=dtype, seed=3)])
    nodes = {
        "conv": elman.Conv1d(3, 4, 2, padding="causal", dtype=dtype, seed=0),
        "max": elman.MaxOverTime(),
        "one": (inside, "conv"),
        "rnn": (elman.GRU(4, 2, dtype=dtype, seed=1), "conv"),
        "last": elman.LastStep(),
        "both": (elman.Concatenate(), "max", "one", "last"),
        "out": elman.Dense(7, 2, dtype=dtype, seed=2),
    }
    return elman.Network(nodes)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pools_over_time_stream(dtype):
    rng = np.random.default_rng(8)
    net = pooled(dtype)
    x = rng.normal(size=(3, 40, 3)).astype(dtype)
    expected = np.stack([net(x[:, :t])[0] for t in range(1, 41)], axis=1)
    stream = net.stream(3)
    np.testing.assert_array_equal(np.stack([stream.step(x[:, t]) for t in range(40)], axis=1), expected)
    chunks = net.stream(3)
    np.testing.assert_array_equal(
        np.concatenate([chunks.run(x[:, a:b]) for a, b in ((0, 1), (1, 9), (9, 40))], axis=1), expected
    )
    conv, largest, ((sums, count),), h = stream.state
    np.testing.assert_array_equal(conv, net(x)[1][0])
    assert len(net(x)[1]) == 2
    np.testing.assert_array_equal(h, net(x)[1][1])
    np.testing.assert_array_equal(count, np.full((3, 1), 40))
    assert largest.shape == (3, 4)
    assert sums.shape == (3, 4)


def test_what_pools_have_seen_is_part_of_a_stream():
    rng = np.random.default_rng(9)
    net = pooled("float32")
    x = rng.normal(size=(2, 12, 3))
    whole = net.stream(2).run(x)
    stream = net.stream(2)
    stream.state = stream.state  # before the first step
    stream.run(x[:, :5])
    twins = [stream.copy(), copy.deepcopy(stream), pickle.loads(pickle.dumps(stream)), net.stream(2)]
    twins[-1].state = stream.state
    for bad in (np.ones((2, 4)), np.full((2, 3), "a")):
        with pytest.raises(ValueError, match="x must"):
            stream.run(bad)
    for one in (stream, *twins):
        np.testing.assert_array_equal(one.run(x[:, 5:]), whole[:, 5:])
    stream.reset([1])
    other = stream.run(x)
    np.testing.assert_array_equal(other[1], whole[1])
    assert not np.array_equal(other[0], whole[0])
    stream.reset()
    np.testing.assert_array_equal(stream.run(x), whole)
    stream.state = [None, None, [None], None]
    np.testing.assert_array_equal(stream.run(x), whole)
    with pytest.raises(elman.ShapeError, match="state must be a list of 4"):
        stream.state = net(x)[1]


@pytest.mark.parametrize("width", range(1, 20))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pools_alone_stream_to_the_bit(width, dtype):
    rng = np.random.default_rng(width)
    x = rng.normal(size=(2, 45, width)).astype(dtype)
    x[0, 3] = np.where(rng.random(width) < 0.5, -np.inf, np.inf)
    x[1, 7, 0] = np.nan
    for pool in (elman.MeanOverTime(), elman.MaxOverTime()):
        net = elman.Network([elman.Scale(width, 0.25, 2.0), pool])
        y = net.stream(2).run(x)
        assert y.dtype == dtype
        for t in range(1, 46):
            np.testing.assert_array_equal(y[:, t - 1], net(x[:, :t])[0])
    with pytest.raises(elman.ShapeError, match="must read a known number of features in a stream"):
        elman.Network([elman.MaxOverTime()]).stream()


def test_a_pool_of_ones_own_has_no_stream():
    class Middle(elman.MeanOverTime):
        def _pool(self, values, lengths):
            return super()._pool(values / 2, lengths)

    with pytest.raises(elman.ShapeError, match="must say what it computes of a step"):
        elman.Network([elman.RNN(3, 2), Middle()]).stream()
    with pytest.raises(elman.ShapeError, match="after a pool"):
        elman.Network({"a": elman.RNN(3, 2), "b": elman.MaxOverTime(), "c": elman.MeanOverTime()}).stream()


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: elman.Conv1d(3, 2, 3, dilation=1 << 60), "dilation must be a whole number up to 16777216"),
        (lambda: elman.Conv1d(300, 2, 3, dilation=1 << 20), "as a stream keeps so many numbers. Got 629145600"),
        (lambda: elman.Conv1d(3, 2, 3, padding=(1 << 30, 0)), "padding must be a pair of .* from 0 to 16777216"),
        (lambda: elman.Conv1d(3, 2, 3, stride=1 << 40), "stride must be a whole number up to 16777216"),
        (lambda: elman.MaxPool1d(1 << 40), "width must be a whole number up to 16777216"),
        (lambda: elman.Repeat(1 << 40), "count must be a whole number up to 16777216"),
        (lambda: elman.LastSteps(3, 1 << 40), "count must be a whole number up to 16777216"),
    ],
)  # fmt: skip
def test_options_that_claim_more_memory_than_any_data_has_are_refused(make, match):
    for _ in range(2):
        with pytest.raises(ValueError, match=match):
            make()
