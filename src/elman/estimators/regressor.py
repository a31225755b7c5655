"""One number per sequence, or several."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from elman import checks
from elman.checks import Array, ShapeError
from elman.estimators.deployment import unscaling
from elman.estimators.extra import RegressorMixin, StandardScaler, r2_score
from elman.estimators.inputs import Inputs
from elman.estimators.labels import check_count
from elman.estimators.scaling import standard_scaler
from elman.estimators.training import SequenceEstimator, read_weight
from elman.layers import Layer
from elman.tables.frames import to_numpy
from elman.tables.places import check_finite, is_collection, real_numbers, show, words
from elman.training.checkpoints import Checkpoint
from elman.training.history import Epoch
from elman.training.schedules import Schedule

_LOSSES = ("squared_error", "absolute_error", "huber")


class SequenceRegressor(RegressorMixin, SequenceEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Tells a number of a sequence, or several, in scikit-learn's manner.

    y is (n,), or (n, values); it is standardized for training, and predictions come in its own units. `loss` is
    "squared_error", "absolute_error" or "huber", taken on standardized values. The other arguments, and X, are those
    of `elman.SequenceClassifier`, and so are the attributes but `classes_`; `target_scaler_` is the
    `sklearn.preprocessing.StandardScaler` of y.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.normal(size=(n, 2)) for n in rng.integers(4, 13, size=120)]
    >>> y = [100 + part[:, 0].max() for part in X]
    >>> regressor = SequenceRegressor(hidden=16, epochs=30, random_state=0).fit(X[:90], y[:90])
    >>> regressor.predict(X[90:]).shape
    (30,)
    >>> regressor.score(X[90:], y[90:]) > 0.7  # R squared
    True
    """

    loss: str
    target_scaler_: StandardScaler
    _one_number: bool

    def __init__(
        self,
        cell: str = "gru",
        hidden: int | tuple[int, ...] = (64,),
        *,
        embedding: int | None = None,
        bidirectional: bool = True,
        pool: str = "max",
        loss: str = "squared_error",
        input_dropout: float = 0.0,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        learning_rate: float | Schedule = 5e-3,
        epochs: int = 100,
        batch_size: int = 16,
        patience: int | None = None,
        validation_fraction: float = 0.1,
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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Trains on sequences X and their numbers y, (n,) or (n, values); `sample_weight` (n,) counts sequences."""
        inputs = self._read(X, y)
        loss = checks.choice("loss", self.loss, _LOSSES)
        targets = _read_targets(y, inputs)
        weight = read_weight(sample_weight, inputs)
        columns = targets.reshape(len(targets), -1)
        scaler = standard_scaler(columns, weight, own=True)  # so that a constant is told alike in any unit
        self._train(inputs, (columns - scaler.mean_) / scaler.scale_, columns.shape[1], loss, weight, weight)
        self.target_scaler_, self._one_number = scaler, targets.ndim == 1
        return self

    def _ending(self) -> Layer:
        scaler = self.target_scaler_
        return unscaling(scaler.mean_, scaler.scale_, checks.float_dtype(self.network_.dtype))

    def _outputs(self) -> int:
        return int(self.target_scaler_.n_features_in_)

    def predict(self, X: Any) -> Array:
        """(n,) or (n, values), as y was in fit: float64, in the units of y."""
        return self._tell(self._read_again(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R squared: 1 where all is told right, 0 for the mean of y; the mean over the values where y has several."""
        return self._judge(self._read_again(X, y), y, sample_weight)

    def _judge(self, inputs: Inputs, y: Any, sample_weight: Any) -> float:
        told, targets = self._tell(inputs), _read_targets(y, inputs)
        if targets.reshape(len(targets), -1).shape[1] != told.reshape(len(told), -1).shape[1]:
            raise ShapeError(f"y must have shape {told.shape}, as in fit. Got {targets.shape}.")
        return float(r2_score(targets, told, sample_weight=read_weight(sample_weight, inputs)))

    def _tell(self, inputs: Inputs) -> Array:
        values = self._run(inputs) * self.target_scaler_.scale_ + self.target_scaler_.mean_
        return values[:, 0] if self._one_number else values


def _read_targets(y: Any, inputs: Inputs) -> Array:
    """One number per sequence, or several: (n,) or (n, values) finite numbers."""
    where = words("sequence", "value")
    y = to_numpy(y)
    if not is_collection(y):
        raise ShapeError(f"y must hold a number for each of {len(inputs)} sequences. Got {show(y)}.")
    targets = np.ascontiguousarray(real_numbers("y", y, where), np.float64)
    if targets.ndim not in (1, 2):
        raise ShapeError(f"y must have shape (n,) or (n, values). Got {targets.shape}.")
    check_count(targets, len(inputs))
    check_finite("y", targets, where)
    return targets
