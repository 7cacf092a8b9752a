"""Compiled: what is known of address spaces beside their tables, and frames for what is not known."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from p2mperf.draws_kernels import mixed
from p2mperf.jit import njit
from p2mperf.memory.raw import Number
from p2mperf.workload.emission_kernels import UNKNOWN, Out
from p2mperf.workload.shadow_kernels import (
    LEVELS,
    NONE,
    PUD,
    Shadow,
)
from p2mperf.workload.steps import Role, plain, span
from p2mperf.workload.word_kernels import add, add_wide, get, get_wide, put, put_wide

# To compiled code a member of an enumeration is a constant once it is a number.
_PTE, _PMD, _PUD = span(Role.PTE, Role.PUD)
_PGD, _USER = plain(Role.PGD), plain(Role.USER)
ALL_PAGES = plain(1 << 35)
# Beyond all tables that have a place.
_KEY_BITS, UNPLACED = 29, plain(1 << 28)


class Spaces(NamedTuple):
    """What is known of each address space beside its tables.

    Attributes
    ----------
    n_users : address of int32, shape (n_spaces,)
        Threads that have it.
    is_gone : address of int32, shape (n_spaces,)
        Whether it was torn down.
    pgd, user : address of uint32, shape (n_spaces,)
        Its root, and the root that Xen uses in user mode.
    brk : address of int64, shape (n_spaces,)
        Page of the end of its heap, -1 while unknown.
    spare : address of uint32, shape (n_spaces, 3)
        By level: a table that was made with it, whose place is not known yet.
    top : address of int64, shape (1,)
        Address spaces so far.
    tells_ends : int64
        Whether the recording has ends of address spaces.
    """

    n_users: np.uint64
    is_gone: np.uint64
    pgd: np.uint64
    user: np.uint64
    brk: np.uint64
    spare: np.uint64
    top: np.uint64
    tells_ends: np.int64


class Queues(NamedTuple):
    """Pages of page tables that a thread allocated outside of faults, and which nobody has used yet.

    Attributes
    ----------
    head, tail, length : address of int32, shape (n_threads,)
        First and last of each thread, -1 for none, and how many.
    following : address of int32, shape (n_tables,)
        The one behind each.
    frame : address of uint32, shape (n_tables,)
        Where each is, in the guest.
    unknown : address of uint32
        Frames for what the recording does not tell: a power of two.
    n_unknown : int64
        Frames for what the recording does not tell.
    """

    head: np.uint64
    tail: np.uint64
    length: np.uint64
    following: np.uint64
    frame: np.uint64
    unknown: np.uint64
    n_unknown: np.int64


@njit(inline="always")
def table_key(space: int, level: int, index: Number) -> np.int64:
    """What the frame of a table is drawn by where it is unknown.

    Parameters
    ----------
    space : int
        Address space.
    level : int
        Level of the table.
    index : int
        Which one of its level.
    """
    # Tables are numbered in 26 bits at most (35 of a page less 9); what has no place yet comes above them.
    return (np.int64(space) << _KEY_BITS | index) << 2 | level


@njit
def unknown_frame(out: Out, queues: Queues, key: Number) -> int:
    """A frame for what the recording does not tell: always the same for the same key.

    Parameters
    ----------
    out : Out
        What is made.
    queues : Queues
        Tables that threads have allocated.
    key : int
        What a frame is drawn by where none is known.
    """
    # Mixed from the key, not drawn in a row: what is asked for again is in the same frame, and nothing has to
    # be kept of it.
    add_wide(out.at, UNKNOWN, 1)
    return get(queues.unknown, np.int64(mixed(np.uint64(key)) & np.uint64(queues.n_unknown - 1)))


@njit
def push(queues: Queues, thread: int, table: int) -> None:
    """Put a page of a page table behind the others of a thread.

    Parameters
    ----------
    queues : Queues
        Tables that threads have allocated.
    thread : int
        Which thread.
    table : int
        Which page, by its number among all.
    """
    # Links, as a table waits once at most: room for all is known, however many one thread has.
    put(queues.following, table, NONE)
    if get(queues.head, thread) < 0:
        put(queues.head, thread, table)
    else:
        put(queues.following, get(queues.tail, thread), table)
    put(queues.tail, thread, table)
    add(queues.length, thread, 1)


@njit
def forget(queues: Queues, thread: int) -> None:
    """Nobody will use what a thread has allocated."""
    # Links between the tables stay as they are: push writes each anew before anyone reads it.
    put(queues.head, thread, NONE)
    put(queues.tail, thread, NONE)
    put(queues.length, thread, 0)


@njit
def pop(out: Out, queues: Queues, thread: int, key: Number) -> int:
    """The next page of a page table that a thread has allocated, or a frame in its place.

    Parameters
    ----------
    out : Out
        What is made.
    queues : Queues
        Tables that threads have allocated.
    thread : int
        Which thread.
    key : int
        What a frame is drawn by where none is known.
    """
    # First in, first out: the kernel asks from the root down (pgd_alloc, __pud_alloc, __pmd_alloc,
    # __pte_alloc; Linux 3.18 mm/memory.c), and the steps pop in that order.
    table = get(queues.head, thread)
    if table < 0:
        return unknown_frame(out, queues, key)
    put(queues.head, thread, get(queues.following, table))
    add(queues.length, thread, -1)
    return get(queues.frame, table)


@njit
def new_space(out: Out, shadow: Shadow, spaces: Spaces, queues: Queues, thread: int) -> int:
    """Begin an address space of one thread, whose root that thread has allocated.

    Parameters
    ----------
    out : Out
        What is made.
    shadow : Shadow
        Tables of all address spaces.
    spaces : Spaces
        All address spaces.
    queues : Queues
        Tables that threads have allocated.
    thread : int
        Which thread.
    """
    # Numbers are never used again, as tables' are: how many address spaces begin is known from the events,
    # and by its number a table is found and an unknown frame drawn.
    space = get_wide(spaces.top, 0)
    add_wide(spaces.top, 0, 1)
    put(spaces.n_users, space, 1)
    put(spaces.is_gone, space, False)
    put_wide(spaces.brk, space, NONE)
    for level in range(LEVELS):
        put(spaces.spare, LEVELS * space + level, NONE)
    put(shadow.first, space, NONE)
    pgd = pop(out, queues, thread, table_key(space, PUD + 1, np.int64(0)))
    # The user's root is allocated right after it (Linux 3.18 arch/x86/xen/mmu.c xen_pgd_alloc, by a
    # __get_free_page of its own): of two single pages in a row often the neighbour. Only a kernel under
    # Xen allocates it, and no other's recording has it.
    put(spaces.pgd, space, pgd)
    put(spaces.user, space, pgd ^ 1)
    return space


@njit
def take_roots(out: Out, spaces: Spaces, space: int) -> None:
    """Let the roots of an address space be asked for.

    Parameters
    ----------
    out : Out
        What is made.
    spaces : Spaces
        All address spaces.
    space : int
        Address space.
    """
    put(out.roles, _PGD, get(spaces.pgd, space))
    put(out.roles, _USER, get(spaces.user, space))


@njit
def take_tables(out: Out, shadow: Shadow, table: int) -> None:
    """Let a pte page and those above it be asked for.

    Parameters
    ----------
    out : Out
        What is made.
    shadow : Shadow
        Tables of all address spaces.
    table : int
        A table.
    """
    # By links from below: a fault searches for its pte page alone.
    pmd = get(shadow.parent, table)
    put(out.roles, _PTE, get(shadow.frame, table))
    put(out.roles, _PMD, get(shadow.frame, pmd))
    put(out.roles, _PUD, get(shadow.frame, get(shadow.parent, pmd)))
