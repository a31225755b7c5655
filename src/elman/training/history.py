"""What a run of `fit` was like, epoch by epoch: as arrays, in a log while it runs, and as its progress on stderr."""

from __future__ import annotations

import json
import math
import os
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from elman import checks, drawing
from elman.checks import Array
from elman.files import append, check_path, check_source, fixed, replace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from elman.layers.layer import Layer

#: What is kept of each epoch, in the order of a record.
COLUMNS = ("loss", "validation_loss", "learning_rate", "gradient_norm", "seconds")


@dataclass(frozen=True, eq=False)
class History:
    """The course of a training run: arrays with one entry per epoch, float64.

    `loss` is the mean over the real rows of the epoch, measured while the weights moved and dropout acted;
    `validation_loss` that of the validation data after the epoch, None where there is none; `learning_rate` and
    `gradient_norm` (before clipping) are means over the batches; `seconds` is the time the epoch took.

    >>> history = History(np.array([0.9, 0.5]), np.array([0.8, 0.9]), np.full(2, 0.1), np.ones(2), np.full(2, 0.01))
    >>> history.best_epoch
    0
    >>> history
    History of 2 epochs in 0.0 s, best_epoch 0
      epoch      loss  validation_loss  learning_rate  gradient_norm
          0    0.9000           0.8000            0.1          1.000  best
          1    0.5000           0.9000            0.1          1.000
    """

    loss: Array
    validation_loss: Array | None
    learning_rate: Array
    gradient_norm: Array
    seconds: Array

    @classmethod
    def of_records(cls, records: Sequence[tuple[float, ...]], validated: bool) -> History:
        """A history from one record per epoch."""
        loss, validation_loss, *others = np.array(records, np.float64).reshape(-1, len(COLUMNS)).T
        return cls(loss, validation_loss if validated else None, *others)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> History:
        """The history in a file of JSON lines that `fit(log=path)` wrote, whole or still growing.

        Raises `FormatError`, with the number of the line, for what is none.
        """
        name = check_source("path", path)
        with open(name, "rb") as file:
            lines = file.read().split(b"\n")[:-1]  # what follows the last line end is empty, or half written
        records = []
        for i, line in enumerate(lines):
            with refusing(f"{name!r} must hold one epoch per line, as JSON. Got line {i + 1}"):
                records.append(_record(i, line))
        return cls.of_records(records, any(not math.isnan(record[1]) for record in records))

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def best_epoch(self) -> int:
        """Index of the lowest validation loss, or of the lowest loss where there is no validation.

        It is an index into the arrays: 0 for the first epoch.
        """
        watched = self.loss if self.validation_loss is None else self.validation_loss
        if len(watched) == 0:
            raise ValueError("a history must have at least one epoch to have a best one. Got none.")
        return int(np.argmin(np.where(np.isnan(watched), np.inf, watched)))

    def __repr__(self) -> str:
        if len(self) == 0:
            return "History of 0 epochs"
        best, last = self.best_epoch, len(self) - 1
        columns = ["loss", "validation_loss", "learning_rate", "gradient_norm"]
        columns = [name for name in columns if getattr(self, name) is not None]
        lines = ["  epoch" + "".join(f"  {name:>{max(len(name), 8)}}" for name in columns)]
        shown = sorted({0, 1, best, last - 1, last} & set(range(len(self))))
        for previous, i in zip([-1, *shown], shown, strict=False):
            if i > previous + 1:
                lines.append(f"  {'...':>5}")
            cells = [f"  {_write(name, getattr(self, name)[i]):>{max(len(name), 8)}}" for name in columns]
            lines.append(f"  {i:>5}{''.join(cells)}" + ("  best" if i == best else ""))
        epochs = f"{len(self)} epoch{'s' if len(self) != 1 else ''}"
        return "\n".join([f"History of {epochs} in {self.seconds.sum():.1f} s, best_epoch {best}", *lines])

    def plot(self, path: str | os.PathLike[str] | None = None) -> Axes:
        """Draws the losses over the epochs, marks the best, and returns the matplotlib Axes.

        With `path` the figure is written there (the ending says in which format) and no window is opened. The
        scale is logarithmic where the losses are over 0 and span more than a factor of ten. Raises
        `MissingExtraError` where matplotlib is not installed.
        """
        best = self.best_epoch
        ax = drawing.new_figure("History.plot", path).add_subplot()
        from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

        losses = [self.loss] if self.validation_loss is None else [self.loss, self.validation_loss]
        single = "o" if len(self) == 1 else None  # a line of one point would not be seen
        for values, label, color in zip(losses, ("training", "validation"), drawing.COLORS, strict=False):
            ax.plot(np.arange(len(self)), values, label=label, color=color, linewidth=1.8, marker=single)
        lowest = losses[-1][best]
        label = f"best: {lowest:.4g} at epoch {best}"
        ax.plot([best], [lowest], "o", color=drawing.MARK, markersize=7, zorder=3, label=label)
        finite = np.concatenate(losses)
        finite = finite[np.isfinite(finite)]
        span = finite.max() / finite.min() if finite.size and finite.min() > 0 else 0.0
        if span > 10:
            ax.set_yscale("log")
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if span < 1000 else (1,)))
            ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))  # 0.5, not 5 x 10^-1
            ax.yaxis.set_minor_formatter(NullFormatter())
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        drawing.dress(ax, "epoch", "loss")
        drawing.finish(path, ax.figure)
        return ax


