"""What a layer is made of: options, which are fixed, and weights, live arrays, by name.

Weights are parameters, which are trained, and buffers, which a layer moves by itself in training. Everything follows
from options and weights: what `repr`, `save` and `replace` do needs no word of a subclass beyond `setup`, `shapes`,
`buffer_shapes` and `draw`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from elman import checks
from elman.cells.activations import Activation
from elman.checks import Array
from elman.initializers import glorot
from elman.options import LiveArrays, ReadOnly, check_names, defaults, frozen, no_dtype


class Made:
    """The base of `elman.Layer`: made from options, with weights that are drawn or given."""

    dtype: np.dtype[Any] | None = None  #: of the weights; None without any: then that of the network, or of x
    input_size: int | None = None  #: None: any
    stateful: bool = False  #: has states that go from step to step
    _config: ReadOnly = ReadOnly()  # of its own from the moment on at which the options are fixed
    _parameters: Mapping[str, Array] = LiveArrays()
    _buffers: Mapping[str, Array] = LiveArrays()
    _states: Mapping[str, int] = ReadOnly()

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

        The weights, buffers among them, are those of `parameters` whose names begin with `prefix`. Raises `ShapeError`
        where one is missing or of another shape, and `ValueError` for options that the layer does not have.
        """
        checks.mapping("config", config, "of options to their values")
        checks.mapping("parameters", parameters, "of names to arrays")
        if not isinstance(prefix, str):
            raise TypeError(f"prefix must be a text. Got {checks.show(prefix)}.")
        layer = cls.__new__(cls)
        layer._set_options(config)
        given = {}
        for name, shape in {**layer.shapes(), **layer.buffer_shapes()}.items():
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
        new._set_weights(self.weights, seed)
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
        self.setup(**options)
        self._states = self.states()
        self.stateful = bool(self._states)
        if self.stateful and self.input_size is None:
            raise ValueError(f"setup of {type(self).__name__} must set input_size, as it has states. Got None.")
        self._config = ReadOnly(frozen(self._describe(self._known_options())))

    def _set_weights(self, given: Mapping[str, Array], seed: int | None) -> None:
        """Takes copies of the weights that fit, and draws the others."""
        self._parameters, self._buffers = (
            LiveArrays({name: checks.new_array(name, shape, np.dtype(self.dtype)) for name, shape in shapes.items()})
            for shapes in (self.shapes(), self.buffer_shapes())
        )
        own = self.weights
        fitting = {name: array for name, array in given.items() if name in own and array.shape == own[name].shape}
        if len(fitting) < len(own):
            self.draw(np.random.default_rng(seed))
        for name, array in fitting.items():
            own[name][...] = checks.real_array(name, array, self.dtype)

    # What a subclass says.

    def setup(self, *args: Any, **kwargs: Any) -> None:
        """Checks the options and sets an attribute for each, also `input_size`, `output_size` and `dtype`.

        Its arguments are the options of the layer. Those with a default are in `config` where they differ from it.
        It takes no memory for weights.
        """

    def states(self) -> dict[str, int]:
        """State name -> width, in a fixed order; empty for a layer that keeps nothing from step to step."""
        return {}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Parameter name -> shape, in a fixed order."""
        return {}

    def buffer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Buffer name -> shape: arrays that are saved but not trained, of other names than the parameters."""
        return {}

    def draw(self, rng: np.random.Generator) -> None:
        """Fills new `parameters` and `buffers`: here matrices by Glorot, vectors with 0."""
        for array in self.weights.values():
            array[...] = glorot(rng, array.shape) if array.ndim > 1 else 0

    @classmethod
    def _known_options(cls) -> Mapping[str, Any]:
        """Option -> default, `REQUIRED` where it has none."""
        return defaults(cls.setup)

    def _describe(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """The options as `config` has them: as JSON, but for a cell; without those that are at their default."""
        found = {name: _plain(getattr(self, name)) for name in known}
        return {name: value for name, value in found.items() if value != known[name]}

    @property
    def config(self) -> Mapping[str, Any]:
        """The options that make an equal layer, read-only; see `replace`."""
        return self._config

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Name -> array, in a fixed order. The arrays are live: what is written into them is computed with."""
        return self._parameters

    @property
    def buffers(self) -> Mapping[str, Array]:
        """Name -> array of what is saved but not trained, as running statistics; live, as parameters are."""
        return self._buffers

    @property
    def weights(self) -> dict[str, Array]:
        """The parameters and the buffers: all arrays that a file holds."""
        return {**self._parameters, **self._buffers}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # asked for by Python itself, as in a copy: without the words
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.")
        if name in self._parameters or name in self._buffers:
            return self.weights[name]
        if name in self._known_options():  # those of a cell are no attributes of their own
            return self.config.get(name, self._known_options()[name])
        raise self._unknown(name)

    def _unknown(self, name: str) -> AttributeError:
        parameters, options = self._parameters, self._known_options()
        buffers = f", its buffers {', '.join(self._buffers)}" if self._buffers else ""
        known = f"its parameters are {', '.join(parameters) or 'none'}{buffers}"
        hint = f", its options {', '.join(options) or 'none'}.{checks.hint(name, [*self.weights, *options])}"
        return AttributeError(f"{type(self).__name__} has no attribute {name!r}; {known}{hint}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._parameters or name in self._buffers:
            own = self.weights[name]
            array = checks.fitted(name, checks.real_array(name, value, own.dtype), own.shape)
            if not own.flags.writeable:
                must = f"{name} must be writable to be assigned"
                raise ValueError(f"{must}. Got a read-only one, as a stream's network has.")
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
        return sorted({*super().__dir__(), *self.weights, *self._known_options()})

    @property
    def parameter_count(self) -> int:
        """How many numbers the parameters hold together."""
        return sum(math.prod(array.shape) for array in self.parameters.values())

    def __repr__(self) -> str:
        return self._shown()

    def _shown(self, *without: str) -> str:
        """The layer in words, its options but for some."""
        options = ", ".join(f"{name}={value!r}" for name, value in self.config.items() if name not in without)
        return f"{type(self).__name__}({options})"


def _plain(value: Any) -> Any:
    """The value of an option as `config` has it."""
    if isinstance(value, np.dtype):
        return str(value)
    return value.to_config() if isinstance(value, Activation) else value
