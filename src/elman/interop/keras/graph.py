"""The graph of a Keras model: what each call of a layer reads, in the order in which they compute.

In a functional model each layer lists the calls it took part in (`inbound_nodes`), and each call what it was given: in
Keras 3 ``{"args": [tensor], "kwargs": {...}}``, where a tensor names its origin in `keras_history`, in Keras 2
``[[name, call, output, kwargs], ...]``. A Sequential model is the graph in which each layer is given the one before it.
Nested models are taken apart: their inputs are what they were called with.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from elman import checks
from elman.checks import FormatError
from elman.interop.files import named
from elman.interop.keras.config import MODELS, RECURRENT, Call, Entry, Mask, Object, Ref, snake_names
from elman.interop.keras.flow import check_known, own_arrays

#: The operations by which Keras 3 writes a mask into the graph; each hands on the masks of what it is given.
_OF_MASKS = (
    "Any", "Concatenate", "ConvertToTensor", "ExpandDims", "LogicalOr", "NotEqual", "OnesLike", "Squeeze", "ZerosLike",
)  # fmt: skip


@dataclass(frozen=True)
class Graph:
    """A whole model."""

    entries: list[Entry] = field(default_factory=list)  # its layers as they are listed, those of nested models too
    calls: list[Call] = field(default_factory=list)  # InputLayers too; those of nested models read what they are given
    inputs: dict[str, Ref] = field(default_factory=dict)  # by name
    outputs: dict[str, Ref] = field(default_factory=dict)


def read_graph(model: Any) -> Graph:
    """The graph of a model that JSON describes."""
    whole, graph = Object.read(model, "the model"), Graph()
    graph.outputs.update(_Walk(Entry(whole.kind, whole.config), graph).run())
    called = {call.entry.name for call in graph.calls}
    return replace(graph, entries=[entry for entry in graph.entries if entry.name in called])


_Key: TypeAlias = tuple[str, int]  # a call: the layer, and the number among its calls


class _Walk:
    """The walk through a model: the whole one, or a layer of another."""

    def __init__(self, model: Entry, graph: Graph) -> None:
        if model.kind not in MODELS:
            raise FormatError(f"the model must be Sequential or functional. Got {model.kind!r}.")
        self._model, self._graph, self._entries = model, graph, _entries(model)
        if model.kind == "Sequential":
            if next(iter(self._entries.values())).kind != "InputLayer":
                self._entries = {"": Entry("InputLayer", {}, name=f"{model.name}/".lstrip("/")), **self._entries}
            names = list(self._entries)
            for before, name in itertools.pairwise(names):
                self._entries[name] = replace(self._entries[name], nodes=[[[before, 0, 0]]])
            self._inputs, self._ends = {names[0] or "x": Ref(names[0], 0, 0)}, {names[-1]: Ref(names[-1], 0, 0)}
        else:
            self._inputs, self._ends = (_ends(model, key) for key in ("input_layers", "output_layers"))
        self._nested: dict[str, _Walk] = {}
        for name, entry in self._entries.items():
            if entry.kind in MODELS:
                self._nested[name] = _Walk(entry, graph)
            else:
                graph.entries.append(entry)
        self._calls: dict[str, list[Call]] = {}  # which read values by the names of this model
        self._known: dict[_Key, tuple[Ref, ...] | Ref] = {}  # of each call its outputs, or its first one

    def run(self, given: tuple[Ref, ...] | None = None, masks: tuple[Mask | None, ...] = ()) -> dict[str, Ref]:
        """Adds the calls of the model to the graph, itself called with the values `given`; its outputs by name."""
        if given is not None and len(given) < len(self._inputs):
            must = f"the model {self._model.name!r} must be called with each of its inputs"
            raise FormatError(f"{must}. Got {len(given)}.")
        for i, ref in enumerate(self._inputs.values()):
            entry = self._entry(ref)
            if entry.kind != "InputLayer":
                raise FormatError(f"an input must be an InputLayer. Got {entry.place}.")
            if ref.output:
                raise FormatError(f"{ref.layer!r}, an input, must give one output. Got its output {ref.output}.")
            first, reads = Ref(entry.name, 0, 0), () if given is None else given[i : i + 1]
            self._graph.calls.append(Call(entry, first, reads, (), masks[i : i + 1]))
            self._known[ref.layer, 0] = reads or (first,)
        self._add_what_is_before([self._place(ref) for ref in self._ends.values()])
        uses = Counter(name for name, _ in self._known)
        for name, entry in self._entries.items():
            count, used = len(self._calls.get(name, ())), uses[name]
            if not used and not _is_mask_operation(entry):
                raise FormatError(f"every layer must lie on the way from input to output. Got {name!r} beside it.")
            beside = used < count or name in self._nested
            if count > 1 and (beside or any(names for _, names in own_arrays(entry))):
                must = "must be used once: nodes have weights of their own, and equal ones would come apart in training"
                raise FormatError(f"{entry.place} {must}. Got {count} uses.")
        if given is None:
            self._graph.inputs.update({name: self._resolved(ref) for name, ref in self._inputs.items()})
        return {name: self._resolved(ref) for name, ref in self._ends.items()}

    def _entry(self, ref: Ref) -> Entry:
        if ref.layer not in self._entries:
            raise FormatError(f"every tensor must come from a layer of the model. Got one from {ref.layer!r}.")
        return self._entries[ref.layer]

    def _place(self, ref: Ref) -> _Key:
        """The call that gives a value."""
        entry = self._entry(ref)
        if entry.kind == "InputLayer" and (ref.layer, 0) in self._known:
            return ref.layer, 0
        if ref.layer not in self._calls:
            self._calls[ref.layer] = _calls(entry)
        count = len(self._calls[ref.layer])
        # Keras counts the call inside a nested model as its first one.
        call = 0 if count == 1 and ref.call == 1 else ref.call
        if not 0 <= call < count:
            raise FormatError(f"the layer {ref.layer!r} must be used once. Got its call {ref.call} of {count}.")
        return ref.layer, call

    def _resolved(self, ref: Ref) -> Ref:
        """A value by the names of the whole model."""
        found = self._known.get(self._place(ref), ())
        if isinstance(found, Ref):
            return found._replace(output=found.output + ref.output)
        if ref.output >= len(found):
            raise FormatError(f"{ref.layer!r} must have the output {ref.output}. Got {len(found)} of them.")
        return found[ref.output]

    def _add_what_is_before(self, ends: list[_Key]) -> None:
        """Adds calls, and before each those on which it depends."""
        stack, open_ = ends[::-1], set[_Key]()
        while stack:
            key = stack[-1]
            if key in self._known:
                stack.pop()
                continue
            call = self._calls[key[0]][key[1]]
            refs = (*call.reads, *call.states)
            waits = [other for ref in refs if (other := self._place(ref)) not in self._known]
            open_.add(key)
            for other in waits:
                if other in open_:
                    raise FormatError(f"the layers must not go in circles. Got a cycle through {other[0]!r}.")
            stack += waits[::-1]
            if not waits:
                self._add(key, call)

    def _add(self, key: _Key, call: Call) -> None:
        reads, states = (tuple([self._resolved(ref) for ref in refs]) for refs in (call.reads, call.states))
        masks = tuple([self._mask(key[0], mask) for mask in call.masks])
        if key[0] in self._nested:
            self._known[key] = tuple(self._nested[key[0]].run(reads, masks).values())
        else:
            with named(call.entry.place):
                check_known(call.entry)
            self._known[key] = call.gives
            self._graph.calls.append(replace(call, reads=reads, states=states, masks=masks))

    def _mask(self, name: str, given: Any) -> Mask | None:
        """The mask that a tensor of the graph is, where a call was given one."""
        if given is None:
            return None
        must = f"the mask of the layer {name!r} must be that of the layers before it"
        refused = FormatError(f"{must}. Got one of its own.")
        found, left, whole = set[Mask](), [given], False
        for _ in range(4 * len(self._entries)):
            if not left:
                break
            ref = _ref(left.pop())
            operation = self._entries.get(ref.layer) if ref else None
            nodes = operation.nodes if operation and _is_mask_operation(operation) else None
            node = nodes[0] if isinstance(nodes, list) and len(nodes) == 1 else None
            args = node.get("args") if isinstance(node, dict) else None
            if operation is None or not isinstance(args, list):
                raise refused
            if operation.kind == "NotEqual":
                of, value = (_ref(args[0]), args[1]) if len(args) == 2 else (None, None)
                if of is None or not isinstance(value, (int, float)):
                    raise refused
                found.add(Mask(self._resolved(of), float(value)))
            elif operation.kind == "OnesLike":  # together with a value that has no mask
                whole = True
            elif operation.kind != "ZerosLike":
                left += [value for value in _flat(args) if _ref(value)]
        if len(found) != 1 and not whole:
            raise refused
        return None if whole else found.pop()


def _is_mask_operation(entry: Entry) -> bool:
    return entry.kind in _OF_MASKS and entry.module != "keras.layers"


def _entries(model: Entry) -> dict[str, Entry]:
    """The layers of one model by their names."""
    listed, scope = model.config.get("layers"), f"{model.name}/" if model.name else ""
    if not isinstance(listed, list) or not listed:
        raise FormatError(f"the model {scope or 'itself'} must have a list of layers. Got {checks.show(listed)}.")
    read: dict[str, Object] = {}
    for i, layer in enumerate(listed):
        told = [layer.get("config"), layer] if isinstance(layer, dict) else []
        name = next((each["name"] for each in told if isinstance(each, dict) and each.get("name") is not None), None)
        if not isinstance(name, str) or not name or name in read:
            raise FormatError(f"layer {i} of the model must have a name of its own. Got {checks.show(name)}.")
        read[name] = Object.read(layer, f"the layer {scope + name!r}")
    entries = {}
    for (name, layer), snake in zip(read.items(), snake_names(layer.kind for layer in read.values()), strict=True):
        frozen = model.frozen or any(each.config.get("trainable", True) is False for each in (model, layer))
        path = f"{model.path}/layers/{snake}".lstrip("/")
        entries[name] = Entry(**vars(layer), name=scope + name, path=path, top=model.top or name, frozen=frozen)
    return entries


def _ends(model: Entry, key: str) -> dict[str, Ref]:
    """The inputs or the outputs of a functional model by their names: those of a mapping, else of the layers."""
    value = model.config.get(key)
    named = list(value.items()) if isinstance(value, dict) else [("", part) for part in _flat([value])]
    found: dict[str, Ref] = {}
    for name, part in named:
        ref = _ref(part)
        if ref is None:
            raise FormatError(f"{key} must be tensors, [name, 0, 0]. Got {checks.show(part)}.")
        name = name or ref.layer
        count = sum(other == name or other.startswith(f"{name}_") for other in found) if name in found else 0
        found[f"{name}_{count + 1}" if count else name] = ref
    if not found:
        raise FormatError(f"{key} must name at least one tensor, [name, 0, 0]. Got {checks.show(value)}.")
    return found


def _ref(value: Any) -> Ref | None:
    """A reference: a tensor of Keras 3, [name, call, output] and perhaps more of Keras 2; None for anything else."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        config = value.get("config")
        value = config.get("keras_history") if isinstance(config, dict) else None
    if isinstance(value, list) and 3 <= len(value) <= 4:
        name, call, output = value[:3]
        if isinstance(name, str) and type(call) is int and type(output) is int and call >= 0 and output >= 0:
            return Ref(name, call, output)
    return None


