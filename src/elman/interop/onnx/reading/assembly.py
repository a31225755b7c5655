"""The network that stages are: a list of layers where they stand in a row, or else nodes by name."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from elman.cells.activations import ACTIVATIONS
from elman.checks import FormatError
from elman.graph import Node
from elman.interop.chain import free_name, network_of
from elman.interop.onnx.reading.files import ModelFile
from elman.interop.onnx.reading.parts import (
    AFFINE,
    CELL_STATE,
    LINEAR,
    POOLS,
    UNFINISHED,
    Part,
    RecurrentPart,
)
from elman.interop.onnx.reading.positions import Stage
from elman.layers import Activate, Layer
from elman.network import Network

#: Layers that read a sequence to its end, and so must all know where it is.
_TO_THE_END = (*POOLS, "AveragePool1d", "Conv1d", "MaxPool1d", "Reverse", "gru", "lstm", "rnn")

#: What a scale and a shift are in the layer before, where that has a place for them.
_PLACES = {"Conv1d": {"shift": "b"}, "Dense": {"shift": "b"}, "LayerNorm": {"scale": "gain", "shift": "bias"}}


class Assembly:
    """All that the ends of a graph need, each stage after those it reads, and the network of it.

    `ends` are the outputs by name, `last` the places of layers whose last states are outputs, `padded` the inputs of
    lengths after which something is constant in the padding.
    """

    def __init__(
        self, file: ModelFile, ends: Sequence[tuple[str, Stage]], last: Collection[str], padded: Collection[str]
    ) -> None:
        self.last, self.file, self.ends, self.padded = last, file, list(ends), padded
        self._made: dict[Stage, tuple[Part, tuple[Stage, ...]]] = {}
        self.stages: list[Stage] = []
        self.roots: list[Stage] = []
        self._walk()
        self._fuse()

    def _walk(self) -> None:
        seen: set[Stage] = set()
        waiting = [stage for _, stage in reversed(self.ends)]
        while waiting:
            stage = waiting[-1]
            missing = [read for read in (*stage.reads, *_starts(stage.part)) if read not in seen]
            if stage in seen or not missing:
                waiting.pop()
                if stage not in seen:
                    seen.add(stage)
                    (self.roots if stage.part is None else self.stages).append(stage)
            else:
                waiting += reversed(missing)

    def _fuse(self) -> None:
        """Makes one layer of two where the second is a part of the first, which nothing else reads."""
        readers = Counter(read for stage in self.stages for read in (*stage.reads, *_starts(stage.part)))
        readers.update(stage for _, stage in self.ends)
        for stage in self.stages:
            part, reads = stage.part, stage.reads
            assert part is not None
            before = self._made.get(reads[0]) if len(reads) == 1 and readers[reads[0]] == 1 else None
            fused = None if before is None else _fused(before[0], part, stage.width)
            if fused is not None and before is not None:
                del self._made[reads[0]]
                part, reads = fused, before[1]
            self._made[stage] = part, reads
        self.stages = [stage for stage in self.stages if stage in self._made]

    def check_same(self, other: Assembly) -> None:
        """Refuses a network that depends on lengths which the model leaves open."""
        for mine, its in itertools.zip_longest(self._wired(), other._wired()):
            if mine is None or its is None or mine[1] != its[1] or not mine[2].same(its[2]):
                place = (mine or its)[0]
                must = "a layer that is the same for any number of sequences and steps"
                raise self.file.refused(place, must, "one that depends on it")

    def _wired(self) -> list[tuple[str, list[Any], Part]]:
        """Of each layer, and of each output: where it is, which it reads, and what it is."""
        number = {stage: i for i, stage in enumerate(self.stages)}
        made = [(stage.place, (*self._made[stage][1], *_starts(stage.part)), self._made[stage][0]) for stage in number]
        every = [*made, *((name, (stage,), Part("")) for name, stage in self.ends)]
        return [(place, [number.get(read, read.name) for read in reads], part) for place, reads, part in every]

    @property
    def recurrent(self) -> list[tuple[Stage, RecurrentPart | None]]:
        """The layers with states in order, and what each is, where it is a recurrent one."""
        found = [(stage, self._made[stage][0]) for stage in self.stages]
        return [
            (stage, part if isinstance(part, RecurrentPart) else None)
            for (stage, part), layer in zip(found, self.layers, strict=True)
            if layer.stateful
        ]

    def network(self) -> Network:
        """The network."""
        if not self.stages:
            raise self.file.refused("the graph", "a network of at least one layer", "none")
        self._check_lengths()
        self.layers = self._layers()
        if len(self.ends) == 1 and self._is_row():
            return network_of(self.layers, self.file.name)
        return self._graph()

    def _is_row(self) -> bool:
        before = [*self.roots[:1], *self.stages]
        alone = all(self._made[stage][1] == (read,) for read, stage in itertools.pairwise(before))
        starts = any(_starts(part) for part, _ in self._made.values())
        return len(self.roots) == 1 and alone and not starts and self.ends[0][1] is self.stages[-1]

    def _graph(self) -> Network:
        names: dict[Stage, str] = {stage: stage.name for stage in self.roots}
        taken = set(names.values())
        copies: list[tuple[str, Stage]] = []  # outputs that are another one too, or an input
        outputs = []
        for name, stage in self.ends:
            outputs.append(free_name(name, taken))
            if stage in names:
                copies.append((outputs[-1], stage))
            else:
                names[stage] = outputs[-1]
        for stage, layer in zip(self.stages, self.layers, strict=True):
            names[stage] = names.get(stage) or free_name(type(layer).__name__.lower(), taken)
        nodes: dict[str, Any] = {}
        for stage, layer in zip(self.stages, self.layers, strict=True):
            part, reads = self._made[stage]
            state = next((names[start] for start in _starts(part)), None)
            nodes[names[stage]] = Node(layer, *(names[read] for read in reads), state=state)
        nodes |= {name: (Activate("identity"), names[stage]) for name, stage in copies}
        return network_of(nodes, self.file.name, None if outputs == [*nodes][-1:] else tuple(outputs))

    def _layers(self) -> list[Layer]:
        parts = [(stage.place, self._made[stage][0]) for stage in self.stages]
        kinds = {str(array.dtype) for _, part in parts for array in part.arrays.values() if array.dtype.kind == "f"}
        if len(kinds) > 1:
            raise self.file.refused("the weights", "all float32, or all float64", " and ".join(sorted(kinds)))
        dtype = np.dtype(kinds.pop() if kinds else np.float32)
        in_chunks = any(isinstance(part, RecurrentPart) and part.given for _, part in parts)
        layers = []
        for place, part in parts:
            if part.kind in UNFINISHED:
                what, must = UNFINISHED[part.kind]
                got = "a layer that reads it" if part.kind == CELL_STATE else "one that is used elsewhere"
                raise self.file.refused(f"{what} of {place}", must, got)
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
        parts = [(stage.place, self._made[stage][0]) for stage in self.stages]
        last = {*self.last, *(stage.place for _, part in parts for stage in _starts(part))}
        readers = {
            part.lengths: place
            for place, part in parts
            if part.kind in _TO_THE_END and not _is_causal(part, place in last)
        }
        if "" in readers:
            readers |= dict.fromkeys(self.padded, "constants in the padding")
        if len(readers) > 1:
            words = [f"{place}: {repr(name) if name else 'all steps'}" for name, place in readers.items()]
            must = "the same for all layers that read to their end"
            raise self.file.refused("the lengths of sequences", must, "; ".join(words))


def _is_causal(part: Part, gives_last: bool) -> bool:
    """Whether the padding changes nothing that it gives of real steps."""
    if isinstance(part, RecurrentPart):
        return part.directions == 1 and not part.lengths and not gives_last
    return part.config.get("padding") == "causal"


def _starts(part: Part | None) -> list[Stage]:
    """The layer from whose last state it starts, if there is one."""
    return [part.start] if isinstance(part, RecurrentPart) and part.start is not None else []


def _fused(before: Part, part: Part, width: int) -> Part | None:
    """One layer that is two in a row; None where they must be two."""
    free = before.config.get("activation", "identity") == "identity"
    if part.kind == "Activate" and before.kind in LINEAR and free:
        config = part.config["activation"]
        name = config if isinstance(config, str) else config["name"]
        return replace(before, config={**before.config, "activation": config}) if name in ACTIVATIONS else None
    if part.kind == AFFINE:
        scale, shift = part.config["scale"], part.config["shift"]
        if before.kind == AFFINE and before.config["shift"] == 0 and scale == 1:
            return replace(before, config={**before.config, "shift": shift})
        if before.kind == "MergeDirections" and before.config["mode"] == "sum" and (scale, shift) == (0.5, 0):
            return replace(before, config={"mode": "ave"})
        given = {
            name: np.full(width, value)
            for name, value in (("scale", scale), ("shift", shift))
            if value != (name == "scale")
        }
    elif part.kind == "Scale":
        given = dict(part.arrays)
    else:
        return None
    if before.kind == part.kind == "Scale":
        return replace(before, arrays=_composed(before.arrays, given))
    (name, *more) = given
    own = _PLACES.get(before.kind, {}).get(name)
    if more or own is None or own in before.arrays or not free or (name == "scale" and before.arrays):
        return None
    dtype = next((array.dtype for array in before.arrays.values()), given[name].dtype)
    return replace(before, arrays={**before.arrays, own: given[name].astype(dtype)})


def _composed(before: Any, after: Any) -> dict[str, Any]:
    """scale x + shift, of two in a row."""
    some = next(iter(after.values()))
    scale, shift = after.get("scale", np.ones_like(some)), after.get("shift", np.zeros_like(some))
    return {
        "scale": before.get("scale", np.ones_like(some)) * scale,
        "shift": before.get("shift", np.zeros_like(some)) * scale + shift,
    }
