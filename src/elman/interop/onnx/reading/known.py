"""What a node computes of known arrays, and how it moves positions, by the reference implementation of ONNX.

A value that is known is a NumPy array. The operators in `COMPUTED` are run by `onnx.reference` where all that they read
is known; those in `MOVES` also where it is not, on the numbers of positions, since they compute nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from elman.checks import Array
from elman.interop.onnx.reading.graph import Node

#: Operators that move elements and compute nothing: any of them is run on positions.
MOVES = {
    *("Concat", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Pad", "Reshape"),
    *("ReverseSequence", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where"),
}

#: Operators that are run where all that they read is known.
COMPUTED = {
    *MOVES,
    *("Abs", "Add", "And", "Cast", "CastLike", "Ceil", "Clip", "Constant", "ConstantOfShape", "CumSum", "Div", "Equal"),
    *("DequantizeLinear", "Erf", "Exp", "Floor", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Log", "MatMul"),
    *("Max", "Min", "Mod", "Mul", "Neg", "Not", "OneHot", "Or", "Pow", "QuantizeLinear", "Range", "Reciprocal"),
    *("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Relu", "ScatterND", "Shape", "Sigmoid"),
    *("Sign", "Size", "Sqrt", "Sub", "Sum", "Tanh", "Trilu"),
}

#: Those of them whose result may be of one kind for small lengths, and of another for large ones.
COMPARES = {"Clip", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min"}

_CONSTANTS = {"value": None, "value_int": "i8", "value_ints": "i8", "value_float": "f4", "value_floats": "f4"}


def run(node: Node, *values: Array | None) -> Any:
    """What a node makes of arrays: an array, or a tuple of them."""
    from onnx import GraphProto, ModelProto, OperatorSetIdProto, ValueInfoProto
    from onnx.reference import ReferenceEvaluator

    if node.op == "Constant":
        return _constant(node)
    given = [value for value in values if value is not None]
    if node.op == "OneHot":
        return _one_hot(node, *given)
    node.take(8 * size_of(node, given))
    names = [f"i{i}" if value is not None else "" for i, value in enumerate(values)]
    ends = [f"o{i}" if name else "" for i, name in enumerate(node.outputs)]
    proto = type(node.proto)()
    proto.CopyFrom(node.proto)
    proto.input[:], proto.output[:] = names, ends
    graph = GraphProto(
        name="node",
        node=[proto],
        input=[ValueInfoProto(name=name) for name in names if name],
        output=[ValueInfoProto(name=name) for name in ends if name],
    )
    version = max(node.opset, 19) if "Linear" in node.op else node.opset  # those of 8 bits are there from then on
    opset = OperatorSetIdProto(domain="", version=version)
    evaluator = ReferenceEvaluator(ModelProto(ir_version=8, graph=graph, opset_import=[opset]))
    try:
        with np.errstate(all="ignore"):
            found = evaluator.run(None, {name: value for name, value in zip(names, values, strict=True) if name})
    except TypeError as error:  # of types that do not go together
        raise ValueError(str(error)) from error
    arrays = iter([_single(np.asarray(array)) for array in found])
    results = tuple(next(arrays) if name else None for name in ends)
    return results if len(results) > 1 else results[0]


def _constant(node: Node) -> Array:
    given = {name: value for name, value in node.attributes.items() if value is not None}
    name, value = next(iter(given.items())) if len(given) == 1 else ("", None)
    if name not in _CONSTANTS:
        raise node.refused("", "of numbers, by one attribute", ", ".join(given) or "none")
    return np.asarray(value, _CONSTANTS[name])


def _one_hot(node: Node, indices: Array, depth: Array, ends: Array) -> Array:
    count = int(depth.ravel()[0])
    node.take(8 * indices.size * count)
    found = np.arange(count) == indices[..., None].astype(np.int64) % count
    return np.moveaxis(np.where(found, ends[1], ends[0]), -1, node.attributes["axis"])


def _single(array: Array) -> Array:
    """Float16 and bfloat16 as float32, which holds them exactly."""
    return array.astype(np.float32) if array.dtype.name in ("float16", "bfloat16") else array


def size_of(node: Node, given: Sequence[Array]) -> int:
    """About how many elements a node makes, counted before they are made."""
    sizes = [array.size for array in given]
    shapes = [array.shape for array in given]
    whole = [
        [int(number) for number in array.ravel()] for array in given if array.dtype.kind in "iu" and array.ndim < 2
    ]
    last = whole[-1] if whole and len(whole[-1]) < 65 else [1]
    if node.op == "ConstantOfShape":
        return math.prod(last)
    if node.op == "Expand":
        return max(sizes) if not last else math.prod(_joint([given[0].shape, tuple(last)]))
    if node.op == "Tile":
        return sizes[0] * math.prod(last)
    if node.op == "Range":
        start, end, step = (float(array.ravel()[0]) for array in given)
        return math.ceil(min(max((end - start) / step, 0), 2.0**62)) if step else 0
    if node.op == "Pad":
        pads = node.attributes.get("pads") or (whole[0] if len(given) > 1 and whole else [])
        pads = given[1].ravel().tolist() if len(given) > 1 else pads
        rank = len(pads) // 2
        return math.prod(n + max(0, pads[i] + pads[i + rank]) for i, n in enumerate(given[0].shape[:rank]))
    if node.op == "MatMul":
        (rows, columns) = ((*shape,) if len(shape) > 1 else (1, *shape) for shape in shapes)
        return math.prod(_joint([rows[:-2], columns[:-2]])) * rows[-2] * columns[-1]
    if node.op in ("Gather", "GatherND", "GatherElements"):
        return sizes[1] * max(1, sizes[0] // max(1, given[0].shape[0] if shapes[0] else 1))
    if len(given) > 1 and node.op not in ("Concat", "Reshape", "Slice", "Split", "Squeeze", "Unsqueeze"):
        return math.prod(_joint(shapes))
    return sum(sizes)


def _joint(shapes: Sequence[tuple[int, ...]]) -> list[int]:
    """The shape of arrays that are broadcast together, as far as they fit."""
    rank = max(map(len, shapes))
    full = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return [max(lengths) for lengths in zip(*full, strict=True)]


# What operators ask for.


def integers(node: Node, name: str, value: Any = None) -> list[int] | None:
    """Whole numbers, from an input or else from the attribute of that name; None where there are none."""
    if value is None:
        return node.attributes.get(name)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iu" or value.ndim > 1:
        raise node.refused(f"its {name}", "known whole numbers", "others")
    return [int(number) for number in value.ravel()]


def axis_of(node: Node, axis: int, rank: int) -> int:
    """An axis counted from the first."""
    if not -rank <= axis < rank:
        raise node.refused("an axis", f"from {-rank} to {rank - 1}", f"{axis}")
    return axis % rank


def floats(node: Node, value: Any) -> Array:
    """The numbers of a value that must be known."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf":
        place = getattr(value, "place", "")
        raise node.refused(
            "one of its inputs", "known numbers", f"what comes from {place}" if place else "another value"
        )
    return value


def number(node: Node, value: Any) -> Any:
    """One known number, or True or False."""
    if not isinstance(value, np.ndarray) or value.size != 1:
        raise node.refused("one of its inputs", "one known value", "another")
    return value.item()
