"""From whatever the user gives, arrays, a table or a list of tables, to a panel."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from elman import checks
from elman.checks import Array, ShapeError
from elman.tables.beside import read_beside
from elman.tables.frames import Frame, check_no_groups, is_table
from elman.tables.long import BESIDE, TableForm, TablesForm, read_table, tables_of
from elman.tables.panel import FILLS, DataForm, Gaps, Panel, read_arrays, read_columns
from elman.tables.places import few, has, is_collection, show


def read(series: Any, exogenous: Any, past: Any, names: tuple[Any, Any, Any], fill: Any, freq: Any = None) -> Panel:
    """The user's series as a panel; `names` are the columns target, time and id of a table."""
    fill = None if fill is None else checks.choice("fill", fill, FILLS)
    said = dict(zip(("target", "time", "id"), names, strict=True))
    beside = {"exogenous": exogenous, "past": past}
    tables = _tables(series)
    if tables is None:
        for name, value in {**said, "freq": freq}.items() if is_collection(series) else ():
            if value is not None:
                raise ValueError(f"{name} must be left out where series is no table. Got {show(value)}.")
        return read_arrays(series, exogenous, past, fill)
    one = not isinstance(series, (list, tuple))
    if not one and said["id"] is not None:
        raise ValueError(f"id must be left out of a list of tables, one per series. Got {show(said['id'])}.")
    given = _each(tables, beside, one)
    longest = max(range(len(tables)), key=lambda i: len(tables[i]) if has(type(tables[i]), "__len__") else 0)
    rest, gaps = [*given[:longest], *given[longest + 1 :]], Gaps(fill, not one)
    panel = _read_one(*given[longest], said, freq, gaps, None, rest)  # its clock is that of all
    panels = [_read_one(*part, said, freq, gaps, tables_of(panel.form)[0]) for part in rest]
    panels.insert(longest, panel)
    return _together(panels, one, fill)


def read_like(
    form: DataForm, series: Any, exogenous: Any, past: Any, fill: str | None, again: Mapping[str, Any]
) -> Panel:
    """Series in the form of those before; a table has the same columns, also where they are named `again`."""
    tables, beside = _tables(series), {"exogenous": exogenous, "past": past}
    like = next(iter(tables_of(form)), None)
    if (like is None) != (tables is None):
        want = "arrays" if like is None else "a table" if isinstance(form, TableForm) else "tables"
        raise TypeError(f"series must be {want}, as in fit. Got {checks.describe(series)}.")
    for role, value in {**again, **({} if like is None else beside)}.items():
        before = None if like is None else like.said[role]
        same = type(value) is type(before) and not hasattr(value, "shape") and value == before
        if (
            value is not None
            and not same
            and not any(map(is_table, value if isinstance(value, (list, tuple)) else [value]))
        ):
            raise ValueError(f"{role} must be left out, or be that of fit. Got {show(value)}.")
    if like is None or tables is None:
        return read_arrays(series, exogenous, past, fill)
    one = not isinstance(series, (list, tuple))
    panels = [_read_one(*part, {}, None, Gaps(fill, not one), like) for part in _each(tables, beside, one)]
    return _together(panels, one, fill)


def read_future(form: DataForm, future: Any, horizon: int, count: int, fill: str | None) -> list[Array]:
    """The columns known ahead, (horizon, K) for each of `count` series of that form; NaN where there is none."""
    gaps = Gaps(fill, some=False)
    if isinstance(form, TableForm):
        if not is_table(future):
            raise TypeError(f"future must be a table, as the series were. Got {checks.describe(future)}.")
        return read_beside(form, Frame.read("future", future), form.columns["exogenous"], gaps, horizon)[0]
    if isinstance(form, TablesForm):
        tables = [future] * count if is_table(future) else _tables(future, "future")
        if tables is None or len(tables) != count:
            raise TypeError(f"future must be a list of {count} tables, one per series. Got {checks.describe(future)}.")
        return [
            part
            for own, table in zip(form.forms, tables, strict=True)
            for part in read_future(own, table, horizon, 1, fill)
        ]
    return read_columns("future", future, [horizon] * count, form.many, gaps)


