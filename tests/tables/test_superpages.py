"""Radix tables whose slots may be leaves at any level, with holes, machine addresses and a root of two pages.

The geometry is a toy: pages of 16 slots under a root of 1024, so that leaves cover 1, 16 or 256 frames and a
naive oracle can follow every frame.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given, settings

from p2mperf.errors import BadInputError
from p2mperf.memory.pool import Frames, PagePool
from p2mperf.memory.window import Window
from p2mperf.tables.radix import (
    Level,
    Radix,
    RadixTable,
    Sharing,
    build,
    count_pages,
    read_back,
    read_leaves,
)

FANOUT, ROOT_SLOTS = 16, 1024
PRESENT, TABLE, SUPERPAGE, SOFTWARE = 1, 0x62, 0x80, 1 << 55
ADDRESS = 0xFFFFFFFFFF000
ORIGIN = 3 << 30  # machine address of the pool's frame 0
NAMES = ("l1", "l2", "l3")
HOLE = -1


def shape_from(begin: int) -> Radix:
    """The toy geometry for an area that begins at a frame, which need not be the first of its pages."""
    levels = (
        Level("l1", FANOUT, begin % FANOUT),
        Level("l2", FANOUT, begin // FANOUT % FANOUT),
        Level("l3", ROOT_SLOTS, begin // FANOUT**2),
    )
    return Radix(
        levels,
        slot_bytes=8,
        flags=PRESENT | TABLE,
        kind_mask=PRESENT | SUPERPAGE,
        address_mask=ADDRESS,
    )


SHAPE = shape_from(0)

# A map is a list of stretches: the level of its leaves, or HOLE, and how many leaves of that size.
Stretches = list[tuple[int, int]]


def placed(stretches: Stretches, begin: int) -> dict[int, tuple[int, int]]:
    """First frame of each leaf -> its level and its machine frame; every leaf at a multiple of its size."""
    leaves: dict[int, tuple[int, int]] = {}
    at = begin
    for depth, n_leaves in stretches:
        size = FANOUT ** max(depth, 0)
        at = -(-at // size) * size
        for _ in range(n_leaves):
            if depth != HOLE:
                # Machine frames that tell every leaf, and are aligned as its size asks.
                leaves[at] = depth, 0x100000 + 7 * FANOUT**2 * len(leaves)
            at += size
    return leaves


def n_frames_of(leaves: dict[int, tuple[int, int]], begin: int = 0, n_more: int = 0) -> int:
    """Frames from the area's first to the end of the last leaf, and some beyond."""
    return max((at + FANOUT**depth - begin for at, (depth, _) in leaves.items()), default=1) + n_more


