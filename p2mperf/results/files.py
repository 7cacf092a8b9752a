"""Files: written whole or not at all, read only when they are files, and a sentence where that cannot be."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NoReturn

from p2mperf.errors import BadInputError, ResultsError, shown

# What a file is called while it is being written; one that a crash left has its lock held by nobody.
TEMPORARY = ".p2mperf-"
_LEFT_OVER = re.compile(re.escape(TEMPORARY) + "[0-9a-f]{16}(-.*)?", re.DOTALL)
# A whole plan is a few MB. What is larger is none of ours, and must not fill the memory before that is found.
LARGEST_BYTES = 1 << 30


def as_path(name: object) -> Path:
    """Take what somebody called results for a path.

    Parameters
    ----------
    name : object
        Text or a path.

    Returns
    -------
    Path

    Raises
    ------
    BadInputError
        When it is neither, or no file can be called so.
    """
    text = os.fspath(name) if isinstance(name, str | os.PathLike) else None
    if not isinstance(text, str):
        raise BadInputError(f"results are named by a path, not by {shown(name)}")
    if "\0" in text:
        raise BadInputError(f"no file is called {shown(text)}")
    return Path(text)


def told(path: Path) -> str:
    """Write a path as a sentence can hold it: in one line, not too long, and printable."""
    text = str(path)
    return text if text.isprintable() and len(text) <= 250 else shown(text)


def status_of(path: Path) -> os.stat_result | None:
    """Look up what stands at a path, links followed.

    Parameters
    ----------
    path : Path
        Where to look.

    Returns
    -------
    os.stat_result or None
        None when nothing is there.

    Raises
    ------
    ResultsError
        When that cannot be told.
    """
    try:
        return path.stat()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _refuse_to_read(path, error)


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading, if it is one: a pipe would make us wait, and a device may never end.

    Parameters
    ----------
    path : Path
        The file, or a link to it.

    Returns
    -------
    file object

    Raises
    ------
    ResultsError
        When it is something else, cannot be opened, or is larger than any results.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        _refuse_to_read(path, error)
    try:
        _refuse_irregular(path, descriptor)
    except ResultsError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path) -> bytes:
    """Read a file whole, if it is one.

    Parameters
    ----------
    path : Path
        The file, or a link to it.

    Returns
    -------
    bytes

    Raises
    ------
    ResultsError
        As `open_regular`.
    """
    with open_regular(path) as file:
        try:
            return file.read()
        except OSError as error:
            _refuse_to_read(path, error)


def _refuse_irregular(path: Path, descriptor: int) -> None:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        what = "a directory" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
        raise ResultsError(f"cannot read {told(path)}: it is {what}, no file")
    if status.st_size > LARGEST_BYTES:
        raise ResultsError(f"cannot read {told(path)}: {status.st_size} bytes are more than results can be")


def _refuse_to_read(path: Path, error: OSError | ValueError) -> NoReturn:
    reason = error.strerror if isinstance(error, OSError) else error
    raise ResultsError(f"cannot read {told(path)}: {reason}") from error


def make_directory(directory: Path) -> None:
    """Make a directory and those above it, if they are missing.

    Raises
    ------
    ResultsError
        When it cannot be made, or a file has its name.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise ResultsError(f"{told(directory)} is a file: results need a directory") from error
    except (OSError, ValueError) as error:
        refuse_to_write(directory, error)


def replace_file(path: Path, write: Callable[[Path], object], what: str = "results") -> None:
    """Write a whole file so that it is there completely or, after a crash, as it was before.

    Parameters
    ----------
    path : Path
        File to make or replace.
    write : callable
        Writes the content to the path it is given.
    what : str
        What an error says that it is.

    Raises
    ------
    ResultsError
        When the file cannot be written.
    """
    descriptor = -1
    try:
        while descriptor < 0:
            temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}-{path.name}")
            descriptor = _open_new(temporary)
        write(temporary)
        _flush(temporary)
        os.replace(temporary, path)
    except OSError as error:
        refuse_to_write(path, error, what)
    finally:
        if descriptor >= 0:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    flush_directory(path.parent)


def _open_new(temporary: Path) -> int:
    """Make a file, and hold its lock to say that somebody writes it; -1 where it was taken for left over."""
    # New, and not what somebody has put there: in a shared directory a link would lead us elsewhere.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_ours = temporary.exists()
    except BlockingIOError:
        is_ours = False
    except OSError:  # a file system without locks, where nothing is taken for left over
        is_ours = True
    if is_ours:
        return descriptor
    os.close(descriptor)
    return -1


def remove_left_over(directory: Path) -> None:
    """Remove what processes that were killed have left half written, and nobody writes any more.

    Parameters
    ----------
    directory : Path
        Where `replace_file` writes.
    """
    for path in directory.glob(f"{TEMPORARY}*"):
        if not _LEFT_OVER.fullmatch(path.name):
            continue
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(descriptor)


def refuse_to_write(path: Path, error: OSError | ValueError, what: str = "results") -> NoReturn:
    """Say where something cannot be written to, and why.

    Parameters
    ----------
    path : Path
        Where to.
    error : OSError or ValueError
        Why not.
    what : str
        What it is.

    Raises
    ------
    ResultsError
        Always.
    """
    # Arrow has words of its own for what the system said.
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
    advice = "raise `ulimit -f`, or " if isinstance(error, OSError) and error.errno == errno.EFBIG else ""
    raise ResultsError(
        f"cannot write {what} to {told(path)}: {reason}; {advice}name a directory you can write to"
    ) from error


def open_locked(path: Path, extra_flags: int = 0) -> int:
    """Open a file for appending, and lock it against other sweeps.

    Parameters
    ----------
    path : Path
        The file.
    extra_flags : int
        For `os.open`, as ``os.O_CREAT``.

    Returns
    -------
    int
        Its descriptor, which holds the lock.

    Raises
    ------
    ResultsError
        When it cannot be opened or locked, or another process has locked it.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | extra_flags, 0o666)
    except (OSError, ValueError) as error:
        refuse_to_write(path, error)
    try:
        _refuse_irregular(path, descriptor)
    except ResultsError:
        os.close(descriptor)
        raise
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise ResultsError(
                f"{told(path)} is in use by another sweep: wait for it, or give this one another directory"
            ) from error
        raise ResultsError(
            f"cannot lock {told(path)}: {error.strerror}; name a directory on a file system that knows locks"
        ) from error
    return descriptor


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_directory(directory: Path) -> None:
    """Make a new name survive a power cut; not every file system can."""
    with contextlib.suppress(OSError):
        _flush(directory)
