"""What a stream promises, held on kernels and on plain cells alike, with arrays of every kind and interruptions."""

from __future__ import annotations

import copy
import gc
import pickle
import signal
import sys
import threading
import time
import tracemalloc

import numpy as np
import pytest

import elman
from elman import engine
from test_gradients import LEAKY

I, H = 3, 4
COMPILED = engine.compiled(elman.LSTM(1, 1).cell)


def leaky(constants="float64", act=np.tanh):
    """A leaky unit, whose constants are in double precision."""
    A = np.linspace(0.1, 0.9, H).astype(constants)

    def step(x, state, weights):
        (h,), (Wx, Wh) = state, weights
        n = act(x @ Wx + h @ Wh)
        return ((1 - A) * h + A * n,), {"n": n}

    def step_derivative(x, state, weights, kept, dnext):
        (h,), (Wx, Wh), (dh,) = state, weights, dnext
        da = A * dh * (1 - kept["n"] ** 2)
        return da @ Wx.T, ((1 - A) * dh + da @ Wh.T,), (x.T @ da, h.T @ da)

    return elman.Cell("leaky", {"Wx": ("input", "hidden"), "Wh": ("hidden", "hidden")}, ("h",), step, step_derivative)


LAYERS = {
    "own cell": lambda i, **options: elman.Recurrent(leaky(), i, H, **options),
    "layer norm": lambda i, **options: elman.LSTM(i, H, layer_norm=True, **options),
    "projection": lambda i, **options: elman.LSTM(i, 6, projection=H, **options),
    "RNN": lambda i, **options: elman.RNN(i, H, zoneout=0.2, **options),
    "LSTM": lambda i, **options: elman.LSTM(i, H, learned_state=True, **options),
    "GRU": lambda i, **options: elman.GRU(i, H, reset_after=False, **options),
}
TAILS = {
    "alone": lambda **options: [],
    "norm": lambda seed, **options: [elman.LayerNorm(H, **options)],
    "dense": lambda **options: [elman.Dense(H, H, "tanh", **options)],
    "own": lambda **options: [LAYERS["own cell"](H, **options)],
    "two": lambda **options: [elman.Dropout(0.3), LAYERS["LSTM"](H, **options)],
    "nested": lambda **options: [elman.Network([LAYERS["GRU"](H, **options), LAYERS["projection"](H, **options)])],
}


def network(layer="LSTM", tail="alone", dtype="float32", seed=0):
    options = {"dtype": dtype, "seed": seed}
    net = elman.Network([LAYERS[layer](I, **options), *TAILS[tail](**options)])
    rng = np.random.default_rng(seed)
    for array in net.parameters.values():
        array[...] = rng.normal(size=array.shape) / 2
    return net


def leaves(state):
    """The arrays of a state, nested as it may be."""
    return [a for part in state for a in leaves(part)] if isinstance(state, (list, tuple)) else [state]


def same(a, b):
    return all(np.array_equal(p, q) and p.dtype == q.dtype for p, q in zip(leaves(a), leaves(b), strict=True))


def whole(net, x):
    """The outputs over whole sequences, of one or of a batch."""
    return net(x)[0]


every_layer = pytest.mark.parametrize("layer", LAYERS)
every_tail = pytest.mark.parametrize("tail", TAILS)
every_batch = pytest.mark.parametrize("batch", [None, 1, 3])


def inputs(batch, time=6, seed=1, dtype="float32"):
    outer = () if batch is None else (batch,)
    return np.random.default_rng(seed).normal(size=(*outer, time, I)).astype(dtype)


def forms(x):
    """The same numbers as arrays of every kind, the names of those that hold other numbers left out."""
    record = np.zeros(x.shape[:-1], [("id", "u1"), ("v", x.dtype, x.shape[-1:])])
    record["v"] = x
    odd = np.frombuffer(bytes(1) + x.tobytes(), x.dtype, x.size, offset=1).reshape(x.shape)
    wide = np.zeros((*x.shape, 2), x.dtype)
    wide[..., 0] = x
    locked = x.copy()
    locked.setflags(write=False)
    return {
        "as it is": x,
        "list": x.tolist(),
        "tuple": tuple(x.tolist()),
        "double": x.astype("float64"),
        "Fortran": np.asfortranarray(x),
        "every second": wide[..., 0],
        "read-only": locked,
        "unaligned": odd,
        "field of records": record["v"],
        "big-endian": x.astype(x.dtype.newbyteorder(">")),
        "matrix": x.view(np.matrix) if x.ndim == 2 else x,
        "nothing masked": np.ma.array(x),
        "objects of the class": x.view(type("Own", (np.ndarray,), {})),
        "memory view": memoryview(x.copy()),
    }


