"""One memory behind two views: what the kernel says of it, and that all of it is given back."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import own_process
import pytest
from design_names import PV_DESIGNS, PvName

import p2mperf
from p2mperf import Guest
from p2mperf.designs.pv import store as pv_store
from p2mperf.designs.pv.leaf_plan import LeafPlan
from p2mperf.errors import ClosedError, DoesNotFitError
from p2mperf.host import maps
from p2mperf.memory import smaps, vm
from p2mperf.memory.pool import PagePool
from p2mperf.memory.window import Window
from p2mperf.units import HUGE_SIZE, MIB, PAGE_SIZE

ROOT = Path(__file__).resolve().parents[2]
E820 = "dom0-64-e820"


def word_at(address: int) -> Any:
    return ctypes.c_uint64.from_address(address)


def window_pages(window: Any) -> list[tuple[str, int, int]]:
    """(rights, inode, offset) behind every page of a window, as the kernel tells it."""
    found = []
    for area in own_process.areas(window.base, window.n_pages * PAGE_SIZE):
        offsets = range(area.offset, area.offset + area.end - area.start, PAGE_SIZE)
        found += [(area.rights, area.inode, offset) for offset in offsets]
    return found


# ---- one memory, two views ----


def test_a_write_through_the_direct_map_is_read_through_the_window() -> None:
    with p2mperf.build("pv-linear", E820) as p2m:
        # pfn 1000 is entry 1000 - 512 = 488 of the second leaf.
        direct = p2m.pool.words(int(p2m.window.frames[1]), np.uint64)
        assert p2m.lookup([1000]) == direct[488] != 0x1234
        direct[488] = 0x1234
        assert p2m.lookup([1000]) == 0x1234


def test_a_write_through_the_window_is_read_through_the_direct_map() -> None:
    with p2mperf.build("pv-linear", E820) as p2m:
        word_at(p2m.window.base + 1000 * 8).value = 0x4321
        assert p2m.pool.words(int(p2m.window.frames[1]), np.uint64)[488] == 0x4321
        assert p2m.lookup([1000]) == 0x4321


def test_a_window_shows_frames_in_its_own_order() -> None:
    with PagePool(4) as pool, Window(pool, 4) as window:
        frames = pool.allocate(3, "leaf")
        for frame in frames.tolist():
            pool.words(frame, np.uint64)[:] = 100 + frame
        shown = frames[[2, 0, 0, 1]]
        window.map(0, shown, np.array([True, False, False, True]))
        read = [word_at(window.base + page * PAGE_SIZE).value for page in range(4)]
        assert read == [102, 100, 100, 101]
        # 2 | 0 | 0 | 1: no frame continues the one before.
        assert window.n_vmas == len(own_process.areas(window.base, 4 * PAGE_SIZE)) == 4


def test_neighbouring_frames_of_one_right_share_a_mapping() -> None:
    with PagePool(8) as pool, Window(pool, 5) as window:
        frames = pool.allocate(5, "leaf")
        # 0 1 | 2 3 | 4: the rights of page 2 and 3 differ from those around them.
        window.map(0, frames, np.array([True, True, False, False, True]))
        areas = own_process.areas(window.base, 5 * PAGE_SIZE)
        assert [(a.end - a.start) // PAGE_SIZE for a in areas] == [2, 2, 1]
        assert [a.rights for a in areas] == ["rw-s", "r--s", "rw-s"]
        assert window.n_vmas == 3


@pytest.mark.parametrize("guest", [E820, "dom0-32-e820", "domu-64-2049m"])
def test_the_kernel_sees_the_frames_of_the_pool_in_the_window(guest: str) -> None:
    with p2mperf.build("pv-linear", guest) as p2m:
        inode = os.fstat(p2m.pool.fd).st_ino
        (direct,) = own_process.areas(p2m.pool.base, p2m.pool.n_frames * PAGE_SIZE)
        assert (direct.rights, direct.inode, direct.offset) == ("rw-s", inode, 0)
        pages = window_pages(p2m.window)
        assert {seen for _, seen, _ in pages} == {inode}
        assert [offset for _, _, offset in pages] == (p2m.window.frames * PAGE_SIZE).tolist()


def test_holes_show_one_read_only_frame_in_many_places() -> None:
    # RAM without memory ends at 3 GiB = 786432 pages: 262144 at boot, 1280 below 1029M, so 523008 from 512256
    # on; that is up to 1035264 = 2022 * 512. The map ends at 1048576 = 2048 * 512: 26 leaves are missing.
    # Identity is 263424 = 514.5 * 512 to 512256 = 1000.5 * 512: leaves 515 to 999, that is 485.
    with p2mperf.build("pv-linear", E820) as p2m:
        pages = window_pages(p2m.window)
        for leaf, first, n_places in ((p2m.missing_leaf, 2022, 26), (p2m.identity_leaf, 515, 485)):
            places = [page for page, (_, _, offset) in enumerate(pages) if offset == leaf * PAGE_SIZE]
            assert places == list(range(first, first + n_places))
            assert {pages[page][0] for page in places} == {"r--s"}
        n_shared = sum(rights == "r--s" for rights, _, _ in pages)
        assert n_shared == 26 + 485


def test_a_shared_page_cannot_be_written_through_the_window() -> None:
    with p2mperf.build("pv-linear", E820) as p2m, open("/dev/zero", "rb", buffering=0) as zeros:
        hole = (ctypes.c_char * 8).from_address(p2m.window.base + 2030 * PAGE_SIZE)
        with pytest.raises(OSError, match="Bad address"):
            zeros.readinto(hole)
        leaf = (ctypes.c_char * 8).from_address(p2m.window.base)
        assert zeros.readinto(leaf) == 8


def test_a_hole_as_large_as_a_mid_shows_one_extent() -> None:
    # RAM up to 1 GiB, then identity to 4 GiB: 3 mids of 512 leaves each are one and the same 512 frames.
    rows: list[tuple[int | str, int | str, str]] = [(0, "1G", "ram"), ("4G", "5G", "ram")]
    with p2mperf.build("pv-linear", Guest.from_e820(rows, "1G", "2G")) as p2m:
        assert p2m.footprint().pages["hole_window"] == 512
        offsets = [offset for _, _, offset in window_pages(p2m.window)]
        assert offsets[512:1024] == offsets[1024:1536] == offsets[1536:2048]
        assert len(set(offsets[512:1024])) == 512
        # One mapping for the leaves below, one for each mid of the hole, one for the leaves above.
        assert p2m.footprint().n_vmas == 5


# ---- page sizes ----


@pytest.mark.usefixtures("collapse")
@pytest.mark.parametrize(
    ("backing", "direct", "window"),
    [
        ("kernel", PAGE_SIZE, PAGE_SIZE),
        ("mixed", HUGE_SIZE, PAGE_SIZE),
        ("small", PAGE_SIZE, PAGE_SIZE),
        ("huge", HUGE_SIZE, HUGE_SIZE),
        ("swapped", PAGE_SIZE, HUGE_SIZE),
    ],
)
def test_each_view_has_the_page_size_of_its_backing(backing: str, direct: int, window: int) -> None:
    # 1 GiB is 512 leaves, 2 MiB of list: the least that can stand on one huge page.
    with p2mperf.build("pv-linear", Guest.plain("1G"), backing) as p2m:
        p2m.lookup(np.arange(0, 262144, 512))
        assert own_process.page_bytes(p2m.pool.base, p2m.pool.n_ready) == direct
        assert own_process.page_bytes(p2m.window.base, p2m.window.n_pages) == window
        assert p2m.views() == {"direct": direct, "window": window}
    with p2mperf.build("pv-tree", Guest.plain("1G"), backing) as p2m:
        assert p2m.views() == {"direct": direct}
        # Xen shows the m2p on 2 MiB pages, whatever pages the guest's own memory is on.
        assert own_process.page_bytes(p2m.m2p.base, p2m.m2p.memory_bytes // PAGE_SIZE) == HUGE_SIZE
        assert p2m.views() == {"direct": direct, "m2p": HUGE_SIZE}


@pytest.mark.usefixtures("collapse")
def test_tables_by_machine_frame_do_not_hide_each_others_pages() -> None:
    with (
        p2mperf.build("pv-linear-nested", Guest.plain("1G")) as first,
        p2mperf.build("pv-linear-nested", Guest.plain("1G")) as second,
    ):
        assert (
            first.views()
            == second.views()
            == {
                "direct": PAGE_SIZE,
                "window": PAGE_SIZE,
                "m2p": HUGE_SIZE,
            }
        )


def test_an_unmapped_range_has_no_page_size() -> None:
    base = vm.reserve_aligned(HUGE_SIZE)
    try:
        assert smaps.view_page_bytes(base, HUGE_SIZE) == 0
    finally:
        vm.unmap(base, HUGE_SIZE)


# ---- limits ----


def test_a_window_over_the_budget_is_refused_before_anything_is_mapped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limit = own_process.n_areas() + maps.SPARE_MAPS + 100
    monkeypatch.setattr(maps, "max_maps", lambda *_: limit)
    with PagePool(512) as pool, Window(pool, 512) as window:
        # Every other frame: 256 frames of which none continues another.
        frames = pool.allocate(512, "leaf")[::2]
        with pytest.raises(DoesNotFitError, match=r"needs 256 mappings and \d+ are left .*sysctl"):
            window.map(0, frames, np.ones(256, np.bool_))
        (area,) = own_process.areas(window.base, 512 * PAGE_SIZE)
        assert area.rights == "---p"
        assert (window.frames == -1).all()


def test_a_design_over_the_budget_is_one_clear_error_and_keeps_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    p2mperf.build("pv-linear", E820).close()
    limit = own_process.n_areas() + maps.SPARE_MAPS + 100
    before = own_process.n_held_areas(), own_process.n_memfds()
    monkeypatch.setattr(maps, "max_maps", lambda *_: limit)
    # The error holds on to the frames it went through: nothing may rest on them being collected.
    with pytest.raises(DoesNotFitError, match=f"vm.max_map_count {limit}") as _held:
        p2mperf.build("pv-linear", E820)
    assert (own_process.n_held_areas(), own_process.n_memfds()) == before
    p2mperf.build("pv-tree", E820).close()


_LIMITED = """
import resource, sys
from pathlib import Path
import p2mperf
from p2mperf.errors import P2mperfError

