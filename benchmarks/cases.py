"""The rows of the benchmark: what is measured, and the ratio to reach (the fastest peer's time / ours)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Case:
    """One row. `work` is "step", called from Python, "sequence", inference, or "train", forward and backward."""

    work: str
    inputs: int  # I
    hidden: int  # H
    batch: int  # B
    time: int  # T
    goal: float
    cell: str = "lstm"
    dtype: str = "float32"
    ragged: bool = False  # lengths 25..100
    layers: int = 1
    bidirectional: bool = False
    threads: int = 1

    @property
    def name(self) -> str:
        words = [self.work, self.cell.upper()]
        words += ["2 layers bidirectional"] * (self.layers == 2) + ["ragged"] * self.ragged
        words += [self.dtype] * (self.dtype != "float32") + [f"{self.threads} threads"] * (self.threads > 1)
        size = f"I {self.inputs} H {self.hidden} B {self.batch}" + (f" T {self.time}" if self.work != "step" else "")
        return f"{' '.join(words)}, {size}"

    @property
    def lengths(self) -> np.ndarray:
        """(B,) steps of each sequence."""
        if not self.ragged:
            return np.full(self.batch, self.time)
        return (
            np.linspace(25, self.time, self.batch).round().astype(int)[np.random.default_rng(0).permutation(self.batch)]
        )

    @property
    def flops(self) -> float:
        """Multiplications and additions of the matrix products, each counted."""
        gates = {"lstm": 4, "gru": 3, "rnn": 1}[self.cell]
        directions = 2 if self.bidirectional else 1
        widths = [self.inputs] + [self.hidden * directions] * (self.layers - 1)
        each = sum(2 * gates * self.hidden * (width + self.hidden) * directions for width in widths)
        return each * float(self.lengths.sum()) * (3 if self.work == "train" else 1)


CASES = (
    Case("step", 8, 32, 1, 1, 12),
    Case("step", 32, 64, 1, 1, 12),
    Case("step", 64, 128, 1, 1, 3),
    Case("step", 256, 256, 1, 1, 1.7),
    Case("sequence", 8, 32, 1, 100, 2.5),
    Case("sequence", 8, 32, 32, 100, 1.8),
    Case("sequence", 64, 64, 32, 100, 1.4),
    Case("sequence", 64, 128, 32, 100, 1.1),
    Case("sequence", 128, 256, 32, 100, 1.05),
    Case("sequence", 256, 512, 64, 50, 1.0),
    Case("train", 8, 16, 8, 100, 5),
    Case("train", 8, 32, 1, 100, 5),
    Case("train", 8, 32, 32, 100, 2),
    Case("train", 64, 64, 32, 100, 1.5),
    Case("train", 64, 128, 32, 100, 1.25),
    Case("train", 128, 256, 32, 100, 1.2),
    Case("train", 256, 512, 64, 50, 1.1),
    Case("train", 8, 32, 32, 100, 8, cell="gru"),
    Case("train", 64, 128, 32, 100, 2.2, cell="gru"),
    Case("train", 8, 32, 32, 100, 6, cell="rnn"),
    Case("train", 64, 128, 32, 100, 2.2, cell="rnn"),
    Case("train", 8, 32, 32, 100, 20, ragged=True),
    Case("train", 64, 128, 32, 100, 7, ragged=True),
    Case("train", 8, 32, 32, 100, 6, dtype="float64"),
    Case("train", 64, 128, 32, 100, 3, dtype="float64"),
    Case("train", 8, 32, 32, 100, 4, layers=2, bidirectional=True),
    Case("train", 64, 128, 32, 100, 1.6, layers=2, bidirectional=True),
)

#: Goals for one step against PyTorch, by hidden size.
STEP_AGAINST_TORCH = {32: 60, 64: 60, 128: 15, 256: 8}
