"""A state_dict of PyTorch, taken apart and made without PyTorch: which weights of a layer stand under which names.

The names end in those of a module's own tensors, "lstm.weight_ih_l0", and their shapes tell the rest: weight_hh has as
many blocks of rows as the cell has gates.
"""

from __future__ import annotations

import dataclasses
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array, FormatError
from elman.files import check_path, replace
from elman.interop.arrays import from_arrays, to_arrays
from elman.interop.chain import check_holds, grouped, nodes_of
from elman.interop.conventions import CONVENTIONS
from elman.interop.files import named, refused
from elman.layers import (
    RNN,
    Attention,
    BatchNorm,
    Bidirectional,
    Conv1d,
    Dense,
    Embedding,
    Layer,
    LayerNorm,
    Recurrent,
)
from elman.layers.nesting import every_layer
from elman.network import Network


@dataclass(frozen=True)
class Kind:
    """A module with weights that is not recurrent, and the layer that it becomes."""

    layer: type[Layer]
    tensors: Mapping[str, str]  # the weights of the layer -> those of the module
    sizes: tuple[str, ...] = ()  # options of the layer, the lengths of its first weight
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # others, where nothing tells them
    turned: bool = True  # the axes of a tensor are those of a weight from the last to the first

    def weights(self, arrays: Mapping[str, Array], features: int | None = None) -> dict[str, Array]:
        """The weights of the layer; a bias that is not there is 0, a gain 1.

        `features` are those that come in; more than the weights of a Conv1d have say that it is in groups.
        """
        some = next(iter(arrays.values()))
        found = {}
        for name, tensor in self.tensors.items():
            array = arrays[tensor] if tensor in arrays else np.full(len(some), name == "gain", some.dtype)
            array = array.T if self.turned else array
            found[name] = array[:, 0] if name == "v" and array.shape[1:] == (1,) else array
        if self.layer is Conv1d:
            found["W"] = grouped(found["W"], features or found["W"].shape[1])
        return found

    def made(self, arrays: Mapping[str, Array], **options: Any) -> Layer:
        """The layer with the weights of a module."""
        weights = self.weights(arrays, options.get("input_size"))
        first = next(iter(weights.values()))
        sizes = dict(zip(self.sizes, first.shape, strict=False))
        return self.layer.from_parameters({**sizes, **self.options, **options, "dtype": str(first.dtype)}, weights)

    def arrays(self, layer: Layer) -> dict[str, Array]:
        """The weights of a layer as those of its module."""
        found = {}
        for name, array in layer.weights.items():
            array = array[:, None] if name == "v" else array
            found[self.tensors[name]] = array.T if self.turned else array
        return found


_NORM = {"gain": "weight", "bias": "bias"}

KINDS = {
    "Linear": Kind(Dense, {"W": "weight", "b": "bias"}, ("input_size", "output_size"), {"activation": "identity"}),
    "Embedding": Kind(Embedding, {"W": "weight"}, ("count", "size"), turned=False),
    "LayerNorm": Kind(LayerNorm, _NORM, ("size",), {"epsilon": 1e-5}),
    "scale": Kind(LayerNorm, _NORM),
    "Conv1d": Kind(Conv1d, {"W": "weight", "b": "bias"}, ("width", "input_size", "output_size")),
    "BatchNorm": Kind(
        BatchNorm,
        {**_NORM, "mean": "running_mean", "variance": "running_var"},
        ("size",),
        {"momentum": 0.1, "epsilon": 1e-5},
    ),
    # Of three Linear; no module of PyTorch is one.
    "Attention": Kind(Attention, {"Wq": "query.weight", "b": "query.bias", "Wm": "memory.weight", "v": "score.weight"}),
}


def kind_of(layer: type[Layer]) -> Kind | None:
    """The row of a class of layers that have weights and are not recurrent."""
    return next((kind for kind in KINDS.values() if issubclass(layer, kind.layer)), None)


#: What a module can be, by the names and ranks of its arrays. A matrix alone is told by its place.
_READINGS: dict[tuple[tuple[str, int], ...], tuple[str, ...]] = {
    (("bias", 1), ("weight", 2)): ("Linear",),
    (("weight", 2),): ("Embedding", "Linear"),
    (("bias", 1), ("weight", 1)): ("LayerNorm",),
    (("weight", 1),): ("scale",),
    (("bias", 1), ("weight", 3)): ("Conv1d",),
    (("weight", 3),): ("Conv1d",),
    (("bias", 1), ("running_mean", 1), ("running_var", 1), ("weight", 1)): ("BatchNorm",),
    (("running_mean", 1), ("running_var", 1)): ("BatchNorm",),
}

#: What weights do not tell.
_UNTOLD = {
    "scale": "a vector alone, which a LayerNorm without bias, an RMSNorm and a PReLU have",
    "Conv1d": "those of a Conv1d, whose stride, padding and dilation are in no state_dict",
}

#: What else a module is, by one of its arrays.
_NOT_READ = {
    "in_proj_weight": "a MultiheadAttention has, which is not read",
    "q_proj_weight": "a MultiheadAttention has, which is not read",
    "running_mean": "no BatchNorm has",
}

