"""Writes docs/performance.md from the results of `make bench`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from run import plot

ROOT = Path(__file__).parent.parent

HEAD = """# Performance

Made by `make bench` from the peers installed there. A ratio is the peer's time over elman's, against the fastest peer
of the row, on one core, timed in turns in one process; both sides compute the same numbers, which is checked first.
Goals were set on another machine; where one is missed the table says so.

{machine}

The largest matrix product on this core, 1024 x 1024 by NumPy or PyTorch, ran at {peak:.0f} GFLOP/s in float32. The
share is that of the products of a row (multiplications and additions each counted) in this figure.

| work | elman | fastest peer | ratio | goal | share of peak |
|---|---|---|---|---|---|
"""

TAIL = """
I inputs, H hidden units, B batch, T steps. "step" is one step called from Python, "sequence" inference over whole
sequences, "train" a forward and a backward pass with the gradients of all weights and of the input. Ragged: lengths 25
to 100; PyTorch packs them. One step against PyTorch's layer:
{steps}.

"first prediction" is a whole new process, from its start to its end: it starts Python, imports NumPy and the library,
loads the network from its file (a safetensors file for elman, a state dict for PyTorch, a session for ONNX Runtime) and
predicts one sequence. To read an ONNX file elman imports the package onnx; a network that is saved once loads without.

What limits: the float32 rows of batches with H from 64 up run at {low:.0%} to {high:.0%} of the rate of that largest
product, and PyTorch is close to it too, so little is left there on this processor. At H 32 the activations take as long
as the products. One step of H 64 and more reads all its weights from the second-level cache, whose bandwidth is the
limit; one sequence of H 32 waits, at each step, for the activations of the step before.

![ratios](ratios.png)

## How exact

Against the exact result, over both signs and the whole range: tanh within 2.5 units in the last place in float32 and in
float64, sigmoid within 2.3; results below the smallest normal number are 0. A float32 layer of 64 units stays within 40
epsilon (5e-6) of the float64 equations over 200 steps. Kernel and equations of one dtype agree within 32 epsilon of the
largest entry, gradients included. `tests/test_kernel_accuracy.py` and `tests/test_kernels.py` keep these figures.

Where all layers of a network run in kernels, which is all but cells of one's own, `projection` and `layer_norm`,
results do not depend on the number of threads, neither elman's nor those of BLAS, also those of training; and a stream,
chunks and whole sequences, a sequence alone and in a batch, give the same bits on one instruction set. The others, and
everything under `ELMAN_PLAIN=1`, give the same bits in steps, chunks and whole sequences of the same batch.
`tests/test_bits.py` holds random networks to this.
"""


def main() -> None:
    folder = ROOT / "benchmarks" / "results"
    results = json.loads((folder / "results.json").read_text())
    lines = [_line(row) for row in results["rows"]]
    steps = ", ".join(
        f"{row['seconds']['PyTorch'] / row['seconds']['elman']:.0f} ({row['name'].split(', ')[1]})"
        for row in results["rows"]
        if row["name"].startswith("step")
    )
    shares = [row["share_of_peak"] for row in results["rows"] if _is_large(row)]
    page = (
        HEAD.format(**results) + "\n".join(lines) + "\n" + TAIL.format(steps=steps, low=min(shares), high=max(shares))
    )
    docs = ROOT / "docs"
    docs.mkdir(exist_ok=True)
    (docs / "performance.md").write_text(page)
    plot(results["rows"], docs / "ratios.png")
    print(f"Written: {docs / 'performance.md'}")


def _is_large(row: dict[str, Any]) -> bool:
    """A float32 row of a batch whose products make up the work."""
    words = row["name"].split()
    large = "H" in words and int(words[words.index("H") + 1]) >= 64 and not row["name"].startswith("step")
    return large and "float64" not in row["name"] and "share_of_peak" in row


def _line(row: dict[str, Any]) -> str:
    if "limit" in row:
        mine = row["seconds"]["elman"]
        return f"| {row['name']} | {mine * 1e3:.0f} ms | | | at most {row['limit'] * 1e3:.0f} ms | |"
    if "megabytes" in row:
        mine, theirs = row["megabytes"]["elman"], row["megabytes"]["PyTorch"]
        return f"| {row['name']} | {mine:.0f} MB | PyTorch, {theirs:.0f} MB | {row['ratio']:.2f} | 1 | |"
    mine, theirs = row["seconds"]["elman"], row["seconds"].get(row.get("fastest"))
    share = f"{row['share_of_peak']:.0%}" if "share_of_peak" in row else ""
    missed = "" if row["ratio"] >= row["goal"] else " (missed)"
    return (
        f"| {row['name']} | {_write(mine)} | {row['fastest']}, {_write(theirs)} | {row['ratio']:.2f} "
        f"| {row['goal']}{missed} | {share} |"
    )


def _write(seconds: float) -> str:
    return f"{seconds * 1e6:.2f} µs" if seconds < 1e-4 else f"{seconds * 1e3:.2f} ms"


if __name__ == "__main__":
    main()
