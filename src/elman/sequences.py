"""Ragged lists and padded arrays: one type for both.

Inside the library there is no padding. A batch is *packed*: the real steps of all sequences stand one after
another in one array, and the lengths say where each sequence ends:

    lengths = [3, 1, 2]      values = [a0 a1 a2 b0 c0 c1]        (N = 6 steps, B = 3 sequences)

A list of sequences, a padded array with lengths and a dense array all become this, so padding can neither be
computed nor leak; what the user gave decides the form in which results go back. The elements of a row stand one after
another, whatever the layout of the user's array: NumPy's sums over a row depend on it in their last bits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from elman import checks
from elman.checks import Array, ShapeError

Kind = Literal["array", "single", "list"]


def step_numbers(lengths: Array) -> Array:
    """(N,): 0, 1, 2 ... of each sequence, one after another."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


@dataclass(frozen=True)
class Layout:
    """How packed rows belong together, and the form in which the user handles them.

    `lengths` is (B,) for sequences and None for vectors: one row per example, as a pooling layer leaves them.
    """

    lengths: Array | None
    count: int  # B
    form: Kind
    time: int = 0  # T of an array
    real: Array | None = None  # (N,) of a padded array: the rows of (B*T, ...) that are real steps

    @classmethod
    def of(cls, form: Kind, lengths: Array, time: int) -> Layout:
        """That of sequences of these lengths, an array having a time axis of `time`."""
        if form == "list" or (form == "array" and np.count_nonzero(lengths < time)):
            real = np.flatnonzero(np.arange(time) < lengths[:, None]) if form == "array" else None
            return cls(lengths, len(lengths), form, time, real)
        return _dense_layout(len(lengths), int(lengths[0]), form)

    @functools.cached_property
    def starts(self) -> Array | None:
        """(B,): the first row of each sequence; None for vectors."""
        return None if self.lengths is None else np.cumsum(self.lengths) - self.lengths

    @property
    def rows(self) -> Array:
        """(B,): how many rows each example has: its steps, or one vector."""
        return np.ones(self.count, np.int64) if self.lengths is None else self.lengths

    def of_one(self, b: int) -> slice:
        """The rows of example b."""
        start = b if self.starts is None else int(self.starts[b])
        return slice(start, start + int(self.rows[b]))

    def as_vectors(self) -> Layout:
        """The layout after pooling over time: one row per sequence."""
        return Layout(None, self.count, self.form)

    def pack(self, name: str, value: Any, read: Callable[[str, Any, tuple[int, ...]], Array]) -> Array:
        """The packed rows (N, ...) of a value in the user's form, such as targets or a gradient of an output.

        `read` makes an array of it, or of each in a list, for a name and the shape of its axes before the last.
        """
        if self.lengths is not None and self.form == "list":
            if not isinstance(value, (list, tuple)):
                must = f"{name} must be a list of {self.count} sequences, as x is"
                raise ShapeError(f"{must}. Got {checks.describe(value)}.")
            if len(value) != self.count:
                raise ShapeError(f"{name} must hold {self.count} examples, as x does. Got {len(value)}.")
            pairs = enumerate(zip(value, self.lengths, strict=True))
            return np.concatenate([read(f"{name}[{i}]", part, (int(length),)) for i, (part, length) in pairs])
        array = read(name, value, self.outer_shape)
        rows = np.ascontiguousarray(array.reshape(-1, *array.shape[len(self.outer_shape) :]))
        return rows if self.real is None else rows.take(self.real, axis=0)

    def unpack(self, values: Array, own: bool = False) -> Any:
        """Packed rows (N, ...) in the user's form: an array, a single sequence or a list; padding is 0.

        With `own` the result has memory of its own in any form.
        """
        if self.lengths is not None and self.form == "list":
            return [part.copy() for part in Sequences(values, self).parts]
        if self.real is not None:
            padded = np.zeros((self.count * self.time, *values.shape[1:]), values.dtype)
            padded[self.real] = values
            values = padded
        elif own:
            values = values.copy()
        return values.reshape(*self.outer_shape, *values.shape[1:])

    @property
    def outer_shape(self) -> tuple[int, ...]:
        """The shape of the user's array without its last axis, features."""
        if self.lengths is None:
            return () if self.form == "single" else (self.count,)
        return (self.time,) if self.form == "single" else (self.count, self.time)


