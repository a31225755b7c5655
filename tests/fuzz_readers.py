"""Broken files against every reader: ``make fuzz``, or ``python tests/fuzz_readers.py --seconds 600 --format keras``.

Whole files of every format are changed at random (`mutations.py`) and given to `elman.load`, `from_torch`,
`from_keras`, `from_onnx`, `from_rtneural` and `inspect`. Each must read a network, or refuse with a `FormatError`
that names the file, in bounded memory and time, and write nothing. What does otherwise is kept in a folder and makes
the exit code 1; `--replay FILE` runs such a file again. Each round runs in a process of its own, so that one that
crashes is seen. What was found is mended, and kept in `test_fuzz_findings.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import elman
from elman.interop import formats
from elman.interop.inspection import inspect
from mutations import mutated

MEMORY = 2**30  # bytes that a reader may take beside what the process has
SECONDS = 10  # that a reader may take for a file of some kilobytes
ROUND = 400  # files for each process


def networks() -> list[elman.Network]:
    """Small networks that have between them what the formats hold."""
    return [
        elman.Network([elman.LSTM(2, 3, seed=0), elman.GRU(3, 2, seed=1), elman.Dense(2, 1, "tanh", seed=2)]),
        elman.Network([elman.Embedding(5, 2, seed=0), elman.GRU(2, 3, bidirectional=True, seed=1), elman.LastStep()]),
        elman.Network([elman.Masking(), elman.LSTM(2, 2, dtype="float32", seed=3), elman.LayerNorm(2)]),
        elman.Network(
            [elman.RNN(2, 3, "relu", seed=0), elman.MaxOverTime(), elman.Dense(3, 2), elman.Activate("softmax")]
        ),
        elman.Network([elman.LSTM(2, 3, peepholes=True, clip=2.0, seed=1), elman.Dropout(0.5)]),
        elman.Network([elman.LSTM(2, 4, projection=3, learned_state=True, zoneout=0.1, seed=1)]),
        elman.Network({"a": (elman.GRU(2, 3, seed=0), "x"), "b": (elman.Concatenate(), "a", "x")}, outputs=("b", "a")),
        elman.Network(
            {
                "m": (elman.Bidirectional(elman.LSTM(2, 3, seed=0), elman.GRU(2, 3, seed=1), "mean"), "x"),
                "c": (elman.Attention(2, 3, units=2, kind="additive", seed=2), "x", "m"),
            }
        ),
        elman.Network(
            {
                "conv": (elman.Conv1d(2, 3, 2, padding="causal", seed=0), "x"),
                "norm": (elman.BatchNorm(3), "conv"),
                "pool": (elman.AveragePool1d(2, stride=1, padding="same"), "norm"),
                "first": (elman.LSTM(3, 3, seed=1), "pool"),
                "next": elman.Node(elman.LSTM(3, 3, seed=2), "conv", state="first"),
                "context": (elman.Attention(3, 3, scaled=False), "next", "first"),
                "sum": (elman.Add(), "context", "next"),
            }
        ),
        elman.Network([elman.Reverse(), elman.GRU(2, 3, reset_after=False, dtype="float64", seed=1)]),
    ]


def corpus(folder: Path, chosen: str | None) -> dict[str, list[bytes]]:
    """Ending -> whole files."""
    endings = {"elman": ".safetensors", "torch": ".state.safetensors", "keras": ".keras", "onnx": ".onnx"}
    endings |= {"rtneural": ".json"} | ({"pickle": ".pt"} if find_spec("torch") else {})
    files: dict[str, list[bytes]] = {}
    for name, ending in endings.items():
        if chosen not in (None, name):
            continue
        for net in networks():
            path = folder / f"net{ending}"
            try:
                formats.write(net, path, "torch" if name == "pickle" else name)
            except elman.FormatError:
                continue  # the format cannot hold it
            files.setdefault(ending, []).append(path.read_bytes())
            path.unlink()
    for ending, content in captures() if chosen in (None, "rtneural") else ():
        files.setdefault(ending, []).append(content)
    for path in sorted(Path(__file__).parent.glob("golden/**/*")):
        known = {".h5": "keras", ".keras": "keras", ".onnx": "onnx"}.get(path.suffix)
        known = "elman" if path.match("estimators/*/*.safetensors") and find_spec("sklearn") else known
        if known and chosen in (None, known) and path.stat().st_size < 2**17:
            files.setdefault(path.suffix, []).append(path.read_bytes())
    return files


def captures() -> list[tuple[str, bytes]]:
    """Files of GuitarML, AIDA-X and Neural Amp Modeler, and a state_dict, in JSON; each with its ending."""
    from test_audio_captures import conv1d, guitarml, nam

    rng = np.random.default_rng(0)
    amp = guitarml(rng, "GRU", inputs=2)
    around = {"in_skip": 1, "in_gain": 3.0, "out_gain": -6.0, "metadata": {}}
    models = [amp, guitarml(rng, depth=2, skip=0), {"net": amp["state_dict"], "epoch": 3}, conv1d(rng) | around]
    found = [(".json", json.dumps(model).encode()) for model in models]
    return [*found, (".nam", json.dumps(nam(rng, depth=2)).encode())]


def onnx_cases() -> list[bytes]:
    """The models of ONNX's own tests of the recurrent operators, with their weights in them, and graphs."""
    from onnx import numpy_helper
    from onnx.backend.test.case.node import collect_testcases

    found = []
    for case in (case for op in ("RNN", "GRU", "LSTM") for case in collect_testcases(op)):
        graph, (arrays, _) = case.model.graph, case.data_sets[0]
        for port, array in list(zip(graph.input, arrays, strict=False))[1:]:
            graph.initializer.append(numpy_helper.from_array(array, port.name))
        del graph.input[1:]
        found.append(case.model.SerializeToString())
    from test_onnx_random_graphs import Drawn, detector

    found += [Drawn(seed).grow(9).SerializeToString() for seed in range(12)] + [detector(True).SerializeToString()]
    return found


