"""An ONNX graph while it is written: operators, constants, inputs and outputs.

What is added and turns out not to be needed (the steps of a layer of which only the last state is read) is left out
when the graph is finished. Operators are those of opset 17; see https://onnx.ai/onnx/operators.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from elman.checks import Array, FormatError, show

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Steps:
    """The steps of sequences: how many there are, and which of them are real."""

    source: str  #: a value (batch, time, ...) of them
    lengths: str = ""  #: (batch,), int32; "" where all steps are real
    key: str = ""  #: ends the names of what is made of them
    axis: int = 1  #: of time in `source`


@dataclass(frozen=True)
class Value:
    """What one layer hands to the next.

    `time_axis` is 1 where the batch comes first, 0 where time does, as the recurrent operators want it, 2 where
    features stand before time, as convolutions want it, and -1 for vectors, one per sequence, which have no `steps`.
    """

    name: str
    time_axis: int = -1
    steps: Steps = Steps("")
    states: tuple[str, ...] = ()  # (directions, batch, hidden): those of a recurrent layer after its last step
    last: str = ""  # the first of them, where it is what each direction computed last
    directions: int = 1

    @property
    def is_vector(self) -> bool:
        return self.time_axis < 0

    def at(self, name: str) -> Value:
        """Another value of the same form, computed from this one at each step."""
        return Value(name, self.time_axis, self.steps)


class Graph:
    """The graph; `scope` is the layer whose operators are being added, and begins their names."""

    def __init__(self, dtype: np.dtype[Any], states: bool, lengths: bool) -> None:
        from onnx import helper

        self._helper = helper
        self.dtype = dtype
        self.lengths = lengths  #: whether it is told how many steps are real
        self.states = states  #: whether the states of recurrent layers are inputs and outputs
        self.scope = ""
        self.begin: tuple[str, ...] = ()  #: the states from which the layer starts, where another one has them
        self.stateful = 0  #: how many layers with states there are so far
        self.together: list[tuple[str, str]] = []  #: keys of steps that must be the same
        self.nodes: list[onnx.NodeProto] = []  #: a name "" stands for an input or output that is left out
        self.constants: dict[str, Array] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._used: Counter[str] = Counter()
        self._shared: dict[str, str] = {}

    def enter(self, layer: str) -> None:
        """Begins a layer. The second of one kind in one place, as both directions of a layer have, is called so."""
        self._used[layer] += 1
        self.scope = layer if self._used[layer] == 1 else f"{layer}_{self._used[layer]}"

    # Adding to it.

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A new operator with one output, whose name is returned."""
        name = self._name(op)
        self.nodes.append(self._helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def add_many(self, op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """A new operator with several outputs, named by the caller."""
        self.nodes.append(self._helper.make_node(op, _without_end(inputs), outputs, self._name(op), **attributes))

    def port(self, name: str, shape: Sequence[int | str | None], doc: str, dtype: Any = None) -> onnx.ValueInfoProto:
        """An input or output; "batch" and "time" are sizes that may differ from call to call, None is not known."""
        kind = self._helper.np_dtype_to_tensor_dtype(self.dtype if dtype is None else np.dtype(dtype))
        return self._helper.make_tensor_value_info(name, kind, shape, doc)

    def squeeze(self, x: str, axis: int) -> str:
        """The value without an axis of length 1."""
        return self.add("Squeeze", x, self.integers(axis))

    def unsqueeze(self, x: str, axis: int) -> str:
        """The value with a new axis of length 1."""
        return self.add("Unsqueeze", x, self.integers(axis))

    def weight(self, name: str, array: Array) -> str:
        """A constant of the layer, in the dtype of the network."""
        name = f"{self.scope}.{name}"
        self.constants[name] = np.ascontiguousarray(array, self.dtype)
        return name

    def number(self, value: float) -> str:
        """A constant number in the dtype of the network."""
        return self._constant(f"number_{value:g}", np.array(value, self.dtype))

    def integers(self, *values: int) -> str:
        """A constant vector of whole numbers, such as axes."""
        return self._constant("_".join(["integers", *map(str, values)]), np.array(values, np.int64))

    def integer(self, value: int) -> str:
        """A constant whole number."""
        return self._constant(f"integer_{value}", np.array(value, np.int64))

    def shared(self, name: str, make: Callable[[], str]) -> str:
        """What `make` adds, once, whichever layer asks first."""
        if name not in self._shared:
            scope, self.scope = self.scope, name
            self._shared[name] = make()
            self.scope = scope
        return self._shared[name]

    def _constant(self, name: str, array: Array) -> str:
        self.constants[name] = array
        return name

    def _name(self, op: str) -> str:
        name = f"{self.scope}/{op}"
        self._used[name] += 1
        return name if self._used[name] == 1 else f"{name}_{self._used[name]}"

    # Finishing it.

    def rename(self, old: str, new: str) -> None:
        """Gives the output of an operator the name that the user sees."""
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [new if name == old else name for name in names]

    def prune(self) -> None:
        """Takes out what no output needs."""
        needed = {port.name for port in self.outputs}
        kept = []
        for node in reversed(self.nodes):
            outputs = [name if name in needed else "" for name in node.output]
            if any(outputs):
                node.output[:] = _without_end(outputs)
                kept.append(node)
                needed.update(node.input)
        self.nodes = kept[::-1]
        self.constants = {name: array for name, array in self.constants.items() if name in needed}


def _without_end(names: Sequence[str]) -> tuple[str, ...]:
    """The names without those at the end that are left out."""
    count = max(i for i, name in enumerate(names, 1) if name)
    return tuple(names[:count])


def attribute(name: str, value: float, dtype: np.dtype[Any]) -> float:
    """A number as an attribute, all of which are float32; refuses one of a float64 network that would be lost.

    A number such as 0.1 is kept: it is the shortest decimal of the nearest float32, as which it is read again.
    """
    fits = abs(value) <= float(np.finfo(np.float32).max)
    if fits and (dtype == np.float32 or value == float(str(np.float32(value)))):
        return float(value)
    raise FormatError(
        f"{name} must be a number that float32 can hold for ONNX, whose attributes are. Got {show(value)}."
    )
