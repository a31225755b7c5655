"""What every layer and network is: parameters by name, forward, backward, and a form for each user.

What a layer was made with, its options, is one truth: what is computed, shown and saved follows from it, and it is
fixed. A subclass says what it computes by the methods of the first half of `Layer`, which see packed arrays alone (see
`elman.sequences`); those of the second half are what a user calls: they pack what comes in, inputs and states, once,
and give results back in the user's form. Nothing of a call stays in a layer: what `backward` needs is the tape that
`forward` returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from elman import checks
from elman.cells import stepping
from elman.cells.cell import Arrays
from elman.checks import Array, ShapeError
from elman.layers.made import Made
from elman.sequences import Layout, Sequences, Several, pack

Gradients = dict[str, Array]
#: States, packed: of a layer a tuple with one array (batch, width) per state, those of a second direction after those
#: of the first; of a network a list with one entry per layer that has states; None where none are given.
State: TypeAlias = Any
Noise: TypeAlias = "np.random.Generator | None"  # what dropout and zones are drawn from; None: nothing is random


class Seen(NamedTuple):
    """What a run in training saw, towards which a buffer moves: buffer += share (value - buffer)."""

    buffer: Array  # live
    value: Array
    share: float

    def move(self) -> None:
        self.buffer[...] += self.buffer.dtype.type(self.share) * (self.value - self.buffer)


@dataclass(frozen=True)
class Tape:
    """What `forward` returns for `backward`; it can be used twice, kept and pickled.

    >>> import numpy as np, elman
    >>> layer = elman.GRU(3, 5, seed=0)
    >>> y, h, tape = layer.forward(np.ones((2, 7, 3)))
    >>> tape
    Tape of GRU: 2 sequences, 14 steps, for backward
    >>> dx, dh, gradients = layer.backward(tape, dy=np.ones_like(y))
    """

    layer: str  # the class of the layer that made it
    config: Mapping[str, Any]
    x: Sequences | Several
    y: Sequences | Several
    kept: Any

    def __repr__(self) -> str:
        layout = self.x.layout
        steps = "" if layout.lengths is None else f", {int(layout.lengths.sum()):,} steps"
        return f"Tape of {self.layer}: {layout.count:,} sequence{'s' * (layout.count != 1)}{steps}, for backward"


#: Layers, each with the places among them of what it reads; None for what the layer reads that they make up.
Spelled: TypeAlias = "list[tuple[Layer, tuple[int, ...] | None]]"


class Layer(Made):
    """The base of layers and networks. `Recurrent`, `Dense` and the others say what they compute.

    ``y, state = layer(x)`` computes, ``y, state, tape = layer.forward(x)`` computes and keeps what
    ``dx, dstate, gradients = layer.backward(tape, dy)`` needs. x is (batch, time, features), one sequence
    (time, features), or a list of sequences; y comes in the same form. Layers without a state return None for it.

    Raises `ShapeError`, `DtypeError` or `ValueError` for an x that does not fit, before anything is computed.

    >>> import numpy as np, elman
    >>> layer = elman.Dense(3, 2, seed=0)
    >>> isinstance(layer, elman.Layer), list(layer.parameters)
    (True, ['W', 'b'])
    >>> y, state, tape = layer.forward(np.ones((4, 7, 3)))
    >>> dx, dstate, gradients = layer.backward(tape, dy=np.ones_like(y))
    >>> y.shape, dx.shape, gradients["W"].shape
    ((4, 7, 2), (4, 7, 3), (3, 2))

    Layers of your own: docs/own.md.
    """

    output_size: int | None = None  #: None: as many as come in
    reads: int | None = 1  #: how many it reads; None: two or more
    tokens: int | None = None  #: takes whole numbers below this, in the place of features
    takes_vectors: bool = False  #: reads one vector per sequence, in the place of its steps
    narrowing: int = 1  #: where output_size is None: how many features come in for each that goes out
    needs_whole_sequences: bool = False  #: cannot go step by step, as a stream does
    pools: bool = False  #: gives one vector per sequence, in a stream that of one which ends at this step
    drops_steps: bool = False  #: which steps y has depends on the values of x
    changes_steps: bool = False  #: y may have another number of steps than x, whatever the values
    layers: tuple[Layer, ...] = ()  #: those inside, of a network
    names: tuple[str, ...] = ()  #: theirs

    # What a subclass says, beside what `Made` has; `step` and `ready` where it can go step by step.

    def first_state(self, count: int) -> Arrays:
        """The states of `count` sequences before their first step, (count, width) each: 0."""
        return tuple([np.zeros((count, width), self.dtype) for width in self._states.values()])

    def run(self, x: Any, state: State, rng: Noise, keep: bool) -> tuple[Any, State, Any]:
        """Whole sequences: y, the states after each one's last step, and with `keep` what `run_back` needs.

        x are `elman.sequences.Sequences`, of a layer that reads several inputs a tuple of them; so is y. `rng` is
        there in training alone. Nothing given may be written into, and the arrays of y must not share memory with
        what `keep` keeps, unless that is never written into.
        """
        raise NotImplementedError

    def run_back(self, kept: Any, dy: Any, dstate: State) -> tuple[Any, State, Gradients]:
        """From the gradients by `y.values` (by name, where y has several) and by the last states (None for 0): those by
        `x.values`, by the first states, and by each parameter."""
        raise NotImplementedError

    def _alone(self, kept: Any, rows: slice, b: int) -> Any:
        """What `run_back` needs of sequence b alone, which has these rows of y; None where it is asked for all."""
        return None

    def _back_by_sequence(
        self, kept: Any, y: Sequences | Several, dy: Any, dstate: State
    ) -> tuple[Any, State, Gradients]:
        """`run_back` with the gradients by parameters of each sequence, from its own rows of y and last states.

        `run_back` is linear in what it is given, so that a sequence has those of a pass in which the others have 0.
        """
        dx, dstart, gradients = self.run_back(kept, dy, dstate)
        count = y.layout.count
        each = {name: np.zeros((count, *array.shape), array.dtype) for name, array in gradients.items()}
        of_library = type(self).__module__.startswith("elman.")  # else it may keep something else
        for b in range(count if gradients else 0):
            rows = y.layout.of_one(b)
            own = self._alone(kept, rows, b) if of_library else None
            if own is None:
                _, _, gradients = self.run_back(kept, y.only(dy, b), _only(dstate, b))
            else:
                last = None if dstate is None else tuple([part[b : b + 1] for part in dstate])
                _, _, gradients = self.run_back(own, dy[rows], last)
            for name, array in gradients.items():
                each[name][b] = array
        return dx, dstart, each

    def seen(self, kept: Any) -> list[Seen]:
        """What a run with `rng` saw of what `buffers` follow. `run` itself moves none: its outcome may be refused."""
        return []

    def step(self, x: Array, state: Arrays) -> tuple[Array, Arrays]:
        """One time step of a stream: y (batch, features) and the next states, for x (batch, features).

        A layer without states is given rows of any number of steps, (..., features), and treats each by itself.
        """
        raise NotImplementedError

    def ready(self) -> Any:
        """`step` for streams, with what it makes of the weights made once and for all.

        An `elman.cells.stepping.Packed`, or for a layer without states a function of rows.
        """
        if not self.stateful:
            return lambda rows: self.step(rows, ())[0]
        widths = tuple(self._states.values())
        return stepping.PlainPacked(self.step, self.input_size or 0, self.output_size or 0, widths, self.dtype)

    def in_stream(self, width: int | None) -> Layer:
        """The layer that goes step by step in the place of this one, over so many features; most do it themselves."""
        return self

    def _spelled(self) -> Spelled:
        """The layers that make it up where other systems have no name for it, else itself."""
        return [(self, None)]

    def features(self, *read: int | None) -> int | None:
        """How many features come out of so many, None where that depends on x; refuses what cannot come in."""
        taken = read[0]
        if self.output_size is not None or taken is None:
            return self.output_size
        if taken % self.narrowing:
            raise ShapeError(f"must take a multiple of {self.narrowing} features. Got {taken}.")
        return taken // self.narrowing

    # How users' arrays come in and go out.

    @property
    def takes_tokens(self) -> bool:
        """Whether x are whole numbers in the place of features."""
        return self.tokens is not None

    def pack(self, x: Any, lengths: Any, own: bool) -> Any:
        """The user's input packed; with `own` its memory is its own, for a tape."""
        if self.reads != 1:
            raise ShapeError(f"{type(self).__name__} must stand in a network, where it reads several. Got it alone.")
        return pack(
            "x", x, self.input_size, self.dtype, lengths, tokens=self.tokens, vectors=self.takes_vectors, own=own
        )

    def pack_state(self, name: str, state: Any, layout: Layout, own: bool = True) -> State:
        """The user's states, packed; refuses what does not fit. `layout` is that of x."""
        if state is None:
            return None
        if not self.stateful:
            must = f"{name} must be left out: {type(self).__name__} has no state"
            raise ShapeError(f"{must}. Got {checks.describe(state)}.")
        return tuple(self._read_states(name, state, self._states, layout, own))

    def _read_states(
        self, name: str, state: Any, widths: Mapping[str, int], layout: Layout, own: bool, *lead: int
    ) -> list[Array]:
        """The user's arrays as (*lead, batch, width), one per state; with `own` their memory is their own."""
        given = (state,) if len(widths) == 1 else state
        if not isinstance(given, (tuple, list)) or len(given) != len(widths):
            must = f"{name} must be a tuple of {len(widths)} arrays, ({', '.join(widths)})"
            raise ShapeError(f"{must}. Got {checks.describe(state)}.")
        shape = lead if layout.form == "single" else (*lead, layout.count)
        arrays = []
        for (part, width), value in zip(widths.items(), given, strict=True):
            usual = type(value) is np.ndarray and value.dtype == self.dtype and value.flags.aligned
            if not usual or value.shape != (*shape, width):
                value = checks.real_array(f"{part} of {name}", value, self.dtype)
                checks.shape(f"{part} of {name}", value, (*shape, width))
            value = np.array(value, order="C") if own else np.ascontiguousarray(value)
            arrays.append(value.reshape(*lead, layout.count, width))
        return arrays

    def unpack_state(self, state: State, layout: Layout) -> Any:
        """Packed states in the user's form."""
        if not state:
            return None
        if layout.form == "single":
            state = [array[..., 0, :] for array in state]
        return state[0] if len(state) == 1 else tuple(state)

    # What a user calls.

    def __call__(self, x: Any, state: Any = None, lengths: Any = None) -> tuple[Any, Any]:
        """Output and final state; see `forward`, of which this is the part without a tape."""
        packed = self.pack(x, lengths, own=False)
        start = None if state is None else self.pack_state("state", state, packed.layout, own=False)
        y, end, _ = self.run(packed, start, None, keep=False)
        # A layer that does nothing, as dropout here, hands its input on: it must not be the caller's array.
        own = type(packed) is Several or type(y) is Several or y.values is packed.values
        return y.unpack(own), self.unpack_state(end, packed.layout)

    def forward(self, x: Any, state: Any = None, lengths: Any = None, rng: Noise = None) -> tuple[Any, Any, Tape]:
        """Computes, and keeps what `backward` needs.

        Parameters
        ----------
        x
            (batch, time, features), one sequence (time, features), or a list of (time_i, features); for an
            `Embedding` whole numbers without the last axis. Converted to the dtype of the layer; a layer or a network
            without weights computes in float32 where x is float32, else in float64.
        state
            The state before the first step, 0 if left out.
        lengths
            (batch,) whole numbers: how many steps of each row of a padded array are real. What stands after them
            is never read.
        rng
            A generator makes dropout act and running statistics move, as in training; without one nothing is random.

        Returns
        -------
        y, state, tape
            y in the form of x, 0 where x is padding; the state after each sequence's own last step.
        """
        if rng is not None and not isinstance(rng, np.random.Generator):
            raise TypeError(f"rng must be a numpy.random.Generator, or None. Got {checks.show(rng)}.")
        packed = self.pack(x, lengths, own=True)
        start = self.pack_state("state", state, packed.layout)
        y, end, kept = self.run(packed, start, rng, keep=True)
        tape = Tape(type(self).__name__, self.config, packed, y, kept)
        found = y.unpack(own=True), self.unpack_state(end, packed.layout), tape  # the tape keeps y too
        if rng is not None and self.buffers:
            for one in self.seen(kept):
                one.move()
        return found

    def backward(
        self, tape: Tape, dy: Any = None, dstate: Any = None, by_sequence: bool = False
    ) -> tuple[Any, Any, Gradients]:
        """Exact gradients of a forward pass, by backpropagation through time.

        Parameters
        ----------
        tape
            What `forward` returned.
        dy
            The gradient of a loss by y, in the form of y; what stands in padding is never read. May be left out.
        dstate
            The gradient by the final state, in the form of the state. May be left out.
        by_sequence
            True gives the gradients by parameters of each sequence, (batch, ...) each, whose sum is what False gives.
            They come of the sequence's own rows of dy and of dstate. Recurrent layers with a kernel and dense ones go
            back over each sequence alone. Others that have parameters go back over the whole batch once for each
            sequence, and so does a whole network with a layer of one's own, or one that measured a batch
            (`elman.BatchNorm` in training).

        Returns
        -------
        dx, dstate, gradients
            The gradient by x in the form of x (None for tokens), by the initial state, and by every parameter,
            name -> array, summed over batch and time.

        >>> import numpy as np, elman
        >>> layer = elman.GRU(2, 3, seed=0)
        >>> y, _, tape = layer.forward(np.ones((4, 7, 2)))
        >>> _, _, gradients = layer.backward(tape, np.ones_like(y), by_sequence=True)
        >>> gradients["Wh"].shape
        (4, 3, 9)
        """
        checks.flag("by_sequence", by_sequence)
        if not isinstance(tape, Tape):
            raise TypeError(f"tape must be what forward returned. Got {checks.describe(tape)}.")
        if (tape.layer, tape.config) != (type(self).__name__, self.config):
            raise ValueError(f"tape must come from this layer, {self!r}. Got one of {tape.layer}, {tape.config}.")
        layout = tape.x.layout
        dend = self.pack_state("dstate", dstate, layout, own=False)
        packed = tape.y.gradient("dy", dy)
        if by_sequence:
            dx, dstart, gradients = self._back_by_sequence(tape.kept, tape.y, packed, dend)
        else:
            dx, dstart, gradients = self.run_back(tape.kept, packed, dend)
        # A layer that did nothing hands dy on: it must not be the caller's array.
        own = dict in (type(dx), type(packed)) or dx is packed
        ordered = {name: gradients[name] for name in self.parameters}
        return tape.x.with_values(dx).unpack(own), self.unpack_state(dstart, layout), ordered


def _only(state: State, b: int) -> State:
    """States, or their gradients, with those of all sequences but one at 0."""
    if state is None or isinstance(state, list):
        return state if state is None else [_only(part, b) for part in state]
    only = tuple([np.zeros_like(part) for part in state])
    for own, part in zip(only, state, strict=True):
        own[b] = part[b]
    return only
