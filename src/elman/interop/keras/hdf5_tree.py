"""HDF5 files from foreign hands, read within bounds.

No link that leads elsewhere is followed, nothing but numbers and text is read, and no more memory is taken than the
size of the file accounts for.
"""

# mypy: disable-error-code="import-untyped,import-not-found"

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from elman import checks
from elman.checks import Array, FormatError
from elman.interop.files import MAX_BYTES

#: How much larger than in the file data may be in memory. Weights hardly compress; what does is no network.
EXPANSION = 100
_SMALL = 2**16  # bytes that are never too many
_HEAP = b"GCOL\x01\0\0\0"

_BROKEN = (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError)


class Tree:
    """The groups, arrays and texts of an HDF5 file, given as its bytes. Used as a context, which closes it."""

    def __init__(self, content: bytes) -> None:
        try:
            import h5py
        except ImportError:
            raise checks.missing_extra("Reading files of Keras", "keras") from None
        self._h5 = h5py
        self._size = len(content)
        self._read: set[str] = set()  # paths of arrays
        self._left = min(MAX_BYTES, EXPANSION * len(content) + _SMALL)  # what may still be read
        _check_heaps(content)
        with _readable("it", "a whole HDF5 file"):
            self._file = h5py.File(io.BytesIO(content), "r")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(*_BROKEN):  # what was read is read
            self._file.close()

    def has(self, path: str) -> bool:
        """Whether a group or an array stands at `path`."""
        with _readable(path, "readable"):
            return self._walk(path) is not None

    def members(self, path: str) -> list[str]:
        """The names in a group, none where there is nothing; "" is that of the whole file."""
        with _readable(path or "its root", "a group that can be read"):
            group = self._walk(path) if path else self._file
            if group is not None and not isinstance(group, self._h5.Group):
                raise _refused(path, "a group", _kind(group))
            return list(group or ())

    def array(self, path: str) -> Array:
        """The numbers of a dataset, float32 or float64 as they stand there."""
        with _readable(path, "an array that can be read"):
            dataset = self._walk(path)
            if not isinstance(dataset, self._h5.Dataset):
                raise _refused(path, "an array", _kind(dataset))
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

    def text(self, path: str, name: str) -> str | None:
        """An attribute that is a text; None where there is none."""
        values = self._attribute(path, name)
        if values is not None and len(values) != 1:
            raise _refused(f"the attribute {name!r}", "one text", f"{len(values)}")
        return None if values is None else values[0]

    def texts(self, path: str, name: str) -> list[str] | None:
        """An attribute that is a list of texts, in one or, where it is long, in several pieces; None for none."""
        values = self._attribute(path, name)
        if values is not None:
            return values
        pieces: list[str] = []
        for i in range(self._size):
            piece = self._attribute(path, f"{name}{i}")
            if piece is None:
                return pieces if i else None
            pieces += piece
        return pieces

    def _attribute(self, path: str, name: str) -> list[str] | None:
        place = f"the attribute {name!r}{f' of {path}' if path else ''}"
        with _readable(place, "text that can be read"):
            node = self._walk(path) if path.strip("/") else self._file
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
        node: Any = self._file
        parts = path.split("/")
        if wrong := [part for part in parts if part in ("", ".", "..")]:
            raise _refused(f"the name {path!r}", "one that stays where it stands", repr(wrong[0] or "/"))
        while parts:
            if not isinstance(node, self._h5.Group):
                return None
            # Keras on Windows wrote several names as one, with backslashes between them.
            names = (("\\".join(parts[:count]), count) for count in range(1, len(parts) + 1))
            part, count = next(((name, count) for name, count in names if name in node), (None, 0))
            link = None if part is None else node.get(part, getlink=True)
            if part is None or link is None:
                return None
            parts = parts[count:]
            if not isinstance(link, self._h5.HardLink):
                target = getattr(link, "filename", "") or getattr(link, "path", "")
                raise _refused(path, "in the file itself", f"a {type(link).__name__} to {target!r}")
            node = node[part]
        return node

    def _check(self, path: str, dataset: Any) -> None:
        """Refuses a dataset before anything of it is read."""
        if dataset.external or dataset.is_virtual:
            raise _refused(path, "in the file itself", "an array that is kept in other files")
        if dataset.shape is None or dataset.dtype.kind != "f" or dataset.dtype.itemsize not in (4, 8):
            raise _refused(path, "an array of float32 or float64", str(dataset.dtype))
        stored = dataset.id.get_storage_size()
        bound = self._size if dataset.chunks is None else EXPANSION * stored + _SMALL
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


def _kind(node: Any) -> str:
    return "nothing" if node is None else f"a {type(node).__name__.lower()}"
