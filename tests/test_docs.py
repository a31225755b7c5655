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
ALL_PAGES = sorted(set(PAGES) | set(PAGES[0].parent.glob("docs/*/*.md")))
#: Pages that docs/conf.py makes.
MADE = ("docs/equations.md", "docs/reference")
#: Public names without an example.
NO_EXAMPLE = {
    "DtypeError": "as that of ShapeError",
    "MissingExtraError": "it would need a place where an extra is missing",
}
FLAGS = doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=FLAGS)
    assert result.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    threads = elman.get_threads()
    try:
        result = doctest.testfile(str(page), module_relative=False, optionflags=FLAGS)
    finally:
        elman.set_threads(threads)
    assert result.failed == 0


def public_callables():
    for name in sorted(set(elman.__all__) - {"__version__"}):
        value = getattr(elman, name)
        if inspect.ismodule(value):
            yield from ((f"{name}.{part}", getattr(value, part)) for part in value.__all__)
        elif callable(value):
            yield name, value


def test_every_public_callable_says_what_it_is_and_shows_an_example():
    names = set()
    for name, value in public_callables():
        words = value.__doc__ if isinstance(value, type) else inspect.getdoc(value)  # not that of a base
        assert (words or " ")[0].strip(), name
        assert (">>>" in words) != (name in NO_EXAMPLE), name
        names.add(name)
    assert len(names) > 90
    assert names > set(NO_EXAMPLE)


def slugs(page):
    """The anchors of a page, as the site and GitHub make them of its headings."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: str(page.relative_to(PAGES[0].parent)))
def test_links_lead_to_what_there_is(page):
    """Files and headings; those out into the web are not asked for."""
    root = PAGES[0].parent
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        if re.match(r"https?:", link):
            continue
        target = (page.parent / path).resolve() if path else page
        if str(target.relative_to(root)).startswith(MADE):
            continue
        assert target.exists(), link
        assert not anchor or anchor in slugs(target), link


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
