"""Running a command that somebody watches: it waits to be let go, and what it took is told at its end."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Thread, current_thread, main_thread
from types import FrameType

from p2mperf.errors import BadInputError, P2mperfError, shown
from p2mperf.workload.recording import Usage

# A shell is a small process: Python's own address space would be copied, torn down and recorded as well.
_SHELL = "/bin/sh"
_GATE = 3
_LAUNCHER = 'read -r go <&3 && exec 3<&- && exec "$@"'
_RESTORED = (signal.SIGPIPE, signal.SIGXFSZ)  # Python ignores them, and a command would inherit that
_FORWARD_S = 1.0


class Running:
    """A command that has been started, and waits to be let go.

    Parameters
    ----------
    command : sequence of str
        Program and arguments.
    stdout : int
        Descriptor that it has as its standard output.

    Attributes
    ----------
    pid : int
        Its process, before and after it is let go.
    is_interrupted : bool
        Whether Ctrl-C came while it ran.
    """

    def __init__(self, command: Sequence[str], stdout: int = 1) -> None:
        require_command(command)
        gate, self._go = os.pipe()
        try:
            # Where the pipe is 3 already, dup2 to itself makes it one that exec keeps.
            self.pid = os.posix_spawn(
                _SHELL,
                [_SHELL, "-c", _LAUNCHER, _SHELL, *command],
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, gate, _GATE), (os.POSIX_SPAWN_DUP2, stdout, 1)],
                setsigdef=_RESTORED,
            )
        except OSError as error:
            os.close(self._go)
            raise P2mperfError(f"cannot start {_SHELL}: {error.strerror}") from error
        finally:
            os.close(gate)
        self.is_interrupted = False
        self._usage: Usage | None = None
        self._start = time.monotonic()
        self._over = Event()
        self._waiter = Thread(target=self._wait, daemon=True)
        self._waiter.start()

    def go(self) -> None:
        """Let it begin."""
        self._start = time.monotonic()
        with suppress(BrokenPipeError):  # it is no more, which its exit code will tell
            os.write(self._go, b"go\n")
        self._close_gate()

    def give_up(self) -> None:
        """Make sure that it runs no longer: one that was not let go has done nothing."""
        if not self._over.is_set():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self._close_gate()
        self._over.wait()

    def wait(self, look: Callable[[float], None] = lambda elapsed_s: None, every_s: float = 1.0) -> Usage:
        """Wait until it ends.

        Parameters
        ----------
        look : callable
            Called every `every_s` with the time since it was let go [s].
        every_s : float
            How often [s].

        Returns
        -------
        Usage
            Of it and of all that it waited for.

        Notes
        -----
        At a terminal Ctrl-C reaches the command too, which then decides. A second later it is sent to the
        command alone, in case that only this process got it; a second Ctrl-C kills it.
        """
        with self._interrupts():
            while not self._over.wait(every_s):
                look(time.monotonic() - self._start)
        assert self._usage is not None
        return self._usage

    def _wait(self) -> None:
        _, status, used = os.wait4(self.pid, 0)
        elapsed = time.monotonic() - self._start
        self._usage = Usage(
            elapsed_s=elapsed,
            user_s=used.ru_utime,
            system_s=used.ru_stime,
            n_minor_faults=used.ru_minflt,
            n_major_faults=used.ru_majflt,
            exit_code=os.waitstatus_to_exitcode(status),
        )
        self._over.set()

    @contextmanager
    def _interrupts(self) -> Iterator[None]:
        if current_thread() is not main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._on_interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.is_interrupted:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            return
        self.is_interrupted = True
        Thread(target=self._forward, daemon=True).start()

    def _forward(self) -> None:
        if not self._over.wait(_FORWARD_S):
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGINT)

    def _close_gate(self) -> None:
        if self._go >= 0:
            os.close(self._go)
            self._go = -1


def require_command(command: Sequence[str]) -> None:
    """Refuse a command that cannot be run, before anything is changed for it.

    Raises
    ------
    BadInputError
        When there is no such program.
    """
    is_list = isinstance(command, list | tuple) and len(command) > 0
    if not is_list or not all(isinstance(word, str) for word in command):
        raise BadInputError(f"a command is a list of words, as ['make', '-j2'], not {shown(command)}")
    for word in command:
        try:
            is_told = b"\0" not in os.fsencode(word)
        except UnicodeEncodeError:
            is_told = False
        if not is_told:
            raise BadInputError(
                f"no program can be told {shown(word)}: it has a NUL, or half of a character, in it"
            )
    if command[0].startswith("-") or shutil.which(command[0]) is None:
        raise BadInputError(f"there is no program {shown(command[0])} to run")
