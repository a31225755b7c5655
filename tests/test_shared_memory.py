"""Outputs that share memory with inputs: the numbers of arrays apart, or refused before anything has moved."""

from __future__ import annotations

import numpy as np
import pytest

import elman
from elman import engine, kernels

pytestmark = pytest.mark.skipif(not engine.compiled(elman.LSTM(1, 1).cell), reason="the plain equations run here")

LAYERS = {
    "LSTM": elman.LSTM,
    "LSTM with peepholes": lambda *args, **options: elman.LSTM(*args, peepholes=True, **options),
    "GRU": elman.GRU,
    "GRU, reset before": lambda *args, **options: elman.GRU(*args, reset_after=False, **options),
    "RNN": elman.RNN,
    "zoneout": lambda *args, **options: elman.LSTM(*args, zoneout=0.3, **options),
}


def view(rng, memory, shape):
    """A view of `memory`, flat, anywhere in it: its last axis packed, rows apart by any distance, either way round."""
    width = shape[-1]
    rows = int(np.prod(shape[:-1]))
    packed = len(shape) != 2 or rng.random() < 0.5
    stride = width if packed else width + int(rng.integers(0, 4))
    begin = int(rng.integers(0, memory.size - (rows - 1) * stride - width + 1))
    flat = memory[begin : begin + (rows - 1) * stride + width]
    strides = (stride * memory.itemsize, memory.itemsize)
    found = np.lib.stride_tricks.as_strided(flat, (rows, width), strides)
    if not packed and rng.random() < 0.3:
        return found[::-1]
    return found.reshape(shape)


def case(seed):
    """Sizes, and a layer with random weights: half of them small enough for one vector, all sizes different."""
    rng = np.random.default_rng(seed)
    name = list(LAYERS)[seed % len(LAYERS)]
    inputs, hidden = int(rng.integers(1, 41)), int(rng.integers(1, 41))
    if rng.random() < 0.3:
        inputs = hidden
    dtype = ["float32", "float64"][int(rng.integers(2))]
    layer = LAYERS[name](inputs, hidden, dtype=dtype, seed=seed)
    layer.b = rng.normal(size=layer.b.shape)
    return rng, layer, inputs, hidden, np.dtype(dtype)


def filled(rng, *shapes, dtype):
    """Memory in which arrays of these shapes have room, and in which they are likely to meet."""
    most = max(int(np.prod(shape)) for shape in shapes)
    return rng.normal(size=most * 2 + 40).astype(dtype)


def first_state(rng, walker):
    state = [rng.normal(size=s.shape).astype(s.dtype) for s in walker.state()]
    walker.set_state(*state)


