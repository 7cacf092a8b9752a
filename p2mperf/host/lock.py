"""One sweep at a time on a machine: two at once would time each other, whatever directories they write to."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator

from p2mperf.errors import ResultsError

_NAME = "p2mperf.sweep"


@contextlib.contextmanager
def alone_on_this_machine() -> Iterator[None]:
    """Hold the lock of this machine, for all users, whatever their TMPDIR.

    Raises
    ------
    ResultsError
        When another sweep holds it.

    Notes
    -----
    The lock is a Unix socket bound to an abstract name. A file that all users can lock would stand in a
    directory that all can write to, where somebody may have put a link, a pipe or a file of theirs first, or
    where each service has a directory of its own (PrivateTmp); no directory of that kind is on every Linux.
    An abstract name cannot be planted or followed, and the kernel frees it when its holder dies, however it
    dies. It is one name for a network namespace: sweeps in containers see each other only where these
    share the host's network, as they would see a file only where they share its directory.

    Tests of ours, whose numbers nobody reads, take another name, from P2MPERF_LOCK: they would wait for a
    sweep, and each other.

    Whoever holds the name can keep others from measuring, as with any lock that all may take; the sentence
    says which process it is, where the kernel tells.
    """
    with contextlib.ExitStack() as held:
        try:
            lock = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            lock.bind(_address())
            lock.listen()  # makes the kernel tell those who connect who we are; nobody is ever answered
        except OSError as error:  # no place for a lock is no reason not to measure
            if error.errno == errno.EADDRINUSE:
                raise ResultsError(
                    f"another sweep{_holder()} is measuring on this machine, and the two would disturb each "
                    "other: wait for it"
                ) from None
        yield


def _address() -> str:
    # The zero byte makes it an abstract name, which is no file.
    return "\0" + os.environ.get("P2MPERF_LOCK", _NAME)


def _holder() -> str:
    """The process that holds the lock, as " (process N)", or "" where it does not show."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)  # the holder may let others queue up
        asking.connect(_address())
        peer = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        process, _, _ = struct.unpack("3i", peer)
        if process:
            return f" (process {process})"
    return ""
