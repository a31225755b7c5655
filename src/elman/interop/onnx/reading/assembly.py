"""The network that stages are: a list of layers where they stand in a row, or else nodes by name."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from elman.cells.activations import ACTIVATIONS
from elman.cells.cell import REVERSE
from elman.checks import FormatError
from elman.interop.chain import Made, joined
from elman.interop.onnx.reading.files import ModelFile
from elman.interop.onnx.reading.parts import AFFINE, CELL_STATE, LINEAR, POOLS, UNFINISHED, Part, RecurrentPart
from elman.interop.onnx.reading.positions import Stage
from elman.layers import Layer
from elman.network import Network

#: Layers but the recurrent that read a sequence to its end, and so must all know where it is.
_TO_THE_END = (*POOLS, "AveragePool1d", "Conv1d", "MaxPool1d", "Reverse")

#: What a scale or a shift is in the layer before, where that has a place for it.
_PLACES: dict[tuple[str, ...], str] = {
    ("LayerNorm", "scale"): "gain",
    ("LayerNorm", "shift"): "bias",
}


class Assembly:
    """All that the ends of a graph need, each stage after those it reads, and the network of it.

    `ends` are the outputs by name, `last` the places of layers whose last states are outputs, `lengths` the inputs of
    the model that are the argument of that name.
    """

    def __init__(
        self, file: ModelFile, ends: list[tuple[str, Stage]], last: Collection[str], lengths: Collection[str]
    ) -> None:
        self.last, self.file, self.ends, self.lengths = last, file, ends, lengths
        order: dict[Stage, None] = {}
        waiting = [stage for _, stage in reversed(ends)]
        while waiting:
            missing = [read for read in _needed(waiting[-1]) if read not in order]
            if missing:
                waiting += reversed(missing)
            else:
                order.setdefault(waiting.pop())
        self.roots = [stage for stage in order if stage.part is None]
        self._made = self._fuse([stage for stage in order if stage.part is not None])
        self.stages, self.parts = [*self._made], [part for part, _ in self._made.values()]

    def _fuse(self, stages: Sequence[Stage]) -> dict[Stage, tuple[Part, tuple[Stage, ...]]]:
        """Makes one layer of two where the second is a part of the first, which nothing else reads."""
        readers = Counter(read for stage in stages for read in _needed(stage))
        readers.update(stage for _, stage in self.ends)
        made: dict[Stage, tuple[Part, tuple[Stage, ...]]] = {}
        for stage in stages:
            part, reads = stage.part, stage.reads
            assert part is not None
            if len(reads) == 1 and reads[0] in made and readers[reads[0]] == 1:
                before, earlier = made[reads[0]]
                fused = _fused(before, part, stage.width)
                if fused is not None:
                    del made[reads[0]]
                    part, reads = fused, earlier
            made[stage] = part, reads
        return made

    def check_same(self, other: Assembly) -> None:
        """Refuses a network that depends on lengths which the model leaves open."""
        for mine, its in itertools.zip_longest(self._wired(), other._wired()):
            if mine is None or its is None or mine[1] != its[1] or not mine[2].same(its[2]):
                must = "a layer that is the same for any number of sequences and steps"
                raise self.file.refused((mine or its)[0], must, "one that depends on it")

    def _wired(self) -> list[tuple[str, list[Any], Part]]:
        """Of each layer, and of each output: where it is, which it reads, and what it is."""
        number: dict[Any, Any] = {stage: i for i, stage in enumerate(self.stages)}
        number |= {root: root.name for root in self.roots}
        made = [(stage.place, (*reads, part.start, *part.begins), part) for stage, (part, reads) in self._made.items()]
        every = [*made, *((name, (stage,), Part("")) for name, stage in self.ends)]
        return [(place, [*map(number.get, reads)], part) for place, reads, part in every]

    @property
    def recurrent(self) -> list[tuple[Stage, RecurrentPart | None]]:
        """The layers with states in order, and what each is, where it is a recurrent one."""
        return [
            (stage, part if isinstance(part, RecurrentPart) else None)
            for stage, part, layer in zip(self.stages, self.parts, self.layers, strict=True)
            if layer.stateful
        ]

    def network(self) -> Network:
        """The network."""
        if not self.stages:
            raise self.file.refused("the graph", "a network of at least one layer", "none")
        self._check_lengths()
        self.layers = self._layers()
        made, states = dict[Any, Made](), dict[Any, tuple[Any, str]]()
        for (stage, (part, reads)), layer in zip(self._made.items(), self.layers, strict=True):
            if part.kind == CELL_STATE:
                both = getattr(reads[0].part, "directions", 1) == 2
                keys = [(stage, name) for name in ("c", f"c{REVERSE}")] if both else [stage]
                states |= {key: (reads[0], name) for key, name in zip(keys, ("c", f"c{REVERSE}"), strict=False)}
                if not both:
                    continue
                reads = keys  # type: ignore[assignment]
            made[stage] = Made(layer, type(layer).__name__.lower(), reads, part.start, part.begins)
        return joined(made, {root: root.name for root in self.roots}, self.ends, self.file.name, states)

    def _layers(self) -> list[Layer]:
        kinds = {str(array.dtype) for part in self.parts for array in part.arrays.values() if array.dtype.kind == "f"}
        if len(kinds) > 1:
            raise self.file.refused("the weights", "all float32, or all float64", " and ".join(sorted(kinds)))
        dtype = np.dtype(kinds.pop() if kinds else np.float32)
        in_chunks = any(part.given for part in self.parts)
        layers = []
        for place, part in zip((stage.place for stage in self.stages), self.parts, strict=True):
            if part.kind in UNFINISHED:
                what, must = UNFINISHED[part.kind]
                raise self.file.refused(f"{what} of {place}", must, "one that is used elsewhere")
            if in_chunks and part.config.get("padding") == "causal":  # the model begins each chunk of its states with 0
                span = (part.config["width"] - 1) * part.config.get("dilation", 1)
                part = replace(part, config={**part.config, "padding": (span, 0)})
            self.file.take(part.size * dtype.itemsize, f"the weights of {place}")
            try:
                with np.errstate(all="ignore"):  # weights may be anything, infinite too
                    layers.append(part.build(dtype))
            except ValueError as error:
                raise FormatError(f"{self.file.name}: {place} cannot be a layer. {error}") from error
        return layers

    def _check_lengths(self) -> None:
        """Refuses a network of which some layers end with each sequence and others with the padding."""
        last = {*self.last, *(part.start.place for part in self.parts if part.start is not None)}
        last |= {stage.reads[0].place for stage in self.stages if stage.kind == CELL_STATE}
        readers: dict[str, str] = {}
        for place, part in zip((stage.place for stage in self.stages), self.parts, strict=True):
            if isinstance(part, RecurrentPart):  # forward alone, the padding changes nothing of real steps
                to_end = part.directions == 2 or part.lengths or place in last
            else:
                to_end = part.kind in _TO_THE_END and part.config.get("padding") != "causal"
            if to_end:
                readers[part.lengths] = place
        if "" in readers:
            for name in self.lengths:
                readers.setdefault(name, "the argument `lengths` for an input of the model")
        if len(readers) > 1:
            words = [f"{place}: {repr(name) if name else 'all steps'}" for name, place in readers.items()]
            must = "the same for all layers that read to their end"
            raise self.file.refused("the lengths of sequences", must, "; ".join(words))


def _needed(stage: Stage) -> tuple[Stage, ...]:
    """What it reads, and the layer from whose last state, or the values from which, it starts."""
    part = stage.part
    begins = () if part is None else part.begins if part.start is None else (part.start,)
    return (*stage.reads, *begins)


def _fused(before: Part, part: Part, width: int) -> Part | None:
    """One layer that is two in a row; None where they must be two."""
    own, config = before.config, part.config
    is_free = own.get("activation", "identity") == "identity"
    if part.kind == "Activate" and before.kind in LINEAR and is_free:
        activation = config["activation"]
        name = activation if isinstance(activation, str) else activation["name"]
        return replace(before, config={**own, "activation": activation}) if name in ACTIVATIONS else None
    if part.kind == before.kind == "Scale":
        (first, moved), (scale, shift) = before.scaling(), part.scaling()
        return replace(before, arrays={"scale": first * scale, "shift": moved * scale + shift})
    given = part.arrays if part.kind == "Scale" else {}
    if part.kind == AFFINE:
        if before.kind == AFFINE and own["shift"] == 0 and config["scale"] == 1:
            return replace(before, config={**own, "shift": config["shift"]})
        if before.kind == "MergeDirections" and own["mode"] == "sum" and config == {"scale": 0.5, "shift": 0}:
            return replace(before, config={"mode": "ave"})
        given = {name: np.full(width, value) for name, value in config.items() if value != (name == "scale")}
    place = _PLACES.get((before.kind, *given))
    if place is None or place in before.arrays or not is_free or (place == "gain" and before.arrays):
        return None
    (array,) = given.values()
    dtype = next((array.dtype for array in before.arrays.values()), array.dtype)
    return replace(before, arrays={**before.arrays, place: array.astype(dtype)})
