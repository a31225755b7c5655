"""Small tables of a trace: mappings of names to rows of numbers, that print as what they say."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from elman import checks
from elman.cells.activations import bounded
from elman.insight.naming import Numbers
from elman.insight.walks import TracedLayer
from elman.options import ReadOnly
from elman.sequences import step_numbers


class _Rows(ReadOnly):
    """Names, each with a row of numbers."""

    _WORDS = "a table of a trace cannot be changed; dict(table) can"


class Norms(_Rows):
    """The norm of states and gradients at each step; see `elman.insight.tracing.Trace.norms`."""

    def __repr__(self) -> str:
        """A row per name, at five steps from the first to the last."""
        lines = [["", "first", "1/4", "1/2", "3/4", "last"]]
        for name, row in self.items():
            last = len(row) - 1
            lines.append([name, *(f"{row[last * k // 4]:.2e}" for k in range(5))])
        return _table("norm at a step", lines)


class Saturation(_Rows):
    """The share of steps at which a unit of a gate cannot move; see `elman.insight.tracing.Trace.saturation`."""

    def __repr__(self) -> str:
        """A row per gate: the mean, how many units sit there at more than half of the steps, and the worst one."""
        lines = [["", "mean", "units over half", "most"]]
        for name, row in self.items():
            worst = f"{row.max():.0%} at unit {int(row.argmax())}"
            lines.append([name, f"{row.mean():.0%}", f"{int((row > 0.5).sum())} of {len(row)}", worst])
        return _table("share of steps at which a gate cannot move", lines)


def norms(found: Mapping[str, Numbers]) -> Norms:
    """See `elman.insight.tracing.Trace.norms`."""
    rows = {}
    for name, numbers in found.items():
        layout, values = numbers.layout, numbers.rows().astype(np.float64)
        if layout is not None and layout.lengths is not None:
            squares = np.square(values).reshape(len(values), -1).sum(1)
            rows[name] = np.sqrt(np.bincount(step_numbers(layout.rows), squares, minlength=layout.time))
    return Norms(rows)


def saturation(layers: Collection[TracedLayer], limit: float) -> Saturation:
    """See `elman.insight.tracing.Trace.saturation`."""
    checks.number("limit", limit, 0, 1)
    rows = {}
    for one in layers:
        names = one.names()
        for gate in one.cell.gates:
            name = f"{gate}_new" if gate in one.zoned else gate
            if gate in one.cell.activations and name in names:
                act = bounded(one.cell.activations[gate], one.cell.options.get("clip"))
                steepest = np.abs(act.derivative(act(np.linspace(-8, 8, 4001)))).max()
                flat = np.abs(act.derivative(one.values(name))) <= limit * steepest
                rows[one.path(name)] = flat.mean(0)
    return Saturation(rows)


def frame(found: Mapping[str, Numbers]) -> Any:
    """See `elman.insight.tracing.Trace.to_frame`."""
    try:
        import pandas  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        raise checks.MissingExtraError("to_frame must have pandas installed: pip install pandas") from None
    tables = []
    for name, (layout, compute) in found.items():
        if layout is None:
            raise ValueError(f"names must be of numbers of each sequence. Got {name!r}, a share of a weight.")
        rows = compute()
        rows = rows.reshape(len(rows), -1)
        width = rows.shape[1]
        columns = {
            "name": name,
            "sequence": np.repeat(np.arange(layout.count), layout.rows * width),
            "step": step_numbers(layout.rows).repeat(width),
            "unit": np.tile(np.arange(width), len(rows)),
            "value": rows.ravel(),
        }
        tables.append(pandas.DataFrame(columns))
    return pandas.concat(tables, ignore_index=True)


def _table(title: str, lines: list[list[str]]) -> str:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rows = [
        "  ".join([f"  {line[0]:<{widths[0]}}", *(f"{c:>{w}}" for c, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    ]
    return "\n".join([title, *rows])
