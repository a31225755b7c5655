"""Recurrent layers: any cell through time, in one direction or in both (Schuster and Paliwal 1997)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from elman import checks, engine
from elman.cells import Cell, stepping
from elman.cells.calling import advance, locked
from elman.cells.cell import REVERSE, Arrays
from elman.cells.sources import equations
from elman.checks import Array, ShapeError
from elman.initializers import RECURRENT, recurrent
from elman.layers.layer import Gradients, Layer, Noise, State
from elman.layers.pointwise import dropout_mask, dropout_rate, happens, merged, merged_derivative
from elman.options import LiveArrays, ReadOnly, frozen
from elman.sequences import Layout, Sequences


class Walk(NamedTuple):
    """What one direction of a layer kept of a forward pass, and the gradients that come to it on the way back."""

    tape: Any  # of the engine
    from_learned: bool  # whether it began from the state that is learned
    dy: Array | None = None  # (N, H)
    dstate: Arrays | None = None  # (B, H) each, by the last states


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

    @property
    def equations(self) -> str:
        """The equations of the cell as text, and where its step, its derivative, kernel and tests stand.

        Of a cell of one's own it is the source of its two functions. Two cells follow one another.

        >>> import elman
        >>> print(elman.RNN(2, 3).equations)  # doctest: +ELLIPSIS
        The simple recurrent network (Elman 1990, ...
        <BLANKLINE>
            h' = act(x Wx + h Wh + b) ...
        step ...rnn.py, line ...
        step_derivative ...rnn.py, line ...
        """
        return "\n\n".join(dict.fromkeys(map(equations, [part.cell for part in self.directions.values()])))

    def run(self, x: Sequences, state: State, rng: Noise, keep: bool) -> tuple[Sequences, State, Any]:
        if not self.bidirectional:
            y = np.empty((len(x.values), self._widths[0]), self.dtype)
            return x.with_values(y), *self._walk(x, state, rng, keep, y, reverse=False)
        first, second = self.directions.values()
        width, (start, last) = first._widths[0], self._by_direction(state)
        values = np.empty((len(x.values), width + second._widths[0]), self.dtype)
        outs = values[:, :width], values[:, width:]
        end, tape = first._walk(x, start, rng, keep, outs[0], reverse=False)
        more, twin = second._walk(x, last, rng, keep, outs[1], reverse=True)
        if self._merge == "concat":
            return x.with_values(values), end + more, (tape, twin, None)
        return x.with_values(merged(self._merge, *outs)), end + more, (tape, twin, outs if keep else None)

    def run_back(self, kept: Any, dy: Array, dstate: State) -> tuple[Array, State, Gradients]:
        walks = zip(self.directions.values(), walks_of(self, kept, dy, dstate).values(), strict=True)
        (dx, dstart, gradients), *others = [part._walk_back(walk) for part, walk in walks]
        if not others:
            return dx, dstart, gradients
        more, dsecond, others = others[0]
        return dx + more, dstart + dsecond, gradients | {name + REVERSE: array for name, array in others.items()}

    def _alone(self, kept: Any, rows: slice, b: int) -> Any:
        if not self.bidirectional:
            own = engine.alone(kept[0], rows, b)
            return own and (own, kept[1])
        tape, twin, outs = kept
        both = [part._alone(own, rows, b) for part, own in zip(self.directions.values(), (tape, twin), strict=True)]
        return None if None in both else (*both, outs and tuple([out[rows] for out in outs]))

    def _by_direction(self, state: State) -> tuple[State, State]:
        """The packed states of each direction."""
        if state is None:
            return None, None
        count = len(self.directions[""].cell.states)
        return state[:count], state[count:]

    def first_state(self, count: int) -> Arrays:
        return tuple([state for part in self.directions.values() for state in part._first_state(count)])

    def pack_state(self, name: str, state: Any, layout: Layout, own: bool = True) -> State:
        if state is None or not self.bidirectional:
            return super().pack_state(name, state, layout, own)
        first, second = self.directions.values()
        if self._alike:
            arrays = self._read_states(name, state, first.states(), layout, own, 2)
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


def walks_of(layer: Directed, kept: Any, dy: Array | None = None, dstate: State = None) -> dict[str, Walk]:
    """Of what `run` of a layer kept, and of the gradients by its outputs and last states, each direction's part."""
    if not layer.bidirectional:
        return {"": Walk(kept[0], kept[1], dy, dstate)}
    tape, twin, outs = kept
    width, (dend, dlast) = layer.directions[""]._widths[0], layer._by_direction(dstate)
    dz = None
    if dy is not None:
        dy, dz = (dy[:, :width], dy[:, width:]) if outs is None else merged_derivative(layer._merge, outs, dy)
    return {"": Walk(tape[0], tape[1], dy, dend), REVERSE: Walk(twin[0], twin[1], dz, dlast)}


class Recurrent(Directed):
    """A cell through time. ``layer.equations`` shows its equations and where they stand in the source.

    Parameters
    ----------
    cell
        An `elman.Cell`.
    input_size, hidden_size
        Features that come in, and hidden units.
    bidirectional
        Also runs a second cell from the end of each sequence to its start; y is (batch, time, 2 hidden), the
        forward output first. The parameters of the second direction end in ``_reverse``. This is the short form of an
        `elman.Bidirectional` of two equal layers.
    dtype
        "float32" or "float64": of parameters, outputs and gradients. Inputs are converted.
    seed
        The same seed gives the same weights; None draws fresh ones.
    initializer
        "glorot" (input weights Glorot, recurrent weights orthogonal, biases 0; each gate by itself), "orthogonal"
        (both orthogonal), or "uniform" (everything uniform in +-1/sqrt(hidden), PyTorch's way).
    recurrent_dropout
        From 0 to under 1. Where `forward` is given a generator, as in training, the hidden state enters the products
        with weights times a mask: 0 with this probability, else 1 / (1 - recurrent_dropout). Each sequence has one
        mask, the same for all gates and at all steps, and each direction its own (Gal and Ghahramani 2016, section
        4.1). What goes past the products, the cell state of an LSTM and z h of a GRU, is not masked. PyTorch has no
        such option; Keras's GRU draws one mask for each gate. Under truncated backpropagation each window draws anew.
    zoneout
        From 0 to under 1, or a tuple of one for each state, (h, c) for an LSTM. Where `forward` is given a generator,
        each unit of a state keeps its value with this probability p, drawn anew at each step; elsewhere, and in
        streams, the expectation takes its place: s' = p s + (1 - p) s_new (Krueger et al. 2017, section 3). The
        next h of an LSTM comes of the new c, before c itself is zoned out, as in the paper.
    learned_state
        Makes the state before the first step a parameter, (hidden,) for each state and direction: "h0", "c0", with
        "_reverse" for the second direction. It starts at 0 and counts wherever no state is given; streams start
        with it. Where a state is given, its gradient is 0.

    State: one array (batch, hidden) per state of the cell, a tuple of them where there are several; (hidden,) for a
    single sequence; with a leading axis of 2 for both directions. The first state, and each
    direction's half of y, is as wide as the projection of the cell, where it has one.

    x (batch, time, input) gives y (batch, time, hidden), without the first axis for one sequence.

    Raises `ValueError` for a rate or a size that cannot be, and for `recurrent_dropout` with a cell that takes no mask.

    >>> import numpy as np, elman
    >>> cell = elman.GRU(3, 5).cell  # or an `elman.Cell` of your own
    >>> layer = elman.Recurrent(cell, 3, 5, bidirectional=True, zoneout=0.1, seed=0)
    >>> y, h = layer(np.ones((2, 7, 3)))
    >>> y.shape, h.shape
    ((2, 7, 10), (2, 2, 5))
    """

    dtype: np.dtype[Any]
    zoneout: float | tuple[float, ...]
    zone_rates: tuple[float, ...] = ()  #: the rate of zoneout of each state
    _initializer: str = "glorot"
    _views: Mapping[str, Recurrent] | None = None  # of each direction, once they have been asked for

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        bidirectional: bool = False,
        dtype: Any = "float32",
        seed: int | None = None,
        initializer: str = "glorot",
        *,
        recurrent_dropout: float = 0.0,
        zoneout: float | tuple[float, ...] = 0.0,
        learned_state: bool = False,
    ) -> None:
        self._begin(locals())

    def _begin(self, given: Mapping[str, Any]) -> None:
        """Makes the layer from the arguments of its own `__init__`: options, `seed` and `initializer`."""
        self._initializer = checks.choice("initializer", given["initializer"], RECURRENT)
        Layer.__init__(self, given["seed"], **{name: given[name] for name in self._known_options() if name in given})

    def setup(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        bidirectional: bool,
        dtype: Any,
        recurrent_dropout: float = 0.0,
        zoneout: Any = 0.0,
        learned_state: bool = False,
    ) -> None:
        if not isinstance(cell, Cell):
            raise TypeError(f"cell must be an elman.Cell. Got {checks.show(cell)}.")
        self.cell = cell
        self.input_size = checks.size("input_size", input_size)
        self.hidden_size = checks.size("hidden_size", hidden_size)
        self.bidirectional = self.needs_whole_sequences = checks.flag("bidirectional", bidirectional)
        self._widths = cell.widths(self.hidden_size)  # of the states; the first is that of one direction's output
        self._suffixes = ("", REVERSE) if bidirectional else ("",)
        self.output_size = self._widths[0] * len(self._suffixes)
        self.dtype = checks.float_dtype(dtype)
        self.recurrent_dropout = dropout_rate("recurrent_dropout", recurrent_dropout)
        if self.recurrent_dropout and not cell.takes_mask:
            must = "recurrent_dropout must be 0 for a cell that takes no mask, see elman.Cell"
            raise ValueError(f"{must}. Got {self.recurrent_dropout} for {cell!r}.")
        self.zone_rates = rates = _zone_rates(zoneout, cell.states)
        self.zoneout = rates[0] if len(set(rates)) == 1 else rates
        self._zones = rates if any(rates) else None
        self.learned_state = checks.flag("learned_state", learned_state)
        # The parameters of one direction that are states before the first step.
        self._learned = tuple([f"{name}0" for name in cell.states if learned_state])
        for name in self._learned:
            if name in cell.weights:
                raise ValueError(f"a learned state must have a name of its own. Got {name}, a weight of {cell!r}.")
        for name in self.shapes():
            if name in self.__dict__ or hasattr(type(self), name):
                raise ValueError(f"a weight of {cell!r} must have a name that no layer has. Got {name!r}.")

    def states(self) -> dict[str, int]:
        widths = dict(zip(self.cell.states, self._widths, strict=True))
        return {name + suffix: width for suffix in self._suffixes for name, width in widths.items()}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        shapes = self.cell.shapes(self.input_size or 0, self.hidden_size)
        shapes |= {name: (width,) for name, width in zip(self._learned, self._widths, strict=False)}
        return {name + suffix: shape for suffix in self._suffixes for name, shape in shapes.items()}

    @property
    def directions(self) -> Mapping[str, Recurrent]:
        if not self.bidirectional:
            return {"": self}
        if self._views is None:
            self._views = {suffix: self._view(suffix) for suffix in self._suffixes}
        return self._views

    def _view(self, suffix: str) -> Recurrent:
        """One direction as a layer of the library's own class, over the same arrays."""
        kind: Any = next(kind for kind in type(self).__mro__ if kind.__module__.startswith("elman."))
        view: Recurrent = kind.__new__(kind)
        view.__dict__.update(self.__dict__, output_size=self._widths[0], _suffixes=("",), _views=None)
        view.__dict__.update(bidirectional=False, needs_whole_sequences=False)
        del view.__dict__["_config"]  # fixed once it is there
        view._states = view.states()
        view._config = ReadOnly(frozen(view._describe(kind._known_options())))
        view._parameters = LiveArrays({name: self._parameters[name + suffix] for name in view.shapes()})
        view._weights = tuple([view._parameters[name] for name in self.cell.weights])
        return view

    def draw(self, rng: np.random.Generator) -> None:
        for part in self.directions.values():
            part._draw(rng)

    def _draw(self, rng: np.random.Generator) -> None:
        """The weights of one direction."""
        recurrent(self._parameters, self.cell, self._initializer, rng)
        for name in self._learned:
            self._parameters[name][...] = 0

    def _set_weights(self, given: Mapping[str, Array], seed: int | None) -> None:
        self._views = None
        super()._set_weights(given, seed)
        self._weights: Arrays = tuple([self._parameters[name] for name in self.cell.weights])  # of the first direction

    def _walk(
        self, x: Sequences, state: State, rng: Noise, keep: bool, out: Array, reverse: bool
    ) -> tuple[Arrays, Any]:
        """One direction: its outputs into `out`, the last states, and what `_walk_back` needs; see `run`."""
        count, weights, rate = x.layout.count, self._weights, self.recurrent_dropout
        start = self._first_state(count) if state is None and self._learned else state
        mask = dropout_mask(rng, rate, (count, self._widths[0]), self.dtype) if rng and rate else None
        zones: Any = self._zones
        if zones and rng is not None:  # 1 where a unit keeps its value in a step, else 0; the rates are their means
            pairs = zip(zones, self._widths, strict=True)
            zones = tuple([happens(rng, p, (len(out), n)).astype(self.dtype) if p else 0.0 for p, n in pairs])
        end, tape = engine.forward(self.cell)(
            self.cell, weights, x.values, x.lengths, start, out, reverse=reverse, keep=keep, mask=mask, zones=zones
        )
        return end, (tape, state is None)

    def _walk_back(self, walk: Walk) -> tuple[Array, Arrays, Gradients]:
        """The gradients by x, the first states and the parameters, from those by the outputs and the last states."""
        dx, dstart, dweights = engine.backward(walk.tape, walk.dy, walk.dstate)
        gradients = dict(zip(self.cell.weights, dweights, strict=True))
        for name, d0 in zip(self._learned, dstart, strict=False):
            gradients[name] = d0.sum(0) if walk.from_learned else np.zeros(d0.shape[1:], d0.dtype)
        return dx, dstart, gradients

    def _first_state(self, count: int) -> Arrays:
        """That of one direction."""
        if not self._learned:
            return Layer.first_state(self, count)
        return tuple([np.tile(self._parameters[name], (count, 1)) for name in self._learned])

    def step(self, x: Array, state: Arrays) -> tuple[Array, Arrays]:
        weights = self._weights
        weights = locked(weights) if weights[0].flags.writeable else weights
        after, _ = advance(self.cell, x, state, weights, (), self._zones)
        return after[0], after

    def ready(self) -> stepping.Packed:
        if not engine.compiled(self.cell):
            return super().ready()
        return engine.pack(self.cell, self._weights, self._zones)


_FIXED = "the state never changes"


def _zone_rates(value: Any, states: tuple[str, ...]) -> tuple[float, ...]:
    """The rate of zoneout of each state, from one number for all or a tuple of one each."""
    if not isinstance(value, (tuple, list)):
        return (dropout_rate("zoneout", value, _FIXED),) * len(states)
    if len(value) != len(states):
        must = f"zoneout must be a number, or a tuple of {len(states)}, ({', '.join(states)})"
        raise ValueError(f"{must}. Got {len(value)} numbers.")
    return tuple(dropout_rate(f"{name} of zoneout", rate, _FIXED) for name, rate in zip(states, value, strict=True))
