"""What every format asks of a network: its layers, what was chosen for them, one network from them."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from elman import checks
from elman.cells import CELLS
from elman.cells.activations import Activation
from elman.cells.cell import REVERSE
from elman.checks import Array, FormatError, ShapeError
from elman.graph import Node
from elman.layers import Activate, Add, Attention, Dense, Dropout, Layer, Recurrent, Repeat, Scale
from elman.layers.nesting import Flat, LastState, computes_otherwise, every_layer, flat_nodes
from elman.network import Network

T = TypeVar("T")


class Fitted(Protocol):
    """What has a network that tells all that it computes, as the estimators have."""

    def to_network(self) -> Network:
        """The network."""


def as_layer(net: Layer | Fitted) -> Layer:
    """What is written of a layer, a network or a fitted estimator."""
    if isinstance(net, Layer):
        return net
    if isinstance(net, type) or not callable(getattr(net, "to_network", None)):
        raise TypeError(f"net must be a network, a layer or a fitted estimator. Got {checks.describe(net)}.")
    return net.to_network()


def nodes_of(net: Any, spelled: bool = True, states: bool = False) -> tuple[Network, list[Flat], list[int]]:
    """A layer or a network as a network, its layers, those of nested networks in their place, and what comes out.

    With `spelled` two directions of unlike cells are the layers that make them up. Without `states` refuses last states
    that are values, and nodes that start from values.
    """
    net = as_layer(net)
    for layer in every_layer(net):
        if computes_otherwise(layer):
            raise FormatError(f"net must compute as the layers of elman do, which a format can name. Got {layer!r}.")
    network = net if isinstance(net, Network) else Network([net])
    nodes, outputs = flat_nodes(network, spelled)
    for node in [] if states else nodes:
        if isinstance(node.start, tuple):
            must = "must start by itself, or from the whole last state of another, in this format"
            raise FormatError(f"node {node.place!r} {must}. Got one that starts from values.")
        if isinstance(node.layer, LastState):
            raise FormatError(f"a last state must be read by no node in this format. Got {node.place!r}, which is.")
    return network, nodes, outputs


def layers_of(net: Any) -> list[Layer]:
    """The layers of a chain in a row, for formats that know nothing else; refuses other graphs."""
    _, nodes, _ = nodes_of(net)
    for layer in every_layer(net):
        if isinstance(layer, Network) and not layer.graph.is_chain:
            raise FormatError(f"net must be a chain for this format, one layer after another. Got {branch(layer)}.")
    apart = next((node.place for i, node in enumerate(nodes) if node.reads != (i,)), None)
    if apart is not None:
        raise FormatError(f"both directions of node {apart!r} must be equal for this format. Got two kinds.")
    return [node.layer for node in nodes]


def row_of(table: Mapping[type[Layer], T], layer: Layer) -> T | None:
    """What a format has for a layer; a class of one's own is a row only where it is recurrent, or acts in training."""
    return next(
        (table[kind] for kind in (type(layer), Recurrent, Dropout) if isinstance(layer, kind) and kind in table), None
    )


def sequence_inputs(net: Network) -> set[str]:
    """The inputs that must have an axis of time, where a format wants to know.

    They are those that a layer over time reads, by itself or through layers that treat each step alone, and all where
    there is no such layer. The others may be one vector per sequence.
    """
    nodes, _ = flat_nodes(net)
    found: set[int] = set()
    while True:
        # Of each value the inputs that it may have its steps from; none of a vector; None where it has steps.
        vectors: set[int] = set()
        sources: list[set[int] | None] = [None if j in found else {j} for j in range(len(net.inputs))]
        open_ones = []
        for node in nodes:
            read = [sources[j] for j in node.reads]
            pool, over_memory = node.layer.pools, isinstance(node.layer, Attention)
            for j in node.start if isinstance(node.start, tuple) else ():
                vectors |= sources[j] or set()
            if isinstance(node.layer, Repeat):
                vectors |= read[0] or set()
                sources.append(None)
            elif node.layer.stateful or node.layer.needs_whole_sequences or pool:
                over_time = read[1 if over_memory else 0]
                open_ones += [over_time] if over_time else []
                sources.append(set() if pool else read[0] if over_memory else None)
            else:
                sources.append(None if None in read else {j for one in read for j in one or ()})
        if not open_ones:
            return {net.inputs[j] for j in found or {*range(len(net.inputs))} - vectors}
        found |= min(open_ones, key=len)


