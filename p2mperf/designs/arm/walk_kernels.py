"""The walk of a stage-2 table, compiled: through map slots, or through the direct map.

Each is written once, and ends in the entry itself or in the place where that stands (`walk`, `locate`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from p2mperf.designs.arm.event_kernels import (
    DSB,
    IRQ_SAVE,
    ISB,
    LOCK,
    MAP,
    MMU_LOAD,
    SLOT_TAKEOVER,
    TLBI,
    UNMAP,
    LoadWord,
    load_entry,
    load_slot,
    note,
    store_slot,
)
from p2mperf.designs.arm.layout import ADDRESS_MASK, ENTRIES, FIRST_SHIFT, SECOND_SHIFT
from p2mperf.jit import instance_class, njit, types, walk_overload
from p2mperf.memory.raw import Probe
from p2mperf.tables.walk import State, Walk, locate, walk
from p2mperf.units import PAGE_SHIFT

N_SLOTS = 1024  # DOMHEAP_ENTRIES
MAX_COUNT = 15  # a slot's reference count has 4 bits
COUNT_SHIFT = 55  # in `avail`, the four bits left to software
SLOT_FLAGS = 0x701  # valid block of 2 MiB, inner shareable, accessed


class WalkTables(NamedTuple):
    """What a walk through map slots needs; addresses are this process' own.

    Attributes
    ----------
    root : uint64
        Machine address of the first root page.
    slots : uint64
        Address of the map-slot table of this CPU.
    base : uint64
        Added to a machine address to make an address of this process.
    max_frame : uint64
        Frames that the table can translate: 2**28.
    """

    root: np.uint64
    slots: np.uint64
    base: np.uint64
    max_frame: np.uint64


class DirectTables(NamedTuple):
    """What a walk through the direct map needs; fields as in `WalkTables`."""

    root: np.uint64
    base: np.uint64
    max_frame: np.uint64


# Parts of a walk: to be folded into the loop, as the kernel's inline functions are.
inlined = njit(cache=False, forceinline=True)

ZERO, ONE, THREE = (np.uint64(n) for n in (0, 1, 3))
_MASK = np.uint64(ENTRIES - 1)
_FIRST, _SECOND = np.uint64(FIRST_SHIFT), np.uint64(SECOND_SHIFT)
_ROOT_PAGE = np.uint64(FIRST_SHIFT + 9)
_SLOT_SHIFT = np.uint64(21)
_SLOT_MASK = np.uint64(N_SLOTS - 1)
_BLOCK = np.uint64(((1 << 40) - 1) & ~((1 << 21) - 1))
_PAGE_IN_BLOCK = np.uint64((1 << 21) - 4096)
_PAGE = np.uint64(PAGE_SHIFT)
_COUNT = np.uint64(COUNT_SHIFT)
_COUNT_MASK = np.uint64(MAX_COUNT)
_MAX_COUNT = np.uint64(MAX_COUNT)
_HELD = np.uint64(1 << COUNT_SHIFT)
_FLAGS = np.uint64(SLOT_FLAGS)


@inlined
def find_slot(slots: np.uint64, probe: Probe, machine: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Find or take a map slot for the 2 MiB around a machine address, and hold it.

    A slot whose count is 0 still shows what it showed and is used again as it is; a slot at count 15 is
    passed over, and its page mapped a second time.

    Parameters
    ----------
    slots : uint64
        Address of the slot table.
    probe
        As `walk`.
    machine : uint64
        Machine address.

    Returns
    -------
    address, entry : uint64
        Where the slot stands, and what now stands in it; zeros when all are held, where Xen gives up.
    """
    key = machine & _BLOCK
    index = machine >> _SLOT_SHIFT
    for _ in range(N_SLOTS):
        address = slots + ((index & _SLOT_MASK) << THREE)
        entry = load_slot(probe, address)
        count = (entry >> _COUNT) & _COUNT_MASK
        # At 15 the four bits are full: one more would be carried into bit 59, which is none of them. A count
        # of 0 is as good, as Xen has it since 14cd36c23d (2013): to take the slot over instead would be two
        # barriers more.
        if count < _MAX_COUNT and (entry & _BLOCK) == key and entry & ONE:
            # Stored for nobody but later searches. Without this store and that of the release a walk took
            # 0.82 to 0.95 times as long, but a slot that is in use might be taken for another page.
            entry += _HELD
            store_slot(probe, address, entry)
            return address, entry
        if count == ZERO:
            entry = key | _FLAGS | _HELD
            note(probe, SLOT_TAKEOVER, 1)
            note(probe, DSB, 2)  # write_pte has a barrier on either side
            store_slot(probe, address, entry)
            return address, entry
        index += ONE
    return ZERO, ZERO


