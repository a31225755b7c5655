"""ONNX files, read within bounds: the model, its tensors, and the data they keep in other files of its folder.

Nothing is taken from a claim: a tensor is made only where the file holds as many bytes as its shape says.
"""

from __future__ import annotations

import contextlib
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

#: The types of tensors that are read, by their number in ONNX: what they are here.
TYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float32",  # float16
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "float32",  # bfloat16
}

#: What is computed of a model may take this many bytes, and `TIMES` those of its tensors besides.
FREE, TIMES = 2**25, 8


@dataclass
class ModelFile:
    """A model as it was read: nothing of it is checked yet. It counts the bytes that are taken for it."""

    name: str  # what errors call it
    model: ModelProto
    folder: Path | None  # where data outside the model may lie
    tensors: int = 0  # bytes taken for tensors
    work: int = 0  # and for what a graph computes of them and its layers keep

    def refused(self, place: str, must: str, got: str) -> FormatError:
        """The error of something in this file."""
        return refused(self.name, place, must, got)

    def take(self, count: int, place: str) -> None:
        """Takes the bytes of a result."""
        self.work = self._more(count, self.work, FREE + TIMES * self.tensors, place)

    def _more(self, count: int, taken: int, limit: int, place: str) -> int:
        if taken + count > limit:
            raise self.refused(place, f"at most {limit:,} bytes, with all before it", f"{count:,} more")
        return taken + count

    def tensor(self, proto: TensorProto, place: str) -> Array:
        """A tensor as an array; float16 and bfloat16 as float32, which holds them exactly."""
        from onnx import numpy_helper

        if proto.data_type not in TYPES:
            raise self.refused(place, "of floats, integers or booleans", f"type {proto.data_type} of ONNX")
        if any(length < 0 for length in proto.dims):
            raise self.refused(f"the shape of {place}", "of lengths from 0 up", f"{tuple(proto.dims)}")
        kind = np.dtype(TYPES[proto.data_type])
        size = math.prod(proto.dims) * (2 if proto.data_type in (10, 16) else kind.itemsize)
        self.tensors = self._more(size, self.tensors, MAX_BYTES, place)
        if proto.data_location == proto.EXTERNAL:
            proto = self._with_data(proto, size, place)
        try:
            return numpy_helper.to_array(proto).astype(kind, copy=False)
        except ValueError as error:
            got = f"{tuple(proto.dims)}, and an error: {error}"
            raise self.refused(f"the shape of {place}", "that of its data", got) from None

    def _with_data(self, proto: TensorProto, size: int, place: str) -> TensorProto:
        """The tensor with the bytes of the file that keeps them."""
        entries = {str(entry.key): str(entry.value) for entry in proto.external_data}  # bytes where they are no text
        path = self._data_path(entries.get("location", ""), place)
        offset, length = entries.get("offset", "0"), entries.get("length", str(size))
        for name, text in (("offset", offset), ("length", length)):
            if not (text.isascii() and text.isdigit() and len(text) < 20):
                raise self.refused(f"the {name} of the data of {place}", "a whole number from 0 up", repr(text[:40]))
        if int(length) != size:
            raise self.refused(f"the data of {place}", f"{size:,} bytes, as its shape says", f"{int(length):,}")
        has = path.stat().st_size
        if int(offset) + size > has:
            must = f"within the {has:,} bytes of {path.name!r}"
            raise self.refused(f"the data of {place}", must, f"{size:,} from {int(offset):,} on")
        with path.open("rb") as file:
            file.seek(int(offset))
            return type(proto)(dims=proto.dims, data_type=proto.data_type, raw_data=file.read(size))

    def _data_path(self, location: str, place: str) -> Path:
        if self.folder is None:
            raise self.refused(place, "in the model itself, which was given without a folder", repr(location))
        inside = self.folder.resolve()
        if location and not os.path.isabs(location) and not {*"\0\\:"} & {*location}:
            with contextlib.suppress(OSError):  # no name that a file can have
                path = (inside / location).resolve()  # also where a link leads
                if path.is_relative_to(inside) and ".." not in Path(location).parts and path.is_file():
                    return path
        must = "a file in the folder of the model, by a relative path"
        raise self.refused(f"the data of {place}", must, repr(location)[:200])


def read_model(source: Any) -> ModelFile:
    """The model of a path, of bytes, or an `onnx.ModelProto`."""
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    except ImportError:
        raise missing_extra("ONNX", "onnx") from None
    if isinstance(source, onnx.ModelProto):
        return ModelFile("the model", source, None)
    if not isinstance(source, (str, os.PathLike, bytes)):
        raise TypeError(f"source must be a path, bytes or an onnx.ModelProto. Got {describe(source)}.")
    name = name_of(source)
    content = read_bytes(source, "a whole ONNX file")
    try:
        model = onnx.ModelProto.FromString(content)
    except DecodeError as error:
        raise refused(name, "it", "a whole ONNX file", f"an error: {error}") from None
    if not model.HasField("graph"):
        raise refused(name, "the file", "an ONNX model with a graph", f"{len(content):,} bytes without one")
    return ModelFile(name, model, None if isinstance(source, bytes) else Path(name).parent)
