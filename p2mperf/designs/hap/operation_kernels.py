"""What is done to a guest's memory, compiled: frames added, removed and retyped, with the m2p kept in step.

guest_physmap_add_entry, p2m_remove_page and p2m_change_type of xen/arch/x86/mm/p2m.c, as they are since their
loops go over all frames of an order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.hap.change_kernels import Done, place, prepare_range, set_range
from p2mperf.designs.hap.entry_kernels import ADDRESS, PAGE, PRESENT, SUPERPAGE, inlined, small_entry
from p2mperf.designs.hap.store_kernels import (
    DONE,
    FAILED,
    MAX_MAPPED,
    N_FLUSHES,
    N_WRITES,
    NONE,
    WANTS,
    Store,
    add_count,
    count_of,
    index_of,
    load_slot,
    store_slot,
    table_at,
)
from p2mperf.designs.hap.table_kernels import descend
from p2mperf.designs.hap.view_kernels import Shown
from p2mperf.guests.geometry import Entries, Words
from p2mperf.guests.hap import TYPE_SHIFT, P2mBit, P2mType
from p2mperf.jit import njit
from p2mperf.memory.raw import Word

ZERO, ONE = np.uint64(0), np.uint64(1)
_TYPE_SHIFT, _TYPE_MASK = np.uint64(TYPE_SHIFT), np.uint64(7)
# RAM that can be written to, RAM whose writes are logged and read-only RAM have numbers in a row.
_FIRST_RAM, _LAST_RAM = np.uint64(P2mType.RAM_RW), np.uint64(P2mType.RAM_RO)
# What a type says; not the bit that is PAT or says superpage.
_FLAGS = np.uint64(0xFFF & ~P2mBit.SUPERPAGE)
_MOST_LEVELS = 4


@njit
def entry_at(store: Store, frame: Word) -> Word:
    """Look a frame up, and give its entry as one of 4 KiB; 0 where it is not mapped."""
    # Not the walk of `p2mperf.designs.hap.walk_kernels`, which is compiled for each format: this one is for
    # all, as what changes a p2m is.
    if frame > count_of(store, MAX_MAPPED):
        return ZERO
    table, level = store.root, store.top
    while True:
        slot = load_slot(store, table, index_of(store, frame, level))
        if slot & PRESENT == ZERO:
            return ZERO
        # Before the bit is looked at that says superpage: in L1 it is PAT.
        if level == ZERO:
            return slot
        if slot & SUPERPAGE:
            return small_entry(slot, frame, (ONE << (store.bits * level)) - ONE)
        table = table_at(store, slot)
        level -= ONE


@njit
def find_levels(store: Store, frames: Words, out: NDArray[np.int8]) -> None:
    """Say at which level the leaf of each frame stands, 0 for L1; -1 where it has none.

    Parameters
    ----------
    store : Store
        The p2m.
    frames : ndarray of uint64, shape (n,)
        Guest frames below the end of the table.
    out : ndarray of int8, shape (n,)
        The answers.
    """
    for i in range(frames.size):
        table, level = store.root, store.top
        out[i] = -1
        while True:
            slot = load_slot(store, table, index_of(store, frames[i], level))
            if slot & PRESENT == ZERO:
                break
            if level == ZERO or slot & SUPERPAGE:
                out[i] = np.int8(level)
                break
            table = table_at(store, slot)
            level -= ONE


@inlined
def mfn_of(entry: Word) -> Word:
    """Machine frame of a present 4 KiB entry."""
    return (entry & ADDRESS) >> PAGE


@inlined
def is_ram(entry: Word) -> np.bool_:
    """Whether an entry is of a type that is RAM."""
    kind = (entry >> _TYPE_SHIFT) & _TYPE_MASK
    return entry & PRESENT != ZERO and _FIRST_RAM <= kind <= _LAST_RAM


@inlined
def invalid_of(m2p: Entries) -> Word:
    """INVALID_M2P_ENTRY, as wide as the table's entries are."""
    # Cut to the width of an entry and widened again: 0xFFFFFFFF where they have 4 bytes.
    return np.uint64(m2p.dtype.type(NONE))


@inlined
def alias_of(store: Store, m2p: Entries, mfn: Word, frame: Word) -> Word:
    """Find another guest frame that a machine frame stands behind.

    Parameters
    ----------
    store, m2p
        The p2m and its m2p.
    mfn, frame : uint64
        Machine frame, and the guest frame that does not count.

    Returns
    -------
    uint64
        `NONE` for none.
    """
    # The m2p is believed only if the p2m leads back: `set_entry` leaves it as it was, so that it may tell of
    # a frame that has lost this memory (guest_physmap_add_entry asks both, too).
    old = np.uint64(m2p[mfn])
    if old == invalid_of(m2p) or old == frame:
        return NONE
    entry = entry_at(store, old)
    return old if entry & PRESENT and mfn_of(entry) == mfn else NONE


