"""Compiled: a fault as the kernel handles it: down to its pte page, and what its class maps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from p2mperf.jit import njit
from p2mperf.workload.emission_kernels import REVIVED, Out, do, enter
from p2mperf.workload.fault_kernels import USER_PAGES
from p2mperf.workload.file_kernels import Files, frames_of_window
from p2mperf.workload.shadow_kernels import (
    CHUNK_PAGES,
    LEVELS,
    NONE,
    PMD,
    PTE,
    PUD,
    Shadow,
    add_table,
    chunk_of,
    find_table,
    map_page,
)
from p2mperf.workload.space_kernels import (
    Queues,
    Spaces,
    push,
    table_key,
    take_roots,
    take_tables,
    unknown_frame,
)
from p2mperf.workload.steps import TABLE_SHIFT, Role, Step, span
from p2mperf.workload.translation_stream import Entered
from p2mperf.workload.word_kernels import add_wide, get, get_byte, get_wide, put

_DATA, _OLD, _PTE, _PMD, _PUD = span(Role.DATA, Role.PUD)
_WALK_PUD, _WALK_PMD, _WALK_TEST, _WALK_PTE = span(Step.WALK_PUD, Step.WALK_PTE)
_NEW_PUD, _NEW_PMD, _NEW_PTE, _ANONYMOUS_STEP = span(Step.NEW_PUD, Step.ANONYMOUS)
# `_take_in` counts from the pte page up: roles upwards, steps downwards.
assert (_PMD, _PUD, _NEW_PMD, _NEW_PUD) == (_PTE + PMD, _PTE + PUD, _NEW_PTE - PMD, _NEW_PTE - PUD)
_PRIVATE_STEP, _FILE_LOCK, _FILE_PAGE, _FILE_MISSED = span(Step.PRIVATE_FILE, Step.FILE_MISSED)
_COPY_STEP, _REUSE_STEP, _SPURIOUS = span(Step.COPY, Step.SPURIOUS)
_ANONYMOUS, _ZERO_READ, _PRIVATE, _FILE, _ZERO_WRITE, _COPY, _REUSE, _UNKNOWN = span(
    Entered.ANONYMOUS_WRITE, Entered.UNCLASSIFIED
)
_HALF_MASK = 0xFFFF_FFFF


class Events(NamedTuple):
    """A recording's columns, its faults, and the guest's frames that stand for recorded ones.

    Attributes
    ----------
    time_ns, cpu, pid, event, value, aux
        As a recording has them.
    entered, frame, missed : address of uint8, uint32 and bool, shape (n_faults,)
        Of each fault: its class, the frame that it brought, whether a page was read for it.
    window_at : address of int64, shape (n_faults,)
        Event of its window, -1 for none.
    table_at : address of int64, shape (n_tables,)
        Event of each page of a page table, ascending.
    table_fault : address of int64, shape (n_tables,)
        Its fault, -1 for none.
    by_fault : address of int64, shape (n_tables,)
        Their numbers, by fault.
    cached : address of uint32, shape (n_cached,)
        Frame of each page that entered the page cache.
    zero_frame : int64
        The page of zeroes.
    n_events, n_tables, n_by_fault : int64
        How many there are.
    """

    time_ns: np.uint64
    cpu: np.uint64
    pid: np.uint64
    event: np.uint64
    value: np.uint64
    aux: np.uint64
    entered: np.uint64
    frame: np.uint64
    missed: np.uint64
    window_at: np.uint64
    table_at: np.uint64
    table_fault: np.uint64
    by_fault: np.uint64
    cached: np.uint64
    zero_frame: np.int64
    n_events: np.int64
    n_tables: np.int64
    n_by_fault: np.int64


class Fault(NamedTuple):
    """A fault, where it is, and what was allocated in it.

    Attributes
    ----------
    number, entered : int64
        Which fault of all, and its class.
    space, page, thread : int64
        Address space, page of the address, and whose fault it is.
    first, end : int64
        Where its page tables begin in `Events.by_fault`, and where they end.
    """

    number: int
    entered: int
    space: int
    page: int
    thread: int
    first: int
    end: int


# Folded in: called, with the eighty words that it is handed, it makes a pass over the shipped recordings a
# sixth to a third longer.
@njit(forceinline=True)
def handle_fault(
    out: Out, shadow: Shadow, spaces: Spaces, queues: Queues, files: Files, events: Events, fault: Fault
) -> None:
    """Handle a fault: walk down, make what is missing, and map what its class says.

    Parameters
    ----------
    out, shadow, spaces, queues, files, events
        What is made, and of what.
    fault : Fault
        Which fault.
    """
    entered, page = fault.entered, fault.page
    enter(out, entered)
    if not 0 <= page < USER_PAGES:
        # A fault of the kernel on its own memory walks down no process's tables.
        _keep(queues, events, fault, fault.first)
        return
    table = _walk(out, shadow, spaces, queues, events, fault)
    if table < 0:
        return
    if entered == _FILE:
        _read_file(out, shadow, files, events, fault.number, table, page)
    elif entered == _UNKNOWN:
        # The least that a fault asks: for what it does beyond that there is no sign.
        do(out, _SPURIOUS)
    elif entered == _ZERO_READ:
        put(out.roles, _DATA, events.zero_frame)
        do(out, _ANONYMOUS_STEP)
        map_page(shadow, table, page, events.zero_frame, False, False)
    elif entered in (_ANONYMOUS, _PRIVATE):
        put(out.roles, _DATA, get(events.frame, fault.number))
        do(out, _ANONYMOUS_STEP if entered == _ANONYMOUS else _PRIVATE_STEP)
        # Of a mapping of a file, though the page is the process's own: areas are told apart by it.
        map_page(shadow, table, page, get(events.frame, fault.number), True, entered == _PRIVATE)
    else:
        _write_to_page(out, shadow, spaces, queues, events, fault, table)


@njit
def _keep(queues: Queues, events: Events, fault: Fault, first: int) -> None:
    """Tables that a fault did not need were allocated for what the thread did after it."""
    for number in range(first, fault.end):
        push(queues, fault.thread, get_wide(events.by_fault, number))


@njit
def _walk(out: Out, shadow: Shadow, spaces: Spaces, queues: Queues, events: Events, fault: Fault) -> int:
    """Pte page of a page, which is made where it is missing; -1 where there is no room for it."""
    # The pte page first: of forty faults of a build one at most makes a table (1 of 128 and of 77 in the
    # shipped recordings), and all others search once; the tables above it are its parents.
    table = find_table(shadow, fault.space, PTE, fault.page >> TABLE_SHIFT)
    if table < 0:
        return _make_way(out, shadow, spaces, queues, events, fault)
    if get(shadow.is_freed, table):
        _take_back(out, shadow, queues, events, fault, table)
        return table
    if fault.first < fault.end:
        _keep(queues, events, fault, fault.first)
    take_tables(out, shadow, table)
    do(out, _WALK_PUD)
    do(out, _WALK_PMD)
    do(out, _WALK_TEST)
    do(out, _WALK_PTE)
    return table


@njit(inline="always")
def _is_mapped(fault: Fault) -> bool:
    """Whether the page is there, so that all its tables are: what was allocated meanwhile is not for them."""
    return fault.entered in (_ZERO_WRITE, _COPY, _REUSE, _UNKNOWN)


@njit
def _take_back(out: Out, shadow: Shadow, queues: Queues, events: Events, fault: Fault, table: int) -> None:
    """Walk down to a pte page that munmap left without a page."""
    # The kernel has freed it if this fault allocated one in its place; and had kept it for a neighbour's sake
    # if not (free_pgd_range, floor and ceiling; Linux 3.18 mm/memory.c).
    first = fault.first
    put(shadow.is_freed, table, False)
    is_made = first < fault.end and not _is_mapped(fault)
    if is_made:
        put(shadow.frame, table, get(queues.frame, get_wide(events.by_fault, first)))
        first += 1
    else:
        add_wide(out.at, REVIVED, 1)
    take_tables(out, shadow, table)
    do(out, _WALK_PUD)
    do(out, _WALK_PMD)
    do(out, _NEW_PTE if is_made else _WALK_TEST)
    do(out, _WALK_PTE)
    _keep(queues, events, fault, first)


@njit
def _make_way(out: Out, shadow: Shadow, spaces: Spaces, queues: Queues, events: Events, fault: Fault) -> int:
    """Walk down to a pte page that is missing, and make it with what is missing above it."""
    # From the root down, as pud_alloc, pmd_alloc and __pte_alloc are called, which is the order of what was
    # allocated, too.
    space, page, first = fault.space, fault.page, fault.first
    pud_index, pmd_index = page >> 3 * TABLE_SHIFT, page >> 2 * TABLE_SHIFT
    pud, pmd = find_table(shadow, space, PUD, pud_index), find_table(shadow, space, PMD, pmd_index)
    n_missing = 1 + (pmd < 0) + (pud < 0)
    # What the recording has not told of was there before: the lowest ones are those that were made.
    n_made = 0 if _is_mapped(fault) else min(n_missing, fault.end - first)
    take_roots(out, spaces, space)
    if pud < 0:
        frame, first = _table_frame(out, spaces, queues, events, (space, PUD, pud_index), first, n_made >= 3)
        pud = _take_in(out, shadow, (space, PUD, pud_index), frame, NONE, n_made >= 3)
        if pud < 0:
            return pud
    put(out.roles, _PUD, get(shadow.frame, pud))
    do(out, _WALK_PUD)
    if pmd < 0:
        frame, first = _table_frame(out, spaces, queues, events, (space, PMD, pmd_index), first, n_made >= 2)
        pmd = _take_in(out, shadow, (space, PMD, pmd_index), frame, pud, n_made >= 2)
        if pmd < 0:
            return pmd
    put(out.roles, _PMD, get(shadow.frame, pmd))
    do(out, _WALK_PMD)
    index = page >> TABLE_SHIFT
    frame, first = _table_frame(out, spaces, queues, events, (space, PTE, index), first, n_made >= 1)
    table = _take_in(out, shadow, (space, PTE, index), frame, pmd, n_made >= 1)
    if table < 0:
        return table
    # pmd_trans_huge reads the entry of a pte page that is there: the first one of a fault that makes it finds
    # none, and asks nothing.
    if n_made < 1:
        do(out, _WALK_TEST)
    do(out, _WALK_PTE)
    _keep(queues, events, fault, first)
    return table


@njit
def _take_in(
    out: Out, shadow: Shadow, place: tuple[int, int, int], frame: int, parent: int, is_made: bool
) -> int:
    """Take in a table that is missing, by its place and its frame, with the step of one that is made."""
    space, level, index = place
    table = add_table(shadow, space, level, index, frame, parent)
    if table >= 0:
        put(out.roles, _PTE + level, get(shadow.frame, table))
        if is_made:
            # Steps go from the root down, levels from pte pages up.
            do(out, _NEW_PTE - level)
    return table


@njit
def _table_frame(
    out: Out,
    spaces: Spaces,
    queues: Queues,
    events: Events,
    place: tuple[int, int, int],
    first: int,
    is_made: bool,
) -> tuple[int, int]:
    """Frame of a table that is taken in, and where the fault's other tables begin then."""
    space, level, index = place
    if is_made:
        return get(queues.frame, get_wide(events.by_fault, first)), first + 1
    # A program's stack has tables from the beginning, and no event tells their place: the first one of each
    # level that is missing, and was not allocated, is taken for theirs.
    spare = get(spaces.spare, LEVELS * space + level)
    if spare >= 0:
        put(spaces.spare, LEVELS * space + level, NONE)
        return spare, first
    return unknown_frame(out, queues, table_key(space, level, index)), first


