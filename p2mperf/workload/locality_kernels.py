"""Compiled: how entries into the kernel share the lines and pages of a p2m, in one pass for each unit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2mperf.jit import njit
from p2mperf.workload.translation_stream import FRAME_MASK, M2P_ITEM

Items = NDArray[np.uint32]
Classes = NDArray[np.uint8]
Counts = NDArray[np.int64]

NO_FRAME = -1
# A fault that brings one page asks a few dozen times at most: what asks more often is not searched.
MOST_ASKS = 64
_M2P, _FRAME = np.uint32(M2P_ITEM), np.uint32(FRAME_MASK)


class Counted(NamedTuple):
    """Where a pass puts what it counts; all zero before.

    Attributes
    ----------
    last : ndarray of int64, shape (n_units,)
        Number of the last entry that touched each unit, from 1.
    n_touches : ndarray of int64, shape (n_classes,)
        Units that entries touch, each once an entry, by class of the entry.
    per_entry : ndarray of int64, shape (n_classes, n_bins)
        Entries by class and by the units they touch; the last bin is of those that touch more, too.
    reuse : ndarray of int64, shape (n_classes, n_octaves)
        Touches by class and by the binary logarithm of their distance, rounded down.
    distances : ndarray of int64, shape (n_entries,)
        Touches by their distance in entries; at 0 are those of a unit that was not touched before.
    watched : ndarray of int64, shape (n_entries,)
        The same of watched frames alone.
    """

    last: Counts
    n_touches: Counts
    per_entry: Counts
    reuse: Counts
    distances: Counts
    watched: Counts


@njit
def count_touches(
    items: Items, starts: Counts, entered: Classes, shift: int, watched_frames: Counts, counted: Counted
) -> int:
    """Count which units of 2**shift frames each entry touches, and how many entries ago each was touched.

    Parameters
    ----------
    items : ndarray of uint32, shape (n_items,)
        Translations.
    starts : ndarray of int64, shape (n_entries + 1,)
        Where those of each entry begin.
    entered : ndarray of uint8, shape (n_entries,)
        Class of each entry.
    shift : int
        Frames of a unit [log2].
    watched_frames : ndarray of int64, shape (n_entries,)
        A frame of each entry that is counted for itself besides, or `NO_FRAME`.
    counted : Counted
        Takes the counts.

    Returns
    -------
    int
        Units that are touched at all.
    """
    # A pass of its own for each unit: all five in one loop were tried and took as long (18.7 ms to 18.1, with
    # each array an argument).
    # Taken out of the tuple first: numba counts references to an array that it takes out within the loop, and
    # five passes take 60 ms for 19.
    n_units = 0
    last, distances, reuse = counted.last, counted.distances, counted.reuse
    most = counted.per_entry.shape[1] - 1
    for entry in range(entered.size):
        now, kind = entry + 1, entered[entry]
        if watched_frames[entry] != NO_FRAME:  # before the entry itself has touched its unit
            before = last[watched_frames[entry] >> shift]
            counted.watched[now - before if before else 0] += 1
        n_touched = 0
        for i in range(starts[entry], starts[entry + 1]):
            unit = np.int64(items[i] & _FRAME) >> shift
            before = last[unit]
            # The number of the entry says that too: no set of what it has touched is kept or cleared.
            if before == now:
                continue
            last[unit] = now
            n_touched += 1
            if not before:
                n_units += 1
                distances[0] += 1
                continue
            distance = now - before
            distances[distance] += 1
            # By class in octaves alone: by distance each class would take as many numbers as there are
            # entries.
            octave = 0
            while distance > 1:
                distance >>= 1
                octave += 1
            reuse[kind, octave] += 1
        counted.n_touches[kind] += n_touched
        counted.per_entry[kind, min(n_touched, most)] += 1
    return n_units


@njit
def data_frames(items: Items, starts: Counts, entered: Classes, wanted: int, frames: Counts) -> None:
    """Find the data page of each entry of one class: asked for without its page table being read for it.

    Parameters
    ----------
    items, starts, entered
        As `count_touches`.
    wanted : int
        Class.
    frames : ndarray of int64, shape (n_entries,)
        Takes the first frame of each entry of that class that is asked of the p2m and not of the m2p, or
        `NO_FRAME`.
    """
    for entry in range(entered.size):
        frames[entry] = NO_FRAME
        start, end = starts[entry], starts[entry + 1]
        # What is bounded may be squared: 1 ms for two million translations. A search that ends at the first
        # hit was no faster.
        if entered[entry] != wanted or end - start > MOST_ASKS:
            continue
        for i in range(start, end):
            if items[i] & _M2P:
                continue
            # A fault that sets an entry in a table has read that table's entry back, behind or before it, and
            # a page that it brings it only makes (`translations.STEPS`). Not so the roots, in which a new pud
            # page is set: there a root is taken for the page (54 of 113703 writes of a shipped recording).
            is_data = True
            for j in range(start, end):
                is_data &= items[j] != (items[i] | _M2P)
            if is_data:
                frames[entry] = np.int64(items[i])
                break
