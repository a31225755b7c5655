"""Gradients of every cell and layer against central differences in float64: relative error under 1e-7.

The equations and derivatives of the cells are in src/elman/cells, one file each.
"""

from __future__ import annotations

import numpy as np
import pytest

import elman
from central import central_gradient, relative_error
from elman.cells.activations import ACTIVATIONS

TOLERANCE = 1e-7
KINKED = {"relu", "leaky_relu", "thresholded_relu", "hard_sigmoid", "elu", "softsign"}  # in value or in slope


def random_parameters(layer, rng):
    for array in layer.parameters.values():
        array[...] = rng.normal(scale=0.6, size=array.shape)


def random_state(layer, count, rng):
    outer = (2, count) if layer.bidirectional else (count,)
    arrays = tuple(rng.normal(size=(*outer, width)) for width in layer.cell.widths(layer.hidden_size))
    return arrays if len(arrays) > 1 else arrays[0]


def check_recurrent(layer, rng, lengths, *, with_dy=True, with_dstate=True, smooth=True):
    """All gradients of a ragged batch: inputs, initial states, every weight; run twice, inputs left alone."""
    random_parameters(layer, rng)
    x = [rng.normal(size=(n, layer.input_size)) for n in lengths]
    state = random_state(layer, len(lengths), rng)
    dstate = random_state(layer, len(lengths), rng) if with_dstate else None
    dy = [rng.normal(size=(n, layer.output_size)) for n in lengths] if with_dy else None
    states = state if isinstance(state, tuple) else (state,)

    def loss():
        y, end = layer(x, state)
        total = 0.0
        if dy is not None:
            total += sum((a * b).sum() for a, b in zip(y, dy, strict=True))
        if dstate is not None:
            ends, dends = (end, dstate) if isinstance(end, tuple) else ((end,), (dstate,))
            total += sum((a * b).sum() for a, b in zip(ends, dends, strict=True))
        return float(total)

    copies = [a.copy() for a in (*x, *states, *layer.parameters.values())]
    _, _, tape = layer.forward(x, state)
    results = [layer.backward(tape, dy, dstate) for _ in range(2)]
    for before, after in zip(copies, (*x, *states, *layer.parameters.values()), strict=True):
        np.testing.assert_array_equal(before, after)
    for dx, dstart, gradients in results:
        dstarts = dstart if isinstance(dstart, tuple) else (dstart,)
        for exact, array in zip((*dx, *dstarts), (*x, *states), strict=True):
            assert relative_error(exact, central_gradient(loss, array, smooth)) < TOLERANCE
        assert list(gradients) == list(layer.parameters)
        for name, array in layer.parameters.items():
            assert relative_error(gradients[name], central_gradient(loss, array, smooth)) < TOLERANCE, name


CELLS = {
    "rnn": lambda i, h, d: elman.RNN(i, h, bidirectional=d, dtype="float64"),
    "lstm": lambda i, h, d: elman.LSTM(i, h, bidirectional=d, dtype="float64"),
    "gru after": lambda i, h, d: elman.GRU(i, h, bidirectional=d, dtype="float64"),
    "gru before": lambda i, h, d: elman.GRU(i, h, reset_after=False, bidirectional=d, dtype="float64"),
}


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("seed", range(3))
def test_cell_over_random_ragged_shapes(cell, bidirectional, seed):
    rng = np.random.default_rng(seed)
    sizes = rng.permutation([1, 2, 3, 4, 5, 6])  # all different
    lengths = rng.integers(1, 6, size=sizes[2])
    layer = CELLS[cell](int(sizes[0]), int(sizes[1]), bidirectional)
    check_recurrent(layer, rng, lengths)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("with_dy", "with_dstate"), [(True, False), (False, True), (False, False)])
def test_gradient_from_every_step_or_from_the_last_state_alone(cell, with_dy, with_dstate):
    check_recurrent(CELLS[cell](3, 4, True), np.random.default_rng(7), [5, 2], with_dy=with_dy, with_dstate=with_dstate)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_rnn_with_every_activation(name):
    layer = elman.RNN(3, 4, activation=name, dtype="float64")
    check_recurrent(layer, np.random.default_rng(3), [4, 2], smooth=name not in KINKED)


