"""Recurrent layers of Keras, and Bidirectional, as layers of this library.

return_sequences=False    [layer, LastStep()], or LastStep(bidirectional=True): what each direction computed last
go_backwards              [Reverse(), layer]: the steps come out in the order in which they were computed
merge_mode                MergeDirections
dropout                   Dropout(per_sequence=True) in front; one mask for both directions, and for all gates
recurrent_dropout         that of the layer
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array, FormatError
from elman.interop.arrays import from_arrays
from elman.interop.keras.activations import read_gate
from elman.interop.keras.arrays import CELLS, Groups, cells_of
from elman.interop.keras.config import Object, flag, inner
from elman.layers import Dropout, LastStep, Layer, MergeDirections, Recurrent, Reverse

#: What the two layers of a Bidirectional must agree in.
_SHARED = (
    "units", "activation", "recurrent_activation", "use_bias", "reset_after", "return_sequences", "return_state",
    "dropout", "recurrent_dropout", "time_major", "cell",
)  # fmt: skip


def read_recurrent(layer: Object, arrays: Groups, version: int) -> list[Layer]:
    """SimpleRNN, LSTM, GRU, or RNN of their cells, one on top of the other."""
    _check(layer.config)
    layers: list[Layer] = []
    for (kind, config, _), weights in zip(cells_of(layer), arrays, strict=True):
        layers += [*_dropout(config), _cell(kind, config, weights, version)]
    if flag(layer.config, "go_backwards", False):
        _turn(layers)
    if not flag(layer.config, "return_sequences", False):
        layers.append(LastStep())
    return layers


def read_bidirectional(layer: Object, arrays: Groups, version: int) -> list[Layer]:
    """Two layers over the same steps, one of them backwards, and what joins their outputs."""
    forward = inner(layer, "layer")
    _check(forward.config)
    _check_backward(layer, forward)
    cells = cells_of(forward) if forward.kind in (*CELLS, "RNN") else []
    if len(cells) != 1:
        raise FormatError(f"Bidirectional must hold {', '.join(CELLS)} or an RNN of one cell. Got {forward.kind!r}.")
    ((kind, config, _),) = cells
    weights = arrays[0] | {f"{name}_reverse": array for name, array in arrays[1].items()}
    made = _cell(kind, config, weights, version)
    layers: list[Layer] = [*_dropout(config), made]
    if flag(forward.config, "go_backwards", False):
        _turn(layers)
    if not flag(forward.config, "return_sequences", False):
        layers.append(LastStep(bidirectional=True))
    mode = layer.config.get("merge_mode", "concat")
    if mode not in ("concat", "sum", "mul", "ave"):
        raise FormatError(
            f"merge_mode must be 'concat', 'sum', 'mul' or 'ave', as a network has one output, unless a layer right "
            f"behind it merges both outputs. Got {mode!r:.80}."
        )
    return layers if mode == "concat" else [*layers, MergeDirections(mode)]


def _cell(kind: str, config: Mapping[str, Any], weights: Mapping[str, Array], version: int) -> Recurrent:
    outer = read_gate(config, "activation", "tanh", version)
    options: dict[str, Any] = {}
    if kind == "SimpleRNN":
        options["activation"] = outer
    else:
        inner_gates = read_gate(config, "recurrent_activation", "sigmoid" if version >= 3 else "hard_sigmoid", version)
        gates = {"LSTM": ("ifo", "gc"), "GRU": ("rz", "n")}[kind]
        options["activations"] = dict.fromkeys(gates[0], inner_gates) | dict.fromkeys(gates[1], outer)
    if kind == "GRU":
        # Old Kerases knew one form and did not write it down; the shape of the bias tells them apart.
        after = version >= 3 or np.ndim(weights.get("bias", 0)) == 2
        options["reset_after"] = flag(config, "reset_after", after)
    layer = from_arrays(CELLS[kind], weights, "keras", **options)
    if layer.hidden_size != config.get("units"):
        raise FormatError(f"units must be {layer.hidden_size}, as the weights say. Got {config.get('units')!r:.80}.")
    rate = _rate(config, "recurrent_dropout")
    return layer.replace(recurrent_dropout=rate) if rate else layer


def _turn(layers: list[Layer]) -> None:
    """Lets the first recurrent layer read backwards."""
    first = next(i for i, layer in enumerate(layers) if isinstance(layer, Recurrent))
    layers.insert(first, Reverse())


def _dropout(config: Mapping[str, Any]) -> list[Layer]:
    rate = _rate(config, "dropout")
    return [Dropout(rate, per_sequence=True)] if rate else []


def _rate(config: Mapping[str, Any], key: str) -> float:
    value = config.get(key)
    return 0.0 if value is None else checks.number(key, value, 0)


def _check(config: Mapping[str, Any]) -> None:
    if flag(config, "time_major", False):
        raise FormatError("time_major must be False: the first axis is the batch. Got True.")


def _check_backward(layer: Object, forward: Object) -> None:
    """Refuses a second layer that is not the first one in the other direction."""
    if layer.config.get("backward_layer") is None:  # Keras 2: then it is the first one, turned
        return
    backward = inner(layer, "backward_layer")
    for key in _SHARED:
        pair = (forward.config.get(key), backward.config.get(key))
        if _bare(pair[0]) != _bare(pair[1]):
            raise FormatError(f"both layers of a Bidirectional must have the same {key}. Got {pair!r:.200}.")
    turns = [flag(each.config, "go_backwards", False) for each in (forward, backward)]
    if forward.kind != backward.kind or turns[0] == turns[1]:
        raise FormatError(
            f"both layers of a Bidirectional must be of one class, and go in two directions. Got {forward.kind} and "
            f"{backward.kind}, go_backwards={turns[0]} and {turns[1]}."
        )


def _bare(value: Any) -> Any:
    """A value of a config without the names of the objects in it, which say nothing of what they compute."""
    if isinstance(value, dict):
        return {key: _bare(part) for key, part in value.items() if key not in ("name", "shared_object_id", "seed")}
    return [_bare(part) for part in value] if isinstance(value, list) else value
