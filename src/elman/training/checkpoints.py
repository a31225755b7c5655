"""Runs that survive: a run of `fit` in a file, from which the same run goes on as if it had never stopped.

One safetensors file holds the weights, the state of the optimizer, the best weights, the recurrent state carried
between windows and the losses so far; its header says where the run stood and what it was asked. Nothing in it is
executed. This file writes them; `resuming.py` reads them.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array
from elman.files import check_path, fixed, replace
from elman.layers.layer import Layer
from elman.layers.nesting import placed_layers
from elman.network import Network
from elman.saving import described
from elman.training.examples import Examples
from elman.training.history import COLUMNS, warn_unwritten
from elman.training.identity import digest_of, identify
from elman.training.state import TrainingState
from elman.training.user_code import name_of

#: Of the files; 1 had no checksum, no first weights, and told functions by their names alone, 2 no `stopped`.
CHECKPOINT_VERSION = 3
Identity = dict[str, str]  # what a run was asked, argument -> a text that differs where the argument does

#: The arguments that may differ where a run goes on: none of them changes the shape or the order of what is trained.
CHANGEABLE = ("optimizer", "loss", "epochs", "clip_norm", "clip_value", "weight_noise", "patience")


@dataclass(frozen=True)
class Checkpoint:
    """Where `fit` keeps a run, and how often it writes: at most once in `every` seconds, and at its end.

    `path` is a file; where it exists, `fit` goes on from it. With `every=0` it is written after each update. The
    file is replaced whole or not at all, so a crash at any moment leaves the last one, and the run that goes on from
    it ends with the same weights, to the last bit, as one that was never stopped.

    A file belongs to one set of arguments, losses, schedules and cells of your own included, with what their code reads
    and as they stand when `fit` is called: one that counts its calls is another one afterwards. `key` is a name of your
    own for what cannot be told apart by its content, as a function of another language; a new one for each new
    meaning. `change` names arguments that may differ from those of the file: "optimizer" (another learning rate or
    schedule, with the moments kept), "loss", "epochs", "clip_norm", "clip_value", "weight_noise" or "patience".
    Afterwards the file belongs to the new ones.

    >>> Checkpoint("run.safetensors", every=10).path
    'run.safetensors'
    """

    path: str | os.PathLike[str]
    every: float = 60.0
    key: str | None = None
    change: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.path, (str, os.PathLike)):
            raise TypeError(f"path must be that of a file. Got {checks.show(self.path)}.")
        checks.number("every", self.every, 0)
        if self.key is not None and (not isinstance(self.key, str) or not self.key):
            raise ValueError(f"key must be a text of at least one character, or None. Got {checks.show(self.key)}.")
        if not isinstance(self.change, (tuple, list)):
            raise TypeError(f"change must be a tuple of names, such as ('optimizer',). Got {checks.show(self.change)}.")
        for name in self.change:
            checks.choice("change", name, CHANGEABLE)
        object.__setattr__(self, "change", tuple(self.change))


def as_checkpoint(value: Any) -> Checkpoint | None:
    """A `Checkpoint` from a path, or from itself; refuses a path that cannot be written."""
    if value is None:
        return None
    checkpoint = Checkpoint(value) if isinstance(value, (str, os.PathLike)) else value
    if not isinstance(checkpoint, Checkpoint):
        raise TypeError(f"checkpoint must be a path or a Checkpoint. Got {checks.describe(value)}.")
    check_path("checkpoint", checkpoint.path)
    return checkpoint


# What a run was asked.


def identity_of(
    net: Layer, data: Examples, validation: Examples | None, settings: dict[str, Any], key: str | None
) -> Identity:
    """What must be the same for a run to go on, argument by argument; the first weights are compared by themselves.

    Raises `ValueError` for what cannot be told apart; see `elman.training.identity`.
    """
    streams = settings["truncate"] is not None and data.x.layout.form == "single"
    layers = [("", net), *placed_layers(net)] if isinstance(net, Network) else [("", net)]
    known = {id(array): f"weights {name}" for name, array in net.weights.items()}
    known |= {id(layer): f"layer {place}" for place, layer in layers}
    return {
        "net": ", ".join(f"{place}: {_layer_text(layer, key, known)}" for place, layer in layers),
        **{name: identify(name, value, key, known) for name, value in settings.items()},
        "data": digest_examples(data) + (" as parallel streams" if streams else ""),
        "validation": digest_examples(validation),
        "key": repr(key),
    }


def _layer_text(layer: Layer, key: str | None, known: dict[int, str]) -> str:
    """The class and the options of a layer; those of a class of a user's own, with its attributes."""
    kind = identify("net", type(layer), key, known)
    if isinstance(layer, Network):  # its layers are told one by one
        return kind
    own = {} if type(layer).__module__.startswith("elman.") else vars(layer)
    attributes = {name: value for name, value in own.items() if name not in ("config", "_parameters")}
    return f"{kind}({identify('net', dict(layer.config), key, known)}, {identify('net', attributes, key, known)})"


