"""Layers within networks, and whether they are the library's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from elman.checks import ShapeError
from elman.layers.layer import Layer
from elman.layers.recurrent import Directed


class Flat(NamedTuple):
    """A layer among all those of a network, with the places of what it reads among the values.

    The values in a row are the inputs of the network, then what each layer gives.
    """

    place: str  # "1.0" in a network within the network, as in the names of parameters
    layer: Layer
    reads: tuple[int, ...]
    start: int | None  # the layer from whose last state it starts


def flat_nodes(net: Any, spelled: bool = False) -> tuple[list[Flat], list[int]]:
    """The layers of a network, those of nested networks in their place, and the values that come out.

    With `spelled` a layer of both directions stands as the layers that make it up, see `Layer._spelled`.
    """
    found: list[Flat] = []
    first = len(net.inputs)
    keepers: dict[int | None, int] = {}  # value -> the layer that has its state, where another one gives the value

    def walk(inside: Any, path: str, values: list[int]) -> list[int]:
        for i, layer, reads, start, _ in inside.graph.nodes:
            read, place = [values[j] for j in reads], path + inside.names[i]
            if layer.layers:
                values.append(walk(layer, f"{place}.", read)[0])
            else:
                begin = None if start is None else values[len(inside.inputs) + start] - first
                begin = keepers.get(begin, begin)
                here = len(found)
                for part in [layer, inside.layers[start]] if spelled and start is not None else []:
                    if len(part._spelled()) > 2:
                        must = f"node {place!r} must take its first state from, and be, a layer that stands as one"
                        raise ShapeError(f"{must}. Got {part!r}.")
                for part, own in layer._spelled() if spelled else [(layer, None)]:
                    inner = tuple(read) if own is None else tuple([first + here + k for k in own])
                    found.append(Flat(place, part, inner, begin if part.stateful else None))
                keepers[len(found) - 1] = here
                values.append(first + len(found) - 1)
        return [values[len(inside.inputs) + i] for i in inside.graph.outputs]

    outputs = walk(net, "", list(range(first)))
    return found, outputs


def placed_layers(net: Layer) -> list[tuple[str, Layer]]:
    """Every layer of a network with its place."""
    return [(node.place, node.layer) for node in flat_nodes(net)[0]]


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
