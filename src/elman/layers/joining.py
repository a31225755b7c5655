"""Layers that read several values: side by side, summed, multiplied, or one as the memory of another.

A vector per sequence beside a sequence stands at each of its steps; its gradient is the sum over them.

Attention is of each query a mean over a memory, weighted by how well each step of the memory fits the query:

q    queries (N, query_size), the steps of one sequence or its one vector
m    the memory (M, memory_size), the steps of the sequence of the same place in its batch
s    scores (N, M); p = softmax(s), each row over the memory; the context is p m (N, memory_size)
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from elman import checks, engine
from elman.cells.activations import Activation
from elman.cells.cell import Arrays
from elman.checks import Array, ShapeError, listed
from elman.initializers import glorot
from elman.layers.layer import Gradients, Layer, Noise, State
from elman.layers.pointwise import softmax_derivative
from elman.sequences import Sequences

_TANH, _IDENTITY = Activation("tanh"), Activation("identity")
_BLOCK = 1 << 18  # numbers that the sums of pairs may hold at a time


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

    Each is (batch, time, features), or one vector per sequence (batch, features), which stands at each step.
    Raises `ShapeError`, which names the node, where they do not fit.

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

    Each is (batch, time, features), or one vector per sequence (batch, features), which stands at each step. They
    have the same features. Raises `ShapeError`, which names the node, where they do not fit.

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

    Each is (batch, time, features), or one vector per sequence (batch, features), which stands at each step. They
    have the same features. Raises `ShapeError`, which names the node, where they do not fit.

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


class Attention(Layer):
    """For each query the context: the mean of a memory, weighted by the softmax of scores over its real steps.

    It reads two values, query and memory. The query is a sequence, or one vector per sequence, and so is the context,
    of `memory_size` features. The memory is a sequence with lengths of its own; only the batch must agree. There is no
    stream, as the whole memory must be known.

    The scores of a query q and a step m of the memory:

    "dot" (Vaswani et al. 2017, section 3.2.1)
        q . m, for which both sizes must be equal, or (q Wq + b) . (m Wm) with `units`. `scaled`, which is the
        default, divides it by the square root of its width. A bias beside Wm would add the same to all scores of a
        query, which the softmax takes away, so there is none.
    "additive" (Bahdanau et al. 2015, section 3.1)
        v . tanh(q + m), for which both sizes must be equal, or v . tanh(q Wq + m Wm + b) with `units`. It is never
        scaled.

    Parameters `Wq` (query, units), `Wm` (memory, units) and `b` (units,) with `units`; `v` (units,), without units
    (memory,), where the kind is "additive". Matrices and v are drawn by Glorot, b is 0. Attention without parameters
    has no `dtype` unless it is given one. Keras's Attention is ``scaled=False``, its AdditiveAttention "additive" with
    v its scale; neither has units. Raises `ValueError` for options that do not go together.

    >>> import numpy as np, elman
    >>> net = elman.Network({
    ...     "memory": (elman.GRU(3, 5, seed=0), "source"),
    ...     "reader": (elman.GRU(2, 4, seed=1), "target"),
    ...     "context": (elman.Attention(4, 5, units=8, kind="additive", seed=2), "reader", "memory"),
    ... })
    >>> net({"source": np.ones((2, 7, 3)), "target": np.ones((2, 6, 2))}, lengths={"source": [7, 4]})[0].shape
    (2, 6, 5)
    """

    reads = 2
    needs_whole_sequences = True

    def __init__(
        self,
        query_size: int,
        memory_size: int,
        units: int | None = None,
        kind: str = "dot",
        scaled: bool | None = None,
        dtype: Any = None,
        seed: int | None = None,
    ) -> None:
        options = {"units": units, "kind": kind, "scaled": scaled, "dtype": dtype}
        super().__init__(seed, query_size=query_size, memory_size=memory_size, **options)

    def setup(
        self,
        query_size: int,
        memory_size: int,
        units: int | None = None,
        kind: str = "dot",
        scaled: bool | None = None,
        dtype: Any = None,
    ) -> None:
        self.query_size = self.input_size = checks.size("query_size", query_size)
        self.memory_size = self.output_size = checks.size("memory_size", memory_size)
        self.units = None if units is None else checks.size("units", units)
        self.kind = checks.choice("kind", kind, ("dot", "additive"))
        self.scaled = None if scaled is None else checks.flag("scaled", scaled)
        if self.units is None and query_size != memory_size:
            both = f"{query_size} and {memory_size}"
            raise ShapeError(f"query_size and memory_size must be equal where units is left out. Got {both}.")
        if self.scaled and kind == "additive":
            raise ValueError("scaled must be left out for additive attention, which has no scaled scores. Got True.")
        own = dtype is not None or units is not None or kind == "additive"
        self.dtype = checks.float_dtype("float32" if dtype is None else dtype) if own else None

    def shapes(self) -> dict[str, tuple[int, ...]]:
        units, shapes = self.units, {}
        if units is not None:
            shapes = {"Wq": (self.query_size, units), "Wm": (self.memory_size, units), "b": (units,)}
        return {**shapes, **({"v": (units or self.memory_size,)} if self.kind == "additive" else {})}

    def draw(self, rng: np.random.Generator) -> None:
        for name, array in self._parameters.items():
            array[...] = 0 if name == "b" else glorot(rng, (*array.shape, 1)[:2]).reshape(array.shape)

    def features(self, *read: int | None) -> int | None:
        if read[1] not in (None, self.memory_size):
            raise ShapeError(f"must read a memory of {self.memory_size} features. Got {read[1]}.")
        return self.memory_size

    @property
    def factor(self) -> float:
        """By which the query is multiplied before scores of the dot product are taken."""
        scales = self.kind == "dot" and self.scaled is not False
        return (self.units or self.memory_size) ** -0.5 if scales else 1.0

    def run(self, x: tuple[Sequences, ...], state: State, rng: Noise, keep: bool) -> tuple[Sequences, None, Any]:
        query, memory = x
        dtype = np.result_type(query.values, memory.values)
        q, m = (np.ascontiguousarray(part.values, dtype) for part in x)
        weights = {name: array.copy() for name, array in self._parameters.items()}
        a, k = q, m  # what the scores are of
        if self.units is not None:
            a = engine.pack_dense(weights["Wq"], weights["b"], _IDENTITY)(q)
            k = engine.product(m, weights["Wm"])
        a = a * dtype.type(self.factor)
        y = np.empty((len(q), self.memory_size), dtype)
        kept = []
        for rows, steps in _spans(query, memory):
            p = _scores(a[rows], k[steps], weights.get("v"))
            p = np.exp(p - p.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            y[rows] = engine.product(p, m[steps])
            if keep:
                kept.append((rows, steps, p))
        return query.with_values(y), None, (q, m, a, k, weights, kept)

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[tuple[Array, Array], None, Gradients]:
        q, m, a, k, weights, parts = kept
        da, dk, dm = np.empty_like(a), np.empty_like(k), np.empty_like(m)
        gradients = {name: np.zeros_like(array) for name, array in weights.items()}
        for rows, steps, p in parts:
            dm[steps] = engine.product(p.T.copy(), dy[rows])
            ds = softmax_derivative(p, engine.product(dy[rows], m[steps].T.copy()))
            if self.kind == "dot":
                da[rows], dk[steps] = engine.product(ds, k[steps]), engine.product(ds.T.copy(), a[rows])
            else:
                da[rows], dk[steps], dv = _additive_derivative(a[rows], k[steps], weights["v"], ds)
                gradients["v"] += dv
        da *= a.dtype.type(self.factor)
        if self.units is None:
            return (da, dm + dk), None, gradients
        dq, gradients["Wq"], gradients["b"] = engine.dense_derivative(q, weights["Wq"], a, da, _IDENTITY)
        more, gradients["Wm"], _ = engine.dense_derivative(m, weights["Wm"], k, dk, _IDENTITY)
        return (dq, dm + more), None, gradients


def _spans(query: Sequences, memory: Sequences) -> Iterator[tuple[slice, slice]]:
    """The rows of each sequence: its queries, and the steps of its memory."""
    ends = zip(np.cumsum(query.layout.rows).tolist(), np.cumsum(memory.lengths).tolist(), strict=True)
    for (row, step), (end, last) in itertools.pairwise([(0, 0), *ends]):
        yield slice(row, end), slice(step, last)


def _scores(a: Array, k: Array, v: Array | None) -> Array:
    """a . k, or with v the additive v . tanh(a + k); (N, M)."""
    if v is None:
        return engine.product(a, k.T.copy())
    s = np.empty((len(a), len(k)), a.dtype)
    for block, t in _blocks(a, k):
        s[block] = engine.product(t, v[:, None]).reshape(-1, len(k))
    return s


def _additive_derivative(a: Array, k: Array, v: Array, ds: Array) -> tuple[Array, Array, Array]:
    """The gradients by a, k and v, from that by the scores."""
    da, dk, dv = np.empty_like(a), np.zeros_like(k), np.zeros_like(v)
    for block, t in _blocks(a, k):
        each = ds[block].reshape(-1, 1)
        dv += engine.product(each.T.copy(), t)[0]
        dt = (each * v * (1 - t * t)).reshape(-1, *k.shape)
        da[block] = dt.sum(1)
        dk += dt.sum(0)
    return da, dk, dv


def _blocks(a: Array, k: Array) -> Iterator[tuple[slice, Array]]:
    """tanh(a + k) of some queries at a time, (queries times M, units), so that memory stays small."""
    count = max(1, _BLOCK // k.size)
    for begin in range(0, len(a), count):
        block = slice(begin, begin + count)
        pairs = a[block, None] + k
        yield block, engine.activate(pairs.reshape(-1, k.shape[1]), _TANH)
