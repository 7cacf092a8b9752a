"""Ring-buffer pages into columns, and the columns of all CPUs into one order: compiled loops.

Pages are words of 4 bytes, little-endian, as is all that stands in them. Where a number stands is said by
`places`: for each event four rows of (word of the payload, bits to shift right, bits of the number, whether
it is signed); for a number of 64 bits the next word is its upper half (`p2mperf.workload.layouts`).

Linux kernel/trace/ring_buffer.c and include/linux/ring_buffer.h (6.1).
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from p2mperf.jit import njit
from p2mperf.memory.raw import Number
from p2mperf.workload.events import Event

Words = NDArray[np.uint32]
Numbers = NDArray[np.int64]
# A `Found` that is no mistake if it is 0, a number that tells more of it, and what there was to find.
Mistakable = tuple[int, Number, Number, Number]
Buffers = tuple[Numbers, NDArray[np.int32], NDArray[np.int8], Numbers, Numbers, Numbers, Numbers]


class Found(IntEnum):
    """What a walk over pages came to: their end, or what cannot be."""

    END = 0
    LOST = 1
    COMMIT = 2
    PAST = 3
    LENGTH = 4
    UNKNOWN = 5
    SHORT = 6
    THREAD = 7
    TIME = 8
    BACKWARDS = 9


_END, _LOST, _COMMIT, _PAST, _LENGTH = map(int, tuple(Found)[:5])
_UNKNOWN, _SHORT, _THREAD, _TIME, _BACKWARDS = map(int, tuple(Found)[5:])

# What a walk leaves in its state.
LAST_NS, N_EVENTS, N_FILES, PAGE, BYTE, DETAIL = range(6)
N_STATE = 6
# PID_MAX_LIMIT of Linux include/linux/threads.h.
MOST_THREADS = 1 << 22

# Marks of a page's commit word: events were lost before it, and their number stands behind its data.
_LOST_MARKS = 3 << 30
_PADDING, _EXTEND, _ABSOLUTE = 29, 30, 31
_LATEST_NS = 1 << 62
_LOW_WORD = (1 << 32) - 1
_PAGE_MASK = (1 << 52) - 1
_FRAME_MASK = (1 << 40) - 1
_INT_MASK = (1 << 31) - 1
_STAMP_BITS = 59
_NOTHING = np.int64(0)

_FAULT_USER, _FAULT_KERNEL = int(Event.FAULT_USER), int(Event.FAULT_KERNEL)
_ALLOC, _MAP_PAGES, _CACHE_ADD = int(Event.ALLOC), int(Event.MAP_PAGES), int(Event.CACHE_ADD)
_NEW_TASK, _EXEC, _EXIT = int(Event.NEW_TASK), int(Event.EXEC), int(Event.EXIT)
_SWITCH, _MMAP, _MMAP_DONE = int(Event.SWITCH), int(Event.MMAP), int(Event.MMAP_DONE)
_MUNMAP, _MPROTECT = int(Event.MUNMAP), int(Event.MPROTECT)
_BRK, _BRK_DONE = int(Event.BRK), int(Event.BRK_DONE)
_XEN_SET_PTE, _XEN_SET_PTE_AT = int(Event.XEN_SET_PTE), int(Event.XEN_SET_PTE_AT)
_XEN_SET_PGD, _XEN_PTE_CLEAR = int(Event.XEN_SET_PGD), int(Event.XEN_PTE_CLEAR)
_XEN_PROT_START, _XEN_PROT_COMMIT = int(Event.XEN_MODIFY_PROT_START), int(Event.XEN_MODIFY_PROT_COMMIT)
_XEN_ALLOC, _XEN_RELEASE = int(Event.XEN_ALLOC_PTPAGE), int(Event.XEN_RELEASE_PTPAGE)
_XEN_PIN, _XEN_UNPIN, _XEN_CR3 = int(Event.XEN_PGD_PIN), int(Event.XEN_PGD_UNPIN), int(Event.XEN_WRITE_CR3)
_XEN_FLUSH_SINGLE, _XEN_FLUSH_OTHERS = int(Event.XEN_FLUSH_TLB_SINGLE), int(Event.XEN_FLUSH_TLB_OTHERS)


@njit(forceinline=True)
def _number(words: Words, body: Number, places: Numbers, event: Number, which: int) -> Number:
    """The number that an event, whose payload begins at a word, has at one of its places."""
    # By index: a view of an array would be counted, which costs more than the number.
    at, bits = body + places[event, which, 0], places[event, which, 2]
    value = np.int64(words[at]) >> places[event, which, 1]
    # By itself: a shift by as many bits as a word has is undefined, and so would be its mask.
    if bits == 64:
        return value | np.int64(words[at + 1]) << 32
    value &= (np.int64(1) << bits) - 1
    if places[event, which, 3] and value >> (bits - 1):
        value -= np.int64(1) << bits
    return value


@njit(forceinline=True)
def _page(address: Number) -> Number:
    """The page of an address, all 64 bits of which count."""
    return (address >> 12) & _PAGE_MASK


@njit(forceinline=True)
def _n_pages(n_bytes: Number) -> Number:
    return _page(n_bytes) + ((n_bytes & 4095) != 0)


@njit(forceinline=True)
def _entry(entry: Number) -> Number:
    """An entry of a page table: the frame, above it its 12 low bits."""
    return (entry >> 12) & _FRAME_MASK | (entry & 4095) << 40


# Folded in: called, decoding takes a tenth longer.
@njit(forceinline=True)
def _value_and_aux(event: Number, words: Words, body: Number, places: Numbers) -> tuple[Number, Number]:
    """What a recording keeps of an event, but for numbers of threads and files, which are given later."""
    # Written as one test after the other, of which LLVM makes a jump through a table: their order costs
    # nothing.
    first = _number(words, body, places, event, 0)
    if event in (_FAULT_USER, _FAULT_KERNEL):
        return _page(first), _number(words, body, places, event, 1) & _LOW_WORD
    if event == _ALLOC:
        flags = _number(words, body, places, event, 1) & _LOW_WORD
        order = _number(words, body, places, event, 2) & 255
        frame = first if first == -1 else first & _PAGE_MASK
        return frame, flags | order << 32 | (_number(words, body, places, event, 3) & 255) << 40
    if event == _MAP_PAGES:
        return first & _PAGE_MASK, (_number(words, body, places, event, 1) - first + 1) & _LOW_WORD
    if event == _CACHE_ADD:
        return first & _PAGE_MASK, _number(words, body, places, event, 1) & _LOW_WORD
    if event == _NEW_TASK:
        return first, _number(words, body, places, event, 1) & _LOW_WORD
    if event == _EXIT:
        return first, _number(words, body, places, event, 1) & _LOW_WORD if places[event, 1, 2] else np.int64(
            1
        )
    if event in (_EXEC, _SWITCH):
        return first, np.int64(0)
    if event == _MMAP:
        prot, flags = _number(words, body, places, event, 1), _number(words, body, places, event, 2)
        return _n_pages(first), prot & _LOW_WORD | (flags & _INT_MASK) << 32
    if event == _MMAP_DONE:
        # An error of the system call, -MAX_ERRNO or above (Linux include/linux/err.h).
        return np.int64(-1) if -4096 < first < 0 else _page(first), np.int64(0)
    if event == _MUNMAP:
        return _page(first), _n_pages(_number(words, body, places, event, 1))
    if event == _MPROTECT:
        n_pages = min(_n_pages(_number(words, body, places, event, 1)), _LOW_WORD)
        return _page(first), n_pages | (_number(words, body, places, event, 2) & _INT_MASK) << 32
    if event in (_BRK, _BRK_DONE):
        return _n_pages(first), np.int64(0)
    if _XEN_SET_PTE <= event <= _XEN_SET_PGD or event in (_XEN_PROT_START, _XEN_PROT_COMMIT):
        return _page(first), _entry(_number(words, body, places, event, 1))
    if event in (_XEN_ALLOC, _XEN_RELEASE):
        level = _number(words, body, places, event, 1) & _LOW_WORD
        return first & _PAGE_MASK, level | (_number(words, body, places, event, 2) & 1) << 32
    if event == _XEN_CR3:
        return _page(first), _number(words, body, places, event, 1) & 1
    if event == _XEN_FLUSH_OTHERS:
        return _page(first), _number(words, body, places, event, 1) & _LOW_WORD
    if event in (_XEN_PTE_CLEAR, _XEN_PIN, _XEN_UNPIN, _XEN_FLUSH_SINGLE):
        return _page(first), np.int64(0)
    return np.int64(0), np.int64(0)


# What follows ends at the first mistake. Of an event it takes numbers rather than arrays: numba counts
# references to one that is read behind a function's first end, which made decoding five times as long.
@njit(forceinline=True)
def _page_start(words: Words, base: Number, header: tuple[int, int, int, int]) -> Mistakable:
    """Time of a page, and bytes of its events."""
    page_words, time_word, commit_word, data_word = header
    time = np.int64(words[base + time_word]) | np.int64(words[base + time_word + 1]) << 32
    commit = np.int64(words[base + commit_word])
    # Before anything of the page is taken: what it holds comes after what was lost.
    if commit & _LOST_MARKS:
        return _LOST, _NOTHING, time, commit
    if commit > 4 * (page_words - data_word) or commit & 3:
        return _COMMIT, commit, time, commit
    # A delta is less than 2**59 ns (an upper word of 32 bits above 27): from here on one may be added before
    # it is looked at, and no sum reaches the sign.
    if not 0 <= time <= _LATEST_NS:
        return _TIME, _NOTHING, time, commit
    return _END, _NOTHING, time, commit


@njit(forceinline=True)
def _n_words(kind: Number, second: Number) -> Number:
    """How many words an event has whose second word is a length, or the upper part of a time; 0 for none."""
    if kind in (_EXTEND, _ABSOLUTE):
        return np.int64(2)
    # What tells of a length counts itself.
    return 1 + ((second + 3) >> 2) if second >= 4 else np.int64(0)


@njit(forceinline=True)
def _time_of(kind: Number, delta: Number, second: Number, before: Number) -> Number:
    """Time of an event, or of what stands in its place to tell a time."""
    if kind == _EXTEND:
        return before + (second << 27) + delta
    if kind == _ABSOLUTE:
        stamp = (second << 27) + delta
        upper = before >> _STAMP_BITS << _STAMP_BITS
        # The upper bits are the page's; a carry into them is told by time running backwards.
        if upper != 0 and (stamp | upper) < before:
            upper += np.int64(1) << _STAMP_BITS
        return stamp | upper
    return before + delta


@njit(forceinline=True)
def _is_right(
    event: Number, number: Number, is_told: bool, is_short: bool, is_earlier: bool
) -> tuple[int, Number]:
    """Whether an event was asked for, is as long as such an event is, and no earlier than the one before."""
    if not is_told:
        return _SHORT, np.int64(-1)
    if event < 0:
        return _UNKNOWN, number
    if is_short:
        return _SHORT, np.int64(event)
    return (_BACKWARDS if is_earlier else _END), _NOTHING


@njit(forceinline=True)
def _payload(event: Number, thread: Number, words: Words, body: Number, places: Numbers) -> Mistakable:
    """What a recording keeps of an event of a thread; both name threads that can be."""
    value, aux = _value_and_aux(event, words, body, places)
    if event in (_NEW_TASK, _EXEC, _EXIT, _SWITCH) and not 0 <= value <= MOST_THREADS:
        return _THREAD, value, value, aux
    if not 0 <= thread <= MOST_THREADS:
        return _THREAD, thread, value, aux
    return _END, _NOTHING, value, aux


# Pages and their events in one loop: with a function for a page all takes 6 to 10 % longer.
@njit
def decode_pages(
    words: Words,
    n_pages: int,
    header: tuple[int, int, int, int],
    numbers: NDArray[np.int8],
    least_bytes: Numbers,
    places: Numbers,
    columns: Buffers,
    state: Numbers,
) -> int:
    """Walk pages of one CPU, and note every event.

    Parameters
    ----------
    words : ndarray of uint32
        Pages, one after the other.
    n_pages : int
        How many of them.
    header : tuple of int
        Words of a page, and the words at which its time, its commit word and its data begin.
    numbers : ndarray of int8, shape (65536,)
        `Event` of each ``common_type``; -1 for those that were not asked for.
    least_bytes, places : ndarray of int64
        As `p2mperf.workload.layouts.EventLayout` has them.
    columns : tuple of ndarray
        Time [ns], thread, event, value, aux, and inode and device of events of files; room for all.
    state : ndarray of int64, shape (N_STATE,)
        Time of the last event, -1 before the first; then what was found, which is written: events, and those
        of files; page, byte and a number that tell of a mistake.

    Returns
    -------
    int
        A `Found`.
    """
    times, threads, events, values, auxes, inodes, devices = columns
    common = places.shape[0] - 1
    n, n_files, last = 0, 0, state[LAST_NS]
    # A mistake ends both loops by its number: what has been found until then is complete, and the caller says
    # where it stands.
    found = _END
    detail: Number = _NOTHING
    page: Number = 0
    at: Number = 0
    second: Number
    n_words: Number
    for page in range(n_pages):
        at = page * header[0]
        found, detail, time, n_bytes = _page_start(words, at, header)
        if found:
            break
        at += header[3]
        end = at + (n_bytes >> 2)
        while at < end:
            head = np.int64(words[at])
            kind, delta = head & 31, head >> 5
            if kind == _PADDING and delta == 0:
                break
            second, body, n_words = np.int64(0), at + 1, 1 + kind
            if kind == 0 or kind >= _PADDING:
                # Where it would stand behind the page any length will do: all go on behind it, too.
                second, body = np.int64(words[at + 1]) if at + 1 < end else np.int64(4), at + 2
                n_words = _n_words(kind, second)
            # Before the payload is read, as its least length is below: no number is ever read from behind the
            # page.
            if n_words == 0 or at + n_words > end:
                found, detail = (_LENGTH, second) if n_words == 0 else (_PAST, _NOTHING)
                break
            time = _time_of(kind, delta, second, time)
            if time > _LATEST_NS or time < 0:
                found = _TIME
                break
            # What was discarded has a delta of its own, which those behind it count from.
            if kind >= _PADDING:
                at += n_words
                continue
            n_bytes = second - 4 if kind == 0 else 4 * kind
            # The fields that all events share first: without them nothing says which event's length to ask
            # for.
            is_told = n_bytes >= least_bytes[-1]
            number = _number(words, body, places, common, 0) if is_told else _NOTHING
            event = numbers[number]
            found, detail = _is_right(event, number, is_told, n_bytes < least_bytes[event], time < last)
            if found:
                break
            thread = _number(words, body, places, common, 1)
            found, detail, value, aux = _payload(event, thread, words, body, places)
            if found:
                break
            # At the event's own place, though only 4 and 6 % of the shipped recordings' have a file: the
            # merge reads all columns by one index.
            if event in (_MAP_PAGES, _CACHE_ADD):
                inodes[n] = _number(words, body, places, event, 2)
                devices[n] = _number(words, body, places, event, 3) & _LOW_WORD
                n_files += 1
            times[n], threads[n], events[n], values[n], auxes[n] = time, thread, event, value, aux
            last = time
            n += 1
            at += n_words
        if found:
            break
    state[LAST_NS], state[N_EVENTS], state[N_FILES] = last, n, n_files
    state[PAGE], state[BYTE], state[DETAIL] = page, 4 * (at - page * header[0]), detail
    return found