p2mperf.build({design!r}, p2mperf.Guest.plain("16M")).close()
n_pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, ((n_pages << 12) + (256 << 20),) * 2)
for guest in (p2mperf.Guest.preset("pv-64-400g"), p2mperf.Guest.plain("16M")):
    try:
        with p2mperf.build({design!r}, guest) as p2m:
            p2m.audit()
            print(guest.name, "built")
    except P2mperfError as error:
        print(type(error).__name__, error.exit_code, error)
"""


@pytest.mark.parametrize("design", PV_DESIGNS)
def test_too_little_address_space_is_one_clear_error(design: str) -> None:
    # 400 GiB are 104857600 entries of 8 bytes, 800 MiB: more than the 256 MiB that are left.
    child = subprocess.run(
        [sys.executable, "-c", _LIMITED.format(design=design)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
    )
    refused, built = child.stdout.splitlines()
    assert refused.startswith("DoesNotFitError 4 could not map 8")
    assert "address space (ulimit -v)" in refused
    # What was refused left nothing behind that the next one misses.
    assert built == "pv-64-16m built"


def test_a_pool_that_is_used_up_gives_nothing() -> None:
    with PagePool(512) as pool:
        pool.allocate(500, "leaf")
        with pytest.raises(DoesNotFitError, match=r"holds 512 frames and cannot give 13 more for 'mid'"):
            pool.allocate(13, "mid")
        assert pool.kinds == {"leaf": 500}
        assert pool.allocate(12, "mid").tolist() == list(range(500, 512))


# ---- closed ----


@pytest.mark.parametrize("design", PV_DESIGNS)
@pytest.mark.parametrize(
    "use",
    [
        lambda p2m: p2m.lookup([0]),
        lambda p2m: p2m.lookup_path(0),
        lambda p2m: p2m.pfn_to_mfn([0]),
        lambda p2m: p2m.mfn_to_pfn([0]),
        lambda p2m: p2m.dump(),
        lambda p2m: p2m.audit(),
        lambda p2m: p2m.footprint(),
        lambda p2m: p2m.pool.words(0, np.uint64),
        lambda p2m: p2m.pool.allocate(1, "leaf"),
    ],
    ids=["lookup", "path", "pfn_to_mfn", "mfn_to_pfn", "dump", "audit", "footprint", "words", "allocate"],
)
def test_a_closed_design_says_so(design: PvName, use: Any) -> None:
    p2m = p2mperf.build(design, Guest.plain("16M"))
    p2m.mfn_to_pfn([0])
    p2m.close()
    p2m.close()
    with pytest.raises(ClosedError, match=r"closed: build .*again"):
        use(p2m)


def test_a_closed_window_says_so() -> None:
    with PagePool(1) as pool:
        frames = pool.allocate(1, "leaf")
        window = Window(pool, 1)
        window.close()
        with pytest.raises(ClosedError, match="closed"):
            window.map(0, frames, np.ones(1, np.bool_))


# ---- nothing is kept ----


def run_cycles(guest: Guest, n_cycles: int) -> None:
    for _ in range(n_cycles):
        for design in PV_DESIGNS:
            with p2mperf.build(design, guest) as p2m:
                p2m.lookup([0])
    gc.collect()


def check_flat(guest: Guest, n_cycles: int) -> None:
    run_cycles(guest, 20)
    before = own_process.n_held_areas(), len(own_process.descriptors()), own_process.n_memfds()
    n_areas = own_process.n_areas()
    resident, tables = own_process.status_bytes("VmRSS"), own_process.status_bytes("VmPTE")
    run_cycles(guest, n_cycles)
    assert before == (own_process.n_held_areas(), len(own_process.descriptors()), own_process.n_memfds())
    assert own_process.n_memfds() == 0
    assert own_process.n_areas() - n_areas < n_cycles / 10
    # Each of the cycles took 2 MiB of pool twice: were one frame in fifty kept, this would show.
    assert own_process.status_bytes("VmRSS") - resident < n_cycles * 2 * 2 * MIB / 50
    assert own_process.status_bytes("VmPTE") - tables < n_cycles * PAGE_SIZE / 10


def test_cycles_of_building_keep_nothing() -> None:
    check_flat(Guest.plain("16M"), 60)


@pytest.mark.slow
@pytest.mark.parametrize("guest", [E820, "dom0-32-e820", "domu-64-8g"])
def test_300_cycles_of_building_keep_nothing(guest: str) -> None:
    check_flat(Guest.preset(guest), 300)


FAULTS = {
    "the pool's page tables": (vm, "populate"),
    "writing the leaves": (LeafPlan, "fill"),
    "the page table": (pv_store, "build"),
    "mapping the window": (Window, "map"),
    "the window's page tables": (Window, "populate"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_build_that_fails_keeps_nothing(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = Guest.preset(E820)
    p2mperf.build("pv-linear", guest).close()

    def fail(*arguments: Any, **options: Any) -> None:
        raise MemoryError(fault)

    before = own_process.n_held_areas(), own_process.descriptors()
    monkeypatch.setattr(*FAULTS[fault], fail)
    for _ in range(3):
        with pytest.raises(MemoryError, match=fault) as _held:
            p2mperf.build("pv-linear", guest)
        assert (own_process.n_held_areas(), own_process.descriptors()) == before
    monkeypatch.undo()
    with p2mperf.build("pv-linear", guest) as p2m:
        p2m.audit()


def test_no_room_for_a_memfd_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = own_process.descriptors()
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, limits[1]))
    try:
        with pytest.raises(DoesNotFitError, match="a pool of 2M: File too large"):
            PagePool(1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert own_process.descriptors() == before


# ---- scattered ----


@pytest.mark.parametrize("run_frames", [1, 7, 64])
@pytest.mark.parametrize("guest", [E820, "dom0-32-e820"])
@pytest.mark.parametrize("design", PV_DESIGNS)
def test_scattered_frames_give_the_same_answers(design: PvName, guest: str, run_frames: int) -> None:
    with p2mperf.build(design, guest) as ordered, p2mperf.build(design, guest, run_frames=run_frames) as p2m:
        pfns = np.arange(0, 1048576 + 4096, 3, dtype=np.uint64)
        assert (p2m.lookup(pfns) == ordered.lookup(pfns)).all()
        p2m.audit()
        frames = np.sort(p2m.leaf_frames)
        assert (np.diff(p2m.leaf_frames) != 1).sum() >= frames.size // run_frames // 2
        assert (np.diff(ordered.leaf_frames) == 1).all()
        assert p2m.footprint().pages == ordered.footprint().pages


def test_scattered_runs_stay_together_and_differ_by_seed() -> None:
    with PagePool(512, run_frames=8, seed=1) as pool, PagePool(512, run_frames=8, seed=2) as other:
        frames = pool.allocate(512, "leaf")
        assert sorted(frames.tolist()) == list(range(512))
        assert (np.diff(frames.reshape(64, 8), axis=1) == 1).all()
        assert (frames != other.allocate(512, "leaf")).any()
