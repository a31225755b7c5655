"""What `Forecaster.read_as` says of gaps, in the series and in the columns beside them, counted by a loop."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from elman import Forecaster

TINY = {"horizon": 2, "window": 4, "hidden": 2, "epochs": 1, "random_state": 0, "fill": "forward"}


def told(columns, noun):
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
    noun = noun if noun == "series" or len(late) == 1 else "columns"
    return words + ([f"{steps(late)} before the first value of {len(late)} {noun} masked"] if late else [])


@pytest.mark.parametrize("seed", range(20))
def test_gaps_are_told_where_they_are(seed):
    rng = np.random.default_rng([seed, 5])
    parts = [rng.normal(size=(40, int(rng.integers(1, 3)))) for _ in range(3)]
    for part in parts:
        part[rng.random(part.shape) < rng.choice([0, 0.02, 0.1])] = np.nan
        if rng.random() < 0.5:
            part[: rng.integers(1, 4), rng.integers(0, part.shape[1])] = np.nan
    words = Forecaster(**TINY).fit(parts[0], exogenous=parts[1], past=parts[2]).read_as.split("; ")
    variables = f" of {parts[0].shape[1]} variables" * (parts[0].shape[1] > 1)
    want = [f"1 series{variables}, 40 steps", *told(parts[0], "column" if variables else "series")]
    for part, when in zip(parts[1:], ("known ahead", "known up to the present"), strict=True):
        held = f"{part.shape[1]} column{'s' * (part.shape[1] > 1)} {when}"
        want.append(", ".join([held, *told(part, "column")]))
    assert words == want
