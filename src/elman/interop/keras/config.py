"""What a description of a Keras model is read as: layers with their configs, and their calls."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

from elman import checks
from elman.checks import Array, FormatError
from elman.layers import Layer

MODELS = ("Functional", "Model", "Sequential")
#: The cells by the names of Keras's layers: here, its gates in order, and those of which an argument is the activation.
CELLS = {
    "GRU": ("gru", "zrn", {"recurrent_activation": "rz", "activation": "n"}),
    "LSTM": ("lstm", "ifgo", {"recurrent_activation": "ifo", "activation": "gc"}),
    "SimpleRNN": ("rnn", "h", {"activation": "h"}),
}
RECURRENT = (*CELLS, "RNN", "Bidirectional")  #: what is given its first states too
#: The weights of a layer: the arrays by name of each of its parts, in the order in which Keras keeps them.
Groups: TypeAlias = list[dict[str, Array]]


@dataclass(frozen=True)
class Object:
    """An object of a config: its class and its own config."""

    kind: str
    config: Mapping[str, Any]
    module: str | None = None
    nodes: Any = None  # what its calls were given, in a functional model

    @staticmethod
    def read(value: Any, place: str) -> Object:
        """The object that JSON describes. Only classes of Keras itself are known; none is ever imported."""
        if not isinstance(value, dict) or not isinstance(value.get("class_name"), str):
            raise FormatError(f"{place} must be an object with a class_name and a config. Got {checks.show(value)}.")
        kind, config = checks.shorten(value["class_name"]), value.get("config")
        kind = "BatchNormalization" if kind == "BatchNormalizationV1" else kind  # of TensorFlow 1.13 to 1.15
        if kind == "Sequential" and isinstance(config, list):  # Keras before 2.2.3
            config = {"layers": config}
        if not isinstance(config, dict):
            raise FormatError(f"{place} must have a config of names and values. Got {checks.show(config)}.")
        if kind in ("CuDNNGRU", "CuDNNLSTM"):  # of Keras 2: the layers with what the library has in them
            kind, config = (
                kind.removeprefix("CuDNN"),
                {"recurrent_activation": "sigmoid", "reset_after": True, **config},
            )
        module, registered = value.get("module"), value.get("registered_name")
        own = module is None or (isinstance(module, str) and module.split(".")[0] in ("keras", "tf_keras"))
        if not own or (registered is not None and registered != value["class_name"]):
            name = checks.shorten(str(registered) if own else f"{module}.{kind}")
            raise FormatError(
                f"{place} must be of a class of Keras itself, as code of others is never run. Got {name}."
            )
        return Object(kind, config, module, value.get("inbound_nodes"))

    def inner(self, key: str) -> Object:
        """The object under a key of the config."""
        return Object.read(self.config.get(key), key)

    def flag(self, key: str, default: bool) -> bool:
        """True or False from the config."""
        return checks.flag(key, self.config.get(key, default))

    def size(self, key: str) -> int:
        """A size from the config."""
        return checks.size(key, self.config.get(key))

    def only(self, key: str, default: Any = None) -> Any:
        """A value of the config for one axis, alone or as a list of one."""
        value = self.config.get(key, default)
        return value[0] if isinstance(value, list) and len(value) == 1 else value

    def along_time(self, key: str, default: int | None = None) -> int:
        """A size along the one axis of time."""
        value = self.only(key)
        return checks.size(key, default if value is None else value)

    def pads(self) -> tuple[int, int]:
        """How many steps of 0 stand before and after."""
        value = self.config.get("padding", 1)
        pair = value if isinstance(value, list) else [value, value]
        if len(pair) != 2 or not all(type(count) is int and count >= 0 for count in pair):
            raise FormatError(f"padding must be one whole number from 0 up, or two. Got {checks.show(value)}.")
        return pair[0], pair[1]

    def sides(self) -> list[tuple[str, Object]]:
        """The layers inside Bidirectional or TimeDistributed, with their paths; one for both stands twice."""
        layer = self.inner("layer")
        if self.kind == "TimeDistributed":
            return [("layer", layer)]
        other = layer if self.config.get("backward_layer") is None else self.inner("backward_layer")
        return [("forward_layer", layer), ("backward_layer", other)]

    def cells(self) -> list[tuple[str, Object]]:
        """The cells of a recurrent layer, of the class and config of a layer of one cell, with their paths.

        LSTM is the same as RNN(LSTMCell); RNN([LSTMCell, GRUCell]) has one cell on top of the other.
        """
        if self.kind != "RNN":
            return [("cell", self)]
        cell = self.inner("cell")
        cells, paths = [cell], ["cell"]
        if cell.kind == "StackedRNNCells":
            cells = cell.held()
            paths = [f"cell/cells/{name}" for name in snake_names(each.kind for each in cells)]
        known = [f"{kind}Cell" for kind in CELLS]
        if not cells or any(each.kind not in known for each in cells):
            got = ", ".join(repr(each.kind) for each in cells) or "none"
            raise FormatError(f"the cells of an RNN must be {', '.join(known)}, at least one. Got {got}.")
        around = {key: value for key, value in self.config.items() if key != "cell"}
        layers = [Object(each.kind.removesuffix("Cell"), {**around, **each.config}) for each in cells]
        return list(zip(paths, layers, strict=True))

    def held(self) -> list[Object]:
        """The cells that lie in it one on top of the other."""
        cells = self.config.get("cells") or []
        if not isinstance(cells, list):
            raise FormatError(f"cells must be a list. Got {checks.show(cells)}.")
        return [Object.read(cell, "a cell") for cell in cells]

    def policies(self) -> Iterator[str]:
        """The dtypes, float32 or float64, that it and what is inside it name."""
        value = self.config.get("dtype")
        if isinstance(value, dict):
            settings = value.get("config")
            value = settings.get("name") if isinstance(settings, dict) else value
        if value not in (None, "float32", "float64"):
            must = "its dtype must be float32 or float64, for weights and results alike"
            raise FormatError(f"{must}. Got {checks.show(value)}.")
        if value is not None:
            yield value
        inside = [self.inner(key) for key in ("layer", "backward_layer", "cell") if self.config.get(key) is not None]
        for each in (*inside, *self.held()):
            yield from each.policies()


@dataclass(frozen=True)
class Entry(Object):
    """One layer of a model, or a model: "" is the name of the whole one."""

    name: str = ""  # with the nested models it stands in, "sequential_1/dense"
    path: str = ""  # where the archive keeps its weights
    top: str = ""  # the layer of the whole model that it is, or is part of
    frozen: bool = False  # it, or a model it stands in, does not train

    @property
    def place(self) -> str:
        """What errors call it."""
        return f"the layer {checks.show(self.name)} ({self.kind[:60]})"


def snake_names(kinds: Iterable[str]) -> list[str]:
    """The names under which archives keep layers: dense, dense_1, re_lu, global_max_pooling1d."""
    counts: dict[str, int] = {}
    names = []
    for kind in kinds:
        name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", kind))
        name = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
        counts[name] = counts.get(name, -1) + 1
        names.append(f"{name}_{counts[name]}" if counts[name] else name)
    return names


def object_config(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """An object of `keras.layers` as Keras 3 describes it."""
    return {"module": "keras.layers", "class_name": kind, "config": dict(config), "registered_name": None}


class Ref(NamedTuple):
    """One output of one call of a layer; of a layer of a nested model by the name that `Entry` has."""

    layer: str
    call: int
    output: int


class Mask(NamedTuple):
    """Which steps are left out: those where all of a value equals a number."""

    of: Ref
    value: float


@dataclass(frozen=True)
class Call:
    """A layer at work."""

    entry: Entry
    gives: Ref  # its first output
    reads: tuple[Ref, ...]
    states: tuple[Ref, ...] = ()  # from which it starts
    masks: tuple[Mask | None, ...] = ()  # of what it reads, where the graph says them


@dataclass(frozen=True)
class Facts:
    """What is known of a value."""

    axes: int | None = None  #: 2 for (batch, features), 3 with time between them, None where nothing says it
    features: int | None = None
    steps: int | None = None  #: where each sequence has so many
    mask: Mask | None = None
    lost: str = ""  #: the layer after which the mask no longer fits the steps
    part: int = -1  #: the one that gives it

    def start(self, config: Mapping[str, Any]) -> Facts:
        """With the shape that a first layer declares."""
        shape = next((config[key] for key in ("batch_shape", "batch_input_shape") if config.get(key)), None)
        if shape is None or self.axes is not None:
            return self
        whole = isinstance(shape, list) and all(n is None or (type(n) is int and n > 0) for n in shape)
        if not whole or len(shape) not in (2, 3):
            raise FormatError(f"the input must have the axes batch, time and features. Got the shape {shape!r:.80}.")
        return replace(self, axes=len(shape), features=shape[-1], steps=shape[1])


@dataclass
class Part:
    """A node of the network here, or an input of it, which has no layer."""

    name: str  # of the call that it is part of
    width: int | None  # how many features it gives
    layer: Layer | None = None
    reads: Sequence[int] = ()  # parts by their numbers
    start: int | tuple[int, ...] | None = None  # the part from whose last state it starts, or those of values
    state: str = ""  # it is that last state of the part that it reads


@dataclass
class Site:
    """Where a layer of Keras stands, and what it becomes there: one or more parts."""

    name: str  # of the call
    read: tuple[Facts, ...]  # of each value that comes in
    version: int  # of Keras
    dtype: str
    used: Collection[int]  # which of its outputs others read
    parts: list[Part]  # of the whole network, those of this call last
    last: int  # the part that the next one reads
    outputs: dict[int, int] = field(default_factory=dict)  # of the layer of Keras, to parts
    memory: dict[int, tuple[int, int]] = field(default_factory=dict)  # outputs that are states: (part, which state)

    def add(self, *layers: Layer, reads: Sequence[int] = ()) -> int:
        """Layers one after another, the first of which reads the part before it; the part that the last is."""
        for layer in layers:
            reads = reads or (self.last,)
            width = layer.features(*[self.parts[j].width for j in reads])
            self.parts.append(Part(self.name, width, layer, reads))
            self.last, reads = len(self.parts) - 1, ()
        return self.last

    def state(self, part: int, name: str) -> int:
        """A last state of a recurrent part, as a part."""
        layer: Any = self.parts[part].layer
        self.parts.append(Part(self.name, layer.states()[name], None, (part,), state=name))
        return len(self.parts) - 1
