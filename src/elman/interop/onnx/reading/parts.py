"""What the layers of a network are to be, before they are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from elman.cells.activations import Activation
from elman.checks import Array
from elman.interop.arrays import from_arrays
from elman.interop.chain import dense
from elman.layers import LAYERS, Activate, Bidirectional, Concatenate, Layer, Scale

if TYPE_CHECKING:
    from elman.interop.onnx.reading.positions import Stage

#: Kinds that no layer has by itself: some of the features (a part of a layer before, or a product with 0 and 1); each
#: number times one, plus one; the last cell state of an LSTM, of both directions side by side; a sum over time; and the
#: steps of attention.
PICK, AFFINE, CELL_STATE, SUM = "pick", "affine", "cell state", "sum"
SCORES, PAIRS, WEIGHTS, WEIGHTED = "scores", "pairs", "weights of steps", "weighted steps"

#: Kinds that are no layers, and what alone may read them.
UNFINISHED = {
    SUM: ("the sum over time", "divided by how many steps it is of"),
    SCORES: ("the scores", "those of a softmax over the steps of a memory"),
    PAIRS: ("the sum of all pairs of steps", "that of additive attention"),
    WEIGHTS: ("the softmax over time", "the weights of a mean over all steps of a signal, and nothing else"),
    WEIGHTED: ("the product of steps and their weights", "summed over time"),
}

#: Layers that make one vector of a sequence.
POOLS = ("LastStep", "LastSteps", "MeanOverTime", "MaxOverTime", SUM, "Attention")

#: Layers of which some of the features are a layer with fewer columns.
LINEAR = ("Conv1d", "Dense")

_WITH_DTYPE = ("Attention", "BatchNorm", "Conv1d", "Dense", "Embedding", "LayerNorm")


@dataclass(frozen=True, eq=False)
class Given:
    """A state before the first step that is an input of the graph.

    `places` (directions, hidden) tells where in the input each number stands, once its axis of the batch is first and
    the others are one; `batch` is that axis, None where there is none.
    """

    name: str
    shape: tuple[int, ...]
    places: Array
    batch: int | None


@dataclass(frozen=True, eq=False)
class Part:
    """What a layer is to be: its class in `LAYERS`, or a kind of its own, its config, and its arrays."""

    kind: str
    config: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)  #: of whole numbers where the reader made them
    lengths: str = ""  #: the input that says how long each sequence is, where the operator reads one
    given: Mapping[str, Given] = field(default_factory=dict)  #: states before the first step that are inputs, by name
    start: Stage | None = None  #: the recurrent layer from whose last state it starts
    begins: tuple[Stage, ...] = ()  #: the values from which it starts, of each direction one for each state

    def build(self, dtype: np.dtype[Any]) -> Layer:
        """The layer. What an operator leaves out of its arrays is 0, or 1 for a gain."""
        config = {**self.config, "dtype": str(dtype)} if self.kind in _WITH_DTYPE else self.config
        arrays = {name: array.astype(dtype, copy=False) for name, array in self.arrays.items()}
        if self.kind == CELL_STATE:
            return Concatenate()
        if self.kind == PICK:
            return dense((np.arange(config["width"])[:, None] == config["columns"]).astype(dtype))
        if self.kind == AFFINE:
            return Activate(Activation("affine", alpha=config["scale"], beta=config["shift"]))
        if self.kind == "Scale":
            scale, shift = (array.astype(np.float64) for array in self.scaling())
            if scale.all():
                return Scale(len(scale), -shift / scale, scale)
            return dense(np.diag(scale).astype(dtype), shift.astype(dtype))  # some features times 0
        if self.kind in LINEAR:
            arrays.setdefault("b", np.zeros(config["output_size"], dtype))
        if self.kind in ("BatchNorm", "LayerNorm"):
            arrays = {"gain": np.ones(config["size"], dtype), "bias": np.zeros(config["size"], dtype), **arrays}
        return LAYERS[self.kind].from_parameters(config, arrays)

    def scaling(self) -> tuple[Array, Array]:
        """The scale and the shift of a `Scale`."""
        some = next(iter(self.arrays.values()))
        return self.arrays.get("scale", np.ones_like(some)), self.arrays.get("shift", np.zeros_like(some))

    @property
    def size(self) -> int:
        """How many numbers its layer will hold, about."""
        if self.kind == "Scale" and not self.scaling()[0].all():
            return len(self.arrays["scale"]) ** 2
        if self.kind == PICK:
            return int(self.config["width"]) * len(self.config["columns"])
        return sum(array.size for array in self.arrays.values())

    def columns(self, columns: Array) -> Part:
        """Of a layer in `LINEAR`, some of its features."""
        arrays = {name: array[..., columns] for name, array in self.arrays.items()}
        return replace(self, config={**self.config, "output_size": len(columns)}, arrays=arrays)

    def same(self, other: Part) -> bool:
        """Whether both are the same layer, to the last bit."""
        return all(_same(getattr(self, name), getattr(other, name)) for name in ("kind", "lengths", "config", "arrays"))


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Mapping):
        return isinstance(b, Mapping) and a.keys() == b.keys() and all(_same(each, b[name]) for name, each in a.items())
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f") if isinstance(a, np.ndarray) else bool(a == b)


@dataclass(frozen=True, eq=False)
class RecurrentPart(Part):
    """A recurrent layer: `kind` is its cell, `config` the options of the cell, the arrays are those of ONNX.

    Among the arrays "h0" and "c0" (directions, hidden) are the states before the first step, where they are constant.
    `second` are the options of the second direction, where it has others.
    """

    second: Mapping[str, Any] | None = None

    @property
    def directions(self) -> int:
        """1 or 2."""
        return len(self.arrays["W"])

    @property
    def hidden(self) -> int:
        """The number of hidden units."""
        return int(self.arrays["R"].shape[-1])

    def build(self, dtype: np.dtype[Any]) -> Layer:
        if self.second is not None:
            return Bidirectional(*(self.direction(i).build(dtype) for i in range(2)))  # type: ignore[arg-type]
        first = {name: array for name, array in self.arrays.items() if name.endswith("0")}
        arrays = {name: array for name, array in self.arrays.items() if name not in first}
        layer = from_arrays(self.kind, arrays, "onnx", **self.config)
        if not first:
            return layer
        starts = {name + end: array[d] for name, array in first.items() for d, end in enumerate(layer.directions)}
        return type(layer).from_parameters({**layer.config, "learned_state": True}, {**layer.parameters, **starts})

    def direction(self, index: int) -> RecurrentPart:
        """One of its directions alone."""
        one = slice(index, index + 1)
        arrays = {name: array[one] for name, array in self.arrays.items()}
        given = {name: replace(each, places=each.places[one]) for name, each in self.given.items()}
        config = self.second if index and self.second is not None else self.config
        count = len(self.begins) // self.directions
        begins = self.begins[index * count : (index + 1) * count]
        return replace(self, config=config, arrays=arrays, given=given, begins=begins, second=None)

    def with_reverse(self, other: RecurrentPart) -> RecurrentPart | None:
        """The bidirectional layer of two of one kind and size; None where they differ."""
        mine, its = (
            [part.kind, part.lengths, part.start, {name: array.shape for name, array in part.arrays.items()}]
            for part in (self, other)
        )
        if self.directions != 1 or mine != its or self.given or other.given or self.begins or other.begins:
            return None
        arrays = {name: np.concatenate([array, other.arrays[name]]) for name, array in self.arrays.items()}
        return replace(self, arrays=arrays, second=None if self.config == other.config else other.config)
