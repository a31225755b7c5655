"""Activate, Reverse, MergeDirections, LastStep of both directions, Masking: values, exact gradients, forms."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import elman
from central import central_gradient, relative_error
from elman.cells.activations import ACTIVATIONS, OVER_FEATURES
from elman.cells.functions import CURVES
from test_forms import pad
from test_gradients import KINKED, random_parameters

F64 = {"dtype": "float64"}
LENGTHS = [4, 1, 6]
LAYERS = {
    "activate": lambda: elman.Activate(elman.Activation("elu", alpha=0.4)),
    "softmax": lambda: elman.Activate("softmax"),
    "log_softmax": lambda: elman.Activate("log_softmax"),
    "reverse": lambda: elman.Reverse(),
    "sum": lambda: elman.MergeDirections("sum"),
    "mul": lambda: elman.MergeDirections("mul"),
    "ave": lambda: elman.MergeDirections("ave"),
    "last": lambda: elman.LastStep(bidirectional=True),
    "masking": lambda: elman.Masking(0.5),
}


def ragged(rng, width=4):
    """Sequences with steps of 0.5 alone: one at the start, two in the middle, one at the end."""
    x = [rng.normal(size=(n, width)) for n in LENGTHS]
    x[0][0] = x[2][2:4] = x[2][5] = 0.5
    x[0][2, 1:] = 0.5  # not all of it
    return x


def by_hand(name, x):
    """One sequence (time, 4), or a vector out of it, in words of NumPy."""
    a, b = x[:, :2], x[:, 2:]
    e = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    return {
        "activate": np.where(x > 0, x, 0.4 * (np.exp(x) - 1)),
        "softmax": e,
        "log_softmax": np.log(e),
        "reverse": np.flip(x, 0),
        "sum": a + b,
        "mul": a * b,
        "ave": (a + b) / 2,
        "last": np.concatenate([a[-1], b[0]]),
        "masking": np.array([row for row in x if any(row != 0.5)]),
    }[name]


@pytest.mark.parametrize("name", LAYERS)
def test_values_in_every_form(name):
    layer, x = LAYERS[name](), ragged(np.random.default_rng(0))
    wanted = [by_hand(name, part) for part in x]
    for _ in range(2):
        y, state = layer(x)
        assert state is None
        for got, want in zip(y, wanted, strict=True):
            assert got.shape == want.shape
            np.testing.assert_allclose(got, want, rtol=1e-14, atol=1e-15)
        padded, _ = layer(pad(x, np.nan), lengths=LENGTHS)
        if name == "last":
            np.testing.assert_array_equal(padded, y)
        else:
            assert padded.shape[:2] == (3, 8)
            for row, part in zip(padded, y, strict=True):
                np.testing.assert_array_equal(row[: len(part)], part)
                assert (row[len(part) :] == 0).all()
        for part, want in zip(x, y, strict=True):
            np.testing.assert_array_equal(layer(part)[0], want)
            np.testing.assert_array_equal(layer(np.stack([part, part]))[0][1][: len(want)], want)


@pytest.mark.parametrize("form", ["list", "padded", "single"])
@pytest.mark.parametrize("name", LAYERS)
def test_gradients(name, form):
    """Behind a layer with weights and before one, so that the gradient goes through; twice from one tape."""
    rng = np.random.default_rng(1)
    inner = LAYERS[name]()
    width = 2 if isinstance(inner, elman.MergeDirections) else 4
    front = [] if name == "masking" else [elman.Dense(4, 4, "tanh", **F64)]
    net = elman.Network([*front, inner, elman.Dense(width, 3, **F64)])
    random_parameters(net, rng)
    x = ragged(rng)
    given = {"list": x, "padded": pad(x, 7.0), "single": x[2]}[form]
    options = {"lengths": LENGTHS} if form == "padded" else {}
    y, _, tape = net.forward(given, **options)
    dy = [rng.normal(size=part.shape) for part in y] if isinstance(y, list) else rng.normal(size=y.shape)

    def loss():
        out, _ = net(given, **options)
        return float(sum((a * b).sum() for a, b in zip(out, dy, strict=True)))

    for taken in (tape, pickle.loads(pickle.dumps(tape))):
        dx, _, gradients = net.backward(taken, dy)
        for parameter, array in net.parameters.items():
            assert relative_error(gradients[parameter], central_gradient(loss, array)) < 1e-7, parameter
        parts, exact = ([given], [dx]) if form == "single" else (given, dx)
        for part, dpart in zip(parts, exact, strict=True):
            gone = ((part == 0.5) | (part == 7)).all(1) if name == "masking" else np.zeros(len(part), bool)
            assert not dpart[gone].any()
            wanted = by_rows(loss, part, ~gone)
            assert relative_error(dpart[~gone], wanted) < 1e-7


def by_rows(loss, part, rows):
    """The gradient by some rows of an array: a masked step that changes would be there."""
    moving = part[rows]

    def moved():
        part[rows] = moving
        return loss()

    gradient = central_gradient(moved, moving)
    part[rows] = moving
    return gradient


@pytest.mark.parametrize("name", LAYERS)
def test_without_a_gradient_of_y_and_arrays_of_their_own(name):
    layer, x = LAYERS[name](), np.random.default_rng(2).normal(size=(2, 3, 4))
    y, _, tape = layer.forward(x)
    assert not np.shares_memory(y, x)
    dy = np.ones_like(y)
    dx, _, gradients = layer.backward(tape, dy)
    assert dx.shape == x.shape
    assert not np.shares_memory(dx, dy)
    assert gradients == {}
    rest = layer.backward(tape)[0]
    assert rest.shape == x.shape
    assert not rest.any()


@pytest.mark.parametrize("activation", [*ACTIVATIONS, *OVER_FEATURES, *CURVES])
def test_every_activation(activation):
    layer, rng = elman.Activate(activation), np.random.default_rng(3)
    x, dy = rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 5, 3))
    if activation == "sqrt":
        x = x * x + 0.1
    _, _, tape = layer.forward(x)
    exact, _, _ = layer.backward(tape, dy)
    difference = central_gradient(lambda: float((layer(x)[0] * dy).sum()), x, activation not in KINKED)
    assert relative_error(exact, difference) < 1e-7


@pytest.mark.parametrize("name", sorted({*CURVES} - {"sqrt"}))
def test_curves_of_large_numbers_are_finite(name):
    """Also their derivatives; and the curves in float32 are those in float64."""
    for dtype in (np.float32, np.float64):
        x = np.array([[-1e30, -1e4, -40.0, -3.0, -0.0, 0.0, 3.0, 40.0, 1e30]], dtype)
        for _ in range(2):
            y, _, tape = elman.Activate(name).forward(x)
            dx, _, _ = elman.Activate(name).backward(tape, np.ones_like(y))
            assert (y.dtype, dx.dtype) == (dtype, dtype)
            assert np.isfinite(y).all()
            assert np.isfinite(dx).all()
    x = np.random.default_rng(4).normal(size=(3, 7, 2))
    near = elman.Activate(name)(x.astype(np.float32))[0]
    np.testing.assert_allclose(near, elman.Activate(name)(x)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.peer
@pytest.mark.parametrize("name", ["erf", "gelu", "gelu_tanh", "hard_swish", "selu", "sqrt", "swish"])
def test_curves_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch")
    functions = torch.nn.functional
    theirs = {
        "erf": torch.erf,
        "gelu_tanh": lambda x: functions.gelu(x, approximate="tanh"),
        "hard_swish": functions.hardswish,
        "sqrt": torch.sqrt,
        "swish": functions.silu,
    }.get(name) or getattr(functions, name)
    x = np.abs(np.random.default_rng(5).normal(size=(3, 7, 2))) * (1 if name == "sqrt" else -1)
    np.testing.assert_allclose(elman.Activate(name)(x)[0], theirs(torch.tensor(x)).numpy(), rtol=1e-12, atol=1e-14)


def test_softmax_of_large_numbers_is_finite():
    x = np.array([[1e30, -1e30, 1e30], [88.0, 89.0, 90.0]], np.float32)
    for name in OVER_FEATURES:
        y, _, tape = elman.Activate(name).forward(x)
        assert y.dtype == np.float32
        assert np.isfinite(y).all()
        assert np.isfinite(elman.Activate(name).backward(tape, np.ones_like(y))[0]).all()
    np.testing.assert_allclose(elman.Activate("softmax")(x)[0].sum(-1), 1, rtol=1e-6)


def test_directions_are_those_of_a_bidirectional_layer():
    """[Reverse, GRU, Reverse] is the second direction, and the last step of both is what each computed last."""
    rng, x = np.random.default_rng(4), ragged(np.random.default_rng(5), width=3)
    both = elman.GRU(3, 4, bidirectional=True, **F64)
    random_parameters(both, rng)
    one = elman.GRU(3, 4, **F64)
    for name, array in one.parameters.items():
        array[...] = both.parameters[name + "_reverse"]
    y, ends = both(x)
    backwards, _ = elman.Network([elman.Reverse(), one, elman.Reverse()])(x)
    for got, want in zip(backwards, y, strict=True):
        np.testing.assert_allclose(got, want[:, 4:], rtol=1e-14)
    last, _ = elman.Network([both, elman.LastStep(bidirectional=True)])(x)
    np.testing.assert_allclose(last, np.concatenate(ends, axis=1), rtol=1e-14)
    merged, _ = elman.Network([both, elman.MergeDirections("ave")])(x)
    np.testing.assert_allclose(merged[2], (y[2][:, :4] + backwards[2]) / 2, rtol=1e-14)


def test_masked_steps_are_skipped_by_the_layers_behind():
    net = elman.Network([elman.Masking(0.5), elman.LSTM(4, 5, bidirectional=True, seed=0), elman.MeanOverTime()])
    x = ragged(np.random.default_rng(6))
    kept = [by_hand("masking", part) for part in x]
    np.testing.assert_array_equal(net(x)[0], elman.Network(net.layers[1:])(kept)[0])
    np.testing.assert_array_equal(net(pad(x, 0.5), lengths=LENGTHS)[0], net(x)[0])
    np.testing.assert_array_equal(net(pad(x, 0.5))[0], net(x)[0])  # padding of the masked value needs no lengths
    with pytest.raises(ValueError, match=r"sequence 1 must have a step with a feature other than 0\.5"):
        net([x[0], np.full((3, 4), 0.5)])
    assert np.isnan(elman.Masking()(np.full((2, 1), np.nan))[0]).all()


def test_a_network_that_masks_is_trained():
    rng = np.random.default_rng(7)
    x = pad(ragged(rng), 0.5)
    x[:, 0] = 0.5  # padding in front
    x[1, 3] = 1.0
    net = elman.Network([elman.Masking(0.5), elman.GRU(4, 3, seed=0), elman.LastStep(), elman.Dense(3, 2, seed=1)])
    options = {"loss": "cross_entropy", "epochs": 3, "progress": False}
    history = elman.fit(net, x, [0, 1, 1], **options)
    assert history.loss[-1] < history.loss[0]
    with pytest.raises(elman.ShapeError, match="one output per sequence where it drops steps"):
        elman.fit(elman.Network(net.layers[:2]), x, np.zeros(x.shape[:2], int), **options)


def test_streams_of_pointwise_layers():
    net = elman.Network(
        [elman.Dense(3, 8, seed=0, **F64), elman.MergeDirections("mul"), elman.GRU(4, 2, seed=1, **F64)]
        + [elman.Activate(name) for name in ("softplus", "identity", "log_softmax")]
    )
    x = np.random.default_rng(8).normal(size=(2, 6, 3))
    whole, _ = net(x)
    stream = net.stream(2)
    np.testing.assert_allclose(stream.run(x[:, :3]), whole[:, :3], rtol=1e-13)
    for t in range(3, 6):
        np.testing.assert_allclose(stream.step(x[:, t]), whole[:, t], rtol=1e-13)


def test_widths_of_networks():
    both = elman.GRU(3, 4, bidirectional=True)
    net = elman.Network([both, elman.MergeDirections("sum"), elman.Dense(4, 2)])
    assert (net.input_size, net.output_size) == (3, 2)
    assert elman.Network(net.layers[:2]).output_size == 4
    nested = elman.Network([elman.Network([elman.Dropout(0.1), elman.MergeDirections("mul")]), elman.Dense(4, 2)])
    assert (nested.input_size, nested.output_size) == (8, 2)
    assert elman.Network([elman.Dense(3, 8), elman.Network([elman.MergeDirections("mul")])]).output_size == 4
    with pytest.raises(elman.ShapeError, match=r"layer 2, Dense, must take 4 features"):
        elman.Network([both, elman.MergeDirections("sum"), elman.Dense(8, 2)])
    with pytest.raises(elman.ShapeError, match=r"layer 1, MergeDirections, must take a multiple of 2 features\. Got 5"):
        elman.Network([elman.GRU(3, 5), elman.MergeDirections("sum")])


def test_what_is_saved_and_said(tmp_path):
    net = elman.Network(
        [
            elman.Masking(-1.5),
            elman.Reverse(),
            elman.RNN(3, 2, bidirectional=True, seed=0),
            elman.Activate(elman.Activation("leaky_relu", alpha=0.25)),
            elman.LastStep(bidirectional=True),
            elman.MergeDirections("ave"),
            elman.Activate("log_softmax"),
        ]
    )
    net.save(tmp_path / "net.safetensors")
    same = elman.load(tmp_path / "net.safetensors")
    assert repr(same) == repr(net)
    for line in (
        "Masking(value=-1.5)",
        "Reverse()",
        "Activate(activation={'name': 'leaky_relu', 'alpha': 0.25})",
        "LastStep(bidirectional=True)",
        "MergeDirections(mode='ave')",
        "Activate(activation='log_softmax')",
    ):
        assert line in repr(net)
    assert "LastStep()" in repr(elman.Network([elman.LastStep(), elman.LastStep()]))
    x = np.random.default_rng(9).normal(size=(2, 5, 3))
    np.testing.assert_array_equal(same(x)[0], net(x)[0])


def test_what_is_refused():
    for wrong in ("softmaxx", "swishh"):
        with pytest.raises(ValueError, match="activation must be one of"):
            elman.Activate(wrong)
    with pytest.raises(ValueError, match=r"mode must be one of 'sum', 'mul', 'ave'\. Got 'concat'"):
        elman.MergeDirections("concat")
    with pytest.raises(ValueError, match="value must be a number"):
        elman.Masking(np.nan)
    with pytest.raises(TypeError, match="bidirectional must be True or False"):
        elman.LastStep(bidirectional="yes")
    for layer in (elman.MergeDirections("sum"), elman.LastStep(bidirectional=True)):
        with pytest.raises(elman.ShapeError, match=r"an even number of features.*Got 3 features"):
            layer(np.ones((2, 5, 3)))
    pooled = [elman.MeanOverTime(), elman.Reverse()], [elman.MeanOverTime(), elman.Masking()]
    for layers in pooled:
        with pytest.raises(elman.ShapeError, match="must be given sequences"):
            elman.Network(layers)(np.ones((2, 5, 3)))
