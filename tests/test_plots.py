"""Plots: each draws the numbers it was given, on axes with names, and refuses what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import elman
from elman import plots
from elman.training import History


def drawn(net, seed=0):
    rng = np.random.default_rng(seed)
    for array in net.parameters.values():
        array[...] = rng.normal(size=array.shape) / 2
    return net


@pytest.fixture(scope="module")
def t():
    net = drawn(elman.Network([elman.LSTM(3, 5, bidirectional=True), elman.GRU(10, 4), elman.Dense(4, 2)]))
    x = np.random.default_rng(0).normal(size=(2, 9, 3))
    return elman.trace(net, x, dy=np.random.default_rng(1).normal(size=(2, 9, 2)))


def every(t):
    """Each plot, by name, as a function of a path."""
    rng = np.random.default_rng(2)
    y = rng.integers(0, 3, 30)
    return {
        "map": lambda path: t.plot("0.f", path=path),
        "signed map": lambda path: t.plot("1.dh", text="a sentenc", path=path),
        "curves": lambda path: plots.trace(t, "0.c_reverse", unit=[0, 3], sequence=1, path=path),
        "gradient_flow": lambda path: plots.gradient_flow(t, path=path),
        "forecast": lambda path: plots.forecast(
            rng.normal(size=20), [1.0, 2], [0.5, 1], [2.0, 3], [1.1, 1.2], path=path
        ),
        "spectrum": lambda path: plots.spectrum(t.net.layers[0], path=path),
        "confusion": lambda path: plots.confusion(y, (y + (rng.random(30) < 0.3)) % 3, path=path),
        "attribution": lambda path: plots.attribution(rng.normal(size=(9, 3)), features=["a", "b", "c"], path=path),
        "tokens": lambda path: plots.attribution(rng.normal(size=9), text="a sentenc", path=path),
        "importance": lambda path: plots.importance({"wind": (0.3, 0.1), "sun": (0.7, 0.05)}, path=path),
        "history": lambda path: History(*[np.array([0.9, 0.5])] * 5).plot(path),
    }


NAMES = ("map", "signed map", "curves", "gradient_flow", "forecast", "spectrum", "confusion", "attribution", "tokens",
         "importance", "history")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_plot_is_written_and_has_named_axes(t, name, tmp_path):
    assert set(every(t)) == set(NAMES)
    for ending in ("png", "svg"):
        axes = every(t)[name](tmp_path / f"plot.{ending}")
        assert (tmp_path / f"plot.{ending}").stat().st_size > 2000
        assert axes.get_xlabel()
        assert axes.get_ylabel() or name == "importance"
        assert not axes.spines["top"].get_visible()
    with pytest.raises(ValueError, match="path must end in the format of a picture"):
        every(t)[name](tmp_path / "plot.txt")


def test_no_window_is_opened_for_a_file_and_one_figure_without(t, tmp_path):
    from matplotlib import pyplot

    pyplot.close("all")
    t.plot("0.f", path=tmp_path / "plot.png")
    assert pyplot.get_fignums() == []
    t.plot("0.f")
    assert len(pyplot.get_fignums()) == 1
    pyplot.close("all")


def test_plots_show_the_numbers_of_the_trace(t, tmp_path):
    image = t.plot("0.f", path=tmp_path / "a.png", sequence=1).get_images()[0]
    np.testing.assert_array_equal(np.asarray(image.get_array()), t["0.f"][1].T)
    assert image.get_clim() == (0, t["0.f"][1].max())
    signed = t.plot("0.g", path=tmp_path / "a.png").get_images()[0]
    assert signed.get_clim()[0] == -signed.get_clim()[1]
    lines = plots.trace(t, "1.h", unit=[1, 3], path=tmp_path / "a.png").get_lines()
    np.testing.assert_array_equal([line.get_ydata() for line in lines], t["1.h"][0][:, [1, 3]].T)
    flow = {line.get_label(): line.get_ydata() for line in plots.gradient_flow(t, path=tmp_path / "a.png").get_lines()}
    np.testing.assert_allclose(flow["dc of layer 0 reverse"], np.linalg.norm(t["0.dc_reverse"][0], axis=-1), rtol=1e-5)
    assert set(flow) == {
        "dh of layer 0",
        "dc of layer 0",
        "dh of layer 0 reverse",
        "dc of layer 0 reverse",
        "dh of layer 1",
    }


def test_the_spectrum_has_the_eigenvalues_of_each_gate(tmp_path):
    layer = drawn(elman.GRU(2, 4))
    lines = plots.spectrum(layer, path=tmp_path / "a.png").get_lines()[1:]
    for line, block in zip(lines, np.split(layer.Wh.astype(float), 3, axis=1), strict=True):
        values = np.linalg.eigvals(block)
        np.testing.assert_allclose(np.sort_complex(line.get_xdata() + 1j * line.get_ydata()), np.sort_complex(values))
        assert f"{abs(values).max():.3g}" in line.get_label()


def test_confusion_counts(tmp_path):
    axes = plots.confusion(["b", "a", "b", "b"], ["b", "b", "a", "b"], path=tmp_path / "a.png")
    assert [text.get_text() for text in axes.texts] == ["0", "1", "1", "2"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b"]
    with pytest.raises(elman.ShapeError, match=r"must be labels of one shape \(n,\)\. Got \(2,\) and \(3,\)"):
        plots.confusion([1, 2], [1, 2, 3])


def test_a_text_is_written_under_the_steps(t, tmp_path):
    axes = t.plot("0.f", text="a b\n$c%de", path=tmp_path / "a.png")
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a", "␣", "b", "⏎", r"\$", "c", "%", "d", "e"]


@pytest.mark.parametrize("name", ["$x_{$", "a $b$ c", "\ud800", "", "\u202eabc", "two\nlines"])
def test_labels_of_a_user_are_drawn_as_they_are(t, name, tmp_path):
    plots.confusion([name, "b"], [name, name], path=tmp_path / "a.png")
    plots.importance({name: (1.0, 0.1), "other": (2.0, 0.1)}, path=tmp_path / "a.png")
    plots.attribution(np.ones((3, 2)), features=[name, "b"], path=tmp_path / "a.png")
    axes = plots.forecast([1.0, 2.0], [3.0], unit=name, path=tmp_path / "a.png")
    assert axes.get_ylabel() == name.replace("$", r"\$").replace("\ud800", "?")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda t: t.plot("0.q"), "a name must be one of t.names"),
        (lambda t: t.plot("0.f", text="ab"), "text must have 9 characters or entries, one per step. Got 2."),
        (lambda t: t.plot("0.f", unit=9), "unit must be from 0 to 4, or a list of such. Got 9."),
        (lambda t: t.plot("0.f", unit=[]), "unit must be from 0 to 4"),
        (lambda t: t.plot("0.f", unit=1.5), "unit must be from 0 to 4, or a list of such. Got 1.5."),
        (lambda t: t.plot("0.dWh"), "name must be of what has a number per unit and step. Got '0.dWh'"),
        (lambda t: plots.gradient_flow(elman.trace(t.net, t.x)), "t must be a trace with gradients"),
        (lambda t: plots.spectrum(elman.Dense(2, 2)), "layer must be a recurrent layer"),
        (lambda t: plots.spectrum(elman.LSTM(2, 4, projection=3)), "layer must have weights Wh (hidden, ...)"),
        (lambda t: plots.forecast([1.0], [2.0], [1.0]), "low and high must be given together. Got one of them."),
        (lambda t: plots.forecast([[1.0]], [2.0]), "known must have shape (steps,). Got (1, 1)."),
        (lambda t: plots.forecast([1.0], [2.0], [1.0, 2], [1.0, 2]), "low must have shape (1,). Got (2,)."),
        (lambda t: plots.attribution(np.zeros((2, 3, 4))), "result must be of one sequence"),
        (
            lambda t: plots.attribution(np.zeros((2, 3)), features=["a"]),
            "features must have 3 names, one per feature. Got 1.",
        ),
        (lambda t: plots.attribution(np.zeros((2, 3)), features="abc"), "features must be a list of names. Got "),
        (lambda t: plots.gradient_flow(t.net), "t must be a trace, as elman.trace gives it. Got "),
        (lambda t: t.plot(["0.f"]), "a name must be one of t.names"),
        (lambda t: t.plot("0.f", unit=True), "unit must be from 0 to 4, or a list of such. Got True."),
        (lambda t: plots.importance([1]), "features must be a mapping of names to pairs (mean, deviation)"),
    ],
)
def test_what_cannot_be_drawn_is_said(t, call, words):
    with pytest.raises((ValueError, TypeError)) as found:
        call(t)
    assert words in str(found.value)
