"""``elman doctor``: what runs here, in which versions, and whether it computes what the equations say.

It needs no extra, so that it can say which are missing.
"""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from collections.abc import Iterator
from importlib import metadata

import numpy as np

from elman import engine, kernels
from elman.cells import CELLS, Cell, unroll
from elman.layers import LSTM, Layer
from elman.network import Network

#: How far the kernels may be from the equations, on numbers of about 1.
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def print_report() -> None:
    """Prints the report; the exit code is 1 where the self-test failed."""
    report, passed = examine()
    try:
        print(report, flush=True)
    except BrokenPipeError:  # whoever read it has read enough; what is left goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(0 if passed else 1)


def examine() -> tuple[str, bool]:
    """The report, and whether the self-test passed; takes about a second."""
    start = time.perf_counter()
    passed, test = _self_test()
    rows = [
        ("runs on", engine.backend() if kernels.native is None else f"{engine.backend()}{_chosen_by()}"),
        ("threads", f"{engine.get_threads()} of {os.cpu_count()} processors"),
        ("Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}"),
        *((name, version(name) or "missing") for name in ("numpy", "safetensors")),
        *_extras(),
        ("self-test", f"{'passed' if passed else 'FAILED'}: {test}"),
        ("one step", f"{_step_time() * 1e6:.2f} microseconds for an LSTM of 8 features and 32 units"),
        ("this report", f"{time.perf_counter() - start:.2f} seconds"),
    ]
    lines = [f"elman {version('elman') or '(not installed)'}", *(f"  {name:<12} {text}" for name, text in rows)]
    if kernels.native is None:
        lines.append(engine.WITHOUT_KERNELS)
    return "\n".join(lines), passed


def _chosen_by() -> str:
    """Why this instruction set, or these equations, and which others there are."""
    for variable in ("ELMAN_PLAIN", "ELMAN_ISA"):
        if os.environ.get(variable, "") not in ("", "0"):
            return f", chosen by {variable}={os.environ[variable]}"
    return f", the best of {', '.join(kernels.native.isas)}"


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _extras() -> Iterator[tuple[str, str]]:
    """Each extra with the versions of its packages, or with the command that installs it."""
    needed: dict[str, list[str]] = {}
    for requirement in (metadata.requires("elman") or []) if version("elman") else []:
        found = re.match(r"([\w.-]+).*extra == ['\"](\w+)['\"]", requirement)
        if found and found[2] != "all":
            needed.setdefault(found[2], []).append(found[1])
    for extra, packages in sorted(needed.items()):
        versions = [(package, version(package)) for package in packages]
        if all(version for _, version in versions):
            yield f"[{extra}]", ", ".join(f"{package} {version}" for package, version in versions)
        else:
            yield f"[{extra}]", f'missing: pip install "elman[{extra}]"'


def _self_test() -> tuple[bool, str]:
    """Whether the numbers are right here, and how right."""
    differences = {dtype: _largest_difference(dtype) for dtype in TOLERANCE}
    passed = all(difference <= TOLERANCE[dtype] for dtype, difference in differences.items())
    test = " and ".join(f"{difference:.1e} in {dtype}" for dtype, difference in differences.items())
    same = all(_stream_is_whole(LSTM(5, 19, dtype=dtype, seed=0)) for dtype in TOLERANCE)
    streams = "the same bits" if same else "other numbers"
    return passed and same, f"{test} at most from the equations; streams give {streams} as whole sequences"


def _stream_is_whole(layer: Layer) -> bool:
    net = Network([layer])
    x = np.random.default_rng(0).uniform(-1, 1, (9, 5)).astype(layer.dtype)
    stream = net.stream()
    return np.array_equal([stream.step(row) for row in x], net(x)[0])


def _largest_difference(dtype: str) -> float:
    """Between what runs the built-in cells here and the plain equations: outputs, states and all gradients."""
    return max(
        float(np.abs(np.subtract(a, b, dtype=np.float64)).max())
        for cell in (make() for make in CELLS.values())
        for a, b in zip(_results(cell, dtype, plain=False), _results(cell, dtype, plain=True), strict=True)
    )


def _results(cell: Cell, dtype: str, plain: bool) -> list[np.ndarray]:
    """Everything that a ragged batch gives, forward and backward."""
    rng = np.random.default_rng(0)
    lengths, inputs, hidden = np.array([7, 3, 5]), 5, 19

    def draw(*shape: int) -> np.ndarray:
        return rng.uniform(-0.5, 0.5, shape).astype(dtype)

    weights = tuple(draw(*shape) for shape in cell.shapes(inputs, hidden).values())
    state = tuple(draw(len(lengths), width) for width in cell.widths(hidden))
    x, dy, out = draw(lengths.sum(), inputs), draw(lengths.sum(), hidden), np.empty((lengths.sum(), hidden), dtype)
    if plain:
        end, tape = unroll.unroll(cell, weights, x, lengths, state, out)
        assert tape is not None
        dx, dstate, dweights = unroll.unroll_derivative(tape, dy, state)
    else:
        end, kept = engine.forward(cell)(cell, weights, x, lengths, state, out)
        assert kept is not None
        dx, dstate, dweights = engine.backward(kept, dy, state)
    return [out, *end, dx, *dstate, *dweights]


def _step_time() -> float:
    """Seconds for one step of a small LSTM from Python: the best of some rounds."""
    stream = Network([LSTM(8, 32, seed=0)]).stream()
    x = np.zeros(8, np.float32)
    steps, best = 200, float("inf")
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(steps):
            stream.step(x)
        best = min(best, (time.perf_counter() - start) / steps)
    return best
