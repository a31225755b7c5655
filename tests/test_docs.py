"""Every example that a docstring or a page shows is run, and prints what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import elman

#: Those that import PyTorch at their top, which `make test` does not install; they hold no examples.
NEED_TORCH = [f"elman.interop.pytorch.{part}" for part in ("modules", "parts", "translation")]
MODULES = [
    m.name
    for m in pkgutil.walk_packages(elman.__path__, "elman.")
    if not m.name.endswith("__main__") and m.name not in NEED_TORCH
]
PAGES = sorted(Path(__file__).parent.parent.glob("*.md")) + sorted(Path(__file__).parent.parent.glob("docs/*.md"))
FLAGS = doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=FLAGS)
    assert result.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.testfile(str(page), module_relative=False, optionflags=FLAGS)
    assert result.failed == 0


def test_the_docstrings_hold_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    count = sum(len(test.examples) for name in MODULES for test in finder.find(importlib.import_module(name)))
    assert count > 100
