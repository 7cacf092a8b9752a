"""The tables of a p2m in compiled code: read, written, linked, split, and freed.

p2m_next_level of xen/arch/x86/mm/p2m.c (3.3) and p2m-pt.c (since 4.1). A new table is filled before anything
points to it, so that who reads meanwhile finds the superpage or all of the table.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.hap.entry_kernels import (
    ADDRESS,
    LEAF,
    PAGE,
    POINTER,
    PRESENT,
    SUPERPAGE,
    SUPERPAGE_PAT,
    inlined,
)
from p2mperf.designs.hap.view_kernels import has_room, show
from p2mperf.guests.geometry import Words
from p2mperf.jit import njit
from p2mperf.memory.raw import load_element32, load_element64, store_element32, store_element64

ZERO, ONE = np.uint64(0), np.uint64(1)
NONE = ~ZERO
# What becomes of a change; an address of a table is none of them.
FAILED, WANTS, DONE = np.uint64(0), np.uint64(1), np.uint64(2)
# In `Store.counts`. Freed tables of each level are lists of their own: who still reads one that was freed
# meanwhile finds entries of its level, and no guest RAM behind what it takes for pointers.
COUNTS = (
    "free_l1",
    "free_l2",
    "free_l3",
    "free_l4",
    "n_l1",
    "n_l2",
    "n_l3",
    "n_l4",
    "fresh",
    "fresh_end",
    "pool_left",
    "present",
    "max_mapped",
    "writes",
    "tables",
    "splits",
    "flushes",
    "patient",
)
_FREE, _N_TABLES = np.uint64(0), np.uint64(4)
(
    FRESH,
    FRESH_END,
    POOL_LEFT,
    N_PRESENT,
    MAX_MAPPED,
    N_WRITES,
    N_TAKEN,
    N_SPLITS,
    N_FLUSHES,
    PATIENT,
) = (np.uint64(n) for n in range(8, len(COUNTS)))


class Store(NamedTuple):
    """A p2m as compiled code changes it.

    Attributes
    ----------
    root : uint64
        Address of the root.
    base : uint64
        Added to a machine address to make an address of this process.
    origin : uint64
        Machine frame of the pool's frame 0.
    bits : uint64
        Bits of a guest frame that select an entry of one table.
    top : uint64
        Level of the root, L1 being level 0.
    largest : uint64
        Highest level whose entries can be superpages.
    is_wide : bool
        Whether entries have 8 bytes, else 4.
    levels : ndarray of uint8
        For each frame of the pool: 1 for an L1 table, 2 for an L2 table ..., 0 for what is no table.
    next_free : ndarray of uint64
        For each frame that is on a list of free ones: the next.
    counts : ndarray of uint64, shape (len(COUNTS),)
        What `COUNTS` names.
    """

    root: np.uint64
    base: np.uint64
    origin: np.uint64
    bits: np.uint64
    top: np.uint64
    largest: np.uint64
    is_wide: bool
    levels: NDArray[np.uint8]
    next_free: Words
    counts: Words


@inlined
def load_slot(store, table, index):  # type: ignore[no-untyped-def]
    """Read an entry.

    Parameters
    ----------
    store : Store
        The p2m.
    table : uint64
        Address of the table.
    index : uint64
        Which of its entries.
    """
    return load_element64(table, index) if store.is_wide else load_element32(table, index)


@inlined
def store_slot(store, table, index, word):  # type: ignore[no-untyped-def]
    """Write an entry.

    Parameters
    ----------
    store, table, index
        As `load_slot`.
    word : uint64
        The entry.
    """
    if store.is_wide:
        store_element64(table, index, word)
    else:
        store_element32(table, index, word)


@inlined
def index_of(store, frame, level):  # type: ignore[no-untyped-def]
    """Which entry of its table is for a guest frame.

    Parameters
    ----------
    store : Store
        The p2m.
    frame : uint64
        Guest frame.
    level : uint64
        Level of the table.
    """
    return (frame >> (store.bits * level)) & ((ONE << store.bits) - ONE)


@inlined
def table_at(store, slot):  # type: ignore[no-untyped-def]
    """Address of the table that an entry points to."""
    return (slot & ADDRESS) + store.base


@inlined
def frame_of(store, slot):  # type: ignore[no-untyped-def]
    """Pool frame of the table that an entry points to."""
    return (slot >> PAGE) - store.origin


@njit
def take_table(store, views, level):  # type: ignore[no-untyped-def]
    """Take a page for a table, whose content is what it was.

    Parameters
    ----------
    store, views
        The p2m and its windows.
    level : uint64
        Level of the table.

    Returns
    -------
    uint64
        Its frame; `NONE` when the domain's pool is used up, and ``NONE - 1`` when no page is at hand, or no
        mapping to show it by, but the caller may be given some.
    """
    counts = store.counts
    if counts[POOL_LEFT] == ZERO:
        return NONE
    frame = counts[_FREE + level]
    if (frame == NONE and counts[FRESH] == counts[FRESH_END]) or not has_room(views, ONE):
        return NONE - ONE if counts[PATIENT] else NONE
    if frame == NONE:
        frame = counts[FRESH]
        counts[FRESH] += ONE
    else:
        counts[_FREE + level] = store.next_free[frame]
    store.levels[frame] = np.uint8(level + ONE)
    counts[POOL_LEFT] -= ONE
    counts[_N_TABLES + level] += ONE
    counts[N_TAKEN] += ONE
    return frame


@njit
def give_table(store, frame, level):  # type: ignore[no-untyped-def]
    """Put a table's page back.

    Parameters
    ----------
    store : Store
        The p2m.
    frame : uint64
        The page.
    level : uint64
        Level of the table that it was.
    """
    counts = store.counts
    store.levels[frame] = np.uint8(0)
    store.next_free[frame] = counts[_FREE + level]
    counts[_FREE + level] = frame
    counts[POOL_LEFT] += ONE
    counts[_N_TABLES + level] -= ONE


@njit
def next_table(store, views, table, frame, level):  # type: ignore[no-untyped-def]
    """Descend one level: p2m_next_level. An empty entry gets a table, a superpage is split.

    Parameters
    ----------
    store, views
        The p2m and its windows.
    table : uint64
        Address of a table.
    frame : uint64
        Guest frame.
    level : uint64
        Level of the table, at least 1.

    Returns
    -------
    uint64
        Address of the table below; `FAILED` or `WANTS` when there is no page, and nothing has changed.
    """
    index = index_of(store, frame, level)
    slot = load_slot(store, table, index)
    if slot & LEAF == PRESENT:
        return table_at(store, slot)
    if slot != ZERO and (slot & PRESENT == ZERO or level > store.largest):
        return FAILED  # what is not present but says something is not ours to replace
    below = level - ONE
    taken = take_table(store, views, below)
    if taken >= NONE - ONE:
        return FAILED if taken == NONE else WANTS
    pointer = ((taken + store.origin) << PAGE) | POINTER
    child = table_at(store, pointer)
    n_entries, word, step = ONE << store.bits, slot, ZERO
    if slot != ZERO:
        step = ONE << (PAGE + store.bits * below)
        if below == ZERO:
            # Bit 7 of an entry for 4 KiB is PAT, whose place in a superpage is the lowest address bit.
            word = slot & ~SUPERPAGE_PAT if slot & SUPERPAGE_PAT else slot & ~SUPERPAGE
    if store.is_wide:
        for i in range(n_entries):
            store_element64(child, i, word + i * step)
    else:
        for i in range(n_entries):
            store_element32(child, i, word + i * step)
    # A reader finds the new table in the window before the entry above leads there, and never guest RAM.
    if not show(views, below, frame >> (store.bits * level), ONE, taken):
        give_table(store, taken, below)
        return FAILED
    store_slot(store, table, index, pointer)
    store.counts[N_WRITES] += ONE
    if slot != ZERO:
        store.counts[N_WRITES] += n_entries
        store.counts[N_SPLITS] += ONE
        store.counts[N_FLUSHES] += ONE
    return child


@njit
def descend(store, views, frame, level):  # type: ignore[no-untyped-def]
    """Make sure that there is a table of some level for a guest frame.

    Parameters
    ----------
    store, views
        The p2m and its windows.
    frame : uint64
        Guest frame.
    level : uint64
        Level of the table.

    Returns
    -------
    uint64
        Address of the table; `FAILED` or `WANTS` when there is no page, and no translation has changed.
    """
    table, at = store.root, store.top
    while at != level and table > DONE:
        table = next_table(store, views, table, frame, at)
        at -= ONE
    return table


@njit
def free_below(store, slot, level):  # type: ignore[no-untyped-def]
    """Free all tables below an entry that has pointed to one; how many frames they have mapped.

    Parameters
    ----------
    store : Store
        The p2m.
    slot : uint64
        The entry.
    level : uint64
        Its level, 1 or 2.
    """
    table, frame, n_entries, n_mapped = table_at(store, slot), frame_of(store, slot), ONE << store.bits, ZERO
    for i in range(n_entries):
        entry = load_slot(store, table, i)
        if entry & PRESENT == ZERO:
            continue
        if level == ONE:
            n_mapped += ONE
        elif entry & SUPERPAGE:
            n_mapped += n_entries
        else:
            small = table_at(store, entry)
            for k in range(n_entries):
                n_mapped += load_slot(store, small, k) & PRESENT
            give_table(store, frame_of(store, entry), ZERO)
    give_table(store, frame, level - ONE)
    return n_mapped
