"""Arguments that can mean one thing only are taken; the others are refused with what must hold and the way out."""

from __future__ import annotations

import numpy as np
import pytest

import elman
from elman import checks
from elman.interop import Convention

RNG = np.random.default_rng(1)


def test_functions_of_the_table_are_activations():
    named = {"tanh": (elman.tanh, np.tanh), "relu": (elman.relu,), "sigmoid": (elman.sigmoid,)}
    x = RNG.standard_normal((2, 5, 3))
    for name, functions in named.items():
        for function in functions:
            for make in (elman.RNN, elman.Dense):
                given, want = (make(3, 4, activation=act, seed=0) for act in (function, name))
                assert repr(given) == repr(want)
                np.testing.assert_array_equal(given(x)[0], want(x)[0])
            assert elman.Activate(function).config == elman.Activate(name).config
    assert elman.Activate(elman.softmax).config == elman.Activate("softmax").config
    arrays = RNG.standard_normal((1, 3)), np.zeros((1, 1)), np.ones((3, 1)), np.ones((1, 1)), np.ones(1)
    np.testing.assert_array_equal(elman.rnn_step(*arrays, np.tanh), elman.rnn_step(*arrays, "tanh"))
    with pytest.raises(ValueError, match=r"activation must be one of 'identity', .* Got <ufunc 'sin'>"):
        elman.RNN(3, 4, activation=np.sin)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "gelu", "swish", "selu"])
def test_activations_over_the_features_name_their_layer(name):
    for make in (elman.Dense, elman.RNN, lambda *sizes, activation: elman.Activation(activation)):
        with pytest.raises(ValueError, match=rf"activation must .* Got '{name}'.*elman\.Activate\('{name}'\)"):
            make(3, 4, activation=name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("Softmax", "softmax"), ("SOFTMAX", "softmax"), ("softmx", "softmax"), ("soft_max", "softmax"),
     ("LogSoftmax", "log_softmax"), ("logsoftmax", "log_softmax")],
)  # fmt: skip
def test_activations_over_the_features_by_another_spelling_name_their_layer(name, meant):
    for make in (lambda: elman.Dense(3, 4, name), lambda: elman.RNN(3, 4, activation=name)):
        with pytest.raises(ValueError, match=rf"Got '{name}', perhaps '{meant}', .* elman.Activate\('{meant}'\)"):
            make()
    with pytest.raises(ValueError, match=f"Did you mean '{meant}'"):
        elman.Activate(name)


def test_axes():
    y = elman.softmax(RNG.standard_normal((2, 3, 4)), axis=np.int64(1))
    np.testing.assert_allclose(y.sum(1), 1)
    for function in (elman.softmax, elman.softmax_jacobian, lambda y, axis: elman.cross_entropy(y, y, axis)):
        for axis in (3, -4, 10**400):
            with pytest.raises(ValueError, match=r"axis must be from -3 to 2\. Got "):
                function(y, axis=axis)
        for axis in (None, True, 1.0, (0, 1), "1"):
            with pytest.raises(TypeError, match=r"axis must be a whole number\. Got "):
                function(y, axis=axis)
    with pytest.raises(elman.ShapeError, match="there must be an axis"):
        elman.softmax(1.0)


def test_derivatives_are_called_by_name_too():
    for name in ("sigmoid", "tanh", "relu"):
        y = getattr(elman, name)(x=[0.3, -0.2])
        derivative = getattr(elman, f"{name}_derivative")
        np.testing.assert_array_equal(derivative(y=y), derivative(y))
        with pytest.raises(elman.DtypeError, match="y must hold real numbers"):
            derivative("a")


def test_cross_entropy_takes_probabilities_alone():
    labels, logits = np.array([2, 0, 1]), np.array([[0.1, -2.0, 3.0], [0.2, 0.1, 0.3], [0.5, 0.6, 0.1]])
    onehot = np.eye(3)[labels]
    way_out = r".*elman\.CrossEntropy\(\)"
    with pytest.raises(ValueError, match=r"y must have shape \(3, 3\)\. Got \(3,\)\." + way_out):
        elman.cross_entropy(labels, logits)
    with pytest.raises(
        ValueError, match=r"y_pred must hold probabilities, from 0 to 1\. Got -2\.0 at .*\[0, 1\]" + way_out
    ):
        elman.cross_entropy(onehot, logits)
    with pytest.raises(ValueError, match=r"y_pred must sum to 1 along axis -1\. Got a sum of 0\.6\." + way_out):
        elman.cross_entropy(onehot[1:], logits[1:])
    with pytest.raises(ValueError, match=r"y must sum to 1 .* Got a sum of 2"):
        elman.cross_entropy([[1, 1, 0]], [[0.2, 0.3, 0.5]])
    with pytest.raises(ValueError, match=r"y_pred must hold probabilities.* Got nan"):
        elman.cross_entropy([[1, 0]], [[np.nan, 1.0]])
    rounded = elman.softmax(logits.astype(np.float32))
    assert (elman.cross_entropy(onehot, rounded) >= 0).all()


