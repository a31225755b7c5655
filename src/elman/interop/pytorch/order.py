"""The modules of a state_dict one after the other: their order, and the layers of a network that take their weights.

A state_dict of PyTorch lists modules in the order in which they were made. Files that sort their names, safetensors
among them, keep no order; then the numbers of an nn.Sequential tell it, or widths that fit in one way alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, islice, pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from elman import checks
from elman.checks import Array, FormatError
from elman.interop.files import named
from elman.interop.pytorch.state import KINDS, Kind, Module, kind_of, modules_of
from elman.layers import Attention, Bidirectional, Dense, Layer, Recurrent
from elman.layers.nesting import placed_layers
from elman.network import Network

Chain: TypeAlias = tuple[Module, ...]
Ways: TypeAlias = Callable[[Chain, Module], list[Module]]  # a module after others, as the kinds that fit there

_MOST_TRIED = 8  # modules whose order is sought: 8! orders are a moment's work


def layers_from(weights: Mapping[str, Array], order: Sequence[str] | None) -> list[Layer]:
    """The layers whose weights these are; refuses those beside which stood what no weight tells."""
    modules, ordered = _ordered(weights, order)
    paths = [tuple(name.split(".")[:-1]) for name in weights]
    numbers = {(path[:i], int(path[i])) for path in paths for i in range(len(path)) if path[i].isdecimal()}
    for parent, number in sorted(numbers):
        if number and (parent, number - 1) not in numbers:
            within = f" of {'.'.join(parent)}" if parent else ""
            must = f"the modules{within} must all have weights"
            raise _untold(must, "what an activation, a pool or dropout does", f"none for {number - 1}")

    def following(before: Chain, module: Module) -> list[Module]:
        return [one for one in module.readings if not before or one.widths[0] == before[-1].widths[1]]

    chain = _only_chain(modules, ordered, following, len(modules))
    for module in chain:
        place, _, own = module.name.rpartition(".")
        alone = sum(other.name.startswith(f"{place}.") for other in chain) == 1
        if module.kinds == ("Linear",) and place and own == "0" and alone:  # nobody wraps it by itself
            must = f"{place} must have weights in more than its first module, a Linear"
            raise _untold(must, "an activation after it", "one alone")
    for one, module in pairwise(module for module in chain if module.kinds != ("BatchNorm",)):
        if one.kinds == module.kinds == ("Linear",):
            must = f"{one.name} and {module.name}, two Linear in a row, must have an activation between them"
            raise _untold(must, "which one", "weights alone")
    return [layer for module in chain for layer in module.layers()]


def _untold(must: str, what: str, got: str) -> FormatError:
    tells = "is in no state_dict, and like=, a network of the same shape, or the module itself tells it"
    return FormatError(f"{must}: {what} {tells}. Got {got}.")


def network_like(like: Layer, weights: Mapping[str, Array], order: Sequence[str] | None) -> Network:
    """A copy of a network with these weights: the layers that have any take them.

    A node takes the module of its name. Without names they do so in the order of the modules in a chain, and in a graph
    each takes the one that alone fits.
    """
    net = like if isinstance(like, Network) else Network([like])
    modules, told = _ordered(weights, order)
    takers, count = _takers(net), sum(module.depth for module in modules)
    if len(takers) > count:
        takers = _takers(net, joined=True)
    if len(takers) != count:
        must = f"like must have {count} layers with parameters, one for each of {', '.join(map(str, modules))}"
        raise FormatError(f"{must}. Got {len(takers)}.")
    # By name, where nodes have some: a Linear with an activation is the first of an nn.Sequential of two.
    nodes = set() if net.graph.is_list else {taker.name for taker in takers}
    called = {module: module.name if module.name in nodes else module.name.removesuffix(".0") for module in modules}
    claimed = nodes.intersection(called.values())

    def fits(module: Module, first: int) -> bool:
        own, node = called[module], takers[first].name
        if own != node and not claimed.isdisjoint((own, node)):
            return False
        try:
            _filled(takers, first, module)
        except ValueError:
            return False
        return True

    chain: Sequence[Module] = modules
    if order is None and not (told and net.graph.is_chain and not claimed):
        places = {one: [i for i in range(count - one.depth + 1) if fits(one, i)] for one in modules}

        def taking(before: Chain, module: Module) -> list[Module]:
            return [module] if sum(one.depth for one in before) in places[module] else []

        free = sum(name not in claimed for name in called.values())
        could = {module: [takers[i].name for i in places[module]] for module in modules}
        chain = _only_chain(modules, False, taking, free, could)
    parameters: dict[str, Array] = {}
    for module, first in zip(chain, accumulate((module.depth for module in chain), initial=0), strict=False):
        parameters |= _filled(takers, first, module)
    return Network.from_parameters(net.config, parameters)


# The order.


def _ordered(weights: Mapping[str, Array], order: Sequence[str] | None) -> tuple[list[Module], bool]:
    """The modules, and whether they stand in their order."""
    modules, told = modules_of(weights)
    by_name = {module.name: module for module in modules}
    if order is not None:
        given = order if isinstance(order, (list, tuple)) else ()
        names = [str(name) for name in given if isinstance(name, (str, int))]
        if sorted(names) != sorted(by_name):
            must = f"order must be a list of {', '.join(map(repr, by_name))}, each once"
            raise ValueError(f"{must}. Got {checks.show(order)}.")
        return [by_name[name] for name in names], True
    if told or len(modules) == 1:
        return modules, True
    keys = sorted(([(0, int(p)) if p.isdecimal() else (1, p) for p in name.split(".")], name) for name in by_name)
    numbered = all(_differ_in_a_number(one, other) for (one, _), (other, _) in pairwise(keys))
    return ([by_name[name] for _, name in keys], True) if numbered else (modules, False)


def _differ_in_a_number(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether two names differ first in a number, as those of an nn.Sequential do, or are of two directions."""
    first = next(((a, b) for a, b in zip(one, other, strict=False) if a != b), None)
    return first is not None and (first[0][0] == first[1][0] == 0 or first == ((1, "first"), (1, "second")))


