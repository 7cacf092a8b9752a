"""Sizes, markers and kinds of entries of each table format."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import BadInputError, known
from p2mperf.units import GIB, PAGE_SHIFT, PAGE_SIZE, format_size

Words = NDArray[np.uint64]
Entries = NDArray[np.uint64 | np.uint32]  # as they stand in a table


class Kind(IntEnum):
    """What a frame is to the guest."""

    RAM = 0
    EXTRA = 1  # balloonable: no memory yet, reads INVALID
    MISSING = 2  # will never have memory, reads INVALID
    IDENTITY = 3  # mfn == pfn by intention: MMIO, ACPI, gaps


@dataclass(frozen=True)
class Geometry:
    """Sizes of the p2m pages of one kernel: asm/xen/page.h and arch/x86/xen/p2m.c (3.18).

    Other formats derive from it and say what differs.

    Attributes
    ----------
    name : str
        As `p2mperf.guests.geometries` knows it.
    entry_bits : int
        Bits of an entry, 64 or 32.
    short_name : str
        In the names of guests; default: its name.
    ram_base_bytes : int
        Where the RAM of a guest with nothing else begins [bytes].
    max_machine_frames : int
        Frames of the largest machine that can back its guests; 0 where no format bounds it.
    hotplug_reach_bytes : int
        How far memory that is plugged in later may reach; 0 where none can be [bytes].
    orders : tuple of int
        Sizes of its leaves; more than one where tables have superpages, whose guests are then backed by
        aligned blocks of machine memory [log2 frames].
    spare_machine_frames : int
        Frames of a guest's machine beside its memory and a quarter of that.
    """

    name: str
    entry_bits: int
    short_name: str = ""
    ram_base_bytes: int = 0
    max_machine_frames: int = 0
    hotplug_reach_bytes: int = 0
    orders: tuple[int, ...] = (0,)
    spare_machine_frames: int = 4096

    @property
    def max_guest_pages(self) -> int:
        """Memory of the largest guest: CONFIG_XEN_MAX_DOMAIN_MEMORY at 32 bits [pages]."""
        return (64 * GIB if self.entry_bits == 32 else 4096 * GIB) // PAGE_SIZE

    def check_map(self, end_pfn: int, n_pages: int) -> None:
        """Refuse a memory map that entries of this format cannot translate.

        Parameters
        ----------
        end_pfn : int
            End of the map.
        n_pages : int
            Memory that the guest may have [pages].

        Raises
        ------
        BadInputError
            When the memory or the end is out of reach.
        """
        if n_pages > self.max_guest_pages:
            most, asked = (format_size(n << PAGE_SHIFT) for n in (self.max_guest_pages, n_pages))
            advice = ": use 64-bit entries" if self.entry_bits == 32 else ""
            raise BadInputError(f"a {self.entry_bits}-bit guest has at most {most}, not {asked}{advice}")
        if end_pfn >= self.max_frames * (1 if self.entry_bits == 32 else 8):
            raise BadInputError(f"the map ends at pfn {end_pfn:#x}, beyond the reach of {self.name}")

    @property
    def entry_bytes(self) -> int:
        return self.entry_bits // 8

    @property
    def dtype(self) -> type[np.uint64] | type[np.uint32]:
        return np.uint64 if self.entry_bits == 64 else np.uint32

    @property
    def leaf_frames(self) -> int:
        """Entries of one page: P2M_PER_PAGE, P2M_MID_PER_PAGE and P2M_TOP_PER_PAGE alike."""
        return PAGE_SIZE // self.entry_bytes

    @property
    def mid_frames(self) -> int:
        """Frames that one mid page covers: 1 GiB at 64 bits, 4 GiB at 32 bits."""
        return self.leaf_frames**2

    @property
    def max_frames(self) -> int:
        """MAX_P2M_PFN, the structural end of the tree: 512 GiB or 4 TiB."""
        return self.leaf_frames**3

    @property
    def invalid_m2p(self) -> int:
        """INVALID_M2P_ENTRY: what the m2p has for a machine frame that is not the guest's."""
        return (1 << self.entry_bits) - 1

    @property
    def foreign_bit(self) -> int:
        return 1 << (self.entry_bits - 1)

    @property
    def identity_bit(self) -> int:
        return 1 << (self.entry_bits - 2)

    @property
    def invalid(self) -> int:
        """INVALID_P2M_ENTRY: all ones, so every test for a marker bit must exclude it first."""
        return (1 << self.entry_bits) - 1

    @property
    def gap_kind(self) -> Kind:
        """What a frame is that no row of the map names."""
        return Kind.IDENTITY

    def ram_entries(self, mfns: Words) -> Words:
        """Entries of frames with memory."""
        return mfns

    def entries_above(self, pfns: Words, above: str) -> Words:
        """Entries of frames beyond the end of the map."""
        return (above_mask(self, above) | pfns) & np.uint64(self.invalid)


def above_mask(geometry: Geometry, above: str) -> np.uint64:
    """What is OR-ed to a pfn beyond the end: the identity bit, or all ones for INVALID.

    Raises
    ------
    BadInputError
        For any policy but "identity" and "invalid".
    """
    masks = {"identity": geometry.identity_bit, "invalid": geometry.invalid}
    return np.uint64(masks[known("policy above the end", above, masks)])
