"""The loop over entries, written once for all designs against `walk`: disturb, stamp, look up, stamp."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2mperf.guests.geometry import Words
from p2mperf.jit import njit
from p2mperf.memory import vm
from p2mperf.memory.raw import protect, ticks
from p2mperf.tables.walk import walk
from p2mperf.units import PAGE_SHIFT

ZERO, ONE = np.uint64(0), np.uint64(1)
_WORD_SHIFT, _LINE_WORDS_SHIFT, _EIGHTH_SHIFT, _HALF = (np.uint64(n) for n in (3, 3, 3, 32))
_PAGE_SHIFT, _SEED = np.uint64(PAGE_SHIFT), np.uint64(0x9E3779B97F4A7C15)
_READ, _READ_WRITE = np.int32(vm.READ), np.int32(vm.READ_WRITE)


class Before(NamedTuple):
    """What an entry asks for, and what comes before it.

    Attributes
    ----------
    asks : ndarray of uint64, shape (n_lookups,)
        Which of the entry's frames each lookup asks for.
    n_frames : uint64
        Frames of an entry.
    flushed : ndarray of uint64
        Memory whose protection is changed and changed back, which flushes the TLB; empty for no flush.
    flush_address : uint64
        Where it is.
    worked_on : ndarray of uint64
        Memory that other work reads.
    n_touches : uint64
        How many lines of it are read before each entry.
    """

    asks: Words
    n_frames: np.uint64
    flushed: Words
    flush_address: np.uint64
    worked_on: Words
    n_touches: np.uint64


class Entered(NamedTuple):
    """What a pass of entries gave.

    Attributes
    ----------
    total : uint64
        Sum of all entries that were looked up, modulo 2**64.
    took : ndarray of int64, shape (n_entries,)
        Time from stamp to stamp around the lookups of each entry, less that around nothing just before: what
        the stamps themselves take [ticks].
    whole : uint64
        Time of the pass, which tells how long a tick is [ticks].
    n_flushes : uint64
        How often the TLB was flushed.
    work : uint64
        Sum of the words that other work read.
    """

    total: np.uint64
    took: NDArray[np.int64]
    whole: np.uint64
    n_flushes: np.uint64
    work: np.uint64


@njit
def enter(tables, state, stream, zero, before):  # type: ignore[no-untyped-def]
    """Do what comes before an entry, untimed, and time its lookups; entry by entry.

    Parameters
    ----------
    tables, state
        A design's.
    stream : ndarray of uint64, shape (n_entries * n_frames,)
        Frames, entry by entry.
    zero : uint64
        0, unknown to the compiler.
    before : Before
        What comes before, and which lookups follow.

    Returns
    -------
    Entered
    """
    total = n_flushes = work = at_hand = ZERO
    took = np.empty(np.uint64(stream.size) // before.n_frames, np.int64)
    chance = _SEED
    n_lines = np.uint64(before.worked_on.size) >> _LINE_WORDS_SHIFT
    n_flushed_bytes = np.uint64(before.flushed.size) << _WORD_SHIFT
    first_tick = ticks()
    for number in range(took.size):
        first = np.uint64(number) * before.n_frames
        if n_flushed_bytes:
            refused = protect(before.flush_address, n_flushed_bytes, _READ)
            refused |= protect(before.flush_address, n_flushed_bytes, _READ_WRITE)
            n_flushes += np.uint64(refused == 0)
            # Written to: a page that cannot be is not one whose change needs a flush the next time.
            for page in range(n_flushed_bytes >> _PAGE_SHIFT):
                before.flushed[np.uint64(page) << (_PAGE_SHIFT - _WORD_SHIFT)] = first
        for _ in range(before.n_touches):
            # xorshift64 (Marsaglia 2003), of which a multiplication maps the high half to the lines.
            chance ^= chance << np.uint64(13)
            chance ^= chance >> np.uint64(7)
            chance ^= chance << np.uint64(17)
            reach = n_lines if (chance & np.uint64(3)) == ZERO else n_lines >> _EIGHTH_SHIFT
            work += before.worked_on[(((chance >> _HALF) * reach) >> _HALF) << _LINE_WORDS_SHIFT]
        # A kernel has what it asks for at hand: the stream's own lines and page are no part of a lookup.
        # One after the other, or LLVM would gather them.
        for ask in before.asks:
            at_hand = stream[first + ask + (at_hand & zero)]
        start = ticks()
        begin = ticks()
        for ask in before.asks:
            entry, state = walk(tables, state, (), stream[first + ask])
            total += entry
        end = ticks()
        took[number] = np.int64(end - begin) - np.int64(begin - start)
    whole = ticks() - first_tick
    return Entered(total + (at_hand & zero), took, whole, n_flushes, work)