@inlined
def map_domain_page(tables: WalkTables, probe: Probe, machine: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Map a page.

    The address is made from the entry just found, as the MMU would read that entry. Xen flushes the one
    address every time, so the first access always walks: root and slot, two loads.

    Parameters
    ----------
    tables : WalkTables
        The design's.
    probe
        As `walk`.
    machine : uint64
        Machine address of the page.

    Returns
    -------
    slot, address : uint64
        Where its slot stands, and where the page is read.
    """
    note(probe, MAP, 1)
    note(probe, IRQ_SAVE, 1)
    slot, entry = find_slot(tables.slots, probe, machine)
    note(probe, DSB, 2)
    note(probe, TLBI, 1)
    note(probe, ISB, 1)
    note(probe, MMU_LOAD, 2)
    # Made of the machine address alone, the same number would not wait for the slot, as the first access on
    # an ARM does: walks took 4 to 12 % less.
    return slot, (entry & _BLOCK) + (machine & _PAGE_IN_BLOCK) + tables.base


@inlined
def unmap_domain_page(probe: Probe, slot: np.uint64) -> None:
    """Drop one reference of a slot; nothing is flushed."""
    note(probe, UNMAP, 1)
    note(probe, IRQ_SAVE, 1)
    store_slot(probe, slot, load_slot(probe, slot) - _HELD)


@inlined
def entry_at(probe: Probe, address: np.uint64) -> np.uint64:
    """Read a third-level entry; one that is no valid page is taken for none."""
    entry = load_entry(probe, address)
    return entry if entry & THREE == THREE else ZERO


@inlined
def address_of(probe: Probe, address: np.uint64) -> np.uint64:
    """Give the place itself, for those who will change the entry."""
    return address


def _mapped_walk(finish: LoadWord) -> Walk:
    def p2m_lookup(tables: WalkTables, state: State, probe: Probe, pfn: np.uint64) -> tuple[np.uint64, State]:
        if pfn >= tables.max_frame:
            return ZERO, state
        note(probe, LOCK, 1)
        # Nested as p2m_lookup was until 4.4: all three pages are held at once. Xen 4.5 releases each before
        # the next is mapped; that took as long here (0.99 to 1.05 times).
        found = ZERO
        # The root's page by bit 39, as in Xen since 6c5b00aae9 (4.4), which has two of them side by side;
        # before, the first one was all that a walk read.
        slot1, first = map_domain_page(tables, probe, tables.root + ((pfn >> _ROOT_PAGE) << _PAGE))
        entry = load_entry(probe, first + (((pfn >> _FIRST) & _MASK) << THREE))
        if entry & THREE == THREE:
            slot2, second = map_domain_page(tables, probe, entry & ADDRESS_MASK)
            entry = load_entry(probe, second + (((pfn >> _SECOND) & _MASK) << THREE))
            if entry & THREE == THREE:
                slot3, third = map_domain_page(tables, probe, entry & ADDRESS_MASK)
                found = finish(probe, third + ((pfn & _MASK) << THREE))
                unmap_domain_page(probe, slot3)
            unmap_domain_page(probe, slot2)
        unmap_domain_page(probe, slot1)
        return found, state

    return p2m_lookup


def _direct_walk(finish: LoadWord) -> Walk:
    def p2m_lookup(
        tables: DirectTables, state: State, probe: Probe, pfn: np.uint64
    ) -> tuple[np.uint64, State]:
        if pfn >= tables.max_frame:
            return ZERO, state
        note(probe, LOCK, 1)
        # Both root pages are read as one table, for they lie side by side; map slots show each by itself.
        entry = load_entry(probe, tables.base + tables.root + ((pfn >> _FIRST) << THREE))
        # Not `unlikely`: lookups took as long with it (1.00 to 1.02 times).
        if entry & THREE != THREE:
            return ZERO, state
        second = (entry & ADDRESS_MASK) + tables.base
        entry = load_entry(probe, second + (((pfn >> _SECOND) & _MASK) << THREE))
        if entry & THREE != THREE:
            return ZERO, state
        third = (entry & ADDRESS_MASK) + tables.base
        return finish(probe, third + ((pfn & _MASK) << THREE)), state

    return p2m_lookup


_MAKERS: dict[type | None, Callable[[LoadWord], Walk]] = {
    WalkTables: _mapped_walk,
    DirectTables: _direct_walk,
}


def _implement(stub: Walk, finish: LoadWord) -> None:
    @walk_overload(stub)
    def choose(tables: types.Type, state: types.Type, probe: types.Type, pfn: types.Type) -> Walk | None:
        make = _MAKERS.get(instance_class(tables))
        return make(finish) if make else None


_implement(walk, entry_at)
_implement(locate, address_of)
