"""The host's buddy allocator: against one of lists and sets, its laws, and hosts that are broken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from naive_populating import NaiveHeap

from p2mperf.errors import BadInputError
from p2mperf.guests.extents import MAX_ORDER
from p2mperf.guests.machine import Machine
from p2mperf.populating.heap import MAX_HEAP_FRAMES, Fragmentation, MachineHeap
from p2mperf.units import GIB, PAGE_SIZE

MOST = 3 << 12


def covered(blocks: list[tuple[int, int]]) -> list[int]:
    return [frame for mfn, order in blocks for frame in range(mfn, mfn + (1 << order))]


@settings(max_examples=60)
@given(st.integers(1, MOST), st.data())
def test_the_heap_is_that_of_lists(n_frames: int, data: st.DataObject) -> None:
    heap, naive = MachineHeap(Machine(n_frames)), NaiveHeap(n_frames)
    assert heap.free_blocks() == naive.free_blocks()
    whole = heap.free_blocks()
    held: list[tuple[int, int]] = []
    for _ in range(data.draw(st.integers(0, 40))):
        gives = bool(held) and data.draw(st.booleans())
        if gives:
            mfn, order = held.pop(data.draw(st.integers(0, len(held) - 1)))
            if order and data.draw(st.booleans()):  # in two parts
                half = 1 << (order - 1)
                held.append((mfn + half, order - 1))
                order -= 1
            heap.give(mfn, order)
            naive.give(mfn, order)
        else:
            order = data.draw(st.integers(0, MAX_ORDER))
            taken = heap.take(order)
            assert taken == naive.take(order)
            if taken is not None:
                assert taken % (1 << order) == 0
                held.append((taken, order))
        assert heap.free_blocks() == naive.free_blocks()
        assert heap.n_free == n_frames - sum(1 << order for _, order in held)
    # each frame is free or held, once
    assert sorted(covered(heap.free_blocks()) + covered(held)) == list(range(n_frames))
    for mfn, order in held:
        heap.give(mfn, order)
    assert heap.free_blocks() == whole  # all has merged again


def test_a_block_is_halved_from_below() -> None:
    heap = MachineHeap(Machine(1 << 10))
    # of 1024 frames the upper half goes on: 512, of that 768, ... and the last frame is left
    assert heap.take(0) == 1023
    assert heap.free_blocks() == [(1024 - (1 << k + 1), k) for k in reversed(range(10))]
    # the smallest fragment that is large enough comes first
    assert heap.take(0) == 1022
    assert heap.take(3) == 1024 - 16


@pytest.mark.parametrize("n_frames", [1, 2, 3, 4, 7, 64])
def test_what_has_merged_away_is_never_given_from_its_old_list(n_frames: int) -> None:
    # each lap leaves entries of blocks that have merged in lists that have few words
    heap, naive = MachineHeap(Machine(n_frames)), NaiveHeap(n_frames)
    whole = heap.free_blocks()
    for lap in range(50):
        taken = [heap.take(0) for _ in range(n_frames)]
        assert taken == [naive.take(0) for _ in range(n_frames)]
        assert heap.take(0) is None
        for mfn in taken[lap % n_frames :] + taken[: lap % n_frames]:
            assert mfn is not None
            heap.give(mfn, 0)
            naive.give(mfn, 0)
            assert heap.free_blocks() == naive.free_blocks()
        assert heap.free_blocks() == whole


def test_no_block_is_larger_than_the_largest_order() -> None:
    heap = MachineHeap(Machine(2 << MAX_ORDER))
    assert heap.free_blocks() == [(0, MAX_ORDER), (1 << MAX_ORDER, MAX_ORDER)]
    assert heap.take(MAX_ORDER) == 1 << MAX_ORDER
    heap.give(1 << MAX_ORDER, MAX_ORDER)
    assert len(heap.free_blocks()) == 2


def test_what_cannot_be_given_back_is_refused() -> None:
    heap = MachineHeap(Machine(1 << 10))
    taken = heap.take(9)
    assert taken == 512
    for mfn, order, sentence in (
        (0, 0, "is free already"),  # inside a larger free block
        (0, 10, "is free already"),  # around a smaller one
        (511, 0, "is free already"),
        (513, 1, "no block of order 1 begins at mfn 0x201"),
        (0, 11, "no block of order 11 begins"),
        (1024, 0, "a machine frame must be a whole number up to 1023"),
        (512, 19, "an order must be a whole number up to 18"),
    ):
        with pytest.raises(BadInputError, match=sentence):
            heap.give(mfn, order)
    heap.give(512, 8)
    with pytest.raises(BadInputError, match="is free already"):
        heap.give(512, 9)
    heap.give(768, 8)
    assert heap.free_blocks() == [(0, 10)]


def test_machines_beyond_the_links_are_refused() -> None:
    with pytest.raises(BadInputError, match="4294967295 frames, not 4294967296"):
        MachineHeap(Machine(MAX_HEAP_FRAMES + 1))


# ---- broken hosts ----


def supply(heap: MachineHeap, order: int) -> int:
    """How many extents of an order it gives in all."""
    n_given = 0
    while heap.take(order) is not None:
        n_given += 1
    return n_given


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(0, 511), st.floats(0, 1), st.integers(0, 2**64 - 1))
def test_a_broken_block_gives_no_extent_of_its_order(
    n_blocks: int, n_more: int, share: float, seed: int
) -> None:
    machine = Machine(n_blocks * 512 + n_more, seed)
    heap = MachineHeap(machine, Fragmentation(share))
    n_broken = round(share * n_blocks)
    assert heap.n_broken_2mb == n_broken
    # one frame of each broken block is somebody else's, nothing else
    assert heap.n_free == machine.n_frames - n_broken
    assert supply(heap, 9) == n_blocks - n_broken
    # and all the others are given, one by one
    assert supply(heap, 0) == n_broken * 511 + n_more


def test_frames_of_broken_blocks_are_still_given() -> None:
    heap = MachineHeap(Machine(20 * 512, 3), Fragmentation(0.5))
    # ten whole blocks, and of ten others all but one frame each
    assert supply(heap, 9) == 10
    assert supply(heap, 0) == 10 * 511


def test_equal_seeds_break_equal_blocks() -> None:
    def broken(seed: int, *shares: float) -> list[int]:
        blocks = Fragmentation(*shares).broken_blocks(Machine(8 * GIB // PAGE_SIZE, seed))
        return [int(block) for block in blocks]

    assert broken(1, 0.3) == broken(1, 0.3) != broken(2, 0.3)
    assert broken(1, 0.3, 0.5) == broken(1, 0.3, 0.5) != broken(2, 0.3, 0.5)
    first, second = (MachineHeap(Machine(1 << 16, seed), Fragmentation(0.2)).free_blocks() for seed in (7, 7))
    assert first == second


def test_broken_blocks_are_drawn_evenly() -> None:
    # each of 8 blocks is broken in half of all draws: of 2000 draws 1000, with a standard deviation of 22
    counts = np.zeros(8)
    for seed in range(2000):
        counts[Fragmentation(0.5).broken_blocks(Machine(8 * 512, seed)).astype(int)] += 1
    assert counts.sum() == 2000 * 4
    assert abs(counts - 1000).max() < 5 * 22


def test_without_a_share_of_gigabytes_few_broken_blocks_break_them_all() -> None:
    # 8 GiB have 4096 blocks of 2 MiB: of 5 % of them about 26 lie in each GiB
    heap = MachineHeap(Machine(8 << 18), Fragmentation(0.05))
    assert heap.n_broken_2mb == 205
    assert heap.n_broken_1gb == 8
    assert heap.take(18) is None


@pytest.mark.parametrize(
    ("share", "share_1gb", "n_broken", "n_gigabytes"),
    [
        (0.0, 0.0, 0, 0),
        (0.25, 0.5, 1024, 4),
        (0.5, 0.5, 2048, 4),
        (1.0, 1.0, 4096, 8),
        (8 / 4096, 1.0, 8, 8),
    ],
)
def test_broken_blocks_lie_in_a_share_of_the_gigabytes(
    share: float, share_1gb: float, n_broken: int, n_gigabytes: int
) -> None:
    heap = MachineHeap(Machine(8 << 18), Fragmentation(share, share_1gb))
    assert (heap.n_broken_2mb, heap.n_broken_1gb) == (n_broken, n_gigabytes)
    assert supply(heap, 18) == 8 - n_gigabytes
    assert supply(heap, 9) == 512 * n_gigabytes - n_broken


def test_what_lies_beyond_the_last_gigabyte_can_be_broken_too() -> None:
    # half a GiB beyond one whole: 256 blocks, which no share of gigabytes bounds
    machine = Machine((1 << 18) + (1 << 17))
    heap = MachineHeap(machine, Fragmentation(256 / 768, 0.0))
    assert (heap.n_broken_2mb, heap.n_broken_1gb) == (256, 0)
    assert supply(heap, 18) == 1
    assert supply(heap, 9) == 0


@pytest.mark.parametrize(
    ("shares", "sentence"),
    [
        ((-0.1,), "fragmentation must be a share from 0 to 1, not -0.1"),
        ((1.1,), "fragmentation must be a share from 0 to 1, not 1.1"),
        ((float("nan"),), "fragmentation must be a share from 0 to 1, not nan"),
        (("half",), "fragmentation must be a number, not 'half'"),
        ((True,), "fragmentation must be a number"),
        ((0.5, 2), "the share of broken 1 GiB blocks must be a share from 0 to 1, not 2"),
    ],
)
def test_what_are_no_shares_is_refused(shares: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(BadInputError, match=sentence):
        Fragmentation(*shares)


@pytest.mark.parametrize(("share", "share_1gb"), [(0.6, 0.5), (0.0, 0.5), (0.5, 0.0)])
def test_shares_that_contradict_each_other_are_refused(share: float, share_1gb: float) -> None:
    with pytest.raises(BadInputError, match="broken 2 MiB blocks cannot lie in"):
        MachineHeap(Machine(8 << 18), Fragmentation(share, share_1gb))
