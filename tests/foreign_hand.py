"""Graphs by hand: as tf2onnx, keras2onnx and others write them, older forms of operators, and what this library writes."""

# ruff: noqa: E501
# fmt: off
from __future__ import annotations

import zlib

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from foreign_models import Case, parsed
from onnx_models import Parts

CASES: list[Case] = []
FAR = 2**63 - 1
KINDS = {"tokens": np.int64, "lengths": np.int64, "lengths32": np.int32, "mask": np.float32, "boolmask": bool, "intmask": np.int64}


def made(case, build, opset, outputs=1, ir=8):
    parts = Parts(np.random.default_rng(zlib.crc32(case.name.encode())))
    for name, spec in case.inputs.items():
        kind, dims = parsed(spec)
        kind = kind.split("/")[0]
        shape = tuple(int(dim.split("=")[-1]) if dim[-1].isdigit() else {"b": "batch", "t": "time", "s": "steps"}[dim] for dim in dims)
        parts.inputs[name] = (KINDS.get("tokens" if kind.startswith("tokens") else kind, np.float32), shape)
    for name, value in case.given.items():
        parts.inputs[name] = (np.asarray(value).dtype, np.shape(value))
    found = build(parts)
    parts.outputs += found if isinstance(found, (list, tuple)) else [found]
    model = parts.model(opset)
    for i, output in enumerate(model.graph.output):  # what an output is, ONNX Runtime finds for itself
        if isinstance(outputs, dict) and i in outputs:
            output.type.tensor_type.elem_type = outputs[i]
    return model.SerializeToString()


def add(name, inputs, build, opset=17, given=None, **more):
    case = Case(name, inputs, lambda: b"", given or {})
    case.build = lambda: made(case, build, opset, **more)
    CASES.append(case)


X = {"x": "b t 4"}
N = {"n": "lengths b"}
XN = X | N


def number(p, value, dtype=np.float32):
    return p.tensor(f"n{len(p.tensors)}", np.asarray(value, dtype))


def w(p, *shape, scale=0.4):
    return p.weights(f"w{len(p.tensors)}", *shape, scale=scale)


def turn(p, x, *perm):
    return p.add("Transpose", x, perm=list(perm))


def cell(p, x, op="LSTM", width=4, hidden=6, directions=1, *, lengths="", states=(), bias=True, **attributes):
    """An operator over (time, batch, features): Y, Y_h and perhaps Y_c."""
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    inputs = [x, w(p, directions, gates * hidden, width), w(p, directions, gates * hidden, hidden)]
    inputs += [w(p, directions, 2 * gates * hidden) if bias else "", lengths, *states]
    while inputs[-1] == "":
        inputs.pop()
    if directions == 2:
        attributes["direction"] = "bidirectional"
    return p.add(op, *inputs, count=2 + (op == "LSTM"), hidden_size=hidden, **attributes)


def steps(p, x="x", op="GRU", width=4, hidden=6, directions=1, **more):
    """Batch first, in and out: (batch, time, features)."""
    y = cell(p, turn(p, x, 1, 0, 2), op, width, hidden, directions, **more)[0]
    if directions == 1:
        return turn(p, p.add("Squeeze", y, p.integers(1)), 1, 0, 2)
    return p.add("Reshape", turn(p, y, 2, 0, 1, 3), p.integers(0, 0, -1))


def dense(p, x, width=6, out=2):
    return p.add("Add", p.add("MatMul", x, w(p, width, out)), w(p, out))


def size(p, x, axis):
    return p.add("Gather", p.add("Shape", x), p.integers(axis), axis=0)  # (1,)


def slices(p, x, start, end, axis, step=None):
    more = [] if step is None else [p.integers(step)]
    return p.add("Slice", x, p.integers(start), p.integers(end), p.integers(axis), *more)


def unsqueeze(p, x, *axes):
    return p.add("Unsqueeze", x, p.integers(*axes))


def squeeze(p, x, *axes):
    return p.add("Squeeze", x, p.integers(*axes))


def scalar(p, value):
    return p.tensor(f"k{len(p.tensors)}", np.int64(value))


# The last step by lengths.


def minus_one(p, n="n"):
    return p.add("Sub", n, p.integers(1))


def rows_and_steps(p, y):
    """(batch, 2): the number of each sequence, and its last step."""
    rows = p.add("Range", scalar(p, 0), squeeze(p, size(p, y, 0), 0), scalar(p, 1))
    return p.add("Concat", unsqueeze(p, rows, 1), unsqueeze(p, minus_one(p), 1), axis=1)


def gather_nd(p):
    y = steps(p)
    return dense(p, p.add("GatherND", y, rows_and_steps(p, y)))


def flat_gather(p):
    """Rows of (batch x time, features) at number x time + length - 1."""
    y = steps(p)
    rows = p.add("Range", scalar(p, 0), squeeze(p, size(p, y, 0), 0), scalar(p, 1))
    at = p.add("Add", p.add("Mul", rows, size(p, y, 1)), minus_one(p))
    return dense(p, p.add("Gather", p.add("Reshape", y, p.integers(-1, 6)), at, axis=0))


def one_hot(p):
    y = steps(p)
    hot = p.add("OneHot", minus_one(p), size(p, y, 1), p.tensor("v", np.float32([0, 1])), axis=-1)
    return dense(p, p.add("ReduceSum", p.add("Mul", y, unsqueeze(p, hot, -1)), p.integers(1), keepdims=0))


def one_hot_product(p):
    y = steps(p)
    hot = p.add("OneHot", minus_one(p), size(p, y, 1), p.tensor("v", np.float32([0, 1])), axis=-1)
    return dense(p, squeeze(p, p.add("MatMul", unsqueeze(p, hot, 1), y), 1))


def gather_elements(p):
    y = steps(p)
    at = p.add("Expand", unsqueeze(p, minus_one(p), 1, 2), p.integers(1, 1, 6))
    return dense(p, squeeze(p, p.add("GatherElements", y, at, axis=1), 1))


def gather_nd_batch(p):
    return dense(p, p.add("GatherND", steps(p), unsqueeze(p, minus_one(p), -1), batch_dims=1))


def reverse_sequence_first(p):
    """The first step of a sequence that is turned around by its length."""
    y = p.add("ReverseSequence", steps(p), "n", time_axis=1, batch_axis=0)
    return dense(p, p.add("Gather", y, scalar(p, 0), axis=1))


for build in (gather_nd, flat_gather, one_hot, one_hot_product, gather_elements, gather_nd_batch, reverse_sequence_first):
    add(f"last: {build.__name__}", XN, build)
add("last: sequence_lens, Y_h", X | {"n": "lengths32 b"}, lambda p: dense(p, squeeze(p, cell(p, turn(p, "x", 1, 0, 2), lengths="n")[1], 0)))
add("last: sequence_lens cast", XN, lambda p: dense(p, squeeze(p, cell(p, turn(p, "x", 1, 0, 2), lengths=p.add("Cast", "n", to=6))[1], 0)))
add("last: sequence_lens, both, Y_h", X | {"n": "lengths32 b"},
    lambda p: dense(p, p.add("Reshape", turn(p, cell(p, turn(p, "x", 1, 0, 2), "GRU", directions=2, lengths="n")[1], 1, 0, 2), p.integers(0, -1)), 12))
add("last: sequence_lens, Y and Y_h go out", X | {"n": "lengths32 b"}, lambda p: cell(p, turn(p, "x", 1, 0, 2), "GRU", lengths="n"))
add("last: sequence_lens from a mask", X | {"mask": "mask b t"},
    lambda p: squeeze(p, cell(p, turn(p, "x", 1, 0, 2), lengths=p.add("Cast", p.add("ReduceSum", "mask", p.integers(1), keepdims=0), to=6))[1], 0))
add("last: sequence_lens from a bool mask", X | {"mask": "boolmask b t"},
    lambda p: squeeze(p, cell(p, turn(p, "x", 1, 0, 2), lengths=p.add("ReduceSum", p.add("Cast", "mask", to=6), p.integers(1), keepdims=0))[1], 0))
add("last: sequence_lens from tokens", {"x": "tokens11 b t"},
    lambda p: squeeze(p, cell(p, turn(p, p.add("Gather", w(p, 11, 4), "x"), 1, 0, 2),
                              lengths=p.add("Cast", p.add("ReduceSum", p.add("Cast", p.add("Not", p.add("Equal", "x", scalar(p, 0))), to=7), p.integers(1), keepdims=0), to=6))[1], 0))
add("last: sequence_lens of all steps", X, lambda p: squeeze(p, cell(p, turn(p, "x", 1, 0, 2), lengths=p.add("Cast", p.add("Expand", size(p, "x", 1), size(p, "x", 0)), to=6))[1], 0))

# Means.


def arange_mask(p, y="x", n="n"):
    """(batch, time), true where steps are real."""
    every = p.add("Range", scalar(p, 0), squeeze(p, size(p, y, 1), 0), scalar(p, 1))
    return p.add("Less", unsqueeze(p, every, 0), unsqueeze(p, n, 1))


