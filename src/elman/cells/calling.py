"""Calls of the two functions of a cell, with what they return held to what it must be.

Streams and whole sequences both step a cell by `advance`, so that they compute the same. A cell of one's own may hold
mistakes that NumPy would carry through in silence, such as a sum that broadcasts: the number, shape and kind of all
that its functions return are checked at every step, and what they are given cannot be written into.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from elman import checks
from elman.cells.cell import Arrays, Cell, Kept
from elman.checks import Array, DtypeError, ShapeError

Zones: TypeAlias = tuple[Array | float, ...]


def advance(
    cell: Cell,
    x: Array,
    state: Arrays,
    weights: Arrays,
    mask: tuple[Array, ...] = (),
    zones: Zones | None = None,
    keep: bool = False,
) -> tuple[Arrays, Kept]:
    """One step: the next states, (B, width) each in the order of C and in the dtype of the weights, and what is kept.

    x (B, I), `state` and `weights` can no longer be written into. `mask` is empty where there is none. Without `keep`,
    what the cell keeps is not looked at.
    """
    _lock(x, *state)
    try:
        given = cell.step(x, state, weights, *mask)
    except (ValueError, TypeError) as error:
        _explain(error, cell.step, "step", cell, (x, state, weights, *mask))
        raise
    if not (_holds(given, 2) and _holds(given[0], len(state)) and isinstance(given[1], dict)):
        raise _wrong_parts(
            cell, "step", f"next_state, kept: the tuple {_listed(cell.states)} and a dict of arrays", given
        )
    parts = [
        np.ascontiguousarray(_checked(cell, "step", "the next state", name, part, s.shape), s.dtype)
        for name, part, s in zip(cell.states, given[0], state, strict=True)
    ]
    if keep:
        _check_kept(cell, given[1], len(x))
    after = tuple(parts)
    return after if zones is None else zone_out(state, after, zones), given[1]


def go_back(
    cell: Cell,
    x: Array,
    state: Arrays,
    weights: Arrays,
    kept: Kept,
    dnext: Arrays,
    mask: tuple[Array, ...] = (),
) -> tuple[Array, Arrays, Arrays]:
    """The derivative of one step: the gradients of x, of every state, and of every weight, in their shapes."""
    _lock(x, *state, *dnext, *kept.values())
    try:
        given = cell.step_derivative(x, state, weights, kept, dnext, *mask)
    except (ValueError, TypeError) as error:
        _explain(error, cell.step_derivative, "step_derivative", cell, (x, state, weights, kept, dnext, *mask))
        raise
    if not (_holds(given, 3) and _holds(given[1], len(state)) and _holds(given[2], len(weights))):
        wanted = f"dx, dstate, dweights: one gradient each for x, {_listed(cell.states)} and {_listed(cell.weights)}"
        raise _wrong_parts(cell, "step_derivative", wanted, given)
    dx = _checked(cell, "step_derivative", "the gradient of", "x", given[0], x.shape)
    dstate = [
        np.ascontiguousarray(_checked(cell, "step_derivative", "the gradient of", name, part, s.shape), s.dtype)
        for name, part, s in zip(cell.states, given[1], state, strict=True)
    ]
    dweights = [
        _checked(cell, "step_derivative", "the gradient of", name, part, w.shape)
        for name, part, w in zip(cell.weights, given[2], weights, strict=True)
    ]
    return dx, tuple(dstate), tuple(dweights)


def locked(weights: Arrays) -> Arrays:
    """Views of weights that cannot be written into, as a cell is given them."""
    views = tuple([w.view() for w in weights])
    _lock(*views)
    return views


def zone_out(before: Arrays, after: Arrays, zones: Zones) -> Arrays:
    """Zoneout of every state: s' = z s + (1 - z) s_new."""
    return tuple(z * old + (1 - z) * new for old, new, z in zip(before, after, zones, strict=True))


def _lock(*arrays: Array) -> None:
    for array in arrays:
        array.setflags(write=False)


def _holds(value: Any, count: int) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == count


