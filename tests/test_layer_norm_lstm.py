"""The layer-normalized LSTM against the equations of its paper, written out row by row."""

from __future__ import annotations

import math

import numpy as np

import elman
from test_gradients import check_recurrent, random_parameters


def layer_norm(z, gain, bias):
    """Ba, Kiros, Hinton 2016, supplementary equation 15 and 16: one vector, in plain Python."""
    mean = sum(z) / len(z)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in z) / len(z) + 1e-5)
    return np.array([(v - mean) / deviation * a + b for v, a, b in zip(z, gain, bias, strict=True)])


def sigmoid(v):
    return np.array([1 / (1 + math.exp(-a)) for a in v])


def paper_step(x, h, c, w):
    """Equations 20-22, with the biases of all three normalizations and that of the gates."""
    a = layer_norm(h @ w["Wh"], w["alpha1"], w["beta1"]) + layer_norm(x @ w["Wx"], w["alpha2"], w["beta2"]) + w["b"]
    H = len(h)
    i, f, g, o = a[:H], a[H : 2 * H], a[2 * H : 3 * H], a[3 * H :]
    c_next = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(layer_norm(c_next, w["alpha3"], w["beta3"])), c_next


def test_equations_of_the_paper():
    rng = np.random.default_rng(0)
    layer = elman.LSTM(3, 5, layer_norm=True, dtype="float64")
    random_parameters(layer, rng)
    beta1, beta2 = rng.normal(size=(2, 20))
    p = layer.parameters
    w = {"Wx": p["Wx"], "Wh": p["Wh"], "b": p["b"] - beta1 - beta2, "beta1": beta1, "beta2": beta2}
    w |= {"alpha1": p["gain_h"], "alpha2": p["gain_x"], "alpha3": p["gain_c"], "beta3": p["bias_c"]}
    x, h, c = rng.normal(size=(2, 6, 3)), rng.normal(size=(2, 5)), rng.normal(size=(2, 5))
    for _ in range(2):
        y, (h_end, c_end) = layer(x, (h, c))
        for b in range(2):
            state = h[b], c[b]
            for t in range(6):
                state = paper_step(x[b, t], *state, w)
                np.testing.assert_allclose(y[b, t], state[0], rtol=1e-11)
            np.testing.assert_allclose(h_end[b], state[0], rtol=1e-11)
            np.testing.assert_allclose(c_end[b], state[1], rtol=1e-11)


def test_gradients():
    layer = elman.LSTM(2, 4, layer_norm=True, dtype="float64")
    check_recurrent(layer, np.random.default_rng(1), [3, 1])


def test_how_it_starts():
    for initializer in ("glorot", "uniform"):
        layer = elman.LSTM(3, 5, bidirectional=True, layer_norm=True, seed=0, initializer=initializer)
        for suffix in ("", "_reverse"):
            for name, size in (("gain_x", 20), ("gain_h", 20), ("gain_c", 5)):
                np.testing.assert_array_equal(layer.parameters[name + suffix], np.ones(size))
            assert (layer.parameters["bias_c" + suffix] == 0).all()
            assert (layer.parameters["b" + suffix][5:10] == 1).all()
        assert repr(layer).startswith("LSTM(input_size=3, hidden_size=5, layer_norm=True, bidirectional=True")
    plain = elman.LSTM(3, 5, seed=0)
    np.testing.assert_array_equal(plain.Wx, elman.LSTM(3, 5, layer_norm=True, seed=0).Wx)


def test_float32_is_the_same_cell():
    rng = np.random.default_rng(3)
    layers = [elman.LSTM(3, 5, layer_norm=True, dtype=dtype) for dtype in ("float64", "float32")]
    for layer in layers:
        random_parameters(layer, np.random.default_rng(4))
    x = rng.normal(size=(2, 9, 3))
    want, got = (layer(x)[0] for layer in layers)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, atol=1e-5)
