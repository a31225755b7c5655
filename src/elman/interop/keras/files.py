"""Files of Keras: what an archive or an HDF5 file holds, read by name and within bounds.

`.keras` (Keras 3, and 2 from version 2.12 on) is a ZIP archive with three members: config.json, the layers;
model.weights.h5, their weights by the names of their classes; metadata.json, the version. `.h5` (Keras 1 and 2, and 3
on demand) is one HDF5 file: the layers are the attribute model_config, the weights stand under the names of the layers
in the order that the attribute weight_names gives. Neither is ever executed.
"""

# mypy: disable-error-code="import-untyped,import-not-found"

from __future__ import annotations

import io
import itertools
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from elman import checks
from elman.checks import Array, FormatError
from elman.interop.files import MAX_BYTES, Source, name_of, named, parse_json, read_bytes, refused
from elman.interop.keras.config import Entry, Groups
from elman.interop.keras.flow import own_arrays
from elman.interop.keras.hdf5_tree import EXPANSION, Tree

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
ROOTS = ("layers", "_layer_checkpoint_dependencies")  #: where weights stand; the second in Keras 2.12 and 2.13
WHOLE = "model_weights/"  #: where those of a whole model stand in a legacy file
_METADATA = {"keras_version": "3.0.0", "date_saved": "1980-01-01@00:00:00"}  # the format is that of every Keras 3
_NOT_TRAINED = ("moving_mean", "moving_variance", "mean", "variance", "count")
_UNREAD = ("count",)  # of how many examples statistics are: a whole number that nothing is computed from
_CONFIG_BYTES = 2**24  # a description is text of some kilobytes
_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
_BROKEN = (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, ValueError, EOFError, MemoryError, OverflowError)


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
    with named(name), Tree(content) as tree:
        if not alone:
            config, version = tree.text("", "model_config"), tree.text("", "keras_version")
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
    model = parse_json(name, config, "the attribute 'model_config'")
    return Stored(name, model, _major(version or "1", f"{name}: it"), content, legacy=True)


def read_description(source: Source) -> Stored:
    """What `to_json` of a model wrote."""
    name = name_of(source)
    config = parse_json(name, read_bytes(source, "a description of a Keras model", _CONFIG_BYTES))
    version = config.get("keras_version") if isinstance(config, dict) else None
    return Stored(name, config, 3 if version is None else _major(version, f"{name}: keras_version"), b"", legacy=False)


def _read_archive(name: str, content: bytes) -> Stored:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {info.filename: info for info in archive.infolist()}
            for member in archive.namelist():
                parts = PurePosixPath(member.replace("\\", "/")).parts
                if ".." in parts or member[:1] in ("/", "\\") or re.match(r"[A-Za-z]:", member):
                    raise refused(name, "every member", "a path inside the archive", repr(member))
            if len(members) != len(archive.namelist()):
                raise refused(name, "every member", "one of its name", "two of one name")
            config, metadata = (
                parse_json(name, _member(archive, members, member, name, _CONFIG_BYTES), member)
                for member in (CONFIG, METADATA)
            )
            weights = _member(archive, members, WEIGHTS, name, MAX_BYTES)
    except FormatError:
        raise
    except _BROKEN as error:
        raise refused(name, "it", "a whole .keras archive", f"an error: {error}") from None
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    return Stored(name, config, _major(version, f"{name}: {METADATA}"), weights, legacy=False)


def _member(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], member: str, name: str, limit: int) -> bytes:
    info = members.get(member)
    if info is None:
        held = ", ".join(map(repr, list(members)[:8])) or "none"
        raise refused(name, "its members", f"{CONFIG}, {METADATA} and {WEIGHTS} among others", held)
    if info.flag_bits & 1:
        raise refused(name, member, "open to all", "an encrypted one")
    limit = min(limit, EXPANSION * info.compress_size + 2**16)
    if info.file_size > limit:
        must = f"at most {limit:,} bytes, with {info.compress_size:,} in the archive"
        raise refused(name, member, must, f"{info.file_size:,}")
    with archive.open(info) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise refused(name, member, f"at most {limit:,} bytes", "more")
    return content


def _major(version: Any, place: str) -> int:
    match = re.match(r"(\d{1,3})\.", f"{version}.")
    if not isinstance(version, str) or match is None or match[1] == "1":
        raise FormatError(f"{place} must be of Keras 2 or 3. Got the version {version!r}.")
    return int(match[1])


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
                group = "/".join(filter(None, (entry.path, place, "vars")))
                for i, name in enumerate(names):
                    file.create_dataset(f"{group}/{i}", data=held[name], track_times=False)
    texts = {METADATA: json.dumps(_METADATA).encode(), CONFIG: json.dumps(model).encode()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, data in {**texts, WEIGHTS: arrays.getvalue()}.items():
            info = zipfile.ZipInfo(member, (1980, 1, 1, 0, 0, 0))
            info.create_system = 3  # wherever it is written
            archive.writestr(info, data)
    return buffer.getvalue()
