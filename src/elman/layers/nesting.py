"""Layers within networks, and whether they are the library's own."""

from __future__ import annotations

from collections.abc import Iterator

from elman.layers.layer import Layer


def placed_layers(net: Layer, path: str = "") -> Iterator[tuple[str, Layer]]:
    """Every layer of a network with its place, "1.0" in a network within the network, as in the names of parameters."""
    for i, layer in enumerate(net.layers):
        if layer.layers:
            yield from placed_layers(layer, f"{path}{i}.")
        else:
            yield f"{path}{i}", layer


def flat_layers(net: Layer) -> list[Layer]:
    """The layers of a network in a row, those of nested networks in their place; a layer itself."""
    return [layer for _, layer in placed_layers(net)] if net.layers else [net]


def every_layer(net: Layer) -> Iterator[Layer]:
    """A layer or a network, and all that is inside it, networks too."""
    yield net
    for layer in net.layers:
        yield from every_layer(layer)


#: The methods that say what a layer computes.
_COMPUTING = ("_pool", "first_state", "ready", "run", "run_back", "states", "step")


def computes_otherwise(layer: Layer) -> bool:
    """Whether the class of a layer is one's own, and has other functions than that of this library which it extends."""
    known = next(kind for kind in type(layer).__mro__ if kind.__module__.startswith("elman."))
    return any(getattr(type(layer), name, None) is not getattr(known, name, None) for name in _COMPUTING)
