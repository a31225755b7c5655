"""Whole estimators in one file: the same bits again, here and in another process, or a refusal in words."""

from __future__ import annotations

import datetime
import hashlib
import io
import json
import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pandas")
pytest.importorskip("polars")
pytest.importorskip("pyarrow")

import pandas as pd
import polars as pl
import pyarrow as pa

import elman
from drawn_tables import calendar, draw_columns, one_series, stamps_in, table_of, values_of
from elman.files import checksum, read_safetensors, write_safetensors
from golden.estimators import make

TINY = {"hidden": 3, "epochs": 1}


# Random estimators: what a seed gives is the same in every process.


def draw_sequences(rng):
    """An estimator of sequences, fitted, and a function that asks it for all it tells."""
    kind = [elman.SequenceClassifier, elman.SequenceRegressor, elman.SequenceTagger][rng.integers(3)]
    count, features = int(rng.integers(12, 20)), int(rng.integers(1, 4))
    form = str(rng.choice(["list", "array", "table", "pandas", "polars", "Arrow", "tokens", "text"]))
    lengths = rng.integers(2, 7, count) if form not in ("array", "table") else np.full(count, 5)
    X = [rng.standard_normal((n, features)) * 3 + 1 for n in lengths]
    if form == "array":
        X = np.stack(X)
    elif form == "table":
        X = np.stack(X)[:, :, 0]
        X = pd.DataFrame(X, columns=[f"t{i}" for i in range(5)]) if rng.integers(2) else X
    elif form in ("pandas", "polars", "Arrow"):
        names = ["plain", "mood", "on"]
        X = [
            table_of(form, {
                "plain": ("number", rng.standard_normal(n)),
                "mood": ("category", np.array(["b", "a", "c"])[np.r_[0:3, rng.integers(3, size=n)][:n]]),
                "on": ("truth", rng.random(n) < 0.5),
            })
            for n in np.maximum(lengths, 3)
        ]  # fmt: skip
        lengths = np.maximum(lengths, 3)
        assert names
    elif form in ("tokens", "text"):
        X = [rng.integers(4, size=n) * 7 for n in lengths]
        X = [part.astype(str).tolist() for part in X] if form == "text" else X
    settings = {
        "cell": str(rng.choice(["gru", "lstm", "rnn"])),
        "hidden": [3, (2, 4), [3], np.int64(2)][rng.integers(4)],
        "bidirectional": bool(rng.integers(2)),
        "standardize": bool(rng.integers(4)),
        "dropout": float(rng.choice([0, 0.2])),
        "dtype": ["float32", "float64", np.float32, np.dtype("float64"), float][rng.integers(5)],
        "learning_rate": [0.01, elman.LinearSchedule(0.02, warmup=0.1), elman.StepSchedule(0.01)][rng.integers(3)],
        "random_state": [0, np.int64(4), np.random.RandomState(3)][rng.integers(3)],
        "embedding": 2 if form in ("tokens", "text") else None,
        "epochs": 1,
    }
    if rng.integers(2):
        settings |= {"patience": 2, "validation_fraction": 0.3}
    if kind is not elman.SequenceTagger:
        settings["pool"] = str(rng.choice(["max", "mean", "last"]))
    labels = [
        np.array(["yes", "no"]), np.array(["yes", "no"], object), np.array(["long label", "b"]), np.array([3, 7]),
        np.array([True, False]), np.array([2.0, -1.0]), np.array([1, 0], np.uint8), np.array([2, 5], object),
    ][rng.integers(8)]  # fmt: skip
    if kind is elman.SequenceRegressor:
        y = rng.standard_normal((count, 2) if rng.integers(2) else count) * 40 + 7
        settings["loss"] = str(rng.choice(["squared_error", "huber"]))
    elif kind is elman.SequenceTagger:
        y = [labels[np.r_[0, 1, rng.integers(2, size=n)][:n]] for n in lengths]
        settings["class_weight"] = [None, "balanced"][rng.integers(2)]
    else:
        y = labels[np.r_[0, 1, 0, 1, rng.integers(2, size=count)][:count]]
        weights = {labels[0]: 2.0, labels[1]: 1} if labels.dtype != object else None
        settings["class_weight"] = [None, "balanced", weights][rng.integers(3)]
    estimator = kind(**settings).fit(X, y)

    def told(found):
        results = [found.predict(X), found.score(X, y), found.read_as]
        return results + ([found.predict_proba(X), found.classes_] if hasattr(found, "classes_") else [])

    return estimator, told


