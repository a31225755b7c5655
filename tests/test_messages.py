"""What a mistake with the estimators is answered with: a call, and the words that its error must have."""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("sklearn")

import elman
from elman.estimators import Forecaster, SequenceClassifier, SequenceRegressor, SequenceTagger

RNG = np.random.default_rng(0)
X = [RNG.normal(size=(n, 2)) for n in RNG.integers(3, 8, size=20)]
Y = np.arange(20) % 2
TINY = {"hidden": 2, "epochs": 1, "random_state": 0}
KINDS = {SequenceClassifier: Y, SequenceRegressor: Y * 1.5, SequenceTagger: [np.arange(len(x)) % 2 for x in X]}
FORMS = r"X must be a list of sequences, .* an array \(n, time, features\); or a table .* Got "


def words_of(function, *arguments, **named):
    """The message of the call's error, which must be one of the library's kinds."""
    with pytest.raises((ValueError, TypeError, OSError, ImportError)) as caught:
        function(*arguments, **named)
    message = str(caught.value)
    assert "Reshape your data either" not in message
    assert "\n" not in message
    assert len(message) < 700
    return message


# Estimators.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("given", "got"),
    [
        (lambda: {"x": X}, r"a dict of length 1"),
        (lambda: (x for x in X), "a generator"),
        (lambda: iter(X), "a list_iterator"),
        (lambda: {1, 2}, r"\{1, 2\}"),
        (lambda: "abc", "'abc'"),
        (lambda: ["abc", "def"], "'abc' for a sequence"),
        (lambda: np.array(["abc", "def"]), "'abc' for a sequence"),
        (lambda: [{"a": 1}, {"b": 2}], "{'a': 1} for a sequence"),
        (lambda: [None] * 20, "None for a sequence"),
        (lambda: None, "None"),
        (lambda: 3, "3"),
        (lambda: 3.5, "3.5"),
        (lambda: object, "<class 'object'>"),
        (lambda: np.zeros(20), r"an array of shape \(20,\)"),
        (lambda: np.zeros((2, 3, 4, 5)), r"an array of shape \(2, 3, 4, 5\)"),
        (lambda: list(range(20)), r"an array of shape \(20,\)"),
    ],
)
def test_x_in_no_form(kind, given, got):
    fitted = kind(**TINY).fit(X, KINDS[kind])
    assert re.match(FORMS + got, words_of(kind(**TINY).fit, given(), KINDS[kind]))
    flat = r"\(20,\)" in got  # one sequence, where fit had many
    again = r"X must be a list of sequences, or an array \(n, time, 2\), as in fit\. Got "
    after = again + got + r": pass \[x\]" if flat else FORMS + got
    assert re.match(after, words_of(fitted.predict, given()))
    assert re.match(after, words_of(fitted.score, given(), KINDS[kind]))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ([*X[:3], "abc", *X[4:]], r"X\[3\] must be a sequence, .* Got 'abc'"),
        ([*X[:3], None, *X[4:]], r"X\[3\] must be a sequence, .* Got None"),
        ([*X[:3], 7, *X[4:]], r"X\[3\] must be a sequence, .* Got 7"),
        ([*X[:3], {"a": [1, 2]}, *X[4:]], r"X\[3\] must be a sequence, .* Got {'a': \[1, 2\]}"),
        ([*X[:3], X[3].astype(str), *X[4:]], r"X\[3\] must hold real numbers. Got '.*' at step 0, feature 0"),
        ([*X[:3], X[3] + 1j, *X[4:]], r"X\[3\] must hold real numbers. Got an array of dtype complex128"),
        ([*X[:3], [[1, 2], [3, "x"]], *X[4:]], r"X\[3\] must hold real numbers. Got 'x' at step 1, feature 1"),
        ([*X[:3], X[3][:, :1], *X[4:]], r"X\[3\] must have 2 features, as X\[0\] has. Got \(\d, 1\)"),
        ([*X[:3], [[1, 2], [3]], *X[4:]], r"X\[3\] must be an array or nested lists of equal length"),
        ([["a", 1.0], ["b", 2.0]], "X must hold real numbers. Got 'a' at sequence 0, step 0"),
        (np.array([[1, None, "x"]] * 20, object), "X must hold real numbers. Got 'x' at sequence 0, step 2"),
        (np.array([[1.0, None]] * 20, object), "X must be finite. Got NaN at sequence 0, step 1"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_sequences_that_are_none(kind, wrong, words):
    assert re.search(words, words_of(kind(**TINY).fit, wrong, KINDS[kind]))
    assert re.search(words, words_of(kind(**TINY).fit(X, KINDS[kind]).predict, wrong))


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (np.eye(2)[Y], r"y must have shape \(20,\), one label per sequence. Got \(20, 2\). .* y.argmax\(axis=1\)"),
        (np.ones((20, 3)), r"y must have shape \(20,\), one label per sequence. Got \(20, 3\).$"),
        (None, "requires y to be passed"),
        ({"y": 1}, "y must hold a label for each of 20 sequences. Got {'y': 1}"),
        ((y for y in Y), "y must hold a label for each of 20 sequences. Got a generator"),
        ("up", "y must hold a label for each of 20 sequences. Got 'up'"),
        (Y[:19], "y must hold 20 entries, .* Got 19"),
        (Y * 0.5, "y must hold classes, not continuous numbers, .* Got 0.5 at sequence 1"),
        (["a", 1] * 10, "y must hold labels of one kind, .* Got 'a' at sequence 0 and 1 at sequence 1"),
        (np.arange(20).astype("M8[D]"), r"y must hold labels, strings or numbers. Got .* at sequence 0"),
        ([b"a", b"b"] * 10, "y must hold labels, strings or numbers. Got b'a' at sequence 0"),
        (Y + 1j, "y must hold labels, strings or numbers. Got 1j at sequence 0"),
        (Y * 1e300, "y must hold classes, .* Got 1e.300 at sequence 1"),
        (["a", "b", float("nan"), "a"] * 5, "y must have a label for every sequence. Got NaN at sequence 2"),
        ([0, 1, None, 1] * 5, "y must have a label for every sequence. Got None at sequence 2"),
        (np.ma.array(Y, mask=Y == 5).astype(float) * np.where(np.arange(20) == 4, np.inf, 1), "Got (inf|nan|NaN) at"),
        ([0] * 20, "y must hold at least 2 classes. Got 1 class, 0"),
        ([0, 10**400] * 10, "y must hold classes, numbers of 64 bits at most. Got a whole number .* at sequence 1"),
        (X, "y must be an array or nested lists of equal length"),
    ],
)
def test_labels_that_do_not_fit(y, words):
    assert re.search(words, words_of(SequenceClassifier(**TINY).fit, X, y))


