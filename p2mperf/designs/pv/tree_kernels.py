"""Compiled: the walk of Linux' three-level p2m tree, and how a write finds the leaf.

Two pointers and an entry are loaded one after the other; a leaf pointer that equals the shared identity
page means identity, whatever stands in that page (arch/x86/xen/p2m.c, 3.18).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

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


class Tree64(NamedTuple):
    """What a walk of the 64-bit tree needs; addresses are this process' own.

    Attributes
    ----------
    top : uint64
        Address of p2m_top.
    identity_leaf : uint64
        Slot value of p2m_identity.
    max_pfn : uint64
        MAX_P2M_PFN: what lies above is answered without a load.
    above : uint64
        OR-ed to a pfn above: the identity bit, or all ones.
    base : uint64
        Added to a slot to make an address: 0.
    """

    top: np.uint64
    identity_leaf: np.uint64
    max_pfn: np.uint64
    above: np.uint64
    base: np.uint64


class Tree32(NamedTuple):
    """As `Tree64`, with 4-byte slots that hold offsets from `base`."""

    top: np.uint64
    identity_leaf: np.uint64
    max_pfn: np.uint64
    above: np.uint64
    base: np.uint64


# leaf index bits, identity bit, load of a slot
_WALKS: dict[type | None, tuple[int, int, Load]] = {Tree64: (9, 62, load64), Tree32: (10, 30, load32)}


@walk_overload(walk)
def _walk_tree(tables: types.Type, state: types.Type, probe: types.Type, pfn: types.Type) -> Walk | None:
    if instance_class(tables) not in _WALKS:
        return None
    bits, identity_shift, load = _WALKS[instance_class(tables)]
    based = instance_class(tables) is Tree32
    mid_shift, top_shift = np.uint64(bits), np.uint64(2 * bits)
    mask, identity = np.uint64((1 << bits) - 1), np.uint64(1 << identity_shift)

    def get_phys_to_machine(
        tables: Tree64 | Tree32, state: State, probe: Probe, pfn: np.uint64
    ) -> tuple[np.uint64, State]:
        # Without `unlikely` here and below, lookups that overlap took 14 % longer in the first-level cache.
        if unlikely(pfn >= tables.max_pfn):
            return pfn | tables.above, state
        # No mask, as what is above is answered already; and no look at shared mids, whose slots name the
        # shared leaves (p2m_mid_missing and p2m_mid_identity).
        mid = load(probe, tables.top, pfn >> top_shift)
        # `based` is known when this is compiled. Added always, a base of 0 would be one more instruction
        # between two loads of a 64-bit tree, each of which waits for the one before: 11 % of a lookup in the
        # first-level cache, and 25 % of one that overlaps with others.
        if based:
            mid += tables.base
        leaf = load(probe, mid, (pfn >> mid_shift) & mask)
        # By pointer, not by content: tools read this page as all INVALID.
        if unlikely(leaf == tables.identity_leaf):
            return pfn | identity, state
        if based:
            leaf += tables.base
        return load(probe, leaf, pfn & mask), state

    return get_phys_to_machine


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


# index bits, load of a slot
_TREES: dict[type | None, tuple[int, LoadElement]] = {
    WriteTree64: (9, load_element64),
    WriteTree32: (10, load_element32),
}


@walk_overload(locate_leaf)
def _locate_in_tree(
    tables: types.Type, pfn: types.Type
) -> Callable[[_WriteTree, np.uint64], np.uint64] | None:
    if instance_class(tables) not in _TREES:
        return None
    bits, load = _TREES[instance_class(tables)]
    based = instance_class(tables) is WriteTree32
    mid_shift, top_shift = np.uint64(bits), np.uint64(2 * bits)
    mask = np.uint64((1 << bits) - 1)

    def locate(tables: _WriteTree, pfn: np.uint64) -> np.uint64:
        # No look at the end of the tree: who writes has compared with `EntryFormat.end` before.
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