def _flat(values: list[Any]) -> list[Any]:
    """The values of nested lists, of which references are none."""
    parts = [_flat(value) if isinstance(value, list) and not _ref(value) else [value] for value in values]
    return list(itertools.chain.from_iterable(parts))


def _calls(entry: Entry) -> list[Call]:
    """The calls of a layer, with what each was given: tensors by the names that the model itself has."""
    if not isinstance(entry.nodes, list) or not entry.nodes:
        raise FormatError(f"{entry.place} must be used once. Got 0 uses.")
    return [_call(entry, Ref(entry.name, i, 0), node) for i, node in enumerate(entry.nodes)]


def _call(entry: Entry, gives: Ref, node: Any) -> Call:
    given: list[Any] = [None]
    options: Any = {}
    if isinstance(node, dict):
        given, options = _flat([node.get("args")]), node.get("kwargs") or {}
    elif isinstance(node, list):
        given = [node] if _ref(node) else node
        for value in given:
            if isinstance(value, list) and len(value) == 4 and value[3]:
                options = value[3]
    reads = [ref for ref in map(_ref, given) if ref]
    if not reads or len(reads) != len(given) or not isinstance(options, dict):
        raise FormatError(f"{entry.place} must be called with tensors of other layers alone. Got something else.")
    first = _flat([options.get("initial_state")])
    states = [ref for ref in map(_ref, first) if ref]
    for option, value in options.items():
        known = option in ("mask", "initial_state") and (first == [None] or len(states) == len(first))
        if not known and value not in (None, False):
            must = f"{entry.place} must be called with its inputs alone"
            raise FormatError(f"{must}. Got {option}={checks.describe(value)} too.")
    masks = options.get("mask")
    masks = masks if isinstance(masks, list) else [masks]
    if entry.kind in RECURRENT:  # in Keras 2 they may stand after the input
        reads, states, masks = reads[:1], [*reads[1:], *states], masks[:1]
    return Call(entry, gives, tuple(reads), tuple(states), tuple(masks))
