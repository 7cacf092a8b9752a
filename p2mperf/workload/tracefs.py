"""The kernel's tracefs: where it is, which events it has, and an instance of one's own in it."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from p2mperf.host.memory import require_memory
from p2mperf.progress import say
from p2mperf.units import format_size
from p2mperf.workload import guardian
from p2mperf.workload.events import Event
from p2mperf.workload.trace_instance import BUFFER_BYTES, REQUIRED, Instance, NoTracingError, prepare

PLACES = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
# Of the machine's own processes (Linux include/linux/proc_ns.h, PROC_PID_INIT_INO).
_FIRST_PID_NAMESPACE = 0xEFFFFFFC
_NO_GUARDIAN = "the process that puts tracing back after a kill does not start"
_NUMBERS = count()  # a process may have several instances


def find_tracefs(places: Sequence[str] = PLACES) -> Path | None:
    """Tell where tracefs is mounted.

    Parameters
    ----------
    places : sequence of str
        Where to look.

    Returns
    -------
    Path or None
        None where it is nowhere.

    Raises
    ------
    NoTracingError
        When it is there and this process must not use it.
    """
    for place in map(Path, places):
        try:
            if (place / "instances").is_dir() and (place / "events").is_dir():
                if os.access(place / "instances", os.W_OK | os.X_OK):
                    return place
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except PermissionError:
            raise NoTracingError(f"tracefs at {place} is for root only: run this as root") from None
    return None


def require_machine_pids() -> None:
    """Refuse a container with pids of its own: tracefs knows only the machine's.

    Raises
    ------
    NoTracingError
        When this process is in one.
    """
    with suppress(OSError):
        if os.stat("/proc/self/ns/pid").st_ino != _FIRST_PID_NAMESPACE:
            raise NoTracingError(
                "this container has pids of its own, and tracing goes by the machine's: record outside of it"
            )


@contextmanager
def own_instance(
    buffer_bytes: int = BUFFER_BYTES, places: Sequence[str] = PLACES, needed: Sequence[Event] = REQUIRED
) -> Iterator[Instance]:
    """Make an instance with all events that are recorded enabled, and remove it, whatever happens.

    It does not record yet. A process of its own watches over this one, and puts everything back when this one
    is killed. What earlier recorders have left behind is removed before.

    Parameters
    ----------
    buffer_bytes : int
        Ring buffer of each CPU [bytes].
    places : sequence of str
        Where tracefs may be; it is mounted at the first when it is at none.
    needed : sequence of Event
        Events without which nothing is recorded.

    Yields
    ------
    Instance

    Raises
    ------
    NoTracingError
        When there is no tracefs, this process must not use it, or it lacks what is needed.
    DoesNotFitError
        When memory does not suffice for the buffers.
    """
    require_machine_pids()
    found = find_tracefs(places)
    mounted_at = "" if found else _mountable(places[0])
    root = found or Path(mounted_at)
    path = root / "instances" / own_name()
    with _guarded(path, mounted_at):
        if mounted_at:
            _mount(mounted_at)
        remove_left_over(root)
        _require_room(buffer_bytes)
        try:
            path.mkdir()
            yield prepare(path, root, buffer_bytes, needed)
        except OSError as error:
            # What the user of the instance does is no business of tracefs.
            if not str(getattr(error, "filename", "") or "").startswith(str(root)):
                raise
            raise NoTracingError(f"tracefs refuses {error.filename}: {error.strerror}") from error


def own_name(pid: int | None = None) -> str:
    """Name an instance so that another recorder can tell whether this process, and no later one, lives."""
    pid = os.getpid() if pid is None else pid
    return f"p2mperf-{os.stat('/proc/self/ns/pid').st_ino}-{pid}-{_start_of(pid)}-{next(_NUMBERS)}"


def remove_left_over(root: Path) -> list[str]:
    """Remove instances of recorders that are no more.

    Parameters
    ----------
    root : Path
        Of tracefs.

    Returns
    -------
    list of str
        Names of those that were removed.
    """
    ours = os.stat("/proc/self/ns/pid").st_ino
    removed = []
    for path in (root / "instances").glob(f"p2mperf-{ours}-*"):
        name = re.fullmatch(rf"p2mperf-{ours}-(\d{{1,10}})-(\d{{1,20}})-\d{{1,20}}", path.name)
        if name and _start_of(int(name[1])) != int(name[2]) and guardian.remove_instance(str(path), 1.0):
            removed.append(path.name)
    return removed


def _start_of(pid: int) -> int:
    """When a process began, in ticks since the boot; 0 for none."""
    try:
        # The name of the program, in parentheses, may hold anything.
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0


def _mountable(place: str) -> str:
    if not os.path.isdir(place):
        raise NoTracingError(f"this kernel has no tracing: there is no {place}")
    if os.geteuid() != 0:
        raise NoTracingError(f"tracefs is not mounted at {place}, and only root can: run this as root")
    return place


def _mount(place: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tracefs", os.fsencode(place), b"tracefs", 0, None) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise NoTracingError(f"tracefs cannot be mounted at {place}: {reason}")


@contextmanager
def _guarded(instance: Path, mounted_at: str) -> Iterator[None]:
    """Have a process of its own put things back when this one is killed, and do it here otherwise."""
    try:
        watcher = subprocess.Popen(
            [sys.executable, "-ISE", guardian.__file__, str(instance), mounted_at],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise NoTracingError(f"{_NO_GUARDIAN}: {error.strerror}") from error
    assert watcher.stdin is not None
    assert watcher.stdout is not None
    if not watcher.stdout.readline():
        watcher.communicate()
        raise NoTracingError(_NO_GUARDIAN)
    is_back = False
    try:
        yield
    finally:
        try:
            is_back = guardian.put_back(str(instance), mounted_at)
        finally:
            with suppress(OSError):
                watcher.stdin.write(guardian.RELEASED if is_back else b"")
                watcher.stdin.close()
            watcher.stdout.close()
            if watcher.wait() != 0:  # it has tried for longer
                say(f"{instance} could not be removed, or tracefs not be unmounted: somebody uses it")


def _require_room(buffer_bytes: int) -> None:
    n_cpus = os.cpu_count() or 1
    what = f"a ring buffer of {format_size(buffer_bytes)} on each of {n_cpus} CPUs"
    require_memory(buffer_bytes * n_cpus, what, "take a smaller --buffer")
