"""Changing a p2m, compiled: ranges cut into the leaves that alignment allows, and leaves set.

Follows set_p2m_entry and p2m_set_entry of xen/arch/x86/mm/p2m.c (3.3) and p2m-pt.c (since 4.1).
What can fail, for want of a page, comes before what changes a translation: so a change that fails has changed
none, though tables that it has linked or split on its way stay, as they do in Xen.
"""

from __future__ import annotations

import numpy as np

from p2mperf.designs.hap.entry_kernels import LEAF, PAGE, PRESENT, SUPERPAGE, inlined
from p2mperf.designs.hap.store_kernels import (
    DONE,
    FAILED,
    MAX_MAPPED,
    N_FLUSHES,
    N_PRESENT,
    N_WRITES,
    PATIENT,
    WANTS,
    descend,
    free_below,
    index_of,
    load_slot,
    store_slot,
)
from p2mperf.designs.hap.view_kernels import has_room, show_below
from p2mperf.jit import njit

ZERO, ONE = np.uint64(0), np.uint64(1)


@njit
def place(store, views, table, frame, level, word):  # type: ignore[no-untyped-def]
    """Write a leaf, or an empty entry, where a table for it is: the end of p2m_set_entry. It cannot fail.

    Parameters
    ----------
    store, views
        The p2m and its windows.
    table : uint64
        Address of the table.
    frame : uint64
        First guest frame of the entry.
    level : uint64
        Level of the table.
    word : uint64
        The entry.
    """
    counts, index, n_frames = store.counts, index_of(store, frame, level), ONE << (store.bits * level)
    old = load_slot(store, table, index)
    was_table = level != ZERO and old & LEAF == PRESENT
    # Holes are shown before a superpage goes, and guest RAM after one has come: what a reader is led to
    # meanwhile is right.
    if level != ZERO and word == ZERO and old != ZERO:
        show_below(views, level, frame, False)
    store_slot(store, table, index, word)
    if level != ZERO and word != ZERO and (was_table or old == ZERO):
        show_below(views, level, frame, True)
    counts[N_WRITES] += ONE
    if old & PRESENT:
        counts[N_FLUSHES] += ONE
        counts[N_PRESENT] -= free_below(store, old, level) if was_table else n_frames
    if word & PRESENT:
        counts[N_PRESENT] += n_frames
        counts[MAX_MAPPED] = max(counts[MAX_MAPPED], frame + n_frames - ONE)


@inlined
def level_of_piece(store, sizes, frame, mfn, left):  # type: ignore[no-untyped-def]
    """Level of the largest leaf that alignment allows, of what is left to set: the loop of set_p2m_entry.

    Parameters
    ----------
    store : Store
        The p2m.
    sizes : uint64
        Bit 1 << level for each level whose entries may be leaves.
    frame, mfn : uint64
        Where the rest begins; an mfn of 0 where entries are emptied.
    left : uint64
        How much it is [frames].
    """
    placed, level = frame | mfn | left, store.largest
    while (sizes >> level) & ONE == ZERO or placed & ((ONE << (store.bits * level)) - ONE) != ZERO:
        level -= ONE
    return level


@njit
def prepare_range(store, views, sizes, frame, mfn, n_frames, flags):  # type: ignore[no-untyped-def]
    """Have all tables there that setting a range takes; `DONE`, `FAILED` or `WANTS`.

    Parameters
    ----------
    store, views, sizes, frame, mfn, n_frames, flags
        As `set_range`.
    """
    end, n_shown = frame + n_frames, ZERO
    while frame != end:
        level = level_of_piece(store, sizes, frame, mfn, end - frame)
        table = descend(store, views, frame, level)
        if table <= WANTS:
            return table
        n_shown += level  # a superpage changes each window below it
        size = ONE << (store.bits * level)
        frame += size
        mfn += size if flags != ZERO else ZERO
    if not has_room(views, n_shown):
        return WANTS if store.counts[PATIENT] else FAILED
    return DONE


@njit
def set_range(store, views, sizes, frame, mfn, n_frames, flags):  # type: ignore[no-untyped-def]
    """Set a range of guest frames, cut into the largest leaves that alignment allows.

    Parameters
    ----------
    store, views
        The p2m and its windows.
    sizes : uint64
        Bit 1 << level for each level whose entries may be leaves; 1 << 0 is among them.
    frame, mfn : uint64
        First frames of guest and machine.
    n_frames : uint64
        How many, a power of two.
    flags : uint64
        Bits of the entries beside the address; 0 empties them, and `mfn` must be 0.

    Returns
    -------
    uint64
        `DONE`; `FAILED` or `WANTS`, and no translation has changed.

    Notes
    -----
    Xen goes on behind a piece that fails and reports it at the end. Here pages come first and all at once.
    """
    # One entry of L1 takes no more than its own descent.
    if n_frames != ONE:
        status = prepare_range(store, views, sizes, frame, mfn, n_frames, flags)
        if status != DONE:
            return status
    end, word = frame + n_frames, ZERO
    while frame != end:
        level = level_of_piece(store, sizes, frame, mfn, end - frame)
        table = descend(store, views, frame, level)
        if table <= WANTS:
            return table
        if flags != ZERO:
            word = (mfn << PAGE) | flags
            if level != ZERO:
                word |= SUPERPAGE
        place(store, views, table, frame, level, word)
        size = ONE << (store.bits * level)
        frame += size
        mfn += size if flags != ZERO else ZERO
    return DONE


@njit
def set_ranges(store, views, sizes, frames, mfns, orders, flags, first, done):  # type: ignore[no-untyped-def]
    """Set ranges one after the other, up to one that wants a page that is not at hand.

    Parameters
    ----------
    store, views, sizes, flags
        As `set_range`.
    frames, mfns : ndarray of uint64, shape (n,)
        First frames of guest and machine; the latter zeros to empty entries.
    orders : ndarray of uint64, shape (n,)
        Sizes [log2 frames].
    first : int
        Where to begin.
    done : ndarray of bool, shape (n,)
        Set to whether each was set.

    Returns
    -------
    int
        Where it stopped; n at the end.
    """
    for i in range(first, frames.size):
        status = set_range(store, views, sizes, frames[i], mfns[i], ONE << orders[i], flags)
        if status == WANTS:
            return i
        done[i] = status == DONE
    return frames.size
