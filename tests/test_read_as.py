"""What `Forecaster.read_as` says of gaps, in the series and in the columns beside them, counted by a loop."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from elman import Forecaster

TINY = {"horizon": 2, "window": 4, "hidden": 2, "epochs": 1, "random_state": 0, "fill": "forward"}


def told(columns):
    """The words for columns (time, columns) with gaps: steps without a value in any column that has begun."""
    begins = [int(np.flatnonzero(~np.isnan(column))[0]) for column in columns.T]
    runs, length = [], 0
    for step in range(len(columns) + 1):
        if step < len(columns) and any(
            step > first and np.isnan(column[step]) for column, first in zip(columns.T, begins, strict=True)
        ):
            length += 1
        elif length:
            runs.append(length)
            length = 0

    def steps(counts):
        low, high = min(counts), max(counts)
        return f"{low} step{'s' * (low > 1)}" if low == high else f"{low} to {high} steps"

    late = [first for first in begins if first]
    words = [f"{len(runs)} gap{'s' * (len(runs) > 1)} of {steps(runs)} filled forward"] if runs else []
    noun = "series" if columns.shape[1] == 1 else f"column{'s' * (len(late) > 1)}"
    return words + ([f"{steps(late)} before the first value of {len(late)} {noun} masked"] if late else [])


@pytest.mark.parametrize("seed", range(20))
def test_gaps_are_told_where_they_are(seed):
    rng = np.random.default_rng([seed, 5])
    columns = rng.normal(size=(40, int(rng.integers(1, 4))))
    columns[rng.random(columns.shape) < rng.choice([0, 0.02, 0.1])] = np.nan
    if seed % 2:
        columns[: rng.integers(1, 4), rng.integers(0, columns.shape[1])] = np.nan
    beside = dict(zip(("exogenous", "past"), columns.T[1:], strict=False))
    words = Forecaster(**TINY).fit(columns[:, 0], **beside).read_as.split("; ")
    assert [word for word in words if "filled" in word or "masked" in word] == told(columns)
