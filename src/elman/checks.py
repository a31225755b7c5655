"""What is refused, and the words for it.

Every message has one form: what must hold, then what was given, as in the example of `ShapeError`. Checks run once,
where a user's value comes in, and not again inside.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from elman.showing import describe as describe
from elman.showing import shorten as shorten
from elman.showing import show as show

Array = np.ndarray[Any, np.dtype[Any]]


class ShapeError(ValueError):
    """An array whose rank or size does not fit, or a network that cannot do what is asked.

    >>> import numpy as np, elman
    >>> elman.LSTM(8, 5)(np.ones((32, 100, 7)))
    Traceback (most recent call last):
    elman.checks.ShapeError: x must have shape (batch, time, 8) or (time, 8). Got (32, 100, 7).
    """


class DtypeError(TypeError, ValueError):
    """An array of a kind that is not computed with: complex, object, text."""


class KindError(TypeError, ValueError):
    """A value of another type than it must have; in what a file holds, a wrong value like any other."""


class FormatError(ValueError):
    """A file or a foreign model that cannot be read or written exactly.

    Its text is cut where it is long: what a file holds may be of any length.

    >>> import elman
    >>> elman.from_rtneural(b"...")
    Traceback (most recent call last):
    elman.checks.FormatError: the bytes: it must be JSON. Got an error: Expecting value: line 1 column 1 (char 0).
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(message if len(message) <= 4000 else f"{message[:4000]} ...")


class MissingExtraError(ImportError):
    """An optional library is not installed; the message says how to install it: ``pip install "elman[onnx]"``."""


def missing_extra(what: str, extra: str) -> MissingExtraError:
    """The error of a feature whose extra is not installed."""
    return MissingExtraError(f'{what} must have its extra installed: pip install "elman[{extra}]"')


def real_array(name: str, value: Any, dtype: Any = None, axes: Sequence[str] = ()) -> Array:
    """`value` as an array of real numbers, converted to `dtype` where one is given.

    Integers and booleans become float64 (or `dtype`); complex, object and text arrays are refused, and numbers that
    are too large for the dtype, whose place is told in words where `axes` names the axes. What comes back is a plain
    array in the processor's own layout: see `plain_array`.
    """
    if _is_usual(value) and (dtype is None or value.dtype == dtype):
        return value
    return converted(name, number_array(name, value), dtype, lambda index: place(name, index, axes))


def _is_usual(value: Any) -> bool:
    """Whether a value is an array of float32 or float64 as it should be, which most are: the quick way."""
    if type(value) is not np.ndarray or not value.flags.aligned or value.size > _MOST:
        return False
    return value.dtype.char in "fd" and value.dtype.isnative


def number_array(name: str, value: Any) -> Array:
    """`value` as an array of real numbers in its own dtype, which tells labels from numbers."""
    if _is_usual(value):
        return value
    array = plain_array(name, value)
    if array.dtype.kind in "biuf":
        return array
    if array.ndim == 0 and not isinstance(value, (np.ndarray, np.generic)):  # an object that is no array at all
        raise DtypeError(f"{name} must hold real numbers. Got {show(value)}.")
    small = array.dtype == object and array.ndim and array.size <= 10**6
    entries = np.ndenumerate(array) if small else ()
    wrong = (at for at in entries if not isinstance(at[1], (int, float, np.number)))
    which = next((f", with {show(entry)} at {place(name, index)}" for index, entry in wrong), "")
    raise DtypeError(f"{name} must hold real numbers. Got an array of dtype {array.dtype}{which}.")


def whole_numbers(name: str, value: Any) -> Array:
    """`value` as an array of integers, in their own dtype."""
    array = number_array(name, value)
    if array.dtype.kind not in "iu":
        raise DtypeError(f"{name} must hold integers. Got an array of dtype {array.dtype}.")
    return array


