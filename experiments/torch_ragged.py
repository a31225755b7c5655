"""PyTorch's side of ragged_cost.py: sequences padded, or packed, the form in which it computes no step for padding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence


def step(cell: str, x: np.ndarray, lengths: np.ndarray, hidden_size: int, packed: bool) -> Callable[[], None]:
    """A forward and a backward pass over x (batch, time, features), on one thread."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layer = getattr(nn, cell)(x.shape[2], hidden_size, batch_first=True)
    order = np.argsort(-lengths)
    given = torch.from_numpy(x[order]).requires_grad_(True)
    real = torch.arange(x.shape[1]) < torch.from_numpy(lengths[order])[:, None]
    dy = real[..., None].expand(*x.shape[:2], hidden_size).float()  # padding gets no gradient
    if packed:
        dy = torch.ones(int(lengths.sum()), hidden_size)

    def run() -> None:
        if packed:
            y = layer(pack_padded_sequence(given, torch.from_numpy(lengths[order]), batch_first=True))[0].data
        else:
            y = layer(given)[0]
        layer.zero_grad()
        y.backward(dy)

    return run
