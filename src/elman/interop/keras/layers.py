"""The layers of Keras one by one, each as one or more layers of this library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from elman import checks
from elman.cells.activations import Activation
from elman.checks import FormatError
from elman.interop.chain import dense
from elman.interop.keras.activations import LAYERS as ACTIVATIONS
from elman.interop.keras.activations import read_activation
from elman.interop.keras.arrays import Groups
from elman.interop.keras.config import Object, flag, inner
from elman.interop.keras.flow import ATTENTIONS, JOINS, single
from elman.interop.keras.parts import At, Parts
from elman.interop.keras.recurrent import read_bidirectional, read_recurrent
from elman.layers import (
    Activate,
    Add,
    Attention,
    AveragePool1d,
    BatchNorm,
    Concatenate,
    Conv1d,
    Dropout,
    Embedding,
    LastSteps,
    Layer,
    LayerNorm,
    Masking,
    MaxOverTime,
    MaxPool1d,
    MeanOverTime,
    Multiply,
    Repeat,
    Scale,
)


def check_known(layer: Object) -> None:
    """Refuses a layer that has no like here."""
    if layer.kind not in _READERS:
        raise FormatError(f"its class must be one of those that elman.from_keras names. Got {layer.kind!r}.")
    if layer.kind == "TimeDistributed" and (each := inner(layer, "layer").kind) not in _STEP_BY_STEP:
        raise FormatError(f"TimeDistributed must hold {', '.join(_STEP_BY_STEP)}. Got {each!r}.")


def read_layer(layer: Object, arrays: Groups, at: At) -> Parts:
    """What a layer of Keras is here; nothing for one that acts in training alone."""
    found = _READERS[layer.kind](layer, arrays, at)
    return found if isinstance(found, Parts) else Parts.row(len(at.read), found)


def _dense(layer: Object, arrays: Groups, at: At) -> list[Layer]:
    for option in ("quantization_config", "lora_rank"):
        if layer.config.get(option) is not None:
            raise FormatError(f"{option} must be None. Got {layer.config[option]!r:.80}.")
    kernel = arrays[0]["kernel"]
    checks.shape("kernel", kernel, ("input", _size(layer, "units")))
    activation, after = _activated(layer, at)
    return [dense(kernel, arrays[0].get("bias"), activation), *after]


def _activated(layer: Object, at: At) -> tuple[Any, list[Layer]]:
    """An activation that a layer has built in, and the layer after it for one that it cannot have."""
    activation = read_activation(layer.config.get("activation"), at.version)
    if isinstance(activation, Activation):
        return activation.to_config(), []
    return "identity", [Activate(activation)]


def _convolution(layer: Object, arrays: Groups, at: At) -> list[Layer]:
    _check_channels(layer)
    if layer.config.get("groups", 1) != 1:
        raise FormatError(f"groups must be 1. Got {layer.config['groups']!r:.80}.")
    kernel = arrays[0]["kernel"]
    width, filters = single(layer.config, "kernel_size"), _size(layer, "filters")
    checks.shape("kernel", kernel, (width, "input", filters))
    activation, after = _activated(layer, at)
    config = {
        "input_size": kernel.shape[1], "output_size": filters, "width": width, "dtype": str(kernel.dtype),
        "stride": single(layer.config, "strides", 1), "dilation": single(layer.config, "dilation_rate", 1),
        "padding": layer.config.get("padding", "valid"), "activation": activation,
    }  # fmt: skip
    bias = arrays[0].get("bias", np.zeros(filters, kernel.dtype))
    return [Conv1d.from_parameters(config, {"W": kernel, "b": bias}), *after]


def _window(layer: Object, arrays: Groups, at: At) -> list[Layer]:
    _check_channels(layer)
    kind = {"AveragePooling1D": AveragePool1d, "MaxPooling1D": MaxPool1d}[layer.kind]
    width = single(layer.config, "pool_size")
    stride = single(layer.config, "strides", width)
    padding = checks.choice("padding", layer.config.get("padding", "valid"), ("valid", "same"))
    return [kind(width, None if stride == width else stride, padding)]


def _embedding(layer: Object, arrays: Groups, at: At) -> list[Layer]:
    table = arrays[0]["embeddings"]
    count, size = _size(layer, "input_dim"), _size(layer, "output_dim")
    checks.shape("embeddings", table, (count, size))
    config = {"count": count, "size": size, "dtype": at.dtype}
    if not flag(layer.config, "mask_zero", False):
        return [Embedding.from_parameters(config, {"W": table})]
    # Token 0 is never computed with: its vector may as well say that its step is to be dropped.
    if (table[1:] == 0).all(axis=1).any():
        raise FormatError("embeddings must not be 0 for any token but 0, where mask_zero drops it. Got such a token.")
    table = np.concatenate([np.zeros_like(table[:1]), table[1:]])
    return [Embedding.from_parameters(config, {"W": table}), Masking(0.0)]


def _normalization(layer: Object, arrays: Groups, at: At) -> list[Layer]:
    _check_axis(_only_axis(layer), at)
    if flag(layer.config, "rms_scaling", False):
        raise FormatError("rms_scaling must be False. Got True.")
    size = next((len(array) for array in arrays[0].values()), at.features)
    if size is None:
        raise FormatError("the number of features must be known where neither scale nor center says it. Got neither.")
    parameters = {
        "gain": arrays[0].get("gamma", np.ones(size, at.dtype)),
        "bias": arrays[0].get("beta", np.zeros(size, at.dtype)),
    }
    config = {"size": size, "epsilon": layer.config.get("epsilon", 1e-3), "dtype": at.dtype}
    return [LayerNorm.from_parameters(config, parameters)]


def _batch_norm(layer: Object, arrays: Groups, at: At) -> list[Layer]:
    _check_axis(_only_axis(layer), at)
    if flag(layer.config, "renorm", False):
        raise FormatError("renorm must be False. Got True.")
    mean, variance = arrays[0]["moving_mean"], arrays[0]["moving_variance"]
    momentum = 1 - checks.number("momentum", layer.config.get("momentum", 0.99))
    config = {"size": len(mean), "momentum": momentum, "epsilon": layer.config.get("epsilon", 1e-3), "dtype": at.dtype}
    gain, bias = arrays[0].get("gamma", np.ones_like(mean)), arrays[0].get("beta", np.zeros_like(mean))
    return [BatchNorm.from_parameters(config, {"gain": gain, "bias": bias, "mean": mean, "variance": variance})]


def _scaled(layer: Object, arrays: Groups, at: At) -> list[Layer]:
    """Normalization, (x - mean) / max(deviation, 1e-7) or the inverse of it."""
    if layer.config.get("axis", -1) not in (None, []):
        _check_axis(_only_axis(layer), at)
    given = [np.asarray(arrays[0][key] if arrays else layer.config.get(key)) for key in ("mean", "variance")]
    if not all(part.dtype.kind in "if" for part in given) or (given[1] < 0).any():
        raise FormatError(f"mean and variance must be numbers, none under 0. Got {checks.show(given)}.")
    mean, deviation = np.float64(given[0]), np.maximum(np.sqrt(np.float64(given[1])), 1e-7)
    if flag(layer.config, "invert", False):
        mean, deviation = -mean / deviation, 1 / deviation
    return [_scale(at, mean, 1 / deviation)]


def _rescaling(layer: Object, arrays: Groups, at: At) -> list[Layer]:
    """x scale + offset."""
    parts = []
    for key, default in (("scale", None), ("offset", 0.0)):
        value = layer.config.get(key, default)
        array = value.get("config") if isinstance(value, dict) else None  # one of NumPy
        value = array.get("value") if isinstance(array, dict) else value
        parts.append(checks.real_array(key, value, np.float64))
    if not parts[0].all():
        raise FormatError("scale must be other than 0. Got 0.")
    return [_scale(at, -parts[1] / parts[0], parts[0])]


def _scale(at: At, shift: Any, factor: Any) -> Scale:
    if at.features is None:
        raise FormatError("the number of features must be known. Got a model that does not say it.")
    shift, factor = (
        part.item() if part.size == 1 else part.ravel() for part in (np.asarray(shift), np.asarray(factor))
    )
    return Scale(at.features, shift + 0.0, factor)  # not -0


def _repeat(layer: Object, arrays: Groups, at: At) -> list[Layer]:
    return [Repeat(_size(layer, "n"))]


def _flatten(layer: Object, arrays: Groups, at: At) -> list[Layer]:
    if at.axes == 2:
        return []
    steps, features = at.read[0].steps, at.features
    if steps is None or features is None:
        raise FormatError("the number of steps and of features must be known. Got a model that does not say them.")
    return [LastSteps(features, steps)]


# What reads several values.


def _joined(layer: Object, arrays: Groups, at: At) -> list[Layer] | Parts:
    if layer.kind == "Concatenate":
        _check_axis(layer.config.get("axis", -1), at)
    if len(at.read) < 2:
        raise FormatError(f"it must read two values or more. Got {len(at.read)}.")
    if layer.kind == "Subtract":
        parts = Parts(2)
        negative = parts.add(_scale(replace(at, read=at.read[1:]), np.zeros(()), np.float64(-1)), reads=(1,))
        parts.outputs[0] = parts.add(Add(), reads=(0, negative))
        return parts
    if layer.kind == "Average":
        return [Add(), _scale(at, np.zeros(()), np.float64(1 / len(at.read)))]
    return [{"Add": Add, "Concatenate": Concatenate, "Multiply": Multiply}[layer.kind]()]


def _attention(layer: Object, arrays: Groups, at: At) -> Parts:
    """Keras has the memory's features in the scores too, or one number that scales them."""
    if len(at.read) != 2:
        raise FormatError("key must be left out: what is compared is what is given. Got query, value and key.")
    weights = arrays[0] if arrays else {}
    query, memory = (facts.features for facts in at.read)
    if query is None or memory is None:
        raise FormatError("the number of features must be known. Got a model that does not say it.")
    size, dtype, parts = {"query_size": query, "memory_size": memory}, at.dtype, Parts(2)
    scale = weights.get("scale", np.ones((), dtype))
    made: Layer
    if layer.kind == "AdditiveAttention":
        config = {**size, "kind": "additive", "dtype": dtype}
        made = Attention.from_parameters(config, {"v": np.broadcast_to(scale, memory).astype(dtype)})
    elif layer.config.get("score_mode", "dot") == "concat":
        each, v = np.eye(memory, dtype=dtype) * scale, np.full(memory, weights["concat_score_weight"], dtype)
        config = {**size, "kind": "additive", "units": memory, "dtype": dtype}
        made = Attention.from_parameters(config, {"Wq": each, "Wm": each, "b": np.zeros(memory, dtype), "v": v})
    else:
        made = Attention(query, memory, scaled=False)
        if scale != 1:
            parts.add(Scale(query, 0.0, float(scale)), reads=(0,))
    parts.outputs[0] = parts.add(made, reads=(parts.last, 1))
    return parts


