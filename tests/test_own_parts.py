"""`elman.Loss` and `elman.Optimizer`: what is written with them trains to the bit as the built-in ones do."""

from __future__ import annotations

import numpy as np
import pytest

import elman
from elman.layers import GRU, LSTM, Dense, Dropout, LastStep
from elman.network import Network
from elman.training import LOSSES, Checkpoint, fit
from elman.training.optimizers import as_optimizer

BUILT_IN = {
    "cross_entropy": elman.CrossEntropy(),
    "binary_cross_entropy": elman.BinaryCrossEntropy(),
    "squared_error": elman.SquaredError(),
    "absolute_error": elman.AbsoluteError(),
    "huber": elman.Huber(0.3),
    "quantile": elman.Quantile((0.2, 0.7)),
}


def assert_same(net, twin):
    for name, array in net.parameters.items():
        np.testing.assert_array_equal(array, twin.parameters[name], err_msg=name)


def assert_same_history(one, other):
    for name in ("loss", "validation_loss", "learning_rate", "gradient_norm"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


class Written(elman.Loss):
    """Any built-in loss, as a user writes one: from the two methods alone."""

    def __init__(self, loss):
        self.loss = loss
        self.integers = loss.integers

    def rows(self, prediction, target):
        return self.loss.rows(prediction, target)

    def rows_derivative(self, prediction, target):
        return self.loss.rows_derivative(prediction, target)

    def tails(self, width):
        return self.loss.tails(width)


class Squares(elman.Loss):
    """The squared error, written anew."""

    def rows(self, prediction, target):
        return np.square(prediction - target).mean(-1)

    def rows_derivative(self, prediction, target):
        return 2 * (prediction - target) / prediction.shape[-1]


class Moments(elman.Optimizer):
    """Adam, written anew."""

    moments = ("first", "second")

    def __init__(self, learning_rate=1e-3):
        self.learning_rate = learning_rate

    def move(self, theta, g, moments, t, eta):
        m, v = moments
        m *= 0.9
        m += g * (1 - 0.9)
        v *= 0.999
        v += g * (1 - 0.999) * g
        theta -= m * (eta / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)


def drawn(rng, labels):
    """A network with two outputs, data for it, and options of a run, all at random."""
    dtype = ["float32", "float64"][rng.integers(2)]
    pooled = rng.random() < 0.3

    def make():
        layers = [[GRU, LSTM][kind](3, 4, seed=1, dtype=dtype), Dropout(0.2)]
        return Network([*layers, *([LastStep()] if pooled else []), Dense(4, 2, seed=2, dtype=dtype)])

    kind = rng.integers(2)
    lengths = rng.integers(1, 8, rng.integers(2, 9))
    x = [rng.standard_normal((n, 3)) for n in lengths]
    y = [rng.integers(0, 2, n) if labels else rng.random((n, 2)) for n in lengths]
    options = {
        "batch_size": int(rng.integers(1, 6)), "epochs": int(rng.integers(1, 4)), "progress": False,
        "accumulate": int(rng.integers(1, 3)), "weight_noise": float(rng.integers(2)) / 9,
        "optimizer": elman.SGD(0.1), "seed": int(rng.integers(9)), "validation": (x[:1], y[:1]),
    }  # fmt: skip
    if pooled:
        y = np.array([part[-1] for part in y])
        options["validation"] = (x[:1], y[:1])
    else:
        options["truncate"] = [None, (2, 3)][rng.integers(2)]
    if rng.random() < 0.5:
        options["sample_weight"] = rng.random(len(x)) + 0.1
    return make, x, y, options


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("seed", range(4))
def test_a_loss_with_the_equations_of_a_built_in_one_gives_the_same_bits(name, seed):
    make, x, y, options = drawn(np.random.default_rng([seed, len(name)]), name == "cross_entropy")
    net, twin = make(), make()
    history = fit(net, x, y, loss=Written(BUILT_IN[name]), **options)
    assert_same_history(history, fit(twin, x, y, loss=BUILT_IN[name], **options))
    assert_same(net, twin)


@pytest.mark.parametrize("seed", range(6))
def test_a_loss_written_anew_gives_the_same_bits(seed):
    make, x, y, options = drawn(np.random.default_rng(seed), False)
    net, twin = make(), make()
    assert_same_history(fit(net, x, y, loss=Squares(), **options), fit(twin, x, y, loss="squared_error", **options))
    assert_same(net, twin)


def test_all_built_in_losses_are_tried():
    assert BUILT_IN.keys() == LOSSES.keys()


@pytest.mark.parametrize("seed", range(6))
def test_an_optimizer_with_the_equations_of_adam_gives_the_same_bits(seed, tmp_path, monkeypatch):
    """Whole parameters at a time, while the built-in one moves large ones in pieces; over a checkpoint too."""
    monkeypatch.setattr("elman.training.optimizers.PIECE", 8)
    rng = np.random.default_rng(seed)
    make, x, y, options = drawn(rng, False)
    rate = [0.01, elman.CosineSchedule(0.05), lambda done: 0.02 * (1 - done / 2)][rng.integers(3)]
    options |= {"loss": "huber", "epochs": 3}
    net, twin, again = make(), make(), make()
    history = fit(twin, x, y, **{**options, "optimizer": elman.Adam(rate)})
    assert_same_history(fit(net, x, y, **{**options, "optimizer": Moments(rate)}), history)
    assert_same(net, twin)

    def stop(epoch):
        if epoch.number == 2:
            raise InterruptedError

    options |= {"optimizer": Moments(rate), "checkpoint": Checkpoint(tmp_path / "run", every=0)}
    with pytest.raises(InterruptedError):
        fit(again, x, y, after_epoch=stop, **options)
    assert_same_history(fit(again, x, y, **options), history)
    assert_same(again, twin)


def test_an_optimizer_sees_whole_parameters(monkeypatch):
    monkeypatch.setattr("elman.training.optimizers.PIECE", 8)
    seen = []

    class Normed(elman.Optimizer):
        learning_rate = 0.1

        def move(self, theta, g, moments, t, eta):
            seen.append(theta.shape)
            theta -= eta * g / (np.linalg.norm(g) + 1e-8)

    net = Network([GRU(3, 4, seed=0), Dense(4, 2, seed=1)])
    fit(net, np.ones((2, 3, 3)), np.ones((2, 3, 2)), "squared_error", Normed(), epochs=1, progress=False)
    assert seen == [array.shape for array in net.parameters.values()]


class Without(elman.Optimizer):
    learning_rate = 0.1


class Private(elman.SGD):
    def _move(self, theta, g, moments, t, eta):
        theta -= eta * g


class Helped(Private):
    def move(self, theta, g, moments, t, eta):
        self._move(theta, g, moments, t, eta)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (Without(), r"Without must have a method move .*see Optimizer\. Got none\."),
        (Private(), r"Private must have a method move \(which was _move\), see Optimizer\. Got none\."),
        ("adam", r"optimizer must be an optimizer such as Adam\(1e-3\)\. Got 'adam'\."),
        (elman.Adam, r"optimizer must be an optimizer such as Adam"),
        *(
            (type("Own", (Moments,), {"moments": moments})(), r"moments of Own must be a tuple of names, .* Got ")
            for moments in ("mv", ["m"], ("m.v",), (1,), None, ("",))
        ),
    ],
)
def test_an_optimizer_that_moves_nothing_is_refused_before_the_run(optimizer, message):
    net, twin = (Network([GRU(3, 4, seed=0), Dense(4, 2, seed=1)]) for _ in range(2))
    with pytest.raises(TypeError, match=message):
        fit(net, np.ones((2, 3, 3)), np.ones((2, 3, 2)), "squared_error", optimizer, progress=False)
    assert_same(net, twin)
    assert as_optimizer(None) == elman.Adam()
    assert as_optimizer(Helped()).learning_rate == 0.01
