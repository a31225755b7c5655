"""Losses of one's own that read whole sequences: every form of targets, exact gradients, refusals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import elman
from elman.checks import ShapeError
from elman.layers import GRU, LSTM, Dense, LastStep
from elman.network import Network
from elman.training import as_loss, fit

LOSSES = [
    elman.CrossEntropy(),
    elman.BinaryCrossEntropy(),
    elman.SquaredError(),
    elman.AbsoluteError(),
    elman.Huber(0.3),
    elman.Quantile((0.2, 0.7)),
]


def assert_same(net, twin):
    for name, array in net.parameters.items():
        np.testing.assert_array_equal(array, twin.parameters[name], err_msg=name)


class MeanOfSteps(elman.Loss):
    """The mean over the steps of any loss; in batches of equal lengths, the loss itself."""

    whole_sequences = True

    def __init__(self, loss):
        self.loss, self.integers = loss, loss.integers

    def rows(self, prediction, target):
        return np.array([self.loss.rows(p, t).mean() for p, t in zip(prediction, target, strict=True)])

    def rows_derivative(self, prediction, target):
        return [self.loss.rows_derivative(p, t) / len(p) for p, t in zip(prediction, target, strict=True)]

    def tails(self, width):
        return self.loss.tails(width)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("seed", range(2))
def test_a_mean_over_sequences_of_equal_lengths_is_that_over_their_steps(loss, seed):
    """To the bit where the numbers of steps and sequences are powers of 2, in every form of x and y."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((8, 4, 3))
    y = rng.integers(0, 2, (8, 4)) if loss.integers else rng.random((8, 4, 2))
    padded = np.concatenate([x, np.full((8, 2, 3), np.nan)], 1), np.concatenate([y, np.zeros_like(y[:, :2])], 1)
    forms = [(x, y, {}), (list(x), list(y), {}), (*padded, {"lengths": np.full(8, 4)})]
    nets = [Network([LSTM(3, 4, seed=1), Dense(4, 2, seed=2)]) for _ in range(4)]
    options = {"batch_size": 4, "epochs": 3, "progress": False, "optimizer": elman.Adam(0.01)}
    want = fit(nets[3], x, y, loss=loss, validation=(x, y), **options)
    for net, (own_x, own_y, more) in zip(nets[:3], forms, strict=True):
        history = fit(
            net, own_x, own_y, loss=MeanOfSteps(loss), validation=(own_x, own_y, *more.values()), **more, **options
        )
        np.testing.assert_allclose(history.loss, want.loss, rtol=1e-6)
        np.testing.assert_allclose(history.validation_loss, want.validation_loss, rtol=1e-6)
        assert_same(net, nets[3])


class Alignments(elman.Loss):
    """Connectionist temporal classification (Graves et al. 2006), blank 0: scores (time, K) against shorter labels."""

    integers = True
    whole_sequences = True
    targets_by_step = False

    def tails(self, width):
        return [("labels",)]

    def bounds(self, width):
        return 1, width - 1

    def rows(self, prediction, target):
        return np.array([self.one(p, t)[0] for p, t in zip(prediction, target, strict=True)])

    def rows_derivative(self, prediction, target):
        return [self.one(p, t)[1] for p, t in zip(prediction, target, strict=True)]

    def one(self, p, t):
        """alpha and beta of the paper's section 4.1, as logarithms."""
        p = p.astype(np.float64)
        log_y = p - np.logaddexp.reduce(p, axis=1, keepdims=True)  # (T, K)
        path = np.zeros(2 * len(t) + 1, int)  # blank, label, blank, ...
        path[1::2] = t
        ahead = self.reach(log_y, path)
        back = self.reach(log_y[::-1], path[::-1])[::-1, ::-1]
        through = ahead + back - log_y[:, path]  # (T, S)
        total = np.logaddexp.reduce(through[0])
        share = np.zeros_like(p)
        np.add.at(share.T, path, np.exp(through - total).T)
        return -total, np.exp(log_y) - share

    @staticmethod
    def reach(log_y, path):
        alpha = np.full((len(log_y), len(path)), -1e30)
        alpha[0, :2] = log_y[0, path[:2]]
        jump = (path[2:] != 0) & (path[2:] != path[:-2])
        for t in range(1, len(log_y)):
            alpha[t] = alpha[t - 1]
            alpha[t, 1:] = np.logaddexp(alpha[t, 1:], alpha[t - 1, :-1])
            alpha[t, 2:] = np.logaddexp(alpha[t, 2:], np.where(jump, alpha[t - 1, :-2], -1e30))
            alpha[t] += log_y[t, path]
        return alpha


