"""Weights of other systems: the table of conventions, and arrays to layers and back."""

from elman.interop.arrays import from_arrays, to_arrays
from elman.interop.conventions import CONVENTIONS, Convention

__all__ = ["CONVENTIONS", "Convention", "from_arrays", "to_arrays"]
