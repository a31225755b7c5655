"""Layers as C functions: dense, embedding, normalization, activations, convolution, and those that join.

Every function writes y from x, or from x0, x1, ..., arrays that do not overlap. `$name` is explained in
`elman.interop.c.functions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from elman.checks import Array
from elman.interop.c.functions import activated, calls_of
from elman.interop.c.numbers import number
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


def product(target: str, x: str, inputs: str, table: str, outputs: str) -> str:
    """target += x W, along the rows of W, so that the inner loop runs over numbers that lie side by side."""
    return f"""\
    for (int k = 0; k < {inputs}; k++)
        for (int j = 0; j < {outputs}; j++)
            {target}[j] += {x}[k] * {table}[k][j];
"""


def fill(target: str, value: str, count: str) -> str:
    """target[j] = value, for every j."""
    return f"""\
    for (int j = 0; j < {count}; j++)
        {target}[j] = {value};
"""


def dense(layer: Dense, inputs: int) -> Part:
    W, b = layer.parameters["W"], layer.parameters["b"]
    body = f"    enum {{ inputs = {inputs}, outputs = {len(b)} }};\n\n" + fill("y", "$b[j]", "outputs")
    body += product("y", "x", "inputs", "$W", "outputs")
    if layer.activation.name != "identity":
        body += fill("y", activated(layer.activation, "y[j]"), "outputs")
    calls = len(b) * calls_of(layer.activation)
    return Part(body, len(b), {"W": W, "b": b}, multiply_adds=W.size, calls=calls)


def embedding(layer: Embedding, inputs: int) -> Part:
    W = layer.parameters["W"]
    body = f"    enum {{ outputs = {W.shape[1]} }};\n\n" + fill("y", "$W[token][j]", "outputs")
    return Part(body, W.shape[1], {"W": W})


def layer_norm(layer: LayerNorm, inputs: int) -> Part:
    tables = dict(layer.parameters)
    body = f"    enum {{ inputs = {inputs} }};\n\n" + fill("y", "x[j]", "inputs")
    body += f"    $normalize(y, inputs, {number(layer.epsilon)});\n"
    body += fill("y", "$gain[j] * y[j] + $bias[j]", "inputs")
    return Part(body, inputs, tables, multiply_adds=inputs)


_OVER_FEATURES = {
    "softmax": """\
    const float top = $largest(x, inputs); /* taken off first: nothing can overflow */
    float sum = 0.0f;

    for (int j = 0; j < inputs; j++) {
        y[j] = expf(x[j] - top);
        sum += y[j];
    }
    for (int j = 0; j < inputs; j++)
        y[j] /= sum;
""",
    "log_softmax": """\
    const float top = $largest(x, inputs); /* taken off first: nothing can overflow */
    float sum = 0.0f;

    for (int j = 0; j < inputs; j++) {
        y[j] = x[j] - top;
        sum += expf(y[j]);
    }
    sum = logf(sum);
    for (int j = 0; j < inputs; j++)
        y[j] -= sum;
