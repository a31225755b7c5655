"""Files of Keras: what an archive or an HDF5 file holds, read by name and within bounds.

`.keras` (Keras 3, and 2 from version 2.12 on) is a ZIP archive with three members: config.json, the layers;
model.weights.h5, their weights by the names of their classes; metadata.json, the version. `.h5` (Keras 1 and 2, and 3
on demand) is one HDF5 file: the layers are the attribute model_config, the weights stand under the names of the layers
in the order that the attribute weight_names gives. Neither is ever executed.
"""

# mypy: disable-error-code="import-untyped,import-not-found"

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array, FormatError
from elman.interop.files import MAX_BYTES, Source, name_of, named, parse_json, read_bytes, refused
from elman.interop.keras.config import Entry, Groups
from elman.interop.keras.flow import own_arrays

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
ROOTS = ("layers", "_layer_checkpoint_dependencies")  #: where weights stand; the second in Keras 2.12 and 2.13
WHOLE = "model_weights/"  #: where those of a whole model stand in a legacy file
_METADATA = {"keras_version": "3.0.0", "date_saved": "1980-01-01@00:00:00"}  # the format is that of every Keras 3
_NOT_TRAINED = ("moving_mean", "moving_variance", "mean", "variance", "count")
_UNREAD = ("count",)  # of how many examples statistics are: a whole number that nothing is computed from
_CONFIG_BYTES = 2**24  # a description is text of some kilobytes
_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
_BROKEN = (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError)
# How much larger than in the file data may be in memory. Weights hardly compress; what does is no network.
_EXPANSION = 100
_SMALL = 2**16  # bytes that are never too many
_HEAP = b"GCOL\x01\0\0\0"


@dataclass(frozen=True)
class Stored:
    """A model of Keras, apart from its weights."""

    source: str
    config: Any  # JSON as it stands there
    version: int  # of Keras, its first number
    weights: bytes  # the HDF5 file with them
    legacy: bool  # whether they stand under the names of the layers


def read(source: Source, alone: bool = False) -> Stored:
    """The model in a file, which its first bytes tell; the file is read whole.

    With `alone` its weights are enough, as save_weights writes them: `.weights.h5` of Keras 3, `.h5` of Keras 2.
    """
    name, content = name_of(source), read_bytes(source, "a file of Keras")
    if content.startswith(_ZIP):
        return _read_archive(name, content)
    if not content.startswith(_HDF5):
        raise refused(name, "its first bytes", "those of a .keras archive or of an HDF5 file", repr(content[:8]))
    with named(name), contextlib.closing(Tree(content)) as tree:
        if not alone:
            config, version = tree.texts("", "model_config"), tree.texts("", "keras_version")
        elif any(tree.texts(root, "layer_names") is not None for root in ("", WHOLE[:-1])):
            return Stored(name, None, 3, content, legacy=True)
        elif any(map(tree.has, ROOTS)):
            return Stored(name, None, 3, content, legacy=False)
        else:
            must = "its groups must be 'layers' or those of layers, as save_weights writes them"
            raise FormatError(f"{must}. Got {', '.join(tree.members('')) or 'none'}.")
    if config is None:
        must = "a whole model, as model.save writes it"
        got = "weights without a description: like=network, or like= the path of its to_json(), says whose they are"
        raise refused(name, "it", must, got)
    model = parse_json(name, "".join(config), "the attribute 'model_config'")
    return Stored(name, model, _major("".join(version or "1"), f"{name}: it"), content, legacy=True)


def read_description(source: Source) -> Stored:
    """What `to_json` of a model wrote."""
    name = name_of(source)
    config = parse_json(name, read_bytes(source, "a description of a Keras model", _CONFIG_BYTES))
    version = config.get("keras_version") if isinstance(config, dict) else None
    return Stored(name, config, 3 if version is None else _major(version, f"{name}: keras_version"), b"", legacy=False)


