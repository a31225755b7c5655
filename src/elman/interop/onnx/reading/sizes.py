"""Lengths of axes that are known only when a model runs, in the arithmetic that exported graphs do with them.

Graphs compute shapes: Shape, Gather, Mul, Concat, Reshape. Here a shape is an array of integers, of dtype object where
some of them are a `Size`: a polynomial in the lengths of axes, such as ``2 batch time``. NumPy then computes with
both alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np

from elman.checks import Array

Length: TypeAlias = "int | Size"


class Size:
    """A polynomial with whole coefficients in named lengths, each of which is 1 or more; never a plain number."""

    def __init__(self, terms: dict[tuple[str, ...], int]) -> None:
        self.terms = terms

    @staticmethod
    def named(name: str) -> Size:
        """The length of one axis."""
        return Size({(name,): 1})

    def __add__(self, other: object) -> Any:
        terms = dict(self.terms)
        for names, count in _terms(other).items():
            terms[names] = terms.get(names, 0) + count
        return _simple(terms)

    def __mul__(self, other: object) -> Any:
        terms: dict[tuple[str, ...], int] = {}
        for names, count in self.terms.items():
            for others, factor in _terms(other).items():
                both = tuple(sorted(names + others))
                terms[both] = terms.get(both, 0) + count * factor
        return _simple(terms)

    def __sub__(self, other: object) -> Any:
        return self + _simple({names: -count for names, count in _terms(other).items()})

    def __rsub__(self, other: object) -> Any:
        return self * -1 + other

    def __floordiv__(self, other: object) -> Any:
        """The quotient where it is whole whatever the lengths are; ValueError elsewhere."""
        ((names, divisor),) = _single(_terms(other)).items()
        terms = {}
        for own, count in self.terms.items():
            left = list(own)
            for name in names:
                if name not in left:
                    raise ValueError(f"{self} must be divisible by {other}. Got a remainder.")
                left.remove(name)
            if count % divisor:
                raise ValueError(f"{self} must be divisible by {other}. Got a remainder.")
            terms[tuple(left)] = count // divisor
        return _simple(terms)

    __radd__ = __add__
    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        """Whether both are the same polynomial; two that differ may still have the same value."""
        return isinstance(other, Size) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(frozenset(self.terms.items()))

    def __repr__(self) -> str:
        return " + ".join(" ".join([str(n)] * (n != 1 or not names) + list(names)) for names, n in self.terms.items())


def _terms(value: object) -> dict[tuple[str, ...], int]:
    return value.terms if isinstance(value, Size) else {(): int(value)}  # type: ignore[call-overload]


def _simple(terms: dict[tuple[str, ...], int]) -> Length:
    terms = {names: count for names, count in terms.items() if count}
    return Size(terms) if any(terms) else terms.get((), 0)


def _single(terms: dict[tuple[str, ...], int]) -> dict[tuple[str, ...], int]:
    if len(terms) != 1 or not all(terms.values()):
        raise ValueError("a length must be divided by a number or a product of lengths. Got another expression.")
    return terms


def product(lengths: Iterable[Length]) -> Any:
    """The product of lengths, 1 of none."""
    result: Any = 1
    for length in lengths:
        result = result * length
    return result


def shape_array(lengths: Iterable[Length]) -> Array:
    """Lengths as a vector."""
    return simplified(np.array([*lengths, None], dtype=object)[:-1])


def simplified(array: Array) -> Array:
    """The array in int64 where no length in it is unknown."""
    if array.dtype != object or any(isinstance(value, Size) for value in array.flat):
        return array
    return array.astype(np.int64)
