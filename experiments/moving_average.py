"""The airline model of Box and Jenkins (1970, chapter 9) as a recurrent cell: SARIMA (0,1,1)(0,1,1) with season 12.

Over changes x of yearly growth the model forecasts from its own last errors:

    e  = x - y                                the error of the forecast made a step before
    y' = -(p e_1 + q e_12 - p q e_13)         e_1 the newest, e_12 and e_13 a year back

so its state is the forecast y and 13 errors, and its weights are p and q, trained by backpropagation through time like
those of any network. It starts without errors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import elman

ERRORS = 13


def step(x: np.ndarray, state: Any, weights: Any) -> Any:
    (y, *e), (p, q) = state, weights
    e = [x - y, *e[:-1]]
    return (-(p * e[0] + q * e[11] - p * q * e[12]), *e), {}


def step_derivative(x: np.ndarray, state: Any, weights: Any, kept: Any, dnext: Any) -> Any:
    (y, *e), (p, q), (dy, *de) = state, weights, dnext
    e = [x - y, *e[:-1]]
    de[0], de[11], de[12] = de[0] - p * dy, de[11] - q * dy, de[12] + p * q * dy
    dp, dq = dy * (q * e[12] - e[0]), dy * (p * e[12] - e[11])
    return de[0], (-de[0], *de[1:], np.zeros_like(y)), (dp.sum(0), dq.sum(0))


CELL = elman.Cell(
    "moving average",
    {"p": ("hidden",), "q": ("hidden",)},
    ("y", *(f"e{i}" for i in range(1, ERRORS + 1))),
    step,
    step_derivative,
)


def moving_average(seed: int) -> elman.Network:
    """A network of the cell alone, its weights still small."""
    net = elman.Network([elman.Recurrent(CELL, 1, 1, dtype="float64", seed=seed)])
    for array in net.parameters.values():
        array[...] = 0.1
    return net
