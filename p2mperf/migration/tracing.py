"""Dirty-page tracing: write-protect every page, let faults mark the bitmap, hand it out round by round.

The scheme of log-dirty mode in Xen: enabling or cleaning makes all writable entries read-only; a write fault
finds the entry, marks the page and makes it writable again. Fault handling is compiled, once for all designs,
and finds the entry the way the design does.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from threading import RLock
from time import perf_counter_ns
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from p2mperf.designs.arm.fault_kernels import LOG_DIRTY, fault, protect, unprotect
from p2mperf.designs.capabilities import Traceable
from p2mperf.errors import BadInputError, shown
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest
from p2mperf.memory.owned import Owned
from p2mperf.units import PAGE_SHIFT


class Traced(Traceable, Protocol):
    """A design whose guest's writes can be traced."""

    name: ClassVar[str]
    guest: Guest
    tables: NamedTuple

    def in_use(self) -> AbstractContextManager[None]:
        """Hold it open in a with statement."""
        ...


def protect_all(tables: Sequence[Words]) -> None:
    """Make the memory that tables map read-only to the guest, so that its writes fault."""
    for entries in tables:
        protect(entries)


def restore_all(tables: Sequence[Words]) -> None:
    """Give the write bit back to every entry that `protect_all` took it from."""
    for entries in tables:
        unprotect(entries)


def n_protected(tables: Sequence[Words]) -> int:
    """Count the entries that `protect_all` took the write bit from."""
    return sum(int(np.count_nonzero(entries & LOG_DIRTY)) for entries in tables)


def handle_faults(design: Traced, stream: Words, first: int, dirty: Words) -> int:
    """Let a guest write to frames that have entries, and handle the faults; compiled, the design's way.

    Parameters
    ----------
    design : Traced
        Made ready and switched to.
    stream : ndarray of uint64, shape (n_writes,)
        Frames; one without an entry would crash the process.
    first : int
        Frame of bit 0 of the bitmap.
    dirty : ndarray of uint64
        Bitmap.

    Returns
    -------
    int
        Writes that met a protected entry.
    """
    return int(fault(design.tables, (), stream, np.uint64(first), dirty))


def empty_bitmap(guest: Guest) -> tuple[int, Words]:
    """Make a bitmap without a mark, and say which frame its bit 0 is."""
    first = int(guest.ram.first_pfn[0])
    return first, np.zeros(-(-(int(guest.ram.end_pfn[-1]) - first) // 64), np.uint64)


class Tracer(Owned):
    """Traces the writes of one guest through one design.

    Parameters
    ----------
    design : Traced
        Open design; its entries are changed while tracing, and restored by `stop`.

    Attributes
    ----------
    first : int
        Frame of bit 0 of the bitmaps.
    active : bool
        Whether writes are being traced.
    n_writes, n_faults : int
        Writes seen and faults handled so far.
    fault_ns, protect_ns : int
        Time that all writes took on this host, those that met no protection included, and that protecting
        all memory took [ns].

    Examples
    --------
    >>> from p2mperf.api import build
    >>> from p2mperf.guests.guest import Guest
    >>> with build("arm-vlpt", Guest.plain("64M", geometry="lpae")) as p2m:
    ...     tracer = Tracer(p2m)
    ...     tracer.start()
    ...     tracer.write([524288, 524288, 524290]), frames_of(tracer.clean(), tracer.first).tolist()
    (2, [524288, 524290])
    """

    def __init__(self, design: Traced) -> None:
        if not isinstance(design, Traceable):
            raise BadInputError(
                f"only the writes of a guest in an ARM design are traced, not {shown(design)}"
            )
        self.design = design
        self._ram = design.guest.ram
        self._lock = RLock()  # a mark that two threads set in one word would be lost
        self.active = False
        self.n_faults = self.n_writes = 0
        self.fault_ns = self.protect_ns = 0
        self.first, self._dirty = empty_bitmap(design.guest)

    def start(self) -> None:
        """Protect all memory and begin with an empty bitmap (ENABLE_LOGDIRTY)."""
        with self._lock, self.design.in_use():
            self._dirty[:] = 0
            self._protect()
            self._handle(np.zeros(0, np.uint64))  # compiled, so that no timed fault waits for it
            self.active = True

    def stop(self) -> None:
        """Make all memory writable again (OFF)."""
        with self._lock, self.design.in_use():
            restore_all(self.design.third_tables())
            self.active = False

    def write(self, gfns: ArrayLike) -> int:
        """Let the guest write to pages, one after the other.

        Parameters
        ----------
        gfns : array_like of int
            Frames written to.

        Returns
        -------
        int
            Faults this took: pages written for the first time since they were protected.

        Raises
        ------
        BadInputError
            When a frame is not in the guest's RAM, or the design's window was cleaned up.
        ClosedError
            When the design was closed.
        """
        stream = self.design.frames(gfns).reshape(-1)
        self._check_ram(stream)
        with self._lock, self.design.in_use():
            self.design.require_ready()
            self.design.switch_to()
            start = perf_counter_ns()
            found = self._handle(stream)
            self.fault_ns += perf_counter_ns() - start
            self.n_writes += stream.size
            self.n_faults += found
        return found

    def _handle(self, stream: Words) -> int:
        return handle_faults(self.design, stream, self.first, self._dirty)

    def peek(self) -> Words:
        """Copy the bitmap and leave it as it is (PEEK)."""
        return self._dirty.copy()

    def clean(self) -> Words:
        """Copy the bitmap, clear it, and protect all memory again (CLEAN)."""
        with self._lock:
            dirty = self._dirty.copy()
            self._dirty[:] = 0
            if self.active:
                self._protect()
        return dirty

    def _protect(self) -> None:
        start = perf_counter_ns()
        with self.design.in_use():
            protect_all(self.design.third_tables())
        self.protect_ns += perf_counter_ns() - start

    def _check_ram(self, stream: Words) -> None:
        ends = self._ram.end_pfn.astype(np.uint64)
        if ends.size == 1 and stream.size:
            inside = np.uint64(self.first) <= stream.min() and stream.max() < ends[0]
            if inside:
                return
        run = np.searchsorted(ends, stream, side="right")
        # Behind the last run nothing is RAM, not even the largest number there is.
        first = self._ram.first_pfn.astype(np.uint64)[np.minimum(run, ends.size - 1)]
        outside = np.flatnonzero((run == ends.size) | (stream < first))
        if outside.size:
            gfn = int(stream[outside[0]])
            ranges = ", ".join(
                f"[{int(a) << PAGE_SHIFT:#x}, {int(b) << PAGE_SHIFT:#x})"
                for a, b in zip(self._ram.first_pfn, self._ram.end_pfn, strict=True)
            )
            raise BadInputError(
                f"write number {int(outside[0])} goes to frame {gfn:#x} (address {gfn << PAGE_SHIFT:#x}), "
                f"outside the RAM of {self.design.guest.name}: {ranges}"
            )


def marked(bitmap: Words, bits: Words) -> NDArray[np.bool_]:
    """Tell for each of `bits` whether the bitmap marks it."""
    words = bitmap[(bits >> np.uint64(6)).astype(np.int64)]
    return ((words >> (bits & np.uint64(63))) & np.uint64(1)).astype(np.bool_)


def frames_of(bitmap: Words, first: int) -> Words:
    """List the frames that a bitmap marks, in order; bit 0 is frame `first`."""
    bits = np.unpackbits(bitmap.view(np.uint8), bitorder="little")
    return np.flatnonzero(bits).astype(np.uint64) + np.uint64(first)
