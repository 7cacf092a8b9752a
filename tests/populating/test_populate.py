"""Giving a guest its memory: the known counts, both policies against plain ones, faults, refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from populated_guests import MODES, counts

import p2mperf
from p2mperf.errors import BadInputError
from p2mperf.guests.extents import Extents
from p2mperf.guests.presets import BUILT_PRESETS
from p2mperf.populating.heap import Fragmentation
from p2mperf.populating.layout import memory_runs
from p2mperf.populating.policies import POLICIES
from p2mperf.populating.populate import populate
from p2mperf.populating.tables import Tables, count_tables, predict
from p2mperf.units import MIB, PAGE_SIZE

# What a simulation of the policy gave: leaves of 4K, 2M and 1G, pages of L1 to L4. By hand, for 2 MB: 160
# frames below the VGA hole, 512 - 192 above it, 5 special ones; each alone in its 2 MB, both in their own GB.
GOLDEN = [
    ("2M", "4K", (485, 0, 0), (2, 2, 1, 1)),
    ("2M", "2M", (485, 0, 0), (2, 2, 1, 1)),
    ("2M", "1G", (485, 0, 0), (2, 2, 1, 1)),
    ("1024M", "4K", (262117, 0, 0), (513, 2, 1, 1)),
    ("1024M", "2M", (485, 511, 0), (2, 2, 1, 1)),
    ("1024M", "1G", (485, 511, 0), (2, 2, 1, 1)),
    ("2048M", "2M", (485, 1023, 0), (2, 3, 1, 1)),
    ("2048M", "1G", (485, 511, 1), (2, 2, 1, 1)),
    ("4096M", "4K", (1048549, 0, 0), (2049, 5, 1, 1)),
    ("4096M", "2M", (485, 2047, 0), (2, 5, 1, 1)),
    ("4096M", "1G", (485, 1023, 2), (2, 3, 1, 1)),
]
TOTALS = {"2M": {6}, "1024M": {517, 6}, "2048M": {7, 6}, "4096M": {2056, 9, 7}}
golden = pytest.mark.parametrize(
    ("size", "mode", "leaves", "tables"), GOLDEN, ids=[f"{size}-{mode}" for size, mode, *_ in GOLDEN]
)


@golden
@pytest.mark.parametrize("policy", ["builder", "opportunistic"])
def test_the_counts_are_those_of_the_sheet(
    policy: str, size: str, mode: str, leaves: tuple[int, ...], tables: tuple[int, ...]
) -> None:
    found = populate(size, policy, **MODES[mode])
    assert counts(found) == leaves
    assert tuple(found.tables) == tables
    assert found.tables.n_pages in TOTALS[size]
    assert found.tables.n_bytes == 4096 * sum(tables)


@golden
def test_the_counts_follow_by_arithmetic(
    size: str, mode: str, leaves: tuple[int, ...], tables: tuple[int, ...]
) -> None:
    orders = [order for order, name in ((9, "hap_2mb"), (18, "hap_1gb")) if MODES[mode].get(name, True)]
    runs = memory_runs(int(size[:-1]) * MIB // PAGE_SIZE)
    expected = predict(runs, orders)
    assert tuple(expected.leaves.values()) == leaves
    assert tuple(expected.tables) == tables


@settings(max_examples=60)
@given(
    n_pages=st.one_of(st.integers(256, 3 << 18), st.integers(0xEF000, 6 << 18)),
    mode=st.sampled_from(["2M", "1G"]),
    policy=st.sampled_from(["builder", "opportunistic"]),
    device_model=st.booleans(),
)
def test_arithmetic_predicts_any_size(n_pages: int, mode: str, policy: str, device_model: bool) -> None:
    found = populate(n_pages * PAGE_SIZE, policy, device_model=device_model, **MODES[mode])
    assert found.leaves == found.predicted.leaves
    assert found.tables == found.predicted.tables
    assert sum(found.failed.values()) == 0


@settings(max_examples=8)
@given(n_pages=st.integers(256, 1 << 17), device_model=st.booleans())
def test_arithmetic_predicts_single_frames(n_pages: int, device_model: bool) -> None:
    for options in ({"hap_2mb": False, "hap_1gb": False}, {"policy": "opportunistic", "demand_4k": True}):
        found = populate(n_pages * PAGE_SIZE, device_model=device_model, **options)
        assert found.leaves == found.predicted.leaves == {0: found.extents.n_frames, 9: 0, 18: 0}
        assert found.tables == found.predicted.tables


def test_a_guest_without_holes_needs_what_the_formulas_say() -> None:
    # G GiB of 4 KiB leaves: 512 G pages of L1, G of L2, one of L3 for each 512 GiB, one of L4
    for n_gib in (1, 7, 512, 513):
        runs = [(0, n_gib << 18)]
        n_l3 = -(-n_gib // 512)
        assert predict(runs, []).tables == Tables(512 * n_gib, n_gib, n_l3)
        assert predict(runs, [9]).tables == Tables(0, n_gib, n_l3)
        assert predict(runs, [9, 18]).tables == Tables(0, 0, n_l3)
        assert predict(runs, [9, 18]).leaves == {0: 0, 9: 0, 18: n_gib}
    # of one GiB: 2 MiB and 4 KiB, and a page each of L3 and L4
    assert predict([(0, 1 << 18)], []).tables.n_bytes == 2 * MIB + 4096 + 2 * 4096


def test_counting_goes_by_pages_that_stand_above_a_leaf() -> None:
    far = 1 << 27  # another page of L3
    leaves = Extents.of([(0, 0, 0), (1, 1, 0), (512, 512, 9), (1 << 18, 1 << 18, 18), (far, 1 << 19, 0)])
    # L1: frames 0 and 1 share one, `far` has its own; L2: likewise; L3: two
    assert count_tables(leaves) == Tables(2, 2, 2, 1)
    assert count_tables(Extents.of([])) == Tables(0, 0, 0, 1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        MODES["2M"],
        {**MODES["4K"]},
        {"fragmentation": 0.4, "machine_memory": "512M"},
        {"device_model": False},
    ],
)
def test_a_real_table_has_the_leaves_and_pages_that_are_counted(options: dict[str, Any]) -> None:
    found = populate("256M", **options)
    with p2mperf.build("hap-walk", found.guest) as p2m:
        p2m.audit()
        pages = p2m.footprint().pages
        assert [pages.get(f"l{level}", 0) for level in range(1, 5)] == list(found.tables)
        frames = [0, 0x9F, 0xC0, 0x200, 0xFFFF, 0xFEFFB, 0xFEFFF]
        mfns = (p2m.lookup(frames) & np.uint64((1 << 52) - 1)) >> np.uint64(12)
        assert mfns.tolist() == found.extents.entries(frames).tolist()


# ---- the builder's faults ----


def test_the_first_builder_with_1_gib_steps_over_every_boundary() -> None:
    found = populate("10G", "builder-2010-04-06")
    assert found.allocated[18] == 0
    assert populate("64G", "builder-2010-04-06").leaves[18] == 0
    # no memory is lost
    assert found.extents.n_frames == populate("10G").extents.n_frames


def test_alignment_of_the_index_asks_for_gigabytes_that_are_none() -> None:
    found, right = populate("10G", "builder-2010-04-22"), populate("10G")
    # indices 1 and 2 lie below the hole; 4 to 9 are 256 MiB off: 6 extents of 512 leaves each
    assert found.allocated[18] == 8
    assert found.leaves[18] == 2
    assert found.failed[18] == 0
    assert found.leaves[9] == 10 * 512 - 1 - 2 * 512
    # the right one aligns the gfn: 2 below the hole, 4 to 9 GiB above it
    assert right.leaves[18] == right.allocated[18] == 8


def test_the_builder_of_2008_knows_no_gigabytes() -> None:
    found, later = populate("5G", "builder-2008"), populate("5G", hap_1gb=False)
    assert found.allocated[18] == 0
    assert found.leaves == later.leaves


# ---- what a failure costs ----


@pytest.mark.parametrize("n_whole", [0, 1, 2, 3, 4])
def test_a_failed_extent_costs_the_rest_of_its_batch(n_whole: int) -> None:
    # 10 MiB: the first 2 MiB one by one, then one batch of 4 extents, from a host of 12 blocks
    found = populate("10M", fragmentation=(12 - n_whole) / 12, machine_memory="24M", seed=11)
    assert found.leaves[9] == n_whole
    assert found.failed[9] == (n_whole < 4)
    assert found.skipped[9] == max(0, 4 - n_whole - 1)
    assert found.allocated[0] == 485 + (4 - n_whole) * 512


def test_the_next_batch_tries_anew() -> None:
    # a host with no whole block: 64 MiB above the first two are 8 batches, and each fails at its first extent
    found = populate("66M", fragmentation=1.0)
    assert found.failed == {0: 0, 9: 8, 18: 0}
    assert found.skipped == {0: 0, 9: 8 * 3, 18: 0}
    assert counts(found) == (485 + 32 * 512, 0, 0)


def test_a_missing_gigabyte_costs_that_gigabyte_only() -> None:
    # 6 of 8 GiB have one broken block each. A guest of 6 GiB asks for GiB 1 and 2, and for 4 and 5 above
    # the hole: two are there
    found = populate("6G", fragmentation=6 / 4096, fragmentation_1gb=0.75, machine_memory="8G")
    assert found.predicted.leaves[18] == 4
    assert found.failed == {0: 0, 9: 0, 18: 2}
    assert counts(found) == (485, found.predicted.leaves[9] + 2 * 512, 2)


def test_opportunistic_extents_are_tried_one_by_one() -> None:
    builder, finder = (
        populate("64M", policy, fragmentation=0.5, machine_memory="96M", seed=3)
        for policy in ("builder", "opportunistic")
    )
    # 24 of 48 blocks are whole, 31 are wanted: by the builder in batches of 4, of which the 7th has none at
    # once, and the last, of 3, neither; one by one the last 7 fail
    assert builder.leaves == finder.leaves == {0: 485 + 7 * 512, 9: 24, 18: 0}
    assert (builder.failed[9], builder.skipped[9]) == (2, 3 + 2)
    assert (finder.failed[9], finder.skipped[9]) == (7, 0)


def test_no_merge_makes_small_leaves_large() -> None:
    found = populate("8M", "opportunistic", demand_4k=True)
    assert set(found.extents.n_by_order) == {0}
    # though all frames of a 2 MiB block can be neighbours in the machine
    assert found.allocated[0] == found.leaves[0]


# ---- the answer ----


def test_the_public_call_is_this_one() -> None:
    found = p2mperf.populate("64M", policy="opportunistic", seed=3)
    assert found == populate("64M", "opportunistic", seed=3)
    assert found.machine.seed == 3
    assert found.m2p_bytes == found.extents.n_frames * 8
    plain = found.to_dict()
    assert plain["leaves"] == {"0": 485, "9": 31, "18": 0}
    assert plain["tables"] == plain["predicted_tables"] == {"L1": 2, "L2": 2, "L3": 1, "L4": 1}
    assert plain["table_bytes"] == 6 * 4096


def test_equal_seeds_give_equal_memory() -> None:
    def extents(seed: int) -> Extents:
        return populate("256M", fragmentation=0.4, seed=seed).extents

    assert extents(1) == extents(1)
    assert extents(1) != extents(2)


@pytest.mark.parametrize(
    ("arguments", "options", "sentence"),
    [
        (("10G", "bilder"), {}, "unknown policy 'bilder': did you mean 'builder'"),
        (("10G", None), {}, "unknown policy None"),
        (("4K",), {}, "has 1M to 4T here, not 4K"),
        (("5T",), {}, "has 1M to 4T here, not 5T"),
        (("4097",), {}, "guest memory is a whole number of 4 KiB pages"),
        (("much",), {}, "'much' is not a size"),
        (("10G",), {"fragmentation": 1.5}, "fragmentation must be a share from 0 to 1"),
        (("10G",), {"fragmentation_1gb": -1}, "share of broken 1 GiB blocks must be a share"),
        (("10G",), {"fragmentation": 0.5, "fragmentation_1gb": 0.1}, "cannot lie in"),
        (("10G",), {"hap_1gb": 1}, "hap_1gb must be True or False"),
        (("10G",), {"hap_2mb": "no"}, "hap_2mb must be True or False"),
        (("10G",), {"device_model": None}, "device_model must be True or False"),
        (("10G",), {"demand_4k": True}, "demand_4k is a hint to the hypervisor, and builder asks"),
        (("10G",), {"seed": -1}, "a seed must be a whole number"),
        (("10G",), {"machine_memory": "1G"}, "the machine has 262144 frames"),
        (("10G", "opportunistic"), {"machine_memory": "1G"}, "the machine has 262144 frames"),
        (("10G",), {"machine_memory": "x"}, "'x' is not a size"),
        (("10G",), {"machine_memory": "16T"}, "in up to 4294967295 frames"),
    ],
)
def test_what_cannot_be_is_refused(
    arguments: tuple[Any, ...], options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadInputError, match=sentence):
        populate(*arguments, **options)


def test_a_machine_with_room_for_all_but_the_special_pages_builds_no_guest() -> None:
    # of 512 frames the guest takes 480; of 484 there are 4 for the 5 special ones
    assert populate("2M", machine_memory=485 * PAGE_SIZE).extents.n_frames == 485
    with pytest.raises(BadInputError, match="the machine has 484 frames, of which 484 were free: too few"):
        populate("2M", machine_memory=484 * PAGE_SIZE)


def test_policies_say_what_they_do() -> None:
    assert [name for name, policy in POLICIES.items() if not policy.is_builder] == ["opportunistic"]
    assert "reconstruction" in POLICIES["opportunistic"].meaning
    assert all(policy.name == name and policy.meaning for name, policy in POLICIES.items())
    assert Fragmentation() == Fragmentation(0.0, None)


@pytest.mark.parametrize("name", BUILT_PRESETS)
def test_a_guest_of_the_builder_can_be_named(name: str) -> None:
    preset = BUILT_PRESETS[name]
    guest, given = (
        p2mperf.Guest.preset(name, 7),
        populate(preset.memory, fragmentation=preset.broken_share, seed=7),
    )
    assert (guest.name, guest.geometry.name, guest.extents) == (name, "hap64", given.extents)
    assert guest == replace(guest)
    # Broken blocks leave no gigabyte whole; which ones they are is another host's in each process.
    again = p2mperf.Guest.preset(name, 8)
    assert (18 in guest.extents.n_by_order) == (guest.extents == again.extents) == (not preset.broken_share)
    assert guest.n_boot_pages == again.n_boot_pages == (preset.memory >> 12) - 0x20 + 5