def draw_forecaster(rng):
    horizon, count = int(rng.integers(1, 4)), int(rng.integers(24, 40))
    settings = {
        "window": 4, "patience": None, "validation_fraction": 0, "random_state": 0, **TINY,
        "level": [None, "last", "mean"][rng.integers(3)],
        "spread": bool(rng.integers(2)),
        "difference": [None, 2][rng.integers(2)],
        "standardize": bool(rng.integers(4)),
        "shared": bool(rng.integers(2)),
        "quantiles": [None, (0.1, 0.5, 0.8), [0.5]][rng.integers(3)],
        "loss": ["huber", elman.Huber(0.5), elman.SquaredError()][rng.integers(3)],
        "members": int(rng.integers(1, 3)),
        "fill": [None, "forward"][rng.integers(2)],
    }  # fmt: skip
    form = str(rng.choice(["one", "array", "list", "panel", "columns"]))
    given, later, exogenous = {}, {}, 0
    stamps, _ = calendar(rng, count + horizon)
    if form == "one":
        _, series, given, _ = one_series(rng, stamps[:count], values_of(rng, count))
    elif form == "array":
        series = values_of(rng, 2 * count).reshape(-1, 2)
    elif form == "list":
        series = [values_of(rng, count + i) for i in range(3)]
    else:
        library = str(rng.choice(["pandas", "polars", "Arrow"]))
        columns, exogenous = draw_columns(rng, 2 * (count + horizon))
        exogenous = exogenous.shape[1]
        ids = draw_ids(rng, library, np.repeat([0, 1], count + horizon))
        columns = {"id": ids, "when": np.tile(np.arange(count + horizon), 2)}, columns
        whole = table_of(library, {**columns[1], "y": ("number", values_of(rng, 2 * (count + horizon)))})
        rows = np.tile(np.arange(count + horizon), 2)
        stamped = stamps_in(library, pd.DatetimeIndex(np.tile(stamps, 2)).as_unit(stamps.unit))
        if stamps.tz is not None:
            stamped = stamps_in(library, pd.DatetimeIndex([*stamps, *stamps]).as_unit(stamps.unit))
        whole = with_columns(library, whole, {"id": ids, "when": stamped})
        series, future = chosen(whole, rows < count), chosen(whole, rows >= count)
        given = {"time": "when", "id": "id", "target": "y"}
        if form == "columns":
            given["exogenous"] = list(columns[1])
            later = {"future": dropped(future, "y")}
    forecaster = elman.Forecaster(horizon, **settings).fit(series, **given)

    def told(found):
        results = [found.predict(**later), found.read_as, found.window_]
        if settings["quantiles"]:
            results.append(found.predict_quantiles(**later))
        return [*results, found.predict(series, **later)]

    return forecaster, told


