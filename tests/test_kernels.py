"""The compiled kernels against the plain equations: every cell, dtype, instruction set and number of threads.

The kernels are in src/elman/kernels, the equations in src/elman/cells.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import elman
from elman import engine, kernels
from elman.cells import unroll
from elman.cells.activations import ACTIVATIONS

pytestmark = pytest.mark.skipif(not engine.compiled(elman.LSTM(1, 1).cell), reason="the plain equations run here")

# Of the general kernels: every gate has an activation of its own, and the bounds cut off a good part.
ACTS = {
    "i": "hard_sigmoid",
    "f": elman.Activation("scaled_tanh", alpha=0.9, beta=0.8),
    "g": "softsign",
    "o": elman.Activation("affine", alpha=0.7, beta=0.1),
    "c": elman.Activation("elu", alpha=0.7),
}
GENERAL = {
    "lstm general": {"activations": ACTS, "peepholes": True, "clip": 0.9, "cell_clip": 0.8},
    "lstm coupled": {"activations": {"o": "softplus"}, "coupled": True, "peepholes": True, "clip": 1.1},
    "lstm cell clip": {"cell_clip": 0.4},
    "gru general": {"activations": {"r": "softplus", "z": ACTS["i"], "n": ACTS["c"]}, "clip": 0.9},
    "gru before general": {"activations": {"r": "relu", "n": "softsign"}, "clip": 1.3, "reset_after": False},
    "rnn clip": {"activation": ACTS["f"], "clip": 0.7},
}
CELLS = {
    "lstm": lambda i, h, **s: elman.LSTM(i, h, **s),
    "gru": lambda i, h, **s: elman.GRU(i, h, **s),
    "gru before": lambda i, h, **s: elman.GRU(i, h, reset_after=False, **s),
    **{
        f"rnn {name}": lambda i, h, name=name, **s: elman.RNN(i, h, activation=name, **s)
        for name in ACTIVATIONS
        # Where the state can grow without bound, rounding grows with it: these two are tested on their own.
        if name not in ("relu", "affine", "identity", "leaky_relu", "softplus", "elu", "thresholded_relu")
    },
    **{
        name: lambda i, h, name=name, **s: getattr(elman, name.split()[0].upper())(i, h, **GENERAL[name], **s)
        for name in GENERAL
    },
}
GROWING = ("relu", "affine", "identity", "leaky_relu", "softplus", "elu", "thresholded_relu")
SIZES = st.sampled_from([1, 2, 3, 5, 7, 8, 11, 16, 17, 19, 31, 32, 33, 48, 65])

# Relative to the largest entry of the array, or to 1, the size of what goes in, where terms of a sum cancel.
# In 1500 random problems the largest difference was 17 epsilon in float32 and 14 in float64.
BOUND = {dtype: 32 * float(np.finfo(dtype).eps) for dtype in ("float32", "float64")}


class Problem:
    """A layer with random weights, a ragged batch with initial states, and gradients from outside."""

    def __init__(self, cell, inputs, hidden, lengths, dtype, seed, scale=1.0, masked=False, zones=None):
        rng = np.random.default_rng(seed)
        self.layer = CELLS[cell](inputs, hidden, dtype=dtype) if isinstance(cell, str) else cell
        self.lengths = np.array(lengths, np.int64)
        rows, batch = int(self.lengths.sum()), len(lengths)
        spread = scale * 1.5 / np.sqrt(inputs + hidden)
        self.weights = tuple((spread * rng.normal(size=a.shape)).astype(dtype) for a in self.layer.parameters.values())
        states = len(self.layer.cell.states)
        draw = lambda *shape: rng.normal(size=shape).astype(dtype)  # noqa: E731
        self.x, self.dy = draw(rows, inputs), draw(rows, hidden)
        self.state = tuple(draw(batch, hidden) for _ in range(states))
        self.dstate = tuple(draw(batch, hidden) for _ in range(states))
        self.zones = None
        if zones == "drawn":
            self.zones = tuple((rng.random((rows, hidden)) < 0.3).astype(dtype) for _ in range(states))
        if zones == "rates":
            self.zones = tuple(0.1 + 0.3 * i for i in range(states))
        self.mask = ((rng.random((batch, hidden)) < 0.7) / 0.7).astype(dtype) if masked else None

    def run(self, how, reverse=False):
        """All results of forward and backward by name, by "kernel" or by "equations"."""
        cell, args = self.layer.cell, (self.weights, self.x, self.lengths, self.state)
        y = np.full((len(self.x), self.state[0].shape[1]), np.nan, self.x.dtype)
        if how == "kernel":
            end, tape = kernels.run(cell, *args, y, reverse=reverse, mask=self.mask, zones=self.zones)
            dx, dstart, dweights = kernels.run_derivative(tape, self.dy, self.dstate)
        else:
            end, tape = unroll.unroll(cell, *args, y, reverse=reverse, mask=self.mask, zones=self.zones)
            dx, dstart, dweights = unroll.unroll_derivative(tape, self.dy, self.dstate)
        names = cell.states
        return (
            {"y": y, "dx": dx}
            | dict(zip(names, end, strict=True))
            | {f"d{n}": a for n, a in zip(names, dstart, strict=True)}
            | {f"d{n}": a for n, a in zip(cell.weights, dweights, strict=True)}
        )


def assert_close(got, want, bound, problem=None):
    assert list(got) == list(want)
    for name, array in want.items():
        assert got[name].dtype == array.dtype
        scale = max(np.abs(array).max(), 1)
        assert np.abs(got[name] - array).max() / scale <= bound, (name, problem)


PROBLEMS = {
    "cell": st.sampled_from(list(CELLS)),
    "inputs": SIZES,
    "hidden": SIZES,
    "lengths": st.lists(st.integers(1, 9), min_size=1, max_size=15),
    "dtype": st.sampled_from(["float64", "float32"]),
    "reverse": st.booleans(),
    "masked": st.booleans(),
    "zones": st.sampled_from([None, None, "drawn", "rates"]),
    "seed": st.integers(0, 10**6),
}


@settings(max_examples=400, deadline=None, derandomize=True)
@given(**PROBLEMS)
@example("lstm", 1, 1, [1], "float32", False, False, None, 0)
@example("gru before", 300, 33, [3, 40, 7], "float64", True, False, None, 1)
@example("lstm", 8, 130, [30] * 13, "float32", False, False, None, 2)
@example("gru", 8, 130, [400, 3, 300] * 4, "float64", True, True, None, 3)
@example("gru before", 8, 33, [600, 700], "float32", True, True, "drawn", 4)
@example("lstm", 300, 33, [3, 40, 7], "float64", False, True, "rates", 5)
def test_kernel_equals_equations(cell, inputs, hidden, lengths, dtype, reverse, masked, zones, seed):
    problem = Problem(cell, inputs, hidden, lengths, dtype, seed, masked=masked, zones=zones)
    arrays = (problem.x, problem.dy, *problem.state, *problem.dstate, *problem.weights, *[problem.mask] * masked)
    arrays += problem.zones if zones == "drawn" else ()
    copies = [a.copy() for a in arrays]
    want = problem.run("equations", reverse)
    for _ in range(2):
        assert_close(problem.run("kernel", reverse), want, BOUND[dtype])
    for before, after in zip(copies, arrays, strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("name", GROWING)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_activations_without_bound(name, dtype):
    """With small weights the states stay bounded; the two sides may fall on either side of a kink only by chance."""
    layer = elman.RNN(7, 19, activation=name, dtype=dtype)
    problem = Problem(layer, 7, 19, [5, 2, 9, 1], dtype, 3, scale=0.4)
    assert_close(problem.run("kernel", True), problem.run("equations", True), BOUND[dtype])


@pytest.mark.parametrize(
    "activation",
    [
        elman.Activation("leaky_relu", alpha=0.3),
        elman.Activation("elu", alpha=0.4),
        elman.Activation("scaled_tanh", alpha=1.7, beta=0.6),
        elman.Activation("affine", alpha=0.7, beta=0.2),
        elman.Activation("hard_sigmoid", alpha=0.3, beta=0.4),
        elman.Activation("thresholded_relu", alpha=0.2),
        elman.Activation("thresholded_relu", alpha=-0.3),
    ],
    ids=repr,
)
def test_activation_parameters_reach_the_kernel(activation):
    layer = elman.RNN(3, 5, activation=activation, dtype="float64")
    problem = Problem(layer, 3, 5, [4, 2], "float64", 5, scale=0.5)
    assert_close(problem.run("kernel"), problem.run("equations"), 1e-12)


def drawn(rng):
    """A cell with options drawn at random, the sizes of the layer apart."""
    kind = rng.choice(["lstm", "gru", "rnn"])
    options = {"clip": rng.uniform(0.2, 1)} if rng.random() < 0.6 else {}
    names = [name for name in ACTIVATIONS if "clip" in options or name not in GROWING]

    def activation():
        name = str(rng.choice(names))
        return elman.Activation(name, **{k: rng.uniform(0.2, 0.8) for k in ACTIVATIONS[name].defaults})

    if kind == "rnn":
        return elman.RNN, {"activation": activation(), **options}
    if kind == "lstm":
        options |= {"peepholes": bool(rng.integers(2)), "coupled": bool(rng.integers(2))}
        options |= {"cell_clip": rng.uniform(0.3, 2)} if rng.random() < 0.5 else {}
    else:
        options["reset_after"] = bool(rng.integers(2))
    gates = "rzn" if kind == "gru" else "igoc" if options["coupled"] else "ifgoc"
    options["activations"] = {gate: activation() for gate in gates if rng.random() < 0.6}
    return (elman.GRU if kind == "gru" else elman.LSTM), options


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_kernel_equals_equations_whatever_the_options(dtype):
    """Smaller weights than above: a GRU whose z may be negative doubles rounding in a step."""
    for seed in range(200):
        rng = np.random.default_rng(seed)
        make, options = drawn(rng)
        inputs, hidden = (int(n) for n in rng.integers(1, 40, size=2))
        lengths = rng.integers(1, 9, size=rng.integers(1, 14))
        zones = (None, None, "drawn", "rates")[rng.integers(4)]
        layer = make(inputs, hidden, dtype=dtype, **options)
        assert engine.compiled(layer.cell)
        problem = Problem(layer, inputs, hidden, lengths, dtype, seed, 0.5, bool(rng.integers(2)), zones)
        reverse = bool(rng.integers(2))
        assert_close(problem.run("kernel", reverse), problem.run("equations", reverse), BOUND[dtype], (seed, options))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_general_kernels_agree_with_the_special_ones(dtype):
    """Bounds that nothing reaches and peepholes of 0: the same bits forward, where no sum is taken another way."""
    for make, options in (
        (elman.LSTM, {"clip": 1e6}),
        (elman.LSTM, {"cell_clip": 1e6}),
        (elman.LSTM, {"peepholes": True}),
        (elman.GRU, {"clip": 1e6}),
        (elman.GRU, {"clip": 1e6, "reset_after": False}),
        (elman.RNN, {"clip": 1e6}),
    ):
        form = {name: options[name] for name in options if name == "reset_after"}
        special = Problem(make(5, 21, dtype=dtype, **form), 5, 21, [7, 3, 9], dtype, 1)
        general = Problem(make(5, 21, dtype=dtype, **options), 5, 21, [7, 3, 9], dtype, 1)
        general.x, general.dy, general.state, general.dstate = special.x, special.dy, special.state, special.dstate
        for a, b in zip(general.weights, special.weights, strict=False):
            a[...] = b
        for a in general.weights[len(special.weights) :]:
            a[...] = 0
        got, want = general.run("kernel"), special.run("kernel")
        for name in ("y", *special.layer.cell.states):
            np.testing.assert_array_equal(got[name], want[name])
        assert_close({name: got[name] for name in want}, want, BOUND[dtype])


def test_a_tape_is_a_value():
    """Neither weights that change nor another run touch what a tape holds."""
    for name in ("lstm general", "lstm coupled", "gru general"):
        problem = Problem(name, 5, 9, [4, 6], "float64", 2)
        cell, y = problem.layer.cell, np.empty((10, 9))
        run = lambda y: kernels.run(  # noqa: E731
            cell, problem.weights, problem.x, problem.lengths, problem.state, y  # noqa: B023
        )  # fmt: skip
        _, tape = run(y)
        want = kernels.run_derivative(tape, problem.dy, problem.dstate)
        for w in problem.weights:
            w += 1
        run(np.empty((10, 9)))
        got = kernels.run_derivative(tape, problem.dy, problem.dstate)
        for a, b in zip((got[0], *got[1], *got[2]), (want[0], *want[1], *want[2]), strict=True):
            np.testing.assert_array_equal(a, b)


BIG = [("lstm", "float32"), ("gru", "float32"), ("gru before", "float64"), ("rnn tanh", "float64"), ("lstm", "float64")]
BIG += [("lstm general", "float64"), ("lstm coupled", "float32"), ("gru general", "float64")]


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize(("cell", "dtype"), BIG)
def test_threads_change_nothing(cell, dtype, noisy):
    """Work large enough to be shared out, with every number of threads: the same bits."""
    problem = Problem(
        cell,
        33,
        70,
        np.random.default_rng(0).integers(20, 60, size=29),
        dtype,
        0,
        1.0,
        noisy,
        "drawn" if noisy else None,
    )
    before = elman.get_threads()
    try:
        results = []
        for count in (1, 2, 3, 8):
            elman.set_threads(count)
            results.append(problem.run("kernel"))
    finally:
        elman.set_threads(before)
    for other in results[1:]:
        for name, array in results[0].items():
            np.testing.assert_array_equal(array, other[name], err_msg=name)


def net_of(cell, dtype, inputs=6, **options):
    options["dtype"] = dtype
    return elman.Network([CELLS[cell](inputs, 21, seed=1, **options), CELLS[cell](21, 10, seed=2, **options)])


@pytest.mark.parametrize("zoneout", [0.0, 0.3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "gru before", "rnn tanh", "rnn softsign", *GENERAL])
def test_stream_equals_chunk_equals_whole_to_the_bit(cell, dtype, zoneout):
    net = net_of(cell, dtype, zoneout=zoneout)
    x = np.random.default_rng(0).normal(size=(13, 40, 6)).astype(dtype)
    whole, end = net(x)
    one_by_one = np.stack([net(row)[0] for row in x])
    many = net.stream(13)
    steps = np.stack([many.step(x[:, t]) for t in range(40)], axis=1)
    chunks = net.stream(13)
    parts = np.concatenate([chunks.run(x[:, a:b]) for a, b in ((0, 1), (1, 18), (18, 40))], axis=1)
    single = net.stream()
    alone = np.stack([single.step(row) for row in x[4]])
    carried, first = net(x[:, :15])
    rest, _ = net(x[:, 15:], first)
    ragged, _ = net([row[: 3 * i + 1] for i, row in enumerate(x)])
    np.testing.assert_array_equal(one_by_one, whole)
    np.testing.assert_array_equal(steps, whole)
    np.testing.assert_array_equal(parts, whole)
    np.testing.assert_array_equal(alone, whole[4])
    np.testing.assert_array_equal(np.concatenate([carried, rest], axis=1), whole)
    for i, row in enumerate(ragged):
        np.testing.assert_array_equal(row, whole[i, : 3 * i + 1])
    for a, b in zip(many.state, end, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "gru before", *GENERAL, *[f"rnn {name}" for name in ACTIVATIONS]])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_go_where_they_go_in_the_equations(cell, dtype, value):
    layer = cell if cell in CELLS else elman.RNN(5, 19, cell.removeprefix("rnn "), dtype=dtype)
    problem = Problem(layer, 5, 19, [6, 9, 2], dtype, 0, scale=0.4)
    problem.x[3, 2] = value
    with np.errstate(all="ignore"):
        want = problem.run("equations")
    got = problem.run("kernel")
    for name in ("y", *problem.layer.cell.states):
        np.testing.assert_array_equal(np.isnan(got[name]), np.isnan(want[name]), err_msg=name)
        fine = np.isfinite(want[name])
        np.testing.assert_allclose(got[name][fine], want[name][fine], atol=BOUND[dtype])


CHILD = """
import json, sys, numpy as np
sys.path.insert(0, {folder!r})
import test_kernels as t
worst = {{}}
for dtype in ("float32", "float64"):
    for cell in t.CELLS:
        for seed in range(12):
            rng = np.random.default_rng(seed)
            inputs, hidden = (int(n) for n in rng.integers(1, 70, size=2))
            lengths = rng.integers(1, 13, size=1 + seed)
            zones = (None, "drawn", "rates", None)[seed % 4]
            problem = t.Problem(cell, inputs, hidden, lengths, dtype, seed, 1.0, seed % 3 == 0, zones)
            reverse = bool(seed % 2)
            t.assert_close(problem.run("kernel", reverse), problem.run("equations", reverse), t.BOUND[dtype])
    t.test_stream_equals_chunk_equals_whole_to_the_bit("lstm", dtype, 0.2)
    t.test_stream_equals_chunk_equals_whole_to_the_bit("gru", dtype, 0.0)
    t.test_stream_equals_chunk_equals_whole_to_the_bit("lstm general", dtype, 0.2)
    t.test_kernel_equals_equations_whatever_the_options(dtype)
    t.test_threads_change_nothing("lstm", dtype, False)
    t.test_threads_change_nothing("gru before", dtype, True)
