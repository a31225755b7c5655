"""What columns of tables hold: numbers, truth values and categories, the same in pandas, polars and Arrow."""

from __future__ import annotations

import datetime as dt
import pickle
from decimal import Decimal

import numpy as np
import pytest

pytest.importorskip("narwhals")
pytest.importorskip("pandas")
pytest.importorskip("polars")
pytest.importorskip("pyarrow")

import pandas as pd
import polars as pl
import pyarrow as pa

from elman.checks import DtypeError, ShapeError
from elman.tables.columns import Column, Columns
from elman.tables.frames import Frame
from elman.tables.places import words


def in_pandas(columns):
    made = {}
    for name, (kind, values) in columns.items():
        dtype = {"int": "Int32", "truth": "boolean", "category": "category", "float": "float64"}.get(kind, object)
        made[name] = pd.Series([None if v is None else v for v in values], dtype=dtype)
    return pd.DataFrame(made)


def in_polars(columns):
    dtypes = {"int": pl.Int16, "truth": pl.Boolean, "category": pl.Categorical, "float": pl.Float64}
    dtypes["decimal"] = pl.Decimal(20, 3)
    return pl.DataFrame({name: pl.Series(values, dtype=dtypes[kind]) for name, (kind, values) in columns.items()})


def in_arrow(columns):
    dtypes = {"int": pa.uint8(), "truth": pa.bool_(), "category": pa.string(), "float": pa.float64()}
    dtypes["decimal"] = pa.decimal128(20, 3)
    made = {}
    for name, (kind, values) in columns.items():
        parts = [pa.array(part, dtypes[kind]) for part in (values[: len(values) // 2], values[len(values) // 2 :])]
        made[name] = pa.chunked_array([part.dictionary_encode() if kind == "category" else part for part in parts])
    return pa.table(made)


LIBRARIES = {"pandas": in_pandas, "polars": in_polars, "arrow": in_arrow}


def draw(rng):
    """Columns of random kinds, some of their values missing."""
    rows, columns = int(rng.integers(2, 9)), {}
    for i in range(int(rng.integers(1, 7))):
        kind = rng.choice(["int", "float", "truth", "category", "decimal"])
        values = {
            "int": rng.integers(0, 100, rows).tolist(),
            "float": rng.normal(size=rows).tolist(),
            "truth": (rng.random(rows) < 0.5).tolist(),
            "category": rng.choice(["north", "east", "s", "w"], rows).tolist(),
            "decimal": [Decimal(int(k)) / 8 for k in rng.integers(-80, 80, rows)],
        }[kind]
        missing = rng.random(rows) < rng.choice([0, 0.3])
        columns[f"c{i}"] = (kind, [None if gone else v for gone, v in zip(missing, values, strict=True)])
    return columns


def expected(columns):
    """The numbers of the columns by plain Python."""
    made = []
    for kind, values in columns.values():
        if kind == "category":
            for category in sorted({v for v in values if v is not None}):
                made += [[np.nan if v is None else float(v == category) for v in values]]
        else:
            made.append([np.nan if v is None else float(v) for v in values])
    return np.array(made).reshape(len(made), -1).T


@pytest.mark.parametrize("seed", range(60))
def test_the_same_data_gives_the_same_numbers_in_every_library(seed):
    rng = np.random.default_rng(seed)
    columns = draw(rng)
    order = rng.permutation(list(columns))
    for make in LIBRARIES.values():
        table = make(columns)
        frame = Frame.read("the table", table)
        kept = pickle.loads(pickle.dumps(Columns.read([frame])))
        if any(any(v is None for v in values) and all(v is None for v in values) for _, values in columns.values()):
            continue
        want = expected(columns)
        assert kept.width == len(kept.names) == want.shape[1]
        np.testing.assert_array_equal(kept.numbers(frame), want)
        shuffled = Frame.read("later", table[list(order)] if make is not in_arrow else table.select(list(order)))
        np.testing.assert_array_equal(kept.numbers(shuffled), want)
        kinds = {name: {"truth": "truth", "category": "category"}.get(k, "number") for name, (k, _) in columns.items()}
        assert {column.label: column.kind for column in kept.columns} == kinds


def test_some_columns_of_a_table():
    frame = Frame.read("the table", pd.DataFrame({"y": [1.0], "site": ["a"], "n": [True]}))
    columns = Columns.read([frame], ["n", "y"])
    assert columns.columns == (Column("n", "truth"), Column("y", "number"))
    np.testing.assert_array_equal(columns.numbers(frame), [[1.0, 1.0]])
    assert Columns.read([frame], []).numbers(frame).shape == (1, 0)
    indexed = Frame.read("the table", pd.DataFrame({"y": [1.0]}, index=pd.Index([True], name="n")))
    np.testing.assert_array_equal(columns.numbers(indexed), [[1.0, 1.0]])
    assert Columns.read([indexed], ["n", "y"]) == columns
    with pytest.raises(ShapeError, match=r"the table must have the column 'z'. Got 'y', 'n'."):
        Columns.read([indexed], ["z"])


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table], ids=["pandas", "polars", "arrow"])
def test_names_are_taken_as_they_stand(make):
    values = {"*": [1.0, 2.0], "^a.*$": [3, 4], "ab": [5.0, None], "": [True, False], "ä\n": [7, 8], "x" * 500: [9, 10]}
    frame = Frame.read("X", make(values))
    want = np.array([[np.nan if v is None else v for v in column] for column in values.values()], float).T
    np.testing.assert_array_equal(Columns.read([frame]).numbers(frame), want)
    chosen = Columns.read([frame], ["^a.*$", "*"])
    np.testing.assert_array_equal(chosen.numbers(frame), want[:, [1, 0]])
    assert frame.column("*").to_list() == [1.0, 2.0]


def test_categories_are_those_of_all_frames():
    frames = [pd.DataFrame({"x": [1.0, 2.0], "site": pd.Categorical(sites)}) for sites in (["b", "b"], ["c", "a"])]
    columns = Columns.read([Frame.read(f"X[{i}]", frame) for i, frame in enumerate(frames)])
    assert columns.names == ("x", "site=a", "site=b", "site=c")
    assert columns.describe() == "x; site (3 categories)"
    later = pl.DataFrame({"site": ["c", "b"], "x": [0.5, 0.25]})
    want = [[0.5, 0, 0, 1], [0.25, 0, 1, 0]]
    np.testing.assert_array_equal(columns.numbers(Frame.read("later", later)), want)
    for site, shown in (("d", "'d'"), (7, "7")):
        wrong = Frame.read("X[4]", pd.DataFrame({"x": [0.0, 1.0], "site": ["a", site]}))
        saw = "must hold categories that fit saw in the column 'site': 'a', 'b', 'c'"
        with pytest.raises(ValueError, match=rf"X\[4\] {saw}. Got {shown} at step 1."):
            columns.numbers(wrong, words("step"))


def test_categories_that_are_numbers_are_numbers():
    table = pd.DataFrame({"n": pd.Categorical([3, 1, None]), "t": pd.Categorical([True, False, True])})
    arrow = pa.table({"n": pa.array([3, 1, None]).dictionary_encode(), "t": [True, False, True]})
    for value in (table, arrow):
        frame = Frame.read("the table", value)
        columns = Columns.read([frame])
        assert [column.kind for column in columns.columns] == ["number", "truth"]
        np.testing.assert_array_equal(columns.numbers(frame), [[3, 1], [1, 0], [np.nan, 1]])


REFUSED = {
    "text": (["a", "b"], "'a' at row 0; .* makes categories of text"),
    "dates": ([dt.date(2024, 1, 1), None], r"2024-01-01|datetime.date\(2024, 1, 1\) at row 0"),
    "times": ([None, dt.datetime(2024, 1, 1)], "at row 1"),
    "lists": ([[1.0], [2.0]], r"at row 0"),
    "records": ([{"a": 1}, {"a": 2}], r"at row 0"),
    "durations": ([dt.timedelta(1)] * 2, "at row 0"),
}


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table], ids=["pandas", "polars", "arrow"])
@pytest.mark.parametrize(("values", "message"), REFUSED.values(), ids=REFUSED)
def test_other_columns_are_refused_by_name_and_row(make, values, message):
    frame = Frame.read("X[2]", make({"x": [0.5, 1.5], "site": values}))
    must = r"X\[2\] must hold numbers, truth values or categories in the column 'site'. Got .*"
    with pytest.raises(DtypeError, match=must + f"({message})"):
        Columns.read([frame])


