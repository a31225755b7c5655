"""The graph of a Keras model: what each call of a layer reads, in the order in which they compute.

A Sequential model is its list. In a functional one each layer lists the calls it took part in (`inbound_nodes`), and
each call what it was given: in Keras 3 ``{"args": [tensor], "kwargs": {...}}``, where a tensor names its origin in
`keras_history`, in Keras 2 ``[[name, call, output, kwargs], ...]``. Nested models are taken apart: their inputs are
what they were called with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from elman import checks
from elman.checks import FormatError
from elman.interop.keras.arrays import own_arrays
from elman.interop.keras.config import MODELS, Entry, Object, snake_names

#: The operations by which Keras 3 writes a mask into the graph; each hands on the masks of what it is given.
_MASK_OPERATIONS = (
    "Any",
    "Concatenate",
    "ConvertToTensor",
    "ExpandDims",
    "LogicalOr",
    "NotEqual",
    "Squeeze",
    "ZerosLike",
)
OVER_STATES = ("Bidirectional", "GRU", "LSTM", "RNN", "SimpleRNN")  #: what is given its first states too


class Ref(NamedTuple):
    """One output of one call of a layer; of a layer of a nested model by the name that `Entry` has."""

    layer: str
    call: int
    output: int


class Mask(NamedTuple):
    """Which steps are left out: those where all of a value equals a number."""

    of: Ref
    value: float


@dataclass(frozen=True)
class Call:
    """A layer at work."""

    entry: Entry
    gives: Ref  # its first output
    reads: tuple[Ref, ...]
    states: tuple[Ref, ...] = ()  # from which it starts
    masks: tuple[Mask | None, ...] = ()  # of what it reads, where the graph says them


@dataclass(frozen=True)
class Graph:
    """A whole model."""

    calls: list[Call] = field(default_factory=list)  # InputLayers too; those of nested models read what they are given
    inputs: dict[str, Ref] = field(default_factory=dict)  # by name
    outputs: dict[str, Ref] = field(default_factory=dict)

    @property
    def entries(self) -> list[Entry]:
        """The layers, each once, as they are listed."""
        entries = {call.entry.name: call.entry for call in self.calls}
        return sorted(entries.values(), key=lambda entry: entry.order)


@dataclass(frozen=True)
class _Place:
    """Where in the whole model a nested one stands, and what it was called with; None for the whole model."""

    scope: str = ""
    path: str = "layers"
    top: str = ""
    frozen: bool = False
    order: tuple[int, ...] = ()
    given: tuple[Ref, ...] | None = None
    masks: tuple[Mask | None, ...] = ()


def read_graph(model: Any) -> Graph:
    """The graph of a model that JSON describes."""
    graph = Graph()
    graph.outputs.update(_walk(Object.read(model, "the model"), _Place(), graph))
    return graph


def _walk(model: Object, at: _Place, graph: Graph) -> dict[str, Ref]:
    """Adds the calls of a model; its outputs by name."""
    if model.kind not in MODELS:
        raise FormatError(f"the model must be Sequential or functional. Got {model.kind!r}.")
    listed = _layers(model, at.scope)
    kinds = {name: Object.read(layer, f"the layer {at.scope + name!r}") for name, layer in listed.items()}
    frozen = at.frozen or model.config.get("trainable", True) is False
    entries: dict[str, Entry] = {}
    for (name, layer), snake in zip(kinds.items(), snake_names(kind.kind for kind in kinds.values()), strict=True):
        stays = frozen or layer.config.get("trainable", True) is False
        path, top = f"{at.path}/{snake}", at.top or name
        order = (*at.order, len(entries))
        entries[name] = Entry(layer.kind, layer.config, at.scope + name, path, top, stays, order)
    walk = _sequential if model.kind == "Sequential" else _functional
    return walk(model, listed, entries, at, graph)


def _sequential(
    model: Object, listed: Mapping[str, Any], entries: dict[str, Entry], at: _Place, graph: Graph
) -> dict[str, Ref]:
    first = next(iter(entries.values()))
    if first.kind == "InputLayer":
        del entries[next(iter(entries))]
    else:
        first = Entry("InputLayer", {}, f"{at.scope}x")
    if at.given is None:
        graph.inputs[first.name] = Ref(first.name, 0, 0)
    last = _input(first, 0, at, graph)
    masks = at.masks
    for entry in entries.values():
        if entry.kind in MODELS:
            last = _nested(entry, (last,), masks, graph)[0]
        else:
            graph.calls.append(Call(entry, Ref(entry.name, 0, 0), (last,), (), masks))
            last = Ref(entry.name, 0, 0)
        masks = ()
    return {[*entries, "y"][-2 if entries else -1]: last}


def _input(entry: Entry, number: int, at: _Place, graph: Graph) -> Ref:
    """The value that an InputLayer stands for."""
    if at.given is not None and number >= len(at.given):
        raise FormatError(f"the model {at.scope[:-1]!r} must be called with each of its inputs. Got {len(at.given)}.")
    ref = Ref(entry.name, 0, 0)
    reads = at.given[number : number + 1] if at.given else ()
    graph.calls.append(Call(entry, ref, reads, (), at.masks[number : number + 1]))
    return reads[0] if reads else ref


def _nested(entry: Entry, given: tuple[Ref, ...], masks: tuple[Mask | None, ...], graph: Graph) -> tuple[Ref, ...]:
    """The outputs of a model that is a layer of another."""
    place = _Place(f"{entry.name}/", f"{entry.path}/layers", entry.top, entry.frozen, entry.order, given, masks)
    return tuple(_walk(entry, place, graph).values())


def _layers(model: Object, scope: str) -> dict[str, Any]:
    """The descriptions of the layers of one model by their names."""
    listed = model.config.get("layers")
    if not isinstance(listed, list) or not listed:
        raise FormatError(f"the model {scope or 'itself'} must have a list of layers. Got {checks.show(listed)}.")
    layers: dict[str, Any] = {}
    for i, layer in enumerate(listed):
        config = layer.get("config") if isinstance(layer, dict) else None
        name = config.get("name") if isinstance(config, dict) else None
        name = name if name is not None or not isinstance(layer, dict) else layer.get("name")
        if not isinstance(name, str) or not name or name in layers:
            raise FormatError(f"layer {i} of the model must have a name of its own. Got {checks.show(name)}.")
        layers[name] = layer
    return layers


# Functional models.


class _Given(NamedTuple):
    """What a call was given, by the names that the model itself has."""

    reads: list[Ref]
    states: list[Ref]
    masks: list[Any]


def _functional(
    model: Object, listed: Mapping[str, Any], entries: dict[str, Entry], at: _Place, graph: Graph
) -> dict[str, Ref]:
    inputs, outputs = (_ends(model.config, key) for key in ("input_layers", "output_layers"))
    for ref in (ref for ref in inputs.values() if ref.output):
        raise FormatError(f"{ref.layer!r}, an input, must give one output. Got its output {ref.output}.")
    numbers = {ref.layer: i for i, ref in enumerate(inputs.values())}
    given: dict[str, list[_Given]] = {}
    known: dict[tuple[str, int], tuple[Ref, ...] | Ref] = {}  # of each call its outputs, or its first one

    def place(ref: Ref) -> tuple[str, int]:
        """A call of a layer as its list has it."""
        if ref.layer not in listed:
            raise FormatError(f"every tensor must come from a layer of the model. Got one from {ref.layer!r}.")
        if ref.layer in numbers:
            return ref.layer, 0
        if ref.layer not in given:
            given[ref.layer] = _calls(ref.layer, listed[ref.layer], entries[ref.layer])
        count = len(given[ref.layer])
        # Keras counts the call inside a nested model as its first one.
        call = 0 if count == 1 and ref.call == 1 else ref.call
        if not 0 <= call < count:
            raise FormatError(f"the layer {ref.layer!r} must be used once. Got its call {ref.call} of {count}.")
        return ref.layer, call

    def resolved(ref: Ref) -> Ref:
        found = known.get(place(ref), ())
        if isinstance(found, Ref):
            return found._replace(output=found.output + ref.output)
        if ref.output >= len(found):
            raise FormatError(f"the model {ref.layer!r} must have the output {ref.output}. Got {len(found)} of them.")
        return found[ref.output]

    def run(key: tuple[str, int]) -> None:
        name, call = key
        entry = entries[name]
        if name in numbers:
            if entry.kind != "InputLayer":
                raise FormatError(f"an input must be an InputLayer. Got {entry.place}.")
            known[key] = _input(entry, numbers[name], at, graph)
            return
        mine = given[name][call]
        reads, states = (tuple([resolved(ref) for ref in part]) for part in mine[:2])
        masks = tuple([_mask(name, mask, listed, resolved) for mask in mine.masks])
        if entry.kind in MODELS:
            known[key] = _nested(entry, reads, masks, graph)
            return
        known[key] = gives = Ref(entry.name, call, 0)
        graph.calls.append(Call(entry, gives, reads, states, masks))

    for key in _in_order([place(ref) for ref in outputs.values()], place, given, numbers):
        run(key)
    for name, calls in given.items():
        weighted = entries[name].kind in MODELS or bool(own_arrays(entries[name]))
        if len(calls) > 1 and (weighted or any((name, i) not in known for i in range(len(calls)))):
            raise FormatError(
                f"{entries[name].place} must be used once, as weights are not shared. Got {len(calls)} uses."
            )
    for name in listed:
        if not any(key[0] == name for key in known) and not _is_mask_operation(listed[name]):
            raise FormatError(f"every layer must lie on the way from input to output. Got {name!r} beside it.")
    if at.given is None:
        graph.inputs.update({name: resolved(ref) for name, ref in inputs.items()})
    return {name: resolved(ref) for name, ref in outputs.items()}


def _in_order(ends: list[tuple[str, int]], place: Any, given: Any, inputs: Any) -> Iterator[tuple[str, int]]:
    """The calls on which others depend, each before those."""
    done: set[tuple[str, int]] = set()
    open_: set[tuple[str, int]] = set()
    stack = [(key, False) for key in reversed(ends)]
    while stack:
        key, entered = stack.pop()
        if entered:
            open_.discard(key)
            done.add(key)
            yield key
        elif key not in done:
            if key in open_:
                raise FormatError(f"the layers must not go in circles. Got a cycle through {key[0]!r}.")
            open_.add(key)
            stack.append((key, True))
            before = [] if key[0] in inputs else [*given[key[0]][key[1]].reads, *given[key[0]][key[1]].states]
            for ref in reversed(before):
                if (other := place(ref)) not in done:
                    if other in open_:
                        raise FormatError(f"the layers must not go in circles. Got a cycle through {other[0]!r}.")
                    stack.append((other, False))


def _ends(config: Mapping[str, Any], key: str) -> dict[str, Ref]:
    """The inputs or the outputs of a model by their names: those of a mapping, else of the layers."""
    value = config.get(key)
    if isinstance(value, dict):
        named = list(value.items())
    else:
        while isinstance(value, list) and len(value) == 1 and isinstance(value[0], list) and _as_ref(value[0]) is None:
            value = value[0]
        listed = [value] if _as_ref(value) is not None else value
        listed = listed if isinstance(listed, list) else []
        named = [(part[0] if isinstance(part, list) and part else None, part) for part in listed]
    found: dict[str, Ref] = {}
    for name, part in named:
        ref = _as_ref(part)
        if ref is None:
            raise FormatError(f"{key} must be tensors, [name, 0, 0]. Got {checks.show(part)}.")
        count = sum(other == name or other.startswith(f"{name}_") for other in found) if name in found else 0
        found[f"{name}_{count + 1}" if count else str(name)] = ref
    if not found:
        raise FormatError(f"{key} must name at least one tensor, [name, 0, 0]. Got {checks.show(value)}.")
    return found


def _as_ref(value: Any) -> Ref | None:
    """A reference as Keras 2 writes it, [name, call, output], a fourth entry aside; None for anything else."""
    if isinstance(value, list) and 3 <= len(value) <= 4:
        name, call, output = value[:3]
        if isinstance(name, str) and type(call) is int and type(output) is int and call >= 0 and output >= 0:
            return Ref(name, call, output)
    return None


def _tensor(value: Any) -> Ref | None:
    """A reference as Keras 3 writes it; None for anything else."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        config = value.get("config")
        return _as_ref(config.get("keras_history")) if isinstance(config, dict) else None
    return None


