"""The same bits: one sequence and a batch, steps, chunks and whole sequences, any number of threads.

With kernels that holds for every network whose layers run in them. Cells without a kernel, and everything under
ELMAN_PLAIN, sum by BLAS: there it holds between steps, chunks and whole sequences of the same batch.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

import elman
from elman import engine
from elman.cells.activations import ACTIVATIONS
from elman.layers import LastSteps

COMPILED = elman.backend() != "plain equations"
needs_kernels = pytest.mark.skipif(not COMPILED, reason="the plain equations run here")
SEEDS = range(24)
OPEN = {  # cells whose kernels have a form of their own
    "lstm": lambda i, h, **s: elman.LSTM(i, h, **s),
    "lstm peepholes": lambda i, h, **s: elman.LSTM(i, h, peepholes=True, clip=0.9, **s),
    "lstm coupled": lambda i, h, **s: elman.LSTM(i, h, coupled=True, activations={"g": "softsign"}, **s),
    "lstm zoneout": lambda i, h, **s: elman.LSTM(i, h, zoneout=(0.1, 0.3), learned_state=True, **s),
    "gru": lambda i, h, **s: elman.GRU(i, h, **s),
    "gru before": lambda i, h, **s: elman.GRU(i, h, reset_after=False, **s),
    "gru general": lambda i, h, **s: elman.GRU(i, h, activations={"r": "hard_sigmoid"}, clip=1.2, **s),
    "rnn": lambda i, h, **s: elman.RNN(i, h, **s),
    "rnn softplus": lambda i, h, **s: elman.RNN(i, h, activation="softplus", clip=1.0, **s),
}


def leaky():
    """A cell of one's own."""

    def step(x, state, weights):
        (h,), (Wx, Wh, b) = state, weights
        n = np.tanh(x @ Wx + h @ Wh + b)
        return (0.9 * h + 0.1 * n,), {"n": n}

    def step_derivative(x, state, weights, kept, dnext):
        (h,), (Wx, Wh, _), (dh,) = state, weights, dnext
        da = 0.1 * dh * (1 - kept["n"] ** 2)
        return da @ Wx.T, (0.9 * dh + da @ Wh.T,), (x.T @ da, h.T @ da, da.sum(0))

    names = {"Wx": ("input", "hidden"), "Wh": ("hidden", "hidden"), "b": ("hidden",)}
    return elman.Cell("leaky", names, ("h",), step, step_derivative)


WITHOUT_KERNEL = {
    "leaky": lambda i, h, **s: elman.Recurrent(leaky(), i, h, zoneout=0.1, **s),
    "layer norm": lambda i, h, **s: elman.LSTM(i, h, layer_norm=True, **s),
    "projection": lambda i, h, **s: elman.LSTM(i, h, projection=h, **s),
}
SIZES = [1, 2, 3, 5, 8, 9, 16, 17, 31, 33, 65, 130]


def pointwise(rng, width, dtype):
    """A layer without a state, and its width."""
    kind = rng.integers(9)
    if kind == 0:
        return elman.LayerNorm(width, dtype=dtype), width
    if kind == 1:
        return elman.Activate(str(rng.choice([*ACTIVATIONS, "softmax", "log_softmax"]))), width
    if kind == 2:
        return elman.Dropout(0.4), width
    if kind == 3 and width % 2 == 0:
        return elman.MergeDirections(str(rng.choice(["sum", "mul", "ave"]))), width // 2
    if kind == 4:
        layer = elman.BatchNorm(width, dtype=dtype)
        layer.mean, layer.variance = rng.normal(size=width), rng.uniform(0.5, 2, width)
        return layer, width
    if kind == 5:
        return elman.Scale(width, rng.normal(size=width), 0.7), width
    out = int(rng.choice(SIZES))
    if kind == 6:
        span, apart = int(rng.integers(1, 4)), int(rng.integers(1, 3))
        options = {"activation": str(rng.choice(list(ACTIVATIONS))), "dtype": dtype, "seed": int(rng.integers(99))}
        return elman.Conv1d(width, out, span, dilation=apart, padding="causal", **options), out
    return elman.Dense(width, out, str(rng.choice(list(ACTIVATIONS))), dtype=dtype, seed=int(rng.integers(99))), out


