"""Compiled: what is true of all extents of a guest, and how they are cut."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from p2mperf.jit import njit

Words = NDArray[np.uint64]
Orders = NDArray[np.uint8]

# What is computed with stays unsigned: one signed word turns uint64 arithmetic into float64.
ZERO, ONE = np.uint64(0), np.uint64(1)
_WORD_ORDER = np.uint64(6)  # frames of a word of the bitmap: 64
_WORD_MASK = np.uint64(63)
_ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


@njit
def first_fault(gfn: Words, mfn: Words, order: Orders, end: np.uint64) -> int:
    """Find the first extent that cannot be where it stands.

    Parameters
    ----------
    gfn, mfn : ndarray of uint64, shape (n_extents,)
        First frames.
    order : ndarray of uint8, shape (n_extents,)
        Sizes.
    end : uint64
        End of all frames: a power of two.

    Returns
    -------
    int
        Its index; -1 when all are sound: aligned, within the frames, and after the extent before it.
    """
    next_gfn = ZERO
    for i in range(gfn.size):
        size = ONE << np.uint64(order[i])
        # What is aligned and begins below `end` ends there too.
        if (gfn[i] | mfn[i]) & (size - ONE) or gfn[i] >= end or mfn[i] >= end or gfn[i] < next_gfn:
            return i
        next_gfn = gfn[i] + size
    return -1


@njit
def first_shared(mfn: Words, order: Orders, seen: Words) -> int:
    """Find the first extent that has a machine frame of an earlier one.

    Parameters
    ----------
    mfn : ndarray of uint64, shape (n_extents,)
        First machine frames, aligned.
    order : ndarray of uint8, shape (n_extents,)
        Sizes.
    seen : ndarray of uint64
        A bit for each machine frame, all of them 0; set here.

    Returns
    -------
    int
        Its index, or -1.
    """
    for i in range(mfn.size):
        # Extents are aligned: a small one lies in one word, a larger one has words to itself. Frame by frame
        # one of 2 MiB took 630 ns instead of 2.6.
        word, size_order = mfn[i] >> _WORD_ORDER, np.uint64(order[i])
        if size_order < _WORD_ORDER:
            mask = ((ONE << (ONE << size_order)) - ONE) << (mfn[i] & _WORD_MASK)
            if seen[word] & mask:
                return i
            seen[word] |= mask
            continue
        for each in range(word, word + (ONE << (size_order - _WORD_ORDER))):
            # Looked at and set in one go, though in vain where some is shared: two loops took 3.7 ns.
            if seen[each]:
                return i
            seen[each] = _ALL
    return -1


@njit
def count_orders(order: Orders, counts: NDArray[np.int64]) -> None:
    """Count extents by order; a numpy count would first turn each byte into a word.

    Parameters
    ----------
    order : ndarray of uint8, shape (n_extents,)
        Sizes.
    counts : ndarray of int64, shape (n_orders,)
        Counted into.
    """
    for i in range(order.size):
        counts[order[i]] += 1


@njit
def cut_into(gfn: Words, mfn: Words, order: Orders, piece: Orders, out_gfn: Words, out_mfn: Words) -> None:
    """Cut each extent into pieces.

    Parameters
    ----------
    gfn, mfn : ndarray of uint64, shape (n_extents,)
        First frames.
    order, piece : ndarray of uint8, shape (n_extents,)
        Sizes, and those of their pieces: not larger.
    out_gfn, out_mfn : ndarray of uint64, shape (n_pieces,)
        Take the first frames of the pieces.
    """
    at = ZERO
    for i in range(gfn.size):
        # Orders do not come out: they are those of `piece`, each repeated, which numpy does as well.
        step = np.uint64(piece[i])
        n = ONE << (np.uint64(order[i]) - step)
        for part in range(n):
            out_gfn[at + part], out_mfn[at + part] = gfn[i] + (part << step), mfn[i] + (part << step)
        at += n
