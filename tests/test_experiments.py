"""The experiments: their data is what they say, their measures count right, and the page says what was missed."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

import elman

FOLDER = Path(__file__).parent.parent / "experiments"


@pytest.fixture
def load(monkeypatch):
    """Imports an experiment by name, as the scripts import each other."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if (FOLDER / f"{name}.py").is_file():
            del sys.modules[name]


SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("torch_"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_imports_without_data_or_pytorch(load, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setenv("ELMAN_DATA", "/nowhere")
    assert load(name).__doc__


def derivations(graph, state=0, left=12):
    """All strings of the grammar with at most `left` symbols."""
    if state == len(graph):
        return {""}
    if left == 0:
        return set()
    return {s + rest for s, then in graph[state] for rest in derivations(graph, then, left - 1)}


def test_reber_strings_are_those_of_the_literature(load):
    reber = load("reber")
    short = derivations(reber.REBER, left=7)
    # Every string of up to 7 symbols, read by hand from the diagram of Reber 1967.
    assert short == {
        "BTXSE", "BPVVE", "BTSXSE", "BPTVVE", "BPVPSE", "BTSSXSE", "BTXXVVE", "BPTTVVE", "BPTVPSE",
    }  # fmt: skip


def test_reber_draws_are_accepted_and_follow(load):
    reber = load("reber")
    rng = np.random.default_rng(3)
    strings = reber.draw_many(rng, 300, {"BTBTXSETE"})
    assert "BTBTXSETE" not in strings
    inner = derivations(reber.REBER, left=18)
    for string in strings:
        assert string[0] == "B"
        assert string[1] == string[-2]
        assert string[-1] == "E"
        assert len(string) > 22 or string[2:-2] in inner
    outer = Counter(string[1] for string in strings)
    assert 110 < outer["T"] < 190
    for string in strings[:50]:
        follow = reber.allowed(string)
        assert len(follow) == len(string) - 1
        assert all(symbol in names for symbol, names in zip(string[1:], follow, strict=True))
    assert reber.allowed("BPBTSXSEPE") == ["TP", "B", "TP", "SX", "SX", "XS", "E", "P", "E"]


def test_reber_counts_a_string_only_if_all_of_it_is_right(load):
    reber = load("reber")
    strings = ["BPBTSXSEPE", "BTBTXSETE"]

    class Oracle:
        """Scores that are right, but at one step of the second string."""

        def __init__(self, wrong):
            self.wrong = wrong

        def __call__(self, x):
            scores = []
            for string, part in zip(strings, x, strict=True):
                follow = reber.allowed(string)
                assert part.shape == (len(string) - 1, 7)
                scores.append(
                    np.array([[1 + k / 9 if s in names else 0 for k, s in enumerate("BTPSXVE")] for names in follow])
                )
            if self.wrong:
                scores[1][-2] = np.eye(7)[2]  # P where T stood at the start
            return scores, None

    assert reber.right(Oracle(False), strings) == 1
    assert reber.right(Oracle(True), strings) == 0.5


def test_reber_network_learns(load, monkeypatch):
    reber = load("reber")
    monkeypatch.setattr(reber, "EPOCHS", 3)
    net, seconds, strings = reber.train(5, 300)
    assert len(strings) == 300
    assert seconds > 0
    x, y = reber.encode(strings)
    scores = np.concatenate(net(x)[0])
    # 0.69 would be two symbols, evenly likely, at every step.
    assert elman.cross_entropy(np.eye(7)[np.concatenate(y)], elman.softmax(scores)).mean() < 0.75


def test_adding_problem_targets(load):
    adding = load("adding_problem")
    lengths = np.array([2, 9, 31, 400] * 25)
    x, y = adding.draw(np.random.default_rng(2), lengths)
    assert [len(part) for part in x] == lengths.tolist()
    assert y.shape == (100, 1)
    places = []
    for part, target in zip(x, y, strict=True):
        (marked,) = np.nonzero(part[:, 1])
        assert part[marked, 1].tolist() == [1, 1]
        np.testing.assert_allclose(target, part[marked, 0].sum(), rtol=1e-6)
        assert 0 <= part[:, 0].min() <= part[:, 0].max() < 1
        places += (marked / len(part)).tolist() if len(part) == 400 else []
    assert min(places) < 0.2 < 0.8 < max(places)
    assert abs(np.mean(np.concatenate(x)[:, 0]) - 0.5) < 0.02


@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_adding_problem_run(load, monkeypatch, cell):
    adding = load("adding_problem")
    setting = adding.Setting(cell, 0.01, 20, 3)
    monkeypatch.setattr(adding, "STEPS", 12)
    net, history, _ = adding.train(setting, 7)
    assert len(history) == adding.EPOCHS
    again, _, _ = adding.train(setting, 7)
    assert all((net.parameters[name] == again.parameters[name]).all() for name in net.parameters)
    assert 0 < adding.error(net, 7) < 1


def test_chorales_count_frames_two_to_last(load):
    jsb = load("jsb_chorales")
    rng = np.random.default_rng(4)
    rolls = [(rng.random((n, 88)) < 0.05).astype(np.float32) for n in (5, 9, 3)]
    setting = replace(jsb.SETTINGS[0], hidden_size=7)
    net = jsb.network(setting, 3)
    total, frames = 0.0, 0
    for roll in rolls:
        p = elman.sigmoid(net(roll[:-1])[0].astype(float))
        total -= (np.log(p) * roll[1:] + np.log(1 - p) * (1 - roll[1:])).sum()
        frames += len(roll) - 1
    assert jsb.frame_nll(net, rolls) == pytest.approx(total / frames, rel=1e-9)


def test_chorales_sizes_and_best_weights(load):
    jsb = load("jsb_chorales")
    counts = [jsb.network(setting, 0).parameter_count for setting in jsb.SETTINGS]
    assert counts[0] <= 300_000
    assert all(19_000 < count < 24_000 for count in counts[1:])
    rng = np.random.default_rng(4)
    rolls = {split: [(rng.random((n, 88)) < 0.05).astype(np.float32) for n in (5, 9)] for split in ("train", "valid")}
    setting = replace(jsb.SETTINGS[0], hidden_size=7, epochs=3)
    net, _ = jsb.train(setting, rolls, 0)
    before = jsb.frame_nll(jsb.network(setting, 0), rolls["valid"])
    assert jsb.frame_nll(net, rolls["valid"]) < before


def test_ragged_lengths_have_a_whole_mean(load):
    cost = load("ragged_cost")
    for count, low, high in [(32, 25, 100), (8, 25, 100), (8, 2500, 10_000), (5, 3, 11)]:
        lengths = cost.ragged_lengths(count, low, high)
        assert len(lengths) == count
        assert lengths.sum() % count == 0
        assert (lengths.min(), lengths.max()) == (low, high)


@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_ragged_cost_runs_both_ways(load, cell):
    cost = load("ragged_cost")
    for lengths in (np.array([3, 7, 5]), np.array([5, 5, 5])):
        dx, _, gradients = cost.step(cell, lengths, 4, 6)()
        assert dx.shape == (3, lengths.max(), 4)
        assert (dx[0, lengths[0] :] == 0).all()
        assert gradients["Wx"].any()


def test_page_says_what_was_missed(load, tmp_path):
    page, report = load("page"), load("report")
    rows = [
        report.Row(
            task=f"task {i}", measure="error", figures=[0.5 + i, 1.5 + i], goal="under 2", reached=i == 0,
            published="3 (Someone 1999)", model="GRU 3", parameters=1234, seconds=0.25, peer_seconds=0.5, seeds=[0, 1],
            note="A | bar.",
        )
        for i in range(2)
    ]  # fmt: skip
    rows.append(replace(rows[0], task="task 2", goal="", reached=None, peer_seconds=None, figures=[0.00042]))
    result = {
        "rows": [asdict(row) for row in rows],
        "machine": "one",
        "extra": {"A table": "|a|\n|-|", "Text": "x\n```"},
    }
    text = page.write([result, {**result, "rows": [], "extra": {}}])
    lines = text.splitlines()
    assert "Of 2 goals 1 were missed: task 1." in text
    table = [line for line in lines if line.startswith("| task ")]
    assert [line.replace("\\|", "").count("|") for line in table] == [9] * 4
    assert "| **1** (0.5 to 1.5) | under 2, reached |" in table[1]
    assert "| under 2, **missed** |" in table[2]
    assert "| 500 ms, 2.0 |" in table[1]
    assert "| **0.00042** |" in table[3]
    assert "````text" in lines
    assert "|a|" in lines
    assert lines.count("one") == 1


def test_page_without_results_is_an_error(load, tmp_path):
    with pytest.raises(SystemExit, match="must hold results"):
        load("page").read(tmp_path)


@pytest.mark.peer
def test_twin_counts_as_fit_does(load):
    """The masked loss of PyTorch's padded batch is elman's mean over real steps."""
    torch = pytest.importorskip("torch")
    twin = load("torch_sequences")
    rng = np.random.default_rng(6)
    x = [rng.standard_normal((n, 3)).astype(np.float32) for n in (4, 7, 2)]
    y = [(rng.random((len(part), 5)) < 0.5).astype(np.float32) for part in x]
    task = twin.Task("GRU", 6, 5, "binary_cross_entropy", x, y, (x, y), 3, 0.01)
    torch.manual_seed(1)
    model = twin.Model(task).eval()
    (given, targets, lengths), *rest = twin._batches(task, x, y, np.array([2, 0, 1]))
    assert not rest
    got = twin._loss(task)(model(given, lengths), targets, lengths).item()
    parts = [model(torch.from_numpy(part)[None], None)[0].detach().numpy() for part in x]
    want = elman.BinaryCrossEntropy()(np.concatenate(parts), np.concatenate(y)).mean()
    assert got == pytest.approx(want, rel=1e-5)
    assert twin.seconds(task, 4, 2) > 0
