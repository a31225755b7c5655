"""Tables of pandas, polars and Arrow in one form: labels, levels of an index, and tables written back."""

from __future__ import annotations

import datetime as dt
import pickle

import numpy as np
import pytest

pytest.importorskip("narwhals")
pytest.importorskip("pandas")
pytest.importorskip("polars")
pytest.importorskip("pyarrow")

import pandas as pd
import polars as pl
import pyarrow as pa

from elman.checks import ShapeError
from elman.tables.frames import MOST_COLUMNS, Frame, Level, is_table, to_numpy

DATA = {"y": [1.5, 2.5, 4.0], "n": [3, 1, 2], "site": ["a", "b", "a"]}
LIBRARIES = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "arrow": pa.table}
DAYS = pd.date_range("2024-01-30", periods=3)


@pytest.mark.parametrize("make", LIBRARIES.values(), ids=LIBRARIES)
def test_columns_are_found_by_label_in_every_library(make):
    frame = Frame.read("the table", make(DATA))
    assert (frame.labels, frame.levels, frame.rows, frame.single) == (("y", "n", "site"), (), 3, False)
    for label, values in DATA.items():
        assert frame.column(label).to_list() == values
    with pytest.raises(ShapeError, match=r"the table must have the column 'z'. Got 'y', 'n', 'site'."):
        frame.column("z")


@pytest.mark.parametrize("make", LIBRARIES.values(), ids=LIBRARIES)
def test_tables_are_written_in_the_library_and_dtype_that_came(make):
    frame = Frame.read("the table", make(DATA))
    kept = pickle.loads(pickle.dumps(frame.empty()))
    native = kept.write({"site": ["b", "b"], "n": [1, 2], "y_0.5": np.array([0.25, 0.5])})
    assert type(native) is type(make(DATA))
    written = Frame.read("forecast", native)
    assert written.labels == ("site", "n", "y_0.5")
    assert [written.column(label).to_list() for label in written.labels] == [["b", "b"], [1, 2], [0.25, 0.5]]
    assert [written.column(label).dtype for label in ("site", "n")] == [frame.column(c).dtype for c in ("site", "n")]


def test_lists_keep_the_dtype_of_their_column():
    frame = Frame.read("the table", pl.DataFrame(DATA, schema_overrides={"n": pl.Int16, "site": pl.Enum(["a", "b"])}))
    assert frame.write({"n": [1], "site": ["b"]}).schema == {"n": pl.Int16, "site": pl.Enum(["a", "b"])}
    table = pd.DataFrame(DATA).astype({"n": "int16", "site": "category"})
    written = Frame.read("the table", table).write({"n": [1], "site": ["b"]})
    assert written.dtypes.to_dict() == table.dtypes[["n", "site"]].to_dict()
    arrow = pa.table({"n": pa.array([1], pa.int8()), "site": pa.array(["a"]).dictionary_encode()})
    assert Frame.read("the table", arrow).write({"n": [2, 3], "site": ["a", "a"]}).schema == arrow.schema


@pytest.mark.parametrize(
    ("column", "name"),
    [
        (pd.Series([1.0, 2.0], name="y"), "y"), (pd.Series([1.0, 2.0]), None), (pd.Series([1.0, 2.0], name=3), 3),
        (pd.Series([1.0, 2.0], name=("Close", "A")), ("Close", "A")), (pl.Series("y", [1.0, 2.0]), "y"),
        (pl.Series([1.0, 2.0]), ""), (pa.chunked_array([[1.0], [2.0]]), ""),
    ],
)  # fmt: skip
def test_a_single_column_comes_back_as_one_of_its_name(column, name):
    assert is_table(column)
    frame = Frame.read("series", column)
    label = name if name not in (None, "") else "value"
    assert (frame.labels, frame.single, frame.name) == ((label,), True, name)
    assert frame.column(label).to_list() == [1.0, 2.0]
    written = frame.empty().write({label: np.array([3.0, 4.0])}, single=True)
    assert type(written) is type(column)
    assert Frame.read("series", written).name == name
    assert Frame.read("series", written).column(label).to_list() == [3.0, 4.0]


INDEXES = {
    "dates": (DAYS.rename("day"), ("day",)),
    "no name": (DAYS, (Level(0, 1),)),
    "periods": (pd.period_range("2021-03", periods=3, freq="M", name="month"), ("month",)),
    "numbers": (pd.Index([4, 5, 7]), (Level(0, 1),)),
    "0 to n - 1": (pd.RangeIndex(3), ()),
    "0 to n - 1 as integers": (pd.Index([0, 1, 2]), ()),
    "not in order": (pd.Index([1, 0, 2]), (Level(0, 1),)),
    "floats": (pd.Index([0.0, 1.0, 2.0]), (Level(0, 1),)),
    "panel": (pd.MultiIndex.from_arrays([["a", "a", "b"], DAYS], names=["store", None]), ("store", Level(1, 2))),
}