def indices(name: str, array: Array, count: int, where: Callable[[tuple[int, ...]], str]) -> Array:
    """Integers from 0 to `count` - 1 as int64; `where` tells the place of a wrong one."""
    if array.size and (array.min() < 0 or array.max() >= count):
        index = first((array < 0) | (array >= count))
        at = where(index)
        raise ValueError(f"{name} must hold integers from 0 to {count - 1}. Got {array[index]}{at and f' at {at}'}.")
    return array.astype(np.int64, copy=False)


def boolean_array(name: str, value: Any) -> Array:
    """`value` as an array of booleans."""
    array = plain_array(name, value)
    if array.dtype != np.bool_:
        raise DtypeError(f"{name} must hold booleans. Got an array of dtype {array.dtype}.")
    return array


def converted(name: str, array: Array, dtype: Any, where: Callable[[tuple[int, ...]], str]) -> Array:
    """Real numbers as `dtype`; those that it cannot hold are refused, and `where` tells the place of the first.

    Without a dtype float32 stays as it is, and all else becomes float64.
    """
    if dtype is None:
        dtype = np.float32 if array.dtype == np.float32 else np.float64
    if array.dtype == dtype:
        return array
    try:
        with np.errstate(over="raise", under="ignore", invalid="ignore"):
            return array.astype(dtype)
    except FloatingPointError:
        with np.errstate(all="ignore"):
            index = first(np.isfinite(array) & ~np.isfinite(array.astype(dtype)))
        at, must = where(index), f"{name} must hold numbers that {np.dtype(dtype)} can hold"
        raise ValueError(f"{must}. Got {array[index]!s}{at and f' at {at}'}.") from None
    except MemoryError:
        raise too_large(name, array) from None


def plain_array(name: str, value: Any) -> Array:
    """`value` as an array of the base class: native byte order, aligned, in the caller's memory where that will do.

    Subclasses are dropped, for `np.matrix` multiplies otherwise than an array does; masked values are refused, for
    what stands beneath a mask is not data.
    """
    array = value if type(value) is np.ndarray else _as_array(name, value)
    if array.size > _MOST:
        raise too_large(name, array)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array if array.flags.aligned else array.copy()


#: Numbers of an array for which no machine has memory, such as one that `np.broadcast_to` only pretends to have.
_MOST = 2**40

#: No array has so many axes; lists nested deeper are a mistake, such as a list that holds itself.
_DEEPEST = 16
_NUMBERS = {float, int, bool, np.float64, np.float32, np.int64}


def _holds_masked(value: Any) -> bool:
    """Whether an array, or one within lists, is a masked one; refuses lists within lists without end."""
    level, kinds = [value], {type(value)}
    for _ in range(_DEEPEST):
        if any(issubclass(kind, np.ma.MaskedArray) for kind in kinds):
            return True
        # Each once: a list may hold itself.
        lists = {id(part): part for part in level if isinstance(part, (list, tuple))}
        kinds = set(map(type, itertools.chain.from_iterable(lists.values())))
        if _NUMBERS.issuperset(kinds):
            return False
        level = list(itertools.chain.from_iterable(lists.values()))
    raise RecursionError(f"it is nested {_DEEPEST} deep or more")


