"""`elman.explain`: every number is that of the arrays, and every line of arithmetic is right as it is printed."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import elman
from elman.cells.activations import ACTIVATIONS

I, H, T = 2, 3, 4
LAYERS = {
    "rnn": lambda **more: elman.RNN(I, H, **more),
    "relu": lambda **more: elman.RNN(I, H, "relu", clip=0.8, **more),
    "lstm": lambda **more: elman.LSTM(I, H, **more),
    "layer norm": lambda **more: elman.LSTM(I, H, layer_norm=True, **more),
    "peepholes": lambda **more: elman.LSTM(
        I, H, peepholes=True, projection=2, clip=0.9, cell_clip=0.5, activations={"g": "softsign", "o": "relu"}, **more
    ),
    "coupled": lambda **more: elman.LSTM(I, H, peepholes=True, coupled=True, **more),
    "gru": lambda **more: elman.GRU(I, H, **more),
    "gru before": lambda **more: elman.GRU(I, H, reset_after=False, activations={"n": "elu"}, **more),
}


def drawn(name, seed=0, **more):
    """A layer with random weights, one sequence and a state before it."""
    rng = np.random.default_rng(seed)
    layer = LAYERS[name](dtype="float64", **more)
    for array in layer.parameters.values():
        array[...] = 0.8 * rng.normal(size=array.shape)
    lead = (2,) if layer.bidirectional else ()
    state = tuple(rng.normal(size=(*lead, width)) for width in layer.cell.widths(H))
    return layer, rng.normal(size=(T, I)), state if len(state) > 1 else state[0]


KNOWN = {name: one.function for name, one in ACTIVATIONS.items()}
KNOWN |= {f"slope_{name}": lambda y, one=one: one.derivative(np.asarray(y)) for name, one in ACTIVATIONS.items()}
KNOWN |= {"clip": lambda a, bound: np.clip(a, -bound, bound), "sqrt": np.sqrt, "A": np.array}
KNOWN |= {name: getattr(np, name) for name in ("where", "greater", "exp", "maximum")}


def recomputed(side):
    """The value of a right side as it is printed; None for the slope of what is bounded, which clips."""
    if "slope_clip" in side:
        return None
    return eval(side.replace("[", "A([").replace("]", "])"), {"__builtins__": {}}, KNOWN)


def check_arithmetic(text, tolerance):
    """Every printed equation: the numbers on one line give those on the next. Returns how many there were."""
    checked = 0
    for line, after in itertools.pairwise(text.lines):
        sides = [re.fullmatch(r" +(= .*)", one) for one in (line, after)]
        if all(sides) and sides[0].start(1) == sides[1].start(1):
            left, right = (side[1][2:] for side in sides)
            value, printed = recomputed(re.sub(r"(\w+)'\(", r"slope_\1(", left)), recomputed(right)
            if value is not None:
                np.testing.assert_allclose(value, printed, rtol=tolerance, atol=tolerance, err_msg=f"{line}\n{after}")
                checked += 1
    return checked


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("zoneout", [0.0, 0.25])
def test_forward_numbers_are_those_of_a_trace_and_the_arithmetic_is_right(name, zoneout):
    layer, x, state = drawn(name, zoneout=zoneout)
    t = elman.trace(layer, x, state)
    for step in range(T):
        for unit in range(H):
            for digits, tolerance in ((13, 1e-10), (4, 6e-3)):
                text = elman.explain(layer, x, state, step=step, unit=unit, digits=digits)
                assert check_arithmetic(text, tolerance) > 1
            seen = {name for name in text.values if name.rstrip("'") in t and name.rstrip("'") not in ("x", "h", "c")}
            for key in seen:
                value, whole = text.values[key], t[key.rstrip("'")][step]
                np.testing.assert_allclose(value, whole if np.ndim(value) else whole[unit % len(whole)], rtol=1e-12)
            last = {f"{s}'": t[s][step] for s in layer.cell.states}
            for key, whole in last.items():
                if unit < len(whole):
                    np.testing.assert_allclose(text.values[key], whole[unit], rtol=1e-12)
            np.testing.assert_allclose(text.values["x"], x[step])


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("zoneout", [0.0, 0.25])
def test_backward_numbers_are_those_of_the_layer_and_the_arithmetic_is_right(name, zoneout):
    layer, x, state = drawn(name, 1, zoneout=zoneout)
    rng = np.random.default_rng(2)
    before = state
    for step in range(2):
        dstate = tuple(rng.normal(size=np.shape(s)) for s in (state if isinstance(state, tuple) else (state,)))
        dstate = dstate if len(dstate) > 1 else dstate[0]
        _, after, tape = layer.forward(x[step : step + 1], before)
        dx, dbefore, gradients = layer.backward(tape, None, dstate)
        t = elman.trace(layer, x[step : step + 1], before, dstate=dstate)
        for unit in range(H):
            for digits, tolerance in ((13, 1e-10), (4, 6e-3)):
                text = elman.explain(layer, x, state, step=step, unit=unit, digits=digits, backward=True, dstate=dstate)
                assert check_arithmetic(text, tolerance) > 3
            values = text.values
            for key, value in elman.explain(layer, x, state, step=step, unit=unit).values.items():
                if np.ndim(value) == np.ndim(values[key]):  # the derivative gives no name to another number
                    np.testing.assert_allclose(values[key], value, rtol=1e-12)
            np.testing.assert_allclose(values["dx"], dx[0], rtol=1e-10)
            for s, whole in zip(layer.cell.states, dbefore if isinstance(dbefore, tuple) else (dbefore,), strict=True):
                if unit < len(whole):
                    np.testing.assert_allclose(values[f"d{s}"], whole[unit], rtol=1e-10)
            for weight, axes in layer.cell.weights.items():
                whole = gradients[weight]
                if axes == ("hidden", "projection"):
                    np.testing.assert_allclose(values[f"d{weight}"], whole[unit], rtol=1e-10)
                    continue
                gates = layer.cell.gates if axes[-1] == "gates" and len(layer.cell.gates) > 1 else ("",)
                for i, gate in enumerate(gates):
                    found = values[f"d{weight}_{gate}" if gate else f"d{weight}"]
                    np.testing.assert_allclose(found, whole[..., i * H + unit], rtol=1e-10, atol=1e-14)
            for gate in layer.cell.gates:
                np.testing.assert_allclose(values[f"da_{gate}"], t[f"da_{gate}"][0, unit], rtol=1e-10, atol=1e-14)
        before = after


def test_all_units_both_directions_and_the_products():
    layer, x, state = drawn("gru", 3, bidirectional=True)
    t = elman.trace(layer, x, state)
    for step in range(T):
        text = elman.explain(layer, x, state, step=step, unit=None, products=True, backward=True, digits=12)
        assert len(text.values) == 2 * H
        for unit, values in enumerate(text.values):
            end = "" if unit < H else "_reverse"
            for name in ("h", "z", "a_n", "r", "n"):
                whole = t[name + end][step]
                key = f"{name}'" if name == "h" else name
                np.testing.assert_allclose(values[key], whole[unit % H], rtol=1e-10)
            one = elman.explain(layer, x, state, step=step, unit=unit, backward=True, digits=12)
            assert {
                key: np.array_equal(value, values[key]) for key, value in one.values.items()
            }.keys() == values.keys()
        sums = re.findall(r"^    h Wh_r = (\S+)$", str(text), re.MULTILINE)
        terms = re.findall(r"^    h\[\d\] Wh_r\[\d\] = \S+ \* \S+ = (\S+)$", str(text), re.MULTILINE)
        assert len(terms) == 2 * H * H
        np.testing.assert_allclose(np.reshape([*map(float, terms)], (-1, H)).sum(1), [*map(float, sums)], rtol=1e-9)


def test_networks_and_their_nodes():
    rng = np.random.default_rng(4)
    net = elman.Network(
        {
            "first": (elman.LSTM(2, 3, learned_state=True, seed=0), "x"),
            "both": (elman.Concatenate(), "first", "store"),
            "second": elman.GRU(4, 2, bidirectional=True, seed=1),
            "out": elman.Dense(4, 1, seed=2),
        }
    )
    net.parameters["first.h0"][...] = rng.normal(size=3)
    x = {"x": rng.normal(size=(2, T, 2)), "store": rng.normal(size=(2, 1))}
    t = elman.trace(net, x)
    text = elman.explain(net, x, step=0, unit=1, node="first")
    np.testing.assert_allclose(text.values["h"], net.parameters["first.h0"])
    np.testing.assert_allclose(text.values["f"], t["first.f"][0, 0, 1], rtol=1e-5)
    text = elman.explain(net, x, step=2, unit=3, node="second", backward=True)
    np.testing.assert_allclose(text.values["z"], t["second.z_reverse"][0, 2, 1], rtol=1e-5)
    assert text.lines[0] == "GRU 'second', step 2 of sequence 0, from the end to the start, unit 1"
    nested = elman.Network([elman.Embedding(7, 2, seed=0), elman.Network([elman.RNN(2, 3, seed=1)])])
    assert elman.explain(nested, [1, 4, 2], step=1).lines[0].startswith("RNN '1.0', step 1")


# Cells of one's own.


def leaky(step, derivative, **more):
    names = {"Wx": ("input", "hidden"), "Wh": ("hidden", "hidden")}
    return elman.Recurrent(elman.Cell("leaky", names, ("h",), step, derivative, **more), I, H, dtype="float64", seed=0)


def squash(a):
    return elman.tanh(a)


def leaky_step(x, state, weights):
    (h,), (Wx, Wh) = state, weights
    inside = x @ Wx + h @ Wh
    n = squash(inside)
    return (0.8 * h + 0.2 * n,), {"n": n}


def leaky_derivative(x, state, weights, kept, dnext):
    (h,), (Wx, Wh), (dh,) = state, weights, dnext
    dn = 0.2 * dh
    da = dn * elman.tanh_derivative(kept["n"])
    return da @ Wx.T, (0.8 * dh + da @ Wh.T,), (x.T @ da, h.T @ da)


def test_a_cell_of_ones_own_is_read_from_its_source():
    x = np.random.default_rng(5).normal(size=(T, I))
    text = elman.explain(leaky(leaky_step, leaky_derivative), x, step=2, unit=1, backward=True, digits=12)
    symbols = [line for line in text.lines if re.match(r"\w+'? = [a-z0-9]", line) and " = [" not in line]
    assert [line for line in symbols if not re.fullmatch(r"\S+ = -?[\d.e-]+", line)] == [
        "inside = x Wx + h Wh",
        "n = tanh(inside)",
        "h' = 0.8 h + 0.2 n",
        "dn = 0.2 dh'",
        "da = dn (1 - n^2)",
        "dx = da Wx^T",
        "dh = 0.8 dh' + da Wh^T",
        "dWx = x^T da",
        "dWh = h^T da",
    ]
    assert check_arithmetic(text, 1e-9) > 5


def switched_step(x, state, weights):
    (h,), (W, U, b) = state, weights
    a = np.dot(x, W) + np.dot(h, U) + b
    width = h.shape[1]
    u, n = 1 / (1 + np.exp(-a[:, :width])), np.maximum(a[:, width:], 0)
    return (np.where(u > 0.5, u * h, 0.3 * h) + n,), {"u": u, "n": n}


def switched_derivative(x, state, weights, kept, dnext):
    (h,), (W, U, _), (dh,) = state, weights, dnext
    u, n = kept["u"], kept["n"]
    da = np.hstack([np.where(u > 0.5, dh * h, 0.0) * u * (1 - u), dh * (n > 0)])
    return da @ W.T, (dh * np.where(u > 0.5, u, 0.3) + da @ U.T,), (np.dot(x.T, da), np.dot(h.T, da), da.sum(axis=0))


def test_other_functions_of_numpy_are_followed():
    names = {"W": ("input", "gates"), "U": ("hidden", "gates"), "b": ("gates",)}
    cell = elman.Cell("switched", names, ("h",), switched_step, switched_derivative, gates=("u", "n"))
    layer, x = elman.Recurrent(cell, I, H, dtype="float64", seed=0), np.random.default_rng(8).normal(size=(T, I))
    assert elman.gradient_check(layer).passed
    for unit in range(H):
        text = elman.explain(layer, x, step=1, unit=unit, backward=True, digits=12)
        assert {"a_u = x W_u + h U_u + b_u", "u = 1 / (1 + exp(-a_u))", "n = maximum(a_n, 0)"} <= {*text.lines}
        assert "h' = where(greater(u, 0.5), u h, 0.3 h) + n" in text.lines
        assert "dh = dh' where(greater(u, 0.5), u, 0.3) + da U^T" in text.lines
        assert check_arithmetic(text, 1e-9) > 8


@pytest.mark.parametrize("wrong", [lambda a: a[0], lambda a: None])
def test_a_derivative_that_gives_no_gradient_is_refused_in_words(wrong):
    def derivative(*given):
        dx, dstate, (dWx, dWh) = leaky_derivative(*given)
        return dx, dstate, (dWx, wrong(dWh))

    with pytest.raises(
        (ValueError, TypeError), match="step_derivative of the cell 'leaky' must give the gradient of Wh"
    ):
        elman.explain(leaky(leaky_step, derivative), np.ones((2, I)), backward=True)


def test_a_step_that_cannot_be_followed_shows_what_it_keeps():
    def step(x, state, weights):
        after, kept = leaky_step(x, state, weights)
        n = np.empty_like(kept["n"])
        n[:] = [[float(value) for value in row] for row in kept["n"]]
        return after, {"n": n}

    def derivative(*given):
        dx, dstate, dweights = leaky_derivative(*given)
        return dx, dstate, tuple(np.array([[float(one) for one in row] for row in part]) for part in dweights)

    layer, x = leaky(step, derivative), np.random.default_rng(6).normal(size=(T, I))
    t = elman.trace(layer, x[:2], dstate=np.ones(H))
    for _ in range(2):
        text = elman.explain(layer, x, step=1, unit=2, backward=True, digits=12)
        assert "could not be followed" in text.lines[0]
        np.testing.assert_allclose([text.values["n"], text.values["h'"]], [t["n"][1, 2], t["h"][1, 2]], rtol=1e-12)
        np.testing.assert_allclose(text.values["dWh"], t["dWh"][1][:, 2], rtol=1e-10)
        np.testing.assert_allclose(text.values["dx"], t["dx"][1], rtol=1e-10)
        assert not re.search(r"made|(\w+) = \1$", str(text), re.MULTILINE)


# How it is shown, and what is refused.


class Tags(HTMLParser):
    """Whether all tags are closed in order, and the numbers in them."""

    def __init__(self):
        super().__init__()
        self.open, self.numbers = [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "mn":
            self.numbers.append(data)


@pytest.mark.parametrize("name", LAYERS)
def test_a_notebook_shows_the_same_numbers_in_mathml(name):
    layer, x, state = drawn(name, 7)
    text = elman.explain(layer, x, state, step=1, unit=1, backward=True)
    tags = Tags()
    tags.feed(text._repr_html_())
    assert tags.open == []
    for part in text.parts:
        for one in part.equations:
            if np.ndim(one.value) == 0:
                assert f"{float(one.value) + 0.0:.4g}" in tags.numbers
    assert repr(text) == str(text) == "\n".join(text.lines)


def test_names_of_ones_own_are_escaped():
    cell = leaky(leaky_step, leaky_derivative).cell
    evil = elman.Cell(
        "evil", {"<script>": ("input", "hidden"), "Wh": ("hidden", "hidden")}, ("h",), cell.step, cell.step_derivative
    )
    shown = elman.explain(elman.Recurrent(evil, I, H), np.ones((2, I)))._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown


def test_what_is_not_there_is_refused_in_words():
    layer, x, state = drawn("lstm")
    net = elman.Network([elman.RNN(2, 3, seed=0), elman.GRU(3, 2, seed=1)])
    both = elman.GRU(2, 3, bidirectional=True, seed=0)
    for words, given, more in [
        ("step must be from 0 to 3, those of sequence 0. Got 4", (layer, x, state), {"step": 4}),
        ("step must be from 0 to 3, those of sequence 0. Got -1", (layer, x, state), {"step": -1}),
        ("unit must be from 0 to 2, or None for all. Got 3", (layer, x, state), {"unit": 3}),
        ("unit must be from 0 to 5, from 3 up those of the second direction, or None", (both, x), {"unit": 6}),
        ("unit must be from 0 to 2, or None for all. Got True", (layer, x, state), {"unit": True}),
        ("node must name one of the recurrent layers, \\('0', '1'\\)|node must name one of", (net, x), {}),
        ("node must be one of '0', '1'. Got '2'", (net, x), {"node": "2"}),
        ("node must be left out for a layer alone", (layer, x), {"node": "0"}),
        ("layer must be a recurrent layer or a network. Got a Dense", (elman.Dense(2, 3), x), {}),
        ("layer must be a recurrent layer, or a network with one", (elman.Network([elman.Dense(2, 3)]), x), {}),
        ("dstate must be left out without backward=True", (layer, x), {"dstate": state}),
        ("h of dstate must have shape \\(3,\\)", (layer, x), {"dstate": (state[0][:2], state[1]), "backward": True}),
        ("digits must be", (layer, x), {"digits": 0}),
        ("x must have shape \\(batch, time, 2\\)", (layer, x[:, :1]), {}),
    ]:
        with pytest.raises((ValueError, TypeError), match=words):
            elman.explain(*given, **more)


# From a layer to the source of its cell.


@pytest.mark.parametrize("name", LAYERS)
def test_equations_lead_from_a_layer_to_its_lines_in_the_source(name):
    layer, x, _ = drawn(name)
    text = layer.equations
    places = dict(re.findall(r"^(step\w*) +(\S+, line \d+)$", text, re.MULTILINE))
    for function, start in (("step", "def step"), ("step_derivative", "def step")):
        path, line = places[function].split(", line ")
        assert Path(path).read_text().splitlines()[int(line) - 1].startswith(start)
        assert Path(path).read_text().startswith(f'"""{text[:40]}')
    assert text.startswith(__import__(layer.cell.step.function.__module__, fromlist=["x"]).__doc__[:200])


