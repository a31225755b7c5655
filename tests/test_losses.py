"""Losses: their values against the definitions, their derivatives against central differences, extremes, masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.cells.functions import softmax
from elman.checks import DtypeError, ShapeError
from elman.training.losses import (
    LOSSES,
    AbsoluteError,
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    Quantile,
    SquaredError,
    as_loss,
    cross_entropy,
    cross_entropy_derivative,
)

ALL = [
    CrossEntropy(),
    BinaryCrossEntropy(),
    SquaredError(),
    AbsoluteError(),
    Huber(0.7),
    Quantile((0.1, 0.5, 0.95)),
    Quantile(0.3),
]


def draw(loss, rng, outer, width):
    """A prediction and a target that no kink of the loss lies near."""
    if isinstance(loss, Quantile):
        width = len(np.atleast_1d(loss.levels))
    prediction = 2 * rng.standard_normal((*outer, width))
    if isinstance(loss, CrossEntropy):
        return prediction, rng.integers(0, width, outer)
    if isinstance(loss, BinaryCrossEntropy):
        return prediction, rng.random(prediction.shape)
    error = rng.uniform(0.05, 2, prediction.shape) * rng.choice([-1, 1], prediction.shape)
    near_kink = np.abs(np.abs(error) - 0.7) < 0.01
    return prediction, prediction - np.where(near_kink, 0.5, error)


def central_differences(function, p, step=1e-5):
    """The gradient of a sum of rows, one number at a time, with the error of the order step^4."""
    gradient = np.empty_like(p)
    for place in np.ndindex(p.shape):
        ends = []
        for shift in (step, -step, 2 * step, -2 * step):
            moved = p.copy()
            moved[place] += shift
            ends.append(function(moved).sum())
        gradient[place] = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / (12 * step)
    return gradient


@pytest.mark.parametrize("loss", ALL, ids=repr)
@settings(max_examples=15, deadline=None)
@given(
    outer=st.lists(st.integers(1, 3), max_size=3).map(tuple), width=st.integers(1, 5), seed=st.integers(0, 2**32 - 1)
)
def test_derivative_equals_central_differences(loss, outer, width, seed):
    prediction, target = draw(loss, np.random.default_rng(seed), outer, width)
    got = loss.derivative(prediction, target)
    want = central_differences(lambda p: loss(p, target), prediction, step=1e-3)
    assert got.shape == prediction.shape
    assert np.linalg.norm(got - want) <= 1e-7 * max(np.linalg.norm(want), 1e-3)


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_a_mask_makes_loss_and_gradient_0_whatever_the_target_holds(loss):
    rng = np.random.default_rng(3)
    prediction, target = draw(loss, rng, (4, 5), 3)
    mask = rng.random((4, 5)) < 0.6
    wrongs = [-1, 99] if isinstance(loss, CrossEntropy) else [np.nan, np.inf, -1e30]
    for wrong in wrongs:
        spoiled = np.where(mask if target.ndim == 2 else mask[..., None], target, wrong)
        got, slope = loss(prediction, spoiled, mask), loss.derivative(prediction, spoiled, mask)
        assert (got[~mask] == 0).all()
        assert (slope[~mask] == 0).all()
        np.testing.assert_array_equal(got[mask], loss(prediction, target)[mask])
        np.testing.assert_array_equal(slope[mask], loss.derivative(prediction, target)[mask])


def test_masked_labels_may_be_nan():
    labels, mask = np.array([1.0, np.nan, 0.0]), np.array([True, False, True])
    prediction = np.random.default_rng(0).standard_normal((3, 2))
    want = CrossEntropy()(prediction, [1, 0, 0])
    np.testing.assert_array_equal(CrossEntropy()(prediction, labels, mask), np.where(mask, want, 0))
    with pytest.raises(ValueError, match=r"target must hold integers where mask is true\. Got nan\."):
        CrossEntropy()(prediction, labels, np.ones(3, bool))


@pytest.mark.parametrize("loss", ALL, ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept_and_inputs_are_unmodified(loss, dtype):
    prediction, target = draw(loss, np.random.default_rng(5), (4,), 3)
    prediction = prediction.astype(dtype)
    copies = prediction.copy(), target.copy()
    mask = np.array([True, False, True, True])
    for result in (
        loss(prediction, target),
        loss.derivative(prediction, target),
        loss(prediction, target, mask),
        loss.derivative(prediction, target, mask),
    ):
        assert result.dtype == dtype
        assert not np.shares_memory(result, prediction)
    np.testing.assert_array_equal(prediction, copies[0])
    np.testing.assert_array_equal(target, copies[1])


def test_values_equal_the_definitions():
    rng = np.random.default_rng(11)
    p, t = rng.standard_normal((2, 4, 3)), rng.standard_normal((2, 4, 3))
    e = p - t
    np.testing.assert_allclose(SquaredError()(p, t), (e**2).sum(-1) / 3)
    np.testing.assert_allclose(AbsoluteError()(p, t), np.abs(e).sum(-1) / 3)
    huber = np.where(np.abs(e) <= 0.5, e**2 / 2, 0.5 * (np.abs(e) - 0.25))
    np.testing.assert_allclose(Huber(0.5)(p, t), huber.sum(-1) / 3)
    q = np.array([0.2, 0.5, 0.9])
    pinball = np.where(t >= p, q * (t - p), (1 - q) * (p - t))
    np.testing.assert_allclose(Quantile((0.2, 0.5, 0.9))(p, t), pinball.sum(-1) / 3)
    yes = rng.random((2, 4, 3))
    probability = 1 / (1 + np.exp(-p))
    binary = -(yes * np.log(probability) + (1 - yes) * np.log(1 - probability))
    np.testing.assert_allclose(BinaryCrossEntropy()(p, yes), binary.sum(-1) / 3)
    labels = rng.integers(0, 3, (2, 4))
    np.testing.assert_allclose(CrossEntropy()(p, labels), cross_entropy(np.eye(3)[labels], softmax(p)))


def test_the_quantile_loss_is_least_at_the_quantile():
    sample = np.random.default_rng(0).standard_normal(2001)[:, None]
    grid = np.linspace(-2, 2, 401)
    for level in (0.1, 0.5, 0.9):
        losses = [Quantile(level)(np.full_like(sample, value), sample).mean() for value in grid]
        assert grid[np.argmin(losses)] == pytest.approx(np.quantile(sample, level), abs=0.02)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logits_of_any_size_give_finite_losses(dtype):
    logits = np.array([[1e4, -1e4], [-1e4, 1e4], [0, 0]], dtype)
    loss, slope = CrossEntropy()(logits, [0, 0, 1]), CrossEntropy().derivative(logits, [0, 0, 1])
    np.testing.assert_allclose(loss, [0, 2e4, np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(slope, [[0, 0], [-1, 1], [0.5, -0.5]])
    yes = np.array([[1, 0], [1, 0], [1, 0]])
    loss, slope = BinaryCrossEntropy()(logits, yes), BinaryCrossEntropy().derivative(logits, yes)
    np.testing.assert_allclose(loss, [0, 1e4, np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(slope, [[0, 0], [-0.5, 0.5], [-0.25, 0.25]])


def test_small_losses_keep_their_digits():
    assert CrossEntropy()(np.array([40.0, 0.0]), 0) == pytest.approx(np.exp(-40.0), rel=1e-3)
    assert BinaryCrossEntropy()(np.array([40.0]), 1.0) == pytest.approx(np.exp(-40.0), rel=1e-12)


@pytest.mark.parametrize("loss", [SquaredError(), AbsoluteError(), Huber(), BinaryCrossEntropy(), Quantile(0.5)])
def test_a_last_axis_of_1_may_be_left_out_of_the_target(loss):
    rng = np.random.default_rng(0)
    prediction, target = rng.standard_normal((4, 5, 1)), rng.random((4, 5))
    np.testing.assert_array_equal(loss(prediction, target), loss(prediction, target[..., None]))
    np.testing.assert_array_equal(loss.derivative(prediction, target), loss.derivative(prediction, target[..., None]))


def test_one_target_serves_all_quantiles():
    rng = np.random.default_rng(0)
    prediction, target = rng.standard_normal((4, 3)), rng.standard_normal((4, 1))
    loss = Quantile((0.1, 0.5, 0.9))
    np.testing.assert_array_equal(loss(prediction, target), loss(prediction, np.repeat(target, 3, 1)))
    slope = loss.derivative(prediction, target)
    np.testing.assert_array_equal(slope, loss.derivative(prediction, np.repeat(target, 3, 1)))
    assert slope.shape == prediction.shape


@pytest.mark.parametrize(
    ("loss", "prediction", "target", "message"),
    [
        (SquaredError(), (4, 3), np.zeros((4, 1)), r"target must have shape \(4, 3\)\. Got \(4, 1\)\."),
        (SquaredError(), (4, 1), np.zeros((4, 4)), r"target must have shape \(4,\) or \(4, 1\)\. Got \(4, 4\)\."),
        (SquaredError(), (4, 3), np.zeros(3), r"target must have shape \(4, 3\)\. Got \(3,\)\."),
        (Quantile((0.1, 0.9)), (4, 2), np.zeros(4), r"target must have shape \(4, 1\) or \(4, 2\)\. Got \(4,\)\."),
        (
            Quantile((0.1, 0.9)),
            (4, 3),
            np.zeros((4, 1)),
            "prediction must have 2 values per row, one per level .* Got 3",
        ),
        (CrossEntropy(), (4, 3), np.zeros((4, 1), int), r"target must have shape \(4,\)\. Got \(4, 1\)\."),
        (CrossEntropy(), (), 0, r"prediction must have shape \(\.\.\., K\), K from 1 up\. Got \(\)\."),
    ],
)
def test_shapes_that_do_not_fit_are_refused(loss, prediction, target, message):
    for function in (loss, loss.derivative):
        with pytest.raises(ShapeError, match=message):
            function(np.zeros(prediction), target)


def test_targets_that_do_not_fit_are_refused():
    zeros = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"target must hold integers from 0 to 2\. Got 3\."):
        CrossEntropy()(zeros, [0, 3])
    with pytest.raises(ValueError, match=r"target must hold integers from 0 to 2\. Got -1\."):
        CrossEntropy()(zeros, [-1, 0])
    with pytest.raises(DtypeError, match=r"target must hold integers\. Got an array of dtype float64\."):
        CrossEntropy()(zeros, [0.0, 1.0])
    with pytest.raises(ValueError, match=r"target must hold numbers from 0 to 1\. Got 2\.0\."):
        BinaryCrossEntropy()(zeros, np.full((2, 3), 2.0))
    with pytest.raises(ShapeError, match=r"mask must have shape \(2,\)\. Got \(2, 3\)\."):
        SquaredError()(zeros, zeros, np.ones((2, 3), bool))
    with pytest.raises(DtypeError, match=r"mask must hold booleans\. Got an array of dtype float64\."):
        SquaredError()(zeros, zeros, np.ones(2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropy_of_probabilities_is_always_finite(dtype):
    y = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype)
    y_pred = np.array([[0, 1, 0], [0, 1, 0], [1, 0, np.nextafter(dtype(0), dtype(1))]], dtype)
    most = -np.log(np.finfo(dtype).tiny)
    loss, slope = cross_entropy(y, y_pred), cross_entropy_derivative(y, y_pred)
    np.testing.assert_allclose(loss, [most, 0, most], rtol=1e-6)
    assert loss.dtype == slope.dtype == dtype
    assert np.isfinite(slope).all()
    np.testing.assert_array_equal(slope[1], [0, -1, 0])


@settings(max_examples=20, deadline=None)
@given(axis=st.integers(-3, 2), seed=st.integers(0, 2**32 - 1))
def test_cross_entropy_takes_any_axis_and_soft_targets(axis, seed):
    rng = np.random.default_rng(seed)
    y, y_pred = (softmax(rng.standard_normal((2, 3, 4)), axis=axis) for _ in range(2))
    np.testing.assert_allclose(cross_entropy(y, y_pred, axis=axis), -(y * np.log(y_pred)).sum(axis))
    want = central_differences(lambda p: cross_entropy(y, p, axis=axis), y_pred, step=1e-4 * y_pred.min())
    np.testing.assert_allclose(cross_entropy_derivative(y, y_pred), want, rtol=1e-6)


def test_cross_entropy_refuses_other_shapes():
    with pytest.raises(ShapeError, match=r"y must have shape \(2, 3\)\. Got \(2,\)\."):
        cross_entropy([0, 1], np.full((2, 3), 1 / 3))
    with pytest.raises(ShapeError, match=r"y_pred must have shape \(\.\.\., classes\)\. Got \(\)\."):
        cross_entropy(1.0, 0.5)


def test_losses_are_found_by_name():
    for name, kind in LOSSES.items():
        assert as_loss(name) == kind()
    assert as_loss(Huber(2.0)) == Huber(2.0)
    with pytest.raises(ValueError, match=r"Got 'cros_entropy'\. Did you mean 'cross_entropy'\?"):
        as_loss("cros_entropy")
    with pytest.raises(ValueError, match=r"loss must be one of 'cross_entropy', .* Got None\."):
        as_loss(None)


@pytest.mark.parametrize("levels", [0, 1, (0.5, 1.0), "half", (), None])
def test_levels_lie_between_0_and_1(levels):
    with pytest.raises(ValueError, match="levels must"):
        Quantile(levels)


def test_delta_is_over_0():
    with pytest.raises(ValueError, match=r"delta must be a number over 0\. Got 0\."):
        Huber(0)
