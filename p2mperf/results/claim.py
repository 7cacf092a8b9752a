"""A results directory is ours by a marker file; one that holds something else is left alone."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from p2mperf.errors import ResultsError
from p2mperf.results.fields import VERSION
from p2mperf.results.files import (
    TEMPORARY,
    as_path,
    make_directory,
    open_locked,
    open_regular,
    read_regular,
    refuse_to_write,
    replace_file,
    status_of,
    told,
)
from p2mperf.results.plain import decoded, encoded
from p2mperf.results.records import check_version
from p2mperf.results.values import is_whole

MARKER = "p2mperf-results.json"
# What a sweep of a moment writes: a run record with its ladder, and some cells.
_LEAST_ROOM = 1 << 16
# How replays and pairs of runs begin, and what recordings and exports have in the end of their files.
_JSON_OF_OURS = b'{"format":"p2mperf-'
_PARQUET_OF_OURS, _FOOTER_BYTES = b"p2mperf", 1 << 18


def claim_directory(directory: str | Path) -> Path:
    """Make a directory ours if it is new or empty; refuse one that holds something else.

    Parameters
    ----------
    directory : str or Path
        Results directory to be.

    Returns
    -------
    Path
        The directory, which exists and holds the marker file.

    Raises
    ------
    ResultsError
        When it is not ours, of a newer schema, or cannot be made or written to.
    """
    directory = as_path(directory)
    make_directory(directory)
    if not is_ours(directory):
        content = encoded({"p2mperf_results": VERSION}) + b"\n"
        replace_file(directory / MARKER, lambda path: path.write_bytes(content))
    return directory


def prepare_directory(directory: str | Path) -> Path:
    """Make a directory ours, and see that a sweep can write to it: to be known before anything is measured.

    Parameters
    ----------
    directory : str or Path
        Results directory to be.

    Returns
    -------
    Path
        The directory.

    Raises
    ------
    ResultsError
        As `claim_directory`; also when no file can be locked or grow there, as on a full disk.
    """
    directory = claim_directory(directory)
    path = directory / f"{TEMPORARY}{secrets.token_hex(8)}"
    descriptor = open_locked(path, os.O_CREAT | os.O_EXCL)
    try:
        n_left = _LEAST_ROOM
        while n_left:  # a part is taken before the rest is refused
            n_left -= os.write(descriptor, bytes(n_left))
        os.fdatasync(descriptor)
    except OSError as error:
        refuse_to_write(directory, error)
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)
    return directory


def is_ours(directory: Path) -> bool:
    """Tell whether a directory is a results directory.

    Parameters
    ----------
    directory : Path
        The directory, or where one could be.

    Returns
    -------
    bool
        True with our marker, False when it is missing or empty.

    Raises
    ------
    ResultsError
        When it holds something else, is of a newer schema, or cannot be read.
    """
    found = status_of(directory)
    if found is not None and not stat.S_ISDIR(found.st_mode):
        raise ResultsError(f"{told(directory)} is a file: results need a directory")
    marker = directory / MARKER
    if status_of(marker) is None:
        return _refuse_foreign(directory)
    content = read_regular(marker)
    try:
        said = decoded(content)
    except (ValueError, ResultsError):
        said = None
    version = said.get("p2mperf_results") if isinstance(said, dict) else None
    if not is_whole(version) or version < 1:
        raise ResultsError(
            f"{told(marker)} is damaged: if the directory holds p2mperf results, write "
            f'{{"p2mperf_results": {VERSION}}} into that file'
        )
    check_version(version, told(directory))
    return True


def _refuse_foreign(directory: Path) -> bool:
    try:
        names = [path.name for path in directory.iterdir()]
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ResultsError(f"cannot read results in {told(directory)}: {error.strerror}") from error
    if not all(_is_ours_too(directory / name) for name in names):
        raise ResultsError(
            f"{told(directory)} is not a p2mperf results directory (it has files but no {MARKER}): "
            "name another one, new or empty"
        )
    return False


def has_marker(directory: Path) -> bool:
    """Tell whether a directory is marked as ours; False also for what cannot be looked into."""
    try:
        return status_of(directory / MARKER) is not None
    except ResultsError:
        return False


def _is_ours_too(path: Path) -> bool:
    """Tell what p2mperf itself leaves or puts there: results of their own below, replays, recordings."""
    if path.name.startswith(TEMPORARY) or has_marker(path):
        return True
    try:
        with open_regular(path) as file:
            start = file.read(len(_JSON_OF_OURS))
            file.seek(max(0, path.stat().st_size - _FOOTER_BYTES))
            end = file.read()
    except (OSError, ResultsError):
        return False
    return start == _JSON_OF_OURS or (start[:4] == end[-4:] == b"PAR1" and _PARQUET_OF_OURS in end)
