"""The modules of a state_dict one after the other: their order, and the layers of a network that take their weights.

A state_dict of PyTorch lists modules in the order in which they were made. Files that sort their names, safetensors
among them, keep no order; then the numbers of an nn.Sequential tell it, or widths that fit in one way alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from elman import checks
from elman.checks import Array, FormatError
from elman.interop.files import named
from elman.interop.pytorch.weights import ATTENTION, SCALE, Module, modules_of
from elman.layers import Attention, BatchNorm, Bidirectional, Conv1d, Dense, Embedding, Layer, LayerNorm, Recurrent
from elman.layers.nesting import placed_layers
from elman.network import Network

Readings: TypeAlias = tuple[Module, ...]  # all that a module can be
Fits: TypeAlias = Callable[[tuple[Module, ...], Module], bool]

_MOST_TRIED = 8  # modules whose order is sought: 8! orders are a moment's work
_WAY_OUT = "pass order=[...], their names in the order in which they run, or like=, a network of their shapes"


def layers_from(weights: Mapping[str, Array], order: Sequence[str] | None) -> list[Layer]:
    """The layers whose weights these are."""
    modules, ordered = _ordered(weights, order)
    _check_numbers(list(weights))
    chain = _only_chain(modules, ordered, _follows, len(modules))
    _check_alone(chain)
    for before, module in pairwise(module for module in chain if module.kind != "BatchNorm"):
        if before.kind == module.kind == "Linear":
            raise FormatError(
                f"{before.name} and {module.name}, two Linear in a row, must have an activation between them, which is "
                "in no state_dict: pass like=, a network of the same shape, or the module itself. Got weights alone."
            )
    return [layer for module in chain for layer in module.layers()]


def network_like(like: Layer, weights: Mapping[str, Array], order: Sequence[str] | None) -> Network:
    """A copy of a network with these weights: the layers that have any take them.

    A node takes the module of its name. Without names they do so in the order of the modules in a chain, and in a graph
    each takes the one that alone fits.
    """
    net = like if isinstance(like, Network) else Network([like])
    modules, told = _ordered(weights, order)
    placed = list(placed_layers(net))
    takers = [taker for place, layer in placed for taker in _takers(place, layer)]
    if len(takers) > sum(module.depth for module, *_ in modules):  # both directions may stand in one module
        takers = [taker for place, layer in placed for taker in _takers(place, layer, joined=True)]
    _check_count(modules, takers)
    # By name, where nodes have some: a Linear with an activation is the first of an nn.Sequential of two.
    nodes = set() if net.graph.is_list else {taker.name for taker in takers}
    names = {module.name: _node(module.name, nodes) for module, *_ in modules}
    named = nodes.intersection(names.values())
    ordered = order is not None or (told and net.graph.is_chain and not named)
    tried: dict[tuple[str, str, int], bool] = {}

    def fits(chain: tuple[Module, ...], module: Module) -> bool:
        first = sum(before.depth for before in chain)
        key = module.name, module.kind, first
        if key not in tried:
            own, node = names[module.name], takers[first].name if first < len(takers) else ""
            apart = own != node and not named.isdisjoint((own, node))
            tried[key] = not apart and _can_fill(takers[first : first + module.depth], module)
        return tried[key]

    if ordered:
        chain = _in_order(modules, takers)
    else:
        free = sum(name not in named for name in names.values())
        chain = _only_chain(modules, False, fits, free, takers)
    parameters: dict[str, Array] = {}
    first = 0
    for module in chain:
        parameters |= _fill(takers[first : first + module.depth], module)
        first += module.depth
    return Network.from_parameters(net.config, parameters)


def _node(name: str, nodes: Collection[str]) -> str:
    """The node that a module is called after."""
    return name if name in nodes else name.removesuffix(".0")


# The order.


def _ordered(weights: Mapping[str, Array], order: Sequence[str] | None) -> tuple[list[Readings], bool]:
    """The modules, and whether they stand in their order."""
    modules, told = modules_of(weights)
    by_name = {readings[0].name: readings for readings in modules}
    if order is not None:
        given = order if isinstance(order, (list, tuple)) else ()
        names = [str(name) for name in given if isinstance(name, (str, int))]
        if sorted(names) != sorted(by_name):
            raise ValueError(
                f"order must be a list of {', '.join(map(repr, by_name))}, each once. Got {checks.show(order)}."
            )
        return [by_name[name] for name in names], True
    if told or len(modules) == 1:
        return modules, True
    keys = sorted((_key(name), name) for name in by_name)
    numbered = all(_differ_in_a_number(one, other) for (one, _), (other, _) in pairwise(keys))
    return ([by_name[name] for _, name in keys], True) if numbered else (modules, False)


Key: TypeAlias = tuple[tuple[int, Any], ...]


def _key(name: str) -> Key:
    """What sorts names by their numbers."""
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in name.split("."))


def _differ_in_a_number(one: Key, other: Key) -> bool:
    """Whether two names differ first in a number, as those of an nn.Sequential do, or are of two directions."""
    first = next(((a, b) for a, b in zip(one, other, strict=False) if a != b), None)
    return first is not None and (first[0][0] == first[1][0] == 0 or first == ((1, "first"), (1, "second")))


def _check_numbers(names: Sequence[str]) -> None:
    """Refuses numbered modules some of which have no weights: what those did is not known."""
    found: dict[str, set[int]] = {}
    for name in names:
        parts = name.split(".")[:-1]
        for i, part in enumerate(parts):
            if part.isdecimal():
                found.setdefault(".".join(parts[:i]), set()).add(int(part))
    for parent, numbers in found.items():
        missing = next(i for i in range(len(numbers) + 1) if i not in numbers)
        if missing < max(numbers):
            within = f" of {parent}" if parent else ""
            raise FormatError(
                f"the modules{within} must all have weights: what an activation, a pool or dropout does is in no "
                f"state_dict, and like=, a network of the same shape, or the module itself tells it. "
                f"Got none for {missing}."
            )


def _check_alone(chain: Sequence[Module]) -> None:
    """Refuses an nn.Sequential with one Linear in front and nothing else that has weights: nobody wraps it alone."""
    for module in chain:
        parent, _, own = module.name.rpartition(".")
        alone = sum(other.name.startswith(f"{parent}.") for other in chain) == 1
        if module.kind == "Linear" and parent and own == "0" and alone:
            raise FormatError(
                f"{parent} must have weights in more than its first module, a Linear: an activation after it is in "
                "no state_dict, and like=, a network of the same shape, or the module itself tells it. Got one alone."
            )


def _only_chain(
    modules: Sequence[Readings], ordered: bool, fits: Fits, free: int, takers: Sequence[Taker] = ()
) -> tuple[Module, ...]:
    """The one way in which the modules follow one another, `free` of which may stand anywhere."""
    few = ordered or free <= _MOST_TRIED
    chains = list(islice(_chains(modules, ordered, fits, ()), 2)) if few else []
    if len(chains) == 1:
        return chains[0]
    got = "several ways" if chains else "none" if few else f"too many modules to try every order, {free}"
    listed = ", ".join(" or ".join(_told(module, takers) for module in readings) for readings in modules)
    way_out = f"{_WAY_OUT}, whose nodes bear their names" if takers else _WAY_OUT
    raise FormatError(f"the modules must fit one another in one way: {way_out}. Got {got} for {listed}.")


def _told(module: Module, takers: Sequence[Taker]) -> str:
    """A module, and the nodes that could take its weights."""
    nodes = [t.name for i, t in enumerate(takers) if _can_fill(takers[i : i + module.depth], module)]
    return f"{module}" + (f" for {' or '.join(nodes)}" if nodes else "")


def _chains(
    modules: Sequence[Readings], ordered: bool, fits: Fits, done: tuple[Module, ...]
) -> Iterator[tuple[Module, ...]]:
    """Every way in which each module fits after those before it."""
    if not modules:
        yield done
    for readings in modules[: 1 if ordered else None]:
        rest = [other for other in modules if other is not readings]
        for module in readings:
            if fits(done, module):
                yield from _chains(rest, ordered, fits, (*done, module))


def _follows(chain: tuple[Module, ...], module: Module) -> bool:
    takes, _ = module.widths
    return takes == chain[-1].widths[1] if chain else True


# The layers of a network.


class Taker(NamedTuple):
    """What takes the weights of one module: a layer, or a part of one."""

    place: str
    layer: Layer
    part: str = ""  # of an Attention: its query, memory or score; of a Bidirectional: its first or second layer

    @property
    def name(self) -> str:
        """As the module of it is called by `to_torch`."""
        return f"{self.place}.{self.part}" if self.part else self.place


_TAKES: dict[type[Layer], tuple[str, ...]] = {
    Attention: ("Linear",),
    BatchNorm: ("BatchNorm",),
    Conv1d: ("Conv1d",),
    Dense: ("Linear",),
    Embedding: ("Embedding",),
    LayerNorm: ("LayerNorm", SCALE),
}


def _takers(place: str, layer: Layer, joined: bool = False) -> list[Taker]:
    if isinstance(layer, Attention):
        parts = [ATTENTION[name].split(".")[0] for name in layer.parameters if name != "b"]
        return [Taker(place, layer, part) for part in parts]
    if isinstance(layer, Bidirectional) and not joined:
        return [Taker(place, layer, part) for part in ("first", "second")]
    return [Taker(place, layer)] if layer.parameters else []


def _in_order(modules: Sequence[Readings], takers: Sequence[Taker]) -> tuple[Module, ...]:
    """The modules as they stand, each read as what its layer can take."""
    chain: list[Module] = []
    for readings in modules:
        first = sum(module.depth for module in chain)
        kinds = _TAKES.get(type(takers[first].layer), ()) if first < len(takers) else ()
        chain.append(next((module for module in readings if module.kind in kinds), readings[0]))
    return tuple(chain)


def _check_count(modules: Sequence[Readings], takers: Sequence[Taker]) -> None:
    count = sum(readings[0].depth for readings in modules)
    if count != len(takers):
        listed = ", ".join(str(readings[0]) for readings in modules)
        raise FormatError(
            f"like must have {count} layers with parameters, one for each of {listed}. Got {len(takers)}."
        )


def _can_fill(takers: Sequence[Taker], module: Module) -> bool:
    try:
        _fill(takers, module)
    except ValueError:
        return False
    return len(takers) == module.depth


def _fill(takers: Sequence[Taker], module: Module) -> dict[str, Array]:
    """The parameters of the layers that take a module's weights, by the names of the network."""
    parameters = {}
    for k, taker in enumerate(takers):
        layer = taker.layer
        own = layer.weights
        with named(f"layer {taker.name}, {type(layer).__name__}, from {module.name or 'these weights'}"):
            for name, array in _parameters(taker, module, k).items():
                checks.shape(name, array, own[name].shape)
                dtype = own[name].dtype
                if np.promote_types(array.dtype, dtype) != dtype:
                    raise FormatError(f"its dtype must be {array.dtype}, as that of the weights. Got {dtype}.")
                parameters[f"{taker.place}.{name}"] = array
    return parameters


