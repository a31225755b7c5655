"""What a user gives to learn from, as examples: inputs, targets, and how much each target counts.

What a network gives decides what its targets are: one a step where it gives a value a step, one a sequence where
it ends in a pool. Targets are packed as inputs are, so no loss is computed for padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array, ShapeError
from elman.layers.layer import Layer
from elman.sequences import Layout, Sequences, place
from elman.training.losses import Loss
from elman.training.weights import read_class_weight, read_mask, read_sample_weight


@dataclass(frozen=True)
class Examples:
    """B examples: inputs x, targets y with one row a row of the network's output, and the weights of these rows.

    y.values is (N,) for integer labels and (N, values) for numbers, where N counts the real steps of all sequences,
    or (B,) and (B, values) for targets that belong to whole sequences. weight is (N,) or (B,), at least one over 0,
    or None where all count alike.
    """

    x: Sequences
    y: Sequences
    weight: Sequences | None = None

    def __len__(self) -> int:
        return self.x.layout.count

    @property
    def a_value_a_step(self) -> bool:
        """Whether targets belong to steps, not to whole sequences."""
        return self.y.layout.lengths is not None

    def scaled(self) -> Examples:
        """The same with all weights divided by one power of 2, so that none is too small or too large for float32.

        The loss is the weighted mean, so it stays as it is, to the bit.
        """
        if self.weight is None:
            return self
        exponent = np.frexp(self.weight.values.max())[1]
        return Examples(self.x, self.y, self.weight.with_values(np.ldexp(self.weight.values, 1 - exponent)))

    def split(self, parts: int) -> Examples:
        """One long sequence as `parts` shorter ones."""
        return Examples(*(None if part is None else part.split(parts) for part in (self.x, self.y, self.weight)))  # type: ignore[arg-type]


def read_examples(
    net: Layer,
    x: Any,
    y: Any,
    lengths: Any,
    loss: Loss,
    *,
    mask: Any = None,
    sample_weight: Any = None,
    class_weight: Any = None,
) -> Examples:
    """x and y in the user's form as examples, everything about them checked; neither is modified.

    x is (batch, time, features), one sequence (time, features), or a list of (time_i, features), tokens without
    the last axis. y is (batch, time) or (batch, time, values) in the form of x, or (batch,) or (batch, values) for
    a network that gives one vector a sequence. What stands behind `lengths`, or where `mask` is false, is never
    read. Raises `ShapeError`, `DtypeError` or `ValueError`, which says where the first wrong value stands.
    """
    inputs = net.pack(x, lengths, own=False)
    _check_finite("x", inputs)
    layout, width = _output_layout(net, inputs)
    loss.check_width(width)
    counts = None if mask is None else read_mask(mask, layout)
    targets = Sequences(_pack_targets(y, layout, loss, width, net.dtype, counts), layout)
    _check_finite("y", targets)
    loss._check_bounds("y", targets.values, width, lambda index: f" at {place(index[:1], layout)}")
    weight = None if counts is None else counts.astype(np.float64)
    for more in (
        None if sample_weight is None else read_sample_weight(sample_weight, layout),
        None if class_weight is None else read_class_weight(class_weight, targets.values, counts, loss, width),
    ):
        with np.errstate(over="ignore"):
            weight = more if weight is None else weight if more is None else weight * more
    if weight is not None and not weight.any():
        raise ValueError("mask and weights must let at least one target count. Got none over 0.")
    if weight is not None and not np.isfinite(weight.max()):
        row = int(weight.argmax())
        raise ValueError(
            f"sample_weight times class_weight must be finite. Got {weight[row]} at {place((row,), layout)}."
        )
    return Examples(inputs, targets, None if weight is None else Sequences(weight, layout))


def _output_layout(net: Layer, x: Sequences) -> tuple[Layout, int]:
    """How the rows of the network's output belong together, and their width: told from its shortest sequence."""
    shortest = np.array([int(x.lengths.argmin())])
    with np.errstate(all="ignore"):
        y, _, _ = net.run(x.take(shortest, 0, None if net.drops_steps else 1), None, None, keep=False)
    if net.drops_steps and y.layout.lengths is not None:
        raise ShapeError("net must give one output a sequence where it drops steps. Got one that gives one a step.")
    layout = x.layout if y.layout.lengths is not None else x.layout.as_vectors()
    return layout, y.values.shape[1]


