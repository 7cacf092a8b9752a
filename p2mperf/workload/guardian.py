"""A process that puts tracing back when the recorder that started it is killed.

The recorder runs this file by its path, in a session of its own, so that neither Ctrl-C nor a signal to the
recorder's process group takes it along. It imports nothing of p2mperf: it has to be there before the first
change is made, and to outlive everything.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
import time
from contextlib import suppress

RELEASED = b"done"
_TRIES_S = 10.0
_PAUSE_S = 0.02
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def remove_instance(path: str, seconds: float = _TRIES_S) -> bool:
    """Stop an instance of tracefs and remove it, which works once nobody has a file of it open.

    Parameters
    ----------
    path : str
        Its directory.
    seconds : float
        How long to try [s].

    Returns
    -------
    bool
        Whether it is gone.
    """
    end = time.monotonic() + seconds
    while os.path.isdir(path):
        for name, value in (("tracing_on", "0"), ("events/enable", "0")):
            with suppress(OSError):
                descriptor = os.open(os.path.join(path, name), os.O_WRONLY)
                try:
                    os.write(descriptor, value.encode())
                finally:
                    os.close(descriptor)
        with suppress(OSError):
            os.rmdir(path)
            return True
        if time.monotonic() > end:
            return False
        time.sleep(_PAUSE_S)
    return True


def unmount(path: str) -> bool:
    """Unmount what is mounted at a path, if anything is; False where somebody uses it."""
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.umount2(os.fsencode(path), 0) == 0 or ctypes.get_errno() == errno.EINVAL


def put_back(instance: str, mounted_at: str, seconds: float = _TRIES_S) -> bool:
    """Remove an instance, and unmount tracefs where it was mounted for it.

    Parameters
    ----------
    instance : str
        Its directory.
    mounted_at : str
        Where tracefs was mounted, ``""`` where it had been there.
    seconds : float
        How long to try [s].

    Returns
    -------
    bool
        Whether all is as it was.
    """
    is_gone = remove_instance(instance, seconds)
    return is_gone and (not mounted_at or unmount(mounted_at))


def main(arguments: list[str]) -> int:
    """Wait until the recorder says that it has put everything back, or is no more."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    os.write(1, b"ready\n")
    said = b""
    while word := os.read(0, 64):
        said += word
    if said.startswith(RELEASED):
        return 0
    return int(not put_back(arguments[0], arguments[1]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
