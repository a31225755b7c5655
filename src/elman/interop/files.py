"""How foreign files are read: whole, within bounds, told by their content, and refused by name and place.

Pickles are named and never opened: to load one is to run what it says.
"""

from __future__ import annotations

import bz2
import contextlib
import json
import lzma
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from elman.checks import Array, FormatError, describe, shorten, show
from elman.files import check_source, path_text

#: A file by its path, or its content.
Source: TypeAlias = str | os.PathLike[str] | bytes

HEAD = 2**20  #: so much of a file tells what it is

#: No larger file is read into memory: 2 GiB, more than any recurrent network needs.
MAX_BYTES = 2**31


def name_of(source: Source) -> str:
    """What errors call a source: its path, or that bytes were given."""
    return "the bytes" if isinstance(source, (bytes, bytearray, memoryview)) else path_text("path", source)


def read_bytes(source: Source, must: str = "", limit: int = MAX_BYTES) -> bytes:
    """The content of a file of at most `limit` bytes; see `check_beginning` for `must`."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        name, content = name_of(source), bytes(source)
        size = len(content)
    else:
        name = check_source("path", source)
        with open(name, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read(min(size, limit))  # a larger number would take that much memory before it reads
    if size > limit:
        raise refused(name, "its size", f"at most {limit:,} bytes", f"{size:,}")
    with named(name):
        check_beginning(content, must)
    return content


def check_beginning(content: bytes, must: str) -> None:
    """Refuses what is of another kind, such as a pickle or a page of markup, in place of `must`."""
    what = None if content[8:9] == b"{" else unread(content[:HEAD], "")  # safetensors may begin with any bytes
    if must and what is not None:
        raise FormatError(f"it must be {must}. Got {what}.")


def refused(source: str | os.PathLike[str], place: str, must: str, got: str) -> FormatError:
    """The error of a foreign file or model: where, what must hold there, what stands there."""
    return FormatError(f"{os.fspath(source)}: {place} must be {must}. Got {got}.")


@contextlib.contextmanager
def named(place: str) -> Iterator[None]:
    """What is refused inside says the place too, as a `FormatError`."""
    try:
        yield
    except ValueError as error:
        raise FormatError(f"{place}: {error}" if place else str(error)) from error


def parse_json(source: str | os.PathLike[str], content: bytes | str, place: str = "it") -> Any:
    """The value of a JSON text, NaN and infinities among it."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise refused(source, place, "JSON", f"an error: {str(error)[:200]}") from None


def numbers(source: Source, place: str, value: Any, dtype: Any = np.float32) -> Array:
    """Nested lists of numbers, out of JSON, as an array."""
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):  # lists of unequal length, or too deep
        array = np.asarray(None)
    if array.dtype.kind not in "iuf":
        raise refused(name_of(source), place, "nested lists of numbers, of equal length", show(value))
    with np.errstate(over="ignore"):  # to infinity, as these systems read it
        return array.astype(dtype)


# What a file is that no format of the table reads.

_PICKLE = (
    "a pickle of unknown origin, which is never opened: to load one is to run what it says, and "
    "torch.load(weights_only=True) refuses it too. Where you trust it, load it yourself, and pass the module or its "
    "state_dict to elman.from_torch, or arrays to elman.from_arrays; estimators of elman have save(path) instead"
)
_TAR = (
    "a tar archive, as the first versions of PyTorch wrote and no later one loads with weights_only=True. Where you "
    "trust it: torch.save(torch.load(path, weights_only=False), new)"
)
#: A pickle of torch.save before PyTorch 1.6 begins with this number.
_TORCH_PICKLE = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")

_BEGINNINGS = (
    (b"\x93NUMPY", "an array of NumPy: np.load reads it, and elman.from_arrays makes a layer of such arrays"),
    (b"version https://git-lfs", "a pointer of Git LFS in place of the file: git lfs pull fetches it"),
    (b"<", "a page of markup, as a download gives in place of the file"),
)
_PACKED: tuple[tuple[bytes, str, Callable[[], Any]], ...] = (
    (b"\x1f\x8b", "gzip", lambda: zlib.decompressobj(wbits=31)),
    (b"BZh", "bzip2", bz2.BZ2Decompressor),
    (b"\xfd7zXZ", "xz", lzma.LZMADecompressor),
    (b"x", "zlib", zlib.decompressobj),
)


