"""Layers of one's own: they train, stream, save and come back as those of the library do."""

from __future__ import annotations

import numpy as np
import pytest

import elman
from elman.layers import LAYERS


class Gain(elman.Layer):
    """y = scale gain x."""

    def __init__(self, size, scale=1.0, dtype="float32", seed=None):
        super().__init__(seed, size=size, scale=scale, dtype=dtype)

    def setup(self, size, scale=1.0, dtype="float32"):
        self.size = self.input_size = self.output_size = size
        self.scale, self.dtype = scale, np.dtype(dtype)

    def shapes(self):
        return {"gain": (self.size,)}

    def draw(self, rng):
        self.parameters["gain"][...] = rng.standard_normal(self.size)

    def run(self, x, state, rng, keep):
        return x.with_values(self.step(x.values, ())[0]), None, x.values

    def run_back(self, kept, dy, dstate):
        dy = self.dtype.type(self.scale) * dy
        return dy * self.gain, None, {"gain": (dy * kept).sum(0)}

    def step(self, x, state):
        return self.dtype.type(self.scale) * self.gain * x, ()


class Leak(elman.Layer):
    """m' = keep m + (1 - keep) x; y = m'. It begins at `start`."""

    def __init__(self, size, keep=0.9, start=0.0):
        super().__init__(size=size, keep=keep, start=start)

    def setup(self, size, keep=0.9, start=0.0):
        self.size = self.input_size = self.output_size = size
        self.keep, self.start = keep, start

    def states(self):
        return {"m": self.size}

    def first_state(self, count):
        return (np.full((count, self.size), self.start),)

    def step(self, x, state):
        m = self.keep * state[0] + (1 - self.keep) * x
        return m, (m,)

    def run(self, x, state, rng, keep):
        (start,) = state or self.first_state(x.layout.count)
        y, end = np.empty_like(x.values), []
        for m, first, length in zip(start, x.layout.starts, x.lengths, strict=True):
            for t in range(first, first + length):
                m, _ = self.step(x.values[t], (m,))
                y[t] = m
            end.append(m)
        return x.with_values(y), (np.stack(end),), x.layout

    def run_back(self, kept, dy, dstate):
        dx = np.empty_like(dy)
        dm = np.zeros((kept.count, self.size)) if dstate is None else dstate[0].copy()
        for b, (first, length) in enumerate(zip(kept.starts, kept.lengths, strict=True)):
            for t in reversed(range(first, first + length)):
                dm[b] += dy[t]
                dx[t] = (1 - self.keep) * dm[b]
                dm[b] *= self.keep
        return dx, (dm,), {}


def network(start=0.3):
    dtype = "float64"
    gru = elman.GRU(3, 4, dtype=dtype, seed=1)
    return elman.Network([Gain(3, 2.0, dtype=dtype, seed=0), Leak(3, 0.7, start), gru, Gain(4, dtype=dtype, seed=2)])


def ragged(seed, width=3):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((length, width)) for length in (5, 2, 7)]


def test_gradients():
    net, x = network(), ragged(0)
    rng = np.random.default_rng(1)
    state = [rng.standard_normal((3, 3)), rng.standard_normal((3, 4))]
    weight = [rng.standard_normal((len(part), 4)) for part in x]
    dstate = [rng.standard_normal(part.shape) for part in state]

    def loss():
        y, end = net(x, state)
        total = sum((a * b).sum() for a, b in zip(y, weight, strict=True))
        return total + sum((a * b).sum() for a, b in zip(end, dstate, strict=True))

    for _ in range(2):
        dx, dstart, gradients = net.backward(net.forward(x, state)[2], weight, dstate)
        pairs = [*zip(x, dx, strict=True), *zip(state, dstart, strict=True)]
        for array, gradient in [*pairs, *((net.parameters[name], g) for name, g in gradients.items())]:
            index = tuple(rng.integers(size) for size in array.shape)
            before, losses = array[index], []
            for step in (1e-5, -1e-5):
                array[index] = before + step
                losses.append(loss())
            array[index] = before
            assert abs((losses[0] - losses[1]) / 2e-5 - gradient[index]) < 1e-7


@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("start", [0.0, 0.3])
def test_streams(start, batch):
    net = network(start)
    x = np.random.default_rng(2).standard_normal((*(() if batch is None else (batch,)), 6, 3))
    for _ in range(2):
        stream = net.stream(batch)
        y, end = net(x)
        steps = np.stack([stream.step(np.take(x, t, axis=-2)) for t in range(4)], axis=-2)
        state = stream.state
        rest = stream.run(x[..., 4:, :])
        np.testing.assert_allclose(np.concatenate([steps, rest], axis=-2), y, rtol=0, atol=1e-14)
        for a, b in zip(stream.state, end, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-14)
        stream.reset()
        np.testing.assert_array_equal(stream.state[0], np.full((*x.shape[:-2], 3), start))
        stream.state = state
        np.testing.assert_array_equal(stream.run(x[..., 4:, :]), rest)


