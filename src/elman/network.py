"""A stack of layers: parameters by name, forward, backward."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from elman import checks
from elman.checks import Array, ShapeError
from elman.layers import LAYERS, Layer
from elman.layers.layer import Gradients, Noise, State
from elman.layers.nesting import flat_layers
from elman.options import REQUIRED, LiveArrays, ReadOnly, check_names
from elman.sequences import Layout, Sequences

if TYPE_CHECKING:
    import os

    from elman.plan import Plan
    from elman.streaming import Stream


class Network(Layer):
    """Layers one after another.

    It is called like a layer: ``y, state = net(x)``. The state is a list with one entry a recurrent layer.
    Parameters are named by the place of their layer: "1.Wx", "3.W".

    Layers without weights compute in the dtype of the others; `dtype` is None where no layer has weights, and such a
    network computes in float32 where x is float32, else in float64. Neither the layers nor their options can be
    assigned, see `replace`; weights can, ``net.layers[0].Wx = ...``.

    Raises `ShapeError` where a layer does not take what the one before it gives, `ValueError` where the dtypes of their
    weights differ.

    >>> import numpy as np, elman
    >>> net = elman.Network([elman.LSTM(2, 8, seed=0), elman.Dense(8, 1, seed=1)])
    >>> y, state = net(np.ones((4, 7, 2)))
    >>> y.shape, len(state), list(net.parameters)
    ((4, 7, 1), 1, ['0.Wx', '0.Wh', '0.b', '1.W', '1.b'])
    >>> net
    Network of 2 layers, 361 parameters, float32
      0  LSTM(input_size=2, hidden_size=8, bidirectional=False)    352
      1  Dense(input_size=8, output_size=1, activation='identity')   9
    """

    layers: tuple[Layer, ...]
    _plan: Plan | None = None  # the weights as the streams made of late use them

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = _read_layers(layers)
        self.input_size, self.output_size = _check_stack(self.layers)
        self.dtype = next((layer.dtype for layer in self.layers if layer.dtype is not None), None)
        self.takes_tokens = self.layers[0].takes_tokens
        self.stateful = any(layer.stateful for layer in self.layers)
        self.needs_whole_sequences = any(layer.needs_whole_sequences for layer in self.layers)
        self.drops_steps = any(layer.drops_steps for layer in self.layers)
        self.narrowing = math.prod(layer.narrowing for layer in self.layers)
        self._parameters = LiveArrays(
            {f"{i}.{name}": array for i, layer in enumerate(self.layers) for name, array in layer.parameters.items()}
        )
        self._config = ReadOnly(
            layers=tuple(ReadOnly({"type": type(layer).__name__, **layer.config}) for layer in self.layers)
        )

    @classmethod
    def from_parameters(cls, config: Mapping[str, Any], parameters: Mapping[str, Array], prefix: str = "") -> Self:
        """A network from its `config` and its weights; see `Layer.from_parameters`."""
        entries = checks.mapping("config", config, "with the list 'layers'").get("layers")
        if not isinstance(entries, (list, tuple)):
            raise TypeError(f"config must hold a list 'layers'. Got {checks.show(config)}.")
        if not isinstance(prefix, str):
            raise TypeError(f"prefix must be a text. Got {checks.show(prefix)}.")
        layers = []
        for i, entry in enumerate(entries):
            checks.mapping(f"layers[{i}] of config", entry, "of arguments to their values")
            if "type" not in entry:
                raise ValueError(f"layers[{i}] of config must hold the 'type' of the layer. Got {checks.show(entry)}.")
            settings = {key: value for key, value in entry.items() if key != "type"}
            kind = entry["type"]
            if not (isinstance(kind, type) and issubclass(kind, Layer)):  # a class, for layers of one's own
                kind = LAYERS[checks.choice("the type of a layer", kind, LAYERS)]
            layers.append(kind.from_parameters(settings, parameters, f"{prefix}{i}."))
        return cls(layers)

    def replace(self, *, seed: int | None = None, layers: Sequence[Layer] | None = None, **options: Any) -> Self:
        """A new network of copies of these layers, or of copies of `layers`; without arguments a copy.

        Its only option are its layers. A layer is changed by its own `replace`:
        ``net.replace(layers=[net.layers[0].replace(zoneout=0.1), *net.layers[1:]])``. No weights are drawn.

        >>> import elman
        >>> net = elman.Network([elman.GRU(3, 5, seed=0), elman.Dense(5, 2, seed=1)])
        >>> net.replace(layers=[net.layers[0], net.layers[1].replace(activation="tanh")]).layers[1].activation
        Activation('tanh')
        """
        checks.seed("seed", seed)
        check_names("Network", {"layers": None, **options}, self._known_options())
        return self._of([layer.replace() for layer in (self.layers if layers is None else _read_layers(layers))])

    def astype(self, dtype: Any) -> Self:
        """A copy with all weights, those of nested networks too, in "float32" or "float64"."""
        return self._of([layer.astype(dtype) for layer in self.layers])

    def _of(self, layers: list[Layer]) -> Self:
        """A network of other layers, with what a subclass keeps besides them."""
        new = type(self).__new__(type(self))
        new.__dict__.update({name: value for name, value in self.__getstate__().items() if name != "_config"})
        Network.__init__(new, layers)
        return new

    def _instead(self, name: str) -> str:
        return "net.replace(layers=[...]) gives a new network"

    @classmethod
    def _known_options(cls) -> Mapping[str, Any]:
        return {"layers": REQUIRED}

    def stream(self, batch: int | None = None, missing: str = "pass") -> Stream:
        """The network one step at a time, over one sequence or `batch` of them; see `elman.Stream`.

        `missing` says what a NaN in an input does: "pass", "raise" or "forward".
        """
        from elman.plan import Plan
        from elman.streaming import Stream

        if self._plan is None or not self._plan.fits(self):
            self._plan = Plan(self)
        return Stream(self._plan, batch, missing)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_plan": None}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the network into one safetensors file; see `elman.load`.

        The file is replaced whole or not at all: a crash half way leaves the old one. A file that is there gives the
        new one its mode, and a link stays one; other names of the file (hard links) keep the old network. Raises
        `ValueError` or `OSError` where `path` cannot be that of a file, and `FormatError` for layers of one's own,
        before anything is written.
        """
        from elman.saving import save

        save(self, path)

    def pack(self, x: Any, lengths: Any, own: bool) -> Sequences:
        if self.takes_tokens:
            return self.layers[0].pack(x, lengths, own)
        return super().pack(x, lengths, own)

    def run(self, x: Sequences, state: State, rng: Noise, keep: bool) -> tuple[Sequences, State, Any]:
        states = self._by_layer(state)
        kept, ends = [], []
        for layer, own in zip(self.layers, states, strict=True):
            x, end, tape = layer.run(x, own, rng, keep)
            kept.append(tape)
            if layer.stateful:
                ends.append(end)
        return x, ends, kept

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[Array | None, State, Gradients]:
        dstates = self._by_layer(dstate)
        gradients: Gradients = {}
        starts: list[Any] = []
        for i in reversed(range(len(self.layers))):
            dy, start, own = self.layers[i].run_back(kept[i], dy, dstates[i])
            gradients |= {f"{i}.{name}": gradient for name, gradient in own.items()}
            if self.layers[i].stateful:
                starts.insert(0, start)
        return dy, starts, gradients

    def _by_layer(self, state: State) -> list[State]:
        """One entry a layer, from one entry a layer with states."""
        if state is None:
            return [None] * len(self.layers)
        entries = iter(state)
        return [next(entries) if layer.stateful else None for layer in self.layers]

    def pack_state(self, name: str, state: Any, layout: Layout, own: bool = True) -> State:
        stateful = [layer for layer in self.layers if layer.stateful]
        if state is None:
            return None
        if not isinstance(state, (list, tuple)) or len(state) != len(stateful):
            must = f"{name} must be a list of {len(stateful)}, one entry a recurrent layer"
            raise ShapeError(f"{must}. Got {checks.describe(state)}.")
        return [layer.pack_state(name, part, layout, own) for layer, part in zip(stateful, state, strict=True)]

    def unpack_state(self, state: State, layout: Layout) -> Any:
        stateful = [layer for layer in self.layers if layer.stateful]
        return [layer.unpack_state(part, layout) for layer, part in zip(stateful, state, strict=True)]

    def __repr__(self) -> str:
        names = [
            f"{type(layer).__name__}({', '.join(f'{k}={v!r}' for k, v in layer.config.items() if k != 'dtype')})"
            for layer in self.layers
        ]
        counts = [f"{layer.parameter_count:,}" for layer in self.layers]
        left, right = max(map(len, names)), max(map(len, counts))
        rows = [
            f"  {i}  {name:<{left}} {count:>{right}}" for i, (name, count) in enumerate(zip(names, counts, strict=True))
        ]
        kind = "" if self.dtype is None else f", {self.dtype}"
        return "\n".join([f"Network of {len(rows)} layers, {self.parameter_count:,} parameters{kind}", *rows])


