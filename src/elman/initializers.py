"""How weights start.

Each function draws one array from a generator; `recurrent` fills the weights of a recurrent layer with them.
Random numbers are drawn in float64 and rounded last, so float32 and float64 layers of one seed start alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from elman import engine
from elman.cells.cell import Cell
from elman.checks import Array

if TYPE_CHECKING:
    from numpy.random import Generator

BLOCK = 32  #: rows that are made orthogonal to all before them at a time


def glorot(rng: Generator, shape: tuple[int, ...]) -> Array:
    """Uniform in +-sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, equation 16).

    The shape is (input, output); axes before these count in both fans, as the width of a convolution does.

    >>> abs(glorot(np.random.default_rng(0), (3, 5))).max() <= (6 / 8) ** 0.5
    np.True_
    """
    bound = np.sqrt(6 / (math.prod(shape[:-2]) * sum(shape[-2:])))
    return rng.uniform(-bound, bound, shape)


def orthogonal(rng: Generator, shape: tuple[int, ...]) -> Array:
    """Orthonormal rows or columns, whichever are fewer, drawn evenly (Saxe, McClelland, Ganguli 2014).

    `shape` is (rows, columns), or (count, rows, columns) for so many one after another.

    >>> q = orthogonal(np.random.default_rng(0), (3, 3))
    >>> np.allclose(q @ q.T, np.eye(3))
    True
    """
    *count, rows, columns = shape
    drawn = rng.standard_normal((*count, max(rows, columns), min(rows, columns)))
    q = orthonormal_rows(drawn.swapaxes(-1, -2))
    return q.swapaxes(-1, -2) if rows >= columns else q


def orthonormal_rows(a: Array) -> Array:
    """The rows of `a` (k, n) made orthonormal, each from those before it, by Gram and Schmidt.

    Several matrices (count, k, n) are done side by side, each by itself.

    The same as the QR decomposition of the transposed with a positive diagonal of R, without which the draw of
    `orthogonal` would not be even. That of LAPACK depends on the threads of BLAS, and waits for them where they have
    to share processors. All is done twice, which makes the rows orthogonal to rounding (Giraud, Langou,
    Rozloznik 2005), and in blocks of rows, so that most of it is products of matrices.

    >>> orthonormal_rows(np.array([[3.0, 4.0], [1.0, 0.0]])).round(6).tolist()
    [[0.6, 0.8], [0.8, -0.6]]
    """
    q = np.array(a, order="C")
    matrices = q.reshape(-1, *q.shape[-2:])
    for start in range(0, q.shape[-2], BLOCK):
        before, block = matrices[:, :start], matrices[:, start : start + BLOCK]
        for _ in range(2):
            if start:
                for own, others in zip(block, before, strict=True):
                    own -= engine.product(engine.product(own, others.T.copy()), others)
            for i in range(block.shape[1]):
                row, others = block[:, i], block[:, :i]
                row -= np.einsum("gj,gjn->gn", np.einsum("gjn,gn->gj", others, row), others)
                row /= np.sqrt(np.einsum("gn,gn->g", row, row))[:, None]
    return q


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
        array, count = parameters[weight], len(cell.gates) if axes[-1] == "gates" else 1
        blocks = array.reshape(*array.shape[:-1], count, -1)
        shape = (*array.shape[:-1], blocks.shape[-1])
        if name == "uniform":
            hidden = shape[0] if axes[-1] == "projection" else shape[-1]  # else a block is hidden wide
            drawn = rng.uniform(-1 / np.sqrt(hidden), 1 / np.sqrt(hidden), (count, *shape))
        elif len(shape) == 1:
            drawn = np.zeros((count, *shape))
        elif len(shape) == 2 and (name == "orthogonal" or axes[0] == of_h):
            drawn = orthogonal(rng, (count, *shape))
        else:
            drawn = np.stack([glorot(rng, shape) for _ in range(count)])
        for i, block in enumerate(drawn):
            blocks[..., i, :] = block
