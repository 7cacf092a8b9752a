"""Files that are there whole or not at all, and the sentence for a place that cannot be written to."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from p2mperf.errors import ResultsError

# What a file is called while it is being written; one that a crash left is nobody's.
TEMPORARY = ".p2mperf-"


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
        raise ResultsError(f"{directory} is a file: results need a directory") from error
    except OSError as error:
        refuse_to_write(directory, error)


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a whole file so that it is there completely or, after a crash, as it was before.

    Parameters
    ----------
    path : Path
        File to make or replace.
    write : callable
        Writes the content to the path it is given.

    Raises
    ------
    ResultsError
        When the file cannot be written.
    """
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}-{path.name}")
    try:
        # New, and not what somebody has put there: in a shared directory a link would lead us elsewhere.
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        write(temporary)
        _flush(temporary)
        os.replace(temporary, path)
    except OSError as error:
        refuse_to_write(path, error)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    flush_directory(path.parent)


def refuse_to_write(path: Path, error: OSError) -> NoReturn:
    """Say where results cannot be written to, and why.

    Raises
    ------
    ResultsError
        Always.
    """
    raise ResultsError(
        f"cannot write results to {path}: {error.strerror}; name a directory you can write to"
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
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | extra_flags, 0o666)
    except OSError as error:
        refuse_to_write(path, error)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise ResultsError(
                f"{path} is in use by another sweep: wait for it, or give this one another directory"
            ) from error
        raise ResultsError(
            f"cannot lock {path}: {error.strerror}; name a directory on a file system that knows locks"
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
