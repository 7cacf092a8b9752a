"""The only door to numba: its decorators with our defaults, and a cache that notices every change.

numba's disk cache looks at the file that holds the compiled function, not at the helpers it inlines from
other files (numba#1833), nor at NUMBA_OPT and its kin (numba#10821). So the cache directory itself is named
by a hash of every source that can be compiled, of other packages that add to ours, and of every NUMBA_*
setting (`p2mperf.host.cache`). A design made in a notebook is beyond it: after an edit of its walk restart
with another P2MPERF_CACHE_DIR.
"""

from __future__ import annotations

import os
import signal
from functools import partial
from threading import current_thread, main_thread
from typing import Any

from p2mperf.host.cache import cache_directory

# Before numba is imported, which reads it then.
os.environ["NUMBA_CACHE_DIR"] = str(cache_directory())

import numba
from numba import types
from numba.core import event
from numba.extending import overload as _overload

# nogil frees a second thread; error_model "numpy" drops the zero-division branch.
njit = partial(numba.njit, cache=True, nogil=True, error_model="numpy")


def walk_overload(stub: Any, forceinline: bool = True) -> Any:
    """Overload `stub` for compiled code that is folded into its caller, as the kernel's inline functions are.

    Rare paths of a walk too: a call in the loop makes numba count references and keep the loop's state in
    memory; LLVM puts folded code that is `unlikely` behind the loop anyway.
    """
    return _overload(stub, jit_options={"forceinline": forceinline, "error_model": "numpy"})


__all__ = ["instance_class", "njit", "types", "walk_overload"]


class _HoldInterrupts(event.Listener):  # type: ignore[misc]
    """Lets Ctrl-C wait while numba compiles or loads: inside callbacks of LLVM it is lost, or kills."""

    def __init__(self) -> None:
        self._depth = 0
        self._handler: Any = None
        self._is_pending = False

    def on_start(self, event: Any) -> None:
        if current_thread() is not main_thread():
            return
        if self._depth == 0:
            self._handler = signal.getsignal(signal.SIGINT)
            if callable(self._handler):
                signal.signal(signal.SIGINT, self._note)
        self._depth += 1

    def on_end(self, event: Any) -> None:
        if current_thread() is not main_thread():
            return
        self._depth -= 1
        if self._depth == 0 and callable(self._handler):
            signal.signal(signal.SIGINT, self._handler)
            if self._is_pending:
                self._is_pending = False
                self._handler(signal.SIGINT, None)

    def _note(self, number: int, frame: object) -> None:
        self._is_pending = True


event.register("numba:compiler_lock", _HoldInterrupts())


def instance_class(typ: types.Type) -> Any:
    """Return the NamedTuple class behind a numba type, or None.

    A NamedTuple whose fields all have one type is typed NamedUniTuple, others NamedTuple; both carry
    `instance_class`, and only they do.
    """
    return getattr(typ, "instance_class", None)
