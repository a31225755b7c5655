"""From whatever the user gives, arrays or a table, to a panel."""

from __future__ import annotations

from typing import Any

from elman import checks
from elman.checks import Array
from elman.tables import long as tables
from elman.tables.long import Roles, TableForm, is_table, read_table
from elman.tables.panel import FILLS, Form, Gaps, Panel, read_arrays, read_columns


def read(series: Any, exogenous: Any, past: Any, names: tuple[Any, str | None, str | None], fill: Any) -> Panel:
    """The user's series as a panel; `names` are the columns target, time and id of a table."""
    fill = _fill(fill)
    if is_table(series):
        target, time, identity = names
        columns = (_names(role, given) for role, given in (("exogenous", exogenous), ("past", past)))
        return read_table(series, Roles(_names("target", target), time, identity, *columns), fill)
    for name, value in zip(("target", "time", "id"), names, strict=True):
        if value is not None:
            raise ValueError(f"{name} must be left out where series is no table. Got {checks.show(value)}.")
    return read_arrays(series, exogenous, past, fill)


def read_like(form: Form, series: Any, exogenous: Any, past: Any, fill: Any) -> Panel:
    """Series in the form of those before; a table has the same columns."""
    if isinstance(form, TableForm) != is_table(series):
        want = "a table" if isinstance(form, TableForm) else "arrays"
        raise TypeError(f"series must be {want}, as in fit. Got {checks.describe(series)}.")
    if isinstance(form, TableForm):
        return read_table(series, form.roles, _fill(fill))
    return read_arrays(series, exogenous, past, _fill(fill))


def read_future(form: Form, future: Any, horizon: int, count: int, fill: Any) -> list[Array]:
    """The columns known ahead, (horizon, K) for each of `count` series of that form."""
    if isinstance(form, TableForm):
        if not is_table(future):
            raise TypeError(f"future must be a table, as the series were. Got {checks.describe(future)}.")
        return tables.read_future(future, form, horizon, _fill(fill))
    return read_columns("future", future, [horizon] * count, form.many, Gaps(_fill(fill), some=False))


def _fill(value: Any) -> str | None:
    return None if value is None else checks.choice("fill", value, FILLS)


def _names(role: str, given: Any) -> tuple[str, ...]:
    """One column, several, or none."""
    if given is None:
        return ()
    names = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, (list, tuple)) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise TypeError(
            f"{role} must be the name of a column of the table, or a list of names. Got {checks.show(given)}."
        )
    return names
