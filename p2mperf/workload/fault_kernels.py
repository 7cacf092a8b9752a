"""Compiled: tells faults apart by what the kernel does on the same thread until something else happens."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2mperf.jit import njit
from p2mperf.workload.events import Event
from p2mperf.workload.translation_stream import Entered

_FAULT_KERNEL, _ALLOC, _MAP_PAGES, _CACHE_ADD, _SWITCH, _FIRST_XEN = (
    int(event)
    for event in (
        Event.FAULT_KERNEL,
        Event.ALLOC,
        Event.MAP_PAGES,
        Event.CACHE_ADD,
        Event.SWITCH,
        Event.XEN_SET_PTE,
    )
)
_ANONYMOUS, _ZERO_READ, _PRIVATE, _FILE, _ZERO_WRITE, _COPY, _REUSE, _UNKNOWN = (
    int(entered)
    for entered in (
        Entered.ANONYMOUS_WRITE,
        Entered.ZERO_READ,
        Entered.PRIVATE_FILE_WRITE,
        Entered.FILE_READ,
        Entered.ZERO_PAGE_WRITE,
        Entered.COPY_ON_WRITE,
        Entered.REUSE,
        Entered.UNCLASSIFIED,
    )
)
# Of x86's error code, arch/x86/include/asm/trap_pf.h.
_PRESENT, _WRITE, _FETCH = 1, 2, 16
# 47 bits of address are the user's.
USER_PAGES = 1 << 35
GFP_MASK, _ORDER_MASK = 0xFFFF_FFFF, 0xFF
ORDER_SHIFT, KIND_SHIFT = 32, 40


class Flags(NamedTuple):
    """Bits of an allocation that tell what it is for.

    Attributes
    ----------
    table, not_table : int64
        All of the first and none of the second: a page of a page table, of order 0 and no mobility.
    data : int64
        All of them: a page of a process.
    zero : int64
        It is cleared.
    """

    table: np.int64
    not_table: np.int64
    data: np.int64
    zero: np.int64


class Found(NamedTuple):
    """What is written down.

    Attributes
    ----------
    at : ndarray of int64, shape (n_faults,)
        Event of each fault.
    entered : ndarray of uint8, shape (n_faults,)
        Its class.
    frame, window_at : ndarray of int64, shape (n_faults,)
        Frame of the page that was allocated for it, event of its window; -1 for none.
    missed : ndarray of bool, shape (n_faults,)
        Whether a page was read for it.
    table_fault, table_at : ndarray of int64, shape (n_allocations,)
        Fault of each page of a page table, -1 for one outside faults, and its event.
    """

    at: NDArray[np.int64]
    entered: NDArray[np.uint8]
    frame: NDArray[np.int64]
    window_at: NDArray[np.int64]
    missed: NDArray[np.bool_]
    table_fault: NDArray[np.int64]
    table_at: NDArray[np.int64]


@njit
def classify_into(
    pid: NDArray[np.int32],
    event: NDArray[np.int8],
    value: NDArray[np.int64],
    aux: NDArray[np.int64],
    flags: Flags,
    last: NDArray[np.int64],
    found: Found,
) -> tuple[int, int]:
    """Go through events once; what a thread allocates and maps belongs to its last fault.

    Parameters
    ----------
    pid, event, value, aux : ndarray, shape (n_events,)
        As a recording has them.
    flags : Flags
        Bits of this kernel.
    last : ndarray of int64, shape (n_threads,)
        -1 each: the fault that a thread is in.
    found : Found
        Takes what is found. `entered` holds meanwhile which pages were allocated: 1 cleared, 2 not; `missed`
        is false.

    Returns
    -------
    (int, int)
        Pages of page tables, and faults that were given more than one page.
    """
    n_faults, n_tables, n_large = 0, 0, 0
    for i in range(event.size):
        # Two tests settle 93 and 88 % of the events of the shipped recordings: faults and allocations.
        what, thread = event[i], pid[i]
        if what <= _FAULT_KERNEL:
            found.at[n_faults] = i
            found.entered[n_faults] = 0
            found.frame[n_faults] = -1
            found.window_at[n_faults] = -1
            last[thread] = n_faults
            n_faults += 1
            continue
        # The thread's last fault, not the CPU's: in one a thread may be switched away, and what tells it
        # apart come after that (of 122 and 185 faults in the shipped recordings), on whichever CPU.
        fault = last[thread]
        if what == _ALLOC:
            gfp, order = aux[i] & GFP_MASK, (aux[i] >> ORDER_SHIFT) & _ORDER_MASK
            is_table = gfp & flags.table == flags.table and gfp & flags.not_table == 0
            if is_table and order <= 1 and aux[i] >> KIND_SHIFT == 0:
                # With the user's half beside it a pgd is of order 1: the thread forks, or runs a program.
                if order == 1:
                    last[thread] = fault = -1
                found.table_fault[n_tables], found.table_at[n_tables] = fault, i
                n_tables += 1
            # The first page alone is what the fault maps. Others may follow, and read-ahead allocates with
            # the same flags: 945 and 1168 pages came second in the shipped recordings, and 51 and 79 in
            # faults that only read.
            elif fault >= 0 and gfp & flags.data == flags.data and found.entered[fault] == 0:
                found.entered[fault] = 1 if gfp & flags.zero else 2
                found.frame[fault] = value[i]
                n_large += order > 0
        elif what == _MAP_PAGES:
            if fault >= 0 and found.window_at[fault] < 0:
                found.window_at[fault] = i
        elif what == _CACHE_ADD:
            if fault >= 0:
                found.missed[fault] = True
        # A system call, a program or an end: what is allocated from here on is not the fault's. A switch is
        # no such thing, nor are Xen's events, which are what the fault itself does.
        elif what != _SWITCH and what < _FIRST_XEN:
            last[thread] = -1
    # Only now: what tells a fault comes after it, mixed with what other threads do.
    for fault in range(n_faults):
        at = found.at[fault]
        _name(found, fault, value[at], aux[at])
    return n_tables, n_large


# A call: written into the loop by numba, it counts references to `found`, five times as long for all.
@njit
def _name(found: Found, fault: int, page: int, code: int) -> None:
    """Give a fault its class; a page that it did not allocate for itself is not its."""
    allocated = found.entered[fault]
    is_mapped = found.window_at[fault] >= 0 or found.missed[fault]
    what = _UNKNOWN
    if 0 <= page < USER_PAGES:
        # Whether the new page was cleared tells what stood there: nothing or the page of zeroes, of which no
        # copy is made (do_anonymous_page, do_wp_page; Linux 3.18 mm/memory.c), or a page of a file or one
        # that is shared, which is copied over it (do_cow_fault, do_wp_page).
        if code & _WRITE:
            if allocated == 0:
                what = _REUSE if code & _PRESENT else _UNKNOWN
            elif code & _PRESENT:
                what = _ZERO_WRITE if allocated == 1 else _COPY
            else:
                what = _ANONYMOUS if allocated == 1 else _PRIVATE
        elif not code & _PRESENT:
            if is_mapped:
                what = _FILE
            elif not code & _FETCH:
                what = _ZERO_READ
    found.entered[fault] = what
    if what in (_FILE, _ZERO_READ, _UNKNOWN):
        found.frame[fault] = -1
    if what != _FILE:
        found.window_at[fault] = -1
