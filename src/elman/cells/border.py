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
    width = f"{len(cell.gates)} hidden" if len(cell.gates) > 1 else "hidden"
    checks.shape("Wx", arrays["Wx"], ("input", width))
    checks.shape("Wh", arrays["Wh"], ("hidden", width))
    input_size, hidden = arrays["Wx"].shape[0], arrays["Wh"].shape[0]
    for name, want in cell.shapes(input_size, hidden).items():
        try:
            arrays[name] = checks.fitted(name, arrays[name], want)
        except ShapeError:
            got = arrays[name].shape
            raise ShapeError(f"{name} must have shape {want}, to fit hidden = {hidden} of Wh. Got {got}.") from None
    checks.shape("x", arrays["x"], ("batch", input_size), (input_size,))
    outer = arrays["x"].shape[:-1]
    for name in cell.states:
        checks.shape(name, arrays[name], (*outer, hidden))
    return arrays["x"], tuple(arrays[name] for name in cell.states), tuple(arrays[name] for name in cell.weights)