@njit
def _write_to_page(
    out: Out, shadow: Shadow, spaces: Spaces, queues: Queues, events: Events, fault: Fault, table: int
) -> None:
    """Write to a page that is there: it is copied, or becomes the process's own as it is."""
    entered, page = fault.entered, fault.page
    chunk, position = chunk_of(shadow, table, page), page & (CHUNK_PAGES - 1)
    is_there = chunk >= 0 and get(shadow.present, chunk) >> position & 1 != 0
    of_file = entered != _ZERO_WRITE
    if is_there:
        put(out.roles, _OLD, get(shadow.frames, CHUNK_PAGES * chunk + position))
        of_file = get(shadow.of_file, chunk) >> position & 1 != 0
    # What was there before it was recorded: at a write to it only the page of zeroes is known. Another page
    # is drawn by its own number, at a level above all tables.
    elif entered == _ZERO_WRITE:
        put(out.roles, _OLD, events.zero_frame)
    else:
        put(out.roles, _OLD, unknown_frame(out, queues, table_key(fault.space, PUD + 1, page)))
    frame = get(out.roles, _OLD)
    if entered == _REUSE:
        do(out, _REUSE_STEP)
    else:
        frame = get(events.frame, fault.number)
        put(out.roles, _DATA, frame)
        do(out, _COPY_STEP)
    map_page(shadow, table, page, frame, True, of_file)


