"""One label per step."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from elman.cells.functions import softmax
from elman.checks import Array, ShapeError
from elman.estimators import labels
from elman.estimators.extra import accuracy_score
from elman.estimators.inputs import Inputs, place
from elman.estimators.training import SequenceEstimator, read_weight
from elman.tables.frames import to_numpy
from elman.tables.places import Where, entries, has, is_collection, listed, show
from elman.training.checkpoints import Checkpoint
from elman.training.history import Epoch
from elman.training.schedules import Schedule


class SequenceTagger(SequenceEstimator):
    """Tells a label for every step of a sequence, in scikit-learn's manner.

    y is a list of (time_i,) labels, strings or numbers, or (n, time) where X is an array or a table. Predictions come
    in the form of X: a list of arrays, or an array (n, time).

    `truncate` is k or (k1, k2): truncated backpropagation for long sequences, an update every k1 steps through the
    last k2; it needs ``bidirectional=False``. There is no pool. The other arguments, X and the attributes are those of
    `elman.SequenceClassifier`; `class_weight` counts steps.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.normal(size=(n, 1)) for n in rng.integers(4, 13, size=120)]
    >>> y = [np.where(np.diff(part[:, 0], prepend=0) > 0, "up", "down") for part in X]
    >>> tagger = SequenceTagger(hidden=16, epochs=20, random_state=0).fit(X[:90], y[:90])
    >>> tagger.score(X[90:], y[90:]) > 0.9
    True
    >>> [tags.shape for tags in tagger.predict([np.zeros((3, 1)), np.zeros((5, 1))])]
    [(3,), (5,)]
    """

    class_weight: Any
    classes_: Array

    def __init__(
        self,
        cell: str = "gru",
        hidden: int | tuple[int, ...] = (64,),
        *,
        embedding: int | None = None,
        bidirectional: bool = True,
        input_dropout: float = 0.0,
        dropout: float = 0.5,
        recurrent_dropout: float = 0.0,
        learning_rate: float | Schedule = 5e-3,
        epochs: int = 100,
        batch_size: int = 16,
        patience: int | None = None,
        validation_fraction: float = 0.1,
        class_weight: Any = None,
        clip_norm: float | None = 1.0,
        weight_decay: float = 0.0,
        standardize: bool = True,
        dtype: Any = "float32",
        truncate: int | tuple[int, int] | None = None,
        checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
        log: str | os.PathLike[str] | None = None,
        after_epoch: Callable[[Epoch], object] | None = None,
        progress: bool = False,
        random_state: Any = None,
    ) -> None:
        self._keep(locals())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.one_d_labels = False
        tags.target_tags.two_d_labels = True  # and ragged lists, for which scikit-learn has no word
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Trains on sequences X and the labels y of their steps; `sample_weight` (n,) counts sequences."""
        inputs = self._read(X, y)
        tags = _read_tags(y, inputs)
        weight = read_weight(sample_weight, inputs)
        repeated = None if weight is None else np.repeat(weight, inputs.lengths)
        classes, codes = labels.encode(tags, _places(inputs), repeated)
        by_step = labels.product(repeated, labels.weigh(self.class_weight, classes, classes[codes]))
        weights = None if by_step is None else _split(by_step, inputs)
        self._train(inputs, _split(codes, inputs), len(classes), "cross_entropy", weight, weights)
        self.classes_ = classes
        return self

    def _outputs(self) -> int:
        return len(self.classes_)

    def predict_proba(self, X: Any) -> Any:
        """The probability of each class at each step: a list of (time_i, classes), or (n, time, classes)."""
        inputs = self._read_again(X)
        return _in_form(softmax(self._run(inputs), axis=-1), inputs)

    def predict(self, X: Any) -> Any:
        """The most probable label of each step: a list of (time_i,), or (n, time)."""
        inputs = self._read_again(X)
        scores = self._run(inputs)
        return _in_form(self.classes_[scores.argmax(axis=1)], inputs)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of steps, over all sequences, whose label is told right.

        A label that fit has not seen counts as an error. `sample_weight` (n,) counts the steps of each sequence.
        """
        return self._judge(self._read_again(X, y), y, sample_weight)

    def _judge(self, inputs: Inputs, y: Any, sample_weight: Any) -> float:
        tags = _read_tags(y, inputs)
        tags = labels.check(tags, _places(inputs), self.classes_)
        weight = read_weight(sample_weight, inputs)
        by_step = None if weight is None else np.repeat(weight, inputs.lengths)
        told = self.classes_[self._run(inputs).argmax(axis=1)]
        return float(accuracy_score(tags, told, sample_weight=by_step))


def _read_tags(y: Any, inputs: Inputs) -> Array:
    """The labels of all steps, one sequence after another, (N,)."""
    y = to_numpy(y)
    if is_collection(y) and not has(y, "__len__"):
        y = entries("y", y)
    if not is_collection(y):
        raise ShapeError(f"y must hold the labels of {len(inputs)} sequences. Got {show(y)}.")
    y = listed("y", y)
    labels.check_count(y, len(inputs))
    parts = []
    for i, (value, sequence) in enumerate(zip(y, inputs.parts, strict=True)):
        part = entries(f"y[{i}]", to_numpy(value))
        if part.shape != (len(sequence),):
            got, hint = part.shape if part.ndim else show(value), labels.one_hot(f"y[{i}]", part)
            raise ShapeError(
                f"y[{i}] must have shape ({len(sequence)},), one label per step of X[{i}]. Got {got}.{hint}"
            )
        parts.append(part)
    kinds = {part.dtype.kind for part in parts}
    alike = kinds <= set("biuf") or kinds <= set("US")
    return np.concatenate(parts if alike else [part.astype(object) for part in parts])


def _places(inputs: Inputs) -> Where:
    return lambda index: place(inputs.parts, 0, index[0])


def _split(values: Array, inputs: Inputs) -> list[Array]:
    return np.split(values, np.cumsum(inputs.lengths)[:-1])


def _in_form(values: Array, inputs: Inputs) -> Any:
    """Values per step (N, ...) in the form of X."""
    if inputs.form == "list":
        return _split(values, inputs)
    return values.reshape(len(inputs), -1, *values.shape[1:])
