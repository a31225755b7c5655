"""Writes docs/results.md from what the experiments left in experiments/results."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from report import RESULTS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "results.md"
ORDER = (
    "jsb_chorales", "tiny_shakespeare", "sequence_classification", "ett", "m4_hourly", "airline_sunspots",
    "adding_problem", "reber", "ragged_cost",
)  # fmt: skip

HEAD = """# Results

Made by `make results` from the scripts in `experiments`, one for a row or two. Settings were chosen on
validation data. A figure is the mean over the seeds, on test data, with the lowest and the highest in brackets; a goal
counts for the mean, except where a note says otherwise.

**{goals}**

Seconds are those of training alone. Beside them stand PyTorch's: the same model, the same batches and number of
updates, as many threads, padded or packed, whichever is faster; the ratio is its time over elman's. Where a note
says so, a share of PyTorch's updates was timed and scaled. Published figures are those of their sources; they had other
machines and often other settings.

{machine}

| task | measure | elman | goal | published | parameters | seconds | PyTorch, ratio |
|---|---|---|---|---|---|---|---|
"""


def main() -> None:
    page = write(read(RESULTS))
    PAGE.parent.mkdir(exist_ok=True)
    part = PAGE.with_suffix(".part")
    part.write_text(page, encoding="utf-8")
    os.replace(part, PAGE)
    print(f"Written: {PAGE}")


def read(folder: Path) -> list[dict[str, Any]]:
    """The contents of the JSON files, in the order of the page."""
    paths = {path.stem: path for path in sorted(folder.glob("*.json"))}
    if not paths:
        raise SystemExit(f"{folder} must hold results: run make results. Got no .json file.")
    names = [name for name in ORDER if name in paths] + [name for name in paths if name not in ORDER]
    return [json.loads(paths[name].read_text(encoding="utf-8")) for name in names]


def write(results: list[dict[str, Any]]) -> str:
    """The page: the table, what must be known about each row, then the texts that experiments left."""
    rows = [row for result in results for row in result["rows"]]
    machines = list(dict.fromkeys(result["machine"] for result in results))
    parts = [HEAD.format(goals=_goals(rows), machine="; ".join(machines)) + "\n".join(map(_line, rows)) + "\n"]
    parts.append("## The models\n\n" + "\n".join(map(_note, rows)) + "\n")
    for result in results:
        parts += [f"## {title}\n\n{_text(text)}\n" for title, text in result["extra"].items()]
    return "\n".join(parts)


def _goals(rows: list[dict[str, Any]]) -> str:
    judged = [row for row in rows if row["reached"] is not None]
    missed = [row["task"] for row in judged if not row["reached"]]
    if not missed:
        return f"All {len(judged)} goals were reached."
    return f"Of {len(judged)} goals {len(missed)} were missed: {'; '.join(missed)}."


def _line(row: dict[str, Any]) -> str:
    figures = row["figures"]
    figure = f"**{_number(sum(figures) / len(figures))}**"
    if len(figures) > 1:
        figure += f" ({_number(min(figures))} to {_number(max(figures))})"
    goal = row["goal"] + ("" if row["reached"] is None else ", reached" if row["reached"] else ", **missed**")
    peer = "" if row["peer_seconds"] is None else f"{_time(row['peer_seconds'])}, {_ratio(row)}"
    if row["peer_figure"] is not None:
        peer += f"; {_number(row['peer_figure'])}"
    cells = (
        row["task"], row["measure"], figure, goal, row["published"], f"{row['parameters']:,}", _time(row["seconds"]),
        peer,
    )  # fmt: skip
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _ratio(row: dict[str, Any]) -> str:
    return f"{row['peer_seconds'] / row['seconds']:.1f}"


def _note(row: dict[str, Any]) -> str:
    threads = "1 thread" if row["threads"] == 1 else f"{row['threads']} threads"
    count = len(row["seeds"])
    seeds = f"measured {len(row['figures'])} times" if count == 0 else "1 seed" if count == 1 else f"{count} seeds"
    return f"- {row['task']}: {row['model']}; {seeds}, {threads}. {row['note']}".rstrip()


def _text(text: str) -> str:
    """A table stays one; anything else is shown as it is, in a fence longer than any in it."""
    if text.startswith("|"):
        return text
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 100 else f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


if __name__ == "__main__":
    main()
