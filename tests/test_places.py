"""Whatever is wrong in the data of an estimator, the message has its place; and no scale of the data matters."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

import elman
from elman.estimators import Forecaster, SequenceClassifier, SequenceRegressor, SequenceTagger, scaling

TINY = {"hidden": 2, "epochs": 1, "random_state": 0}
COUNT = 23
WRONG = (np.nan, np.inf, -np.inf, -1.7976931348623157e308, 1e300, 3e150)


def targets(kind, X):
    if kind is SequenceRegressor:
        return np.random.default_rng(5).normal(size=len(X))
    if kind is SequenceTagger:
        return [np.arange(len(part)) % 2 for part in X]
    return np.arange(len(X)) % 3


def sequences(rng, features):
    return [rng.normal(3, 2, size=(n, features)) for n in rng.integers(3, 9, size=COUNT)]


def message(function, *arguments, **named):
    with pytest.raises((ValueError, TypeError)) as caught:
        function(*arguments, **named)
    return str(caught.value)


@pytest.mark.parametrize("kind", [SequenceClassifier, SequenceRegressor, SequenceTagger])
def test_a_wrong_number_is_reported_where_it_stands(kind):
    rng = np.random.default_rng(0)
    X = sequences(rng, 3)
    y = targets(kind, X)
    fitted = kind(**TINY).fit(X, y)
    raw = kind(standardize=False, **TINY).fit(X, y)
    calls = [
        lambda x: kind(**TINY).fit(x, y),
        lambda x: kind(standardize=False, dtype="float64", **TINY).fit(x, y),
        lambda x: kind(patience=2, validation_fraction=0.3, **TINY).fit(x, y),
        fitted.predict,
        raw.predict,
        lambda x: fitted.score(x, y),
    ]
    if hasattr(fitted, "predict_proba"):
        calls.append(fitted.predict_proba)
    for _ in range(60):
        i = int(rng.integers(COUNT))
        step, feature = int(rng.integers(len(X[i]))), int(rng.integers(3))
        wrong = [part.copy() for part in X]
        wrong[i][step, feature] = value = rng.choice(WRONG)
        for later in range(i + 1, COUNT):  # more of the kind stand after it
            if rng.random() < 0.3:
                wrong[later][0, 0] = value
        told = message(calls[rng.integers(len(calls))], wrong)
        assert told.startswith("X must be ")
        assert told.endswith(f" at sequence {i}, step {step}, feature {feature}.")
        assert ("NaN" if np.isnan(value) else str(value)) in told


def test_a_wrong_number_in_an_array_and_in_a_table():
    rng = np.random.default_rng(1)
    y = np.arange(COUNT) % 2
    for _ in range(40):
        i, step, feature = (int(rng.integers(n)) for n in (COUNT, 6, 2))
        array = rng.normal(size=(COUNT, 6, 2))
        array[i, step, feature] = rng.choice(WRONG)
        told = message(SequenceClassifier(**TINY).fit, array, y)
        assert told.endswith(f" at sequence {i}, step {step}, feature {feature}.")
        told = message(SequenceClassifier(**TINY).fit, array[:, :, feature], y)
        assert f" at sequence {i}, step {step}" in told


def test_what_only_prediction_finds_too_large():
    """Over what float32 holds, in units of the deviation: known once the values are scaled."""
    rng = np.random.default_rng(2)
    X = sequences(rng, 2)
    small = SequenceClassifier(**TINY).fit([part * 1e-60 for part in X], targets(SequenceClassifier, X))
    plain = SequenceClassifier(standardize=False, **TINY).fit(X, targets(SequenceClassifier, X))
    for model, value in ((small, 1.0), (plain, 1e39), (plain, -1e100)):
        for _ in range(10):
            i = int(rng.integers(COUNT))
            step, feature = int(rng.integers(len(X[i]))), int(rng.integers(2))
            wrong = [part * 1e-60 for part in X]
            wrong[i][step, feature] = value
            told = message(model.predict, wrong)
            assert told.endswith(f"Got {value} at sequence {i}, step {step}, feature {feature}.")
    with pytest.raises(ValueError, match=r"Got 1e\+40 at sequence 3, step 1, feature 0"):
        SequenceTagger(standardize=False, **TINY).fit(
            [*X[:3], np.array([[0.0, 0], [1e40, 0], [1, 1]]), *X[3:]],
            [*targets(SequenceTagger, X)[:3], [0, 1, 1], *targets(SequenceTagger, X)[3:]],
        )


def test_a_missing_label_is_reported_where_it_stands():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(3)
    X = sequences(rng, 1)
    named = np.array(["on", "off"], object)
    fitted = SequenceClassifier(**TINY).fit(X, named[np.arange(COUNT) % 2])
    tagger = SequenceTagger(**TINY).fit(X, [named[np.arange(len(part)) % 2] for part in X])
    for missing in (None, np.nan, pandas.NA, float("nan")):
        for labels in (named, np.array([1, 0], object), np.array([1.0, 2.0], object)):
            i = int(rng.integers(COUNT))
            y = labels[np.arange(COUNT) % 2]
            y[i] = missing
            step = int(rng.integers(len(X[i])))
            tags = [labels[np.arange(len(part)) % 2] for part in X]
            tags[i][step] = missing
            for form in (lambda v: v, lambda v: v.tolist(), lambda v: pandas.Series(v)):
                told = message(SequenceClassifier(**TINY).fit, X, form(y))
                assert told.startswith("y must have a label for every sequence. Got ")
                assert told.endswith(f" at sequence {i}.")
                assert message(fitted.score, X, form(y)).endswith(f" at sequence {i}.")
                told = message(SequenceTagger(**TINY).fit, X, [form(part) for part in tags])
                assert told.startswith("y must have a label for every step. Got ")
                assert told.endswith(f" at sequence {i}, step {step}.")
                told = message(tagger.score, X, [form(part) for part in tags])
                assert told.endswith(f" at sequence {i}, step {step}.")


def test_a_wrong_target_and_a_wrong_weight():
    rng = np.random.default_rng(4)
    X = sequences(rng, 1)
    fitted = SequenceRegressor(**TINY).fit(X, rng.normal(size=(COUNT, 2)))
    for value in (*WRONG, None):
        i, column = int(rng.integers(COUNT)), int(rng.integers(2))
        y = rng.normal(size=(COUNT, 2)).astype(object)
        y[i, column] = value
        for call in (SequenceRegressor(**TINY).fit, fitted.score):
            assert message(call, X, y).endswith(f" at sequence {i}, value {column}.")
        assert f" at sequence {i}" in message(SequenceRegressor(**TINY).fit, X, y[:, column].tolist())
        weight = np.ones(COUNT).tolist()
        weight[i] = value
        for kind in (SequenceClassifier, SequenceRegressor, SequenceTagger):
            told = message(kind(**TINY).fit, X, targets(kind, X), weight)
            assert told.endswith(f" at sequence {i}.")
    assert message(fitted.score, X, np.ones((COUNT, 2)), [1] * 8 + [-1] + [1] * 14).endswith(" at sequence 8.")


def test_series_and_their_columns():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(6)
    settings = {**TINY, "horizon": 2, "window": 4}
    days = pandas.date_range("2024-01-01", periods=30)
    for value in WRONG:
        step, column, series = int(rng.integers(30)), int(rng.integers(2)), int(rng.integers(3))
        y, more = rng.normal(size=30), rng.normal(size=(30, 2))
        wrong, columns = y.copy(), more.copy()
        wrong[step], columns[step, column] = value, value
        end = rf" at step {step}, column {column}"
        fitted = Forecaster(**settings).fit(y)
        many = [y, y, y]
        many[series] = wrong
        for call in (Forecaster(**settings).fit, fitted.predict, fitted.score):
            told = message(call, wrong)
            assert told.startswith("series must be ")
            assert f" at step {step}" in told
        assert message(Forecaster(**settings).fit, many).startswith(f"series[{series}] must be ")
        assert end in message(Forecaster(**settings).fit, columns)
        for role in ("exogenous", "past"):
            told = message(Forecaster(**settings).fit, y, **{role: columns})
            assert told.startswith(f"{role} must be ")
            assert end in told
        table = pandas.DataFrame({"day": days, "a": columns[:, 0], "b": columns[:, 1], "y": y})
        for target, exogenous in ((["a", "b"], None), ("y", ["a", "b"])):
            told = message(Forecaster(**settings).fit, table, time="day", target=target, exogenous=exogenous)
            assert f" at step {step}, column {'ab'[column]!r} ({str(days[step])[:10]}" in told
        known = Forecaster(**settings).fit(y, exogenous=more)
        ahead = rng.normal(size=(2, 2))
        ahead[1, column] = value
        assert f" at step 1, column {column}" in message(known.predict, future=ahead)


def test_rows_of_a_table_in_another_order():
    """The row is that of the table, the step that of its series."""
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"shop": list("ab") * 20, "y": np.arange(40.0)})
    table.loc[27, "y"] = np.inf
    told = message(Forecaster(horizon=2, window=4, **TINY).fit, table, id="shop", target="y")
    assert told == "series 'b' must be finite. Got inf at step 13, column 'y' (row 27)."


# Scales.


@pytest.mark.parametrize("kind", [SequenceClassifier, SequenceRegressor, SequenceTagger])
def test_the_unit_of_the_data_does_not_matter(kind):
    """To the bit: a power of two changes no digit."""
    rng = np.random.default_rng(7)
    X = sequences(rng, 2)
    y = targets(kind, X)
    plain = kind(**TINY).fit(X, y).predict(X)
    for power in (-900, -560, -43, 30, 480):
        moved = [np.ldexp(part, power) for part in X]
        found = kind(**TINY).fit(moved, y)
        for a, b in zip(plain, found.predict(moved), strict=True):
            np.testing.assert_array_equal(a, b)
        assert (found.scaler_.scale_ < 2.0 ** (power + 3)).all()
    if kind is SequenceRegressor:
        for power in (-900, -43, 480):
            np.testing.assert_array_equal(kind(**TINY).fit(X, np.ldexp(y, power)).predict(X), np.ldexp(plain, power))


def test_the_unit_of_a_series_does_not_matter():
    y = np.sin(np.arange(60.0)) + 2 + np.random.default_rng(8).normal(0, 0.1, 60)
    for settings in ({}, {"spread": True}, {"level": "mean", "difference": 3}):
        plain = Forecaster(horizon=2, window=4, **TINY, **settings).fit(y).predict()
        for power in (-900, -43, 480):
            found = Forecaster(horizon=2, window=4, **TINY, **settings).fit(np.ldexp(y, power)).predict()
            np.testing.assert_array_equal(np.ldexp(plain, power), found)


@pytest.mark.parametrize(("mean", "deviation"), [(0, 1e-13), (1e6, 1e-4), (-1e9, 1e-5), (1, 1e-170), (1e140, 1e138)])
def test_small_deviations_are_no_constants(mean, deviation):
    rows = mean + deviation * np.random.default_rng(9).normal(size=(5000, 2))
    if mean + deviation == mean:
        rows[:] = mean  # which no float64 tells from a constant
    weight = np.random.default_rng(10).uniform(size=5000)
    for w in (None, weight):
        found, scale, constant = scaling.moments(rows, w)
        assert constant.all() == (mean + deviation == mean)
        if not constant.all():
            unit = (rows - mean) / deviation  # exact but for the division
            center = np.average(unit, axis=0, weights=w)
            want = np.sqrt(np.average((unit - center) ** 2, axis=0, weights=w))
            np.testing.assert_allclose(scale / deviation, want, rtol=1e-12)
            np.testing.assert_allclose(found, mean + deviation * center, rtol=1e-15, atol=1e-12 * deviation)


def test_constants_and_what_rounding_makes_of_them():
    for value in (0.0, 0.1, -7.0, 1e-300, 1e100, 5e-324):
        rows = np.full((1000, 1), value)
        mean, scale, constant = scaling.moments(rows)
        assert (mean[0], scale[0], constant[0]) == (value, 1, True)
        rows[::3] = np.nextafter(value, 1e200)
        mean, scale, constant = scaling.moments(rows)
        assert constant[0]
        assert np.abs((rows - mean) / scale).max() <= 2
    steps = 1e6 + 0.1 * np.arange(50)  # differences that are 0.1 but for rounding
    forecaster = Forecaster(horizon=2, window=4, difference=1, **TINY).fit(steps)
    np.testing.assert_allclose(forecaster.predict(), 1e6 + 0.1 * np.array([50, 51]), atol=0.3)
    assert elman.estimators.windows.measure(forecaster._end, forecaster._spec, [5]).values[0].scale == pytest.approx(
        [0.1]
    )
