"""What comes out of a network beside what came: values, scores or probabilities, and the loss at each step.

A token network that gives a score for each token tells the next one. Of labels the loss is -log p of what came, of
numbers the squared error, its mean over the outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from elman import checks
from elman.cells.functions import softmax
from elman.checks import Array, ShapeError
from elman.insight.page.one import read_names
from elman.training import CrossEntropy, SquaredError


class Outcome:
    """The output y of one sequence, (steps, width) or (width,), with the target, where there is one."""

    def __init__(self, y: Array, x: Array | None, tokens: int | None, target: Any = None) -> None:
        self.vector, self.rows = y.ndim == 1, np.atleast_2d(y).astype(np.float64)
        steps, width = self.rows.shape
        self.follows = x is not None and x.ndim == 1 and tokens == width and not self.vector
        given = [*x[1:].tolist(), None] if x is not None and target is None and self.follows else target
        self.target = None if given is None else read_target(given, self.rows.shape, self.vector)
        sums = width > 1 and self.rows.min() >= 0 and np.allclose(self.rows.sum(-1), 1, atol=1e-4)
        told = self.follows or isinstance(self.target, list)
        self.kind = "probabilities" if sums else "logits" if told else "values"

    def _labeled(self) -> tuple[Array, Array, Array]:
        """The steps at which a label came, the scores there, and the labels."""
        labels: Any = self.target
        steps = np.array([t for t, label in enumerate(labels) if label is not None], np.int64)
        rows = self.rows[steps]
        scores = np.log(np.maximum(rows, 1e-300)) if self.kind == "probabilities" else rows
        return steps, scores, np.array([labels[t] for t in steps], np.int64)

    def probabilities(self) -> Array:
        """(steps, width), those of scores by their softmax."""
        return softmax(self.rows) if self.kind == "logits" else self.rows

    def losses(self) -> list[float | None] | None:
        """The loss at each step, None where nothing came."""
        if self.target is None:
            return None
        if not isinstance(self.target, list):
            return [float(loss) for loss in SquaredError()(self.rows, self.target)]
        steps, scores, labels = self._labeled()
        found = dict(zip(steps.tolist(), CrossEntropy()(scores, labels).tolist(), strict=True)) if len(steps) else {}
        return [found.get(t) for t in range(len(self.rows))]

    def gradient(self) -> Array:
        """The gradient by y of the mean loss; without a target that of the largest output at the last step."""
        dy = np.zeros_like(self.rows)
        if self.target is None:
            dy[-1, self.rows[-1].argmax()] = 1
        elif not isinstance(self.target, list):
            dy = SquaredError().derivative(self.rows, self.target) / len(dy)
        else:
            steps, scores, labels = self._labeled()
            if len(steps):
                dy[steps] = CrossEntropy().derivative(scores, labels) / len(steps)
            if self.kind == "probabilities":
                dy /= np.maximum(self.rows, 1e-300)
        return dy[0] if self.vector else dy


def read_target(target: Any, shape: tuple[int, ...], vector: bool) -> list[int | None] | Array:
    """Labels, one per step or None, or numbers in the shape of the output."""
    steps, width = shape
    given = [target] if vector and np.ndim(target) == 0 else target
    try:
        labels = [None if one is None else int(one) for one in given]
        whole = all(a is None or a == b for a, b in zip(labels, given, strict=True))
    except (TypeError, ValueError):
        labels, whole = [], False
    if whole and width > 1 and len(labels) == steps and all(k is None or 0 <= k < width for k in labels):
        return labels
    array = checks.real_array("target", given, np.float64)
    if array.shape not in (shape, (width,) if vector else shape, (steps,) if width == 1 else shape):
        wanted = f"{steps} labels from 0 to {width - 1}, or numbers of shape {shape}"
        raise ShapeError(f"target must have {wanted}. Got {checks.describe(target)}.")
    return array.reshape(shape)


def read_labels(labels: Any, width: int, entries: list[str] | None, x: Array | None) -> list[str]:
    """What the outputs are called: as given, by the tokens that the text shows, or by their places."""
    if labels is not None:
        return read_names("labels", labels, width, "output")
    known = {} if entries is None or x is None else {int(token): entry for token, entry in zip(x, entries, strict=True)}
    return [known.get(k, f"y{k}" if entries is None else f"token {k}") for k in range(width)]
