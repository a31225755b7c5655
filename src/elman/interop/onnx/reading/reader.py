"""ONNX models as networks of this library: a walk through the graph that finds layers in a row.

Each tensor of the graph becomes one of a few values (see `elman.interop.onnx.reading.signals`): a known array, or what
flows through the network, with its axes and the layers before it. Operators on known arrays are computed (`folding`),
those on the flow move its axes (`axes`) or are layers (`operators`, `recurrence`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from elman import checks
from elman.checks import FormatError
from elman.interop.chain import network_of
from elman.interop.onnx.reading.axes import LAST_STEPS, WITH_ZEROS
from elman.interop.onnx.reading.correspondence import Reading
from elman.interop.onnx.reading.files import TYPES, ModelFile, read_model
from elman.interop.onnx.reading.folding import FOLDS
from elman.interop.onnx.reading.graph import Graph, Node
from elman.interop.onnx.reading.operators import OPERATORS
from elman.interop.onnx.reading.padding import PADDING_OPERATORS
from elman.interop.onnx.reading.signals import Constant, Lengths, Pile, Real, Signal, Steps, Total, Value
from elman.interop.onnx.reading.stages import CELL_STATE, HALF, PADDING, Axis, Part, RecurrentPart, Stage
from elman.network import Network

if TYPE_CHECKING:
    import os

    from onnx import ModelProto

#: What NumPy raises where the arrays of a graph do not fit together.
_UNFIT = (ValueError, IndexError, ArithmeticError, MemoryError)

#: Layers that read a sequence to its end, and so must all know where it is.
_TO_THE_END = (PADDING, "LastStep", "LastSteps", "MaxOverTime", "MeanOverTime", "Reverse", "gru", "lstm", "rnn")


def from_onnx(source: str | os.PathLike[str] | ModelProto, weights: Mapping[str, Any] | None = None) -> Network:
    """The network of an ONNX model: recurrent operators with the operators that stand around them in exported graphs.

    Parameters
    ----------
    source
        A path, or an `onnx.ModelProto`. Data outside the file is read from the folder of the model alone.
    weights
        Name -> array, for inputs of the graph that are weights.

    Returns
    -------
    net
        An `elman.Network`, float64 where the weights are, else float32 (float16 is converted, exactly). Its input is
        that of the graph, batch first: (batch, time, features), whatever order the model has. ``net(x)`` gives the
        last output of the chain, batch first, and the states of the recurrent layers in order, whether the model has
        them as outputs or not. Initial states that are inputs of the model are the argument `state`, those that are
        constant are learned states, and an input with the lengths of sequences is the argument `lengths`; what a
        model gives behind the end of a sequence is 0 here. Where the outputs are states alone, such as ``Y_h``, y is
        that of the last layer.

    Operators of ONNX from version 7 on: RNN, LSTM and GRU with all their attributes; matrix products, normalization,
    embeddings, activations, dropout; whatever moves axes, takes a last step or a direction, or computes with shapes.

    Raises `FormatError`, naming file, node and operator, for what is damaged, claims more than it holds, reaches out
    of its folder, or is no row of layers; `FileNotFoundError`, and `MissingExtraError` where `onnx` is not installed.
    Nothing of a model is executed.

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
    return read_onnx(source, weights).network


def read_onnx(source: str | os.PathLike[str] | ModelProto, weights: Mapping[str, Any] | None = None) -> Reading:
    """The network of a model as `from_onnx` gives it, and how its arrays correspond to those of the model."""
    file = read_model(source)
    weights = checks.mapping("weights", {} if weights is None else weights, "of names of inputs to arrays")
    given = {name: checks.real_array(f"weights[{checks.show(name)}]", value) for name, value in weights.items()}
    unknown = sorted(set(given) - {info.name for info in file.model.graph.input})
    if unknown:
        raise file.refused("weights", "named like inputs of the graph", ", ".join(unknown))
    graph = Graph.read(file, given, {**OPERATORS, **FOLDS, **PADDING_OPERATORS})
    values = _values(graph)
    outputs = {name: _output(file, name, values[name]) for name in graph.outputs}
    chain = _chain(file, outputs)
    stages = chain.stage.chain()
    _check_states(file, outputs, stages)
    network = network_of(_layers(file, stages), file.name)
    return Reading(network, chain, outputs, stages)


# The walk.


def _values(graph: Graph) -> dict[str, Any]:
    """Every tensor of the graph by its name."""
    values: dict[str, Any] = {"": None}
    values |= {name: Constant(array) for name, array in graph.constants.items()}
    for info in graph.inputs.values():
        kind = TYPES.get(info.type, ("",))[0]
        if kind in ("", "bool"):
            raise graph.file.refused(f"the input {info.name!r}", "of floats or integers", f"type {info.type} of ONNX")
        is_whole = "int" in kind
        if is_whole and len(info.lengths) == 1:
            values[info.name] = Lengths(info.name)
            continue
        axes = tuple(Axis(length) for length in info.lengths)
        stage = Stage(None, None, f"the input {info.name!r}", axes, "tokens" if is_whole else "", info.name)
        values[info.name] = Signal(stage, tuple((axis,) for axis in axes))
    for node in graph.nodes:
        found = _run(node, values)
        found = found if isinstance(found, tuple) else (found,)
        values |= {name: value for name, value in zip(node.outputs, found, strict=False) if name}
    for name in graph.outputs:
        if name not in values:
            raise graph.file.refused(f"the output {name!r}", "one that can be read", "another output of its node")
    return values