def is_torch_pickle(head: bytes) -> bool:
    """Whether a file begins as those of torch.save did before PyTorch 1.6."""
    return _is_pickle(head) and _TORCH_PICKLE in head[:40]


def unread(head: bytes, name: str) -> str | None:
    """What a file is that is not read, in words; None where the first bytes leave it open."""
    if head[257:262] == b"ustar":
        return _TAR
    if (_is_pickle(head) and not is_torch_pickle(head)) or name.lower().endswith((".pkl", ".pickle", ".joblib")):
        return _PICKLE
    if head[4:8] == b"TFL3":
        return "a TFLite model, which is not read: pass the Keras model that it was made of"
    for beginning, what in _BEGINNINGS:
        if head.lstrip().startswith(beginning):
            return what
    for beginning, packer, unpacker in _PACKED:
        with contextlib.suppress(Exception):  # other files may begin with such bytes
            if head.startswith(beginning) and (inside := unpacker().decompress(head, 2)):
                return f"{_PICKLE}; packed by {packer}" if _is_pickle(inside) else f"one packed by {packer}"
    return None if head else "an empty one"


def _is_pickle(head: bytes) -> bool:
    return head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")


def of_archive(names: list[str]) -> str:
    """What an archive with these members is, in words."""
    if names and all(name.endswith(".npy") for name in names):
        return "an archive of NumPy's arrays: np.load reads it, and elman.from_arrays makes a layer of them"
    return shorten(f"an archive of another kind, with {', '.join(map(repr, names[:3])) or 'nothing in it'}")


def state_dicts(value: Mapping[Any, Any], place: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """The mapping, or those within it, that hold weights by the names of PyTorch's modules; each with its place."""
    if any(_is_weight(name, array) for name, array in value.items()):
        yield place, value
    elif depth < 3:
        for name, part in value.items():
            if isinstance(part, Mapping):
                yield from state_dicts(part, f"{place}.{name}".lstrip("."), depth + 1)


def _is_weight(name: Any, value: Any) -> bool:
    named_so = isinstance(name, str) and re.search(r"(^|[._])weight(_[^.]*)?$", name) is not None
    return named_so and (isinstance(value, list) or hasattr(type(value), "shape"))


#: Objects in JSON: the keys that they have, all of the first and one of the second, the format that reads them (None:
#: none does), and what they are.
_OBJECTS: tuple[tuple[set[str], set[str], str | None, str], ...] = (
    ({"layers"}, {"in_skip", "in_gain", "out_gain", "in_batch", "metadata", "samplerate"}, "aida", "AIDA-X"),
    ({"layers"}, {"layers"}, "rtneural", "RTNeural"),
    ({"architecture", "weights"}, {"architecture"}, "nam", "Neural Amp Modeler"),
    ({"model_data", "state_dict"}, {"model_data"}, "guitarml", "GuitarML"),
    (
        {"class_name", "config"},
        {"config"},
        None,
        "the architecture of a Keras model, as to_json() writes it, without its weights: pass the file of the weights, "
        "elman.from_keras(weights, like=this file)",
    ),
    ({"residual_channels", "dilations"}, {"dilations"}, None, "a WaveNet of PedalNet, which is not read"),
)


def of_json(model: Any) -> tuple[str | None, str]:
    """The format of a value of JSON, None where no reader takes it, and what it is in words."""
    if not isinstance(model, dict):
        return None, f"JSON of another kind, {describe(model)}"
    for every, one, form, what in _OBJECTS:
        if every <= set(model) and one & set(model) and (every != {"layers"} or isinstance(model["layers"], list)):
            return form, what
    if any(state_dicts(model)):
        return "torch", "a state_dict of PyTorch"
    keys = ", ".join(map(repr, list(model)[:5]))
    return None, shorten(f"JSON of another kind, with {f'the keys {keys}' if keys else 'no keys'}")
