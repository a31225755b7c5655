"""What `elman.attribution` gives: arrays of shares, and lists of them, that can be drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from elman import checks
from elman.checks import Array

if TYPE_CHECKING:
    import os


class _Shares:
    """What shares know besides their numbers."""

    difference: Any = None  #: F(x) - F(baseline) of each sequence, (batch,), or of the only one
    target: Any = None  #: which output F was

    def plot(
        self, text: Any = None, *, sequence: int = 0, features: Any = None, path: str | os.PathLike[str] | None = None
    ) -> Any:
        """Draws the shares of one sequence; see `elman.plots.attribution`."""
        from elman.insight import plots

        one: Any = self
        if np.ndim(self.difference):  # of several
            count = len(one)
            if not checks.is_whole(sequence) or not -count <= sequence < count:
                must = f"sequence must be a whole number from {-count} to {count - 1}"
                raise ValueError(f"{must}. Got {checks.show(sequence)}.")
            one = one[sequence]
        return plots.attribution(one, text, features=features, path=path)


class Attribution(_Shares, np.ndarray[Any, Any]):
    """What `elman.attribution` gives for one array: the share of every value of x in the output, in the form of x.

    It is an array, whose results are plain arrays. `difference` (batch,) is F(x) - F(baseline) of each sequence, a
    number for one, `target` which output F was.
    """

    def __new__(cls, values: Array, difference: Any, target: Any) -> Self:
        found = np.asarray(values).view(cls)
        found.difference, found.target = difference, target
        return found

    def __array_finalize__(self, whole: Any) -> None:
        if isinstance(whole, Attribution) and whole.shape == self.shape:
            self.difference, self.target = whole.difference, whole.target

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return np.asarray(array)[()]  # a sum or a product of shares is no attribution

    @property
    def values(self) -> Array:
        """The shares as a plain array."""
        return self.view(np.ndarray)


class Attributions(_Shares, list[Array]):
    """What `elman.attribution` gives for a list of sequences: a list of arrays; see `Attribution`."""

    def __init__(self, values: list[Array], difference: Array, target: Any) -> None:
        super().__init__(values)
        self.difference, self.target = difference, target

    @property
    def values(self) -> list[Array]:
        """The shares as a plain list of arrays."""
        return list(self)