def mean_by(p, y, mask, clip=False):
    mask = unsqueeze(p, mask, -1)
    total = p.add("ReduceSum", p.add("Mul", y, mask), p.integers(1), keepdims=0)
    count = p.add("ReduceSum", mask, p.integers(1), keepdims=0)
    if clip == "max":
        count = p.add("Max", count, number(p, 1.0))
    elif clip:
        count = p.add("Clip", count, number(p, 1e-9))
    return dense(p, p.add("Div", total, count))


for clip in (False, True, "max"):
    add(f"mean: mask from lengths, clip {clip}", XN, lambda p, clip=clip: mean_by(p, steps(p), p.add("Cast", arange_mask(p), to=1), clip))
    add(f"mean: mask as an input, clip {clip}", X | {"mask": "mask b t"}, lambda p, clip=clip: mean_by(p, steps(p), "mask", clip))
    add(f"mean: bool mask as an input, clip {clip}", X | {"mask": "boolmask b t"}, lambda p, clip=clip: mean_by(p, steps(p), p.add("Cast", "mask", to=1), clip))
add("mean: attention_mask and tokens", {"x": "tokens11 b t", "attention_mask": "intmask b t"},
    lambda p: mean_by(p, steps(p, p.add("Gather", w(p, 11, 4), "x")), p.add("Cast", "attention_mask", to=1), True))
add("mean: where, counted by lengths", XN,
    lambda p: dense(p, p.add("Div", p.add("ReduceSum", p.add("Where", unsqueeze(p, arange_mask(p), -1), steps(p), number(p, 0.0)), p.integers(1), keepdims=0), unsqueeze(p, p.add("Cast", "n", to=1), 1))))
add("mean: by a product", X | {"mask": "mask b t"},
    lambda p: dense(p, squeeze(p, p.add("MatMul", unsqueeze(p, p.add("Div", "mask", p.add("ReduceSum", "mask", p.integers(1), keepdims=1)), 1), steps(p)), 1)))
add("max: where", XN, lambda p: dense(p, p.add("ReduceMax", p.add("Where", unsqueeze(p, arange_mask(p), -1), steps(p), number(p, -np.inf)), axes=[1], keepdims=0)))
add("max: mask as an input", X | {"mask": "boolmask b t"}, lambda p: dense(p, p.add("ReduceMax", p.add("Where", unsqueeze(p, "mask", 2), steps(p), number(p, -1e9)), axes=[1], keepdims=0)))
add("max: mask added", X | {"mask": "mask b t"},
    lambda p: dense(p, p.add("ReduceMax", p.add("Add", steps(p), unsqueeze(p, p.add("Mul", p.add("Sub", number(p, 1.0), "mask"), number(p, -1e9)), 2)), axes=[1], keepdims=0)))
add("sum over all steps", X, lambda p: p.add("ReduceSum", steps(p), p.integers(1), keepdims=0))
add("sum over all steps, divided", X, lambda p: p.add("Div", p.add("ReduceSum", steps(p), p.integers(1), keepdims=0), p.add("Cast", size(p, "x", 1), to=1)))
add("mean: of steps of a known number", {"x": "b t=7 4"}, lambda p: p.add("Mul", p.add("ReduceSum", steps(p), p.integers(1), keepdims=0), number(p, 1 / 7)))
add("minimum over all steps", X, lambda p: p.add("ReduceMin", steps(p), axes=[1], keepdims=0))
add("standard deviation over all steps", X,
    lambda p: p.add("Sqrt", p.add("ReduceMean", p.add("Pow", p.add("Sub", (y := steps(p)), p.add("ReduceMean", y, axes=[1])), number(p, 2.0)), axes=[1], keepdims=0)))

# Attention.

QM = {"q": "b t 4", "m": "b s 6"}


def softmax_attention(p, q, k, v=None, scale=None, mask=None):
    s = p.add("MatMul", q, turn(p, k, 0, 2, 1))
    if scale:
        s = p.add("Mul", s, number(p, scale))
    if mask is not None:
        s = p.add("Add", s, unsqueeze(p, p.add("Mul", p.add("Sub", number(p, 1.0), mask), number(p, -1e9)), 1))
    return p.add("MatMul", p.add("Softmax", s, axis=-1), v or k)


add("attention: dot", QM, lambda p: softmax_attention(p, steps(p, "q"), steps(p, "m", width=6)))
add("attention: dot of inputs", {"q": "b t 6", "m": "b s 6"}, lambda p: dense(p, softmax_attention(p, "q", "m", scale=0.3)))
add("attention: dot, mask of the memory added", QM | {"mask": "mask b s"}, lambda p: softmax_attention(p, steps(p, "q"), steps(p, "m", width=6), mask="mask"))
add("attention: projected q, k, v", QM, lambda p: softmax_attention(p, dense(p, "q", 4, 5), dense(p, "m", 6, 5), dense(p, "m", 6, 9), scale=5**-0.5))
add("attention: projected q and k, no bias", QM,
    lambda p: softmax_attention(p, p.add("MatMul", "q", w(p, 4, 5)), p.add("MatMul", "m", w(p, 6, 5)), "m"))
add("attention: transposed product", QM,
    lambda p: turn(p, p.add("MatMul", turn(p, (m := steps(p, "m", width=6)), 0, 2, 1), p.add("Softmax", p.add("MatMul", m, turn(p, steps(p, "q"), 0, 2, 1)), axis=1)), 0, 2, 1))
add("attention: self", X, lambda p: softmax_attention(p, (y := steps(p)), y))
add("attention: self, causal", {"x": "b t=7 4"},
    lambda p: p.add("MatMul", p.add("Softmax", p.add("Add", p.add("MatMul", (y := steps(p)), turn(p, y, 0, 2, 1)), p.tensor("causal", np.triu(np.full((7, 7), -1e9, np.float32), 1))), axis=-1), y))
add("attention: Einsum", QM, lambda p: p.add("Einsum", p.add("Softmax", p.add("Einsum", steps(p, "q"), (m := steps(p, "m", width=6)), equation="bth,bsh->bts"), axis=-1), m, equation="bts,bsh->bth"))
add("attention: one operator of version 23", QM, lambda p: p.add("Attention", steps(p, "q"), (m := steps(p, "m", width=6)), m, q_num_heads=1, kv_num_heads=1), opset=23)
add("attention: additive, tf2onnx", QM,
    lambda p: p.add("MatMul", p.add("Softmax", p.add("ReduceSum", p.add("Mul", w(p, 6), p.add("Tanh", p.add("Add", unsqueeze(p, steps(p, "q"), 2), unsqueeze(p, (m := steps(p, "m", width=6)), 1)))), p.integers(-1), keepdims=0), axis=-1), m))
add("attention: additive, one query of Y_h", QM,
    lambda p: p.add("ReduceSum", p.add("Mul", p.add("Softmax", dense(p, p.add("Tanh", p.add("Add", unsqueeze(p, dense(p, squeeze(p, cell(p, turn(p, "q", 1, 0, 2), "GRU")[1], 0), 6, 5), 1), dense(p, "m", 6, 5))), 5, 1), axis=1), "m"), p.integers(1), keepdims=0))


def pooled(p, y, score, axis=1):
    return p.add("ReduceSum", p.add("Mul", p.add("Softmax", score, axis=axis), y), p.integers(1), keepdims=0)


add("attention pooling: Keras", X, lambda p: pooled(p, (y := steps(p)), p.add("Tanh", dense(p, y, 6, 1))))
add("attention pooling: Keras, flatten, repeat, permute", {"x": "b t=7 4"},
    lambda p: p.add("ReduceSum", p.add("Mul", (y := steps(p)), turn(p, p.add("Tile", unsqueeze(p, p.add("Softmax", p.add("Reshape", p.add("Tanh", dense(p, y, 6, 1)), p.integers(-1, 7)), axis=-1), 1), p.integers(1, 6, 1)), 0, 2, 1)), p.integers(1), keepdims=0))
add("attention pooling: bias of each step", {"x": "b t=7 4"}, lambda p: pooled(p, (y := steps(p)), p.add("Tanh", p.add("Add", p.add("MatMul", y, w(p, 6, 1)), w(p, 7, 1)))))
add("attention pooling: exp and sum by hand", X,
    lambda p: p.add("ReduceSum", p.add("Mul", p.add("Div", (e := p.add("Exp", p.add("Tanh", dense(p, (y := steps(p)), 6, 1)))), p.add("ReduceSum", e, p.integers(1))), y), p.integers(1), keepdims=0))
add("attention pooling: several rows", X, lambda p: p.add("MatMul", p.add("Softmax", turn(p, dense(p, p.add("Tanh", dense(p, (y := steps(p)), 6, 5)), 5, 3), 0, 2, 1), axis=-1), y))

# As tf2onnx writes Keras.


def zeros(p, x, directions=1, hidden=6, axis=0):
    shape = p.add("Concat", p.integers(directions), size(p, x, axis), p.integers(hidden), axis=0)
    return p.add("ConstantOfShape", shape, value=numpy_helper.from_array(np.zeros(1, np.float32)))


