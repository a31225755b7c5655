"""What features and parts of sequences are worth: where it is known what tells the answer, that is what is found."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

import elman

SETTINGS = {"hidden": 8, "epochs": 40, "dropout": 0.0, "random_state": 0}


def sequences(seed, count=140, features=3):
    rng = np.random.default_rng(seed)
    return rng, [rng.normal(size=(int(n), features)) for n in rng.integers(6, 11, count)]


@pytest.fixture(scope="module")
def classified():
    """Labels that the sign of the second feature at the last step tells alone."""
    _, X = sequences(0)
    y = np.where([part[-1, 1] > 0 for part in X], "up", "down")
    options = {"pool": "last", "bidirectional": False}
    return elman.SequenceClassifier(**SETTINGS, **options).fit(X[:100], y[:100]), X[100:], y[100:]


def test_the_feature_and_the_part_that_tell_are_found(classified):
    classifier, X, y = classified
    found = classifier.importance(X, y, random_state=1, parts=4)
    assert list(found.features) == ["feature 0", "feature 1", "feature 2"]
    assert list(found.parts) == ["0-25 %", "25-50 %", "50-75 %", "75-100 %"]
    assert found.score == classifier.score(X, y)
    for telling, drops in (("feature 1", found.features), ("75-100 %", found.parts)):
        for name, (mean, deviation) in drops.items():
            assert deviation >= 0
            assert mean > 0.25 if name == telling else abs(mean) < 0.12
    again = classifier.importance(X, y, random_state=1, parts=4)
    assert again.features == found.features
    assert again.parts == found.parts
    other = classifier.importance(X, y, random_state=2, parts=4, repeats=2)
    assert other.features != found.features
    assert "Importance, loss of a score of" in repr(found)
    assert repr(found).splitlines()[1].startswith("  feature 1")
    assert classifier.importance(X, y, parts=None, repeats=1, random_state=0).parts == {}


def test_means_are_those_of_scores_of_exchanged_sequences(classified):
    """The mean by hand: the same draws, the feature taken from another sequence, which begins again at its end."""
    classifier, X, y = classified
    found = classifier.importance(X, y, random_state=5, repeats=3, parts=None)
    rng, score = np.random.RandomState(5), classifier.score(X, y)
    for j in range(3):
        losses = []
        for _ in range(3):
            changed = []
            for own, donor in zip(X, rng.permutation(len(X)), strict=True):
                new = own.copy()
                for t in range(len(own)):
                    new[t, j] = X[donor][t % len(X[donor]), j]
                changed.append(new)
            losses.append(score - classifier.score(changed, y))
        assert found.features[f"feature {j}"] == pytest.approx((np.mean(losses), np.std(losses)))


def test_weights_count(classified):
    classifier, X, y = classified
    first = np.arange(len(y)) < 20
    found = classifier.importance(X, y, first.astype(float), random_state=1, repeats=1)
    assert found.score == classifier.score(X[:20], y[:20])


def test_of_numbers():
    rng, X = sequences(1)
    y = np.array([[part[:, 0].mean(), 2 * part[:, 0].mean()] for part in X])
    regressor = elman.SequenceRegressor(**SETTINGS, pool="mean").fit(X[:100], y[:100])
    found = regressor.importance(X[100:], y[100:], random_state=0, parts=2)
    assert max(found.features, key=lambda name: found.features[name].mean) == "feature 0"
    assert found.features["feature 0"].mean > 0.5
    assert {*found.parts} == {"0-50 %", "50-100 %"}


def test_of_labels_per_step():
    rng, X = sequences(2, 90)
    y = [np.where(part[:, 2] > 0, 1, 0) for part in X]
    tagger = elman.SequenceTagger(**SETTINGS).fit(X[:60], y[:60])
    found = tagger.importance(X[60:], y[60:], random_state=0, repeats=2, parts=2)
    assert found.features["feature 2"].mean > 0.25
    assert abs(found.features["feature 0"].mean) < 0.1
    for mean, _ in found.parts.values():
        assert 0.1 < mean < 0.4  # half of the steps each


def test_of_tokens():
    rng = np.random.default_rng(3)
    X = [rng.choice(["a", "b", "c"], int(n)) for n in rng.integers(3, 8, 120)]
    y = np.array([part[0] for part in X])
    classifier = elman.SequenceClassifier(embedding=4, **SETTINGS).fit(X[:80], y[:80])
    found = classifier.importance(X[80:], y[80:], random_state=0, parts=3)
    assert list(found.features) == ["tokens"]
    assert found.parts["0-33.3 %"].mean > max(found.parts["33.3-66.7 %"].mean, found.parts["66.7-100 %"].mean)


def test_columns_have_their_names_and_a_category_is_one_feature():
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(4)
    X = []
    for n in rng.integers(5, 9, 120):
        kind = pd.Categorical(rng.choice(["cold", "warm", "hot"], n), ["cold", "warm", "hot"])
        X.append(pd.DataFrame({"noise": rng.normal(size=n), "kind": kind, "whole": rng.integers(0, 9, n)}))
    y = np.array([str(frame["kind"].iloc[-1]) for frame in X])
    options = {"pool": "last", "bidirectional": False}
    classifier = elman.SequenceClassifier(**SETTINGS, **options).fit(X[:80], y[:80])
    found = classifier.importance(X[80:], y[80:], random_state=0, parts=None)
    assert list(found.features) == ["noise", "kind", "whole"]
    assert found.features["kind"].mean > 0.3
    assert abs(found.features["whole"].mean) < 0.15


def test_rows_of_a_table_are_sequences_of_one_feature():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(120, 6))
    y = X[:, 0] > 0
    classifier = elman.SequenceClassifier(**SETTINGS).fit(X[:90], y[:90])
    found = classifier.importance(X[90:], y[90:], random_state=0, parts=6, repeats=3)
    assert list(found.features) == ["feature 0"]
    assert max(found.parts, key=lambda name: found.parts[name].mean) == "0-16.7 %"


def test_parts_of_short_sequences(classified):
    classifier, X, y = classified
    short = [part[-n:] for part, n in zip(X, [1, 2, 3, 4] * 10, strict=True)]
    found = classifier.importance(short, y, random_state=0, parts=4, repeats=2)
    assert found.parts["75-100 %"].mean > 0.2
    assert all(np.isfinite(drop).all() for drop in found.parts.values())


def series(columns, seed=6, time=260):
    """What comes is the first column as it was a step before."""
    rng = np.random.default_rng(seed)
    beside = rng.normal(size=(time, columns))
    return np.roll(beside[:, 0], 1) + 0.05 * rng.normal(size=time), beside


def test_of_columns_beside_a_series():
    y, beside = series(2)
    forecaster = elman.Forecaster(window=6, hidden=8, level=None, epochs=25, dropout=0.0, random_state=0)
    forecaster.fit(y[:200], past=beside[:200])
    found = forecaster.importance(y[200:], past=beside[200:], random_state=0, repeats=3)
    assert found.score == forecaster.score(y[200:], past=beside[200:])
    assert list(found.features) == ["past 0", "past 1"]
    assert found.features["past 0"].mean > 0.3
    assert abs(found.features["past 1"].mean) < 0.1
    assert found.parts == {}
    same = forecaster.importance(y[200:], past=beside[200:], random_state=0, repeats=3)
    assert same.features == found.features


def test_of_columns_of_a_table_of_series():
    pd = pytest.importorskip("pandas")
    tables = []
    for i, name in enumerate("ab"):
        y, beside = series(2, seed=i, time=120)
        stamps = pd.date_range("2024", periods=120, freq="D")
        tables.append(
            pd.DataFrame({"shop": name, "day": stamps, "sold": y, "price": beside[:, 0], "rain": beside[:, 1]})
        )
    table = pd.concat(tables, ignore_index=True)
    forecaster = elman.Forecaster(window=4, hidden=8, level=None, epochs=20, dropout=0.0, random_state=0)
    forecaster.fit(table, target="sold", time="day", id="shop", exogenous=["rain"], past=["price"])
    found = forecaster.importance(table, random_state=0, repeats=2)
    assert list(found.features) == ["rain", "price"]
    assert found.features["price"].mean > 0.3
    assert abs(found.features["rain"].mean) < 0.15


def test_it_is_shown(classified, capsys):
    classifier, X, y = classified
    classifier.importance(X, y, repeats=2, parts=None, random_state=0, progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("pass 1/6  ")
    assert lines[-1].startswith("pass 6/6  0 s left")
    classifier.importance(X, y, repeats=1, random_state=0)
    assert capsys.readouterr().err == ""


def test_it_is_drawn(classified, tmp_path):
    pytest.importorskip("matplotlib")
    classifier, X, y = classified
    found = classifier.importance(X, y, repeats=2, parts=3, random_state=0)
    for parts in (False, True):
        found.plot(parts, path=tmp_path / "drawn.png")
        assert (tmp_path / "drawn.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(TypeError, match="parts must be True or False"):
        found.plot("parts")


def test_refused(classified):
    classifier, X, y = classified
    for change, words in (
        ({"repeats": 0}, "repeats must be a whole number from 1 up"),
        ({"parts": 0}, "parts must be a whole number from 1 up"),
        ({"parts": 11}, "parts must be a whole number up to 10. Got 11"),
        ({"random_state": "a"}, "random_state must be a whole number"),
        ({"progress": 1}, "progress must be True or False"),
        ({"X": X[:1], "y": y[:1]}, "X must hold at least 2 sequences.*Got 1"),
        ({"y": y[:5]}, "y must hold 40 entries"),
        ({"X": [part[:, :2] for part in X]}, "X must have 3 features per step"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            classifier.importance(**{"X": X, "y": y, **change})
    with pytest.raises(ValueError, match="not fitted"):
        elman.SequenceTagger().importance(X, y)
    values, _ = series(1)
    forecaster = elman.Forecaster(window=6, hidden=4, epochs=1, random_state=0).fit(values)
    with pytest.raises(ValueError, match=r"series must have columns beside what is forecast.*Got 1 variable alone"):
        forecaster.importance(values)
