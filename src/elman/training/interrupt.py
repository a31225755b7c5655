"""Ctrl-C, and whatever else a signal raises, kept from the moments in which weights are half written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self


class HeldInterrupt:
    """While the context is open, a first SIGINT is held until `release`; a second one acts at once.

    Both raise `KeyboardInterrupt`. While `holding` is true nothing acts: neither these nor the handlers that a program
    has set for other signals, or for SIGINT itself; they are called when `act` ends that time. It begins by an
    assignment, because Python may call a handler wherever a function begins. The context opens in such a time, and
    should be left in one, so that no handler stops it from putting all handlers back. A handler that raises begins one
    too: what is put in order afterwards is not stopped in its turn. Outside the main thread, where Python calls no
    handlers, nothing is changed.
    """

    def __init__(self) -> None:
        self.holding = True
        self.whole = _Whole(self)  #: a context in which no signal acts; those that came are answered at its end
        self._asked = False
        self._waiting: list[tuple[int, FrameType | None]] = []
        self._before: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            try:
                for number in signal.valid_signals():
                    handler = signal.getsignal(number)
                    if callable(handler):  # one in Python: not the system's, not "ignored"
                        self._before[number] = handler
                        signal.signal(number, self._on_signal)
            except BaseException:  # of a handler that was not replaced yet
                self._put_back(list(self._before.items()))
                raise
        return self

    def _put_back(self, handlers: list[tuple[int, Any]]) -> None:
        for i, (number, handler) in enumerate(handlers):
            try:
                if signal.getsignal(number) == self._on_signal:  # else the program has set another meanwhile
                    signal.signal(number, handler)
            except BaseException:  # of a handler that is in its place again
                self._put_back(handlers[i:])
                raise

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.holding:
            self._waiting.append((number, frame))
            return
        try:
            if self._before[number] is not signal.default_int_handler:
                self._before[number](number, frame)
            elif self._asked:
                raise KeyboardInterrupt
            else:
                self._asked = True
        except BaseException:
            self.holding = True
            raise

    def act(self) -> None:
        """Lets signals act, those first that wait."""
        self.holding = False
        waiting, self._waiting = self._waiting, []
        for number, frame in waiting:
            self._on_signal(number, frame)

    def release(self) -> None:
        """Raises `KeyboardInterrupt` where one is held."""
        if self._asked:
            raise KeyboardInterrupt

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.holding = True
        self._put_back(list(self._before.items()))
        self.act()
        if kind is None:
            self.release()


class _Whole:
    """The context of `HeldInterrupt.whole`, entered for every update: quicker than a generator."""

    def __init__(self, held: HeldInterrupt) -> None:
        self.held = held

    def __enter__(self) -> None:
        self.held.holding = True

    def __exit__(self, *_: object) -> None:
        self.held.act()
