"""PyTorch's side of the forecasting experiments: the same windows, model, batches and updates."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

LOSSES = {
    "absolute_error": torch.nn.functional.l1_loss,
    "squared_error": torch.nn.functional.mse_loss,
    "huber": torch.nn.functional.huber_loss,
}


def windows(
    series: Sequence[np.ndarray], window: int, horizon: int, segment: int, stride: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (n, window / segment, segment) and targets (n, horizon), less the last value of each window."""
    both = [np.lib.stride_tricks.sliding_window_view(z, window + horizon)[::-stride] for z in series]
    rows = np.concatenate(both).astype(np.float32)
    last = rows[:, window - 1 : window].copy()
    rows -= last
    return np.ascontiguousarray(rows[:, :window]).reshape(len(rows), -1, segment), rows[:, window:].copy()


class Model(torch.nn.Module):
    """A GRU, its last state, dropout, and a dense layer for all steps ahead."""

    def __init__(self, segment: int, hidden: int, horizon: int, dropout: float) -> None:
        super().__init__()
        self.gru = torch.nn.GRU(segment, hidden, batch_first=True)
        self.dropout = torch.nn.Dropout(dropout)
        self.dense = torch.nn.Linear(hidden, horizon)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, h = self.gru(x)
        return self.dense(self.dropout(h[0]))


def seconds(
    x: np.ndarray,
    y: np.ndarray,
    hidden: int,
    dropout: float,
    learning_rate: float,
    batch_size: int,
    epochs: int,
    loss: str = "absolute_error",
    most: float = 60.0,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[float, str]:
    """Seconds of training, on as many threads as are set, with the loss of the validation windows after each epoch;
    timed for `most` seconds, at least one fifth of an epoch.

    Where the run would take longer, the share that was timed is scaled up, and the second value says so.
    """
    loss_of = LOSSES[loss]
    torch.manual_seed(0)
    model = Model(x.shape[2], hidden, y.shape[1], dropout)
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    xs, ys = torch.from_numpy(x), torch.from_numpy(y)
    batches = math.ceil(len(x) / batch_size)
    total, done = epochs * batches, 0
    start = time.perf_counter()
    for _ in range(epochs):
        order = torch.randperm(len(xs))
        for first in range(0, len(xs), batch_size):
            optimizer.param_groups[0]["lr"] = learning_rate * (1 + math.cos(math.pi * done / total)) / 2
            rows = order[first : first + batch_size]
            loss = loss_of(model(xs[rows]), ys[rows])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            done += 1
            spent = time.perf_counter() - start
            if spent > most and done < total and done >= batches / 5:
                return spent * total / done, f"PyTorch: {done} of {total} updates timed"
        if validation is not None:
            _judge(model, loss_of, validation, batch_size)
    return time.perf_counter() - start, ""


def _judge(model: Model, loss_of: Any, validation: tuple[np.ndarray, np.ndarray], batch_size: int) -> float:
    """The mean loss of the validation windows."""
    x, y = map(torch.from_numpy, validation)
    model.eval()
    with torch.no_grad():
        losses = [
            float(loss_of(model(x[i : i + batch_size]), y[i : i + batch_size])) * len(x[i : i + batch_size])
            for i in range(0, len(x), batch_size)
        ]
    model.train()
    return sum(losses) / len(x)


def seconds_step_by_step(x: np.ndarray, y: np.ndarray, settings: dict[str, float]) -> float:
    """Seconds of a GRU on one sequence x (time, features) with a target y (time,) a step."""
    torch.manual_seed(0)
    hidden, epochs = int(settings["hidden"]), int(settings["epochs"])
    gru, dense = torch.nn.GRU(x.shape[1], hidden, batch_first=True), torch.nn.Linear(hidden, 1)
    parameters = [*gru.parameters(), *dense.parameters()]
    optimizer = torch.optim.AdamW(parameters, settings["learning_rate"], weight_decay=settings["weight_decay"])
    xs, ys = torch.from_numpy(x.astype(np.float32))[None], torch.from_numpy(y.astype(np.float32))[None, :, None]
    start = time.perf_counter()
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = settings["learning_rate"] * (1 + math.cos(math.pi * epoch / epochs)) / 2
        loss = torch.nn.functional.mse_loss(dense(gru(xs)[0]), ys)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    return time.perf_counter() - start


def seconds_moving_average(x: np.ndarray, y: np.ndarray, epochs: int, learning_rate: float) -> float:
    """Seconds of the cell of `moving_average.py` on one sequence x (time,) with a target y (time,) a step."""
    weights = torch.full((2,), 0.1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([weights], learning_rate)
    xs, ys = torch.from_numpy(x).unbind(), torch.from_numpy(y)
    start = time.perf_counter()
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = learning_rate * (1 + math.cos(math.pi * epoch / epochs)) / 2
        p, q = weights
        e = [torch.zeros((), dtype=torch.float64)] * 13
        forecast, forecasts = e[0], []
        for value in xs:
            e = [value - forecast, *e[:-1]]
            forecast = -(p * e[0] + q * e[11] - p * q * e[12])
            forecasts.append(forecast)
        loss = torch.nn.functional.mse_loss(torch.stack(forecasts), ys)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start
