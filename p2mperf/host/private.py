"""Directories into which nobody else can put files: what is read back from them is believed, or even run."""

from __future__ import annotations

import atexit
import contextlib
import grp
import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path

from p2mperf.errors import NotPrivateError


def private_directory(path: Path) -> Path:
    """Make a directory that only we can write to, or take the one there is if it is that.

    Parameters
    ----------
    path : Path
        Its last part may be no link; missing directories above are made, for us alone.

    Returns
    -------
    Path
        The same directory without links: whoever owned one of them cannot lead us elsewhere later.

    Raises
    ------
    NotPrivateError
        When it is another's, is no directory, or others can write to it or put another in its place.
    OSError
        When it cannot be made.
    """
    above = path.absolute().parent
    for missing in reversed([directory for directory in (above, *above.parents) if not directory.exists()]):
        _make(missing)
    place = above.resolve(strict=True) / path.name
    _make(place)
    found = os.lstat(place)
    if not stat.S_ISDIR(found.st_mode):
        raise NotPrivateError(f"{place} is no directory")
    if found.st_uid != os.geteuid():
        raise NotPrivateError(f"{place} belongs to another user")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise NotPrivateError(f"others can write to {place}")
    _check_above(place)
    return place


def fresh_directory() -> Path:
    """Make a directory that is new and ours, in the one for temporary files; it goes when this process ends.

    Raises
    ------
    NotPrivateError
        When others can put another in its place.
    OSError
        When it cannot be made.
    """
    made = Path(tempfile.mkdtemp(prefix="p2mperf-")).resolve(strict=True)
    atexit.register(_remove, made, os.getpid())
    _check_above(made)
    return made


def _make(directory: Path) -> None:
    with contextlib.suppress(FileExistsError):
        directory.mkdir(0o700)


def _remove(directory: Path, maker: int) -> None:
    if os.getpid() == maker:  # a fork of it still needs what it has
        shutil.rmtree(directory, ignore_errors=True)


def _check_above(place: Path) -> None:
    """Refuse a place that another user can move away: who may write to a directory may rename what is in it.

    In a sticky directory only its owner, and the owner of what is moved, may.
    """
    # The second is the machine's root as a user namespace shows it that has no number for it.
    trusted = {0, os.stat("/proc/sys/kernel").st_uid, os.geteuid()}
    for directory in place.parents:
        found = os.lstat(directory)
        if found.st_uid not in trusted:
            raise NotPrivateError(f"{directory} belongs to another user")
        if not found.st_mode & stat.S_ISVTX and _others_can_write(found):
            raise NotPrivateError(f"others can write to {directory}")


def _others_can_write(found: os.stat_result) -> bool:
    if found.st_mode & stat.S_IWOTH:
        return True
    return bool(found.st_mode & stat.S_IWGRP) and not _is_group_of_one(found.st_gid)


def _is_group_of_one(number: int) -> bool:
    """Whether a group is our own: users who have one often have a umask of 002, and such a home."""
    try:
        group = grp.getgrgid(number)
        user = pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return user.pw_gid == number and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}
