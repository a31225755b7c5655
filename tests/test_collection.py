"""Every test module is collected, whatever of the extras and the peers is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PEERS = "torch safetensors.torch keras tensorflow onnxscript jax"
EXTRAS = "typer rich matplotlib sklearn narwhals h5py onnx onnxruntime pandas polars pyarrow statsmodels"


@pytest.mark.parametrize("refused", [PEERS, f"{PEERS} {EXTRAS}"], ids=["without peers", "without extras"])
def test_every_module_is_collected(refused):
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-rs", "-p", "refuse_imports", str(TESTS)]
    paths = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "REFUSED": refused, "PYTHONPATH": paths}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=TESTS.parent)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for file in TESTS.glob("test_*.py"):
        assert file.name in done.stdout, f"{file.name} must be collected, or be skipped as a whole with its reason"
