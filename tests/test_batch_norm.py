"""Batch normalization and its running statistics: gradients, PyTorch, files, training that is stopped and goes on."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import elman
from central import central_gradient, relative_error
from elman.layers import Seen


def norm(rng, size=3, dtype="float64", **options):
    layer = elman.BatchNorm(size, dtype=dtype, **options)
    for name, array in layer.weights.items():
        array[...] = rng.uniform(0.5, 2, size) if name in ("gain", "variance") else rng.normal(size=size)
    return layer


def network(seed=0, dtype="float32"):
    layers = [
        elman.Conv1d(3, 6, 3, seed=seed, dtype=dtype),
        elman.BatchNorm(6, dtype=dtype),
        elman.GRU(6, 5, seed=seed + 1, dtype=dtype),
        elman.LastStep(),
        elman.BatchNorm(5, 0.3, dtype=dtype),
        elman.Dense(5, 1, seed=seed + 2, dtype=dtype),
    ]
    return elman.Network(layers)


def examples(seed=0, count=24):
    rng = np.random.default_rng(seed)
    x = [rng.normal(size=(n, 3)) for n in rng.integers(3, 9, count)]
    return x, np.array([[part[:, 0].sum()] for part in x])


def copies(net):
    return {name: array.copy() for name, array in net.weights.items()}


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(array, other[name]) for name, array in one.items())


def train(net, x, y, **options):
    options = {"loss": "squared_error", "batch_size": 5, "seed": 7, "progress": False, **options}
    return elman.fit(net, x, y, optimizer=elman.Adam(0.01), **options)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_gradients(training, seed):
    rng = np.random.default_rng(seed)
    layer = norm(rng)
    before = copies(layer)
    x = [rng.normal(size=(n, 3)) for n in (4, 2, 5)]

    def forward():
        noise = np.random.default_rng(0) if training else None
        found = layer.forward(x, rng=noise)
        layer.mean, layer.variance = before["mean"], before["variance"]
        return found

    y, _, tape = forward()
    dy = [rng.normal(size=part.shape) for part in y]

    def loss():
        return sum(float((a * b).sum()) for a, b in zip(forward()[0], dy, strict=True))

    for _ in range(2):
        dx, _, gradients = layer.backward(tape, dy)
    assert list(gradients) == ["gain", "bias"]
    for array, exact in [*zip(x, dx, strict=True), (layer.gain, gradients["gain"]), (layer.bias, gradients["bias"])]:
        assert relative_error(exact, central_gradient(loss, array)) < 1e-7
    y, _ = layer(x)
    for part, given in zip(y, x, strict=True):
        expected = before["gain"] * (given - before["mean"]) / np.sqrt(before["variance"] + 1e-5) + before["bias"]
        np.testing.assert_allclose(part, expected, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_real_rows_alone_count(dtype):
    rng = np.random.default_rng(1)
    parts = [rng.normal(3, 2, size=(n, 3)).astype(dtype) for n in (4, 2, 5)]
    x = np.full((3, 7, 3), np.nan, dtype)
    for row, part in zip(x, parts, strict=True):
        row[: len(part)] = part
    one, other = norm(rng, dtype=dtype, momentum=0.4), None
    other = copy.deepcopy(one)
    start = copies(one)
    a, _, tape = one.forward(parts, rng=rng)
    b, _, twin = other.forward(x, lengths=[4, 2, 5], rng=rng)
    for part, row in zip(a, b, strict=True):
        np.testing.assert_array_equal(part, row[: len(part)])
        assert not row[len(part) :].any()
    assert same(one.buffers, other.buffers)
    dx, _, gradients = one.backward(tape, a)
    dz, _, others = other.backward(twin, np.where(np.isnan(b), np.nan, b))
    assert same(gradients, others)
    for part, row in zip(dx, dz, strict=True):
        np.testing.assert_array_equal(part, row[: len(part)])
    rows = np.concatenate(parts).astype(float)
    near = {"float32": 1e-5, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(one.mean, start["mean"] + 0.4 * (rows.mean(0) - start["mean"]), rtol=near)
    expected = start["variance"] + 0.4 * (rows.var(0, ddof=1) - start["variance"])
    np.testing.assert_allclose(one.variance, expected, rtol=near)


def test_what_is_refused_moves_nothing():
    rng = np.random.default_rng(2)
    net = elman.Network([elman.BatchNorm(3), elman.Conv1d(3, 2, 5, padding="valid")])
    before = copies(net)
    with pytest.raises(elman.ShapeError, match="at least 5 steps"):
        net.forward([np.ones((6, 3)), np.ones((2, 3))], rng=rng)
    assert same(before, net.weights)
    _, _, tape = net.forward(rng.normal(size=(2, 6, 3)))
    net.backward(tape)
    net(rng.normal(size=(2, 6, 3)))
    assert same(before, net.weights)
    with pytest.raises(elman.ShapeError, match=r"at least 2 rows to be normalized in training\. Got 1\."):
        elman.BatchNorm(3).forward(np.ones((1, 3)), rng=rng)
    elman.BatchNorm(3)(np.ones((1, 3)))
    net.forward(rng.normal(size=(2, 6, 3)), rng=rng)
    assert not same(before, net.weights)


@pytest.mark.parametrize("pooled", [True, False])
def test_a_batch_of_one_row_is_refused_before_the_first_update(pooled):
    rng = np.random.default_rng(3)
    pool = [elman.LastStep()] if pooled else []
    net = elman.Network([elman.GRU(3, 5, seed=0), *pool, elman.BatchNorm(5), elman.Dense(5, 1, seed=1)])
    before = copies(net)
    x = [rng.normal(size=(n, 3)) for n in ([3, 5, 4, 2, 6] if pooled else [3, 1, 1, 1, 1])]
    y = rng.normal(size=(5, 1)) if pooled else [part[:, :1] for part in x]
    for _ in range(2):
        for size in (1, 2, 4):
            with pytest.raises(
                elman.ShapeError, match=r"at least 2 rows .* stands alone in a batch; another batch_size"
            ):
                train(net, x, y, batch_size=size, epochs=50)
            assert same(before, net.weights)
    train(net, x, y, batch_size=3, epochs=50)
    long = [rng.normal(size=(n, 3)) for n in (9, 6, 7)]
    if not pooled:  # the ninth step, in a window of its own
        before = copies(net)
        with pytest.raises(elman.ShapeError, match="another batch_size or truncate may change that"):
            train(net, long, [part[:, :1] for part in long], truncate=4)
        assert same(before, net.weights)
        train(net, long, [part[:, :1] for part in long], truncate=(4, 5), epochs=2)
    else:
        train(net, long, np.ones((3, 1)), batch_size=3, epochs=2)


def test_training_is_the_same_twice_and_validation_moves_nothing():
    x, y = examples()
    nets = [network() for _ in range(3)]
    for net, validation in zip(nets, (None, None, (x[:7], y[:7])), strict=True):
        train(net, x, y, epochs=3, validation=validation)
    assert same(nets[0].weights, nets[1].weights)
    assert same(nets[0].weights, nets[2].weights)
    assert not same(nets[0].buffers, network().buffers)


def test_a_run_goes_on_from_its_checkpoint(tmp_path):
    x, y = examples()
    whole, parts = network(), network()
    train(whole, x, y, epochs=4)
    path = tmp_path / "run.safetensors"
    for epochs in (1, 3):
        train(parts, x, y, epochs=epochs, checkpoint=elman.Checkpoint(path, every=0))
    fresh = network()  # neither weights nor buffers are those of the file
    train(fresh, x, y, epochs=4, checkpoint=path)
    assert same(whole.weights, fresh.weights)
    other = network()
    other.layers[1].mean = 1.0 + other.layers[1].mean
    with pytest.raises(ValueError, match="first weights"):
        train(other, x, y, epochs=4, checkpoint=path)


def test_the_best_weights_have_their_statistics():
    x, y = examples()
    net, seen = network(), []
    history = train(
        net, x, y, epochs=30, patience=2, validation=examples(5, 6), after_epoch=lambda epoch: seen.append(copies(net))
    )
    assert len(history) < 30
    assert same(net.weights, seen[int(np.argmin(history.validation_loss))])


def test_accumulated_passes_move_one_after_another():
    x, y = examples(3, 10)
    net = elman.Network([elman.BatchNorm(3, dtype="float64"), elman.LastStep()])
    y = np.repeat(y, 3, axis=1)
    twin = copy.deepcopy(net)
    one = {"epochs": 1, "optimizer": elman.SGD(0.0), "seed": 1, "progress": False, "loss": "squared_error"}
    elman.fit(net, x, y, batch_size=2, accumulate=5, **one)
    elman.fit(twin, x, y, batch_size=2, **one)
    assert same(net.weights, twin.weights)
    assert not same(net.buffers, elman.BatchNorm(3, dtype="float64").buffers)


def test_an_update_that_diverges_leaves_the_statistics():
    x, y = examples()
    net = elman.Network([elman.BatchNorm(3), elman.LastStep(), elman.Dense(3, 1, seed=0)])
    before = copies(net)
    with pytest.raises(FloatingPointError), np.errstate(all="ignore"):
        elman.fit(
            net, [part * 1e30 for part in x], y, loss="squared_error", batch_size=24, epochs=1, seed=0, progress=False
        )
    assert same(before, net.weights)


def test_an_update_that_stops_leaves_the_statistics():
    """Whatever stops an update: weights and statistics are those after the last whole one."""
    x, y = examples()
    calls = iter(range(100))

    class Stops(elman.SquaredError):
        def rows(self, prediction, target):
            if next(calls) == 7:  # in the second epoch, after two of its updates
                raise KeyboardInterrupt
            return super().rows(prediction, target)

    stopped, whole = network(), network()
    kept = []
    with pytest.raises(KeyboardInterrupt):
        train(stopped, x, y, epochs=3, loss=Stops())

    class Looks(elman.SquaredError):
        def rows(self, prediction, target):
            kept.append(copies(whole))
            return super().rows(prediction, target)

    train(whole, x, y, epochs=2, loss=Looks())
    assert same(stopped.weights, kept[7])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_copies_files_and_streams(dtype, tmp_path):
    rng = np.random.default_rng(4)
    layers = [elman.Conv1d(3, 4, 2, padding="causal", dtype=dtype, seed=0), norm(rng, 4, dtype)]
    net = elman.Network({"a": layers[0], "nest": elman.Network([layers[1], elman.GRU(4, 2, dtype=dtype, seed=1)])})
    x = rng.normal(size=(2, 7, 3))
    y, _ = net(x)
    assert list(net.buffers) == ["nest.0.mean", "nest.0.variance"]
    assert "nest.0.gain" in net.parameters
    assert not {*net.buffers} & {*net.parameters}
    net.save(tmp_path / "net.safetensors")
    twins = [
        elman.load(tmp_path / "net.safetensors"),
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
        net.replace(),
    ]
    twins.append(type(net).from_parameters(net.config, net.weights))
    for twin in twins:
        np.testing.assert_array_equal(twin(x)[0], y)
        assert same(twin.weights, net.weights)
        assert twin.buffers["nest.0.mean"] is twin.layers[1].layers[0].mean
        assert not np.shares_memory(twin.buffers["nest.0.mean"], net.buffers["nest.0.mean"])
    np.testing.assert_array_equal(net.stream(2).run(x), y)
    np.testing.assert_array_equal(np.stack([*map(net.stream().step, x[0])]), net(x[0])[0])
    old, alone = net.stream(), net(x[0])[0]
    net.buffers["nest.0.mean"][...] += 1
    np.testing.assert_array_equal(old.run(x[0]), alone)
    np.testing.assert_array_equal(net.stream().run(x[0]), net(x[0])[0])
    assert not np.array_equal(net(x)[0], y)
    other = {"float32": "float64", "float64": "float32"}[dtype]
    assert net.astype(other).buffers["nest.0.variance"].dtype == other
    missing = {name: array for name, array in net.weights.items() if name != "nest.0.mean"}
    with pytest.raises(elman.ShapeError, match=r"nest\.0\.mean must be among the parameters"):
        type(net).from_parameters(net.config, missing)
    with pytest.raises(TypeError, match="an array among parameters is written into"):
        net.buffers["nest.0.mean"] = 0
    with pytest.raises(AttributeError, match="its buffers mean, variance"):
        layers[1].means  # noqa: B018


def test_a_layer_of_ones_own_has_buffers():
    class Largest(elman.Layer):
        """x over the largest value seen in training."""

        def __init__(self, size):
            super().__init__(size=size)

        def setup(self, size):
            self.size = self.input_size = self.output_size = size
            self.dtype = np.dtype("float64")

        def buffer_shapes(self):
            return {"largest": (self.size,)}

        def draw(self, rng):
            self.largest = np.ones(self.size)

        def run(self, x, state, rng, keep):
            largest = self.largest.copy()
            return x.with_values(x.values / largest), None, (largest, x.values.max(0) if rng is not None else largest)

        def run_back(self, kept, dy, dstate):
            return dy / kept[0], None, {}

        def seen(self, kept):
            return [Seen(self.largest, np.maximum(*kept), 1.0)]

    net = elman.Network([Largest(3), elman.Dense(3, 1, dtype="float64", seed=0), elman.LastStep()])
    x, y = examples()
    train(net, x, y, epochs=2)
    np.testing.assert_array_equal(net.layers[0].largest, np.concatenate(x).max(0))


@pytest.mark.peer
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch(dtype):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(6)
    layer = norm(rng, momentum=0.3, epsilon=0.01, dtype=dtype)
    module = torch.nn.BatchNorm1d(3, 0.01, 0.3, dtype=getattr(torch, dtype))
    arrays = zip(("weight", "bias", "running_mean", "running_var"), layer.weights.values(), strict=True)
    module.load_state_dict({name: torch.tensor(array) for name, array in arrays}, strict=False)
    close = {"rtol": 0, "atol": {"float32": 1e-5, "float64": 1e-12}[dtype]}
    for training in (True, True, False):
        module.train(training)
        x = rng.normal(1, 2, size=(2, 5, 3)).astype(dtype)
        dy = rng.normal(size=x.shape).astype(dtype)
        inputs = torch.tensor(x.swapaxes(1, 2), requires_grad=True)
        module.zero_grad()
        expected = module(inputs)
        expected.backward(torch.tensor(dy.swapaxes(1, 2)))
        y, _, tape = layer.forward(x, rng=rng if training else None)
        dx, _, gradients = layer.backward(tape, dy)
        np.testing.assert_allclose(y, expected.detach().numpy().swapaxes(1, 2), **close)
        np.testing.assert_allclose(dx, inputs.grad.numpy().swapaxes(1, 2), **close)
        np.testing.assert_allclose(gradients["gain"], module.weight.grad.numpy(), **close)
        np.testing.assert_allclose(gradients["bias"], module.bias.grad.numpy(), **close)
        np.testing.assert_allclose(layer.mean, module.running_mean.numpy(), **close)
        np.testing.assert_allclose(layer.variance, module.running_var.numpy(), **close)
