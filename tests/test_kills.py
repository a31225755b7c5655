"""A dozen kills of each kind of writer: nothing lost, nothing torn, nothing left; `tests/kills.py` does hundreds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import elman
from kills import TASKS

NEEDS = {"to_onnx": "onnx", "to_keras": "h5py"}


@pytest.mark.parametrize("name", TASKS)
def test_killed(tmp_path, name):
    """In a process of its own, which forks those that are killed."""
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    (tmp_path / "work").mkdir()
    paths = [Path(elman.__file__).parents[1], Path(__file__).parent]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "ELMAN_NUM_THREADS": "1"}
    code = f"from kills import campaign; print(campaign({name!r}, {6 if 'C' in name else 12}, seed=0))"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "work",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "at random moments" in result.stdout