""",
}


def activate(layer: Activate, inputs: int) -> Part:
    body = f"    enum {{ inputs = {inputs} }};\n"
    if isinstance(layer.activation, str) and layer.activation in _OVER_FEATURES:
        return Part(body + _OVER_FEATURES[layer.activation], inputs, calls=inputs + (layer.activation == "log_softmax"))
    body += "\n" + fill("y", activated(layer.activation, "x[j]"), "inputs")
    return Part(body, inputs, calls=inputs * calls_of(layer.activation))


_MERGED = {
    "sum": "x[j] + x[outputs + j]",
    "mul": "x[j] * x[outputs + j]",
    "ave": "(x[j] + x[outputs + j]) * 0.5f",
}


def merge_directions(layer: MergeDirections, inputs: int) -> Part:
    body = f"    enum {{ outputs = {inputs // 2} }};\n\n" + fill("y", _MERGED[layer.mode], "outputs")
    return Part(body, inputs // 2)


def batch_norm(layer: BatchNorm, inputs: int) -> Part:
    weights = {name: np.asarray(array, np.float64) for name, array in layer.weights.items()}
    factor = weights["gain"] / np.sqrt(weights["variance"] + layer.epsilon)
    tables = {"mean": weights["mean"], "factor": factor, "bias": weights["bias"]}
    body = f"    enum {{ inputs = {inputs} }};\n\n"
    body += fill("y", "(x[j] - $mean[j]) * $factor[j] + $bias[j]", "inputs")
    return Part(body, inputs, tables, multiply_adds=inputs)


def mean_over_time(layer: MeanOverTime, inputs: int) -> Part:
    body = f"    enum {{ inputs = {inputs} }};\n\n    count[0] += 1.0f;\n" + fill("sum", "sum[j] + x[j]", "inputs")
    return Part(body + fill("y", "sum[j] / count[0]", "inputs"), inputs, states={"sum": inputs, "count": 1})


def max_over_time(layer: MaxOverTime, inputs: int) -> Part:
    body = f"    enum {{ inputs = {inputs} }};\n\n"
    body += fill("largest", "x[j] > largest[j] || isnan(x[j]) ? x[j] : largest[j]", "inputs")
    return Part(body, inputs, states={"largest": inputs}, starts={"largest": "-INFINITY"}, gives="largest")


def scale(layer: Scale, inputs: int) -> Part:
    tables = {"shift": np.atleast_1d(layer.shift), "factor": np.atleast_1d(layer.factor)}
    places = ["j" if len(table) > 1 else "0" for table in tables.values()]
    body = f"    enum {{ inputs = {inputs} }};\n\n"
    body += fill("y", f"(x[j] - $shift[{places[0]}]) * $factor[{places[1]}]", "inputs")
    return Part(body, inputs, tables, multiply_adds=inputs)


def convolution(layer: Conv1d, inputs: int) -> Part:
    """The last inputs stand in an array, the oldest first, which moves on by one at each step."""
    W, b = layer.parameters["W"], layer.parameters["b"]
    width, dilation, outputs = layer.width, layer.dilation, len(b)
    kept = (width - 1) * dilation if layer.stateful else 0
    sizes = f"inputs = {inputs}, outputs = {outputs}" + (f", kept = {kept} * inputs" if kept else "")
    body = f"    enum {{ {sizes} }};\n\n" + fill("y", "$b[j]", "outputs")
    if kept:
        body += f"""\
    for (int t = 0; t < {width - 1}; t++)
        for (int k = 0; k < inputs; k++)
            for (int j = 0; j < outputs; j++)
                y[j] += past[t * {dilation} * inputs + k] * $W[t * inputs + k][j];
"""
    last = f"$W[{width - 1} * inputs + k][j]" if kept else "$W[k][j]"
    body += product("y", "x", "inputs", "$W", "outputs").replace("$W[k][j]", last)
    if layer.activation.name != "identity":
        body += fill("y", activated(layer.activation, "y[j]"), "outputs")
    if kept:
        body += fill("past", "past[inputs + j]", "kept - inputs") if kept > 1 else ""
        body += fill("past", "x[j]", "inputs").replace("past[j]", "past[kept - inputs + j]")
    return Part(
        body,
        outputs,
        {"W": W.reshape(-1, outputs), "b": b},
        {"past": kept * inputs} if kept else {},
        multiply_adds=W.size,
        calls=outputs * calls_of(layer.activation),
    )


def _joined(operator: str) -> Callable[..., Part]:
    def write(layer: Layer, *inputs: int) -> Part:
        value = f" {operator} ".join(f"x{i}[j]" for i in range(len(inputs)))
        body = f"    enum {{ outputs = {inputs[0]} }};\n\n" + fill("y", value, "outputs")
        return Part(body, inputs[0])

    return write


def concatenate(layer: Concatenate, *inputs: int) -> Part:
    body = ""
    for i, width in enumerate(inputs):
        at = sum(inputs[:i])
        body += fill("y", f"x{i}[j]", str(width)).replace("y[j]", f"y[{at} + j]" if at else "y[j]")
    return Part(body, sum(inputs))


#: How each layer that is not recurrent is written, given how many features come in, of each value that it reads.
PARTS: dict[type[Layer], Callable[..., Part]] = {
    Activate: activate,
    Add: _joined("+"),
    BatchNorm: batch_norm,
    Concatenate: concatenate,
    Conv1d: convolution,
    Dense: dense,
    Embedding: embedding,
    LayerNorm: layer_norm,
    MaxOverTime: max_over_time,
    MeanOverTime: mean_over_time,
    MergeDirections: merge_directions,
    Multiply: _joined("*"),
    Scale: scale,
}
