"""Checkpoints read: a file from outside is compared with the run that asks for it, and checked to the last number.

Nothing of a run changes before all of it is known to be right.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array, FormatError
from elman.files import check_source, checksum
from elman.saving import field, read_described
from elman.training.checkpoints import (
    CHANGEABLE,
    CHECKPOINT_VERSION,
    NUMBERS,
    Checkpoint,
    Identity,
    ancestry,
    flatten,
    named,
)
from elman.training.history import COLUMNS, measured
from elman.training.optimizers import Optimizer
from elman.training.state import TrainingState, generators
from elman.training.windows import map_state

#: The fields of a header, of the types that they must have; those of `_NEW` are not in version 1.
_FIELDS = {"version": int, "identity": dict, "seed": int, "numbers": dict, "noise": dict, "carried": None,
           "python": str, "first_weights": str, "optimizer": list}  # fmt: skip
_NEW = ("python", "first_weights", "optimizer")


@dataclass(frozen=True)
class Saved:
    """What a checkpoint file says."""

    name: str
    header: Mapping[str, Any]
    tensors: Mapping[str, Array]


def read_checkpoint(checkpoint: Checkpoint) -> Saved | None:
    """What the file says; None where there is none yet. Raises `FormatError` for one that is no whole checkpoint."""
    name = os.fspath(checkpoint.path)
    if not os.path.exists(name):
        return None
    with open(check_source("checkpoint", name), "rb") as file:
        content = file.read()
    with _refusing(name):
        header, tensors = read_described(content, "elman_checkpoint", CHECKPOINT_VERSION)
        _check_header(header)
    return Saved(name, header, tensors)


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Errors of what a file holds as one `FormatError` that names it."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError) as error:
        why = f"it has no field {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
        raise FormatError(f"checkpoint must be a whole checkpoint of elman. Got {name!r}: {why}.") from None


def _check_header(header: Mapping[str, Any]) -> None:
    wanted = {name: kind for name, kind in _FIELDS.items() if header["version"] > 1 or name not in _NEW}
    if header.keys() != wanted.keys():
        raise ValueError(
            f"its header must have the fields {', '.join(sorted(wanted))}. Got {', '.join(sorted(header))}"
        )
    for name, kind in wanted.items():
        if kind is not None:
            field(header, name, kind, "its header")
    for text in (*header["identity"].values(), *header.get("optimizer", ())):
        if not isinstance(text, str):
            raise ValueError(f"its identity and its optimizer must be told by texts. Got {checks.show(text)}")
    _whole("its seed", header["seed"], 0)
    if header["version"] < 3:
        header["numbers"].setdefault("stopped", 0)
    if header["numbers"].keys() != NUMBERS.keys():
        raise ValueError(f"its numbers must be {', '.join(NUMBERS)}. Got {', '.join(header['numbers'])}")


# Which run it is of.


def compare(
    saved: Saved,
    checkpoint: Checkpoint,
    identity: Identity,
    settings: Mapping[str, Any],
    seed: int | None,
    weights: Mapping[str, Array],
) -> None:
    """Refuses, with a `ValueError` that names the arguments, a checkpoint of another run.

    `settings` are what `identity` tells of, as values.
    """
    theirs = saved.header["identity"]
    mine = identity
    if saved.header["version"] == 1:
        mine = {name: _text_1(value) for name, value in settings.items()}
        mine |= {"data": identity["data"].partition(" ")[0], "validation": identity["validation"]}
    # How many epochs there are matters where the learning rate looks at the part of them that is over.
    free = set() if callable(settings["optimizer"].learning_rate) else {"epochs"}
    if "optimizer" in checkpoint.change:
        free.add("epochs")
    differing = [name for name in mine if name not in free and mine[name] != theirs.get(name)]
    if saved.header["version"] > 1 and "net" not in differing and not _continues(saved, weights):
        differing.insert(0, "first weights")
    if seed is not None and seed != saved.header["seed"]:
        differing.append("seed")
    refused = [name for name in differing if name not in checkpoint.change]
    if refused:
        raise ValueError(
            f"checkpoint must be of this run, or of none yet. Got {saved.name!r}, of a run that differs in "
            f"{', '.join(refused)}.{_ways_out(saved, refused)}"
        )
    if "optimizer" in differing:
        _check_optimizer(saved, settings["optimizer"])
    if settings["patience"] is not None and "loss" in differing:
        raise ValueError("change must leave out 'loss' where patience is given: losses of two kinds have no best one.")
    if settings["patience"] is not None and "patience" in differing and theirs["patience"] == "None":
        raise ValueError("change must leave out 'patience' where the checkpoint has none: it keeps no best weights.")


def _ways_out(saved: Saved, refused: list[str]) -> str:
    """What the user can do, where that is not plain."""
    text = ""
    if "first weights" in refused:
        text += " The first weights of net are neither those of its run nor those that it holds."
    changeable = tuple(name for name in refused if name in CHANGEABLE)
    if changeable == tuple(refused):
        text += f" Where that is meant: Checkpoint(path, change={changeable!r})."
    python = saved.header.get("python", sys.implementation.cache_tag)
    if python != sys.implementation.cache_tag and {"net", "loss", "optimizer"} & set(refused):
        text += f" It was written by {python}: the code of functions is the same in one version of Python alone."
    return text


def _continues(saved: Saved, weights: Mapping[str, Array]) -> bool:
    """Whether weights are those that a run began with, or those that its checkpoint holds."""
    if checksum(weights, "") == saved.header["first_weights"]:
        return True
    return any(
        all(np.array_equal(array, saved.tensors.get(prefix + name, ())) for name, array in weights.items())
        for prefix in ("weights/", "best/")
    )


def _check_optimizer(saved: Saved, optimizer: Optimizer) -> None:
    """Refuses one whose moments are not those of the file, or mean something else."""
    names = ancestry(type(optimizer))
    theirs = saved.header.get("optimizer") or [saved.header["identity"].get("optimizer", "").partition("(")[0]]
    if saved.header["version"] == 1:  # which does not tell modules
        names = [name.rpartition(".")[2] for name in names]
    if theirs[0] not in names and names[0] not in theirs:
        raise ValueError(
            f"optimizer must be of the class whose moments the checkpoint holds, {checks.shorten(theirs[0])}, or one "
            f"that extends it. Got {names[0]}."
        )
    held = {name.split("/")[1].partition(".")[0] for name in saved.tensors if name.startswith("optimizer/")} - {"step"}
    if held != set(optimizer.moments):
        wanted, got = (", ".join(sorted(some)) or "none" for some in (held, optimizer.moments))
        raise ValueError(
            f"optimizer must have the moments that the checkpoint holds, {checks.shorten(wanted)}. Got {got}."
        )


def _text_1(value: Any) -> str:
    """An argument as files of version 1 tell it."""
    if is_dataclass(value):
        parts = [f"{field.name}={_text_1(getattr(value, field.name))}" for field in fields(value)]
        return f"{type(value).__name__}({', '.join(parts)})"
    return str(getattr(value, "__qualname__", type(value).__name__)) if callable(value) else repr(value)


# Whether it can be one.


def check_content(
    saved: Saved, state: TrainingState, patience: int | None, updates: Callable[[int], list[Any]], carried: Any
) -> dict[str, Any]:
    """The fields of `state` as the file has them; refuses, with a `FormatError`, what no run can have written.

    `updates` gives the updates of an epoch, and `carried` the recurrent state that an update begins with, told by its
    epoch and number: its shapes, or None.
    """
    with _refusing(saved.name):
        numbers = _check_numbers(saved, updates)
        before = carried(numbers["epoch"], numbers["update"])
        best = _check_tensors(saved, state, numbers, patience, before)
        noise = _check_noise(saved, numbers["epoch"])
    arrays = (saved.tensors[f"carried/{i}"] for i in itertools.count())
    records = [tuple(row) for row in saved.tensors["history"].tolist()]
    return {**numbers, "best": best, "noise": noise, "drawn": saved.header["noise"], "records": records,
            "carried": map_state(lambda _: next(arrays), before)}  # fmt: skip


def resume(state: TrainingState, saved: Saved, content: Mapping[str, Any]) -> None:
    """Puts a state where the saved one stood."""
    state.sound = False
    for prefix, arrays in (("weights/", state.weights), ("optimizer/", state.optimizer)):
        for name, array in arrays.items():
            array[...] = saved.tensors[prefix + name]
    for name, value in content.items():
        setattr(state, name, value)
    state.sound = True


def _whole(name: str, value: Any, low: int, high: int | None = None) -> None:
    if type(value) is not int or value < low or (high is not None and value > high):
        limit = "up" if high is None else f"to {high}"
        raise ValueError(f"{name} must be a whole number from {low} {limit}. Got {checks.show(value)}")


def _check_numbers(saved: Saved, updates: Callable[[int], list[Any]]) -> dict[str, Any]:
    numbers, history = saved.header["numbers"], saved.tensors["history"]
    if history.dtype != np.float64:
        raise ValueError(f"history must be float64. Got {history.dtype}")
    checks.shape("history", history, ("epochs", len(COLUMNS)))
    # Losses may be NaN, where nothing counted or nothing was validated; no other number is.
    if np.isinf(history[:, 0]).any() or not np.isfinite(history[:, 2:]).all() or (history[:, 2:] < 0).any():
        raise ValueError("history must hold finite numbers, and none under 0 beside the losses")
    losses = np.where(np.isnan(history[:, 1]), np.inf, history[:, 1])
    best_loss = float(losses.min(initial=np.inf))
    best, epoch = int(losses.argmin()) if best_loss < np.inf else -1, len(history)
    _whole("epoch", numbers["epoch"], epoch, epoch)
    _whole("update", numbers["update"], 0, len(updates(epoch)))
    _whole("best_epoch, that of the lowest validation loss,", numbers["best_epoch"], best, best)
    _whole("stopped", numbers["stopped"], epoch if numbers["stopped"] else 0, 1 << 53)
    found = {
        name: kind(numbers[name]) if kind is int else measured(name, numbers[name]) for name, kind in NUMBERS.items()
    }
    if found["best_loss"] != best_loss:
        raise ValueError(f"best_loss must be that of the best epoch, {best_loss}. Got {found['best_loss']}")
    if found["update"] == 0 and any(found[name] for name in ("loss", "weight", "rate", "norm", "seconds")):
        raise ValueError("loss, weight, rate, norm and seconds must be 0 where an epoch begins")
    return found


def _check_tensors(
    saved: Saved, state: TrainingState, numbers: Mapping[str, Any], patience: int | None, carried: Any
) -> dict[str, Array]:
    """Names, shapes, dtypes; returns the best weights, where they are to be kept."""
    leaves: list[Array] = []
    tree, got = flatten(carried, leaves), saved.header["carried"]
    if json.dumps(got) != json.dumps(tree):  # which tells 1 from True
        raise ValueError(f"carried must nest as the state that goes on, {json.dumps(tree)}. Got {checks.show(got)}")
    best = {name for name in saved.tensors if name.startswith("best/")}
    kept = state.weights if best or (patience is not None and numbers["best_epoch"] >= 0) else {}
    wanted = named(weights=state.weights, best=kept, optimizer=state.optimizer, carried=dict(enumerate(leaves)))
    for name, array in wanted.items():
        found = saved.tensors[name]
        checks.shape(name, found, array.shape)
        if found.dtype != array.dtype:
            raise ValueError(f"{name} must be {array.dtype}. Got {found.dtype}")
        if not name.startswith("optimizer/") and not np.isfinite(found).all():
            raise ValueError(f"{name} must be finite")
    if best and numbers["best_epoch"] < 0:
        raise ValueError("best weights must belong to an epoch. Got none")
    extra = saved.tensors.keys() - wanted.keys() - {"history"}
    if extra:
        raise ValueError(f"each tensor must belong to the run. Got {', '.join(sorted(extra))} too")
    if "step" in state.optimizer:
        _whole("step", int(saved.tensors["optimizer/step"]), 0, 1 << 53)
    return {} if patience is None else {name: saved.tensors[f"best/{name}"] for name in kept}


def _check_noise(saved: Saved, epoch: int) -> np.random.Generator:
    """The generator of an epoch, as far on as the file says; its increment belongs to the seed and the epoch."""
    noise, got = generators(saved.header["seed"], epoch)[1], saved.header["noise"]
    increment = noise.bit_generator.state["state"]["inc"]
    with suppress(ValueError, TypeError, LookupError, OverflowError):  # of what is none
        noise.bit_generator.state = got
        same = json.dumps(noise.bit_generator.state, sort_keys=True) == json.dumps(got, sort_keys=True)
        if same and got["state"]["inc"] == increment and got["has_uint32"] in (0, 1):
            return noise
    raise ValueError(f"noise must be the state of a generator of this epoch. Got {checks.show(got)}")
