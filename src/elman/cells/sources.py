"""Where a cell stands in the source: its equations as text, and the lines of its functions."""

from __future__ import annotations

import functools
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from elman.cells.cell import Cell, Given


def equations(cell: Cell) -> str:
    """The equations of a cell as text: of the library's the opening of its file, of one's own its functions."""
    functions = {"step": inside(cell.step), "step_derivative": inside(cell.step_derivative)}
    places = {name: _place(function) for name, function in functions.items()}
    if isinstance(cell.step, Given):
        opening = inspect.getdoc(inspect.getmodule(functions["step"])) or ""
        return "\n".join([opening, "", *(f"{name:<15}  {place}" for name, place in places.items())])
    lines = [f"The equations of the cell {cell.name!r} are its functions."]
    for name, function in functions.items():
        try:
            source = textwrap.dedent(inspect.getsource(function)).rstrip()
        except (OSError, TypeError):
            source = "Its source is not at hand."
        lines += ["", f"{name}, {places[name]}", "", textwrap.indent(source, "    ")]
    return "\n".join(lines)


def inside(function: Any) -> Callable[..., Any]:
    """The function itself, without arguments that are given to it."""
    while isinstance(function, (Given, functools.partial)):
        function = function.function if isinstance(function, Given) else function.func
    found: Callable[..., Any] = inspect.unwrap(function)
    return found


def _place(function: Callable[..., Any]) -> str:
    try:
        return f"{inspect.getsourcefile(function)}, line {inspect.getsourcelines(function)[1]}"
    except (OSError, TypeError):  # typed into an interpreter, or no function in Python
        return "typed in" if inspect.isfunction(function) else f"of the class {type(function).__name__}"
