"""What sequences say about themselves, in arrays and in frames: read, asked about or refused, never dropped."""

from __future__ import annotations

import copy
import pickle
import re
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score

import elman
from elman.estimators import SequenceClassifier, SequenceRegressor, SequenceTagger

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