def random_network(seed, cells, whole=False):
    """Recurrent layers and those without a state in any order; `whole`: also what must see whole sequences."""
    rng = np.random.default_rng(seed)
    dtype = str(rng.choice(["float32", "float64"]))
    width = int(rng.choice(SIZES))
    layers = []
    if rng.random() < 0.3:
        layers.append(elman.Embedding(11, width, dtype=dtype, seed=int(rng.integers(99))))
    elif whole and rng.random() < 0.3:
        layers.append(elman.Masking(0.0))
    for _ in range(rng.integers(1, 4)):
        hidden = int(rng.choice(SIZES))
        both = whole and bool(rng.random() < 0.5)
        cell = cells[str(rng.choice(list(cells)))]
        layers.append(cell(width, hidden, bidirectional=both, dtype=dtype, seed=int(rng.integers(99))))
        width = hidden * (1 + both)
        if whole and rng.random() < 0.3:
            layers.append(elman.Reverse())
        for _ in range(rng.integers(3)):
            layer, width = pointwise(rng, width, dtype)
            layers.append(layer)
    if whole:
        pools = [elman.MeanOverTime(), elman.MaxOverTime(), elman.LastStep(), LastSteps(width, 2)]
        layers.append(pools[rng.integers(4)])
        width *= 2 if isinstance(layers[-1], LastSteps) else 1
    layers.append(elman.Dense(width, int(rng.choice(SIZES)), dtype=dtype, seed=int(rng.integers(99))))
    net = elman.Network(layers)
    for array in net.parameters.values():  # biases, gains and first states too
        array += 0.1 * rng.normal(size=array.shape).astype(dtype)
    return net, rng


def sequences(net, rng, lengths):
    if net.takes_tokens:
        return [rng.integers(0, 11, n) for n in lengths]
    first = next(layer.input_size for layer in net.layers if layer.input_size is not None)
    return [rng.normal(size=(n, first)).astype(net.dtype) for n in lengths]


def padded(parts):
    """An array with what must not be read after each end."""
    array = np.full((len(parts), max(map(len, parts)), *parts[0].shape[1:]), 7, parts[0].dtype)
    for row, part in zip(array, parts, strict=True):
        row[: len(part)] = part
    return array, [len(part) for part in parts]


def assert_same(got, want, what):
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    assert got.tobytes() == want.tobytes(), (what, np.abs(got - want).max())


def states_of(state):
    """The arrays of a state, one after another."""
    if isinstance(state, (list, tuple)):
        return [array for part in state for array in states_of(part)]
    return [] if state is None else [state]


@pytest.fixture
def with_threads():
    """Sets the number of threads; what it was comes back after the test."""
    before = elman.get_threads()
    yield elman.set_threads
    elman.set_threads(before)


@needs_kernels
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("whole", [False, True])
def test_a_sequence_alone_and_in_a_batch(seed, whole):
    net, rng = random_network(seed, OPEN, whole)
    parts = sequences(net, rng, rng.integers(1, 12, rng.integers(1, 8)))
    y, state = net(parts)
    array, lengths = padded(parts)
    in_array, array_state = net(array, lengths=lengths)
    for got, want in zip(states_of(array_state), states_of(state), strict=True):
        assert_same(got, want, "state of the padded array")
    for i, part in enumerate(parts):
        assert_same(in_array[i] if whole else in_array[i, : len(part)], y[i], "padded array")
        alone, end = net(part)
        assert_same(alone, y[i], "alone")
        assert_same(net(np.asfortranarray(part))[0], y[i], "columns one after another")
        for got, want in zip(states_of(end), states_of(state), strict=True):
            assert_same(got, want[..., i, :], "state alone")


@needs_kernels
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("whole", [False, True])
def test_gradients_of_a_sequence_alone_and_in_a_batch(seed, whole):
    net, rng = random_network(seed + 100, OPEN, whole)
    parts = sequences(net, rng, rng.integers(1, 12, rng.integers(1, 8)))
    y, _, tape = net.forward(parts)
    dy = [rng.normal(size=part.shape).astype(net.dtype) for part in y] if not whole else rng.normal(size=y.shape)
    dx, _, gradients = net.backward(tape, dy)
    array, lengths = padded(parts)
    _, _, tape = net.forward(array, lengths=lengths)
    dx_array, _, more = net.backward(tape, dy if whole else padded(dy)[0])
    for name, gradient in gradients.items():
        assert_same(more[name], gradient, name)
    for i, part in enumerate(parts):
        if net.takes_tokens:
            continue
        assert_same(dx_array[i, : len(part)], dx[i], "padded array")
        _, _, tape = net.forward(part)
        assert_same(net.backward(tape, dy[i])[0], dx[i], "alone")


