"""Balloon, hotplug, passthrough, save and restore, foreign mappings: run, audited, against the oracle."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from design_names import PV_DESIGNS, PvName
from naive import CONFIGURATIONS, LEAF_PAGES, boot_extents
from small_guests import build, life_of, unused

import p2mperf
from p2mperf.designs.pv.saving import Saved
from p2mperf.errors import BadInputError, ClosedError
from p2mperf.guests.guest import Guest
from p2mperf.units import GIB, PAGE_SIZE

both = pytest.mark.parametrize("design", PV_DESIGNS)
widths = pytest.mark.parametrize("bits", [64, 32])
presets = pytest.mark.parametrize("preset", ["domu-64-8g", "domu-32-8g", "dom0-64-8g"])


def unowned(p2m: Any, mfns: Any) -> Any:
    """What frames that nobody here has translate to: themselves where that number is identity, else none."""
    mfns = np.asarray(mfns, np.uint64)
    shape = p2m.guest.geometry
    return np.where(p2m.lookup(mfns) == mfns | np.uint64(shape.identity_bit), mfns, np.uint64(shape.invalid))


@both
@presets
def test_a_gib_is_ballooned_down_and_up(design: PvName, preset: str) -> None:
    # The 2014 commit names ballooning up and down among its tests. 1 GiB = 262144 frames from 1 GiB on.
    oracle = CONFIGURATIONS[preset].oracle(boot_extents(preset))
    pfns = np.arange(262144, 2 * 262144, dtype=np.uint64)
    with p2mperf.build(design, preset) as p2m:
        invalid, pages = p2m.guest.geometry.invalid, p2m.footprint().n_pages
        p2m.m2p  # noqa: B018
        mfns = p2m.balloon_down(pfns)
        sample = [262144, 262145, 300000, 524287]
        assert mfns[np.array(sample) - 262144].tolist() == [oracle.entry(pfn) for pfn in sample]
        assert (p2m.lookup(pfns) == invalid).all()
        assert (p2m.mfn_to_pfn(mfns) == unowned(p2m, mfns)).all()
        p2m.audit()
        # Idempotent: a second time there is nothing to give up.
        assert (p2m.balloon_down(pfns) == invalid).all()
        assert p2m.balloon_up(pfns, mfns[::-1].copy()).all()
        assert p2m.lookup([262144, 524287]).tolist() == [oracle.entry(524287), oracle.entry(262144)]
        assert (p2m.mfn_to_pfn(mfns[::-1]) == pfns).all()
        assert not p2m.balloon_up(pfns, mfns).any()
        assert p2m.footprint().n_pages == pages
        p2m.audit()


@both
@presets
def test_every_mfn_changes_on_restore_and_nothing_else(design: PvName, preset: str) -> None:
    oracle = CONFIGURATIONS[preset].oracle(boot_extents(preset))
    with p2mperf.build(design, preset) as p2m:
        dump, tree = p2m.dump(), p2m.tools.read()
        pages = p2m.footprint().pages
        saved = p2m.save()
        with pytest.raises(BadInputError, match="restore it"):
            p2m.set([0], [0])
        p2m.restore(saved)
        assert p2m.dump() == dump
        assert p2m.footprint().pages == pages
        pfns = [pfn for pfn in oracle.boundaries() if pfn < 2**32]
        was, now = [oracle.entry(pfn) for pfn in pfns], p2m.lookup(pfns).tolist()
        for pfn, before, after in zip(pfns, was, now, strict=True):
            has_memory = oracle.kind(pfn) == "pfn"
            assert (before != after) is has_memory, pfn
        # Tools find the new frames, and every one of them another.
        again = p2m.tools.read()
        assert (np.flatnonzero(again != tree) == np.flatnonzero(saved.has_memory)).all()
        assert (p2m.mfn_to_pfn(again[:1000]) == np.arange(1000))[saved.has_memory[:1000]].all()
        p2m.audit()
        assert p2m.set([0], [int(again[0])]).all()


@both
@widths
def test_a_device_takes_frames_and_their_memory_moves(design: PvName, bits: int) -> None:
    # At run time what xen_set_identity_and_remap does at boot: the guest that was built with the hole and the
    # one that was given it later must not differ. 16 MiB, 2 MiB of it at 5 MiB; memory goes to 16 MiB on.
    mib = 256
    geometry = f"pv{bits}"
    rows: list[tuple[int | str, int | str, str]] = [
        (0, "5M", "ram"),
        ("5M", "7M", "reserved"),
        ("7M", "18M", "ram"),
    ]
    built = p2mperf.build(design, Guest.from_e820(rows, "16M", "18M", geometry=geometry))
    later = p2mperf.build(design, Guest.from_e820([(0, "18M", "ram")], "16M", "18M", geometry=geometry))
    with built, later:
        moved = later.lookup(np.arange(5 * mib, 7 * mib))
        assert later.pass_through(5 * mib, 2 * mib, 16 * mib)
        assert later.dump() == built.dump()
        assert (later.lookup(np.arange(16 * mib, 18 * mib)) == moved).all()
        assert (later.mfn_to_pfn(moved) == np.arange(16 * mib, 18 * mib)).all()
        # MMIO frames translate to themselves, both ways.
        identity = np.arange(5 * mib, 7 * mib, dtype=np.uint64)
        assert (later.pfn_to_mfn(identity) == identity).all()
        free = identity[~np.isin(identity, later.lookup(np.arange(18 * mib)))]
        assert (later.mfn_to_pfn(free) == free).all()
        later.audit()


@both
@widths
def test_passthrough_happens_wholly_or_not_at_all(design: PvName, bits: int) -> None:
    leaf = LEAF_PAGES[bits]
    with build(design, bits) as p2m:
        before = p2m.lookup(np.arange(24 * leaf))
        in_use, beyond = 1, p2m.end_pfn - 2
        for to_pfn in (in_use, beyond, 0):
            assert not p2m.pass_through(0, 4, to_pfn)
        assert not p2m.pass_through(p2m.end_pfn - 1, 2, 12 * leaf)
        assert (p2m.lookup(np.arange(24 * leaf)) == before).all()
        # One frame is enough to need a leaf at the target, above the maximum; there is no page for it.
    with build(design, bits, n_spare=0) as p2m:
        assert not p2m.pass_through(0, 1, 12 * leaf)
        assert (p2m.lookup(np.arange(24 * leaf)) == before).all()
        p2m.audit()


@both
@widths
def test_memory_beyond_boot_up_to_the_limit(design: PvName, bits: int) -> None:
    leaf = LEAF_PAGES[bits]
    guest = Guest.plain("16M", geometry=f"pv{bits}")
    limit = 6 * GIB
    with p2mperf.build(design, guest, limit=limit) as p2m:
        # 6 GiB are 6 mids at 64 bits and two at 32, of 4 GiB each.
        assert p2m.end_pfn * PAGE_SIZE == {64: 6 * GIB, 32: 8 * GIB}[bits]
        first = guest.covered_pfn + 5
        identity, invalid = p2m.guest.geometry.identity_bit, p2m.guest.geometry.invalid
        assert p2m.lookup([first]).tolist() == [first | identity]
        assert not p2m.balloon_up([first], unused(p2m, 1)).any()
        assert p2m.hotplug(first, 3 * leaf)
        assert p2m.lookup([first - 1, first, first + 3 * leaf - 1, first + 3 * leaf]).tolist() == [
            (first - 1) | identity,
            invalid,
            invalid,
            (first + 3 * leaf) | identity,
        ]
        # Three leaves' worth from 5 frames into one on: the fourth is broken for its first 5 frames.
        assert p2m.n_breaks["leaf"] == 4
        mfns = unused(p2m, 2)
        assert p2m.balloon_up([first, first + 1], mfns).all()
        assert p2m.mfn_to_pfn(mfns).tolist() == [first, first + 1]
        assert not p2m.hotplug(first, 1)
        assert not p2m.hotplug(p2m.end_pfn - 1, 2)
        p2m.audit()
    with p2mperf.build(design, guest, limit=limit, n_spare=1) as p2m:
        assert not p2m.hotplug(first, 3 * leaf)


@both
@widths
def test_foreign_frames_come_and_go_in_order(design: PvName, bits: int) -> None:
    # Checklist 8, 14; and one slot that fails does not stop the next (defect 13 of the list's history).
    leaf = LEAF_PAGES[bits]
    with build(design, bits) as p2m:
        shape, hole, mfns = p2m.guest.geometry, 12 * leaf, unused(p2m, 4)
        pfns = [hole, 0, p2m.end_pfn, hole + 1]
        # Frame 0 has memory, which must be ballooned out first; the third is beyond the end.
        assert p2m.set_foreign(pfns, mfns).tolist() == [True, False, False, True]
        assert p2m.lookup([hole, hole + 1]).tolist() == [
            mfns[0] | shape.foreign_bit,
            mfns[3] | shape.foreign_bit,
        ]
        assert p2m.pfn_to_mfn([hole]).tolist() == [mfns[0]]
        assert p2m.mfn_to_pfn([mfns[0]]).tolist() == [shape.invalid]
        p2m.audit()
        with pytest.raises(BadInputError, match="clear_foreign"):
            p2m.save()
        assert p2m.clear_foreign([hole, 0, hole + 1]).tolist() == [True, False, True]
        assert p2m.lookup([hole, hole + 1]).tolist() == [shape.invalid] * 2
        p2m.balloon_down([0])
        assert p2m.set_foreign([0], mfns[:1]).all()
        p2m.audit()


@both
@widths
def test_m2p_override_finds_what_is_mapped_from_elsewhere(design: PvName, bits: int) -> None:
    leaf = LEAF_PAGES[bits]
    with build(design, bits, m2p_override=True) as p2m, build(design, bits) as since:
        shape, hole = p2m.guest.geometry, 12 * leaf
        (theirs,), ours = unused(p2m, 1), int(p2m.lookup([7])[0])
        assert p2m.set_foreign([hole, hole + 1], [theirs, theirs]).all()
        # The newest mapping is found first.
        assert p2m.mfn_to_pfn([theirs]).tolist() == [hole + 1]
        assert p2m.clear_foreign([hole + 1]).all()
        assert p2m.mfn_to_pfn([theirs]).tolist() == [hole]
        # A frame of its own mapped again: its entry says foreign meanwhile, and is restored.
        assert p2m.set_foreign([hole + 2], [ours]).all()
        assert p2m.lookup([7]).tolist() == [ours | shape.foreign_bit]
        assert p2m.mfn_to_pfn([ours]).tolist() == [hole + 2]
        assert p2m.clear_foreign([hole + 2, hole]).all()
        assert p2m.lookup([7]).tolist() == [ours]
        assert p2m.mfn_to_pfn([ours, theirs]).tolist() == [7, shape.invalid]
        p2m.audit()
        assert since.set_foreign([hole], [theirs]).all()
        assert since.mfn_to_pfn([theirs]).tolist() == [shape.invalid]


@both
@widths
def test_the_way_back(design: PvName, bits: int) -> None:
    # Checklist 11: RAM there and back, foreign to none, MMIO to itself, beyond the machine to none.
    leaf = LEAF_PAGES[bits]
    with build(design, bits) as p2m:
        life = life_of(p2m)
        shape, n_machine = p2m.guest.geometry, p2m.guest.machine.n_frames
        ram = np.array(list(life.present()), np.uint64)
        assert (p2m.mfn_to_pfn(p2m.pfn_to_mfn(ram)) == ram).all()
        mmio = leaf**2 + 7
        assert mmio > n_machine
        assert p2m.mfn_to_pfn([mmio, 12 * leaf]).tolist() == [
            mmio,
            life.mfn_to_pfn(12 * leaf, life.present()),
        ]
        (mfn,) = unused(p2m, 1)
        p2m.set([12 * leaf], [mfn])
        assert p2m.mfn_to_pfn([mfn]).tolist() == [12 * leaf]
        p2m.set([12 * leaf], [mfn | shape.foreign_bit])
        assert p2m.mfn_to_pfn([mfn]).tolist() == [shape.invalid]


@both
@widths
@pytest.mark.parametrize("early", [True, False], ids=["before", "after"])
def test_the_m2p_is_the_same_whenever_it_is_asked_for(design: PvName, bits: int, early: bool) -> None:
    with build(design, bits) as p2m:
        if early:
            p2m.m2p  # noqa: B018
        mfns = p2m.balloon_down(np.arange(100))
        p2m.balloon_up(np.arange(50), mfns[50:])
        p2m.set([3], unused(p2m, 1))
        gone = unowned(p2m, mfns).tolist()
        assert p2m.mfn_to_pfn(mfns[50:]).tolist() == [*range(3), gone[53], *range(4, 50)]
        assert p2m.mfn_to_pfn([*unused(p2m, 1), int(mfns[0])]).tolist() == [3, gone[0]]


@both
def test_a_small_machine_and_a_single_page_survive_a_restore(design: PvName) -> None:
    with p2mperf.build(design, Guest.plain("4K")) as p2m:
        before, nothing = p2m.lookup([0]), cast(Saved, None)
        p2m.restore(p2m.save())
        assert p2m.lookup([0]) != before
        p2m.audit()
        with pytest.raises(BadInputError, match="not saved"):
            p2m.restore(nothing)


def test_the_example_of_the_document_runs() -> None:
    text = Path(__file__).parents[3].joinpath("docs", "life.md").read_text("utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)
    assert names["p2m"].closed
    assert names["seen"].size >= 1 << 20


@both
@widths
def test_the_m2p_itself_follows_every_write(design: PvName, bits: int) -> None:
    with build(design, bits) as p2m:
        m2p, invalid = p2m.m2p.words(), p2m.guest.geometry.invalid
        mfn, other = int(p2m.lookup([3])[0]), unused(p2m, 1)[0]
        assert (m2p[mfn], m2p[other]) == (3, invalid)
        p2m.set([3], [other])
        assert (m2p[mfn], m2p[other]) == (invalid, 3)
        # A frame that has moved on is not forgotten when its old place is written.
        p2m.set([4], [other])
        p2m.set([3], [invalid])
        assert m2p[other] == 4
        p2m.balloon_down([4])
        assert m2p[other] == invalid
        assert mfn in p2m.unused_mfns(p2m.guest.machine.n_frames - p2m.guest.n_boot_pages + 2)


@both
def test_a_range_that_is_none_is_answered_with_one_sentence(design: PvName) -> None:
    with build(design, 64) as p2m:
        ranges: tuple[tuple[Any, Any], ...] = ((-1, 5), (5, -1), (1.5, 1), ("5", 1))
        for first_pfn, n_frames in ranges:
            for step in (p2m.hotplug, p2m.set_identity, lambda first, n: p2m.pass_through(first, n, 7)):
                with pytest.raises(BadInputError, match="whole"):
                    step(first_pfn, n_frames)
        # However long, what is beyond the end is only told so.
        assert not p2m.hotplug(5, 2**60)
        assert not p2m.pass_through(5, 2**60, 7)
        assert p2m.set_identity(2**60, 2**60) == 0
    closed: tuple[tuple[Callable[..., object], tuple[int, ...]], ...] = (
        (p2m.hotplug, (1, 1)),
        (p2m.set_identity, (1, 1)),
        (p2m.balloon_down, (1,)),
        (p2m.save, ()),
    )
    for ask, arguments in closed:
        with pytest.raises(ClosedError, match="closed"):
            ask(*arguments)
