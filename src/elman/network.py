"""A graph of layers, a list being the chain: parameters by name, forward, backward."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from elman import checks
from elman.checks import Array, ShapeError
from elman.graph import Graph, Node, placed, read_graph, read_names, read_nodes
from elman.layers import LAYERS, Layer
from elman.layers.layer import Gradients, Noise, Seen, State
from elman.layers.nesting import every_layer, place_of
from elman.options import REQUIRED, LiveArrays, ReadOnly, check_names, frozen
from elman.sequences import Layout, Sequences, Several, axes_before_features, by_name, pack

if TYPE_CHECKING:
    import os

    from elman.packed import PackedNetwork
    from elman.streaming import Stream


class Taped(NamedTuple):
    """A node of a network, or of one within it, as it ran."""

    place: str  # "1.0" in a network within the network, as in the names of parameters
    layer: Layer
    kept: Any  # what its `run` kept
    y: Sequences


class Flow(NamedTuple):
    """The gradients that came to a node on the way back, and the one that it gave on."""

    dy: Array  # by its output
    dstate: State  # by its last states
    dx: Any  # by what it read


class Network(Layer):
    """Layers by name, each with what it reads; a list is the chain, its layers called "0", "1", ...

    Parameters
    ----------
    layers
        A list of layers, or a mapping of names to nodes, in order. A node is a layer, which reads the node before it
        (the first one the input "x"); a tuple ``(layer, *names)`` of what it reads; or an `elman.Node`, which may also
        start from the last state of another node or from values. "encoder.c" is the last state c of the node "encoder",
        one vector per sequence. A name that no node has is an input.
    outputs
        The names of the nodes or states whose values come out, as a dict by name; left out, the last node's value
        comes out.

    It is called like a layer: ``y, state = net(x)``, with several inputs ``net({"series": x, "store": s})``. Beside a
    batch an input without an axis of time, (batch, features), is one vector per sequence. `lengths` is one array for
    all padded inputs, or a dict by input. The state is a list with one entry per layer with states; in what goes in,
    the entry of a node that starts from another is None. `dy` of several outputs is a dict, and so is dx of several
    inputs. Parameters are named by their nodes: "1.Wx", "encoder.Wx".

    Layers without weights compute in the dtype of the others; `dtype` is None where no layer has weights, and such a
    network computes in float32 where x is float32, else in float64. Neither the layers nor their options can be
    assigned, see `replace`; weights can, ``net.layers[0].Wx = ...``.

    Raises `ShapeError` where a layer does not take what it reads, `ValueError` where the dtypes of weights differ, for
    names that cannot be, and for nodes that read what stands after them or that nobody reads.

    >>> import numpy as np, elman
    >>> net = elman.Network([elman.LSTM(2, 8, seed=0), elman.Dense(8, 1, seed=1)])
    >>> y, state = net(np.ones((4, 7, 2)))
    >>> y.shape, len(state), list(net.parameters)
    ((4, 7, 1), 1, ['0.Wx', '0.Wh', '0.b', '1.W', '1.b'])
    >>> net
    Network of 2 layers, 361 parameters, float32
      0  LSTM(input_size=2, hidden_size=8, bidirectional=False)    352
      1  Dense(input_size=8, output_size=1, activation='identity')   9
    >>> net = elman.Network({
    ...     "left": (elman.GRU(2, 4, seed=0), "series"),
    ...     "both": (elman.Concatenate(), "left", "store"),
    ...     "out": elman.Dense(7, 1, seed=1),
    ... })
    >>> net({"series": np.ones((4, 7, 2)), "store": np.ones((4, 3))})[0].shape
    (4, 7, 1)
    """

    layers: tuple[Layer, ...]
    inputs: tuple[str, ...]  #: the names of the inputs
    graph: Graph
    takes: tuple[tuple[str, int | None, int | None], ...]  #: of the inputs: name, features, what its tokens are under
    _packed: PackedNetwork | None = None  # the weights as the streams made of late use them

    def __init__(self, layers: Sequence[Layer] | Mapping[str, Any], outputs: Sequence[str] | None = None) -> None:
        self.graph = graph = read_graph(layers, outputs)
        self.layers, self.names, self.inputs = graph.layers, graph.names, graph.inputs
        self._stateful = tuple([layer for layer in self.layers if layer.stateful])
        taken, widths = graph.widths([None] * len(graph.inputs))
        self.takes = tuple(zip(self.inputs, taken, graph.tokens(), strict=True))
        self.input_size = taken[0] if len(self.inputs) == 1 else None
        self.output_size = widths[graph.outputs[0]] if len(graph.outputs) == 1 else None
        self.dtype = next((layer.dtype for layer in self.layers if layer.dtype is not None), None)
        self.tokens = self.takes[0][2] if len(self.inputs) == 1 else None
        self._vectors = graph.vectors()
        self.takes_vectors = self._vectors == [True]
        self.stateful = bool(self._stateful)
        self._open = None in taken and not graph.is_chain
        self.needs_whole_sequences = any(graph.starts) or any(layer.needs_whole_sequences for layer in self.layers)
        self.drops_steps = any(layer.drops_steps for layer in self.layers)
        self.changes_steps = any(layer.changes_steps for layer in self.layers)
        self.narrowing = math.prod(layer.narrowing for layer in self.layers) if graph.is_chain else 0
        self._parameters, self._buffers = (
            LiveArrays({f"{node}.{name}": array for node, arrays in zip(self.names, of_layers, strict=True)
                        for name, array in arrays.items()})
            for of_layers in zip(*((layer.parameters, layer.buffers) for layer in self.layers), strict=True)
        )  # fmt: skip
        config: dict[str, Any] = {"layers": [{"type": type(layer).__name__, **layer.config} for layer in self.layers]}
        if not graph.is_list:
            config["nodes"] = graph.describe()
        if graph.named:
            config["outputs"] = [graph.values[len(self.inputs) + i] for i in graph.outputs]
        self._config = ReadOnly(frozen(config))

    @classmethod
    def from_parameters(cls, config: Mapping[str, Any], parameters: Mapping[str, Array], prefix: str = "") -> Self:
        """A network from its `config` and its weights; see `Layer.from_parameters`."""
        known = {"layers": REQUIRED, "nodes": None, "outputs": None}
        check_names("Network", checks.mapping("config", config, "of options to their values"), known)
        if not isinstance(prefix, str):
            raise TypeError(f"prefix must be a text. Got {checks.show(prefix)}.")
        layers, names = [], read_names(config)
        for i, (name, entry) in enumerate(zip(names, config["layers"], strict=True)):
            options = dict(checks.mapping(f"layers[{i}] of config", entry, "of arguments to their values"))
            kind = options.pop("type", None)
            if not (isinstance(kind, type) and issubclass(kind, Layer)):  # a class, for layers of one's own
                kind = LAYERS[checks.choice("the type of a layer", kind, LAYERS)]
            layers.append(kind.from_parameters(options, parameters, f"{prefix}{name}."))
        return cls(placed(config["nodes"], layers) if "nodes" in config else layers, config.get("outputs"))

    def replace(self, *, seed: int | None = None, layers: Any = None, **options: Any) -> Self:
        """A new network of copies of these layers, or of copies of `layers`; without arguments a copy.

        Its options are those of its constructor. A layer is changed by its own `replace`:
        ``net.replace(layers=[net.layers[0].replace(zoneout=0.1), *net.layers[1:]])``. A list of as many layers takes
        the places of those that a network by names has. No weights are drawn.

        >>> import elman
        >>> net = elman.Network([elman.GRU(3, 5, seed=0), elman.Dense(5, 2, seed=1)])
        >>> net.replace(layers=[net.layers[0], net.layers[1].replace(activation="tanh")]).layers[1].activation
        Activation('tanh')
        """
        checks.seed("seed", seed)
        check_names("Network", {"layers": None, **options}, self._known_options())
        nodes = read_nodes(self.layers if layers is None else layers)
        copies = [node.layer.replace() for node in nodes.values()]
        if not isinstance(layers, Mapping):
            return self._of(copies, options.get("outputs", self.config.get("outputs")))
        pairs = zip(nodes.items(), copies, strict=True)
        named = {name: Node(layer, *node.reads, state=node.state) for (name, node), layer in pairs}
        return self._of(named, options.get("outputs"))

    def astype(self, dtype: Any) -> Self:
        """A copy with all weights, those of nested networks too, in "float32" or "float64"."""
        return self._of([layer.astype(dtype) for layer in self.layers], self.config.get("outputs"))

    def _of(self, layers: list[Layer] | dict[str, Node], outputs: Any) -> Self:
        """A network of others, layers in a list in the places of its own, with what a subclass keeps besides them."""
        if isinstance(layers, list) and not self.graph.is_list:
            if len(layers) != len(self.layers):
                must = f"layers must be a mapping, or a list of {len(self.layers)} layers"
                raise ValueError(f"{must}. Got {len(layers)}.")
            layers = placed(self.graph.describe(), layers)
        new = type(self).__new__(type(self))
        new.__dict__.update({name: value for name, value in self.__getstate__().items() if name != "_config"})
        Network.__init__(new, layers, outputs)
        return new

    def _instead(self, name: str) -> str:
        return "net.replace(layers=[...]) gives a new network"

    @classmethod
    def _known_options(cls) -> Mapping[str, Any]:
        return {"layers": REQUIRED, "outputs": None}

    def stream(self, batch: int | None = None, missing: str = "pass") -> Stream:
        """The network one step at a time, over one sequence or `batch` of them; see `elman.Stream`.

        `missing` says what a NaN in an input does: "pass", "raise" or "forward".
        """
        from elman.packed import PackedNetwork
        from elman.streaming import Stream

        if self._packed is None or not self._packed.fits(self):
            self._packed = PackedNetwork(self)
        return Stream(self._packed, batch, missing)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed": None}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the network into one safetensors file; see `elman.load`.

        The file is replaced whole or not at all: a crash half way leaves the old one. A file that is there gives the
        new one its mode, and a link stays one; other names of the file (hard links) keep the old network. Raises
        `ValueError` or `OSError` where `path` cannot be that of a file, and `FormatError` for what `load` could not
        bring back, before anything is written.
        """
        from elman.saving import save

        save(self, path)

    def features(self, *read: int | None) -> int | None:
        return self.graph.widths(read)[1][self.graph.outputs[0]]

    def in_stream(self, width: int | None = None) -> Network:
        given = [width if width is not None else take[1] for take in self.takes]
        values = [width for widths in self.graph.widths(given) for width in widths]
        layers = []
        for i, layer, reads, *_ in self.graph.nodes:
            try:
                own = not layer.layers and place_of(layer, "step", "ready") < place_of(layer, "in_stream")
                layers.append(layer if own else layer.in_stream(values[reads[0]]))
            except ShapeError as error:
                raise ShapeError(f"{self.graph.called(i)} {error}") from None
        same = all(one is other for one, other in zip(layers, self.layers, strict=True))
        return self if same else self._of(layers, self.config.get("outputs"))

    def pack(self, x: Any, lengths: Any, own: bool) -> Sequences | Several:
        packed = super().pack(x, lengths, own) if len(self.inputs) == 1 else self._pack_several(x, lengths, own)
        if self._open:  # widths that depend on x
            rows = [part.values for part in packed.named.values()]
            self.graph.widths([None if part.ndim == 1 else part.shape[1] for part in rows])
        return packed

    def _pack_several(self, x: Any, lengths: Any, own: bool) -> Several:
        """The inputs by name: what has an axis less than the others is one vector per sequence."""
        names, given = self.inputs, by_name("x", x, self.inputs)
        mapped = isinstance(lengths, Mapping)
        each = by_name("lengths", lengths, names, every=False) if mapped else dict.fromkeys(names, lengths)
        axes = [axes_before_features(given[name], tokens is not None) for name, _, tokens in self.takes]
        most, parts = max(1, *axes), {}
        for (name, width, tokens), before, taken in zip(self.takes, axes, self._vectors, strict=True):
            part, vectors = given[name], taken or before < most
            if before < most - 1:
                want = "(features,)" if most == 1 else "(batch, features)"
                raise ShapeError(f"{name} must have shape {want}, a vector per sequence. Got {checks.describe(part)}.")
            steps = each[name] if mapped or not vectors else None
            parts[name] = pack(name, part, width, self.dtype, steps, tokens=tokens, vectors=vectors, own=own)
        counts = {name: part.layout.count for name, part in parts.items()}
        other = next((name for name in names if counts[name] != counts[names[0]]), None)
        if other is not None:
            must = f"{other} must hold {counts[names[0]]} sequences, as {names[0]} does"
            raise ShapeError(f"{must}. Got {counts[other]}.")
        return Several(parts)

    def run(self, x: Any, state: State, rng: Noise, keep: bool) -> tuple[Any, State, Any]:
        graph, given = self.graph, [x] if isinstance(x, Sequences) else [*x.named.values()]
        values: list[Any] = [*given, *[None] * (len(graph.values) - len(given))]
        begins = iter(state) if state else None
        states: list[State] = []
        kept: list[Any] = []
        for i, layer, reads, start, own, spent in graph.nodes:
            begin = next(begins) if begins and layer.stateful else None
            try:
                if start:
                    begin = tuple([values[j].vectors(repr(graph.values[j])) for j in start])
                read = values[reads[0]] if len(reads) == 1 else tuple([values[j] for j in reads])
                y, end, tape = layer.run(read, begin, rng, keep)
            except ShapeError as error:
                raise error if graph.is_list else ShapeError(f"{graph.called(i)} {error}") from None
            values[len(self.inputs) + i] = y
            for s, j in own:  # copies: the last states go to the user
                values[j] = Sequences(end[s].copy(), y.layout.as_vectors())
            if layer.stateful:
                states.append(end)
            if keep:
                kept.append((tape, y))
            else:
                for j in spent:
                    values[j] = None
        if graph.named:
            y = Several({graph.values[len(self.inputs) + i]: values[len(self.inputs) + i] for i in graph.outputs})
        return y, states, kept

    def run_back(self, kept: Any, dy: Any, dstate: State) -> tuple[Any, State, Gradients]:
        return self._back(kept, dy, dstate, by_sequence=False)

    def _back_by_sequence(
        self, kept: Any, y: Sequences | Several, dy: Any, dstate: State
    ) -> tuple[Any, State, Gradients]:
        of_library = all(type(layer).__module__.startswith("elman.") for layer in every_layer(self))
        if not of_library or self.seen(kept):  # the gradient of one sequence may go through others
            return super()._back_by_sequence(kept, y, dy, dstate)
        return self._back(kept, dy, dstate, by_sequence=True)

    def _back(
        self, kept: Any, dy: Any, dstate: State, by_sequence: bool, flows: dict[str, Flow] | None = None
    ) -> tuple[Any, State, Gradients]:
        first, graph = len(self.inputs), self.graph
        dvalues: list[Array | None] = [None] * len(graph.values)
        for i in graph.outputs:
            dvalues[first + i] = dy[graph.values[first + i]] if graph.named else dy
        dends, starts = self._by_layer(dstate), [None] * len(self.layers)
        gradients: Gradients = {}
        for i, layer, reads, start, given, _ in reversed(graph.nodes):
            tape, y = kept[i]
            dvalue, dend = dvalues[first + i], dends[i]
            dvalue = np.zeros_like(y.values) if dvalue is None else dvalue
            asked = {s: dstate for s, j in given if (dstate := dvalues[j]) is not None}
            if asked:
                count, widths = y.layout.count, layer.states().values()
                dend = [np.zeros((count, width), y.values.dtype) for width in widths] if dend is None else dend
                dend = tuple([part + asked[s] if s in asked else part for s, part in enumerate(dend)])
            if by_sequence:
                dread, dstart, own = layer._back_by_sequence(tape, y, dvalue, dend)
            elif flows is not None and isinstance(layer, Network):
                dread, dstart, own, inner = flow_back(layer, tape, dvalue, dend)
                flows |= {f"{self.names[i]}.{place}": flow for place, flow in inner.items()}
            else:
                dread, dstart, own = layer.run_back(tape, dvalue, dend)
            if flows is not None:
                flows[self.names[i]] = Flow(dvalue, dend, dread)
            starts[i] = None if start else dstart
            # A value that is read twice has the sum of the gradients.
            dreads = [dread] if len(reads) == 1 else dread
            for j, part in zip((*reads, *start), [*dreads, *(dstart if start else ())], strict=True):
                dvalues[j] = part if dvalues[j] is None else dvalues[j] + part
            for name, gradient in own.items():
                gradients[f"{self.names[i]}.{name}"] = gradient
        dx = dvalues[0] if first == 1 else dict(zip(self.inputs, dvalues, strict=False))
        return dx, [one for layer, one in zip(self.layers, starts, strict=True) if layer.stateful], gradients

    def seen(self, kept: Any) -> list[Seen]:
        return [one for layer, (tape, _) in zip(self.layers, kept, strict=True) for one in layer.seen(tape)]

    def _by_layer(self, state: State) -> list[State]:
        """One entry per layer, from one entry per layer with states."""
        if not state:
            return [None] * len(self.layers)
        entries = iter(state)
        return [next(entries) if layer.stateful else None for layer in self.layers]

    def first_state(self, count: int) -> Any:
        return [layer.first_state(count) for layer in self._stateful]

    def pack_state(self, name: str, state: Any, layout: Layout, own: bool = True) -> State:
        if state is None:
            return None
        if not isinstance(state, (list, tuple)) or len(state) != len(self._stateful):
            must = f"{name} must be a list of {len(self._stateful)}, one entry per layer with states"
            raise ShapeError(f"{must}. Got {checks.describe(state)}.")
        entries = self._by_layer(state)
        for i, start in enumerate(self.graph.starts):
            if name == "state" and start and entries[i] is not None:
                what = f"{name} of {self.graph.called(i)} must be None, as it starts from {self.graph.begin(i)}"
                raise ShapeError(f"{what}. Got {checks.describe(entries[i])}.")
        return [layer.pack_state(name, part, layout, own) for layer, part in zip(self._stateful, state, strict=True)]

    def unpack_state(self, state: State, layout: Layout) -> Any:
        pairs = zip(self._stateful, state, strict=True)
        return [None if part is None else layer.unpack_state(part, layout) for layer, part in pairs]

    def _shown(self, *without: str) -> str:
        return f"Network of {len(self.layers)} layers"

    def __repr__(self) -> str:
        names = [layer._shown("dtype") for layer in self.layers]
        counts = [f"{layer.parameter_count:,}" for layer in self.layers]
        left, right = max(map(len, names)), max(map(len, counts))
        reads = [", ".join(self.graph.values[j] for j in each) for each in self.graph.reads]
        for i, start in enumerate(self.graph.starts):
            reads[i] += f", from {self.graph.begin(i)}" if start else ""
        places = self.names if self.graph.is_list else [f"{a} <- {b}" for a, b in zip(self.names, reads, strict=True)]
        begin = max(map(len, places)) if not self.graph.is_list else 0
        rows = [
            f"  {place:<{begin}}  {name:<{left}} {count:>{right}}"
            for place, name, count in zip(places, names, counts, strict=True)
        ]
        kind = "" if self.dtype is None else f", {self.dtype}"
        return "\n".join([f"Network of {len(rows)} layers, {self.parameter_count:,} parameters{kind}", *rows])


def flow_back(net: Network, kept: Any, dy: Any, dstate: State) -> tuple[Any, State, Gradients, dict[str, Flow]]:
    """What `run_back` of a network gives, and what came to each node, by its place."""
    flows: dict[str, Flow] = {}
    return *net._back(kept, dy, dstate, by_sequence=False, flows=flows), flows


def taped(net: Network, kept: Any, path: str = "") -> list[Taped]:
    """The nodes of a network as they ran, those of networks within it in their places, from what its `run` kept."""
    found = []
    for name, layer, (own, y) in zip(net.names, net.layers, kept, strict=True):
        place = path + name
        found += taped(layer, own, f"{place}.") if isinstance(layer, Network) else [Taped(place, layer, own, y)]
    return found


LAYERS["Network"] = Network  # for files: a network may be a layer of another
