"""RTNeural's JSON, also as AIDA-X has it.

A file is ``{"in_shape": [null, null, I], "layers": [{"type": "lstm", "activation": "tanh", "shape": [null, null, H],
"weights": [...]}]}``. The weights are Keras's arrays in Keras's order, without names; RTNeural computes Keras's
equations with them, one step at a time: its GRU resets after the recurrent product, and its update gate keeps the old
state. The activation of a recurrent layer is not read by RTNeural, which always takes tanh and sigmoid.

Source, read for this: github.com/jatinchowdhury18/RTNeural, `RTNeural/model_loader.h` (parseJson), `gru/gru.h`,
`lstm/lstm.h`, `activation/activation.h`, and `python/model_utils.py` (save_model), which writes such files from Keras;
github.com/AidaDSP/aidadsp-lv2, `rt-neural-generic.cpp` (applyModel, loadModelFromPath).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman import checks
from elman.cells.activations import ACTIVATIONS as FUSED
from elman.checks import Array, FormatError
from elman.interop.arrays import from_arrays
from elman.interop.audio.around import around, whole
from elman.interop.chain import dense, grouped, network_of, prelu
from elman.interop.files import named, numbers, refused
from elman.layers import Activate, BatchNorm, Conv1d, Layer
from elman.network import Network

RECURRENT = ("gru", "lstm")
ACTIVATIONS = ("tanh", "relu", "sigmoid", "elu", "softmax")  # with alpha = 1, the only one of its loader
NAMES = ("kernel", "recurrent_kernel", "bias")  # of Keras, in the order of the file


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

    def last(self, name: str, *default: int) -> int:
        """A number, or the last one of a list, as RTNeural takes it."""
        value = self.facts.get(name, *default)
        value = value[-1] if isinstance(value, list) and value else value
        return whole(self.source, f"{name} of {self.place}", value)

    def activation(self, known: tuple[str, ...] = ACTIVATIONS) -> str:
        """The activation after it, "" for none."""
        name = self.facts.get("activation", "")
        if name not in ("", *known):
            more = "" if known is ACTIVATIONS else ", which RTNeural takes whatever is said"
            must = f"one of {', '.join(known)}" if known is ACTIVATIONS else f"{known[0]}{more}"
            raise self.refused("the activation", must, checks.show(name))
        return str(name)

    def activated(self, layer: Layer) -> list[Layer]:
        """A layer with the activation after it, in it where it can be."""
        name = self.activation()
        if name in FUSED:
            return [layer.replace(activation=name)]
        return [layer, Activate(name)] if name else [layer]


def read(source: str, model: Mapping[str, Any]) -> Network:
    """The network of a file of RTNeural."""
    return network_of(read_layers(source, model)[0], source)


def read_capture(source: str, model: Mapping[str, Any]) -> Network:
    """The network of a file of AIDA-X, with what stands around its layers."""
    skip, (layers, width, out) = model.get("in_skip", 0), read_layers(source, model)
    if isinstance(skip, bool) or skip not in (0, 1):
        raise refused(source, "in_skip", "0 or 1", checks.show(skip))
    gains = [_gain(source, name, model.get(name, 0)) for name in ("in_gain", "out_gain")]
    if not skip and gains == [1, 1]:
        return network_of(layers, source)
    return around(source, {str(i): layer for i, layer in enumerate(layers)}, width, out, int(skip), gains)


def read_layers(source: str, model: Mapping[str, Any]) -> tuple[list[Layer], int, int]:
    """The layers of a file, with how many features come in and go out."""
    dtype = model.get("dtype", "float32")
    if dtype not in ("float32", "float64"):
        raise refused(source, "dtype", "'float32' or 'float64'", checks.show(dtype))
    first = width = _size(source, "in_shape", model.get("in_shape"))
    layers: list[Layer] = []
    for i, facts in enumerate(model["layers"]):
        if not isinstance(facts, dict) or not isinstance(facts.get("type"), str):
            raise refused(source, f"layer {i}", "an object with a type", checks.show(facts))
        entry = Entry(source, f"layer {i} ({facts['type']})", facts, width, np.dtype(dtype))
        if facts["type"] not in _READERS:
            what = _NOT_HERE.get(facts["type"])
            raise entry.refused(
                "", f"one of {', '.join(_READERS)}", repr(facts["type"]) + (f", {what}" if what else "")
            )
        made = _READERS[facts["type"]](entry)
        width = _size(source, f"the shape of {entry.place}", facts.get("shape"))
        got = [layer.output_size for layer in made if layer.output_size is not None]
        if got and got[-1] != width:
            raise entry.refused("the shape", f"[..., {got[-1]}], as its weights say", f"{width}")
        layers += made
    return layers, first, width


def _size(source: str, place: str, shape: Any) -> int:
    """The last number of a shape, all that RTNeural looks at."""
    if not isinstance(shape, list) or not 1 <= len(shape) <= 3 or type(shape[-1]) is not int or shape[-1] < 1:
        raise refused(source, place, "a list of at most 3 that ends in a number from 1 up", checks.show(shape))
    return shape[-1]


def _gain(source: str, place: str, decibels: Any) -> float:
    """A gain of AIDA-X as a factor; from -90 decibels down it is 0."""
    if isinstance(decibels, bool) or not isinstance(decibels, (int, float)) or not decibels < 300:
        raise refused(source, place, "a number of decibels under 300", checks.show(decibels))
    return 10 ** (decibels / 20) if decibels > -90 else 0.0


def _read_recurrent(entry: Entry) -> list[Layer]:
    kind = entry.facts["type"]
    entry.activation(("tanh",))
    options = {"reset_after": True} if kind == "gru" else {}
    with named(f"{entry.source}: the weights of {entry.place}"):
        layer = from_arrays(kind, dict(zip(NAMES, entry.arrays(3, 2), strict=False)), "keras", **options)
    if layer.input_size != entry.width:
        raise entry.refused("", f"made for {entry.width} features, as come in", f"{layer.input_size}")
    return [layer]


def _read_dense(entry: Entry) -> list[Layer]:
    W, *rest = entry.arrays(2, 1)
    if W.ndim != 2 or W.shape[0] != entry.width or W.shape[1] == 0:
        raise entry.refused("the weights", f"of shape ({entry.width}, output)", f"{W.shape}")
    if rest and rest[0].shape != W.shape[1:]:
        raise entry.refused("the bias", f"of shape {W.shape[1:]}", f"{rest[0].shape}")
    return entry.activated(dense(W, rest[0] if rest else None))


def _read_convolution(entry: Entry) -> list[Layer]:
    W, *rest = entry.arrays(2, 1)
    width, dilation = (entry.last(name) for name in ("kernel_size", "dilation"))
    groups = whole(entry.source, f"groups of {entry.place}", entry.facts.get("groups", 1))
    if W.ndim != 3 or W.shape[0] != width or W.shape[1] * groups != entry.width or W.shape[2] % groups:
        must = f"of shape ({width}, {entry.width} in {groups} groups, output)"
        raise entry.refused("the weights", must, f"{W.shape}")
    if not W.shape[2] or (rest and rest[0].shape != W.shape[2:]):
        raise entry.refused("the bias", f"of shape {W.shape[2:]}", f"{[part.shape for part in rest]}")
    if (width - 1) * dilation * entry.width > 2**26:  # its past is kept in a stream
        raise entry.refused("the dilation", f"so small that at most {2**26:,} numbers are kept", f"{dilation}")
    if any(entry.last(name, 1) != 1 for name in ("stride", "strides")):
        raise entry.refused("the stride", "1, as RTNeural goes step by step", checks.show(entry.facts))
    config = {"input_size": entry.width, "output_size": W.shape[2], "width": width, "dilation": dilation}
    config |= {"padding": "causal", "dtype": str(entry.dtype)}
    b = rest[0] if rest else np.zeros(W.shape[2:], W.dtype)
    with named(f"{entry.source}: {entry.place}"):
        return entry.activated(Conv1d.from_parameters(config, {"W": grouped(W, entry.width), "b": b}))


def _read_batch_norm(entry: Entry) -> list[Layer]:
    arrays, epsilon = entry.arrays(4, 2), entry.facts.get("epsilon")
    if any(array.shape != (entry.width,) for array in arrays):
        raise entry.refused("the weights", f"of shape ({entry.width},) each", f"{[array.shape for array in arrays]}")
    gain, bias = arrays[:-2] or (np.ones(entry.width, entry.dtype), np.zeros(entry.width, entry.dtype))
    config = {"size": entry.width, "momentum": 0.1, "epsilon": epsilon, "dtype": str(entry.dtype)}
    given = {"gain": gain, "bias": bias, "mean": arrays[-2], "variance": arrays[-1]}
    with named(f"{entry.source}: {entry.place}"):
        return [BatchNorm.from_parameters(config, given)]


def _read_prelu(entry: Entry) -> list[Layer]:
    slopes = entry.arrays(1)[0].reshape(-1)
    if len(slopes) not in (1, entry.width) or not np.isfinite(slopes).all():
        raise entry.refused("the weights", f"1 or {entry.width} finite slopes", f"{len(slopes)}")
    return [prelu(slopes, entry.width)]


_READERS: dict[str, Callable[[Entry], list[Layer]]] = {
    **dict.fromkeys(("dense", "time-distributed-dense"), _read_dense),
    **dict.fromkeys(RECURRENT, _read_recurrent),
    "batchnorm": _read_batch_norm,
    "conv1d": _read_convolution,
    "prelu": _read_prelu,
    "activation": lambda entry: [Activate(name) for name in [entry.activation()] if name],
}

_NOT_HERE = {
    "conv2d": "a convolution over time and features",
    "batchnorm2d": "batch normalization of two axes",
    "unknown": "a layer that RTNeural's script did not know and RTNeural leaves out",
}
