"""Compiled: items, entries and counts of steps as they are made, in the order in which the kernel asks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from p2mperf.jit import njit
from p2mperf.workload.steps import Step, span
from p2mperf.workload.word_kernels import add_wide, get, get_wide, put, put_byte, put_wide

# Of `Out.at`.
ITEMS, ENTRIES, IS_ON, CLASS, BEGAN, LAST_NS, UNKNOWN, REVIVED = span(0, 7)
N_AT = 8
N_STEPS = len(Step)
_ROLE_MASK = 0xFF
_MOST_GAP_NS = (1 << 32) - 1


class Out(NamedTuple):
    """What is made.

    Attributes
    ----------
    items, starts, entered, gaps_ns : ndarray
        As of a `TranslationStream`; empty where they are only counted.
    n_steps : address of int64, shape (n_classes, n_steps)
        How often each step was done, by class of the entry.
    n_entries : address of int64, shape (n_classes,)
        Entries.
    starts_of, codes : address of int64, and of uint32
        Where the code of each step begins, and what it asks: a role, and the flag of an m2p item.
    roles : address of uint32, shape (n_roles,)
        Frame of each role at this moment.
    at : address of int64, shape (8,)
        Items and entries so far; whether this CPU's are wanted; class and first item of the entry that is
        open; time of the last one [ns]; frames that the recording does not tell; tables that were not freed.
    most_items, most_entries : int64
        Of how many there is room for.
    """

    items: np.uint64
    starts: np.uint64
    entered: np.uint64
    gaps_ns: np.uint64
    n_steps: np.uint64
    n_entries: np.uint64
    starts_of: np.uint64
    codes: np.uint64
    roles: np.uint64
    at: np.uint64
    most_items: np.int64
    most_entries: np.int64


# Called: folded into its callers it makes passes over the shipped recordings 6 ms shorter (13 ms for 19, 18
# for 24), and compiling, which whoever begins waits for, 3.5 s longer (16 s for 12.5).
@njit
def do(out: Out, step: int) -> None:
    """Do a step for the frames in `roles`."""
    # Asked here alone, and not around what calls it: what happens on another CPU changes address spaces all
    # the same. enter and leave need not ask: an entry without items is none.
    if not get_wide(out.at, IS_ON):
        return
    # Steps are counted, not lookups: what each asks is declared (`translations.STEPS`) and multiplied once.
    # Which kernel it is, with transparent huge pages or without, is in the codes alone, so that no loop asks.
    add_wide(out.n_steps, N_STEPS * get_wide(out.at, CLASS) + step, 1)
    # Kept here meanwhile: to LLVM a store of an item may be one to the counter, which it would read anew each
    # time. It counts on where there is no room: a first time without any tells how much the second needs.
    at = get_wide(out.at, ITEMS)
    for i in range(get_wide(out.starts_of, step), get_wide(out.starts_of, step + 1)):
        code = get(out.codes, i)
        if at < out.most_items:
            # The highest bit of a code is that of an m2p item, and its lowest ones are a role.
            put(out.items, at, get(out.roles, code & _ROLE_MASK) | (code & ~_ROLE_MASK))
        at += 1
    put_wide(out.at, ITEMS, at)


@njit
def enter(out: Out, entered: int) -> None:
    """Begin an entry."""
    # No place for the entry is taken yet: whether there is one its items tell, when it ends.
    put_wide(out.at, CLASS, entered)
    put_wide(out.at, BEGAN, get_wide(out.at, ITEMS))


@njit
def leave(out: Out, time_ns: int) -> None:
    """End an entry that began at a time; one that asked nothing is none."""
    began, number, entered = get_wide(out.at, BEGAN), get_wide(out.at, ENTRIES), get_wide(out.at, CLASS)
    if get_wide(out.at, ITEMS) == began:
        return
    add_wide(out.n_entries, entered, 1)
    if number < out.most_entries:
        # From beginning to beginning, handling included: a recording has no time at which a fault ends. The
        # first has none before it.
        gap = time_ns - get_wide(out.at, LAST_NS) if number else np.int64(0)
        put_wide(out.starts, number, began)
        put_byte(out.entered, number, entered)
        put(out.gaps_ns, number, min(max(gap, 0), _MOST_GAP_NS))
    put_wide(out.at, LAST_NS, time_ns)
    put_wide(out.at, ENTRIES, number + 1)
