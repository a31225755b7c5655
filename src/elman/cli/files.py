"""``elman inspect`` and ``elman convert``: what the library finds and does, printed."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from elman.interop.conversion import convert
from elman.interop.inspection import inspect


def print_inspection(path: Path) -> None:
    """Prints what is in a file."""
    _print(repr(inspect(path)))


def print_conversion(source: Path, target: Path, form: str | None) -> None:
    """Writes `target`, and prints what was read, written and checked."""
    _print(repr(convert(source, target, form)))


def _print(text: str) -> None:
    Console().print(text, markup=False, highlight=False, soft_wrap=True)
