"""The machine-to-physical table: one flat array over all machine frames, read-only to guests.

Xen makes it, and shows it to its guests on 2 MiB pages (paging_init in xen/arch/x86/x86_64/mm.c), whatever
pages their own memory is on.
"""

from __future__ import annotations

import numpy as np

from p2mperf.errors import ClosedError
from p2mperf.guests.geometry import Entries, Kind, Words
from p2mperf.guests.guest import Guest
from p2mperf.host.memory import require_memory
from p2mperf.memory.owned import Mapped, Owned, Process, require_own_process
from p2mperf.memory.pool import PagePool
from p2mperf.tables.fill_kernels import fill_runs
from p2mperf.units import HUGE_SIZE, PAGE_SHIFT, round_up

PAGE_BYTES = HUGE_SIZE  # wanted for its view; `M2p.page_bytes` tells what it became


class M2p(Owned):
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
        When memory or address space does not suffice.
    """

    def __init__(self, guest: Guest) -> None:
        self.n_frames = guest.machine.n_frames
        self._dtype = guest.geometry.dtype
        self.memory_bytes = predict_bytes(guest)
        require_memory(self.memory_bytes, f"the m2p of {guest.name}", "take a smaller guest")
        # A file of its own: anonymous memory would merge with its neighbours, and hide on which pages it is.
        self._pool = PagePool(self.memory_bytes >> PAGE_SHIFT, page_bytes=PAGE_BYTES)
        self.mapped: Mapped | None = self._pool.mapped
        self.base = self._pool.base
        self._pid = Process.pid
        words = self.words()
        words[:] = guest.geometry.invalid_m2p
        ram = guest.runs.select(Kind.RAM)
        step = np.ones(ram.n_frames.size, self._dtype)
        fill_runs(words, ram.first_mfn, ram.n_frames, ram.first_pfn.astype(self._dtype), step)

    def words(self) -> Entries:
        """View the entries, shape (n_frames,), which keeps them mapped."""
        mapped = self.mapped
        if mapped is None:
            raise ClosedError("this m2p is closed: build the design again")
        require_own_process(self._pid, "m2p")
        return mapped.view(0, self.n_frames * np.dtype(self._dtype).itemsize, self._dtype)

    @property
    def page_bytes(self) -> int:
        """Page size of the table as smaps tells it: 2 MiB; 4096 or 0 where the system has given others."""
        return self._pool.direct_page_bytes

    def close(self) -> None:
        """Give the memory back, with the last view of it; a second call does nothing."""
        self._pool.close()
        self.base, self.mapped = 0, None


def predict_bytes(guest: Guest) -> int:
    """Memory of a guest's m2p: one entry a machine frame, in whole pages of 2 MiB [bytes]."""
    return round_up(guest.machine.n_frames * guest.geometry.entry_bytes, PAGE_BYTES)


class Overrides:
    """Frames of other domains that are mapped here, found by mfn: m2p_override of the tree's time.

    Notes
    -----
    arch/x86/xen/p2m.c until 3.19 kept lists in 1024 buckets under one lock. The newest mapping of an mfn is
    found first. Gone since, for a mismatch between m2p and p2m says as much.
    """

    def __init__(self) -> None:
        self._pfns: dict[int, list[int]] = {}

    def add(self, mfn: int, pfn: int) -> None:
        """Remember that `mfn` is mapped at `pfn`."""
        self._pfns.setdefault(mfn, []).append(pfn)

    def remove(self, mfn: int, pfn: int) -> bool:
        """Forget it; True when that was the last mapping of `mfn`."""
        pfns = self._pfns.get(mfn, [])
        if pfn in pfns:
            pfns.remove(pfn)
        if pfns:
            return False
        self._pfns.pop(mfn, None)
        return True

    def find(self, mfns: Words, default: int) -> Words:
        """Newest pfn of each mfn, or `default`."""
        return np.array([self._pfns.get(mfn, [default])[-1] for mfn in mfns.tolist()], np.uint64)
