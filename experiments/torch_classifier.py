"""PyTorch's side of sequence_classification.py: the same model and the same updates, on one thread.

Sequences of unequal length run in the faster of two forms that are right for both directions: packed by lengths, or
padded through two layers, the second of which reads every sequence turned around within its own length.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence


@dataclass(frozen=True)
class Task:
    """What is trained, and on what: standardized sequences (time, features), and class indices."""

    x: Sequence[np.ndarray]
    y: np.ndarray
    classes: int
    cell: str = "gru"
    hidden_size: int = 64
    input_dropout: float = 0.0
    dropout: float = 0.5
    weight_noise: float = 0.0
    learning_rate: float = 5e-3
    epochs: int = 100
    batch_size: int = 16


class Model(nn.Module):
    """A bidirectional layer, the maximum over time, dropout, and a linear layer."""

    def __init__(self, task: Task, padded: bool) -> None:
        super().__init__()
        layer = {"gru": nn.GRU, "lstm": nn.LSTM}[task.cell]
        self.lengths_differ = len({len(x) for x in task.x}) > 1
        self.padded = padded and self.lengths_differ
        sizes = task.x[0].shape[-1], task.hidden_size
        if self.padded:
            self.forth, self.back = layer(*sizes, batch_first=True), layer(*sizes, batch_first=True)
        else:
            self.both = layer(*sizes, batch_first=True, bidirectional=True)
        self.input_dropout = nn.Dropout(task.input_dropout)
        self.dropout = nn.Dropout(task.dropout)
        self.output = nn.Linear(2 * task.hidden_size, task.classes)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        x = self.input_dropout(x)
        if not self.lengths_differ:
            return self.output(self.dropout(self.both(x)[0].amax(1)))
        steps = torch.arange(x.shape[1])
        real = (steps < lengths[:, None])[:, :, None]
        if self.padded:
            turned = (lengths[:, None] - 1 - steps).clamp(min=0)[:, :, None].expand_as(x)
            y = torch.cat([self.forth(x)[0], self.back(x.gather(1, turned))[0]], dim=2)  # the maximum needs no order
        else:
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            y, _ = pad_packed_sequence(self.both(packed)[0], batch_first=True)
        return self.output(self.dropout(y.masked_fill(~real, -torch.inf).amax(1)))


def train(task: Task, timed: int, seed: int = 0) -> tuple[float, Model]:
    """The seconds of all epochs, from the time of `timed` of them, and the model after these."""
    torch.set_num_threads(1)
    forms = (True, False) if len({len(x) for x in task.x}) > 1 else (False,)
    trials = {form: _run(task, 1, seed, form)[0] for form in forms} if len(forms) > 1 else {False: 0.0}
    seconds, model = _run(task, timed, seed, padded=min(trials, key=lambda form: trials[form]))
    return seconds * task.epochs / timed, model


def _run(task: Task, epochs: int, seed: int, padded: bool) -> tuple[float, Model]:
    torch.manual_seed(seed)
    model = Model(task, padded)
    optimizer = torch.optim.Adam(model.parameters(), task.learning_rate)
    updates = task.epochs * -(-len(task.x) // task.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    xs = [torch.from_numpy(x) for x in task.x]
    ys = torch.from_numpy(task.y)
    rng = np.random.default_rng(seed)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    model.train()
    start = time.perf_counter()
    for _ in range(epochs):
        order = rng.permutation(len(xs))
        for first in range(0, len(xs), task.batch_size):
            chosen = order[first : first + task.batch_size]
            x = pad_sequence([xs[i] for i in chosen], batch_first=True)
            lengths = torch.tensor([len(xs[i]) for i in chosen])
            optimizer.zero_grad()
            noise = [task.weight_noise * torch.randn_like(p) for p in matrices] if task.weight_noise else []
            _move(matrices, noise, 1)
            nn.functional.cross_entropy(model(x, lengths), ys[chosen]).backward()
            _move(matrices, noise, -1)
            clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return time.perf_counter() - start, model


def _move(matrices: Sequence[torch.Tensor], noise: Sequence[torch.Tensor], sign: int) -> None:
    with torch.no_grad():
        for p, more in zip(matrices, noise, strict=False):
            p.add_(more, alpha=sign)


def accuracy(model: Model, x: Sequence[np.ndarray], y: np.ndarray) -> float:
    """The share of sequences whose class is told right."""
    model.eval()
    with torch.no_grad():
        scores = model(
            pad_sequence([torch.from_numpy(part) for part in x], batch_first=True), torch.tensor([*map(len, x)])
        )
    return float((scores.argmax(1).numpy() == y).mean())
