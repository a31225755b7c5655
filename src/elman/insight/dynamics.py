"""A recurrent layer or network as a dynamical system: s' = F(x, s), one step from the state s under the input x.

s stacks all states: of a layer h before c, of a network those of its layers in order, as `state` has them. What is
computed, in float64:

    J = ds'/ds        rows are what comes out, columns what goes in; and ds'/dx
    exponents         lim 1/T sum_t log |r_ii(t)|, where Q R is the QR decomposition of J Q, step after step
                      (Benettin et al. 1980, Meccanica 15; of recurrent networks: Vogt et al. 2022, section 2)
    fixed points      F(x, s) = s under a constant x, by steps that lower q = |F(x, s) - s|^2 / 2
                      (Sussillo and Barak 2013, Neural Computation 25, sections 3.1 and 3.2)

Rows of J are gradients of a step, one for each value of s', of all sequences and rows in one pass backward: exact, for
every cell, through a kernel where there is one.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array, ShapeError
from elman.insight.trees import check_finite, leaves, mapped
from elman.layers import Layer
from elman.layers.nesting import every_layer
from elman.network import Network
from elman.sequences import Layout, Sequences, pack

__all__ = ["FixedPoints", "fixed_points", "jacobian", "lyapunov"]

_ROWS = 1 << 15  # rows of a pass backward at a time, so that memory stays small
_DIRECTIONS = 0  # the seed of the directions that exponents are followed along: any will do, the same each time


def jacobian(layer: Layer, x: Any, state: Any = None) -> tuple[Array, Array | None]:
    """The derivatives of one step: (ds'/ds, ds'/dx), where rows are what comes out, h before c.

    Parameters
    ----------
    layer
        A recurrent layer with a cell of any kind, or a network that goes step by step, with the states of all its
        layers. Nothing is dropped out; zoneout is its expectation, s' = p s + (1 - p) s_new. Layers without states and
        pools act as in a stream.
    x
        The input of the step, (input,), or (batch, input) for several; a token, or (batch,) tokens, where the network
        takes them.
    state
        The state before it, in the form of the layer for one sequence or for a batch; left out, that before the first
        step.

    Returns
    -------
    by_state, by_input
        (S, S) and (S, input), with an axis of the batch before them where x has one; float64. S counts all states,
        those of a network layer by layer. `by_input` is None for tokens.

    Raises `ShapeError` for x or a state that does not fit, and where the network has no states or must see whole
    sequences, as both directions must.

    >>> import numpy as np, elman
    >>> layer = elman.RNN(2, 3, activation="identity", seed=0)
    >>> by_state, by_input = elman.dynamics.jacobian(layer, [1.0, 2.0], np.zeros(3))
    >>> bool(np.allclose(by_state, layer.Wh.T)), bool(np.allclose(by_input, layer.Wx.T))
    (True, True)
    """
    step = _Step(layer)
    packed = step.pack(x, ())
    by_state, by_input = step.jacobian(packed.values, step.stack("state", state, packed.layout))
    if packed.layout.form == "single":
        return by_state[0], None if by_input is None else by_input[0]
    return by_state, by_input


def lyapunov(layer: Layer, x: Any, count: int | None = None, state: Any = None, *, skip: int = 0) -> Array:
    """Lyapunov exponents along a sequence: natural logarithms per step, the largest first.

    A positive exponent is how fast two states that are near each other part (chaos); where all are under 0 the state
    forgets where it began, and gradients vanish as fast. The mean is over the steps of x; the longer it is, the nearer
    it is to the limit. An exponent is -inf where a direction is lost altogether.

    Parameters
    ----------
    layer
        As for `jacobian`.
    x
        (time, input), or (batch, time, input) for several sequences; tokens without the last axis. For a network that
        runs by itself, an x of zeros.
    count
        How many exponents; all of them, one per value of the state, if left out.
    state
        The state before the first step, in the form of the layer.
    skip
        So many first steps do not count: the state settles, and the directions turn to where they grow.

    Returns
    -------
    exponents
        (count,), or (batch, count).

    Source: Benettin et al. 1980; Vogt et al. 2022, "On Lyapunov Exponents for RNNs", section 2 and algorithm 1.

    >>> import numpy as np, elman
    >>> layer = elman.RNN(1, 2, activation="identity", dtype="float64", seed=0)
    >>> layer.Wh = [[0.5, 1.0], [0.0, 2.0]]
    >>> elman.dynamics.lyapunov(layer, np.zeros((400, 1)), skip=100).round(6).tolist()  # log 2 and log 0.5
    [0.693147, -0.693147]
    """
    step = _Step(layer)
    packed = step.pack(x, ("time",))
    layout, time = packed.layout, packed.layout.time or len(packed.values)
    size, skip = step.size, 0 if checks.is_whole(skip) and skip == 0 else checks.size("skip", skip, time - 1)
    count = size if count is None else checks.size("count", count, size)
    s = step.stack("state", state, layout)
    x = packed.values.reshape(layout.count, time, *packed.values.shape[1:]).swapaxes(0, 1)  # (T, B, ...)
    directions = np.linalg.qr(np.random.default_rng(_DIRECTIONS).standard_normal((size, count)))[0]
    q = np.tile(directions, (layout.count, 1, 1))
    total = np.zeros((layout.count, count))
    block = max(1, _ROWS // (layout.count * size))
    for first in range(0, time, block):
        part, before = x[first : first + block], []
        for one in part:
            before.append(s)
            s = step.advance(one, s)
        flat, states = part.reshape(-1, *part.shape[2:]), np.concatenate(before)
        by_state = step.jacobian(flat, states)[0].reshape(len(part), layout.count, size, size)
        if not (np.isfinite(states).all() and np.isfinite(by_state).all()):
            raise ValueError(f"x must keep the state finite. Got others in steps {first} to {first + len(part) - 1}.")
        for t, each in enumerate(by_state, first):
            q, r = np.linalg.qr(each @ q)
            if t >= skip:
                with np.errstate(divide="ignore"):
                    total += np.log(np.abs(np.diagonal(r, axis1=1, axis2=2)))
    exponents = np.sort(total / (time - skip), axis=1)[:, ::-1]
    return exponents[0] if layout.form == "single" else exponents


@dataclass(frozen=True, repr=False, eq=False)
class FixedPoints:
    """States that a step leaves where they are, each found once.

    ``points[stable]`` are those to which all near states go.

    >>> import numpy as np, elman
    >>> layer = elman.RNN(1, 1, dtype="float64", seed=0)
    >>> layer.Wh = [[0.5]]  # h = tanh(h / 2): at 0 alone, where the derivative is 1 / 2
    >>> found = elman.dynamics.fixed_points(layer, [0.0], [[-1.0], [1.0]])
    >>> len(found), found.eigenvalues.real.round(4).tolist(), found.stable.tolist(), found.counts.tolist()
    (1, [[0.5]], [True], [2])
    """

    points: Array  #: (points, S): the states side by side, h before c
    speeds: Array  #: (points,): q = |F(x, s) - s|^2 / 2
    eigenvalues: Array  #: (points, S) of ds'/ds, complex, the largest in size first
    stable: Array  #: (points,): whether all eigenvalues are under 1 in size
    counts: Array  #: (points,): how many starts ended there
    lost: int  #: starts that ended nowhere
    states: Any  #: the points in the form of `states`: a layer takes them

    def __len__(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        starts = int(self.counts.sum()) + self.lost
        return f"FixedPoints({len(self)}, {int(self.stable.sum())} of them stable, from {starts} starts)"


def fixed_points(
    layer: Layer, x: Any, states: Any, *, tolerance: float = 1e-20, distance: float = 1e-4, iterations: int = 200
) -> FixedPoints:
    """The fixed points of a step under a constant input, found from many starts.

    Each start goes down q = |F(x, s) - s|^2 / 2 by least squares on the exact Jacobian (Levenberg and Marquardt), all
    together; near a fixed point that is Newton's method. States that a network was in on its own data are good starts,
    with some noise: unstable points are found as stable ones are.

    Parameters
    ----------
    layer
        As for `jacobian`.
    x
        The input, (input,), or (starts, input) with one for each start; a token, or (starts,) tokens.
    states
        The starts, in the form of the layer's state for a batch: (starts, hidden), for an LSTM a pair of such, for a
        network a list with one entry per layer with states.
    tolerance
        A start is at a fixed point where q is at most this.
    distance
        Points nearer to each other than this times (1 + their size) are one.
    iterations
        Steps that a start may take.

    Returns
    -------
    FixedPoints
        `points`, `speeds`, `eigenvalues`, `stable`, in the order in which starts found them. Warns where no start came
        to one.

    Source: Sussillo and Barak 2013, "Opening the Black Box", sections 3.1 and 3.2.

    >>> import numpy as np, elman
    >>> layer = elman.RNN(1, 1, dtype="float64", seed=0)
    >>> layer.Wh = [[2.0]]  # h = tanh(2 h): at 0, and on both sides of it
    >>> found = elman.dynamics.fixed_points(layer, [0.0], np.linspace(-2, 2, 9)[:, None])
    >>> found, np.sort(found.points[found.stable, 0]).round(4).tolist()
    (FixedPoints(3, 2 of them stable, from 9 starts), [-0.9575, 0.9575])
    """
    tolerance = checks.number("tolerance", tolerance, 0, open_low=True)
    distance = checks.number("distance", distance, 0)
    iterations = checks.size("iterations", iterations)
    step = _Step(layer)
    starts = step.starts(states)
    packed = step.pack(x, ())
    if packed.layout.form != "single" and packed.layout.count != len(starts):
        raise ShapeError(f"x must hold one input, or {len(starts)} as states does. Got {packed.layout.count}.")
    inputs = np.broadcast_to(packed.values, (len(starts), *packed.values.shape[1:]))
    ends, speeds = _settle(step, inputs, starts, tolerance, iterations)
    settled = np.flatnonzero(speeds <= tolerance)
    if not len(settled):
        warnings.warn(f"no start of {len(starts)} came to a fixed point: more starts, or iterations.", stacklevel=2)
    places, counts = _merged(ends, inputs, speeds, settled, distance)
    points = ends[places]
    values = np.linalg.eigvals(step.jacobian(inputs[places], points)[0]).astype(np.complex128)
    values = np.take_along_axis(values, np.argsort(-np.abs(values), axis=1, kind="stable"), axis=1)
    stable = np.abs(values).max(1, initial=0) < 1
    lost = len(starts) - len(settled)
    return FixedPoints(points, speeds[places], values, stable, np.array(counts, np.int64), lost, step.unstack(points))


def _settle(step: _Step, x: Array, s: Array, tolerance: float, iterations: int) -> tuple[Array, Array]:
    """Where starts come to by Levenberg's and Marquardt's steps, and q there.

    With r = F(s) - s and A = J - I a step is -(A^T A + d I)^-1 A^T r; d falls where q does, and grows where not.
    """
    s, size = s.copy(), step.size
    r = step.advance(x, s) - s
    q, damping = _speed(r), np.full(len(s), 1e-2)
    most = max(1, _ROWS * 128 // size**2)
    for _ in range(iterations):
        live = np.flatnonzero((q > tolerance) & np.isfinite(q) & (damping < 1e8))
        if not len(live):
            break
        for some in np.split(live, range(most, len(live), most)):
            a = step.jacobian(x[some], s[some])[0] - np.eye(size)
            normal = a.transpose(0, 2, 1) @ a
            scale = np.trace(normal, axis1=1, axis2=2)[:, None, None] / size + np.finfo(np.float64).tiny
            normal += damping[some, None, None] * scale * np.eye(size)
            moved = s[some] - np.linalg.solve(normal, a.transpose(0, 2, 1) @ r[some, :, None])[:, :, 0]
            after = step.advance(x[some], moved) - moved
            speed = _speed(after)
            better = speed < q[some]
            chosen = some[better]
            s[chosen], r[chosen], q[chosen] = moved[better], after[better], speed[better]
            damping[chosen] = np.maximum(damping[chosen] / 5, 1e-10)
            damping[some[~better]] *= 5
    return s, q


@np.errstate(over="ignore", invalid="ignore")
def _speed(r: Array) -> Array:
    return np.asarray((r * r).sum(1) / 2)


def _merged(ends: Array, inputs: Array, speeds: Array, settled: Array, distance: float) -> tuple[list[int], list[int]]:
    """Of each point, under its input, the start that came nearest to it, and how many came there."""
    places: list[int] = []
    counts: list[int] = []
    rows = inputs.reshape(len(inputs), -1)
    for i in settled.tolist():
        gaps = np.linalg.norm(ends[places] - ends[i], axis=1)
        gaps[(rows[places] != rows[i]).any(1)] = np.inf
        same = int(gaps.argmin()) if places else 0
        if places and gaps[same] <= distance * (1 + np.linalg.norm(ends[i])):
            counts[same] += 1
            places[same] = min(places[same], i, key=lambda j: speeds[j])
        else:
            places.append(i)
            counts.append(1)
    return places, counts


class _Step:
    """One step of a layer in float64, over states side by side, (B, S)."""

    def __init__(self, layer: Layer) -> None:
        if not isinstance(layer, Layer):
            raise TypeError(f"layer must be a recurrent layer or a network. Got {checks.show(layer)}.")
        if isinstance(layer, Network) and len(layer.inputs) > 1:
            raise ShapeError(f"layer must read one input. Got {checks.listed(layer.inputs)}.")
        if not layer.stateful:
            raise ShapeError(f"layer must have a state that goes from step to step. Got {layer!r}.")
        whole = [part for part in every_layer(layer) if part.needs_whole_sequences and not part.layers]
        if layer.needs_whole_sequences:
            raise ShapeError(f"layer must go step by step, in one direction. Got {(whole or [layer])[-1]!r}.")
        self.layer = layer.astype("float64")
        self.form: Any = self.layer.first_state(1)
        self.widths = [part.shape[1] for part in leaves(self.form)]
        self.size = sum(self.widths)

    def pack(self, x: Any, outer: tuple[str, ...]) -> Sequences:
        """One step of each sequence, or with an axis of time several; as arrays alone."""
        layer = self.layer
        found = pack("x", x, layer.input_size, np.float64, tokens=layer.tokens, vectors=not outer)
        if found.layout.form == "list":
            width = () if layer.takes_tokens else (layer.input_size or "input",)
            must = f"{checks.listed(('time', *width))} or {checks.listed(('batch', 'time', *width))}"
            raise ShapeError(f"x must have shape {must}. Got a list of {found.layout.count} sequences.")
        check_finite("x", found.values)
        return found

    def stack(self, name: str, state: Any, layout: Layout) -> Array:
        """A state in the form of the layer as (B, S)."""
        given = _filled(self.layer.pack_state(name, state, layout), self.layer.first_state(layout.count))
        stacked = np.concatenate(leaves(given), axis=1)
        check_finite(name, stacked)
        return stacked.astype(np.float64, copy=False)

    def starts(self, states: Any) -> Array:
        """Several states in the form of the layer, (starts, S)."""
        first, form = states, self.form
        while isinstance(form, (list, tuple)):  # down to the first state, to see how many there are
            if (isinstance(form, list) or len(form) > 1) and isinstance(first, (list, tuple)) and len(first):
                first = first[0]
            form = form[0]
        count = len(checks.number_array("states", first)) if checks.rank(first) == 2 else 1
        if not count:
            raise ShapeError(f"states must hold at least one start. Got {checks.describe(states)}.")
        if states is None:
            raise ShapeError("states must hold starts in the form of the state. Got None.")
        return self.stack("states", states, Layout(None, count, "array"))

    def unstack(self, s: Array) -> Any:
        """(B, S) in the form of the layer's state."""
        return self.layer.unpack_state(self._packed(s), Layout(None, len(s), "array"))

    def _packed(self, s: Array) -> Any:
        columns = iter(np.split(s, np.cumsum(self.widths)[:-1], axis=1))
        return mapped(lambda _: np.ascontiguousarray(next(columns)), self.form)

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is told by those who ask
    def _run(self, x: Array, s: Array, keep: bool) -> tuple[Any, Array, Any]:
        layout = Layout.of("array", np.ones(len(s), np.int64), 1)
        y, end, kept = self.layer.run(Sequences(x, layout), self._packed(s), None, keep)
        return y, np.concatenate(leaves(end), axis=1), kept

    def advance(self, x: Array, s: Array) -> Array:
        """The states after the step."""
        return self._run(x, s, keep=False)[1]

    def jacobian(self, x: Array, s: Array) -> tuple[Array, Array | None]:
        """ds'/ds (B, S, S) and ds'/dx (B, S, I): S copies of each sequence, one for each value that comes out."""
        size, by_state, by_input = self.size, [], []
        most = max(1, _ROWS // size)
        for first in range(0, len(s), most):
            some = slice(first, first + most)
            y, after, kept = self._run(x[some].repeat(size, axis=0), s[some].repeat(size, axis=0), keep=True)
            ones = np.tile(np.eye(size), (len(after) // size, 1))
            dx, dstate, _ = self.layer.run_back(kept, y.gradient("dy", None), self._packed(ones))
            by_state.append(np.concatenate(leaves(dstate), axis=1).reshape(-1, size, size))
            by_input.append(None if dx is None else dx.reshape(-1, size, dx.shape[1]))
        known = [part for part in by_input if part is not None]
        return np.concatenate([*by_state, np.empty((0, size, size))]), np.concatenate(known) if known else None


def _filled(given: Any, first: Any) -> Any:
    """States, with the first ones where none are given, as for one layer of a network."""
    if isinstance(first, list) and given is not None:
        return [_filled(part, own) for part, own in zip(given, first, strict=True)]
    return first if given is None else given
