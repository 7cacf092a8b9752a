"""The timed loops, each written once for all designs against `walk`.

They read the stream and nothing else beside what the walk reads; their result is returned, or LLVM would
drop the loop. Index types stay unsigned: one signed index among them turns uint64 arithmetic into float64.
"""

from __future__ import annotations

import numpy as np

from p2mperf.jit import njit
from p2mperf.tables.walk import walk

ZERO = np.uint64(0)


@njit
def latency(tables, state, stream, zero):  # type: ignore[no-untyped-def]
    """Translate one frame after the other, each waiting for the one before.

    Parameters
    ----------
    tables, state
        A design's.
    stream : ndarray of uint64, shape (n_lookups,)
        Frames.
    zero : uint64
        0, unknown to the compiler: the pfn of each lookup is made to depend on the entry before.

    Returns
    -------
    uint64
        Sum of the entries, modulo 2**64.
    """
    total = entry = ZERO
    for pfn in stream:
        entry, state = walk(tables, state, (), pfn + (entry & zero))
        total += entry
    return total


@njit
def throughput(tables, state, stream, zero):  # type: ignore[no-untyped-def]
    """Translate frames that do not wait for each other; parameters and result as `latency`."""
    total = ZERO
    for pfn in stream:
        entry, state = walk(tables, state, (), pfn)
        total += entry
    return total + zero


@njit
def translate_into(tables, state, stream, out):  # type: ignore[no-untyped-def]
    """Store the entry of each frame of `stream` in `out`, both ndarrays of uint64 of one shape."""
    for i in range(stream.size):
        out[i], state = walk(tables, state, (), stream[i])


@njit
def trace(tables, state, probe, pfn):  # type: ignore[no-untyped-def]
    """Translate one frame and record the address of every load in `probe`."""
    entry, state = walk(tables, state, probe, pfn)
    return entry
