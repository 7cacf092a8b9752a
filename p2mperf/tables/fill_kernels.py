"""Compiled passes over all leaves: what stands in them, and of which kind it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from p2mperf.guests.geometry import Entries
from p2mperf.jit import njit


@njit
def fill_runs(
    out: Entries, first: NDArray[np.int64], n_frames: NDArray[np.int64], value: Entries, step: Entries
) -> None:
    """Write runs of entries: value, value + step, value + 2 step ...

    Parameters
    ----------
    out : ndarray of uint64 or uint32, shape (n_entries,)
        Leaves, one after the other.
    first : ndarray of int64, shape (n_runs,)
        Index of a run's first entry.
    n_frames : ndarray of int64, shape (n_runs,)
        Its length.
    value : ndarray as `out`, shape (n_runs,)
        Its first entry.
    step : ndarray as `out`, shape (n_runs,)
        1 where entries count up (mfns, identity), 0 where they are all one (INVALID).
    """
    for run in range(first.size):
        # A local copy of the scalars lets LLVM vectorise the store: `out` may alias the run arrays, so that
        # without it they are read again for each entry (0.5 to 3 ns in the cache instead of 0.3). One loop
        # for both steps: with one for each it took as long.
        start, entry, delta = first[run], value[run], step[run]
        for i in range(n_frames[run]):
            out[start + i] = entry + out.dtype.type(i) * delta


@njit
def mark_kinds(
    found: NDArray[np.uint8], first: NDArray[np.int64], end: NDArray[np.int64], kind: NDArray[np.int8]
) -> None:
    """Set the bit of its kind in every leaf that a run touches.

    Parameters
    ----------
    found : ndarray of uint8, shape (n_leaves,)
        Bits 1 << kind, added to.
    first, end : ndarray of int64, shape (n_runs,)
        Leaves that a run touches, end exclusive.
    kind : ndarray of int8, shape (n_runs,)
        `p2mperf.guests.geometry.Kind` of each run.
    """
    for run in range(first.size):
        # A bit for each kind: a leaf that several runs touch has to be told from one of a single kind.
        bit = np.uint8(1 << kind[run])
        for leaf in range(first[run], end[run]):
            found[leaf] |= bit
