"""The only door to numba: its decorators with our defaults, and a cache that notices every change.

numba's disk cache looks at the file that holds the compiled function, not at the helpers it inlines from
other files (numba#1833), nor at NUMBA_OPT and its kin (numba#10821). So the cache directory itself is named
by a hash of every source that can be compiled, of other packages that add to ours, and of every NUMBA_*
setting. A design made in a notebook is beyond it: after an edit of its walk restart with another
P2MPERF_CACHE_DIR.
"""

from __future__ import annotations

import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from p2mperf.provenance import INTERPRETED, source_hash, surroundings_hash


def _cache_directory() -> Path:
    base = os.environ.get("P2MPERF_CACHE_DIR") or Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "p2mperf"
    )
    directory = Path(base, f"{source_hash(INTERPRETED)}-{surroundings_hash()}")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        directory = Path(tempfile.gettempdir(), f"p2mperf-{os.getuid()}", directory.name)
        directory.mkdir(parents=True, exist_ok=True)
    return directory


os.environ["NUMBA_CACHE_DIR"] = str(_cache_directory())

import numba  # noqa: E402  (the cache directory is read when numba is imported)
from numba import types  # noqa: E402
from numba.extending import overload as _overload  # noqa: E402

# nogil frees a second thread; error_model "numpy" drops the zero-division branch.
njit = partial(numba.njit, cache=True, nogil=True, error_model="numpy")


def walk_overload(stub: Any, forceinline: bool = True) -> Any:
    """Overload `stub` for compiled code that is folded into its caller, as the kernel's inline functions are.

    Rare paths of a walk too: a call in the loop makes numba count references and keep the loop's state in
    memory; LLVM puts folded code that is `unlikely` behind the loop anyway.
    """
    return _overload(stub, jit_options={"forceinline": forceinline, "error_model": "numpy"})


__all__ = ["instance_class", "njit", "types", "walk_overload"]


def instance_class(typ: types.Type) -> Any:
    """Return the NamedTuple class behind a numba type, or None.

    A NamedTuple whose fields all have one type is typed NamedUniTuple, others NamedTuple; both carry
    `instance_class`, and only they do.
    """
    return getattr(typ, "instance_class", None)
