"""Tables of pandas, polars, Arrow and others, by narwhals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from elman.checks import missing_extra
from elman.tables.places import has

try:
    import narwhals
except ImportError:
    raise missing_extra("the estimators of elman", "sklearn") from None

#: What tables and columns of pandas, polars and Arrow have, one of them each.
_TABLES = ("to_numpy", "columns", "column_names")


def as_frame(value: Any, name: str) -> Any:
    """A narwhals DataFrame of a pandas, polars or Arrow table; None where `value` is none."""
    if isinstance(value, (np.ndarray, list, tuple)) or not has(value, *_TABLES):
        return None
    with different_columns(name, value):
        frame = narwhals.from_native(value, pass_through=True, eager_only=True)
    return frame if isinstance(frame, narwhals.DataFrame) else None


@contextmanager
def different_columns(name: str, table: Any) -> Iterator[None]:
    """Refuses a table two columns of which have one name."""
    try:
        yield
    except narwhals.exceptions.DuplicateError:
        names = list(map(str, table.columns))
        double = next((column for column in names if names.count(column) > 1), "a name")
        raise ValueError(f"{name} must have columns of different names. Got {double!r} more than once.") from None


def to_numpy(value: Any) -> Any:
    """The array of a Series of pandas, polars or Arrow, or of a frame; anything else as it is."""
    if isinstance(value, (np.ndarray, list, tuple)) or not has(value, *_TABLES):
        return value
    native = narwhals.from_native(value, pass_through=True, allow_series=True)
    return native.to_numpy() if isinstance(native, (narwhals.DataFrame, narwhals.Series)) else value
