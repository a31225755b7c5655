"""One label per sequence."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Self

from elman.cells.functions import softmax
from elman.checks import Array
from elman.estimators import labels
from elman.estimators.extra import ClassifierMixin, accuracy_score
from elman.estimators.inputs import Inputs
from elman.estimators.training import SequenceEstimator, read_weight
from elman.tables.places import words
from elman.training.checkpoints import Checkpoint
from elman.training.history import Epoch
from elman.training.schedules import Schedule


class SequenceClassifier(ClassifierMixin, SequenceEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Tells the class of a sequence, in scikit-learn's manner.

    Parameters
    ----------
    cell
        "gru", "lstm" or "rnn".
    hidden
        Units of each recurrent layer, from the first on; a number for one layer.
    embedding
        With a number, X holds tokens, whole numbers or text: sequences (time_i,) or an array (n, time). Each token has
        a vector of so many numbers, learned with the rest. Without it X holds numbers.
    bidirectional
        Whether the layers read every sequence from its end too.
    pool
        How the outputs of all steps become one vector: "max" over time, "mean" over time, or the "last" that each
        direction computed, at the end of the sequence and, of the direction that reads it backwards, at its beginning.
    input_dropout
        The share of input values, after standardization, set to 0 in training.
    dropout
        The share of values set to 0 in training, between recurrent layers and before the output.
    recurrent_dropout
        The share of hidden units that a layer does not see of its own last step, the same all along a sequence.
    learning_rate
        Of Adam. A number falls to 0 over the run in half a cosine; a schedule such as `elman.LinearSchedule` goes its
        own way.
    epochs, batch_size
        Rounds over the data, and sequences per update.
    patience, validation_fraction
        With patience, this share of the sequences is set aside, and training stops after so many epochs without a
        lower loss on it; the weights are those of the best epoch. None trains all epochs on all sequences, which is
        the better use of small data.
    class_weight
        {class: weight}, or "balanced" for weights in inverse proportion to how often a class comes.
    clip_norm
        Limit for the norm of all gradients together, None for none.
    weight_decay
        With a number over 0 the optimizer is `elman.AdamW`.
    standardize
        Whether each feature is brought to mean 0 and deviation 1, both taken over all steps of the training data.
    dtype
        "float32" or "float64".
    checkpoint
        A path, or an `elman.Checkpoint`: the run is kept there, and goes on from there when it was interrupted; see
        `elman.fit`. One for each fit: leave it out in a search. It needs a `random_state`.
    log
        A path: the history as JSON lines, one per epoch, written as the run goes; see `elman.History.read`.
    after_epoch
        A function that is called after every epoch, and can stop the training; see `elman.fit`.
    progress
        Shows how training goes on stderr.
    random_state
        A number makes fit repeatable, bit by bit; also a `numpy.random.RandomState`, or None.

    Attributes
    ----------
    classes_
        (classes,): the labels, sorted.
    network_
        The trained `elman.Network`, from standardized features to one score per class. It can be saved, streamed and
        looked into.
    scaler_
        The `sklearn.preprocessing.StandardScaler` of the features, None without `standardize`.
    history_
        The `elman.History` of the training.
    n_features_in_, feature_names_in_
        Features a step, or columns of frames, and the labels of these; for a table its columns, which are steps.
    tokens_
        The tokens of fit, sorted, where there is an `embedding`; `network_` takes their places in it. None without.
    read_as
        How `fit` read X, in words.

    Notes
    -----
    X is a list of sequences (time_i, features) or (time_i,), arrays or frames of pandas, polars or Arrow; or an array
    (n, time, features); or a table (n, time), whose rows are sequences of one feature. Sequences of unequal length are
    the usual case, and nothing is padded. Of a table scikit-learn's rules hold: the number of columns must be the same
    at prediction. Lists, arrays and tables go through `cross_val_score`, `GridSearchCV` and pipelines.
    An estimator fitted on a list or on (n, time, features) refuses one bare (time, features): pass ``[x]``.

    Columns of frames in a list are found by their labels, in any order: `feature_names_in_` has those of fit. They hold
    numbers, truth values, or categories, which become one feature per category. A table in which something tells that
    its rows are steps (an id, a time, text, names that are not those of steps, an index of dates) is asked about. See
    docs/tables.md.

    A `UserWarning` names columns that look like an id (constant in every sequence, with three values or more) or a time
    (counting up in equal steps in every sequence): training takes them as features.

    Raises, before any training, `ShapeError`, `DtypeError`, `TypeError` or `ValueError` where an argument, X or y does
    not fit; the message says where the first wrong value stands.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.normal(size=(n, 1)) for n in rng.integers(4, 13, size=120)]
    >>> y = ["over" if part.sum() > 0 else "under" for part in X]  # what does the sequence sum to?
    >>> classifier = SequenceClassifier(hidden=16, epochs=20, random_state=0).fit(X[:90], y[:90])
    >>> classifier.classes_
    array(['over', 'under'], dtype='<U5')
    >>> classifier.score(X[90:], y[90:]) > 0.8
    True
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
        pool: str = "max",
        input_dropout: float = 0.1,
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
        checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
        log: str | os.PathLike[str] | None = None,
        after_epoch: Callable[[Epoch], object] | None = None,
        progress: bool = False,
        random_state: Any = None,
    ) -> None:
        self._keep(locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Trains on sequences X and their labels y (n,), strings or numbers; `sample_weight` (n,) counts sequences."""
        inputs = self._read(X, y)
        targets = labels.read(y, len(inputs))
        weight = read_weight(sample_weight, inputs)
        classes, codes = labels.encode(targets, words("sequence"), weight)
        weights = labels.product(weight, labels.weigh(self.class_weight, classes, classes[codes]))
        self._train(inputs, codes, len(classes), "cross_entropy", weight, weights, classes=codes)
        self.classes_ = classes
        return self

    def _outputs(self) -> int:
        return len(self.classes_)

    def predict_proba(self, X: Any) -> Array:
        """(n, classes): the probability of each class, in the order of `classes_`."""
        return softmax(self._run(self._read_again(X)), axis=-1)

    def predict(self, X: Any) -> Array:
        """(n,): the most probable label of each sequence."""
        return self._tell(self._read_again(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of sequences whose label is told right. A label that fit has not seen counts as an error."""
        return self._judge(self._read_again(X, y), y, sample_weight)

    def _judge(self, inputs: Inputs, y: Any, sample_weight: Any) -> float:
        targets = labels.read(y, len(inputs))
        targets = labels.check(targets, words("sequence"), self.classes_)
        weight = read_weight(sample_weight, inputs)
        return float(accuracy_score(targets, self._tell(inputs), sample_weight=weight))

    def _tell(self, inputs: Inputs) -> Array:
        return self.classes_[self._run(inputs).argmax(axis=1)]
