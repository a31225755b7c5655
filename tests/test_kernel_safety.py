"""Kernels under strain: arrays of every kind, Ctrl-C, memory that runs out, many streams, threads side by side."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest

import elman
from elman import engine, kernels

pytestmark = pytest.mark.skipif(not engine.compiled(elman.LSTM(1, 1).cell), reason="the plain equations run here")


def variants(x):
    """The same numbers in arrays of every kind that NumPy would convert."""
    frozen = x.copy()
    frozen.flags.writeable = False
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    return {
        "float64": x.astype(np.float64),
        "big endian": x.astype(x.dtype.newbyteorder(">")),
        "read-only": frozen,
        "time first": np.ascontiguousarray(x.transpose(1, 0, 2)).transpose(1, 0, 2),
        "backwards": np.ascontiguousarray(x[::-1, ::-1, ::-1])[::-1, ::-1, ::-1],
        "every second": wide[..., ::2],
        "Fortran": np.asfortranarray(x),
        "list": x.tolist(),
    }


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_arrays_of_every_kind(cell):
    rng = np.random.default_rng(0)
    layer = getattr(elman, cell)(5, 7, bidirectional=True, seed=0)
    x, dy = rng.normal(size=(4, 6, 5)).astype(np.float32), rng.normal(size=(4, 6, 14)).astype(np.float32)
    h = rng.normal(size=(2, 4, 7)).astype(np.float32)
    state = lambda a: (a, a) if cell == "LSTM" else a  # noqa: E731
    y, _, tape = layer.forward(x, state(h))
    want = layer.backward(tape, dy, state(h))
    for (name, x_), dy_, h_ in zip(variants(x).items(), variants(dy).values(), variants(h).values(), strict=True):
        y_, _, tape = layer.forward(x_, state(h_))
        np.testing.assert_array_equal(y_, y, err_msg=name)
        got = layer.backward(tape, dy_, state(h_))
        np.testing.assert_array_equal(got[0], want[0], err_msg=name)
        for key, gradient in want[2].items():
            np.testing.assert_array_equal(got[2][key], gradient, err_msg=name)


def test_streams_take_arrays_of_every_kind():
    net = elman.Network([elman.LSTM(5, 7, seed=0)])
    x = np.random.default_rng(0).normal(size=(3, 6, 5)).astype(np.float32)
    want = net(x)[0]
    for name, x_ in variants(x).items():
        stream = net.stream(3)
        got = np.stack([stream.step(np.asarray(x_)[:, t]) for t in range(6)], axis=1)
        np.testing.assert_array_equal(got, want, err_msg=name)
        np.testing.assert_array_equal(net.stream(3).run(x_), want, err_msg=name)
    for wrong in (np.ones(4), np.ones((5, 1)), np.ones(0), "no", None, 1.0, np.ones(5) * 1j):
        stream = net.stream()
        with pytest.raises((elman.ShapeError, elman.DtypeError)):
            stream.step(wrong)
        assert (stream.state[0][0] == 0).all()


@pytest.mark.parametrize(
    "out",
    [np.empty(8, np.float32), np.empty(7), np.empty((1, 7), np.float32), np.empty(14, np.float32)[::2], [0] * 7],
    ids=["too long", "float64", "two axes", "strided", "list"],
)
@pytest.mark.parametrize("tail", [0, 1])
def test_an_out_that_does_not_fit_changes_nothing(out, tail):
    net = elman.Network([elman.LSTM(5, 7, seed=0), *[elman.Dense(7, 7, seed=1)] * tail])
    stream = net.stream()
    with pytest.raises((elman.ShapeError, elman.DtypeError), match="out must"):
        stream.step(np.ones(5, np.float32), out)
    assert (stream.state[0][0] == 0).all()


def test_a_step_into_out_allocates_nothing():
    stream = elman.Network([elman.LSTM(5, 7, seed=0)]).stream()
    x, out = np.ones(5, np.float32), np.empty(7, np.float32)
    for _ in range(3):
        assert stream.step(x, out=out) is out
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for _ in range(100):
            stream.step(x, out=out)
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now - before < 200  # Python's own, for the loop
    assert peak - before < 400


def test_thousands_of_streams_share_the_weights_of_their_network():
    net = elman.Network([elman.LSTM(64, 256, seed=0)])
    streams = [net.stream() for _ in range(3000)]
    assert len({id(stream.net) for stream in streams}) == 1
    streams[7].step(np.ones(64))
    assert (streams[8].state[0][0] == 0).all()


def test_a_stream_keeps_the_weights_it_was_made_with():
    net = elman.Network([elman.GRU(3, 4, seed=0), elman.Dense(4, 2, seed=1)])
    old, x = net.stream(), np.ones(3, np.float32)
    before = old.copy().step(x)
    net.layers[0].Wx += 1
    net.layers[1].b += 1
    np.testing.assert_array_equal(old.step(x), before)
    assert (net.stream().step(x) != before).all()


def test_rows_of_a_stream_are_reset_alone():
    net = elman.Network([elman.LSTM(3, 4, seed=0), elman.GRU(4, 5, seed=1)])
    stream = net.stream(4)
    for _ in range(3):
        stream.step(np.ones((4, 3)))
    (h, c), g = stream.state
    stream.reset([0, 2])
    (h2, c2), g2 = stream.state
    for before, after in ((h, h2), (c, c2), (g, g2)):
        assert (after[[0, 2]] == 0).all()
        np.testing.assert_array_equal(after[[1, 3]], before[[1, 3]])
    stream.reset(np.array([False, True, False, False]))
    assert (stream.state[1][1] == 0).all()
    assert (stream.state[1][3] != 0).any()


def test_layers_run_side_by_side_in_threads():
    """The interpreter's lock is given up, and nothing is shared that should not be."""
    layer = elman.GRU(20, 40, seed=0)
    xs = [np.random.default_rng(i).normal(size=(8, 50, 20)).astype(np.float32) for i in range(4)]
    want = [layer(x)[0] for x in xs]
    got = [[] for _ in xs]

    def work(i):
        for _ in range(20):
            got[i].append(layer(xs[i])[0])

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for results, one in zip(got, want, strict=True):
        assert len(results) == 20
        for result in results:
            np.testing.assert_array_equal(result, one)


