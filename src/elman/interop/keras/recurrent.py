"""Recurrent layers of Keras, and Bidirectional, as layers of this library, and back.

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
from elman.cells.activations import Activation
from elman.cells.cell import REVERSE
from elman.checks import Array, FormatError
from elman.interop.arrays import from_arrays, to_arrays
from elman.interop.chain import check_holds, shared_activation
from elman.interop.keras.activations import APART, read_activation, write_inside
from elman.interop.keras.config import CELLS, Groups, Object, Site, object_config
from elman.layers import Bidirectional, Concatenate, Dropout, LastStep, Layer, MergeDirections, Recurrent, Reverse


def read_recurrent(layer: Object, arrays: Groups, at: Site) -> None:
    """SimpleRNN, LSTM, GRU, or RNN of their cells, one on top of the other."""
    held: list[tuple[int, Recurrent]] = []
    for (_, cell), weights in zip(layer.cells(), arrays, strict=True):
        made = _read_cell(cell, weights, at.version)
        turns = not held and layer.flag("go_backwards", False)
        held.append((at.add(*_dropout(cell), *([Reverse()] if turns else []), made), made))
    last = held[-1][0]
    if not layer.flag("return_sequences", False):
        at.add(LastStep())
        at.memory[0] = (last, 0)
    at.outputs[0] = at.last
    if layer.flag("return_state", False):
        _give_states(at, 1, held)


def read_bidirectional(layer: Object, arrays: Groups, at: Site) -> None:
    """Two layers over the same steps, one of them backwards, and what joins their outputs.

    They are one layer here, unless the outputs of each are asked for.
    """
    (_, forward), (_, backward) = layer.sides()
    cells = [cell for side in (forward, backward) for _, cell in side.cells()]
    if len(cells) != 2:
        raise FormatError(f"both layers of a Bidirectional must have one cell. Got {len(cells)} in all.")
    first, second = (_read_cell(cell, weights, at.version) for cell, weights in zip(cells, arrays, strict=True))
    turns, steps = (
        [each.flag(key, False) for each in (forward, backward)] for key in ("go_backwards", "return_sequences")
    )
    if backward is not forward and turns[0] == turns[1]:
        raise FormatError(f"both layers of a Bidirectional must go in two directions. Got go_backwards={turns[0]}.")
    if steps[0] != steps[1]:
        raise FormatError(f"both layers of a Bidirectional must have the same return_sequences. Got {steps}.")
    mode = layer.config.get("merge_mode", "concat")
    if mode not in ("concat", "sum", "mul", "ave", None):
        raise FormatError(f"merge_mode must be 'concat', 'sum', 'mul', 'ave' or None. Got {mode!r:.80}.")
    states, base, last = forward.flag("return_state", False), 1 if mode else 2, not steps[0]
    dropouts, turned = [_dropout(cell) for cell in cells], [Reverse()] if turns[0] else []
    same = _rate(cells[0], "dropout") == _rate(cells[1], "dropout")
    alike = first.config == second.config
    whole = alike or not last or first.output_size == second.output_size  # LastStep takes half of the features each
    if whole and mode is not None and same:
        both = {**first.parameters, **{name + REVERSE: array for name, array in second.parameters.items()}}
        joint = type(first).from_parameters({**first.config, "bidirectional": True}, both) if alike else None
        node = at.add(*dropouts[0], *turned, joint or Bidirectional(first, second))
        merge = [] if mode == "concat" else [MergeDirections(mode)]
        at.outputs[0] = at.add(*([LastStep(bidirectional=True)] if last else []), *merge)
        given: Layer = at.parts[node].layer  # type: ignore[assignment]
        for k, name in enumerate(given.states() if states else ()):
            at.memory[base + k] = node, k
            at.outputs[base + k] = at.state(node, name)
        return
    source, ends, held = at.add(*turned), [], []
    for cell, dropout, back in zip((first, second), dropouts, (False, True), strict=True):
        at.last = source
        held.append((at.add(*dropout, *([Reverse()] if back else []), cell), cell))
        ends.append(at.add(*([LastStep()] if last else [Reverse()] if back else [])))
    if mode is None:
        at.outputs |= {0: ends[0], 1: ends[1]}
    else:
        joined = at.add(Concatenate(), reads=tuple(ends))
        at.outputs[0] = joined if mode == "concat" else at.add(MergeDirections(mode))
    if states:
        _give_states(at, base, held)


def _give_states(at: Site, base: int, held: list[tuple[int, Recurrent]]) -> None:
    """The states that a layer gives after its outputs, from the output `base` on."""
    for node, cell in held:
        for k, name in enumerate(cell.states()):  # h is the last step, as formats have it that know no states
            at.memory[base + k] = node, k
            at.outputs[base + k] = at.state(node, name) if k else at.add(LastStep(), reads=(node,))
        base += len(cell.states())


def _read_cell(layer: Object, weights: Mapping[str, Array], version: int) -> Recurrent:
    """The recurrent layer of one cell."""
    cell, order, arguments = CELLS[layer.kind]
    options: dict[str, Any] = {"activations": {}}
    for key, gates in arguments.items():
        default = "tanh" if key == "activation" else "sigmoid" if version >= 3 else "hard_sigmoid"
        activation = read_activation(layer.config.get(key, default), version)
        if not isinstance(activation, Activation):
            raise FormatError(f"{key} must be one that a cell has, and not {', '.join(APART)}. Got {activation!r}.")
        options["activations"] |= dict.fromkeys(gates, activation)
    if cell == "rnn":
        options = {"activation": options["activations"]["h"]}
    if cell == "gru":
        # Old Kerases knew one form and did not write it down; the shape of the bias tells them apart.
        after = version >= 3 or np.ndim(weights.get("bias", 0)) == 2
        options["reset_after"] = layer.flag("reset_after", after)
    if cell != "rnn" and (plain := _from_cudnn(weights, len(order))) is not None:
        used = options["activations"].items()
        wrong = [f"{gate}: {f.name}" for gate, f in used if f != Activation("tanh" if gate in "gcn" else "sigmoid")]
        if wrong or not options.get("reset_after", True):
            must = "it must have sigmoid, tanh and reset_after, as its weights are those of a CuDNN layer"
            raise FormatError(f"{must}. Got {wrong[0] if wrong else 'reset_after=False'}.")
        weights = plain
    made = from_arrays(cell, weights, "keras", **options)
    if made.hidden_size != layer.config.get("units"):
        got = f"{layer.config.get('units')!r:.80}"
        raise FormatError(f"units must be {made.hidden_size}, as the weights say. Got {got}.")
    rate = _rate(layer, "recurrent_dropout")
    return made.replace(recurrent_dropout=rate) if rate else made


def _from_cudnn(weights: Mapping[str, Array], gates: int) -> dict[str, Array] | None:
    """The weights of CuDNNLSTM and CuDNNGRU as those of LSTM and GRU; None for what has no second bias in one row.

    The matrix of each gate stands transposed in the memory of what has its shape. Source: `_convert_rnn_weights` of
    `tf_keras/src/saving/legacy/hdf5_format.py`.
    """
    kernels = [weights[name] for name in ("kernel", "recurrent_kernel")]
    bias, units = weights.get("bias", np.empty(0)), max(kernels[1].shape[:1], default=0)
    if not units or bias.shape != (2 * gates * units,) or any(array.shape[1:] != (gates * units,) for array in kernels):
        return None
    turned = [np.hstack([part.reshape(units, -1).T for part in np.hsplit(array, gates)]) for array in kernels]
    both = bias.reshape(2, -1)
    return {"kernel": turned[0], "recurrent_kernel": turned[1], "bias": both if gates == 3 else both.sum(0)}


def _dropout(cell: Object) -> list[Layer]:
    rate = _rate(cell, "dropout")
    return [Dropout(rate, per_sequence=True)] if rate else []


def _rate(cell: Object, key: str) -> float:
    value = cell.config.get(key)
    return 0.0 if value is None else checks.number(key, value, 0)


def write_recurrent(
    layer: Any, mode: str, backwards: bool, options: Mapping[str, Any], version: int | None
) -> tuple[str, dict[str, Any], Groups]:
    """A layer of one direction or two, merged by `mode`: its class, its config and its weights.

    Weights are scaled where that makes an activation one that Keras has.
    """
    written, weights = [], []
    for part, turns in zip(layer.directions.values(), (backwards, not backwards), strict=False):
        check_holds(part, "Keras", ("activation", "activations", "reset_after"))
        config = {"units": part.hidden_size, "use_bias": True, "recurrent_dropout": part.recurrent_dropout}
        arrays = to_arrays(part, "keras")
        kind, order, arguments = next((kind, *row[1:]) for kind, row in CELLS.items() if row[0] == part.cell.name)
        for argument, gates in arguments.items():
            activation = shared_activation(part, gates, "Keras")
            config[argument], factor = write_inside(activation, part, version, scales="c" not in gates)
            if factor != 1:
                columns = np.repeat([factor if gate in gates else 1.0 for gate in order], part.hidden_size)
                arrays |= {name: array * columns.astype(array.dtype) for name, array in arrays.items()}
        config |= {name: value for name, value in part.cell.options.items() if name == "reset_after"}
        written.append((kind, {**config, **options, "go_backwards": turns}))
        weights.append(arrays)
    if not layer.bidirectional:
        return *written[0], weights
    sides = {
        key: object_config(kind, {"name": f"{side}_{kind.lower()}", "dtype": str(layer.dtype), **config})
        for (kind, config), key, side in zip(written, ("layer", "backward_layer"), ("forward", "backward"), strict=True)
    }
    return "Bidirectional", {"merge_mode": mode, **sides}, weights
