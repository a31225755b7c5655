"""What layers draw in training, dropout masks and zones, and the checks of their rates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array


def dropout_rate(name: str, value: Any, at_one: str = "nothing is left") -> float:
    """A probability from 0 to under 1; `at_one` says what would be at 1."""
    rate = checks.number(name, value, 0, 1)
    if rate == 1:
        raise ValueError(f"{name} must be under 1, or {at_one}. Got {checks.show(value)}.")
    return rate


def dropout_mask(rng: np.random.Generator, rate: float, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """0 with probability `rate`, else 1 / (1 - rate), so that the mean is 1."""
    return np.multiply(~_happens(rng, rate, shape), dtype.type(1 / (1 - rate)), dtype=dtype)


def _happens(rng: np.random.Generator, rate: float, shape: tuple[int, ...]) -> Array:
    """True with probability `rate`, to within 2^-32: twice as fast as drawing a float for each."""
    count = math.prod(shape)
    halves = rng.integers(0, 2**64, -(-count // 2), np.uint64).view(np.uint32)[:count]
    return np.asarray(halves.reshape(shape) < np.uint32(rate * 2**32))


_FIXED = "the state never changes"


def zone_rates(value: Any, states: tuple[str, ...]) -> tuple[float, ...]:
    """The rate of zoneout of each state, from one number for all or a tuple of one each."""
    if not isinstance(value, (tuple, list)):
        return (dropout_rate("zoneout", value, _FIXED),) * len(states)
    if len(value) != len(states):
        must = f"zoneout must be a number, or a tuple of {len(states)}, ({', '.join(states)})"
        raise ValueError(f"{must}. Got {len(value)} numbers.")
    return tuple(dropout_rate(f"{name} of zoneout", rate, _FIXED) for name, rate in zip(states, value, strict=True))


def zones(
    rng: np.random.Generator | None, rates: tuple[float, ...], rows: int, widths: tuple[int, ...], dtype: np.dtype[Any]
) -> tuple[Array | float, ...]:
    """For each state 1 where a unit keeps its value in a step, else 0; without a generator the rates, their mean."""
    if rng is None:
        return rates
    pairs = zip(rates, widths, strict=True)
    return tuple([_happens(rng, rate, (rows, width)).astype(dtype) if rate else 0.0 for rate, width in pairs])
