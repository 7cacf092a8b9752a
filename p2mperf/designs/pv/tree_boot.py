"""Which pages 3.18's tree has of its own once a guest has booted, whatever stands in them by then.

setup.c (3.18) goes through the memory map from below: each hole becomes identity, split off at both ends by
early_split_p2m, and its memory moves up, whole leaves first. What lies behind the map comes last.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from p2mperf.guests.e820 import ram_rows
from p2mperf.guests.geometry import Kind
from p2mperf.guests.guest import Guest
from p2mperf.guests.runs import Runs
from p2mperf.memory.pool import Frames
from p2mperf.units import PAGE_SHIFT, PAGE_SIZE


def boot_leaves(guest: Guest, runs: Runs, n_taken: int, above: str) -> NDArray[np.bool_]:
    """Tell which leaves booting leaves private, whatever stands in them.

    Parameters
    ----------
    guest : Guest
        Whose.
    runs : Runs
        What enters its tree.
    n_taken : int
        Frames of the boot list that do.
    above : str
        "identity", which 3.18 goes on to write behind the map, or "invalid", where nothing is written.

    Returns
    -------
    ndarray of bool, shape (n_leaves,)
        Those of the boot list that were not used again, and those that were split. Where displaced memory
        went is not among them: that it is there says enough.
    """
    shape = guest.geometry
    n_boot_leaves = -(-n_taken // shape.leaf_frames)
    private = np.zeros(shape.max_frames // shape.leaf_frames, np.bool_)
    private[:n_boot_leaves] = True
    holes, _ = _holes(guest)
    private[_used_again(holes, _targets(runs, guest.n_boot_pages), n_taken, shape.leaf_frames)] = False
    split = [edge // shape.leaf_frames for edge in _edges(guest, above) if edge % shape.leaf_frames]
    private[[leaf for leaf in split if leaf >= n_boot_leaves]] = True
    return private


def boot_mids(guest: Guest, n_taken: int, above: str) -> tuple[int, ...]:
    """Tell which mids booting leaves private, whatever is under them.

    Parameters
    ----------
    guest, n_taken, above
        As `boot_leaves`.

    Returns
    -------
    tuple of int
        Their numbers.
    """
    mid_frames = guest.geometry.mid_frames
    split = {edge // mid_frames for edge in _edges(guest, above) if edge % mid_frames}
    return tuple(sorted({*range(-(-n_taken // mid_frames)), *split}))


def _edges(guest: Guest, above: str) -> Iterator[int]:
    """Ends of ranges of identity: early_split_p2m makes a mid and a leaf there, if one inside is missing."""
    holes, map_end = _holes(guest)
    edges = [edge for hole in holes for edge in hole] + ([map_end] if above == "identity" else [])
    return (edge for edge in edges if edge < guest.geometry.max_frames)


def _holes(guest: Guest) -> tuple[list[tuple[int, int]], int]:
    """Ranges that are made identity, one after the other, and where the identity behind the map begins."""
    ram = list(ram_rows(guest.rows)) if guest.rows else []
    map_end = guest.end_pfn
    if ram and guest.rows[-1].end == ram[-1][1]:
        # Part of a page at the end of the last RAM belongs to what is behind the map, not to a hole; unless
        # that is all there is of it.
        map_end = max(ram[-1][1] >> PAGE_SHIFT, -(-ram[-1][0] // PAGE_SIZE))
    # RAM of less than a page has no frame, and parts two holes all the same.
    points = {-(-start // PAGE_SIZE) for start, _ in ram} | {map_end}
    found = guest.runs.select(Kind.IDENTITY)
    holes: list[tuple[int, int]] = []
    for first, end in zip(found.first_pfn.tolist(), found.end_pfn.tolist(), strict=True):
        holes += pairwise(sorted({first, end, *(point for point in points if first < point < end)}))
    return [(first, end) for first, end in holes if first < map_end], map_end


def _targets(runs: Runs, n_boot: int) -> list[tuple[int, int]]:
    """Where memory of holes went: RAM behind that of the boot list."""
    behind = (runs.kind == Kind.RAM) & (runs.end_pfn > n_boot)
    targets: list[tuple[int, int]] = []
    for first, end in zip(runs.first_pfn[behind].tolist(), runs.end_pfn[behind].tolist(), strict=True):
        if targets and targets[-1][1] == first:
            targets[-1] = (targets[-1][0], end)
        else:
            targets.append((max(first, n_boot), end))
    return targets


def _used_again(
    holes: list[tuple[int, int]], targets: list[tuple[int, int]], n_taken: int, leaf_frames: int
) -> Frames:
    """Leaves of the boot list whose page went to displaced memory: early_can_reuse_p2m_middle.

    It is asked where memory comes to a leaf that is missing, and answers only at the first frame of a leaf:
    the lowest leaf that is all identity by then gives its page. Memory of whole leaves moves after their
    identity is written, that of what is left at both ends of a hole before. (None is all INVALID by then.)
    """
    free, gone = np.zeros(0, np.int64), np.zeros(0, np.int64)
    since = end_of_last = -1
    for first, end in holes:
        since = since if first == end_of_last else first
        end_of_last, at = end, first
        while at < min(end, n_taken) and targets:
            to, end_of_target = targets[0]
            n_frames = min(min(end, n_taken) - at, end_of_target - to)
            whole = np.arange(-(-at // leaf_frames), (at + n_frames) // leaf_frames)
            first_begun = -(-to // leaf_frames)
            n_begun = max(0, -(-(to + n_frames) // leaf_frames) - first_begun)
            n_whole = min(whole.size, max(0, (to + n_frames) // leaf_frames - first_begun))
            queue = np.concatenate([free, whole[:n_whole]])
            gone = np.concatenate([gone, queue[:n_begun]])
            at += n_frames
            identity = np.arange(-(-since // leaf_frames), at // leaf_frames)
            free = np.setdiff1d(np.union1d(queue, identity), gone)
            targets = (
                [(to + n_frames, end_of_target), *targets[1:]]
                if to + n_frames < end_of_target
                else targets[1:]
            )
    return gone
