"""Numbers as C99 text, the functions that exported C calls, and the activations in terms of them.

In all C text here `$name` stands for a name of the model's own: `$sigmoid` becomes `model_sigmoid`. A function is
written into a file only where something there asks for it.

Weights are written with 9 significant digits, which tell any two floats apart. They lie so near the float that even a
compiler which reads constants as doubles first comes to the same one. Hexadecimal constants would be exact too, but
some compilers of microcontrollers refuse them.
"""

from __future__ import annotations

import math
import textwrap
from typing import Any, NamedTuple

import numpy as np

from elman.cells.activations import Activation
from elman.checks import Array

WIDTH = 110  #: of a line in a table


def number(value: float) -> str:
    """A float constant in as few digits as tell it from others: an option, that somebody has chosen and may read."""
    with np.errstate(over="ignore"):
        single = np.float32(value)
    return _constant(float(single), str(single))


def _constant(value: float, digits: str) -> str:
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    return f"{digits}f" if "." in digits or "e" in digits else f"{digits}.0f"


def table(name: str, values: Array) -> str:
    """The definition of a constant array of float32, (n,) or (n, m)."""
    extents = "".join(f"[{extent}]" for extent in values.shape)
    opening, closing = ("", "") if values.ndim == 1 else ("{", "}")
    rows = []
    for row in np.atleast_2d(values).tolist():
        text = opening + ", ".join(_constant(value, f"{value:.9g}") for value in row)
        margins: dict[str, Any] = {"initial_indent": "    ", "subsequent_indent": "    " + " " * len(opening)}
        rows.append(textwrap.fill(text, WIDTH, **margins, break_long_words=False, break_on_hyphens=False) + closing)
    return f"static const float {name}{extents} = {{\n" + ",\n".join(rows) + "\n};\n"


class _Form(NamedTuple):
    text: str
    calls: int = 0  # of exp, tanh and the like


#: Activations that are functions of x, alpha and beta. Comparisons are written so that NaN passes through.
_BODIES = {
    "sigmoid": _Form(
        "const float e = expf(-fabsf(x)); /* at most 1: nothing can overflow */\n"
        "    return (x >= 0.0f ? 1.0f : e) / (1.0f + e);",
        1,
    ),
    "relu": _Form("return x < 0.0f ? 0.0f : x;"),
    "affine": _Form("return alpha * x + beta;"),
    "leaky_relu": _Form("return x < 0.0f ? alpha * x : x;"),
    "thresholded_relu": _Form("return x <= alpha ? 0.0f : x;"),
    "elu": _Form("return x < 0.0f ? alpha * expm1f(x) : x;", 1),
    "softsign": _Form("return x / (1.0f + fabsf(x));"),
    "softplus": _Form("return (x > 0.0f ? x : 0.0f) + log1pf(expf(-fabsf(x)));", 2),
    "scaled_tanh": _Form("return alpha * tanhf(beta * x);", 1),
    "hard_sigmoid": _Form("const float y = alpha * x + beta;\n    return y < 0.0f ? 0.0f : y > 1.0f ? 1.0f : y;"),
    "hard_swish": _Form("const float y = x / 6.0f + 0.5f;\n    return x * (y < 0.0f ? 0.0f : y > 1.0f ? 1.0f : y);"),
    "selu": _Form("return 1.05070099f * (x < 0.0f ? 1.67326324f * expm1f(x) : x);", 1),
}

#: Those that are expressions of {x}.
_EXPRESSIONS = {
    "identity": _Form("{x}"),
    "tanh": _Form("tanhf({x})", 1),
    "erf": _Form("erff({x})", 1),
    "gelu": _Form("0.5f * {x} * erfcf({x} * -0.707106781f)", 1),
    "gelu_tanh": _Form("0.5f * {x} * (1.0f + tanhf(0.797884561f * {x} * (1.0f + 0.044715f * {x} * {x})))", 1),
    "sqrt": _Form("sqrtf({x})", 1),
    "swish": _Form("{x} * $sigmoid({x})", 1),
}


def _function(name: str, text: str) -> str:
    names = ["x", *(constant for constant in ("alpha", "beta") if constant in text)]
    return f"static float ${name}({', '.join(f'float {each}' for each in names)})\n{{\n    {text}\n}}\n"


#: Name -> definition.
FUNCTIONS: dict[str, str] = {
    **{name: _function(name, form.text) for name, form in _BODIES.items()},
    "clip": """\
static float $clip(float x, float limit)
{
    return x < -limit ? -limit : x > limit ? limit : x;
}
""",
    "normalize": """\
/* Gives n numbers the mean 0 and the variance 1. */
static void $normalize(float *a, int n, float epsilon)
{
    float mean = 0.0f;
    float variance = 0.0f;

    for (int j = 0; j < n; j++)
        mean += a[j];
    mean /= (float)n;
    for (int j = 0; j < n; j++) {
        a[j] -= mean;
        variance += a[j] * a[j];
    }
    variance /= (float)n;
    const float scale = 1.0f / sqrtf(variance + epsilon);
    for (int j = 0; j < n; j++)
        a[j] *= scale;
}
""",
    "largest": """\
static float $largest(const float *x, int n)
{
    float y = x[0];

    for (int j = 1; j < n; j++)
        y = x[j] > y ? x[j] : y;
    return y;
}
""",
}


def activated(activation: Activation | str, x: str) -> str:
    """The C expression of act(x)."""
    name, constants = (activation, {}) if isinstance(activation, str) else (activation.name, activation.parameters)
    if name in _BODIES:
        return f"${name}({', '.join([x, *(number(constants[key]) for key in sorted(constants))])})"
    return _EXPRESSIONS[name].text.format(x=x)


def calls_of(activation: Activation | str) -> int:
    """How many functions of <math.h> a value of this activation takes."""
    return (_BODIES | _EXPRESSIONS)[activation if isinstance(activation, str) else activation.name].calls


def clipped(x: str, limit: float | None) -> str:
    """The C expression of x, bounded to +-limit where there is one."""
    return x if limit is None else f"$clip({x}, {number(min(limit, float(np.finfo(np.float32).max)))})"
