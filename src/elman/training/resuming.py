"""Checkpoints read: a file from outside is compared with the run that asks for it, and checked to the last number.

Nothing of a run changes before all of it is known to be right.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from elman import checks
from elman.checks import Array, FormatError
from elman.files import checksum, read_safetensors
from elman.training.checkpoints import CHANGEABLE, NUMBERS, VERSION, Checkpoint, Identity, ancestry
from elman.training.history import COLUMNS
from elman.training.optimizers import Optimizer
from elman.training.state import TrainingState, generators

_OLD_FIELDS = {"version", "identity", "seed", "numbers", "noise", "carried"}  # of version 1
_FIELDS = _OLD_FIELDS | {"python", "first_weights", "optimizer"}
_MOST_STEPS = 1 << 53


@dataclass(frozen=True)
class Saved:
    """What a checkpoint file says."""

    name: str
    header: Mapping[str, Any]
    tensors: Mapping[str, Array]

    @property
    def version(self) -> int:
        return int(self.header["version"])

    @property
    def seed(self) -> int:
        """That of its run."""
        return int(self.header["seed"])

    def refused(self, why: object) -> FormatError:
        return FormatError(f"checkpoint must be a whole checkpoint of elman. Got {self.name!r}: {why}")


def read_checkpoint(checkpoint: Checkpoint) -> Saved | None:
    """What the file says; None where there is none yet. Raises `FormatError` for one that is no whole checkpoint."""
    name = os.fspath(checkpoint.path)
    if not os.path.exists(name):
        return None
    with open(name, "rb") as file:
        content = file.read()
    try:
        tensors, metadata = read_safetensors(content)
        if "elman_checkpoint" not in metadata:
            what = "it is a network, which elman.load reads" if "elman" in metadata else "it was not written by elman"
            raise ValueError(f"its header must have the field 'elman_checkpoint'. Got none: {what}")
        text = metadata["elman_checkpoint"]
        saved = Saved(name, json.loads(text), tensors)
        _check_header(saved.header)
        if saved.version > 1 and metadata["checksum"] != checksum(tensors, text):
            raise ValueError("its content must have the checksum that it names. Got another: the file was damaged")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Saved(name, {}, {}).refused(f"{str(_reason(error)).rstrip('.')}.") from None
    return saved


def _reason(error: Exception) -> object:
    return f"it has no field {error}" if isinstance(error, KeyError) else error


def _check_header(header: Any) -> None:
    if not isinstance(header, dict):
        raise ValueError("its header must be an object")
    version = header["version"]
    if type(version) is not int or not 1 <= version <= VERSION:
        raise ValueError(f"its version must be from 1 to {VERSION}. Got {version!r}: it is of another elman")
    wanted = _OLD_FIELDS if version == 1 else _FIELDS
    if header.keys() != wanted:
        raise ValueError(
            f"its header must have the fields {', '.join(sorted(wanted))}. Got {', '.join(sorted(header))}"
        )
    identity, ancestors = header["identity"], header.get("optimizer", [])
    if not isinstance(identity, dict) or not all(isinstance(text, str) for text in identity.values()):
        raise ValueError("its identity must be a text for each argument")
    if not isinstance(ancestors, list) or not all(isinstance(text, str) for text in ancestors):
        raise ValueError("its optimizer must be told by the names of its class and its bases")
    _whole("seed", header["seed"], 0)
    if version > 1 and not (isinstance(header["first_weights"], str) and isinstance(header["python"], str)):
        raise ValueError("its first_weights and python must be texts")
    if not isinstance(header["numbers"], dict) or header["numbers"].keys() != NUMBERS.keys():
        raise ValueError(f"its numbers must be {', '.join(NUMBERS)}")


# Which run it is of.


def compare(
    saved: Saved,
    checkpoint: Checkpoint,
    identity: Identity,
    settings: Mapping[str, Any],
    seed: int | None,
    parameters: Mapping[str, Array],
) -> None:
    """Refuses, with a `ValueError` that names the arguments, a checkpoint of another run.

    `settings` are the loss and what stands beside it in `identity`, as values.
    """
    theirs = saved.header["identity"]
    mine = identity if saved.version > 1 else _version_1(identity, settings)
    # How many epochs there are matters where the learning rate looks at the part of them that is over.
    free = set() if callable(settings["optimizer"].learning_rate) else {"epochs"}
    if "optimizer" in checkpoint.change:
        free.add("epochs")
    differing = [name for name in mine if name not in free and mine[name] != theirs.get(name)]
    if saved.version > 1 and "net" not in differing and not _continues(saved, parameters):
        differing.insert(0, "first weights")
    if seed is not None and seed != saved.seed:
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


def _continues(saved: Saved, parameters: Mapping[str, Array]) -> bool:
    """Whether weights are those that a run began with, or those that its checkpoint holds."""
    if checksum(parameters, "") == saved.header["first_weights"]:
        return True
    return any(
        all(np.array_equal(array, saved.tensors.get(prefix + name, ())) for name, array in parameters.items())
        for prefix in ("weights/", "best/")
    )


def _check_optimizer(saved: Saved, optimizer: Optimizer) -> None:
    """Refuses one whose moments are not those of the file, or mean something else."""
    names = ancestry(type(optimizer))
    theirs = saved.header.get("optimizer") or [saved.header["identity"].get("optimizer", "").partition("(")[0]]
    if saved.version == 1:  # which does not tell modules
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


def _version_1(identity: Identity, settings: Mapping[str, Any]) -> Identity:
    """The identity as files of version 1 tell it."""
    told = {name: _text_1(value) for name, value in settings.items()}
    return {**told, "data": identity["data"].partition(" ")[0], "validation": identity["validation"]}


def _text_1(value: Any) -> str:
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
    try:
        numbers = _check_numbers(saved, updates)
        best = _check_tensors(saved, state, numbers, patience)
        noise = _check_noise(saved, numbers["epoch"])
        nested = _check_carried(saved, carried(numbers["epoch"], numbers["update"]))
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError) as error:
        raise saved.refused(f"{str(_reason(error)).rstrip('.')}.") from None
    records = [tuple(row) for row in saved.tensors["history"].tolist()]
    return {**numbers, "best": best, "noise": noise, "drawn": saved.header["noise"], "carried": nested,
            "records": records}  # fmt: skip


def resume(state: TrainingState, saved: Saved, content: Mapping[str, Any]) -> None:
    """Puts a state where the saved one stood."""
    state.sound = False
    for prefix, arrays in (("weights/", state.parameters), ("optimizer/", state.optimizer)):
        for name, array in arrays.items():
            array[...] = saved.tensors[prefix + name]
    for name, value in content.items():
        setattr(state, name, value)
    state.sound = True


def _whole(name: str, value: Any, low: int, high: float = math.inf) -> int:
    if type(value) is not int or not low <= value <= high:
        limit = f" to {high}" if high < math.inf else ""
        raise ValueError(f"{name} must be a whole number from {low}{limit}. Got {checks.show(value)}")
    return value


def _check_numbers(saved: Saved, updates: Callable[[int], list[Any]]) -> dict[str, Any]:
    numbers = dict(saved.header["numbers"])
    history = saved.tensors["history"]
    if history.dtype != np.float64:
        raise ValueError(f"history must be float64. Got {history.dtype}")
    checks.shape("history", history, ("epochs", len(COLUMNS)))
    for name, kind in NUMBERS.items():
        if kind is float:
            value = numbers[name]
            found = float(value) if type(value) in (int, float) else math.nan
            low = 0.0 if name in ("weight", "rate", "norm", "seconds") else -math.inf
            if not (low <= found and math.isfinite(found)) and not (name == "best_loss" and found == math.inf):
                raise ValueError(
                    f"{name} must be a finite number{' from 0' if low == 0 else ''}. Got {checks.show(value)}"
                )
            numbers[name] = found
    epoch = _whole("epoch", numbers["epoch"], len(history), len(history))
    update = _whole("update", numbers["update"], 0, len(updates(epoch)))
    if update == 0 and any(numbers[name] for name in ("loss", "weight", "rate", "norm", "seconds")):
        raise ValueError("loss, weight, rate, norm and seconds must be 0 where an epoch begins")
    _check_history(history)
    best = _whole("best_epoch", numbers["best_epoch"], -1, epoch - 1)
    if numbers["best_loss"] != (history[best, 1] if best >= 0 else math.inf):
        raise ValueError(f"best_loss must be that of the best epoch. Got {numbers['best_loss']}")
    if best != _best_epoch(history[:, 1]):
        raise ValueError(f"best_epoch must be that of the lowest validation loss. Got {best}")
    return numbers


def _check_history(history: Array) -> None:
    """Losses may be NaN, where nothing counted or nothing was validated; no other number is."""
    if np.isinf(history[:, 0]).any() or not np.isfinite(history[:, 2:]).all() or (history[:, 2:] < 0).any():
        raise ValueError("history must hold finite numbers, and none under 0 beside the losses")


def _best_epoch(losses: Array) -> int:
    """The first epoch with the lowest validation loss; -1 where none has one."""
    losses = np.where(np.isnan(losses), np.inf, losses)
    best = int(losses.argmin()) if losses.size else -1
    return best if best >= 0 and losses[best] < np.inf else -1


def _check_tensors(
    saved: Saved, state: TrainingState, numbers: Mapping[str, Any], patience: int | None
) -> dict[str, Array]:
    """Names, shapes, dtypes; returns the best weights, where they are to be kept."""
    wanted = {f"weights/{name}": array for name, array in state.parameters.items()}
    wanted |= {f"optimizer/{name}": array for name, array in state.optimizer.items()}
    best = {name: array for name, array in saved.tensors.items() if name.startswith("best/")}
    if best or (patience is not None and numbers["best_epoch"] >= 0):
        wanted |= {f"best/{name}": array for name, array in state.parameters.items()}
    for name, array in wanted.items():
        checks.shape(name, saved.tensors[name], array.shape)
        if saved.tensors[name].dtype != array.dtype:
            raise ValueError(f"{name} must be {array.dtype}. Got {saved.tensors[name].dtype}")
        if not name.startswith("optimizer/") and not np.isfinite(saved.tensors[name]).all():
            raise ValueError(f"{name} must be finite")
    if best and numbers["best_epoch"] < 0:
        raise ValueError("best weights must belong to an epoch. Got none")
    others = [name for name in saved.tensors if name not in wanted and name != "history"]
    extra = [name for name in others if not name.startswith("carried/")]
    if extra:
        raise ValueError(f"each tensor must belong to the run. Got {', '.join(extra)} too")
    if "step" in state.optimizer:
        _whole("step", int(saved.tensors["optimizer/step"]), 0, _MOST_STEPS)
    return {} if patience is None else {name: saved.tensors[f"best/{name}"] for name in state.parameters if best}


def _check_noise(saved: Saved, epoch: int) -> np.random.Generator:
    """The generator of an epoch, as far on as the file says; its increment belongs to the seed and the epoch."""
    noise = generators(saved.seed, epoch)[1]
    want, got = noise.bit_generator.state, saved.header["noise"]
    if not isinstance(got, dict) or got.keys() != want.keys() or got["bit_generator"] != want["bit_generator"]:
        raise ValueError("noise must be the state of a generator of this epoch")
    numbers = got["state"]
    if not isinstance(numbers, dict) or numbers.keys() != want["state"].keys():
        raise ValueError("noise must be the state of a generator of this epoch")
    _whole("has_uint32 of noise", got["has_uint32"], 0, 1)
    _whole("uinteger of noise", got["uinteger"], 0, 2**32 - 1)
    _whole("state of noise", numbers["state"], 0, 2**128 - 1)
    if _whole("inc of noise", numbers["inc"], 0, 2**128 - 1) != want["state"]["inc"]:
        raise ValueError("noise must be the state of a generator of this epoch")
    noise.bit_generator.state = got
    return noise


def _check_carried(saved: Saved, template: Any) -> Any:
    """The recurrent state of the file, nested and shaped as `template`."""
    count = sum(name.startswith("carried/") for name in saved.tensors)
    used: list[int] = []

    def nest(tree: Any, like: Any) -> Any:
        if like is None:
            if tree is not None:
                raise ValueError("carried must be empty where no state goes on")
            return None
        if isinstance(like, (tuple, list)):
            if not isinstance(tree, list) or len(tree) != len(like) + 1 or tree[0] != type(like).__name__:
                raise ValueError("carried must nest as the state of the network does")
            return type(like)([nest(*pair) for pair in zip(tree[1:], like, strict=True)])
        used.append(_whole("a number of carried", tree, len(used), len(used)))
        array = saved.tensors[f"carried/{tree}"]
        checks.shape(f"carried/{tree}", array, like.shape)
        if array.dtype != like.dtype or not np.isfinite(array).all():
            raise ValueError(f"carried/{tree} must hold finite numbers of {like.dtype}")
        return array

    nested = nest(saved.header["carried"], template)
    if len(used) != count:
        raise ValueError(f"carried must use each of its {count} tensors. Got {len(used)}")
    return nested