class Sequences(NamedTuple):
    """A batch: packed rows `values` (N, features), or (N,) for tokens, and their layout."""

    values: Array
    layout: Layout

    @property
    def lengths(self) -> Array:
        """(B,): the number of steps of each sequence."""
        if self.layout.lengths is None:
            raise ShapeError("a layer over time must be given sequences. Got vectors, one per example.")
        return self.layout.lengths

    def vectors(self, name: str) -> Array:
        """The rows from which a layer starts, one per sequence."""
        if self.layout.lengths is not None:
            raise ShapeError(f"must start from one vector per sequence. Got the steps of {name}.")
        return self.values

    @property
    def named(self) -> Mapping[str, Sequences]:
        """Itself by the name of a single input, as `Several` has its parts."""
        return {"x": self}

    def unpack(self, own: bool = False) -> Any:
        """The values in the user's form; see `Layout.unpack`."""
        return None if self.values is None else self.layout.unpack(self.values, own)  # no gradient by tokens

    @property
    def parts(self) -> list[Array]:
        """The rows of each sequence, as views."""
        return np.split(self.values, np.cumsum(self.lengths)[:-1])

    def with_values(self, values: Array) -> Sequences:
        """Other values per step, the same sequences."""
        return Sequences(values, self.layout)

    def gradient(self, name: str, value: Any) -> Array:
        """The packed rows of a gradient by these values, in the user's form; None stands for 0."""
        if value is None:
            return np.zeros(self.values.shape, self.values.dtype)

        def read(name: str, value: Any, outer: tuple[int, ...]) -> Array:
            array = checks.real_array(name, value, self.values.dtype)
            checks.shape(name, array, (*outer, *self.values.shape[1:]))
            return array

        return self.layout.pack(name, value, read)

    def only(self, values: Array, b: int) -> Array:
        """Rows like these values, with 0 in those of all examples but b."""
        rows, own = self.layout.of_one(b), np.zeros_like(values)
        own[rows] = values[rows]
        return own

    def take(self, indices: Array, begin: int = 0, end: int | None = None) -> Sequences:
        """The chosen sequences as a batch of its own; of each its steps from `begin` up to `end` or its own end."""
        if self.layout.starts is None:
            return Sequences(self.values[indices], Layout(None, len(indices), "array"))
        lengths = self.lengths[indices]
        lengths = (lengths if end is None else np.minimum(lengths, end)) - begin
        starts = self.layout.starts[indices] + begin
        rows = np.repeat(starts, lengths) + step_numbers(lengths)
        return Sequences(self.values[rows], Layout(lengths, len(indices), "list"))

    def formed(self, layout: Layout) -> Sequences:
        """The same sequences in the form of another batch, of which they are a part."""
        lengths = self.layout.lengths
        return self if lengths is None else Sequences(self.values, Layout.of(layout.form, lengths, layout.time))

    def split(self, parts: int) -> Sequences:
        """One long sequence as `parts` shorter ones, of lengths that differ by 1 at most; no row moves.

        One vector stands beside each of them.
        """
        if self.layout.lengths is None:
            return Sequences(self.values.repeat(parts, axis=0), Layout(None, parts, "array"))
        steps = int(self.lengths.sum())
        ends = np.arange(1, parts + 1) * steps // parts
        return Sequences(self.values, Layout(np.diff(ends, prepend=0), parts, "list"))


