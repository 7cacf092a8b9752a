"""How the write path of each PV design finds a leaf, and tells shared ones apart.

The counterpart of the walks, for those who will change an entry: lookup_address and the pointer compares of
__set_phys_to_machine in arch/x86/xen/p2m.c (3.18 for the tree, 3.19 for the list).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from p2mperf.designs.pv.write_kernels import IDENTITY, MISSING, locate_leaf
from p2mperf.jit import instance_class, walk_overload
from p2mperf.memory.raw import load_element32, load_element64, unlikely
from p2mperf.units import PAGE_SHIFT, PAGE_SIZE


class _WriteTree(NamedTuple):
    """What a write to the tree needs.

    Attributes
    ----------
    top : uint64
        Address of p2m_top.
    missing_leaf, identity_leaf : uint64
        Slot values of the shared leaves.
    base : uint64
        Added to a slot to make an address.
    """

    top: np.uint64
    missing_leaf: np.uint64
    identity_leaf: np.uint64
    base: np.uint64


class WriteTree64(_WriteTree):
    """The 64-bit tree: slots of 8 bytes."""


class WriteTree32(_WriteTree):
    """The 32-bit tree: slots of 4 bytes."""


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


# index bits, load of a slot
_TREES: dict[Any, Any] = {WriteTree64: (9, load_element64), WriteTree32: (10, load_element32)}
# log2 of an entry's bytes, levels above the page-table entries, load of an entry
_LISTS: dict[Any, Any] = {WriteLinear64: (3, 3, load_element64), WriteLinear32: (2, 2, load_element32)}
_PAGE_SHIFT = np.uint64(PAGE_SHIFT)
_PAGE_MASK = np.uint64((1 << 64) - PAGE_SIZE)
_SLOT_MASK = np.uint64(511)
_LEVEL_BITS = np.uint64(9)


@walk_overload(locate_leaf)
def _locate_in_tree(tables, pfn):  # type: ignore[no-untyped-def]
    if instance_class(tables) not in _TREES:
        return None
    bits, load = _TREES[instance_class(tables)]
    based = instance_class(tables) is WriteTree32
    mid_shift, top_shift = np.uint64(bits), np.uint64(2 * bits)
    mask = np.uint64((1 << bits) - 1)

    def locate(tables, pfn):  # type: ignore[no-untyped-def]
        mid = load(tables.top, pfn >> top_shift)
        if based:
            mid += tables.base
        leaf = load(mid, (pfn >> mid_shift) & mask)
        if unlikely(leaf == tables.missing_leaf):
            return MISSING
        if unlikely(leaf == tables.identity_leaf):
            return IDENTITY
        return leaf + tables.base if based else leaf

    return locate


@walk_overload(locate_leaf)
def _locate_in_list(tables, pfn):  # type: ignore[no-untyped-def]
    if instance_class(tables) not in _LISTS:
        return None
    entry_shift, n_upper, load = _LISTS[instance_class(tables)]
    size = np.uint64(entry_shift)
    invalid = np.uint64((1 << (8 << entry_shift)) - 1)
    first_shift = np.uint64(PAGE_SHIFT + 9 * n_upper)

    def locate(tables, pfn):  # type: ignore[no-untyped-def]
        shown = (tables.list + (pfn << size)) & _PAGE_MASK
        # Shared leaves read INVALID throughout: any other value proves the leaf private, without a walk.
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
