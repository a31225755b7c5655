"""The dense layer: kernels against the plain equations, gradients, and starts without LAPACK."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import elman
from central import central_gradient, relative_error
from elman import engine, kernels
from elman.cells import dense
from elman.cells.activations import ACTIVATIONS, Activation
from elman.initializers import orthonormal_rows

needs_kernels = pytest.mark.skipif(engine.backend() == "plain equations", reason="the plain equations run here")
SIZES = st.sampled_from([1, 2, 3, 5, 8, 9, 16, 17, 31, 33, 65, 130, 260])
PARAMETERS = {"alpha": 0.7, "beta": 0.4}
SMOOTH = ("identity", "tanh", "sigmoid", "affine", "scaled_tanh", "softplus")


def drawn(name):
    """An activation, with parameters that are not the defaults where it has any."""
    return Activation(name, **{key: PARAMETERS[key] for key in ACTIVATIONS[name].defaults})


def apart(array, how):
    """The same numbers, with their rows one after another, apart, or backwards in memory."""
    if how == "apart":
        wide = np.full((len(array), array.shape[1] + 3), np.nan, array.dtype)
        wide[:, 1:-2] = array
        return wide[:, 1:-2]
    return array[::-1].copy()[::-1] if how == "backwards" else array


@needs_kernels
@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    rows=st.sampled_from([1, 2, 5, 13, 36, 37, 100, 600, 1300]),
    inputs=SIZES,
    outputs=SIZES,
    name=st.sampled_from(list(ACTIVATIONS)),
    dtype=st.sampled_from(["float32", "float64"]),
    layout=st.sampled_from(["together", "apart", "backwards"]),
    seed=st.integers(0, 10**6),
)
def test_kernel_equals_equations(rows, inputs, outputs, name, dtype, layout, seed):
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.normal(size=shape).astype(dtype)  # noqa: E731
    activation = drawn(name)
    x, dy = apart(draw(rows, inputs), layout), apart(draw(rows, outputs), layout)
    W, b = draw(inputs, outputs) / np.sqrt(inputs).astype(dtype), draw(outputs)
    copies = [array.copy() for array in (x, dy, W, b)]
    want = dense.dense(x, W, b, activation)
    # From one y, so that no rounding puts the two on either side of a kink.
    want_back = dense.dense_derivative(x, W, want, dy, activation)
    eps = float(np.finfo(dtype).eps)
    for _ in range(2):
        y = kernels.pack_dense(W, b, activation)(x)
        back = kernels.dense_derivative(x, W, want, dy, activation)
        for got, array in zip([y, *back], [want, *want_back], strict=True):
            assert got.dtype == array.dtype
            assert got.shape == array.shape
            assert np.abs(got - array).max() <= 64 * eps * max(np.abs(array).max(), 1)
    for before, after in zip(copies, (x, dy, W, b), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gradients(name):
    """Against central differences, by the input and by both weights, for more than one block of vectors."""
    rng = np.random.default_rng(3)
    layer = elman.Dense(5, 19, drawn(name), dtype="float64", seed=0)
    layer.b = rng.normal(size=19)
    x, dy = rng.normal(size=(2, 3, 5)), rng.normal(size=(2, 3, 19))
    for _ in range(2):
        _, _, tape = layer.forward(x)
        dx, _, gradients = layer.backward(tape, dy)
        exact = {"x": dx, **gradients}
        for key, array in {"x": x, "W": layer.W, "b": layer.b}.items():
            by_differences = central_gradient(lambda: float((layer(x)[0] * dy).sum()), array, smooth=name in SMOOTH)
            assert relative_error(exact[key], by_differences) < (1e-8 if name in SMOOTH else 1e-6)


def test_packed_weights_are_those_of_the_moment():
    rng = np.random.default_rng(4)
    W, b, x = rng.normal(size=(3, 2)), rng.normal(size=2), rng.normal(size=(4, 5, 3))
    run = engine.pack_dense(W, b, Activation("tanh"))
    want = np.tanh(x @ W + b)
    W[...], b[...] = np.nan, np.nan
    for part, expected in ((x, want), (x[0], want[0]), (x[0, 0], want[0, 0])):
        y = run(np.ascontiguousarray(part))
        assert y.shape == expected.shape
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)


def test_without_dy_all_gradients_are_0():
    layer = elman.Dense(3, 2, "tanh", seed=0)
    _, _, tape = layer.forward(np.ones((2, 4, 3)))
    dx, _, gradients = layer.backward(tape)
    assert dx.shape == (2, 4, 3)
    assert not dx.any()
    assert not gradients["W"].any()
    assert not gradients["b"].any()


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 9), (31, 31), (33, 40), (70, 70), (150, 97)])
def test_orthogonal_starts_are_those_of_qr(rows, columns):
    """Rows made orthonormal one after another are the QR decomposition with a positive diagonal."""
    for seed in range(5):
        a = np.random.default_rng(seed).standard_normal((max(rows, columns), min(rows, columns))).T
        kept = a.copy()
        for _ in range(2):
            q = orthonormal_rows(a)
            assert np.abs(q @ q.T - np.eye(len(q))).max() < 1e-14
            Q, R = np.linalg.qr(a.T)
            np.testing.assert_allclose(q, (Q * np.sign(np.diag(R))).T, rtol=0, atol=1e-11)
        np.testing.assert_array_equal(a, kept)
        both = orthonormal_rows(np.stack([a, q, -a]))
        np.testing.assert_array_equal(both[::2], [orthonormal_rows(a), orthonormal_rows(-a)])  # each by itself
