"""From series to the windows a network reads, and from its outputs back to forecasts.

A series y (time, V) becomes v = log y (where asked), w_t = v_t - v_(t-d) (where differenced by d), and
u = (w - mean) / scale. A window ends before step e, and holds u from e - window to e - 1; its targets are

    f_h = sum over the k = h // d + 1 seasons up to step e + h of (u - level) / spread,   h = 0 .. horizon - 1

(k = 1 without differences), where level and spread are those of the window. So that

    v_(e+h) = v_(e+h-kd) + scale (spread f_h + k level) + k mean.

Windows are float32 and made for as many ends at a time as are asked for. Gaps are filled as they would have been just
before e, where columns known ahead are known for the horizon, too; targets are the real values alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from elman import checks
from elman.checks import Array
from elman.estimators.scaling import moments
from elman.estimators.spec import WindowSpec
from elman.network import Network
from elman.tables.panel import Filled, Panel, first_values

_ROUNDING = 1e-10  # in deviations: less tells nothing, and the sign of an absolute error must not hang on it


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


@dataclass(frozen=True)
class Track:
    """Columns made ready: u (time, C) in float32, from v or its differences."""

    v: Filled
    u: Array
    lag: int
    moments: Moments

    def windows(self, stops: Array, steps: int) -> Array:
        """u (n, C, steps) of the steps before each of `stops` (n,), as it was seen then."""
        found = sliding_window_view(self.u, steps, axis=0)[stops - steps]
        late = self.v.open(stops)
        if late.any():
            ends = stops[late, None]
            at = ends - np.arange(steps, 0, -1)
            rows = self.v.seen(at, ends)
            if self.lag:
                rows = rows - self.v.seen(at - self.lag, ends)
            found[late] = _units(rows, self.moments).transpose(0, 2, 1)
        return found


def agreement(
    spec: WindowSpec, end: Panel, found: Statistics, networks: Sequence[Network]
) -> Iterator[tuple[str, Any, Any]]:
    """What must agree of series, statistics and networks: what it is called, what it is, and what it must be."""
    for net in networks:
        yield "the features and outputs of a network", (net.input_size, net.output_size), spec.sizes
    counts = {len(part) for part in (found.values, end.values, end.known, end.past)}
    yield "the numbers of series", counts, {len(end.values)}
    for parts, width in zip((end.values, end.known, end.past), spec.widths, strict=True):
        yield "the shapes of series", [part.shape for part in parts], [(len(own), width) for own in end.values]
    variables, known, past = spec.widths
    for own, width in [(found.known, known), (found.past, past), *((one, variables) for one in found.values)]:
        yield "the shapes of statistics", {array.shape for array in own}, {(width,)}


class Scaled(NamedTuple):
    """One series made ready; from which step (V,) its variables can be read, and which values are real (time, V)."""

    values: Track
    known: Track
    past: Track
    begins: Array
    real: Array | None  # None: all


def check_log(panel: Panel, spec: WindowSpec) -> None:
    """Refuses what has no logarithm, with its place."""
    for i, values in enumerate(panel.values):
        if spec.log and (values <= 0).any():
            step, variable = checks.first(values <= 0)
            raise ValueError(
                f"{panel.form.name(i)} must be over 0 where log is True. "
                f"Got {values[step, variable]} at {panel.form.place('target', step, variable, i)}."
            )


def source(panel: Panel, spec: WindowSpec, values: Array) -> Filled:
    """v of values (time, variables) of the panel."""
    filled = Filled.read(values, panel.fill)
    return filled.log() if spec.log else filled


def begins(panel: Panel, spec: WindowSpec, i: int) -> Array:
    """The step (V,) from which series i can be read; a network of all variables needs a value of each."""
    own = panel.begins(i)
    return own if spec.shared else np.full_like(own, own.max())


def measure(panel: Panel, spec: WindowSpec, ends: Sequence[Any]) -> Statistics:
    """The statistics of what stands before the end of each series, or before that of each of its variables (V,)."""
    check_log(panel, spec)
    values, lag, width = [], spec.difference, spec.widths[0]
    for i, end in enumerate(ends):
        spans = np.stack([begins(panel, spec, i), np.broadcast_to(end, width)])
        alike = (spans == spans[:, :1]).all()
        own = []
        for columns in [slice(None)] if alike else [slice(v, v + 1) for v in range(width)]:
            begin, stop = spans[:, columns][:, 0]
            v = source(panel, spec, panel.values[i][:stop, columns]).values
            size = np.abs(v[begin:]).max(axis=0, initial=0) if lag or spec.log else None
            own.append(_moments(_difference(v, lag)[begin + lag :], spec.standardize, size, spec.log))
        values.append(own[0] if alike else Moments(*map(np.concatenate, zip(*own, strict=True))))
    return Statistics(values, *(_pooled(columns, panel.fill, ends) for columns in (panel.known, panel.past)))


def _pooled(columns: Sequence[Array], fill: str | None, ends: Sequence[Any]) -> Moments:
    """The moments of the columns beside all series, from where each holds a value to the end of its series."""
    cut = [part[: int(np.min(end))] for part, end in zip(columns, ends, strict=True)]
    rows = [Filled.read(part, fill).values[first_values(part).max(initial=0) :] for part in cut]
    return _moments(np.concatenate(rows), True)


def _moments(rows: Array, standardize: bool, size: Array | None = None, log: bool = False) -> Moments:
    """Of rows (N, columns), or of differences of numbers of that size; NaN where there are none.

    A constant is divided by its own size, so that it is forecast alike in any unit; a logarithm has none.
    """
    if not len(rows):
        return Moments(*np.full((3, rows.shape[1]), np.nan))
    mean, scale, constant = moments(rows, size=size)
    if constant.any() and not log:
        own = np.abs(rows).max(axis=0)
        own = own if size is None else np.where(own > 1e-12 * size, own, size)
        scale = np.where(constant & (own > 0), own, scale)
    ones = np.ones_like(scale)
    return Moments(mean, scale, ones) if standardize else Moments(0 * mean, ones, scale)


def _difference(v: Array, lag: int) -> Array:
    """v_t - v_(t - lag), in the shape of v: 0 for the first `lag` steps."""
    if not lag:
        return v
    w = np.zeros_like(v)
    w[lag:] = v[lag:] - v[:-lag]
    return w


def scale(panel: Panel, spec: WindowSpec, statistics: Statistics) -> list[Scaled]:
    """Every series made ready; refuses by its place what is too large, in units of the deviation, for float32."""
    check_log(panel, spec)
    parts = []
    for i, values in enumerate(panel.values):
        v, real, own = source(panel, spec, values), ~np.isnan(values), statistics.values[i]
        unknown = np.isnan(own.mean)  # what was not measured is not read
        known, past = (Filled.read(columns[i], panel.fill) for columns in (panel.known, panel.past))
        parts.append(
            Scaled(
                _track(panel, i, "target", v, own, spec.difference),
                _track(panel, i, "exogenous", known, statistics.known),
                _track(panel, i, "past", past, statistics.past),
                np.where(unknown, len(values) + 1, begins(panel, spec, i)),
                None if real.all() else real,
            )
        )
    return parts


def _track(panel: Panel, i: int, role: str, v: Filled, own: Moments, lag: int = 0) -> Track:
    u = _units(_difference(v.values, lag), own)
    if np.isinf(u).any():
        at = checks.first(np.isinf(u))
        given = {"target": panel.values, "exogenous": panel.known, "past": panel.past}[role][i]
        name = panel.form.name(i) if role == "target" else f"{role} of {panel.form.name(i)}"
        raise ValueError(
            f"{name} must be at most {np.finfo(np.float32).max:.1e} in size, in deviations of the training where they "
            f"are standardized. Got {given[at]} at {panel.form.place(role, int(at[0]), int(at[1]), i)}."
        )
    return Track(v, u, lag, own)


def _units(rows: Array, own: Moments) -> Array:
    """(rows - mean) / scale in float32; 0 where the rounding of numbers alone is left, which depends on their unit."""
    with np.errstate(over="ignore"):
        u = (rows - own.mean) / own.scale
        u[np.abs(u) < _ROUNDING * own.left] = 0
        return u.astype(np.float32)


def ready(part: Scaled, spec: WindowSpec, ends: Array) -> Array:
    """Whether the windows (n, V') that end before `ends` hold a value at each step; V' as in `inputs`."""
    own = part.begins if spec.shared else part.begins[:1]
    return np.asarray(ends[:, None] - spec.first_end >= own)


def inputs(part: Scaled, spec: WindowSpec, ends: Array, x: Array) -> tuple[Array, Array]:
    """Writes the windows that end before `ends` (n,) into x (n V', steps, features); x is 0 before.

    V' is V where variables share a network, else 1. Returns level and spread of each window, (n, V, 1) each.
    """
    n, W = len(ends), spec.window
    own = part.values.windows(ends, W)  # (n, V, W)
    level, spread = _level(own, spec, part.values.moments.left)
    own = (own - level) / spread
    V, K, P = spec.widths
    each = V if spec.shared else 1
    x = x.reshape(n, each, spec.steps, spec.features)
    if spec.shared:
        x[:, :, :W, 0] = own
    else:
        x[:, 0, :W, :V] = own.transpose(0, 2, 1)
    at = spec.together
    if P:
        x[:, :, :W, at : at + P] = part.past.windows(ends, W).transpose(0, 2, 1)[:, None]
    if K:
        ahead = part.known.windows(ends + spec.horizon, spec.steps)  # (n, K, steps)
        x[:, :, :, at + P : at + P + K] = ahead.transpose(0, 2, 1)[:, None]
        x[:, :, W:, -1] = 1
    return level, spread


def _level(own: Array, spec: WindowSpec, typical: Array) -> tuple[Array, Array]:
    """What is taken off each window, and what it is divided by; `typical` (V,) is the deviation of the whole series."""
    if spec.level == "last":
        level = own[..., -1:].copy()
    elif spec.level == "mean":
        level = own.mean(-1, keepdims=True)
    else:
        level = 0 * own[..., -1:]
    if not spec.spread:
        return level, np.ones_like(level)
    deviation: Array = own.std(-1, keepdims=True)
    typical = np.maximum(typical[:, None], np.finfo(np.float32).tiny)
    flat = deviation <= 1e-5 * np.maximum(typical, np.abs(level))
    return level, np.where(flat, typical.astype(np.float32), deviation)


def targets(part: Scaled, spec: WindowSpec, ends: Array, level: Array, spread: Array, y: Array) -> None:
    """Writes the targets of the windows into y (n V', horizon, variables together)."""
    track = part.values
    ahead = sliding_window_view(track.u, spec.horizon, axis=0)[ends]  # (n, V, horizon)
    ahead = (ahead - level) / spread
    for h in range(spec.difference, spec.horizon if spec.difference else 0):
        ahead[..., h] += ahead[..., h - spec.difference]
    if spec.difference and (late := track.v.open(ends)).any():  # what the differences begin at was seen otherwise
        before, stops = _before(spec, ends[late]), ends[late, None]
        off = (track.v.values[before] - track.v.seen(before, stops)) / track.moments.scale
        ahead[late] += off.transpose(0, 2, 1) / spread[late]
    y[...] = _rows(ahead, spec).reshape(y.shape)


def _before(spec: WindowSpec, ends: Array) -> Array:
    """The steps (n, horizon) to which the seasons ahead are added."""
    return np.asarray(ends[:, None] + np.arange(spec.horizon) - spec.seasons * spec.difference)


def _rows(ahead: Array, spec: WindowSpec) -> Array:
    """(n, V, horizon) in the order in which networks forecast it."""
    return ahead if spec.shared else ahead.transpose(0, 2, 1)


def examples(parts: Sequence[Scaled], spec: WindowSpec, ends: Sequence[Array]) -> tuple[Array, Array, Array | None]:
    """Inputs (N, segments, segment features) and targets (N, horizon variables) of the windows of all series.

    And which of the targets are real, None where all are. Windows without a real target are left out.
    """
    each = spec.widths[0] if spec.shared else 1
    counts = [len(e) * each for e in ends]
    x = np.zeros((sum(counts), spec.steps, spec.features), np.float32)
    y = np.empty((sum(counts), spec.horizon, spec.together), np.float32)
    real = np.ones(y.shape, bool) if any(part.real is not None for part in parts) else None
    stop = 0
    for part, own_ends, count in zip(parts, ends, counts, strict=True):
        rows = slice(stop, stop := stop + count)
        if count:
            level, spread = inputs(part, spec, own_ends, x[rows])
            targets(part, spec, own_ends, level, spread, y[rows])
        if count and real is not None:
            if part.real is not None:
                ahead = sliding_window_view(part.real, spec.horizon, axis=0)[own_ends]
                real[rows] = _rows(ahead, spec).reshape(real[rows].shape)
            real[rows] &= ready(part, spec, own_ends).reshape(-1, 1, 1)
    if real is not None:
        kept = real.any(axis=(1, 2))
        x, y, real = x[kept], np.where(real, y, 0)[kept], real[kept]
    flat = len(y), spec.horizon * spec.together
    told = None if real is None or real.all() else real.reshape(flat)
    return segments(x, spec), y.reshape(flat), told


def segments(x: Array, spec: WindowSpec) -> Array:
    """Several steps taken as one: (N, steps, features) as (N, steps / segment, segment features)."""
    return x.reshape(len(x), spec.steps // spec.segment, spec.segment * spec.features)


def restore(f: Array, part: Scaled, spec: WindowSpec, ends: Array, level: Array, spread: Array) -> Array:
    """Forecasts (n, horizon, V, Q) from outputs f (n V', horizon, variables together, Q)."""
    n, Q = len(ends), f.shape[-1]
    f = f.astype(np.float64)
    if spec.shared:
        f = f.reshape(n, -1, spec.horizon, Q).transpose(0, 2, 1, 3)
    k = spec.seasons[:, None, None]
    level, spread = (a.astype(np.float64)[:, None, :, :] for a in (level, spread))  # (n, 1, V, 1)
    own = part.values.moments
    v = own.scale[:, None] * (spread * f + k * level) + k * own.mean[:, None]
    if spec.difference:
        v = v + part.values.v.seen(_before(spec, ends), ends[:, None])[..., None]
    return np.exp(v) if spec.log else v