def _read_archive(name: str, content: bytes) -> Stored:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                parts = PurePosixPath(member.replace("\\", "/")).parts
                if ".." in parts or member[:1] in ("/", "\\") or re.match(r"[A-Za-z]:", member):
                    raise _refused("every member", "a path inside the archive", repr(member))
            if len({*archive.namelist()}) != len(archive.namelist()):
                raise _refused("every member", "one of its name", "two of one name")
            limits = {CONFIG: _CONFIG_BYTES, METADATA: _CONFIG_BYTES, WEIGHTS: MAX_BYTES}
            config, metadata, weights = (_member(archive, member, limit) for member, limit in limits.items())
    except FormatError as error:
        raise FormatError(f"{name}: {error}") from None
    except (*_BROKEN, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise refused(name, "it", "a whole .keras archive", f"an error: {error}") from None
    model, told = parse_json(name, config, CONFIG), parse_json(name, metadata, METADATA)
    version = told.get("keras_version") if isinstance(told, dict) else None
    return Stored(name, model, _major(version, f"{name}: {METADATA}"), weights, legacy=False)


def _member(archive: zipfile.ZipFile, member: str, limit: int) -> bytes:
    info = next((info for info in archive.infolist() if info.filename == member), None)
    if info is None:
        held = ", ".join(map(repr, archive.namelist()[:8])) or "none"
        raise _refused("its members", f"{CONFIG}, {METADATA} and {WEIGHTS} among others", held)
    if info.flag_bits & 1:
        raise _refused(member, "open to all", "an encrypted one")
    limit = min(limit, _EXPANSION * info.compress_size + _SMALL)
    if info.file_size > limit:
        must = f"at most {limit:,} bytes, with {info.compress_size:,} in the archive"
        raise _refused(member, must, f"{info.file_size:,}")
    with archive.open(info) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise _refused(member, f"at most {limit:,} bytes", "more")
    return content


def _major(version: Any, place: str) -> int:
    match = re.match(r"(\d{1,3})\.", f"{version}.")
    if not isinstance(version, str) or match is None or match[1] == "1":
        raise FormatError(f"{place} must be of Keras 2 or 3. Got the version {version!r}.")
    return int(match[1])


# HDF5. No link that leads elsewhere is followed, nothing but numbers and text is read, and no more memory is taken than
# the size of the file accounts for.


class Tree:
    """The groups, arrays and texts of an HDF5 file, given as its bytes."""

    def __init__(self, content: bytes) -> None:
        try:
            import h5py
        except ImportError:
            raise checks.missing_extra("Reading files of Keras", "keras") from None
        self._h5 = h5py
        self._size = len(content)
        self._read: set[str] = set()  # paths of arrays
        self._left = min(MAX_BYTES, _EXPANSION * len(content) + _SMALL)  # what may still be read
        _check_heaps(content)
        with _readable("it", "a whole HDF5 file"):
            self._file = h5py.File(io.BytesIO(content), "r")

    def close(self) -> None:
        """What was read is read, whatever comes then."""
        with contextlib.suppress(*_BROKEN):
            self._file.close()

    def has(self, path: str) -> bool:
        """Whether a group or an array stands at `path`."""
        with _readable(path, "readable"):
            return self._walk(path) is not None

    def members(self, path: str) -> list[str]:
        """The names in a group, none where there is nothing; "" is that of the whole file."""
        with _readable(path or "its root", "a group that can be read"):
            group = self._walk(path)
            if group is not None and not isinstance(group, self._h5.Group):
                raise _refused(path, "a group", f"a {type(group).__name__.lower()}")
            return list(group or ())

    def array(self, path: str) -> Array:
        """The numbers of a dataset, float32 or float64 as they stand there."""
        with _readable(path, "an array that can be read"):
            dataset = self._walk(path)
            if not isinstance(dataset, self._h5.Dataset):
                raise _refused(path, "an array", "nothing" if dataset is None else "a group")
            self._check(path, dataset)
            self._read.add(path)
            return np.asarray(dataset[()], dataset.dtype.newbyteorder("="))

    def unread(self, path: str) -> list[str]:
        """The arrays of float numbers in a group that nobody has read."""
        found: list[str] = []

        def visit(name: str, node: Any) -> None:
            whole = f"{path}/{name}".replace("\\", "/")
            if isinstance(node, self._h5.Dataset) and node.dtype.kind == "f" and whole not in self._read:
                found.append(whole)

        with _readable(path, "a group that can be read"):
            if isinstance(group := self._walk(path), self._h5.Group):
                group.visititems(visit)
        return found

    def texts(self, path: str, name: str) -> list[str] | None:
        """An attribute that is a list of texts, in one or, where it is long, in several pieces; None for none."""
        whole = self._attribute(path, name)
        more = (self._attribute(path, f"{name}{i}") for i in itertools.count())
        pieces = [*itertools.takewhile(lambda piece: piece is not None, more)] if whole is None else [whole]
        return [text for piece in pieces for text in piece or ()] if pieces else None

    def _attribute(self, path: str, name: str) -> list[str] | None:
        place = f"the attribute {name!r}{f' of {path}' if path else ''}"
        with _readable(place, "text that can be read"):
            node = self._walk(path)
            if node is None or name not in node.attrs:
                return None
            handle = node.attrs.get_id(name)
            size = math.prod(handle.shape or ()) * handle.dtype.itemsize
            if size > self._size:
                raise _refused(place, "within the file", f"{size:,} bytes")
            if size == 0:
                return []
            if self._h5.check_string_dtype(handle.dtype) is None:
                raise _refused(place, "text", str(handle.dtype))
            values = np.atleast_1d(np.asarray(node.attrs[name], object)).ravel()
            return [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in values]

    def _walk(self, path: str) -> Any:
        """What stands at `path`, reached by plain links alone; None where nothing does."""
        node, parts = self._file, path.split("/") if path else []
        if wrong := [part for part in parts if part in ("", ".", "..")]:
            raise _refused(f"the name {path!r}", "one that stays where it stands", repr(wrong[0] or "/"))
        while parts:
            # Keras on Windows wrote several names as one, with backslashes between them.
            names = (("\\".join(parts[:count]), count) for count in range(1, len(parts) + 1))
            part, count = next(((name, count) for name, count in names if name in node), ("", 0))
            link = node.get(part, getlink=True) if part else None
            if link is None:
                return None
            if not isinstance(link, self._h5.HardLink):
                target = getattr(link, "filename", "") or getattr(link, "path", "")
                raise _refused(path, "in the file itself", f"a {type(link).__name__} to {target!r}")
            node, parts = node[part], parts[count:]
            if parts and not isinstance(node, self._h5.Group):
                return None
        return node

    def _check(self, path: str, dataset: Any) -> None:
        """Refuses a dataset before anything of it is read."""
        if dataset.external or dataset.is_virtual:
            raise _refused(path, "in the file itself", "an array that is kept in other files")
        if dataset.shape is None or dataset.dtype.kind != "f" or dataset.dtype.itemsize not in (4, 8):
            raise _refused(path, "an array of float32 or float64", str(dataset.dtype))
        stored = dataset.id.get_storage_size()
        bound = self._size if dataset.chunks is None else _EXPANSION * stored + _SMALL
        if dataset.nbytes > min(bound, self._left):
            size = f"{dataset.nbytes:,} bytes, shape {dataset.shape}, of {stored:,} in a file of {self._size:,}"
            raise _refused(path, "no larger than the file accounts for", size)
        self._left -= dataset.nbytes


@contextlib.contextmanager
def _readable(place: str, must: str) -> Iterator[None]:
    """Gives the errors of the library a place."""
    try:
        yield
    except FormatError:
        raise
    except _BROKEN as error:
        raise _refused(place, must, f"an error: {str(error) or type(error).__name__}") from None


def _refused(place: str, must: str, got: str) -> FormatError:
    return FormatError(f"{place} must be {must}. Got {got}.")


def _check_heaps(content: bytes) -> None:
    """Refuses a heap of texts with an object of no length, or one that ends outside: HDF5 1.14 may read it for ever.

    Format: HDF5 File Format Specification, section III.E, disk format of the global heap.
    """
    start = content.find(_HEAP)
    while start >= 0:
        end = min(start + int.from_bytes(content[start + 8 : start + 16], "little"), len(content))
        at = start + 16
        while at + 16 <= end:
            index, length = (int.from_bytes(content[at + a : at + b], "little") for a, b in ((0, 2), (8, 16)))
            step = 16 + -(-length // 8) * 8 if index else length  # 0 is the space that is left
            if step == 0 or at + step > end:
                got = f"an object of {length:,} bytes with {end - at:,} left" if length else "an object of no length"
                raise _refused(f"the heap at byte {start}", "whole", got)
            at += step
        start = content.find(_HEAP, start + 4)


# The weights of each layer.


def archived_arrays(entries: list[Entry], tree: Tree) -> dict[str, Groups]:
    """The weights of each layer as model.weights.h5 has them."""
    found: dict[str, Groups] = {}
    for entry in entries:
        groups = found.setdefault(entry.name, [])
        with named(entry.place):
            for place, names in own_arrays(entry):
                path = "/".join(filter(None, (entry.path, place, "vars")))
                path = next(filter(tree.has, (path, path.replace(*ROOTS))), path)
                held = sorted(tree.members(path))
                if held != [str(i) for i in range(len(names))]:
                    got = f"{len(held)} arrays at {path!r}"
                    raise FormatError(f"its weights must be {len(names)}, {', '.join(names)}. Got {got}.")
                read = [(i, name) for i, name in enumerate(names) if name not in _UNREAD]
                groups.append({name: tree.array(f"{path}/{i}") for i, name in read})
    return found


def legacy_lists(tree: Tree) -> dict[str, list[str]]:
    """Where the weights of each layer of a legacy file stand, in their order, under the name of the layer."""
    lists, root = {}, WHOLE if tree.has(WHOLE[:-1]) else ""
    for layer in tree.texts(root[:-1], "layer_names") or []:
        names = tree.texts(root + layer, "weight_names") or []
        lists[layer] = [f"{root}{layer}/{name}" for name in names]
    return lists


def listed_arrays(
    entries: list[Entry], lists: Mapping[str, list[Any]], read: Callable[[Any], Array]
) -> dict[str, Groups]:
    """The weights of each layer, where each layer of the model has one list of what `read` makes arrays of.

    The list of a nested model holds what trains of all its layers first, then what does not.
    """
    given = {name: iter(arrays) for name, arrays in lists.items()}
    found: dict[str, Groups] = {entry.name: [{} for _ in own_arrays(entry)] for entry in entries}
    for trains, entry in itertools.product((True, False), entries):
        with named(entry.place):
            for group, (_, names) in zip(found[entry.name], own_arrays(entry), strict=True):
                mine = [name for name in names if (name not in _NOT_TRAINED and not entry.frozen) == trains]
                held = dict(zip(mine, given.get(entry.top, ()), strict=False))
                if len(held) != len(mine):
                    raise FormatError(f"its weights must be {', '.join(mine)}. Got {', '.join(held) or 'none'}.")
                group |= {name: read(held[name]) for name in mine if name not in _UNREAD}
    for name, rest in given.items():
        count = sum(1 for _ in rest)
        if count:
            raise FormatError(f"the weights of the layer {name!r} must be as its config says. Got {count} more.")
    return found


# Writing.


def to_archive(model: dict[str, Any], entries: list[Entry], weights: Mapping[str, Groups]) -> bytes:
    """The whole `.keras` file of a model: its three members, the same bytes for the same model."""
    try:
        import h5py
    except ImportError:
        raise checks.missing_extra("Writing files of Keras", "keras") from None
    arrays = io.BytesIO()
    with h5py.File(arrays, "w") as file:
        file.create_group("vars")  # what the model has besides its layers; Keras before 3.10 asks for it
        for entry in entries:
            for (place, names), held in zip(own_arrays(entry), weights[entry.name], strict=False):
                path = "/".join(filter(None, (entry.path, place, "vars")))
                group = file.create_group(path) if names else file
                for i, name in enumerate(names):
                    group.create_dataset(str(i), data=held[name], track_times=False)
    texts = {METADATA: json.dumps(_METADATA).encode(), CONFIG: json.dumps(model).encode()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, data in {**texts, WEIGHTS: arrays.getvalue()}.items():
            info = zipfile.ZipInfo(member, (1980, 1, 1, 0, 0, 0))
            info.create_system = 3  # wherever it is written
            archive.writestr(info, data)
    return buffer.getvalue()
