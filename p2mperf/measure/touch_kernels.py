"""Reading a design's memory once over: a word of every page, or of every line."""

from __future__ import annotations

import numpy as np

from p2mperf.guests.geometry import Words
from p2mperf.jit import njit
from p2mperf.memory.raw import load64

_ZERO, _PAGE_SHIFT, _LINE_SHIFT = np.uint64(0), np.uint64(12), np.uint64(6)


@njit
def touch_words(starts: Words, ends: Words, step: np.uint64, line_mask: np.uint64) -> np.uint64:
    """Read one word every `step` bytes of some stretches of memory.

    Parameters
    ----------
    starts, ends : ndarray of uint64, shape (n_stretches,)
        Their addresses, page-aligned, ends exclusive [bytes].
    step : uint64
        A page, or a line [bytes].
    line_mask : uint64
        63 reads another line of each page than of its neighbours, so that the lines read do not all meet in
        one set of a cache; 0 the first of each step.

    Returns
    -------
    uint64
        Sum of the words, modulo 2**64.
    """
    total = _ZERO
    for number in range(starts.size):
        address, end = starts[number], ends[number]
        while address < end:
            line = (address >> _PAGE_SHIFT) & line_mask
            total += load64((), address + (line << _LINE_SHIFT))
            address += step
    return total
