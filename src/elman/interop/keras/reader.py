"""Keras models as networks of this library: each call of a layer becomes nodes, one after another."""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from elman import checks
from elman.checks import FormatError
from elman.interop.chain import Made, joined
from elman.interop.files import named
from elman.interop.keras import files
from elman.interop.keras.config import RECURRENT, Call, Entry, Facts, Groups, Part, Ref, Site
from elman.interop.keras.files import Stored, Tree, archived_arrays, legacy_lists, listed_arrays
from elman.interop.keras.flow import flow, own_arrays, returns_sequences, without_idle_masks
from elman.interop.keras.graph import Graph, read_graph
from elman.interop.keras.layers import ROWS
from elman.interop.keras.writer import describe_exactly
from elman.layers import Bidirectional, Layer, Recurrent
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
    Attention, AdditiveAttention, ZeroPadding1D, CuDNNLSTM, CuDNNGRU, Dropout, SpatialDropout1D, Activation, Softmax,
    ReLU, LeakyReLU, ELU. What acts in training alone and is not here (noise, regularizers, initializers) is left out.

    Inputs that are an initial_state, and states among the outputs, are the `state` of the network, not inputs and
    outputs; a layer that starts from the states of another, or from values that layers make, is a node with `state=`.
    Inputs are values too where another layer reads them, or some of the states come from elsewhere.

    Masking, and Embedding with mask_zero, drop the masked steps; Keras carries the state past them. Final states, and
    outputs at every real step, are the same. After the real steps y is 0, where Keras repeats the last output; a
    `UserWarning` says so where a model gives an output for each step, as in Keras masked steps keep their places. Where
    a mask ends before any layer uses it, at a convolution or beside a value that has none, every step is computed.
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
        return _from_file(source, like)
    if all(hasattr(source, name) for name in ("to_json", "layers", "get_weights")):
        return _from_model(source)
    raise TypeError(f"source must be a path or a Keras model. Got {checks.describe(source)}.")


def _from_file(source: Any, like: Any) -> Network:
    """Of a whole model, or of weights alone for the layers of `like`."""
    told = None if like is None else _described(like)
    stored = files.read(source, alone=told is not None)
    described = told or stored
    with _named(stored.source), contextlib.closing(Tree(stored.weights)) as tree:
        with _named(described.source):
            graph = read_graph(described.config)
        if stored.legacy:
            lists = legacy_lists(tree)
            if told is not None:
                # By their order, as Keras does it: names of layers differ from run to run.
                held = [names for names in lists.values() if names]
                weighted = [entry for entry in graph.entries if any(names for _, names in own_arrays(entry))]
                tops = list(dict.fromkeys(entry.top for entry in weighted))
                if len(held) != len(tops):
                    must = f"it must hold weights of {len(tops)} layers, {', '.join(tops)}"
                    raise FormatError(f"{must}. Got those of {len(held)}.")
                lists = dict(zip(tops, held, strict=True))
            weights = listed_arrays(graph.entries, lists, tree.array)
        else:
            weights = archived_arrays(graph.entries, tree)
        net = _network(graph, weights, described.version, stored.source)
        rest = [path for root in files.ROOTS for path in tree.unread(root)] if told and not stored.legacy else []
        if rest:
            raise FormatError(f"like must have each layer whose weights the file holds. Got none for {rest[0]!r}.")
        return net


def _described(like: Any) -> Stored:
    if isinstance(like, (str, os.PathLike, bytes)):
        return files.read_description(like)
    if isinstance(like, Layer):
        return Stored("like", *describe_exactly(like), b"", legacy=False)
    raise TypeError(f"like must be a network, or the path of a to_json() file. Got {checks.describe(like)}.")


def _from_model(model: Any) -> Network:
    name = f"the Keras model {getattr(model, 'name', '')!r}"
    with _named(name):
        try:
            config = json.loads(model.to_json())
        except TypeError as error:  # an object of the model cannot be written as JSON
            raise FormatError(f"it must be one that Keras can describe. Got an error: {error}.") from error
        version = config.get("keras_version") or "3"  # Keras 2 says which one it is
        graph, lists = read_graph(config), {layer.name: layer.get_weights() for layer in model.layers}
        weights = listed_arrays(graph.entries, lists, np.asarray)
        return _network(graph, weights, int(version.split(".")[0]), name)


