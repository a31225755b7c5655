"""The functions that exported C calls, and the activations in terms of them.

In all C text here `$name` stands for a name of the model's own: `$sigmoid` becomes `model_sigmoid`. A function is
written into a file only where something there asks for it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from elman.cells.activations import Activation
from elman.interop.c.numbers import number

#: Name -> definition. Comparisons are written so that NaN passes through.
FUNCTIONS: dict[str, str] = {
    "sigmoid": """\
static float $sigmoid(float x)
{
    const float e = expf(-fabsf(x)); /* at most 1: nothing can overflow */
    return (x >= 0.0f ? 1.0f : e) / (1.0f + e);
}
""",
    "relu": """\
static float $relu(float x)
{
    return x < 0.0f ? 0.0f : x;
}
""",
    "affine": """\
static float $affine(float x, float alpha, float beta)
{
    return alpha * x + beta;
}
""",
    "leaky_relu": """\
static float $leaky_relu(float x, float alpha)
{
    return x < 0.0f ? alpha * x : x;
}
""",
    "thresholded_relu": """\
static float $thresholded_relu(float x, float alpha)
{
    return x <= alpha ? 0.0f : x;
}
""",
    "elu": """\
static float $elu(float x, float alpha)
{
    return x < 0.0f ? alpha * expm1f(x) : x;
}
""",
    "softsign": """\
static float $softsign(float x)
{
    return x / (1.0f + fabsf(x));
}
""",
    "softplus": """\
static float $softplus(float x)
{
    return (x > 0.0f ? x : 0.0f) + log1pf(expf(-fabsf(x)));
}
""",
    "scaled_tanh": """\
static float $scaled_tanh(float x, float alpha, float beta)
{
    return alpha * tanhf(beta * x);
}
""",
    "hard_sigmoid": """\
static float $hard_sigmoid(float x, float alpha, float beta)
{
    const float y = alpha * x + beta;
    return y < 0.0f ? 0.0f : y > 1.0f ? 1.0f : y;
}
""",
    "hard_swish": """\
static float $hard_swish(float x)
{
    const float y = x / 6.0f + 0.5f;
    return x * (y < 0.0f ? 0.0f : y > 1.0f ? 1.0f : y);
}
""",
    "selu": """\
static float $selu(float x)
{
    return 1.05070099f * (x < 0.0f ? 1.67326324f * expm1f(x) : x);
}
""",
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


class _Form(NamedTuple):
    text: str
    calls: int  # of exp, tanh and the like


_FORMS = {
    "identity": _Form("{x}", 0),
    "relu": _Form("$relu({x})", 0),
    "tanh": _Form("tanhf({x})", 1),
    "sigmoid": _Form("$sigmoid({x})", 1),
    "affine": _Form("$affine({x}, {alpha}, {beta})", 0),
    "leaky_relu": _Form("$leaky_relu({x}, {alpha})", 0),
    "thresholded_relu": _Form("$thresholded_relu({x}, {alpha})", 0),
    "scaled_tanh": _Form("$scaled_tanh({x}, {alpha}, {beta})", 1),
    "hard_sigmoid": _Form("$hard_sigmoid({x}, {alpha}, {beta})", 0),
    "elu": _Form("$elu({x}, {alpha})", 1),
    "softsign": _Form("$softsign({x})", 0),
    "softplus": _Form("$softplus({x})", 2),
    "erf": _Form("erff({x})", 1),
    "gelu": _Form("0.5f * {x} * erfcf({x} * -0.707106781f)", 1),
    "gelu_tanh": _Form("0.5f * {x} * (1.0f + tanhf(0.797884561f * {x} * (1.0f + 0.044715f * {x} * {x})))", 1),
    "hard_swish": _Form("$hard_swish({x})", 0),
    "selu": _Form("$selu({x})", 1),
    "sqrt": _Form("sqrtf({x})", 1),
    "swish": _Form("{x} * $sigmoid({x})", 1),
}


def activated(activation: Activation | str, x: str) -> str:
    """The C expression of act(x)."""
    if isinstance(activation, str):
        return _FORMS[activation].text.format(x=x)
    constants = {name: number(value) for name, value in activation.parameters.items()}
    return _FORMS[activation.name].text.format(x=x, **constants)


def calls_of(activation: Activation | str) -> int:
    """How many functions of <math.h> a value of this activation takes."""
    return _FORMS[activation if isinstance(activation, str) else activation.name].calls


def clipped(x: str, limit: float | None) -> str:
    """The C expression of x, bounded to +-limit where there is one."""
    return x if limit is None else f"$clip({x}, {number(min(limit, float(np.finfo(np.float32).max)))})"
