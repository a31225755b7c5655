"""The same random data in pandas, polars and Arrow, rows and columns in any order: same numbers, same stamps."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pandas")
pytest.importorskip("polars")
pytest.importorskip("pyarrow")

import pandas as pd

import elman
from drawn_tables import calendar, draw_columns, forecaster, shuffled, table_of, values_of

THREE = ["pandas", "polars", "Arrow"]


def entries_of(column):
    """The entries of a column of any library."""
    return column.to_pylist() if hasattr(column, "to_pylist") else column.to_list()


def draw_panel(rng, horizon, early=4, fills=(None, "forward", "interpolate")):
    """Series that start late and end early, with missing rows: columns by name, and the same as arrays."""
    series, count = int(rng.integers(1, 4)), int(rng.integers(18, 30))
    stamps, _ = calendar(rng, count + horizon)
    stamps = stamps.as_unit("us")
    starts, ends = rng.integers(0, 6, series), count - rng.integers(0, early, series)
    where = [np.arange(a, b) for a, b in zip(starts, ends, strict=True)]
    fill = fills[rng.integers(len(fills))]
    if fill is not None:
        where = [np.delete(part, rng.choice(np.arange(2, len(part) - 2), 2, replace=False)) for part in where]
    names = [["ash", "beech", "yew"], [7, 3, 5]][rng.integers(2)][:series]
    rows, owner = np.concatenate(where), np.repeat(np.arange(series), [len(part) for part in where])
    beside, read = draw_columns(rng, len(rows))
    values = values_of(rng, len(rows))
    id_, when = ("id", np.array(names)[owner]), ("stamps", stamps[rows])
    columns = {"tree": id_, "when": when, "y": ("number", values), **beside}
    arrays = []
    for i in range(series):
        own = owner == i
        part = np.full((ends[i] - starts[i], 1 + read.shape[1]), np.nan)
        part[rows[own] - starts[i]] = np.column_stack([values, read])[own]
        arrays.append(part)
    picks = rng.integers(0, len(rows), series * horizon)  # rows of the future are like some of the past
    following = [stamps[end : end + horizon] for end in ends]
    future = {"tree": ("id", np.repeat(names, horizon)), "when": ("stamps", following[0].append(following[1:]))}
    future |= {name: (kind, entries[picks]) for name, (kind, entries) in beside.items()}
    return names, columns, arrays, following, future, list(read[picks].reshape(series, horizon, -1)), fill


def check_panel(found, names, wanted, following):
    labels, y, when = (entries_of(found[name]) for name in ("tree", "y", "when"))
    assert sorted(labels, key=str) == sorted([n for n, part in zip(names, wanted, strict=True) for _ in part], key=str)
    for i, name in enumerate(names):
        own = [row for row, label in enumerate(labels) if label == name]
        np.testing.assert_array_equal([y[row] for row in own], wanted[i])
        assert [pd.Timestamp(when[row]) for row in own] == list(following[i])
        assert [str(pd.Timestamp(when[row])) for row in own] == [str(stamp) for stamp in following[i]]


@pytest.mark.parametrize("seed", range(100))
def test_panels(seed):
    rng = np.random.default_rng(5000 + seed)
    horizon = int(rng.integers(1, 4))
    names, columns, arrays, following, future, ahead, fill = draw_panel(rng, horizon)
    role = str(rng.choice(["past", "exogenous"]))
    rest = {"future": ahead} if role == "exogenous" else {}
    model = forecaster(horizon, fill=fill)
    wanted = model.fit([part[:, 0] for part in arrays], **{role: [part[:, 1:] for part in arrays]}).predict(**rest)
    said = {"id": "tree", "time": "when", "target": "y", role: list(columns)[3:]}
    for library in THREE:
        model = forecaster(horizon, fill=fill).fit(table_of(library, shuffled(rng, columns, "tree")), **said)
        assert f"{len(names)} series by tree" in model.read_as
        rest = {"future": table_of(library, shuffled(rng, future))} if role == "exogenous" else {}
        check_panel(model.predict(**rest), names, wanted, following)
        later = str(rng.choice(THREE))  # another library at prediction
        again = model.predict(table_of(later, shuffled(rng, columns)), **rest)
        check_panel(again, names, wanted, following)


@pytest.mark.parametrize("seed", range(40))
def test_panels_as_an_index_and_as_a_list(seed):
    rng = np.random.default_rng(6000 + seed)
    horizon = int(rng.integers(1, 4))
    names, columns, arrays, following, *_, fill = draw_panel(rng, horizon)
    wanted = forecaster(horizon, fill=fill).fit([part[:, 0] for part in arrays]).predict()
    table = pd.DataFrame({name: columns[name][1] for name in ("tree", "when", "y")})
    levels = ["tree", "when"] if rng.integers(2) else ["when", "tree"]
    indexed = pd.DataFrame({name: entries for name, (_, entries) in shuffled(rng, columns, "tree").items()})
    indexed = indexed.set_index(levels)[["y"]]
    model = forecaster(horizon, fill=fill)
    check_panel(
        model.fit(indexed["y"] if rng.integers(2) else indexed).predict().reset_index(), names, wanted, following
    )
    parts = [table[table["tree"] == name].set_index("when")["y"] for name in names]
    for i, part in enumerate(model.fit(parts).predict()):
        np.testing.assert_array_equal(part, wanted[i])
        assert list(part.index) == list(following[i])


@pytest.mark.parametrize("seed", range(30))
def test_back_tests(seed):
    rng = np.random.default_rng(7000 + seed)
    names, columns, arrays, *_, fill = draw_panel(rng, 2, early=1)
    role = str(rng.choice(["past", "exogenous"]))
    beside = {role: [part[:, 1:] for part in arrays]}
    wanted = forecaster(2, fill=fill).backtest([part[:, 0] for part in arrays], -4, **beside)
    said = {"id": "tree", "time": "when", "target": "y", role: list(columns)[3:]}
    found = forecaster(2, fill=fill).backtest(table_of(THREE[seed % 3], shuffled(rng, columns, "tree")), -4, **said)
    for i in range(len(names)):
        np.testing.assert_array_equal(found.forecasts[i], wanted.forecasts[i])
        np.testing.assert_array_equal(found.actuals[i], wanted.actuals[i])


@pytest.mark.parametrize("seed", range(30))
def test_back_tests_cut_all_series_at_one_time(seed):
    rng = np.random.default_rng(7500 + seed)
    names, columns, *_ = draw_panel(rng, 2, fills=(None,))
    table = pd.DataFrame({name: columns[name][1] for name in ("tree", "when", "y")})
    model = forecaster(2)
    as_list = seed % 2

    def back_test(rows):
        parts = [rows[rows["tree"] == name].set_index("when")["y"] for name in names]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of series that end before there is anything to scored
            return model.backtest(parts, -5) if as_list else model.backtest(rows, -5, id="tree", time="when")

    told = back_test(table)
    judged = [i for i in range(len(names)) if len(told.origins[i])]
    assert judged
    for i in judged:
        origin = table["when"][table["tree"] == names[i]].iloc[told.origins[i][0]]
        later = table["when"] >= origin  # of the other series, too
        changed = table.assign(y=table["y"].where(~later, 1000 * rng.normal(size=len(table))))
        assert later.sum() > 4
        np.testing.assert_array_equal(back_test(changed).forecasts[i][0], told.forecasts[i][0])


@pytest.mark.parametrize("library", THREE)
@pytest.mark.parametrize("role", ["past", "exogenous"])
def test_a_category_that_comes_after_the_origin_changes_no_forecast_from_it(library, role):
    rng = np.random.default_rng(7700)
    stamps, values = pd.date_range("2024-01-01", periods=30), values_of(rng, 30)
    kinds = rng.choice(["beech", "yew"], 30)

    def back_test(entries):
        columns = {"when": ("stamps", stamps), "y": ("number", values), "kind": ("category", np.array(entries))}
        return forecaster(2).backtest(table_of(library, columns), -6, time="when", target="y", **{role: "kind"})

    told = back_test(kinds)
    with pytest.warns(UserWarning, match=r"categories must come before start to be learned. Got kind=ash after it"):
        other = back_test([*kinds[:27], "ash", "ash", "ash"])
    np.testing.assert_array_equal(other.forecasts[:2], told.forecasts[:2])
    assert not (other.forecasts == told.forecasts).all()


def test_tables_of_a_list_have_the_categories_of_all():
    rng = np.random.default_rng(7800)
    days, values = pd.date_range("2024-01-01", periods=20, name="day"), values_of(rng, 20)
    kinds = [["ash", "yew"] * 10, ["beech", "ash"] * 10]
    beside = [pd.DataFrame({"kind": pd.Categorical(own)}, index=days) for own in kinds]
    series = [pd.Series(values, index=days, name="y")] * 2
    numbers = [np.stack([np.array(own) == kind for kind in ("ash", "beech", "yew")], 1) * 1.0 for own in kinds]
    wanted = forecaster(2).fit([values] * 2, past=numbers).predict()
    apart = forecaster(2).fit(series, past=beside)
    one = forecaster(2).fit(
        [y.to_frame().join(x) for y, x in zip(series, beside, strict=True)], target="y", past="kind"
    )
    for model in (apart, one):
        assert "kind (3 categories)" in model.read_as
        for found, want in zip(model.predict(), wanted, strict=True):
            np.testing.assert_array_equal(np.ravel(found), want)


@pytest.mark.parametrize("seed", range(30))
def test_a_future_an_hour_off_is_refused(seed):
    rng = np.random.default_rng(8000 + seed)
    _, columns, _, _, future, _, fill = draw_panel(rng, 3)
    said = {"id": "tree", "time": "when", "target": "y", "exogenous": list(columns)[3:]}
    library = THREE[seed % 3]
    model = forecaster(3, fill=fill).fit(table_of(library, columns), **said)
    stamps = future["when"][1]
    off = stamps + pd.Timedelta(milliseconds=[500, 3_600_000 - 1][seed % 2])
    with pytest.raises(ValueError, match="future must") as caught:
        model.predict(future=table_of(library, {**future, "when": ("stamps", off)}))
    assert off[0].strftime("%Y") in str(caught.value)


# Estimators of sequences.


def sequences(rng, count, columns=None):
    """Tables of unequal length, each columns by name."""
    tables = []
    for n in range(count):
        steps = int(rng.integers(5, 12))
        part = {
            "level": ("number", rng.normal(size=steps) + n % 2),
            "count": ("whole", rng.integers(-9, 9, steps)),
            "nullable": ("nullable", rng.integers(-9, 9, steps)),
            "decimal": ("decimal", values_of(rng, steps)),
            "open": ("truth", rng.random(steps) < 0.5),
            "kind": ("category", np.r_[["ash", "beech", "yew"], rng.choice(["ash", "beech", "yew"], steps - 3)]),
        }
        tables.append(part)
    return tables


@pytest.fixture(scope="module")
def estimators():
    """Three of them, fitted on tables of pandas, and on the same numbers as arrays."""
    rng = np.random.default_rng(9000)
    tables = sequences(rng, 12)
    labels = [n % 2 for n in range(12)]
    steps = [rng.integers(0, 2, len(part["level"][1])) for part in tables]
    fitted = {}
    for kind, y in (
        (elman.SequenceClassifier, labels),
        (elman.SequenceRegressor, labels),
        (elman.SequenceTagger, steps),
    ):
        model = kind(hidden=2, epochs=1, random_state=0).fit([table_of("pandas", part) for part in tables], y)
        arrays = kind(hidden=2, epochs=1, random_state=0).fit([as_numbers(part) for part in tables], y)
        fitted[kind.__name__] = model, arrays
    return fitted


def as_numbers(part):
    *plain, (_, kinds) = part.values()
    columns = [entries for _, entries in plain] + [kinds == c for c in ("ash", "beech", "yew")]
    return np.stack([np.asarray(column, np.float64) for column in columns], 1)


def outputs(model, X):
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


@pytest.mark.parametrize("seed", range(60))
def test_estimators_of_sequences(seed, estimators):
    rng = np.random.default_rng(9500 + seed)
    model, arrays = estimators[list(estimators)[seed % 3]]
    tables = sequences(rng, int(rng.integers(1, 4)))
    wanted = outputs(arrays, [as_numbers(part) for part in tables])
    found = []
    for part in tables:  # each in another library, with its columns in another order
        names = list(map(str, rng.permutation(list(part))))
        found.append(table_of(str(rng.choice(THREE)), {name: part[name] for name in names}))
    for one, two in zip(outputs(model, found), wanted, strict=True):
        np.testing.assert_array_equal(one, two)
    names.remove(str(rng.choice(names)))
    missing = next(iter(set(tables[-1]) - set(names)))
    with pytest.raises(ValueError, match=missing):
        outputs(model, [*found[:-1], table_of("polars", {name: tables[-1][name] for name in names})])
