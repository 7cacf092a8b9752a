"""The "foreign" lookup, compiled: Xen walks the p2m in software, one read a level, and heeds superpages.

p2m_gfn_to_mfn of xen/arch/x86/mm/p2m.c (3.3; superpages of 1 GiB since 4.1): at most 4 reads for a frame on
4 KiB, 3 on 2 MiB and 2 on 1 GiB.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from p2mperf.designs.hap.entry_kernels import ADDRESS, PRESENT, SUPERPAGE, ZERO, inlined, small_entry
from p2mperf.jit import instance_class, types, walk_overload
from p2mperf.memory.raw import Probe, load32, load64, unlikely
from p2mperf.tables.walk import State, Walk, walk


# A class for each format, as numba compiles by type: no walk asks at run time how many levels there are.
class WalkTables64(NamedTuple):
    """What a walk of four levels needs; addresses are this process' own.

    Attributes
    ----------
    root : uint64
        Address of the root.
    base : uint64
        Added to a machine address to make an address of this process.
    max_mapped : uint64
        The highest guest frame that was ever mapped: above it nothing is read.
    """

    root: np.uint64
    base: np.uint64
    max_mapped: np.uint64


class WalkTablesPae(NamedTuple):
    """What a walk of three levels needs; fields as in `WalkTables64`."""

    root: np.uint64
    base: np.uint64
    max_mapped: np.uint64


class WalkTablesNonPae(NamedTuple):
    """What a walk of two levels with entries of 4 bytes needs; fields as in `WalkTables64`."""

    root: np.uint64
    base: np.uint64
    max_mapped: np.uint64


THREE, NINE, TEN, EIGHTEEN, ROOT_SHIFT = (np.uint64(n) for n in (3, 9, 10, 18, 27))
MASK, MASK_10, MASK_18 = (np.uint64((1 << n) - 1) for n in (9, 10, 18))


@inlined
def _below(base: np.uint64, entry: np.uint64, index: np.uint64) -> np.uint64:
    """Address of an entry of 8 bytes in the table that a pointer leads to."""
    # What does not wait for the pointer is added first. A load at its sum with a scaled index, as for tables
    # whose addresses are at hand, made a lookup on 4 KiB wait 8.5 ns instead of 7.1, and one on 2 MiB 6.0
    # instead of 5.0.
    return (entry & ADDRESS) + (base + (index << THREE))


@inlined
def _last_two_levels(base: np.uint64, probe: Probe, entry: np.uint64, pfn: np.uint64) -> np.uint64:
    """Walk on through L2 and L1 of entries of 8 bytes.

    Parameters
    ----------
    base : uint64
        As `WalkTables64.base`.
    probe
        As `p2mperf.memory.raw.load64`.
    entry : uint64
        Pointer to the L2 table.
    pfn : uint64
        Frame.
    """
    entry = load64(probe, _below(base, entry, (pfn >> NINE) & MASK))
    # Nothing is said of superpages, which are as many as the guest has, and to call them unlikely gained
    # nothing. Without it for holes lookups on 4 KiB that wait for each other took 8.0 ns instead of 7.2, and
    # those that do not 1.70 instead of 1.45.
    if unlikely(entry & PRESENT == ZERO):
        return ZERO
    if entry & SUPERPAGE:
        return small_entry(entry, pfn, MASK)
    # Bit 7 is not looked at down there: in L1 it is PAT.
    entry = load64(probe, _below(base, entry, pfn & MASK))
    if unlikely(entry & PRESENT == ZERO):
        return ZERO
    return entry


def _walk_64(tables: WalkTables64, state: State, probe: Probe, pfn: np.uint64) -> tuple[np.uint64, State]:
    if unlikely(pfn > tables.max_mapped):
        return ZERO, state
    # No mask, where Xen has one (l4_table_offset): no frame up to the highest mapped is beyond the root's
    # entries, and with it lookups that wait for each other took 7.4 ns instead of 7.1.
    entry = load64(probe, tables.root, pfn >> ROOT_SHIFT)
    if unlikely(entry & PRESENT == ZERO):
        return ZERO, state
    entry = load64(probe, _below(tables.base, entry, (pfn >> EIGHTEEN) & MASK))
    if unlikely(entry & PRESENT == ZERO):
        return ZERO, state
    if entry & SUPERPAGE:
        return small_entry(entry, pfn, MASK_18), state
    return _last_two_levels(tables.base, probe, entry, pfn), state


def _walk_pae(tables: WalkTablesPae, state: State, probe: Probe, pfn: np.uint64) -> tuple[np.uint64, State]:
    if unlikely(pfn > tables.max_mapped):
        return ZERO, state
    entry = load64(probe, tables.root, pfn >> EIGHTEEN)
    if unlikely(entry & PRESENT == ZERO):
        return ZERO, state
    # A PAE entry of L3 cannot say superpage: the processor has no such bit there.
    return _last_two_levels(tables.base, probe, entry, pfn), state


# Entries of 4 bytes take another load, and another mask: it has no part in common with those above.
def _walk_non_pae(
    tables: WalkTablesNonPae, state: State, probe: Probe, pfn: np.uint64
) -> tuple[np.uint64, State]:
    if unlikely(pfn > tables.max_mapped):
        return ZERO, state
    entry = load32(probe, tables.root, pfn >> TEN)
    if unlikely(entry & PRESENT == ZERO):
        return ZERO, state
    if entry & SUPERPAGE:
        return small_entry(entry, pfn, MASK_10), state
    entry = load32(probe, (entry & ADDRESS) + tables.base, pfn & MASK_10)
    if unlikely(entry & PRESENT == ZERO):
        return ZERO, state
    return entry, state


_WALKS: dict[type | None, Walk] = {
    WalkTables64: _walk_64,
    WalkTablesPae: _walk_pae,
    WalkTablesNonPae: _walk_non_pae,
}


@walk_overload(walk)
def _choose(tables: types.Type, state: types.Type, probe: types.Type, pfn: types.Type) -> Walk | None:
    return _WALKS.get(instance_class(tables))
