"""What changes of a HAP p2m cost, which of them fail and how, and what always holds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from design_names import HAP_DESIGNS, HapName
from hap_guests import (
    GIB,
    RAM_RW,
    each_design,
    every,
    one_leaf,
)
from hypothesis import given, settings

import p2mperf
from p2mperf.errors import AuditError, BadInputError, DoesNotFitError
from p2mperf.guests.extents import Extents
from p2mperf.guests.guest import Guest
from p2mperf.guests.machine import Machine

# ---- what changes cost ----


@each_design
@pytest.mark.parametrize(
    ("geometry", "order", "at", "new_order", "writes", "tables", "leaves"),
    [
        # 512 entries of the new table, the entry above, and the one asked for.
        ("hap64", 9, 0, 0, 514, 1, {0: 511}),
        ("hap64", 9, 511, 0, 514, 1, {0: 511}),
        ("hap-pae", 9, 100, 0, 514, 1, {0: 511}),
        ("hap64", 18, 512 * 7, 9, 514, 1, {9: 511}),
        ("hap64", 18, 512 * 7 + 3, 0, 1027, 2, {0: 511, 9: 511}),
        ("hap64", 18, GIB - 1, 0, 1027, 2, {0: 511, 9: 511}),
        ("hap-nonpae", 10, 1023, 0, 1026, 1, {0: 1023}),
        # A whole leaf is emptied as it is.
        ("hap64", 9, 0, 9, 1, 0, {}),
        ("hap64", 18, 0, 18, 1, 0, {}),
    ],
)
def test_what_a_split_costs(
    design: HapName,
    geometry: str,
    order: int,
    at: int,
    new_order: int,
    writes: int,
    tables: int,
    leaves: dict[int, int],
) -> None:
    guest = one_leaf(order, geometry)
    with p2mperf.build(design, guest) as p2m:
        before = p2m.lookup(every(p2m))
        assert p2m.remove(at, new_order).tolist() == [True]
        assert (p2m.counts["writes"], p2m.counts["tables"]) == (writes, tables)
        assert p2m.leaves == leaves
        before[at : at + (1 << new_order)] = 0
        assert np.array_equal(p2m.lookup(every(p2m)), before)
        p2m.audit()


def test_flushes_are_those_since_2014() -> None:
    with p2mperf.build("hap-walk", one_leaf(18)) as p2m:
        p2m.remove(5)
        # L3 and L2 were superpages, the entry of L1 was present; the 1024 that were filled flush nothing.
        assert p2m.counts["flushes"] == 3


@each_design
def test_the_second_hole_in_a_split_region_takes_no_table(design: HapName) -> None:
    with p2mperf.build(design, one_leaf(9)) as p2m:
        p2m.remove(5)
        p2m.remove(6)
        assert (p2m.counts["writes"], p2m.counts["tables"]) == (515, 1)


@each_design
def test_nothing_is_ever_merged_but_a_leaf_may_take_the_place_of_a_table(design: HapName) -> None:
    guest = one_leaf(9)
    with p2mperf.build(design, guest) as p2m:
        gfns = np.arange(512)
        assert p2m.remove(gfns).all()
        assert p2m.footprint().pages["l1"] == 1  # empty, and still there
        assert p2m.add(gfns, 512 + gfns).all()
        assert p2m.leaves == {0: 512}
        assert p2m.add(0, 512, 9).all()
        assert p2m.leaves == {9: 1}
        assert p2m.footprint().pages["l1"] == 0
        assert np.array_equal(p2m.lookup(every(p2m)), guest.entries(every(p2m)))
        p2m.audit()


@each_design
def test_an_order_is_cut_into_what_alignment_allows(design: HapName) -> None:
    # Two pages, so far apart that the table has room for 2 GiB.
    guest = Guest.from_extents(Extents.of([(0, 1, 0), (2 * GIB - 1, 2, 0)]), machine=Machine(4 * GIB))
    for gfn, mfn, leaves in (
        (512, GIB, {9: 512}),  # the guest's frame is a multiple of 2 MiB only
        (GIB, GIB + 512, {9: 512}),  # the machine's is
        (513, GIB + 1, {0: GIB}),  # both are odd: what is left never is a multiple of anything
        (GIB, 2 * GIB, {18: 1}),
    ):
        with p2mperf.build(design, guest, pool_pages=1000) as p2m:
            assert p2m.add(gfn, mfn, 18).all()
            n_others = 1 if gfn == GIB else 2  # the page at the end is among those that are set
            assert p2m.leaves == {**leaves, 0: leaves.get(0, 0) + n_others}
            p2m.audit()


@each_design
def test_an_alias_is_removed_and_the_m2p_follows(design: HapName) -> None:
    extents = Extents.of([(0, 512, 9), (512, 1024, 9)])
    with p2mperf.build(design, Guest.from_extents(extents)) as p2m:
        # What backs frame 512 comes to frame 3: there is a hole at 512, and the superpage there is split.
        assert p2m.add(3, 1024).all()
        assert p2m.lookup([3, 512]).tolist() == [1024 << 12 | RAM_RW, 0]
        assert p2m.mfn_to_gfn([1024, 515, 1025]).tolist() == [3, 2**64 - 1, 513]
        assert p2m.leaves == {0: 512 + 511}
        p2m.audit()


@each_design
def test_types_change_in_place_for_all_and_split_for_one(design: HapName) -> None:
    guest = one_leaf(9)
    with p2mperf.build(design, guest) as p2m:
        assert p2m.change_type_global("ram_rw", "ram_logdirty") == 1
        assert p2m.leaves == {9: 1}
        read_only = RAM_RW ^ 2 ^ 3 << 9  # type 2, without the write bit
        expected = np.where(np.arange(512) < 512, np.arange(512, 1024) << 12 | read_only, 0)
        assert np.array_equal(p2m.lookup(np.arange(512)), expected)
        assert p2m.change_type([7, 7], "ram_logdirty", "ram_rw").tolist() == [True, False]
        expected[7] = 519 << 12 | RAM_RW
        assert np.array_equal(p2m.lookup(np.arange(512)), expected)
        assert p2m.leaves == {0: 512}
        assert p2m.explain(int(expected[8])) == {"kind": "ram_logdirty", "mfn": 520}
        p2m.audit()


@each_design
def test_a_device_has_no_place_in_the_m2p(design: HapName) -> None:
    with p2mperf.build(design, one_leaf(9)) as p2m:
        assert p2m.remove(5).all()
        assert p2m.set_entry(5, 1500, 0, "mmio_direct").all()
        assert p2m.explain(int(p2m.lookup([5])[0])) == {"kind": "mmio_direct", "mfn": 1500}
        p2m.audit()


@each_design
def test_memory_whose_m2p_nobody_keeps_is_found(design: HapName) -> None:
    with p2mperf.build(design, one_leaf(9)) as p2m:
        p2m.set_entry(5, 1500)
        with pytest.raises(AuditError, match="I1"):
            p2m.audit()


# ---- what fails ----


@each_design
@pytest.mark.parametrize("n_pages", [0, 1, 2])
def test_each_allocation_that_fails_leaves_every_translation(design: HapName, n_pages: int) -> None:
    with p2mperf.build(design, one_leaf(18)) as p2m:
        before = p2m.lookup(every(p2m))
        p2m.set_allocation(p2m.allocation[0] + n_pages)
        done = p2m.remove(513)[0]
        assert done == (n_pages == 2)
        # What was split before the pool was empty stays split: 512 of 2 MiB with one page.
        assert p2m.leaves == ({18: 1}, {9: 512}, {0: 511, 9: 511})[n_pages]
        if done:
            before[513] = 0
        assert np.array_equal(p2m.lookup(every(p2m)), before)
        p2m.audit()
        p2m.set_allocation(1000)
        assert p2m.remove(513)[0] != done


@each_design
@pytest.mark.parametrize("n_pages", range(5))
def test_adding_with_an_alias_fails_whole(design: HapName, n_pages: int) -> None:
    # Frame 0 takes a page of a 1 GiB leaf elsewhere: two tables for the alias, two for the frame itself.
    extents = Extents.of([(0, 2 * GIB, 18), (GIB, 3 * GIB, 18)])
    with p2mperf.build(design, Guest.from_extents(extents)) as p2m:
        before, m2p = p2m.lookup(every(p2m)), p2m.m2p.words().copy()
        p2m.set_allocation(p2m.allocation[0] + n_pages)
        assert p2m.add(0, 3 * GIB + 9).tolist() == [n_pages == 4]
        if n_pages < 4:
            assert np.array_equal(p2m.lookup(every(p2m)), before)
            assert np.array_equal(p2m.m2p.words(), m2p)
        p2m.audit()


def test_a_pool_gives_what_was_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    with p2mperf.build("hap-linear", one_leaf(18)) as p2m:
        before = p2m.lookup(every(p2m))
        p2m.set_allocation(p2m.allocation[0] + 2)
        for _ in range(3):  # the same two pages each time
            assert p2m.remove(513).all()
            assert p2m.allocation[1] == 0
            assert not p2m.remove(0).any()
            assert p2m.add(0, GIB, 18).all()
            assert p2m.allocation[1] == 2
        assert np.array_equal(p2m.lookup(every(p2m)), before)
        p2m.audit()


def test_without_mappings_nothing_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    with p2mperf.build("hap-linear", one_leaf(9)) as p2m:
        before = p2m.lookup(every(p2m))
        monkeypatch.setattr("p2mperf.designs.hap.windows.n_maps_available", lambda: 0)
        assert not p2m.remove(5).any()
        assert not p2m.remove(0, 9).any()  # which would have to be hidden
        assert not p2m.add(512, 1024, 9).any()
        assert np.array_equal(p2m.lookup(every(p2m)), before)
        monkeypatch.undo()
        p2m.audit()
        assert p2m.remove(5).all()
        p2m.audit()


def test_windows_that_need_too_many_mappings_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    guest = Guest.plain("1026M", geometry="hap64")
    monkeypatch.setattr("p2mperf.host.maps.n_maps_available", lambda: 1)
    with pytest.raises(DoesNotFitError, match="mappings"):
        p2mperf.build("hap-linear", guest)
    p2mperf.build("hap-walk", guest).close()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p2m: p2m.add(1 << 18, 0), "beyond the 0x40000 frames"),
        (lambda p2m: p2m.add((1 << 18) - 1, 0, 1), "beyond the 0x40000 frames"),
        (lambda p2m: p2m.add(2**64 - 1, 0, 18), "beyond the 0x40000 frames"),
        (lambda p2m: p2m.add(0, 4096), "beyond the machine's 4096 frames"),
        (lambda p2m: p2m.add(0, 2**64 - 1), "beyond the machine's 4096 frames"),
        (lambda p2m: p2m.add(0, 0, 19), "orders must be whole, from 0 to 18, not 19"),
        (lambda p2m: p2m.add(0, 0, -1), "orders must be whole"),
        (lambda p2m: p2m.add(0, 0, 1.5), "orders must be whole"),
        (lambda p2m: p2m.add([0, 1], [0, 1], [0, 0, 0]), "2 ranges cannot have 3 orders"),
        (lambda p2m: p2m.add([0, 1], [0]), "2 ranges of guest frames cannot have 1 mfns"),
        (lambda p2m: p2m.add(0, 0, 0, "ram"), "unknown type of RAM 'ram'"),
        (lambda p2m: p2m.add(0, 0, 0, "mmio_direct"), "unknown type of RAM 'mmio_direct'"),
        (lambda p2m: p2m.set_entry(0, 0, 0, "mmio_dm"), "unknown kind of entry 'mmio_dm'"),
        (lambda p2m: p2m.change_type(0, "ram_rw", "x"), "unknown type of RAM 'x'"),
        (lambda p2m: p2m.remove(-1), "gfns must be whole and not negative"),
        (lambda p2m: p2m.set_allocation(1), "4 pages are tables|3 pages are tables"),
        (lambda p2m: p2m.set_allocation(-1), "pages of the pool must be a whole number"),
    ],
    ids=range(17),
)
@each_design
def test_what_cannot_be_is_refused_and_nothing_changes(
    design: HapName, call: Callable[[Any], Any], message: str
) -> None:
    with p2mperf.build(design, one_leaf(9)) as p2m:
        before = p2m.lookup(every(p2m))
        with pytest.raises(BadInputError, match=message):
            call(p2m)
        assert np.array_equal(p2m.lookup(every(p2m)), before)
        assert p2m.counts["writes"] == 0
        p2m.audit()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: p2mperf.build("hap-walk", Guest.plain("16M")),
            "hap-walk|HAP translates guests of geometry hap64",
        ),
        (lambda: Guest.plain("5G", geometry="hap-pae"), "beyond the 4G that hap-pae translates"),
        (lambda: Guest.plain("4097M", geometry="hap-nonpae"), "beyond the 4G"),
        (lambda: p2mperf.build("hap-walk", one_leaf(9), pool_pages=2), "a pool of 2 pages is too small"),
        (lambda: p2mperf.build("hap-walk", one_leaf(9), pool_pages="x"), "pool_pages must be a whole number"),
        (lambda: p2mperf.build("hap-walk", one_leaf(9), hap_2mb="no"), "hap_2mb"),
    ],
)
def test_what_cannot_be_built_is_refused(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        build()


# ---- laws ----


@settings(max_examples=30, deadline=None)
@given(frames=st.lists(st.integers(0, 2047), min_size=1, max_size=40), design=st.sampled_from(HAP_DESIGNS))
def test_splitting_changes_nothing_that_is_read(frames: list[int], design: HapName) -> None:
    guest = Guest.plain("8M", geometry="hap64")
    with p2mperf.build(design, guest) as p2m:
        before = p2m.lookup(every(p2m))
        mfns = before[frames] >> np.uint64(12)
        assert p2m.set_entry(frames, mfns).all()
        assert np.array_equal(p2m.lookup(every(p2m)), before)
        n_split = len({frame // 512 for frame in frames})
        assert p2m.leaves == {order: n for order, n in ((0, 512 * n_split), (9, 4 - n_split)) if n}
        p2m.audit()


def test_readers_see_no_passing_answer_while_superpages_are_split() -> None:
    guest = Guest.plain("256M", geometry="hap64")
    with p2mperf.build("hap-linear", guest) as p2m:
        frames = np.arange(guest.covered_pfn, dtype=np.uint64)
        expected, wrong, stop = guest.entries(frames), [], threading.Event()

        def read() -> None:
            while not stop.is_set():
                wrong.extend(np.flatnonzero(p2m.lookup(frames) != expected).tolist())

        reader = threading.Thread(target=read)
        reader.start()
        try:
            for first in range(0, guest.covered_pfn, 512):
                assert p2m.set_entry(first, int(expected[first]) >> 12).all()
        finally:
            stop.set()
            reader.join()
        assert wrong == []
        assert p2m.leaves == {0: guest.covered_pfn}
        p2m.audit()
