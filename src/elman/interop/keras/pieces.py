"""Layers of this library, one or several that belong together, each as a layer of Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from elman.cells.activations import Activation
from elman.checks import FormatError
from elman.interop.arrays import to_arrays
from elman.interop.chain import check_holds, row_of, sequence_inputs, shared_activation
from elman.interop.keras.activations import layer_of, write_activation
from elman.interop.keras.arrays import Groups
from elman.interop.keras.config import object_config
from elman.layers import (
    Activate,
    Add,
    Attention,
    AveragePool1d,
    BatchNorm,
    Bidirectional,
    Concatenate,
    Conv1d,
    Dense,
    Dropout,
    Embedding,
    Joining,
    LastStep,
    Layer,
    LayerNorm,
    Masking,
    MaxOverTime,
    MaxPool1d,
    MeanOverTime,
    MergeDirections,
    Multiply,
    Recurrent,
    Repeat,
    Reverse,
    Scale,
)
from elman.layers.nesting import Flat
from elman.network import Network


def vector_inputs(net: Network, nodes: list[Flat]) -> set[int]:
    """The inputs of a graph that are vectors: no layer over time reads them, and no sequence joins them."""
    found = set(range(len(net.inputs))) - {net.inputs.index(name) for name in sequence_inputs(net)}
    found -= {j for j, (_, _, tokens) in enumerate(net.takes) if tokens is not None}
    while True:
        # Of each value the inputs that it has its steps from, as far as they may be vectors; None where it has steps.
        origins: list[set[int] | None] = [{j} if j in found else None for j in range(len(net.inputs))]
        for node in nodes:
            read = [origins[j] for j in node.reads]
            if isinstance(node.layer, Joining) and None in read and any(read):
                found -= set().union(*(one or () for one in read))
                break
            steps = None if None in read else set().union(*(one or () for one in read))
            origins.append(set() if node.layer.pools else None if isinstance(node.layer, Repeat) else steps)
        else:
            return found


class Piece(NamedTuple):
    """One layer of Keras."""

    place: str  # the layer here
    kind: str
    config: dict[str, Any]
    weights: Groups
    name: str  # of the node that gives what it gives
    reads: tuple[int, ...]  # values, see `elman.layers.nesting.Flat`
    gives: int
    starts: int | None = None  # what gives the states that it starts from
    states: int = 0  # how many


class Pieces:
    """The layers of Keras that make up a network, in order."""

    def __init__(
        self, nodes: list[Flat], outputs: list[int], places: list[str], vectors: list[bool], version: int | None
    ) -> None:
        self.made: list[Piece] = []
        #: Of each value what gives it, and as which output.
        self.values: dict[int, tuple[int, int]] = {j: (j, 0) for j in range(len(vectors))}
        self._nodes, self._first, self._outputs, self._version = nodes, len(vectors), outputs, version
        self._places = [f"{place} {type(node.layer).__name__}," for place, node in zip(places, nodes, strict=True)]
        self._vectors = dict(enumerate(vectors))  # whether a value has no steps
        self._readers: dict[int, list[int]] = {}
        for i, node in enumerate(nodes):
            for j in node.reads:
                self._readers.setdefault(j, []).append(i)
        self._taken: set[int] = set()  # nodes that are part of another
        for i, node in enumerate(nodes):
            if i in self._taken:
                continue
            over_time = isinstance(node.layer, (Recurrent, Bidirectional, Reverse))
            try:
                (self._over_time if over_time else self._simple)(i, node)
            except ValueError as error:
                raise FormatError(f"{self._places[i]} cannot be written: {error}") from error

    def _add(self, i: int, end: int, kind: str, config: dict[str, Any], weights: Groups, **more: Any) -> None:
        """A piece from node `i` to the node `end`."""
        gives = self._first + end
        reads = more.pop("reads", self._nodes[i].reads)
        self.made.append(Piece(self._places[i], kind, config, weights, self._nodes[end].place, reads, gives, **more))
        self.values[gives] = (gives, 0)

    def _only_reader(self, i: int) -> int | None:
        """The only node that reads what a node gives."""
        value = self._first + i
        readers = self._readers.get(value, [])
        return readers[0] if len(readers) == 1 and value not in self._outputs else None

    # Recurrent layers, with what stands around them.

    def _over_time(self, i: int, node: Flat) -> None:
        backwards = isinstance(node.layer, Reverse)
        if backwards:
            after = self._only_reader(i)
            if after is None or not isinstance(self._nodes[after].layer, (Recurrent, Bidirectional)):
                raise FormatError(
                    "Reverse must stand right before a recurrent layer, of which it becomes go_backwards."
                )
            self._taken.add(after)
            self._recurrent(i, after, True)
        else:
            self._recurrent(i, i, False)

    def _recurrent(self, begin: int, i: int, backwards: bool) -> None:
        layer: Any = self._nodes[i].layer
        end, last = i, self._only_reader(i)
        is_last = last is not None and isinstance(self._nodes[last].layer, LastStep)
        if is_last and last is not None:
            self._check_last(layer, self._nodes[last].layer)
            self._taken.add(last)
            end = last
        mode = _MODES[layer.merge] if isinstance(layer, Bidirectional) else "concat"
        merge = self._only_reader(end) if layer.bidirectional and mode == "concat" else None
        merging = None if merge is None else self._nodes[merge].layer
        if merge is not None and isinstance(merging, MergeDirections):
            self._taken.add(merge)
            end, mode = merge, merging.mode
        states = layer.directions
        asked = any(other.start == i for other in self._nodes)
        lasts = [k for k in self._readers.get(self._first + i, []) if isinstance(self._nodes[k].layer, LastStep)]
        if lasts and not is_last:  # beside other readers: it is the state h
            if layer.bidirectional or self._nodes[lasts[0]].layer.bidirectional:
                raise FormatError("LastStep must be all that reads a bidirectional layer. Got other readers too.")
            asked = True
            self._taken |= {*lasts}
            self.values |= {self._first + k: (self._first + end, 1) for k in lasts}
            self._vectors |= {self._first + k: True for k in lasts}
        more = {"return_sequences": not is_last, **({"return_state": True} if asked else {})}
        sides, weights = [], []
        for part in states.values():
            check_holds(part, "Keras", ("activation", "activations", "reset_after"))
            arrays = to_arrays(part, "keras")
            sides.append((_KINDS[part.cell.name], {**_cell(part, arrays, self._version), **more}))
            weights.append(arrays)
        kind, config = sides[0][0], {**sides[0][1], "go_backwards": backwards}
        if layer.bidirectional:
            kind, config = "Bidirectional", {"merge_mode": mode, **{
                key: object_config(of, {"name": f"{side}_{of.lower()}", "dtype": str(layer.dtype), **settings,
                                        "go_backwards": turns})
                for (of, settings), key, side, turns in zip(
                    sides, ("layer", "backward_layer"), ("forward", "backward"), (backwards, not backwards), strict=True
                )
            }}  # fmt: skip
        start = self._nodes[i].start
        begins = {} if start is None else {"starts": self._ends(start), "states": len(layer.first_state(1))}
        self._add(begin, end, kind, config, weights, **begins)
        self.values[self._first + i] = (self._first + end, 0)
        self._vectors[self._first + end] = is_last
        for k in lasts:  # an output of the model that is a state would be read as no more than that
            if not is_last and self._first + k in self._outputs:
                self.values[-1 - len(self.made)] = self.values[self._first + k]
                self._add(k, k, "Activation", {"activation": "linear"}, [], reads=(-1 - len(self.made),))

    def _ends(self, i: int) -> int:
        """What gives the states of a node that has been written."""
        return self.values[self._first + i][0]

    def _check_last(self, layer: Any, last: Any) -> None:
        both = last.bidirectional
        widths = {part.output_size for part in layer.directions.values()}
        if both != layer.bidirectional or len(widths) > 1 or getattr(layer, "merge", "concat") != "concat":
            raise FormatError(
                f"LastStep must have bidirectional={layer.bidirectional} after it, and both directions as many "
                f"features, side by side: return_sequences=False is what each direction computed last. Got {both}."
            )

    # The others, one by one.

    def _simple(self, i: int, node: Flat) -> None:
        layer, value = node.layer, self._first + i
        write = row_of(_WRITERS, layer)
        if write is None:
            raise FormatError(_NO_LAYER.get(type(layer).__name__, "Keras has no layer like it."))
        kind, config, *arrays = write(layer, self._version)
        vectors = [self._vectors[j] for j in node.reads]
        if kind == "SpatialDropout1D" and vectors[0]:
            kind = "Dropout"  # the same for vectors, which have one mask each
        if kind == "Concatenate" and len(set(vectors)) > 1:
            raise FormatError("it must read sequences alone, or vectors: Keras sets no vector beside each step.")
        self._vectors[value] = not isinstance(layer, Repeat) and (layer.pools or all(vectors))
        if kind == "hard_sigmoid":  # of another slope, as a layer by itself
            self._add(i, i, "Rescaling", config, [])
            inside = -1 - len(self.made)
            self.made[-1] = self.made[-1]._replace(gives=inside, name=f"{node.place}_scaled")
            self.values[inside] = (inside, 0)
            self._add(i, i, "Activation", {"activation": "hard_sigmoid"}, [], reads=(inside,))
            return
        self._add(i, i, kind, config, [arrays[0]] if arrays else [])


_KINDS = {"gru": "GRU", "lstm": "LSTM", "rnn": "SimpleRNN"}
_MODES = {"concat": "concat", "sum": "sum", "mean": "ave", "multiply": "mul"}
#: The gates of which each argument is the activation, and all gates in the order of Keras.
_GATES = {
    "gru": ("zrn", {"recurrent_activation": "rz", "activation": "n"}),
    "lstm": ("ifgo", {"recurrent_activation": "ifo", "activation": "gc"}),
    "rnn": ("h", {"activation": "h"}),
}


def _cell(layer: Recurrent, arrays: dict[str, Any], version: int | None) -> dict[str, Any]:
    """The arguments of the cell; its arrays are scaled where that makes an activation one that Keras has."""
    config = {"units": layer.hidden_size, "use_bias": True, "recurrent_dropout": layer.recurrent_dropout}
    order, shared = _GATES[layer.cell.name]
    for argument, gates in shared.items():
        activation = shared_activation(layer, gates, "Keras")
        factor = _slope(activation, version) if "c" not in gates else None
        if factor is not None:
            activation = Activation("hard_sigmoid", alpha=1 / 6)
            columns = np.repeat([factor if gate in gates else 1.0 for gate in order], layer.hidden_size)
            arrays |= {name: array * columns.astype(array.dtype) for name, array in arrays.items()}
        config[argument] = _written(activation, layer, version)
    return config | {name: value for name, value in layer.cell.options.items() if name == "reset_after"}


def _slope(activation: Any, version: int | None) -> float | None:
    """By what x must be scaled for the hard_sigmoid of Keras 3 to be a steeper or flatter one; None for others."""
    if version is not None or not isinstance(activation, Activation) or activation.name != "hard_sigmoid":
        return None
    alpha, beta = activation.slopes
    return 6 * alpha if beta == 0.5 and alpha not in (1 / 6, 0.5) and alpha > 0 else None  # 0.5: sparse_sigmoid


def _written(activation: Activation, layer: Layer, version: int | None) -> Any:
    return write_activation(activation, "activation", str(layer.dtype), version or 3)


def _product(layer: Any, version: int | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The activation and the arrays of a layer that multiplies."""
    factor = _slope(layer.activation, version)
    activation = layer.activation if factor is None else Activation("hard_sigmoid", alpha=1 / 6)
    kernel, bias = (array if factor is None else array * array.dtype.type(factor) for array in (layer.W, layer.b))
    return {"activation": _written(activation, layer, version), "use_bias": True}, {"kernel": kernel, "bias": bias}


