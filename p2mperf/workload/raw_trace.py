"""A raw trace: a directory with each CPU's sub-buffers as the kernel gave them, and what is known of them."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from typing import get_type_hints

from p2mperf.errors import BadInputError, cut, shown
from p2mperf.workload.plain import from_plain
from p2mperf.workload.recording import Card, Usage

FORMAT = "p2mperf-raw"
VERSION = 1
ABOUT_FILE = "trace.json"
PROGRESS_FILE = "progress"
# Formats and a machine card are some 30 KiB.
_LONGEST_ABOUT = 16 << 20
_MOST_CPUS = 1 << 16
# Of each CPU, at its number: bytes of its file that are whole, and until when they are all there was.
_PROGRESS = struct.Struct("<qq")


@dataclass(frozen=True)
class RawCpu:
    """What the kernel counted on one CPU.

    Attributes
    ----------
    read : int
        Events that were read.
    overrun, dropped, commit_overrun : int
        Events that were written over, never written, or written by an interrupt into a full buffer.
    """

    read: int
    overrun: int
    dropped: int
    commit_overrun: int


@dataclass(frozen=True)
class RawTrace:
    """What was recorded of a command, undecoded.

    Attributes
    ----------
    directory : Path
        Where ``cpu0.raw``, ``cpu1.raw`` ... are: sub-buffers, one after the other.
    tool : str
        Name of the program, without its path and arguments.
    kernel_release, architecture : str
        Of the machine.
    page_bytes : int
        Of its memory [bytes].
    clock : str
        Clock of the stamps.
    header_page, header_event : str
        How sub-buffers and events begin, in the kernel's words.
    formats : dict of str to str
        Format file of each event that was enabled, by tracepoint.
    missing : tuple of str
        Tracepoints that the kernel lacks.
    cpu_numbers : tuple of int
        CPUs that were read.
    root_pid : int
        Thread that the command began as.
    finished : bool
        Whether the recorder came to its end.
    cpus : dict of int to RawCpu
        What each counted; empty where the recorder was killed.
    usage : Usage or None
        What the command took; None where the recorder was killed.
    complete_until_ns : int
        Where the recorder was killed, or had to stop: time of the clock up to which all events are
        there [ns]; else -1.
    machine : dict
        Machine card.
    made : str
        ``""`` for what a kernel has written; else how it was made.
    """

    directory: Path
    tool: str
    kernel_release: str
    architecture: str
    page_bytes: int
    clock: str
    header_page: str
    header_event: str
    formats: dict[str, str]
    missing: tuple[str, ...]
    cpu_numbers: tuple[int, ...]
    root_pid: int
    finished: bool = False
    cpus: dict[int, RawCpu] = field(default_factory=dict)
    usage: Usage | None = None
    complete_until_ns: int = -1
    machine: Card = field(default_factory=dict)
    made: str = ""

    @property
    def n_lost(self) -> int:
        """Events that the kernel counted as lost."""
        return sum(each.overrun + each.dropped + each.commit_overrun for each in self.cpus.values())

    @property
    def n_read(self) -> int:
        """Events that were read, as the kernel counted."""
        return sum(each.read for each in self.cpus.values())

    def path_of(self, cpu: int) -> Path:
        """File of a CPU's sub-buffers."""
        return self.directory / f"cpu{cpu}.raw"

    def whole_bytes(self, cpu: int) -> int:
        """How much of a CPU's file is whole sub-buffers that the recorder had finished writing [bytes].

        Raises
        ------
        BadInputError
            When the file is not there.
        """
        path = self.path_of(cpu)
        try:
            size = path.stat().st_size
        except OSError as error:
            raise BadInputError(f"cannot read {cut(str(path))}: {error.strerror}") from error
        if self.finished and self.complete_until_ns < 0:
            return size
        return min(size, read_progress(self.directory, cpu)[0])


def write_raw_trace(raw: RawTrace) -> None:
    """Write what is known of a raw trace beside its files, so that it is there whole or as it was before.

    Parameters
    ----------
    raw : RawTrace
        Its directory must be there.
    """
    plain = {"format": FORMAT, "version": VERSION, **asdict(replace(raw, directory=Path()))}
    del plain["directory"]
    path = raw.directory / ABOUT_FILE
    temporary = path.with_name(f".{ABOUT_FILE}.new")
    temporary.write_text(json.dumps(plain, indent=1))
    os.replace(temporary, path)


