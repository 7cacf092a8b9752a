"""Sizes, markers and kinds of entries of each table format."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import unknown
from p2mperf.units import PAGE_SHIFT, PAGE_SIZE

Words = NDArray[np.uint64]


class Kind(IntEnum):
    """What a frame is to the guest."""

    RAM = 0
    EXTRA = 1  # balloonable: no memory yet, reads INVALID
    MISSING = 2  # will never have memory, reads INVALID
    IDENTITY = 3  # mfn == pfn by intention: MMIO, ACPI, gaps


@dataclass(frozen=True)
class Geometry:
    """Sizes of the p2m pages of one kernel: asm/xen/page.h and arch/x86/xen/p2m.c (3.18).

    Attributes
    ----------
    name : str
        pv64, pv32 or lpae.
    entry_bits : int
        Bits of an entry, 64 or 32.
    """

    name: str
    entry_bits: int

    @property
    def entry_bytes(self) -> int:
        return self.entry_bits // 8

    @property
    def dtype(self) -> type[np.unsignedinteger[Any]]:
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
    """Stage-2 tables of ARM with 40-bit addresses: two concatenated root pages, then two levels of 512.

    Parameters
    ----------
    name : str
        lpae.
    entry_bits : int
        64.
    """

    @property
    def max_frames(self) -> int:
        return 1 << 28

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


GEOMETRIES = {"pv64": Geometry("pv64", 64), "pv32": Geometry("pv32", 32), "lpae": Lpae("lpae", 64)}


def above_mask(geometry: Geometry, above: str) -> np.uint64:
    """What is OR-ed to a pfn beyond the end: the identity bit, or all ones for INVALID.

    Raises
    ------
    BadInputError
        For any policy but "identity" and "invalid".
    """
    masks = {"identity": geometry.identity_bit, "invalid": geometry.invalid}
    if above not in masks:
        raise unknown("policy above the end", above, masks)
    return np.uint64(masks[above])
