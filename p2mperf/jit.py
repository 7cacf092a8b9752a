"""The only door to numba: its decorators with our defaults, and a cache that notices every change.

numba's disk cache looks at the file that holds the compiled function, not at the helpers it inlines from
other files (numba#1833), nor at NUMBA_OPT and its kin (numba#10821). So the cache directory itself is named
by a hash of every source that can be compiled, of other packages that add to ours, and of every NUMBA_*
setting (`p2mperf.host.cache`). A design made in a notebook is beyond it: after an edit of its walk restart
with another P2MPERF_CACHE_DIR.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pickle import UnpicklingError
from typing import ParamSpec, Protocol, TypeVar, overload

from p2mperf.host.cache import cache_directory
from p2mperf.interrupts import hold, release

# Before numba is imported, which reads it then.
if _directory := cache_directory():
    os.environ["NUMBA_CACHE_DIR"] = str(_directory)
else:
    os.environ.pop("NUMBA_CACHE_DIR", None)

import numba
from numba import types
from numba.core import caching, event
from numba.extending import overload as _overload


class _Place(caching.CompileResultCacheImpl):  # type: ignore[misc]
    """Finds where numba keeps a function: in our directory, and nowhere that others may have written to."""

    _locator_classes = [  # noqa: RUF012 (as the class above has it)
        locator
        for locator in caching.CompileResultCacheImpl._locator_classes
        if "UserProvided" in locator.__name__ or "IPython" in locator.__name__
    ]


class _Cache(caching.FunctionCache):  # type: ignore[misc]
    """numba's disk cache. One that cannot be written, or was torn, costs time and stops nobody."""

    _impl_class = _Place

    def load_overload(self, sig: object, target_context: object) -> object:
        try:
            return super().load_overload(sig, target_context)
        except (OSError, EOFError, UnpicklingError):
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: object, data: object) -> None:
        try:
            with _alone_in(self.cache_path):
                super().save_overload(sig, data)
        except OSError:  # a full disk, a limit on the size of files
            self.disable()


@contextmanager
def _alone_in(path: str) -> Iterator[None]:
    """Let one process at a time save what it compiled of one source.

    numba reads an index, takes the next number for its file, and writes both. Two processes at once would
    take one number for two signatures, and whoever came next would run code on the arguments of other code
    (numba#4807).
    """
    directory = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
F = TypeVar("F", bound=Callable[..., object])


class Compiled(Protocol[P, R_co]):
    """What `njit` makes of a function: it is called as that is, by Python and by compiled code."""

    __name__: str

    @property
    def py_func(self) -> Callable[P, R_co]:
        """The function itself."""

    @property
    def signatures(self) -> list[tuple[types.Type, ...]]:
        """What it has been compiled for."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call it, and compile it first for types that it was not called with."""

    def inspect_asm(self) -> Mapping[object, str]:
        """Assembly, by signature."""

    def inspect_llvm(self) -> Mapping[object, str]:
        """What LLVM was given, by signature."""


class Compiler(Protocol):
    """What `njit` gives without a function: a decorator."""

    def __call__(self, function: Callable[P, R]) -> Compiled[P, R]:
        """Compile a function."""


@overload
def njit(function: None = None, *, cache: bool = True, **options: object) -> Compiler: ...


@overload
def njit(function: Callable[P, R], *, cache: bool = True, **options: object) -> Compiled[P, R]: ...


def njit(function: Callable[..., object] | None = None, *, cache: bool = True, **options: object) -> object:
    """Compile a function as numba's `njit` does, with our defaults.

    Parameters
    ----------
    function : callable, optional
        What to compile; without it a decorator is returned.
    cache : bool
        Keep what was compiled on disk, where that can be.
    **options
        As numba's.

    Returns
    -------
    dispatcher or callable
    """
    if function is None:
        return partial(njit, cache=cache, **options)
    # nogil frees a second thread; error_model "numpy" drops the zero-division branch.
    compiled = numba.njit(function, nogil=True, error_model="numpy", **options)
    if cache and _directory and compiled is not function:  # as it is under NUMBA_DISABLE_JIT
        with suppress(RuntimeError):  # no place for it
            compiled._cache = _Cache(function)
    return compiled


def walk_overload(stub: Callable[..., object], forceinline: bool = True) -> Callable[[F], F]:
    """Overload `stub` for compiled code that is folded into its caller, as the kernel's inline functions are.

    Rare paths of a walk too: a call in the loop makes numba count references and keep the loop's state in
    memory; LLVM puts folded code that is `unlikely` behind the loop anyway.
    """
    # Not strict, which would compare annotations: who chooses an implementation takes numba's types, and the
    # implementation itself values.
    decorator: Callable[[F], F] = _overload(
        stub, jit_options={"forceinline": forceinline, "error_model": "numpy"}, strict=False
    )
    return decorator


__all__ = ["Compiled", "Compiler", "instance_class", "njit", "types", "walk_overload"]


class _HoldInterrupts(event.Listener):  # type: ignore[misc]
    """Lets Ctrl-C wait while numba compiles or loads."""

    def on_start(self, event: event.Event) -> None:
        hold()

    def on_end(self, event: event.Event) -> None:
        release()


event.register("numba:compiler_lock", _HoldInterrupts())


def instance_class(typ: types.Type) -> type[tuple[object, ...]] | None:
    """Return the NamedTuple class behind a numba type, or None.

    A NamedTuple whose fields all have one type is typed NamedUniTuple, others NamedTuple; both carry
    `instance_class`, and only they do.
    """
    return getattr(typ, "instance_class", None)