def walk(net, x, cuts):
    """The outputs of a stream over x (batch, time, ...), in pieces between `cuts`: single steps, and chunks."""
    stream = net.stream(len(x))
    found = []
    for begin, end in zip([0, *cuts], [*cuts, x.shape[1]], strict=True):
        found.append(stream.step(x[:, begin])[:, None] if end == begin + 1 else stream.run(x[:, begin:end]))
    return np.concatenate(found, axis=1), stream.state


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("cells", [OPEN, WITHOUT_KERNEL | {"gru": OPEN["gru"]}], ids=["kernels", "plain cells"])
def test_steps_chunks_and_whole_sequences(seed, cells):
    net, rng = random_network(seed + 200, cells)
    batch, time = int(rng.choice([1, 2, 3, 7])), int(rng.integers(3, 12))
    x = np.stack(sequences(net, rng, [time] * batch))
    y, state = net(x)
    cut = int(rng.integers(1, time))
    for cuts in (range(1, time), [], [cut], sorted({1, cut})):
        found, end = walk(net, x, cuts)
        assert_same(found, y, f"stream in {len(cuts) + 1} pieces")
        for got, want in zip(states_of(end), states_of(state), strict=True):
            assert_same(got, want, "state")
    first, between = net(x[:, :cut])
    rest, end = net(x[:, cut:], between)
    assert_same(np.concatenate([first, rest], axis=1), y, "two calls")
    for got, want in zip(states_of(end), states_of(state), strict=True):
        assert_same(got, want, "state of two calls")
    # One sequence alone, as a stream of one that takes steps (features,).
    stream = net.stream()
    alone = np.stack([stream.step(step) for step in x[0]])
    if COMPILED and cells is OPEN:
        assert_same(alone, y[0], "alone")
    elif batch == 1:
        assert_same(alone, net(x[0])[0], "alone")
    else:
        np.testing.assert_allclose(alone, y[0], rtol=0, atol=1e-4 * max(1, np.abs(y[0]).max()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dense_of_a_row_whatever_stands_beside_it(dtype):
    rng = np.random.default_rng(0)
    for trial in range(40):
        inputs, outputs, rows = (int(n) for n in rng.choice([*SIZES, 200], 3))
        layer = elman.Dense(inputs, outputs, list(ACTIVATIONS)[trial % len(ACTIVATIONS)], dtype=dtype, seed=trial)
        layer.b = rng.normal(size=outputs)
        x = rng.normal(size=(1, rows, inputs)).astype(dtype)
        y, _ = layer(x)
        for i in range(rows):
            assert_same(layer(x[:, i : i + 1])[0], y[:, i : i + 1], (inputs, outputs, rows))
        assert_same(layer(x[:, ::-1])[0], y[:, ::-1].copy(), "rows backwards")
        assert_same(layer(np.repeat(x, 2, axis=-1)[..., ::2])[0], y, "features apart")


@needs_kernels
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(2100, 192, 65), (40_000, 3, 130), (700, 130, 300)])
def test_dense_whatever_the_number_of_threads(with_threads, dtype, rows, inputs, outputs):
    rng = np.random.default_rng(1)
    layer = elman.Dense(inputs, outputs, "tanh", dtype=dtype, seed=0)
    x = rng.normal(size=(1, rows, inputs)).astype(dtype)
    dy = rng.normal(size=(1, rows, outputs)).astype(dtype)
    found = []
    for count in (1, 2, 3, 8, 2):
        with_threads(count)
        y, _, tape = layer.forward(x)
        dx, _, gradients = layer.backward(tape, dy)
        found.append({"y": y, "dx": dx, **gradients})
    for other in found[1:]:
        for name, array in found[0].items():
            assert_same(other[name], array, name)


