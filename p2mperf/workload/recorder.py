"""Records what a command asks of memory: events as the kernel writes them, none of them lost."""

from __future__ import annotations

import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event as Flag, Thread

from p2mperf.errors import BadInputError, DoesNotFitError, P2mperfError, cut
from p2mperf.host.card import machine_card
from p2mperf.interrupts import interrupts_held
from p2mperf.units import MIB, format_size
from p2mperf.workload.raw_trace import (
    PROGRESS_FILE,
    RawCpu,
    RawTrace,
    read_progress,
    write_progress,
    write_raw_trace,
)
from p2mperf.workload.running import Running, require_command
from p2mperf.workload.trace_instance import BUFFER_BYTES, CLOCK, Instance, check_buffer
from p2mperf.workload.tracefs import PLACES, own_instance

_READ_BYTES = 1 * MIB
_IDLE_BYTES = 256 << 10
_POLL_S = 0.02
# Below this nothing more is recorded: what is left is the command's, and its user's.
_SPARE_DISK_BYTES = 512 * MIB
_LOOK_S = 1.0
# An event has its time before it can be read: what is read now may lack one that an instant ago began.
_SETTLED_NS = 10_000_000


@dataclass(frozen=True)
class Look:
    """How far a recording is.

    Attributes
    ----------
    elapsed_s : float
        Since the command began [s].
    n_events : int
        Events that were read.
    n_bytes : int
        Bytes that were written [bytes].
    """

    elapsed_s: float
    n_events: int
    n_bytes: int


@dataclass(frozen=True)
class RawRun:
    """A raw trace, and what else became of it.

    Attributes
    ----------
    raw : RawTrace
        As it was written.
    is_interrupted : bool
        Whether Ctrl-C ended the command.
    stopped : str
        Why recording ended before the command did; ``""`` where it did not.
    """

    raw: RawTrace
    is_interrupted: bool
    stopped: str


