"""Activations by their names in ONNX, inside recurrent operators and as operators of their own.

Source: the operators RNN, GRU and LSTM (attribute ``activations``) and those named in the table, opset 17.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from elman.cells.activations import ACTIVATIONS, OVER_FEATURES, Activation
from elman.cells.functions import CURVES
from elman.interop.onnx.writing.nodes import Graph, attribute

#: The names in ONNX, of the attribute ``activations`` too, which are those of elman without "_".
_NAMES = {name: name.title().replace("_", "") for name in (*ACTIVATIONS, *CURVES, *OVER_FEATURES)}

#: Those inside recurrent operators. The identity is Affine with alpha 1 and beta 0.
IN_RECURRENT = {name: _NAMES[name] for name in ACTIVATIONS} | {"identity": "Affine"}

#: Those without an operator in that version, or with one of no attributes, as operators in turn with the numbers that
#: they take; "x" is what comes in, "alpha" and "beta" are parameters.
_BY_STEPS: dict[str, tuple[tuple[str, float | str | None], ...]] = {
    "affine": (("Mul", "alpha"), ("Add", "beta")),
    "gelu": (("Mul", math.sqrt(0.5)), ("Erf", None), ("Add", 1.0), ("Mul", "x"), ("Mul", 0.5)),
    "gelu_tanh": (
        *(("Mul", "x"), ("Mul", 0.044715), ("Add", 1.0), ("Mul", "x"), ("Mul", math.sqrt(2 / math.pi))),
        *(("Tanh", None), ("Add", 1.0), ("Mul", "x"), ("Mul", 0.5)),
    ),
    "identity": (),
    "scaled_tanh": (("Mul", "beta"), ("Tanh", None), ("Mul", "alpha")),
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
    if isinstance(activation, str):
        name, parameters = activation, dict[str, float](axis=-1) if activation in OVER_FEATURES else {}
    else:
        name, parameters = activation.name, _parameters(activation, graph.dtype)
    if name not in _BY_STEPS:
        return graph.add(_NAMES[name], x, **parameters)
    y = x
    for op, by in _BY_STEPS[name]:
        if isinstance(by, float):
            other = [graph.number(by)]
        elif by is None or by == "x":
            other = [x] * (by == "x")
        else:
            other = [graph.weight(by, np.array(parameters[by]))]
        y = graph.add(op, y, *other)
    return y


def _parameters(activation: Activation, dtype: np.dtype[Any]) -> dict[str, float]:
    given = {"alpha": 1.0, "beta": 0.0} if activation.name == "identity" else activation.parameters
    return {name: attribute(f"{name} of {activation.name}", value, dtype) for name, value in given.items()}
