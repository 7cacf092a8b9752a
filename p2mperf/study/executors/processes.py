"""Starting the process of a unit: as a fresh interpreter, or forked by a process that has imported all."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
from typing import IO, Protocol

from p2mperf.host.cache import cache_directory
from p2mperf.study.order import END_WITH, READY


class Process(Protocol):
    """A process that runs one task: see `p2mperf.study.unit`."""

    stdin: IO[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes]

    def wait(self) -> int:
        """Exit code, once it has ended; -N where signal N killed it."""

    def end(self) -> None:
        """See that it is gone, whatever it is doing, and close its streams."""


class _Interpreter:
    """A unit's process that was started as a fresh interpreter."""

    def __init__(self, seed: int) -> None:
        self._process = _run("p2mperf.study.unit", seed, subprocess.PIPE, subprocess.PIPE)
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr

    def wait(self) -> int:
        return self._process.wait()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self.stdout.close()
        self.stderr.close()


def start_interpreter(seed: int = 0) -> Process:
    """Start a fresh interpreter for one task.

    Parameters
    ----------
    seed : int
        Seed of the padding of its environment, which moves its stack (Mytkowicz et al., ASPLOS 2009).
    """
    return _Interpreter(seed)


class ForkServer:
    """The near end of a `p2mperf.study.fork_server`, which is started when the first unit is.

    Parameters
    ----------
    seed : int
        As `start_interpreter`; units of one seed have one padding.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._near, far = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with far:
            self._process = _run("p2mperf.study.fork_server", seed, far.fileno(), subprocess.DEVNULL)
        self._is_ready = False

    @property
    def has_ended(self) -> bool:
        """Whether it can fork no more."""
        return self._process.poll() is not None

    def start(self) -> Process:
        """Start the process of a unit: forked, or, where that cannot be, a fresh interpreter.

        That one then says in its own words what is wrong.
        """
        self._is_ready = self._is_ready or self._near.recv(len(READY)) == READY
        return _Forked(self) if self._is_ready and not self.has_ended else start_interpreter(self.seed)

    def fork(self, descriptors: list[int]) -> None:
        """Have a process with these as its stdin, stdout and stderr."""
        socket.send_fds(self._near, [b"1"], descriptors)

    def exit_code(self) -> int:
        """What became of it, once it has ended."""
        told = self._near.recv(16)
        if not told:  # the server was killed, and its unit with it
            self.end()
        return int(told or -signal.SIGKILL)

    def end(self) -> None:
        """See that it is gone; a unit that it has forked is killed with it."""
        self._process.kill()
        self._process.wait()
        self._near.close()


class _Forked:
    """A unit's process that a server has forked."""

    def __init__(self, server: ForkServer) -> None:
        self._server = server
        self._code: int | None = None
        (stdin, near_in), (near_out, stdout), (near_err, stderr) = os.pipe(), os.pipe(), os.pipe()
        try:
            server.fork([stdin, stdout, stderr])
        finally:
            for far in (stdin, stdout, stderr):
                os.close(far)
            self.stdin: IO[bytes] = os.fdopen(near_in, "wb")
            self.stdout: IO[bytes] = os.fdopen(near_out, "rb")
            self.stderr: IO[bytes] = os.fdopen(near_err, "rb")

    def wait(self) -> int:
        if self._code is None:
            self._code = self._server.exit_code()
        return self._code

    def end(self) -> None:
        if self._code is None:
            self._server.end()
            self._code = -signal.SIGKILL
            while os.read(self.stdout.fileno(), 1 << 16):  # it has this open as long as it lives
                pass
        self.stdin.close()
        self.stdout.close()
        self.stderr.close()


def _run(module: str, seed: int, stdin: int, others: int) -> subprocess.Popen[bytes]:
    """Start an interpreter that does not outlive this process."""
    cache_directory()  # where one has to be made for us, our children take the same
    padding = "x" * random.Random(seed).randrange(4096)
    return subprocess.Popen(
        [sys.executable, "-m", module, f"{END_WITH}{os.getpid()}"],
        stdin=stdin,
        stdout=others,
        stderr=others,
        # Nothing here is for BLAS, whose threads a fork would lose.
        env={**os.environ, "P2MPERF_PADDING": padding, "OPENBLAS_NUM_THREADS": "1"},
        start_new_session=True,  # Ctrl-C reaches the sweep alone, which then ends its child
    )
