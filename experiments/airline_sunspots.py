"""Two small series, one step and a season ahead: monthly airline passengers and yearly sunspots.

The last 36 months, and the years from 1980, are the test part; every model is trained once, on what stands before it,
and then forecasts from each origin so that all values of the test part are forecast one step and a season ahead. Root
mean squared error. Settings were chosen on the two stretches before the test part; it is read once.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import report
from data import find

import elman

AIRLINE = {
    "horizon": 12, "season": 12, "window": 12, "log": True, "difference": 12, "hidden": 16, "dropout": 0.3,
    "members": 10, "epochs": 60, "learning_rate": 5e-3, "batch_size": 16,
}  # fmt: skip
SUNSPOTS = {
    "horizon": 11, "season": 11, "window": 9, "hidden": 64, "dropout": 0.5,
    "members": 10, "epochs": 30, "learning_rate": 5e-3, "batch_size": 16,
}  # fmt: skip
ALWAYS = {"level": None, "loss": "squared_error", "validation_fraction": 0}


def read(name: str, folder: str | None) -> np.ndarray:
    """The values of a series (time,)."""
    return np.genfromtxt(find(f"series/{name}.csv", folder), delimiter=",", skip_header=1)[:, 1]


def origins(y: np.ndarray, first: int, horizon: int) -> range:
    """Each number of values known, from which some value of the test part is at most `horizon` ahead."""
    return range(first - horizon + 1, len(y))


def rmse(forecasts: np.ndarray, y: np.ndarray, first: int, ahead: int) -> float:
    """Of forecasts (origins, horizon), `ahead` steps ahead, over all values from index `first` on."""
    known = np.array(origins(y, first, forecasts.shape[1]))
    target = known + ahead - 1
    chosen = (target >= first) & (target < len(y))
    return float(np.sqrt(np.mean((forecasts[chosen, ahead - 1] - y[target[chosen]]) ** 2)))


def sarima(y: np.ndarray, first: int, horizon: int) -> np.ndarray:
    """The airline model, SARIMA (0,1,1)(0,1,1) of the logarithm (Box and Jenkins 1970, chapter 9)."""
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    model = SARIMAX(np.log(y[:first]), order=(0, 1, 1), seasonal_order=(0, 1, 1, horizon)).fit(disp=0)
    return np.stack([np.exp(model.apply(np.log(y[:n])).forecast(horizon)) for n in origins(y, first, horizon)])


def autoregression(y: np.ndarray, first: int, horizon: int) -> np.ndarray:
    """Least squares on the values before, the number of them by Akaike's criterion."""
    from statsmodels.tsa.ar_model import AutoReg, ar_select_order

    order = ar_select_order(y[:first], 30, ic="aic").ar_lags
    model = AutoReg(y[:first], order).fit()
    return np.stack([model.apply(y[:n]).forecast(horizon) for n in origins(y, first, horizon)])


def recurrent(y: np.ndarray, first: int, settings: dict[str, Any], seed: int) -> tuple[np.ndarray, float, Any]:
    """Forecasts (origins, horizon), seconds of training, and the forecaster."""
    forecaster = elman.Forecaster(**settings, **ALWAYS, random_state=seed)
    start = time.perf_counter()
    forecaster.fit(y[:first])
    seconds = time.perf_counter() - start
    forecasts = [forecaster.predict(y[:n]) for n in origins(y, first, settings["horizon"])]
    return np.stack(forecasts), seconds, forecaster


def peer(y: np.ndarray, first: int, settings: dict[str, Any]) -> float:
    """PyTorch's seconds for the same members."""
    import torch
    from torch_forecaster import seconds, windows

    torch.set_num_threads(1)
    z = y[:first]
    if "difference" in settings:
        z = np.log(z[12:]) - np.log(z[:-12])
    x, target = windows([(z - z.mean()) / z.std()], settings["window"], settings["horizon"], 1)
    keys = ("hidden", "dropout", "learning_rate", "batch_size", "epochs")
    return sum(seconds(x, target, *(settings[key] for key in keys))[0] for _ in range(settings["members"]))


def rows(name: str, first: int, settings: dict[str, Any], args: Any) -> list[report.Row]:
    """A row one step ahead, and one a season ahead."""
    y, horizon = read(name, args.data), settings["horizon"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # statsmodels' remarks on starting values
        classical = {"AR": autoregression(y, first, horizon)}
        if name == "airline":
            classical["SARIMA"] = sarima(y, first, horizon)
    seeds = list(range(args.seeds))
    runs = [recurrent(y, first, settings, seed) for seed in seeds]
    peer_seconds = None if args.no_peer else peer(y, first, settings)
    found = []
    for ahead in (1, horizon):
        others = {model: rmse(forecasts, y, first, ahead) for model, forecasts in classical.items()}
        figures = [rmse(forecasts, y, first, ahead) for forecasts, _, _ in runs]
        goal = 1.05 * min(others.values())
        found.append(
            report.Row(
                task=f"{name}, {ahead} ahead",
                measure="test RMSE",
                figures=figures,
                goal=f"at most {goal:.1f}",
                reached=float(np.mean(figures)) <= goal,
                published=", ".join(f"{model} {value:.1f}" for model, value in others.items()) + " (statsmodels, here)",
                model=f"mean of {settings['members']} GRU {settings['hidden']}, window {settings['window']}",
                parameters=runs[0][2].network_.parameter_count * settings["members"],
                seconds=float(np.mean([seconds for _, seconds, _ in runs])),
                peer_seconds=peer_seconds,
                note="The goal is 5 % over the best classical model; one forecaster gives both rows.",
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
