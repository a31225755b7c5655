"""Activations: the functions of `elman.cells.functions` by name, and with bounds, as cells and layers take them.

The table `ACTIVATIONS` holds the list of ONNX (operators RNN, GRU and LSTM, attribute ``activations``) and the
identity, with ONNX's definitions and default parameters. What a gate computes may be bounded first:

    y = act(a)        or, with `clip`,        y = act(min(max(a, -clip), clip))

Clipping is that of the operators RNN, GRU and LSTM of ONNX. As with all activations the derivative is taken from y:
that of act, and 0 where y is the value that act has at a bound.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from elman import checks
from elman.cells import functions
from elman.cells.functions import CURVES
from elman.checks import Array
from elman.options import REQUIRED, ReadOnly, defaults


@dataclass(frozen=True)
class _Definition:
    function: Callable[..., Array]
    derivative: Callable[..., Array]
    defaults: dict[str, float]


def _definition(name: str) -> _Definition:
    function, derivative = getattr(functions, name), getattr(functions, f"{name}_derivative")
    return _Definition(function, derivative, {key: d for key, d in defaults(function).items() if d is not REQUIRED})


_NAMES = "identity relu tanh sigmoid affine leaky_relu thresholded_relu scaled_tanh hard_sigmoid elu softsign softplus"
#: The activations that gates and layers may have, by name: what each takes and computes.
ACTIVATIONS = {name: _definition(name) for name in _NAMES.split()}

#: Those that act over the features of a step together; each is a layer, see `elman.Activate`.
OVER_FEATURES = ("softmax", "log_softmax")

#: Why some are layers of their own: what an activation must do, and what they do.
_APART = {
    **dict.fromkeys(OVER_FEATURES, ("act on each number by itself", "acts over the features together")),
    **dict.fromkeys(CURVES, ("have a derivative that y tells", "needs x for it, or is of no use in a cell")),
}

# Where the sign or size of alpha decides whether the derivative can be told from y alone.
_POSITIVE_SLOPE = {"leaky_relu", "elu", "scaled_tanh"}


class Activation:
    """An activation of the table by name, with its parameters where it has any.

    `name` is one of identity, relu, tanh, sigmoid, affine, leaky_relu, thresholded_relu, scaled_tanh,
    hard_sigmoid, elu, softsign, softplus. Called, it gives y; `derivative(y)` gives dy/dx. Layers take a name or
    an `Activation`. The derivative is taken from y, so alpha of leaky_relu, elu and scaled_tanh must be over 0.
    An activation is a value: neither its name nor its parameters can be assigned.

    >>> leaky = Activation("leaky_relu", alpha=0.1)
    >>> leaky([-2.0, 2.0]).tolist(), leaky
    ([-0.2, 2.0], Activation('leaky_relu', alpha=0.1))
    """

    name: str
    parameters: Mapping[str, float]

    def __init__(self, name: str, **parameters: float) -> None:
        near = checks.nearest(name, (*ACTIVATIONS, *_APART))
        if near in _APART:
            got = checks.show(name) if name == near else f"{checks.show(name)}, perhaps {near!r}"
            must, does = _APART[near]
            own = f"it is a layer of its own, elman.Activate({near!r})"
            raise ValueError(f"activation must {must}. Got {got}, which {does}: {own}.")
        checks.choice("activation", name, ACTIVATIONS)
        definition = ACTIVATIONS[name]
        for key, value in parameters.items():
            checks.choice(f"a parameter of {name}", key, definition.defaults)
            checks.number(key, value)
        if name in _POSITIVE_SLOPE:
            checks.number("alpha", parameters.get("alpha", 1.0), 0, open_low=True)
        chosen = ReadOnly({**definition.defaults, **{key: float(value) for key, value in parameters.items()}})
        self.__dict__.update(name=name, parameters=chosen)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name} of an Activation cannot be assigned; make another. Got {checks.show(value)}.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"an Activation must keep its name and parameters. Got the deletion of {name!r}.")

    def __call__(self, x: Any) -> Any:
        return ACTIVATIONS[self.name].function(x, **self.parameters)

    def derivative(self, y: Any) -> Any:
        """dy/dx from the output y."""
        return ACTIVATIONS[self.name].derivative(checks.real_array("y", y), **self.parameters)

    @property
    def slopes(self) -> tuple[float, float]:
        """alpha and beta, 0 where there is none."""
        return self.parameters.get("alpha", 0.0), self.parameters.get("beta", 0.0)

    def to_config(self) -> str | dict[str, Any]:
        """The activation as JSON: its name, or a dictionary where parameters differ from the defaults."""
        if self.parameters == ACTIVATIONS[self.name].defaults:
            return self.name
        return {"name": self.name, **self.parameters}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Activation) and (self.name, self.parameters) == (other.name, other.parameters)

    def __hash__(self) -> int:
        return hash((self.name, *self.parameters.values()))

    def __repr__(self) -> str:
        return f"Activation({', '.join([repr(self.name), *(f'{k}={v!r}' for k, v in self.parameters.items())])})"


def as_activation(value: Any) -> Activation:
    """An `Activation` from a name, from what `to_config` wrote, from a function of the table, or from itself.

    >>> as_activation(functions.tanh), as_activation(np.tanh)
    (Activation('tanh'), Activation('tanh'))
    """
    if isinstance(value, Activation):
        return value
    if isinstance(value, dict) and isinstance(value.get("name"), str) and all(isinstance(key, str) for key in value):
        return Activation(**value)
    return Activation(name_of(value))


def name_of(value: Any) -> Any:
    """The name of a function of the table, such as `elman.tanh`, or of NumPy's tanh; anything else as it is."""
    named = {functions.softmax: "softmax", np.tanh: "tanh"} | {
        entry.function: name for name, entry in ACTIVATIONS.items()
    }
    return named.get(value, value) if callable(value) and isinstance(value, Hashable) else value


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


Gate: TypeAlias = Activation | Bounded


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


def read_activations(
    given: Any, defaults: Mapping[str, Activation]
) -> tuple[dict[str, Activation], dict[str, dict[str, Any]]]:
    """The activation of every gate, that of `defaults` where `given`, gate -> activation, has none.

    Those that differ from the defaults also as a cell's option, as JSON; nothing where none does.
    """
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        must = "activations must be a mapping of gates to activations, or None"
        raise checks.KindError(f"{must}. Got {checks.show(given)}.")
    for gate in given:
        checks.choice("a gate of activations", gate, defaults)
    acts = {gate: as_activation(given.get(gate, default)) for gate, default in defaults.items()}
    differ = {gate: act.to_config() for gate, act in acts.items() if act != defaults[gate]}
    return acts, {"activations": differ} if differ else {}
