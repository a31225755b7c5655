"""Arrays in lists, tuples and mappings, such as the states of a network: all of them in order, or one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from elman.checks import Array

Tree: TypeAlias = Any  # an array, a tree of such, or None where there is none


def leaves(tree: Tree) -> list[Array]:
    """The arrays of a tree in order."""
    if isinstance(tree, Mapping):
        tree = list(tree.values())
    if isinstance(tree, (list, tuple)):
        return [array for part in tree for array in leaves(part)]
    return [] if tree is None else [np.asarray(tree)]


def mapped(function: Callable[[Array], Any], tree: Tree) -> Tree:
    """A tree of the same form, with a function of every array."""
    if isinstance(tree, Mapping):
        return {name: mapped(function, part) for name, part in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)([mapped(function, part) for part in tree])
    return None if tree is None else function(np.asarray(tree))


def check_finite(name: str, tree: Tree) -> None:
    """Refuses NaN and infinity."""
    for array in leaves(tree):
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite. Got {array[~np.isfinite(array)][0]}.")
