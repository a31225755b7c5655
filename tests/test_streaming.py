"""A stream gives, step by step, the numbers of the whole sequence."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import elman
from test_gradients import LEAKY

F64 = {"dtype": "float64"}


def make():
    return elman.Network(
        [
            elman.LSTM(3, 5, seed=0, **F64),
            elman.LayerNorm(5, **F64),
            elman.Dropout(0.5),
            elman.GRU(5, 4, seed=1, **F64),
            elman.Network([elman.Recurrent(LEAKY, 4, 6, seed=2, **F64)]),
            elman.Dense(6, 2, seed=3, **F64),
        ]
    )


def test_steps_equal_the_sequence():
    net, x = make(), np.random.default_rng(0).normal(size=(7, 3))
    whole, end = net(x)
    stream = net.stream()
    for _ in range(2):
        steps = [stream.step(row) for row in x]
        np.testing.assert_allclose(steps, whole, rtol=1e-12, atol=1e-15)
        (h, c), g, (u,) = stream.state
        np.testing.assert_allclose(h, end[0][0], rtol=1e-12)
        np.testing.assert_allclose(c, end[0][1], rtol=1e-12)
        np.testing.assert_allclose(g, end[1], rtol=1e-12)
        np.testing.assert_allclose(u, end[2][0], rtol=1e-12)
        stream.reset()


def test_a_batch_of_streams():
    net, x = make(), np.random.default_rng(0).normal(size=(4, 7, 3))
    stream = net.stream(batch=4)
    steps = np.stack([stream.step(x[:, t]) for t in range(7)], axis=1)
    np.testing.assert_allclose(steps, net(x)[0], rtol=1e-12, atol=1e-15)
    assert stream.state[0][0].shape == (4, 5)


@pytest.mark.parametrize("batch", [None, 2])
def test_state_out_and_in_and_copies(batch):
    net, rng = make(), np.random.default_rng(1)
    x = rng.normal(size=(6, 3) if batch is None else (6, batch, 3))
    stream = net.stream(batch)
    assert (stream.state[1] == 0).all()
    for row in x[:3]:
        stream.step(row)
    other, twin = net.stream(batch), stream.copy()
    other.state = stream.state
    frozen = pickle.loads(pickle.dumps(stream))
    rest = [[s.step(row) for row in x[3:]] for s in (stream, other, twin, frozen)]
    for outputs in rest[1:]:
        np.testing.assert_array_equal(outputs, rest[0])
    held = stream.state
    held[1][...] = 99  # what is handed out is a copy
    assert (stream.state[1] != 99).all()


def test_tokens():
    net = elman.Network([elman.Embedding(6, 3, seed=0), elman.RNN(3, 4, seed=1)])
    tokens = np.array([5, 0, 3])
    stream = net.stream()
    np.testing.assert_allclose([stream.step(t) for t in tokens], net(tokens)[0], rtol=1e-6)
    assert net.stream(2).step([1, 5]).shape == (2, 4)
    with pytest.raises(ValueError, match="x must hold integers from 0 to 5"):
        stream.step(6)


def test_chunks_and_out():
    net, x = make(), np.random.default_rng(2).normal(size=(3, 9, 3))
    whole, _ = net(x)
    stream, out = net.stream(3), np.empty((3, 2))
    first = stream.run(x[:, :4])
    assert stream.step(x[:, 4], out=out) is out
    np.testing.assert_allclose(np.concatenate([first, out[:, None], stream.run(x[:, 5:])], 1), whole, atol=1e-14)
    one = net.stream()
    np.testing.assert_allclose(one.run(x[0]), whole[0], rtol=1e-12, atol=1e-14)
    with pytest.raises(elman.ShapeError, match="at least one step"):
        one.run(x[0, :0])
    with pytest.raises(elman.ShapeError, match=r"x must have shape \(time, 3\)\. Got \(3,\)\."):
        one.run(x[0, 0])


def test_a_network_without_anything_to_do():
    stream = elman.Network([elman.Dropout(0.5)]).stream()
    x = np.ones(3, np.float32)
    y = stream.step(x)
    np.testing.assert_array_equal(y, x)
    assert not np.shares_memory(y, x)
    np.testing.assert_array_equal(stream.run(np.ones((2, 3))), np.ones((2, 3)))


def test_the_last_step_of_a_sequence_that_ends_at_each_step():
    net = elman.Network(
        [
            elman.GRU(3, 5, seed=0, **F64),
            elman.Network([elman.LastStep(), elman.Dropout(0.5)]),
            elman.Dense(5, 2, seed=1, **F64),
            elman.Activate("softmax"),
        ]
    )
    x = np.random.default_rng(3).normal(size=(4, 7, 3))
    stream, twin = net.stream(4), net.stream(4)
    for _ in range(2):
        for t in range(7):
            np.testing.assert_allclose(stream.step(x[:, t]), net(x[:, : t + 1])[0], rtol=1e-12)
        np.testing.assert_allclose(twin.run(x)[:, -1], net(x)[0], rtol=1e-12)
        stream.reset()
        twin.reset()
    last = elman.Network([elman.GRU(3, 5, seed=0), elman.LastStep()]).stream()
    out = np.empty(5, np.float32)
    assert last.step(x[0, 0], out=out) is out
    for layer in (elman.GRU(5, 2), elman.LastStep()):
        with pytest.raises(elman.ShapeError, match="a layer over time must be given sequences"):
            elman.Network([elman.GRU(3, 5), elman.LastStep(), layer]).stream()


def test_what_is_refused():
    both = elman.Network([elman.GRU(3, 4, bidirectional=True)])
    whole = (elman.LastStep(bidirectional=True), elman.LastSteps(3, 2), elman.Reverse(), elman.Masking())
    for net in (both, elman.Network([both]), *(elman.Network([layer]) for layer in whole)):
        with pytest.raises(elman.ShapeError, match="go forward step by step"):
            net.stream()
    net = make()
    with pytest.raises(elman.ShapeError, match=r"x must have shape \(3,\)\. Got \(4,\)\."):
        net.stream().step(np.ones(4))
    with pytest.raises(elman.ShapeError, match=r"x must have shape \(2, 3\)\. Got \(3,\)\."):
        net.stream(2).step(np.ones(3))
    with pytest.raises(ValueError, match="batch must be a whole number"):
        net.stream(0)
    stream = net.stream()
    with pytest.raises(elman.ShapeError, match="one entry per layer with states"):
        stream.state = [None]
    with pytest.raises(elman.ShapeError, match="h of state must have shape"):
        stream.state = [(np.ones(4), np.ones(5)), None, None]
    assert (stream.state[0][0] == 0).all()  # nothing was taken over