def _pack_targets(y: Any, layout: Layout, loss: Loss, width: int, dtype: Any, counts: Array | None) -> Array:
    """The targets of all rows: (N,) for labels, (N, values) for numbers; 0 where `counts` is false."""
    axes = ("sequence", "step")[layout.form == "single" : 2 if layout.lengths is not None else 1]
    tails: list[tuple[int, ...]] = []

    def read(name: str, value: Any, outer: tuple[int, ...]) -> Array:
        one = name.strip("y[]")  # the number of the sequence in a list
        array = _numbers(name, value, axes[1:] if one else axes, f"sequence {one}, " if one else "")
        if array.ndim and not one and layout.form != "single" and len(array) != layout.count:
            raise ShapeError(f"y must hold {layout.count} examples, as x does. Got {len(array)}.")
        _check_shape(name, array, outer, loss, width, layout)
        # Labels have no last axis, numbers get theirs where it was left out.
        tails.append(() if loss.integers else array.shape[len(outer) :] or (1,))
        if tails[-1] != tails[0]:
            raise ShapeError(f"{name} must hold as many values a step as y[0]. Got {array.shape}.")
        return array.reshape(*outer, *tails[-1])

    if isinstance(y, np.ndarray) and y.ndim and layout.lengths is not None and layout.form == "list":
        y = list(y)
    rows = layout.pack("y", y, read)
    if counts is not None:
        rows = np.where(counts.reshape(-1, *[1] * (rows.ndim - 1)), rows, 0)
    if loss.integers:
        _check_whole(rows, layout, counts is not None)
    return checks.converted("y", rows, np.int64 if loss.integers else dtype, lambda index: place(index, layout))


def _numbers(name: str, y: Any, axes: tuple[str, ...], within: str = "") -> Array:
    """Targets as an array of numbers in its own dtype; one that is None is refused with its place."""
    array = checks.plain_array(name, y)
    if array.dtype == object and array.ndim:
        for index, value in np.ndenumerate(array):
            if value is None:
                at = ", ".join(f"{axis} {i}" for axis, i in zip(axes, index, strict=False))
                raise checks.DtypeError(
                    f"{name} must hold real numbers. Got None at {within}{at}. "
                    "What is missing is NaN, and left out by a mask."
                )
    return checks.number_array(name, array)


def _check_whole(rows: Array, layout: Layout, masked: bool) -> None:
    """Labels are integers; where a mask can leave out what is missing, whole numbers in floating point may stand."""
    if rows.dtype.kind in "iu":
        return
    wrong = ~(np.isfinite(rows) & (rows == np.floor(rows))) if masked else ~np.isfinite(rows)
    if wrong.any():
        row = int(wrong.argmax())
        which, hint = (" where mask is true", "") if masked else ("", " A mask leaves out what is missing.")
        raise checks.DtypeError(f"y must hold integers{which}. Got {rows[row]} at {place((row,), layout)}.{hint}")
    if not masked or rows.dtype.kind == "b":
        hint = " y.astype(int) makes them integers." if (rows == np.floor(rows)).all() else ""
        raise checks.DtypeError(f"y must hold integers. Got an array of dtype {rows.dtype}.{hint}")


def _check_shape(name: str, array: Array, outer: tuple[int, ...], loss: Loss, width: int, layout: Layout) -> None:
    tails = loss.tails(width)
    if any(array.shape == (*outer, *tail) for tail in tails):
        return
    wanted = " or ".join(str((*outer, *tail)) for tail in tails)
    what = "a sequence" if layout.lengths is None else "a step"
    one_hot = loss.integers and array.shape == (*outer, width)
    hint = f" Labels are integers: {name}.argmax(-1) makes them of one-hot rows." if one_hot else ""
    raise ShapeError(
        f"{name} must have shape {wanted}, as the network gives one output {what}. Got {array.shape}.{hint}"
    )


def _check_finite(name: str, packed: Sequences) -> None:
    values = packed.values
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        index = checks.first(~np.isfinite(values))
        raise ValueError(f"{name} must be finite. Got {values[index]} at {place(index, packed.layout)}.")
