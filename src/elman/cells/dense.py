"""The dense layer, y = act(x W + b), of rows.

x (..., I) rows, W (I, O), b (O,), y (..., O).
"""

from __future__ import annotations

import numpy as np

from elman.cells.activations import Activation
from elman.checks import Array


def dense(x: Array, W: Array, b: Array, activation: Activation) -> Array:
    """y (..., O); a row of it has the same bits whatever rows stand beside it.

    That is why the product is no ``x @ W``: BLAS sums in another order for one row than for many, so a step of a stream
    would not be the step of the whole sequence. `np.einsum` goes through the inputs of each row from first to last, for
    which the elements of a row must follow one another. It takes several times as long, without a loop in Python.
    """
    a = np.einsum("...i,io->...o", np.ascontiguousarray(x), W)
    a += b
    return a if activation.name == "identity" else np.asarray(activation(a))


def dense_derivative(x: Array, W: Array, y: Array, dy: Array, activation: Activation) -> tuple[Array, Array, Array]:
    """The gradients by x (N, I), W and b, from the output y (N, O) and its gradient."""
    da = dy if activation.name == "identity" else dy * activation.derivative(y)  # of what stands inside act
    return da @ W.T, x.T @ da, da.sum(0)
