"""What ragged batches and long sequences cost: a forward and a backward pass of one layer, on one core.

Ragged: a batch of 32 sequences of 25 to 100 steps against a dense batch of 32 sequences with as many steps in all.
Long: 8 sequences from a quarter of T to T steps, for T from 100 to 10,000; the time is that of one step of one
sequence.
Seconds are those of the processor, on one thread: what else the machine does is not counted. All cases of a table are
timed in turns, and a case's time is the least of its rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
from report import Row, arguments, publish

import elman

BATCH, SHORT, LONG = 32, 25, 100
INPUT, HIDDEN = 32, 64
MANY, FEW = 20, 3  # rounds for short and for long passes
TIMES = (100, 300, 1000, 3000, 10_000)
PACKED_TIMES = (100, 400, 1600)
CELLS = ("LSTM", "GRU")
LIMIT = 1.1

Step = Callable[[], object]


def ragged_lengths(count: int, low: int, high: int) -> np.ndarray:
    """`count` lengths spread evenly from `low` to `high`, in random order; their mean is a whole number."""
    lengths = np.linspace(low, high, count).round().astype(int)
    lengths[count // 2] -= lengths.sum() % count
    return np.random.default_rng(0).permutation(lengths)


def batch(lengths: np.ndarray, features: int) -> np.ndarray:
    """(batch, time, features), padded with zeros."""
    x = np.random.default_rng(1).standard_normal((len(lengths), lengths.max(), features)).astype(np.float32)
    x[np.arange(lengths.max()) >= lengths[:, None]] = 0
    return x


def step(cell: str, lengths: np.ndarray, features: int, hidden_size: int) -> Step:
    """A forward and a backward pass with the gradients of all weights and of x."""
    layer = getattr(elman, cell)(features, hidden_size, seed=0)
    x, dy = batch(lengths, features), np.ones((len(lengths), lengths.max(), hidden_size), np.float32)
    given = lengths if (lengths < lengths.max()).any() else None
    return lambda: layer.backward(layer.forward(x, lengths=given)[2], dy=dy)


def least(steps: Mapping[object, Step], rounds: int) -> dict[object, float]:
    """The least seconds of the processor of each, in turns."""
    seconds = dict.fromkeys(steps, np.inf)
    for _ in range(rounds + 1):  # the first calls warm up
        for name, run in steps.items():
            start = time.process_time()
            run()
            seconds[name] = min(seconds[name], time.process_time() - start)
    return seconds


def main() -> None:
    args = arguments(__doc__)
    elman.set_threads(1)
    rows, tables = (
        [],
        ["| layer | dense | ragged | ratio | PyTorch, dense | PyTorch, padded | PyTorch, packed |", "|---" * 7 + "|"],
    )
    costs = ["| layer | " + " | ".join(f"T {T:,}" for T in TIMES) + " |", "|---" * (len(TIMES) + 1) + "|"]
    for cell in CELLS:
        row, line = ragged(cell, args.seeds, not args.no_peer)
        rows.append(row)
        tables.append(line)
    for cell in CELLS:
        row, line = long(cell, args.seeds)
        rows.append(row)
        costs.append(line)
    extra = {
        f"A training step on {BATCH} sequences, {SHORT} to {LONG} steps": "\n".join(tables),
        "Microseconds per step of a sequence, in training": "\n".join(costs),
    }
    if not args.no_peer:
        extra["The same for PyTorch's packed sequences"] = "\n".join(packed())
    for title, text in extra.items():
        print(f"\n{title}\n{text}")
    publish("ragged_cost", rows, extra)


def ragged(cell: str, repeats: int, peer: bool) -> tuple[Row, str]:
    """The ragged batch against the dense one of the same size, and the line of the table."""
    lengths = ragged_lengths(BATCH, SHORT, LONG)
    dense = np.full(BATCH, lengths.sum() // BATCH)
    steps = {"dense": step(cell, dense, INPUT, HIDDEN), "ragged": step(cell, lengths, INPUT, HIDDEN)}
    if peer:
        import torch_ragged

        for name, those in (("dense", dense), ("padded", lengths), ("packed", lengths)):
            steps[f"PyTorch {name}"] = torch_ragged.step(cell, batch(those, INPUT), those, HIDDEN, name == "packed")
    times = [least(steps, MANY) for _ in range(repeats)]
    best = {name: min(those[name] for those in times) for name in steps}
    row = _row(
        f"Ragged batch, {SHORT} to {LONG} steps, {cell}", "seconds over those of a dense batch with as many steps",
        [those["ragged"] / those["dense"] for those in times], cell, (INPUT, HIDDEN), best["ragged"],
        f"{BATCH} sequences, {lengths.sum():,} steps in both. Seconds: the processor's for one training step; "
        "PyTorch: padded or packed, the faster.",
    )  # fmt: skip
    if peer:
        row.peer_seconds = min(best["PyTorch padded"], best["PyTorch packed"])
    cells = [f"{seconds * 1e3:.2f} ms" for seconds in best.values()]
    cells.insert(2, f"{best['ragged'] / best['dense']:.2f}")
    return row, f"| {cell} {HIDDEN} | {' | '.join(cells + [''] * (6 - len(cells)))} |"


def long(cell: str, repeats: int) -> tuple[Row, str]:
    """The cost of a step from the shortest to the longest sequences, and the line of the table."""
    lengths = {T: ragged_lengths(8, T // 4, T) for T in TIMES}
    steps = {T: step(cell, those, 8, 32) for T, those in lengths.items()}
    times = []
    for _ in range(repeats):
        seconds = least(steps, FEW)
        seconds[TIMES[0]] = least({TIMES[0]: steps[TIMES[0]]}, MANY)[TIMES[0]]
        times.append({T: seconds[T] / lengths[T].sum() for T in TIMES})
    best = {T: min(those[T] for those in times) for T in TIMES}
    row = _row(
        f"Cost of a step, T {TIMES[0]} to {TIMES[-1]:,}, {cell}", f"the dearest longer T over T {TIMES[0]}",
        [max(those[T] for T in TIMES[1:]) / those[TIMES[0]] for those in times], cell, (8, 32),
        best[TIMES[-1]] * lengths[TIMES[-1]].sum(),
        f"8 sequences. Seconds: the processor's for one training step at T {TIMES[-1]:,}.",
    )  # fmt: skip
    return row, f"| {cell} 32 | " + " | ".join(f"{best[T] * 1e6:.2f}" for T in TIMES) + " |"


def packed() -> list[str]:
    """PyTorch's cost of a step over packed sequences."""
    import torch_ragged

    lines = ["| layer | " + " | ".join(f"T {T:,}" for T in PACKED_TIMES) + " |", "|---" * (len(PACKED_TIMES) + 1) + "|"]
    for cell in CELLS:
        costs = []
        for T in PACKED_TIMES:
            lengths = ragged_lengths(8, T // 4, T)
            run = torch_ragged.step(cell, batch(lengths, 8), lengths, 32, packed=True)
            costs.append(least({T: run}, FEW)[T] / lengths.sum())
        lines.append(f"| {cell} 32 | " + " | ".join(f"{cost * 1e6:.2f}" for cost in costs) + " |")
    return lines


def _row(
    task: str, measure: str, figures: list[float], cell: str, size: tuple[int, int], seconds: float,
    note: str,
) -> Row:  # fmt: skip
    return Row(
        task=task,
        measure=measure,
        figures=figures,
        goal=f"at most {LIMIT:g}",
        reached=float(np.median(figures)) <= LIMIT,
        published="",
        model=f"{cell}, {size[0]} inputs, {size[1]} units",
        parameters=getattr(elman, cell)(*size).parameter_count,
        seconds=seconds,
        note=note,
    )


if __name__ == "__main__":
    main()
