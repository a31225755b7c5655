"""What every experiment says in the end: a table on the screen, and the same as JSON for docs/results.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass
class Row:
    """One result: figures of each seed, measured once on the test part."""

    task: str  # "JSB Chorales, at most 300K parameters"
    measure: str  # "NLL per frame"
    figures: list[float]  # one a seed
    goal: str  # "at most 8.30", "" where there is none
    reached: bool | None  # of the mean over the seeds, None where there is no goal
    published: str  # "8.45 LSTM (Bai et al. 2018)"
    model: str  # "LSTM 200, dropout 0.5"
    parameters: int
    seconds: float  # training, mean over the seeds
    threads: int = 1
    peer_seconds: float | None = None  # PyTorch: the same model, the same number of updates, as many threads
    peer_figure: float | None = None  # PyTorch's test figure, where its training was run to the end
    note: str = ""  # what a reader must know about the row
    seeds: list[int] = field(default_factory=list)

    @property
    def mean(self) -> float:
        """The figure that is compared with the goal."""
        return sum(self.figures) / len(self.figures)


def arguments(description: str | None, seeds: int = 3) -> argparse.Namespace:
    """The command line that all experiments share."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--data", help="the folder of the data; else ELMAN_DATA, else ../shared/data")
    parser.add_argument("--seeds", type=int, default=seeds, help=f"how many seeds, {seeds} if left out")
    parser.add_argument("--no-peer", action="store_true", help="leaves PyTorch out")
    return parser.parse_args()


def publish(name: str, rows: Sequence[Row], extra: dict[str, str] | None = None) -> None:
    """Prints the table and writes experiments/results/`name`.json; `extra` is text for the page, by title."""
    head = ("task", "measure", "elman", "goal", "published", "parameters", "seconds", "PyTorch", "seeds")
    table = [head, *(_cells(row) for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    for i, row in enumerate(table):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if i == 0:
            print("  ".join("-" * width for width in widths))
    for row in rows:
        print(f"{row.task}: {row.model}, {row.threads} thread(s). {row.note}".rstrip())
    RESULTS.mkdir(exist_ok=True)
    content = {"rows": [asdict(row) for row in rows], "extra": extra or {}, "machine": machine()}
    path = RESULTS / f"{name}.json"
    path.with_suffix(".part").write_text(json.dumps(content, indent=1))
    os.replace(path.with_suffix(".part"), path)


def _cells(row: Row) -> tuple[str, ...]:
    low, high = min(row.figures), max(row.figures)
    figure = f"{row.mean:.4g}" + (f" ({low:.4g} to {high:.4g})" if len(row.figures) > 1 else "")
    mark = "" if row.reached is None else " reached" if row.reached else " missed"
    peer = "" if row.peer_seconds is None else f"{row.peer_seconds:.1f} s"
    peer += "" if row.peer_figure is None else f", {row.peer_figure:.4g}"
    return (
        row.task, row.measure, figure, row.goal + mark, row.published, f"{row.parameters:,}", f"{row.seconds:.1f} s",
        peer, str(len(row.seeds)),
    )  # fmt: skip


def machine() -> str:
    """The processor and the library that ran, for the page."""
    import elman

    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, elman {elman.__version__}, {elman.backend()}"
