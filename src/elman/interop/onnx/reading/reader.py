"""ONNX models as networks of this library: a walk through the graph, in which each operator is one function.

Each tensor of the graph becomes one of a few values (see `elman.interop.onnx.reading.signals`): a known array, or what
flows through the network, with its axes and the layers before it. Operators on known arrays are computed (`folding`),
those on the flow move its axes (`axes`) or are layers (`operators`, `recurrence`, `branches`, `windows`); `assembly`
makes the network of them.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from elman import checks
from elman.checks import Array, FormatError
from elman.interop.onnx.reading.assembly import Assembly
from elman.interop.onnx.reading.correspondence import Reading
from elman.interop.onnx.reading.files import TYPES, ModelFile, read_model
from elman.interop.onnx.reading.folding import FOLDS
from elman.interop.onnx.reading.graph import REASONS, SWITCH, Graph, Node, place_of
from elman.interop.onnx.reading.operators import OPERATORS
from elman.interop.onnx.reading.padding import PADDING_OPERATORS
from elman.interop.onnx.reading.signals import (
    LAST_STEPS,
    LOST,
    SPREAD,
    WITH_ZEROS,
    Constant,
    Lengths,
    MaskedSum,
    Question,
    Signal,
    StackedStates,
    Steps,
    ValidSteps,
    Value,
)
from elman.interop.onnx.reading.sizes import Size
from elman.interop.onnx.reading.stages import Axis, RecurrentPart, Stage
from elman.interop.onnx.reading.windows import WINDOWS
from elman.network import Network

if TYPE_CHECKING:
    import os

    from onnx import ModelProto

#: What NumPy raises where the arrays of a graph do not fit together.
_UNFIT = (ValueError, IndexError, ArithmeticError, MemoryError)

#: The operators that are read.
_ON_SIGNALS: ChainMap[str, Any] = ChainMap(OPERATORS, WINDOWS)
_KNOWN = {**_ON_SIGNALS, **FOLDS, **PADDING_OPERATORS}


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
        with the lengths of sequences is the argument `lengths`; what a model gives after the end of a sequence is 0
        here. Where the outputs are states alone, such as ``Y_h``, y is that of the last layer.

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
    values = _values(graph)
    outputs = {name: _output(file, name, values[name]) for name in graph.outputs}
    ends = _ends(file, outputs)
    every = [signal for value in outputs.values() for signal in value.signals]
    last = {signal.stage.place for signal in every if signal.stage.state in ("h", "c")}
    assembly = Assembly(file, ends, last)
    places = {stage.place for stage in assembly.stages if isinstance(stage.part, RecurrentPart)}
    apart = [
        (name, value.stage) for name, value in outputs.items() if isinstance(value, Signal) and value.stage.state == "h"
    ]
    apart = [(name, stage) for name, stage in apart if stage.place not in places and (name, stage) not in ends]
    if apart:  # last states of layers that nothing else reads
        assembly = Assembly(file, [*ends, *apart], last)
    network = assembly.network()
    _check_states(file, outputs, assembly)
    return Reading(network, assembly, outputs)


def _given(file: ModelFile, given: Mapping[str, Any]) -> dict[str, Array]:
    """Values of inputs in the types that the model has for them."""
    types = {info.name: TYPES.get(info.type.tensor_type.elem_type, ("",))[0] for info in file.model.graph.input}
    found = {}
    for name, value in given.items():
        array = np.asarray(value)
        if array.dtype.kind not in "biuf" or array.size > 2**16:
            raise file.refused(f"given[{checks.show(name)}]", "a number or a few", checks.describe(value))
        found[name] = array.astype(types.get(name) or array.dtype)
    return found


# The walk.


def _values(graph: Graph) -> dict[str, Any]:
    """Every value that the outputs need by its name, each found after those that it is made of."""
    values: dict[str, Any] = {"": None}
    begun: dict[int, Any] = {}  # nodes that wait for their inputs
    waiting = [(name, "the outputs") for name in reversed(graph.outputs)]
    while waiting:
        name, reader = waiting[-1]
        if name in values:
            waiting.pop()
            continue
        maker = graph.makers.get(name)
        if maker is None:
            must = "made by a node, or be an input or a tensor"
            raise graph.file.refused(f"the value {name!r}, which is read by {reader},", must, "none of that name")
        if isinstance(maker, str):  # what a branch gives
            if maker in values:
                values[name] = values[maker]
            else:
                waiting.append((maker, reader))
        elif not hasattr(maker, "op_type"):
            values[name] = _read(graph, name, maker)
        else:
            _make(graph, name, maker, values, begun, waiting)
    return values


def _make(
    graph: Graph, name: str, maker: Any, values: dict[str, Any], begun: dict[int, Any], waiting: list[tuple[str, str]]
) -> None:
    """Runs the node that makes a value, or asks for what it needs first."""
    needed = [each for each in maker.input if each not in values]
    place = place_of(maker)
    if needed:
        if id(maker) in begun:
            circle = " -> ".join(place_of(proto) for proto in [*begun.values()][-4:])
            raise graph.file.refused("the graph", "without circles", circle)
        begun[id(maker)] = maker
        waiting += [(each, place) for each in reversed(needed)]
        return
    begun.pop(id(maker), None)
    node = graph.node(maker, _KNOWN)
    if node.op == "If":
        graph.choose(maker, _condition(node, values[maker.input[0]]))
        return
    found = _run(node, [values[each] for each in node.inputs])
    found = found if isinstance(found, tuple) else (found,)
    for each, value in zip(node.outputs, found, strict=False):
        if isinstance(value, Signal) and graph.readers[each] > 1:
            value = replace(value, shared=True)
        values[each or "_"] = value
    if name not in values:
        must = "one that can be read"
        raise graph.file.refused(f"the output {name!r} of {place}", must, "another output of its node")


def _read(graph: Graph, name: str, maker: Any) -> Any:
    """A value that no node makes: a tensor, a constant in the place of an input, or an input."""
    if isinstance(maker, np.ndarray):
        return Constant(maker)
    if hasattr(maker, "raw_data"):
        return Constant(graph.file.tensor(maker, f"the tensor {name!r}"))
    info = graph.input(maker)
    kind = TYPES.get(info.type, ("",))[0]
    if kind in ("", "bool"):
        raise graph.file.refused(f"the input {name!r}", "of floats or integers", f"type {info.type} of ONNX")
    is_whole = "int" in kind
    if is_whole and len(info.lengths) == 1:
        return Lengths(name)
    axes = tuple(Axis(length) for length in info.lengths)
    for axis in axes:  # lengths of one name are of one kind, in whichever input
        if isinstance(axis.length, Size) and info.lengths.count(axis.length) == 1:
            graph.kinds.setdefault(axis.length, axis).unite(axis)
    stage = Stage(None, None, f"the input {name!r}", axes, "tokens" if is_whole else "", name)
    return Signal(stage, tuple((axis,) for axis in axes))


def _condition(node: Node, value: Any) -> bool:
    if isinstance(value, Constant) and value.array.size == 1:
        return bool(value.array.item())
    inputs = value.names if isinstance(value, Question) else ()
    known = f"one that follows from {' and '.join(map(repr, inputs))}" if inputs else "one that the run tells"
    raise node.refused("its condition", "known", known + SWITCH.format(repr(inputs[0]) if inputs else "'sr'"))


def _run(node: Node, arguments: list[Any]) -> Value | tuple[Value, ...]:
    is_known = all(isinstance(value, Constant) for value in arguments if value is not None)
    is_padding = any(isinstance(value, (ValidSteps, Steps, MaskedSum)) for value in arguments)
    handler: Any = (FOLDS if is_known else PADDING_OPERATORS if is_padding else _ON_SIGNALS).get(node.op)
    if handler is None:
        kinds = ("the output of a layer", "known values alone")
        raise node.refused("its inputs", kinds[not is_known], kinds[is_known] + REASONS.get(node.op, ""))
    try:
        return handler(node, *arguments)
    except FormatError:
        raise
    except _UNFIT as error:
        raise node.refused("what it computes", "possible", f"an error: {error}") from error


# The network.


def _output(file: ModelFile, name: str, value: Any) -> Signal | StackedStates:
    if not isinstance(value, (Signal, StackedStates)):
        raise file.refused(f"the output {name!r}", "one of a layer", "a value that no layer makes")
    signals = value.signals
    roles = {axis.role for signal in signals for group in signal.axes for axis in group}
    if SPREAD in roles:
        raise file.refused(f"the output {name!r}", "of sequences, or of one vector for each", "a vector at each step")
    if roles & {LAST_STEPS, WITH_ZEROS, LOST}:
        raise file.refused(f"the output {name!r}", "of all steps, or of some side by side", "one of some steps")
    return value


def _is_state(value: Signal | StackedStates) -> bool:
    return isinstance(value, StackedStates) or value.stage.state in ("h", "c")


def _ends(file: ModelFile, outputs: Mapping[str, Signal | StackedStates]) -> list[tuple[str, Stage]]:
    """The outputs that are no states, or else the last h."""
    found = [
        (name, value.stage) for name, value in outputs.items() if isinstance(value, Signal) and not _is_state(value)
    ]
    if found:
        return found
    states = [(name, signal.stage) for name, value in outputs.items() for signal in value.signals]
    last = [(name, stage) for name, stage in states if stage.state == "h"]
    if not last:
        raise file.refused("an output of the graph", "that of a layer", "cell states alone" if states else "none")
    return [max(last, key=lambda pair: pair[1].depth)]


def _check_states(file: ModelFile, outputs: Mapping[str, Signal | StackedStates], assembly: Assembly) -> None:
    """Refuses states that go in or out of the network elsewhere than elman has them."""
    recurrent = [(place, part) for place, part in assembly.recurrent if part is not None]
    directions = {place: part.directions for place, part in recurrent}
    for name, value in outputs.items():
        for signal in value.signals:
            if _is_state(signal) and directions.get(signal.stage.place) != len(signal.stage.features):
                must = "a state of a layer of the network, of all its directions"
                raise file.refused(f"the output {name!r}", must, f"one of {signal.stage.place}")
    seen: set[tuple[str, int]] = set()
    for place, part in recurrent:
        for given in part.given.values():
            rows = {(given.name, given.start + i) for i in range(given.directions)}
            if given.directions != part.directions or rows & seen or given.name in {r.name for r in assembly.roots}:
                must = f"for all directions of {place}, and for it alone"
                raise file.refused(f"the initial state {given.name!r}", must, "other rows of it")
            seen |= rows
