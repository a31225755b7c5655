"""`elman.gradient_check` names every wrong line of a derivative, and nothing that is right."""

from __future__ import annotations

import ast
import contextlib
import copy
import dataclasses
import functools
import inspect
import textwrap

import numpy as np
import pytest

import elman
from drawn_graphs import Drawn
from elman.cells import CELLS
from elman.cells.activations import ACTIVATIONS

MIXED = {"i": "sigmoid", "f": "hard_sigmoid", "g": "softsign", "o": "tanh", "c": "relu"}
VARIANTS = {
    "rnn": CELLS["rnn"]("relu", clip=1.5),
    "gru": CELLS["gru"](activations={"r": "hard_sigmoid", "n": "relu"}),
    "gru before": CELLS["gru"](reset_after=False, activations={"r": "hard_sigmoid", "n": "softsign"}),
    "lstm": CELLS["lstm"](),
    "layer norm": CELLS["lstm"](layer_norm=True),
    "peepholes": CELLS["lstm"](peepholes=True, projection=3, clip=1.5, cell_clip=0.7, activations=MIXED),
    "coupled": CELLS["lstm"](peepholes=True, coupled=True, activations={"o": "tanh", "g": "softsign"}),
}


# Wrong derivatives: each that one change of the source makes.


def changes(node, names):
    """What may stand by mistake in the place of a part of the source."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        yield ast.BinOp(node.left, ast.Sub() if isinstance(node.op, ast.Add) else ast.Add(), node.right)
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub, ast.Mult)):
        yield from (node.left, node.right)
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield from (ast.Name(name, ast.Load()) for name in names if node.id in names and name != node.id)
        other = {"sigmoid_derivative": "tanh_derivative", "tanh_derivative": "sigmoid_derivative"}.get(node.id)
        yield from [ast.Name(other, ast.Load())] * bool(other)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield from (ast.Constant(gate) for gate in "ifgocrznh" if gate != node.value)
    if isinstance(node, ast.Call) and node.args:
        yield node.args[0]
    if isinstance(node, ast.Attribute) and node.attr in ("T", "sum"):
        yield node.value if node.attr == "T" else ast.Attribute(node.value, "mean", ast.Load())


def parts(tree):
    return [node for line in tree.body[0].body for node in ast.walk(line)]


def drawn_mutants(function, rng):
    """The function with one change, drawn from all of them, without an end."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    stored = sorted({node.id for node in parts(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)})
    every = [(k, new) for k, node in enumerate(parts(tree)) for new in changes(node, stored)]
    for i in rng.permutation(len(every)):
        k, new = every[i]
        changed = copy.deepcopy(tree)
        old = parts(changed)[k]

        class Swap(ast.NodeTransformer):
            def visit(self, part, old=old, new=new):
                return copy.deepcopy(new) if part is old else super().visit(part)

        names = dict(function.__globals__)
        exec(compile(ast.fix_missing_locations(Swap().visit(changed)), "<mutant>", "exec"), names)
        yield f"{ast.unparse(parts(tree)[k])} -> {ast.unparse(new)}", names[function.__name__]


def gradients(cell, function, seed):
    """All that a derivative of a cell returns for random numbers."""
    rng = np.random.default_rng(seed)
    x, state = rng.normal(size=(3, 2)), tuple(rng.normal(size=(3, n)) for n in cell.widths(4))
    weights = tuple(rng.normal(size=s) * (0.5 + seed) for s in cell.shapes(2, 4).values())
    mask = (rng.random(state[0].shape) < 0.7) / 0.7 if seed else None
    _, kept = cell.step(x, state, weights, mask)
    dnext = tuple(rng.normal(size=s.shape) for s in state)
    dx, dstate, dweights, *_ = function(x, state, weights, kept, dnext, mask, **cell.step.keywords)
    return [dx, *dstate, *dweights]


