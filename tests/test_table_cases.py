"""What a table says about itself is read, or refused in words: cases that users of other libraries reported.

A panel that became one series, gaps that closed up, stamps an hour off, columns that changed places at prediction.
"""

from __future__ import annotations

import datetime as dt
import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pandas")

import pandas as pd
from sklearn.base import clone

import elman

BERLIN = "Europe/Berlin"
DAYS = pd.date_range("2024-01-01", periods=40, freq="D")
SMALL = {"horizon": 3, "window": 6, "hidden": 3, "epochs": 2, "patience": None, "random_state": 0}
rng = np.random.default_rng(0)


def small(**settings):
    return elman.Forecaster(**{**SMALL, **settings})


def series(index=DAYS, name="y"):
    return pd.Series(np.arange(len(index)) % 7 * 1.0, index=index, name=name)


def texts(stamps):
    return [str(stamp) for stamp in stamps]


# A panel with a MultiIndex.


def panel(levels=("store", "day")):
    parts = {s: pd.DataFrame({"sales": 100.0 * k + np.arange(40)}, index=DAYS) for k, s in enumerate("ABC")}
    return pd.concat(parts, names=list(levels))


@pytest.mark.parametrize("said", [{}, {"id": "store"}, {"id": "store", "time": "day"}, {"time": "day"}])
def test_levels_of_an_index_are_id_and_time(said):
    forecaster = small().fit(panel(), **said)
    found = forecaster.predict()
    assert found.index.names == ["store", "day"]
    assert found.index.get_level_values("store").tolist() == list("AAABBBCCC")
    assert texts(found.index.get_level_values("day")[:3]) == [f"2024-02-{d} 00:00:00" for d in (10, 11, 12)]
    assert forecaster.read_as.startswith("3 series by store")
    arrays = small().fit([100.0 * k + np.arange(40) for k in range(3)]).predict()
    np.testing.assert_array_equal(found["sales"], np.concatenate(arrays))
    np.testing.assert_array_equal(forecaster.predict(panel()[::-1].sort_index(level="store"))["sales"], found["sales"])
    test = small().backtest(panel(), -6, **said)
    np.testing.assert_array_equal(test.actuals[2][0], 200.0 + np.arange(34, 37))


@pytest.mark.parametrize("levels", [("day", "store"), (None, None), ("store", None)])
def test_levels_in_another_order_or_without_names(levels):
    table = panel()
    if levels[0] == "day":
        table = table.swaplevel()
    table.index = table.index.set_names(levels)
    found = small().fit(table).predict()
    assert list(found.index.names) == list(levels)
    assert len(found) == 9
    assert "__" not in small().fit(table).read_as


# An index that is no DatetimeIndex.