@njit
def add_range(
    store: Store, views: Shown, sizes: Word, m2p: Entries, frame: Word, mfn: Word, n_frames: Word, flags: Word
) -> Word:
    """Put machine frames behind guest frames: guest_physmap_add_entry.

    What stood behind these guest frames is no longer theirs; where the machine frames stood before, they
    are removed, frame by frame, which splits superpages.

    Parameters
    ----------
    store, views, sizes, frame, mfn, n_frames, flags
        As `p2mperf.designs.hap.change_kernels.set_range`; of a type that is RAM.
    m2p : ndarray of uint64 or uint32
        Kept in step.

    Returns
    -------
    uint64
        `DONE`; `FAILED` or `WANTS`, and nothing that can be looked up has changed.
    """
    for i in range(n_frames):
        alias = alias_of(store, m2p, mfn + i, frame + i)
        if alias != NONE:
            # A split changes no translation, so that what fails after it has still changed none.
            table = descend(store, views, alias, ZERO)
            if table <= WANTS:
                return table
    # After the splits, whose new tables take pages, and mappings of windows, from what this one counts on.
    status = prepare_range(store, views, sizes, frame, mfn, n_frames, flags)
    if status != DONE:
        return status
    invalid = m2p.dtype.type(NONE)
    for i in range(n_frames):
        entry = entry_at(store, frame + i)
        # Only what names this frame: memory that `set_entry` has put behind two frames may be known by the
        # other.
        if is_ram(entry) and np.uint64(m2p[mfn_of(entry)]) == frame + i:
            m2p[mfn_of(entry)] = invalid
    # The way down to each of them is there since the first loop: from here on nothing wants a page.
    for i in range(n_frames):
        # Asked again: what lay in this range itself lost its entry of the m2p just now and needs no removal,
        # as it is written over.
        alias = alias_of(store, m2p, mfn + i, frame + i)
        if alias != NONE:
            place(store, views, descend(store, views, alias, ZERO), alias, ZERO, ZERO)
    status = set_range(store, views, sizes, frame, mfn, n_frames, flags)
    if status == DONE:
        # The p2m first, the m2p after it, as in Xen; and frame by frame, as an m2p has no superpages.
        for i in range(n_frames):
            m2p[mfn + i] = m2p.dtype.type(frame + i)
    return status


@njit
def add_ranges(
    store: Store,
    views: Shown,
    sizes: Word,
    m2p: Entries,
    frames: Words,
    mfns: Words,
    orders: Words,
    flags: Word,
    first: int,
    done: Done,
) -> int:
    """Add ranges one after the other, up to one that wants a page that is not at hand.

    Parameters
    ----------
    store, views, sizes, m2p, frames, mfns, orders, flags, first, done
        As `p2mperf.designs.hap.change_kernels.set_ranges`, and the m2p as `add_range`.

    Returns
    -------
    int
        Where it stopped; n at the end.
    """
    for i in range(first, frames.size):
        status = add_range(store, views, sizes, m2p, frames[i], mfns[i], ONE << orders[i], flags)
        if status == WANTS:
            return i
        done[i] = status == DONE
    return frames.size


@njit
def remove_range(
    store: Store, views: Shown, sizes: Word, m2p: Entries, frame: Word, mfn: Word, n_frames: Word
) -> Word:
    """Take machine frames away from guest frames, if they are all there: p2m_remove_page.

    Parameters
    ----------
    store, views, sizes, m2p, frame, mfn, n_frames
        As `add_range`.

    Returns
    -------
    uint64
        `DONE`; `FAILED` or `WANTS`, and nothing that can be looked up has changed.
    """
    for i in range(n_frames):
        # All of them before anything is done: Xen refuses the range with -EILSEQ, not a part of it.
        entry = entry_at(store, frame + i)
        if entry & PRESENT == ZERO or mfn_of(entry) != mfn + i:
            return FAILED
    # An mfn of 0 stands for none: a whole leaf is emptied by one write, as since May 2017 (efa9596e9d).
    status = prepare_range(store, views, sizes, frame, ZERO, n_frames, ZERO)
    if status != DONE:
        return status
    for i in range(n_frames):
        if np.uint64(m2p[mfn + i]) == frame + i:
            m2p[mfn + i] = m2p.dtype.type(NONE)
    return set_range(store, views, sizes, frame, ZERO, n_frames, ZERO)


