"""What `elman.attribution` gives: arrays of shares, and lists of them, that can be drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from elman import checks
from elman.checks import Array

if TYPE_CHECKING:
    import os


class Attribution(np.ndarray[Any, Any]):
    """What `elman.attribution` gives for one array: the share of every value of x in the output, in the form of x.

    It is an array, whose results are plain arrays. `difference` (batch,) is F(x) - F(baseline) of each sequence, a
    number for one, `target` which output F was.
    """

    difference: Any
    target: Any

    def __new__(cls, values: Array, difference: Any, target: Any) -> Self:
        found = np.asarray(values).view(cls)
        found.difference, found.target = difference, target
        return found

    def __array_finalize__(self, whole: Any) -> None:
        same = whole is not None and np.shape(whole) == self.shape
        self.difference = getattr(whole, "difference", None) if same else None
        self.target = getattr(whole, "target", None) if same else None

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return np.asarray(array)[()]  # a sum or a product of shares is no attribution

    @property
    def values(self) -> Array:
        """The shares as a plain array."""
        return self.view(np.ndarray)

    def plot(
        self, text: Any = None, *, sequence: int = 0, features: Any = None, path: str | os.PathLike[str] | None = None
    ) -> Any:
        """Draws the shares of one sequence; see `elman.plots.attribution`."""
        one = self.values if np.ndim(self.difference) == 0 else self.values[_number(sequence, len(self))]
        return _draw(one, text, features, path)


class Attributions(list[Array]):
    """What `elman.attribution` gives for a list of sequences: a list of arrays; see `Attribution`."""

    def __init__(self, values: list[Array], difference: Array, target: Any) -> None:
        super().__init__(values)
        self.difference, self.target = difference, target

    @property
    def values(self) -> list[Array]:
        """The shares as a plain list of arrays."""
        return list(self)

    def plot(
        self, text: Any = None, *, sequence: int = 0, features: Any = None, path: str | os.PathLike[str] | None = None
    ) -> Any:
        """Draws the shares of one sequence; see `elman.plots.attribution`."""
        return _draw(self[_number(sequence, len(self))], text, features, path)


def _number(sequence: Any, count: int) -> int:
    if not checks.is_whole(sequence) or not -count <= sequence < count:
        raise ValueError(f"sequence must be a whole number from {-count} to {count - 1}. Got {checks.show(sequence)}.")
    return int(sequence)


def _draw(one: Array, text: Any, features: Any, path: Any) -> Any:
    from elman.insight import plots

    return plots.attribution(one, text, features=features, path=path)
