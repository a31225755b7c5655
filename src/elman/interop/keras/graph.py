"""The graph of a functional Keras model, followed from its output back to its input.

Each layer lists the calls it took part in (`inbound_nodes`), and each call what it was given: in Keras 3
``{"args": [tensor], "kwargs": {...}}``, where a tensor names its origin in `keras_history`, in Keras 2
``[[name, call, output, kwargs], ...]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from elman import checks
from elman.checks import FormatError

#: What merges the two outputs of Bidirectional(merge_mode=None) as a merge_mode of its own would.
_MERGERS = {"Add": "sum", "Average": "ave", "Concatenate": "concat", "Multiply": "mul"}
#: The operations by which Keras 3 writes a mask into the graph.
_MASK_OPERATIONS = ("Any", "NotEqual", "Squeeze")


class Ref(NamedTuple):
    """One output of one call of a layer."""

    layer: str
    call: int
    output: int


@dataclass(frozen=True)
class Step:
    """A layer on the chain."""

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)  # what the layers behind it add to its config
    mask: tuple[str, float] | None = None  # (what is compared, with what), where the call was given a mask


def chain(config: Mapping[str, Any], layers: Mapping[str, Any]) -> list[Step]:
    """The layers from the one input to the one output, in the order in which they compute."""
    ref = _single(config, "output_layers")
    source = _single(config, "input_layers")
    steps: list[Step] = []
    passed: set[str] = set()
    merged: dict[str, Any] = {}
    while True:
        layer = _layer(ref, layers, passed)
        passed.add(ref.layer)
        if layer.get("class_name") == "InputLayer":
            break
        refs, options = _call(ref, layer)
        if len(refs) == 2 and layer.get("class_name") in _MERGERS:
            merged = _merger(ref, layers, refs)
            ref = refs[0]
            continue
        if len(refs) != 1:
            raise FormatError(f"the layer {ref.layer!r} must have one input. Got {len(refs)}.")
        steps.append(Step(ref.layer, merged, _mask(ref, options, layers)))
        merged = {}
        ref = refs[0]
    if ref.layer != source.layer or merged:
        raise FormatError(f"the input must be the layer {source.layer!r}. Got {ref.layer!r} at the end of the chain.")
    for name, layer in layers.items():
        if name not in passed and not (isinstance(layer, dict) and layer.get("class_name") in _MASK_OPERATIONS):
            raise FormatError(f"every layer must lie on one chain from input to output. Got {name!r} beside it.")
    return [Step(ref.layer), *reversed(steps)]


def _single(config: Mapping[str, Any], key: str) -> Ref:
    """The only tensor that a model takes, or gives."""
    value = config.get(key)
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    ref = _as_ref(value)
    if ref is None:
        got = f"{len(value)} of them" if isinstance(value, (list, dict)) else repr(value)[:80]
        raise FormatError(f"{key} must be one, [name, 0, 0]: networks are chains of layers. Got {got}.")
    return ref


def _as_ref(value: Any) -> Ref | None:
    """A reference as Keras 2 writes it, [name, call, output], a fourth entry aside; None for anything else."""
    if isinstance(value, list) and 3 <= len(value) <= 4:
        name, call, output = value[:3]
        if isinstance(name, str) and type(call) is int and type(output) is int:
            return Ref(name, call, output)
    return None


def _tensor(value: Any) -> Ref | None:
    """A reference as Keras 3 writes it; None for anything else."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        config = value.get("config")
        return _as_ref(config.get("keras_history")) if isinstance(config, dict) else None
    return None