@njit
def remove_ranges(
    store: Store,
    views: Shown,
    sizes: Word,
    m2p: Entries,
    frames: Words,
    mfns: Words,
    orders: Words,
    first: int,
    done: Done,
) -> int:
    """Remove ranges one after the other, up to one that wants a page that is not at hand.

    Parameters
    ----------
    store, views, sizes, m2p, frames, mfns, orders, first, done
        As `add_ranges`.

    Returns
    -------
    int
        Where it stopped; n at the end.
    """
    for i in range(first, frames.size):
        status = remove_range(store, views, sizes, m2p, frames[i], mfns[i], ONE << orders[i])
        if status == WANTS:
            return i
        done[i] = status == DONE
    return frames.size


@njit
def change_types(
    store: Store, views: Shown, frames: Words, old_type: Word, flags: Word, first: int, done: Done
) -> int:
    """Give single frames of one type another: p2m_change_type, which splits superpages.

    Parameters
    ----------
    store, views, first, done
        As `add_ranges`.
    frames : ndarray of uint64, shape (n,)
        Guest frames.
    old_type : uint64
        Frames of another type are left as they are, and not done.
    flags : uint64
        Bits of the new type.

    Returns
    -------
    int
        Where it stopped; n at the end.
    """
    for i in range(first, frames.size):
        entry = entry_at(store, frames[i])
        done[i] = entry & PRESENT != ZERO and (entry >> _TYPE_SHIFT) & _TYPE_MASK == old_type
        if done[i]:
            table = descend(store, views, frames[i], ZERO)
            if table == WANTS:
                return i
            done[i] = table != FAILED
            if done[i]:
                # Not read again after the split, which leaves just this entry: `small_entry` is what it
                # writes.
                place(store, views, table, frames[i], ZERO, (entry & ~_FLAGS) | flags)
    return frames.size


@njit
def retype_all(store: Store, old_type: Word, flags: Word) -> Word:
    """Give all leaves of one type another, superpages where they stand: p2m_change_type_global.

    Parameters
    ----------
    store : Store
        The p2m.
    old_type, flags : uint64
        Which leaves, and bits of the new type.

    Returns
    -------
    uint64
        Leaves that were changed.
    """
    n_changed, n_entries = ZERO, ONE << store.bits
    tables, indices = np.zeros(_MOST_LEVELS, np.uint64), np.zeros(_MOST_LEVELS, np.uint64)
    level = store.top
    tables[level] = store.root
    while True:
        if indices[level] == n_entries:
            if level == store.top:
                break
            level += ONE
            indices[level] += ONE
            continue
        slot = load_slot(store, tables[level], indices[level])
        if slot & PRESENT and level != ZERO and slot & SUPERPAGE == ZERO:
            level -= ONE
            tables[level], indices[level] = table_at(store, slot), ZERO
            continue
        if slot & PRESENT and (slot >> _TYPE_SHIFT) & _TYPE_MASK == old_type:
            # A superpage too keeps its size and its frame (p2m_change_type_global splits none), so that no
            # window has to follow.
            store_slot(store, tables[level], indices[level], (slot & ~_FLAGS) | flags)
            n_changed += ONE
        indices[level] += ONE
    add_count(store, N_WRITES, n_changed)
    # Once for all, if there was anything, as p2m_pt_change_entry_type_global does behind its loop. Cast, as a
    # uint64 and a bool make a float64 to numba.
    add_count(store, N_FLUSHES, np.uint64(n_changed != ZERO))
    return n_changed


@njit
def count_leaves(store: Store, counts: Words) -> None:
    """Count leaves by level.

    Parameters
    ----------
    store : Store
        The p2m.
    counts : ndarray of uint64, shape (n_levels,)
        Added to.
    """
    n_entries = ONE << store.bits
    tables, indices = np.zeros(_MOST_LEVELS, np.uint64), np.zeros(_MOST_LEVELS, np.uint64)
    level = store.top
    tables[level] = store.root
    while True:
        if indices[level] == n_entries:
            if level == store.top:
                return
            level += ONE
        else:
            slot = load_slot(store, tables[level], indices[level])
            if slot & PRESENT and level != ZERO and slot & SUPERPAGE == ZERO:
                level -= ONE
                tables[level], indices[level] = table_at(store, slot), ZERO
                continue
            # PRESENT is bit 0: a leaf is 1, an empty entry 0, and no branch asks which.
            counts[level] += slot & PRESENT
        indices[level] += ONE
