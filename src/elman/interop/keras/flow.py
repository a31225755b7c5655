"""What goes from layer to layer in a Keras model: how many axes, features and steps it has, and a mask.

Keras hands a mask on beside the values: the layers after it carry their state past a masked step, and their output
there is the last one again, or 0. `elman.Masking` drops those steps. Both agree at every real step and in every final
state as long as all layers that mix steps know the mask. Those for which that cannot be said are refused here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from elman import checks
from elman.checks import FormatError
from elman.interop.keras.arrays import CELLS
from elman.interop.keras.config import Entry, Object, flag, inner
from elman.interop.keras.graph import Call, Mask

RECURRENT = (*CELLS, "RNN", "Bidirectional")
JOINS = ("Add", "Average", "Concatenate", "Multiply", "Subtract")
ATTENTIONS = ("AdditiveAttention", "Attention")
_WINDOWS = ("AveragePooling1D", "Conv1D", "MaxPooling1D")
_MIXES_STEPS = (*RECURRENT, "GlobalAveragePooling1D", "GlobalMaxPooling1D")
_OVER_TIME = (*_MIXES_STEPS, *_WINDOWS, *ATTENTIONS, "Masking", "SpatialDropout1D", "TimeDistributed")
_KNOWS_NO_MASK = (*_WINDOWS, "Flatten", "GlobalMaxPooling1D", "Softmax")


@dataclass(frozen=True)
class Facts:
    """What is known of a value."""

    axes: int | None = None  #: 2 for (batch, features), 3 with time between them, None where nothing says it
    features: int | None = None
    steps: int | None = None  #: where each sequence has so many
    mask: Mask | None = None
    lost: str = ""  #: the layer after which the mask no longer fits the steps

    def start(self, config: Any) -> Facts:
        """With the shape that a first layer declares."""
        shape = next((config[key] for key in ("batch_shape", "batch_input_shape") if config.get(key)), None)
        if shape is None or self.axes is not None:
            return self
        whole = isinstance(shape, list) and all(n is None or (type(n) is int and n > 0) for n in shape)
        if not whole or len(shape) not in (2, 3):
            raise FormatError(f"the input must have the axes batch, time and features. Got the shape {shape!r:.80}.")
        return replace(self, axes=len(shape), features=shape[-1], steps=shape[1])


def flow(call: Call, read: Sequence[Facts]) -> Facts:
    """What is known of what a layer gives, its features aside; refuses it where its mask is not that of elman."""
    entry, first = call.entry, read[0]
    for given, facts in zip(call.masks, read, strict=False):
        if given is not None and given != facts.mask:
            raise FormatError("its mask must be that of the layers before it. Got one of another origin.")
    if entry.kind in JOINS:
        return _joined(read)
    for facts in read:
        _check(entry, facts)
    after = replace(first, features=None)
    if entry.kind == "Embedding":
        masks = flag(entry.config, "mask_zero", False)
        return replace(after, axes=3, mask=Mask(call.reads[0], 0.0) if masks else None)
    if entry.kind == "Masking":
        value = checks.number("mask_value", entry.config.get("mask_value", 0.0))
        return replace(after, mask=Mask(call.reads[0], value), steps=None)
    if entry.kind == "RepeatVector":
        return Facts(3, steps=checks.size("n", entry.config.get("n")))
    if gives_vectors(entry):
        return Facts(2)
    if entry.kind in _WINDOWS and first.steps is not None:
        return replace(after, steps=_windows(entry, first.steps))
    if entry.kind in RECURRENT and first.mask is not None:
        turned = inner(entry, "layer") if entry.kind == "Bidirectional" else entry
        return replace(after, lost=entry.name if flag(turned.config, "go_backwards", False) else first.lost)
    return after


def _joined(read: Sequence[Facts]) -> Facts:
    """Of several values, each beside the others."""
    masks, lost = {facts.mask for facts in read}, {facts.lost for facts in read}
    if len(masks) > 1 or len(lost) > 1:
        raise FormatError("it must read values of one mask, in one order, as steps that are left out differ else.")
    axes = {facts.axes for facts in read}
    steps = {facts.steps for facts in read if facts.axes == 3 and facts.steps is not None}
    if len(steps) > 1:
        raise FormatError(f"it must read as many steps of each. Got {' and '.join(map(str, sorted(steps)))}.")
    known = None if axes == {None} else 3 if 3 in axes or None in axes else 2
    return Facts(known, steps=next(iter(steps), None), mask=masks.pop(), lost=lost.pop())


def _check(entry: Entry, facts: Facts) -> None:
    kind = entry.kind if entry.kind != "TimeDistributed" else inner(entry, "layer").kind
    wanted = 2 if kind in ("Embedding", "RepeatVector") else 3 if entry.kind in _OVER_TIME else facts.axes
    if facts.axes is not None and facts.axes != wanted:
        raise FormatError(f"it must be given {wanted} axes, batch and time first. Got {facts.axes}.")
    if facts.lost and (kind in _MIXES_STEPS or kind == "Masking"):
        raise FormatError(
            f"it must not stand after {facts.lost!r}, which goes backwards over masked steps: Keras hands the "
            f"mask on in the old order. Got it there."
        )
    if facts.mask is None:
        return
    if kind in _KNOWS_NO_MASK:
        raise FormatError("it must not stand after masked steps, which it does not skip. Got a mask.")
    if kind == "Masking":
        raise FormatError("it must be the only mask: in Keras a second one takes the place of the first. Got two.")
    if kind == "Bidirectional" and entry.config.get("merge_mode", "concat") is None:
        raise FormatError("its own merge_mode must join its outputs where steps are masked. Got None.")
    zeroes = kind != "Bidirectional" and flag(entry.config, "zero_output_for_mask", False)
    if kind in RECURRENT and not returns_sequences(entry) and zeroes:
        raise FormatError("zero_output_for_mask must be False with a mask and return_sequences=False. Got True.")


def _windows(layer: Object, steps: int) -> int:
    """How many steps are left of so many."""
    config = layer.config
    width = single(config, "kernel_size" if layer.kind == "Conv1D" else "pool_size")
    stride = single(config, "strides", 1 if layer.kind == "Conv1D" else width)
    span = (width - 1) * single(config, "dilation_rate", 1) + 1 if config.get("padding", "valid") == "valid" else 1
    return max(0, (steps - span) // stride + 1)


def single(config: Any, key: str, default: int | None = None) -> int:
    """A size of the one axis of time, a number or a list of one."""
    value = config.get(key)
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    return checks.size(key, default if value is None else value)


def returns_sequences(layer: Object) -> bool:
    """Whether a layer over time gives every step."""
    if layer.kind == "Bidirectional":
        return returns_sequences(inner(layer, "layer"))
    return layer.kind in RECURRENT and flag(layer.config, "return_sequences", False)


def gives_vectors(layer: Object) -> bool:
    """Whether a layer makes one vector of each sequence."""
    return layer.kind == "Flatten" or (layer.kind in _MIXES_STEPS and not returns_sequences(layer))
