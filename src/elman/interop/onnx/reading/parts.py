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
from elman.layers import LAYERS, Activate, Bidirectional, Layer, Recurrent, Scale

if TYPE_CHECKING:
    from elman.interop.onnx.reading.positions import Stage

#: Kinds that no layer has by itself: some of the features (a part of a layer before, or a product with 0 and 1); each
#: number times one, plus one; the cell state of an LSTM; a sum over time; and the steps of attention.
PICK, AFFINE, CELL_STATE, SUM = "pick", "affine", "cell state", "sum"
SCORES, PAIRS, WEIGHTS, WEIGHTED = "scores", "pairs", "weights of steps", "weighted steps"

#: Kinds that are no layers, and what alone may read them.
UNFINISHED = {
    SUM: ("the sum over time", "divided by how many steps it is of"),
    SCORES: ("the scores", "those of a softmax over the steps of a memory"),
    PAIRS: ("the sum of all pairs of steps", "that of additive attention"),
    WEIGHTS: ("the softmax over time", "the weights of a mean over all steps of a signal, and nothing else"),
    WEIGHTED: ("the product of steps and their weights", "summed over time"),
    CELL_STATE: ("the cell state", "an output of the graph, read by no layer"),
}

#: Layers that make one vector of a sequence.
POOLS = ("LastStep", "LastSteps", "MeanOverTime", "MaxOverTime", SUM, "Attention")

#: Layers of which some of the features are a layer with fewer columns.
LINEAR = ("Conv1d", "Dense")

_WITH_DTYPE = ("Attention", "BatchNorm", "Conv1d", "Dense", "Embedding", "LayerNorm")


@dataclass(frozen=True, eq=False)
class Part:
    """What a layer is to be: its class in `LAYERS`, or a kind of its own, its config, and its arrays."""

    kind: str
    config: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)  #: of whole numbers where the reader made them
    lengths: str = ""  #: the input that says how long each sequence is, where the operator reads one

    def build(self, dtype: np.dtype[Any]) -> Layer:
        """The layer. What an operator leaves out of its arrays is 0, or 1 for a gain."""
        if self.kind == PICK:
            W = np.zeros((self.config["width"], len(self.config["columns"])), dtype)
            W[self.config["columns"], np.arange(W.shape[1])] = 1
            return dense(W)
        if self.kind == AFFINE:
            return Activate(Activation("affine", alpha=self.config["scale"], beta=self.config["shift"]))
        if self.kind == "Scale":
            some = next(iter(self.arrays.values()))
            scale = self.arrays.get("scale", np.ones_like(some)).astype(np.float64)
            shift = self.arrays.get("shift", np.zeros_like(some)).astype(np.float64)
            if scale.all():
                return Scale(len(scale), -shift / scale, scale)
            return dense(np.diag(scale).astype(dtype), shift.astype(dtype))  # some features times 0
        config = {**self.config, "dtype": str(dtype)} if self.kind in _WITH_DTYPE else self.config
        arrays = {name: array.astype(dtype, copy=False) for name, array in self.arrays.items()}
        if self.kind in LINEAR:
            arrays.setdefault("b", np.zeros(self.config["output_size"], dtype))
        if self.kind in ("BatchNorm", "LayerNorm"):
            size = self.config["size"]
            arrays = {"gain": np.ones(size, dtype), "bias": np.zeros(size, dtype), **arrays}
        return LAYERS[self.kind].from_parameters(config, arrays)

    @property
    def size(self) -> int:
        """How many numbers its layer will hold, about."""
        if self.kind == "Scale" and not self.arrays.get("scale", np.ones(1)).all():
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
        mine, its = dict(self.arrays), dict(other.arrays)
        if (self.kind, mine.keys(), self.lengths) != (other.kind, its.keys(), other.lengths):
            return False
        more = [(getattr(part, "learned", {})) for part in (self, other)]
        return all(_equal(a, b) for a, b in [(self.config, other.config), (mine, its), more])


def _equal(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    if a.keys() != b.keys():
        return False
    for key, one in a.items():
        other = b[key]
        if isinstance(one, np.ndarray) and one.dtype.kind == "f":
            if not np.array_equal(one, other, equal_nan=True):
                return False
        elif not np.array_equal(one, other) if isinstance(one, np.ndarray) else one != other:
            return False
    return True


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
class RecurrentPart(Part):
    """A recurrent layer: `kind` is its cell, `config` the options of the cell, the arrays are those of ONNX.

    `learned` are the states before the first step where they are constant, name -> (directions, hidden), and `given`
    where they are inputs. `second` are the options of the second direction, where it has others.
    """

    learned: Mapping[str, Array] = field(default_factory=dict)
    given: Mapping[str, Given] = field(default_factory=dict)
    second: Mapping[str, Any] | None = None
    start: Stage | None = None  #: the recurrent layer from whose last state it starts

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
            first, second = (self.direction(i).build(dtype) for i in range(2))
            assert isinstance(first, Recurrent)
            assert isinstance(second, Recurrent)
            return Bidirectional(first, second)
        layer = from_arrays(self.kind, self.arrays, "onnx", **self.config)
        if not self.learned:
            return layer
        starts = {
            f"{state}0{suffix}": array[d]
            for state, array in self.learned.items()
            for d, suffix in enumerate(layer.directions)
        }
        return type(layer).from_parameters({**layer.config, "learned_state": True}, {**layer.parameters, **starts})

    def direction(self, index: int) -> RecurrentPart:
        """One of its directions alone."""
        arrays, learned = (
            {name: array[index : index + 1] for name, array in group.items()} for group in (self.arrays, self.learned)
        )
        given = {name: replace(each, places=each.places[index : index + 1]) for name, each in self.given.items()}
        config = self.second if index and self.second is not None else self.config
        return replace(self, config=config, arrays=arrays, learned=learned, given=given, second=None)

    def with_reverse(self, other: RecurrentPart) -> RecurrentPart | None:
        """The bidirectional layer of two of one kind and size; None where they differ."""
        if self.directions != 1 or _options(self) != _options(other):
            return None
        arrays, learned = (
            {name: np.concatenate([array, its[name]]) for name, array in mine.items()}
            for mine, its in ((self.arrays, other.arrays), (self.learned, other.learned))
        )
        second = None if self.config == other.config else other.config
        return replace(self, arrays=arrays, learned=learned, second=second)


def _options(part: RecurrentPart) -> list[Any]:
    shapes = [{name: array.shape for name, array in group.items()} for group in (part.arrays, part.learned)]
    return [part.kind, part.lengths, dict(part.given), part.start, *shapes]
