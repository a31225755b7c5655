"""A network one step at a time: the same numbers as over whole sequences.

What a stream needs of a network, its weights made ready for steps, is a `PackedNetwork`; all streams made of a network
share one, until the network changes. A stream itself is the recurrent state of every layer, advanced one step at a
time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from elman import checks
from elman.cells.cell import Arrays
from elman.cells.stepping import Stepper, two_at_once
from elman.checks import Array, ShapeError
from elman.layers.layer import Layer, State
from elman.packed import PackedNetwork, axes, last_values
from elman.sequences import Layout, by_name

if TYPE_CHECKING:
    from elman.network import Network

T = TypeVar("T")
Steppers = tuple[Stepper, ...]


class Stream:
    """One sequence, or `batch` of them side by side, fed step by step; made by `Network.stream`.

    A stream keeps the weights that the network had when the stream was made. Streams of one network share them, copied
    and pickled ones too, so that thousands take little more memory than their states. Each stream is to be used by one
    thread at a time; where two calls meet, one is refused with `RuntimeError`.

    What is refused has changed nothing. An exception out of a call, from a signal or for want of memory as well, leaves
    the states of all layers as they were before it, or as they are after the whole of it.

    `missing` says what a NaN in an input does: with "pass" it is computed with, and so fills the state and all outputs
    after it; with "raise" it is refused, with its place; with "forward" the last value of that feature takes its place,
    row by row (a NaN before any value is refused). The last values are no part of `state`, but copies and pickles keep
    them, and `reset` forgets them. Infinity is a value. Tokens are never missing: "forward" is refused.

    A pool over time gives at each step what a sequence that ended there would give: `LastStep` that step, a last state
    that is read the one after it, `MaxOverTime` and `MeanOverTime` the largest and the mean so far. A causal `Conv1d`
    keeps its last inputs. A network of several inputs takes them by name, vectors per sequence at every step too, and
    outputs by name come as a dict. Raises `ShapeError`, which names the node, for a network that must see more than the
    steps so far: with a bidirectional layer, a `Conv1d` of another padding or with a stride, `MaxPool1d` or
    `AveragePool1d`, `LastSteps`, `Repeat`, `Reverse` or `Masking`, `Attention`, a node that starts from others, or a
    sequence beside its own pool.

    >>> import numpy as np, elman
    >>> net = elman.Network([elman.GRU(2, 8, dtype="float64", seed=0), elman.Dense(8, 1, dtype="float64", seed=1)])
    >>> s = net.stream()
    >>> steps = [s.step(x) for x in np.ones((5, 2))]
    >>> np.allclose(steps, net(np.ones((5, 2)))[0])
    True
    """

    __slots__ = (
        "__weakref__",
        "_batch",
        "_dtype",
        "_fills",
        "_first",
        "_gives",
        "_missing",
        "_only",
        "_outer",
        "_packed",
        "_plain",
        "_ready",
        "_spares",
        "_steppers",
    )

    def __init__(self, packed: PackedNetwork, batch: int | None = None, missing: str = "pass") -> None:
        if not isinstance(packed, PackedNetwork):
            raise TypeError(f"a stream must be made by its network, net.stream(). Got {checks.show(packed)}.")
        net = packed.net
        self._packed = packed
        self._batch = None if batch is None else checks.size("batch", batch)
        self._missing = checks.choice("missing", missing, ("pass", "raise", "forward"))
        self._fills = [width or 0 for _, width, _ in net.takes] if missing == "forward" else []
        tokens = any(count is not None for *_, count in net.takes)
        if self._fills and (tokens or 0 in self._fills or net.dtype is None):
            why = "takes no features" if tokens else "does not tell the number of features, or the dtype, of each input"
            raise ValueError(f"missing must be 'pass' or 'raise' for a network that {why}. Got {missing!r}.")
        self._outer = () if self._batch is None else (self._batch,)
        # An input as it is computed with needs no look into it.
        self._dtype = net.dtype
        as_is = len(net.takes) == 1 and net.input_size is not None and missing != "raise"
        self._plain = (*self._outer, net.input_size) if as_is and net.dtype is not None else None
        self._gives = None if net.graph.named else next(iter(packed.outputs.values()))  # the value that comes out
        # What makes the steppers, those that fill before those of the layers, and the states before the first step.
        fillers = [last_values(width, net.dtype, self._batch is None) for width in self._fills]
        self._ready = [*fillers, *packed.ready] if fillers else packed.ready
        unseen = [(np.full((1, width), np.nan, net.dtype),) for width in self._fills]
        self._first = [*unseen, *packed.first] if fillers else packed.first
        self._steppers = self._new_steppers()
        self._spares: list[Steppers] = []
        if fillers or not packed.begins_at_0:
            self._put(self._steppers, self._first)
        # A single recurrent layer is one call away.
        alone = len(packed.rows) == len(packed.ready) == 1 and missing == "pass" and self._gives is not None
        self._only: Callable[..., Any] | None = self._steppers[0].step if alone else None

    @property
    def net(self) -> Network:
        """The network as the stream runs it: a copy made with the stream, which cannot be written into."""
        return self._packed.net

    @property
    def batch(self) -> int | None:
        """How many sequences stand side by side; None for one without an axis for the batch."""
        return self._batch

    @property
    def missing(self) -> str:
        """What a NaN in an input does: "pass", "raise" or "forward"."""
        return self._missing

    def step(self, x: Any, out: Array | None = None) -> Any:
        """The output of one step.

        x is (features,), or (batch, features); for tokens a whole number, or (batch,). With `out`, an array of the
        output's shape and dtype, the result is written there, and a network that ends in a recurrent layer
        allocates nothing.
        """
        only = self._only
        if only is None or (y := only(x, out)) is NotImplemented:
            return self._step(x, out)
        return y

    def _step(self, x: Any, out: Array | None) -> Any:
        values = self._read_all(x, ())
        if out is None:
            return self._move(self._through, values)
        if self._gives is None:
            raise ValueError("out must be left out for a network that gives several outputs. Got an array.")
        dtype = values[0].dtype if self.net.dtype is None else self.net.dtype
        self._move(self._through, values, self._writable(out, dtype))
        return out

    def run(self, x: Any) -> Any:
        """The outputs of a chunk of steps: x is (time, features), or (batch, time, features), without features for
        tokens. The numbers, and the state afterwards, are those of as many calls of `step`."""
        values = self._read_all(x, ("time",))
        time = values[0].shape[len(self._outer)]
        if time == 0 or any(rows.shape[len(self._outer)] != time for rows in values):
            raise ShapeError(f"x must have at least one step, and as many in each input. Got {values[0].shape}.")
        if self._packed.by_steps:
            return self._move(self._step_by_step, values, time)
        return self._move(self._through, values, None, True)

    def _step_by_step(self, steppers: Steppers, x: list[Array], time: int) -> Any:
        axis = len(self._outer)
        steps = [self._through(steppers, [np.asarray(rows.take(t, axis)) for rows in x]) for t in range(time)]
        if self._gives is not None:
            return np.stack(steps, axis)
        return {name: np.stack([step[name] for step in steps], axis) for name in steps[0]}

    def _through(self, steppers: Steppers, x: list[Array], out: Array | None = None, chunk: bool = False) -> Any:
        """x through all layers; the last writes into `out` itself where it can."""
        packed, gives, values, own = self._packed, self._gives, x, iter(steppers)
        for j in range(len(self._fills)):
            filler = next(own)
            values[j] = filler.run(values[j]) if chunk else filler.step(values[j])
        y: Any = values[-1]
        for stateless, reads, states in packed.rows:
            rows: Any = (
                y if reads is None else values[reads[0]] if len(reads) == 1 else tuple([values[j] for j in reads])
            )
            if stateless is not None:
                y = stateless(rows)
            else:
                stepper = next(own)
                y = stepper.run(rows) if chunk else stepper.step(rows, out if gives == len(values) else None)
                if y is NotImplemented:  # rows in another layout, or an `out` that is to be filled below
                    rows = np.ascontiguousarray(rows, self.net.dtype)
                    y = stepper.run(rows) if chunk else stepper.step(rows)
                    assert y is not NotImplemented  # the layers fit together
            values.append(y)
            if states:
                last = stepper.state()
                values += [last[s] if self._outer else last[s][0] for s in states]
                y = values[-1]
        if gives is None:
            return {name: np.array(values[j]) for name, j in packed.outputs.items()}
        y = values[gives]
        if out is not None and y is not out:
            out[...] = y
        elif not packed.net.stateful and any(np.may_share_memory(y, rows) for rows in values[: len(packed.net.inputs)]):
            y = y.copy()  # layers that do nothing hand on what they get
        return y

    def _move(self, act: Callable[..., T], *args: Any) -> T:
        """Lets ``act(steppers, *args)`` change the state, wholly or not at all.

        It works on steppers of its own, which are then put in the place of the old ones by one assignment. Those serve
        the next call.
        """
        before = self._steppers
        if not before or len(before) == len(self._packed.rows) + len(self._fills) == 1:
            return act(before, *args)  # one stepper moves wholly or not at all by itself
        # Always another tuple: where `self._steppers` is still `before`, nothing has moved meanwhile.
        after = (*self._spares.pop(),) if self._spares else self._new_steppers()
        for new, old in zip(after, before, strict=True):
            new.assign(old)
        result = act(after, *args)
        if self._steppers is not before:
            raise two_at_once()
        self._steppers = after
        self._spares.append(before)
        return result

    def _new_steppers(self) -> Steppers:
        try:
            return tuple([packed.stream(self._batch) for packed in self._ready])
        except (MemoryError, ValueError):  # NumPy's ValueError: of no size that an array can have
            raise MemoryError(f"batch must be small enough for the memory. Got {self._batch or 1}.") from None

    def reset(self, rows: Any = None) -> None:
        """Back to the state before the first step, 0 or the learned one.

        With `rows`, indices or a slice or a mask over the batch, those rows alone; the others are not touched.
        """
        if rows is None:
            self._move(self._put, self._first)
            return
        index, steppers = _row_indices(rows, self._batch or 1), self._steppers
        before = [stepper.state(index) for stepper in steppers]
        try:
            self._put(steppers, self._first, index)
            self._steppers = (*steppers,)  # another tuple: a call that began before this is refused
        except BaseException:
            self._put(steppers, before, index)
            raise

    @staticmethod
    def _put(steppers: Steppers, states: list[Arrays], rows: Array | None = None) -> None:
        for stepper, state in zip(steppers, states, strict=True):
            stepper.set_state(*state, rows=rows)

    @property
    def state(self) -> list[Any]:
        """One entry per layer with states, in arrays (hidden,) or (batch, hidden), the pair (h, c) for an LSTM; nested
        networks nest. A copy; may be assigned, with None for a layer that begins anew.

        What pools over time have seen has entries of its own, which the state of a call, `net(x)`, does not have: the
        largest values of a `MaxOverTime`, the pair (sum, count) of a `MeanOverTime`.
        """
        states = (stepper.state() for stepper in self._steppers[len(self._fills) :])
        return self._packed.stepped.unpack_state(_nested(self._packed.stepped, states), self._layout)

    @state.setter
    def state(self, value: list[Any]) -> None:
        # All of it is checked before any is taken over.
        stepped = self._packed.stepped
        read = iter([*_flat(stepped, stepped.pack_state("state", value, self._layout))])

        def put(steppers: Steppers) -> None:
            for stepper, first in zip(steppers[len(self._fills) :], self._packed.first, strict=True):
                stepper.set_state(*(next(read) or first))

        self._move(put)

    @property
    def _layout(self) -> Layout:
        return Layout(None, self._batch or 1, "single" if self._batch is None else "array")

    def copy(self) -> Stream:
        """A stream of the same weights that goes on from here by itself."""
        twin = Stream(self._packed, self._batch, self._missing)
        for new, old in zip(twin._steppers, self._steppers, strict=True):
            new.assign(old)
        return twin

    __copy__ = copy

    def __getstate__(self) -> tuple[Any, ...]:
        return self._packed, self._batch, self._missing, [stepper.state() for stepper in self._steppers]

    def __setstate__(self, saved: tuple[Any, ...]) -> None:
        self.__init__(*saved[:3])  # type: ignore[misc]
        self._put(self._steppers, saved[3])

    def _read_all(self, x: Any, middle: tuple[str, ...]) -> list[Array]:
        """The inputs as rows that the first layers take."""
        plain = not middle and type(x) is np.ndarray and x.shape == self._plain
        if plain and x.dtype == self._dtype and x.flags.carray:
            return [x]
        given = {"x": x} if len(self.net.takes) == 1 else by_name("x", x, self.net.inputs)
        pairs = zip(given.items(), self.net.takes, strict=True)
        return [self._read(part, middle, name, width, count) for (name, part), (_, width, count) in pairs]

    def _read(self, x: Any, middle: tuple[str, ...], name: str, width: int | None, count: int | None) -> Array:
        """One input as rows, (batch, ..., features), or without batch."""
        if count is not None:
            numbers = checks.whole_numbers(name, x)
            tokens = checks.indices(name, numbers, count, functools.partial(checks.place, name))
            checks.shape(name, tokens, (*self._outer, *middle))
            return tokens
        names = axes(len(self._outer), len(middle))
        array = checks.real_array(name, x, self._packed.net.dtype, names)
        checks.shape(name, array, (*self._outer, *middle, "features" if width is None else width))
        if self._missing == "raise" and (missing := np.isnan(array)).any():
            at = checks.place(name, checks.first(missing), names)
            raise ValueError(f"{name} must hold no NaN, with missing='raise'. Got one at {at}.")
        return np.ascontiguousarray(array)

    def _writable(self, out: Any, dtype: np.dtype[Any]) -> Array:
        """The memory that a step writes into."""
        wrong = not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray) or out.dtype != dtype
        if wrong or not out.flags.writeable:
            what = f"an array of {out.dtype}" if isinstance(out, np.ndarray) else checks.describe(out)
            locked = ", which cannot be written into" * (not wrong)
            raise checks.DtypeError(f"out must be a writable array of {dtype}. Got {what}{locked}.")
        width = self.net.output_size if self.net.output_size is not None else "features"
        checks.shape("out", out, (*self._outer, width))
        packed = out.shape[-1] * out.itemsize
        apart = out.ndim == 1 or len(out) == 1 or abs(out.strides[0]) >= packed
        if not apart or (out.shape[-1] > 1 and out.strides[-1] != out.itemsize):
            raise ShapeError(f"out must have packed rows that share no memory. Got strides {out.strides}.")
        return out.view(np.ndarray)

    def __repr__(self) -> str:
        over = "one sequence" if self._batch is None else f"{self._batch} sequences"
        return f"Stream over {over} of a {self.net!r}"


def _nested(net: Layer, entries: Iterator[Any]) -> list[Any]:
    """The entries, one for each recurrent layer, in lists that nest as the networks do."""
    return [_nested(layer, entries) if layer.layers else next(entries) for layer in net.layers if layer.stateful]


def _flat(net: Layer, state: State) -> Iterator[Arrays | None]:
    """The entries of the same lists, one for each recurrent layer; None where none are given."""
    stateful = [layer for layer in net.layers if layer.stateful]
    for layer, entry in zip(stateful, state or [None] * len(stateful), strict=True):
        if layer.layers:
            yield from _flat(layer, entry)
        else:
            yield entry


def _row_indices(rows: Any, batch: int) -> Array:
    """Rows of a batch as int64 indices from 0 up."""
    if isinstance(rows, slice):
        rows = np.arange(batch)[rows]
    must = f"rows must be indices from {-batch} to {batch - 1}, a slice, or a mask over the batch of {batch}"
    array = checks.plain_array("rows", list(rows) if isinstance(rows, tuple) else rows)
    if array.dtype == np.bool_:
        if array.shape != (batch,):
            raise ShapeError(f"{must}. Got {f'a mask of shape {array.shape}' if array.ndim else rows}.")
    elif array.ndim > 1 or (array.dtype.kind not in "iu" and array.size):
        raise checks.DtypeError(f"{must}. Got {checks.show(rows)}.")
    else:
        array = np.atleast_1d(array)
        wrong = (array < -batch) | (array >= batch)
        if wrong.any():
            raise IndexError(f"{must}. Got {array[wrong][0]}.")
        array = array.astype(np.int64)  # an empty list holds floats
    return np.arange(batch, dtype=np.int64)[array]