@contextlib.contextmanager
def _named(source: str) -> Iterator[None]:
    """Puts the file before the error of what it holds, unless it stands there."""
    try:
        yield
    except RecursionError as error:
        raise FormatError(f"{source}: its description must not be nested so deep. Got {error}.") from None
    except ValueError as error:
        if isinstance(error, FormatError) and str(error).startswith(source):
            raise
        raise FormatError(f"{source}: {error}") from error


def _network(graph: Graph, weights: Mapping[str, Groups], version: int, source: str) -> Network:
    parts = _Parts(graph, version, _common_dtype(graph.entries, weights))
    for call in without_idle_masks(graph.calls, version):
        with named(call.entry.place):
            parts.add(call, weights.get(call.entry.name, []))
    return parts.network(source)


def _common_dtype(entries: list[Entry], weights: Mapping[str, Groups]) -> str:
    """The one dtype of all layers; refuses a model that has two."""
    told: dict[str, Entry] = {}
    for entry in entries:
        if entry.kind == "InputLayer":
            continue
        with named(entry.place):
            found = {*entry.policies(), *(str(a.dtype) for group in weights[entry.name] for a in group.values())}
            if len(found | told.keys()) > 1:
                other = [f"its dtype must be {name}, as that of {first.place}" for name, first in told.items()]
                must = other[0] if other else "it must have one dtype"
                raise FormatError(f"{must}. Got {' and '.join(sorted(found))}.")
        told |= {name: entry for name in found if name not in told}
    return next(iter(told), "float32")


