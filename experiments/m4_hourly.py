"""M4 hourly: 414 series of unequal length, 48 hours ahead, by one network for all.

sMAPE and MASE as the competition measured them. Settings were chosen by leaving out the last 48 hours of the training
part; then one training on all of it, and one look at the test.
"""

from __future__ import annotations

import csv
import time

import numpy as np
import report
from data import find

import elman

HORIZON, SEASON = 48, 24
SETTINGS = {
    "window": 168, "segment": 24, "hidden": 128, "log": True, "learning_rate": 4e-3, "epochs": 12, "batch_size": 256,
    "dropout": 0.0, "stride": 6, "members": 3, "validation_fraction": 0,
}  # fmt: skip


def read(part: str, folder: str | None) -> list[np.ndarray]:
    """The series of the "train" or "test" file, (time_i,) each."""
    with find(f"series/m4_hourly_{part}.csv", folder).open(newline="") as file:
        return [np.array([float(value) for value in row[1:] if value]) for row in list(csv.reader(file))[1:]]


def main() -> None:
    args = report.arguments(__doc__, seeds=1)
    train, test = read("train", args.data), read("test", args.data)
    whole = [np.concatenate(pair) for pair in zip(train, test, strict=True)]
    seeds, tests, seconds = list(range(args.seeds)), [], []
    for seed in seeds:
        forecaster = elman.Forecaster(HORIZON, season=SEASON, random_state=seed, **SETTINGS)
        start = time.perf_counter()
        forecaster.fit(train)
        seconds.append(time.perf_counter() - start)
        tests.append(forecaster.backtest(whole, start=-HORIZON, refit=False))
    figures = [found["sMAPE"] for found in tests]
    row = report.Row(
        task="M4 hourly, 414 series, 48 ahead",
        measure="test sMAPE",
        figures=figures,
        goal="under 12",
        reached=float(np.mean(figures)) < 12,
        published="seasonal naive 13.912, RNN 14.698, winner 9.328 (Makridakis et al. 2020)",
        model=f"mean of {SETTINGS['members']} GRU {SETTINGS['hidden']} over days of one week, of logarithms",
        parameters=forecaster.network_.parameter_count * SETTINGS["members"],
        seconds=float(np.mean(seconds)),
        note="MASE "
        + ", ".join(f"{found['MASE']:.3f}" for found in tests)
        + f"; seasonal naive here {tests[0]['naive sMAPE']:.3f}, MASE {tests[0]['naive MASE']:.3f}.",
        seeds=seeds,
    )
    if not args.no_peer:
        time_peer(row, train)
    report.publish("m4_hourly", [row])


def time_peer(row: report.Row, train: list[np.ndarray]) -> None:
    """PyTorch's seconds for the same windows: one member is timed."""
    import torch
    from torch_forecaster import seconds, windows

    torch.set_num_threads(row.threads)
    scaled = [(np.log(y) - np.log(y).mean()) / np.log(y).std() for y in train]
    x, y = windows(scaled, SETTINGS["window"], HORIZON, SETTINGS["segment"], SETTINGS["stride"])
    spent, note = seconds(
        x, y, SETTINGS["hidden"], SETTINGS["dropout"], *(SETTINGS[k] for k in ("learning_rate", "batch_size", "epochs"))
    )
    row.peer_seconds = spent * SETTINGS["members"]
    row.note = f"{row.note} One of the members was timed for PyTorch. {note}".strip()


if __name__ == "__main__":
    main()
