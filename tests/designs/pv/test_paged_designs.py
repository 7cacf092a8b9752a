"""Tree and list on pages of one size, as designs of one cell."""

from __future__ import annotations

import numpy as np
import own_process
import pytest
from design_names import PagedName
from naive_life import Life
from small_guests import oracle_of, small_guest, unused

import p2mperf
from p2mperf.analysis.summary import references_of
from p2mperf.designs import find, registry
from p2mperf.designs.backing import NAMES as BACKINGS
from p2mperf.designs.pv.paged import PvLinear2m, PvLinear4k
from p2mperf.guests.guest import Guest
from p2mperf.units import HUGE_SIZE, PAGE_SIZE

PAGED: dict[PagedName, int] = {
    "pv-tree-4k": PAGE_SIZE,
    "pv-tree-2m": HUGE_SIZE,
    "pv-linear-4k": PAGE_SIZE,
    "pv-linear-2m": HUGE_SIZE,
}


@pytest.mark.usefixtures("collapse")
@pytest.mark.parametrize(("design", "n_bytes"), PAGED.items())
def test_their_pages_are_their_own_whatever_the_backing(design: PagedName, n_bytes: int) -> None:
    backing = "huge" if n_bytes == PAGE_SIZE else "kernel"  # the other size throughout
    # 1 GiB is 512 leaves, 2 MiB of list: the least that can stand on one huge page.
    with p2mperf.build(design, Guest.plain("1G"), backing) as p2m:
        p2m.lookup(np.arange(0, 262144, 512))
        assert own_process.page_bytes(p2m.pool.base, p2m.pool.n_ready) == n_bytes
        views = ["direct"]
        if isinstance(p2m, PvLinear4k | PvLinear2m):
            assert own_process.page_bytes(p2m.window.base, p2m.window.n_pages) == n_bytes
            views.append("window")
        assert p2m.views() == dict.fromkeys(views, n_bytes)
        # A layout is told by the backing that was asked for, of which there is one a unit.
        assert p2m.backing.name == backing


def test_no_backing_changes_them() -> None:
    for design, n_bytes in PAGED.items():
        assert {find(design).backing_of(name)[1:] for name in BACKINGS} == {(n_bytes, n_bytes)}
        assert not registry()[design].headline


@pytest.mark.parametrize("design", PAGED)
@pytest.mark.parametrize("bits", [64, 32])
def test_they_hold_what_the_map_says_and_what_is_written(bits: int, design: PagedName) -> None:
    oracle = oracle_of(small_guest(bits))
    with p2mperf.build(design, small_guest(bits)) as p2m:
        pfns = np.arange(0, 4 * p2m.guest.geometry.leaf_frames, 61)
        assert p2m.lookup(pfns).tolist() == [oracle.entry(pfn) for pfn in pfns.tolist()]
        p2m.audit()
        counted, predicted = p2m.footprint(), find(design).predict_footprint(p2m.guest)
        assert (counted.pages, counted.n_vmas) == (predicted.pages, predicted.n_vmas)
        # What they answer is what tree and list answer.
        judge = Life(oracle, design.removesuffix("-4k").removesuffix("-2m"), p2m.end_pfn, p2m.n_spare_left)
        frames = unused(p2m, 3)
        # In a private leaf, and in a shared one that is broken by it.
        far = 6 * p2m.guest.geometry.leaf_frames
        for pfn, mfn in zip([1, far, far + 1], frames, strict=True):
            assert p2m.set([pfn], [mfn]).tolist() == [judge.set(pfn, mfn)]
        assert p2m.lookup([1, far, far + 1]).tolist() == [judge.entry(pfn) for pfn in (1, far, far + 1)]
        p2m.audit()


def test_two_of_a_cell_do_not_see_each_others_writes() -> None:
    guest = small_guest(64)
    with p2mperf.build("pv-linear-4k", guest) as small, p2mperf.build("pv-linear-2m", guest) as large:
        before = large.lookup([1]).tolist()
        assert small.set([1], [5]).tolist() == [True]
        assert (small.lookup([1]).tolist(), large.lookup([1]).tolist()) == ([5], before)


def test_small_pages_are_divided_by_large_ones() -> None:
    for small, large in (("pv-linear-4k", "pv-linear-2m"), ("pv-tree-4k", "pv-tree-2m")):
        assert references_of("pv", [large, small]) == {small: large}
    every = references_of("pv", ["pv-linear", "pv-linear-2m", "pv-linear-4k"])
    assert set(every.values()) == {"pv-linear"}


@pytest.mark.usefixtures("collapse")
def test_a_sweep_compares_them_in_one_process() -> None:
    frame = p2mperf.sweep(
        sizes=["1G"],
        designs=["pv-linear-4k", "pv-linear-2m"],
        streams=["uniform"],
        operations=["throughput"],
        n_replicates=1,
        quiet=True,
    )
    pages = frame.groupby("design")["view_page_bytes"].unique().to_dict()
    assert {
        name: sizes.tolist() for name, sizes in pages.items() if not str(name).startswith("control:")
    } == {
        "pv-linear-4k": [PAGE_SIZE],
        "pv-linear-2m": [HUGE_SIZE],
    }
    (pair,) = p2mperf.summary(frame).to_dict("records")
    assert (pair["design"], pair["reference"], pair["n_processes"]) == ("pv-linear-4k", "pv-linear-2m", 1)
    assert pair["ratio"] > 0
