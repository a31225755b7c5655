"""Values in errors: short, on one line, and never an error of their own, whatever the value does when it is asked."""

from __future__ import annotations

from typing import Any

import numpy as np

_WIDTH = 100  #: characters of a value in an error


def show(value: Any) -> str:
    """A value as Python writes it, for an error; in a few words where that is long, or fails, or says no more."""
    if isinstance(value, (str, bytes)):
        cut = value[:_WIDTH]
        return repr(value) if len(value) == len(cut) else f"{cut!r} and {len(value) - _WIDTH:,} more"
    if isinstance(value, int) and abs(value).bit_length() > 4 * _WIDTH:
        return f"a whole number of {value.bit_length():,} bits"
    try:
        text = repr(value) if _is_small(value) else ""
    except Exception:  # a repr of the user's own may do anything
        text = ""
    brief = 0 < len(text) <= 2 * _WIDTH and "\n" not in text and " at 0x" not in text
    return shorten(text) if brief else describe(value)


def _is_small(value: Any) -> bool:
    """Whether to write a value takes no time: what holds much, or holds others that do, is described."""
    if isinstance(value, np.ndarray):
        return value.size <= 10
    if isinstance(value, dict):
        return _is_small([*value, *value.values()] if len(value) <= 10 else range(11))
    if isinstance(value, (list, tuple, set, frozenset)):
        return len(value) <= 20 and all(len(part) <= 20 for part in value if hasattr(part, "__len__"))
    return True


def shorten(text: str) -> str:
    """The first line of a text, in ordinary length and characters."""
    text = text.strip().partition("\n")[0].encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= 2 * _WIDTH else text[: 2 * _WIDTH] + " ..."


def describe(value: Any) -> str:
    """A few words for a value in an error: its type, with its shape or length where it has one."""
    if type(value) is np.ndarray:
        return f"an array of shape {value.shape}"
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {shorten(value.__name__)}"
    name = shorten(type(value).__name__)
    kind = f"{'an' if name[:1] in tuple('aeiou') else 'a'} {name}"
    try:  # what is asked here is the user's own, and may do anything
        outer = getattr(value, "shape", None)
        if isinstance(outer, tuple) and outer and all(isinstance(n, int) for n in outer):
            return f"{kind} of shape {shorten(str(tuple(outer)))}"
        if hasattr(value, "__len__") and not isinstance(value, (str, bytes)):
            return f"{kind} of length {len(value)}"
    except Exception:
        return kind
    return kind
