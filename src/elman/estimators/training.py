"""What the estimators of sequences share: their parameters, the network made of them, training, running.

    x -> (x - mean) / deviation -> dropout -> recurrent layers, dropout between -> pool over time -> dropout -> Dense

The pool stands only where a sequence has one answer; a tagger has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array, ShapeError
from elman.estimators import stack
from elman.estimators.deployment import chain, scaling
from elman.estimators.extra import BaseEstimator, StandardScaler, check_is_fitted, random_generator, train_test_split
from elman.estimators.features import check_rows
from elman.estimators.files import Fitted
from elman.estimators.inputs import InputForm, Inputs, names_of, place, read_inputs
from elman.estimators.permutation import Importance, Repeats, of_sequences
from elman.estimators.scaling import standard_scaler
from elman.layers import Activate, Dense, Dropout, Embedding, LastStep, Layer, MaxOverTime, MeanOverTime
from elman.layers.pointwise import dropout_rate
from elman.network import Network
from elman.sequences import Layout, Sequences
from elman.streaming import Stream
from elman.tables.columns import Columns
from elman.tables.frames import to_numpy
from elman.tables.places import check_finite, entries, is_collection, real_numbers, words
from elman.training import CosineSchedule, History, fit

POOLS: dict[str, Callable[..., Layer]] = {"max": MaxOverTime, "mean": MeanOverTime, "last": LastStep}
STEPS_PER_PREDICTION = 1 << 14  #: steps computed at a time in prediction, so that its memory does not grow with X


class SequenceEstimator(Fitted, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """The base of `SequenceClassifier`, `SequenceRegressor` and `SequenceTagger`, which say what y is.

    The arguments of the class are kept as they are, as scikit-learn wants it, and checked by `fit`.
    """

    network_: Network
    history_: History
    scaler_: StandardScaler | None
    n_features_in_: int
    feature_names_in_: Array
    tokens_: Array | None
    _form: InputForm
    _columns: Columns | None
    _read_as: str
    cell: str
    hidden: Any
    embedding: int | None
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
    log: Any
    after_epoch: Any
    progress: bool
    random_state: Any

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.required = True
        return tags

    def _ending(self) -> Layer:
        """What makes of the outputs of `network_` what users are told."""
        return Activate("softmax")

    def _network(self) -> Network:
        scaler, dtype = self.scaler_, checks.float_dtype(self.network_.dtype)
        before = [] if scaler is None else scaling(scaler.mean_, scaler.scale_, dtype, self._names)
        return chain(self.network_, before, [self._ending()])

    @property
    def _names(self) -> list[str]:
        """What errors call each feature."""
        columns = self._columns if self._form == "list" else None
        return names_of(columns, self.network_.input_size or 1)

    def stream(self, batch: int | None = None, missing: str = "pass") -> Stream:
        """`to_network` one step at a time: what `predict_proba` (of a regressor `predict`) gives of the steps so far.

        The arguments are those of `elman.Network.stream`, and so are errors: a stream asks for ``bidirectional=False``
        and a pool that can go step by step.

        >>> import numpy as np, elman
        >>> X = np.random.default_rng(0).normal(50, 10, size=(30, 6, 2))
        >>> settings = {"hidden": 4, "bidirectional": False, "pool": "last", "epochs": 3, "random_state": 0}
        >>> classifier = elman.SequenceClassifier(**settings).fit(X, X[:, -1, 0] > 50)
        >>> stream = classifier.stream()
        >>> steps = [stream.step(x) for x in X[0]]  # the probabilities after each step
        >>> bool(np.allclose(steps[-1], classifier.predict_proba(X[:1])[0], atol=1e-6))
        True
        """
        return self.to_network().stream(batch, missing)

    def _judge(self, inputs: Inputs, y: Any, sample_weight: Any) -> float:
        """The score of sequences that are read already."""
        raise NotImplementedError

    def importance(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        repeats: int = 5,
        parts: int | None = 5,
        random_state: Any = None,
        progress: bool = False,
    ) -> Importance:
        """What the score loses where a feature, or a part of the sequences, says nothing any more.

        Each sequence is given the values that another one has of a feature, or of all features in a part of its steps;
        where the other one is shorter, it begins again. So every value is one that comes, and only what goes together
        is broken. What two features tell alike is told by the other one still: both may then seem to be worth little.

        Parameters
        ----------
        X, y, sample_weight
            As for `score`; not those of the training, for what a network has learned by heart counts there.
        repeats
            How often sequences are drawn for each feature and part: as many predictions of all X.
        parts
            Equal parts of each sequence, by its own length; None for features alone.
        random_state
            As in the estimator.
        progress
            Shows how it goes on stderr.

        Returns
        -------
        importance
            With `features`, name -> (mean, deviation) of the loss of score over the repeats, `parts`, the same for
            "0-20 %" and so on, `score`, and ``plot(parts=False)``. The names are those of columns, where X has such, a
            category being one feature; else "feature 0" and so on, or "tokens".

        >>> import numpy as np, elman
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(160, 8, 2))
        >>> y = X[:, :, 0].sum(axis=1) > 0  # the second feature says nothing
        >>> settings = {"hidden": 8, "epochs": 40, "dropout": 0.0, "random_state": 0}
        >>> classifier = elman.SequenceClassifier(**settings).fit(X[:100], y[:100])
        >>> found = classifier.importance(X[100:], y[100:], random_state=0)
        >>> found.features["feature 0"].mean > 0.2, abs(found.features["feature 1"].mean) < 0.1
        (True, True)
        """
        settings = Repeats.read(repeats, random_state, progress)
        inputs = self._read_again(X, y)
        return of_sequences(inputs, lambda changed: self._judge(changed, y, sample_weight), parts, settings)

    def _outputs(self) -> int:
        """How many values the network gives for a sequence, or for a step."""
        raise NotImplementedError

    def _facts(self) -> Iterator[tuple[str, Any, Any]]:
        net, scaler, columns = self.network_, self.scaler_, self._columns
        yield "the outputs of network_", net.output_size, self._outputs()
        yield "the tokens of network_", net.tokens, None if self.tokens_ is None else len(self.tokens_)
        if scaler is not None:
            yield "the features of scaler_", scaler.n_features_in_, net.input_size
        if columns is not None:
            yield "n_features_in_", self.n_features_in_, len(columns.columns)
            yield "the features of network_", net.input_size, columns.width if self._form == "list" else 1

    @property
    def read_as(self) -> str:
        """How `fit` read X, in words: "120 sequences of 8 to 15 steps, 2 features"."""
        check_is_fitted(self)
        return str(self._read_as)

    def _read(self, X: Any, y: Any) -> Inputs:
        """The sequences of fit, once the arguments of the class are known to be right."""
        if y is None:
            raise ValueError(f"This {type(self).__name__} requires y to be passed, but the target y is None.")
        self._check_arguments()
        inputs = read_inputs(self, X, reset=True)
        check_rows("y", y, inputs.indexes)
        return inputs

    def _check_arguments(self) -> None:
        checks.choice("cell", self.cell, stack.CELLS)
        if self.pool is not None:
            checks.choice("pool", self.pool, POOLS)
        stack.sizes(self.hidden)
        if self.embedding is not None:
            checks.size("embedding", self.embedding)
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

    def _build(self, inputs: Inputs, outputs: int, seeds: Iterator[int]) -> Network:
        """A new network from the steps of these sequences to `outputs` values."""
        dtype = str(checks.float_dtype(self.dtype))
        options: dict[str, Any] = {"bidirectional": bool(self.bidirectional), "dtype": dtype}
        if self.recurrent_dropout:
            options["recurrent_dropout"] = self.recurrent_dropout
        layers: list[Layer] = []
        tokens = inputs.kept["tokens_"]
        features = inputs.features
        if tokens is not None:
            features = checks.size("embedding", self.embedding)
            layers.append(Embedding(len(tokens), features, dtype=dtype, seed=next(seeds)))
        if self.input_dropout:
            layers.append(Dropout(self.input_dropout))
        recurrent, width = stack.recurrent_layers(
            self.cell, features, stack.sizes(self.hidden), seeds, self.dropout, **options
        )
        layers += recurrent
        if self.pool is not None:
            both = {"bidirectional": True} if self.pool == "last" and self.bidirectional else {}
            layers.append(POOLS[self.pool](**both))
        if self.dropout:
            layers.append(Dropout(self.dropout))
        layers.append(Dense(width, outputs, seed=next(seeds), dtype=dtype))
        return Network(layers)

    def _train(
        self, inputs: Inputs, y: Any, outputs: int, loss: str, sample_weight: Any, weights: Any, classes: Any = None
    ) -> None:
        """Trains a new network to give the targets `y`, one entry per sequence, and keeps it.

        `sample_weight` (n,) or None counts each sequence in the standardization, `weights` each target in the loss:
        (n,), or a list of (time_i,). `classes` (n,) are kept in proportion where a part is set aside for validation.
        """
        rng = random_generator(self.random_state, self.checkpoint)
        network = self._build(inputs, outputs, stack.draw_seeds(rng))
        train = np.arange(len(inputs)) if sample_weight is None else np.flatnonzero(sample_weight)
        held_out = None
        if self.patience is not None:
            train, held_out = self._set_aside(train, classes, rng)
        scaler = None
        if self.standardize and inputs.kept["tokens_"] is None:
            counts = None if sample_weight is None else np.repeat(sample_weight[train], inputs.lengths[train])
            scaler = standard_scaler(np.concatenate(inputs.take(train).parts), counts)
        options: dict[str, Any] = {"sample_weight": _take(weights, train), "truncate": self.truncate}
        if held_out is not None:
            x = self._sequences(inputs, scaler, held_out)
            options |= {"validation": (x, _take(y, held_out)), "patience": self.patience}
        history = fit(
            network,
            self._sequences(inputs, scaler, train),
            _take(y, train),
            loss=loss,
            optimizer=stack.adam(self.learning_rate, self.weight_decay, CosineSchedule),
            epochs=self.epochs,
            batch_size=self.batch_size,
            clip_norm=self.clip_norm,
            checkpoint=self.checkpoint,
            log=self.log,
            after_epoch=self.after_epoch,
            seed=next(stack.draw_seeds(rng)),
            progress=bool(self.progress),
            **options,
        )
        self.__dict__.pop("feature_names_in_", None)  # of a fit before
        self.__dict__.update(inputs.kept, _read_as=inputs.described)
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
        train, held_out = train_test_split(indices, test_size=count, random_state=rng, stratify=strata)
        return np.sort(train), np.sort(held_out)

    def _scaled(self, parts: list[Array], scaler: Any, names: list[str], start: int = 0) -> Array:
        """Sequences as the network takes them, one after another, (N, features); the first is number `start` of X."""
        rows, dtype = np.concatenate(parts), checks.float_dtype(self.dtype)
        if rows.ndim == 1:  # tokens
            return rows
        with np.errstate(over="ignore"):
            scaled = rows if scaler is None else (rows - scaler.mean_) / scaler.scale_
            scaled = scaled.astype(dtype, copy=False)
        if not np.isfinite(scaled).all():
            row, feature = checks.first(~np.isfinite(scaled))
            after = "" if scaler is None else ", in the deviations of fit"
            raise ValueError(
                f"X must be at most {np.finfo(dtype).max:.1e} in size{after}, for {dtype}. "
                f"Got {float(rows[row, feature])} at {place(parts, start, row)}, {names[feature]}."
            )
        return scaled

    def _sequences(self, inputs: Inputs, scaler: Any, indices: Array) -> list[Array]:
        """The chosen sequences, scaled."""
        every = self._scaled(inputs.parts, scaler, inputs.names)
        parts = np.split(every, np.cumsum(inputs.lengths)[:-1])
        return [parts[i] for i in indices]

    def _read_again(self, X: Any, y: Any = None) -> Inputs:
        """The sequences of a prediction, and of a score against y."""
        check_is_fitted(self)
        inputs = read_inputs(self, X, reset=False)
        check_rows("y", y, inputs.indexes)
        return inputs

    def _run(self, inputs: Inputs) -> Array:
        """What the network gives for each sequence, (n, outputs), or for each step, (N, outputs), float64."""
        results = []
        start = 0
        for parts in inputs.chunks(STEPS_PER_PREDICTION):
            lengths = np.array([len(part) for part in parts], np.int64)
            x = Sequences(self._scaled(parts, self.scaler_, inputs.names, start), Layout(lengths, len(parts), "list"))
            y, _, _ = self.network_.run(x, None, None, keep=False)
            if not np.isfinite(y.values).all():
                row, _ = checks.first(~np.isfinite(y.values))
                at = f"sequence {start + row}" if y.layout.lengths is None else place(parts, start, row)
                raise ValueError(
                    f"network_ must give finite numbers. Got others at {at}: the numbers of X or of its weights are "
                    "too large; a lower learning_rate or clip_norm keeps weights small."
                )
            results.append(y.values.astype(np.float64))
            start += len(parts)
        return np.concatenate(results)


def read_weight(sample_weight: Any, inputs: Inputs) -> Array | None:
    """(n,) finite weights from 0 up, not all 0; None where none are given."""
    if sample_weight is None:
        return None
    check_rows("sample_weight", sample_weight, inputs.indexes)
    weight, count = to_numpy(sample_weight), len(inputs)
    nested = isinstance(weight, (list, tuple)) and any(is_collection(part) for part in weight)
    weight = weight if nested or not is_collection(weight) else entries("sample_weight", weight)
    if nested or checks.rank(weight) != 1:
        got = "one entry per step in a list" if nested else checks.describe(weight)
        raise ShapeError(
            f"sample_weight must have shape ({count},), one number per sequence; weights of steps are not supported "
            f"here. Got {got}."
        )
    where = words("sequence")
    weight = real_numbers("sample_weight", weight, where).astype(np.float64)
    checks.shape("sample_weight", weight, (count,))
    check_finite("sample_weight", weight, where)
    if (weight < 0).any():
        at = checks.first(weight < 0)
        raise ValueError(f"sample_weight must hold numbers from 0 up. Got {weight[at]} at {where(at)}.")
    if not weight.any():
        raise ValueError("sample_weight must be over 0 for at least one sequence. Got weights that are all zero.")
    return weight


def _take(values: Any, indices: Array) -> Any:
    """The chosen entries of an array or a list; None stays None."""
    return [values[i] for i in indices] if isinstance(values, list) else None if values is None else values[indices]