def _masked_place(name: str, value: Any, index: tuple[int, ...] = ()) -> str | None:
    """Where the first value is masked, None where none is."""
    if isinstance(value, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(value)
        return place(name, (*index, *first(mask))) if mask.dtype == np.bool_ and mask.any() else None
    parts = enumerate(value) if isinstance(value, (list, tuple)) else ()
    found = (_masked_place(name, part, (*index, i)) for i, part in parts)
    return next((at for at in found if at is not None), None)


#: What an object may raise when it is asked for its content; what a signal's handler raises goes through.
FAILURES = (TypeError, ValueError, RuntimeError, AttributeError, LookupError, ArithmeticError)


def _as_array(name: str, value: Any) -> Array:
    """`np.asarray`, whatever a value does when it is asked for its numbers."""
    try:
        masked = _masked_place(name, value) if _holds_masked(value) else None
        array = np.asarray(value) if masked is None else np.empty(0)
    except MemoryError:
        raise too_large(name, value) from None
    except FAILURES as error:  # an object of another library has its own reason; unequal lengths need no more words
        unequal = isinstance(error, ValueError) and "inhomogeneous" in str(error)
        why = "" if unequal else f", which gives no array: {shorten(str(error))}".rstrip(".: ")
        must = f"{name} must be an array or nested lists of equal length"
        raise ShapeError(f"{must}. Got {describe(value)}{why}.") from None
    if masked is not None:
        raise ValueError(f"{name} must have no masked values. Got a masked array{masked and f', masked at {masked}'}.")
    return array if type(array) is np.ndarray else array.view(np.ndarray)


def too_large(name: str, value: Any) -> MemoryError:
    """The error of an array for which there is no memory."""
    return MemoryError(f"{name} must be small enough for the memory. Got {describe(value)}.")


def rank(value: Any) -> int:
    """How many axes an array has, or how deep lists nest; 0 for what is neither."""
    depth = 0
    while isinstance(value, (list, tuple)) and depth <= _DEEPEST:
        depth += 1
        if not value:
            return depth
        value = value[0]
    try:  # of an array of any library
        return depth + (int(value.ndim) if hasattr(value, "ndim") else len(value.shape))
    except FAILURES:
        return depth


def new_array(name: str, wanted: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Memory for an array of the library's own, whose size is the user's wish."""
    try:
        return np.empty(wanted, dtype)
    except (MemoryError, ValueError, OverflowError):  # of no size that an array can have, or of more than there is
        raise MemoryError(f"{name} must be small enough for the memory. Got the shape {show(wanted)}.") from None


def place(name: str, index: tuple[int, ...], axes: Sequence[str] = ()) -> str:
    """Where a value stands, in words where the axes have names, else as Python writes it: "x[39, 4, 2]"."""
    if not index:
        return ""
    if len(axes) == len(index):
        return ", ".join(f"{axis} {i}" for axis, i in zip(axes, index, strict=True))
    return f"{name}[{', '.join(map(str, index))}]"


def first(wrong: Array) -> tuple[int, ...]:
    """The index of the first True."""
    return tuple(int(i) for i in np.unravel_index(int(wrong.argmax()), wrong.shape))


def shape(name: str, array: Array, *allowed: Sequence[int | str]) -> None:
    """Refuses an array whose shape fits none of `allowed`; words in them stand for any size."""
    got = array.shape
    if got in allowed:  # the quick way
        return
    for want in allowed:
        if len(got) == len(want) and all(n == m or isinstance(m, str) for n, m in zip(got, want, strict=True)):
            return
    options = " or ".join(listed(want) for want in allowed)
    raise ShapeError(f"{name} must have shape {options}. Got {got}.")


def fitted(name: str, array: Array, want: tuple[int, ...]) -> Array:
    """An array of the shape that is wanted; where that is a vector, one row or one column of it are taken too."""
    if len(want) == 1 and array.shape in ((1, *want), (*want, 1)):
        return array.reshape(want)
    shape(name, array, want)
    return array


def axis(name: str, value: Any, array: Array) -> int:
    """The number of an axis that an array has, counted from the end where it is negative."""
    if not array.ndim:
        raise ShapeError(f"{name} must be left out: there must be an axis. Got one number.")
    if not is_whole(value):
        raise KindError(f"{name} must be a whole number. Got {show(value)}.")
    if not -array.ndim <= value < array.ndim:
        raise ValueError(f"{name} must be from {-array.ndim} to {array.ndim - 1}. Got {show(value)}.")
    return int(value)


def text(name: str, value: Any) -> str:
    """A text, at least one character long."""
    if not isinstance(value, str) or not value:
        raise KindError(f"{name} must be a text of at least one letter. Got {show(value)}.")
    return value


def mapping(name: str, value: Any, what: str) -> Mapping[str, Any]:
    """A mapping with names for keys; `what` says of what to what it is."""
    if not isinstance(value, Mapping):
        raise KindError(f"{name} must be a mapping {what}. Got {describe(value)}.")
    for key in value:
        if not isinstance(key, str):
            raise KindError(f"{name} must have names for keys. Got {show(key)}.")
    return value


def listed(want: Collection[int | str]) -> str:
    """Sizes, or names, as a tuple of them is written, without quotes."""
    return f"({', '.join(map(str, want))}{',' if len(want) == 1 else ''})"


def common_dtype(*arrays: Array) -> np.dtype[Any]:
    """float64, unless every array is float32."""
    return np.dtype(np.float32 if all(array.dtype == np.float32 for array in arrays) else np.float64)


_FLOATS = dict.fromkeys(("float32", "single", "f", "f4", "<f4", "=f4"), np.float32) | dict.fromkeys(
    ("float64", "double", "float", "d", "f8", "<f8", "=f8"), np.float64
)


def float_dtype(value: Any) -> np.dtype[Any]:
    """float32 or float64, by name or by type."""
    if isinstance(value, np.dtype):
        found = value.type if value.isnative else None
    else:
        found = _FLOATS.get(value) if isinstance(value, str) else np.float64 if value is float else value
    if not any(found is dtype for dtype in (np.float32, np.float64)):
        raise ValueError(f"dtype must be 'float32' or 'float64'. Got {show(value)}.")
    return np.dtype(found)


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, of Python or of NumPy."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


#: Steps that an option may claim without data of that size: no file may ask for more memory than it has content.
MOST_STEPS = 1 << 24


def size(name: str, value: Any, most: int = sys.maxsize) -> int:
    """A positive whole number, up to `most`."""
    if not is_whole(value) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1 up. Got {show(value)}.")
    if value > most:
        raise ValueError(f"{name} must be a whole number up to {most}. Got {show(value)}.")
    return int(value)


def seed(name: str, value: Any) -> int | None:
    """A whole number from 0 up, or None for one drawn afresh."""
    if value is not None and (not is_whole(value) or value < 0):
        raise ValueError(f"{name} must be a whole number from 0 up, or None. Got {show(value)}.")
    return None if value is None else int(value)


def flag(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise KindError(f"{name} must be True or False. Got {show(value)}.")
    return bool(value)


def number(name: str, value: Any, low: float = -math.inf, high: float = math.inf, *, open_low: bool = False) -> float:
    """A finite real number from `low` to `high`; `open_low` leaves `low` itself out."""
    found = math.nan
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):  # a whole number that no float can hold
            found = float(value)
    if not math.isfinite(found) or not low <= found <= high or (open_low and found == low):
        least = f" {'over' if open_low else 'from'} {low:g}" if low > -math.inf else ""
        most = f" up to {high:g}" if high < math.inf else ""
        raise ValueError(f"{name} must be a number{least}{most}. Got {show(value)}.")
    return found


def choice(name: str, value: Any, options: Iterable[str]) -> str:
    """One of the names in `options`; a misspelled one is answered with the nearest."""
    options = list(options)
    if isinstance(value, str) and value in options:
        return options[options.index(value)]
    raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}. Got {show(value)}.{hint(value, options)}")


def hint(value: Any, options: Collection[str]) -> str:
    """The words " Did you mean 'rate'?" where one of the options is near; else nothing."""
    near = nearest(value, options)
    return f" Did you mean {near!r}?" if near else ""


def nearest(value: Any, options: Collection[str]) -> str | None:
    """The name that a misspelled one is most likely to mean; itself where it is one of them."""
    if not isinstance(value, str) or value in options:
        return value if isinstance(value, str) else None
    from difflib import get_close_matches

    by_lower = {option.lower(): option for option in options}
    near = get_close_matches(value[:100].lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[near[0]] if near else None
