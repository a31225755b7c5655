"""Runs that are stopped and go on: the same weights to the last bit, whatever stopped them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from elman.checks import FormatError
from elman.layers import GRU, LSTM, Dense, Dropout, Embedding
from elman.network import Network
from elman.training import SGD, Adam, AdamW, Checkpoint, CosineSchedule, History, fit
from elman.training import run as run_module


def network(seed=0):
    return Network([Embedding(7, 5, seed=seed), LSTM(5, 6, seed=seed + 1), Dropout(0.3), Dense(6, 7, seed=seed + 2)])


RNG = np.random.default_rng(0)
TEXT = RNG.integers(0, 7, 150)
HELD = RNG.integers(0, 7, 40)
OPTIONS = {
    "optimizer": AdamW(CosineSchedule(0.01)),
    "epochs": 4,
    "batch_size": 3,
    "truncate": (5, 12),
    "accumulate": 2,
    "weight_noise": 0.01,
    "patience": 2,
    "validation": (HELD[:-1], HELD[1:]),
    "seed": 3,
    "progress": False,
}


def train(net, **options):
    return fit(net, TEXT[:-1], TEXT[1:], **{**OPTIONS, **options})


def assert_same(net, twin):
    for name, array in net.parameters.items():
        np.testing.assert_array_equal(array, twin.parameters[name], err_msg=name)


def assert_same_history(one, other):
    for name in ("loss", "validation_loss", "learning_rate", "gradient_norm"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


class Stop(Exception):
    """What a test throws in place of an update."""


def stop_at(monkeypatch, count):
    """Lets `count` updates through, and throws in the next one, after its gradients are there."""
    left = [count]
    whole = run_module.Run._update

    def update(self, passes, updates):
        if left[0] == 0:
            self.state.noise.random(5)  # a half-done update has drawn its noise already
            raise Stop
        left[0] -= 1
        whole(self, passes, updates)

    monkeypatch.setattr(run_module.Run, "_update", update)


@pytest.fixture(scope="module")
def whole():
    """The run that is never stopped."""
    net = network()
    return net, train(net)


@pytest.mark.parametrize("stops", [[0], [1], [2], [5], [6], [7], [13], [17], [1, 1, 1, 2, 5]])
def test_a_stopped_run_ends_with_the_same_weights(whole, stops, tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    for count in stops:
        net = network()
        with monkeypatch.context() as patch:
            stop_at(patch, count)
            with pytest.raises(Stop):
                train(net, checkpoint=Checkpoint(path, every=0), log=tmp_path / "log")
    net = network()
    history = train(net, checkpoint=Checkpoint(path, every=0), log=tmp_path / "log")
    assert_same(net, whole[0])
    assert_same_history(history, whole[1])
    assert_same_history(History.read(tmp_path / "log"), whole[1])
    assert sorted(os.listdir(tmp_path)) == ["log", "run.safetensors"]


def test_a_checkpoint_changes_nothing_and_a_finished_run_comes_back_at_once(whole, tmp_path):
    net, again = network(), network()
    history = train(net, checkpoint=tmp_path / "run")
    assert_same(net, whole[0])
    before = (tmp_path / "run").read_bytes()
    assert_same_history(train(again, checkpoint=tmp_path / "run"), history)
    assert_same(again, net)
    assert (tmp_path / "run").read_bytes() == before


def test_more_epochs_go_on_from_the_last_one(tmp_path):
    nets = network(), network()
    options = {"optimizer": Adam(0.01), "patience": None}
    train(nets[0], **options, epochs=2, checkpoint=tmp_path / "run")
    history = train(nets[0], **options, epochs=5, checkpoint=tmp_path / "run")
    twin = train(nets[1], **options, epochs=5)
    assert_same(*nets)
    assert_same_history(history, twin)


def test_a_drawn_seed_is_that_of_the_run(tmp_path, monkeypatch):
    path = tmp_path / "run"
    nets = network(), network()
    with monkeypatch.context() as patch:
        stop_at(patch, 4)
        with pytest.raises(Stop):
            train(nets[0], seed=None, checkpoint=Checkpoint(path, every=0))
    shutil.copy(path, tmp_path / "copy")
    train(nets[0], seed=None, checkpoint=path)
    train(nets[1], seed=None, checkpoint=tmp_path / "copy")
    assert_same(*nets)


def test_ctrl_c_leaves_a_checkpoint(whole, tmp_path):
    sent = []

    class Interrupting(SGD):
        def move(self, theta, g, moments, t, eta):
            if t == 5 and not sent:
                sent.append(os.kill(os.getpid(), signal.SIGINT))
            super().move(theta, g, moments, t, eta)

    Interrupting.__qualname__ = Interrupting.__name__ = "SGD"  # the run that goes on has the plain one
    Interrupting.__module__ = SGD.__module__
    net, twin, path = network(), network(), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(net, optimizer=Interrupting(0.1), checkpoint=path)
    train(net, optimizer=SGD(0.1), checkpoint=path)
    train(twin, optimizer=SGD(0.1))
    assert_same(net, twin)


KILLED = """
    import sys
    import numpy as np
    import elman
    rng = np.random.default_rng(0)
    x = [rng.standard_normal((n, 4)) for n in rng.integers(5, 30, 150)]
    y = [(part.cumsum(0)[:, 0] > 0).astype(int) for part in x]
    net = elman.Network([elman.GRU(4, 9, seed=1), elman.Dropout(0.2), elman.Dense(9, 2, seed=2)])
    checkpoint = None if sys.argv[1] == "none" else elman.Checkpoint(sys.argv[1], every=0.0)
    print("begins", flush=True)
    elman.fit(
        net, x, y, epochs=8, batch_size=4, optimizer=elman.Adam(0.01), truncate=9, checkpoint=checkpoint,
        log=None if checkpoint is None else sys.argv[1] + ".jsonl", progress=False,
    )
    net.save(sys.argv[2])
