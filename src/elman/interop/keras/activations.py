"""Activations by the names of Keras, and back.

Where Keras has a name for a function of the table of `elman.ACTIVATIONS` with other parameters, they are given here.
hard_sigmoid changed: 0.2 x + 0.5 between 0 and 1 in Keras 1 and 2, x / 6 + 0.5 in Keras 3. A file means that of the
Keras that wrote it. (Keras 3 opens files of Keras 2 with its own, and so with other results, without a word.)
Sources: `keras/src/activations/activations.py` of Keras 3, `keras/activations.py` and `backend.hard_sigmoid` of 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elman import checks
from elman.cells.activations import Activation
from elman.checks import FormatError
from elman.interop.keras.config import Object, object_config
from elman.layers import Layer

#: By name in Keras; as a name here what is a layer of its own. Of several names of one function the first is written.
_NAMES: dict[str, Activation | str] = {
    "elu": Activation("elu"),
    "gelu": "gelu",
    "hard_sigmoid": Activation("hard_sigmoid", alpha=1 / 6),
    "hard_silu": "hard_swish",
    "hard_swish": "hard_swish",
    "leaky_relu": Activation("leaky_relu", alpha=0.2),
    "linear": Activation("identity"),
    "log_softmax": "log_softmax",
    "relu": Activation("relu"),
    "selu": "selu",
    "sigmoid": Activation("sigmoid"),
    "silu": "swish",
    "softmax": "softmax",
    "softplus": Activation("softplus"),
    "softsign": Activation("softsign"),
    "sparse_sigmoid": Activation("hard_sigmoid", alpha=0.5),
    "swish": "swish",
    "tanh": Activation("tanh"),
}
#: Those that no cell has.
APART = [name for name, same in _NAMES.items() if isinstance(same, str)]
_BEFORE_3 = {**_NAMES, "hard_sigmoid": Activation("hard_sigmoid", alpha=0.2)}

#: The layers that are an activation with a parameter: by which keys, the second that of Keras 2, and its default.
_LAYERS: Mapping[str, Mapping[str, tuple[float, tuple[str, ...]]]] = {
    "ELU": {"elu": (1.0, ("alpha",))},
    "LeakyReLU": {"leaky_relu": (0.3, ("negative_slope", "alpha"))},
    "ReLU": {"leaky_relu": (0.0, ("negative_slope",)), "thresholded_relu": (0.0, ("threshold",))},
    "ThresholdedReLU": {"thresholded_relu": (1.0, ("theta",))},  # Keras 2
}
#: The layers that are an activation alone. Softmax, which has an axis, is read by itself.
LAYERS = ("Activation", *_LAYERS)


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
            return activation_of(layer, version)
        value = layer.config.get("name", layer.kind)
    names = _NAMES if version >= 3 else _BEFORE_3
    if not isinstance(value, str) or value not in names:
        raise FormatError(f"activation must be one of {', '.join(names)}. Got {str(value)[:80]!r}.")
    return names[value]


def activation_of(layer: Object, version: int) -> Activation | str:
    """What a layer of `LAYERS` computes."""
    if layer.kind == "Activation":
        return read_activation(layer.config.get("activation"), version)
    if layer.config.get("max_value") is not None:
        raise FormatError(f"max_value must be None. Got {layer.config['max_value']!r:.80}.")
    found = []
    for name, (default, keys) in _LAYERS[layer.kind].items():
        key = next((key for key in keys if key in layer.config), keys[0])
        alpha = checks.number(key, layer.config.get(key, default), 0)
        found += [Activation(name, alpha=alpha)] if alpha else []
    if len(found) > 1:
        got = " with ".join(str(each.parameters["alpha"]) for each in found)
        raise FormatError(f"negative_slope must be 0 with a threshold. Got {got}.")
    return found[0] if found else Activation("relu")


def _write(activation: Activation | str, version: int | None) -> str | tuple[str, dict[str, Any]]:
    """The name of an activation in that Keras, or the class and the config of a layer that is the same function."""
    names = _BEFORE_3 if version == 2 else _NAMES
    named = next((name for name, same in names.items() if same == activation), None)
    if named is not None:
        return named
    if isinstance(activation, Activation):
        for kind, parameters in _LAYERS.items():
            if activation.name in parameters and activation.parameters["alpha"] >= 0:
                return kind, {parameters[activation.name][1][0]: activation.parameters["alpha"]}
    raise FormatError(f"activation must be one that Keras 3 has. Got {activation!r}.")


def _slope(activation: Activation | str, version: int | None) -> float:
    """By what x must be scaled for the hard_sigmoid of Keras 3 to be a steeper or flatter one; 1 for all else."""
    if version is not None or not isinstance(activation, Activation) or activation.name != "hard_sigmoid":
        return 1.0
    alpha, beta = activation.slopes
    return 6 * alpha if beta == 0.5 and alpha not in (1 / 6, 0.5) and alpha > 0 else 1.0  # 0.5: sparse_sigmoid


def write_alone(activation: Activation | str, version: int | None) -> Any:
    """The layer that is an activation alone, its class and config; two, where one must scale x for a hard_sigmoid."""
    factor = _slope(activation, version)
    if factor != 1:
        return [("Rescaling", {"scale": factor, "offset": 0.0}), ("Activation", {"activation": "hard_sigmoid"})]
    written = _write(activation, version)
    return ("Activation", {"activation": written}) if isinstance(written, str) else written


def write_inside(
    activation: Activation | str, layer: Layer, version: int | None, scales: bool = True
) -> tuple[Any, float]:
    """An activation as the config of a layer has it, and by what the layer must scale what goes in, if it can."""
    factor = _slope(activation, version) if scales else 1.0
    written = _write(_NAMES["hard_sigmoid"] if factor != 1 else activation, version)
    if not isinstance(written, str):
        kind, config = written
        return object_config(kind, {"name": "activation", "dtype": str(layer.dtype), **config}), factor
    return written, factor