def digest_examples(examples: Examples | None) -> str:
    """A text that differs where the data does."""
    if examples is None:
        return "none"
    parts: list[bytes | memoryview] = []
    for part in examples.parts:
        for array in (part.values, part.layout.lengths):
            if array is not None:
                parts += [f"{array.dtype}{array.shape}".encode(), np.ascontiguousarray(array).data]
    return digest_of(*parts)


def ancestry(kind: type) -> list[str]:
    """The qualified names of a class and its bases."""
    return [name_of(base) for base in kind.__mro__[:-1]]


# The file.


class CheckpointWriter:
    """Writes the checkpoints of one run when they are due."""

    def __init__(self, checkpoint: Checkpoint | None, facts: Mapping[str, Any]) -> None:
        """`facts` tell the run: identity, seed, checksum of the first weights, ancestry of the optimizer."""
        self.checkpoint, self._facts = checkpoint, facts
        self._path = "" if checkpoint is None else fixed(checkpoint.path)
        self._last = time.monotonic()
        self._warned = False

    def write_when_due(self, state: TrainingState) -> None:
        """Writes where the last one is old enough. Where it cannot, the run goes on, with one warning."""
        if self.checkpoint is None or time.monotonic() - self._last < self.checkpoint.every:
            return
        try:
            self.write(state)
        except (OSError, MemoryError) as error:
            self._last = time.monotonic()
            if not self._warned:
                self._warned = True
                warn_unwritten("checkpoint", error)

    def write(self, state: TrainingState) -> None:
        """Writes now."""
        if self.checkpoint is None:
            return
        carried: list[Array] = []
        tree = flatten(state.carried, carried)
        tensors = named(weights=state.weights, optimizer=state.optimizer, best=state.best)
        tensors |= named(carried=dict(enumerate(carried)))
        tensors["history"] = np.array(state.records, np.float64).reshape(-1, len(COLUMNS))
        header = {
            "version": CHECKPOINT_VERSION,
            "python": sys.implementation.cache_tag,
            **self._facts,
            "numbers": {name: getattr(state, name) for name in NUMBERS},
            "noise": state.drawn,
            "carried": tree,
        }
        replace(self._path, described("elman_checkpoint", header, tensors))
        self._last = time.monotonic()


#: The fields of a state that are plain numbers.
NUMBERS = {"epoch": int, "update": int, "loss": float, "weight": float, "rate": float, "norm": float,
           "seconds": float, "best_epoch": int, "best_loss": float, "stopped": int}  # fmt: skip


def named(**groups: Mapping[Any, Array]) -> dict[str, Array]:
    """The arrays of a file: those of all groups, by names such as weights/0.Wx."""
    return {f"{group}/{name}": array for group, arrays in groups.items() for name, array in arrays.items()}


def flatten(state: Any, found: list[Array]) -> Any:
    """The nesting of a state as JSON: ["list" or "tuple", ...], the number of an array, or null.

    Files have a tuple of one array as that array.
    """
    if state is None:
        return None
    if isinstance(state, tuple) and len(state) == 1:
        return flatten(state[0], found)
    if isinstance(state, (tuple, list)):
        return [type(state).__name__, *(flatten(part, found) for part in state)]
    found.append(state)
    return len(found) - 1
