"""The loop over a recorded build's entries, written once for all designs against `walk`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2mperf.guests.geometry import Words
from p2mperf.jit import njit
from p2mperf.measure.disturb import FLUSHED_PAGES
from p2mperf.measure.disturb_kernels import ONE, ZERO, do_other_work, flush
from p2mperf.measure.ladder_kernels import chase
from p2mperf.memory.raw import load64, ticks, unlikely
from p2mperf.tables.walk import State, walk
from p2mperf.workload.translation_stream import FRAME_MASK as _FRAME_MASK, M2P_ITEM as _M2P_ITEM

M2P_ITEM, FRAME_MASK = np.uint64(_M2P_ITEM), np.uint64(_FRAME_MASK)
_SEED = np.uint64(0x9E3779B97F4A7C15)
# Items of an entry that are at hand before it is timed: a page of the stream, which is 16 of them a line.
# A longer entry reads on in order, and the processor's prefetcher before it.
_AT_HAND, _LINE_ITEMS = 1024, 16
_LINE_WORDS = np.uint64(8)
# First and last page of what is flushed: Linux flushes the range from the first entry that has changed to the
# last, and all of the TLB where that is long. With 64 pages a flush takes four times as long as with these.
_APART = np.uint64(FLUSHED_PAGES - 1)


class Asked(NamedTuple):
    """A stream as the loop reads it.

    Attributes
    ----------
    items : ndarray of uint32, shape (n_items,)
        A frame, or, with `M2P_ITEM`, the machine frame that the m2p is asked for.
    starts : ndarray of int64, shape (n_entries + 1,)
        Where the items of each entry begin.
    m2p : uint64
        Address of the m2p, 8 bytes a machine frame.
    """

    items: NDArray[np.uint32]
    starts: NDArray[np.int64]
    m2p: np.uint64


class Condition(NamedTuple):
    """What comes before each entry.

    Attributes
    ----------
    flushed : ndarray of uint64
        Memory whose change of protection flushes the TLB; empty for no flush.
    flush_address : uint64
        Where it is.
    worked_on : ndarray of uint64
        Memory that other work reads.
    n_touches : ndarray of uint32, shape (n_entries,)
        Lines of it that are read before each entry.
    """

    flushed: Words
    flush_address: np.uint64
    worked_on: Words
    n_touches: NDArray[np.uint32]


class Replayed(NamedTuple):
    """What a pass over some entries gave.

    Attributes
    ----------
    total : uint64
        Sum of all entries of the p2m that were looked up, modulo 2**64.
    n_wrong : uint64
        Frames that the m2p named and that the p2m has elsewhere.
    n_flushes, work : uint64
        How often the TLB was flushed, and the sum of the words that other work read.
    whole : uint64
        Time of the pass, which tells how long a tick is [ticks].
    """

    total: np.uint64
    n_wrong: np.uint64
    n_flushes: np.uint64
    work: np.uint64
    whole: np.uint64


@njit(forceinline=True)
def bring_near(items: NDArray[np.uint32], first: int, end: int, zero: np.uint64) -> np.uint64:
    """Read the lines of an entry's items, one after the other, or LLVM would gather them.

    Parameters
    ----------
    items : ndarray of uint32
        Items of the stream.
    first, end : int64
        Those of the entry.
    zero : uint64
        0, unknown to the compiler.

    Returns
    -------
    uint64
        0, which has to wait for what was read.
    """
    at_hand = np.uint64(zero)
    for at in range(first, min(end, first + _AT_HAND), _LINE_ITEMS):
        at_hand = np.uint64(items[at + np.int64(at_hand & zero)])
    return at_hand & zero


@njit(forceinline=True)
def look_up(
    tables: NamedTuple, state: State, asked: Asked, first: int, end: int
) -> tuple[np.uint64, np.uint64, State]:
    """Look up the items of one entry into the kernel.

    Parameters
    ----------
    tables, state, asked
        As `replay`.
    first, end : int64
        The items.

    Returns
    -------
    total, n_wrong : uint64
        As in `Replayed`.
    state : tuple
        For the next lookups.

    Notes
    -----
    As mfn_to_pfn of arch/x86/include/asm/xen/page.h (Linux 3.18 and 3.19) does, an m2p lookup asks the p2m
    for the frame that the m2p has named, and compares: a branch that is always predicted in a kernel, a count
    here, and nothing waits for either. Nor does a lookup wait for the one before: a kernel reads its page
    tables in between, which is no part of a p2m. Linux 3.18 calls a function for each lookup of the tree, and
    3.19 has the list's in place; here both are (the benchmark `replays` tells what the calls take).
    """
    total = n_wrong = ZERO
    for at in range(np.uint64(first), np.uint64(end)):  # a signed index may be negative, which is looked at
        item = np.uint64(asked.items[at])
        if item & M2P_ITEM:
            mfn = item & FRAME_MASK
            entry, state = walk(tables, state, (), load64((), asked.m2p, mfn))
            # A sum of 0 and 1 took as long as the branch, and so did the branch without `unlikely`.
            if unlikely(entry != mfn):
                n_wrong += ONE
        else:
            entry, state = walk(tables, state, (), item)
        total += entry
    return total, n_wrong, state


@njit
def replay(
    tables: NamedTuple,
    state: tuple[object, ...],
    asked: Asked,
    condition: Condition,
    first: int,
    end: int,
    took: NDArray[np.int64],
    zero: np.uint64,
) -> Replayed:
    """Do what comes before an entry, untimed, and time its lookups; entry by entry.

    Parameters
    ----------
    tables, state
        A design's.
    asked : Asked
        The stream.
    condition : Condition
        What comes before.
    first, end : int64
        Entries to replay.
    took : ndarray of int64, shape (end - first,)
        Receives the time from stamp to stamp around each entry's lookups, less that around nothing just
        before: what the stamps themselves take [ticks].
    zero : uint64
        0, unknown to the compiler.

    Returns
    -------
    Replayed
    """
    total = n_wrong = n_flushes = work = ZERO
    chance = _SEED ^ np.uint64(first)  # the same work before the same entries, whatever the design
    first_tick = ticks()
    for number in range(first, end):
        n_flushes += flush(condition.flushed, condition.flush_address, _APART, np.uint64(number))
        chance, worked = do_other_work(condition.worked_on, np.uint64(condition.n_touches[number]), chance)
        work += worked
        begins, ends = asked.starts[number], asked.starts[number + 1]
        # After the other work, which would push these lines out of the caches again.
        total += bring_near(asked.items, begins, ends, zero)
        # What stamps take is measured beside each entry, and not once: 8 % of 100000 pairs in a row differed
        # by 26 ticks from the pair before, as often to either side. Hence the signed difference, too.
        start = ticks()
        begin = ticks()
        found, wrong, state = look_up(tables, state, asked, begins, ends)
        stop = ticks()
        total += found
        n_wrong += wrong
        took[number - first] = np.int64(stop - begin) - np.int64(begin - start)
    return Replayed(total, n_wrong, n_flushes, work, ticks() - first_tick)


@njit
def disturb_victim(
    tables: NamedTuple,
    state: tuple[object, ...],
    asked: Asked,
    victim: Words,
    chased: bool,
    n_touches: int,
    first: int,
    end: int,
    took: NDArray[np.int64],
    zero: np.uint64,
) -> Replayed:
    """Look up an entry, untimed, and time the work that comes after it.

    Parameters
    ----------
    tables, state, asked, first, end, zero
        As `replay`.
    victim : ndarray of uint64
        Memory that is worked on: a cycle of words that name each other, or anything.
    chased : bool
        Follow the cycle; else read line after line, round and round.
    n_touches : int64
        Lines to read after each entry.
    took : ndarray of int64, shape (end - first,)
        Receives the time of the work after each entry, less that of stamps [ticks].

    Returns
    -------
    Replayed
        Its work is of no meaning.
    """
    total = n_wrong = work = place = ZERO
    n_lines = np.uint64(victim.size) // _LINE_WORDS
    first_tick = ticks()
    for number in range(first, end):
        begins, ends = asked.starts[number], asked.starts[number + 1]
        total += bring_near(asked.items, begins, ends, zero)
        found, wrong, state = look_up(tables, state, asked, begins, ends)
        total += found
        n_wrong += wrong
        start = ticks()
        begin = ticks()
        if chased:
            place = np.uint64(chase(victim, place, n_touches))
        else:
            for _ in range(n_touches):
                work += victim[place * _LINE_WORDS]
                place += ONE
                # Compared: a remainder is a division for each line, which doubled the time of lines at hand.
                if place == n_lines:
                    place = ZERO
        stop = ticks()
        took[number - first] = np.int64(stop - begin) - np.int64(begin - start)
    return Replayed(total, n_wrong, ZERO, work + place, ticks() - first_tick)


@njit
def note_loads(
    tables: NamedTuple, state: tuple[object, ...], asked: Asked, number: int, probe: Words
) -> None:
    """Note where the lookups of one entry read a design's tables.

    Parameters
    ----------
    tables, state, asked
        As `replay`.
    number : int64
        The entry.
    probe : ndarray of uint64
        Element 0 receives the number of loads, the others their addresses, as far as they fit.
    """
    probe[0] = ZERO
    for at in range(asked.starts[number], asked.starts[number + 1]):
        item = np.uint64(asked.items[at])
        frame = load64((), asked.m2p, item & FRAME_MASK) if item & M2P_ITEM else item
        _, state = walk(tables, state, probe, frame)


@njit
def time_other_work(
    condition: Condition, n_touches: np.uint64, took: NDArray[np.int64]
) -> tuple[np.uint64, np.uint64]:
    """Flush, and time other work as `replay` does it, to know how much of it a microsecond is.

    Parameters
    ----------
    condition : Condition
        What is flushed and worked on.
    n_touches : uint64
        Lines to read each time.
    took : ndarray of int64
        Receives the time of each [ticks].

    Returns
    -------
    work : uint64
        Sum of the words that were read.
    whole : uint64
        Time of all of it [ticks].
    """
    work, chance = ZERO, _SEED
    first_tick = ticks()
    for number in range(took.size):
        flush(condition.flushed, condition.flush_address, _APART, np.uint64(number))
        begin = ticks()
        chance, worked = do_other_work(condition.worked_on, n_touches, chance)
        took[number] = np.int64(ticks() - begin)
        work += worked
    return work, ticks() - first_tick
