"""A state_dict of PyTorch, taken apart: which modules its names and shapes tell of, and each as layers of elman.

The names of a state_dict end in those of a module's own parameters, "lstm.weight_ih_l0", and their shapes tell the
rest: weight_hh has as many blocks of rows as the cell has gates. PyTorch itself is not needed here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.checks import Array, FormatError
from elman.interop.arrays import from_arrays
from elman.interop.chain import dense, grouped
from elman.interop.conventions import CONVENTIONS
from elman.interop.files import named, refused
from elman.layers import Attention, BatchNorm, Dropout, Embedding, Layer, LayerNorm, Recurrent

_RECURRENT = re.compile(r"(weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)(?:_l(\d+)(?:_reverse)?)?")
_LEARNED = re.compile(r"[hc]0(_reverse)?")  # states before the first step, which `to_torch` keeps beside the weights
_CELLS = {1: "rnn", 3: "gru", 4: "lstm"}  # by the number of blocks of rows

#: A vector alone: of a LayerNorm without bias, of an RMSNorm, of a PReLU. Only a network to be like tells which.
SCALE = "scale"

#: What a module can be, by the names and ranks of its arrays. A matrix alone is told by its place.
_KINDS: dict[tuple[tuple[str, int], ...], tuple[str, ...]] = {
    (("bias", 1), ("weight", 2)): ("Linear",),
    (("weight", 2),): ("Embedding", "Linear"),
    (("bias", 1), ("weight", 1)): ("LayerNorm",),
    (("weight", 1),): (SCALE,),
    (("bias", 1), ("weight", 3)): ("Conv1d",),
    (("weight", 3),): ("Conv1d",),
    (("bias", 1), ("running_mean", 1), ("running_var", 1), ("weight", 1)): ("BatchNorm",),
    (("running_mean", 1), ("running_var", 1)): ("BatchNorm",),
}

#: What weights do not tell.
_UNTOLD = {
    SCALE: "a vector alone, which a LayerNorm without bias, an RMSNorm and a PReLU have",
    "Conv1d": "those of a Conv1d, whose stride, padding and dilation are in no state_dict",
}

#: What else a module is, by one of its arrays.
_NOT_READ = (
    ("in_proj_weight", "a MultiheadAttention has, which is not read"),
    ("q_proj_weight", "a MultiheadAttention has, which is not read"),
    ("running_mean", "no BatchNorm has"),
)


@dataclass(frozen=True)
class Module:
    """The weights of one module, under the names of its own state_dict."""

    name: str  # in the state_dict it comes of: "encoder.lstm"; "" for a module by itself
    kind: str  # rnn, gru, lstm, Linear, Embedding, LayerNorm, scale, Conv1d, BatchNorm
    arrays: Mapping[str, Array]
    depth: int = 1  # layers one after the other

    @property
    def widths(self) -> tuple[int | None, int]:
        """Features that come in, None for tokens, and those that go out."""
        if self.kind in _CELLS.values():
            last = f"_l{self.depth - 1}"
            hidden = self.arrays.get("weight_hr" + last, self.arrays["weight_hh" + last].T).shape[0]
            directions = 1 + (f"weight_hh{last}_reverse" in self.arrays)
            return self.arrays["weight_ih_l0"].shape[1], hidden * directions
        if self.kind == "BatchNorm":
            return (len(self.arrays["running_mean"]),) * 2
        weight = self.arrays["weight"]
        rows, columns = weight.shape[0], weight.shape[min(1, weight.ndim - 1)]
        known = {"Linear": (columns, rows), "Conv1d": (columns, rows), "Embedding": (None, columns)}
        return known.get(self.kind, (columns, columns))

    def __str__(self) -> str:
        taken, given = self.widths
        return f"{self.name or 'it'} ({self.kind}, {taken or 'tokens'} to {given})"

    def layers(self, activation: str = "tanh", dropout: float = 0.0, epsilon: float = 1e-5) -> list[Layer]:
        """The layers with these weights; the arguments are what no weight tells."""
        with named(self.name):
            return self._stack(activation, dropout) if self.kind in _CELLS.values() else [self._pointwise(epsilon)]

    def _stack(self, activation: str, dropout: float) -> list[Layer]:
        options: dict[str, Any] = {"activation": activation} if self.kind == "rnn" else {}
        if "weight_hr_l0" in self.arrays:
            options["projection"] = self.arrays["weight_hr_l0"].shape[0]
        layers: list[Layer] = []
        for k in range(self.depth):
            if k and dropout:
                layers.append(Dropout(dropout))
            layers.append(self.recurrent(k, options))
        return layers

    def _pointwise(self, epsilon: float) -> Layer:
        if self.kind in _UNTOLD:
            must = "weights must tell their module, and like= or the module itself must where they do not"
            raise FormatError(f"{must}. Got {_UNTOLD[self.kind]}.")
        parameters = self.parameters()
        if self.kind == "Linear":
            return dense(**parameters)
        dtype = str(next(iter(self.arrays.values())).dtype)
        if self.kind == "Embedding":
            count, size = parameters["W"].shape
            return Embedding.from_parameters({"count": count, "size": size, "dtype": dtype}, parameters)
        config = {"size": len(parameters["gain"]), "epsilon": epsilon, "dtype": dtype}
        if self.kind == "LayerNorm":
            return LayerNorm.from_parameters(config, parameters)
        return BatchNorm.from_parameters({**config, "momentum": 0.1}, parameters)

    def parameters(self, features: int | None = None) -> dict[str, Array]:
        """The arrays of a module that is not recurrent as the parameters of its layer; a bias left out is 0.

        `features` are those that come in; more than the weights of a Conv1d have say that it is in groups.
        """
        if self.kind == "BatchNorm":
            mean = self.arrays["running_mean"]
            gain, bias = self.arrays.get("weight", np.ones_like(mean)), self.arrays.get("bias", np.zeros_like(mean))
            return {"gain": gain, "bias": bias, "mean": mean, "variance": self.arrays["running_var"]}
        weight = self.arrays["weight"]
        if self.kind == "Embedding":
            return {"W": weight}
        bias = self.arrays.get("bias", np.zeros(weight.shape[:1], weight.dtype))
        if self.kind == "Conv1d":
            return {"W": grouped(weight.transpose(2, 1, 0), features or weight.shape[1]), "b": bias}
        return {"W": weight.T, "b": bias} if self.kind == "Linear" else {"gain": weight, "bias": bias}

    def recurrent(self, k: int, options: Mapping[str, Any]) -> Recurrent:
        """Layer `k` of a recurrent module, as a layer of elman with these options of the cell."""
        own = {name: array for name, array in self.arrays.items() if re.search(rf"_l{k}(_reverse)?$", name)}
        layer = from_arrays(self.kind, own, CONVENTIONS["pytorch"].for_layer(k), **options)
        learned = {name: array for name, array in self.arrays.items() if _LEARNED.fullmatch(name)}
        if not learned:
            return layer
        config = {**layer.config, "learned_state": True}
        made = type(layer).from_parameters(config, {**layer.parameters, **learned})
        if not set(learned) <= set(made.parameters):
            raise FormatError(f"learned states must be those of {layer.cell!r}. Got {', '.join(learned)}.")
        return made


#: The parameters of an attention, and the weights of a query, a memory and a score, each a Linear.
ATTENTION = {"Wq": "query.weight", "b": "query.bias", "Wm": "memory.weight", "v": "score.weight"}


def own_parameters(kind: type[Layer], arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The parameters of a layer from the weights of the module that `to_torch` makes of it."""
    if kind is not Attention:
        return Module("", kind.__name__, arrays).parameters() if arrays else {}
    given = {name: arrays[its] for name, its in ATTENTION.items() if its in arrays}
    return {name: array[0] if name == "v" else array.T for name, array in given.items()}


