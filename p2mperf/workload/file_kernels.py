"""Compiled: where the pages of files are, in runs of 16 pages."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2mperf.jit import njit
from p2mperf.memory.raw import Number
from p2mperf.workload.events import Event
from p2mperf.workload.shadow_kernels import CHUNK_PAGES, slot_of
from p2mperf.workload.steps import WINDOW_SHIFT
from p2mperf.workload.word_kernels import get, get_wide, put, put_wide

_CACHE_ADD = np.int64(Event.CACHE_ADD)
_HALF_SHIFT, _HALF_MASK = 32, 0xFFFF_FFFF


class Files(NamedTuple):
    """Runs of pages of files.

    Attributes
    ----------
    keys : address of int64, shape (n_slots,)
        A power of two of slots: the run in each.
    slots : address of int32, shape (n_slots,)
        Its number, -1 where a slot is free.
    frames : address of uint32, shape (n_runs, 16)
        Frames of each run.
    window : address of uint32, shape (16,)
        Frames of the window that was asked for last.
    other : address of uint32
        Frames for pages of files that the recording does not name: a power of two.
    n_slots, n_other : int64
        Numbers of slots, and of frames for others.
    """

    keys: np.uint64
    slots: np.uint64
    frames: np.uint64
    window: np.uint64
    other: np.uint64
    n_slots: np.int64
    n_other: np.int64


# Runs, not pages: a window of a build has 14 pages on average and lies in two runs at most, which takes two
# searches instead of 14.
@njit(inline="always")
def _run_key(file: int, page: int) -> int:
    """What a run is found by; pages of a file beyond 2**36 are taken modulo that."""
    return (file >> _HALF_SHIFT) << _HALF_SHIFT | (page >> WINDOW_SHIFT) & _HALF_MASK


@njit
def _run(files: Files, key: Number) -> Number:
    """Number of a run that is there, or the free slot for it as ~slot."""
    # There is a free slot, at which this ends: slots are never more than half full.
    # Files lie in the upper half of a key: without mixing the first runs of all would meet in one slot.
    at = slot_of(key, files.n_slots)
    while get(files.slots, at) >= 0:
        if get_wide(files.keys, at) == key:
            return get(files.slots, at)
        at = (at + 1) & (files.n_slots - 1)
    return ~at


@njit
def _count_run(files: Files, key: int, n_runs: int) -> int:
    run = _run(files, key)
    if run < 0:
        # The search that found nothing has ended where it belongs.
        put_wide(files.keys, ~run, key)
        put(files.slots, ~run, n_runs)
        return n_runs + 1
    return n_runs


@njit
def number_runs(
    event: NDArray[np.int8],
    value: NDArray[np.int64],
    aux: NDArray[np.int64],
    window_at: NDArray[np.int64],
    files: Files,
) -> int:
    """Number the runs that windows and the page cache name, as they come.

    Parameters
    ----------
    event, value, aux : ndarray, shape (n_events,)
        As a recording has them.
    window_at : ndarray of int64, shape (n_faults,)
        Event of each fault's window, -1 for none.
    files : Files
        Takes them: more than twice as many slots as there can be runs.

    Returns
    -------
    int
        How many there are.
    """
    # Before anything is placed: from their number follows how many blocks of the guest they take. Nothing is
    # ever taken out, so that a place that is free when it is searched for is where its run belongs.
    n_runs = 0
    for at in window_at:
        if at >= 0:
            # 16 pages at most: what lies between the runs of the first and of the last is in one of them.
            last = value[at] + min(max(aux[at] & _HALF_MASK, 1), CHUNK_PAGES) - 1
            n_runs = _count_run(files, _run_key(aux[at], value[at]), n_runs)
            n_runs = _count_run(files, _run_key(aux[at], last), n_runs)
    for i in range(event.size):
        if event[i] == _CACHE_ADD:
            n_runs = _count_run(files, _run_key(aux[i], aux[i] & _HALF_MASK), n_runs)
    return n_runs


@njit
def cache_page(files: Files, aux: int, frame: np.uint32 | int) -> None:
    """A page enters the page cache; its run is there.

    Parameters
    ----------
    files : Files
        Runs of pages of files, which are there.
    aux : int
        As the event has it: the file above, and a page or a number of pages.
    frame : int
        The guest's frame.
    """
    page = aux & _HALF_MASK
    put(files.frames, CHUNK_PAGES * _run(files, _run_key(aux, page)) + (page & (CHUNK_PAGES - 1)), frame)


@njit
def frames_of_window(files: Files, first: int, aux: int, n_pages: int) -> None:
    """Put the frames of a window in place: pages of a file from the first on, whose runs are there.

    Parameters
    ----------
    files : Files
        Runs of pages of files, which are there.
    first : int
        First page.
    aux : int
        As the event has it: the file above, and a page or a number of pages.
    n_pages : int
        How many, 16 at most.
    """
    # Searched for at its beginning and where a run ends (a third of windows lie in two): a search for each
    # page made the whole pass over the shipped recordings a tenth longer (43 ms to 47, 44 to 49).
    run: Number
    key: Number
    run, key = np.int64(0), np.int64(0)
    for number in range(n_pages):
        page = first + number
        if number == 0 or page & (CHUNK_PAGES - 1) == 0:
            key = _run_key(aux, page)
            run = _run(files, key)
        put(files.window, number, get(files.frames, CHUNK_PAGES * run + (page & (CHUNK_PAGES - 1))))


@njit
def enter_cache(
    event: NDArray[np.int8], aux: NDArray[np.int64], cached: NDArray[np.uint32], files: Files
) -> None:
    """Put pages where they first enter the page cache: a fault is recorded before the page that it reads.

    Parameters
    ----------
    event, aux : ndarray, shape (n_events,)
        As a recording has them.
    cached : ndarray of uint32, shape (n_cached,)
        Frames of the pages, in their order.
    files : Files
        Whose runs are there.
    """
    # From the end back: of a page that enters twice the first time is what is written last, and stays.
    number = cached.size
    for back in range(event.size):
        i = event.size - 1 - back
        if event[i] == _CACHE_ADD:
            number -= 1
            cache_page(files, aux[i], cached[number])
