"""Processes that are killed while they train, save, convert and export; what they leave is read and counted.

``python tests/kills.py 200`` kills each of them so often, at random moments and at every step that the system sees, and
prints a table. `tests/test_kills.py` runs a dozen of each.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import elman
from elman.files import read_safetensors

Content = dict[str, bytes]
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
#: What the system is asked while a file is written; a process dies before or after one such call.
STEPS = ("open", "stat", "chmod", "fsync", "replace", "unlink", "listdir", "mkdir")


class Task:
    """What is killed: it writes version k of some files over version k - 1 in the current folder."""

    names: tuple[str, ...]  #: of the files

    def __init__(self) -> None:
        self.nets = [elman.Network([elman.GRU(24, 40 + k, seed=k), elman.Dense(40 + k, 9, seed=k)]) for k in range(2)]
        self.contents: list[Content] = []

    def write(self, version: int) -> None:
        raise NotImplementedError

    def prepare(self) -> None:
        """Writes both versions once, to know them."""
        for version in range(2):
            self.write(version)
            self.contents.append(self.found())

    def found(self) -> Content:
        return {name: Path(name).read_bytes() for name in self.names if os.path.exists(name)}

    def check(self) -> None:
        """After a kill: the files are those of the one version or of the other."""
        assert self.found() in self.contents


class Saving(Task):
    names = ("net.safetensors",)

    def write(self, version: int) -> None:
        self.nets[version].save("net.safetensors")

    def check(self) -> None:
        super().check()
        elman.load("net.safetensors")


class Onnx(Task):
    names = ("net.onnx",)

    def write(self, version: int) -> None:
        elman.to_onnx(self.nets[version], "net.onnx")


class Keras(Task):
    names = ("net.keras",)

    def write(self, version: int) -> None:
        elman.to_keras(self.nets[version], "net.keras")


class RTNeural(Task):
    names = ("net.json",)

    def write(self, version: int) -> None:
        elman.to_rtneural(self.nets[version], "net.json")


class C(Task):
    names = ("net.c", "net.h")

    def write(self, version: int) -> None:
        elman.to_c(self.nets[version], "net.c")

    def check(self) -> None:
        found = self.found()
        assert set(found) == set(self.names)
        for name in self.names:
            assert found[name] in [content[name] for content in self.contents]
        if found not in self.contents:  # the source is of one network, the header of the other
            numbers = [re.search(rb"_NETWORK (?:!= )?(0x[0-9a-f]+)", found[name]) for name in self.names]
            assert len({number[1] for number in numbers if number}) == 2
            if COMPILER is not None:
                command = [COMPILER, "-std=c99", "-fsyntax-only", "net.c"]
                result = subprocess.run(command, capture_output=True, text=True, check=False)
                assert "#error" in result.stderr


class Converting(Task):
    names = ("net.json",)

    def prepare(self) -> None:
        for version, net in enumerate(self.nets):
            os.makedirs("../sources", exist_ok=True)
            net.save(f"../sources/{version}.safetensors")
        super().prepare()

    def write(self, version: int) -> None:
        elman.convert(f"../sources/{version}.safetensors", self.names[0])


class ConvertingToC(Converting, C):
    names = ("net.c", "net.h")


class Training(Task):
    """A run with a checkpoint after each update, and a log."""

    names = ("run.safetensors", "run.jsonl")

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal((24, 6, 2))
        self.y = self.x.cumsum(axis=1)[..., :1]
        self.place: tuple[int, ...] = ()  # epoch and update of the last checkpoint that was seen
        self.kills = 0

    def prepare(self) -> None:
        self.write(0, checkpoint=False)
        self.whole = self.weights
        self.write(0)
        assert self.weights == self.whole
        os.unlink("run.safetensors")

    def write(self, version: int, checkpoint: bool = True) -> None:
        net = elman.Network([elman.GRU(2, 6, seed=1), elman.Dropout(0.2), elman.Dense(6, 1, seed=2)])
        options = {"checkpoint": elman.Checkpoint("run.safetensors", every=0), "log": "run.jsonl"} if checkpoint else {}
        elman.fit(net, self.x, self.y, "squared_error", epochs=3, batch_size=4, progress=False, **options)
        self.weights = {name: array.tobytes() for name, array in net.parameters.items()}

    def check(self) -> None:
        """The checkpoint, once there, stays and never goes back; every third kill the run goes on to its end.

        It then has the weights of a run that was never stopped, and begins anew.
        """
        if self.place or os.path.exists("run.safetensors"):
            _, texts = read_safetensors(Path("run.safetensors").read_bytes())
            numbers = json.loads(texts["elman_checkpoint"])["numbers"]
            assert self.place <= (numbers["epoch"], numbers["update"])
            self.place = (numbers["epoch"], numbers["update"])
        self.kills += 1
        if self.kills % 3 == 0:
            self.write(0)
            assert self.weights == self.whole
            assert sorted(os.listdir()) == sorted(self.names)
            assert len(elman.History.read("run.jsonl")) == 3
            os.unlink("run.safetensors")
            self.place = ()


TASKS: dict[str, Callable[[], Task]] = {
    "saving": Saving, "training": Training, "to_c": C, "to_onnx": Onnx, "to_keras": Keras, "to_rtneural": RTNeural,
    "converting to RTNeural": Converting, "converting to C": ConvertingToC,
}  # fmt: skip


def die_at(count: int, step: str, after: bool) -> None:
    """Makes the process die at the call of that number of a function of the system."""
    real, calls = getattr(os, step), []

    def dies(*args: object, **options: object) -> object:
        calls.append(step)
        if len(calls) < count:
            return real(*args, **options)
        if after:
            real(*args, **options)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    setattr(os, step, dies)


Step = tuple[int, str, bool]


def fork(work: Callable[[], None]) -> int:
    """Runs `work` in a process of its own."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def campaign(name: str, kills: int, seed: int) -> dict[str, int]:
    """Kills a task so often; raises AssertionError where anything is lost, torn or left lying. In an own folder."""
    task, rng = TASKS[name](), np.random.default_rng(seed)
    task.prepare()
    begin = time.perf_counter()
    task.write(0)
    lasts = time.perf_counter() - begin
    counts = {"at random moments": 0, "at a step": 0, "of them with litter": 0}
    names = sorted(os.listdir())
    version = 0
    while counts["at random moments"] + counts["at a step"] < kills:
        version = 1 - version
        kind = "at a step" if rng.integers(2) else "at random moments"
        step = (int(rng.integers(1, 4)), str(rng.choice(STEPS)), bool(rng.integers(2)))

        def work(version: int = version, at_step: bool = kind == "at a step", step: Step = step) -> None:
            if at_step:
                die_at(*step)
            task.write(version)

        pid = fork(work)
        if kind == "at random moments":
            time.sleep(rng.uniform(0, 1.3 * lasts))
            os.kill(pid, signal.SIGKILL)
        if not os.WIFSIGNALED(os.waitpid(pid, 0)[1]):
            continue  # it had ended before
        counts[kind] += 1
        counts["of them with litter"] += any(entry.startswith(".") for entry in os.listdir())
        task.check()
        if not isinstance(task, Training):
            task.write(version)  # the next call
            assert sorted(os.listdir()) == names
            assert task.found() == task.contents[version]
    return counts


def main(kills: int) -> None:
    home = os.getcwd()
    for seed, name in enumerate(TASKS):
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(f"{folder}/work")
            os.chdir(f"{folder}/work")
            begin = time.perf_counter()
            counts = campaign(name, kills, seed)
            os.chdir(home)
        told = ", ".join(f"{count} {what}" for what, count in counts.items())
        print(f"{name:24} {told}; nothing lost, torn or left, {time.perf_counter() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
