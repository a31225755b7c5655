"""The command `elman demo`, and the forecasts it compares."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("typer")

from typer.testing import CliRunner

import elman
from elman.cli import forecasts
from elman.cli.app import app
from elman.datasets import sunspots

YEARS, NUMBERS = sunspots()
FIRST = int(np.searchsorted(YEARS, 1980))
ORIGINS = np.arange(FIRST - 11, len(YEARS))


@pytest.fixture
def quick(monkeypatch):
    """Two networks trained for two epochs: what is written is the same, only sooner."""
    monkeypatch.setattr(forecasts, "MEMBERS", 2)
    monkeypatch.setattr(forecasts, "MOST_EPOCHS", 2)


def test_the_demo_prints_a_table_and_writes_a_plot_and_its_networks(quick, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["demo", "--folder", "out"])
    assert result.exit_code == 0, result.output
    for words in ("recurrent network", "autoregression of 9 years", "a cycle ago", "the last value", "11 years"):
        assert words in result.output
    for place in ("out/forecasts.png", "out/sunspots-1.safetensors"):
        assert place in result.output
        assert (tmp_path / place).stat().st_size > 1000
    assert (tmp_path / "out/forecasts.png").read_bytes().startswith(b"\x89PNG")
    net = elman.load(tmp_path / "out/sunspots-2.safetensors")
    assert net(np.zeros((5, 1)))[0].shape == (5, 1)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "forecasts.png",
        "sunspots-1.safetensors",
        "sunspots-2.safetensors",
    }


def test_the_demo_s_networks_forecast_better_than_the_last_value_and_a_cycle_ago(monkeypatch):
    """One member at full length; the demo takes the mean of five."""
    monkeypatch.setattr(forecasts, "MEMBERS", 1)
    mean, deviation = NUMBERS[:FIRST].mean(), NUMBERS[:FIRST].std()
    z = (NUMBERS - mean) / deviation
    members = forecasts.train(z[:FIRST], int(np.searchsorted(YEARS, 1935)), 0, iter)
    ours = forecasts.recurrent(members, z, ORIGINS, 11) * deviation + mean
    assert forecasts.rmse(ours, NUMBERS, ORIGINS, 1, FIRST) < 18
    assert forecasts.rmse(ours, NUMBERS, ORIGINS, 5, FIRST) < 33


def test_the_years_that_test_do_not_train(quick):
    """Other numbers from 1980 on change no weight."""
    z = (NUMBERS - 50) / 40
    validation = int(np.searchsorted(YEARS, 1935))
    members = forecasts.train(z[:FIRST], validation, 0, iter)
    order = forecasts.autoregression(NUMBERS, ORIGINS, 1, FIRST)[1]
    changed = NUMBERS.copy()
    changed[FIRST:] = 1000
    again = forecasts.train(((changed - 50) / 40)[:FIRST], validation, 0, iter)
    for a, b in zip(members, again, strict=True):
        for name, array in a.parameters.items():
            np.testing.assert_array_equal(array, b.parameters[name])
    assert forecasts.autoregression(changed, ORIGINS, 1, FIRST)[1] == order


def test_forecasts_know_nothing_after_their_origin(quick):
    z = (NUMBERS - 50) / 40
    members = forecasts.train(z[:FIRST], int(np.searchsorted(YEARS, 1935)), 0, iter)
    changed = z.copy()
    changed[FIRST + 5 :] += 3
    early = ORIGINS[ORIGINS < FIRST + 5]
    for make in (
        lambda s: forecasts.recurrent(members, s, early, 4),
        lambda s: forecasts.autoregression(s, early, 4, FIRST)[0],
        lambda s: forecasts.cycle_ago(s, early, 4, 11),
        lambda s: forecasts.last_value(s, early, 4),
    ):
        np.testing.assert_array_equal(make(z), make(changed))


def test_the_ensemble_goes_on_from_its_own_values(quick):
    z = (NUMBERS - 50) / 40
    members = forecasts.train(z[:FIRST], int(np.searchsorted(YEARS, 1935)), 0, iter)
    values = forecasts.recurrent(members, z, ORIGINS[:3], 3)
    for row, origin in zip(values, ORIGINS[:3], strict=True):
        for net in members[:1]:
            known = list(z[: origin + 1])
            for _ in range(3):
                known.append(net(np.array(known)[:, None])[0][-1, 0])
        other = list(z[: origin + 1])
        for _ in range(3):
            other.append(members[1](np.array(other)[:, None])[0][-1, 0])
        np.testing.assert_allclose(row, (np.array(known[-3:]) + np.array(other[-3:])) / 2, atol=1e-5)


def test_an_autoregression_is_found_again():
    rng = np.random.default_rng(0)
    series = np.zeros(2000)
    for t in range(2, 2000):
        series[t] = 1 + 1.5 * series[t - 1] - 0.8 * series[t - 2] + rng.normal()
    values, order = forecasts.autoregression(series, np.array([1500]), 2, 1500)
    assert order == 2
    first = 1 + 1.5 * series[1500] - 0.8 * series[1499]
    # The noise is 1, and 1500 values tell the weights to about 1 / sqrt(1500) of it.
    assert values[0] == pytest.approx([first, 1 + 1.5 * first - 0.8 * series[1500]], abs=3 / 1500**0.5)


def test_errors_of_the_command(quick, tmp_path):
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(app, ["demo", "--folder", str(tmp_path / "file")])
    assert result.exit_code == 2
    assert "elman demo: " in result.output
    assert CliRunner().invoke(app, ["demo", "--seed", "-1"]).exit_code == 2
    assert CliRunner().invoke(app, ["dance"]).exit_code == 2


def test_missing_extras_are_named():
    hide = "import sys; sys.modules['{}'] = None; sys.argv = ['elman', 'demo']; import elman.cli; elman.cli.main()"
    for module, extra in (("typer", "cli"), ("matplotlib", "plot")):
        done = subprocess.run([sys.executable, "-c", hide.format(module)], capture_output=True, text=True)
        assert done.returncode == 2
        assert f'pip install "elman[{extra}]"' in done.stderr
