"""The layers of Keras one by one, each as one or more layers of this library, and back: `ROWS` and `WRITERS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from elman import checks, layers
from elman.cells.activations import Activation
from elman.checks import FormatError
from elman.interop.chain import dense
from elman.interop.keras.activations import LAYERS, activation_of, read_activation, write_alone, write_inside
from elman.interop.keras.config import RECURRENT, Groups, Object, Site
from elman.interop.keras.recurrent import read_bidirectional, read_recurrent
from elman.layers import Layer

# Layers that multiply.


def _product(layer: Object, arrays: Groups, at: Site) -> list[Layer]:
    kernel, bias = arrays[0]["kernel"], arrays[0].get("bias")
    activation = read_activation(layer.config.get("activation"), at.version)
    own = isinstance(activation, Activation)  # else it is a layer after this one
    after: list[Layer] = [] if own else [layers.Activate(activation)]
    built_in = activation if own else "identity"
    if layer.kind == "Dense":
        checks.shape("kernel", kernel, ("input", layer.size("units")))
        return [dense(kernel, bias, built_in), *after]
    width, filters = layer.along_time("kernel_size"), layer.size("filters")
    checks.shape("kernel", kernel, (width, "input", filters))
    config = {
        "input_size": kernel.shape[1], "output_size": filters, "width": width, "dtype": str(kernel.dtype),
        "stride": layer.along_time("strides", 1), "dilation": layer.along_time("dilation_rate", 1),
        "padding": layer.config.get("padding", "valid"), "activation": built_in,
    }  # fmt: skip
    bias = np.zeros(filters, kernel.dtype) if bias is None else bias
    return [layers.Conv1d.from_parameters(config, {"W": kernel, "b": bias}), *after]


def _write_product(layer: Any, version: int | None) -> Any:
    activation, factor = write_inside(layer.activation, layer, version)
    config = {"activation": activation, "use_bias": True}
    kernel, bias = (array * array.dtype.type(factor) for array in (layer.W, layer.b))
    arrays = {"kernel": kernel, "bias": bias}
    if isinstance(layer, layers.Dense):
        return "Dense", {"units": layer.output_size, **config}, arrays
    sizes = {"kernel_size": [layer.width], "strides": [layer.stride], "dilation_rate": [layer.dilation]}
    pads = layer.padding if isinstance(layer.padding, tuple) else None
    padding = "valid" if pads else _padding(layer, ("same", "valid", "causal"))
    made = ("Conv1D", {"filters": layer.output_size, **sizes, "padding": padding, **config}, arrays)
    return [("ZeroPadding1D", {"padding": list(pads)}), made] if pads else made


def _zeros(layer: Object, arrays: Groups, at: Site) -> list[Layer]:
    """Steps of 0 around: a convolution of width 1 that gives what it reads."""
    features = at.read[0].features
    if features is None:
        raise FormatError("the number of features must be known. Got a model that does not say it.")
    config = {"input_size": features, "output_size": features, "width": 1, "padding": layer.pads(), "dtype": at.dtype}
    weights = {"W": np.eye(features, dtype=at.dtype)[None], "b": np.zeros(features, at.dtype)}
    return [layers.Conv1d.from_parameters(config, weights)]


def _padding(layer: Any, known: tuple[str, ...]) -> str:
    if layer.padding not in known:
        raise FormatError(f"padding must be {' or '.join(map(repr, known))} for Keras. Got {layer.padding!r}.")
    return str(layer.padding)


def _embedding(layer: Object, arrays: Groups, at: Site) -> list[Layer]:
    table = arrays[0]["embeddings"]
    count, size = layer.size("input_dim"), layer.size("output_dim")
    checks.shape("embeddings", table, (count, size))
    masked = layer.flag("mask_zero", False)
    if masked:
        # Token 0 is never computed with: its vector may as well say that its step is to be dropped.
        if (table[1:] == 0).all(axis=1).any():
            must = "embeddings must not be 0 for any token but 0, where mask_zero drops it"
            raise FormatError(f"{must}. Got such a token.")
        table = np.concatenate([np.zeros_like(table[:1]), table[1:]])
    made = layers.Embedding.from_parameters({"count": count, "size": size, "dtype": at.dtype}, {"W": table})
    return [made, layers.Masking(0.0)] if masked else [made]


# Normalizations, and constant maps.


_NORM = {"gamma": "gain", "beta": "bias", "moving_mean": "mean", "moving_variance": "variance"}


def _normalization(layer: Object, arrays: Groups, at: Site) -> list[Layer]:
    _check_axis(layer, at)
    size = next((len(array) for array in arrays[0].values()), at.read[0].features)
    if size is None:
        raise FormatError("the number of features must be known where neither scale nor center says it. Got neither.")
    held = {_NORM[name]: array for name, array in arrays[0].items()}
    held = {"gain": np.ones(size, at.dtype), "bias": np.zeros(size, at.dtype), **held}
    config = {"size": size, "epsilon": layer.config.get("epsilon", 1e-3), "dtype": at.dtype}
    if layer.kind == "LayerNormalization":
        return [layers.LayerNorm.from_parameters(config, held)]
    momentum = 1 - checks.number("momentum", layer.config.get("momentum", 0.99))
    return [layers.BatchNorm.from_parameters({**config, "momentum": momentum}, held)]


def _write_normalization(layer: Any, version: int | None) -> tuple[Any, ...]:
    held = {**layer.parameters, **layer.buffers}
    arrays = {theirs: held[ours] for theirs, ours in _NORM.items() if ours in held}
    if isinstance(layer, layers.LayerNorm):
        config = {"axis": -1, "epsilon": layer.epsilon, "center": True, "scale": True}
        return "LayerNormalization", config, arrays
    config = {"axis": -1, "momentum": round(1 - layer.momentum, 12), "epsilon": layer.epsilon}
    return "BatchNormalization", config, arrays


def _scaled(layer: Object, arrays: Groups, at: Site) -> list[Layer]:
    """Normalization, (x - mean) / max(deviation, 1e-7) or the inverse of it."""
    if layer.config.get("axis", -1) not in (None, []):
        _check_axis(layer, at)
    given = [np.asarray((arrays[0] or layer.config).get(key)) for key in ("mean", "variance")]
    if not all(part.dtype.kind in "if" for part in given) or (given[1] < 0).any():
        raise FormatError(f"mean and variance must be numbers, none under 0. Got {checks.show(given)}.")
    mean, deviation = np.float64(given[0]), np.maximum(np.sqrt(np.float64(given[1])), 1e-7)
    if layer.flag("invert", False):
        mean, deviation = -mean / deviation, 1 / deviation
    return [_scale(at.read[0].features, mean, 1 / deviation)]


def _rescaling(layer: Object, arrays: Groups, at: Site) -> list[Layer]:
    """x scale + offset."""
    parts = []
    for key, default in (("scale", None), ("offset", 0.0)):
        value = layer.config.get(key, default)
        array = value.get("config") if isinstance(value, dict) else None  # one of NumPy
        value = array.get("value") if isinstance(array, dict) else value
        parts.append(checks.real_array(key, value, np.float64))
    if not parts[0].all():
        raise FormatError("scale must be other than 0. Got 0.")
    return [_scale(at.read[0].features, -parts[1] / parts[0], parts[0])]


def _scale(features: int | None, shift: Any, factor: Any) -> layers.Scale:
    if features is None:
        raise FormatError("the number of features must be known. Got a model that does not say it.")
    parts = [part.item() if part.size == 1 else part.ravel() for part in map(np.asarray, (shift, factor))]
    return layers.Scale(features, parts[0] + 0.0, parts[1])  # not -0


def _write_scale(layer: layers.Scale, version: int | None) -> tuple[Any, ...]:
    """Normalization takes the mean away first, which keeps all digits; it has no factor that turns signs."""
    shift, factor = np.broadcast_arrays(layer.shift, layer.factor, np.empty(layer.size))[:2]
    if (factor > 0).all() and (factor < 1e7).all() and np.any(shift):
        return "Normalization", {"axis": -1, "mean": shift.tolist(), "variance": (1 / factor**2).tolist()}
    return "Rescaling", {"scale": factor.tolist(), "offset": (-shift * factor).tolist()}


# What reads several values.


def _joined(layer: Object, arrays: Groups, at: Site) -> list[Layer] | None:
    if layer.kind == "Concatenate":
        _check_axis(layer, at)
    if len(at.read) < 2 or (layer.kind == "Subtract" and len(at.read) > 2):
        raise FormatError(f"it must read two values{' or more' * (layer.kind != 'Subtract')}. Got {len(at.read)}.")
    if layer.kind == "Subtract":
        negative = at.add(_scale(at.read[1].features, 0.0, -1.0), reads=(at.read[1].part,))
        at.outputs[0] = at.add(layers.Add(), reads=(at.read[0].part, negative))
        return None
    if layer.kind == "Average":
        return [layers.Add(), _scale(at.read[0].features, 0.0, 1 / len(at.read))]
    return [ROWS[layer.kind].made()]


def _attention(layer: Object, arrays: Groups, at: Site) -> None:
    """Keras compares the values themselves, times one number, and has no weights but that and v.

    A key beside the memory is part of a wider memory here, from which W takes what is compared, and a Dense the rest.
    """
    query, memory = at.read[:2]
    key = at.read[2] if len(at.read) == 3 else memory
    sizes = query.features, memory.features, key.features
    if None in sizes or len(at.read) not in (2, 3):
        raise FormatError("it must read query, value and perhaps key, of known features. Got a model without them.")
    if (key.mask, key.lost) != (memory.mask, memory.lost):
        raise FormatError("key must have the mask of value, as masked steps are left out. Got another one.")
    width, size, units = (n or 0 for n in sizes)
    if width != units:
        raise FormatError(f"query and key must have as many features. Got {width} and {units}.")
    dtype, scale = at.dtype, arrays[0].get("scale", np.ones((), at.dtype))
    concat = layer.config.get("score_mode", "dot") == "concat"
    additive, beside = layer.kind == "AdditiveAttention" or concat, key is not memory
    if not (concat or additive or beside):
        if scale != 1:
            at.add(layers.Scale(width, 0.0, float(scale)))
        at.outputs[0] = at.add(layers.Attention(width, size, scaled=False), reads=(at.last, memory.part))
        return
    config: dict[str, Any] = {"query_size": width, "memory_size": size + beside * units, "dtype": dtype}
    config |= {"kind": "additive"} if additive else {"scaled": False}
    weights: dict[str, Any] = {}
    if additive:
        weights["v"] = np.broadcast_to(arrays[0]["concat_score_weight"] if concat else scale, units).astype(dtype)
    if concat or beside:
        each = np.eye(units, dtype=dtype)
        factors = (scale, scale) if concat else (1, 1) if additive else (scale, 1)
        parts = [(each * factor).astype(dtype) for factor in factors]
        nothing = np.zeros((beside * size, units), dtype)
        weights |= {"Wq": parts[0], "Wm": np.concatenate([nothing, parts[1]]), "b": np.zeros(units, dtype)}
        config["units"] = units
    made = layers.Attention.from_parameters(config, weights)
    whole = at.add(layers.Concatenate(), reads=(memory.part, key.part)) if beside else memory.part
    at.outputs[0] = at.add(made, reads=(query.part, whole))
    if beside:
        at.outputs[0] = at.add(dense(np.eye(size + units, size, dtype=dtype), None, "identity"))


def _write_attention(layer: layers.Attention, version: int | None) -> tuple[Any, ...]:
    """What compares; where it has units, after a Dense each for query and key, see `write_compared`."""
    if layer.kind == "additive":
        return "AdditiveAttention", {"use_scale": True}, {"scale": layer.parameters["v"]}
    if layer.factor == 1:
        return "Attention", {"use_scale": False, "score_mode": "dot"}
    scale = np.asarray(layer.factor, layer.dtype or np.float32)
    return "Attention", {"use_scale": True, "score_mode": "dot"}, {"scale": scale}


def write_compared(layer: layers.Attention) -> list[tuple[str, dict[str, Any], Groups]]:
    """The layers that make of query and memory what attention with units compares."""
    held, config = layer.parameters, {"units": layer.units, "activation": "linear"}
    query = ("Dense", {**config, "use_bias": True}, [{"kernel": held["Wq"], "bias": held["b"]}])
    return [query, ("Dense", {**config, "use_bias": False}, [{"kernel": held["Wm"]}])]


# Activations, and what has no weights.


def _softmax(layer: Object, arrays: Groups, at: Site) -> list[Layer]:
    _check_axis(layer, at)
    return [layers.Activate("softmax")]


def _window(layer: Object, arrays: Groups, at: Site) -> list[Layer]:
    width = layer.along_time("pool_size")
    stride = layer.along_time("strides", width)
    padding = checks.choice("padding", layer.config.get("padding", "valid"), ("valid", "same"))
    return [ROWS[layer.kind].made(width, None if stride == width else stride, padding)]


def _write_same(layer: Any, version: int | None) -> tuple[Any, ...]:
    kind = next(kind for kind, row in ROWS.items() if row.made is type(layer))
    if kind in ("AveragePooling1D", "MaxPooling1D"):
        padding = _padding(layer, ("same", "valid"))
        return kind, {"pool_size": [layer.width], "strides": [layer.stride or layer.width], "padding": padding}
    return kind, {"axis": -1} if kind == "Concatenate" else {}


def _flatten(layer: Object, arrays: Groups, at: Site) -> list[Layer]:
    facts = at.read[0]
    if facts.axes == 2:
        return []
    if facts.steps is None or facts.features is None:
        raise FormatError("the number of steps and of features must be known. Got a model that does not say them.")
    return [layers.LastSteps(facts.features, facts.steps)]


def _dropout(layer: Object, arrays: Groups, at: Site) -> list[Layer]:
    shape = layer.config.get("noise_shape")
    per_sequence = layer.kind == "SpatialDropout1D" or (at.read[0].axes == 3 and shape == [None, 1, None])
    if shape is not None and not per_sequence:
        raise FormatError(f"noise_shape must be None, or [None, 1, None] for sequences. Got {shape!r:.80}.")
    return [layers.Dropout(layer.config.get("rate", 0.0), per_sequence=per_sequence)]


def _time_distributed(layer: Object, arrays: Groups, at: Site) -> list[Layer] | None:
    each = layer.inner("layer")
    return ROWS[each.kind].read(each, arrays, replace(at, read=(replace(at.read[0], axes=2, steps=None),)))


def _check_axis(layer: Object, at: Site) -> None:
    """Refuses another axis than that of the features, of all that is read."""
    axis, last = layer.only("axis", -1), {facts.axes - 1 for facts in at.read if facts.axes is not None}
    if axis != -1 and [axis] != [*last]:
        raise FormatError(f"axis must be -1, the features. Got {axis!r:.80}.")


class Row(NamedTuple):
    """A class of Keras."""

    read: Callable[[Object, Groups, Site], list[Layer] | None]  # the layers in a row; None where `Site` has them
    arrays: tuple[str, ...] = ()  # its weights in their order, those that an option leaves out too
    axes: int | None = None  # of what it reads: 3 with time; None for any
    time: str = ""  # "mixes" steps, whose order it must know; "window": of them; "joins" what has the same steps
    mask: str = "keeps"  # what it does with that of what it reads: "keeps", "uses", "loses"
    each: bool = False  # whether TimeDistributed may hold it
    fixed: Mapping[str, Any] = {}  # options that must be so, where they are given
    made: Any = None  # the class here, where that is all


_CELL = ("kernel", "recurrent_kernel", "bias")
_ACTIVATION = Row(lambda layer, arrays, at: [layers.Activate(activation_of(layer, at.version))], each=True)
_LAST = {"data_format": "channels_last"}
_POOL = Row(
    lambda layer, arrays, at: [ROWS[layer.kind].made()], (), 3, "mixes", "uses", fixed={**_LAST, "keepdims": False}
)
_JOIN = Row(_joined, time="joins")
_WINDOW = Row(_window, (), 3, "window", "loses", fixed=_LAST)
# What acts in training alone and has no like here, and what does nothing.
_NOTHING = Row(lambda layer, arrays, at: [], fixed={"sparse": False, "ragged": False})

ROWS: dict[str, Row] = {
    **dict.fromkeys(RECURRENT, Row(read_recurrent, _CELL, 3, "mixes", "uses", fixed={"time_major": False})),
    "Add": _JOIN._replace(made=layers.Add),
    "Average": _JOIN,
    "Concatenate": _JOIN._replace(made=layers.Concatenate),
    "Multiply": _JOIN._replace(made=layers.Multiply),
    "Subtract": _JOIN,
    **dict.fromkeys(LAYERS, _ACTIVATION),
    **dict.fromkeys(("ActivityRegularization", "AlphaDropout", "GaussianDropout", "GaussianNoise"), _NOTHING),
    "AdditiveAttention": Row(_attention, ("scale",), 3, mask="uses"),
    "Attention": Row(_attention, ("scale", "concat_score_weight"), 3, mask="uses"),
    "AveragePooling1D": _WINDOW._replace(made=layers.AveragePool1d),
    "BatchNormalization": Row(_normalization, tuple(_NORM), each=True, fixed={"renorm": False}),
    "Bidirectional": Row(read_bidirectional, (), 3, "mixes", "uses"),
    "Conv1D": Row(_product, ("kernel", "bias"), 3, "window", "loses", fixed={"groups": 1, **_LAST}),
    "Dense": Row(_product, ("kernel", "bias"), each=True, fixed={"quantization_config": None, "lora_rank": None}),
    "Dropout": Row(_dropout, each=True),
    "Embedding": Row(_embedding, ("embeddings",), 2),
    "Flatten": Row(_flatten, mask="loses", each=True, fixed=_LAST),
    "GlobalAveragePooling1D": _POOL._replace(made=layers.MeanOverTime),
    "GlobalMaxPooling1D": _POOL._replace(made=layers.MaxOverTime, mask="loses"),
    "Identity": _NOTHING,
    "InputLayer": _NOTHING,
    "LayerNormalization": Row(_normalization, ("gamma", "beta"), each=True, fixed={"rms_scaling": False}),
    "Masking": Row(lambda layer, arrays, at: [layers.Masking(layer.config.get("mask_value", 0.0))], (), 3),
    "MaxPooling1D": _WINDOW._replace(made=layers.MaxPool1d),
    "Normalization": Row(_scaled, ("mean", "variance", "count")),
    "RepeatVector": Row(lambda layer, arrays, at: [layers.Repeat(layer.size("n"))], (), 2),
    "Rescaling": Row(_rescaling, each=True),
    "Softmax": Row(_softmax, mask="uses", each=True),
    "SpatialDropout1D": Row(_dropout, (), 3),
    "TimeDistributed": Row(_time_distributed, (), 3),
    "ZeroPadding1D": _WINDOW._replace(read=_zeros),
}

#: Of a layer here the class of Keras, its config and its arrays; or several of them, one after another.
WRITERS: dict[type[Layer], Callable[[Any, int | None], Any]] = {
    **{row.made: _write_same for row in ROWS.values() if row.made},
    **dict.fromkeys((layers.Conv1d, layers.Dense), _write_product),
    **dict.fromkeys((layers.BatchNorm, layers.LayerNorm), _write_normalization),
    layers.Activate: lambda layer, version: write_alone(layer.activation, version),
    layers.Attention: _write_attention,
    layers.Dropout: lambda layer, version: (
        "SpatialDropout1D" if layer.per_sequence else "Dropout",
        {"rate": layer.rate},
    ),
    layers.Embedding: lambda layer, version: (
        "Embedding",
        {"input_dim": layer.count, "output_dim": layer.output_size, "mask_zero": False},
        {"embeddings": layer.W},
    ),
    layers.Masking: lambda layer, version: ("Masking", {"mask_value": layer.value}),
    layers.Repeat: lambda layer, version: ("RepeatVector", {"n": layer.count}),
    layers.Scale: _write_scale,
}