def readers(path: Path) -> list[tuple[str, Any]]:
    """What may be given the file: `inspect`, the reader that its content tells, and the reader of its name."""
    by_name = next((form for form in formats.FORMATS.values() if path.name.endswith(form.endings)), None)
    found = [("inspect", lambda: repr(inspect(path))), ("read", lambda: runs(formats.read(path)))]
    if path.name.endswith(".state.safetensors"):
        by_name = formats.FORMATS["torch"]
    if by_name is not None and by_name.read is not None:
        found.append((by_name.name, lambda: by_name.read(path)))
    return found


def runs(found: Any) -> None:
    """What is read computes, or says why not: a step that is masked, layers over time after a pool."""
    net = found if isinstance(found, elman.Network) else found.network_
    if (net.input_size or 0) > 1000 or any(getattr(layer, "count", 0) > 1000 for layer in net.layers):
        return
    x = np.zeros((1, 3), int) if net.takes_tokens else np.ones((1, 3, net.input_size or 2))
    with np.errstate(all="ignore"), contextlib.suppress(ValueError):
        net(x if len(net.inputs) == 1 else dict.fromkeys(net.inputs, x))


def failure(path: Path) -> str | None:
    """What a reader did with the file that it must not, or None."""
    for name, call in readers(path):
        signal.alarm(SECONDS)
        try:
            call()
        except (elman.FormatError, FileNotFoundError, elman.MissingExtraError) as error:
            if isinstance(error, elman.FormatError) and path.name not in str(error) and name != "inspect":
                return f"{name}: a FormatError that does not name the file: {error}"
        except BaseException as error:
            last = next((f for f in reversed(traceback.extract_tb(error.__traceback__)) if "elman" in f.filename), None)
            where = f" at {Path(last.filename).name}:{last.lineno}" if last else ""
            return f"{name}: {type(error).__name__}{where}: {str(error)[:300]}"
        finally:
            signal.alarm(0)
    written = sorted(other.name for other in path.parent.iterdir() if other != path)
    return f"written: {written}" if written else None