INTERRUPT = """
import os, signal, threading, time, numpy as np, elman
layer = {layer}
x = np.zeros({shape}, np.float32)
{before}
threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
start = time.monotonic()
try:
    {call}
except KeyboardInterrupt:
    print(time.monotonic() - start - 0.3)
y, _ = layer(x[:2, :3])  # still usable
assert np.isfinite(y).all()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(
    ("layer", "shape", "before", "call"),
    [("elman.LSTM(256, 512, seed=0)", (64, 2000, 256), "", "layer(x)"),
     ("elman.LSTM(256, 512, seed=0)", (64, 2000, 256),
      "_, _, tape = layer.forward(x[:, :200]); dy = np.ones((64, 200, 512), np.float32)",
      "[layer.backward(tape, dy) for _ in range(50)]"),
     ("elman.Dense(1000, 1000, seed=0)", (1, 60_000, 1000), "", "[layer(x) for _ in range(50)]"),
     ("elman.Dense(1000, 1000, seed=0)", (1, 20_000, 1000),
      "_, _, tape = layer.forward(x); dy = np.ones(x.shape, np.float32)",
      "[layer.backward(tape, dy) for _ in range(50)]")],
    ids=["forward", "backward", "dense forward", "dense backward"],
)  # fmt: skip
def test_ctrl_c_stops_a_long_call_within_a_second(layer, shape, before, call):
    code = INTERRUPT.format(layer=layer, shape=shape, before=before, call=call)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1


MEMORY = """
import resource, numpy as np, elman
elman.set_threads(1)
layer = elman.LSTM(8, 64, seed=0)
x = np.zeros((4, 20, 8), np.float32)
want, _ = layer(x)
big = np.broadcast_to(np.float32(0), (1, 8)).repeat(4_000_000, 0)[None]
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + 300_000_000, resource.RLIM_INFINITY))
for run in (lambda: layer(big), lambda: layer.forward(big), lambda: elman.Network([layer]).stream(50_000_000)):
    try:
        run()
    except MemoryError:
        print("MemoryError")
again, _ = layer(x)
assert (again == want).all()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory")
def test_memory_that_runs_out_is_an_error_and_nothing_breaks():
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["MemoryError"] * 3


def test_the_binary_is_small():
    assert kernels.native.__file__ is not None
    with open(kernels.native.__file__, "rb") as file:
        assert len(file.read()) < 5e6


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


def test_options_and_peepholes_of_another_cell_are_refused():
    native = kernels.native
    layer = elman.LSTM(3, 4, peepholes=True, clip=1.0)
    x, lengths, weights = np.ones((6, 3), np.float32), np.array([6]), (layer.Wx, layer.Wh, layer.b)
    tanh, peepholes = (native.Activation.tanh, 0.0, 0.0), np.ones(12, np.float32)
    five = native.Options([tanh] * 5, 1.0, np.inf)
    run = lambda kind, vectors, options: native.forward(  # noqa: E731
        kind, x, lengths, False, *weights, vectors, options=options
    )
    run(native.Kind.lstm_general, peepholes, five)
    run(native.Kind.lstm_general, None, five)
    run(native.Kind.lstm, None, None)
    for options in (None, native.Options([tanh] * 4, 1.0, 1.0), native.Options([tanh] * 6, 1.0, 1.0)):
        with pytest.raises(ValueError, match="The options must be those of the kind of cell"):
            run(native.Kind.lstm_general, peepholes, options)
    with pytest.raises(ValueError, match="The options must be those of the kind of cell"):
        run(native.Kind.lstm, None, five)
    with pytest.raises(ValueError, match="The weights must be those of the kind of cell"):
        run(native.Kind.lstm, peepholes, None)
    for wrong in (peepholes[:8], np.ones(16, np.float32), peepholes.astype(float), peepholes.reshape(3, 4)):
        with pytest.raises(ValueError, match="vectors must"):
            run(native.Kind.lstm_general, wrong, five)
        with pytest.raises(ValueError, match="vectors must"):
            native.pack(native.Kind.lstm_general, *weights, wrong, options=five)
    with pytest.raises(ValueError, match="Wx must"):
        run(native.Kind.lstm_coupled, peepholes[:8], native.Options([tanh] * 4, 1.0, 1.0))
    with pytest.raises(TypeError):
        native.Options([("tanh", 0.0, 0.0)], 1.0, 1.0)


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
    for variables, want in (
        ({"ELMAN_PLAIN": "1"}, "plain equations"),
        ({"ELMAN_PLAIN": "0"}, "compiled kernels"),
    ):
        out = subprocess.run(
            [sys.executable, "-c", "import elman; print(elman.backend(), elman.get_threads())"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, **variables},
        ).stdout
        assert want in out
