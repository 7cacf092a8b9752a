"""Memory that is flushed, or worked on, between lookups."""

from __future__ import annotations

import numpy as np

from p2mperf.guests.geometry import Words
from p2mperf.memory import vm
from p2mperf.memory.owned import Mapped
from p2mperf.units import PAGE_SIZE

# x86 flushes page by page up to 33 pages (tlb_single_page_flush_ceiling), and everything from there on.
FLUSHED_PAGES = 64
FLUSHED_BYTES = FLUSHED_PAGES * PAGE_SIZE


def filled(n_bytes: int) -> Words:
    """Memory of its own on 4 KiB pages, as a process has it, all words 1.

    Parameters
    ----------
    n_bytes : int
        Whole pages, or 0 [bytes].

    Returns
    -------
    ndarray of uint64
    """
    words = unfilled(n_bytes)
    words[:] = 1
    return words


def unfilled(n_bytes: int) -> Words:
    """Memory of its own on 4 KiB pages, none of which is there before it is written to.

    Parameters
    ----------
    n_bytes : int
        Whole pages, or 0 [bytes].

    Returns
    -------
    ndarray of uint64
    """
    if not n_bytes:
        return np.zeros(0, np.uint64)
    mapped = Mapped(vm.map_pages(0, n_bytes, vm.READ_WRITE), n_bytes)
    vm.advise(mapped.address, n_bytes, vm.MADV_NOHUGEPAGE)
    words: Words = mapped.view(0, n_bytes, np.uint64)
    return words
