"""How foreign files are read: whole, within bounds, and refused by name and place."""

from __future__ import annotations

import json
import os
from typing import Any

from elman.checks import FormatError
from elman.files import check_source

#: No larger file is read into memory: 2 GiB, more than any recurrent network needs.
MAX_BYTES = 2**31


def read_bytes(path: str | os.PathLike[str], limit: int = MAX_BYTES) -> bytes:
    """The content of a file of at most `limit` bytes."""
    name = check_source("path", path)
    with open(name, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise refused(name, "its size", f"at most {limit:,} bytes", f"{size:,}")
        return file.read(size)  # a larger number would take that much memory before it reads


def refused(source: str | os.PathLike[str], place: str, must: str, got: str) -> FormatError:
    """The error of a foreign file or model: where, what must hold there, what stands there."""
    return FormatError(f"{os.fspath(source)}: {place} must be {must}. Got {got}.")


def parse_json(source: str | os.PathLike[str], content: bytes | str) -> Any:
    """The value of a JSON text, NaN and infinities among it."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise refused(source, "it", "JSON", f"an error: {error}") from None
