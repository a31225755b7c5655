"""One direction of a recurrent layer as it ran: its numbers at every step, by name, and the gradients of them.

    s      a state after a step, after zoneout: s = z s_before + (1 - z) s_new
    ds     the gradient of the loss by s through everything that comes after it
    share  of a step: the term that it adds to the gradient of a weight, summed over the batch

Packed as in `elman.sequences`: N steps of all sequences, one row each.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from elman import checks
from elman.cells import Cell
from elman.cells.calling import go_back, locked, look_back
from elman.cells.cell import REVERSE, Arrays, Kept
from elman.cells.unroll import TapeStep, unroll_derivative
from elman.checks import Array
from elman.insight.steps import Steps, packed_rows, steps_of
from elman.layers import Recurrent
from elman.layers.recurrent import Walk
from elman.sequences import Layout


class TracedLayer:
    """A recurrent layer in one direction, as it ran in a trace; an entry of `Trace.layers`.

    >>> import elman
    >>> net = elman.Network([elman.LSTM(2, 3, seed=0), elman.Dense(3, 1, seed=1)])
    >>> one = elman.trace(net, [[1.0, 2.0], [3.0, 4.0]]).layers["0"]
    >>> one.reverse, one.cell.gates, sorted(one.weights), one.step(1)["x"].tolist()
    (False, ('i', 'f', 'g', 'o'), ['Wh', 'Wx', 'b'], [3.0, 4.0])
    """

    name: str  #: its key in `Trace.layers`: its node, with "_reverse" for the second direction
    layer: Recurrent  #: of this direction alone
    reverse: bool  #: whether it walks from the end of each sequence to its start
    layout: Layout  #: how its packed rows belong together

    def __init__(self, place: str, end: str, layer: Recurrent, layout: Layout, walk: Walk) -> None:
        self.place, self.end, self.layer, self.layout, self._walk = place, end, layer, layout, walk
        self.name, self.reverse, self.cell = place + end, end == REVERSE, layer.cell
        #: The states on which zoneout acts.
        self.zoned = tuple([s for s, rate in zip(self.cell.states, layer.zone_rates, strict=False) if rate])

    cell: Cell

    @functools.cached_property
    def _steps(self) -> Steps:
        return steps_of(self._walk.tape)

    @functools.cached_property
    def _looked(self) -> tuple[Arrays, Kept, Kept]:
        # Not with the gates of a kernel, which at a bound are others in the last bit than those of the derivative.
        return self._steps.look()

    def path(self, name: str) -> str:
        """The whole name of one of its numbers, "1.f_reverse"."""
        return f"{self.place}.{name}{self.end}" if self.place else name + self.end

    @property
    def weights(self) -> Mapping[str, Array]:
        """Its weights as they were when it ran, by name; they cannot be written into."""
        return dict(zip(self.cell.weights, locked(self._walk.tape.weights), strict=True))

    def step(self, step: int, sequence: int = 0) -> dict[str, Any]:
        """What one step of a sequence read, as vectors: "x", each state before it by name, and "mask" where one acts.

        `step` counts along the sequence, in the second direction too. Raises `ValueError` where there is no such step.
        """
        starts, lengths = self.layout.starts, self.layout.rows
        for name, value, count in (("sequence", sequence, len(lengths)), ("step", step, 0)):
            count = count or int(lengths[sequence])
            if not checks.is_whole(value) or not 0 <= value < count:
                of = f", those of sequence {sequence}" if name == "step" else ""
                raise ValueError(f"{name} must be from 0 to {count - 1}{of}. Got {checks.show(value)}.")
        row, s = int((0 if starts is None else starts[sequence]) + step), self._steps
        states = {name: array[row].copy() for name, array in zip(self.cell.states, s.before, strict=True)}
        return {"x": s.values[row].copy(), **states, **({"mask": s.mask[0][row].copy()} if s.mask else {})}

    def names(self, kept: bool = False) -> list[str]:
        """What `values` takes: states, gates, what else a step keeps, what is inside; or what the tape `kept`."""
        s = self._steps
        found = [*self.cell.states, *s.kept]
        if not kept:
            _, more, inside = self.__dict__.get("_looked") or s.look(1)
            new = [f"{name}_new" for name in self.zoned]
            around = [*(["mask"] if s.masks else []), *(f"zone_{name}" for name in self.zoned)]
            found = [*self.cell.states, *new, *s.kept, *more, *inside, *around]
        return [*dict.fromkeys(found)]

    def gradient_names(self) -> list[str]:
        """The names of what has a gradient, without the "d": states, what the cell gives by name, and weights."""
        s = self._steps
        _, kept, _ = s.look(1)
        given = (self.cell, s.values[:1], tuple(b[:1] for b in s.before), locked(s.weights), kept)
        by_name = look_back(*given, tuple(np.zeros_like(a[:1]) for a in s.after), tuple(m[:1] for m in s.mask))[3]
        new = [f"{name}_new" for name in self.zoned]
        return [*dict.fromkeys((*self.cell.states, *new, *by_name))]

    def values(self, name: str) -> Array:
        """What a name stands for, packed (N, ...)."""
        s, cell = self._steps, self.cell
        given = {**s.kept, **dict(zip(cell.states, s.after, strict=True)), "x": s.values}
        if name in given:
            return given[name]
        if name == "mask" and s.masks:
            return s.mask[0]
        if name.startswith("zone_") and name[5:] in self.zoned and s.zones is not None:
            i = cell.states.index(name[5:])
            return np.broadcast_to(np.asarray(s.zones[i], s.after[i].dtype), s.after[i].shape)
        new, kept, more = self._looked
        if name.endswith("_new") and name[:-4] in self.zoned:
            return new[cell.states.index(name[:-4])]
        return kept[name] if name in kept else more[name]

    def gradient(self, name: str) -> Array:
        """The gradient by what a name stands for at each step, packed (N, ...)."""
        return self._back[0][name]

    @functools.cached_property
    def _back(self) -> tuple[dict[str, Array], Arrays, Arrays]:
        """The gradients by name; those by the states before zoneout; and those by the first states, (B, width)."""
        s, states, kept = self._steps, self.cell.states, self._looked[1]
        rows: list[Array] = []
        parts: dict[str, list[Array]] = {}
        whole: list[Arrays] = []

        def watch(step: TapeStep, dafter: Arrays, dnew: Arrays, by_name: Kept) -> None:
            rows.append(step.rows)
            whole.append(dnew)
            found = by_name | {f"{name}_new": by_name.get(name, new) for name, new in zip(states, dnew, strict=True)}
            for name, after in zip(states, dafter, strict=True):
                found[name] = after if name in self.zoned else by_name.get(name, after)
                found[f"{name}'"] = after  # without what the step itself adds
            for name, array in found.items():
                parts.setdefault(name, []).append(array)

        dstart = unroll_derivative(s.tape(kept, s.reverse), self._walk.dy, self._walk.dstate, watch)[1]
        order = np.concatenate(rows)
        found = {name: self._packed(name, each, order) for name, each in parts.items()}
        return found, tuple(packed_rows([*each], order) for each in zip(*whole, strict=True)), dstart

    def _packed(self, name: str, parts: list[Array], rows: Array) -> Array:
        """The gradient by a name at all steps, whose shape is held to what it is the gradient of."""
        must = f"step_derivative of the cell {self.cell.name!r} must give the gradient of {name!r}"
        like = self.values(name) if name in self.names() else None
        shape = ("batch", "...") if like is None else ("batch", *like.shape[1:])
        if any(not isinstance(part, np.ndarray) or part.dtype.kind != "f" for part in parts):
            raise checks.DtypeError(f"{must} as an array of floats. Got {checks.describe(parts[0])}.")
        try:
            found = packed_rows([part.astype(self.layer.dtype, copy=False) for part in parts], rows)
        except (ValueError, IndexError):
            found = None
        if found is None or len(found) != len(rows) or (like is not None and found.shape != like.shape):
            raise checks.ShapeError(f"{must} at each step, {checks.listed(shape)}. Got {checks.describe(parts[0])}.")
        return found

    def share(self, name: str) -> Array:
        """What each step adds to the gradient of a weight, (time, *shape of the weight), summed over the batch."""
        weight, lengths = self.layer.parameters[name], self.layout.rows
        total = np.zeros((self.layout.time or int(lengths.max()), *weight.shape), weight.dtype)
        _, dnew, dstart = self._back
        if name not in self.cell.weights:  # a state that is learned acts at the first step of the walk
            if self._walk.from_learned:
                at = lengths - 1 if self.reverse else np.zeros_like(lengths)
                np.add.at(total, at, dstart[self.cell.states.index(name[:-1])])
            return total
        s, i = self._steps, list(self.cell.weights).index(name)
        weights = locked(s.weights)
        for t, step in enumerate(s.tape(self._looked[1], False).steps):
            dnext = tuple(part[step.rows] for part in dnew)
            total[t] = go_back(self.cell, s.values[step.rows], step.state, weights, step.kept, dnext, step.mask)[2][i]
        return total
