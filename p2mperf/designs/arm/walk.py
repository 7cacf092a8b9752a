"""The software walk of a guest's stage-2 table: on 32-bit ARM through map slots, on 64-bit ARM directly.

32-bit Xen has no room to map all memory: map_domain_page (xen/arch/arm/mm.c, November 2013) shows one page at
a time through a hash of 1024 slots of 2 MiB per CPU. 64-bit Xen maps all RAM, and a walk is three loads.
"""

from __future__ import annotations

from typing import ClassVar, Protocol, Unpack

import numpy as np
from numpy.typing import ArrayLike

from p2mperf.designs.arm.door import ArmOptions, Stage2Door, hold_table
from p2mperf.designs.arm.stage2 import Require, Stage2Table
from p2mperf.designs.arm.walk_kernels import COUNT_SHIFT, MAX_COUNT, DirectTables, WalkTables
from p2mperf.designs.backing import Backing
from p2mperf.designs.base import Design
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest
from p2mperf.memory.owned import Owned


class MapSlots(Owned):
    """The map-slot table of one CPU, in pages beside a stage-2 table.

    Parameters
    ----------
    table : Stage2Table
        Whose pages the slots will show.

    Attributes
    ----------
    tables : WalkTables
        What a walk through the slots takes.
    """

    PAGES: ClassVar[dict[str, int]] = {"map_slots": 2}

    def __init__(self, table: Stage2Table) -> None:
        self._pool = table.extra_pool
        self._first = int(self._pool.allocate(self.PAGES["map_slots"], "map_slots")[0])
        slots = self._pool.address(self._first)
        values = (table.root_address, slots, table.direct_base, table.guest.geometry.max_frames)
        self.tables = WalkTables(*map(np.uint64, values))

    def words(self) -> Words:
        """View the slots, shape (1024,): machine block, count in bits 58:55, flags."""
        return self._pool.words(self._first, np.uint64, self.PAGES["map_slots"])

    def audit(self, require: Require) -> None:
        """Check that no slot is held; `require` raises."""
        counts = (self.words() >> np.uint64(COUNT_SHIFT)) & np.uint64(MAX_COUNT)
        require(counts == 0, "a map slot is held although no walk is under way")


class _Slotted(Protocol):
    """What the door to the slots finds in a design."""

    table: Stage2Table
    slots: MapSlots

    def _require(self, holds: ArrayLike, invariant: str) -> None: ...


class SlotDoor:
    """What every design that walks through map slots answers, by asking them.

    Attributes
    ----------
    slots : MapSlots
        Beside the design's table.
    """

    extra_pages: ClassVar[dict[str, int]] = MapSlots.PAGES
    one_at_a_time: ClassVar[bool] = True  # the slots are those of one CPU
    slots: MapSlots

    def slot_words(self) -> Words:
        """View the map-slot table, shape (1024,): machine block, count in bits 58:55, flags."""
        return self.slots.words()

    def audit(self: _Slotted) -> None:
        """As `Design.audit`."""
        self.table.audit(self._require)
        self.slots.audit(self._require)


def hold_slots(design: Design, **options: Unpack[ArmOptions]) -> tuple[Stage2Table, MapSlots]:
    """Make the table that a design will hold, and map slots beside it; `options` as `hold_table`."""
    table = hold_table(design, MapSlots.PAGES, **options)
    return table, MapSlots(table)


class ArmWalk(SlotDoor, Stage2Door, Design):
    """The walk of 32-bit Xen: map a page, load, map the next, three held at once.

    Parameters
    ----------
    guest, backing
        As `Design`; the guest is one of geometry lpae.
    like : ARM design, optional
        A design of the same guest whose tables to use: another way to the same entries, not to a copy.
    **options
        ``domid``, ``run_frames``, ``n_regions``, as `Stage2Table`.

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

    def __init__(
        self, guest: Guest, backing: str | Backing = "kernel", **options: Unpack[ArmOptions]
    ) -> None:
        super().__init__(guest, backing)
        options.setdefault("n_regions", self.n_regions)
        with self.building():
            self.table, self.slots = hold_slots(self, **options)
            self.tables = self.slots.tables


class ArmWalkThrashing(SlotDoor, Stage2Door, Design):
    """The walk of 32-bit Xen over tables that keep taking map slots from each other.

    Parameters
    ----------
    guest, backing, like
        As `ArmWalk`.
    **options
        As `ArmWalk`, but for the default of ``n_regions``, 4: half of all walks to a random page take a slot.
    """

    name = "arm-walk-thrashing"
    n_regions = 4

    def __init__(
        self, guest: Guest, backing: str | Backing = "kernel", **options: Unpack[ArmOptions]
    ) -> None:
        super().__init__(guest, backing)
        options.setdefault("n_regions", self.n_regions)
        with self.building():
            self.table, self.slots = hold_slots(self, **options)
            self.tables = self.slots.tables


class ArmWalkDirect(Stage2Door, Design):
    """The walk of 64-bit Xen, whose direct map makes map_domain_page an addition.

    Parameters
    ----------
    guest, backing, like
        As `ArmWalk`.
    **options
        As `ArmWalk`.

    Examples
    --------
    >>> from p2mperf.guests.guest import Guest
    >>> with ArmWalkDirect(Guest.plain("64M", geometry="lpae")) as p2m:
    ...     [hex(entry & 0xFFF) for entry in p2m.lookup([524287, 524288])]
    ['0x0', '0x6ff']
    """

    name = "arm-walk-direct"

    def __init__(
        self, guest: Guest, backing: str | Backing = "kernel", **options: Unpack[ArmOptions]
    ) -> None:
        super().__init__(guest, backing)
        options.setdefault("n_regions", self.n_regions)
        with self.building():
            self.table = hold_table(self, self.extra_pages, **options)
            values = (self.table.root_address, self.table.direct_base, guest.geometry.max_frames)
            self.tables = DirectTables(*map(np.uint64, values))