def differ(right, wrong):
    return any(
        np.shape(a) != np.shape(b) or not np.allclose(a, b, rtol=1e-6, atol=1e-8)
        for a, b in zip(right, wrong, strict=True)
    )


def with_derivative(cell, function):
    def own(*given):
        return function(*given, **cell.step.keywords)[:3]

    return dataclasses.replace(cell, kernel=None, step_derivative=own)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_change_of_a_derivative_is_found(name):
    cell = VARIANTS[name]
    right = cell.step_derivative.function
    checked = 0
    for text, wrong in drawn_mutants(right, np.random.default_rng(len(name))):
        try:
            other = any(differ(gradients(cell, right, seed), gradients(cell, wrong, seed)) for seed in (0, 1, 2))
        except Exception:
            continue
        if other:
            checked += 1
            with contextlib.suppress(ValueError):  # shapes that do not go together are refused in words
                assert not elman.gradient_check(with_derivative(cell, wrong), seed=checked).passed, text
        if checked == 6:
            return
    raise AssertionError(f"only {checked} changes of {name} were tried")


# Which one is named.


def leaky_step(x, state, weights):
    (h,), (Wx, Wh, b) = state, weights
    n = np.tanh(x @ Wx + h @ Wh + b)
    return (0.8 * h + 0.2 * n,), {"n": n}


def leaky_derivative(x, state, weights, kept, dnext, wrong=None):
    (h,), (Wx, Wh, _), (dh,) = state, weights, dnext
    da = 0.2 * dh * (1 - kept["n"] ** 2)
    found = {"dx": da @ Wx.T, "dh": 0.8 * dh + da @ Wh.T, "dWx": x.T @ da, "dWh": h.T @ da, "db": da.sum(0)}
    found |= {} if wrong is None else wrong(found)
    return found["dx"], (found["dh"],), (found["dWx"], found["dWh"], found["db"])


WEIGHTS = {"Wx": ("input", "hidden"), "Wh": ("hidden", "hidden"), "b": ("hidden",)}


def leaky(wrong=None):
    derivative = functools.partial(leaky_derivative, wrong=wrong)
    return elman.Cell("leaky", WEIGHTS, ("h",), leaky_step, derivative)


@pytest.mark.parametrize("name", ["dx", "dh", "dWx", "dWh", "db"])
def test_the_one_wrong_gradient_is_named_and_its_place(name):
    def one_number(found):
        array = found[name].copy()
        array[(1, 2)[-array.ndim :]] += 0.5
        return {name: array}

    for what in (leaky(one_number), elman.Recurrent(leaky(one_number), 3, 4, True, seed=0)):
        report = elman.gradient_check(what)
        assert [row.name for row in report.rows if not row.passed] == [name]
        (wrong,) = [line for line in str(report).splitlines() if "wrong" in line]
        places = {
            "dx": "example 1, input 2", "dh": "example 1, unit 2", "dWx": "unit 2 from input 1",
            "dWh": "unit 2 from unit 1", "db": "unit 2",
        }  # fmt: skip
        assert wrong.split()[0] == name
        assert wrong.endswith(f"wrong, at {places[name]}")
        assert str(report).endswith("every other gradient agrees")
        assert all(row.error < 1e-8 for row in report.rows if row.passed)


def test_a_cell_that_takes_the_derivative_of_tanh_whatever_its_activation_is():
    def wrong(x, state, weights, kept, dnext, mask=None):
        (h,), (Wx, Wh, _), (dh,) = state, weights, dnext
        da = dh * (1 - kept["h"] ** 2)
        return da @ Wx.T, (da @ Wh.T,), (x.T @ da, h.T @ da, da.sum(0))

    for activation in ACTIVATIONS:
        cell = dataclasses.replace(CELLS["rnn"](activation), kernel=None, step_derivative=wrong, takes_mask=False)
        report = elman.gradient_check(cell)
        assert report.passed == (activation in ("tanh", "scaled_tanh")), activation  # scaled by 1
        if not report.passed:
            assert not any(row.passed for row in report.rows)
            assert "agrees" not in str(report)


