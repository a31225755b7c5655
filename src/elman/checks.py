"""What is refused, and the words for it.

Every message has one form: what must hold, then what was given,
for example ``x must have shape (batch, time, 8). Got (32, 100, 7).``
Checks run once, where a user's value comes in, and not again inside.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


class ShapeError(ValueError):
    """An array whose rank or size does not fit."""


class DtypeError(TypeError, ValueError):
    """An array of a kind that is not computed with: complex, object, text."""


class FormatError(ValueError):
    """A file or a foreign model that cannot be read or written exactly."""


class MissingExtraError(ImportError):
    """An optional library is not installed; the message says how to install it."""


def missing_extra(what: str, extra: str) -> MissingExtraError:
    """The error of a feature whose extra is not installed."""
    return MissingExtraError(f'{what} must have its extra installed: pip install "elman[{extra}]"')


def real_array(name: str, value: Any, dtype: Any = None) -> Array:
    """`value` as an array of real numbers, converted to `dtype` where one is given.

    Integers and booleans become float64 (or `dtype`); complex, object and text arrays are refused.
    """
    if isinstance(value, np.ndarray) and value.dtype == dtype:  # the usual case, and the quick one
        return value
    array = _as_array(name, value)
    if array.dtype.kind not in "biuf":
        raise DtypeError(f"{name} must hold real numbers. Got an array of dtype {array.dtype}.")
    if dtype is None:
        dtype = np.float32 if array.dtype == np.float32 else np.float64
    return array.astype(dtype, copy=False)


def integer_array(name: str, value: Any, count: int) -> Array:
    """`value` as int64 indices from 0 to `count` - 1."""
    array = _as_array(name, value)
    if array.dtype.kind not in "iu":
        raise DtypeError(f"{name} must hold integers. Got an array of dtype {array.dtype}.")
    if array.size and (array.min() < 0 or array.max() >= count):
        wrong = array.min() if array.min() < 0 else array.max()
        raise ValueError(f"{name} must hold integers from 0 to {count - 1}. Got {wrong}.")
    return array.astype(np.int64, copy=False)


def _as_array(name: str, value: Any) -> Array:
    try:
        return np.asarray(value)
    except ValueError:
        raise ShapeError(f"{name} must be an array or nested lists of equal length. Got {describe(value)}.") from None


def shape(name: str, array: Array, *allowed: Sequence[int | str]) -> None:
    """Refuses an array whose shape fits none of `allowed`; words in them stand for any size."""
    got = array.shape
    for want in allowed:
        if len(got) == len(want):
            for size, wanted in zip(got, want, strict=True):
                if size != wanted and not isinstance(wanted, str):
                    break
            else:
                return
    options = " or ".join(_write(want) for want in allowed)
    raise ShapeError(f"{name} must have shape {options}. Got {got}.")


def _write(want: Sequence[int | str]) -> str:
    return f"({', '.join(map(str, want))}{',' if len(want) == 1 else ''})"


def common_dtype(*arrays: Any) -> np.dtype[Any]:
    """float64, unless every array is float32."""
    all_single = all(getattr(a, "dtype", None) == np.float32 for a in arrays)
    return np.dtype(np.float32 if all_single else np.float64)


def float_dtype(value: Any) -> np.dtype[Any]:
    """float32 or float64, by name or by type."""
    try:
        dtype = np.dtype(value)
    except TypeError:
        dtype = None
    if dtype is None or dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"dtype must be 'float32' or 'float64'. Got {value!r}.")
    return dtype


def size(name: str, value: Any) -> int:
    """A positive whole number."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1 up. Got {value!r}.")
    return int(value)


def seed(name: str, value: Any) -> int | None:
    """A whole number from 0 up, or None for one drawn afresh."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0):
        raise ValueError(f"{name} must be a whole number from 0 up, or None. Got {value!r}.")
    return None if value is None else int(value)


def flag(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False. Got {value!r}.")
    return bool(value)


def number(name: str, value: Any, low: float = -math.inf, high: float = math.inf, *, open_low: bool = False) -> float:
    """A finite real number from `low` to `high`; `open_low` leaves `low` itself out."""
    is_real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not is_real or not math.isfinite(value) or not low <= value <= high or (open_low and value == low):
        raise ValueError(f"{name} must be a number{_interval(low, high, open_low)}. Got {value!r}.")
    return float(value)


def _interval(low: float, high: float, open_low: bool) -> str:
    parts = []
    if low > -math.inf:
        parts.append(f"{'over' if open_low else 'from'} {low:g}")
    if high < math.inf:
        parts.append(f"up to {high:g}")
    return " " + " ".join(parts) if parts else ""


def choice(name: str, value: Any, options: Iterable[str]) -> str:
    """One of the names in `options`; a misspelled one is answered with the nearest."""
    options = list(options)
    if isinstance(value, str) and value in options:
        return value
    from difflib import get_close_matches

    by_lower = {option.lower(): option for option in options}
    near = get_close_matches(str(value).lower(), by_lower, n=1, cutoff=0.5)
    hint = f" Did you mean {by_lower[near[0]]!r}?" if near else ""
    raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}. Got {value!r}.{hint}")


def describe(value: Any) -> str:
    """A few words for a value in an error: its type, with its shape or length where it has one."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    kind = f"{'an' if type(value).__name__[0] in 'aeiou' else 'a'} {type(value).__name__}"
    if hasattr(value, "__len__") and not isinstance(value, (str, bytes)):
        return f"{kind} of length {len(value)}"
    return kind