def test_labels_of_another_kind_at_score():
    fitted = SequenceClassifier(**TINY).fit(X, Y)
    assert words_of(fitted.score, X, ["a", "b"] * 10) == "y must hold numbers, as in fit. Got 'a' at sequence 0."
    assert words_of(fitted.score, X, Y[:3]) == "y must hold 20 entries, one per sequence of X. Got 3."
    assert "numbers from 0 up. Got -1.0 at sequence 3" in words_of(fitted.score, X, Y, [1, 1, 1, -1] * 5)
    tagger = SequenceTagger(**TINY).fit(X, KINDS[SequenceTagger])
    tags = [["on"] * len(x) for x in X]
    assert words_of(tagger.score, X, tags) == "y must hold numbers, as in fit. Got 'on' at sequence 0, step 0."
    mixed = [*KINDS[SequenceTagger][:4], *tags[4:]]
    assert "Got 0 at sequence 0, step 0 and 'on' at sequence 4, step 0." in words_of(tagger.fit, X, mixed)
    assert "Got None." in words_of(tagger.fit, X, [*tags[:5], None, *tags[6:]])
    regressor = SequenceRegressor(**TINY).fit(X, Y)
    assert words_of(regressor.score, X, np.eye(20)[:, :2]) == "y must have shape (20,), as in fit. Got (20, 2)."


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (["1"] * 20, "y must hold real numbers. Got '1' at sequence 0"),
        ([1.0, "x"] * 10, "y must hold real numbers. Got 'x' at sequence 1"),
        ([1.0, None] * 10, "y must be finite. Got NaN at sequence 1"),
        ({"y": 1}, "y must hold a number for each of 20 sequences. Got {'y': 1}"),
        (3, "y must hold a number for each of 20 sequences. Got 3"),
        ([1.0] * 19, "y must hold 20 entries, .* Got 19"),
        ([10**400] * 20, "y must be finite. Got inf at sequence 0"),
    ],
)
def test_numbers_that_do_not_fit(y, words):
    assert re.search(words, words_of(SequenceRegressor(**TINY).fit, X, y))