KINDS = {
    "periods": (pd.period_range("2021-01", periods=40, freq="M"), pd.period_range("2024-05", periods=3, freq="M")),
    "text": (DAYS.strftime("%Y-%m-%d"), ["2024-02-10", "2024-02-11", "2024-02-12"]),
    "dates": ([d.date() for d in DAYS], [dt.date(2024, 2, d) for d in (10, 11, 12)]),
    "durations": (pd.to_timedelta(np.arange(40), unit="h"), pd.to_timedelta([40, 41, 42], unit="h")),
    "stamps": (DAYS, pd.date_range("2024-02-10", periods=3)),
    "objects": (pd.Index(list(DAYS), dtype=object), pd.date_range("2024-02-10", periods=3)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_index_of_dates_is_read(kind):
    index, after = KINDS[kind]
    whole = series(index)
    holes = whole.drop(whole.index[10:20])
    forecaster = small().fit(whole)
    assert forecaster.predict().index.tolist() == list(after)
    assert forecaster.predict(whole[8:]).index.tolist() == list(after)
    assert [type(stamp) for stamp in forecaster.predict().index] == [type(stamp) for stamp in after]
    for call in (small().fit, lambda s: small().backtest(s, -5), forecaster.predict):
        with pytest.raises(ValueError, match="equal steps") as caught:
            call(holes)
        assert "fill=" in str(caught.value)
    filled = small(fill="forward").fit(holes)
    assert filled.predict().index.tolist() == list(after)
    assert "1 gap of 10" in filled.read_as


@pytest.mark.parametrize(
    "index",
    [
        [f"row {i}" for i in range(40)],
        np.arange(40) * 0.5,
        np.delete(np.arange(50), np.arange(10, 20)),
        pd.interval_range(0, 40),
        pd.CategoricalIndex(["a", "b"] * 20),
        pd.Index([(i, "a") for i in range(40)], tupleize_cols=False),
    ],
)
def test_another_index_is_refused(index):
    with pytest.raises((ValueError, TypeError), match=r"index|text|level"):
        small().fit(series(index=pd.Index(index, name=None, tupleize_cols=False)))


def test_an_index_from_0_on_is_no_time():
    found = small().fit(series(np.arange(40))).predict()
    np.testing.assert_array_equal(found, small().fit(series().to_numpy()).predict())


def test_part_of_a_numbered_table_is_taken_where_fit_had_numbers_from_0_on():
    table = pd.DataFrame({"y": series().to_numpy(), "p": rng.normal(size=40)})
    forecaster = small().fit(table[:30], target="y", exogenous="p")
    found = forecaster.predict(table[10:37], future=table[["p"]][37:])
    again = table[10:].reset_index(drop=True)
    np.testing.assert_array_equal(found["y"], forecaster.predict(again[:27], future=again[["p"]][27:])["y"])
    for later in (table[10:37:2], table[36:9:-1], table[10:37].drop(20)):
        with pytest.raises(ValueError, match="the index of the table must"):
            forecaster.predict(later, future=table[["p"]][37:])
    with pytest.raises(ValueError, match="the index of future must"):
        forecaster.predict(table[10:34], future=table[["p"]][34::2])


def test_gaps_in_columns_beside_are_said():
    p = pd.DataFrame({"p": [1.0, 2.0]}, index=[DAYS[0], DAYS[30]])
    assert (
        "p known up to the present, 2 gaps of 9 to 29 days filled forward"
        in small(fill="forward").fit(series(), past=p).read_as
    )
    with pytest.raises(ValueError, match=r"past of the table must be finite. Got NaN at step 1, column 'p'"):
        small().fit(series(), past=p)


def test_a_list_of_dated_series_keeps_its_dates():
    parts = [series(), series(pd.date_range("2024-01-05", periods=30))]
    found = small().fit(parts).predict()
    assert [texts(part.index)[0] for part in found] == ["2024-02-10 00:00:00", "2024-02-04 00:00:00"]
    with pytest.raises(ValueError, match="equal steps"):
        small().fit([parts[0], parts[1].drop(parts[1].index[10:15])])


def test_series_of_a_list_keep_their_own_zones():
    zones = (BERLIN, "America/New_York")  # where clocks change three weeks apart
    parts = [series(pd.date_range("2024-02-20", periods=25, tz=zone)) for zone in zones]
    right = [pd.date_range("2024-03-16", periods=3, tz=zone) for zone in zones]
    forecaster = small().fit(parts)
    assert [texts(part.index) for part in forecaster.predict()] == list(map(texts, right))
    assert "Europe/Berlin and America/New_York" in forecaster.read_as
    for part, stamps in zip(parts, right, strict=True):
        for fitted in (forecaster, small().fit(parts[0])):
            found = fitted.predict([part])[0] if fitted is forecaster else fitted.predict(part)
            assert texts(found.index) == texts(stamps)


# Local days over changes of the clock.


def days_of_two_series():
    short = pd.DataFrame({"id": "short", "day": pd.date_range("2023-12-01", "2024-02-10", tz=BERLIN)})
    long = pd.DataFrame({"id": "long", "day": pd.date_range("2023-09-01", "2024-02-10", tz=BERLIN)})
    return pd.concat([short, long]).assign(y=lambda table: np.arange(len(table)) % 7 * 1.0)


@pytest.mark.parametrize("ids", [["short", "long"], ["long", "short"]])
def test_a_panel_whose_series_start_on_both_sides_of_a_change(ids):
    table = pd.concat([part for i in ids for _, part in days_of_two_series().query("id == @i").groupby("id")])
    forecaster = small().fit(table, id="id", time="day")
    found = forecaster.predict()
    assert found["id"].tolist() == [i for i in ids for _ in range(3)]
    assert texts(found["day"]) == [f"2024-02-{d} 00:00:00+01:00" for d in (11, 12, 13)] * 2
    assert "daily from 2023-09-01 to 2024-02-10, Europe/Berlin" in forecaster.read_as
    assert texts(forecaster.predict(table[::-1].sort_values(["id", "day"]))["day"]) == texts(found["day"])


def test_local_days_that_a_forecast_takes_over_a_change():
    right = pd.date_range("2024-03-31", periods=4, tz=BERLIN)
    days = pd.date_range("2024-03-01", periods=30, tz=BERLIN)
    assert texts(small(horizon=4).fit(series(days)).predict().index) == texts(right)
    table = pd.DataFrame({"day": days, "y": series(days).to_numpy(), "p": 0.0})
    forecaster = small(horizon=4).fit(table, time="day", target="y", exogenous="p")
    future = pd.DataFrame({"day": right, "p": 0.0})
    assert texts(forecaster.predict(future=future)["day"]) == texts(right)
    assert texts(forecaster.predict(table[5:], future=future[::-1])["day"]) == texts(right)
    with pytest.raises(ValueError, match=r"2024-04-01"):
        forecaster.predict(future=future.assign(day=[*right[:1], right[1] + pd.Timedelta(hours=1), *right[2:]]))


def test_an_hour_that_does_not_exist():
    days = pd.date_range("2024-10-10 02:30", periods=165).tz_localize(BERLIN, ambiguous=np.ones(165, bool))
    found = texts(small(horizon=12).fit(series(days)).predict().index)
    want = texts(pd.date_range("2025-03-24 02:30", periods=6, tz=BERLIN))
    later = texts(pd.date_range("2025-03-31 02:30", periods=5, tz=BERLIN))
    assert found == [*want, "2025-03-30 03:30:00+02:00", *later]


@pytest.mark.parametrize(
    "zone",
    [
        *("America/New_York", "US/Eastern", "Etc/GMT+5", "Etc/GMT-14", "UTC", "GMT", "EST5EDT", "Asia/Kolkata"),
        *("Asia/Kathmandu", "Australia/Lord_Howe", "America/Argentina/Buenos_Aires", "Pacific/Apia", "+05:30"),
        *("dateutil/America/New_York", dt.UTC, dt.timezone(dt.timedelta(hours=-3, minutes=-30))),
    ],
)
def test_names_of_time_zones(zone):
    stamps = pd.date_range("2024-01-01", periods=43, freq="h", tz=zone)
    forecaster = small().fit(series(stamps[:40]))
    found = forecaster.predict().index
    assert texts(found) == texts(stamps[40:])
    assert str(found.tz) == str(stamps.tz)
    assert "__index__" not in forecaster.read_as
    table = series(stamps[:40]).rename_axis("when").reset_index()
    assert texts(small().fit(table, time="when").predict()["when"]) == texts(stamps[40:])


# The commonest step is the clock.


@pytest.mark.parametrize("fill", [None, "forward", "interpolate"])
@pytest.mark.parametrize("odd", ["2024-01-05 04:01", "2024-01-01 00:30", "2024-01-10 22:59:59"])
def test_an_odd_row_is_named(fill, odd):
    hours = pd.date_range("2024-01-01", periods=240, freq="h")
    stamps = hours.append(pd.DatetimeIndex([odd])).sort_values()
    row = stamps.get_loc(pd.Timestamp(odd))
    for call in (small(fill=fill).fit, lambda s: small(fill=fill).backtest(s, -5)):
        with pytest.raises(ValueError, match=odd.replace(" ", "[ T]")) as caught:
            call(series(stamps))
        assert f"{row}" in str(caught.value)
        assert "hour" in str(caught.value)


def test_a_fill_that_would_invent_most_rows_is_refused():
    stamps = pd.date_range("2024-01-01", periods=40, freq="min").append(pd.DatetimeIndex(["2024-02-01"]))
    with pytest.raises(ValueError, match=r"fill|more"):
        small(fill="forward").fit(series(stamps))


# Columns.


def labeled(count=60):
    X, labels = [], []
    for n in range(count):
        part = rng.normal(size=(rng.integers(8, 16), 2))
        part[:, 0] += 1.5 * (n % 2)
        X.append(pd.DataFrame(part, columns=["temperature", "pressure"]))
        labels.append(n % 2)
    return X, labels


@pytest.mark.parametrize("kind", ["classifier", "regressor", "tagger"])
def test_columns_in_another_order_at_prediction(kind):
    X, labels = labeled()
    estimator = {
        "classifier": elman.SequenceClassifier, "regressor": elman.SequenceRegressor, "tagger": elman.SequenceTagger
    }[kind](hidden=4, epochs=3, random_state=0)  # fmt: skip
    y = [[label] * len(x) for x, label in zip(X, labels, strict=True)] if kind == "tagger" else labels
    estimator.fit(X, y)
    assert list(estimator.feature_names_in_) == ["temperature", "pressure"]
    swapped = [x[["pressure", "temperature"]] for x in X]
    for found, want in zip(estimator.predict(swapped), estimator.predict(X), strict=True):
        np.testing.assert_array_equal(found, want)
    assert estimator.score(swapped, y) == estimator.score(X, y)
    with pytest.raises(ValueError, match="humidity"):
        estimator.predict([x.rename(columns={"pressure": "humidity"}) for x in X])
    with pytest.raises(ValueError, match="night"):
        estimator.predict([x.assign(night=1.0) for x in X])


def test_one_bare_array_after_a_fit_on_sequences():
    U = [rng.normal(size=(12, 1)) for _ in range(40)]
    tagger = elman.SequenceTagger(hidden=4, epochs=1, random_state=0)
    tagger.fit(U, [np.full(12, int(u[0, 0] > 0)) for u in U])
    regressor = elman.SequenceRegressor(hidden=4, epochs=1, random_state=0).fit(U, [u.sum() for u in U])
    X, labels = labeled()
    classifier = elman.SequenceClassifier(hidden=4, epochs=1, random_state=0).fit(X, labels)
    for estimator, bare in ((tagger, U[0]), (regressor, U[0]), (classifier, np.zeros((20, 2))), (classifier, X[0])):
        with pytest.raises(ValueError, match=r"\[x\]"):
            estimator.predict(bare)
    assert tagger.predict([U[0]])[0].shape == (12,)
    assert regressor.predict([U[0]]).shape == (1,)
    assert classifier.predict([X[0]]).shape == (1,)


def test_truth_values_are_numbers_and_text_is_refused_by_its_column():
    X, labels = labeled()

    def scores(**more):
        fitted = elman.SequenceClassifier(hidden=4, epochs=1, random_state=0).fit([x.assign(**more) for x in X], labels)
        return fitted.predict_proba([x.assign(**more) for x in X])

    night = scores(night=lambda x: x["pressure"] > 0)
    np.testing.assert_array_equal(night, scores(night=lambda x: (x["pressure"] > 0) * 1.0))
    with pytest.raises(TypeError, match="'site'") as caught:
        scores(site="a")
    assert "astype" in str(caught.value)
    assert "'a'" in str(caught.value)


def test_a_loss_that_extends_another_is_the_loss():
    class Nothing(elman.CrossEntropy):
        def rows(self, p, t):
            return np.zeros(t.shape, p.dtype)

        def rows_derivative(self, p, t):
            return np.zeros_like(p)

    net = elman.Network([elman.GRU(2, 4, seed=0), elman.LastStep(), elman.Dense(4, 2, seed=1)])
    before = {name: weights.copy() for name, weights in net.parameters.items()}
    x = [rng.normal(size=(5, 2)) for _ in range(32)]
    history = elman.fit(net, x, np.arange(32) % 2, loss=Nothing(), epochs=2, progress=False)
    assert history.loss.tolist() == [0, 0]
    assert all((net.parameters[name] == weights).all() for name, weights in before.items())


# Names of columns that are no text.


def test_columns_named_by_numbers_and_by_tuples():
    table = pd.DataFrame({0: np.arange(40.0), 1: np.arange(40.0)[::-1]}, index=DAYS)
    assert list(small().fit(table).predict().columns) == [0, 1]
    one = small().fit(table, target=0).predict()
    assert list(one.columns) == [0]
    np.testing.assert_array_equal(one[0], small().fit(np.arange(40.0)).predict())
    known = small().fit(table, target=1, exogenous=0)
    future = pd.DataFrame({0: np.arange(3.0)}, index=pd.date_range("2024-02-10", periods=3))
    assert list(known.predict(future=future).columns) == [1]
    with pytest.raises(ValueError, match=r"column 2\b"):
        small().fit(table, target=2)


def test_columns_of_two_levels():
    columns = pd.MultiIndex.from_tuples([("Close", "A"), ("Close", "B")], names=["price", "share"])
    table = pd.DataFrame(rng.normal(size=(40, 2)), index=DAYS, columns=columns)
    pd.testing.assert_index_equal(small().fit(table).predict().columns, columns)
    one = small().fit(table, target=[("Close", "B")]).predict()
    assert one.columns.tolist() == [("Close", "B")]
    np.testing.assert_array_equal(one.to_numpy()[:, 0], small().fit(table["Close"]["B"].to_numpy()).predict())


# Columns in a table of their own.


def test_exogenous_columns_join_on_the_index():
    p = pd.DataFrame({"p": rng.normal(size=43)}, index=pd.date_range("2024-01-01", periods=43))
    joined = series().to_frame().assign(p=p["p"])
    want = small().fit(joined, target="y", exogenous="p").predict(future=p[40:])
    for exogenous in (p[:40], p[:40][::-1], p):
        forecaster = small().fit(series(), exogenous=exogenous)
        found = forecaster.predict(future=p[40:])
        assert texts(found.index) == texts(want.index)
        np.testing.assert_array_equal(found, want["y"])
    with pytest.raises(ValueError, match=r"exogenous"):
        small().fit(series(), exogenous=p[:40].drop(p.index[11]))
    shifted = p[:40].set_axis(DAYS + pd.Timedelta(hours=1))
    with pytest.raises(ValueError, match=r"exogenous"):
        small().fit(series(), exogenous=shifted)


# Where a wrong value stands.


def test_the_place_of_a_value_that_is_too_large():
    x = [rng.normal(size=(6, 2)) for _ in range(40)]
    x[39][2, 0] = -1.7976931348623157e308
    with pytest.raises(ValueError, match=r"sequence 39, step 2, feature 0"):
        elman.SequenceClassifier(epochs=1, hidden=4).fit(x, np.arange(40) % 2)
    named = [pd.DataFrame(part, columns=["a", "b"]) for part in x]
    with pytest.raises(ValueError, match=r"sequence 39, step 2, (feature 0|column 'a')"):
        elman.SequenceClassifier(epochs=1, hidden=4).fit(named, np.arange(40) % 2)


def test_the_place_of_a_missing_label():
    U = [rng.normal(size=(12, 1)) for _ in range(20)]
    tags = [np.zeros(12) for _ in U]
    tags[8][:] = 1
    tags[7][3] = np.nan
    with pytest.raises(ValueError, match=r"sequence 7, step 3"):
        elman.SequenceTagger(epochs=1).fit(U, tags)


# Gaps at the start.


@pytest.mark.parametrize("fill", ["forward", "interpolate"])
def test_a_leading_gap_is_masked(fill):
    table = pd.DataFrame({"y": np.r_[[np.nan] * 3, np.arange(37.0)]}, index=DAYS)
    forecaster = small(fill=fill).fit(table)
    assert "masked" in forecaster.read_as
    assert texts(forecaster.predict().index)[0] == "2024-02-10 00:00:00"
    np.testing.assert_array_equal(forecaster.predict()["y"], small(fill=fill).fit(table[3:]).predict()["y"])
    with pytest.raises(ValueError, match="step 0") as caught:
        small().fit(table)
    assert "fill" in str(caught.value)


def test_late_starts_of_single_series_need_no_fill():
    table = panel()
    table.loc[("B", DAYS[0]) : ("B", DAYS[4]), "sales"] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = small().fit(table).predict()
    want = small().fit([np.arange(40.0), 100.0 + np.arange(5, 40), 200.0 + np.arange(40)]).predict()
    np.testing.assert_array_equal(found["sales"], np.concatenate(want))


def test_a_forecaster_with_a_calendar_is_cloned_and_kept():
    calendar = np.busdaycalendar("1111110", ["2024-01-08"])
    forecaster = small(freq=calendar)
    for copy in (clone(forecaster), pickle.loads(pickle.dumps(forecaster))):
        assert copy.freq.weekmask.tolist() == calendar.weekmask.tolist()
        assert copy.freq.holidays.tolist() == calendar.holidays.tolist()