LAYERS["Network"] = Network  # for files: a network may be a layer of another


def _read_layers(given: Any) -> tuple[Layer, ...]:
    """The layers of a list or of anything else that gives them one after another."""
    try:
        layers = None if isinstance(given, (Layer, str)) else tuple(given)
    except checks.FAILURES:  # of what is no list of any kind
        layers = None
    if layers is None:
        raise TypeError(f"layers must be a list of layers. Got {checks.show(given)}.")
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"layers[{i}] must be a layer. Got {checks.show(layer)}.")
    return layers


def _check_stack(layers: tuple[Layer, ...]) -> tuple[int | None, int | None]:
    """How many features the stack takes and gives, None where that depends on x; refuses layers that do not fit."""
    if not layers:
        raise ShapeError("layers must hold at least one layer. Got an empty list.")
    taken: int | None = None
    width: int | None = None
    narrowed = 1
    seen: set[int] = set()
    for i, layer in enumerate(layers):
        name = f"layer {i}, {type(layer).__name__},"
        if layer.takes_tokens and i > 0:
            raise ShapeError(
                f"{name} must stand first, as it takes tokens. Got it behind {type(layers[i - 1]).__name__}."
            )
        if layer.input_size is not None and width not in (None, layer.input_size):
            raise ShapeError(
                f"{name} must take {width} features, as the layers before it give. Got input_size {layer.input_size}."
            )
        j, first = next(((j, other) for j, other in enumerate(layers) if other.dtype is not None), (i, layer))
        if layer.dtype is not None and layer.dtype != first.dtype:
            raise ValueError(
                f"{name} must have dtype {first.dtype}, as layer {j}, {type(first).__name__}, has; astype gives it. "
                f"Got {layer.dtype}."
            )
        own = {id(part) for part in flat_layers(layer)}
        if own & seen:
            raise ValueError(f"{name} must be a layer of its own, and hold none but its own. Got the same one twice.")
        seen |= own
        if layer.output_size is not None or width is None:
            width = layer.output_size
        elif width % layer.narrowing:
            raise ShapeError(f"{name} must take a multiple of {layer.narrowing} features. Got {width}.")
        else:
            width //= layer.narrowing
        if taken is None and layer.input_size is not None:
            taken = layer.input_size * narrowed
        narrowed *= layer.narrowing
    return taken, width