def forgetting_step(x, state, weights):
    (h,), (Wf, Uf, Wn) = state, weights
    f, n = elman.sigmoid(x @ Wf + h @ Uf), np.tanh(x @ Wn)
    return (f * h + (1 - f) * n,), {"f": f, "n": n}


def forgetting_derivative(x, state, weights, kept, dnext):
    (h,), (Wf, Uf, Wn), (dh,) = state, weights, dnext
    f, n = kept["f"], kept["n"]
    da_f = dh * (h + n) * f * (1 - f)  # h - n would be right
    da_n = dh * (1 - f) * (1 - n**2)
    dx = da_f @ Wf.T + da_n @ Wn.T
    return dx, (dh * f + da_f @ Uf.T,), (x.T @ da_f, h.T @ da_f, x.T @ da_n)


def test_the_line_that_all_wrong_gradients_come_of_is_named():
    names = {"Wf": ("input", "hidden"), "Uf": ("hidden", "hidden"), "Wn": ("input", "hidden")}
    cell = elman.Cell("forgetting", names, ("h",), forgetting_step, forgetting_derivative)
    for what in (cell, elman.Network([elman.Recurrent(cell, 2, 3, True, seed=0), elman.Dense(6, 1, seed=1)])):
        report = elman.gradient_check(what)
        assert [row.name for row in report.rows if row.passed] == ["dWn"]
        (last,) = [line for line in str(report).splitlines() if line.startswith("see ")]
        assert last.endswith("da_f = dh * (h + n) * f * (1 - f)  # h - n would be right")
        number = inspect.getsourcelines(forgetting_derivative)[1] + 3
        assert f"test_gradient_check.py, line {number}: " in last
    assert not any(line.startswith("see ") for line in str(elman.gradient_check(leaky())).splitlines())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda found: {"dWh": found["dWh"][0]}, "an array of shape (4,), float64, and not (4, 4)"),
        (lambda found: {"dWh": None}, "None"),
        (lambda found: {"dWh": found["dWh"] * np.nan}, "unit 0 from unit 0"),
        (lambda found: {"dWh": found["dWh"].astype(int)}, "an array of shape (4, 4), int64"),
    ],
)
def test_what_is_no_gradient_at_all_is_wrong(wrong, words):
    report = elman.gradient_check(leaky(wrong))
    assert [row.name for row in report.rows if not row.passed] == ["dWh"]
    assert words in str(report)


def test_a_derivative_with_too_few_gradients_is_refused_in_words():
    cell = elman.Cell("leaky", WEIGHTS, ("h",), leaky_step, lambda *given: leaky_derivative(*given)[:2])
    with pytest.raises(elman.ShapeError, match="step_derivative of the cell 'leaky' must return dx, dstate, dweights"):
        elman.gradient_check(cell)


def test_a_wrong_layer_of_a_graph_is_named():
    class Gain(elman.Layer):
        def setup(self, size, wrong=False, dtype="float32"):
            self.size = self.input_size = self.output_size = size
            self.wrong, self.dtype = wrong, np.dtype(dtype)

        def shapes(self):
            return {"gain": (self.size,)}

        def run(self, x, state, rng, keep):
            return x.with_values(x.values * self.gain), None, (x.values, self.gain.copy())

        def run_back(self, kept, dy, dstate):
            x, gain = kept
            return dy * gain, None, {"gain": (dy * x).mean(0) if self.wrong else (dy * x).sum(0)}

    for wrong in (False, True):
        net = elman.Network(
            {
                "rnn": (elman.GRU(3, 4, seed=0), "series"),
                "gain": Gain(size=4, wrong=wrong),
                "both": (elman.Concatenate(), "gain", "store"),
                "out": elman.Dense(6, 2, seed=1),
            },
            outputs=["rnn", "out"],
        )
        before = {name: array.copy() for name, array in net.weights.items()}
        report = elman.gradient_check(net)
        assert [row.name for row in report.rows if not row.passed] == ["gain.dgain"] * wrong
        assert {"dseries", "dstore", "rnn.dh", "rnn.dWx", "out.db"} <= {row.name for row in report.rows}
        assert all(np.array_equal(array, before[name]) for name, array in net.weights.items())


