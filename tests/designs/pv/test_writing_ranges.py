"""Ranges: room up to a limit, balloonable memory, identity that is shared where it can be."""

from __future__ import annotations

import pytest
from design_names import PV_DESIGNS, PvName
from naive import LEAF_PAGES
from small_guests import build, oracle_of, small_guest

import p2mperf
from p2mperf.guests.guest import Guest

both = pytest.mark.parametrize("design", PV_DESIGNS)
widths = pytest.mark.parametrize("bits", [64, 32])


def test_the_limit_makes_the_area_larger() -> None:
    # Without a limit 8 GiB take an area of 8 mids, 8 * 512 pages; up to 512 GiB 1 GiB = 512 * 512 pages.
    guest = Guest.plain("8G")
    with p2mperf.build("pv-linear", guest) as p2m:
        assert (p2m.end_pfn, p2m.window.n_pages) == (2**21, 8 * 512)
        assert not p2m.set([2**21], 1).any()
    with p2mperf.build("pv-linear", guest, limit="512G") as p2m:
        assert (p2m.end_pfn, p2m.window.n_pages << 12) == (2**27, 2**30)
        assert p2m.set([2**21], 1 | 1 << 63).all()
        p2m.audit()


def test_the_hidden_cost_of_balloonable_memory() -> None:
    # 64 GiB that can be ballooned up to are 32768 leaves of 2 MiB: pages of their own in a list, whose extra
    # memory is made INVALID at boot, and one shared page in a tree. Boot memory of 7 GiB, 3584 leaves, allows
    # ten times as much.
    guest = Guest.from_e820([(0, "71G", "ram")], "7G", "71G")
    with p2mperf.build("pv-linear", guest) as p2m:
        assert p2m.n_extra_leaves == 32768
        assert p2m.footprint().pages["leaf"] == 32768 + 3584
    with p2mperf.build("pv-tree", guest) as p2m:
        assert p2m.n_extra_leaves == 0
        assert p2m.footprint().pages["leaf"] == 3584


@pytest.mark.parametrize("preset", ["dom0-64-e820", "dom0-32-e820"])
def test_invalidating_extra_memory_leads_to_what_is_built(preset: str) -> None:
    with (
        p2mperf.build("pv-linear", preset) as built,
        p2mperf.build("pv-linear", preset, invalidated=False) as p2m,
    ):
        assert p2m.footprint().pages["leaf"] < built.footprint().pages["leaf"]
        assert p2m.invalidate_extra_memory()
        p2m.audit()
        assert p2m.dump() == built.dump()
        kinds = ("leaf", "pte")
        assert [p2m.footprint().pages[k] for k in kinds] == [built.footprint().pages[k] for k in kinds]


@widths
def test_identity_of_a_range_shares_what_it_can_in_a_tree(bits: int) -> None:
    # From one frame into leaf 12 of the missing ones to one frame short of the end of leaf 18: two private
    # leaves at the edges, five shared ones between; a list needs all seven.
    leaf = LEAF_PAGES[bits]
    first, end = 12 * leaf + 1, 19 * leaf - 1
    n_leaves_of: dict[PvName, int] = {"pv-tree": 2, "pv-linear": 7}
    for design, n_leaves in n_leaves_of.items():
        with build(design, bits) as p2m:
            assert p2m.set_identity(first, end - first) == end - first
            assert p2m.n_breaks == {"leaf": n_leaves, "mid": 0}
            asked = [first - 1, first, end - 1, end]
            identity, invalid = p2m.guest.geometry.identity_bit, p2m.guest.geometry.invalid
            assert p2m.lookup(asked).tolist() == [invalid, first | identity, (end - 1) | identity, invalid]
            p2m.audit()


@widths
def test_identity_of_a_whole_mid_is_one_slot_in_a_tree(bits: int) -> None:
    leaf = LEAF_PAGES[bits]
    with build("pv-tree", bits, n_spare=0) as p2m:
        mid = leaf * leaf
        assert p2m.set_identity(2 * mid, mid) == mid
        assert p2m.lookup([2 * mid, 3 * mid - 1]).tolist() == [
            pfn | p2m.guest.geometry.identity_bit for pfn in (2 * mid, 3 * mid - 1)
        ]
        p2m.audit()


@both
@widths
def test_boot_of_the_small_guest_is_what_the_oracle_says(design: PvName, bits: int) -> None:
    guest = small_guest(bits)
    oracle = oracle_of(guest)
    pfns = [pfn for pfn in oracle.boundaries() if pfn < 2**32]
    with p2mperf.build(design, guest) as p2m:
        assert p2m.lookup(pfns).tolist() == [oracle.entry(pfn) for pfn in pfns]
