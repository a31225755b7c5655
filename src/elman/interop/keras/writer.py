"""Networks of this library as Keras models: a chain as a Sequential one, any other graph as a functional one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from elman.checks import FormatError, show
from elman.files import path_text, replace
from elman.interop.chain import Fitted, as_layer, dtype_of, input_widths, nodes_of
from elman.interop.keras.archive import to_archive
from elman.interop.keras.arrays import Groups
from elman.interop.keras.config import object_config, snake_names
from elman.interop.keras.flow import Facts, flow
from elman.interop.keras.graph import read_graph
from elman.interop.keras.pieces import Piece, Pieces, vector_inputs
from elman.layers import Layer, Masking


def to_keras(net: Layer | Fitted, path: str | os.PathLike[str]) -> None:
    """Writes a network, or a layer, into a `.keras` file, which Keras 3 opens with the same numbers.

    ``keras.saving.load_model(path)`` gives a Sequential model for a chain, else a functional one, of any batch and any
    number of steps, in its safe mode too: nothing of it is code. Neither Keras nor TensorFlow is needed, only h5py. The
    same network gives the same bytes.

    Parameters
    ----------
    net
        An `elman.Network`, a layer or a fitted estimator, float32 or float64. Several layers become one where Keras has
        it so: `LastStep` right after a recurrent layer is return_sequences=False, `Reverse` right before it
        go_backwards, `MergeDirections` after it the merge_mode. What acts in training alone is kept. An input that no
        layer over time reads, nor joins with a sequence, is one vector per sequence.
    path
        A file whose name ends in `.keras`, as Keras asks for. It is replaced whole or not at all.

    Raises
    ------
    FormatError
        Naming the layer, for what Keras does not have: peepholes, clipping, projection, coupled gates, zoneout, a
        learned state, layer normalization inside of a cell; gates of an LSTM or GRU with more than two activations,
        one for its gates and one for the candidate (and c); an activation that Keras lacks, where no scaling of
        weights makes it one that it has, as it does for hard_sigmoid of other slopes; layers over time that Keras has
        only as part of a recurrent one, anywhere else; `MaxOverTime` or a convolution after `Masking`, as Keras's does
        not skip steps; `Masking` in a graph that branches; `Attention` with units; a vector beside each step of a
        sequence in a `Concatenate`; steps of 0 around a convolution by their number.
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
    model, weights = describe(net)
    replace(path, to_archive(model, weights))


def describe_exactly(net: Layer) -> tuple[dict[str, Any], int]:
    """A network as the description of a model with just these weights, and of which Keras its words are."""
    try:
        return describe(net, 3)[0], 3
    except FormatError:
        return describe(net, 2)[0], 2


