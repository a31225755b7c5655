"""How a run is going, on stderr: a bar in a terminal or a notebook, a few plain lines elsewhere.

The bar is drawn by rich, where it is installed; nothing of it is imported before a run that shows it.
"""

from __future__ import annotations

import contextlib
import sys
import time
from importlib.util import find_spec
from typing import Any, Self

LINES = 10  #: about as many plain lines are written in a whole run


class Progress:
    """At most about `LINES` plain lines, evenly over the run; none where it is silent.

    A context that is told of every update and every epoch, counted from 0.
    """

    def __init__(self, epochs: int, begun: int = 0, silent: bool = False) -> None:
        """`begun` epochs are over already, of a run that is taken up."""
        self.epochs, self.begun, self.silent = epochs, begun, silent
        self.start = time.perf_counter()
        self.parts = max(1, LINES // epochs)  # lines per epoch
        self.told = 0  # of these parts, in this epoch
        self.stride = -(-epochs // LINES)  # epochs per line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, epoch: int, done: float, loss: float) -> None:
        """The share `done` of an epoch is over; `loss` is the mean so far in this epoch."""
        part = int(done * self.parts)
        if self.told < part < self.parts:
            self._line(epoch, done, loss, None)
        self.told = part % self.parts

    def epoch(self, epoch: int, loss: float, validation_loss: float | None) -> None:
        """An epoch is done."""
        if (epoch + 1) % self.stride == 0 or epoch + 1 == self.epochs:
            self._line(epoch, 1, loss, validation_loss)

    def _line(self, epoch: int, part: float, loss: float, validation_loss: float | None) -> None:
        left = (time.perf_counter() - self.start) * (self.epochs - epoch - part) / (epoch + part - self.begun)
        count = f"{epoch + 1:>{len(str(self.epochs))}}/{self.epochs}"
        percent = f" {part:4.0%}" if self.parts > 1 else ""
        self.note(f"epoch {count}{percent}  {_losses(loss, validation_loss)}  {_clock(left)} left")

    def note(self, text: str) -> None:
        """Something worth knowing."""
        if not self.silent:
            with contextlib.suppress(OSError, ValueError):  # nobody reads any more, which is no end of a run
                print(text, file=sys.stderr, flush=True)


class _Bar(Progress):
    """A bar with the losses and the time left, drawn by rich."""

    def __init__(self, epochs: int, console: Any) -> None:
        from rich import progress

        super().__init__(epochs)
        self.bar = progress.Progress(
            progress.TextColumn("epoch {task.fields[epoch]}/" + str(epochs)),
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.TextColumn("{task.fields[losses]}"),
            progress.TimeRemainingColumn(compact=True),
            progress.TextColumn("left"),
            console=console,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.task = self.bar.add_task("", total=epochs, epoch=1, losses="")
        self.validation_loss: float | None = None

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def update(self, epoch: int, done: float, loss: float) -> None:
        self.bar.update(self.task, completed=epoch + done, epoch=epoch + 1, losses=_losses(loss, self.validation_loss))

    def epoch(self, epoch: int, loss: float, validation_loss: float | None) -> None:
        self.validation_loss = validation_loss
        self.bar.update(self.task, losses=_losses(loss, validation_loss))

    def note(self, text: str) -> None:
        self.bar.console.print(text, markup=False, highlight=False)


def reporter(show: bool, epochs: int, begun: int) -> Progress:
    """What fits where the output goes: a bar, plain lines, or nothing where `show` is false."""
    if show and sys.stderr is not None and find_spec("rich") is not None:
        from rich.console import Console

        shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
        if type(shell).__name__ == "ZMQInteractiveShell" and find_spec("ipywidgets") is not None:
            return _Bar(epochs, Console())  # in a notebook that can redraw it
        if sys.stderr.isatty():
            return _Bar(epochs, Console(stderr=True))
    return Progress(epochs, begun, silent=not show or sys.stderr is None)


def _losses(loss: float, validation_loss: float | None) -> str:
    text = f"loss {loss:#.4g}"
    return text if validation_loss is None else f"{text}  validation {validation_loss:#.4g}"


def _clock(seconds: float) -> str:
    """Seconds as 4 s, 1:05 or 2:00:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"