def tensordot(p, x, width, out):
    """A dense layer over three axes."""
    shape = p.add("Shape", x)
    lead = p.add("Gather", shape, p.integers(0, 1), axis=0)
    last = p.add("Gather", shape, p.integers(2), axis=0)
    both = p.add("Concat", p.add("ReduceProd", lead, axes=[0], keepdims=1), p.add("ReduceProd", last, axes=[0], keepdims=1), axis=0)
    y = p.add("MatMul", p.add("Reshape", x, both), w(p, width, out))
    return p.add("Add", p.add("Reshape", y, p.add("Concat", lead, p.integers(out), axis=0)), w(p, out))


def tf_lstm(p, last=False, op="LSTM"):
    z = zeros(p, "x")
    y, *rest = cell(p, turn(p, "x", 1, 0, 2), op, states=(z, z) if op == "LSTM" else (z,))
    return squeeze(p, rest[0], 0) if last else turn(p, squeeze(p, y, 1), 1, 0, 2)


def tf_last_of_steps(p):
    y = squeeze(p, cell(p, turn(p, "x", 1, 0, 2))[0], 1)
    return dense(p, squeeze(p, slices(p, y, -1, FAR, 0), 0))


def tf_bidirectional(p, merge):
    y = cell(p, turn(p, "x", 1, 0, 2), directions=2)[0]
    parts = [turn(p, squeeze(p, slices(p, y, i, i + 1, 1), 1), 1, 0, 2) for i in (0, 1)]
    return p.add("Concat", *parts, axis=-1) if merge == "concat" else p.add(merge, *parts)


def reversed_layer(p, back=True):
    """tf.reverse, as ReverseSequence over time first."""
    x = turn(p, "x", 1, 0, 2)
    lengths = p.add("Tile", size(p, x, 0), size(p, x, 1))
    y = squeeze(p, cell(p, p.add("ReverseSequence", x, lengths, time_axis=0, batch_axis=1))[0], 1)
    return turn(p, p.add("ReverseSequence", y, lengths, time_axis=0, batch_axis=1) if back else y, 1, 0, 2)


