"""Recording a command into one file: run, decoded and kept; or its counts where nothing can be recorded."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from p2mperf.errors import BadInputError
from p2mperf.results.files import as_path, make_directory, replace_file, status_of, told
from p2mperf.units import flag, parse_size
from p2mperf.workload.counts import FORMAT, NOTE, VERSION, Counts
from p2mperf.workload.decode import decode
from p2mperf.workload.raw_trace import ABOUT_FILE, PROGRESS_FILE
from p2mperf.workload.recorder import Look, RawRun, record_raw
from p2mperf.workload.recording import Recording
from p2mperf.workload.recording_file import refuse_existing, write_recording
from p2mperf.workload.running import require_command
from p2mperf.workload.trace_instance import BUFFER_BYTES, NoTracingError, check_buffer

SUFFIX = ".parquet"
# What a raw trace consists of; nothing else is ever removed with one.
_OWN = (ABOUT_FILE, PROGRESS_FILE, f".{ABOUT_FILE}.new")


@dataclass(frozen=True)
class Kept:
    """Where recordings of a command go.

    Attributes
    ----------
    out : Path
        The file.
    raw : Path
        Directory of the raw trace.
    is_raw_kept : bool
        Whether it stays when the file is written.
    is_replaced : bool
        Whether a file that is there is replaced.
    buffer_bytes : int
        Ring buffer of each CPU [bytes].
    """

    out: Path
    raw: Path
    is_raw_kept: bool
    is_replaced: bool
    buffer_bytes: int


@dataclass(frozen=True)
class Recorded:
    """A recording, and how it came about.

    Attributes
    ----------
    recording : Recording
        As it is in the file.
    run : RawRun
        What became of the command.
    out : Path
        The file.
    n_bytes, n_raw_bytes : int
        Its size, and that of the raw trace [bytes].
    """

    recording: Recording
    run: RawRun
    out: Path
    n_bytes: int
    n_raw_bytes: int

    @property
    def is_whole(self) -> bool:
        """Whether no event of the command is missing."""
        return self.recording.about.complete_until_ns < 0


def record(
    command: Sequence[str],
    out: str | Path = "recording.parquet",
    *,
    buffer: str | int = BUFFER_BYTES,
    keep_raw: str | Path | None = None,
    force: bool = False,
) -> Recording:
    """Run a command and record what it asks of memory; for root, on a kernel with tracefs.

    Parameters
    ----------
    command : sequence of str
        Program and arguments, as ``["make", "-j2", "vmlinux"]``.
    out : str or Path
        File to write.
    buffer : str or int
        Ring buffer of each CPU, as "16M" [bytes].
    keep_raw : str or Path, optional
        Directory to keep the raw trace in, as the kernel wrote it; names of programs and files are in it.
    force : bool
        Replace a file that is there.

    Returns
    -------
    Recording
        ``about.usage.exit_code`` is the command's own, ``about.complete_until_ns`` is -1 where nothing was
        lost.

    Raises
    ------
    BadInputError
        When there is no such program, or the file is there.
    NoTracingError
        When events cannot be recorded here.
    DoesNotFitError
        When memory or disk do not suffice.
    """
    return record_to_file(command, place(out, buffer, keep_raw, force)).recording


def place(
    out: str | Path, buffer: str | int, keep_raw: str | Path | None = None, force: bool = False
) -> Kept:
    """Check where a recording is to go, before anything is run.

    Parameters
    ----------
    out, buffer, keep_raw, force
        As `record`.

    Returns
    -------
    Kept

    Raises
    ------
    BadInputError
        When something is there already, or the file has no name that a recording has.
    """
    force = flag(force, "force")
    buffer_bytes = check_buffer(parse_size(buffer))
    path = refuse_existing(out, force)
    if path.suffix != SUFFIX:
        raise BadInputError(f"a recording is written to a file that ends in {SUFFIX}, not to {told(path)}")
    if status_of(path) is not None and not path.is_file():
        raise BadInputError(f"{told(path)} is no file that could be replaced: give another --out")
    raw = path.with_name(f"{path.name}.raw") if keep_raw is None else as_path(keep_raw)
    if keep_raw is None and status_of(raw) is not None:
        if not force:
            raise BadInputError(
                f"{told(raw)} is left of a recording that did not end: `python -m p2mperf trace recover`"
                " makes a file of it, --force throws it away"
            )
        remove_raw(raw)
    make_directory(path.parent)
    make_directory(raw.parent)
    return Kept(path, raw, keep_raw is not None, force, buffer_bytes)


def record_to_file(
    command: Sequence[str],
    kept: Kept,
    tell: Callable[[Look], None] = lambda look: None,
    say: Callable[[str], None] = lambda sentence: None,
    stdout: int = 1,
) -> Recorded:
    """Run a command, record it, decode the trace and write the file.

    Parameters
    ----------
    command : sequence of str
        Program and arguments.
    kept : Kept
        As `place` gives it.
    tell : callable
        Told every second how far it is.
    say : callable
        Told in a sentence what is done next.
    stdout : int
        Descriptor that the command has as its standard output.

    Returns
    -------
    Recorded

    Raises
    ------
    BadInputError, NoTracingError, DoesNotFitError
        As `record`.
    """
    require_command(command)
    try:
        run = record_raw(command, kept.raw, buffer_bytes=kept.buffer_bytes, tell=tell, stdout=stdout)
    except BaseException as error:
        # Of a command that was not run there is nothing to recover, nor without what it is about.
        is_empty = isinstance(error, NoTracingError) or not (kept.raw / ABOUT_FILE).exists()
        if is_empty and not kept.is_raw_kept:
            remove_raw(kept.raw)
        raise
    n_raw_bytes = sum(run.raw.path_of(cpu).stat().st_size for cpu in run.raw.cpu_numbers)
    say(f"the command has ended: decoding {run.raw.n_read} events")
    recording = decode(run.raw)
    write_recording(recording, kept.out, force=kept.is_replaced)
    if not kept.is_raw_kept:
        remove_raw(kept.raw)
    return Recorded(recording, run, kept.out, kept.out.stat().st_size, n_raw_bytes)


def write_counts(found: Counts, kept: Kept) -> Path:
    """Write counts beside where the recording would have been: no Parquet, for it is none.

    Parameters
    ----------
    found : Counts
        What was counted.
    kept : Kept
        As `place` gives it.

    Returns
    -------
    Path
        Of the file, which ends in .json.
    """
    path = kept.out.with_suffix(".json")
    plain = {"format": FORMAT, "version": VERSION, "note": NOTE, **asdict(found)}
    replace_file(path, lambda temporary: temporary.write_text(json.dumps(plain, indent=2)))
    return path


def remove_raw(directory: Path) -> None:
    """Remove a raw trace, and nothing else that may be beside it.

    Parameters
    ----------
    directory : Path
        Of the raw trace.

    Raises
    ------
    BadInputError
        When something else is in it.
    """
    if not directory.is_dir():
        return
    strange = [path.name for path in directory.iterdir() if not _is_own(path)]
    if strange:
        raise BadInputError(f"{told(directory)} is not removed: {strange[0]!r} in it is of no raw trace")
    for path in directory.iterdir():
        path.unlink()
    os.rmdir(directory)


def _is_own(path: Path) -> bool:
    number = path.name.removeprefix("cpu").removesuffix(".raw")
    return path.name in _OWN or (path.name == f"cpu{number}.raw" and number.isdecimal())
