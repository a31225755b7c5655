"""What the estimators of sequences share: their parameters, the network made of them, training, running.

    x -> (x - mean) / deviation -> dropout -> recurrent layers, dropout between -> pool over time -> dropout -> Dense

The pool stands only where a sequence has one answer; a tagger has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array, ShapeError
from elman.estimators import stack
from elman.estimators.extra import BaseEstimator, StandardScaler, check_is_fitted, check_random_state, train_test_split
from elman.estimators.inputs import Inputs, read_inputs, to_numpy
from elman.layers import Dense, Dropout, LastStep, Layer, MaxOverTime, MeanOverTime
from elman.layers.noise import dropout_rate
from elman.network import Network
from elman.sequences import Layout, Sequences
from elman.training import CosineSchedule, History, fit

POOLS: dict[str, Callable[..., Layer]] = {"max": MaxOverTime, "mean": MeanOverTime, "last": LastStep}
STEPS = 1 << 14  #: steps computed at a time in prediction, so that its memory does not grow with X


class SequenceEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """The base of `SequenceClassifier`, `SequenceRegressor` and `SequenceTagger`, which say what y is.

    The arguments of the class are kept as they are, as scikit-learn wants it, and checked by `fit`.
    """

    network_: Network
    history_: History
    scaler_: Any
    n_features_in_: int
    cell: str
    hidden: Any
    bidirectional: bool
    pool: str | None = None
    input_dropout: float
    dropout: float
    recurrent_dropout: float
    learning_rate: Any
    epochs: int
    batch_size: int
    patience: int | None
    validation_fraction: float
    clip_norm: float | None
    weight_decay: float
    standardize: bool
    dtype: Any
    truncate: Any = None
    checkpoint: Any
    progress: bool
    random_state: Any

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.required = True
        return tags

    def _read(self, X: Any, y: Any) -> Inputs:
        """The sequences of fit, once the arguments of the class are known to be right."""
        if y is None:
            raise ValueError(f"This {type(self).__name__} requires y to be passed, but the target y is None.")
        self._check_arguments()
        return read_inputs(self, X, reset=True)

    def _check_arguments(self) -> None:
        checks.choice("cell", self.cell, stack.CELLS)
        if self.pool is not None:
            checks.choice("pool", self.pool, POOLS)
        stack.sizes(self.hidden)
        for name in ("input_dropout", "dropout", "recurrent_dropout"):
            dropout_rate(name, getattr(self, name))
        for name in ("bidirectional", "standardize", "progress"):
            checks.flag(name, getattr(self, name))
        for name in ("epochs", "batch_size"):
            checks.size(name, getattr(self, name))
        if not callable(self.learning_rate):
            checks.number("learning_rate", self.learning_rate, 0, open_low=True)
        checks.number("weight_decay", self.weight_decay, 0)
        if self.patience is not None:
            checks.size("patience", self.patience)
        fraction = checks.number("validation_fraction", self.validation_fraction, 0, 1, open_low=True)
        if fraction == 1:
            raise ValueError("validation_fraction must be under 1. Got 1.")
        if self.clip_norm is not None:
            checks.number("clip_norm", self.clip_norm, 0, open_low=True)
        checks.float_dtype(self.dtype)
        if self.truncate is not None and self.bidirectional:
            raise ValueError("bidirectional must be False where truncate is given. Got True.")

    def _build(self, features: int, outputs: int, seeds: Iterator[int]) -> Network:
        """A new network from `features` a step to `outputs` values."""
        common: dict[str, Any] = {"dtype": str(checks.float_dtype(self.dtype))}
        options: dict[str, Any] = {"bidirectional": bool(self.bidirectional), **common}
        if self.recurrent_dropout:
            options["recurrent_dropout"] = self.recurrent_dropout
        layers: list[Layer] = [Dropout(self.input_dropout, **common)] if self.input_dropout else []
        recurrent, width = stack.recurrent_layers(
            self.cell, features, stack.sizes(self.hidden), seeds, self.dropout, **options
        )
        layers += recurrent
        if self.pool is not None:
            layers.append(POOLS[self.pool](**common))
        if self.dropout:
            layers.append(Dropout(self.dropout, **common))
        layers.append(Dense(width, outputs, seed=next(seeds), **common))
        return Network(layers)

    def _train(
        self, inputs: Inputs, y: Any, outputs: int, loss: str, sample_weight: Any, weights: Any, classes: Any = None
    ) -> None:
        """Trains a new network to give the targets `y`, one entry a sequence, and keeps it.

        `sample_weight` (n,) or None counts each sequence in the standardization, `weights` each target in the loss:
        (n,), or a list of (time_i,). `classes` (n,) are kept in proportion where a part is set aside for validation.
        """
        rng = check_random_state(self.random_state)
        network = self._build(inputs.features, outputs, stack.draw_seeds(rng))
        train = np.arange(len(inputs)) if sample_weight is None else np.flatnonzero(sample_weight)
        judged = None
        if self.patience is not None:
            train, judged = self._set_aside(train, classes, rng)
        scaler = _scaler(inputs.take(train), _take(sample_weight, train)) if self.standardize else None
        options: dict[str, Any] = {}
        if judged is not None:
            x = self._sequences(inputs.take(judged), scaler)
            options |= {"validation": (x, _take(y, judged)), "patience": self.patience}
        if weights is not None:
            options["sample_weight"] = _take(weights, train)
        if self.truncate is not None:
            options["truncate"] = self.truncate
        if self.checkpoint is not None:
            options["checkpoint"] = Path(self.checkpoint)
        history = fit(
            network,
            self._sequences(inputs.take(train), scaler),
            _take(y, train),
            loss=loss,
            optimizer=stack.adam(self.learning_rate, self.weight_decay, CosineSchedule),
            epochs=self.epochs,
            batch_size=self.batch_size,
            clip_norm=self.clip_norm,
            seed=next(stack.draw_seeds(rng)),
            progress=bool(self.progress),
            **options,
        )
        self.network_, self.scaler_, self.history_ = network, scaler, history

    def _set_aside(self, indices: Array, classes: Any, rng: np.random.RandomState) -> tuple[Array, Array]:
        """The sequences to train on, and those on which early stopping judges."""
        count = round(len(indices) * self.validation_fraction)
        strata = None
        if classes is not None:
            sizes = np.unique(classes[indices], return_counts=True)[1]
            if sizes.min() >= 2 and len(sizes) <= min(count, len(indices) - count):
                strata = classes[indices]
        if not 0 < count < len(indices):
            raise ValueError(
                f"validation_fraction must leave sequences on both sides. Got {self.validation_fraction} of "
                f"{len(indices)} sequences, which is {count}."
            )
        train, judged = train_test_split(indices, test_size=count, random_state=rng, stratify=strata)
        return np.sort(train), np.sort(judged)

    def _scaled(self, rows: Array, scaler: Any) -> Array:
        """Rows (N, features) as the network takes them."""
        if scaler is not None:
            rows = (rows - scaler.mean_) / scaler.scale_
        with np.errstate(over="ignore"):  # what is too large for float32 is refused by fit
            return rows.astype(checks.float_dtype(self.dtype), copy=False)

    def _sequences(self, inputs: Inputs, scaler: Any) -> list[Array]:
        return np.split(self._scaled(np.concatenate(inputs.parts), scaler), np.cumsum(inputs.lengths)[:-1])

    def _read_again(self, X: Any) -> Inputs:
        """The sequences of a prediction."""
        check_is_fitted(self)
        return read_inputs(self, X, reset=False)

    def _run(self, inputs: Inputs) -> Array:
        """What the network gives for each sequence, (n, outputs), or for each step, (N, outputs), float64."""
        results = []
        for parts in inputs.chunks(STEPS):
            lengths = np.array([len(part) for part in parts], np.int64)
            x = Sequences(self._scaled(np.concatenate(parts), self.scaler_), Layout(lengths, len(parts), "list"))
            y, _, _ = self.network_._run(x, None, None, keep=False)
            results.append(y.values.astype(np.float64))
        return np.concatenate(results)


def read_weight(sample_weight: Any, count: int) -> Array | None:
    """(n,) finite weights from 0 up, not all 0; None where none are given."""
    if sample_weight is None:
        return None
    weight = checks.real_array("sample_weight", to_numpy(sample_weight), np.float64)
    checks.shape("sample_weight", weight, (count,))
    wrong = ~(np.isfinite(weight) & (weight >= 0))
    if wrong.any():
        at = int(wrong.argmax())
        raise ValueError(f"sample_weight must hold finite numbers from 0 up. Got {weight[at]} at index {at}.")
    if not weight.any():
        raise ValueError("sample_weight must be over 0 for at least one sequence. Got weights that are all zero.")
    return weight


def check_count(got: int, inputs: Inputs) -> None:
    """Refuses a y that has not one entry a sequence."""
    if got != len(inputs):
        raise ShapeError(f"y must hold {len(inputs)} entries, one a sequence of X. Got {got}.")


def _take(values: Any, indices: Array) -> Any:
    """The chosen entries of an array or a list; None stays None."""
    return [values[i] for i in indices] if isinstance(values, list) else None if values is None else values[indices]


def _scaler(inputs: Inputs, sample_weight: Array | None) -> Any:
    """Mean and deviation of each feature over all steps; constant features have deviation 1."""
    weight = None if sample_weight is None else np.repeat(sample_weight, inputs.lengths)
    return StandardScaler().fit(np.concatenate(inputs.parts).astype(np.float64, order="C"), sample_weight=weight)
