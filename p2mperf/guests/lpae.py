"""Stage-2 tables of ARM: bits of their entries, and what frames without memory read."""

from __future__ import annotations

from enum import IntFlag

import numpy as np

from p2mperf.errors import BadInputError
from p2mperf.guests.geometry import Geometry, Kind, Words
from p2mperf.units import PAGE_SHIFT


class Stage2(IntFlag):
    """Bits of a stage-2 entry, as in lpae_p2m_t of Xen's asm-arm/page.h (November 2013)."""

    VALID = 1 << 0
    TABLE = 1 << 1  # also set in leaves of 4 KiB
    WRITE_BACK = 0xF << 2  # MemAttr
    READ = 1 << 6
    WRITE = 1 << 7  # read-only if the same entry is taken for a stage-1 one: AP[2]
    OUTER_SHAREABLE = 2 << 8
    ACCESSED = 1 << 10
    LOG_DIRTY = 1 << 55  # first of the four bits left to software
    POINTS = VALID | TABLE | WRITE_BACK | READ | OUTER_SHAREABLE | ACCESSED
    RAM = POINTS | WRITE


class Lpae(Geometry):
    """Stage-2 tables of ARM with 40-bit addresses: two concatenated root pages, then two levels of 512."""

    @property
    def max_frames(self) -> int:
        return 1 << 28

    def check_map(self, end_pfn: int, n_pages: int) -> None:
        if n_pages <= self.max_guest_pages and end_pfn > self.max_frames:
            raise BadInputError(
                f"the memory map ends at {end_pfn << PAGE_SHIFT:#x}, above the 40 bits that stage-2 tables "
                "with two root pages translate: lower the RAM base or the memory"
            )
        super().check_map(end_pfn, n_pages)

    @property
    def invalid(self) -> int:
        """What a frame without memory reads: nothing."""
        return 0

    @property
    def gap_kind(self) -> Kind:
        return Kind.MISSING

    def ram_entries(self, mfns: Words) -> Words:
        return (mfns << np.uint64(PAGE_SHIFT)) | np.uint64(Stage2.RAM)

    def entries_above(self, pfns: Words, above: str) -> Words:
        return np.zeros_like(pfns)