def draw_ids(rng, library, places):
    """Two names of series, of all kinds, at their places."""
    names = [
        ["north", "south"], [4, 9], [datetime.date(2024, 1, 2), datetime.date(2023, 1, 2)], [True, False],
        [Decimal("1.5"), Decimal("2.5")], [pd.Timestamp("2024-02-03"), pd.Timestamp("2020-01-01")], [b"a", b"bc"],
        [datetime.time(4, 5), datetime.time(1)], [datetime.timedelta(2), datetime.timedelta(0, 3)], [1.5, -2.0],
    ]  # fmt: skip
    if library == "pandas":
        names += [[("a", 1), ("b", 2)], [pd.Interval(0, 1), pd.Interval(3, 4)], [pd.Period("2020"), pd.Period("2021")]]
    chosen = names[rng.integers(len(names))]
    entries = [chosen[i] for i in places]
    if library == "polars":
        own = pl.Series("id", entries)
        return own.cast(pl.Categorical) if chosen[0] == "north" and rng.integers(2) else own
    if library == "Arrow":
        own = pa.array(entries)
        return own.dictionary_encode() if chosen[0] == "north" and rng.integers(2) else own
    kinds = {"north": ["category", "string", "object", None], 4: ["Int64", "int32", "category", "int64[pyarrow]"]}
    of = kinds.get(chosen[0], [None, "category"]) if not isinstance(chosen[0], bool) else ["boolean", bool]
    return pd.Series(entries, dtype=of[rng.integers(len(of))])


def with_columns(library, table, columns):
    if library == "polars":
        return table.with_columns(**columns)
    if library == "Arrow":
        for name, column in columns.items():
            table = table.append_column(name, column)
        return table
    return table.assign(**columns)


def chosen(table, rows):
    return table[rows].reset_index(drop=True) if isinstance(table, pd.DataFrame) else table.filter(rows)


def dropped(table, name):
    return table.drop(columns=name) if isinstance(table, pd.DataFrame) else table.drop([name])


def draw_text(rng):
    text = "".join(rng.choice(list("ab é\U0001f600\n"), 200))
    texts = text if rng.integers(2) else [text[:9], text[20:31], text[40:90]]
    settings = {"hidden": 4, "embedding": 3, "truncate": [5, (3, 6)][rng.integers(2)], "epochs": 1, "random_state": 0}
    generator = elman.TextGenerator(cell=str(rng.choice(["gru", "lstm"])), **settings).fit(texts)
    return generator, lambda found: [found.generate(30, seed=4), found.nats(texts), found.score(texts)]


def draw(seed):
    rng = np.random.default_rng(seed)
    return [draw_sequences, draw_forecaster, draw_text][[0, 1, 0, 1, 0, 1, 2][seed % 7]](rng)


def digest(value):
    """A text of a result, with its types and bits.

    Time zones are kept by Python under the first text that named them, which may be one of NumPy's.
    """
    return re.sub(r"np\.str_\(('[^']*')\)", r"\1", _text(value))


def _text(value):
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}({', '.join(map(_text, value))})"
    if isinstance(value, np.ndarray):
        held = str(value.tolist()) if value.dtype == object else value.tobytes()
        return f"{value.dtype} {value.shape} {hashlib.md5(str(held).encode()).hexdigest()}"
    if isinstance(value, (pd.DataFrame, pd.Series)):
        dtypes = value.dtypes if isinstance(value, pd.DataFrame) else [value.dtype]
        parts = value.reset_index().to_dict("list")
        return f"{list(dtypes)} {value.index.dtype} {getattr(value.index, 'freq', None)} {parts}"
    if isinstance(value, (pl.DataFrame, pl.Series, pa.Table, pa.ChunkedArray)):
        of = getattr(value, "schema", None) or getattr(value, "dtype", None) or value.type
        entries = next(getattr(value, name) for name in ("to_pylist", "to_dicts", "to_list") if hasattr(value, name))
        return f"{of} {entries()}"
    return repr(value)


