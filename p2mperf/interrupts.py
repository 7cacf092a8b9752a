"""Ctrl-C that waits where it would be lost, or kill: inside the callbacks of LLVM, FreeType or Agg."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import Any


class _Held:
    """What came while somebody held it, and who would have been told."""

    def __init__(self) -> None:
        self._depth = 0
        self._handler: Any = None
        self._is_pending = False

    def hold(self) -> None:
        if current_thread() is not main_thread():
            return
        if self._depth == 0:
            self._handler = signal.getsignal(signal.SIGINT)
            if callable(self._handler):
                signal.signal(signal.SIGINT, self._note)
        self._depth += 1

    def release(self) -> None:
        if current_thread() is not main_thread():
            return
        self._depth -= 1
        if self._depth == 0 and callable(self._handler):
            signal.signal(signal.SIGINT, self._handler)
            if self._is_pending:
                self._is_pending = False
                self._handler(signal.SIGINT, None)

    def _note(self, number: int, frame: object) -> None:
        self._is_pending = True


_held = _Held()
hold, release = _held.hold, _held.release


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Let Ctrl-C wait until a piece of work is done, which is to be a short one.

    Examples
    --------
    >>> try:
    ...     with interrupts_held():
    ...         signal.raise_signal(signal.SIGINT)
    ...         print("done")
    ... except KeyboardInterrupt:
    ...     print("and interrupted")
    done
    and interrupted
    """
    hold()
    try:
        yield
    finally:
        release()