def _calls(name: str, layer: Any, entry: Entry) -> list[_Given]:
    """What each call of a layer was given."""
    nodes = layer.get("inbound_nodes")
    if not isinstance(nodes, list) or not nodes:
        raise FormatError(f"the layer {name!r} must be used once. Got 0 uses.")
    return [_call(name, node, entry) for node in nodes]


def _call(name: str, node: Any, entry: Entry) -> _Given:
    options: dict[str, Any] = {}
    found: list[Ref | None] = [None]
    if isinstance(node, dict):
        args = node.get("args")
        found = [_tensor(value) for value in _flat(args if isinstance(args, list) else [args])]
        options = node.get("kwargs") or {}
    elif isinstance(node, list):
        node = [node] if _as_ref(node) is not None else node
        found = [_as_ref(value) for value in node]
        for value in node:
            if isinstance(value, list) and len(value) == 4 and value[3]:
                options = value[3]
    refs = [value for value in found if value is not None]
    if not refs or len(refs) != len(found) or not isinstance(options, dict):
        raise FormatError(f"{entry.place} must be called with tensors of other layers alone. Got something else.")
    states = options.get("initial_state")
    states = _flat([states])
    states = [] if states == [None] else [_tensor(value) or _as_ref(value) for value in states]
    for option, value in options.items():
        if (value not in (None, False) and option not in ("mask", "initial_state")) or None in states:
            raise FormatError(
                f"{entry.place} must be called with its inputs alone. Got {option}={checks.describe(value)} too."
            )
    masks = options.get("mask")
    masks = masks if isinstance(masks, list) else [masks]
    if entry.kind in OVER_STATES:  # in Keras 2 they may stand after the input
        refs, states, masks = refs[:1], [*refs[1:], *states], masks[:1]
    return _Given(refs, states, masks)


