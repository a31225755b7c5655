"""Small data sets that come with the library; their licenses allow it plainly."""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from elman.checks import Array


def sunspots() -> tuple[Array, Array]:
    """The yearly sunspot numbers from 1700 to 2008: years (309,), int64, and numbers (309,), float64.

    Source: the statsmodels package, `statsmodels/datasets/sunspots`, which took them from the National Geophysical
    Data Center; stated there to be in the public domain.

    >>> years, numbers = sunspots()
    >>> years[0].item(), years[-1].item(), numbers[0].item(), numbers[-1].item()
    (1700, 2008, 5.0, 2.9)
    """
    with files(__name__).joinpath("sunspots_yearly.csv").open(encoding="utf-8") as file:
        table = np.loadtxt(file, delimiter=",", skiprows=1)
    return table[:, 0].astype(np.int64), table[:, 1].copy()
