"""Networks of this library as Keras models: a chain as a Sequential one, any other graph as a functional one."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from elman.checks import FormatError, show
from elman.files import path_text, replace
from elman.interop.chain import Fitted, as_layer, dtype_of, input_widths, nodes_of, row_of, sequence_inputs
from elman.interop.keras.config import Entry, Facts, Groups, object_config, snake_names
from elman.interop.keras.files import to_archive
from elman.interop.keras.flow import flow
from elman.interop.keras.graph import read_graph
from elman.interop.keras.layers import WRITERS, write_compared
from elman.interop.keras.recurrent import write_recurrent
from elman.layers import (
    Attention,
    Bidirectional,
    Joining,
    LastStep,
    Layer,
    Masking,
    MergeDirections,
    Recurrent,
    Repeat,
    Reverse,
)
from elman.layers.nesting import Flat, LastState
from elman.network import Network


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
        not skip steps; `Masking` in a graph that branches and has two layers with weights of one class; a vector beside
        each step of a sequence in a `Concatenate`; pools with pads.
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
    model, entries, weights = _described(net, None)
    replace(path, to_archive(model, entries, weights))


def describe_exactly(net: Layer) -> tuple[dict[str, Any], int]:
    """A network as the description of a model with just these weights, and of which Keras its words are."""
    try:
        return _described(net, 3)[0], 3
    except FormatError:
        return _described(net, 2)[0], 2


def _described(net: Layer, version: int | None) -> tuple[dict[str, Any], list[Entry], dict[str, Groups]]:
    """A network as the description of a model, its layers, and the weights of each of them by name.

    With `version` in the words of that Keras; without it in those of 3, with weights that say what it has no words for.
    """
    network, nodes, outputs = nodes_of(net, spelled=False, states=True)
    dtype = str(dtype_of(network))
    chain = network.graph.is_chain and all(node.reads == (i,) and node.start is None for i, node in enumerate(nodes))
    pieces = _Pieces(network, nodes, outputs, chain, version)
    weighted = [piece.kind for piece in pieces.made if any(piece.weights)]
    if not chain and any(isinstance(node.layer, Masking) for node in nodes) and len({*weighted}) < len(weighted):
        raise FormatError(
            "Masking must stand in a chain for Keras 3, or beside one layer with weights of each class: it tells them "
            "by where they stand in the graph, and counts what makes the masks. Got several in one that branches."
        )
    names = snake_names(piece.kind for piece in pieces.made) if chain else _names(pieces.made)
    named = dict(zip(names, pieces.made, strict=True))
    layers = {
        name: object_config(piece.kind, {"name": name, "dtype": dtype, **piece.config}) for name, piece in named.items()
    }
    model: dict[str, Any] = {"name": "model", "trainable": True, "dtype": dtype}
    if chain:
        model |= {"name": "sequential", "layers": list(layers.values())}
        described = {"module": "keras", "class_name": "Sequential", "config": model, "registered_name": None}
    else:
        parents: dict[str, list[Any]] = {}
        for name, piece in named.items():
            read = [[names[j], 0, output] for j, output in piece.reads]
            first = [[names[j], 0, output] for j, output in piece.starts]
            parents[name] = [ref[0] for ref in (*read, *first)]
            args = [_tensor(ref, dtype) for ref in read]
            kwargs = {"initial_state": [_tensor(ref, dtype) for ref in first]} if first else {}
            calls = [{"args": [args] if len(args) > 1 else args, "kwargs": kwargs}] if args else []
            layers[name] |= {"name": name, "inbound_nodes": calls}
        starts = [[name, 0, 0] for name in names[: len(network.inputs)]]
        ends: list[list[Any]] = [[names[j], 0, output] for j, output in map(pieces.values.__getitem__, outputs)]
        model |= {"layers": [layers[name] for name in _in_order_of_keras(parents, [end[0] for end in ends])]}
        model |= {"input_layers": starts if len(starts) > 1 else starts[0]}
        model |= {"output_layers": ends if len(ends) > 1 or network.graph.named else ends[0]}
        described = {"module": "keras.src.models.functional", "class_name": "Functional", "config": model}
        described["registered_name"] = "Functional"
    return described, _checked(described, named, version), {name: piece.weights for name, piece in named.items()}


def _tensor(ref: list[Any], dtype: str) -> dict[str, Any]:
    config = {"shape": [None, None, 1], "dtype": dtype, "keras_history": ref}
    return {"class_name": "__keras_tensor__", "config": config}


def _names(pieces: list[_Piece]) -> list[str]:
    """Names that Keras takes, those of the nodes where they can be."""
    names: list[str] = []
    for piece in pieces:
        name = piece.name.replace("/", "_")
        more = (f"{name}_{count}" for count in itertools.count(2))
        names.append(next(each for each in itertools.chain([name], more) if each not in names))
    return names


def _in_order_of_keras(parents: dict[str, list[str]], ends: list[str]) -> list[str]:
    """The layers as Keras 3 lists them, which tells whose weights are whose among those of one class.

    Those farthest from the outputs come first, and among equals those it meets first from the outputs on. Source:
    `map_graph` of `keras/src/ops/function.py`.
    """
    met: dict[str, int] = {}
    stack = ends[::-1]
    while stack:
        name = stack.pop()
        if name not in met:
            met[name] = len(met)
            stack += reversed(parents[name])
    depth = dict.fromkeys(parents, 0)
    for name in reversed(parents):  # where each stands after what it reads
        for parent in parents[name]:
            depth[parent] = max(depth[parent], depth[name] + 1)
    return sorted(met, key=lambda name: (-depth[name], met[name]))


def _checked(model: dict[str, Any], pieces: Mapping[str, _Piece], version: int | None) -> list[Entry]:
    """The layers of the model; refuses what Keras computes otherwise, as masks and shapes go through it."""
    graph, facts = read_graph(model), dict[Any, Facts]()
    for call in graph.calls:
        try:
            if call.reads:
                found = flow(call, [facts[ref] for ref in call.reads], version or 3)
                facts |= {call.gives: found, **{call.gives._replace(output=k): Facts(2) for k in range(1, 5)}}
            else:
                facts[call.gives] = Facts().start(call.entry.config)
        except FormatError as error:
            place = pieces[call.entry.name].place
            raise FormatError(f"{place} cannot be held by Keras. {call.entry.place}: {error}") from error
    return graph.entries


class _Piece(NamedTuple):
    """One layer of Keras."""

    place: str  # the layer here
    name: str  # of the node that gives what it gives
    reads: list[tuple[int, int]]  # the outputs of other pieces, by their numbers
    kind: str
    config: dict[str, Any]
    weights: Groups
    starts: Sequence[tuple[int, int]] = ()  # the outputs that are its first states


class _Pieces:
    """The layers of Keras that make up a network, in order: its inputs, then one of one or several layers here."""

    def __init__(
        self, network: Network, nodes: list[Flat], outputs: list[int], chain: bool, version: int | None
    ) -> None:
        self._nodes, self._first, self._outputs, self._version = nodes, len(network.inputs), outputs, version
        self._vectors = _without_steps(network, nodes, chain)
        self.made = self._inputs(network, chain)
        self.values = {j: (j, 0) for j in range(self._first)}  # of each value the piece that gives it, as which output
        self._places = [
            f"{f'layer {i}' if chain else f'node {node.place!r}'}, {type(node.layer).__name__},"
            for i, node in enumerate(nodes)
        ]
        self._readers: dict[int, list[int]] = {}
        for i, node in enumerate(nodes):
            for j in node.reads:
                self._readers.setdefault(j, []).append(i)
        self._taken: set[int | None] = set()  # nodes that are part of another
        for i, node in enumerate(nodes):
            if i in self._taken:
                continue
            over_time = isinstance(node.layer, (Recurrent, Bidirectional, Reverse))
            try:
                (self._over_time if over_time else self._simple)(i, node)
            except ValueError as error:
                raise FormatError(f"{self._places[i]} cannot be written: {error}") from error

    def _inputs(self, network: Network, chain: bool) -> list[_Piece]:
        made = []
        for j, ((name, _, tokens), width) in enumerate(zip(network.takes, input_widths(network), strict=True)):
            if width is None and tokens is None and not chain:
                must = f"the number of features of the input {name!r} must be known to Keras"
                raise FormatError(f"{must}. Got one that joins others before a layer says it.")
            shape = [None] * (2 - self._vectors[j]) + ([] if tokens else [width])
            dtype = "int32" if tokens else str(dtype_of(network))
            settings = {"batch_shape": shape, "dtype": dtype, "sparse": False, "ragged": False}
            made.append(_Piece("the input", name, [], "InputLayer", settings, []))
        return made

    def _add(self, end: int, piece: _Piece) -> int:
        """Adds what gives the value of the node `end`; its number."""
        self.made.append(piece)
        self.values[self._first + end] = (len(self.made) - 1, 0)
        return len(self.made) - 1

    def _next(self, i: int, *kinds: type[Layer]) -> int | None:
        """The only node that reads what a node gives, where it is one of `kinds`."""
        value = self._first + i
        readers = [k for k in self._readers.get(value, []) if not isinstance(self._nodes[k].layer, LastState)]
        if len(readers) != 1 or value in self._outputs:
            return None
        return readers[0] if isinstance(self._nodes[readers[0]].layer, kinds) else None

    def _over_time(self, begin: int, node: Flat) -> None:
        """A recurrent layer with what stands around it: Reverse, LastStep and MergeDirections."""
        backwards = isinstance(node.layer, Reverse)
        i = self._next(begin, Recurrent, Bidirectional) if backwards else begin
        if i is None:
            raise FormatError("Reverse must stand right before a recurrent layer, of which it becomes go_backwards.")
        layer: Any = self._nodes[i].layer
        end, mode = i, _MODES[layer.merge] if isinstance(layer, Bidirectional) else "concat"
        last = self._next(i, LastStep)
        if last is not None:
            self._check_last(layer, self._nodes[last].layer)
            end = last
        merging = self._next(end, MergeDirections) if layer.bidirectional and mode == "concat" else None
        if merging is not None:
            merge: Any = self._nodes[merging].layer
            end, mode = merging, merge.mode
        readers = self._readers.get(self._first + i, [])
        states = [k for k in readers if isinstance(self._nodes[k].layer, LastState)]
        for k in readers if last is None else []:
            one = self._nodes[k].layer
            if isinstance(one, LastStep):  # beside other readers: the state h
                if layer.bidirectional or one.bidirectional:
                    raise FormatError("LastStep must be all that reads a bidirectional layer. Got other readers too.")
                states.append(k)
        self._taken |= {i, last, merging, *states}
        asked = bool(states) or any(other.start == i for other in self._nodes)
        options = {"return_sequences": last is None, **({"return_state": True} if asked else {})}
        written, start = write_recurrent(layer, mode, backwards, options, self._version), self._nodes[i].start
        starts = [self.values[j] for j in start] if isinstance(start, tuple) else []
        if isinstance(start, int):
            starts = [(self.values[self._first + start][0], 1 + k) for k in range(len(layer.states()))]
        reads = [self.values[j] for j in node.reads]
        piece = self._add(end, _Piece(self._places[begin], self._nodes[end].place, reads, *written, starts))
        self.values[self._first + i] = (piece, 0)
        for k in states:
            value, one = self._first + k, self._nodes[k].layer
            self.values[value] = given = piece, 1 + (one.index if isinstance(one, LastState) else 0)
            if value in self._outputs:  # an output of the model that is a state would be read as no more than that
                same: tuple[str, dict[str, Any], Groups] = ("Activation", {"activation": "linear"}, [])
                self._add(k, _Piece(self._places[k], self._nodes[k].place, [given], *same))

    def _check_last(self, layer: Any, last: Any) -> None:
        both = last.bidirectional
        widths = {part.output_size for part in layer.directions.values()}
        if both != layer.bidirectional or len(widths) > 1 or getattr(layer, "merge", "concat") != "concat":
            raise FormatError(
                f"LastStep must have bidirectional={layer.bidirectional} after it, and both directions as many "
                f"features, side by side: return_sequences=False is what each direction computed last. Got {both}."
            )

    def _simple(self, i: int, node: Flat) -> None:
        """Any other layer, by its row."""
        write = row_of(WRITERS, node.layer)
        if write is None:
            raise FormatError(_NO_LAYER.get(type(node.layer).__name__, "Keras has no layer like it."))
        written = write(node.layer, self._version)
        *before, (kind, config, *arrays) = written if isinstance(written, list) else [written]
        vectors = [self._vectors[j] for j in node.reads]
        if kind == "SpatialDropout1D" and vectors[0]:
            kind = "Dropout"  # the same for vectors, which have one mask each
        if kind == "Concatenate" and len(set(vectors)) > 1:
            raise FormatError("it must read sequences alone, or vectors: Keras sets no vector beside each step.")
        reads = [self.values[j] for j in node.reads]
        if isinstance(node.layer, Attention) and node.layer.units is not None:
            made = zip(("query", "key"), reads, write_compared(node.layer), strict=True)
            pieces = [_Piece(self._places[i], f"{node.place}_{name}", [ref], *piece) for name, ref, piece in made]
            reads += [(self._add(i, piece), 0) for piece in pieces]
            reads = [reads[2], reads[1], reads[3]]
        for first in before:
            piece = _Piece(self._places[i], f"{node.place}_before", reads, first[0], first[1], [])
            reads = [(self._add(i, piece), 0)]
        self._add(i, _Piece(self._places[i], node.place, reads, kind, config, arrays))


def _without_steps(net: Network, nodes: list[Flat], chain: bool) -> list[bool]:
    """Of each value whether it has no steps, as inputs of a graph that no layer over time reads nor joins with them."""
    found = set() if chain else set(range(len(net.inputs))) - {net.inputs.index(name) for name in sequence_inputs(net)}
    found -= {j for j, (_, _, tokens) in enumerate(net.takes) if tokens is not None}
    while True:
        # Of each value the inputs that it has its steps from, as far as they may be vectors; None where it has steps.
        origins: list[set[int] | None] = [{j} if j in found else None for j in range(len(net.inputs))]
        for node in nodes:
            read = [origins[j] for j in node.reads]
            steps = set().union(*(one or () for one in read))
            if isinstance(node.layer, Joining) and None in read and steps:
                found -= steps
                break
            stays = None if None in read or isinstance(node.layer, Repeat) else steps
            origins.append(set() if node.layer.pools else stays)
        else:
            return [origin is not None for origin in origins]


_MODES = {"concat": "concat", "sum": "sum", "mean": "ave", "multiply": "mul"}
_NO_LAYER = {
    "LastStep": "Keras has it only as part of a recurrent layer: LastStep must stand right after one.",
    "LastSteps": "Keras has it only as Flatten, where the model says its number of steps: those written here take any.",
    "MergeDirections": "Keras has it only as part of Bidirectional: MergeDirections must stand right after a "
    "bidirectional layer, or its LastStep.",
}