def input_widths(net: Network) -> list[int | None]:
    """How many features each input has: where no layer that reads it says it, the one number with which all fit."""
    known = [width for _, width, _ in net.takes]
    most = max(layer.input_size or 0 for layer in every_layer(net))
    for i, (_, width, tokens) in enumerate(net.takes):
        fit = []
        # Where more than one fits, so does one that is larger than all that the layers take.
        for one in range(1, most + 2) if width is None and tokens is None else ():
            with contextlib.suppress(ShapeError):
                net.graph.widths([*known[:i], one, *known[i + 1 :]])
                fit.append(one)
        known[i] = fit[0] if len(fit) == 1 and fit[0] <= most else width
    return known


def branch(net: Network) -> str:
    """The first node of a graph that makes it no chain, in words."""
    graph = net.graph
    for i, _, reads, start, *_ in graph.nodes:
        if reads != (i,) or start:
            names = " and ".join(repr(graph.values[j]) for j in reads)
            return f"{graph.called(i)} which reads {names}" + (f", and starts from {graph.begin(i)}" if start else "")
    return f"outputs {', '.join(map(repr, net.config['outputs']))}"


def network_of(
    layers: Iterable[Layer] | Mapping[str, Any], source: str, outputs: Sequence[str] | None = None
) -> Network:
    """The network of layers, or of nodes by name, that were read from `source`; refuses those that do not fit."""
    try:
        return Network(layers if isinstance(layers, Mapping) else list(layers), outputs)
    except ValueError as error:
        raise FormatError(f"{source}: its layers must fit together. {error}") from error


class Made(NamedTuple):
    """A layer that was read, by keys of what it reads, and of the layer from whose last state, or the values from
    which, it starts."""

    layer: Layer
    name: str
    reads: Sequence[Hashable]
    start: Hashable = None
    begins: Sequence[Hashable] = ()


def joined(
    made: Mapping[Any, Made],
    inputs: Mapping[Any, str],
    outputs: Sequence[tuple[str, Any]],
    source: str,
    states: Mapping[Any, tuple[Any, str]] | None = None,
) -> Network:
    """The network of layers by keys, in order: a list where they are a chain, or else nodes by name.

    Names of outputs come before those of layers. An output that is an input, a state, or another one too, is a copy.
    `states` are keys of last states that are values: the key of the layer, and the name of the state.
    """
    names: dict[Any, str] = dict(inputs)
    taken = {*names.values()}
    ends = [free_name(name, taken) for name, _ in outputs]
    pairs, states = [(end, key) for end, (_, key) in zip(ends, outputs, strict=True)], states or {}
    copies = [(end, key) for end, key in pairs if key in states or names.setdefault(key, end) != end]

    def of(key: Hashable) -> str:
        return f"{names[states[key][0]]}.{states[key][1]}" if key in states else names[key]

    nodes: dict[str, Any] = {}
    for key, (layer, name, reads, start, begins) in made.items():
        names[key] = names.get(key) or free_name(name, taken)
        state = tuple(map(of, begins)) or names.get(start)
        nodes[names[key]] = Node(layer, *map(of, reads), state=state)
    nodes |= {end: (Activate("identity"), of(key)) for end, key in copies}
    net = network_of(nodes, source, None if ends == [*nodes][-1:] else tuple(ends))
    return network_of([each.layer for each in made.values()], source) if net.graph.is_chain else net


def free_name(name: str, taken: set[str]) -> str:
    """A name that a node may have: without dots, not that of a second direction, and of none yet; it is taken then."""
    plain = name.replace(".", "_") or "y"
    plain += "_" * plain.endswith(REVERSE)
    names = itertools.chain([plain], (f"{plain}_{i}" for i in itertools.count(2)))
    found = next(name for name in names if name not in taken)
    taken.add(found)
    return found


