"""What estimators build their networks from: cells by name, stacks of recurrent layers, seeds, optimizers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from elman import checks
from elman.layers import GRU, LSTM, RNN, Dropout, Layer
from elman.training.optimizers import Adam, AdamW, Optimizer
from elman.training.schedules import Schedule

CELLS: dict[str, Callable[..., Layer]] = {"gru": GRU, "lstm": LSTM, "rnn": RNN}


def sizes(hidden: Any) -> tuple[int, ...]:
    """The units of each recurrent layer, from a number for one layer or a tuple."""
    many = isinstance(hidden, (tuple, list)) or (isinstance(hidden, np.ndarray) and hidden.ndim == 1)
    given = tuple(hidden) if many else (hidden,)
    if not given:
        raise ValueError("hidden must hold at least one size. Got ().")
    names = ["hidden"] if len(given) == 1 else [f"hidden[{i}]" for i in range(len(given))]
    return tuple(checks.size(name, size) for name, size in zip(names, given, strict=True))


def recurrent_layers(
    cell: str, features: int, hidden: tuple[int, ...], seeds: Iterator[int], dropout: float = 0.0, **options: Any
) -> tuple[list[Layer], int]:
    """Recurrent layers with dropout between them, and how many features the last one gives."""
    layers: list[Layer] = []
    width = features
    for size in hidden:
        if layers and dropout:
            layers.append(Dropout(dropout))
        layers.append(CELLS[cell](width, size, seed=next(seeds), **options))
        width = layers[-1].output_size or 0
    return layers, width


def draw_seeds(rng: np.random.RandomState) -> Iterator[int]:
    """Seeds without end, from scikit-learn's kind of generator."""
    while True:
        yield int(rng.randint(np.iinfo(np.int32).max))


def adam(learning_rate: Any, weight_decay: float, falling: Callable[[float], Schedule]) -> Optimizer:
    """Adam, or AdamW where weights decay; a learning rate that is a number falls as `falling` says."""
    rate = learning_rate if callable(learning_rate) else falling(learning_rate)
    return AdamW(rate, weight_decay=weight_decay) if weight_decay else Adam(rate)
