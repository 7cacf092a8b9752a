"""Compiled: how an address space begins: copied by a fork, or filled for a program."""

from __future__ import annotations

from p2mperf.jit import njit
from p2mperf.workload.emission_kernels import Out, do, enter, leave
from p2mperf.workload.range_kernels import pin
from p2mperf.workload.shadow_kernels import (
    CHUNK_PAGES,
    LEVELS,
    NONE,
    PMD,
    PTE,
    PUD,
    TABLE_CHUNKS,
    WORK,
    Shadow,
    add_table,
    find_table,
    map_page,
    tables_in_order,
)
from p2mperf.workload.space_kernels import (
    ALL_PAGES,
    UNPLACED,
    Queues,
    Spaces,
    new_space,
    pop,
    table_key,
    take_roots,
    unknown_frame,
)
from p2mperf.workload.steps import ARGUMENT_PAGES, TABLE_SHIFT, WINDOW_SHIFT, Role, Step, plain, span
from p2mperf.workload.translation_stream import Entered
from p2mperf.workload.word_kernels import add_wide, get, get_wide, put

# To compiled code a member of an enumeration is a constant once it is a number.
_DATA = plain(Role.DATA)
_PTE, _PMD, _PUD = span(Role.PTE, Role.PUD)
_OTHER_PTE, _OTHER_PMD, _OTHER_PUD = (
    plain(Role.OTHER_PTE),
    plain(Role.OTHER_PMD),
    plain(Role.OTHER_PUD),
)
_FORK, _EXEC = span(Entered.FORK, Entered.EXEC)
_WALK_PUD, _WALK_PMD, _WALK_TEST, _WALK_PTE = span(Step.WALK_PUD, Step.WALK_PTE)
_NEW_PUD, _NEW_PMD, _NEW_PTE, _ANONYMOUS = span(Step.NEW_PUD, Step.ANONYMOUS)
_NEW_PGD, _MAKE_PUD, _MAKE_PMD, _MAKE_PTE = span(Step.NEW_PGD, Step.MAKE_PTE)
_FORK_PUD, _FORK_PMD, _FORK_TEST, _FORK_LOCK, _FORK_PAGE = span(Step.FORK_PUD, Step.FORK_PAGE)
_PIN_PUD, _PIN_PMD, _PIN_PTE, _PIN_PGD = span(Step.PIN_PUD, Step.PIN_PGD)
_EXEC_LOOK, _EXEC_FOUND, _EXEC_FROM, _EXEC_TEST = span(Step.EXEC_LOOK, Step.EXEC_TEST)
_EXEC_LOCK, _EXEC_PAGE, _EXEC_FREE, _LOAD_CR3 = span(Step.EXEC_LOCK, Step.LOAD_CR3)