@njit
def _read_file(
    out: Out, shadow: Shadow, files: Files, events: Events, fault: int, table: int, page: int
) -> None:
    """Map the window around a page of a file, and the page itself where the window did not."""
    missed, at = get_byte(events.missed, fault), get_wide(events.window_at, fault)
    frame = get(files.other, page & (files.n_other - 1))
    if at >= 0:
        do(out, _FILE_LOCK)
        # From a multiple of 16 pages on, or up to one, as far as the window is long.
        n_pages = min(max(get_wide(events.aux, at) & _HALF_MASK, 1), CHUNK_PAGES)
        aligned = page & ~(CHUNK_PAGES - 1)
        begin = aligned if page < aligned + n_pages else min(aligned + CHUNK_PAGES - n_pages, page)
        # An event of a window has pages of the file, not of the process. Where it was mapped follows from
        # do_fault_around (Linux 3.18 mm/memory.c): from a multiple of 64 KiB on, or from where the area
        # begins.
        frames_of_window(files, get_wide(events.value, at), get_wide(events.aux, at), n_pages)
        frame = get(files.window, page - begin)
        # A window never leaves its page's chunk, so that one word tells what was mapped before.
        chunk = chunk_of(shadow, table, page)
        present = get(shadow.present, chunk) if chunk >= 0 else 0
        for number in range(n_pages):
            mapped = begin + number
            # The page itself is in the window but was not in the page cache: read, and set last.
            if mapped == page and missed:
                continue
            # filemap_map_pages passes over entries that are there (Linux 3.18 mm/filemap.c). The page that
            # faulted had none, whatever is known of it.
            if mapped != page and present >> (mapped & (CHUNK_PAGES - 1)) & 1:
                continue
            # A hypercall each, hence a step each: no lazy mode is entered around a window.
            put(out.roles, _DATA, get(files.window, number))
            do(out, _FILE_PAGE)
            map_page(shadow, table, mapped, get(files.window, number), False, True)
    if at < 0 or missed:
        put(out.roles, _DATA, frame)
        do(out, _FILE_MISSED)
        map_page(shadow, table, page, frame, False, True)
