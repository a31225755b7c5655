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