def _flat(values: Any) -> list[Any]:
    """The values of nested lists, of which references are none."""
    return [
        v for value in values for v in (_flat(value) if isinstance(value, list) and not _as_ref(value) else [value])
    ]


def _is_mask_operation(layer: Any) -> bool:
    return layer.get("class_name") in _MASK_OPERATIONS and layer.get("module") != "keras.layers"


def _mask(name: str, given: Any, listed: Mapping[str, Any], resolved: Any) -> Mask | None:
    """The mask that a tensor of the graph is, where a call was given one."""
    if given is None:
        return None
    found: set[Mask] = set()
    at = [_tensor(given)]
    for _ in range(4 * len(listed)):
        if not at:
            break
        ref = at.pop()
        operation = listed.get(ref.layer) if ref is not None else None
        nodes = operation.get("inbound_nodes") if isinstance(operation, dict) else None
        node = nodes[0] if isinstance(nodes, list) and len(nodes) == 1 and isinstance(nodes[0], dict) else {}
        args = node.get("args")
        if not isinstance(operation, dict) or not _is_mask_operation(operation) or not isinstance(args, list):
            found.clear()
            break
        if operation["class_name"] == "NotEqual":
            of, value = (_tensor(args[0]), args[1]) if len(args) == 2 else (None, None)
            if of is None or not isinstance(value, (int, float)):
                found.clear()
                break
            found.add(Mask(resolved(of), float(value)))
        elif operation["class_name"] != "ZerosLike":
            at += [tensor for value in _flat(args) if (tensor := _tensor(value)) is not None]
    if len(found) != 1:
        raise FormatError(f"the mask of the layer {name!r} must be that of the layers before it. Got one of its own.")
    return found.pop()