def conv1d(p, x, width=4, out=6, k=3, pads=(1, 1), **more):
    """A Conv1D of Keras: of two dimensions, one of them 1."""
    y = p.add("Conv", unsqueeze(p, turn(p, x, 0, 2, 1), 2), w(p, out, width // more.get("group", 1), 1, k), w(p, out), pads=[0, pads[0], 0, pads[1]], kernel_shape=[1, k], strides=[1, more.pop("stride", 1)], dilations=[1, more.pop("dilation", 1)], **more)
    return turn(p, squeeze(p, y, 2), 0, 2, 1)


def keras_norm(p, x, width=6):
    mean = p.add("ReduceMean", x, axes=[2], keepdims=1)
    centered = p.add("Sub", x, mean)
    variance = p.add("ReduceMean", p.add("Mul", centered, centered), axes=[2], keepdims=1)
    scale = p.add("Mul", p.add("Reciprocal", p.add("Sqrt", p.add("Add", variance, number(p, 1e-3)))), w(p, width))
    return p.add("Add", p.add("Mul", x, scale), p.add("Sub", w(p, width), p.add("Mul", mean, scale)))


add("tf2onnx: LSTM, dense by tensordot", X, lambda p: tensordot(p, tf_lstm(p), 6, 3), opset=13)
add("tf2onnx: LSTM, last state", X, lambda p: p.add("Softmax", dense(p, tf_lstm(p, True)), axis=-1), opset=13)
add("tf2onnx: GRU, last state", X, lambda p: dense(p, tf_lstm(p, True, "GRU")), opset=13)
add("tf2onnx: LSTM, last step", X, tf_last_of_steps, opset=13)
for merge in ("concat", "Add", "Mul", "Mean", "Max"):
    add(f"tf2onnx: both directions, {merge}", X, lambda p, merge=merge: dense(p, tf_bidirectional(p, merge), 12 if merge == "concat" else 6), opset=13)
add("tf2onnx: reversed", X, reversed_layer, opset=13)
add("tf2onnx: go_backwards, not turned back", X, lambda p: reversed_layer(p, False), opset=13)
add("tf2onnx: two layers, the second last", X, lambda p: dense(p, squeeze(p, cell(p, turn(p, tf_lstm(p), 1, 0, 2), "LSTM", 6, 5)[1], 0), 5), opset=13)
add("tf2onnx: Conv1D, pool, LSTM", X,
    lambda p: dense(p, squeeze(p, cell(p, turn(p, turn(p, squeeze(p, p.add("MaxPool", unsqueeze(p, turn(p, p.add("Relu", conv1d(p, "x")), 0, 2, 1), 2), kernel_shape=[1, 2], strides=[1, 2]), 2), 0, 2, 1), 1, 0, 2), "LSTM", 6, 5)[1], 0), 5), opset=13)
add("tf2onnx: Conv1D, causal", X, lambda p: conv1d(p, p.add("Pad", "x", p.integers(0, 4, 0, 0, 0, 0)), pads=(0, 0), dilation=2), opset=13)
add("tf2onnx: Conv1D, same, strided", X, lambda p: turn(p, squeeze(p, p.add("Conv", unsqueeze(p, turn(p, "x", 0, 2, 1), 2), w(p, 6, 4, 1, 3), auto_pad="SAME_UPPER", strides=[1, 2]), 2), 0, 2, 1), opset=13)
add("tf2onnx: DepthwiseConv1D", X, lambda p: conv1d(p, "x", out=8, group=4), opset=13)
add("tf2onnx: SeparableConv1D", X, lambda p: conv1d(p, conv1d(p, "x", out=4, group=4), k=1, pads=(0, 0)), opset=13)
add("tf2onnx: GlobalAveragePooling1D", X, lambda p: dense(p, p.add("ReduceMean", tf_lstm(p), axes=[1], keepdims=0)), opset=13)
add("tf2onnx: GlobalMaxPooling1D", X, lambda p: dense(p, p.add("ReduceMax", tf_lstm(p), axes=[1], keepdims=0)), opset=13)
add("tf2onnx: Flatten", {"x": "b t=7 4"}, lambda p: dense(p, p.add("Reshape", tf_lstm(p), p.integers(-1, 42)), 42), opset=13)
add("tf2onnx: RepeatVector", X, lambda p: turn(p, squeeze(p, cell(p, turn(p, p.add("Tile", unsqueeze(p, tf_lstm(p, True), 1), p.integers(1, 5, 1)), 1, 0, 2), "LSTM", 6, 5)[0], 1), 1, 0, 2), opset=13)
add("tf2onnx: TimeDistributed", {"x": "b t=7 4"}, lambda p: p.add("Reshape", dense(p, p.add("Reshape", tf_lstm(p), p.integers(-1, 6)), 6, 3), p.integers(-1, 7, 3)), opset=13)
add("tf2onnx: embedding, cast", {"x": "tokens11 b t"}, lambda p: dense(p, steps(p, p.add("Gather", w(p, 11, 4), p.add("Cast", "x", to=6))), 6), opset=13)
add("tf2onnx: layer normalization", X, lambda p: keras_norm(p, tf_lstm(p)), opset=13)
add("tf2onnx: batch normalization of features", X, lambda p: p.add("Add", p.add("Mul", tf_lstm(p), w(p, 6)), w(p, 6)), opset=13)
add("tf2onnx: batch normalization by an operator", X,
    lambda p: turn(p, p.add("BatchNormalization", turn(p, tf_lstm(p), 0, 2, 1), w(p, 6), w(p, 6), w(p, 6), p.tensor("var", np.float32(np.arange(1, 7)))), 0, 2, 1), opset=13)
add("tf2onnx: attention", QM, lambda p: p.add("MatMul", p.add("Softmax", p.add("Mul", p.add("MatMul", steps(p, "q"), turn(p, (m := steps(p, "m", width=6)), 0, 2, 1)), number(p, 0.7)), axis=-1), m), opset=13)
add("tf2onnx: attention, mask", QM | {"mask": "boolmask b s"},
    lambda p: p.add("MatMul", p.add("Softmax", p.add("Sub", p.add("MatMul", steps(p, "q"), turn(p, (m := steps(p, "m", width=6)), 0, 2, 1)), p.add("Mul", number(p, 1e9), p.add("Cast", p.add("Not", unsqueeze(p, "mask", 1)), to=1))), axis=-1), m), opset=13)
add("tf2onnx: tf.nn.moments of the input", X, lambda p: steps(p, p.add("Div", p.add("Sub", "x", p.tensor("mean", np.float32([[[1, 2, 3, 4]]]))), p.add("Max", p.add("Sqrt", p.tensor("v", np.float32([[[1, 2, 3, 4]]]))), number(p, 1e-7)))), opset=13)
add("tf2onnx: sequence to sequence with states", {"x": "b t 4", "z": "b s 3"},
    lambda p: (lambda y, h, c: dense(p, turn(p, squeeze(p, cell(p, turn(p, "z", 1, 0, 2), width=3, states=(h, c))[0], 1), 1, 0, 2)))(*cell(p, turn(p, "x", 1, 0, 2))), opset=13)
add("tf2onnx: states squeezed and back", {"x": "b t 4", "z": "b s 3"},
    lambda p: (lambda y, h, c: dense(p, turn(p, squeeze(p, cell(p, turn(p, "z", 1, 0, 2), width=3, states=(unsqueeze(p, squeeze(p, h, 0), 0), unsqueeze(p, squeeze(p, c, 0), 0)))[0], 1), 1, 0, 2)))(*cell(p, turn(p, "x", 1, 0, 2))), opset=13)

# As keras2onnx writes: versions 7 to 12, attributes.


def old(op):
    """An operator whose axes are an attribute."""
    return lambda p, x, *axes, **more: p.add(op, x, axes=list(axes), **more)


old_squeeze, old_unsqueeze = old("Squeeze"), old("Unsqueeze")


def k2_lstm(p, x="x", op="LSTM", directions=1, **more):
    return cell(p, turn(p, x, 1, 0, 2), op, directions=directions, **more)


HARD = {"activations": ["HardSigmoid", "Tanh", "Tanh"], "activation_alpha": [0.2], "activation_beta": [0.5]}
add("keras2onnx: LSTM", X, lambda p: p.add("Identity", turn(p, old_squeeze(p, k2_lstm(p)[0], 1), 1, 0, 2)), opset=11)
add("keras2onnx: LSTM, hard sigmoid", X, lambda p: turn(p, old_squeeze(p, k2_lstm(p, **HARD)[0], 1), 1, 0, 2), opset=7)
add("keras2onnx: LSTM, last", X, lambda p: dense(p, old_squeeze(p, k2_lstm(p)[1], 0)), opset=9)
add("keras2onnx: LSTM, last by reshape", X, lambda p: dense(p, p.add("Reshape", k2_lstm(p)[1], p.integers(-1, 6))), opset=9)
add("keras2onnx: GRU", X, lambda p: turn(p, old_squeeze(p, k2_lstm(p, op="GRU", linear_before_reset=1)[0], 1), 1, 0, 2), opset=9)
add("keras2onnx: both", X, lambda p: p.add("Reshape", turn(p, k2_lstm(p, directions=2)[0], 2, 0, 1, 3), p.integers(0, 0, -1)), opset=9)
add("keras2onnx: both, of known shape", {"x": "b t=7 4"}, lambda p: p.add("Reshape", turn(p, k2_lstm(p, directions=2)[0], 2, 0, 1, 3), p.integers(-1, 7, 12)), opset=9)
add("keras2onnx: both, last", X, lambda p: dense(p, p.add("Flatten", turn(p, k2_lstm(p, directions=2)[1], 1, 0, 2)), 12), opset=9)
add("keras2onnx: both, last, reshape", X, lambda p: dense(p, p.add("Reshape", turn(p, k2_lstm(p, directions=2)[1], 1, 0, 2), p.integers(-1, 12)), 12), opset=9)
add("keras2onnx: both, two splits", X, lambda p: p.add("Concat", *(turn(p, old_squeeze(p, part, 1), 1, 0, 2) for part in p.add("Split", k2_lstm(p, directions=2)[0], axis=1, count=2)), axis=2), opset=9)
add("keras2onnx: both, weights of old Split", X, lambda p: p.add("Add", *(turn(p, old_squeeze(p, part, 1), 1, 0, 2) for part in p.add("Split", k2_lstm(p, directions=2)[0], axis=1, split=[1, 1], count=2))), opset=9)
add("keras2onnx: layers with the mask of a length", X | {"n": "lengths32 b"}, lambda p: turn(p, old_squeeze(p, k2_lstm(p, lengths="n")[0], 1), 1, 0, 2), opset=11)
add("keras2onnx: last step by slice attributes", X, lambda p: dense(p, old_squeeze(p, p.add("Slice", old_squeeze(p, k2_lstm(p)[0], 1), starts=[-1], ends=[FAR], axes=[0]), 0)), opset=9)
add("keras2onnx: last steps, first features by slice attributes", X, lambda p: p.add("Slice", turn(p, old_squeeze(p, k2_lstm(p)[0], 1), 1, 0, 2), starts=[0], ends=[3], axes=[2]), opset=7)
add("keras2onnx: clip, attributes", X, lambda p: p.add("Clip", dense(p, turn(p, old_squeeze(p, k2_lstm(p)[0], 1), 1, 0, 2)), min=0.0, max=6.0), opset=7)
add("keras2onnx: dropout, attribute", X, lambda p: p.add("Dropout", dense(p, turn(p, old_squeeze(p, k2_lstm(p)[0], 1), 1, 0, 2)), ratio=0.3), opset=7)
add("keras2onnx: batch norm", X,
    lambda p: turn(p, p.add("BatchNormalization", turn(p, "x", 0, 2, 1), w(p, 4), w(p, 4), w(p, 4), p.tensor("var", np.float32([1, 2, 3, 4])), epsilon=1e-3), 0, 2, 1), opset=7)
add("keras2onnx: convolution, pad attributes, pool", X,
    lambda p: turn(p, p.add("MaxPool", p.add("Relu", p.add("Conv", p.add("Pad", turn(p, "x", 0, 2, 1), pads=[0, 0, 2, 0, 0, 0]), w(p, 6, 4, 3), w(p, 6))), kernel_shape=[2], strides=[2]), 0, 2, 1), opset=7)
add("keras2onnx: pad, edge, attributes", X, lambda p: turn(p, p.add("Conv", p.add("Pad", turn(p, "x", 0, 2, 1), pads=[0, 0, 1, 0, 0, 1], mode="edge"), w(p, 6, 4, 3), w(p, 6)), 0, 2, 1), opset=7)
add("keras2onnx: mean, attributes", X, lambda p: dense(p, p.add("ReduceMean", turn(p, old_squeeze(p, k2_lstm(p)[0], 1), 1, 0, 2), axes=[1], keepdims=0)), opset=7)
add("keras2onnx: sum, attributes", X | {"mask": "mask b t"},
    lambda p: p.add("Div", p.add("ReduceSum", p.add("Mul", turn(p, old_squeeze(p, k2_lstm(p)[0], 1), 1, 0, 2), old_unsqueeze(p, "mask", 2)), axes=[1], keepdims=0), p.add("ReduceSum", "mask", axes=[1], keepdims=1)), opset=11)
add("keras2onnx: softmax over the last of two axes", X, lambda p: p.add("Softmax", dense(p, old_squeeze(p, k2_lstm(p)[1], 0)), axis=1), opset=9)
add("keras2onnx: softmax of steps by reshape", {"x": "b t=7 4"}, lambda p: p.add("Reshape", p.add("Softmax", p.add("Reshape", dense(p, turn(p, old_squeeze(p, k2_lstm(p)[0], 1), 1, 0, 2)), p.integers(-1, 2)), axis=1), p.integers(-1, 7, 2)), opset=9)
add("keras2onnx: subgraph of a wrapped dense", {"x": "b t=7 4"}, lambda p: p.add("Reshape", p.add("Add", p.add("MatMul", p.add("Reshape", turn(p, old_squeeze(p, k2_lstm(p)[0], 1), 1, 0, 2), p.integers(-1, 6)), w(p, 6, 3)), w(p, 3)), p.integers(-1, 7, 3)), opset=10)

# Attributes and forms of the recurrent operators.

add("operator: reverse", X, lambda p: turn(p, squeeze(p, cell(p, turn(p, "x", 1, 0, 2), direction="reverse")[0], 1), 1, 0, 2))
add("operator: reverse, Y_h", X, lambda p: squeeze(p, cell(p, turn(p, "x", 1, 0, 2), direction="reverse")[1], 0))
add("operator: no bias, no hidden_size", X, lambda p: squeeze(p, p.add("GRU", turn(p, "x", 1, 0, 2), w(p, 1, 18, 4), w(p, 1, 18, 6), hidden_size=6, count=2)[0], 1))
add("operator: Y alone is named", X, lambda p: squeeze(p, p.add("LSTM", turn(p, "x", 1, 0, 2), w(p, 1, 24, 4), w(p, 1, 24, 6), hidden_size=6), 1))
add("operator: Y_h alone is named", X, lambda p: (p.nodes.append(helper.make_node("LSTM", [turn(p, "x", 1, 0, 2), w(p, 1, 24, 4), w(p, 1, 24, 6)], ["", "h"], "only", hidden_size=6)), squeeze(p, "h", 0))[1])
add("operator: Y_c alone is read", X, lambda p: squeeze(p, cell(p, turn(p, "x", 1, 0, 2))[2], 0))
add("operator: Y_c through a dense layer", X, lambda p: dense(p, squeeze(p, cell(p, turn(p, "x", 1, 0, 2))[2], 0)))
add("operator: weights from PyTorch's, by a graph", X,
    lambda p: squeeze(p, p.add("GRU", turn(p, "x", 1, 0, 2), *(unsqueeze(p, p.add("Concat", *(slices(p, base, 6 * i, 6 * i + 6, 0) for i in (1, 0, 2)), axis=0), 0) for base in (w(p, 18, 4), w(p, 18, 6))), unsqueeze(p, p.add("Concat", w(p, 18), w(p, 18), axis=0), 0), hidden_size=6, linear_before_reset=1, count=2)[0], 1))
add("operator: weights of 8 bits", X,
    lambda p: squeeze(p, p.add("LSTM", turn(p, "x", 1, 0, 2), *(p.add("DequantizeLinear", p.tensor(f"q{k}", p.rng.integers(-99, 99, (1, 24, k)).astype(np.int8)), number(p, 0.01), p.tensor(f"z{k}", np.int8(3))) for k in (4, 6)), hidden_size=6, count=3)[0], 1))
add("operator: weights of 16 bits, cast", X,
    lambda p: squeeze(p, p.add("LSTM", turn(p, "x", 1, 0, 2), *(p.add("Cast", p.tensor(f"q{k}", (0.4 * p.rng.standard_normal((1, 24, k))).astype(np.float16)), to=1) for k in (4, 6)), hidden_size=6, count=3)[0], 1))
add("operator: state by Expand of zeros", X, lambda p: (lambda z: squeeze(p, cell(p, turn(p, "x", 1, 0, 2), states=(z, z))[0], 1))(p.add("Expand", p.tensor("z0", np.zeros((1, 1, 6), np.float32)), p.add("Concat", p.integers(1), size(p, "x", 0), p.integers(1), axis=0))))
add("operator: state by Tile", X, lambda p: squeeze(p, cell(p, turn(p, "x", 1, 0, 2), "GRU", states=(p.add("Tile", w(p, 1, 1, 6), p.add("Concat", p.integers(1), size(p, "x", 0), p.integers(1), axis=0)),))[0], 1))
add("operator: state that a dense layer makes", X | {"v": "b 3"}, lambda p: squeeze(p, cell(p, turn(p, "x", 1, 0, 2), "GRU", states=(unsqueeze(p, p.add("Tanh", dense(p, "v", 3, 6)), 0),))[0], 1))
add("operator: one state input, cut", X | {"s": "hc 2 b 6"}, lambda p: (lambda y, h, c: [squeeze(p, y, 1), p.add("Concat", h, c, axis=0)])(*cell(p, turn(p, "x", 1, 0, 2), states=(slices(p, "s", 0, 1, 0), slices(p, "s", 1, 2, 0)))))
add("operator: one state input, split", X | {"s": "hc 2 b 6"}, lambda p: (lambda y, h, c: [squeeze(p, y, 1), p.add("Concat", h, c, axis=0)])(*cell(p, turn(p, "x", 1, 0, 2), states=p.add("Split", "s", axis=0, count=2))))
add("operator: one state input of two layers, gathered", X | {"s": "h 2 b 6"},
    lambda p: (lambda a: (lambda b: [squeeze(p, b[0], 1), p.add("Concat", a[1], b[1], axis=0)])(cell(p, squeeze(p, a[0], 1), "GRU", 6, 6, states=(p.add("Gather", "s", p.integers(1), axis=0),))))(cell(p, turn(p, "x", 1, 0, 2), "GRU", states=(p.add("Gather", "s", p.integers(0), axis=0),))))
add("operator: states batch first", X | {"h": "h b 1 6", "c": "c b 1 6"}, lambda p: (lambda y, h, c: [squeeze(p, y, 1), turn(p, h, 1, 0, 2), turn(p, c, 1, 0, 2)])(*cell(p, turn(p, "x", 1, 0, 2), states=(turn(p, "h", 1, 0, 2), turn(p, "c", 1, 0, 2)))))
add("operator: peepholes, clip, coupled", X, lambda p: squeeze(p, p.add("LSTM", turn(p, "x", 1, 0, 2), w(p, 1, 24, 4), w(p, 1, 24, 6), w(p, 1, 48), "", "", "", w(p, 1, 18), hidden_size=6, clip=0.7, input_forget=1, count=3)[0], 1))
add("operator: CNTK, four axes", {"x": "t b 4"}, lambda p: p.add("Reshape", cell(p, "x")[0], p.integers(0, -1, 6)), opset=7)
add("operator: Y goes out as it is", {"x": "t b 4"}, lambda p: cell(p, "x", directions=2)[0])
add("operator: all out, as they are", {"x": "t b 4"}, lambda p: cell(p, "x", directions=2))

# Convolutions and pools.


def through(op, *inputs, width=4, **more):
    """Batch first, in and out, through an operator over (batch, features, time)."""
    return lambda p: turn(p, p.add(op, turn(p, "x", 0, 2, 1), *(make(p) for make in inputs), **more), 0, 2, 1)


def filters(*shape):
    return lambda p: w(p, *shape)


CONVOLUTIONS = {
    "depthwise": through("Conv", filters(4, 1, 3), filters(4), group=4, pads=[1, 1]),
    "depthwise, two for each, dilated": through("Conv", filters(8, 1, 3), group=4, pads=[2, 2], dilations=[2]),
    "groups of 2, strided": through("Conv", filters(6, 2, 3), filters(6), group=2, strides=[2]),
    "SAME_LOWER": through("Conv", filters(6, 4, 4), auto_pad="SAME_LOWER"),
    "VALID": through("Conv", filters(6, 4, 4), auto_pad="VALID"),
    "max pool, ceil_mode": through("MaxPool", kernel_shape=[3], strides=[2], ceil_mode=1),
    "max pool, ceil_mode, pads": through("MaxPool", kernel_shape=[3], strides=[2], pads=[1, 1], ceil_mode=1),
    "max pool, dilated": through("MaxPool", kernel_shape=[2], dilations=[2]),
    "mean pool, ceil_mode": through("AveragePool", kernel_shape=[2], strides=[2], ceil_mode=1),
    "mean pool, pads counted": through("AveragePool", kernel_shape=[3], pads=[1, 1], count_include_pad=1),
    "mean pool, pads not counted": through("AveragePool", kernel_shape=[3], pads=[1, 1]),
    "mean pool, pads of no size counted": through("AveragePool", kernel_shape=[3], count_include_pad=1),
    "power pool": through("LpPool", kernel_shape=[2], p=2),
    "transposed": through("ConvTranspose", filters(4, 6, 2), strides=[2]),
    "instance norm": through("InstanceNormalization", filters(4), filters(4)),
    "channel shuffle": lambda p: turn(p, p.add("Reshape", turn(p, p.add("Reshape", turn(p, "x", 0, 2, 1), p.integers(0, 2, 2, -1)), 0, 2, 1, 3), p.integers(0, 4, -1)), 0, 2, 1),
}  # fmt: skip
for name, build in CONVOLUTIONS.items():
    add(f"window: {name}", X, lambda p, build=build: steps(p, build(p), width=p_width(p)))


def p_width(p):
    """The features before a layer: those of the last filters, or the input's."""
    for node in reversed(p.nodes):
        if node.op_type == "Conv":
            return p.tensors[node.input[1]].shape[0]
        if node.op_type == "ConvTranspose":
            return p.tensors[node.input[1]].shape[1]
    return 4


for mode in ("reflect", "edge", "constant", "wrap"):
    for pads in ((1, 1), (2, 0)):
        add(f"pad: {mode} {pads}, convolution", X,
            lambda p, mode=mode, pads=pads: turn(p, p.add("Conv", p.add("Pad", turn(p, "x", 0, 2, 1), p.integers(0, 0, pads[0], 0, 0, pads[1]), mode=mode), w(p, 6, 4, 3), w(p, 6)), 0, 2, 1), opset=19)
add("pad: of axes", X, lambda p: turn(p, p.add("Conv", p.add("Pad", turn(p, "x", 0, 2, 1), p.integers(2, 0), "", p.integers(-1)), w(p, 6, 4, 3)), 0, 2, 1), opset=18)
add("pad: of a value that is given as 0", X, lambda p: turn(p, p.add("Conv", p.add("Pad", turn(p, "x", 0, 2, 1), p.integers(0, 0, 2, 0, 0, 0), number(p, 0.0)), w(p, 6, 4, 3)), 0, 2, 1))
add("pad: negative", X, lambda p: steps(p, p.add("Pad", "x", p.integers(0, -1, 0, 0, -1, 0))))
add("pad: features", X, lambda p: steps(p, p.add("Pad", "x", p.integers(0, 0, 0, 0, 0, 2)), width=6))
add("pad: before a layer without a convolution", X, lambda p: steps(p, p.add("Pad", "x", p.integers(0, 2, 0, 0, 0, 0))))
add("reduce: mean of channels over time (version 18)", X, lambda p: dense(p, p.add("ReduceMean", steps(p), p.integers(1), keepdims=0)), opset=18)
add("reduce: global mean of three axes", X, lambda p: dense(p, p.add("Reshape", p.add("GlobalAveragePool", turn(p, steps(p), 0, 2, 1)), p.integers(0, -1))))
add("reduce: global mean of four axes", X, lambda p: dense(p, p.add("Flatten", p.add("GlobalAveragePool", unsqueeze(p, turn(p, steps(p), 0, 2, 1), 2)))))
add("reduce: no axes, nothing to do", X, lambda p: p.add("ReduceSum", steps(p), noop_with_empty_axes=1))
add("reduce: the sum over features", X, lambda p: p.add("ReduceSum", steps(p), p.integers(2)))
add("reduce: the mean over features", X, lambda p: p.add("ReduceMean", steps(p), axes=[-1]))
add("reduce: the largest over features", X, lambda p: p.add("ReduceMax", steps(p), axes=[-1]))
add("reduce: mean over time and features", X, lambda p: p.add("ReduceMean", steps(p), axes=[1, 2], keepdims=0))
add("2d: width 1, one channel, shared by features", X, lambda p: steps(p, p.add("Reshape", turn(p, p.add("Relu", p.add("Conv", unsqueeze(p, "x", 1), w(p, 3, 1, 3, 1), w(p, 3), pads=[1, 0, 1, 0])), 0, 2, 1, 3), p.integers(0, 0, 12)), width=12))
add("2d: width 1, pool of width 1", X, lambda p: steps(p, p.add("Reshape", turn(p, p.add("MaxPool", p.add("Conv", unsqueeze(p, "x", 1), w(p, 3, 1, 3, 1), w(p, 3), pads=[1, 0, 1, 0]), kernel_shape=[2, 1], strides=[2, 1]), 0, 2, 1, 3), p.integers(0, -1, 12)), width=12))
add("2d: over all features", X, lambda p: steps(p, turn(p, squeeze(p, p.add("Conv", unsqueeze(p, "x", 1), w(p, 6, 1, 3, 4), w(p, 6), pads=[1, 0, 1, 0]), 3), 0, 2, 1), width=6))
add("2d: height 1", X, lambda p: steps(p, turn(p, squeeze(p, p.add("Conv", unsqueeze(p, turn(p, "x", 0, 2, 1), 2), w(p, 6, 4, 1, 3), w(p, 6), pads=[0, 1, 0, 1]), 2), 0, 2, 1), width=6))
add("2d: depthwise over all features (EEG)", X, lambda p: steps(p, turn(p, squeeze(p, p.add("Conv", p.add("Conv", unsqueeze(p, turn(p, "x", 0, 2, 1), 1), w(p, 3, 1, 1, 3), pads=[0, 1, 0, 1]), w(p, 6, 1, 4, 1), group=3), 2), 0, 2, 1), width=6))
add("2d: both axes", X, lambda p: steps(p, p.add("Reshape", turn(p, p.add("Conv", unsqueeze(p, "x", 1), w(p, 3, 1, 3, 3), pads=[1, 1, 1, 1]), 0, 2, 1, 3), p.integers(0, 0, -1)), width=12))

# Arithmetic and single operators.


def before(f):
    return lambda p: steps(p, f(p, dense(p, "x", 4, 6)), width=6)


def one(op, **more):
    return lambda p, x: p.add(op, x, **more)


OPERATORS = {
    "Gelu": (one("Gelu"), 20), "Gelu tanh": (one("Gelu", approximate="tanh"), 20), "Mish": (one("Mish"), 18), "HardSwish": (one("HardSwish"), 14),
    "Celu": (one("Celu", alpha=0.7), 13), "Selu": (one("Selu"), 6 + 7), "Shrink": (one("Shrink", lambd=0.3, bias=0.3), 13), "Abs": (one("Abs"), 13), "Exp": (one("Exp"), 13),
    "Sign": (one("Sign"), 13), "Sin": (one("Sin"), 13), "Erf": (one("Erf"), 13), "Floor": (one("Floor"), 13), "Neg": (one("Neg"), 13), "Atan": (one("Atan"), 13),
    "PRelu of one": (lambda p, x: p.add("PRelu", x, w(p, 1)), 13), "PRelu of features": (lambda p, x: p.add("PRelu", x, w(p, 6)), 13),
    "Log of square": (lambda p, x: p.add("Log", p.add("Add", p.add("Mul", x, x), number(p, 1.0))), 13),
    "Pow 2": (lambda p, x: p.add("Pow", x, number(p, 2.0)), 13), "Pow 3": (lambda p, x: p.add("Pow", x, number(p, 3.0)), 13), "x times x": (lambda p, x: p.add("Mul", x, x), 13),
    "Sqrt of Relu": (lambda p, x: p.add("Sqrt", p.add("Relu", x)), 13), "1 / (1 + exp)": (lambda p, x: p.add("Div", number(p, 1.0), p.add("Add", number(p, 1.0), p.add("Exp", p.add("Neg", x)))), 13),
    "Reciprocal of 1 + exp": (lambda p, x: p.add("Reciprocal", p.add("Add", p.add("Exp", p.add("Neg", x)), number(p, 1.0))), 13),
    "tanh by exp": (lambda p, x: p.add("Div", p.add("Sub", (e := p.add("Exp", p.add("Mul", x, number(p, 2.0)))), number(p, 1.0)), p.add("Add", e, number(p, 1.0))), 13),
    "Clip both": (lambda p, x: p.add("Clip", x, number(p, -0.5), number(p, 0.5)), 13), "Clip below": (lambda p, x: p.add("Clip", x, number(p, 0.0)), 13), "Clip above": (lambda p, x: p.add("Clip", x, "", number(p, 0.5)), 13),
    "Min with a number": (lambda p, x: p.add("Min", x, number(p, 0.5)), 13), "Max with a number": (lambda p, x: p.add("Max", x, number(p, 0.0)), 13), "Max of features": (lambda p, x: p.add("Max", x, w(p, 6)), 13),
    "Where above 0": (lambda p, x: p.add("Where", p.add("Greater", x, number(p, 0.0)), x, p.add("Mul", x, number(p, 0.1))), 13),
    "Sum of three": (lambda p, x: p.add("Sum", x, p.add("Tanh", x), p.add("Sigmoid", x)), 13), "Mean of two": (lambda p, x: p.add("Mean", x, p.add("Tanh", x)), 13),
    "GLU": (lambda p, x: (lambda a, b: p.add("Concat", m := p.add("Mul", a, p.add("Sigmoid", b)), m, axis=-1))(*p.add("Split", x, axis=-1, count=2)), 13),
    "Softmax with temperature": (lambda p, x: p.add("Softmax", p.add("Div", x, number(p, 0.7)), axis=-1), 13), "Hardmax": (one("Hardmax", axis=-1), 13),
    "LogSoftmax by hand": (lambda p, x: p.add("Sub", x, p.add("ReduceLogSumExp", x, axes=[-1])), 13), "Softmax by hand": (lambda p, x: p.add("Div", (e := p.add("Exp", x)), p.add("ReduceSum", e, p.integers(-1))), 13),
    "Softmax by hand, less the largest": (lambda p, x: p.add("Div", (e := p.add("Exp", p.add("Sub", x, p.add("ReduceMax", x, axes=[-1])))), p.add("ReduceSum", e, p.integers(-1))), 13),
    "LayerNormalization": (lambda p, x: p.add("LayerNormalization", x, w(p, 6), w(p, 6), axis=-1), 17), "RMSNormalization": (lambda p, x: p.add("RMSNormalization", x, w(p, 6)), 23),
    "LpNormalization": (one("LpNormalization", axis=-1), 13), "L2 by hand": (lambda p, x: p.add("Div", x, p.add("Max", p.add("ReduceL2", x, axes=[-1]), number(p, 1e-12))), 13),
    "RMS by hand": (lambda p, x: p.add("Mul", p.add("Div", x, p.add("Sqrt", p.add("Add", p.add("ReduceMean", p.add("Mul", x, x), axes=[-1]), number(p, 1e-6)))), w(p, 6)), 13),
    "MeanVarianceNormalization": (one("MeanVarianceNormalization", axes=[2]), 13), "quantized on the way": (lambda p, x: p.add("DequantizeLinear", p.add("QuantizeLinear", x, number(p, 0.01), p.tensor("z", np.int8(0))), number(p, 0.01), p.tensor("z2", np.int8(0))), 13),
    "Swish by hand": (lambda p, x: p.add("Mul", x, p.add("Sigmoid", x)), 13), "HardSwish by hand": (lambda p, x: p.add("Mul", x, p.add("HardSigmoid", x, alpha=1 / 6, beta=0.5)), 13),
    "Gelu by hand": (lambda p, x: p.add("Mul", p.add("Mul", x, number(p, 0.5)), p.add("Add", p.add("Erf", p.add("Div", x, number(p, 2**0.5))), number(p, 1.0))), 13),
    "Mish by hand": (lambda p, x: p.add("Mul", x, p.add("Tanh", p.add("Softplus", x))), 13), "cast to double and back": (lambda p, x: p.add("Cast", p.add("Cast", x, to=11), to=1), 13),
    "CumSum": (lambda p, x: p.add("CumSum", x, scalar(p, 1)), 13), "features turned around": (lambda p, x: slices(p, x, -1, -FAR, 2, -1), 13), "features in another order": (lambda p, x: p.add("Gather", x, p.integers(5, 0, 3, 1, 2, 4), axis=2), 13),
}  # fmt: skip
for name, (f, opset) in OPERATORS.items():
    add(f"op: {name}", X, before(f), opset=opset)
add("graph: identities, unused nodes", X, lambda p: (p.add("Relu", "x"), p.add("Identity", p.add("Identity", steps(p, p.add("Identity", "x")))))[1])
add("graph: constants by nodes", X, lambda p: p.add("Add", p.add("MatMul", "x", p.add("Constant", value=numpy_helper.from_array(p.rng.standard_normal((4, 3)).astype(np.float32)))), p.add("Constant", value_floats=[0.1, 0.2, 0.3])))
add("graph: a bias of two parts", X, lambda p: p.add("Add", dense(p, "x", 4, 3), p.add("Add", w(p, 3), w(p, 3))))
add("graph: If on a known condition", X, lambda p: chosen_branch(p, p.tensor("yes", np.array(True))))
add("graph: If on the rank of the input", X, lambda p: chosen_branch(p, p.add("Equal", p.add("Size", p.add("Shape", "x")), scalar(p, 3))))
add("graph: If on an input", X, lambda p: chosen_branch(p, p.add("Equal", "sr", scalar(p, 16000))), given={"sr": np.int64(16000)})
add("graph: squeeze only where it is 1 (as PyTorch exports squeeze)", X,
    lambda p: chosen_squeeze(p, p.add("GRU", turn(p, "x", 1, 0, 2), w(p, 1, 18, 4), w(p, 1, 18, 6), hidden_size=6, count=2)[1]))


def chosen_branch(p, condition):
    ends = [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)]
    y = steps(p)
    branches = {f"{name}_branch": helper.make_graph([helper.make_node(op, [y], ["z"], f"in_{name}")], name, [], ends) for name, op in (("then", "Tanh"), ("else", "Relu"))}
    return p.add("If", condition, **branches)


def chosen_squeeze(p, h):
    condition = p.add("Equal", p.add("Gather", p.add("Shape", h), scalar(p, 0), axis=0), scalar(p, 1))
    ends = [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)]
    branches = {"then_branch": helper.make_graph([helper.make_node("Squeeze", [h, p.integers(0)], ["z"])], "then", [], ends), "else_branch": helper.make_graph([helper.make_node("Identity", [h], ["z"])], "else", [], ends)}
    return p.add("If", condition, **branches)