def _run(node: Node, values: Mapping[str, Any]) -> Value | tuple[Value, ...]:
    for name in node.inputs:
        if name not in values:
            raise node.refused(f"the input {name!r}", "an output that can be read", "another output of its node")
    arguments = [values[name] for name in node.inputs]
    is_known = all(isinstance(value, Constant) for value in arguments if value is not None)
    is_padding = any(isinstance(value, (Real, Steps, Total)) for value in arguments)
    handler = (FOLDS if is_known else PADDING_OPERATORS if is_padding else OPERATORS).get(node.op)
    if handler is None:
        kinds = ("the output of a layer", "known values alone")
        raise node.refused("its inputs", kinds[not is_known], kinds[is_known])
    try:
        return handler(node, *arguments)
    except FormatError:
        raise
    except _UNFIT as error:
        raise node.refused("what it computes", "possible", f"an error: {error}") from error


# The row of layers.


def _output(file: ModelFile, name: str, value: Any) -> Signal | Pile:
    if not isinstance(value, (Signal, Pile)):
        raise file.refused(f"the output {name!r}", "one of a layer", "a value that no layer makes")
    signals = value.signals if isinstance(value, Pile) else (value,)
    if any(axis.role in (LAST_STEPS, WITH_ZEROS) for signal in signals for group in signal.axes for axis in group):
        raise file.refused(f"the output {name!r}", "of all steps, or of some side by side", "one of some steps")
    return value


def _is_state(value: Signal | Pile) -> bool:
    return isinstance(value, Pile) or value.stage.state in ("h", "c")


def _chain(file: ModelFile, outputs: Mapping[str, Signal | Pile]) -> Signal:
    """The last value of the chain: an output that is no state, or else the last h."""
    found = {name: value for name, value in outputs.items() if isinstance(value, Signal) and not _is_state(value)}
    if not found:
        signals = [s for value in outputs.values() for s in (value.signals if isinstance(value, Pile) else (value,))]
        states = [signal for signal in signals if signal.stage.state == "h"]
        if not states:
            raise file.refused("an output of the graph", "that of a layer", "cell states alone" if signals else "none")
        return max(states, key=lambda signal: len(signal.stage.chain()))
    (name, first), *others = found.items()
    for other, signal in others:
        if signal.stage is not first.stage:
            must = "the end of one row of layers, or a state"
            raise file.refused("each output of the graph", must, f"{name!r} and {other!r}, which end apart")
    return first


def _check_states(file: ModelFile, outputs: Mapping[str, Signal | Pile], stages: list[Stage]) -> None:
    """Refuses states that go in or out of the network elsewhere than elman has them."""
    recurrent = [stage for stage in stages if isinstance(stage.part, RecurrentPart)]
    directions = {stage.place: stage.part.directions for stage in recurrent if isinstance(stage.part, RecurrentPart)}
    for name, value in outputs.items():
        for signal in value.signals if isinstance(value, Pile) else (value,):
            if _is_state(signal) and directions.get(signal.stage.place) != len(signal.stage.features):
                must = "a state of a layer of the network, of all its directions"
                raise file.refused(f"the output {name!r}", must, f"one of {signal.stage.place}")
    seen: dict[tuple[str, str], int] = {}
    for stage in recurrent:
        assert isinstance(stage.part, RecurrentPart)
        for state, given in stage.part.given.items():
            row = seen.get((given.name, state), -1)
            if given.directions != stage.part.directions or given.start <= row or given.name == stages[0].name:
                must = f"for all directions of {stage.place}, and in the order of the layers"
                raise file.refused(f"the initial state {given.name!r}", must, "other rows of it")
            seen[given.name, state] = given.start


def _layers(file: ModelFile, stages: list[Stage]) -> list[Any]:
    """The layers, built."""
    parts = [(stage.place, stage.part) for stage in stages if stage.part is not None]
    if not parts:
        raise file.refused("the graph", "a network of at least one layer", "none")
    _check_lengths(file, parts)
    kinds = {str(array.dtype) for _, part in parts for array in part.arrays.values()}
    if len(kinds) > 1:
        raise file.refused("the weights", "all float32, or all float64", " and ".join(sorted(kinds)))
    dtype = np.dtype(kinds.pop() if kinds else np.float32)
    layers = []
    for (place, part), behind in zip(parts, [*(part for _, part in parts[1:]), None], strict=True):
        if part.kind == PADDING:
            _check_padding(file, place, part, behind)
            continue
        if part.kind == CELL_STATE:
            must = "an output of the graph, read by no layer"
            raise file.refused(f"the cell state of {place}", must, "a layer that reads it")
        if part.kind == HALF:
            raise file.refused(f"half of the features of {place}", "joined with the other half", "it by itself")
        file.allowance.take(part.size * dtype.itemsize, f"the weights of {place}")
        try:
            with np.errstate(all="ignore"):  # weights may be anything, infinite too
                layers.append(part.build(dtype))
        except ValueError as error:
            raise FormatError(f"{file.name}: {place} cannot be a layer. {error}") from error
    return layers


def _check_padding(file: ModelFile, place: str, part: Part, behind: Part | None) -> None:
    """Refuses a number in the padding that is not 0, as it is here, but where only the largest step is read."""
    if part.config["fill"] and (behind is None or behind.kind != "MaxOverTime"):
        raise file.refused(f"the number in the padding of {place}", "0", f"{part.config['fill']}")


def _check_lengths(file: ModelFile, parts: list[tuple[str, Part]]) -> None:
    """Refuses a network of which some layers end with each sequence and others with the padding."""
    readers = {part.lengths: place for place, part in parts if part.kind in _TO_THE_END}
    if len(readers) > 1:
        words = [f"{place}: {repr(name) if name else 'all steps'}" for name, place in readers.items()]
        raise file.refused(
            "the lengths of sequences", "the same for all layers that read to their end", "; ".join(words)
        )
