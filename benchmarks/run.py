"""Measures elman beside the peers that are installed: prints a table of ratios, writes JSON and a plot.

Every row first checks that both sides computed the same numbers, then times ours and theirs in turns, in one process
on one core; medians, with the middle half as spread. A ratio is the peer's time over ours.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import first_prediction
import numpy as np
import processes
from cases import CASES, STEP_AGAINST_TORCH, Case
from contestants import PEERS, Task, ours

import elman

# One thread for everybody; read when the libraries are loaded, so the runner starts itself again with them.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}
SECONDS = 1.2  # about as long a row takes for each contestant
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each contestant of a row")
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ONE_THREAD})
    peers = [name for name in PEERS if _installed(name)]
    print(_machine(peers))
    peak = _peak()
    print(f"Largest matrix product on one core: {peak:.0f} GFLOP/s in float32 (NumPy or PyTorch, 1024 x 1024).\n")
    print(f"{'':<58}{'ours':>11}  {'fastest peer':<14}{'ratio':>7}{'goal':>7}  {'GFLOP/s':>8}  others")
    rows = [_row(case, peers, options.seconds, peak) for case in CASES if options.only in case.name]
    rows += [
        row for row in (_two_threads(options.only, options.seconds), _denormals(options.only, options.seconds)) if row
    ]
    rows += processes.rows(options.only)
    rows += first_prediction.rows(options.only)
    options.folder.mkdir(parents=True, exist_ok=True)
    result = {"machine": _machine(peers), "peak": peak, "rows": rows}
    (options.folder / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    plot(rows, options.folder / "ratios.png")
    missed = [row["name"] for row in rows if row.get("ratio") and row["ratio"] < row["goal"]]
    print(f"\n{len(rows) - len(missed)} of {len(rows)} goals reached.", "Missed: " * bool(missed) + "; ".join(missed))
    print(f"Written: {options.folder / 'results.json'}, {options.folder / 'ratios.png'}")


def _row(case: Case, peers: list[str], seconds: float, peak: float) -> dict[str, Any]:
    _set_cores(case.threads)
    task = Task(case)
    contestants = {"elman": ours(task)}
    for name in peers:
        work = PEERS[name](task)
        if work is not None:
            contestants[name] = work
    _agree(case, contestants)
    times = _times(contestants, seconds)
    medians = {name: statistics.median(t) for name, t in times.items()}
    fastest = min((n for n in medians if n != "elman"), key=medians.__getitem__, default=None)
    mine = medians["elman"]
    row: dict[str, Any] = {"name": case.name, "goal": case.goal, "seconds": medians}
    row["spread"] = {name: _spread(t) for name, t in times.items()}
    row["gflops"] = case.flops / mine / 1e9
    row["share_of_peak"] = row["gflops"] / peak
    if fastest:
        row |= {"fastest": fastest, "ratio": medians[fastest] / mine}
    goals = (
        []
        if case.work != "step" or "PyTorch" not in medians
        else [f"PyTorch {medians['PyTorch'] / mine:.1f} (goal {STEP_AGAINST_TORCH[case.hidden]})"]
    )
    others = goals + [
        f"{n} {medians[n] / mine:.1f}" for n in medians if n not in ("elman", fastest, "PyTorch" if goals else "")
    ]
    print(
        f"{case.name:<58}{_write(mine):>11}  {fastest or '-':<14}{row.get('ratio', float('nan')):>7.2f}{case.goal:>7}"
        f"  {row['gflops']:>8.1f}  {', '.join(others)}",
        flush=True,
    )
    return row


def _two_threads(only: str, seconds: float) -> dict[str, Any] | None:
    """The same training step on one thread and on two."""
    case = Case("train", 64, 128, 32, 100, 1.7, threads=2)
    if only not in case.name or len(CORES) < 2:
        return None
    _set_cores(2)
    work = ours(Task(case))

    def on(threads: int) -> Any:
        def run() -> dict[str, np.ndarray]:
            elman.set_threads(threads)
            return work()

        return run

    contestants = {"elman": on(2), "one thread": on(1)}
    _agree(case, contestants)
    return _own_row(case.name, contestants, "one thread", case.goal, seconds)


def _denormals(only: str, seconds: float) -> dict[str, Any] | None:
    """States that fade below the smallest normal number, beside states of ordinary size: no slower."""
    name = "sequence LSTM, fading states, I 8 H 32 B 32 T 100"
    if only not in name:
        return None
    _set_cores(1)
    layer = elman.LSTM(8, 32, seed=0)
    x = np.zeros((32, 100, 8), np.float32)
    faint, plain = (tuple(np.full((32, 32), size, np.float32) for _ in "hc") for size in (1e-36, 0.1))
    contestants = {"elman": lambda: {"y": layer(x, faint)[0]}, "ordinary states": lambda: {"y": layer(x, plain)[0]}}
    return _own_row(name, contestants, "ordinary states", 0.95, seconds)


def _own_row(name: str, contestants: dict[str, Any], other: str, goal: float, seconds: float) -> dict[str, Any]:
    times = _times(contestants, seconds)
    medians = {n: statistics.median(t) for n, t in times.items()}
    ratio = medians[other] / medians["elman"]
    print(f"{name:<58}{_write(medians['elman']):>11}  {other:<14}{ratio:>7.2f}{goal:>7}", flush=True)
    spread = {n: _spread(t) for n, t in times.items()}
    return {"name": name, "goal": goal, "seconds": medians, "spread": spread, "fastest": other, "ratio": ratio}


def _times(contestants: dict[str, Any], seconds: float) -> dict[str, list[float]]:
    """Seconds a call, ours and theirs in turns; short calls are timed several at once."""
    repeats = {}
    for name, work in contestants.items():
        for _ in range(3):
            work()
        start = time.perf_counter()
        work()
        repeats[name] = max(1, int(2e-3 / (time.perf_counter() - start)))
    times: dict[str, list[float]] = {name: [] for name in contestants}
    end = time.perf_counter() + seconds * len(contestants)
    turns = list(contestants.items())
    while time.perf_counter() < end or len(times["elman"]) < 5:
        turns = turns[1:] + turns[:1]  # each comes behind each other: what one leaves in the caches hits all alike
        for name, work in turns:
            start = time.perf_counter()
            for _ in range(repeats[name]):
                work()
            times[name].append((time.perf_counter() - start) / repeats[name])
    return times


def _agree(case: Case, contestants: dict[str, Any]) -> None:
    """Stops where a contestant computes other numbers than we do."""
    results = {name: work() for name, work in contestants.items()}
    tolerance = 1e-9 if case.dtype == "float64" else 2e-4
    for name, arrays in results.items():
        for key, array in arrays.items():
            want = results["elman"][key]
            error = np.abs(array - want).max() / np.abs(want).max()
            if not error < tolerance:
                raise SystemExit(f"{name} must compute what elman does: {key} of {case.name} differs by {error:.2g}.")


def _set_cores(threads: int) -> None:
    elman.set_threads(threads)
    if CORES:
        os.sched_setaffinity(0, CORES[:threads])


def _peak() -> float:
    """GFLOP/s of the best large product that NumPy or PyTorch reaches on one core."""
    _set_cores(1)
    a = np.random.default_rng(0).standard_normal((1024, 1024)).astype(np.float32)
    products = [lambda: a @ a]
    if _installed("PyTorch"):
        import torch

        torch.set_num_threads(1)
        t = torch.from_numpy(a)
        products.append(lambda: t @ t)
    best = min(min(_times({"elman": product}, 0.5)["elman"]) for product in products)
    return 2 * 1024**3 / best / 1e9


def _installed(peer: str) -> bool:
    package = {"ONNX Runtime": "onnxruntime", "JAX": "jax", "NumPy": "numpy"}.get(peer, "torch")
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _machine(peers: list[str]) -> str:
    names = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "jax": "JAX"}
    versions = [f"{n} {version(p)}" for p, n in names.items() if n in peers]
    info = Path("/proc/cpuinfo")
    models = [line for line in info.read_text().splitlines() if "model name" in line] if info.exists() else []
    processor = models[0].split(":")[1].strip() if models else platform.processor()
    return (
        f"{processor}; Python {platform.python_version()}, NumPy {np.__version__}, {', '.join(versions)}; "
        f"elman {elman.__version__}: {elman.backend()}"
    )


def _spread(times: list[float]) -> list[float]:
    quartiles = statistics.quantiles(times, n=4) if len(times) > 1 else times * 3
    return [quartiles[0], quartiles[2]]


def _write(seconds: float) -> str:
    return f"{seconds * 1e6:.2f} us" if seconds < 1e-4 else f"{seconds * 1e3:.2f} ms"


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Ratios as bars, the goal of each as a mark."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    rows = [row for row in rows if row.get("ratio")]
    figure = Figure(figsize=(9, 0.32 * len(rows) + 1.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(rows))[::-1]
    colors = ["tab:blue" if row["ratio"] >= row["goal"] else "tab:red" for row in rows]
    axes.barh(places, [row["ratio"] for row in rows], color=colors, height=0.7)
    axes.plot([row["goal"] for row in rows], places, "|", color="black", markersize=12, label="goal")
    axes.axvline(1, color="gray", linewidth=0.8)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([1, 2, 5, 10, 20]))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_yticks(places, [f"{row['name']}  (vs {row['fastest']})" for row in rows], fontsize=8)
    axes.set_xlabel("the fastest peer's time / elman's time")
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


if __name__ == "__main__":
    sys.exit(main())
