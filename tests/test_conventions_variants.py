"""Peepholes, projections and coupled gates in the arrays of other systems: their own equations, there and back, and
what is wrong about a convention.

Weights are drawn at random, all sizes differ, states start away from 0, and every sequence has several steps.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from elman import LSTM, FormatError, ShapeError
from elman.cells import CELLS
from elman.interop import CONVENTIONS, Convention, from_arrays, to_arrays
from test_conventions import assert_same_bits, sigmoid

B, T, I, H, P = 3, 4, 2, 7, 5

# One step of each system, written out in its own layout.


def pytorch_projection(a, x, h, c):
    s = x @ a["weight_ih_l0"].T + a["bias_ih_l0"] + h @ a["weight_hh_l0"].T + a["bias_hh_l0"]
    i, f, g, o = np.split(s, 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return (sigmoid(o) * np.tanh(c)) @ a["weight_hr_l0"].T, c


def onnx_sums(a, x, h):
    W, R, (Wb, Rb) = a["W"][0], a["R"][0], np.split(a["B"][0], 2)
    return np.split(x @ W.T + h @ R.T + Wb + Rb, 4, axis=1)


def onnx_peepholes(a, x, h, c):
    i, o, f, g = onnx_sums(a, x, h)
    pi, po, pf = np.split(a["P"][0], 3)
    c_next = sigmoid(f + pf * c) * c + sigmoid(i + pi * c) * np.tanh(g)
    return sigmoid(o + po * c_next) * np.tanh(c_next), c_next


def onnx_coupled(a, x, h, c):
    i, o, _, g = onnx_sums(a, x, h)
    i = sigmoid(i)
    c = (1 - i) * c + i * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def onnx_coupled_peepholes(a, x, h, c):
    i, o, _, g = onnx_sums(a, x, h)
    pi, po, _ = np.split(a["P"][0], 3)
    i = sigmoid(i + pi * c)
    c = (1 - i) * c + i * np.tanh(g)
    return sigmoid(o + po * c) * np.tanh(c), c


def tf1_gates(a, x, h):
    return np.split(np.concatenate([x, h], 1) @ a["kernel"] + a["bias"], 4, axis=1)


def tf1_peepholes(a, x, h, c_prev):
    i, j, f, o = tf1_gates(a, x, h)
    c = sigmoid(f + 1.0 + a["w_f_diag"] * c_prev) * c_prev + sigmoid(i + a["w_i_diag"] * c_prev) * np.tanh(j)
    return sigmoid(o + a["w_o_diag"] * c) * np.tanh(c), c


def tf1_projection(a, x, h, c_prev):
    i, j, f, o = tf1_gates(a, x, h)
    c = sigmoid(f + 1.0) * c_prev + sigmoid(i) * np.tanh(j)
    return (sigmoid(o) * np.tanh(c)) @ a["projection/kernel"], c


def tf1_both(a, x, h, c_prev):
    m, c = tf1_peepholes(a, x, h, c_prev)
    return m @ a["projection/kernel"], c


PYTORCH = {"weight_ih_l0": (4 * H, I), "weight_hh_l0": (4 * H, P), "bias_ih_l0": (4 * H,), "bias_hh_l0": (4 * H,)}
ONNX = {"W": (1, 4 * H, I), "R": (1, 4 * H, H), "B": (1, 8 * H)}
DIAGONALS = {f"w_{gate}_diag": (H,) for gate in "ifo"}

#: (convention, case): the options, the equations, and the shapes of the arrays.
SYSTEMS = {
    ("pytorch", "projection"): ({"projection": P}, pytorch_projection, {**PYTORCH, "weight_hr_l0": (P, H)}),
    ("onnx", "peepholes"): ({"peepholes": True}, onnx_peepholes, {**ONNX, "P": (1, 3 * H)}),
    ("onnx", "coupled"): ({"coupled": True}, onnx_coupled, ONNX),
    ("onnx", "both"): ({"coupled": True, "peepholes": True}, onnx_coupled_peepholes, {**ONNX, "P": (1, 3 * H)}),
    ("tf1", "peepholes"): (
        {"peepholes": True}, tf1_peepholes, {"kernel": (I + H, 4 * H), "bias": (4 * H,), **DIAGONALS},
    ),
    ("tf1", "projection"): (
        {"projection": P}, tf1_projection, {"kernel": (I + P, 4 * H), "bias": (4 * H,), "projection/kernel": (H, P)},
    ),
    ("tf1", "both"): (
        {"peepholes": True, "projection": P},
        tf1_both,
        {"kernel": (I + P, 4 * H), "bias": (4 * H,), **DIAGONALS, "projection/kernel": (H, P)},
    ),
}  # fmt: skip
CASES = pytest.mark.parametrize("key", SYSTEMS, ids="-".join)


def random_arrays(key):
    rng = np.random.default_rng(7)
    return {name: rng.standard_normal(shape) for name, shape in SYSTEMS[key][2].items()}


def inputs(options):
    rng = np.random.default_rng(11)
    h = rng.standard_normal((B, options.get("projection", H)))
    return rng.standard_normal((B, T, I)), h, rng.standard_normal((B, H))


def run(key, arrays):
    """What the system's own equations compute: the outputs and both last states."""
    options, step, _ = SYSTEMS[key]
    x, h, c = inputs(options)
    ys = []
    for t in range(T):
        h, c = step(arrays, x[:, t], h, c)
        ys.append(h)
    return np.stack(ys, axis=1), h, c


