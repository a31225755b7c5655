"""Inputs and targets as examples, and examples as batches of packed sequences.

What a network gives decides what its targets are: one a step where it gives a value a step, one a sequence where
it ends in a pool. Targets are packed as inputs are, so no loss is computed for padding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array, ShapeError
from elman.layers.layer import Layer
from elman.sequences import Layout, Sequences
from elman.training.losses import Loss


@dataclass(frozen=True)
class Examples:
    """B examples: inputs x, and targets y with one row a row of the network's output.

    y.values is (N,) for integer labels and (N, values) for numbers, where N counts the real steps of all sequences,
    or (B,) and (B, values) for targets that belong to whole sequences.
    """

    x: Sequences
    y: Sequences

    def __len__(self) -> int:
        return self.x.layout.count

    def batches(self, batch_size: int, order: Array | None = None) -> Iterator[tuple[Sequences, Array]]:
        """Inputs and packed targets, `batch_size` examples at a time, in the given order."""
        order = np.arange(len(self)) if order is None else order
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            yield self.x.take(chosen), self.y.take(chosen).values


def read_examples(net: Layer, x: Any, y: Any, lengths: Any, loss: Loss) -> Examples:
    """x and y in the user's form as examples, everything about them checked; neither is modified.

    x is (batch, time, features), one sequence (time, features), or a list of (time_i, features), tokens without
    the last axis. y is (batch, time) or (batch, time, values) in the form of x, or (batch,) or (batch, values) for
    a network that gives one vector a sequence. What stands behind `lengths` is never read. Raises `ShapeError`,
    `DtypeError` or `ValueError`, which says where the first wrong value stands.
    """
    with np.errstate(over="ignore"):  # a number too large for float32 is answered below, as not finite
        inputs = net._take(x, lengths, own=False)
    _check_finite("x", inputs)
    layout, width = _output_layout(net, inputs)
    loss.check_width(width)
    with np.errstate(over="ignore"):
        targets = Sequences(_pack_targets(y, layout, loss, width, net.dtype), layout)
    _check_finite("y", targets)
    _check_bounds(targets, loss, width)
    return Examples(inputs, targets)


def _output_layout(net: Layer, x: Sequences) -> tuple[Layout, int]:
    """How the rows of the network's output belong together, and their width: told from its shortest sequence."""
    shortest = np.array([int(x.lengths.argmin())])
    with np.errstate(all="ignore"):
        y, _, _ = net._run(x.take(shortest), None, None, keep=False)
    layout = x.layout if y.layout.lengths is not None else x.layout.as_vectors()
    return layout, y.values.shape[1]


def _pack_targets(y: Any, layout: Layout, loss: Loss, width: int, dtype: Any) -> Array:
    """The targets of all rows: (N,) for labels, (N, values) for numbers."""
    if layout.lengths is not None and layout.form == "list":
        return _pack_list(y, layout, loss, width, dtype)
    array = _real("y", y)
    outer = layout.outer_shape
    if layout.form != "single" and array.ndim > 0:
        _check_count(len(array), layout)
    array = _convert("y", array, loss, dtype)
    _check_shape("y", array, outer, loss.tails(width), layout)
    tail = _tail(array, len(outer), loss)
    rows = array.reshape(-1, *tail)
    return rows if layout.real is None else rows.take(layout.real, axis=0)


def _pack_list(y: Any, layout: Layout, loss: Loss, width: int, dtype: Any) -> Array:
    if not isinstance(y, (list, tuple, np.ndarray)):
        raise ShapeError(f"y must be a list of {layout.count} sequences, as x is. Got {checks.describe(y)}.")
    _check_count(len(y), layout)
    assert layout.lengths is not None
    parts = []
    for i, (part, length) in enumerate(zip(y, layout.lengths, strict=True)):
        array = _convert(f"y[{i}]", _real(f"y[{i}]", part), loss, dtype)
        _check_shape(f"y[{i}]", array, (int(length),), loss.tails(width), layout)
        parts.append(array.reshape(-1, *_tail(array, 1, loss)))
        if parts[i].shape[1:] != parts[0].shape[1:]:
            raise ShapeError(f"y[{i}] must hold as many values a step as y[0]. Got {array.shape}.")
    return np.concatenate(parts)


def _real(name: str, y: Any) -> Array:
    """An array of real numbers in its own dtype, which tells labels from numbers."""
    checks.real_array(name, y)
    return np.asarray(y)


def _convert(name: str, array: Array, loss: Loss, dtype: Any) -> Array:
    if loss.integers and array.dtype.kind not in "iu":
        raise checks.DtypeError(f"{name} must hold integers. Got an array of dtype {array.dtype}.")
    return array.astype(np.int64 if loss.integers else dtype, copy=False)


def _tail(array: Array, rank: int, loss: Loss) -> tuple[int, ...]:
    """The shape of one target: labels have none, numbers get their last axis where it was left out."""
    return () if loss.integers else array.shape[rank:] or (1,)


def _check_count(got: int, layout: Layout) -> None:
    if got != layout.count:
        raise ShapeError(f"y must hold {layout.count} examples, as x does. Got {got}.")


def _check_shape(name: str, array: Array, outer: tuple[int, ...], tails: list[tuple[int, ...]], layout: Layout) -> None:
    if any(array.shape == (*outer, *tail) for tail in tails):
        return
    wanted = " or ".join(str((*outer, *tail)) for tail in tails)
    what = "a sequence" if layout.lengths is None else "a step"
    raise ShapeError(f"{name} must have shape {wanted}, as the network gives one output {what}. Got {array.shape}.")


def _place(row: int, layout: Layout) -> str:
    """Where a packed row stands in what the user gave."""
    if layout.lengths is None:
        return f"sequence {row}"
    ends = np.cumsum(layout.lengths)
    sequence = int(np.searchsorted(ends, row, side="right"))
    return f"sequence {sequence}, step {row - int(ends[sequence] - layout.lengths[sequence])}"


def _check_finite(name: str, packed: Sequences) -> None:
    values = packed.values
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return
    row, feature = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
    place = _place(row, packed.layout)
    raise ValueError(f"{name} must be finite. Got {values[row, feature]} at {place}, feature {feature}.")


def _check_bounds(targets: Sequences, loss: Loss, width: int) -> None:
    bounds = loss.bounds(width)
    if bounds is None:
        return
    wrong = (targets.values < bounds[0]) | (targets.values > bounds[1])
    if wrong.any():
        first = np.argwhere(wrong)[0]
        kind = "integers" if loss.integers else "numbers"
        raise ValueError(
            f"y must hold {kind} from {bounds[0]} to {bounds[1]}. "
            f"Got {targets.values[tuple(first)]} at {_place(int(first[0]), targets.layout)}."
        )
