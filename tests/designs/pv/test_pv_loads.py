"""What a lookup of a PV design loads: how many words, of which pages, on which path."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from design_names import PV_DESIGNS, PvName

from p2mperf.units import PAGE_SIZE

# dom0-64-e820. Leaf 514 (pfn 263168) is half INVALID, half identity; 515-999 identity; from 1001 on empty.
# For the tree all empty leaves are the missing one; for the list they are private up to 2021, as ballooning
# may fill them, and 2022-2047 are missing.
LOADS_64 = {
    # kind of frame: pfn, loads of the tree, loads of the list
    "RAM": (1000, 3, 1),
    "identity in a private leaf": (263424, 3, 1),
    "identity in a shared leaf": (400000, 2, 1 + 4),
    "INVALID in a private leaf": (263423, 3, 1 + 4 + 1),
    "INVALID in a missing leaf": (1036000, 3, 1 + 4 + 1),
    "above the map": (2**27, 0, 0),
}

# 32 bit: leaf 257 (263168 = 257 * 1024) is the half one; the list's private leaves end before leaf 1011,
# and 1036000 / 1024 = 1011.7.
LOADS_32 = {
    "RAM": (1000, 3, 1),
    "identity in a private leaf": (263424, 3, 1),
    "identity in a shared leaf": (400000, 2, 1 + 3),
    "INVALID in a private leaf": (263423, 3, 1 + 3 + 1),
    "INVALID in a missing leaf": (1036000, 3, 1 + 3 + 1),
    "above the map": (2**30, 0, 0),
}
LOADS = [(64, *case) for case in LOADS_64.items()] + [(32, *case) for case in LOADS_32.items()]


@pytest.mark.parametrize(("bits", "kind", "case"), LOADS)
def test_the_loads_of_a_lookup(built: Any, bits: int, kind: str, case: tuple[int, int, int]) -> None:
    pfn, n_tree, n_list = case
    guest = f"dom0-{bits}-e820"
    tree, linear = (built(design, guest).lookup_path(pfn) for design in PV_DESIGNS)
    assert (len(tree.steps), len(linear.steps)) == (n_tree, n_list)
    assert tree.entry == linear.entry
    nested = built("pv-linear-nested", guest).lookup_path(pfn)
    # Each level of page table read through the m2p costs an m2p load and the p2m load that verifies it.
    n_levels = (4 if bits == 64 else 3) if n_list > 1 else 0
    assert len(nested.steps) == n_list + 2 * n_levels
    assert nested.entry == tree.entry


def test_the_pages_that_a_tree_walk_reads(built: Any) -> None:
    p2m = built("pv-tree", "dom0-64-e820")
    # 263424 = 1 * 262144 + 2 * 512 + 256.
    steps = p2m.lookup_path(263424).steps
    assert [(s.level, s.view, s.index) for s in steps] == [
        ("top", "direct", 1),
        ("mid", "direct", 2),
        ("leaf", "direct", 256),
    ]
    # 400000 = 1 * 262144 + 269 * 512 + 128: the mid names the shared leaf, and that is enough.
    assert [(s.level, s.index) for s in p2m.lookup_path(400000).steps] == [("top", 1), ("mid", 269)]
    # Mid 100 is above the map: the shared mid of identity leaves. 100 * 262144 + 3 * 512 + 4.
    steps = p2m.lookup_path(100 * 262144 + 3 * 512 + 4).steps
    assert [(s.level, s.index) for s in steps] == [("top", 100), ("mid_shared", 3)]
    # Mid 2 is all balloonable: the shared mid of missing leaves, and the missing leaf itself.
    steps = p2m.lookup_path(2 * 262144 + 9 * 512 + 8).steps
    assert [(s.level, s.index) for s in steps] == [("top", 2), ("mid_shared", 9), ("leaf_shared", 8)]


def test_the_pages_that_the_slow_walk_reads(built: Any) -> None:
    p2m = built("pv-linear", "dom0-64-e820")
    # 400000: the window shows the identity leaf, index 400000 % 512 = 128. Then the page table of
    # 0xffffc90000000000 + 8 * 400000 = ...0030d400: bits 39-47 are 0xc90 << 44 >> 39 = 402, bits 30-38 are 0,
    # bits 21-29 are 1 (0x30d400 >> 21), bits 12-20 are 0x30d400 >> 12 & 511 = 781 - 512 = 269.
    expected = [
        ("leaf_shared", "window", 128),
        ("pgd", "direct", 402),
        ("pud", "direct", 0),
        ("pmd", "direct", 1),
        ("pte", "direct", 269),
    ]
    steps = p2m.lookup_path(400000).steps
    assert [(s.level, s.view, s.index) for s in steps] == expected
    # A missing frame is read once more. 1036000 = 3 * 262144 + 487 * 512 + 224.
    steps = p2m.lookup_path(1036000).steps
    assert [(s.level, s.index) for s in steps] == [
        ("leaf_shared", 224),
        ("pgd", 402),
        ("pud", 0),
        ("pmd", 3),
        ("pte", 487),
        ("leaf_shared", 224),
    ]


def test_the_slow_walk_of_a_32_bit_guest_has_three_levels(built: Any) -> None:
    # The area begins at 0xee000000 (0xc0000000 + 735 MiB, in steps of 4 MiB: 736). 400000 * 4 = 0x186a00.
    # Bits 30-31 are 3; bits 21-29 of 0xee186a00 are 0x2e000000 >> 21 = 368; bits 12-20 are 0x186 = 390.
    steps = built("pv-linear", "dom0-32-e820").lookup_path(400000).steps
    assert [(s.level, s.index) for s in steps[1:]] == [("pgd", 3), ("pmd", 368), ("pte", 390)]


def test_nested_reads_go_through_the_m2p_and_back(built: Any) -> None:
    p2m = built("pv-linear-nested", "dom0-64-e820")
    steps = p2m.lookup_path(400000).steps
    levels = [step.level for step in steps]
    through = [name for level in ("pgd", "pud", "pmd", "pte") for name in (level, "m2p", "leaf")]
    assert levels == ["leaf_shared", *through]
    words = p2m.m2p.words()
    for slot, m2p, p2m_step in zip(steps[1::3], steps[2::3], steps[3::3], strict=True):
        # The slot holds an mfn; the m2p entry of that mfn is a pfn; the p2m entry of that pfn is the mfn.
        mfn = int(p2m.pool.words(slot.frame, np.uint64)[slot.index]) >> 12
        pfn = (p2m_step.address - p2m.window.base) // 8
        assert m2p.address == p2m.m2p.base + 8 * mfn
        assert int(words[mfn]) == pfn
        assert p2m.lookup([pfn]).tolist() == [mfn]


@pytest.mark.parametrize("design", PV_DESIGNS)
def test_a_probe_notes_the_very_words_that_are_read(built: Any, design: PvName) -> None:
    p2m = built(design, "dom0-64-e820")
    for pfn in (1000, 263424, 400000, 1036000):
        found = p2m.lookup_path(pfn)
        assert found.entry == p2m.lookup([pfn])[0]
        *_, last = found.steps
        assert last.address % PAGE_SIZE == last.index * 8
