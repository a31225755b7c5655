"""Where a run of `fit` stands between two updates: all that it needs to go on, beside what it was asked.

Ctrl-C, and whatever else a signal raises, is kept from the moments in which that is half written.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Self

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
    """The generators of an epoch, for order and for noise: each has its own, so that a run can be taken up there."""
    return [np.random.default_rng(part) for part in np.random.SeedSequence((seed, epoch)).spawn(2)]


class HeldInterrupt:
    """While the context is open, a first SIGINT is held until `release`; a second one acts at once.

    Both raise `KeyboardInterrupt`. While `holding` is true nothing acts: neither these nor the handlers that a program
    has set for other signals, or for SIGINT itself; they are called when `act` ends that time. It begins by an
    assignment, because Python may call a handler wherever a function begins. The context opens in such a time, and
    should be left in one, so that no handler stops it from putting all handlers back. A handler that raises begins one
    too: what is put in order afterwards is not stopped in its turn. Outside the main thread, where Python calls no
    handlers, nothing is changed.
    """

    def __init__(self) -> None:
        self.holding = True
        self.whole = _Whole(self)  #: a context in which no signal acts; those that came are answered at its end
        self._asked = False
        self._waiting: list[tuple[int, FrameType | None]] = []
        self._before: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            try:
                for number in signal.valid_signals():
                    handler = signal.getsignal(number)
                    if callable(handler):  # one in Python: not the system's, not "ignored"
                        self._before[number] = handler
                        signal.signal(number, self._on_signal)
            except BaseException:  # of a handler that was not replaced yet
                self._put_back(list(self._before.items()))
                raise
        return self

    def _put_back(self, handlers: list[tuple[int, Any]]) -> None:
        for i, (number, handler) in enumerate(handlers):
            try:
                if signal.getsignal(number) == self._on_signal:  # else the program has set another meanwhile
                    signal.signal(number, handler)
            except BaseException:  # of a handler that is in its place again
                self._put_back(handlers[i:])
                raise

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.holding:
            self._waiting.append((number, frame))
            return
        try:
            if self._before[number] is not signal.default_int_handler:
                self._before[number](number, frame)
            elif self._asked:
                raise KeyboardInterrupt
            else:
                self._asked = True
        except BaseException:
            self.holding = True
            raise

    def act(self) -> None:
        """Lets signals act, those first that wait."""
        self.holding = False
        waiting, self._waiting = self._waiting, []
        for number, frame in waiting:
            self._on_signal(number, frame)

    def release(self) -> None:
        """Raises `KeyboardInterrupt` where one is held."""
        if self._asked:
            raise KeyboardInterrupt

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.holding = True
        self._put_back(list(self._before.items()))
        self.act()
        if kind is None:
            self.release()


class _Whole:
    """The context of `HeldInterrupt.whole`, entered for every update: quicker than a generator."""

    def __init__(self, held: HeldInterrupt) -> None:
        self.held = held

    def __enter__(self) -> None:
        self.held.holding = True

    def __exit__(self, *_: object) -> None:
        self.held.act()