def test_the_files_of_a_cell_point_at_each_other():
    root = Path(__file__).parent.parent
    for name in ("rnn", "lstm", "gru", "lstm_variants", "lstm_layer_norm"):
        text = (root / f"src/elman/cells/{name}.py").read_text().split('"""')[1]
        named = re.findall(r"(?:src|tests)/[\w/]+\.\w+", text)
        assert len(named) > 1
        assert all((root / one).exists() for one in named)
        for kernel in (one for one in named if one.endswith(".hpp")):
            assert f"{name}.py" in (root / kernel).read_text().partition("#pragma once")[0]
    for kind in (elman.LSTM, elman.GRU, elman.RNN, elman.Recurrent):
        assert "layer.equations" in kind.__doc__


def test_equations_of_a_cell_of_ones_own_are_its_functions():
    layer = leaky(leaky_step, leaky_derivative)
    assert "n = squash(inside)" in layer.equations
    assert re.search(r"step_derivative, .*test_explain.py, line \d+", layer.equations)
    both = elman.Bidirectional(layer, elman.RNN(I, H, dtype="float64"))
    assert both.equations.startswith(layer.equations)
    assert "Elman 1990" in both.equations
    names = {}
    exec("step = lambda x, state, weights: ((state[0],), {})", names)
    typed = leaky(names["step"], leaky_derivative)
    assert "Its source is not at hand" in typed.equations
