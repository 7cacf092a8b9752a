"""Which code this is: hashes of the package's own sources."""

from __future__ import annotations

import hashlib
import os
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

_PACKAGE = Path(__file__).parent

# Everything numba may compile.
COMPILED = (
    "jit.py",
    "kernels.py",
    "**/*_kernels.py",
    "memory/**/*.py",
    "tables/**/*.py",
    "designs/**/*.py",
    "model/**/*.py",
)
# Everything that decides a number in a result.
MEASURING = (
    *COMPILED,
    "guests/geometry.py",
    "guests/guest.py",
    "guests/machine.py",
    "guests/presets.py",
    "streams.py",
    "units.py",
    "measure/**/*.py",
    "study/unit.py",
)


def source_hash(patterns: tuple[str, ...]) -> str:
    """Hash the package's sources that match `patterns`.

    Parameters
    ----------
    patterns : tuple of str
        Glob patterns below the package, such as `COMPILED` or `MEASURING`.

    Returns
    -------
    str
        16 hexadecimal digits, equal only for equal file names and contents.
    """
    digest = hashlib.sha256()
    for path in sorted({path for pattern in patterns for path in _PACKAGE.glob(pattern)}):
        digest.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def surroundings_hash() -> str:
    """Hash what else decides machine code: designs of other packages, and the NUMBA_* settings.

    Returns
    -------
    str
        8 hexadecimal digits. A design that is edited, added or removed changes them: numba's cache must not
        hold its code for those who do not have it.
    """
    digest = hashlib.sha256()
    for point in sorted(entry_points(group="p2mperf.designs"), key=lambda point: point.name):
        spec = find_spec(point.value.partition(":")[0])
        source = Path(spec.origin).read_bytes() if spec and spec.origin else b""
        digest.update(point.name.encode() + b"\0" + source + b"\0")
    # Our own cache directory, inherited from a parent process, must not lead to yet another one.
    settings = (item for item in os.environ.items() if item[0].startswith("NUMBA_"))
    digest.update(repr(sorted(item for item in settings if item[0] != "NUMBA_CACHE_DIR")).encode())
    return digest.hexdigest()[:8]
