"""The networks of a forecaster: built, trained on windows, and asked for forecasts.

    window (steps / segment, segment features) -> recurrent layers -> last state -> dropout -> Dense -> horizon

Where columns are known ahead the network reads on through the horizon, and forecasts from its states at all its steps.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from elman import checks
from elman.checks import Array, ShapeError
from elman.estimators import stack, windows
from elman.estimators.spec import WindowSpec
from elman.estimators.windows import Scaled
from elman.layers import Dense, Dropout, LastStep, LastSteps
from elman.layers.pointwise import dropout_rate
from elman.network import Network
from elman.tables.panel import Panel, first_values
from elman.tables.places import few
from elman.tables.reading import read_future
from elman.training.fitting import fit
from elman.training.history import History
from elman.training.losses import Loss, Quantile, as_loss
from elman.training.optimizers import Adam
from elman.training.schedules import CosineSchedule

MANY = 10_000  # steps; of fewer none can be spared for validation, as in scikit-learn's gradient boosting
MOST_MEMBERS = 10_000
AT_ONCE = 2048  # windows that a network reads at a time when it forecasts


@dataclass(frozen=True)
class RealTargets(Loss):
    """A loss of real targets: a row holds the targets (K,), then 1 for each that is real and 0 for a gap.

    The error of a gap is 0, so that each real value counts the same.
    """

    loss: Loss

    def _split(self, prediction: Array, target: Array) -> tuple[Array, Array]:
        """Which targets are real, and the targets, with the prediction in the place of gaps."""
        values, real = np.split(target, 2, axis=-1)
        return real > 0, np.where(real > 0, values, prediction)

    def rows(self, prediction: Array, target: Array) -> Array:
        return self.loss.rows(prediction, self._split(prediction, target)[1])

    def rows_derivative(self, prediction: Array, target: Array) -> Array:
        real, values = self._split(prediction, target)
        return np.where(real, self.loss.rows_derivative(prediction, values), 0)

    def tails(self, width: int) -> list[tuple[int, ...]]:
        return [(2 * width,)]

    def bounds(self, width: int) -> tuple[float, float] | None:
        return self.loss.bounds(width)

    def check_width(self, width: int) -> None:
        self.loss.check_width(width)


class Trained(NamedTuple):
    """What training gives: statistics of the training part, the members, how they were trained, what was left out."""

    statistics: windows.Statistics
    networks: list[Network]
    histories: list[History]
    short: list[str]  # the names of series, or variables, of too few steps


@dataclass(frozen=True)
class TrainingSettings:
    """How networks are built and trained, in the words of `elman.Forecaster`."""

    cell: str
    hidden: tuple[int, ...]
    dropout: float
    loss: Loss
    members: int
    stride: int
    validation_fraction: float | None  # None: as many steps decide
    patience: int | None
    learning_rate: Any
    options: dict[str, Any]  # handed on to `elman.fit`

    @classmethod
    def read(cls, settings: dict[str, Any]) -> TrainingSettings:
        """From the parameters of a `Forecaster`, checked."""
        members, checkpoint = checks.size("members", settings["members"]), settings["checkpoint"]
        if members > MOST_MEMBERS:
            raise ValueError(f"members must be at most {MOST_MEMBERS:,}. Got {members:,}.")
        options = {
            "epochs": checks.size("epochs", settings["epochs"]),
            "batch_size": checks.size("batch_size", settings["batch_size"]),
            "progress": checks.flag("progress", settings["progress"]),
            "after_epoch": settings["after_epoch"],
        }
        if checkpoint is not None:
            if members > 1:
                raise ValueError(f"checkpoint must be left out where members is over 1. Got {checks.show(checkpoint)}.")
            options["checkpoint"] = checkpoint
        loss = as_loss(settings["loss"])
        if loss.integers or loss.whole_sequences:
            what = "labels" if loss.integers else "whole sequences"
            raise ValueError(f"loss must be one of numbers, not of {what}. Got {checks.show(settings['loss'])}.")
        fraction, patience = settings["validation_fraction"], settings["patience"]
        rate = settings["learning_rate"]
        return cls(
            cell=checks.choice("cell", settings["cell"], stack.CELLS),
            hidden=stack.sizes(settings["hidden"]),
            dropout=dropout_rate("dropout", settings["dropout"]),
            loss=loss,
            members=members,
            stride=checks.size("stride", settings["stride"]),
            validation_fraction=None if fraction is None else checks.number("validation_fraction", fraction, 0, 0.9),
            patience=None if patience is None else checks.size("patience", patience),
            learning_rate=rate
            if callable(rate)
            else CosineSchedule(checks.number("learning_rate", rate, 0, open_low=True)),
            options=options,
        )

    def network(self, spec: WindowSpec, seed: int) -> Network:
        """A new network for the windows of a spec."""
        seeds = iter([int(s) for s in np.random.SeedSequence(seed).generate_state(len(self.hidden) + 1)])
        features, outputs = spec.sizes
        layers, width = stack.recurrent_layers(self.cell, features, self.hidden, seeds)
        ahead = spec.horizon // spec.segment if spec.widths[1] else 0
        layers.append(LastSteps(width, ahead) if ahead else LastStep())
        if self.dropout:
            layers.append(Dropout(self.dropout))
        layers.append(Dense(width * max(1, ahead), outputs, seed=next(seeds)))
        return Network(layers)

    def train(self, panel: Panel, spec: WindowSpec, seed: int) -> Trained:
        """The statistics of the training part, and the members trained on its windows."""
        splits, ends, short = self._splits(panel, spec)
        statistics = windows.measure(panel, spec, ends)
        parts = windows.scale(panel, spec, statistics)
        firsts = [int(part.begins.min()) + spec.first_end for part in parts]
        pairs = list(zip(splits, firsts, strict=True))
        before = [np.arange(split - spec.horizon, first - 1, -self.stride)[::-1] for split, first in pairs]
        x, y, real = windows.examples(parts, spec, before)
        held = None
        if self._fraction(panel):
            after = [
                np.arange(split, (len(part.values.u) if split else 0) - spec.horizon + 1, self.stride)
                for part, split in zip(parts, splits, strict=True)
            ]
            held = windows.examples(parts, spec, after)
        if not len(x) or (held is not None and not len(held[0])):
            part = "validation" if len(x) else "training"
            raise ValueError(f"the {part} part, see validation_fraction, must hold values to forecast. Got gaps alone.")
        loss: Loss = Quantile(spec.levels * (spec.horizon * spec.together)) if spec.levels else self.loss
        gaps = real is not None or (held is not None and held[2] is not None)
        options = dict(self.options)
        if held is not None:
            options |= {"patience": self.patience, "validation": (held[0], _targets(spec, *held[1:], gaps))}
        y = _targets(spec, y, real, gaps)
        networks, histories = [], []
        for own in np.random.SeedSequence(seed).generate_state(self.members):
            net = self.network(spec, int(own))
            optimizer, own_loss = Adam(self.learning_rate), RealTargets(loss) if gaps else loss
            histories.append(fit(net, x, y, loss=own_loss, optimizer=optimizer, seed=int(own), **options))
            networks.append(net)
        return Trained(statistics, networks, histories, short)

    def _fraction(self, panel: Panel) -> float:
        """The share of each series that is held back for validation."""
        if self.validation_fraction is not None:
            return self.validation_fraction
        return 0.1 if sum(len(values) for values in panel.values) > MANY else 0.0

    def _splits(self, panel: Panel, spec: WindowSpec) -> tuple[list[int], list[Array], list[str]]:
        """Where the validation part of each series begins, 0 for those that are too short to train on.

        And to which step (V,) each variable is measured: to there, or to its end where it is too short. And which are.
        """
        splits, ends, names, errors = [], [], [], []
        for i, values in enumerate(panel.values):
            starts = windows.begins(panel, spec, i)
            held = math.ceil(self._fraction(panel) * (len(values) - starts.min()))
            held = max(held, spec.horizon) if held else 0
            split, needed = len(values) - held, spec.first_end + spec.horizon
            short = split - starts < needed
            for name, v in _named(panel, i, short):
                parts = [f"a window of {spec.window}", f"a horizon of {spec.horizon}"]
                parts += [f"a difference of {spec.difference}"] if spec.difference else []
                parts += [f"a validation part of {held}"] if held else []
                got = _count(panel, spec, i, v)
                errors.append(f"{name} must have at least {needed + held} steps, for {', '.join(parts)}. Got {got}")
                names.append(name)
            splits.append(0 if short.all() else split)
            ends.append(np.where(short, len(values), split))
        if not any(splits):
            raise ShapeError(f"{errors[0]}.")
        if names:
            warn_left_out(errors[0], names, "left out of the training", 6)
        return splits, ends, names


def _targets(spec: WindowSpec, y: Array, real: Array | None, gaps: bool) -> Array:
    """Targets once for each level, and where there are gaps which of them are real."""
    parts = [y, np.ones_like(y) if real is None else real.astype(y.dtype)] if gaps else [y]
    parts = [np.repeat(part, len(spec.levels), axis=1) for part in parts] if spec.levels else parts
    return np.concatenate(parts, axis=1) if gaps else parts[0]


def forecast(
    networks: Sequence[Network], panel: Panel, parts: Sequence[Scaled], spec: WindowSpec, ends: Sequence[Array]
) -> list[Array]:
    """Forecasts (n, horizon, V, Q) of each series from its own ends; NaN where a window lacks values."""
    found = []
    for i, (part, own) in enumerate(zip(parts, ends, strict=True)):
        with np.errstate(over="ignore", invalid="ignore"):
            found.append(_forecast(networks, part, spec, own))
        if (windows.ready(part, spec, own) & ~np.isfinite(found[-1]).all(axis=(1, 3))).any():
            raise ValueError(
                f"the forecasts of {panel.form.name(i)} must be finite. Got others from step {own[0]} on: its "
                "values, or the weights of the networks, are too large."
            )
    return found


def _forecast(networks: Sequence[Network], part: Scaled, spec: WindowSpec, ends: Array) -> Array:
    """Forecasts of one series: the mean over the members."""
    known = windows.ready(part, spec, ends)  # (n, V')
    found = np.full((len(ends), spec.horizon, spec.widths[0], max(1, len(spec.levels))), np.nan)
    able = np.flatnonzero(known.any(axis=1))
    at_once = max(1, AT_ONCE // known.shape[1])
    for start in range(0, len(able), at_once):
        rows = able[start : start + at_once]
        missing = ~known[rows].ravel()
        x = np.zeros((len(missing), spec.steps, spec.features), np.float32)
        level, spread = windows.inputs(part, spec, ends[rows], x)
        x[missing] = 0
        outputs = np.mean([net(windows.segments(x, spec))[0] for net in networks], axis=0, dtype=np.float64)
        f = np.where(missing[:, None], np.nan, outputs).reshape(len(x), spec.horizon, spec.together, -1)
        found[rows] = windows.restore(f, part, spec, ends[rows], level, spread)
    return np.sort(found, axis=-1)  # quantiles that cross are put in order


def known_ahead(panel: Panel, spec: WindowSpec, future: Any, fill: str | None) -> list[Array]:
    """The exogenous columns, those of the horizon included."""
    columns, horizon = spec.widths[1], spec.horizon
    if not columns:
        if future is not None:
            raise ValueError(f"future must be left out without exogenous columns. Got {checks.describe(future)}.")
        return panel.known
    if future is None:
        raise ValueError(f"future must hold {columns} exogenous columns of the horizon. Got None.")
    ahead = read_future(panel.form, future, horizon, len(panel.values), fill)
    for part in ahead:
        checks.shape("future", part, (horizon, columns))
    return [np.concatenate(pair) for pair in zip(panel.known, ahead, strict=True)]


def check_ready(panel: Panel, parts: Sequence[Scaled], spec: WindowSpec) -> None:
    """Refuses series all of which are too short to be continued, and warns of some."""
    names, errors, able = [], [], False
    for i, (values, part) in enumerate(zip(panel.values, parts, strict=True)):
        known = windows.ready(part, spec, np.array([len(values)]))[0]
        able |= bool(known.any())
        for name, v in _named(panel, i, ~known):
            got = _count(panel, spec, i, v)
            errors.append(f"{name} must have at least {spec.first_end} steps. Got {got}")
            names.append(name)
    if not able:
        raise ShapeError(f"{errors[0]}.")
    if names:
        warn_left_out(errors[0], names, "not forecast", 5)


def _named(panel: Panel, i: int, wrong: Array) -> list[tuple[str, int]]:
    """The variables (V,) of series i that are wrong, each with its number; the series itself where all are."""
    if wrong.all():
        return [(panel.form.name(i), int(panel.begins(i).argmin()))]
    return [(panel.form.variable(i, int(v)), int(v)) for v in np.flatnonzero(wrong)]


def _count(panel: Panel, spec: WindowSpec, i: int, v: int) -> str:
    """The steps of variable v of series i from where all that is read with it has values."""
    steps, begin = len(panel.values[i]), int(windows.begins(panel, spec, i)[v])
    columns = {"target": panel.values[i], "exogenous": panel.known[i], "past": panel.past[i]}
    for role, part in columns.items() if begin else ():
        late = first_values(part) == begin
        if role == "target" and spec.shared:
            late &= np.arange(len(late)) == v
        if late.any():
            what = panel.form.variable(i, int(late.argmax())) if role == "target" else f"the {role} columns"
            return f"{steps - begin} from the first value of {what} on"
    return str(steps)


def warn_left_out(first: str, names: Sequence[str], what: str, stacklevel: int) -> None:
    """Warns of series that are too short; names the first of them."""
    be = "are" if len(names) > 1 else "is"
    warnings.warn(f"{first}; {few(names, 4, str)} {be} {what}.", UserWarning, stacklevel=stacklevel)
