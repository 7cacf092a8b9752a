"""Every static configuration that the list was tested with in 2014: both designs against the oracle."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from design_names import PV_DESIGNS, PvName
from naive import CONFIGURATIONS, Oracle, boot_extents, coincident_pfns, machine_frames

import p2mperf
from p2mperf.designs import find
from p2mperf.guests.presets import PRESETS

POLICIES = ("identity", "invalid")
N_RANDOM_PFNS = 2000


def oracle_named(name: str, above: str = "identity", max_domain_pages: int | None = None) -> Oracle:
    return CONFIGURATIONS[name].oracle(boot_extents(name), above, max_domain_pages)


def differences(p2m: Any, oracle: Oracle, pfns: Any) -> list[tuple[int, str, str]]:
    """(pfn, answer, what is right) for every wrong answer."""
    answers = p2m.lookup(np.array(pfns, np.uint64)).tolist()
    right = map(oracle.entry, pfns)
    wrong = [(pfn, a, r) for pfn, a, r in zip(pfns, answers, right, strict=True) if a != r]
    return [(pfn, hex(answer), hex(entry)) for pfn, answer, entry in wrong]


def asked_pfns(oracle: Oracle, seed: str) -> list[int]:
    choose = random.Random(seed)
    return oracle.boundaries() + [choose.randrange(oracle.dump_end) for _ in range(N_RANDOM_PFNS)]


def test_the_configurations_of_2014_are_all_here() -> None:
    # The commit's message lists 64-bit dom0 with 8 GB, and with 128 GB and a PCI area above 4 GB; 32-bit domU
    # with 512 MB, 8 GB and 43 GB; 64-bit domU with 8 GB, 2049 MB and 5000 MB: 2 + 3 + 3. Ballooning, save and
    # restore and passthrough happen to a guest and are not maps: tests/designs/pv/test_scenarios.py has them.
    tested = {name for name, configuration in CONFIGURATIONS.items() if configuration.tested_in_2014}
    assert len(tested) == 8
    assert set(CONFIGURATIONS) == set(PRESETS)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_preset_is_what_is_written_down_here(name: str) -> None:
    guest, literal = p2mperf.Guest.preset(name), CONFIGURATIONS[name]
    assert guest.rows == literal.rows
    assert (guest.n_boot_pages, guest.max_pages) == (literal.n_boot_pages, literal.n_max_pages)
    assert guest.geometry.entry_bits == literal.entry_bits
    assert guest.machine.n_frames == machine_frames(name)
    assert [guest.coincident_pfn] == coincident_pfns(name)


@pytest.mark.parametrize("above", POLICIES)
@pytest.mark.parametrize("design", PV_DESIGNS)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_design_answers_as_the_oracle_does(name: str, design: PvName, above: str) -> None:
    oracle = oracle_named(name, above)
    guest = p2mperf.Guest.preset(name)
    with p2mperf.build(design, guest, above=above) as p2m:
        assert differences(p2m, oracle, asked_pfns(oracle, f"{name} {design} {above}")) == []
        # Equal to the oracle's text for the tree and for the list, so equal to each other.
        assert p2m.dump() == "\n".join(oracle.dump()) + "\n"
        p2m.audit()
        counted = p2m.footprint()
    predicted = type(p2m).predict_footprint(guest, above=above)
    assert counted.pages == predicted.pages
    assert counted.n_vmas == predicted.n_vmas
    assert counted.memory_bytes == predicted.memory_bytes


@pytest.mark.parametrize("above", POLICIES)
@pytest.mark.parametrize("design", PV_DESIGNS)
@pytest.mark.parametrize("name", ["dom0-64-e820", "domu-64-2049m"])
def test_every_pfn_of_a_small_guest(name: str, design: PvName, above: str) -> None:
    # One pfn more than the covered mids, so that the end is in it.
    oracle = oracle_named(name, above)
    with p2mperf.build(design, name, above=above) as p2m:
        assert differences(p2m, oracle, range(oracle.dump_end + 1)) == []


@pytest.mark.parametrize("name", ["dom0-64-e820", "dom0-32-e820"])
def test_reading_page_tables_through_the_m2p_changes_no_answer(name: str) -> None:
    oracle = oracle_named(name)
    with p2mperf.build("pv-linear-nested", name) as p2m:
        p2m.audit()
        assert differences(p2m, oracle, asked_pfns(oracle, name)) == []
        assert p2m.dump().splitlines() == oracle.dump()


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_frames_and_pfns_find_each_other(name: str) -> None:
    oracle = oracle_named(name)
    asked = asked_pfns(oracle, name)
    with p2mperf.build("pv-linear", name) as p2m:
        assert p2m.pfn_to_mfn(np.array(asked, np.uint64)).tolist() == [oracle.mfn(pfn) for pfn in asked]
        with_frames = [pfn for pfn in asked if oracle.kind(pfn) == "pfn"]
        frames = np.array([oracle.mfn(pfn) for pfn in with_frames], np.uint64)
        assert p2m.mfn_to_pfn(frames).tolist() == with_frames


@pytest.mark.parametrize("design", PV_DESIGNS)
@pytest.mark.parametrize("entry_bits", [64, 32])
def test_the_four_pfns_of_the_e820_example(entry_bits: int, design: PvName) -> None:
    # 1029 MiB * 256 = 263424 begins the hole, 2001 MiB * 256 = 512256 is the first pfn after it.
    invalid = 2**entry_bits - 1
    identity = 2 ** (entry_bits - 2)
    with p2mperf.build(design, f"dom0-{entry_bits}-e820") as p2m:
        found = p2m.lookup([263423, 263424, 512255, 512256]).tolist()
    assert found == [invalid, 263424 + identity, 512255 + identity, invalid]


# Leaves with memory, in leaves of 512 (64 bit) or 1024 (32 bit) pfns, and what finds them.
LEAVES = {
    # 131072 / 1024
    "domu-32-512m": 128,
    # 2097152 / 1024
    "domu-32-8g": 2048,
    # 11272192 / 1024
    "domu-32-43g": 11008,
    # 2097152 / 512
    "domu-64-8g": 4096,
    # 524544 / 512 = 1024.5
    "domu-64-2049m": 1025,
    # 1280000 / 512
    "domu-64-5000m": 2500,
    # 104857600 / 512
    "pv-64-400g": 204800,
    # 3064 MiB are 1532 leaves of 2 MiB; from 4 GiB to page 2361440 are (2361440 - 1048576) / 512 = 2564.2
    "dom0-64-8g": 1532 + 2565,
    # 2 GiB are 1024; 60 GiB are 30720; from 66 GiB to page 33554432 + 1048672, the last with a frame,
    # (34603104 - 17301504) / 512 = 33792.2
    "dom0-64-128g-pci": 1024 + 30720 + 33793,
}
# Mids (1 GiB at 64 bit, 4 GiB at 32 bit) that hold a leaf with memory.
MIDS = {
    "domu-32-512m": 1,
    "domu-32-8g": 2,
    # 43 / 4 = 10.75
    "domu-32-43g": 11,
    "domu-64-8g": 8,
    # 2049 / 1024 = 2.001
    "domu-64-2049m": 3,
    # 5000 / 1024 = 4.9
    "domu-64-5000m": 5,
    "pv-64-400g": 400,
    # 2361440 / 262144 = 9.008, so 10 mids; that of 3 GiB is a hole from end to end (3072 MiB to 4096 MiB)
    "dom0-64-8g": 9,
    # 34603104 / 262144 = 132.0004, so 133 mids; 2, 3, 64 and 65 are holes
    "dom0-64-128g-pci": 129,
}


@pytest.mark.parametrize("name", LEAVES)
def test_the_pages_of_the_list(name: str) -> None:
    pages = find("pv-linear").predict_footprint(p2mperf.Guest.preset(name)).pages
    # A page of 512 PTEs shows 512 leaves: a mid at 64 bit, half of one (of 1024 leaves) at 32 bit.
    n_tables = MIDS[name] * (1 if CONFIGURATIONS[name].entry_bits == 64 else 2)
    assert (pages["leaf"], pages["pte"]) == (LEAVES[name], n_tables)
    assert (pages["leaf_shared"], pages["pte_shared"]) == (2, 2)


@pytest.mark.parametrize("name", [name for name in LEAVES if name.startswith(("domu", "pv"))])
def test_the_pages_of_the_tree(name: str) -> None:
    pages = find("pv-tree").predict_footprint(p2mperf.Guest.preset(name)).pages
    assert (pages["leaf"], pages["mid"], pages["top"]) == (LEAVES[name], MIDS[name], 1)
    assert (pages["leaf_shared"], pages["mid_shared"]) == (2, 2)


@pytest.mark.parametrize(
    ("name", "n_leaves"),
    [
        # The boot list brings 4096 leaves; 264288 / 512 = 516.2 are needed for displaced memory: 517. The 96
        # pages below 1 MiB come first, and there is no leaf of identity yet. Then whole leaves move to whole
        # leaves, each to the page of the last: 515 of 516, for 96 frames of the first are taken. The rest
        # moves before its own leaf is identity, and takes a page too.
        ("dom0-64-8g", 4096 - 515 + 517),
        # 65536 leaves; 1048672 / 512 = 2048.2 are needed: 2049. As above, 1023 of the first 1024 leaves give
        # their pages; the one that is left serves for the second hole, and one is left of that again.
        ("dom0-64-128g-pci", 65536 - (1023 + 1024) + 2049),
    ],
)
def test_displaced_memory_takes_the_pages_of_identity_leaves(name: str, n_leaves: int) -> None:
    assert find("pv-tree").predict_footprint(p2mperf.Guest.preset(name)).pages["leaf"] == n_leaves


def test_the_e820_example_costs_the_tree_three_pages() -> None:
    # 1 GiB at boot: 512 leaves under one mid. The hole adds a mid for the second GiB, and in it the leaf
    # where the hole begins (2 * 512 + 256 of the mid) and the leaf where it ends.
    pages = find("pv-tree").predict_footprint(p2mperf.Guest.preset("dom0-64-e820")).pages
    assert (pages["leaf"] - 512, pages["mid"] - 1) == (2, 1)
    # A 32-bit mid of 4 GiB holds it all: 256 leaves at boot, and the two ends.
    pages = find("pv-tree").predict_footprint(p2mperf.Guest.preset("dom0-32-e820")).pages
    assert (pages["leaf"] - 256, pages["mid"] - 1) == (2, 0)


def test_the_e820_example_costs_the_list_a_leaf_for_all_balloonable_memory() -> None:
    # 512 at boot; 1024 to 1029 MiB are 3 leaves, the third half identity; 2001 MiB (leaf 1000.5) to page
    # 1035264 (leaf 2022.0), where the maximum is reached, are 1022.
    pages = find("pv-linear").predict_footprint(p2mperf.Guest.preset("dom0-64-e820")).pages
    assert pages["leaf"] == 512 + 3 + 1022
    # In leaves of 1024: 256; 1.25; 500.25 to 1011.0.
    pages = find("pv-linear").predict_footprint(p2mperf.Guest.preset("dom0-32-e820")).pages
    assert pages["leaf"] == 256 + 2 + 511


@pytest.mark.parametrize(
    ("name", "max_domain_pages"),
    [
        # 4 GiB of 5000 MiB; a limit inside a leaf; the limit at which all displaced frames lose their place
        ("domu-64-5000m", 1048576),
        ("domu-32-512m", 1000),
        ("dom0-64-8g", 2097152),
    ],
)
def test_the_tree_is_cut_at_the_domain_limit(name: str, max_domain_pages: int) -> None:
    oracle = oracle_named(name, max_domain_pages=max_domain_pages)
    with p2mperf.build("pv-tree", name, max_domain_pages=max_domain_pages) as p2m:
        p2m.audit()
        assert differences(p2m, oracle, asked_pfns(oracle, name)) == []
        assert p2m.dump().splitlines() == oracle.dump()
