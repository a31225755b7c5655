"""What a Forecaster reads: time stamps, tables of every kind, gaps; and what it refuses."""

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
from sklearn.exceptions import NotFittedError

from elman.estimators import Forecaster

rng = np.random.default_rng(11)


def wave(count=90, variables=None):
    t = np.arange(count)
    y = 20 + 3 * np.sin(2 * np.pi * t / 6) + 0.05 * t + 0.3 * rng.standard_normal(count)
    return y if variables is None else np.stack([y + 5 * v for v in range(variables)], 1)


def small(horizon=4, **settings):
    defaults = {"season": 6, "hidden": 5, "epochs": 2, "learning_rate": 0.01, "random_state": 0}
    return Forecaster(horizon, **{**defaults, **settings})


# Tables.


def table(count=90):
    dates = pd.date_range("2021-03-01", periods=count, freq="D")
    return pd.DataFrame({"date": dates, "load": wave(count), "temp": rng.normal(size=count)})


def test_tables_of_every_kind_give_the_same_forecasts():
    frame = table()
    forms = [frame, pl.from_pandas(frame), pa.Table.from_pandas(frame, preserve_index=False)]
    found = [small().fit(form, target="load", time="date").predict() for form in forms]
    assert [type(form) for form in found] == [type(form) for form in forms]
    for one in (found[0], found[1].to_pandas(), found[2].to_pandas()):
        assert list(one.columns) == ["date", "load"]
        assert (one["date"] == pd.date_range("2021-05-30", periods=4)).all()
        np.testing.assert_array_equal(one["load"], small().fit(frame["load"].to_numpy()).predict())
    indexed = small().fit(frame.set_index("date")["load"]).predict()
    assert isinstance(indexed, pd.Series)
    assert (indexed.index == pd.date_range("2021-05-30", periods=4)).all()
    assert indexed.index.name == "date"


def test_a_table_of_many_series_with_columns_known_ahead():
    frame = table()
    long = pd.concat([frame.assign(site="b"), frame.assign(site="a", load=frame["load"] * 2)[30:]])
    shuffled = pl.from_pandas(long.sort_values("date", kind="stable"))
    roles = {"target": "load", "time": "date", "id": "site", "exogenous": ["temp"]}
    forecaster = small(quantiles=(0.1, 0.5, 0.9)).fit(long, **roles)
    future = pd.DataFrame(
        {"date": list(pd.date_range("2021-05-30", periods=4)) * 2, "site": list("aaaabbbb"), "temp": np.arange(8.0)}
    )
    found = forecaster.predict(future=future)
    assert found["site"].tolist() == list("bbbbaaaa")
    names = list(forecaster.predict_quantiles(future=future).columns)
    assert names == ["site", "date", "load_0.1", "load_0.5", "load_0.9"]
    other = small(quantiles=(0.1, 0.5, 0.9)).fit(shuffled, **roles).predict(future=pl.from_pandas(future))
    np.testing.assert_array_equal(other["load"].to_numpy(), found["load"])
    parts = [long[long["site"] == s] for s in "ba"]
    arrays = small(quantiles=(0.1, 0.5, 0.9)).fit(
        [part["load"].to_numpy() for part in parts], exogenous=[part["temp"].to_numpy() for part in parts]
    )
    forecasts = arrays.predict(future=[np.arange(4.0, 8), np.arange(4.0)])
    np.testing.assert_array_equal(np.concatenate(forecasts), found["load"])
    with pytest.raises(ValueError, match="future must go on where series 'b' ends, at 2021-05-30"):
        forecaster.predict(future=future.assign(date=future["date"] + pd.Timedelta(days=1)))
    with pytest.raises(ValueError, match=r"future must hold every series. Got no rows of series 'b'"):
        forecaster.predict(future=future[:4])
    with pytest.raises(ValueError, match=r"future must hold 1 exogenous columns of the horizon. Got None"):
        forecaster.predict()


def test_gaps_are_refused_or_filled():
    frame = table()
    holes = frame.drop(index=[40, 41]).assign(load=lambda f: f["load"].where(f.index != 50))
    with pytest.raises(ValueError, match="equal steps, of 1 day here"):
        small().fit(holes, target="load", time="date")
    with pytest.raises(ValueError, match=r"the table must be finite. Got NaN at step 48, column 'load'; fill="):
        small().fit(holes[["load"]].reset_index(drop=True))
    straight = frame["load"].to_numpy().copy()
    straight[[40, 41, 50]] = np.nan
    for fill, want in (("interpolate", pd.Series(straight).interpolate()), ("forward", pd.Series(straight).ffill())):
        forecaster = small(fill=fill).fit(holes, target="load", time="date")
        np.testing.assert_array_equal(forecaster.predict()["load"], small(fill=fill).fit(straight).predict())
        np.testing.assert_array_equal(
            small(fill=fill).fit(straight).predict(want.to_numpy()), forecaster.predict()["load"]
        )
    straight[0] = np.nan
    with pytest.raises(ValueError, match=r"series must be finite. Got NaN at step 0; fill="):
        small().fit(straight)
    np.testing.assert_array_equal(
        small(fill="forward").fit(straight).predict(), small(fill="forward").fit(straight[1:]).predict()
    )


