"""Reads the golden values of `tests/golden`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "golden"


def facts(file: str) -> dict[str, dict[str, Any]]:
    """Fact name -> fact, of one file."""
    return {fact["name"]: fact for fact in json.loads((FOLDER / f"{file}.json").read_text())["facts"]}


def draws(fact: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays that a fact draws from the legacy generator, in its order."""
    inputs = fact.get("inputs", {})
    order = fact.get("draw_order") or inputs["draws"]
    seed = fact.get("seed") if isinstance(fact.get("seed"), int) else int(inputs["recipe"].split("(")[1].split(")")[0])
    generator = np.random.RandomState(seed)
    return {name: generator.randn(*shape) for name, shape in order}


def filled(spec: dict[str, Any]) -> np.ndarray:
    """An array given as linspace bounds and a shape."""
    return np.linspace(*spec["linspace"], num=int(np.prod(spec["shape"]))).reshape(spec["shape"])


def agrees(ours: np.ndarray, fact: dict[str, Any], name: str) -> None:
    """Every printed value of the array `name` of a fact, to its printed digits."""
    printed = [item for item in fact["expected"] if item["array"] == name]
    assert printed, f"{fact['name']} prints no {name}"
    for item in printed:
        assert_printed(ours[tuple(item["index"])], item["value"])


def assert_printed(ours: Any, printed: Any) -> None:
    """`ours` rounds to the printed digits: 8 decimals in an array, 12 significant digits in a single number."""
    if isinstance(printed, list):
        np.testing.assert_allclose(ours, printed, rtol=0, atol=0.6e-8)
    else:
        np.testing.assert_allclose(ours, printed, rtol=0.6e-11, atol=0.6e-12)
