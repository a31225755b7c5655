"""What a user gives to learn from, as examples: inputs, targets, and how much each target counts.

What a network gives decides what its targets are: one per step where it gives one value per step, one per sequence
where it ends in a pool. Targets are packed as inputs are, so no loss is computed for padding. The loss of a batch is
the weighted mean, sum of w L / sum of w, so that weights all doubled change nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from elman import checks
from elman.checks import Array, ShapeError
from elman.layers import Layer
from elman.network import Network
from elman.sequences import Layout, Sequences, Several, by_name, place
from elman.training.losses import LOSSES, Loss, Paired, as_loss


class Target(NamedTuple):
    """What an output should be: y with one row per row of the output, the weights of these rows, and the loss.

    y.values is (N,) for integer labels and (N, values) for numbers, where N counts the real steps of all sequences,
    or (B,) and (B, values) for targets that belong to whole sequences. A loss of whole sequences has targets of lengths
    of their own. weight is (N,) or (B,), at least one over 0, or None where all count alike.
    """

    y: Sequences
    weight: Sequences | None
    loss: Loss

    @property
    def total(self) -> float:
        """The weights of all rows together."""
        return len(self.y.values) if self.weight is None else float(self.weight.values.sum())

    def measure(self, output: Sequences, backward: bool) -> tuple[float, Array]:
        """The weighted sum of the losses of all rows; with `backward` also its gradient by the rows (N, K)."""
        loss, whole = self.loss, self.loss.whole_sequences
        given: list[Any] = [part.with_values(part.values.view()) for part in (output, self.y)]
        for part in given:
            part.values.flags.writeable = False  # code of a user's own may write into what it is given
        p, t = (part.parts if whole else part.values for part in given)
        gradient: Any
        if backward and isinstance(loss, Paired) and type(loss) in LOSSES.values():
            rows, gradient = loss.both(p, t)
        else:
            rows, gradient = loss.rows(p, t), loss.rows_derivative(p, t) if backward else None
        rows = self._held_to("rows", rows, (output.layout.count,) if whole else output.values.shape[:-1])
        w = None if self.weight is None else self.weight.values
        total = float((rows if w is None else rows * w).sum(dtype=np.float64))
        if not backward:
            return total, rows
        if whole:
            if not isinstance(gradient, (list, tuple)) or len(gradient) != len(p):
                must = f"rows_derivative of {type(loss).__name__} must return a list of {len(p)} arrays"
                raise ShapeError(f"{must}, one per sequence. Got {checks.describe(gradient)}.")
            pairs = zip(gradient, p, strict=True)
            gradient = np.concatenate([self._held_to("rows_derivative", part, one.shape) for part, one in pairs])
        dy = self._held_to("rows_derivative", gradient, output.values.shape).astype(output.values.dtype, copy=False)
        if w is not None:
            of_rows = np.repeat(w, output.lengths) if whole else w
            dy = dy * of_rows.astype(dy.dtype).reshape(-1, *[1] * (dy.ndim - 1))
        return total, dy

    def _held_to(self, name: str, value: Any, shape: tuple[int, ...]) -> Array:
        """What the loss returned, refused where it would broadcast to something else than it means."""
        name = f"{name} of {type(self.loss).__name__}"
        array = checks.plain_array(name, value)
        if array.shape != shape or array.dtype.kind not in "fiub":
            must = f"{name} must return real numbers of shape {shape}"
            raise ShapeError(f"{must}. Got {array.dtype} of shape {array.shape}.")
        return array


@dataclass(frozen=True)
class Examples:
    """B examples: inputs x, and the targets of each output."""

    x: Sequences | Several
    targets: tuple[Target, ...]

    def scaled(self) -> Examples:
        """The same with weights divided by a power of 2, so that float32 can hold them: their mean keeps every bit."""
        targets = [*self.targets]
        for i, (_, weight, _) in enumerate(targets):
            if weight is not None:
                values = np.ldexp(weight.values, 1 - np.frexp(weight.values.max())[1])
                targets[i] = targets[i]._replace(weight=weight.with_values(values))
        return Examples(self.x, tuple(targets))

    def take(self, sequences: Array, begin: int = 0, end: int | None = None) -> Examples:
        """The chosen sequences; of each its steps from `begin` up to `end` or its own end."""
        return self._each(lambda part: part.take(sequences, begin, end))

    def split(self, parts: int) -> Examples:
        """One long sequence as `parts` shorter ones."""
        return self._each(lambda part: part.split(parts))

    def _each(self, function: Callable[[Any], Any]) -> Examples:
        each = [Target(function(y), None if w is None else function(w), loss) for y, w, loss in self.targets]
        return Examples(function(self.x), tuple(each))


Losses = dict[str, Loss]  # of each output, by name; a network of one output without a name has it under ""


def read_losses(net: Layer, loss: Any) -> Losses:
    """The loss of each output: one for all, or a mapping of outputs to theirs."""
    outputs = list(net.config.get("outputs", [""])) if isinstance(net, Network) else [""]
    each = _by_output("loss", loss, outputs) if isinstance(loss, Mapping) else dict.fromkeys(outputs, loss)
    return {name: as_loss(part) for name, part in each.items()}


def _by_output(name: str, given: Any, outputs: list[str]) -> dict[str, Any]:
    """What is given for each output by name; None where None is given."""
    if given is None or outputs == [""]:
        return dict.fromkeys(outputs, given)
    return by_name(name, given, outputs, every=name in ("y", "loss"))


def read_examples(net: Layer, x: Any, y: Any, lengths: Any, losses: Losses, **weights: Any) -> Examples:
    """x and y in the forms that `fit` takes as examples, everything about them checked; neither is modified.

    `weights` are mask, sample_weight and class_weight. Raises `ShapeError`, `DtypeError` or `ValueError`, which says
    where the first wrong value stands.
    """
    inputs = net.pack(x, lengths, own=False)
    for name, part in inputs.named.items():
        _refuse(f"{name} must be finite", ~np.isfinite(part.values), *part)
    given = {name: _by_output(name, value, [*losses]) for name, value in {"y": y, **weights}.items()}
    targets = []
    for (name, loss), (layout, width) in zip(losses.items(), _output_layouts(net, inputs), strict=True):
        with told(f"output {name!r}: " if name else ""):
            own = {argument: value[name] for argument, value in given.items()}
            targets.append(_read_target(layout, width, loss, net.dtype, **own))
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


def _output_layouts(net: Layer, x: Sequences | Several) -> list[tuple[Layout, int]]:
    """How the rows of each output belong together, and their width: told from as few rows as can tell."""
    over_time = [part.layout.lengths for part in x.named.values() if part.layout.lengths is not None]
    alike = all(np.array_equal(lengths, x.layout.rows) for lengths in over_time)
    some, which = x, np.arange(x.layout.count)  # all, as the lengths of an output may be those of any input
    if alike and net.changes_steps:  # of each length that the network may change, one sequence
        first, which = np.unique(x.layout.rows, return_index=True, return_inverse=True)[1:]
        some = x.take(first).formed(x.layout)
    elif alike:  # one step of the shortest
        some = x.take(np.array([int(x.layout.rows.argmin())]), 0, None if net.drops_steps else 1)
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
            must = "net must give one output per sequence where it drops steps"
            raise ShapeError(f"{must}. Got one that gives one per step.")
        elif alike:
            layout = Layout.of(x.layout.form, layout.lengths[which], layout.time) if net.changes_steps else x.layout
        found.append((layout, output.values.shape[1]))
    return found


def _read_target(
    layout: Layout,
    width: int,
    loss: Loss,
    dtype: Any,
    y: Any,
    mask: Any = None,
    sample_weight: Any = None,
    class_weight: Any = None,
) -> Target:
    """The targets of one output."""
    loss.check_width(width)
    counts = None if mask is None else layout.pack("mask", mask, functools.partial(_read, checks.boolean_array))
    if loss.whole_sequences and (layout.lengths is None or counts is not None):
        what = "mask" if counts is not None else "a pool"
        raise ValueError(f"{what} must be left out for a loss of whole sequences. Got {checks.show(loss)}.")
    pack = _pack_targets if loss.targets_by_step else _pack_sequences
    rows, own = pack(y, layout, loss, width, counts)
    if not loss.integers:
        rows = checks.converted("y", rows, dtype, lambda index: place(index, own))
        _refuse("y must be finite", ~np.isfinite(rows), rows, own)
    loss._check("y", rows, width, counts is not None, lambda index: f" at {place(index[:1], own)}")
    if loss.integers:
        rows = checks.converted("y", rows, np.int64, lambda index: place(index, own))
    if loss.whole_sequences:
        layout, counts = layout.as_vectors(), np.ones(layout.count)
    factors = [] if counts is None else [counts.astype(np.float64)]
    if sample_weight is not None:
        factors.append(_sample_weight(sample_weight, layout))
    if class_weight is not None:
        factors.append(_class_weight(class_weight, rows, counts, loss, width))
    if not factors:
        return Target(Sequences(rows, own), None, loss)
    with np.errstate(over="ignore"):
        weight = functools.reduce(np.multiply, factors)
    if not weight.any():
        raise ValueError("mask and weights must let at least one target count. Got none over 0.")
    _refuse("sample_weight times class_weight must be finite", ~np.isfinite(weight), weight, layout)
    return Target(Sequences(rows, own), Sequences(weight, layout), loss)


def _pack_targets(y: Any, layout: Layout, loss: Loss, width: int, counts: Array | None) -> tuple[Array, Layout]:
    """The targets of all rows: (N,) for labels, (N, values) for numbers; 0 where `counts` is false."""
    axes = ("sequence", "step")[layout.form == "single" : 2 if layout.lengths is not None else 1]
    tails: list[tuple[int, ...]] = []

    def read(name: str, value: Any, outer: tuple[int, ...]) -> Array:
        one = name.strip("y[]")  # the number of the sequence in a list
        array = _numbers(name, value, axes[1:] if one else axes, f"sequence {one}, " if one else "")
        if array.ndim and not one and layout.form != "single" and len(array) != layout.count:
            raise ShapeError(f"y must hold {layout.count} examples, as x does. Got {len(array)}.")
        shapes = [(*outer, *tail) for tail in loss.tails(width)]
        if array.shape not in shapes:
            what = "per sequence" if layout.lengths is None else "per step"
            one_hot = loss.integers and array.shape == (*outer, width)
            hint = f" Labels are integers: {name}.argmax(-1) makes them of one-hot rows." if one_hot else ""
            must = f"{name} must have shape {' or '.join(map(str, shapes))}, as the network gives one output {what}"
            raise ShapeError(f"{must}. Got {array.shape}.{hint}")
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
    return rows, layout


def _pack_sequences(y: Any, layout: Layout, loss: Loss, width: int, counts: Array | None) -> tuple[Array, Layout]:
    """Targets that are arrays of any length, one per sequence."""
    entries = [y] if layout.form == "single" else y
    if not checks.rank(entries) or len(entries) != layout.count:
        raise ShapeError(f"y must hold {layout.count} targets, one per sequence. Got {checks.describe(y)}.")
    parts = [_numbers(f"y[{i}]", entry, ("place",), f"sequence {i}, ") for i, entry in enumerate(entries)]
    for i, part in enumerate(parts):
        checks.shape(f"y[{i}]", part, *loss.tails(width))
    lengths = np.array([part.size and len(np.atleast_1d(part)) for part in parts])
    rows = np.concatenate([np.atleast_1d(part) for part in parts if part.size] or [np.zeros(0, np.int64)])
    return rows, Layout(lengths, layout.count, "list")


def _numbers(name: str, y: Any, axes: tuple[str, ...], within: str) -> Array:
    """Targets as an array of numbers in its own dtype; one that is None is refused with its place."""
    array = checks.plain_array(name, y)
    if array.dtype == object and array.ndim:
        for index, value in np.ndenumerate(array):
            if value is None:
                at = ", ".join(f"{axis} {i}" for axis, i in zip(axes, index, strict=False))
                hint = "What is missing is NaN, and left out by a mask."
                raise checks.DtypeError(f"{name} must hold real numbers. Got None at {within}{at}. {hint}")
    return checks.number_array(name, array)


def _refuse(must: str, wrong: Array, values: Array, layout: Layout) -> None:
    """Refuses values that are wrong, with the first of them and its place."""
    if wrong.any():
        index = checks.first(wrong)
        raise ValueError(f"{must}. Got {values[index]} at {place(index, layout)}.")


def _sample_weight(weight: Any, layout: Layout) -> Array:
    """Numbers from 0 up, one per example (B,) or one per target in the form of y, as packed rows (N,) in float64."""
    # A list of arrays has one per sequence, rather than one number per sequence.
    nested = isinstance(weight, (list, tuple)) and any(checks.rank(part) > 0 for part in weight)
    own, each = layout, None
    if layout.lengths is not None and layout.form != "single" and not (layout.form == "list" and nested):
        array = checks.real_array("sample_weight", weight)
        checks.shape("sample_weight", array, *[layout.outer_shape] * (layout.form == "array"), (layout.count,))
        if array.ndim == 1:
            own, each = layout.as_vectors(), array
    if each is None:
        each = layout.pack("sample_weight", weight, functools.partial(_read, checks.real_array))
    _refuse("sample_weight must hold numbers from 0 up", ~(np.isfinite(each) & (each >= 0)), each, own)
    each = each.astype(np.float64)
    return each if own is layout else np.repeat(each, layout.rows)


def _class_weight(value: Any, labels: Array, counts: Array | None, loss: Loss, width: int) -> Array:
    """The weight of the class of each row (N,), in float64.

    `value` is a mapping class -> weight (1 for a class that is not named), or "balanced": a class with n of the N
    rows that count, of K classes, weighs N / (K n), as in King and Zeng 2001.
    """
    if not loss.integers or loss.whole_sequences:
        must = (
            f"class_weight must be left out where targets are numbers or of whole sequences, as of {checks.show(loss)}"
        )
        raise ValueError(f"{must}. Got {checks.show(value)}.")
    weights = np.ones(width)
    if isinstance(value, str):
        checks.choice("class_weight", value, ["balanced"])
        seen = np.bincount(labels if counts is None else labels[counts], minlength=width)
        weights = seen.sum() / (np.count_nonzero(seen) * np.maximum(seen, 1.0))
    elif isinstance(value, Mapping):
        for label, weight in value.items():
            if not checks.is_whole(label) or not 0 <= label < width:
                raise ValueError(f"class_weight must name classes from 0 to {width - 1}. Got {checks.show(label)}.")
            weights[label] = checks.number(f"class_weight[{label}]", weight, 0)
    else:
        raise TypeError(f"class_weight must be 'balanced' or a mapping class -> weight. Got {checks.describe(value)}.")
    return np.asarray(weights[labels])


def _read(read: Callable[[str, Any], Array], name: str, value: Any, shape: tuple[int, ...]) -> Array:
    array = read(name, value)
    checks.shape(name, array, shape)
    return array
