"""What the names of a trace stand for: "1.f" of the node "1", "1.df" its gradient, "1.dWh" the shares of a weight."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from elman.checks import Array
from elman.insight.walks import TracedLayer
from elman.network import Flow, Taped
from elman.sequences import Layout, Sequences


class UnknownNameError(KeyError, ValueError):
    """A name that nothing in a trace has."""

    def __str__(self) -> str:
        return str(self.args[0])  # not quoted, as KeyError has it


class Numbers(NamedTuple):
    """What a name stands for."""

    layout: Layout | None  # how its rows belong together; None for the shares of a weight, (time, ...)
    rows: Callable[[], Array]  # computes them, packed

    def unpack(self) -> Any:
        """In the form of x, with memory of its own."""
        return self.rows() if self.layout is None else self.layout.unpack(self.rows(), own=True)


def kept_names(layers: Collection[TracedLayer]) -> dict[str, Numbers]:
    """What the tapes of recurrent layers kept, which costs nothing."""
    return {one.path(name): _of(one, one.values, name) for one in layers for name in one.names(kept=True)}


def all_names(
    inputs: Mapping[str, Sequences],
    nodes: Collection[Taped],
    layers: Collection[TracedLayer],
    flows: Mapping[str, Flow] | None,
    dread: Any,
) -> dict[str, Numbers]:
    """Inputs, then of one node after another its numbers, their gradients, and the shares of its weights."""
    found: dict[str, Numbers] = {}
    if all(node.place for node in nodes):  # of a network
        back = dread if isinstance(dread, dict) else dict.fromkeys(inputs, dread)
        for d, values in (("", {name: part.values for name, part in inputs.items()}), ("d", back)):
            for name, part in inputs.items():
                if values[name] is not None:
                    found[d + name] = _given(part.layout, values[name])
    for node in nodes:
        own = [one for one in layers if one.place == node.place]
        for name, numbers in _of_node(node, own, inputs, None if flows is None else flows[node.place]):
            found.setdefault(name, numbers)  # where names meet, what was computed forward has it
    return found


def _of_node(
    node: Taped, own: Sequence[TracedLayer], inputs: Mapping[str, Sequences], flow: Flow | None
) -> Iterator[tuple[str, Numbers]]:
    path = node.place and f"{node.place}."
    x = own[0].values("x") if own else None if path else inputs["x"].values
    before = inputs["x"].layout if x is not None and not own else node.y.layout
    if x is not None:
        yield f"{path}x", _given(before, x)
    for one in own:
        yield from ((one.path(name), _of(one, one.values, name)) for name in one.names())
    yield f"{path}y", _given(node.y.layout, node.y.values)
    if flow is None:
        return
    if x is not None and flow.dx is not None:
        yield f"{path}dx", _given(before, flow.dx)
    for one in own:
        yield from ((one.path(f"d{name}"), _of(one, one.gradient, name)) for name in one.gradient_names())
    yield f"{path}dy", _given(node.y.layout, flow.dy)
    for one in own:
        for name in one.layer.parameters:
            yield one.path(f"d{name}"), Numbers(None, functools.partial(one.share, name))


def _given(layout: Layout, values: Array) -> Numbers:
    return Numbers(layout, lambda: values)


def _of(one: TracedLayer, compute: Callable[[str], Array], name: str) -> Numbers:
    return Numbers(one.layout, functools.partial(compute, name))
