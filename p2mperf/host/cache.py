"""Where compiled code is kept between runs: numba loads pickles from there, so who writes there runs us."""

from __future__ import annotations

import os
import sys
import tempfile
from functools import cache
from pathlib import Path

from p2mperf.errors import NotPrivateError
from p2mperf.host.private import fresh_directory, private_directory
from p2mperf.provenance import INTERPRETED, source_hash, surroundings_hash


@cache
def cache_directory() -> Path | None:
    """Find or make this user's directory of compiled code for these sources.

    Returns
    -------
    Path or None
        Ours alone. Named by a hash of every source that can be compiled, of other packages that add to
        ours, and of every NUMBA_* setting. None, and a sentence, when there is no such place, not even for
        temporary files: each process then compiles for itself.

    Notes
    -----
    It is looked for in P2MPERF_CACHE_DIR, or else in $XDG_CACHE_HOME/p2mperf or ~/.cache/p2mperf; then in
    p2mperf-UID beside the temporary files; and made anew for this run when that is not ours either.

    Compiled code is not shared between users: to load another's is to run it. A P2MPERF_CACHE_DIR that
    several use serves each of them with a directory of their own, if it is sticky as /tmp is (mode 1777).
    One in which others can rename what is not theirs is refused, with a sentence, as is one that belongs to
    another user: also when root runs with the HOME of somebody else.

    What was found instead is written to P2MPERF_CACHE_DIR, so that processes we start take the same.
    """
    name = f"{source_hash(INTERPRETED)}-{surroundings_hash()}-{os.geteuid()}"
    refused = []
    for base_of in (_asked, _beside_temporary_files, fresh_directory):
        try:
            found = private_directory(base_of() / name)
            break
        except NotPrivateError as error:
            refused.append(str(error))
        except (OSError, RuntimeError):  # a home that cannot be written to, or none
            continue
    else:
        reason = f"{refused[0]}, and there is no other" if refused else "there is no"
        sys.stderr.write(
            f"p2mperf: {reason} place to keep compiled code, so that every process compiles anew: name "
            "one in P2MPERF_CACHE_DIR\n"
        )
        return None
    if base_of is not _asked:
        os.environ["P2MPERF_CACHE_DIR"] = str(found.parent)
    if refused:
        sys.stderr.write(
            f"p2mperf: {refused[0]}, so that compiled code from there is not run: it is kept in "
            f"{found.parent} {'until this ends' if base_of is fresh_directory else 'instead'}\n"
        )
    return found


def _asked() -> Path:
    if base := os.environ.get("P2MPERF_CACHE_DIR"):
        return Path(base)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "p2mperf")


def _beside_temporary_files() -> Path:
    return private_directory(Path(tempfile.gettempdir(), f"p2mperf-{os.geteuid()}"))
