"""`after_epoch` of `fit` and of every estimator: one call per epoch, whatever stops the run and lets it go on."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

import elman
from elman.training import Checkpoint, Epoch, History, fit
from elman.training import run as run_module

RNG = np.random.default_rng(0)
X = [RNG.standard_normal((n, 2)) for n in (5, 9, 4, 7, 6, 8)]
Y = [x[:, :1] - x[:, 1:] for x in X]
HELD = (X[:2], [-y for y in Y[:2]])


def network(seed=0):
    return elman.Network([elman.GRU(2, 3, seed=seed), elman.Dropout(0.2), elman.Dense(3, 1, seed=seed + 1)])


def train(net, **options):
    options = {"loss": "squared_error", "batch_size": 2, "epochs": 4, "seed": 1, "progress": False, **options}
    return fit(net, X, Y, **options)


def weights(net):
    return {name: array.copy() for name, array in net.parameters.items()}


def assert_same(net, other):
    for name, array in net.parameters.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


class Stop(Exception):
    pass


class Watch:
    """Keeps what it is given; shrinks the weights of the network, and raises or stops where it is told."""

    def __init__(self, fail_at=(), stop_at=None, factor=0.9):
        self.fail_at, self.stop_at, self.factor = set(fail_at), stop_at, factor
        self.seen, self.asked = [], []

    def __call__(self, epoch):
        self.asked.append(epoch.number)
        for array in epoch.net.parameters.values():
            array *= self.factor
        if epoch.number in self.fail_at:
            self.fail_at.remove(epoch.number)
            raise Stop
        self.seen.append(epoch)
        return epoch.number == self.stop_at


def check_calls(watch, history, net, begin=1):
    """One whole call an epoch, with its numbers."""
    assert [epoch.number for epoch in watch.seen] == list(range(begin, len(history) + 1))
    for i, epoch in enumerate(watch.seen, begin - 1):
        assert isinstance(epoch, Epoch)
        assert epoch.net is net
        assert len(epoch.history) == epoch.number
        assert epoch.loss == history.loss[i] == epoch.history.loss[-1]
        np.testing.assert_array_equal(epoch.history.loss, history.loss[: i + 1])
        if history.validation_loss is None:
            assert epoch.validation is None
            assert epoch.history.validation_loss is None
        else:
            assert epoch.validation == history.validation_loss[i]


def drawn(rng):
    """Random options of a run."""
    options = {
        "epochs": int(rng.integers(1, 6)),
        "batch_size": int(rng.integers(1, 8)),
        "accumulate": int(rng.integers(1, 3)),
        "optimizer": [elman.Adam(0.02), elman.SGD(elman.CosineSchedule(0.1), momentum=0.5)][rng.integers(2)],
        "weight_noise": float(rng.integers(2)) * 0.05,
        "truncate": [None, (2, 3)][rng.integers(2)],
        "seed": int(rng.integers(99)),
    }
    if rng.random() < 0.7:
        options["validation"] = HELD
        options["patience"] = [None, 1, 3][rng.integers(3)]
    return options


@pytest.mark.parametrize("seed", range(25))
def test_one_call_an_epoch_with_its_numbers_and_the_same_weights_over_any_stops(seed, tmp_path, monkeypatch):
    rng = np.random.default_rng(seed)
    options = drawn(rng)
    whole, watch = network(), Watch()
    history = train(whole, after_epoch=watch, **options)
    check_calls(watch, history, whole)

    net, path = network(), Checkpoint(tmp_path / "run", every=float(rng.integers(2)) * 3600)
    watch = Watch(fail_at=rng.integers(1, 6, 3).tolist())
    left, update = [int(rng.integers(1, 30))], run_module.Run._update

    def failing(*args):
        left[0] -= 1
        if left[0] == 0:
            raise Stop
        update(*args)

    monkeypatch.setattr(run_module.Run, "_update", failing)
    for _ in range(6):
        try:
            again = train(net, after_epoch=watch, checkpoint=path, log=tmp_path / "log", **options)
            break
        except Stop:
            pass
    check_calls(watch, again, net)
    assert_same(net, weights(whole))
    np.testing.assert_array_equal(again.loss, history.loss)
    np.testing.assert_array_equal(History.read(tmp_path / "log").loss, history.loss)
    before = len(watch.asked)
    train(net, after_epoch=watch, checkpoint=path, **options)  # a finished run comes back at once
    assert len(watch.asked) == before
    assert_same(net, weights(whole))


def test_an_epoch_prints_in_one_line(capsys):
    train(network(), after_epoch=print, epochs=2, validation=HELD)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(", loss=")[0] for line in lines] == ["Epoch(number=1", "Epoch(number=2"]


def test_a_function_that_only_looks_changes_nothing():
    net, twin = network(), network()
    train(net, after_epoch=Watch(factor=1.0))
    train(twin)
    assert_same(net, weights(twin))


@pytest.mark.parametrize("stop", [True, np.True_])
@pytest.mark.parametrize("options", [{}, {"validation": HELD, "patience": 5}], ids=["last", "best"])
def test_true_finishes_the_run(stop, options, tmp_path, capsys):
    net, path, calls = network(), tmp_path / "run", []

    def after(epoch):
        calls.append(epoch.number)
        return stop if epoch.number == 2 else np.bool_(False)

    history = train(net, after_epoch=after, checkpoint=path, **{**options, "progress": True})
    assert len(history) == 2
    assert "stopped after 2 epochs" in capsys.readouterr().err
    twin = network()
    best = train(twin, epochs=2, **options)
    assert_same(net, weights(twin))
    np.testing.assert_array_equal(best.loss, history.loss)
    for more in ({"after_epoch": after}, {}, {"epochs": 3, "after_epoch": after}):
        again = network()
        np.testing.assert_array_equal(train(again, checkpoint=path, **options, **more).loss, history.loss)
        assert_same(again, weights(net))
    assert calls == [1, 2]
    longer, whole = network(), network()  # more epochs than it was asked for go on
    assert len(train(longer, checkpoint=path, after_epoch=after, **{**options, "epochs": 6})) == 6
    assert calls == [1, 2, 3, 4, 5, 6]
    train(whole, **{**options, "epochs": 6})
    assert_same(longer, weights(whole))


@pytest.mark.parametrize("patience", [None, 9])
def test_an_error_is_the_users_and_loses_nothing(patience, tmp_path):
    """The weights are those of the epoch, or the best ones, the failed epoch among them."""
    for at in (1, 2, 3):
        net, twin = network(), network()
        options = {"validation": (X, Y), "patience": patience, "optimizer": elman.Adam(0.01)}
        with pytest.raises(Stop):
            train(net, after_epoch=Watch(fail_at=[at], factor=1.0), **options)
        history = train(twin, epochs=at, **options)
        assert history.best_epoch == at - 1  # the losses fall, so the best epoch is the last one
        assert_same(net, weights(twin))


def test_changed_weights_are_the_best_ones_too():
    def pin(epoch):
        epoch.net.layers[2].b = [0.25]

    net = network()
    train(net, after_epoch=pin, validation=HELD, patience=2, epochs=6, optimizer=elman.Adam(0.1))
    assert net.parameters["2.b"].tolist() == [0.25]


@pytest.mark.parametrize(
    ("after", "message"),
    [
        ("print", "after_epoch must be a function of one argument, the epoch. Got 'print'."),
        (3, "after_epoch must be a function of one argument, the epoch. Got 3."),
        (lambda: True, "after_epoch must be a function of one argument"),
        (lambda epoch, more: True, "after_epoch must be a function of one argument"),
        (lambda epoch, *, more: True, "after_epoch must be a function of one argument"),
    ],
)
def test_what_cannot_be_called_is_refused_before_the_run(after, message):
    net = network()
    with pytest.raises(TypeError, match=message.replace(".", r"\.")):
        train(net, after_epoch=after)
    assert_same(net, weights(network()))


@pytest.mark.parametrize("value", [1, 0, "stop", [True], np.ones(1, bool), float("nan")])
def test_an_answer_that_is_none_is_refused(value, tmp_path):
    net, twin = network(), network()
    with pytest.raises(TypeError, match=r"after_epoch must return True to stop, False or None to go on\. Got "):
        train(net, after_epoch=lambda epoch: value, checkpoint=tmp_path / "run")
    train(twin, epochs=1)
    assert_same(net, weights(twin))
    assert len(train(net, checkpoint=tmp_path / "run")) == 4


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_taken_back(wrong, tmp_path):
    def spoil(epoch):
        epoch.net.parameters["2.W"][1] = wrong if epoch.number == 2 else 0.5

    net, twin = network(), network()
    with pytest.raises(FloatingPointError, match=r"after_epoch must leave weights finite\. Got 2\.W infinite or NaN\."):
        train(net, after_epoch=spoil, checkpoint=tmp_path / "run")
    with pytest.raises(Stop):
        train(twin, after_epoch=lambda epoch: spoil(epoch) if epoch.number == 1 else Watch([2])(epoch))
    assert_same(net, weights(twin))
    assert len(train(net, checkpoint=tmp_path / "run")) == 4


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_in_the_function(presses, tmp_path):
    """The first one waits for its end, and stops before the next update; the second acts at once."""
    calls = []

    def press(epoch):
        calls.append(epoch.number)
        for _ in range(presses * (len(calls) == 3)):
            os.kill(os.getpid(), signal.SIGINT)
        calls.append("done")

    net, twin = network(), network()
    with pytest.raises(KeyboardInterrupt):
        train(net, after_epoch=press, checkpoint=tmp_path / "run")
    assert calls == [1, "done", 2, "done"][: 5 - presses]
    train(twin, epochs=2)
    assert_same(net, weights(twin))
    calls.append("again")
    history = train(net, after_epoch=press, checkpoint=tmp_path / "run")
    numbers = [part for part in calls[calls.index("again") :] if isinstance(part, int)]
    assert numbers == ([3, 4] if presses == 1 else [2, 3, 4])
    assert len(history) == 4


def test_the_network_can_be_used_and_saved_within(tmp_path):
    def use(epoch):
        y, _ = epoch.net(X)
        assert len(y) == len(X)
        epoch.net.save(tmp_path / f"net {epoch.number}")
        stream = epoch.net.stream()
        np.testing.assert_allclose([stream.step(row) for row in X[0]], y[0], atol=1e-5)

    net = network()
    train(net, after_epoch=use)
    assert_same(net, weights(elman.load(tmp_path / "net 4")))
    assert sorted(os.listdir(tmp_path)) == ["net 1", "net 2", "net 3", "net 4"]


def estimators():
    pytest.importorskip("sklearn")
    small = {"hidden": 3, "epochs": 4, "random_state": 0}
    numbers = [float(y.sum()) for y in Y]
    labels = [number > 0 for number in numbers]
    series = np.sin(np.arange(60) / 3)
    return {
        "classifier": (elman.SequenceClassifier, {**small, "dropout": 0.0}, (X, labels)),
        "regressor": (elman.SequenceRegressor, small, (X, numbers)),
        "tagger": (elman.SequenceTagger, small, (X, [y[:, 0] > 0 for y in Y])),
        "forecaster": (elman.Forecaster, {**small, "horizon": 2, "members": 2}, (series,)),
        "text": (elman.TextGenerator, {**small, "truncate": 8}, ("to be or not to be " * 9,)),
    }


@pytest.mark.parametrize("name", ["classifier", "regressor", "tagger", "forecaster", "text"])
def test_every_estimator(name):
    from sklearn.base import clone

    kind, options, data = estimators()[name]
    watch = Watch(factor=1.0)
    estimator = kind(**options, after_epoch=watch)
    assert clone(kind(**options, after_epoch=len)).after_epoch is len
    estimator.fit(*data)
    members = 2 if name == "forecaster" else 1
    assert [epoch.number for epoch in watch.seen] == [1, 2, 3, 4] * members
    assert watch.seen[3].net is estimator.network_
    np.testing.assert_array_equal(watch.seen[3].history.loss, estimator.history_.loss)
    plain = kind(**options).fit(*data)
    assert_same(estimator.network_, weights(plain.network_))
    stopped = kind(**options, after_epoch=Watch(stop_at=2)).fit(*data)
    assert len(stopped.history_) == 2
    with pytest.raises(Stop):
        kind(**options, after_epoch=Watch(fail_at=[1])).fit(*data)
    with pytest.raises(TypeError, match="after_epoch must be a function of one argument"):
        kind(**options, after_epoch="print").fit(*data)
