"""What a file holds, told without loading it: versions and names, as the file has them. One function per format.

What is wrong with a file its reader says; here it holds nothing that can be told.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from elman import checks
from elman.checks import FormatError, MissingExtraError
from elman.files import Where
from elman.interop.audio.reader import MAX_BYTES, MUST
from elman.interop.files import parse_json, read_bytes
from elman.interop.keras.files import read as read_stored
from elman.interop.onnx.reading.files import read_model
from elman.interop.pytorch.files import read_weights


class Outline(NamedTuple):
    """A file in words."""

    version: str  #: "" where the file does not say
    contents: tuple[str, ...]


def safetensors(path: Where) -> Outline:
    """Names, dtypes and shapes of the header; of elman's own files the description too."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = parse_json(path, file.read(min(length, os.path.getsize(path))))
    contents = []
    for name, entry in header.items() if isinstance(header, dict) else ():
        if isinstance(entry, dict) and name != "__metadata__":
            shape = entry.get("shape")
            contents.append(f"{name} {entry.get('dtype')} {tuple(shape) if isinstance(shape, list) else shape}"[:200])
    return Outline(_elman_version(header), tuple(contents))


def _elman_version(header: Any) -> str:
    try:
        metadata = header["__metadata__"]
        described = json.loads(metadata.get("elman_estimator") or metadata["elman"])
        what = f"a {described['estimator']}, " if "estimator" in described else ""
        return f"{what}version {described['version']}"[:60]
    except (AttributeError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def torch(path: Where) -> Outline:
    """Names and shapes of the tensors, or, where PyTorch cannot read them, the parts of the archive."""
    with open(path, "rb") as file:
        head = file.read(9)
    kinds = {b"P": "archive", b"{": "JSON"}
    form = "safetensors" if head[8:] == b"{" else kinds.get(head.lstrip()[:1], "pickle")
    try:
        return Outline(form, tuple(f"{name} {array.dtype} {array.shape}" for name, array in read_weights(path).items()))
    except (FormatError, MissingExtraError):
        if form != "archive":
            return safetensors(path) if form == "safetensors" else Outline(form, ())
    try:
        with zipfile.ZipFile(path) as parts:
            return Outline(form, tuple(f"{part.filename} {part.file_size:,} bytes" for part in parts.infolist()))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return Outline("", ())


def audio(path: Where) -> Outline:
    """What a file says of itself: its sizes, the layers of RTNeural with their shapes, how many numbers it holds."""
    model = parse_json(path, read_bytes(path, MUST, MAX_BYTES))
    if not isinstance(model, dict):
        return Outline("", ())
    own = ("in_shape", "in_skip", "in_gain", "out_gain", "architecture")
    facts = {name: model[name] for name in own if name in model}
    for part in ("config", "model_data"):
        facts |= model[part] if isinstance(model.get(part), dict) else {}
    contents = [f"{name} {value}" for name, value in facts.items()]
    layers = model.get("layers")
    for entry in layers if isinstance(layers, list) else []:
        names = ("type", "activation", "shape")
        told = [str(entry.get(name) or "") for name in names] if isinstance(entry, dict) else [checks.describe(entry)]
        contents.append(" ".join(told))
    for part, what in (("weights", "numbers"), ("state_dict", "arrays")):
        if isinstance(model.get(part), (list, dict)):
            contents.append(f"{part} of {len(model[part]):,} {what}")
    version = f"version {model['version']}"[:60] if "version" in model else ""
    return Outline(version, tuple(line[:120] for line in contents))


def keras(path: Where) -> Outline:
    """The classes of the layers, nested ones in their place."""
    stored = read_stored(path)
    form = "HDF5" if stored.legacy else "archive"
    return Outline(f"{form} of Keras {stored.version}", tuple(_keras_layers(stored.config, "")))


def _keras_layers(entry: Any, indent: str) -> Iterator[str]:
    config = entry.get("config") if isinstance(entry, dict) else None
    if not isinstance(config, dict) or len(indent) > 20:
        return
    sizes = [f"{name}={config[name]!r}" for name in ("units", "output_dim", "activation") if name in config]
    yield f"{indent}{entry.get('class_name')} {config.get('name', '')} {' '.join(sizes)}".rstrip()[:120]
    inside = config.get("layers")
    for inner in inside if isinstance(inside, list) else [config.get("layer"), config.get("cell")]:
        yield from _keras_layers(inner, indent + "  ")


def onnx(path: Where) -> Outline:
    """Inputs and outputs with their shapes, and how often each operator stands there."""
    model = read_model(path).model
    sets = [f"{entry.domain or 'opset'} {entry.version}" for entry in model.opset_import]
    producer = f"by {model.producer_name} {model.producer_version}".strip() if model.producer_name else ""
    version = ", ".join(part for part in (f"IR {model.ir_version}", *sets, producer) if part)
    ports = [
        f"{kind} {value.name[:60]} ({', '.join(str(axis.dim_param)[:30] or str(axis.dim_value) for axis in axes)})"
        for kind, values in (("input", model.graph.input), ("output", model.graph.output))
        for value in values
        for axes in (value.type.tensor_type.shape.dim,)
    ]
    operators = Counter(f"{node.domain}{'.' * bool(node.domain)}{node.op_type}"[:60] for node in model.graph.node)
    return Outline(version[:200], (*ports, *(f"{count} {name}" for name, count in operators.items())))
