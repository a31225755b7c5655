"""Rows measured in processes of their own: what an import costs, what a training step takes of memory."""

from __future__ import annotations

import statistics
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

IMPORT = "import time, numpy; t = time.perf_counter(); import elman; print(time.perf_counter() - t)"

# Linux can set the high-water mark of memory back, so that only the step counts.
MEMORY = """
import numpy as np
x = np.ones((64, 50, 256), np.float32); dy = np.ones((64, 50, 512), np.float32)
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
{setup}
step(x[:1, :2], dy[:1, :2])
open("/proc/self/clear_refs", "w").write("5")
before = peak(); step(x, dy); print(peak() - before)
"""
OURS = """
import elman
layer = elman.LSTM(256, 512, seed=0)
def step(x, dy):
    y, _, tape = layer.forward(x)
    return y, layer.backward(tape, dy)
"""
TORCH = """
import torch
torch.set_num_threads(1)
net = torch.nn.LSTM(256, 512, batch_first=True)
def step(x, dy):
    x = torch.from_numpy(x).requires_grad_(True)
    y, _ = net(x)
    y.backward(torch.from_numpy(dy))
"""


def rows(only: str) -> list[dict[str, Any]]:
    """Import time beside NumPy's, and memory beside PyTorch's where it is installed."""
    found = []
    if only in "import elman":
        seconds = statistics.median(_run(IMPORT) for _ in range(9))
        print(f"{'import elman, after NumPy':<58}{seconds * 1e3:>8.1f} ms  goal: at most 40 ms")
        found.append({"name": "import elman, after NumPy", "seconds": {"elman": seconds}, "limit": 0.040})
    if only in "memory of a training step" and sys.platform == "linux" and find_spec("torch"):
        mine = statistics.median(_run(MEMORY.format(setup=OURS)) for _ in range(3))
        theirs = statistics.median(_run(MEMORY.format(setup=TORCH)) for _ in range(3))
        name = "memory of a training step, I 256 H 512 B 64 T 50"
        print(f"{name:<58}{mine:>8.1f} MB  PyTorch {theirs:.1f} MB, goal: at most that")
        found.append(
            {
                "name": name,
                "megabytes": {"elman": mine, "PyTorch": theirs},
                "goal": 1,
                "ratio": theirs / mine,
                "fastest": "PyTorch",
            }
        )
    return found


def _run(code: str) -> float:
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
