"""Compiled: a binary buddy allocator of machine frames, as xen/common/page_alloc.c has it.

A request scans orders upwards and takes the first block of the first list that has one; of a block that is
too large the upper half goes on and the lower is put back. What is given back merges with its buddy as long
as that is free and whole. Lists are last in, first out, as those of pages that need no scrubbing are. There
is one zone and one node. Blocks are aligned to their size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2mperf.draws_kernels import Draws, below, mixed
from p2mperf.jit import njit
from p2mperf.memory.raw import (
    ONE,
    ZERO,
    load_element32,
    load_element64,
    store_element32,
    store_element64,
)

Words = NDArray[np.uint64]

# What is computed with stays unsigned: one signed word turns uint64 arithmetic into float64.
NONE = np.uint64(0xFFFF_FFFF)
TOP = np.uint64(18)  # MAX_ORDER
_BIT_SHIFT, _BIT_MASK = np.uint64(6), np.uint64(63)


class Heap(NamedTuple):
    """Free blocks, each a node of a binary tree over all frames: where they are kept.

    Attributes
    ----------
    n_frames, n_leaves : uint64
        Frames of the machine, and the power of two above: the b-th block of order k is the node
        (n_leaves >> k) + b.
    bits : uint64
        Address of a bit for each node: whether that block is free.
    lists : uint64
        Address of a word of 4 bytes for each node: those from n_leaves >> k on are the list of order k, with
        the numbers of its blocks. What has left it from the middle stays there until it comes up.
    n_listed, n_blocks : uint64
        Addresses of words of 8 bytes, by order: entries of a list, and blocks that are free.

    Notes
    -----
    Addresses, not arrays: numba counts references to an array that a loop hands to a function (150 ns a frame
    instead of 10). Bits and lists, not links between frames: giving a guest single frames would write 8 bytes
    of links for each.
    """

    n_frames: np.uint64
    n_leaves: np.uint64
    bits: np.uint64
    lists: np.uint64
    n_listed: np.uint64
    n_blocks: np.uint64


@njit(inline="always")
def _node(heap: Heap, mfn: np.uint64, order: np.uint64) -> np.uint64:
    # Node 0 is no block, and its bit stays 0: all blocks larger than the machine come to it.
    return (heap.n_leaves >> order) + (mfn >> order)


@njit(inline="always")
def _is_free(heap: Heap, node: np.uint64) -> bool:
    return (load_element64(heap.bits, node >> _BIT_SHIFT) >> (node & _BIT_MASK)) & ONE != ZERO


@njit(inline="always")
def _flip(heap: Heap, node: np.uint64) -> None:
    # Turned over, not set or cleared: who calls knows what it was.
    word = load_element64(heap.bits, node >> _BIT_SHIFT)
    store_element64(heap.bits, node >> _BIT_SHIFT, word ^ (ONE << (node & _BIT_MASK)))


@njit(inline="always")
def _count(heap: Heap, order: np.uint64, n: np.uint64) -> None:
    # Beside `n_listed`, which counts also what has left: a request must know that a list has one, and `_pop`
    # then finds it without looking where the list begins.
    store_element64(heap.n_blocks, order, load_element64(heap.n_blocks, order) + n)


@njit
def _tidy(heap: Heap, order: np.uint64) -> np.uint64:
    """Drop what has left a list, and older entries of a block that came again; says how many are left."""
    base, n_listed, n_left = heap.n_leaves >> order, load_element64(heap.n_listed, order), ZERO
    # From the newest on: a block that left and came again is twice in its list, and last in, first out is
    # said of when it came last.
    for each in range(n_listed):
        at = base + n_listed - ONE - each
        block = load_element32(heap.lists, at)
        if _is_free(heap, base + block):
            _flip(heap, base + block)  # seen
        else:
            store_element32(heap.lists, at, NONE)
    # The bits of those that were seen say now that they are not free, so that older entries went; here they
    # are turned back.
    for each in range(n_listed):
        block = load_element32(heap.lists, base + each)
        if block != NONE:
            _flip(heap, base + block)
            store_element32(heap.lists, base + n_left, block)
            n_left += ONE
    return n_left


@njit(inline="always")
def _push(heap: Heap, mfn: np.uint64, order: np.uint64) -> None:
    base, at = heap.n_leaves >> order, load_element64(heap.n_listed, order)
    if at == base:  # full, and not only of blocks that are free: this one is not
        at = _tidy(heap, order)
    store_element32(heap.lists, base + at, mfn >> order)
    store_element64(heap.n_listed, order, at + ONE)
    _flip(heap, base + (mfn >> order))
    _count(heap, order, ONE)


@njit(inline="always")
def _leave(heap: Heap, node: np.uint64, order: np.uint64) -> None:
    """A block is free no more, wherever it stands in its list."""
    _flip(heap, node)
    _count(heap, order, ZERO - ONE)


@njit(inline="always")
def _pop(heap: Heap, order: np.uint64) -> np.uint64:
    """The first block of a list that has one."""
    base, at = heap.n_leaves >> order, load_element64(heap.n_listed, order) - ONE
    block = load_element32(heap.lists, base + at)
    # What has left was not looked for in its list, which would be a walk through it, or links to write.
    while not _is_free(heap, base + block):
        at -= ONE
        block = load_element32(heap.lists, base + at)
    store_element64(heap.n_listed, order, at)
    _leave(heap, base + block, order)
    return block << order


@njit
def take_run(heap: Heap, order: np.uint64, n: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Allocate blocks of one size, as many of them as the first one's block gives.

    Parameters
    ----------
    heap : Heap
        Where from.
    order : uint64
        Their size [log2 frames].
    n : uint64
        How many are wanted, at least one.

    Returns
    -------
    (uint64, uint64)
        Where they end, and how many there are, 0 when no block is large enough. They are given from there
        downwards.

    Notes
    -----
    The same as to `take` them one by one: of a block that is halved down to one of them, all that is left is
    in smaller blocks than any other that would do, the next ones below it first.
    """
    found = order
    while found <= TOP and load_element64(heap.n_blocks, found) == ZERO:
        found += ONE
    if found > TOP:
        return NONE, ZERO
    mfn, there = _pop(heap, found), ONE << (found - order)
    # In one go: with 30 % of the blocks of 2 MiB broken, all other memory took 0.07 ns a frame as single
    # frames, and 9.2 with a call for each.
    end, taken = mfn + (ONE << found), min(n, there)
    # What is left lies at the lower end, and goes back in pieces from the largest on, as halving puts each
    # lower half on its list (alloc_heap_pages).
    left = (there - taken) << order
    while left:
        found -= ONE
        if left >> found:
            _push(heap, mfn, found)
            mfn += ONE << found
            left -= ONE << found
    return end, taken


