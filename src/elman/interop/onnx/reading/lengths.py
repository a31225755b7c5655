"""Whether a model does the same whatever the lengths are that it leaves open.

It is read with a few lengths (`Sizes` of `trace`). Here it is followed with others, small and large, without layers:
shapes, and the masks and indices that are computed of lengths. Each number must stay, or go with the length along a
straight line. One that bends, as min(steps, 3), steps % 2 or a question about steps do, would make another network.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from typing import Any

import numpy as np

from elman.checks import Array
from elman.interop.onnx.reading.graph import Graph, Node
from elman.interop.onnx.reading.known import COMPUTED, MOVES, outcomes, run
from elman.interop.onnx.reading.operators import OPERATORS
from elman.interop.onnx.reading.positions import Axis, Flow, Signal
from elman.interop.onnx.reading.trace import UNFIT, Sizes, Trace

_LENGTHS = (1, 2, 3, 4, 5, 6, 8, 9, 12, 25, 100, 1000, 10000)


class _Shapes(Trace):
    """The walk by shapes alone: of each node that layers are made of, its shapes and the known arrays that it reads."""

    def _walk(self) -> None:
        self.found: dict[str, tuple[Node, list[Array]]] = {}
        super()._walk()

    def _flowing(self, name: str, axes: list[Axis], kind: str) -> Signal:
        return Signal(self.flow, np.broadcast_to(np.zeros((), kind), [axis.length for axis in axes]))

    def _fewer(self, steps: int) -> tuple[int, ...]:
        return 0, steps - 1

    def _condition(self, node: Node, value: Any) -> bool:
        self.found[node.outputs[0]] = node, [np.asarray(value)]
        return super()._condition(node, value)

    def _run(self, node: Node, arguments: list[Any]) -> Any:
        if node.op == "Identity":
            return arguments[0]
        if node.op in COMPUTED and not any(isinstance(each, Signal) for each in arguments):
            return run(node, *arguments)
        if node.op in ("Shape", "Size"):
            return OPERATORS[node.op](node, *arguments)
        if node.op in ("AveragePool", "Conv", "MaxPool") and node.attributes["auto_pad"] in ("NOTSET", "VALID"):
            widths, pads = node.attributes["kernel_shape"] or arguments[1].shape[2:], node.attributes["pads"] or [0] * 8
            for i, (n, width) in enumerate(zip(arguments[0].shape[2:], widths, strict=True)):
                if n + sum(pads[i :: len(widths)]) <= (width - 1) * (node.attributes.get("dilations") or [1] * 8)[i]:
                    raise ValueError("fewer steps than windows have")
        made = outcomes(node, *(each.ids if isinstance(each, Signal) else each for each in arguments))
        if node.op not in MOVES and not all(each.size for each in made):
            raise ValueError("no steps are left")
        given = zip(node.inputs, arguments, strict=False)
        read = [each for name, each in given if isinstance(each, np.ndarray) and name not in self.graph.known]
        self.found[node.outputs[0]] = node, [*(np.array(each.shape) for each in made), *read]
        signals = tuple(Signal(self.flow, each) for each in made)
        return signals if len(signals) > 1 else signals[0]


def check_lengths(graph: Graph, sizes: Sizes, flow: Flow) -> None:
    """Refuses a model that does something else for other lengths, at the first node that does."""
    if not flow.lengths and not any(node.op in ("Shape", "Size") for node in graph.nodes()):
        return  # nothing is computed of lengths
    stride = math.prod(max(node.attributes.get("strides") or [1]) for node in graph.nodes())
    more = range(1, 3 * stride + 1) if 1 < stride < 16 else ()
    batch = {len(n) for n in flow.lengths.values()}
    groups = [[n] for n in flow.open if n in batch or not batch]
    groups.append([n for n in flow.open if batch and n not in batch])  # sequences may end along any of them
    for group in filter(None, groups):
        found = {}
        for length in sorted({*_LENGTHS, *sizes.others(), *more}):
            graph.forget()
            graph.file.work = 0
            with contextlib.suppress(*UNFIT):  # where the model itself cannot be run
                found[length] = _Shapes(graph, sizes.of(group, length)).found
        for rest in range(stride):
            lengths = [n for n in found if n % stride == rest]
            for three in zip(lengths, lengths[1:], lengths[2:], strict=False):
                _compare(flow.open[group[0]], three, [found[n] for n in three])


def _compare(name: str, lengths: tuple[int, ...], found: list[dict[str, tuple[Node, list[Array]]]]) -> None:
    for key, (node, _) in found[0].items():
        every = [each[key][1] if key in each else [] for each in found]
        arrays = itertools.zip_longest(*every, fillvalue=np.empty((0,) * 9))
        if not all(_straight(lengths, each) for each in arrays):
            got = f"another for {name!r} of {lengths[0]}, {lengths[1]} and {lengths[2]}"
            raise node.refused("what it reads and makes", "the same for any number of sequences and steps", got)


def _straight(lengths: tuple[int, ...], arrays: tuple[Array, ...]) -> bool:
    """Whether numbers that stand in the same place, from the first or from the last, are on a straight line."""
    if len({array.ndim for array in arrays}) > 1:
        return False
    a, b, c = lengths
    close = 1e-4 if arrays[0].dtype.kind == "f" else 1e-12
    sides = [
        (slice(min(each)), slice(-min(each) or max(each), None)) if len({*each}) > 1 else (slice(None),)
        for each in zip(*(array.shape for array in arrays), strict=True)
    ]
    fits: Any = False
    for cut in itertools.product(*sides):
        x, y, z = (array[cut].astype(np.float64) for array in arrays)
        fits |= ((x == y) & (y == z)) | (np.isnan(x) & np.isnan(y))
        with np.errstate(all="ignore"):
            for p, q, r in ((x, y, z), (1 / x, 1 / y, 1 / z)):
                wanted = (r - p) * (b - a)
                fits |= abs((q - p) * (c - a) - wanted) <= close * abs(wanted)
    return bool(np.all(fits))