def _dense(layer: Dense, version: int | None) -> tuple[Any, ...]:
    config, arrays = _product(layer, version)
    return "Dense", {"units": layer.output_size, **config}, arrays


def _convolution(layer: Conv1d, version: int | None) -> tuple[Any, ...]:
    config, arrays = _product(layer, version)
    sizes = {"kernel_size": [layer.width], "strides": [layer.stride], "dilation_rate": [layer.dilation]}
    padding = _padding(layer, ("same", "valid", "causal"))
    return "Conv1D", {"filters": layer.output_size, **sizes, "padding": padding, **config}, arrays


def _padding(layer: Any, known: tuple[str, ...]) -> str:
    if layer.padding not in known:
        raise FormatError(f"padding must be {' or '.join(map(repr, known))} for Keras. Got {layer.padding!r}.")
    return str(layer.padding)


def _window(layer: Any, version: int | None) -> tuple[Any, ...]:
    kind = {"AveragePool1d": "AveragePooling1D", "MaxPool1d": "MaxPooling1D"}[type(layer).__name__]
    padding = _padding(layer, ("same", "valid"))
    return kind, {"pool_size": [layer.width], "strides": [layer.stride or layer.width], "padding": padding}


def _embedding(layer: Embedding, version: int | None) -> tuple[Any, ...]:
    config = {"input_dim": layer.count, "output_dim": layer.output_size, "mask_zero": False}
    return "Embedding", config, {"embeddings": layer.W}


