"""Runs that survive: a run of `fit` in a file, from which the same run goes on as if it had never stopped.

One safetensors file holds the weights, the state of the optimizer, the best weights, the recurrent state carried
between windows and the losses so far; its header says where the run stood and what it was asked. Nothing in it is
executed. A file from outside is compared with the run that asks for it, and checked to the last number, before
anything of the run changes.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from elman import checks
from elman.checks import Array
from elman.files import check_source, checksum, replace
from elman.layers.layer import Layer
from elman.saving import described, field, read_described
from elman.training.examples import Examples
from elman.training.history import COLUMNS, Kept, refusing
from elman.training.identity import ancestry, identity_of
from elman.training.optimizers import Optimizer
from elman.training.state import TrainingState, generators
from elman.training.windows import map_state

if TYPE_CHECKING:
    from elman.training.run import Run

#: Of the files; 1 had no checksum, no first weights, and told functions by their names alone, 2 no `stopped`.
CHECKPOINT_VERSION = 3

_WHOLE = "checkpoint must be a whole checkpoint of elman"

#: The fields of a header, of the types that they must have.
_FIELDS = {"version": int, "identity": dict, "seed": int, "numbers": dict, "noise": dict, "carried": object,
           "python": str, "first_weights": str, "optimizer": list}  # fmt: skip

#: The fields of a state that are plain numbers.
NUMBERS = {"epoch": int, "update": int, "loss": float, "weight": float, "rate": float, "norm": float,
           "seconds": float, "best_epoch": int, "best_loss": float, "stopped": int}  # fmt: skip

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


class RunFile(Kept):
    """The checkpoint of one run: read where there is one, compared with what is asked, written as the run goes."""

    def __init__(self, given: Any) -> None:
        """`given` is a path, a `Checkpoint`, or None for no file; refuses a path that cannot be written."""
        checkpoint = Checkpoint(given) if isinstance(given, (str, os.PathLike)) else given
        if checkpoint is not None and not isinstance(checkpoint, Checkpoint):
            raise TypeError(f"checkpoint must be a path or a Checkpoint. Got {checks.describe(given)}.")
        super().__init__("checkpoint", None if checkpoint is None else checkpoint.path)
        self.checkpoint: Checkpoint | None = checkpoint
        self.name = "" if checkpoint is None else os.fsdecode(checkpoint.path)  # as given, for errors
        self.header: dict[str, Any] = {}  # of the file that is there; empty where there is none
        self.tensors: dict[str, Array] = {}
        self._facts: dict[str, Any] = {}  # what is written of the run, beside where it stands
        self._last = time.monotonic()
        if os.path.exists(self.path):
            with open(check_source("checkpoint", self.path), "rb") as file:
                content = file.read()
            with refusing(f"{_WHOLE}. Got {self.name!r}"):
                self.header, self.tensors = read_described(content, "elman_checkpoint", CHECKPOINT_VERSION)
                self._check_header()

    def _check_header(self) -> None:
        """Holds the header to its form, and brings one of an older version into that of today."""
        header, version = self.header, self.header["version"]
        if version == 1:
            optimizer = header["identity"]["optimizer"].partition("(")[0]
            header |= {"python": sys.implementation.cache_tag, "first_weights": "", "optimizer": [optimizer]}
        if header.keys() != _FIELDS.keys():
            raise ValueError(f"its header must have the fields {', '.join(_FIELDS)}. Got {', '.join(header)}")
        for name, kind in _FIELDS.items():
            if kind is not object:
                field(header, name, kind, "its header")
        for text in (*header["identity"].values(), *header["optimizer"]):
            if not isinstance(text, str):
                raise ValueError(f"its identity and its optimizer must be told by texts. Got {checks.show(text)}")
        _check_number("its seed", header["seed"], int)
        if version < 3:
            header["numbers"].setdefault("stopped", 0)
        if header["numbers"].keys() != NUMBERS.keys():
            raise ValueError(f"its numbers must be {', '.join(NUMBERS)}. Got {', '.join(header['numbers'])}")

    # Which run it is of.

    def claim(
        self, net: Layer, data: Examples, validation: Examples | None, settings: Mapping[str, Any], seed: int | None
    ) -> int:
        """Makes it the file of a run that asks for `settings`, or refuses it; returns the seed, drawn for None."""
        drawn = int(np.random.default_rng().integers(2**63)) if seed is None else seed
        if self.checkpoint is None:
            return drawn
        identity = identity_of(net, data, validation, settings, self.checkpoint.key)
        first, names = checksum(net.weights, ""), ancestry(type(settings["optimizer"]))
        self._facts = {"identity": identity, "first_weights": first, "optimizer": names, "seed": drawn}
        if self.header:
            self._compare(settings, seed, net.weights)
            drawn = self._facts["seed"] = self.header["seed"]
            self._facts["first_weights"] = self.header["first_weights"] or first
        return drawn

    def _compare(self, settings: Mapping[str, Any], seed: int | None, weights: Mapping[str, Array]) -> None:
        assert self.checkpoint is not None
        header, mine, change = self.header, self._facts["identity"], self.checkpoint.change
        theirs, old, patient = header["identity"], header["version"] == 1, settings["patience"] is not None
        if old:
            told = {name: _text_1(value) for name, value in settings.items()}
            mine = told | {"data": mine["data"].partition(" ")[0], "validation": mine["validation"]}
        # How many epochs there are matters where the learning rate looks at the part of them that is over.
        free = set() if callable(settings["optimizer"].learning_rate) and "optimizer" not in change else {"epochs"}
        differing = [name for name in mine if name not in free and mine[name] != theirs.get(name)]
        held = ([self.tensors.get(group + name, ()) for name in weights] for group in ("weights/", "best/"))
        known = old or header["first_weights"] == self._facts["first_weights"]
        known = known or any(all(map(np.array_equal, weights.values(), arrays)) for arrays in held)
        if "net" not in differing and not known:
            differing.insert(0, "first weights")
        if seed is not None and seed != header["seed"]:
            differing.append("seed")
        refused = [name for name in differing if name not in change]
        if refused:
            must = f"checkpoint must be of this run, or of none yet. Got {self.name!r}, of a run that differs in"
            raise ValueError(f"{must} {', '.join(refused)}.{self._ways_out(refused)}")
        if "optimizer" in differing:
            self._check_optimizer(settings["optimizer"])
        if patient and "loss" in differing:
            why = "where patience is given: losses of two kinds have no best one"
            raise ValueError(f"change must leave out 'loss' {why}.")
        if patient and "patience" in differing and theirs["patience"] == "None":
            why = "where the checkpoint has none: it keeps no best weights"
            raise ValueError(f"change must leave out 'patience' {why}.")

    def _ways_out(self, refused: list[str]) -> str:
        """What the user can do, where that is not plain."""
        text, python = "", self.header["python"]
        if "first weights" in refused:
            text += " The first weights of net are neither those of its run nor those that it holds."
        if set(refused) <= set(CHANGEABLE):
            text += f" Where that is meant: Checkpoint(path, change={tuple(refused)!r})."
        if python != sys.implementation.cache_tag and {"net", "loss", "optimizer"} & set(refused):
            text += f" It was written by {python}: the code of functions is the same in one version of Python alone."
        return text

    def _check_optimizer(self, optimizer: Optimizer) -> None:
        """Refuses one whose moments are not those of the file, or mean something else."""
        names, theirs = self._facts["optimizer"], self.header["optimizer"]
        if self.header["version"] == 1:  # which does not tell modules
            names = [name.rpartition(".")[2] for name in names]
        if theirs[0] not in names and names[0] not in theirs:
            must = f"optimizer must be of the class whose moments the checkpoint holds, {checks.shorten(theirs[0])}"
            raise ValueError(f"{must}, or one that extends it. Got {names[0]}.")
        arrays = [name.partition("/")[2] for name in self.tensors if name.startswith("optimizer/")]
        held = {name.partition(".")[0] for name in arrays} - {"step"}
        if held != set(optimizer.moments):
            wanted, got = (", ".join(sorted(some)) or "none" for some in (held, optimizer.moments))
            must = f"optimizer must have the moments that the checkpoint holds, {checks.shorten(wanted)}"
            raise ValueError(f"{must}. Got {got}.")

    # Where it stood.

    def restore(self, run: Run) -> None:
        """Puts the state of a run where the file says it stood, its live arrays once they are put back."""
        state, tensors = run.state, self.tensors
        if not self.header:
            return
        with refusing(f"{_WHOLE}. Got {self.name!r}"):
            history, numbers = tensors["history"], self.header["numbers"]
            _check_numbers(numbers, history, lambda epoch: len(run.updates(epoch)))
            for name in NUMBERS:
                setattr(state, name, numbers[name])
            state.records = [tuple(row) for row in history.tolist()]
            state.noise, state.drawn = _noise(self.header["seed"], state.epoch, self.header["noise"])
            state.carried = run.carried_before(state.epoch, state.update)
            best = any(name.startswith("best/") for name in tensors)
            if best or (state.keep_best and state.best_epoch >= 0):
                state.best = dict(state.weights)
            if best and state.best_epoch < 0:
                raise ValueError("best weights must belong to an epoch. Got none")
            self._check_tensors(*_content(state))
            state.best = {name: tensors[f"best/{name}"] for name in state.best if state.keep_best}
            places = itertools.count()
            state.carried = map_state(lambda _: tensors[f"carried/{next(places)}"], state.carried)
        live = {"weights/": state.weights, "optimizer/": state.optimizer}
        state.before = [(array, tensors[group + name]) for group in live for name, array in live[group].items()]

    def _check_tensors(self, header: Mapping[str, Any], wanted: Mapping[str, Array]) -> None:
        """Holds the file to what a run would write: the nesting of states, names, shapes and dtypes."""
        got = self.header["carried"]
        if json.dumps(got) != json.dumps(header["carried"]):  # which tells 1 from True
            must = f"carried must nest as the state that goes on, {json.dumps(header['carried'])}"
            raise ValueError(f"{must}. Got {checks.show(got)}")
        for name, array in wanted.items():
            found = self.tensors[name]
            checks.shape(name, found, array.shape)
            if found.dtype != array.dtype:
                raise ValueError(f"{name} must be {array.dtype}. Got {found.dtype}")
            if not name.startswith(("optimizer/", "history")) and not np.isfinite(found).all():
                raise ValueError(f"{name} must be finite")
        extra = self.tensors.keys() - wanted.keys()
        if extra:
            raise ValueError(f"each tensor must belong to the run. Got {', '.join(sorted(extra))} too")
        if "optimizer/step" in wanted:
            _check_number("step", int(self.tensors["optimizer/step"]), int, 0, 1 << 53)

    # As the run goes.

    def write_when_due(self, state: TrainingState) -> None:
        """Writes where the last one is old enough. Where it cannot, the run goes on, with one warning."""
        if self.checkpoint is not None and time.monotonic() - self._last >= self.checkpoint.every:
            with self.trying():
                self._last = time.monotonic()
                self.write(state)

    def write(self, state: TrainingState) -> None:
        """Writes now."""
        if self.path:
            header, tensors = _content(state)
            facts = {"version": CHECKPOINT_VERSION, "python": sys.implementation.cache_tag, **self._facts}
            replace(self.path, described("elman_checkpoint", {**facts, **header}, tensors))
            self._last = time.monotonic()


def _content(state: TrainingState) -> tuple[dict[str, Any], dict[str, Array]]:
    """What a file says of a state: fields of its header, and arrays by names such as weights/0.Wx."""
    carried: list[Array] = []
    numbers = {name: getattr(state, name) for name in NUMBERS}
    header = {"numbers": numbers, "noise": state.drawn, "carried": _flatten(state.carried, carried)}
    groups: dict[str, Mapping[Any, Array]] = {"weights": state.weights, "optimizer": state.optimizer}
    groups |= {"best": state.best, "carried": dict(enumerate(carried))}
    tensors = {f"{group}/{name}": array for group, arrays in groups.items() for name, array in arrays.items()}
    return header, {**tensors, "history": np.array(state.records, np.float64).reshape(-1, len(COLUMNS))}


def _flatten(state: Any, found: list[Array]) -> Any:
    """A state as JSON: its nesting as ["list" or "tuple", ...], of one array as that array, by its number; or null."""
    if state is None:
        return None
    if isinstance(state, tuple) and len(state) == 1:
        return _flatten(state[0], found)
    if isinstance(state, (tuple, list)):
        return [type(state).__name__, *(_flatten(part, found) for part in state)]
    found.append(state)
    return len(found) - 1


def _check_numbers(numbers: Mapping[str, Any], history: Array, updates: Callable[[int], int]) -> None:
    """Holds numbers to their types and to what they can be beside the history; `updates` counts those of an epoch."""
    checks.shape("history", history, ("epochs", len(COLUMNS)))
    losses, others = history[:, :2], history[:, 2:]
    # Losses may be NaN, where nothing counted or nothing was validated; no other number is.
    if (np.isinf(losses) & (losses != [0, np.inf])).any() or not (np.isfinite(others) & (others >= 0)).all():
        raise ValueError("history must hold finite numbers, and none under 0 beside the losses")
    validation = np.where(np.isnan(losses[:, 1]), np.inf, losses[:, 1])
    epoch, best_loss = len(history), float(validation.min(initial=np.inf))
    best = int(validation.argmin()) if best_loss < np.inf else -1
    most = sys.float_info.max if numbers["update"] else 0.0  # an epoch begins with sums of 0
    stopped = epoch if numbers["stopped"] else 0
    limits: dict[str, tuple[float, float]] = {
        "epoch": (epoch, epoch), "update": (0, updates(epoch)), "stopped": (stopped, 1 << 53), "loss": (-most, most),
        "best_epoch": (best, best), "best_loss": (best_loss, best_loss),
    }  # fmt: skip
    for name, kind in NUMBERS.items():
        _check_number(name, numbers[name], kind, *limits.get(name, (0, most)))


def _check_number(name: str, value: Any, kind: type, low: float = 0, high: float = np.inf) -> None:
    exact = type(value) is kind
    if not exact or not low <= value <= high:
        must = f"a {'whole ' * (kind is int)}number from {low} to {high}" if low < high else f"{low}"
        raise ValueError(f"{name} must be {must}. Got {checks.show(value)}")


def _noise(seed: int, epoch: int, got: Any) -> tuple[np.random.Generator, Any]:
    """The generator of an epoch, as far on as the file says; its increment belongs to the seed and the epoch."""
    noise = generators(seed, epoch)[1]
    increment = noise.bit_generator.state["state"]["inc"]
    with suppress(ValueError, TypeError, LookupError, OverflowError):  # of what is none
        noise.bit_generator.state = got
        same = json.dumps(noise.bit_generator.state, sort_keys=True) == json.dumps(got, sort_keys=True)
        if same and got["state"]["inc"] == increment and got["has_uint32"] in (0, 1):
            return noise, got
    raise ValueError(f"noise must be the state of a generator of this epoch. Got {checks.show(got)}")


def _text_1(value: Any) -> str:
    """An argument as files of version 1 tell it."""
    if is_dataclass(value):
        parts = [f"{field.name}={_text_1(getattr(value, field.name))}" for field in fields(value)]
        return f"{type(value).__name__}({', '.join(parts)})"
    return str(getattr(value, "__qualname__", type(value).__name__)) if callable(value) else repr(value)
