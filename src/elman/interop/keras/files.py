"""Files of Keras: what an archive or an HDF5 file holds, read by name and within bounds.

`.keras` (Keras 3, and 2 from version 2.12 on) is a ZIP archive with three members: config.json, the layers;
model.weights.h5, their weights by the names of their classes; metadata.json, the version. `.h5` (Keras 1 and 2, and 3
on demand) is one HDF5 file: the layers are the attribute model_config, the weights stand under the names of the layers
in the order that the attribute weight_names gives. Neither is ever executed.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from elman.checks import FormatError
from elman.interop.files import MAX_BYTES, Source, name_of, parse_json, read_bytes, refused
from elman.interop.keras.arrays import UNREAD, Groups, own_arrays
from elman.interop.keras.config import Entry
from elman.interop.keras.hdf5_tree import EXPANSION, Tree

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
ROOTS = ("layers", "_layer_checkpoint_dependencies")  #: where weights stand; the second in Keras 2.12 and 2.13
WHOLE = "model_weights/"  #: where those of a whole model stand in a legacy file
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


def read(source: Source) -> Stored:
    """The model in a file, which its first bytes tell; the file is read whole."""
    name, content = name_of(source), read_bytes(source, "a file of Keras")
    if content.startswith(_ZIP):
        return _read_archive(name, content)
    if content.startswith(_HDF5):
        return _read_legacy(name, content)
    raise refused(name, "its first bytes", "those of a .keras archive or of an HDF5 file", repr(content[:8]))


def read_weights(source: Source) -> Stored:
    """A file of weights, as save_weights writes them: `.weights.h5` of Keras 3, `.h5` of Keras 2; or a whole model."""
    name, content = name_of(source), read_bytes(source, "a file of Keras")
    if content.startswith(_ZIP):
        return _read_archive(name, content)
    if not content.startswith(_HDF5):
        raise refused(name, "its first bytes", "those of an HDF5 file", repr(content[:8]))
    with Tree(content, name) as tree:
        legacy = any(tree.texts(root, "layer_names") is not None for root in ("", WHOLE[:-1]))
        if not (legacy or any(map(tree.has, ROOTS))):
            held = ", ".join(tree.members("")) or "none"
            raise refused(name, "its groups", "'layers' or those of layers, as save_weights writes them", held)
    return Stored(name, None, 3, content, legacy)


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


def _read_legacy(name: str, content: bytes) -> Stored:
    with Tree(content, name) as tree:
        config, version = tree.text("", "model_config"), tree.text("", "keras_version")
    if config is None:
        raise refused(
            name,
            "it",
            "a whole model, as model.save writes it",
            "weights without a description: like=network, or like= the path of its to_json(), says whose they are",
        )
    model = parse_json(name, config, "the attribute 'model_config'")
    return Stored(name, model, _major(version or "1", f"{name}: it"), content, legacy=True)


def _major(version: Any, place: str) -> int:
    match = re.match(r"(\d{1,3})\.", f"{version}.")
    if not isinstance(version, str) or match is None or match[1] == "1":
        raise FormatError(f"{place} must be of Keras 2 or 3. Got the version {version!r}.")
    return int(match[1])


def archived_arrays(tree: Tree) -> Callable[[Entry], Groups]:
    """How the weights of a layer are read from model.weights.h5."""

    def arrays(entry: Entry) -> Groups:
        groups = []
        for place, names in own_arrays(entry):
            path = "/".join(filter(None, (entry.path, place, "vars")))
            older = path.replace(*ROOTS)
            path = path if tree.has(path) or not tree.has(older) else older
            held = sorted(tree.members(path)) if tree.has(path) else []
            if held != [str(i) for i in range(len(names))]:
                got = f"{len(held)} arrays at {path!r}"
                raise FormatError(f"its weights must be {len(names)}, {', '.join(names)}. Got {got}.")
            read = [(i, name) for i, name in enumerate(names) if name not in UNREAD]
            groups.append({name: tree.array(f"{path}/{i}") for i, name in read})
        return groups

    return arrays


def legacy_lists(tree: Tree) -> dict[str, list[str]]:
    """Where the weights of each layer of a legacy file stand, in their order, under the name of the layer."""
    lists, root = {}, WHOLE if tree.has(WHOLE[:-1]) else ""
    for layer in tree.texts(root[:-1], "layer_names") or []:
        names = tree.texts(root + layer, "weight_names") or []
        lists[layer] = [f"{root}{layer}/{name}" for name in names]
    return lists