add("tokens: tied weights", {"x": "tokens11 b t"}, lambda p: p.add("MatMul", steps(p, p.add("Gather", (e := w(p, 11, 6)), "x"), width=6), turn(p, e, 1, 0)))
add("tokens: tied weights, Gemm", {"x": "tokens11 b t"}, lambda p: p.add("Gemm", p.add("Reshape", steps(p, p.add("Gather", (e := w(p, 11, 6)), "x"), width=6), p.integers(-1, 6)), e, transB=1))
add("tokens: clipped", {"x": "tokens11 b t"}, lambda p: steps(p, p.add("Gather", w(p, 11, 4), p.add("Min", p.add("Max", "x", scalar(p, 0)), scalar(p, 10)))))
add("tokens: scaled, positions of a table", {"x": "tokens11 b t=7"}, lambda p: steps(p, p.add("Add", p.add("Mul", p.add("Gather", w(p, 11, 4), "x"), number(p, 2.0)), w(p, 7, 4))))
add("tokens: table of 8 bits", {"x": "tokens11 b t"}, lambda p: steps(p, p.add("Gather", p.add("DequantizeLinear", p.tensor("q", p.rng.integers(-99, 99, (11, 4)).astype(np.int8)), number(p, 0.01)), "x")))
add("tokens: of each step, several (b, t, 3), summed", {"x": "tokens11 b t 3"}, lambda p: steps(p, p.add("ReduceSum", p.add("Gather", w(p, 11, 4), "x"), p.integers(2), keepdims=0)))
add("tokens: two columns, two tables", {"x": "tokens5 b t 2"}, lambda p: steps(p, p.add("Concat", *(p.add("Gather", w(p, 5, k), p.add("Gather", "x", scalar(p, i), axis=2)) for i, k in ((0, 3), (1, 1))), axis=-1)))
add("decoder: h of the first direction", {"x": "b t 4", "z": "b s 3"}, lambda p: squeeze(p, cell(p, turn(p, "z", 1, 0, 2), "GRU", 3, states=(slices(p, cell(p, turn(p, "x", 1, 0, 2), "GRU", directions=2)[1], 0, 1, 0),))[0], 1))
add("decoder: h of both, through a dense layer", {"x": "b t 4", "z": "b s 3"},
    lambda p: squeeze(p, cell(p, turn(p, "z", 1, 0, 2), "GRU", 3, states=(unsqueeze(p, p.add("Tanh", dense(p, p.add("Reshape", turn(p, cell(p, turn(p, "x", 1, 0, 2), "GRU", directions=2)[1], 1, 0, 2), p.integers(0, -1)), 12, 6)), 0),))[0], 1))
