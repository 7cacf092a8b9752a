"""Compiled audits of a p2m: its tables from the root down, the m2p, and what windows must show.

xen/arch/x86/mm/p2m-pt.c (p2m_pt_audit_p2m) does the like, in three loops for three sizes. Its loop over 1 GiB
goes on to the next gigabyte with each frame, and then takes the superpage for a table; here one walk serves
all levels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.hap.entry_kernels import ADDRESS, PAGE, PRESENT, SUPERPAGE, SUPERPAGE_PAT
from p2mperf.designs.hap.operation_kernels import entry_at, invalid_of, is_ram, mfn_of
from p2mperf.designs.hap.store_kernels import MAX_MAPPED, NONE, Store, count_of, level_at, load_slot, table_at
from p2mperf.designs.hap.view_kernels import Views, first_page
from p2mperf.guests.geometry import Entries, Words
from p2mperf.jit import njit
from p2mperf.memory.raw import Counted, Word
from p2mperf.tables.walk import walk

ZERO, ONE = np.uint64(0), np.uint64(1)
# A walk has room for so many, whatever the format: an address and an index for each level.
_MOST_LEVELS = 4
FAULTS = (
    "",
    "I3: an entry says superpage where there are none",
    "I4: the address of a superpage is not a multiple of its size",
    "I7: an entry points to no table of the level below",
    "I7: two entries point to one table",
    "I1: the m2p has another guest frame for a machine frame than the p2m",
    "I10: a frame is mapped above the highest that ever was",
    "I5: an entry is not present and not empty",
    "I1: a machine frame is beyond the machine",
)
_CLEAN, _NO_SUPERPAGE, _MISALIGNED, _ASTRAY, _TWICE, _M2P, _TOO_HIGH, _NOT_PRESENT, _BEYOND = range(
    len(FAULTS)
)


@njit
def check_leaf(store: Store, m2p: Entries, slot: Word, frame: Word, level: Word) -> int:
    """Check one leaf and the m2p of all its frames; index of what is wrong in `FAULTS`.

    Parameters
    ----------
    store : Store
        The p2m.
    m2p : ndarray of uint64 or uint32
        Machine frame to guest frame.
    slot : uint64
        The leaf.
    frame : uint64
        Its first guest frame.
    level : uint64
        Its level.
    """
    n_frames = ONE << (store.bits * level)
    mfn = mfn_of(slot)
    if level != ZERO:
        # The lowest bit of its address is PAT, which a superpage may have and still be aligned.
        mfn = mfn_of(slot & ~SUPERPAGE_PAT)
        if mfn & (n_frames - ONE) != ZERO:
            return _MISALIGNED
    # Its last frame, for lookups end at the highest: by its first a superpage could reach beyond it unseen.
    if frame + n_frames - ONE > count_of(store, MAX_MAPPED):
        return _TOO_HIGH
    # Only now, as a device's leaf must be aligned and in reach, too. Xen's audit came to exempt mmio_direct
    # as well.
    if not is_ram(slot):
        return _CLEAN  # a device's, which has no entry in the m2p
    # Cast: a size is signed, and numba compares signed and unsigned words as floats.
    if mfn + n_frames > np.uint64(m2p.size):
        return _BEYOND
    # Counted to the end: of a loop that leaves at the first one LLVM makes no vectors, which costs 0.39 ns a
    # frame of 2 MiB for 0.09. Cast: numba adds a bool to an unsigned word as floats, which took 0.62.
    n_wrong = ZERO
    for i in range(n_frames):
        n_wrong += np.uint64(np.uint64(m2p[mfn + i]) != frame + i)
    return _M2P if n_wrong else _CLEAN


@njit(forceinline=True)
def _check_pointer(store: Store, seen: NDArray[np.bool_], slot: Word, level: Word) -> int:
    """Check an entry that points to a table, which is seen then; index of what is wrong in `FAULTS`."""
    child = ((slot & ADDRESS) >> PAGE) - store.origin
    # Unsigned, so that a frame below the pool is far above its end. Levels there count from 1: the number of
    # a child is the index of the level that points to it.
    if child >= store.n_frames or level_at(store, child) != level:
        return _ASTRAY
    # Each table once: if two entries led to one, a change through either would change both.
    if seen[child]:
        return _TWICE
    seen[child] = True
    return _CLEAN


@njit
def check_tables(
    store: Store, m2p: Entries, seen: NDArray[np.bool_], leaves: Words, tables: Words
) -> tuple[int, Word, Word]:
    """Walk all tables in memory and check every entry.

    Parameters
    ----------
    store, m2p
        As `check_leaf`.
    seen : ndarray of bool, shape (n_frames,)
        All False; set for each frame of the pool that holds a table.
    leaves, tables : ndarray of uint64, shape (4,)
        Counted: leaves and tables of each level.

    Returns
    -------
    fault : int
        Index of what is wrong in `FAULTS`; 0 for nothing.
    frame, level : uint64
        First guest frame of the entry, and its level.
    """
    n_entries = ONE << store.bits
    at, indices = np.zeros(_MOST_LEVELS, np.uint64), np.zeros(_MOST_LEVELS, np.uint64)
    level, frame = store.top, ZERO
    at[level] = store.root
    root = (store.root - store.base >> PAGE) - store.origin
    seen[root] = True
    tables[level] += ONE
    while True:
        step = ONE << (store.bits * level)
        if indices[level] == n_entries:
            if level == store.top:
                return _CLEAN, ZERO, ZERO
            level += ONE
            indices[level] += ONE
            continue
        slot = load_slot(store, at[level], indices[level])
        # What stands above this level is of the way down and still holds; what is below was the last child's.
        frame = frame & ~((step << store.bits) - ONE) | indices[level] * step
        fault = _CLEAN
        if slot & PRESENT == ZERO:
            fault = _NOT_PRESENT if slot != ZERO else _CLEAN
        # At L1 the bit is PAT; above the largest superpage it must not be set, and is a fault below.
        elif level == ZERO or (slot & SUPERPAGE and level <= store.largest):
            fault = check_leaf(store, m2p, slot, frame, level)
            leaves[level] += ONE
        elif slot & SUPERPAGE:
            fault = _NO_SUPERPAGE
        else:
            fault = _check_pointer(store, seen, slot, level)
            if fault == _CLEAN:
                level -= ONE
                tables[level] += ONE
                # Down at once, in order of frames: what is said to be wrong is the lowest that is.
                at[level], indices[level] = table_at(store, slot), ZERO
                continue
        if fault != _CLEAN:
            return fault, frame, level
        indices[level] += ONE


@njit
def check_way_back(store: Store, m2p: Entries) -> Counted:
    """Find a machine frame that the m2p gives to a guest frame which is mapped elsewhere; `NONE` for none."""
    invalid = invalid_of(m2p)
    # Not the same as the way forth: a frame that is mapped nowhere is in no table, but may still be in the
    # m2p. Xen has both parts, this one over the pages that a domain owns.
    for mfn in range(np.uint64(m2p.size)):
        frame = np.uint64(m2p[mfn])
        if frame != invalid:
            entry = entry_at(store, frame)
            if entry & PRESENT == ZERO or mfn_of(entry) != mfn:
                return mfn
    return NONE


@njit
def compare_ways(walked: NamedTuple, shown: NamedTuple, end: Word) -> tuple[Counted, Word]:
    """Look every frame up in two ways.

    Parameters
    ----------
    walked, shown
        What the two lookups take.
    end : uint64
        Frames from 0 to here.

    Returns
    -------
    frame : uint64
        The first that they do not agree on; `NONE` for none.
    n_present : uint64
        Frames up to there that are mapped.
    """
    n_present, by_walk, by_other = ZERO, (), ()
    for frame in range(end):
        entry, by_walk = walk(walked, by_walk, (), frame)
        other, by_other = walk(shown, by_other, (), frame)
        if entry != other:
            return frame, n_present
        # Present is bit 0. Counted, as two lookups that miss everything would agree, too.
        n_present += entry & PRESENT
    return NONE, n_present


@njit
def find_shown(store: Store, views: Views, expected: NDArray[np.int64]) -> None:
    """Say what the tables in memory ask windows to show.

    Parameters
    ----------
    store, views
        The p2m and its windows.
    expected : ndarray of int64
        All -1; set to the frame on each page of the windows' area.
    """
    n_entries, n_windows = ONE << store.bits, views.n_windows
    at, indices = np.zeros(_MOST_LEVELS, np.uint64), np.zeros(_MOST_LEVELS, np.uint64)
    level: Counted
    level, frame = store.top, ZERO
    at[level] = store.root
    # Without PAE the root has a window itself; otherwise it is in none, as in Xen.
    if level < n_windows:
        expected[first_page(views, level)] = np.int64((store.root - store.base >> PAGE) - store.origin)
    while True:
        step = ONE << (store.bits * level)
        # The window of L1 shows what L2 points to: entries of L1 themselves say nothing of it.
        if level == ZERO or indices[level] == n_entries:
            if level == store.top:
                return
            level += ONE
            indices[level] += ONE
            continue
        slot = load_slot(store, at[level], indices[level])
        frame = frame & ~((step << store.bits) - ONE) | indices[level] * step
        if slot & PRESENT and slot & SUPERPAGE == ZERO:
            below: Counted = level - ONE
            if below < n_windows:
                page = first_page(views, below) + (frame >> (store.bits * level))
                expected[page] = np.int64((slot >> PAGE) - store.origin)
            level = below
            at[level], indices[level] = table_at(store, slot), ZERO
            continue
        if slot & PRESENT:
            for below in range(level):
                page = frame >> (store.bits * (below + ONE))
                for k in range(ONE << (store.bits * (level - ONE - below))):
                    # A row of stand-ins is as long as a table: beyond it begins again, as `TablePlan.shown`
                    # has it.
                    row = views.stand_in + ((page + k) & (n_entries - ONE))
                    expected[first_page(views, below) + page + k] = np.int64(row)
        indices[level] += ONE
