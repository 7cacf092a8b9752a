"""Pages of a HAP p2m by level: counted for leaves that are there, predicted for memory that is asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

import numpy as np

from p2mperf.guests.extents import Extents
from p2mperf.populating.layout import Run
from p2mperf.units import PAGE_SIZE

MEGA, GIGA = 9, 18
ORDERS = (0, MEGA, GIGA)
_SHIFTS = (9, 18, 27)  # frames that a page of L1, L2 and L3 covers [log2]


class Tables(NamedTuple):
    """Pages of a table of four levels.

    Attributes
    ----------
    l1, l2, l3, l4 : int
        Pages of each level; an entry of L1 is 4 KiB, one of L2 2 MiB, one of L3 1 GiB.
    """

    l1: int
    l2: int
    l3: int
    l4: int = 1

    @property
    def n_pages(self) -> int:
        """Pages of all levels."""
        return sum(self)

    @property
    def n_bytes(self) -> int:
        """Memory that they take [bytes]."""
        return self.n_pages * PAGE_SIZE


class Predicted(NamedTuple):
    """What a guest's table is when all memory that is asked for is there.

    Attributes
    ----------
    leaves : dict of int to int
        Leaves by order; 0 where there are none.
    tables : Tables
        Pages by level.
    """

    leaves: dict[int, int]
    tables: Tables


def count_tables(leaves: Extents) -> Tables:
    """Count the pages of the table that these leaves, and no others, stand in.

    Parameters
    ----------
    leaves : Extents
        Of orders 0, 9 and 18.

    Returns
    -------
    Tables

    Examples
    --------
    >>> count_tables(Extents.of([(0, 0, 0), (512, 512, 9)]))
    Tables(l1=1, l2=1, l3=1, l4=1)
    """
    from p2mperf.populating.table_kernels import count_pages

    counts = np.zeros(len(_SHIFTS), np.int64)
    count_pages(leaves.gfn, leaves.order, np.array(_SHIFTS, np.uint64), counts)
    return Tables(*map(int, counts))


def predict(runs: Iterable[Run], orders: Collection[int] = ORDERS) -> Predicted:
    """Say how many leaves and pages memory has whose every aligned block is one leaf: arithmetic alone.

    Parameters
    ----------
    runs : iterable of (int, int)
        First gfn and end of each stretch, sorted; none begins where another one ends.
    orders : collection of int
        Which of the orders 9 and 18 leaves may have beside 0.

    Returns
    -------
    Predicted

    Notes
    -----
    Leaves of 1 GiB are the whole, aligned blocks of that size; leaves of 2 MiB are those of theirs, less the
    512 of each GiB that is one leaf; the rest of the frames are leaves of 4 KiB. A page of L1 stands above
    each block of 2 MiB with memory that is no leaf and in none, one of L2 above each GiB with memory that is
    no leaf.

    Examples
    --------
    >>> predict([(0, 1 << 18)], [9])
    Predicted(leaves={0: 0, 9: 512, 18: 0}, tables=Tables(l1=0, l2=1, l3=1, l4=1))
    """
    runs = [run for run in runs if run[0] < run[1]]
    n_frames = sum(end - first for first, end in runs)
    n_1gb = _whole(runs, GIGA) if GIGA in orders else 0
    n_2mb = _whole(runs, MEGA) - (n_1gb << MEGA) if MEGA in orders else 0
    leaves = {0: n_frames - (n_2mb << MEGA) - (n_1gb << GIGA), MEGA: n_2mb, GIGA: n_1gb}
    l1 = _touched(runs, _SHIFTS[0]) - n_2mb - (n_1gb << MEGA)
    return Predicted(leaves, Tables(l1, _touched(runs, _SHIFTS[1]) - n_1gb, _touched(runs, _SHIFTS[2])))


def _whole(runs: list[Run], shift: int) -> int:
    """Aligned blocks that lie in a run."""
    return sum(max(0, (end >> shift) - (-(-first >> shift))) for first, end in runs)


def _touched(runs: list[Run], shift: int) -> int:
    """Aligned blocks with any frame of a run; neighbouring runs may share one."""
    n_blocks, next_block = 0, 0
    for first, end in runs:
        begin, next_block = max(first >> shift, next_block), (end - 1 >> shift) + 1
        n_blocks += max(0, next_block - begin)
    return n_blocks
