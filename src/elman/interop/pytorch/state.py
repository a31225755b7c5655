"""Weights for PyTorch in a file, without PyTorch: the state_dict that `to_torch` would give."""

from __future__ import annotations

import io
import os

import numpy as np

from elman import checks
from elman.checks import Array, FormatError
from elman.files import check_path, replace
from elman.interop.arrays import to_arrays
from elman.interop.chain import check_holds, nodes_of
from elman.interop.files import named
from elman.interop.pytorch.weights import kind_of
from elman.layers import RNN, Bidirectional, Dense, Layer, Recurrent
from elman.layers.nesting import every_layer
from elman.network import Network


def write_state_dict(net: Layer, path: str | os.PathLike[str]) -> None:
    """Writes the weights of a network or a layer as ``torch.save(to_torch(net).state_dict(), path)`` would.

    A path that ends in .safetensors becomes a safetensors file, and PyTorch is not needed; any other is written by
    PyTorch. The names are those of `state_dict`. A state_dict holds weights alone: the module they are for must be
    there when they are read, as ``elman.from_torch(path, like=net)``. The file is replaced whole or not at all.
    Raises `FormatError` for what PyTorch cannot hold; `MissingExtraError` where PyTorch is needed and not installed.
    """
    weights = state_dict(net)
    check_path("path", path)
    if os.fspath(path).lower().endswith(".safetensors"):
        from safetensors.numpy import save

        replace(path, save(weights, metadata={"format": "pt"}))
        return
    try:
        import torch
    except ImportError:
        raise checks.missing_extra(f"{os.fspath(path)!r}, a file that PyTorch writes,", "torch") from None
    content = io.BytesIO()
    torch.save({name: torch.from_numpy(array) for name, array in weights.items()}, content)
    replace(path, content.getvalue())


def state_dict(net: Layer) -> dict[str, Array]:
    """The weights of a network or a layer under PyTorch's names, "0.weight_ih_l0", in PyTorch's layout.

    >>> import elman
    >>> from elman.interop.pytorch.state import state_dict
    >>> net = elman.Network([elman.GRU(2, 3), elman.LastStep(), elman.Dense(3, 1, "tanh")])
    >>> {name: array.shape for name, array in state_dict(net).items()}
    {'0.weight_ih_l0': (9, 2), '0.weight_hh_l0': (9, 3), '0.bias_ih_l0': (9,), '0.bias_hh_l0': (9,),
     '2.0.weight': (1, 3), '2.0.bias': (1,)}
    """
    weights: dict[str, Array] = {}
    for place, layer in children_of(net):
        with named(f"layer {place}, {type(layer).__name__}"):
            weights |= {f"{place}.{name}": np.ascontiguousarray(array) for name, array in _arrays(layer).items()}
    return weights


def children_of(net: Layer) -> list[tuple[str, Layer]]:
    """The layers, each by the name of its module: in lists, also lists in lists, they are counted in a row."""
    _, nodes, _ = nodes_of(net, spelled=False)
    lists = all(part.graph.is_list for part in every_layer(net) if isinstance(part, Network))
    return [(str(i) if lists else node.place, node.layer) for i, node in enumerate(nodes)]


def _arrays(layer: Layer) -> dict[str, Array]:
    """The weights of a layer by the names of its module; none of an activation, a pool."""
    if isinstance(layer, Recurrent):
        check_holds(layer, "PyTorch", ("activation", "reset_after", "projection", "learned_state"))
        if isinstance(layer, RNN) and layer.config["activation"] not in ("tanh", "relu"):
            got = layer.config["activation"]
            raise FormatError(f"activation must be 'tanh' or 'relu' for PyTorch. Got {got!r}.")
        # No array of the convention holds a state.
        return {**to_arrays(layer.replace(learned_state=False), "pytorch"), **learned_states(layer)}
    if isinstance(layer, Bidirectional):
        both = {"first": layer.first, "second": layer.second}
        return {f"{part}.{name}": array for part, own in both.items() for name, array in _arrays(own).items()}
    kind = kind_of(layer)
    if kind is not None:
        # Beside an activation it is the first of an nn.Sequential.
        inside = "0." if isinstance(layer, Dense) and layer.activation.name != "identity" else ""
        return {inside + name: array for name, array in kind.arrays(layer).items()}
    if layer.parameters:
        raise FormatError(f"it must be a layer that PyTorch has. Got {checks.show(layer)}.")
    return {}


def learned_states(layer: Recurrent) -> dict[str, Array]:
    """The states before the first step, "h0", "c0_reverse", where they are learned."""
    return {name: array for name, array in layer.parameters.items() if name.split("_")[0] in ("h0", "c0")}
