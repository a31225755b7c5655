"""The tutorials run from top to bottom in Jupyter, and print what is kept in them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

FOLDER = Path(__file__).parent.parent / "docs" / "tutorials"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
IN_EVERY_RUN = 2  # the others run before a release


NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:e[-+]\d+)?")


def printed(notebook):
    """What each cell printed, without pictures, up to the first training: its last digits are a processor's own."""
    for cell in notebook.cells:
        if "elman.fit(" in cell.source:
            return
        texts = [out.get("text") or out.get("data", {}).get("text/plain", "") for out in cell.get("outputs", [])]
        text = "".join("".join(text) for text in texts)
        yield re.sub(r"<(Figure|Axes)[^>]*>|(?<=e-\d\d)  at .*", "", text).rstrip()  # nor where rounding is largest


def words_and_numbers(text):
    return NUMBER.sub("#", text).split(), [float(number) for number in NUMBER.findall(text)]


CASES = [pytest.param(p, marks=[pytest.mark.long] * (i >= IN_EVERY_RUN), id=p.stem) for i, p in enumerate(NOTEBOOKS)]


@pytest.mark.parametrize("path", CASES)
def test_a_tutorial_prints_what_it_shows(path):
    kept = nbformat.read(path, as_version=4)
    run = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(run, timeout=300, resources={"metadata": {"path": str(FOLDER)}}).execute()
    for i, (mine, theirs) in enumerate(zip(printed(run), printed(kept), strict=True)):
        (words, numbers), (kept_words, kept_numbers) = words_and_numbers(mine), words_and_numbers(theirs)
        assert words == kept_words, f"cell {i} of {path.name}"
        np.testing.assert_allclose(numbers, kept_numbers, rtol=1e-4, atol=1e-9, err_msg=f"cell {i} of {path.name}")


def test_there_are_five_and_each_ends_in_three_exercises():
    assert len(NOTEBOOKS) == 5
    for path in NOTEBOOKS:
        source = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
        exercises = source.partition("## Exercises")[2]
        assert all(f"**{i}. " in exercises for i in (1, 2, 3)), path.name
        assert exercises.count("print(") >= 3