add("pairs: a sum of all pairs of steps", {"q": "b t 6", "m": "b s 6"}, lambda p: p.add("Tanh", p.add("Add", unsqueeze(p, dense(p, "q", 6, 5), 2), unsqueeze(p, dense(p, "m", 6, 5), 1))))
add("pairs: a sum of all pairs of steps of one input", X, lambda p: p.add("Tanh", p.add("Add", unsqueeze(p, (y := dense(p, "x", 4, 5)), 2), unsqueeze(p, y, 1))))
add("pairs: a sum of all pairs of steps of a known number", {"q": "b t=6 4", "m": "b s=6 4"}, lambda p: p.add("Relu", p.add("Add", unsqueeze(p, dense(p, "q", 4, 5), 2), unsqueeze(p, dense(p, "m", 4, 5), 1))))
add("pairs: a vector beside each of another's", {"q": "b 4", "m": "b 3"}, lambda p: p.add("Mul", unsqueeze(p, dense(p, "q", 4, 5), 2), unsqueeze(p, dense(p, "m", 3, 6), 1)))


add("pairs: each sequence beside each", X, lambda p: p.add("Tanh", p.add("Add", (y := dense(p, "x", 4, 5)), unsqueeze(p, y, 1))))
add("pairs: each vector beside each", {"v": "b 4"}, lambda p: p.add("Tanh", p.add("Add", (y := dense(p, "v", 4, 5)), unsqueeze(p, y, 1))))
add("pairs: each last step beside each", X, lambda p: p.add("Mul", squeeze(p, (h := k2_lstm(p)[1]), 0), turn(p, h, 1, 0, 2)))
add("pairs: one feature, with its axis and without", {"x": "b=5 t=5 4"}, lambda p: p.add("Sub", squeeze(p, (y := dense(p, steps(p), 6, 1)), 2), y))
add("pairs: products of all features", {"v": "b 4"}, lambda p: p.add("Mul", unsqueeze(p, (y := dense(p, "v", 4, 5)), 1), unsqueeze(p, y, 2)))
add("pairs: products of all features at each step", X, lambda p: p.add("Mul", unsqueeze(p, (y := steps(p)), 2), unsqueeze(p, y, 3)))
add("pairs: steps beside a vector of each", {"x": "b=5 t=5 4", "v": "b=5 6"}, lambda p: p.add("Add", unsqueeze(p, steps(p), 2), unsqueeze(p, "v", 1)))
add("pairs: largest of all pairs", X, lambda p: p.add("ReduceMax", p.add("Add", unsqueeze(p, (y := steps(p)), 2), unsqueeze(p, y, 1)), axes=[2], keepdims=0))
add("pairs: mean of all pairs", X, lambda p: p.add("ReduceMean", p.add("Mul", unsqueeze(p, (y := steps(p)), 2), unsqueeze(p, y, 1)), axes=[2], keepdims=0))
add("pairs: sum side by side", X, lambda p: p.add("Relu", p.add("Add", dense(p, unsqueeze(p, (y := steps(p)), 2), 6, 5), dense(p, unsqueeze(p, y, 1), 6, 5))))
add("axes: one of 1 kept in front", X, lambda p: unsqueeze(p, steps(p), 0))
add("axes: one of 1 kept within", X, lambda p: unsqueeze(p, steps(p), 2))
add("axes: one of 1 through a layer", X, lambda p: dense(p, unsqueeze(p, steps(p), 2)))
add("axes: the mean kept, beside all steps", X, lambda p: p.add("Sub", (y := steps(p)), p.add("ReduceMean", y, axes=[1])))
add("axes: the mean kept, concatenated to steps in time", {"x": "b t=7 4"}, lambda p: p.add("Concat", (y := steps(p)), p.add("ReduceMean", y, axes=[1]), axis=1))
add("axes: sequences one after the other in time", {"x": "b t 4", "z": "b s 4"}, lambda p: steps(p, p.add("Concat", "x", "z", axis=1)))
add("axes: sequences one after the other in the batch", {"x": "b t 4", "z": "b t 4"}, lambda p: steps(p, p.add("Concat", "x", "z", axis=0)))
add("reversed by lengths, a layer without lengths", XN,
    lambda p: p.add("ReverseSequence", steps(p, p.add("ReverseSequence", "x", "n", time_axis=1, batch_axis=0)), "n", time_axis=1, batch_axis=0))
