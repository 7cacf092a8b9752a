"""Compiled: goes through a recording, keeps its address spaces, and does what the kernel does step by step.

All CPUs' events change address spaces; the steps of one CPU, or of all, are counted or written down.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from p2mperf.jit import njit
from p2mperf.workload.emission_kernels import IS_ON, Out, do, enter, leave
from p2mperf.workload.events import Event
from p2mperf.workload.fault_kernels import USER_PAGES
from p2mperf.workload.fault_walk_kernels import Events, Fault, handle_fault
from p2mperf.workload.file_kernels import Files, cache_page
from p2mperf.workload.program_kernels import fork, run_program
from p2mperf.workload.range_kernels import leave_space, protect_range, tear_down, unmap_range
from p2mperf.workload.shadow_kernels import (
    NONE,
    STATUS,
    WELL,
    WORK,
    Shadow,
)
from p2mperf.workload.space_kernels import (
    Queues,
    Spaces,
    forget,
    new_space,
    push,
    take_roots,
)
from p2mperf.workload.steps import Step, plain, span
from p2mperf.workload.translation_stream import Entered
from p2mperf.workload.word_kernels import add, get, get_byte, get_wide, put, put_wide

_LOAD_CR3 = plain(Step.LOAD_CR3)
_SWITCHED = plain(Entered.SWITCH)
_FAULT_USER, _FAULT_KERNEL, _ALLOC, _MAP_PAGES, _CACHE_ADD = span(Event.FAULT_USER, Event.CACHE_ADD)
_NEW_TASK, _EXEC, _EXIT, _EXIT_MMAP, _SWITCH, _MMAP, _MMAP_DONE, _MUNMAP, _MPROTECT, _BRK, _BRK_DONE = span(
    Event.NEW_TASK, Event.BRK_DONE
)
_CLONE_VM, _MAP_FIXED = 0x100, 0x10
_HALF_SHIFT, _HALF_MASK = 32, 0xFFFF_FFFF
# Tables that running a program allocates before its first fault; a fault has three at most.
_PROGRAM_TABLES = 4
# Pieces of work that a real recording never comes near: minutes.
MOST_WORK = plain(1 << 31)
TOO_MUCH_WORK = 3
N_CPUS = 128  # a recording has them in signed bytes


class Threads(NamedTuple):
    """What is known of threads.

    Attributes
    ----------
    space, pending : address of int32, shape (n_threads,)
        Address space of each, and the one of the program that it is about to run; -1 for none.
    asked, flags : address of int64, shape (n_threads,)
        Pages and flags of its last mmap.
    n_threads : int64
        Numbers that threads have.
    """

    space: np.uint64
    pending: np.uint64
    asked: np.uint64
    flags: np.uint64
    n_threads: np.int64


class Known(NamedTuple):
    """All that is known as a recording is gone through, and what is made of it.

    Attributes
    ----------
    out : Out
        Takes the steps.
    files, shadow, spaces, queues, threads
        What is known of files, tables, address spaces, allocated tables and threads: nothing at first.
    loaded : address of int32, shape (n_cpus,)
        The address space that a CPU has loaded; -1 each at first.
    cpu : int64
        Whose steps are wanted, -1 for all.
    """

    out: Out
    files: Files
    shadow: Shadow
    spaces: Spaces
    queues: Queues
    threads: Threads
    loaded: np.uint64
    cpu: np.int64


class Told(NamedTuple):
    """An event as a recording tells it.

    Attributes
    ----------
    what, thread, core, time_ns, value, aux : int64
        Its columns.
    """

    what: int
    thread: int
    core: int
    time_ns: int
    value: int
    aux: int


@njit
def go_through(events: Events, known: Known) -> None:
    """Go through a recording.

    Parameters
    ----------
    events : Events
        What happened.
    known : Known
        Nothing yet; takes what is made.
    """
    # Cursors, as faults, tables and cached pages are in the order of their events: nothing is searched for.
    fault, table, by_fault, cached = 0, 0, 0, 0
    for i in range(events.n_events):
        what = get_byte(events.event, i)
        if what == _ALLOC:
            if table < events.n_tables and get_wide(events.table_at, table) == i:
                # Those of faults wait in `by_fault`: a fault is recorded before what it allocates.
                if get_wide(events.table_fault, table) < 0:
                    push(known.queues, get(events.pid, i), table)
                table += 1
        elif what == _CACHE_ADD:
            # Anew, as a page may come back in another frame (250 pages enter 308 times in one shipped
            # recording).
            cache_page(known.files, get_wide(events.aux, i), get(events.cached, cached))
            cached += 1
        elif what != _MAP_PAGES and what <= _BRK_DONE:
            told = _told(events, i)
            put_wide(known.out.at, IS_ON, known.cpu < 0 or told.core == known.cpu)
            if what <= _FAULT_KERNEL:
                first, by_fault = by_fault, _end_of_tables(events, fault, by_fault)
                _fault(events, known, told, fault, (first, by_fault))
                fault += 1
            else:
                _change(known, told)
            # Once an event, and not where it happens: compiled code gives up by saying so, and its callers go
            # on with -1 until here. What is cut short above takes no table and does no work.
            if _gives_up(known.shadow):
                return


# What is read or done in one place only is written there by numba. As calls, which hand on some eighty words
# each, they make a pass over the shipped recordings almost twice as long; folded in by LLVM, which has
# optimised each by itself before, they compile in 28 s, not in 13.
@njit(inline="always")
def _told(events: Events, i: int) -> Told:
    """An event by its number."""
    return Told(
        get_byte(events.event, i),
        get(events.pid, i),
        get_byte(events.cpu, i),
        get_wide(events.time_ns, i),
        get_wide(events.value, i),
        get_wide(events.aux, i),
    )


@njit(inline="always")
def _gives_up(shadow: Shadow) -> bool:
    """Whether there was no room for something, or too much to do."""
    if get_wide(shadow.top, STATUS) == WELL and get_wide(shadow.top, WORK) > MOST_WORK:
        put_wide(shadow.top, STATUS, TOO_MUCH_WORK)
    return get_wide(shadow.top, STATUS) != WELL


@njit(inline="always")
def _end_of_tables(events: Events, fault: int, first: int) -> int:
    """Where the tables of a fault end in `by_fault`, where they begin at `first`."""
    end = first
    while end < events.n_by_fault and get_wide(events.table_fault, get_wide(events.by_fault, end)) == fault:
        end += 1
    return end


@njit(inline="always")
def _fault(events: Events, known: Known, told: Told, number: int, tables: tuple[int, int]) -> None:
    """A fault, which is handled in the address space that it says is there."""
    out, spaces = known.out, known.spaces
    space = _space_of_fault(known, told)
    # A fault says whose root the CPU has, and that its address space is there, whatever was told before.
    put(known.loaded, told.core, space)
    put(spaces.is_gone, space, False)
    entered = get_byte(events.entered, number)
    fault = Fault(number, entered, space, told.value, told.thread, tables[0], tables[1])
    handle_fault(out, known.shadow, spaces, known.queues, known.files, events, fault)
    leave(out, told.time_ns)


@njit(inline="always")
def _space_of_fault(known: Known, told: Told) -> int:
    """Address space of a fault: the thread's, or that of the program that it is about to run."""
    out, shadow, spaces, queues, threads = known.out, known.shadow, known.spaces, known.queues, known.threads
    thread = told.thread
    if told.what == _FAULT_USER:
        # It runs in user mode again: what it allocated in the kernel was for something else, or was used.
        if get(queues.head, thread) >= 0:
            forget(queues, thread)
        pending = get(threads.pending, thread)
        if pending >= 0:  # nothing has come of it
            put(threads.pending, thread, NONE)
            was_on = get_wide(out.at, IS_ON)
            put_wide(out.at, IS_ON, False)
            leave_space(out, shadow, spaces, pending, told.time_ns)
            put_wide(out.at, IS_ON, was_on)
    # The event of an exec comes when the program is loaded (Linux 3.18 fs/exec.c exec_binprm), and loading
    # clears the end of its data (fs/binfmt_elf.c padzero): such faults are in the new address space already.
    elif get(threads.pending, thread) < 0 and get(queues.length, thread) >= _PROGRAM_TABLES:
        put(threads.pending, thread, run_program(out, shadow, spaces, queues, thread, told.time_ns))
    space = get(threads.pending, thread)
    return space if space >= 0 else _space_of(known, thread)


