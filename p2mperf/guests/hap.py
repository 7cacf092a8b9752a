"""P2m tables of hardware-assisted paging: bits of their entries, and the formats that Xen had or planned.

The table that translates guest frames is the nested page table that the processor walks, so its entries are
x86's. Bits are those of 2007 to 3.3 and of every 32-bit Xen (asm-x86/page.h and p2m.h), where the type of a
page stands in the three bits left to software; 64-bit Xen has had it in bits 52 to 58 since 2011.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

import numpy as np

from p2mperf.errors import BadInputError
from p2mperf.guests.geometry import Geometry, Kind, Words
from p2mperf.units import GIB, PAGE_SHIFT, PAGE_SIZE, format_size


class P2mBit(IntFlag):
    """Bits of an entry of any level."""

    PRESENT = 1 << 0
    WRITE = 1 << 1
    USER = 1 << 2  # asked for at every level: a nested walk counts as a user's access
    CACHE_DISABLE = 1 << 4
    ACCESSED = 1 << 5
    DIRTY = 1 << 6
    PAT = 1 << 7  # of an entry for 4 KiB
    SUPERPAGE = 1 << 7  # PSE: of an entry above those
    SUPERPAGE_PAT = 1 << 12  # where the PAT bit of a superpage is: the lowest bit of its address
    BASE = PRESENT | USER | DIRTY | ACCESSED  # P2M_BASE_FLAGS
    POINTER = BASE | WRITE  # rights are restricted by leaves alone


TYPE_SHIFT = 9


class P2mType(IntEnum):
    """What a frame is to the guest: p2m_type_t of 3.3."""

    INVALID = 0
    RAM_RW = 1
    RAM_LOGDIRTY = 2  # read-only, because writes are to be seen
    RAM_RO = 3
    MMIO_DM = 4  # emulated; also what everything reads that is not mapped
    MMIO_DIRECT = 5  # a device's

    @property
    def is_ram(self) -> bool:
        return self in (P2mType.RAM_RW, P2mType.RAM_LOGDIRTY, P2mType.RAM_RO)

    @property
    def flags(self) -> int:
        """Bits of an entry of this type beside its address: p2m_type_to_flags."""
        rights = {
            P2mType.RAM_RW: P2mBit.BASE | P2mBit.WRITE,
            P2mType.RAM_LOGDIRTY: P2mBit.BASE,
            P2mType.RAM_RO: P2mBit.BASE,
            P2mType.MMIO_DIRECT: P2mBit.BASE | P2mBit.WRITE | P2mBit.CACHE_DISABLE,
        }
        return int(self) << TYPE_SHIFT | int(rights.get(self, 0))


@dataclass(frozen=True)
class Hap(Geometry):
    """One format of p2m table.

    Attributes
    ----------
    n_levels : int
        Levels of the table, that of its 4 KiB entries included.
    n_top : int
        Entries of the root that count.
    max_frames_bits : int
        Guest frames that it translates, as a power of two [log2 frames].
    note : str
        What has to be said wherever it is shown.
    """

    n_levels: int = 4
    n_top: int = 512
    max_frames_bits: int = 35
    note: str = ""

    @property
    def index_bits(self) -> int:
        """Bits of a guest frame number that select an entry of one table."""
        return self.leaf_frames.bit_length() - 1

    @property
    def address_mask(self) -> int:
        """Bits of an entry that are an address: 52 at most, less those of the page."""
        return (1 << min(self.entry_bits, 52)) - PAGE_SIZE

    @property
    def max_frames(self) -> int:
        return 1 << self.max_frames_bits

    @property
    def max_guest_pages(self) -> int:
        return self.max_frames

    def check_map(self, end_pfn: int, n_pages: int) -> None:
        if max(end_pfn, n_pages) > self.max_frames:
            reach = format_size(self.max_frames << PAGE_SHIFT)
            raise BadInputError(
                f"the map ends at gfn {max(end_pfn, n_pages):#x}, beyond the {reach} that {self.name} "
                "translates: take hap64, or a smaller guest"
            )

    @property
    def invalid(self) -> int:
        """What a frame without memory reads: an empty entry, whose type is taken for mmio_dm."""
        return 0

    @property
    def gap_kind(self) -> Kind:
        return Kind.MISSING

    def ram_entries(self, mfns: Words) -> Words:
        return (mfns << np.uint64(PAGE_SHIFT)) | np.uint64(P2mType.RAM_RW.flags)

    def entries_above(self, pfns: Words, above: str) -> Words:
        return np.zeros_like(pfns)


# Room on a machine beside its guest, so that a small one's gigabytes need not lie where the guest has them.
_SPARE = 2 * GIB // PAGE_SIZE + 4096
_PAE_MACHINE = 1 << 24  # 64 GiB of machine memory
# 4 GiB of machine memory, of which the highest 16 MiB are where the tables themselves stand.
_FOUR_GIB, _OWN_TABLES = 1 << 20, 4096

HAP64 = Hap("hap64", 64, "hap", orders=(0, 9, 18), spare_machine_frames=_SPARE)
HAP_PAE = Hap(
    "hap-pae",
    64,
    orders=(0, 9),
    spare_machine_frames=_SPARE,
    max_machine_frames=_PAE_MACHINE,
    n_levels=3,
    n_top=4,
    max_frames_bits=20,
    note="32-bit Xen with PAE under AMD's nested paging: guest frames end at 4 GiB",
)
HAP_NONPAE = Hap(
    "hap-nonpae",
    32,
    orders=(0, 10),
    spare_machine_frames=_SPARE,
    max_machine_frames=_FOUR_GIB - _OWN_TABLES,
    n_levels=2,
    n_top=1024,
    max_frames_bits=20,
    note="planned in November 2007 and never merged: 32-bit Xen without PAE was removed in May 2008",
)
