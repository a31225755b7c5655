"""From series to the windows a network reads, and from its outputs back to forecasts.

A series y (time, V) becomes v = log y (where asked), w_t = v_t - v_(t-d) (where differenced by d), and
u = (w - mean) / scale. A window ends before step e, and holds u from e - window to e - 1; its targets are

    f_h = sum over the k = h // d + 1 seasons up to step e + h of (u - level) / spread,   h = 0 .. horizon - 1

(k = 1 without differences), where level and spread are those of the window. So that

    v_(e+h) = v_(e+h-kd) + scale (spread f_h + k level) + k mean.

Windows are float32 and made for as many ends at a time as are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from elman import checks
from elman.checks import Array
from elman.estimators.scaling import moments
from elman.tables.panel import Panel


@dataclass(frozen=True)
class Plan:
    """What is done to series, in the words of `elman.Forecaster`."""

    window: int
    horizon: int
    segment: int
    level: str | None
    spread: bool
    shared: bool
    difference: int  # 0: none
    log: bool
    widths: tuple[int, int, int]  # V variables, K columns known ahead, P known up to the present

    @classmethod
    def read(cls, settings: Mapping[str, Any], widths: tuple[int, int, int]) -> Plan:
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
            widths=widths,
        )

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
    def seasons(self) -> Array:
        """k of each step ahead, (horizon,)."""
        ahead = np.arange(self.horizon)
        return ahead // self.difference + 1 if self.difference else np.ones_like(ahead)


def naive_season(season: Any) -> int:
    """The season of the naive value: 1 where there is none."""
    return 1 if season is None else checks.size("season", season)


class Moments(NamedTuple):
    """What is taken off each column and what it is divided by, and the deviation that is left, (columns,) each."""

    mean: Array
    scale: Array
    left: Array


class Statistics(NamedTuple):
    """The moments of the values of each series, and of the columns over all series."""

    values: list[Moments]
    known: Moments
    past: Moments


class Scaled(NamedTuple):
    """One series made ready: v (time, V) in float64; u, known and past in float32; and how u was
    scaled."""

    v: Array
    u: Array
    known: Array
    past: Array
    moments: Moments


def logarithm(panel: Panel, plan: Plan) -> list[Array]:
    """v of each series; refuses what has no logarithm, with its place."""
    if not plan.log:
        return panel.values
    for i, values in enumerate(panel.values):
        if (values <= 0).any():
            step, variable = (int(n) for n in np.argwhere(values <= 0)[0])
            raise ValueError(
                f"{panel.form.name(i)} must be over 0 where log is True. "
                f"Got {values[step, variable]} at {panel.form.place('target', step, variable)}."
            )
    return [np.log(values) for values in panel.values]


def measure(panel: Panel, plan: Plan, ends: Sequence[int], standardize: bool) -> Statistics:
    """The statistics of what stands before the end of each series."""
    values = []
    for v, end in zip(logarithm(panel, plan), ends, strict=True):
        size = np.abs(v).max(axis=0) if plan.difference or plan.log else None
        rows = _difference(v, plan.difference)[plan.difference : end]
        values.append(_moments(rows, standardize, size))
    known = np.concatenate([part[:end] for part, end in zip(panel.known, ends, strict=True)])
    past = np.concatenate([part[:end] for part, end in zip(panel.past, ends, strict=True)])
    return Statistics(values, _moments(known, True), _moments(past, True))


def _moments(rows: Array, standardize: bool, size: Array | None = None) -> Moments:
    mean, scale, _ = moments(rows, size=size)
    ones = np.ones_like(scale)
    return Moments(mean, scale, ones) if standardize else Moments(0 * mean, ones, scale)


def _difference(v: Array, lag: int) -> Array:
    """v_t - v_(t - lag), in the shape of v: 0 for the first `lag` steps."""
    if not lag:
        return v
    w = np.zeros_like(v)
    w[lag:] = v[lag:] - v[:-lag]
    return w


def scale(panel: Panel, plan: Plan, statistics: Statistics) -> list[Scaled]:
    """Every series made ready; refuses by its place what is too large, in units of the deviation, for float32."""
    parts = []
    for i, v in enumerate(logarithm(panel, plan)):
        own = statistics.values[i]
        u = _single(panel, i, "target", _difference(v, plan.difference), panel.values[i], own)
        known = _single(panel, i, "exogenous", panel.known[i], panel.known[i], statistics.known)
        past = _single(panel, i, "past", panel.past[i], panel.past[i], statistics.past)
        parts.append(Scaled(v, u, known, past, own))
    return parts


def _single(panel: Panel, i: int, role: str, rows: Array, given: Array, own: Moments) -> Array:
    """(rows - mean) / scale in float32; `given` is what the user gave for these rows."""
    with np.errstate(over="ignore"):
        single = ((rows - own.mean) / own.scale).astype(np.float32)
    if not np.isfinite(single).all():
        at = checks.first(~np.isfinite(single))
        name = panel.form.name(i) if role == "target" else f"{role} of {panel.form.name(i)}"
        raise ValueError(
            f"{name} must be at most {np.finfo(np.float32).max:.1e} in size, in deviations of the training where they "
            f"are standardized. Got {given[at]} at {panel.form.place(role, *at)}."
        )
    return single


def inputs(part: Scaled, plan: Plan, ends: Array, x: Array) -> tuple[Array, Array]:
    """Writes the windows that end before `ends` (n,) into x (n V', steps, features); x is 0 before.

    V' is V where variables share a network, else 1. Returns level and spread of each window, (n, V, 1) each.
    """
    n, W = len(ends), plan.window
    own = sliding_window_view(part.u, W, axis=0)[ends - W]  # (n, V, W)
    level, spread = _level(own, plan, part.moments.left)
    own = (own - level) / spread
    V, K, P = plan.widths
    each = V if plan.shared else 1
    x = x.reshape(n, each, plan.steps, plan.features)
    if plan.shared:
        x[:, :, :W, 0] = own
    else:
        x[:, 0, :W, :V] = own.transpose(0, 2, 1)
    at = plan.together
    if P:
        x[:, :, :W, at : at + P] = sliding_window_view(part.past, W, axis=0)[ends - W].transpose(0, 2, 1)[:, None]
    if K:
        ahead = sliding_window_view(part.known, plan.steps, axis=0)[ends - W]  # (n, K, steps)
        x[:, :, :, at + P : at + P + K] = ahead.transpose(0, 2, 1)[:, None]
        x[:, :, W:, -1] = 1
    return level, spread


def _level(own: Array, plan: Plan, typical: Array) -> tuple[Array, Array]:
    """What is taken off each window, and what it is divided by; `typical` (V,) is the deviation of the whole series."""
    if plan.level == "last":
        level = own[..., -1:].copy()
    elif plan.level == "mean":
        level = own.mean(-1, keepdims=True)
    else:
        level = 0 * own[..., -1:]
    if not plan.spread:
        return level, np.ones_like(level)
    deviation: Array = own.std(-1, keepdims=True)
    typical = np.maximum(typical[:, None], np.finfo(np.float32).tiny)
    flat = deviation <= 1e-5 * np.maximum(typical, np.abs(level))
    return level, np.where(flat, typical.astype(np.float32), deviation)


def targets(part: Scaled, plan: Plan, ends: Array, level: Array, spread: Array, y: Array) -> None:
    """Writes the targets of the windows into y (n V', horizon, variables together)."""
    ahead = sliding_window_view(part.u, plan.horizon, axis=0)[ends]  # (n, V, horizon)
    ahead = (ahead - level) / spread
    for h in range(plan.difference, plan.horizon if plan.difference else 0):
        ahead[..., h] += ahead[..., h - plan.difference]
    y[...] = (ahead if plan.shared else ahead.transpose(0, 2, 1)).reshape(y.shape)


def examples(parts: Sequence[Scaled], plan: Plan, ends: Sequence[Array]) -> tuple[Array, Array]:
    """Inputs (N, segments, segment features) and targets (N, horizon variables) of the windows of all series."""
    each = plan.widths[0] if plan.shared else 1
    counts = [len(e) * each for e in ends]
    x = np.zeros((sum(counts), plan.steps, plan.features), np.float32)
    y = np.empty((sum(counts), plan.horizon, plan.together), np.float32)
    stop = 0
    for part, own_ends, count in zip(parts, ends, counts, strict=True):
        rows = slice(stop, stop := stop + count)
        if count:
            level, spread = inputs(part, plan, own_ends, x[rows])
            targets(part, plan, own_ends, level, spread, y[rows])
    return segments(x, plan), y.reshape(len(y), -1)


def segments(x: Array, plan: Plan) -> Array:
    """Several steps taken as one: (N, steps, features) as (N, steps / segment, segment features)."""
    return x.reshape(len(x), plan.steps // plan.segment, plan.segment * plan.features)


def restore(f: Array, part: Scaled, plan: Plan, ends: Array, level: Array, spread: Array) -> Array:
    """Forecasts (n, horizon, V, Q) from outputs f (n V', horizon, variables together, Q)."""
    n, Q = len(ends), f.shape[-1]
    f = f.astype(np.float64)
    if plan.shared:
        f = f.reshape(n, -1, plan.horizon, Q).transpose(0, 2, 1, 3)
    k = plan.seasons[:, None, None]
    level, spread = (a.astype(np.float64)[:, None, :, :] for a in (level, spread))  # (n, 1, V, 1)
    v = part.moments.scale[:, None] * (spread * f + k * level) + k * part.moments.mean[:, None]
    if plan.difference:
        before = ends[:, None] + np.arange(plan.horizon) - plan.seasons * plan.difference  # (n, horizon)
        v = v + part.v[before][..., None]
    return np.exp(v) if plan.log else v
