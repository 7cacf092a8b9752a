"""What a lookup of an ARM design costs in events: mappings, barriers, slots taken and given back."""

from __future__ import annotations

import numpy as np
import pytest
from arm_guests import GIB, three_ways as three_ways

from p2mperf.designs.arm.event_kernels import Recorder
from p2mperf.designs.arm.layout import REGION_FRAMES
from p2mperf.designs.arm.vlpt import ArmVlpt
from p2mperf.designs.arm.walk import ArmWalk, ArmWalkThrashing
from p2mperf.errors import AuditError
from p2mperf.guests.guest import Guest
from p2mperf.kernels import trace
from p2mperf.model.arndale import CHAIN, EVENTS
from p2mperf.streams import make_stream

# Events of one lookup in steady state, by hand. A walk maps three pages: each map saves interrupts, probes
# one slot and raises its count, then DSB, TLBI, DSB, ISB; the first access after it misses the TLB, and the
# MMU reads root and slot. Each unmap saves interrupts, reads the slot and lowers its count.
WALK_EVENTS = {
    "map": 3,
    "unmap": 3,
    "dsb": 3 * 2,
    "isb": 3,
    "tlbi": 3,
    "irq_save": 3 + 3,
    "lock": 1,
    "slot_load": 3 + 3,
    "slot_store": 3 + 3,
    "entry_load": 3,
    "mmu_load": 3 * 2,
}


def test_events_of_a_lookup_are_the_arithmetic(three_ways: tuple[ArmVlpt, ...]) -> None:
    window, direct, walk = three_ways
    gfn = int(window.guest.ram.first_pfn[0]) + 12345
    walk.lookup([gfn])
    assert walk.events(gfn) == WALK_EVENTS == EVENTS["arm-walk"]
    assert direct.events(gfn) == {"lock": 1, "entry_load": 3} == EVENTS["arm-walk-direct"]
    assert window.events(gfn) == {"entry_load": 1} == EVENTS["arm-vlpt, TLB hit"]
    # Every load of a chain waits for the one before: a slot each and an entry each, and two of the MMU a map.
    recorder = Recorder.empty()
    trace(walk.tables, (), recorder, np.uint64(gfn))
    assert int(recorder.loads[0]) == 6 + 3
    chain = WALK_EVENTS["entry_load"] + WALK_EVENTS["mmu_load"] + WALK_EVENTS["map"]
    assert chain == 12 == CHAIN["arm-walk"]


def test_a_walk_stops_at_the_level_that_ends_it(three_ways: tuple[ArmVlpt, ...]) -> None:
    walk = three_ways[2]
    # Below RAM no root entry is valid: one map, one load. Above its end the GiB has a second-level page,
    # but the 2 MiB there have no third-level one: two maps, two loads. 1300M ends at 2 GiB + 1300 MiB.
    assert walk.events(5)["map"] == walk.events(5)["unmap"] == walk.events(5)["entry_load"] == 1
    beyond = (2 * GIB + (1302 << 20)) >> 12
    assert walk.events(beyond)["map"] == walk.events(beyond)["entry_load"] == 2
    assert walk.events(1 << 28) == {}


def test_slots_two_gib_apart_are_taken_from_each_other() -> None:
    guest = Guest.plain("64M", geometry="lpae")
    first = int(guest.ram.first_pfn[0])
    with ArmWalk(guest, n_regions=3) as walk:
        # Third-level pages 2 GiB apart have one home slot. Root and second-level page stand in the third
        # region and hold that slot during the walk, so both pages want the one behind it.
        neighbours = [first, first + 512]
        assert REGION_FRAMES << 12 == 1024 * (2 << 20)
        walk.lookup(neighbours)
        for gfn in neighbours * 2:
            events = walk.events(gfn)
            # A slot that changes hands costs two barriers more.
            assert events["slot_takeover"] == 1
            assert events["dsb"] == WALK_EVENTS["dsb"] + 2
            assert events["slot_load"] == WALK_EVENTS["slot_load"] + 1
        # The same page again finds its slot as it was left.
        assert "slot_takeover" not in walk.events(neighbours[1])
        walk.audit()


def test_half_of_all_random_walks_take_a_slot_when_thrashing() -> None:
    guest = Guest.plain("1G", geometry="lpae")
    gfns = make_stream("leaf-stride", guest, 400).tolist()
    gfns = np.random.default_rng(1).permutation(gfns).tolist()
    with ArmWalkThrashing(guest) as walk:
        predicted, counted = ArmWalkThrashing.predict_footprint(guest), walk.footprint()
        assert (predicted.pages, predicted.memory_bytes) == (counted.pages, counted.memory_bytes)
        assert np.array_equal(walk.lookup(gfns), guest.entries(np.array(gfns)))
        n_taken = sum(walk.events(gfn).get("slot_takeover", 0) for gfn in gfns)
    # One region of four also holds the root and shares its slot; pages of the other three want the next one,
    # and take it where the last of them to have it was another: 3/4 * 2/3 of 400, with a deviation of 10.
    assert n_taken == pytest.approx(200, abs=40)


def test_slots_hold_counts_probe_on_and_map_twice_at_15() -> None:
    guest = Guest.plain("64M", geometry="lpae")
    first = int(guest.ram.first_pfn[0])
    with ArmWalk(guest) as walk:
        walk.lookup([first])
        slots = walk.slot_words()
        # All table pages lie in the pool's first 2 MiB, so all three maps share slot 0.
        assert np.flatnonzero(slots).tolist() == [0]
        # Somebody else holds 13 references: the first two maps make 15, the third finds it full and takes
        # slot 1 for a second mapping of the same block.
        slots[0] += np.uint64(13 << 55)
        events = walk.events(first)
        assert events["slot_takeover"] == 1
        assert events["slot_load"] == 1 + 1 + 2 + 3
        assert int(slots[0] >> np.uint64(55)) & 15 == 13
        assert int(slots[1] >> np.uint64(55)) & 15 == 0
        assert int(slots[1]) & ((1 << 55) - 1) == int(slots[0]) & ((1 << 55) - 1)
        with pytest.raises(AuditError, match="held"):
            walk.audit()
        # A slot held by another block is passed over, whatever its count.
        slots[:2] = [np.uint64((1 << 55) | (7 << 21) | 0x701), np.uint64(0)]
        assert walk.events(first)["slot_load"] == 2 * 3 + 3
        assert np.array_equal(walk.lookup([first]), guest.entries(np.array([first])))
