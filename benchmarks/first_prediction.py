"""Rows of the first prediction: a new process imports a library, loads a saved network and predicts once.

The time is that of the whole process, from its start to its end, interpreter and NumPy among it. Every contestant reads
the same network in its own file, and prints what it predicts, which is compared first.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import elman
from elman import to_onnx
from elman.interop import to_arrays

INPUTS, HIDDEN, OUTPUTS, TIME = 64, 128, 10, 100
NAME = f"first prediction, LSTM + Dense, I {INPUTS} H {HIDDEN} B 1 T {TIME}"
ROUNDS = 9

START = """
import sys
import numpy as np
x = np.load("x.npy")
"""
END = """
print(y.ravel().tolist())
"""
ELMAN = """
import elman
y, _ = elman.load("net.safetensors")(x)
"""
ELMAN_FROM_ONNX = """
from elman import from_onnx
y, _ = from_onnx("net.onnx")(x)
"""
TORCH = f"""
import torch
torch.set_num_threads(1)
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM({INPUTS}, {HIDDEN}, batch_first=True)
        self.dense = torch.nn.Linear({HIDDEN}, {OUTPUTS})
    def forward(self, x):
        return self.dense(self.lstm(x)[0])
net = Net()
net.load_state_dict(torch.load("net.pt", weights_only=True))
net.eval()
with torch.inference_mode():
    y = net(torch.from_numpy(x)).numpy()
"""
ONNX_RUNTIME = """
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession("net.onnx", options, providers=["CPUExecutionProvider"])
(y,) = session.run(None, {"x": x})
"""

#: Ours, the peer beside it, and the goal, as in `cases.CASES`.
ROWS = (
    (NAME, "elman", "PyTorch", 8),
    (NAME, "elman", "ONNX Runtime", 1),
    (f"{NAME}, ONNX file", "elman from ONNX", "ONNX Runtime", 1),
)


def rows(only: str) -> list[dict[str, Any]]:
    """The rows whose name holds `only`, for the peers that are installed."""
    wanted = [row for row in ROWS if only in row[0]]
    with tempfile.TemporaryDirectory() as folder:
        codes = _contestants(Path(folder)) if wanted else {}
        wanted = [row for row in wanted if row[1] in codes and row[2] in codes]
        raced = {name: code for name, code in codes.items() if any(name in row for row in wanted)}
        times = _race(raced, folder)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    found = []
    for name, mine, peer, goal in wanted:
        ratio = medians[peer] / medians[mine]
        print(f"{name:<58}{medians[mine] * 1e3:>8.1f} ms  {peer:<14}{ratio:>7.2f}{goal:>7}", flush=True)
        seconds = {"elman": medians[mine], peer: medians[peer]}
        spread = {"elman": _spread(times[mine]), peer: _spread(times[peer])}
        found.append(
            {"name": name, "goal": goal, "seconds": seconds, "spread": spread, "fastest": peer, "ratio": ratio}
        )
    return found


def _contestants(folder: Path) -> dict[str, str]:
    """What each runs, and its files."""
    lstm, dense = elman.LSTM(INPUTS, HIDDEN, seed=0), elman.Dense(HIDDEN, OUTPUTS, seed=1)
    net = elman.Network([lstm, dense])
    np.save(folder / "x.npy", np.random.default_rng(0).standard_normal((1, TIME, INPUTS)).astype(np.float32))
    net.save(folder / "net.safetensors")
    codes = {"elman": ELMAN}
    if find_spec("torch"):
        import torch

        arrays = {f"lstm.{name}": array for name, array in to_arrays(lstm, "pytorch").items()}
        arrays |= {"dense.weight": dense.W.T, "dense.bias": dense.b}
        torch.save({name: torch.tensor(array) for name, array in arrays.items()}, folder / "net.pt")
        codes["PyTorch"] = TORCH
    if find_spec("onnx") and find_spec("onnxruntime"):
        to_onnx(net, folder / "net.onnx")
        codes |= {"ONNX Runtime": ONNX_RUNTIME, "elman from ONNX": ELMAN_FROM_ONNX}
    return codes


def _race(codes: dict[str, str], folder: str) -> dict[str, list[float]]:
    """Seconds of each process, in turns; one round before the clock counts brings the files into memory."""
    times: dict[str, list[float]] = {name: [] for name in codes}
    for i in range(ROUNDS + 1):
        results = {}
        for name, code in codes.items():
            start = time.perf_counter()
            command = [sys.executable, "-c", START + code + END]
            out = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
            times[name].append(time.perf_counter() - start)
            results[name] = np.array(json.loads(out))
        if i == 0:
            _agree(results)
    return {name: taken[1:] for name, taken in times.items()}


def _agree(results: dict[str, np.ndarray]) -> None:
    want = next(iter(results.values()), None)
    for name, y in results.items():
        if not np.abs(y - want).max() < 1e-5:
            raise SystemExit(f"{name} must compute what the others do: y of {NAME} differs.")


def _spread(times: list[float]) -> list[float]:
    quartiles = statistics.quantiles(times, n=4)
    return [quartiles[0], quartiles[2]]
