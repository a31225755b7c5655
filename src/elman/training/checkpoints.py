"""Runs that survive: the course of a run in a file, from which the same run goes on as if it had never stopped.

One safetensors file holds the weights, the state of the optimizer, the best weights, the state carried between
windows and the losses so far; its header says where the run stood and what it was asked. Nothing in it is executed.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array, FormatError
from elman.files import check_path, path_text, replace
from elman.training.course import Course
from elman.training.examples import Examples
from elman.training.history import COLUMNS

VERSION = 1
Identity = dict[str, str]  # what a run was asked, argument -> a text that differs where the argument does


@dataclass(frozen=True)
class Checkpoint:
    """Where `fit` keeps a run, and how often it writes: at most once in `every` seconds, and at its end.

    `path` is a file; where it exists, `fit` goes on from it. With `every=0` it is written after each update. The
    file is replaced whole or not at all, so a crash at any moment leaves the last one, and the run that goes on from
    it ends with the same weights, to the last bit, as one that was never stopped.

    >>> Checkpoint("run.safetensors")
    Checkpoint(path='run.safetensors', every=60.0)
    """

    path: str | os.PathLike[str]
    every: float = 60.0

    def __post_init__(self) -> None:
        path_text("path", self.path)
        checks.number("every", self.every, 0)


def as_checkpoint(value: Any) -> Checkpoint | None:
    """A `Checkpoint` from a path, or from itself; refuses a path that cannot be written."""
    if value is None or isinstance(value, Checkpoint):
        checkpoint = value
    elif isinstance(value, (str, os.PathLike)):
        checkpoint = Checkpoint(value)
    else:
        raise TypeError(f"checkpoint must be a path or a Checkpoint. Got {checks.describe(value)}.")
    if checkpoint is not None:
        check_path("checkpoint", checkpoint.path)
    return checkpoint


def digest(examples: Examples | None) -> str:
    """A text that differs where the data does."""
    if examples is None:
        return "none"
    found = hashlib.blake2b(digest_size=16)
    for part in (examples.x, examples.y, examples.weight):
        for array in () if part is None else (part.values, part.layout.lengths):
            if array is not None:
                found.update(f"{array.dtype}{array.shape}".encode())
                found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


class Keeper:
    """Writes the checkpoints of one run when they are due."""

    def __init__(self, checkpoint: Checkpoint | None, identity: Identity, seed: int) -> None:
        self.checkpoint, self.identity, self.seed = checkpoint, identity, seed
        self._last = time.monotonic()

    def write_when_due(self, course: Course) -> None:
        """Writes where the last one is old enough."""
        if self.checkpoint is not None and time.monotonic() - self._last >= self.checkpoint.every:
            self.write(course)

    def write(self, course: Course) -> None:
        """Writes now."""
        if self.checkpoint is None:
            return
        from safetensors.numpy import save as to_bytes

        tensors, tree = _tensors(course)
        header = {
            "version": VERSION,
            "identity": self.identity,
            "seed": self.seed,
            "numbers": {name: getattr(course, name) for name in _NUMBERS},
            "noise": course.noise.bit_generator.state,
            "carried": tree,
        }
        arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
        replace(self.checkpoint.path, to_bytes(arrays, metadata={"elman_checkpoint": json.dumps(header)}))
        self._last = time.monotonic()


#: The fields of a course that are plain numbers.
_NUMBERS = {"epoch": int, "update": int, "loss": float, "weight": float, "rate": float, "norm": float,
            "seconds": float, "best_epoch": int, "best_loss": float}  # fmt: skip


def _tensors(course: Course) -> tuple[dict[str, Array], Any]:
    """The arrays of a course by name, and how those of the carried state nest."""
    tensors = {f"weights/{name}": array for name, array in course.parameters.items()}
    tensors |= {f"optimizer/{name}": array for name, array in course.optimizer.items()}
    tensors |= {f"best/{name}": array for name, array in course.best.items()}
    tensors["history"] = np.array(course.records, np.float64).reshape(-1, len(COLUMNS))
    carried: list[Array] = []
    tree = _flatten(course.carried, carried)
    return tensors | {f"carried/{i}": array for i, array in enumerate(carried)}, tree


def _flatten(state: Any, found: list[Array]) -> Any:
    """The nesting of a state as JSON: ["list" or "tuple", ...], the number of an array, or null."""
    if state is None:
        return None
    if isinstance(state, (tuple, list)):
        return [type(state).__name__, *(_flatten(part, found) for part in state)]
    found.append(state)
    return len(found) - 1


def _nest(tree: Any, tensors: Mapping[str, Array]) -> Any:
    if tree is None:
        return None
    if isinstance(tree, list):
        return {"list": list, "tuple": tuple}[tree[0]]([_nest(part, tensors) for part in tree[1:]])
    return tensors[f"carried/{tree}"]


def read_checkpoint(checkpoint: Checkpoint, identity: Identity, seed: int | None) -> tuple[dict[str, Any], int] | None:
    """What `resume` needs of the file, and the seed of its run; None where there is no file yet.

    Raises `FormatError` for a file that is no whole checkpoint, and `ValueError` for one of another run, which names
    the arguments that differ.
    """
    from safetensors import SafetensorError, safe_open

    name = os.fspath(checkpoint.path)
    if not os.path.exists(name):
        return None
    try:
        with safe_open(name, framework="numpy") as file:
            header = json.loads((file.metadata() or {})["elman_checkpoint"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if header["version"] != VERSION:
            raise FormatError(f"its version must be {VERSION}. Got {header['version']!r}: it is of another elman.")
        theirs, their_seed = dict(header["identity"]), int(header["seed"])
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        why = f"it has no field {error}" if isinstance(error, KeyError) else str(error)
        raise FormatError(f"checkpoint must be a whole checkpoint of elman. Got {checks.show(name)}: {why}.") from None
    if seed is not None:
        identity, theirs = {**identity, "seed": str(seed)}, {**theirs, "seed": str(their_seed)}
    differing = [key for key in identity if identity[key] != theirs.get(key)]
    if differing:
        raise ValueError(
            f"checkpoint must be of this run, or of none yet. Got {checks.show(name)}, of a run that differs in "
            f"{', '.join(differing)}."
        )
    return {**header, "tensors": tensors, "name": name}, their_seed


def resume(course: Course, saved: Mapping[str, Any]) -> None:
    """Puts a course where the saved one stood. Every shape is checked before anything is changed."""
    tensors = saved["tensors"]
    try:
        groups = [("weights/", course.parameters), ("optimizer/", course.optimizer)]
        for prefix, arrays in groups:
            for name, array in arrays.items():
                checks.shape(prefix + name, tensors[prefix + name], array.shape)
        best = {name: tensors[f"best/{name}"] for name in course.parameters if f"best/{name}" in tensors}
        for name, array in best.items():
            checks.shape(f"best/{name}", array, course.parameters[name].shape)
        checks.shape("history", tensors["history"], ("epochs", len(COLUMNS)))
        numbers = {name: kind(saved["numbers"][name]) for name, kind in _NUMBERS.items()}
        noise = np.random.default_rng(0)
        noise.bit_generator.state = saved["noise"]
        carried = _nest(saved["carried"], tensors)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        why = f"it has no field {error}" if isinstance(error, KeyError) else str(error)
        raise FormatError(f"checkpoint must be a whole checkpoint of elman. Got {saved['name']!r}: {why}") from None
    for prefix, arrays in groups:
        for name, array in arrays.items():
            array[...] = tensors[prefix + name]
    course.records = [tuple(row) for row in tensors["history"].tolist()]
    course.best, course.noise, course.carried = best, noise, carried
    for name, number in numbers.items():
        setattr(course, name, number)
