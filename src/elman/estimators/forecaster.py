"""Forecasts of one or many series, all steps of the horizon at once, by recurrent networks over windows.

A network reads a window of the series, a segment of steps at a time, and a dense layer turns its last state into the
forecasts of all steps ahead. Sources: direct forecasts and windows freed of their level as in Lin et al. 2023 (SegRNN),
sections 3.2 and 3.3; quantiles as in Wen et al. 2017, section 3.1; the network shared by all variables as in Nie et al.
2023 (channel independence), section 3.1.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np

from elman import checks
from elman.checks import Array, ShapeError
from elman.estimators import windows
from elman.estimators.backtest import Backtest, origins, scored, skill, warn_of_young
from elman.estimators.deployment import forecasting
from elman.estimators.extra import BaseEstimator, check_is_fitted, random_generator
from elman.estimators.features import warn_of_variables
from elman.estimators.files import Fitted
from elman.estimators.members import TrainingSettings, check_ready, forecast, known_ahead
from elman.estimators.permutation import Importance, Repeats, of_series
from elman.estimators.spec import WindowSpec, naive_season
from elman.estimators.windows import Scaled, Statistics
from elman.network import Network
from elman.tables.panel import Panel
from elman.tables.places import check_no_y
from elman.tables.reading import known_before, read, read_like
from elman.tables.words import describe
from elman.training.checkpoints import Checkpoint
from elman.training.history import Epoch, History
from elman.training.losses import Loss


class Forecaster(Fitted, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Forecasts of one series, of several variables, or of many series, `horizon` steps ahead.

    Parameters
    ----------
    horizon
        Steps ahead, all forecast at once.
    season
        Steps after which the series repeats: 24 for hours of a day, 12 for months of a year. For the naive value and
        the default window; None where there is none.
    window
        Steps that a forecast is made from; if left out two seasons, or two horizons without a season, at least the
        horizon, and a multiple of `segment`.
    cell, hidden
        "gru", "lstm" or "rnn", and its hidden units; a tuple of sizes stacks several.
    segment
        Steps taken as one recurrent step; they must divide the window, and the horizon where `exogenous` columns are
        known ahead. 1 reads step by step; a long window is quicker and often better in segments.
    level
        What is taken off each window and put back on its forecast: its "last" value, its "mean", or None.
    spread
        Also divides each window by its standard deviation.
    difference
        Forecasts the difference to the value so many steps before, the season as a rule; None does not.
    log
        Works on the logarithm, for series whose changes grow with them. Values must be over 0.
    standardize
        Brings each series (each variable of one) to mean 0 and deviation 1, measured on the training part. A constant
        series is measured in its own size.
    shared
        True: one network forecasts each variable by itself. False: it reads all variables and forecasts all of them.
    quantiles
        Levels such as (0.1, 0.5, 0.9), ascending, 0.5 among them: trains by the quantile loss, the median being the
        forecast. None: forecasts alone.
    loss
        "absolute_error", "squared_error", "huber" or an `elman` loss; not used with quantiles.
    members
        Networks that differ by their seed; the forecast is the mean of theirs.
    dropout
        Of the last state.
    learning_rate
        Of Adam; a number falls to 0 in half a cosine, a schedule does what it says.
    epochs, batch_size
        Rounds over the windows, and windows per update.
    stride
        Steps from one training window to the next. Windows take 4 (window + horizon) bytes each.
    validation_fraction
        The last part of each series, at least a horizon, on which the best epoch is found; 0 trains on everything,
        and None, where the series together have at most 10,000 steps; else it is 0.1.
    patience
        Epochs without a lower loss on the validation part after which training stops; None goes on, with the last
        weights.
    fill
        "forward" or "interpolate" fills NaN and missing rows of a table, for each forecast from what stands before it
        alone; filled values are neither trained on nor scored. What has no value before it is not filled: a series
        begins with its first value. None refuses gaps; late starts among several series are masked even so.
    freq
        The step of a table's time, where it is not to be found out: "h", "15min", "D", "W-MON", "MS", "QE", "B" for
        business days; a whole number, a duration, a `numpy.busdaycalendar`, an offset of pandas, as
        `pd.offsets.BMonthEnd()`, or the dates of a trading calendar.
    random_state
        An integer gives the same weights each time.
    progress, checkpoint, after_epoch
        As in `elman.fit`. A checkpoint is for one member, and needs a `random_state`; the function is called after
        every epoch of each member.

    Attributes
    ----------
    network_, networks_
        The first `elman.Network`, and those of all members.
    history_, histories_
        The first `elman.History`, and all.
    window_
        The window in use.
    read_as
        How the series were read, in words: how many, by which id, the clock, gaps, columns beside.

    Raises
    ------
    ValueError, TypeError
        By `fit`, `predict` and `backtest`, before any work, where an argument does not fit, all series are too
        short, one has gaps or values that are not finite, or its stamps are not in equal steps. The message names the
        place.
    UserWarning
        Where some series, or variables, are too short: they are left out of the training, and their forecasts are NaN,
        or left out of a table.

    >>> import numpy as np, elman
    >>> t = np.arange(200)
    >>> y = 10 + np.sin(2 * np.pi * t / 12) + 0.02 * t
    >>> forecaster = elman.Forecaster(horizon=6, season=12, hidden=16, epochs=30, learning_rate=0.02, random_state=0)
    >>> test = forecaster.backtest(y, start=-36)  # trains on what stands before the last 36 values
    >>> bool(test["MAE"] < test["naive MAE"])
    True
    >>> forecaster.fit(y).predict().shape
    (6,)
    """

    network_: Network
    networks_: list[Network]
    history_: History
    histories_: list[History]
    read_as: str
    window_: int
    season: int | None
    fill: str | None
    freq: Any
    random_state: Any
    checkpoint: Any
    _spec: WindowSpec
    _statistics: Statistics
    _end: Panel

    def __init__(
        self,
        horizon: int = 1,
        *,
        season: int | None = None,
        window: int | None = None,
        cell: str = "gru",
        hidden: int | tuple[int, ...] = 64,
        segment: int = 1,
        level: str | None = "last",
        spread: bool = False,
        difference: int | None = None,
        log: bool = False,
        standardize: bool = True,
        shared: bool = True,
        quantiles: tuple[float, ...] | None = None,
        loss: str | Loss = "absolute_error",
        members: int = 1,
        dropout: float = 0.2,
        learning_rate: Any = 5e-3,
        epochs: int = 50,
        batch_size: int = 32,
        stride: int = 1,
        validation_fraction: float | None = None,
        patience: int | None = 5,
        fill: str | None = None,
        freq: Any = None,
        random_state: Any = None,
        progress: bool = False,
        checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
        after_epoch: Callable[[Epoch], object] | None = None,
    ) -> None:
        self._keep(locals())

    def fit(
        self,
        series: Any,
        y: None = None,
        *,
        exogenous: Any = None,
        past: Any = None,
        target: Hashable | Sequence[Hashable] = None,
        time: Hashable = None,
        id: Hashable | Sequence[Hashable] = None,  # noqa: A002
    ) -> Self:
        """Trains on the windows of the series.

        Parameters
        ----------
        series
            One series (time,), variables of one clock (time, variables), or a list of series of unequal length, for
            which one network is trained. Or a table of pandas, Polars or Arrow, a column of one, or a list of such; see
            docs/tables.md.
        y
            Left out: it stands in the signature as scikit-learn's tools want it. `target` names columns of a table.
        exogenous
            Columns that are known ahead: (time, columns), a list of such for many series, names of the table, or a
            table that is joined on time (and id). The network reads them through the window and through the horizon;
            `predict` takes those of the horizon as `future`.
        past
            The same for columns that are known up to the present only: they are read in the window.
        target, time, id
            Columns of a table, or levels of its index: what is forecast (if left out, all columns without another
            role), when (dates, periods, durations or whole numbers in equal steps), and which series a row belongs to,
            one column or several. An index of pandas is taken by itself: dates are the time, other levels the id.
        """
        check_no_y(y, ": target= names the columns of a table to forecast, and arrays hold them all")
        settings = self.get_params(deep=False)
        training = TrainingSettings.read(settings)
        panel = read(series, exogenous, past, (target, time, id), self.fill, self.freq)
        spec = WindowSpec.read(settings, panel.widths)
        panel.form.check_ahead(spec.horizon)
        warn_of_variables(panel)
        self._train(training, panel, spec)
        return self

    def predict(self, series: Any = None, *, exogenous: Any = None, past: Any = None, future: Any = None) -> Any:
        """Forecasts of the `horizon` steps after the end of the series.

        Parameters
        ----------
        series, exogenous, past
            In the form of `fit`, at least a window (and `difference`) long; a table needs the columns it had. If left
            out, those of the training are continued.
        future
            The exogenous columns of the horizon: (horizon, columns), a list of such, or a table of the rows that
            follow.

        Returns
        -------
        forecasts
            (horizon,), (horizon, variables), a list of such, or a table with the stamps that follow.
        """
        panel, forecasts = self._ahead(series, exogenous, past, future)
        return panel.form.write([part[0, :, :, self._spec.point] for part in forecasts])

    def predict_quantiles(
        self, series: Any = None, *, exogenous: Any = None, past: Any = None, future: Any = None
    ) -> Any:
        """Quantiles of the steps ahead, as `predict` with a last axis of levels, or a column per level: "load_0.1"."""
        check_is_fitted(self, "networks_")
        if not self._spec.levels:
            raise ValueError("quantiles must be given to a Forecaster that predicts them. Got None.")
        panel, forecasts = self._ahead(series, exogenous, past, future)
        return panel.form.write([part[0] for part in forecasts], self._spec.levels)

    def backtest(
        self,
        series: Any,
        start: int,
        *,
        step: int = 1,
        refit: bool = True,
        exogenous: Any = None,
        past: Any = None,
        target: Hashable | Sequence[Hashable] = None,
        time: Hashable = None,
        id: Hashable | Sequence[Hashable] = None,  # noqa: A002
    ) -> Backtest:
        """Forecasts from rolling origins, beside what came and the seasonal naive value.

        Parameters
        ----------
        series, exogenous, past, target, time, id
            As for `fit`; exogenous columns are taken as known over each horizon. Without `refit` the columns of a
            table are those of `fit`.
        start
            The first step to forecast, counted from the end where it is under 0: from the start or the end of each
            series, or of the clock of all where they have time stamps, so that all are cut at one time.
        step
            Steps from one origin to the next; the last horizon ends with the series or before.
        refit
            True trains on what stands before `start`, and leaves this forecaster as it is. False takes this
            forecaster, which must have been trained on nothing from `start` on.
        """
        if not checks.is_whole(start):
            raise ValueError(f"start must be a whole number. Got {checks.show(start)}.")
        model = self
        if checks.flag("refit", refit):
            settings = self.get_params(deep=False)
            model, training = Forecaster(**settings), TrainingSettings.read(settings)
            panel = read(series, exogenous, past, (target, time, id), self.fill, self.freq)
            spec = WindowSpec.read(settings, panel.widths)
        else:
            panel = self._read_again(series, exogenous, past, {"target": target, "time": time, "id": id})
            spec = self._spec
        step, season = checks.size("step", step), naive_season(self.season)
        firsts, ends = origins(panel, spec, start, step, season)
        if refit:
            panel = known_before(panel, firsts)
            model._train(training, panel.cut(firsts), WindowSpec.read(settings, panel.widths))
        else:
            warn_of_young(panel, spec, firsts, ends)
        return model._score_origins(panel, firsts, ends)

    def score(self, series: Any, y: None = None, *, exogenous: Any = None, past: Any = None) -> float:
        """1 - MAE / MAE of the seasonal naive value, over all origins that the given series allow.

        1 for perfect forecasts, 0 for as good as naive ones. The series should not be those of the training.
        """
        check_no_y(y)
        check_is_fitted(self, "networks_")
        panel = self._read_again(series, exogenous, past)
        return self._skill(panel, self._origins(panel))

    def importance(
        self,
        series: Any,
        *,
        exogenous: Any = None,
        past: Any = None,
        repeats: int = 5,
        random_state: Any = None,
        progress: bool = False,
    ) -> Importance:
        """What the score loses where a column beside the series, exogenous or past, says nothing any more.

        The values of a column are moved on in time, by steps drawn anew each time. The series are those of `score`; the
        result is that of `elman.SequenceClassifier.importance` without parts. Columns of arrays are called
        "exogenous 0" or "past 0". Raises `ValueError` where there are none.
        """
        settings = Repeats.read(repeats, random_state, progress)
        panel = self._read_again(series, exogenous, past)
        places = self._origins(panel)
        return of_series(panel, lambda changed: self._skill(changed, places), settings)

    def _origins(self, panel: Panel) -> tuple[Sequence[int], Sequence[Array]]:
        firsts, ends = origins(panel, self._spec, None, 1, naive_season(self.season))
        warn_of_young(panel, self._spec, firsts, ends)
        return firsts, ends

    def _skill(self, panel: Panel, places: tuple[Sequence[int], Sequence[Array]]) -> float:
        return skill(self._score_origins(panel, *places))

    def _score_origins(self, panel: Panel, firsts: Sequence[int], ends: Sequence[Array]) -> Backtest:
        """Forecasts from the given ends, by what was known before the first of each series, beside what came."""
        forecasts = forecast(self.networks_, panel, self._scale(panel, firsts), self._spec, ends)
        return scored(panel, ends, forecasts, self._spec, naive_season(self.season))

    def _read_again(self, series: Any, exogenous: Any, past: Any, said: Mapping[str, Any] = {}) -> Panel:
        """Series like those of the training; `said` are the columns that the user names again."""
        check_is_fitted(self, "networks_")
        panel = read_like(self._end.form, series, exogenous, past, self.fill, said)
        for name, got, want in zip(
            ("variables", "exogenous columns", "past columns"), panel.widths, self._spec.widths, strict=True
        ):
            if got != want:
                raise ShapeError(f"series must have {want} {name}, as in fit. Got {got}.")
        return panel

    def _train(self, training: TrainingSettings, panel: Panel, spec: WindowSpec) -> None:
        seed = int(random_generator(self.random_state, self.checkpoint).randint(2**31))
        trained = training.train(panel, spec, seed)
        self._spec, self._statistics = spec, trained.statistics
        self.networks_, self.network_ = trained.networks, trained.networks[0]
        self.histories_, self.history_ = trained.histories, trained.histories[0]
        self.window_ = spec.window
        end = panel.cut([len(part) for part in panel.values], spec.first_end)
        self._end = replace(end, form=panel.form.ended())
        self.read_as = describe(panel, trained.short)

    def _network(self) -> Network:
        return forecasting(self.networks_, self._spec, self._statistics.values, self._end.fill)

    def _facts(self) -> Iterator[tuple[str, Any, Any]]:
        yield "network_", self.network_ is self.networks_[0], True
        yield "window_", self.window_, self._spec.window
        yield from windows.agreement(self._spec, self._end, self._statistics, self.networks_)

    def _scale(self, panel: Panel, ends: Sequence[int]) -> list[Scaled]:
        """Series made ready. One series is scaled as in the training, each of many as it is before its end."""
        statistics = self._statistics
        if panel.form.many or self._end.form.many:
            own = windows.measure(panel, self._spec, ends)
            statistics = Statistics(own.values, statistics.known, statistics.past)
        return windows.scale(panel, self._spec, statistics)

    def _ahead(self, series: Any, exogenous: Any, past: Any, future: Any) -> tuple[Panel, list[Array]]:
        """The panel that is continued, and forecasts (1, horizon, V, Q) of each of its series."""
        check_is_fitted(self, "networks_")
        spec = self._spec
        panel = self._end if series is None else self._read_again(series, exogenous, past)
        panel = replace(panel, known=known_ahead(panel, spec, future, self.fill))
        ends = [len(values) for values in panel.values]
        parts = windows.scale(panel, spec, self._statistics) if series is None else self._scale(panel, ends)
        check_ready(panel, parts, spec)
        lasts = [np.array([end]) for end in ends]
        return panel, forecast(self.networks_, panel, parts, spec, lasts)