def known_before(panel: Panel, ends: Sequence[int]) -> Panel:
    """The panel without the categories of columns beside the series that come in no row before the ends.

    A network that is trained on these rows must not know that others came later; to it they are none of its categories.
    """
    tables = tables_of(panel.form)
    later: list[str] = []
    for role in BESIDE if tables else ():
        columns, parts = tables[0].columns[role], panel.known if role == "exogenous" else panel.past
        kept = ~columns.of_categories
        for part, end in zip(parts, ends, strict=True):
            kept |= (part[:end] == 1).any(axis=0)
        if kept.all():
            continue
        later += [str(name) for name, stays in zip(columns.names, kept, strict=True) if not stays]
        tables = tuple(replace(t, columns={**t.columns, role: columns.chosen(kept)}) for t in tables)
        parts = [part[:, kept] for part in parts]
        panel = replace(panel, known=parts) if role == "exogenous" else replace(panel, past=parts)
    if not later:
        return panel
    warnings.warn(
        f"categories must come before start to be learned. Got {few(later, 3, str)} after it: read "
        " as none of the others.",
        UserWarning,
        stacklevel=3,
    )
    return replace(panel, form=tables[0] if isinstance(panel.form, TableForm) else TablesForm(tables))


def _tables(series: Any, name: str = "series") -> list[Any] | None:
    """The tables of a table or a list of them; None where there are none."""
    check_no_groups(name, series)
    if is_table(series):
        return [series]
    if not isinstance(series, (list, tuple)) or not any(is_table(part) for part in series):
        return None
    for i, part in enumerate(series):
        if not is_table(part):
            raise TypeError(f"series[{i}] must be a table, as the others are. Got {checks.describe(part)}.")
    return list(series)


def _each(tables: Sequence[Any], beside: Mapping[str, Any], one: bool) -> list[tuple[str, Any, dict[str, Any]]]:
    """What errors call each table, the table, and the columns beside it: names, a table of its own, or one for all."""
    parts = [dict(beside) for _ in tables]
    for role, value in beside.items():
        if not isinstance(value, (list, tuple)) or not value or not all(map(is_table, value)):
            continue
        if one or len(value) != len(tables):
            raise ShapeError(f"{role} must be a table, or {len(tables)} of them, one per series. Got {len(value)}.")
        for part, own in zip(parts, value, strict=True):
            part[role] = own
    names = ["the table"] if one else [f"series[{i}]" for i in range(len(tables))]
    return list(zip(names, tables, parts, strict=True))


def _read_one(
    name: str, table: Any, beside: Mapping[str, Any], said: Mapping[str, Any], freq: Any, gaps: Gaps,
    like: TableForm | None, rest: Sequence[tuple[str, Any, Mapping[str, Any]]] = (),
) -> Panel:  # fmt: skip
    """One table, and the tables beside it, joined on its time; the `rest` of a list may have more categories."""
    joined = {role: value for role, value in beside.items() if is_table(value)}
    named = {role: None if role in joined else value for role, value in beside.items()}
    for role in named:
        if like is not None and role in like.joined and role not in joined:
            raise ValueError(f"{role} must be a table, as in fit. Got {show(named[role])}.")
    others = [Frame.read(title, other) for title, other, _ in rest]
    panel = read_table(name, table, {**said, **named}, freq, gaps, like, others)
    (form,) = tables_of(panel.form)
    for role, value in joined.items():
        if like is not None and role not in like.joined:
            raise ValueError(f"{role} must be left out: its columns are those of fit. Got {checks.describe(value)}.")
        frame, before = Frame.read(role, value), None if like is None else like.columns[role]
        others = [Frame.read(role, part[role]) for *_, part in rest if is_table(part[role]) and part[role] is not value]
        parts, columns, extra = read_beside(form, frame, before, gaps, others=others)
        form = replace(
            form, columns={**form.columns, role: columns}, joined=(*form.joined, role), extra=form.extra + extra
        )
        panel = replace(panel, known=parts) if role == "exogenous" else replace(panel, past=parts)
    return replace(panel, form=form)


def _together(panels: Sequence[Panel], one: bool, fill: str | None) -> Panel:
    """The panels of a list of tables as one."""
    if one:
        return replace(panels[0], fill=fill)
    forms = tuple(form for panel in panels for form in tables_of(panel.form))
    for form in forms:
        if len(form.labels) > 1:
            by = few(form.roles.id)
            raise ValueError(f"{form.called} must be one series, in a list of them. Got {len(form.labels)} by {by}.")
    values, known, past = (
        [part for panel in panels for part in getattr(panel, role)] for role in ("values", "known", "past")
    )
    return Panel(values, known, past, TablesForm(forms), fill)
