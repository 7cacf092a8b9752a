"""The loop over entries, written once for all designs against `walk`: disturb, stamp, look up, stamp."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2mperf.guests.geometry import Words
from p2mperf.jit import njit
from p2mperf.measure.disturb_kernels import ONE, ZERO, do_other_work, flush
from p2mperf.memory.raw import ticks
from p2mperf.tables.walk import walk

_SEED = np.uint64(0x9E3779B97F4A7C15)


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
def enter(
    tables: NamedTuple, state: tuple[object, ...], stream: Words, zero: np.uint64, before: Before
) -> Entered:
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
    first_tick = ticks()
    for number in range(took.size):
        first = np.uint64(number) * before.n_frames
        n_flushes += flush(before.flushed, before.flush_address, ONE, first)
        chance, worked = do_other_work(before.worked_on, before.n_touches, chance)
        work += worked
        # A kernel has what it asks for at hand: the stream's own lines and page are no part of a lookup. Left
        # to the lookups, they made nine of them after a flush and other work 1.6 times as long in the tree
        # and 1.7 times in the list. One after the other, or LLVM would gather them.
        for ask in before.asks:
            at_hand = stream[first + ask + (at_hand & zero)]
        start = ticks()
        begin = ticks()
        for ask in before.asks:
            entry, state = walk(tables, state, (), stream[first + ask])
            total += entry
        end = ticks()
        # Signed: with nothing between, the second pair of stamps was closer by 26 ticks than the first in 4 %
        # of 100000 trials.
        took[number] = np.int64(end - begin) - np.int64(begin - start)
    whole = ticks() - first_tick
    return Entered(total + (at_hand & zero), took, whole, n_flushes, work)