def dtype_of(net: Layer) -> np.dtype[Any]:
    """The dtype of a network in a format that must name one: that of its weights, float32 where it has none."""
    return np.dtype(np.float32) if net.dtype is None else net.dtype


def dense(W: Array, b: Array | None = None, activation: Any = "identity") -> Dense:
    """A dense layer of weights that were read, (input, output), in their dtype; a bias that is not there is 0."""
    config = {"input_size": W.shape[0], "output_size": W.shape[1], "activation": activation, "dtype": str(W.dtype)}
    return Dense.from_parameters(config, {"W": W, "b": np.zeros(W.shape[1], W.dtype) if b is None else b})


def grouped(W: Array, features: int) -> Array:
    """The kernel of a convolution in groups, (width, features / groups, output), as one over all features.

    Between the groups stands 0.
    """
    width, part, out = W.shape
    groups = features // max(part, 1)
    if part * groups != features or out % max(groups, 1):
        raise FormatError(f"the weights of a convolution must fit {features} features. Got {W.shape}, of {part} each.")
    if groups > 1 and width * features * out > 2**27:
        must = f"a convolution in groups must be one over all features of at most {2**27:,} weights"
        raise FormatError(f"{must}. Got {width} x {features} x {out}.")
    full = np.zeros((width, groups, part, groups, out // groups), W.dtype)
    index = np.arange(groups)
    full[:, index, :, index] = W.reshape(width, part, groups, -1).transpose(2, 0, 1, 3)
    return full.reshape(width, features, out)


def prelu(slopes: Array, size: int) -> Layer:
    """max(x, 0) + slope min(x, 0) of `size` features, of one slope or of one for each."""
    if len({*slopes.tolist()}) == 1 and slopes[0] > 0:
        return Activate(Activation("leaky_relu", alpha=float(slopes[0])))
    nodes = {
        "above": (Activate("relu"), "x"),
        "turned": (Scale(size, 0.0, -1.0), "x"),
        "below": (Activate("relu"), "turned"),
        "slope": (Scale(size, 0.0, -slopes.astype(np.float64) if len(slopes) > 1 else -float(slopes[0])), "below"),
    }
    return Network({**nodes, "both": (Add(), "above", "slope")})


def shared_activation(layer: Recurrent, gates: str, system: str) -> Activation:
    """The activation of several gates, for which `system` has but one."""
    each = {gate: activation for gate, activation in layer.cell.activations.items() if gate in gates}
    if len(set(each.values())) > 1:
        must = f"the activations of {', '.join(each)} must be the same for {system}, where they share one"
        got = ", ".join(str(activation.to_config()) for activation in each.values())
        raise FormatError(f"{must}. Got {got}.")
    return next(iter(each.values()))


def check_holds(layer: Recurrent, system: str, options: Collection[str] = ()) -> None:
    """Refuses what `system` cannot hold of a recurrent layer and what would change its outputs if left out.

    `options` names those that the system has, of the cell, "learned_state" and "zoneout". Dropout acts in training
    alone, so that of the state is never refused.
    """
    make = CELLS.get(layer.cell.name)
    if make is None or make(**layer.cell.options) != layer.cell:
        got = repr(layer.cell) if make is None else f"one of your own by the name {layer.cell.name!r}"
        raise FormatError(f"the cell must be a built-in one for {system}. Got {got}.")
    for name, value in layer.cell.options.items():
        if name not in options:
            raise FormatError(
                f"{name} must be left out for {system}, which has no such option. Got {checks.show(value)}."
            )
    check_states(layer, system, options)


def check_states(layer: Recurrent, system: str, options: Collection[str] = ()) -> None:
    """The same of the options of the layer itself."""
    if layer.learned_state and "learned_state" not in options:
        raise FormatError(f"learned_state must be False for {system}, which keeps no states. Got True.")
    if layer.zoneout and "zoneout" not in options:
        raise FormatError(
            f"zoneout must be 0 for {system}: it changes what a layer computes after training too. Got {layer.zoneout}."
        )