@njit
def _space_of(known: Known, thread: int) -> int:
    """Address space of a thread; one that nobody has made is new."""
    space = get(known.threads.space, thread)
    if space < 0:
        space = new_space(known.out, known.shadow, known.spaces, known.queues, thread)
        put(known.threads.space, thread, space)
    return space


@njit(inline="always")
def _change(known: Known, told: Told) -> None:
    """All that changes which address spaces there are, who has them, or what is mapped, but for faults."""
    if told.what == _SWITCH:
        _switch(known, told)
    elif told.what == _NEW_TASK:
        _new_task(known, told)
    elif told.what == _EXEC:
        _exec(known, told)
    elif told.what == _EXIT_MMAP:
        space = get(known.threads.space, told.thread)
        if space >= 0:
            tear_down(known.out, known.shadow, known.spaces, space, told.time_ns)
            _unload(known.loaded, space)
    elif told.what == _EXIT:
        _exit(known, told)
    else:
        _system_call(known, told)


@njit(inline="always")
def _switch(known: Known, told: Told) -> None:
    """Another thread runs on a CPU, whose root is loaded unless it is."""
    out, following = known.out, told.value
    # 0 is a thread that is not recorded, the idle one and the kernel's own among them: the root stays loaded,
    # as such a thread borrows it (context_switch, enter_lazy_tlb; Linux 3.18 kernel/sched/core.c).
    if 0 < following < known.threads.n_threads and get(known.threads.space, following) >= 0:
        space = get(known.threads.space, following)
        if get(known.loaded, told.core) != space:
            enter(out, _SWITCHED)
            take_roots(out, known.spaces, space)
            do(out, _LOAD_CR3)
            leave(out, told.time_ns)
            put(known.loaded, told.core, space)


