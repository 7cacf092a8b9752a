"""The software walk of a guest's stage-2 table: on 32-bit ARM through map slots, on 64-bit ARM directly.

32-bit Xen has no room to map all memory: map_domain_page (xen/arch/arm/mm.c, November 2013) shows one page at
a time through a hash of 1024 slots of 2 MiB per CPU. 64-bit Xen maps all RAM, and a walk is three loads.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

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
    load_entry,
    load_slot,
    note,
    store_slot,
)
from p2mperf.designs.arm.stage2 import ADDRESS_MASK, ENTRIES, FIRST_SHIFT, SECOND_SHIFT, ArmDesign
from p2mperf.designs.base import BACKINGS, Backing, Footprint
from p2mperf.guests.guest import Guest
from p2mperf.jit import instance_class, njit, walk_overload
from p2mperf.tables.walk import locate, walk
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
def find_slot(slots, probe, machine):  # type: ignore[no-untyped-def]
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
        if count < _MAX_COUNT and (entry & _BLOCK) == key and entry & ONE:
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
def map_domain_page(tables, probe, machine):  # type: ignore[no-untyped-def]
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
    return slot, (entry & _BLOCK) + (machine & _PAGE_IN_BLOCK) + tables.base


@inlined
def unmap_domain_page(probe, slot):  # type: ignore[no-untyped-def]
    """Drop one reference of a slot; nothing is flushed."""
    note(probe, UNMAP, 1)
    note(probe, IRQ_SAVE, 1)
    store_slot(probe, slot, load_slot(probe, slot) - _HELD)


@inlined
def entry_at(probe, address):  # type: ignore[no-untyped-def]
    """Read a third-level entry; one that is no valid page is taken for none."""
    entry = load_entry(probe, address)
    return entry if entry & THREE == THREE else ZERO


@inlined
def address_of(probe, address):  # type: ignore[no-untyped-def]
    """Give the place itself, for those who will change the entry."""
    return address


def _mapped_walk(finish: Any) -> Any:
    def p2m_lookup(tables, state, probe, pfn):  # type: ignore[no-untyped-def]
        if pfn >= tables.max_frame:
            return ZERO, state
        note(probe, LOCK, 1)
        found = ZERO
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


def _direct_walk(finish: Any) -> Any:
    def p2m_lookup(tables, state, probe, pfn):  # type: ignore[no-untyped-def]
        if pfn >= tables.max_frame:
            return ZERO, state
        note(probe, LOCK, 1)
        entry = load_entry(probe, tables.base + tables.root + ((pfn >> _FIRST) << THREE))
        if entry & THREE != THREE:
            return ZERO, state
        second = (entry & ADDRESS_MASK) + tables.base
        entry = load_entry(probe, second + (((pfn >> _SECOND) & _MASK) << THREE))
        if entry & THREE != THREE:
            return ZERO, state
        third = (entry & ADDRESS_MASK) + tables.base
        return finish(probe, third + ((pfn & _MASK) << THREE)), state

    return p2m_lookup


_MAKERS: dict[type | None, Any] = {WalkTables: _mapped_walk, DirectTables: _direct_walk}


def _implement(stub: Any, finish: Any) -> None:
    @walk_overload(stub)
    def choose(tables, state, probe, pfn):  # type: ignore[no-untyped-def]
        make = _MAKERS.get(instance_class(tables))
        return make(finish) if make else None


_implement(walk, entry_at)
_implement(locate, address_of)


class ArmWalk(ArmDesign):
    """The walk of 32-bit Xen: map a page, load, map the next, three held at once.

    Parameters
    ----------
    guest, backing, domid, run_frames, n_regions, like
        As `ArmDesign`.

    Notes
    -----
    Barriers, TLB invalidations and interrupt masking have no counterpart here: `events` counts them, the
    timed loops leave them out. So measured costs of this design are a lower bound of its software part.
    The address that `locate` returns stays good after the maps are dropped, which is not so in Xen.

    Examples
    --------
    >>> from p2mperf.guests.guest import Guest
    >>> with ArmWalk(Guest.plain("64M", geometry="lpae")) as p2m:
    ...     counts = p2m.events(524288)
    >>> counts["map"], counts["tlbi"], counts["entry_load"]
    (3, 3, 3)
    """

    name = "arm-walk"
    extra_pages: ClassVar[dict[str, int]] = {"map_slots": 2}

    def _build(self) -> None:
        self.slots = int(self.extra_pool.allocate(self.extra_pages["map_slots"], "map_slots")[0])
        root = (self.root + self.machine_base) << PAGE_SHIFT
        values = (root, self.extra_pool.address(self.slots), self.direct_base, self.guest.geometry.max_frames)
        self.tables = WalkTables(*map(np.uint64, values))

    def slot_words(self) -> NDArray[np.uint64]:
        """View the map-slot table, shape (1024,): machine block, count in bits 58:55, flags."""
        return self.extra_pool.words(self.slots, np.uint64, self.extra_pages["map_slots"])

    def audit(self) -> None:
        super().audit()
        counts = (self.slot_words() >> np.uint64(COUNT_SHIFT)) & np.uint64(MAX_COUNT)
        self._require(counts == 0, "a map slot is held although no walk is under way")


class ArmWalkThrashing(ArmWalk):
    """The walk of 32-bit Xen over tables that keep taking map slots from each other.

    Parameters
    ----------
    guest, backing, domid, run_frames, n_regions, like
        As `ArmDesign`, but for the default of `n_regions`, 4: half of all walks to a random page take a slot.
    """

    name = "arm-walk-thrashing"

    def __init__(
        self, guest: Guest, backing: str | Backing = "kernel", *, n_regions: int = 4, **options: Any
    ) -> None:
        super().__init__(guest, backing, n_regions=n_regions, **options)

    @classmethod
    def predict_footprint(
        cls, guest: Guest, backing: Backing = BACKINGS["kernel"], n_regions: int = 4, **options: Any
    ) -> Footprint:
        return super().predict_footprint(guest, backing, n_regions, **options)


class ArmWalkDirect(ArmDesign):
    """The walk of 64-bit Xen, whose direct map makes map_domain_page an addition.

    Parameters
    ----------
    guest, backing, domid, run_frames, n_regions, like
        As `ArmDesign`.

    Examples
    --------
    >>> from p2mperf.guests.guest import Guest
    >>> with ArmWalkDirect(Guest.plain("64M", geometry="lpae")) as p2m:
    ...     [hex(entry & 0xFFF) for entry in p2m.lookup([524287, 524288])]
    ['0x0', '0x6ff']
    """

    name = "arm-walk-direct"

    def _build(self) -> None:
        root = (self.root + self.machine_base) << PAGE_SHIFT
        values = (root, self.direct_base, self.guest.geometry.max_frames)
        self.tables = DirectTables(*map(np.uint64, values))
