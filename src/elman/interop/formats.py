"""The formats of files: how each is recognized, read and written, in one table.

A file is recognized by its content first, and by the ending of its name where the content says nothing.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from elman import checks
from elman.cells import Cell
from elman.checks import FormatError
from elman.files import Where, check_source, path_text
from elman.interop import files, outlines, peers
from elman.interop.audio.reader import MAX_BYTES, MUST, from_rtneural
from elman.interop.audio.rtneural import to_rtneural
from elman.interop.c.code import to_c
from elman.interop.files import Source, name_of, refused
from elman.interop.keras.reader import from_keras
from elman.interop.keras.writer import to_keras
from elman.interop.onnx.reading.reader import from_onnx
from elman.interop.onnx.writing.writer import to_onnx
from elman.interop.pytorch.networks import from_torch
from elman.interop.pytorch.state import write_state_dict
from elman.layers import Layer
from elman.network import Network
from elman.saving import key_of, load, save


@dataclass(frozen=True)
class Format:
    """A row of the table."""

    name: str  #: as `elman convert --to` calls it
    title: str  #: as reports call it
    endings: tuple[str, ...]
    read: Callable[..., Any] | None
    write: Callable[[Layer, Where], Any] | None
    read_back: Callable[[Where, Network], Network] | None = None  #: reads what was written of this network
    convention: str | None = None  #: of its recurrent weights, in `elman.interop.CONVENTIONS`
    outline: Callable[[Where], outlines.Outline] | None = None  #: what a file that is read holds, in words
    peer: Callable[[Where, Network], peers.Peer] | None = (
        None  #: the system that runs a file, see `elman.interop.peers`
    )


def find(path: Source) -> Format:
    """The format of a file, or of bytes, which have no name whose ending could tell it.

    Raises `FormatError` for one of no known format, `FileNotFoundError` where there is none.

    >>> import elman, tempfile
    >>> from elman.interop import formats
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     elman.Network([elman.GRU(2, 3)]).save(folder + "/net")
    ...     formats.find(folder + "/net").name
    'elman'
    """
    content = path if isinstance(path, (bytes, bytearray, memoryview)) else None
    if content is not None:
        name, head, size = "", bytes(content[: files.HEAD]), len(content)
    else:
        name = check_source("path", path)
        with open(name, "rb") as file:
            head, size = file.read(files.HEAD), os.fstat(file.fileno()).st_size
    told = _by_content(head, size, path)
    if told is not None:
        return FORMATS[told]
    for form in FORMATS.values():
        if name.lower().endswith(form.endings):
            return form
    raise _refuse(path, files.unread(head, name) or f"one that begins with {head[:8]!r}")


def read(path: Source, cells: Mapping[str, Cell] | None = None, layers: Iterable[type[Layer]] = ()) -> Any:
    """What is in a file of any format of the table, or in its bytes: a network, or an estimator of elman.

    See `find` and the function of each format; `cells` and `layers` are those of `elman.load`.

    >>> import elman, tempfile
    >>> from elman.interop import formats
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     formats.write(elman.Network([elman.GRU(2, 3)]), folder + "/net.json")
    ...     formats.read(folder + "/net.json")
    Network of 1 layers, 57 parameters, float32
      0  GRU(input_size=2, hidden_size=3, reset_after=True, bidirectional=False) 57
    """
    path = bytes(path) if isinstance(path, (bytearray, memoryview)) else path
    form = find(path)
    if form.read is None:
        raise _refuse(path, f"{form.title}, which is written only")
    if form.name == "elman":
        return form.read(path, cells=cells, layers=layers)
    for name, given, left_out in (("cells", cells, None), ("layers", layers, ())):
        if given is not left_out:
            raise ValueError(f"{name} must be left out for a file of {form.title}. Got {checks.show(given)}.")
    return form.read(path)


def write(net: Layer, path: Where, form: str | None = None) -> None:
    """Writes a network or a layer in the format of the ending of `path`, or in the one named by `form`."""
    to_write(path, form).write(net, path)  # type: ignore[misc]  # those that are written


def to_write(path: Where, form: str | None = None) -> Format:
    """The format in which `path` is to be written: `form`, else that of its ending."""
    name = path_text("path", path)
    known = {each.name: each for each in FORMATS.values() if each.write is not None}
    chosen = known if form is None else {form: known[checks.choice("format", form, known)]}
    for each in chosen.values():
        if name.lower().endswith(each.endings):
            return each
    endings = list(dict.fromkeys(ending for each in chosen.values() for ending in each.endings))
    must = f"path must end in one of {', '.join(endings)}, or the format be named"
    if form is not None:
        must = f"a path for {known[form].title} must end in {' or '.join(endings)}"
    raise ValueError(f"{must}. Got {checks.show(name)}.")


def _refuse(path: Source, what: str) -> FormatError:
    *titles, last = [form.title for form in FORMATS.values() if form.read is not None]
    return refused(name_of(path), "it", f"a file of {', '.join(titles)} or {last}", what)


# By content.


def _by_content(head: bytes, size: int, path: Source) -> str | None:
    """The format that the first bytes of a file of some size tell, or None."""
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "keras"
    if head.startswith(b"PK\x03\x04"):
        return _of_archive(path)
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and length <= size - 8:
        return "torch" if key_of(head) is None else "elman"
    if head.lstrip()[:1] in (b"{", b"["):
        return _of_json(path)
    if files.is_torch_pickle(head):
        return "torch"
    if head.startswith(b"\x08"):
        return "onnx"  # the number of its version comes first
    return None


def _of_archive(path: Source) -> str | None:
    try:
        with zipfile.ZipFile(io.BytesIO(path) if isinstance(path, (bytes, bytearray, memoryview)) else path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None
    if "config.json" in names:
        return "keras"
    if any(entry.endswith("data.pkl") for entry in names):
        return "torch"
    raise _refuse(path, files.of_archive(names))


def _of_json(path: Source) -> str:
    content = files.read_bytes(path, MUST, MAX_BYTES)
    try:
        form, what = files.of_json(files.parse_json(name_of(path), content))
    except FormatError:
        if b'"layers"' in content or b'"in_shape"' in content:
            return "rtneural"  # its reader says where it breaks off
        raise
    if form is None:
        raise _refuse(path, what)
    return form


def _load(path: Source, **own: Any) -> Any:
    """A network or an estimator of elman."""
    if key_of(path) != "elman_estimator":
        return load(path, **own)
    from elman.estimators.files import load as load_estimator

    return load_estimator(path, **own)


def _save(net: Layer, path: Where) -> None:
    save(net if isinstance(net, Network) else Network([net]), path)


_AUDIO: dict[str, Any] = {"read": from_rtneural, "outline": outlines.audio}
_TABLE = (
    Format("elman", "elman", (".safetensors",), _load, _save, convention="elman", outline=outlines.safetensors),
    Format(
        "torch",
        "PyTorch",
        (".pt", ".pth", ".bin", ".safetensors"),
        from_torch,
        write_state_dict,
        lambda path, net: from_torch(path, like=net),
        convention="pytorch",
        outline=outlines.torch,
        peer=peers.torch,
    ),
    Format("keras", "Keras", (".keras",), from_keras, to_keras, None, "keras", outlines.keras, peers.keras),
    Format("onnx", "ONNX", (".onnx",), from_onnx, to_onnx, None, "onnx", outlines.onnx, peers.onnx),
    Format("rtneural", "RTNeural", (".json",), write=to_rtneural, convention="keras", **_AUDIO),
    Format("aida", "AIDA-X", (), write=None, convention="keras", **_AUDIO),
    Format("guitarml", "GuitarML", (), write=None, convention="pytorch", **_AUDIO),
    Format("nam", "Neural Amp Modeler", (".nam",), write=None, convention="pytorch", **_AUDIO),
    Format("c", "C", (".c",), None, to_c, peer=peers.c),
)

#: The formats by name. Where two share an ending, the first is meant unless the other is named.
FORMATS: dict[str, Format] = {form.name: form for form in _TABLE}