def test_alignments_are_all_counted():
    rng = np.random.default_rng(0)
    for labels in ([], [1], [2, 2], [1, 2], [2, 1, 2]):
        p = rng.standard_normal((5, 3))
        log_y = p - np.logaddexp.reduce(p, axis=1, keepdims=True)
        found = [
            sum(log_y[t, k] for t, k in enumerate(path))
            for path in itertools.product(range(3), repeat=5)
            if [k for k, _ in itertools.groupby(path) if k] == labels
        ]
        loss = Alignments().rows([p], [np.array(labels, int)])
        np.testing.assert_allclose(loss, [-np.logaddexp.reduce(found)], rtol=1e-12)


def batch(rng, count):
    """Ragged sequences of two-dimensional marks, and the labels that they spell, some of none."""
    labels = [rng.integers(1, 3, rng.integers(0, 4)) for _ in range(count)]
    x = []
    for part in labels:
        steps = [np.zeros(2)]
        for label in part:
            steps += [np.eye(2)[label - 1]] * rng.integers(1, 3) + [np.zeros(2)]
        x.append(np.array(steps) + 0.1 * rng.standard_normal((len(steps), 2)))
    return x, labels


def test_labels_of_other_lengths_are_learned():
    """Shorter than x in each sequence, and none at all in some; in batches, with weights and validation."""
    rng = np.random.default_rng(3)
    x, y = batch(rng, 40)
    assert min(map(len, y)) == 0
    net = Network([GRU(2, 8, seed=0), Dense(8, 3, seed=1)])
    options = {"loss": Alignments(), "epochs": 12, "batch_size": 4, "optimizer": elman.Adam(0.03), "progress": False}
    history = fit(net, x, y, validation=batch(rng, 10), sample_weight=rng.random(40) + 0.5, **options)
    assert history.loss[-1] < 0.15 * history.loss[0]
    assert history.validation_loss[-1] < 0.2
    tokens = [p.argmax(-1) for p in net(x)[0]]
    told = [[k for k, _ in itertools.groupby(part) if k] for part in tokens]
    assert sum(a == b.tolist() for a, b in zip(told, y, strict=True)) > 36


class Total(elman.Loss):
    """The sum over a sequence should be its target."""

    whole_sequences = True
    targets_by_step = False

    def tails(self, width):
        return [(), (width,)]

    def rows(self, prediction, target):
        return np.array([np.square(p.sum(0) - t).sum() for p, t in zip(prediction, target, strict=True)])

    def rows_derivative(self, prediction, target):
        return [np.broadcast_to(2 * (p.sum(0) - t), p.shape) for p, t in zip(prediction, target, strict=True)]


@pytest.mark.parametrize(
    "loss", [Alignments(), Total(), MeanOfSteps(elman.Huber(0.5))], ids=lambda loss: type(loss).__name__
)
def test_gradients_of_whole_sequences_equal_central_differences(loss):
    """Of all weights, through the update of `fit`: one step of gradient descent shows the gradient."""
    rng = np.random.default_rng(5)
    x = [rng.standard_normal((n, 2)) for n in (6, 4, 7)]
    y = {
        Alignments: [np.array([1, 2, 2]), np.array([], int), np.array([2])],
        Total: np.array([0.5, -1.0, 2.0]),
        MeanOfSteps: [rng.standard_normal((len(part), 3)) for part in x],
    }[type(loss)]
    weight = np.array([0.5, 1.0, 2.0])
    net = Network([LSTM(2, 3, seed=0, dtype="float64"), Dense(3, 3, seed=1, dtype="float64")])
    targets = y if isinstance(y, list) else list(y[:, None])

    def value():
        return (loss.rows(net(x)[0], targets) * weight).sum() / weight.sum()

    before = {name: array.copy() for name, array in net.parameters.items()}
    central = {}
    for name, array in net.parameters.items():
        central[name] = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            values = []
            for sign in (1, -1):
                array[index] = before[name][index] + sign * 1e-6
                values.append(value())
            array[index] = before[name][index]
            central[name][index] = (values[0] - values[1]) / 2e-6
    history = fit(net, x, y, loss, elman.SGD(1.0), 1, 3, clip_norm=None, sample_weight=weight, progress=False)
    for name, array in net.parameters.items():
        np.testing.assert_allclose(before[name] - array, central[name], rtol=1e-5, atol=1e-8, err_msg=name)
    net2 = Network([LSTM(2, 3, seed=0, dtype="float64"), Dense(3, 3, seed=1, dtype="float64")])
    np.testing.assert_allclose(history.loss[0], (loss.rows(net2(x)[0], targets) * weight).sum() / weight.sum())


def test_a_single_sequence_has_a_target_of_its_own():
    rng = np.random.default_rng(6)
    x = rng.standard_normal((5, 2))
    for loss, y in ((Total(), 3.0), (Alignments(), [2, 1]), (MeanOfSteps(elman.SquaredError()), np.ones((5, 3)))):
        nets = [Network([GRU(2, 3, seed=0), Dense(3, 3, seed=1)]) for _ in range(2)]
        fit(nets[0], x, y, loss, epochs=2, progress=False)
        fit(nets[1], [x], [y], loss, epochs=2, progress=False)
        assert_same(*nets)


