"""What goes from layer to layer in a Keras model: how many axes it has, and a mask.

Keras hands a mask on beside the values: the layers behind it carry their state past a masked step, and their output
there is the last one again, or 0. `elman.Masking` drops those steps. Both agree at every real step and in every final
state as long as all layers that mix steps know the mask. Those for which that cannot be said are refused here.
"""

from __future__ import annotations

from typing import Any

from elman import checks
from elman.checks import FormatError
from elman.interop.keras.arrays import CELLS
from elman.interop.keras.config import Entry, Object, flag, inner

_RECURRENT = (*CELLS, "RNN", "Bidirectional")
_MIXES_STEPS = (*_RECURRENT, "GlobalAveragePooling1D", "GlobalMaxPooling1D")
_OVER_TIME = (*_MIXES_STEPS, "Masking", "SpatialDropout1D", "TimeDistributed")
_KNOWS_NO_MASK = ("GlobalMaxPooling1D", "Softmax")


class Flow:
    """The values between two layers."""

    def __init__(self) -> None:
        self.axes: int | None = None  #: 2 for (batch, features), 3 with time between them, None where nothing says it
        self.features: int | None = None
        self._mask: tuple[str, float] | None = None  # what it was made of: (what is compared, with what)
        self._lost = ""  # the layer behind which the mask no longer fits the steps

    def start(self, config: Any) -> None:
        """Reads the shape that a first layer declares."""
        shape = next((config[key] for key in ("batch_shape", "batch_input_shape") if config.get(key)), None)
        if shape is None or self.axes is not None:
            return
        whole = isinstance(shape, list) and all(n is None or (type(n) is int and n > 0) for n in shape)
        if not whole or len(shape) not in (2, 3):
            raise FormatError(f"the input must have the axes batch, time and features. Got the shape {shape!r:.80}.")
        self.axes, self.features = len(shape), shape[-1]

    def take(self, entry: Entry) -> None:
        """Lets the values go through a layer; refuses it where its mask is not that of elman."""
        if entry.mask is not None and entry.mask != self._mask:
            raise FormatError("its mask must be that of the layers before it. Got one of another origin.")
        self._check(entry)
        if entry.kind == "Embedding":
            self.axes = 3
        if entry.kind == "Embedding" and flag(entry.config, "mask_zero", False):
            self._mask = (entry.feeds, 0.0)
        if entry.kind == "Masking":
            self._mask = (entry.feeds, checks.number("mask_value", entry.config.get("mask_value", 0.0)))
        if gives_vectors(entry):
            self.axes, self._mask = 2, None
        elif entry.kind in _RECURRENT and self._mask is not None:
            turned = inner(entry, "layer") if entry.kind == "Bidirectional" else entry
            self._lost = entry.name if flag(turned.config, "go_backwards", False) else self._lost

    def _check(self, entry: Entry) -> None:
        kind = entry.kind if entry.kind != "TimeDistributed" else inner(entry, "layer").kind
        wanted = 2 if kind == "Embedding" else 3 if entry.kind in _OVER_TIME else self.axes
        if self.axes is not None and self.axes != wanted:
            raise FormatError(f"it must be given {wanted} axes, batch and time first. Got {self.axes}.")
        if self._lost and (kind in _MIXES_STEPS or kind == "Masking"):
            raise FormatError(
                f"it must not stand behind {self._lost!r}, which goes backwards over masked steps: Keras hands the "
                f"mask on in the old order. Got it there."
            )
        if self._mask is None:
            return
        if kind in _KNOWS_NO_MASK:
            raise FormatError("it must not stand behind masked steps, which it does not skip. Got a mask.")
        if kind == "Masking":
            raise FormatError("it must be the only mask: in Keras a second one takes the place of the first. Got two.")
        if "merged_by" in entry.config:
            raise FormatError(
                f"its own merge_mode must join its outputs where steps are masked. Got None, and "
                f"{entry.config['merged_by']!r} to join them."
            )
        zeroes = kind != "Bidirectional" and flag(entry.config, "zero_output_for_mask", False)
        if kind in _RECURRENT and not returns_sequences(entry) and zeroes:
            raise FormatError("zero_output_for_mask must be False with a mask and return_sequences=False. Got True.")


def returns_sequences(layer: Object) -> bool:
    """Whether a layer over time gives every step."""
    if layer.kind == "Bidirectional":
        return returns_sequences(inner(layer, "layer"))
    return layer.kind in _RECURRENT and flag(layer.config, "return_sequences", False)


def gives_vectors(layer: Object) -> bool:
    """Whether a layer makes one vector of each sequence."""
    return layer.kind in _MIXES_STEPS and not returns_sequences(layer)
