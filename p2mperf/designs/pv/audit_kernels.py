"""Compiled checks of what stands in leaves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from p2mperf.guests.geometry import Entries, Words
from p2mperf.jit import njit

ONE = np.uint64(1)
WORD_SHIFT = np.uint64(6)
BIT_MASK = np.uint64(63)
ZERO = np.uint64(0)


@njit
def count_entries(
    entries: Entries, first_pfn: Words, marks: Words, n_machine: np.uint64, seen: Words
) -> NDArray[np.int64]:
    """Count what stands in leaves, and what must not.

    Parameters
    ----------
    entries : ndarray of uint64 or uint32, shape (n_leaves, leaf_frames)
        The leaves.
    first_pfn : ndarray of uint64, shape (n_leaves,)
        First frame of each.
    marks : ndarray of uint64, shape (3,)
        INVALID, the identity bit, the foreign bit.
    n_machine : uint64
        Machine frames: every plain mfn must be below.
    seen : ndarray of uint64, shape (n_machine / 64 + 1,)
        Bitmap of mfns met; all zero on entry.

    Returns
    -------
    ndarray of int64, shape (7,)
        Plain mfns, identity, INVALID and foreign entries; identity entries of another frame; mfns beyond
        the machine; mfns met twice.
    """
    counts = np.zeros(7, np.int64)
    invalid, identity_bit, foreign_bit = marks
    for leaf in range(entries.shape[0]):
        for i in range(entries.shape[1]):
            entry = np.uint64(entries[leaf, i])
            # First of all: INVALID has both marker bits set (arch/x86/include/asm/xen/page.h, 3.18 and 3.19).
            if entry == invalid:
                counts[2] += 1
            elif entry & foreign_bit:
                counts[3] += 1
            elif entry & identity_bit:
                counts[1] += 1
                # Cast: with a counter of a range, an int64, the sum would be one too, and numba compares an
                # int64 with a uint64 as floats, which have no room for the identity bit and a frame.
                counts[4] += entry != (identity_bit | (first_pfn[leaf] + np.uint64(i)))
            elif entry >= n_machine:
                counts[5] += 1
            else:
                counts[0] += 1
                # A bit for each machine frame: the mfns themselves, kept to be sorted, would take as much
                # memory as the list does, and 32 ns an entry to sort, where the whole of this loop takes 1.3.
                word, bit = entry >> WORD_SHIFT, ONE << (entry & BIT_MASK)
                counts[6] += (seen[word] & bit) != ZERO
                seen[word] |= bit
    return counts
