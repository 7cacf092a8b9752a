"""A folder that is there whole or not at all, and takes the place of an earlier report and of no other."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from p2mperf import __version__
from p2mperf.errors import BadInputError, ResultsError
from p2mperf.results.files import as_path, told

# Says that a folder is a report, and which files in it are the report's.
MARKER = "report.json"
_MADE_BY = "p2mperf report"
_TEMPORARY = ".p2mperf-report-"
_LEFT_OVER = re.compile(re.escape(_TEMPORARY) + "[0-9a-f]{16}")
_LARGEST_MARKER = 1 << 20
_PAGES = (".html", ".htm")


@contextmanager
def new_report(out: str | Path) -> Iterator[Path]:
    """Make a folder to write a report to, and put it where it belongs once all is written.

    Parameters
    ----------
    out : str or Path
        Where it belongs. What is there may be nothing, an empty folder or an earlier report.

    Yields
    ------
    Path
        A hidden folder beside it. When the block ends by an exception it is removed, and `out` is as it was.

    Raises
    ------
    BadInputError
        When `out` is a file, or a folder with anything in it that no report wrote.
    ResultsError
        When it cannot be written.
    """
    place = require_place(out)
    descriptor, made = -1, place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _remove_left_over(place.parent)
        made = place.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}")
        made.mkdir()
        descriptor = os.open(made, os.O_RDONLY)
        with contextlib.suppress(OSError):  # a file system without locks, where nothing is left over for sure
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield made
        _mark(made)
        _refuse_what_is_not_ours(place)  # others may have come in the meantime
        _replace(place, made)
    except OSError as error:
        _refuse_to_write(place, error)
    finally:
        if descriptor >= 0:
            os.close(descriptor)
            shutil.rmtree(made, ignore_errors=True)


def require_place(out: str | Path) -> Path:
    """Check that a report can be put somewhere, without making anything.

    Parameters
    ----------
    out : str or Path
        The folder.

    Returns
    -------
    Path
        Its absolute path.

    Raises
    ------
    BadInputError, ResultsError
        As `new_report`.
    """
    place = Path(os.path.abspath(as_path(out)))
    if place.suffix.lower() in _PAGES and not place.is_dir():
        raise BadInputError(
            f"a report is a folder and no page: `--out {told(Path(out).with_suffix(''))}` writes "
            f"{told(Path(out).with_suffix('') / 'index.html')}"
        )
    _refuse_what_is_not_ours(place)
    return place


def _refuse_what_is_not_ours(place: Path) -> None:
    try:
        if not place.exists():
            if place.is_symlink():
                raise BadInputError(f"{told(place)} is a link to nowhere: name another --out")
            return
        if not place.is_dir():
            raise BadInputError(f"{told(place)} is a file, and a report is a folder: name another --out")
        there = {path.relative_to(place).as_posix() for path in place.rglob("*") if not path.is_dir()}
        strangers = sorted(there - {MARKER} - _files_of_report(place))
    except OSError as error:
        _refuse_to_write(place, error)
    if strangers:
        raise BadInputError(
            f"{told(place)} has files that no report of p2mperf wrote, as {told(Path(strangers[0]))}, and "
            "would be replaced: name another --out"
        )


def _refuse_to_write(place: Path, error: OSError) -> NoReturn:
    reason = error.strerror or str(error)
    raise ResultsError(f"cannot write a report to {told(place)}: {reason}; name another --out") from error


def _files_of_report(place: Path) -> set[str]:
    """Files that the report in a folder has written; none where it is no report."""
    marker = place / MARKER
    try:
        if marker.is_symlink() or marker.stat().st_size > _LARGEST_MARKER:
            return set()
        said = json.loads(marker.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return set()
    if not isinstance(said, dict) or said.get("made_by") != _MADE_BY:
        return set()
    files = said.get("files")
    return {name for name in files if isinstance(name, str)} if isinstance(files, list) else set()


def _mark(made: Path) -> None:
    files = sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())
    said = {"made_by": _MADE_BY, "version": __version__, "files": files}
    (made / MARKER).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def _replace(place: Path, made: Path) -> None:
    """Put a folder where another may be: each name stands for a whole folder at any moment."""
    place = place.resolve()  # the folder behind a link, not the link
    if not place.exists():
        made.rename(place)
        return
    old = place.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}")
    place.rename(old)
    try:
        made.rename(place)
    except OSError:
        old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _remove_left_over(parent: Path) -> None:
    """Remove what reports that were killed have left, and nobody writes to any more."""
    for path in parent.glob(f"{_TEMPORARY}*"):
        if not _LEFT_OVER.fullmatch(path.name) or path.is_symlink():
            continue
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)