def _checked(cell: Cell, function: str, what: str, name: str, given: Any, shape: tuple[int, ...]) -> Array:
    """One array that a function of a cell returned."""
    if type(given) is np.ndarray and given.shape == shape and given.dtype.kind == "f":
        return given
    must = f"{function} of the cell {cell.name!r} must give {what} {name}"
    if not isinstance(given, (np.ndarray, np.generic, int, float, complex)):
        raise DtypeError(f"{must} as an array of shape {shape}. Got {checks.describe(given)}.")
    if np.shape(given) != shape:
        raise ShapeError(f"{must} the shape {shape}. Got {np.shape(given)}.")
    array = np.asarray(given)
    if array.dtype.kind != "f":
        raise DtypeError(f"{must} in floating point. Got an array of dtype {array.dtype}.")
    if isinstance(given, np.ma.MaskedArray):
        raise DtypeError(f"{must} as a plain array. Got a masked array.")
    return array


def _check_kept(cell: Cell, kept: Kept, batch: int) -> None:
    for name, part in kept.items():
        must = (
            f"step of the cell {cell.name!r} must keep {name!r} as an array with one row per sequence, ({batch}, ...)"
        )
        if not isinstance(name, str) or not isinstance(part, np.ndarray):
            raise DtypeError(f"{must}, named by a text. Got {checks.describe(part)}.")
        if part.ndim == 0 or len(part) != batch:
            raise ShapeError(f"{must}. Got {part.shape}.")
        _lock(part)


def _listed(names: Any) -> str:
    """Names as the tuple of what they name."""
    return f"({', '.join(names)}{',' if len(names) == 1 else ''})"


def _wrong_parts(cell: Cell, function: str, wanted: str, given: Any) -> ShapeError:
    return ShapeError(f"{function} of the cell {cell.name!r} must return {wanted}. Got {_form(given)}.")


def _form(given: Any, depth: int = 1) -> str:
    """What a function returned, in words that tell its parts."""
    if isinstance(given, (tuple, list)) and depth >= 0:
        return f"a {type(given).__name__} of {len(given)}: ({', '.join(_form(part, depth - 1) for part in given[:4])})"
    return checks.describe(given)


def _explain(error: Exception, call: Callable[..., Any], function: str, cell: Cell, arguments: tuple[Any, ...]) -> None:
    """Raises in words what NumPy says of a function that writes into an array it was given, or returned before."""
    if "read-only" not in str(error):
        return
    names: list[list[str]] = [["x"], [*cell.states], [*cell.weights]]
    if function == "step_derivative":
        names += [[f"{name!r} of kept" for name in arguments[3]], [f"d{name}" for name in cell.states]]
    names += [["the mask"]]
    # Which one it is shows where the function may write: into others of the same form.
    twins = [_twin(argument, np.random.default_rng(0)) for argument in arguments]
    parts = [part for twin in twins for part in _parts(twin)]
    before = [part.copy() for part in parts]
    with contextlib.suppress(Exception):
        call(*twins)
    flat = [name for group in names[: len(twins)] for name in group]
    changed = [name for name, a, b in zip(flat, before, parts, strict=True) if not np.array_equal(a, b, equal_nan=True)]
    raise ValueError(
        f"{function} of the cell {cell.name!r} must make new arrays and change none that it was given or returned "
        f"before. Got one that changes {', '.join(changed) or 'what it returned before'}."
    ) from error


def _twin(argument: Any, rng: np.random.Generator) -> Any:
    """An argument of the same form that can be written into, with other numbers."""
    if isinstance(argument, dict):
        return {name: _twin(part, rng) for name, part in argument.items()}
    if isinstance(argument, tuple):
        return tuple(_twin(part, rng) for part in argument)
    return rng.uniform(0.1, 0.9, argument.shape).astype(argument.dtype)


def _parts(argument: Any) -> list[Array]:
    if isinstance(argument, dict):
        return list(argument.values())
    return list(argument) if isinstance(argument, tuple) else [argument]
