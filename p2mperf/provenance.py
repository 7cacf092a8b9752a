"""Which code this is: hashes of the package's own sources, and of what other packages add to it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from p2mperf.plugins import installed

_PACKAGE = Path(__file__).parent

# What only shows numbers that are there already. A changed table or figure must not keep a sweep from going
# on where it was; any other file may decide a number, so that a new one counts until it is named here.
SHOWING = (
    "__init__.py",
    "__main__.py",
    "_data/*",
    "analysis/*",
    "api.py",
    "building.py",
    "cli/*",
    "figures/*",
    "given.py",
    "progress.py",
    "report/*",
    "results/export.py",
    "results/frame.py",
    "results/parquet.py",
    "results/samples.py",
    "shipped.py",
)
# What numba never sees, and no file that it compiles imports; a test holds the list against the imports. A
# change here costs nobody a new compilation.
INTERPRETED = (
    *SHOWING,
    "measure/code_form.py",
    "measure/engine.py",
    "measure/interference.py",
    "measure/ladder.py",
    "measure/replay.py",
    "measure/rounds.py",
    "measure/settings.py",
    "measure/stretch.py",
    "migration/*",
    "results/*",
    "sizing/*",
    "streams.py",
    "study/*",
)
# Groups of entry points through which other packages bring what is compiled or decides what is measured.
PLUGIN_GROUPS = ("p2mperf.designs", "p2mperf.families", "p2mperf.geometries", "p2mperf.operations")


@cache
def source_hash(left_out: tuple[str, ...]) -> str:
    """Hash the package's sources, but for those that match one of the patterns.

    Parameters
    ----------
    left_out : tuple of str
        Patterns of paths below the package, such as `SHOWING` or `INTERPRETED`; ``*`` stands for slashes too.

    Returns
    -------
    str
        16 hexadecimal digits, equal only for equal file names and contents.
    """
    return tree_hash(_PACKAGE, left_out)


def tree_hash(root: Path, left_out: tuple[str, ...]) -> str:
    """Hash all Python files of a tree, but for those that match one of the patterns.

    Parameters
    ----------
    root : Path
        Where the tree begins; the names below it are hashed with the contents.
    left_out : tuple of str
        As for `source_hash`.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    names = ((path.relative_to(root).as_posix(), path) for path in root.rglob("*.py"))
    kept = ((name, path) for name, path in names if not is_matched(name, left_out))
    return _digest(kept)[:16]


def is_matched(name: str, patterns: Iterable[str]) -> bool:
    """Tell whether a path below the package matches one of the patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def surroundings_hash() -> str:
    """Hash what else decides machine code and numbers: what other packages add, and the NUMBA_* settings.

    Returns
    -------
    str
        8 hexadecimal digits. A design, operation, geometry or family that is edited, added or removed changes
        them: numba's cache must not hold its code for those who do not have it. All of a package counts: a
        design may be compiled with helpers from its other files.
    """
    digest = hashlib.sha256()
    points = (point for group in PLUGIN_GROUPS for point in installed(group))
    for point in sorted(points, key=lambda point: (point.group, point.name, point.value)):
        digest.update(f"{point.group}\0{point.name}\0{point.value}\0".encode())
        digest.update(_digest(_sources_of(point.value.partition(":")[0])).encode())
    # Our own cache directory, inherited from a parent process, must not lead to yet another one.
    settings = (item for item in os.environ.items() if item[0].startswith("NUMBA_"))
    digest.update(repr(sorted(item for item in settings if item[0] != "NUMBA_CACHE_DIR")).encode())
    return digest.hexdigest()[:8]


def _sources_of(module: str) -> Iterator[tuple[str, Path]]:
    """Files of the whole package that a module belongs to, found without importing any of it."""
    try:
        spec = find_spec(module.partition(".")[0])
    except Exception:  # no name of a module, or another package's finder: it cannot be imported either
        return
    if spec is None:
        return
    if spec.submodule_search_locations is None:
        if spec.origin is not None:
            yield Path(spec.origin).name, Path(spec.origin)
        return
    for place in map(Path, spec.submodule_search_locations):
        yield from ((path.relative_to(place).as_posix(), path) for path in place.rglob("*.py"))


def _digest(files: Iterable[tuple[str, Path]]) -> str:
    digest = hashlib.sha256()
    for name, path in sorted(files):
        # An editor's lock is a link to nowhere; a pipe would be read for ever.
        content = path.read_bytes() if path.is_file() else b""
        digest.update(name.encode(errors="surrogateescape") + b"\0" + content + b"\0")
    return digest.hexdigest()