@every_layer
@every_tail
@every_batch
def test_arrays_of_every_kind_step_once(layer, tail, batch):
    net, x = network(layer, tail), inputs(batch)
    steps = np.moveaxis(x, -2, 0)
    want = [net.stream(batch).step(steps[0])]
    reference = net.stream(batch)
    want = [reference.step(v) for v in steps]
    chunk = net.stream(batch)
    np.testing.assert_array_equal(np.moveaxis(chunk.run(x), -2, 0), want)
    assert same(chunk.state, reference.state)
    for name in forms(steps[0]):
        stream, chunk = net.stream(batch), net.stream(batch)
        for v, y in zip(steps, want, strict=True):
            before = v.copy()
            got = stream.step(forms(v)[name])
            np.testing.assert_array_equal(got, y, err_msg=name)
            np.testing.assert_array_equal(v, before)
            assert type(got) is np.ndarray
            assert got.dtype == np.float32
        assert same(stream.state, reference.state)
        if name != "matrix":
            np.testing.assert_array_equal(np.moveaxis(chunk.run(forms(x)[name]), -2, 0), want, err_msg=name)
    ints = net.stream(batch).step(np.ones(steps[0].shape, int))
    np.testing.assert_array_equal(ints, net.stream(batch).step(np.ones(steps[0].shape, bool)))
    np.testing.assert_array_equal(ints, net.stream(batch).step(np.ones_like(steps[0])))


WRONG = {
    "a feature too many": lambda x: np.concatenate([x, x], -1),
    "an axis too many": lambda x: x[None],
    "five rows": lambda x: np.ones((5, I), np.float32),
    "three axes": lambda x: np.ones((2, 2, I), np.float32),
    "a number": lambda x: 1.0,
    "nothing": lambda x: None,
    "text": lambda x: "no",
    "a dict": lambda x: {"x": 1},
    "complex": lambda x: x * 1j,
    "objects": lambda x: np.full(x.shape, None),
    "unequal": lambda x: [[1.0], [1.0, 2.0]],
    "dates": lambda x: x.astype("M8[s]"),
    "masked": lambda x: np.ma.array(x, mask=x > -9),
    "too large": lambda x: x.astype(float) * 1e300,
    "a class": lambda x: np.ndarray,
}


@every_layer
@pytest.mark.parametrize("tail", ["alone", "dense", "two"])
@every_batch
def test_what_is_refused_has_moved_nothing(layer, tail, batch):
    net, x = network(layer, tail), inputs(batch)
    stream, untouched = net.stream(batch), net.stream(batch)
    first = np.moveaxis(x, -2, 0)[0]
    other_form = {"the other form": lambda x: x[0] if batch else x[None]}
    for _ in range(2):
        for call, given in ((stream.step, first), (stream.run, x)):
            for name, make in {**WRONG, **other_form}.items():
                if (call, name, batch) == (stream.run, "five rows", None):
                    continue  # five steps
                with pytest.raises((ValueError, TypeError), match=r"^x must .*Got"):
                    call(make(given))
                assert same(stream.state, untouched.state), name
        y = untouched.step(first)
        np.testing.assert_array_equal(stream.step(first), y)
    outs = {
        "double": np.zeros(y.shape),
        "whole numbers": np.zeros(y.shape, "int32"),
        "big-endian": np.zeros(y.shape, ">f4"),
        "too long": np.zeros((*y.shape[:-1], H + 1), "f4"),
        "an axis more": np.zeros((1, *y.shape), "f4"),
        "an axis less": np.zeros(y.shape[1:], "f4"),
        "list": y.tolist(),
        "masked": np.ma.zeros(y.shape, "f4"),
        "a class": np.ndarray,
        "every second": np.zeros((*y.shape, 2), "f4")[..., 0],
        "read-only": y.copy(),
    }
    outs["read-only"].setflags(write=False)
    if batch == 3:
        outs["one row for all"] = np.lib.stride_tricks.as_strided(np.zeros(H, "f4"), (3, H), (0, 4))
        outs["rows that overlap"] = np.lib.stride_tricks.as_strided(np.zeros(9, "f4"), (3, H), (8, 4))
        outs["Fortran"] = np.zeros((3, H), "f4", order="F")
    for name, out in outs.items():
        held = copy.deepcopy(out)
        with pytest.raises((ValueError, TypeError), match=r"^out must "):
            stream.step(first, out=out)
        assert same(stream.state, untouched.state), name
        assert out is np.ndarray or np.array_equal(out, held)
    np.testing.assert_array_equal(stream.step(first), untouched.step(first))


