"""Six sets of labelled sequences and the rows of digit images, told apart by `elman.SequenceClassifier`.

The settings were chosen by cross-validation within the training parts. The test part is used once a seed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import data
import numpy as np
import report

import elman


@dataclass(frozen=True)
class Task:
    """One set of sequences, and what of the classifier differs from its defaults."""

    name: str
    title: str
    goal: float | None = None
    published: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    timed: int | None = None  # epochs of which PyTorch is timed, None for all


DTW = "1-NN by time warping (computed)"
TASKS = [
    Task(
        "japanese_vowels",
        "Japanese Vowels, 9 speakers",
        0.98,
        "0.955 to 0.986 best deep models",
        {"input_dropout": 0.2},
    ),
    Task("spoken_digits_mfcc", "spoken digits, same speakers", 0.99, "", {"epochs": 30}, timed=3),
    Task("synthetic_control", "synthetic control charts", 0.99, f"0.993 {DTW}", {"input_dropout": 0.2}, timed=20),
    Task("basic_motions", "basic motions", 0.975, f"0.975 {DTW}"),
    Task("italy_power_demand", "Italy power demand", None, f"0.950 {DTW}"),
    Task("gun_point", "gun or point", None, f"0.907 {DTW}", {"input_dropout": 0.0}),
    Task("digits_rows", "8x8 digits row by row", None, "", {"epochs": 30}, timed=3),
]


def load(task: Task, folder: str | None) -> tuple[list[np.ndarray], np.ndarray, list[np.ndarray], np.ndarray]:
    """Sequences and labels to train, and those of the test: the archive's split, or every fourth digit."""
    if task.name != "digits_rows":
        return data.sequences(task.name, folder)
    with np.load(data.find("sequences/digits_rows.npz", folder), allow_pickle=False) as file:
        x, y = file["x"].astype(np.float64), file["y"]
    test = np.arange(len(y)) % 4 == 3
    return list(x[~test]), y[~test], list(x[test]), y[test]


def run(task: Task, options: Any) -> report.Row:
    """Trains once a seed, and PyTorch once."""
    x, y, x_test, y_test = load(task, options.data)
    figures, seconds = [], []
    for seed in range(options.seeds):
        classifier = elman.SequenceClassifier(random_state=seed, **task.settings)
        start = time.perf_counter()
        classifier.fit(x, y)
        seconds.append(time.perf_counter() - start)
        figures.append(classifier.score(x_test, y_test))
    row = report.Row(
        task.title,
        "accuracy",
        figures,
        "" if task.goal is None else f"at least {task.goal}",
        None if task.goal is None else float(np.mean(figures)) >= task.goal,
        task.published,
        "GRU 64 in both directions, maximum over time, dropout 0.5",
        classifier.network_.parameter_count,
        float(np.mean(seconds)),
        note=_note(task),
        seeds=list(range(options.seeds)),
    )
    if not options.no_peer:
        _peer(row, task, classifier, (x, y, x_test, y_test))
    return row


def _note(task: Task) -> str:
    settings = ", ".join(f"{name}={value}" for name, value in task.settings.items()) or "all defaults"
    share = "" if task.timed is None else f" PyTorch's seconds are scaled from {task.timed} epochs."
    return f"SequenceClassifier with {settings}.{share}"


def _peer(row: report.Row, task: Task, classifier: elman.SequenceClassifier, split: tuple[Any, ...]) -> None:
    """PyTorch's seconds and, where it was trained to the end, its figure."""
    import torch_classifier as peer

    scaler = classifier.scaler_
    x, x_test = ([scaler.transform(part).astype(np.float32) for part in split[i]] for i in (0, 2))
    y, y_test = (np.searchsorted(classifier.classes_, split[i]) for i in (1, 3))
    names = ("cell", "input_dropout", "dropout", "learning_rate", "epochs", "batch_size")
    twin = peer.Task(x, y, len(classifier.classes_), **{name: getattr(classifier, name) for name in names})
    timed = min(task.timed or twin.epochs, twin.epochs)
    row.peer_seconds, model = peer.train(twin, timed)
    if timed == twin.epochs:
        row.peer_figure = peer.accuracy(model, x_test, y_test)


def main() -> None:
    """All sets, one row each."""
    options = report.arguments(__doc__)
    elman.set_threads(1)
    report.publish("sequence_classification", [run(task, options) for task in TASKS])


if __name__ == "__main__":
    main()