@njit
def fork(
    out: Out, shadow: Shadow, spaces: Spaces, queues: Queues, parent: int, thread: int, time_ns: int
) -> int:
    """Copy an address space as dup_mm does: the pages that are the process's own.

    Parameters
    ----------
    out, shadow, spaces, queues
        What is made, and of what.
    parent : int
        Address space that is copied.
    thread : int
        Who forks, and has allocated the tables.
    time_ns : int
        When [ns].

    Returns
    -------
    int
        The new address space.
    """
    enter(out, _FORK)
    space = new_space(out, shadow, spaces, queues, thread)
    do(out, _NEW_PGD)
    area, pmd_before, index_before = NONE, NONE, NONE
    for table in tables_in_order(shadow, parent, 0, ALL_PAGES):
        # copy_page_range leaves an area alone that has no anon_vma, as faults fill it (Linux 3.18
        # mm/memory.c): one in which nothing was written.
        if get(shadow.level, table) != PTE or get(shadow.n_written, table) == 0:
            continue
        parent_pmd, index = get(shadow.parent, table), get_wide(shadow.position, table)
        put(out.roles, _OTHER_PTE, get(shadow.frame, table))
        put(out.roles, _OTHER_PMD, get(shadow.frame, parent_pmd))
        put(out.roles, _OTHER_PUD, get(shadow.frame, get(shadow.parent, parent_pmd)))
        if parent_pmd != pmd_before or index != index_before + 1:
            area = NONE
        pmd_before, index_before = parent_pmd, index
        # The child's tables are searched for once an area and pte page, as copy_pte_range locks both once: of
        # what is copied one page in three has them looked up (196 of 648, 300 of 1017).
        copy, is_in_area = NONE, False
        for number in range(TABLE_CHUNKS):
            chunk = get(shadow.chunks, TABLE_CHUNKS * table + number)
            if chunk < 0 or get(shadow.written, chunk) == 0:
                continue
            add_wide(shadow.top, WORK, 1)
            page = index << TABLE_SHIFT | number << WINDOW_SHIFT
            for place in range(CHUNK_PAGES):
                if not get(shadow.written, chunk) >> place & 1:
                    continue
                of_file = get(shadow.of_file, chunk) >> place & 1
                # Each area goes down from the root anew, and a further pte page of one from its pmd page
                # (copy_page_range to copy_pte_range).
                if of_file != area or not is_in_area:
                    copy = _copied(out, shadow, queues, space, index, thread, of_file != area)
                    if copy < 0:
                        return space
                area, is_in_area = of_file, True
                frame = get(shadow.frames, CHUNK_PAGES * chunk + place)
                put(out.roles, _DATA, frame)
                do(out, _FORK_PAGE)
                # Its own in the child as well, whose forks copy it again: dup_mmap gives the child's area an
                # anon_vma too (anon_vma_fork).
                map_page(shadow, copy, page + place, frame, True, of_file == 1)
    # dup_mmap pins when all areas are copied (Linux 3.18 kernel/fork.c, arch_dup_mmap; xen_dup_mmap): until
    # then the tables are the kernel's own to write, and setting an entry in them asks nothing.
    pin(out, shadow, tables_in_order(shadow, space, 0, ALL_PAGES), (_PIN_PTE, _PIN_PMD, _PIN_PUD))
    take_roots(out, spaces, space)
    do(out, _PIN_PGD)
    leave(out, time_ns)
    return space


@njit
def _copied(
    out: Out, shadow: Shadow, queues: Queues, space: int, index: int, thread: int, is_new_area: bool
) -> int:
    """The pte page of a child, as copy_page_range goes down to it; those that are missing are made."""
    pud_index, pmd_index = index >> 2 * TABLE_SHIFT, index >> TABLE_SHIFT
    pud = find_table(shadow, space, PUD, pud_index)
    if pud < 0:
        pud = _made(out, shadow, queues, space, PUD, pud_index, thread, NONE)
        if pud < 0:
            return pud
    put(out.roles, _PUD, get(shadow.frame, pud))
    if is_new_area:
        do(out, _FORK_PUD)
    pmd = find_table(shadow, space, PMD, pmd_index)
    if pmd < 0:
        pmd = _made(out, shadow, queues, space, PMD, pmd_index, thread, pud)
        if pmd < 0:
            return pmd
    put(out.roles, _PMD, get(shadow.frame, pmd))
    if is_new_area:
        do(out, _FORK_PMD)
    do(out, _FORK_TEST)
    pte = find_table(shadow, space, PTE, index)
    if pte < 0:
        pte = _made(out, shadow, queues, space, PTE, index, thread, pmd)
        if pte < 0:
            return pte
    put(out.roles, _PTE, get(shadow.frame, pte))
    do(out, _FORK_LOCK)
    return pte


@njit
def _made(
    out: Out, shadow: Shadow, queues: Queues, space: int, level: int, index: int, thread: int, parent: int
) -> int:
    """A table of an address space that is not pinned yet."""
    frame = pop(out, queues, thread, table_key(space, level, index))
    put(out.roles, _PTE + level, frame)
    # Steps go from the root down, levels from pte pages up.
    do(out, _MAKE_PTE - level)
    return add_table(shadow, space, level, index, frame, parent)


