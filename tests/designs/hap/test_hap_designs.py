"""HAP p2ms as they are built: leaves, walks, windows, footprints, and the commands that show them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from design_names import HAP_DESIGNS, AnyHapName, HapName
from hap_guests import (
    GIB,
    each_design,
    each_geometry,
    every,
)

import p2mperf
from p2mperf.cli import main
from p2mperf.guests.extents import Extents
from p2mperf.guests.guest import Guest
from p2mperf.guests.hap import Hap
from p2mperf.memory import smaps

# ---- what is built ----


@each_design
@each_geometry
def test_a_plain_guest_reads_as_its_map_says(design: HapName, geometry: str) -> None:
    for size in ("2M", "1025M"):
        guest = Guest.plain(size, geometry=geometry)
        with p2mperf.build(design, guest) as p2m:
            frames = every(p2m)
            assert np.array_equal(p2m.lookup(frames), guest.entries(frames))
            p2m.audit()
            assert p2m.dump().splitlines()[0] == f"[0x00000000->{guest.n_boot_pages:#010x}] ram_rw"


def test_leaves_are_as_large_as_extents_and_switches_allow() -> None:
    # 1 GiB in one extent, 2 MiB in one, and one page.
    extents = Extents.of([(0, 2 * GIB, 18), (GIB, GIB, 9), (GIB + 512, 7, 0)])
    guest = Guest.from_extents(extents)
    cases: list[tuple[dict[str, Any], dict[int, int]]] = [
        ({}, {0: 1, 9: 1, 18: 1}),
        ({"hap_1gb": False}, {0: 1, 9: 513}),
        ({"hap_2mb": False}, {0: 513, 18: 1}),
        ({"hap_2mb": False, "hap_1gb": False}, {0: GIB + 513}),
    ]
    for options, leaves in cases:
        for design in HAP_DESIGNS:
            with p2mperf.build(design, guest, **options) as p2m:
                assert p2m.leaves == leaves
                frames = every(p2m)
                assert np.array_equal(p2m.lookup(frames), guest.entries(frames))


def test_the_variants_are_the_switches() -> None:
    guest = Guest.plain("1G", geometry="hap64")
    leaves: dict[AnyHapName, dict[int, int]] = {
        "hap-walk": {18: 1},
        "hap-linear": {18: 1},
        "hap-walk-2m": {9: 512},
        "hap-linear-2m": {9: 512},
        "hap-walk-4k": {0: GIB},
        "hap-linear-4k": {0: GIB},
    }
    for design in leaves:
        with p2mperf.build(design, guest) as p2m:
            assert p2m.leaves == leaves[design]


def test_4_mb_extents_of_two_2_mb_make_no_superpage_without_pae() -> None:
    extents = Extents.of([(0, 1024, 9), (512, 1536, 9), (1024, 2048, 10)])
    with p2mperf.build("hap-walk", Guest.from_extents(extents, "hap-nonpae")) as p2m:
        assert p2m.leaves == {0: 1024, 10: 1}


@pytest.mark.parametrize(
    ("geometry", "size", "reads"),
    # One read a level, up to the first superpage.
    [("hap64", "1G", 2), ("hap64", "2M", 3), ("hap-pae", "2M", 2), ("hap-nonpae", "4M", 1)],
)
def test_a_superpage_saves_the_walk_its_last_reads(geometry: str, size: str, reads: int) -> None:
    guest = Guest.plain(size, geometry=geometry)
    assert isinstance(guest.geometry, Hap)
    n_levels = guest.geometry.n_levels
    with p2mperf.build("hap-walk", guest) as large, p2mperf.build("hap-walk-4k", guest) as small:
        assert len(large.lookup_path(7).steps) == reads
        path = small.lookup_path(7).steps
        assert [step.level for step in path] == [f"l{level}" for level in range(n_levels, 0, -1)]
        assert path[-1].index == 7


def test_windows_are_read_from_the_top_and_smaps_shows_them() -> None:
    extents = Extents.of([(0, 2 * GIB, 18), (GIB, GIB, 9), (GIB + 512, 7, 0)])
    with p2mperf.build("hap-linear", Guest.from_extents(extents)) as p2m:
        for gfn, levels in ((5, ["l3"]), (GIB + 5, ["l3", "l2"]), (GIB + 512, ["l3", "l2", "l1"])):
            path = p2m.lookup_path(gfn).steps
            assert [(step.level, step.view) for step in path] == [(level, "window") for level in levels]
            for step in path:
                (mapping,) = [m for m in smaps.everything() if m.start <= step.address < m.end]
                # The page that is mapped there is the one that the answer names.
                page = (step.address - mapping.start >> 12) + (mapping.offset_bytes >> 12)
                assert mapping.inode
                assert page == step.frame
        # Where there is no table, Xen would fault: all three windows are read, and nothing is found.
        hole = p2m.lookup_path(GIB + 511 + 2)
        assert hole.entry == 0
        assert p2m.explain(hole.entry) == {"kind": "mmio_dm", "mfn": None}


@each_geometry
@pytest.mark.parametrize("design", ["hap-walk", "hap-linear", "hap-walk-4k", "hap-linear-4k"])
def test_footprints_are_foreseen(geometry: str, design: HapName) -> None:
    guest = Guest.plain("1026M", geometry=geometry)
    with p2mperf.build(design, guest) as p2m:
        predicted, counted = type(p2m).predict_footprint(guest), p2m.footprint()
        assert predicted.pages == counted.pages
        assert predicted.n_vmas == counted.n_vmas
        assert predicted.memory_bytes == counted.memory_bytes


def test_pages_per_gib_are_those_of_the_sheet() -> None:
    # G GiB without holes take 513 G + ceil(G / 512) + 1 tables on 4 KiB, 512 G fewer on 2 MiB, 2 on 1 GiB.
    guest = Guest.plain("3G", geometry="hap64")
    for design, n_tables in (("hap-walk-4k", 3 * 513 + 2), ("hap-walk-2m", 3 + 2), ("hap-walk", 2)):
        with p2mperf.build(design, guest) as p2m:
            assert p2m.footprint().n_pages == n_tables


# ---- large guests ----


def mixture(random: np.random.Generator) -> Extents:
    """Some 20 GiB in extents of all sizes, holes between them, in no order of machine frames."""
    orders = random.permutation(np.repeat([18, 10, 9, 4, 0], [12, 800, 4000, 3000, 4000]))
    places = random.permutation(orders.size)
    firsts: dict[int, int] = {}
    mfn = 0
    for at in places.tolist():
        order = int(orders[at])
        mfn = -(-mfn >> order) << order
        firsts[at] = mfn
        mfn += 1 << order
    rows, gfn = [], 0
    for at, order in enumerate(orders.tolist()):
        gfn = -(-(gfn + (at % 7 == 0)) >> order) << order
        rows.append((gfn, firsts[at], order))
        gfn += 1 << order
    return Extents.of(rows)


@pytest.mark.parametrize("design", ["hap-walk", "hap-linear", "hap-walk-2m", "hap-linear-2m"])
def test_a_large_guest_is_right_at_every_edge_and_anywhere(design: HapName) -> None:
    random = np.random.default_rng(5)
    guest = Guest.from_extents(mixture(random))
    extents = guest.extents
    begins, ends = extents.gfn, extents.gfn + extents.sizes
    middles = begins + extents.sizes // np.uint64(2)
    far = np.array([2**35 - 1, 2**35, 2**63, 2**64 - 1], np.uint64)
    anywhere = random.integers(0, guest.covered_pfn, 200_000, np.uint64)
    frames = np.concatenate(
        [begins, begins - np.uint64(1), ends - np.uint64(1), ends, middles, far, anywhere]
    )
    with p2mperf.build(design, guest) as p2m:
        expected = guest.entries(frames)
        assert np.array_equal(p2m.lookup(frames), expected)
        assert (expected == 0).any()
        p2m.audit()
        predicted, counted = type(p2m).predict_footprint(guest), p2m.footprint()
        assert (predicted.pages, predicted.n_vmas) == (counted.pages, counted.n_vmas)
        # One frame of each extent is moved to where another's was: splits, aliases and holes everywhere.
        moved = random.choice(middles.size, 300, replace=False)
        taken = p2m.add(middles[moved], expected_mfns(guest, begins[moved[::-1]]))
        assert taken.all()
        p2m.audit()


@pytest.mark.parametrize("geometry", ["hap-pae", "hap-nonpae"])
def test_a_large_guest_of_32_bits_is_right_at_every_edge_and_anywhere(geometry: str) -> None:
    # As the builder gives it, up to the hole below 4 GiB, with the special pages inside the hole.
    built = p2mperf.populate("3840M", fragmentation=0.2, machine_memory="4000M")
    guest = Guest.from_extents(built.extents, geometry, built.machine)
    extents = guest.extents
    holes = [0x9F, 0xA0, 0xBF, 0xC0, 0xEFFFF, 0xF0000, 0xFEFFA, 0xFEFFB, 0xFEFFF, 0xFF000, 0xFFFFF, 1 << 20]
    mapped = {0x9F, 0xC0, 0xEFFFF, 0xFEFFB, 0xFEFFF}
    ends = extents.gfn + extents.sizes
    anywhere = np.random.default_rng(3).integers(0, 1 << 20, 100_000, np.uint64)
    frames = np.concatenate([np.array(holes, np.uint64), extents.gfn, ends - np.uint64(1), ends, anywhere])
    with p2mperf.build("hap-walk", guest) as walk, p2mperf.build("hap-linear", guest) as windows:
        expected = guest.entries(frames)
        for p2m in (walk, windows):
            assert np.array_equal(p2m.lookup(frames), expected)
            p2m.audit()
    assert (expected[: len(holes)] != 0).tolist() == [frame in mapped for frame in holes]


def expected_mfns(guest: Guest, frames: np.ndarray) -> np.ndarray:
    return guest.entries(frames) >> np.uint64(12)


# ---- the command line ----


def test_commands_answer_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lookup", "--design", "hap-linear", "--size", "4M", "--json", "5"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    guest = Guest.plain("4M", geometry="hap64")
    assert found["entry"] == int(guest.entries([5])[0])
    assert (found["kind"], found["n_loads"]) == ("ram_rw", 2)
    assert [step["view"] for step in found["path"]] == ["window", "window"]
    assert main(["dump", "--design", "hap-walk", "--size", "4M"]) == 0
    text = capsys.readouterr().out
    assert text == "[0x00000000->0x00000400] ram_rw\n[0x00000400->0x00040000] mmio_dm\n"
    assert main(["dump", "--design", "hap-linear", "--size", "4M", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0] == {"first_pfn": 0, "end_pfn": 1024, "kind": "ram_rw"}
