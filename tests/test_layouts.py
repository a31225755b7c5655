"""Layers and streams are given arrays of every layout: the numbers of a plain copy. The binding takes what a kernel can
read, and refuses the rest before it reads anything."""

from __future__ import annotations

import array

import numpy as np
import pytest

import elman
from elman import engine, kernels

needs_kernels = pytest.mark.skipif(not engine.compiled(elman.LSTM(1, 1).cell), reason="the plain equations run here")
as_strided = np.lib.stride_tricks.as_strided


def at_an_odd_address(a, rng):
    offset = int(rng.integers(1, a.itemsize))
    odd = np.empty(a.nbytes + offset, np.uint8)[offset:].view(a.dtype).reshape(a.shape)
    odd[...] = a
    return odd


def field_of_records(a, rng):
    before, after = (f"S{int(rng.integers(1, 9))}" for _ in range(2))
    packed = a.shape[-1:] if rng.random() < 0.5 else ()  # whole rows in a record, or single numbers
    outer = a.shape[: a.ndim - len(packed)]
    records = np.zeros(outer, [("before", before), ("v", a.dtype, packed), ("after", after)])
    records["v"] = a
    return records["v"]


def backwards(a, rng):
    axes = tuple(axis for axis in range(a.ndim) if rng.random() < 0.7)
    return np.flip(np.flip(a, axes).copy(), axes)


def sparse(a, rng):
    every = [int(n) for n in rng.integers(1, 4, size=a.ndim)]
    wide = np.full([size * n for size, n in zip(a.shape, every, strict=True)], 99, a.dtype)
    part = wide[tuple(slice(None, None, n) for n in every)]
    part[...] = a
    return part


def other_order_of_axes(a, rng):
    order = rng.permutation(a.ndim)
    return np.ascontiguousarray(a.transpose(order)).transpose(np.argsort(order))


def odd_strides_of_axes_of_1(a, rng):
    odd = [int(rng.integers(-99, 99)) if size == 1 else step for size, step in zip(a.shape, a.strides, strict=True)]
    return as_strided(a, a.shape, odd)


def read_only(a, rng):
    frozen = a.copy()
    frozen.flags.writeable = False
    return frozen


LAYOUTS = {
    "plain": lambda a, rng: a.copy(),
    "at an odd address": at_an_odd_address,
    "field of records": field_of_records,
    "other byte order": lambda a, rng: a.astype(a.dtype.newbyteorder()),
    "same byte order, said aloud": lambda a, rng: a.astype(a.dtype.newbyteorder("<")),
    "backwards": backwards,
    "sparse": sparse,
    "other order of axes": other_order_of_axes,
    "odd strides of axes of 1": odd_strides_of_axes_of_1,
    "read-only": read_only,
    "other dtype": lambda a, rng: a.astype(np.longdouble if a.dtype.kind == "f" else np.int16),
}
KINDS = {
    "LSTM": elman.LSTM,
    "GRU": elman.GRU,
    "GRU, reset before": lambda *args, **options: elman.GRU(*args, reset_after=False, **options),
    "RNN": elman.RNN,
    "own states": lambda *args, **options: elman.LSTM(*args, peepholes=True, zoneout=0.2, **options),
}


def laid_out(rng, a):
    """The same numbers in another layout; the name of it goes into messages."""
    name = list(LAYOUTS)[int(rng.integers(len(LAYOUTS)))]
    other = LAYOUTS[name](a, rng)
    np.testing.assert_array_equal(other, a)
    return other


def broadcast(rng, shape, dtype):
    """An array that stands for many with the memory of a few: strides of 0."""
    few = [1 if rng.random() < 0.5 else size for size in shape]
    return np.broadcast_to(rng.normal(size=few).astype(dtype), shape)


def case(seed):
    rng = np.random.default_rng(seed)
    kind = list(KINDS)[seed % len(KINDS)]
    inputs, hidden, batch, time = (int(n) for n in rng.integers(1, 8, size=4))
    dtype = ["float32", "float64"][int(rng.integers(2))]
    make = broadcast if rng.random() < 0.3 else lambda rng, shape, dtype: rng.normal(size=shape).astype(dtype)
    return rng, KINDS[kind], inputs, hidden, batch, time, dtype, lambda *shape: make(rng, shape, dtype)


