"""Arrays of every kind, class and layout: taken as the plain array they stand for, or refused in words."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import elman
from elman import checks

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 3))
PLAIN = {"x": X, "h": RNG.standard_normal((4, 5)), "c": RNG.standard_normal((4, 5))}
WEIGHTS = {"Wx": RNG.standard_normal((3, 20)), "Wh": RNG.standard_normal((5, 20)), "b": RNG.standard_normal(20)}


def unaligned(array):
    """A copy at an odd address."""
    memory = np.empty(array.nbytes + 1, np.uint8)
    odd = memory[1:].view(array.dtype).reshape(array.shape)
    odd[...] = array
    return odd


def field(array):
    """A copy within records of another size."""
    records = np.zeros(array.shape, [("id", "u1"), ("value", array.dtype)])
    records["value"] = array
    return records["value"]


class Foreign:
    """An array of another library."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


def matrix(array):
    return array.view(np.matrix) if array.ndim == 2 else array


SAME = {
    "matrix": matrix,
    "matrix behind __array__": lambda a: Foreign(matrix(a)),
    "masked, nothing beneath": np.ma.array,
    "recarray": lambda a: a.view(np.recarray),
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "unaligned": unaligned,
    "field of records": field,
    "Fortran order": np.asfortranarray,
    "steps of another array": lambda a: np.repeat(a, 2, axis=0)[::2],
    "backwards": lambda a: a[::-1].copy()[::-1],
    "lists": lambda a: a.tolist(),
    "another library": Foreign,
    "read only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "long double": lambda a: a.astype(np.longdouble),
}


@pytest.mark.parametrize("kind", SAME)
def test_every_kind_gives_the_numbers_of_the_plain_array(kind):
    make = SAME[kind]
    want = elman.lstm_step(*PLAIN.values(), *WEIGHTS.values())
    layer = elman.GRU(3, 2, dtype="float64", seed=0)
    y, _ = layer(X)
    for _ in range(2):
        arrays = [make(array) for array in (*PLAIN.values(), *WEIGHTS.values())]
        for got, wanted in zip(elman.lstm_step(*arrays), want, strict=True):
            assert type(got) is np.ndarray
            np.testing.assert_array_equal(got, wanted)
        np.testing.assert_array_equal(layer(make(X))[0], y)
        np.testing.assert_array_equal(elman.SquaredError()(make(X), make(X + 1)), elman.SquaredError()(X, X + 1))
        for function in (elman.sigmoid, elman.softmax, elman.softmax_jacobian, elman.relu_derivative):
            np.testing.assert_array_equal(function(make(X)), function(X))


def test_masked_values_are_refused_where_they_are():
    masked = np.ma.array(X, mask=X[2, 1] == X)
    words = r"x must have no masked values\. Got a masked array, masked at x\[2, 1\]\."
    layer = elman.RNN(3, 2, seed=0)
    for call in (elman.sigmoid, elman.softmax, layer, elman.Network([layer]), layer.forward):
        with pytest.raises(ValueError, match=words):
            call(masked)
    with pytest.raises(ValueError, match=r"x must have no masked values\. .* masked at x\[0, 2, 1\]"):
        elman.relu([masked])
    with pytest.raises(ValueError, match=r"x\[1\] must have no masked values"):
        layer([X, masked])
    net = elman.Network([layer])
    with pytest.raises(ValueError, match="y must have no masked values"):
        elman.fit(net, X[None], np.ma.array(np.ones((1, 4, 2)), mask=True), loss="squared_error", progress=False)


class Raises:
    """Answers nothing that it is asked."""

    def __array__(self, *args, **kwargs):
        raise RuntimeError("no array today\nand a second line")

    def __len__(self):
        raise RuntimeError("no length")

    def __repr__(self):
        raise RuntimeError("no text")


class Wrong:
    def __array__(self, *args, **kwargs):
        return 3


LOOP: list = []
LOOP += [LOOP, LOOP]

