"""Keras models as networks of this library."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from elman import checks
from elman.checks import FormatError
from elman.interop.keras.arrays import Groups, listed_arrays, own_arrays
from elman.interop.keras.config import Entry, Object, held_cells, inner, policy
from elman.interop.keras.files import ROOTS, Stored, archived_arrays, legacy_lists, read, read_description, read_weights
from elman.interop.keras.graph import Graph, read_graph
from elman.interop.keras.hdf5_tree import Tree
from elman.interop.keras.layers import check_known
from elman.interop.keras.nodes import Nodes
from elman.interop.keras.writer import describe_exactly
from elman.layers import Layer
from elman.network import Network


def from_keras(source: Any, *, like: Layer | str | os.PathLike[str] | None = None) -> Network:
    """A network from a model of Keras. Neither Keras nor TensorFlow is needed for files, only h5py.

    Parameters
    ----------
    source
        A file, by its path or its bytes: `.keras`, or a whole model in `.h5` or `.hdf5`, as Keras 2 and 3 write them;
        its first bytes tell. Or a live model of Keras.
    like
        For a file of weights alone (`.weights.h5` of Keras 3, `save_weights` of Keras 2): a network or a layer of the
        same shape, or the path of what the model's `to_json()` gave. The result is a copy of it with these weights.
        With it only the weights of a whole model are read.

    Returns
    -------
    net
        An `elman.Network`, float32 or float64 as the model; a list where it is a chain. Else nodes are called as the
        layers, and inputs and outputs as in the file: a dot becomes ``_``, ``_reverse`` at the end ``_reverse_``. Where
        Keras has one layer, the network may have several: an LSTM with return_sequences=False becomes ``name/LSTM`` and
        the `LastStep` called ``name``, one that goes backwards has a `Reverse`, a Dense with softmax an `Activate`,
        dropout of a recurrent layer is a `Dropout` in front of it, Average and Subtract have a `Scale`.

    Read are Sequential models and functional ones, nested ones too, of: SimpleRNN, LSTM, GRU, RNN of their cells,
    Bidirectional, Dense, TimeDistributed, Embedding, Masking, Conv1D, MaxPooling1D, AveragePooling1D,
    GlobalAveragePooling1D, GlobalMaxPooling1D, LayerNormalization, BatchNormalization, Normalization, Rescaling,
    RepeatVector, Flatten of a fixed number of steps (`LastSteps`), Add, Subtract, Multiply, Average, Concatenate,
    Attention, AdditiveAttention, Dropout, SpatialDropout1D, Activation, Softmax, ReLU, LeakyReLU, ELU. What acts in
    training alone and is not here (noise, regularizers, initializers) is left out.

    Inputs that are an initial_state, and states among the outputs, are the `state` of the network, not inputs and
    outputs; a layer that starts from the states of another is a node with `state=`. The state h of a layer may be read
    as a value, c may not.

    Masking, and Embedding with mask_zero, drop the masked steps; Keras carries the state past them. Final states, and
    outputs at every real step, are the same. Behind the real steps y is 0, where Keras repeats the last output; a
    `UserWarning` says so where a model gives an output for each step, as in Keras masked steps keep their places.
    A stateful layer is read as any other: here streams carry states, and calls take and return them.

    A file means what the Keras meant that wrote it: hard_sigmoid is 0.2 x + 0.5 in a file of Keras 2.

    Raises
    ------
    FormatError
        Naming file and layer, for what is damaged, and for what cannot be computed exactly: any other layer,
        activation or dtype, weights that two calls share. Nothing in a file is ever executed or imported.
    FileNotFoundError, MissingExtraError
        Where there is no file, or no h5py.

    Source: the files and the code of Keras 3.15, and of tf_keras 2.21 for Keras 2.

    >>> import elman, tempfile, numpy as np
    >>> from elman.interop.keras.reader import from_keras
    >>> from elman.interop.keras.writer import to_keras
    >>> net = elman.Network([elman.GRU(2, 3, seed=0), elman.LastStep(), elman.Dense(3, 1, seed=1)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_keras(net, folder + "/model.keras")
    ...     same = from_keras(folder + "/model.keras")
    >>> x = np.ones((4, 7, 2))
    >>> np.array_equal(net(x)[0], same(x)[0])
    True
    """
    is_file = isinstance(source, (str, os.PathLike, bytes, bytearray, memoryview))
    if like is not None and not is_file:
        raise TypeError(f"source must be a path or bytes, where `like` is given. Got {checks.describe(source)}.")
    if is_file:
        return _from_file(read(source)) if like is None else _from_weights(source, like)
    if all(hasattr(source, name) for name in ("to_json", "layers", "get_weights")):
        return _from_model(source)
    raise TypeError(f"source must be a path or a Keras model. Got {checks.describe(source)}.")


def _from_file(stored: Stored) -> Network:
    with _named(stored.source), Tree(stored.weights, stored.source) as tree:
        graph = _graph(stored.config, stored.source)
        listed = listed_arrays(graph.entries, legacy_lists(tree), tree.array) if stored.legacy else None
        return _network(graph, listed or archived_arrays(tree), stored.version, stored.source)


def _from_weights(source: Any, like: Any) -> Network:
    """Weights alone, for the layers of a network or of a description."""
    if isinstance(like, (str, os.PathLike, bytes)):
        described = read_description(like)
    elif isinstance(like, Layer):
        config, version = describe_exactly(like)
        described = Stored("like", config, version, b"", legacy=False)
    else:
        raise TypeError(f"like must be a network, or the path of a to_json() file. Got {checks.describe(like)}.")
    stored = read_weights(source)
    with _named(stored.source), Tree(stored.weights, stored.source) as tree:
        graph = _graph(described.config, described.source)
        arrays = archived_arrays(tree)
        if stored.legacy:
            # By their order, as Keras does it: names of layers differ from run to run.
            held = [names for names in legacy_lists(tree).values() if names]
            tops = list(dict.fromkeys(entry.top for entry in graph.entries if any(n for _, n in own_arrays(entry))))
            if len(held) != len(tops):
                must = f"it must hold weights of {len(tops)} layers, {', '.join(tops)}"
                raise FormatError(f"{must}. Got those of {len(held)}.")
            arrays = listed_arrays(graph.entries, dict(zip(tops, held, strict=True)), tree.array)
        net = _network(graph, arrays, described.version, stored.source)
        if rest := [] if stored.legacy else [path for root in ROOTS for path in tree.unread(root)]:
            raise FormatError(f"like must have each layer whose weights the file holds. Got none for {rest[0]!r}.")
        return net


def _from_model(model: Any) -> Network:
    name = f"the Keras model {getattr(model, 'name', '')!r}"
    with _named(name):
        try:
            config = json.loads(model.to_json())
        except TypeError as error:  # an object of the model cannot be written as JSON
            raise FormatError(f"it must be one that Keras can describe. Got an error: {error}.") from error
        version = config.get("keras_version") or "3"  # Keras 2 says which one it is
        lists = {layer.name: layer.get_weights() for layer in model.layers}
        graph = _graph(config, name)
        arrays = listed_arrays(graph.entries, lists, np.asarray)
        return _network(graph, arrays, int(version.split(".")[0]), name)


@contextlib.contextmanager
def _named(source: str, place: str = "") -> Iterator[None]:
    """Puts the file, and the layer, before the error of what it holds."""
    named = f"{source}: {place}: " if place else f"{source}: "
    try:
        yield
    except RecursionError as error:
        raise FormatError(f"{named}its description must not be nested so deep. Got {error}.") from None
    except ValueError as error:
        if isinstance(error, FormatError) and str(error).startswith(source):
            raise
        raise FormatError(f"{named}{error}") from error


def _graph(config: Any, source: str) -> Graph:
    """The calls of a model, all of whose layers have their like here."""
    graph = read_graph(config)
    for entry in graph.entries:
        with _named(source, entry.place):
            check_known(entry)
    return graph


def _network(graph: Graph, arrays: Callable[[Entry], Groups], version: int, source: str) -> Network:
    weights: dict[str, Groups] = {}
    for entry in graph.entries:
        with _named(source, entry.place):
            weights[entry.name] = arrays(entry)
    nodes = Nodes(graph, version, _common_dtype(graph.entries, weights, source))
    for call in graph.calls:
        with _named(source, call.entry.place):
            nodes.add(call, weights[call.entry.name])
    return nodes.network(source)


def _common_dtype(entries: list[Entry], weights: Mapping[str, Groups], source: str) -> str:
    """The one dtype of all layers; refuses a model that has two."""
    first: tuple[str, Entry] | None = None
    for entry in entries:
        if entry.kind == "InputLayer":
            continue
        with _named(source, entry.place):
            found = {*_policies(entry), *(str(a.dtype) for group in weights[entry.name] for a in group.values())}
            if len(found | {first[0]} if first else found) > 1:
                must = (
                    f"its dtype must be {first[0]}, as that of {first[1].place}" if first else "it must have one dtype"
                )
                raise FormatError(f"{must}. Got {' and '.join(sorted(found))}.")
        first = first or next(((name, entry) for name in found), None)
    return first[0] if first else "float32"


def _policies(layer: Object) -> Iterator[str]:
    """The dtypes that a layer and those inside it name."""
    name = policy(layer.config)
    if name is not None:
        yield name
    for key in ("layer", "backward_layer", "cell"):
        if layer.config.get(key) is not None:
            yield from _policies(inner(layer, key))
    for cell in held_cells(layer):
        yield from _policies(cell)
