"""Two small series, one step and a season ahead: monthly airline passengers and yearly sunspots.

The last 36 months, and the years from 1980, are the test part. Every model is trained once, on what stands before it,
and forecasts from each origin in it. Root mean squared error one step ahead, over all values; and over all steps of a
season, from the origins that have a whole season before them. Settings were chosen on three stretches before the test.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import report
from data import find

import elman

ALWAYS = {
    "hidden": 64, "dropout": 0.5, "members": 5, "learning_rate": 5e-3, "batch_size": 16, "loss": "squared_error",
    "validation_fraction": 0,
}  # fmt: skip
GROWTH = ALWAYS | {
    "horizon": 12, "season": 12, "log": True, "difference": 12, "hidden": 16, "dropout": 0.3, "epochs": 60,
}  # fmt: skip
CYCLE = ALWAYS | {"horizon": 11, "season": 11, "level": "last", "epochs": 30}
# The forecast is the mean of two forecasters: one that goes back to the mean growth, or takes cycles at their size, and
# one that does not.
AIRLINE = (GROWTH | {"window": 2, "level": None}, GROWTH | {"window": 12, "level": "mean"})
SUNSPOTS = (CYCLE | {"window": 9}, CYCLE | {"window": 22, "spread": True})


def read(name: str, folder: str | None) -> np.ndarray:
    """The values of a series (time,)."""
    return np.genfromtxt(find(f"series/{name}.csv", folder), delimiter=",", skip_header=1)[:, 1]


def errors(forecasts: np.ndarray, y: np.ndarray, first: int) -> tuple[float, float]:
    """RMSE one step ahead, and over all steps of a season, of forecasts (origins, season) from `first` on."""
    known = np.arange(first, len(y))
    one = forecasts[:, 0] - y[known]
    whole = known[: len(y) - first - forecasts.shape[1] + 1]
    season = forecasts[: len(whole)] - y[whole[:, None] + np.arange(forecasts.shape[1])]
    return float(np.sqrt(np.mean(one**2))), float(np.sqrt(np.mean(season**2)))


def sarima(y: np.ndarray, first: int, horizon: int) -> np.ndarray:
    """The airline model, SARIMA (0,1,1)(0,1,1) of the logarithm (Box and Jenkins 1970, chapter 9)."""
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    model = SARIMAX(np.log(y[:first]), order=(0, 1, 1), seasonal_order=(0, 1, 1, horizon)).fit(disp=0)
    return np.stack([np.exp(model.apply(np.log(y[:n])).forecast(horizon)) for n in range(first, len(y))])


def autoregression(y: np.ndarray, first: int, horizon: int, criterion: str) -> np.ndarray:
    """Least squares on the values before, the number of them by a criterion, "aic" or "bic"."""
    from statsmodels.tsa.ar_model import AutoReg, ar_select_order

    order = ar_select_order(y[:first], 30, ic=criterion).ar_lags
    model = AutoReg(y[:first], order).fit()
    return np.stack([model.apply(y[:n]).forecast(horizon) for n in range(first, len(y))])


def recurrent(y: np.ndarray, first: int, pair: Sequence[dict[str, Any]], seed: int) -> tuple[np.ndarray, float, int]:
    """Forecasts (origins, horizon), seconds of training, and the number of parameters."""
    forecasts, seconds, parameters = [], 0.0, 0
    for settings in pair:
        forecaster = elman.Forecaster(**settings, random_state=seed)
        start = time.perf_counter()
        forecaster.fit(y[:first])
        seconds += time.perf_counter() - start
        forecasts.append([forecaster.predict(y[:n]) for n in range(first, len(y))])
        parameters += sum(net.parameter_count for net in forecaster.networks_)
    return np.mean(forecasts, axis=0), seconds, parameters


def peer(y: np.ndarray, first: int, pair: Sequence[dict[str, Any]]) -> float:
    """PyTorch's seconds for the same members."""
    import torch
    from torch_forecaster import seconds, windows

    torch.set_num_threads(1)
    total = 0.0
    for settings in pair:
        z = y[:first]
        if "difference" in settings:
            z = np.log(z[12:]) - np.log(z[:-12])
        x, target = windows([(z - z.mean()) / z.std()], settings["window"], settings["horizon"], 1)
        keys = ("hidden", "dropout", "learning_rate", "batch_size", "epochs", "loss")
        total += sum(seconds(x, target, *(settings[key] for key in keys))[0] for _ in range(settings["members"]))
    return total


def rows(name: str, first: int, pair: Sequence[dict[str, Any]], args: Any) -> list[report.Row]:
    """A row one step ahead, and one a season ahead."""
    y, horizon = read(name, args.data), pair[0]["horizon"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # statsmodels' remarks on starting values
        classical = {f"AR by {name.upper()}": autoregression(y, first, horizon, name) for name in ("aic", "bic")}
        if name == "airline":
            classical["SARIMA"] = sarima(y, first, horizon)
    seeds = list(range(args.seeds))
    runs = [recurrent(y, first, pair, seed) for seed in seeds]
    peer_seconds = None if args.no_peer else peer(y, first, pair)
    found = []
    for i, ahead in enumerate(("1 ahead", f"1 to {horizon} ahead")):
        others = {model: errors(forecasts, y, first)[i] for model, forecasts in classical.items()}
        figures = [errors(forecasts, y, first)[i] for forecasts, _, _ in runs]
        goal = 1.05 * min(others.values())
        found.append(
            report.Row(
                task=f"{name}, {ahead}",
                measure="test RMSE",
                figures=figures,
                goal=f"at most {goal:.1f}",
                reached=float(np.mean(figures)) <= goal,
                published=", ".join(f"{model} {value:.1f}" for model, value in others.items()) + " (statsmodels, here)",
                model=" and ".join(f"{s['members']} GRU {s['hidden']} on {s['window']} values" for s in pair),
                parameters=runs[0][2],
                seconds=float(np.mean([seconds for _, seconds, _ in runs])),
                peer_seconds=peer_seconds,
                note="The goal is 5 % over the best classical model; the same training gives both rows.",
                seeds=seeds,
            )
        )
    return found


def main() -> None:
    args = report.arguments(__doc__)
    length = len(read("airline", args.data))
    report.publish(
        "airline_sunspots",
        rows("airline", length - 36, AIRLINE, args) + rows("sunspots_yearly", 1980 - 1700, SUNSPOTS, args),
    )


if __name__ == "__main__":
    main()
