"""Ctrl-C that waits until no update is half done."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class HeldInterrupt:
    """While the context is open, a first SIGINT is held until `release`; a second one acts at once.

    Both raise `KeyboardInterrupt`. The handler that stood before is put back at the end. Outside the main thread,
    where no handler can be set, and where SIGINT is ignored, nothing is changed.
    """

    def __init__(self) -> None:
        self._asked = False
        self._before: Any = None

    def __enter__(self) -> Self:
        before = signal.getsignal(signal.SIGINT)
        # None: a handler that Python did not set, and could not put back.
        if threading.current_thread() is threading.main_thread() and before not in (None, signal.SIG_IGN):
            self._before = before
            signal.signal(signal.SIGINT, self._hold)
        return self

    def _hold(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True

    def release(self) -> None:
        """Raises `KeyboardInterrupt` where one is held."""
        if self._asked:
            raise KeyboardInterrupt

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        if kind is None:
            self.release()
