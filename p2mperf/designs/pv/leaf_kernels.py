"""Compiled passes over whole leaves, and over the slots that point to them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.pv.entry_kernels import ZERO, EntryFormat, is_plain, store_entry
from p2mperf.guests.geometry import Entries, Words
from p2mperf.jit import njit


@njit
def fill_leaves(pages: Entries, frames: NDArray[np.int64], value: Entries, step: Entries) -> None:
    """Fill whole leaves with value, value + step, value + 2 step ...

    Parameters
    ----------
    pages : ndarray of uint64 or uint32, shape (n_frames, leaf_frames)
        The direct map.
    frames : ndarray of int64, shape (n_leaves,)
        Frames to fill.
    value, step : ndarray as `pages`, shape (n_leaves,)
        First entry of each, and 1 for identity or 0 for INVALID.
    """
    for leaf in range(frames.size):
        # A row: of `pages[frames[leaf], i]` LLVM made no vectors, which took nine times as long.
        row, entry, delta = pages[frames[leaf]], value[leaf], step[leaf]
        for i in range(row.size):
            row[i] = entry + pages.dtype.type(i) * delta


@njit
def store_slots(form: EntryFormat, addresses: Words, values: Words) -> None:
    """Write slots of interior pages, each in one store.

    Parameters
    ----------
    form : EntryFormat64 or EntryFormat32
        Says how wide a slot is.
    addresses, values : ndarray of uint64, shape (n,)
        Where, and what.
    """
    for i in range(addresses.size):
        # An aligned word at once: who walks the table meanwhile meets what stood there or what shall stand
        # there.
        store_entry(form, addresses[i], ZERO, values[i])


@njit
def invert_leaves(
    pages: Entries, frames: NDArray[np.int64], first_pfn: Words, form: EntryFormat, m2p: Entries
) -> None:
    """Write the pfn of every plain mfn in private leaves into the m2p.

    Parameters
    ----------
    pages, frames
        As for `fill_leaves`.
    first_pfn : ndarray of uint64, shape (n_leaves,)
        First frame of each leaf.
    form : EntryFormat64 or EntryFormat32
        Entry format.
    m2p : ndarray of uint64 or uint32, shape (n_machine,)
        Written to.
    """
    # Cast: a size is signed, and numba compares signed and unsigned words as floats.
    n_mfns = np.uint64(m2p.size)
    for leaf in range(frames.size):
        row = pages[frames[leaf]]
        for i in range(row.size):
            entry = np.uint64(row[i])
            if is_plain(form, entry) and entry < n_mfns:
                m2p[entry] = first_pfn[leaf] + np.uint64(i)


@njit
def renumber(pages: Entries, frames: NDArray[np.int64], form: EntryFormat, mfns: Words) -> int:
    """Replace the plain mfns of leaves by others, in order.

    Parameters
    ----------
    pages, frames, form
        As for `invert_leaves`.
    mfns : ndarray of uint64, shape (n_plain,)
        The new ones; as long as there are plain mfns.

    Returns
    -------
    int
        Entries replaced.
    """
    n = 0
    for leaf in range(frames.size):
        row = pages[frames[leaf]]
        for i in range(row.size):
            if is_plain(form, np.uint64(row[i])):
                row[i] = mfns[n]
                n += 1
    return n
