"""Compiled work of tracing: write protection of whole third-level tables, its faults, and what is left of it.

A fault finds its entry the way the design does (`locate`); `protect` and `restore` go over all entries.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from p2mperf.guests.geometry import Words
from p2mperf.guests.lpae import Stage2
from p2mperf.jit import njit
from p2mperf.memory.raw import load_once64, store_once64
from p2mperf.tables.walk import locate

VALID = np.uint64(Stage2.VALID)
WRITE_SHIFT = np.uint64(int(Stage2.WRITE).bit_length() - 1)
LOG_DIRTY_SHIFT = np.uint64(int(Stage2.LOG_DIRTY).bit_length() - 1)
LOG_DIRTY = np.uint64(Stage2.LOG_DIRTY)
TRACED = np.uint64(Stage2.LOG_DIRTY | Stage2.WRITE)  # what protecting an entry for tracing flips
WORD_SHIFT, BIT_MASK = np.uint64(6), np.uint64(63)  # of a bitmap
ENTRY_SHIFT, ENTRY_BYTES = np.uint64(3), np.uint64(8)
ZERO, ONE = np.uint64(0), np.uint64(1)


@njit
def protect(entries: Words) -> None:
    """Take the write bit from every valid, writable entry, and remember that tracing did so.

    Parameters
    ----------
    entries : ndarray of uint64, shape (n_entries,)
        Third-level pages; entries that are read-only for another reason stay as they are.
    """
    # No branch: LLVM makes vectors of the loop, and no entry's rights have to be guessed. With masked stores,
    # which it has from AVX2 on, it makes as much of a branch; without, as for Nehalem, a branch took 20 times
    # as long (3.6 for 0.17 ns an entry where every second may be written to).
    for i in range(entries.size):
        entry = entries[i]
        writable = (entry >> WRITE_SHIFT) & entry & VALID
        # One exclusive or for both bits: what may be written to and is traced has the one and not the other.
        entries[i] = entry ^ ((writable << WRITE_SHIFT) | (writable << LOG_DIRTY_SHIFT))


@njit
def unprotect(entries: Words) -> None:
    """Give the write bit back to every entry that `protect` took it from; parameter as there."""
    for i in range(entries.size):
        entry = entries[i]
        traced = (entry >> LOG_DIRTY_SHIFT) & ONE
        entries[i] = entry ^ ((traced << WRITE_SHIFT) | (traced << LOG_DIRTY_SHIFT))


@njit
def fault(
    tables: NamedTuple, state: tuple[object, ...], stream: Words, first: np.uint64, dirty: Words
) -> np.uint64:
    """Handle the write fault of each frame: find its entry, make it writable again, mark it dirty.

    Parameters
    ----------
    tables, state
        A design's.
    stream : ndarray of uint64, shape (n_writes,), contiguous
        Frames that the guest writes to. A permission fault proves that the tables have an entry for its
        frame, so nothing is checked here: a frame without an entry would crash the process.
    first : uint64
        Frame of bit 0 of the bitmap.
    dirty : ndarray of uint64
        Bitmap, one bit a frame.

    Returns
    -------
    uint64
        Faults: writes that met an entry protected for tracing. Other writes change nothing.
    """
    n_faults = ZERO
    # By address: numba's array iterator keeps a stride and unrolls, which costs 7 % against gcc's loop.
    place = np.uint64(stream.ctypes.data)
    end = place + (np.uint64(stream.size) << ENTRY_SHIFT)
    while place != end:
        pfn = load_once64(place)
        place += ENTRY_BYTES
        address, state = locate(tables, state, (), pfn)
        entry = load_once64(address)
        # Not by the write bit: an entry may be read-only for another reason, and that fault is not one of
        # tracing.
        if entry & LOG_DIRTY:
            store_once64(address, entry ^ TRACED)
            bit = pfn - first
            dirty[bit >> WORD_SHIFT] |= ONE << (bit & BIT_MASK)
            n_faults += ONE
    return n_faults