def _layer_norm(layer: LayerNorm, version: int | None) -> tuple[Any, ...]:
    config = {"axis": -1, "epsilon": layer.epsilon, "center": True, "scale": True}
    return "LayerNormalization", config, {"gamma": layer.gain, "beta": layer.bias}


def _batch_norm(layer: BatchNorm, version: int | None) -> tuple[Any, ...]:
    config = {"axis": -1, "momentum": round(1 - layer.momentum, 12), "epsilon": layer.epsilon}
    statistics = {"moving_mean": layer.buffers["mean"], "moving_variance": layer.buffers["variance"]}
    return "BatchNormalization", config, {"gamma": layer.gain, "beta": layer.bias, **statistics}


def _dropout(layer: Dropout, version: int | None) -> tuple[Any, ...]:
    return "SpatialDropout1D" if layer.per_sequence else "Dropout", {"rate": layer.rate}


def _scale(layer: Scale, version: int | None) -> tuple[Any, ...]:
    """Normalization takes the mean away first, which keeps all digits; it has no factor that turns signs."""
    shift, factor = np.broadcast_arrays(layer.shift, layer.factor, np.empty(layer.size))[:2]
    if (factor > 0).all() and (factor < 1e7).all() and np.any(shift):
        return "Normalization", {"axis": -1, "mean": shift.tolist(), "variance": (1 / factor**2).tolist()}
    return "Rescaling", {"scale": factor.tolist(), "offset": (-shift * factor).tolist()}


