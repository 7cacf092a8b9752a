"""A p2m as compiled code has it: where its tables are, how their entries are read and written, and counts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from p2mperf.designs.hap.entry_kernels import ADDRESS, PAGE, inlined
from p2mperf.memory.raw import (
    Counted,
    load_element8,
    load_element32,
    load_element64,
    store_element32,
    store_element64,
)

ZERO, ONE = np.uint64(0), np.uint64(1)
NONE = ~ZERO
# What becomes of a change; an address of a table is none of them but above all, so that whoever gets one or
# the other compares once.
FAILED, WANTS, DONE = np.uint64(0), np.uint64(1), np.uint64(2)
# What `Store.counts` has a word for. Freed tables of each level are lists of their own: who still reads one
# that was freed meanwhile finds entries of its level, and no guest RAM behind what it takes for pointers.
# They are in memory, as changes are made by call after call: one that wants a page ends, and the next goes on
# with what was counted.
COUNTS = (
    "free_l1",
    "free_l2",
    "free_l3",
    "free_l4",
    "n_l1",
    "n_l2",
    "n_l3",
    "n_l4",
    "fresh",
    "fresh_end",
    "pool_left",
    "present",
    "max_mapped",
    "writes",
    "tables",
    "splits",
    "flushes",
    "patient",
)
FREE, N_TABLES = np.uint64(0), np.uint64(4)
(
    FRESH,
    FRESH_END,
    POOL_LEFT,
    N_PRESENT,
    MAX_MAPPED,
    N_WRITES,
    N_TAKEN,
    N_SPLITS,
    N_FLUSHES,
    PATIENT,
) = (np.uint64(n) for n in range(8, len(COUNTS)))


class Store(NamedTuple):
    """A p2m as compiled code changes it.

    Attributes
    ----------
    root : uint64
        Address of the root.
    base : uint64
        Added to a machine address to make an address of this process.
    origin : uint64
        Machine frame of the pool's frame 0.
    bits : uint64
        Bits of a guest frame that select an entry of one table.
    top : uint64
        Level of the root, L1 being level 0.
    largest : uint64
        Highest level whose entries can be superpages.
    is_wide : bool
        Whether entries have 8 bytes, else 4.
    n_frames : uint64
        Frames of the pool.
    levels : uint64
        Address of a byte for each of them: 1 for an L1 table, 2 for an L2 table ..., 0 for what is no table.
    next_free : uint64
        Address of a word for each of them that is on a list of free ones: the next.
    counts : uint64
        Address of a word for each of `COUNTS`.

    Notes
    -----
    Addresses, not arrays: numba counts references to an array that a loop hands to a function, which made a
    write of one entry take 200 ns instead of 10. `p2mperf.designs.hap.table.HapTable` keeps what they are of.
    """

    root: np.uint64
    base: np.uint64
    origin: np.uint64
    bits: np.uint64
    top: np.uint64
    largest: np.uint64
    is_wide: bool
    n_frames: np.uint64
    levels: np.uint64
    next_free: np.uint64
    counts: np.uint64


@inlined
def count_of(store: Store, which: np.uint64) -> np.uint64:
    """Read one of the counts."""
    return load_element64(store.counts, which)


@inlined
def set_count(store: Store, which: np.uint64, n: np.uint64) -> None:
    """Write one of the counts.

    Parameters
    ----------
    store : Store
        The p2m.
    which : uint64
        Which of `COUNTS`.
    n : uint64
        What it is to be.
    """
    store_element64(store.counts, which, n)


@inlined
def add_count(store: Store, which: np.uint64, n: np.uint64) -> None:
    """Add to one of the counts.

    Parameters
    ----------
    store, which
        As `set_count`.
    n : uint64
        What is added; modulo 2**64, so that it can take away.
    """
    set_count(store, which, count_of(store, which) + n)


@inlined
def level_at(store: Store, frame: np.uint64) -> np.uint64:
    """Say of a frame of the pool which table it is, as `Store.levels`."""
    return load_element8(store.levels, frame)


# Width, bits and levels are asked for at run time, where a walk has a type for each format: so what changes a
# p2m is compiled once for the three.
@inlined
def load_slot(store: Store, table: np.uint64, index: Counted) -> np.uint64:
    """Read an entry.

    Parameters
    ----------
    store : Store
        The p2m.
    table : uint64
        Address of the table.
    index : uint64
        Which of its entries.
    """
    return load_element64(table, index) if store.is_wide else load_element32(table, index)


@inlined
def store_slot(store: Store, table: np.uint64, index: np.uint64, word: np.uint64) -> None:
    """Write an entry.

    Parameters
    ----------
    store, table, index
        As `load_slot`.
    word : uint64
        The entry.
    """
    # One aligned word, whichever way: a reader looks on meanwhile.
    if store.is_wide:
        store_element64(table, index, word)
    else:
        store_element32(table, index, word)


@inlined
def index_of(store: Store, frame: np.uint64, level: np.uint64) -> np.uint64:
    """Which entry of its table is for a guest frame.

    Parameters
    ----------
    store : Store
        The p2m.
    frame : uint64
        Guest frame.
    level : uint64
        Level of the table.
    """
    return (frame >> (store.bits * level)) & ((ONE << store.bits) - ONE)


@inlined
def table_at(store: Store, slot: np.uint64) -> np.uint64:
    """Address of the table that an entry points to."""
    # Masked, as an entry may have bits above its address.
    return (slot & ADDRESS) + store.base


@inlined
def frame_of(store: Store, slot: np.uint64) -> np.uint64:
    """Pool frame of the table that an entry points to."""
    # Not masked: nothing but POINTER was put into it, whose bits are all below the address.
    return (slot >> PAGE) - store.origin
