"""Networks of this library as Keras models."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from elman.cells.activations import Activation
from elman.checks import FormatError, show
from elman.files import path_text, replace
from elman.interop.arrays import to_arrays
from elman.interop.chain import Fitted, as_layer, check_holds, dtype_of, layers_of, shared_activation
from elman.interop.keras.activations import layer_of, write_activation
from elman.interop.keras.archive import to_archive
from elman.interop.keras.arrays import Groups
from elman.interop.keras.config import Entry, Object, object_config, snake_names
from elman.interop.keras.flow import Flow, gives_vectors
from elman.layers import (
    Activate,
    Dense,
    Dropout,
    Embedding,
    LastStep,
    Layer,
    LayerNorm,
    MergeDirections,
    Recurrent,
    Reverse,
)


def to_keras(net: Layer | Fitted, path: str | os.PathLike[str]) -> None:
    """Writes a network, or a layer, into a `.keras` file, which Keras 3 opens with the same numbers.

    ``keras.saving.load_model(path)`` gives a Sequential model of any batch and any number of steps, in its safe mode
    too: nothing of it is code. Neither Keras nor TensorFlow is needed, only h5py. The same network gives the same
    bytes.

    Parameters
    ----------
    net
        An `elman.Network`, a layer, or a fitted estimator (its `to_network`), float32 or float64.
        Several layers become one where Keras has it so: `LastStep`
        right behind a recurrent layer is return_sequences=False, `Reverse` right before it go_backwards,
        `MergeDirections` behind it the merge_mode. What acts in training alone is kept.
    path
        A file whose name ends in `.keras`, as Keras asks for. It is replaced whole or not at all.

    Raises
    ------
    FormatError
        Naming the layer, for what Keras does not have: peepholes, clipping, projection, coupled gates, zoneout, a
        learned state, layer normalization inside of a cell; gates of an LSTM or GRU with more than two activations,
        one for its gates and one for the candidate (and c); an activation that Keras lacks, hard_sigmoid with the
        slope 0.2 of Keras 2 among them; layers over time that Keras has only as part of a recurrent one, anywhere
        else; `MaxOverTime` behind `Masking`, as Keras's does not skip steps.
    TypeError, ValueError
        For what is no network, and a name that does not end in `.keras`.

    Padding: with `Masking` the outputs of Keras keep the places of masked steps, see `elman.from_keras`.

    >>> import elman, tempfile
    >>> from elman.interop.keras.reader import from_keras
    >>> from elman.interop.keras.writer import to_keras
    >>> net = elman.Network([elman.LSTM(2, 3, bidirectional=True, seed=0), elman.Dense(6, 1, seed=1)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_keras(net, folder + "/model.keras")
    ...     same = from_keras(folder + "/model.keras")
    >>> same.config == net.config, bool((same.layers[0].Wx == net.layers[0].Wx).all())
    (True, True)
    """
    net = as_layer(net)
    if not path_text("path", path).endswith(".keras"):
        raise ValueError(f"path must end in .keras, as Keras tells files by their names. Got {show(os.fspath(path))}.")
    chain, weights = describe(net)
    replace(path, to_archive(chain, weights))


def describe(net: Layer) -> tuple[list[Entry], dict[str, Groups]]:
    """A network as the layers of a Sequential model, an InputLayer first, and the weights of each by its name."""
    layers = layers_of(net)
    dtype = str(dtype_of(net))
    pieces = [_input(layers, dtype), *_pieces(layers)]
    names = snake_names(piece.kind for piece in pieces)
    chain: list[Entry] = []
    flow = Flow()
    for piece, name in zip(pieces, names, strict=True):
        config = {"name": name, "dtype": dtype, **piece.config}
        entry = Entry(piece.kind, config, name, f"layers/{name}", name, feeds=chain[-1].name if chain else "")
        try:
            flow.start(entry.config)
            flow.take(entry)
        except FormatError as error:
            raise FormatError(f"{piece.place} cannot be held by Keras. {entry.place}: {error}") from error
        chain.append(entry)
    return chain, {name: piece.weights for piece, name in zip(pieces, names, strict=True)}


class _Piece(NamedTuple):
    """One layer of Keras."""

    place: str  # the layer here
    kind: str
    config: dict[str, Any]
    weights: Groups = []  # noqa: RUF012 - never changed


def _input(layers: list[Layer], dtype: str) -> _Piece:
    size = next((layer.input_size for layer in layers if layer.input_size is not None), None)
    tokens = layers[0].takes_tokens
    shape = [None, None] if tokens else [None, None, size]
    config = {"batch_shape": shape, "dtype": "int32" if tokens else dtype, "sparse": False, "ragged": False}
    return _Piece("the input", "InputLayer", config)


def _pieces(layers: list[Layer]) -> Iterator[_Piece]:
    rest, vectors = deque(enumerate(layers)), False
    while rest:
        i, layer = rest.popleft()
        place = f"layer {i}, {type(layer).__name__},"
        try:
            over_time = isinstance(layer, (Recurrent, Reverse))
            piece = _recurrent(place, layer, rest) if over_time else _simple(place, layer)
        except ValueError as error:
            raise FormatError(f"{place} cannot be written: {error}") from error
        if vectors and piece.kind == "SpatialDropout1D":
            piece = piece._replace(kind="Dropout")  # the same for vectors, which have one mask each
        vectors = vectors or gives_vectors(Object(piece.kind, piece.config))
        yield piece


# Recurrent layers, with what stands around them.

_KINDS = {"gru": "GRU", "lstm": "LSTM", "rnn": "SimpleRNN"}
#: The gates of which each argument is the activation.
_GATES = {
    "gru": {"recurrent_activation": "rz", "activation": "n"},
    "lstm": {"recurrent_activation": "ifo", "activation": "gc"},
    "rnn": {"activation": "h"},
}


def _recurrent(place: str, layer: Layer, rest: deque[tuple[int, Layer]]) -> _Piece:
    """A recurrent layer; takes from `rest` what becomes part of it."""
    backwards = isinstance(layer, Reverse)
    if backwards:
        if not rest or not isinstance(rest[0][1], Recurrent):
            raise FormatError("Reverse must stand right before a recurrent layer, of which it becomes go_backwards.")
        layer = rest.popleft()[1]
    assert isinstance(layer, Recurrent)
    check_holds(layer, "Keras", ("activation", "activations", "reset_after"))
    last = rest[0][1] if rest else None
    if isinstance(last, LastStep):
        rest.popleft()
        if last.bidirectional != layer.bidirectional:
            raise FormatError(
                f"LastStep must have bidirectional={layer.bidirectional} behind it: return_sequences=False is what "
                f"each direction computed last. Got {last.bidirectional}."
            )
    config = {**_cell(layer), "return_sequences": not isinstance(last, LastStep), "go_backwards": backwards}
    arrays = to_arrays(layer, "keras")
    kind = _KINDS[layer.cell.name]
    if not layer.bidirectional:
        return _Piece(place, kind, config, [arrays])
    merge = rest.popleft()[1] if rest and isinstance(rest[0][1], MergeDirections) else None
    sides = [
        object_config(
            kind, {"name": f"{side}_{kind.lower()}", "dtype": str(layer.dtype), **config, "go_backwards": turns}
        )
        for side, turns in (("forward", backwards), ("backward", not backwards))
    ]
    wrapper = {"merge_mode": getattr(merge, "mode", "concat"), "layer": sides[0], "backward_layer": sides[1]}
    forward = {name: array for name, array in arrays.items() if not name.endswith("_reverse")}
    backward = {name: arrays[f"{name}_reverse"] for name in forward}
    return _Piece(place, "Bidirectional", wrapper, [forward, backward])


def _cell(layer: Recurrent) -> dict[str, Any]:
    """The arguments of the cell."""
    config = {"units": layer.hidden_size, "use_bias": True, "recurrent_dropout": layer.recurrent_dropout}
    for argument, gates in _GATES[layer.cell.name].items():
        config[argument] = _written(shared_activation(layer, gates, "Keras"), layer)
    return config | {name: value for name, value in layer.cell.options.items() if name == "reset_after"}


def _written(activation: Activation, layer: Layer) -> Any:
    return write_activation(activation, "activation", str(layer.dtype))


# The others, one by one.


def _simple(place: str, layer: Layer) -> _Piece:
    write = _WRITERS.get(type(layer).__name__)
    if write is None:
        raise FormatError(_NO_LAYER.get(type(layer).__name__, "Keras has no layer like it."))
    kind, config, *arrays = write(layer)
    return _Piece(place, kind, config, [arrays[0]] if arrays else [])


def _dense(layer: Dense) -> tuple[Any, ...]:
    config = {"units": layer.output_size, "activation": _written(layer.activation, layer), "use_bias": True}
    return "Dense", config, {"kernel": layer.W, "bias": layer.b}


def _embedding(layer: Embedding) -> tuple[Any, ...]:
    config = {"input_dim": layer.count, "output_dim": layer.output_size, "mask_zero": False}
    return "Embedding", config, {"embeddings": layer.W}


def _layer_norm(layer: LayerNorm) -> tuple[Any, ...]:
    config = {"axis": -1, "epsilon": layer.epsilon, "center": True, "scale": True}
    return "LayerNormalization", config, {"gamma": layer.gain, "beta": layer.bias}


def _dropout(layer: Dropout) -> tuple[Any, ...]:
    return "SpatialDropout1D" if layer.per_sequence else "Dropout", {"rate": layer.rate}


def _activate(layer: Activate) -> tuple[Any, ...]:
    as_layer = layer_of(layer.activation) if isinstance(layer.activation, Activation) else None
    if as_layer and isinstance(write_activation(layer.activation, "", ""), dict):
        return as_layer
    return "Activation", {"activation": write_activation(layer.activation, "", "")}


_WRITERS: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "Activate": _activate,
    "Dense": _dense,
    "Dropout": _dropout,
    "Embedding": _embedding,
    "LayerNorm": _layer_norm,
    "Masking": lambda layer: ("Masking", {"mask_value": layer.value}),
    "MaxOverTime": lambda layer: ("GlobalMaxPooling1D", {}),
    "MeanOverTime": lambda layer: ("GlobalAveragePooling1D", {}),
}
_NO_LAYER = {
    "LastStep": "Keras has it only as part of a recurrent layer: LastStep must stand right behind one.",
    "MergeDirections": "Keras has it only as part of Bidirectional: MergeDirections must stand right behind a "
    "bidirectional layer, or its LastStep.",
}
