"""The virtual area of the linear list: where it lies, how long it is, and its page table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from p2mperf.designs.pv.leaf_plan import Leaf, LeafPlan
from p2mperf.errors import BadInputError, DoesNotFitError
from p2mperf.families import find_family
from p2mperf.guests.geometry import Geometry, Kind, above_mask
from p2mperf.guests.guest import Guest
from p2mperf.guests.runs import Runs
from p2mperf.tables.radix import Level, Radix, Sharing, count_pages, covered_by
from p2mperf.units import MIB, PAGE_SHIFT, format_size, parse_pages, round_up

# Where vm_area_register_early puts the area: VMALLOC_START at 64 bits; at 32 bits 8 MiB above the 727 MiB
# of low memory that PV guests were seen with, in steps of 4 MiB.
AREA = {64: 0xFFFFC90000000000, 32: round_up(0xC0000000 + (727 + 8) * MIB, 4 * MIB)}
# Where vmalloc space ends: at 64 bits after its 32 TiB, at 32 bits where Xen's own addresses begin.
AREA_END = {64: 0xFFFFE90000000000, 32: 0xF5800000}
_PRESENT, WRITE_FLAG = 0x61, 0x02  # _PAGE_PRESENT | _PAGE_ACCESSED | _PAGE_DIRTY; _PAGE_RW
N_PTES = 512  # of 8 bytes, in long mode and PAE alike


def page_table_shape(geometry: Geometry) -> Radix:
    """Levels of the kernel page table over the area: four in long mode, three with PAE."""
    area = AREA[geometry.entry_bits]
    names = ("pte", "pmd", "pud", "pgd") if geometry.entry_bits == 64 else ("pte", "pmd", "pgd")
    levels = tuple(Level(name, N_PTES, _slot(area, depth)) for depth, name in enumerate(names))
    return Radix(levels, 8, based=geometry.entry_bits == 64, flags=_PRESENT)


def _slot(address: int, depth: int) -> int:
    return (address >> (PAGE_SHIFT + 9 * depth)) & (N_PTES - 1)


def check_area(guest: Guest, n_entries: int) -> None:
    """Refuse an area that would run into what lies above it; the kernels of then did not look.

    Raises
    ------
    DoesNotFitError
        When the kernel's area is too small for so many entries.
    """
    shape = guest.geometry
    available, needed = AREA_END[shape.entry_bits] - AREA[shape.entry_bits], n_entries * shape.entry_bytes
    if needed > available:
        raise DoesNotFitError(
            f"the list of {guest.name} needs {format_size(needed)} of addresses and a {shape.entry_bits}-bit "
            f"kernel has {format_size(available)}: use 64-bit entries, a smaller map or a lower limit"
        )


def not_invalidated(runs: Runs) -> Runs:
    """Runs as they are before xen_inv_extra_mem: what lies beyond the boot list is identity."""
    kind = np.where(runs.kind == Kind.EXTRA, Kind.IDENTITY, runs.kind).astype(np.int8)
    return Runs(runs.first_pfn, runs.n_frames, kind, runs.first_mfn)


def pages_per_mid(geometry: Geometry) -> int:
    """PMDS_PER_MID_PAGE: page-table pages that a mid page's worth of list takes, 1 or 2."""
    return geometry.leaf_frames // N_PTES


def page_table_of(plan: LeafPlan) -> tuple[NDArray[np.int8], Radix, Sharing]:
    """What the page table of a plan's area is counted from, before there are frames."""
    sharing = Sharing((Leaf.MISSING, Leaf.IDENTITY), group=pages_per_mid(plan.geometry))
    return plan.state, page_table_shape(plan.geometry), sharing


def list_pages(plan: LeafPlan) -> dict[str, int]:
    """Pool pages by kind that a plan asks for."""
    extents = n_extents(covered_by(*page_table_of(plan)))
    holes = {"hole_window": extents * plan.geometry.leaf_frames} if extents else {}
    return {"leaf": plan.n_private, "leaf_shared": 2, **count_pages(*page_table_of(plan)), **holes}


def n_extents(covered: NDArray[np.int64]) -> int:
    """Shared extents that a window shows for holes as large as a mid: one a kind of hole."""
    return np.unique(covered[covered >= 0]).size


def area_entries(guest: Guest, limit_pages: int = 0, above: str = "identity") -> int:
    """Entries that the p2m has or may come to have: up to the last frame that is not identity, in whole mids.

    Parameters
    ----------
    guest : Guest
        Whose.
    limit_pages : int
        Memory that may be hot-plugged later: P2M_LIMIT, which 3.19.8 has already [pages].
    above : str
        Policy beyond the end: where that is "invalid", identity at the end of the map needs entries too.

    Returns
    -------
    int
        A multiple of what one mid page covers.

    Notes
    -----
    xen_vmalloc_p2m_tree rounds entry bytes * xen_max_p2m_pfn up to PMD_SIZE * PMDS_PER_MID_PAGE, which is
    one mid page's worth of list at either width: 1 GiB or 4 GiB of guest.
    """
    above_mask(guest.geometry, above)  # refuses what is no policy
    ends = guest.runs.end_pfn[(guest.runs.kind != Kind.IDENTITY) | (above == "invalid")]
    return round_up(max(int(ends[-1]), guest.n_boot_pages, limit_pages), guest.geometry.mid_frames)


def check_guest(name: str, family: str, guest: Guest) -> None:
    """Refuse a guest that has no PV p2m.

    Parameters
    ----------
    name, family : str
        Of the design that it is to be built for.
    guest : Guest
        Which guest.

    Raises
    ------
    BadInputError
        For a guest of another geometry.
    """
    if guest.geometry.name not in find_family(family).geometries:
        raise BadInputError(
            f"{name} is for PV guests, and {guest.name} is one of geometry {guest.geometry.name}: take "
            'Guest.plain(size, geometry="pv64")'
        )


def limit_pages(limit: str | int | None) -> int:
    """Pages below a hotplug limit: a size such as 512G, or bytes; 0 for none."""
    if limit is None or (isinstance(limit, int) and limit == 0):
        return 0
    return parse_pages(limit)
