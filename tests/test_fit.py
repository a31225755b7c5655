"""Training from end to end: what is learned, what is refused, and what is the same twice."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass

import numpy as np
import pytest

from elman.checks import DtypeError, ShapeError
from elman.layers import GRU, LSTM, RNN, Dense, Dropout, Embedding, LastStep, MeanOverTime
from elman.network import Network
from elman.training import (
    SGD,
    Adam,
    AdamW,
    CrossEntropy,
    History,
    LinearSchedule,
    Loss,
    Quantile,
    SquaredError,
    StepSchedule,
    fit,
    global_norm,
)


def tagger(seed=0, dtype="float32", dropout=0.0):
    """Two classes per step, of two features."""
    return Network([GRU(2, 6, seed=seed, dtype=dtype), Dropout(dropout), Dense(6, 2, seed=seed + 1, dtype=dtype)])


def regressor(seed=0, dtype="float32"):
    """One number per sequence, of two features."""
    return Network([LSTM(2, 6, seed=seed, dtype=dtype), LastStep(), Dense(6, 1, seed=seed + 1, dtype=dtype)])


def tags(rng, lengths):
    """Sequences, and for each step whether the sum so far is over 0."""
    x = [rng.standard_normal((n, 2)) for n in lengths]
    return x, [(part.sum(1).cumsum() > 0).astype(int) for part in x]


def weights(net):
    return {name: array.copy() for name, array in net.parameters.items()}


def assert_same(net, before):
    for name, array in net.parameters.items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def quiet(net, x, y, **options):
    return fit(net, x, y, progress=False, **options)


# What is learned.


def test_a_tag_a_step_is_learned_from_ragged_sequences():
    rng = np.random.default_rng(0)
    x, y = tags(rng, rng.integers(3, 13, 120))
    net = tagger()
    history = quiet(net, x, y, optimizer=Adam(0.03), epochs=25, batch_size=16)
    xv, yv = tags(rng, rng.integers(3, 13, 60))
    accuracy = np.concatenate([p.argmax(-1) == t for p, t in zip(net(xv)[0], yv, strict=True)]).mean()
    assert accuracy > 0.93
    assert history.loss[-1] < 0.2 < 0.5 < history.loss[0]


def test_a_number_a_sequence_is_learned():
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (160, 7, 2))
    y = x[:, :, 0].mean(1)  # (160,): its axis of 1 left out
    net = regressor()
    quiet(net, x, y, loss="squared_error", optimizer=Adam(0.02), epochs=40)
    error = net(x)[0][:, 0] - y
    assert (error**2).mean() < 0.05 * y.var()


def test_a_class_a_sequence_of_tokens_is_learned():
    rng = np.random.default_rng(2)
    x = [rng.integers(0, 5, n) for n in rng.integers(2, 9, 150)]
    y = np.array([(part == 3).any() for part in x]).astype(np.int8)
    net = Network([Embedding(5, 4, seed=0), RNN(4, 8, seed=1), MeanOverTime(), Dense(8, 2, seed=2)])
    quiet(net, x, y, optimizer=AdamW(0.02), epochs=30)
    assert (net(x)[0].argmax(-1) == y).mean() > 0.97


def test_the_next_token_is_learned_from_one_long_sequence():
    text = np.tile([0, 1, 2, 1], 25)
    net = Network([Embedding(3, 3, seed=0), LSTM(3, 8, seed=1), Dense(8, 3, seed=2)])
    history = quiet(net, text[:-1], text[1:], optimizer=Adam(0.05), epochs=60)
    assert history.loss[-1] < 0.1
    assert (net(text[:-1])[0].argmax(-1)[4:] == text[5:]).all()


def test_quantiles_are_learned():
    rng = np.random.default_rng(3)
    x = np.ones((400, 2, 1))
    y = rng.standard_normal((400, 1))
    net = Network([RNN(1, 2, seed=0), LastStep(), Dense(2, 2, seed=1)])
    quiet(net, x, y, loss=Quantile((0.1, 0.9)), optimizer=Adam(LinearSchedule(0.05)), epochs=40)
    np.testing.assert_allclose(net(x)[0][0], np.quantile(y, [0.1, 0.9]), atol=0.12)


def test_two_outputs_of_yes_and_no_are_learned():
    rng = np.random.default_rng(4)
    x = rng.standard_normal((80, 6, 2))
    y = x > 0  # (80, 6, 2) booleans
    net = tagger()
    history = quiet(net, x, y, loss="binary_cross_entropy", optimizer=SGD(0.5, momentum=0.9), epochs=30)
    assert history.loss[-1] < 0.2
    assert ((net(x)[0] > 0) == y).mean() > 0.95


def test_one_epoch_in_one_batch_is_one_step_along_the_gradient():
    rng = np.random.default_rng(5)
    x, y = tags(rng, [3, 5, 2])
    net = tagger(dtype="float64")
    before = weights(net)
    prediction, _, tape = net.forward(x)
    dy = [CrossEntropy().derivative(p, t) / 10 for p, t in zip(prediction, y, strict=True)]  # 10 real steps
    gradients = net.backward(tape, dy)[2]
    loss = sum(CrossEntropy()(p, t).sum() for p, t in zip(prediction, y, strict=True)) / 10
    history = quiet(net, x, y, optimizer=SGD(0.1), epochs=1, clip_norm=None)
    for name, array in net.parameters.items():
        np.testing.assert_allclose(array, before[name] - 0.1 * gradients[name], rtol=1e-12, atol=1e-14)
    assert history.loss[0] == pytest.approx(loss, rel=1e-12)
    assert history.gradient_norm[0] == pytest.approx(global_norm(gradients), rel=1e-12)


@pytest.mark.parametrize(("limits", "most"), [({"clip_norm": 0.01}, 0.01), ({"clip_value": 0.001}, None)])
def test_updates_are_clipped_and_the_norm_before_is_kept(limits, most):
    x, y = tags(np.random.default_rng(5), [3, 5, 2])
    net = tagger(dtype="float64")
    before = weights(net)
    history = quiet(net, x, y, optimizer=SGD(1.0), epochs=1, **limits)
    moved = {name: array - before[name] for name, array in net.parameters.items()}
    if most is None:
        assert max(np.abs(part).max() for part in moved.values()) == pytest.approx(0.001, rel=1e-9)
    else:
        assert global_norm(moved) == pytest.approx(most, rel=1e-9)
    assert history.gradient_norm[0] > 0.05


def test_the_learning_rate_follows_its_schedule():
    x, y = tags(np.random.default_rng(0), [3] * 6)
    history = quiet(tagger(), x, y, optimizer=Adam(StepSchedule(0.1)), epochs=4, batch_size=3)
    np.testing.assert_allclose(history.learning_rate, [0.1, 0.1, 0.01, 0.001])
    history = quiet(tagger(), x, y, optimizer=Adam(LinearSchedule(0.1)), epochs=2, batch_size=3)
    np.testing.assert_allclose(history.learning_rate, [(0.1 + 0.075) / 2, (0.05 + 0.025) / 2])


# The same data in other forms, and the same run twice.


@pytest.mark.parametrize("kind", ["labels", "numbers", "vectors"])
def test_padding_gives_the_weights_of_the_list_to_the_bit(kind):
    rng = np.random.default_rng(6)
    lengths = np.array([4, 1, 7, 3, 5])
    x, labels = tags(rng, lengths)
    padded = np.full((5, 9, 2), np.nan)
    for i, part in enumerate(x):
        padded[i, : lengths[i]] = part
    if kind == "vectors":
        y = padded_y = rng.standard_normal((5, 1))
        nets, loss = (regressor(), regressor()), "squared_error"
    elif kind == "numbers":
        y = [rng.standard_normal((n, 2)) for n in lengths]
        padded_y = np.full((5, 9, 2), np.nan)
        nets, loss = (tagger(), tagger()), "huber"
    else:
        y, padded_y = labels, np.full((5, 9), -1)
        nets, loss = (tagger(), tagger()), "cross_entropy"
    if kind != "vectors":
        for i, part in enumerate(y):
            padded_y[i, : lengths[i]] = part
    first = quiet(nets[0], x, y, loss=loss, epochs=3, batch_size=2, validation=(x, y))
    second = quiet(
        nets[1],
        padded,
        padded_y,
        loss=loss,
        epochs=3,
        batch_size=2,
        lengths=lengths,
        validation=(padded, padded_y, lengths),
    )
    assert_same(nets[1], weights(nets[0]))
    np.testing.assert_array_equal(first.loss, second.loss)
    np.testing.assert_array_equal(first.validation_loss, second.validation_loss)


def test_the_loss_counts_real_steps_alone():
    x, y = tags(np.random.default_rng(6), [9, 1])
    net = tagger(dtype="float64")
    prediction = net(x)[0]
    want = np.concatenate([CrossEntropy()(p, t) for p, t in zip(prediction, y, strict=True)]).mean()
    history = quiet(net, x, y, optimizer=SGD(0.0), epochs=1, batch_size=1, validation=(x, y))
    assert history.loss[0] == pytest.approx(want, rel=1e-12)
    assert history.validation_loss[0] == pytest.approx(want, rel=1e-12)


def test_a_seed_gives_the_same_weights_and_another_does_not():
    x, y = tags(np.random.default_rng(7), [5] * 20)
    nets = [tagger(dropout=0.5) for _ in range(4)]
    for net, seed in zip(nets, [3, 3, 4, None], strict=True):
        quiet(net, x, y, epochs=2, batch_size=4, seed=seed)
    assert_same(nets[1], weights(nets[0]))
    assert not np.array_equal(nets[2].parameters["0.Wh"], nets[0].parameters["0.Wh"])
    assert not np.array_equal(nets[3].parameters["0.Wh"], nets[0].parameters["0.Wh"])


def test_dropout_acts_in_training_alone():
    x, y = tags(np.random.default_rng(7), [5] * 20)
    plain, dropped = tagger(), tagger(dropout=0.5)
    first = quiet(plain, x, y, epochs=1, optimizer=SGD(0.0), validation=(x, y))
    second = quiet(dropped, x, y, epochs=1, optimizer=SGD(0.0), validation=(x, y))
    assert first.loss[0] != second.loss[0]
    assert first.validation_loss[0] == second.validation_loss[0]


def test_nothing_global_is_used():
    x, y = tags(np.random.default_rng(7), [5] * 6)
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    errors = np.geterr()
    quiet(tagger(dropout=0.5), x, y, epochs=1)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert np.geterr() == errors
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_inputs_are_unmodified():
    rng = np.random.default_rng(8)
    x = rng.standard_normal((6, 4, 2)).astype(np.float32)
    y = rng.standard_normal((6, 4, 2)).astype(np.float32)
    lengths = np.array([4, 2, 1, 3, 4, 2])
    copies = x.copy(), y.copy(), lengths.copy()
    for array in (x, y, lengths):
        array.flags.writeable = False
    quiet(tagger(), x, y, loss="squared_error", epochs=2, lengths=lengths, validation=(x, y))
    quiet(tagger(), x, y, loss="squared_error", epochs=2)
    for array, copy in zip((x, y, lengths), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_arrays_stay_live_and_integer_biases_train():
    x, y = tags(np.random.default_rng(9), [4] * 8)
    net = tagger()
    live = net.layers[2].b
    net.layers[2].b = [1, -1]
    quiet(net, x, y, epochs=2)
    assert net.layers[2].b is live
    assert live.dtype == np.float32
    assert (live != [1, -1]).all()
    assert (live != np.round(live)).all()


def test_a_batch_may_be_larger_than_the_data():
    x, y = tags(np.random.default_rng(10), [4] * 3)
    nets = tagger(), tagger()
    for net, batch_size in zip(nets, (3, 1000), strict=True):
        quiet(net, x, y, epochs=2, batch_size=batch_size)
    assert_same(nets[1], weights(nets[0]))


def test_a_single_layer_trains():
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (8, 5, 1))
    layer = RNN(1, 1, seed=0)
    history = quiet(layer, x, x, loss=SquaredError(), optimizer=Adam(0.05), epochs=40)
    assert history.loss[-1] < 0.3 * history.loss[0]


def test_a_loss_of_ones_own_trains():
    @dataclass(frozen=True)
    class Fourth(Loss):
        def rows(self, prediction, target):
            return ((prediction - target) ** 4).sum(-1)

        def rows_derivative(self, prediction, target):
            return 4 * (prediction - target) ** 3

    x = np.random.default_rng(0).uniform(-1, 1, (16, 5, 2))
    history = quiet(regressor(), x, x[:, -1, :1], loss=Fourth(), optimizer=Adam(0.03), epochs=30)
    assert history.loss[-1] < 0.2 * history.loss[0]


# Early stopping.


def overfitting():
    rng = np.random.default_rng(11)
    (x, y), (xv, yv) = tags(rng, [6] * 10), tags(rng, [6] * 30)
    return x, [rng.integers(0, 2, 6) for _ in y], xv, yv  # the labels are noise, so validation gets worse


def mean_loss(net, x, y):
    return np.concatenate([CrossEntropy()(p, t) for p, t in zip(net(x)[0], y, strict=True)]).mean()


def test_patience_stops_early_and_restores_the_best_weights():
    x, y, xv, yv = overfitting()
    net = tagger(dtype="float64")
    live = net.parameters["0.Wh"]
    history = quiet(net, x, y, optimizer=Adam(0.02), epochs=200, validation=(xv, yv), patience=3)
    assert len(history) < 200
    assert len(history) == history.best_epoch + 1 + 3
    assert history.validation_loss[-1] > history.validation_loss.min()
    assert mean_loss(net, xv, yv) == pytest.approx(history.validation_loss[history.best_epoch], rel=1e-12)
    assert net.parameters["0.Wh"] is live


def test_patience_restores_the_best_weights_of_a_whole_run_too():
    x, y, xv, yv = overfitting()
    net = tagger(dtype="float64")
    history = quiet(net, x, y, optimizer=Adam(0.02), epochs=40, validation=(xv, yv), patience=100)
    assert len(history) == 40
    assert history.best_epoch < 39
    assert mean_loss(net, xv, yv) == pytest.approx(history.validation_loss.min(), rel=1e-12)


def test_without_patience_the_last_weights_stay():
    x, y, xv, yv = overfitting()
    net = tagger(dtype="float64")
    history = quiet(net, x, y, optimizer=Adam(0.02), epochs=40, validation=(xv, yv))
    assert mean_loss(net, xv, yv) == pytest.approx(history.validation_loss[-1], rel=1e-12)
    assert history.validation_loss[-1] > history.validation_loss.min()


# What is not finite, and Ctrl-C.


def test_a_loss_that_is_not_finite_stops_with_the_weights_before_it():
    rng = np.random.default_rng(12)
    x = rng.standard_normal((4, 3, 2))
    y = np.full((4, 1), 1e30)  # squares of it do not fit float32, gradients do
    net = regressor()
    before = weights(net)
    prediction, _, tape = net.forward(x)
    gradients = net.backward(tape, SquaredError().derivative(prediction, y) / 4)[2]
    largest = max(gradients, key=lambda name: np.abs(gradients[name]).max())
    message = (
        r"loss and gradients must stay finite\. Got a loss of inf in epoch 1 of 20, batch 1 of 1; update 1 of "
        rf"the run\. The largest gradient is {re.escape(f'{np.abs(gradients[largest]).max():.6g}')}, of {largest}\."
    )
    with pytest.raises(FloatingPointError, match=message):
        quiet(net, x, y, loss="squared_error", batch_size=4)
    assert_same(net, before)


def test_the_batch_that_diverged_and_its_parameter_are_named():
    class Spoiled(CrossEntropy):
        calls = 0

        def rows_derivative(self, prediction, target):
            Spoiled.calls += 1
            gradient = super().rows_derivative(prediction, target)
            return np.full_like(gradient, np.inf) if Spoiled.calls == 5 else gradient

    x, y = tags(np.random.default_rng(12), [4] * 6)
    net, twin = tagger(), tagger()
    with pytest.raises(
        FloatingPointError,
        match=r"in epoch 2 of 9, batch 2 of 3; update 5 of the run\. The largest gradient is (inf|nan), of \d\.W",
    ):
        quiet(net, x, y, loss=Spoiled(), epochs=9, batch_size=2, optimizer=SGD(0.1))
    with pytest.raises(StopAfter):  # the same four updates, without the fifth
        quiet(twin, x, y, epochs=9, batch_size=2, optimizer=StopAfter.optimizer(0.1, 4))
    assert_same(net, weights(twin))


class StopAfter(Exception):
    """Raised in place of an update, after some."""

    @staticmethod
    def optimizer(rate, count):
        class Stopping(SGD):
            def update(self, parameters, gradients, state, learning_rate=None):
                if int(state["step"]) == count:
                    raise StopAfter
                super().update(parameters, gradients, state, learning_rate)

        return Stopping(rate)


class Interrupting(SGD):
    """Sends real SIGINTs in the middle of update `at`, and counts the parameters moved after them."""

    def __init__(self, rate, at, signals):
        super().__init__(rate)
        self.__dict__.update(at=at, signals=signals, moved=0)

    def move(self, theta, g, moments, t, eta):
        if t == self.at and self.moved == 0:
            for _ in range(self.signals):
                os.kill(os.getpid(), signal.SIGINT)
        super().move(theta, g, moments, t, eta)
        if t >= self.at:
            self.__dict__["moved"] += 1


def test_ctrl_c_waits_for_the_batch():
    x, y = tags(np.random.default_rng(13), [4] * 6)
    net, twin = tagger(), tagger()
    optimizer = Interrupting(0.1, at=5, signals=1)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        quiet(net, x, y, optimizer=optimizer, batch_size=2)
    assert optimizer.moved == len(net.parameters)  # update 5 is whole, update 6 never began
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(StopAfter):
        quiet(twin, x, y, optimizer=StopAfter.optimizer(0.1, 5), batch_size=2)
    assert_same(net, weights(twin))


def test_a_second_ctrl_c_acts_at_once():
    x, y = tags(np.random.default_rng(13), [4] * 6)
    optimizer = Interrupting(0.1, at=5, signals=2)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        quiet(tagger(), x, y, optimizer=optimizer, batch_size=2)
    assert optimizer.moved == 0
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("signals", [1, 2])
def test_ctrl_c_restores_the_best_weights_where_there_is_patience(signals):
    x, y, xv, yv = overfitting()
    net, twin = tagger(dtype="float64"), tagger(dtype="float64")
    with pytest.raises(KeyboardInterrupt):
        quiet(net, x, y, optimizer=Interrupting(0.3, 3, signals), validation=(xv, yv), patience=9)
    seen = quiet(twin, x, y, optimizer=SGD(0.3), epochs=2, validation=(xv, yv), patience=9)
    assert mean_loss(net, xv, yv) == pytest.approx(seen.validation_loss.min(), rel=1e-12)
    assert_same(net, weights(twin))


def test_fit_runs_outside_the_main_thread():
    x, y = tags(np.random.default_rng(13), [4] * 6)
    nets = tagger(), tagger()
    thread = threading.Thread(target=quiet, args=(nets[0], x, y), kwargs={"epochs": 2})
    thread.start()
    thread.join()
    quiet(nets[1], x, y, epochs=2)
    assert_same(nets[0], weights(nets[1]))


# What is refused.

GOOD_X = np.random.default_rng(14).standard_normal((5, 4, 2))
LABELS = np.zeros((5, 4), int)


def changed(array, place, value):
    array = np.array(array)
    array[place] = value
    return array


REFUSED = {
    "nan in x": (
        {"x": changed(GOOD_X, (3, 2, 0), np.nan)},
        "x must be finite. Got nan at sequence 3, step 2, feature 0.",
    ),
    "inf in a list": (
        {"x": [np.ones((2, 2)), np.array([[0, 0], [0, np.inf]])], "y": [[0, 0], [0, 0]]},
        "x must be finite. Got inf at sequence 1, step 1, feature 1.",
    ),
    "x beyond float32": (
        {"x": changed(GOOD_X, (1, 0, 1), 1e300)},
        "x must hold numbers that float32 can hold. Got 1e+300 at sequence 1, step 0, feature 1.",
    ),
    "width of x": ({"x": np.ones((5, 4, 3))}, "x must have shape (batch, time, 2) or (time, 2). Got (5, 4, 3)."),
    "no x": ({"x": []}, "x must hold at least one sequence. Got an empty list."),
    "no rows of x": (
        {"x": np.ones((0, 4, 2))},
        "x must have at least one sequence, one step and one feature. Got (0, 4, 2).",
    ),
    "too few y": ({"y": LABELS[:4]}, "y must hold 5 examples, as x does. Got 4."),
    "too few y in a list": ({"x": list(GOOD_X), "y": list(LABELS)[:4]}, "y must hold 5 examples, as x does. Got 4."),
    "y a sequence": (
        {"y": np.zeros(5, int)},
        "y must have shape (5, 4), as the network gives one output per step. Got (5,).",
    ),
    "y a step": (
        {"net": regressor, "loss": "squared_error"},
        "y must have shape (5,) or (5, 1), as the network gives one output per sequence. Got (5, 4).",
    ),
    "length of y": (
        {"x": list(GOOD_X), "y": [*LABELS[:4], [0, 0, 0]]},
        "y[4] must have shape (4,), as the network gives one output per step. Got (3,).",
    ),
    "y no list": (
        {"x": list(GOOD_X), "y": 3},
        "y must be a list of 5 sequences, as x is. Got an int.",
    ),
    "y no list but a number": (
        {"x": list(GOOD_X), "y": np.array(3)},
        "y must be a list of 5 sequences, as x is. Got an array of shape ().",
    ),
    "label too large": (
        {"y": changed(LABELS, (2, 3), 2)},
        "y must hold integers from 0 to 1. Got 2 at sequence 2, step 3.",
    ),
    "label under 0": (
        {"y": changed(LABELS, (1, 1), -1), "lengths": [4, 2, 4, 4, 4]},
        "y must hold integers from 0 to 1. Got -1 at sequence 1, step 1.",
    ),
    "label no integer": ({"y": LABELS + 0.5}, "y must hold integers. Got an array of dtype float64."),
    "whole labels in floating point": (
        {"y": LABELS + 0.0},
        "y must hold integers. Got an array of dtype float64. y.astype(int) makes them integers.",
    ),
    "missing label": (
        {"y": changed(LABELS + 0.0, (3, 2), np.nan)},
        "y must hold integers. Got nan at sequence 3, step 2. A mask leaves out what is missing.",
    ),
    "missing label in a list": (
        {"x": list(GOOD_X), "y": [*LABELS[:4], [0, 0, np.nan, 0]]},
        "y must hold integers. Got nan at sequence 4, step 2.",
    ),
    "missing label behind padding": (
        {"y": changed(LABELS + 0.0, (slice(None), slice(2, None)), np.nan) * np.nan, "lengths": [2, 2, 4, 2, 2]},
        "y must hold integers. Got nan at sequence 0, step 0.",
    ),
    "no label": (
        {"y": [[0, 0, 0, 0], [0, None, 0, 0], *LABELS[:3].tolist()]},
        "y must hold real numbers. Got None at sequence 1, step 1. What is missing is NaN",
    ),
    "no label in a list": (
        {"x": list(GOOD_X), "y": [*LABELS[:4], [0, 0, 0, None]]},
        "y[4] must hold real numbers. Got None at sequence 4, step 3.",
    ),
    "no label of a sequence": (
        {"net": regressor, "y": [0, 1, None, 0, 1], "loss": "squared_error"},
        "y must hold real numbers. Got None at sequence 2.",
    ),
    "one-hot labels": (
        {"y": np.eye(2)[LABELS]},
        "Got (5, 4, 2). Labels are integers: y.argmax(-1) makes them of one-hot rows.",
    ),
    "one-hot labels in a list": (
        {"x": list(GOOD_X), "y": list(np.eye(2, dtype=int)[LABELS])},
        "Labels are integers: y[0].argmax(-1) makes them of one-hot rows.",
    ),
    "weight of a sequence": (
        {"sample_weight": [1, 1, 1, -0.5, 1]},
        "sample_weight must hold numbers from 0 up. Got -0.5 at sequence 3.",
    ),
    "weight of a step": (
        {"sample_weight": changed(np.ones((5, 4)), (2, 1), np.inf)},
        "sample_weight must hold numbers from 0 up. Got inf at sequence 2, step 1.",
    ),
    "weight of a step in a list": (
        {"x": list(GOOD_X), "y": list(LABELS), "sample_weight": list(changed(np.ones((5, 4)), (4, 3), np.nan))},
        "sample_weight must hold numbers from 0 up. Got nan at sequence 4, step 3.",
    ),
    "weights without a product": (
        {"sample_weight": [1, 1, 1e300, 1, 1], "class_weight": {0: 1e300}},
        "sample_weight times class_weight must be finite. Got inf at sequence 2, step 0.",
    ),
    "progress": ({"progress": "yes"}, "progress must be True or False. Got 'yes'."),
    "y no number": ({"y": np.full((5, 4), "a")}, "y must hold real numbers. Got an array of dtype <U1."),
    "nan in y": (
        {"y": changed(np.zeros((5, 4, 2)), (4, 1, 1), np.nan), "loss": "squared_error"},
        "y must be finite. Got nan at sequence 4, step 1, feature 1.",
    ),
    "nan in vectors": (
        {"net": regressor, "y": [0, 0, np.nan, 0, 0], "loss": "squared_error"},
        "y must be finite. Got nan at sequence 2, feature 0.",
    ),
    "no probability": (
        {"y": np.full((5, 4, 2), 1.5), "loss": "binary_cross_entropy"},
        "y must hold numbers from 0 to 1. Got 1.5 at sequence 0, step 0.",
    ),
    "levels and width": (
        {"loss": Quantile((0.1, 0.5, 0.9))},
        "prediction must have 3 values per row, one per level of Quantile. Got 2.",
    ),
    "mixed widths of y": (
        {
            "x": list(GOOD_X[:2]),
            "y": [np.zeros((4, 1)), np.zeros((4, 2))],
            "loss": Quantile((0.1, 0.9)),
        },
        "y[1] must hold as many values per step as y[0]. Got (4, 2).",
    ),
    "lengths": ({"lengths": [4, 4, 5, 4, 4]}, "lengths must be from 1 to 4, the steps of x. Got 5 at index 2."),
    "epochs": ({"epochs": 0}, "epochs must be a whole number from 1 up. Got 0."),
    "epochs no integer": ({"epochs": 2.5}, "epochs must be a whole number from 1 up. Got 2.5."),
    "batch_size": ({"batch_size": -1}, "batch_size must be a whole number from 1 up. Got -1."),
    "patience": (
        {"patience": 0, "validation": (GOOD_X, LABELS)},
        "patience must be a whole number from 1 up. Got 0.",
    ),
    "patience alone": ({"patience": 3}, "validation must be given where patience is. Got None."),
    "validation": (
        {"validation": GOOD_X},
        "validation must be (x, y), (x, y, lengths) or (x, y, lengths, mask). Got an array of shape (5, 4, 2).",
    ),
    "validation y": (
        {"validation": (GOOD_X, changed(LABELS, (0, 0), 7))},
        "validation y must hold integers from 0 to 1. Got 7 at sequence 0, step 0.",
    ),
    "validation x": (
        {"validation": (GOOD_X[:, :, :1], LABELS)},
        "validation x must have shape (batch, time, 2) or (time, 2). Got (5, 4, 1).",
    ),
    "loss": ({"loss": "squared_eror"}, "Got 'squared_eror'. Did you mean 'squared_error'?"),
    "optimizer": ({"optimizer": "adam"}, "optimizer must be an optimizer such as Adam(1e-3). Got 'adam'."),
    "clip_norm": ({"clip_norm": 0}, "clip_norm must be a number over 0. Got 0."),
    "clip_value": ({"clip_value": -1.0}, "clip_value must be a number over 0. Got -1.0."),
    "seed": ({"seed": -1}, "seed must be a whole number from 0 up, or None. Got -1."),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_arguments_are_refused_before_any_weight_changes(case):
    options, message = REFUSED[case]
    options = {"x": GOOD_X, "y": LABELS, **options}
    net = options.pop("net", tagger)()
    before = weights(net)
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        fit(net, **{"progress": False, **options})
    assert_same(net, before)


def test_errors_have_their_classes():
    with pytest.raises(ShapeError):
        quiet(tagger(), GOOD_X, LABELS[:4])
    with pytest.raises(DtypeError):
        quiet(tagger(), GOOD_X, LABELS + 0.5)
    with pytest.raises(ShapeError, match="validation y"):
        quiet(tagger(), GOOD_X, LABELS, validation=(GOOD_X, LABELS[:4]))
    with pytest.raises(TypeError, match=r"net must be a Network or a layer\. Got a str\."):
        quiet("net", GOOD_X, LABELS)
    with pytest.raises(ValueError, match=r"net must have parameters to train\. Got LastStep"):
        quiet(LastStep(), GOOD_X, GOOD_X[:, 0], loss="squared_error")


def test_a_schedule_that_gives_no_rate_is_refused():
    with pytest.raises(ValueError, match=r"the learning rate of the schedule must be a number from 0\. Got nan\."):
        quiet(tagger(), GOOD_X, LABELS, optimizer=SGD(lambda done: float("nan")))


# The history and the progress.


def test_the_history_has_one_entry_an_epoch():
    history = quiet(tagger(), GOOD_X, LABELS, epochs=3)
    assert history.validation_loss is None
    for values in (history.loss, history.learning_rate, history.gradient_norm, history.seconds):
        assert values.shape == (3,)
        assert (values > 0).all()
    assert history.best_epoch == history.loss.argmin()


def test_the_history_prints_its_first_best_and_last_epochs():
    validation = np.abs(np.arange(20) - 12.0) + 0.25
    history = History(np.linspace(2, 1, 20), validation, np.full(20, 1e-3), np.ones(20), np.full(20, 0.5))
    lines = repr(history).splitlines()
    assert lines[0] == "History of 20 epochs in 10.0 s, best_epoch 12"
    assert [line.split()[0] for line in lines[2:]] == ["0", "1", "...", "12", "...", "18", "19"]
    assert lines[5].split() == ["12", "1.368", "0.2500", "0.001", "1.000", "best"]


def test_a_nan_is_never_the_best():
    nan = np.array([np.nan, 2.0, 1.0, np.nan])
    assert History(np.ones(4), nan, np.ones(4), np.ones(4), np.ones(4)).best_epoch == 2


def test_the_plot_is_labeled_and_marks_the_best(tmp_path):
    pytest.importorskip("matplotlib")
    loss = np.geomspace(2, 0.01, 15)
    history = History(loss, np.abs(np.arange(15) - 9) + 0.1, np.ones(15), np.ones(15), np.ones(15))
    ax = history.plot(tmp_path / "loss.png")
    assert (tmp_path / "loss.png").stat().st_size > 5000
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("epoch", "loss", "log")
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["training", "validation", "best: 0.1 at epoch 9"]
    assert [float(v[0]) for v in ax.get_lines()[-1].get_data()] == [9.0, 0.1]
    flat = History(np.array([1.0, 0.9]), None, np.ones(2), np.ones(2), np.ones(2)).plot(tmp_path / "flat.svg")
    assert flat.get_yscale() == "linear"


def test_progress_is_about_ten_plain_lines_where_there_is_no_terminal(capsys):
    fit(tagger(), GOOD_X, LABELS, epochs=57, validation=(GOOD_X, LABELS))
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert 8 <= len(lines) <= 11
    assert all(re.fullmatch(r"epoch +\d+/57  loss \S+  validation \S+  \d+ s left", line) for line in lines)
    assert lines[-1].startswith("epoch 57/57")
    assert lines[-1].endswith("0 s left")


@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 7, 10, 11])
def test_progress_is_seldom_longer_than_ten_lines(epochs, capsys):
    fit(tagger(), np.ones((64, 2, 2)), np.zeros((64, 2), int), epochs=epochs, batch_size=1)
    lines = capsys.readouterr().err.splitlines()
    assert 6 <= len(lines) <= 11
    assert lines[-1].startswith(f"epoch {epochs}/{epochs}")


def test_progress_tells_of_an_early_stop(capsys):
    x, y, xv, yv = overfitting()
    history = fit(tagger(), x, y, optimizer=Adam(0.05), epochs=100, validation=(xv, yv), patience=2)
    note = f"stopped after {len(history)} epochs; the weights are those after {history.best_epoch + 1}"
    assert capsys.readouterr().err.splitlines()[-1] == note


def test_progress_may_be_silent(capsys):
    quiet(tagger(), GOOD_X, LABELS, epochs=3)
    out, err = capsys.readouterr()
    assert out == err == ""


def test_a_terminal_gets_a_bar():
    rich = pytest.importorskip("rich.console")
    import io

    from elman.training.history import _Bar

    output = io.StringIO()
    console = rich.Console(file=output, force_terminal=True, width=100)
    with _Bar(2, console) as bar:
        for epoch in range(2):
            for batch in range(3):
                bar.update(epoch, (batch + 1) / 3, 0.5)
            bar.epoch(epoch, 0.5, 0.75)
        bar.note("stopped")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.getvalue())
    last = [line for line in text.replace("\r", "\n").split("\n") if line.strip()][-1]
    assert "epoch 2/2" in last
    assert "100%" in last
    assert "loss 0.5000  validation 0.7500" in last
    assert "stopped" in text


def test_training_imports_numpy_alone():
    code = (
        "import sys, elman.training; print([name for name in ('rich', 'matplotlib', 'IPython') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
