"""Installs each wheel into a new environment in which no compiler is found, and uses it: python try_wheels.py *.whl"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

USE = """
import numpy as np, elman
net = elman.Network([elman.LSTM(2, 5, seed=0), elman.LastStep(), elman.Dense(5, 2, seed=1)])
x = np.random.default_rng(0).standard_normal((16, 7, 2))
history = elman.fit(net, x, (x.sum((1, 2)) > 0).astype(int), epochs=3, progress=False)
net.save("net.safetensors")
assert (elman.load("net.safetensors")(x)[0] == net(x)[0]).all() and history.loss[-1] < history.loss[0]
print(elman.backend())
"""


def try_wheel(wheel: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = f"{folder}/bin/python"
        environment = {**os.environ, "PATH": f"{folder}/bin", "CC": "false", "CXX": "false", "PIP_NO_COMPILE": "1"}
        environment.pop("PYTHONPATH", None)

        def run(*command: str) -> str:
            done = subprocess.run([python, *command], env=environment, cwd=folder, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{wheel.name}: {command} failed\n{done.stdout}{done.stderr}")
            return done.stdout + done.stderr

        run("-m", "pip", "install", "--disable-pip-version-check", "--only-binary=:all:", str(wheel.resolve()))
        said = run("-W", "always", "-c", USE)
        pure = "none-any" in wheel.name
        if said.startswith("plain equations") != pure or said.count("no compiled part") != pure:
            raise SystemExit(f"{wheel.name} must say once that it is slow, if it is. Got {said}")
        report = run("-m", "elman", "doctor")
        print(f"{wheel.name}: installed and used without a compiler\n{report}")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        try_wheel(Path(argument))
