"""Compiled: the walk of the linear p2m list, and how a write finds the leaf.

lookup_address and the pointer compares of __set_phys_to_machine in arch/x86/xen/p2m.c (3.19).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np

from p2mperf.designs.pv.entry_kernels import IDENTITY, MISSING, locate_leaf
from p2mperf.jit import instance_class, types, walk_overload
from p2mperf.memory.raw import (
    Load,
    LoadElement,
    Probe,
    load32,
    load64,
    load_element32,
    load_element64,
    unlikely,
)
from p2mperf.tables.walk import State, Walk, walk
from p2mperf.units import PAGE_SHIFT, PAGE_SIZE


class _Linear(NamedTuple):
    """What a walk of the list needs; addresses are this process' own.

    Attributes
    ----------
    list : uint64
        Address of entry 0 in the window.
    size : uint64
        xen_p2m_size, equal to xen_max_p2m_pfn once the area exists: entries of the area.
    above : uint64
        OR-ed to a pfn above: the identity bit, or all ones.
    area : uint64
        Kernel virtual address of entry 0, which the software walk takes its indices from.
    root : uint64
        Address of the page table's root page.
    identity_leaf : uint64
        Page address of p2m_identity as it stands in a page-table entry.
    base : uint64
        Added to a page address of a page-table entry to make an address of this process.
    m2p : uint64
        Address of the machine-to-physical table; 0 where no walk reads it.
    """

    list: np.uint64
    size: np.uint64
    above: np.uint64
    area: np.uint64
    root: np.uint64
    identity_leaf: np.uint64
    base: np.uint64
    m2p: np.uint64


ListKind = TypeVar("ListKind", bound=_Linear)


class Linear64(_Linear):
    """The list of a 64-bit guest: entries of 8 bytes, a page table of 4 levels."""


class Linear32(_Linear):
    """The list of a 32-bit PAE guest: entries of 4 bytes, a page table of 3 levels."""


class LinearNested64(_Linear):
    """As `Linear64`, its page table holding machine frames as PV page tables do."""


class LinearNested32(_Linear):
    """As `Linear32`, its page table holding machine frames as PV page tables do."""


# log2 of the entry bytes, identity bit, levels above the PTEs, load of an entry
_WALKS: dict[type | None, tuple[int, int, int, Load]] = {
    Linear64: (3, 62, 3, load64),
    Linear32: (2, 30, 2, load32),
    LinearNested64: (3, 62, 3, load64),
    LinearNested32: (2, 30, 2, load32),
}
_NESTED = (LinearNested64, LinearNested32)
_PAGE_MASK = np.uint64((1 << 64) - PAGE_SIZE)
_PAGE_SHIFT = np.uint64(PAGE_SHIFT)
_SLOT_MASK = np.uint64(511)
_THREE = np.uint64(3)
_LEVEL_BITS = np.uint64(9)


@walk_overload(walk)
def _walk_linear(tables: types.Type, state: types.Type, probe: types.Type, pfn: types.Type) -> Walk | None:
    if instance_class(tables) not in _WALKS:
        return None
    entry_shift, _, _, load = _WALKS[instance_class(tables)]
    invalid = np.uint64((1 << (8 << entry_shift)) - 1)

    def pfn_to_mfn(tables: _Linear, state: State, probe: Probe, pfn: np.uint64) -> tuple[np.uint64, State]:
        # Without `unlikely` here and below, lookups that overlap took 2 % longer in the first-level cache.
        if unlikely(pfn >= tables.size):
            return pfn | tables.above, state
        entry = load(probe, tables.list, pfn)
        # Only what reads INVALID is asked further: RAM takes one load, and no look at the page table.
        if unlikely(entry == invalid):
            return get_phys_to_machine(tables, probe, pfn), state
        return entry, state

    return pfn_to_mfn


def get_phys_to_machine(tables: _Linear, probe: Probe, pfn: np.uint64) -> np.uint64:
    """Tell a hole from identity by walking the area's page table in software; compiled code only.

    Parameters
    ----------
    tables, probe, pfn
        As `p2mperf.tables.walk.walk`.

    Returns
    -------
    uint64
        Raw entry.
    """
    raise NotImplementedError("get_phys_to_machine is for compiled code")


@walk_overload(get_phys_to_machine)
def _slow_walk(
    tables: types.Type, probe: types.Type, pfn: types.Type
) -> Callable[[_Linear, Probe, np.uint64], np.uint64]:
    entry_shift, identity_shift, n_upper, load = _WALKS[instance_class(tables)]
    size = np.uint64(entry_shift)
    identity = np.uint64(1 << identity_shift)
    first_shift = np.uint64(PAGE_SHIFT + 9 * n_upper)

    def lookup_address(tables: _Linear, probe: Probe, pfn: np.uint64) -> np.uint64:
        address = tables.area + (pfn << size)
        table, shift = tables.root, first_shift
        # LLVM knows how often and unrolls it: each shift is a constant of its own.
        for _ in range(n_upper):
            # Of 8 bytes at either width: a PAE page table has such slots as well, and one level less of them.
            slot = load64(probe, table + (((address >> shift) & _SLOT_MASK) << _THREE))
            table = page_address(tables, probe, slot)
            shift -= _LEVEL_BITS
        pte = load64(probe, table + (((address >> _PAGE_SHIFT) & _SLOT_MASK) << _THREE))
        # The leaf is compared, and not the entry that names it: a mid that is shared as a whole ends in the
        # same page.
        if page_address(tables, probe, pte) == tables.identity_leaf:
            return pfn | identity
        # Read again, as in get_phys_to_machine of 3.19, which is given the pfn and not what was read.
        return load(probe, tables.list + (pfn << size))

    return lookup_address


def page_address(tables: _Linear, probe: Probe, slot: np.uint64) -> np.uint64:
    """Find the page that a page-table entry points to; compiled code only.

    Parameters
    ----------
    tables, probe
        As `p2mperf.tables.walk.walk`.
    slot : uint64
        The entry.

    Returns
    -------
    uint64
        Address in this process.
    """
    raise NotImplementedError("page_address is for compiled code")


@walk_overload(page_address)
def _page_address(
    tables: types.Type, probe: types.Type, slot: types.Type
) -> Callable[[_Linear, Probe, np.uint64], np.uint64]:
    entry_shift, _, _, load = _WALKS[instance_class(tables)]
    size = np.uint64(entry_shift)
    if instance_class(tables) not in _NESTED:
        return lambda tables, probe, slot: (slot & _PAGE_MASK) + tables.base

    def pte_mfn_to_pfn(tables: _Linear, probe: Probe, slot: np.uint64) -> np.uint64:
        # pgd_val and its kin: the m2p names a pfn, and the p2m must agree that it has this mfn.
        mfn = slot >> _PAGE_SHIFT
        pfn = load(probe, tables.m2p + (mfn << size))
        owned = load(probe, tables.list + (pfn << size)) == mfn
        # From an mfn that is not ours the kernel takes the present bit (arch/x86/xen/mmu.c, 3.19); here it is
        # the root instead, a page that can be read.
        return (pfn << _PAGE_SHIFT) + tables.base if owned else tables.root

    return pte_mfn_to_pfn


class _WriteLinear(NamedTuple):
    """What a write to the list needs.

    Attributes
    ----------
    list : uint64
        Address of entry 0 in the window.
    area : uint64
        Kernel virtual address of entry 0, which the software walk takes its indices from.
    root : uint64
        Address of the page table's root page.
    missing_leaf, identity_leaf : uint64
        Page addresses of the shared leaves as they stand in page-table entries.
    base : uint64
        Added to a page address of a page-table entry to make an address of this process.
    """

    list: np.uint64
    area: np.uint64
    root: np.uint64
    missing_leaf: np.uint64
    identity_leaf: np.uint64
    base: np.uint64


class WriteLinear64(_WriteLinear):
    """The list of a 64-bit guest."""


class WriteLinear32(_WriteLinear):
    """The list of a 32-bit PAE guest."""


# log2 of an entry's bytes, levels above the page-table entries, load of an entry
_LISTS: dict[type | None, tuple[int, int, LoadElement]] = {
    WriteLinear64: (3, 3, load_element64),
    WriteLinear32: (2, 2, load_element32),
}


@walk_overload(locate_leaf)
def _locate_in_list(
    tables: types.Type, pfn: types.Type
) -> Callable[[_WriteLinear, np.uint64], np.uint64] | None:
    if instance_class(tables) not in _LISTS:
        return None
    entry_shift, n_upper, load = _LISTS[instance_class(tables)]
    size = np.uint64(entry_shift)
    invalid = np.uint64((1 << (8 << entry_shift)) - 1)
    first_shift = np.uint64(PAGE_SHIFT + 9 * n_upper)

    def locate(tables: _WriteLinear, pfn: np.uint64) -> np.uint64:
        shown = (tables.list + (pfn << size)) & _PAGE_MASK
        # Shared leaves read INVALID throughout: any other value proves the leaf private, without a walk. The
        # kernel stores at once, and walks when that faults, as shared leaves are read-only since
        # 2e917175e1ef; compiled code that faults ends its process. To walk at every write took as long, in a
        # guest of 512 MB whose page table is in caches.
        if load(tables.list, pfn) != invalid:
            return shown
        address = tables.area + (pfn << size)
        table, shift = tables.root, first_shift
        for _ in range(n_upper):
            slot = load_element64(table, (address >> shift) & _SLOT_MASK)
            table = (slot & _PAGE_MASK) + tables.base
            shift -= _LEVEL_BITS
        page = load_element64(table, (address >> _PAGE_SHIFT) & _SLOT_MASK) & _PAGE_MASK
        if page == tables.missing_leaf:
            return MISSING
        if page == tables.identity_leaf:
            return IDENTITY
        return shown

    return locate
