"""Tiny Shakespeare, character by character: nats per character on the last tenth, after a minute and after ten minutes.

The first 90 % of the text train, the last 10 % test, from end to end with the state carried. Sizes, rates, dropout and
epochs were chosen on the last 5 % of the training text, the epochs also by the clock: as many as fit the time. Those of
the ten minutes follow from one run of 9 epochs with dropout 0.4.

    python experiments/tiny_shakespeare.py [--seeds N] [--no-peer] [--data DIR]

The run of ten minutes is made with a third of the seeds.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import data
import report
from threadpoolctl import threadpool_limits

import elman


@dataclass(frozen=True)
class Settings:
    """One budget: what is trained, how long, and what it should reach."""

    title: str
    hidden: int
    embedding: int
    dropout: float
    learning_rate: float
    epochs: int
    batch_size: int
    truncate: int
    threads: int
    goal: float
    budget: float  # seconds
    peer_share: float  # of the updates that PyTorch is timed on


MINUTE = Settings("Tiny Shakespeare, a minute on one core", 192, 32, 0.15, 0.012, 4, 32, 32, 1, 1.56, 60, 0.1)
TEN_MINUTES = Settings(
    "Tiny Shakespeare, ten minutes on two cores", 384, 64, 0.5, 0.006, 16, 32, 32, 2, 1.50, 600, 0.01
)


def main() -> None:
    arguments = report.arguments(__doc__)
    text = data.text("tinyshakespeare", arguments.data)
    cut = len(text) * 9 // 10
    train, test = text[:cut], text[cut:]
    rows, extra = [], {}
    for settings, seeds in ((MINUTE, arguments.seeds), (TEN_MINUTES, max(1, arguments.seeds // 3))):
        row, writer = run(settings, train, test, list(range(seeds)), not arguments.no_peer)
        rows.append(row)
        extra[f"{settings.title}: what it writes"] = writer.generate(600, "ROMEO:\n", temperature=0.8, seed=0)
    report.publish("tiny_shakespeare", rows, extra)


def run(
    settings: Settings, train: str, test: str, seeds: list[int], peer: bool
) -> tuple[report.Row, elman.TextGenerator]:
    """Trains with each seed and measures each on the test text, once."""
    elman.set_threads(settings.threads)
    figures, seconds = [], []
    # One thread for the few products outside the layers: the others of BLAS would take the cores from the layers'.
    with threadpool_limits(1):
        for seed in seeds:
            writer = model(settings, seed)
            start = time.perf_counter()
            writer.fit(train)
            seconds.append(time.perf_counter() - start)
            figures.append(writer.nats(test))
    mean, took = sum(figures) / len(figures), sum(seconds) / len(seconds)
    row = report.Row(
        task=settings.title,
        measure="nats per character",
        figures=figures,
        goal=f"at most {settings.goal} in {settings.budget:.0f} s",
        reached=mean <= settings.goal and max(seconds) <= settings.budget,
        published="1.88 small, 1.47 large transformer (nanoGPT)",
        model=f"embedding {settings.embedding}, LSTM {settings.hidden}, dropout {settings.dropout:g}",
        parameters=writer.network_.parameter_count,
        seconds=took,
        threads=settings.threads,
        note=f"{settings.epochs} epochs, {len(train) * settings.epochs / took:,.0f} characters a second.",
        seeds=seeds,
    )
    if peer:
        from torch_text import train_seconds

        row.peer_seconds = train_seconds(settings, train)
        row.note += f" PyTorch's seconds from {settings.peer_share:.0%} of its updates."
    return row, writer


def model(settings: Settings, seed: int) -> elman.TextGenerator:
    return elman.TextGenerator(
        "lstm",
        settings.hidden,
        embedding=settings.embedding,
        dropout=settings.dropout,
        truncate=settings.truncate,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        random_state=seed,
    )


if __name__ == "__main__":
    main()