class _CpuReader(Thread):
    """Reads one CPU's ring buffer into a file until it is told to stop, and then what is left."""

    def __init__(
        self, instance: Instance, cpu: int, directory: Path, subbuffer_bytes: int, progress: int
    ) -> None:
        super().__init__(name=f"p2mperf-cpu{cpu}", daemon=True)
        self.cpu = cpu
        self.n_bytes = 0
        self.error: OSError | None = None
        self._last = Flag()
        self._progress = progress
        buffer = memoryview(bytearray(_READ_BYTES))
        # The kernel gives one sub-buffer to each part that it is handed.
        n_parts = max(1, min(_READ_BYTES // subbuffer_bytes, os.sysconf("SC_IOV_MAX")))
        self._parts = [buffer[k * subbuffer_bytes : (k + 1) * subbuffer_bytes] for k in range(n_parts)]
        self._buffer = buffer
        self._full_bytes = n_parts * subbuffer_bytes
        self._pipe = instance.open_pipe(cpu)
        self._file = os.open(
            directory / f"cpu{cpu}.raw", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600
        )

    def run(self) -> None:
        try:
            while True:
                is_last = self._last.is_set()
                n_bytes = self._take()
                if is_last and n_bytes == 0:
                    return
                if n_bytes < _IDLE_BYTES and not is_last:
                    self._last.wait(_POLL_S)
        except OSError as error:
            self.error = error

    def finish(self) -> None:
        """Read what is left, recording having been switched off, and end."""
        self._last.set()
        self.join()

    def close(self) -> None:
        self._last.set()
        if self.is_alive():
            self.join()
        os.close(self._pipe)
        os.close(self._file)

    def _take(self) -> int:
        began_ns = time.monotonic_ns()
        try:
            n_bytes = os.readv(self._pipe, self._parts)
        except BlockingIOError:
            n_bytes = 0
        written = 0
        while written < n_bytes:
            written += os.write(self._file, self._buffer[written:n_bytes])
        self.n_bytes += n_bytes
        if n_bytes < self._full_bytes:  # it had been emptied, so that all before is in the file
            write_progress(self._progress, self.cpu, self.n_bytes, began_ns - _SETTLED_NS)
        return n_bytes


def record_raw(
    command: Sequence[str],
    directory: Path,
    *,
    buffer_bytes: int = BUFFER_BYTES,
    tell: Callable[[Look], None] = lambda look: None,
    stdout: int = 1,
    places: Sequence[str] = PLACES,
) -> RawRun:
    """Run a command and record it.

    Parameters
    ----------
    command : sequence of str
        Program and arguments.
    directory : Path
        Where the raw trace goes; it must not be there, or be empty.
    buffer_bytes : int
        Ring buffer of each CPU [bytes].
    tell : callable
        Told every second how far it is.
    stdout : int
        Descriptor that the command has as its standard output.
    places : sequence of str
        Where tracefs may be.

    Returns
    -------
    RawRun

    Raises
    ------
    BadInputError
        When there is no such program, or the directory cannot be used.
    NoTracingError
        When events cannot be recorded here.
    DoesNotFitError
        When memory or disk do not suffice.

    Notes
    -----
    The kernel writes over what is not read in time: only then it counts what it lost, and marks where.
    Linux kernel/trace/ring_buffer.c (6.1).
    """
    require_command(command)
    buffer_bytes = check_buffer(buffer_bytes)
    make_raw_directory(directory)
    _require_disk(directory)
    with interrupts_held(), own_instance(buffer_bytes, places) as instance, ExitStack() as stack:
        return _record(command, directory, instance, stack, tell, stdout)


def _record(
    command: Sequence[str],
    directory: Path,
    instance: Instance,
    stack: ExitStack,
    tell: Callable[[Look], None],
    stdout: int,
) -> RawRun:
    cpus = instance.cpus()
    progress = os.open(directory / PROGRESS_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    stack.callback(os.close, progress)
    subbuffer_bytes = subbuffer_size(instance.header_page)
    readers = []
    for cpu in cpus:
        reader = _CpuReader(instance, cpu, directory, subbuffer_bytes, progress)
        stack.callback(reader.close)
        readers.append(reader)
    running = Running(command, stdout)
    stack.callback(instance.switch, False)  # before the readers are closed, which end when nothing comes
    stack.callback(running.give_up)
    raw = _about(command, directory, instance, tuple(cpus), running.pid)
    write_raw_trace(raw)
    instance.follow(running.pid)
    for reader in readers:
        reader.start()
    instance.switch(True)
    running.go()
    try:
        return _followed(raw, instance, running, readers, tell)
    except OSError as error:
        # No refusal to record: the command has run, and must not be run again for its counts.
        place = f" of {cut(str(error.filename))}" if error.filename else ""
        raise P2mperfError(f"recording broke off while the command ran: {error.strerror}{place}") from error


def _followed(
    raw: RawTrace,
    instance: Instance,
    running: Running,
    readers: Sequence[_CpuReader],
    tell: Callable[[Look], None],
) -> RawRun:
    """See a command that was let go to its end, and what is left in the buffers to the files."""
    watch = _Watch(instance, readers, raw.directory, tell)
    usage = running.wait(watch.look, _LOOK_S)
    instance.switch(False)
    for reader in readers:
        reader.finish()
    watch.check()
    raw = replace(
        raw,
        finished=True,
        usage=usage,
        cpus={cpu: _counted(instance, cpu) for cpu in raw.cpu_numbers},
        complete_until_ns=watch.complete_until_ns,
    )
    write_raw_trace(raw)
    return RawRun(raw, running.is_interrupted, watch.stopped)


class _Watch:
    """Looks after a recording while it goes on, and ends it where it cannot."""

    def __init__(
        self, instance: Instance, readers: Sequence[_CpuReader], directory: Path, tell: Callable[[Look], None]
    ) -> None:
        self.stopped = ""
        self.complete_until_ns = -1
        self._instance = instance
        self._readers = readers
        self._directory = directory
        self._tell = tell

    def look(self, elapsed_s: float) -> None:
        self.check()
        if not self.stopped and shutil.disk_usage(self._directory).free < _SPARE_DISK_BYTES:
            self._stop(f"the disk has less than {format_size(_SPARE_DISK_BYTES)} left", time.monotonic_ns())
        n_events = sum(self._instance.stats(reader.cpu).n_read for reader in self._readers)
        self._tell(Look(elapsed_s, n_events, sum(reader.n_bytes for reader in self._readers)))

    def check(self) -> None:
        """Notice a reader that could not go on."""
        failed = next((reader for reader in self._readers if reader.error), None)
        if failed is not None and not self.stopped:
            assert failed.error is not None
            until_ns = min(read_progress(self._directory, reader.cpu)[1] for reader in self._readers)
            self._stop(f"CPU {failed.cpu} could not be read or written on: {failed.error.strerror}", until_ns)

    def _stop(self, why: str, until_ns: int) -> None:
        self._instance.switch(False)
        self.stopped = why
        self.complete_until_ns = until_ns


def subbuffer_size(header_page: str) -> int:
    r"""Size of a sub-buffer, as the kernel describes it.

    Parameters
    ----------
    header_page : str
        ``events/header_page`` of tracefs.

    Returns
    -------
    int
        Size [bytes].

    Raises
    ------
    BadInputError
        When it does not tell.

    Examples
    --------
    >>> subbuffer_size("\tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;\n")
    4096
    """
    found = re.search(r"\bdata;\s*offset:(\d{1,9});\s*size:(\d{1,9});", header_page)
    if not found or not int(found[2]):
        raise BadInputError(
            f"tracefs does not tell the size of a sub-buffer: {cut(header_page) or 'nothing'}"
        )
    return int(found[1]) + int(found[2])


def _about(
    command: Sequence[str], directory: Path, instance: Instance, cpus: tuple[int, ...], pid: int
) -> RawTrace:
    machine = os.uname()
    return RawTrace(
        directory=directory,
        tool=os.path.basename(command[0]),
        kernel_release=machine.release,
        architecture=platform.machine(),
        page_bytes=os.sysconf("SC_PAGE_SIZE"),
        clock=CLOCK,
        header_page=instance.header_page,
        header_event=instance.header_event,
        formats=instance.formats,
        missing=instance.missing,
        cpu_numbers=cpus,
        root_pid=pid,
        machine=machine_card(),
    )


def _counted(instance: Instance, cpu: int) -> RawCpu:
    stats = instance.stats(cpu)
    return RawCpu(stats.n_read, stats.n_overrun, stats.n_dropped, stats.n_commit_overrun)


def make_raw_directory(directory: Path) -> None:
    """Make the directory of a raw trace, or take one that is empty.

    Parameters
    ----------
    directory : Path
        Its path.

    Raises
    ------
    BadInputError
        When something is in it, or it cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise BadInputError(f"{cut(str(directory))} is not empty: name a directory that is new")
    except OSError as error:
        raise BadInputError(f"cannot write a raw trace to {cut(str(directory))}: {error.strerror}") from error


def _require_disk(directory: Path) -> None:
    if (free := shutil.disk_usage(directory).free) < 2 * _SPARE_DISK_BYTES:
        raise DoesNotFitError(
            f"{cut(str(directory))} has {format_size(free)} left, and a recording begins with"
            f" {format_size(2 * _SPARE_DISK_BYTES)} at least: make room, or name a directory elsewhere"
        )