"""


def test_a_run_killed_at_random_moments_ends_with_the_same_weights(tmp_path):
    """Real processes, real SIGKILLs; every update is followed by a checkpoint, so that many fall into its writing."""
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(KILLED))

    def start(checkpoint, out):
        return subprocess.Popen([sys.executable, script, str(checkpoint), str(out)], stdout=subprocess.PIPE)

    with start("none", tmp_path / "whole") as process:
        assert process.wait() == 0
    rng = np.random.default_rng()
    kills = 0
    for _ in range(60):
        with start(tmp_path / "run", tmp_path / "killed") as process:
            assert process.stdout.readline() == b"begins\n"
            try:
                process.wait(timeout=rng.uniform(0.05, 0.4) if kills < 6 else None)
                break
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
    assert process.returncode == 0
    assert kills >= 2
    whole, killed = load_file(tmp_path / "whole"), load_file(tmp_path / "killed")
    assert whole.keys() == killed.keys()
    for name, array in whole.items():
        np.testing.assert_array_equal(array, killed[name], err_msg=name)
    lines = (tmp_path / "run.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(8))


def test_a_checkpoint_is_written_no_more_often_than_asked(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr("elman.training.checkpoints.replace", lambda path, content: written.append(time.monotonic()))
    train(network(), checkpoint=Checkpoint(tmp_path / "run", every=1000))
    assert len(written) == 1
    train(network(), checkpoint=Checkpoint(tmp_path / "run", every=0))
    assert len(written) > 20


# The log.


def test_the_log_is_written_as_the_run_goes(tmp_path, monkeypatch):
    log = tmp_path / "log.jsonl"
    log.write_text("an older run\n")
    seen = []
    measure = run_module.Run._validation_loss

    def count_lines(*args):
        seen.append(log.read_text().count("\n"))
        return measure(*args)

    monkeypatch.setattr(run_module.Run, "_validation_loss", count_lines)
    history = train(network(), log=log, patience=None)
    assert seen == [0, 1, 2, 3]
    assert_same_history(History.read(log), history)
    np.testing.assert_array_equal(History.read(log).seconds, history.seconds)
    with open(log, "a") as file:
        file.write('{"epoch": 4, "lo')  # a line that is still being written
    assert len(History.read(log)) == 4


def test_a_log_without_validation_has_none(tmp_path):
    history = train(network(), log=tmp_path / "log", patience=None, validation=None, epochs=2)
    assert history.validation_loss is None
    assert History.read(tmp_path / "log").validation_loss is None


def test_what_is_no_log_is_refused(tmp_path):
    (tmp_path / "log").write_text('{"epoch": 0, "loss": 1}\nnonsense\n')
    with pytest.raises(FormatError, match=r"must hold one epoch per line, as JSON\. Got line 2: Expecting value"):
        History.read(tmp_path / "log")


# What is refused: before any training, and nothing is written.


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_at(patch, 4)
        with pytest.raises(Stop):
            train(network(), checkpoint=Checkpoint(path, every=0))
    return path


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"batch_size": 4}, "batch_size"),
        ({"seed": 4}, "seed"),
        ({"truncate": 5, "accumulate": 1}, "truncate, accumulate"),
        ({"epochs": 5}, "epochs"),  # the learning rate follows them
        ({"optimizer": AdamW(CosineSchedule(0.02))}, "optimizer"),
        ({"optimizer": Adam(0.01)}, "optimizer"),
        ({"validation": (HELD[:-2], HELD[1:-1])}, "validation"),
        ({"sample_weight": np.arange(149.0)}, "data"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(checkpoint, options, names):
    net, content = network(), checkpoint.read_bytes()
    message = f"of a run that differs in {names}."
    with pytest.raises(ValueError, match=re.escape(message)):
        train(net, checkpoint=checkpoint, **options)
    assert_same(net, network())
    assert checkpoint.read_bytes() == content


def test_a_checkpoint_of_another_model_is_refused(checkpoint):
    net = Network([Embedding(7, 5, seed=0), GRU(5, 6, seed=1), Dense(6, 7, seed=2)])
    with pytest.raises(
        ValueError, match=r"must be of this run, or of none yet\. Got '.*run', of a run that differs in net"
    ):
        train(net, checkpoint=checkpoint)


def damaged(path, kind):
    content = path.read_bytes()
    if kind == "cut short":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "random":
        path.write_bytes(np.random.default_rng(1).bytes(2000))
    elif kind == "a network":
        network().save(path)
    else:
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            header = json.loads(file.metadata()["elman_checkpoint"])
        tensors = load_file(path)
        if kind == "a weight missing":
            del tensors["weights/1.Wx"]
        elif kind == "a weight of another shape":
            tensors["optimizer/m.1.Wx"] = np.zeros((2, 2), np.float32)
        elif kind == "no noise":
            del header["noise"]
        elif kind == "strange noise":
            header["noise"] = {"bit_generator": "os.system"}
        elif kind == "another version":
            header["version"] = 99
        elif kind == "a number that is none":
            header["numbers"]["epoch"] = "many"
        save_file(tensors, path, metadata={"elman_checkpoint": json.dumps(header)})


@pytest.mark.parametrize(
    "kind",
    [
        "cut short", "empty", "random", "a network", "a weight missing", "a weight of another shape", "no noise",
        "strange noise", "another version", "a number that is none",
    ],
)  # fmt: skip
def test_a_damaged_checkpoint_is_refused(checkpoint, kind):
    damaged(checkpoint, kind)
    net, content = network(), checkpoint.read_bytes()
    with pytest.raises(FormatError, match=r"checkpoint must be a whole checkpoint of elman\. Got '.*run': "):
        train(net, checkpoint=checkpoint)
    assert_same(net, network())
    assert checkpoint.read_bytes() == content


def test_paths_that_cannot_be_written_are_refused(tmp_path):
    net = network()
    for name in ("checkpoint", "log"):
        with pytest.raises(FileNotFoundError, match=f"{name} must lie in a folder that exists"):
            train(net, **{name: tmp_path / "none" / "file"})
        with pytest.raises(ValueError, match=f"{name} must be a file. Got '.*', a folder"):
            train(net, **{name: tmp_path})
    with pytest.raises(TypeError, match=r"checkpoint must be a path or a Checkpoint\. Got an int\."):
        train(net, checkpoint=3)
    with pytest.raises(ValueError, match=r"every must be a number from 0\. Got -1\."):
        Checkpoint("run", every=-1)
    assert_same(net, network())
    assert not any(tmp_path.iterdir())
