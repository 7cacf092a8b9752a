"""A raw trace: a directory with each CPU's sub-buffers as the kernel gave them, and what is known of them."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from p2mperf.errors import BadInputError, cut, shown
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
        if self.finished:
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
    try:
        raw = _checked(directory, plain)
    except _WrongError as error:
        raise BadInputError(f"{cut(str(path))} is not of a raw trace: {error}") from None
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


class _WrongError(Exception):
    """What is wrong with a file of ours."""


def _checked(directory: Path, plain: object) -> RawTrace:
    about = _object(plain, "it")
    if about.get("format") != FORMAT:
        raise _WrongError(f"its format is {shown(about.get('format'))}, not {FORMAT!r}")
    if about.get("version") != VERSION:
        raise _WrongError(f"its version is {shown(about.get('version'))}, and this p2mperf reads {VERSION}")
    numbers = about.get("cpu_numbers")
    if not isinstance(numbers, list) or not 0 < len(numbers) <= _MOST_CPUS:
        raise _WrongError(f"cpu_numbers is {shown(numbers)}, no list of CPUs")
    cpu_numbers = tuple(_whole(number, "a CPU", _MOST_CPUS) for number in numbers)
    if len(set(cpu_numbers)) != len(cpu_numbers):
        raise _WrongError("cpu_numbers names a CPU twice")
    finished = about.get("finished")
    if not isinstance(finished, bool):
        raise _WrongError(f"finished is {shown(finished)}, neither true nor false")
    cpus = {
        _whole(int(cpu) if cpu.isdecimal() and len(cpu) < 9 else cpu, "a CPU", _MOST_CPUS): _cpu(counts)
        for cpu, counts in _object(about.get("cpus"), "cpus").items()
    }
    if finished and set(cpus) != set(cpu_numbers):
        raise _WrongError("it does not tell what each CPU counted")
    return RawTrace(
        directory=directory,
        **{name: _text(about, name) for name in _TEXTS},
        page_bytes=_whole(about.get("page_bytes"), "page_bytes", 1 << 20),
        formats=_texts(about.get("formats"), "formats"),
        missing=_names(about.get("missing"), "missing"),
        cpu_numbers=cpu_numbers,
        root_pid=_whole(about.get("root_pid"), "root_pid", 1 << 31),
        finished=finished,
        cpus=cpus,
        usage=_usage(about.get("usage")),
        complete_until_ns=_whole(about.get("complete_until_ns"), "complete_until_ns", 1 << 62, -1),
        machine=dict(_object(about.get("machine"), "machine")),
    )


_TEXTS = ("tool", "kernel_release", "architecture", "clock", "header_page", "header_event", "made")


def _object(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise _WrongError(f"{what} is {shown(value)}, no object")
    return value


def _text(about: Mapping[str, object], name: str) -> str:
    if not isinstance(value := about.get(name), str):
        raise _WrongError(f"{name} is {shown(value)}, no text")
    return value


def _texts(value: object, what: str) -> dict[str, str]:
    texts = _object(value, what)
    return {name: _text(texts, name) for name in texts}


def _names(value: object, what: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise _WrongError(f"{what} is {shown(value)}, no list of names")
    return tuple(value)


def _whole(value: object, what: str, most: int = (1 << 63) - 1, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _WrongError(f"{what} is {shown(value)}, no number from {least} to {most}")
    return value


def _cpu(value: object) -> RawCpu:
    counts = _object(value, "what a CPU counted")
    return RawCpu(**{name: _whole(counts.get(name), name) for name in RawCpu.__dataclass_fields__})


def _usage(value: object) -> Usage | None:
    if value is None:
        return None
    usage = _object(value, "usage")
    return Usage(
        elapsed_s=_seconds(usage, "elapsed_s"),
        user_s=_seconds(usage, "user_s"),
        system_s=_seconds(usage, "system_s"),
        n_minor_faults=_whole(usage.get("n_minor_faults"), "n_minor_faults"),
        n_major_faults=_whole(usage.get("n_major_faults"), "n_major_faults"),
        exit_code=_whole(usage.get("exit_code"), "exit_code", 1 << 16, -(1 << 16)),
    )


def _seconds(usage: Mapping[str, object], name: str) -> float:
    number = usage.get(name)
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < 1e12:
        raise _WrongError(f"{name} is {shown(number)}, no time")
    return float(number)
