"""One batch in each of its forms gives the same numbers: list, padded array, sequences; padding never matters."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import elman

LENGTHS = [5, 1, 4, 7]
F64 = {"dtype": "float64"}


def make(name):
    recurrent = {
        "rnn": lambda: elman.RNN(3, 6, seed=1, **F64),
        "lstm": lambda: elman.LSTM(3, 6, bidirectional=True, seed=1, **F64),
        "gru": lambda: elman.GRU(3, 6, seed=1, **F64),
        "gru before": lambda: elman.GRU(3, 6, reset_after=False, bidirectional=True, seed=1, **F64),
    }
    if name in recurrent:
        return recurrent[name]()
    width = 12
    tail = {
        "dense": [elman.LayerNorm(width, **F64), elman.Dense(width, 2, "tanh", seed=2, **F64)],
        "last": [elman.LastStep(), elman.Dense(width, 2, seed=2, **F64)],
        "mean": [elman.MeanOverTime(), elman.Dense(width, 2, seed=2, **F64)],
        "max": [elman.MaxOverTime()],
    }[name]
    return elman.Network([recurrent["lstm"](), *tail])


NAMES = ["rnn", "lstm", "gru", "gru before", "dense", "last", "mean", "max"]


def ragged(rng):
    return [rng.normal(size=(n, 3)) for n in LENGTHS]


def pad(parts, fill):
    padded = np.full((len(parts), max(map(len, parts)) + 2, *parts[0].shape[1:]), fill)
    for row, part in zip(padded, parts, strict=True):
        row[: len(part)] = part
    return padded


def flat(state):
    """The arrays of a state, however nested."""
    if state is None:
        return []
    return [a for part in state for a in flat(part)] if isinstance(state, (list, tuple)) else [state]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fill", [0.0, np.nan, np.inf, 1e300])
def test_padding_never_matters(name, fill):
    """Whatever stands in the padding of x and dy: no result and no gradient changes by a bit."""
    layer, rng = make(name), np.random.default_rng(0)
    x = ragged(rng)
    y, state, tape = layer.forward(x)
    vectors = not isinstance(y, list)
    dy = rng.normal(size=y.shape) if vectors else [rng.normal(size=part.shape) for part in y]
    dx, dstate, gradients = layer.backward(tape, dy)

    y_padded, state_padded, tape = layer.forward(pad(x, fill), lengths=LENGTHS)
    dx_padded, dstate_padded, gradients_padded = layer.backward(tape, dy if vectors else pad(dy, fill))

    np.testing.assert_array_equal(y_padded, y if vectors else pad(y, 0.0))
    np.testing.assert_array_equal(dx_padded, pad(dx, 0.0))
    for a, b in zip(flat(state) + flat(dstate), flat(state_padded) + flat(dstate_padded), strict=True):
        np.testing.assert_array_equal(a, b)
    for key, gradient in gradients.items():
        np.testing.assert_array_equal(gradient, gradients_padded[key])


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_its_sequences_one_by_one(name):
    layer, rng = make(name), np.random.default_rng(1)
    x = ragged(rng)
    y, state = layer(x)
    for i, part in enumerate(x):
        y_one, state_one = layer(part)
        np.testing.assert_allclose(y[i], y_one, rtol=1e-12, atol=1e-15)
        for batch, one in zip(flat(state), flat(state_one), strict=True):
            np.testing.assert_allclose(batch[..., i, :], one, rtol=1e-12, atol=1e-15)


def test_initial_states_belong_to_their_sequences():
    layer, rng = elman.LSTM(3, 6, seed=1, **F64), np.random.default_rng(2)
    x, h, c = ragged(rng), rng.normal(size=(4, 6)), rng.normal(size=(4, 6))
    y, (h_end, c_end) = layer(x, (h, c))
    for i, part in enumerate(x):
        y_one, (h_one, c_one) = layer(part, (h[i], c[i]))
        np.testing.assert_allclose(y[i], y_one, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose((h_end[i], c_end[i]), (h_one, c_one), rtol=1e-12, atol=1e-15)
        np.testing.assert_array_equal(h_end[i], y[i][-1])


def test_forms_of_results():
    layer = elman.GRU(3, 6, seed=1)
    x = np.ones((2, 5, 3), np.float32)
    y, h = layer(x)
    assert (y.shape, h.shape, y.dtype) == ((2, 5, 6), (2, 6), np.float32)
    y, h = layer(x[0])
    assert (y.shape, h.shape) == ((5, 6), (6,))
    y, h = layer([x[0], x[1, :2]])
    assert isinstance(y, list)
    assert [part.shape for part in y] == [(5, 6), (2, 6)]
    y, h = layer(x.tolist())  # nested lists spell an array
    assert y.shape == (2, 5, 6)
    y, h = layer([[[1, 2, 3]], [[1, 2, 3], [4, 5, 6]]])  # unequal ones are a ragged list
    assert [part.shape for part in y] == [(1, 6), (2, 6)]
    y, h = layer([np.ones(3), np.ones(3)])  # a list of steps is one sequence
    assert (y.shape, h.shape) == ((2, 6), (6,))


def test_integers_are_converted_and_inputs_left_alone():
    layer = elman.LSTM(2, 3, seed=0, **F64)
    x = np.arange(12).reshape(2, 3, 2)
    y, _ = layer(x)
    np.testing.assert_array_equal(y, layer(x.astype(float))[0])
    np.testing.assert_array_equal(x, np.arange(12).reshape(2, 3, 2))


@pytest.mark.parametrize("name", NAMES)
def test_results_do_not_alias_inputs_or_each_other(name):
    layer, rng = make(name), np.random.default_rng(3)
    x = rng.normal(size=(2, 5, 3))
    y, state = layer(x)
    before = [a.copy() for a in (y, *flat(state))]
    y_again, state_again = layer(x)
    y_again[...] = 0
    for a in flat(state_again):
        a[...] = 0
    x[...] = 0
    for a, b in zip((y, *flat(state)), before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("layer", [elman.Dropout(0.5), elman.Network([elman.Dropout(0.2)])], ids=str)
def test_a_layer_that_does_nothing_still_gives_a_copy(layer):
    x = np.ones((2, 3, 4))
    for y in (layer(x)[0], layer.forward(x)[0], layer(x[0])[0]):
        assert not np.shares_memory(y, x)
    y, _, tape = layer.forward(x)
    dy = np.ones_like(y)
    dx, _, _ = layer.backward(tape, dy)
    np.testing.assert_array_equal(dx, dy)
    assert not np.shares_memory(dx, dy)


def test_state_of_a_stateless_network_is_empty():
    assert elman.Network([elman.Dense(3, 2)])(np.ones((1, 2, 3)))[1] == []
    assert elman.Dense(3, 2)(np.ones((1, 2, 3)))[1] is None


def test_dense_and_embedding_values():
    rng = np.random.default_rng(4)
    dense, embedding = elman.Dense(3, 2, "sigmoid", seed=0, **F64), elman.Embedding(5, 4, seed=0, **F64)
    x = rng.normal(size=(2, 6, 3))
    np.testing.assert_allclose(dense(x)[0], 1 / (1 + np.exp(-(x @ dense.W + dense.b))), rtol=1e-13)
    tokens = rng.integers(5, size=(2, 6))
    np.testing.assert_array_equal(embedding(tokens)[0], embedding.W[tokens])
    padded = tokens.copy()
    padded[0, 3:] = -1
    y, _ = embedding(padded, lengths=[3, 6])
    np.testing.assert_array_equal(y[0, 3:], 0)
    np.testing.assert_array_equal(y[1], embedding.W[tokens[1]])


def test_dropout_scales_what_it_keeps():
    layer = elman.Dropout(0.25)
    y, _, _ = layer.forward(np.ones((10, 20, 30)), rng=np.random.default_rng(0))
    assert set(np.unique(y)) == {0.0, 1 / 0.75}
    assert y.mean() == pytest.approx(1, abs=0.02)


def test_live_parameters():
    layer = elman.GRU(3, 4, bidirectional=True, seed=0)
    names = ["Wx", "Wh", "b", "bn"]
    assert list(layer.parameters) == names + [f"{n}_reverse" for n in names]
    assert layer.Wx is layer.parameters["Wx"]
    held = layer.b
    layer.b = np.arange(12)  # integers are converted
    assert held is layer.b
    assert held.dtype == np.float32
    assert held[3] == 3
    value = np.ones(12, np.float32)
    layer.b = value
    layer.b += 1
    assert (value == 1).all()
    with pytest.raises(TypeError):
        layer.parameters["b"] = value


def test_initial_weights():
    layer = elman.LSTM(7, 5, seed=3, **F64)
    assert (layer.b == np.repeat([0, 1, 0, 0], 5)).all()
    assert np.abs(layer.Wx).max() <= (6 / 12) ** 0.5
    for block in np.split(layer.Wh, 4, axis=1):
        np.testing.assert_allclose(block @ block.T, np.eye(5), atol=1e-14)
    torch_like = elman.LSTM(7, 5, seed=3, initializer="uniform", forget_bias=None, **F64)
    everything = np.concatenate([a.ravel() for a in torch_like.parameters.values()])
    assert 0.9 / 5**0.5 < np.abs(everything).max() <= 1 / 5**0.5
    orthogonal = elman.RNN(7, 5, seed=3, initializer="orthogonal", **F64)
    np.testing.assert_allclose(orthogonal.Wx.T @ orthogonal.Wx, np.eye(5), atol=1e-14)
    same, other = elman.LSTM(7, 5, seed=3, **F64), elman.LSTM(7, 5, seed=4, **F64)
    np.testing.assert_array_equal(layer.Wx, same.Wx)
    assert (layer.Wx != other.Wx).all()
    np.testing.assert_array_equal(elman.LSTM(7, 5, seed=3).Wx, layer.Wx.astype(np.float32))


def through_pickle(layer):
    return pickle.loads(pickle.dumps(layer))


@pytest.mark.parametrize("copy_of", [copy.deepcopy, through_pickle])
def test_copies_have_live_weights_of_their_own(copy_of):
    net, x = make("dense"), ragged(np.random.default_rng(5))
    before, _ = net(x)
    twin = copy_of(net)
    for a, b in zip(twin(x)[0], before, strict=True):
        np.testing.assert_array_equal(a, b)
    twin.layers[0].Wx += 1
    assert (twin(x)[0][0] != before[0]).any()
    for a, b in zip(net(x)[0], before, strict=True):
        np.testing.assert_array_equal(a, b)