REFUSED = {
    "None": (None, "must hold real numbers. Got None."),
    "class": (dict, "must hold real numbers. Got <class 'dict'>."),
    "generator": ((n for n in [1.0]), "must hold real numbers. Got a generator."),
    "set": ({1.0}, "must hold real numbers. Got {1.0}."),
    "dict": ({}, "must hold real numbers. Got {}."),
    "text": ("1.5", "must hold real numbers. Got '1.5'."),
    "texts": (["1.5"], "must hold real numbers. Got an array of dtype <U3."),
    "bytes": (b"15", "must hold real numbers. Got b'15'."),
    "complex": ([1j], "must hold real numbers. Got an array of dtype complex128."),
    "dates": (np.array(["2020-01-01"], "M8[D]"), "must hold real numbers. Got an array of dtype datetime64[D]."),
    "records": (np.zeros(2, "f4,f8"), "must hold real numbers. Got an array of dtype [('f0', '<f4'), ('f1', '<f8')]."),
    "decimals": ([Decimal(1)], "must hold real numbers. Got an array of dtype object, with Decimal('1') at x[0]."),
    "missing": ([1.0, None], "must hold real numbers. Got an array of dtype object, with None at x[1]."),
    "fraction": (Fraction(1, 2), "must hold real numbers. Got Fraction(1, 2)."),
    "huge": ([10**400], "must hold real numbers. Got an array of dtype object."),
    "uneven": ([[1.0], [1.0, 2.0]], "must be an array or nested lists of equal length. Got a list of length 2."),
    "raises": (Raises(), "nested lists of equal length. Got a Raises, which gives no array: no array today."),
    "no array": (Wrong(), "Got a Wrong, which gives no array: object __array__ method not producing an array."),
    "circular": (LOOP, "Got a list of length 2, which gives no array: it is nested 16 deep or more."),
    "float32": ([1.0, 1e300], "must hold numbers that float32 can hold. Got 1e+300 at x[1]."),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_array_of_numbers_is_refused(kind):
    value, words = REFUSED[kind]
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^x .* Got .*") as caught:
            checks.real_array("x", value, np.float32)
        assert words in str(caught.value)
        assert len(str(caught.value)) < 400


def test_too_large_a_number_is_named_by_sequence_step_and_feature():
    layer = elman.LSTM(3, 2, seed=0)
    batch = RNG.standard_normal((40, 6, 3))
    batch[39, 4, 2] = -1.7e308
    words = "x must hold numbers that float32 can hold. Got -1.7e+308 at sequence 39, step 4, feature 2."
    for x in (batch, list(batch)):
        for call in (layer, layer.forward):
            with pytest.raises(ValueError, match="float32 can hold") as caught:
                call(x)
            assert str(caught.value) == words
    layer(batch, lengths=[6] * 39 + [4])  # what stands in padding is not read


def test_values_in_errors_are_short_and_never_fail():
    cases = {
        "a Raises": Raises(),
        "a whole number of 1,329 bits": 10**400,
        "a list of length 10000": [0] * 10000,
        "a generator": (n for n in [1]),
        "an array of shape (50,)": np.ones(50),
        "[1, 'a']": [1, "a"],
    }
    for words, value in cases.items():
        assert checks.show(value) == words
    for value in ("x" * 10**6, b"x" * 10**6, ["x" * 10**6], {"x" * 10**6: 1}, type("n" * 1000, (), {})(), LOOP):
        assert 0 < len(checks.show(value)) < 300
        assert 0 < len(checks.describe(value)) < 300
    assert checks.describe(dict) == "the class dict"
    assert checks.describe({}) == "a dict of length 0"
    checks.show("\ud800").encode()
    checks.show(type("", (), {"__repr__": lambda self: "\ud800"})()).encode()
    for value in (Raises(), 10**400, dict, "5", np.array(5), Fraction(5), LOOP, True):
        for check in (checks.number, checks.size):
            with pytest.raises(ValueError, match=r"n must be a .*number.* Got "):
                check("n", value)


class Stop(Exception):
    """What a signal's handler raises."""


def test_what_a_signal_raises_goes_through():
    def stop(*args, **kwargs):
        raise Stop

    stopped = type("Stopped", (), {"__array__": stop})()
    for call in (elman.sigmoid, elman.RNN(3, 2, seed=0)):
        with pytest.raises(Stop):
            call(stopped)
