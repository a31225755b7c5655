"""From a sum to the value of a gate: an activation, before which the sum may be bounded.

    y = act(a)        or, with `clip`,        y = act(min(max(a, -clip), clip))

Clipping is that of the operators RNN, GRU and LSTM of ONNX. As with all activations the derivative is taken from y:
that of act, and 0 where y is the value that act has at a bound.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from elman import checks
from elman.cells.activations import Activation, as_activation
from elman.checks import Array


class Gate(Protocol):
    """What an `Activation` and a `Bounded` one have in common."""

    def __call__(self, a: Any, /) -> Any: ...

    def derivative(self, y: Any, /) -> Any: ...


@dataclass(frozen=True)
class Bounded:
    """An activation of what is bounded to +-clip."""

    activation: Activation
    clip: float

    def __call__(self, a: Array) -> Array:
        bound, low, high = _ends(self.activation, self.clip, a.dtype)
        # The ends are set, not computed beside the others: they must be the same bits wherever they stand.
        return np.where(a >= bound, high, np.where(a <= -bound, low, self.activation(a)))

    def derivative(self, y: Array) -> Array:
        _, low, high = _ends(self.activation, self.clip, y.dtype)
        return np.where((y == low) | (y == high), 0, self.activation.derivative(y))


@functools.lru_cache(maxsize=256)
def _ends(activation: Activation, clip: float, dtype: np.dtype[Any]) -> tuple[Any, Any, Any]:
    """The bound, and the values that the activation has at both."""
    bound = dtype.type(min(clip, float(np.finfo(dtype).max)))
    with np.errstate(over="ignore"):
        low, high = activation(np.array([-bound, bound]))
    return bound, low, high


def clip_option(name: str, value: float | None) -> dict[str, Any]:
    """A bound as a cell's option, checked; nothing where there is none."""
    return {} if value is None else {name: checks.number(name, value, 0, open_low=True)}


def bounded(activation: Activation, clip: float | None) -> Gate:
    """The activation of what is bounded to +-clip, where `clip` is no None."""
    return activation if clip is None else Bounded(activation, clip)


def read_activations(given: Any, defaults: Mapping[str, Activation]) -> dict[str, Activation]:
    """The activation of every gate, that of `defaults` where `given`, gate -> activation, has none."""
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        raise checks.KindError(
            f"activations must be a mapping of gates to activations, or None. Got {checks.show(given)}."
        )
    for gate in given:
        checks.choice("a gate of activations", gate, defaults)
    return {gate: as_activation(given.get(gate, default)) for gate, default in defaults.items()}


def activations_option(chosen: Mapping[str, Activation], defaults: Mapping[str, Activation]) -> dict[str, Any]:
    """The activations as a cell's option: those that differ from the defaults, as JSON; nothing where none does."""
    differ = {gate: act.to_config() for gate, act in chosen.items() if act != defaults[gate]}
    return {"activations": differ} if differ else {}
