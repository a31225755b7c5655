"""The operators that stand around recurrent ones, each as it may be written, beside ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx

from elman.checks import FormatError
from elman.interop.onnx.reading.reader import from_onnx, read_onnx
from onnx_models import Parts, helper, random_arguments, recurrent, session

FAR = 2**63 - 1


def steps(parts, direction="forward", op="GRU", **more):
    """A recurrent layer over x (batch, time, 3): its output (time, batch, features), what it gives, and its width."""
    outputs, hidden, directions = recurrent(
        parts, parts.add("Transpose", "x", perm=[1, 0, 2]), 3, op, direction=direction, **more
    )
    y = outputs[0]
    if directions == 1:
        return parts.add("Squeeze", y, axes=[1]), outputs, hidden
    y = parts.add("Reshape", parts.add("Transpose", y, perm=[0, 2, 1, 3]), parts.integers(0, 0, -1))
    return y, outputs, 2 * hidden


def batch_first(parts, y):
    return parts.add("Transpose", y, perm=[1, 0, 2])


def normalization(parts, x, written="plain"):
    """The steps of a layer normalization over the last axis."""
    gain, bias, epsilon = parts.weights("gain", 3), parts.weights("bias", 3), parts.tensor("epsilon", np.float32(1e-3))
    mean = parts.add("ReduceMean", x, axes=[-1])
    centered = parts.add("Sub", x, mean)
    if written == "product":
        square = parts.add("Mul", centered, centered)
    else:
        square = parts.add("Pow", centered, parts.tensor("two", np.float32(2)))
    variance = parts.add("Add", epsilon, parts.add("ReduceMean", square, axes=[-1]))
    deviation = parts.add("Sqrt", variance)
    if written == "inverse":
        inverse = parts.add("Mul", gain, parts.add("Div", parts.tensor("one", np.float32(1)), deviation))
        scaled = parts.add("Mul", inverse, x)
        return parts.add("Add", scaled, parts.add("Sub", bias, parts.add("Mul", mean, inverse)))
    y = parts.add("Div", centered, deviation)
    return parts.add("Add", parts.add("Mul", y, gain), bias)


def gemm(parts, x, **attributes):
    W = parts.weights("W", *((2, 3) if attributes.get("transB") else (3, 2)))
    flat = parts.add("Reshape", x, parts.integers(-1, 3))
    y = parts.add("Gemm", flat, W, parts.weights("C", *attributes.pop("shape", (2,))), **attributes)
    sizes = parts.add("Slice", parts.add("Shape", "x"), parts.integers(0), parts.integers(2), parts.integers(0))
    return parts.add("Reshape", y, parts.add("Concat", sizes, parts.integers(2), axis=0))


def number(parts, value):
    return parts.tensor(f"number{len(parts.tensors)}", np.float32(value))


#: Over x (batch, time, 3): what is built, and the layers it must be.
ROWS = {
    "matmul": (lambda p: p.add("MatMul", "x", p.weights("W", 3, 2)), "Dense"),
    "matmul, add": (lambda p: p.add("Add", p.weights("b", 2), p.add("MatMul", "x", p.weights("W", 3, 2))), "Dense"),
    "matmul, add, add": (
        lambda p: p.add(
            "Add", p.add("Add", p.add("MatMul", "x", p.weights("W", 3, 2)), p.weights("b", 2)), p.weights("c", 2)
        ),
        "Dense Scale",
    ),
    "matmul, add a number": (
        lambda p: p.add("Add", p.add("MatMul", "x", p.weights("W", 3, 2)), number(p, 0.3)), "Dense",
    ),
    "gemm": (lambda p: gemm(p, "x"), "Dense"),
    "gemm, transposed": (lambda p: gemm(p, "x", transB=1, alpha=0.5, beta=2.0), "Dense"),
    "gemm, a row": (lambda p: gemm(p, "x", shape=(1, 2)), "Dense"),
    "gemm, a number": (lambda p: gemm(p, "x", shape=()), "Dense"),
    "gemm, no bias": (lambda p: gemm(p, "x", beta=0.0), "Dense"),
    "weights that are computed": (
        lambda p: p.add("MatMul", "x", p.add("Transpose", p.add("Mul", p.weights("W", 2, 3), number(p, 0.5)))), "Dense",
    ),
    "mul": (lambda p: p.add("Mul", number(p, 0.7), "x"), "Activate"),
    "mul, add": (lambda p: p.add("Add", p.add("Mul", "x", number(p, 0.7)), number(p, 0.2)), "Activate"),
    "sub from a number": (lambda p: p.add("Sub", number(p, 0.7), "x"), "Activate"),
    "sub, div by vectors": (
        lambda p: p.add("Div", p.add("Sub", "x", p.weights("mean", 3)), p.tensor("std", np.float32([0.5, 2, 3]))),
        "Scale",
    ),
    "div by a number": (lambda p: p.add("Div", "x", number(p, 3.0)), "Activate"),
    "mul of rows": (lambda p: p.add("Mul", "x", p.weights("scale", 1, 1, 3)), "Scale"),
    "mul by 1": (lambda p: p.add("Relu", p.add("Add", p.add("Mul", "x", number(p, 1)), number(p, 0))), "Activate"),
    "softmax": (lambda p: p.add("Softmax", "x", axis=2), "Activate"),
    "log softmax": (lambda p: p.add("LogSoftmax", "x", axis=-1), "Activate"),
    "layer normalization": (
        lambda p: p.add("LayerNormalization", "x", p.weights("g", 3), p.weights("b", 3), epsilon=1e-3), "LayerNorm",
    ),
    "layer normalization, no bias": (lambda p: p.add("LayerNormalization", "x", p.weights("g", 3)), "LayerNorm"),
    "normalization in steps": (lambda p: normalization(p, "x"), "LayerNorm"),
    "normalization by a product": (lambda p: normalization(p, "x", "product"), "LayerNorm"),
    "normalization by the inverse": (lambda p: normalization(p, "x", "inverse"), "LayerNorm"),
    "dropout": (lambda p: p.add("Dropout", p.add("Relu", "x"), number(p, 0.4)), "Activate Dropout"),
    "dropout of 0": (lambda p: p.add("Dropout", p.add("Relu", "x"), number(p, 0.0)), "Activate"),
    "identity, cast": (lambda p: p.add("Identity", p.add("Cast", p.add("Relu", "x"), to=1)), "Activate"),
    "expand to its own shape": (lambda p: p.add("Relu", p.add("Expand", "x", p.add("Shape", "x"))), "Activate"),
    "flatten": (lambda p: p.add("Relu", p.add("Flatten", "x", axis=2)), "Activate"),
    "reverse by a slice": (
        lambda p: p.add("Slice", "x", p.integers(-1), p.integers(-FAR - 1), p.integers(1), p.integers(-1)), "Reverse",
    ),
    "last step by a slice": (
        lambda p: p.add("Squeeze", p.add("Slice", "x", p.integers(-1), p.integers(FAR), p.integers(1)), p.integers(1)),
        "LastStep",
    ),
    "last step by its number": (
        lambda p: p.add(
            "Gather", p.add("Relu", "x"),
            p.add(
                "Sub", p.add("Gather", p.add("Shape", "x"), p.tensor("one", np.int64(1))), p.tensor("1", np.int64(1))
            ),
            axis=1,
        ),
        "Activate LastStep",
    ),
    "first step": (lambda p: p.add("Gather", "x", p.tensor("zero", np.int64(0)), axis=1), "Reverse LastStep"),
    "mean over time": (lambda p: p.add("ReduceMean", "x", axes=[1], keepdims=0), "MeanOverTime"),
    "max over time": (lambda p: p.add("ReduceMax", "x", axes=[-2]), "MaxOverTime"),
    "global average": (lambda p: p.add("GlobalAveragePool", p.add("Transpose", "x", perm=[0, 2, 1])), "MeanOverTime"),
    "global maximum": (
        lambda p: p.add("Flatten", p.add("GlobalMaxPool", p.add("Transpose", "x", perm=[0, 2, 1]))), "MaxOverTime",
    ),
    "the last steps": (
        lambda p: p.add("Flatten", p.add("Slice", p.add("Pad", "x", p.integers(0, 3, 0, 0, 0, 0)), p.integers(-3),
                                         p.integers(FAR), p.integers(1))), "LastSteps",
    ),
}  # fmt: skip

ACTIVATIONS = {
    "Relu": {}, "Tanh": {}, "Sigmoid": {}, "Softplus": {}, "Softsign": {},
    "LeakyRelu": {"alpha": 0.2}, "Elu": {"alpha": 0.7}, "HardSigmoid": {"alpha": 0.3, "beta": 0.4},
    "ThresholdedRelu": {"alpha": 0.4},
}  # fmt: skip


def made(build, x=("batch", "time", 3), seed=0):
    parts = Parts(np.random.default_rng(seed))
    parts.inputs["x"] = (np.float32, x)
    parts.outputs.append(build(parts))
    return parts


def agree(model, shapes=((3, 5), (2, 7))):
    """That a network computes what ONNX Runtime does, and its layers."""
    reading, runtime, rng = read_onnx(model), session(model), np.random.default_rng(0)
    for batch, time in shapes:
        arguments = random_arguments(reading, rng, batch, time)
        y, state = reading.network(**arguments)
        for (name, array), want in zip(
            reading.results(y, state).items(), runtime.run(None, reading.feed(**arguments)), strict=True
        ):
            np.testing.assert_allclose(array, want, rtol=1e-5, atol=1e-5, err_msg=name)
            assert array.shape == want.shape
    return reading.network


def kinds(net):
    return " ".join(type(layer).__name__ for layer in net.layers)


NEW_FORMS = {"ReduceMax", "ReduceMean", "Dropout", "LayerNormalization"}  # with an attribute less or more


def operators(build):
    return {node.op_type for node in made(build).nodes}


@pytest.mark.parametrize("name", ROWS)
def test_rows(name):
    build, layers = ROWS[name]
    assert kinds(agree(made(build).model(17))) == layers


@pytest.mark.parametrize("name", [name for name, (build, _) in ROWS.items() if not operators(build) & NEW_FORMS])
def test_rows_of_an_old_version(name):
    build, layers = ROWS[name]
    assert kinds(agree(older(build))) == layers


def older(build):
    """The model as the versions before 13 write it: axes of Squeeze as an attribute."""
    parts = made(build)
    for node in parts.nodes:
        if node.op_type == "Squeeze" and len(node.input) == 2:
            axes = parts.tensors[node.input.pop()]
            node.attribute.append(helper.make_attribute("axes", axes.tolist()))
    return parts.model(11)


@pytest.mark.parametrize("op", ACTIVATIONS)
@pytest.mark.parametrize("behind", ["x", "dense"])
def test_activations(op, behind):
    def build(parts):
        x = "x" if behind == "x" else parts.add("MatMul", "x", parts.weights("W", 3, 2))
        return parts.add(op, x, **ACTIVATIONS[op])

    net = agree(made(build).model())
    assert kinds(net) == ("Activate" if behind == "x" else "Dense")
    values = set(ACTIVATIONS[op].values())
    config = net.layers[0].config["activation"]
    assert values <= set(config.values() if isinstance(config, dict) else ())


@pytest.mark.parametrize("axis", [1, 2])
def test_softmax_before_version_13_is_over_all_axes_from_one_on(axis):
    model = made(lambda parts: parts.add("Softmax", parts.add("ReduceMax", "x", axes=[1], keepdims=0), axis=1)).model(
        11
    )
    assert kinds(agree(model)) == "MaxOverTime Activate"


# Directions.


def one(parts, y, index, axis, how):
    """One of two directions, of an axis of 2 or of all the features."""
    if how == "gather":
        return parts.add("Gather", y, parts.tensor(f"at{len(parts.tensors)}", np.int64(index)), axis=axis)
    if how == "split":
        return parts.add("Squeeze", parts.add("Split", y, count=2, axis=axis)[index], axes=[axis])
    ends = parts.integers(index), parts.integers(index + 1), parts.integers(axis)
    return parts.add("Squeeze", parts.add("Slice", y, *ends), axes=[axis])


@pytest.mark.parametrize("how", ["gather", "split", "slice"])
@pytest.mark.parametrize(
    ("join", "layers"),
    [
        (lambda p, a, b: p.add("Concat", a, b, axis=2), "GRU"),
        (lambda p, a, b: p.add("Add", a, b), "GRU MergeDirections"),
        (lambda p, a, b: p.add("Mul", b, a), "GRU MergeDirections"),
        (lambda p, a, b: p.add("Mul", p.add("Add", a, b), number(p, 0.5)), "GRU MergeDirections"),
        (lambda p, a, b: p.add("Div", p.add("Add", b, a), number(p, 2)), "GRU MergeDirections"),
        (lambda p, a, b: a, "GRU"),
        (lambda p, a, b: p.add("Relu", b), "Reverse GRU Reverse Activate"),
    ],
)
def test_two_directions_apart(how, join, layers):
    def build(parts):
        _, outputs, _ = steps(parts, "bidirectional")
        return join(parts, *(one(parts, outputs[0], index, 1, how) for index in (0, 1)))

    model = made(build).model(12)  # Squeeze with axes as an attribute
    net = agree(model)
    assert kinds(net) == layers
    assert net.dtype == np.float32


def test_two_layers_of_one_direction_are_a_bidirectional_one():
    """As tf2onnx writes `Bidirectional` where it does not find it: a layer, and another over reversed sequences."""

    def build(parts):
        x = parts.add("Transpose", "x", perm=[1, 0, 2])
        hidden = 4
        ys = []
        for place in range(2):
            weights = parts.weights(f"W{place}", 1, 12, 3), parts.weights(f"R{place}", 1, 12, hidden)
            source = x
            sizes = parts.add("Shape", x)
            time, batch = (parts.add("Gather", sizes, parts.integers(i)) for i in (0, 1))
            lengths = parts.add("Expand", time, batch)
            if place:
                source = parts.add("ReverseSequence", x, lengths, time_axis=0, batch_axis=1)
            y, _ = parts.add("GRU", source, *weights, count=2, hidden_size=hidden)
            y = parts.add("Squeeze", y, axes=[1])
            ys.append(parts.add("ReverseSequence", y, lengths, time_axis=0, batch_axis=1) if place else y)
        return parts.add("Concat", *ys, axis=2)

    net = agree(made(build).model(12))
    assert kinds(net) == "GRU"
    assert net.layers[0].bidirectional


@pytest.mark.parametrize(
    ("build", "layers"),
    [
        (lambda p, y, h: p.add("Concat", *(one(p, h, i, 0, "gather") for i in (-2, -1)), axis=1), "GRU LastStep"),
        (lambda p, y, h: p.add("Reshape", p.add("Transpose", h, perm=[1, 0, 2]), p.integers(0, -1)), "GRU LastStep"),
        (lambda p, y, h: one(p, h, -1, 0, "gather"), "Reverse GRU LastStep"),
        (lambda p, y, h: p.add("Gather", y, p.tensor("last", np.int64(-1)), axis=0), "GRU LastStep"),
        (lambda p, y, h: p.add("ReduceSum", h, p.integers(0), keepdims=0), "GRU LastStep MergeDirections"),
    ],
)
def test_last_states(build, layers):
    def whole(parts):
        y, outputs, _ = steps(parts, "bidirectional")
        return parts.add("Relu", build(parts, y, outputs[1]))

    net = agree(made(whole).model(13) if "MergeDirections" in layers else made(lambda p: whole(p)).model(12))
    assert kinds(net) == f"{layers} Activate"


# Shapes that a graph computes.


def test_a_state_that_is_learned_by_tile_and_by_where():
    """Expand as PyTorch writes it where some of its lengths are -1, and Tile."""

    def build(parts):
        size = parts.add("Gather", parts.add("Shape", "x"), parts.integers(0), axis=0)
        wanted = parts.add("Concat", parts.integers(-1), size, parts.integers(-1), axis=0)
        ones = parts.add("ConstantOfShape", parts.integers(3), value=onnx.numpy_helper.from_array(np.ones(1, np.int64)))
        minus = parts.add("Mul", ones, parts.integers(-1))
        kept = parts.add("Where", parts.add("Equal", wanted, minus), ones, wanted)
        h = parts.add("Expand", parts.weights("h", 1, 1, 2), kept)
        c = parts.add(
            "Tile", parts.weights("c", 1, 1, 2), parts.add("Concat", parts.integers(1), size, parts.integers(1), axis=0)
        )
        x = parts.add("Transpose", "x", perm=[1, 0, 2])
        weights = parts.weights("W", 1, 8, 3), parts.weights("R", 1, 8, 2)
        return parts.add("Squeeze", parts.add("LSTM", x, *weights, "", "", h, c, hidden_size=2), parts.integers(1))

    net = agree(made(build).model())
    assert net.layers[0].h0.all()
    assert net.layers[0].c0.all()


def test_states_of_two_layers_in_one_input():
    """As PyTorch has them: (layers directions, batch, hidden)."""
    parts = Parts(np.random.default_rng(0))
    parts.inputs |= {"x": (np.float32, ("batch", "time", 3)), "h": (np.float32, (4, "batch", 2))}
    x, width, hs = parts.add("Transpose", "x", perm=[1, 0, 2]), 3, []
    for place in range(2):
        h = parts.add("Slice", "h", parts.integers(2 * place), parts.integers(2 * place + 2), parts.integers(0))
        weights = parts.weights(f"W{place}", 2, 6, width), parts.weights(f"R{place}", 2, 6, 2)
        y, last = parts.add("GRU", x, *weights, "", "", h, count=2, hidden_size=2, direction="bidirectional")
        x, width = parts.add("Reshape", parts.add("Transpose", y, perm=[0, 2, 1, 3]), parts.integers(0, 0, -1)), 4
        hs.append(last)
    parts.outputs += [x, parts.add("Concat", *hs, axis=0)]
    assert kinds(agree(parts.model())) == "GRU GRU"
    for node in parts.nodes:
        if node.op_type == "GRU":
            node.input[5] = "h"
    with pytest.raises(ValueError, match=r"initial_h must be \(2, batch, 2\). Got \(4, 5, 2\)"):
        from_onnx(parts.model())


@pytest.mark.parametrize(
    "shape", [(1, "time", 3), (1, 6, 3), ("batch", 6, 3), (3, 6, 3), (3, 3, 3), (1, 1, 3), (1, 3, 3)]
)
def test_lengths_that_are_known(shape):
    """Reshape and Squeeze tell axes apart by their order, also where lengths are equal or 1."""

    def build(parts):
        y, _, width = steps(parts, "bidirectional")
        y = parts.add("Reshape", batch_first(parts, y), parts.integers(-1, width))
        y = parts.add("Add", parts.add("MatMul", y, parts.weights("V", width, 2)), parts.weights("b", 2))
        return parts.add(
            "Reshape",
            y,
            parts.add(
                "Concat",
                parts.add("Slice", parts.add("Shape", "x"), parts.integers(0), parts.integers(2), parts.integers(0)),
                parts.integers(2),
                axis=0,
            ),
        )

    batch, time = (n if isinstance(n, int) else 4 for n in shape[:2])
    net = agree(made(build, shape).model(12), [(batch, time)])
    assert kinds(net) == "GRU Dense"


def test_one_sequence_without_a_batch():
    """As PyTorch exports a layer that is called with (time, features)."""

    def build(parts):
        outputs, _, _ = recurrent(parts, parts.add("Unsqueeze", "x", parts.integers(1)), 3, "LSTM")
        return parts.add("Squeeze", outputs[0], parts.integers(1, 2))

    model = made(build, ("time", 3)).model()
    reading = read_onnx(model)
    x = np.random.default_rng(0).standard_normal((1, 6, 3)).astype(np.float32)
    y, state = reading.network(x)
    (want,) = session(model).run(None, {"x": x[0]})
    (got,) = reading.results(y, state).values()
    np.testing.assert_allclose(got, want, atol=1e-6)
    np.testing.assert_array_equal(reading.feed(x)["x"], x[0])


def test_lengths_of_sequences_around_the_operators():
    """ReverseSequence and GatherND by the lengths, and a layer that reads on to the end of the padding: refused."""

    def build(parts, *, is_last):
        parts.inputs["lengths"] = (np.int32, ("batch",))
        x = parts.add("Transpose", "x", perm=[1, 0, 2])
        whole = parts.add("Cast", "lengths", to=7)
        x = parts.add("ReverseSequence", x, whole, time_axis=0, batch_axis=1)
        outputs, _, _ = recurrent(parts, x, 3, "GRU", lengths="lengths")
        y = batch_first(parts, parts.add("Squeeze", outputs[0], parts.integers(1)))
        if is_last:
            return parts.add("Gather", y, parts.tensor("at", np.int64(-1)), axis=1)
        last = parts.add("Unsqueeze", parts.add("Sub", whole, parts.tensor("one", np.int64(1))), parts.integers(-1))
        return parts.add("GatherND", y, last, batch_dims=1)

    net = agree(made(lambda parts: build(parts, is_last=False)).model())
    assert kinds(net) == "Reverse GRU LastStep"
    with pytest.raises(
        ValueError, match=r"\(Gather\): .* must be real steps of each sequence. Got steps in the padding"
    ):
        from_onnx(made(lambda parts: build(parts, is_last=True)).model())


def test_tokens():
    """An embedding; also where Keras first asks for tokens under 0."""
    parts = Parts(np.random.default_rng(0))
    parts.inputs["x"] = (np.int64, ("batch", "time"))
    below = parts.add("Less", parts.add("Cast", "x", to=1), number(parts, 0))
    kept = parts.add("Mul", "x", parts.add("Cast", parts.add("Not", below), to=7))
    moved = parts.add("Mul", parts.add("Cast", below, to=7), parts.add("Add", "x", parts.integers(5)))
    table = parts.weights("table", 5, 3)
    parts.outputs.append(parts.add("Gather", table, parts.add("Add", moved, kept)))
    model = parts.model()
    reading = read_onnx(model)
    assert kinds(reading.network) == "Embedding"
    x = np.array([[0, 1, 4], [2, 2, 3]])
    np.testing.assert_array_equal(reading.network(x)[0], session(model).run(None, {"x": x})[0])


def test_vectors():
    """A model without time: (batch, features)."""
    model = made(lambda p: p.add("Relu", p.add("Gemm", "x", p.weights("W", 3, 2))), ("batch", 3)).model()
    reading = read_onnx(model)
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    (got,) = reading.results(*reading.network(x)).values()
    np.testing.assert_allclose(got, session(model).run(None, reading.feed(x))[0], atol=1e-6)


def at_each_step(parts, x, vector):
    """A vector per sequence at as many steps as x has."""
    sizes = parts.add("Shape", x)
    batch, time = (parts.add("Gather", sizes, parts.integers(axis)) for axis in (0, 1))
    shape = parts.add("Concat", batch, time, parts.integers(1), axis=0)
    return parts.add("Expand", parts.add("Unsqueeze", vector, parts.integers(1)), shape)


def mean_at_each_step(parts):
    return at_each_step(parts, "x", parts.add("ReduceMean", "x", axes=[1], keepdims=0))


@pytest.mark.parametrize(
    ("join", "layers"),
    [
        (lambda parts, v: parts.add("Concat", "x", v, axis=2), "MeanOverTime Concatenate"),
        (lambda parts, v: parts.add("Concat", v, "x", axis=-1), "MeanOverTime Concatenate"),
        (lambda parts, v: parts.add("Mul", parts.add("Tanh", v), "x"), "MeanOverTime Activate Multiply"),
        (lambda parts, v: parts.add("Add", parts.add("Add", v, v), "x"), "MeanOverTime Add Add"),
    ],
)
def test_a_vector_beside_each_step(join, layers):
    assert kinds(agree(made(lambda parts: join(parts, mean_at_each_step(parts))).model(17))) == layers


@pytest.mark.parametrize(
    "end",
    [
        lambda parts, v: v,
        lambda parts, v: parts.add("ReduceSum", v, parts.integers(1), keepdims=0),
        lambda parts, v: parts.add("ReduceMean", v, axes=[1], keepdims=0),
        lambda parts, v: parts.add("Add", v, parts.add("Tanh", v)),
    ],
)
def test_a_vector_at_an_open_number_of_steps_alone_is_refused(end):
    with pytest.raises(FormatError, match=r"the same|a vector at each step"):
        from_onnx(made(lambda parts: end(parts, mean_at_each_step(parts))).model(17))


@pytest.mark.parametrize("op", ["Conv", "MaxPool", "AveragePool"])
@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize(("pads", "stride"), [((1, 1), 1), ((2, 0), 1), ((0, 0), 2), (None, 2)])
def test_windows_with_an_axis_of_length_1_beside_time(op, axis, pads, stride):
    def build(parts):
        turn = 1 if axis == 3 else -1
        kernel, strides = [3, 1][::turn], [stride, 1][::turn]
        around = {"auto_pad": "SAME_UPPER"}
        if pads is not None:
            around = {"pads": [*[pads[0], 0][::turn], *[pads[1], 0][::turn]]}
        x = parts.add("Unsqueeze", parts.add("Transpose", "x", perm=[0, 2, 1]), parts.integers(axis))
        weights = [parts.weights("W", 4, 3, *kernel), parts.weights("B", 4)] if op == "Conv" else []
        y = parts.add(op, x, *weights, kernel_shape=kernel, strides=strides, **around)
        return parts.add("Transpose", parts.add("Squeeze", y, parts.integers(axis)), perm=[0, 2, 1])

    model = made(build).model(17)
    assert kinds(agree(model)) == f"{op}1d"


def two_layers(parts):
    y, h = parts.add(
        "GRU", "x", *(parts.weights(n, *s) for n, s in [("W", (1, 15, 3)), ("R", (1, 15, 5))]), hidden_size=5, count=2
    )
    y = parts.add("Squeeze", y, parts.integers(1))
    y, last = parts.add("GRU", y, *(parts.weights(n, 1, 15, 5) for n in ("V", "S")), hidden_size=5, count=2)
    parts.outputs.append(y)
    return parts.add("Concat", h, last, axis=0)


def turned(parts, h):
    return parts.add("Transpose", h, perm=[1, 0, 2])


@pytest.mark.parametrize(
    "end",
    [
        turned,
        lambda parts, h: parts.add("Unsqueeze", h, parts.integers(0)),
        lambda parts, h: turned(parts, turned(parts, h)),
        lambda parts, h: parts.add("Slice", h, parts.integers(-1), parts.integers(9), parts.integers(0)),
    ],
)
def test_states_of_two_layers_moved(end):
    agree(made(lambda parts: end(parts, two_layers(parts)), ("time", "batch", 3)).model(17))


@pytest.mark.parametrize(
    "end",
    [
        lambda parts, h: parts.add("Gather", turned(parts, h), parts.integers(0), axis=0),
        lambda parts, h: parts.add("Reshape", turned(parts, h), parts.integers(2, -1)),
        lambda parts, h: parts.add("Concat", turned(parts, h), turned(parts, h), axis=0),
    ],
)
def test_states_of_two_layers_along_another_axis_are_refused(end):
    with pytest.raises(FormatError, match=r"of one layer at each step|states with the batch along one axis"):
        from_onnx(made(lambda parts: end(parts, two_layers(parts)), ("time", "batch", 3)).model(17))


def masked(ending):
    """`ending` of x (batch, time, 3) times a mask of (batch, time)."""

    def build(parts):
        parts.inputs["mask"] = (np.bool_, ("batch", "time"))
        mask = parts.add("Unsqueeze", parts.add("Cast", "mask", to=1), parts.integers(2))
        return ending(parts, parts.add("Mul", "x", mask), mask)

    return made(build, ("batch", "time", 3)).model(17)


def over_time(parts, x, op, *weights, **attributes):
    turned = [parts.add("Transpose", x, perm=[0, 2, 1]), *weights]
    y = parts.add(op, *turned, kernel_shape=[3], pads=[1, 1], **attributes)
    return parts.add("Transpose", y, perm=[0, 2, 1])


def convolved(parts, x):
    return over_time(parts, x, "Conv", parts.weights(f"K{len(parts.tensors)}", 3, 3, 3))


def pooled_by_softmax(parts, x, mask):
    p = parts.add("Softmax", parts.add("MatMul", x, parts.weights("v", 3, 1)), axis=1)
    return parts.add("ReduceSum", parts.add("Mul", p, x), parts.integers(1), keepdims=0)


def states_at_the_end(direction):
    return lambda parts, x, mask: steps_of(parts, x, direction)[1]


def steps_of(parts, x, direction="forward"):
    x = parts.add("Transpose", x, perm=[1, 0, 2])
    return recurrent(parts, x, 3, "GRU", direction=direction)[0]


@pytest.mark.parametrize(
    "ending",
    [
        lambda parts, x, mask: convolved(parts, x),
        lambda parts, x, mask: convolved(parts, parts.add("Mul", convolved(parts, x), mask)),
        lambda parts, x, mask: steps_of(parts, convolved(parts, x))[0],
    ],
)
def test_windows_beside_a_mask(ending):
    """What stands in the padding is 0 to each convolution: it is read, and gives what ONNX Runtime does."""
    model = masked(ending)
    net, lengths = from_onnx(model), np.array([7, 4, 5])
    x = np.random.default_rng(0).standard_normal((3, 7, 3)).astype(np.float32)
    mask = np.arange(7) < lengths[:, None]
    (want,) = session(model).run(None, {"x": x, "mask": mask})
    want = want if want.ndim == 3 else want[:, 0].transpose(1, 0, 2)
    np.testing.assert_allclose(net(x, lengths=lengths)[0], want * mask[..., None], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (states_at_the_end("forward"), "must be the same for all layers that read to their end"),
        (lambda parts, x, mask: steps_of(parts, x, "reverse")[0], "must be the same for all layers"),
        (lambda parts, x, mask: steps_of(parts, x, "bidirectional")[0], "must be the same for all layers"),
        (lambda parts, x, mask: parts.add("Mul", convolved(parts, "x"), mask), "must be the same for all layers"),
        (pooled_by_softmax, "the scores in the padding must be under"),
        (lambda parts, x, mask: convolved(parts, convolved(parts, x)), "the number in the padding must be 0.0"),
        (lambda parts, x, mask: over_time(parts, x, "MaxPool"), "the number in the padding must be -inf"),
    ],
)
def test_what_reads_what_is_in_the_padding_is_refused(ending, words):
    """A network has nothing there: numbers would be wrong where sequences are shorter than the longest."""
    with pytest.raises(FormatError, match=words):
        from_onnx(masked(ending))