@pytest.mark.parametrize(
    "activation",
    [
        elman.Activation("leaky_relu", alpha=0.3),
        elman.Activation("elu", alpha=0.4),
        elman.Activation("scaled_tanh", alpha=1.7, beta=0.6),
        elman.Activation("affine", alpha=0.7, beta=0.2),
        elman.Activation("hard_sigmoid", alpha=0.3, beta=0.4),
        elman.Activation("thresholded_relu", alpha=0.2),
    ],
    ids=repr,
)
def test_rnn_with_activation_parameters(activation):
    layer = elman.RNN(3, 4, activation=activation, dtype="float64")
    check_recurrent(layer, np.random.default_rng(4), [4, 2], smooth=activation.name not in KINKED)


def leaky_step(x, state, weights):
    (h,), (W, U) = state, weights
    n = np.tanh(x @ W + h @ U)
    return (0.8 * h + 0.2 * n,), {"n": n}


def leaky_step_derivative(x, state, weights, kept, dnext):
    (h,), (W, U), (dh,) = state, weights, dnext
    da = 0.2 * dh * (1 - kept["n"] ** 2)
    return da @ W.T, (0.8 * dh + da @ U.T,), (x.T @ da, h.T @ da)


LEAKY = elman.Cell(
    "leaky", {"W": ("input", "hidden"), "U": ("hidden", "hidden")}, ("h",), leaky_step, leaky_step_derivative
)


def test_cell_of_a_user_unrolls_like_ours():
    check_recurrent(elman.Recurrent(LEAKY, 3, 5, True, dtype="float64"), np.random.default_rng(5), [4, 1, 6])


def network(*layers):
    return elman.Network(list(layers))


F64 = {"dtype": "float64"}
STACKS = {
    "dense": lambda: network(elman.Dense(3, 4, "tanh", **F64), elman.Dense(4, 2, **F64)),
    "layer norm": lambda: network(elman.Dense(3, 4, **F64), elman.LayerNorm(4, **F64)),
    "last step": lambda: network(elman.GRU(3, 4, **F64), elman.LastStep(), elman.Dense(4, 2, **F64)),
    "mean over time": lambda: network(elman.LSTM(3, 4, True, **F64), elman.MeanOverTime()),
    "max over time": lambda: network(elman.RNN(3, 4, **F64), elman.MaxOverTime(), elman.LayerNorm(4, **F64)),
    "deep": lambda: network(
        elman.LSTM(3, 2, True, **F64),
        elman.LayerNorm(4, **F64),
        elman.GRU(4, 5, **F64),
        elman.Dense(5, 2, "elu", **F64),
    ),
    "nested": lambda: network(network(elman.RNN(3, 4, **F64), elman.Dense(4, 2, **F64)), elman.GRU(2, 3, **F64)),
}


@pytest.mark.parametrize("name", STACKS)
def test_layers_and_networks(name):
    rng = np.random.default_rng(11)
    net = STACKS[name]()
    random_parameters(net, rng)
    x = [rng.normal(size=(n, 3)) for n in (4, 1, 5)]
    y, _, tape = net.forward(x)
    dy = [rng.normal(size=part.shape) for part in y] if isinstance(y, list) else rng.normal(size=y.shape)

    def loss():
        out, _ = net(x)
        pairs = zip(out, dy, strict=True)
        return float(sum((a * b).sum() for a, b in pairs))

    for _ in range(2):
        dx, _, gradients = net.backward(tape, dy)
        for exact, array in zip(dx, x, strict=True):
            assert relative_error(exact, central_gradient(loss, array)) < TOLERANCE
        for parameter, array in net.parameters.items():
            assert relative_error(gradients[parameter], central_gradient(loss, array)) < TOLERANCE, parameter


