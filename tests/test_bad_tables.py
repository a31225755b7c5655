"""Tables that cannot be read are refused in words, with row and column, before any training."""

from __future__ import annotations

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

DAYS = pd.date_range("2024-01-01", periods=30, freq="D")
LIBRARIES = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "Arrow": pa.table}
rng = np.random.default_rng(4)


def forecaster(**settings):
    fixed = {"horizon": 2, "window": 4, "hidden": 2, "epochs": 1, "patience": None, "random_state": 0}
    return elman.Forecaster(**{**fixed, **settings})


def put(entries, row, entry):
    entries = list(entries)
    entries[row] = entry
    return entries


def columns(**changes):
    plain = {"day": DAYS.to_numpy(), "store": ["a"] * 15 + ["b"] * 15, "y": np.arange(30.0), "p": np.ones(30)}
    return {**plain, **changes}


def roles(**more):
    return {"time": "day", "id": "store", "target": "y", "exogenous": "p", **more}


def refusal(table, words, **said):
    """The message, which names what is at fault; fit, with or without fill, and backtest say the same."""
    told = set()
    for call in (forecaster().fit, forecaster(fill="forward").fit, lambda t, **s: forecaster().backtest(t, -4, **s)):
        with pytest.raises((ValueError, TypeError)) as caught:
            call(table, **said)
        told.add(str(caught.value).replace("step 0; fill", "step 0"))
    message = sorted(told)[0]
    assert "must " in message
    assert "Got " in message
    for word in words:
        assert word in message, message
    return message


TEXT = [f"2024-01-{day:02d}" for day in range(1, 31)]
BAD = {
    "infinite": (columns(y=put(np.arange(30.0), 17, np.inf)), ["'y'", "row 17", "inf"]),
    "infinite beside": (columns(p=put(np.ones(30), 21, -np.inf)), ["'p'", "row 21", "-inf"]),
    "too large": (columns(y=put(np.arange(30.0), 16, 1e300)), ["'y'", "row 16", "1e+300"]),
    "text in a column": (columns(y=[str(i) for i in range(30)]), ["'y'", "'0'", "row 0"]),
    "text beside": (columns(p=["x"] * 30), ["'p'", "'x'", "row 0"]),
    "a list in a column": (columns(p=[[1.0, 2.0]] * 30), ["'p'", "row 0"]),
    "dates in a column": (columns(p=DAYS.to_numpy()), ["'p'", "row 0"]),
    "no value of a series": (columns(y=[np.nan] * 15 + [1.0] * 15), ["'a'"]),
    "stamps in two formats": (columns(day=put(TEXT, 19, "20/01/2024")), ["'day'", "20/01/2024", "row 19"]),
    "stamps in another format": (columns(day=[f"{d:02d}/01/2024" for d in range(1, 31)]), ["'day'", "01/01/2024"]),
    "dates and times": (columns(day=put(TEXT, 5, "2024-01-06 00:00")), ["'day'", "row 5"]),
    "no stamp": (columns(day=put([str(d.date()) for d in DAYS], 8, None)), ["'day'", "row 8"]),
    "a number as id": (columns(store=[np.nan, *np.ones(29)]), ["'store'", "row 0"]),
    "no id": (columns(store=put(["a"] * 15 + ["b"] * 15, 20, None)), ["'store'", "row 20"]),
    "the same stamp twice": (columns(day=put(DAYS, 7, DAYS[6])), ["'a'", "2024-01-07", "row 7"]),
    "truth values as stamps": (columns(day=[True, False] * 15), ["'day'", "row 0"]),
    "fractions as stamps": (columns(day=np.arange(30) + 0.5), ["'day'"]),
}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", BAD)
def test_what_is_wrong_in_one_column(kind, library):
    changed, words = BAD[kind]
    refusal(LIBRARIES[library](changed), words, **roles())


