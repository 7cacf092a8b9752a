"""The software walk of a guest's stage-2 table: on 32-bit ARM through map slots, on 64-bit ARM directly.

32-bit Xen has no room to map all memory: map_domain_page (xen/arch/arm/mm.c, November 2013) shows one page at
a time through a hash of 1024 slots of 2 MiB per CPU. 64-bit Xen maps all RAM, and a walk is three loads.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.arm.stage2 import ArmDesign
from p2mperf.designs.arm.walk_kernels import COUNT_SHIFT, MAX_COUNT, DirectTables, WalkTables
from p2mperf.designs.backing import BACKINGS, Backing
from p2mperf.designs.base import Footprint
from p2mperf.guests.guest import Guest
from p2mperf.units import PAGE_SHIFT


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
