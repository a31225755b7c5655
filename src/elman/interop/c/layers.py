"""Layers as C functions: dense, embedding, normalization, activations, convolution, and those that join.

Every function writes y from x, or from x0, x1, ..., arrays that do not overlap. `$name` is explained in
`elman.interop.c.functions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from elman.cells.activations import Activation
from elman.checks import Array
from elman.interop.c.functions import activated, calls_of, number
from elman.layers import (
    Activate,
    Add,
    BatchNorm,
    Concatenate,
    Conv1d,
    Dense,
    Embedding,
    Layer,
    LayerNorm,
    MaxOverTime,
    MeanOverTime,
    MergeDirections,
    Multiply,
    Scale,
)


@dataclass(frozen=True)
class Part:
    """A layer in C: what stands in its function, and what that takes."""

    body: str  #: between the braces of the function
    outputs: int
    tables: Mapping[str, Array] = field(default_factory=dict)  #: constants by the name after `$`
    states: Mapping[str, int] = field(default_factory=dict)  #: name -> width
    gives: str = "y"  #: the state that is the output, or y
    starts: Mapping[str, str] = field(default_factory=dict)  #: state -> the table or number of its start; else 0
    scratch: int = 0  #: floats on the stack
    multiply_adds: int = 0  #: in products with weights
    calls: int = 0  #: of exp, tanh and the like

    @property
    def weights_bytes(self) -> int:
        """Of constants."""
        return 4 * sum(table.size for table in self.tables.values())

    @property
    def state_bytes(self) -> int:
        """Of what is remembered from step to step."""
        return 4 * sum(self.states.values())


def product(target: str, x: str, inputs: str, row: str, outputs: str) -> str:
    """target += x W, along the rows of W, so that the inner loop runs over numbers that lie side by side."""
    return f"""\
    for (int k = 0; k < {inputs}; k++)
        for (int j = 0; j < {outputs}; j++)
            {target}[j] += {x}[k] * {row}[j];
"""


def fill(target: str, value: str, count: str) -> str:
    """target = value, for every j of both."""
    return f"""\
    for (int j = 0; j < {count}; j++)
        {target} = {value};
"""


def sized(body: str, **sizes: Any) -> str:
    """A body after the constants of its loops, which stand with what it declares."""
    constants = ", ".join(f"{name} = {value}" for name, value in sizes.items())
    between = "" if body.startswith(("    float", "    const")) else "\n"
    return f"    enum {{ {constants} }};\n{between}{body}"


def _each(value: str, inputs: int, tables: Mapping[str, Array] | None = None, **more: Any) -> Part:
    """A layer that computes each of its features from the one in its place."""
    return Part(sized(fill("y[j]", value, "inputs"), inputs=inputs), inputs, tables or {}, **more)


def _gathered(value: str, outputs: int, **more: Any) -> Part:
    """A layer whose features are picked from, or made of several of, those that come in."""
    return Part(sized(fill("y[j]", value, "outputs"), outputs=outputs), outputs, **more)


def _activated(layer: Dense | Conv1d) -> str:
    """The activation of what stands in y."""
    return "" if layer.activation.name == "identity" else fill("y[j]", activated(layer.activation, "y[j]"), "outputs")


def _dense(layer: Dense, inputs: int) -> Part:
    W, b = layer.parameters["W"], layer.parameters["b"]
    body = fill("y[j]", "$b[j]", "outputs") + product("y", "x", "inputs", "$W[k]", "outputs") + _activated(layer)
    calls = len(b) * calls_of(layer.activation)
    return Part(sized(body, inputs=inputs, outputs=len(b)), len(b), {"W": W, "b": b}, multiply_adds=W.size, calls=calls)


def _embedding(layer: Embedding, inputs: int) -> Part:
    W = layer.parameters["W"]
    return _gathered("$W[token][j]", W.shape[1], tables={"W": W})


def _layer_norm(layer: LayerNorm, inputs: int) -> Part:
    body = fill("y[j]", "x[j]", "inputs") + f"    $normalize(y, inputs, {number(layer.epsilon)});\n"
    body += fill("y[j]", "$gain[j] * y[j] + $bias[j]", "inputs")
    return Part(sized(body, inputs=inputs), inputs, dict(layer.parameters), multiply_adds=inputs)


#: What is written, how it is summed, and how the sum is taken out of it.
_OVER_FEATURES = {
    "softmax": ("expf(x[j] - top)", "y[j]", "", "/="),
    "log_softmax": ("x[j] - top", "expf(y[j])", "    sum = logf(sum);\n", "-="),
}


def _activate(layer: Activate, inputs: int) -> Part:
    if isinstance(layer.activation, Activation) or layer.activation not in _OVER_FEATURES:
        return _each(activated(layer.activation, "x[j]"), inputs, calls=inputs * calls_of(layer.activation))
    value, summed, then, take = _OVER_FEATURES[layer.activation]
    body = f"""\
    const float top = $largest(x, inputs); /* taken off first: nothing can overflow */
    float sum = 0.0f;

    for (int j = 0; j < inputs; j++) {{
        y[j] = {value};
        sum += {summed};
    }}
{then}    for (int j = 0; j < inputs; j++)
        y[j] {take} sum;
