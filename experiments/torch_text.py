"""The model of `tiny_shakespeare.py` in PyTorch, for its seconds: same sizes, windows, streams and threads.

The text lies in memory window by window, time first, as PyTorch's LSTM likes it best; Adam is the fused one.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn

WARMUP = 3  #: updates that are not timed


class Model(nn.Module):
    def __init__(self, symbols: int, embedding: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, embedding)
        self.lstm = nn.LSTM(embedding, hidden)
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(hidden, symbols)

    def forward(self, x: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        y, state = self.lstm(self.embedding(x), state)
        return self.dense(self.dropout(y)), state


def train_seconds(settings: Any, text: str) -> float:
    """Seconds of the whole training, from a share of its updates."""
    torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    vocabulary = {character: i for i, character in enumerate(sorted(set(text)))}
    tokens = torch.tensor([vocabulary[character] for character in text])
    windows = list(zip(_windows(tokens[:-1], settings), _windows(tokens[1:], settings), strict=True))
    updates = settings.epochs * len(windows)
    timed = max(1, round(updates * settings.peer_share))
    net = Model(len(vocabulary), settings.embedding, settings.hidden, settings.dropout)
    optimizer = torch.optim.Adam(net.parameters(), settings.learning_rate, fused=True)
    state, start = None, 0.0
    for update in range(WARMUP + timed):
        if update == WARMUP:
            start = time.perf_counter()
        x, y = windows[update % len(windows)]
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * (1 - update / (WARMUP + updates))
        scores, state = net(x, state if update % len(windows) else None)
        state = tuple(part.detach() for part in state)
        optimizer.zero_grad()
        nn.functional.cross_entropy(scores.flatten(0, 1), y.flatten()).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    return (time.perf_counter() - start) * updates / timed


def _windows(tokens: torch.Tensor, settings: Any) -> list[torch.Tensor]:
    """Windows (time, streams) of the parallel streams."""
    steps = len(tokens) // settings.batch_size
    streams = tokens[: steps * settings.batch_size].view(settings.batch_size, steps).T
    return [part.contiguous() for part in streams.split(settings.truncate)]
