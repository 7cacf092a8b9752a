"""Compiled: address spaces as a recording lets them be known, as page tables without the hardware.

Tables are found by (address space, level, index) in an open-addressed array, and are linked to the others of
their address space. A pte page has 32 chunks of 16 pages each; those without a page are left out, which takes
less than half the memory in a build. What is freed is used again, so that the size of all is that of what is
mapped at one time; there is room for `Shadow` as it was made, and no more.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2mperf.draws_kernels import mixed
from p2mperf.jit import njit
from p2mperf.memory.raw import Number
from p2mperf.workload.steps import TABLE_SHIFT, WINDOW_SHIFT, plain, span
from p2mperf.workload.word_kernels import add, add_wide, get, get_wide, put, put_wide

# Levels of tables, and the states of `Shadow.top`.
PTE, PMD, PUD = span(0, 2)
TABLES, FREE_TABLE, CHUNKS, FREE_CHUNK, STATUS, WORK = span(0, 5)
WELL, TOO_MANY_TABLES, TOO_MANY_PAGES = span(0, 2)
N_TOP, LEVELS = 6, 3
CHUNK_PAGES = 1 << WINDOW_SHIFT
TABLE_CHUNKS = 1 << (TABLE_SHIFT - WINDOW_SHIFT)
NONE = plain(-1)
_LEVEL_BITS, _INDEX_BITS, _ID_BITS = 2, 28, 22


class Shadow(NamedTuple):
    """Tables, chunks and address spaces.

    Attributes
    ----------
    keys : address of int64, shape (n_slots,)
        A power of two of slots: what the table in each is found by.
    slots : address of int32, shape (n_slots,)
        Its number, -1 where a slot is free.
    space, parent, before, after : address of int32, shape (n_tables,)
        Address space of a table, the table above it, and its neighbours in the list of its address space.
    level, position : address of int32 and int64, shape (n_tables,)
        Its level, and which of its level it is: its first page, shifted.
    frame : address of uint32, shape (n_tables,)
        The guest's frame that it is in.
    n_present, n_written : address of int32, shape (n_tables,)
        Pages of a pte page that are mapped, and those of them that are the process's own.
    is_freed : address of int32, shape (n_tables,)
        Whether the kernel is taken to have freed it.
    chunks : address of int32, shape (n_tables, 32)
        Chunks of a pte page, -1 for none.
    frames : address of uint32, shape (n_chunks, 16)
        Frames of mapped pages.
    present, written, of_file : address of int32, shape (n_chunks,)
        A bit for each page: mapped, the process's own, in a mapping of a file.
    first : address of int32, shape (n_spaces,)
        First table of the list of each address space.
    top : address of int64, shape (6,)
        Tables and chunks that were ever used, and the first free one of each; what is wrong; work done.
    n_slots, n_tables, n_chunks : int64
        Of how many there is room for.
    """

    keys: np.uint64
    slots: np.uint64
    space: np.uint64
    parent: np.uint64
    before: np.uint64
    after: np.uint64
    level: np.uint64
    position: np.uint64
    frame: np.uint64
    n_present: np.uint64
    n_written: np.uint64
    is_freed: np.uint64
    chunks: np.uint64
    frames: np.uint64
    present: np.uint64
    written: np.uint64
    of_file: np.uint64
    first: np.uint64
    top: np.uint64
    n_slots: np.int64
    n_tables: np.int64
    n_chunks: np.int64


@njit(inline="always")
def slot_of(key: Number, n_slots: Number) -> np.int64:
    """Where the search for a key begins in so many slots, a power of two."""
    # Mixed, as a mask alone would leave nothing of the address space, which stands in a key's upper bits: the
    # same tables of all processes would meet in one slot. In the shipped recordings few live at one time: one
    # pass took as long with the mask alone, the other 5 to 8 % longer.
    return np.int64(mixed(np.uint64(key)) & np.uint64(n_slots - 1))


@njit(inline="always")
def _key(space: int, level: int, index: int) -> np.int64:
    # With its level, as tables of all levels stand in one array, and the first of each level has index 0.
    return (np.int64(space) << _INDEX_BITS | index) << _LEVEL_BITS | level


@njit
def find_table(shadow: Shadow, space: int, level: int, index: int) -> int:
    """Number of a table, or -1.

    Parameters
    ----------
    shadow : Shadow
        Tables of all address spaces.
    space : int
        Address space.
    level : int
        Level of the table.
    index : int
        Which one of its level.
    """
    key = _key(space, level, index)
    at = slot_of(key, shadow.n_slots)
    # The slot before the key: keys of free slots are whatever stood there, as only slots are cleared (4 of
    # the 12 bytes of each). An end is always found: of twice as many slots as tables half are free.
    while get(shadow.slots, at) >= 0:
        if get_wide(shadow.keys, at) == key:
            return get(shadow.slots, at)
        at = (at + 1) & (shadow.n_slots - 1)
    return NONE


@njit
def add_table(shadow: Shadow, space: int, level: int, index: int, frame: int, parent: int) -> int:
    """Take a table in that is not there.

    Parameters
    ----------
    shadow : Shadow
        Where to.
    space, level, index : int
        What it is found by.
    frame : int
        Where it is.
    parent : int
        Table above it.

    Returns
    -------
    int
        Its number; -1 when there is no room, which `top` then says.
    """
    # What was freed before what was never used: 357 and 437 tables were ever used at once by the shipped
    # recordings, of room for two million, whose other pages are never touched.
    table = get_wide(shadow.top, FREE_TABLE)
    if table >= 0:
        put_wide(shadow.top, FREE_TABLE, get(shadow.after, table))
    elif get_wide(shadow.top, TABLES) < shadow.n_tables:
        table = get_wide(shadow.top, TABLES)
        add_wide(shadow.top, TABLES, 1)
    else:
        put_wide(shadow.top, STATUS, TOO_MANY_TABLES)
        return NONE
    key = _key(space, level, index)
    at = slot_of(key, shadow.n_slots)
    while get(shadow.slots, at) >= 0:
        at = (at + 1) & (shadow.n_slots - 1)
    put_wide(shadow.keys, at, key)
    put(shadow.slots, at, table)
    put(shadow.space, table, space)
    put(shadow.level, table, level)
    put_wide(shadow.position, table, index)
    put(shadow.frame, table, frame)
    put(shadow.parent, table, parent)
    put(shadow.is_freed, table, False)
    put(shadow.n_present, table, 0)
    put(shadow.n_written, table, 0)
    # Of upper tables too, which have no chunks: so remove_table need not ask for the level.
    for number in range(TABLE_CHUNKS):
        put(shadow.chunks, TABLE_CHUNKS * table + number, NONE)
    # In front, where nothing is searched for: who needs an order sorts (`tables_in_order`).
    following = get(shadow.first, space)
    put(shadow.before, table, NONE)
    put(shadow.after, table, following)
    if following >= 0:
        put(shadow.before, following, table)
    put(shadow.first, space, table)
    return table


@njit
def remove_table(shadow: Shadow, table: int) -> None:
    """Take a table out, with all that is mapped in it."""
    n_slots = shadow.n_slots
    for number in range(TABLE_CHUNKS):
        chunk = get(shadow.chunks, TABLE_CHUNKS * table + number)
        if chunk >= 0:
            _free_chunk(shadow, chunk)
    at = slot_of(
        _key(get(shadow.space, table), get(shadow.level, table), get_wide(shadow.position, table)), n_slots
    )
    # It is there: no free slot need be looked for, and by its number no key be compared.
    while get(shadow.slots, at) != table:
        at = (at + 1) & (n_slots - 1)
    # What follows in the same run of slots moves up where its search would end here (Knuth 6.4, algorithm R).
    # Marks in place of what is gone would grow in number with each process, and all searches with them.
    free, at = at, (at + 1) & (n_slots - 1)
    while get(shadow.slots, at) >= 0:
        begin = slot_of(get_wide(shadow.keys, at), n_slots)
        if (at - begin) & (n_slots - 1) >= (at - free) & (n_slots - 1):
            put_wide(shadow.keys, free, get_wide(shadow.keys, at))
            put(shadow.slots, free, get(shadow.slots, at))
            free = at
        at = (at + 1) & (n_slots - 1)
    put(shadow.slots, free, NONE)
    before, after = get(shadow.before, table), get(shadow.after, table)
    if before >= 0:
        put(shadow.after, before, after)
    else:
        put(shadow.first, get(shadow.space, table), after)
    if after >= 0:
        put(shadow.before, after, before)
    # Free ones are linked by what linked them in the list of their address space.
    put(shadow.after, table, get_wide(shadow.top, FREE_TABLE))
    put_wide(shadow.top, FREE_TABLE, table)


@njit(inline="always")
def _free_chunk(shadow: Shadow, chunk: int) -> None:
    # A free chunk says in place of its pages which one is free beside it.
    put(shadow.present, chunk, get_wide(shadow.top, FREE_CHUNK))
    put_wide(shadow.top, FREE_CHUNK, chunk)


@njit
def chunk_of(shadow: Shadow, table: int, page: int) -> int:
    """Chunk of a page in its pte page, or -1.

    Parameters
    ----------
    shadow : Shadow
        Tables of all address spaces.
    table : int
        A table.
    page : int
        Page.
    """
    return get(shadow.chunks, TABLE_CHUNKS * table + ((page >> WINDOW_SHIFT) & (TABLE_CHUNKS - 1)))


@njit
def map_page(shadow: Shadow, table: int, page: int, frame: Number, is_written: bool, is_file: bool) -> None:
    """Map a page, whatever was mapped there.

    Parameters
    ----------
    shadow : Shadow
        Where to.
    table : int
        Its pte page.
    page : int
        Which page.
    frame : int
        The guest's frame.
    is_written, is_file : bool
        Whether it is the process's own, and whether the mapping is one of a file.
    """
    # 3308 and 1649 chunks were there at most at once in the shipped recordings, beside 357 and 437 tables of
    # all levels, where 32 would make one pte page whole.
    number = (page >> WINDOW_SHIFT) & (TABLE_CHUNKS - 1)
    chunk = get(shadow.chunks, TABLE_CHUNKS * table + number)
    if chunk < 0:
        chunk = get_wide(shadow.top, FREE_CHUNK)
        if chunk >= 0:
            put_wide(shadow.top, FREE_CHUNK, get(shadow.present, chunk))
        elif get_wide(shadow.top, CHUNKS) < shadow.n_chunks:
            chunk = get_wide(shadow.top, CHUNKS)
            add_wide(shadow.top, CHUNKS, 1)
        else:
            put_wide(shadow.top, STATUS, TOO_MANY_PAGES)
            return
        put(shadow.chunks, TABLE_CHUNKS * table + number, chunk)
        put(shadow.present, chunk, 0)
        put(shadow.written, chunk, 0)
        put(shadow.of_file, chunk, 0)
    place = page & (CHUNK_PAGES - 1)
    bit = 1 << place
    # Counted as they come and go, as a fork and a range ask each pte page first whether it has any.
    add(shadow.n_present, table, (get(shadow.present, chunk) & bit) == 0)
    was_written = (get(shadow.written, chunk) & bit) != 0
    add(shadow.n_written, table, np.int64(is_written) - np.int64(was_written))
    put(shadow.frames, CHUNK_PAGES * chunk + place, frame)
    put(shadow.present, chunk, get(shadow.present, chunk) | (bit))
    put(shadow.written, chunk, (get(shadow.written, chunk) & ~bit) | (bit if is_written else 0))
    put(shadow.of_file, chunk, (get(shadow.of_file, chunk) & ~bit) | (bit if is_file else 0))


@njit
def unmap_page(shadow: Shadow, table: int, chunk: int, place: int) -> None:
    """Unmap a page that is mapped: one of a chunk of a pte page.

    Parameters
    ----------
    shadow : Shadow
        Tables of all address spaces.
    table : int
        A table.
    chunk : int
        Chunk of a pte page.
    place : int
        Which page of it.
    """
    bit = 1 << place
    add(shadow.n_present, table, -1)
    add(shadow.n_written, table, -((get(shadow.written, chunk) & bit) != 0))
    # Frame and mapping stay, which nobody reads without this bit. The chunk stays too, though it may be
    # empty: who goes over chunks passes over such, and remove_table gives them back.
    put(shadow.present, chunk, get(shadow.present, chunk) & (~bit))
    put(shadow.written, chunk, get(shadow.written, chunk) & (~bit))


@njit
def tables_in_order(shadow: Shadow, space: int, first: int, end: int) -> NDArray[np.int64]:
    """Tables of an address space that lie in a range, or reach into it, by address, upper ones first.

    Parameters
    ----------
    shadow : Shadow
        Where they are.
    space : int
        Which address space.
    first, end : int
        The range [pages].

    Returns
    -------
    ndarray of int64
        Their numbers.
    """
    # All tables of the address space, however short the range: 16 and 15 at the ends of those in the shipped
    # recordings. Counted first, for an array that need not grow; and as work, of which a made-up recording
    # could have any amount.
    n_tables, table = 0, get(shadow.first, space)
    while table >= 0:
        n_tables += 1
        table = get(shadow.after, table)
    add_wide(shadow.top, WORK, n_tables)
    order = np.empty(n_tables, np.int64)
    n_tables, table = 0, get(shadow.first, space)
    while table >= 0:
        shift = TABLE_SHIFT * (get(shadow.level, table) + 1)
        begin = get_wide(shadow.position, table) << shift
        if not get(shadow.is_freed, table) and begin < end and begin + (np.int64(1) << shift) > first:
            # Page, level and number are 59 bits: words are sorted, and no order has to be kept beside them.
            rank = begin << _LEVEL_BITS | (PUD - get(shadow.level, table))
            order[n_tables] = rank << _ID_BITS | table
            n_tables += 1
        table = get(shadow.after, table)
    order = order[:n_tables]
    order.sort()
    for i in range(n_tables):
        order[i] &= (1 << _ID_BITS) - 1
    return order