def modules_of(weights: Mapping[str, Array]) -> tuple[list[tuple[Module, ...]], bool]:
    """The modules of a state_dict, each with all that it can be, and whether their order is that of the modules.

    A state_dict lists all weights of a module together, its matrices first. Where that does not hold, or the names
    stand in the order of the alphabet, something else put them there, as safetensors does.
    """
    groups: dict[str, dict[str, Array]] = {}
    together = True
    last = None
    for full, array in weights.items():
        prefix, _, name = full.rpartition(".")
        together = together and (prefix == last or (prefix not in groups and name.startswith("weight")))
        groups.setdefault(prefix, {})[name] = array
        last = prefix
    if not groups:
        raise FormatError("it must hold the weights of at least one module. Got none.")
    told = together and list(weights) != sorted(weights)
    return [_read(prefix, arrays) for prefix, arrays in groups.items()], told


def _read(name: str, arrays: dict[str, Array]) -> tuple[Module, ...]:
    """All that a module can be."""
    if any(_RECURRENT.fullmatch(own) for own in arrays):
        return (recurrent_module(name, arrays),)
    key = tuple(sorted((own, array.ndim) for own, array in arrays.items()))
    if key not in _KINDS:
        got = ", ".join(f"{own} {array.shape}" for own, array in arrays.items())
        images = "weight" in arrays and arrays["weight"].ndim > 3
        what = ["a convolution over images has"] if images else [w for n, w in _NOT_READ if n in arrays]
        got += f", as {what[0]}" if what else ""
        raise refused(
            name or "its names",
            "what stands there",
            "the weights of an RNN, LSTM, GRU, Linear, Embedding (no bias), LayerNorm (both), Conv1d or BatchNorm",
            got,
        )
    return tuple(Module(name, kind, arrays) for kind in _KINDS[key])


