"""What a file holds, told without loading it: versions and names, as the file has them."""

from __future__ import annotations

import json
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from elman import checks
from elman.checks import FormatError, MissingExtraError
from elman.interop.audio.reader import MAX_BYTES, MUST
from elman.interop.files import parse_json, read_bytes, refused
from elman.interop.formats import Where
from elman.interop.keras.files import read as read_stored
from elman.interop.onnx.reading.files import read_model
from elman.interop.pytorch.files import read_weights


@dataclass(frozen=True)
class Outline:
    """A file in words."""

    version: str  #: "" where the file does not say
    contents: tuple[str, ...]


def outline_of(form: str, path: Where) -> Outline:
    """The outline of a file of the format `form`; raises `FormatError` where not even that can be read."""
    return _OUTLINES[form](path)


def _safetensors(path: Where) -> Outline:
    """Names, dtypes and shapes of the header; of elman's own files the description too."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > os.path.getsize(path) - 8:
            raise refused(path, "its header", "within the file", f"a length of {length:,} bytes")
        header = parse_json(path, file.read(length))
    if not isinstance(header, dict):
        raise refused(path, "its header", "a JSON object", checks.describe(header))
    metadata = header.pop("__metadata__", None) or {}
    contents = [
        f"{name} {entry.get('dtype')} {_shape(entry.get('shape'))}"[:200]
        for name, entry in header.items()
        if isinstance(entry, dict)
    ]
    return Outline(_elman_version(metadata), tuple(contents))


def _shape(value: Any) -> str:
    return str(tuple(value)) if isinstance(value, list) else str(value)


def _elman_version(metadata: Any) -> str:
    try:
        described = json.loads(metadata.get("elman_estimator") or metadata["elman"])
        what = f"a {described['estimator']}, " if "estimator" in described else ""
        return f"{what}version {described['version']}"[:60]
    except (AttributeError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def _torch(path: Where) -> Outline:
    """Names and shapes of the tensors, or, where PyTorch cannot read them, the parts of the archive."""
    with open(path, "rb") as file:
        head = file.read(9)
    kinds = {b"P": "archive", b"{": "JSON"}
    form = "safetensors" if head[8:] == b"{" else kinds.get(head.lstrip()[:1], "pickle")
    try:
        return Outline(form, tuple(f"{name} {array.dtype} {array.shape}" for name, array in read_weights(path).items()))
    except (FormatError, MissingExtraError):
        if form != "archive":
            return _safetensors(path) if form == "safetensors" else Outline(form, ())
    try:
        with zipfile.ZipFile(path) as parts:
            return Outline(form, tuple(f"{part.filename} {part.file_size:,} bytes" for part in parts.infolist()))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise refused(path, "it", "a whole archive", f"an error: {error}") from None


def _audio(path: Where) -> Outline:
    """What a file says of itself: its sizes, the layers of RTNeural with their shapes, how many numbers it holds."""
    model = parse_json(path, read_bytes(path, MUST, MAX_BYTES))
    if not isinstance(model, dict):
        raise refused(path, "it", MUST, checks.describe(model))
    facts = {
        name: model[name] for name in ("in_shape", "in_skip", "in_gain", "out_gain", "architecture") if name in model
    }
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
    return Outline(
        f"version {model['version']}"[:60] if "version" in model else "", tuple(line[:120] for line in contents)
    )


def _keras(path: Where) -> Outline:
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


def _onnx(path: Where) -> Outline:
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


_OUTLINES: dict[str, Callable[[Where], Outline]] = {
    "elman": _safetensors,
    "keras": _keras,
    "onnx": _onnx,
    **dict.fromkeys(("aida", "guitarml", "nam", "rtneural"), _audio),
    "torch": _torch,
}
