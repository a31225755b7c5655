"""Weights of other systems: every row of the table computes what that system's own equations compute, and comes back
to the bit; whatever is wrong about a convention shows in the result.

Weights are drawn at random, all sizes differ, states start away from 0, and every sequence has several steps.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman import GRU, LSTM, RNN, Cell, Dense, FormatError, Recurrent, ShapeError
from elman.cells import CELLS
from elman.interop import CONVENTIONS, Convention, from_arrays, to_arrays
from notebook_conventions import EVERY_CONVENTION, NOTEBOOKS, as_given

B, T, I, H = 3, 4, 2, 5
LAYERS = {"gru": GRU, "lstm": LSTM, "rnn": RNN}


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def lstm(i, f, g, o, c):
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


# One step of each system, written out in its own layout: arrays a, x and h as that system has them (columns where its
# arrays are columns), and c for an LSTM.


def pytorch_rnn(a, x, h, c):
    return np.tanh(
        a["weight_ih_l0"] @ x + a["bias_ih_l0"][:, None] + a["weight_hh_l0"] @ h + a["bias_hh_l0"][:, None]
    ), c


def pytorch_lstm(a, x, h, c):
    s = a["weight_ih_l0"] @ x + a["bias_ih_l0"][:, None] + a["weight_hh_l0"] @ h + a["bias_hh_l0"][:, None]
    return lstm(s[:H], s[H : 2 * H], s[2 * H : 3 * H], s[3 * H :], c)


def pytorch_gru(a, x, h, c):
    s = a["weight_ih_l0"] @ x + a["bias_ih_l0"][:, None]
    u = a["weight_hh_l0"] @ h + a["bias_hh_l0"][:, None]
    r, z = sigmoid(s[:H] + u[:H]), sigmoid(s[H : 2 * H] + u[H : 2 * H])
    n = np.tanh(s[2 * H :] + r * u[2 * H :])
    return (1 - z) * n + z * h, c


def keras_rnn(a, x, h, c):
    return np.tanh(x @ a["kernel"] + a["bias"] + h @ a["recurrent_kernel"]), c


def keras_lstm(a, x, h, c):
    i, f, g, o = np.split(x @ a["kernel"] + h @ a["recurrent_kernel"] + a["bias"], 4, axis=1)
    return lstm(i, f, g, o, c)


def keras_gru(a, x, h, c):
    xz, xr, xh = np.split(x @ a["kernel"] + a["bias"][0], 3, axis=1)
    uz, ur, uh = np.split(h @ a["recurrent_kernel"] + a["bias"][1], 3, axis=1)
    z, r = sigmoid(xz + uz), sigmoid(xr + ur)
    return z * h + (1 - z) * np.tanh(xh + r * uh), c


def keras_gru_reset_before(a, x, h, c):
    xz, xr, xh = np.split(x @ a["kernel"] + a["bias"], 3, axis=1)
    Uz, Ur, Uh = np.split(a["recurrent_kernel"], 3, axis=1)
    z, r = sigmoid(xz + h @ Uz), sigmoid(xr + h @ Ur)
    return z * h + (1 - z) * np.tanh(xh + (r * h) @ Uh), c


def onnx_rnn(a, x, h, c):
    W, R, (Wb, Rb) = a["W"][0], a["R"][0], np.split(a["B"][0], 2)
    return np.tanh(x @ W.T + h @ R.T + Wb + Rb), c


def onnx_lstm(a, x, h, c):
    W, R, (Wb, Rb) = a["W"][0], a["R"][0], np.split(a["B"][0], 2)
    i, o, f, g = np.split(x @ W.T + h @ R.T + Wb + Rb, 4, axis=1)
    return lstm(i, f, g, o, c)


def onnx_gru(a, x, h, c, linear_before_reset=0):
    (Wz, Wr, Wh), (Rz, Rr, Rh) = np.split(a["W"][0], 3), np.split(a["R"][0], 3)
    Wbz, Wbr, Wbh, Rbz, Rbr, Rbh = np.split(a["B"][0], 6)
    z = sigmoid(x @ Wz.T + h @ Rz.T + Wbz + Rbz)
    r = sigmoid(x @ Wr.T + h @ Rr.T + Wbr + Rbr)
    inner = r * (h @ Rh.T + Rbh) if linear_before_reset else (r * h) @ Rh.T + Rbh
    return (1 - z) * np.tanh(x @ Wh.T + inner + Wbh) + z * h, c


def onnx_gru_linear_before_reset(a, x, h, c):
    return onnx_gru(a, x, h, c, linear_before_reset=1)


def flax_rnn(a, x, h, c):
    return np.tanh(x @ a["dense_i/kernel"] + a["dense_i/bias"] + h @ a["dense_h/kernel"]), c


def flax_lstm(a, x, h, c):
    i, f, g, o = np.split(x @ a["dense_i/kernel"] + h @ a["dense_h/kernel"] + a["dense_h/bias"], 4, axis=-1)
    return lstm(i, f, g, o, c)


def flax_gru(a, x, h, c):
    xr, xz, xn = np.split(x @ a["dense_i/kernel"] + a["dense_i/bias"], 3, axis=-1)
    hr, hz, hn = np.split(h @ a["dense_h/kernel"], 3, axis=-1)
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)
    return (1 - z) * np.tanh(xn + r * hn) + z * h, c


def equinox_lstm(a, x, h, c):
    i, f, g, o = np.split(a["weight_ih"] @ x + a["weight_hh"] @ h + a["bias"][:, None], 4)
    return lstm(i, f, g, o, c)


def equinox_gru(a, x, h, c):
    xr, xz, xn = np.split(a["weight_ih"] @ x + a["bias"][:, None], 3)
    hr, hz, hn = np.split(a["weight_hh"] @ h, 3)
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)
    n = np.tanh(xn + r * (hn + a["bias_n"][:, None]))
    return n + z * (h - n), c


def tf1_rnn(a, x, h, c):
    return np.tanh(np.concatenate([x, h], 1) @ a["kernel"] + a["bias"]), c


def tf1_lstm(a, x, h, c):
    i, j, f, o = np.split(np.concatenate([x, h], 1) @ a["kernel"] + a["bias"], 4, axis=1)
    return lstm(i, f + 1.0, j, o, c)


def tf1_gru(a, x, h, c):
    r, u = np.split(sigmoid(np.concatenate([x, h], 1) @ a["gates/kernel"] + a["gates/bias"]), 2, axis=1)
    n = np.tanh(np.concatenate([x, r * h], 1) @ a["candidate/kernel"] + a["candidate/bias"])
    return u * h + (1 - u) * n, c


def numpy_ml_rnn(a, x, h, c):
    return np.tanh(h @ a["Waa"] + a["ba"].T + x @ a["Wax"] + a["bx"].T), c


def numpy_ml_lstm(a, x, h, c):
    Z = np.hstack([h, x])
    Gf, Gu, Go = (sigmoid(Z @ a["W" + gate] + a["b" + gate]) for gate in "fuo")
    c = Gf * c + Gu * np.tanh(Z @ a["Wc"] + a["bc"])
    return Go * np.tanh(c), c


def haste_lstm(a, x, h, c):
    i, g, f, o = np.split(h @ a["recurrent_kernel"] + x @ a["kernel"] + a["bias"], 4, axis=1)
    return lstm(i, f, g, o, c)


def haste_gru(a, x, h, c):
    xz, xr, xg = np.split(x @ a["kernel"] + a["bias"], 3, axis=1)
    hz, hr, hg = np.split(h @ a["recurrent_kernel"] + a["recurrent_bias"], 3, axis=1)
    z, r = sigmoid(xz + hz), sigmoid(xr + hr)
    return z * h + (1 - z) * np.tanh(xg + r * hg), c


def neural_amp_modeler_lstm(a, x, h, c):
    i, f, g, o = np.split(a["weight"] @ np.concatenate([x, h]) + a["bias"][:, None], 4)
    return lstm(i, f, g, o, c)


def char_rnn_lstm(a, x, h, c):
    s = a["i2h_1.weight"] @ x + a["i2h_1.bias"][:, None] + a["h2h_1.weight"] @ h + a["h2h_1.bias"][:, None]
    i, f, o, g = np.split(s, 4)
    return lstm(i, f, g, o, c)


def ncps_lstm(a, x, h, c):
    s = a["input_map.weight"] @ x + a["input_map.bias"][:, None] + a["recurrent_map.weight"] @ h
    g, i, f, o = np.split(s, 4)
    return lstm(i, f + 1.0, g, o, c)


def seed_rows_rnn(a, x, h, c):
    return np.tanh(x @ a["Wx"] + h @ a["Wh"] + a["b"]), c


def seed_000_lstm(a, x, h, c):
    i, f, o, g = np.split(np.dot(np.hstack([x, h]), a["W"]) + a["b"], 4, axis=1)
    return lstm(i, f, g, o, c)


def seed_002_rnn(a, x, h, c):
    return np.tanh(np.dot(a["Wax"], x) + np.dot(a["Waa"], h) + a["ba"]), c


def seed_002_lstm(a, x, h, c):
    both = np.concatenate([h, x], axis=0)
    f, i, o, g = (np.dot(a["W" + gate], both) + a["b" + gate] for gate in "fioc")
    return lstm(i, f, g, o, c)


def seed_003_rnn(a, x, h, c):
    return np.tanh(np.dot(a["Wx"], x) + np.dot(a["Wh"], h) + a["b"]), c


def seed_004_lstm(a, x, h, c):
    both = np.concatenate((h, x), axis=0)
    f, i, o, g = (np.dot(a["W" + gate], both) + a["b" + gate][:, None] for gate in "fioc")
    return lstm(i, f, g, o, c)


PT = ("weight_ih_l0", "weight_hh_l0"), ("bias_ih_l0", "bias_hh_l0")

#: (convention, cell, options): whether x and h are columns, the equations, and the shapes of the arrays.
SYSTEMS = {
    ("pytorch", "rnn", ""): (True, pytorch_rnn, dict(zip(sum(PT, ()), [(H, I), (H, H), (H,), (H,)], strict=True))),
    ("pytorch", "lstm", ""): (
        True, pytorch_lstm, dict(zip(sum(PT, ()), [(4 * H, I), (4 * H, H), (4 * H,), (4 * H,)], strict=True)),
    ),
    ("pytorch", "gru", ""): (
        True, pytorch_gru, dict(zip(sum(PT, ()), [(3 * H, I), (3 * H, H), (3 * H,), (3 * H,)], strict=True)),
    ),
    ("keras", "rnn", ""): (False, keras_rnn, {"kernel": (I, H), "recurrent_kernel": (H, H), "bias": (H,)}),
    ("keras", "lstm", ""): (
        False, keras_lstm, {"kernel": (I, 4 * H), "recurrent_kernel": (H, 4 * H), "bias": (4 * H,)},
    ),
    ("keras", "gru", "after"): (
        False, keras_gru, {"kernel": (I, 3 * H), "recurrent_kernel": (H, 3 * H), "bias": (2, 3 * H)},
    ),
    ("keras", "gru", "before"): (
        False, keras_gru_reset_before, {"kernel": (I, 3 * H), "recurrent_kernel": (H, 3 * H), "bias": (3 * H,)},
    ),
    ("onnx", "rnn", ""): (False, onnx_rnn, {"W": (1, H, I), "R": (1, H, H), "B": (1, 2 * H)}),
    ("onnx", "lstm", ""): (False, onnx_lstm, {"W": (1, 4 * H, I), "R": (1, 4 * H, H), "B": (1, 8 * H)}),
    ("onnx", "gru", "before"): (False, onnx_gru, {"W": (1, 3 * H, I), "R": (1, 3 * H, H), "B": (1, 6 * H)}),
    ("onnx", "gru", "after"): (
        False, onnx_gru_linear_before_reset, {"W": (1, 3 * H, I), "R": (1, 3 * H, H), "B": (1, 6 * H)},
    ),
    ("flax", "rnn", ""): (
        False, flax_rnn, {"dense_i/kernel": (I, H), "dense_h/kernel": (H, H), "dense_i/bias": (H,)},
    ),
    ("flax", "lstm", ""): (
        False, flax_lstm, {"dense_i/kernel": (I, 4 * H), "dense_h/kernel": (H, 4 * H), "dense_h/bias": (4 * H,)},
    ),
    ("flax", "gru", "after"): (
        False, flax_gru, {"dense_i/kernel": (I, 3 * H), "dense_h/kernel": (H, 3 * H), "dense_i/bias": (3 * H,)},
    ),
    ("equinox", "lstm", ""): (
        True, equinox_lstm, {"weight_ih": (4 * H, I), "weight_hh": (4 * H, H), "bias": (4 * H,)},
    ),
    ("equinox", "gru", "after"): (
        True, equinox_gru, {"weight_ih": (3 * H, I), "weight_hh": (3 * H, H), "bias": (3 * H,), "bias_n": (H,)},
    ),
    ("tf1", "rnn", ""): (False, tf1_rnn, {"kernel": (I + H, H), "bias": (H,)}),
    ("tf1", "lstm", ""): (False, tf1_lstm, {"kernel": (I + H, 4 * H), "bias": (4 * H,)}),
    ("tf1", "gru", "before"): (
        False,
        tf1_gru,
        {
            "gates/kernel": (I + H, 2 * H), "candidate/kernel": (I + H, H),
            "gates/bias": (2 * H,), "candidate/bias": (H,),
        },
    ),
    ("numpy-ml", "rnn", ""): (False, numpy_ml_rnn, {"Wax": (I, H), "Waa": (H, H), "bx": (H, 1), "ba": (H, 1)}),
    ("numpy-ml", "lstm", ""): (
        False, numpy_ml_lstm, {"W" + g: (H + I, H) for g in "fuco"} | {"b" + g: (1, H) for g in "fuco"},
    ),
    ("haste", "lstm", ""): (
        False, haste_lstm, {"kernel": (I, 4 * H), "recurrent_kernel": (H, 4 * H), "bias": (4 * H,)},
    ),
    ("haste", "gru", "after"): (
        False,
        haste_gru,
        {"kernel": (I, 3 * H), "recurrent_kernel": (H, 3 * H), "bias": (3 * H,), "recurrent_bias": (3 * H,)},
    ),
    ("neural-amp-modeler", "lstm", ""): (
        True, neural_amp_modeler_lstm, {"weight": (4 * H, I + H), "bias": (4 * H,), "h0": (H,), "c0": (H,)},
    ),
    ("char-rnn", "lstm", ""): (
        True,
        char_rnn_lstm,
        {"i2h_1.weight": (4 * H, I), "h2h_1.weight": (4 * H, H), "i2h_1.bias": (4 * H,), "h2h_1.bias": (4 * H,)},
    ),
    ("ncps", "lstm", ""): (
        True,
        ncps_lstm,
        {"input_map.weight": (4 * H, I), "recurrent_map.weight": (4 * H, H), "input_map.bias": (4 * H,)},
    ),
    ("book-0", "rnn", ""): (False, seed_rows_rnn, {"Wx": (I, H), "Wh": (H, H), "b": (1, H)}),
    ("book-0", "lstm", ""): (False, seed_000_lstm, {"W": (I + H, 4 * H), "b": (1, 4 * H)}),
    ("book-1", "rnn", ""): (False, seed_rows_rnn, {"Wx": (I, H), "Wh": (H, H), "b": (H,)}),
    ("book-2", "rnn", ""): (True, seed_002_rnn, {"Wax": (H, I), "Waa": (H, H), "ba": (H, 1)}),
    ("book-2", "lstm", ""): (
        True, seed_002_lstm, {"W" + g: (H, H + I) for g in "fico"} | {"b" + g: (H, 1) for g in "fico"},
    ),
    ("book-3", "rnn", ""): (True, seed_003_rnn, {"Wx": (H, I), "Wh": (H, H), "b": (H, 1)}),
    ("book-4", "lstm", ""): (
        True, seed_004_lstm, {"W" + g: (H, H + I) for g in "fioc"} | {"b" + g: (H,) for g in "fioc"},
    ),
}  # fmt: skip


def system(key):
    """The equations and random arrays of a system; those that must be 0 are."""
    columns, step, shapes = SYSTEMS[key]
    rng = np.random.default_rng(7)
    arrays = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    for name in EVERY_CONVENTION[key[0]].zeros:
        arrays[name][:] = 0

    def run(x, h, c, a=arrays):
        ys = []
        for t in range(x.shape[1]):
            turn = np.transpose if columns else np.asarray
            h, c = (turn(s) for s in step(a, turn(x[:, t]), turn(h), turn(c)))
            ys.append(h)
        return np.stack(ys, axis=1), h, c

    return run, arrays


def options_of(key):
    return {"reset_after": key[2] == "after"} if key[2] else {}


def inputs():
    rng = np.random.default_rng(11)
    return rng.standard_normal((B, T, I)), rng.standard_normal((B, H)), rng.standard_normal((B, H))


def run_layer(layer, x, h, c):
    y, state = layer(x, (h, c) if isinstance(layer, LSTM) else h)
    return (y, *state) if isinstance(layer, LSTM) else (y, state, c)


def random_layer(cell, rng, dtype="float64", bidirectional=False, **options):
    layer = LAYERS[cell](I, H, bidirectional=bidirectional, dtype=dtype, **options)
    for array in layer.parameters.values():
        array[...] = rng.integers(-2000, 2000, array.shape) / 1024  # so that adding 1 is exact, even in float32
    return layer


def assert_same_bits(got, want):
    assert list(got) == list(want)
    for name, array in want.items():
        assert got[name].dtype == array.dtype
        assert got[name].shape == array.shape
        assert got[name].tobytes() == np.ascontiguousarray(array).tobytes(), name


TABLE = [
    (name, cell, options)
    for name, convention in EVERY_CONVENTION.items()
    for cell in (convention.gates or CELLS)
    for options in (
        [{}]
        if cell != "gru"
        else [{"reset_after": form} for form in (True, False) if convention.reset_after in (None, form)]
    )
]


class TestTable:
    @pytest.mark.parametrize("key", SYSTEMS, ids="-".join)
    def test_computes_what_the_system_s_own_equations_compute(self, key):
        run, arrays = system(key)
        before = {name: array.copy() for name, array in arrays.items()}
        layer = from_arrays(key[1], arrays, as_given(key[0]), **options_of(key))
        assert type(layer) is LAYERS[key[1]]
        assert (layer.input_size, layer.hidden_size, str(layer.dtype)) == (I, H, "float64")
        x, h, c = inputs()
        for _ in range(2):
            for got, want in zip(run_layer(layer, x, h, c), run(x, h, c), strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)
        assert_same_bits(arrays, before)

    @pytest.mark.parametrize("key", SYSTEMS, ids="-".join)
    def test_what_is_written_computes_the_same_in_the_system_s_own_equations(self, key):
        run, _ = system(key)
        layer = random_layer(key[1], np.random.default_rng(1), **options_of(key))
        if key[:2] == ("flax", "gru"):
            layer.bn[:] = 0
        arrays = to_arrays(layer, as_given(key[0]))
        assert {name: array.shape for name, array in arrays.items()} == SYSTEMS[key][2]
        x, h, c = inputs()
        for got, want in zip(run(x, h, c, arrays), run_layer(layer, x, h, c), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)

    def test_every_row_has_equations_here(self):
        told = {(name, cell) for name, cell, _ in SYSTEMS}
        assert told == {(name, cell) for name, cell, _ in TABLE if name != "elman"}

    @pytest.mark.parametrize("bidirectional", [False, True])
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize(("name", "cell", "options"), TABLE)
    def test_there_and_back_to_the_bit(self, name, cell, options, dtype, bidirectional):
        layer = random_layer(cell, np.random.default_rng(2), dtype, bidirectional, **options)
        if (name, cell) == ("flax", "gru"):
            for suffix in ("", "_reverse")[: 1 + bidirectional]:
                layer.parameters["bn" + suffix][:] = 0
        before = {key: array.copy() for key, array in layer.parameters.items()}
        arrays = to_arrays(layer, as_given(name))
        for array in arrays.values():
            assert array.dtype == dtype
            assert array.flags.c_contiguous
            assert not any(np.shares_memory(array, own) for own in layer.parameters.values())
        kept = {key: array.copy() for key, array in arrays.items()}
        back = from_arrays(cell, arrays, as_given(name), **options)
        assert back.config == layer.config
        assert list(back.config) == list(layer.config)
        assert_same_bits(back.parameters, before)
        assert_same_bits(layer.parameters, before)
        assert_same_bits(to_arrays(back, as_given(name)), kept)
        for array in arrays.values():
            array[...] = 7
        assert_same_bits(back.parameters, before)

    @pytest.mark.parametrize("key", [k for k in SYSTEMS if k[0] not in ("pytorch", "onnx", "char-rnn")], ids="-".join)
    def test_back_and_there_to_the_bit_where_no_biases_are_added(self, key):
        if (key[:2] in {("numpy-ml", "rnn"), ("haste", "gru")}) or key == ("keras", "gru", "after"):
            pytest.skip("its two biases are added")
        _, arrays = system(key)
        for array in arrays.values():
            array[...] = np.round(array * 1024) / 1024
        back = to_arrays(from_arrays(key[1], arrays, as_given(key[0]), **options_of(key)), as_given(key[0]))
        assert_same_bits(dict(sorted(back.items())), dict(sorted(arrays.items())))

    def test_minus_zero_comes_back(self):
        layer = random_layer("lstm", np.random.default_rng(0))
        layer.b[:] = -0.0
        back = from_arrays("lstm", to_arrays(layer, "pytorch"), "pytorch")
        assert np.signbit(back.b).all()

    def test_the_forget_offset_costs_one_rounding_at_most(self):
        layer = LSTM(I, H, dtype="float32", seed=0)
        layer.b[:] = np.random.default_rng(0).standard_normal(4 * H) / 3
        back = from_arrays("lstm", to_arrays(layer, "tf1"), "tf1")
        f = slice(H, 2 * H)
        np.testing.assert_allclose(back.b[f], layer.b[f], rtol=0, atol=2 * np.finfo(np.float32).eps)
        assert (np.delete(back.b, f) == np.delete(layer.b, f)).all()


class TestBroken:
    """What is wrong about a convention shows in the result."""

    @pytest.mark.parametrize("key", [k for k in SYSTEMS if k[1] != "rnn"], ids="-".join)
    def test_every_wrong_order_of_gates(self, key):
        run, arrays = system(key)
        x, h, c = inputs()
        want = run(x, h, c)[0]
        cell = CELLS[key[1]](**options_of(key))
        right = EVERY_CONVENTION[key[0]].for_cell(cell)
        wrong = 0
        for order in permutations(right.gates):
            if right.per_gate and isinstance(right.per_gate, bool):  # the names say which gate an array is
                labels = [right.gate_labels.get(gate, gate) for gate in right.gates]
                changed = replace(right, gate_labels=dict(zip(order, labels, strict=True)))
            elif right.per_gate:
                changed = replace(right, per_gate=("".join(order[:2]), order[2]), gate_labels={
                    "".join(order[:2]): "gates", order[2]: "candidate"})  # fmt: skip
            else:
                changed = replace(right, gates="".join(order))
            layer = from_arrays(key[1], arrays, changed, **options_of(key))
            same = np.allclose(run_layer(layer, x, h, c)[0], want, rtol=1e-6)
            assert same == (order == right.gates), order
            wrong += not same
        assert wrong == (23 if key[1] == "lstm" else 5)

    @pytest.mark.parametrize("key", [k for k in SYSTEMS if k[1] == "gru"], ids="-".join)
    @pytest.mark.parametrize("field", ["update", "reset_after"])
    def test_the_other_update_sense_and_the_other_reset_form(self, key, field):
        run, arrays = system(key)
        right = EVERY_CONVENTION[key[0]]
        options = options_of(key)
        if field == "update":
            changed = replace(right, update="new")
        else:
            if key[0] == "keras":
                arrays["bias"] = arrays["bias"].sum(0) if key[2] == "after" else np.stack([arrays["bias"]] * 2)
            if key[0] == "equinox":
                changed = replace(right, reset_after=None, inner_bias=None)
                del arrays["bias_n"]
            else:
                changed = replace(right, reset_after=None)
            options = {"reset_after": key[2] == "before"}
        x, h, c = inputs()
        want = run(x, h, c, arrays if field == "update" else system(key)[1])[0]
        got = run_layer(from_arrays("gru", arrays, changed, **options), x, h, c)[0]
        assert np.abs(got - want).max() > 1e-2

    @pytest.mark.parametrize("key", [("pytorch", "gru", ""), ("haste", "gru", "after")], ids="-".join)
    def test_the_two_biases_of_the_candidate_exchanged(self, key):
        run, arrays = system(key)
        right = EVERY_CONVENTION[key[0]].for_cell(CELLS["gru"]())
        changed = replace(right, bias_names=tuple(reversed(right.bias_arrays)))
        x, h, c = inputs()
        got = run_layer(from_arrays("gru", arrays, changed), x, h, c)[0]
        assert np.abs(got - run(x, h, c)[0]).max() > 1e-2

    def test_biases_that_only_act_as_a_sum_may_be_exchanged(self):
        _, arrays = system(("pytorch", "lstm", ""))
        changed = replace(CONVENTIONS["pytorch"], bias_names=("bias_hh_l0", "bias_ih_l0"))
        assert_same_bits(
            from_arrays("lstm", arrays, changed).parameters, from_arrays("lstm", arrays, "pytorch").parameters
        )

    @pytest.mark.parametrize("name", ["onnx", "keras"])
    def test_two_biases_in_one_array_split_the_other_way(self, name):
        run, arrays = system((name, "gru", "after"))
        bias = arrays["B" if name == "onnx" else "bias"]
        halves = bias.reshape(2, -1)
        x, h, c = inputs()
        want = run(x, h, c)[0]
        halves[:] = halves[::-1].copy()
        got = run_layer(from_arrays("gru", arrays, as_given(name), reset_after=True), x, h, c)[0]
        assert np.abs(got - want).max() > 1e-2

    @pytest.mark.parametrize(
        "key", [k for k in SYSTEMS if EVERY_CONVENTION[k[0]].for_cell(CELLS[k[1]]()).stacked], ids="-".join
    )
    def test_x_and_h_stacked_the_other_way(self, key):
        run, arrays = system(key)
        right = EVERY_CONVENTION[key[0]].for_cell(CELLS[key[1]]())
        x, h, c = inputs()
        changed = replace(right, stacked=right.stacked[::-1])
        got = run_layer(from_arrays(key[1], arrays, changed, **options_of(key)), x, h, c)[0]
        assert np.abs(got - run(x, h, c)[0]).max() > 1e-2

    @pytest.mark.parametrize("name", ["tf1", "ncps"])
    def test_the_forget_offset_left_out(self, name):
        run, arrays = system((name, "lstm", ""))
        x, h, c = inputs()
        layer = from_arrays("lstm", arrays, replace(EVERY_CONVENTION[name], forget_offset=0.0))
        assert np.abs(run_layer(layer, x, h, c)[0] - run(x, h, c)[0]).max() > 1e-2

    @pytest.mark.parametrize("key", SYSTEMS, ids="-".join)
    def test_the_other_orientation_is_refused_where_sizes_differ(self, key):
        _, arrays = system(key)
        right = EVERY_CONVENTION[key[0]]
        changed = replace(right, orientation="rows" if right.orientation == "columns" else "columns")
        with pytest.raises(ShapeError, match=r"must have shape"):
            from_arrays(key[1], arrays, changed, **options_of(key))


class TestDirections:
    @pytest.mark.parametrize("name", ["pytorch", "onnx", "keras", "book-2"])
    def test_both_directions_are_two_layers(self, name):
        layer = random_layer("lstm", np.random.default_rng(3), bidirectional=True)
        arrays = to_arrays(layer, as_given(name))
        if name == "onnx":
            first, second = ({key: array[d : d + 1] for key, array in arrays.items()} for d in (0, 1))
        else:
            second = {key.removesuffix("_reverse"): a for key, a in arrays.items() if key.endswith("_reverse")}
            first = {key: a for key, a in arrays.items() if not key.endswith("_reverse")}
        x, h, c = inputs()
        y, _ = from_arrays("lstm", arrays, as_given(name))(x, (np.stack([h, 2 * h]), np.stack([c, 2 * c])))
        np.testing.assert_array_equal(y[..., :H], from_arrays("lstm", first, as_given(name))(x, (h, c))[0])
        backwards = from_arrays("lstm", second, as_given(name))(x[:, ::-1], (2 * h, 2 * c))[0]
        np.testing.assert_array_equal(y[..., H:], backwards[:, ::-1])

    def test_a_suffix_of_one_s_own(self):
        mine = Convention("mine", gates="oigf", reverse=".back")
        layer = random_layer("lstm", np.random.default_rng(3), bidirectional=True)
        arrays = to_arrays(layer, mine)
        assert list(arrays) == ["Wx", "Wh", "b", "Wx.back", "Wh.back", "b.back"]
        assert_same_bits(from_arrays("lstm", arrays, mine).parameters, layer.parameters)

    def test_layers_of_a_stack(self):
        layer = random_layer("gru", np.random.default_rng(3), bidirectional=True)
        second = CONVENTIONS["pytorch"].for_layer(1)
        arrays = to_arrays(layer, second)
        assert list(arrays)[:2] == ["weight_ih_l1", "weight_hh_l1"]
        assert list(arrays)[-1] == "bias_hh_l1_reverse"
        assert_same_bits(from_arrays("gru", arrays, second).parameters, layer.parameters)
        with pytest.raises(FormatError, match=r"weight_ih_l0.*missing"):
            from_arrays("gru", arrays, "pytorch")


def cell_gates(cell):
    return st.permutations(list(CELLS[cell]().gates)).map("".join)


@st.composite
def conventions(draw):
    cell = draw(st.sampled_from(["gru", "lstm", "rnn"]))
    biases = draw(st.sampled_from([1, 2, "inner"]))
    axis = draw(st.booleans())
    convention = Convention(
        "drawn",
        orientation=draw(st.sampled_from(["rows", "columns"])),
        gates=draw(cell_gates(cell)),
        stacked=draw(st.sampled_from([None, "xh", "hx"])),
        per_gate=draw(st.booleans()),
        gate_labels=draw(st.sampled_from([{}, {"g": "c", "n": "candidate"}])),
        biases=biases,
        two_biases=draw(st.sampled_from(["arrays", "joined", "rows"])) if biases == 2 else "joined",
        inner_bias="inside_{gate}" if biases == 1 else None,
        bias_shape=draw(st.sampled_from(["vector", "row", "column"])),
        update=draw(st.sampled_from(["old", "new"])),
        forget_offset=draw(st.sampled_from([0.0, 1.0, -0.5])),
        direction_axis=axis,
    )
    options = {"reset_after": draw(st.booleans())} if cell == "gru" else {}
    layer = random_layer(
        cell,
        np.random.default_rng(draw(st.integers(0, 99))),
        draw(st.sampled_from(["float32", "float64"])),
        draw(st.booleans()),
        **options,
    )
    return convention, cell, options, layer


class TestCustom:
    @settings(max_examples=300, deadline=None)
    @given(conventions())
    def test_any_convention_there_and_back_to_the_bit(self, drawn):
        convention, cell, options, layer = drawn
        arrays = to_arrays(layer, convention)
        back = from_arrays(cell, arrays, convention, **options)
        assert_same_bits(back.parameters, layer.parameters)

    @pytest.mark.parametrize("form", [True, False])
    def test_the_update_gate_in_the_sense_of_the_new_state(self, form):
        """The GRU of Cho's later papers and of char-rnn: h' = z n + (1 - z) h."""
        mine = Convention("mine", gates="zrn", update="new", biases=2, bias_names=("b", "d"))
        rng = np.random.default_rng(5)
        a = {"Wx": rng.standard_normal((I, 3 * H)), "Wh": rng.standard_normal((H, 3 * H))}
        a |= {"b": rng.standard_normal(3 * H), "d": rng.standard_normal(3 * H)}
        x, h, c = inputs()
        layer = from_arrays("gru", a, mine, reset_after=form)
        y, end = layer(x, h)
        for t in range(T):
            xz, xr, xn = np.split(x[:, t] @ a["Wx"] + a["b"], 3, axis=1)
            (Uz, Ur, Un), (dz, dr, dn) = np.split(a["Wh"], 3, axis=1), np.split(a["d"], 3)
            z, r = sigmoid(xz + h @ Uz + dz), sigmoid(xr + h @ Ur + dr)
            n = np.tanh(xn + (r * (h @ Un + dn) if form else (r * h) @ Un + dn))
            h = z * n + (1 - z) * h
            np.testing.assert_allclose(y[:, t], h, rtol=1e-12)
        np.testing.assert_allclose(end, h, rtol=1e-12)
        assert_same_bits(
            from_arrays("gru", to_arrays(layer, mine), mine, reset_after=form).parameters, layer.parameters
        )

    def test_without_biases(self):
        mine = Convention("mine", biases=0)
        layer = random_layer("rnn", np.random.default_rng(0))
        with pytest.raises(FormatError, match=r"the bias of the gate h must be 0 for the convention 'mine'.*Got"):
            to_arrays(layer, mine)
        layer.b[:] = 0
        assert list(to_arrays(layer, mine)) == ["Wx", "Wh"]
        assert_same_bits(from_arrays("rnn", to_arrays(layer, mine), mine).parameters, layer.parameters)

    def test_one_bias_keeps_no_bias_inside_the_reset_product(self):
        layer = random_layer("gru", np.random.default_rng(0))
        for convention in ("flax", Convention("mine")):
            with pytest.raises(
                FormatError, match=r"inside the recurrent product of the gate n must be 0 for the .* Got"
            ):
                to_arrays(layer, convention)

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"orientation": "row"}, "orientation must be one of 'rows', 'columns'. Got 'row'"),
            ({"stacked": "hh"}, "stacked must be one of"),
            ({"biases": 3}, "biases must be 0, 1, 2 or 'inner'. Got 3."),
            ({"biases": True}, "biases must be"),
            ({"two_biases": "both"}, "two_biases must be one of"),
            ({"bias_shape": "flat"}, "bias_shape must be one of"),
            ({"update": "newer"}, "update must be one of 'old', 'new'. Got 'newer'. Did you mean 'new'?"),
            ({"forget_offset": np.nan}, "forget_offset must be a number"),
            ({"reset_after": "yes"}, "reset_after must be True, False or None"),
            ({"inner_bias": "bn", "biases": 2}, "inner_bias must be left out unless biases is 1"),
            ({"reverse": ""}, "reverse must be a suffix"),
            ({"weight_names": ("W",)}, r"weight_names must be a sequence of length 2. Got \('W',\)"),
            ({"weight_names": "WU"}, "weight_names must be a sequence of length 2. Got 'WU'"),
            ({"weight_names": ("W", "U"), "stacked": "xh"}, "weight_names must be a sequence of length 1"),
            ({"bias_names": ("b", "d")}, "bias_names must be a sequence of length 1"),
            ({"weight_names": ("W", "U"), "per_gate": True}, "every name of weight_names must hold '{gate}'. Got 'W'"),
            ({"bias_names": ("b{gate}",)}, "must not hold '{gate}' without per_gate. Got 'b{gate}'"),
            ({"by_cell": {"lstm": {"update": "no"}}}, "update must be one of"),
        ],
    )
    def test_fields_that_do_not_fit(self, fields, message):
        with pytest.raises(ValueError, match=message):
            Convention("mine", **fields)

    @pytest.mark.parametrize("gates", ["ifg", "iffo", "ifgoo", "rzn", "ifco", ""])
    def test_gates_that_are_no_permutation(self, gates):
        with pytest.raises(
            ValueError, match=r"gates of the convention 'mine' must be i, f, g, o, .* in any order. Got"
        ):
            to_arrays(LSTM(I, H), Convention("mine", gates=gates))

    def test_names_that_fall_together(self):
        with pytest.raises(ValueError, match=r"must have its own name. Got 'Wc' twice"):
            to_arrays(LSTM(I, H), Convention("mine", per_gate=True, stacked="xh", gate_labels={"g": "c", "f": "c"}))


def plain_cell(name, weights, gates=(), inner=None):
    def step(x, state, arrays):
        raise AssertionError("conventions read the data of a cell only")

    return Cell(name, weights, ("h",), step, step, gates=gates, inner_biases=inner or {})


class TestCellsOfOneSOwn:
    GATED = plain_cell(
        "mine",
        {"U": ("hidden", "gates"), "e": ("hidden",), "W": ("input", "gates"), "bias": ("gates",)},
        ("keep", "z", "new"),
        {"e": "new"},
    )

    def layer(self, cell, **options):
        layer = Recurrent(cell, I, H, dtype="float64", **options)
        rng = np.random.default_rng(0)
        for array in layer.parameters.values():
            array[...] = rng.integers(-2000, 2000, array.shape) / 1024
        return layer

    @pytest.mark.parametrize("bidirectional", [False, True])
    @pytest.mark.parametrize(
        "convention",
        [
            "elman",
            Convention(
                "c", orientation="columns", gates=("new", "keep", "z"), biases=2, two_biases="rows", update="new"
            ),
            Convention("d", stacked="hx", per_gate=True, inner_bias="in_{gate}"),
        ],
    )
    def test_there_and_back_to_the_bit(self, convention, bidirectional):
        layer = self.layer(self.GATED, bidirectional=bidirectional)
        back = from_arrays(self.GATED, to_arrays(layer, convention), convention)
        assert type(back) is Recurrent
        assert back.cell is self.GATED
        assert back.config == layer.config
        assert_same_bits(back.parameters, layer.parameters)

    def test_blocks_stand_where_the_convention_says(self):
        layer = self.layer(self.GATED)
        arrays = to_arrays(layer, Convention("c", gates=("new", "keep", "z"), biases=2, update="new"))
        keep, z, new = np.split(layer.W, 3, axis=1)
        np.testing.assert_array_equal(arrays["Wx"], np.concatenate([new, keep, -z], axis=1))
        np.testing.assert_array_equal(arrays["bh"], np.concatenate([layer.e, np.zeros(2 * H)]))

    def test_a_cell_without_gates_and_without_bias(self):
        cell = plain_cell("leaky", {"Wx": ("input", "hidden"), "Wh": ("hidden", "hidden")})
        layer = self.layer(cell)
        mine = Convention("mine", orientation="columns")
        arrays = to_arrays(layer, mine)
        np.testing.assert_array_equal(arrays["Wx"], layer.Wx.T)
        np.testing.assert_array_equal(arrays["b"], np.zeros(H))
        assert_same_bits(from_arrays(cell, arrays, mine).parameters, layer.parameters)
        with pytest.raises(FormatError, match=r"the bias must be 0 for the cell 'leaky', which has none. Got 0.25"):
            from_arrays(cell, {**arrays, "b": np.full(H, 0.25)}, mine)

    def test_weights_of_another_kind_fit_elman_alone(self):
        cell = plain_cell(
            "odd",
            {"Wx": ("input", "gates"), "Wh": ("hidden", "gates"), "p": ("hidden",), "Wz": ("input", "gates")},
            ("a", "b"),
        )
        layer = self.layer(cell)
        assert list(to_arrays(layer, "elman")) == ["Wx", "Wh", "p", "Wz"]
        assert_same_bits(from_arrays(cell, to_arrays(layer, "elman"), "elman").parameters, layer.parameters)
        with pytest.raises(FormatError, match=r"to fit the convention 'mine'. Got p \('hidden',\) of the cell 'odd'"):
            to_arrays(layer, Convention("mine"))

    def test_a_cell_that_the_table_does_not_have(self):
        with pytest.raises(
            FormatError, match=r"must be one of 'gru', 'lstm', 'rnn', which the convention 'pytorch' has"
        ):
            to_arrays(self.layer(self.GATED), "pytorch")
        with pytest.raises(FormatError, match=r"must be one of 'rnn', which the convention 'book-1' has. Got 'lstm'"):
            to_arrays(LSTM(I, H), NOTEBOOKS["book-1"])

    def test_options_belong_to_the_cell(self):
        with pytest.raises(TypeError, match=r"options must be left out with a Cell"):
            from_arrays(self.GATED, {}, "elman", activation="relu")


class TestOptions:
    def test_the_activation(self):
        layer = from_arrays("rnn", to_arrays(RNN(I, H, seed=0), "keras"), "keras", activation="relu")
        assert layer.config["activation"] == "relu"
        with pytest.raises(TypeError, match=r"options of 'rnn' must be activation or clip. Got 'activaton'"):
            from_arrays("rnn", {}, "keras", activaton="relu")
        with pytest.raises(
            TypeError, match=r"options of 'lstm' must be layer_norm or peepholes or .* or activations. Got 'activation'"
        ):
            from_arrays("lstm", {}, "keras", activation="relu")

    @pytest.mark.parametrize("form", [True, False])
    @pytest.mark.parametrize("name", ["keras", "elman"])
    def test_arrays_tell_the_reset_form(self, name, form):
        layer = GRU(I, H, reset_after=form, seed=0)
        assert from_arrays("gru", to_arrays(layer, as_given(name)), name).config["reset_after"] is form

    @pytest.mark.parametrize(("name", "form"), [("onnx", False), ("pytorch", True), ("tf1", False), ("haste", True)])
    def test_the_reset_form_of_a_convention(self, name, form):
        layer = GRU(I, H, reset_after=form, seed=0)
        assert from_arrays("gru", to_arrays(layer, as_given(name)), name).config["reset_after"] is form

    def test_keras_without_a_bias_has_its_default_form(self):
        arrays = to_arrays(GRU(I, H, seed=0), "keras")
        del arrays["bias"]
        layer = from_arrays("gru", arrays, "keras")
        assert layer.config["reset_after"] is True
        assert not layer.b.any()
        assert not layer.bn.any()

    def test_a_reset_form_that_the_convention_does_not_have(self):
        arrays = to_arrays(GRU(I, H, seed=0), "pytorch")
        with pytest.raises(FormatError, match=r"reset_after must be True for the convention 'pytorch'.*Got False"):
            from_arrays("gru", arrays, "pytorch", reset_after=False)
        with pytest.raises(FormatError, match=r"reset_after must be True for the convention 'pytorch'.*Got False"):
            to_arrays(GRU(I, H, reset_after=False), "pytorch")

    def test_a_keras_bias_of_the_other_form(self):
        arrays = to_arrays(GRU(I, H, seed=0), "keras")
        with pytest.raises(ShapeError, match=r"bias must have shape \(15,\). Got \(2, 15\)."):
            from_arrays("gru", arrays, "keras", reset_after=False)

    @pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
    @pytest.mark.parametrize("name", ["pytorch", "keras", "onnx", "equinox"])
    def test_biases_left_out_are_0(self, name, cell):
        if (name, cell) == ("equinox", "rnn"):
            pytest.skip("it has none")
        layer = random_layer(cell, np.random.default_rng(0), bidirectional=True)
        arrays = to_arrays(layer, as_given(name))
        weights = {key: array for key, array in arrays.items() if "bias" not in key and key != "B"}
        back = from_arrays(cell, weights, as_given(name))
        assert (back.Wx == layer.Wx).all()
        assert not back.b.any()
        assert not back.b_reverse.any()
        if name in ("pytorch", "keras"):
            with pytest.raises(FormatError, match=r"bias.* missing"):
                from_arrays(
                    cell, {key: a for key, a in arrays.items() if key in weights or "_reverse" not in key}, name
                )


class TestRefused:
    def arrays(self, name="pytorch", cell="lstm"):
        return to_arrays(random_layer(cell, np.random.default_rng(0)), as_given(name))

    @pytest.mark.parametrize(
        ("name", "shape", "message"),
        [
            ("weight_ih_l0", (I, 4 * H), r"weight_ih_l0 must have shape \(20, 2\). Got \(2, 20\)."),
            ("weight_hh_l0", (H, 4 * H), r"weight_hh_l0 must have shape \(20, 5\). Got \(5, 20\)."),
            ("weight_hh_l0", (4 * H, H + 1), r"weight_hh_l0 must have shape \(20, 5\). Got \(20, 6\)."),
            ("bias_ih_l0", (2, 4 * H), r"bias_ih_l0 must have shape \(20,\). Got \(2, 20\)."),
            ("bias_hh_l0", (3 * H,), r"bias_hh_l0 must have shape \(20,\). Got \(15,\)."),
            ("weight_ih_l0", (4 * H,), r"weight_ih_l0 must have shape \(20, input\). Got \(20,\)."),
            (
                "weight_ih_l0",
                (4 * H, 0),
                r"arrays must have at least one input and one hidden unit. Got weight_ih_l0 \(20, 0\)",
            ),
        ],
    )
    def test_shapes(self, name, shape, message):
        with pytest.raises(ShapeError, match=message):
            from_arrays("lstm", {**self.arrays(), name: np.ones(shape)}, "pytorch")

    def test_shapes_of_stacked_weights(self):
        arrays = self.arrays("book-0")
        with pytest.raises(ShapeError, match=r"W must have shape \(7, 20\). Got \(20, 7\)."):
            from_arrays("lstm", {**arrays, "W": arrays["W"].T}, NOTEBOOKS["book-0"])
        with pytest.raises(ShapeError, match=r"b must have shape \(1, 20\). Got \(20,\)."):
            from_arrays("lstm", {**arrays, "b": arrays["b"][0]}, NOTEBOOKS["book-0"])
        with pytest.raises(ShapeError, match=r"W must have shape \(input \+ hidden, 4 hidden\). Got \(3,\)."):
            from_arrays("lstm", {"W": np.ones(3), "b": np.ones(3)}, NOTEBOOKS["book-0"])

    def test_shapes_with_an_axis_of_directions(self):
        arrays = self.arrays("onnx")
        with pytest.raises(ShapeError, match=r"W must have shape \(1, 20, 2\). Got \(3, 20, 2\)."):
            from_arrays("lstm", {**arrays, "W": np.ones((3, 20, 2))}, "onnx")
        with pytest.raises(ShapeError, match=r"W must have shape \(2, 20, 2\). Got \(1, 20, 2\)."):
            from_arrays("lstm", {**arrays, "R": np.ones((2, 20, 5))}, "onnx")
        with pytest.raises(ShapeError, match=r"R must have shape \(1, 20, 5\). Got \(20, 5\)."):
            from_arrays("lstm", {**arrays, "R": np.ones((20, 5))}, "onnx")

    def test_missing_and_unknown_arrays(self):
        arrays = self.arrays()
        del arrays["bias_hh_l0"]
        with pytest.raises(FormatError, match=r"arrays must be weight_ih_l0, .* Got .*: bias_hh_l0 missing\."):
            from_arrays("lstm", arrays, "pytorch")
        with pytest.raises(FormatError, match=r"bias_hh_l0 missing and weight_hr_l0 unknown\."):
            from_arrays("lstm", {**arrays, "weight_hr_l0": np.ones((2, H))}, "pytorch")
        with pytest.raises(FormatError, match=r"Got none"):
            from_arrays("lstm", {}, "pytorch")
        output = {"Wy": np.ones((4, H)), "by": np.ones((4, 1))}
        with pytest.raises(FormatError, match=r"Wy, by unknown\."):
            from_arrays("lstm", {**self.arrays("book-2"), **output}, NOTEBOOKS["book-2"])

    def test_one_direction_with_a_part_of_the_other(self):
        arrays = to_arrays(LSTM(I, H, bidirectional=True, seed=0), "pytorch")
        del arrays["weight_hh_l0_reverse"]
        with pytest.raises(FormatError, match=r"weight_hh_l0_reverse missing\."):
            from_arrays("lstm", arrays, "pytorch")

    def test_learned_initial_states(self):
        arrays = self.arrays("neural-amp-modeler")
        assert not arrays["h0"].any()
        arrays["c0"][1] = 0.5
        with pytest.raises(FormatError, match=r"c0 must be 0 for the cell 'lstm', which has nothing like it. Got 0.5"):
            from_arrays("lstm", arrays, "neural-amp-modeler")

    def test_peepholes(self):
        arrays = self.arrays("onnx")
        assert "P" not in arrays
        layer = from_arrays("lstm", {**arrays, "P": np.zeros((1, 3 * H))}, "onnx")
        assert_same_bits(layer.parameters, from_arrays("lstm", arrays, "onnx").parameters)
        with pytest.raises(FormatError, match=r"P must be 0 for the cell 'lstm'.* Got 1.0"):
            from_arrays("lstm", {**arrays, "P": np.ones((1, 3 * H))}, "onnx")
        with pytest.raises(ShapeError, match=r"P must have shape \(1, 15\). Got \(1, 10\)."):
            from_arrays("lstm", {**arrays, "P": np.zeros((1, 2 * H))}, "onnx")
        with pytest.raises(FormatError, match=r"P unknown"):
            from_arrays("gru", {**self.arrays("onnx", "gru"), "P": np.zeros((1, 3 * H))}, "onnx")

    def test_names_are_answered_with_the_nearest(self):
        with pytest.raises(ValueError, match=r"convention must be one of .* Got 'pytorh'. Did you mean 'pytorch'?"):
            from_arrays("lstm", {}, "pytorh")
        with pytest.raises(
            ValueError, match=r"cell must be one of 'gru', 'lstm', 'rnn'. Got 'LSTN'. Did you mean 'lstm'?"
        ):
            from_arrays("LSTN", {}, "pytorch")

    def test_what_is_no_layer_and_no_mapping(self):
        with pytest.raises(TypeError, match=r"layer must be a recurrent layer. Got a Dense"):
            to_arrays(Dense(3, 4), "pytorch")
        with pytest.raises(TypeError, match=r"arrays must be a mapping of names to arrays. Got a list of length 2"):
            from_arrays("lstm", [1, 2], "pytorch")

    @pytest.mark.parametrize("bad", [np.array([[1j]]), np.array([["a"]]), np.array([[None]])])
    def test_arrays_that_are_no_numbers(self, bad):
        with pytest.raises(TypeError, match=r"weight_ih_l0 must hold real numbers"):
            from_arrays("lstm", {**self.arrays(), "weight_ih_l0": bad}, "pytorch")


class TestDtype:
    def test_float32_only_where_all_are(self):
        arrays = to_arrays(LSTM(I, H, seed=0), "keras")
        assert from_arrays("lstm", arrays, "keras").dtype == np.float32
        mixed = {**arrays, "bias": arrays["bias"].astype(np.float64)}
        assert from_arrays("lstm", mixed, "keras").dtype == np.float64
        half = {name: array.astype(np.float16) for name, array in arrays.items()}
        layer = from_arrays("lstm", half, "keras")
        assert layer.dtype == np.float64
        np.testing.assert_array_equal(layer.Wx, half["kernel"])

    def test_lists_and_integers(self):
        layer = from_arrays(
            "rnn",
            {"Wx": [[1, 2, 3]] * 2, "Wh": np.eye(3, dtype=int).tolist(), "b": [1, 1, 1]},
            NOTEBOOKS["book-1"],
        )
        assert layer.dtype == np.float64
        assert layer.Wx.tolist() == [[1, 2, 3]] * 2

    def test_numbers_that_float64_cannot_hold(self):
        arrays = {"Wx": np.full((I, H), 2**53 + 1), "Wh": np.eye(H), "b": np.zeros(H)}
        with pytest.raises(FormatError, match=r"Wx must hold numbers that float64 can hold. Got an array of int64"):
            from_arrays("rnn", arrays, NOTEBOOKS["book-1"])

    def test_strides_and_read_only_arrays(self):
        layer = random_layer("lstm", np.random.default_rng(0))
        arrays = {}
        for name, array in to_arrays(layer, "onnx").items():
            arrays[name] = np.repeat(array, 2, axis=-1)[..., ::2]
            arrays[name].flags.writeable = False
        assert_same_bits(from_arrays("lstm", arrays, "onnx").parameters, layer.parameters)