def test_embedding():
    rng = np.random.default_rng(12)
    net = network(elman.Embedding(5, 3, seed=1, **F64), elman.LSTM(3, 4, seed=2, **F64))
    tokens = [np.array([0, 4, 4, 2]), np.array([3])]  # one token twice, one never
    dy = [rng.normal(size=(4, 4)), rng.normal(size=(1, 4))]
    y, _, tape = net.forward(tokens)

    def loss():
        return float(sum((a * b).sum() for a, b in zip(net(tokens)[0], dy, strict=True)))

    dx, _, gradients = net.backward(tape, dy)
    assert dx is None
    assert (gradients["0.W"][1] == 0).all()
    for name, array in net.parameters.items():
        assert relative_error(gradients[name], central_gradient(loss, array)) < TOLERANCE, name


def test_dropout_backward_uses_the_mask_of_its_forward():
    net = network(elman.Dropout(0.4), elman.Dense(3, 2, seed=0, **F64))
    x = np.random.default_rng(0).normal(size=(2, 5, 3))
    y, _, tape = net.forward(x, rng=np.random.default_rng(9))
    dy = np.random.default_rng(1).normal(size=y.shape)

    def loss():
        return float((net.forward(x, rng=np.random.default_rng(9))[0] * dy).sum())  # the same draw again

    dx, _, _ = net.backward(tape, dy)
    assert relative_error(dx, central_gradient(loss, x)) < TOLERANCE
    assert (dx == 0).any()


def test_network_state_gradients():
    rng = np.random.default_rng(13)
    x = rng.normal(size=(2, 3, 3))
    state = [(rng.normal(size=(2, 2)), rng.normal(size=(2, 2))), rng.normal(size=(2, 4))]
    net = network(elman.LSTM(3, 2, **F64), elman.GRU(2, 4, **F64))
    random_parameters(net, rng)
    _, _, tape = net.forward(x, state)
    dend = [(rng.normal(size=(2, 2)), rng.normal(size=(2, 2))), rng.normal(size=(2, 4))]

    def loss():
        _, ((h, c), g) = net(x, state)
        return float((h * dend[0][0]).sum() + (c * dend[0][1]).sum() + (g * dend[1]).sum())

    _, ((dh, dc), dg), _ = net.backward(tape, dstate=dend)
    for exact, array in ((dh, state[0][0]), (dc, state[0][1]), (dg, state[1])):
        assert relative_error(exact, central_gradient(loss, array)) < TOLERANCE


def test_tape_is_a_value():
    """A tape gives the gradients of its own forward pass, whatever happens to the layer and to x later."""
    import pickle

    layer = elman.GRU(3, 4, seed=0, **F64)
    x = np.random.default_rng(0).normal(size=(2, 5, 3))
    dy = np.ones((2, 5, 4))
    _, _, tape = layer.forward(x)
    want = layer.backward(tape, dy)
    layer.forward(2 * x)
    for array in layer.parameters.values():
        array += 1
    x[...] = 7
    for other in (tape, pickle.loads(pickle.dumps(tape))):
        dx, dh, gradients = layer.backward(other, dy)
        np.testing.assert_array_equal(dx, want[0])
        np.testing.assert_array_equal(dh, want[1])
        for name, gradient in gradients.items():
            np.testing.assert_array_equal(gradient, want[2][name])


@pytest.mark.parametrize("tokens", [[3, 0, 3, 3, 6, 0, 3], [2], [6, 6, 6, 6], [0, 1, 2, 3, 4, 5, 6]])
def test_the_gradient_of_an_embedding_sums_over_equal_tokens(tokens):
    layer = elman.Embedding(7, 3, seed=0, **F64)
    for seed in (1, 2):
        _, _, tape = layer.forward(tokens)
        dy = np.random.default_rng(seed).standard_normal((len(tokens), 3))
        expected = np.zeros((7, 3))
        for token, row in zip(tokens, dy, strict=True):
            expected[token] += row
        np.testing.assert_allclose(layer.backward(tape, dy)[2]["W"], expected, rtol=1e-14, atol=1e-15)
        assert not layer.backward(tape)[2]["W"].any()
