"""`elman.find_convention` finds the layout of weights that explains a result, and none that does not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import elman
from elman import CONVENTIONS, Convention

I, H = 3, 5
KINDS = {"lstm": elman.LSTM, "gru": elman.GRU, "rnn": elman.RNN}


def drawn(cell, seed, **options):
    """A layer with random weights, an input, a state before it and what it gives."""
    rng = np.random.default_rng(seed)
    layer = KINDS[cell](I, H, dtype="float64", **options)
    for array in layer.parameters.values():
        array[...] = 0.7 * rng.normal(size=array.shape)
    x = rng.normal(size=(2, 4, I))
    lead = (2, 2) if layer.bidirectional else (2,)
    state = tuple(rng.normal(size=(*lead, width)) for width in layer.cell.widths(H))
    return layer, x, state if cell == "lstm" else state[0]


def rows():
    for cell, name in itertools.product(KINDS, CONVENTIONS):
        orders = CONVENTIONS[name].gates
        forms = (True, False) if cell == "gru" else (None,)
        for form in forms if orders is None or cell in orders else ():
            if form is None or CONVENTIONS[name].reset_after in (None, form):
                yield cell, name, form


@pytest.mark.parametrize(("cell", "name", "form"), [*rows()])
def test_every_convention_of_the_table_is_found(cell, name, form):
    layer, x, state = drawn(cell, 1, **({} if form is None else {"reset_after": form}))
    if form is True:
        layer.bn[...] = 0  # some conventions have no place for it
    arrays = elman.to_arrays(layer, name)
    y, end = layer(x, state)
    for result in (y, end):
        found = elman.find_convention(cell, arrays, x, result, state)
        best = elman.from_arrays(cell, arrays, found[0])
        np.testing.assert_allclose(best(x, state)[0], y, rtol=0, atol=1e-12)
        if (cell, name, form) != ("gru", "onnx", True):  # its arrays do not tell the form, and False is assumed
            assert name in found
    without = elman.find_convention(cell, arrays, x, y)  # another state explains nothing
    assert without == []


LAYOUTS = [
    ("lstm", Convention(gates="ogif", weight_names=("A", "B"), bias_names=("v",))),
    ("lstm", Convention(gates="fogi", weight_names=("A", "B"), biases=2, two_biases="joined", bias_names=("v",))),
    ("lstm", Convention(orientation="columns", gates="gfio", stacked="xh", weight_names=("A",), bias_names=("v",))),
    ("lstm", Convention(stacked="hx", per_gate=True, gate_labels={"i": "in", "f": "keep", "g": "new", "o": "out"},
                        orientation="columns", forget_offset=1.0)),
    ("gru", Convention(gates="nzr", orientation="columns", biases=2, update="new", weight_names=("A", "B"),
                       bias_names=("p", "q"), reset_after=True)),
    ("gru", Convention(gates="nrz", per_gate=True, reset_after=False, update="new")),
    ("gru", Convention(gates="znr", weight_names=("A", "B"), inner_bias="extra", reset_after=True)),
    ("rnn", Convention(orientation="columns", stacked="hx", weight_names=("all",), biases=2, bias_names=("p", "q"))),
]  # fmt: skip


@pytest.mark.parametrize(("cell", "rule"), LAYOUTS, ids=lambda part: str(part)[:60])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_layouts_that_are_not_in_the_table_are_found(cell, rule, bidirectional):
    options = {} if rule.reset_after is None else {"reset_after": rule.reset_after}
    layer, x, state = drawn(cell, 2, bidirectional=bidirectional, **options)
    arrays = elman.to_arrays(layer, rule)
    y, end = layer(x, state)
    for result in (y, end, y.round(4)):
        found = elman.find_convention(cell, arrays, x, result, state)
        assert [type(rule) for rule in found] == [Convention]
        np.testing.assert_allclose(elman.from_arrays(cell, arrays, found[0])(x, state)[0], y, rtol=0, atol=1e-12)


def test_a_second_direction_of_another_ending_and_square_weights():
    rule = Convention(gates="ofig", orientation="columns", weight_names=("A", "B"), bias_names=("v",), reverse=".back")
    layer = elman.LSTM(4, 4, True, dtype="float64", seed=3)
    x = np.random.default_rng(3).normal(size=(5, 4))
    arrays = elman.to_arrays(layer, rule)
    found = elman.find_convention("lstm", arrays, x, layer(x)[0])
    np.testing.assert_allclose(elman.from_arrays("lstm", arrays, found[0])(x)[0], layer(x)[0], rtol=0, atol=1e-12)


def test_another_layer_of_a_stack_lists_and_single_sequences():
    layer, x, state = drawn("lstm", 4)
    arrays = elman.to_arrays(layer, CONVENTIONS["pytorch"].for_layer(3))
    parts = [x[0], x[1, :2]]
    for given, start in ((x, state), (parts, state), (x[0], tuple(part[0] for part in state))):
        y, (h, c) = layer(given, start)
        for result in (y, h, (h, c)):
            assert elman.find_convention("lstm", arrays, given, result, start) == [CONVENTIONS["pytorch"].for_layer(3)]


def test_options_of_the_cell_and_cells_of_ones_own():
    layer, x, state = drawn("rnn", 5, activation="relu")
    arrays = elman.to_arrays(layer, "keras")
    y, _ = layer(x, state)
    assert elman.find_convention("rnn", arrays, x, y, state, activation="relu") == ["keras"]
    assert elman.find_convention("rnn", arrays, x, y, state) == []
    assert elman.find_convention(layer.cell, arrays, x, y, state) == ["keras"]


def test_what_tells_nothing_gives_every_layout_and_what_nothing_explains_none():
    layer, x, _ = drawn("lstm", 6)
    arrays = elman.to_arrays(layer, "keras")
    y, _ = layer(x)
    assert elman.find_convention("lstm", arrays, x, y + 0.01) == []
    assert elman.find_convention("lstm", {**arrays, "more": np.ones(2)}, x, y) == []
    alike = {"A": np.ones((3, 20)), "B": np.ones((5, 20)), "v": np.zeros(20)}
    constant = elman.from_arrays("lstm", alike, Convention(weight_names=("A", "B"), bias_names=("v",)))
    assert len(elman.find_convention("lstm", alike, x, constant(x)[0])) == 1  # all orders make the same layer


def test_what_cannot_be_asked_is_refused_in_words():
    layer, x, _ = drawn("lstm", 7)
    arrays = elman.to_arrays(layer, "keras")
    for cell, given, y, words in [
        ("lstmm", x, layer(x)[0], "cell must be one of 'gru', 'lstm', 'rnn'"),
        ("lstm", x, layer(x)[0][:, :3], r"y must have shape \(2, 4, 5\) or \(2, 5\) and \(2, 5\) or \(2, 5\). Got"),
        ("lstm", x[..., :2], layer(x)[0], r"x must have shape \(batch, time, 3\)"),
        ("lstm", x, np.full((2, 5), np.nan), "y must be finite"),
    ]:
        with pytest.raises(ValueError, match=words):
            elman.find_convention(cell, arrays, given, y)
    with pytest.raises(TypeError, match="activation"):
        elman.find_convention("lstm", arrays, x, layer(x)[0], activation="relu")


def test_a_convention_is_written_as_it_is_made():
    for rule in (*CONVENTIONS.values(), *(rule for _, rule in LAYOUTS)):
        assert eval(repr(rule), {"Convention": Convention}) == rule