OF_PANDAS = {
    "ids of two kinds": (columns(store=[*["a"] * 15, *[7] * 15]), ["'store'", "row 15", "7"]),
    "two zones": (
        columns(day=[d.tz_localize("UTC" if i < 9 else "Asia/Tokyo") for i, d in enumerate(DAYS)]),
        ["'day'", "row 9", "Asia/Tokyo", "UTC"],
    ),
    "a zone and none": (
        columns(day=pd.Series([d.tz_localize("UTC") if i < 9 else d for i, d in enumerate(DAYS)], dtype=object)),
        ["'day'", "row 9", "UTC"],
    ),
    "stamps of two kinds": (columns(day=pd.Series(put(DAYS, 3, "2024-01-04"), dtype=object)), ["'day'", "row 3"]),
    "text among numbers": (columns(y=pd.Series(put(np.arange(30.0), 9, "9"), dtype=object)), ["'y'", "row 9", "'9'"]),
}


@pytest.mark.parametrize("kind", OF_PANDAS)
def test_what_is_wrong_in_one_column_of_objects(kind):
    changed, words = OF_PANDAS[kind]
    refusal(pd.DataFrame(changed), words, **roles())


@pytest.mark.parametrize("library", LIBRARIES)
def test_tables_that_are_too_small(library):
    make = LIBRARIES[library]
    empty = {name: list(entries[:0]) for name, entries in columns().items()}
    refusal(make(empty) if library != "pandas" else pd.DataFrame(columns()).iloc[:0], ["rows"], **roles())
    refusal(make({name: entries[:1] for name, entries in columns().items()}), ["two", "freq="], **roles())
    refusal(make({"day": DAYS.to_numpy()}), ["target"], time="day")
    refusal(make(columns(y=np.full(30, np.nan))), ["'y'"], time="day", id="store", target="y")
    refusal(make({"y": np.full(30, np.nan)}), ["'y'"])


@pytest.mark.parametrize("library", LIBRARIES)
def test_roles_that_are_wrong(library):
    table = LIBRARIES[library](columns())
    refusal(table, ["'q'"], **roles(target="q"))
    refusal(table, ["'q'"], **roles(id="q"))
    refusal(table, ["'y'", "role"], **roles(exogenous="y"))
    refusal(table, ["id", "'store'"], time="day", target="y")
    refusal(table, ["time", "'day'"], target="y", id="store")
    refusal(table, ["time"], **roles(time=["day", "p"]))


def test_one_column_where_more_are_known_ahead():
    table = pd.DataFrame(columns(q=np.ones(30)))
    model = forecaster().fit(table, **roles(exogenous=["p", "q"]))
    future = pd.DataFrame({"day": DAYS + pd.Timedelta(days=15), "store": table["store"], "p": 1.0, "q": 1.0})
    future = future.set_index(["store", "day"])
    assert len(model.predict(future=future)) == 4
    with pytest.raises(ValueError, match=r"future must have the columns 'p', 'q'. Got one column"):
        model.predict(future=future["p"])


def test_labels_that_come_twice():
    table = pd.DataFrame(columns())
    refusal(pd.concat([table, table[["p"]]], axis=1), ["'p'"], **roles())
    names = pd.MultiIndex.from_arrays([table["store"], table["day"]], names=["store", "day"])
    indexed = table.drop(columns="day").set_index(names)
    refusal(indexed, ["'store'", "index"], **roles())


@pytest.mark.parametrize("library", ["pandas", "Arrow"])
def test_a_million_columns_are_refused_at_once(library):
    count = 1_000_000
    if library == "pandas":
        table = pd.DataFrame(np.zeros((3, count)))
    else:
        row = pa.array(np.zeros(3))
        table = pa.Table.from_arrays([row] * count, names=list(map(str, range(count))))
    for call in (forecaster().fit, lambda t: elman.SequenceClassifier().fit([t, t], [0, 1])):
        with pytest.raises((ValueError, TypeError), match=r"100,000 columns. Got 1,000,000"):
            call(table)


def test_unsorted_rows_are_sorted_and_said():
    table = pd.DataFrame(columns(p=rng.normal(size=30)))
    mixed = table.iloc[[0, 15, *rng.permutation([*range(1, 15), *range(16, 30)])]]
    ordered, model = forecaster().fit(table, **roles(exogenous=None)), forecaster().fit(mixed, **roles(exogenous=None))
    np.testing.assert_array_equal(model.predict()["y"], ordered.predict()["y"])
    assert "order of time" in model.read_as
    assert "order of time" not in ordered.read_as


