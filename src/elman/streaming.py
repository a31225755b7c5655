"""A network one step at a time: the same numbers as over whole sequences.

What a stream needs of a network, its weights made ready for steps, is a `Plan`; all streams made of a network share
one, until its weights change. A stream itself is a state that walks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array, ShapeError
from elman.layers import Dropout, LastStep, Layer, Recurrent
from elman.layers.layer import placed_layers
from elman.network import Network
from elman.sequences import Layout


class Plan:
    """A network as it was at one moment, with its weights packed."""

    def __init__(self, net: Network) -> None:
        self.net = copy.deepcopy(net)
        every = _flat(self.net)
        check_steps(every)
        self.layers = [layer for layer in every if not isinstance(layer, (Dropout, LastStep))]  # they change no step
        self.packed = [layer._pack() if isinstance(layer, Recurrent) else None for layer in self.layers]
        self.rows = [layer._ready() for layer in self.layers]  # of those without a state

    def fits(self, net: Network) -> bool:
        """Whether the weights of the network are still the same."""
        mine = self.net.parameters
        return all(np.array_equal(array, mine[name]) for name, array in net.parameters.items())


def check_steps(layers: list[Layer]) -> None:
    """Refuses layers that cannot go step by step, and those over time where a step has become the whole."""
    for i, layer in enumerate(layers):
        if layer.needs_whole_sequences:
            raise ShapeError(f"a stream must have layers that go forward step by step. Got {checks.show(layer)}.")
        pooled = any(isinstance(before, LastStep) for before in layers[:i])
        if pooled and isinstance(layer, (Recurrent, LastStep)):
            raise ShapeError(f"a layer over time must be given sequences. Got {checks.show(layer)} behind a LastStep.")


def _flat(net: Network) -> list[Layer]:
    return [layer for _, layer in placed_layers(net)]


class Stream:
    """One sequence, or `batch` of them side by side, fed step by step; made by `Network.stream`.

    A stream keeps the weights that the network had when the stream was made. Streams of one network share them, so
    that thousands take little more memory than their states. Each stream is to be used by one thread at a time; it
    can be copied and pickled.

    A `LastStep` gives the output of each step: that of a sequence which ended there. Raises `ShapeError` for a network
    that must see a whole sequence first: with a bidirectional layer, another pool over time, `Reverse` or `Masking`.

    >>> import numpy as np, elman
    >>> net = elman.Network([elman.GRU(2, 8, dtype="float64", seed=0), elman.Dense(8, 1, dtype="float64", seed=1)])
    >>> s = net.stream()
    >>> steps = [s.step(x) for x in np.ones((5, 2))]
    >>> np.allclose(steps, net(np.ones((5, 2)))[0])
    True
    """

    def __init__(self, plan: Plan, batch: int | None = None) -> None:
        self._plan = plan
        self.batch = None if batch is None else checks.size("batch", batch)
        self._count = self.batch or 1
        self._outer = () if self.batch is None else (self.batch,)
        self._walkers = [None if packed is None else packed.stream(self._count) for packed in plan.packed]
        self._stages: list[Callable[..., Array]] = [
            rows if walker is None else walker.step for rows, walker in zip(plan.rows, self._walkers, strict=True)
        ]
        self.reset()
        # A single recurrent layer is one call away; it refuses, before it changes anything, what does not fit.
        only = len(self._stages) == 1 and self._walkers[0] is not None
        self._only: Callable[..., Array] | None = self._stages[0] if only else None

    @property
    def net(self) -> Network:
        """The network as the stream runs it: a copy made with the stream."""
        return self._plan.net

    def step(self, x: Any, out: Array | None = None) -> Any:
        """The output of one step.

        x is (features,), or (batch, features); for tokens a whole number, or (batch,). With `out`, an array of the
        output's shape and dtype, the result is written there, and a network that ends in a recurrent layer
        allocates nothing.
        """
        if self._only is None:
            return self._step(x, out)
        try:
            return self._only(x, out)
        except (TypeError, ValueError, AttributeError, BufferError):
            return self._step(x, out)  # not an array as the layer takes it: to be converted, or refused in words

    def _step(self, x: Any, out: Array | None) -> Array:
        rows = self._read(x, ())
        if out is not None:
            self._check_out(out, rows.dtype if self.net.dtype is None else self.net.dtype)
        for stage in self._stages[:-1]:
            rows = stage(rows)
        if self._walkers and self._walkers[-1] is not None:
            return self._stages[-1](rows, out)
        y = self._stages[-1](rows) if self._stages else rows.copy()
        if out is None:
            return y
        out[...] = y
        return out

    def run(self, x: Any) -> Any:
        """The outputs of a chunk of steps: x is (time, features), or (batch, time, features), without features for
        tokens. The numbers, and the state afterwards, are those of as many calls of `step`."""
        rows = self._read(x, ("time",))
        if rows.shape[len(self._outer)] == 0:
            raise ShapeError(f"x must have at least one step. Got {rows.shape}.")
        for stage, walker in zip(self._stages, self._walkers, strict=True):
            rows = stage(rows) if walker is None else walker.run(np.ascontiguousarray(rows))
        return rows if self._stages else rows.copy()

    def reset(self, rows: Any = None) -> None:
        """Back to the state before the first step, 0 or the learned one; with `rows`, indices or a mask over the
        batch, those rows alone."""
        for layer, walker in zip(self._plan.layers, self._walkers, strict=True):
            if walker is not None:
                self._reset(layer, walker, rows)

    def _reset(self, layer: Any, walker: Any, rows: Any = None) -> None:
        first = layer._first_state(0, self._count)
        if rows is None and first is None:
            walker.reset()
        elif rows is None:
            walker.set_state(*first)
        else:
            state = walker.state()
            for i, array in enumerate(state):
                array[rows] = 0 if first is None else first[i][rows]
            walker.set_state(*state)

    @property
    def state(self) -> list[Any]:
        """One entry a recurrent layer, in arrays (hidden,) or (batch, hidden), the pair (h, c) for an LSTM; nested
        networks nest. A copy; may be assigned."""
        walkers = iter([walker for walker in self._walkers if walker is not None])
        return self._nested(self.net, lambda layer: layer._write_state([next(walkers).state()], self._layout))

    @state.setter
    def state(self, value: list[Any]) -> None:
        read: list[Any] = []
        self._collect(self.net, value, read)  # all of it is checked before any is taken over
        for layer, walker in zip(self._plan.layers, self._walkers, strict=True):
            if walker is None:
                continue
            state = read.pop(0)
            if state is None:
                self._reset(layer, walker)
            else:
                walker.set_state(*state)

    def _nested(self, net: Network, entry: Callable[[Recurrent], Any]) -> list[Any]:
        """A list with `entry` of each recurrent layer, nested as the networks are."""
        found = []
        for layer in net.layers:
            if isinstance(layer, Network) and layer.stateful:
                found.append(self._nested(layer, entry))
            elif isinstance(layer, Recurrent):
                found.append(entry(layer))
        return found

    def _collect(self, net: Network, value: Any, found: list[Any]) -> None:
        for layer, entry in zip(net.layers, net._spread_state("state", value), strict=True):
            if isinstance(layer, Network) and layer.stateful:
                self._collect(layer, entry, found)
            elif isinstance(layer, Recurrent):
                found += layer._read_state("state", entry, self._layout)

    @property
    def _layout(self) -> Layout:
        return Layout(None, self._count, "single" if self.batch is None else "array")

    def copy(self) -> Stream:
        """A stream of the same weights that goes on from here by itself."""
        twin = Stream(self._plan, self.batch)
        twin.state = self.state
        return twin

    def _read(self, x: Any, middle: tuple[str, ...]) -> Array:
        """x as rows that the first layer takes: (batch, ..., features), or without batch."""
        net = self.net
        if net.takes_tokens:
            tokens = checks.integer_array("x", x, _flat(net)[0].config["count"])
            checks.shape("x", tokens, (*self._outer, *middle))
            return tokens
        array = checks.real_array("x", x, net.dtype)
        width = net.input_size if net.input_size is not None else "features"
        checks.shape("x", array, (*self._outer, *middle, width))
        return np.ascontiguousarray(array)

    def _check_out(self, out: Any, dtype: np.dtype[Any]) -> None:
        if not isinstance(out, np.ndarray) or out.dtype != dtype or not out.flags.writeable:
            raise checks.DtypeError(f"out must be a writable array of {dtype}. Got {checks.describe(out)}.")
        width = self.net.output_size if self.net.output_size is not None else "features"
        checks.shape("out", out, (*self._outer, width))
        if not out.flags.c_contiguous:
            raise ShapeError(f"out must be contiguous. Got strides {out.strides}.")

    def __getstate__(self) -> dict[str, Any]:
        return {"net": self.net, "batch": self.batch, "state": self.state}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        self.__init__(Plan(saved["net"]), saved["batch"])  # type: ignore[misc]
        self.state = saved["state"]

    def __repr__(self) -> str:
        over = "one sequence" if self.batch is None else f"{self.batch} sequences"
        return f"Stream over {over} of a {self.net!r}"
