"""The machine-to-physical table: one flat array over all machine frames, read-only to guests."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import ClosedError
from p2mperf.guests import Guest, Kind
from p2mperf.memory import vm
from p2mperf.tables.fill_kernels import fill_runs
from p2mperf.units import PAGE_SIZE, round_up


class M2p:
    """mfn -> pfn for one guest; all ones where the guest does not own the frame.

    Parameters
    ----------
    guest : Guest
        Whose RAM it describes; the table has one entry a machine frame, of the guest's entry width.

    Attributes
    ----------
    base : int
        Address of entry 0.
    n_frames : int
        Entries: machine_to_phys_nr in arch/x86/xen/mmu.c.

    Raises
    ------
    DoesNotFitError
        When address space gives out.
    """

    def __init__(self, guest: Guest) -> None:
        self.n_frames = guest.machine.n_frames
        self._dtype: Any = guest.geometry.dtype
        self.memory_bytes = predict_bytes(guest)
        self.base = vm.map_pages(0, self.memory_bytes, vm.READ_WRITE)
        words = self.words()
        words[:] = guest.geometry.invalid
        ram = guest.runs.select(Kind.RAM)
        step = np.ones(ram.n_frames.size, self._dtype)
        fill_runs(words, ram.first_mfn, ram.n_frames, ram.first_pfn.astype(self._dtype), step)

    def words(self) -> NDArray[Any]:
        """View the entries, shape (n_frames,); not to be used after `close`."""
        if not self.base:
            raise ClosedError("this m2p is closed: build the design again")
        size = self.n_frames * np.dtype(self._dtype).itemsize
        return np.frombuffer((ctypes.c_char * size).from_address(self.base), self._dtype)

    def close(self) -> None:
        """Give the memory back; a second call does nothing."""
        if getattr(self, "base", 0):
            vm.unmap(self.base, self.memory_bytes)
            self.base = 0

    def __del__(self) -> None:
        self.close()


def predict_bytes(guest: Guest) -> int:
    """Memory of a guest's m2p: one entry a machine frame, in whole pages [bytes]."""
    return round_up(guest.machine.n_frames * guest.geometry.entry_bytes, PAGE_SIZE)
