"""Gradients by differences, to judge the exact ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Array = np.ndarray


def central_gradient(loss: Callable[[], float], array: Array, smooth: bool = True) -> Array:
    """The gradient of `loss()` by every entry of `array`, which is changed in place and put back.

    Smooth functions take the five-point rule with a wide step, whose error is far below 1e-9. Functions with kinks
    (relu and its kin) take the two-point rule with a narrow one, so that few differences straddle a kink.
    """
    gradient = np.empty(array.shape)
    for index in np.ndindex(array.shape):
        here = array[index]

        def at(step: float, index: tuple[int, ...] = index, here: float = here) -> float:
            array[index] = here + step
            return loss()

        if smooth:
            h = 1e-3
            gradient[index] = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
        else:
            h = 1e-6
            gradient[index] = (at(h) - at(-h)) / (2 * h)
        array[index] = here
    return gradient


def relative_error(exact: Array, by_differences: Array) -> float:
    """The largest difference, relative to the largest entry."""
    assert exact.shape == by_differences.shape
    scale = np.abs(by_differences).max()
    difference = np.abs(exact - by_differences).max()
    return float(difference / scale) if scale > 0 else float(difference)
