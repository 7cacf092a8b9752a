"""Mistakes in HAP p2ms, made in Xen or easily made, are caught: by audits, or by what is compared."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import numpy as np
import pytest
from design_names import HapName
from hap_guests import (
    GIB,
    PAT,
    PSE,
    PSE_PAT,
    RAM_RW,
    each_design,
    every,
    one_leaf,
    slot_of,
)

import p2mperf
from p2mperf.designs.hap import audit_kernels, change_kernels, store_kernels, table_kernels, walk_kernels
from p2mperf.designs.hap.audit import check_ways
from p2mperf.designs.hap.walking import walk_tables
from p2mperf.errors import AuditError
from p2mperf.guests.extents import Extents
from p2mperf.guests.guest import Guest
from p2mperf.guests.machine import Machine
from p2mperf.jit import instance_class, njit, types, walk_overload
from p2mperf.kernels import translate_into
from p2mperf.memory.raw import Probe, load64
from p2mperf.tables.walk import State, Walk, walk

# ---- audits see what is wrong, and nothing else ----


def xen_audits_1gb(words: np.ndarray, gfn: int, mfn: int) -> list[int]:
    """The loop of Xen 4.20 over a superpage of 1 GiB: the frames at which it finds the m2p wrong.

    It goes on by a gigabyte with each frame, as if each were a superpage.
    """
    wrong = []
    for i in range(1 << 18):
        if i < 4:  # the fourth is beyond any m2p here; Xen stops at the first
            m2p = int(words[mfn + i])
            if m2p != gfn:
                wrong.append(i)
            gfn += 1 << 18
    return wrong


@each_design
def test_a_gigabyte_is_audited_frame_by_frame_which_xen_does_not(design: HapName) -> None:
    with p2mperf.build(design, one_leaf(18)) as p2m:
        p2m.audit()
        # Xen's own audit finds fault with this table at the second frame.
        assert xen_audits_1gb(p2m.m2p.words(), 0, GIB)[0] == 1
        for at in (0, 1, 511, 512, GIB - 1):
            m2p = p2m.m2p.words()
            m2p[GIB + at] ^= 1
            with pytest.raises(AuditError, match="I1: the m2p has another guest frame"):
                p2m.audit()
            m2p[GIB + at] ^= 1
        p2m.audit()


@each_design
@pytest.mark.parametrize(
    ("level", "flip", "message"),
    [
        (4, PSE, "I3: an entry says superpage where there are none"),
        (4, 1 << 20, "I7: an entry points to no table"),
        (3, 1 << 40, "I7: an entry points to no table"),
        (2, 1 << 14, "I4: the address of a superpage"),
        (2, 1, "I5: an entry is not present and not empty"),
        (2, 3 << 30, "I1"),
    ],
)
def test_a_damaged_entry_is_found(design: HapName, level: int, flip: int, message: str) -> None:
    with p2mperf.build(design, Guest.plain("4M", geometry="hap64")) as p2m:
        slot = slot_of(p2m, 512, level)
        slot ^= np.uint64(flip)
        with pytest.raises(AuditError, match=message if design == "hap-walk" else f"{message}|I8"):
            p2m.audit()
        slot ^= np.uint64(flip)
        p2m.audit()


def test_a_table_that_two_entries_point_to_or_none_is_found() -> None:
    with p2mperf.build("hap-walk-4k", Guest.plain("4M", geometry="hap64")) as p2m:
        first, second = slot_of(p2m, 0, 2), slot_of(p2m, 512, 2)
        kept = first.copy()
        first[:] = second
        with pytest.raises(AuditError, match=r"I7: two entries point|I1"):
            p2m.audit()
        first[:] = 0
        with pytest.raises(AuditError, match=r"I2|I6"):
            p2m.audit()
        first[:] = kept
        p2m.audit()


def test_a_window_that_shows_another_page_is_found() -> None:
    with p2mperf.build("hap-linear", Guest.plain("4M", geometry="hap64")) as p2m:
        area = p2m.windows.area
        page = (p2m.windows.address(1) - area.base) >> 12
        area.map(page, np.array([p2m.table.stand_in]), np.array([False]))
        with pytest.raises(
            AuditError, match="I8: the window of L2 shows another page than the table at page 0"
        ):
            p2m.audit()


# ---- the hazard of the windows ----


class WrongOrder(NamedTuple):
    """A lookup through the windows that looks into that of L1 first."""

    l1: np.uint64
    l2: np.uint64
    l3: np.uint64
    max_mapped: np.uint64
    is_wrong: np.bool_


@walk_overload(walk)
def _wrong_order(tables: types.Type, state: types.Type, probe: types.Type, pfn: types.Type) -> Walk | None:
    if instance_class(tables) is not WrongOrder:
        return None

    def look_up(tables: WrongOrder, state: State, probe: Probe, pfn: np.uint64) -> tuple[np.uint64, State]:
        entry = load64(probe, tables.l1, pfn)
        if entry & np.uint64(1):
            return entry, state
        entry = load64(probe, tables.l2, pfn >> np.uint64(9))
        return entry, state

    return look_up


# Compiled for this process alone: what is kept on disk must not name a type of a test.
translate = njit(translate_into.py_func, cache=False)
compare = njit(audit_kernels.compare_ways.py_func, cache=False)


@pytest.mark.parametrize("order", [9, 18])
def test_the_wrong_order_of_windows_finds_guest_memory_and_is_caught(
    order: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2mperf.designs.hap.audit.compare_ways", compare)
    guest = one_leaf(order)
    with p2mperf.build("hap-linear", guest) as p2m:
        wrong = WrongOrder._make([*p2m.tables, np.bool_(True)])
        frames, found = np.arange(1 << order, dtype=np.uint64), np.zeros(1 << order, np.uint64)
        translate(wrong, (), frames, found)
        # What it finds are entries that look right: present, of RAM, of machine frames that there are.
        assert ((found & np.uint64(0xF7F)) == RAM_RW).all()
        assert ((found >> np.uint64(12)) < guest.machine.n_frames).all()
        assert np.mean(found == guest.entries(frames)) < 0.01
        with pytest.raises(AuditError, match="I8: gfn 0x0 is found otherwise than by the walk"):
            check_ways(p2m.table, walk_tables(p2m.table), wrong, p2m._require)
        p2m.audit()


def test_under_a_gigabyte_the_window_of_l2_shows_guest_memory_too() -> None:
    with p2mperf.build("hap-linear", one_leaf(18)) as p2m:
        word = np.zeros(1, np.uint64)
        _, l2, l3, max_mapped = p2m.tables
        read_l2 = WrongOrder(l2, l2, l3, max_mapped, np.bool_(True))
        translate(read_l2, (), np.array([5], np.uint64), word)
        assert int(word[0]) & 0xF7F == RAM_RW  # no table there says so: the p2m has none of L2
        assert p2m.footprint().pages["l2"] == 0


# ---- mistakes that were made, or might be: each is seen by what the tests above compare ----


def mutated(function: Any, old: str, new: str, **others: Any) -> Any:
    """The same function, compiled with a mistake in it; it calls `others` in place of those of its module."""
    body = function.py_func if hasattr(function, "py_func") else function
    source = inspect.getsource(body)
    assert source.count(old) >= 1
    source = "\n".join(line for line in source.splitlines() if not line.startswith("@"))
    namespace = {**vars(inspect.getmodule(body)), **others}
    exec(source.replace(old, new), namespace)
    return njit(namespace[body.__name__], cache=False)


def walked(function: Any, p2m: Any) -> np.ndarray:
    compiled = function if hasattr(function, "py_func") else njit(function, cache=False)
    return np.array([compiled(p2m.tables, (), (), np.uint64(frame))[0] for frame in range(1024)], np.uint64)


def test_a_walk_that_adds_the_frame_without_its_mask_is_caught() -> None:
    guest = Guest.plain("4M", geometry="hap64")
    with p2mperf.build("hap-walk", guest) as p2m:
        expected = guest.entries(np.arange(1024))
        assert np.array_equal(walked(walk_kernels._walk_64, p2m), expected)
        name, part = "_last_two_levels", walk_kernels._last_two_levels
        with_mistake = mutated(part, "small_entry(entry, pfn, MASK)", "entry + (pfn << NINE)")
        wrong = mutated(walk_kernels._walk_64, name, name, **{name: with_mistake})
        assert not np.array_equal(walked(wrong, p2m), expected)


def with_pat(p2m: Any, gfn: int) -> None:
    slot = slot_of(p2m, gfn, 2)
    slot |= np.uint64(PSE_PAT)


@each_design
@pytest.mark.parametrize("has_pat", [False, True])
def test_a_split_keeps_the_pat_bit_in_the_place_it_has_there(design: HapName, has_pat: bool) -> None:
    with p2mperf.build(design, one_leaf(9)) as p2m:
        if has_pat:
            with_pat(p2m, 0)
        before = p2m.lookup(np.arange(512))
        expected = np.arange(512, 1024) << 12 | RAM_RW | (PAT if has_pat else 0)
        assert np.array_equal(before, expected)
        p2m.audit()
        assert p2m.set_entry(3, 515).all()
        expected[3] = 515 << 12 | RAM_RW
        assert p2m.leaves == {0: 512}
        assert np.array_equal(p2m.lookup(np.arange(512)), expected)
        p2m.audit()


@each_design
def test_a_split_of_a_gigabyte_keeps_the_pat_bit_of_all_its_parts(design: HapName) -> None:
    with p2mperf.build(design, one_leaf(18)) as p2m:
        slot = slot_of(p2m, 0, 3)
        slot |= np.uint64(PSE_PAT)
        before = p2m.lookup(every(p2m))
        assert p2m.remove(512, 9).all()
        before[512:1024] = 0
        assert np.array_equal(p2m.lookup(every(p2m)), before)
        assert p2m.remove(0).all()
        before[0] = 0
        assert np.array_equal(p2m.lookup(every(p2m)), before)
        p2m.audit()


def split_by(function: Any, p2m: Any) -> None:
    """Let one form of next_table split the superpage of frame 0."""
    store = p2m.table.store
    p2m.table.tally[store_kernels.PATIENT] = 1
    p2m.table._replenish()
    root = store.root
    for level in (3, 2):
        root = table_kernels.next_table(store, (), np.uint64(root), np.uint64(0), np.uint64(level))
    function(store, (), np.uint64(root), np.uint64(0), np.uint64(1))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            "word = slot & ~SUPERPAGE_PAT if slot & SUPERPAGE_PAT else slot & ~SUPERPAGE",
            "word = slot & ~SUPERPAGE",
        ),
        (
            "word = slot & ~SUPERPAGE_PAT if slot & SUPERPAGE_PAT else slot & ~SUPERPAGE",
            "word = slot & ~(SUPERPAGE | SUPERPAGE_PAT)",
        ),
        ("step = ONE << (PAGE + store.bits * below)", "step = ZERO"),
        ("word, step = ONE << store.bits, slot, ZERO", "word, step = (ONE << store.bits) - ONE, slot, ZERO"),
    ],
)
def test_a_split_with_a_mistake_is_caught(old: str, new: str) -> None:
    for mutant, is_right in (
        (table_kernels.next_table, True),
        (mutated(table_kernels.next_table, old, new), False),
    ):
        with p2mperf.build("hap-walk", one_leaf(9)) as p2m:
            with_pat(p2m, 0)
            before = p2m.lookup(np.arange(512))
            split_by(mutant, p2m)
            assert p2m.leaves == {0: 512} or not is_right
            assert np.array_equal(p2m.lookup(np.arange(512)), before) == is_right


def test_a_highest_frame_that_is_the_first_of_a_superpage_is_caught() -> None:
    wrong = mutated(change_kernels.place, "account(store, frame, n_frames,", "account(store, frame, ONE,")
    guest = Guest.from_extents(Extents.of([(0, 1, 0)]), machine=Machine(4096))
    for place, last in ((change_kernels.place, 1023), (wrong, 512)):
        with p2mperf.build("hap-walk", guest) as p2m:
            table = p2m.table.store
            below = table_kernels.descend(table, (), np.uint64(512), np.uint64(1))
            place(table, (), below, np.uint64(512), np.uint64(1), np.uint64(512 << 12 | RAM_RW | PSE))
            p2m.after_change()
            assert p2m.max_mapped_pfn == last
            assert (p2m.lookup([1023])[0] != 0) == (last == 1023)
            if last == 512:
                with pytest.raises(AuditError, match=r"I10|I1"):
                    p2m.audit()
