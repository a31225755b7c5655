"""Exported C, compiled: shared objects that are called step by step, and programs that are run."""

from __future__ import annotations

import ctypes
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from elman.interop.c.code import CReport

CC = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
needs_compiler = pytest.mark.skipif(CC is None, reason="there is no C compiler")
STRICT = shlex.split(
    "-std=c99 -O2 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wdouble-promotion -Wstrict-prototypes "
    "-Wmissing-prototypes -Wcast-qual -Wundef -Wvla -Wfloat-equal -Werror"
)


def compile_c(*arguments: str | Path, compiler: str | None = CC, flags: list[str] = STRICT) -> None:
    """Fails with the words of the compiler: every warning is an error."""
    assert compiler is not None
    result = subprocess.run([compiler, *flags, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def build(folder: Path, reports: list[CReport]) -> ctypes.CDLL:
    """All models in one shared object, each with NAME_size, the size of its state."""
    probes = [
        f'#include "{report.header.name}"\nunsigned long {report.name}_size(void);\n'
        f"unsigned long {report.name}_size(void) {{ return sizeof({report.name}_state); }}\n"
        for report in reports
    ]
    (folder / "sizes.c").write_text("".join(probes))
    compile_c(
        "-shared", "-fPIC", *(report.source for report in reports), folder / "sizes.c", "-lm", "-o", folder / "all.so"
    )
    return ctypes.CDLL(str(folder / "all.so"))


class State:
    """One state of an exported model, in memory that held something else before."""

    def __init__(self, library: ctypes.CDLL, report: CReport, outputs: int) -> None:
        self._of = lambda action: getattr(library, f"{report.name}_{action}")
        size = self._of("size")
        size.restype = ctypes.c_ulong
        assert size() == report.state_bytes
        self.memory = np.full(report.state_bytes, 0xFF, np.uint8)
        self.outputs = outputs
        self._of("init")(self._pointer(self.memory))

    @staticmethod
    def _pointer(array: np.ndarray) -> ctypes.c_void_p:
        return ctypes.c_void_p(array.ctypes.data)

    def reset(self) -> None:
        self._of("reset")(self._pointer(self.memory))

    def step(self, x: np.ndarray) -> np.ndarray:
        """y of x (features,), or of a token."""
        y = np.full(self.outputs, np.nan, np.float32)
        if x.ndim == 0:
            assert self._of("step")(self._pointer(self.memory), ctypes.c_int32(int(x)), self._pointer(y)) == 0
        else:
            x = np.ascontiguousarray(x, np.float32)
            self._of("step")(self._pointer(self.memory), self._pointer(x), self._pointer(y))
        return y

    def run(self, x: np.ndarray) -> np.ndarray:
        return np.array([self.step(row) for row in x])
