"""Sequence estimators: facts that are no ids, one bare sequence in every form, tokens of two kinds, lists of Arrow."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from elman import SequenceClassifier, SequenceRegressor, SequenceTagger

TINY = {"hidden": 2, "epochs": 1, "random_state": 0}
KINDS = (SequenceClassifier, SequenceRegressor, SequenceTagger)
RNG = np.random.default_rng(21)


def answers(kind, parts):
    """A y for these sequences."""
    if kind is SequenceTagger:
        return [np.arange(len(part)) % 2 for part in parts]
    return np.arange(len(parts)) % 2


def fitted(kind, parts, **given):
    return kind(**{**TINY, **given}).fit(parts, answers(kind, parts))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_facts_that_are_true_or_false_of_a_sequence_are_no_ids(kind, seed):
    rng = np.random.default_rng([seed, 1])
    parts = [rng.normal(size=(n, 2)) for n in rng.integers(4, 9, size=7)]
    codes = rng.permutation([0, 1, 2, *rng.integers(0, 3, size=4)])
    facts = {
        "one hot": np.eye(3)[codes],
        "yes or no": rng.permutation(codes > 0)[:, None],
        "two places": np.where(rng.permutation(codes) > 1, 21.5, 40.0)[:, None],
        "one that differs": (np.arange(7) == 3)[:, None],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for columns in facts.values():
            wide = [np.hstack([part, np.tile(row, (len(part), 1))]) for part, row in zip(parts, columns, strict=True)]
            fitted(kind, wide)
    for columns in (np.arange(7)[:, None], codes[:, None]):
        wide = [np.hstack([part, np.tile(row, (len(part), 1))]) for part, row in zip(parts, columns, strict=True)]
        with pytest.warns(UserWarning, match="feature 2 is constant in every sequence"):
            fitted(kind, wide)
    pair = [np.hstack([part, np.full((len(part), 1), i)]) for i, part in enumerate(parts[:2])]
    with pytest.warns(UserWarning, match="feature 2 is constant in every sequence"):
        fitted(kind, pair)


def test_categories_of_which_there_are_three_may_be_ids():
    pandas = pytest.importorskip("pandas")
    for count in (2, 3):
        frames = [pandas.DataFrame({"x": RNG.normal(size=5), "site": f"s{i % count}"}) for i in range(6)]
        frames = [frame.astype({"site": "category"}) for frame in frames]
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            fitted(SequenceClassifier, frames)
        assert [str(warning.message)[:28] for warning in seen] == ["X: column 'site' is constant"] * (count == 3)


@pytest.mark.parametrize("kind", KINDS)
def test_one_flat_sequence_after_a_fit_on_sequences_is_refused(kind):
    flat = [RNG.normal(size=n) for n in (5, 7, 6, 4)]
    alike = RNG.normal(size=(4, 6, 2))
    for parts in (flat, [part[:, None] for part in flat], [part.tolist() for part in flat], alike):
        model = fitted(kind, parts)
        for bare in (np.ones(5), np.ones(5).tolist(), (1.5, 2.5)):
            for name, given in (("predict", [bare]), ("predict_proba", [bare]), ("score", [bare, [0]])):
                if hasattr(model, name):
                    with pytest.raises(ValueError, match=r"X must be a list.*: pass \[x\] for one sequence\."):
                        getattr(model, name)(*given)
    tokens = fitted(kind, [[3, 1, 2], [1, 2]] * 2, embedding=2)
    for bare in ([1, 2], np.array([1, 2])):
        with pytest.raises(ValueError, match=r"X must be a list of sequences of tokens.*: pass \[x\] for one sequence"):
            tokens.predict(bare)


def test_the_token_of_another_kind_is_named():
    for parts, wrong in (([["the", 1], ["cat"]], "Got 1 at step 1"), ([[4, "the"], [5]], "Got 'the' at step 1")):
        with pytest.raises(TypeError, match=rf"X\[0\] must hold tokens, whole numbers of 64 bits or text. {wrong}"):
            SequenceClassifier(**TINY, embedding=2).fit(parts, [0, 1])
    with pytest.raises(TypeError, match=r"X\[0\] must hold real numbers. Got an array of dtype datetime64\[D\]\.$"):
        SequenceClassifier(**TINY).fit([np.array(["2024-01-01"] * 2, "M8[D]")] * 2, [0, 1])


def test_lists_of_arrow_are_sequences():
    pyarrow = pytest.importorskip("pyarrow")
    parts = [RNG.normal(size=n).tolist() for n in (5, 7, 6, 4)]
    model = fitted(SequenceRegressor, parts)
    for form in (pyarrow.array(parts), pyarrow.chunked_array([parts[:1], parts[1:]])):
        np.testing.assert_array_equal(fitted(SequenceRegressor, form).predict(form), model.predict(parts))
    tokens = pyarrow.array([["the", "cat"], ["the"], ["a", "cat"]])
    assert fitted(SequenceClassifier, tokens, embedding=2).tokens_.tolist() == ["a", "cat", "the"]
    with pytest.raises(TypeError, match="embedding=16"):
        fitted(SequenceClassifier, pyarrow.array([[4, 1], [3]]))


def test_the_shape_of_an_empty_frame_is_that_of_the_user():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x": [1.0, 2.0, 3.5], "site": pandas.Categorical(["a", "b", "c"])})
    with pytest.raises(ValueError, match=r"X\[1\] must have at least one step and one feature. Got \(0, 2\)"):
        fitted(SequenceRegressor, [frame, frame[:0]])


def test_axes_are_no_steps():
    pandas = pytest.importorskip("pandas")
    y = np.arange(12) % 2
    for names in (["x", "y", "z"], ["X", "Y"], ["b", "a"], ["heat"], ["u", "v"]):
        steps = pandas.DataFrame(RNG.normal(size=(12, len(names))), columns=names)
        with pytest.raises(ValueError, match=f"the column '{names[0]}' is not named like a step.*What is a row"):
            SequenceClassifier(**TINY).fit(steps, y)
        SequenceClassifier(**TINY).fit(steps.to_numpy(), y)
    for given in (["a", "b", "c"], ["A", "B"], ["x1", "x2"], [0, 1]):
        SequenceClassifier(**TINY).fit(pandas.DataFrame(RNG.normal(size=(12, len(given))), columns=given), y)


def test_a_step_of_two_values_is_no_id():
    pandas = pytest.importorskip("pandas")
    for values, seen in (([0] * 6 + [1] * 6, ""), ([0] * 4 + [2] * 4 + [1] * 4, "the column 0 looks like an id")):
        table = pandas.DataFrame(np.column_stack([values, RNG.normal(size=(12, 2))]))
        if seen:
            with pytest.raises(ValueError, match=seen):
                fitted(SequenceRegressor, table)
        else:
            fitted(SequenceRegressor, table)
        table[2] = [*range(6)] * 2
        with pytest.raises(ValueError, match="the column 0 looks like an id and the column 2 looks like a time"):
            fitted(SequenceRegressor, table)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber"])
def test_numbers_in_another_unit_are_told_in_it(loss):
    parts = [RNG.normal(size=(n, 2)) for n in RNG.integers(3, 8, size=12)]
    for y in (
        RNG.normal(size=12),
        np.full(12, 0.3),
        np.where(np.arange(12) % 2, 0.1, 0.7),
        np.full((12, 2), [3.0, 0.1]),
    ):
        told = []
        for unit in (1, 1e-13, 1e13):
            scaled = [unit * part for part in parts]
            told.append(SequenceRegressor(**TINY, loss=loss).fit(scaled, y / unit).predict(scaled) * unit)
        for other in told[1:]:
            np.testing.assert_allclose(other, told[0], rtol=1e-4, atol=1e-6)
