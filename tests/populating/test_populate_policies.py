"""Policies of the domain builder give what plain ones give, and memory lies where it must."""

from __future__ import annotations

import naive_populating as naive
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from populated_guests import MODES, counts, rows_of

from p2mperf.populating.heap import MachineHeap
from p2mperf.populating.populate import Populated, populate
from p2mperf.units import PAGE_SIZE

# ---- the policies against plain ones ----


def plain_host(found: Populated) -> naive.NaiveHost:
    """A heap of lists, broken in the same places."""
    heap = naive.NaiveHeap(found.machine.n_frames)
    real = MachineHeap(found.machine, found.fragmentation)
    taken = np.ones(found.machine.n_frames, bool)
    for mfn, order in real.free_blocks():
        taken[mfn : mfn + (1 << order)] = False
    for place in np.flatnonzero(taken).tolist():
        heap.take_at(place)
    assert heap.free_blocks() == real.free_blocks()
    return naive.NaiveHost(heap)


def check_against(host: naive.NaiveHost, found: Populated, orders: list[int]) -> None:
    assert rows_of(found.extents) == host.leaves(orders)
    taken = [order for _, _, order in host.extents]
    for order in (0, 9, 18):
        assert found.allocated[order] == taken.count(order)
        assert found.failed[order] == host.failed[order]
        assert found.skipped[order] == host.skipped[order]


@settings(max_examples=25)
@given(
    n_mib=st.integers(1, 48),
    n_more=st.integers(0, 511),
    share=st.one_of(st.just(0.0), st.floats(0, 1)),
    device_model=st.booleans(),
    policy=st.sampled_from(["builder", "opportunistic"]),
    seed=st.integers(0, 1000),
)
def test_policies_give_what_plain_ones_give(
    n_mib: int, n_more: int, share: float, device_model: bool, policy: str, seed: int
) -> None:
    n_pages = n_mib * 256 + n_more
    found = populate(n_pages * PAGE_SIZE, policy, fragmentation=share, device_model=device_model, seed=seed)
    host = plain_host(found)
    give = naive.build if policy == "builder" else naive.find
    give(host, n_pages, device_model=device_model)
    check_against(host, found, [9, 18])


@pytest.mark.parametrize("policy", ["builder", "opportunistic"])
@pytest.mark.parametrize(
    ("n_mib", "shares"),
    [
        (1025, (0.0, None)),
        (3841, (0.0, None)),
        (4097, (0.02, 0.4)),
        (6000, (0.1, 0.5)),
        (5121, (0.01, None)),
    ],
)
def test_policies_give_gigabytes_as_plain_ones_do(
    policy: str, n_mib: int, shares: tuple[float, float | None]
) -> None:
    found = populate(f"{n_mib}M", policy, fragmentation=shares[0], fragmentation_1gb=shares[1], seed=5)
    host = plain_host(found)
    (naive.build if policy == "builder" else naive.find)(host, n_mib * 256)
    check_against(host, found, [9, 18])
    assert found.leaves[18] == found.allocated[18]


def test_what_is_allocated_does_not_depend_on_the_leaves() -> None:
    whole, cut, single = (populate("5G", **MODES[mode]) for mode in ("1G", "2M", "4K"))
    assert whole.allocated == cut.allocated == single.allocated
    assert whole.allocated[18] == 3
    # 3 GiB more in leaves of 2 MiB
    assert cut.leaves == {0: 485, 9: whole.leaves[9] + 3 * 512, 18: 0}
    assert whole.extents.cut([0, 9]) == cut.extents
    assert whole.extents.cut([]) == single.extents


def test_a_table_may_have_leaves_of_1_gib_and_none_of_2_mib() -> None:
    found = populate("2G", hap_2mb=False)
    assert counts(found) == (485 + 511 * 512, 0, 1)
    assert found.tables == found.predicted.tables


def test_a_guest_without_device_model_has_no_hole_below_1_mib() -> None:
    # 1 GiB in one extent, and 5 special pages
    assert counts(populate("1G", device_model=False)) == (5, 0, 1)
    assert counts(populate("1G")) == (485, 511, 0)


# ---- where memory lies ----


@pytest.mark.parametrize("policy", ["builder", "opportunistic"])
def test_holes_have_no_memory(policy: str) -> None:
    extents = populate("4G", policy).extents
    edges = {
        0x9F: True, 0xA0: False, 0xBF: False, 0xC0: True,
        0xEFFFF: True, 0xF0000: False,
        0xFEFFA: False, 0xFEFFB: True, 0xFEFFF: True, 0xFF000: False,
        0xFFFFF: False, 0x100000: True, 0x10FFFF: True, 0x110000: False,
    }  # fmt: skip
    found = dict(zip(edges, (extents.at(list(edges)) >= 0).tolist(), strict=True))
    assert found == edges


@pytest.mark.parametrize("size", ["2M", "255M", "1025M", "3840M", "3841M"])
def test_every_page_but_those_of_the_vga_hole_is_there(size: str) -> None:
    n_pages = int(size[:-1]) * 256
    assert populate(size).extents.n_frames == n_pages - 0x20 + 5
    assert populate(size, device_model=False).extents.n_frames == n_pages + 5
