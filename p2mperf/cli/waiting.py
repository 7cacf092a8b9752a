"""Long silent work of a command: it is told that it goes on, and Ctrl-C ends it."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import suppress
from threading import Event, Thread, current_thread, main_thread
from types import TracebackType

from p2mperf.progress import say

# What ends before, nobody has to be told of: at a terminal, and in a log.
_TERMINAL_SECONDS, _LOG_SECONDS = 2.0, 10.0
_GRACE_SECONDS = 1.0  # how long compiled code may go on after Ctrl-C: Python hears of it only at its end


class Waiting:
    """Tells on stderr that work goes on: a line that is rewritten on a terminal, now and then one elsewhere.

    Parameters
    ----------
    what : str
        What is being done.
    quiet : bool
        Tell nothing.

    Notes
    -----
    A context manager for what leaves nothing behind but its own memory: when compiled code does not let
    Ctrl-C through in time, the process ends at once, with code 130.
    """

    def __init__(self, what: str, quiet: bool = False) -> None:
        self._what = what
        self._quiet = quiet
        self._over = Event()
        self._start = time.monotonic()
        self._thread = Thread(target=self._watch, daemon=True)
        self._ends = (-1, -1)
        self._open = False

    def __enter__(self) -> Waiting:
        # Without a descriptor left it is silent; what needs one says better what is wrong.
        with suppress(OSError):
            self._begin()
        return self

    def _begin(self) -> None:
        if current_thread() is main_thread():
            self._ends = os.pipe()
            os.set_blocking(self._ends[1], False)
            signal.set_wakeup_fd(self._ends[1], warn_on_full_buffer=False)
            self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._thread.is_alive():
            return
        signal.set_wakeup_fd(-1)
        self._over.set()
        os.write(self._ends[1], b"\0")
        self._thread.join()
        for end in self._ends:
            os.close(end)
        if self._open:
            sys.stderr.write("\r\x1b[K")

    def _watch(self) -> None:
        """Tell of the time that passes; end the process when it is interrupted and does not end itself."""
        terminal = sys.stderr.isatty()
        pause = _TERMINAL_SECONDS if terminal else _LOG_SECONDS
        while not self._over.is_set():
            if select.select([self._ends[0]], [], [], pause)[0]:
                if signal.SIGINT in os.read(self._ends[0], 64) and not self._over.wait(_GRACE_SECONDS):
                    self._end()
                continue
            self._tell(terminal)
            pause = 1.0 if terminal else _LOG_SECONDS

    def _tell(self, terminal: bool) -> None:
        if self._quiet:
            return
        sentence = f"{self._what}: {time.monotonic() - self._start:.0f} s"
        if terminal:
            sys.stderr.write(f"\r\x1b[Kp2mperf: {sentence}")
            self._open = True
        else:
            say(sentence)

    def _end(self) -> None:
        sys.stderr.write(f"{chr(10) if self._open else ''}p2mperf: interrupted\n")
        os._exit(130)