# What is right passes.


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", VARIANTS)
def test_every_cell_passes(name, seed):
    report = elman.gradient_check(VARIANTS[name], seed=seed)
    assert report.passed, report


def test_a_drawn_input_a_users_own_and_both_directions_with_everything_around_the_cell():
    layer = elman.LSTM(
        2, 3, bidirectional=True, seed=0, zoneout=(0.1, 0.2), recurrent_dropout=0.3, learned_state=True, peepholes=True
    )
    rng = np.random.default_rng(0)
    single = rng.normal(size=(4, 2))
    for x in (None, rng.normal(size=(2, 3, 2)), single, single, [[[1, 2], [3, 4]], [[0, 0]]]):
        report = elman.gradient_check(layer, x)
        assert report.passed, report
        assert {"dx", "dh", "dc", "dh0", "dc0_reverse", "dpo", "dWh_reverse"} <= {row.name for row in report.rows}


@pytest.mark.parametrize("seed", range(4))
def test_random_graphs_pass(seed):
    report = elman.gradient_check(Drawn(seed).network(), seed=seed)
    assert report.passed, report


def test_units_that_stand_at_a_kink_are_no_error():
    layer = elman.RNN(2, 3, "relu", seed=0)  # without biases: every pre-activation of a zero input is 0
    report = elman.gradient_check(layer, np.zeros((2, 3, 2)))
    assert report.passed, report


LAYERS = [
    *(elman.BatchNorm(3), elman.LayerNorm(3), elman.Dropout(0.4), elman.Embedding(7, 3), elman.MaxOverTime()),
    *(elman.MaxPool1d(2), elman.Conv1d(3, 4, 9), elman.Add(), elman.Attention(3, 3), elman.Repeat(3)),
    *(elman.Activate("gelu"), elman.MergeDirections("mul"), elman.LastSteps(3, 12), elman.Masking()),
    elman.Bidirectional(elman.LSTM(2, 3), elman.GRU(2, 4)),
]


@pytest.mark.parametrize("seed", range(4))
def test_many_units_that_stand_at_kinks_at_once_are_no_error(seed):
    """Fresh biases are 0: where x is 0, all units of relu stand at a kink, and those of one side are sums."""
    x = np.random.default_rng(seed).normal(size=(2, 4, 3))
    x[:, 0] = 0
    bounded = elman.LSTM(3, 4, seed=seed, activations={"g": "relu", "c": "leaky_relu"})
    dense = elman.Network([elman.Dense(3, 4, "relu", seed=seed), elman.GRU(4, 2, seed=seed)])
    for layer in (elman.RNN(3, 4, "relu", seed=seed), bounded, dense):
        report = elman.gradient_check(layer, x, seed=seed)
        assert report.passed, report

    def step(x, state, weights):
        (h,), (Wx, p) = state, weights  # p starts at 0, and with it h p for every example
        return (np.tanh(x @ Wx) + np.abs(np.maximum(h * p, 0) - 0.1 * h),), {}

    def step_derivative(x, state, weights, kept, dnext):
        (h,), (Wx, p), (dh,) = state, weights, dnext
        da, inner = dh * (1 - np.tanh(x @ Wx) ** 2), dh * np.sign(np.maximum(h * p, 0) - 0.1 * h)
        d = inner * (h * p > 0)
        return da @ Wx.T, (d * p - 0.1 * inner,), (x.T @ da, (d * h).sum(0))

    cell = elman.Cell("kinks", {"Wx": ("input", "hidden"), "p": ("hidden",)}, ("h",), step, step_derivative)
    report = elman.gradient_check(cell, seed=seed)
    assert report.passed, report


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_layers_pass_alone_with_what_they_take(layer):
    before = {name: array.copy() for name, array in layer.weights.items()}
    report = elman.gradient_check(layer)
    assert report.passed, report
    assert all(np.array_equal(array, before[name]) for name, array in layer.weights.items())


