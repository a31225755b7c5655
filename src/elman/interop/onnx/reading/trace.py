"""The walk through a graph: each value that the outputs need, after those that it is made of; and lengths left open."""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from elman.checks import Array, FormatError
from elman.interop.onnx.reading.files import TYPES, ModelFile
from elman.interop.onnx.reading.graph import REASONS, SWITCH, Graph, Node, place_of
from elman.interop.onnx.reading.known import COMPARES, COMPUTED, MOVES, run
from elman.interop.onnx.reading.normalization import STEPS, Statistic, statistic
from elman.interop.onnx.reading.operators import OPERATORS, moved
from elman.interop.onnx.reading.positions import Axis, Flow, ShortError, Signal, Unknown

#: What NumPy and the reference implementation raise where the arrays of a graph do not fit together.
UNFIT = (ValueError, IndexError, ArithmeticError, MemoryError, RuntimeError)

T = TypeVar("T")

_KNOWN = {*OPERATORS, *COMPUTED, *MOVES}
_MOST = 2**22  # elements of an input, as it is read
_FAR = 2**20  # numbers from here on are compared with no length
_LONGEST = 2**14  # that an open length is made, where windows ask for more

#: The axes of what operators read, by letters: those of one letter are of one length. Of fewer axes, the last count,
#: and of more the first. Operators that are not here have them by number.
_AXES = {
    "BatchNormalization": "bf f",
    "Conv": "bf of",
    "Gemm": "bi io",
    "LayerNormalization": "bcdefghi i",
    "MatMul": "abni abio",
    **dict.fromkeys(("GRU", "LSTM", "RNN"), "tbi dgi dgh dg b dbh dbh"),
    **dict.fromkeys(("Expand", "Gather", "GatherElements", "GatherND", "Pad", "Reshape", "ReverseSequence"), ""),
    **dict.fromkeys(("Slice", "Split", "Tile"), ""),
}


class _AgainError(Exception):
    """Open lengths were changed: the graph is to be read again."""


def trace(graph: Graph, sizes: Sizes, made: Callable[[Trace], T]) -> T:
    """What is made of what flows to the outputs, with open lengths that fit together.

    Inputs that are called masks are read as any others first.
    """
    while True:
        graph.file.work = 0
        graph.forget()
        try:
            return made(Trace(graph, sizes))
        except _AgainError:
            continue
        except FormatError:
            if graph.reads_masks or not any("mask" in str(info.name).lower() for info in graph.file.model.graph.input):
                raise
            graph.reads_masks = True
        except ShortError as short:
            if not sizes.enlarge(short.steps, short.needed):
                must = f"of {short.steps} steps at most"
                raise short.node.refused("what it takes", must, f"{short.needed} steps or more") from None


