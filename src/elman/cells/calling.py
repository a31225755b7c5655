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
from elman.cells.cell import Arrays, Cell, Given, Kept
from elman.checks import Array, DtypeError, ShapeError, listed

Zones: TypeAlias = tuple[Array | float, ...]

#: ``lock(array, False)``: it can no longer be written into. By keyword it would take twice as long.
lock: Callable[[Array, bool], None] = np.ndarray.setflags  # type: ignore[assignment]


def advance(
    cell: Cell,
    x: Array,
    state: Arrays,
    weights: Arrays,
    mask: tuple[Array, ...] = (),
    zones: Zones | None = None,
    keep: bool = False,
    step: Callable[..., Any] | None = None,
) -> tuple[Arrays, Kept]:
    """One step: the next states, (B, width) each in the order of C and in the dtype of the weights, and what is kept.

    x (B, I), `state` and `weights` can no longer be written into. `mask` is empty where there is none. Without `keep`,
    what the cell keeps is not looked at. `step` stands in the place of the cell's own.
    """
    for given in (x, *state):
        lock(given, False)
    try:
        results = (step or cell.step)(x, state, weights, *mask)
    except (ValueError, TypeError) as error:
        _explain(error, cell.step, "step", cell, (x, state, weights, *mask))
        raise
    if not (_has(results, 2, True) and _has(results[0], len(state)) and isinstance(results[1], dict)):
        wanted = f"next_state, kept: the tuple {listed(cell.states)} and a dict of arrays"
        raise ShapeError(f"step of the cell {cell.name!r} must return {wanted}. Got {_form(results)}.")
    after, kept = _states(cell, "step", "the next state", results[0], state), results[1]
    if keep:
        kept = _kept(cell, kept, len(x))
    if zones is not None:  # zoneout: s' = z s + (1 - z) s_new
        after = tuple(z * old + (1 - z) * new for old, new, z in zip(state, after, zones, strict=True))
    return after, kept


def look(
    cell: Cell, x: Array, state: Arrays, weights: Arrays, mask: tuple[Array, ...] = ()
) -> tuple[Arrays, Kept, Kept]:
    """One step as `advance` takes it: the next states before zoneout, what is kept, and what has a name besides."""
    step, more = _noting(cell.step, 2)
    after, kept = advance(cell, x, state, weights, mask, keep=True, step=step)
    return after, kept, _kept(cell, more, len(x))


def look_back(
    cell: Cell,
    x: Array,
    state: Arrays,
    weights: Arrays,
    kept: Kept,
    dnext: Arrays,
    mask: tuple[Array, ...] = (),
) -> tuple[Array, Arrays, Arrays, Kept]:
    """What `go_back` gives, and the gradients that the cell gives by name, as they are."""
    derivative, by_name = _noting(cell.step_derivative, 3)
    return *go_back(cell, x, state, weights, kept, dnext, mask, derivative), by_name


def _noting(function: Callable[..., Any], count: int) -> tuple[Callable[..., Any], Kept]:
    """A function of a cell, and a dict that fills with what it returns by name after so many values."""
    more: Kept = {}
    whole = function.whole if isinstance(function, Given) else function

    def noting(*given: Any) -> Any:
        results = whole(*given)
        if _has(results, count, True) and len(results) > count:
            more.update(results[count])
        return results

    return noting, more


def go_back(
    cell: Cell,
    x: Array,
    state: Arrays,
    weights: Arrays,
    kept: Kept,
    dnext: Arrays,
    mask: tuple[Array, ...] = (),
    derivative: Callable[..., Any] | None = None,
) -> tuple[Array, Arrays, Arrays]:
    """The derivative of one step: the gradients of x, of every state, and of every weight, in their shapes."""
    for given in (x, *dnext):
        lock(given, False)
    try:
        results = (derivative or cell.step_derivative)(x, state, weights, dict(kept), dnext, *mask)
    except (ValueError, TypeError) as error:
        _explain(error, cell.step_derivative, "step_derivative", cell, (x, state, weights, kept, dnext, *mask))
        raise
    if not (_has(results, 3, True) and _has(results[1], len(state)) and _has(results[2], len(weights))):
        wanted = f"dx, dstate, dweights: one gradient each for x, {listed(cell.states)} and {listed(cell.weights)}"
        raise ShapeError(f"step_derivative of the cell {cell.name!r} must return {wanted}. Got {_form(results)}.")
    (dx, dstate, dweights), odd = results[:3], False
    for part, own in zip((dx, *dweights), (x, *weights), strict=True):
        odd = odd or type(part) is not np.ndarray or part.shape != own.shape or part.dtype is not own.dtype
    if odd:
        dx, *dweights = [
            _checked(cell, "step_derivative", "the gradient of", name, part, own.shape)
            for name, part, own in zip(("x", *cell.weights), (dx, *dweights), (x, *weights), strict=True)
        ]
    return dx, _states(cell, "step_derivative", "the gradient of", dstate, state), tuple(dweights)


