"""RTNeural's JSON, in and out.

A file is ``{"in_shape": [null, null, I], "layers": [{"type": "lstm", "activation": "tanh", "shape": [null, null, H],
"weights": [...]}]}``. The weights are Keras's arrays in Keras's order, without names; RTNeural computes Keras's
equations with them, one step at a time: its GRU resets after the recurrent product, and its update gate keeps the old
state. The activation of a recurrent layer is not read by RTNeural, which always takes tanh and sigmoid.

Source, read for this: github.com/jatinchowdhury18/RTNeural, `RTNeural/model_loader.h` (parseJson), `gru/gru.h`,
`lstm/lstm.h`, `activation/activation.h`, and `python/model_utils.py` (save_model), which writes such files from Keras.
AIDA-X adds `in_skip`, `in_gain` and `out_gain` (github.com/AidaDSP/aidadsp-lv2, `rt-neural-generic.cpp`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from elman import checks
from elman.cells.activations import ACTIVATIONS
from elman.checks import Array, FormatError
from elman.files import path_text, replace
from elman.interop.arrays import from_arrays, to_arrays
from elman.interop.chain import check_holds, dense, layers_of, network_of
from elman.interop.contents import of_json
from elman.interop.files import named, parse_json, read_bytes, refused
from elman.layers import Activate, Dense, Dropout, Layer, Recurrent
from elman.network import Network

#: No larger file is read: parsed JSON takes up to some twenty times its size.
MAX_BYTES = 2**26

#: What a file must be.
MUST = "JSON of RTNeural, with in_shape and a list of layers"

_DENSE = ("dense", "time-distributed-dense")
_RECURRENT = ("gru", "lstm")
_ACTIVATIONS = ("tanh", "relu", "sigmoid", "elu", "softmax")  # with alpha = 1, the only one of its loader
_NAMES = ("kernel", "recurrent_kernel", "bias")  # of Keras, in the order of the file
_NOT_HERE = {
    "conv1d": "a convolution over time",
    "conv2d": "a convolution",
    "batchnorm": "batch normalization",
    "batchnorm2d": "batch normalization",
    "prelu": "an activation with a slope for each feature",
    "unknown": "a layer that RTNeural's script did not know and RTNeural leaves out",
}
_AROUND = ("in_skip", "in_gain", "out_gain")


def from_rtneural(path: str | os.PathLike[str]) -> Network:
    """The network in a JSON file that RTNeural reads.

    Layers "dense", "time-distributed-dense", "lstm", "gru" and "activation" (tanh, relu, sigmoid, elu, softmax) are
    read. The network gives an output at every step, as RTNeural does, whatever the model did from which the file was
    written. It is float32, unless the file has the field "dtype", which `to_rtneural` adds for float64 alone. A bias
    that is not there is 0. Raises `FormatError`, naming file and layer, for a file that is cut short, of another
    kind, or whose shapes do not fit, and for layers that elman has not: convolutions, batch normalization, prelu;
    `FileNotFoundError` where there is none.

    >>> import elman, tempfile, numpy as np
    >>> from elman.interop.rtneural import from_rtneural, to_rtneural
    >>> net = elman.Network([elman.GRU(1, 8, seed=0), elman.Dense(8, 1, "tanh", seed=1)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_rtneural(net, folder + "/amp.json")
    ...     same = from_rtneural(folder + "/amp.json")
    >>> np.array_equal(net(np.ones((5, 1)))[0], same(np.ones((5, 1)))[0])
    True
    """
    source = path_text("path", path)
    model = parse_json(source, read_bytes(path, MUST, MAX_BYTES))
    other = of_json(model)
    if other is not None:
        raise refused(source, "it", MUST, other)
    for name in _AROUND:
        if model.get(name):
            told = f"{checks.show(model[name])}, of AIDA-X, whose models are not read yet"
            raise refused(source, name, "0, as RTNeural itself knows nothing of it", told)
    dtype = model.get("dtype", "float32")
    if dtype not in ("float32", "float64"):
        raise refused(source, "dtype", "'float32' or 'float64'", checks.show(dtype))
    width = _size(source, "in_shape", model.get("in_shape"))
    layers: list[Layer] = []
    for i, entry in enumerate(model["layers"]):
        place = f"layer {i}"
        if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
            raise refused(source, place, "an object with a type", checks.show(entry))
        place += f" ({entry['type']})"
        made = _read_layer(source, place, entry, width, np.dtype(dtype))
        width = _size(source, f"the shape of {place}", entry.get("shape"))
        got = [layer.output_size for layer in made if layer.output_size is not None]
        if got and got[-1] != width:
            raise refused(source, f"the shape of {place}", f"[..., {got[-1]}], as its weights say", f"{width}")
        layers += made
    return network_of(layers, source)


def to_rtneural(net: Network | Layer, path: str | os.PathLike[str]) -> None:
    """Writes a network or a layer into a JSON file that RTNeural reads.

    Numbers are written with all digits of the float32 or float64 they are. Dropout acts in training alone and is left
    out. The file is replaced whole or not at all. Raises `FormatError` for what RTNeural cannot hold: layers other
    than `LSTM`, `GRU` with `reset_after`, `Dense`, `Activate` and `Dropout`, both directions, options of the cells,
    activations other than tanh, relu, sigmoid, elu and softmax, and weights that are not finite, which JSON cannot say.

    >>> import elman, json, tempfile
    >>> from elman.interop.rtneural import to_rtneural
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_rtneural(elman.LSTM(1, 20, seed=0), folder + "/amp.json")
    ...     with open(folder + "/amp.json") as file:
    ...         model = json.load(file)
    >>> [(layer["type"], layer["shape"]) for layer in model["layers"]]
    [('lstm', [None, None, 20])]
    """
    layers = [layer for layer in layers_of(net) if not isinstance(layer, Dropout)]
    sizes = [layer.input_size for layer in layers if layer.input_size is not None]
    if not sizes:
        raise FormatError("net must have a layer that knows its input features for RTNeural. Got none.")
    width, entries = sizes[0], []
    for i, layer in enumerate(layers):
        width = width if layer.output_size is None else layer.output_size
        entry = _write_layer(f"layer {i}, {type(layer).__name__},", layer)
        entries.append({**entry, "shape": [None, None, width]})
    model: dict[str, Any] = {"in_shape": [None, None, sizes[0]], "layers": entries}
    if net.dtype == np.float64:
        model["dtype"] = "float64"
    replace(path, json.dumps(model, allow_nan=False).encode())


# Reading.


def _read_layer(source: str, place: str, entry: Mapping[str, Any], width: int, dtype: np.dtype[Any]) -> list[Layer]:
    kind = entry["type"]
    name = entry.get("activation", "")
    if kind in _RECURRENT:
        if name not in ("", "tanh"):
            raise refused(
                source, f"the activation of {place}", "tanh, which RTNeural takes whatever is said", repr(name)
            )
        return [_read_recurrent(source, place, entry, width, dtype)]
    if kind in _DENSE or kind == "activation":
        if name not in ("", *_ACTIVATIONS):
            raise refused(source, f"the activation of {place}", f"one of {', '.join(_ACTIVATIONS)}", checks.show(name))
        made = _read_dense(source, place, entry, width, name, dtype) if kind in _DENSE else []
        apart = name and not (made and name in ACTIVATIONS)
        return [*made, *([Activate(name)] if apart else [])]
    known = ", ".join((*_DENSE, *_RECURRENT, "activation"))
    reason = f", {_NOT_HERE[kind]}" if kind in _NOT_HERE else ""
    raise refused(source, place, f"one of {known}", f"{kind!r}{reason}")


def _read_recurrent(source: str, place: str, entry: Mapping[str, Any], width: int, dtype: np.dtype[Any]) -> Recurrent:
    arrays = _arrays(source, place, entry, (2, 3), dtype)
    options = {"reset_after": True} if entry["type"] == "gru" else {}
    with named(f"{source}: the weights of {place}"):
        layer = from_arrays(entry["type"], dict(zip(_NAMES, arrays, strict=False)), "keras", **options)
    if layer.input_size != width:
        raise refused(source, place, f"made for {width} features, as come in", f"{layer.input_size}")
    return layer


def _read_dense(
    source: str, place: str, entry: Mapping[str, Any], width: int, activation: str, dtype: np.dtype[Any]
) -> list[Layer]:
    W, *rest = _arrays(source, place, entry, (1, 2), dtype)
    if W.ndim != 2 or W.shape[0] != width or W.shape[1] == 0:
        raise refused(source, f"the weights of {place}", f"of shape ({width}, output)", f"{W.shape}")
    if rest and rest[0].shape != W.shape[1:]:
        raise refused(source, f"the bias of {place}", f"of shape {W.shape[1:]}", f"{rest[0].shape}")
    kept = activation if activation in ACTIVATIONS else "identity"
    return [dense(W, rest[0] if rest else None, kept)]


def _arrays(
    source: str, place: str, entry: Mapping[str, Any], counts: tuple[int, int], dtype: np.dtype[Any]
) -> list[Array]:
    weights = entry.get("weights")
    if not isinstance(weights, list) or len(weights) not in counts:
        must = f"a list of {counts[1]} arrays, or of {counts[0]} without a bias"
        raise refused(source, f"the weights of {place}", must, checks.show(weights))
    arrays = []
    for i, value in enumerate(weights):
        try:
            array = np.asarray(value)
        except (ValueError, OverflowError):  # lists of unequal length, or too deep
            array = np.asarray(None)
        if array.dtype.kind not in "iuf":
            raise refused(
                source, f"array {i} of {place}", "nested lists of numbers, of equal length", checks.show(value)
            )
        with np.errstate(over="ignore"):  # to infinity, as RTNeural reads it
            arrays.append(array.astype(dtype))
    return arrays


def _size(source: str, place: str, shape: Any) -> int:
    """The last number of a shape, all that RTNeural looks at."""
    if not isinstance(shape, list) or not 1 <= len(shape) <= 3 or type(shape[-1]) is not int or shape[-1] < 1:
        raise refused(source, place, "a list of at most 3 that ends in a number from 1 up", checks.show(shape))
    return shape[-1]


# Writing.


def _write_layer(place: str, layer: Layer) -> dict[str, Any]:
    arrays: list[Array] = []
    if isinstance(layer, Recurrent):
        kind, activation = _recurrent_kind(place, layer), "tanh"
        arrays = [to_arrays(layer, "keras")[name] for name in _NAMES]
    elif isinstance(layer, Dense):
        kind, activation = "dense", _activation(place, layer.config["activation"])
        arrays = [layer.W, layer.b]
    elif isinstance(layer, Activate):
        kind, activation = "activation", _activation(place, layer.config["activation"])
    else:
        raise FormatError(
            f"{place} must be an LSTM, a GRU, a Dense or an Activate for RTNeural. Got {checks.show(layer)}."
        )
    if not all(np.isfinite(array).all() for array in arrays):
        raise FormatError(f"{place} must have finite weights for RTNeural, as JSON has no others. Got NaN or infinity.")
    return {"type": kind, "activation": activation, "weights": [array.tolist() for array in arrays]}


def _recurrent_kind(place: str, layer: Recurrent) -> str:
    with named(f"{place} does not fit"):
        check_holds(layer, "RTNeural", ("activation", "reset_after"))
    if layer.cell.name not in _RECURRENT:
        raise FormatError(
            f"{place} must be an LSTM or a GRU for RTNeural, which has no other cell. Got {checks.show(layer)}."
        )
    if layer.bidirectional:
        raise FormatError(f"{place} must run in one direction for RTNeural, which goes step by step. Got both.")
    if not layer.cell.options.get("reset_after", True):
        raise FormatError(f"{place} must have reset_after=True for RTNeural, which has no other form. Got False.")
    return layer.cell.name


def _activation(place: str, config: str | dict[str, Any]) -> str:
    if config == "identity":
        return ""
    if config not in _ACTIVATIONS:
        raise FormatError(
            f"{place} must have an activation of {', '.join(_ACTIVATIONS)} for RTNeural. Got {checks.show(config)}."
        )
    return str(config)