def arrays_of(result):
    if isinstance(result, dict):
        result = list(result.values())
    return [a for part in result for a in arrays_of(part)] if isinstance(result, (list, tuple)) else [result]


def assert_same(got, want):
    for a, b in zip(arrays_of(got), arrays_of(want), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seed", range(150))
def test_layers_take_arrays_of_every_layout(seed):
    rng, kind, inputs, hidden, batch, time, dtype, make = case(seed)
    both = bool(rng.integers(2))
    layer, plain = (kind(inputs, hidden, dtype=dtype, seed=seed, bidirectional=both) for _ in range(2))
    for name, weight in plain.parameters.items():
        value = make(*weight.shape)
        setattr(plain, name, value.copy())
        setattr(layer, name, laid_out(rng, value))
    assert_same(dict(layer.parameters), dict(plain.parameters))
    states = [make(*([2] * both), batch, hidden) for _ in layer.cell.states]
    dstates = [make(*([2] * both), batch, hidden) for _ in layer.cell.states]
    pack = lambda parts: tuple(parts) if len(parts) > 1 else parts[0]  # noqa: E731
    state, dstate = pack(states), pack(dstates)
    x, dy = make(batch, time, inputs), make(batch, time, hidden * (1 + both))
    lengths = rng.integers(1, time + 1, size=batch)
    for _ in range(2):
        other = lambda a: laid_out(rng, a)  # noqa: E731
        other_state, other_dstate = pack([other(s) for s in states]), pack([other(s) for s in dstates])
        for ragged in (None, lengths):
            odd = None if ragged is None else other(ragged)
            assert_same(layer(other(x), other_state, odd), plain(x.copy(), state, ragged))
            y, end, tape = plain.forward(x.copy(), state, ragged)
            odd_y, odd_end, odd_tape = layer.forward(other(x), other_state, odd)
            assert_same((odd_y, odd_end), (y, end))
            want = plain.backward(tape, dy.copy(), dstate)
            assert_same(layer.backward(odd_tape, other(dy), other_dstate), want)


@pytest.mark.parametrize("seed", range(150))
def test_streams_take_arrays_of_every_layout(seed):
    rng, kind, inputs, hidden, batch, time, dtype, make = case(seed)
    layers = [kind(inputs, hidden, dtype=dtype, seed=seed), *[elman.Dense(hidden, 3, dtype=dtype, seed=1)] * (seed % 2)]
    net = elman.Network(layers)
    count = None if seed % 3 == 0 else batch
    outer = () if count is None else (count,)
    stream, plain = net.stream(count), net.stream(count)
    states = [make(*outer, hidden) for _ in layers[0].cell.states]
    pack = lambda parts: [tuple(parts) if len(parts) > 1 else parts[0]]  # noqa: E731
    plain.state, stream.state = pack(states), pack([laid_out(rng, s) for s in states])
    assert_same(stream.state, plain.state)
    for _ in range(3):
        x, chunk = make(*outer, inputs), make(*outer, time, inputs)
        assert_same(stream.step(laid_out(rng, x)), plain.step(x.copy()))
        assert_same(stream.run(laid_out(rng, chunk)), plain.run(chunk.copy()))
        assert_same(stream.state, plain.state)


@needs_kernels
@pytest.mark.parametrize("seed", range(100))
def test_the_binding_reads_right_or_refuses(seed):
    rng = np.random.default_rng(seed)
    native, dtype = kernels.native, [np.float32, np.float64][seed % 2]
    make = lambda *shape: rng.normal(size=shape).astype(dtype)  # noqa: E731
    I, H, B, T = (int(n) for n in rng.integers(1, 6, size=4))
    lengths = np.full(B, T)
    plain = {"x": make(B * T, I), "Wx": make(I, 4 * H), "Wh": make(H, 4 * H), "b": make(4 * H)}
    plain |= {"h0": make(B, H), "c0": make(B, H)}
    call = lambda arrays: native.forward(native.Kind.lstm, lengths=lengths, reverse=False, **arrays)  # noqa: E731
    want = call(plain)
    for name, a in plain.items():
        other = laid_out(rng, a)
        try:
            got = call({**plain, name: other})
        except ValueError as error:
            assert f"{name} must have the dtype of x, aligned and packed rows" in str(error) or name == "x"  # noqa: PT017
        else:
            assert_same(got, want)


def refused(call, arguments):
    try:
        return call(**arguments) is NotImplemented  # not taken as it is
    except (ValueError, TypeError, BufferError, MemoryError):
        return True


@needs_kernels
def test_the_binding_is_given_anything():
    """Each argument in turn: no crash, and nothing but an error in words."""
    native = kernels.native
    full = lambda *shape: np.ones(shape, np.float32)  # noqa: E731
    forward = {"x": full(6, 3), "lengths": np.array([4, 2]), "Wx": full(3, 16), "Wh": full(4, 16), "b": full(16)}
    forward |= {"h0": full(2, 4), "c0": full(2, 4), "y": full(6, 4), "gates": full(6, 16), "inner": full(6, 4)}
    forward |= {"mask": full(2, 4), "kind": native.Kind.lstm, "reverse": False}
    backward = {**forward, "vectors": None, "dy": full(6, 4), "dh": full(2, 4), "dc": full(2, 4), "dx": full(6, 3)}
    native.forward(**forward)
    native.backward(**backward)
    anything = [
        np.float32(1),
        np.array(1, np.float32),
        full(0),
        full(0, 0),
        full(1, 1, 1, 1),
        np.ones((6, 3), "S3"),
        np.ones((6, 3), [("v", "f4")]),
        np.ones((6, 3), np.complex64),
        np.ones((6, 3), object),
        array.array("f", [1, 2, 3, 4, 5]),
        b"bytes",
        "text",
        99,
        object(),
        as_strided(full(4), (2**40, 4), (0, 4)),
        as_strided(full(4), (2**40, 4), (0, 0)),
        as_strided(full(4), (4, 2**40), (0, 0)),
    ]
    stream = native.pack(native.Kind.lstm, full(3, 16), full(4, 16), full(16)).stream(2)
    calls = [
        (native.forward, forward),
        (native.backward, backward),
        (stream.step, {"x": full(2, 3), "out": full(2, 4)}),
    ]
    calls += [(stream.run, {"x": full(2, 5, 3), "out": full(2, 5, 4)}), (stream.set_state, {"h": full(2, 4)})]
    calls += [(native.pack, {"kind": native.Kind.lstm, "Wx": full(3, 16), "Wh": full(4, 16), "b": full(16)})]
    sigmoid = {"activation": native.Activation.sigmoid, "alpha": 0.0, "beta": 0.0}
    dense = native.pack_dense(W=full(3, 4), b=full(4), **sigmoid)
    calls += [(native.pack_dense, {"W": full(3, 4), "b": full(4), **sigmoid}), (dense, {"x": full(6, 3)})]
    calls += [(native.dense_backward, {"x": full(6, 3), "W": full(3, 4), "y": full(6, 4), "dy": full(6, 4), **sigmoid})]
    before = stream.state()
    for call, arguments in calls:
        for name in arguments.keys() - sigmoid.keys():
            for value in anything:
                assert refused(call, {**arguments, name: value}), (name, value)
    assert_same(stream.state(), before)


@needs_kernels
def test_sizes_beyond_all_memory_are_a_memory_error():
    native = kernels.native
    full = lambda *shape: np.ones(shape, np.float32)  # noqa: E731
    packed = native.pack(native.Kind.gru_reset_before, full(3, 12), full(4, 12), full(12))
    for batch in (2**45, 2**55, 2**60, 2**62, 2**63 - 1):
        with pytest.raises(MemoryError):
            packed.stream(batch)
    x = as_strided(full(3), (2**50, 3), (0, 4))
    for lengths in ([2**50], [2**49, 2**49]):
        with pytest.raises(MemoryError):
            native.forward(native.Kind.lstm, x, np.array(lengths), False, full(3, 16), full(4, 16), full(16))
