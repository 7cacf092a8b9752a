"""Compiled work on whole third-level tables: write protection and what is left of it."""

from __future__ import annotations

import numpy as np

from p2mperf.guests.geometry import Stage2
from p2mperf.jit import njit

VALID = np.uint64(Stage2.VALID)
WRITE_SHIFT = np.uint64(int(Stage2.WRITE).bit_length() - 1)
LOG_DIRTY_SHIFT = np.uint64(int(Stage2.LOG_DIRTY).bit_length() - 1)
LOG_DIRTY = np.uint64(Stage2.LOG_DIRTY)
ONE = np.uint64(1)


@njit
def protect(entries):  # type: ignore[no-untyped-def]
    """Take the write bit from every valid, writable entry, and remember that tracing did so.

    Parameters
    ----------
    entries : ndarray of uint64, shape (n_entries,)
        Third-level pages; entries that are read-only for another reason stay as they are.
    """
    for i in range(entries.size):
        entry = entries[i]
        writable = (entry >> WRITE_SHIFT) & entry & VALID
        entries[i] = entry ^ ((writable << WRITE_SHIFT) | (writable << LOG_DIRTY_SHIFT))


@njit
def unprotect(entries):  # type: ignore[no-untyped-def]
    """Give the write bit back to every entry that `protect` took it from; parameter as there."""
    for i in range(entries.size):
        entry = entries[i]
        traced = (entry >> LOG_DIRTY_SHIFT) & ONE
        entries[i] = entry ^ ((traced << WRITE_SHIFT) | (traced << LOG_DIRTY_SHIFT))
