"""Compiled: what is left of leaves when a guest gives memory back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from p2mperf.jit import njit

Words = NDArray[np.uint64]
Orders = NDArray[np.uint8]

ZERO, ONE = np.uint64(0), np.uint64(1)
MEGA, GIGA = np.uint64(9), np.uint64(18)
_MEGA_MASK = (ONE << MEGA) - ONE
NEVER = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


@njit
def remain(
    gfn: Words, mfn: Words, order: Orders, holes: Words, out_gfn: Words, out_mfn: Words, out_order: Orders
) -> int:
    """Cut leaves around frames that are given back, as far as the table has to: 1 GiB, 2 MiB, 4 KiB.

    Parameters
    ----------
    gfn, mfn : ndarray of uint64, shape (n_leaves,)
        First frames, sorted by gfn.
    order : ndarray of uint8, shape (n_leaves,)
        Sizes.
    holes : ndarray of uint64
        Frames that are given back, sorted, each once and in a leaf.
    out_gfn, out_mfn, out_order : ndarray
        Take the leaves that remain, if there is room.

    Returns
    -------
    int
        How many remain: with empty arrays they are counted.
    """
    # Both are sorted, so that one index into the holes goes along, and none is looked for. Leaves are counted
    # by the code that writes them, which takes 1.5 ns each: room for as many as there can be, one a frame,
    # would be 17 bytes for each frame of the guest.
    at, hole = 0, 0
    for i in range(gfn.size):
        first, end = gfn[i], gfn[i] + (ONE << np.uint64(order[i]))
        frame = first
        while frame < end:
            # After the last comes one that no frame is: what follows need not ask whether there is a hole
            # left.
            next_hole = holes[hole] if hole < holes.size else NEVER
            if frame == next_hole:
                hole += 1
                frame += ONE
                continue
            leaf = ZERO
            # A leaf without a hole stays; one of more than 2 MiB falls into those, never into others.
            if next_hole >= end and frame == first:
                leaf = np.uint64(order[i])
            elif np.uint64(order[i]) == GIGA and not frame & _MEGA_MASK and next_hole > (frame | _MEGA_MASK):
                leaf = MEGA
            if at < out_gfn.size:
                out_gfn[at], out_mfn[at], out_order[at] = frame, mfn[i] + (frame - first), leaf
            at += 1
            frame += ONE << leaf
    return at


@njit
def mark_leaves(gfn: Words, order: Orders, in_mega: NDArray[np.bool_], in_giga: NDArray[np.bool_]) -> None:
    """Note which aligned blocks of 2 MiB lie in a leaf of at least that, and which of 1 GiB are one.

    Parameters
    ----------
    gfn : ndarray of uint64, shape (n_leaves,)
        First frames.
    order : ndarray of uint8, shape (n_leaves,)
        Sizes: 0, 9 or 18.
    in_mega, in_giga : ndarray of bool
        By the number of the block; set here.
    """
    for i in range(gfn.size):
        if np.uint64(order[i]) >= MEGA:
            first = gfn[i] >> MEGA
            for block in range(first, first + (ONE << (np.uint64(order[i]) - MEGA))):
                in_mega[block] = True
        # Its blocks of 2 MiB are marked above as well: it falls into those before one of them is split.
        if np.uint64(order[i]) == GIGA:
            in_giga[gfn[i] >> GIGA] = True


@njit
def first_hits(runs: Words, order: np.uint64, is_leaf: NDArray[np.bool_], shift: np.uint64) -> Words:
    """Find when each leaf loses its first frame.

    Parameters
    ----------
    runs : ndarray of uint64, shape (n_runs,)
        Numbers of aligned runs, in the order in which they are given back.
    order : uint64
        Frames of a run [log2].
    is_leaf : ndarray of bool, shape (n_blocks,)
        Which blocks count.
    shift : uint64
        Frames of a block, not fewer than those of a run [log2].

    Returns
    -------
    ndarray of uint64, shape (n_hit,)
        Places in `runs`, ascending: one for each block that counts and is hit.
    """
    is_hit = np.zeros(is_leaf.size, np.bool_)
    # Of a block only the first hit counts: room for as many as there are runs, or blocks, is enough.
    hits = np.empty(min(runs.size, is_leaf.size), np.uint64)
    n_hits = 0
    for i in range(runs.size):
        block = runs[i] >> (shift - order)
        # Marks of its own, as the caller counts afterwards what is a leaf.
        if is_leaf[block] and not is_hit[block]:
            is_hit[block] = True
            hits[n_hits] = i
            n_hits += 1
    return hits[:n_hits]


@njit
def frames_of_runs(gfn: Words, order: Orders, run_order: np.uint64, runs: Words, n_frames: Words) -> int:
    """List the aligned runs of guest frames with any memory, and how much each has.

    Parameters
    ----------
    gfn : ndarray of uint64, shape (n_leaves,)
        First frames, sorted.
    order : ndarray of uint8, shape (n_leaves,)
        Sizes.
    run_order : uint64
        Frames of a run [log2].
    runs, n_frames : ndarray of uint64
        Take the numbers of the runs, and their frames with memory, if there is room.

    Returns
    -------
    int
        How many runs there are: with empty arrays they are counted.
    """
    at, last = -1, NEVER
    for i in range(gfn.size):
        size_order = np.uint64(order[i])
        first = gfn[i] >> run_order
        # A leaf below a run is a part of one, a larger one is several: both are powers of two, and aligned.
        n = ONE if size_order < run_order else ONE << (size_order - run_order)
        each = ONE << min(size_order, run_order)
        for run in range(first, first + n):
            # Leaves are sorted: a run that was seen before was the last one.
            if run != last:
                at += 1
                last = np.uint64(run)
                if at < runs.size:
                    runs[at], n_frames[at] = run, ZERO
            if at < runs.size:
                n_frames[at] += each
    return at + 1