@pytest.mark.parametrize("seed", range(180))
def test_a_step_written_over_its_input(seed):
    rng, layer, inputs, hidden, dtype = case(seed)
    batch = None if seed % 3 == 0 else int(rng.integers(1, 8))
    outer = () if batch is None else (batch,)
    stream = elman.Network([layer]).stream(batch)
    for _ in range(2):
        memory = filled(rng, (*outer, inputs), (*outer, hidden), dtype=dtype)
        x = view(rng, memory, (*outer, inputs))
        out = view(rng, memory, (*outer, hidden))
        apart = stream.copy()
        want = apart.step(x.copy())
        got = stream.step(x, out=out)
        assert got is out
        np.testing.assert_array_equal(got, want)
        for a, b in zip(np.ravel(stream.state[0]), np.ravel(apart.state[0]), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seed", range(120))
def test_a_chunk_written_over_its_input(seed):
    rng, layer, inputs, hidden, dtype = case(seed)
    time, batch = int(rng.integers(1, 7)), int(rng.integers(1, 5))
    outer = (time,) if batch == 1 else (batch, time)
    packed = layer.ready()
    walker, apart = [packed.stream(None if batch == 1 else batch) for _ in range(2)]
    first_state(rng, walker)
    for _ in range(2):
        apart.assign(walker)
        memory = filled(rng, (*outer, inputs), (*outer, hidden), dtype=dtype)
        x, out = view(rng, memory, (*outer, inputs)), view(rng, memory, (*outer, hidden))
        want = apart.run(x.copy())
        np.testing.assert_array_equal(walker.run(x, out), want)
        for a, b in zip(walker.state(), apart.state(), strict=True):
            np.testing.assert_array_equal(a, b)


PLAIN_KINDS = {"lstm": (4, 1, True), "gru": (3, 1, False), "gru_reset_before": (3, 0, False)}


@pytest.mark.parametrize("seed", range(90))
def test_whole_sequences_written_over_their_input(seed):
    rng = np.random.default_rng(seed)
    native = kernels.native
    kind, (gates, inner, cell) = list(PLAIN_KINDS.items())[seed % 3]
    kind = getattr(native.Kind, kind)
    I, H, dtype = int(rng.integers(1, 41)), int(rng.integers(1, 41)), [np.float32, np.float64][seed % 2]
    lengths = rng.integers(1, 6, size=int(rng.integers(1, 5)))
    N, B, reverse = int(lengths.sum()), len(lengths), bool(rng.integers(2))
    make = lambda *shape: rng.normal(size=shape).astype(dtype)  # noqa: E731
    vectors = make(H) if kind == native.Kind.gru else None
    weights = (make(I, gates * H), make(H, gates * H), make(gates * H), vectors)
    state = (make(B, H), make(B, H) if cell else None)
    shapes = [(N, I), (N, H), (N, gates * H), (N, H)]

    memory = filled(rng, *shapes, dtype=dtype)
    x = view(rng, memory, (N, I))
    names = ["y", "gates", "inner"][: 2 + inner]
    want = {"y": np.empty((N, H), dtype), "gates": np.empty((N, gates * H), dtype)}
    if inner:
        want["inner"] = np.empty((N, H), dtype)
    ends = native.forward(kind, x.copy(), lengths, reverse, *weights, *state, **want)
    over = names[int(rng.integers(len(names)))]
    got = {name: np.empty_like(array) for name, array in want.items()}
    # The tape is packed; y may have rows apart.
    begin = int(rng.integers(0, memory.size - want[over].size + 1))
    packed = memory[begin : begin + want[over].size].reshape(want[over].shape)
    got[over] = view(rng, memory, (N, H)) if over == "y" else packed
    again = native.forward(kind, x, lengths, reverse, *weights, *state, **got)
    for name, array in want.items():
        np.testing.assert_array_equal(got[name], array, err_msg=f"{name}, {over} over x")
    for a, b in zip(again[1:], ends[1:], strict=True):
        np.testing.assert_array_equal(a, b)

    dy = make(N, H)
    tape = {"y": want["y"], "gates": want["gates"], "inner": want.get("inner")}
    x = make(N, I)
    wanted = native.backward(kind, x, lengths, reverse, *weights, *state, **tape, dy=dy)
    over = [*tape, "dy", "x"][int(rng.integers(5))]
    source = {**tape, "dy": dy, "x": x}[over]
    if source is None:
        return
    memory = filled(rng, source.shape, x.shape, dtype=dtype)
    shared = memory[1 : 1 + source.size].reshape(source.shape)
    dx = view(rng, memory, (N, I))
    shared[...] = source
    given = {**tape, "dy": dy, over: shared}
    results = native.backward(kind, given.pop("x", x), lengths, reverse, *weights, *state, **given, dx=dx)
    for a, b in zip(results, wanted, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=f"dx over {over}")


def test_results_that_share_memory_with_one_another_are_refused():
    native = kernels.native
    layer, x, lengths = elman.LSTM(3, 4, seed=0), np.ones((6, 3), np.float32), np.array([6])
    call = lambda **results: native.forward(  # noqa: E731
        native.Kind.lstm, x, lengths, False, layer.Wx, layer.Wh, layer.b, **results
    )
    memory = np.zeros(6 * 16 + 6 * 4 + 6 * 4, np.float32)
    gates, inner, y = memory[:96].reshape(6, 16), memory[96:120].reshape(6, 4), memory[120:].reshape(6, 4)
    call(y=y, gates=gates, inner=inner)
    for results in (
        {"y": memory[90:114].reshape(6, 4), "gates": gates, "inner": inner.copy()},
        {"y": inner, "gates": gates, "inner": inner},
        {"y": y, "gates": gates, "inner": memory[95:119].reshape(6, 4)},
    ):
        memory[:] = 0
        with pytest.raises(ValueError, match="must share no memory with"):
            call(**results)
        assert not memory.any()
    for rows in (
        np.lib.stride_tricks.as_strided(memory, (6, 4), (8, 4)),
        np.lib.stride_tricks.as_strided(memory, (6, 4), (0, 4)),
    ):
        with pytest.raises(ValueError, match="y must have rows that share no memory"):
            call(y=rows)
    stream = layer.ready().stream(6)
    with pytest.raises(ValueError, match="out must have rows that share no memory"):
        stream.step(x, np.lib.stride_tricks.as_strided(memory, (6, 4), (4, 4)))
    assert not memory.any()
    assert not stream.state()[0].any()
