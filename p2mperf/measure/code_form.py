"""What the compiler made of a loop: a comparison of designs must not be one of code forms."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import NamedTuple

from p2mperf.kernels import Timed, assembly

_PATTERNS = {
    "gather": re.compile(r"\bvp?gather"),
    "zmm": re.compile(r"%zmm"),
    "ymm": re.compile(r"%ymm"),
    "prefetch": re.compile(r"\bprefetch"),
}


def describe(assembly: str) -> str:
    """Name a loop's form by the vector instructions in its assembly.

    Parameters
    ----------
    assembly : str
        Text of the compiled function.

    Returns
    -------
    str
        "scalar", or counts such as "gather:5,ymm:42".

    Examples
    --------
    >>> describe("movq (%rax), %rcx"), describe("vpgatherqq (%rax,%ymm1), %ymm2")
    ('scalar', 'gather:1,ymm:1')
    """
    counts = {
        name: sum(1 for line in assembly.splitlines() if pattern.search(line))
        for name, pattern in _PATTERNS.items()
    }
    return ",".join(f"{name}:{n}" for name, n in counts.items() if n) or "scalar"


def code_form(kernel: Timed, tables: NamedTuple) -> str:
    """Form of the loop that `kernel` runs for the type of `tables`.

    Notes
    -----
    numba keeps no assembly of what it loads from its cache, so the form is noted beside the cache when it is
    first asked for, and read from there afterwards.
    """
    directory = os.environ.get("NUMBA_CACHE_DIR")
    if not directory:  # there is no place for compiled code
        return describe(assembly(kernel, tables))
    path = Path(directory, f"form-{kernel.__name__}-{type(tables).__name__}.json")
    try:
        return str(json.loads(path.read_text()))
    except (OSError, ValueError):
        form = describe(assembly(kernel, tables))
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, not truth
        path.write_text(json.dumps(form))
    return form