_RECURRENT = re.compile(r"(weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)(?:_l(\d+)(?:_reverse)?)?")
_LEARNED = re.compile(r"[hc]0(_reverse)?")  # states before the first step, which `to_torch` keeps beside the weights
_CELLS = {1: "rnn", 3: "gru", 4: "lstm"}  # by the number of blocks of rows


@dataclass(frozen=True, eq=False)
class Module:
    """The weights of one module, under the names of its own state_dict."""

    name: str  # in the state_dict it comes of: "encoder.lstm"; "" for a module by itself
    kinds: tuple[str, ...]  # all that it can be: names of KINDS, or one of rnn, gru, lstm
    arrays: Mapping[str, Array]
    stack: tuple[Recurrent, ...] = ()  # the layers of a recurrent module, one after the other

    @property
    def readings(self) -> list[Module]:
        """The module as each of its kinds."""
        return [dataclasses.replace(self, kinds=(kind,)) for kind in self.kinds]

    @property
    def depth(self) -> int:
        """How many layers it becomes."""
        return len(self.stack) or 1

    @property
    def widths(self) -> tuple[int | None, int | None]:
        """Features that come in, None for tokens, and those that go out."""
        if self.stack:
            return self.stack[0].input_size, self.stack[-1].output_size
        given, taken, *_ = 2 * max((array.shape for array in self.arrays.values()), key=len)  # of a vector the same
        return (None, taken) if self.kinds[0] == "Embedding" else (taken, given)

    def __str__(self) -> str:
        each = [(module.kinds[0], *module.widths) for module in self.readings]
        return " or ".join(
            f"{self.name or 'it'} ({kind}, {taken or 'tokens'} to {given})" for kind, taken, given in each
        )

    def layers(self) -> list[Layer]:
        """The layers with these weights."""
        kind = self.kinds[0]
        with named(self.name):
            if kind in _UNTOLD:
                must = "weights must tell their module, and like= or the module itself must where they do not"
                raise FormatError(f"{must}. Got {_UNTOLD[kind]}.")
            return [*self.stack] or [KINDS[kind].made(self.arrays)]


def modules_of(weights: Mapping[str, Array]) -> tuple[list[Module], bool]:
    """The modules of a state_dict, and whether they stand in their own order.

    A state_dict lists all weights of a module together, its matrices first. Where that does not hold, or the names
    stand in the order of the alphabet, something else put them there, as safetensors does.
    """
    groups: dict[str, dict[str, Array]] = {}
    together, last = True, None
    for full, array in weights.items():
        prefix, _, name = full.rpartition(".")
        together = together and (prefix == last or (prefix not in groups and name.startswith("weight")))
        groups.setdefault(prefix, {})[name] = array
        last = prefix
    if not groups:
        raise FormatError("it must hold the weights of at least one module. Got none.")
    return [_read(*group) for group in groups.items()], together and list(weights) != sorted(weights)


def _read(name: str, arrays: dict[str, Array]) -> Module:
    if any(_RECURRENT.fullmatch(own) for own in arrays):
        return recurrent_module(name, arrays)
    kinds = _READINGS.get(tuple(sorted((own, array.ndim) for own, array in arrays.items())))
    if kinds is not None:
        return Module(name, kinds, arrays)
    got = ", ".join(f"{own} {array.shape}" for own, array in arrays.items())
    what = [what for own, what in _NOT_READ.items() if own in arrays]
    if "weight" in arrays and arrays["weight"].ndim > 3:
        what = ["a convolution over images has"]
    must = "the weights of an RNN, LSTM, GRU, Linear, Embedding (no bias), LayerNorm (both), Conv1d or BatchNorm"
    raise refused(name or "its names", "what stands there", must, got + (f", as {what[0]}" if what else ""))


def recurrent_module(name: str, arrays: Mapping[str, Array]) -> Module:
    """A module of the names of nn.LSTM and its kin, or of nn.LSTMCell and its kin, which count no layers."""
    where = name or "its names"
    found: dict[int, dict[str, Array]] = {}
    learned = {own: array for own, array in arrays.items() if _LEARNED.fullmatch(own)}
    for own, array in arrays.items():
        match = _RECURRENT.fullmatch(own)
        if match is None and own not in learned:
            raise refused(where, "each weight", "one of a recurrent module", own)
        if array.ndim == 0:
            raise refused(where, "its weights", "matrices and vectors", "a single number")
        if match:
            found.setdefault(int(match[2] or 0), {})[own if match[2] else own + "_l0"] = array
    if set(found) != set(range(len(found))) or (len(found) > 1 and learned):
        raise refused(where, "its layers", "counted from 0 without a gap", f"{sorted(found)}")
    for k, given in found.items():
        if not {f"weight_ih_l{k}", f"weight_hh_l{k}"} <= set(given):
            raise refused(where, "its weights", f"weight_ih_l{k}, weight_hh_l{k} ...", ", ".join(arrays))
    weight, projection = found[0]["weight_hh_l0"], found[0].get("weight_hr_l0")
    hidden = (weight if projection is None else projection).shape[-1]
    blocks = weight.shape[0] / hidden if hidden else 0
    if weight.ndim != 2 or found[0]["weight_ih_l0"].ndim != 2 or blocks not in _CELLS:
        place = f"weight_hh of {name}" if name else "weight_hh"
        raise refused(place, "its shape", "that of 1, 3 or 4 square blocks (rnn, gru, lstm)", f"{weight.shape}")
    kind, rule = _CELLS[int(blocks)], CONVENTIONS["pytorch"]
    options = {} if projection is None else {"projection": projection.shape[0]}
    with named(name):
        stack = [from_arrays(kind, found[k], rule.for_layer(k), **options) for k in range(len(found))]
        if learned:
            config, weights = {**stack[0].config, "learned_state": True}, {**stack[0].parameters, **learned}
            stack = [type(stack[0]).from_parameters(config, weights)]
            if not set(learned) <= set(stack[0].parameters):
                raise FormatError(f"learned states must be those of {stack[0].cell!r}. Got {', '.join(learned)}.")
    return Module(name, (kind,), arrays, tuple(stack))


