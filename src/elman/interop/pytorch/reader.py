"""Modules of PyTorch to layers of elman; a table of what each class of module becomes. This file needs PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from elman.cells import Activation
from elman.checks import Array, FormatError, describe
from elman.graph import Node
from elman.interop.chain import prelu
from elman.interop.files import named, refused
from elman.interop.pytorch import parts
from elman.interop.pytorch.files import arrays_of
from elman.interop.pytorch.modules import TorchNetwork
from elman.interop.pytorch.weights import Module, own_parameters, recurrent_module
from elman.layers import (
    LAYERS,
    Activate,
    AveragePool1d,
    Bidirectional,
    Conv1d,
    Dropout,
    Layer,
    MaxOverTime,
    MaxPool1d,
    MeanOverTime,
)
from elman.network import Network

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
        _check_axes(source)
        return _layers(source, "", dtype)
    for part in parts:
        _check_axes(part)
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
    """The layers of modules in a row. A Linear or a Conv1d and the activation after it are one layer."""
    layers: list[Layer] = []
    before: type[Any] | None = None
    for place, part in parts:
        if before in (nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d) and type(part) is nn.Flatten:
            continue  # (batch, features, 1) to (batch, features)
        made = _layers(part, place, dtype)
        if before in (nn.Linear, nn.Conv1d) and type(part) in _ELEMENTWISE:
            made = [layers.pop().replace(activation=made[0].config["activation"])]
        layers += made
        before = type(part)
    return layers


def _children(module: nn.Sequential, place: str) -> list[tuple[str, nn.Module]]:
    return [(f"{place}.{name}" if place else name, child) for name, child in module.named_children()]


def _network(module: TorchNetwork, place: str, dtype: str) -> Network:
    """As `to_torch` made it: a layer for each child, and what each reads."""
    flow = module.flow
    names = tuple(module._modules) if flow is None else flow.children
    made = [_layers(module.get_submodule(name), f"{place}.{name}".lstrip("."), dtype) for name in names]
    if flow is None:
        return Network([layer for row in made for layer in row])
    layers = [row[0] if len(row) == 1 else Network(row) for row in made]
    first, values = len(flow.inputs), [*flow.inputs, *(name.replace(".", "_") for name in names)]
    nodes = {}
    for i, (layer, reads, start) in enumerate(zip(layers, flow.reads, flow.starts, strict=True)):
        state = None if start is None else values[first + start]
        nodes[values[first + i]] = Node(layer, *[values[j] for j in reads], state=state)
    return Network(nodes, outputs=[values[j] for j in flow.outputs.values()] if flow.named else None)


def _both(module: parts.Bidirectional, place: str, dtype: str) -> Layer:
    first, second = (_layers(getattr(module, part), f"{place}.{part}", dtype)[0] for part in ("first", "second"))
    return Bidirectional(first, second, module.merge)  # type: ignore[arg-type]


_CONTAINERS: dict[type[Any], Callable[[Any, str, str], list[Layer]]] = {
    nn.Sequential: lambda module, place, dtype: _row(_children(module, place), dtype),
    parts.Bidirectional: lambda module, place, dtype: [_both(module, place, dtype)],
    TorchNetwork: lambda module, place, dtype: [_network(module, place, dtype)],
}


def _check_axes(module: Any) -> None:
    """Refuses an nn.Sequential in which time is the last axis for one module and the features are for another.

    In a list the modules may have any axes: what stands between them, a transpose, is left out of it.
    """
    before: nn.Module | None = None
    for leaf in module.modules() if type(module) is nn.Sequential else ():
        if before is not None and isinstance(leaf, nn.Flatten):
            before = None
        elif isinstance(leaf, (*_TIME_LAST, *_FEATURES_LAST)):
            if before is not None and isinstance(before, _TIME_LAST) != isinstance(leaf, _TIME_LAST):
                names = f"{type(before).__name__} and {type(leaf).__name__}"
                raise FormatError(
                    f"the module: a transpose must stand between {names}, as one has time and the other the features "
                    "last; pass its modules as a list, where none is needed. Got one after the other."
                )
            before = leaf


_TIME_LAST = (nn.Conv1d, nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d, nn.Dropout1d)
_FEATURES_LAST = (nn.Linear, nn.RNNBase, nn.RNNCellBase, nn.LayerNorm, nn.Embedding)


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


def _of_batch_norm(module: nn.BatchNorm1d, dtype: str) -> list[Layer]:
    if module.running_mean is None or module.momentum is None:
        raise FormatError(f"a BatchNorm1d must have running statistics and a momentum. Got {module}.")
    buffers = {"running_mean": module.running_mean, "running_var": module.running_var}
    layer = Module("", "BatchNorm", {**_weights(module), **arrays_of(buffers)}).layers(epsilon=module.eps)[0]
    return [layer.replace(momentum=module.momentum)]


def _of_convolution(module: nn.Conv1d, dtype: str) -> list[Layer]:
    if module.padding_mode != "zeros":
        raise FormatError(f"a Conv1d must have padding_mode 'zeros'. Got {module.padding_mode!r}.")
    parameters = Module("", "Conv1d", _weights(module)).parameters(module.in_channels)
    padding = module.padding if isinstance(module.padding, str) else _sides(module.padding[0])
    (width,), (stride,), (dilation,) = module.kernel_size, module.stride, module.dilation
    config = {"input_size": module.in_channels, "output_size": module.out_channels, "width": width, "stride": stride}
    config |= {"dilation": dilation, "padding": padding, "dtype": str(parameters["W"].dtype)}
    return [Conv1d.from_parameters(config, parameters)]


def _of_pool(module: Any, dtype: str) -> list[Layer]:
    (width, stride, padding) = (_one(getattr(module, name)) for name in ("kernel_size", "stride", "padding"))
    average = isinstance(module, nn.AvgPool1d)
    if (
        _one(getattr(module, "dilation", 1)) != 1
        or module.ceil_mode
        or (average and padding and module.count_include_pad)
    ):
        must = "a pool must have dilation 1, ceil_mode False and no padding that counts"
        raise FormatError(f"{must}. Got {module}.")
    return [(AveragePool1d if average else MaxPool1d)(width, stride, _sides(padding))]


def _one(value: Any) -> int:
    return int(value[0] if isinstance(value, tuple) else value)


def _sides(padding: int) -> Any:
    return (padding, padding) if padding else "valid"


def _of_own(module: Any, dtype: str) -> list[Layer]:
    """A module of this library, which has the options of the layer of its name."""
    kind = LAYERS[type(module).__name__]
    options = {name: getattr(module, name) for name in module.options}
    arrays = arrays_of(module.state_dict())
    return [kind.from_parameters({**options, **({"dtype": dtype} if arrays else {})}, own_parameters(kind, arrays))]


def _of_adaptive_pool(module: Any, dtype: str) -> list[Layer]:
    if _one(module.output_size) != 1:
        raise FormatError(f"an adaptive pool must give one step. Got {module.output_size}.")
    return [MeanOverTime() if isinstance(module, nn.AdaptiveAvgPool1d) else MaxOverTime()]


def _of_prelu(module: nn.PReLU, dtype: str) -> list[Layer]:
    slopes = arrays_of({"weight": module.weight})["weight"]
    if len(slopes) == 1 and slopes[0] <= 0:
        raise FormatError(f"a PReLU of one slope must have it over 0. Got {slopes[0]}.")
    return [prelu(slopes, len(slopes))]


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
    parts.Activation: lambda module: Activation(module.name, **module.slopes),
}

_READERS: dict[type[Any], Callable[[Any, str], list[Layer]]] = {
    **dict.fromkeys((nn.RNN, nn.LSTM, nn.GRU, nn.RNNCell, nn.LSTMCell, nn.GRUCell), _of_recurrent),
    nn.Linear: lambda module, dtype: Module("", "Linear", _weights(module)).layers(),
    nn.Embedding: _of_embedding,
    nn.LayerNorm: _of_layer_norm,
    nn.BatchNorm1d: _of_batch_norm,
    nn.Conv1d: _of_convolution,
    nn.PReLU: _of_prelu,
    **dict.fromkeys((nn.MaxPool1d, nn.AvgPool1d), _of_pool),
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d), _of_adaptive_pool),
    nn.Dropout: lambda module, dtype: [Dropout(module.p)],
    **dict.fromkeys(
        (nn.Dropout1d, parts.SequenceDropout), lambda module, dtype: [Dropout(module.p, per_sequence=True)]
    ),
    **dict.fromkeys(_ELEMENTWISE, lambda module, dtype: [Activate(_ELEMENTWISE[type(module)](module))]),
    **dict.fromkeys((nn.Softmax, nn.LogSoftmax), lambda module, dtype: [Activate(_over_features(module))]),
    **dict.fromkeys([kind for name, kind in vars(parts).items() if name in LAYERS], _of_own),
}
