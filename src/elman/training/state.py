"""Where a run of `fit` stands between two updates: all that it needs to go on, beside what it was asked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from elman.checks import Array
from elman.layers.layer import Layer
from elman.training.optimizers import Optimizer, State, started


@dataclass
class TrainingState:
    """The running epoch and update, both from 0, what they have summed up so far, and what earlier epochs left.

    All of it belongs to the moment after the last whole update. An update that is stopped before it moves weights has
    changed nothing here; `noise` alone, the live generator, may have drawn, so `drawn` is kept beside it.
    """

    seed: int
    keep_best: bool
    parameters: Mapping[str, Array]  # the live arrays of the network that are trained
    weights: Mapping[str, Array]  # these, and its buffers
    optimizer: State
    noise: np.random.Generator  # of this epoch: dropout, noise on weights
    drawn: Any  # the state of `noise` after the last whole update
    epoch: int = 0
    update: int = 0
    loss: float = 0.0  # weighted sum over the rows of this epoch
    weight: float = 0.0  # of these rows
    rate: float = 0.0  # sum over the updates of this epoch
    norm: float = 0.0
    seconds: float = 0.0  # spent on this epoch
    carried: Any = None  # the recurrent state before the next window
    records: list[tuple[float, ...]] = field(default_factory=list)  # a row of `History` for each whole epoch
    ending: list[tuple[float, ...]] = field(default_factory=list)  # that of the epoch whose updates are done, if any
    stopped: int = 0  # the epochs of a run that `after_epoch` stopped; it is finished unless more are asked
    best_epoch: int = -1
    best_loss: float = math.inf
    best: dict[str, Array] = field(default_factory=dict)  # the weights of that epoch, where they are to be kept
    before: list[tuple[Array, Array]] = field(default_factory=list)  # arrays changed for a time, and what they held
    sound: bool = True  # false while any of this is half changed

    @classmethod
    def start(cls, net: Layer, optimizer: Optimizer, seed: int, keep_best: bool) -> TrainingState:
        """The state before the first update."""
        noise, parameters = generators(seed, 0)[1], dict(net.parameters)
        moments = started(optimizer, parameters)
        return cls(seed, keep_best, parameters, net.weights, moments, noise, noise.bit_generator.state)

    def hold(self, arrays: list[Array]) -> None:
        """Keeps what arrays hold that are changed for a time, or by code that may fail half way."""
        self.before = [(array, array.copy()) for array in arrays]

    def put_back(self) -> None:
        """Gives these arrays what they held; a call that is stopped may be made again."""
        for array, held in self.before:
            array[...] = held
        self.before = []

    def mean_loss(self) -> float:
        """Of the rows of this epoch so far."""
        return self.loss / self.weight if self.weight else math.nan

    def measure(self, validation_loss: float | None) -> None:
        """Makes the record of the epoch whose updates are done."""
        updates, validation = max(1, self.update), math.nan if validation_loss is None else validation_loss
        self.ending = [(self.mean_loss(), validation, self.rate / updates, self.norm / updates, self.seconds)]

    def end_epoch(self) -> None:
        """Puts the epoch on record and begins the next one."""
        record = self.ending.pop()
        better = record[1] < self.best_loss
        best = {name: array.copy() for name, array in self.weights.items()} if better and self.keep_best else self.best
        noise = generators(self.seed, self.epoch + 1)[1]
        self.sound, self.before = False, []
        self.records.append(record)
        if better:
            self.best_epoch, self.best_loss, self.best = self.epoch, record[1], best
        self.epoch += 1
        self.update, self.carried = 0, None
        self.loss = self.weight = self.rate = self.norm = self.seconds = 0.0
        self.noise, self.drawn = noise, noise.bit_generator.state
        self.sound = True

    def restore_best(self) -> None:
        """Puts the weights of the best epoch back, where any are kept."""
        for name, copy in self.best.items():
            self.weights[name][...] = copy


def generators(seed: int, epoch: int) -> list[np.random.Generator]:
    """The generators of an epoch, for the order of the examples and for noise.

    Each epoch has its own, so that a run can be taken up at any of them.
    """
    return [np.random.default_rng(part) for part in np.random.SeedSequence((seed, epoch)).spawn(2)]