def _only_chain(
    modules: Sequence[Module], ordered: bool, ways: Ways, free: int, nodes: Mapping[Module, list[str]] | None = None
) -> Chain:
    """The one way in which the modules follow one another, `free` of which may stand anywhere."""
    few = ordered or free <= _MOST_TRIED
    chains = list(islice(_chains(modules, ordered, ways, ()), 2)) if few else []
    if len(chains) == 1:
        return chains[0]
    got = "several ways" if chains else "none" if few else f"too many modules to try every order, {free}"
    way_out = "pass order=[...], their names in the order in which they run, or like=, a network of their shapes"
    way_out += ", whose nodes bear their names" if nodes else ""
    ends = [f" for {' or '.join(nodes[module])}" if nodes and nodes[module] else "" for module in modules]
    listed = ", ".join(f"{module}{end}" for module, end in zip(modules, ends, strict=True))
    raise FormatError(f"the modules must fit one another in one way: {way_out}. Got {got} for {listed}.")


def _chains(modules: Sequence[Module], ordered: bool, ways: Ways, done: Chain) -> Iterator[Chain]:
    """Every way in which each module, as one of its kinds, fits after those before it."""
    if not modules:
        yield done
    for module in modules[: 1 if ordered else None]:
        rest = [other for other in modules if other is not module]
        for one in ways(done, module):
            yield from _chains(rest, ordered, ways, (*done, one))


# The layers of a network.


class Taker(NamedTuple):
    """What takes the weights of one module: a layer, or a part of one."""

    name: str  # as the module of it is called by `to_torch`
    place: str
    layer: Layer
    end: str = ""  # of the names of its parameters in the network
    kind: Kind | None = None


def _takers(net: Network, joined: bool = False) -> list[Taker]:
    """Those of a network; with `joined` both directions of a layer take one module."""
    takers = []
    for place, layer in placed_layers(net):
        if isinstance(layer, Attention):
            for part in ("query", "memory", "score"):
                own = {n: t.partition(".")[2] for n, t in KINDS["Attention"].tensors.items() if t.startswith(part)}
                if not layer.parameters.keys().isdisjoint(own):
                    takers.append(Taker(f"{place}.{part}", place, layer, kind=Kind(Dense, own)))
        elif isinstance(layer, Bidirectional) and not joined:
            for part, (end, direction) in zip(("first", "second"), layer.directions.items(), strict=True):
                takers.append(Taker(f"{place}.{part}", place, direction, end))
        elif layer.parameters:
            takers.append(Taker(place, place, layer, kind=kind_of(type(layer))))
    return takers


def _filled(takers: Sequence[Taker], first: int, module: Module) -> dict[str, Array]:
    """The parameters of the layers that take a module's weights, by the names of the network."""
    parameters = {}
    for k, taker in enumerate(takers[first : first + module.depth]):
        layer = taker.layer
        own = layer.weights
        with named(f"layer {taker.name}, {type(layer).__name__}, from {module.name or 'these weights'}"):
            for name, array in _parameters(taker, module, k).items():
                checks.shape(name, array, own[name].shape)
                dtype = own[name].dtype
                if np.promote_types(array.dtype, dtype) != dtype:
                    raise FormatError(f"its dtype must be {array.dtype}, as that of the weights. Got {dtype}.")
                parameters[f"{taker.place}.{name}{taker.end}"] = array
    return parameters


def _parameters(taker: Taker, module: Module, k: int) -> Mapping[str, Array]:
    """The parameters of one layer, by its own names."""
    layer, kind = taker.layer, taker.kind
    if isinstance(layer, (Recurrent, Bidirectional)):
        cell = next(iter(layer.directions.values())).cell
        if module.kinds != (cell.name,):
            raise FormatError(f"the weights must be those of {cell!r}. Got {module}.")
        made = module.stack[k]
        if list(made.parameters) != list(layer.parameters):
            must, got = ", ".join(layer.parameters), ", ".join(made.parameters)
            raise FormatError(f"the weights must be {must}. Got {got} for {layer!r}.")
        if made.cell.gates != cell.gates:
            must, got = ", ".join(cell.gates), ", ".join(made.cell.gates)
            raise FormatError(f"the weights must be those of the gates {must}. Got {got}.")
        return made.parameters
    fitting = [name for name, row in KINDS.items() if kind is not None and row.layer is kind.layer]
    if kind is None or set(fitting).isdisjoint(module.kinds):
        raise FormatError(f"the weights must be those of a {(*fitting, 'known module')[0]}. Got {module}.")
    if "Wm" in kind.tensors and module.arrays.get("bias", np.zeros(1)).any():
        raise FormatError(f"a Linear of the memory must have no bias, as Attention has one for both. Got {module}.")
    return kind.weights(module.arrays, layer.input_size)
