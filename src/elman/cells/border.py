"""Where a user's arrays become those of one step: shapes checked, one dtype for all."""

from __future__ import annotations

from typing import Any

from elman import checks
from elman.cells.cell import Arrays, Cell
from elman.checks import Array, ShapeError


def step_arrays(cell: Cell, x: Any, state: tuple[Any, ...], weights: tuple[Any, ...]) -> tuple[Array, Arrays, Arrays]:
    """x (batch, input) or (input,), the states and the weights as arrays that fit, float64 unless all are float32."""
    given = dict(zip(("x", *cell.states, *cell.weights), (x, *state, *weights), strict=True))
    numbers = {name: checks.number_array(name, value) for name, value in given.items()}
    dtype = checks.common_dtype(*numbers.values())
    arrays = {name: checks.real_array(name, array, dtype) for name, array in numbers.items()}
    weight_arrays = _weights(cell, arrays)
    input_size, hidden = arrays["Wx"].shape[0], arrays["Wh"].shape[0]
    checks.shape("x", arrays["x"], ("batch", input_size), (input_size,))
    outer = arrays["x"].shape[:-1]
    for name in cell.states:
        checks.shape(name, arrays[name], (*outer, hidden))
    return arrays["x"], tuple(arrays[name] for name in cell.states), weight_arrays


def _weights(cell: Cell, arrays: dict[str, Array]) -> Arrays:
    Wx, Wh = arrays["Wx"], arrays["Wh"]
    width = f"{len(cell.gates)} hidden" if len(cell.gates) > 1 else "hidden"
    checks.shape("Wx", Wx, ("input", width))
    checks.shape("Wh", Wh, ("hidden", width))
    shapes = cell.shapes(Wx.shape[0], Wh.shape[0])
    for name, want in shapes.items():
        try:
            arrays[name] = checks.fitted(name, arrays[name], want)
        except ShapeError:
            raise ShapeError(
                f"{name} must have shape {want}, to fit hidden = {Wh.shape[0]} of Wh. Got {arrays[name].shape}."
            ) from None
    return tuple(arrays[name] for name in shapes)
