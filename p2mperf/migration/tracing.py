"""Dirty-page tracing: write-protect every page, let faults mark the bitmap, hand it out round by round.

The scheme of log-dirty mode in Xen: enabling or cleaning makes all writable entries read-only; a write fault
finds the entry, marks the page and makes it writable again. Fault handling is compiled, once for all designs,
and finds the entry the way the design does.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.arm.fault_kernels import fault, protect, unprotect
from p2mperf.designs.arm.stage2 import ArmDesign
from p2mperf.errors import BadInputError
from p2mperf.units import PAGE_SHIFT

Bitmap = NDArray[np.uint64]


class Tracer:
    """Traces the writes of one guest through one design.

    Parameters
    ----------
    design : ArmDesign
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

    def __init__(self, design: ArmDesign) -> None:
        self.design = design
        ram = design.guest.ram
        self._ram = ram
        self.first = int(ram.first_pfn[0])
        self.active = False
        self.n_faults = self.n_writes = 0
        self.fault_ns = self.protect_ns = 0
        self._dirty = np.zeros(-(-(int(ram.end_pfn[-1]) - self.first) // 64), np.uint64)

    def start(self) -> None:
        """Protect all memory and begin with an empty bitmap (ENABLE_LOGDIRTY)."""
        self._dirty[:] = 0
        self._protect()
        self._handle(np.zeros(0, np.uint64))  # compiled, so that no timed fault waits for it
        self.active = True

    def stop(self) -> None:
        """Make all memory writable again (OFF)."""
        for entries in self.design.third_tables():
            unprotect(entries)
        self.active = False

    def write(self, gfns: Any) -> int:
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
        stream = self.design.frames(gfns)
        self._check_ram(stream)
        self.design.require_ready()
        self.design.switch_to()
        start = perf_counter_ns()
        found = self._handle(stream)
        self.fault_ns += perf_counter_ns() - start
        self.n_writes += stream.size
        self.n_faults += found
        return found

    def _handle(self, stream: NDArray[np.uint64]) -> int:
        return int(fault(self.design.tables, (), stream, np.uint64(self.first), self._dirty))

    def peek(self) -> Bitmap:
        """Copy the bitmap and leave it as it is (PEEK)."""
        return self._dirty.copy()

    def clean(self) -> Bitmap:
        """Copy the bitmap, clear it, and protect all memory again (CLEAN)."""
        dirty = self._dirty.copy()
        self._dirty[:] = 0
        if self.active:
            self._protect()
        return dirty

    @property
    def n_dirty(self) -> int:
        """Pages marked since the bitmap was last cleared."""
        return count(self._dirty)

    def _protect(self) -> None:
        start = perf_counter_ns()
        for entries in self.design.third_tables():
            protect(entries)
        self.protect_ns += perf_counter_ns() - start

    def _check_ram(self, stream: NDArray[np.uint64]) -> None:
        ends = self._ram.end_pfn.astype(np.uint64)
        if ends.size == 1 and stream.size:
            inside = np.uint64(self.first) <= stream.min() and stream.max() < ends[0]
            if inside:
                return
        run = np.searchsorted(ends, stream, side="right")
        first = np.append(self._ram.first_pfn, np.iinfo(np.int64).max).astype(np.uint64)
        outside = np.flatnonzero(stream < first[run])
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


def count(bitmap: Bitmap) -> int:
    """Count the pages that a bitmap marks."""
    return int(np.bitwise_count(bitmap).sum())


def marked(bitmap: Bitmap, bits: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Tell for each of `bits` whether the bitmap marks it."""
    words = bitmap[(bits >> np.uint64(6)).astype(np.int64)]
    return ((words >> (bits & np.uint64(63))) & np.uint64(1)).astype(np.bool_)


def frames_of(bitmap: Bitmap, first: int) -> NDArray[np.uint64]:
    """List the frames that a bitmap marks, in order; bit 0 is frame `first`."""
    bits = np.unpackbits(bitmap.view(np.uint8), bitorder="little")
    return np.flatnonzero(bits).astype(np.uint64) + np.uint64(first)
