"""What every layer and network is: parameters by name, forward, backward, and a form for each user.

A subclass fills in a few small methods (`_setup`, `_shapes`, `_draw`, `_take`, `_run`, `_run_back`); the public ones
here turn a user's arrays into packed sequences (see `elman.sequences`) and results back into the user's form.
Nothing of a call stays in a layer: what `backward` needs is the tape that `forward` returns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from elman import checks
from elman.checks import Array
from elman.sequences import Layout, Sequences, pack_features

if TYPE_CHECKING:
    from numpy.random import Generator

Gradients = dict[str, Array]


@dataclass(frozen=True)
class Tape:
    """What `forward` returns for `backward`; it can be used twice, kept and pickled."""

    layer: str  # the class of the layer that made it
    config: dict[str, Any]
    x: Layout
    y: Layout
    width: int  # features of y
    kept: Any


class Layer:
    """The base of layers and networks. `Recurrent`, `Dense` and the others say what they compute.

    ``y, state = layer(x)`` computes, ``y, state, tape = layer.forward(x)`` computes and keeps what
    ``dx, dstate, gradients = layer.backward(tape, dy)`` needs. x is (batch, time, features), one sequence
    (time, features), or a list of sequences; y comes in the same form. Layers without a state return None for it.
    """

    config: dict[str, Any]  #: the arguments that make an equal layer
    dtype: np.dtype[Any]
    input_size: int | None = None  #: None: any
    output_size: int | None = None  #: None: as many as come in
    stateful: bool = False
    takes_tokens: bool = False
    narrowing: int = 1  #: where output_size is None: how many features come in for each that goes out
    needs_whole_sequences: bool = False  #: cannot go step by step, as a stream does
    drops_steps: bool = False  #: y may have fewer steps than x
    _parameters: dict[str, Array]

    def __init__(self, seed: int | None = None, **config: Any) -> None:
        self._parameters = {}
        self._setup(**config)
        self.config = config
        self._parameters = {name: checks.new_array(name, shape, self.dtype) for name, shape in self._shapes().items()}
        self._draw(np.random.default_rng(checks.seed("seed", seed)))

    @classmethod
    def from_parameters(cls, config: Mapping[str, Any], parameters: Mapping[str, Array], prefix: str = "") -> Layer:
        """A layer from its `config` and its weights, without drawing any.

        The weights are those of `parameters` whose names begin with `prefix`. Raises `ShapeError` where one is
        missing, left over, or of another shape.
        """
        layer = cls.__new__(cls)
        layer._parameters = {}
        layer._setup(**config)
        layer.config = dict(config)
        shapes = layer._shapes()
        for name in shapes:
            if prefix + name not in parameters:
                raise checks.ShapeError(f"{prefix + name} must be among the parameters. Got none of that name.")
            checks.shape(prefix + name, parameters[prefix + name], shapes[name])
        layer._parameters = {name: np.array(parameters[prefix + name], layer.dtype, order="C") for name in shapes}
        return layer

    # What a subclass fills in.

    def _setup(self, *args: Any, **kwargs: Any) -> None:
        """Checks the arguments and sets sizes and dtype, without taking memory for weights."""
        raise NotImplementedError

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Parameter name -> shape, in a fixed order."""
        return {}

    def _draw(self, rng: Generator) -> None:
        """Fills new parameters."""

    def _take(self, x: Any, lengths: Any, own: bool) -> Sequences:
        """The user's input as packed sequences."""
        return pack_features("x", x, self.input_size, self.dtype, lengths, own=own)

    def _run(self, x: Sequences, state: Any, rng: Generator | None, keep: bool) -> tuple[Sequences, Any, Any]:
        """Output, state and, with `keep`, what `_run_back` needs."""
        raise NotImplementedError

    def _run_back(self, kept: Any, dy: Array | None, dstate: Any) -> tuple[Array | None, Any, Gradients]:
        """From the gradients of the packed output and of the state: those of the packed input, state, parameters."""
        raise NotImplementedError

    def _rows(self, rows: Array) -> Array:
        """The output of rows (..., features) for a layer that treats each by itself; what a stream computes."""
        raise NotImplementedError

    def _ready(self) -> Callable[[Array], Array]:
        """`_rows`, with what it makes of the weights made once and for all: for streams."""
        return self._rows

    # What a user calls.

    def __call__(self, x: Any, state: Any = None, lengths: Any = None) -> tuple[Any, Any]:
        """Output and final state; see `forward`, of which this is the part without a tape."""
        self._check_state("state", state)
        packed = self._take(x, lengths, own=False)
        y, state, _ = self._run(packed, state, None, keep=False)
        # A layer that does nothing, as dropout here, hands its input on: it must not be the caller's array.
        return y.layout.unpack(y.values, own=y.values is packed.values), state

    def forward(
        self, x: Any, state: Any = None, lengths: Any = None, rng: Generator | None = None
    ) -> tuple[Any, Any, Tape]:
        """Computes, and keeps what `backward` needs.

        Parameters
        ----------
        x
            (batch, time, features), one sequence (time, features), or a list of (time_i, features); for an
            `Embedding` whole numbers without the last axis. Converted to the dtype of the layer.
        state
            The state before the first step, 0 if left out.
        lengths
            (batch,) whole numbers: how many steps of each row of a padded array are real. What stands behind them
            is never read.
        rng
            A generator makes dropout act, as in training; without one nothing is random.

        Returns
        -------
        y, state, tape
            y in the form of x, 0 where x is padding; the state after each sequence's own last step.
        """
        self._check_state("state", state)
        if rng is not None and not isinstance(rng, np.random.Generator):
            raise TypeError(f"rng must be a numpy.random.Generator, or None. Got {checks.show(rng)}.")
        packed = self._take(x, lengths, own=True)
        y, state, kept = self._run(packed, state, rng, keep=True)
        tape = Tape(type(self).__name__, self.config, packed.layout, y.layout, y.values.shape[1], kept)
        return y.layout.unpack(y.values, own=True), state, tape  # the tape keeps y too

    def backward(self, tape: Tape, dy: Any = None, dstate: Any = None) -> tuple[Any, Any, Gradients]:
        """Exact gradients of a forward pass, by backpropagation through time.

        Parameters
        ----------
        tape
            What `forward` returned.
        dy
            The gradient of a loss by y, in the form of y; what stands in padding is never read. May be left out.
        dstate
            The gradient by the final state, in the form of the state. May be left out.

        Returns
        -------
        dx, dstate, gradients
            The gradient by x in the form of x (None for tokens), by the initial state, and by every parameter,
            name -> array, summed over batch and time.
        """
        if not isinstance(tape, Tape):
            raise TypeError(f"tape must be what forward returned. Got {checks.describe(tape)}.")
        if (tape.layer, tape.config) != (type(self).__name__, self.config):
            raise ValueError(f"tape must come from this layer, {self!r}. Got one of {tape.layer}, {tape.config}.")
        self._check_state("dstate", dstate)
        packed = None if dy is None else tape.y.pack("dy", dy, tape.width, self.dtype)
        dx, dstate, gradients = self._run_back(tape.kept, packed, dstate)
        # A layer that did nothing hands dy on: it must not be the caller's array.
        dx = None if dx is None else tape.x.unpack(dx, own=dx is packed)
        return dx, dstate, {name: gradients[name] for name in self.parameters}

    def _check_state(self, name: str, state: Any) -> None:
        if state is not None and not self.stateful:
            raise checks.ShapeError(
                f"{name} must be left out: {type(self).__name__} has no state. Got {checks.describe(state)}."
            )

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Name -> array, in a fixed order. The arrays are live: what is written into them is computed with."""
        return MappingProxyType(self._parameters)

    def __getattr__(self, name: str) -> Any:
        parameters = self.__dict__.get("_parameters", {})
        if name in parameters:
            return parameters[name]
        raise self._unknown(name)

    def _unknown(self, name: str) -> AttributeError:
        names = ", ".join(self.__dict__.get("_parameters", {})) or "none"
        return AttributeError(f"{type(self).__name__} has no attribute {name!r}; its parameters are {names}.")

    def __setattr__(self, name: str, value: Any) -> None:
        parameters = self.__dict__.get("_parameters", {})
        if name in parameters:
            array = checks.real_array(name, value, self.dtype)
            parameters[name][...] = checks.fitted(name, array, parameters[name].shape)
        elif parameters and not name.startswith("_") and not hasattr(self, name):
            # A misspelled weight would be kept and never used.
            raise self._unknown(name)
        else:
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters})

    @property
    def parameter_count(self) -> int:
        """How many numbers the parameters hold together."""
        return sum(math.prod(array.shape) for array in self.parameters.values())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.config.items())})"
