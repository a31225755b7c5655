"""Networks from PyTorch and to it; the files it writes; see `from_torch` and `to_torch`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from elman import checks
from elman.interop.chain import Fitted, as_layer, network_of, nodes_of
from elman.interop.files import named
from elman.interop.pytorch.files import arrays_of, read_weights, told
from elman.interop.pytorch.order import layers_from, network_like
from elman.layers import Layer
from elman.network import Network

if TYPE_CHECKING:
    from elman.interop.pytorch.modules import TorchNetwork


def from_torch(source: Any, *, like: Layer | None = None, order: Sequence[str] | None = None) -> Network:
    """A network from a module of PyTorch, its `state_dict`, or a file of one. PyTorch is needed for modules and .pt.

    Parameters
    ----------
    source
        A module; a list of modules and layers of elman in the order in which they run; a state_dict, name -> tensor
        or array; or a path, or the bytes of a file. Modules are RNN, LSTM, GRU and their cells, Linear, Embedding,
        LayerNorm, Conv1d, BatchNorm1d, pools, Dropout, PReLU, the activations that elman has, and `nn.Sequential` of
        them. Files of safetensors are read by safetensors, JSON with a list of numbers per name as it is, any other
        by ``torch.load(weights_only=True)``, which executes nothing. The state_dict of a checkpoint may have any name.
    like
        For weights alone: a network or a layer of the same shape. The result is a copy of it with these weights. In a
        chain its layers that have parameters take those of the modules, in their order; an `nn.LSTM` of two layers
        fills two. In a graph a node takes the module of its name ("att.query", "att.memory" and "att.score" are those
        of an Attention), and the others the one module that fits; where several do, both are named and `order` says
        which. What stands between, activations, pools and dropout, is that of `like`.
    order
        For weights alone: the names of all modules, such as ["embedding", "lstm", "fc"], in the order in which they
        run. Needed where neither the order of the names nor the widths tell it.

    Returns
    -------
    net
        An `elman.Network` with copies of the weights: float64 where they are, else float32. Narrower ones are
        converted exactly. A bidirectional or stacked module becomes a layer each, with Dropout between them where it
        has some. Two biases that only ever act as a sum are added. x is (batch, time, features), whatever `batch_first`
        says and though a Conv1d has the features before the time: transposes are left out of a list of modules, and
        an `nn.Sequential` that would need one is refused. A Conv1d in groups becomes one with zeros between them.
        NaN is taken as it is. A weight that two modules share becomes two.

    The `forward` of a class of one's own cannot be read, so such a module is refused: pass what it runs as a list,
    ``[model.embedding, model.lstm, elman.LastStep(), model.fc]``, or pass `like`, a network of its shape.

    A state_dict holds weights alone. What no weight tells is assumed: `RNN` has tanh, `LayerNorm` an epsilon of 1e-5,
    and `BatchNorm` too, a pair of vectors weight and bias is a LayerNorm, and after the last module nothing follows. A
    Conv1d, two Linear in a row, a Linear alone in a Sequential of its own and gaps in the numbers of one are refused,
    as something stood there, or more belongs to it.

    Raises `FormatError`, naming file and place, for what elman does not have, what is ambiguous or does not fit, and
    broken files; `MissingExtraError` where PyTorch is needed and not installed. Source:
    `torch/nn/modules/{rnn,linear,sparse,conv,pooling,normalization,batchnorm,activation}.py`.

    >>> import elman, numpy as np
    >>> from elman.interop.pytorch.networks import from_torch
    >>> rng = np.random.default_rng(0)
    >>> shapes = {"weight_ih_l0": (20, 3), "weight_hh_l0": (20, 5), "bias_ih_l0": 20, "bias_hh_l0": 20}
    >>> weights = {f"lstm.{name}": rng.standard_normal(shape) for name, shape in shapes.items()}
    >>> weights |= {"fc.weight": rng.standard_normal((2, 5)), "fc.bias": np.zeros(2)}
    >>> from_torch(weights)
    Network of 2 layers, 192 parameters, float64
      0  LSTM(input_size=3, hidden_size=5, bidirectional=False)    180
      1  Dense(input_size=5, output_size=2, activation='identity')  12
    >>> net = elman.Network([elman.LSTM(3, 5), elman.LastStep(), elman.Dense(5, 2)]).astype("float64")
    >>> from_torch(weights, like=net)(np.ones((4, 7, 3)))[0].shape
    (4, 2)
    """
    made = not isinstance(source, type)  # a class of modules has their methods
    if isinstance(source, (list, tuple)) or (made and like is None and hasattr(source, "named_children")):
        if like is not None or order is not None:
            raise TypeError("like and order must be left out with modules in a list. Got one of them.")
        _check_installed("from_torch of modules")
        from elman.interop.pytorch.translation import read

        layers = read(source)
        whole = layers[0] if len(layers) == 1 else None
        return whole if isinstance(whole, Network) else network_of(layers, "the module")
    if like is not None and not isinstance(like, Layer):
        raise TypeError(f"like must be a network or a layer. Got {checks.describe(like)}.")
    if isinstance(source, (str, os.PathLike, bytes)):
        place, weights = told(source), read_weights(source, getattr(like, "dtype", None) or np.float32)
    else:
        place, given = "the state_dict", source
        if made and not isinstance(source, Mapping) and hasattr(source, "state_dict"):
            given = source.state_dict()
        if not isinstance(given, Mapping):
            must = "source must be a module of PyTorch, a list of them, a state_dict or a path"
            raise TypeError(f"{must}. Got {checks.describe(source)}.")
        with named(place):
            weights = arrays_of(given)
    with named(place):
        return (
            network_of(layers_from(weights, order), "its modules")
            if like is None
            else network_like(like, weights, order)
        )


def to_torch(net: Layer | Fitted) -> TorchNetwork:
    """A module of PyTorch with the same numbers and gradients.

    Parameters
    ----------
    net
        An `elman.Network`, or a layer. Its weights are copied.

    Returns
    -------
    module
        An `nn.Sequential` with a child for each layer (those of nested networks in their place), called as `net` is:
        ``y, state = module(x, state=None, lengths=None)`` for x (batch, time, features) in the dtype of `net`, y 0
        after the end of each sequence, state a list with one entry per layer with states. The children of a graph
        bear the names of its nodes; its inputs and outputs are dicts where there are several. Recurrent layers are
        plain `nn.LSTM`, `nn.GRU` and `nn.RNN`, batch first, of one layer each; Dense is an `nn.Linear`, in an
        `nn.Sequential` with its activation where it has one; others are small modules of
        `elman.interop.pytorch.parts`. Of the two biases of PyTorch the first is elman's and the second 0, but for
        that inside the reset product. It stands in evaluation: ``module.train()`` makes dropout act.

    ``from_torch(to_torch(net))`` and ``from_torch(to_torch(net).state_dict(), like=net)`` have the same bits as
    `net`. A stacked `nn.LSTM` that `from_torch` read becomes one `nn.LSTM` per layer, so that the names in its
    state_dict differ from the first. What acts in training alone and PyTorch does not have, `recurrent_dropout`, is
    left out. A learned state stands beside the weights of its `nn.LSTM` as `h0`, `c0`; a call of that `nn.LSTM` by
    itself does not know of it.

    Raises `FormatError` for what PyTorch cannot hold: peepholes, coupled gates, clipping, other activations of gates,
    a reset gate before the product, layer normalization inside an LSTM, zoneout, cells of one's own;
    `MissingExtraError` where PyTorch is not installed. Source: `torch/nn/modules/rnn.py`.

    >>> import elman
    >>> from elman.interop.pytorch.networks import to_torch
    >>> to_torch(elman.Network([elman.GRU(2, 3), elman.Dropout(0.1), elman.Dense(3, 1)]))  # doctest: +SKIP
    TorchNetwork(
      (0): GRU(2, 3, batch_first=True)
      (1): Dropout(p=0.1, inplace=False)
      (2): Linear(in_features=3, out_features=1, bias=True)
    )
    """
    net = as_layer(net)
    nodes_of(net)
    _check_installed("to_torch")
    from elman.interop.pytorch.translation import write

    return write(net)


def _check_installed(what: str) -> None:
    if find_spec("torch") is None:
        raise checks.missing_extra(what, "torch")