def one_step(cell: Cell, x: Any, state: tuple[Any, ...], weights: tuple[Any, ...]) -> Arrays:
    """The next states of a user's arrays, x (batch, input) or (input,), in float64 unless all are float32."""
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
    parts = [tuple([arrays[name] for name in names]) for names in (cell.states, cell.weights)]
    after: Arrays = cell.step(arrays["x"], *parts)[0]
    return after


def locked(weights: Arrays) -> Arrays:
    """Views of weights that cannot be written into, as a cell is given them."""
    views = tuple([w.view() for w in weights])
    for view in views:
        lock(view, False)
    return views


def _has(value: Any, count: int, more: bool = False) -> bool:
    """Whether a value is so many in a row; with `more` a dict, for whoever looks, may stand after them."""
    if not (type(value) is tuple or isinstance(value, list)):
        return False
    return len(value) == count or (more and len(value) == count + 1 and isinstance(value[count], dict))


def _states(cell: Cell, function: str, what: str, given: Any, like: Arrays) -> Arrays:
    """The arrays that a function returned for states: in the dtype and shape of these, in the order of C."""
    for part, s in zip(given, like, strict=True):
        as_is = type(part) is np.ndarray and part.shape == s.shape and part.dtype is s.dtype and part.base is None
        if not (as_is and part.flags.c_contiguous):
            break
    else:
        return tuple(given)
    return tuple(
        # A view is copied: its memory may be written into all the same.
        np.array(_checked(cell, function, what, name, part, s.shape), s.dtype, order="C")
        for name, part, s in zip(cell.states, given, like, strict=True)
    )


def _checked(cell: Cell, function: str, what: str, name: str, given: Any, shape: tuple[int, ...]) -> Array:
    """One array that a function of a cell returned."""
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


def _kept(cell: Cell, kept: Kept, batch: int) -> Kept:
    """What a step keeps, which can no longer be written into, in a dict of its own."""
    found = {}
    for name, part in kept.items():
        named = isinstance(name, str) and isinstance(part, np.ndarray)
        if not named or part.shape[:1] != (batch,):
            wanted = f"an array with one row per sequence, ({batch}, ...){'' if named else ', named by a text'}"
            must = f"step of the cell {cell.name!r} must keep {name!r} as {wanted}"
            raise (ShapeError if named else DtypeError)(
                f"{must}. Got {part.shape if named else checks.describe(part)}."
            )
        own = part if part.base is None else np.array(part)  # the memory of a view may be written into all the same
        lock(own, False)
        found[name] = own
    return found


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
    # Which one it is shows where the function may write: into others of the same form, with other numbers.
    rng, parts = np.random.default_rng(0), []

    def twin(argument: Any) -> Any:
        if isinstance(argument, dict):
            return {name: twin(part) for name, part in argument.items()}
        if isinstance(argument, tuple):
            return tuple([twin(part) for part in argument])
        parts.append(rng.uniform(0.1, 0.9, argument.shape).astype(argument.dtype))
        return parts[-1]

    twins = [twin(argument) for argument in arguments]
    before = [part.copy() for part in parts]
    with contextlib.suppress(Exception):
        call(*twins)
    flat = [name for group in names[: len(twins)] for name in group]
    changed = [name for name, a, b in zip(flat, before, parts, strict=True) if not np.array_equal(a, b, equal_nan=True)]
    none = "none that it was given or returned before"
    must = f"{function} of the cell {cell.name!r} must make new arrays and change {none}"
    raise ValueError(f"{must}. Got one that changes {', '.join(changed) or 'what it returned before'}.") from error
