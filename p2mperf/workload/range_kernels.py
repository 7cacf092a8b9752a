"""Compiled: what happens to ranges of address spaces and to whole ones: munmap, mprotect, exit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from p2mperf.jit import njit
from p2mperf.workload.emission_kernels import IS_ON, Out, do, enter, leave
from p2mperf.workload.shadow_kernels import (
    CHUNK_PAGES,
    NONE,
    PMD,
    PTE,
    PUD,
    TABLE_CHUNKS,
    WORK,
    Shadow,
    remove_table,
    tables_in_order,
    unmap_page,
)
from p2mperf.workload.space_kernels import ALL_PAGES, Spaces, take_roots, take_tables
from p2mperf.workload.steps import TABLE_SHIFT, WINDOW_SHIFT, Role, Step, plain, span
from p2mperf.workload.translation_stream import Entered
from p2mperf.workload.word_kernels import add, add_wide, get, get_wide, put, put_wide

# To compiled code a member of an enumeration is a constant once it is a number.
_DATA = plain(Role.DATA)
_PTE = plain(Role.PTE)
_EXIT, _MUNMAP, _MPROTECT = plain(Entered.EXIT), plain(Entered.MUNMAP), plain(Entered.MPROTECT)
_EXIT_MM, _UNPIN_PUD, _UNPIN_PMD, _UNPIN_PTE, _UNPIN_PGD = span(Step.EXIT_MM, Step.UNPIN_PGD)
_ZAP_AREA, _ZAP_PMD, _ZAP_PAGE = span(Step.ZAP_AREA, Step.ZAP_PAGE)
_FREE_PUD, _FREE_PMD, _FREE_PTE, _UNMAP_PTE = span(Step.FREE_PUD, Step.UNMAP_PTE)
_PROTECT_AREA, _PROTECT_PMD, _PROTECT_PAGE = span(Step.PROTECT_AREA, Step.PROTECT_PAGE)


@njit
def over_range(
    out: Out,
    shadow: Shadow,
    order: NDArray[np.int64],
    first: int,
    end: int,
    steps: tuple[int, int, int],
    is_unmapped: bool,
) -> None:
    """Go over the pages of a range as unmap_page_range and change_protection_range do.

    Parameters
    ----------
    out, shadow
        What is made, and of what.
    order : ndarray of int64
        Tables of the range, by address.
    first, end : int
        The range [pages].
    steps : tuple of int
        Step for each area, for each pte page of it, and for each page.
    is_unmapped : bool
        Whether the pages go.

    Notes
    -----
    Areas are told apart where a page of a file stands beside one that is of none, where a pmd page ends, and
    where a pte page is missing between: not where one file's mapping follows another's.
    """
    # One pass in order of addresses, as zap_pud_range and its like go down area by area (Linux 3.18
    # mm/memory.c): what is looked up once an area, once a pte page of it and once a page is told from where
    # each begins.
    area, pmd_before, index_before = NONE, NONE, NONE
    for table in order:
        if get(shadow.level, table) != PTE or get(shadow.n_present, table) == 0:
            continue
        take_tables(out, shadow, table)
        if get(shadow.parent, table) != pmd_before or get_wide(shadow.position, table) != index_before + 1:
            area = NONE
        pmd_before, index_before = get(shadow.parent, table), get_wide(shadow.position, table)
        is_in_area = False
        for number in range(TABLE_CHUNKS):
            chunk = get(shadow.chunks, TABLE_CHUNKS * table + number)
            # 16 pages are passed over by one word; of those that are left each is asked whether it is in the
            # range.
            if chunk < 0 or get(shadow.present, chunk) == 0:
                continue
            add_wide(shadow.top, WORK, 1)
            page = index_before << TABLE_SHIFT | number << WINDOW_SHIFT
            for place in range(CHUNK_PAGES):
                if not get(shadow.present, chunk) >> place & 1 or not first <= page + place < end:
                    continue
                of_file = get(shadow.of_file, chunk) >> place & 1
                if of_file != area:
                    do(out, steps[0])
                    is_in_area = False
                if not is_in_area:
                    do(out, steps[1])
                area, is_in_area = of_file, True
                put(out.roles, _DATA, get(shadow.frames, CHUNK_PAGES * chunk + place))
                do(out, steps[2])
                if is_unmapped:
                    unmap_page(shadow, table, chunk, place)


@njit
def unmap_range(out: Out, shadow: Shadow, space: int, first: int, end: int, time_ns: int) -> None:
    """Unmap a range of a live address space; pte pages that are empty then are freed.

    Parameters
    ----------
    out : Out
        What is made.
    shadow : Shadow
        Tables of all address spaces.
    space : int
        Address space.
    first : int
        First page.
    end : int
        Page behind the last.
    time_ns : int
        When [ns].
    """
    order = tables_in_order(shadow, space, first, end)
    enter(out, _MUNMAP)
    over_range(out, shadow, order, first, end, (_ZAP_AREA, _ZAP_PMD, _ZAP_PAGE), True)
    # Behind the pages, as unmap_region frees tables when all areas are unmapped (Linux 3.18 mm/mmap.c). There
    # the neighbours' ends decide which ones, and no event tells those: all that are empty count as freed, and
    # one that a fault then finds, without having allocated one, was not (`REVIVED`: 0 in the shipped
    # recordings).
    for table in order:
        if get(shadow.level, table) == PTE and get(shadow.n_present, table) == 0:
            take_tables(out, shadow, table)
            do(out, _UNMAP_PTE)
            put(shadow.is_freed, table, True)
    leave(out, time_ns)


@njit
def protect_range(out: Out, shadow: Shadow, space: int, first: int, end: int, time_ns: int) -> None:
    """Change the protection of a range.

    Parameters
    ----------
    out : Out
        What is made.
    shadow : Shadow
        Tables of all address spaces.
    space : int
        Address space.
    first : int
        First page.
    end : int
        Page behind the last.
    time_ns : int
        When [ns].
    """
    order = tables_in_order(shadow, space, first, end)
    enter(out, _MPROTECT)
    over_range(out, shadow, order, first, end, (_PROTECT_AREA, _PROTECT_PMD, _PROTECT_PAGE), False)
    leave(out, time_ns)


@njit
def pin(out: Out, shadow: Shadow, order: NDArray[np.int64], steps: tuple[int, int, int]) -> None:
    """Walk over all tables as __xen_pgd_walk does, in order, with a step for each level from pte pages up.

    Parameters
    ----------
    out : Out
        What is made.
    shadow : Shadow
        Tables of all address spaces.
    order : ndarray of int64
        Tables by address.
    steps : tuple of int
        A step for each level, from pte pages up.
    """
    for table in order:
        # The root is no table of the list, and comes last in that walk: steps of their own.
        level = get(shadow.level, table)
        put(out.roles, _PTE + level, get(shadow.frame, table))
        do(out, steps[level])


@njit
def tear_down(out: Out, shadow: Shadow, spaces: Spaces, space: int, time_ns: int) -> None:
    """End an address space: unpin its tables, unmap everything, free the tables; exit_mmap.

    Parameters
    ----------
    out : Out
        What is made.
    shadow : Shadow
        Tables of all address spaces.
    spaces : Spaces
        All address spaces.
    space : int
        Address space.
    time_ns : int
        When [ns].
    """
    order = tables_in_order(shadow, space, 0, ALL_PAGES)
    enter(out, _EXIT)
    # exit_mmap unpins before it unmaps and frees (arch_exit_mmap; Linux 3.18 mm/mmap.c).
    take_roots(out, spaces, space)
    do(out, _EXIT_MM)
    pin(out, shadow, order, (_UNPIN_PTE, _UNPIN_PMD, _UNPIN_PUD))
    do(out, _UNPIN_PGD)
    over_range(out, shadow, order, 0, ALL_PAGES, (_ZAP_AREA, _ZAP_PMD, _ZAP_PAGE), True)
    # free_pgd_range: a table above others is looked up when its turn begins, and when it ends (free_pmd_range
    # and free_pud_range each call their offset function twice; Linux 3.18 mm/memory.c).
    open_levels = 0
    for table in order:
        level = get(shadow.level, table)
        open_levels = _close(out, open_levels, level)
        put(out.roles, _PTE + level, get(shadow.frame, table))
        do(out, _FREE_PTE - level)
        open_levels |= 1 << level
    _close(out, open_levels, PUD)
    leave(out, time_ns)
    # From the list, not from the order, which leaves out what munmap has freed.
    while get(shadow.first, space) >= 0:
        add_wide(shadow.top, WORK, 1)
        remove_table(shadow, get(shadow.first, space))
    put(spaces.is_gone, space, True)


@njit
def _close(out: Out, open_levels: int, level: int) -> int:
    """Look up the tables whose turn ends with one of a level: what is open still, a bit a level."""
    # Bits, as a stack of two: tables come upper ones first, and the next one of a level, or of a higher one,
    # ends the turn. The pmd page before the pud page, as free_pud_range calls free_pmd_range.
    if open_levels >> PMD & 1 and level >= PMD:
        do(out, _FREE_PMD)
        open_levels &= ~(1 << PMD)
    if open_levels >> PUD & 1 and level >= PUD:
        do(out, _FREE_PUD)
        open_levels &= ~(1 << PUD)
    return open_levels


@njit
def leave_space(out: Out, shadow: Shadow, spaces: Spaces, space: int, time_ns: int) -> None:
    """One thread fewer has an address space; without any it goes.

    Where a recording tells of ends, one that it does not tell of is no end: the address space was another's
    that is not in the recording, as a parent's that waits for its child to run a program.

    Parameters
    ----------
    out : Out
        What is made.
    shadow : Shadow
        Tables of all address spaces.
    spaces : Spaces
        All address spaces.
    space : int
        Address space.
    time_ns : int
        When [ns].
    """
    if space >= 0:
        add(spaces.n_users, space, -1)
        if get(spaces.n_users, space) == 0 and not get(spaces.is_gone, space):
            # Torn down in any case, for others to have the room of its tables; whether that is counted is
            # another question.
            was_on = get_wide(out.at, IS_ON)
            put_wide(out.at, IS_ON, was_on and not spaces.tells_ends)
            tear_down(out, shadow, spaces, space, time_ns)
            put_wide(out.at, IS_ON, was_on)