# Refusals.


@pytest.mark.parametrize(
    ("series", "message"),
    [
        (wave(20), "series must have at least 20 steps, for a window of 12, .*Got"),
        ([wave(18), wave(17)], r"series\[0\] must have at least 20 steps"),
        (np.where(np.arange(90) == 33, np.nan, wave()), "series must be finite. Got NaN at step 33; fill="),
        (np.where(np.arange(90) == 33, np.inf, wave()), "series must be finite. Got inf at step 33"),
        (np.zeros((4, 5, 6)), r"series must have shape \(time,\) or \(time, variables\). Got \(4, 5, 6\)"),
        (np.array(["a", "b"]), "series must hold real numbers"),
        ([wave(90), wave(90, 2)], r"series\[1\] must have 1 variables, as series\[0\] has. Got 2"),
    ],
)
def test_series_that_are_refused(series, message):
    if series is not None and len(series) == 20:
        series = series[:19]
    with pytest.raises((ValueError, TypeError), match=message):
        small(validation_fraction=0.1).fit(series)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"horizon": 0}, "horizon must be a whole number from 1 up. Got 0"),
        ({"window": 10, "segment": 4}, "window must be a multiple of segment, 4. Got 10"),
        ({"cell": "gruu"}, "cell must be one of .* Did you mean 'gru'"),
        ({"level": "first"}, "level must be one of"),
        ({"quantiles": (0.1, 0.9)}, "quantiles must ascend, .* with 0.5 among them"),
        ({"quantiles": (0.9, 0.5)}, "quantiles must ascend"),
        ({"log": 1}, "log must be True or False"),
        ({"fill": "zero"}, "fill must be one of"),
        ({"members": 2, "checkpoint": "x"}, "checkpoint must be left out where members is over 1"),
        ({"loss": "cross_entropy"}, "loss must be one of numbers, not of labels. Got 'cross_entropy'"),
        ({"learning_rate": 0}, "learning_rate must be a number over 0"),
    ],
)
def test_settings_that_are_refused(settings, message):
    horizon = settings.pop("horizon", 4)
    with pytest.raises((ValueError, TypeError), match=message):
        small(horizon, **settings).fit(wave())


def test_other_refusals():
    y = wave()
    with pytest.raises(NotFittedError, match="not fitted"):
        small().predict()
    with pytest.raises(ValueError, match=r"series must be over 0 where log is True. Got -1.0 at step 3"):
        small(log=True).fit(np.where(np.arange(90) == 3, -1, y))
    fitted = small().fit(wave(variables=2))
    with pytest.raises(ValueError, match=r"series must have 2 variables, as in fit. Got 3"):
        fitted.predict(wave(variables=3))
    with pytest.raises(ValueError, match=r"series must have at least 12 steps. Got 5"):
        fitted.predict(wave(5, 2))
    with pytest.raises(TypeError, match="series must be arrays, as in fit"):
        fitted.predict(table())
    with pytest.raises(ValueError, match="future must be left out without exogenous columns"):
        fitted.predict(future=np.ones(4))
    with pytest.raises(ValueError, match=r"start must leave 12 steps before it and 4 after it in series. Got 88 of 90"):
        fitted.backtest(wave(variables=2), 88)
    with pytest.raises(ValueError, match="target must be left out where series is no table"):
        small().fit(y, target="load")
    with pytest.raises(ValueError, match="quantiles must be given"):
        fitted.predict_quantiles()
    with pytest.raises(ValueError, match=r"exogenous must have shape \(90, columns\). Got \(80, 2\)"):
        small().fit(y, exogenous=np.ones((80, 2)))
    frame = table()
    with pytest.raises(ValueError, match=r"the table must have the column 'loaf'. Got 'date', 'load', 'temp'"):
        small().fit(frame, target="loaf", time="date")
    with pytest.raises(TypeError, match=r"target must be numbers. Got 'a' at row 0 in the column 'load'"):
        small().fit(frame.assign(load="a"), time="date", target="load")
    with pytest.raises(TypeError, match=r"the column 'date' of the table must hold dates, times, .* Got 0.5 at row 0"):
        small().fit(frame.assign(date=0.5), target="load", time="date")
    with pytest.raises(ValueError, match=r"the table must have the column 'temp'. Got 'date', 'load'"):
        small().fit(frame, target=["load", "temp"], time="date").predict(frame[["date", "load"]])
