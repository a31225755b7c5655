"""Models that are nearly those of a network: each is refused in words, and its right neighbor read as ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx

import elman
from elman.checks import FormatError
from elman.interop.onnx.reading.reader import from_onnx, read_onnx
from foreign_hand import (
    Case,
    cell,
    dense,
    made,
    minus_one,
    number,
    scalar,
    size,
    slices,
    squeeze,
    steps,
    turn,
    unsqueeze,
    w,
)
from foreign_models import run
from foreign_verdicts import session
from onnx_models import helper

X = {"x": "b t 4"}
XN = X | {"n": "lengths b"}


def case(inputs, build, **more):
    found = Case("near", inputs, lambda: b"")
    found.build = lambda: made(found, build, 17, **more)
    return found


def refused(inputs, build, words="must", **more):
    with pytest.raises(FormatError, match=words):
        from_onnx(case(inputs, build, **more).build())


def read(inputs, build, **more):
    verdict = run(case(inputs, build, **more), elman, session)
    assert verdict.kind == "OK", verdict


def mask(p, n="n", axes=(2,), compare="Less"):
    """Which steps are real, (batch, time), and what axes of length 1 an operator wants."""
    every = p.add("Range", scalar(p, 0), squeeze(p, size(p, "x", 1), 0), scalar(p, 1))
    return unsqueeze(p, p.add(compare, unsqueeze(p, every, 0), unsqueeze(p, n, 1)), *axes)


def masked(p, x):
    return p.add("Mul", x, p.add("Cast", mask(p), to=1))


def largest(p, n="n", y=None):
    far = p.add("Where", mask(p, n), y or steps(p), number(p, -1e9))
    return p.add("ReduceMax", far, axes=[1], keepdims=0)


def attention(p, y, axis=-1, keys=None):
    weights = p.add("Softmax", p.add("MatMul", dense(p, y, 6, 6), turn(p, y, 0, 2, 1)), axis=axis)
    return p.add("MatMul", weights if keys is None else p.add("Mul", weights, p.add("Cast", keys, to=1)), y)


# Numbers that some lengths are under and others are not.


@pytest.mark.parametrize("count", [18, 100, 1000])
@pytest.mark.parametrize(
    "build",
    [
        lambda p, n: steps(p, slices(p, "x", 0, n, 1)),
        lambda p, n: steps(p, slices(p, "x", -n, 2**63 - 1, 1)),
        lambda p, n: steps(p, p.add("Slice", "x", p.integers(0), p.add("Min", size(p, "x", 1), p.integers(n)),
                                    p.integers(1))),
        lambda p, n: p.add("Gather", steps(p), p.add("Sub", p.add("Min", size(p, "x", 1), p.integers(n)),
                                                     p.integers(1)), axis=1),
    ],
)  # fmt: skip
def test_a_number_of_steps_at_most(build, count):
    refused(X, lambda p: build(p, count))


@pytest.mark.parametrize("op", ["Min", "Max"])
@pytest.mark.parametrize(("steps_of_x", "count"), [("t", 2), ("t", 5), ("t", 19), ("t", 200), ("t=20", 3), ("t=20", 9)])
def test_lengths_of_a_number_at_most_or_least(op, steps_of_x, count):
    refused({"x": f"b {steps_of_x} 4", "n": "lengths b"}, lambda p: largest(p, p.add(op, "n", p.integers(count))))


def switched(condition, first=("Tanh", 1), second=("Identity", 1)):
    """Two branches of which a question about the number of steps, or of sequences, chooses one."""

    def build(p):
        a, b = steps(p), steps(p)
        branches = [
            helper.make_graph(
                [helper.make_node(op, ([a, b] if count > 0 else [b, a])[: abs(count)], [name])],
                name,
                [],
                [helper.make_tensor_value_info(name, 1, None)],
            )
            for name, (op, count) in (("then", first), ("else", second))
        ]
        sizes = [squeeze(p, size(p, "x", axis), 0) for axis in (1, 0)]
        return p.add("If", condition(p, *sizes), then_branch=branches[0], else_branch=branches[1])

    return build


@pytest.mark.parametrize(
    "branches", [(("Sub", 2), ("Sub", -2)), (("Tanh", 1), ("Tanh", -1)), (("Tanh", 1), ("Identity", 1))]
)
@pytest.mark.parametrize("count", [1, 10, 100])
def test_a_switch_by_the_number_of_steps(count, branches):
    condition = switched(lambda p, t, b: p.add("Greater", t, scalar(p, count)), *branches)
    refused(X, condition, r"node\d+' \(If\).* the same for any number of sequences and steps")


@pytest.mark.parametrize("k", [2, 3, 4, 7, 30, 20000])
@pytest.mark.parametrize(
    "condition",
    [
        lambda p, t, b, k: p.add("Greater", t, k),
        lambda p, t, b, k: p.add("Equal", k, t),
        lambda p, t, b, k: p.add("Less", b, k),
        lambda p, t, b, k: p.add("Equal", p.add("Mod", t, k), scalar(p, 0)),
        lambda p, t, b, k: p.add("Greater", p.add("Div", t, k), scalar(p, 0)),
        lambda p, t, b, k: p.add("Greater", p.add("Cast", t, to=1), p.add("Cast", k, to=1)),
        lambda p, t, b, k: p.add("Greater", p.add("Mul", t, t), k),
        lambda p, t, b, k: p.add("Equal", t, b),
    ],
)
def test_a_switch_by_small_and_large_lengths(condition, k):
    refused(X, switched(lambda p, t, b: condition(p, t, b, scalar(p, k))), "same for any number of sequences and steps")


def until(p, end):
    return p.add("Slice", steps(p), p.integers(0), unsqueeze(p, end, 0), p.integers(1))


@pytest.mark.parametrize("k", [2, 3, 4, 7])
@pytest.mark.parametrize(
    "build",
    [
        lambda p, k, t: p.add("Mul", steps(p), p.add("Cast", p.add("Clip", t, scalar(p, 1), k), to=1)),
        lambda p, k, t: p.add("Mul", steps(p), p.add("Where", p.add("Less", t, k), number(p, 2), number(p, 3))),
        lambda p, k, t: p.add("Mul", steps(p), p.add("Cast", p.add("Max", t, k), to=1)),
        lambda p, k, t: p.add("Mul", steps(p), p.add("Cast", p.add("Mod", t, k), to=1)),
        lambda p, k, t: p.add("Gather", steps(p), p.add("Min", t, k), axis=1),
        lambda p, k, t: until(p, p.add("Sub", t, p.add("Div", k, t))),
        lambda p, k, t: until(p, p.add("Sub", p.add("Mul", t, scalar(p, 2)), k)),
    ],
)
def test_numbers_that_follow_from_the_number_of_steps(build, k):
    refused(X, lambda p: build(p, scalar(p, k), squeeze(p, size(p, "x", 1), 0)))


def test_questions_that_have_one_answer_for_all_lengths():
    """As exporters ask them, where they write out how shapes go together."""

    def expanded(p, y):
        wanted = p.add("Concat", p.integers(1), size(p, y, 1), p.integers(1), axis=0)
        is_free = p.add("Equal", wanted, p.integers(-1))
        ones = p.add("ConstantOfShape", p.integers(3), value=onnx.numpy_helper.from_array(np.int64([1])))
        return p.add("Mul", y, p.add("Expand", number(p, 2), p.add("Where", is_free, ones, wanted)))

    read(X, lambda p: expanded(p, steps(p)))
    read(
        X,
        lambda p: p.add(
            "Gather", steps(p), p.add("Sub", p.add("Max", size(p, "x", 1), p.integers(1)), p.integers(1)), axis=1
        ),
    )
    read(
        X,
        lambda p: p.add("Reshape", steps(p), p.add("Concat", size(p, "x", 0), size(p, "x", 1), p.integers(6), axis=0)),
    )
    read(X, lambda p: p.add("Conv", turn(p, "x", 0, 2, 1), p.weights("w", 2, 4, 3), strides=[2], pads=[1, 1]))


# Steps in the padding.


@pytest.mark.parametrize(
    "build",
    [
        lambda p: steps(p, masked(p, "x"), directions=2),
        lambda p: masked(p, steps(p, directions=2)),
        lambda p: masked(p, steps(p, direction="reverse")),
        lambda p: dense(p, squeeze(p, cell(p, turn(p, masked(p, "x"), 1, 0, 2))[1], 0)),
        lambda p: dense(p, p.add("Gather", steps(p, masked(p, "x")), scalar(p, -1), axis=1)),
        lambda p: attention(p, masked(p, steps(p))),
        lambda p: attention(p, steps(p), keys=mask(p, axes=(1,))),
        lambda p: p.add("ReduceMax", masked(p, steps(p)), axes=[1], keepdims=0),
        lambda p: largest(p, minus_one(p)),
        lambda p: p.add("ReduceMean", masked(p, steps(p)), axes=[1], keepdims=0),
    ],
)
def test_layers_that_read_the_padding(build):
    refused(XN, build)


def test_states_that_come_from_the_padding():
    refused(XN, lambda p: [*cell(p, turn(p, masked(p, "x"), 1, 0, 2))[1:]], outputs=2)


@pytest.mark.parametrize("build", [lambda p: masked(p, steps(p)), lambda p: steps(p, masked(p, "x")), largest])
def test_steps_that_the_padding_does_not_change(build):
    read(XN, build)


# Other axes.


def test_the_softmax_of_an_attention_is_over_its_keys():
    read(X, lambda p: attention(p, steps(p)))
    refused(X, lambda p: attention(p, steps(p), axis=1), "weights, and the steps of a memory")


@pytest.mark.parametrize("op", ["Mul", "Div", "Neg"])
@pytest.mark.parametrize("over", [[], ["Tanh"]])
def test_a_temperature_of_scores_of_steps(op, over):
    def build(p):
        memory = steps(p)
        scores = dense(p, p.add(over[0], memory) if over else memory, 6, 1)
        scores = p.add(op, scores, *[number(p, 2.5)] * (op != "Neg"))
        weighted = p.add("Mul", p.add("Softmax", scores, axis=1), memory)
        return p.add("ReduceSum", weighted, p.integers(1), keepdims=0)

    read(X, build)


def test_bounds_and_quotients_of_signals():
    read(X, lambda p: p.add("Clip", steps(p), "", number(p, 0.1)))
    read(X, lambda p: p.add("Min", number(p, -0.1), steps(p)))
    read(X, lambda p: p.add("Gemm", p.add("ReduceMax", steps(p), axes=[1], keepdims=0), w(p, 5, 6), w(p, 5), transB=1))
    refused(X, lambda p: p.add("Reciprocal", steps(p)), r"\(Reciprocal\).* no layer divides")
    refused(X, lambda p: p.add("Div", number(p, 1.0), steps(p)), r"\(Div\).* no layer divides")


@pytest.mark.parametrize("axes", [(0, -1), (1, -1), (0,), (1,), (0, 1, 2), (-1,)])
@pytest.mark.parametrize("opset", [17, 18])
def test_a_normalization_is_over_features(axes, opset):
    def mean(p, x):
        return p.add("ReduceMean", x, axes=[*axes]) if opset < 18 else p.add("ReduceMean", x, p.integers(*axes))

    def build(p):
        first = p.add("ReduceMean", "x", axes=[-1]) if opset < 18 else p.add("ReduceMean", "x", p.integers(-1))
        centered = p.add("Sub", "x", first)
        spread = p.add("Sqrt", p.add("Add", mean(p, p.add("Mul", centered, centered)), number(p, 1e-3)))
        return p.add("Div", centered, spread)

    model = Case("near", X, lambda: b"")
    model.build = lambda: made(model, build, opset)
    if axes == (-1,):
        assert run(model, elman, session).kind == "OK"
    else:
        with pytest.raises(FormatError):
            from_onnx(model.build())


@pytest.mark.parametrize("size", [4, 8])
@pytest.mark.parametrize("lead", ["", "b ", "9 "])
def test_a_mean_without_its_axis_is_that_of_other_steps(lead, size):
    def build(p):
        centered = p.add("Sub", "x", p.add("ReduceMean", "x", axes=[-1], keepdims=0))
        mean = p.add("ReduceMean", p.add("Mul", centered, centered), axes=[-1])
        return p.add("Div", centered, p.add("Sqrt", p.add("Add", mean, number(p, 1e-3))))

    refused({"x": f"{lead}{'t=' * bool(lead)}{size} {size}"}, build)


def test_one_feature_of_an_input_is_no_step():
    read(X, lambda p: slices(p, "x", 1, 2, 2))
    read(X, lambda p: p.add("Tanh", slices(p, "x", 3, 4, 2)))


# Models that are none.


def test_lengths_that_are_not_those_of_the_sequences():
    """Sequences of one input, in reverse by as many lengths as another has sequences."""

    def build(p):
        lengths = p.add("Expand", size(p, "m", 1), size(p, "x", 0))
        y = p.add("ReverseSequence", "m", lengths, batch_axis=0, time_axis=1)
        return p.add("Gather", p.add("Tanh", y), scalar(p, -1), axis=0)

    model = case({"x": "b t=1 3", "m": "b s 3"}, build).build()
    onnx_model = onnx.load_from_string(model)
    for value in onnx_model.graph.input:
        value.type.tensor_type.shape.dim[0].ClearField("dim_param")
    with pytest.raises(FormatError):
        from_onnx(onnx_model)


@pytest.mark.parametrize(
    ("inputs", "build"),
    [
        ({"k": "tokens9 b", "x": "b t 4"}, lambda p: p.add("Gather", "x", "k", axis=1)),
        ({"k": "tokens9 b t", "x": "b t 4"}, lambda p: p.add("GatherElements", "x", unsqueeze(p, "k", 2), axis=1)),
        ({"x": "b=2 t=1 2"}, lambda p: p.add("Pad", steps(p, width=2), p.integers(2, 0, 0, 2, 0, 0))),
        ({"x": "b=2 t=3 4"}, lambda p: p.add("ReverseSequence", "x", p.integers(1, 2), batch_axis=9, time_axis=7)),
        (X, lambda p: p.add("Conv", turn(p, "x", 0, 2, 1), p.weights("w", 2, 4, 3), strides=[-1])),
        (X, lambda p: p.add("MaxPool", turn(p, "x", 0, 2, 1), kernel_shape=[3], strides=[0])),
        ({"x": "b 1", "m": "boolmask b=1048576 t=1048576"}, lambda p: p.add("Where", "m", "x", number(p, 0))),
        ({"x": "b 1", "n": "lengths b=17179869184"}, lambda p: p.add("Mul", "x", p.add("Cast", "n", to=1))),
    ],
)
def test_what_cannot_be_moved_or_is_too_large(inputs, build):
    refused(inputs, build)


def test_outputs_are_in_the_order_of_the_model():
    def build(p):
        y, h = cell(p, turn(p, "x", 1, 0, 2), "GRU")
        return [h, turn(p, squeeze(p, y, 1), 1, 0, 2)]

    model = case(X, build, outputs=2).build()
    reading = read_onnx(model)
    x = np.random.default_rng(0).standard_normal((3, 7, 4)).astype(np.float32)
    for got, want in zip(
        reading.results(*reading.network(x)).values(), session(model).run(None, {"x": x}), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_many_switches():
    def branch(op, name):
        value = helper.make_tensor_value_info("t", 1, None)
        return helper.make_graph([helper.make_node(op, [name], ["t"])], "branch", [], [value])

    def build(p):
        y, chosen = "x", p.tensor("chosen", np.array(True))
        for _ in range(200):
            y = p.add("If", chosen, then_branch=branch("Relu", y), else_branch=branch("Tanh", "x"))
        return y

    assert len(from_onnx(case(X, build).build()).layers) == 200


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "MatMul"])
def test_an_axis_beside_the_features_is_no_axis_of_features(op):
    def build(p):
        x = unsqueeze(p, p.add("Neg", "x"), 3)
        return p.add("MatMul", x, p.weights("w", 1, 3)) if op == "MatMul" else p.add(op, x, axis=3)

    refused(X, build, r"must be \(batch, time, features\)")


def test_states_after_one_direction_of_another_layer():
    def build(p):
        _, h, _ = cell(p, turn(p, "x", 1, 0, 2), "LSTM", hidden=2, directions=2)
        return squeeze(p, cell(p, slices(p, h, 0, 1, 0), "LSTM", width=2, hidden=3)[0], 1)

    model = case(X, build).build()
    reading = read_onnx(model)
    x = np.random.default_rng(0).standard_normal((3, 7, 4)).astype(np.float32)
    (found,) = reading.results(*reading.network(x)).values()
    np.testing.assert_allclose(found, session(model).run(None, {"x": x})[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("op", ["Softmax", "Mul"])
def test_directions_of_a_last_state_are_no_features(op):
    def build(p):
        h = cell(p, turn(p, "x", 1, 0, 2), "GRU", directions=2)[1]
        return (
            p.add("Softmax", turn(p, h, 2, 1, 0), axis=2)
            if op == "Softmax"
            else p.add("Mul", h, p.weights("w", 2, 1, 1))
        )

    refused(X, build)


def test_the_shape_of_a_mean_over_features():
    refused(X, lambda p: p.add("Expand", "x", p.add("Shape", p.add("ReduceMean", "x", axes=[-1]))))


# Lengths of sequences.


def longest(p):
    return p.add("ReduceMax", "n", axes=[0], keepdims=1)


def last(p, x):
    return p.add("Gather", x, scalar(p, -1), axis=1)


@pytest.mark.parametrize("inputs", [XN, {"x": "b=3 t=7 4", "n": "lengths b=3"}])
@pytest.mark.parametrize(
    "build",
    [
        lambda p: p.add("Slice", steps(p), p.integers(0), longest(p), p.integers(1)),
        lambda p: p.add("ReduceMean", p.add("Slice", steps(p), p.integers(0), longest(p), p.integers(1)), axes=[1]),
        lambda p: p.add("Gather", steps(p), p.add("Sub", longest(p), p.integers(1)), axis=1),
    ],
)  # fmt: skip
def test_steps_up_to_the_end_of_the_longest_sequence(inputs, build):
    refused(inputs, build, "must be all of an axis")


@pytest.mark.parametrize("more", [{"n": "lengths b"}, {"m": "boolmask b t"}, {"attention_mask": "intmask b t"}])
@pytest.mark.parametrize(
    "build",
    [
        lambda p: last(p, steps(p)),
        lambda p: steps(p, directions=2),
        lambda p: p.add("ReduceMean", steps(p), axes=[1]),
        lambda p: p.add("Conv", turn(p, "x", 0, 2, 1), p.weights("w", 2, 4, 3), pads=[1, 1]),
        lambda p: cell(p, turn(p, "x", 1, 0, 2))[1],
    ],
)
def test_lengths_that_a_layer_should_read_and_does_not(more, build):
    """The argument `lengths` would change what the input of the model does not."""
    name, inputs = next(iter(more)), X | more
    refused(inputs, build, f"the argument `lengths` for an input of the model: '{name}'")
    from_onnx(case(inputs, build).build(), given={name: 0})  # no input any more


def test_lengths_that_no_layer_needs():
    read(XN, steps)
    read(XN, lambda p: p.add("Tanh", "x"))


@pytest.mark.parametrize("shape", ["b=1 b t 4", "b t=1 s 4", "b t b=1 4", "t=1 4", "b=1 t=1 4", "1 b t 4", "b 1 1 4"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_inputs_of_a_model_with_axes_of_length_one(shape, axis):
    model = case({"x": shape}, lambda p: p.add("ReduceMax", "x", axes=[axis], keepdims=0)).build()
    try:
        reading = read_onnx(model)
    except FormatError:
        return
    for sizes in ((3, 6, 4), (1, 6, 4), (3, 1, 4), (1, 1, 4)):
        x = np.random.default_rng(0).standard_normal(sizes).astype(np.float32)
        try:
            feeds = reading.feed(x)
        except ValueError as error:
            if "as the model has its axes of length 1" not in str(error):
                raise
            continue
        (found,) = reading.results(*reading.network(x)).values()
        np.testing.assert_array_equal(found, session(model).run(None, feeds)[0])


def test_no_steps_at_all():
    refused({"x": "1 b 1 4"}, lambda p: slices(p, "x", 1, 2, 2), "one of a layer")


def beside(p, *numbers):
    return p.add("Concat", *numbers, axis=0)


def counted(p, axis):
    return p.add("Range", scalar(p, 0), squeeze(p, size(p, "x", axis), 0), scalar(p, 1))


@pytest.mark.parametrize(
    "build",
    [
        lambda p: p.add("Add", steps(p), turn(p, steps(p), 1, 0, 2)),
        lambda p: p.add("Mul", steps(p), unsqueeze(p, p.add("Cast", counted(p, 0), to=1), 1)),
        lambda p: p.add("Add", "x", p.add("ConstantOfShape", beside(p, p.integers(1), size(p, "x", 0), p.integers(4)))),
    ],
)
def test_steps_are_not_as_many_as_sequences(build):
    """Such a model runs for as many of both, and where one of both is 1, in another way."""
    refused(XN, build, "what it computes must be possible|its input")


@pytest.mark.parametrize("shape", [(1, 7, 1), (6, 1, 1), (4, 4), (7, 6)])
@pytest.mark.parametrize("op", ["Add", "Mul", "Max"])
def test_numbers_for_each_of_an_open_number_of_steps(op, shape):
    """One step or sequence would be repeated by them."""
    refused(X, lambda p: p.add(op, steps(p), p.weights("k", *shape)))


@pytest.mark.parametrize("op", ["Add", "Mul", "Div"])
def test_numbers_for_each_of_an_open_number_of_features(op):
    model = case({"x": "b t s"}, lambda p: dense(p, p.add(op, "x", p.weights("k", 4)), 4)).build()
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    np.testing.assert_allclose(from_onnx(model)(x)[0], session(model).run(None, {"x": x})[0], atol=1e-6)


def test_known_values_that_do_not_go_together():
    def build(p):
        scales = p.weights("s", 4, 24, 1)
        return steps(p, p.add("DequantizeLinear", p.tensor("k", np.int8([[[1]]])), scales))

    refused(X, build)


def test_a_sequence_without_steps_among_others():
    def build(p):
        none = p.add("Slice", "x", p.integers(0), p.add("Sub", size(p, "x", 1), size(p, "x", 1)), p.integers(1))
        return steps(p, p.add("Concat", none, "x", axis=1))

    read(X, build)
