"""The objects of a Keras model's description, JSON: classes and their configs, names, dtypes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from elman import checks
from elman.checks import FormatError

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
        kind = "BatchNormalization" if kind == "BatchNormalizationV1" else kind  # of TensorFlow 1.13 to 1.15
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
    """One layer of a model."""

    name: str  # with the nested models it stands in, "sequential_1/dense"
    path: str = ""  # where the archive keeps its weights
    top: str = ""  # the layer of the whole model that it is, or is part of
    frozen: bool = False  # it, or a model it stands in, does not train
    order: tuple[int, ...] = ()  # its number in the list of each model it stands in

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


def inner(layer: Object, key: str) -> Object:
    """The object under a key of a layer's config."""
    return Object.read(layer.config.get(key), key)


def held_cells(layer: Object) -> list[Object]:
    """The cells that a layer holds, which may be none."""
    cells = layer.config.get("cells") or []
    if not isinstance(cells, list):
        raise FormatError(f"cells must be a list. Got {checks.show(cells)}.")
    return [Object.read(cell, "a cell") for cell in cells]


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