def test_weights_of_steps():
    for weights in ([np.ones(len(x)) for x in X], [[1.0] * 3] * 20, np.ones((20, 7))):
        told = words_of(SequenceTagger(**TINY).fit, X, KINDS[SequenceTagger], weights)
        assert told.startswith("sample_weight must have shape (20,), one number per sequence; weights of steps are not")
    told = words_of(SequenceClassifier(**TINY).fit, X, Y, ["a"] * 20)
    assert told == "sample_weight must hold real numbers. Got 'a' at sequence 0."


def test_classes_with_a_weight():
    assert "class_weight must name classes of y. Got 'x'" in words_of(
        SequenceClassifier(class_weight={"x": 2.0}, **TINY).fit, X, Y
    )
    assert "from 0 up. Got 'much' for 1." in words_of(SequenceClassifier(class_weight={1: "much"}, **TINY).fit, X, Y)


def test_frames():
    pandas = pytest.importorskip("pandas")
    frames = [pandas.DataFrame(x, columns=["heat", "noise"]) for x in X]
    classifier = SequenceClassifier(**TINY)
    named = [frame.assign(site="north") for frame in frames]
    assert "in the column 'site'. Got 'north' at step 0" in words_of(classifier.fit, named, Y)
    double = [pandas.concat([frame, frame], axis=1) for frame in frames]
    assert (
        words_of(classifier.fit, double, Y) == "X[0] must have columns of different names. Got 'heat' more than once."
    )
    night = [frame.assign(night=frame.heat > 0) for frame in frames]  # truth values are numbers
    assert classifier.fit(night, Y).n_features_in_ == 3
    objects = [frame.astype(object) for frame in frames]
    assert classifier.fit(objects, Y).predict(frames).shape == (20,)
    objects[4].iloc[2, 1] = None
    assert words_of(classifier.fit, objects, Y) == "X must be finite. Got NaN at sequence 4, step 2, column 'noise'."
    table = pandas.DataFrame({"a": np.arange(20), "b": ["x"] * 20})
    assert "in the column 'b'. Got 'x' at row 0" in words_of(classifier.fit, table, Y)
    assert "the columns 'heat', 'noise'" in words_of(classifier.fit, [*frames[:3], *night[3:]], Y)
    told = words_of(classifier.fit, frames, pandas.DataFrame({"y": Y, "more": Y}))
    assert told.startswith("y must have shape (20,), one label per sequence. Got (20, 2).")


class Evil:
    """Raises whatever it is asked."""

    def __init__(self, error):
        self.error = error

    def __getattr__(self, name):
        raise self.error

    def __len__(self):
        raise self.error

    def __iter__(self):
        raise self.error

    def __getitem__(self, index):
        raise self.error

    def __array__(self, *arguments, **named):
        raise self.error

    def __repr__(self):
        raise self.error


class Bare:
    """Raises when it is asked for what it does not have."""

    def __init__(self, error):
        self.error = error

    def __getattr__(self, name):
        raise self.error


