"""Radix tables of random shape: what is built is what is read, page by page and slot by slot."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given, settings

from p2mperf.errors import DoesNotFitError
from p2mperf.memory.pool import PagePool
from p2mperf.tables.radix import Level, Radix, RadixTable, Sharing, build, count_pages, covered_by, read_back

NAMES = ("pte", "pmd", "pud", "pgd")
PRESENT, WRITE = 0x61, 0x02


@dataclass(frozen=True)
class Case:
    """A table to build; targets are runs of labels 0 (shared), 1 (shared) and 2 (a frame of its own)."""

    slot_bytes: int
    first_slots: tuple[int, ...]
    group: int
    runs: tuple[tuple[int, int], ...]
    flags: int = 0
    run_frames: int = 0
    n_kept: int = 0

    @property
    def fanout(self) -> int:
        return 4096 // self.slot_bytes

    @property
    def shape(self) -> Radix:
        levels = [
            Level(name, self.fanout, first) for name, first in zip(NAMES, self.first_slots, strict=False)
        ]
        return Radix(tuple(levels), self.slot_bytes, based=self.slot_bytes == 8, flags=self.flags)

    def sharing(self, zero: int = 0, one: int = 1) -> Sharing:
        write_flag = WRITE if self.flags else 0
        return Sharing((zero, one), self.group, self.n_kept, write_flag=write_flag)

    @property
    def labels(self) -> list[int]:
        """Labels of all slots, in whole groups of pages where pages are grouped."""
        labels = [label for label, n_slots in self.runs for _ in range(n_slots)]
        if self.group > 1:
            labels += [2] * (-len(labels) % (self.group * self.fanout))
        return labels


@st.composite
def cases(draw: st.DrawFn) -> Case:
    slot_bytes = draw(st.sampled_from([8, 4]))
    fanout = 4096 // slot_bytes
    group = draw(st.sampled_from([1, 1, 2]))
    n_levels = draw(st.integers(2, 4))
    # Lengths around whole pages, so that pages of one label alone do come.
    length = st.one_of(st.integers(1, 40), st.sampled_from([fanout - 1, fanout, fanout + 1, 2 * fanout]))
    runs = draw(st.lists(st.tuples(st.sampled_from([0, 1, 2]), length), min_size=1, max_size=6))
    first = [0 if group > 1 else draw(st.sampled_from([0, 1, fanout - 1]))]
    first += [draw(st.integers(0, fanout - 40)) for _ in range(n_levels - 1)]
    flags = draw(st.sampled_from([0, PRESENT])) if slot_bytes == 8 else 0
    run_frames, n_kept = draw(st.sampled_from([0, 1, 5])), draw(st.sampled_from([0, 0, 2]))
    return Case(slot_bytes, tuple(first), group, tuple(runs), flags, run_frames, n_kept)


def expected_pages(case: Case) -> Counter[str]:
    """Pages by level, counted one page at a time."""
    padded = [-1] * case.first_slots[0] + case.labels
    padded += [-1] * (-len(padded) % case.fanout)
    pages = [set(padded[at : at + case.fanout]) for at in range(0, len(padded), case.fanout)]
    counts = Counter({"pte_shared": 2})
    for at in range(0, len(pages), case.group):
        together = set().union(*pages[at : at + case.group])
        if together not in ({0}, {1}) or at < case.n_kept:
            counts["pte"] += case.group
    n_pages = len(pages)
    for name, first in zip(NAMES[1:], case.first_slots[1:], strict=False):
        n_pages = (first + n_pages - 1) // case.fanout + 1
        counts[name] += n_pages
    return counts


def frames_of(pool: PagePool, case: Case) -> tuple[Any, Sharing]:
    zero, one = pool.allocate(2, "shared").tolist()
    labels = np.array(case.labels)
    own = pool.allocate(int((labels == 2).sum()), "own")
    targets = np.select([labels == 0, labels == 1], [zero, one])
    targets[labels == 2] = own
    return targets, case.sharing(zero, one)


def walked(table: RadixTable, case: Case, slot: int) -> int:
    """Frame that a slot points to, by one read for each level, in plain integers."""
    positions = []
    for first in case.first_slots:
        slot += first
        positions.append(slot % case.fanout)
        slot //= case.fanout
    frame = table.root
    kind = "Q" if case.slot_bytes == 8 else "I"
    for position in reversed(positions):
        page = table.pool.words(frame, np.uint8).tobytes()
        (word,) = struct.unpack_from(f"={kind}", page, position * case.slot_bytes)
        if case.flags:
            assert word & case.flags == case.flags
        frame = ((word & ~0xFFF) - (table.pool.base if case.slot_bytes == 8 else 0)) >> 12
    return int(frame)


@settings(max_examples=60)
@given(case=cases())
@example(case=Case(8, (0, 0), 1, ((0, 512), (2, 3), (1, 1600))))
@example(case=Case(4, (0, 7), 2, ((2, 1024), (0, 1024), (0, 2048), (1, 4096))))
@example(case=Case(8, (511, 3, 0, 5), 1, ((1, 1), (0, 1024), (2, 1)), PRESENT))
@example(case=Case(8, (0, 0), 1, ((0, 1600),), n_kept=2))
def test_what_is_built_is_what_is_read(case: Case) -> None:
    expected = expected_pages(case)
    labels = np.array(case.labels)
    predicted = count_pages(labels, case.shape, case.sharing())
    assert Counter(predicted) == expected
    n_frames = 2 + int((labels == 2).sum()) + expected.total()
    with PagePool(n_frames, run_frames=case.run_frames, seed=3) as pool:
        targets, sharing = frames_of(pool, case)
        table = build(pool, targets, case.shape, sharing)
        assert (read_back(table, targets.size) == targets).all()
        counted = Counter(pool.kinds) - Counter({"shared": 2, "own": int((labels == 2).sum())})
        assert counted == +expected
        edges = {0, targets.size - 1, *(np.flatnonzero(np.diff(labels)) + 1).tolist()}
        around = {slot for edge in edges for slot in (edge - 1, edge) if slot >= 0}
        assert [walked(table, case, slot) for slot in sorted(around)] == targets[sorted(around)].tolist()


def test_pages_that_are_kept_are_private_whatever_they_hold() -> None:
    # Four pages of label 0, the first two kept.
    labels = np.zeros(2048, np.int64)
    shape = Case(8, (0, 0), 1, ()).shape
    kept = Sharing((0, 1), n_kept=2)
    assert count_pages(labels, shape, kept) == {"pte": 2, "pte_shared": 2, "pmd": 1}
    assert covered_by(labels, shape, kept)[2:].tolist() == [0, 0]
    # The first and the last.
    apart = Sharing((0, 1), kept=(0, 3))
    assert count_pages(labels, shape, apart) == {"pte": 2, "pte_shared": 2, "pmd": 1}
    assert covered_by(labels, shape, apart)[1:3].tolist() == [0, 0]


def test_a_page_of_one_shared_label_is_one_shared_page() -> None:
    # Slots 0-511 point to frame a, 512-1023 to frame b, 1024-1535 to a again, 1536 to a frame of its own.
    case = Case(8, (0, 0), 1, ((0, 512), (1, 512), (0, 512), (2, 1)))
    with PagePool(16) as pool:
        targets, sharing = frames_of(pool, case)
        table = build(pool, targets, case.shape, sharing)
        first, second, third, last = table.frames["pte"].tolist()
        assert first == third == table.shared[sharing.labels[0]]
        assert second == table.shared[sharing.labels[1]]
        assert last not in (first, second)
        assert pool.kinds == {"shared": 2, "own": 1, "pte": 1, "pte_shared": 2, "pmd": 1}


@pytest.mark.parametrize(("group", "n_private"), [(1, 1), (2, 2)])
def test_pages_of_a_group_are_shared_together_or_not_at_all(group: int, n_private: int) -> None:
    # Of the two pages of the first group one is all of label 0: shared by itself, private with its neighbour.
    case = Case(8, (0, 0), group, ((0, 512), (2, 512), (0, 1024)))
    labels = np.array(case.labels)
    counts = count_pages(labels, case.shape, Sharing((0, 1), group))
    assert counts == {"pte": n_private, "pte_shared": 2, "pmd": 1}
    covered = covered_by(labels, case.shape, Sharing((0, 1), group))
    assert (covered >= 0).tolist() == [group == 1, False, True, True]
    assert covered[2:].tolist() == [0, 0]


def test_one_slot_beside_the_label_makes_a_page_private() -> None:
    sharing = Sharing((0, 1))
    shape = Case(8, (0, 0), 1, ()).shape
    for odd in (0, 200, 511):
        labels = np.zeros(512, np.int64)
        assert count_pages(labels, shape, sharing)["pte"] == 0
        labels[odd] = 1
        assert count_pages(labels, shape, sharing)["pte"] == 1


def test_a_table_begins_where_its_area_does() -> None:
    # First slot 510 of 512: slots 0 and 1 end the first page, slot 2 begins the second. Others are empty.
    case = Case(8, (510, 3), 1, ((2, 3),), PRESENT)
    with PagePool(8) as pool:
        targets, sharing = frames_of(pool, case)
        table = build(pool, targets, case.shape, sharing)
        low, high = (pool.words(int(frame), np.uint64) for frame in table.frames["pte"])
        assert np.flatnonzero(low).tolist() == [510, 511]
        assert np.flatnonzero(high).tolist() == [0]
        root = pool.words(table.root, np.uint64)
        assert np.flatnonzero(root).tolist() == [3, 4]


def test_only_slots_of_private_pages_may_be_written_through() -> None:
    case = Case(8, (0, 0), 1, ((2, 1), (0, 511), (1, 512)), PRESENT)
    with PagePool(16) as pool:
        targets, sharing = frames_of(pool, case)
        table = build(pool, targets, case.shape, sharing)
        private, shared = (pool.words(int(frame), np.uint64) for frame in table.frames["pte"])
        assert (private[:2] & np.uint64(WRITE)).tolist() == [WRITE, 0]
        assert not (shared & np.uint64(WRITE)).any()
        root = pool.words(table.root, np.uint64)[:2]
        assert (root & np.uint64(WRITE)).tolist() == [WRITE, WRITE]


def test_slots_hold_page_numbers_where_there_are_some() -> None:
    case = Case(8, (0, 0), 1, ((2, 2), (0, 510)), PRESENT)
    with PagePool(16) as pool:
        targets, sharing = frames_of(pool, case)
        numbers = 7_000_000 - np.arange(pool.n_frames) * 3
        table = build(pool, targets, case.shape, sharing, numbers)
        slots = pool.words(int(table.frames["pte"][0]), np.uint64) >> np.uint64(12)
        assert slots.tolist() == numbers[targets].tolist()
        assert (read_back(table, 512) == targets).all()


def test_an_emptied_slot_reads_as_empty() -> None:
    case = Case(8, (0, 0), 1, ((2, 100),), PRESENT)
    with PagePool(128) as pool:
        targets, sharing = frames_of(pool, case)
        table = build(pool, targets, case.shape, sharing)
        pool.words(int(table.frames["pte"][0]), np.uint64)[40] = 0
        found = read_back(table, 100)
        assert found[40] == -1
        assert (np.delete(found, 40) == np.delete(targets, 40)).all()


def test_a_table_that_does_not_fit_its_pool_is_refused() -> None:
    case = Case(8, (0, 0), 1, ((2, 508),))
    with PagePool(512) as pool:
        targets, sharing = frames_of(pool, case)
        # 512 frames less 510: room for two of the four pages (one private, two shared, one above).
        with pytest.raises(DoesNotFitError, match="cannot give 1 more for 'pte_shared'"):
            build(pool, targets, case.shape, sharing)