@njit
def run_program(out: Out, shadow: Shadow, spaces: Spaces, queues: Queues, thread: int, time_ns: int) -> int:
    """Begin the address space of a program: its stack is filled, pinned, loaded, and moved to its place.

    Parameters
    ----------
    out, shadow, spaces, queues
        What is made, and of what.
    thread : int
        Who runs it, and has allocated the tables.
    time_ns : int
        When [ns].

    Returns
    -------
    int
        The new address space.

    Notes
    -----
    Linux fs/exec.c: copy_strings, exec_mmap, shift_arg_pages. How many pages arguments take is not recorded.
    """
    enter(out, _EXEC)
    space = new_space(out, shadow, spaces, queues, thread)
    do(out, _NEW_PGD)
    _copy_strings(out, queues, space, thread)
    do(out, _PIN_PUD)
    do(out, _PIN_PMD)
    do(out, _PIN_PTE)
    take_roots(out, spaces, space)
    do(out, _PIN_PGD)
    do(out, _LOAD_CR3)
    # From here on it is pinned (exec_mmap, xen_activate_mm).
    _shift_arguments(out, queues, space, thread)
    # Where the stack's place is no event tells: the first fault that misses a table of a level takes the one
    # that is kept here (`fault_walk_kernels`).
    for level in range(PUD + 1):
        put(spaces.spare, LEVELS * space + level, get(out.roles, _PTE + level))
    leave(out, time_ns)
    return space


@njit
def _copy_strings(out: Out, queues: Queues, space: int, thread: int) -> None:
    """Fill the stack of an address space that no CPU has loaded yet, as copy_strings does."""
    # By get_user_pages: nothing is pinned, and its tables are made, not set by hypercalls.
    put(out.roles, _PUD, pop(out, queues, thread, table_key(space, PUD, UNPLACED)))
    do(out, _MAKE_PUD)
    do(out, _WALK_PUD)
    put(out.roles, _PMD, pop(out, queues, thread, table_key(space, PMD, UNPLACED)))
    do(out, _MAKE_PMD)
    do(out, _WALK_PMD)
    put(out.roles, _PTE, pop(out, queues, thread, table_key(space, PTE, UNPLACED)))
    do(out, _MAKE_PTE)
    for number in range(ARGUMENT_PAGES):
        # get_user_pages looks before it has a page made: in vain, and for the first page of all without a
        # table to look at.
        if number:
            do(out, _EXEC_LOOK)
            do(out, _WALK_PUD)
            do(out, _WALK_PMD)
            do(out, _WALK_TEST)
        do(out, _WALK_PTE)
        put(out.roles, _DATA, unknown_frame(out, queues, table_key(space, PTE, UNPLACED + 2 + number)))
        do(out, _ANONYMOUS)
        do(out, _EXEC_LOOK)
        do(out, _EXEC_FOUND)


@njit
def _shift_arguments(out: Out, queues: Queues, space: int, thread: int) -> None:
    """Move the stack to its place, as shift_arg_pages does."""
    # By the steps of a live address space, which set entries by hypercalls.
    put(out.roles, _OTHER_PMD, get(out.roles, _PMD))
    put(out.roles, _OTHER_PTE, get(out.roles, _PTE))
    do(out, _EXEC_FROM)
    do(out, _WALK_PUD)
    put(out.roles, _PMD, pop(out, queues, thread, table_key(space, PMD, UNPLACED + 1)))
    do(out, _NEW_PMD)
    do(out, _WALK_PMD)
    do(out, _EXEC_TEST)
    put(out.roles, _PTE, pop(out, queues, thread, table_key(space, PTE, UNPLACED + 1)))
    do(out, _NEW_PTE)
    do(out, _EXEC_LOCK)
    for _ in range(ARGUMENT_PAGES):
        do(out, _EXEC_PAGE)
    do(out, _EXEC_FREE)
