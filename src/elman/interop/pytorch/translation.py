"""Modules of PyTorch to layers of elman, and back; tables of what each becomes. This file needs PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import nn

from elman import layers
from elman.cells import Activation
from elman.checks import FormatError, describe, show
from elman.graph import Node
from elman.interop.chain import nodes_of, prelu
from elman.interop.files import named, refused
from elman.interop.pytorch import parts
from elman.interop.pytorch.files import arrays_of
from elman.interop.pytorch.modules import Flow, TorchNetwork
from elman.interop.pytorch.state import children_of, kind_of, learned_states, recurrent_module, state_dict
from elman.layers import LAYERS, Layer
from elman.network import Network
from elman.options import defaults


class Row(NamedTuple):
    """What becomes of a module or an activation, on the other side."""

    made: type[Any]
    options: Mapping[str, str] = {}  # option in elman -> that of PyTorch
    fixed: Mapping[str, Any] = {}  # options of what is made, always the same


_ACTIVATIONS: dict[str, Row] = {
    "identity": Row(nn.Identity),
    "relu": Row(nn.ReLU),
    "tanh": Row(nn.Tanh),
    "sigmoid": Row(nn.Sigmoid),
    "softsign": Row(nn.Softsign),
    "leaky_relu": Row(nn.LeakyReLU, {"alpha": "negative_slope"}),
    "elu": Row(nn.ELU, {"alpha": "alpha"}),
    "softplus": Row(nn.Softplus, fixed={"threshold": 40}),  # where the line that takes its place has the same digits
    "thresholded_relu": Row(nn.Threshold, {"alpha": "threshold"}, {"value": 0}),
    "softmax": Row(nn.Softmax, fixed={"dim": -1}),
    "log_softmax": Row(nn.LogSoftmax, fixed={"dim": -1}),
    "gelu_tanh": Row(nn.GELU, fixed={"approximate": "tanh"}),
    "gelu": Row(nn.GELU),
    "hard_swish": Row(nn.Hardswish),
    "selu": Row(nn.SELU),
    "swish": Row(nn.SiLU),
}
_HARD_SIGMOID = Activation("hard_sigmoid", alpha=1 / 6, beta=0.5)  # that of PyTorch

_WINDOW = {"width": "kernel_size", "stride": "stride", "padding": "padding"}

_MODULES: dict[type[nn.Module], Row] = {
    nn.Linear: Row(layers.Dense, {"input_size": "in_features", "output_size": "out_features"}),
    nn.Embedding: Row(layers.Embedding, {"count": "num_embeddings", "size": "embedding_dim"}),
    nn.LayerNorm: Row(layers.LayerNorm, {"size": "normalized_shape", "epsilon": "eps"}),
    nn.BatchNorm1d: Row(layers.BatchNorm, {"size": "num_features", "momentum": "momentum", "epsilon": "eps"}),
    nn.Conv1d: Row(
        layers.Conv1d, {**_WINDOW, "input_size": "in_channels", "output_size": "out_channels", "dilation": "dilation"}
    ),
    nn.MaxPool1d: Row(layers.MaxPool1d, _WINDOW),
    nn.AvgPool1d: Row(layers.AveragePool1d, _WINDOW),
    nn.AdaptiveAvgPool1d: Row(layers.MeanOverTime),
    nn.AdaptiveMaxPool1d: Row(layers.MaxOverTime),
    nn.Dropout: Row(layers.Dropout, {"rate": "p"}),
    **dict.fromkeys((nn.Dropout1d, parts.SequenceDropout), Row(layers.Dropout, {"rate": "p"}, {"per_sequence": True})),
}
_POOLS = (nn.MaxPool1d, nn.AvgPool1d)
_ADAPTIVE = (nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d)
_OVER_FEATURES = (nn.Softmax, nn.LogSoftmax)

#: What must hold of an option of a module, or of the whole of it, so that elman has it; and in words.
_MUST: tuple[tuple[Any, str, Callable[[Any], bool], str], ...] = (
    (nn.Embedding, "max_norm", lambda v: v is None, "max_norm must be left out of an Embedding"),
    (nn.Embedding, "scale_grad_by_freq", lambda v: not v, "scale_grad_by_freq must be left out of an Embedding"),
    (nn.LayerNorm, "normalized_shape", lambda v: len(v) == 1, "a LayerNorm must act over the last axis alone"),
    (
        nn.BatchNorm1d,
        "",
        lambda m: m.running_mean is not None and m.momentum is not None,
        "a BatchNorm1d must have running statistics and a momentum",
    ),
    (nn.Conv1d, "padding_mode", lambda v: v == "zeros", "a Conv1d must have padding_mode 'zeros'"),
    (nn.MaxPool1d, "dilation", lambda v: v in (1, (1,)), "a pool must have dilation 1"),
    (_POOLS, "ceil_mode", lambda v: not v, "a pool must have ceil_mode False"),
    (
        nn.AvgPool1d,
        "",
        lambda m: m.padding in (0, (0,)) or not m.count_include_pad,
        "a pool must have no padding that counts",
    ),
    (_ADAPTIVE, "output_size", lambda v: v in (1, (1,)), "an adaptive pool must give one step"),
    # Above 20 the line that takes the place of a Softplus is within 2e-9 of it.
    (
        nn.Softplus,
        "",
        lambda m: m.beta == 1 and m.threshold >= 20,
        "a Softplus must have beta 1 and a threshold from 20 up",
    ),
    (nn.Threshold, "", lambda m: m.value == 0, "a Threshold must have the value 0"),
    (_OVER_FEATURES, "dim", lambda v: v == -1, "a softmax must have dim=-1, the features"),
)


# Modules to layers.

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def read(source: Any) -> list[Layer]:
    """The layers of a module, or of a list of modules and layers."""
    given = [source] if isinstance(source, nn.Module) else source
    for i, part in enumerate(given):
        if not isinstance(part, (nn.Module, Layer)):
            raise TypeError(f"source[{i}] must be a module of PyTorch or a layer of elman. Got {describe(part)}.")
    modules = [part for part in given if isinstance(part, nn.Module)]
    double = {p.dtype == torch.float64 for module in modules for p in module.parameters()}
    if len(double) > 1:
        raise FormatError("the module: all its parameters must be float64, or none. Got some that are.")
    dtype = "float64" if double == {True} else "float32"
    for module in modules:
        _check_axes(module)
    if isinstance(source, nn.Module):
        return _layers(source, "", dtype)
    return _row([(f"[{i}]", part) for i, part in enumerate(given)], dtype)


def _layers(module: Any, place: str, dtype: str) -> list[Layer]:
    """The layers of one module; a layer is one already."""
    if isinstance(module, Layer):
        return [module]
    where, kind = f"the module {place}" if place else "the module", type(module)
    if kind not in (nn.Sequential, TorchNetwork, parts.Bidirectional, *_READERS):
        known = ", ".join(cls.__name__ for cls in (nn.Sequential, *_READERS) if cls.__module__.startswith("torch."))
        must, got = f"one of {known}", f"{kind.__module__}.{kind.__qualname__}"
        if kind.__module__.startswith("torch."):
            raise refused(where, "its class", must, f"{got}, which is not read")
        must += ". The forward of another cannot be read: pass what it runs as a list, such as [model.embedding, "
        must += "model.lstm, elman.LastStep(), model.fc], or like=, a network of its shape"
        raise refused(where, "its class", must, got)
    if any(getattr(module, hooks, None) for hooks in _HOOKS) or "forward" in vars(module):
        raise refused(where, "what it computes", "that of its class", "hooks, or a forward of its own")
    # One that stands in several places is there in each; `named_children` tells of the first alone.
    children = [(f"{place}.{name}".lstrip("."), child) for name, child in module._modules.items()]
    if kind is nn.Sequential:
        return _row(children, dtype)
    if kind is TorchNetwork:
        return [_network(module, place, dtype)]
    if kind is parts.Bidirectional:
        first, second = [layer for name, child in children for layer in _layers(child, name, dtype)]
        return [layers.Bidirectional(first, second, module.merge)]  # type: ignore[arg-type]
    with named(where):
        for kinds, option, holds, must in _MUST:
            value = getattr(module, option) if isinstance(module, kinds) and option else module
            if isinstance(module, kinds) and not holds(value):
                raise FormatError(f"{must}. Got {value!r}.")
        return _READERS[kind](module, dtype)


def _row(given: Sequence[tuple[str, Any]], dtype: str) -> list[Layer]:
    """The layers of modules in a row. A Linear or a Conv1d and the activation after it are one layer."""
    found: list[Layer] = []
    before: type[Any] | None = None
    for place, part in given:
        if before in _ADAPTIVE and type(part) is nn.Flatten:
            continue  # (batch, features, 1) to (batch, features)
        made = _layers(part, place, dtype)
        if before in (nn.Linear, nn.Conv1d) and type(part) in _ELEMENTWISE and type(part) not in _OVER_FEATURES:
            made = [found.pop().replace(activation=made[0].config["activation"])]
        found += made
        before = type(part)
    return found


def _network(module: TorchNetwork, place: str, dtype: str) -> Network:
    """As `to_torch` made it: a layer for each child, and what each reads."""
    flow = module.flow
    names = list(module._modules) if flow is None else [name for name, _, _ in flow.children]
    made = [_layers(module.get_submodule(name), f"{place}.{name}".lstrip("."), dtype) for name in names]
    if flow is None:
        return Network([layer for row in made for layer in row])
    first = len(flow.inputs)
    values = [*flow.inputs, *(name.replace(".", "_") for name in names)]
    nodes = {}
    for i, (row, (_, reads, start)) in enumerate(zip(made, flow.children, strict=True)):
        state = None if start is None else values[first + start]
        layer = row[0] if len(row) == 1 else Network(row)
        nodes[values[first + i]] = Node(layer, *[values[j] for j in reads], state=state)
    return Network(nodes, outputs=[values[j] for j in flow.outputs.values()] if flow.named else None)


def _check_axes(module: nn.Module) -> None:
    """Refuses an nn.Sequential in which time is the last axis for one module and the features are for another.

    In a list the modules may have any axes: what stands between them, a transpose, is left out of it.
    """
    time_last = (*_ADAPTIVE, *_POOLS, nn.Conv1d, nn.Dropout1d)
    features_last = (nn.Linear, nn.RNNBase, nn.RNNCellBase, nn.LayerNorm, nn.Embedding)
    kinds = (*time_last, *features_last, nn.Flatten)
    inside = module.named_modules(remove_duplicate=False) if type(module) is nn.Sequential else ()
    for before, leaf in pairwise(leaf for _, leaf in inside if isinstance(leaf, kinds)):
        flat = isinstance(before, nn.Flatten) or isinstance(leaf, nn.Flatten)
        if not flat and isinstance(before, time_last) != isinstance(leaf, time_last):
            names = f"{type(before).__name__} and {type(leaf).__name__}"
            raise FormatError(
                f"the module: a transpose must stand between {names}, as one has time and the other the features "
                "last; pass its modules as a list, where none is needed. Got one after the other."
            )


# One module each, with the dtype of the others for what has no weights.


def _of_recurrent(module: Any, dtype: str) -> list[Layer]:
    tensors = dict(module.named_parameters(recurse=False, remove_duplicate=False))
    found = recurrent_module("", arrays_of(tensors)).layers()
    if isinstance(module, (nn.RNN, nn.RNNCell)):
        found = [layer.replace(activation=module.nonlinearity) for layer in found]
    rate = float(getattr(module, "dropout", 0))
    return [part for layer in found for part in (layers.Dropout(rate), layer)][1:] if rate else found


def _of_row(module: Any, dtype: str) -> list[Layer]:
    """The layer of a row of the table, or of a module of this library, which has its options."""
    if isinstance(module, parts.Own):
        made: type[Layer] = LAYERS[type(module).__name__]
        options = {name: getattr(module, name) for name in module.options}
    else:
        made, names, fixed = _MODULES[type(module)]
        given = {option: getattr(module, name) for option, name in names.items()}
        options = {option: value[0] if isinstance(value, tuple) else value for option, value in given.items()}
        options |= fixed
        if isinstance(padding := options.get("padding"), int):
            options["padding"] = (padding, padding) if padding else "valid"
    kind, arrays = kind_of(made), arrays_of(module.state_dict())
    if made is layers.LayerNorm and not arrays:
        arrays = {"weight": np.ones(module.normalized_shape, dtype)}
    return [kind.made(arrays, **options) if kind is not None and arrays else made.from_parameters(options, {})]


def _of_prelu(module: nn.PReLU, dtype: str) -> list[Layer]:
    slopes = arrays_of({"weight": module.weight})["weight"]
    if len(slopes) == 1 and slopes[0] <= 0:
        raise FormatError(f"a PReLU of one slope must have it over 0. Got {slopes[0]}.")
    return [prelu(slopes, len(slopes))]


def _elementwise(module: Any) -> str | Activation:
    """The activation of a module that is one."""
    if isinstance(module, parts.Activation):
        return Activation(module.name, **module.slopes)
    if isinstance(module, nn.Hardsigmoid):
        return _HARD_SIGMOID
    form = getattr(module, "approximate", "none")  # of nn.GELU
    rows = _ACTIVATIONS.items()
    name = next(n for n, row in rows if row.made is type(module) and row.fixed.get("approximate", "none") == form)
    slopes = {slope: getattr(module, option) for slope, option in _ACTIVATIONS[name].options.items()}
    return Activation(name, **slopes) if slopes else name


_ELEMENTWISE = (*(row.made for row in _ACTIVATIONS.values()), nn.Hardsigmoid, parts.Activation)

_READERS: dict[type[Any], Callable[[Any, str], list[Layer]]] = {
    **dict.fromkeys((nn.RNN, nn.LSTM, nn.GRU, nn.RNNCell, nn.LSTMCell, nn.GRUCell), _of_recurrent),
    **dict.fromkeys([*_MODULES, *(part for name, part in vars(parts).items() if name in LAYERS)], _of_row),
    nn.PReLU: _of_prelu,
    **dict.fromkeys(_ELEMENTWISE, lambda module, dtype: [layers.Activate(_elementwise(module))]),
}


# Layers to modules.


def write(net: Layer) -> TorchNetwork:
    """A module for each layer; it starts in evaluation, as a network of elman is outside of training."""
    made, tensors = TorchNetwork(), {name: torch.tensor(array) for name, array in state_dict(net).items()}
    children, lists = children_of(net)
    for place, layer in children:
        with named(f"layer {place}, {type(layer).__name__}"):
            if type(layer) not in _WRITERS:
                raise FormatError(f"it must be a layer that PyTorch can hold. Got {show(layer)}.")
            *path, name = place.split(".")
            parent: nn.Module = made
            for step in path:
                if not hasattr(parent, step):
                    parent.add_module(step, nn.Module())
                parent = parent.get_submodule(step)
            if hasattr(parent, name):
                raise FormatError(f"a node must have a name that an attribute of a module can have. Got {name!r}.")
            parent.add_module(name, _WRITERS[type(layer)](layer))
    if not lists:
        network, nodes, outputs = nodes_of(net, spelled=False)
        given = [network.names[i] for i in network.graph.outputs]
        reads = tuple((node.place, node.reads, cast("int | None", node.start)) for node in nodes)
        made.flow = Flow(network.inputs, reads, dict(zip(given, outputs, strict=True)), network.graph.named)
    # They were made without weights, so that PyTorch's generator stays as it was.
    made.load_state_dict(tensors, assign=True)
    return made.eval()


def _recurrent(layer: layers.Recurrent) -> nn.Module:
    options: dict[str, Any] = {"nonlinearity": layer.config["activation"]} if isinstance(layer, layers.RNN) else {}
    if layer.cell.projection is not None:
        options["proj_size"] = layer.cell.projection
    options |= {"batch_first": True, "bidirectional": layer.bidirectional, "device": "meta"}
    module: nn.Module = getattr(nn, type(layer).__name__)(layer.input_size, layer.hidden_size, **options)
    for name, array in learned_states(layer).items():
        module.register_parameter(name, nn.Parameter(torch.empty(array.shape, device="meta")))
    return module


def _bidirectional(layer: layers.Bidirectional) -> nn.Module:
    module = parts.Bidirectional(merge=layer.merge)
    module.first, module.second = _recurrent(layer.first), _recurrent(layer.second)
    return module


def _dense(layer: layers.Dense) -> nn.Module:
    linear = nn.Linear(layer.input_size or 0, layer.output_size or 0, device="meta")
    return linear if layer.activation.name == "identity" else nn.Sequential(linear, _activation(layer.activation))


def _own(layer: Layer) -> nn.Module:
    """The module of the name of a layer, with its options; `act` is the activation of a Conv1d."""
    names = [name for name in defaults(layer.setup) if name != "dtype"]
    module: nn.Module = getattr(parts, type(layer).__name__)(**{name: getattr(layer, name) for name in names})
    if "activation" in names:
        module.act = _activation(layer.activation)
    return module


def _activation(activation: str | Activation) -> nn.Module:
    if activation == _HARD_SIGMOID:
        return nn.Hardsigmoid()
    name, slopes = (activation, {}) if isinstance(activation, str) else (activation.name, activation.parameters)
    if name in parts.FUNCTIONS:
        return parts.Activation(name=name, slopes=dict(slopes))
    if name not in _ACTIVATIONS:
        raise FormatError(f"activation must be one that torch.nn has as a module. Got {name!r}.")
    row = _ACTIVATIONS[name]
    return row.made(**{option: slopes[slope] for slope, option in row.options.items()}, **row.fixed)


_WRITERS: dict[type[Any], Callable[[Any], nn.Module]] = {
    **{kind: _own for name, kind in LAYERS.items() if isinstance(getattr(parts, name, None), type)},
    **dict.fromkeys((layers.RNN, layers.GRU, layers.LSTM), _recurrent),
    layers.Bidirectional: _bidirectional,
    layers.Dense: _dense,
    layers.Embedding: lambda layer: nn.Embedding(layer.count, layer.output_size, device="meta"),
    layers.LayerNorm: lambda layer: nn.LayerNorm(layer.input_size, layer.epsilon, device="meta"),
    layers.Dropout: lambda layer: (parts.SequenceDropout if layer.per_sequence else nn.Dropout)(layer.rate),
    layers.Activate: lambda layer: _activation(layer.activation),
}
