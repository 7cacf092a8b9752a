"""Events of all CPUs into one order of times, threads and files numbered as they come: compiled loops."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from p2mperf.jit import njit
from p2mperf.memory.raw import Number
from p2mperf.workload.decode_kernels import Buffers, Numbers
from p2mperf.workload.events import Event

Columns = tuple[Numbers, NDArray[np.int8], NDArray[np.int32], NDArray[np.int8], Numbers, Numbers]

# What a merge says instead of the CPU whose events it has used up.
NONE_LEFT = -1
# What it counts as it goes.
N_THREADS, N_FILES, N_OUT = range(3)
N_COUNTS = 3

_NEVER = (1 << 63) - 1
_MAP_PAGES, _CACHE_ADD = int(Event.MAP_PAGES), int(Event.CACHE_ADD)
_NEW_TASK, _EXEC = int(Event.NEW_TASK), int(Event.EXEC)
_EXIT, _SWITCH = int(Event.EXIT), int(Event.SWITCH)
_IS_RARE = sum(1 << event for event in (_NEW_TASK, _EXEC, _EXIT, _SWITCH, _MAP_PAGES, _CACHE_ADD))


@njit(forceinline=True)
def _slot(inode: Number, device: Number, keys: Numbers, numbers: Numbers) -> np.int64:
    """Where a file stands in the table, or would."""
    mask = numbers.size - 1
    # Numbers of inodes follow each other, and those of devices are few: products spread them over the upper
    # bits, which are taken.
    mixed = np.uint64(inode) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ np.uint64(device)) * np.uint64(0xC2B2AE3D27D4EB4F)
    slot = np.int64(mixed >> np.uint64(32)) & mask
    # Files are numbered from 1: 0 is a free slot. There is one, as the caller makes room before any are
    # merged.
    while numbers[slot] and (keys[slot, 0] != inode or keys[slot, 1] != device):
        slot = (slot + 1) & mask
    return slot


@njit
def move_files(keys: Numbers, numbers: Numbers, larger_keys: Numbers, larger_numbers: Numbers) -> None:
    """Put all files into a larger table.

    Parameters
    ----------
    keys, larger_keys : ndarray of int64, shape (n, 2)
        Inode and device; n is a power of two.
    numbers, larger_numbers : ndarray of int64, shape (n,)
        Number of each file, 0 where there is none.
    """
    for at in range(numbers.size):
        if numbers[at]:
            slot = _slot(keys[at, 0], keys[at, 1], larger_keys, larger_numbers)
            larger_keys[slot] = keys[at]
            larger_numbers[slot] = numbers[at]


@njit(forceinline=True)
def _file_number(inode: Number, device: Number, keys: Numbers, numbers: Numbers, counts: Numbers) -> np.int64:
    """Number of a file; the next one for a file that was not seen before."""
    slot = _slot(inode, device, keys, numbers)
    if not numbers[slot]:
        counts[N_FILES] += 1
        keys[slot, 0], keys[slot, 1], numbers[slot] = inode, device, counts[N_FILES]
    return numbers[slot]


@njit(forceinline=True)
def _thread_number(
    thread: Number, event: Number, root: int, threads: NDArray[np.int32], counts: Numbers
) -> np.int32:
    """Number of a thread; of one not seen before the next one, or 0 for others that are switched."""
    # A switch names any thread of the machine: one that has done nothing yet gets no number, but for the
    # command's own.
    number = threads[np.uint64(thread)]
    if number == 0 and (event != _SWITCH or thread == root):
        counts[N_THREADS] += 1
        number = threads[thread] = counts[N_THREADS]
    return number


@njit(forceinline=True)
def _soonest(times: Numbers, positions: Numbers, ends: Numbers) -> tuple[int, Number, Number]:
    """CPU whose next event is the earliest, -1 for none; its time, and the earliest of the other CPUs."""
    cpu, soonest, next_time = -1, _NEVER, _NEVER
    n_room = times.size // positions.size
    for other in range(positions.size):
        if positions[other] < ends[other]:
            time = times[other * n_room + positions[other]]
            if time < soonest:
                next_time = soonest
                cpu, soonest = other, time
            elif time < next_time:
                next_time = time
    return cpu, soonest, next_time


@njit(forceinline=True)
def _new_number(thread: Number, threads: NDArray[np.int32], counts: Numbers) -> np.int64:
    """Number of a thread that is new."""
    # A number of the kernel's may be that of a thread that has ended.
    counts[N_THREADS] += 1
    threads[thread] = counts[N_THREADS]
    return counts[N_THREADS]


@njit
def merge_events(
    buffers: Buffers,
    positions: Numbers,
    ends: Numbers,
    root: int,
    threads: NDArray[np.int32],
    keys: Numbers,
    numbers: Numbers,
    out: Columns,
    counts: Numbers,
) -> int:
    """Move events of all CPUs to the output, earliest first, until one CPU has none left.

    Parameters
    ----------
    buffers : tuple of ndarray, shape (n_cpus * n_room,)
        Columns as `p2mperf.workload.decode_kernels.decode_pages` fills them, of one CPU after the other.
    positions, ends : ndarray of int64, shape (n_cpus,)
        The next event of each CPU, which is moved on, and where its events end. A CPU whose events had all
        been used before is left out.
    root : int
        Thread that the command began with.
    threads : ndarray of int32
        Number of each thread, 0 for none.
    keys, numbers : ndarray of int64
        Table of files; room for all that come.
    out : tuple of ndarray
        Time [ns], CPU, thread, event, value, aux, with room for all; CPUs are numbered as they stand in the
        buffers.
    counts : ndarray of int64, shape (N_COUNTS,)
        Threads, files, and events in the output; added to.

    Returns
    -------
    int
        CPU whose events are used up; `NONE_LEFT` when no CPU has any.

    Notes
    -----
    Of events at one time those of the lower CPU come first, and those of one CPU keep their order.
    """
    # Here, not while pages are decoded: threads and files are numbered as they come, and that order is known
    # only when the CPUs' events are in one.
    times, made_by, events, values, auxes, inodes, devices = buffers
    out_times, out_cpus, out_threads, out_events, out_values, out_auxes = out
    n = counts[N_OUT]
    n_room = times.size // positions.size
    while True:
        # A search through all CPUs, no heap of them: it is made once for a stretch of one CPU's events (510
        # and 1815 of them in the shipped recordings, of two CPUs). Once for each event all takes a fifth
        # longer.
        cpu, soonest, next_time = _soonest(times, positions, ends)
        if cpu < 0:
            counts[N_OUT] = n
            return NONE_LEFT
        at, end = cpu * n_room + positions[cpu], cpu * n_room + ends[cpu]
        # As long as it stays ahead of the others, nobody else need be asked.
        while at < end:
            # Indices without a sign need no look at whether they count from the end: 5.9 ns an event, and 6.8
            # with it.
            source, target = np.uint64(at), np.uint64(n)
            time = times[source]
            # At a time that is another's too the lower CPU comes first, which the search above knows; but
            # what is at the time that it was chosen for has been chosen with it.
            if time >= next_time and time != soonest:
                break
            event, value, aux, thread = events[source], values[source], auxes[source], made_by[source]
            number = threads[np.uint64(thread)]
            # Rare is what names another thread or a file (4 and 7 % of the shipped recordings' events), and
            # what a thread does that is not known yet. Were all of it done for each event, one would take
            # 25 ns, not 6; six comparisons instead of the bit take as long as it. In a function of its own,
            # with the arrays that it takes, all took a third longer.
            if number == 0 or _IS_RARE >> np.int64(event) & 1:
                number = _thread_number(thread, event, root, threads, counts)
                if event in (_MAP_PAGES, _CACHE_ADD):
                    aux |= _file_number(inodes[source], devices[source], keys, numbers, counts) << 32
                elif event == _NEW_TASK:
                    value = _new_number(value, threads, counts)
                elif event in (_EXEC, _EXIT, _SWITCH):
                    value = np.int64(_thread_number(value, _SWITCH, root, threads, counts))
            out_times[target], out_cpus[target], out_threads[target] = time, cpu, number
            out_events[target], out_values[target], out_auxes[target] = event, value, aux
            n += 1
            at += 1
        positions[cpu] = at - cpu * n_room
        # What comes next on it may be earlier than all that the others have: nothing can be moved until it is
        # read.
        if at == end:
            counts[N_OUT] = n
            return cpu