SEEDS = range(84)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The files of many estimators, and what each tells."""
    folder, told = tmp_path_factory.mktemp("estimators"), []
    for seed in SEEDS:
        estimator, ask = draw(seed)
        estimator.save(folder / f"{seed}.safetensors")
        told.append(digest(ask(estimator)))
    return folder, told


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_loaded_tells_the_same_bits(written, seed):
    folder, told = written
    estimator, ask = draw(seed)
    found = elman.load(folder / f"{seed}.safetensors")
    assert type(found) is type(estimator)
    assert repr(found.get_params()) == repr(estimator.get_params()) or isinstance(
        estimator.random_state, np.random.RandomState
    )
    assert [digest(ask(found)), digest(ask(found))] == [told[seed]] * 2
    content = (folder / f"{seed}.safetensors").read_bytes()
    found.save(folder / f"again-{seed}")
    assert (folder / f"again-{seed}").read_bytes() == content
    assert digest(ask(elman.load(content))) == told[seed]


def test_the_same_bits_in_a_new_process(written):
    folder, told = written
    code = (
        "import warnings; warnings.simplefilter('ignore')\nimport json, sys, elman, test_estimator_files as t\n"
        "def ask(seed):\n    _, ask = t.draw(seed)\n"
        "    return t.digest(ask(elman.load(f'{sys.argv[1]}/{seed}.safetensors')))\n"
        "print(json.dumps([ask(seed) for seed in t.SEEDS]))"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    out = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert out.returncode == 0, out.stderr
    assert json.loads(out.stdout) == told


def test_a_refit_of_what_is_loaded_gives_the_weights_of_a_refit_of_what_was_saved(tmp_path):
    X, y = [np.full((4, 1), i / 9) for i in range(12)], np.arange(12) % 2
    for random_state in (5, np.random.RandomState(5)):
        estimator = elman.SequenceClassifier(**TINY, random_state=random_state).fit(X, y)
        estimator.save(tmp_path / "e")
        found = elman.load(tmp_path / "e")
        estimator.fit(X, y)
        found.fit(X, y)
        assert digest(found.predict_proba(X)) == digest(estimator.predict_proba(X))


# Files of every version.

GOLDEN = Path(__file__).parent / "golden" / "estimators"


def near(found, wanted):
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        found, wanted = list(found.values()), list(wanted.values())
    if isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            near(one, other)
    else:
        assert found == (pytest.approx(wanted, rel=1e-4, abs=1e-4) if isinstance(wanted, float) else wanted)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("v*/*.safetensors")), ids=lambda path: path.stem)
def test_files_of_every_version_load(path):
    wanted = json.loads((path.parent / "expected.json").read_text())[path.stem]
    estimator, told = make.estimators()[path.stem]
    found = elman.load(path)
    near(told(found), wanted)
    assert found.get_params() == estimator.get_params()


# What is refused.


class Own(elman.SequenceClassifier):
    pass


class Sum(elman.Loss):
    def rows(self, prediction, target):
        return ((prediction - target) ** 2).sum(-1)

    def rows_derivative(self, prediction, target):
        return 2 * (prediction - target)


def test_what_no_file_holds_is_refused_by_its_name(tmp_path):
    path, y = tmp_path / "kept", np.arange(30.0)
    path.write_bytes(b"old")
    X, labels = np.random.default_rng(0).standard_normal((8, 4, 2)), np.arange(8) % 2
    wrong = {
        "learning_rate": elman.SequenceClassifier(**TINY, learning_rate=lambda done: 0.01),
        "after_epoch": elman.SequenceClassifier(**TINY, after_epoch=print),
        "loss": elman.Forecaster(2, window=4, **TINY, loss=Sum()),
    }
    for name, estimator in wrong.items():
        fitted = estimator.fit(y) if name == "loss" else estimator.fit(X, labels)
        with pytest.raises(elman.FormatError, match=rf"^{name} must be what a file can hold.* Got "):
            fitted.save(path)
        fitted.set_params(**{name: elman.SquaredError() if name == "loss" else None if name == "after_epoch" else 0.01})
        fitted.save(tmp_path / "right")  # what was trained is there all the same
        assert digest(elman.load(tmp_path / "right").predict(None if name == "loss" else X)) == digest(
            fitted.predict(None if name == "loss" else X)
        )
    own = Own(**TINY).fit(X, labels)
    with pytest.raises(elman.FormatError, match=r"an estimator must be one of .* Got Own"):
        own.save(path)
    noted = elman.SequenceClassifier(**TINY).fit(X, labels)
    noted.note = "mine"
    with pytest.raises(elman.FormatError, match=r"the attributes of fit alone. Got note too"):
        noted.save(path)
    with pytest.raises(ValueError, match="not fitted"):
        elman.SequenceClassifier().save(path)
    del noted.note
    for wrong_path, error in ((3, TypeError), (tmp_path, OSError), (tmp_path / "no" / "folder", FileNotFoundError)):
        with pytest.raises(error, match=r"^path must "):
            noted.save(wrong_path)
    assert path.read_bytes() == b"old"


def test_no_name_in_a_file_is_imported_or_called(monkeypatch):
    X, labels = np.random.default_rng(0).standard_normal((8, 4, 2)), np.arange(8) % 2
    tensors, metadata = read_safetensors(stored(elman.SequenceClassifier(**TINY).fit(X, labels)))
    description = json.loads(metadata["elman_estimator"])
    for name in ("os.path", "antigravity", "pandas.read_pickle"):
        for entry in (
            {"column": [name, "x"]}, {"table": [name, [], []]}, {"type": [name, "x"]}, {"type": ["polars", name]},
            {"type": ["polars", "show_versions"]}, {"zone": [name, "x"]}, {"offset": [name, 1, False, {"dict": []}]},
            {"offset": ["date_range", 1, False, {"dict": []}]}, {"named": name}, {"part": name}, {name: []},
        ):  # fmt: skip
            text = json.dumps({**description, "params": {**description["params"], "log": entry}})
            header = {"elman_estimator": text, "checksum": checksum(tensors, text)}
            with pytest.raises(elman.FormatError, match=" must "):
                elman.load(write_safetensors(tensors, header))
    assert "antigravity" not in sys.modules


class Twice(elman.Layer):
    def __init__(self, size):
        super().__init__(size=size)

    def setup(self, size):
        self.size = self.input_size = self.output_size = size

    def run(self, x, state, rng, keep):
        return x.with_values(x.values * 2), None, None

    def run_back(self, kept, dy, dstate):
        return dy * 2, None, {}


def test_networks_with_layers_of_ones_own_come_back_where_these_are_given(tmp_path):
    X, labels = np.random.default_rng(0).standard_normal((8, 4, 2)), np.arange(8) % 2
    estimator = elman.SequenceClassifier(**TINY).fit(X, labels)
    estimator.network_ = elman.Network([*estimator.network_.layers, Twice(2)])
    estimator.save(tmp_path / "own")
    found = elman.load(tmp_path / "own", layers=[Twice])
    assert digest(found.predict_proba(X)) == digest(estimator.predict_proba(X))
    with pytest.raises(elman.FormatError, match="'Twice' must be given where it is one of your own"):
        elman.load(tmp_path / "own")


def test_what_would_not_come_back_is_refused_before_a_file_is_replaced(tmp_path, monkeypatch):
    X, labels = np.random.default_rng(0).standard_normal((8, 4, 2)), np.arange(8) % 2
    (tmp_path / "kept").write_bytes(b"old")
    estimator = elman.SequenceClassifier(**TINY).fit(X, labels)
    estimator.classes_ = np.array(["a", "b", "c"])
    with pytest.raises(elman.FormatError, match=r"must come back as it was.* the outputs of network_ must be 3"):
        estimator.save(tmp_path / "kept")
    assert (tmp_path / "kept").read_bytes() == b"old"


def test_files_of_another_kind_or_version_are_refused(tmp_path):
    X, labels = np.random.default_rng(0).standard_normal((8, 4, 2)), np.arange(8) % 2
    estimator = elman.SequenceClassifier(**TINY).fit(X, labels)
    content = stored(estimator)
    tensors, metadata = read_safetensors(content)
    for name, value, words in (
        ("version", 2, "'version' must be from 1 to 1. Got 2: it was written by another elman"),
        ("estimator", "SequenceClasifier", "Did you mean 'SequenceClassifier'"),
        ("estimator", "Network", "the estimator must be one of"),
    ):
        text = json.dumps({**json.loads(metadata["elman_estimator"]), name: value})
        header = {"elman_estimator": text, "checksum": checksum(tensors, text)}
        with pytest.raises(elman.FormatError, match=words):
            elman.load(write_safetensors(tensors, header))
    with pytest.raises(elman.FormatError, match="the file was changed"):
        elman.load(content[:-1] + bytes([content[-1] ^ 1]))
    for cut in (0, 7, 100, len(content) - 1):
        (tmp_path / "cut.safetensors").write_bytes(content[:cut])
        with pytest.raises(elman.FormatError, match=r"cut\.safetensors.* must "):
            elman.load(tmp_path / "cut.safetensors")
    (tmp_path / "whole").write_bytes(content)
    with pytest.raises(elman.FormatError, match=r"it is an estimator, which elman.load reads"):
        elman.saving.load(tmp_path / "whole")
    report = elman.inspect(tmp_path / "whole")
    assert (report.format, report.version) == ("elman", "a SequenceClassifier, version 1")
    assert [layer.layer for layer in report.layers] == [type(layer).__name__ for layer in estimator.network_.layers]


# Damaged files.


def spoiled(content, rng):
    """The content with one place of its description changed, and the checksum of that."""
    tensors, metadata = read_safetensors(content)
    description = json.loads(metadata["elman_estimator"])
    inside, key = description, "parts"
    while isinstance(inside[key], (dict, list)) and inside[key] and (inside is description or rng.integers(8)):
        inside = inside[key]
        key = list(inside)[rng.integers(len(inside))] if isinstance(inside, dict) else int(rng.integers(len(inside)))
        if inside is description["parts"] and not rng.integers(3):
            inside, key = description, ["params", "fitted"][rng.integers(2)]
    values = [
        None,
        True,
        -1,
        0,
        3,
        2**70,
        1e300,
        "",
        "x",
        "<U99999999999",
        [],
        [[]],
        {},
        {"tuple": []},
        {"part": 10**9},
    ]
    values += [
        {"part": 0},
        {"array": ["<f8", "no"]},
        {"dict": [[{"dict": []}, 1]]},
        {"dtype": "f4,f4"},
        {"named": "int"},
    ]
    values += [
        {"zone": ["zoneinfo", "../.."]},
        {"offset": ["Day", 1, False, {"dict": []}]},
        {"array": ["|O", [9**9], []]},
    ]
    act = rng.integers(4)
    if act == 0 and isinstance(inside, dict):
        inside[f"{key}?"] = inside.pop(key)
    elif act == 1 and isinstance(inside, (dict, list)):
        del inside[key]
    else:
        inside[key] = values[rng.integers(len(values))]
    text = json.dumps(description)
    return write_safetensors(tensors, {"elman_estimator": text, "checksum": checksum(tensors, text)})


@pytest.mark.parametrize("seed", range(21))
def test_spoiled_descriptions_are_refused_in_words_or_read(seed):
    rng, content = np.random.default_rng(seed), io.BytesIO()
    estimator, _ = draw(seed)
    content = stored(estimator)
    for _ in range(20):
        changed = spoiled(content, rng)
        try:
            found = elman.load(changed)
        except elman.FormatError:
            with pytest.raises(elman.FormatError, match=" must "):
                elman.load(changed)
        else:
            assert isinstance(found, type(estimator))


def stored(estimator):
    from elman.estimators.files import _content

    return _content(estimator)