@pytest.mark.parametrize("scale", [1e-13, 1e13])
def test_the_unit_of_the_data_does_not_matter(scale):
    table = pd.DataFrame(columns(y=rng.normal(20, 4, size=30)))
    said = roles(exogenous=None)
    one = forecaster().fit(table, **said).predict()["y"]
    other = forecaster().fit(table.assign(y=table["y"] * scale), **said).predict()["y"]
    np.testing.assert_allclose(other, one * scale, rtol=1e-5)


@pytest.mark.parametrize("library", ["polars", "Arrow"])
def test_dates_beyond_those_of_python(library):
    far = np.array(["10000-01-01"], "M8[us]") + np.arange(30)
    refusal(LIBRARIES[library](columns(p=far)), ["'p'", "row 0", "10000"], **roles())


@pytest.mark.parametrize("library", LIBRARIES)
def test_whole_numbers_that_float64_rounds(library):
    y = 2**60 + np.arange(30) * 2**55
    found = forecaster().fit(LIBRARIES[library](columns(y=y)), **roles(exogenous=None)).predict()
    wanted = forecaster().fit([y[:15].astype(float), y[15:].astype(float)]).predict()
    np.testing.assert_array_equal(np.asarray(found["y"]), np.concatenate(wanted))


def test_groups_and_mappings_of_tables():
    table = pd.DataFrame(columns())
    groups = table.groupby("store")
    for given in (groups, list(groups), dict(list(groups)), pl.from_pandas(table).group_by("store")):
        for said in ({}, {"time": "day", "target": "y"}):
            with pytest.raises(TypeError, match=r"series must be a list of tables. Got a"):
                forecaster().fit(given, **said)
        with pytest.raises(TypeError, match=r"X must be a list of tables. Got a"):
            elman.SequenceClassifier().fit(given, ["a", "b"])
    with pytest.raises(TypeError, match=r"series must be one series .* Got a generator"):
        forecaster().fit((group for _, group in groups), time="day")
    with pytest.raises(TypeError, match=r"exogenous must be the name of a column .*, or a table. Got an array"):
        forecaster().fit(table, **roles(exogenous=np.ones((30, 1))))
    found = forecaster().fit([group for _, group in groups], time="day", target="y", exogenous="p")
    assert "2 series" in found.read_as


def test_tables_where_tokens_are_asked_for():
    table = pa.table({"day": DAYS.to_numpy(), "y": np.arange(30.0)})
    for X, words in (
        ([table, table], r"X\[0\] must have shape \(time,\), one token per step. Got \(30, 2\)"),
        (np.zeros((0, 3), int), r"X must hold at least one sequence. Got an array of shape \(0, 3\)"),
    ):
        with pytest.raises(ValueError, match=words):
            elman.SequenceClassifier(embedding=3).fit(X, ["a", "b"][: len(X)])


def test_a_category_of_text_that_stands_in_no_row():
    kinds = [pd.Categorical([1, 2, 3], categories=[1, 2, 3, "x"]), pd.Categorical([None] * 3, categories=["x"])]
    X = [pd.DataFrame({"q": kinds[0], "y": 1.0}), pd.DataFrame({"q": [3, 1, 2], "y": 1.0})]
    wanted = [np.array([[1.0, 1], [2, 1], [3, 1]]), np.array([[3.0, 1], [1, 1], [2, 1]])]
    fixed = {"hidden": 2, "epochs": 1, "random_state": 0}
    found = elman.SequenceClassifier(**fixed).fit(X, ["a", "b"]).predict_proba(X)
    np.testing.assert_array_equal(
        found, elman.SequenceClassifier(**fixed).fit(wanted, ["a", "b"]).predict_proba(wanted)
    )
    with pytest.raises(ValueError, match=r"must be finite. Got NaN at sequence 1, step 0, column 'q'"):
        elman.SequenceClassifier(**fixed).fit([X[0], pd.DataFrame({"q": kinds[1], "y": 1.0})], ["a", "b"])


