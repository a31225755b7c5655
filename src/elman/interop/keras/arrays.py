"""Where Keras keeps the weights of each layer, as data: which arrays there are, in which order and place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from elman.checks import Array, FormatError
from elman.interop.keras.config import Entry, Object, flag, held_cells, inner, snake_names

#: The weights of a layer: the arrays by name of each of its parts, in the order in which Keras keeps them.
Groups: TypeAlias = list[dict[str, Array]]
Parts: TypeAlias = list[tuple[str, tuple[str, ...]]]  # the path inside the layer, and the names of its arrays

NOT_TRAINED = ("moving_mean", "moving_variance", "mean", "variance", "count")
UNREAD = ("count",)  #: of how many examples statistics are: a whole number that nothing is computed from
CELLS = {"GRU": "gru", "LSTM": "lstm", "SimpleRNN": "rnn"}  #: the cells by the names of Keras's layers


def cells_of(layer: Object) -> list[tuple[str, Mapping[str, Any], str]]:
    """The cells of a recurrent layer: class, config with that of the layer around it, path inside the layer.

    LSTM is the same as RNN(LSTMCell); RNN([LSTMCell, GRUCell]) has one cell on top of the other.
    """
    if layer.kind != "RNN":
        return [(layer.kind, layer.config, "cell")]
    cell = inner(layer, "cell")
    cells, paths = [cell], ["cell"]
    if cell.kind == "StackedRNNCells":
        cells = held_cells(cell)
        paths = [f"cell/cells/{name}" for name in snake_names(c.kind for c in cells)]
    for each in cells:
        if each.kind.removesuffix("Cell") not in CELLS or not each.kind.endswith("Cell"):
            raise FormatError(f"the cell of an RNN must be {', '.join(f'{k}Cell' for k in CELLS)}. Got {each.kind!r}.")
    if not cells:
        raise FormatError("StackedRNNCells must have at least one cell. Got none.")
    around = {key: value for key, value in layer.config.items() if key != "cell"}
    return [(c.kind.removesuffix("Cell"), {**around, **c.config}, path) for c, path in zip(cells, paths, strict=True)]


def own_arrays(layer: Object) -> Parts:
    """The parts of a layer that hold weights, and the names of their arrays."""
    find = _PARTS.get(layer.kind)
    return find(layer) if find else []


def _biased(*names: str) -> Callable[[Object], Parts]:
    def find(layer: Object) -> Parts:
        return [("", (*names, "bias") if flag(layer.config, "use_bias", True) else names)]

    return find


def _recurrent(layer: Object) -> Parts:
    names = ("kernel", "recurrent_kernel")
    return [
        (path, (*names, "bias") if flag(config, "use_bias", True) else names) for _, config, path in cells_of(layer)
    ]


def _bidirectional(layer: Object) -> Parts:
    forward = inner(layer, "layer")
    backward = inner(layer, "backward_layer") if layer.config.get("backward_layer") else forward
    sides = (("forward_layer", forward), ("backward_layer", backward))
    return [(f"{side}/{path}", names) for side, each in sides for path, names in own_arrays(each)]


def _time_distributed(layer: Object) -> Parts:
    return [("/".join(filter(None, ("layer", path))), names) for path, names in own_arrays(inner(layer, "layer"))]


def _normalization(layer: Object) -> Parts:
    names = {"gamma": flag(layer.config, "scale", True), "beta": flag(layer.config, "center", True)}
    buffers = ("moving_mean", "moving_variance") if layer.kind == "BatchNormalization" else ()
    return [("", (*(name for name, there in names.items() if there), *buffers))]


def _attention(layer: Object) -> Parts:
    there = {"scale": flag(layer.config, "use_scale", layer.kind == "AdditiveAttention")}
    there["concat_score_weight"] = layer.config.get("score_mode") == "concat"
    names = tuple(name for name, is_there in there.items() if is_there)
    return [("", names)] if names else []


def _statistics(layer: Object) -> Parts:
    return [("", ("mean", "variance", "count"))] if layer.config.get("mean") is None else []


_PARTS: dict[str, Callable[[Object], Parts]] = {
    "AdditiveAttention": _attention,
    "Attention": _attention,
    "BatchNormalization": _normalization,
    "Bidirectional": _bidirectional,
    "Conv1D": _biased("kernel"),
    "Dense": _biased("kernel"),
    "Embedding": lambda layer: [("", ("embeddings",))],
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "LayerNormalization": _normalization,
    "Normalization": _statistics,
    "RNN": _recurrent,
    "SimpleRNN": _recurrent,
    "TimeDistributed": _time_distributed,
}


def listed_arrays(
    entries: Iterable[Entry], lists: Mapping[str, list[Any]], read: Callable[[Any], Array]
) -> Callable[[Entry], Groups]:
    """How the weights of a layer are found where each layer of the model has one list of what `read` makes arrays of.

    The list of a nested model holds what trains of all its layers first, then what does not.
    """
    given = {name: iter(arrays) for name, arrays in lists.items()}
    found: dict[str, dict[str, dict[str, Array]]] = {}
    entries = list(entries)
    for trains in (True, False):
        for entry in entries:
            groups = found.setdefault(entry.name, {})
            for place, names in own_arrays(entry):
                mine = [name for name in names if (name not in NOT_TRAINED and not entry.frozen) == trains]
                groups.setdefault(place, {}).update(_take(given, entry, mine, read))
    for name, rest in given.items():
        count = sum(1 for _ in rest)
        if count:
            raise FormatError(f"the weights of the layer {name!r} must be as its config says. Got {count} more.")
    return lambda entry: list(found[entry.name].values())


def _take(
    given: Mapping[str, Iterator[Any]], entry: Entry, names: list[str], read: Callable[[Any], Array]
) -> dict[str, Array]:
    if not names:
        return {}
    held = dict(zip(names, given.get(entry.top, iter(())), strict=False))
    if len(held) != len(names):
        must = f"the weights of the layer {entry.name!r} must be {', '.join(names)}"
        raise FormatError(f"{must}. Got {', '.join(held) or 'none'}.")
    return {name: read(held[name]) for name in names if name not in UNREAD}
