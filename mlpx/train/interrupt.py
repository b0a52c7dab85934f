"""Ctrl-C in training: acted upon between two steps, so that the state is always that of a full step."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupt:
    """While entered, the first SIGINT or SIGTERM is kept until `act`; a second one acts at once. In a thread it does nothing.

    Attributes
    ----------
    between_steps : bool
        Whether what ended training was acted upon between two steps.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.between_steps = True
        self._old: dict[int, Any] = {}
        self._caught: int | None = None

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._old = {number: signal.signal(number, self._catch) for number in self.SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._old.items():
            if handler is not None:  # None: it was not set from Python, and cannot be put back from here
                signal.signal(number, handler)
        if kind is None:
            self.act()

    def act(self) -> None:
        """Raise KeyboardInterrupt, or SystemExit(143) for SIGTERM, if a signal came since the last step."""
        if self._caught == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        if self._caught is not None:
            raise KeyboardInterrupt

    def _catch(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._caught is not None:
            self.between_steps = False
            self.act()
        self._caught = number
