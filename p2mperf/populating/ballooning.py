"""A guest that gives memory back: what survives of its superpages, and what its table takes then.

A balloon driver gives back single frames. The table splits the leaf that a frame lies in, and never merges:
neither the frame's return nor that of all its neighbours makes the leaf large again, and no page of the table
is freed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from p2mperf.errors import BadInputError, shown
from p2mperf.guests.extents import Extents, sealed
from p2mperf.guests.frames import frame_numbers
from p2mperf.guests.geometry import Words
from p2mperf.guests.machine import checked_seed
from p2mperf.populating.tables import GIGA, MEGA, ORDERS, count_tables
from p2mperf.streams import seeded_draws
from p2mperf.units import PAGE_SIZE, whole_number

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Remaining:
    """What is left after frames were given back.

    Attributes
    ----------
    leaves : Extents
        Leaves that are left.
    n_released : int
        Frames that were given back.
    n_split_1gb, n_split_2mb : int
        Leaves that were split: of the second kind also those that the first ones fell into.
    """

    leaves: Extents
    n_released: int
    n_split_1gb: int
    n_split_2mb: int

    @property
    def n_new_pages(self) -> int:
        """Table pages that were added, one for each split; none is ever freed."""
        return self.n_split_1gb + self.n_split_2mb

    @property
    def n_writes(self) -> int:
        """Entries that were written: 512 and the one above them for each split, and one for each frame."""
        return 513 * self.n_new_pages + self.n_released


@dataclass(frozen=True)
class Course:
    """What a guest's table goes through while it gives memory back, run by run.

    Attributes
    ----------
    n_released : ndarray of int64, shape (n_steps,)
        Frames given back up to each step.
    n_4k, n_2mb, n_1gb : ndarray of int64, shape (n_steps,)
        Leaves by size.
    n_table_pages : ndarray of int64, shape (n_steps,)
        Pages of the table; they only become more.
    """

    n_released: Counts
    n_4k: Counts
    n_2mb: Counts
    n_1gb: Counts
    n_table_pages: Counts

    @property
    def table_bytes(self) -> Counts:
        """Memory of the table at each step [bytes]."""
        return self.n_table_pages * PAGE_SIZE


def release(leaves: Extents, frames: ArrayLike) -> Remaining:
    """Give single frames back, in any order.

    Parameters
    ----------
    leaves : Extents
        A guest's leaves, of orders 0, 9 and 18.
    frames : array_like of unsigned int
        Guest frames, each of them once.

    Returns
    -------
    Remaining

    Raises
    ------
    BadInputError
        When a frame has no memory, or is named twice, or a leaf has another order.

    Examples
    --------
    >>> left = release(Extents.of([(0, 0, 18)]), [7])
    >>> left.leaves.n_by_order, left.n_new_pages, left.n_writes
    ({0: 511, 9: 511}, 2, 1027)
    """
    from p2mperf.populating.release_kernels import remain

    _require_orders(leaves)
    gfns = np.sort(frame_numbers(frames, "frames to give back").ravel())
    if (twice := np.flatnonzero(gfns[1:] == gfns[:-1])).size:
        raise BadInputError(f"frame {int(gfns[twice[0]]):#x} is given back twice")
    at = leaves.at(gfns)
    if (missing := np.flatnonzero(at < 0)).size:
        raise BadInputError(f"frame {int(gfns[missing[0]]):#x} cannot be given back: it has no memory")
    columns = leaves.gfn, leaves.mfn, leaves.order
    empty = np.zeros(0, np.uint64)
    n_left = int(remain(*columns, gfns, empty, empty, np.zeros(0, np.uint8)))
    gfn, mfn = (np.empty(n_left, np.uint64) for _ in range(2))
    order = np.empty(n_left, np.uint8)
    remain(*columns, gfns, gfn, mfn, order)
    hit = leaves.order[at]
    return Remaining(
        Extents(sealed(gfn), sealed(mfn), sealed(order)),
        n_released=gfns.size,
        n_split_1gb=np.unique(gfns[hit == GIGA] >> np.uint64(GIGA)).size,
        n_split_2mb=np.unique(gfns[hit >= MEGA] >> np.uint64(MEGA)).size,
    )


def count_runs(leaves: Extents, run_order: int = 0) -> int:
    """How many aligned runs of frames, of 2**run_order each, have memory.

    Raises
    ------
    BadInputError
        For an order that is none, or above 9.
    """
    from p2mperf.populating.release_kernels import frames_of_runs

    size = np.uint64(whole_number(run_order, "the order of a run", 0, MEGA))
    empty = np.zeros(0, np.uint64)
    return int(frames_of_runs(leaves.gfn, leaves.order, size, empty, empty))


def drawn_runs(
    leaves: Extents, run_order: int = 0, n_runs: int | None = None, seed: int = 1
) -> tuple[Words, Words]:
    """Draw aligned runs of frames of a guest's memory, each of them once.

    Parameters
    ----------
    leaves : Extents
        A guest's leaves.
    run_order : int
        Frames of a run [log2], up to 9; at the edge of a hole a run has fewer.
    n_runs : int, optional
        How many; default: all, which then come in a random order. Fewer are the first of them.
    seed : int
        Seed of the order.

    Returns
    -------
    (ndarray of uint64, ndarray of uint64)
        Numbers of the runs, which are first frames in units of their size, and their frames with memory.

    Raises
    ------
    BadInputError
        For an order or a seed that is none, and for more runs than there are.
    """
    from p2mperf.populating.heap_kernels import choose
    from p2mperf.populating.release_kernels import frames_of_runs

    n_all = count_runs(leaves, run_order)
    n_drawn = n_all if n_runs is None else whole_number(n_runs, "a number of runs", 0, n_all)
    draws = seeded_draws(f"runs of order {run_order} given back", (checked_seed(seed),))
    runs, n_frames = (np.empty(n_all, np.uint64) for _ in range(2))
    frames_of_runs(leaves.gfn, leaves.order, np.uint64(run_order), runs, n_frames)
    places = np.arange(n_all, dtype=np.uint64)
    choose(places, np.uint64(n_drawn), draws)
    return runs[places[:n_drawn]], n_frames[places[:n_drawn]]


def course(leaves: Extents, n_given: Any, run_order: int = 0, seed: int = 1) -> Course:
    """Follow a guest that gives back aligned runs of frames in a random order, frame by frame.

    Parameters
    ----------
    leaves : Extents
        Its leaves before, of orders 0, 9 and 18.
    n_given : array_like of unsigned int
        Steps: how many runs it has given back, 0 to all.
    run_order : int
        Frames of a run [log2], up to 9.
    seed : int
        Seed of the order.

    Returns
    -------
    Course

    Raises
    ------
    BadInputError
        When there are no such runs.

    Examples
    --------
    >>> course(Extents.of([(0, 0, 9), (512, 512, 9)]), [0, 1, 1024]).n_2mb
    array([2, 1, 0])
    """
    from p2mperf.populating.release_kernels import first_hits, mark_leaves

    _require_orders(leaves)
    steps = frame_numbers(n_given, "numbers of runs").astype(np.int64)
    n_runs = int(steps.max(initial=0))
    if n_runs > (n_all := count_runs(leaves, run_order)):
        raise BadInputError(f"the guest has {n_all} runs of {1 << run_order} frames, not {n_runs}")
    runs, n_frames = drawn_runs(leaves, run_order, n_runs, seed)
    n_gigabytes = (leaves.end_gfn >> GIGA) + 1
    in_2mb, in_1gb = (np.zeros(n_gigabytes << up, np.bool_) for up in (GIGA - MEGA, 0))
    mark_leaves(leaves.gfn, leaves.order, in_2mb, in_1gb)
    hits_2mb, hits_1gb = (
        np.searchsorted(first_hits(runs, np.uint64(run_order), which, np.uint64(shift)), steps)
        for which, shift in ((in_2mb, MEGA), (in_1gb, GIGA))
    )
    n_released = np.append(0, np.cumsum(n_frames.astype(np.int64)))[steps]
    n_1gb = np.count_nonzero(in_1gb) - hits_1gb
    n_2mb = np.count_nonzero(in_2mb) - hits_2mb - (n_1gb << MEGA)
    n_4k = leaves.n_frames - n_released - (n_2mb << MEGA) - (n_1gb << GIGA)
    n_pages = count_tables(leaves).n_pages + hits_2mb + hits_1gb
    return Course(n_released, n_4k, n_2mb, n_1gb, n_pages)


def expected_survival(n_units: int, leaf_units: int, n_given: Any) -> NDArray[np.float64]:
    """Say what share of leaves is expected to be whole after some units were given back at random.

    Parameters
    ----------
    n_units : int
        Units of the guest's memory: frames, or runs of them.
    leaf_units : int
        Units of one leaf.
    n_given : array_like of unsigned int
        How many were given back.

    Returns
    -------
    ndarray of float64
        C(n_units - leaf_units, n_given) / C(n_units, n_given), in the shape of `n_given`.

    Raises
    ------
    BadInputError
        When a leaf has more units than the guest, or more are given back than there are.

    Notes
    -----
    That quotient is the product, over the units i of a leaf, of (n_units - n_given - i) / (n_units - i): one
    unit after the other is spared. For 4 GiB of 2 MiB leaves 0.1 % leave 60 % whole, and 1 % leave 0.6 %.

    Examples
    --------
    >>> expected_survival(4, 2, [0, 1, 2, 3]).round(3)
    array([1.   , 0.5  , 0.167, 0.   ])
    """
    n_units = whole_number(n_units, "a number of units", 1, 2**52)
    leaf_units = whole_number(leaf_units, "the units of a leaf", 1, min(n_units, 1 << GIGA))
    given = frame_numbers(n_given, "numbers of units").astype(np.float64)
    if given.size and given.max() > n_units:
        raise BadInputError(f"of {n_units} units no {int(given.max())} can be given back")
    left = n_units - np.arange(leaf_units, dtype=np.float64)
    counts, of_count = np.unique(given, return_inverse=True)
    shares = np.array([np.prod(np.maximum(left - count, 0) / left) for count in counts], np.float64)
    return shares[of_count].reshape(given.shape)


def _require_orders(leaves: object) -> None:
    if not isinstance(leaves, Extents):
        raise BadInputError(f"memory is given back of Extents, not of {shown(leaves)}")
    if others := set(leaves.n_by_order) - set(ORDERS):
        raise BadInputError(f"leaves of a table of four levels have orders 0, 9 or 18, not {min(others)}")
