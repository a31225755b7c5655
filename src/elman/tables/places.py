"""The first wrong entry of what a user gives, and where it stands: numbers, labels, weights.

A place is words for an index, "sequence 7, step 3"; whoever knows what the axes mean gives a function that writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from decimal import Decimal
from numbers import Real
from typing import Any, TypeAlias

import numpy as np

from elman import checks
from elman.checks import Array, DtypeError, ShapeError

Where: TypeAlias = Callable[[tuple[int, ...]], str]  #: an index in words

LARGEST = 1e150  #: in size, of numbers that are standardized: their squares, and sums of these, are finite


def words(*axes: str) -> Where:
    """The place in an array with these axes: words("sequence", "step")((7, 3)) is "sequence 7, step 3"."""

    return lambda index: ", ".join(f"{axis} {i}" for axis, i in zip(axes, index, strict=False))


def check_finite(name: str, values: Array, where: Where, hint: str = "") -> None:
    """Refuses NaN, infinities and numbers over `LARGEST` in size, by the place of the first; `hint` is for NaN."""
    if values.size == 0 or max(abs(float(values.min())), abs(float(values.max()))) <= LARGEST:  # False for NaN
        return
    index = checks.first(~(np.abs(values.astype(np.float64)) <= LARGEST))
    value = float(values[index])
    must = f"at most {LARGEST:.0e} in size" if np.isfinite(value) else "finite"
    got = f"NaN{_at(where, index)}{hint}" if np.isnan(value) else f"{value}{_at(where, index)}"
    raise ValueError(f"{name} must be {must}. Got {got}.")


def _at(where: Where, index: tuple[int, ...]) -> str:
    """A place after what stands there; a number alone has none."""
    return f" at {place}" if (place := where(index)) else ""


def is_missing(entry: Any) -> bool:
    """None, NaN, or what pandas has in their place."""
    if entry is None or type(entry).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(entry, (float, np.floating, np.datetime64, Decimal)) and bool(entry != entry)


def is_number(entry: Any) -> bool:
    """A real number, or a truth value."""
    return isinstance(entry, (Real, Decimal, np.bool_))


def show(entry: Any) -> str:
    """An entry in an error, without the name of NumPy's type."""
    if is_missing(entry):
        return "NaN" if is_number(entry) else str(entry)
    if isinstance(entry, (np.datetime64, np.timedelta64)):
        return str(entry)  # as an object of Python it may be a number of nanoseconds
    return checks.show(entry.item() if isinstance(entry, np.generic) else entry)


def has(value: Any, *names: str) -> bool:
    """Whether an object has one of these attributes; one that raises when it is asked has none."""
    try:
        return any(hasattr(value, name) for name in names)
    except checks.FAILURES:
        return False


def few(entries: Iterable[Any], most: int = 5, write: Callable[[Any], str] = repr, between: str = ", ") -> str:
    """Entries in words, the first of many."""
    entries = list(entries)
    more = [f"and {len(entries) - most:,} more"] if len(entries) > most else []
    return between.join([*(checks.shorten(write(entry)) for entry in entries[:most]), *more]) or "none"


def counted(count: int, noun: str) -> str:
    """1 gap, 2 gaps, 2 series."""
    return f"{count:,} {noun}{'' if count == 1 or noun.endswith('s') else 's'}"


def is_collection(value: Any) -> bool:
    """An array, a list or what can be made one; no text, mapping or set."""
    if isinstance(value, (type, str, bytes, np.generic, Mapping, AbstractSet)):
        return False
    return value.ndim > 0 if isinstance(value, np.ndarray) else has(value, "__array__", "__len__")


def listed(name: str, value: Any) -> list[Any]:
    """The entries of a collection, whatever it does when it is asked for them."""
    try:
        return list(value)
    except MemoryError:
        raise checks.too_large(name, value) from None
    except checks.FAILURES:
        raise ShapeError(f"{name} must be an array or a list of entries. Got {checks.describe(value)}.") from None


def entries(name: str, value: Any) -> Array:
    """An array, or lists of equal length, as an array; one of objects where numbers and text stand side by side."""
    array = checks.plain_array(name, value)
    if array.dtype.kind not in "US" or isinstance(value, np.ndarray):
        return array
    separate = np.array(value, object)  # a list of numbers and text is not text all along
    return array if all(isinstance(entry, (str, bytes)) for entry in separate.flat) else separate


def real_numbers(name: str, value: Any, where: Where) -> Array:
    """`value` as an array of numbers, in which what is missing is NaN; the first entry that is no number is refused."""
    array = entries(name, value)
    if array.dtype.kind in "OUS":
        kept = [np.nan if is_missing(entry) else entry for entry in array.flat]
        wrong = np.array([not is_number(entry) for entry in kept], bool)
        if wrong.any():
            index = checks.first(wrong.reshape(array.shape))
            raise DtypeError(f"{name} must hold real numbers. Got {show(array[index])}{_at(where, index)}.")
        array = np.array([_as_float(entry) for entry in kept], np.float64).reshape(array.shape)
    return checks.real_array(name, array)


def _as_float(entry: Any) -> float:
    try:
        return float(entry)
    except OverflowError:  # a whole number of more than 308 digits
        return float("inf") if entry > 0 else float("-inf")


def check_no_y(y: Any, instead: str = "") -> None:
    """Refuses the y of scikit-learn's signature, for estimators that have no use for one."""
    if y is not None:
        raise TypeError(f"y must be left out{instead}. Got {checks.show(y)}.")
