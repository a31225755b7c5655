"""Layers of elman to modules of PyTorch; a table of what each becomes. This file needs PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from elman.cells import Activation
from elman.checks import Array, FormatError, show
from elman.interop.files import named
from elman.interop.pytorch import modules as own
from elman.interop.pytorch.state import learned_states, pointwise_weights, recurrent_weights
from elman.layers import (
    GRU,
    LSTM,
    RNN,
    Activate,
    Dense,
    Dropout,
    Embedding,
    LastStep,
    LastSteps,
    Layer,
    LayerNorm,
    Masking,
    MaxOverTime,
    MeanOverTime,
    MergeDirections,
    Recurrent,
    Reverse,
)


def write(layers: Sequence[Layer]) -> own.TorchNetwork:
    """A module for each layer; it starts in evaluation, as a network of elman is outside of training."""
    modules = []
    for i, layer in enumerate(layers):
        with named(f"layer {i}, {type(layer).__name__}"):
            if type(layer) not in _WRITERS:
                raise FormatError(f"it must be a layer that PyTorch can hold. Got {show(layer)}.")
            modules.append(_WRITERS[type(layer)](layer))
    return own.TorchNetwork(*modules).eval()


def _module(cls: Callable[..., Any], arrays: Mapping[str, Array], *args: Any, **kwargs: Any) -> Any:
    """A module with copies of these weights. None are drawn before: PyTorch's generator stays as it was."""
    tensors = {name: torch.tensor(array) for name, array in arrays.items()}
    module = cls(*args, **kwargs, device="meta", dtype=next(iter(tensors.values())).dtype)
    module.load_state_dict(tensors, assign=True)
    return module


def _recurrent(layer: Recurrent) -> nn.Module:
    weights = recurrent_weights(layer)
    options: dict[str, Any] = {"nonlinearity": layer.config["activation"]} if isinstance(layer, RNN) else {}
    if layer.cell.projection is not None:
        options["proj_size"] = layer.cell.projection
    module = _module(
        {RNN: nn.RNN, GRU: nn.GRU, LSTM: nn.LSTM}[type(layer)],
        weights,
        layer.input_size,
        layer.hidden_size,
        batch_first=True,
        bidirectional=layer.bidirectional,
        **options,
    )
    for name, array in learned_states(layer).items():
        module.register_parameter(name, nn.Parameter(torch.tensor(array)))
    return module


def _dense(layer: Dense) -> nn.Module:
    linear = _module(nn.Linear, pointwise_weights(layer), layer.input_size, layer.output_size)
    if layer.activation.name == "identity":
        return linear
    return nn.Sequential(linear, _activation(layer.activation))


def _embedding(layer: Embedding) -> nn.Module:
    return _module(nn.Embedding, pointwise_weights(layer), layer.count, layer.output_size)


def _layer_norm(layer: LayerNorm) -> nn.Module:
    return _module(nn.LayerNorm, pointwise_weights(layer), layer.input_size, layer.epsilon)


_MODULES: dict[str, Callable[..., nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softsign": nn.Softsign,
    "leaky_relu": lambda alpha: nn.LeakyReLU(alpha),
    "elu": lambda alpha: nn.ELU(alpha),
    "softplus": lambda: nn.Softplus(threshold=40),  # where the line that takes its place has the same digits
    "thresholded_relu": lambda alpha: nn.Threshold(alpha, 0),
    "softmax": lambda: nn.Softmax(dim=-1),
    "log_softmax": lambda: nn.LogSoftmax(dim=-1),
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "hard_swish": nn.Hardswish,
    "selu": nn.SELU,
    "swish": nn.SiLU,
}


def _activation(activation: str | Activation) -> nn.Module:
    if isinstance(activation, str):
        if activation not in _MODULES:
            raise FormatError(f"activation must be one that torch.nn has as a module. Got {activation!r}.")
        return _MODULES[activation]()
    if activation == Activation("hard_sigmoid", alpha=1 / 6, beta=0.5):
        return nn.Hardsigmoid()
    if activation.name in own.FUNCTIONS:
        return own.Activation(activation.name, **activation.parameters)
    return _MODULES[activation.name](**activation.parameters)


_WRITERS: dict[type[Any], Callable[[Any], nn.Module]] = {
    **dict.fromkeys((RNN, GRU, LSTM), _recurrent),
    Dense: _dense,
    Embedding: _embedding,
    LayerNorm: _layer_norm,
    Dropout: lambda layer: (own.SequenceDropout if layer.per_sequence else nn.Dropout)(layer.rate),
    Activate: lambda layer: _activation(layer.activation),
    LastStep: lambda layer: own.LastStep(layer.bidirectional),
    LastSteps: lambda layer: own.LastSteps(layer.input_size, layer.count),
    MeanOverTime: lambda layer: own.MeanOverTime(),
    MaxOverTime: lambda layer: own.MaxOverTime(),
    Reverse: lambda layer: own.Reverse(),
    Masking: lambda layer: own.Masking(layer.value),
    MergeDirections: lambda layer: own.MergeDirections(layer.mode),
}