LOSSES = [elman.CrossEntropy(), elman.BinaryCrossEntropy(), elman.SquaredError(), elman.AbsoluteError()]
LOSSES += [elman.Huber(0.5), elman.Quantile((0.1, 0.5))]


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_losses_pass_and_a_wrong_one_does_not(loss):
    for seed in range(3):
        assert elman.gradient_check(loss, seed=seed).passed

    class Twice(type(loss)):
        def rows_derivative(self, prediction, target):
            return 2 * super().rows_derivative(prediction, target)

    wrong = Twice(**dataclasses.asdict(loss))
    assert [(row.name, row.passed) for row in elman.gradient_check(wrong).rows] == [("dprediction", False)]


class Total(elman.Loss):
    """The sum of a sequence beside labels of its own."""

    whole_sequences = True
    targets_by_step = False

    def tails(self, width):
        return [("labels",)]

    def rows(self, prediction, target):
        return np.array([(p.sum() - t.sum()) ** 2 for p, t in zip(prediction, target, strict=True)])

    def rows_derivative(self, prediction, target):
        return [np.full_like(p, 2 * (p.sum() - t.sum())) for p, t in zip(prediction, target, strict=True)]


def test_a_loss_of_whole_sequences_and_a_loss_of_given_numbers():
    assert elman.gradient_check(Total()).passed
    rng = np.random.default_rng(1)
    assert elman.gradient_check(elman.CrossEntropy(), rng.normal(size=(4, 3)), [0, 1, 2, 0]).passed
    assert elman.gradient_check(elman.SquaredError(), rng.normal(size=(2, 4, 3)), rng.normal(size=(2, 4, 3))).passed


# What cannot be checked.


@pytest.mark.parametrize("x", ["a", b"x", {1}, object(), [[1j]], (one for one in [1.0])], ids=str)
def test_a_prediction_that_is_no_array_is_refused_in_words(x):
    with pytest.raises(TypeError, match=r"x must hold real numbers. Got "):
        elman.gradient_check(elman.SquaredError(), x, np.ones((1, 1)))


def test_what_cannot_be_checked_is_refused_in_words():
    layer = elman.GRU(3, 4, seed=0)
    for what, x, y, words in [
        ("lstm", None, None, "what must be an elman.Cell, a layer, a network or an elman.Loss. Got"),
        (layer, None, [1.0], "y must be left out but for a loss"),
        (layer, np.ones((2, 4, 5)), None, r"x must have shape \(batch, time, 3\)"),
        (layer, "text", None, "x must hold real numbers"),
        (elman.Huber(), [[1.0]], None, "x and y must be given together"),
    ]:
        with pytest.raises((TypeError, ValueError), match=words):
            elman.gradient_check(what, x, y)

    class Lost(elman.Dense):
        def run_back(self, kept, dy, dstate):
            dx, start, found = super().run_back(kept, dy, dstate)
            return dx, start, {"W": found["W"]}

    with pytest.raises(ValueError, match="run_back must give the gradient of every parameter"):
        elman.gradient_check(elman.Network([Lost(2, 3, seed=0)]))
    broken = dataclasses.replace(leaky(), step=lambda *given: ((given[1][0] * np.nan,), leaky_step(*given)[1]))
    with pytest.raises(ValueError, match="what comes out must be finite"):
        elman.gradient_check(broken)
    rng = np.random.default_rng(0)
    noisy = dataclasses.replace(leaky(), step=lambda *given: ((given[1][0] + rng.normal(),), leaky_step(*given)[1]))
    with pytest.raises(ValueError, match="two runs of the same numbers must give the same"):
        elman.gradient_check(noisy)
