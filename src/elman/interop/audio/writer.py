"""A network as RTNeural's JSON."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array, FormatError
from elman.files import replace
from elman.interop.arrays import to_arrays
from elman.interop.audio.rtneural import ACTIVATIONS, NAMES, RECURRENT
from elman.interop.chain import Fitted, as_layer, check_holds, layers_of
from elman.interop.files import named
from elman.layers import Activate, BatchNorm, Conv1d, Dense, Dropout, Layer, Recurrent


def to_rtneural(net: Layer | Fitted, path: str | os.PathLike[str]) -> None:
    """Writes a network or a layer into a JSON file that RTNeural reads.

    Numbers are written with all digits of the float32 or float64 they are. Dropout acts in training alone and is left
    out. The file is replaced whole or not at all. Raises `FormatError` for what RTNeural cannot hold: layers other
    than `LSTM`, `GRU` with `reset_after`, `Dense`, `BatchNorm`, causal `Conv1d`, `Activate` and `Dropout`, both
    directions, options of the cells, activations other than tanh, relu, sigmoid, elu and softmax (leaky_relu as a layer
    alone), and weights that are not finite, which JSON cannot say.

    >>> import elman, json, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     elman.to_rtneural(elman.LSTM(1, 20, seed=0), folder + "/amp.json")
    ...     with open(folder + "/amp.json") as file:
    ...         model = json.load(file)
    >>> [(layer["type"], layer["shape"]) for layer in model["layers"]]
    [('lstm', [None, None, 20])]
    """
    net = as_layer(net)
    layers = [layer for layer in layers_of(net) if not isinstance(layer, Dropout)]
    sizes = [layer.input_size for layer in layers if layer.input_size is not None]
    if not sizes:
        raise FormatError("net must have a layer that knows its input features for RTNeural. Got none.")
    width, entries = sizes[0], []
    for i, layer in enumerate(layers):
        width = width if layer.output_size is None else layer.output_size
        entry = _write_layer(f"layer {i}, {type(layer).__name__},", layer, width)
        entries.append({**entry, "shape": [None, None, width]})
    model: dict[str, Any] = {"in_shape": [None, None, sizes[0]], "layers": entries}
    if net.dtype == np.float64:
        model["dtype"] = "float64"
    replace(path, json.dumps(model, allow_nan=False).encode())


def _write_layer(place: str, layer: Layer, width: int) -> dict[str, Any]:
    arrays: list[Array] = []
    more: dict[str, Any] = {}
    config: Any = "tanh" if isinstance(layer, Recurrent) else layer.config.get("activation", "identity")
    if isinstance(layer, Recurrent):
        kind = _recurrent_kind(place, layer)
        arrays = [to_arrays(layer, "keras")[name] for name in NAMES]
    elif isinstance(layer, Dense):
        kind, arrays = "dense", [layer.W, layer.b]
    elif isinstance(layer, Conv1d):
        if layer.stride != 1 or (layer.padding != "causal" and layer.width > 1):
            must = f"{place} must have padding 'causal' and stride 1 for RTNeural, which goes step by step"
            raise FormatError(f"{must}. Got {layer.padding!r} and {layer.stride}.")
        kind, arrays = "conv1d", [layer.W, layer.b]
        more = {"kernel_size": [layer.width], "dilation": [layer.dilation], "groups": 1}
    elif isinstance(layer, BatchNorm):
        kind, more = "batchnorm", {"epsilon": layer.epsilon}
        arrays = [layer.gain, layer.bias, layer.mean, layer.variance]
    elif isinstance(layer, Activate) and isinstance(config, dict) and config.get("name") == "leaky_relu":
        kind, config, arrays = "prelu", "identity", [np.full((1, width), config["alpha"])]
    elif isinstance(layer, Activate):
        kind = "activation"
    else:
        must = f"{place} must be an LSTM, GRU, Dense, Conv1d, BatchNorm or Activate for RTNeural"
        raise FormatError(f"{must}. Got {checks.show(layer)}.")
    if not all(np.isfinite(array).all() for array in arrays):
        raise FormatError(f"{place} must have finite weights for RTNeural, as JSON has no others. Got NaN or infinity.")
    weights = [array.tolist() for array in arrays]
    return {"type": kind, "activation": _activation(place, config), **more, "weights": weights}


def _recurrent_kind(place: str, layer: Recurrent) -> str:
    with named(f"{place} does not fit"):
        check_holds(layer, "RTNeural", ("activation", "reset_after"))
    if layer.cell.name not in RECURRENT:
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
    if config not in ACTIVATIONS:
        raise FormatError(
            f"{place} must have an activation of {', '.join(ACTIVATIONS)} for RTNeural. Got {checks.show(config)}."
        )
    return str(config)
