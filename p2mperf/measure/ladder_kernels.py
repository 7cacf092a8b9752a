"""Pointer chases: one random cycle through all slots of a buffer, grown in place and followed.

A slot is one cache line: slot i begins at word `i * stride + 8 * ((i + (i >> 6) + (i >> 12)) & line_mask)`.
With a stride of one page the second term moves the line within its page, so that neither 64 neighbouring
pages nor pages 64 or 4096 apart meet in one set of a cache that is indexed by the low address bits.
"""

from __future__ import annotations

import numpy as np

from p2mperf.guests.geometry import Words
from p2mperf.jit import njit
from p2mperf.memory.raw import Counted

_LINE_SHIFT = np.uint64(3)
_SIX, _TWELVE = np.uint64(6), np.uint64(12)


@njit(forceinline=True)
def slot_word(slot: Counted, stride: np.uint64, line_mask: np.uint64) -> np.uint64:
    """Say where a slot begins.

    Parameters
    ----------
    slot : uint64
        Number of the slot.
    stride, line_mask : uint64
        Words from slot to slot, and 0 or 63.

    Returns
    -------
    uint64
        Index of its first word.
    """
    # Over 512 pages a step took 3.1 ns so, and 5.6 with each slot at its page's beginning.
    line = (slot + (slot >> _SIX) + (slot >> _TWELVE)) & line_mask
    return slot * stride + (line << _LINE_SHIFT)


@njit
def grow_cycle(
    words: Words,
    stride: np.uint64,
    line_mask: np.uint64,
    n_old: np.uint64,
    n_new: np.uint64,
    state: np.uint64,
) -> np.uint64:
    """Extend a random cycle over the first `n_old` slots to one over the first `n_new`.

    Each new slot is inserted behind a uniformly drawn earlier one.  That gives every cyclic order of the
    slots with the same probability, as Sattolo's shuffle (Information Processing Letters 22, 1986) does,
    but keeps what was built before: a ladder costs no more than its largest rung.

    Parameters
    ----------
    words : ndarray of uint64
        The buffer; word `slot_word(i)` holds the index of the first word of the slot behind i.
    stride, line_mask : uint64
        Words from slot to slot, and 0 or 63.
    n_old, n_new : uint64
        Slots in the cycle before and after; n_old = 0 starts one.
    state : uint64
        Generator state, not 0.

    Returns
    -------
    uint64
        Generator state for the next call.
    """
    one, high = np.uint64(1), np.uint64(32)
    if n_old == np.uint64(0):
        first = slot_word(n_old, stride, line_mask)
        words[first] = first
        n_old = one
    for slot in range(n_old, n_new):
        # xorshift64 (Marsaglia 2003), of which a multiplication maps the high half to [0, slot).
        state ^= state << np.uint64(13)
        state ^= state >> np.uint64(7)
        state ^= state << np.uint64(17)
        earlier = ((state >> high) * slot) >> high
        here = slot_word(slot, stride, line_mask)
        there = slot_word(earlier, stride, line_mask)
        words[here] = words[there]
        words[there] = here
    return state


@njit
def chase(words: Words, start: np.uint64, n_steps: int) -> np.uint64:
    """Follow the cycle: each load gives the index of the next one.

    Parameters
    ----------
    words : ndarray of uint64
        The buffer.
    start : uint64
        Word to begin at.
    n_steps : int
        Loads to make.

    Returns
    -------
    uint64
        Word that the last load named, where the next call can go on.
    """
    # One load a step: with a signed index a shift and a mask would stand in the chain between two of them, as
    # numba looks whether it counts from the end (1.63 for 1.16 ns a step in the first-level cache).
    for _ in range(n_steps):
        start = words[start]
    return start
