"""Layers of elman to modules of PyTorch; a table of what each becomes. This file needs PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from elman.cells import Activation
from elman.checks import FormatError, show
from elman.interop.chain import nodes_of
from elman.interop.files import named
from elman.interop.pytorch import parts
from elman.interop.pytorch.modules import Flow, TorchNetwork
from elman.interop.pytorch.state import children_of, learned_states, state_dict
from elman.layers import (
    GRU,
    LAYERS,
    LSTM,
    RNN,
    Activate,
    Bidirectional,
    Dense,
    Dropout,
    Embedding,
    Layer,
    LayerNorm,
    Recurrent,
)
from elman.layers.nesting import every_layer
from elman.network import Network
from elman.options import defaults


def write(net: Layer) -> TorchNetwork:
    """A module for each layer; it starts in evaluation, as a network of elman is outside of training."""
    made, tensors = TorchNetwork(), {name: torch.tensor(array) for name, array in state_dict(net).items()}
    for place, layer in children_of(net):
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
    network, nodes, outputs = nodes_of(net, spelled=False)
    if not all(inside.graph.is_list for inside in every_layer(network) if isinstance(inside, Network)):
        gives = dict(zip([network.names[i] for i in network.graph.outputs], outputs, strict=True))
        made.flow = Flow(
            network.inputs,
            tuple(node.place for node in nodes),
            tuple(node.reads for node in nodes),
            tuple(node.start for node in nodes),
            gives,
            network.graph.named,
        )
    # They were made without weights, so that PyTorch's generator stays as it was.
    made.load_state_dict(tensors, assign=True)
    return made.eval()


def _recurrent(layer: Recurrent) -> nn.Module:
    options: dict[str, Any] = {"nonlinearity": layer.config["activation"]} if isinstance(layer, RNN) else {}
    if layer.cell.projection is not None:
        options["proj_size"] = layer.cell.projection
    cls: Any = {RNN: nn.RNN, GRU: nn.GRU, LSTM: nn.LSTM}[type(layer)]
    sizes = layer.input_size, layer.hidden_size
    module = cls(*sizes, batch_first=True, bidirectional=layer.bidirectional, device="meta", **options)
    for name, array in learned_states(layer).items():
        module.register_parameter(name, nn.Parameter(torch.empty(array.shape, device="meta")))
    return module


def _both(layer: Bidirectional) -> nn.Module:
    module = parts.Bidirectional(merge=layer.merge)
    module.first, module.second = _recurrent(layer.first), _recurrent(layer.second)
    return module


def _dense(layer: Dense) -> nn.Module:
    linear = nn.Linear(layer.input_size or 0, layer.output_size or 0, device="meta")
    return linear if layer.activation.name == "identity" else nn.Sequential(linear, _activation(layer.activation))


def _own(layer: Layer) -> nn.Module:
    """The module of the name of a layer, with its options; `act` is the activation of a Conv1d."""
    names = [name for name in defaults(layer.setup) if name != "dtype"]
    module: nn.Module = getattr(parts, type(layer).__name__)(**{name: getattr(layer, name) for name in names})
    if "activation" in names:
        module.act = _activation(layer.activation)
    return module


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
    if activation.name in parts.FUNCTIONS:
        return parts.Activation(activation.name, **activation.parameters)
    return _MODULES[activation.name](**activation.parameters)


_WRITERS: dict[type[Any], Callable[[Any], nn.Module]] = {
    **{kind: _own for name, kind in LAYERS.items() if isinstance(getattr(parts, name, None), type)},
    **dict.fromkeys((RNN, GRU, LSTM), _recurrent),
    Bidirectional: _both,
    Dense: _dense,
    Embedding: lambda layer: nn.Embedding(layer.count, layer.output_size, device="meta"),
    LayerNorm: lambda layer: nn.LayerNorm(layer.input_size, layer.epsilon, device="meta"),
    Dropout: lambda layer: (parts.SequenceDropout if layer.per_sequence else nn.Dropout)(layer.rate),
    Activate: lambda layer: _activation(layer.activation),
}
