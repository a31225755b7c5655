"""The estimators as scikit-learn's citizens: its own checks, searches, pipelines, copies; and every form of X."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

import elman
from elman.estimators import SequenceClassifier, SequenceRegressor, SequenceTagger, training

RNG = np.random.default_rng(0)
X = [RNG.normal([0, 5, -2], 1, size=(n, 3)) for n in RNG.integers(2, 9, size=40)]
MEANS = np.array([part[:, 0].mean() for part in X])
Y = np.where(MEANS > 0, "over", "under")
TAGS = [np.where(part[:, 0] > 0, "over", "under") for part in X]
TINY = {"hidden": 5, "epochs": 3, "random_state": 3}
LEARNS = {
    "hidden": 8,
    "epochs": 25,
    "batch_size": 8,
    "learning_rate": 0.02,
    "input_dropout": 0.0,
    "dropout": 0.0,
    "random_state": 3,
}
ALL = [(SequenceClassifier, Y), (SequenceRegressor, MEANS), (SequenceTagger, TAGS)]

# The 30 examples of the check on weights are one batch, in float64 and without noise: then a weight of 2 is exactly
# an example that comes twice.
CHECKED = {
    "bidirectional": False,
    "input_dropout": 0.0,
    "dropout": 0.0,
    "learning_rate": 0.03,
    "dtype": "float64",
    "batch_size": 50,
}


def checks_of(estimator):
    return [pytest.param(e, check, id=check.func.__name__) for e, check in estimator_checks_generator(estimator)]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.parametrize(
    ("estimator", "check"), checks_of(SequenceClassifier(cell="rnn", hidden=8, epochs=60, **CHECKED))
)
def test_scikit_learn_on_the_classifier(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.parametrize(
    ("estimator", "check"), checks_of(SequenceRegressor(cell="rnn", hidden=8, epochs=60, **CHECKED))
)
def test_scikit_learn_on_the_regressor(estimator, check):
    check(estimator)


@pytest.mark.parametrize(("kind", "y"), ALL)
def test_parameters_clone_and_repr(kind, y):
    estimator = kind(cell="lstm", hidden=(4, 3), weight_decay=0.1)
    assert estimator.get_params()["hidden"] == (4, 3)
    estimator.set_params(epochs=2, random_state=1)
    twin = clone(estimator)
    assert twin is not estimator
    assert twin.get_params() == estimator.get_params()
    assert "cell='lstm'" in repr(estimator)
    assert kind.__name__ in estimator._repr_html_()
    with pytest.raises(ValueError, match="Invalid parameter 'units'"):
        estimator.set_params(units=3)
    with pytest.raises(NotFittedError):
        estimator.predict(X)
    estimator.fit(X, y)
    assert [type(layer).__name__ for layer in estimator.network_.layers if layer.stateful] == ["LSTM", "LSTM"]
    assert not hasattr(clone(estimator), "network_")


@pytest.mark.parametrize(("kind", "y"), ALL)
def test_the_same_random_state_gives_the_same_network(kind, y):
    first, again, other = (kind(**{**TINY, "random_state": seed}).fit(X, y) for seed in (3, 3, 4))
    for name, array in first.network_.parameters.items():
        assert (array == again.network_.parameters[name]).all()
    name = next(name for name in first.network_.parameters if name.endswith("Wx"))
    assert (first.network_.parameters[name] != other.network_.parameters[name]).any()
    drawn = kind(**{**TINY, "random_state": np.random.RandomState(3)}).fit(X, y)
    assert (first.network_.parameters[name] == drawn.network_.parameters[name]).all()


@pytest.mark.parametrize(("kind", "y"), ALL)
def test_pickles_and_copies_predict_the_same(kind, y, tmp_path):
    estimator = kind(**TINY).fit(X, y)
    for twin in (pickle.loads(pickle.dumps(estimator)), copy.deepcopy(estimator)):
        for ours, theirs in zip(estimator.predict(X), twin.predict(X), strict=True):
            assert np.array_equal(ours, theirs)
    estimator.network_.save(tmp_path / "net.safetensors")
    scaled = [((part - estimator.scaler_.mean_) / estimator.scaler_.scale_).astype("float32") for part in X]
    raw, _ = elman.load(tmp_path / "net.safetensors")(scaled)
    if kind is SequenceClassifier:
        assert (estimator.classes_[raw.argmax(axis=1)] == estimator.predict(X)).all()
    assert len(estimator.history_) == 3


@pytest.mark.parametrize(("kind", "y"), ALL)
def test_searches_take_ragged_lists(kind, y):
    scores = cross_val_score(kind(**LEARNS), X, y, cv=2)
    assert scores.shape == (2,)
    assert np.isfinite(scores).all()
    search = GridSearchCV(kind(**TINY), {"hidden": [2, (3, 2)], "cell": ["gru", "rnn"]}, cv=2, refit=True)
    search.fit(X, y)
    assert search.score(X, y) == search.best_estimator_.score(X, y)
    train, test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=0)
    assert np.isfinite(kind(**TINY).fit(train, y_train).score(test, y_test))


def test_pipelines():
    first = FunctionTransformer(lambda X: [part[:, :1] for part in X])
    pipeline = make_pipeline(first, SequenceClassifier(**LEARNS)).fit(X, Y)
    assert pipeline.score(X, Y) > 0.9
    assert pipeline[-1].n_features_in_ == 1
    search = GridSearchCV(pipeline, {"sequenceclassifier__hidden": [4, 8]}, cv=2).fit(X, Y)
    assert search.predict(X).shape == (40,)
    table = np.random.default_rng(1).normal(size=(30, 7))
    pipeline = make_pipeline(StandardScaler(), SequenceRegressor(**TINY)).fit(table, table.sum(axis=1))
    assert pipeline.predict(table).shape == (30,)


def test_what_is_learned():
    # The last 10 of 40 sequences are not seen in training.
    assert SequenceClassifier(**LEARNS).fit(X[:30], Y[:30]).score(X[30:], Y[30:]) >= 0.8
    assert SequenceRegressor(**LEARNS).fit(X[:30], MEANS[:30]).score(X[30:], MEANS[30:]) > 0.7
    tagger = SequenceTagger(**LEARNS).fit(X[:30], TAGS[:30])
    assert tagger.score(X[30:], TAGS[30:]) > 0.9
    told, tags = np.concatenate(tagger.predict(X[30:])), np.concatenate(TAGS[30:])
    assert tagger.score(X[30:], TAGS[30:]) == (told == tags).mean()


@pytest.mark.parametrize("pool", ["max", "mean", "last"])
@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_cells_and_pools(cell, pool):
    classifier = SequenceClassifier(cell=cell, pool=pool, dtype="float64", **TINY).fit(X, Y)
    probabilities = classifier.predict_proba(X)
    assert probabilities.shape == (40, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    assert (classifier.classes_[probabilities.argmax(axis=1)] == classifier.predict(X)).all()
    assert cell.upper() in repr(classifier.network_)
    assert classifier.network_.dtype == np.float64


@pytest.mark.parametrize(("kind", "y"), ALL)
def test_every_form_of_ragged_lists_gives_the_same(kind, y):
    pandas, polars, pyarrow = (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))
    names = ["a", "b", "c"]
    objects = np.empty(len(X), object)
    objects[:] = X
    assert objects.shape == (40,)
    forms = [
        X,
        tuple(X),
        objects,
        [part.tolist() for part in X],
        [np.asfortranarray(part) for part in X],
        [pandas.DataFrame(part, columns=names) for part in X],
        [polars.DataFrame(part, schema=names) for part in X],
        [pyarrow.table(dict(zip(names, part.T, strict=True))) for part in X],
    ]
    expected = kind(**TINY).fit(X, y).predict(X)
    for form in forms:
        for ours, theirs in zip(kind(**TINY).fit(form, y).predict(form), expected, strict=True):
            assert np.array_equal(ours, theirs)


def test_y_may_be_a_series():
    pandas, polars, pyarrow = (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))
    for kind, y in ALL[:2]:
        expected = kind(**TINY).fit(X, y).predict(X)
        for form in (list(y), pandas.Series(y), polars.Series(y), pyarrow.array(y.tolist())):
            estimator = kind(**TINY).fit(X, form)
            assert (estimator.predict(X) == expected).all()
            assert estimator.score(X, form) == estimator.score(X, y)
    several = np.stack([MEANS, -MEANS], axis=1)
    expected = SequenceRegressor(**TINY).fit(X, several).predict(X)
    assert expected.shape == (40, 2)
    frame = polars.DataFrame(several, schema=["a", "b"])
    assert (SequenceRegressor(**TINY).fit(X, frame).predict(X) == expected).all()
    series = [pandas.Series(tags) for tags in TAGS]
    assert SequenceTagger(**TINY).fit(X, series).score(X, series) == SequenceTagger(**TINY).fit(X, TAGS).score(X, TAGS)


@pytest.mark.parametrize("library", ["numpy", "pandas", "polars", "pyarrow"])
def test_tables_of_univariate_rows(library):
    values = np.random.default_rng(2).normal(size=(20, 6))
    names = [f"step {i}" for i in range(6)]
    y = values[:, 0] > 0
    native = pytest.importorskip(library)
    make = {
        "numpy": lambda v: v,
        "pandas": lambda v: native.DataFrame(v, columns=names),
        "polars": lambda v: native.DataFrame(v, schema=names),
        "pyarrow": lambda v: native.table(dict(zip(names, v.T, strict=True))),
    }[library]
    classifier = SequenceClassifier(**TINY).fit(make(values), y)
    assert classifier.n_features_in_ == 6
    assert classifier.network_.input_size == 1
    if library != "numpy":
        assert classifier.feature_names_in_.tolist() == names
    expected = SequenceClassifier(**TINY).fit(values[:, :, None], y).predict_proba(values[:, :, None])
    assert (classifier.predict_proba(make(values)) == expected).all()
    assert (classifier.predict_proba(list(values)) == expected).all()  # a list of (time_i,)
    assert classifier.predict_proba([values[0, :4], values[1]]).shape == (2, 2)


def test_ragged_univariate_lists():
    values = [part[:, 0] for part in X]
    expected = SequenceClassifier(**TINY).fit([part[:, :1] for part in X], Y).predict_proba([part[:, :1] for part in X])
    for form in (values, [part.tolist() for part in values]):
        assert (SequenceClassifier(**TINY).fit(form, Y).predict_proba(form) == expected).all()


def test_a_tagger_answers_in_the_form_of_x():
    array = np.random.default_rng(4).normal(size=(12, 5, 2))
    tags = (array[:, :, 0] > 0).astype(int)
    tagger = SequenceTagger(**TINY).fit(array, tags)
    assert tagger.predict(array).shape == (12, 5)
    assert tagger.predict_proba(array).shape == (12, 5, 2)
    assert (np.stack(tagger.predict(array.astype(object))) == tagger.predict(array)).all()
    listed = tagger.predict(list(array))
    assert isinstance(listed, list)
    assert (np.stack(listed) == tagger.predict(array)).all()
    assert [p.shape for p in tagger.predict_proba([array[0], array[1, :3]])] == [(5, 2), (3, 2)]
    assert tagger.score(array, tags) == accuracy_score(tags.ravel(), tagger.predict(array).ravel())
    table = SequenceTagger(**TINY).fit(array[:, :, 0], tags)
    assert table.predict(array[:, :, 0]).shape == (12, 5)


@pytest.mark.parametrize(("kind", "y"), ALL)
def test_dropouts_reach_the_layers(kind, y):
    estimator = kind(**{**TINY, "hidden": (5, 4)}, input_dropout=0.1, dropout=0.2, recurrent_dropout=0.3).fit(X, y)
    layers = estimator.network_.layers
    assert [layer.rate for layer in layers if isinstance(layer, elman.Dropout)] == [0.1, 0.2, 0.2]
    assert [layer.recurrent_dropout for layer in layers if layer.stateful] == [0.3, 0.3]
    for one, other in zip(estimator.predict(X), estimator.predict(X), strict=True):  # nothing random in use
        assert np.array_equal(one, other)


def test_cross_val_predict_of_probabilities():
    told = cross_val_predict(SequenceClassifier(**LEARNS), X, Y, cv=2, method="predict_proba")
    assert told.shape == (40, 2)


@pytest.mark.parametrize(("kind", "y"), ALL)
def test_prediction_in_parts_gives_the_same_numbers(kind, y, monkeypatch):
    estimator = kind(**{**TINY, "dtype": "float64"}).fit(X, y)
    whole = estimator.predict(X)
    seen = []
    run = type(estimator.network_).run

    def spy(self, x, *args, **kwargs):
        seen.append(len(x.values))
        return run(self, x, *args, **kwargs)

    monkeypatch.setattr(training, "STEPS_PER_PREDICTION", 12)
    monkeypatch.setattr(type(estimator.network_), "run", spy)
    parts = estimator.predict(X)
    assert len(seen) > 5
    assert max(seen) <= 12
    for one, other in zip(whole, parts, strict=True):
        assert np.array_equal(one, other) if kind is not SequenceRegressor else np.isclose(one, other, rtol=1e-12)


def test_nothing_given_is_changed():
    sequences = [part.copy() for part in X]
    labels, weights = Y.copy(), np.ones(40)
    SequenceClassifier(**TINY).fit(sequences, labels).predict(sequences)
    assert all((a == b).all() for a, b in zip(sequences, X, strict=True))
    assert (labels == Y).all()
    assert (weights == 1).all()