def run_layer(key, layer):
    x, h, c = inputs(SYSTEMS[key][0])
    y, state = layer(x, (h, c))
    return (y, *state)


def random_layer(dtype="float64", bidirectional=False, **options):
    layer = LSTM(I, H, bidirectional=bidirectional, dtype=dtype, **options)
    rng = np.random.default_rng(2)
    for array in layer.parameters.values():
        array[...] = rng.integers(-2000, 2000, array.shape) / 1024  # so that adding 1 is exact, even in float32
    return layer


@CASES
def test_computes_what_the_system_s_own_equations_compute(key):
    arrays = random_arrays(key)
    layer = from_arrays("lstm", arrays, key[0], **SYSTEMS[key][0])
    assert type(layer) is LSTM
    assert (layer.input_size, layer.hidden_size) == (I, H)
    for _ in range(2):
        for got, want in zip(run_layer(key, layer), run(key, arrays), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)


@CASES
def test_what_is_written_computes_the_same_in_the_system_s_own_equations(key):
    options, _, shapes = SYSTEMS[key]
    layer = random_layer(**options)
    arrays = to_arrays(layer, key[0])
    assert {name: array.shape for name, array in arrays.items()} == shapes
    for got, want in zip(run(key, arrays), run_layer(key, layer), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("key", [*SYSTEMS, ("elman", "both")], ids="-".join)
def test_there_and_back_to_the_bit(key, dtype, bidirectional):
    options = {**SYSTEMS.get(key, [{"peepholes": True, "coupled": True, "projection": P}])[0], "clip": 0.5}
    layer = random_layer(dtype, bidirectional, **options, activations={"g": "relu"})
    arrays = to_arrays(layer, key[0])
    assert {array.dtype for array in arrays.values()} == {np.dtype(dtype)}
    back = from_arrays("lstm", arrays, key[0], **options, activations={"g": "relu"})
    assert back.config == layer.config
    assert list(back.config) == list(layer.config)
    assert_same_bits(back.parameters, layer.parameters)
    assert_same_bits(to_arrays(back, key[0]), arrays)


def changed_orders(right, what):
    """The convention with each order of its gates, or of its peepholes."""
    for order in permutations(getattr(right, what)):
        if what == "peephole_gates" and "{gate}" in right.peepholes:  # the names say which gate an array is
            labels = dict(zip(order, right.peephole_gates, strict=True))
            yield order, replace(right, gate_labels=labels)
        else:
            yield order, replace(right, **{what: order})


@pytest.mark.parametrize("what", ["gates", "peephole_gates"])
@CASES
def test_every_wrong_order(key, what):
    options = SYSTEMS[key][0]
    arrays = random_arrays(key)
    want = run(key, arrays)[0]
    right = CONVENTIONS[key[0]].for_cell(CELLS["lstm"](**options))
    if what == "peephole_gates" and "peepholes" not in options:
        assert right.peephole_gates is None
        return
    wrong = 0
    for order, changed in changed_orders(right, what):
        got = run_layer(key, from_arrays("lstm", arrays, changed, **options))[0]
        same = np.allclose(got, want, rtol=1e-6)
        assert same == (order == getattr(right, what)), order
        wrong += not same
    assert wrong == (23 if what == "gates" else 5)


def test_peepholes_that_are_not_read_would_tell():
    for key in SYSTEMS:
        if "peepholes" in SYSTEMS[key][0]:
            arrays = random_arrays(key)
            for name in set(arrays) & {"P", *DIAGONALS}:
                without = {**arrays, name: np.zeros_like(arrays[name])}
                assert np.abs(run(key, arrays)[0] - run(key, without)[0]).max() > 1e-2


class TestIdleGates:
    """ONNX's input_forget keeps the blocks of the forget gate, which nothing reads."""

    @pytest.mark.parametrize("key", [("onnx", "coupled"), ("onnx", "both")], ids="-".join)
    def test_whatever_stands_there_is_ignored(self, key):
        arrays = random_arrays(key)
        other = {name: array.copy() for name, array in arrays.items()}
        for name, start in (("W", 2), ("R", 2), ("B", 2), ("B", 6), ("P", 2)):
            if name in other:
                other[name][0, start * H : (start + 1) * H] = np.nan
        options = SYSTEMS[key][0]
        layers = [from_arrays("lstm", a, "onnx", **options) for a in (arrays, other)]
        assert_same_bits(layers[1].parameters, layers[0].parameters)

    def test_they_are_written_as_0(self):
        layer = random_layer(coupled=True, peepholes=True, bidirectional=True)
        for name, array in to_arrays(layer, "onnx").items():
            for block in (2, 6) if name == "B" else (2,):
                assert not array[:, block * H : (block + 1) * H].any()
            assert array.any()

    def test_a_convention_of_three_gates(self):
        mine = Convention("mine", gates="ogi", orientation="columns")
        layer = random_layer(coupled=True)
        arrays = to_arrays(layer, mine)
        assert arrays["Wx"].shape == (3 * H, I)
        i, g, o = np.split(layer.Wx.T, 3)
        np.testing.assert_array_equal(arrays["Wx"], np.concatenate([o, g, i]))
        assert_same_bits(from_arrays("lstm", arrays, mine, coupled=True).parameters, layer.parameters)


class TestNames:
    def test_peepholes_in_one_array_of_any_order_and_form(self):
        layer = random_layer(peepholes=True)
        mine = Convention("mine", peepholes="peep", peephole_gates="ofi", bias_shape="column")
        arrays = to_arrays(layer, mine)
        np.testing.assert_array_equal(arrays["peep"], np.concatenate([layer.po, layer.pf, layer.pi])[:, None])
        assert_same_bits(from_arrays("lstm", arrays, mine, peepholes=True).parameters, layer.parameters)

    def test_one_array_a_gate_and_a_projection_of_columns(self):
        layer = random_layer(peepholes=True, projection=P)
        mine = Convention(
            "mine", orientation="columns", per_gate=True, stacked="hx", peepholes="V{gate}", projection="Wr_{layer}"
        )
        arrays = to_arrays(layer, mine.for_layer(3))
        assert list(arrays) == [*(f"W{g}" for g in "ifgo"), *(f"b{g}" for g in "ifgo"), "Vi", "Vf", "Vo", "Wr_3"]
        np.testing.assert_array_equal(arrays["Wr_3"], layer.Wp.T)
        np.testing.assert_array_equal(arrays["Wf"], np.concatenate([layer.Wh, layer.Wx])[:, H : 2 * H].T)
        back = from_arrays("lstm", arrays, mine.for_layer(3), peepholes=True, projection=P)
        assert_same_bits(back.parameters, layer.parameters)

    def test_directions_and_layers_of_pytorch(self):
        layer = random_layer(bidirectional=True, projection=P)
        arrays = to_arrays(layer, CONVENTIONS["pytorch"].for_layer(1))
        assert list(arrays)[4] == "weight_hr_l1"
        assert list(arrays)[-1] == "weight_hr_l1_reverse"
        np.testing.assert_array_equal(arrays["weight_hr_l1_reverse"], layer.Wp_reverse.T)


class TestRefused:
    @pytest.mark.parametrize(
        ("options", "name", "message"),
        [
            ({"peepholes": True}, "keras", "no peephole to fit the convention 'keras'.* Got pi of the cell 'lstm'"),
            ({"peepholes": True}, "pytorch", "no peephole to fit the convention 'pytorch'"),
            ({"projection": P}, "keras", "no projection to fit the convention 'keras'.* Got Wp of the cell 'lstm'"),
            ({"projection": P}, "onnx", "no projection to fit the convention 'onnx'"),
            ({"coupled": True}, "keras", "must have the gates i, f, g, o for the convention 'keras'. Got i, g, o"),
            ({"coupled": True}, "pytorch", "must have the gates i, f, g, o for the convention 'pytorch'"),
            ({"coupled": True}, "tf1", "must have the gates i, g, f, o for the convention 'tf1'"),
            ({"layer_norm": True}, "onnx", "a cell must have weights of x, weights of h and biases alone"),
        ],
    )
    def test_what_a_convention_lacks(self, options, name, message):
        with pytest.raises(FormatError, match=message):
            to_arrays(LSTM(I, H, **options), name)
        with pytest.raises(FormatError, match=message):
            from_arrays("lstm", {}, name, **options)

    def test_arrays_that_are_missing_or_left_over(self):
        with_projection = to_arrays(random_layer(projection=P), "pytorch")
        with pytest.raises(FormatError, match=r"weight_hr_l0 unknown"):
            from_arrays("lstm", with_projection, "pytorch")
        del with_projection["weight_hr_l0"]
        with pytest.raises(FormatError, match=r"weight_hr_l0 missing"):
            from_arrays("lstm", with_projection, "pytorch", projection=P)
        without_peepholes = to_arrays(random_layer(), "onnx")
        with pytest.raises(FormatError, match=r"P missing"):
            from_arrays("lstm", without_peepholes, "onnx", peepholes=True)
        with pytest.raises(FormatError, match=r"P must be 0 for the cell 'lstm'"):
            from_arrays("lstm", to_arrays(random_layer(peepholes=True), "onnx"), "onnx")

    def test_shapes(self):
        arrays = to_arrays(random_layer(projection=P), "pytorch")
        with pytest.raises(ShapeError, match=r"weight_hr_l0 must have shape \(5, 7\)\. Got \(7, 5\)\."):
            from_arrays("lstm", {**arrays, "weight_hr_l0": np.ones((H, P))}, "pytorch", projection=P)
        with pytest.raises(ShapeError, match=r"weight_hh_l0 must have shape \(28, 4\)\. Got \(28, 5\)\."):
            from_arrays("lstm", arrays, "pytorch", projection=4)
        arrays = to_arrays(random_layer(peepholes=True), "onnx")
        with pytest.raises(ShapeError, match=r"P must have shape \(1, 21\)\. Got \(1, 14\)\."):
            from_arrays("lstm", {**arrays, "P": np.ones((1, 14))}, "onnx", peepholes=True)

    @pytest.mark.parametrize("order", ["if", "ifg", "ifoo", "rzn"])
    def test_orders_of_peepholes_that_are_none(self, order):
        mine = Convention("mine", peepholes="P", peephole_gates=order)
        with pytest.raises(ValueError, match=r"peephole_gates of the convention 'mine' must be i, f, o, those of the"):
            to_arrays(LSTM(I, H, peepholes=True), mine)

    @pytest.mark.parametrize("order", ["ifgoo", "iffgo", "ig", "ifg"])
    def test_idle_gates_must_stand_once(self, order):
        mine = Convention("mine", gates=order, idle_gates=True)
        with pytest.raises(ValueError, match=r"gates of the convention 'mine' must be i, g, o, those of the cell"):
            to_arrays(LSTM(I, H, coupled=True), mine)
