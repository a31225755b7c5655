"""What the rows of `elman.interop.keras.layers` say of a layer where it stands: its weights, and what goes through it.

A value has axes, features, steps and perhaps a mask. Keras hands a mask on beside the values: the layers after it carry
their state past a masked step, and their output there is the last one again, or 0. `elman.Masking` drops those steps.
Both agree at every real step and in every final state as long as all layers that mix steps know the mask. Many do not,
and the mask ends there: a convolution computes masked steps as any others. A mask that only such layers are given is
none (`without_idle_masks`); they may stand right after what masks as well. The rest is refused here.

Joins: Keras 3 hands on the union of the masks, and none where one of the values has none, Keras 2 what they have in
common. Both are the mask itself where all have the same one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from elman import checks
from elman.checks import FormatError
from elman.interop.keras.config import CELLS, RECURRENT, Call, Entry, Facts, Mask, Object, Ref
from elman.interop.keras.layers import ROWS

_LOSE_IT_BEFORE_3 = ("Identity", "Normalization", "Rescaling")


def check_known(layer: Object) -> None:
    """Refuses a layer that has no like here."""
    if layer.kind not in ROWS:
        raise FormatError(f"its class must be one of those that elman.from_keras names. Got {layer.kind!r}.")
    for key, must in ROWS[layer.kind].fixed.items():
        if layer.config.get(key) not in (None, must):
            raise FormatError(f"{key} must be {must!r}. Got {checks.show(layer.config[key])}.")
    for _, each in layer.sides() if layer.kind in ("Bidirectional", "TimeDistributed") else []:
        known = [kind for kind, row in ROWS.items() if row.each]
        known = [*CELLS, "RNN"] if layer.kind == "Bidirectional" else known
        if each.kind not in known:
            raise FormatError(f"{layer.kind} must hold {', '.join(known)}. Got {each.kind!r}.")
        check_known(each)


def own_arrays(layer: Object) -> list[tuple[str, tuple[str, ...]]]:
    """The parts of a layer that may hold weights: the path inside the layer, and the names of the arrays."""
    if layer.kind in ("Bidirectional", "TimeDistributed"):
        inside = [(side, path, names) for side, each in layer.sides() for path, names in own_arrays(each)]
        return [(f"{side}/{path}".rstrip("/"), names) for side, path, names in inside]
    cells = layer.cells() if layer.kind in RECURRENT else [("", layer)]
    parts = [(path, each, ROWS[each.kind].arrays) for path, each in cells if each.kind in ROWS]
    return [(path, tuple(n for n in names if _has(each, n))) for path, each, names in parts if names]


def _has(layer: Object, name: str) -> bool:
    """Whether a layer has one of the arrays of its class."""
    if name == "concat_score_weight":
        return layer.config.get("score_mode") == "concat"
    if layer.kind == "Normalization":
        return layer.config.get("mean") is None
    options = {"bias": "use_bias", "gamma": "scale", "beta": "center", "scale": "use_scale"}
    return name not in options or layer.flag(options[name], layer.kind != "Attention")


def returns_sequences(layer: Object) -> bool:
    """Whether a layer over time gives every step."""
    if layer.kind == "Bidirectional":
        return returns_sequences(layer.inner("layer"))
    return layer.kind in RECURRENT and layer.flag("return_sequences", False)


def loses_mask(entry: Entry, version: int, masked: Collection[Any] = ()) -> bool:
    """Whether a layer computes masked steps as any others, and hands no mask on; `masked` are those of a join."""
    if ROWS[entry.kind].time == "joins":
        return version >= 3 and not all(masked)
    return ROWS[entry.kind].mask == "loses" or (version < 3 and entry.kind in _LOSE_IT_BEFORE_3)


def without_idle_masks(calls: Sequence[Call], version: int) -> list[Call]:
    """The calls without the masks that no layer uses, where one loses them or has other values beside them."""
    masks: dict[Ref, set[Ref]] = {}  # of the value of each call the calls that mask it
    used, ended = set[Ref](), set[Ref]()
    for call in calls:
        each = [masks[ref._replace(output=0)] for ref in call.reads]
        held, lost = set[Ref]().union(*each), loses_mask(call.entry, version, each)
        used |= held if ROWS[_inner_kind(call.entry)].mask == "uses" else set()
        ended |= held if lost or _masks(call.entry) or any(one != held for one in each) else set()
        vectors = ROWS[call.entry.kind].time == "mixes" and not returns_sequences(call.entry)
        masks[call.gives] = {call.gives} if _masks(call.entry) else set() if lost or vectors else held
    idle = {call.gives: call for call in calls if call.gives in ended - used}
    gone = set[Mask | None]()
    for gives, call in idle.items():
        value = call.entry.config.get("mask_value", 0.0)
        if value:
            must = "mask_value must be 0 where no layer uses the mask, as Keras sets the steps to 0"
            raise FormatError(f"{call.entry.place}: {must}. Got {checks.show(value)}.")
        kind = "Identity" if call.entry.kind == "Masking" else call.entry.kind
        entry = replace(call.entry, kind=kind, config={**call.entry.config, "mask_zero": False})
        gone.add(Mask(call.reads[0], 0.0))
        idle[gives] = replace(call, entry=entry)
    found = [idle.get(call.gives, call) for call in calls]
    return [replace(call, masks=tuple([None if m in gone else m for m in call.masks])) for call in found]


def _masks(entry: Entry) -> bool:
    return entry.kind == "Masking" or (entry.kind == "Embedding" and entry.flag("mask_zero", False))


def flow(call: Call, read: Sequence[Facts], version: int) -> Facts:
    """What is known of what a layer gives, its features aside; refuses it where its mask is not that of elman."""
    entry, first = call.entry, read[0]
    for given, facts in zip(call.masks, read, strict=False):
        if given is not None and given != facts.mask:
            raise FormatError("its mask must be that of the layers before it. Got one of another origin.")
    if ROWS[entry.kind].time == "joins":
        return _joined(read)
    for facts in read:
        _check(entry, facts, version)
    after, time = replace(first, features=None), ROWS[entry.kind].time
    if entry.kind == "Embedding":
        return replace(after, axes=3, mask=Mask(call.reads[0], 0.0) if _masks(entry) else None)
    if entry.kind == "Masking":
        value = checks.number("mask_value", entry.config.get("mask_value", 0.0))
        return replace(after, mask=Mask(call.reads[0], value), steps=None)
    if entry.kind == "RepeatVector":
        return Facts(3, steps=entry.size("n"))
    if entry.kind == "Flatten" or (time == "mixes" and not returns_sequences(entry)):
        return Facts(2)
    if time == "window" and first.steps is not None:
        return replace(after, steps=_windows(entry, first.steps))
    if entry.kind in RECURRENT and first.mask is not None:
        turned = entry.inner("layer") if entry.kind == "Bidirectional" else entry
        return replace(after, lost=entry.name if turned.flag("go_backwards", False) else first.lost)
    return after


def _joined(read: Sequence[Facts]) -> Facts:
    """Of several values, each beside the others."""
    masks, lost = {facts.mask for facts in read}, {facts.lost for facts in read}
    if len(masks) > 1 or len(lost) > 1:
        raise FormatError(
            "it must read values of one mask, in one order: masked steps are left out here, others than in Keras where "
            "a value has none or another mask. Got values that differ in it."
        )
    axes = {facts.axes for facts in read}
    steps = {facts.steps for facts in read if facts.axes == 3 and facts.steps is not None}
    if len(steps) > 1:
        raise FormatError(f"it must read as many steps of each. Got {' and '.join(map(str, sorted(steps)))}.")
    known = None if axes == {None} else 3 if 3 in axes or None in axes else 2
    return Facts(known, steps=next(iter(steps), None), mask=masks.pop(), lost=lost.pop())


def _inner_kind(entry: Entry) -> str:
    return entry.inner("layer").kind if entry.kind == "TimeDistributed" else entry.kind


def _check(entry: Entry, facts: Facts, version: int) -> None:
    kind = _inner_kind(entry)
    row, wanted = ROWS[kind], ROWS[entry.kind].axes
    if None not in (facts.axes, wanted) and facts.axes != wanted:
        raise FormatError(f"it must be given {wanted} axes, batch and time first. Got {facts.axes}.")
    if facts.lost and (row.time == "mixes" or kind == "Masking"):
        raise FormatError(
            f"it must not stand after {facts.lost!r}, which goes backwards over masked steps: Keras hands the "
            f"mask on in the old order. Got it there."
        )
    if facts.mask is None:
        return
    if loses_mask(entry, version) or kind in ("Flatten", "Softmax"):
        raise FormatError(
            "it must not stand after masked steps: Keras computes them here as any others, and other layers, which "
            "use the mask, have them left out. Got a mask."
        )
    if kind == "Masking":
        raise FormatError("it must be the only mask: in Keras a second one takes the place of the first. Got two.")
    if kind == "Bidirectional" and entry.config.get("merge_mode", "concat") is None:
        raise FormatError("its own merge_mode must join its outputs where steps are masked. Got None.")
    sides = [side for _, side in entry.sides()] if kind == "Bidirectional" else [entry]
    if kind in RECURRENT and any(
        all(side.flag(key, False) for key in ("unroll", "go_backwards", "zero_output_for_mask"))
        or (kind == "Bidirectional" and side.flag("unroll", False) and side.flag("zero_output_for_mask", False))
        for side in sides
    ):
        raise FormatError("zero_output_for_mask must be False where unroll goes backwards over masked steps. Got True.")
    zeroes = kind != "Bidirectional" and entry.flag("zero_output_for_mask", False)
    if kind in RECURRENT and not returns_sequences(entry) and zeroes:
        raise FormatError("zero_output_for_mask must be False with a mask and return_sequences=False. Got True.")


def _windows(layer: Object, steps: int) -> int:
    """How many steps there are after so many."""
    if layer.kind == "ZeroPadding1D":
        return steps + sum(layer.pads())
    convolves = layer.kind == "Conv1D"
    width = layer.along_time("kernel_size" if convolves else "pool_size")
    stride = layer.along_time("strides", 1 if convolves else width)
    valid = layer.config.get("padding", "valid") == "valid"
    span = (width - 1) * layer.along_time("dilation_rate", 1) + 1 if valid else 1
    return max(0, (steps - span) // stride + 1)
