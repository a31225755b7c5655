"""Models that are nearly those of a network: each is refused in words, and its right neighbor read as ONNX Runtime."""

from __future__ import annotations

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import elman
from elman.checks import FormatError
from elman.interop.onnx.reading.reader import from_onnx
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


@pytest.mark.parametrize("count", [10, 100])
@pytest.mark.parametrize("what", ["order", "weights", "layer"])
def test_a_switch_by_the_number_of_steps(what, count):
    def build(p):
        a, b = steps(p), steps(p)
        first, second = {
            "order": (("Sub", [a, b]), ("Sub", [b, a])),
            "weights": (("Tanh", [a]), ("Tanh", [b])),
            "layer": (("Tanh", [a]), ("Identity", [a])),
        }[what]
        branches = [
            helper.make_graph(
                [helper.make_node(*node, [name])], name, [], [helper.make_tensor_value_info(name, 1, None)]
            )
            for node, name in ((first, "then"), (second, "else"))
        ]
        condition = p.add("Greater", squeeze(p, size(p, "x", 1), 0), scalar(p, count))
        return p.add("If", condition, then_branch=branches[0], else_branch=branches[1])

    refused(X, build, "the same for any number of sequences and steps")


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
