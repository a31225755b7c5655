"""What a forecast may know: gaps, late starts, short series; measures of real values alone; the unit of the data."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from elman.estimators import Forecaster, windows
from elman.estimators.members import RealTargets
from elman.estimators.windows import WindowSpec
from elman.tables.panel import Filled, read_arrays
from elman.training.losses import AbsoluteError, BinaryCrossEntropy, Huber, Quantile, SquaredError

TINY = {"hidden": 3, "epochs": 1, "learning_rate": 0.02, "random_state": 0, "dropout": 0.0}


def wave(rng, count, variables=1):
    t = np.arange(count)[:, None]
    return 20 + 3 * np.sin(t / 2 + np.arange(variables)) + 0.05 * t + 0.5 * rng.standard_normal((count, variables))


def with_gaps(rng, columns, start=0):
    """Gaps of some steps each, one value at least being left before `start` of them."""
    columns = columns.copy()
    for column in columns.T:
        for _ in range(rng.integers(0, 5)):
            first = rng.integers(start, len(column))
            column[first : first + rng.integers(1, 9)] = np.nan
    return columns


# What stood before.


def seen(columns, fill, end):
    """The columns before `end` as they looked then, by one loop."""
    found = columns[:end].copy()
    for column in found.T:
        real = [t for t in range(end) if not np.isnan(column[t])]
        for t in range(end):
            before, after = [r for r in real if r < t], [r for r in real if r > t]
            if t in real or not before:
                continue
            if fill == "forward" or not after:
                column[t] = column[before[-1]]
            else:
                a, b = before[-1], after[0]
                column[t] = column[a] + (column[b] - column[a]) * (t - a) / (b - a)
    return found


@pytest.mark.parametrize("fill", ["forward", "interpolate"])
def test_columns_are_filled_as_they_looked_before_each_step(fill):
    rng = np.random.default_rng(1)
    for _ in range(10):
        columns = with_gaps(rng, wave(rng, 30, 2))
        columns[: rng.integers(0, 4)] = np.nan
        filled = Filled.read(columns, fill)
        for end in range(1, 31):
            found = filled.seen(np.arange(end), np.array(end))
            np.testing.assert_allclose(found, seen(columns, fill, end), rtol=1e-12)
            if not filled.open(np.array([end]))[0]:
                np.testing.assert_array_equal(found, filled.values[:end])


def draw(rng):
    """Random settings, series with exogenous and past columns, and the arguments of a back-test."""

    def pick(*choices):
        return choices[rng.integers(len(choices))]

    horizon, segment = pick(2, 4), pick(1, 2)
    settings = {
        **TINY, "horizon": horizon, "window": pick(4, 6), "segment": segment, "season": pick(None, 3),
        "cell": pick("gru", "rnn"), "level": pick("last", "mean", None), "spread": pick(True, False),
        "difference": pick(None, 1, 3), "log": pick(True, False), "standardize": pick(True, True, False),
        "shared": pick(True, False), "quantiles": pick(None, (0.2, 0.5)), "members": pick(1, 1, 2),
        "stride": pick(1, 2), "validation_fraction": pick(None, 0.2), "fill": pick(None, "forward", "interpolate"),
    }  # fmt: skip
    variables, many = pick(1, 1, 3), pick(False, True)
    counts = [int(n) for n in rng.integers(70, 80, size=2 if many else 1)]
    series = []
    for count in counts:
        columns = [wave(rng, count, variables), rng.normal(5, 1, (count, 2)), rng.normal(0, 1, (count, 1))]
        if settings["fill"]:
            columns = [with_gaps(rng, part, 2) for part in columns]
        if settings["fill"] or many or variables > 1:
            columns[0][: pick(0, 3), -1] = np.nan
        series.append(columns)
    used = pick((), ("exogenous",), ("past",), ("exogenous", "past"))
    options = {"start": 50, "step": pick(1, 3), "refit": pick(True, False)}
    return settings, series, used, options


def given(series, used):
    """Series and columns in the form of `fit`."""
    parts = [[s[0][:, 0] if s[0].shape[1] == 1 else s[0] for s in series], *([s[k] for s in series] for k in (1, 2))]
    parts = [part if len(series) > 1 else part[0] for part in parts]
    return parts[0], {name: parts[k] for k, name in ((1, "exogenous"), (2, "past")) if name in used}


def changed(rng, settings, series, origin):
    """Other values from `origin` on, columns known ahead from its horizon on; gaps, and more or fewer rows."""
    series = copy.deepcopy(series)
    rows = int(rng.integers(-3, 4))
    for columns in series:
        for k, part in enumerate(columns):
            after = part[origin + settings["horizon"] * (k == 1) :]
            after[:] = np.abs(rng.normal(0, 10.0 ** rng.integers(-2, 6), after.shape)) + 0.1
            if settings["fill"]:
                after[rng.random(after.shape) < rng.random()] = np.nan
            more = (
                np.repeat(part[:1], max(rows, 0), axis=0)
                if settings["fill"]
                else np.ones((max(rows, 0), part.shape[1]))
            )
            columns[k] = np.concatenate([part, more])[: len(part) + rows]
    return series


def as_list(parts):
    return parts if isinstance(parts, list) else [parts]


@pytest.mark.parametrize("seed", range(15))
def test_what_comes_at_or_after_an_origin_changes_no_forecast_from_it(seed):
    rng = np.random.default_rng([seed, 3])
    for _ in range(10):
        settings, series, used, options = draw(rng)
        origin = 50 + options["step"] * int(rng.integers(0, 5))
        forecaster = Forecaster(**settings)
        if not options["refit"]:
            before, columns = given([[part[:50] for part in s] for s in series], used)
            forecaster.fit(before, **columns)
        found = []
        for other in (series, changed(rng, settings, series, origin)):
            y, columns = given(other, used)
            found.append(forecaster.backtest(y, **options, **columns))
        first, again = found
        for name in ("forecasts", "naive", "quantiles"):
            parts = [getattr(test, name) for test in found]
            for i, (a, b) in enumerate(zip(*map(as_list, parts), strict=True)):
                if a is None:
                    continue
                told = as_list(first.origins)[i] <= origin
                assert told.any()
                assert np.isfinite(a[told]).all()
                np.testing.assert_allclose(
                    a[told], b[: told.sum()], rtol=1e-6, err_msg=f"{name} {settings} {options} {used}"
                )


def test_a_gap_is_not_bridged_by_a_value_after_the_origin():
    y = 4.6 + 0.01 * np.arange(420)
    y[398] = np.nan
    forecaster = Forecaster(3, window=6, season=1, fill="interpolate", **TINY).fit(y[:300])
    found = []
    for later in (0.0, 100.0):
        y[399] = later
        test = forecaster.backtest(y, 397, step=1, refit=False)
        found.append(test)
        np.testing.assert_array_equal(test.forecasts[2], forecaster.predict(y[:399]))
        assert test.naive[2].tolist() == [y[397]] * 3
        np.testing.assert_array_equal(test.actuals[0], [y[397], np.nan, later])
    np.testing.assert_array_equal(found[0].forecasts[:3], found[1].forecasts[:3])
    assert found[0].forecasts[3, 0] != found[1].forecasts[3, 0]


@pytest.mark.parametrize("seed", range(5))
def test_a_back_test_forecasts_as_predict_does_from_what_stands_before(seed):
    rng = np.random.default_rng([seed, 4])
    for _ in range(4):
        settings, series, used, options = draw(rng)
        cut = [[part[:50] for part in s] for s in series]
        y, columns = given(series, used)
        before, beside = given(cut, used)
        horizon = settings["horizon"]
        options["refit"] = True
        test = Forecaster(**settings).backtest(y, **options, **columns)
        future = [s[1][50 : 50 + horizon] for s in series]
        if not settings["fill"] or not any(np.isnan(part).any() for part in future):
            ahead = {"future": future if len(series) > 1 else future[0]} if "exogenous" in used else {}
            fitted = Forecaster(**settings).fit(before, **beside)
            found = [fitted.predict(before, **beside, **ahead)]
            if len(series) == 1 or settings["validation_fraction"] is None:  # else by the moments of the training part
                found.append(fitted.predict(**ahead))
            for own in found:
                for a, b in zip(as_list(own), as_list(test.forecasts), strict=True):
                    np.testing.assert_allclose(a, b[0], rtol=1e-6)


def test_an_open_gap_longer_than_a_window_keeps_its_last_value():
    y = wave(np.random.default_rng(5), 60)[:, 0]
    y[40:] = np.nan
    for difference in (None, 3):
        forecaster = Forecaster(3, window=4, fill="forward", difference=difference, **TINY).fit(y)
        found = forecaster.predict()
        assert np.isfinite(found).all()
        np.testing.assert_array_equal(found, forecaster.predict(y))


# Real values alone.


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(("difference", "log", "spread"), [(0, False, True), (2, False, False), (3, True, True)])
def test_real_targets_come_back_as_the_values(shared, difference, log, spread):
    rng = np.random.default_rng(17)
    spec = WindowSpec(6, 5, 1, "mean", spread, shared, difference, log, True, (), (3, 0, 0))
    for fill in ("forward", "interpolate"):
        y = with_gaps(rng, rng.uniform(1, 9, size=(50, 3)), 1)
        panel = read_arrays(y, fill=fill)
        part = windows.scale(panel, spec, windows.measure(panel, spec, [30]))[0]
        ends = np.arange(spec.first_end, 46)
        ends = ends[windows.ready(part, spec, ends).all(axis=1)]
        each = 3 if shared else 1
        x = np.zeros((len(ends) * each, spec.steps, spec.features), np.float32)
        f = np.empty((len(ends) * each, spec.horizon, spec.together), np.float32)
        at = windows.inputs(part, spec, ends, x)
        windows.targets(part, spec, ends, *at, f)
        found = windows.restore(f[..., None], part, spec, ends, *at)[..., 0]
        want = y[ends[:, None] + np.arange(5)]
        assert (part.values.v.open(ends).sum() > 3) == (fill == "interpolate")
        np.testing.assert_allclose(found[~np.isnan(want)], want[~np.isnan(want)], rtol=2e-5)


def test_filled_values_are_no_targets():
    """Windows whose horizon is a gap are left out, and what a gap is filled with does not train."""
    y = wave(np.random.default_rng(6), 60)[:, 0]
    y[30:33] = np.nan
    given = {**TINY, "epochs": 20, "horizon": 1, "window": 4, "level": None, "standardize": False}
    found = Forecaster(fill="forward", **given).fit(y)
    panel = read_arrays(y, fill="forward")
    part = windows.scale(panel, found._spec, windows.measure(panel, found._spec, [60]))
    x, target, real = windows.examples(part, found._spec, [np.arange(4, 60)])
    assert real is None
    assert len(x) == 53
    wanted = [t for t in range(4, 60) if t not in (30, 31, 32)]
    np.testing.assert_array_equal(target[:, 0], y[wanted].astype(np.float32))


@pytest.mark.parametrize(
    "loss", [SquaredError(), AbsoluteError(), Huber(0.5), BinaryCrossEntropy(), Quantile((0.2, 0.5, 0.9))]
)
def test_the_loss_of_real_targets(loss):
    rng = np.random.default_rng(8)
    p, t = rng.normal(size=(5, 3)), rng.uniform(size=(5, 3))
    real = np.ones((5, 3))
    real[1, 2] = real[3, :2] = 0
    t[1, 2] = t[3, :2] = 0.25
    whole = RealTargets(loss)
    gradient = whole.derivative(p, np.concatenate([t, real], 1))
    np.testing.assert_array_equal(gradient, np.where(real, loss.derivative(p, t), 0))
    rows = whole(p, np.concatenate([t, real], 1))
    np.testing.assert_array_equal(rows[[0, 2, 4]], loss(p, t)[[0, 2, 4]])
    if not isinstance(loss, BinaryCrossEntropy):
        other = np.where(real, p, t)
        np.testing.assert_allclose(rows, loss(p, t) - loss(np.where(real, t, p), t), rtol=1e-12)
        np.testing.assert_allclose(rows - loss(other, np.where(real, t, other)), 0, atol=1e-12)


def test_measures_count_real_values_alone():
    rng = np.random.default_rng(9)
    y = wave(rng, 90, 2)
    y[25:28, 0] = y[62:66, 0] = y[70, 1] = np.nan
    settings = {**TINY, "season": 4, "window": 6, "quantiles": (0.1, 0.5, 0.9), "fill": "interpolate"}
    test = Forecaster(3, **settings).backtest(y, 60)
    ahead = test.origins[:, None] + np.arange(3)
    np.testing.assert_array_equal(test.actuals, y[ahead])
    real = ~np.isnan(test.actuals)
    e = np.abs(test.actuals - test.forecasts)
    np.testing.assert_allclose(test["MAE"], e[real].mean())
    np.testing.assert_allclose(test["RMSE"], np.sqrt((e[real] ** 2).mean()))
    np.testing.assert_allclose(test.table["MAE"][:-1], np.nanmean(e, axis=(0, 2)))
    np.testing.assert_allclose(test["naive MAE"], np.abs(test.actuals - test.naive)[real].mean())
    scale = np.nanmean(np.abs(y[4:60] - y[:56]), axis=0)
    np.testing.assert_allclose(test["MASE"], (e / scale)[real].mean())
    low, high = test.quantiles[..., 0], test.quantiles[..., -1]
    np.testing.assert_allclose(test["coverage"], ((low <= test.actuals) & (test.actuals <= high))[real].mean())


# Late starts and short series.


def test_late_starts_are_left_out():
    rng = np.random.default_rng(10)
    late, whole = wave(rng, 70)[:, 0], wave(rng, 60)[:, 0]
    late[:15] = np.nan
    settings = {**TINY, "window": 6, "difference": 2}
    for fill in (None, "forward"):
        masked = Forecaster(3, fill=fill, **settings).fit([late, whole]).predict()
        plain = Forecaster(3, fill=fill, **settings).fit([late[15:], whole]).predict()
        for a, b in zip(masked, plain, strict=True):
            np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match=r"series\[0\] must be finite. Got NaN at step 30; fill="):
        Forecaster(3, **settings).fit([np.where(np.arange(70) == 30, np.nan, late), whole])
    with pytest.raises(ValueError, match=r"series\[1\] must hold values. Got NaN alone from step 0 on"):
        Forecaster(3, **settings).fit([late, np.full(60, np.nan)])
    for shared in (True, False):
        both = np.stack([late, wave(rng, 70)[:, 0]], 1)
        forecaster = Forecaster(3, shared=shared, **settings).fit(both)
        assert np.isfinite(forecaster.predict()).all()
        test = Forecaster(3, shared=shared, **settings).backtest(both, 40)
        assert np.isfinite(test["MASE"])
    with pytest.warns(
        UserWarning, match="column 0 of .* Got 5 from the first value of column 0 of .*; column 0 of .* left out"
    ):
        test = Forecaster(3, **settings).backtest([both, both], 20)
    assert np.isnan(test.forecasts[0][:3, :, 0]).all()
    assert np.isfinite(test.forecasts[0][3:]).all()
    both[:60, 0] = np.nan
    for series in (both, [both, both[:, ::-1]]):
        with pytest.warns(
            UserWarning, match="column 0 of .* Got 0 from the first value of .*; .* left out of the training"
        ):
            test = Forecaster(3, **settings).backtest(series, 40)
        forecasts = as_list(test.forecasts)[0]
        assert np.isnan(forecasts[:, :, 0]).all()
        assert np.isfinite(forecasts[:, :, 1]).all()
        assert np.isfinite(test["MASE"])
    with pytest.warns(
        UserWarning,
        match=r"column 0 of .* at least 11.*Got 10 from the first value of column 0 of series on; .* left",
    ):
        forecaster = Forecaster(3, **settings).fit(both)
    assert np.isfinite(forecaster.predict()).all()
    with pytest.raises(ValueError, match=r"series must have at least 11.* Got 10 from the first value of column 0 of"):
        Forecaster(3, shared=False, **settings).fit(both)
    beside = np.where(np.arange(70) < 64, np.nan, 1.0)
    with pytest.raises(ValueError, match="Got 6 from the first value of the exogenous columns on"):
        Forecaster(3, fill="forward", **settings).fit(np.arange(70.0), exogenous=beside)


def test_no_forecast_is_nan_without_a_warning():
    """With the networks of a fit before, variables that begin late are named."""
    rng = np.random.default_rng(20)
    y = wave(rng, 70, 2)
    forecaster = Forecaster(3, window=6, **TINY).fit(y)
    y[:38, 1] = np.nan
    with pytest.warns(UserWarning, match="needs 6 steps from the first value on; column 1 of series is too young"):
        test = forecaster.backtest(y, 40, refit=False)
    assert np.isnan(test.forecasts[:4, :, 1]).all()
    assert np.isfinite(test.forecasts[4:]).all()
    assert np.isfinite(test.forecasts[:, :, 0]).all()
    with pytest.warns(UserWarning, match="column 1 of series is too young"):
        forecaster.score(y)
    assert np.isfinite(forecaster.backtest(y, 44, refit=False).forecasts).all()


def test_a_late_column_masks_the_start_too():
    rng = np.random.default_rng(11)
    y, column = wave(rng, 70)[:, 0], rng.normal(size=70)
    column[:9] = np.nan
    with pytest.raises(ValueError, match=r"past must be finite. Got NaN at step 0; fill="):
        Forecaster(3, window=6, **TINY).fit(y, past=column)
    found = Forecaster(3, window=6, fill="forward", **TINY).fit(y, past=column).predict()
    settings = {**TINY, "window": 6, "standardize": False}
    found = Forecaster(3, fill="forward", **settings).fit(y, past=column).predict()
    np.testing.assert_array_equal(found, Forecaster(3, **settings).fit(y[9:], past=column[9:]).predict())


def test_a_short_series_stops_no_other():
    rng = np.random.default_rng(12)
    long, other, short, tiny = (wave(rng, n)[:, 0] for n in (60, 50, 8, 3))
    settings = {**TINY, "window": 6}
    with pytest.warns(
        UserWarning, match=r"series\[1\] must have at least 9 .*; series\[1\], series\[3\] are left out of the training"
    ):
        forecaster = Forecaster(3, **settings).fit([long, short, other, tiny])
    with pytest.warns(UserWarning, match=r"series\[3\] must have at least 6 steps. Got 3; series\[3\] is not forecast"):
        found = forecaster.predict()
    want = Forecaster(3, **settings).fit([long, other]).predict()
    np.testing.assert_array_equal(found[0], want[0])
    np.testing.assert_array_equal(found[2], want[1])
    assert np.isfinite(found[1]).all()
    assert np.isnan(found[3]).all()
    with pytest.raises(ValueError, match=r"series\[0\] must have at least 9 steps"):
        Forecaster(3, **settings).fit([short, tiny])
    with pytest.raises(ValueError, match=r"series\[0\] must have at least 6 steps. Got 3"):
        forecaster.predict([tiny, tiny])
    with pytest.warns(
        UserWarning,
        match=r"start must leave 6 steps before it and 3 after it in series\[1\].*left out of the back-test",
    ):
        test = forecaster.backtest([long, short, other], -10, refit=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        again = Forecaster(3, **settings).backtest([long, short, other], -10)
    assert [warning.filename for warning in caught] == [__file__] * 2
    assert [part.shape for part in again.forecasts] == [(8, 3), (0, 3), (8, 3)]
    alone = forecaster.backtest([long, other], -10, refit=False)
    np.testing.assert_array_equal(test.forecasts[2], alone.forecasts[1])
    assert test["MASE"] == alone["MASE"]
    assert np.isfinite(forecaster.score([long, np.r_[[np.nan] * 9, other]]))


def test_a_table_leaves_out_series_that_are_too_short():
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(13)
    days = pd.date_range("2024-01-01", periods=60)
    counts = {"b": 60, "a": 4, "c": 50}
    frame = pd.concat([pd.DataFrame({"id": k, "day": days[-n:], "y": wave(rng, n)[:, 0]}) for k, n in counts.items()])
    with pytest.warns(UserWarning, match=r"series 'a' must have at least 9 steps.*left out of the training"):
        forecaster = Forecaster(3, window=6, **TINY).fit(frame, target="y", id="id", time="day")
    with pytest.warns(UserWarning, match=r"series 'a' is not forecast"):
        found = forecaster.predict()
    assert found["id"].tolist() == ["b"] * 3 + ["c"] * 3
    assert found["day"].tolist() == [*pd.date_range("2024-03-01", periods=3)] * 2
    assert found["y"].notna().all()


# The unit of the data.


@pytest.mark.parametrize("seed", range(6))
def test_data_in_another_unit_gives_the_same_forecasts(seed):
    rng = np.random.default_rng([seed, 14])
    for _ in range(4):
        settings, series, used, options = draw(rng)
        settings["standardize"] |= settings["log"] or not settings["spread"]  # else the unit is that of the user
        if rng.random() < 0.3:
            series[0][0][:, 0] = 5.0
        options["refit"] = True
        y, columns = given(series, used)
        first = Forecaster(**settings).backtest(y, **options, **columns)
        for unit in (1e-13, 1e13):
            y, columns = given([[s[0] * unit, s[1] * unit, s[2] / unit] for s in series], used)
            again = Forecaster(**settings).backtest(y, **options, **columns)
            for a, b in zip(as_list(first.forecasts), as_list(again.forecasts), strict=True):
                np.testing.assert_allclose(b / unit, a, rtol=1e-4)
            np.testing.assert_allclose(
                [again["MASE"], again["sMAPE"]], [first["MASE"], first["sMAPE"]], rtol=1e-3, atol=1e-6
            )


@pytest.mark.parametrize("difference", [None, 1, 7])
@pytest.mark.parametrize("level", ["last", "mean", None])
def test_the_rounding_of_another_unit_is_no_signal(level, difference):
    """Differences that are all alike, or 0 for long: an absolute error must not follow the signs of what is left."""
    t = np.arange(60)
    rng = np.random.default_rng(19)
    y = {"whole": t + 0.0, "line": 3.7 + 0.1 * t, "step": np.where(t < 30, 0.3, 0.7), "spike": 1 + 8.0 * (t == 25)}
    settings = {**TINY, "epochs": 4, "window": 7, "level": level, "difference": difference, "fill": "interpolate"}
    for name, whole in y.items():
        gaps = np.where(np.isin(t, rng.integers(2, 50, size=4)), np.nan, whole)
        for series in (whole, gaps):
            found = [Forecaster(3, **settings).fit(unit * series).predict() / unit for unit in (1, 1e-13, 1e13, 3)]
            for other in found[1:]:
                np.testing.assert_allclose(other, found[0], rtol=1e-6, err_msg=name)


def test_a_part_without_values_is_refused():
    y = wave(np.random.default_rng(15), 60)[:, 0]
    with pytest.raises(ValueError, match="the validation part, see validation_fraction, must hold values"):
        Forecaster(3, window=6, fill="forward", validation_fraction=0.2, **TINY).fit(
            np.where(np.arange(60) > 40, np.nan, y)
        )
    with pytest.raises(ValueError, match=r"the training part, .* must hold values to forecast. Got gaps alone"):
        Forecaster(3, window=6, fill="forward", **TINY).fit(np.where(np.arange(60) > 4, np.nan, y))


def test_a_run_with_gaps_goes_on_from_its_checkpoint(tmp_path):
    y = wave(np.random.default_rng(16), 60)[:, 0]
    y[30:33] = np.nan
    settings = {**TINY, "window": 6, "fill": "forward", "validation_fraction": 0.2, "patience": None, "epochs": 4}
    whole = Forecaster(3, **settings).fit(y).predict()
    for epochs in (4, 4):
        found = Forecaster(3, **{**settings, "epochs": epochs, "checkpoint": tmp_path / "run"}).fit(y).predict()
        np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize("fill", ["forward", "interpolate"])
def test_rows_that_a_table_lacks_are_gaps(fill):
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(18)
    settings = {**TINY, "window": 6, "fill": fill, "season": 7}
    days, parts, series, heat = pd.date_range("2024-01-01", periods=70), [], [], []
    for k, first in (("b", 0), ("a", 9)):
        y, x = wave(rng, 70 - first)[:, 0], rng.normal(size=70 - first)
        y[30:33], x[40:42], y[52], x[52] = np.nan, np.nan, np.nan, np.nan
        frame = pd.DataFrame({"id": k, "day": days[first:], "y": y, "x": x})
        parts.append(frame.drop(index=[30, 52]))
        x[30] = np.nan
        series.append(y)
        heat.append(x)
    roles = {"target": "y", "id": "id", "time": "day", "exogenous": "x"}
    found = Forecaster(3, **settings).backtest(pd.concat(parts), -20, **roles)
    plain = Forecaster(3, **settings).backtest(series, -20, exogenous=heat)
    for name in ("forecasts", "actuals", "naive"):
        for a, b in zip(getattr(found, name), getattr(plain, name), strict=True):
            np.testing.assert_array_equal(a, b)
    assert found["MASE"] == plain["MASE"]
    assert np.isnan(found.actuals[0][0, 2])


def test_the_variable_of_a_list_of_tables_is_named_without_a_date():
    pd = pytest.importorskip("pandas")
    whole = pd.Series(wave(np.random.default_rng(22), 60)[:, 0], pd.date_range("2024-01-01", periods=60), name="y")
    late = whole.where(np.arange(60) > 54)
    with pytest.warns(UserWarning, match=r"Got 5 from the first value of column 'y' of series\[1\] on"):
        Forecaster(3, window=6, **TINY).fit([whole, late])
