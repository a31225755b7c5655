"""Every example that a docstring or a page shows is run, and prints what it says."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
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


def test_code_in_tables_of_pages_names_what_there_is():
    """Names and keywords of calls in code spans of pages, where no example runs them."""
    checked = 0
    for page in PAGES:
        for span in re.findall(r"`(elman\.[^`]+)`", page.read_text()) if page.parent.name == "docs" else ():
            try:
                tree = ast.parse(span.replace("...", "None").replace("**", ""), mode="eval")
            except SyntaxError:  # a part of a line
                continue
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "elman":
                    known = node.attr in elman.__all__ or f"elman.{node.attr}" in MODULES
                    assert known, f"{page.name}: elman.{node.attr}"
                if isinstance(node, ast.Call) and ast.unparse(node.func).removeprefix("elman.") in elman.__all__:
                    call = getattr(elman, ast.unparse(node.func).removeprefix("elman."))
                    inspect.signature(call).bind_partial(**{k.arg: None for k in node.keywords if k.arg})
                    checked += 1
    assert checked > 10