def _parameters(taker: Taker, module: Module, k: int) -> Mapping[str, Array]:
    """The parameters of one layer, by its own names."""
    layer = taker.layer
    if isinstance(layer, Bidirectional) and taker.part:
        end, part = [*layer.directions.items()][taker.part == "second"]
        return {name + end: array for name, array in _parameters(Taker(taker.place, part), module, k).items()}
    if not isinstance(layer, (Recurrent, Bidirectional)):
        kinds = _TAKES.get(type(layer), ())
        if module.kind not in kinds:
            raise FormatError(f"the weights must be those of a {kinds[0] if kinds else 'known module'}. Got {module}.")
        found = module.parameters(layer.input_size)
        return _part(found, taker, module) if isinstance(layer, Attention) else found
    cell = (layer.first if isinstance(layer, Bidirectional) else layer).cell
    if module.kind != cell.name:
        raise FormatError(f"the weights must be those of {cell!r}. Got {module}.")
    made = module.recurrent(k, cell.options)
    if list(made.parameters) != list(layer.parameters):
        raise FormatError(f"the weights must be {', '.join(layer.parameters)}. Got {', '.join(made.parameters)}.")
    return made.parameters


def _part(linear: Mapping[str, Array], taker: Taker, module: Module) -> Mapping[str, Array]:
    """What a Linear is to an attention; a bias of its scores adds the same to all, and changes nothing."""
    W, b = linear["W"], linear["b"]
    if taker.part == "query":
        return {"Wq": W, "b": b}
    if taker.part == "score":
        return {"v": W[:, 0]} if W.shape[1] == 1 else {"v": W}
    if b.any():
        raise FormatError(f"a Linear of the memory must have no bias, as Attention has one for both. Got {module}.")
    return {"Wm": W}