@dataclass(frozen=True)
class Several:
    """Values of one batch by name: the inputs of a network that reads several, or its outputs."""

    named: Mapping[str, Sequences]

    @functools.cached_property
    def layout(self) -> Layout:
        """That of the first part over time, or of the first one where all are vectors."""
        layouts = [part.layout for part in self.named.values()]
        return next((layout for layout in layouts if layout.lengths is not None), layouts[0])

    @property
    def lengths(self) -> Array:
        """(B,): the number of steps of each sequence of the first part over time."""
        return Sequences(np.empty(0), self.layout).lengths

    def unpack(self, own: bool = False) -> dict[str, Any]:
        """The values of each in the user's form, by name."""
        return {name: part.unpack(own) for name, part in self.named.items()}

    def with_values(self, values: Mapping[str, Array]) -> Several:
        """See `Sequences.with_values`."""
        return Several({name: part.with_values(values[name]) for name, part in self.named.items()})

    def gradient(self, name: str, value: Any) -> dict[str, Array]:
        """See `Sequences.gradient`; what is left out is 0."""
        given = dict.fromkeys(self.named) if value is None else by_name(name, value, self.named, every=False)
        return {part: own.gradient(f"{name}[{part!r}]", given[part]) for part, own in self.named.items()}

    def only(self, values: Mapping[str, Array], b: int) -> dict[str, Array]:
        """See `Sequences.only`."""
        return {name: part.only(values[name], b) for name, part in self.named.items()}

    def take(self, indices: Array, begin: int = 0, end: int | None = None) -> Several:
        """The chosen sequences; see `Sequences.take`."""
        return Several({name: part.take(indices, begin, end) for name, part in self.named.items()})

    def formed(self, layout: Layout) -> Several:
        """See `Sequences.formed`."""
        return Several({name: part.formed(layout) for name, part in self.named.items()})

    def split(self, parts: int) -> Several:
        """One long sequence of each input as shorter ones; see `Sequences.split`."""
        return Several({name: part.split(parts) for name, part in self.named.items()})


def pack(
    name: str,
    x: Any,
    width: int | None,
    dtype: Any,
    lengths: Any = None,
    *,
    tokens: int | None = None,
    vectors: bool = False,
    own: bool = False,
) -> Sequences:
    """Real features as packed sequences, or tokens: whole numbers below `tokens`.

    `x` is (batch, time, width), one sequence (time, width), or a list of (time_i, width); tokens have no last axis,
    and what stands in their padding is not looked at. With `vectors` it has no axis of time. With `own` the values are
    a copy, for a tape that must outlive the caller's array.
    """
    step = () if tokens is not None else (width if width is not None else "features",)
    read: Callable[..., Array] = checks.number_array if step else checks.whole_numbers
    if vectors:
        rows, layout = _pack_vectors(name, x, step, read)
    elif _is_ragged_list(x, len(step)):
        rows, layout = _pack_list(name, x, step, read)
    else:
        rows, layout = _pack_array(name, x, step, read, lengths)
    if lengths is not None and (vectors or layout.form != "array"):
        kind = "a list of sequences" if layout.form == "list" else "one sequence"
        where_not = f"for {name}, which has no steps" if vectors else f"where {name} is {kind}"
        raise ValueError(f"lengths must be left out {where_not}. Got {checks.describe(lengths)}.")

    def where(index: tuple[int, ...]) -> str:
        return place(index, layout)

    found = checks.converted(name, rows, dtype, where) if step else checks.indices(name, rows, tokens or 0, where)
    values = np.ascontiguousarray(found)
    if own and values is rows and layout.form != "list" and layout.real is None:  # else they are a copy already
        values = rows.copy()
    return Sequences(values, layout)


def place(index: tuple[int, ...], layout: Layout) -> str:
    """Where a packed number stands in what the user gave."""
    row, *feature = index
    words = f"sequence {row}"
    if layout.starts is not None:
        sequence = int(np.searchsorted(layout.starts, row, side="right")) - 1
        words = f"sequence {sequence}, step {row - int(layout.starts[sequence])}"
    return f"{words}, feature {feature[0]}" if feature else words


def by_name(name: str, given: Any, names: Collection[str], every: bool = True) -> dict[str, Any]:
    """What a mapping gives for each of some names, None where it gives nothing, which `every` refuses."""
    found = checks.mapping(name, given, f"of {checks.listed(names)} to their values")
    for key in found:
        checks.choice(f"a name in {name}", key, names)
    missing = [key for key in names if key not in found]
    if missing and every:
        raise ValueError(f"{name} must hold {', '.join(names)}. Got none for {', '.join(missing)}.")
    return {key: found.get(key) for key in names}