add("both directions by lengths, two layers", XN,
    lambda p: p.add("Concat", steps(p), p.add("ReverseSequence", steps(p, p.add("ReverseSequence", "x", "n", time_axis=1, batch_axis=0)), "n", time_axis=1, batch_axis=0), axis=2))
add("both directions by lengths, last state of each", XN,
    lambda p: p.add("Concat", *(squeeze(p, cell(p, turn(p, x, 1, 0, 2), "GRU", lengths=p.add("Cast", "n", to=6))[1], 0) for x in ("x", p.add("ReverseSequence", "x", "n", time_axis=1, batch_axis=0))), axis=1))


def per_channel(p, axis, *shape):
    """Weights of 8 bits with a scale for each output."""
    q = p.tensor(f"q{len(p.tensors)}", p.rng.integers(-99, 99, shape).astype(np.int8))
    count = shape[axis]
    scale = p.tensor(f"s{len(p.tensors)}", p.rng.uniform(0.005, 0.02, count).astype(np.float32))
    return p.add("DequantizeLinear", q, scale, p.tensor(f"z{len(p.tensors)}", np.zeros(count, np.int8)), axis=axis)


add("8 bits: convolution, a scale for each output", X, lambda p: steps(p, turn(p, p.add("Conv", turn(p, "x", 0, 2, 1), per_channel(p, 0, 6, 4, 3), pads=[1, 1]), 0, 2, 1), width=6))
add("8 bits: product, a scale for each output", X, lambda p: steps(p, p.add("Add", p.add("MatMul", "x", per_channel(p, 1, 4, 6)), w(p, 6)), width=6))
add("8 bits: Gemm, transposed, bias of 32 bits", X,
    lambda p: p.add("Gemm", squeeze(p, k2_lstm(p)[1], 0), per_channel(p, 0, 3, 6), p.add("DequantizeLinear", p.tensor("b32", np.array([50, -70, 20], np.int32)), number(p, 0.01)), transB=1))


