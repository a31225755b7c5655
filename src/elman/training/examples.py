"""What a user gives to learn from, as examples: inputs, targets, and how much each target counts.

What a network gives decides what its targets are: one per step where it gives one value per step, one per sequence
where it ends in a pool. Targets are packed as inputs are, so no loss is computed for padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from elman import checks
from elman.checks import Array, ShapeError
from elman.layers import Layer
from elman.network import Network
from elman.sequences import Layout, Sequences, Several, by_name, place
from elman.training.losses import Loss, as_loss
from elman.training.weights import read_class_weight, read_mask, read_sample_weight


class Target(NamedTuple):
    """What an output should be: y with one row per row of the output, and the weights of these rows.

    y.values is (N,) for integer labels and (N, values) for numbers, where N counts the real steps of all sequences,
    or (B,) and (B, values) for targets that belong to whole sequences. A loss of whole sequences has targets of lengths
    of their own. weight is (N,) or (B,), at least one over 0, or None where all count alike.
    """

    y: Sequences
    weight: Sequences | None


@dataclass(frozen=True)
class Examples:
    """B examples: inputs x, and the targets of each output."""

    x: Sequences | Several
    targets: tuple[Target, ...]

    @property
    def parts(self) -> list[Sequences]:
        """All arrays of the examples, with their layouts."""
        return [*self.x.named.values(), *(part for target in self.targets for part in target if part is not None)]

    def scaled(self) -> Examples:
        """The same with all weights divided by one power of 2, so that none is too small or too large for float32.

        The loss is the weighted mean, so it stays as it is, to the bit.
        """
        targets = []
        for y, weight in self.targets:
            if weight is not None:
                weight = weight.with_values(np.ldexp(weight.values, 1 - np.frexp(weight.values.max())[1]))
            targets.append(Target(y, weight))
        return Examples(self.x, tuple(targets))

    def split(self, parts: int) -> Examples:
        """One long sequence as `parts` shorter ones."""
        targets = [Target(y.split(parts), None if w is None else w.split(parts)) for y, w in self.targets]
        return Examples(self.x.split(parts), tuple(targets))


Losses = dict[str, Loss]  # of each output, by name; a network of one output without a name has it under ""


def read_losses(net: Layer, loss: Any) -> Losses:
    """The loss of each output: one for all, or a mapping of outputs to theirs."""
    outputs = outputs_of(net)
    each = _by_output("loss", loss, outputs) if isinstance(loss, Mapping) else dict.fromkeys(outputs, loss)
    return {name: as_loss(part) for name, part in each.items()}


def outputs_of(net: Layer) -> list[str]:
    """The names of the outputs; "" for the only one of a network that does not name it."""
    config = net.config if isinstance(net, Network) else {}
    return list(config.get("outputs", [""]))


def _by_output(name: str, given: Any, outputs: list[str]) -> dict[str, Any]:
    """What is given for each output by name; None where None is given."""
    if given is None or outputs == [""]:
        return dict.fromkeys(outputs, given)
    return by_name(name, given, outputs, every=name in ("y", "loss"))


def read_examples(
    net: Layer,
    x: Any,
    y: Any,
    lengths: Any,
    losses: Losses,
    *,
    mask: Any = None,
    sample_weight: Any = None,
    class_weight: Any = None,
) -> Examples:
    """x and y in the forms that `fit` takes as examples, everything about them checked; neither is modified.

    Raises `ShapeError`, `DtypeError` or `ValueError`, which says where the first wrong value stands.
    """
    inputs = net.pack(x, lengths, own=False)
    for name, part in inputs.named.items():
        _check_finite(name, part)
    outputs = list(losses)
    ys, masks = _by_output("y", y, outputs), _by_output("mask", mask, outputs)
    weights = _by_output("sample_weight", sample_weight, outputs)
    classes = _by_output("class_weight", class_weight, outputs)
    targets = []
    for name, (layout, width) in zip(outputs, _output_layouts(net, inputs), strict=True):
        with told(f"output {name!r}: " if name else ""):
            given = (ys[name], masks[name], weights[name], classes[name])
            targets.append(_read_target(layout, width, losses[name], net.dtype, *given))
    return Examples(inputs, tuple(targets))


@contextmanager
def told(what: str) -> Iterator[None]:
    """Errors of what is read here, with words before them that tell it, if there are any."""
    try:
        yield
    except (ValueError, TypeError) as error:
        if not what:
            raise
        kind = type(error) if type(error) in (TypeError, ShapeError, checks.DtypeError) else ValueError
        raise kind(f"{what}{error}") from None


def _read_target(
    layout: Layout, width: int, loss: Loss, dtype: Any, y: Any, mask: Any, sample_weight: Any, class_weight: Any
) -> Target:
    """The targets of one output."""
    loss.check_width(width)
    counts = None if mask is None else read_mask(mask, layout)
    if loss.whole_sequences and (layout.lengths is None or counts is not None):
        what = "mask" if counts is not None else "a pool"
        raise ValueError(f"{what} must be left out for a loss of whole sequences. Got {loss!r}.")
    if loss.targets_by_step:
        targets = Sequences(_pack_targets(y, layout, loss, width, dtype, counts), layout)
    else:
        targets = _pack_sequences(y, layout, loss, width, dtype)
    weight = None if counts is None else counts.astype(np.float64)
    if loss.whole_sequences:
        layout = layout.as_vectors()
        weight = np.ones(layout.count)
    _check_finite("y", targets)
    loss._check_bounds("y", targets.values, width, lambda index: f" at {place(index[:1], targets.layout)}")
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
    return Target(targets, None if weight is None else Sequences(weight, layout))


def _output_layouts(net: Layer, x: Sequences | Several) -> list[tuple[Layout, int]]:
    """How the rows of each output belong together, and their width: told from as few rows as can tell.

    Where inputs differ in their lengths, all sequences are run: the lengths of an output may be those of any input.
    """
    over_time = [part.layout.lengths for part in x.named.values() if part.layout.lengths is not None]
    alike = all(np.array_equal(lengths, x.layout.rows) for lengths in over_time)
    some, first, which = x, np.arange(x.layout.count), np.arange(x.layout.count)
    if alike:  # lengths decide: of each one that the network may change, one sequence; else one step of the shortest
        first, which = np.unique(x.layout.rows, return_index=True, return_inverse=True)[1:]
        if not net.changes_steps:
            first, which = np.array([int(x.layout.rows.argmin())]), np.zeros_like(which)
        some = x.take(first, 0, None if net.drops_steps or net.changes_steps else 1)
        if net.changes_steps:
            some = some.formed(x.layout)
    with np.errstate(all="ignore"):
        try:
            y, _, _ = net.run(some, None, None, keep=False)
        except ShapeError:  # of a sequence, by its place: that among all
            net.run(x, None, None, keep=False)
            raise
    found = []
    for output in y.named.values():
        layout = output.layout
        if layout.lengths is None:
            layout = x.layout.as_vectors()
        elif net.drops_steps:
            raise ShapeError(
                "net must give one output per sequence where it drops steps. Got one that gives one per step."
            )
        elif alike:
            layout = Layout.of(x.layout.form, layout.lengths[which], layout.time) if net.changes_steps else x.layout
        found.append((layout, output.values.shape[1]))
    return found


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
            raise ShapeError(f"{name} must hold as many values per step as y[0]. Got {array.shape}.")
        return array.reshape(*outer, *tails[-1])

    if isinstance(y, np.ndarray) and y.ndim and layout.lengths is not None and layout.form == "list":
        y = list(y)
    rows = layout.pack("y", y, read)
    if counts is not None:
        rows = np.where(counts.reshape(-1, *[1] * (rows.ndim - 1)), rows, 0)
    if loss.integers:
        _check_whole(rows, layout, counts is not None)
    return checks.converted("y", rows, np.int64 if loss.integers else dtype, lambda index: place(index, layout))


def _pack_sequences(y: Any, layout: Layout, loss: Loss, width: int, dtype: Any) -> Sequences:
    """Targets that are arrays of any length, one per sequence."""
    entries = [y] if layout.form == "single" else y
    if not checks.rank(entries) or len(entries) != layout.count:
        raise ShapeError(f"y must hold {layout.count} targets, one per sequence. Got {checks.describe(y)}.")
    parts = [_numbers(f"y[{i}]", entry, ("place",), f"sequence {i}, ") for i, entry in enumerate(entries)]
    for i, part in enumerate(parts):
        checks.shape(f"y[{i}]", part, *loss.tails(width))
    own = Layout(np.array([part.size and len(np.atleast_1d(part)) for part in parts]), layout.count, "list")
    rows = np.concatenate([np.atleast_1d(part) for part in parts if part.size] or [np.zeros(0, np.int64)])
    if loss.integers:
        _check_whole(rows, own, False)
    return Sequences(checks.converted("y", rows, np.int64 if loss.integers else dtype, lambda i: place(i, own)), own)


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
    what = "per sequence" if layout.lengths is None else "per step"
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