def recurrent_module(name: str, arrays: dict[str, Array]) -> Module:
    """A module of the names of nn.LSTM and its kin, or of nn.LSTMCell and its kin, which count no layers."""
    full, found = {}, set()
    for own, array in arrays.items():
        match = _RECURRENT.fullmatch(own)
        if match is None and not _LEARNED.fullmatch(own):
            raise refused(name or "its names", "each weight", "one of a recurrent module", own)
        full[own + "_l0" if match and match[2] is None else own] = array
        if match:
            found.add(int(match[2] or 0))
    depth = len(found)
    if found != set(range(depth)) or (depth > 1 and any(map(_LEARNED.fullmatch, arrays))):
        raise refused(name or "its names", "its layers", "counted from 0 without a gap", f"{sorted(found)}")
    for array in full.values():
        if array.ndim == 0:
            raise refused(name or "its names", "its weights", "matrices and vectors", "a single number")
    for k in range(depth):
        if not {f"weight_ih_l{k}", f"weight_hh_l{k}"} <= set(full):
            raise refused(name or "its names", "its weights", f"weight_ih_l{k}, weight_hh_l{k} ...", ", ".join(arrays))
    return Module(name, _cell(name, full), full, depth)


def _cell(name: str, arrays: Mapping[str, Array]) -> str:
    """The cell, by the blocks of rows of its recurrent weights."""
    weight = arrays["weight_hh_l0"]
    hidden = arrays["weight_hr_l0"].shape[-1] if "weight_hr_l0" in arrays else weight.shape[-1]
    blocks = weight.shape[0] / hidden if hidden else 0
    if weight.ndim != 2 or arrays["weight_ih_l0"].ndim != 2 or blocks not in _CELLS:
        raise refused(
            f"weight_hh of {name}" if name else "weight_hh",
            "its shape",
            "that of 1, 3 or 4 square blocks (rnn, gru, lstm)",
            f"{weight.shape}",
        )
    return _CELLS[int(blocks)]