@dataclass(frozen=True, eq=False)
class Epoch:
    """What `after_epoch` of `fit` is given: the epoch that ended, counted from 1, and the run so far."""

    number: int
    loss: float
    validation: float | None
    net: Layer = field(repr=False)  # live: what is written into its weights stays there
    history: History = field(repr=False)


@contextmanager
def refusing(must: str) -> Iterator[None]:
    """Errors of what a file holds as one `FormatError`, whose words end in why."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError) as error:
        why = f"it has no field {error}" if isinstance(error, KeyError) else checks.shorten(str(error)).rstrip(".")
        raise checks.FormatError(f"{must}: {why}.") from None


class Kept:
    """A file that a run keeps beside it, or none: where it cannot be written the run goes on, with one warning."""

    def __init__(self, what: str, path: str | os.PathLike[str] | None) -> None:
        """Refuses a path that cannot be written."""
        self.what, self.path, self._warned = what, "", False
        if path is not None:
            check_path(what, path)
            self.path = fixed(path)  # whatever folder the process goes to

    @contextmanager
    def trying(self) -> Iterator[None]:
        try:
            yield
        except (OSError, MemoryError) as error:
            if not self._warned:
                self._warned = True
                why = str(error).rstrip(".")
                words = f"the {self.what} cannot be written now: {why}. Training goes on, and tries again."
                warnings.warn(words, RuntimeWarning, stacklevel=3)


class Log(Kept):
    """A file with one line of JSON an epoch, each written when its epoch ends."""

    _size = -1  # of the file, where it is known to be whole

    def begin(self, records: Sequence[tuple[float, ...]]) -> None:
        """Begins the file anew with the epochs that are already on record."""
        if self.path:
            content = "".join(_line(i, record) for i, record in enumerate(records)).encode()
            replace(self.path, content)
            self._size = len(content)

    def write(self, records: Sequence[tuple[float, ...]]) -> None:
        """Adds the line of the last epoch."""
        if not self.path:
            return
        line = _line(len(records) - 1, records[-1]).encode()
        with self.trying():
            size, self._size = self._size, -1  # unknown, should this be stopped
            if os.path.exists(self.path) and os.stat(self.path).st_size == size:
                append(self.path, line)
                self._size = size + len(line)
            else:
                self.begin(records)


def _record(epoch: int, line: bytes) -> tuple[float, ...]:
    """The record of a line that `_line` wrote; raises an error for any other."""
    entry = json.loads(line.decode())
    if not isinstance(entry, dict):
        raise ValueError(f"an epoch must be an object. Got {checks.show(entry)}")
    if type(entry["epoch"]) is not int or entry["epoch"] != epoch:
        raise ValueError(f"epoch must be {epoch}, as the lines count. Got {checks.show(entry['epoch'])}")
    found = {name: entry.get(name, math.nan) for name in COLUMNS}
    for name, value in found.items():
        if name in entry and not (name == "validation_loss" and value == math.inf):
            found[name] = checks.number(name, value, -math.inf if name.endswith("loss") else 0)
    return tuple(found.values())


def _line(epoch: int, record: tuple[float, ...]) -> str:
    entry = {name: value for name, value in zip(COLUMNS, record, strict=True) if not math.isnan(value)}
    return json.dumps({"epoch": epoch, **entry}) + "\n"


def _write(name: str, value: Any) -> str:
    if name == "learning_rate":
        return f"{value:.3g}"
    return f"{value:#.4g}" if 1e-4 <= abs(value) < 1e4 or value == 0 else f"{value:.3e}"


# Progress: a bar in a terminal or a notebook, drawn by rich where that is installed; a few plain lines elsewhere.

LINES = 10  #: about as many plain lines are written in a whole run


class Progress:
    """At most about `LINES` plain lines, evenly over the run; none where it is silent.

    A context that is told of every update and every epoch, counted from 0.
    """

    def __init__(self, epochs: int, begun: int = 0, silent: bool = False, called: str = "epoch") -> None:
        """`begun` epochs are over already, of a run that is taken up; `called` is what an epoch is called."""
        self.epochs, self.begun, self.silent, self.called = epochs, begun, silent, called
        self.start = time.perf_counter()
        self.parts = max(1, LINES // epochs)  # lines per epoch
        self.told = 0  # of these parts, in this epoch
        self.stride = -(-epochs // LINES)  # epochs per line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, epoch: int, done: float, loss: float | None) -> None:
        """The share `done` of an epoch is over; `loss` is the mean so far in this epoch."""
        part = int(done * self.parts)
        if self.told < part < self.parts:
            self._line(epoch, done, loss, None)
        self.told = part % self.parts

    def epoch(self, epoch: int, loss: float | None, validation_loss: float | None) -> None:
        """An epoch is done."""
        if (epoch + 1) % self.stride == 0 or epoch + 1 == self.epochs:
            self._line(epoch, 1, loss, validation_loss)

    def _line(self, epoch: int, part: float, loss: float | None, validation_loss: float | None) -> None:
        left = (time.perf_counter() - self.start) * (self.epochs - epoch - part) / (epoch + part - self.begun)
        count = f"{epoch + 1:>{len(str(self.epochs))}}/{self.epochs}"
        percent = f" {part:4.0%}" if self.parts > 1 else ""
        told = [f"{self.called} {count}{percent}", _losses(loss, validation_loss), f"{_clock(left)} left"]
        self.note("  ".join(filter(None, told)))

    def note(self, text: str) -> None:
        """Something worth knowing."""
        if not self.silent:
            with suppress(OSError, ValueError):  # nobody reads any more, which is no end of a run
                print(text, file=sys.stderr, flush=True)


class _Bar(Progress):
    """A bar with the losses and the time left, drawn by rich."""

    def __init__(self, epochs: int, console: Any, called: str = "epoch") -> None:
        from rich import progress

        super().__init__(epochs)
        first, losses = f"{called} {{task.fields[epoch]}}/{epochs}", "{task.fields[losses]}"
        left = (progress.TimeRemainingColumn(compact=True), "left")
        columns = (first, progress.BarColumn(), progress.TaskProgressColumn(), losses, *left)
        self.bar = progress.Progress(*columns, console=console, redirect_stdout=False, redirect_stderr=False)
        self.task = self.bar.add_task("", total=epochs, epoch=1, losses="")
        self.validation_loss: float | None = None

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def update(self, epoch: int, done: float, loss: float | None) -> None:
        self.bar.update(self.task, completed=epoch + done, epoch=epoch + 1, losses=_losses(loss, self.validation_loss))

    def epoch(self, epoch: int, loss: float | None, validation_loss: float | None) -> None:
        self.validation_loss = validation_loss
        self.bar.update(self.task, losses=_losses(loss, validation_loss))

    def note(self, text: str) -> None:
        self.bar.console.print(text, markup=False, highlight=False)


def reporter(show: bool, epochs: int, begun: int, called: str = "epoch") -> Progress:
    """What fits where the output goes: a bar, plain lines, or nothing where `show` is false."""
    if show and sys.stderr is not None and find_spec("rich") is not None:
        from rich.console import Console

        shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
        if type(shell).__name__ == "ZMQInteractiveShell" and find_spec("ipywidgets") is not None:
            return _Bar(epochs, Console(), called)  # in a notebook that can redraw it
        if sys.stderr.isatty():
            return _Bar(epochs, Console(stderr=True), called)
    return Progress(epochs, begun, not show or sys.stderr is None, called)


def _losses(loss: float | None, validation_loss: float | None) -> str:
    text = "" if loss is None else f"loss {loss:#.4g}"
    return text if validation_loss is None else f"{text}  validation {validation_loss:#.4g}"


def _clock(seconds: float) -> str:
    """Seconds as 4 s, 1:05 or 2:00:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"
