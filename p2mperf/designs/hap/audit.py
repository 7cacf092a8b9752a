"""What must hold of a p2m at any time: the invariants that Xen's audit checks, and those it does not.

I1 to I10 here; that a superpage and a table exclude each other (I5) is in the form of an entry, and the rest
is about changes: a split keeps every translation (I9), and a change that fails has changed none (I12).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from p2mperf.designs.hap.audit_kernels import FAULTS, check_tables, check_way_back, compare_ways
from p2mperf.designs.hap.store_kernels import NONE
from p2mperf.designs.hap.table import HapTable

_MOST_LEVELS = 4


class Require(Protocol):
    """Raises where something that must hold does not: `Design` has one."""

    def __call__(self, holds: ArrayLike, invariant: str) -> None:
        """Raise unless it holds.

        Parameters
        ----------
        holds : array_like of bool
            What must.
        invariant : str
            What is said otherwise.
        """


def check_table(table: HapTable, require: Require) -> None:
    """Check a p2m and its m2p against the memory itself; what they lead to can be read afterwards.

    Parameters
    ----------
    table : HapTable
        The p2m.
    require : callable
        Raises where something does not hold.
    """
    store, shape, m2p = table.store, table.plan.shape, table.m2p.words()
    seen = np.zeros(table.levels.size, np.bool_)
    leaves, tables = np.zeros(_MOST_LEVELS, np.uint64), np.zeros(_MOST_LEVELS, np.uint64)
    fault, frame, level = check_tables(store, m2p, seen, leaves, tables)
    require(fault == 0, f"{FAULTS[fault]} (L{int(level) + 1}, gfn {int(frame):#x})")
    mfn = int(check_way_back(store, m2p))
    require(mfn == int(NONE), f"I2: mfn {mfn:#x} has a guest frame in the m2p that is mapped elsewhere")
    n_frames = sum(int(n) << shape.index_bits * level for level, n in enumerate(leaves))
    require(n_frames == table.n_present, f"I6: leaves cover {n_frames} frames, not {table.n_present}")
    require(seen == (table.levels > 0), "I7: a table is allocated that no entry leads to")
    counted = [table.count(f"n_l{number}") for number in range(1, _MOST_LEVELS + 1)]
    require(tables == counted, f"I7: tables by level are {tables.tolist()}, not {counted}")
    n_used, n_left = table.allocation
    require(n_used == sum(counted) and n_left >= 0, "I7: the pool's account is wrong")


def check_ways(table: HapTable, walked: NamedTuple, shown: NamedTuple, require: Require) -> None:
    """Look up every frame there can be by walk and in another way.

    Parameters
    ----------
    table : HapTable
        The p2m, which was checked.
    walked, shown : NamedTuple
        What its walk takes, and what another lookup takes that must agree with it.
    require : callable
        Raises where something does not hold.
    """
    frame, n_present = compare_ways(walked, shown, np.uint64(table.plan.end_gfn))
    require(int(frame) == int(NONE), f"I8: gfn {int(frame):#x} is found otherwise than by the walk")
    require(int(n_present) == table.n_present, f"I11: {int(n_present)} frames are found to be mapped")
