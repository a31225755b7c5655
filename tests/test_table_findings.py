"""Tables as users bring them: what stands beside series, lists of groups, and words that lead somewhere."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pandas")

import pandas as pd

import elman

DAYS = pd.date_range("2024-01-01", periods=44, freq="D")
HISTORY, AHEAD = DAYS[:40], DAYS[40:43]
SMALL = {"horizon": 3, "window": 6, "hidden": 3, "epochs": 2, "patience": None, "random_state": 0}
rng = np.random.default_rng(11)
VALUES, BESIDE = rng.normal(size=44), rng.normal(size=44)


def small(**settings):
    return elman.Forecaster(**{**SMALL, **settings})


def sales():
    return pd.Series(VALUES[:40], index=HISTORY, name="sales")


def long_table(ids=("a", "b", "c")):
    parts = [pd.DataFrame({"id": i, "day": HISTORY, "y": VALUES[:40] * (k + 1)}) for k, i in enumerate(ids)]
    return pd.concat(parts, ignore_index=True)


def words_of(call, *args, **more):
    with pytest.raises((ValueError, TypeError)) as caught:
        call(*args, **more)
    return str(caught.value)


# Tables beside the series.


def sites(entries, index):
    return pd.DataFrame({"site": pd.Categorical(np.resize(entries, len(index)), list("abc"))}, index=index)


def test_categories_beside_a_series_are_no_ids():
    forecaster = small().fit(sales(), exogenous=sites(list("ab"), DAYS))
    assert "site (2 categories) known ahead" in forecaster.read_as
    found = forecaster.predict(future=sites(list("ab"), AHEAD))
    column = np.resize([[1.0, 0.0], [0.0, 1.0]], (44, 2))
    arrays = small().fit(VALUES[:40], exogenous=column[:40])
    np.testing.assert_array_equal(found, arrays.predict(future=column[:3]))
    assert "must hold categories that fit saw" in words_of(forecaster.predict, future=sites(list("abc"), AHEAD))
    text = sites(list("ab"), DAYS).astype(str)
    assert "in the column 'site'. Got 'a' at row 0; astype(\"category\")" in words_of(
        small().fit, sales(), exogenous=text
    )


def test_tables_of_a_list_have_the_categories_of_all():
    parts = [sites(list("ab"), HISTORY).assign(y=VALUES[:40]), sites(list("bc"), HISTORY[:30]).assign(y=VALUES[:30])]
    found = small().fit(parts, target="y", exogenous="site")
    assert "site (3 categories)" in found.read_as
    again = small().fit([part[["y"]] for part in parts], exogenous=[part[["site"]] for part in parts])
    future = [sites(list("ca"), AHEAD), sites(list("b"), DAYS[30:33])]
    for one, other in zip(found.predict(future=future), again.predict(future=future), strict=True):
        np.testing.assert_array_equal(one, other)


def libraries():
    names = {"pandas": lambda table: table}
    names["polars"] = lambda table: pytest.importorskip("polars").from_pandas(table)
    names["Arrow"] = lambda table: pytest.importorskip("pyarrow").Table.from_pandas(table, preserve_index=False)
    return names


@pytest.mark.parametrize("library", libraries())
def test_the_one_column_of_dates_of_a_table_beside_is_its_time(library):
    write = libraries()[library]
    table = pd.DataFrame({"heat": BESIDE, "when": DAYS})
    forecaster = small().fit(sales(), exogenous=write(table.sample(frac=1, random_state=0)))
    found = forecaster.predict(future=write(table[::-1]))
    index = table.set_index("when")
    np.testing.assert_array_equal(found, small().fit(sales(), exogenous=index).predict(future=index))
    two = write(table.assign(made=DAYS))
    assert "time must be given where exogenous has a column of dates" in words_of(small().fit, sales(), exogenous=two)


def test_a_table_beside_without_rows_there_is_refused():
    table = pd.DataFrame({"heat": BESIDE}, index=DAYS)
    later = table.set_axis(DAYS + pd.DateOffset(years=3))
    for settings in ({}, {"fill": "forward"}):
        told = words_of(small(**settings).fit, sales(), exogenous=later)
        assert told == "exogenous must have rows from 2024-01-01 to 2024-02-09, as the table. Got none there."
    assert words_of(small().fit, sales(), past=table[:0]) == "past must have rows. Got none."
    forecaster = small().fit(sales(), exogenous=table)
    assert words_of(forecaster.predict, future=table[:0]) == "future must have rows. Got none."
    panel = small().fit(long_table(), id="id", time="day", exogenous=table)
    assert words_of(panel.predict, future=table[:0].reset_index(names="day")) == "future must have rows. Got none."


# Lists of groups.


def test_groups_keep_the_column_that_names_them():
    groups = [group for _, group in long_table().groupby("id")]
    forecaster = small().fit(groups, time="day", target="y")
    wanted = small().fit(long_table(), id="id", time="day").predict()
    np.testing.assert_array_equal(pd.concat(forecaster.predict())["y"], wanted["y"])
    assert forecaster.read_as.endswith("id not read")
    told = words_of(small().fit, groups, time="day")
    assert told == "target must be numbers. Got 'a' at row 0 in the column 'id'; target= names the columns to forecast."


def test_groups_of_an_index_of_two_levels_are_series():
    panel = long_table().set_index(["id", "day"])
    forecaster = small().fit([group for _, group in panel.groupby("id")])
    assert "3 series by id" in forecaster.read_as
    wanted = small().fit(panel).predict()
    pd.testing.assert_frame_equal(pd.concat(forecaster.predict()), wanted)
    told = words_of(small().fit, [panel, panel])
    assert told == "series[0] must be one series, in a list of them. Got 3 by 'id'."


def test_the_longest_table_of_a_list_tells_the_step():
    for first in (sales()[:1], sales()[20:22:1]):
        with pytest.warns(UserWarning, match=r"series\[0\] is left out"):
            forecaster = small().fit([first, sales()])
        assert forecaster.read_as.startswith("2 series, daily from 2024-01-01 to 2024-02-09")
    told = words_of(small().fit, [sales()[::2], sales()])
    assert "the time of series[0] must go on in equal steps, of 1 day here" in told


# Words that lead somewhere.


def test_a_column_without_entries_is_no_id():
    told = words_of(small(fill="forward").fit, sales().to_frame().assign(note=None))
    assert told.startswith("the table must hold values. Got NaN alone from step 0, column 'note'")
    found = small().fit(sales().to_frame().assign(note="kept by hand"), target="sales")
    np.testing.assert_array_equal(found.predict(), small().fit(sales().to_frame()).predict())


@pytest.mark.parametrize("step", ["D", "h"])
def test_series_that_nobody_tells_apart(step):
    table = pd.DataFrame({"store": np.repeat([1, 2], 20), "y": VALUES[:40]})
    table.index = pd.DatetimeIndex(np.tile(pd.date_range("2024-10-26", periods=20, freq=step), 2))
    told = words_of(small().fit, table)
    assert "at row 0 and again at row 20; id= tells series apart where there are several." in told
    assert "2 series by store" in small().fit(table, id="store").read_as


@pytest.mark.parametrize("name", ["BME", "SMS", "WOM-1MON"])
def test_names_of_steps_that_pandas_alone_knows(name):
    index = pd.date_range("2021-03-05", periods=43, freq=name)
    series = pd.Series(VALUES[:40], index=pd.DatetimeIndex(index[:40].to_numpy()))
    assert "an offset such as pd.offsets.BMonthEnd()" in words_of(small(freq=name).fit, series)
    found = small(freq=pd.tseries.frequencies.to_offset(name)).fit(series).predict()
    assert found.index.tolist() == index[40:].tolist()


def test_custom_business_days_without_holidays_are_business_days():
    index = pd.DatetimeIndex(pd.date_range("2024-01-01", periods=40, freq="C").to_numpy())
    series = pd.Series(VALUES[:40], index=index)
    pd.testing.assert_series_equal(small(freq="C").fit(series).predict(), small(freq="B").fit(series).predict())


# Sizes.


def test_thousands_of_columns_are_read_in_no_time():
    wide = pd.DataFrame(rng.normal(size=(20, 30_000)))
    start = time.perf_counter()
    told = words_of(small(window=30).fit, wide)
    assert time.perf_counter() - start < 5  # each column was held against all others: 15 seconds
    assert "at least 33 steps" in told


# Stamps and ids that few have.


def test_whole_numbers_do_not_begin_again():
    table = pd.DataFrame({"tick": np.arange(2**63 - 41, 2**63 - 1), "y": VALUES[:40]})
    told = words_of(small().fit, table, time="tick")
    assert told.startswith("stamps must lie within the range of int64")
    earlier = table.assign(tick=table["tick"] - 2)
    assert small().fit(earlier, time="tick").predict()["tick"].tolist() == list(range(2**63 - 3, 2**63))


def test_ids_of_numpy_beside_those_of_python():
    table = long_table().assign(id=lambda t: t["id"].map({"a": 1, "b": np.int64(2), "c": 3}).astype(object))
    table["id"] = pd.Series([np.int64(i) if row % 3 else int(i) for row, i in enumerate(table["id"])], dtype=object)
    found = small().fit(table, id="id", time="day").predict()
    np.testing.assert_array_equal(found["y"], small().fit(long_table(), id="id", time="day").predict()["y"])
    told = words_of(small().fit, long_table().assign(id=[[1]] * 120), id="id", time="day")
    assert told == "the column 'id' must name the series by text, numbers or dates. Got [1] at row 0."


# Variables that are none.


def test_variables_that_look_like_ids_and_times_are_told():
    groups = [group for _, group in long_table(ids=(3, 1, 2)).set_index("day").groupby("id")]
    with pytest.warns(UserWarning, match="'id' is constant in every series and differs between them, as an id") as told:
        small().fit(groups)
    assert told[0].filename == __file__
    table = pd.DataFrame({"year": np.arange(1980, 2020), "y": VALUES[:40], "x": BESIDE[:40]})
    with pytest.warns(UserWarning, match="'year' counts up in equal steps in every series, as a time"):
        small().fit(table)
    with pytest.warns(UserWarning, match="'store' stands in blocks, as an id"):
        small().fit(table.drop(columns="year").assign(store=np.repeat([1, 2, 5, 4], 10)))
    small().fit(table, target=["year", "y"])
    small().fit(table, time="year")
    small().fit(table.set_index(HISTORY))
    small().fit(table[["year"]])
    small().fit([group.assign(id=BESIDE[:40]) for group in groups])


def test_no_advice_to_state_a_step_that_is_stated():
    told = words_of(small(freq="h").fit, sales())
    assert told.endswith('23 steps missing; fill="forward" or "interpolate" fills gaps.')
    assert "freq=" not in words_of(small(freq="h", fill="forward").fit, sales())
    assert words_of(small().fit, sales().drop(HISTORY[7])).endswith("fills gaps; freq= states another step.")


def test_numbers_as_text_are_no_ids():
    text = [f"{value:.3f}".replace(".", ",") for value in VALUES[:40]]
    text[3] = text[2]
    told = words_of(small().fit, sales().to_frame().assign(price=text))
    assert told.startswith("target must be numbers. Got '")
    assert "in the column 'price'; target= names" in told


# Tables beside arrays, and later tables of another library.


def test_tables_beside_arrays_are_refused_where_they_would_lose_names_or_dates():
    known = pd.DataFrame({"heat": BESIDE, "rain": BESIDE[::-1]})
    must = "must be an array where series is one: its columns and its index would not be read. Got a "
    for table in (known[:40], known[["heat"]].set_axis(DAYS)[:40], known["heat"].set_axis(DAYS)[:40]):
        assert f"exogenous {must}" in words_of(small().fit, VALUES[:40], exogenous=table)
        assert f"past[1] {must}" in words_of(small().fit, [VALUES[:40]] * 2, past=[known["heat"][:40], table])
    forecaster = small().fit(VALUES[:40], exogenous=known[:40].to_numpy())
    ahead = known[40:43].reset_index(drop=True)
    assert f"future {must}" in words_of(forecaster.predict, future=ahead[["rain", "heat"]])
    one = small().fit(VALUES[:40], exogenous=known["heat"][:40]).predict(future=ahead["heat"])
    np.testing.assert_array_equal(one, small().fit(VALUES[:40], exogenous=BESIDE[:40]).predict(future=BESIDE[40:43]))


@pytest.mark.parametrize("library", libraries())
def test_a_later_table_may_have_its_time_as_a_column(library):
    forecaster = small().fit(sales().to_frame())
    later = libraries()[library](pd.DataFrame({"sales": VALUES, "when": DAYS})[10:])
    found = forecaster.predict(later)
    np.testing.assert_array_equal(
        found["sales"], forecaster.predict(pd.Series(VALUES, DAYS, name="sales").to_frame()[10:])["sales"]
    )
    assert "when" in (found.column_names if library == "Arrow" else found.columns)


def test_of_stamps_on_a_finer_clock_the_first_that_is_off_is_named():
    hours = pd.Series(VALUES[:40], index=pd.date_range("2024-01-01", periods=40, freq="h"))
    told = words_of(small(freq="D").fit, hours)
    assert "Got 2024-01-01 01:00 at row 1 after 2024-01-01 at row 0, and 37 more rows off the clock" in told
    assert "Got 2024-01-01 01:00 at row 1 after" in words_of(small().fit(sales()).predict, hours)


def test_an_index_from_0_on_may_be_named_as_the_time():
    table = pd.DataFrame({"y": VALUES[:40]}, index=pd.RangeIndex(40, name="step"))
    known = pd.DataFrame({"heat": BESIDE}, index=pd.RangeIndex(44, name="step"))
    forecaster = small().fit(table, time="step", exogenous=known)
    found = forecaster.predict(future=known)
    assert found.index.equals(pd.RangeIndex(40, 43, name="step"))
    np.testing.assert_array_equal(found, forecaster.predict(table, exogenous=known, future=known[::-1]))
    array = small().fit(VALUES[:40, None], exogenous=BESIDE[:40]).predict(future=BESIDE[40:43])
    np.testing.assert_array_equal(found, array)
    assert small().fit(table).predict().index.tolist() == [0, 1, 2]
