"""The tables of a p2m in compiled code: taken, linked, split, found, and freed.

p2m_next_level of xen/arch/x86/mm/p2m.c (3.3) and p2m-pt.c (since 4.1). A new table is filled before anything
points to it, so that who reads meanwhile finds the superpage or all of the table.
"""

from __future__ import annotations

import numpy as np

from p2mperf.designs.hap.entry_kernels import LEAF, PAGE, POINTER, PRESENT, SUPERPAGE, SUPERPAGE_PAT, inlined
from p2mperf.designs.hap.store_kernels import (
    DONE,
    FAILED,
    FREE,
    FRESH,
    FRESH_END,
    N_FLUSHES,
    N_SPLITS,
    N_TABLES,
    N_TAKEN,
    N_WRITES,
    NONE,
    PATIENT,
    POOL_LEFT,
    WANTS,
    Store,
    add_count,
    count_of,
    frame_of,
    index_of,
    load_slot,
    set_count,
    store_slot,
    table_at,
)
from p2mperf.designs.hap.view_kernels import Shown, has_room, show
from p2mperf.jit import njit
from p2mperf.memory.raw import (
    Word,
    load_element64,
    store_element8,
    store_element32,
    store_element64,
    unlikely,
)

ZERO, ONE = np.uint64(0), np.uint64(1)


@njit
def take_table(store: Store, views: Shown, level: Word) -> Word:
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
    # All that can be wanting is asked for before anything is taken: who gets no page finds all as it was.
    if count_of(store, POOL_LEFT) == ZERO:
        return NONE
    frame, fresh = count_of(store, FREE + level), count_of(store, FRESH)
    if (frame == NONE and fresh == count_of(store, FRESH_END)) or not has_room(views, ONE):
        # Who cannot be given more is not PATIENT (`HapTable.change`), or it would ask for ever.
        return NONE - ONE if count_of(store, PATIENT) else NONE
    if frame == NONE:
        frame = fresh
        set_count(store, FRESH, fresh + ONE)
    else:
        set_count(store, FREE + level, load_element64(store.next_free, frame))
    # From 1 on, as 0 is a page that is no table: the audit counts them without a list.
    store_element8(store.levels, frame, level + ONE)
    add_count(store, POOL_LEFT, ZERO - ONE)
    add_count(store, N_TABLES + level, ONE)
    add_count(store, N_TAKEN, ONE)
    return frame


@njit
def give_table(store: Store, frame: Word, level: Word) -> None:
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
    store_element8(store.levels, frame, ZERO)
    store_element64(store.next_free, frame, count_of(store, FREE + level))
    set_count(store, FREE + level, frame)
    add_count(store, POOL_LEFT, ONE)
    add_count(store, N_TABLES + level, ZERO - ONE)


@njit
def next_table(store: Store, views: Shown, table: Word, frame: Word, level: Word) -> Word:
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
    # One compare for what is there nearly always; in L1, which has PAT for that bit, nobody descends.
    if slot & LEAF == PRESENT:
        return table_at(store, slot)
    # Xen: "Not present doesn't imply empty" (p2m_next_level); such entries are of populate-on-demand or
    # paging.
    if slot != ZERO and (slot & PRESENT == ZERO or level > store.largest):
        return FAILED  # what is not present but says something is not ours to replace
    below = level - ONE
    # Before anything is written: without a page the superpage stays (as in Xen, which returns -ENOMEM).
    taken = take_table(store, views, below)
    if taken >= NONE - ONE:
        return FAILED if taken == NONE else WANTS
    pointer = ((taken + store.origin) << PAGE) | POINTER
    child = table_at(store, pointer)
    # One loop fills both kinds of table: with zeros where there was nothing, as step and word are 0 then.
    n_entries, word, step = ONE << store.bits, slot, ZERO
    if slot != ZERO:
        step = ONE << (PAGE + store.bits * below)
        # Leaves of 2 MiB keep all bits of one of 1 GiB: what says superpage, and where PAT is, is the same.
        if below == ZERO:
            # Bit 7 of an entry for 4 KiB is PAT, whose place in a superpage is the lowest address bit.
            word = slot & ~SUPERPAGE_PAT if slot & SUPERPAGE_PAT else slot & ~SUPERPAGE
    # Products, not a sum that runs along, of which each waits for the one before: 140 ns a split instead of
    # 87. Plain stores, which LLVM makes vectors of, took 51, but nothing holds them to whole entries, which
    # is what those must find who still read a table that was freed.
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
    # Last, and one store: from here on readers find the table. No translation, type or right has changed.
    store_slot(store, table, index, pointer)
    add_count(store, N_WRITES, ONE)
    if slot != ZERO:
        # Zeros in an empty one are no writes: in Xen the page comes cleared (hap_alloc).
        add_count(store, N_WRITES, n_entries)
        add_count(store, N_SPLITS, ONE)
        add_count(store, N_FLUSHES, ONE)
    return child


@inlined
def find_table(store: Store, frame: Word, level: Word) -> Word:
    """Find the table of some level that a guest frame has an entry in.

    Parameters
    ----------
    store, frame, level
        As `descend`.

    Returns
    -------
    uint64
        Its address; `FAILED` when there is none.
    """
    table, at = store.root, store.top
    while at != level:
        slot = load_slot(store, table, index_of(store, frame, at))
        # An empty entry, or a superpage: both are for `descend`, which makes a table there.
        if unlikely(slot & LEAF != PRESENT):
            return FAILED
        table = table_at(store, slot)
        at -= ONE
    return table


@njit
def descend(store: Store, views: Shown, frame: Word, level: Word) -> Word:
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
    # FAILED, WANTS and DONE are below every address, so that one compare ends it.
    while at != level and table > DONE:
        table = next_table(store, views, table, frame, at)
        at -= ONE
    return table


@njit
def free_below(store: Store, slot: Word, level: Word) -> Word:
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
    # Two loops, where p2m_free_entry calls itself: the largest leaf is one of 1 GiB, and has two levels
    # below.
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
                # PRESENT is bit 0, so that it is added as it is, and no branch asks for it.
                n_mapped += load_slot(store, small, k) & PRESENT
            give_table(store, frame_of(store, entry), ZERO)
    give_table(store, frame, level - ONE)
    return n_mapped
