"""What a node computes of known arrays, and how it moves positions, by the reference implementation of ONNX.

A value that is known is a NumPy array. The operators in `COMPUTED` are run by `onnx.reference` where all that they read
is known; those in `MOVES` also where it is not, on the numbers of positions, since they compute nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from elman.checks import Array
from elman.interop.onnx.reading.graph import Node

if TYPE_CHECKING:
    from onnx import NodeProto

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
    from onnx import NodeProto, helper
    from onnx.reference import ReferenceEvaluator

    if node.op == "Constant":
        return _constant(node)
    if node.op == "OneHot" and values[1] is not None:  # its depth may have an axis, which is not known there
        values = (values[0], values[1].reshape(()), *values[2:])
    given = {f"i{i}": value for i, value in enumerate(values) if value is not None}
    names = [f"i{i}" if value is not None else "" for i, value in enumerate(values)]
    ends = [f"o{i}" if name else "" for i, name in enumerate(node.outputs)]
    version = max(node.opset, 19) if "Linear" in node.op else node.opset  # those of 8 bits are there from then on
    proto = NodeProto(op_type=node.op, input=names, output=ends, attribute=node.proto.attribute)
    node.take(8 * _count(proto, version, given))
    opsets = [helper.make_opsetid("", version)]
    function = helper.make_function("", "node", [*given], [name for name in ends if name], [proto], opsets)
    try:
        with np.errstate(all="ignore"):
            found = dict(zip(function.output, ReferenceEvaluator(function).run(None, given, {}), strict=True))
    except TypeError as error:  # of types that do not go together
        raise ValueError(str(error)) from error
    results = tuple(_single(np.asarray(found[name])) if name else None for name in ends)
    return results if len(results) > 1 else results[0]


def _count(proto: NodeProto, version: int, given: Mapping[str, Array]) -> int:
    """How many elements a node makes, before they are made."""
    from onnx import checker, helper, numpy_helper, shape_inference
    from onnx.defs import get_schema

    kinds = {name: helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in given.items()}
    types = {name: helper.make_tensor_type_proto(kinds[name], array.shape) for name, array in given.items()}
    data = {name: numpy_helper.from_array(array, name) for name, array in given.items() if array.size < 2**10}
    try:
        found = shape_inference.infer_node_outputs(get_schema(proto.op_type, version, ""), proto, types, data)
    except (shape_inference.InferenceError, checker.ValidationError) as error:
        arrays = given.values()
        shown = [str(each.tolist() if each.dtype.kind == "i" and each.size < 9 else each.shape) for each in arrays]
        raise ValueError(f"{error}, of {' and '.join(shown)}") from error
    shapes = [kind.tensor_type.shape.dim for kind in found.values() if kind.tensor_type.HasField("shape")]
    if len(shapes) < len(found) or not all(dim.HasField("dim_value") for dims in shapes for dim in dims):
        raise ValueError("its shape does not follow from its inputs")
    return sum(math.prod(dim.dim_value for dim in dims) for dims in shapes)


def _constant(node: Node) -> Array:
    given = {name: value for name, value in node.attributes.items() if value is not None}
    name, value = next(iter(given.items())) if len(given) == 1 else ("", None)
    if name not in _CONSTANTS:
        raise node.refused("", "of numbers, by one attribute", ", ".join(given) or "none")
    return np.asarray(value, _CONSTANTS[name])


def _single(array: Array) -> Array:
    """Float16 and bfloat16 as float32, which holds them exactly."""
    return array.astype(np.float32) if array.dtype.name in ("float16", "bfloat16") else array


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
        got = f"what comes from {value.place}" if getattr(value, "place", "") else "another value"
        raise node.refused("one of its inputs", "known numbers", got)
    return value


def number(node: Node, value: Any) -> Any:
    """One known number, or True or False."""
    if not isinstance(value, np.ndarray) or value.size != 1:
        raise node.refused("one of its inputs", "one known value", "another")
    return value.item()
