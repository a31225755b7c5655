"""The rows of docs/tables.md that say what is refused: the words come, and what stands beside them helps."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pandas")

PAGE = (Path(__file__).parent.parent / "docs" / "tables.md").read_text()
HEADING = "## What is refused"
ROWS = [
    [cell.strip() for cell in line.strip().strip("|").split(" | ")]
    for line in PAGE[PAGE.index(HEADING) :].splitlines()
    if line.startswith("| `")
]


@pytest.fixture(scope="module")
def names():
    """What the examples of the page define."""
    found: dict[str, object] = {}
    for example in doctest.DocTestParser().get_examples(PAGE):
        exec(compile(example.source, "docs/tables.md", "single"), found)
    return found


def test_the_table_is_found():
    assert len(ROWS) > 15
    assert all(len(row) == 3 for row in ROWS)


@pytest.mark.parametrize(("wrong", "words", "right"), ROWS, ids=[row[0] for row in ROWS])
def test_what_is_refused_and_what_to_write(wrong, words, right, names):
    with pytest.raises((ValueError, TypeError)) as caught:
        eval(wrong.strip("`"), dict(names))
    assert words in str(caught.value)
    assert eval(right.strip("`"), dict(names)) is not None