@njit(inline="always")
def _new_task(known: Known, told: Told) -> None:
    """A thread begins another, or a process, which has a copy of its address space."""
    out, shadow, spaces, queues, threads = known.out, known.shadow, known.spaces, known.queues, known.threads
    thread, made = told.thread, told.value
    space = _space_of(known, thread)
    # Threads, and children that vfork made: of 453 and 242 new ones in the shipped recordings 429 and 204,
    # all by vfork.
    if told.aux & _CLONE_VM:
        add(spaces.n_users, space, 1)
    else:
        space = fork(out, shadow, spaces, queues, space, thread, told.time_ns)
        forget(queues, thread)
    if 0 < made < threads.n_threads:
        leave_space(out, shadow, spaces, get(threads.space, made), told.time_ns)
        put(threads.space, made, space)
    else:
        leave_space(out, shadow, spaces, space, told.time_ns)


@njit(inline="always")
def _exec(known: Known, told: Told) -> None:
    """A thread runs a program, whose address space takes the place of its own."""
    out, shadow, spaces, queues, threads = known.out, known.shadow, known.spaces, known.queues, known.threads
    thread = told.thread
    space = get(threads.pending, thread)
    if space < 0:
        space = run_program(out, shadow, spaces, queues, thread, told.time_ns)
    # The new address space is loaded before the old one is left, as exec_mmap does (Linux 3.18 fs/exec.c,
    # activate_mm and then mmput).
    forget(queues, thread)
    leave_space(out, shadow, spaces, get(threads.space, thread), told.time_ns)
    put(threads.space, thread, space)
    put(threads.pending, thread, NONE)
    put(known.loaded, told.core, space)


@njit(inline="always")
def _exit(known: Known, told: Told) -> None:
    """A thread ends, and leaves its address space."""
    spaces, threads = known.spaces, known.threads
    space = get(threads.space, told.thread)
    # Its end is told before, or by newer kernels behind, where the recording tells of ends at all.
    if space >= 0 and spaces.tells_ends:
        add(spaces.n_users, space, -1)
    elif space >= 0:
        leave_space(known.out, known.shadow, spaces, space, told.time_ns)
        if get(spaces.n_users, space) <= 0:
            _unload(known.loaded, space)
        put(threads.space, told.thread, NONE)


@njit(inline="always")
def _system_call(known: Known, told: Told) -> None:
    """What a thread asks to have mapped, unmapped or protected."""
    out, shadow, spaces, threads = known.out, known.shadow, known.spaces, known.threads
    what, thread, now, value, aux = told.what, told.thread, told.time_ns, told.value, told.aux
    forget(known.queues, thread)
    space = _space_of(known, thread)
    if what == _MMAP:
        put_wide(threads.asked, thread, value)
        put_wide(threads.flags, thread, aux >> _HALF_SHIFT)
    elif what == _MMAP_DONE:
        # Only such a mapping may take the place of others, and only when it was not refused: hence at its
        # end, though how many pages it has stands at its beginning.
        if value >= 0 and get_wide(threads.flags, thread) & _MAP_FIXED:
            _unmap(out, shadow, space, value, get_wide(threads.asked, thread), now)
        put_wide(threads.asked, thread, 0)
    elif what == _MUNMAP:
        _unmap(out, shadow, space, value, aux, now)
    elif what == _MPROTECT:
        n_pages = aux & _HALF_MASK
        if 0 <= value < USER_PAGES and n_pages > 0:
            protect_range(out, shadow, space, value, value + n_pages, now)
    elif what == _BRK_DONE and value >= 0:
        # Both ends are the first page beyond: the one that the end lies in stays.
        if get_wide(spaces.brk, space) > value:
            _unmap(out, shadow, space, value, get_wide(spaces.brk, space) - value, now)
        put_wide(spaces.brk, space, value)


@njit
def _unload(loaded: np.uint64, space: int) -> None:
    """An address space that ends is loaded nowhere: its CPUs have the kernel's own."""
    # All of them, as an address space does not know its CPUs: 245 and 382 times in the shipped recordings.
    for core in range(N_CPUS):
        if get(loaded, core) == space:
            put(loaded, core, NONE)


@njit
def _unmap(out: Out, shadow: Shadow, space: int, first: int, n_pages: int, time_ns: int) -> None:
    """Unmap what lies in the user's part of a range."""
    if 0 <= first < USER_PAGES and n_pages > 0:
        unmap_range(out, shadow, space, first, first + min(n_pages, USER_PAGES), time_ns)