def test_they_train_and_come_back(tmp_path):
    net, x = network(), ragged(3)
    y = [part[:, :1] + np.zeros(4) for part in x]
    history = elman.fit(net, x, y, loss="squared_error", epochs=30, progress=False)
    assert history.loss[-1] < history.loss[0]
    net.save(tmp_path / "net")
    for kinds in ([Gain, Leak], (Leak, Gain), {Leak, Gain}):
        same = elman.load(tmp_path / "net", layers=kinds)
        assert [type(layer) for layer in same.layers] == [type(layer) for layer in net.layers]
        assert same.config == net.config
        for a, b in zip(same(x)[0], net(x)[0], strict=True):
            np.testing.assert_array_equal(a, b)
    assert not {"Gain", "Leak"} & set(LAYERS)


class Remembering(elman.LSTM):
    """A class of one's own that computes as the library's does."""


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_run_goes_on_with_the_network_out_of_a_file(bidirectional, tmp_path):
    """How weights once began is no matter to a checkpoint."""
    x = np.random.default_rng(0).standard_normal((6, 5, 3))
    net = elman.Network([Remembering(3, 4, bidirectional, seed=0), elman.Dense(8 if bidirectional else 4, 1, seed=1)])
    net.save(tmp_path / "net")
    nets, paths = [net, elman.load(tmp_path / "net", layers=[Remembering])], [tmp_path / "a", tmp_path / "b"]
    for each, path in zip(nets, paths, strict=True):
        elman.fit(each, x, x.sum(2, keepdims=True), loss="squared_error", epochs=1, checkpoint=path, progress=False)
    again = elman.load(tmp_path / "net", layers=[Remembering])
    for path in paths:
        options = {"loss": "squared_error", "epochs": 2, "checkpoint": path, "progress": False}
        assert len(elman.fit(again.replace(), x, x.sum(2, keepdims=True), **options)) == 2


def test_weights_of_a_layer_that_does_not_say_how_they_start():
    class Plane(elman.Layer):
        def setup(self, size):
            self.input_size, self.output_size, self.dtype = size, 4, np.dtype("float64")

        def shapes(self):
            return {"W": (self.input_size, 4), "b": (4,)}

        def buffer_shapes(self):
            return {"seen": (2,)}

    for seed in (0, 1):
        layer = Plane(seed=seed, size=3)
        np.testing.assert_array_equal(layer.W, elman.Dense(3, 4, dtype="float64", seed=seed).W)
        assert not layer.b.any()
        assert not layer.buffers["seen"].any()


def test_what_load_refuses(tmp_path):
    network().save(tmp_path / "net")
    for given in ([], [Gain], [elman.Dense]):
        with pytest.raises(
            elman.FormatError, match=r"the layer '(Gain|Leak)' must be given where it is one of your own"
        ):
            elman.load(tmp_path / "net", layers=given)
    for wrong in (3, "Gain", Gain(2), [Gain(2)], [int]):
        with pytest.raises(TypeError, match=r"layers must be a list of classes of layers\. Got"):
            elman.load(tmp_path / "net", layers=wrong)
    dense = type("Dense", (Gain,), {})
    with pytest.raises(ValueError, match=r"must have a name that elman has not\. Got 'Dense'"):
        elman.load(tmp_path / "net", layers=[dense])
    with pytest.raises(elman.FormatError, match="by names that elman has not"):
        elman.Network([dense(3)]).save(tmp_path / "other")


def test_what_load_could_not_bring_back_is_not_written(tmp_path):
    class Loose(Gain):
        def __init__(self, size):
            self.table = np.arange(size)
            super().__init__(size)

    with pytest.raises(elman.FormatError, match=r"Loose must set in setup all that it keeps.*Got table from elsewhere"):
        elman.Network([Loose(3)]).save(tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_states_that_do_not_fit():
    net, x = network(), np.zeros((2, 5, 3))
    for state, words in (
        (np.zeros(3), r"state must be a list of 2, one entry per layer with states\. Got"),
        ([np.zeros((3, 3)), None], r"m of state must have shape \(2, 3\)\. Got \(3, 3\)"),
    ):
        with pytest.raises(elman.ShapeError, match=words):
            net(x, state)

    class Wide(Leak):
        def setup(self, size, keep=0.9, start=0.0):
            super().setup(size, keep, start)
            self.input_size = None

    with pytest.raises(ValueError, match="setup of Wide must set input_size, as it has states"):
        Wide(3)
