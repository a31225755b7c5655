"""The network that stages are: a list of layers where they stand in a row, or else nodes by name."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from elman.checks import FormatError
from elman.graph import Node
from elman.interop.chain import free_name, network_of
from elman.interop.onnx.reading.files import ModelFile
from elman.interop.onnx.reading.stages import (
    CELL_STATE,
    LINEAR,
    PADDING,
    PICK,
    POOLS,
    WEIGHTED,
    WEIGHTS,
    Part,
    RecurrentPart,
    Stage,
)
from elman.layers import Activate, Layer
from elman.network import Network

#: Layers that read a sequence to its end, and so must all know where it is.
_TO_THE_END = (PADDING, *POOLS, "Attention", "AveragePool1d", "Conv1d", "MaxPool1d", "Reverse", "gru", "lstm", "rnn")


class Assembly:
    """All that the ends of a graph need, each stage after those it reads, and the network of it.

    `ends` are the outputs by name, `last` the places of layers whose last states are outputs.
    """

    def __init__(self, file: ModelFile, ends: Sequence[tuple[str, Stage]], last: Collection[str] = ()) -> None:
        self.last = last
        self.file = file
        self.ends = [(name, self._unpadded(stage, None)) for name, stage in ends]
        self._made: dict[Stage, tuple[Part, tuple[Stage, ...]]] = {}
        self.stages: list[Stage] = []
        self.roots: list[Stage] = []
        self._walk()

    def _walk(self) -> None:
        seen: set[Stage] = set()
        waiting = [stage for _, stage in reversed(self.ends)]
        while waiting:
            stage = waiting[-1]
            if stage in self._made or stage.parent is None:
                waiting.pop()
                if stage not in seen:
                    seen.add(stage)
                    (self.roots if stage.parent is None else self.stages).append(stage)
                continue
            part, reads = self._resolved(stage)
            start = _start(part)
            missing = [read for read in (*reads, *([] if start is None else [start])) if read not in seen]
            if missing:
                waiting += reversed(missing)
            else:
                self._made[stage] = part, reads

    def _resolved(self, stage: Stage) -> tuple[Part, tuple[Stage, ...]]:
        """What a stage is, and what it reads; some of the features of a product are one with fewer columns."""
        part, reads = stage.part, stage.parents
        assert part is not None
        before = reads[0].part
        if part.kind == PICK and before is not None and before.kind in LINEAR:
            columns, reads = part.config["columns"], reads[0].parents
            arrays = {name: array[..., columns] for name, array in before.arrays.items()}
            part = replace(before, config={**before.config, "output_size": len(columns)}, arrays=arrays)
        return part, tuple(self._unpadded(read, part) for read in reads)

    def _unpadded(self, stage: Stage, reader: Part | None) -> Stage:
        """The stage before numbers in the padding, which no layer sees; they must be 0, or never the largest."""
        while stage.part is not None and stage.part.kind == PADDING and stage.parent is not None:
            fill = stage.part.config["fill"]
            if fill and (reader is None or reader.kind not in ("MaxOverTime", "MaxPool1d")):
                raise self.file.refused(f"the number in the padding of {stage.place}", "0", f"{fill}")
            stage = stage.parent
        return stage

    @property
    def recurrent(self) -> list[tuple[str, RecurrentPart | None]]:
        """The layers with states in order: the place of its operator and what it is, where it is a recurrent one."""
        found = [(stage.place, self._made[stage][0]) for stage in self.stages]
        return [
            (place, part if isinstance(part, RecurrentPart) else None)
            for (place, part), layer in zip(found, self.layers, strict=True)
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
        starts = any(_start(part) for part, _ in self._made.values())
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
            start = _start(part)
            state = None if start is None else names[start]
            nodes[names[stage]] = Node(layer, *(names[read] for read in reads), state=state)
        nodes |= {name: (Activate("identity"), names[stage]) for name, stage in copies}
        return network_of(nodes, self.file.name, None if outputs == [*nodes][-1:] else tuple(outputs))

    def _layers(self) -> list[Layer]:
        parts = [(stage.place, self._made[stage][0]) for stage in self.stages]
        kinds = {str(array.dtype) for _, part in parts for array in part.arrays.values()}
        if len(kinds) > 1:
            raise self.file.refused("the weights", "all float32, or all float64", " and ".join(sorted(kinds)))
        dtype = np.dtype(kinds.pop() if kinds else np.float32)
        in_chunks = any(isinstance(part, RecurrentPart) and part.given for _, part in parts)
        layers = []
        for place, part in parts:
            if part.kind == CELL_STATE:
                must = "an output of the graph, read by no layer"
                raise self.file.refused(f"the cell state of {place}", must, "a layer that reads it")
            if part.kind in (WEIGHTS, WEIGHTED):
                must = "the weights of a mean over all steps of a signal, and nothing else"
                raise self.file.refused(f"the softmax over time of {place}", must, "one that is used elsewhere")
            if in_chunks and part.config.get("padding") == "causal":  # the model begins each chunk of its states with 0
                span = (part.config["width"] - 1) * part.config.get("dilation", 1)
                part = replace(part, config={**part.config, "padding": (span, 0)})
            self.file.allowance.take(part.size * dtype.itemsize, f"the weights of {place}")
            try:
                with np.errstate(all="ignore"):  # weights may be anything, infinite too
                    layers.append(part.build(dtype))
            except ValueError as error:
                raise FormatError(f"{self.file.name}: {place} cannot be a layer. {error}") from error
        return layers

    def _check_lengths(self) -> None:
        """Refuses a network of which some layers end with each sequence and others with the padding."""
        parts = [(stage.place, self._made[stage][0]) for stage in self.stages]
        starts = [_start(part) for _, part in parts]
        last = {*self.last, *(stage.place for stage in starts if stage is not None)}
        readers = {
            part.lengths: place
            for place, part in parts
            if part.kind in _TO_THE_END and part.single is None and not _is_causal(part, place in last)
        }
        if len(readers) > 1:
            words = [f"{place}: {repr(name) if name else 'all steps'}" for name, place in readers.items()]
            must = "the same for all layers that read to their end"
            raise self.file.refused("the lengths of sequences", must, "; ".join(words))


def _is_causal(part: Part, gives_last: bool) -> bool:
    """Whether the padding changes nothing that it gives of real steps."""
    if isinstance(part, RecurrentPart):
        return part.directions == 1 and not part.lengths and not gives_last
    return part.config.get("padding") == "causal"


def _start(part: Part) -> Stage | None:
    return part.start if isinstance(part, RecurrentPart) else None