class Trace:
    """The outputs of a graph, by name, and the node that makes each."""

    def __init__(self, graph: Graph, sizes: Sizes) -> None:
        self.graph, self.sizes, self.flow = graph, sizes, Flow()
        self.axes: dict[str, Axis] = {}
        self.values: dict[str, Any] = {"": None, **graph.known}
        self.nodes = {  # where no node makes an output, what errors name
            name: Node("Identity", f"the output {name!r}", (), (name,), {}, graph.opset, graph.file)
            for name in graph.outputs
        }
        self.masks: dict[str, list[str]] = {}  #: of each mask, what its axes are
        self._readers = graph.readers.copy()
        self._walk()
        seen = self.values.keys() | {stage.name for stage in self.flow.stages}
        for name, maker in graph.makers.items():  # lengths and masks that no output needs are arguments all the same
            if hasattr(maker, "type") and name not in seen:
                with contextlib.suppress(FormatError):
                    self._read(name, maker, True)
        self.outputs = {name: self.values[name] for name in graph.outputs}

    def _walk(self) -> None:
        graph, values = self.graph, self.values
        begun: dict[int, str] = {}  # the places of nodes that wait for their inputs
        waiting = [(name, "the outputs") for name in reversed(graph.outputs)]
        while waiting:
            name, reader = waiting[-1]
            maker = graph.makers.get(name)
            if name in values:
                waiting.pop()
            elif maker is None:
                must = "made by a node, or be an input or a tensor"
                raise graph.file.refused(f"the value {name!r}, which is read by {reader},", must, "none of that name")
            elif not hasattr(maker, "op_type"):
                values[name] = self._read(name, maker, graph.reads_masks)
                self.flow.open = self.sizes.open()
            else:
                needed = [(each, place_of(maker)) for each in reversed(maker.input) if each not in values]
                if not needed:
                    begun.pop(id(maker), None)
                    self._make(name, graph.node(maker, _KNOWN))
                elif id(maker) in begun:
                    raise graph.file.refused("the graph", "without circles", " -> ".join([*begun.values()][-4:]))
                else:
                    begun[id(maker)] = place_of(maker)
                    waiting += needed

    def _make(self, name: str, node: Node) -> None:
        """Runs the node that makes a value, and forgets what no other reads any more."""
        values = self.values
        arguments = [values[each] for each in node.inputs]
        if node.op == "If":
            self.graph.choose(node, self._condition(node, *arguments))
            return
        found = self._run(node, arguments)
        for each, value in zip(node.outputs, found if isinstance(found, tuple) else (found,), strict=False):
            if each:
                values[each], self.nodes[each] = value, node
        if name not in values:
            raise node.refused(f"the output {name!r}", "one that can be read", "another output of its node")
        for each in node.inputs:
            self._readers[each] -= 1
            if not self._readers[each] and isinstance(values.get(each), Signal):
                del values[each]

    def _read(self, name: str, maker: Any, masks: bool) -> Any:
        """A value that no node makes: a tensor, or an input. With `masks`, those that are called so are masks."""
        graph, sizes = self.graph, self.sizes
        if hasattr(maker, "raw_data"):
            graph.known[name] = graph.file.tensor(maker, f"the tensor {name!r}")
            return graph.known[name]
        lengths, number = graph.lengths(maker), maker.type.tensor_type.elem_type
        kind = TYPES.get(number, "")
        lead = [length for length in lengths if length != 1]
        if len(lead) == 2 and (kind == "bool" or (masks and kind and "mask" in str(name).lower())):
            batch, time = lead
            n = self._lengths(name, batch, sizes.length(time))
            self.masks[name] = ["one" if n == 1 else "batch" if n == batch else "time" for n in lengths]
            shape = [1 if length == 1 else sizes.length(length) for length in lengths]
            return (np.arange(sizes.length(time)) < n[:, None]).reshape(shape).astype(kind)
        if kind in ("", "bool"):
            raise graph.file.refused(f"the input {name!r}", "of floats or integers", f"type {number} of ONNX")
        is_whole = "int" in kind
        if is_whole and lengths in ((), (1,)):
            return Unknown((name,))
        if is_whole and len(lengths) == 1:
            return self._lengths(name, *lengths).astype(kind)
        axes = [Axis(sizes.length(length), name=length if isinstance(length, str) else "") for length in lengths]
        for i, axis in enumerate(axes):  # those of a name are one, unless an input has two
            if axis.name and lengths.count(axis.name) == 1:
                axes[i] = self.axes.setdefault(axis.name, axis)
        return self._flowing(name, axes, kind)

    def _flowing(self, name: str, axes: list[Axis], kind: str) -> Signal:
        """What flows from an input of the network."""
        self._check_size(name, [axis.length for axis in axes])
        stage = self.flow.add(None, (), f"the input {name!r}", axes, name=name, tokens="int" in kind)
        return Signal(self.flow, stage.ids())

    def _check_size(self, name: str, lengths: list[int]) -> None:
        if math.prod(lengths) > _MOST:
            got = " x ".join(map(str, lengths))
            raise self.graph.file.refused(f"the input {name!r}", f"of at most {_MOST:,} numbers", got)

    def _lengths(self, name: str, batch: int | str, steps: int = 0) -> Array:
        """Lengths of sequences, such that they differ; the longest has all steps only when read first."""
        if not steps:  # those of another input
            inputs = [info for info in self.graph.file.model.graph.input if info.name not in (name, *self.graph.given)]
            leads = [lengths[:2][::-1] for lengths in map(self.graph.lengths, inputs) if len(lengths) > 1]
            same = (batch, self.sizes.length(batch))
            steps = self.sizes.length(next((each for lead in leads for each in lead if each not in same), 5))
        self._check_size(name, [self.sizes.length(batch), steps])
        fewer, shift = self._fewer(steps), len(self.flow.lengths)
        n = np.array([max(steps - fewer[(i + shift) % len(fewer)], 1) for i in range(self.sizes.length(batch))])
        self.flow.lengths[name] = n
        return n

    def _fewer(self, steps: int) -> tuple[int, ...]:
        """How much shorter than the longest sequences are, again and again."""
        return int(self.sizes.grown), steps - 1, 2, 1, steps // 2

    def _condition(self, node: Node, value: Any) -> bool:
        names = self.graph.inputs_of(node.inputs[0])
        if isinstance(value, np.ndarray) and value.size == 1 and not names:
            return bool(value.item())
        known = f"one that follows from {' and '.join(map(repr, names))}" if names else "one that the run tells"
        raise node.refused("its condition", "known", known + SWITCH.format(repr(names[0]) if names else "'sr'"))

    def _run(self, node: Node, arguments: list[Any]) -> Any:
        if node.op == "Identity":
            return arguments[0]
        is_known = all(value is None or isinstance(value, np.ndarray) for value in arguments)
        handler: Any = OPERATORS.get(node.op)
        if is_known:
            handler = run if node.op in COMPUTED else None
            if node.op in COMPARES:
                self.sizes.compare(arguments)
        elif node.op in STEPS and any(isinstance(value, Statistic) for value in arguments):
            handler = statistic
        elif handler is None and node.op in MOVES and any(isinstance(value, Signal) for value in arguments):
            handler = moved
        if handler is None:
            kinds = ("the output of a layer", "known values alone")
            others = [value.place for value in arguments if hasattr(value, "names")]
            got = others[0] if others else kinds[is_known]
            raise node.refused("its inputs", kinds[not is_known], got + REASONS.get(node.op, ""))
        try:
            return handler(node, *arguments)
        except UNFIT as error:
            if self.sizes.fit(node, arguments):
                raise _AgainError from None
            if isinstance(error, FormatError):
                raise
            raise node.refused("what it computes", "possible", f"an error: {error}") from error


