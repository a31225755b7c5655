"""What is done to series, in the words of `elman.Forecaster`: windows, what is taken off them, what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array


@dataclass(frozen=True)
class WindowSpec:
    """What is done to series, in the words of `elman.Forecaster`."""

    window: int
    horizon: int
    segment: int
    level: str | None
    spread: bool
    shared: bool
    difference: int  # 0: none
    log: bool
    standardize: bool
    levels: tuple[float, ...]  # of quantiles; (): none
    widths: tuple[int, int, int]  # V variables, K columns known ahead, P known up to the present

    @classmethod
    def read(cls, settings: Mapping[str, Any], widths: tuple[int, int, int]) -> WindowSpec:
        """From the parameters of a `Forecaster`, checked."""
        horizon, segment = checks.size("horizon", settings["horizon"]), checks.size("segment", settings["segment"])
        window, difference = settings["window"], settings["difference"]
        season = naive_season(settings["season"])
        if window is None:
            length = max(2 * horizon if settings["season"] is None else 2 * season, horizon)
            window = -(-length // segment) * segment
        if checks.size("window", window) % segment:
            raise ValueError(f"window must be a multiple of segment, {segment}. Got {window}.")
        if widths[1] and horizon % segment:
            raise ValueError(
                f"horizon must be a multiple of segment, {segment}, with exogenous columns. Got {horizon}."
            )
        level = settings["level"]
        return cls(
            window=int(window),
            horizon=horizon,
            segment=segment,
            level=None if level is None else checks.choice("level", level, ("last", "mean")),
            spread=checks.flag("spread", settings["spread"]),
            shared=checks.flag("shared", settings["shared"]),
            difference=0 if difference is None else checks.size("difference", difference),
            log=checks.flag("log", settings["log"]),
            standardize=checks.flag("standardize", settings["standardize"]),
            levels=_levels(settings["quantiles"]),
            widths=widths,
        )

    @property
    def point(self) -> int:
        """Which output of a step is the forecast: the median."""
        return self.levels.index(0.5) if self.levels else 0

    @property
    def first_end(self) -> int:
        """The earliest end a window can have."""
        return self.window + self.difference

    @property
    def steps(self) -> int:
        """What a network reads: the window, and the horizon too where columns are known ahead."""
        return self.window + (self.horizon if self.widths[1] else 0)

    @property
    def features(self) -> int:
        """Of one step: variables, columns, and where the horizon is read a mark of what lies ahead."""
        variables, known, past = self.widths
        return (1 if self.shared else variables) + known + past + (known > 0)

    @property
    def together(self) -> int:
        """The variables that a network forecasts together."""
        return 1 if self.shared else self.widths[0]

    @property
    def sizes(self) -> tuple[int, int]:
        """The features that a network takes and the values that it gives."""
        return self.segment * self.features, self.horizon * self.together * max(1, len(self.levels))

    @property
    def seasons(self) -> Array:
        """k of each step ahead, (horizon,)."""
        ahead = np.arange(self.horizon)
        return ahead // self.difference + 1 if self.difference else np.ones_like(ahead)


def _levels(given: Any) -> tuple[float, ...]:
    if given is None:
        return ()
    if not isinstance(given, (tuple, list)) or len(given) == 0:
        raise ValueError(f"quantiles must be a tuple of levels, such as (0.1, 0.5, 0.9). Got {checks.show(given)}.")
    levels = tuple(checks.number("quantiles", level, 0, 1, open_low=True) for level in given)
    if list(levels) != sorted(set(levels)) or levels[-1] == 1 or 0.5 not in levels:
        raise ValueError(f"quantiles must ascend, over 0 and under 1, with 0.5 among them. Got {checks.show(given)}.")
    return levels


def naive_season(season: Any) -> int:
    """The season of the naive value: 1 where there is none."""
    return 1 if season is None else checks.size("season", season)
