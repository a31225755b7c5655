"""PyTorch's side of the experiments on whole sequences: the same model and updates, on one thread, for its seconds.

Sequences are padded and the loss is masked. That is right for layers of one direction, and faster than packing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import pad_sequence


@dataclass(frozen=True)
class Task:
    """What is trained, and on what: lists of (time, features), and targets per step or, with `last`, per sequence."""

    cell: str  # "LSTM" or "GRU"
    hidden_size: int
    output_size: int
    loss: str  # "binary_cross_entropy", "cross_entropy" or "squared_error"
    x: Sequence[np.ndarray]
    y: Sequence[np.ndarray] | np.ndarray
    validation: tuple[Sequence[np.ndarray], Sequence[np.ndarray] | np.ndarray]
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.0
    dropout: float = 0.0
    last: bool = False  # the output is that of each sequence's last step


class Model(nn.Module):
    """A recurrent layer, dropout, and a linear layer."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        layer = getattr(nn, task.cell)
        self.recurrent = layer(task.x[0].shape[-1], task.hidden_size, batch_first=True)
        self.dropout = nn.Dropout(task.dropout)
        self.output = nn.Linear(task.hidden_size, task.output_size)
        self.last = task.last

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        y, _ = self.recurrent(x)
        return self.output(self.dropout(y[torch.arange(len(y)), lengths - 1] if self.last else y))


def seconds(task: Task, epochs: int, timed: int) -> float:
    """What `epochs` epochs take, from the time of `timed` of them, validation included."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Model(task)
    optimizer = torch.optim.AdamW(model.parameters(), task.learning_rate, weight_decay=task.weight_decay)
    loss = _loss(task)
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    for _ in range(timed):
        model.train()
        for x, y, lengths in _batches(task, task.x, task.y, rng.permutation(len(task.x))):
            optimizer.zero_grad()
            loss(model(x, lengths), y, lengths).backward()
            clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for x, y, lengths in _batches(task, *task.validation, np.arange(len(task.validation[0]))):
                loss(model(x, lengths), y, lengths).item()
    return (time.perf_counter() - start) * epochs / timed


def _batches(task: Task, xs: Any, ys: Any, order: np.ndarray) -> Iterator[tuple[torch.Tensor, ...]]:
    """Inputs (batch, time, features), targets (batch, time, ...) or (batch, values), and lengths (batch,)."""
    for start in range(0, len(order), task.batch_size):
        chosen = order[start : start + task.batch_size]
        x = pad_sequence([torch.from_numpy(xs[i]) for i in chosen], batch_first=True)
        y = [torch.from_numpy(ys[i]) for i in chosen]
        lengths = torch.tensor([len(xs[i]) for i in chosen])
        yield x, torch.stack(y) if task.last else pad_sequence(y, batch_first=True), lengths


def _loss(task: Task) -> Callable[..., torch.Tensor]:
    """The mean over the real steps, or over the sequences, as elman's `fit` takes it."""

    def rows(p: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if task.loss == "cross_entropy":
            return nn.functional.cross_entropy(p.movedim(-1, 1), y, reduction="none")
        if task.loss == "squared_error":
            return nn.functional.mse_loss(p, y, reduction="none").mean(-1)
        return nn.functional.binary_cross_entropy_with_logits(p, y, reduction="none").mean(-1)

    def mean(p: torch.Tensor, y: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        if task.last:
            return rows(p, y).mean()
        real = torch.arange(p.shape[1]) < lengths[:, None]
        return (rows(p, y) * real).sum() / lengths.sum()

    return mean
