"""What a score loses where a part of the input says nothing any more: its values are those of others.

Source: Breiman 2001, "Random Forests", section 10; of any model: Fisher, Rudin, Dominici 2019, section 3.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from elman import checks
from elman.checks import Array
from elman.estimators.extra import random_generator
from elman.estimators.inputs import Inputs
from elman.tables.long import BESIDE, tables_of
from elman.tables.panel import Panel
from elman.tables.places import counted
from elman.training.history import reporter


class Drop(NamedTuple):
    """By how much a score falls."""

    mean: float  #: over the repeats
    deviation: float  #: of the repeats


@dataclass(frozen=True, repr=False)
class Importance:
    """What `importance` of an estimator measured."""

    features: Mapping[Hashable, Drop]  #: name -> mean and deviation of the loss of score
    parts: Mapping[str, Drop]  #: the same of parts of the sequences, such as "0-20 %"
    score: float  #: with everything in its place

    def plot(self, parts: bool = False, path: str | os.PathLike[str] | None = None) -> Any:
        """Draws a bar for each feature, or for each part of the sequences; see `elman.plots.importance`."""
        shown = self.parts if checks.flag("parts", parts) else self.features
        return import_module("elman.insight.plots").importance(shown, path=path)

    def __repr__(self) -> str:
        rows = [*sorted(self.features.items(), key=lambda row: -row[1].mean), *self.parts.items()]
        width = max(len(str(name)) for name, _ in rows)
        lines = [f"  {name!s:<{width}}  {drop.mean:8.4f} +- {drop.deviation:.4f}" for name, drop in rows]
        return "\n".join([f"Importance, loss of a score of {self.score:.4f}", *lines])


#: A generator gives what is judged in the place of the input.
Change = Callable[[np.random.RandomState], Any]


@dataclass(frozen=True)
class Repeats:
    """How often, from which generator, and whether it is shown."""

    count: int
    rng: np.random.RandomState
    progress: bool

    @classmethod
    def read(cls, repeats: Any, random_state: Any, progress: Any) -> Repeats:
        """From the arguments of `importance`."""
        return cls(checks.size("repeats", repeats), random_generator(random_state), checks.flag("progress", progress))

    def drops(self, score: float, judge: Callable[[Any], float], changes: Mapping[Any, Change]) -> dict[Any, Drop]:
        """What each change takes off a score; `judge` gives the score of what a change gives."""
        found, done = {}, 0
        with reporter(self.progress, len(changes) * self.count, 0, "pass") as show:
            for name, change in changes.items():
                losses = []
                for _ in range(self.count):
                    losses.append(score - judge(change(self.rng)))
                    show.update(done, 1.0, None)
                    show.epoch(done, None, None)
                    done += 1
                found[name] = Drop(float(np.mean(losses)), float(np.std(losses)))
        return found


def of_sequences(inputs: Inputs, judge: Callable[[Inputs], float], parts: int | None, repeats: Repeats) -> Importance:
    """What each feature, and each part of the sequences, is worth to the score that `judge` gives.

    A sequence is given the values of another one, drawn anew each time; where that is shorter, it begins again.
    """
    if len(inputs) < 2:
        raise ValueError(f"X must hold at least 2 sequences, to give one the values of another. Got {len(inputs)}.")
    if parts is not None:
        checks.size("parts", parts, int(inputs.lengths.max()))

    def change(columns: Any, begin: float = 0, end: float = 1) -> Change:
        def changed(rng: np.random.RandomState) -> Inputs:
            pairs = zip(inputs.parts, rng.permutation(len(inputs)), strict=True)
            return replace(inputs, parts=[_with(own, inputs.parts[j], columns, begin, end) for own, j in pairs])

        return changed

    features: dict[Hashable, Change] = {name: change(columns) for name, columns in _columns(inputs).items()}
    edges = np.linspace(0, 1, (parts or 0) + 1)
    of_time = {f"{100 * a:.3g}-{100 * b:.3g} %": change(..., a, b) for a, b in itertools.pairwise(edges)}
    score = judge(inputs)
    drops = repeats.drops(score, judge, {(0, name): one for name, one in features.items()}
                          | {(1, name): one for name, one in of_time.items()})  # fmt: skip
    both = [{name: drop for (kind, name), drop in drops.items() if kind == which} for which in (0, 1)]
    return Importance(both[0], both[1], score)


def _columns(inputs: Inputs) -> dict[Hashable, Any]:
    """The columns of numbers of each feature; a category has several."""
    if inputs.parts[0].ndim == 1:
        return {"tokens": ...}
    if inputs.columns is None or inputs.form != "list":
        return {f"feature {j}": [j] for j in range(inputs.features)}
    ends = np.cumsum([len(column.names) for column in inputs.columns.columns])
    return {column.label: np.arange(end - len(column.names), end)
            for column, end in zip(inputs.columns.columns, ends, strict=True)}  # fmt: skip


def _with(own: Array, other: Array, columns: Any, begin: float, end: float) -> Array:
    """A sequence with these columns of another one, in a part of its steps."""
    rows, given = (slice(round(begin * len(part)), round(end * len(part))) for part in (own, other))
    source = other[given] if len(other[given]) else other  # too short to have such a part
    count = len(own[rows])
    new = own.astype(np.result_type(own, other))
    where = (rows, columns) if own.ndim == 2 else rows
    taken = source[np.arange(count) % len(source)]
    new[where] = taken[:, columns] if own.ndim == 2 else taken
    return new


def of_series(panel: Panel, judge: Callable[[Panel], float], repeats: Repeats) -> Importance:
    """What each column beside the series is worth to the score that `judge` gives.

    The known values of a column are moved on in time by a number of steps drawn anew, those at the end come first.
    """
    changes: dict[Hashable, Change] = {}
    tables = tables_of(panel.form)
    for role, field, width in zip(BESIDE, ("known", "past"), panel.widths[1:], strict=True):
        columns = tables[0].columns[role].columns if tables and width else ()
        groups: list[tuple[Hashable, int]] = [(column.label, len(column.names)) for column in columns]
        first = 0
        for name, count in groups or [(f"{role} {j}", 1) for j in range(width)]:
            changes[name] = _moved(panel, field, slice(first, first + count))
            first += count
    if not changes:
        must = "series must have columns beside what is forecast, exogenous or past, to tell what they are worth"
        raise ValueError(f"{must}. Got {counted(panel.widths[0], 'variable')} alone.")
    score = judge(panel)
    return Importance(repeats.drops(score, judge, changes), {}, score)


def _moved(panel: Panel, field: str, columns: slice) -> Change:
    """The panel with columns of one field moved on."""

    def changed(rng: np.random.RandomState) -> Panel:
        parts: list[Array] = []
        for part in getattr(panel, field):
            new = part.copy()
            known = np.isfinite(part[:, columns]).all(1)  # a gap stays where it is
            if known.sum() > 1:
                rows = np.flatnonzero(known)
                new[rows, columns] = np.roll(part[rows, columns], rng.randint(1, len(rows)), axis=0)
            parts.append(new)
        changes: dict[str, Any] = {field: parts}
        return replace(panel, **changes)

    return changed