def _dropout(layer: Object, arrays: Groups, at: At) -> list[Layer]:
    shape = layer.config.get("noise_shape")
    per_sequence = layer.kind == "SpatialDropout1D" or (at.axes == 3 and shape == [None, 1, None])
    if shape is not None and not per_sequence:
        raise FormatError(f"noise_shape must be None, or [None, 1, None] for sequences. Got {shape!r:.80}.")
    return [Dropout(layer.config.get("rate", 0.0), per_sequence=per_sequence)]


def _time_distributed(layer: Object, arrays: Groups, at: At) -> list[Layer] | Parts:
    each = inner(layer, "layer")
    return _READERS[each.kind](each, arrays, replace(at, read=(replace(at.read[0], axes=2, steps=None),)))


def _activation(layer: Object, arrays: Groups, at: At) -> list[Layer]:
    return [Activate(ACTIVATIONS[layer.kind](layer.config, at.version))]


def _softmax(layer: Object, arrays: Groups, at: At) -> list[Layer]:
    _check_axis(_only_axis(layer), at)
    return [Activate("softmax")]


def _pooling(layer: Object, arrays: Groups, at: At) -> list[Layer]:
    _check_channels(layer)
    if flag(layer.config, "keepdims", False):
        raise FormatError("keepdims must be False. Got True.")
    return [{"GlobalAveragePooling1D": MeanOverTime, "GlobalMaxPooling1D": MaxOverTime}[layer.kind]()]


