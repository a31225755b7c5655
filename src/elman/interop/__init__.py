"""Models of other systems, in and out: plain arrays by a table of conventions, and files of each format."""

from elman.interop.arrays import from_arrays, to_arrays
from elman.interop.conventions import CONVENTIONS, Convention
from elman.interop.pytorch import from_torch, to_torch

__all__ = ["CONVENTIONS", "Convention", "from_arrays", "from_torch", "to_arrays", "to_torch"]
