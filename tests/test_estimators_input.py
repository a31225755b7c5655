"""What the estimators refuse and in what words; weights, early stopping, standardization, long runs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.metrics import accuracy_score, r2_score

import elman
from elman.estimators import SequenceClassifier, SequenceRegressor, SequenceTagger

RNG = np.random.default_rng(0)
X = [RNG.normal([0, 5, -2], 1, size=(n, 3)) for n in RNG.integers(2, 9, size=40)]
MEANS = np.array([part[:, 0].mean() for part in X])
Y = np.where(MEANS > 0, "over", "under")
TAGS = [np.where(part[:, 0] > 0, "over", "under") for part in X]
TINY = {"hidden": 5, "epochs": 2, "random_state": 3}
ALL = [(SequenceClassifier, Y), (SequenceRegressor, MEANS), (SequenceTagger, TAGS)]


def check(message, function, error=ValueError):
    """The call raises `error` with exactly `message`."""
    with pytest.raises(error) as caught:
        function()
    assert str(caught.value) == message


def changed(at, part):
    """X with another sequence at one place."""
    return [*X[:at], np.asarray(part), *X[at + 1 :]]


def with_value(at, step, feature, value):
    part = X[at].copy()
    part[step, feature] = value
    return changed(at, part)


@pytest.mark.parametrize(("kind", "y"), ALL)
def test_sequences_that_do_not_fit(kind, y):
    fitted = kind(**TINY).fit(X, y)
    for call in (lambda x: kind(**TINY).fit(x, y), fitted.predict):
        check("X must hold at least one sequence. Got an empty list.", lambda call=call: call([]))
        check(
            "X[3] must have 3 features, as X[0] has. Got (6, 2).", lambda call=call: call(changed(3, np.ones((6, 2))))
        )
        check(
            "X[3] must have at least one step and one feature. Got (0, 3).",
            lambda call=call: call(changed(3, np.ones((0, 3)))),
        )
        check(
            "X must be finite. Got NaN at sequence 4, step 1, feature 2.",
            lambda call=call: call(with_value(4, 1, 2, np.nan)),
        )
        check(
            "X must be finite. Got -inf at sequence 0, step 1, feature 0.",
            lambda call=call: call(with_value(0, 1, 0, -np.inf)),
        )
        check(
            "X[2] must have shape (time, features) or (time,). Got (2, 2, 3).",
            lambda call=call: call(changed(2, np.ones((2, 2, 3)))),
        )
        check(
            "X[1] must hold real numbers. Got 'a' at step 0, feature 0.",
            lambda call=call: call(changed(1, [["a", "b", "c"]])),
            elman.DtypeError,
        )
        with pytest.raises(elman.ShapeError, match=r"X must be a list .*\(40,\)(\. Reshape|: pass \[x\])"):
            call(np.ones(40))
    array = np.ones((4, 5, 3))
    array[2, 1, 0] = np.nan
    check("X must be finite. Got NaN at sequence 2, step 1, feature 0.", lambda: fitted.predict(array))
    check(
        "X must have at least one sequence, one step and one feature. Got (4, 0, 3).",
        lambda: fitted.predict(array[:, :0]),
    )
    check("X must have 3 features per step, as in fit. Got 2.", lambda: fitted.predict([np.ones((4, 2))]))
    check("X must have 3 features per step, as in fit. Got 1.", lambda: fitted.predict([np.ones(6)]))
    with pytest.raises(NotFittedError):
        kind().predict(X)
    with pytest.raises(NotFittedError):
        kind().score(X, y)


@pytest.mark.parametrize(("kind", "y"), ALL)
def test_counts_and_a_missing_y(kind, y):
    check("y must hold 40 entries, one per sequence of X. Got 39.", lambda: kind(**TINY).fit(X, y[:39]))
    check("y must hold 39 entries, one per sequence of X. Got 40.", lambda: kind(**TINY).fit(X[:39], y))
    check(f"This {kind.__name__} requires y to be passed, but the target y is None.", lambda: kind(**TINY).fit(X, None))


def test_labels():
    classifier = SequenceClassifier(**TINY)
    check("y must hold at least 2 classes. Got 1 class, 'a'.", lambda: classifier.fit(X, ["a"] * 40))
    check(
        "y must hold at least 2 classes with a weight over 0. Got 1 class, 'over'.",
        lambda: classifier.fit(X, Y, sample_weight=Y == "over"),
    )
    check(
        "y must have a label for every sequence. Got NaN at sequence 2.",
        lambda: classifier.fit(X, np.where(np.arange(40) == 2, np.nan, 1.0)),
    )
    mixed = np.array([*Y[:39], None], object)
    check("y must have a label for every sequence. Got None at sequence 39.", lambda: classifier.fit(X, mixed))
    mixed[39] = 1.5
    check(
        "y must hold labels of one kind, all strings or all numbers. "
        f"Got {str(Y[0])!r} at sequence 0 and 1.5 at sequence 39.",
        lambda: classifier.fit(X, mixed),
        TypeError,
    )
    with pytest.raises(ValueError, match="y must hold classes, not continuous numbers"):
        classifier.fit(X, MEANS)
    with pytest.warns(DataConversionWarning, match="column-vector"):
        classifier.fit(X, Y[:, None])
    # Labels that fit has not seen are errors at score, as everywhere in scikit-learn.
    classifier = SequenceClassifier(**{**TINY, "epochs": 20}).fit(X, Y)
    unseen = np.where(np.arange(40) < 10, "elsewhere", classifier.predict(X))
    assert classifier.score(X, unseen) == 0.75
    for kind in (str, int, bool):
        labels = np.array([kind(label == "over") for label in Y])
        classifier = SequenceClassifier(**TINY).fit(X, labels)
        assert classifier.predict(X).dtype == labels.dtype
        assert set(classifier.predict(X)) <= set(labels)


def test_numbers():
    regressor = SequenceRegressor(**TINY)
    numbers = np.stack([MEANS, MEANS], axis=1)
    numbers[7, 1] = np.inf
    check("y must be finite. Got inf at sequence 7, value 1.", lambda: regressor.fit(X, numbers))
    numbers[3, 0] = np.nan
    check("y must be finite. Got NaN at sequence 3.", lambda: regressor.fit(X, numbers[:, 0]))
    with pytest.raises(elman.ShapeError, match=r"y must have shape \(n,\) or \(n, values\). Got \(40, 2, 1\)"):
        regressor.fit(X, np.ones((40, 2, 1)))
    check(
        "loss must be one of 'squared_error', 'absolute_error', 'huber'. Got 'hubert'. Did you mean 'huber'?",
        lambda: SequenceRegressor(loss="hubert").fit(X, MEANS),
    )
    for loss in ("squared_error", "absolute_error", "huber"):
        assert np.isfinite(SequenceRegressor(loss=loss, **TINY).fit(X, MEANS).predict(X)).all()


def test_tags():
    short = [*TAGS[:5], TAGS[5][:-1], *TAGS[6:]]
    steps = len(X[5])
    message = f"y[5] must have shape ({steps},), one label per step of X[5]. Got ({steps - 1},)."
    check(message, lambda: SequenceTagger(**TINY).fit(X, short), elman.ShapeError)
    tagger = SequenceTagger(**TINY).fit(X, TAGS)
    check(message, lambda: tagger.score(X, short), elman.ShapeError)
    check("y must hold the labels of 40 sequences. Got 3.", lambda: SequenceTagger(**TINY).fit(X, 3))
    with pytest.raises(elman.ShapeError, match=r"y\[0\] must have shape"):
        SequenceTagger(**TINY).fit(X, Y)
    with pytest.raises(ValueError, match="at least 2 classes"):
        SequenceTagger(**TINY).fit(X, [np.zeros(len(part), int) for part in X])
    told = tagger.predict(X)
    unseen = [np.where(np.arange(len(part)) == 0, "elsewhere", part) for part in told]
    assert tagger.score(X, unseen) == pytest.approx(1 - 40 / sum(map(len, X)))


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"cell": "gruu"}, "cell must be one of 'gru', 'lstm', 'rnn'. Got 'gruu'. Did you mean 'gru'?"),
        ({"pool": "sum"}, "pool must be one of 'max', 'mean', 'last'. Got 'sum'."),
        ({"hidden": 0}, "hidden must be a whole number from 1 up. Got 0."),
        ({"hidden": (8, 2.5)}, "hidden[1] must be a whole number from 1 up. Got 2.5."),
        ({"hidden": ()}, "hidden must hold at least one size. Got ()."),
        ({"dropout": 1.0}, "dropout must be under 1, or nothing is left. Got 1.0."),
        ({"recurrent_dropout": -0.5}, "recurrent_dropout must be a number from 0 up to 1. Got -0.5."),
        ({"learning_rate": 0}, "learning_rate must be a number over 0. Got 0."),
        ({"epochs": 0}, "epochs must be a whole number from 1 up. Got 0."),
        ({"batch_size": 2.0}, "batch_size must be a whole number from 1 up. Got 2.0."),
        ({"patience": 0}, "patience must be a whole number from 1 up. Got 0."),
        ({"validation_fraction": 1}, "validation_fraction must be under 1. Got 1."),
        ({"clip_norm": -1}, "clip_norm must be a number over 0. Got -1."),
        ({"weight_decay": np.nan}, "weight_decay must be a number from 0. Got nan."),
        ({"dtype": "float16"}, "dtype must be 'float32' or 'float64'. Got 'float16'."),
        ({"class_weight": "even"}, "class_weight must be one of 'balanced'. Got 'even'."),
        (
            {"patience": 3, "validation_fraction": 0.001},
            "validation_fraction must leave sequences on both sides. Got 0.001 of 40 sequences, which is 0.",
        ),
    ],
)
def test_arguments(argument, message):
    check(message, lambda: SequenceClassifier(**argument).fit(X, Y))


def test_flags_and_combinations():
    check("standardize must be True or False. Got 1.", lambda: SequenceClassifier(standardize=1).fit(X, Y), TypeError)
    check(
        "class_weight must be 'balanced', a dict {class: weight} or None. Got 3.",
        lambda: SequenceClassifier(class_weight=3).fit(X, Y),
        TypeError,
    )
    check(
        "class_weight must hold finite weights from 0 up. Got -1 for 'over'.",
        lambda: SequenceClassifier(class_weight={"over": -1}).fit(X, Y),
    )
    check(
        "bidirectional must be False where truncate is given. Got True.",
        lambda: SequenceTagger(truncate=3).fit(X, TAGS),
    )


@pytest.mark.parametrize(("kind", "y"), ALL)
def test_bad_weights(kind, y):
    estimator = kind(**TINY)
    check("sample_weight must have shape (40,). Got (39,).", lambda: estimator.fit(X, y, np.ones(39)))
    weights = np.ones(40)
    weights[6] = -2
    check("sample_weight must hold numbers from 0 up. Got -2.0 at sequence 6.", lambda: estimator.fit(X, y, weights))
    check(
        "sample_weight must be over 0 for at least one sequence. Got weights that are all zero.",
        lambda: estimator.fit(X, y, np.zeros(40)),
    )


@pytest.mark.parametrize(("kind", "y"), ALL)
def test_a_weight_is_as_many_copies(kind, y):
    """In one batch of float64, without dropout."""
    settings = {
        "input_dropout": 0.0,
        "dropout": 0.0,
        "dtype": "float64",
        "batch_size": 100,
        "hidden": 4,
        "epochs": 4,
        "random_state": 1,
    }
    count = np.random.default_rng(5).integers(0, 3, size=40)
    many = np.repeat(np.arange(40), count)
    weighted = kind(**settings).fit(X, y, sample_weight=count)
    repeated = kind(**settings).fit([X[i] for i in many], [y[i] for i in many])
    for name, array in weighted.network_.parameters.items():
        np.testing.assert_allclose(array, repeated.network_.parameters[name], rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(weighted.scaler_.mean_, repeated.scaler_.mean_, rtol=1e-12)
    unweighted = kind(**settings).fit(X, y)
    assert not np.allclose(unweighted.network_.parameters["0.Wx"], weighted.network_.parameters["0.Wx"], rtol=1e-5)


def test_class_weights():
    rare = np.where(np.random.default_rng(1).uniform(size=40) < 0.3, "rare", "usual")  # nothing in X tells which
    settings = {
        "hidden": 4,
        "epochs": 12,
        "input_dropout": 0.0,
        "dropout": 0.0,
        "random_state": 1,
        "learning_rate": 0.02,
    }
    heavy = SequenceClassifier(class_weight={"rare": 1000}, **settings).fit(X, rare).predict(X)
    light = SequenceClassifier(class_weight={"rare": 1e-3}, **settings).fit(X, rare).predict(X)
    assert (heavy == "rare").mean() > 0.9
    assert (light == "rare").mean() < 0.1
    counts = {label: 40 / (2 * (rare == label).sum()) for label in ("rare", "usual")}
    balanced, given = (SequenceClassifier(class_weight=w, **settings).fit(X, rare) for w in ("balanced", counts))
    assert (balanced.predict_proba(X) == given.predict_proba(X)).all()
    heavy = SequenceTagger(class_weight={"over": 1000}, **settings).fit(X, TAGS).predict(X)
    assert (np.concatenate(heavy) == "over").mean() > 0.9


def test_scores_take_weights():
    weights = np.random.default_rng(2).uniform(size=40)
    classifier = SequenceClassifier(**TINY).fit(X, Y)
    assert classifier.score(X, Y, weights) == pytest.approx(
        accuracy_score(Y, classifier.predict(X), sample_weight=weights)
    )
    regressor = SequenceRegressor(**TINY).fit(X, MEANS)
    assert regressor.score(X, MEANS, weights) == pytest.approx(
        r2_score(MEANS, regressor.predict(X), sample_weight=weights)
    )
    tagger = SequenceTagger(**TINY).fit(X, TAGS)
    right = np.array([(a == b).sum() for a, b in zip(tagger.predict(X), TAGS, strict=True)])
    lengths = np.array([len(part) for part in X])
    assert tagger.score(X, TAGS, weights) == pytest.approx((right * weights).sum() / (lengths * weights).sum())


@pytest.mark.parametrize(("kind", "y"), ALL)
def test_early_stopping(kind, y):
    settings = {"hidden": 4, "epochs": 200, "patience": 2, "validation_fraction": 0.25, "random_state": 0}
    estimator = kind(learning_rate=0.05, **settings).fit(X, y)
    losses = estimator.history_.validation_loss
    assert len(losses) < 200
    assert estimator.history_.best_epoch == len(losses) - 3
    assert kind(hidden=4, epochs=2).fit(X, y).history_.validation_loss is None


def test_standardization_is_learned_in_fit_and_constants_stay_finite():
    plain = [np.column_stack([part, np.full(len(part), 7.0)]) for part in X]
    moved = [part * [10, 0.01, 1e3, 1] + [1e4, -3, 0, 0] for part in plain]
    settings = {**TINY, "dtype": "float64"}
    first, second = (SequenceClassifier(**settings).fit(x, Y).predict_proba(x) for x in (plain, moved))
    np.testing.assert_allclose(first, second, rtol=1e-7)
    classifier = SequenceClassifier(**settings).fit(plain, Y)
    rows = np.concatenate(plain)
    np.testing.assert_allclose(classifier.scaler_.mean_, rows.mean(axis=0), rtol=1e-12)
    assert classifier.scaler_.scale_[3] == 1
    raw = SequenceClassifier(standardize=False, **settings).fit(plain, Y)
    assert raw.scaler_ is None
    logits, _ = raw.network_(plain)
    np.testing.assert_allclose(raw.predict_proba(plain), elman.softmax(logits), rtol=1e-12)


def test_targets_are_standardized():
    plain = SequenceRegressor(**{**TINY, "dtype": "float64"}).fit(X, MEANS).predict(X)
    moved = SequenceRegressor(**{**TINY, "dtype": "float64"}).fit(X, 1e6 + 1e3 * MEANS).predict(X)
    np.testing.assert_allclose(moved, 1e6 + 1e3 * plain, rtol=1e-9)
    assert SequenceRegressor(**TINY).fit(X, np.full(40, 3.0)).predict(X) == pytest.approx(3, abs=2)
    one, several = (SequenceRegressor(**TINY).fit(X, y).predict(X) for y in (MEANS, MEANS[:, None]))
    assert several.shape == (40, 1)
    assert (several[:, 0] == one).all()


def test_truncated_training_of_a_tagger():
    settings = {**TINY, "bidirectional": False, "input_dropout": 0.0, "dropout": 0.0}
    whole, cut = (SequenceTagger(truncate=k, **settings).fit(X, TAGS) for k in (None, 2))
    assert cut.score(X, TAGS) >= 0
    assert (whole.network_.parameters["0.Wx"] != cut.network_.parameters["0.Wx"]).any()


def test_a_checkpoint_gives_the_finished_run(tmp_path):
    path = tmp_path / "run.safetensors"
    first = SequenceClassifier(checkpoint=path, **TINY).fit(X, Y)
    assert path.exists()
    again = SequenceClassifier(checkpoint=str(path), **TINY).fit(X, Y)
    assert (first.predict_proba(X) == again.predict_proba(X)).all()
    assert (first.history_.seconds == again.history_.seconds).all()  # nothing was trained anew


@pytest.mark.parametrize("kind", [SequenceClassifier, elman.SequenceRegressor, elman.SequenceTagger])
def test_a_checkpoint_needs_a_random_state(kind, tmp_path):
    """Else the next call would begin with other weights, and the file be of no use."""
    targets = {"SequenceRegressor": np.arange(len(X)), "SequenceTagger": [np.arange(len(x)) % 2 for x in X]}
    y = targets.get(kind.__name__, Y)
    with pytest.raises(ValueError, match=r"random_state must be given where checkpoint is, .*Got None\."):
        kind(checkpoint=tmp_path / "run", **{**TINY, "random_state": None}).fit(X, y)
    assert not (tmp_path / "run").exists()
    for other, x in ((elman.TextGenerator(truncate=4), "a text of some length"), (elman.Forecaster(), np.arange(90.0))):
        with pytest.raises(ValueError, match="random_state must be given where checkpoint is"):
            other.set_params(checkpoint=tmp_path / "run").fit(x)


def test_a_checkpoint_with_options_and_a_log(tmp_path):
    for kind, y in ALL:
        path, log = tmp_path / f"{kind.__name__}.run", tmp_path / f"{kind.__name__}.jsonl"
        first = clone(kind(checkpoint=elman.Checkpoint(path, every=0), log=log, **TINY)).fit(X, y)
        assert path.exists()
        assert (elman.History.read(log).loss == first.history_.loss).all()
        again = kind(checkpoint=elman.Checkpoint(path, every=5), **TINY).fit(X, y)
        assert (first.history_.seconds == again.history_.seconds).all()
    log = tmp_path / "text.jsonl"
    writer = elman.TextGenerator(
        hidden=4, truncate=4, epochs=2, checkpoint=elman.Checkpoint(tmp_path / "text.run"), log=log, random_state=0
    ).fit("to be or not to be " * 4)
    assert (elman.History.read(log).loss == writer.history_.loss).all()
    series = np.sin(np.arange(40.0))
    elman.Forecaster(
        window=4, hidden=3, epochs=1, checkpoint=elman.Checkpoint(tmp_path / "series.run"), random_state=0
    ).fit(series)
    assert (tmp_path / "series.run").exists()
    check(
        "checkpoint must be a path or a Checkpoint. Got an int.",
        lambda: SequenceClassifier(checkpoint=3, **TINY).fit(X, Y),
        TypeError,
    )


@pytest.mark.parametrize("kind", [SequenceClassifier, SequenceRegressor])
def test_the_last_pool_takes_the_last_state_of_each_direction(kind):
    y = Y if kind is SequenceClassifier else MEANS
    model = kind(pool="last", standardize=False, dtype="float64", **TINY).fit(X, y)
    layers = model.network_.layers
    pool = next(i for i, layer in enumerate(layers) if isinstance(layer, elman.LastStep))
    recurrent = next(layer for layer in layers if isinstance(layer, elman.GRU))
    outputs, state = recurrent(X)
    last = layers[pool](outputs)[0]
    np.testing.assert_array_equal(last, np.concatenate(list(state), axis=1))
    assert (last[:, 5:] != np.stack([y[-1, 5:] for y in outputs])).any()
    one_way = kind(pool="last", bidirectional=False, **TINY).fit(X, y)
    assert any(type(layer) is elman.LastStep for layer in one_way.network_.layers)


def test_a_schedule_of_the_learning_rate():
    for rate, last in ((0.01, 0.0), (elman.LinearSchedule(0.01, end=0.01), 0.01)):
        history = SequenceClassifier(learning_rate=rate, **{**TINY, "epochs": 10}).fit(X, Y).history_
        assert history.learning_rate[0] == pytest.approx(0.01, rel=0.05)
        assert history.learning_rate[-1] == pytest.approx(last, abs=5e-4)


def test_without_scikit_learn_the_error_names_the_extra():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import elman\n"
        "try:\n    import elman.estimators\n"
        "except elman.MissingExtraError as error:\n    print(error)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == 'the estimators of elman must have its extra installed: pip install "elman[sklearn]"\n'
