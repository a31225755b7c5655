"""Attention: of each query a mean over a memory, weighted by how well each step of the memory fits the query.

q    queries (N, query_size), the steps of one sequence or its one vector
m    the memory (M, memory_size), the steps of the sequence of the same place in its batch
s    scores (N, M); p = softmax(s), each row over the memory; the context is p m (N, memory_size)
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from elman import checks, engine
from elman.cells.activations import Activation
from elman.checks import Array, ShapeError
from elman.initializers import glorot
from elman.layers.layer import Gradients, Layer, Noise, State
from elman.layers.pointwise import softmax_derivative
from elman.sequences import Sequences

_TANH, _IDENTITY = Activation("tanh"), Activation("identity")
_BLOCK = 1 << 18  # numbers that the sums of pairs may hold at a time


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
