"""Forecasts of one series, several steps ahead, by a recurrent ensemble and by classical methods.

Each gives an array (origins, horizon): for each origin, the index of the last value known, the forecasts of the next
`horizon` values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from elman.checks import Array
from elman.layers import GRU, Dense
from elman.network import Network
from elman.training.fitting import fit
from elman.training.optimizers import Adam

WINDOW, STRIDE = 60, 3  # steps of a training sequence, and from one to the next
MEMBERS = 5
MOST_EPOCHS = 60
HIDDEN, LEARNING_RATE, BATCH = 16, 0.02, 8  # the lowest validation loss of a few that were tried


def last_value(series: Array, origins: Array, horizon: int) -> Array:
    """Everything stays as it is."""
    return np.repeat(series[origins, None], horizon, axis=1)


def cycle_ago(series: Array, origins: Array, horizon: int, cycle: int) -> Array:
    """Everything comes again after `cycle` steps; for horizons up to the cycle."""
    return series[origins[:, None] + np.arange(1, horizon + 1) - cycle]


def autoregression(series: Array, origins: Array, horizon: int, known: int, most: int = 30) -> tuple[Array, int]:
    """Least squares on the values before, fitted to the first `known` values; the order by Akaike's criterion.

    All orders are compared on the same values to forecast (Akaike 1974, section V). Also returns the order.
    """
    train = series[:known]
    criteria = []
    for order in range(1, most + 1):
        design, target = _lags(train, order, most)
        residual = target - design @ np.linalg.lstsq(design, target, rcond=None)[0]
        criteria.append(len(target) * np.log(np.mean(residual**2)) + 2 * (order + 1))
    order = int(np.argmin(criteria)) + 1
    design, target = _lags(train, order, order)
    weights = np.linalg.lstsq(design, target, rcond=None)[0]
    past = series[origins[:, None] - np.arange(order)]  # (origins, order), the latest first
    forecasts = []
    for _ in range(horizon):
        value = past @ weights[:-1] + weights[-1]
        forecasts.append(value)
        past = np.concatenate([value[:, None], past[:, :-1]], axis=1)
    return np.stack(forecasts, axis=1), order


def _lags(series: Array, order: int, first: int) -> tuple[Array, Array]:
    """From index `first` on: the `order` values before, the latest first, with a 1; and the values themselves."""
    rows = np.arange(first, len(series))
    return np.column_stack([series[rows[:, None] - np.arange(1, order + 1)], np.ones(len(rows))]), series[rows]


def windows(z: Array) -> tuple[Array, Array]:
    """Overlapping sequences (n, WINDOW, 1), the last one up to the end, and the value after each step."""
    ends = np.arange(len(z) - 1, WINDOW - 1, -STRIDE)
    steps = ends[:, None] + np.arange(-WINDOW, 0)
    return z[steps][..., None], z[steps + 1][..., None]


def train(z: Array, validation_from: int, seed: int, watch: Callable[[range], Iterator[int]]) -> list[Network]:
    """Networks that forecast the next value of a standardized series.

    For each member, a first run finds how many epochs are enough: the validation loss on the values from
    `validation_from` on says so. A second run trains as many epochs on all values.
    """
    warm_up = validation_from - WINDOW // 3  # steps to come into swing before they count: the last third of training
    held = (z[None, warm_up:-1, None], z[None, warm_up + 1 :, None])
    members = []
    for member in watch(range(MEMBERS)):
        draw = MEMBERS * seed + member
        trial = _network(draw)
        optimizer = Adam(LEARNING_RATE)
        settings: dict[str, Any] = {"loss": "squared_error", "optimizer": optimizer, "batch_size": BATCH, "seed": draw}
        history = fit(
            trial,
            *windows(z[:validation_from]),
            **settings,
            epochs=MOST_EPOCHS,
            validation=held,
            patience=8,
            progress=False,
        )
        net = _network(draw)
        fit(net, *windows(z), **settings, epochs=history.best_epoch + 1, progress=False)
        members.append(net)
    return members


def _network(seed: int) -> Network:
    return Network([GRU(1, HIDDEN, seed=2 * seed), Dense(HIDDEN, 1, seed=2 * seed + 1)])


def recurrent(members: Sequence[Network], z: Array, origins: Array, horizon: int) -> Array:
    """The mean of the members' forecasts: each reads the series up to each origin, then goes on from its own values."""
    known = [z[: origin + 1, None] for origin in origins]  # sequences of unequal length, one per origin
    return np.mean([_go_on(net, known, horizon) for net in members], axis=0)


def _go_on(net: Network, known: list[Array], horizon: int) -> Array:
    outputs, state = net(known)
    stream = net.stream(batch=len(known))
    stream.state = state
    values = [np.stack([y[-1] for y in outputs])]  # (origins, 1) each
    while len(values) < horizon:
        values.append(stream.step(values[-1]))
    return np.concatenate(values, axis=1)


def rmse(forecasts: Array, series: Array, origins: Array, ahead: int, first: int) -> float:
    """Root mean squared error of the forecasts `ahead` steps ahead, of all values from index `first` on."""
    target = origins + ahead
    chosen = (target >= first) & (target < len(series))
    return float(np.sqrt(np.mean((forecasts[chosen, ahead - 1] - series[target[chosen]]) ** 2)))
