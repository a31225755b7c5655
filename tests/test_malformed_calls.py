"""Every public callable under malformed calls, counted by the words that they get; see `malformed`.

ELMAN_MALFORMED_CALLS=60000 makes the campaign as long as that.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import elman

CALLS = int(os.environ.get("ELMAN_MALFORMED_CALLS", "3000"))
SEED = int(os.environ.get("ELMAN_MALFORMED_SEED", "0"))

#: The kinds of calls that may end in other words, and why: a part of the kind, and the reason.
REASONS = {
    "Error in elman/training/optimizers.py, rate:": "a schedule of the user's own that fails: its error is passed on",
    "DataConversionWarning": "scikit-learn's own warning about a column of labels",
}


def test_malformed_calls_are_refused_in_words(tmp_path):
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
    import malformed_calls

    called = {target.name.split(",")[0].split(".")[0].removesuffix("()") for target in malformed_calls.targets()}
    public = {name for name in elman.__all__ if callable(getattr(elman, name))}
    assert not public - called - set(malformed_calls.LEFT_OUT)
    assert not set(malformed_calls.LEFT_OUT) & called