def _activate(layer: Activate, version: int | None) -> tuple[Any, ...]:
    factor = _slope(layer.activation, version)
    if factor is not None:
        return "hard_sigmoid", {"scale": factor, "offset": 0.0}
    written = write_activation(layer.activation, "", "", version or 3)
    as_layer = layer_of(layer.activation) if isinstance(layer.activation, Activation) else None
    return as_layer if as_layer and isinstance(written, dict) else ("Activation", {"activation": written})


def _attention(layer: Attention, version: int | None) -> tuple[Any, ...]:
    if layer.units is not None:
        raise FormatError(f"units must be left out for Keras, which compares the values themselves. Got {layer.units}.")
    if layer.kind == "additive":
        return "AdditiveAttention", {"use_scale": True}, {"scale": layer.parameters["v"]}
    if layer.scaled is False:
        return "Attention", {"use_scale": False, "score_mode": "dot"}
    scale = np.asarray(layer.memory_size**-0.5, layer.dtype or np.float32)
    return "Attention", {"use_scale": True, "score_mode": "dot"}, {"scale": scale}


_WRITERS: dict[type[Layer], Callable[[Any, int | None], tuple[Any, ...]]] = {
    Activate: _activate,
    Add: lambda layer, version: ("Add", {}),
    Attention: _attention,
    AveragePool1d: _window,
    BatchNorm: _batch_norm,
    Concatenate: lambda layer, version: ("Concatenate", {"axis": -1}),
    Conv1d: _convolution,
    Dense: _dense,
    Dropout: _dropout,
    Embedding: _embedding,
    LayerNorm: _layer_norm,
    Masking: lambda layer, version: ("Masking", {"mask_value": layer.value}),
    MaxOverTime: lambda layer, version: ("GlobalMaxPooling1D", {}),
    MaxPool1d: _window,
    MeanOverTime: lambda layer, version: ("GlobalAveragePooling1D", {}),
    Multiply: lambda layer, version: ("Multiply", {}),
    Repeat: lambda layer, version: ("RepeatVector", {"n": layer.count}),
    Scale: _scale,
}
_NO_LAYER = {
    "LastStep": "Keras has it only as part of a recurrent layer: LastStep must stand right after one.",
    "LastSteps": "Keras has it only as Flatten, where the model says its number of steps: those written here take any.",
    "MergeDirections": "Keras has it only as part of Bidirectional: MergeDirections must stand right after a "
    "bidirectional layer, or its LastStep.",
}
