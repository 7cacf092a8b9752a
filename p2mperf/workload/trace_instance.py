"""An instance of tracefs, ready to record: its events, its switches and what its ring buffers counted."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from p2mperf.errors import BadInputError, P2mperfError
from p2mperf.units import KIB, MIB, format_size
from p2mperf.workload.events import EVENTS, Event

CLOCK = "mono"
BUFFER_BYTES = 16 * MIB
_LEAST_BUFFER_BYTES, _MOST_BUFFER_BYTES = 64 * KIB, 1 << 32
# Without these nothing can be said of who asked for which page; a kernel that lacks others is told of.
REQUIRED = (
    Event.FAULT_USER,
    Event.FAULT_KERNEL,
    Event.ALLOC,
    Event.NEW_TASK,
    Event.EXEC,
    Event.EXIT,
    Event.SWITCH,
)


class NoTracingError(P2mperfError):
    """Events cannot be recorded here; the message says why."""


@dataclass(frozen=True)
class CpuStats:
    """What the kernel counted on one CPU's ring buffer, as its ``stats`` file tells.

    Attributes
    ----------
    n_read, n_waiting : int
        Events that were read, and that still are to be.
    n_overrun, n_dropped, n_commit_overrun : int
        Events that were written over before they were read, never written, or written by an interrupt into
        a buffer that was full.
    """

    n_read: int
    n_waiting: int
    n_overrun: int
    n_dropped: int
    n_commit_overrun: int

    @property
    def n_lost(self) -> int:
        """Events that nobody will read."""
        return self.n_overrun + self.n_dropped + self.n_commit_overrun


@dataclass(frozen=True)
class Instance:
    """An instance of tracefs: ring buffers and switches of its own.

    Attributes
    ----------
    path : Path
        Its directory.
    formats : dict of str to str
        Format file of each event that is enabled, by tracepoint.
    missing : tuple of str
        Tracepoints that this kernel lacks, those that only Xen has left out.
    header_page, header_event : str
        How sub-buffers and events begin, in the kernel's own words.
    """

    path: Path
    formats: dict[str, str]
    missing: tuple[str, ...]
    header_page: str
    header_event: str

    def cpus(self) -> list[int]:
        """CPUs that have a ring buffer, in order."""
        found = (re.fullmatch(r"cpu(\d{1,6})", each.name) for each in (self.path / "per_cpu").iterdir())
        return sorted(int(match[1]) for match in found if match)

    def open_pipe(self, cpu: int) -> int:
        """Open a CPU's ring buffer, from which sub-buffers are read as they are; reading never waits."""
        path = self.path / "per_cpu" / f"cpu{cpu}" / "trace_pipe_raw"
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def stats(self, cpu: int) -> CpuStats:
        """Tell what a CPU's ring buffer counted."""
        return parse_stats((self.path / "per_cpu" / f"cpu{cpu}" / "stats").read_text())

    def follow(self, pid: int) -> None:
        """Record what this thread does, and those that it makes, and no others."""
        _write(self.path / "set_event_pid", str(pid))

    def switch(self, on: bool) -> None:
        """Begin to record, or stop."""
        _write(self.path / "tracing_on", "1" if on else "0")


def parse_stats(text: str) -> CpuStats:
    r"""Read what tracefs tells of a CPU's ring buffer.

    Parameters
    ----------
    text : str
        ``per_cpu/cpuN/stats``.

    Returns
    -------
    CpuStats

    Raises
    ------
    BadInputError
        When a count is missing: a loss that is not seen would be worse.

    Examples
    --------
    >>> text = "entries: 2\noverrun: 1\ncommit overrun: 0\nbytes: 8\ndropped events: 0\nread events: 7\n"
    >>> parse_stats(text).n_read
    7
    """
    counts = {
        name: int(number) for name, number in re.findall(r"^([a-z ]+): (\d{1,20})$", text, re.MULTILINE)
    }
    try:
        return CpuStats(
            counts["read events"],
            counts["entries"],
            counts["overrun"],
            counts["dropped events"],
            counts["commit overrun"],
        )
    except KeyError as error:
        raise BadInputError(f"tracefs does not tell {error} of a CPU's ring buffer") from None


def check_buffer(buffer_bytes: int) -> int:
    """Take a size for the ring buffer of each CPU.

    Parameters
    ----------
    buffer_bytes : int
        For each CPU [bytes].

    Returns
    -------
    int
        The same, in whole KiB [bytes].

    Raises
    ------
    BadInputError
        When it is too small to lose nothing between two looks, or larger than any.
    """
    if not _LEAST_BUFFER_BYTES <= buffer_bytes <= _MOST_BUFFER_BYTES:
        raise BadInputError(
            f"a buffer of each CPU has from {format_size(_LEAST_BUFFER_BYTES)} to"
            f" {format_size(_MOST_BUFFER_BYTES)}, not {format_size(buffer_bytes)}"
        )
    return buffer_bytes // KIB * KIB


def prepare(path: Path, root: Path, buffer_bytes: int, needed: Sequence[Event]) -> Instance:
    """Set up an instance that was just made; it does not record yet.

    Parameters
    ----------
    path : Path
        Of the instance.
    root : Path
        Of tracefs.
    buffer_bytes : int
        Ring buffer of each CPU [bytes].
    needed : sequence of Event
        Events without which nothing is recorded.

    Returns
    -------
    Instance

    Raises
    ------
    NoTracingError
        When the kernel lacks what is needed.
    """
    instance = _described(path, root, needed)
    _write(path / "tracing_on", "0")
    _require_clock(path)
    _write(path / "options" / "event-fork", "1")
    for name, value in (("record-cmd", "0"), ("record-tgid", "0"), ("overwrite", "1")):
        if (path / "options" / name).exists():
            _write(path / "options" / name, value)
    _write(path / "trace_clock", CLOCK)
    _write(path / "buffer_size_kb", str(buffer_bytes // KIB))
    for tracepoint in instance.formats:
        _write(path / "events" / tracepoint / "enable", "1")
    return instance


def _described(path: Path, root: Path, needed: Sequence[Event]) -> Instance:
    formats: dict[str, str] = {}
    missing: list[str] = []
    for event, recorded in EVENTS.items():
        try:
            formats[recorded.tracepoint] = (path / "events" / recorded.tracepoint / "format").read_text()
        except FileNotFoundError:
            if event in needed:
                raise NoTracingError(
                    f"this kernel has no event {recorded.tracepoint}, without which nothing can be replayed"
                ) from None
            if not recorded.xen:
                missing.append(recorded.tracepoint)
    for name in ("options/event-fork", "set_event_pid"):
        if not (path / name).exists():
            raise NoTracingError(f"tracefs of this kernel has no {name}: p2mperf needs Linux 4.7 or later")
    headers = [(root / "events" / name).read_text() for name in ("header_page", "header_event")]
    return Instance(path, formats, tuple(missing), *headers)


def _require_clock(path: Path) -> None:
    clocks = (path / "trace_clock").read_text().replace("[", " ").replace("]", " ").split()
    if CLOCK not in clocks:
        raise NoTracingError(f"tracefs of this kernel has no clock {CLOCK}, only {', '.join(clocks)}")


def _write(path: Path, value: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from error
    finally:
        os.close(descriptor)
