"""Plots, one call each, in one look: gates and states, gradient flow, forecasts, spectra, confusion, attribution.

Each returns the matplotlib Axes; with `path` the figure is written there (its ending says in which format) and no
window is opened. `History.plot` and `Backtest.plot` draw theirs in the same look. All raise `MissingExtraError` where
matplotlib is not installed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from elman import checks, drawing
from elman.cells.cell import REVERSE
from elman.checks import Array, ShapeError
from elman.insight.page.one import One, read_names, read_text
from elman.layers import Recurrent

__all__ = ["attribution", "confusion", "forecast", "gradient_flow", "importance", "spectrum", "trace"]

Path = str | os.PathLike[str]
MOST_LABELS = 80  #: entries of a text that are written along an axis


def trace(t: Any, name: str, text: Any = None, unit: Any = None, *, sequence: int = 0, path: Path | None = None) -> Any:
    """Draws one name of a trace over the steps: all units as a heat map, or the curves of some.

    `name` is one of ``t.names``; `text` one string (its characters) or a list of one string per step; `unit` a number
    or a list of them. Raises `ShapeError` where the text does not fit, `ValueError` for units that are not there.

    >>> import numpy as np, elman
    >>> t = elman.trace(elman.LSTM(2, 3, seed=0), np.ones((1, 7, 2)))
    >>> elman.plots.trace(t, "f", text="the cat").get_ylabel()
    'unit'
    """
    one = One(t, sequence)
    array: Array = np.zeros(0) if t.numbers(name).layout is None else one.named(name)  # a share of a weight
    if array.ndim != 2:
        raise ShapeError(f"name must be of what has a number per unit and step. Got {checks.show(name)}.")
    entries = read_text(text, len(array))
    steps, count = array.shape
    units = None if unit is None else np.atleast_1d(checks.number_array("unit", unit))
    if units is not None and not (units.dtype.kind in "iu" and units.size and np.isin(units, np.arange(count)).all()):
        raise ValueError(f"unit must be from 0 to {count - 1}, or a list of such. Got {checks.show(unit)}.")
    with _frame(
        "Trace.plot", path, "step", "unit" if units is None else name, grid=units is not None, size=(8.0, 3.6)
    ) as axes:
        if units is None:
            _map(axes, array.T, f"{name}, by unit")
        else:
            for k, color in zip(units.tolist(), drawing.COLORS * len(units), strict=False):
                axes.plot(np.arange(steps), array[:, k], label=f"unit {k}", color=color, linewidth=1.6)
        _label_steps(axes, entries)
    return axes


def gradient_flow(t: Any, *, sequence: int = 0, path: Path | None = None) -> Any:
    """Draws how large the gradient of each state is at each step, on a logarithmic axis; `t` was made with `dy`.

    Where a line falls toward the first step, gradients vanish; where it rises, they explode. Source: Bengio, Simard,
    Frasconi 1994, section IV.

    Raises `ValueError` for a trace without gradients.

    >>> import numpy as np, elman
    >>> t = elman.trace(elman.LSTM(2, 3, seed=0), np.ones((1, 7, 2)), dy=np.ones((1, 7, 3)))
    >>> elman.plots.gradient_flow(t).get_yscale()
    'log'
    """
    one = One(t, sequence)
    lines = {
        f"d{name} of layer {part.name}": np.linalg.norm(part.arrays[f"d{name}"], axis=-1)
        for part in one.parts
        for name in part.cell.states
        if f"d{name}" in part.arrays
    }
    if not lines:
        raise ValueError("t must be a trace with gradients, elman.trace(net, x, dy=...). Got one without.")
    with _frame("plots.gradient_flow", path, "step", "norm of the gradient") as axes:
        for (label, values), color in zip(lines.items(), drawing.COLORS * len(lines), strict=False):
            axes.plot(
                np.arange(len(values)), np.where(values > 0, values, np.nan), label=label, color=color, linewidth=1.6
            )
        if any((values > 0).any() for values in lines.values()):
            axes.set_yscale("log")
    return axes


def forecast(
    known: Any, ahead: Any, low: Any = None, high: Any = None, came: Any = None, *,
    unit: str = "value", path: Path | None = None,
) -> Any:  # fmt: skip
    """Draws a series (steps,), its forecast (horizon,), the interval around it, and what came, where that is known.

    `low` and `high` (horizon,) are quantiles, such as those of `Forecaster.predict_quantiles`; `unit` names the axis.

    >>> import elman
    >>> elman.plots.forecast([1.0, 2.0, 3.0], [4.0, 5.0], [3.5, 4.0], [4.5, 6.0], unit="sales").get_ylabel()
    'sales'
    """
    known, ahead = _vector("known", known), _vector("ahead", ahead)
    others = {
        name: _vector(name, value, len(ahead))
        for name, value in (("low", low), ("high", high), ("came", came))
        if value is not None
    }
    if ("low" in others) != ("high" in others):
        raise ValueError("low and high must be given together. Got one of them.")
    with _frame("plots.forecast", path, "step", unit, size=(8.0, 3.6)) as axes:
        steps = np.arange(len(known), len(known) + len(ahead))
        axes.plot(np.arange(len(known)), known, color="0.4", label="known")
        axes.plot(steps, ahead, color=drawing.COLORS[0], label="forecast")
        if "low" in others:
            axes.fill_between(
                steps, others["low"], others["high"], color=drawing.COLORS[0], alpha=0.2, label="interval"
            )
        if "came" in others:
            axes.plot(steps, others["came"], color=drawing.COLORS[1], linestyle="--", label="what came")
    return axes


def spectrum(layer: Recurrent, *, path: Path | None = None) -> Any:
    """Draws the eigenvalues of the recurrent weights `Wh` of a layer, gate by gate, beside the circle of radius 1.

    Raises `TypeError` for anything but a recurrent layer, `ValueError` for one without `Wh` of as many rows as hidden
    units.

    >>> import elman
    >>> axes = elman.plots.spectrum(elman.GRU(2, 8, seed=0))
    >>> [text.get_text() for text in axes.get_legend().get_texts()]
    ['radius 1', 'Wh_r: radius 1', 'Wh_z: radius 1', 'Wh_n: radius 1']
    """
    if not isinstance(layer, Recurrent):
        raise TypeError(f"layer must be a recurrent layer, such as net.layers[0]. Got {checks.describe(layer)}.")
    axis = layer.cell.weights.get("Wh")
    if axis is None or axis[0] != "hidden":
        raise ValueError(f"layer must have weights Wh (hidden, ...). Got the weights {', '.join(layer.cell.weights)}.")
    with _frame(
        "plots.spectrum", path, "real part of the eigenvalue", "imaginary part", beside=True, size=(7.0, 4.6)
    ) as axes:
        turn = np.linspace(0, 2 * np.pi, 361)
        axes.plot(np.cos(turn), np.sin(turn), color="0.6", linewidth=1, label="radius 1")
        for suffix, part in layer.directions.items():
            blocks = np.split(part.parameters["Wh"], len(layer.cell.gates) or 1, axis=1)
            for k, (gate, block) in enumerate(zip(layer.cell.gates or ("h",), blocks, strict=True)):
                values = np.linalg.eigvals(block.astype(np.float64))
                label = f"Wh_{gate}{suffix}: radius {np.abs(values).max():.3g}"
                marker, color = "ox"[suffix == REVERSE], drawing.COLORS[k % len(drawing.COLORS)]
                axes.plot(values.real, values.imag, marker, color=color, markersize=4, label=label)
        axes.set_aspect("equal", "datalim")
    return axes


def confusion(y: Any, predicted: Any, *, path: Path | None = None) -> Any:
    """Draws how often each label, down, was told as each label, across; the shade is the share of its row.

    `y` and `predicted` are labels in one row, (n,).

    >>> import elman
    >>> [text.get_text() for text in elman.plots.confusion(["a", "b", "a"], ["a", "b", "b"]).texts]
    ['1', '1', '0', '1']
    """
    real, told = (np.asarray(value) for value in (y, predicted))
    if real.ndim != 1 or real.shape != told.shape or not len(real):
        raise ShapeError(f"y and predicted must be labels of one shape (n,). Got {real.shape} and {told.shape}.")
    labels = sorted({*real.tolist(), *told.tolist()}, key=lambda one: (str(type(one)), one))
    place = {label: k for k, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(counts, ([place[one] for one in real.tolist()], [place[one] for one in told.tolist()]), 1)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size = max(3.6, 1.6 + 0.45 * len(labels))
    with _frame("plots.confusion", path, "told", "real", grid=False, size=(size + 0.8, size)) as axes:
        image = axes.imshow(shares, cmap="cividis", vmin=0, vmax=1)
        axes.figure.colorbar(image, label="share of the row")
        if len(labels) <= 20:
            for i, j in np.ndindex(counts.shape):
                axes.text(
                    j, i, counts[i, j], ha="center", va="center", color="black" if shares[i, j] > 0.5 else "white"
                )
        axes.set_xticks(range(len(labels)), map(drawing.text, labels), rotation=45 if len(labels) > 6 else 0)
        axes.set_yticks(range(len(labels)), map(drawing.text, labels))
    return axes


def attribution(result: Any, text: Any = None, *, features: Any = None, path: Path | None = None) -> Any:
    """Draws what `elman.attribution` found for one sequence, (time, features), or (time,): a map, or a bar per step.

    `text` writes one entry under each step, `features` names the rows.

    Raises `ShapeError` for a result of another shape, or names or entries that do not fit it.

    >>> import elman
    >>> elman.plots.attribution([[0.5, -0.1], [0.0, 0.3]], features=["load", "price"]).get_xlabel()
    'step'
    """
    array = np.asarray(result, np.float64)
    if array.ndim not in (1, 2):
        raise ShapeError(f"result must be of one sequence, (time, features) or (time,). Got shape {array.shape}.")
    names = None if features is None else read_names("features", features, [*array.shape, 0][1], "feature")
    entries = read_text(text, len(array))
    mapped = array.ndim == 2 and array.shape[1] > 1
    with _frame(
        "plots.attribution", path, "step", "feature" if mapped else "attribution", grid=not mapped, size=(8.0, 3.2)
    ) as axes:
        if array.ndim == 1 or array.shape[1] == 1:
            colors = np.where(array.ravel() < 0, drawing.SIGNED[1], drawing.SIGNED[-2])
            axes.bar(np.arange(len(array)), array.ravel(), color=colors)
        else:
            _map(axes, array.T, "attribution")
            if names is not None:
                axes.set_yticks(range(len(names)), map(drawing.text, names))
        _label_steps(axes, entries)
    return axes


def importance(features: Mapping[str, Any], *, path: Path | None = None) -> Any:
    """Draws name -> (mean, deviation) of the loss of score, as `importance` of an estimator gives it.

    Raises `TypeError` for anything but a mapping of names to pairs of numbers.

    >>> import elman
    >>> axes = elman.plots.importance({"price": (0.02, 0.01), "load": (0.31, 0.04)})
    >>> [label.get_text() for label in axes.get_yticklabels()]
    ['load', 'price']
    """
    try:
        rows = sorted(((float(mean), float(dev), str(name)) for name, (mean, dev) in features.items()), reverse=True)
    except (AttributeError, TypeError, ValueError):
        must = "features must be a mapping of names to pairs (mean, deviation)"
        raise TypeError(f"{must}. Got {checks.describe(features)}.") from None
    with _frame("plots.importance", path, "loss of score when permuted", "", size=(6.4, 1.2 + 0.3 * len(rows))) as axes:
        means, deviations, names = zip(*rows, strict=True) if rows else ((), (), ())
        axes.barh(range(len(rows)), means, xerr=deviations, color=drawing.COLORS[0], ecolor="0.4")
        axes.set_yticks(range(len(rows)), map(drawing.text, names))
        axes.invert_yaxis()
    return axes


@contextmanager
def _frame(
    what: str, path: Path | None, across: str, up: str, *, size: tuple[float, float] = (6.4, 4.0), **dress: bool
) -> Iterator[Any]:
    """The axes of a picture, which are dressed and written when all is drawn."""
    figure = drawing.new_figure(what, path, size)
    axes = figure.add_subplot()
    yield axes
    drawing.dress(axes, across, up, **dress)
    drawing.finish(path, figure)


def _map(axes: Any, array: Array, label: str) -> None:
    """A heat map with its scale: from 0 up, or around 0."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.ticker import MaxNLocator

    finite = array[np.isfinite(array)]
    most = float(np.abs(finite).max()) if finite.size else 1.0
    signed = bool(finite.size) and float(finite.min()) < 0
    colors: Any = LinearSegmentedColormap.from_list("signed", drawing.SIGNED) if signed else "cividis"
    bounds = {"vmin": -most if signed else 0.0, "vmax": most or 1.0}
    image = axes.imshow(array, aspect="auto", interpolation="nearest", cmap=colors, **bounds)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.figure.colorbar(image, label=label)


def _label_steps(axes: Any, entries: list[str] | None) -> None:
    """The entries of a text under the steps, or the steps alone."""
    from matplotlib.ticker import MaxNLocator

    if entries is None or len(entries) > MOST_LABELS:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return
    long = max(map(len, entries), default=0) > 1
    shown = ["␣" if entry == " " else drawing.text(entry.replace("\n", "⏎")) for entry in entries]
    axes.set_xticks(range(len(entries)), shown, rotation=90 if long else 0, fontfamily="monospace")


def _vector(name: str, value: Any, length: int | None = None) -> Array:
    array = checks.real_array(name, value)
    if array.ndim != 1 or len(array) != (length if length is not None else len(array)):
        want = "(steps,)" if length is None else f"({length},)"
        raise ShapeError(f"{name} must have shape {want}. Got {array.shape}.")
    return array
