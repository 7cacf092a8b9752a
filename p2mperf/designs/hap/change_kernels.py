"""Changing a p2m, compiled: ranges cut into the leaves that alignment allows, and leaves set.

Follows set_p2m_entry and p2m_set_entry of xen/arch/x86/mm/p2m.c (3.3) and p2m-pt.c (since 4.1).
What can fail, for want of a page, comes before what changes a translation: so a change that fails has changed
none, though tables that it has linked or split on its way stay, as they do in Xen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
    Store,
    add_count,
    count_of,
    index_of,
    load_slot,
    set_count,
    store_slot,
)
from p2mperf.designs.hap.table_kernels import descend, find_table, free_below
from p2mperf.designs.hap.view_kernels import Shown, has_room, show_below
from p2mperf.guests.geometry import Words
from p2mperf.jit import njit
from p2mperf.memory.raw import Word, unlikely

ZERO, ONE = np.uint64(0), np.uint64(1)
Done = NDArray[np.bool_]  # of each range, whether it was done


@inlined
def account(store: Store, frame: Word, n_frames: Word, old: Word, word: Word, n_lost: Word) -> None:
    """Count a write of an entry.

    Parameters
    ----------
    store : Store
        The p2m.
    frame, n_frames : uint64
        Guest frames of the entry.
    old, word : uint64
        What it was, and is.
    n_lost : uint64
        Frames that it has mapped, if it was present.
    """
    add_count(store, N_WRITES, ONE)
    # PRESENT is bit 0, and so the count itself. What was not present, no TLB has.
    add_count(store, N_FLUSHES, old & PRESENT)
    n_gained = n_frames if word & PRESENT else ZERO
    add_count(store, N_PRESENT, n_gained - n_lost if old & PRESENT else n_gained)
    if word & PRESENT:
        # Never down: max_mapped_pfn is the highest that there ever was (p2m_pt_set_entry). It takes the last
        # frame: Xen had two bugs here, one of which missed the top 511 (4565fb811d, a326f234ae).
        set_count(store, MAX_MAPPED, max(count_of(store, MAX_MAPPED), frame + n_frames - ONE))


@inlined
def word_of(mfn: Word, flags: Word, level: Word) -> Word:
    """Make an entry; 0, an empty one, of no flags.

    Parameters
    ----------
    mfn : uint64
        First machine frame.
    flags : uint64
        Bits beside the address, but for the one that says superpage.
    level : uint64
        Level of the table that it is for.
    """
    if flags == ZERO:
        return ZERO
    return (mfn << PAGE) | flags | (SUPERPAGE if level != ZERO else ZERO)


@njit
def place(store: Store, views: Shown, table: Word, frame: Word, level: Word, word: Word) -> None:
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
    index, n_frames = index_of(store, frame, level), ONE << (store.bits * level)
    old = load_slot(store, table, index)
    # An entry of L1 has PAT where those above say superpage, so that it is asked for its level first.
    was_table = level != ZERO and old & LEAF == PRESENT
    # Holes are shown before a superpage goes, and guest RAM after one has come: what a reader is led to
    # meanwhile is right.
    if level != ZERO and word == ZERO and old != ZERO:
        show_below(views, level, frame, False)
    store_slot(store, table, index, word)
    # Over another superpage the windows below show guest RAM already.
    if level != ZERO and word != ZERO and (was_table or old == ZERO):
        show_below(views, level, frame, True)
    # Only now, as in p2m_pt_set_entry, which frees as the last thing that it does: until the store above
    # readers went through these tables.
    n_lost = free_below(store, old, level) if was_table else n_frames
    account(store, frame, n_frames, old, word, n_lost)


@inlined
def level_of_piece(store: Store, sizes: Word, frame: Word, mfn: Word, left: Word) -> Word:
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
    # Or-ed: a bit below a leaf's size in any of the three forbids that leaf, and one mask finds it.
    # An mfn of 0 forbids none. Until May 2017 Xen had INVALID_MFN there, all ones, and removed every
    # superpage frame by frame (efa9596e9d).
    placed, level = frame | mfn | left, store.largest
    # What is left is not 0, so that without a bit below a leaf's size it has room for one. It ends at L1,
    # which is among the sizes and whose mask is 0.
    while (sizes >> level) & ONE == ZERO or placed & ((ONE << (store.bits * level)) - ONE) != ZERO:
        level -= ONE
    return level


@njit
def prepare_range(
    store: Store, views: Shown, sizes: Word, frame: Word, mfn: Word, n_frames: Word, flags: Word
) -> Word:
    """Have all tables there that setting a range takes; `DONE`, `FAILED` or `WANTS`.

    Parameters
    ----------
    store, views, sizes, frame, mfn, n_frames, flags
        As `set_range`.
    """
    end, n_shown = frame + n_frames, ZERO
    # Each step takes what a step of `set_range` will: both cut in the same way, and no piece needs another's.
    while frame != end:
        level = level_of_piece(store, sizes, frame, mfn, end - frame)
        table = descend(store, views, frame, level)
        if table <= WANTS:
            return table
        n_shown += level  # a superpage changes each window below it
        size = ONE << (store.bits * level)
        frame += size
        # It stays 0 where entries are emptied: counted up, it would forbid leaves.
        mfn += size if flags != ZERO else ZERO
    # After all tables, as to show a new one takes mappings of those that are left.
    if not has_room(views, n_shown):
        return WANTS if count_of(store, PATIENT) else FAILED
    return DONE


@njit
def set_range(
    store: Store, views: Shown, sizes: Word, frame: Word, mfn: Word, n_frames: Word, flags: Word
) -> Word:
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
    end = frame + n_frames
    while frame != end:
        level = level_of_piece(store, sizes, frame, mfn, end - frame)
        table = descend(store, views, frame, level)
        # Only an entry of L1 that nothing was prepared for.
        if table <= WANTS:
            return table
        place(store, views, table, frame, level, word_of(mfn, flags, level))
        size = ONE << (store.bits * level)
        frame += size
        mfn += size if flags != ZERO else ZERO
    return DONE


@inlined
def _replace(store: Store, level: Word, frame: Word, mfn: Word, flags: Word) -> bool:
    """Write an entry of L1, or a superpage over a superpage; False for any other, and nothing has changed.

    Parameters
    ----------
    store : Store
        The p2m.
    level : uint64
        Level of the entry.
    frame, mfn, flags : uint64
        As `set_range`.
    """
    table = find_table(store, frame, level)
    if unlikely(table == FAILED):
        return False
    index, word = index_of(store, frame, level), word_of(mfn, flags, level)
    old, n_frames = load_slot(store, table, index), ONE << (store.bits * level)
    # A superpage for a superpage leaves all windows as they are; anything else there may change some.
    if unlikely(level != ZERO and (old & LEAF != LEAF or word == ZERO)):
        return False
    store_slot(store, table, index, word)
    account(store, frame, n_frames, old, word, n_frames)
    return True


@inlined
def set_in_place(store: Store, sizes: Word, frame: Word, mfn: Word, n_frames: Word, flags: Word) -> bool:
    """Set a range that is one leaf of L1, or takes the place of a superpage of its size.

    That is what most writes are. No table and no window has to follow, and what could fail stays out of the
    loop over ranges: with all that folded in, or called, writing an entry took up to ten times as long.

    Parameters
    ----------
    store, sizes, frame, mfn, n_frames, flags
        As `set_range`.

    Returns
    -------
    bool
        False for any other range, and nothing has changed.
    """
    if n_frames == ONE:
        return _replace(store, ZERO, frame, mfn, flags)
    # Not asked of single frames, most of what comes here: their leaf can only be one of L1.
    level = level_of_piece(store, sizes, frame, mfn, n_frames)
    return n_frames == ONE << (store.bits * level) and _replace(store, level, frame, mfn, flags)


@njit
def set_ranges(
    store: Store,
    views: Shown,
    sizes: Word,
    frames: Words,
    mfns: Words,
    orders: Words,
    flags: Word,
    first: int,
    done: Done,
) -> Word:
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
    uint64
        Where it stopped; n at the end.
    """
    # Unsigned: a signed index costs a look whether it counts from the end (4.7 ns an entry of 4 KiB instead
    # of 4.0, 5.0 one of 2 MiB instead of 4.4).
    i, n = np.uint64(first), np.uint64(frames.size)
    while i < n:
        frame, mfn, n_frames = frames[i], mfns[i], ONE << orders[i]
        done[i] = set_in_place(store, sizes, frame, mfn, n_frames, flags)
        if unlikely(not done[i]):
            status = set_range(store, views, sizes, frame, mfn, n_frames, flags)
            if status == WANTS:
                break
            done[i] = status == DONE
        i += ONE
    return i
