"""Gradients of each sequence of a batch, held to each one alone and to passes in which the others count nothing."""

from __future__ import annotations

import numpy as np
import pytest

import elman
from drawn_graphs import Drawn
from test_graphs import random_like

CELLS = {
    "rnn": (elman.RNN, {"activation": "relu"}),
    "gru": (elman.GRU, {"learned_state": True}),
    "gru before": (elman.GRU, {"reset_after": False, "bidirectional": True}),
    "lstm": (elman.LSTM, {"bidirectional": True, "learned_state": True}),
    "peepholes": (elman.LSTM, {"peepholes": True, "zoneout": (0.2, 0.1)}),
    "plain equations": (elman.LSTM, {"projection": 2}),
}


def alone(value, b):
    """What belongs to sequence b of a value in lists and dicts, as a batch of one."""
    if isinstance(value, dict):
        return {name: alone(part, b) for name, part in value.items()}
    return value[b : b + 1]


def state_of(state, b, axis=0):
    if state is None or isinstance(state, np.ndarray):
        return None if state is None else state.take([b], axis=axis if state.ndim == 2 else 1)
    return type(state)([state_of(part, b, axis) for part in state])


@pytest.mark.parametrize("seed", range(60))
def test_of_random_graphs(seed):
    drawn = Drawn(seed, states=seed % 2 == 1)
    net = drawn.network()
    x = drawn.inputs_of(net)
    rng = np.random.default_rng(seed)
    y, end, tape = net.forward(x)
    dy, dend = random_like(rng, y), random_like(rng, end)
    dx, dstart, whole = net.backward(tape, dy, dend)
    same, started, each = net.backward(tape, dy, dend, by_sequence=True)
    again = net.backward(tape, dy, dend, by_sequence=True)[2]
    np.testing.assert_equal((same, started), (dx, dstart))
    assert each.keys() == whole.keys() == net.parameters.keys()
    for b in range(3):
        _, _, one = net.forward(alone(x, b))
        _, _, own = net.backward(one, alone(dy, b), state_of(dend, b))
        for name in whole:
            np.testing.assert_allclose(each[name][b], own[name], rtol=1e-9, atol=1e-11, err_msg=name)
    for name, total in whole.items():
        assert each[name].shape == (3, *total.shape)
        assert np.array_equal(again[name], each[name])
        np.testing.assert_allclose(each[name].sum(0), total, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("form", ["array", "list", "single"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("training", [False, True])
def test_of_recurrent_layers(cell, form, training):
    kind, options = CELLS[cell]
    layer = kind(3, 4, dtype="float64", seed=1, **options)
    rng = np.random.default_rng(2)
    for array in layer.parameters.values():
        array[...] = rng.standard_normal(array.shape)
    x = rng.standard_normal((5, 7, 3))
    lengths = np.array([7, 2, 5, 1, 7])
    given = {"array": (x, None, lengths), "list": ([row[:n] for row, n in zip(x, lengths, strict=True)],)}
    arguments = {**given, "single": (x[0],)}[form]
    noise = np.random.default_rng(3) if training else None
    y, end, tape = layer.forward(*arguments, rng=noise)
    y, end, tape = layer.forward(*arguments[:1], random_like(rng, end), *arguments[2:], rng=noise)
    dy, dend = random_like(rng, y), random_like(rng, end)
    dx, dstart, whole = layer.backward(tape, dy, dend)
    same, started, each = layer.backward(tape, dy, dend, by_sequence=True)
    np.testing.assert_equal((same, started), (dx, dstart))
    count = 1 if form == "single" else 5
    axis = 1 if options.get("bidirectional") else 0
    for b in range(count):
        zeroed = [np.zeros_like(part) for part in dy] if form == "list" else np.zeros_like(dy)
        if form != "single":
            zeroed[b] = dy[b]
        others = [i for i in range(count) if i != b]

        def only(part, others=others):
            part = part.copy()
            if form != "single":
                part[(slice(None),) * axis + (others,)] = 0
            return part

        state = tuple(map(only, dend)) if isinstance(dend, tuple) else only(dend)
        _, _, own = layer.backward(tape, dy if form == "single" else zeroed, state)
        for name, array in own.items():
            np.testing.assert_allclose(each[name][b], array, rtol=1e-10, atol=1e-12, err_msg=name)
    for name, total in whole.items():
        np.testing.assert_allclose(each[name].sum(0), total, rtol=1e-10, atol=1e-12)


class Coupled(elman.Layer):
    """Each sequence minus the mean of all: a layer of one's own, in which the gradient goes through others."""

    def __init__(self):
        super().__init__()

    def setup(self):
        self.dtype = np.dtype("float64")

    def shapes(self):
        return {"gain": (1,)}

    def run(self, x, state, rng, keep):
        apart = x.values - x.values.mean(0)
        return x.with_values(self.gain * apart), None, (apart, self.gain.copy())

    def run_back(self, kept, dy, dstate):
        apart, gain = kept
        return gain * (dy - dy.mean(0)), None, {"gain": np.array([(dy * apart).sum()])}


@pytest.mark.parametrize("between", [elman.BatchNorm(3, dtype="float64"), Coupled()], ids=["batch norm", "one's own"])
def test_where_sequences_act_on_one_another(between):
    """The gradients of a sequence are those of its own outputs, through whatever they come."""
    rng = np.random.default_rng(5)
    nested = elman.Network([elman.GRU(2, 3, dtype="float64", seed=0), between])
    net = elman.Network([nested, elman.Dense(3, 2, dtype="float64", seed=1)])
    for array in net.parameters.values():
        array[...] = rng.standard_normal(array.shape)
    x = [rng.standard_normal((n, 2)) for n in (4, 1, 6)]
    y, _, tape = net.forward(x, rng=np.random.default_rng(0))
    dy = [rng.standard_normal(part.shape) for part in y]
    _, _, whole = net.backward(tape, dy)
    _, _, each = net.backward(tape, dy, by_sequence=True)
    for b in range(3):
        _, _, own = net.backward(tape, [part * (i == b) for i, part in enumerate(dy)])
        for name, array in own.items():
            np.testing.assert_allclose(each[name][b], array, rtol=1e-12, atol=1e-14)
    for name, total in whole.items():
        np.testing.assert_allclose(each[name].sum(0), total, rtol=1e-10, atol=1e-12)


def test_old_weights_and_pickles():
    """Gradients are those of the weights that the tape saw, and of a tape that comes out of a pickle."""
    import pickle

    net = elman.Network([elman.GRU(2, 3, seed=0), elman.LastStep(), elman.Dense(3, 1, seed=1)])
    x = np.random.default_rng(0).standard_normal((4, 5, 2))
    y, _, tape = net.forward(x)
    _, _, before = net.backward(tape, np.ones_like(y), by_sequence=True)
    net.layers[0].Wh *= 2
    for one in (tape, pickle.loads(pickle.dumps(tape))):
        _, _, after = net.backward(one, np.ones_like(y), by_sequence=True)
        assert all(np.array_equal(before[name], after[name]) for name in before)
    assert before["2.b"].tolist() == [[1.0]] * 4


def test_refused():
    layer = elman.Dense(2, 1, seed=0)
    _, _, tape = layer.forward(np.ones((3, 2)))
    with pytest.raises(TypeError, match=r"by_sequence must be True or False\. Got 'yes'"):
        layer.backward(tape, by_sequence="yes")
