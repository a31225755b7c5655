"""Layers within networks, and whether they are the library's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from elman.checks import ShapeError
from elman.layers.layer import Layer
from elman.layers.recurrent import Directed


class LastState(Layer):
    """Stands in a row of layers for a last state that is read: of the layer right before, or of what that is made of.

    In a network the state is a value by its name, "encoder.c".
    """

    pools = True

    def setup(self, state: str, index: int, output_size: int) -> None:
        self.state, self.index, self.output_size = state, index, output_size


class Flat(NamedTuple):
    """A layer among all those of a network, with the places of what it reads among the values.

    The values in a row are the inputs of the network, then what each layer gives.
    """

    place: str  # "1.0" in a network within the network, as in the names of parameters
    layer: Layer
    reads: tuple[int, ...]
    start: int | tuple[int, ...] | None  # the layer from whose last state it starts, or values, one per state


def flat_nodes(net: Any, spelled: bool = False) -> tuple[list[Flat], list[int]]:
    """The layers of a network, those of nested networks in their place, and the values that come out.

    With `spelled` a layer of both directions stands as the layers that make it up, see `Layer._spelled`. A last state
    that is read is a `LastState` of the layer that has it.
    """
    found: list[Flat] = []
    first = len(net.inputs)
    keepers: dict[int | None, int] = {}  # value -> the layer that has its state, where another one gives the value

    def walk(inside: Any, path: str, given: list[int]) -> list[int]:
        graph, count = inside.graph, len(given)
        values = [*given, *[-1] * (len(graph.values) - count)]
        asked = {j for start, whole in zip(graph.starts, graph.wholes, strict=True) if whole is None for j in start}
        asked |= {j for reads in graph.reads for j in reads} | {count + i for i in graph.outputs}
        for i, layer, reads, start, states, _ in graph.nodes:
            read, place, whole = [values[j] for j in reads], path + inside.names[i], graph.wholes[i]
            if layer.layers:
                values[count + i] = walk(layer, f"{place}.", read)[0]
                continue
            here, rows = len(found), layer._spelled() if spelled else [(layer, None)]
            for part in [layer, inside.layers[whole]] if spelled and whole is not None else []:
                if len(part._spelled()) > 2:
                    must = f"node {place!r} must take its first state from, and be, a layer that stands as one"
                    raise ShapeError(f"{must}. Got {part!r}.")
            begins, owners = iter([values[j] for j in start]), list[tuple[int, LastState]]()
            for part, own in rows:
                inner = tuple(read) if own is None else tuple([first + here + k for k in own])
                begin: int | tuple[int, ...] | None = tuple([next(begins) for _ in part.states() if start]) or None
                if begin is not None and whole is not None:
                    begin = keepers[values[count + whole] - first]
                for s, (state, width) in enumerate(part.states().items() if states else ()):
                    owners.append((len(found), LastState(state=state, index=s, output_size=width)))
                found.append(Flat(place, part, inner, begin))
            keepers[len(found) - 1] = here
            values[count + i] = first + len(found) - 1
            for s, j in states:
                if j in asked:
                    values[j] = first + len(found)
                    found.append(Flat(path + graph.values[j], owners[s][1], (first + owners[s][0],), None))
        return [values[count + i] for i in graph.outputs]

    outputs = walk(net, "", list(range(first)))
    return found, outputs


def placed_layers(net: Layer) -> list[tuple[str, Layer]]:
    """Every layer of a network with its place."""
    return [(node.place, node.layer) for node in flat_nodes(net)[0] if not isinstance(node.layer, LastState)]


def every_layer(net: Layer) -> Iterator[Layer]:
    """A layer or a network, and all that is inside it: networks too, and the two directions of a layer."""
    yield net
    both = net.directions.values() if isinstance(net, Directed) and net.bidirectional else ()
    for layer in (*net.layers, *both):
        yield from every_layer(layer)


def place_of(layer: Layer, *names: str) -> int:
    """How far from the layer's own class the nearest one is that has one of these methods."""
    return next(i for i, kind in enumerate(type(layer).__mro__) if not {*names}.isdisjoint(vars(kind)))


#: The methods that say what a layer computes.
_COMPUTING = (
    *("_pool", "_walk", "_walk_back", "first_state", "join", "join_back", "ready"),
    *("run", "run_back", "states", "step"),
)


def computes_otherwise(layer: Layer) -> bool:
    """Whether the class of a layer is one's own, and has other functions than that of this library which it extends."""
    known = next(kind for kind in type(layer).__mro__ if kind.__module__.startswith("elman."))
    return any(getattr(type(layer), name, None) is not getattr(known, name, None) for name in _COMPUTING)
