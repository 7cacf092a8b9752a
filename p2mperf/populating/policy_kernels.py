"""Compiled: the two ways in which a guest is given its memory, and what is kept of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2mperf.jit import njit
from p2mperf.memory.raw import ONE, ZERO
from p2mperf.populating.heap_kernels import NONE, Heap, take_run

Words = NDArray[np.uint64]

MEGA, GIGA = np.uint64(9), np.uint64(18)
_MEGA_FRAMES, _GIGA_FRAMES = ONE << MEGA, ONE << GIGA
_MEGA_MASK, _GIGA_MASK = _MEGA_FRAMES - ONE, _GIGA_FRAMES - ONE
_BATCH_FRAMES = np.uint64(4) * _MEGA_FRAMES
_NEXT, _GAP = 0, 1
NO_GAP = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


class Book(NamedTuple):
    """What a guest was given, and what it was not.

    Attributes
    ----------
    gfn, mfn : ndarray of uint64, shape (n_most,)
        First frames of its extents, by gfn.
    order : ndarray of uint8, shape (n_most,)
        Their sizes.
    at : ndarray of uint64, shape (2,)
        How many there are, the gap included, and where the gap is, or `NO_GAP`.
    taken, failed, skipped : ndarray of uint64, shape (19,)
        By order: extents that were given, that there were none for, and that were not tried as the call they
        were asked for in ended before.
    gap_gfn, n_gap : uint64
        What is given last but lies below this gfn, and how many extents it has: room is left for them.
    """

    gfn: Words
    mfn: Words
    order: NDArray[np.uint8]
    at: Words
    taken: Words
    failed: Words
    skipped: Words
    gap_gfn: np.uint64
    n_gap: np.uint64


class Map(NamedTuple):
    """Where a guest's memory lies.

    Attributes
    ----------
    n_pages : uint64
        Indices of its page array, those of the VGA hole included.
    hole_gfn, hole_frames : uint64
        Memory from this index on lies so much higher.
    """

    n_pages: np.uint64
    hole_gfn: np.uint64
    hole_frames: np.uint64


class Ways(NamedTuple):
    """What differs between versions of the domain builder.

    Attributes
    ----------
    asks_1gb : bool
        It asks for extents of 1 GiB.
    clips_1gb : bool
        What it asks for at a time ends where a GiB ends.
    looks_at_gfn : bool
        Alignment is that of the gfn, not of the index in the page array.
    """

    asks_1gb: bool
    clips_1gb: bool
    looks_at_gfn: bool


@njit
def _enter(book: Book, gfn: np.uint64, end: np.uint64, n: np.uint64, order: np.uint64) -> None:
    """Write extents down that go up in the guest and, from `end`, down in the machine."""
    # A run at a call, each of which counts references to the book's arrays: one by one single frames took 47
    # ns each, of which 38 are the call's, instead of 0.4.
    gfns, mfns, orders, at = book.gfn, book.mfn, book.order, book.at[_NEXT]
    # Extents are sorted by gfn, and the special pages, which lie in the hole below 4 GiB, are asked for when
    # all else is there: so room is left where they belong.
    if gfn >= book.gap_gfn and book.at[_GAP] == NO_GAP:
        book.at[_GAP] = at
        at += book.n_gap
    # Downwards, as of a block that is halved the upper half is given (alloc_heap_pages).
    for each in range(n):
        gfns[at + each], mfns[at + each] = gfn + (each << order), end - ((each + ONE) << order)
        orders[at + each] = order
    book.at[_NEXT] = at + n
    book.taken[order] += n


@njit(inline="always")
def _gfn_of(guest: Map, index: np.uint64) -> np.uint64:
    """The builder's page array."""
    return index if index < guest.hole_gfn else index + guest.hole_frames


@njit
def _populate(
    heap: Heap, book: Book, guest: Map, index: np.uint64, n: np.uint64, order: np.uint64
) -> np.uint64:
    """A call of populate_physmap: it ends at the first extent that there is no memory for, and counts."""
    # Gfns go on across extents of one call, but mfns only within a block of the heap.
    done = ZERO
    while done < n:
        gfn = _gfn_of(guest, index + (done << order))
        # As far as gfns go on: up to the hole.
        wanted = n - done if gfn >= guest.hole_gfn else min(n - done, (guest.hole_gfn - gfn) >> order)
        end, taken = take_run(heap, order, max(wanted, ONE))
        if not taken:
            # populate_physmap asks for none of those behind it, some of which there might have been memory
            # for, and returns how many it has done.
            book.failed[order] += ONE
            book.skipped[order] += n - done - ONE
            break
        _enter(book, gfn, end, taken, order)
        done += taken
    return done