def _layer(ref: Ref, layers: Mapping[str, Any], passed: set[str]) -> dict[str, Any]:
    layer = layers.get(ref.layer)
    if not isinstance(layer, dict):
        raise FormatError(f"every tensor must come from a layer of the model. Got one from {ref.layer!r}.")
    if ref.layer in passed:
        raise FormatError(f"the layers must be a chain. Got a cycle through {ref.layer!r}.")
    nodes = layer.get("inbound_nodes")
    calls = len(nodes) if isinstance(nodes, list) else 0
    if calls > 1:
        raise FormatError(f"the layer {ref.layer!r} must be used once. Got {calls} uses.")
    # Keras 2 counts the call inside a nested model as its first one.
    if ref.call not in (0, 1) or (calls == 0 and layer.get("class_name") != "InputLayer"):
        raise FormatError(f"the layer {ref.layer!r} must be used once. Got its call {ref.call} of {calls}.")
    if ref.output != 0:
        raise FormatError(
            f"of the layer {ref.layer!r} only the first output must be used, and no state. Got its output {ref.output}."
        )
    return layer


def _call(ref: Ref, layer: Mapping[str, Any]) -> tuple[list[Ref], Mapping[str, Any]]:
    """The tensors that a layer was given, and the other arguments."""
    node = layer["inbound_nodes"][0]
    options: dict[str, Any] = {}
    values: list[Any]
    if isinstance(node, dict):
        args = node.get("args")
        values = args if isinstance(args, list) else [args]
        values = values[0] if len(values) == 1 and isinstance(values[0], list) else values
        found = [_tensor(value) for value in values]
        options = node.get("kwargs") or {}
    elif isinstance(node, list):
        found = [_as_ref(value) for value in node]
        for value in node:
            if isinstance(value, list) and len(value) == 4 and value[3]:
                options = value[3]
    else:
        found = [None]
    refs = [value for value in found if value is not None]
    if not refs or len(refs) != len(found) or not isinstance(options, dict):
        raise FormatError(
            f"the layer {ref.layer!r} must be called with tensors of other layers alone. Got something else."
        )
    for name, value in options.items():
        if value not in (None, False) and name != "mask":
            raise FormatError(
                f"the layer {ref.layer!r} must be called with its input alone. Got {name}={checks.describe(value)} too."
            )
    return refs, options


def _merger(ref: Ref, layers: Mapping[str, Any], refs: list[Ref]) -> dict[str, Any]:
    """What a layer that merges two outputs makes of the Bidirectional that has them."""
    first, second = refs
    merger: Any = layers[ref.layer]
    merged: Any = layers.get(second.layer)
    both = (
        isinstance(merged, dict) and isinstance(merged.get("config"), dict) and isinstance(merger.get("config"), dict)
    )
    if (
        not both
        or merged["class_name"] != "Bidirectional"
        or merged["config"].get("merge_mode") is not None
        or (first, second) != (Ref(second.layer, second.call, 0), Ref(second.layer, second.call, 1))
        or merger["config"].get("axis", -1) != -1
    ):
        raise FormatError(
            f"the layer {ref.layer!r} must have one input, or merge along the last axis the two outputs, in their "
            f"order, of a Bidirectional layer with merge_mode=None. Got {first.layer!r} and {second.layer!r}."
        )
    return {"merge_mode": _MERGERS[merger["class_name"]], "merged_by": ref.layer}


def _mask(ref: Ref, options: Mapping[str, Any], layers: Mapping[str, Any]) -> tuple[str, float] | None:
    """Which layer's output the mask of a call is made of, and the value that is masked."""
    if options.get("mask") is None:
        return None
    at = _tensor(options["mask"])
    for _ in range(len(layers)):
        operation = layers.get(at.layer) if at is not None else None
        if not isinstance(operation, dict) or operation.get("class_name") not in _MASK_OPERATIONS:
            break
        nodes = operation.get("inbound_nodes")
        node = nodes[0] if isinstance(nodes, list) and len(nodes) == 1 else None
        args = node.get("args") if isinstance(node, dict) else None
        if not isinstance(args, list) or not args:
            break
        at = _tensor(args[0])
        if operation["class_name"] == "NotEqual":
            value: Any = args[1] if len(args) == 2 else None
            if at is None or type(value) not in (int, float):
                break
            return at.layer, float(value)
    raise FormatError(f"the mask of the layer {ref.layer!r} must be that of the layers before it. Got one of its own.")
