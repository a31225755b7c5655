"""Layers that read several values: side by side, summed, multiplied.

A vector per sequence beside a sequence stands at each of its steps; its gradient is the sum over them.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from elman.cells.cell import Arrays
from elman.checks import Array, ShapeError, listed
from elman.layers.layer import Gradients, Layer, Noise, State
from elman.sequences import Sequences


class Joining(Layer):
    """The base of layers that make one value of several, row by row: a subclass says `join` and `join_back`.

    Sequences must have the same lengths; refused with a `ShapeError` otherwise. `features` says how many features come
    out, where they are not as many as come in.

    >>> import numpy as np, elman
    >>> class Difference(elman.Joining):
    ...     def features(self, *read):
    ...         return read[0]
    ...     def join(self, a, b):
    ...         return a - b
    ...     def join_back(self, parts, dy):
    ...         return dy, -dy
    >>> net = elman.Network({"y": (Difference(), "a", "b")})
    >>> net({"a": [[[1.0], [2.0]]], "b": [[5.0]]})[0].tolist()
    [[[-4.0], [-3.0]]]
    """

    reads = None

    def join(self, *parts: Array) -> Array:
        """y (N, features) of parts (N, features of each)."""
        raise NotImplementedError

    def join_back(self, parts: Arrays, dy: Array) -> Arrays:
        """The gradient of each part."""
        raise NotImplementedError

    def run(self, x: tuple[Sequences, ...], state: State, rng: Noise, keep: bool) -> tuple[Sequences, None, Any]:
        over_time = [part for part in x if part.layout.lengths is not None]
        first = (over_time or x)[0]
        for part in over_time:
            if not np.array_equal(part.lengths, first.lengths):
                lengths = f"{listed(first.lengths[:9].tolist())}. Got {listed(part.lengths[:9].tolist())}"
                raise ShapeError(f"must read sequences of the same lengths, {lengths}.")
        spread = [bool(over_time) and part.layout.lengths is None for part in x]
        pairs = zip(x, spread, strict=True)
        parts = tuple([part.values.repeat(first.lengths, axis=0) if wide else part.values for part, wide in pairs])
        return first.with_values(self.join(*parts)), None, (parts, spread, first.layout.starts)

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[Arrays, None, Gradients]:
        parts, spread, starts = kept
        pairs = zip(self.join_back(parts, dy), spread, strict=True)
        return tuple([np.add.reduceat(part, starts) if wide else part for part, wide in pairs]), None, {}

    def step(self, x: Any, state: Arrays) -> tuple[Array, Arrays]:
        return self.join(*x), ()


class Concatenate(Joining):
    """The features of all that it reads, side by side.

    >>> import numpy as np, elman
    >>> net = elman.Network({"y": (elman.Concatenate(), "a", "b")})
    >>> net({"a": [[[1.0], [2.0]]], "b": [[5.0, 6.0]]})[0].tolist()
    [[[1.0, 5.0, 6.0], [2.0, 5.0, 6.0]]]
    """

    def __init__(self) -> None:
        super().__init__()

    def features(self, *read: int | None) -> int | None:
        return None if None in read else sum(part or 0 for part in read)

    def join(self, *parts: Array) -> Array:
        return np.concatenate(parts, axis=-1)

    def join_back(self, parts: Arrays, dy: Array) -> Arrays:
        ends = np.cumsum([part.shape[1] for part in parts])[:-1]
        return tuple([np.ascontiguousarray(part) for part in np.split(dy, ends, axis=1)])


class _Alike(Joining):
    """A joining layer whose parts have the same number of features."""

    def __init__(self) -> None:
        super().__init__()

    def features(self, *read: int | None) -> int | None:
        known = [part for part in read if part is not None]
        if any(part != known[0] for part in known):
            raise ShapeError(f"must read values of as many features each. Got {', '.join(map(str, known))}.")
        return known[0] if known else None


class Add(_Alike):
    """The sum of all that it reads, feature by feature.

    >>> import numpy as np, elman
    >>> net = elman.Network({"y": (elman.Add(), "a", "b")})
    >>> net({"a": [[[1.0], [2.0]]], "b": [[5.0]]})[0].tolist()
    [[[6.0], [7.0]]]
    """

    def join(self, *parts: Array) -> Array:
        return functools.reduce(np.add, parts)

    def join_back(self, parts: Arrays, dy: Array) -> Arrays:
        return (dy,) * len(parts)


class Multiply(_Alike):
    """The product of all that it reads, feature by feature.

    >>> import numpy as np, elman
    >>> net = elman.Network({"y": (elman.Multiply(), "a", "b")})
    >>> net({"a": [[[1.0], [2.0]]], "b": [[5.0]]})[0].tolist()
    [[[5.0], [10.0]]]
    """

    def join(self, *parts: Array) -> Array:
        return functools.reduce(np.multiply, parts)

    def join_back(self, parts: Arrays, dy: Array) -> Arrays:
        # Products of the others, without a division: a factor may be 0.
        return tuple([functools.reduce(np.multiply, [dy, *parts[:i], *parts[i + 1 :]]) for i in range(len(parts))])
