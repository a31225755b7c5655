"""Activations by the names of Keras, and back.

Where Keras has a name for a function of the table of `elman.ACTIVATIONS` with other parameters, they are given here.
hard_sigmoid changed: 0.2 x + 0.5 between 0 and 1 in Keras 1 and 2, x / 6 + 0.5 in Keras 3. A file means that of the
Keras that wrote it. (Keras 3 opens files of Keras 2 with its own, and so with other results, without a word.)
Sources: `keras/src/activations/activations.py` of Keras 3, `keras/activations.py` and `backend.hard_sigmoid` of 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from elman import checks
from elman.cells.activations import Activation
from elman.checks import FormatError
from elman.interop.keras.config import Object, object_config

#: What is a layer of its own here, by its names in Keras and then in elman; the first name is written.
APART = {
    **{name: name for name in ("softmax", "log_softmax", "gelu", "selu")},
    "silu": "swish",
    "swish": "swish",
    "hard_silu": "hard_swish",
    "hard_swish": "hard_swish",
}

_NAMES = {
    "elu": Activation("elu"),
    "hard_sigmoid": Activation("hard_sigmoid", alpha=1 / 6),
    "leaky_relu": Activation("leaky_relu", alpha=0.2),
    "linear": Activation("identity"),
    "relu": Activation("relu"),
    "sigmoid": Activation("sigmoid"),
    "softplus": Activation("softplus"),
    "softsign": Activation("softsign"),
    "sparse_sigmoid": Activation("hard_sigmoid", alpha=0.5),
    "tanh": Activation("tanh"),
}
_BEFORE_3 = {"hard_sigmoid": Activation("hard_sigmoid", alpha=0.2)}


def read_activation(value: Any, version: int) -> Activation | str:
    """An activation as a config has it, a name or a layer of its own; a name for what is a layer of its own here."""
    if value is None:
        return Activation("identity")
    if isinstance(value, dict) and value.get("class_name") == "function":
        function = f"{value.get('module')}.{value.get('config')}"
        raise FormatError(f"activation must be one of Keras, as code of others is never run. Got {function[:80]!r}.")
    if isinstance(value, dict):
        layer = Object.read(value, "activation")
        if layer.kind in LAYERS:
            return LAYERS[layer.kind](layer.config, version)
        value = layer.config.get("name", layer.kind)
    names = _NAMES if version >= 3 else {**_NAMES, **_BEFORE_3}
    if isinstance(value, str) and value in APART:
        return APART[value]
    if not isinstance(value, str) or value not in names:
        known = ", ".join((*names, *APART))
        raise FormatError(f"activation must be one of {known}. Got {str(value)[:80]!r}.")
    return names[value]


def read_gate(config: Mapping[str, Any], key: str, default: str, version: int) -> Activation:
    """The activation of gates, which acts on each unit by itself."""
    activation = read_activation(config.get(key, default), version)
    if not isinstance(activation, Activation):
        raise FormatError(f"{key} must be one that a cell has, and not {', '.join(APART)}. Got {activation!r}.")
    return activation


def write_activation(activation: Activation | str, name: str, dtype: str, version: int = 3) -> Any:
    """An activation as a config of that Keras has it; `name` is for a layer where it takes one."""
    if isinstance(activation, str):
        named = next((known for known, same in APART.items() if same == activation), None)
        if named is None:
            raise FormatError(f"activation must be one that Keras 3 has. Got {activation!r}.")
        return named
    for known, same in (_NAMES if version >= 3 else {**_NAMES, **_BEFORE_3}).items():
        if activation == same:
            return known
    layer = layer_of(activation)
    if layer is None:
        raise FormatError(f"activation must be one that Keras 3 has. Got {activation!r}.")
    kind, config = layer
    return object_config(kind, {"name": name, "dtype": dtype, **config})


def layer_of(activation: Activation) -> tuple[str, dict[str, Any]] | None:
    """The layer of Keras that is the same function, its class and config; None where there is none."""
    alpha = activation.parameters.get("alpha")
    kinds = {
        "elu": ("ELU", {"alpha": alpha}),
        "leaky_relu": ("LeakyReLU", {"negative_slope": alpha}),
        "thresholded_relu": ("ReLU", {"threshold": alpha}),
    }
    if activation.name == "thresholded_relu" and not (alpha or 0.0) > 0:
        return None  # the ReLU of Keras has no threshold under 0
    return kinds.get(activation.name)


def _relu(config: Mapping[str, Any], version: int) -> Activation:
    if config.get("max_value") is not None:
        raise FormatError(f"max_value must be None. Got {config['max_value']!r:.80}.")
    slope = checks.number("negative_slope", config.get("negative_slope") or 0.0, 0)
    threshold = checks.number("threshold", config.get("threshold") or 0.0, 0)
    if slope and threshold:
        raise FormatError(f"negative_slope must be 0 with a threshold. Got {slope} with {threshold}.")
    if slope:
        return Activation("leaky_relu", alpha=slope)
    return Activation("thresholded_relu", alpha=threshold) if threshold else Activation("relu")


def _leaky_relu(config: Mapping[str, Any], version: int) -> Activation:
    slope = checks.number("negative_slope", config.get("negative_slope", config.get("alpha", 0.3)), 0)
    return Activation("leaky_relu", alpha=slope) if slope else Activation("relu")


def _elu(config: Mapping[str, Any], version: int) -> Activation:
    return Activation("elu", alpha=checks.number("alpha", config.get("alpha", 1.0), 0, open_low=True))


def _thresholded_relu(config: Mapping[str, Any], version: int) -> Activation:
    return Activation("thresholded_relu", alpha=checks.number("theta", config.get("theta", 1.0), 0))


#: The layers that are an activation alone. Softmax, which has an axis, is read by itself.
LAYERS: dict[str, Callable[[Mapping[str, Any], int], Activation | str]] = {
    "Activation": lambda config, version: read_activation(config.get("activation"), version),
    "ELU": _elu,
    "LeakyReLU": _leaky_relu,
    "ReLU": _relu,
    "ThresholdedReLU": _thresholded_relu,  # Keras 2
}
