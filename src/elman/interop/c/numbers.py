"""Numbers and tables of numbers as C99 text.

Weights are written with 9 significant digits, which tell any two floats apart. They lie so near the float that even a
compiler which reads constants as doubles first comes to the same one. Hexadecimal constants would be exact too, but
some compilers of microcontrollers refuse them.
"""

from __future__ import annotations

import math
import textwrap

import numpy as np

from elman.checks import Array

WIDTH = 110  #: of a line in a table


def number(value: float) -> str:
    """A float constant in as few digits as tell it from others: an option, that somebody has chosen and may read."""
    with np.errstate(over="ignore"):
        single = np.float32(value)
    return _constant(float(single), str(single))


def _weight(value: float) -> str:
    return _constant(value, f"{value:.9g}")


def _constant(value: float, digits: str) -> str:
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    return f"{digits}f" if "." in digits or "e" in digits else f"{digits}.0f"


def table(name: str, values: Array) -> str:
    """The definition of a constant array of float32, (n,) or (n, m)."""
    extents = "".join(f"[{extent}]" for extent in values.shape)
    rows = _wrap("", values) if values.ndim == 1 else ",\n".join(_wrap("{", row) + "}" for row in values)
    return f"static const float {name}{extents} = {{\n{rows}\n}};\n"


def _wrap(opening: str, values: Array) -> str:
    text = opening + ", ".join(map(_weight, values.tolist()))
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent="    ",
        subsequent_indent="    " + " " * len(opening),
        break_long_words=False,
        break_on_hyphens=False,
    )