@pytest.mark.parametrize("error", [RuntimeError("no"), ValueError("no"), KeyError("no"), ZeroDivisionError("no")])
@pytest.mark.parametrize("kind", KINDS)
def test_objects_that_raise_when_they_are_asked(kind, error):
    fitted = kind(**TINY).fit(X, KINDS[kind])
    for call, name in (
        (lambda bad: kind(**TINY).fit(bad, KINDS[kind]), "X"),
        (lambda bad: kind(**TINY).fit([*X[:3], bad, *X[4:]], KINDS[kind]), "X"),
        (lambda bad: kind(**TINY).fit(X, bad), "y"),
        (lambda bad: kind(**TINY).fit(X, KINDS[kind], bad), "sample_weight"),
        (lambda bad: fitted.score(X, bad), "y"),
        (lambda bad: fitted.predict(bad), "X"),
        (lambda bad: FORECASTER.fit(bad), "series"),
        (lambda bad: FORECASTER.fit([SERIES, bad]), "series"),
        (lambda bad: FORECASTER.fit(SERIES, exogenous=bad), "exogenous"),
    ):
        for bad in (Evil(error), Bare(error)):
            told = words_of(call, bad)
            assert told.startswith(name)
            assert "Got a" in told


@pytest.mark.parametrize(
    "given", [np.array(None), np.array(3.0), np.array("a"), np.ma.masked, np.float64(1), np.array(X[0], object)[:0]]
)
@pytest.mark.parametrize("kind", KINDS)
def test_arrays_without_axes_or_entries(kind, given):
    fitted = kind(**TINY).fit(X, KINDS[kind])
    for call in (lambda: kind(**TINY).fit(given, KINDS[kind]), lambda: fitted.predict(given)):
        assert "X" in words_of(call)


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan])
def test_labels_of_fit_that_are_no_numbers_are_not_called_whole(wrong):
    net = elman.Network([elman.GRU(2, 3), elman.LastStep(), elman.Dense(3, 2)])
    y = np.where(np.arange(20) == 13, wrong, Y)
    told = words_of(elman.fit, net, X, y, elman.CrossEntropy(), epochs=1)
    assert told == f"y must hold integers. Got {wrong} at sequence 13. A mask leaves out what is missing."
    tagger = elman.Network([elman.GRU(2, 3), elman.Dense(3, 2)])
    tags = [np.arange(len(x)) % 2.0 for x in X]
    tags[7][2] = wrong
    told = words_of(elman.fit, tagger, X, tags, elman.CrossEntropy(), epochs=1)
    assert told.startswith(f"y must hold integers. Got {wrong} at sequence 7, step 2.")


SERIES = np.sin(np.arange(40.0))
FORECASTER = Forecaster(horizon=2, window=4, **TINY)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: FORECASTER.fit({"y": SERIES}), "series must be one series .* a list of such, or a table. Got a dict"),
        (lambda: FORECASTER.fit(y for y in SERIES), "series must be one series .* Got a generator"),
        (lambda: FORECASTER.fit("sales"), "series must be one series .* Got 'sales'"),
        (lambda: FORECASTER.fit(None), "series must be one series .* Got None"),
        (lambda: FORECASTER.fit(3.0), "series must be one series .* Got 3.0"),
        (lambda: FORECASTER.fit([1.0, "2", 3.0] * 10), "series must hold real numbers. Got '2' at step 1"),
        (lambda: FORECASTER.fit([SERIES, ["a"] * 40]), r"series\[1\] must hold real numbers. Got 'a' at step 0"),
        (lambda: FORECASTER.fit([1.0, None] * 20), "series must be finite. Got NaN at step 1; fill="),
        (lambda: FORECASTER.fit([]), "series must have at least 6 steps, .* Got 0"),
        (lambda: FORECASTER.fit(SERIES[:3]), "series must have at least 6 steps, .* Got 3"),
        (lambda: Forecaster(horizon=99, **TINY).fit(SERIES), "for a window of 198, a horizon of 99. Got 40"),
        (lambda: FORECASTER.fit(SERIES, exogenous=np.ones(39)), r"exogenous must have shape \(40, columns\)"),
        (lambda: FORECASTER.fit(SERIES, past=["a"] * 40), "past must hold real numbers. Got 'a' at step 0"),
        (lambda: FORECASTER.fit(SERIES, target="y"), "target must be left out where series is no table"),
        (lambda: FORECASTER.fit(SERIES, "y"), "y must be left out: target= names the columns .* Got 'y'"),
        (lambda: Forecaster(log="run.jsonl", **TINY).fit(SERIES), "log must be True or False"),
        (lambda: FORECASTER.fit(np.zeros((40, 0))), r"series must have shape .* Got \(40, 0\)"),
        (lambda: FORECASTER.fit([SERIES, np.zeros((40, 0))]), r"series\[1\] must have shape .* Got \(40, 0\)"),
        (lambda: FORECASTER.fit([SERIES, "a"]), r"series\[1\] must hold real numbers. Got 'a'\.$"),
        (lambda: FORECASTER.fit(SERIES, exogenous="a"), r"exogenous must hold real numbers. Got 'a'\.$"),
        *(
            (lambda bad=bad, window=window: Forecaster(season=bad, window=window, **TINY).fit(SERIES), "season must be")
            for bad in (0, -1, "x", 2.5)
            for window in (None, 4)
        ),
    ],
)
def test_series_that_do_not_fit(call, words):
    assert re.search(words, words_of(call))


