"""Each promise of docs/guarantees.md has a test that `make test` runs; the README promises nothing beyond the page."""

from __future__ import annotations

import ast
import functools
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "guarantees.md").read_text()
ROWS = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in PAGE.splitlines() if "| `" in line]
PROMISES = re.compile(r"\b(exact|exactly|never|same|bits?|whatever|nothing|depend|refused)\b")


@functools.cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def marks(node: ast.AST) -> str:
    """The decorators of a function or a class, or the marks of a module, as text."""
    if isinstance(node, ast.Module):
        found = [n.value for n in node.body if isinstance(n, ast.Assign) and "pytestmark" in ast.unparse(n.targets[0])]
    else:
        found = node.decorator_list
    return " ".join(map(ast.unparse, found))


def test_the_page_has_promises():
    assert len(ROWS) > 40
    assert all(len(row) == 2 and row[0] for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:60])
def test_the_test_of_a_promise_exists_and_is_run(row):
    names = re.findall(r"`([^`]+)`", row[1])
    assert names
    for name in names:
        path, _, function = name.partition("::")
        file = ROOT / "tests" / path
        assert file.exists(), f"{name} must be a file in tests"
        found: ast.AST = tree(file)
        left_out = marks(found)
        for part in filter(None, function.split("::")):
            kin = [n for n in found.body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name == part]
            assert kin, f"{name} must be in {path}"
            found = kin[-1]
            left_out += marks(found)
        for mark in ("peer", "long", "pytest.mark.skip("):
            assert mark not in left_out, f"{name} must be run by make test"


def sentences(page: str) -> list[str]:
    """The sentences of a page, without its examples, tables and headings."""
    text = re.sub(r"```.*?```", "\n\n", page, flags=re.DOTALL)
    blocks = [" ".join(block.split()) for block in re.split(r"\n\s*\n|\n(?=- )", text)]
    found = [re.split(r"(?<=[.:;])\s+", block) for block in blocks if not block.startswith(("|", "#"))]
    return [sentence.rstrip(":;. ") for block in found for sentence in block]


def test_the_readme_promises_nothing_beyond_the_page():
    told = " ".join(row[0] for row in ROWS)
    for sentence in sentences((ROOT / "README.md").read_text()):
        if PROMISES.search(sentence):
            assert sentence in told, f"docs/guarantees.md must have the promise of the README: {sentence!r}"


def test_the_core_needs_numpy_and_safetensors_alone():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert sorted(re.match(r"\w+", name)[0] for name in project["dependencies"]) == ["numpy", "safetensors"]


def test_no_promise_of_the_readme_is_kept_that_it_no_longer_makes():
    """What the page quotes as the README's stands there."""
    readme = " ".join((ROOT / "README.md").read_text().split())
    section = PAGE.partition("## The README")[2].partition("\n## ")[0]
    quotes = [row[0].rstrip(".") for row in ROWS if row[0] in section]
    assert len(quotes) > 10
    for quote in quotes:
        assert quote in readme, f"the README no longer says {quote!r}"
