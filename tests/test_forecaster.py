"""The Forecaster: windows and their inverse, forms of series, exogenous columns, back-tests, and its pool of steps."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pandas")

import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit

from central import central_gradient, relative_error
from elman.estimators import Forecaster, windows
from elman.estimators.backtest import seasonal_naive
from elman.estimators.windows import WindowSpec
from elman.layers import GRU, Dense, LastSteps
from elman.network import Network
from elman.saving import load
from elman.tables.panel import Filled, read_arrays

SMALL = {"hidden": 5, "epochs": 2, "learning_rate": 0.01, "random_state": 0}
rng = np.random.default_rng(7)


def wave(count=90, variables=None):
    t = np.arange(count)
    y = 20 + 3 * np.sin(2 * np.pi * t / 6) + 0.05 * t + 0.3 * rng.standard_normal(count)
    return y if variables is None else np.stack([y + 5 * v for v in range(variables)], 1)


def small(horizon=4, **settings):
    return Forecaster(horizon, **{"season": 6, **SMALL, **settings})


def plan(**settings):
    defaults = {
        "window": 8, "horizon": 5, "segment": 2, "level": "last", "spread": False, "shared": True, "difference": 0,
        "log": False, "standardize": True, "levels": (), "widths": (3, 0, 0),
    }  # fmt: skip
    return WindowSpec(**{**defaults, **settings})


# Windows.


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("level", ["last", "mean", None])
@pytest.mark.parametrize(("difference", "log", "spread"), [(0, False, True), (2, False, False), (6, True, True)])
def test_targets_come_back_as_the_values(shared, level, difference, log, spread):
    p = plan(shared=shared, level=level, difference=difference, log=log, spread=spread)
    y = rng.uniform(1, 9, size=(31, 3))
    panel = read_arrays(y)
    part = windows.scale(panel, p, windows.measure(panel, p, [20]))[0]
    ends = np.array([p.first_end, 17, 26])
    each = 3 if shared else 1
    for _ in range(2):
        x = np.zeros((len(ends) * each, p.steps, p.features), np.float32)
        f = np.empty((len(ends) * each, p.horizon, p.together), np.float32)
        at = windows.inputs(part, p, ends, x)
        windows.targets(part, p, ends, *at, f)
        found = windows.restore(f[..., None], part, p, ends, *at)[..., 0]
        np.testing.assert_allclose(found, y[ends[:, None] + np.arange(5)], rtol=2e-5)
    np.testing.assert_array_equal(panel.values[0], y)


def test_what_a_window_holds():
    p = plan(widths=(2, 1, 3), horizon=4, level=None)
    y, known, past = rng.normal(size=(30, 2)), rng.normal(size=(30, 1)), rng.normal(size=(30, 3))
    panel = read_arrays(y, known, past)
    part = windows.scale(panel, p, windows.measure(panel, p, [30]))[0]
    x, target, real = windows.examples([part], p, [np.array([11, 20])])
    assert real is None
    assert x.dtype == target.dtype == np.float32
    steps = x.reshape(2, 2, 12, 6)  # (ends, variables, window + horizon, value + known + past + mark)
    np.testing.assert_array_equal(steps[1, 0, :8, 0], part.values.u[12:20, 0])
    np.testing.assert_array_equal(steps[1, 1, :8, 0], part.values.u[12:20, 1])
    np.testing.assert_array_equal(steps[0, 1, :8, 1:4], part.past.u[3:11])
    np.testing.assert_array_equal(steps[0, 1, :, 4], part.known.u[3:15, 0])
    assert not steps[:, :, 8:, :4].any(), "nothing of the horizon may be seen"
    np.testing.assert_array_equal(steps[0, 0, :, 5], [0] * 8 + [1] * 4)
    np.testing.assert_array_equal(target.reshape(2, 2, 4)[1, 0], part.values.u[20:24, 0])


def test_nothing_after_the_end_of_a_window_changes_its_forecast():
    y, temperature, wind = wave(80), rng.normal(size=80), rng.normal(size=80)
    forecaster = small().fit(y, exogenous=temperature, past=wind)
    first = forecaster.backtest(y, 70, refit=False, exogenous=temperature, past=wind).forecasts[0]
    y[70:], wind[70:] = 0, 0
    temperature[74:] = 0
    again = forecaster.backtest(y, 70, refit=False, exogenous=temperature, past=wind).forecasts[0]
    np.testing.assert_array_equal(first, again)
    temperature[70:74] += 1
    other = forecaster.backtest(y, 70, refit=False, exogenous=temperature, past=wind).forecasts[0]
    assert np.abs(other - first).max() > 1e-4, "what is known ahead is read"


def test_exogenous_columns_are_used():
    drive = rng.normal(size=(400, 1))
    y = 5 + 2 * drive[:, 0] + 0.1 * rng.standard_normal(400)
    settings = {"window": 6, "epochs": 30, "hidden": 12, "learning_rate": 0.02, "level": None, "random_state": 0}
    test = Forecaster(3, **settings).backtest(y, -60, exogenous=drive)
    assert test["MAE"] < 0.3 < 1.2 < test["naive MAE"]
    blind = Forecaster(3, **settings).backtest(y, -60, past=drive)
    assert blind["MAE"] > 1.2


# Forms.


def test_a_series_variables_and_many_series():
    one, three = wave(), wave(variables=3)
    many = [wave(70), wave(85)]
    for _ in range(2):
        assert small().fit(one).predict().shape == (4,)
        assert small().fit(three).predict().shape == (4, 3)
        assert small(shared=False).fit(three).predict().shape == (4, 3)
        found = small().fit(many).predict()
        assert [part.shape for part in found] == [(4,), (4,)]
    assert [part.shape for part in small().fit([three, three[:80]]).predict()] == [(4, 3)] * 2
    quantiles = small(quantiles=(0.2, 0.5, 0.9)).fit(three).predict_quantiles()
    assert quantiles.shape == (4, 3, 3)
    assert (np.diff(quantiles, axis=-1) >= 0).all()


def test_the_training_series_is_continued():
    for series in (wave(), wave(variables=2), [wave(70), wave(85)]):
        forecaster = small(difference=6, quantiles=(0.1, 0.5, 0.9)).fit(series)
        np.testing.assert_allclose(forecaster.predict(), forecaster.predict(), rtol=0)
        if not isinstance(series, list):
            np.testing.assert_array_equal(forecaster.predict(), forecaster.predict(series))
            np.testing.assert_array_equal(forecaster.predict(), forecaster.predict(series[-forecaster.window_ - 6 :]))
            np.testing.assert_array_equal(forecaster.predict_quantiles()[..., 1], forecaster.predict())


def test_the_same_seed_gives_the_same_forecasts_and_members_are_averaged():
    y = wave()
    two = small(members=2).fit(y)
    np.testing.assert_array_equal(two.predict(), small(members=2).fit(y).predict())
    assert (two.predict() != small(members=2, random_state=1).fit(y).predict()).any()
    means = []
    for net in two.networks_:
        alone = pickle.loads(pickle.dumps(two))
        alone.networks_ = [net]
        means.append(alone.predict())
    assert (means[0] != means[1]).any()
    np.testing.assert_allclose(np.mean(means, axis=0), two.predict(), rtol=1e-12)
    assert len(two.histories_) == 2
    assert two.history_ is two.histories_[0]


@pytest.mark.parametrize("settings", [{"cell": "lstm"}, {"cell": "rnn", "hidden": (4, 3)}, {"segment": 3, "window": 9}])
def test_cells_and_segments(settings):
    forecaster = small(**settings, dropout=0.2).fit(wave())
    assert np.isfinite(forecaster.predict()).all()
    assert type(forecaster.network_.layers[0]).__name__ == settings.get("cell", "gru").upper()


def test_a_network_learns_a_season():
    t = np.arange(300)
    y = 10 + np.sin(2 * np.pi * t / 12) + 0.02 * t
    test = Forecaster(6, season=12, hidden=16, epochs=30, learning_rate=0.02, random_state=0).backtest(y, -60)
    assert test["MAE"] < 0.2 * test["naive MAE"]


def test_the_defaults_beat_the_naive_value():
    for seed in (0, 1):
        t, noise = np.arange(150), np.random.default_rng(seed).normal(size=150)
        y = np.exp(2 + 0.01 * t) * (1 + 0.3 * np.sin(2 * np.pi * t / 12)) + noise
        test = Forecaster(12, season=12, random_state=0).backtest(y, -36)
        assert test["MASE"] < 0.75 * test["naive MASE"]


def test_long_series_are_judged_on_their_last_part_and_short_ones_spare_none():
    fitted = [Forecaster(3, window=6, hidden=2, epochs=1, stride=50).fit(wave(n)) for n in (10_000, 10_001)]
    assert [forecaster.history_.validation_loss is None for forecaster in fitted] == [True, False]


def test_a_checkpoint_goes_on_where_it_stopped(tmp_path):
    y = wave()
    whole = small(epochs=6, patience=None).fit(y)
    small(epochs=6, patience=None, checkpoint=tmp_path / "run").fit(y)
    again = small(epochs=6, patience=None, checkpoint=tmp_path / "run").fit(y)
    np.testing.assert_array_equal(again.predict(), whole.predict())


def test_a_constant_series_is_forecast_as_it_is():
    forecaster = small(spread=True, quantiles=(0.1, 0.5, 0.9)).fit(np.full(60, 3.0))
    assert np.isfinite(forecaster.predict_quantiles()).all()
    assert np.abs(forecaster.predict() - 3).max() < 2
    found = forecaster.backtest(np.full(60, 3.0), 50, refit=False)
    assert found["naive MAE"] == 0
    assert np.isnan(found["MASE"])


# scikit-learn's habits.


def test_clone_pickle_and_search():
    forecaster = small(quantiles=(0.1, 0.5, 0.9))
    assert clone(forecaster).get_params() == forecaster.get_params()
    y = wave(120)
    forecaster.fit(y)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(forecaster)).predict(), forecaster.predict())
    assert "Forecaster" in forecaster._repr_html_()
    search = GridSearchCV(small(), {"hidden": [3, 6]}, cv=TimeSeriesSplit(2)).fit(y)
    assert search.predict(y).shape == (4,)
    assert forecaster.score(y) == pytest.approx(
        1 - (b := forecaster.backtest(y, 12, refit=False))["MAE"] / b["naive MAE"]
    )


# Back-tests.


def test_backtest_measures():
    y = wave(80)
    forecaster = small(quantiles=(0.1, 0.5, 0.9)).fit(y[:60])
    found = forecaster.backtest(y, 60, step=3, refit=False)
    np.testing.assert_array_equal(found.origins, np.arange(60, 77, 3))
    for i, origin in enumerate(found.origins):
        np.testing.assert_allclose(found.forecasts[i], forecaster.predict(y[:origin]), rtol=1e-6)
        np.testing.assert_array_equal(found.actuals[i], y[origin : origin + 4])
        np.testing.assert_array_equal(found.naive[i], y[origin - 6 : origin - 2])
    e = found.actuals - found.forecasts
    np.testing.assert_allclose(found.table["MAE"][:-1], np.abs(e).mean(0))
    np.testing.assert_allclose(found["RMSE"], np.sqrt((e**2).mean()))
    np.testing.assert_allclose(found["MASE"], np.abs(e).mean() / np.abs(y[6:60] - y[:54]).mean())
    shares = 200 * np.abs(e) / (np.abs(found.actuals) + np.abs(found.forecasts))
    np.testing.assert_allclose(found["sMAPE"], shares.mean())
    low, high = found.quantiles[..., 0], found.quantiles[..., -1]
    np.testing.assert_allclose(found["coverage"], ((low <= found.actuals) & (found.actuals <= high)).mean())
    np.testing.assert_allclose(found["naive MAE"], np.abs(found.actuals - found.naive).mean())
    assert "naive MASE" in repr(found)
    assert len(pd.DataFrame(found.table)) == 5
    with pytest.raises(ValueError, match="measure must be one of"):
        found["MSE"]


def test_backtest_trains_on_what_stands_before_its_start():
    y = wave(80)
    forecaster = small()
    found = forecaster.backtest(y, -20)
    assert not hasattr(forecaster, "networks_")
    again = small().fit(y[:60]).backtest(y, 60, refit=False)
    np.testing.assert_array_equal(found.forecasts, again.forecasts)
    many = small().backtest([wave(70), wave(85)], -10)
    assert [part.shape for part in many.forecasts] == [(7, 4), (7, 4)]


def test_a_plot_of_a_backtest(tmp_path):
    found = small(quantiles=(0.1, 0.5, 0.9)).backtest(wave(80), -12)
    found.plot(tmp_path / "test.png")
    assert (tmp_path / "test.png").stat().st_size > 1000


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "inline", "agg"])
def test_a_notebook_shows_the_plot_once(backend, monkeypatch):
    """The figure that a cell returns is shown; with the inline backend all figures of pyplot are, too."""
    matplotlib = pytest.importorskip("matplotlib")
    from matplotlib import pyplot

    pyplot.close("all")
    monkeypatch.setattr(matplotlib, "get_backend", lambda: backend)
    figure = small().backtest(wave(), -10).plot()
    assert len(figure.axes) == 2
    assert len(pyplot.get_fignums()) == (backend == "agg")
    pyplot.close("all")


def test_seasonal_naive_goes_on_past_a_season():
    y = Filled.read(np.arange(10.0)[:, None], None)
    assert seasonal_naive(y, np.array([9]), 5, 3)[0, :, 0].tolist() == [6, 7, 8, 6, 7]
    assert seasonal_naive(y, np.array([4, 5]), 2, 1)[..., 0].tolist() == [[3, 3], [4, 4]]


# The layer.


def test_last_steps(tmp_path):
    net = Network([GRU(3, 4, dtype="float64", seed=0), LastSteps(4, 2), Dense(8, 2, dtype="float64", seed=1)])
    x = [rng.normal(size=(n, 3)) for n in (5, 1, 2)]
    state = [rng.normal(size=(3, 4))]
    weights = rng.normal(size=(3, 2))
    h, _ = net.layers[0](x, state[0])
    pooled, _ = LastSteps(4, 2)(h)
    np.testing.assert_array_equal(pooled[0], h[0][3:].ravel())
    np.testing.assert_array_equal(pooled[1], np.concatenate([np.zeros(4), h[1][0]]))
    _, _, tape = net.forward(x, state)
    for _ in range(2):
        dx, dstate, gradients = net.backward(tape, weights)
        for exact, array in zip((*dx, *dstate), (*x, *state), strict=True):
            central = central_gradient(lambda: float((net(x, state)[0] * weights).sum()), array, True)
            assert relative_error(exact, central) < 1e-7
        for name, array in net.parameters.items():
            central = central_gradient(lambda: float((net(x, state)[0] * weights).sum()), array, True)
            assert relative_error(gradients[name], central) < 1e-7
    net.save(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(load(tmp_path / "net.safetensors")(x)[0], net(x)[0])
    with pytest.raises(ValueError, match=r"count must be a whole number from 1 up. Got 0"):
        LastSteps(4, 0)
