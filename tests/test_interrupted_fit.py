"""Runs of `fit` that are stopped at any moment, by signals, errors and disks: whole weights, and nothing lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
import warnings

import numpy as np
import pytest

from elman.layers import GRU, Dense, Dropout
from elman.network import Network
from elman.training import SGD, Adam, Checkpoint, CrossEntropy, History, Loss, SquaredError, fit
from elman.training import run as run_module
from elman.training.state import TrainingState

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((9, 14, 2)), RNG.standard_normal((9, 14, 1))
HELD_OUT = {"validation": (X[:3], -Y[:3]), "patience": 9}
PLAIN = {"loss": "squared_error", "epochs": 6, "batch_size": 4, "seed": 1, "progress": False}


def network():
    return Network([GRU(2, 5, seed=0), Dropout(0.2), Dense(5, 1, seed=1)])


def train(net, **options):
    return fit(net, X, Y, **{**PLAIN, "optimizer": Adam(0.02), **options})


def weights(net):
    return [array.tobytes() for array in net.parameters.values()]


class Own(SGD):
    """An optimizer whose class the library does not know; slow, so that signals come while weights move."""

    def move(self, theta, g, moments, t, eta):
        theta -= eta * g / 2
        for _ in range(300):
            pass
        theta -= eta * g / 2


class Stop(Exception):
    """What handlers of signals raise."""


def stop(*_):
    raise Stop


@pytest.fixture
def alarm():
    before = signal.signal(signal.SIGALRM, stop)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def whole_weights(options):
    """The weights after each update and epoch of a run that nobody stops, those it begins with, and ends with."""
    net, seen = network(), []

    def watched(function):
        def watch(*args, **options):
            function(*args, **options)
            seen.append(weights(net))

        return watch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module.Run, "_update", watched(run_module.Run._update))
        patch.setattr(TrainingState, "end_epoch", watched(TrainingState.end_epoch))
        begin = time.perf_counter()
        train(net, **options)
    return [weights(network()), *seen, weights(net)], time.perf_counter() - begin


def shrink(epoch):
    for array in epoch.net.parameters.values():
        array *= 0.75
        for _ in range(300):
            pass
        array *= 1.25


KINDS = {
    "plain": {},
    "after epoch": {"after_epoch": shrink, "batch_size": 9},
    "after epoch, best weights": {"after_epoch": shrink, **HELD_OUT},
    "noise": {"weight_noise": 0.1, "accumulate": 2},
    "windows": {"truncate": (5, 8), "clip_norm": 0.1, "batch_size": 9},
    "own optimizer": {"optimizer": Own(0.05)},
    "best weights": HELD_OUT,
    "own optimizer, best weights": {"optimizer": Own(0.05, momentum=0.5), **HELD_OUT},
}


# A signal between the opening of a file and the block that closes it leaves the closing to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("every", [0, 3600])
def test_a_signal_at_any_moment_leaves_whole_weights_and_a_checkpoint_that_goes_on(kind, every, tmp_path, alarm):
    options = KINDS[kind]
    allowed, seconds = whole_weights(options)
    rng, stopped = np.random.default_rng(), 0
    for i in range(50):
        if stopped == (3 if every == 0 else 8):
            break
        net, path = network(), tmp_path / f"run {i}"
        checkpoint = Checkpoint(path, every=every)
        try:
            signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.02, 1) * seconds * (3 if every == 0 else 1))
            train(net, checkpoint=checkpoint, **options)
            signal.setitimer(signal.ITIMER_REAL, 0)
            seconds *= 0.8  # the measured run was a slow one
        except Stop:
            stopped += 1
        assert weights(net) in allowed
        assert signal.getsignal(signal.SIGALRM) is stop
        train(net, checkpoint=checkpoint, **options)  # the same cell of a notebook again
        assert weights(net) == allowed[-1]
        assert os.listdir(tmp_path) == [path.name]
        path.unlink()
    assert stopped


@pytest.mark.parametrize("presses", [1, 2, 3])
def test_ctrl_c_at_any_moment(presses, tmp_path):
    """The second one acts at once, the third waits until everything is in order."""
    options = {**HELD_OUT, "weight_noise": 0.1, "epochs": 30, "patience": 30}
    allowed, seconds = whole_weights(options)
    rng, stopped = np.random.default_rng(), 0

    def press(*_):
        for _ in range(presses):
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGALRM, press)
    try:
        for _ in range(50):
            if stopped == 6:
                break
            net, path = network(), tmp_path / "run"
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.05, 0.9) * seconds)
                train(net, checkpoint=path, **options)
                signal.setitimer(signal.ITIMER_REAL, 0)
                seconds *= 0.8  # the measured run was a slow one
            except KeyboardInterrupt:
                stopped += 1
            assert weights(net) in allowed
            train(net, checkpoint=path, **options)
            assert weights(net) == allowed[-1]
            path.unlink()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert stopped


class Failing:
    """Calls a function, but for its call `at`, which raises."""

    def __init__(self, function, at, error, after=False):
        self.function, self.left, self.error, self.after = function, at, error, after

    def __call__(self, *args, **options):
        self.left -= 1
        if self.left == 0 and not self.after:
            raise self.error
        result = self.function(*args, **options)
        if self.left == 0:
            raise self.error
        return result


ERRORS = [KeyboardInterrupt(), MemoryError(), OSError(28, "No space left on device"), RuntimeError("wrong")]
PLACES = ["os.replace", "os.fsync", "loss", "rate", "move", "state", "log", "show"]


def failing(place, at, error, patch):
    """Options of a run in which one call fails."""
    after = bool(at % 2)
    if place.startswith("os."):
        patch.setattr(os, place[3:], Failing(getattr(os, place[3:]), at, error, after))
    if place == "loss":
        patch.setattr(SquaredError, "_elements", Failing(SquaredError()._elements, at, error))
    if place == "rate":
        patch.setattr(SGD, "rate", Failing(Own(0.05).rate, at, error))
    if place == "move":
        function = Own(0.05).move
        patch.setattr(Own, "move", Failing(function, at, error, after))
    if place == "state":
        patch.setattr(run_module.Run, "_history", Failing(lambda: None, 1, error))
    if place == "log":
        patch.setattr("elman.training.history.append", Failing(lambda *args: None, at, error))
    if place == "show":
        from elman.training.history import Progress

        patch.setattr(Progress, "update", Failing(lambda *args: None, at, error))


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("place", PLACES)
def test_an_error_at_any_place_leaves_whole_weights_and_a_checkpoint_that_goes_on(place, error, tmp_path, monkeypatch):
    rng = np.random.default_rng()
    for best in ({}, HELD_OUT):
        options = {"optimizer": Own(0.05), **best}
        allowed, _ = whole_weights(options)
        for _ in range(2):
            path, net = tmp_path / "run", network()
            keep = {"checkpoint": Checkpoint(path, every=0), "log": tmp_path / "log"}
            with monkeypatch.context() as patch, warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                failing(place, int(rng.integers(1, 7)), error, patch)
                with contextlib.suppress(type(error)):  # a log that fails is no error of the run
                    train(net, **keep, **options)
            assert weights(net) in allowed
            train(net, **keep, **options)
            assert weights(net) == allowed[-1]
            assert sorted(os.listdir(tmp_path)) == ["log", "run"]
            assert len(History.read(tmp_path / "log")) == PLAIN["epochs"]
            path.unlink()


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_the_best_weights_are_back_when_the_last_checkpoint_fails(error, tmp_path, monkeypatch):
    net, twin = network(), network()
    options = {**HELD_OUT, "patience": 2, "optimizer": Adam(0.2), "epochs": 30}
    train(twin, **options)

    def fail(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(type(error)) as caught:
            train(net, checkpoint=Checkpoint(tmp_path / "run", every=3600), **options)
    assert caught.value is error
    assert weights(net) == weights(twin)
    assert os.listdir(tmp_path) == []


# Files that go away.


def in_the_middle(monkeypatch, act, at=4):
    """Acts before the `at`-th update of the next run."""
    update, left = run_module.Run._update, [at]

    def and_act(*args):
        left[0] -= 1
        if left[0] == 0:
            act()
        update(*args)

    monkeypatch.setattr(run_module.Run, "_update", and_act)


@pytest.mark.parametrize("how", ["a folder in its place", "no folder", "removed", "replaced"])
def test_a_log_that_goes_away_is_no_end(how, tmp_path, monkeypatch):
    folder, twin, net = tmp_path / "logs", network(), network()
    folder.mkdir()
    log = folder / "log"

    def go_away():
        log.unlink()
        if how == "a folder in its place":
            log.mkdir()
        elif how == "no folder":
            folder.rmdir()
        elif how == "replaced":
            log.write_text("something else\n")

    want = train(twin, **HELD_OUT)
    with monkeypatch.context() as patch:
        in_the_middle(patch, go_away)
        checkpoint = Checkpoint(tmp_path / "run", every=3600)
        if how in ("removed", "replaced"):  # it is written anew
            history = train(net, log=log, checkpoint=checkpoint, **HELD_OUT)
            assert History.read(log).loss.tolist() == history.loss.tolist()
        else:
            with pytest.warns(RuntimeWarning, match="the log cannot be written now: .*Training goes on") as caught:
                history = train(net, log=log, checkpoint=checkpoint, **HELD_OUT)
            assert len(caught) == 1
    assert history.loss.tolist() == want.loss.tolist()
    assert weights(net) == weights(twin)
    assert (tmp_path / "run").exists()


def test_a_log_that_comes_back_is_whole(tmp_path, monkeypatch):
    log = tmp_path / "log"

    def go_away():
        log.unlink()
        log.mkdir()

    with monkeypatch.context() as patch:
        in_the_middle(patch, go_away, at=4)
        in_the_middle(patch, log.rmdir, at=10)
        with pytest.warns(RuntimeWarning, match="the log cannot be written now"):
            history = train(network(), log=log)
    assert History.read(log).loss.tolist() == history.loss.tolist()


@pytest.mark.parametrize("removed", [False, True])
def test_a_process_that_goes_to_another_folder_writes_where_it_began(removed, tmp_path, monkeypatch):
    folder, other = tmp_path / "here", tmp_path / "there"
    folder.mkdir()
    other.mkdir()
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        in_the_middle(patch, lambda: os.chdir(other))
        history = train(network(), log="log", checkpoint=Checkpoint("run", every=0))
    assert os.listdir(other) == []
    assert sorted(os.listdir(folder)) == ["log", "run"]
    assert History.read(folder / "log").loss.tolist() == history.loss.tolist()
    twin = network()
    if removed:
        (folder / "run").unlink()
    assert train(twin, checkpoint=folder / "run").loss.tolist() == history.loss.tolist()


def test_a_checkpoint_that_cannot_be_written_is_no_end_before_the_end(tmp_path, monkeypatch):
    folder, net, twin = tmp_path / "runs", network(), network()
    train(twin, **HELD_OUT)
    for comes_back in (True, False):
        folder.mkdir()
        net = network()
        checkpoint = Checkpoint(folder / "run", every=0)
        with monkeypatch.context() as patch:
            in_the_middle(patch, lambda: shutil.rmtree(folder))
            if comes_back:
                in_the_middle(patch, folder.mkdir, at=9)
                with pytest.warns(RuntimeWarning, match="the checkpoint cannot be written now: .*goes on") as caught:
                    train(net, checkpoint=checkpoint, **HELD_OUT)
                assert len(caught) == 1
                shutil.rmtree(folder)
            else:
                with (
                    pytest.warns(RuntimeWarning, match="the checkpoint cannot be written now"),
                    pytest.raises(FileNotFoundError, match="must lie in a folder that exists"),
                ):
                    train(net, checkpoint=checkpoint, **HELD_OUT)
        assert weights(net) == weights(twin)


# Handlers of a program's own.


def test_a_handler_of_ones_own_is_called_and_put_back():
    seen = []

    def note(number, frame):
        seen.append(number)

    class Signaling(Loss):
        def rows(self, prediction, target):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGUSR1)
            return ((prediction - target) ** 2).sum(-1)

        def rows_derivative(self, prediction, target):
            return 2 * (prediction - target)

    before = signal.signal(signal.SIGINT, note), signal.signal(signal.SIGUSR1, note)
    try:
        assert len(train(network(), loss=Signaling(), epochs=2)) == 2
        assert signal.getsignal(signal.SIGINT) is note
        assert signal.getsignal(signal.SIGUSR1) is note
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGUSR1, before[1])
    assert seen.count(signal.SIGINT) == seen.count(signal.SIGUSR1) == 6


def test_nothing_is_written_for_a_run_that_never_moved(tmp_path):
    class Wrong(CrossEntropy):
        def rows(self, prediction, target):
            raise RuntimeError("a slip of the pen")

    with pytest.raises(RuntimeError, match="a slip"):
        fit(network(), X, np.zeros((9, 14), int), loss=Wrong(), checkpoint=tmp_path / "run", progress=False)
    assert os.listdir(tmp_path) == []