class TooLongError(Exception):
    """A reader took more than its time."""


def limited() -> None:
    """Bounds the memory of this process, and makes the alarm an error."""

    def ring(number: int, frame: Any) -> None:
        raise TooLongError

    signal.signal(signal.SIGALRM, ring)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", ".*masked steps must stand last")


def one_round(files: dict[str, list[bytes]], seed: int, until: float, work: Path, keep: Path) -> None:
    """Runs in a process of its own: what is found is written into `keep`, each kind once."""
    limited()
    rng = random.Random(seed)
    os.chdir(work)
    seen = {path.name.split("-")[0] for path in keep.iterdir()}
    everything = [content for contents in files.values() for content in contents]
    for i in range(ROUND):
        if time.monotonic() > until:
            return
        ending = rng.choice(list(files))
        case = mutated(Path(f"x{ending}").suffix, rng.choice(files[ending]), rng, everything)
        path = work / f"net{ending}"
        path.write_bytes(case)
        problem = failure(path)
        if problem is not None:
            kind = "".join(c if c.isalnum() else "_" for c in problem.split(": ")[1][:60])
            if kind not in seen:
                seen.add(kind)
                (keep / f"{kind}-{seed}-{i}{ending}").write_bytes(case)
                print(f"seed {seed}, file {i}{ending}: {problem}", flush=True)
        path.unlink()


def fuzz(seconds: float, seed: int, chosen: str | None, keep: Path) -> int:
    """Rounds until the time is over; how many kinds of findings there are."""
    keep.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + seconds
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        files = corpus(work, chosen)
        if ".onnx" in files:
            with warnings.catch_warnings(action="ignore"):
                files[".onnx"] += onnx_cases()
        import_peers(files)
        while time.monotonic() < until:
            child = os.fork()
            if child == 0:
                try:
                    one_round(files, seed, until, work, keep)
                except BaseException:
                    traceback.print_exc()
                    os._exit(3)
                os._exit(0)
            code = ended(child, work)
            if code == 3:
                raise SystemExit("the program itself failed, see above")
            counts["rounds"] += 1
            for left in work.iterdir():  # the file at which the process died
                print(f"seed {seed}: the process ended with {code} at {left.name}", flush=True)
                left.rename(keep / f"crash{code}-{seed}{''.join(left.suffixes)}")
            seed += 1
    found = sorted(path.name for path in keep.iterdir())
    print(f"{counts['rounds']} rounds of up to {ROUND} files; {len(found)} findings in {keep}")
    return len(found)


def ended(child: int, work: Path) -> int:
    """The exit code of a process; one that stands still in compiled code, where no alarm reaches it, is killed."""
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        with contextlib.suppress(FileNotFoundError):
            if any(time.time() - path.stat().st_mtime > 4 * SECONDS for path in work.iterdir()):
                os.kill(child, signal.SIGKILL)
        time.sleep(0.1)


def import_peers(files: dict[str, list[bytes]]) -> None:
    """Loads what the readers need before memory and time are bounded."""
    import h5py  # noqa: F401
    import onnx  # noqa: F401

    if ".pt" in files:
        import torch

        torch.set_num_threads(1)
    if ".safetensors" in files and find_spec("sklearn"):
        import elman.estimators.extra  # noqa: F401


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--format", choices=["elman", "torch", "pickle", "keras", "onnx", "rtneural"])
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--replay", type=Path, nargs="+")
    arguments = parser.parse_args()
    if arguments.replay:
        limited()
        for path in arguments.replay:
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(folder) / f"net{''.join(path.suffixes)}"
                copy.write_bytes(path.read_bytes())
                print(f"{path.name}: {failure(copy) or 'as it must'}")
        return
    sys.exit(1 if fuzz(arguments.seconds, arguments.seed, arguments.format, arguments.keep.resolve()) else 0)


if __name__ == "__main__":
    main()
