"""How exact the compiled activations are, in units in the last place, and float32 kernels beside float64 equations."""

from __future__ import annotations

import numpy as np
import pytest

import elman
from elman import engine
from elman.cells import unroll

pytestmark = pytest.mark.skipif(not engine.compiled(elman.LSTM(1, 1).cell), reason="the plain equations run here")


def through_kernel(activation, x):
    """act(x) as the kernel computes it: an RNN with one input and one unit, whose weights are 1 and 0."""
    layer = elman.RNN(1, 1, activation=activation, dtype=x.dtype)
    layer.Wx, layer.Wh, layer.b = [[1]], [[0]], [0]
    y, _ = layer(x.reshape(-1, 1, 1))
    return y.ravel()


def grid(dtype):
    """Both signs, dense where the functions bend, out to where they end."""
    small = np.geomspace(1e-30 if dtype == "float32" else 1e-300, 1e-3, 20000)
    return np.concatenate([-small, np.linspace(-100, 100, 400001), small, [0, 1e30, -1e30]]).astype(dtype)


def ulps(got, want):
    """The difference in units in the last place of the exact result."""
    exact = want.astype(got.dtype)
    return np.abs(got.astype(np.longdouble) - want) / np.spacing(np.maximum(np.abs(exact), np.finfo(got.dtype).tiny))


# The largest difference found on the grid, rounded up; docs/performance.md names them.
LIMITS = {("tanh", "float32"): 3, ("tanh", "float64"): 3, ("sigmoid", "float32"): 3, ("sigmoid", "float64"): 3}


@pytest.mark.parametrize(("name", "dtype"), LIMITS)
def test_activations_in_ulps(name, dtype):
    x = grid(dtype)
    wide = x.astype(np.longdouble)
    with np.errstate(over="ignore"):
        want = np.tanh(wide) if name == "tanh" else 1 / (1 + np.exp(-wide))
    # Results under the smallest normal number are flushed to 0, and e^-x ends where its exponent does.
    counts = want > np.finfo(dtype).tiny * 4 if name == "sigmoid" else np.abs(want) >= np.finfo(dtype).tiny
    got = through_kernel(name, x)
    assert ulps(got[counts], want[counts]).max() <= LIMITS[name, dtype]
    assert np.abs(got[~counts]).max(initial=0) <= np.finfo(dtype).tiny * 8
    assert np.abs(got).max() == 1


@pytest.mark.parametrize(
    ("cell", "options"),
    [
        ("LSTM", {}),
        ("GRU", {}),
        ("RNN", {}),
        ("LSTM", {"peepholes": True, "clip": 3.0, "activations": {"i": "hard_sigmoid", "c": "softsign"}}),
        ("LSTM", {"coupled": True, "cell_clip": 0.5}),
        ("GRU", {"clip": 0.8, "activations": {"z": "hard_sigmoid"}}),
        ("RNN", {"clip": 0.5}),
    ],
    ids=str,
)
def test_float32_kernels_beside_float64_equations(cell, options):
    """Over 200 steps of a layer of 64 units the error stays at some ten epsilon of float32."""
    rng = np.random.default_rng(0)
    single = getattr(elman, cell)(16, 64, seed=0, **options)
    double = getattr(elman, cell)(16, 64, dtype="float64", seed=0, **options)
    for name, array in single.parameters.items():
        setattr(double, name, array)
    x = rng.normal(size=(8, 200, 16)).astype(np.float32)
    y, _ = single(x)
    weights = tuple(double.parameters.values())
    exact = np.empty((8 * 200, 64))
    unroll.unroll(double.cell, weights, x.reshape(-1, 16).astype(float), np.full(8, 200), None, exact, keep=False)
    error = np.abs(y.reshape(-1, 64) - exact).max()
    assert error < 40 * np.finfo(np.float32).eps
