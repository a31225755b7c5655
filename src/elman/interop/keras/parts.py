"""What a layer of Keras is here: one or more layers, what each reads, and which of them give its outputs and states."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from elman.interop.keras.flow import Facts
from elman.layers import Layer


@dataclass(frozen=True)
class At:
    """What a layer cannot know by itself."""

    read: tuple[Facts, ...]  # of each value that comes in
    version: int  # of Keras
    dtype: str
    used: Collection[int] = (0,)  # which of its outputs others read

    @property
    def axes(self) -> int | None:
        """Of the first value: 2 for (batch, features), 3 with time between them."""
        return self.read[0].axes

    @property
    def features(self) -> int | None:
        """Of the first value."""
        return self.read[0].features


@dataclass
class Parts:
    """Layers in order. Values by number: first the `count` that the layer of Keras reads, then what each part gives."""

    count: int
    layers: list[tuple[Layer, tuple[int, ...]]] = field(default_factory=list)  # with the values that each reads
    outputs: dict[int, int] = field(default_factory=dict)  # of the layer of Keras, to values
    memory: dict[int, tuple[int, int]] = field(default_factory=dict)  # outputs that are states: (value, which state)
    last: int = 0  # the value that the next part reads

    def add(self, *layers: Layer, reads: tuple[int, ...] | None = None) -> int:
        """Parts one after another, the first of which reads the value before it; the value that the last gives."""
        for layer in layers:
            self.layers.append((layer, reads or (self.last,)))
            self.last, reads = self.count + len(self.layers) - 1, None
        return self.last

    @staticmethod
    def row(count: int, layers: list[Layer]) -> Parts:
        """Layers in a row, the first of which reads all values; none hand on the first value."""
        parts = Parts(count)
        parts.outputs[0] = parts.add(*layers, reads=tuple(range(count))) if layers else 0
        return parts
