"""Public names and signatures are a snapshot; what differs from the last release stands in the changelog."""

from __future__ import annotations

import difflib
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn")

ROOT = Path(__file__).parent.parent
SNAPSHOT = ROOT / "docs" / "api.txt"
(LAST,) = (ROOT / "docs").glob("api-*.txt")


def difference(old: str, new: str) -> list[str]:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0)
    return [line for line in lines if re.match(r"[+-](?![+-])", line)]


def test_public_signatures_are_those_of_the_snapshot():
    done = subprocess.run([sys.executable, ROOT / "tools" / "api.py"], capture_output=True, text=True, check=True)
    differing = difference(SNAPSHOT.read_text(), done.stdout)
    assert not differing, "\n".join(["docs/api.txt differs: say make api, and tell it in CHANGELOG.md", *differing])


def test_every_difference_from_the_last_release_has_its_line_in_the_changelog():
    released = LAST.stem.removeprefix("api-")
    news, heading, _ = (ROOT / "CHANGELOG.md").read_text().partition(f"## {released}")
    assert heading, f"CHANGELOG.md must have a heading for {released}"
    told = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", news))))
    missing = []
    for line in difference(LAST.read_text(), SNAPSHOT.read_text()):
        name = re.match(r"[+-]\s*(?:class )?([\w.]+)", line)[1].split(".")[-1]
        if name == "__call__" or name in told:
            continue
        missing.append(line)
    assert not missing, "\n".join(["these must be told in CHANGELOG.md, by name in backticks:", *missing])
