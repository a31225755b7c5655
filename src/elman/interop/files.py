"""How foreign files are read: whole, within bounds, and refused by name and place."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np

from elman.checks import Array, FormatError, show
from elman.files import check_source, path_text
from elman.interop.contents import HEAD, unread

#: A file by its path, or its content.
Source: TypeAlias = str | os.PathLike[str] | bytes

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


@contextmanager
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