# Layers to a state_dict.


def write_state_dict(net: Layer, path: str | os.PathLike[str]) -> None:
    """Writes the weights of a network or a layer as ``torch.save(to_torch(net).state_dict(), path)`` would.

    A path that ends in .safetensors becomes a safetensors file, and PyTorch is not needed; any other is written by
    PyTorch. The names are those of `state_dict`. A state_dict holds weights alone: the module they are for must be
    there when they are read, as ``elman.from_torch(path, like=net)``. The file is replaced whole or not at all.
    Raises `FormatError` for what PyTorch cannot hold; `MissingExtraError` where PyTorch is needed and not installed.
    """
    weights = state_dict(net)
    check_path("path", path)
    if os.fspath(path).lower().endswith(".safetensors"):
        from safetensors.numpy import save

        replace(path, save(weights, metadata={"format": "pt"}))
        return
    try:
        import torch
    except ImportError:
        raise checks.missing_extra(f"{os.fspath(path)!r}, a file that PyTorch writes,", "torch") from None
    content = io.BytesIO()
    torch.save({name: torch.from_numpy(array) for name, array in weights.items()}, content)
    replace(path, content.getvalue())


def state_dict(net: Layer) -> dict[str, Array]:
    """The weights of a network or a layer under PyTorch's names, "0.weight_ih_l0", in PyTorch's layout.

    >>> import elman
    >>> from elman.interop.pytorch.state import state_dict
    >>> net = elman.Network([elman.GRU(2, 3), elman.LastStep(), elman.Dense(3, 1, "tanh")])
    >>> {name: array.shape for name, array in state_dict(net).items()}
    {'0.weight_ih_l0': (9, 2), '0.weight_hh_l0': (9, 3), '0.bias_ih_l0': (9,), '0.bias_hh_l0': (9,),
     '2.0.weight': (1, 3), '2.0.bias': (1,)}
    """
    weights: dict[str, Array] = {}
    for place, layer in children_of(net)[0]:
        with named(f"layer {place}, {type(layer).__name__}"):
            weights |= {f"{place}.{name}": np.ascontiguousarray(array) for name, array in _arrays(layer).items()}
    return weights


def children_of(net: Layer) -> tuple[list[tuple[str, Layer]], bool]:
    """The layers, each by the name of its module, and whether all are in lists, where they count in a row."""
    _, nodes, _ = nodes_of(net, spelled=False)
    lists = all(part.graph.is_list for part in every_layer(net) if isinstance(part, Network))
    return [(str(i) if lists else node.place, node.layer) for i, node in enumerate(nodes)], lists


def _arrays(layer: Layer) -> dict[str, Array]:
    """The weights of a layer by the names of its module; none of an activation, a pool."""
    if isinstance(layer, Recurrent):
        check_holds(layer, "PyTorch", ("activation", "reset_after", "projection", "learned_state"))
        if isinstance(layer, RNN) and layer.config["activation"] not in ("tanh", "relu"):
            got = layer.config["activation"]
            raise FormatError(f"activation must be 'tanh' or 'relu' for PyTorch. Got {got!r}.")
        # No array of the convention holds a state.
        return {**to_arrays(layer.replace(learned_state=False), "pytorch"), **learned_states(layer)}
    if isinstance(layer, Bidirectional):
        both = {"first": layer.first, "second": layer.second}
        return {f"{part}.{name}": array for part, own in both.items() for name, array in _arrays(own).items()}
    kind = kind_of(type(layer))
    if kind is not None:
        # Beside an activation it is the first of an nn.Sequential.
        inside = "0." if isinstance(layer, Dense) and layer.activation.name != "identity" else ""
        return {inside + name: array for name, array in kind.arrays(layer).items()}
    if layer.parameters:
        raise FormatError(f"it must be a layer that PyTorch has. Got {checks.show(layer)}.")
    return {}


def learned_states(layer: Recurrent) -> dict[str, Array]:
    """The states before the first step, "h0", "c0_reverse", where they are learned."""
    return {name: array for name, array in layer.parameters.items() if name.split("_")[0] in ("h0", "c0")}
