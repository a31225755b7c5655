"""Every public callable under malformed calls, counted by the words that they get; see `malformed`.

ELMAN_MALFORMED_CALLS=60000 makes the campaign as long as that.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import elman
import malformed_calls

CALLS = int(os.environ.get("ELMAN_MALFORMED_CALLS", "3000"))
SEED = int(os.environ.get("ELMAN_MALFORMED_SEED", "0"))

#: The kinds of calls that may end in other words, and why: a part of the kind, and the reason.
REASONS = {
    "Error in elman/training/optimizers.py, rate:": "a schedule of the user's own that fails: its error is passed on",
    "this object answers nothing": "a path of the user's own that fails, or a signal while it is asked: passed on",
    "requires y to be passed": "the words that scikit-learn's checks of estimators ask for",
    "DataConversionWarning": "scikit-learn's own warning about a column of labels",
    "shares of sequence": "a path so long that its integral is not found",
    "came to a fixed point": "starts or an input so far away that no start settles",
    "the product may be off": "gradients that change in leaps",
}


def test_malformed_calls_are_refused_in_words(tmp_path):
    for library in ("sklearn", "onnx", "h5py"):
        pytest.importorskip(library)
    here = Path(__file__).parent
    log = tmp_path / "log"
    command = [sys.executable, here / "malformed.py", "--calls", str(CALLS), "--seed", str(SEED), "--log", log]
    paths = os.pathsep.join([str(Path(elman.__file__).parents[1]), str(here)])
    run = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}, timeout=20 + CALLS
    )
    assert run.returncode == 0, f"ended with {run.returncode} in {log.read_text()}\n{run.stderr[-3000:]}"
    found = json.loads(run.stdout)
    ends, kinds = found["ends"], found["kinds"]
    listed = json.dumps(kinds, indent=1)
    unexplained = [kind for kind in kinds if not any(part in kind for part in REASONS)]
    refused = ends["words"] + ends.get("otherwise", 0)
    assert refused > CALLS / 2
    assert ends.get("otherwise", 0) <= 0.005 * refused, listed
    assert not unexplained, listed
    assert "hung" not in ends


def test_every_public_callable_is_called():
    for library in ("sklearn", "onnx", "h5py"):
        pytest.importorskip(library)
    names = {target.name.split(",")[0].split("()")[0].split(" ")[0] for target in malformed_calls.targets()}
    called = {name.split(".")[0] for name in names}
    for name in set(elman.__all__) - set(malformed_calls.LEFT_OUT):
        public = getattr(elman, name)
        if callable(public):
            assert name in called
        if inspect.isclass(public):
            for method, function in inspect.getmembers(public, callable):
                known = malformed_calls.METHODS_LEFT_OUT
                if not method.startswith("_") and "sklearn" not in function.__module__ and method not in known:
                    assert f"{name}.{method}" in names
