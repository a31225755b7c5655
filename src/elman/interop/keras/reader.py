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
from elman.interop.chain import network_of
from elman.interop.keras.arrays import Groups, listed_arrays
from elman.interop.keras.config import Entry, Object, entries, inner, policy
from elman.interop.keras.files import Stored, archived_arrays, legacy_lists, read, read_weights
from elman.interop.keras.flow import Flow
from elman.interop.keras.hdf5_tree import Tree
from elman.interop.keras.layers import At, check_known, read_layer
from elman.interop.keras.writer import describe
from elman.layers import Layer, MergeDirections
from elman.network import Network


def from_keras(source: Any, *, like: Layer | None = None) -> Network:
    """A network from a model of Keras. Neither Keras nor TensorFlow is needed for files, only h5py.

    Parameters
    ----------
    source
        A file: `.keras`, or a whole model in `.h5` or `.hdf5`, as Keras 2 and 3 write them; its first bytes tell. Or
        a live model of Keras.
    like
        For a file of weights alone (`.weights.h5` of Keras 3): a network or a layer of the same shape. The result is a
        copy of it with these weights.

    Returns
    -------
    net
        An `elman.Network`, float32 or float64 as the model.

    Read are Sequential models and functional ones that are a chain, nested ones too, of: SimpleRNN, LSTM, GRU, RNN of
    their cells, Bidirectional, Dense, TimeDistributed, Embedding, Masking, LayerNormalization, Dropout,
    SpatialDropout1D, GlobalAveragePooling1D, GlobalMaxPooling1D, Activation, Softmax, ReLU, LeakyReLU, ELU. Where
    Keras has one layer, the network may have several: an LSTM with return_sequences=False becomes `LSTM` and
    `LastStep`, one that goes backwards `Reverse` and `LSTM`, a Dense with softmax `Dense` and `Activate`, dropout of a
    recurrent layer a `Dropout` in front of it. What acts in training alone and is not here (noise, regularizers,
    initializers) is left out.

    Masking, and Embedding with mask_zero, drop the masked steps; Keras carries the state past them. Final states, and
    outputs at every real step, are the same. Behind the real steps y is 0, where Keras repeats the last output.
    A stateful layer is read as any other: here streams carry states, and calls take and return them.

    A file means what the Keras meant that wrote it: hard_sigmoid is 0.2 x + 0.5 in a file of Keras 2.

    Raises
    ------
    FormatError
        Naming file and layer, for what is damaged, and for what cannot be computed exactly: any other layer,
        activation or dtype, several inputs or outputs, shared layers. Nothing in a file is ever executed or imported.
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
    if like is not None:
        return _from_weights(source, like)
    if isinstance(source, (str, os.PathLike)):
        return _from_file(read(source))
    if all(hasattr(source, name) for name in ("to_json", "layers", "get_weights")):
        return _from_model(source)
    raise TypeError(f"source must be a path or a Keras model. Got {checks.describe(source)}.")


def _from_file(stored: Stored) -> Network:
    with _named(stored.source), Tree(stored.weights, stored.source) as tree:
        chain = _chain(stored.config, stored.source)
        arrays = listed_arrays(chain, legacy_lists(tree)) if stored.legacy else archived_arrays(tree)
        return _network(chain, arrays, stored.version, stored.source)


def _from_weights(source: Any, like: Layer) -> Network:
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"source must be a path, where `like` is given. Got {checks.describe(source)}.")
    chain, _ = describe(like)
    stored = read_weights(source)
    with _named(stored.source), Tree(stored.weights, stored.source) as tree:
        return _network(chain, archived_arrays(tree), stored.version, stored.source)


def _from_model(model: Any) -> Network:
    name = f"the Keras model {getattr(model, 'name', '')!r}"
    with _named(name):
        try:
            config = json.loads(model.to_json())
        except TypeError as error:  # an object of the model cannot be written as JSON
            raise FormatError(f"it must be one that Keras can describe. Got an error: {error}.") from error
        version = config.get("keras_version") or "3"  # Keras 2 says which one it is
        lists = {layer.name: [np.asarray(array) for array in layer.get_weights()] for layer in model.layers}
        chain = _chain(config, name)
        return _network(chain, listed_arrays(chain, lists), int(version.split(".")[0]), name)


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


def _chain(config: Any, source: str) -> list[Entry]:
    """The layers of a model, all of which have their like here."""
    chain = entries(config)
    for entry in chain:
        with _named(source, entry.place):
            check_known(entry)
    return chain


def _network(chain: list[Entry], arrays: Callable[[Entry], Groups], version: int, source: str) -> Network:
    flow = Flow()
    layers: list[Layer] = []
    weights: dict[str, Groups] = {}
    for entry in chain:
        with _named(source, entry.place):
            weights[entry.name] = arrays(entry)
    dtype = _common_dtype(chain, weights, source)
    for entry in chain:
        with _named(source, entry.place):
            flow.start(entry.config)
            flow.take(entry)
            read = read_layer(entry, weights[entry.name], At(flow.axes, flow.features, version, dtype))
        for layer in read:
            halved = flow.features // 2 if flow.features and isinstance(layer, MergeDirections) else flow.features
            flow.features = layer.output_size or halved
        layers += read
    if not layers:
        raise FormatError("the model must have at least one layer that computes something. Got none.")
    return network_of(layers, source)


def _common_dtype(chain: list[Entry], weights: Mapping[str, Groups], source: str) -> str:
    """The one dtype of all layers; refuses a model that has two."""
    first: tuple[str, Entry] | None = None
    for entry in chain:
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
    for cell in layer.config.get("cells") or []:
        yield from _policies(Object.read(cell, "a cell"))