"""
    return Part(sized(body, inputs=inputs), inputs, calls=inputs + bool(then))


_MERGED = {
    "sum": "x[j] + x[outputs + j]",
    "mul": "x[j] * x[outputs + j]",
    "ave": "(x[j] + x[outputs + j]) * 0.5f",
}


def _batch_norm(layer: BatchNorm, inputs: int) -> Part:
    weights = {name: np.asarray(array, np.float64) for name, array in layer.weights.items()}
    factor = weights["gain"] / np.sqrt(weights["variance"] + layer.epsilon)
    tables = {"mean": weights["mean"], "factor": factor, "bias": weights["bias"]}
    return _each("(x[j] - $mean[j]) * $factor[j] + $bias[j]", inputs, tables, multiply_adds=inputs)


def _mean_over_time(layer: MeanOverTime, inputs: int) -> Part:
    body = (
        "    count[0] += 1.0f;\n"
        + fill("sum[j]", "sum[j] + x[j]", "inputs")
        + fill("y[j]", "sum[j] / count[0]", "inputs")
    )
    return Part(sized(body, inputs=inputs), inputs, states={"sum": inputs, "count": 1})


def _max_over_time(layer: MaxOverTime, inputs: int) -> Part:
    body = sized(fill("largest[j]", "x[j] > largest[j] || isnan(x[j]) ? x[j] : largest[j]", "inputs"), inputs=inputs)
    return Part(body, inputs, states={"largest": inputs}, starts={"largest": "-INFINITY"}, gives="largest")


def _scale(layer: Scale, inputs: int) -> Part:
    tables = {"shift": np.atleast_1d(layer.shift), "factor": np.atleast_1d(layer.factor)}
    shift, factor = (f"${name}[{'j' if len(table) > 1 else '0'}]" for name, table in tables.items())
    return _each(f"(x[j] - {shift}) * {factor}", inputs, tables, multiply_adds=inputs)


def _convolution(layer: Conv1d, inputs: int) -> Part:
    """The last inputs stand in an array, the oldest first, which moves on by one at each step."""
    W, b = layer.parameters["W"], layer.parameters["b"]
    width, dilation, outputs = layer.width, layer.dilation, len(b)
    kept = (width - 1) * dilation if layer.stateful else 0
    sizes: dict[str, Any] = {"inputs": inputs, "outputs": outputs}
    body = fill("y[j]", "$b[j]", "outputs")
    last = "$W[k]"
    if kept:
        sizes["kept"], last = f"{kept} * inputs", f"$W[{width - 1} * inputs + k]"
        body += f"""\
    for (int t = 0; t < {width - 1}; t++)
        for (int k = 0; k < inputs; k++)
            for (int j = 0; j < outputs; j++)
                y[j] += past[t * {dilation} * inputs + k] * $W[t * inputs + k][j];
"""
    body += product("y", "x", "inputs", last, "outputs") + _activated(layer)
    if kept:
        body += fill("past[j]", "past[inputs + j]", "kept - inputs") if kept > 1 else ""
        body += fill("past[kept - inputs + j]", "x[j]", "inputs")
    states = {"past": kept * inputs} if kept else {}
    calls = outputs * calls_of(layer.activation)
    tables = {"W": W.reshape(-1, outputs), "b": b}
    return Part(sized(body, **sizes), outputs, tables, states, multiply_adds=W.size, calls=calls)


def _joined(operator: str) -> Callable[..., Part]:
    return lambda layer, *inputs: _gathered(f" {operator} ".join(f"x{i}[j]" for i in range(len(inputs))), inputs[0])


def _concatenate(layer: Concatenate, *inputs: int) -> Part:
    body, at = "", 0
    for i, width in enumerate(inputs):
        body += fill(f"y[{at} + j]" if at else "y[j]", f"x{i}[j]", str(width))
        at += width
    return Part(body, at)


#: How each layer that is not recurrent is written, given how many features come in, of each value that it reads.
PARTS: dict[type[Layer], Callable[..., Part]] = {
    Activate: _activate,
    Add: _joined("+"),
    BatchNorm: _batch_norm,
    Concatenate: _concatenate,
    Conv1d: _convolution,
    Dense: _dense,
    Embedding: _embedding,
    LayerNorm: _layer_norm,
    MaxOverTime: _max_over_time,
    MeanOverTime: _mean_over_time,
    MergeDirections: lambda layer, inputs: _gathered(_MERGED[layer.mode], inputs // 2),
    Multiply: _joined("*"),
    Scale: _scale,
}
