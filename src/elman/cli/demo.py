"""``elman demo``: learns the yearly sunspot numbers and shows how well it forecasts.

The years before 1980 train and choose; those from 1980 on are only forecast. The model is a mean of small GRU
networks that forecast one year ahead; for more years each goes on from its own forecasts.
"""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from elman import checks
from elman.checks import Array
from elman.cli import forecasts
from elman.datasets import sunspots
from elman.engine import backend
from elman.files import replace
from elman.network import Network

TEST_FROM, VALIDATION_FROM = 1980, 1935
AHEAD = (1, 2, 3, 5, 11)
CYCLE = 11  # years, about the length of a solar cycle
MODEL, REGRESSION = "recurrent network", "autoregression"


def run(folder: Path, seed: int) -> None:
    """Trains, prints the table, and writes the plot and the networks into `folder`."""
    _check_plot()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ValueError(f"folder must be a folder, or a new one in a folder. Got {str(folder)!r}.") from None
    console = Console()
    started = time.perf_counter()
    years, numbers = sunspots()
    first = int(np.searchsorted(years, TEST_FROM))
    console.print(
        f"Yearly sunspot numbers, {years[0]} to {years[-1]}. The years before {TEST_FROM} train and choose, "
        f"the {len(years) - first} years from {TEST_FROM} on test."
    )
    mean, deviation = numbers[:first].mean(), numbers[:first].std()
    z = (numbers - mean) / deviation

    def watch(members: range) -> Iterator[int]:
        return iter(track(members, f"Training {len(members)} networks", console=console))

    members = forecasts.train(z[:first], int(np.searchsorted(years, VALIDATION_FROM)), seed, watch)
    origins = np.arange(first - max(AHEAD), len(years))
    regression, order = forecasts.autoregression(numbers, origins, max(AHEAD), first)
    methods = {
        MODEL: forecasts.recurrent(members, z, origins, max(AHEAD)) * deviation + mean,
        f"{REGRESSION} of {order} years": regression,
        "the value a cycle ago": forecasts.cycle_ago(numbers, origins, max(AHEAD), CYCLE),
        "the last value": forecasts.last_value(numbers, origins, max(AHEAD)),
    }
    console.print(_table(methods, numbers, origins, first))
    model = methods[MODEL]
    replace(folder / "forecasts.png", _plot(years, numbers, origins, model, first))
    _save(members, folder)
    _say_what_next(console, folder, members[0], time.perf_counter() - started)


def _check_plot() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise checks.missing_extra("elman demo", "plot") from None


def _table(methods: dict[str, Array], numbers: Array, origins: Array, first: int) -> Table:
    """Errors by method and horizon; the smallest of each horizon in bold and marked."""
    errors = {
        name: [forecasts.rmse(values, numbers, origins, ahead, first) for ahead in AHEAD]
        for name, values in methods.items()
    }
    best = [min(column) for column in zip(*errors.values(), strict=True)]
    table = Table(title="Root mean squared error in sunspots, by years ahead (* the smallest)", title_justify="left")
    table.add_column("forecast by")
    for ahead in AHEAD:
        table.add_column(f"{ahead} year{'s' if ahead > 1 else ''}", justify="right")
    for name, row in errors.items():
        cells = [
            f"[bold]{error:.1f}*[/bold]" if error == low else f"{error:.1f} "
            for error, low in zip(row, best, strict=True)
        ]
        table.add_row(name, *cells)
    return table


def _plot(years: Array, numbers: Array, origins: Array, model: Array, first: int) -> bytes:
    """The series from 1940 with the forecasts one and five years ahead, and those of the years after the last."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    shown = years >= 1940
    top = numbers[shown].max() * 1.4  # room for the legend above the lines
    axes.plot(years[shown], numbers[shown], color="black", linewidth=1.3, label="observed")
    axes.axvline(TEST_FROM - 0.5, color="gray", linewidth=0.8, linestyle=":")
    axes.text(TEST_FROM, top * 0.96, f"not seen in training: from {TEST_FROM} on", color="gray", fontsize=9)
    for ahead, color in ((1, "tab:orange"), (5, "tab:blue")):
        target = origins + ahead
        chosen = (target >= first) & (target < len(years))
        axes.plot(
            years[target[chosen]],
            model[chosen, ahead - 1],
            color=color,
            linewidth=1.2,
            marker="o",
            markersize=3.5,
            label=f"forecast {ahead} year{'s' if ahead > 1 else ''} ahead",
        )
    future = years[-1] + np.arange(1, model.shape[1] + 1)
    axes.plot(future, model[-1], color="tab:green", linestyle="--", label=f"forecast from {years[-1]} on")
    axes.set(xlabel="year", ylabel="sunspot number", title="Yearly sunspot numbers and their forecasts")
    axes.set_ylim(min(0.0, float(model.min())), top)
    axes.legend(loc="upper left", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def _save(members: list[Network], folder: Path) -> None:
    for i, net in enumerate(members, 1):
        net.save(folder / f"sunspots-{i}.safetensors")


def _say_what_next(console: Console, folder: Path, net: Network, seconds: float) -> None:
    count = net.parameter_count
    console.print(f"Each of the {forecasts.MEMBERS} networks has {count} parameters. {seconds:.0f} s in all.")
    console.print(f"Computed by the {backend()}.")
    console.print()
    for name, what in (("forecasts.png", "the plot"), ("sunspots-1.safetensors", "the first network")):
        console.print(f"{what + ':':<19}{folder / name}", soft_wrap=True, highlight=False)
    console.print()
    console.print("What to try next:")
    load = f"import elman; print(elman.load('{folder / 'sunspots-1.safetensors'}'))"
    for line in (
        f'{_short(sys.executable)} -c "{load}"',
        f"{_command()} demo --seed 1    other first weights: how much do the errors change?",
        "README.md, A first page: a network of your own in twenty lines",
    ):
        console.print("  " + line, soft_wrap=True, highlight=False)


def _command() -> str:
    """How this command was called."""
    called_as_module = os.path.basename(sys.argv[0]) == "__main__.py"
    return f"{_short(sys.executable)} -m elman" if called_as_module else _short(sys.argv[0])


def _short(program: str) -> str:
    """The path of a program as one would type it here."""
    here = os.path.relpath(program)
    return program if here.startswith("..") else here