import elman
print(json.dumps(elman.backend()))
"""


def child(code=CHILD, **environment):
    code = code.format(folder=os.path.dirname(__file__))
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}
    )


@pytest.mark.parametrize("isa", kernels.native.isas if kernels.native else [])
def test_every_instruction_set(isa):
    done = child(ELMAN_ISA=isa)
    assert done.returncode == 0, done.stderr
    assert isa in json.loads(done.stdout)


BITS = """
import hashlib, sys
sys.path.insert(0, {folder!r})
import test_kernels as t
digest = hashlib.sha256()
for dtype, lanes in (("float32", 8), ("float64", 4)):
    for cell in t.CELLS:
        for hidden in (1, lanes - 1, lanes, lanes + 1, 3 * lanes):
            results = t.Problem(cell, 19, hidden, [4, 30, 2], dtype, hidden, masked=True, zones="drawn").run("kernel")
            for name in results if hidden <= lanes else ["y"]:
                digest.update(results[name] + 0.0)  # -0 and 0 are the same number
print(digest.hexdigest())
"""


@pytest.mark.skipif("avx512" not in getattr(kernels.native, "isas", []), reason="one set with fma, or none")
def test_wide_and_narrow_vectors_give_the_same_bits():
    """All of y; the gradients too where one narrow vector holds all units, and takes the place of the wide one."""
    wide, narrow = child(BITS, ELMAN_ISA="avx512"), child(BITS, ELMAN_ISA="avx2")
    assert wide.returncode == 0, wide.stderr
    assert len(wide.stdout) == 65
    assert wide.stdout == narrow.stdout
