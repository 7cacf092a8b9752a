"""Compiled writing: array forms of set_phys_to_machine and of the balloon driver's loops.

One pass writes in place and stops at the first frame whose leaf is shared, for breaking a leaf takes pages
and mappings, which is not for compiled code. A leaf once private stays so, hence its address is kept for
frames of one leaf that follow each other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.pv.entry_kernels import (
    IDENTITY,
    MISSING,
    ONE,
    ZERO,
    EntryFormat,
    is_plain,
    keep_m2p,
    leaf_mask,
    load_entry,
    locate_leaf,
    markers,
    note_change,
    store_entry,
)
from p2mperf.guests.geometry import Entries, Words
from p2mperf.jit import njit
from p2mperf.memory.raw import unlikely


@njit(forceinline=True)
def _write_noting(
    form: EntryFormat,
    leaf_address: np.uint64,
    first_pfn: np.uint64,
    pfns: Words,
    entries: Words,
    only_holes: bool,
    i: np.uint64,
    done: NDArray[np.bool_],
    m2p: Entries,
    changes: NDArray[np.int64],
) -> np.uint64:
    """Write on in one leaf, and note what kind of entry came and went."""
    n, mask = np.uint64(pfns.size), leaf_mask(form)
    # One comparison for both ends of the leaf: of a pfn below it the difference wraps round, and is large.
    while i < n and pfns[i] - first_pfn <= mask:
        entry, index = entries[i], pfns[i] - first_pfn
        old = load_entry(form, leaf_address, index)
        done[i] = not only_holes or old == form.invalid
        if done[i]:
            store_entry(form, leaf_address, index, entry)
            note_change(form, m2p, changes, pfns[i], old, entry)
        i += ONE
    return i


@njit
def set_entries(
    tables: NamedTuple,
    form: EntryFormat,
    pfns: Words,
    entries: Words,
    only_holes: bool,
    first: int,
    stop: bool,
    done: NDArray[np.bool_],
    m2p: Entries,
    changes: NDArray[np.int64],
) -> np.int64:
    """Write entries in order, in place.

    Parameters
    ----------
    tables : NamedTuple
        What the design's `locate_leaf` needs.
    form : EntryFormat64 or EntryFormat32
        Entry format.
    pfns, entries : ndarray of uint64, shape (n,)
        What to write where.
    only_holes : bool
        Write only where INVALID is read, as ballooning up and foreign mappings must.
    first : int
        Where to start.
    stop : bool
        Stop at a frame whose shared leaf must be broken first; otherwise such a frame is refused.
    done : ndarray of bool, shape (n,)
        All True; set to False for each frame whose entry is not as asked.
    m2p : ndarray of uint64 or uint32
        Machine-to-physical entries to keep in step; empty for none.
    changes : ndarray of int64, shape (3,)
        Added to: change in the number of plain mfns, of foreign entries, of identity of another frame.

    Returns
    -------
    int
        Where it stopped; n when all are written or refused.

    Notes
    -----
    INVALID into missing and own identity into identity need no leaf and are done; __set_phys_to_machine of
    arch/x86/xen/p2m.c (3.19).
    """
    plainly = not only_holes and m2p.size == 0
    mask, marked = leaf_mask(form), markers(form)
    # An unsigned index needs no look for a negative one.
    i, n = np.uint64(first), np.uint64(pfns.size)
    while i < n:
        pfn = pfns[i]
        if unlikely(pfn >= form.end):
            # 3.19 stops at a BUG unless INVALID is written; since 882213990d32 (5.12) it refuses, as is done
            # here.
            done[i] = entries[i] == form.invalid and not only_holes
            i += ONE
            continue
        first_pfn, leaf_address = pfn & ~mask, locate_leaf(tables, pfn)
        if unlikely(leaf_address <= IDENTITY):
            as_is = entries[i] == (form.invalid if leaf_address == MISSING else form.identity | pfn)
            # Identity is no hole: where only those are written, its leaf is left as it is.
            if stop and not (as_is or (only_holes and leaf_address == IDENTITY)):
                break
            done[i] = as_is and (not only_holes or leaf_address == MISSING)
            i += ONE
            continue
        # Where one mfn takes another's place, which is the most common, nothing changes in kind. All else is
        # left to `_write_noting`, and `done` as it is: they cost registers and a store (3 to 4.7 times as
        # long).
        # To find the leaf of each frame anew took 1.5 times as long in the list and 2.2 in the tree, in order
        # of pfn; scattered over leaves 0.84 to 1.04 times.
        index = pfn - first_pfn
        while plainly and index <= mask:
            entry = entries[i]
            # One test for what goes and what comes. Without `unlikely` writes took up to 9 % longer.
            if unlikely((load_entry(form, leaf_address, index) | entry) & marked != ZERO):
                break
            store_entry(form, leaf_address, index, entry)
            i += ONE
            if i == n:
                return np.int64(n)
            index = pfns[i] - first_pfn
        else:
            if plainly:
                continue  # the next frame is in another leaf
        i = _write_noting(form, leaf_address, first_pfn, pfns, entries, only_holes, i, done, m2p, changes)
    return np.int64(i)


@njit
def find_unfit(form: EntryFormat, entries: Words, plain_only: bool) -> int:
    """Index of the first entry that is too wide, names an mfn beyond the machine, or has a marker it may not.

    Parameters
    ----------
    form : EntryFormat64 or EntryFormat32
        Entry format.
    entries : ndarray of uint64, shape (n,)
        Entries about to be written.
    plain_only : bool
        Take mfns only.

    Returns
    -------
    int
        n when all will do.
    """
    for i in range(entries.size):
        entry = entries[i]
        if is_plain(form, entry):
            if entry >= form.n_machine:
                return i
        # INVALID has all bits that an entry can have.
        elif plain_only or entry > form.invalid:
            return i
    return entries.size


@njit
def find_shared(
    tables: NamedTuple,
    form: EntryFormat,
    pfns: Words,
    entries: Words,
    only_holes: bool,
    first: int,
    found: NDArray[np.bool_],
) -> None:
    """Find the frames whose leaf must be broken before they can be written.

    Parameters
    ----------
    tables, form, pfns, entries, only_holes, first
        As for `set_entries`.
    found : ndarray of bool, shape (n,)
        Set for each frame from `first` on.
    """
    for i in range(first, pfns.size):
        pfn, entry = pfns[i], entries[i]
        found[i] = False
        if pfn < form.end:
            leaf_address = locate_leaf(tables, pfn)
            if leaf_address == MISSING:
                found[i] = entry != form.invalid
            elif leaf_address == IDENTITY:
                found[i] = entry != form.identity | pfn and not only_holes


# Both passes in one: each a function of its own, called or folded in, made one of the four that were timed
# (tree and list, frames in order and scattered) 4 to 8 % slower, though others up to 10 % faster.
@njit
def balloon_out(
    tables: NamedTuple, form: EntryFormat, pfns: Words, batch: Words, mfns: Words, m2p: Entries
) -> int:
    """Take frames away from a guest, a list of frame numbers at a time.

    Parameters
    ----------
    tables, form, m2p
        As for `set_entries`.
    pfns : ndarray of uint64, shape (n,)
        Frames to give up.
    batch : ndarray of uint64, shape (n_batch,)
        Scratch: addresses of the leaves of a batch; one page of frame numbers in the driver.
    mfns : ndarray of uint64, shape (n,)
        Set to the machine frame given up; INVALID where the pfn had none of its own.

    Returns
    -------
    int
        Frames given up.

    Notes
    -----
    decrease_reservation of drivers/xen/balloon.c (3.18): the list is collected, then each entry is made
    INVALID. That never needs a page: a leaf with an mfn in it is private.
    """
    n_out = 0
    mask, marked = leaf_mask(form), markers(form)
    first, n = ZERO, np.uint64(pfns.size)
    while first < n:
        last = min(first + np.uint64(batch.size), n)
        i = first
        while i < last:
            pfn = pfns[i]
            first_pfn, leaf = pfn & ~mask, MISSING
            if pfn < form.end:
                leaf = locate_leaf(tables, pfn)
            # A shared leaf holds no mfn: nothing to give up, and nothing to break.
            if leaf <= IDENTITY:
                mfns[i] = form.invalid
                i += ONE
                continue
            index = pfn - first_pfn
            while index <= mask:
                old = load_entry(form, leaf, index)
                mfns[i] = old if old & marked == ZERO else form.invalid
                # The second pass looks for no leaf: to find it again took 1.1 to 1.5 times as long in all.
                batch[i - first] = leaf
                i += ONE
                if i == last:
                    break
                index = pfns[i] - first_pfn
        for at in range(first, last):
            if mfns[at] == form.invalid:
                continue
            leaf, index = batch[at - first], pfns[at] & mask
            # The second look is for a pfn that stands twice in one batch.
            if load_entry(form, leaf, index) == mfns[at]:
                store_entry(form, leaf, index, form.invalid)
                if m2p.size:
                    keep_m2p(form, m2p, pfns[at], mfns[at], form.invalid)
                n_out += 1
            else:
                mfns[at] = form.invalid
        first = last
    return n_out
