"""What a user finds after installing: `elman doctor`, and the library without its compiled part."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import elman
from elman import kernels

PACKAGE = Path(elman.__file__).parent
TESTS = Path(__file__).parent


def run(*command, **variables):
    """A new Python with the package of this one."""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), **variables}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, cwd=TESTS)


def test_the_compiled_part_is_there_where_a_compiler_is():
    if shutil.which("c++") or shutil.which("g++"):
        assert kernels.native is not None


@pytest.mark.parametrize("refused", ["", "typer rich matplotlib sklearn h5py onnx torch"])
def test_doctor(refused):
    """In full, and without any extra; about a second either way."""
    paths = os.pathsep.join([str(TESTS), str(PACKAGE.parent)])
    done = run("-c", "import refuse_imports, sys; sys.argv[1:] = ['doctor']; from elman.cli import main; main()",
               REFUSED=refused, PYTHONPATH=paths)  # fmt: skip
    assert done.returncode == 0, done.stderr
    words = (
        "elman",
        elman.backend(),
        "threads",
        "numpy",
        "safetensors",
        "[sklearn]",
        "self-test    passed",
        "the same bits",
    )
    for word in words:
        assert word in done.stdout
    assert "missing" not in done.stdout.split("self-test")[1]


def test_doctor_says_what_was_chosen():
    done = run("-m", "elman", "doctor", ELMAN_PLAIN="1")
    assert done.returncode == 0
    assert "plain equations, chosen by ELMAN_PLAIN=1" in done.stdout
    done = run("-m", "elman", "doctor", ELMAN_ISA="baseline", ELMAN_PLAIN="0")
    assert "baseline, chosen by ELMAN_ISA=baseline" in done.stdout


def test_a_failed_self_test_is_told_by_the_exit_code():
    code = """if True:
        import sys
        from elman.cli import doctor, main
        doctor.TOLERANCE = {"float32": 0.0, "float64": 0.0}
        sys.argv[1:] = ["doctor"]
        main()
    """
    done = run("-c", code, ELMAN_PLAIN="0")
    if kernels.native is not None:
        assert done.returncode == 1
        assert "FAILED" in done.stdout


@pytest.fixture
def pure(tmp_path):
    """The package as the pure wheel has it: without the compiled part."""
    shutil.copytree(PACKAGE, tmp_path / "elman", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
    return str(tmp_path)


def test_without_the_compiled_part_there_is_one_warning(pure):
    code = """if True:
        import elman, numpy as np
        assert elman.backend() == "plain equations"
        for _ in range(3):
            net = elman.Network([elman.GRU(2, 3, seed=0), elman.Dense(3, 1, seed=1)])
            x = np.ones((4, 5, 2))
            elman.fit(net, x, x[..., :1], loss="squared_error", epochs=2, progress=False)
            net.stream().step(x[0, 0])
    """
    done = run("-W", "always", "-c", code, PYTHONPATH=pure, ELMAN_PLAIN="")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Warning") == 1
    assert "no compiled part" in done.stderr
    assert "compiler" in done.stderr
    done = run("-W", "always", "-c", code, PYTHONPATH=pure, ELMAN_PLAIN="1")
    assert (done.returncode, done.stderr) == (0, "")


def test_doctor_says_that_the_compiled_part_is_missing(pure):
    done = run("-m", "elman", "doctor", PYTHONPATH=pure, ELMAN_PLAIN="")
    assert done.returncode == 0
    assert "plain equations" in done.stdout
    assert "no compiled part" in done.stdout


def test_version():
    done = run("-m", "elman", "--version")
    assert done.stdout.split() == ["elman", elman.__version__]


def test_doctor_into_a_pipe_that_is_read_no_further():
    command = [
        sys.executable,
        "-c",
        "import sys; sys.stdin.close(); from elman.cli.doctor import print_report as p; p()",
    ]
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(command, env=environment, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=TESTS)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