def write_progress(descriptor: int, cpu: int, n_bytes: int, until_ns: int) -> None:
    """Note how far the file of a CPU goes; the note outlives a kill of the process.

    Parameters
    ----------
    descriptor : int
        Of the file of progress.
    cpu : int
        Its number.
    n_bytes : int
        Bytes of its file that are written [bytes].
    until_ns : int
        Time of the clock up to which they are all that it recorded [ns].
    """
    os.pwrite(descriptor, _PROGRESS.pack(n_bytes, until_ns), cpu * _PROGRESS.size)


def read_progress(directory: Path, cpu: int) -> tuple[int, int]:
    """Read what `write_progress` noted; zeros where it never did.

    Parameters
    ----------
    directory : Path
        Of the raw trace.
    cpu : int
        Its number.

    Returns
    -------
    n_bytes, until_ns : int
        As `write_progress` takes them.
    """
    try:
        with open(directory / PROGRESS_FILE, "rb") as file:
            file.seek(cpu * _PROGRESS.size)
            noted = file.read(_PROGRESS.size)
    except OSError:
        return 0, 0
    n_bytes, until_ns = _PROGRESS.unpack(noted) if len(noted) == _PROGRESS.size else (0, 0)
    return max(0, n_bytes), max(0, until_ns)


def read_raw_trace(directory: str | Path) -> RawTrace:
    """Read what is known of a raw trace, and check it; the events are for `p2mperf.workload.decode`.

    Parameters
    ----------
    directory : str or Path
        As the recorder left it.

    Returns
    -------
    RawTrace
        Of a recorder that was killed, ``complete_until_ns`` says up to where all events are there.

    Raises
    ------
    BadInputError
        When it is none, of another version, or was killed before anything was recorded.
    """
    directory = Path(directory)
    path = directory / ABOUT_FILE
    try:
        with open(path, "rb") as file:
            text = file.read(_LONGEST_ABOUT + 1)
        plain = json.loads(text) if len(text) <= _LONGEST_ABOUT else None
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no JSON"
        raise BadInputError(
            f"{cut(str(directory))} is no raw trace: {ABOUT_FILE} cannot be read: {reason}"
        ) from error
    raw = _checked(directory, plain, cut(str(path)))
    if raw.finished:
        return raw
    return replace(raw, complete_until_ns=_complete_until(raw))


def _complete_until(raw: RawTrace) -> int:
    """Time up to which every CPU's file has all there was: the earliest of them."""
    until_ns = min(read_progress(raw.directory, cpu)[1] for cpu in raw.cpu_numbers)
    if until_ns == 0:
        raise BadInputError(
            f"{cut(str(raw.directory))} has nothing to recover: its recorder was killed before it had"
            " read every CPU"
        )
    return until_ns


def _checked(directory: Path, plain: object, where: str) -> RawTrace:
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise BadInputError(f"{where} is not of a raw trace: it has no format {FORMAT!r}")
    if plain.get("version") != VERSION:
        raise BadInputError(
            f"{where} has version {shown(plain.get('version'))}, and this p2mperf reads {VERSION}"
        )
    kinds = get_type_hints(RawTrace)
    del kinds["directory"]
    if missing := sorted(kinds.keys() - plain.keys()):
        raise BadInputError(f"{where} lacks {missing[0]}")
    values = {name: from_plain(kind, plain[name], f"{name} of {where}") for name, kind in kinds.items()}
    raw = RawTrace(directory=directory, **values)
    numbers = raw.cpu_numbers
    if not numbers or len(set(numbers)) < len(numbers) or not 0 <= min(numbers) <= max(numbers) < _MOST_CPUS:
        raise BadInputError(f"cpu_numbers of {where} is {shown(numbers)}: that is no set of CPUs")
    if raw.finished and (raw.usage is None or set(raw.cpus) != set(numbers)):
        raise BadInputError(f"{where} is finished, and does not tell what each CPU counted and what it took")
    if min((count for each in raw.cpus.values() for count in astuple(each)), default=0) < 0:
        raise BadInputError(f"cpus of {where} has a count below 0")
    return raw
