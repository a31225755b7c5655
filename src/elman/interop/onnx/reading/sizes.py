"""Lengths that a model leaves open, as the small numbers by which it is read.

They are primes that no other length of the file has, so that what a graph computes of shapes is plain arithmetic. Where
two that meet must be equal, or one must be what weights have, they are changed and the model is read again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from elman.interop.onnx.reading.graph import Node
from elman.interop.onnx.reading.positions import Flow, Signal

if TYPE_CHECKING:
    from onnx import ModelProto

_LONGEST = 2**14  # that an open length is made, where windows ask for more


class Sizes:
    """The length of each open axis by its name."""

    def __init__(self, model: ModelProto) -> None:
        self._of: dict[str, int] = {}
        self._fixed: set[str] = set()  # those that are as the model has them
        self._taken: set[int] = set()
        self.compared = 0  #: the largest number with which lengths, or what follows from them, were compared
        for tensor in model.graph.initializer:
            self._taken.update(tensor.dims, tensor.int64_data[:64])
            if tensor.data_type == tensor.INT64 and len(tensor.raw_data) % 8 == 0:
                self._taken.update(np.frombuffer(tensor.raw_data[:512], "<i8").tolist())
        for value in model.graph.input:
            self._taken.update(dim.dim_value for dim in value.type.tensor_type.shape.dim)

    def _free(self, low: int) -> int:
        used = self._taken | {*self._of.values()}
        return next(n for n in itertools.count(low) if n not in used and all(n % d for d in range(2, int(n**0.5) + 1)))

    def compare(self, values: Sequence[Any]) -> None:
        """Notes numbers that known values are compared with: a length may be under them here, over them elsewhere."""
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

    def _change(self, old: int, new: int) -> None:
        self._of = {name: new if n == old and name not in self._fixed else n for name, n in self._of.items()}

    def grow(self, flow: Flow) -> bool:
        """Makes all open lengths others, those of time much longer; False where none is open."""
        batch = {axis.name for stage in flow.stages for axis in stage.axes if axis.role == "batch"}
        lengths = sorted(self.open())
        for n in lengths:
            is_batch = any(self._of.get(name) == n for name in batch)
            self._change(n, self._free(n + 1 if is_batch else max(3 * n + 2, self.compared + 1)))
        return bool(lengths)

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
        for mine, its in _wanted(node, values):
            for old, new in ((mine, its), (its, mine)):
                if old in open_ and old != new:
                    if new not in open_:
                        self._fixed |= {name for name, n in self._of.items() if n == old}
                    self._of = {name: new if n == old else n for name, n in self._of.items()}
                    return True
        return False


def _wanted(node: Node, values: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """Pairs of lengths that must be equal, at a node."""
    shapes = [value.shape if isinstance(value, (Signal, np.ndarray)) else () for value in values]
    x = shapes[0] if shapes else ()
    W = shapes[1] if len(shapes) > 1 else ()
    known = len(values) > 1 and isinstance(values[0], Signal) and isinstance(values[1], np.ndarray)
    if node.op in ("RNN", "LSTM", "GRU"):
        if len(x) == 3 and len(W) == 3:
            yield x[2], W[2]
        first = bool(node.attributes.get("layout"))
        if len(x) == 3 and len(shapes) > 4 and len(shapes[4]) == 1:
            yield x[0 if first else 1], shapes[4][0]
        for shape in shapes[5:7]:
            if len(x) == 3 and len(shape) == 3:
                yield x[0 if first else 1], shape[0 if first else 1]
                yield shape[2], shapes[2][2]
    elif node.op == "Gemm" and x and len(W) == 2:
        yield x[-1], W[1 if node.attributes["transB"] else 0]
    elif node.op == "MatMul" and len(x) and len(W) > 1:
        yield x[-1], W[-2]
        yield from zip(x[:-2][::-1], W[:-2][::-1], strict=False)
    elif node.op == "Conv" and known and len(x) > 1 and len(W) > 1:
        yield x[1], W[1] * node.attributes["group"]
    elif node.op == "LayerNormalization" and x and W:
        yield x[-1], W[-1]
    elif node.op == "BatchNormalization" and len(x) > 1 and W:
        yield x[1], W[0]
    elif node.op == "Reshape" and known and values[1].ndim == 1:  # an exporter wrote the length that its example had
        target = values[1].tolist()
        for mine, its in ((x, target), (x[::-1], target[::-1])):
            yield from ((n, int(wanted)) for n, wanted in zip(mine, its, strict=False) if wanted > 0)
    elif node.op not in ("Reshape", "Slice", "Gather", "Split", "Pad", "Tile"):
        for one, other in itertools.combinations(shapes, 2):
            for mine, its in zip(one[::-1], other[::-1], strict=False):
                if 1 not in (mine, its):
                    yield mine, its
