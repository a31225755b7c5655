"""What a file is that no format of the table reads, told by its first bytes or the keys of its JSON.

Pickles are named and never opened: to load one is to run what it says.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from elman.checks import describe, shorten

HEAD = 2**20  #: so much of a file tells what it is

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
_PACKED: tuple[tuple[bytes, str, Callable[[bytes], bytes]], ...] = (
    (b"\x1f\x8b", "gzip", lambda head: gzip.GzipFile(fileobj=io.BytesIO(head)).read(2)),
    (b"BZh", "bzip2", lambda head: bz2.BZ2Decompressor().decompress(head, 2)),
    (b"\xfd7zXZ", "xz", lambda head: lzma.LZMADecompressor().decompress(head, 2)),
    (b"x", "zlib", lambda head: zlib.decompressobj().decompress(head, 2)),
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
    for beginning, packer, unpack in _PACKED:
        with contextlib.suppress(Exception):  # other files may begin with such bytes
            if head.startswith(beginning) and (inside := unpack(head)):
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
    return (
        isinstance(name, str)
        and bool(_WEIGHT.search(name))
        and (isinstance(value, list) or hasattr(type(value), "shape"))
    )


_WEIGHT = re.compile(r"(^|[._])weight(_[^.]*)?$")

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
