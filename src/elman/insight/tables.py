"""Small tables of a trace: mappings of names to rows of numbers, that print as what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from elman.checks import Array


class _Rows(Mapping[str, Array]):
    """Names, each with a row of numbers; immutable."""

    def __init__(self, rows: Mapping[str, Array]) -> None:
        self._rows = dict(rows)

    def __getitem__(self, name: str) -> Array:
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


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


def _table(title: str, lines: list[list[str]]) -> str:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rows = [
        "  ".join([f"  {line[0]:<{widths[0]}}", *(f"{c:>{w}}" for c, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    ]
    return "\n".join([title, *rows])