def dynamic_product(p):
    y, scale, zero = p.add("DynamicQuantizeLinear", "x", count=3)
    whole = p.add("MatMulInteger", y, p.tensor("q", p.rng.integers(-99, 99, (4, 6)).astype(np.int8)), zero, p.tensor("z", np.int8(0)))
    return steps(p, p.add("Add", p.add("Mul", p.add("Cast", whole, to=1), p.add("Mul", scale, number(p, 0.01))), w(p, 6)), width=6)


add("8 bits: computed in them", X, dynamic_product)


def with_function(case_name, body, opset=17):
    """A model with a function of its own, as the first newer exporters of PyTorch wrote them."""
    case = Case(case_name, X, lambda: b"")

    def build():
        import onnx

        model = onnx.load_from_string(made(case, lambda p: steps(p, dense(p, "x", 4, 6), width=6), opset))
        nodes = [helper.make_node(op, list(reads), [gives]) for op, reads, gives in body]
        model.functions.append(helper.make_function("own", "Act", ["x"], ["y"], nodes, [helper.make_opsetid("", opset)]))
        model.opset_import.append(helper.make_opsetid("own", 1))
        at = next(i for i, node in enumerate(model.graph.node) if node.op_type == "Add")
        name = model.graph.node[at].output[0]
        for node in model.graph.node[at + 1 :]:
            for i, read in enumerate(node.input):
                if read == name:
                    node.input[i] = "acted"
        model.graph.node.insert(at + 1, helper.make_node("Act", [name], ["acted"], "act", domain="own"))
        return model.SerializeToString()

    case.build = build
    CASES.append(case)


with_function("graph: a function of its own", [("Sigmoid", ["x"], "s"), ("Mul", ["x", "s"], "y")])


def detector_branch(window, hidden=6):
    """As in a detector of voice: a mirrored end, a transform by a convolution, magnitudes, convolutions, a cell."""
    p, bins = Parts(np.random.default_rng(window)), window // 2 + 1
    x = p.add("Pad", unsqueeze(p, "x", 1), p.integers(0, 0, 0, 0, 0, window // 4), mode="reflect")
    both = p.add("Conv", x, w(p, 2 * bins, 1, window, scale=0.2), strides=[window // 2])
    parts = (p.add("Pow", slices(p, both, *ends, 1), number(p, 2.0)) for ends in ((0, bins), (bins, FAR)))
    x = p.add("Relu", p.add("Conv", p.add("Sqrt", p.add("Add", *parts)), w(p, 5, bins, 3), w(p, 5), pads=[1, 1]))
    x = p.add("Relu", p.add("Conv", x, w(p, 7, 5, 3), w(p, 7), pads=[1, 1], strides=[2]))
    h, c = (unsqueeze(p, p.add("Gather", "state", scalar(p, i), axis=0), 0) for i in (0, 1))
    y, h, c = cell(p, turn(p, x, 2, 0, 1), width=7, hidden=hidden, states=(h, c))
    x = p.add("Sigmoid", p.add("Conv", p.add("Relu", turn(p, squeeze(p, y, 1), 1, 2, 0)), w(p, 1, hidden, 1), w(p, 1)))
    y = p.add("ReduceMean", squeeze(p, x, 1), axes=[1])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in (y, p.add("Concat", h, c, axis=0))]
    return helper.make_graph(p.nodes, f"rate{window}", [], ends, [numpy_helper.from_array(a, n) for n, a in p.tensors.items()])


def detector(p):
    condition = p.add("Equal", "sr", scalar(p, 16000))
    return p.add("If", condition, count=2, then_branch=detector_branch(32), else_branch=detector_branch(16))


for rate in (16000, 8000):
    add(f"sound: detector of two rates, {rate}", {"x": "b t=128", "state": "hc 2 b 6"}, detector, given={"sr": np.int64(rate)})


# What this library writes.


def written(name, network, inputs, **more):
    case = Case(f"elman: {name}", inputs, lambda: b"")

    def build():
        import tempfile
        from pathlib import Path

        import elman

        net, rng = network(elman), np.random.default_rng(zlib.crc32(name.encode()))
        for array in net.parameters.values():
            array[...] = 0.4 * rng.standard_normal(array.shape)
        with tempfile.TemporaryDirectory() as folder:
            elman.to_onnx(net, Path(folder) / "net.onnx", **more)
            return (Path(folder) / "net.onnx").read_bytes()

    case.build = build
    CASES.append(case)


for kind in ("dot", "additive"):
    for units in (None, 5):
        written(f"attention, {kind}, units {units}", lambda e, kind=kind, units=units: e.Network({"memory": (e.GRU(4, 6), "x"), "reader": (e.GRU(3, 6), "z"), "context": (e.Attention(6, 6, units=units, kind=kind), "reader", "memory")}), {"x": "b t 4", "z": "b s 3"})
        written(f"self attention, {kind}, units {units}", lambda e, kind=kind, units=units: e.Network({"y": (e.GRU(4, 6), "x"), "context": (e.Attention(6, 6, units=units, kind=kind), "y", "y"), "out": (e.Dense(6, 2), "context")}), X)
        written(f"one query, {kind}, units {units}", lambda e, kind=kind, units=units: e.Network({"y": (e.GRU(4, 6), "x"), "q": (e.LastStep(), "y"), "context": (e.Attention(6, 6, units=units, kind=kind), "q", "y"), "out": (e.Dense(6, 2), "context")}), X)
written("attention, dot, not scaled", lambda e: e.Network({"memory": (e.GRU(4, 6), "x"), "reader": (e.GRU(3, 6), "z"), "context": (e.Attention(6, 6, scaled=False), "reader", "memory")}), {"x": "b t 4", "z": "b s 3"})
written("attention with lengths", lambda e: e.Network({"y": (e.GRU(4, 6), "x"), "context": (e.Attention(6, 6, units=5), "y", "y")}), X | {"lengths": "lengths32 b"}, lengths=True)
written("mean, max and last with lengths", lambda e: e.Network({"y": (e.GRU(4, 6, bidirectional=True), "x"), "a": (e.MeanOverTime(), "y"), "b": (e.MaxOverTime(), "y"), "c": (e.LastStep(), "y"), "out": (e.Concatenate(), "a", "b", "c")}), X | {"lengths": "lengths32 b"}, lengths=True)
written("decoder", lambda e: e.Network({"e": (e.LSTM(4, 6), "x"), "d": e.Node(e.LSTM(3, 6), "z", state="e")}), {"x": "b t 4", "z": "b s 3"})