@njit
def build(heap: Heap, book: Book, guest: Map, ways: Ways, index: np.uint64, n_small: np.uint64) -> np.uint64:
    """Give a guest its memory as the domain builder does: setup_guest of tools/libxc/xc_hvm_build.c.

    Parameters
    ----------
    heap : Heap
        The host's free memory.
    book : Book
        Takes the extents.
    guest : Map
        Where memory lies.
    ways : Ways
        The builder's version.
    index : uint64
        Index in the page array that large extents begin at.
    n_small : uint64
        Frames before, from index 0 on, that are asked for one by one.

    Returns
    -------
    uint64
        Index that was reached: that of the end, unless memory gave out.
    """
    # Below the VGA hole, 640 KiB, setup_guest asks for single frames, and for large ones only behind it.
    if n_small and _populate(heap, book, guest, ZERO, n_small, ZERO) < n_small:
        return ZERO
    while index < guest.n_pages:
        # Above the hole the two are 256 MiB apart: by the index extents were asked for that are not aligned
        # in the guest, so that the p2m cut them into 2 MiB (mended by 4df98b33c2).
        at = _gfn_of(guest, index) if ways.looks_at_gfn else index
        count = min(guest.n_pages - index, _GIGA_FRAMES)
        # Without this, batches of 8 MiB that begin at 2 MiB step over each end of a GiB, and none is ever
        # asked for (af277a631b).
        if ways.clips_1gb:
            count = min(count, _GIGA_FRAMES - (at & _GIGA_MASK))
        done = ZERO
        # No extent of 1 GiB may overlap the hole.
        if ways.asks_1gb and not (count | at) & _GIGA_MASK and at >> GIGA != guest.hole_gfn >> GIGA:
            done = _populate(heap, book, guest, index, ONE, GIGA) << GIGA
        if not done:
            # A GiB that there is no memory for costs no other: batches go on to where it ends, and the next
            # is tried.
            count = min(count, _BATCH_FRAMES)
            # Single frames up to the next 2 MiB, or whole extents and no rest: one call has one order.
            to_next = _MEGA_FRAMES - (at & _MEGA_MASK)
            if to_next < _MEGA_FRAMES and count > to_next:
                count = to_next
            elif count > _MEGA_FRAMES:
                count &= ~_MEGA_MASK
            if not (count | at) & _MEGA_MASK:
                done = _populate(heap, book, guest, index, count >> MEGA, MEGA) << MEGA
            # What is left of this batch, also what comes after the extent that there was no memory for.
            # Only of this one: setup_guest does not remember it, and asks for 2 MiB again in the next.
            left = count - done
            if left and _populate(heap, book, guest, index + done, left, ZERO) < left:
                return index
        index += count
    return index


@njit
def build_opportunistically(heap: Heap, book: Book, first: Words, end: Words, is_small: bool) -> np.uint64:
    """Give a guest its memory from a flat list of frames, in extents as large as the list and memory allow.

    Parameters
    ----------
    heap : Heap
        The host's free memory.
    book : Book
        Takes the extents.
    first, end : ndarray of uint64, shape (n_runs,)
        The list, as runs of consecutive gfns.
    is_small : bool
        The hint: the caller wants single frames.

    Returns
    -------
    uint64
        The frame that there was no memory for; `NONE` when there was for all.
    """
    for run in range(first.size):
        gfn = first[run]
        while gfn < end[run]:
            order, taken, top = GIGA, ZERO, NONE
            while not taken and order:
                mask = (ONE << order) - ONE
                if not (is_small or gfn & mask) and end[run] - gfn > mask:
                    top, taken = take_run(heap, order, ONE)
                    book.failed[order] += ONE - taken
                order = order if taken else order - MEGA
            if not order:
                # No frame before the next boundary can begin a larger extent.
                wanted = end[run] - gfn
                wanted = wanted if is_small else min(wanted, _MEGA_FRAMES - (gfn & _MEGA_MASK))
                top, taken = take_run(heap, ZERO, wanted)
            if not taken:
                book.failed[ZERO] += ONE
                return gfn
            _enter(book, gfn, top, taken, order)
            gfn += taken << order
    return NONE


@njit
def fill_gap(heap: Heap, book: Book, first: np.uint64) -> np.uint64:
    """Give the pages that are asked for last, one by one, in the room that was left for them.

    Parameters
    ----------
    heap : Heap
        The host's free memory.
    book : Book
        Takes them.
    first : uint64
        The first gfn.

    Returns
    -------
    uint64
        How many there was memory for.
    """
    n_extents = book.at[_NEXT]
    if book.at[_GAP] == NO_GAP:
        book.at[_GAP] = n_extents
        n_extents += book.n_gap
    # For `_enter`, which writes where the next extent goes, and leaves no second gap.
    book.at[_NEXT] = book.at[_GAP]
    done = ZERO
    while done < book.n_gap:
        end, taken = take_run(heap, ZERO, book.n_gap - done)
        if not taken:
            book.failed[ZERO] += ONE
            break
        _enter(book, first + done, end, taken, ZERO)
        done += taken
    book.at[_NEXT] = n_extents
    return done