@needs_kernels
@pytest.mark.parametrize("cell", OPEN)
@pytest.mark.parametrize("both", [False, True])
def test_networks_whatever_the_number_of_threads(with_threads, cell, both):
    """Large enough to be shared among threads: ragged, alone, in chunks, backward."""
    rng = np.random.default_rng(2)
    layer = OPEN[cell](40, 130, bidirectional=both, seed=0)
    net = elman.Network([layer, elman.LayerNorm(layer.output_size), elman.Dense(layer.output_size, 65, "tanh", seed=1)])
    parts = [rng.normal(size=(n, 40)).astype(np.float32) for n in (60, 1, 45, 60, 33, *[40] * 19)]
    dy = [rng.normal(size=(len(part), 65)) for part in parts]
    found = []
    for count in (1, 2, 3):
        with_threads(count)
        y, state, tape = net.forward(parts)
        dx, dstate, gradients = net.backward(tape, dy)
        found.append([*y, *states_of(state), *dx, *states_of(dstate), *gradients.values()])
        assert_same(net(parts[2])[0], y[2], "alone")
        if not both:
            chunks = np.stack(parts[5:])
            found[-1] += [net.stream(len(chunks)).run(chunks)]
            assert_same(found[-1][-1], np.stack(y[5:]), "a chunk")
    for other in found[1:]:
        for got, want in zip(other, found[0], strict=True):
            assert_same(got, want, "threads")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pools_and_norms_of_long_sequences_alone_and_in_a_batch(dtype):
    """Where NumPy sums in pairs, and goes through memory in pieces."""
    rng = np.random.default_rng(6)
    for width in (1, 2, 17, 130):
        parts = [rng.normal(size=(n, width)).astype(dtype) for n in (300, 8, 129, 1000)]
        for layer in (elman.MeanOverTime(), elman.LayerNorm(width, dtype=dtype), elman.Activate("softmax")):
            net = elman.Network([layer, elman.Dense(width, 3, dtype=dtype, seed=0)])
            y, _ = net(parts)
            for i, part in enumerate(parts):
                assert_same(net(part)[0], y[i], "alone")
                assert_same(net(np.asfortranarray(part))[0], y[i], "columns one after another")


def digest(arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


def digests():
    """Of new weights, of outputs and gradients, and of weights after training: what must not depend on threads."""
    rng = np.random.default_rng(5)
    found = []
    for dtype in ("float32", "float64"):
        net = elman.Network(
            [
                elman.Embedding(65, 32, dtype=dtype, seed=1),
                elman.LSTM(32, 160, dtype=dtype, seed=2, initializer="orthogonal"),
                elman.LayerNorm(160, dtype=dtype),
                elman.GRU(160, 70, bidirectional=True, dtype=dtype, seed=3),
                elman.Dense(140, 90, "tanh", dtype=dtype, seed=4),
                elman.Dense(90, 65, dtype=dtype, seed=5),
            ]
        )
        found.append(digest(net.parameters.values()))
        x = rng.integers(0, 65, (16, 60))
        y, _, tape = net.forward(x)
        found.append(digest([y, *net.backward(tape, y)[2].values()]))
        elman.fit(net, x, x, epochs=2, batch_size=8, clip_norm=0.5, seed=0, progress=False)
        found.append(digest(net.parameters.values()))
    return found


@needs_kernels
def test_weights_outputs_and_training_whatever_the_threads_of_blas_and_of_the_kernels():
    code = (
        f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); import test_bits; print(*test_bits.digests())"
    )
    found = []
    for blas, kernels in ((1, 2), (2, 1), (4, 2)):
        threads = {"OPENBLAS_NUM_THREADS": str(blas), "ELMAN_NUM_THREADS": str(kernels)}
        out = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **threads}, capture_output=True, text=True, check=True
        )
        found.append(out.stdout.split())
    assert len(found[0]) == 6
    assert found[0] == found[1] == found[2]


@needs_kernels
@pytest.mark.parametrize("isa", engine.kernels.native.isas if COMPILED else [])
def test_on_every_instruction_set(isa):
    """Some of the tests above, in a process that runs on this instruction set."""
    chosen = "chunks or networks_whatever or dense_of_a_row"
    args = ["-x", "-k", chosen, "-p", "no:cacheprovider", __file__]
    if isa == engine.kernels.native.isa:
        pytest.skip("this process runs on it")
    out = subprocess.run(
        [sys.executable, "-m", "pytest", *args], env={**os.environ, "ELMAN_ISA": isa}, capture_output=True, text=True
    )
    assert out.returncode == 0, out.stdout[-3000:]
    assert "passed" in out.stdout
