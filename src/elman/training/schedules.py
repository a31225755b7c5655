"""Schedules of the learning rate.

A schedule is called with the fraction of the run that is done, from 0 to 1, and gives the rate. `fit` calls it
before every batch: with n batches in all epochs together, batch k (from 0) has k / n done. Wherever an optimizer
takes a learning rate, it takes a number or a schedule; any function of the fraction will do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from elman import checks

Schedule: TypeAlias = Callable[[float], float]


@dataclass(frozen=True)
class _Warmed:
    """Rises in a line from 0 to `start` over the first `warmup` of the run, then goes its way to `end`."""

    start: float
    end: float = 0.0
    warmup: float = 0.0

    def __post_init__(self) -> None:
        checks.number("start", self.start, 0, open_low=True)
        checks.number("end", self.end, 0)
        checks.number("warmup", self.warmup, 0, 1)

    def __call__(self, done: float) -> float:
        """The learning rate when the fraction `done` of the run is over."""
        done = checks.number("done", done, 0)
        if done < self.warmup:
            return self.start * done / self.warmup
        after = (done - self.warmup) / (1 - self.warmup) if self.warmup < 1 else 0.0
        return self.end + (self.start - self.end) * self._remaining(min(after, 1.0))

    def _remaining(self, after: float) -> float:
        """What is left of the way from `start` to `end`, from 1 to 0."""
        raise NotImplementedError


@dataclass(frozen=True)
class LinearSchedule(_Warmed):
    """From `start` to `end` in a line, after a rise from 0 over the first `warmup` of the run.

    rate(s) = start + (end - start) s, where s is the fraction done after warmup. PyTorch's ``LinearLR`` counts
    steps and takes factors instead.

    >>> schedule = LinearSchedule(0.1, warmup=0.2)
    >>> [round(schedule(done), 4) for done in (0.0, 0.1, 0.2, 0.6, 1.0)]
    [0.0, 0.05, 0.1, 0.05, 0.0]
    """

    def _remaining(self, after: float) -> float:
        return 1 - after


@dataclass(frozen=True)
class CosineSchedule(_Warmed):
    """From `start` to `end` in half a cosine, after a rise from 0 over the first `warmup` of the run.

    rate(s) = end + (start - end) (1 + cos(pi s)) / 2, where s is the fraction done after warmup. Source:
    Loshchilov and Hutter 2017 (SGDR), equation 5, without restarts.

    >>> schedule = CosineSchedule(0.1)
    >>> [round(schedule(done), 4) for done in (0.0, 0.25, 0.5, 1.0)]
    [0.1, 0.0854, 0.05, 0.0]
    """

    def _remaining(self, after: float) -> float:
        return (1 + math.cos(math.pi * after)) / 2


@dataclass(frozen=True)
class StepSchedule:
    """`start`, multiplied by `factor` at each fraction of the run in `at`.

    PyTorch's ``MultiStepLR`` takes epochs for `at`.

    >>> schedule = StepSchedule(0.1)
    >>> [round(schedule(done), 4) for done in (0.0, 0.49, 0.5, 0.75)]
    [0.1, 0.1, 0.01, 0.001]
    """

    start: float
    factor: float = 0.1
    at: tuple[float, ...] = (0.5, 0.75)

    def __post_init__(self) -> None:
        checks.number("start", self.start, 0, open_low=True)
        checks.number("factor", self.factor, 0, open_low=True)
        if not isinstance(self.at, (tuple, list)):
            raise TypeError(f"at must be a tuple of fractions from 0 to 1. Got {checks.show(self.at)}.")
        object.__setattr__(self, "at", tuple(checks.number("at", place, 0, 1) for place in self.at))

    def __call__(self, done: float) -> float:
        """The learning rate when the fraction `done` of the run is over."""
        done = checks.number("done", done, 0)
        return self.start * self.factor ** sum(done >= place for place in self.at)
