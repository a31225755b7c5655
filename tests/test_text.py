"""TextGenerator: what it learns, what it writes, what it measures, and what it refuses."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

import elman
from elman.estimators import text as module
from elman.estimators.text import TextGenerator

LINE = "to be or not to be, that is the question: "
NAMES = ["anna", "hannah", "ann", "nan", "hanna", "na"] * 8
SMALL = {"hidden": 12, "embedding": 5, "dropout": 0.0, "truncate": 7, "epochs": 3, "batch_size": 4, "random_state": 3}


@pytest.fixture(scope="module")
def writer():
    return TextGenerator(hidden=32, embedding=6, dropout=0.0, truncate=16, epochs=40, random_state=0).fit(LINE * 8)


@pytest.fixture(scope="module")
def namer():
    return TextGenerator("gru", 24, embedding=6, dropout=0.1, epochs=25, batch_size=8, random_state=1).fit(NAMES)


def by_hand(net, tokens):
    """The mean of -log softmax(scores)[next], written out in float64."""
    scores = net(np.array(tokens[:-1]))[0].astype(np.float64)
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return [-np.log(row[token]) for row, token in zip(p, tokens[1:], strict=True)]


def test_a_text_is_learned_and_gone_on_with(writer):
    assert writer.vocabulary_ == "".join(sorted(set(LINE)))
    for _ in range(2):
        assert writer.generate(2 * len(LINE) - 5, "to be", temperature=0) == LINE * 2
    assert writer.nats(LINE * 3) < 0.2 < np.log(len(writer.vocabulary_))
    assert writer.frequencies_.sum() == pytest.approx(1)
    assert writer.frequencies_[writer.vocabulary_.index("o")] == LINE.count("o") / len(LINE)
    assert writer.history_.validation_loss is None


def test_nats_equal_the_definition(writer):
    for line in (LINE, "not to be"):
        tokens = [writer.vocabulary_.index(character) for character in line]
        for _ in range(2):
            assert writer.nats(line) == pytest.approx(np.mean(by_hand(writer.network_, tokens)), rel=1e-5)
        assert writer.score(line) == -writer.nats(line)


def test_nats_of_a_list_count_every_character_and_the_end(namer):
    end = len(namer.vocabulary_)
    losses = []
    for name in ("anna", "nan"):
        losses += by_hand(namer.network_, [end, *(namer.vocabulary_.index(c) for c in name), end])
    assert len(losses) == 5 + 4
    assert namer.nats(["anna", "nan"]) == pytest.approx(np.mean(losses), rel=1e-5)
    assert namer.nats(np.array(["anna", "nan"])) == namer.nats(("anna", "nan"))


def test_nats_do_not_depend_on_the_pieces(writer, namer, monkeypatch):
    line, names = LINE * 3, NAMES[:11]
    whole = writer.nats(line), namer.nats(names)
    for steps in (4, 9, len(line) - 1):
        monkeypatch.setattr(module, "STEPS_PER_SCORE", steps)
        assert writer.nats(line) == pytest.approx(whole[0], rel=1e-6)
        assert namer.nats(names) == pytest.approx(whole[1], rel=1e-6)


def test_texts_of_a_list_begin_and_end(namer):
    written = [namer.generate(40, seed=seed) for seed in range(60)]
    assert sum(name in NAMES for name in written) > 30
    assert max(map(len, written)) < 40
    assert all(name.startswith("ha") for name in (namer.generate(9, "ha", seed=seed) for seed in range(4)))
    assert namer.generate(1, "hann", seed=0) in ("hann", "hanna")


def test_the_same_seed_writes_the_same_text(writer):
    first = writer.generate(50, "the", temperature=1.3, seed=5)
    assert first == writer.generate(50, "the", temperature=1.3, seed=5)
    assert len({writer.generate(50, "the", temperature=1.3, seed=seed) for seed in range(4)}) == 4
    assert len(first) == 53
    assert len(writer.generate(7)) == len(writer.generate(7, seed=2)) == 7


def test_a_low_temperature_and_one_choice_are_greedy(writer):
    greedy = writer.generate(40, "or", temperature=0)
    assert writer.generate(40, "or", temperature=1e-320, seed=1) == greedy
    assert writer.generate(40, "or", temperature=50.0, top_k=1, seed=1) == greedy
    assert writer.generate(40, "or", temperature=50.0, seed=1) != greedy


def test_draws_follow_the_softmax_of_the_scores():
    scores, rng = np.array([0.5, -1.0, 2.0, 1.0, 1.0]), np.random.default_rng(0)
    for temperature in (0.7, 2.0):
        p = np.exp(scores / temperature)
        counts = np.bincount([module._draw(scores, temperature, None, rng) for _ in range(6000)], minlength=5)
        np.testing.assert_allclose(counts / 6000, p / p.sum(), atol=0.03)
        counts = np.bincount([module._draw(scores, temperature, 3, rng) for _ in range(6000)], minlength=5)
        np.testing.assert_allclose(counts / 6000, p * [0, 0, 1, 1, 1] / p[2:].sum(), atol=0.03)
    assert {module._draw(scores, 1.0, 2, rng) for _ in range(200)} == {2, 3}  # of equals, the first


def test_fit_is_repeatable_and_estimators_travel(writer):
    model = TextGenerator(**{**SMALL, "dropout": 0.3})
    first, second = clone(model).fit(LINE * 4), model.fit(LINE * 4)
    assert model.get_params()["truncate"] == 7
    for name, array in first.network_.parameters.items():
        np.testing.assert_array_equal(array, second.network_.parameters[name])
    again = pickle.loads(pickle.dumps(writer))
    assert again.generate(30, "is", seed=4) == writer.generate(30, "is", seed=4)
    assert again.nats(LINE) == writer.nats(LINE)


def test_a_grid_search_over_texts():
    search = GridSearchCV(TextGenerator(**SMALL), {"cell": ["rnn", "gru"], "learning_rate": [0.01, 1e-5]}, cv=2)
    search.fit(NAMES)
    assert search.best_params_["learning_rate"] == 0.01
    assert search.best_score_ == pytest.approx(search.cv_results_["mean_test_score"].max())


@pytest.mark.parametrize("X", [LINE * 6, NAMES])
def test_a_part_is_set_aside_for_validation(X):
    model = TextGenerator(**{**SMALL, "validation_fraction": 0.2, "patience": 1, "epochs": 4}).fit(X)
    losses = model.history_.validation_loss
    assert np.isfinite(losses).all()
    if isinstance(X, str):
        assert min(losses) == pytest.approx(model.nats(X[-round(0.2 * len(X)) :]), rel=1e-5)
        longer = TextGenerator(**SMALL).fit(X)
        assert longer.vocabulary_ == model.vocabulary_


def test_layers_and_dtype_are_as_asked():
    model = TextGenerator("rnn", (5, 4), **{k: v for k, v in SMALL.items() if k != "hidden"})
    net = (
        model.set_params(dtype="float64", dropout=0.5, recurrent_dropout=0.3, weight_decay=0.01).fit(LINE * 2).network_
    )
    kinds = [type(layer).__name__ for layer in net.layers]
    assert kinds == ["Embedding", "RNN", "Dropout", "RNN", "Dropout", "Dense"]
    assert net.dtype == np.float64
    assert net.layers[1].config["recurrent_dropout"] == net.layers[3].config["recurrent_dropout"] == 0.3
    assert (net.layers[1].hidden_size, net.layers[3].hidden_size) == (5, 4)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ("", ValueError, r"X must have at least one character\. Got ''\."),
        ([], ValueError, r"X must hold at least one text\. Got none\."),
        (["ab", ""], ValueError, r"X\[1\] must have at least one character"),
        (["ab", 3], TypeError, r"X\[1\] must be a text\. Got an int\."),
        (7, TypeError, r"X must be a text, or a list of texts\. Got an int\."),
        (b"abc", TypeError, r"X must be a text, or a list of texts\. Got a bytes\."),
        ("abcdefg", elman.ShapeError, r"X must have more than 7 characters to train on.*Got 7\."),
    ],
)
def test_texts_that_do_not_fit_are_refused(X, error, message):
    with pytest.raises(error, match=message):
        TextGenerator(**SMALL).fit(X)


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("cell", "lstn", "cell must be one of .* Did you mean 'lstm'"),
        ("hidden", (), "hidden must hold at least one size"),
        ("hidden", (3, 0), r"hidden\[1\] must be a whole number from 1 up. Got 0"),
        ("embedding", 0, "embedding must be a whole number"),
        ("dropout", 1, "dropout must be under 1"),
        ("recurrent_dropout", 1.0, "recurrent_dropout must be under 1"),
        ("truncate", None, r"truncate must be k or \(k1, k2\). Got None"),
        ("truncate", (9, 5), "k2 from k1 up"),
        ("epochs", 0, "epochs must be a whole number"),
        ("learning_rate", -0.1, "learning_rate must be a number over 0"),
        ("weight_decay", -1, "weight_decay must be"),
        ("validation_fraction", 1, "validation_fraction must be under 1"),
        ("validation_fraction", 0.005, "validation_fraction must set 2 characters aside or more. Got 0"),
        ("patience", 2, "validation_fraction must be over 0 where patience is given"),
        ("dtype", "float16", "dtype must be"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(argument, value, message):
    with pytest.raises(ValueError, match=message):
        TextGenerator(**{**SMALL, argument: value}).fit(LINE * 2)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"prefix": "to bé"}, ValueError, r"prefix must hold characters that fit saw\. Got 'é' at position 4\."),
        ({"prefix": 3}, TypeError, r"prefix must be a string\. Got an int\."),
        ({"length": 0}, ValueError, "length must be a whole number from 1 up"),
        ({"temperature": -0.5}, ValueError, "temperature must be a number from 0"),
        ({"top_k": 0}, ValueError, "top_k must be a whole number from 1 up"),
        ({"top_k": 99}, ValueError, r"top_k must be at most 15, the tokens there are\. Got 99\."),
        ({"seed": -1}, ValueError, "seed must be a whole number"),
    ],
)
def test_wishes_that_do_not_fit_are_refused(writer, arguments, error, message):
    with pytest.raises(error, match=message):
        writer.generate(**arguments)


def test_measuring_what_does_not_fit_is_refused(writer, namer):
    with pytest.raises(ValueError, match=r"X must hold characters that fit saw\. Got 'T' at position 3\."):
        writer.nats("to The")
    with pytest.raises(ValueError, match=r"X\[1\] must hold characters that fit saw\. Got '😀' at position 2\."):
        namer.nats(["anna", "an😀n"])
    with pytest.raises(ValueError, match=r"X must have at least 2 characters\. Got 1"):
        writer.nats("t")
    with pytest.raises(TypeError, match=r"X must be one text, as fit took it\. Got a list of length 1"):
        writer.nats([LINE])
    with pytest.raises(TypeError, match=r"X must be a list of texts, as fit took it\. Got a str"):
        namer.nats("anna")


@pytest.mark.parametrize("call", ["generate", "nats", "score"])
def test_nothing_goes_before_fit(call):
    with pytest.raises(NotFittedError):
        getattr(TextGenerator(), call)(*() if call == "generate" else (LINE,))


def test_without_scikit_learn_the_error_names_the_command():
    code = "import sys; sys.modules['sklearn'] = None\nimport elman.estimators.text"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    assert "MissingExtraError" in result.stderr
    assert 'pip install "elman[sklearn]"' in result.stderr


@pytest.mark.parametrize(("characters", "streams"), [(300, 4), (139, 1), (20, 1), (700, 10)])
def test_a_short_text_is_cut_into_fewer_streams(characters, streams, monkeypatch):
    seen = {}

    def fit(net, x, y, **options):
        seen.update(options, x=x, y=y)

    monkeypatch.setattr(module, "fit", fit)
    text = (LINE * 20)[:characters]
    TextGenerator(**{**SMALL, "batch_size": 10}).fit(text)
    assert seen["batch_size"] == streams
    np.testing.assert_array_equal(seen["x"][1:], seen["y"][:-1])
    assert len(seen["x"]) == characters - 1
    assert seen["optimizer"].rate(0.02) == pytest.approx(0.01)
    assert seen["optimizer"].rate(1.0) == 0