# Lengths.


class Sizes:
    """Lengths that a model leaves open, by the names of their axes, as the small numbers by which it is read.

    They are primes that no other length of the file has, so that what a graph computes of shapes is plain arithmetic.
    Where two that meet must be equal, or one must be what weights have, they are changed and the model is read again.
    """

    def __init__(self, file: ModelFile) -> None:
        model = file.model
        self._of: dict[str, int] = {}
        self._fixed: set[str] = set()  # those that are as the model has them
        self._taken: set[int] = set()
        self._numbers: set[int] = set()
        self.compared = 0  #: the largest number with which lengths, or what follows from them, were compared
        self.grown = False  #: whether the model is read again
        constants = [
            attribute for node in model.graph.node if node.op_type == "Constant" for attribute in node.attribute
        ]
        self._taken.update(number for attribute in constants for number in (attribute.i, *attribute.ints[:64]))
        for tensor in (*model.graph.initializer, *(attribute.t for attribute in constants)):
            self._taken.update(tensor.dims, tensor.int64_data[:64])
            if tensor.data_type == tensor.INT64 and len(tensor.raw_data) % 8 == 0:
                self._taken.update(np.frombuffer(tensor.raw_data[:512], "<i8").tolist())
            if math.prod(tensor.dims) == 1:
                with contextlib.suppress(FormatError):  # a damaged one is refused where it is read
                    number = file.tensor(tensor, f"the tensor {tensor.name!r}").item()
                    self._numbers |= {int(number)} if math.isfinite(number) else set()
        self._apart: list[set[str]] = []  #: axes of one input, which no operator makes one length
        for value in model.graph.input:
            dims = value.type.tensor_type.shape.dim
            self._taken.update(dim.dim_value for dim in dims)
            self._apart.append({str(dim.dim_param or f"{value.name}[{axis}]") for axis, dim in enumerate(dims)})

    def _free(self, low: int) -> int:
        used = self._taken | {*self._of.values()}
        return next(n for n in itertools.count(low) if n not in used and all(n % d for d in range(2, int(n**0.5) + 1)))

    def compare(self, values: Sequence[Any]) -> None:
        """Notes numbers that known values are compared with: an index may be under them here, over them elsewhere."""
        for array in values:
            if array is not None and array.size == 1 and array.dtype.kind in "iu" and array.item() < _LONGEST:
                self.compared = max(self.compared, int(array.item()))

    def length(self, length: int | str) -> int:
        """The length of an axis, an open one by its name."""
        if isinstance(length, int):
            return length
        return self._of.setdefault(length, self._free(5))

    def open(self) -> dict[int, str]:
        """Names by length, of those that are open still."""
        return {n: name for name, n in self._of.items() if name not in self._fixed}

    def of(self, lengths: Collection[int], length: int) -> Sizes:
        """These with another length in the place of some."""
        other = copy.copy(self)
        for each in lengths:
            other._change(each, length)
        return other

    def others(self) -> list[int]:
        """Lengths beside which a model may do something else: the other lengths, and numbers that it has."""
        return [n + more for n in {*self._numbers, *self._of.values()} if 1 <= n < _FAR for more in range(3)]

    def _change(self, old: int, new: int) -> None:
        self._of = {name: new if n == old and name not in self._fixed else n for name, n in self._of.items()}

    def grow(self, flow: Flow) -> bool:
        """Makes all open lengths others, those of time much longer; False where none is open."""
        batch = {axis.name for stage in flow.stages for axis in stage.axes if axis.role == "batch"}
        lengths = sorted(self.open())
        self.grown = True
        for n in lengths:
            is_batch = any(self._of.get(name) == n for name in batch)
            self._change(n, self._free(n + 1 if is_batch else max(3 * n + 2, self.compared + 1)))
        return bool(lengths or flow.lengths)

    def enlarge(self, steps: int, needed: int) -> bool:
        """Makes open lengths larger, so that as many steps as windows need are there; False where none is open."""
        times = -(-needed // max(steps, 1))
        changed = steps if steps in self.open() else max(self.open(), default=0)
        if not changed or changed * times > _LONGEST:
            return False
        self._change(changed, self._free(changed * times + 1))
        return True

    def fit(self, node: Node, values: Sequence[Any]) -> bool:
        """Changes open lengths to what they must be where the inputs of a node do not fit together."""
        open_ = self.open()
        for mine, its, repeats in _wanted(node, values):
            for old, new in ((mine, its), (its, mine)):
                same = {name for name, n in self._of.items() if n in (old, new)}
                if old in open_ and old != new and all(len(same & axes) < 2 for axes in self._apart):
                    if new not in open_:
                        if repeats:  # of length 1 they go together as well, and make something else
                            must = f"of length 1 beside {open_[old]!r}, which the model leaves open"
                            raise node.refused("an axis of its numbers", must, f"{new}")
                        self._fixed |= {name for name, n in self._of.items() if n == old}
                    self._of = {name: new if n == old else n for name, n in self._of.items()}
                    return True
        return False


def _wanted(node: Node, values: Sequence[Any]) -> Iterator[tuple[int, int, bool]]:
    """Pairs of lengths that must be equal, at a node, and whether known numbers would repeat one step or sequence."""
    shapes = [value.shape if isinstance(value, (Signal, np.ndarray)) else () for value in values]
    axes = _AXES.get(node.op, "abcdefgh " * len(shapes))
    if node.op == "Reshape" and isinstance(values[1], np.ndarray):  # an exporter wrote the length that its example had
        x, target = shapes[0], values[1].ravel().tolist()
        pairs = [*zip(x, target, strict=False), *zip(x[::-1], target[::-1], strict=False)]
        yield from ((n, wanted, False) for n, wanted in pairs if wanted > 0)
    if node.op == "Conv":
        shapes[1] = tuple(length * node.attributes["group"] for length in shapes[1])
    if node.attributes.get("transB"):
        axes = axes.replace("io", "oi")
    if node.attributes.get("layout"):
        axes = axes.replace("tb", "bt").replace("db", "bd")
    named = [
        dict(zip(a[-len(shape) :], shape, strict=False)) for a, shape in zip(axes.split(" "), shapes, strict=False)
    ]
    known = [isinstance(value, np.ndarray) for value in values]
    for one, other in itertools.combinations(range(len(named)), 2):
        repeats = node.op not in _AXES and known[one] != known[other]
        for axis in (axis for axis in named[one] if axis in named[other]):
            mine, its = named[one][axis], named[other][axis]
            if node.op in _AXES or 1 not in (mine, its):
                yield mine, its, repeats and axis != axes[7]  # the last is that of features