class _Parts:
    """A network in the making."""

    def __init__(self, graph: Graph, version: int, dtype: str) -> None:
        self._graph, self._version, self._dtype = graph, version, dtype
        self._entries = {call.gives: call.entry for call in graph.calls}
        values = [ref for call in graph.calls for ref in call.reads]
        started = [ref for call in graph.calls for ref in call.states]
        self._outputs = {name: ref for name, ref in graph.outputs.items() if not self._is_state(ref)}
        if not self._outputs:  # of states alone: the first of them is the last output too
            self._outputs = dict([next(iter(graph.outputs.items()))])
        self._used: dict[Ref, set[int]] = {}
        for ref in (*values, *self._outputs.values()):
            self._used.setdefault(ref._replace(output=0), set()).add(ref.output)
        self._given = {*values, *started, *graph.outputs.values()}  # what leaves its layer, states too
        alone = [ref for ref in graph.inputs.values() if ref not in values and started.count(ref) == 1]
        wholes = [call.states for call in graph.calls if all(ref in alone for ref in call.states)]
        self._states_in = [ref for states in wholes for ref in states]
        self._masked: list[str] = []  # what is that of Keras as long as masked steps stand last
        self._parts: list[Part] = []
        self._values: dict[Ref, Facts] = {}
        self._memory: dict[Ref, tuple[int, int]] = {}  # of which part and which of its states an output is

    def _is_state(self, ref: Ref) -> bool:
        """Whether an output of the model is a state that a layer gives after what it computes."""
        entry = self._entries.get(ref._replace(output=0))
        if entry is None or entry.kind not in RECURRENT:
            return False
        return ref.output > (entry.kind == "Bidirectional" and entry.config.get("merge_mode", "concat") is None)

    def add(self, call: Call, arrays: Groups) -> None:
        """The parts of one call."""
        entry, begin = call.entry, len(self._parts)
        called = entry.name + (f"_{call.gives.call + 1}" if call.gives.call else "")
        if not call.reads:
            facts = Facts(part=begin).start(entry.config)
            self._values[call.gives] = facts
            self._parts.append(Part(called, facts.features))
            return
        for ref in call.reads:
            if ref not in self._values:
                raise FormatError(f"it must read an output that {ref.layer!r} has. Got its output {ref.output}.")
            self._values[ref] = facts = self._values[ref].start(entry.config)
            self._parts[facts.part].width = facts.features
        read = tuple([self._values[ref] for ref in call.reads])
        after = flow(call, read, self._version)
        if entry.kind == "InputLayer":  # of a nested model
            return
        if self._version >= 3 and call.states and read[0].mask is not None and not any(call.masks):
            self._check_unmasked(call)
        used = self._used.get(call.gives, {0})
        at = Site(called, read, self._version, self._dtype, used, self._parts, last=read[0].part)
        row = ROWS[entry.kind].read(entry, arrays or [{}], at)
        if row is not None:
            at.outputs[0] = at.add(*row, reads=[facts.part for facts in read])
        if call.states:
            self._start(call, self._parts[begin:])
        for output, part in at.outputs.items():
            facts = Facts(2) if output in at.memory else after
            facts = replace(facts, features=self._parts[part].width, part=part)
            self._values[call.gives._replace(output=output)] = facts
        self._memory |= {call.gives._replace(output=output): memory for output, memory in at.memory.items()}

    def _check_unmasked(self, call: Call) -> None:
        """Refuses what Keras 3 computes of masked steps: it hands no mask to a layer that is given its first states."""
        asked = any(ref.output and ref._replace(output=0) == call.gives for ref in self._given)
        if not returns_sequences(call.entry) or asked:
            raise FormatError(
                "its steps must not be masked where it is given its first states, and its last step or state is used: "
                "Keras 3 computes masked steps there. Got a mask."
            )
        self._masked.append(call.entry.name)

    def _start(self, call: Call, made: list[Part]) -> None:
        """Sets from which states the recurrent layers of a call start."""
        left = list(call.states)
        for part in made:
            if not isinstance(part.layer, (Recurrent, Bidirectional)):
                continue
            count = len(part.layer.first_state(1))
            mine, left = left[:count], left[count:]
            if len(mine) == count and all(ref in self._states_in for ref in mine):
                continue
            origins = [self._memory.get(ref, (None, -1)) for ref in mine]
            if len(mine) < count or any(ref not in self._values or self._values[ref].axes == 3 for ref in mine):
                must = f"initial_state must be {count} vectors, one of each sequence for each state"
                raise FormatError(f"{must}. Got {', '.join(repr(ref.layer) for ref in mine) or 'none'}.")
            whole = origins[0][0]
            size = 0 if whole is None else len(self._parts[whole].layer.first_state(1))  # type: ignore[union-attr]
            same = size == count and origins == [(whole, k) for k in range(count)]
            part.start = whole if same else tuple([self._values[ref].part for ref in mine])
        if left:
            raise FormatError(f"initial_state must be as many states as the layer has. Got {len(left)} more.")

    def network(self, source: str) -> Network:
        """The network, a list where it is a chain."""
        if all(part.layer is None for part in self._parts):
            raise FormatError("the model must have at least one layer that computes something. Got none.")
        ends, turned = list[tuple[str, int]](), ""
        for name, ref in self._outputs.items():
            if ref not in self._values:
                raise FormatError(f"the output {name!r} must be one that its layer has. Got {ref.output}.")
            facts = self._values[ref]
            self._masked += [name] if facts.mask is not None else []
            turned = (
                f"{turned} Steps of {name!r} go backwards: masked ones come first in Keras." if facts.lost else turned
            )
            ends.append((name, facts.part))
        if self._masked:
            warnings.warn(
                f"{source}: masked steps must stand last for what {', '.join(map(repr, self._masked))} gives to be "
                f"that of Keras, step by step: Keras keeps the places of masked steps, here they are left out.{turned}",
                UserWarning,
                stacklevel=5,
            )
        needed: set[int | None] = {end for _, end in ends}
        for i in reversed(range(len(self._parts))):
            start = self._parts[i].start
            needed |= (
                {*self._parts[i].reads, *(start if isinstance(start, tuple) else [start])} if i in needed else set()
            )
        kept = {i: (part.layer, part) for i, part in enumerate(self._parts) if i in needed and part.layer is not None}
        last = {part.name: i for i, (_, part) in kept.items()}
        made = {}
        for i, (layer, part) in kept.items():
            called = part.name + f"/{type(layer).__name__}" * (last[part.name] != i)
            whole, begins = (None, part.start) if isinstance(part.start, tuple) else (part.start, ())
            made[i] = Made(layer, called, part.reads, whole, begins)
        given = [(name, ref) for name, ref in self._graph.inputs.items() if ref not in self._states_in]
        states = {i: (part.reads[0], part.state) for i, part in enumerate(self._parts) if part.state}
        return joined(made, {self._values[ref].part: name for name, ref in given}, ends, source, states)