@every_layer
@every_tail
@every_batch
def test_out_of_every_layout(layer, tail, batch):
    """Rows apart, another class, an odd address, and memory that x or the row beside it stands in."""
    net, x = network(layer, tail), inputs(batch)
    stream, reference = net.stream(batch), net.stream(batch)
    outer = () if batch is None else (batch,)
    memory = np.zeros((*outer, 7), "f4")
    odd = np.zeros(4 * (batch or 1) * H + 1, "u1")[1:].view("f4").reshape(*outer, H)
    both = np.zeros((*outer, I + H), "f4")
    for v in np.moveaxis(x, -2, 0):
        both[..., :I] = v
        cases = {
            "rows apart": (v, memory[..., 2 : 2 + H]),
            "another class": (v, np.zeros((*outer, H), "f4").view(type("Own", (np.ndarray,), {}))),
            "odd": (v, odd),
            "over x": (both[..., :I], both[..., 1 : 1 + H]),
        }
        for name, (given, out) in cases.items():
            both[..., :I] = v
            assert stream.step(given, out=out) is out
            np.testing.assert_array_equal(np.asarray(out), reference.step(v), err_msg=name)
    assert same(stream.state, reference.state)
    for array in (reference.step(v), *leaves(reference.state)):
        array[...] = 99  # what comes out is the caller's own
    stream.step(v)
    np.testing.assert_array_equal(reference.step(v), stream.step(v))


@every_layer
@pytest.mark.parametrize("tail", ["alone", "norm", "own", "two", "nested"])
@every_batch
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_chunks_and_whole_sequences_are_the_same_bits(layer, tail, batch, dtype):
    net, x = network(layer, tail, dtype), inputs(batch, 9, dtype=dtype)
    want, end = net(x)
    stream, chunks = net.stream(batch), net.stream(batch)
    for _ in range(2):
        steps = np.stack([stream.step(v) for v in np.moveaxis(x, -2, 0)], axis=-2)
        np.testing.assert_array_equal(steps, want)
        cut = np.concatenate([chunks.run(x[..., :2, :]), chunks.run(x[..., 2:, :])], axis=-2)
        np.testing.assert_array_equal(cut, want)
        assert steps.dtype == cut.dtype == dtype
        assert same(stream.state, end)
        assert same(chunks.state, end)
        stream.reset()
        chunks.reset()


def random_network(rng):
    """Layers of any kind that go step by step, and the token count where the first is an embedding."""
    width, layers, tokens = int(rng.integers(1, 6)), [], None
    options = {"dtype": str(rng.choice(["float32", "float64"])), "seed": int(rng.integers(99))}
    if rng.random() < 0.2:
        tokens = 7
        layers.append(elman.Embedding(tokens, width, **options))
    first = width
    for _ in range(int(rng.integers(1, 5))):
        out = int(rng.integers(1, 20))
        made = [
            lambda i, o: elman.RNN(i, o, str(rng.choice(["tanh", "relu"])), learned_state=True, **options),
            lambda i, o: elman.LSTM(i, o, peepholes=bool(rng.integers(2)), zoneout=(0.1, 0.3), **options),
            lambda i, o: elman.LSTM(i, 2 * o, projection=o, **options),
            lambda i, o: elman.LSTM(i, o, layer_norm=True, **options),
            lambda i, o: elman.GRU(i, o, reset_after=bool(rng.integers(2)), **options),
            lambda i, o: elman.Recurrent(wide(o), i, o, **options),
            lambda i, o: elman.Dense(i, o, str(rng.choice(["identity", "tanh", "elu"])), **options),
            lambda i, o: elman.Network([elman.Dropout(0.5), elman.Dense(i, o, **options)]),
        ]
        layers.append(made[int(rng.integers(len(made)))](width, out))
        width = out
        beside = [elman.Activate("softmax"), elman.Dropout(0.2), elman.LayerNorm(width, dtype=options["dtype"])]
        layers += [beside[int(rng.integers(3))]] * (rng.random() < 0.3)
    net = elman.Network(layers)
    for array in net.parameters.values():
        array[...] = rng.normal(size=array.shape) / 2
    return net, first, tokens


@pytest.mark.parametrize("seed", range(60))
def test_random_networks(seed):
    """Fed arrays of any layout into outputs that may meet them, between refused and interrupted calls."""
    rng = np.random.default_rng(seed)
    net, width, tokens = random_network(rng)
    batch = [None, 1, 4][seed % 3]
    outer, dtype = () if batch is None else (batch,), net.dtype
    shape = (*outer, 8) if tokens else (*outer, 8, width)
    x = rng.integers(tokens, size=shape) if tokens else rng.normal(size=shape).astype(dtype)
    steps = np.moveaxis(x, len(outer), 0)
    want = np.moveaxis(net(x)[0], len(outer), 0)
    stream = net.stream(batch)
    room = np.zeros(3 * (want[0].size + steps[0].size) + 8, dtype)
    for v, y in zip(steps, want, strict=True):
        for wrong in (v[..., None, None], None, "x"):
            with pytest.raises((ValueError, TypeError)):
                stream.step(wrong)
        with pytest.raises((ValueError, TypeError)):
            stream.step(v, out=np.zeros((*y.shape, 1), dtype))
        before = stream.copy()
        raise_at(stream, "step", v, int(rng.integers(60)))
        if moved_wholly_or_not_at_all(stream, before, "step", v):
            stream = before
        given = v if tokens else list(forms(v).values())[int(rng.integers(14))]
        begin = int(rng.integers(room.size - y.size))
        out = [None, room[begin : begin + y.size].reshape(y.shape)][int(rng.integers(2))]
        if not tokens and rng.random() < 0.5:
            at = int(rng.integers(room.size - v.size))
            given = room[at : at + v.size].reshape(v.shape)
            given[...] = v
        np.testing.assert_array_equal(stream.step(given, out=out), y)
    assert same(stream.state, net(x)[1])