ENTRIES = [  # 14 of them each
    lambda rng: pd.date_range("2024-03-25", periods=14, tz=rng.choice(["UTC", "Europe/Berlin", "America/Sao_Paulo"])),
    lambda rng: pd.date_range("2024-03-30", periods=14, freq=rng.choice(["h", "D", "ME", "15min"]))[
        :: rng.choice([1, -1])
    ],
    lambda rng: pd.date_range("2024-03-25", periods=14).strftime(["%Y-%m-%d", "%d.%m.%Y", "%Y-%m"][rng.integers(3)]),
    lambda rng: [day.date() for day in pd.date_range("2024-03-25", periods=14)],
    lambda rng: pd.period_range("2024-01", periods=14, freq=rng.choice(["M", "W", "h"])),
    lambda rng: pd.timedelta_range("1h", periods=14, freq="h"),
    lambda rng: np.repeat(pd.date_range("2024-03-25", periods=7), 2),
    lambda rng: np.array(["9999-12-20"], "M8[s]") + np.arange(14) * np.timedelta64(1, "D"),
    lambda rng: rng.permutation(14) if rng.integers(2) else np.arange(14) * 2 + 5,
    lambda rng: rng.normal(size=14).astype(rng.choice(["float64", "float32", "float16"])),
    lambda rng: np.where(rng.random(14) < 0.3, rng.choice([np.nan, np.inf]), rng.normal(size=14)),
    lambda rng: rng.random(14) < 0.5,
    lambda rng: pd.array([rng.choice([1, 0]), None] * 7, dtype=rng.choice(["boolean", "Int64", "Float32"])),
    lambda rng: list(rng.choice(["a", "b"], 14)),
    lambda rng: pd.Categorical([["x", "y"], [1, 2], [None, "y"]][rng.integers(3)] * 7),
    lambda rng: [[None], ["a", 1], [[1, 2]], [{"a": 1}], [b"a"], [1j], [pd.NaT], [""], [10**30]][rng.integers(9)] * 7,
    lambda rng: pd.Series(range(14)).astype(pd.ArrowDtype(pa.int64())),
    lambda rng: pd.arrays.SparseArray(np.zeros(14)),
    lambda rng: pd.interval_range(0, 14),
]
NAMES = ["y", "when", "id", "p", 0, 1, ("a", "b"), None, True, "index", 1.5, ""]


def some_entries(rng):
    entries = ENTRIES[rng.integers(len(ENTRIES))](rng)
    return list(entries) * 2 if len(entries) == 7 else entries


def some_table(rng):
    """A table of anything, its index too, and what is said of it."""
    names = [NAMES[i] for i in rng.choice(len(NAMES), int(rng.integers(1, 5)), replace=False)]
    table = pd.concat([pd.Series(some_entries(rng)).reset_index(drop=True) for _ in names], axis=1)
    table.columns = pd.Index(names, dtype=object, tupleize_cols=False)
    kind = rng.integers(4)
    try:
        if kind == 1:
            table.index = pd.Index(some_entries(rng))
        if kind == 2:
            table.index = pd.MultiIndex.from_arrays([some_entries(rng), some_entries(rng)], names=["u", None])
    except (TypeError, ValueError, NotImplementedError):  # lists and halves are no index of pandas
        kind = 0
    if kind == 3:
        try:
            table = pa.Table.from_pandas(table.rename(columns=str), preserve_index=False)
            table = table if rng.integers(2) else pl.from_arrow(table)
        except (ValueError, TypeError, ArithmeticError, NotImplementedError, pl.exceptions.PolarsError):
            kind = 0
    said = {role: names[rng.integers(len(names))] for role in ("time", "id", "target", "past") if rng.random() < 0.35}
    return table, {role: str(name) for role, name in said.items()} if kind == 3 else said


def words_of(call):
    """What a call raises, in words, if it does."""
    try:
        call()
    except (ValueError, TypeError) as error:
        return str(error)
    return None


@pytest.mark.filterwarnings("ignore:start must leave:UserWarning", "ignore:series. the column:UserWarning")
@pytest.mark.parametrize("seed", range(40))
def test_whatever_a_table_holds_it_is_read_or_refused_in_words(seed):
    rng = np.random.default_rng(600 + seed)
    told = []
    for _ in range(30):
        table, said = some_table(rng)
        settings = {"fill": [None, "forward"][rng.integers(2)], "freq": [None, None, "D", "B", 1][rng.integers(5)]}
        model = forecaster(**settings)
        told.append(words_of(lambda model=model, table=table, said=said: model.fit(table, **said)))
        if told[-1] is None:
            assert model.read_as
            told.append(words_of(model.predict))
            told.append(words_of(lambda model=model, table=table, said=said: model.backtest(table, -3, **said)))
    for words in filter(None, told):
        assert " must " in words
        assert "Got " in words
    assert any(told)