def test_objects_are_numbers_where_every_entry_is_one():
    frame = Frame.read("X", pd.DataFrame({"x": pd.Series([1, None, Decimal("0.5")], dtype=object)}))
    np.testing.assert_array_equal(Columns.read([frame]).numbers(frame), [[1], [np.nan], [0.5]])
    mixed = Frame.read("X", pd.DataFrame({"x": pd.Series([1, None, "x", 2.0], dtype=object)}))
    with pytest.raises(DtypeError, match=r"in the column 'x'. Got 'x' at row 2"):
        Columns.read([mixed])
    for wrong in ([1j, 2], pd.period_range("2024", periods=2), pd.interval_range(0, 2)):
        with pytest.raises(DtypeError, match=r"in the column 'x'. Got .* at row 0"):
            Columns.read([Frame.read("X", pd.DataFrame({"x": wrong}))])


def test_columns_of_other_names_are_refused():
    frames = [Frame.read(f"X[{i}]", pd.DataFrame({c: [1.0] for c in names})) for i, names in enumerate(["abc", "cab"])]
    columns = Columns.read(frames)
    assert columns.labels == ("a", "b", "c")
    assert columns.order(frames[1]).tolist() == [1, 2, 0]
    wrong = Frame.read("X[2]", pd.DataFrame({"a": [1.0], "c": [1.0], "D": [1.0]}))
    must = "must have the columns 'a', 'b', 'c'. Got 'a', 'c', 'D': it lacks 'b' and has 'D' too."
    with pytest.raises(ValueError, match=r"X\[2\] " + must):
        columns.numbers(wrong)
    with pytest.raises(ValueError, match=r"X\[2\] " + must):
        Columns.read([*frames, wrong])


def test_a_column_of_another_kind_than_before_is_refused():
    number, category = pd.DataFrame({"x": [np.nan, 2.0]}), pd.DataFrame({"x": pd.Categorical([None, "a"])})
    for pair, must in (([number, category], "numbers"), ([category, number], "categories: 'a'")):
        frames = [Frame.read(f"X[{i}]", table) for i, table in enumerate(pair)]
        with pytest.raises(DtypeError, match=rf"X\[1\] must hold {must} in the column 'x', as before. Got .* at row 1"):
            Columns.read(frames)
    with pytest.raises(DtypeError, match=r"later must hold numbers in the column 'x', as before. Got 'a' at row 1"):
        Columns.read([Frame.read("X", number)]).numbers(Frame.read("later", category))


def test_a_column_without_a_value_is_numbers_that_are_missing():
    for value in (pd.DataFrame({"x": [None, None]}), pl.DataFrame({"x": [None, None]}), pa.table({"x": pa.nulls(2)})):
        frame = Frame.read("X", value)
        columns = Columns.read([frame])
        assert columns.columns == (Column("x", "number"),)
        np.testing.assert_array_equal(columns.numbers(frame), [[np.nan], [np.nan]])
