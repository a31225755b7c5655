"""The networks of a forecaster: built, trained on windows, and asked for forecasts.

    window (steps / segment, segment features) -> recurrent layers -> last state -> dropout -> Dense -> horizon

Where columns are known ahead the network reads on through the horizon, and forecasts from its states at all its steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array, ShapeError
from elman.estimators import stack, windows
from elman.estimators.windows import Plan, Scaled
from elman.layers import Dense, Dropout, LastStep, LastSteps
from elman.layers.noise import dropout_rate
from elman.network import Network
from elman.tables.panel import Panel
from elman.training.fitting import fit
from elman.training.history import History
from elman.training.losses import Loss, Quantile, as_loss
from elman.training.optimizers import Adam
from elman.training.schedules import CosineSchedule

MANY = 10_000  # steps; of fewer none can be spared for validation, as in scikit-learn's gradient boosting
AT_ONCE = 2048  # windows that a network reads at a time when it forecasts


@dataclass(frozen=True)
class Recipe:
    """How networks are built and trained, in the words of `elman.Forecaster`."""

    cell: str
    hidden: tuple[int, ...]
    dropout: float
    levels: tuple[float, ...]
    loss: Loss
    members: int
    stride: int
    standardize: bool
    validation_fraction: float | None  # None: as many steps decide
    patience: int | None
    learning_rate: Any
    options: dict[str, Any]  # handed on to `elman.fit`

    @classmethod
    def read(cls, settings: dict[str, Any]) -> Recipe:
        """From the parameters of a `Forecaster`, checked."""
        members, checkpoint = checks.size("members", settings["members"]), settings["checkpoint"]
        options = {
            "epochs": checks.size("epochs", settings["epochs"]),
            "batch_size": checks.size("batch_size", settings["batch_size"]),
            "progress": checks.flag("progress", settings["progress"]),
        }
        if checkpoint is not None:
            if members > 1:
                raise ValueError(f"checkpoint must be left out where members is over 1. Got {checks.show(checkpoint)}.")
            options["checkpoint"] = checkpoint
        fraction, patience = settings["validation_fraction"], settings["patience"]
        rate = settings["learning_rate"]
        return cls(
            cell=checks.choice("cell", settings["cell"], stack.CELLS),
            hidden=stack.sizes(settings["hidden"]),
            dropout=dropout_rate("dropout", settings["dropout"]),
            levels=_levels(settings["quantiles"]),
            loss=as_loss(settings["loss"]),
            members=members,
            stride=checks.size("stride", settings["stride"]),
            standardize=checks.flag("standardize", settings["standardize"]),
            validation_fraction=None if fraction is None else checks.number("validation_fraction", fraction, 0, 0.9),
            patience=None if patience is None else checks.size("patience", patience),
            learning_rate=rate
            if callable(rate)
            else CosineSchedule(checks.number("learning_rate", rate, 0, open_low=True)),
            options=options,
        )

    @property
    def point(self) -> int:
        """Which output of a step is the forecast: the median."""
        return self.levels.index(0.5) if self.levels else 0

    def network(self, plan: Plan, seed: int) -> Network:
        """A new network for the windows of a plan."""
        seeds = iter([int(s) for s in np.random.SeedSequence(seed).generate_state(len(self.hidden) + 1)])
        layers, width = stack.recurrent_layers(self.cell, plan.segment * plan.features, self.hidden, seeds)
        ahead = plan.horizon // plan.segment if plan.widths[1] else 0
        layers.append(LastSteps(width, ahead) if ahead else LastStep())
        if self.dropout:
            layers.append(Dropout(self.dropout))
        outputs = plan.horizon * plan.together * max(1, len(self.levels))
        layers.append(Dense(width * max(1, ahead), outputs, seed=next(seeds)))
        return Network(layers)

    def train(self, panel: Panel, plan: Plan, seed: int) -> tuple[windows.Statistics, list[Network], list[History]]:
        """The statistics of the training part, and the members trained on its windows."""
        splits = self._splits(panel, plan)
        statistics = windows.measure(panel, plan, splits, self.standardize)
        parts = windows.scale(panel, plan, statistics)
        last = [split - plan.horizon for split in splits]
        x, y = self._examples(parts, plan, [np.arange(e, plan.first_end - 1, -self.stride)[::-1] for e in last])
        options: dict[str, Any] = dict(self.options)
        if self._fraction(panel):
            options["patience"] = self.patience
            ends = [
                np.arange(split, len(part.v) - plan.horizon + 1, self.stride)
                for part, split in zip(parts, splits, strict=True)
            ]
            options["validation"] = self._examples(parts, plan, ends)
        loss: Loss = self.loss
        if self.levels:
            loss = Quantile(self.levels * (plan.horizon * plan.together))
        networks, histories = [], []
        for own in np.random.SeedSequence(seed).generate_state(self.members):
            net = self.network(plan, int(own))
            optimizer = Adam(self.learning_rate)
            histories.append(fit(net, x, y, loss=loss, optimizer=optimizer, seed=int(own), **options))
            networks.append(net)
        return statistics, networks, histories

    def _examples(self, parts: Sequence[Scaled], plan: Plan, ends: Sequence[Array]) -> tuple[Array, Array]:
        x, y = windows.examples(parts, plan, ends)
        return x, np.repeat(y, len(self.levels), axis=1) if self.levels else y

    def _fraction(self, panel: Panel) -> float:
        """The share of each series that is held back for validation."""
        if self.validation_fraction is not None:
            return self.validation_fraction
        return 0.1 if sum(len(values) for values in panel.values) > MANY else 0.0

    def _splits(self, panel: Panel, plan: Plan) -> list[int]:
        """Where the validation part of each series begins; refuses series that are too short."""
        splits, fraction = [], self._fraction(panel)
        for i, values in enumerate(panel.values):
            held = math.ceil(fraction * len(values))
            held = max(held, plan.horizon) if held else 0
            needed = plan.first_end + plan.horizon + held
            if len(values) < needed:
                parts = [f"a window of {plan.window}", f"a horizon of {plan.horizon}"]
                parts += [f"a difference of {plan.difference}"] if plan.difference else []
                parts += [f"a validation part of {held}"] if held else []
                raise ShapeError(
                    f"{panel.form.name(i)} must have at least {needed} steps, for {', '.join(parts)}. "
                    f"Got {len(values)}."
                )
            splits.append(len(values) - held)
        return splits

    def forecast(self, networks: Sequence[Network], part: Scaled, plan: Plan, ends: Array) -> Array:
        """Forecasts (n, horizon, V, Q) of one series from each end: the mean over the members."""
        each = plan.widths[0] if plan.shared else 1
        at_once = max(1, AT_ONCE // each)
        pieces = []
        for start in range(0, len(ends), at_once):
            chosen = ends[start : start + at_once]
            x = np.zeros((len(chosen) * each, plan.steps, plan.features), np.float32)
            level, spread = windows.inputs(part, plan, chosen, x)
            outputs = np.mean([net(windows.segments(x, plan))[0] for net in networks], axis=0, dtype=np.float64)
            f = outputs.reshape(len(x), plan.horizon, plan.together, -1)
            pieces.append(windows.restore(f, part, plan, chosen, level, spread))
        return np.sort(np.concatenate(pieces), axis=-1)  # quantiles that cross are put in order


def _levels(given: Any) -> tuple[float, ...]:
    if given is None:
        return ()
    if not isinstance(given, (tuple, list)) or len(given) == 0:
        raise ValueError(f"quantiles must be a tuple of levels, such as (0.1, 0.5, 0.9). Got {checks.show(given)}.")
    levels = tuple(checks.number("quantiles", level, 0, 1, open_low=True) for level in given)
    if list(levels) != sorted(set(levels)) or levels[-1] == 1 or 0.5 not in levels:
        raise ValueError(f"quantiles must ascend, over 0 and under 1, with 0.5 among them. Got {checks.show(given)}.")
    return levels
