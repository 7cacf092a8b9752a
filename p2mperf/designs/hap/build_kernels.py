"""Compiled building: extents cut into leaves, superpages where they stand, and L1 tables filled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.hap.entry_kernels import SMALL_RAM, SUPERPAGE_RAM
from p2mperf.guests.geometry import Entries, Words
from p2mperf.jit import njit

ZERO, ONE = np.uint64(0), np.uint64(1)
_PAGE = np.uint64(12)


@njit
def place_superpages(
    gfn: Words,
    mfn: Words,
    order: NDArray[np.uint8],
    levels: NDArray[np.uint8],
    bits: np.uint64,
    has_l1: NDArray[np.bool_],
    l2: Words,
    l3: Words,
) -> None:
    """Say what stands in every entry of all L2 and L3 tables, and which L1 tables are needed.

    Parameters
    ----------
    gfn, mfn : ndarray of uint64, shape (n_extents,)
        First frames of extents.
    order : ndarray of uint8, shape (n_extents,)
        Their sizes [log2 frames].
    levels : ndarray of uint8
        Level of the leaves that an extent of each order becomes: 0 for L1.
    bits : uint64
        Bits of a guest frame that select an entry of one table.
    has_l1 : ndarray of bool, shape (n_l2_slots,)
        All False; set where there are 4 KiB entries.
    l2, l3 : ndarray of uint64
        All 0; set to superpages.
    """
    for i in range(gfn.size):
        # Its order says all: an extent is aligned to it in guest and machine, so that no leaf is cut off.
        level = levels[order[i]]
        shift = bits * np.uint64(level)
        if level == 0:
            last = (gfn[i] + (ONE << np.uint64(order[i])) - ONE) >> bits
            # Only noted: no page is taken before it is known how many tables there will be.
            # Several of them where superpages are switched off: 1 GiB is then 512 tables.
            for slot in range(gfn[i] >> bits, last + ONE):
                has_l1[slot] = True
            continue
        first, n_leaves = gfn[i] >> shift, ONE << (np.uint64(order[i]) - shift)
        word, step = (mfn[i] << _PAGE) | SUPERPAGE_RAM, ONE << (shift + _PAGE)
        words = l2 if level == 1 else l3
        for leaf in range(n_leaves):
            words[first + leaf] = word + leaf * step


@njit
def fill_l1(
    gfn: Words,
    mfn: Words,
    order: NDArray[np.uint8],
    levels: NDArray[np.uint8],
    bits: np.uint64,
    tables: NDArray[np.int64],
    words: Entries,
) -> None:
    """Write the 4 KiB entries of extents that become such.

    Parameters
    ----------
    gfn, mfn, order, levels, bits
        As `place_superpages`.
    tables : ndarray of int64, shape (n_l2_slots,)
        For each entry of all L2 tables: which L1 table it points to, counted from the first.
    words : ndarray of uint64 or uint32
        L1 tables, one after the other, all 0.
    """
    mask = (ONE << bits) - ONE
    for i in range(gfn.size):
        if levels[order[i]] != 0:
            continue
        frame, word, left = gfn[i], (mfn[i] << _PAGE) | SMALL_RAM, ONE << np.uint64(order[i])
        # A table at a time: those of guest frames that follow each other may lie anywhere in `words`. Looked
        # up for each entry, they made one take 0.41 ns instead of 0.08 where extents are of 2 MiB.
        while left != ZERO:
            n = min(left, mask + ONE - (frame & mask))
            at = (np.uint64(tables[frame >> bits]) << bits) + (frame & mask)
            for k in range(n):
                words[at + k] = words.dtype.type(word + (k << _PAGE))
            frame, word, left = frame + n, word + (n << _PAGE), left - n
