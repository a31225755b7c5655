"""RTNeural's JSON, also as AIDA-X has it, read and written.

A file is ``{"in_shape": [null, null, I], "layers": [{"type": "lstm", "activation": "tanh", "shape": [null, null, H],
"weights": [...]}]}``. The weights are Keras's arrays in Keras's order, without names; RTNeural computes Keras's
equations with them, one step at a time: its GRU resets after the recurrent product, and its update gate keeps the old
state. The activation of a recurrent layer is not read by RTNeural, which always takes tanh and sigmoid.

Source, read for this: github.com/jatinchowdhury18/RTNeural, `RTNeural/model_loader.h` (parseJson), `gru/gru.h`,
`lstm/lstm.h`, `activation/activation.h`, and `python/model_utils.py` (save_model), which writes such files from Keras;
github.com/AidaDSP/aidadsp-lv2, `rt-neural-generic.cpp` (applyModel, loadModelFromPath).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman import checks
from elman.cells.activations import ACTIVATIONS as FUSED
from elman.checks import Array, FormatError
from elman.files import replace
from elman.interop.arrays import from_arrays, to_arrays
from elman.interop.chain import Fitted, as_layer, check_holds, dense, grouped, layers_of, network_of, prelu
from elman.interop.files import named, numbers, refused
from elman.layers import Activate, Add, BatchNorm, Conv1d, Dense, Dropout, Layer, Recurrent, Scale
from elman.network import Network

_RECURRENT = ("gru", "lstm")
_ACTIVATIONS = ("tanh", "relu", "sigmoid", "elu", "softmax")  # with alpha = 1, the only one of its loader
_NAMES = ("kernel", "recurrent_kernel", "bias")  # of Keras, in the order of the file


# From files.


def read(source: str, model: Mapping[str, Any]) -> Network:
    """The network of a file of RTNeural, or of AIDA-X with what stands around its layers."""
    dtype = model.get("dtype", "float32")
    if dtype not in ("float32", "float64"):
        raise refused(source, "dtype", "'float32' or 'float64'", checks.show(dtype))
    first = width = _size(source, "in_shape", model.get("in_shape"))
    layers: dict[str, Layer] = {}
    for i, facts in enumerate(model["layers"]):
        if not isinstance(facts, dict) or not isinstance(facts.get("type"), str):
            raise refused(source, f"layer {i}", "an object with a type", checks.show(facts))
        kind = facts["type"]
        entry = Entry(source, f"layer {i} ({kind})", facts, width, np.dtype(dtype))
        if kind not in _READERS:
            raise entry.refused("", f"one of {', '.join(_READERS)}", f"{kind!r}{_NOT_HERE.get(kind, '')}")
        made = _READERS[kind](entry)
        width = _size(source, f"the shape of {entry.place}", facts.get("shape"))
        given = [layer.output_size for layer in made if layer.output_size is not None]
        if given and given[-1] != width:
            raise entry.refused("the shape", f"[..., {given[-1]}], as its weights say", f"{width}")
        layers |= {str(len(layers) + k): layer for k, layer in enumerate(made)}
    skip = model.get("in_skip", 0)
    if isinstance(skip, bool) or skip not in (0, 1):
        raise refused(source, "in_skip", "0 or 1", checks.show(skip))
    gains = [1.0, 1.0]
    for i, name in enumerate(("in_gain", "out_gain")):
        decibels = model.get(name, 0)
        if isinstance(decibels, bool) or not isinstance(decibels, (int, float)) or not decibels < 300:
            raise refused(source, name, "a number of decibels under 300", checks.show(decibels))
        gains[i] = 10 ** (decibels / 20) if decibels > -90 else 0.0
    return around(source, layers, first, width, int(skip), gains)


def whole(source: str, place: str, value: Any, least: int = 1) -> int:
    """A size, or a number of channels."""
    if type(value) is not int or value < least:
        raise refused(source, place, f"a whole number from {least} up", checks.show(value))
    return value


def _size(source: str, place: str, shape: Any) -> int:
    """The last number of a shape, all that RTNeural looks at."""
    if not isinstance(shape, list) or not 1 <= len(shape) <= 3 or type(shape[-1]) is not int or shape[-1] < 1:
        raise refused(source, place, "a list of at most 3 that ends in a number from 1 up", checks.show(shape))
    return shape[-1]


def around(
    source: str, layers: Mapping[str, Layer], width: int, out: int, skip: int = 0, gains: Sequence[float] = (1, 1)
) -> Network:
    """Layers in a row, by name, from `width` features to `out`, and what stands around them.

    The first `skip` features of the input are added to the output; as in NumPy, one alone is added to each that comes
    out. Gains are factors of the first input, and of the output.
    """
    if not layers or (not skip and [*gains] == [1, 1]):
        return network_of(layers, source)
    if width > 2**20:  # of which a layer without weights tells nothing
        raise refused(source, "the features that come in", f"at most {2**20:,}", f"{width:,}")
    nodes: dict[str, Any] = dict(layers)
    first = "x"
    if gains[0] != 1:
        first, begin = "in_gain", next(iter(nodes))
        nodes = {first: (Scale(width, 0.0, [gains[0], *[1.0] * (width - 1)]), "x"), **nodes}
        nodes[begin] = (nodes[begin], first)
    if skip:
        last, taken = [*nodes][-1], min(skip, width)
        if taken not in (1, out):
            raise refused(source, "the inputs that are added to the output", f"1 or {out}", f"{taken}")
        if taken < width or taken < out:
            dtype = next((layer.dtype for layer in layers.values() if layer.dtype is not None), np.float32)
            W = np.eye(width, taken, dtype=dtype).repeat(out // taken, axis=1)
            nodes["skip"] = (dense(W), first)
        nodes["sum"] = (Add(), last, "skip" if "skip" in nodes else first)
    if gains[1] != 1:
        nodes["out_gain"] = Scale(out, 0.0, gains[1])
    return network_of(nodes, source)


@dataclass(frozen=True)
class Entry:
    """One layer of a file."""

    source: str
    place: str
    facts: Mapping[str, Any]
    width: int  # features that come in
    dtype: np.dtype[Any]

    def refused(self, what: str, must: str, got: str) -> FormatError:
        """The error of this layer, or of what is called so of it."""
        return refused(self.source, f"{what} of {self.place}" if what else self.place, must, got)

    def arrays(self, *counts: int) -> list[Array]:
        """Its weights, so many arrays: the most, or fewer where some may be left out."""
        given = self.facts.get("weights")
        if not isinstance(given, list) or len(given) not in counts:
            must = f"a list of {' or '.join(map(str, counts))} array{'s' * (counts != (1,))}"
            raise self.refused("the weights", must, checks.show(given))
        return [numbers(self.source, f"array {i} of {self.place}", a, self.dtype) for i, a in enumerate(given)]

    def matrix_and_bias(self, shape: tuple[float, ...], told: str) -> tuple[Array, Array]:
        """W, of this shape and then the features that come out, and b, 0 where it is not there."""
        W, *rest = self.arrays(2, 1)
        if W.ndim != len(shape) + 1 or W.shape[:-1] != shape or W.shape[-1] == 0:
            raise self.refused("the weights", f"of shape ({told}, output)", f"{W.shape}")
        b = rest[0] if rest else np.zeros(W.shape[-1:], W.dtype)
        if b.shape != W.shape[-1:]:
            raise self.refused("the bias", f"of shape {W.shape[-1:]}", f"{b.shape}")
        return W, b

    def last(self, name: str, *default: int) -> int:
        """A number, or the last one of a list, as RTNeural takes it."""
        value = self.facts.get(name, *default)
        value = value[-1] if isinstance(value, list) and value else value
        return whole(self.source, f"{name} of {self.place}", value)

    def activation(self, known: Sequence[str] = _ACTIVATIONS, more: str = "") -> str:
        """The activation after it, "" for none."""
        name = self.facts.get("activation", "")
        if name not in ("", *known):
            must = f"one of {', '.join(known)}" if len(known) > 1 else known[0]
            raise self.refused("the activation", must + more, checks.show(name))
        return str(name)

    def activated(self, layer: Layer) -> list[Layer]:
        """A layer with the activation after it, in it where it can be."""
        name = self.activation()
        if name in FUSED:
            return [layer.replace(activation=name)]
        return [layer, Activate(name)] if name else [layer]


def _read_recurrent(entry: Entry) -> list[Layer]:
    kind = entry.facts["type"]
    entry.activation(("tanh",), ", which RTNeural takes whatever is said")
    options = {"reset_after": True} if kind == "gru" else {}
    with named(f"{entry.source}: the weights of {entry.place}"):
        layer = from_arrays(kind, dict(zip(_NAMES, entry.arrays(3, 2), strict=False)), "keras", **options)
    if layer.input_size != entry.width:
        raise entry.refused("", f"made for {entry.width} features, as come in", f"{layer.input_size}")
    return [layer]


def _read_dense(entry: Entry) -> list[Layer]:
    return entry.activated(dense(*entry.matrix_and_bias((entry.width,), f"{entry.width}")))


def _read_convolution(entry: Entry) -> list[Layer]:
    width, dilation = entry.last("kernel_size"), entry.last("dilation")
    groups = whole(entry.source, f"groups of {entry.place}", entry.facts.get("groups", 1))
    W, b = entry.matrix_and_bias((width, entry.width / groups), f"{width}, {entry.width} in {groups} groups")
    if (width - 1) * dilation * entry.width > 2**26:  # its past is kept in a stream
        raise entry.refused("the dilation", f"so small that at most {2**26:,} numbers are kept", f"{dilation}")
    if any(entry.last(name, 1) != 1 for name in ("stride", "strides")):
        raise entry.refused("the stride", "1, as RTNeural goes step by step", checks.show(entry.facts))
    config = {"input_size": entry.width, "output_size": W.shape[2], "width": width, "dilation": dilation}
    config |= {"padding": "causal", "dtype": str(entry.dtype)}
    with named(f"{entry.source}: {entry.place}"):
        return entry.activated(Conv1d.from_parameters(config, {"W": grouped(W, entry.width), "b": b}))


def _read_batch_norm(entry: Entry) -> list[Layer]:
    *scaling, mean, variance = entry.arrays(4, 2)
    gain, bias = scaling or (np.ones(entry.width, entry.dtype), np.zeros(entry.width, entry.dtype))
    given = {"gain": gain, "bias": bias, "mean": mean, "variance": variance}
    if any(array.shape != (entry.width,) for array in given.values()):
        got = f"{[array.shape for array in given.values()]}"
        raise entry.refused("the weights", f"of shape ({entry.width},) each", got)
    config = {"size": entry.width, "momentum": 0.1, "epsilon": entry.facts.get("epsilon"), "dtype": str(entry.dtype)}
    with named(f"{entry.source}: {entry.place}"):
        return [BatchNorm.from_parameters(config, given)]


def _read_prelu(entry: Entry) -> list[Layer]:
    slopes = entry.arrays(1)[0].reshape(-1)
    if len(slopes) not in (1, entry.width) or not np.isfinite(slopes).all():
        raise entry.refused("the weights", f"1 or {entry.width} finite slopes", f"{len(slopes)}")
    return [prelu(slopes, entry.width)]


_READERS: dict[str, Callable[[Entry], list[Layer]]] = {
    **dict.fromkeys(("dense", "time-distributed-dense"), _read_dense),
    **dict.fromkeys(_RECURRENT, _read_recurrent),
    "batchnorm": _read_batch_norm,
    "conv1d": _read_convolution,
    "prelu": _read_prelu,
    "activation": lambda entry: [Activate(name) for name in [entry.activation()] if name],
}

_NOT_HERE = {
    "conv2d": ", a convolution over time and features",
    "batchnorm2d": ", batch normalization of two axes",
    "unknown": ", a layer that RTNeural's script did not know and RTNeural leaves out",
}


# To files.


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
        entries.append(
            {**_write_layer(f"layer {i}, {type(layer).__name__},", layer, width), "shape": [None, None, width]}
        )
    model: dict[str, Any] = {"in_shape": [None, None, sizes[0]], "layers": entries}
    if net.dtype == np.float64:
        model["dtype"] = "float64"
    replace(path, json.dumps(model, allow_nan=False).encode())


def _write_layer(place: str, layer: Layer, width: int) -> dict[str, Any]:
    def wrong(must: str, got: Any) -> FormatError:
        return FormatError(f"{place} must {must}. Got {got}.")

    arrays, more = [*layer.weights.values()], dict[str, Any]()
    config: Any = "tanh" if isinstance(layer, Recurrent) else layer.config.get("activation", "identity")
    if isinstance(layer, Recurrent):
        with named(f"{place} does not fit"):
            check_holds(layer, "RTNeural", ("activation", "reset_after"))
        kind = layer.cell.name
        if kind not in _RECURRENT:
            raise wrong("be an LSTM or a GRU for RTNeural, which has no other cell", checks.show(layer))
        if layer.bidirectional:
            raise wrong("run in one direction for RTNeural, which goes step by step", "both")
        if not layer.cell.options.get("reset_after", True):
            raise wrong("have reset_after=True for RTNeural, which has no other form", False)
        given = to_arrays(layer, "keras")
        arrays = [given[name] for name in _NAMES]
    elif isinstance(layer, Conv1d):
        if layer.stride != 1 or (layer.padding != "causal" and layer.width > 1):
            must = "have padding 'causal' and stride 1 for RTNeural, which goes step by step"
            raise wrong(must, f"{layer.padding!r} and {layer.stride}")
        kind, more = "conv1d", {"kernel_size": [layer.width], "dilation": [layer.dilation], "groups": 1}
    elif isinstance(layer, BatchNorm):
        kind, more = "batchnorm", {"epsilon": layer.epsilon}
    elif isinstance(layer, Activate) and isinstance(config, dict) and config.get("name") == "leaky_relu":
        kind, config, arrays = "prelu", "identity", [np.full((1, width), config["alpha"])]
    elif isinstance(layer, (Dense, Activate)):
        kind = "dense" if isinstance(layer, Dense) else "activation"
    else:
        raise wrong("be an LSTM, GRU, Dense, Conv1d, BatchNorm or Activate for RTNeural", checks.show(layer))
    if not all(np.isfinite(array).all() for array in arrays):
        raise wrong("have finite weights for RTNeural, as JSON has no others", "NaN or infinity")
    if config not in ("identity", *_ACTIVATIONS):
        raise wrong(f"have an activation of {', '.join(_ACTIVATIONS)} for RTNeural", checks.show(config))
    weights = [array.tolist() for array in arrays]
    return {"type": kind, "activation": "" if config == "identity" else config, **more, "weights": weights}
