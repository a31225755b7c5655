"""The layouts of five notebooks that write a recurrent network by hand; their output layers are no part of the cell."""

from __future__ import annotations

from typing import Any

from elman import CONVENTIONS, Convention

_APART: dict[str, Any] = {"stacked": "hx", "per_gate": True, "gate_labels": {"g": "c"}}

_TABLE = (
    Convention("book-0", gates={"lstm": "ifog", "rnn": "h"}, bias_shape="row", by_cell={"lstm": {"stacked": "xh"}}),
    Convention("book-1", gates={"rnn": "h"}),
    Convention(
        "book-2",
        orientation="columns",
        gates={"lstm": "ifgo", "rnn": "h"},
        bias_shape="column",
        by_cell={"lstm": _APART, "rnn": {"weight_names": ("Wax", "Waa"), "bias_names": ("ba",)}},
    ),
    Convention("book-3", orientation="columns", gates={"rnn": "h"}, bias_shape="column"),
    Convention("book-4", orientation="columns", gates={"lstm": "ifgo"}, **_APART),
)

NOTEBOOKS = {convention.name: convention for convention in _TABLE}

#: These beside those of the library.
EVERY_CONVENTION = {**CONVENTIONS, **NOTEBOOKS}


def as_given(name: str) -> str | Convention:
    """A convention as `from_arrays` takes it: by its name, or as itself where the library has none of the name."""
    return NOTEBOOKS.get(name, name)
