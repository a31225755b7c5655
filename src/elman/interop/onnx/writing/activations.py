"""Activations by their names in ONNX, inside recurrent operators and as operators of their own.

Source: the operators RNN, GRU and LSTM (attribute ``activations``) and those named in the table, opset 17.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from elman.cells.activations import Activation
from elman.interop.onnx.writing.nodes import Graph, attribute

#: The names of elman's table in the attribute ``activations``. The identity is Affine with alpha 1 and beta 0.
IN_RECURRENT = {
    "identity": "Affine",
    "relu": "Relu",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "affine": "Affine",
    "leaky_relu": "LeakyRelu",
    "thresholded_relu": "ThresholdedRelu",
    "scaled_tanh": "ScaledTanh",
    "hard_sigmoid": "HardSigmoid",
    "elu": "Elu",
    "softsign": "Softsign",
    "softplus": "Softplus",
}

_ALONE = {"log_softmax": "LogSoftmax", "softmax": "Softmax", **IN_RECURRENT}

#: Those without an operator in that version, or with one of no attributes, as operators in turn with the numbers that
#: they take; "x" is what comes in.
_BY_STEPS: dict[str, tuple[tuple[str, float | str | None], ...]] = {
    "erf": (("Erf", None),),
    "gelu": (("Mul", math.sqrt(0.5)), ("Erf", None), ("Add", 1.0), ("Mul", "x"), ("Mul", 0.5)),
    "gelu_tanh": (
        *(("Mul", "x"), ("Mul", 0.044715), ("Add", 1.0), ("Mul", "x"), ("Mul", math.sqrt(2 / math.pi))),
        *(("Tanh", None), ("Add", 1.0), ("Mul", "x"), ("Mul", 0.5)),
    ),
    "hard_swish": (("HardSwish", None),),
    "selu": (("Selu", None),),
    "sqrt": (("Sqrt", None),),
    "swish": (("Sigmoid", None), ("Mul", "x")),
}


def recurrent_attributes(activations: list[Activation], directions: int, dtype: np.dtype[Any]) -> dict[str, Any]:
    """The attributes of a recurrent operator: one function after another, the same for each direction.

    alpha and beta are always written. The text of ONNX gives each function a default, but ONNX Runtime (1.32) takes
    0 for those of Affine, ThresholdedRelu and ScaledTanh.
    """
    found: dict[str, list[Any]] = {"activations": [], "activation_alpha": [], "activation_beta": []}
    for activation in activations * directions:
        found["activations"].append(IN_RECURRENT[activation.name])
        for name, value in _parameters(activation, dtype).items():
            found[f"activation_{name}"].append(value)
    return {name: values for name, values in found.items() if values}


def activate(graph: Graph, x: str, activation: Activation | str) -> str:
    """The value of an activation as operators; softmax and log-softmax, over the features, come by their names."""
    if isinstance(activation, str) and activation in _BY_STEPS:
        y = x
        for op, by in _BY_STEPS[activation]:
            others = [] if by is None else [graph.number(by) if isinstance(by, float) else x]
            y = graph.add(op, y, *others)
        return y
    if isinstance(activation, str):
        return graph.add(_ALONE[activation], x, axis=-1)
    parameters = _parameters(activation, graph.dtype)
    if activation.name == "identity":
        return x
    if activation.name == "affine":
        return graph.add(
            "Add", graph.add("Mul", x, _weight(graph, "alpha", activation)), _weight(graph, "beta", activation)
        )
    if activation.name == "scaled_tanh":
        inner = graph.add("Tanh", graph.add("Mul", x, _weight(graph, "beta", activation)))
        return graph.add("Mul", inner, _weight(graph, "alpha", activation))
    return graph.add(_ALONE[activation.name], x, **parameters)


def _weight(graph: Graph, name: str, activation: Activation) -> str:
    return graph.weight(name, np.array(activation.parameters[name]))


def _parameters(activation: Activation, dtype: np.dtype[Any]) -> dict[str, float]:
    given = {"alpha": 1.0, "beta": 0.0} if activation.name == "identity" else activation.parameters
    return {name: attribute(f"{name} of {activation.name}", value, dtype) for name, value in given.items()}
