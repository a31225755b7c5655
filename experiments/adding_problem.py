"""Adding problem over 400 steps: the sum of the two numbers that are marked.

A sequence has two features: numbers drawn evenly from 0 to 1, and marks, 1 at two steps and 0 elsewhere. The target at
the end is the sum of the two marked numbers. To answer 1 always has a squared error of 1/6. The problem is that of
Hochreiter and Schmidhuber 1997, section 5.4, in the form that is usual since (Le, Jaitly, Hinton 2015, section 4.1):
both marks stand anywhere, and test sequences are equally long.

The layers have their defaults. The GRU trains on sequences of 400 steps. So does an LSTM that has luck with its start;
in batches of unequal lengths it learns from the short sequences first, then from the long ones, from every start.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from report import Row, arguments, publish

import elman

STEPS, HIDDEN, BATCH = 400, 32, 32
EPOCHS = 10  # parts of a run: after each the error is measured
JUDGES, TESTED = 500, 2000
LIMIT = 0.001

Examples = tuple[list[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Setting:
    """What was chosen for a cell, on other seeds than those of the test."""

    cell: str
    rate: float  # of Adam, falling to 0
    updates: int
    shortest: int  # training sequences have from so many steps to `STEPS`


SETTINGS = (Setting("LSTM", 0.03, 2000, 10), Setting("GRU", 0.02, 2000, STEPS))


def draw(rng: np.random.Generator, lengths: np.ndarray) -> Examples:
    """Sequences (length, 2) of numbers and marks, and their targets (count, 1)."""
    sequences, targets = [], np.zeros((len(lengths), 1), np.float32)
    for i, length in enumerate(lengths):
        x = np.zeros((length, 2), np.float32)
        x[:, 0] = rng.random(length)
        marked = rng.choice(length, 2, replace=False)
        x[marked, 1] = 1
        sequences.append(x)
        targets[i] = x[marked, 0].sum()
    return sequences, targets


def draw_run(setting: Setting, seed: int) -> tuple[Examples, Examples]:
    """The sequences of a run, and those that measure its course."""
    rng = np.random.default_rng((seed, 0))
    count = setting.updates * BATCH // EPOCHS
    train = draw(rng, rng.integers(setting.shortest, STEPS + 1, size=count))
    return train, draw(rng, np.full(JUDGES, STEPS))


def train(setting: Setting, seed: int) -> tuple[elman.Network, elman.History, float]:
    """A network, the course of its training, and its seconds."""
    (x, y), judges = draw_run(setting, seed)
    layer = getattr(elman, setting.cell)(2, HIDDEN, seed=seed)
    net = elman.Network([layer, elman.LastStep(), elman.Dense(HIDDEN, 1, seed=seed + 1000)])
    start = time.perf_counter()
    history = elman.fit(
        net, x, y, loss="squared_error", optimizer=elman.Adam(elman.LinearSchedule(setting.rate)), epochs=EPOCHS,
        batch_size=BATCH, validation=judges, seed=seed, progress=False,
    )  # fmt: skip
    return net, history, time.perf_counter() - start


def error(net: elman.Network, seed: int) -> float:
    """The mean squared error over new sequences."""
    x, y = draw(np.random.default_rng((seed, 2)), np.full(TESTED, STEPS))
    return float(np.mean((net(x)[0] - y) ** 2))


def main() -> None:
    args = arguments(__doc__)
    publish("adding_problem", [_row(setting, args.seeds, not args.no_peer) for setting in SETTINGS])


def _row(setting: Setting, seeds: int, peer: bool) -> Row:
    figures, seconds, solved = [], [], []
    for seed in range(seeds):
        net, history, spent = train(setting, seed)
        figures.append(error(net, seed))
        seconds.append(spent)
        assert history.validation_loss is not None
        under = np.flatnonzero(history.validation_loss < LIMIT)
        solved.append(f"{(under[0] + 1) * setting.updates // EPOCHS:,}" if len(under) else "never")
    lengths = f"{setting.shortest} to {STEPS}" if setting.shortest < STEPS else f"{STEPS}"
    return Row(
        task=f"Adding problem, {STEPS} steps, {setting.cell}",
        measure="squared error",
        figures=figures,
        goal=f"under {LIMIT:g}",
        reached=max(figures) < LIMIT,
        published="T 500 after 209,000 sequences (LSTM, Hochreiter and Schmidhuber 1997, their form)",
        model=f"{setting.cell} {HIDDEN}, {setting.updates:,} updates of {BATCH} sequences, Adam {setting.rate:g} "
        "falling to 0",
        parameters=net.parameter_count,
        seconds=float(np.mean(seconds)),
        peer_seconds=_peer(setting) if peer else None,
        note=f"The goal counts for every seed. "
        f"Trained on sequences of {lengths} steps, tested on {TESTED:,} of {STEPS}. The error was first measured "
        f"under {LIMIT:g} after {', '.join(solved)} updates. PyTorch: a tenth of the updates timed.",
        seeds=list(range(seeds)),
    )


def _peer(setting: Setting) -> float:
    from torch_sequences import Task, seconds

    (x, y), judges = draw_run(setting, 0)
    task = Task(setting.cell, HIDDEN, 1, "squared_error", x, y, judges, BATCH, setting.rate, last=True)
    return seconds(task, EPOCHS, 1)


if __name__ == "__main__":
    main()
