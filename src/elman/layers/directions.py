"""Directions of time: layers that go in both directions, and the outputs of both made one."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from elman import checks
from elman.cells.cell import Arrays
from elman.checks import Array, ShapeError
from elman.layers.layer import Gradients, Layer, Noise, State
from elman.layers.pointwise import Pointwise
from elman.sequences import Layout, Sequences


class MergeDirections(Pointwise):
    """One value from both directions of a bidirectional layer: (..., 2 features) to (..., features).

    y = a + b for `mode` "sum", a b for "mul", (a + b) / 2 for "ave", where a is the first half of the features,
    forward in time, and b the second: ``merge_mode`` of Keras's ``Bidirectional``, where other layers stand between.
    Right after both directions ``elman.Bidirectional(..., merge=...)`` says the same. Raises `ValueError` for another
    mode, `ShapeError` for an odd number of features.

    >>> import numpy as np, elman
    >>> net = elman.Network([elman.GRU(3, 5, bidirectional=True, seed=0), elman.MergeDirections("sum")])
    >>> net(np.ones((2, 7, 3)))[0].shape
    (2, 7, 5)
    >>> elman.MergeDirections("mul")([[1.0, 2.0, 3.0, 4.0]])[0].tolist()
    [[3.0, 8.0]]
    """

    narrowing = 2

    def __init__(self, mode: str) -> None:
        super().__init__(mode=mode)

    def setup(self, mode: str) -> None:
        self.mode = checks.choice("mode", mode, MODES)

    def step(self, x: Array, state: Arrays) -> tuple[Array, Arrays]:
        return merged(MODES[self.mode], *halves(x)), ()

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[Array, None, Gradients]:
        return np.concatenate(merged_derivative(MODES[self.mode], halves(kept[0]), dy), axis=-1), None, {}


MODES = {"sum": "sum", "mul": "multiply", "ave": "mean"}  #: of `MergeDirections` -> what `Bidirectional` calls it


def merged(how: str, a: Array, b: Array) -> Array:
    """a + b for "sum", (a + b) / 2 for "mean", a b for "multiply"."""
    if how == "multiply":
        return a * b
    y = a + b
    if how == "mean":
        y *= 0.5
    return y


def merged_derivative(how: str, both: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    """The gradients by both that were merged."""
    if how == "multiply":
        a, b = both
        return dy * b, dy * a
    dy = dy if how == "sum" else dy * dy.dtype.type(0.5)
    return dy, dy


class Directed(Layer):
    """The base of layers that go over each sequence in one direction, or in both."""

    bidirectional: bool
    _merge: str = "concat"  # what makes one value of the outputs of both directions
    _alike: bool = True  # whether both directions have states of the same widths

    @property
    def directions(self) -> Mapping[str, Any]:
        """The end of the names of parameters -> a recurrent layer of one direction, which shares their memory.

        A layer of one direction is its own only one, {"": layer}. That of "_reverse" is run from the end of each
        sequence to its start.
        """
        raise NotImplementedError

    def _spelled(self) -> list[tuple[Layer, tuple[int, ...]]]:
        """The layers that make it up, each with the places among them of what it reads, -1 for x: itself where it has
        a name in other systems."""
        return [(self, (-1,))]

    def run(self, x: Sequences, state: State, rng: Noise, keep: bool) -> tuple[Sequences, State, Any]:
        parts = [*self.directions.values()]
        width = parts[0]._widths[0]
        values = np.empty((len(x.values), sum([part._widths[0] for part in parts])), self.dtype)
        outs = values[:, :width], values[:, width:]
        ends: Arrays = ()
        tapes = []
        for part, start, out, reverse in zip(parts, self._by_direction(state), outs, (False, True), strict=False):
            end, tape = part._walk(x, start, rng, keep, out, reverse)
            ends += end
            tapes.append(tape)
        if self._merge == "concat":
            return x.with_values(values), ends, (tapes, None)
        return x.with_values(merged(self._merge, *outs)), ends, (tapes, outs if keep else None)

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[Array, State, Gradients]:
        tapes, outs = kept
        width = self.directions[""]._widths[0]
        douts = (dy[:, :width], dy[:, width:]) if outs is None else merged_derivative(self._merge, outs, dy)
        dxs: list[Array] = []
        dstarts: Arrays = ()
        gradients: Gradients = {}
        each = zip(self.directions.items(), tapes, douts, self._by_direction(dstate), strict=False)
        for (suffix, part), tape, dout, dend in each:
            dx, dstart, own = part._walk_back(tape, dout, dend)
            dxs.append(dx)
            dstarts += dstart
            gradients |= {name + suffix: array for name, array in own.items()}
        return functools.reduce(np.add, dxs), dstarts, gradients

    def _by_direction(self, state: State) -> tuple[State, State]:
        """The packed states of each direction."""
        count = len(self.directions[""].cell.states)
        return (None, None) if state is None else (state[:count], state[count:])

    def first_state(self, count: int) -> Arrays:
        if not self.bidirectional:
            return super().first_state(count)
        first, second = self.directions.values()
        return first.first_state(count) + second.first_state(count)

    def pack_state(self, name: str, state: Any, layout: Layout, own: bool = True) -> State:
        if state is None or not self.bidirectional:
            return super().pack_state(name, state, layout, own)
        first, second = self.directions.values()
        if self._alike:
            shape = (2,) if layout.form == "single" else (2, layout.count)
            arrays = self._read_states(name, state, first.states(), shape, own)
            arrays = [array.reshape(2, layout.count, -1) for array in arrays]
            return tuple([array[d] for d in range(2) for array in arrays])
        if not isinstance(state, (tuple, list)) or len(state) != 2 or any(part is None for part in state):
            must = f"{name} must be a pair, the state of each direction"
            raise ShapeError(f"{must}. Got {checks.describe(state)}.")
        packed: Arrays = first.pack_state(f"{name}[0]", state[0], layout, own)
        return packed + second.pack_state(f"{name}[1]", state[1], layout, own)

    def unpack_state(self, state: State, layout: Layout) -> Any:
        if not state or not self.bidirectional:
            return super().unpack_state(state, layout)
        both = self._by_direction(state)
        if self._alike:
            return super().unpack_state([np.stack(pair) for pair in zip(*both, strict=True)], layout)
        pairs = zip(self.directions.values(), both, strict=True)
        return tuple([part.unpack_state(own, layout) for part, own in pairs])


def halves(values: Array) -> tuple[Array, Array]:
    """The features of the forward direction and those of the reverse one, (..., features / 2) each."""
    width = values.shape[-1]
    if width % 2:
        raise checks.ShapeError(
            f"x must have an even number of features, half of them for each direction. Got {width} features."
        )
    return values[..., : width // 2], values[..., width // 2 :]
