"""The timed loops, each written once for all designs against `walk`.

They read the stream and nothing else beside what the walk reads; their result is returned, or LLVM would
drop the loop. What is computed with stays unsigned: one signed word turns uint64 arithmetic into float64.
The stream is indexed, not iterated: an iterator adds the stride from a register, which cost the tree 3 %.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from p2mperf.guests.geometry import Words
from p2mperf.jit import Compiled, njit
from p2mperf.memory.raw import Probe
from p2mperf.tables.walk import walk

ZERO = np.uint64(0)
# Of a design's tables and state, frames, and a 0 that the compiler does not know: the sum of their entries.
Timed = Compiled[[NamedTuple, tuple[object, ...], Words, np.uint64], np.uint64]


@njit
def latency(tables: NamedTuple, state: tuple[object, ...], stream: Words, zero: np.uint64) -> np.uint64:
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
    # Not four at a time, as `throughput` takes them: that took as long (0.997 to 1.000 times), for the loop's
    # own instructions are done while an entry is waited for.
    for i in range(stream.size):
        # The `and` and the sum stand in the chain between two lookups, in that of every design alike; `^` for
        # the sum took as long. With a literal 0 LLVM drops both, and lookups overlap: 0.8 for 8.7 ns in a
        # tree of 512 MB.
        entry, state = walk(tables, state, (), stream[i] + (entry & zero))
        # All entries, where the last alone would keep the loop alive: by their sum designs are found to agree
        # before they are timed.
        total += entry
    return total


@njit
def throughput(tables: NamedTuple, state: tuple[object, ...], stream: Words, zero: np.uint64) -> np.uint64:
    """Translate frames that do not wait for each other.

    Parameters
    ----------
    tables, state, stream, zero
        As `latency`.

    Returns
    -------
    uint64
        Sum of the entries, modulo 2**64.
    """
    # One sum for all four: with a sum for each the list took 3 to 7 % less, and the tree 2 to 4 % more.
    total = ZERO
    n_quads = stream.size >> 2
    # Four at a time: LLVM does not unroll a loop with two ways out of its body, and the loop's own three
    # instructions make the list 4 to 10 % slower in caches. The tree, which loads more, is as fast without
    # (0.98 to 1.00 times). Eight made the list another 3 to 4 % faster, and the tree 1 % slower.
    for quad in range(n_quads):
        i = quad << 2
        entry, state = walk(tables, state, (), stream[i])
        total += entry
        entry, state = walk(tables, state, (), stream[i + 1])
        total += entry
        entry, state = walk(tables, state, (), stream[i + 2])
        total += entry
        entry, state = walk(tables, state, (), stream[i + 3])
        total += entry
    for i in range(n_quads << 2, stream.size):
        entry, state = walk(tables, state, (), stream[i])
        total += entry
    # Taken so that both loops are called alike; added behind the loop, where no lookup waits for it.
    return total + zero


@njit
def translate_into(tables: NamedTuple, state: tuple[object, ...], stream: Words, out: Words) -> None:
    """Store the entry of each frame of a stream.

    Parameters
    ----------
    tables, state
        A design's.
    stream, out : ndarray of uint64, shape (n_lookups,)
        Frames, and where their entries go.
    """
    # No loop to be timed: what it writes takes room in the caches, where the timed loops leave it to the
    # tables.
    for i in range(stream.size):
        out[i], state = walk(tables, state, (), stream[i])


@njit
def trace(tables: NamedTuple, state: tuple[object, ...], probe: Probe, pfn: np.uint64) -> np.uint64:
    """Translate one frame and record the address of every load.

    Parameters
    ----------
    tables, state
        A design's.
    probe : ndarray of uint64
        As `p2mperf.memory.raw.load64` fills it.
    pfn : uint64
        Frame.

    Returns
    -------
    uint64
        Its raw entry.
    """
    entry, state = walk(tables, state, probe, pfn)
    return entry


def assembly(kernel: Timed, tables: NamedTuple) -> str:
    """Assembly of one of the timed loops, compiled anew for a type of `tables`.

    Parameters
    ----------
    kernel : dispatcher
        `latency` or `throughput`.
    tables : NamedTuple
        A design's tables.

    Returns
    -------
    str
        What LLVM made of it on this machine.
    """
    fresh = njit(kernel.py_func, cache=False)
    fresh(tables, (), np.zeros(1, np.uint64), ZERO)
    text = str(next(iter(fresh.inspect_asm().values())))
    return text.partition(".Lfunc_end0")[0]  # what follows is numba's wrapper for calls from Python
