"""What a node computes of known arrays, and how it moves positions, by the reference implementation of ONNX.

A value that is known is a NumPy array. The operators in `COMPUTED` are run by `onnx.reference` where all that they read
is known; those in `MOVES` also where it is not, on the numbers of positions, since they compute nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
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

#: Those of them whose result may be of one kind for small indices, and of another for large ones.
COMPARES = {"Clip", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min"}

_CONSTANTS = {"value": None, "value_int": "i8", "value_ints": "i8", "value_float": "f4", "value_floats": "f4"}


def run(node: Node, *values: Array | None) -> Any:
    """What a node makes of arrays: an array, or a tuple of them."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    if node.op == "Constant":
        return _constant(node)
    if node.op == "OneHot" and values[1] is not None:  # its depth may have an axis, which is not known there
        values = (values[0], values[1].reshape(()), *values[2:])
    proto, given = _called(node, values)
    node.take(8 * sum(each.size for each in outcomes(node, *values)))
    opsets = [helper.make_opsetid("", _version(node))]
    ends = proto.output
    function = helper.make_function("", "node", [*given], [name for name in ends if name], [proto], opsets)
    try:
        with np.errstate(all="ignore"):
            found = dict(zip(function.output, ReferenceEvaluator(function).run(None, given, {}), strict=True))
    except (AssertionError, AttributeError, KeyError, TypeError) as error:  # of inputs that do not go together
        raise ValueError(str(error)) from error
    results = tuple(_single(np.asarray(found[name])) if name else None for name in ends)
    return results if len(results) > 1 else results[0]


def outcomes(node: Node, *values: Array | None) -> list[Array]:
    """Zeros in the types and shapes of what a node makes, none of them with memory of its own."""
    from onnx import checker, helper, numpy_helper, shape_inference
    from onnx.defs import get_schema

    proto, given = _called(node, values)
    kinds = {name: helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in given.items()}
    types = {name: helper.make_tensor_type_proto(kinds[name], array.shape) for name, array in given.items()}
    data = {name: numpy_helper.from_array(array, name) for name, array in given.items() if array.size < 2**10}
    try:
        found = shape_inference.infer_node_outputs(get_schema(proto.op_type, _version(node), ""), proto, types, data)
    except (shape_inference.InferenceError, checker.ValidationError) as error:
        arrays = given.values()
        shown = [str(each.tolist() if each.dtype.kind == "i" and each.size < 9 else each.shape) for each in arrays]
        raise ValueError(f"{error}, of {' and '.join(shown)}") from error
    made = []
    for kind in (found[name].tensor_type for name in proto.output if name in found):
        if not kind.HasField("shape") or not all(dim.HasField("dim_value") for dim in kind.shape.dim):
            raise ValueError("its shape does not follow from its inputs")
        zero = np.zeros((), helper.tensor_dtype_to_np_dtype(kind.elem_type))
        made.append(np.broadcast_to(zero, [dim.dim_value for dim in kind.shape.dim]))
    return made


def _version(node: Node) -> int:
    return max(node.opset, 19) if "Linear" in node.op else node.opset  # those of 8 bits are there from then on


def _called(node: Node, values: Sequence[Array | None]) -> tuple[NodeProto, dict[str, Array]]:
    """The node with names of its own, and its inputs by them."""
    from onnx import NodeProto

    names = [f"i{i}" if value is not None else "" for i, value in enumerate(values)]
    ends = [f"o{i}" if name else "" for i, name in enumerate(node.outputs)]
    proto = NodeProto(op_type=node.op, input=names, output=ends, attribute=node.proto.attribute)
    return proto, {f"i{i}": value for i, value in enumerate(values) if value is not None}


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