def axes_before_features(x: Any, tokens: bool) -> int:
    """2 for a batch, an array or a list; 1 for one sequence, or one vector per sequence; 0 for a vector alone."""
    rank = 0 if tokens else 1
    return 2 if _is_ragged_list(x, rank) else checks.rank(x) - rank


def _pack_vectors(name: str, x: Any, step: tuple[int | str, ...], read: Any) -> tuple[Array, Layout]:
    """One vector per sequence, (batch, width), or the vector of the only one, (width,)."""
    array = read(name, x)
    checks.shape(name, array, ("batch", *step), step)
    if array.size == 0:
        raise ShapeError(f"{name} must have at least one sequence and one feature. Got {array.shape}.")
    if array.ndim == len(step):
        return array[None], Layout(None, 1, "single")
    return array, Layout(None, len(array), "array")


def _pack_list(name: str, x: Any, step: tuple[int | str, ...], read: Any) -> tuple[Array, Layout]:
    if len(x) == 0:
        raise ShapeError(f"{name} must hold at least one sequence. Got an empty list.")
    parts = [read(f"{name}[{i}]", part) for i, part in enumerate(x)]
    for i, part in enumerate(parts):
        checks.shape(f"{name}[{i}]", part, ("time", *step))
        if part.shape[1:] != parts[0].shape[1:]:
            must = f"{name}[{i}] must have {parts[0].shape[-1]} features, as {name}[0] has"
            raise ShapeError(f"{must}. Got {part.shape}.")
        if len(part) == 0:
            raise ShapeError(f"{name}[{i}] must have at least one step. Got {part.shape}.")
    sizes = np.array([len(part) for part in parts], np.int64)
    return np.concatenate(parts), Layout(sizes, len(parts), "list")


def _pack_array(name: str, x: Any, step: tuple[int | str, ...], read: Any, lengths: Any) -> tuple[Array, Layout]:
    array = read(name, x)
    if array.ndim != len(step) + 2 or array.shape[2:] != step:
        checks.shape(name, array, ("batch", "time", *step), ("time", *step))
    if array.size == 0:
        raise ShapeError(f"{name} must have at least one sequence, one step and one feature. Got {array.shape}.")
    if array.ndim == len(step) + 1:
        return array, _dense_layout(1, len(array), "single")
    batch, time = array.shape[:2]
    rows = array.reshape(batch * time, *array.shape[2:])
    if lengths is None:
        return rows, _dense_layout(batch, time, "array")
    steps = checks.whole_numbers("lengths", lengths)
    checks.shape("lengths", steps, (batch,))
    wrong = (steps < 1) | (steps > time)
    if np.count_nonzero(wrong):  # quicker than `any`, as above
        got = f"{steps[wrong][0]} at index {int(wrong.argmax())}"
        raise ValueError(f"lengths must be from 1 to {time}, the steps of x. Got {got}.")
    layout = Layout.of("array", steps.astype(np.int64), time)  # a copy: a tape outlives the caller's array
    return rows if layout.real is None else rows.take(layout.real, axis=0), layout


@functools.lru_cache(maxsize=256)
def _dense_layout(batch: int, time: int, form: Kind) -> Layout:
    """The layout of a batch without padding; all batches of one shape share it, so its lengths cannot be written."""
    lengths = np.full(batch, time, np.int64)
    lengths.flags.writeable = False
    return Layout(lengths, batch, form, time)


def _is_ragged_list(x: Any, step_rank: int) -> bool:
    """A list whose items are sequences, rather than nested lists that spell one array."""
    if not isinstance(x, (list, tuple)):
        return False
    ranks = [part.ndim if type(part) is np.ndarray else checks.rank(part) for part in x]
    if any(rank == step_rank + 1 and not isinstance(part, (list, tuple)) for rank, part in zip(ranks, x, strict=True)):
        return True
    if len(x) == 0 or any(rank != step_rank + 1 for rank in ranks):
        return len(x) == 0
    return len({len(part) for part in x}) > 1