def test_tables_of_series():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"day": np.arange(40), "y": SERIES, "word": ["a", "b"] * 20})
    assert "the table must have the column 'z'. Got 'day', 'y', 'word'" in words_of(FORECASTER.fit, table, target="z")
    assert "the table must have the column 3. Got" in words_of(FORECASTER.fit, table, target=3)
    assert "target must be the name of a column" in words_of(FORECASTER.fit, table, target=3.5)
    told = words_of(FORECASTER.fit, table, time="day")
    assert told.startswith("id must be given where a column may name the series: id='word', or leave the column out.")
    told = words_of(FORECASTER.fit, table, time="day", target="word")
    assert told == "target must be numbers. Got 'a' at row 0 in the column 'word'."
    days = pandas.date_range("2024-01-01", periods=40)
    assert "series must hold real numbers. Got an array of dtype datetime64" in words_of(FORECASTER.fit, days)
    gap = pandas.DataFrame({"day": days, "y": np.where(np.arange(40) == 0, np.nan, SERIES)})
    told = words_of(FORECASTER.fit, gap, time="day")
    assert told.startswith("the table must be finite. Got NaN at step 0, column 'y' (2024-01-01); fill=")
    assert told.endswith("fills gaps, and leaves out what stands before the first value.")
    double = pandas.concat([table, table], axis=1)
    told = words_of(FORECASTER.fit, double, target="y")
    assert told == "the table must have columns of different names. Got 'day' more than once."


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ({"a": 1}, "X must be a text, or a list of texts. Got a dict"),
        (3, "X must be a text, or a list of texts. Got an int"),
        (["ab", None], r"X\[1\] must be a text. Got None"),
        (["ab", float("nan")], r"X\[1\] must be a text. Got a float"),
        (["ab", b"c"], r"X\[1\] must be a text. Got a bytes"),
        (["ab", ""], r"X\[1\] must have at least one character"),
        ([], "X must hold at least one text. Got none"),
    ],
)
def test_texts_that_are_none(texts, words):
    assert re.search(words, words_of(elman.TextGenerator(hidden=2, epochs=1).fit, texts))


def test_a_table_is_no_text():
    pandas = pytest.importorskip("pandas")
    told = words_of(elman.TextGenerator(hidden=2, epochs=1).fit, pandas.DataFrame({"t": ["abc", "de"]}))
    assert told == "X must be a text, or a list of texts. Got a DataFrame of shape (2, 1)."
    assert "y must be left out. Got 'b'" in words_of(elman.TextGenerator(hidden=2, epochs=1).fit, "abc", "b")


def test_numbers_and_truth_values_as_objects_are_labels():
    for labels in ([True, False], [3, 7], [1.0, 2.0]):
        y = np.array(labels * 10, object)
        classifier = SequenceClassifier(class_weight="balanced", **TINY).fit(X, y)
        assert classifier.classes_.tolist() == sorted(labels)
        assert classifier.classes_.dtype != object
        assert 0 <= classifier.score(X, y) <= 1


def test_frames_whose_columns_have_no_names():
    pandas = pytest.importorskip("pandas")
    frames = [pandas.DataFrame(x).astype(object) for x in X]
    want = SequenceClassifier(**TINY).fit(X, Y).predict_proba(X)
    np.testing.assert_array_equal(SequenceClassifier(**TINY).fit(frames, Y).predict_proba(frames), want)
