"""Memory that a sweep keeps between its units, so that the host need not give it anew to each.

A virtual machine with free page reporting, or a balloon, gives what a process has freed back to its host
within seconds. The host's pages come again at half a gigabyte a second, where the machine's own come at ten:
that was most of the time of a 400 GB guest's unit.
"""

from __future__ import annotations

from contextlib import suppress

from p2mperf.errors import DoesNotFitError
from p2mperf.host.memory import available_memory_bytes
from p2mperf.memory import vm
from p2mperf.memory.owned import Mapped
from p2mperf.units import MIB

PIECE_BYTES = 256 * MIB


class Reserve:
    """Pages that are taken while no unit needs them, and freed just before one does.

    What is freed lies in the kernel's free lists as any other memory: a unit gets it in the order in which
    the kernel hands it out, and nothing of what was in it.
    """

    def __init__(self) -> None:
        self._pieces: list[Mapped] = []
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
            self._pieces.pop()
        with suppress(DoesNotFitError):  # what cannot be kept need not be
            while len(self._pieces) < n_pieces:
                self._pieces.append(_taken())

    def close(self) -> None:
        """Give all of it back."""
        self._pieces.clear()


def _taken() -> Mapped:
    piece = Mapped(vm.map_pages(0, PIECE_BYTES, vm.READ_WRITE), PIECE_BYTES)
    vm.advise(piece.address, PIECE_BYTES, vm.MADV_HUGEPAGE)
    vm.populate(piece.address, PIECE_BYTES, write=True)
    return piece
