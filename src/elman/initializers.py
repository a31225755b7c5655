"""How weights start.

Each function draws one array from a generator; `recurrent` fills the weights of a recurrent layer with them.
Random numbers are drawn in float64 and rounded last, so float32 and float64 layers of one seed start alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from elman.cells.cell import Cell
from elman.checks import Array

if TYPE_CHECKING:
    from numpy.random import Generator


def glorot(rng: Generator, shape: tuple[int, ...]) -> Array:
    """Uniform in +-sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, equation 16).

    >>> abs(glorot(np.random.default_rng(0), (3, 5))).max() <= (6 / 8) ** 0.5
    np.True_
    """
    bound = np.sqrt(6 / (shape[0] + shape[-1]))
    return rng.uniform(-bound, bound, shape)


def orthogonal(rng: Generator, shape: tuple[int, ...]) -> Array:
    """Orthonormal rows or columns, whichever are fewer, drawn evenly (Saxe, McClelland, Ganguli 2014).

    >>> q = orthogonal(np.random.default_rng(0), (3, 3))
    >>> np.allclose(q @ q.T, np.eye(3))
    True
    """
    rows, columns = shape
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.sign(np.diag(r))  # without it, the draw would not be even over all orthogonal matrices
    return q if rows >= columns else q.T


def uniform(rng: Generator, shape: tuple[int, ...], bound: float) -> Array:
    """Uniform in +-bound. PyTorch's recurrent layers start with bound = 1/sqrt(hidden) for weights and biases.

    >>> uniform(np.random.default_rng(0), (2,), 0.1).shape
    (2,)
    """
    return rng.uniform(-bound, bound, shape)


RECURRENT = ("glorot", "orthogonal", "uniform")


def recurrent(parameters: Mapping[str, Array], cell: Cell, name: str, rng: Generator) -> None:
    """Fills the weights of one direction of a cell, each gate drawn by itself.

    "glorot": input weights Glorot, recurrent weights orthogonal, biases 0. "orthogonal": both orthogonal, biases 0.
    "uniform": everything uniform in +-1/sqrt(hidden), as PyTorch does. A projection is drawn as input weights are.
    Peepholes start as biases do: at 0 a new cell computes what it would without them; TensorFlow 1 draws them as
    weights. What the cell names in `starts`, such as gains, starts as it says.
    """
    of_h = "hidden" if cell.projection is None else "projection"

    for weight, axes in cell.weights.items():
        if weight in cell.starts:
            parameters[weight][...] = cell.starts[weight]
            continue
        blocks = len(cell.gates) if axes[-1] == "gates" else 1
        for block in np.split(parameters[weight], blocks, axis=-1):
            block[...] = _recurrent_block(name, block.shape, axes, of_h, rng)


def _recurrent_block(name: str, shape: tuple[int, ...], axes: tuple[str, ...], of_h: str, rng: Generator) -> Array:
    if name == "uniform":
        hidden = shape[0] if axes[-1] == "projection" else shape[-1]  # but for a projection, a block is hidden wide
        return uniform(rng, shape, 1 / np.sqrt(hidden))
    if len(shape) == 1:
        return np.zeros(shape)
    if len(shape) == 2 and (name == "orthogonal" or axes[0] == of_h):
        return orthogonal(rng, shape)
    return glorot(rng, shape)
