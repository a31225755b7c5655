"""The network of the 3-bit flip-flop of Sussillo and Barak 2013, section 4.1: python tests/golden/flip_flop/make.py

Three inputs, mostly 0, now and then +1 or -1; three outputs, each the last sign that its input had. A network that has
learned it holds 3 bits in 8 stable points.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import elman

PATH = Path(__file__).parent / "net.safetensors"


def flips(rng: np.random.Generator, batch: int, time: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y (batch, time, 3); all bits are set at the first step."""
    x = rng.choice([-1.0, 1.0], (batch, time, 3)) * (rng.random((batch, time, 3)) < 0.15)
    x[:, 0] = rng.choice([-1.0, 1.0], (batch, 3))
    y = x.copy()
    for t in range(1, time):
        y[:, t] = np.where(x[:, t] == 0, y[:, t - 1], x[:, t])
    return x, y


def main() -> None:
    rng = np.random.default_rng(0)
    net = elman.Network([elman.GRU(3, 16, seed=0), elman.Dense(16, 3, activation="tanh", seed=1)])
    x, y = flips(rng, 1024, 40)
    rate = elman.CosineSchedule(0.02)
    history = elman.fit(
        net, x, y, loss="squared_error", optimizer=elman.Adam(rate), epochs=60, batch_size=32, seed=0, progress=False
    )
    print(len(history), history.loss[-1])
    net.save(PATH)


if __name__ == "__main__":
    main()
