"""What comes before lookups: the TLB flushed, and other work done; one loop for all that time entries."""

from __future__ import annotations

import numpy as np

from p2mperf.guests.geometry import Words
from p2mperf.jit import njit
from p2mperf.memory import vm
from p2mperf.memory.raw import protect, store_element64
from p2mperf.units import PAGE_SHIFT

ZERO, ONE = np.uint64(0), np.uint64(1)
_WORD_SHIFT, _LINE_WORDS_SHIFT, _EIGHTH_SHIFT, _HALF = (np.uint64(n) for n in (3, 3, 3, 32))
_PAGE_SHIFT = np.uint64(PAGE_SHIFT)
_READ, _READ_WRITE = np.int32(vm.READ), np.int32(vm.READ_WRITE)


@njit(forceinline=True)
def flush(flushed: Words, address: np.uint64, apart: np.uint64, mark: np.uint64) -> np.uint64:
    """Change the protection of some memory and change it back, which flushes the TLB.

    Parameters
    ----------
    flushed : ndarray of uint64
        The memory; empty for no flush.
    address : uint64
        Where it is.
    apart : uint64
        Pages from one that is written to to the next; the last must be among them.
    mark : uint64
        Written to these pages.

    Returns
    -------
    uint64
        1 when it was done, 0 when there was nothing to do, or it was refused.
    """
    n_bytes = np.uint64(flushed.size) << _WORD_SHIFT
    if n_bytes == ZERO:
        return ZERO
    refused = protect(address, n_bytes, _READ)
    refused |= protect(address, n_bytes, _READ_WRITE)
    # Written to: a page that cannot be is not one whose change needs a flush the next time.
    for page in range(ZERO, n_bytes >> _PAGE_SHIFT, apart):
        store_element64(address, np.uint64(page) << (_PAGE_SHIFT - _WORD_SHIFT), mark)
    return np.uint64(refused == 0)


# Folded in: in a function of its own the array's references are counted at each call.
@njit(forceinline=True)
def do_other_work(worked_on: Words, n_touches: np.uint64, chance: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Read lines of some memory here and there, three of four in its first eighth.

    Parameters
    ----------
    worked_on : ndarray of uint64
        The memory.
    n_touches : uint64
        Lines to read.
    chance : uint64
        Generator state, not 0.

    Returns
    -------
    chance : uint64
        Generator state for the next call.
    work : uint64
        Sum of the words that were read: their number, where all are 1.
    """
    n_lines = np.uint64(worked_on.size) >> _LINE_WORDS_SHIFT
    work = ZERO
    for _ in range(n_touches):
        # xorshift64 (Marsaglia 2003), of which a multiplication maps the high half to the lines; a remainder
        # took 15 % longer. Where to read follows from it alone, so that reads overlap: had each to wait for
        # the one before, a line of 16 MB would take 5 times as long (12.2 for 2.3 ns).
        chance ^= chance << np.uint64(13)
        chance ^= chance >> np.uint64(7)
        chance ^= chance << np.uint64(17)
        reach = n_lines if (chance & np.uint64(3)) == ZERO else n_lines >> _EIGHTH_SHIFT
        work += worked_on[(((chance >> _HALF) * reach) >> _HALF) << _LINE_WORDS_SHIFT]
    return chance, work
