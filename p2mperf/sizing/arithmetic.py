"""What a list needs and what the kernel's address space has for it; nothing here is measured.

Notes
-----
Linux 3.19 arch/x86/xen/p2m.c (the list), arch/x86/mm/pgtable_32.c and asm/pgtable_32_types.h (the 32-bit
areas), Documentation/x86/x86_64/mm.txt (the 64-bit areas).
"""

from __future__ import annotations

from dataclasses import dataclass

from p2mperf.errors import BadInputError
from p2mperf.sizing.parameters import Parameters
from p2mperf.units import MIB, PAGE_SIZE, round_up

VMALLOC_GUARD_BYTES = 8 * MIB
VMALLOC_RESERVE_BYTES = 128 * MIB


def list_bytes(built: Parameters, guest_bytes: int) -> int:
    """Bytes of list for a guest: one entry a page.

    Parameters
    ----------
    built : Parameters
    guest_bytes : int
        Guest memory [bytes].

    Returns
    -------
    int
        Size [bytes].

    Examples
    --------
    >>> from p2mperf.sizing.parameters import parameters
    >>> list_bytes(parameters(entry_bits=32), 64 * 2**30) == 64 * 2**20
    True
    """
    return -(-guest_bytes // PAGE_SIZE) * built.shape.entry_bytes


def area_bytes(built: Parameters, guest_bytes: int) -> int:
    """Virtual area that the list needs, a whole number of granules.

    Parameters
    ----------
    built : Parameters
    guest_bytes : int
        Guest memory [bytes].

    Returns
    -------
    int
        Size [bytes]; for arm-vlpt counted from guest-physical address 0, as its accessor indexes.

    Notes
    -----
    Linux 3.19 xen_vmalloc_p2m_tree; with a hotplug limit (4.0 and later) the area is sized for that
    when the guest has less.

    Examples
    --------
    >>> from p2mperf.sizing.parameters import parameters
    >>> area_bytes(parameters(entry_bits=64), 2049 * 2**20) == 6 * 2**20
    True
    """
    covered = max(built.ram_base_bytes + guest_bytes, built.hotplug_limit_bytes)
    return round_up(list_bytes(built, covered), built.shape.granule_bytes)


def table_bytes(built: Parameters, guest_bytes: int) -> int:
    """Page tables that a guest takes whose memory begins at 0 and is all on 4 KiB.

    Parameters
    ----------
    built : Parameters
    guest_bytes : int
        Guest memory [bytes].

    Returns
    -------
    int
        Size [bytes].

    Examples
    --------
    >>> from p2mperf.sizing.parameters import parameters
    >>> table_bytes(parameters(design="hap-linear"), 4 * 2**30) // PAGE_SIZE
    2054
    """
    n_entries, n_pages = -(-guest_bytes // PAGE_SIZE), 0
    for _ in range(built.shape.home.n_levels):
        n_entries = -(-n_entries // built.shape.n_leaf_entries)
        n_pages += n_entries
    return n_pages * PAGE_SIZE


def pool_bytes(built: Parameters, guest_bytes: int) -> int:
    """What the toolstack gives a HAP domain with one virtual processor for page tables [bytes].

    Notes
    -----
    256 pages for each virtual processor, and one for each MiB of memory (libxl, xen/arch/x86/mm/hap/hap.c).
    """
    return (256 + -(-guest_bytes // MIB)) * PAGE_SIZE


def low_memory_bytes(built: Parameters) -> int:
    """Low memory that the split leaves beside the vmalloc reserve, guard included [bytes]."""
    reserve = VMALLOC_RESERVE_BYTES
    if built.vmalloc_bytes is not None:
        reserve = built.vmalloc_bytes + VMALLOC_GUARD_BYTES
    return max(0, built.kernel_bytes - reserve)


def low_memory_parts(built: Parameters, guest_bytes: int) -> dict[str, int]:
    """What a 32-bit guest's memory costs in low memory, by kind.

    Parameters
    ----------
    built : Parameters
    guest_bytes : int
        Guest memory [bytes].

    Returns
    -------
    dict of str to int
        Bytes of the mem_map, of the list itself (on 32 bits its pages stay where the domain builder put
        them) and of the page tables: per granule two pte pages and one page of the tools' tree, and
        7 pages whatever the size (4 shared ones, 3 for the tools).
    """
    whole_list = round_up(list_bytes(built, guest_bytes), PAGE_SIZE)
    n_granules = round_up(whole_list, built.shape.granule_bytes) // built.shape.granule_bytes
    return {
        "mem_map_bytes": -(-guest_bytes // PAGE_SIZE) * built.struct_page_bytes,
        "list_bytes": whole_list,
        "page_tables_bytes": (3 * n_granules + 7) * PAGE_SIZE,
    }


def vmalloc_bytes(built: Parameters, guest_bytes: int) -> int:
    """Room for the list in the vmalloc area.

    Parameters
    ----------
    built : Parameters
    guest_bytes : int
        Guest memory [bytes]; a 32-bit guest with less than the possible low memory has a larger area,
        because the area starts above the memory there is.

    Returns
    -------
    int
        Size [bytes], less the stated reserve for what else lives there.
    """
    if fixed_bytes := built.shape.home.fixed_vmalloc_bytes:
        return max(0, fixed_bytes - built.reserve_bytes)
    low = min(guest_bytes, low_memory_bytes(built))
    return max(0, built.kernel_bytes - low - VMALLOC_GUARD_BYTES - built.reserve_bytes)


@dataclass(frozen=True)
class Region:
    """One named stretch of the 32-bit address space, [start_bytes, end_bytes)."""

    name: str
    start_bytes: int
    end_bytes: int


def address_space(built: Parameters, guest_bytes: int) -> tuple[Region, ...]:
    """What stands where in a 32-bit guest kernel's address space.

    Parameters
    ----------
    built : Parameters
        Of 32-bit entries.
    guest_bytes : int
        Guest memory [bytes].

    Returns
    -------
    tuple of Region
        In address order and without gaps from 0 to 4 GiB; the list's area ends early when it has no room.

    Raises
    ------
    BadInputError
        For any other geometry: only the 32-bit space is small enough to be mapped to scale.
    """
    if not built.shape.has_low_memory:
        raise BadInputError(f"{built.geometry} has no 32-bit address space to show: use 32-bit entries")
    low = min(guest_bytes, low_memory_bytes(built))
    guard = min(VMALLOC_GUARD_BYTES, built.kernel_bytes - low)
    list_area = min(area_bytes(built, guest_bytes), vmalloc_bytes(built, guest_bytes))
    sizes = {
        "user": built.page_offset_bytes,
        "low memory": low,
        "guard": guard,
        "linear list": list_area,
        "rest of vmalloc": built.kernel_bytes - low - guard - list_area,
        "fixmap and pkmap": built.fixmap_bytes,
        "Xen": built.hole_bytes,
    }
    regions, start = [], 0
    for name, size in sizes.items():
        regions.append(Region(name, start, start + size))
        start += size
    return tuple(regions)