def in_forms(vector):
    return [vector, vector[None], vector[:, None]]


def test_a_bias_in_a_row_or_a_column_is_the_vector():
    x, h, c = (RNG.standard_normal((4, n)) for n in (3, 5, 5))
    Wx, Wh, b = (RNG.standard_normal(shape) for shape in ((3, 20), (5, 20), 20))
    bn = RNG.standard_normal(5)
    layer = elman.LSTM(3, 5, dtype="float64", seed=0)
    net = elman.Network([elman.GRU(3, 5, dtype="float64", seed=0), elman.Dense(5, 2, dtype="float64", seed=0)])
    want = elman.lstm_step(x, h, c, Wx, Wh, b)
    made = elman.from_arrays("lstm", {"Wx": Wx, "Wh": Wh, "b": b}, "elman")
    gru = elman.gru_step(x, h, Wx[:, :15], Wh[:, :15], b[:15], bn)
    for form in in_forms(b):
        for got, wanted in zip(elman.lstm_step(x, h, c, Wx, Wh, form), want, strict=True):
            np.testing.assert_array_equal(got, wanted)
        layer.b = form
        np.testing.assert_array_equal(layer.b, b)
        again = elman.from_arrays("lstm", {"Wx": Wx, "Wh": Wh, "b": form}, "elman")
        np.testing.assert_array_equal(again.b, made.b)
    for form in in_forms(bn):
        np.testing.assert_array_equal(elman.gru_step(x, h, Wx[:, :15], Wh[:, :15], b[:15], form), gru)
        net.layers[0].bn = form
        np.testing.assert_array_equal(net.layers[0].bn, bn)
    for wrong in (np.ones((2, 10)), np.ones((1, 21)), np.ones(19), np.ones((1, 1, 20)), 1.0):
        with pytest.raises(elman.ShapeError, match=r"b must have shape \(20,\)"):
            layer.b = wrong
        with pytest.raises(elman.ShapeError, match=r"b must have shape \(20,\)"):
            elman.lstm_step(x, h, c, Wx, Wh, wrong)
    np.testing.assert_array_equal(layer.b, b)


def test_fields_of_a_convention():
    wrong = {
        "orientation": "rowwise", "gates": 3, "stacked": "xx", "per_gate": "yes", "gate_labels": {"g": 1},
        "weight_names": ("a", "b", "c"), "biases": 3, "two_biases": None, "bias_names": 5, "bias_shape": "flat",
        "bias_optional": 1, "inner_bias": "", "peepholes": 2, "peephole_gates": [1], "projection": b"P",
        "idle_gates": None, "update": "newer", "forget_offset": np.nan, "reset_after": 1, "assumed_reset_after": "no",
        "reverse": None, "direction_axis": 0, "zeros": {"h0": 0}, "optional_zeros": ["h0"], "layer": -1,
        "by_cell": {"lstm": {"gate": "ifgo"}}, "name": "",
    }  # fmt: skip
    assert set(wrong) == set(Convention.__dataclass_fields__)
    for field, value in wrong.items():
        with pytest.raises((ValueError, TypeError), match=r"must .*Got ") as caught:
            Convention(**{field: value})
        assert field.removesuffix("s") in str(caught.value)


def test_sizes_beyond_memory_are_refused_in_words():
    for hidden in (10**7, 2**62):
        with pytest.raises(MemoryError, match=r"Wx must be small enough for the memory\. Got the shape"):
            elman.LSTM(10**7, hidden)
    with pytest.raises(
        ValueError, match=r"hidden_size must be a whole number up to .* Got a whole number of 1,329 bits"
    ):
        elman.LSTM(3, 10**400)
    wide = np.broadcast_to(np.float32(1), (2**41, 3))
    for call in (elman.sigmoid, elman.RNN(3, 2, seed=0), lambda x: checks.real_array("x", x, np.float32)):
        with pytest.raises(MemoryError, match=r"x must be small enough for the memory\. Got an array of shape"):
            call(wide)
