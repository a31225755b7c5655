"""The compiled kernels against the plain equations: every cell, dtype, instruction set and number of threads."""

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
            end, tape = kernels.run(cell, *args, reverse, True, y, self.mask, self.zones)
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


def assert_close(got, want, bound):
    assert list(got) == list(want)
    for name, array in want.items():
        assert got[name].dtype == array.dtype
        scale = max(np.abs(array).max(), 1)
        assert np.abs(got[name] - array).max() / scale <= bound, name


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


BIG = [("lstm", "float32"), ("gru", "float32"), ("gru before", "float64"), ("rnn tanh", "float64"), ("lstm", "float64")]


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
@pytest.mark.parametrize("cell", ["lstm", "gru", "gru before", "rnn tanh", "rnn softsign"])
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
@pytest.mark.parametrize("cell", ["lstm", "gru", "gru before", *[f"rnn {name}" for name in ACTIVATIONS]])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_go_where_they_go_in_the_equations(cell, dtype, value):
    layer = elman.RNN(5, 19, cell.removeprefix("rnn "), dtype=dtype) if cell.startswith("rnn") else cell
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
    t.test_threads_change_nothing("lstm", dtype, False)
    t.test_threads_change_nothing("gru before", dtype, True)
import elman
print(json.dumps(elman.backend()))
"""


def child(**environment):
    code = CHILD.format(folder=os.path.dirname(__file__))
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}
    )


@pytest.mark.parametrize("isa", kernels.native.isas if kernels.native else [])
def test_every_instruction_set(isa):
    done = child(ELMAN_ISA=isa)
    assert done.returncode == 0, done.stderr
    assert isa in json.loads(done.stdout)


def test_the_binding_itself_keeps_within_its_arrays():
    """What no layer would pass: each is refused before anything is read."""
    native, layer = kernels.native, elman.LSTM(3, 4)
    x, weights = np.ones((6, 3), np.float32), (layer.Wx, layer.Wh, layer.b)
    kind = native.Kind.lstm
    for lengths in ([7], [3, 4], [0, 6], [-1, 7], [2**62, 2**62], [5], []):
        with pytest.raises(ValueError, match="lengths must be from 1 up"):
            native.forward(kind, x, np.array(lengths, np.int64), False, *weights)
    lengths = np.array([6])
    for wrong in ((kind, x[:, :2]), (kind, x.astype(float)), (kind, x.astype(int)), (native.Kind.gru, x)):
        with pytest.raises(ValueError, match="must"):
            native.forward(wrong[0], wrong[1], lengths, False, *weights)
    with pytest.raises(ValueError, match="must"):
        native.forward(kind, x, lengths, False, layer.Wx, layer.Wh[:3], layer.b)
    with pytest.raises(ValueError, match="must"):
        native.forward(kind, x, lengths, False, *weights, None, np.ones((2, 4), np.float32))
    wide = np.ones((3, 32), np.float32)[:, :16]  # rows apart, where the kernel takes them for packed
    with pytest.raises(ValueError, match="Wx must"):
        native.forward(kind, x, lengths, False, wide, layer.Wh, layer.b)
    gates = np.ones((6, 16), np.float32)
    for tape in ((gates, None), (gates[:5], gates[:, :4].copy()), (gates, gates[:, :4]), (gates[:, :8], gates)):
        with pytest.raises(ValueError, match="must"):
            native.forward(kind, x, lengths, False, *weights, None, None, None, None, *tape)


def test_masks_and_zones_that_do_not_fit_are_refused():
    native, layer = kernels.native, elman.LSTM(3, 4)
    kind, x, lengths, weights = (
        native.Kind.lstm,
        np.ones((6, 3), np.float32),
        np.array([6]),
        (layer.Wx, layer.Wh, layer.b),
    )
    single = lambda *shape: np.full(shape, 0.5, np.float32)  # noqa: E731
    row, rows = single(1, 4), single(6, 4)
    row.flags.writeable = False
    nothing = (None,) * 7  # bn, h0, c0, y, gates, inner, fresh
    tape = (None, None, None, rows, single(6, 16), rows, rows)
    tail = (None,) * 4  # dy, dh, dc, dx
    calls = (
        lambda *noise: native.forward(kind, x, lengths, False, *weights, *nothing, *noise),
        lambda *noise: native.backward(kind, x, lengths, False, *weights, *tape, *tail, *noise),
    )
    for call in calls:
        for zones in ((row, row), (rows, row), (row, rows)):
            call(row, *zones)
        for mask in (row[:, :3], single(2, 4), row[0], row.astype(float), np.ones((1, 4), bool)):
            with pytest.raises(ValueError, match="mask must"):
                call(mask, row, row)
        for zone in (row[:, :3], single(2, 4), row[0], row.astype(float), single(6, 8)[:, ::2], single(6, 8)[:, :4]):
            with pytest.raises(ValueError, match="zone_h must"):
                call(None, zone, rows)
            with pytest.raises(ValueError, match="zone_c must"):
                call(None, rows, zone)
        for zones in ((row, None), (None, row)):
            with pytest.raises(ValueError, match="must be those of the"):
                call(None, *zones)
    two = np.array([2, 4])
    with pytest.raises(ValueError, match="mask must"):
        native.forward(kind, x, two, False, *weights, *nothing, single(2, 8)[:, :4])
    with pytest.raises(ValueError, match="The arrays of the tape"):  # fresh is missing, or too much
        native.forward(
            kind, x, lengths, False, *weights, None, None, None, None, single(6, 16), rows, None, None, row, row
        )
    with pytest.raises(ValueError, match="The arrays of the tape"):
        native.forward(kind, x, lengths, False, *weights, None, None, None, None, single(6, 16), rows, single(6, 4))
    with pytest.raises(ValueError, match="The arrays of the tape"):
        native.backward(kind, x, lengths, False, *weights, *tape, *tail)
    for zones in ((rows, row), (row, None)):
        with pytest.raises(ValueError, match=r"zones must be those|zone_h must"):
            native.pack(kind, *weights, None, *zones)
    native.pack(kind, *weights, None, row, row)


def test_a_tape_of_another_cell_is_refused():
    native, layer = kernels.native, elman.LSTM(3, 4)
    x, y, gates, inner = (np.ones((6, n), np.float32) for n in (3, 4, 16, 4))
    weights = (layer.Wx, layer.Wh, layer.b, None, None, None)
    for tape in ((y, None, None), (None, gates, inner), (y, gates, None), (y, inner, inner), (y[:5], gates, inner)):
        with pytest.raises((ValueError, TypeError), match=r"must|incompatible"):
            native.backward(native.Kind.lstm, x, np.array([6]), False, *weights, *tape)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2", True, 10**12])
def test_a_count_of_threads_that_is_none_changes_nothing(wrong):
    before = elman.get_threads()
    with pytest.raises(ValueError, match="count must be"):
        elman.set_threads(wrong)
    assert elman.get_threads() == before == kernels.native.get_threads()


def test_environment_variables():
    wrong = subprocess.run(
        [sys.executable, "-c", "import elman"], capture_output=True, text=True, env={**os.environ, "ELMAN_ISA": "mmx"}
    )
    assert "ELMAN_ISA must be one of" in wrong.stderr
    wrong = subprocess.run(
        [sys.executable, "-c", "import elman"],
        capture_output=True,
        text=True,
        env={**os.environ, "ELMAN_NUM_THREADS": "none"},
    )
    assert "ELMAN_NUM_THREADS must be a whole number from 1 up" in wrong.stderr
    wrong = subprocess.run(
        [sys.executable, "-c", "import elman"],
        capture_output=True,
        text=True,
        env={**os.environ, "ELMAN_NUM_THREADS": "0"},
    )
    assert "ELMAN_NUM_THREADS must be a whole number from 1 up" in wrong.stderr
    for variables, want in (
        ({"ELMAN_PLAIN": "1"}, "plain equations"),
        ({"ELMAN_PLAIN": "0"}, "compiled kernels"),
        ({"ELMAN_NUM_THREADS": "3"}, "3"),
    ):
        out = subprocess.run(
            [sys.executable, "-c", "import elman; print(elman.backend(), elman.get_threads())"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, **variables},
        ).stdout
        assert want in out
