"""What stands in a network: nodes in order, each with what it reads. A list of layers is the chain "0", "1", ...

values    the inputs, then what each node gives, then the last states that are read, in one row: node i reads values
          by their places in it, and gives the value len(inputs) + i
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from elman import checks
from elman.cells.cell import REVERSE
from elman.checks import ShapeError
from elman.layers import Bidirectional, LastStep, Layer, MergeDirections
from elman.layers.nesting import every_layer
from elman.layers.recurrent import Directed
from elman.options import REQUIRED, check_names


class Node:
    """A layer in a network, with the names of what it reads, nodes before it or inputs; none: the node before it.

    "encoder.c" names the last state c of the node "encoder", one vector per sequence. The names of states are those in
    `states()` of its layer, which must be recurrent: "h" and "c", with "_reverse" for the second direction.

    With `state` it starts from the last state of the node of that name, as a decoder does, or from values: a tuple of
    one name for each state of the layer, of a node, an input or a state that is one vector per sequence. Gradients go
    back through both. Raises `ValueError` for a layer with a state of its own to start from, `learned_state`.

    >>> import elman
    >>> net = elman.Network({
    ...     "encoder": (elman.GRU(3, 5, seed=0), "source"),
    ...     "decoder": elman.Node(elman.GRU(2, 5, seed=1), "target", state="encoder"),
    ... })
    >>> net.inputs, list(net.parameters)[:4]
    (('source', 'target'), ['encoder.Wx', 'encoder.Wh', 'encoder.b', 'encoder.bn'])
    >>> net = elman.Network({
    ...     "encoder": (elman.GRU(3, 5, bidirectional=True, seed=0), "source"),
    ...     "both": (elman.Concatenate(), "encoder.h", "encoder.h_reverse"),
    ...     "first": elman.Dense(10, 4, activation="tanh", seed=1),
    ...     "decoder": elman.Node(elman.GRU(2, 4, seed=2), "target", state=("first",)),
    ... })
    >>> net({"source": [[[1.0, 2.0, 3.0]]], "target": [[[4.0, 5.0], [6.0, 7.0]]]})[0].shape
    (1, 2, 4)
    """

    def __init__(self, layer: Layer, *reads: str, state: str | tuple[str, ...] | None = None) -> None:
        if not isinstance(layer, Layer):
            raise TypeError(f"a node must hold a layer, and the names of what it reads. Got {checks.show(layer)}.")
        if isinstance(state, list):
            state = tuple(state)
        for name in (*reads, *(state if isinstance(state, tuple) else [] if state is None else [state])):
            if not isinstance(name, str):
                raise checks.KindError(f"a node must read nodes and inputs by their names. Got {checks.show(name)}.")
        self.layer, self.reads, self.state = layer, reads, state

    def __repr__(self) -> str:
        rest = [*map(repr, self.reads), *([] if self.state is None else [f"state={self.state!r}"])]
        return f"Node({', '.join([repr(self.layer), *rest])})"


@dataclass(frozen=True)
class Graph:
    """The nodes of a network, everything about them checked."""

    names: tuple[str, ...]
    layers: tuple[Layer, ...]
    inputs: tuple[str, ...]
    reads: tuple[tuple[int, ...], ...]  # of each node, places among the values
    starts: tuple[tuple[int, ...], ...]  # of each node the values that it starts from, one per state, or none
    wholes: tuple[int | None, ...]  # where these are all states of one node: that node
    states: tuple[tuple[int, int], ...]  # the last states that are values: the node, and which of its states
    outputs: tuple[int, ...]  # nodes, or after them states
    named: bool  # whether outputs were asked for by name: y is a dict then

    @functools.cached_property
    def is_chain(self) -> bool:
        """Whether each node reads the one before it, and the last one gives the output."""
        alone = not self.named and not self.states and not any(self.starts)
        return alone and self.reads == tuple((i,) for i in range(len(self.names)))

    @functools.cached_property
    def is_list(self) -> bool:
        """Whether it is what a list of layers makes."""
        return self.is_chain and self.inputs == ("x",) and self.names == tuple(map(str, range(len(self.names))))

    @functools.cached_property
    def values(self) -> tuple[str, ...]:
        """The names of all values."""
        return *self.inputs, *self.names, *map(".".join, self._pairs)

    @property
    def _pairs(self) -> list[list[str]]:
        """Of each last state that is a value, the names of the node and of the state."""
        return [[self.names[i], [*self.layers[i].states()][s]] for i, s in self.states]

    def source(self, j: int) -> int:
        """The node that gives a value, or whose state it is; below 0 for an input."""
        i = j - len(self.inputs)
        return i if i < len(self.names) else self.states[i - len(self.names)][0]

    @functools.cached_property
    def nodes(self) -> list[tuple[int, Layer, tuple[int, ...], tuple[int, ...], list[tuple[int, int]], list[int]]]:
        """Of each node its number, layer, what it reads and starts from, which of its states are which values, and
        what is not read again after it."""
        taken = [{*reads, *start} for reads, start in zip(self.reads, self.starts, strict=True)]
        last = {j: i for i, each in enumerate(taken) for j in each}
        kept = {len(self.inputs) + i for i in self.outputs}
        spent = [[j for j in each if last[j] == i and j not in kept] for i, each in enumerate(taken)]
        given: list[list[tuple[int, int]]] = [[] for _ in self.names]
        for j, (i, s) in enumerate(self.states, len(self.inputs) + len(self.names)):
            given[i].append((s, j))
        return list(zip(range(len(spent)), self.layers, self.reads, self.starts, given, spent, strict=True))

    def tokens(self) -> list[int | None]:
        """For each input the number that its tokens are under; None for features."""
        found: list[int | None] = [None] * len(self.inputs)
        for layer, (j, *_) in zip(self.layers, self.reads, strict=True):
            if layer.tokens is not None:
                found[j] = min(layer.tokens, found[j] or layer.tokens)
        return found

    def vectors(self) -> list[bool]:
        """For each input whether a node takes as vectors what layers that treat each step by itself make of it."""
        first = len(self.inputs)
        found = [False] * len(self.values)
        for i in reversed(range(len(self.layers))):
            layer, reads = self.layers[i], self.reads[i]
            mixes = layer.stateful or layer.needs_whole_sequences or layer.pools or layer.changes_steps
            taken = reads if layer.takes_vectors or (found[first + i] and not mixes) else ()
            for j in (*taken, *self.starts[i]):
                found[j] = True
        return found[:first]

    def describe(self) -> list[dict[str, Any]]:
        """Of each node its name, what it reads and where it starts, as files have them."""
        values = [*self.inputs, *self.names, *self._pairs]  # pairs, which versions that know no such values refuse
        found = []
        for name, reads, start, whole in zip(self.names, self.reads, self.starts, self.wholes, strict=True):
            begin = [values[j] for j in start] if whole is None else self.names[whole]
            found.append({"name": name, "reads": [values[j] for j in reads], **({"state": begin} if start else {})})
        return found

    def widths(self, given: Iterable[int | None]) -> tuple[list[int | None], list[int | None]]:
        """How many features each input must have and each node gives, None where that depends on x.

        `given` are those of the inputs that are known. Refuses, with a `ShapeError`, nodes that do not fit together.
        """
        taken = list(given)
        count = len(taken)
        states = [[*self.layers[i].states().values()][s] for i, s in self.states]
        while True:
            widths, known = [*taken, *[None] * len(self.names), *states], list(taken)
            # What is as wide as an input, or a part of it: (input, how many of its features make one).
            origins: list[tuple[int, int] | None] = [(i, 1) for i in range(count)]
            origins += [None] * (len(widths) - count)
            for i, (layer, reads) in enumerate(zip(self.layers, self.reads, strict=True)):
                read = [widths[j] for j in reads]
                if layer.input_size is not None and read[0] not in (None, layer.input_size):
                    before = "the layers before it give" if self.is_list else "what it reads has"
                    must = f"{self.called(i)} must take {read[0]} features, as {before}"
                    raise ShapeError(f"{must}. Got input_size {layer.input_size}.")
                try:
                    widths[count + i] = layer.features(*read)
                except ShapeError as error:
                    raise ShapeError(f"{self.called(i)} {error}") from None
                origin = origins[reads[0]] if len(reads) == 1 else None
                if origin is not None and read[0] is None and layer.input_size is not None and known[origin[0]] is None:
                    known[origin[0]] = layer.input_size * origin[1]
                passes = origin if layer.output_size is None else None
                origins[count + i] = passes and (passes[0], passes[1] * layer.narrowing)
                for (state, width), j in zip(layer.states().items(), self.starts[i], strict=False):
                    if widths[j] not in (None, width):
                        must = f"{self.called(i)} must start from {width} features for its state {state}"
                        raise ShapeError(f"{must}. Got {widths[j]} of {self.values[j]!r}.")
                    origin = origins[j]
                    if origin is not None and known[origin[0]] is None:
                        known[origin[0]] = width * origin[1]
            if known == taken:
                return taken, widths[count:]
            taken = known

    def begin(self, i: int) -> str:
        """From what a node starts, in words."""
        whole, names = self.wholes[i], [repr(self.values[j]) for j in self.starts[i]]
        return checks.listed(names) if whole is None else f"node {self.names[whole]!r}"

    def called(self, i: int) -> str:
        """A node in words."""
        kind = type(self.layers[i]).__name__
        return f"layer {i}, {kind}," if self.is_list else f"node {self.names[i]!r}, {kind},"


def read_graph(given: Any, outputs: Any) -> Graph:
    """A network as the user says it, a list of layers or a mapping of names to nodes, everything checked."""
    nodes = read_nodes(given)
    if not nodes:
        raise ShapeError("layers must hold at least one layer. Got an empty list.")
    names = tuple(nodes)
    reads = [node.reads or (names[i - 1] if i else "x",) for i, node in enumerate(nodes.values())]
    starts = [_start(name, node, nodes) for name, node in nodes.items()]
    named = outputs is not None
    if named and not isinstance(outputs, (list, tuple)):
        raise checks.KindError(f"outputs must be a tuple of names of nodes. Got {checks.show(outputs)}.")
    gives = tuple(outputs) if named else names[-1:]
    every = [name for pair in zip(reads, starts, strict=True) for each in pair for name in each]
    found = {name: _state(name, nodes) for name in (*every, *gives) if isinstance(name, str)}
    states = {name: pair for name, pair in found.items() if pair}
    inputs = tuple(dict.fromkeys(name for name in every if name not in nodes and name not in states))
    places = {name: j for j, name in enumerate((*inputs, *names, *states), -len(inputs))}  # of nodes from 0 on
    for i, node in enumerate(nodes.values()):
        for read in (*reads[i], *([node.state] if isinstance(node.state, str) else starts[i])):
            if places.get(states[read][0] if read in states else read, -1) >= i:
                raise ValueError(
                    f"node {names[i]!r} must read nodes that stand before it. Got {read!r}, which does not."
                )
    for name in gives:
        checks.choice("a name of outputs", name, (*names, *states))
    if not gives or len(set(gives)) < len(gives):
        raise ValueError(f"outputs must name at least one node, and none twice. Got {checks.show(outputs)}.")
    graph = Graph(
        names,
        tuple(node.layer for node in nodes.values()),
        inputs,
        tuple(tuple(places[name] + len(inputs) for name in each) for each in reads),
        tuple(tuple(places[name] + len(inputs) for name in each) for each in starts),
        tuple(
            places[each[0].partition(".")[0]] if each and each == _whole(each[0], nodes) else None for each in starts
        ),
        tuple((places[node], [*nodes[node].layer.states()].index(state)) for node, state in states.values()),
        tuple(places[name] for name in gives),
        named,
    )
    _check_nodes(graph)
    return graph


def read_nodes(given: Any) -> dict[str, Node]:
    """The nodes of a list or of a mapping, by name."""
    if isinstance(given, Mapping):
        nodes = {}
        for name, value in given.items():
            if not isinstance(name, str) or not name or "." in name or name.endswith(REVERSE):
                must = f"a node must have a name without a dot that does not end in {REVERSE!r}"
                raise ValueError(f"{must}. Got {checks.show(name)}.")
            parts = value if isinstance(value, tuple) else (value,)
            nodes[name] = value if isinstance(value, Node) else Node(*parts) if parts else Node(value)
        return nodes
    each: Any = None if isinstance(given, (Layer, str)) else given
    layers: list[Any] = []
    try:
        for layer in each:
            layers.append(layer)
            if not isinstance(layer, Layer):  # of an array, say, that claims to hold more than memory does
                break
    except checks.FAILURES:  # of what is no list of any kind
        must = "layers must be a list of layers, or a mapping of names to nodes"
        raise TypeError(f"{must}. Got {checks.show(given)}.") from None
    if layers and not isinstance(layers[-1], Layer):
        raise TypeError(f"layers[{len(layers) - 1}] must be a layer. Got {checks.show(layers[-1])}.")
    return {str(i): Node(layer) for i, layer in enumerate(layers)}


def placed(places: Iterable[Mapping[str, Any]], layers: Iterable[Layer]) -> dict[str, Node]:
    """The nodes of layers, each in its place as `Graph.describe` has them."""

    def names(given: Any) -> tuple[str, ...]:
        return tuple([name if isinstance(name, str) else ".".join(name) for name in given])

    found = {}
    for place, layer in zip(places, layers, strict=True):
        state = place.get("state")
        begin = state if state is None or isinstance(state, str) else names(state)
        found[place["name"]] = Node(layer, *names(place["reads"]), state=begin)
    return found


def read_names(config: Mapping[str, Any]) -> list[str]:
    """The names of the nodes of a config, each checked as `placed` takes it; of a list its numbers."""
    layers = config["layers"]
    if not isinstance(layers, (list, tuple)):
        raise checks.KindError(f"layers of config must be a list. Got {checks.show(layers)}.")
    if "nodes" not in config:
        return [str(i) for i in range(len(layers))]
    nodes = config["nodes"]
    if not isinstance(nodes, (list, tuple)) or len(nodes) != len(layers):
        must = f"nodes of config must be a list of {len(layers)}, one entry per layer"
        raise ValueError(f"{must}. Got {checks.show(nodes)}.")
    known = {"name": REQUIRED, "reads": REQUIRED, "state": None}
    for i, node in enumerate(nodes):
        at = f"nodes[{i}] of config"
        check_names(at, checks.mapping(at, node, "of a name and of what it reads"), known)
        checks.text(f"name of {at}", node["name"])
        for key in ("reads",) if isinstance(node.get("state"), (str, type(None))) else ("reads", "state"):
            given = node[key] if isinstance(node[key], (list, tuple)) else []
            pairs = [name if isinstance(name, (list, tuple)) and len(name) == 2 else [name] for name in given]
            if not given or not all(isinstance(part, str) for pair in pairs for part in pair):
                raise ValueError(f"{key} of {at} must be a list of names. Got {checks.show(node[key])}.")
    names = [node["name"] for node in nodes]
    if len(set(names)) < len(names):
        raise ValueError(f"nodes of config must have names that differ. Got {checks.show(names)}.")
    return names


def _state(name: str, nodes: Mapping[str, Node]) -> list[str]:
    """The node and the state that a name as "encoder.c" has, or none; refuses one that the node does not have."""
    node, _, state = name.partition(".")
    if node not in nodes or not state.isidentifier():  # "input.1" is an input
        return []
    if not nodes[node].layer.states():
        raise ValueError(f"{name!r} must be a state of a recurrent layer. Got {checks.show(nodes[node].layer)}.")
    return [node, checks.choice(f"a state of node {node!r}", state, tuple(nodes[node].layer.states()))]


def _whole(name: str, nodes: Mapping[str, Node]) -> tuple[str, ...]:
    """The names of all states of a node, by its name or that of one of them."""
    node = name.partition(".")[0]
    return tuple([f"{node}.{state}" for state in nodes[node].layer.states()]) if node in nodes else ()


def _start(name: str, node: Node, nodes: Mapping[str, Node]) -> tuple[str, ...]:
    """The names of the values from which a node starts."""
    if node.state is None:
        return ()
    whole = None if isinstance(node.state, tuple) else checks.choice(f"state of node {name!r}", node.state, nodes)
    sizes = []
    for layer in (*([] if whole is None else [nodes[whole].layer]), node.layer):
        if layer.layers or not layer.stateful:
            raise ValueError(f"state of node {name!r} must be that of a recurrent layer. Got one of {layer!r}.")
        sizes.append([state.shape for state in layer.first_state(1)])
    if any(getattr(part, "learned_state", False) for part in every_layer(node.layer)):
        begin = checks.listed([*map(repr, node.state)]) if whole is None else f"node {whole!r}"
        raise ValueError(f"node {name!r} must have no learned_state, as it starts from {begin}. Got one.")
    own = node.layer.states()
    if whole is None:
        if len(node.state) != len(own):
            must = f"state of node {name!r} must be a tuple of {len(own)} names, one for each of {', '.join(own)}"
            raise ValueError(f"{must}. Got {checks.show(node.state)}.")
        return tuple(node.state)
    if sizes[0] != sizes[1]:
        must = f"node {name!r} must have the states of node {whole!r} to start from, {checks.show(sizes[0])}"
        raise ShapeError(f"{must}. Got {checks.show(sizes[1])}.")
    return _whole(whole, nodes)


def _check_nodes(graph: Graph) -> None:
    """Refuses nodes that read what they cannot, share layers or dtypes that differ, or are there for nothing."""
    taken = [j for each in (*graph.reads, *graph.starts) for j in each]
    taken += [len(graph.inputs) + i for i in graph.outputs]
    read = {graph.source(j) for j in taken}
    first = next(((i, layer) for i, layer in enumerate(graph.layers) if layer.dtype is not None), None)
    seen: set[int] = set()
    for i, (layer, reads) in enumerate(zip(graph.layers, graph.reads, strict=True)):
        name = graph.called(i)
        if i not in read:
            raise ValueError(f"{name} must be read by another node, or be among outputs. Got one that nobody reads.")
        if layer.layers and (len(layer.graph.inputs) > 1 or layer.graph.named):
            raise ValueError(f"{name} must have one input and one output, within a network. Got several.")
        if len(reads) != layer.reads and (layer.reads is not None or len(reads) < 2):
            must = "two values or more" if layer.reads is None else f"{layer.reads} value{'s' * (layer.reads > 1)}"
            raise ValueError(f"{name} must read {must}. Got {len(reads)}.")
        if isinstance(layer, MergeDirections) or (isinstance(layer, LastStep) and layer.bidirectional):
            _check_halves(graph, name, reads[0] - len(graph.inputs))
        for j in graph.starts[i]:
            if isinstance(dict(enumerate(graph.layers, len(graph.inputs))).get(j), Directed):
                must = f"{name} must start from one vector per sequence, as '{graph.values[j]}.h' is"
                raise ShapeError(f"{must}. Got the steps of node {graph.values[j]!r}.")
        if layer.takes_tokens and reads[0] >= len(graph.inputs):
            before = type(graph.layers[graph.source(reads[0])]).__name__
            raise ShapeError(f"{name} must stand first, as it takes tokens. Got it after {before}.")
        if first is not None and layer.dtype is not None and layer.dtype != first[1].dtype:
            must = f"{name} must have dtype {first[1].dtype}, as {graph.called(first[0])} has; astype gives it"
            raise ValueError(f"{must}. Got {layer.dtype}.")
        own = {id(part) for part in every_layer(layer)}
        if own & seen:
            raise ValueError(f"{name} must be a layer of its own, and hold none but its own. Got the same one twice.")
        seen |= own
    for j, name in enumerate(graph.inputs):
        takers = {layer.takes_tokens for layer, reads in zip(graph.layers, graph.reads, strict=True) if j in reads}
        takers |= {False for start in graph.starts if j in start}
        if len(takers) > 1:
            raise ShapeError(f"the input {name!r} must be read as tokens by all nodes or by none. Got some of both.")


def _check_halves(graph: Graph, name: str, i: int) -> None:
    """Refuses what takes half of the features for each direction where the directions are of other widths."""
    known = range(len(graph.names))
    while i in known and graph.layers[i].output_size is None and len(graph.reads[i]) == graph.layers[i].narrowing == 1:
        i = graph.reads[i][0] - len(graph.inputs)
    layer = graph.layers[i] if i in known else None
    if isinstance(layer, Bidirectional) and layer.merge == "concat":
        a, b = (part.output_size for part in layer.directions.values())
        if a != b:
            raise ShapeError(f"{name} must read two directions of one width. Got {a} and {b} of {layer!r}.")
