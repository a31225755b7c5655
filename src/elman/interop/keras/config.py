"""The description of a Keras model, JSON, as the chain of its layers.

A Sequential model is its list; a functional one is a graph, here a chain that is followed from the output back to the
input. Nested models are taken apart. What is no chain is refused: several inputs or outputs, a layer used twice, a
cycle.

Keras 3 writes the masks of a functional model into its graph, as operations that compare the input with the masked
value. They are kept as what they say, (the layer whose output is compared, the value), see `elman.interop.keras.flow`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from elman import checks
from elman.checks import FormatError
from elman.interop.keras.graph import Step, chain

MODELS = ("Functional", "Model", "Sequential")


@dataclass(frozen=True)
class Object:
    """An object of a config: its class and its own config."""

    kind: str
    config: Mapping[str, Any]

    @staticmethod
    def read(value: Any, place: str) -> Object:
        """The object that JSON describes. Only classes of Keras itself are known; none is ever imported."""
        if not isinstance(value, dict) or not isinstance(value.get("class_name"), str):
            raise FormatError(f"{place} must be an object with a class_name and a config. Got {checks.show(value)}.")
        kind, config = checks.shorten(value["class_name"]), value.get("config")
        if kind == "Sequential" and isinstance(config, list):  # Keras before 2.2.3
            config = {"layers": config}
        if not isinstance(config, dict):
            raise FormatError(f"{place} must have a config of names and values. Got {checks.show(config)}.")
        module, registered = value.get("module"), value.get("registered_name")
        own = module is None or (isinstance(module, str) and module.split(".")[0] in ("keras", "tf_keras"))
        if not own or (registered is not None and registered != value["class_name"]):
            name = checks.shorten(str(registered) if own else f"{module}.{kind}")
            raise FormatError(
                f"{place} must be of a class of Keras itself, as code of others is never run. Got {name}."
            )
        return Object(kind, config)


@dataclass(frozen=True)
class Entry(Object):
    """One layer of the chain."""

    name: str  # with the nested models it stands in, "sequential_1/dense"
    path: str = ""  # where the archive keeps its weights
    top: str = ""  # the layer of the whole model that it is, or is part of
    frozen: bool = False  # it, or a model it stands in, does not train
    feeds: str = ""  # what its input comes from
    mask: tuple[str, float] | None = None  # which mask the graph hands it, where it says so

    @property
    def place(self) -> str:
        """What errors call it."""
        return f"the layer {checks.show(self.name)} ({self.kind[:60]})"


def entries(model: Any) -> list[Entry]:
    """The layers of a model in the order in which they compute, those of nested models in their place."""
    return list(_entries(Object.read(model, "the model"), _Place()))


@dataclass(frozen=True)
class _Place:
    """Where in the whole model a nested one stands."""

    scope: str = ""
    path: str = "layers"
    top: str = ""
    frozen: bool = False
    feeds: str = ""
    mask: tuple[str, float] | None = None


def _entries(model: Object, at: _Place) -> Iterator[Entry]:
    if model.kind not in MODELS:
        raise FormatError(f"the model must be Sequential or functional. Got {model.kind!r}.")
    layers = _layers(model, at.scope)
    kinds = {name: Object.read(layer, f"the layer {at.scope + name!r}") for name, layer in layers.items()}
    paths = dict(zip(kinds, snake_names(kind.kind for kind in kinds.values()), strict=True))
    frozen = at.frozen or model.config.get("trainable", True) is False
    feeds, mask = at.feeds, at.mask
    for step in _steps(model, layers):
        layer, name = kinds[step.name], at.scope + step.name
        config = {**layer.config, **step.changes}
        if step.mask is not None:
            mask = (at.scope + step.mask[0], step.mask[1])
        path, top = f"{at.path}/{paths[step.name]}", at.top or step.name
        stays = frozen or config.get("trainable", True) is False
        if layer.kind in MODELS:
            yield from _entries(layer, _Place(f"{name}/", f"{path}/layers", top, stays, feeds, mask))
        else:
            yield Entry(layer.kind, config, name, path, top, stays, feeds, mask)
        feeds, mask = name, None


def _layers(model: Object, scope: str) -> dict[str, Any]:
    """The descriptions of the layers of one model by their names."""
    listed = model.config.get("layers")
    if not isinstance(listed, list) or not listed:
        raise FormatError(f"the model {scope or 'itself'} must have a list of layers. Got {checks.show(listed)}.")
    layers: dict[str, Any] = {}
    for i, layer in enumerate(listed):
        config = layer.get("config") if isinstance(layer, dict) else None
        name = config.get("name") if isinstance(config, dict) else None
        name = name if name is not None or not isinstance(layer, dict) else layer.get("name")
        if not isinstance(name, str) or not name or name in layers:
            raise FormatError(f"layer {i} of the model must have a name of its own. Got {checks.show(name)}.")
        layers[name] = layer
    return layers


def _steps(model: Object, layers: Mapping[str, Any]) -> Iterable[Step]:
    if model.kind == "Sequential":
        return [Step(name) for name in layers]
    return chain(model.config, layers)


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


def inner(layer: Object, key: str) -> Object:
    """The object under a key of a layer's config."""
    return Object.read(layer.config.get(key), key)


def flag(config: Mapping[str, Any], key: str, default: bool) -> bool:
    """True or False from a config."""
    return checks.flag(key, config.get(key, default))


def policy(config: Mapping[str, Any]) -> str | None:
    """The dtype of a layer: float32 or float64, or None where its config says nothing."""
    value = config.get("dtype")
    if isinstance(value, dict):
        settings = value.get("config")
        value = settings.get("name") if isinstance(settings, dict) else value
    if value is None or value in ("float32", "float64"):
        return value
    raise FormatError(f"its dtype must be float32 or float64, for weights and results alike. Got {checks.show(value)}.")
