"""Networks that branch and join, written as C: a step gives the numbers of their streams."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

import elman
from c_programs import build, compile_c, needs_compiler
from drawn_graphs import Drawn
from elman.interop.c.code import to_c
from elman.interop.chain import input_widths

COUNT = 75
STEPS = 12


def drawn_network(seed):
    """A random graph in float32, and its steps for each input."""
    drawn = Drawn(seed, streamable=True, states=seed % 2 == 1)
    net = drawn.network().astype("float32")
    rng = np.random.default_rng(seed)
    for array in net.parameters.values():
        array[...] = 0.4 * rng.standard_normal(array.shape)
    steps = {}
    for name in net.inputs:
        width, tokens = drawn.widths[name], drawn.kinds[name] == "tokens"
        steps[name] = (
            rng.integers(0, width, STEPS) if tokens else rng.standard_normal((STEPS, width)).astype(np.float32)
        )
    return net, steps


def known(net):
    return all(width or tokens for width, (*_, tokens) in zip(input_widths(net), net.takes, strict=True))


def batch_norm(size, rng):
    layer = elman.BatchNorm(size)
    for array in layer.weights.values():
        array[...] = rng.uniform(0.5, 2, size)
    return layer


def convolutions():
    """Causal convolutions of every form, among them one without a state, constants, and pools of one step."""
    rng, found = np.random.default_rng(0), {}
    for i, (width, dilation) in enumerate(((1, 1), (2, 1), (3, 1), (2, 3), (4, 2))):
        padding = "causal" if i % 2 else ((width - 1) * dilation, 0)
        net = elman.Network([
            elman.Scale(2, rng.standard_normal(2), 0.5),
            elman.Conv1d(2, 3, width, dilation=dilation, padding=padding, activation="tanh", seed=i),
            elman.MaxPool1d(1),
            batch_norm(3, rng),
            elman.Scale(3, 0.25, rng.standard_normal(3)),
            elman.Conv1d(3, 2, 2, padding="causal", seed=i),
        ])  # fmt: skip
        net.layers[1].b = rng.standard_normal(3)
        found[f"convolution_{i}"] = net, {"x": rng.standard_normal((STEPS, 2)).astype(np.float32)}
    return found


def named():
    """Names that no name of C can be, that are alike in C, or that the code has besides."""
    names = ["a b", "a_b", "*/", "é", "layer", "int", "b0", "W\n", "\0\ud800", "node_a"]
    inputs = ["x y", "x_y", "/* */", "s", "token"]
    nodes = {name: (elman.Dense(1, 1, seed=i), inputs[i % 5]) for i, name in enumerate(names)}
    nodes["y"] = (elman.Concatenate(), *names)
    nodes["twice"], nodes["as it is"] = (elman.Dropout(0.5), "y"), (elman.Dropout(0.5), "s")
    net = elman.Network(nodes, outputs=("y", "twice", "as it is", "a b"))
    rng = np.random.default_rng(0)
    return net, {name: rng.standard_normal((STEPS, 1)).astype(np.float32) for name in net.inputs}


DRAWN = {f"graph_{seed}": drawn_network(seed) for seed in range(COUNT)}
#: Those of which it is known how much goes into each input.
NETWORKS = {name: (net, x) for name, (net, x) in DRAWN.items() if known(net)} | convolutions() | {"named": named()}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """All networks, written, and compiled into one shared object."""
    folder = tmp_path_factory.mktemp("c")
    reports = {name: to_c(net, folder / name) for name, (net, _) in NETWORKS.items()}
    return build(folder, list(reports.values())), reports


def pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


def run(library, report, net, steps, outputs):
    """All steps from a first state, in memory that held something else before: each output by its place."""
    memory = np.full(report.state_bytes, 0xFF, np.uint8)
    size = getattr(library, f"{report.name}_size")
    size.restype = ctypes.c_ulong
    assert size() == report.state_bytes
    getattr(library, f"{report.name}_init")(pointer(memory))
    step, found = getattr(library, f"{report.name}_step"), []
    for t in range(STEPS):
        given = [ctypes.c_int32(int(x[t])) if x.ndim == 1 else pointer(x[t]) for x in map(steps.get, net.inputs)]
        y = [np.full(like.shape[-1], np.nan, np.float32) for like in outputs]
        result = step(pointer(memory), *given, *map(pointer, y))
        assert not any(x.ndim == 1 for x in steps.values()) or result == 0
        found.append(y)
    return [np.stack(parts) for parts in zip(*found, strict=True)]


def test_there_are_enough():
    assert sum(name.startswith("graph") for name in NETWORKS) >= 40


@needs_compiler
@pytest.mark.parametrize("name", NETWORKS)
def test_steps_are_those_of_the_stream(name, exported):
    library, reports = exported
    net, steps = NETWORKS[name]
    y = net.stream().run(steps if len(net.inputs) > 1 else steps[net.inputs[0]])
    outputs = [*y.values()] if net.graph.named else [y]
    for _ in range(2):
        for got, want in zip(run(library, reports[name], net, steps, outputs), outputs, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@needs_compiler
@pytest.mark.parametrize("pool", [elman.MeanOverTime, elman.MaxOverTime])
def test_pools_over_time_of_what_is_not_finite(pool, tmp_path):
    net = elman.Network([elman.Scale(2, 0.0, 1.0), pool()])
    report = to_c(net, tmp_path / "net")
    x = np.array([[-3, 1], [-2, 5], [-4, np.inf], [np.nan, 3]] + [[7, -np.inf]] * (STEPS - 4), np.float32)
    with np.errstate(invalid="ignore"):
        want = net.stream().run(x)
    (got,) = run(build(tmp_path, [report]), report, net, {"x": x}, [want])
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_the_header_says_what_goes_in_and_comes_out(tmp_path):
    net = elman.Network({
        "word": (elman.Embedding(7, 2, seed=0), "words"),
        "rnn": elman.GRU(2, 3, seed=1),
        "both": (elman.Concatenate(), "rnn", "store"),
        "out": elman.Dense(5, 1, seed=2),
        "wide": (elman.Dense(2, 2, seed=3), "store"),
    }, outputs=("out", "wide"))  # fmt: skip
    report = to_c(net, tmp_path / "net")
    header = report.header.read_text()
    for text in (
        "net_tokens_words = 7, /* how many tokens there are as token_words */",
        "net_inputs_store = 2, /* numbers that a step takes as x_store */",
        "net_outputs_out = 1, /* numbers that a step gives as y_out */",
        "net_outputs_wide = 2 /* numbers that a step gives as y_wide */",
        "float h_rnn[3];",
        "int net_step(net_state *s, int32_t token_words,\n    const float x_store[net_inputs_store],\n",
        "token_words must be a number from 0 to net_tokens_words - 1.",
    ):
        assert text in " ".join(header.split()) if "must be" in text else text in header
    compile_c("-c", report.source, "-o", tmp_path / "net.o")


@needs_compiler
def test_a_token_that_is_none_changes_nothing(tmp_path):
    net = elman.Network({
        "a": (elman.Embedding(3, 2, seed=0), "one"),
        "b": (elman.Embedding(5, 2, seed=1), "two"),
        "sum": (elman.Add(), "a", "b"),
        "rnn": elman.GRU(2, 2, seed=2),
    })  # fmt: skip
    report = to_c(net, tmp_path / "net")
    library = build(tmp_path, [report])
    memory, y = np.zeros(report.state_bytes, np.uint8), np.full(2, 7, np.float32)
    library.net_init(pointer(memory))
    assert library.net_step(pointer(memory), 2, 4, pointer(y)) == 0
    before, last = memory.copy(), y.copy()
    for tokens in ((3, 4), (-1, 0), (2, 5), (0, -1)):
        assert library.net_step(pointer(memory), *tokens, pointer(y)) == 1
        assert (memory == before).all()
        assert (y == last).all()


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ({"back": (elman.Reverse(), "x"), "out": elman.Dense(3, 1)}, "Got node 'back'"),
        ({"both": elman.Bidirectional(elman.GRU(3, 2), elman.RNN(3, 2))}, "Got node 'both'"),
        ({"ahead": elman.Conv1d(3, 2, 3)}, "Got node 'ahead'"),
        ({"few": elman.Conv1d(3, 2, 2, 2, padding="causal")}, "Got node 'few'"),
        ({"pool": elman.MaxPool1d(2), "out": elman.Dense(3, 1)}, "Got node 'pool'"),
        (
            {"a": (elman.GRU(3, 2), "one"), "b": elman.Node(elman.GRU(3, 2), "two", state="a")},
            "Got node 'b', from a last state",
        ),
        ({"sum": (elman.Add(), "one", "two")}, "net must have a layer that takes a certain number of features"),
    ],
)
def test_what_cannot_go_step_by_step_is_refused_by_its_node(nodes, words, tmp_path):
    with pytest.raises(elman.ShapeError, match=words):
        to_c(elman.Network(nodes, outputs=("a", "b") if "b" in nodes else None), tmp_path / "net")
    assert not list(tmp_path.iterdir())
