"""The defects of the posted patch: each fails as posted and passes as mended."""

from __future__ import annotations

import pytest

from p2mperf.designs.arm.posted_cpus import Cpu, Domain, Mended, Posted, PostedWritable
from p2mperf.designs.arm.posted_defects import DEFECTS, run_scenario
from p2mperf.errors import BadInputError

GIB = 1 << 30

FOUND_AS_POSTED = {
    "shared-table": "a fault of A changed an entry of B",
    "skip-if-equal": "a fault of B changed an entry of A",
    "barrier-order": "a fault of B changed an entry of A",
    # Two pages by the first prepare and two by the second; RAM of 1 GiB that ends on a GiB takes two slots,
    # and the second of them copies an empty root entry.
    "leaks": "4 pages leaked, 1 slots live, start and end still set",
    "dangling": "the window still shows a page that was freed",
    "one-too-many": "VMAP's first entry is overwritten with 0x0",
    "wrong-check": "VMAP's first entry is overwritten with 0x",
    "bit-7": "permission fault: Xen may not write at",
}


@pytest.mark.parametrize("name", DEFECTS)
def test_each_defect_fails_as_posted(name: str) -> None:
    outcome = run_scenario(name, as_posted=True)
    assert not outcome.holds
    assert outcome.found.startswith(FOUND_AS_POSTED[name])


@pytest.mark.parametrize("name", DEFECTS)
def test_each_defect_is_gone_when_mended(name: str) -> None:
    outcome = run_scenario(name, as_posted=False)
    assert outcome.holds, outcome.found


def test_every_scenario_is_named() -> None:
    assert set(FOUND_AS_POSTED) == set(DEFECTS)
    with pytest.raises(BadInputError, match="unknown scenario 'leak': did you mean 'leaks'"):
        run_scenario("leak", as_posted=True)


@pytest.mark.parametrize("kind", [PostedWritable, Mended])
def test_one_domain_on_one_cpu_works_either_way(kind: type[Posted]) -> None:
    xen = kind(1)
    domain = xen.create("A", n_bytes=3 * GIB)
    xen.prepare(xen.cpus[0], domain)
    for gib in range(3):
        gpa = domain.start + gib * GIB
        # Entries are made of the name in bits 31:24, the GiB in bits 31:12, and the flags below.
        assert xen.unprotect(xen.cpus[0], gpa) >> 12 & 0xFFF == 2 + gib
        assert xen.cpus[0].read(xen.entry_address(gpa)) & 1 << 7


def test_invalidations_are_local() -> None:
    xen = PostedWritable(2)
    domain = xen.create("A")
    xen.prepare(xen.cpus[0], domain)
    for cpu in xen.cpus:
        cpu.read(xen.entry_address(domain.start))
    xen.cpus[0].tlbi(xen.entry_address(domain.start))
    assert [len(cpu.tlb) for cpu in xen.cpus] == [0, 1]


def test_stores_reach_the_walker_at_a_barrier() -> None:
    xen = PostedWritable(1)
    cpu = xen.cpus[0]
    cpu.store_entry(xen.second + 8 * 70, 0x1003)
    assert xen.memory.read(xen.second + 8 * 70) == 0
    cpu.dsb()
    assert xen.memory.read(xen.second + 8 * 70) == 0x1003


class WithoutBreak(Mended):
    """Goes from one domain's entry to the other's without an invalid one between."""

    def _show(self, cpu: Cpu, domain: Domain) -> None:
        cpu.owner = None
        super()._show(cpu, domain)


class WithoutBreakAndBarrier(WithoutBreak):
    """And invalidates before the store is visible."""

    def _flush(self, cpu: Cpu, domain: Domain) -> None:
        for slot in range(domain.start_slot, domain.end_slot):
            cpu.tlbi(self._slot_address(slot), 2 << 20)
        cpu.dsb()


def test_it_is_the_barrier_that_keeps_the_old_entry_away() -> None:
    # This model has no TLB conflicts, which are what the break is for; the barrier it cannot do without.
    assert DEFECTS["barrier-order"](WithoutBreak())[0]
    assert not DEFECTS["barrier-order"](WithoutBreakAndBarrier())[0]