X = [np.ones((n, 2)) for n in (3, 5)]
BAD = [
    ({"y": [[1]]}, r"y must hold 2 targets, one per sequence\. Got a list of length 1\."),
    ({"y": 3}, r"y must hold 2 targets, one per sequence\. Got an int\."),
    ({"y": None}, r"y must hold 2 targets, one per sequence\. Got None\."),
    ({"y": [[1], [3]]}, r"y must hold integers from 1 to 2\. Got 3 at sequence 1, step 0\."),
    ({"y": [[], [1, 0]]}, r"y must hold integers from 1 to 2\. Got 0 at sequence 1, step 1\."),
    ({"y": [[1], [[1]]]}, r"y\[1\] must have shape \(labels,\)\. Got \(1, 1\)\."),
    ({"y": [[1], [1.5]]}, r"y must hold integers\. Got an?.*1\.5 at sequence 1, step 0|y must hold integers"),
    ({"y": [[1], ["a"]]}, r"y\[1\] must hold real numbers"),
    ({"y": [[1], [None]]}, r"y\[1\] must hold real numbers\. Got None at sequence 1, place 0"),
    ({"mask": [[True] * 3, [True] * 5]}, r"mask must be left out for a loss of whole sequences\."),
    ({"class_weight": "balanced"}, r"class_weight must be left out where targets are numbers or of whole"),
    ({"truncate": 2}, r"truncate must be left out for a loss of whole sequences\. Got 2\."),
    ({"sample_weight": [np.ones(3), np.ones(5)]}, r"sample_weight must"),
    ({"net": Network([GRU(2, 3), LastStep(), Dense(3, 3)])}, r"a pool must be left out for a loss of whole sequences"),
    ({"validation": (X, [[1], [3]])}, r"validation y must hold integers from 1 to 2"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD)
def test_what_does_not_fit_whole_sequences_is_refused(change, message):
    given = {"net": Network([GRU(2, 3, seed=0), Dense(3, 3, seed=1)]), "y": [[1], [2, 1]], **change}
    before = {name: array.copy() for name, array in given["net"].parameters.items()}
    with pytest.raises((ValueError, TypeError), match=message):
        fit(x=X, loss=Alignments(), progress=False, **given)
    for name, array in given["net"].parameters.items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    ("method", "value", "message"),
    [
        ("rows", np.zeros(8), r"rows of Own must return real numbers of shape \(2,\)\. Got float64 of shape \(8,\)\."),
        ("rows_derivative", np.zeros((8, 3)), r"rows_derivative of Own must return a list of 2 arrays"),
        ("rows_derivative", [np.zeros((3, 3))], r"a list of 2 arrays, one per sequence\. Got a list of length 1"),
        ("rows_derivative", [np.zeros((3, 3))] * 2, r"rows_derivative of Own must return .* shape \(5, 3\)"),
    ],
)  # fmt: skip
def test_what_a_loss_of_whole_sequences_returns_is_held_to_its_shape(method, value, message):
    own = type("Own", (Alignments,), {method: lambda self, p, t: value})()
    with pytest.raises(ShapeError, match=message):
        fit(Network([GRU(2, 3), Dense(3, 3)]), X, [[1], [2, 1]], own, batch_size=2, seed=4, progress=False)


def test_a_loss_of_whole_sequences_cannot_write_into_what_it_is_given():
    class Writes(Alignments):
        def __init__(self, which):
            self.which = which

        def rows(self, *given):
            given[self.which][1][...] = 0
            return super().rows(*given)

    for which in (0, 1):
        with pytest.raises(ValueError, match="read-only"):
            fit(Network([GRU(2, 3), Dense(3, 3)]), X, [[1], [2, 1]], Writes(which), progress=False)


def test_a_loss_of_whole_sequences_is_asked_by_its_methods():
    for ask in (Total(), Total().derivative):
        with pytest.raises(TypeError, match="must be asked by its rows and rows_derivative"):
            ask([np.ones((2, 1))], [1.0])
    assert as_loss(Total()).rows([np.ones((2, 1))], [np.ones(1)]).tolist() == [1.0]


def test_targets_of_their_own_belong_to_whole_sequences():
    own = type("Own", (Total,), {"whole_sequences": False})()
    with pytest.raises(TypeError, match=r"Own must have whole_sequences where targets_by_step is False\. Got False\."):
        fit(Network([GRU(2, 3), Dense(3, 3)]), X, [1.0, 2.0], own, progress=False)


def test_a_forecaster_refuses_a_loss_of_whole_sequences():
    pytest.importorskip("sklearn")
    with pytest.raises(ValueError, match="loss must be one of numbers, not of whole sequences"):
        elman.Forecaster(loss=Total()).fit(np.arange(30.0))