@pytest.mark.parametrize(("index", "levels"), INDEXES.values(), ids=INDEXES)
def test_levels_of_an_index_are_columns_and_written_back(index, levels):
    table = pd.DataFrame({"y": [1.0, 2.0, 4.0]}, index=index)
    for value in (table, table["y"]):
        frame = Frame.read("the table", value)
        assert frame.levels == levels
        for i, level in enumerate(levels):
            expected = index.get_level_values(i)
            assert list(frame.column(level).to_native()) == list(expected)
            assert frame.column(level).to_native().dtype == expected.dtype
        columns = {level: frame.column(level) for level in levels}
        written = frame.write({**columns, "y": np.array([1.0, 2.0, 4.0])}, levels, single=frame.single)
        assert written.equals(value)
        if levels:
            assert (written.index.names, written.index.dtype) == (index.names, index.dtype)


def test_the_index_is_called_by_its_name():
    panel = Frame.read("the table", pd.DataFrame({"y": np.zeros(3)}, index=INDEXES["panel"][0]))
    assert [panel.called(label) for label in (*panel.labels, *panel.levels)] == [
        "the column 'y'", "the level 'store' of the index", "level 1 of the index",
    ]  # fmt: skip
    dated = Frame.read("the table", pd.Series(np.zeros(3), index=DAYS))
    assert dated.called(dated.levels[0]) == "the index"
    assert dated.stated(dated.levels[0]) == DAYS.freq
    assert dated.stated("value") is None


def test_a_name_of_both_a_column_and_a_level_is_refused_where_it_is_asked_for():
    both = Frame.read("the table", pd.DataFrame({"day": [1, 2, 3], "y": [1.0, 2.0, 3.0]}, index=DAYS.rename("day")))
    assert both.column("y").to_list() == [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match=r"must have one column 'day'. Got a column and a level of its index"):
        both.column("day")
    numbered = Frame.read("the table", pd.DataFrame({"y": [1.0, 2.0]}, index=pd.RangeIndex(2, name="step")))
    assert numbered.levels == ()
    assert numbered.column("step").to_list() == [0, 1]


@pytest.mark.parametrize(
    "labels",
    [pd.Index([0, 1]), pd.Index([7, "y"]), pd.MultiIndex.from_product([["Close"], ["A", "B"]], names=["what", "of"])],
    ids=["integers", "of two kinds", "tuples"],
)  # fmt: skip
def test_labels_of_pandas_are_what_pandas_has(labels):
    table = pd.DataFrame([[1.0, 2.0], [3.0, 4.0]], columns=labels.rename(labels.names if labels.nlevels > 1 else "c"))
    frame = Frame.read("the table", table)
    assert frame.labels == tuple(labels)
    assert frame.column(labels[1]).to_list() == [2.0, 4.0]
    written = frame.empty().write({label: table.to_numpy()[:, i] for i, label in enumerate(labels)})
    pd.testing.assert_frame_equal(written, table)


def test_what_is_no_table_in_memory_is_refused():
    for value in (np.zeros(3), [1], DAYS, "text", None, {"y": [1]}):
        assert not is_table(value)
    with pytest.raises(
        TypeError, match=r"X must be a table .*Got a polars.LazyFrame; .collect\(\) makes a table of it"
    ):
        Frame.read("X", pl.DataFrame(DATA).lazy())
    with pytest.raises(TypeError, match=r"Got a pyarrow.RecordBatch"):
        Frame.read("X", pa.record_batch(DATA))
    twice = [pd.DataFrame([[1, 2, 3]], columns=["a", "b", "b"]), pa.table([[1], [2], [3]], names=["a", "b", "b"])]
    for table in twice:
        with pytest.raises(ValueError, match=r"X must have columns of different names. Got 'b' more than once."):
            Frame.read("X", table)
    with pytest.raises(ShapeError, match=r"X must have at most 100,000 columns. Got 1,000,000."):
        Frame.read("X", pd.DataFrame(np.zeros((1, 10 * MOST_COLUMNS))))


def test_dates_of_python_are_a_column_too():
    days = [dt.date(2024, 1, 1), dt.date(2024, 1, 2)]
    frame = Frame.read("the table", pd.DataFrame({"y": [1.0, 2.0]}, index=days))
    assert frame.column(Level(0, 1)).to_list() == days
    assert list(frame.write({Level(0, 1): days, "y": np.zeros(2)}, [Level(0, 1)]).index) == days


def test_arrays_of_columns_keep_what_is_missing():
    words = pa.chunked_array([pa.array(["a", None, "b"]).dictionary_encode()])
    assert to_numpy(words).tolist() == ["a", None, "b"]
    assert to_numpy(pd.Series(["a", "b"], dtype="category")).tolist() == ["a", "b"]
    assert to_numpy(pl.Series([1, 2])).dtype == np.int64