def words_of(leaves: dict[int, tuple[int, int]], n_frames: int, begin: int = 0) -> dict[str, np.ndarray]:
    counts = shape_from(begin).n_slots(n_frames)
    words = {name: np.zeros(n, np.uint64) for name, n in zip(NAMES, counts, strict=True)}
    for at, (depth, mfn) in leaves.items():
        word = mfn << 12 | PRESENT | SOFTWARE | (SUPERPAGE if depth else 0)
        words[NAMES[depth]][at // FANOUT**depth - begin // FANOUT**depth] = word
    return words


def naive_translation(leaves: dict[int, tuple[int, int]], frame: int) -> int | None:
    for depth in range(3):
        first = frame // FANOUT**depth * FANOUT**depth
        if first in leaves and leaves[first][0] == depth:
            mfn: int = leaves[first][1]
            return int(mfn + frame - first)
    return None


def naive_pages(leaves: dict[int, tuple[int, int]]) -> Counter[str]:
    """Pages by level: those that hold a leaf, those above them, and two root pages whatever there is."""
    l1 = {at // FANOUT for at, (depth, _) in leaves.items() if depth == 0}
    l2 = {at // FANOUT**2 for at, (depth, _) in leaves.items() if depth < 2}
    return Counter({"l1": len(l1), "l2": len(l2), "l3": 2})


def walked(table: RadixTable, frame: int) -> int | None:
    """Machine frame by one read a level, in plain integers."""
    page = table.root
    for depth, mask in ((2, ROOT_SLOTS - 1), (1, FANOUT - 1), (0, FANOUT - 1)):
        index = (frame // FANOUT**depth) & mask
        memory = table.pool.words(page, np.uint8, 2 if depth == 2 else 1).tobytes()
        (word,) = struct.unpack_from("=Q", memory, 8 * index)
        assert isinstance(word, int)
        if not word & PRESENT:
            return None
        if depth == 0 or word & SUPERPAGE:
            return int(((word & ADDRESS) >> 12) + frame % FANOUT**depth)
        page = ((word & ADDRESS) - ORIGIN) >> 12
    raise AssertionError("unreachable")


def backwards(pool: PagePool) -> Callable[[int, str], Frames]:
    """Take pages in falling order; those of the root stay in theirs."""

    def place(n_frames: int, kind: str) -> Frames:
        frames = pool.allocate(n_frames, kind)
        return frames if kind == "l3" else frames[::-1]

    return place


@settings(max_examples=40)
@given(
    stretches=st.lists(st.tuples(st.sampled_from([HOLE, 0, 1, 2]), st.integers(1, 40)), max_size=6),
    begin=st.sampled_from([0, 7, 5 * FANOUT**2, 5 * FANOUT**2 + 3 * FANOUT + 7]),
    n_more=st.sampled_from([0, 1, 300]),
)
@example(stretches=[], begin=0, n_more=0)
# A leaf of each size and holes of each size between them.
@example(stretches=[(2, 1), (0, 5), (HOLE, 11), (1, 2), (HOLE, 500), (0, 1), (2, 2)], begin=0, n_more=300)
# Up to the second root page: 600 leaves of 256 frames end in slot 599.
@example(stretches=[(2, 600), (1, 3), (0, 17)], begin=0, n_more=0)
# An area that begins in the middle of a page of each level.
@example(stretches=[(0, 30), (1, 20), (2, 2), (0, 3)], begin=5 * FANOUT**2 + 3 * FANOUT + 7, n_more=1)
def test_leaves_at_every_level(stretches: Stretches, begin: int, n_more: int) -> None:
    leaves = placed(stretches, begin)
    n_frames = n_frames_of(leaves, begin, n_more)
    frames = range(begin, begin + n_frames)
    shape, nothing = shape_from(begin), np.full(n_frames, -1, np.int64)
    words = words_of(leaves, n_frames, begin)
    expected = naive_pages(leaves)
    counted = count_pages(nothing, shape, Sharing(), leaves=words)
    assert Counter(counted) == +expected
    with PagePool(expected.total()) as pool:
        place = backwards(pool)
        table = build(pool, nothing, shape, origin=ORIGIN, place=place, leaves=words)
        assert Counter(pool.kinds) == +expected
        found, depths = read_leaves(table, n_frames)
        offsets = np.array(frames) % FANOUT ** depths.astype(np.int64)
        read = [
            ((word & ADDRESS) >> 12) + offset if word else None
            for word, offset in zip(found.tolist(), offsets.tolist(), strict=True)
        ]
        assert read == [naive_translation(leaves, frame) for frame in frames]
        around = {frames[0], frames[-1]}
        for at, (depth, _) in leaves.items():
            around |= {max(at - 1, begin), at, at + FANOUT**depth - 1}
        assert [walked(table, frame) for frame in around] == [
            naive_translation(leaves, frame) for frame in around
        ]
        # A level's pages in order are what a window of that level shows: none where a leaf stands above.
        small = {at // FANOUT for at, (depth, _) in leaves.items() if depth == 0}
        shown = table.frames["l1"] >= 0
        assert (np.flatnonzero(shown) + begin // FANOUT).tolist() == sorted(small)


def test_a_window_of_one_level_shows_its_pages_and_holes_where_superpages_are() -> None:
    # Frames 0 to 255 are one leaf, so no page of l1 is there for them; 256 and 300 have one each.
    leaves = {0: (2, 0x100000), 256: (0, 0x200000), 300: (0, 0x300000)}
    n_frames = n_frames_of(leaves)
    words = words_of(leaves, n_frames)
    with PagePool(8) as pool, Window(pool, 19, zero_holes=True) as window:
        table = build(pool, np.full(n_frames, -1, np.int64), SHAPE, leaves=words)
        # Page 16 holds frames 256 to 271, page 18 frames 288 to 303.
        assert np.flatnonzero(table.frames["l1"] >= 0).tolist() == [16, 18]
        window.map(0, table.frames["l1"], table.frames["l1"] >= 0)
        window.populate()
        frames, writable = window.shown()
        assert np.array_equal(frames, table.frames["l1"])
        assert np.array_equal(writable, table.frames["l1"] >= 0)
        assert window.words(np.uint64)[[0, 16 * 512, 18 * 512 + 12]].tolist() == [
            0,
            0x200000 << 12 | PRESENT | SOFTWARE,
            0x300000 << 12 | PRESENT | SOFTWARE,
        ]


def test_targets_with_holes_take_pages_only_where_something_is() -> None:
    # Slots 3 and 300 point to frames: pages 0 and 18 of l1, both of l2's pages 0 and 1, two of the root.
    targets = np.full(400, -1, np.int64)
    with PagePool(16) as pool:
        targets[[3, 300]] = pool.allocate(2, "own")
        table = build(pool, targets, SHAPE, origin=ORIGIN)
        assert pool.kinds == {"own": 2, "l1": 2, "l2": 2, "l3": 2}
        assert count_pages(targets, SHAPE, Sharing()) == {"l1": 2, "l2": 2, "l3": 2}
        assert np.array_equal(read_back(table, 400), targets)
        (slot,) = pool.words(int(table.frames["l1"][18]), np.uint64)[[300 % 16]].tolist()
        assert slot == ORIGIN + (int(targets[300]) << 12) | PRESENT | TABLE
        # Bits outside the address do not lead elsewhere; without the present bit nothing is there.
        page = pool.words(int(table.frames["l1"][0]), np.uint64)
        page[3] |= np.uint64(SOFTWARE)
        assert np.array_equal(read_back(table, 400), targets)
        page[3] ^= np.uint64(PRESENT)
        assert read_back(table, 400)[3] == -1


def test_leaves_that_make_no_sense_are_refused() -> None:
    nothing = np.full(64, -1, np.int64)
    l1, l2 = np.zeros(64, np.uint64), np.zeros(4, np.uint64)
    l1[20], l2[1] = 0x5001, 0x10081
    with PagePool(8) as pool:
        with pytest.raises(BadInputError, match="slot 1 of level l2 is a leaf and has entries below"):
            build(pool, nothing, SHAPE, leaves={"l1": l1, "l2": l2})
        with pytest.raises(BadInputError, match="level l2 has 4 slots, not 64 leaves"):
            build(pool, nothing, SHAPE, leaves={"l2": l1})
        with pytest.raises(BadInputError, match="no level l4"):
            count_pages(nothing, SHAPE, Sharing(), leaves={"l4": l2})
        l2[1] = 0x10001
        with pytest.raises(BadInputError, match="level l2 would be taken for a pointer"):
            build(pool, nothing, SHAPE, leaves={"l2": l2})
    with (
        PagePool(512, run_frames=1, seed=3) as pool,
        pytest.raises(BadInputError, match="concatenated pages of level l3 do not follow each other"),
    ):
        build(pool, nothing, SHAPE)
