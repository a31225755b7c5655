"""Recurrent layers of Keras, and Bidirectional, as layers of this library.

return_sequences=False    [layer, LastStep()], or LastStep(bidirectional=True): what each direction computed last
go_backwards              [Reverse(), layer]: the steps come out in the order in which they were computed
merge_mode                MergeDirections
dropout                   Dropout(per_sequence=True) in front; one mask for both directions, and for all gates
recurrent_dropout         that of the layer
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from elman import checks
from elman.cells.cell import REVERSE
from elman.checks import Array, FormatError
from elman.interop.arrays import from_arrays
from elman.interop.keras.activations import read_gate
from elman.interop.keras.arrays import CELLS, Groups, cells_of
from elman.interop.keras.config import Object, flag, inner
from elman.interop.keras.parts import At, Parts
from elman.layers import Bidirectional, Concatenate, Dropout, LastStep, Layer, MergeDirections, Recurrent, Reverse


def read_recurrent(layer: Object, arrays: Groups, at: At) -> Parts:
    """SimpleRNN, LSTM, GRU, or RNN of their cells, one on top of the other."""
    _check(layer.config)
    parts, held = Parts(1), list[tuple[int, Recurrent]]()
    for (kind, config, _), weights in zip(cells_of(layer), arrays, strict=True):
        cell = _cell(kind, config, weights, at.version)
        turns = not held and flag(layer.config, "go_backwards", False)
        parts.add(*_dropout(config), *([Reverse()] if turns else []))
        held.append((parts.add(cell), cell))
    last = held[-1][0]
    if not flag(layer.config, "return_sequences", False):
        last = parts.add(LastStep())
        parts.memory[0] = (held[-1][0], 0)
    parts.outputs[0] = last
    if flag(layer.config, "return_state", False):
        _states(parts, 1, held, at.used)
    return parts


def read_bidirectional(layer: Object, arrays: Groups, at: At) -> Parts:
    """Two layers over the same steps, one of them backwards, and what joins their outputs.

    They are one layer here, unless the outputs of each are asked for.
    """
    forward = inner(layer, "layer")
    backward = inner(layer, "backward_layer") if layer.config.get("backward_layer") is not None else forward
    cells = []
    for side, weights in zip((forward, backward), arrays, strict=True):
        _check(side.config)
        found = cells_of(side) if side.kind in (*CELLS, "RNN") else []
        if len(found) != 1:
            raise FormatError(f"Bidirectional must hold {', '.join(CELLS)} or an RNN of one cell. Got {side.kind!r}.")
        kind, config, _ = found[0]
        cells.append((kind, config, _cell(kind, config, weights, at.version)))
    turns = [flag(each.config, "go_backwards", False) for each in (forward, backward)]
    if backward is not forward and turns[0] == turns[1]:
        raise FormatError(f"both layers of a Bidirectional must go in two directions. Got go_backwards={turns[0]}.")
    steps = [flag(each.config, "return_sequences", False) for each in (forward, backward)]
    if steps[0] != steps[1]:
        raise FormatError(f"both layers of a Bidirectional must have the same return_sequences. Got {steps}.")
    mode = layer.config.get("merge_mode", "concat")
    if mode not in ("concat", "sum", "mul", "ave", None):
        raise FormatError(f"merge_mode must be 'concat', 'sum', 'mul', 'ave' or None. Got {mode!r:.80}.")
    states, base, last = flag(forward.config, "return_state", False), 1 if mode else 2, not steps[0]
    (first, second), dropouts = [cell for _, _, cell in cells], [_dropout(config) for _, config, _ in cells]
    same = _rate(cells[0][1], "dropout") == _rate(cells[1][1], "dropout")
    alike = first.config == second.config
    whole = alike or not last or first.output_size == second.output_size  # LastStep takes half of the features each
    parts, turned = Parts(1), [Reverse()] if turns[0] else []
    if whole and mode is not None and max(at.used) < base and same:
        both = {**first.parameters, **{name + REVERSE: array for name, array in second.parameters.items()}}
        joint = type(first).from_parameters({**first.config, "bidirectional": True}, both) if alike else None
        node = parts.add(*dropouts[0], *turned, joint or Bidirectional(first, second))
        merge = [] if mode == "concat" else [MergeDirections(mode)]
        parts.outputs[0] = parts.add(*([LastStep(bidirectional=True)] if last else []), *merge)
        count = len(first.states()) + len(second.states()) if states else 0
        parts.memory |= {base + k: (node, k) for k in range(count)}
        return parts
    source, ends, held = parts.add(*turned), [], []
    for cell, dropout, back in zip((first, second), dropouts, (False, True), strict=True):
        parts.last = source
        held.append((parts.add(*dropout, *([Reverse()] if back else []), cell), cell))
        ends.append(parts.add(*([LastStep()] if last else [Reverse()] if back else [])))
    if mode is None:
        parts.outputs |= {0: ends[0], 1: ends[1]}
    else:
        joined = parts.add(Concatenate(), reads=tuple(ends))
        parts.outputs[0] = joined if mode == "concat" else parts.add(MergeDirections(mode))
    if states:
        _states(parts, base, held, at.used)
    return parts


def _states(parts: Parts, base: int, held: list[tuple[int, Recurrent]], used: Collection[int]) -> None:
    """The states that a layer gives after its outputs, from the output `base` on."""
    for node, cell in held:
        for k, name in enumerate(cell.states()):
            if base in used and k:
                raise FormatError(
                    f"the state {name} must go to where another layer starts, or out of the model: it is no value of "
                    f"a network. Got it as an input of a layer."
                )
            if base in used:
                parts.outputs[base] = parts.add(LastStep(), reads=(node,))
            parts.memory[base] = (node, k)
            base += 1


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


def _dropout(config: Mapping[str, Any]) -> list[Layer]:
    rate = _rate(config, "dropout")
    return [Dropout(rate, per_sequence=True)] if rate else []


def _rate(config: Mapping[str, Any], key: str) -> float:
    value = config.get(key)
    return 0.0 if value is None else checks.number(key, value, 0)


def _check(config: Mapping[str, Any]) -> None:
    if flag(config, "time_major", False):
        raise FormatError("time_major must be False: the first axis is the batch. Got True.")
