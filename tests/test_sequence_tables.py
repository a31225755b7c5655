"""What sequences say about themselves, in arrays and in frames: read, asked about or refused, never dropped."""

from __future__ import annotations

import copy
import pickle
import re
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score

import elman
from elman.estimators import SequenceClassifier, SequenceRegressor, SequenceTagger
from elman.estimators.inputs import read_inputs

RNG = np.random.default_rng(7)
LENGTHS = RNG.integers(3, 9, size=24)
X = [RNG.normal([0, 5], 1, size=(n, 2)) for n in LENGTHS]
Y = np.where([part[:, 0].mean() > 0 for part in X], "over", "under")
TINY = {"hidden": 5, "epochs": 2, "random_state": 3}
KINDS = {
    SequenceClassifier: lambda parts: [("a", "b")[i % 2] for i in range(len(parts))],
    SequenceRegressor: lambda parts: [float(i % 5) for i in range(len(parts))],
    SequenceTagger: lambda parts: [[("a", "b")[(i + t) % 2] for t in range(len(part))] for i, part in enumerate(parts)],
}
ALL = pytest.mark.parametrize("kind", KINDS)


def fitted(kind, parts, **options):
    return kind(**{**TINY, **options}).fit(parts, KINDS[kind](parts))


def same(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def refused(words, function, error=ValueError):
    with pytest.raises(error, match=words) as caught:
        function()
    assert "Got " in str(caught.value)


# One bare array.


@ALL
@pytest.mark.parametrize("features", [1, 2, 3])
def test_one_bare_array_after_a_fit_on_sequences_is_refused(kind, features):
    bare = RNG.normal(size=(6, features))
    models = [fitted(kind, RNG.normal(size=(4, 5, features)))]
    models.append(fitted(kind, [RNG.normal(size=(n, features)) for n in (4, 5, 6, 4)]))
    for model in models:
        for one in (bare, bare.astype(object), np.asfortranarray(bare), bare[:, :1], bare[:1]):
            for call in (model.predict, getattr(model, "predict_proba", model.predict)):
                refused(r"as in fit.*pass \[x\] for one sequence", lambda call=call, one=one: call(one))
            refused(r"pass \[x\]", lambda score=model.score, one=one: score(one, KINDS[kind](one)))
        if features > 1:
            refused(r"pass \[x\]", lambda predict=model.predict: predict(bare.tolist()))
        refused(r"pass \[x\]", lambda predict=model.predict: predict(bare[:, :1].tolist()))
        for one in (bare[:, 0], bare[0, 0]):
            with pytest.raises((ValueError, TypeError), match="X must be a list"):
                model.predict(one)
        same(model.predict([bare]), [model.predict(bare[None])[0]])
        assert len(model.predict([bare])) == 1


@ALL
def test_one_bare_frame_after_a_fit_on_sequences_is_refused(kind):
    model = fitted(kind, X)
    for library, make in (("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "table")):
        frame = getattr(pytest.importorskip(library), make)({"a": X[0][:, 0], "b": X[0][:, 1]})
        refused(r"pass \[x\] for one sequence", lambda frame=frame: model.predict(frame))
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    for column in (pandas.Series(X[0][:, 0]), polars.Series(X[0][:, 0])):
        refused(r"pass \[x\] for one sequence\.", lambda column=column: model.predict(column))
    same(model.predict(pandas.Series(X)), model.predict(X))  # a column of sequences is a list of them


@ALL
def test_nested_lists_of_equal_length_are_sequences_where_fit_had_sequences(kind):
    model = fitted(kind, [part[:, 0] for part in X])
    values = RNG.normal(size=(3, 4))
    told = model.predict(values.tolist())
    same(told, model.predict(list(values)))
    if kind is SequenceTagger:
        assert isinstance(told, list)
    refused(r"list\(x\) where each row is a sequence", lambda: model.predict(values))


# Tokens.


def token_lists(rng, text):
    vocabulary = np.array(["the", "a", "cat", "sat", "mat", "é"]) if text else np.array([-4, 0, 3, 7, 10**12])
    return [rng.choice(vocabulary, size=n).tolist() for n in LENGTHS]


@ALL
def test_lists_of_whole_numbers_are_asked_about(kind):
    ragged = token_lists(RNG, text=False)
    equal = RNG.integers(0, 9, size=(24, 5))
    objects = np.empty(24, object)
    objects[:] = [np.array(part) for part in ragged]
    for form in (
        ragged,
        tuple(ragged),
        objects,
        [np.array(part) for part in ragged],
        [np.array(part, object) for part in ragged],
        equal.tolist(),
        list(equal.astype(np.uint8)),
    ):
        refused(
            "whole numbers are values; where they are tokens, embedding=16",
            lambda form=form: fitted(kind, form),
            elman.DtypeError,
        )
    refused("real numbers. Got 'the' at step 0.*embedding=16", lambda: fitted(kind, [["the", "cat"], ["a"]] * 12))
    with pytest.warns(UserWarning, match="embedding=16.*they are taken as values") as seen:
        fitted(kind, equal)
    assert [warning.filename for warning in seen] == [__file__]
    floats = [np.asarray(part, float) for part in ragged]
    model = fitted(kind, floats)
    same(model.predict(ragged), model.predict(floats))  # fit has said what they are
    fitted(kind, [[1, 2, 3.5], *ragged])


@ALL
@pytest.mark.parametrize("text", [False, True])
def test_tokens_are_embedded(kind, text, tmp_path):
    tokens = token_lists(RNG, text)
    model = fitted(kind, tokens, embedding=4)
    assert model.tokens_.tolist() == sorted({token for part in tokens for token in part})
    assert model.scaler_ is None
    assert model.n_features_in_ == 1
    assert f"tokens, {len(model.tokens_)} different ones" in model.read_as
    first = model.network_.layers[0]
    assert isinstance(first, elman.Embedding)
    assert (first.count, first.size) == (len(model.tokens_), 4)
    told = model.predict(tokens)
    for form in (tuple(tokens), [np.array(part) for part in tokens], [np.array(part, object) for part in tokens]):
        same(model.predict(form), told)
        same(fitted(kind, form, embedding=4).predict(form), told)
    same(pickle.loads(pickle.dumps(model)).predict(tokens), told)
    same(clone(model).fit(tokens, KINDS[kind](tokens)).predict(tokens), told)
    unseen = copy.deepcopy(tokens)
    unseen[5][2] = "dog" if text else 5
    refused(
        f"tokens that fit has seen. Got {'.dog.' if text else 5} at sequence 5, step 2", lambda: model.predict(unseen)
    )
    assert np.isfinite(cross_val_score(kind(embedding=4, **TINY), tokens, KINDS[kind](tokens), cv=2)).all()
    # The network is saved and streamed as any other; it takes the places of the tokens.
    model.network_.save(tmp_path / "tokens.safetensors")
    places = [np.searchsorted(model.tokens_, part) for part in tokens]
    for ours, theirs in zip(
        model.network_(places)[0], elman.load(tmp_path / "tokens.safetensors")(places)[0], strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_an_embedded_network_streams_its_tokens():
    tokens = token_lists(RNG, text=False)
    tagger = fitted(SequenceTagger, tokens, embedding=4, bidirectional=False)
    stream = tagger.network_.stream()
    scores = [stream.step(place) for place in np.searchsorted(tagger.tokens_, tokens[3])]
    np.testing.assert_array_equal(tagger.classes_[np.argmax(scores, axis=1)], tagger.predict(tokens)[3])


def test_arrays_of_tokens():
    tokens = RNG.integers(0, 6, size=(20, 5))
    model = fitted(SequenceTagger, tokens, embedding=3)
    assert model.predict(tokens).shape == (20, 5)
    same(model.predict(list(tokens)), list(model.predict(tokens)))
    assert model.predict(tokens[:, :2]).shape == (20, 2)


def test_tokens_are_learned():
    rng = np.random.default_rng(1)
    tokens = [rng.integers(0, 8, size=n) for n in rng.integers(4, 9, size=160)]
    y = [int((part == 5).any()) for part in tokens]
    options = {"hidden": 8, "epochs": 30, "dropout": 0.0, "learning_rate": 0.02, "random_state": 0}
    assert SequenceClassifier(embedding=4, **options).fit(tokens[:120], y[:120]).score(tokens[120:], y[120:]) > 0.9


def test_what_is_no_token():
    def fit(parts, embedding=4):
        return lambda: fitted(SequenceClassifier, parts, embedding=embedding)

    good = token_lists(RNG, text=False)
    refused(r"X\[1\] must hold tokens.*Got 1.0 at step 0", fit([good[0], [1, 2, 1.5], *good]))
    refused(r"X\[1\] must hold tokens.*Got None at step 0", fit([good[0], [None, 2], *good]))
    refused(r"X\[1\] must hold tokens.*Got NaN at step 1", fit([good[0], [1.0, np.nan], *good]))
    refused(r"X\[0\] must hold tokens", fit([np.array([1, 2], "M8[ns]"), *good]))
    refused(r"X\[1\] must hold tokens.*Got True at step 0", fit([good[0], [True, False], *good]))
    refused(r"X\[0\] must hold tokens.*Got 1.0 at step 0", fit([np.ones(3), *good]))
    refused(
        r"X\[0\] must hold tokens.*Got 18446744073709551615 at step 1",
        fit([np.array([1, 2**64 - 1], np.uint64), *good]),
    )
    refused(r"X\[1\] must hold whole numbers, as X\[0\] has. Got 'the' at step 0", fit([good[0], ["the"], *good]))
    refused(
        r"X\[1\] must have shape \(time,\), one token per step. Got \(2, 3\)",
        fit([good[0], np.ones((2, 3), int), *good]),
    )
    refused(r"X\[1\] must have shape \(time,\), one token per step. Got \(0,\)", fit([good[0], [], *good]))
    refused("list of sequences of tokens", fit(np.ones((3, 4, 5), int)))
    refused("embedding must be a whole number from 1 up", fit(good, embedding=0))
    refused("embedding must be a whole number", fit(good, embedding=2.5))
    refused(r"X\[0\] must hold whole numbers, as fit has", lambda: fit(good)().predict([["the", "cat"]]))


# Ids and times among the features.


@ALL
def test_ids_and_times_among_the_features_are_named(kind):
    rng = np.random.default_rng(11)
    for draw in range(40):
        width = int(rng.integers(1, 4))
        parts = [rng.normal(size=(n, width)) for n in rng.integers(3, 8, size=rng.integers(2, 6))]
        start = float(rng.choice([0, 1, -3, 1.7e9]))
        step = float(rng.choice([1, 0.1, 3600, 1 / 3]))
        columns = {
            "id": [np.full(len(part), 10.0 * i) for i, part in enumerate(parts)],
            "time": [start + step * np.arange(len(part)) for part in parts],
            "row": np.split(np.arange(sum(map(len, parts))), np.cumsum([len(part) for part in parts])[:-1]),
        }
        name = ("id", "time", "row")[draw % 3]
        at = int(rng.integers(0, width + 1))
        wrong = [np.insert(part, at, column, axis=1) for part, column in zip(parts, columns[name], strict=True)]
        if draw % 4 == 0:
            wrong = [part.astype(np.float32) if start < 1e6 else part for part in wrong]
        words = "is constant in every sequence and differs between them" if name == "id" else "counts up in equal steps"
        if name != "id" and draw % 5 == 0:  # rows of a table that were mixed before they were grouped
            order = [[1, *range(2, len(part)), 0] for part in wrong]
            wrong, words = [part[rows] for part, rows in zip(wrong, order, strict=True)], f"{words}.*out of order"
        with pytest.warns(UserWarning, match=f"feature {at} {words}") as seen:
            fitted(kind, wrong, epochs=1)
        assert len(seen) == 1
        assert seen[0].filename == __file__


def test_no_false_alarms():
    rng = np.random.default_rng(12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(20):
            parts = [rng.normal(size=(n, 2)) for n in rng.integers(2, 6, size=8)]
            constant = [np.column_stack([part, np.full(len(part), 7.0)]) for part in parts]
            down = [np.column_stack([part, -np.arange(len(part))]) for part in parts]
            some = [np.column_stack([part, np.arange(len(part)) ** (1 + i % 2)]) for i, part in enumerate(parts)]
            some[-1] = np.column_stack([rng.normal(size=(5, 2)), [0, 1, 2, 4, 5]])
            alone = [np.arange(float(len(part))) for part in parts]
            steps = [rng.normal(size=(1, 3)) for _ in range(8)]  # one step says nothing
            pixels = rng.integers(0, 255, size=(8, 4, 3), dtype=np.uint8)
            for form in (parts, constant, down, some, alone, steps, pixels):
                fitted(SequenceRegressor, form, epochs=1)


# What fit keeps, and how it was read.


@ALL
def test_how_x_was_read(kind):
    with pytest.raises(NotFittedError):
        kind().read_as  # noqa: B018
    assert not hasattr(kind(), "read_as")
    lengths = [len(part) for part in X]
    assert fitted(kind, X).read_as == f"24 sequences of {min(lengths)} to {max(lengths)} steps, 2 features"
    assert fitted(kind, RNG.normal(size=(4, 5, 3))).read_as == "4 sequences of 5 steps, 3 features"
    assert fitted(kind, RNG.normal(size=(4, 5))).read_as == "4 sequences of 5 steps, the rows of a table, 1 feature"


@ALL
def test_a_fit_that_is_refused_changes_nothing(kind):
    model = fitted(kind, X)
    before = {name: id(value) for name, value in vars(model).items()}
    for wrong in (RNG.normal(size=(5, 4)), RNG.normal(size=(5, 4, 3)), [np.ones((2, 7)), np.zeros((3, 7))]):
        with pytest.raises(ValueError, match=r"y must hold|y\[0\] must"):
            model.fit(wrong, KINDS[kind](wrong)[:-1] if kind is not SequenceTagger else [["a"]] * len(wrong))
        assert {name: id(value) for name, value in vars(model).items()} == before
    assert re.match("24 sequences", model.read_as)


# Frames: names, order, kinds.


def libraries():
    pandas, polars, pyarrow = (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))
    return {"pandas": pandas.DataFrame, "polars": polars.DataFrame, "pyarrow": pyarrow.table}


def frames_of(make, parts, names, rng=None):
    """Frames with these columns, in the order of `names` or of the random generator's."""
    made = []
    for part in parts:
        order = range(len(names)) if rng is None else rng.permutation(len(names))
        made.append(make({names[j]: part[:, j] for j in order}))
    return made


@ALL
def test_columns_in_any_order_are_those_of_fit(kind):
    rng = np.random.default_rng(3)
    parts = [rng.normal([0, 5, -2, 100], 1, size=(n, 4)) for n in LENGTHS]
    names = ["temperature", "pressure", "höhe", "x"]
    expected = fitted(kind, parts).predict(parts)
    for make in libraries().values():
        model = fitted(kind, [frames_of(make, parts, names)[0], *frames_of(make, parts[1:], names, rng)])
        assert model.feature_names_in_.tolist() == names
        assert model.n_features_in_ == 4
        assert model.read_as.endswith("4 features: temperature, pressure, höhe, x")
        for other in libraries().values():
            same(model.predict(frames_of(other, parts, names, rng)), expected)
        for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
            same(twin.predict(frames_of(make, parts, names, rng)), expected)
        swapped = frames_of(make, parts, names)
        swapped[7] = make(dict.fromkeys(("temperature", "pressure", "hoehe", "x"), parts[7][:, 0]))
        lacks = re.escape("X[7] must have the columns 'temperature', 'pressure', 'höhe', 'x'")
        for call in (model.predict, lambda X, model=model: clone(model).fit(X, KINDS[kind](X))):
            refused(f"{lacks}.*lacks 'höhe' and has 'hoehe'", lambda call=call, swapped=swapped: call(swapped))
        swapped[7] = make(dict.fromkeys(names[1:], parts[7][:, 0]))
        refused("lacks 'temperature'", lambda model=model, swapped=swapped: model.predict(swapped))


@pytest.mark.parametrize("labels", [(3, 1, 2), (0, 1, 2), ("a", 1, None), (("x", "a"), ("x", "b"), ("y", "a"))])
def test_labels_of_every_kind(labels):
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(4)
    parts = [rng.normal(size=(n, 3)) for n in LENGTHS]
    frames = [pandas.DataFrame(dict(enumerate(part.T))) for part in parts]
    for frame in frames:
        frame.columns = pandas.Index(labels) if isinstance(labels[0], tuple) else pandas.Index(labels, dtype=object)
    model = fitted(SequenceRegressor, frames)
    if labels == (0, 1, 2):  # as pandas names what has no names
        assert not hasattr(model, "feature_names_in_")
    else:
        assert model.feature_names_in_.tolist() == list(labels)
    expected = fitted(SequenceRegressor, parts).predict(parts)
    same(model.predict([frame.iloc[:, rng.permutation(3)] for frame in frames]), expected)
    refused("must have the columns", lambda: model.predict([frame.iloc[:, :2] for frame in frames]))


def test_names_in_fit_or_in_predict_alone():
    rng = np.random.default_rng(5)
    parts = [rng.normal(size=(n, 2)) for n in LENGTHS]
    named, plain = (fitted(SequenceClassifier, X) for X in (frames_of(libraries()["pandas"], parts, ["a", "b"]), parts))
    expected = plain.predict_proba(parts)
    with pytest.warns(UserWarning, match="X does not have valid feature names, but SequenceClassifier was") as seen:
        same(named.predict_proba(parts), expected)
    with pytest.warns(UserWarning, match="X has feature names, but SequenceClassifier was fitted without") as more:
        same(plain.predict_proba(frames_of(libraries()["polars"], parts, ["a", "b"])), expected)
    assert {warning.filename for warning in [*seen, *more]} == {__file__}
    unnamed = frames_of(libraries()["pandas"], parts, [0, 1])
    same(plain.predict_proba(unnamed), expected)
    same(fitted(SequenceClassifier, unnamed).predict_proba(parts), expected)
    mixed = [*frames_of(libraries()["pandas"], parts[:3], ["a", "b"]), *parts[3:]]
    refused(
        "frames alone, or arrays alone.*for X.3. beside frames", lambda: fitted(SequenceClassifier, mixed), TypeError
    )
    refused("frames alone, or arrays alone", lambda: named.predict(mixed), TypeError)
    plain.fit(frames_of(libraries()["pandas"], parts, ["a", "b"]), KINDS[SequenceClassifier](parts))
    assert plain.feature_names_in_.tolist() == ["a", "b"]
    plain.fit(parts, KINDS[SequenceClassifier](parts))
    assert not hasattr(plain, "feature_names_in_")


@ALL
def test_truth_and_categories(kind):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    rng = np.random.default_rng(6)
    names = np.array(["b", "a", "ç"])
    sites = [rng.integers(0, 1 if i < 3 else 3, size=n) for i, n in enumerate(LENGTHS)]  # "b" alone in the first
    nights = [rng.integers(0, 2, size=n).astype(bool) for n in LENGTHS]
    values = [rng.normal(size=n) for n in LENGTHS]
    order = [1, 0, 2]  # categories are sorted
    encoded = [np.column_stack([v, n, np.eye(3)[s][:, order]]) for v, n, s in zip(values, nights, sites, strict=True)]
    columns = [{"x": v, "night": n, "site": names[s]} for v, n, s in zip(values, nights, sites, strict=True)]
    expected = fitted(kind, encoded).predict(encoded)
    for form in (
        [pandas.DataFrame(each).astype({"site": "category"}) for each in columns],
        [pandas.DataFrame(each).astype({"site": "category", "night": "boolean", "x": "Float64"}) for each in columns],
        [polars.DataFrame(each).cast({"site": polars.Categorical}) for each in columns],
        [polars.DataFrame(each).cast({"site": polars.Enum(["ç", "b", "a"])}) for each in columns],
    ):
        model = fitted(kind, form)
        assert model.n_features_in_ == 3
        assert model.network_.input_size == 5
        assert model.feature_names_in_.tolist() == ["x", "night", "site"]
        assert model.read_as.endswith("3 features: x; night (truth); site (3 categories)")
        same(model.predict(form), expected)
        same(model.predict([form[9]]), [expected[9]])
        refused("categories too. Got arrays", lambda model=model: model.predict(encoded), TypeError)
    pandas_model = fitted(kind, [pandas.DataFrame(each).astype({"site": "category"}) for each in columns])
    unseen = [pandas.DataFrame(each) for each in columns]
    unseen[5].loc[2, "site"] = "d"
    refused(
        r"X\[5\] must hold categories that fit saw in the column 'site'.*Got 'd' at step 2",
        lambda: pandas_model.predict([each.astype({"site": "category"}) for each in unseen]),
    )


def test_the_column_at_fault_is_named():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(8)
    frames = [pandas.DataFrame(rng.normal(size=(n, 2)), columns=["heat", "noise"]) for n in LENGTHS]

    def fit(change, at=4):
        changed = [frame.copy() for frame in frames]
        changed[at] = change(changed[at])
        return lambda: fitted(SequenceRegressor, changed)

    def put(value, row=2, column="noise"):
        def change(frame):
            frame = frame.astype({column: object})
            frame.at[row, column] = value
            return frame

        return change

    for value, got in ((np.inf, "inf"), (-np.inf, "-inf"), (np.nan, "NaN"), (None, "NaN"), (pandas.NA, "NaN")):
        refused(f"X must be finite. Got {got} at sequence 4, step 2, column 'noise'", fit(put(value)))
    refused("at most 1e.150 in size. Got 1e.200 at sequence 4, step 2, column 'noise'", fit(put(1e200)))
    large = [frame.copy() for frame in frames]
    large[4].loc[2, "noise"] = 1e60
    refused(
        "Got 1e.60 at sequence 4, step 2, column 'noise'", lambda: fitted(SequenceRegressor, large, standardize=False)
    )
    for value in ("a", [1, 2], {"a": 1}, np.ones(2), pandas.Timestamp("2024-01-31"), 1j):
        refused(r"X\[4\] must hold .* in the column 'noise'. Got .* at step 2", fit(put(value)))
    refused(r"X\[4\] must have at least one step", fit(lambda frame: frame[:0]))
    refused("at least one step and one feature", lambda: fitted(SequenceRegressor, [frame[[]] for frame in frames]))
    refused("columns of different names. Got 'heat' more than once", fit(lambda f: pandas.concat([f, f], axis=1)))
    wide = pandas.DataFrame(np.zeros((2, 1_000_000), np.int8))
    refused("X.1. must have at most 100,000 columns", lambda: fitted(SequenceRegressor, [frames[0], wide]))
    refused("X must have at most 100,000 columns", lambda: fitted(SequenceRegressor, wide))
    for none in ({"a": frames[0]}, frames[0].groupby("heat"), iter(frames), "text", frames[0].heat):
        with pytest.raises((TypeError, ValueError), match=r"X must be a list of (sequences|tables)"):
            SequenceRegressor(**TINY).fit(none, [1.0, 2.0])


def test_ids_and_times_are_named_by_their_columns():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(9)
    table = pandas.concat([
        pandas.DataFrame({"site": f"s{i}", "x": rng.normal(size=n), "day": np.arange(n), "night": i % 2 == 0, "y": 0.0})
        for i, n in enumerate(LENGTHS)
    ]).astype({"site": "category"})  # fmt: skip
    groups = [group for _, group in table.groupby("site", observed=True)]
    with pytest.warns(UserWarning, match="constant in every sequence") as seen:
        fitted(SequenceClassifier, groups)
    assert [str(warning.message) for warning in seen] == [
        "X: column 'site' is constant in every sequence and differs between them, as an id; column 'day' counts up in "
        "equal steps in every sequence, as a time. Training takes it as a feature; leave it out where it is none."
    ]
    fitted(SequenceClassifier, [group.drop(columns=["site", "day"]) for group in groups])
    single = [group[["x", "y"]].assign(t=(0.1 * np.arange(len(group))).astype("float32")) for group in groups]
    with pytest.warns(UserWarning, match="column 't' counts up"):
        fitted(SequenceClassifier, single)


# The index of frames.


def test_steps_stand_in_the_order_of_their_stamps():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(10)
    n = 6
    days = pandas.date_range("2024-03-29", periods=n, tz="Europe/Berlin")
    indexes = [
        days,
        days.tz_localize(None).to_period("D"),
        pandas.Index([day.date() for day in days]),
        pandas.Index(days.strftime("%Y-%m-%d")),
        pandas.to_timedelta(np.arange(n), unit="h"),
        pandas.MultiIndex.from_product([["store 1"], days]),
    ]
    for index in indexes:
        good = [pandas.DataFrame(rng.normal(size=(n, 2)), index=index, columns=["a", "b"]) for _ in range(4)]
        model = fitted(SequenceTagger, good)
        same(model.predict(good), model.predict([frame.reset_index(drop=True) for frame in good]))
        bad = [*good[:2], good[2].iloc[[0, 2, 1, 3, 4, 5]], good[3]]
        for call in (model.predict, lambda X: fitted(SequenceTagger, X)):
            refused(r"X\[2\] must stand in the order of time. Got .* at step 2", lambda call=call, bad=bad: call(bad))
        refused("at least one step", lambda good=good: fitted(SequenceTagger, [good[0], good[1][:0]]))
        refused("order of time", lambda good=good: fitted(SequenceTagger, [frame["a"][::-1] for frame in good]))
    for index in (rng.permutation(n), ["d", "a", "c", "b", "f", "e"], ["2024", "1000", "0001", "7", "8", "9"]):
        fitted(SequenceTagger, [pandas.DataFrame(rng.normal(size=(n, 2)), index=index)] * 4)  # labels of rows
    panel = pandas.concat({"b": good[0].droplevel(0), "a": good[1].droplevel(0)}, names=["store", "day"])
    refused("order of time", lambda: fitted(SequenceTagger, [panel, panel]))
    fitted(SequenceTagger, [group for _, group in panel.groupby(level="store")])


def test_y_of_another_index_is_refused():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(13)
    table = pandas.DataFrame(rng.normal(size=(8, 5)), columns=[f"step {i}" for i in range(5)])
    y = pandas.Series(np.arange(8.0))
    regressor = SequenceRegressor(**TINY).fit(table, y)
    order = [3, 0, 1, 2, 7, 6, 5, 4]
    refused(
        "y must have the index of X where it has one. Got 0 for 3 at row 0", lambda: regressor.fit(table.loc[order], y)
    )
    refused("y must have the index of X", lambda: regressor.score(table, y.loc[order]))
    refused("sample_weight must have the index of X", lambda: regressor.fit(table, y, sample_weight=y.loc[order]))
    assert regressor.score(table, y.loc[order].to_numpy()) != regressor.score(table, y)
    assert regressor.score(table.loc[order], y.loc[order]) == pytest.approx(regressor.score(table, y))
    regressor.fit(table.loc[order], y.set_axis(list("abcdefgh")))  # names that say nothing of rows
    days = pandas.date_range("2024-01-01", periods=5)
    frames = [pandas.DataFrame(rng.normal(size=(5, 2)), index=days) for _ in range(4)]
    tags = [pandas.Series(list("ababa"), index=days) for _ in range(4)]
    tagger = SequenceTagger(**TINY).fit(frames, tags)
    late = [*tags[:2], tags[2].set_axis(days + days.freq), tags[3]]
    for call in (tagger.fit, tagger.score):
        refused(r"y\[2\] must have the index of X", lambda call=call: call(frames, late))


# Long tables, whose rows are steps.


def long_table(rng, library, shuffle):
    counts = rng.integers(4, 7, size=5)
    columns = {
        "7": np.repeat(rng.permutation(20)[:5], counts),
        "8": np.concatenate([10.0 * np.arange(n) for n in counts]),
        "9": rng.normal(size=counts.sum()),
    }
    order = rng.permutation(3) if shuffle else range(3)
    return libraries()[library]({list(columns)[j]: list(columns.values())[j] for j in order}), counts


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_a_long_table_with_labels_of_rows_is_asked_about(library):
    rng = np.random.default_rng(14)
    make = libraries()[library]
    for draw in range(30):
        table, counts = long_table(rng, library, shuffle=draw % 2)
        labels = rng.integers(0, 2, size=counts.sum())
        refused(
            "looks like a(n id|.* time).*What is a row",
            lambda table=table, y=labels: SequenceClassifier(**TINY).fit(table, y),
        )
    values = rng.normal(size=20)
    store, day = np.repeat(["a", "b"], 10), np.tile(np.arange("2024-01-01", "2024-01-11", dtype="M8[D]"), 2)
    for columns, words in (
        ({"store": store, "sales": values}, "in the column 'store'"),
        ({"day": day, "sales": values}, "in the column 'day'"),
        ({"temperature": values, "pressure": values[::-1]}, "the column 'temperature' is not named like a step"),
        ({"id": rng.permutation(20), "s1": values, "s2": values}, "the column 'id' is not named like a step"),
    ):
        form = {name: column.tolist() for name, column in columns.items()}
        for kind in (SequenceClassifier, SequenceRegressor, SequenceTagger):
            refused(f"{words}.*What is a row", lambda kind=kind, form=form: kind(**TINY).fit(make(form), values > 0))
    model = SequenceRegressor(**TINY)
    wide = rng.normal(size=(12, 5))
    for names in ([f"t{i}" for i in range(5)], ["2024-01", "2024-02", "2024-03", "2024-04", "2024-05"], list("abcde")):
        told = model.fit(make(dict(zip(names, wide.T, strict=True))), wide[:, 0]).predict(wide[:, :, None])
        same(told, SequenceRegressor(**TINY).fit(wide[:, :, None], wide[:, 0]).predict(wide[:, :, None]))


def test_an_index_that_is_a_panel_or_dates_is_asked_about():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(15)
    table = pandas.DataFrame(rng.normal(size=(12, 4)))
    days = pandas.date_range("2024-01-01", periods=12)
    for index, words in (
        (days, "the index holds times"),
        (days.to_period("D").rename("day"), "the level 'day' of the index holds periods"),
        (days.strftime("%Y-%m-%d"), "the index holds dates"),
        (pandas.MultiIndex.from_product([["a", "b"], range(6)]), "the index has several levels"),
        (pandas.Index(np.repeat([4, 2, 9], 4), name="id"), "the level 'id' of the index holds ids that come again"),
    ):
        refused(f"{words}.*What is a row", lambda index=index: fitted(SequenceRegressor, table.set_axis(index)))
    for index in (rng.permutation(12), np.repeat([0, 1], 6), [f"patient {i}" for i in range(12)]):
        fitted(SequenceRegressor, table.set_axis(pandas.Index(index)))
    long, counts = long_table(rng, "pandas", shuffle=False)
    with pytest.warns(UserWarning, match="column 0 looks like an id, column 1 like a time") as seen:
        SequenceRegressor(**TINY).fit(long.to_numpy(), np.arange(counts.sum()))
    assert seen[0].filename == __file__


# Random frames, held against plain arithmetic.


def random_columns(rng, lengths):
    """Columns of random kinds, each as values of every sequence, and the features that they are."""
    columns = {}
    for label in rng.permutation(["a", "b", "ö 1", "c=d", "e"])[: rng.integers(1, 6)]:
        kind = rng.choice(["float", "float32", "int", "uint8", "truth", "category"])
        if kind == "category":
            names = rng.permutation(["x", "y", "z", "ß"])[: rng.integers(2, 5)]
            values = [rng.choice(names, size=n) for n in lengths]
            found = sorted({name for part in values for name in part})
            features = [np.stack([part == name for name in found], axis=1).astype(float) for part in values]
        else:
            dtype = {"float": np.float64, "int": np.int64, "truth": bool}.get(kind) or np.dtype(str(kind))
            values = [rng.normal(0, 50, size=n).astype(np.int64).clip(0, 200).astype(dtype) for n in lengths]
            if kind in ("float", "float32"):
                values = [rng.normal(size=n).astype(dtype) for n in lengths]
            features = [part.astype(float)[:, None] for part in values]
        columns[str(label)] = (str(kind), values, features)
    return columns


def a_frame(library, columns, i, order):
    native = pytest.importorskip(library)
    named = {label: columns[label][1][i] for label in order}
    texts = [label for label in order if columns[label][0] == "category"]
    if library == "pandas":
        return native.DataFrame(named).astype(dict.fromkeys(texts, "category"))
    if library == "polars":
        return native.DataFrame(named).cast(dict.fromkeys(texts, native.Categorical))
    return native.table({
        label: native.array(values.tolist()).dictionary_encode() if label in texts else native.array(values)
        for label, values in named.items()
    })  # fmt: skip


def test_random_frames_are_the_numbers_that_they_hold():
    rng = np.random.default_rng(21)
    for draw in range(500):
        lengths = rng.integers(2, 6, size=rng.integers(1, 5))
        columns = random_columns(rng, lengths)
        labels = list(columns)
        library, other = rng.choice(["pandas", "polars", "pyarrow"], size=2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # short sequences of whole numbers do look like ids and times
            model = SequenceRegressor()
            orders = [labels, *(rng.permutation(labels).tolist() for _ in lengths[1:])]
            inputs = read_inputs(model, [a_frame(library, columns, i, o) for i, o in enumerate(orders)], reset=True)
        vars(model).update(inputs.kept, network_=SimpleNamespace(input_size=inputs.features))
        frames = [a_frame(other, columns, i, rng.permutation(labels).tolist()) for i in range(len(lengths))]
        again = read_inputs(model, frames, reset=False)
        for i in range(len(lengths)):
            expected = np.concatenate([columns[label][2][i] for label in labels], axis=1)
            np.testing.assert_array_equal(inputs.parts[i], expected, err_msg=f"draw {draw}")
            np.testing.assert_array_equal(again.parts[i], expected, err_msg=f"draw {draw}")
        assert model.n_features_in_ == len(labels)
        assert model.feature_names_in_.tolist() == labels
