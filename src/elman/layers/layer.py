"""What every layer and network is: parameters by name, forward, backward, and a form for each user.

What a layer was made with, its options, is one truth: what is computed, shown and saved follows from it, and it is
fixed. A subclass fills in a few small methods (`_setup`, `_shapes`, `_draw`, `_take`, `_run`, `_run_back`); the
public ones here turn a user's arrays into packed sequences (see `elman.sequences`) and results back into the user's
form. Nothing of a call stays in a layer: what `backward` needs is the tape that `forward` returns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from elman import checks
from elman.cells.activations import Activation
from elman.checks import Array
from elman.options import LiveArrays, ReadOnly, check_names, defaults, frozen, no_dtype
from elman.sequences import Layout, Sequences, pack_features

if TYPE_CHECKING:
    from numpy.random import Generator

Gradients = dict[str, Array]


@dataclass(frozen=True)
class Tape:
    """What `forward` returns for `backward`; it can be used twice, kept and pickled."""

    layer: str  # the class of the layer that made it
    config: Mapping[str, Any]
    x: Layout
    y: Layout
    width: int  # features of y
    dtype: np.dtype[Any]  # of y
    kept: Any


class Layer:
    """The base of layers and networks. `Recurrent`, `Dense` and the others say what they compute.

    ``y, state = layer(x)`` computes, ``y, state, tape = layer.forward(x)`` computes and keeps what
    ``dx, dstate, gradients = layer.backward(tape, dy)`` needs. x is (batch, time, features), one sequence
    (time, features), or a list of sequences; y comes in the same form. Layers without a state return None for it.
    """

    dtype: np.dtype[Any] | None = None  #: of the weights; None without any: then that of the network, or of x
    input_size: int | None = None  #: None: any
    output_size: int | None = None  #: None: as many as come in
    stateful: bool = False
    takes_tokens: bool = False
    narrowing: int = 1  #: where output_size is None: how many features come in for each that goes out
    needs_whole_sequences: bool = False  #: cannot go step by step, as a stream does
    drops_steps: bool = False  #: y may have fewer steps than x
    layers: tuple[Layer, ...] = ()  #: those inside, of a network
    _config: ReadOnly  # there from the moment on at which the options are fixed
    _parameters: Mapping[str, Array] = LiveArrays()

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Refuses, in words, the dtype that a layer without weights does not have."""
        if "dtype" not in (*cls._known_options(), *defaults(cls.__init__)):
            given = options.get("dtype", args[-1] if args else None)
            named = isinstance(given, (type, np.dtype)) or (isinstance(given, str) and given.startswith("float"))
            if "dtype" in options or named:
                raise no_dtype(cls.__name__, given)
        return super().__new__(cls)

    def __init__(self, seed: int | None = None, **options: Any) -> None:
        checks.seed("seed", seed)
        self._set_options(options)
        self._set_weights({}, seed)

    @classmethod
    def from_parameters(cls, config: Mapping[str, Any], parameters: Mapping[str, Array], prefix: str = "") -> Self:
        """A layer from its `config` and its weights, without drawing any.

        The weights are those of `parameters` whose names begin with `prefix`. Raises `ShapeError` where one is
        missing or of another shape, and `ValueError` for options that the layer does not have.
        """
        checks.mapping("config", config, "of options to their values")
        checks.mapping("parameters", parameters, "of names to arrays")
        if not isinstance(prefix, str):
            raise TypeError(f"prefix must be a text. Got {checks.show(prefix)}.")
        layer = cls.__new__(cls)
        layer._set_options(config)
        given = {}
        for name, shape in layer._shapes().items():
            if prefix + name not in parameters:
                known = f"{checks.shorten(prefix)}{name}"
                raise checks.ShapeError(f"{known} must be among the parameters. Got none of that name.")
            given[name] = checks.real_array(prefix + name, parameters[prefix + name])
            checks.shape(prefix + name, given[name], shape)
        layer._set_weights(given, None)
        return layer

    def replace(self, *, seed: int | None = None, **options: Any) -> Self:
        """A new layer like this one but for the `options`, with the same weights where their shapes agree.

        The options are those of `config`. Weights of a name or a shape that this layer does not have are drawn as
        those of a new layer are, from `seed`. Nothing is shared with this layer: without options it is a copy.
        Raises `ValueError` for an option that the layer does not have or that cannot be.

        >>> import elman
        >>> layer = elman.Dense(3, 2, seed=0)
        >>> same = layer.replace(activation="tanh")
        >>> same, bool((same.W == layer.W).all())
        (Dense(input_size=3, output_size=2, activation='tanh', dtype='float32'), True)
        """
        checks.seed("seed", seed)
        new = type(self).__new__(type(self))
        # What a subclass keeps besides its options goes along; all that follows from options and weights is made anew.
        new.__dict__.update({name: value for name, value in self.__dict__.items() if name != "_config"})
        new._set_options({**self.config, **options})
        new._set_weights(self._parameters, seed)
        return new

    def astype(self, dtype: Any) -> Self:
        """A copy whose weights, and so its outputs, are "float32" or "float64"; without weights a plain copy.

        >>> import elman
        >>> elman.LSTM(3, 5, seed=0).astype("float64").Wx.dtype
        dtype('float64')
        """
        name = str(checks.float_dtype(dtype))
        return self.replace(dtype=name) if "dtype" in self._known_options() else self.replace()

    def _set_options(self, options: Mapping[str, Any]) -> None:
        """Checks the options and keeps them; they are fixed from then on."""
        check_names(type(self).__name__, options, self._known_options())
        self._setup(**options)
        self._config = ReadOnly(frozen(self._describe(self._known_options())))

    def _set_weights(self, given: Mapping[str, Array], seed: int | None) -> None:
        """Takes copies of the weights that fit, and draws the others."""
        shapes = self._shapes()
        self._parameters = LiveArrays(
            {name: checks.new_array(name, shape, np.dtype(self.dtype)) for name, shape in shapes.items()}
        )
        fitting = {name: array for name, array in given.items() if array.shape == shapes.get(name)}
        if len(fitting) < len(shapes):
            self._draw(np.random.default_rng(seed))
        for name, array in fitting.items():
            self._parameters[name][...] = checks.real_array(name, array, self.dtype)

    # What a subclass fills in.

    def _setup(self, *args: Any, **kwargs: Any) -> None:
        """Checks the options, sets an attribute for each, and those that follow; takes no memory for weights.

        Its arguments are the options of the layer. Those with a default are in `config` where they differ from it.
        """

    @classmethod
    def _known_options(cls) -> Mapping[str, Any]:
        """Option -> default, `REQUIRED` where it has none."""
        return defaults(cls._setup)

    def _describe(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """The options as `config` has them: as JSON, but for a cell; without those that are at their default."""
        found = {name: _plain(getattr(self, name)) for name in known}
        return {name: value for name, value in found.items() if value != known[name]}

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
            `Embedding` whole numbers without the last axis. Converted to the dtype of the layer; a layer or a network
            without weights computes in float32 where x is float32, else in float64.
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
        tape = Tape(type(self).__name__, self.config, packed.layout, y.layout, y.values.shape[1], y.values.dtype, kept)
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

        def read(name: str, value: Any, outer: tuple[int, ...]) -> Array:
            array = checks.real_array(name, value, tape.dtype)
            checks.shape(name, array, (*outer, tape.width))
            return array

        packed = None if dy is None else tape.y.pack("dy", dy, read)
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
    def config(self) -> Mapping[str, Any]:
        """The options that make an equal layer, read-only; see `replace`."""
        return self._config

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Name -> array, in a fixed order. The arrays are live: what is written into them is computed with."""
        return self._parameters

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # asked for by Python itself, as in a copy: without the words
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.")
        if name in self._parameters:
            return self._parameters[name]
        if name in self._known_options():  # those of a cell are no attributes of their own
            return self.config.get(name, self._known_options()[name])
        raise self._unknown(name)

    def _unknown(self, name: str) -> AttributeError:
        parameters, options = self._parameters, self._known_options()
        known = f"its parameters are {', '.join(parameters) or 'none'}, its options {', '.join(options) or 'none'}"
        return AttributeError(
            f"{type(self).__name__} has no attribute {name!r}; {known}.{checks.hint(name, [*parameters, *options])}"
        )

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._parameters:
            own = self._parameters[name]
            array = checks.fitted(name, checks.real_array(name, value, own.dtype), own.shape)
            if not own.flags.writeable:
                raise ValueError(
                    f"{name} must be writable to be assigned. Got a read-only one, as a stream's network has."
                )
            own[...] = array
        elif "_config" not in self.__dict__ or name.startswith("_"):
            super().__setattr__(name, value)
        else:
            raise self._fixed(name, f"assigned; {self._instead(name)}", value)

    def __delattr__(self, name: str) -> None:
        if name.startswith("_"):
            super().__delattr__(name)
        else:
            raise self._fixed(name, "deleted", name)

    def _instead(self, name: str) -> str:
        """How to come by another value of what is fixed."""
        option = f"{name}=..." if name in self._known_options() else "..."
        return f"layer.replace({option}) gives a new layer"

    def _fixed(self, name: str, what: str, value: Any) -> AttributeError:
        """The error of changing an option, or what follows from options; a misspelled name is answered as unknown."""
        if not hasattr(self, name):
            return AttributeError(f"{self._unknown(name)} Options are chosen by replace(...), not assigned.")
        return AttributeError(f"{name} of {type(self).__name__} cannot be {what}. Got {checks.show(value)}.")

    def __copy__(self) -> Self:
        return self.replace()

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._known_options()})

    @property
    def parameter_count(self) -> int:
        """How many numbers the parameters hold together."""
        return sum(math.prod(array.shape) for array in self.parameters.values())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.config.items())})"


def _plain(value: Any) -> Any:
    """The value of an option as `config` has it."""
    if isinstance(value, np.dtype):
        return str(value)
    return value.to_config() if isinstance(value, Activation) else value


def placed_layers(net: Layer, path: str = "") -> Iterator[tuple[str, Layer]]:
    """Every layer of a network with its place, "1.0" in a network within the network, as in the names of parameters."""
    for i, layer in enumerate(net.layers):
        if layer.layers:
            yield from placed_layers(layer, f"{path}{i}.")
        else:
            yield f"{path}{i}", layer


def flat_layers(net: Layer) -> list[Layer]:
    """The layers of a network in a row, those of nested networks in their place; a layer itself."""
    return [layer for _, layer in placed_layers(net)] if net.layers else [net]


def every_layer(net: Layer) -> Iterator[Layer]:
    """A layer or a network, and all that is inside it, networks too."""
    yield net
    for layer in net.layers:
        yield from every_layer(layer)


#: The methods that say what a layer computes.
_COMPUTING = ("_first_state", "_pack", "_pool", "_ready", "_rows", "_run", "_run_back")


def computes_otherwise(layer: Layer) -> bool:
    """Whether the class of a layer is one's own, and has other functions than that of this library which it extends."""
    known = next(kind for kind in type(layer).__mro__ if kind.__module__.startswith("elman."))
    return any(getattr(type(layer), name, None) is not getattr(known, name, None) for name in _COMPUTING)
