"""How series were read, in words: what `Forecaster.read_as` says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from elman.checks import Array
from elman.tables.clock import Clock
from elman.tables.long import TableForm, tables_of
from elman.tables.panel import Panel
from elman.tables.places import counted, few
from elman.tables.zones import zone_name

FILLED = {"forward": "filled forward", "interpolate": "filled by interpolation"}


def describe(panel: Panel, left_out: Sequence[str] = ()) -> str:
    """One line: the series and their id, the clock, gaps and how they are filled, the columns beside, what was left."""
    tables = tables_of(panel.form)
    clock = tables[0].clock if tables else None
    told = [", ".join([_count(panel, tables), *_time(panel, tables)])]
    told += _gaps(panel.values, panel.fill, clock, "series" if panel.widths[0] == 1 else "column")
    for role, parts, word in (
        ("exogenous", panel.known, "known ahead"),
        ("past", panel.past, "known up to the present"),
    ):
        if width := parts[0].shape[1]:
            held = tables[0].columns[role].describe() if tables else counted(width, "column")
            told.append(", ".join([f"{held} {word}", *_gaps(parts, panel.fill, clock, "column")]))
    if tables and tables[0].roles.unread:
        told.append(f"{few(tables[0].roles.unread, 6, str)} not read")
    if any(table.unsorted for table in tables):
        told.append("rows put in the order of time")
    if extra := sum(table.extra for table in tables):
        told.append(f"{counted(extra, 'row')} beside the series on none of their steps, not read")
    told += [f"left out, too short: {', '.join(left_out)}"] if left_out else []
    return "; ".join(told)


def _count(panel: Panel, tables: Sequence[TableForm]) -> str:
    count, variables = len(panel.values), panel.values[0].shape[1]
    text = counted(count, "series")
    if tables and tables[0].roles.id:
        text += f" by {', '.join(map(str, tables[0].roles.id))}"
    if tables and not tables[0].frame.single:
        text += f" of {few(tables[0].roles.target, 6, str)}"
    elif variables > 1:
        text += f" of {counted(variables, 'variable')}"
    return text


def _time(panel: Panel, tables: Sequence[TableForm]) -> list[str]:
    """From when to when, in which steps and zone; or how many steps."""
    timelines = [timeline for table in tables for timeline in table.timelines]
    if not timelines:
        lengths = [len(values) for values in panel.values]
        low, high = min(lengths), max(lengths)
        return [f"{low:,} steps" if low == high else f"{low:,} to {high:,} steps"]
    clock = timelines[0].clock
    firsts, lasts = [timeline.first for timeline in timelines], [timeline.last for timeline in timelines]
    first = min(firsts)
    told = [f"{clock.adverb()} from {clock.show(first)} to {clock.show(max(lasts))}"]
    zones = [table.clock.zone for table in tables if table.clock is not None and table.clock.zone is not None]
    told += [" and ".join(dict.fromkeys(map(zone_name, zones)))] if zones else []
    late = sum(other > first for other in firsts)
    return [*told, f"{counted(late, 'series')} starting later"] if late else told


def _gaps(parts: Sequence[Array], fill: str | None, clock: Clock | None, noun: str) -> list[str]:
    """How long gaps in some columns of each series are, and what stands before their first values."""
    runs: list[int] = []
    leading: list[int] = []
    for part in parts:
        missing = np.isnan(part)
        if not missing.any():
            continue
        begins = np.where(missing.all(axis=0), len(missing), missing.argmin(axis=0))
        leading += [int(begin) for begin in begins if begin]
        inside = (missing & (np.arange(len(missing))[:, None] >= begins)).any(axis=1)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
        runs += (edges[1::2] - edges[::2]).tolist()
    told = []
    if runs:
        verb = FILLED.get(fill or "", "")
        told.append(f"{counted(len(runs), 'gap')} of {_steps(runs, clock)} {verb}".rstrip())
    if leading:
        told.append(f"{_steps(leading, clock)} before the first value of {counted(len(leading), noun)} masked")
    return told


def _steps(lengths: Sequence[int], clock: Clock | None) -> str:
    """How long runs are, in the unit of the clock where that is one."""
    low, high = min(lengths), max(lengths)
    step = "1 step" if clock is None else clock.describe()
    unit = step[2:] if step.startswith("1 ") else "step"
    return counted(low, unit) if low == high else f"{low:,} to {counted(high, unit)}"
