"""The walk through a graph: each value that the outputs need, after those that it is made of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from elman.checks import Array, FormatError
from elman.interop.onnx.reading.files import TYPES
from elman.interop.onnx.reading.graph import REASONS, SWITCH, Graph, Input, Node, place_of
from elman.interop.onnx.reading.known import COMPARES, COMPUTED, MOVES, run
from elman.interop.onnx.reading.operators import OPERATORS, moved
from elman.interop.onnx.reading.positions import Axis, Flow, ShortError, Signal, Unknown
from elman.interop.onnx.reading.sizes import Sizes

#: What NumPy and the reference implementation raise where the arrays of a graph do not fit together.
_UNFIT = (ValueError, IndexError, ArithmeticError, MemoryError, RuntimeError)

_KNOWN = {*OPERATORS, *COMPUTED, *MOVES}
_MOST = 2**24  # elements of an input, as it is read


class _AgainError(Exception):
    """Open lengths were changed: the graph is to be read again."""


def trace(graph: Graph, sizes: Sizes) -> Trace:
    """What flows to the outputs, with open lengths that fit together.

    Inputs that are called masks are read as any others first.
    """
    while True:
        graph.file.allowance.work = graph.file.allowance.limit
        graph.forget()
        try:
            return Trace(graph, sizes)
        except _AgainError:
            continue
        except FormatError:
            if not graph.has_masks():
                raise
        except ShortError as short:
            if not sizes.enlarge(short.node, short.steps, short.needed):
                must = f"of {short.steps} steps at most"
                raise short.node.refused("what it takes", must, f"{short.needed} steps or more") from None


class Trace:
    """The outputs of a graph, by name, and the node that makes each."""

    def __init__(self, graph: Graph, sizes: Sizes) -> None:
        self.graph, self.sizes, self.flow = graph, sizes, Flow()
        self.axes: dict[str, Axis] = {}
        self.values: dict[str, Any] = {"": None}
        self.nodes: dict[str, Node] = {}
        self.masks: dict[str, list[str]] = {}  #: of each mask, what its axes are
        self._readers = graph.readers()
        self._walk()
        self.outputs = {name: self.values[name] for name in graph.outputs}

    def _walk(self) -> None:
        graph, values = self.graph, self.values
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
                    self.nodes[name] = self.nodes.get(maker)  # type: ignore[assignment]
                else:
                    waiting.append((maker, reader))
            elif not hasattr(maker, "op_type"):
                values[name] = self._read(name, maker)
                self.flow.open = self.sizes.open()
            else:
                self._make(name, maker, begun, waiting)

    def _make(self, name: str, maker: Any, begun: dict[int, Any], waiting: list[tuple[str, str]]) -> None:
        """Runs the node that makes a value, or asks for what it needs first."""
        graph, values = self.graph, self.values
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
            graph.choose(maker, self._condition(node, values[maker.input[0]]))
            self._readers = graph.readers()
            return
        found = self._run(node, [values[each] for each in node.inputs])
        found = found if isinstance(found, tuple) else (found,)
        for each, value in zip(node.outputs, found, strict=False):
            if each:
                values[each], self.nodes[each] = value, node
        if name not in values:
            must = "one that can be read"
            raise graph.file.refused(f"the output {name!r} of {place}", must, "another output of its node")
        self._drop(maker)

    def _drop(self, maker: Any) -> None:
        """Forgets values that nothing reads any more."""
        for name in maker.input:
            self._readers[name] -= 1
            if name and self._readers[name] == 0 and isinstance(self.values.get(name), Signal):
                self.values[name] = self.graph  # what no node asks for

    def _read(self, name: str, maker: Any) -> Any:
        """A value that no node makes: a tensor, a constant in the place of an input, or an input."""
        if isinstance(maker, np.ndarray):
            return maker
        if hasattr(maker, "raw_data"):
            array = self.graph.makers[name] = self.graph.file.tensor(maker, f"the tensor {name!r}")
            return array
        info = self.graph.input(maker)
        kind = TYPES.get(info.type, ("",))[0]
        if self.graph.is_mask(info, kind):
            return self._mask(info, kind)
        if kind in ("", "bool"):
            raise self.graph.file.refused(f"the input {name!r}", "of floats or integers", f"type {info.type} of ONNX")
        is_whole = "int" in kind
        if is_whole and info.lengths in ((), (1,)):
            return Unknown((name,))
        if is_whole and len(info.lengths) == 1:
            return self._lengths(info).astype(kind)
        axes = tuple(self._axis(info, each) for each in info.lengths)
        if int(np.prod([axis.length for axis in axes], dtype=float)) > _MOST:
            got = " x ".join(str(axis.length) for axis in axes)
            raise self.graph.file.refused(f"the input {name!r}", f"of at most {_MOST:,} numbers", got)
        stage = self.flow.add(None, (), f"the input {name!r}", axes, name=name, tokens=is_whole)
        return Signal(self.flow, stage.ids())

    def _axis(self, info: Input, length: int | str) -> Axis:
        if isinstance(length, int):
            return Axis(length)
        if info.lengths.count(length) > 1:
            return Axis(self.sizes.length(length), name=length)
        return self.axes.setdefault(length, Axis(self.sizes.length(length), name=length))

    def _mask(self, info: Input, kind: str) -> Array:
        """Which steps are real: those before the end of each sequence."""
        batch, time = [length for length in info.lengths if length != 1]
        steps = time if isinstance(time, int) else self.sizes.length(time)
        n = self._lengths(replace(info, lengths=(batch,)), steps)
        self.masks[info.name] = ["one" if n == 1 else "batch" if n == batch else "time" for n in info.lengths]
        shape = [1 if length == 1 else len(n) if length == batch else steps for length in info.lengths]
        return (np.arange(steps) < n[:, None]).reshape(shape).astype(kind)

    def _lengths(self, info: Input, steps: int = 0) -> Array:
        """Lengths of sequences, such that they differ and the longest has all steps."""
        (batch,) = info.lengths
        for other in () if steps else self.graph.file.model.graph.input:
            if other.name not in self.graph.given and other.name != info.name:
                lead = self.graph.input(other).lengths[:2]
                found = [length for length in lead if length != batch]
                if len(lead) == 2 and found:
                    chosen = found[0] if len(found) == 1 else found[1]
                    steps = chosen if isinstance(chosen, int) else self.sizes.length(chosen)
                    break
        count = batch if isinstance(batch, int) else self.sizes.length(batch)
        shift = len(self.flow.lengths)
        steps = steps or 5
        n = np.array([steps - (0, steps - 1, 2, 1, steps // 2)[(i + shift) % 5] for i in range(count)])
        self.flow.lengths[info.name] = n = np.maximum(n, 1)
        return n

    def _condition(self, node: Node, value: Any) -> bool:
        names = self.graph.inputs_of(node.inputs[0])
        if isinstance(value, np.ndarray) and value.size == 1 and not names:
            return bool(value.item())
        known = f"one that follows from {' and '.join(map(repr, names))}" if names else "one that the run tells"
        raise node.refused("its condition", "known", known + SWITCH.format(repr(names[0]) if names else "'sr'"))

    def _run(self, node: Node, arguments: list[Any]) -> Any:
        is_known = all(value is None or isinstance(value, np.ndarray) for value in arguments)
        flows = any(isinstance(value, Signal) for value in arguments)
        handler: Any = OPERATORS.get(node.op)
        if is_known and node.op in COMPARES:
            self.sizes.compare(arguments)
        if (is_known and node.op in COMPUTED) or (node.op in MOVES and not flows and node.op not in OPERATORS):
            handler = run if is_known else None
        elif node.op in MOVES and node.op not in OPERATORS:
            handler = moved
        if handler is None or (is_known and handler is not run):
            kinds = ("the output of a layer", "known values alone")
            others = [value.place for value in arguments if hasattr(value, "names")]
            got = others[0] if others else kinds[is_known]
            raise node.refused("its inputs", kinds[not is_known], got + REASONS.get(node.op, ""))
        try:
            return handler(node, *arguments)
        except FormatError:
            if self.sizes.fit(node, arguments):
                raise _AgainError from None
            raise
        except _UNFIT as error:
            if self.sizes.fit(node, arguments):
                raise _AgainError from None
            raise node.refused("what it computes", "possible", f"an error: {error}") from error