@njit
def take(heap: Heap, order: np.uint64) -> np.uint64:
    """Allocate a block.

    Parameters
    ----------
    heap : Heap
        Where from.
    order : uint64
        Its size [log2 frames].

    Returns
    -------
    uint64
        Its first frame; `NONE` when no block is large enough.
    """
    end, taken = take_run(heap, order, ONE)
    return end - (ONE << order) if taken else NONE


@njit
def give(heap: Heap, mfn: np.uint64, order: np.uint64) -> None:
    """Give a block back, which merges with its buddies.

    Parameters
    ----------
    heap : Heap
        Where to.
    mfn, order : uint64
        A block that was taken, or a part of one: aligned, and in use.
    """
    while order < TOP:
        buddy = mfn ^ (ONE << order)
        # A buddy that begins in the machine and ends beyond it is never free: `give_all` has no such blocks.
        if buddy >= heap.n_frames or not _is_free(heap, _node(heap, buddy, order)):
            break
        _leave(heap, _node(heap, buddy, order), order)
        # The bit says that all of it is free: it is cleared when the block is halved.
        mfn &= buddy  # the lower one
        order += ONE
    _push(heap, mfn, order)


@njit
def give_all(heap: Heap) -> None:
    """Give all frames of a machine that is just booting, in blocks as large as alignment allows."""
    mfn = ZERO
    while mfn < heap.n_frames:
        order = TOP
        while mfn & ((ONE << order) - ONE) or mfn + (ONE << order) > heap.n_frames:
            order -= ONE
        give(heap, mfn, order)
        mfn += ONE << order


@njit
def take_at(heap: Heap, mfn: np.uint64) -> np.uint64:
    """Allocate one frame that is chosen: all else of the block that it lies in stays free.

    Parameters
    ----------
    heap : Heap
        Where from.
    mfn : uint64
        The frame.

    Returns
    -------
    uint64
        The frame; `NONE` when it is not free.
    """
    order, block = ZERO, mfn
    # Upwards, one bit an order: of the blocks around a frame at most one is free, as no free block lies in
    # another.
    while order <= TOP and not _is_free(heap, _node(heap, block, order)):
        order += ONE
        block &= ~((ONE << order) - ONE)
    if order > TOP:
        return NONE
    _leave(heap, _node(heap, block, order), order)
    while order:
        order -= ONE
        half = block + (ONE << order)
        # From the largest half on, in the order in which a request would have put them back.
        _push(heap, half if mfn < half else block, order)
        block = block if mfn < half else half
    return mfn


@njit
def take_each(heap: Heap, mfns: Words) -> np.uint64:
    """Allocate frames that are chosen, one after the other.

    Parameters
    ----------
    heap : Heap
        Where from.
    mfns : ndarray of uint64
        The frames.

    Returns
    -------
    uint64
        How many were free.
    """
    n_taken = ZERO
    for i in range(mfns.size):
        # Cast: a uint64 and a bool make a float64 to numba.
        n_taken += np.uint64(take_at(heap, mfns[i]) != NONE)
    return n_taken


@njit
def draw_places(out: Words, order: np.uint64, draws: Draws) -> None:
    """Draw a place in each of several blocks.

    Parameters
    ----------
    out : ndarray of uint64
        Takes numbers below the size of a block.
    order : uint64
        Size of the blocks [log2].
    draws : Draws
        A word for each.
    """
    state = draws.start
    for i in range(out.size):
        # No word is unfair here: the size is a power of two.
        out[i] = mixed(state) & ((ONE << order) - ONE)
        state += draws.gamma


@njit
def choose(numbers: Words, n_chosen: np.uint64, draws: Draws) -> None:
    """Bring numbers that are drawn, each set of them equally likely, to the front, in a random order.

    Parameters
    ----------
    numbers : ndarray of uint64, shape (n,)
        Fewer than 2 ** 32, which are exchanged among themselves.
    n_chosen : uint64
        How many are drawn.
    draws : Draws
        A word for each.
    """
    state, n_left = draws.start, np.uint64(numbers.size)
    for i in range(n_chosen):
        # Anew each time, a division, as there is one number fewer to draw from.
        spill = (ZERO - n_left) % n_left  # 2 ** 64 modulo n_left
        other = i + below(n_left, spill, mixed(state))
        # An exchange with one that is not drawn yet: a shuffle that ends early, and needs no second array.
        numbers[i], numbers[other] = numbers[other], numbers[i]
        state += draws.gamma
        n_left -= ONE
