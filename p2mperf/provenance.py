"""Which code this is: hashes of the package's own sources."""

from __future__ import annotations

import hashlib
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
    "geometry.py",
    "guests.py",
    "machines.py",
    "presets.py",
    "streams.py",
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