class Stop(BaseException):
    """What a signal handler raises."""


def moved_wholly_or_not_at_all(stream, before, call, after):
    """Of a call that was stopped, whether it has moved; refuses a state between."""
    state = stream.state
    if same(state, before.state):
        return False
    done = before.copy()
    getattr(done, call)(after)
    assert same(state, done.state), "some layers have moved, and others not"
    return True


@every_layer
@every_tail
@pytest.mark.parametrize("batch", [None, 2])
@pytest.mark.parametrize("missing", ["pass", "forward"])
def test_an_exception_at_any_line_moves_all_states_or_none(layer, tail, batch, missing):
    """Raised by a trace function at random lines and returns of the Python code that runs in a call."""
    net, x = network(layer, tail), inputs(batch, 3)
    rng = np.random.default_rng(0)
    for call, given in (("step", x[..., 0, :]), ("run", x)):
        stream = net.stream(batch, missing)
        stream.step(x[..., 1, :])
        lines = raise_at(stream.copy(), call, given, None)
        for at in rng.permutation(lines)[:12]:
            before = stream.copy()
            raise_at(stream, call, given, at)
            moved_wholly_or_not_at_all(stream, before, call, given)
            np.testing.assert_array_equal(stream.copy().run(x), stream.run(x))  # and it goes on