def describe(net: Layer, version: int | None = None) -> tuple[dict[str, Any], dict[str, Groups]]:
    """A network as the description of a model, and the weights of each of its layers by name.

    With `version` in the words of that Keras; without it in those of 3, with weights that say what it has no words for.
    """
    network, nodes, outputs = nodes_of(net, spelled=False)
    dtype, chain = (
        str(dtype_of(network)),
        network.graph.is_chain and all(node.reads == (i,) and node.start is None for i, node in enumerate(nodes)),
    )
    vectors = set() if chain else vector_inputs(network, nodes)
    places = [f"layer {i}," if chain else f"node {node.place!r}," for i, node in enumerate(nodes)]
    pieces = Pieces(nodes, outputs, places, [j in vectors for j in range(len(network.inputs))], version)
    if not chain and any(isinstance(node.layer, Masking) for node in nodes):
        raise FormatError(
            "Masking must stand in a chain for Keras 3, which tells the weights of a graph by where its layers stand, "
            "and counts what makes the masks. Got it in a network that branches."
        )
    inputs = []
    widths = input_widths(network)
    for j, (name, _, tokens) in enumerate(network.takes):
        width = widths[j]
        if width is None and tokens is None and not chain:
            must = f"the number of features of the input {name!r} must be known to Keras"
            raise FormatError(f"{must}. Got one that joins others before a layer says it.")
        shape = [None] * (1 + (j not in vectors)) + ([] if tokens else [width])
        settings = {"batch_shape": shape, "dtype": "int32" if tokens else dtype, "sparse": False, "ragged": False}
        inputs.append(Piece("the input", "InputLayer", settings, [], name, (), gives=j))
    every = [*inputs, *pieces.made]
    names = snake_names(piece.kind for piece in every) if chain else _names(every)
    weights = {name: piece.weights for piece, name in zip(every, names, strict=True)}
    told = {piece.gives: name for piece, name in zip(every, names, strict=True)}
    layers = {name: object_config(piece.kind, {"name": name, "dtype": dtype, **piece.config})
              for piece, name in zip(every, names, strict=True)}  # fmt: skip
    model: dict[str, Any] = {"name": "model", "trainable": True, "dtype": dtype}
    if chain:
        model |= {"name": "sequential", "layers": list(layers.values())}
        described = {"module": "keras", "class_name": "Sequential", "config": model, "registered_name": None}
    else:
        refs: dict[int, list[Any]] = {
            value: [told[origin], 0, output] for value, (origin, output) in pieces.values.items()
        }
        parents: dict[str, list[str]] = {}
        for piece, name in zip(every, names, strict=True):
            read = [refs[value] for value in piece.reads]
            first: list[list[Any]] = (
                [[told[piece.starts], 0, 1 + k] for k in range(piece.states)] if piece.starts is not None else []
            )
            parents[name] = [ref[0] for ref in (*read, *first)]
            args = [_tensor(ref, dtype) for ref in read]
            kwargs = {"initial_state": [_tensor(ref, dtype) for ref in first]} if first else {}
            calls = [{"args": [args] if len(args) > 1 else args, "kwargs": kwargs}] if args else []
            layers[name] |= {"name": name, "inbound_nodes": calls}
        ends = [refs[value] for value in outputs]
        listed = [layers[name] for name in _in_order_of_keras(parents, [ref[0] for ref in ends])]
        model |= {"layers": listed, "input_layers": [[name, 0, 0] for name in names[: len(inputs)]]}
        model |= {"output_layers": ends if len(ends) > 1 or network.graph.named else ends[0]}
        model |= {"input_layers": model["input_layers"] if len(inputs) > 1 else model["input_layers"][0]}
        described = {"module": "keras.src.models.functional", "class_name": "Functional", "config": model}
        described["registered_name"] = "Functional"
    _check(described, dict(zip(names, every, strict=True)))
    return described, weights


def _tensor(ref: list[Any], dtype: str) -> dict[str, Any]:
    config = {"shape": [None, None, 1], "dtype": dtype, "keras_history": ref}
    return {"class_name": "__keras_tensor__", "config": config}


def _names(pieces: list[Piece]) -> list[str]:
    """Names that Keras takes, those of the nodes where they can be."""
    names: list[str] = []
    for piece in pieces:
        name = found = piece.name.replace("/", "_")
        count = 1
        while found in names:
            count += 1
            found = f"{name}_{count}"
        names.append(found)
    return names


def _in_order_of_keras(parents: Mapping[str, list[str]], ends: list[str]) -> list[str]:
    """The layers as Keras 3 lists them, which tells whose weights are whose among those of one class.

    Those farthest from the outputs come first, and among equals those it meets first from the outputs on. Source:
    `map_graph` of `keras/src/ops/function.py`.
    """
    met: dict[str, int] = {}
    done: dict[str, None] = {}
    stack = [(name, False) for name in reversed(ends)]
    while stack:
        name, entered = stack.pop()
        if entered:
            done[name] = None
        elif name not in met:
            met[name] = len(met)
            stack += [(name, True), *((parent, False) for parent in reversed(parents[name]))]
    depth = dict.fromkeys(parents, 0)
    for name in reversed(done):
        for parent in parents[name]:
            depth[parent] = max(depth[parent], depth[name] + 1)
    return sorted(done, key=lambda name: (-depth[name], met[name]))


def _check(model: dict[str, Any], pieces: Mapping[str, Piece]) -> None:
    """Refuses what Keras computes otherwise, as masks and shapes go through it."""
    facts: dict[Any, Facts] = {}
    for call in read_graph(model).calls:
        try:
            if call.reads:
                found = flow(call, [facts[ref] for ref in call.reads])
                facts |= {call.gives: found, call.gives._replace(output=1): Facts(2)}
            else:
                facts[call.gives] = Facts().start(call.entry.config)
        except FormatError as error:
            place = pieces[call.entry.name].place
            raise FormatError(f"{place} cannot be held by Keras. {call.entry.place}: {error}") from error
