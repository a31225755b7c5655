"""Modules of PyTorch to layers of elman; a table of what each class of module becomes. This file needs PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from elman.cells import Activation
from elman.checks import Array, FormatError, describe
from elman.interop.files import named, refused
from elman.interop.pytorch import modules as own
from elman.interop.pytorch.files import arrays_of
from elman.interop.pytorch.weights import Module, recurrent_module
from elman.layers import (
    Activate,
    Dropout,
    LastStep,
    LastSteps,
    Layer,
    Masking,
    MaxOverTime,
    MeanOverTime,
    MergeDirections,
    Reverse,
)

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def read(source: Any) -> list[Layer]:
    """The layers of a module, or of a list of modules and layers."""
    parts = [source] if isinstance(source, nn.Module) else source
    for i, part in enumerate(parts):
        if not isinstance(part, (nn.Module, Layer)):
            raise TypeError(f"source[{i}] must be a module of PyTorch or a layer of elman. Got {describe(part)}.")
    weights = [p for part in parts if isinstance(part, nn.Module) for p in part.parameters()]
    double = {p.dtype == torch.float64 for p in weights}
    if len(double) > 1:
        raise FormatError("the module: all its parameters must be float64, or none. Got some that are.")
    dtype = "float64" if double == {True} else "float32"
    if isinstance(source, nn.Module):
        return _layers(source, "", dtype)
    return _row([(f"[{i}]", part) for i, part in enumerate(parts)], dtype)


def _layers(module: Any, place: str, dtype: str) -> list[Layer]:
    """The layers of one module; a layer is one already."""
    if isinstance(module, Layer):
        return [module]
    where = f"the module {place}" if place else "the module"
    if type(module) not in (_READERS | _CONTAINERS):
        raise _no_reader(type(module), where)
    if any(getattr(module, hooks, None) for hooks in _HOOKS) or "forward" in vars(module):
        raise refused(where, "what it computes", "that of its class", "hooks, or a forward of its own")
    if type(module) in _CONTAINERS:
        return _CONTAINERS[type(module)](module, place, dtype)
    with named(where):
        return _READERS[type(module)](module, dtype)


def _no_reader(kind: type[Any], where: str) -> FormatError:
    """The error of a module that no row of the tables reads: one of PyTorch, or of a class of one's own."""
    known = ", ".join(cls.__name__ for cls in (*_CONTAINERS, *_READERS) if cls.__module__.startswith("torch."))
    name = f"{kind.__module__}.{kind.__qualname__}"
    if kind.__module__.startswith("torch."):
        return refused(where, "its class", f"one of {known}", f"{name}, which is not read")
    return refused(
        where,
        "its class",
        f"one of {known}. The forward of another cannot be read: pass what it runs as a list, such as "
        "[model.embedding, model.lstm, elman.LastStep(), model.fc], or like=, a network of its shape",
        name,
    )


# Modules in a row.


def _row(parts: Sequence[tuple[str, Any]], dtype: str) -> list[Layer]:
    """The layers of modules in a row. A Linear and the activation behind it are one layer."""
    layers: list[Layer] = []
    before: type[Any] | None = None
    for place, part in parts:
        made = _layers(part, place, dtype)
        if before is nn.Linear and type(part) in _ELEMENTWISE:
            dense = layers.pop()
            made = [dense.replace(activation=made[0].config["activation"])]
        layers += made
        before = type(part)
    return layers


def _children(module: nn.Sequential, place: str) -> list[tuple[str, nn.Module]]:
    return [(f"{place}.{name}" if place else name, child) for name, child in module.named_children()]


_CONTAINERS: dict[type[Any], Callable[[Any, str, str], list[Layer]]] = {
    nn.Sequential: lambda module, place, dtype: _row(_children(module, place), dtype),
    own.TorchNetwork: lambda module, place, dtype: [  # as `to_torch` made it: a layer for each child
        layer for at, child in _children(module, place) for layer in _layers(child, at, dtype)
    ],
}


# One module each, with the dtype of the others for a LayerNorm without weights.


def _weights(module: nn.Module) -> dict[str, Array]:
    return arrays_of(dict(module.named_parameters(recurse=False, remove_duplicate=False)))