def raise_at(stream, call, given, at):
    """Raises before line `at` of the Python code that runs in a call, counted with its returns; how many there are."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        count += 1
        if count - 1 == at:
            raise Stop
        return trace

    old = sys.gettrace()
    gc.disable()  # what others do when it runs is not to be stopped
    sys.settrace(trace)
    try:
        getattr(stream, call)(given)
    except Stop:
        pass
    finally:
        sys.settrace(old)
        gc.enable()
    return count


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers here")
@pytest.mark.parametrize("layers", ["LSTM GRU", "LSTM own", "own own", "LSTM"])
def test_a_chunk_that_a_signal_stops(layers):
    kinds = {"LSTM": elman.LSTM, "GRU": elman.GRU, "own": lambda i, h, seed: elman.Recurrent(wide(h), i, h, seed=seed)}
    names = layers.split()
    width = 160 if COMPILED and "own" not in names else 64
    net = elman.Network([kinds[name](width if i else 8, width, seed=i) for i, name in enumerate(names)])
    x = np.random.default_rng(0).normal(size=(8, 150 if COMPILED else 40, 8)).astype("f4")
    want = net.stream(8).run(x)

    def stop(*_):
        raise Stop

    stopped, old = 0, signal.signal(signal.SIGALRM, stop)
    try:
        for delay in np.geomspace(2e-4, 0.1, 14):
            stream = net.stream(8)
            before = stream.copy()
            try:
                signal.setitimer(signal.ITIMER_REAL, delay)
                stream.run(x)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Stop:
                stopped += 1
                if not moved_wholly_or_not_at_all(stream, before, "run", x):
                    np.testing.assert_array_equal(stream.run(x), want)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert stopped


def wide(h):
    def step(x, state, weights):
        (s,), (Wx, Wh) = state, weights
        return (np.tanh(x @ Wx + s @ Wh),), {}

    return elman.Cell("wide", {"Wx": ("input", "hidden"), "Wh": ("hidden", "hidden")}, ("h",), step, step)


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("at", [1, 4, 7])
def test_a_cell_that_raises_in_the_middle_of_a_chunk(error, at):
    calls = 0

    def failing(a):
        nonlocal calls
        calls += 1
        if calls == at:
            raise error
        return np.tanh(a)

    own = elman.Recurrent(leaky(act=failing), H, H, seed=1)
    for layers in (
        [elman.Recurrent(leaky(act=failing), I, H, seed=1)],
        [elman.GRU(I, H, seed=0), own, elman.RNN(H, 2)],
    ):
        net, x = elman.Network(layers), inputs(2, 9)
        stream = net.stream(2)
        calls = -100
        want = stream.copy().run(x)
        calls = 0
        with pytest.raises(error):
            stream.run(x)
        assert not any(array.any() for array in leaves(stream.state))
        np.testing.assert_array_equal(stream.run(x), want)
        calls, before = at - 1, stream.state
        with pytest.raises(error):
            stream.step(x[:, 0])
        assert same(stream.state, before)


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize("call", ["step", "run", "reset", "state"])
def test_a_cell_that_uses_the_stream_it_is_called_from(more, call):
    """The call inside moves the stream; the one around it is refused, and harms nothing."""
    inside = []

    def nosy(a):
        for stream in [inside.pop() for _ in inside[:1]]:
            if call == "state":
                stream.state = [s + 1 for s in stream.state]
            elif call == "reset":
                stream.reset(0)
            else:
                getattr(stream, call)(np.ones(I) if call == "step" else np.ones((2, I)))
        return np.tanh(a)

    layers = [elman.Recurrent(leaky(act=nosy), I, H, seed=1), *[elman.GRU(H, 2, seed=0)] * more]
    stream = elman.Network(layers).stream()
    stream.step(np.ones(I))
    reference = stream.copy()
    inside.append(reference)
    nosy(0)  # what the call inside does by itself
    inside.append(stream)
    with pytest.raises(RuntimeError, match=r"a stream must be used by one thread at a time. Got two calls at once"):
        stream.step(np.zeros(I))
    assert not inside
    assert same(stream.state, reference.state)
    np.testing.assert_array_equal(stream.step(np.ones(I)), reference.step(np.ones(I)))


@pytest.mark.parametrize("call", ["step", "run"])
@pytest.mark.parametrize("depth", [1, 2])
def test_threads_in_one_stream(call, depth):
    net = elman.Network([elman.LSTM(40 if i else 8, 40, seed=i) for i in range(depth)])
    batch = 1500 if COMPILED else 100
    x = np.random.default_rng(0).normal(size=(batch, 8)).astype("f4")
    given = x if call == "step" else np.repeat(x[:, None], 3, axis=1)
    stream, done, wrong = net.stream(batch), [], []

    def work():
        for _ in range(12):
            try:
                getattr(stream, call)(given)
                done.append(1)
            except RuntimeError as error:
                assert "one thread at a time" in str(error)  # noqa: PT017
            except BaseException as error:
                wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    reference = net.stream(batch)
    for _ in done:
        getattr(reference, call)(given)
    assert same(stream.state, reference.state)  # every call that was not refused has moved it once
    np.testing.assert_array_equal(stream.step(x), reference.step(x))


@pytest.mark.skipif(not COMPILED, reason="the plain equations run here")
def test_a_large_step_lets_other_threads_run():
    stream = elman.Network([elman.LSTM(64, 256, seed=0)]).stream(4000)
    x, counted, ready, stop = np.zeros((4000, 64), "f4"), 0, threading.Event(), threading.Event()

    def count():
        nonlocal counted
        while not stop.is_set():
            counted += 1
            ready.set()
            time.sleep(0)  # gives the lock away

    thread = threading.Thread(target=count)
    old = sys.getswitchinterval()
    sys.setswitchinterval(60)  # nobody is asked to give the lock away
    try:
        thread.start()
        ready.wait()
        before = counted
        stream.step(x)
        gained = counted - before
    finally:
        sys.setswitchinterval(old)
        stop.set()
        thread.join()
    assert gained > 100


@every_layer
@pytest.mark.parametrize("tail", ["alone", "nested"])
@pytest.mark.parametrize("missing", ["pass", "forward"])
@every_batch
def test_copies_and_pickles_share_the_weights_and_go_on(layer, tail, missing, batch):
    net, x = network(layer, tail), inputs(batch)
    if layer == "own cell":  # a cell made in a function has no pickle
        net = elman.Network([elman.Recurrent(LEAKY, I, H, seed=0), *TAILS[tail](dtype="float32", seed=1)])
    x[..., 3, 1] = np.nan if missing == "forward" else 0
    stream = net.stream(batch, missing)
    stream.run(x[..., :3, :])
    twins = [stream.copy(), copy.copy(stream), copy.deepcopy(stream), copy.deepcopy([stream, net])[0]]
    twins += [pickle.loads(pickle.dumps(stream, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    twins += pickle.loads(pickle.dumps([stream, twins[0]]))
    assert {id(twin._packed) for twin in twins} == {id(stream._packed)}
    want = stream.copy().run(x[..., 3:, :])
    for twin in twins:
        assert (twin.batch, twin.missing) == (batch, missing)
        np.testing.assert_array_equal(twin.run(x[..., 3:, :]), want)
        twin.reset()
    np.testing.assert_array_equal(stream.run(x[..., 3:, :]), want)  # each has a state of its own


def test_a_thousand_pickles_hold_one_copy_of_the_weights():
    net = elman.Network([elman.LSTM(8, 64, seed=0), elman.Dense(64, 8, seed=1)])
    pickles = [pickle.dumps(net.stream()) for _ in range(5)]
    del net
    gc.collect()
    tracemalloc.start()
    try:
        streams = [pickle.loads(pickles[i % 5]) for i in range(1000)]
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len({id(stream._packed) for stream in streams}) == 1
    assert held < 4e6  # the weights alone are 75 kB, 1000 times
    first, second = streams[0], streams[999]
    x = np.ones(8)
    np.testing.assert_array_equal(first.step(x), second.step(x))
    packed = first._packed
    key, other = packed._key, elman.Network([elman.LSTM(8, 64, seed=3), elman.Dense(64, 8, seed=1)]).stream()
    assert other._packed._key != key


def test_the_weights_of_a_stream_cannot_be_written_into():
    net = elman.Network([elman.Dense(3, 4, seed=0)])
    stream = net.stream()
    with pytest.raises(ValueError, match="read-only"):
        stream.net.layers[0].W[...] = 0
    net.layers[0].W[...] = 0
    assert stream.step(np.ones(3)).any()
    assert not net.stream().step(np.ones(3)).any()


def test_the_network_of_a_stream_is_assigned_nothing_but_its_copies_are():
    net = elman.Network([elman.GRU(2, 3, seed=0), elman.Network([elman.Dense(3, 4, seed=0)])])
    inside = net.stream().net
    for place, layer in ((inside.layers[0], net.layers[0]), (inside.layers[1].layers[0], net.layers[1].layers[0])):
        for name in place.parameters:
            with pytest.raises(ValueError, match=rf"^{name} must be writable to be assigned\. Got"):
                setattr(place, name, 0 * getattr(layer, name))
            np.testing.assert_array_equal(getattr(place, name), getattr(layer, name))
    for twin in (copy.deepcopy(inside), inside.replace(), pickle.loads(pickle.dumps(inside)), inside.astype("float64")):
        twin.layers[0].Wx = np.zeros((2, 9))
        assert not twin.layers[0].Wx.any()


@pytest.mark.parametrize("wrong", [None, 3, "net", elman.Network([elman.RNN(2, 3)]), elman.RNN(2, 3), elman.Stream])
def test_a_stream_is_made_by_its_network(wrong):
    with pytest.raises(TypeError, match=r"^a stream must be made by its network, net\.stream\(\)\. Got"):
        elman.Stream(wrong)


def test_a_stream_is_of_the_network_as_it_is_now():
    net = elman.Network([elman.GRU(I, H, seed=0), elman.Dense(H, 2, seed=1)])
    packed = net.stream()._packed
    assert net.stream()._packed is packed
    for change in (np.nan, np.nan, -0.0, 0.0, 1.0):
        net.parameters["1.b"][0] = change
        streams = [net.stream() for _ in range(2)]
        assert streams[0]._packed is streams[1]._packed
        assert streams[0]._packed is not packed
        x = np.ones(I)
        np.testing.assert_array_equal(streams[0].step(x), net(x[None])[0][0])
        net.parameters["1.b"][0] = 7
        packed = net.stream()._packed


@every_layer
@pytest.mark.parametrize("missing", ["pass", "forward"])
def test_a_batch_beyond_the_memory(layer, missing):
    for batch in (sys.maxsize, 2**62, 2**60, 10**17):
        with pytest.raises(MemoryError, match=rf"^batch must be small enough for the memory\. Got {batch}\."):
            network(layer).stream(batch, missing)


@every_layer
@pytest.mark.parametrize("tail", ["alone", "two"])
@pytest.mark.parametrize("missing", ["pass", "forward"])
def test_reset_of_some_rows(layer, tail, missing):
    B, net = 5, network(layer, tail)
    x = inputs(B)
    start = net.stream(B, missing)
    start.run(x)
    rows = {
        "one": 2,
        "from the end": -1,
        "a NumPy number": np.int16(3),
        "a list": [0, 3],
        "a tuple": (0, 3),
        "twice": [1, 1],
        "none": [],
        "no array": np.array([], int),
        "a slice": slice(1, None, 2),
        "a mask": np.array([True, False, False, True, True]),
        "a mask in a list": [False] * 4 + [True],
        "unsigned": np.array([4, 0], "u8"),
        "a range": range(1, 3),
    }
    fresh = net.stream(B, missing)
    for name, chosen in rows.items():
        stream = start.copy()
        stream.reset(chosen)
        touched = np.zeros(B, bool)
        touched[list(chosen) if isinstance(chosen, (tuple, range, list)) and len(chosen) else chosen] = bool(
            not hasattr(chosen, "__len__") or len(chosen)
        )
        for got, old, new in zip(leaves(stream.state), leaves(start.state), leaves(fresh.state), strict=True):
            np.testing.assert_array_equal(got, np.where(touched[:, None], new, old), err_msg=name)
        want = start.copy().run(x)
        want[touched] = fresh.copy().run(x)[touched]
        np.testing.assert_allclose(stream.run(x), want, rtol=1e-5, atol=1e-6, err_msg=name)
    wrongs = [5, -6, [0, 5], 1.0, [0.5], True, "0", "ab", [[0, 1]], [True] * 4, np.ones((5, 1), bool)]
    wrongs += [np.nan, {"a": 1}, {0}, 1j, [None], 10**30, ..., object(), [1, "a"], np.datetime64("now")]
    stream = start.copy()
    for wrong in wrongs:
        with pytest.raises((ValueError, TypeError, IndexError), match=r"^rows must .*Got"):
            stream.reset(wrong)
        assert same(stream.state, start.state), wrong


def test_reset_of_a_row_does_not_copy_the_whole_state():
    for layer in (elman.LSTM(8, 100, seed=0), elman.LSTM(8, 100, layer_norm=True, seed=0)):
        stream = elman.Network([layer, elman.GRU(100, 100, seed=1)]).stream(4000)
        tracemalloc.start()
        try:
            for row in range(3):
                tracemalloc.reset_peak()
                before = tracemalloc.get_traced_memory()[0]
                stream.reset(row)
                assert tracemalloc.get_traced_memory()[1] - before < 50_000  # the state is 4.8 MB
        finally:
            tracemalloc.stop()


class TestMissing:
    @every_layer
    @pytest.mark.parametrize("tail", ["alone", "two"])
    @every_batch
    def test_the_last_value_is_carried_on(self, layer, tail, batch):
        net, x, rng = network(layer, tail), inputs(batch, 12), np.random.default_rng(3)
        holes = rng.random(x.shape) < 0.4
        holes[..., 0, :] = False
        filled = np.moveaxis(x.copy(), -2, 0)
        for t, hole in enumerate(np.moveaxis(holes, -2, 0)):
            filled[t][hole] = filled[t - 1][hole]
        want = net.stream(batch).run(np.moveaxis(filled, 0, -2))
        x[holes] = np.nan
        given = x.copy()
        stream, chunks = net.stream(batch, missing="forward"), net.stream(batch, missing="forward")
        for _ in range(2):
            steps = [stream.step(v) for v in np.moveaxis(x, -2, 0)]
            np.testing.assert_array_equal(np.stack(steps, axis=-2), want)
            parts = [chunks.run(x[..., a:b, :]) for a, b in ((0, 1), (1, 7), (7, 12))]
            np.testing.assert_array_equal(np.concatenate(parts, axis=-2), want)
            assert same(stream.state, chunks.state)
            stream.reset()
            chunks.reset()
            for one in (stream, chunks):  # nothing is known any more
                with pytest.raises(ValueError, match="x must have a value of each feature before one is missing"):
                    one.step(np.full(x[..., 0, :].shape, np.nan))
        np.testing.assert_array_equal(x, given)

    @every_layer
    @pytest.mark.parametrize("tail", ["alone", "dense"])
    def test_a_nan_is_refused_with_its_place(self, layer, tail):
        net = network(layer, tail)
        x = inputs(3)
        stream, untouched = net.stream(3, missing="raise"), net.stream(3)
        np.testing.assert_array_equal(stream.run(x), untouched.run(x))
        wrong = x.copy()
        wrong[2, 4, 1] = np.nan
        wrong[2, 5, 0] = np.nan
        with pytest.raises(
            ValueError, match=r"^x must hold no NaN, with missing='raise'\. Got .* row 2, step 4, feature 1"
        ):
            stream.run(wrong)
        with pytest.raises(ValueError, match=r"x must hold no NaN.* row 2, feature 1\.$"):
            stream.step(wrong[:, 4])
        assert same(stream.state, untouched.state)
        for one, place in (
            (net.stream(missing="raise"), "step 4, feature 1"),
            (net.stream(1, "raise"), "row 0, step 4"),
        ):
            with pytest.raises(ValueError, match=f"NaN, with missing='raise'. Got one at {place}"):
                one.run(wrong[2] if one.batch is None else wrong[2:])
        endless = np.full(I, np.inf)
        with np.errstate(invalid="ignore"):
            net.stream(missing="raise").step(endless)  # a value
            net.stream(missing="forward").step(endless)
        unseen = x.copy()
        unseen[2, :2, 1] = np.nan
        unseen[:, 3:] = np.nan
        late = net.stream(3, missing="forward")
        with pytest.raises(ValueError, match=r"x must have a value of each .* Got NaN at row 2, step 0, feature 1\."):
            late.run(unseen)
        assert same(late.state, net.stream(3).state)
        late.run(unseen[:, 2:])

    def test_rows_are_forgotten_one_by_one(self):
        net = network("GRU")
        stream = net.stream(2, missing="forward")
        stream.step(np.ones((2, I)))
        stream.reset(0)
        with pytest.raises(ValueError, match="Got NaN at row 0, feature 2"):
            stream.step([[1, 1, np.nan], [np.nan] * 3])
        stream.step([[1, 1, 1], [np.nan] * 3])

    def test_a_nan_is_computed_with_by_default(self):
        stream = network().stream()
        assert stream.missing == "pass"
        assert np.isnan(stream.step(np.full(I, np.nan))).all()
        assert np.isnan(stream.step(np.ones(I))).all()

    def test_what_is_refused(self):
        net = network()
        for wrong in ("skip", None, True, 3):
            with pytest.raises(ValueError, match=r"missing must be one of 'pass', 'raise', 'forward'\. Got"):
                net.stream(missing=wrong)
        tokens = elman.Network([elman.Embedding(5, 3, seed=0), elman.GRU(3, 4, seed=0)])
        with pytest.raises(ValueError, match="missing must be 'pass' or 'raise' for a network that takes no features"):
            tokens.stream(missing="forward")
        tokens.stream(missing="raise").step(3)
        two = elman.Network({"both": (elman.Concatenate(), "a", "b"), "rnn": elman.GRU(5, 4, seed=0)})
        with pytest.raises(ValueError, match="a network that does not tell the number of features"):
            two.stream(missing="forward")
        with pytest.raises(ValueError, match=r"b must hold no NaN, with missing='raise'\. Got one at feature 1"):
            two.stream(missing="raise").step({"a": np.ones(2), "b": [1, np.nan, 3]})


def test_attributes_of_a_stream():
    stream = network().stream(2)
    assert (stream.batch, stream.missing) == (2, "pass")
    for name in ("batch", "missing", "net", "stat"):
        with pytest.raises(AttributeError, match=name):
            setattr(stream, name, 3)


@pytest.mark.parametrize("base", [elman.Dense, elman.Dropout])
def test_a_layer_that_extends_another_streams_as_it_computes(base):
    class Own(base):
        def step(self, x, state):
            y, state = super().step(x, state)
            return 2 * y, state

        def run(self, x, state, rng, keep):
            return x.with_values(self.step(x.values, ())[0]), None, None

    net = elman.Network([elman.GRU(2, 3, seed=0), Own(3, 3, seed=1) if base is elman.Dense else Own(0.5)])
    x = np.random.default_rng(0).standard_normal((5, 2))
    stream = net.stream()
    for _ in range(2):
        np.testing.assert_array_equal([stream.step(row) for row in x], net(x)[0])
        stream.reset()


@pytest.mark.parametrize("batch", [None, 1, 4])
def test_a_cell_is_given_arrays_in_the_order_of_c_alone(batch):
    """Products of BLAS sum in another order for another layout, and the bits of a stream would differ."""

    def step(x, state, weights):
        assert all(array.flags.c_contiguous for array in (x, *state, *weights))
        (h,), (Wx, Wh) = state, weights
        h = np.tanh(x @ Wx + h @ Wh)
        return (np.asfortranarray(h),), {"h": h}

    def step_derivative(x, state, weights, kept, dnext):
        raise AssertionError

    cell = elman.Cell("strict", {"Wx": ("input", "hidden"), "Wh": ("hidden", "hidden")}, ("h",), step, step_derivative)
    layer = elman.Recurrent(cell, 3, 5, learned_state=True, seed=0)
    layer.h0 = np.linspace(-1, 1, 5)
    net, outer = elman.Network([layer]), () if batch is None else (batch,)
    x = np.random.default_rng(0).standard_normal((7, *outer, 3)).astype("float32")
    want = [net.stream(batch).step(x[0])]
    stream = net.stream(batch)
    for v in (x[0], np.asfortranarray(x[0]), x[0].tolist()):
        np.testing.assert_array_equal(stream.step(v), want[0])
        stream.state = [np.asfortranarray(np.ones((*outer, 5)))]
        stream.step(v)
        if batch:
            stream.reset([0])
            stream.copy().step(v)
        stream.reset()
    chunk = stream.run(np.moveaxis(x, 0, -2))
    whole, _ = net(np.asfortranarray(np.moveaxis(x, 0, -2)))
    np.testing.assert_array_equal(chunk, whole)


@pytest.mark.parametrize("base", [elman.GRU, elman.Dense, elman.Dropout, elman.LastStep, elman.Layer, elman.Network])
def test_a_layer_whose_steps_would_not_follow_what_it_computes_is_refused(base):
    class Own(base):
        def run(self, x, state, rng, keep):
            y, state, kept = super().run(x, state, rng, keep)
            return y.with_values(2 * y.values), state, kept

    made = {elman.GRU: (3, 3), elman.Dense: (3, 3), elman.Dropout: (0.5,), elman.Network: ([elman.GRU(3, 3)],)}
    own = Own(*made.get(base, ()))
    for layers in ([own], [elman.GRU(3, 3), own], [elman.Network([elman.Network([own])])]):
        with pytest.raises(elman.ShapeError, match=r"a layer in a stream must say what it computes of a step.*Got"):
            elman.Network(layers).stream()


def test_a_cell_whose_functions_are_objects():
    """A stream computes with them as they are, as the network does; a copy needs none of them."""

    class Step:
        def __init__(self):
            self.rate, self.lock = 0.5, threading.Lock()

        def __call__(self, x, state, weights):
            (h,), (W,) = state, weights
            return (self.rate * h + x @ W,), {}

    step = Step()
    cell = elman.Cell("own", {"W": ("input", "hidden")}, ("h",), step, lambda *arguments: None)
    net = elman.Network([elman.Recurrent(cell, 3, 4, seed=0)])
    x = np.random.default_rng(0).normal(size=(6, 3))
    for rate in (0.5, 0.1, 0.9):
        step.rate = rate
        for one in (net, copy.deepcopy(net)):
            stream = one.stream()
            np.testing.assert_array_equal([stream.step(v) for v in x], net(x)[0])
