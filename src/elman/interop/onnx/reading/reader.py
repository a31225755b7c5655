"""ONNX models as networks of this library: a walk through the graph, in which each operator is one function.

Each value of the graph is known, an array, or flows through the network, positions (`positions`). Operators on known
arrays are computed, and those that move elements are run on positions too, by the reference implementation of ONNX
(`known`); what a tensor is, is seen when a layer reads it (`views`). Lengths that the model leaves open are small
numbers here; the model is read again with others, and both must give the same network. `assembly` makes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from elman import checks
from elman.checks import Array
from elman.interop.onnx.reading.correspondence import Reading
from elman.interop.onnx.reading.files import TYPES, ModelFile, read_model
from elman.interop.onnx.reading.graph import Graph
from elman.interop.onnx.reading.lengths import check_lengths
from elman.interop.onnx.reading.trace import Sizes, trace
from elman.network import Network

if TYPE_CHECKING:
    import os

    from onnx import ModelProto


def from_onnx(
    source: str | os.PathLike[str] | bytes | ModelProto,
    weights: Mapping[str, Any] | None = None,
    *,
    given: Mapping[str, Any] | None = None,
) -> Network:
    """The network of an ONNX model: a list of layers where they stand in a row, or else a graph of them.

    Parameters
    ----------
    source
        A path, the content of a file, or an `onnx.ModelProto`. Data outside the file is read from the folder of the
        model alone.
    weights
        Name -> array, for inputs of the graph that are weights.
    given
        Name -> value, for inputs that choose what the model does, as in ``given={"sr": 16000}``: of an operator If, the
        branch that follows is read, and nothing else of it.

    Returns
    -------
    net
        An `elman.Network`, float64 where the weights are, else float32 (float16 is converted, exactly). Its inputs are
        batch first, (batch, time, features), whatever order the model has. ``net(x)`` gives the outputs, batch first,
        and the states of the recurrent layers in order, whether the model has them as outputs or not. Initial states
        that are inputs of the model are the argument `state`, those that are constant are learned states, and an input
        with the lengths of sequences is the argument `lengths`, which all layers that read a sequence to its end must
        heed, or none where it is `given`; what a model gives after the end of a sequence is 0 here. Where the outputs
        are states alone, such as ``Y_h``, y is that of the last layer.

    Inputs and outputs of a graph have the names of the model. Nodes hold no dot, do not end in ``_reverse`` and have
    names of their own: an output "a.b" is "a_b" here, "y_reverse" is "y_reverse_", and "x" beside an input "x" "x_2".

    Operators of ONNX from version 7 on: RNN, LSTM and GRU with all their attributes; matrix products, convolutions and
    pools over time, normalization, embeddings, activations, dropout; sums, products and features side by side; whatever
    moves axes, takes a last step, a direction or features, or computes with shapes.

    Raises `FormatError`, naming file, node and operator, for what is damaged, claims more than it holds, reaches out
    of its folder, or is no network of layers; `FileNotFoundError`, and `MissingExtraError` where `onnx` is not
    installed. Nothing of a model is executed.

    Source: the operators of ONNX, https://onnx.ai/onnx/operators.

    >>> import numpy as np, onnx
    >>> from elman.interop.onnx.reading.reader import from_onnx
    >>> node = onnx.helper.make_node("GRU", ["x", "W", "R"], ["y", "h"], linear_before_reset=1, hidden_size=5)
    >>> x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ("time", "batch", 3))
    >>> weights = {"W": np.ones((1, 15, 3), np.float32), "R": np.ones((1, 15, 5), np.float32)}
    >>> inputs = [x, *(onnx.helper.make_tensor_value_info(name, 1, w.shape) for name, w in weights.items())]
    >>> y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    >>> model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", inputs, [y]))
    >>> from_onnx(model, weights)
    Network of 1 layers, 140 parameters, float32
      0  GRU(input_size=3, hidden_size=5, reset_after=True, bidirectional=False) 140
    """
    return read_onnx(source, weights, given=given).network


def read_onnx(
    source: str | os.PathLike[str] | bytes | ModelProto,
    weights: Mapping[str, Any] | None = None,
    *,
    given: Mapping[str, Any] | None = None,
) -> Reading:
    """The network of a model as `from_onnx` gives it, and how its arrays correspond to those of the model."""
    file = read_model(source)
    weights = checks.mapping("weights", {} if weights is None else weights, "of names of inputs to arrays")
    constants = {name: checks.real_array(f"weights[{checks.show(name)}]", value) for name, value in weights.items()}
    constants |= _given(file, checks.mapping("given", {} if given is None else given, "of names of inputs to values"))
    unknown = sorted(set(constants) - {info.name for info in file.model.graph.input})
    if unknown:
        place = "weights" if set(unknown) <= set(weights) else "given"
        raise file.refused(place, "named like inputs of the graph", ", ".join(unknown))
    graph = Graph(file, constants)
    sizes = Sizes(file)
    reading = trace(graph, sizes, partial(Reading, file))
    if sizes.grow(reading.flow):
        again = trace(graph, sizes, partial(Reading, file))
        check_lengths(graph, sizes, again.flow)
        reading.assembly.check_same(again.assembly)
    reading.finish()
    return reading


def _given(file: ModelFile, given: Mapping[str, Any]) -> dict[str, Array]:
    """Values of inputs in the types that the model has for them."""
    types = {info.name: TYPES.get(info.type.tensor_type.elem_type, "") for info in file.model.graph.input}
    found = {}
    for name, value in given.items():
        array = np.asarray(value)
        if array.dtype.kind not in "biuf" or array.size > 2**16:
            raise file.refused(f"given[{checks.show(name)}]", "a number or a few", checks.describe(value))
        found[name] = array.astype(types.get(name) or array.dtype)
    return found
