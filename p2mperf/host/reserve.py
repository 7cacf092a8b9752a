"""Memory that a sweep keeps between its units, so that the host need not give it anew to each.

A virtual machine with free page reporting, or a balloon, gives what a process has freed back to its host
within seconds. The host's pages come again at half a gigabyte a second, where the machine's own come at ten:
that was most of the time of a 400 GB guest's unit.
"""

from __future__ import annotations

import mmap
from contextlib import suppress

from p2mperf.host.memory import available_memory_bytes
from p2mperf.units import MIB

PIECE_BYTES = 256 * MIB
_MADV_POPULATE_WRITE = 23  # Linux 5.14


class Reserve:
    """Pages that are taken while no unit needs them, and freed just before one does.

    What is freed lies in the kernel's free lists as any other memory: a unit gets it in the order in which
    the kernel hands it out, and nothing of what was in it.
    """

    def __init__(self) -> None:
        self._pieces: list[mmap.mmap] = []
        self._most_needed = 0

    @property
    def n_bytes(self) -> int:
        """Memory that is kept just now [bytes]."""
        return len(self._pieces) * PIECE_BYTES

    def make_room(self, need_bytes: int) -> None:
        """Free what a unit needs; keep the rest of what the largest one so far has needed.

        Parameters
        ----------
        need_bytes : int
            Memory that the unit takes at most [bytes].
        """
        self._most_needed = max(self._most_needed, need_bytes)
        beside = available_memory_bytes() + self.n_bytes - need_bytes
        n_pieces = max(0, min(self._most_needed - need_bytes, beside)) // PIECE_BYTES
        while len(self._pieces) > n_pieces:
            self._pieces.pop().close()
        with suppress(OSError):  # what cannot be kept need not be
            while len(self._pieces) < n_pieces:
                self._pieces.append(_taken())

    def close(self) -> None:
        """Give all of it back."""
        while self._pieces:
            self._pieces.pop().close()


def _taken() -> mmap.mmap:
    piece = mmap.mmap(-1, PIECE_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        piece.madvise(mmap.MADV_HUGEPAGE)
        piece.madvise(_MADV_POPULATE_WRITE)
    except OSError:
        piece.close()
        raise
    return piece
