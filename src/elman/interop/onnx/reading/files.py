"""ONNX files, read within bounds: the model, its tensors, and the data they keep in other files of its folder.

Nothing is taken from a claim: a tensor is made only where the file holds as many bytes as its shape says.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from elman.checks import Array, FormatError, describe, missing_extra
from elman.interop.files import MAX_BYTES, name_of, read_bytes, refused

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

#: The types of tensors that are read, by their number in ONNX: what they are here, bytes of an element, and the field
#: of the protobuf that keeps the elements where they are not raw bytes.
TYPES = {
    1: ("float32", 4, "float_data"),
    2: ("uint8", 1, "int32_data"),
    3: ("int8", 1, "int32_data"),
    4: ("uint16", 2, "int32_data"),
    5: ("int16", 2, "int32_data"),
    6: ("int32", 4, "int32_data"),
    7: ("int64", 8, "int64_data"),
    9: ("bool", 1, "int32_data"),
    10: ("float32", 2, "int32_data"),  # float16
    11: ("float64", 8, "double_data"),
    12: ("uint32", 4, "uint64_data"),
    13: ("uint64", 8, "uint64_data"),
    16: ("float32", 2, "int32_data"),  # bfloat16
}

#: What is computed of a model may take this many bytes, and `TIMES` those of its tensors besides.
FREE, TIMES = 2**25, 8


class Allowance:
    """How many bytes may still be taken: for tensors, and for what a graph computes of them and its layers keep."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.tensors = MAX_BYTES
        self.work = self.limit = FREE

    def read(self, count: int, place: str) -> None:
        """Takes the bytes of a tensor."""
        if count > self.tensors:
            raise refused(self.source, place, f"at most {MAX_BYTES:,} bytes, with all before it", f"{count:,} more")
        self.tensors -= count
        self.work += TIMES * count
        self.limit += TIMES * count

    def take(self, count: int, place: str) -> None:
        """Takes the bytes of a result."""
        if count > self.work:
            raise refused(self.source, place, f"at most {self.limit:,} bytes, with all before it", f"{count:,} more")
        self.work -= count


@dataclass(frozen=True)
class ModelFile:
    """A model as it was read: nothing of it is checked yet."""

    name: str  # what errors call it
    model: ModelProto
    folder: Path | None  # where data outside the model may lie
    allowance: Allowance  # for tensors, and for what is computed of them

    def refused(self, place: str, must: str, got: str) -> FormatError:
        """The error of something in this file."""
        return refused(self.name, place, must, got)

    def tensor(self, proto: TensorProto, place: str) -> Array:
        """A tensor as an array; float16 and bfloat16 as float32, which holds them exactly."""
        from onnx import numpy_helper

        if proto.data_type not in TYPES:
            raise self.refused(place, "of floats, integers or booleans", f"type {proto.data_type} of ONNX")
        if any(length < 0 for length in proto.dims):
            raise self.refused(f"the shape of {place}", "of lengths from 0 up", f"{tuple(proto.dims)}")
        _, size, field = TYPES[proto.data_type]
        count = math.prod(proto.dims)
        self.allowance.read(count * size, place)
        if proto.data_location == proto.EXTERNAL:
            proto = self._with_data(proto, count * size, place)
        has, unit = (len(proto.raw_data), "bytes") if proto.HasField("raw_data") else (len(getattr(proto, field)), "")
        if has != count * (size if unit else 1):
            must = f"as large as its shape {tuple(proto.dims)} says, {count:,} elements"
            raise self.refused(place, must, f"{has:,} {unit or 'elements'}")
        try:
            array = numpy_helper.to_array(proto)
        except ValueError as error:  # no bytes, and lengths that NumPy cannot count
            raise self.refused(f"the shape of {place}", "one of an array", f"an error: {error}") from None
        return array.astype(np.float32) if proto.data_type in (10, 16) else array

    def _with_data(self, proto: TensorProto, size: int, place: str) -> TensorProto:
        """The tensor with the bytes of the file that keeps them."""
        from onnx import TensorProto

        entries = {str(entry.key): str(entry.value) for entry in proto.external_data}  # bytes where they are no text
        path = self._data_path(entries.get("location", ""), place)
        offset, length = (
            self._whole(entries, key, default, place) for key, default in (("offset", 0), ("length", size))
        )
        if length != size:
            raise self.refused(f"the data of {place}", f"{size:,} bytes, as its shape says", f"{length:,}")
        has = path.stat().st_size
        if offset + size > has:
            must = f"within the {has:,} bytes of {path.name!r}"
            raise self.refused(f"the data of {place}", must, f"{size:,} from {offset:,} on")
        with path.open("rb") as file:
            file.seek(offset)
            raw = file.read(size)
        return TensorProto(dims=proto.dims, data_type=proto.data_type, raw_data=raw)

    def _data_path(self, location: str, place: str) -> Path:
        must = "a file in the folder of the model, by a relative path"
        if self.folder is None:
            raise self.refused(place, "in the model itself, which was given without a folder", repr(location))
        inside = self.folder.resolve()
        if not location or "\0" in location or os.path.isabs(location) or "\\" in location or ":" in location:
            raise self.refused(f"the data of {place}", must, repr(location))
        try:
            path = (inside / location).resolve()  # also where a link leads
            if path.is_relative_to(inside) and ".." not in Path(location).parts and path.is_file():
                return path
        except OSError:  # no name that a file can have
            pass
        raise self.refused(f"the data of {place}", must, repr(location)[:200])

    def _whole(self, entries: dict[str, str], key: str, default: int, place: str) -> int:
        text = entries.get(key, str(default))
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise self.refused(f"the {key} of the data of {place}", "a whole number from 0 up", repr(text[:40]))
        return int(text)


def read_model(source: Any) -> ModelFile:
    """The model of a path, of bytes, or an `onnx.ModelProto`."""
    try:
        import onnx
    except ImportError:
        raise missing_extra("ONNX", "onnx") from None
    if isinstance(source, onnx.ModelProto):
        name, model, folder = "the model", source, None
    elif isinstance(source, (str, os.PathLike, bytes)):
        name = name_of(source)
        folder = Path(name).parent if isinstance(source, (str, os.PathLike)) else None
        model = _parse(onnx.ModelProto, name, read_bytes(source, "a whole ONNX file"))
    else:
        raise TypeError(f"source must be a path, bytes or an onnx.ModelProto. Got {describe(source)}.")
    return ModelFile(name, model, folder, Allowance(name))


def _parse(kind: Any, name: str, content: bytes) -> ModelProto:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model: ModelProto = kind.FromString(content)
    except DecodeError as error:
        raise refused(name, "it", "a whole ONNX file", f"an error: {error}") from None
    if not model.HasField("graph"):
        raise refused(name, "the file", "an ONNX model with a graph", f"{len(content):,} bytes without one")
    return model