def _of_recurrent(module: Any, dtype: str) -> list[Layer]:
    weights = recurrent_module("", _weights(module))
    activation = getattr(module, "nonlinearity", "tanh")
    return weights.layers(activation=activation, dropout=float(getattr(module, "dropout", 0.0)))


def _of_embedding(module: nn.Embedding, dtype: str) -> list[Layer]:
    for option in ("max_norm", "scale_grad_by_freq"):
        if getattr(module, option):
            raise FormatError(f"{option} must be left out of an Embedding. Got {getattr(module, option)!r}.")
    return Module("", "Embedding", _weights(module)).layers()


def _of_layer_norm(module: nn.LayerNorm, dtype: str) -> list[Layer]:
    if len(module.normalized_shape) != 1:
        raise FormatError(f"a LayerNorm must act over the last axis alone. Got {tuple(module.normalized_shape)}.")
    arrays = {"weight": np.ones(module.normalized_shape, dtype), **_weights(module)}
    return Module("", "LayerNorm", arrays).layers(epsilon=module.eps)


def _softplus(module: nn.Softplus) -> str:
    if module.beta != 1 or module.threshold < 20:  # above 20 the line that takes its place is within 2e-9 of it
        raise FormatError(f"a Softplus must have beta 1 and a threshold from 20 up. Got {module}.")
    return "softplus"


def _threshold(module: nn.Threshold) -> Activation:
    if module.value != 0:
        raise FormatError(f"a Threshold must have the value 0. Got {module}.")
    return Activation("thresholded_relu", alpha=module.threshold)


def _over_features(module: Any) -> str:
    if module.dim != -1:
        raise FormatError(f"a softmax must have dim=-1, the features. Got {module.dim}.")
    return {nn.Softmax: "softmax", nn.LogSoftmax: "log_softmax"}[type(module)]


_ELEMENTWISE: dict[type[Any], Callable[[Any], str | Activation]] = {
    nn.Identity: lambda module: "identity",
    nn.ReLU: lambda module: "relu",
    nn.Tanh: lambda module: "tanh",
    nn.Sigmoid: lambda module: "sigmoid",
    nn.Softsign: lambda module: "softsign",
    nn.LeakyReLU: lambda module: Activation("leaky_relu", alpha=module.negative_slope),
    nn.ELU: lambda module: Activation("elu", alpha=module.alpha),
    nn.Hardsigmoid: lambda module: Activation("hard_sigmoid", alpha=1 / 6, beta=0.5),
    nn.Softplus: _softplus,
    nn.Threshold: _threshold,
    nn.GELU: lambda module: "gelu_tanh" if module.approximate == "tanh" else "gelu",
    nn.Hardswish: lambda module: "hard_swish",
    nn.SELU: lambda module: "selu",
    nn.SiLU: lambda module: "swish",
    own.Activation: lambda module: Activation(module.name, **module.slopes),
}

_READERS: dict[type[Any], Callable[[Any, str], list[Layer]]] = {
    **dict.fromkeys((nn.RNN, nn.LSTM, nn.GRU, nn.RNNCell, nn.LSTMCell, nn.GRUCell), _of_recurrent),
    nn.Linear: lambda module, dtype: Module("", "Linear", _weights(module)).layers(),
    nn.Embedding: _of_embedding,
    nn.LayerNorm: _of_layer_norm,
    nn.Dropout: lambda module, dtype: [Dropout(module.p)],
    **dict.fromkeys(_ELEMENTWISE, lambda module, dtype: [Activate(_ELEMENTWISE[type(module)](module))]),
    **dict.fromkeys((nn.Softmax, nn.LogSoftmax), lambda module, dtype: [Activate(_over_features(module))]),
    own.SequenceDropout: lambda module, dtype: [Dropout(module.p, per_sequence=True)],
    own.LastStep: lambda module, dtype: [LastStep(bidirectional=module.bidirectional)],
    own.LastSteps: lambda module, dtype: [LastSteps(module.input_size, module.count)],
    own.MeanOverTime: lambda module, dtype: [MeanOverTime()],
    own.MaxOverTime: lambda module, dtype: [MaxOverTime()],
    own.Reverse: lambda module, dtype: [Reverse()],
    own.Masking: lambda module, dtype: [Masking(module.value)],
    own.MergeDirections: lambda module, dtype: [MergeDirections(module.mode)],
}
