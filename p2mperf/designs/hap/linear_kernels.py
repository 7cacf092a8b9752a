"""The "current" lookup, compiled: the p2m of the running guest shows in virtual windows, one for each level.

gfn_to_mfn_current of xen/include/asm-x86/p2m.h and xen/arch/x86/mm/p2m.c (3.3 to 4.2; the window of L3 since
4.1). The order matters: under a superpage the windows below do not fault but show the guest's own memory.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from p2mperf.designs.hap.entry_kernels import LEAF, PRESENT, ZERO, inlined, small_entry
from p2mperf.designs.hap.walk_kernels import EIGHTEEN, MASK, MASK_10, MASK_18, NINE, TEN
from p2mperf.jit import instance_class, types, walk_overload
from p2mperf.memory.raw import Probe, load32, load64, unlikely
from p2mperf.tables.walk import State, Walk, walk


# A class for each format, for the reason that `p2mperf.designs.hap.walk_kernels` has.
class LinearTables64(NamedTuple):
    """What a lookup through three windows needs.

    Attributes
    ----------
    l1, l2, l3 : uint64
        Addresses of the entry of frame 0 in each window.
    max_mapped : uint64
        The highest guest frame that was ever mapped: above it nothing is read.
    """

    l1: np.uint64
    l2: np.uint64
    l3: np.uint64
    max_mapped: np.uint64


class LinearTablesPae(NamedTuple):
    """What a lookup through two windows needs; fields as in `LinearTables64`."""

    l1: np.uint64
    l2: np.uint64
    max_mapped: np.uint64


class LinearTablesNonPae(NamedTuple):
    """What a lookup through two windows of entries of 4 bytes needs; fields as in `LinearTables64`."""

    l1: np.uint64
    l2: np.uint64
    max_mapped: np.uint64


# What is not present in one window is looked for in the next, as in Xen: there nothing will be, either.
# It is the cheaper way, too: to look first whether L2's entry is present made lookups on 4 KiB take 0.82 ns
# instead of 0.73, and on 2 MiB 1.12 instead of 1.05.
@inlined
def _last_two_windows(l2: np.uint64, l1: np.uint64, probe: Probe, pfn: np.uint64) -> np.uint64:
    """Look on in the windows of L2 and L1 with entries of 8 bytes.

    Parameters
    ----------
    l2, l1 : uint64
        As `LinearTables64` has them.
    probe
        As `p2mperf.memory.raw.load64`.
    pfn : uint64
        Frame.
    """
    # Not `unlikely`, nor the other way round: how many lookups end here is the guest's to say.
    entry = load64(probe, l2, pfn >> NINE)
    # Both bits: in Xen an entry of populate-on-demand says superpage and is not present.
    if entry & LEAF == LEAF:
        return small_entry(entry, pfn, MASK)
    # In this window bit 7 is PAT: what counts is whether there is an entry at all.
    entry = load64(probe, l1, pfn)
    if unlikely(entry & PRESENT == ZERO):
        return ZERO
    return entry


def _look_up_64(
    tables: LinearTables64, state: State, probe: Probe, pfn: np.uint64
) -> tuple[np.uint64, State]:
    if unlikely(pfn > tables.max_mapped):
        return ZERO, state
    entry = load64(probe, tables.l3, pfn >> EIGHTEEN)
    if entry & LEAF == LEAF:
        return small_entry(entry, pfn, MASK_18), state
    return _last_two_windows(tables.l2, tables.l1, probe, pfn), state


def _look_up_pae(
    tables: LinearTablesPae, state: State, probe: Probe, pfn: np.uint64
) -> tuple[np.uint64, State]:
    if unlikely(pfn > tables.max_mapped):
        return ZERO, state
    # L3 of PAE is in no window, and none of its entries is a superpage.
    return _last_two_windows(tables.l2, tables.l1, probe, pfn), state


def _look_up_non_pae(
    tables: LinearTablesNonPae, state: State, probe: Probe, pfn: np.uint64
) -> tuple[np.uint64, State]:
    if unlikely(pfn > tables.max_mapped):
        return ZERO, state
    entry = load32(probe, tables.l2, pfn >> TEN)
    if entry & LEAF == LEAF:
        return small_entry(entry, pfn, MASK_10), state
    entry = load32(probe, tables.l1, pfn)
    if unlikely(entry & PRESENT == ZERO):
        return ZERO, state
    return entry, state


_LOOKUPS: dict[type | None, Walk] = {
    LinearTables64: _look_up_64,
    LinearTablesPae: _look_up_pae,
    LinearTablesNonPae: _look_up_non_pae,
}


@walk_overload(walk)
def _choose(tables: types.Type, state: types.Type, probe: types.Type, pfn: types.Type) -> Walk | None:
    return _LOOKUPS.get(instance_class(tables))
