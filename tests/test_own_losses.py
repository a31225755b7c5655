"""Losses, schedules and optimizers of one's own: used as written, or refused in words."""

from __future__ import annotations

from dataclasses import fields
from functools import partial

import numpy as np
import pytest

from elman.checks import ShapeError
from elman.layers import GRU, Dense
from elman.network import Network
from elman.training import (
    SGD,
    AbsoluteError,
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    Loss,
    Optimizer,
    Quantile,
    SquaredError,
    fit,
)

GOOD_X = np.random.default_rng(14).standard_normal((5, 4, 2))
LABELS = np.random.default_rng(15).integers(0, 2, (5, 4))


def tagger():
    return Network([GRU(2, 6, seed=0), Dense(6, 2, seed=1)])


def quiet(net, x, y, **options):
    return fit(net, x, y, progress=False, **options)


def weights(net):
    return {name: array.copy() for name, array in net.parameters.items()}


def assert_same(net, before):
    for name, array in net.parameters.items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


@pytest.mark.parametrize("rate", [-1, None, "0.1", True, np.ones(2), [0.1], np.inf, 10**400, 1j])
def test_a_schedule_is_named_where_it_gives_no_rate(rate):
    def late(done):
        return 0.1 if done < 0.3 else rate

    x, y = np.concatenate([GOOD_X, GOOD_X]), np.concatenate([LABELS, LABELS])
    net, twin = tagger(), tagger()
    with pytest.raises(
        ValueError, match=r"of the schedule must be a number from 0\. Got .* It came from .*late, with 0\.5"
    ):
        quiet(net, x, y, optimizer=SGD(late), epochs=2, batch_size=10)
    quiet(twin, x, y, optimizer=SGD(0.1), epochs=1, batch_size=10)
    assert_same(net, weights(twin))


def test_an_optimizer_of_ones_own_needs_a_learning_rate():
    class Own(Optimizer):
        def move(self, theta, g, moments, t, eta):
            theta -= eta * g

    for rate in (None, -1, "0.1"):
        optimizer = Own()
        if rate is not None:
            optimizer.learning_rate = rate
        with pytest.raises(ValueError, match=r"learning_rate of Own must be a number from 0\. Got "):
            quiet(tagger(), GOOD_X, LABELS, optimizer=optimizer)


@pytest.mark.parametrize(
    ("method", "value", "message"),
    [
        ("rows", 0.5, r"rows of Own must return real numbers of shape \(20,\)\. Got float64 of shape \(\)\."),
        ("rows", np.zeros((20, 1)), r"Got float64 of shape \(20, 1\)"),
        ("rows", np.zeros(20, complex), r"Got complex128 of shape \(20,\)"),
        ("rows_derivative", np.zeros(20), r"rows_derivative of Own must return real numbers of shape \(20, 2\)\. Got"),
        ("rows_derivative", 1, r"rows_derivative of Own must return .*shape \(\)"),
    ],
)
def test_what_a_loss_of_ones_own_returns_is_held_to_its_shape(method, value, message):
    class Own(CrossEntropy):
        pass

    setattr(Own, method, lambda self, p, t: value)
    net = tagger()
    with pytest.raises(ShapeError, match=message):
        quiet(net, GOOD_X, LABELS, loss=Own())
    assert_same(net, weights(tagger()))


LOSS_TARGETS = {
    CrossEntropy(): LABELS,
    BinaryCrossEntropy(): np.eye(2)[LABELS],
    SquaredError(): GOOD_X,
    AbsoluteError(): GOOD_X,
    Huber(0.3): GOOD_X,
    Quantile((0.2, 0.7)): GOOD_X,
}


@pytest.mark.parametrize("loss", LOSS_TARGETS, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("own", ["rows", "rows_derivative", "both", "instance", "mixin"])
def test_a_loss_that_extends_a_built_in_one_is_used_as_written(loss, own):
    """Its own rows are the loss of the history, its own derivative moves the weights, and what is left is inherited."""
    kind = type(loss)

    def rows(self, p, t):
        return 3 + 0 * p[:, 0]

    def rows_derivative(self, p, t):
        return np.zeros_like(p)

    class Mixin:
        pass

    Mixin.rows, Mixin.rows_derivative = rows, rows_derivative
    own_kind = type("Own", (Mixin, kind) if own == "mixin" else (kind,), {})
    if own in ("rows", "both"):
        own_kind.rows = rows
    if own in ("rows_derivative", "both"):
        own_kind.rows_derivative = rows_derivative
    changed_loss = own_kind(**{f.name: getattr(loss, f.name) for f in fields(loss)})
    if own == "instance":
        vars(changed_loss).update(rows=partial(rows, None), rows_derivative=partial(rows_derivative, None))
    net, plain = tagger(), tagger()
    y = LOSS_TARGETS[loss]
    history = quiet(net, GOOD_X, y, loss=changed_loss, epochs=2, validation=(GOOD_X, y), optimizer=SGD(0.1))
    expected = quiet(plain, GOOD_X, y, loss=loss, epochs=2, validation=(GOOD_X, y), optimizer=SGD(0.1))
    if own == "rows_derivative":
        assert history.loss[0] == expected.loss[0]
    else:
        assert history.loss.tolist() == history.validation_loss.tolist() == [3, 3]
    assert_same(net, weights(plain) if own == "rows" else weights(tagger()))


def test_a_loss_with_methods_that_fit_does_not_ask_is_refused():
    class Called(SquaredError):
        def __call__(self, prediction, target, mask=None):
            return np.zeros(len(target))

    derivative_of_one = SquaredError()
    vars(derivative_of_one)["derivative"] = len

    class Half(Loss):
        def rows(self, prediction, target):
            return prediction.sum(-1)

    for loss, message in (
        (Called(), r"Called must give rows and rows_derivative, which __call__ uses\. Got its own __call__\."),
        (derivative_of_one, r"SquaredError must give rows and rows_derivative, which derivative uses\."),
        (Half(), r"Half must have a method rows_derivative, see Loss\. Got none\."),
    ):
        with pytest.raises(TypeError, match=message):
            quiet(tagger(), GOOD_X, GOOD_X, loss=loss)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("validation", [None, (GOOD_X, GOOD_X)])
def test_a_loss_cannot_write_into_what_it_is_given(which, validation):
    calls = []

    class Writes(SquaredError):
        def rows(self, *given):
            calls.append(given)
            if len(calls) == (1 if validation is None else 2):  # one update, then the validation
                given[which][...] = 0
            return super().rows(*given)

    with pytest.raises(ValueError, match="read-only"):
        quiet(tagger(), GOOD_X, GOOD_X, loss=Writes(), validation=validation)


def test_tiny_and_large_weights_weigh_as_ones_do():
    nets = []
    for factor in (1.0, 2.0**-900, 2.0**1023, 1e-40):
        nets.append(tagger())
        quiet(nets[-1], GOOD_X, LABELS, epochs=2, sample_weight=np.full(5, factor))
    for net in nets[1:]:
        for name, array in net.parameters.items():
            np.testing.assert_allclose(array, nets[0].parameters[name], rtol=1e-5, atol=1e-7)
    assert_same(nets[1], weights(nets[0]))