def _nothing(layer: Object, arrays: Groups, at: At) -> list[Layer]:
    for key in ("sparse", "ragged"):
        if flag(layer.config, key, False):
            raise FormatError(f"{key} must be False. Got True.")
    return []


def _check_channels(layer: Object) -> None:
    if layer.config.get("data_format") not in (None, "channels_last"):
        raise FormatError(f"data_format must be 'channels_last'. Got {layer.config['data_format']!r:.80}.")


def _only_axis(layer: Object) -> Any:
    """The axis of a normalization, a number or a list of one."""
    axis = layer.config.get("axis", -1)
    return axis[0] if isinstance(axis, list) and len(axis) == 1 else axis


def _check_axis(axis: Any, at: At) -> None:
    """Refuses another axis than that of the features, of all that is read."""
    last = {facts.axes - 1 for facts in at.read if facts.axes is not None}
    if axis != -1 and [axis] != [*last]:
        raise FormatError(f"axis must be -1, the features. Got {axis!r:.80}.")


def _size(layer: Object, key: str) -> int:
    return checks.size(key, layer.config.get(key))


_Reader = Callable[[Object, Groups, At], "list[Layer] | Parts"]

_READERS: dict[str, _Reader] = {
    **dict.fromkeys(ACTIVATIONS, _activation),
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN", "RNN"), read_recurrent),
    **dict.fromkeys(JOINS, _joined),
    **dict.fromkeys(ATTENTIONS, _attention),
    # What acts in training alone and has no like here, and what does nothing.
    **dict.fromkeys(
        ("ActivityRegularization", "AlphaDropout", "GaussianDropout", "GaussianNoise", "Identity", "InputLayer"),
        _nothing,
    ),
    "AveragePooling1D": _window,
    "BatchNormalization": _batch_norm,
    "Bidirectional": read_bidirectional,
    "Conv1D": _convolution,
    "Dense": _dense,
    "Dropout": _dropout,
    "Embedding": _embedding,
    "Flatten": _flatten,
    "GlobalAveragePooling1D": _pooling,
    "GlobalMaxPooling1D": _pooling,
    "LayerNormalization": _normalization,
    "MaxPooling1D": _window,
    "Masking": lambda layer, arrays, at: [Masking(layer.config.get("mask_value", 0.0))],
    "Normalization": _scaled,
    "RepeatVector": _repeat,
    "Rescaling": _rescaling,
    "Softmax": _softmax,
    "SpatialDropout1D": _dropout,
    "TimeDistributed": _time_distributed,
}
_STEP_BY_STEP = (
    "Activation", "BatchNormalization", "Dense", "Dropout", "ELU", "Flatten", "LayerNormalization", "LeakyReLU", "ReLU",
    "Rescaling", "Softmax",
)  # fmt: skip
