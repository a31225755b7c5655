"""The layers of Keras one by one, each as one or more layers of this library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from elman import checks
from elman.cells.activations import Activation
from elman.checks import FormatError
from elman.interop.chain import dense
from elman.interop.keras.activations import LAYERS as ACTIVATIONS
from elman.interop.keras.activations import read_activation
from elman.interop.keras.arrays import Groups
from elman.interop.keras.config import Object, flag, inner
from elman.interop.keras.recurrent import read_bidirectional, read_recurrent
from elman.layers import Activate, Dropout, Embedding, Layer, LayerNorm, Masking, MaxOverTime, MeanOverTime


@dataclass(frozen=True)
class At:
    """What a layer cannot know by itself."""

    axes: int | None  # of what comes in: 2 for (batch, features), 3 with time between them
    features: int | None  # that come in
    version: int  # of Keras
    dtype: str


def check_known(layer: Object) -> None:
    """Refuses a layer that has no like here."""
    if layer.kind not in _READERS:
        raise FormatError(f"a layer must be one of {', '.join(sorted(_READERS))}. Got {layer.kind!r}.")


def read_layer(layer: Object, arrays: Groups, at: At) -> list[Layer]:
    """What a layer of Keras is here; nothing for one that acts in training alone."""
    return _READERS[layer.kind](layer, arrays, at)


def _dense(layer: Object, arrays: Groups, at: At) -> list[Layer]:
    for option in ("quantization_config", "lora_rank"):
        if layer.config.get(option) is not None:
            raise FormatError(f"{option} must be None. Got {layer.config[option]!r:.80}.")
    kernel = arrays[0]["kernel"]
    checks.shape("kernel", kernel, ("input", _size(layer, "units")))
    activation = read_activation(layer.config.get("activation"), at.version)
    if isinstance(activation, Activation):
        return [dense(kernel, arrays[0].get("bias"), activation.to_config())]
    return [dense(kernel, arrays[0].get("bias")), Activate(activation)]


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
    _check_axis(layer, at)
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


def _dropout(layer: Object, arrays: Groups, at: At) -> list[Layer]:
    shape = layer.config.get("noise_shape")
    per_sequence = layer.kind == "SpatialDropout1D" or (at.axes == 3 and shape == [None, 1, None])
    if shape is not None and not per_sequence:
        raise FormatError(f"noise_shape must be None, or [None, 1, None] for sequences. Got {shape!r:.80}.")
    return [Dropout(layer.config.get("rate", 0.0), per_sequence=per_sequence)]


def _time_distributed(layer: Object, arrays: Groups, at: At) -> list[Layer]:
    each = inner(layer, "layer")
    if each.kind not in _STEP_BY_STEP:
        raise FormatError(f"TimeDistributed must hold {', '.join(_STEP_BY_STEP)}. Got {each.kind!r}.")
    return read_layer(each, arrays, replace(at, axes=2))


def _activation(layer: Object, arrays: Groups, at: At) -> list[Layer]:
    return [Activate(ACTIVATIONS[layer.kind](layer.config, at.version))]


def _softmax(layer: Object, arrays: Groups, at: At) -> list[Layer]:
    _check_axis(layer, at)
    return [Activate("softmax")]


def _pooling(layer: Object, arrays: Groups, at: At) -> list[Layer]:
    if layer.config.get("data_format", "channels_last") != "channels_last":
        raise FormatError(f"data_format must be 'channels_last'. Got {layer.config['data_format']!r:.80}.")
    if flag(layer.config, "keepdims", False):
        raise FormatError("keepdims must be False. Got True.")
    return [{"GlobalAveragePooling1D": MeanOverTime, "GlobalMaxPooling1D": MaxOverTime}[layer.kind]()]


def _nothing(layer: Object, arrays: Groups, at: At) -> list[Layer]:
    for key in ("sparse", "ragged"):
        if flag(layer.config, key, False):
            raise FormatError(f"{key} must be False. Got True.")
    return []


def _check_axis(layer: Object, at: At) -> None:
    axis = layer.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if axis != -1 and (at.axes is None or axis != at.axes - 1):
        raise FormatError(f"axis must be -1, the features. Got {axis!r:.80}.")


def _size(layer: Object, key: str) -> int:
    return checks.size(key, layer.config.get(key))


_Reader = Callable[[Object, Groups, At], list[Layer]]

_READERS: dict[str, _Reader] = {
    **dict.fromkeys(ACTIVATIONS, _activation),
    **dict.fromkeys(
        ("LSTM", "GRU", "SimpleRNN", "RNN"), lambda layer, arrays, at: read_recurrent(layer, arrays, at.version)
    ),
    # What acts in training alone and has no like here, and what does nothing.
    **dict.fromkeys(
        ("ActivityRegularization", "AlphaDropout", "GaussianDropout", "GaussianNoise", "Identity", "InputLayer"),
        _nothing,
    ),
    "Bidirectional": lambda layer, arrays, at: read_bidirectional(layer, arrays, at.version),
    "Dense": _dense,
    "Dropout": _dropout,
    "Embedding": _embedding,
    "GlobalAveragePooling1D": _pooling,
    "GlobalMaxPooling1D": _pooling,
    "LayerNormalization": _normalization,
    "Masking": lambda layer, arrays, at: [Masking(layer.config.get("mask_value", 0.0))],
    "Softmax": _softmax,
    "SpatialDropout1D": _dropout,
    "TimeDistributed": _time_distributed,
}
_STEP_BY_STEP = ("Activation", "Dense", "Dropout", "ELU", "LayerNormalization", "LeakyReLU", "ReLU", "Softmax")
