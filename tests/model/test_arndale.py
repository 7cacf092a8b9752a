"""Computed costs against sums made by hand from the published latencies."""

from __future__ import annotations

import pytest

from p2mperf.designs.arm.posted_cpus import PostedWritable
from p2mperf.errors import BadInputError
from p2mperf.model.arndale import (
    ASSUMPTIONS,
    CHAIN,
    EVENTS,
    break_even_faults,
    entry_load_ns,
    fault_ns,
    find_ns,
    switch_ns,
)

# A map by hand, in cycles of the middle assumption: interrupts 20, slot load 4, slot store 4, 2 barriers of
# 40, invalidation 20, instruction barrier 20: 148. An unmap: 20 + 4 + 4 = 28. Three of each: 528. Six loads
# of the MMU and three entries, all hot: 9 * 4 = 36. 564 / 1.7 GHz = 332 ns. With everything but the root
# entry in L2, 8 loads take 17 cycles more: 412 ns; with two entries in memory 220 ns more: 632 ns.
FIND = [
    ("arm-walk", "middle", (332, 412, 632)),
    ("arm-walk", "low", (155, 235, 455)),
    ("arm-walk", "high", (879, 959, 1179)),
    ("arm-vlpt, TLB hit", "middle", (2.35, 12.35, 122.35)),
    # 30 cycles for the miss, two hot loads, and the guest's second- and third-level entry.
    ("arm-vlpt, TLB miss", "middle", (27.1, 47.1, 267.1)),
    ("arm-walk-direct", "middle", (7.06, 27.1, 247.1)),
]


@pytest.mark.parametrize(("way", "assumption", "expected"), FIND)
def test_cost_of_finding_an_entry(way: str, assumption: str, expected: tuple[float, ...]) -> None:
    for residency, nanoseconds in zip(("L1", "L2", "RAM"), expected, strict=True):
        assert find_ns(way, residency, ASSUMPTIONS[assumption]) == pytest.approx(nanoseconds, abs=0.55)


def test_published_latencies() -> None:
    # 4 and 21 cycles at 1.7 GHz; 21 cycles and 110 ns.
    assert entry_load_ns("L1") == pytest.approx(2.353, abs=0.001)
    assert entry_load_ns("L2") == pytest.approx(12.353, abs=0.001)
    assert entry_load_ns("RAM") == pytest.approx(122.353, abs=0.001)
    with pytest.raises(BadInputError, match="unknown residency 'L3'"):
        entry_load_ns("L3")
    with pytest.raises(BadInputError, match="unknown way"):
        find_ns("vlpt", "L1", ASSUMPTIONS["low"])


@pytest.mark.parametrize(("n_slots", "microseconds"), [(1, 6), (2, 12), (5, 30), (17, 102), (62, 373)])
def test_cost_of_a_switch(n_slots: int, microseconds: float) -> None:
    # 512 invalidations a slot at 20 cycles: 6.02 us a slot; comparing and storing add less than 2 %.
    assert switch_ns(n_slots, ASSUMPTIONS["middle"]) / 1e3 == pytest.approx(microseconds, rel=0.02)
    # Unchanged: 2 * 40 + 20 + 8 a slot.
    unchanged = switch_ns(n_slots, ASSUMPTIONS["middle"], changed=False)
    assert unchanged == pytest.approx((100 + 8 * n_slots) / 1.7)


def test_break_even() -> None:
    # Two slots: 12.1 us; the walk costs 412 - 47 = 365 ns more: 33 faults a slice.
    assert break_even_faults(2, ASSUMPTIONS["middle"]) == pytest.approx(33.2, abs=0.2)


def test_a_fault_is_mostly_not_the_finding() -> None:
    # 1500 ns trap, 412 ns find, 2 * 40 + 20 + 8 cycles to change the entry.
    assert fault_ns("arm-walk", "L2", ASSUMPTIONS["middle"]) == pytest.approx(1500 + 412 + 108 / 1.7, abs=0.5)


def loads_of_an_access(hit: bool) -> int:
    """Loads that the model of CPUs does to read one entry through the window, the MMU's and the entry's."""
    xen = PostedWritable(1)
    domain, cpu = xen.create("A"), xen.cpus[0]
    xen.prepare(cpu, domain)
    if hit:  # the window's page is in the TLB
        cpu.read(xen.entry_address(domain.start))
    before = cpu.n_walk_loads
    cpu.read(xen.entry_address(domain.start))
    return cpu.n_walk_loads - before + 1


def test_chains_are_the_loads_of_the_model_of_cpus() -> None:
    # A hit is the entry alone; a miss walks root, second level and the second-level page before it.
    assert CHAIN["arm-vlpt, TLB hit"] == loads_of_an_access(hit=True) == 1
    assert CHAIN["arm-vlpt, TLB miss"] == loads_of_an_access(hit=False) == 3 + 1
    for way in ("arm-vlpt, TLB hit", "arm-vlpt, TLB miss", "arm-walk-direct"):
        assert CHAIN[way] == EVENTS[way].get("mmu_load", 0) + EVENTS[way]["entry_load"]
