"""Forecasts from many origins beside what came, and beside the seasonal naive value; how far they were off.

Notation: y what came, f the forecast, n the seasonal naive value: that of the last season known. Means are over
origins, variables and series, where a real value came and both forecasts were made; a filled gap is no value:

    MAE  = mean |y - f|          RMSE = sqrt(mean (y - f)^2)        sMAPE = mean 200 |y - f| / (|y| + |f|)
    MASE = mean |y - f| / (mean |y_t - y_(t-season)| of the series before the first origin)

sMAPE and MASE as in the M4 competition (Makridakis et al. 2020, section 2). Coverage is the share of y from the lowest
quantile to the highest.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from elman import checks, drawing
from elman.checks import Array
from elman.estimators import windows
from elman.estimators.members import warn_left_out
from elman.estimators.spec import WindowSpec
from elman.tables.panel import Filled, Panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS = 8  # of a printed table, besides the mean


@dataclass(frozen=True, repr=False)
class Backtest:
    """What `Forecaster.backtest` found.

    Arrays are those of one series, or lists of them where there are many; the axis of the variables is left out
    where there is one.

    Attributes
    ----------
    origins
        (origins,): the index of the first step forecast.
    forecasts, actuals, naive
        (origins, horizon, variables): forecasts, what came, and the seasonal naive value. NaN where no value came,
        and where a series or a variable is too young for a forecast.
    quantiles
        (origins, horizon, variables, levels), or None.
    levels
        The levels of the quantiles.
    season
        That of the naive value; 1 repeats the last value.
    table
        Column -> values, a row per step ahead and last their mean: "step", "MAE", "RMSE", "MASE", "sMAPE", the same
        of the naive value, "coverage" where there are quantiles. ``pandas.DataFrame(backtest.table)`` shows it all.
    """

    origins: Any
    forecasts: Any
    actuals: Any
    naive: Any
    quantiles: Any
    levels: tuple[float, ...]
    season: int
    table: dict[str, Array]
    _parts: tuple[Any, ...]  # what `plot` draws: the forecasts of the first variable of the first series

    def __getitem__(self, measure: str) -> float:
        """A measure over all steps ahead: backtest["MASE"], backtest["naive MASE"], backtest["coverage"]."""
        return float(self.table[checks.choice("measure", measure, [name for name in self.table if name != "step"])][-1])

    def __repr__(self) -> str:
        steps = len(self.table["MAE"]) - 1
        shown = [*np.unique(np.linspace(0, steps - 1, min(steps, ROWS)).round().astype(int)), steps]
        widths = [max(len(name), 9) + 2 for name in self.table]
        rows = [list(self.table), *([_cell(values[row]) for values in self.table.values()] for row in shown)]
        lines = ["".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        count = sum(map(len, self.origins if isinstance(self.origins, list) else [self.origins]))
        title = f"Backtest of {count} forecasts, {steps} steps ahead; naive: season {self.season}"
        return "\n".join([title, *lines])

    def plot(self, path: str | os.PathLike[str] | None = None, origin: int = -1) -> Figure:
        """Draws the forecast from one origin of the first series beside what came, and the errors by step ahead.

        `origin` counts the origins; the last one if left out. With `path` the figure is written there. Returns the
        matplotlib Figure. Raises `MissingExtraError` where matplotlib is not installed.
        """
        figure = drawing.new_figure("Backtest.plot", path, (9, 3.6), returned=True)
        left, right = figure.subplots(1, 2, width_ratios=(2, 1))
        blue, orange = drawing.COLORS[:2]
        forecasts, actuals, naive, quantiles = self._parts
        steps = np.arange(1, forecasts.shape[1] + 1)
        left.plot(steps, actuals[origin], color="0.3", label="what came")
        left.plot(steps, forecasts[origin], color=blue, label="forecast")
        left.plot(steps, naive[origin], color=orange, linestyle=":", label="seasonal naive")
        if quantiles is not None:
            low, high = quantiles[origin][:, 0], quantiles[origin][:, -1]
            label = f"{self.levels[0]:g} to {self.levels[-1]:g}"
            left.fill_between(steps, low, high, color=blue, alpha=0.2, label=label)
        right.plot(steps, self.table["MAE"][:-1], color=blue, label="forecast")
        right.plot(steps, self.table["naive MAE"][:-1], color=orange, linestyle=":", label="seasonal naive")
        for axes, title in ((left, "value"), (right, "MAE")):
            drawing.dress(axes, "steps ahead", title)
        drawing.finish(path, figure)
        return figure


def origins(panel: Panel, spec: WindowSpec, start: int | None, step: int, season: int) -> tuple[list[int], list[Array]]:
    """Of each series its first origin, and the ends of its windows from there on, every `step` steps.

    `start` None is the first that a series allows. Else it is one time for all series with a clock: a network must not
    be trained on what came later in another series. Series that are too short have no ends; all of them are refused.
    """
    begins, steps = panel.form.span([len(values) for values in panel.values])
    firsts, ends, names, errors = [], [], [], []
    for i, values in enumerate(panel.values):
        count, name = len(values), panel.form.name(i)
        least = int(windows.begins(panel, spec, i).min()) + max(spec.first_end, season + 1)
        most = count - spec.horizon
        first = least if start is None else int(start) + (int(steps[i]) if start < 0 else 0) - int(begins[i])
        able = least <= first <= most
        if not able:
            own = f", step {first}," if steps[i] != count and first != start else ""
            must = f"start must leave {least} steps before it and {spec.horizon} after it in {name}"
            if start is None:
                must = f"{name} must have at least {least + spec.horizon} steps"
            errors.append(f"{must}. Got {'' if start is None else f'{checks.show(start)}{own} of '}{count} steps")
            names.append(name)
        firsts.append(min(max(first, 0), count))
        ends.append(np.arange(first, most + 1, step) if able else np.arange(0))
    if len(errors) == len(ends):
        raise ValueError(f"{errors[0]}.")
    if errors:
        warn_left_out(errors[0], names, "left out of the back-test" if start is not None else "not scored", 4)
    return firsts, ends


def warn_of_young(panel: Panel, spec: WindowSpec, firsts: Sequence[int], ends: Sequence[Array]) -> None:
    """Warns of variables that begin too late for a forecast from the first origin of their series: theirs are NaN."""
    young = []
    for i, (first, own) in enumerate(zip(firsts, ends, strict=True)):
        late = windows.begins(panel, spec, i) > first - spec.first_end
        young += [panel.form.variable(i, int(v)) for v in np.flatnonzero(late & (len(own) > 0))]
    if young:
        must = f"a forecast needs {spec.first_end} steps from the first value on"
        warn_left_out(must, young, "too young for one from the first origins", 4)


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def seasonal_naive(y: Filled, ends: Array, horizon: int, season: int) -> Array:
    """The value of the last season known, (n, horizon, V)."""
    ahead = np.arange(horizon)
    return y.seen(ends[:, None] + ahead - season * (ahead // season + 1), ends[:, None])


def scored(panel: Panel, ends: Sequence[Array], forecasts: Sequence[Array], spec: WindowSpec, season: int) -> Backtest:
    """A `Backtest` of forecasts (n, horizon, V, Q) from the given ends."""
    levels, point = spec.levels, spec.point
    horizon, form, series = forecasts[0].shape[1], panel.form, panel.values
    actuals = [y[e[:, None] + np.arange(horizon)] for y, e in zip(series, ends, strict=True)]
    filled = [Filled.read(y, panel.fill) for y in series]
    naive = [seasonal_naive(y, e, horizon, season) for y, e in zip(filled, ends, strict=True)]
    points = [f[..., point] for f in forecasts]
    scales = [_scale(y[: e.min(initial=len(y))], season) for y, e in zip(series, ends, strict=True)]
    counted = [~np.isnan(y + f + n) for y, f, n in zip(actuals, points, naive, strict=True)]
    steps = [*map(str, range(1, horizon + 1)), "mean"]
    table: dict[str, Array] = {"step": np.array(steps, dtype=object)}
    table |= _measures(points, actuals, scales, counted)
    table |= {f"naive {name}": values for name, values in _measures(naive, actuals, scales, counted).items()}
    if levels:
        inside = [(f[..., 0] <= y) & (y <= f[..., -1]) for f, y in zip(forecasts, actuals, strict=True)]
        table["coverage"] = _by_step([part.astype(float) for part in inside], counted)

    write = partial(form.arrays, axis=2)
    first = next(i for i, e in enumerate(ends) if len(e))
    drawn = tuple(part[first][..., 0] for part in (points, actuals, naive))
    drawn += (forecasts[first][:, :, 0] if levels else None,)
    return Backtest(
        list(ends) if form.many else ends[0],
        write(points),
        write(actuals),
        write(naive),
        write(forecasts) if levels else None,
        levels,
        season,
        table,
        drawn,
    )


def _scale(before: Array, season: int) -> Array:
    """The mean size (V,) of the changes over a season, between real values; NaN where there are none."""
    changes = np.abs(before[season:] - before[: len(before) - season])
    real = ~np.isnan(changes)
    with np.errstate(invalid="ignore"):
        return np.asarray(changes.sum(0, where=real) / real.sum(0))


def _by_step(parts: Sequence[Array], counted: Sequence[Array]) -> Array:
    """Means over series, origins and variables of what counts of parts (n, horizon, V): of each step ahead, of all."""
    counts = np.sum([chosen.sum((0, 2)) for chosen in counted], axis=0)
    sums = [np.where(chosen, part, 0).sum((0, 2)) for part, chosen in zip(parts, counted, strict=True)]
    with np.errstate(invalid="ignore"):
        means = np.sum(sums, axis=0) / counts
        return np.append(means, (np.where(counts, means, 0) * (counts / counts.mean())).mean())


def _measures(
    forecasts: Sequence[Array], actuals: Sequence[Array], scales: Sequence[Array], counted: Sequence[Array]
) -> dict[str, Array]:
    errors = [np.abs(y - f) for y, f in zip(actuals, forecasts, strict=True)]
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = [e / np.where(s > 0, s, np.nan) for e, s in zip(errors, scales, strict=True)]
        sizes = [np.abs(y) + np.abs(f) for y, f in zip(actuals, forecasts, strict=True)]
        shares = [np.where(size > 0, 200 * e / size, 0) for e, size in zip(errors, sizes, strict=True)]
    return {
        "MAE": _by_step(errors, counted),
        "RMSE": np.sqrt(_by_step([e * e for e in errors], counted)),
        "MASE": _by_step(scaled, counted),
        "sMAPE": _by_step(shares, counted),
    }


def skill(test: Backtest) -> float:
    """1 - MAE / MAE of the seasonal naive value."""
    if not test["naive MAE"] > 0:  # NaN where no value came
        raise ValueError(
            "series must not repeat itself exactly, or there is no error to compare with. "
            f"Got MAE {test['naive MAE']:g}."
        )
    return 1 - test["MAE"] / test["naive MAE"]
