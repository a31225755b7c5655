"""Where the experiments find their data: a folder named on the command line, in ELMAN_DATA, or beside the project."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

BESIDE = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


def find(name: str, folder: str | None = None) -> Path:
    """The path of a data file such as "music/jsb_chorales.json"."""
    path = Path(folder or os.environ.get("ELMAN_DATA") or BESIDE) / name
    if not path.is_file():
        raise SystemExit(f"data must hold {name}: give its folder by --data or ELMAN_DATA. Got {path}, which is none.")
    return path


def chorales(folder: str | None = None) -> dict[str, list[np.ndarray]]:
    """Piano rolls (time, 88) of 0 and 1 for "train", "valid" and "test"."""
    pieces = json.loads(find("music/jsb_chorales.json", folder).read_text())
    return {split: [_roll(piece) for piece in pieces[split]] for split in ("train", "valid", "test")}


def _roll(piece: list[list[int]]) -> np.ndarray:
    roll = np.zeros((len(piece), 88), np.float32)
    for step, pitches in enumerate(piece):
        roll[step, np.array(pitches, int) - 21] = 1
    return roll


def sequences(
    name: str, folder: str | None = None
) -> tuple[list[np.ndarray], np.ndarray, list[np.ndarray], np.ndarray]:
    """Training sequences (time, features) and labels, then those of the test."""
    with np.load(find(f"sequences/{name}.npz", folder), allow_pickle=False) as file:
        parts: list[Any] = []
        for split in ("train", "test"):
            ends = np.cumsum(file[f"len_{split}"])[:-1]
            parts += [np.split(file[f"x_{split}"], ends), file[f"y_{split}"]]
    return tuple(parts)  # type: ignore[return-value]


def text(name: str, folder: str | None = None) -> str:
    """A text file, whole."""
    return find(f"text/{name}.txt", folder).read_text(encoding="utf-8")
